//go:build kernel

package pppd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/kernel"
)

// wait is how long a test waits for something that should happen at once.
const wait = 2 * time.Minute

// host is a network namespace with a Kernel and a Supervisor. Its thread lives in the namespace and ends with the test.
type host struct {
	t     *testing.T
	name  string
	calls chan func()
	ns    int
	k     *kernel.Kernel
	s     *Supervisor
	dir   string
}

func newHost(t *testing.T, name string) *host {
	t.Helper()
	h := &host{t: t, name: name, calls: make(chan func())}
	begun := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			h.ns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		begun <- err
		for f := range h.calls {
			f()
		}
	}()
	if err := <-begun; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(h.calls)
		_ = unix.Close(h.ns)
	})
	h.must(func() error {
		var err error
		h.k, err = kernel.Open(kernel.Config{})
		return err
	})
	t.Cleanup(func() {
		if err := h.k.Close(); err != nil {
			t.Error(err)
		}
	})
	h.dir = filepath.Join(t.TempDir(), "pppd")
	h.must(func() error {
		h.s = New(Config{Dir: h.dir, Grace: wait})
		return nil
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := h.s.Close(ctx); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(h.dir); len(left) != 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("host %s: left behind: %v, %v", name, left, err)
		}
	})
	return h
}

func (h *host) must(f func() error) {
	h.t.Helper()
	done := make(chan error)
	h.calls <- func() { done <- f() }
	if err := <-done; err != nil {
		h.t.Fatal(err)
	}
}

// try runs a command in the host.
func (h *host) try(args ...string) (out string, err error) {
	h.t.Helper()
	h.must(func() error {
		var b []byte
		b, err = exec.Command(args[0], args[1:]...).CombinedOutput()
		out = string(b)
		return nil
	})
	return out, err
}

// run is try for a command that must succeed.
func (h *host) run(command string) string {
	h.t.Helper()
	out, err := h.try(strings.Fields(command)...)
	if err != nil {
		h.t.Fatalf("host %s: %s: %v\n%s", h.name, command, err, out)
	}
	return out
}

