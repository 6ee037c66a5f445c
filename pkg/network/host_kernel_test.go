//go:build kernel

package network

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/test/netns"
)

// host is a network namespace.
type host struct {
	*netns.Host

	t *testing.T
}

// newHost makes a namespace with lo up, and leaves the test's thread in it.
func newHost(t *testing.T) *host {
	t.Helper()
	return &host{netns.New(t), t}
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
	if diff := cmp.Diff(lines(want), lines(h.Run(command))); diff != "" {
		h.t.Errorf("%s (-want +got):\n%s", command, diff)
	}
}

// waits polls a command until it shows what is wanted. It looks for a quarter of the time, or twice a second: others need the
// processor.
func (h *host) waits(command, want string) {
	h.t.Helper()
	for deadline := time.After(time.Minute); ; {
		began := time.Now()
		diff := cmp.Diff(lines(want), lines(h.Run(command)))
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
	h.Enter()
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
	h.Enter()
	if err := m.Apply(h.t.Context(), Owner{What: owner}, want); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) remove(m *Manager, owner string) {
	h.t.Helper()
	h.Enter()
	if err := m.Remove(h.t.Context(), Owner{What: owner}); err != nil {
		h.t.Fatal(err)
	}
}

// wire joins two hosts by a pair of devices that answer ARP for whatever lies behind them, as a PPP link needs no ARP.
func wire(a *host, nameA string, b *host, nameB string) {
	a.t.Helper()
	a.Run(fmt.Sprintf("ip link add %s type veth peer name %s netns %s", nameA, nameB, b.Path()))
	for _, end := range []struct {
		h    *host
		name string
	}{{a, nameA}, {b, nameB}} {
		end.h.Run("echo 1 > /proc/sys/net/ipv4/conf/" + end.name + "/proxy_arp; echo 0 > /proc/sys/net/ipv4/neigh/" + end.name + "/proxy_delay")
	}
}
