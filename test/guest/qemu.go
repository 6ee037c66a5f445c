package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Tags of the shares.
const (
	shareRoot      = "root"
	shareModules   = "modules"
	shareArtifacts = "artifacts"
	agentPort      = "l2tpd.agent"
)

// bootArgs is the kernel's command line. A guest under emulation on a busy
// host is slow: watchdogs get ten times their usual patience. A panic
// reboots, which ends QEMU. Programs are always at the same addresses, for
// emulation translates them anew wherever they are: a start of ip then takes a
// third of the time.
const bootArgs = "console=ttyS0 quiet loglevel=5 panic=-1 oops=panic log_buf_len=4M random.trust_cpu=on " +
	"mitigations=off audit=0 watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=200 hung_task_panic=0 " +
	"printk.devkmsg=on net.ifnames=0 norandmaps"

// emulatedCPU leaves out what takes emulation longer than doing without: a fifth level of page tables, and instructions that move one
// octet at a time, which the kernel prefers where they are called fast. And one, CMPXCHG16B,
// after which the kernel's allocator was twice seen to fall, with flags that no processor has; without it that was not seen again.
const emulatedCPU = "max,la57=off,-erms,-fsrm,-cx16"

// steadyClock has the guest's clock follow its instructions, of which it makes one in a nanosecond, and the host's when it has nothing
// to do: what takes time is as on a processor of that speed, however busy the host is.
const steadyClock = "shift=0"

// machine is one QEMU process.
type machine struct {
	cmd     *exec.Cmd
	accel   string
	agent   *os.File // frames to and from the guest's init
	console *os.File // what the kernel prints
	dir     string
	exited  chan struct{} // closed when QEMU has ended
}

// startMachine boots a kernel to do a task. The caller stops the machine.
func startMachine(k kernel, t task, opts *options) (*machine, error) {
	dir, err := os.MkdirTemp("", "guest-")
	if err != nil {
		return nil, err
	}
	m := &machine{dir: dir, exited: make(chan struct{})}
	if err := m.start(k, t, opts); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return m, nil
}

func (m *machine) start(k kernel, t task, opts *options) error {
	initrd := filepath.Join(m.dir, "initramfs")
	if err := writeInitramfs(initrd, k, t); err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	theirs := os.NewFile(uintptr(pair[1]), "qemu end")
	defer theirs.Close()
	if err := unix.SetNonblock(pair[0], true); err != nil {
		return err
	}
	m.agent = os.NewFile(uintptr(pair[0]), "agent")
	console, consoleW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer consoleW.Close()
	m.console = console

	m.accel = accelerator(k)
	if opts.steady {
		m.accel = emulated
	}
	model := "max"
	if m.accel == emulated {
		model = emulatedCPU
	}
	argv := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-accel", m.accel, "-cpu", model, "-smp", strconv.Itoa(opts.cpus), "-m", strconv.Itoa(opts.memory),
		"-kernel", k.image(), "-initrd", initrd, "-append", bootArgs,
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-device", "virtio-serial-pci",
		"-chardev", "socket,id=agent,fd=3", "-device", "virtserialport,chardev=agent,name=" + agentPort,
	}
	if opts.steady {
		argv = append(argv, "-icount", steadyClock)
	}
	argv = append(argv, share(shareRoot, "/", true)...)
	argv = append(argv, share(shareModules, k.modules(), true)...)
	if opts.artifacts != "" {
		argv = append(argv, share(shareArtifacts, opts.artifacts, false)...)
	}
	m.cmd = exec.Command("qemu-system-x86_64", argv...)
	m.cmd.Stdout, m.cmd.Stderr = consoleW, consoleW
	m.cmd.ExtraFiles = []*os.File{theirs}
	// Its own group, so that the terminal's Ctrl-C reaches us first; and it
	// must not outlive us.
	m.cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		return fmt.Errorf("%w (Debian: apt-get install qemu-system-x86)", err)
	}
	go func() {
		_ = m.cmd.Wait() // how it ended shows in what it sent
		close(m.exited)
	}()
	return nil
}

func share(tag, path string, readonly bool) []string {
	fsdev := "local,id=" + tag + ",path=" + strings.ReplaceAll(path, ",", ",,") + ",security_model=none,multidevs=remap"
	if readonly {
		fsdev += ",readonly=on"
	}
	return []string{"-fsdev", fsdev, "-device", "virtio-9p-pci,fsdev=" + tag + ",mount_tag=" + tag}
}

// stop ends the guest at once and removes what the run left.
func (m *machine) stop() {
	_ = m.cmd.Process.Kill() // it may have ended by itself
	<-m.exited
	m.agent.Close()
	m.console.Close()
	os.RemoveAll(m.dir)
}