// connected gives a UDP socket of the thread's namespace.
func connected(local, remote string) (int, error) {
	addr := func(s string) *unix.SockaddrInet4 {
		a := netip.MustParseAddrPort(s)
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	return fd, errors.Join(unix.Bind(fd, addr(local)), unix.Connect(fd, addr(remote)))
}

// tunnel makes a kernel tunnel on a connected socket.
func (h *host) tunnel(id, peer uint16, local, remote string) {
	h.t.Helper()
	h.must(func() error {
		fd, err := connected(local, remote)
		if err != nil {
			return err
		}
		h.t.Cleanup(func() { _ = unix.Close(fd) })
		return h.k.CreateTunnel(kernel.TunnelSpec{ID: id, PeerID: peer, FD: fd})
	})
}

// session makes a session that is closed before the tunnel's socket.
func (h *host) session(spec kernel.SessionSpec, sink func([]byte)) *kernel.Session {
	h.t.Helper()
	var s *kernel.Session
	h.must(func() error {
		var to kernel.Receiver // nil: it is not read
		if sink != nil {
			to = kernel.Funcs{OnFrame: sink}
		}
		var err error
		s, err = h.k.CreateSession(spec, to)
		return err
	})
	return s
}

// pair is two hosts with a tunnel between them.
type pair struct {
	t        *testing.T
	a, b     *host
	sessions uint16
}

// bare says that another process makes the tunnel of host a.
const bare = true

func newPair(t *testing.T, without ...bool) *pair {
	t.Helper()
	a, b := newHost(t, "a"), newHost(t, "b")
	a.run("ip link set lo up")
	b.run("ip link set lo up")
	a.run(fmt.Sprintf("ip link add wire type veth peer name wire netns /proc/%d/fd/%d", os.Getpid(), b.ns))
	for _, h := range []*host{a, b} {
		h.run("ip link set wire up")
	}
	a.run("ip addr add 10.9.0.1/24 dev wire")
	b.run("ip addr add 10.9.0.2/24 dev wire")
	if len(without) == 0 {
		a.tunnel(1, 11, "10.9.0.1:1701", "10.9.0.2:1701")
	}
	b.tunnel(11, 1, "10.9.0.2:1701", "10.9.0.1:1701")
	return &pair{t: t, a: a, b: b}
}

// session numbers the two ends of a new session. A session has one pppd in its life: its channel cannot get another unit.
func (p *pair) session() (a, b kernel.SessionSpec) {
	p.sessions++
	id := p.sessions
	return kernel.SessionSpec{TunnelID: 1, PeerTunnelID: 11, SessionID: id, PeerID: id + 100},
		kernel.SessionSpec{TunnelID: 11, PeerTunnelID: 1, SessionID: id + 100, PeerID: id}
}

// start runs pppds on the two ends of a new session.
func (p *pair) start(specA, specB Spec) (a, b *end) {
	p.t.Helper()
	atA, atB := p.session()
	return p.a.start(atA, specA), p.b.start(atB, specB)
}

// end is one end of a session with a pppd on it.
type end struct {
	t       *testing.T
	h       *host
	session *kernel.Session
	p       *Process
	events  chan Event
	lines   []string
}

// start makes an end of a session and gives it to a pppd.
func (h *host) start(at kernel.SessionSpec, spec Spec) *end {
	h.t.Helper()
	e := &end{t: h.t, h: h, session: h.session(at, nil), events: make(chan Event, 1024)}
	h.t.Cleanup(func() {
		if err := e.session.Close(); err != nil {
			h.t.Error(err)
		}
	})
	var err error
	if spec.Socket, err = e.session.HandOver(); err != nil {
		h.t.Fatal(err)
	}
	spec.Name = fmt.Sprintf("%d/%d", at.TunnelID, at.SessionID)
	if e.p, err = h.s.Start(spec, func(ev Event) { e.events <- ev }); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		e.stop()
		for len(e.events) > 0 {
			e.take(<-e.events)
		}
		if h.t.Failed() {
			h.t.Logf("pppd of host %s:\n%s", h.name, strings.Join(e.lines, "\n"))
		}
	})
	return e
}

func (e *end) stop() {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := e.p.Stop(ctx); err != nil {
		e.t.Error(err)
	}
}

// take keeps a line and reports whether the event was one.
func (e *end) take(ev Event) bool {
	line, ok := ev.(EvLine)
	if ok {
		e.lines = append(e.lines, line.Text)
	}
	return ok
}

// next gives the next event that is not a line.
func (e *end) next() Event {
	e.t.Helper()
	late := time.After(wait)
	for {
		select {
		case ev := <-e.events:
			if !e.take(ev) {
				return ev
			}
		case <-late:
			e.t.Fatalf("host %s: waited in vain for an event; pppd said\n%s", e.h.name, strings.Join(e.lines, "\n"))
		}
	}
}

// last gives the event of the end.
func (e *end) last() Event {
	e.t.Helper()
	for {
		if ev, ok := e.next().(EvDown); ok {
			return ev
		}
	}
}

// up waits for network protocols, in whatever order they come up.
func (e *end) up(want ...EvNetworkUp) {
	e.t.Helper()
	for range want {
		ev := e.next()
		if !slices.ContainsFunc(want, func(w EvNetworkUp) bool { return cmp.Equal(Event(w), ev, compareAddrs) }) {
			e.t.Errorf("host %s: %+v, want one of %+v", e.h.name, ev, want)
		}
	}
}

// ends waits for the end and compares it.
func (e *end) ends(want string) {
	e.t.Helper()
	if got := fmt.Sprint(e.last()); got != want {
		e.t.Errorf("host %s: ended by %s\nwant %s", e.h.name, got, want)
	}
}

// until polls a condition that has no event to wait for.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(wait); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
