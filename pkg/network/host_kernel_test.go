//go:build kernel

package network

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// host is a network namespace. Its tests run on one thread each, which moves from host to host and ends with the test.
type host struct {
	t  *testing.T
	fd int
}

// newHost makes a namespace with lo up, and leaves the test's thread in it.
func newHost(t *testing.T) *host {
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
	h := &host{t, fd}
	h.run("ip link set lo up")
	return h
}

// enter moves the test's thread into the host.
func (h *host) enter() {
	h.t.Helper()
	if err := unix.Setns(h.fd, unix.CLONE_NEWNET); err != nil {
		h.t.Fatal(err)
	}
}

// try runs a shell command in the host.
func (h *host) try(command string) (string, error) {
	h.t.Helper()
	h.enter()
	out, err := exec.Command("sh", "-ec", command).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// run is try for a command that must succeed.
func (h *host) run(command string) string {
	h.t.Helper()
	out, err := h.try(command)
	if err != nil {
		h.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

// lines splits output, without what pads it.
func lines(s string) (out []string) {
	for line := range strings.Lines(s) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// shows compares the output of a command, line by line.
func (h *host) shows(command, want string) {
	h.t.Helper()
	if diff := cmp.Diff(lines(want), lines(h.run(command))); diff != "" {
		h.t.Errorf("%s (-want +got):\n%s", command, diff)
	}
}

// waits polls a command until it shows what is wanted. It looks for a quarter of the time, or twice a second: others need the
// processor.
func (h *host) waits(command, want string) {
	h.t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		began := time.Now()
		diff := cmp.Diff(lines(want), lines(h.run(command)))
		if diff == "" {
			return
		}
		select {
		case <-time.After(min(max(10*time.Millisecond, 3*time.Since(began)), 500*time.Millisecond)):
		case <-deadline:
			h.t.Fatalf("%s (-want +got), after a long wait:\n%s", command, diff)
		}
	}
}

// manager opens a Manager in the host.
func (h *host) manager() *Manager {
	h.t.Helper()
	h.enter()
	m, err := New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = m.Close() })
	return m
}

// apply applies with a Manager that was opened in the host: its nftables socket is opened by the first call that needs it.
func (h *host) apply(m *Manager, owner string, want Interface) {
	h.t.Helper()
	h.enter()
	if err := m.Apply(h.t.Context(), owner, want); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) remove(m *Manager, owner string) {
	h.t.Helper()
	h.enter()
	if err := m.Remove(h.t.Context(), owner); err != nil {
		h.t.Fatal(err)
	}
}

// wire joins two hosts by a pair of devices that answer ARP for whatever lies behind them, as a PPP link needs no ARP.
func wire(a *host, nameA string, b *host, nameB string) {
	a.t.Helper()
	a.run(fmt.Sprintf("ip link add %s type veth peer name %s netns /proc/%d/fd/%d", nameA, nameB, os.Getpid(), b.fd))
	for _, end := range []struct {
		h    *host
		name string
	}{{a, nameA}, {b, nameB}} {
		end.h.run("echo 1 > /proc/sys/net/ipv4/conf/" + end.name + "/proxy_arp; echo 0 > /proc/sys/net/ipv4/neigh/" + end.name + "/proxy_delay")
	}
}
