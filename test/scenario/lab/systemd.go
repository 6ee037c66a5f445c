//go:build kernel

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Systemd is a systemd that runs as process 1 of a host, with its journal, as on an operator's machine. What it and others write
// below /etc, /usr, /var and /tmp stays with it.
type Systemd struct {
	*Proc
	pid string // of systemd, as the lab sees it
}

// aloneScript gives systemd what it wants to have to itself. It runs as process 1 of new namespaces; $1 has our programs.
const aloneScript = `
set -e
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/lock /run/bin
mount --bind "$1" /run/bin
mount -t tmpfs -o mode=1777 tmp /tmp
for dir in /etc /usr/bin /usr/sbin /var; do
	mkdir -p "/run/own$dir/upper" "/run/own$dir/work"
	mount -t overlay -o "lowerdir=$dir,upperdir=/run/own$dir/upper,workdir=/run/own$dir/work" overlay "$dir"
done
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --make-rshared / # what process 1 does, unless it finds itself in a container
mkdir -p /run/systemd/system
cat >/run/systemd/system/lab.target <<end
[Unit]
DefaultDependencies=no
Wants=systemd-journald.service systemd-journald.socket
After=systemd-journald.socket
end
export container=lab
exec /lib/systemd/systemd --unit=lab.target --log-target=console --show-status=no
`

// Systemd boots one.
func (h *Host) Systemd() *Systemd {
	h.l.t.Helper()
	group := "/sys/fs/cgroup/" + h.ns
	// The control group first, from outside: it becomes the root of what systemd sees.
	c := exec.Command("sh", "-c", `
		mkdir -p "$1" && echo $$ >"$1/cgroup.procs" &&
		exec unshare --mount --pid --cgroup --ipc --uts --fork --mount-proc --kill-child sh -c "$2" sh "$3"`,
		"sh", group, aloneScript, filepath.Dir(h.l.Binary("l2tpd")))
	c.SysProcAttr = &syscall.SysProcAttr{}
	s := &Systemd{Proc: h.start("systemd", c)}
	h.l.Eventually("systemd of host "+h.Name, func() error {
		select {
		case <-s.done:
			h.l.t.Fatalf("systemd of host %s has ended: %v\n%s", h.Name, s.err, s.Log())
		default:
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", s.PID()))
		if err != nil {
			return err
		}
		s.pid = strings.TrimSpace(string(b))
		if s.pid == "" {
			return fmt.Errorf("unshare has no child yet: %s", s.Log())
		}
		out, err := s.Try("systemctl", "is-active", "lab.target")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	h.l.t.Cleanup(func() { // before the lab's own end
		if h.l.t.Failed() {
			out, _ := s.Try("journalctl", "--no-pager", "-n", "60", "-o", "short-monotonic")
			h.l.t.Logf("--- journal of host %s\n%s", h.Name, out)
		}
	})
	return s
}

// Install puts l2tpd and its unit where the README says.
func (s *Systemd) Install() {
	s.Host.l.t.Helper()
	s.Run("install", "-m", "755", "/run/bin/l2tpd", "/usr/sbin/l2tpd")
	s.Run("install", "-m", "755", "/run/bin/l2tpctl", "/usr/bin/l2tpctl")
	for name, path := range map[string]string{
		"l2tpd.service":  "/etc/systemd/system/l2tpd.service",
		"l2tpd.sysusers": "/etc/sysusers.d/l2tpd.conf",
		"l2tpd.tmpfiles": "/etc/tmpfiles.d/l2tpd.conf",
	} {
		text, err := os.ReadFile("../../configs/systemd/" + name) // systemd's /tmp, where the tree may be, is another
		if err != nil {
			s.Host.l.t.Fatal(err)
		}
		s.Write(path, string(text))
	}
	s.Run("systemd-sysusers", "l2tpd.conf")
	s.Run("systemd-tmpfiles", "--create", "l2tpd.conf")
	s.Run("systemctl", "daemon-reload")
}

// Write writes a file that only root may read.
func (s *Systemd) Write(path, text string) {
	s.Host.l.t.Helper()
	s.Run("sh", "-c", `umask 077 && mkdir -p "${1%/*}" && printf %s "$2" >"$1"`, "sh", path, text)
}

// Run runs a command beside systemd and returns what it printed. It fails the test when the command does.
func (s *Systemd) Run(args ...string) string {
	s.Host.l.t.Helper()
	out, err := s.Try(args...)
	if err != nil {
		s.Host.l.t.Fatalf("host %s: %s: %v\n%s", s.Host.Name, strings.Join(args, " "), err, out)
	}
	return out
}

// Try runs a command beside systemd and returns what it printed, and its failure.
func (s *Systemd) Try(args ...string) (string, error) {
	return s.Host.Try("nsenter", append([]string{"-t", s.pid, "-a"}, args...)...)
}

// Journal returns the fields of the daemon's entries that match, oldest first, in the journal's export of one object a line.
func (s *Systemd) Journal(match ...string) string {
	s.Host.l.t.Helper()
	s.Run("journalctl", "--sync")
	return s.Run(append([]string{"journalctl", "-u", "l2tpd", "--no-pager", "-o", "json"}, match...)...)
}
