package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// loadBootModules loads the modules of the initramfs, in their order.
func loadBootModules() error {
	list, err := os.ReadFile(initModules)
	if err != nil {
		return err
	}
	for path := range lines(string(list)) {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load %s: %w", path, err)
		}
	}
	return nil
}

type mount struct {
	source, target, fstype, data string
	flags                        uintptr
}

func mountAll(mounts []mount) error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, m.target, m.fstype, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.fstype, m.target, err)
		}
	}
	return nil
}

// mountEarly mounts what the initramfs needs to find its port to the runner.
func mountEarly() error {
	return mountAll([]mount{
		{source: "dev", target: "/dev", fstype: "devtmpfs"},
		{source: "sys", target: "/sys", fstype: "sysfs"},
		{source: "proc", target: "/proc", fstype: "proc"},
	})
}

// openAgentPort finds the virtio serial port by its name.
func openAgentPort() (*os.File, error) {
	for range 100 {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if b, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(b)) == agentPort {
				return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(name)), os.O_RDWR, 0)
			}
		}
		time.Sleep(50 * time.Millisecond) // the port announces itself after its driver is up
	}
	return nil, fmt.Errorf("port %s: %w", agentPort, os.ErrNotExist)
}

const share9p = "trans=virtio,version=9p2000.L,msize=512000,"

// setUp makes the guest a usable machine: the host's root below a tmpfs, the
// kernel's own modules, the usual mounts, devices, limits and settings.
func setUp(t task) error {
	ro := uintptr(unix.MS_RDONLY)
	err := mountAll([]mount{
		{source: shareRoot, target: "/host", fstype: "9p", data: share9p + "cache=loose", flags: ro},
		{source: "rw", target: "/rw", fstype: "tmpfs", data: "mode=755"},
	})
	if err != nil {
		return err
	}
	for _, d := range []string{"/rw/upper", "/rw/work"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	modules := "/root/lib/modules/" + unameRelease()
	err = mountAll([]mount{
		{source: "root", target: "/root", fstype: "overlay", data: "lowerdir=/host,upperdir=/rw/upper,workdir=/rw/work"},
		{source: "dev", target: "/root/dev", fstype: "devtmpfs"},
		{source: "proc", target: "/root/proc", fstype: "proc"},
		{source: "sys", target: "/root/sys", fstype: "sysfs"},
		{source: shareModules, target: modules, fstype: "9p", data: share9p + "cache=loose", flags: ro},
		{source: "run", target: "/root/run", fstype: "tmpfs", data: "mode=755"},
		{source: "shm", target: "/root/dev/shm", fstype: "tmpfs", data: "mode=1777"},
		{source: "pts", target: "/root/dev/pts", fstype: "devpts", data: "ptmxmode=666,mode=620,gid=5"},
		{source: "cgroup", target: "/root/sys/fs/cgroup", fstype: "cgroup2"},
		{source: "debug", target: "/root/sys/kernel/debug", fstype: "debugfs"},
	})
	if err != nil {
		return err
	}
	if t.Artifacts {
		err := mountAll([]mount{{source: shareArtifacts, target: "/root" + artifactsDir, fstype: "9p", data: share9p + "cache=none"}})
		if err != nil {
			return err
		}
	}
	if err := switchRoot("/root"); err != nil {
		return err
	}
	if err := makeDevices(); err != nil {
		return err
	}
	return tune()
}

// switchRoot makes dir the root. An initramfs cannot be pivoted away from.
func switchRoot(dir string) error {
	if err := unix.Chdir(dir); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// makeDevices makes the nodes that udev would: opening them loads the module.
func makeDevices() error {
	if err := os.MkdirAll("/dev/net", 0o755); err != nil {
		return err
	}
	for path, dev := range map[string]uint64{"/dev/ppp": unix.Mkdev(108, 0), "/dev/net/tun": unix.Mkdev(10, 200)} {
		if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(dev)); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("make %s: %w", path, err)
		}
	}
	for path, target := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0",
		"/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, path); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// tune sets host name, limits, kernel settings, and brings the loopback up.
func tune() error {
	if err := unix.Sethostname([]byte("guest")); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1024, Max: 524288}); err != nil { // as systemd has it
		return err
	}
	for name, value := range map[string]string{
		"kernel/panic": "-1", "kernel/panic_on_oops": "1", "kernel/hung_task_timeout_secs": "240",
	} {
		err := os.WriteFile("/proc/sys/"+name, []byte(value), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := stampPackets(); err != nil {
		return fmt.Errorf("time stamps: %w", err)
	}
	return loopbackUp()
}

// stampPackets lets the kernel stamp packets as long as the guest lives. Otherwise every ping and every capture makes it rewrite
// the code of its receive path and back, and emulation does not always survive that: a processor that runs into the breakpoint
// of such a rewriting when it has just ended finds nobody who knows it, and the kernel panics.
func stampPackets() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0) // for good
	if err != nil {
		return err
	}
	return unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_TIMESTAMP, 1)
}

// loopbackUp brings lo up in the present network namespace.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("loopback up: %w", err)
	}
	return nil
}

func unameRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func uptime() float64 {
	b, _ := os.ReadFile("/proc/uptime")
	first, _, _ := strings.Cut(string(b), " ")
	seconds, _ := strconv.ParseFloat(first, 64)
	return seconds
}
