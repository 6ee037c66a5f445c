//go:build kernel

package ipv6

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/test/netns"
)

// patience is how long a test waits for something that should happen at once.
const patience = 2 * time.Minute

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

// newRouter makes a host that forwards, with an address beyond its links.
func newRouter(t *testing.T) *host {
	t.Helper()
	h := newHost(t)
	h.Run("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; ip addr add " + beyond + "/128 dev lo")
	return h
}

// beyond is what a subscriber that got all it needs can reach.
const beyond = "2001:db8:ffff::1"

// until repeats a command until its output has all of these words.
func (h *host) until(command string, words ...string) {
	h.t.Helper()
	var out string
	eventually(h.t, func() error {
		out, _ = h.Try(command)
		for _, word := range words {
			if !strings.Contains(" "+strings.Join(strings.Fields(out), " ")+" ", word) {
				return fmt.Errorf("%s: no %q in:\n%s", command, word, out)
			}
		}
		return nil
	})
}

// eventually polls for what has no event to wait for. It looks for a quarter of the time, or twice a second: others need the processor.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.After(patience)
	for {
		began := time.Now()
		err := check()
		if err == nil {
			return
		}
		select {
		case <-time.After(min(max(20*time.Millisecond, 3*time.Since(began)), 500*time.Millisecond)):
		case <-deadline:
			t.Fatalf("in vain: %v", err)
		}
	}
}

// index gives the index of an interface.
func (h *host) index(name string) int {
	h.t.Helper()
	var n int
	if _, err := fmt.Sscan(h.Run("ip -o link show "+name+" | cut -d: -f1"), &n); err != nil {
		h.t.Fatal(err)
	}
	return n
}

// clock is a Config's.
func clock() func() Time {
	begin := time.Now()
	return func() Time { return time.Since(begin) + time.Hour }
}

// server opens a Server in the host.
func (h *host) server() *Server {
	h.t.Helper()
	h.Enter()
	log := slog.New(slog.NewTextHandler(h.t.Output(), nil))
	s, err := New(Config{Now: clock(), Identity: "test", Logger: log})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			h.t.Error(err)
		}
		if h.t.Failed() {
			h.t.Logf("%+v", s.Counters())
		}
	})
	return s
}

// serve serves an interface as its owner would: the prefix leads there before the router is told.
func (h *host) serve(s *Server, name string, lease Lease) events {
	h.t.Helper()
	index := h.index(name)
	told := make(events, 100)
	h.Enter()
	if err := s.Serve(index, lease, func(e Event) { told <- e }); err != nil {
		h.t.Fatal(err)
	}
	return told
}

// events are those of one interface.
type events chan Event

// next waits for an event of that kind.
func (e events) next(t *testing.T, want Change) Event {
	t.Helper()
	select {
	case got := <-e:
		if got.Change != want {
			t.Fatalf("%v %v, want %v", got.Prefix, got.Change, want)
		}
		return got
	case <-time.After(patience):
		t.Fatalf("no event: want %v", want)
		return Event{}
	}
}

// owner installs and removes the route of an interface's prefix.
func (h *host) owner(name string, e Event) {
	h.t.Helper()
	if e.Change == Taken {
		h.Run(fmt.Sprintf("ip -6 route replace %v via %v dev %s", e.Prefix, e.Router, name))
		e.Ready()
		return
	}
	h.Run(fmt.Sprintf("ip -6 route del %v dev %s", e.Prefix, name))
}

// wire joins a router and a subscriber by a pair of devices that have no address but those that IPV6CP would have settled.
func wire(router *host, name string, subscriber *host) {
	router.t.Helper()
	router.Run(fmt.Sprintf("ip link add %s type veth peer name wan netns %s", name, subscriber.Path()))
	subscriber.up("wan", "fe80::2", "fe80::1")
	router.up(name, "fe80::1", "fe80::2")
}

// up sets a link up with its addresses, in the order in which pkg/network does it: nothing else is on the link.
func (h *host) up(name, local, peer string) {
	h.t.Helper()
	h.Run(fmt.Sprintf("ip link set %s addrgenmode none; ip link set %s up; ip -6 addr add %s peer %s/128 dev %s nodad",
		name, name, local, peer, name))
}

// socket opens a socket in the host.
func (h *host) socket(kind, protocol int) int {
	h.t.Helper()
	h.Enter()
	fd, err := unix.Socket(unix.AF_INET6, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// send sends one packet on a link.
func (h *host) send(fd int, link, to string, port int, data []byte) {
	h.t.Helper()
	err := unix.Sendto(fd, data, 0, &unix.SockaddrInet6{Addr: addr(to).As16(), Port: port, ZoneId: uint32(h.index(link))})
	if err != nil {
		h.t.Fatal(err)
	}
}

// count waits until the counters are as wanted.
func count(t *testing.T, s *Server, wanted func(Counters) bool) {
	t.Helper()
	eventually(t, func() error {
		if c := s.Counters(); !wanted(c) {
			return fmt.Errorf("counters are %+v", c)
		}
		return nil
	})
}

// process is a program that runs until the test ends.
type process struct {
	h   *host
	cmd *exec.Cmd
	mu  sync.Mutex
	log bytes.Buffer
}

// Write takes what the program prints.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// start runs a program in the host.
func (h *host) start(name string, args ...string) *process {
	h.t.Helper()
	h.Enter()
	p := &process{h: h, cmd: exec.Command(name, args...)}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		p.kill()
		if h.t.Failed() {
			h.t.Logf("%s:\n%s", name, p.text())
		}
	})
	return p
}

func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
