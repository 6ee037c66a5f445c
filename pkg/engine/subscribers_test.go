package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/access"
	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/kernel/kerneltest"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// dsl is the access network of a box: PPPoE on one interface. A frame takes a millisecond.
type dsl struct {
	*box

	mu          sync.Mutex
	ring        access.Ring
	places      []policy.Access
	served      int // times that Serve was called
	failing     error
	dialled     func(context.Context) (access.Caller, access.Line, error) // nil: there is no line
	subscribers map[uint16]*subscriberBox
	last        uint16
}

// subscriberBox is a PPPoE client, whose discovery is over.
type subscriberBox struct {
	dsl *dsl
	id  uint16
	mac [6]byte
	tty string // his line's; empty: he has come by PPPoE
	cfg ppp.Config

	mu      sync.Mutex // never held over a call of the engine's or the kernel's
	gone    func(why string)
	ready   bool     // PADS has come
	hung    []string // PADT, or a refusal, with its text
	link    *ppp.Link
	inbox   [][]byte
	up      map[ppp.Protocol]ppp.EvNetworkUp
	ends    []ppp.EvLinkDown
	peers   []ppp.EvLinkUp // what LCP came to, each time
	timer   *time.Timer
	early   int // frames that came before PADS
	frames  []string
	refuses bool // no frame of his leaves any more
}

func (d *dsl) Counters() []access.Counters { return nil }

func (d *dsl) Serve(list []policy.Access, ring access.Ring) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.places, d.ring = list, ring
	d.served++
	return d.failing
}

func (d *dsl) Dial(ctx context.Context, _, _, _ string) (access.Caller, access.Line, error) {
	d.mu.Lock()
	dialled := d.dialled
	d.mu.Unlock()
	if dialled == nil {
		return access.Caller{}, nil, errors.New("there is no line")
	}
	return dialled(ctx)
}

// dialIn is a PADR that has been found good. change may be nil.
func (d *dsl) dialIn(t *testing.T, cfg ppp.Config, change func(c *access.Caller)) *subscriberBox {
	t.Helper()
	d.mu.Lock()
	d.last++
	s := &subscriberBox{dsl: d, id: d.last, mac: [6]byte{2, 0, 0, 0, byte(d.last >> 8), byte(d.last)}, cfg: cfg, up: map[ppp.Protocol]ppp.EvNetworkUp{}}
	s.cfg.Random = d.e.cfg.Random
	if s.cfg.MRU == 0 {
		s.cfg.MRU = 1492
	}
	d.subscribers[s.id] = s
	ring := d.ring
	if len(d.places) == 0 {
		d.mu.Unlock()
		t.Fatal("no place is served")
	}
	c := access.Caller{Access: d.places[0], PPPoE: &access.PPPoE{Interface: "eth1", SessionID: s.id, MAC: s.mac, Service: "internet", MaxPayload: 1492}}
	d.mu.Unlock()
	if change != nil {
		change(&c)
	}
	s.mu.Lock()
	defer s.mu.Unlock() // HangUp finds gone
	s.gone = ring(c, s)
	return s
}

func (s *subscriberBox) spec() kernel.PPPoESpec {
	return kernel.PPPoESpec{Interface: "eth1", SessionID: s.id, Peer: s.mac}
}

// channel is the kernel's end of his line; nil: there is none.
func (s *subscriberBox) channel() *kerneltest.Session {
	if s.tty != "" {
		return s.dsl.k.Line(s.tty)
	}
	return s.dsl.k.PPPoE(s.spec())
}

// callIn is a call that a modem has answered.
func (d *dsl) callIn(t *testing.T, cfg ppp.Config) *subscriberBox {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "line"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Line, cfg.MRU = ppp.LineAsync, 1500
	return d.dialIn(t, cfg, func(c *access.Caller) {
		c.PPPoE, c.TTY = nil, &access.TTY{Device: "/dev/ttyS0", File: file, Speed: 33600, CallingNumber: "0551"}
		c.Access = policy.Access{Name: "/dev/ttyS0", Template: c.Access.Template, TTY: &policy.TTY{Device: "/dev/ttyS0"}}
		d.mu.Lock()
		d.subscribers[d.last].tty = file.Name()
		d.mu.Unlock()
	})
}

