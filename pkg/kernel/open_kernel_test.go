//go:build kernel

package kernel

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// apart runs f on a thread of its own that is thrown away, so that f may change it.
func apart(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// emptyDev hides /dev from the calling thread.
func emptyDev(flags uintptr) error {
	return errors.Join(
		unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_FS),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("none", "/dev", "tmpfs", flags, ""),
	)
}

func TestKernelOpenSaysWhatIsMissing(t *testing.T) {
	tests := []struct {
		name    string
		prepare func() error
		want    string
	}{
		{
			"no device", func() error { return emptyDev(0) },
			"/dev/ppp does not exist: modprobe ppp_generic, or: mknod /dev/ppp c 108 0",
		},
		{
			"no access", func() error {
				return errors.Join(emptyDev(unix.MS_NODEV), unix.Mknod("/dev/ppp", unix.S_IFCHR|0o600, int(unix.Mkdev(108, 0))))
			},
			"no access to /dev/ppp: run as root; in systemd: DeviceAllow=/dev/ppp rw; in a container: --device /dev/ppp",
		},
		{
			"no driver", func() error {
				// The highest major number of the range for experiments: nobody has it.
				return errors.Join(emptyDev(0), unix.Mknod("/dev/ppp", unix.S_IFCHR|0o600, int(unix.Mkdev(254, 250))))
			},
			"/dev/ppp has no driver: modprobe ppp_generic; if there is no such module install linux-modules-extra (Ubuntu) or " +
				"kernel-modules-extra (Fedora, RHEL)",
		},
		{
			"no capability", func() error {
				header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
				var data [2]unix.CapUserData
				if err := unix.Capget(&header, &data[0]); err != nil {
					return err
				}
				data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
				return unix.Capset(&header, &data[0])
			},
			"no CAP_NET_ADMIN: run as root or from the systemd unit, or grant it with AmbientCapabilities=CAP_NET_ADMIN",
		},
	}
	// The first Open starts Go's own poller, which stays.
	k, err := Open(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	before := descriptors(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := apart(func() error {
				if err := tt.prepare(); err != nil {
					return err
				}
				k, err := Open(Config{})
				if err == nil {
					err = errors.Join(k.Close(), errors.New("Open found nothing missing"))
				}
				return err
			})
			wantUnavailable(t, err, tt.want)
		})
	}
	if diff := cmp.Diff(before, descriptors(t)); diff != "" {
		t.Errorf("failed opens leak: %s", diff)
	}
}

func wantUnavailable(t *testing.T, err error, want string) {
	t.Helper()
	var missing *UnavailableError
	if !errors.As(err, &missing) || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

// noModprobe lets no module come until the test ends. Only a guest's modules may be taken away, which it says: a native run shares them
// with the host.
func noModprobe(t *testing.T) bool {
	t.Helper()
	if os.Getenv("L2TPD_GUEST") != "1" || os.Getenv("L2TPD_KERNEL") == "native" {
		t.Log("not a guest: modules stay")
		return false
	}
	const helper = "/proc/sys/kernel/modprobe"
	path, err := os.ReadFile(helper)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(helper, []byte("/bin/false"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(helper, path, 0o644); err != nil {
			t.Error(err)
		}
	})
	return true
}

func TestKernelOpenSaysWhichModuleIsMissing(t *testing.T) {
	t.Cleanup(func() {
		k, err := Open(Config{})
		if err != nil {
			t.Fatalf("modules do not come back: %v", err)
		}
		_ = k.Close()
	})
	k, err := Open(Config{}) // loads them
	if err != nil {
		t.Fatal(err)
	}
	if !noModprobe(t) {
		_ = k.Close()
		return
	}
	open := func() error {
		k, err := Open(Config{})
		if err == nil {
			_ = k.Close()
		}
		return err
	}
	accessIsMissing(t, k)
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	const rest = " is not available: modprobe l2tp_ppp; if there is no such module install linux-modules-extra (Ubuntu) or " +
		"kernel-modules-extra (Fedora, RHEL)"
	unload(t, "l2tp_ppp")
	if _, err := os.Stat("/sys/module/l2tp_netlink"); err == nil {
		wantUnavailable(t, open(), "l2tp_ppp"+rest+"; in systemd, RestrictAddressFamilies= needs AF_PPPOX")
	}
	unload(t, "l2tp_netlink")
	wantUnavailable(t, open(), "l2tp_netlink"+rest+", and look for \"blacklist l2tp\" below /etc/modprobe.d")
}

// accessIsMissing needs no modules but those of PPPoE and of lines to be taken away.
func accessIsMissing(t *testing.T, k *Kernel) {
	t.Helper()
	unload(t, "pppoe")
	unload(t, "ppp_async")
	p := newPTY(t)
	before := descriptors(t)
	_, pppoe := k.OpenPPPoE(PPPoESpec{Interface: "lo", SessionID: 1, Peer: [6]byte{2}}, Funcs{})
	_, line := k.OpenLine(LineSpec{TTY: p.slave}, Funcs{})
	for module, err := range map[string]error{"pppoe": pppoe, "ppp_async": line} {
		var missing *UnavailableError
		if !errors.As(err, &missing) {
			t.Fatalf("without %s: %v", module, err)
		}
		wantUnavailable(t, missing, module+" is not available: modprobe "+module+"; if there is no such module install "+
			"linux-modules-extra (Ubuntu) or kernel-modules-extra (Fedora, RHEL)")
	}
	if diff := cmp.Diff(before, descriptors(t)); diff != "" {
		t.Errorf("failed calls leak: %s", diff)
	}
}

// unload takes a module away once nothing uses it: tunnels of earlier tests go in the background.
func unload(t *testing.T, name string) {
	t.Helper()
	until(t, name+" is unloaded", func() bool {
		err := unix.DeleteModule(name, unix.O_NONBLOCK)
		return err == nil || errors.Is(err, unix.ENOENT)
	})
}
