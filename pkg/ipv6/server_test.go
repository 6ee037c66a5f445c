package ipv6

import (
	"log/slog"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// guarded is a socket that sends nothing, but looks whether its server could decide something else meanwhile.
type guarded struct {
	syscall.RawConn

	s    *Server
	sent chan bool // whether it could not
}

// Control stands for sending.
func (g *guarded) Control(func(fd uintptr)) error {
	free := g.s.mu.TryLock()
	if free {
		g.s.mu.Unlock()
	}
	g.sent <- !free
	return nil
}

// open gives a guarded socket, and the far end of what it receives.
func (g *guarded) open(t *testing.T) (*socket, *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file, far := os.NewFile(uintptr(fds[0]), "near"), os.NewFile(uintptr(fds[1]), "far")
	t.Cleanup(func() { _ = far.Close() })
	raw, err := file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return &socket{file: file, raw: &guarded{raw, g.s, g.sent}}, far
}

// A past trap: what had been decided was sent when Stop may have returned, and the interface been another subscriber's.
func TestNothingIsSentBehindStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.line("serve 7 delegated=2001:db8:100::/56")
	w.line("dhcp 7 fe80::2 request client=a server=us pd=1")
	s := &Server{
		cfg: Config{Now: func() Time { return time.Hour }}, log: slog.New(slog.DiscardHandler), core: w.core, members: newMembers(),
		done: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	g := &guarded{s: s, sent: make(chan bool, 1)}
	var far *os.File
	s.icmp, _ = g.open(t)
	s.dhcp, far = g.open(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for name, send := range map[string]func(){
		"an advertisement that is due": func() { s.running.Go(s.expire) },
		"an answer that has waited":    func() { s.ready(7, w.tokens["7"]) },
		"an answer at once": func() {
			s.running.Go(func() {
				s.read(s.dhcp, func(*core, Time, datagram) (packet, bool) { return packet{index: 7, to: allNodes}, true })
			})
			if _, err := far.WriteString("a question"); err != nil {
				t.Error(err)
			}
		},
	} {
		send()
		select {
		case ok := <-g.sent:
			if !ok {
				t.Errorf("%s is sent when it may be too late", name)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s is not sent", name)
		}
	}
}
