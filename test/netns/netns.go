// Package netns gives tests hosts of their own: network namespaces on this machine. It takes root.
package netns

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Host is a network namespace. Its tests run on one thread each, which moves from host to host and ends with the test.
type Host struct {
	t  *testing.T
	fd int
}

// New makes a namespace with lo up, which goes with the test, and leaves the test's thread in it.
func New(t *testing.T) *Host {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test's goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("unshare: %v (these tests take root)", err)
	}
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	h := &Host{t, fd}
	h.Run("ip link set lo up")
	return h
}

// Path names the namespace to other programs, while the test lasts.
func (h *Host) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), h.fd) }

// Enter moves the test's thread into the host.
func (h *Host) Enter() {
	h.t.Helper()
	if err := unix.Setns(h.fd, unix.CLONE_NEWNET); err != nil {
		h.t.Fatal(err)
	}
}

// Try runs a shell command in the host, and gives what it says without the white space around it.
func (h *Host) Try(command string) (string, error) {
	h.t.Helper()
	h.Enter()
	out, err := exec.Command("sh", "-ec", command).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// Run is Try for a command that must succeed.
func (h *Host) Run(command string) string {
	h.t.Helper()
	out, err := h.Try(command)
	if err != nil {
		h.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}