// Ready is PADS.
func (s *subscriberBox) Ready() {
	s.mu.Lock()
	s.ready = true
	s.mu.Unlock()
	time.AfterFunc(time.Millisecond, func() {
		s.step(func(now time.Duration, out *ppp.Output) { s.link = ppp.Open(&s.cfg, now, out) })
	})
}

// HangUp is PADT, or a PADS that refuses.
func (s *subscriberBox) HangUp(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hung = append(s.hung, why)
	if s.timer != nil {
		s.timer.Stop()
	}
}

// leaves takes the frames that the box sends to subscribers.
func (d *dsl) leaves(at *kerneltest.Session, frame []byte) {
	d.mu.Lock()
	var to *subscriberBox
	for _, s := range d.subscribers {
		if s.channel() == at {
			to = s
		}
	}
	d.mu.Unlock()
	if to == nil {
		return
	}
	to.mu.Lock()
	if !to.ready {
		to.early++
	}
	to.inbox = append(to.inbox, frame)
	to.mu.Unlock()
	time.AfterFunc(time.Millisecond, to.receive)
}

// receive takes the oldest frame.
func (s *subscriberBox) receive() {
	s.step(func(now time.Duration, out *ppp.Output) {
		f := s.inbox[0]
		s.inbox = s.inbox[1:]
		if s.link != nil {
			s.frames = append(s.frames, ppp.Summary(f))
			s.link.Receive(now, f, out)
		}
	})
}

// step does one thing with the link, follows what comes of it, and sets the clock.
func (s *subscriberBox) step(f func(now time.Duration, out *ppp.Output)) {
	s.mu.Lock()
	now := time.Duration(time.Now().UnixNano())
	var out ppp.Output
	f(now, &out)
	var frames [][]byte
	for len(out.Frames)+len(out.Events) > 0 {
		frames = append(frames, out.Frames...)
		events := out.Events
		out = ppp.Output{}
		for _, ev := range events {
			s.event(now, ev, &out)
		}
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.link != nil && s.link.Deadline() != 0 && len(s.hung) == 0 {
		s.timer = time.AfterFunc(s.link.Deadline()-now, func() {
			s.step(func(now time.Duration, out *ppp.Output) { s.link.Expire(now, out) })
		})
	}
	if s.refuses {
		frames = nil
	}
	s.mu.Unlock()
	if at := s.channel(); at != nil {
		for _, f := range frames {
			at.Inject(f)
		}
	}
}

func (s *subscriberBox) event(now time.Duration, ev ppp.Event, out *ppp.Output) {
	switch ev := ev.(type) {
	case ppp.EvLinkUp:
		s.peers = append(s.peers, ev)
	case ppp.EvAddressWanted:
		s.link.Do(now, ppp.CmdAddress{}, out)
	case ppp.EvEncryptionWanted:
		s.link.Do(now, ppp.CmdEncryption{Attempt: ev.Attempt, OK: true}, out)
	case ppp.EvNetworkUp:
		s.up[ev.Proto] = ev
	case ppp.EvNetworkDown:
		delete(s.up, ev.Proto)
	case ppp.EvLinkDown:
		s.ends = append(s.ends, ev)
		gone := s.gone // a client whose PPP has ended ends the session, too
		time.AfterFunc(time.Millisecond, func() { gone("PPP of the subscriber has ended") })
	}
}

// close ends PPP in good order.
func (s *subscriberBox) close() {
	s.step(func(now time.Duration, out *ppp.Output) {
		if s.link != nil {
			s.link.Do(now, ppp.CmdClose{Text: "bye"}, out)
		}
	})
}

// vanish is a PADT.
func (s *subscriberBox) vanish() {
	s.mu.Lock()
	s.refuses = true
	gone := s.gone
	s.mu.Unlock()
	gone("the subscriber has sent a PADT")
}

// address is what the subscriber has; empty: he is not up.
func (s *subscriberBox) address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ev, ok := s.up[ppp.ProtoIPv4]; ok {
		return ev.Local.String()
	}
	return ""
}

// got are the frames that have come to him, in words.
func (s *subscriberBox) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.frames)
}

