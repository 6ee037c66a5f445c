//go:build kernel

package pppoe

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long anything may take on a machine that has much to do.
const patience = 20 * time.Second

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

// shows runs a command until its output has all of the words: what a client sent before the interface was served is lost.
func (h *host) shows(command string, words ...string) string {
	h.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		out, _ := h.try(command)
		missing := ""
		for _, w := range words {
			if !strings.Contains(out, w) {
				missing = w
			}
		}
		if missing == "" {
			return out
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%s shows no %q:\n%s", command, missing, out)
		}
	}
}

// wire joins two hosts by a pair of devices, which are up.
func wire(a *host, nameA string, b *host, nameB string) {
	a.t.Helper()
	a.run(fmt.Sprintf("ip link add %s type veth peer name %s netns /proc/%d/fd/%d", nameA, nameB, os.Getpid(), b.fd))
	a.run("ip link set " + nameA + " up")
	b.run("ip link set " + nameB + " up")
	a.carries(nameA)
	b.carries(nameB)
}

// carries waits until an interface carries frames: it does some time after its carrier is there, and loses them before.
func (h *host) carries(name string) {
	h.t.Helper()
	h.shows("ip -o link show "+name, "state UP")
}

// owner is a Handler that agrees to every session, and tells the test what happens.
type owner struct {
	t      *testing.T
	l      *Listener
	events chan string

	mu     sync.Mutex
	offers []Offer
}

func (o *owner) Offered(x Offer) {
	o.mu.Lock()
	o.offers = append(o.offers, x)
	l := o.l
	o.mu.Unlock()
	l.Accept(x.SessionID)
	o.events <- "offered"
}
func (o *owner) Ended(id uint16, why string) { o.events <- fmt.Sprintf("ended %d: %s", id, why) }
func (o *owner) Down(reason string)          { o.events <- "down: " + reason }
func (o *owner) Up()                         { o.events <- "up" }

// expect waits for the next event.
func (o *owner) expect(want string) {
	o.t.Helper()
	select {
	case got := <-o.events:
		if got != want {
			o.t.Fatalf("event %q instead of %q", got, want)
		}
	case <-time.After(patience):
		o.t.Fatalf("no event %q", want)
	}
}

// last gives the last offer.
func (o *owner) last() Offer {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.offers) == 0 {
		o.t.Fatal("nothing was offered")
	}
	return o.offers[len(o.offers)-1]
}

// listen begins to listen in the host.
func (h *host) listen(name string) *owner {
	h.t.Helper()
	h.enter()
	o := &owner{t: h.t, events: make(chan string, 1000)}
	o.mu.Lock()
	defer o.mu.Unlock()
	l, err := Listen(Config{Interface: name, ACName: "l2tpd-ac", ServiceNames: []string{"internet", "voice"}, Handler: o})
	if err != nil {
		h.t.Fatal(err)
	}
	o.l = l
	h.t.Cleanup(func() {
		if err := l.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return o
}

// speaker is a client that says what the test wants it to.
type speaker struct {
	t      *testing.T
	socket *socket
	index  int
	mac    MAC
}

func (h *host) speaker(name string) *speaker {
	h.t.Helper()
	h.enter()
	s, err := openSocket()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = s.close() })
	d, err := s.look(name)
	if err == nil {
		err = s.bind(d.index)
	}
	if err == nil {
		d.mac, err = s.address(d.index)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return &speaker{h.t, s, d.index, d.mac}
}

// say sends a packet.
func (s *speaker) say(p Packet) {
	s.t.Helper()
	p.Src = s.mac
	if err := s.socket.send(s.index, p.frame()); err != nil {
		s.t.Fatal(err)
	}
}

// hear waits for a packet of that kind to this station.
func (s *speaker) hear(code Code) Packet {
	s.t.Helper()
	p, ok := s.hears(code, patience)
	if !ok {
		s.t.Fatalf("no %s", code)
	}
	return p
}

func (s *speaker) hears(code Code, patience time.Duration) (Packet, bool) {
	s.t.Helper()
	if err := s.socket.wake(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	for {
		r, err := s.socket.receive(make([]byte, maxFrame))
		if err != nil {
			return Packet{}, false
		}
		if p, err := Parse(r.frame); err == nil && p.Code == code && p.Dst == s.mac {
			return p, true
		}
	}
}

// dial gets a session, as any client does: it asks again when there is no answer.
func (s *speaker) dial(tags ...Tag) Packet {
	s.t.Helper()
	tags = append([]Tag{{TagServiceName, nil}}, tags...)
	for end := time.Now().Add(patience); ; {
		s.say(Packet{Dst: broadcast, Code: CodePADI, Tags: tags})
		offer, ok := s.hears(CodePADO, 2*time.Second)
		if !ok && time.Now().Before(end) {
			continue
		}
		if !ok {
			s.t.Fatal("no PADO")
		}
		cookie, _ := offer.tag(TagACCookie)
		s.say(Packet{Dst: offer.Src, Code: CodePADR, Tags: append(tags, Tag{TagACCookie, cookie})})
		return s.hear(CodePADS)
	}
}

// mac gives the address of an interface.
func (h *host) mac(name string) MAC {
	h.t.Helper()
	return h.speaker(name).mac
}
