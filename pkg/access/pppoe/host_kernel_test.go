//go:build kernel

package pppoe

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/test/netns"
)

// patience is how long anything may take on a machine that has much to do.
const patience = time.Minute

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

// shows runs a command until its output has all of the words: what a client sent before the interface was served is lost.
func (h *host) shows(command string, words ...string) string {
	h.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		out, _ := h.Try(command)
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
	a.Run(fmt.Sprintf("ip link add %s type veth peer name %s netns %s", nameA, nameB, b.Path()))
	a.Run("ip link set " + nameA + " up")
	b.Run("ip link set " + nameB + " up")
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
	h.Enter()
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

// counts waits until the counters lack nothing.
func (o *owner) counts(lacks func(Counters) string) {
	o.t.Helper()
	for deadline := time.After(patience); ; {
		missing := lacks(o.l.Counters())
		if missing == "" {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			o.t.Fatalf("not counted: %s", missing)
		}
	}
}

// holdUp has the listener read nothing until it is released, while there is room for a few frames only.
func (o *owner) holdUp() (release func()) {
	o.t.Helper()
	held, end := make(chan struct{}), make(chan struct{})
	o.l.post(func(time.Duration) {
		close(held)
		<-end
	})
	<-held
	release = sync.OnceFunc(func() { close(end) })
	o.t.Cleanup(release) // before the listener is closed
	for _, fd := range o.l.socket.queues {
		if err := o.l.socket.control(func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1) }); err != nil {
			o.t.Fatal(err)
		}
	}
	return release
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
	h.Enter()
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

// flood sends a packet of that many stations.
func (s *speaker) flood(p Packet, stations int) {
	for i := range stations {
		p.Src = client(i)
		_ = s.socket.send(s.index, p.frame()) // what finds no room is a part of the flood, too
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

// link sets an interface up or down, without the time that a program takes for it.
func (h *host) link(name string) (set func(up bool)) {
	h.t.Helper()
	h.Enter()
	nl, err := netlink.NewHandle()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(nl.Close)
	l, err := nl.LinkByName(name)
	if err != nil {
		h.t.Fatal(err)
	}
	return func(up bool) {
		change := nl.LinkSetDown
		if up {
			change = nl.LinkSetUp
		}
		if err := change(l); err != nil {
			h.t.Fatal(err)
		}
	}
}

// mac gives the address of an interface.
func (h *host) mac(name string) MAC {
	h.t.Helper()
	return h.speaker(name).mac
}