// told is the Terminate-Request that he was sent last; empty: there was none.
func (s *subscriberBox) told() (text string) {
	time.Sleep(2 * time.Millisecond) // it may be under way
	for _, f := range s.got() {
		if strings.HasPrefix(f, "LCP Terminate-Request") {
			text = f
		}
	}
	return text
}

// ended are the texts with which he was hung up.
func (s *subscriberBox) ended() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.hung)
}

// comesUp waits until he has an address.
func (s *subscriberBox) comesUp(limit time.Duration) {
	s.dsl.t.Helper()
	s.dsl.until(fmt.Sprintf("subscriber %d has an address", s.id), limit, func(*api.Snapshot) bool { return s.address() != "" })
}

// goes waits until he has been hung up, which must be once.
func (s *subscriberBox) goes(limit time.Duration) string {
	s.dsl.t.Helper()
	s.dsl.until(fmt.Sprintf("subscriber %d is hung up", s.id), limit, func(*api.Snapshot) bool { return len(s.ended()) > 0 })
	if all := s.ended(); len(all) != 1 {
		s.dsl.t.Errorf("subscriber %d is hung up %d times: %q", s.id, len(all), all)
	}
	return s.ended()[0]
}

// client is a subscriber with a name who wants an address.
func client(methods ...ppp.AuthMethod) ppp.Config {
	c := ppp.Config{IPv4: ppp.IPv4Request, Answer: methods}
	if len(methods) > 0 {
		c.User, c.Password = "RouterA@corp.example", []byte("PasswordA")
	}
	return c
}

// lacPolicy is a LAC with PPPoE whose rule for everybody leads to these LNSs.
func lacPolicy(addresses ...string) *policy.Policy {
	rule := policy.Rule{
		Match: policy.MatchAll, Action: policy.ActionTunnel, Secret: policy.NewSecret([]byte("secret-of-b")), StripRealm: true,
		Tunnel: policy.Tunnel{Hello: time.Minute, Retransmit: time.Second, RetransmitCap: 8 * time.Second, MaxRetransmits: 3},
	}
	for i, a := range addresses {
		rule.LNS = append(rule.LNS, policy.LNS{Address: a, Preference: i})
	}
	return &policy.Policy{
		Server: policy.Server{Mode: policy.ModeBoth, HostName: "lac", Checksum: true, Tunnel: policy.Tunnel{Hello: time.Minute}},
		Calls:  map[string]*policy.Call{},
		LAC:    policy.LAC{Access: []policy.Access{{Name: "eth1", Template: "access", PPPoE: &policy.PPPoE{Interface: "eth1"}}}, Rules: []policy.Rule{rule}},
		Templates: map[string]*policy.Template{"access": {
			Name: "access", Auth: []ppp.AuthMethod{ppp.AuthCHAPMD5, ppp.AuthPAP}, IPv4: true, IPv4Pool: "ips", Echo: 10 * time.Second,
		}},
		Users: map[string]*policy.User{}, Pools: map[string]*policy.Pool{},
	}
}

// lnsPolicy is an LNS with room for many that takes what a LAC has negotiated.
func lnsPolicy() *policy.Policy {
	return changed(lasting(), func(p *policy.Policy) {
		p.Server.HostName = "lns"
		p.Users["RouterA@corp.example"] = p.Users["RouterA"] // when the LNS takes the login itself
		p.Pools["ips"].Ranges[0].To = p.Pools["ips"].Ranges[0].From.Next()
		for range 40 {
			p.Pools["ips"].Ranges[0].To = p.Pools["ips"].Ranges[0].To.Next()
		}
	})
}

// empty waits until nothing of any subscriber is left at the LAC.
func (b *box) empty(limit time.Duration) {
	b.t.Helper()
	b.until("no line and no session", limit, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
	err := b.e.each(b.t.Context(), func(s *shard) {
		if l := s.lac; l != nil && len(l.sessions)+len(l.underWay) > 0 {
			b.t.Errorf("%v: left behind: sessions %v, under way %d", b.addr, l.sessions, len(l.underWay))
		}
		if n := len(s.lines.byID); n > 0 {
			b.t.Errorf("%v: %d lines are left", b.addr, n)
		}
	})
	if err != nil {
		b.t.Error(err)
	}
	if n := b.e.counts.lines.Load(); n != 0 {
		b.t.Errorf("%v: %d lines are counted", b.addr, n)
	}
}
