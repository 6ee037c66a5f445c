package subscriber

import (
	"cmp"
	"container/heap"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpd/l2tpd/pkg/access/pppoe"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// grace is how long a subscriber whose peer has ended PPP waits for the PADT before it sends its own.
const grace = 5 * time.Second

// Call is what one subscriber shall be.
type Call struct {
	// Client is the caller. Random and Line are filled in; IPv4 is IPv4Request for one that wants
	// an address.
	Client  ppp.Config
	MAC     pppoe.MAC // zero: one of its own
	Service string
	Tags    []pppoe.Tag  // further ones of PADI and PADR, such as those of an access node
	Text    func(string) // nil, or called with a line for each packet sent or heard; it calls no method of the Port
}

// State is how far a subscriber has come.
type State uint8

// States of a subscriber.
const (
	Waiting     State = iota // for its turn
	Discovering              // PADI is on its way
	Requesting               // PADR is on its way
	Negotiating              // PPP
	Up                       // a network protocol is open
	Closing                  // PPP has ended; the PADT is waited for
	Ended
)

// String names the state.
func (s State) String() string {
	return [...]string{
		Waiting: "waiting", Discovering: "discovering", Requesting: "requesting", Negotiating: "negotiating", Up: "up", Closing: "closing", Ended: "ended",
	}[s]
}

// Session is what has become of a call. Times count from Open of the Port; 0 means not yet.
type Session struct {
	State   State
	MAC, AC pppoe.MAC
	ACName  string
	ID      uint16

	Asked     time.Duration // the first PADI
	Confirmed time.Duration // PADS
	LinkUp    time.Duration // LCP is Opened; the latest time
	LoggedIn  time.Duration // authentication is over; the latest time
	NetworkUp time.Duration // the first network protocol
	Done      time.Duration // Ended

	Address, Peer netip.Addr // by IPCP
	Repeats       int        // packets that a timer sent, echoes left out
	Echoes        int        // Echo-Requests of the peer
	Pongs         int        // answers to Ping

	Refused string         // the error of PADO or PADS, with its text; also "no answer"
	Link    ppp.EvLinkDown // how PPP ended, as the subscriber sees it
	PADT    bool           // the access concentrator sent one
	Told    string         // its text
}

type sub struct {
	Session
	number int
	call   Call
	offer  pppoe.Packet // the PADO
	tries  int          // PADIs and PADRs sent
	retry  ppp.Time     // when the next one is sent, or Closing is over; 0: never
	link   *ppp.Link    // nil: not yet, or no more
	queued ppp.Time     // when the first of its timers is due; 0: none
	mute   bool         // it has been dropped
}

// Dial adds subscribers and returns the number of the first. They begin in order, as Config.Pending allows.
func (p *Port) Dial(calls ...Call) (first int) {
	p.do(func() {
		first = len(p.subs)
		for _, c := range calls {
			n := len(p.subs)
			if c.MAC == (pppoe.MAC{}) {
				c.MAC = pppoe.MAC{2, p.cfg.Block}
				binary.BigEndian.PutUint32(c.MAC[2:], uint32(n)+1)
			}
			if c.Client.Random == nil {
				c.Client.Random = rand.Reader
			}
			c.Client.Line = ppp.LinePPPoE
			s := &sub{Session: Session{MAC: c.MAC}, number: n, call: c}
			p.subs, p.queue = append(p.subs, s), append(p.queue, s)
			p.tally.In[Waiting]++
		}
	})
	return first
}

// Session tells what has become of a call.
func (p *Port) Session(n int) (s Session) {
	p.do(func() { s = p.subs[n].Session })
	return s
}

// Sessions tells it of all calls.
func (p *Port) Sessions() (all []Session) {
	p.do(func() {
		for _, s := range p.subs {
			all = append(all, s.Session)
		}
	})
	return all
}

// HangUp has subscribers end PPP in good order, and send a PADT. Without numbers: all.
func (p *Port) HangUp(numbers ...int) {
	p.each(numbers, func(s *sub) {
		p.client(s, false, func(out *ppp.Output) { s.link.Do(p.now, ppp.CmdClose{Text: "the user hangs up"}, out) })
	})
}

// Drop has subscribers fall silent, as when they lose power. Without numbers: all.
func (p *Port) Drop(numbers ...int) {
	p.each(numbers, func(s *sub) { s.mute = true; p.end(s) })
}

// Disconnect has subscribers send a PADT and nothing else. Without numbers: all.
func (p *Port) Disconnect(numbers ...int) { p.each(numbers, p.disconnect) }

// Ping has subscribers that have an address send one ICMP echo request of that many octets of data. Without numbers: all.
func (p *Port) Ping(to netip.Addr, size int, numbers ...int) {
	p.each(numbers, func(s *sub) {
		if s.State == Up && s.Address.Is4() && to.Is4() {
			p.emit(s, ping(s.Address, to, size))
		}
	})
}

// each does f with subscribers that have a session.
func (p *Port) each(numbers []int, f func(*sub)) {
	p.do(func() {
		for n, s := range p.subs {
			if (len(numbers) == 0 || slices.Contains(numbers, n)) && s.link != nil {
				f(s)
			}
		}
	})
}

// become is the only writer of a subscriber's state.
func (p *Port) become(s *sub, to State) {
	p.tally.In[s.State]--
	p.tally.In[to]++
	s.State = to
}

// begin starts subscribers whose turn has come.
func (p *Port) begin() {
	for len(p.queue) > 0 && (p.cfg.Pending == 0 || p.tally.In[Discovering]+p.tally.In[Requesting]+p.tally.In[Negotiating] < p.cfg.Pending) {
		s := p.queue[0]
		p.queue = p.queue[1:]
		s.Asked = p.now
		p.become(s, Discovering)
		p.ask(s)
	}
}

// client carries out what a subscriber's link wants after do. byTimer: it was its timer that made it act.
func (p *Port) client(s *sub, byTimer bool, do func(*ppp.Output)) {
	out := p.output()
	do(out)
	for _, f := range out.Frames {
		if proto, body, _ := ppp.SplitFrame(f); byTimer && (proto != ppp.ProtoLCP || len(body) == 0 || body[0] != codeEchoRequest) {
			s.Repeats++
			p.traffic.FrameRepeats++
		}
		p.emit(s, f)
	}
	for _, ev := range out.Events {
		p.happened(s, ev)
	}
	out.Reset()
	p.outputs = append(p.outputs, out)
	p.schedule(s)
}

func (p *Port) output() *ppp.Output {
	last := len(p.outputs) - 1
	if last < 0 {
		return new(ppp.Output)
	}
	out := p.outputs[last]
	p.outputs = p.outputs[:last]
	return out
}

// happened takes note of what a subscriber's link tells.
func (p *Port) happened(s *sub, ev ppp.Event) {
	switch ev := ev.(type) {
	case ppp.EvLinkUp:
		s.LinkUp = p.now
	case ppp.EvAuthenticated:
		s.LoggedIn = p.now
	case ppp.EvNetworkUp:
		if ev.Proto == ppp.ProtoIPv4 {
			s.Address, s.Peer = ev.Local, ev.Peer
		}
		s.NetworkUp = cmp.Or(s.NetworkUp, p.now)
		if s.State == Negotiating {
			p.become(s, Up)
		}
	case ppp.EvNetworkDown:
		if s.State == Up {
			p.become(s, Negotiating)
		}
	case ppp.EvLinkDown:
		p.linkDown(s, ev)
	case ppp.EvAddressWanted:
		p.client(s, false, func(out *ppp.Output) { s.link.Do(p.now, ppp.CmdAddress{}, out) })
	case ppp.EvEncryptionWanted:
		p.client(s, false, func(out *ppp.Output) { s.link.Do(p.now, ppp.CmdEncryption{Attempt: ev.Attempt}, out) })
	case ppp.EvHeld, ppp.EvLCPDown, ppp.EvUnjudged, ppp.EvAnomaly, ppp.EvAuthRequest, ppp.EvDecryptionCheck, ppp.EvEncryptionDown, ppp.EvEncryptionUp, ppp.EvIdleCheck:
	}
}

// linkDown ends the session, unless it is the peer's doing: it will say so by PADT, too.
func (p *Port) linkDown(s *sub, ev ppp.EvLinkDown) {
	s.Link = ev
	if ev.Reason == ppp.ReasonLocal {
		p.disconnect(s)
		return
	}
	s.link = nil
	s.retry = p.now + grace
	p.become(s, Closing)
}

// Codes of LCP (RFC 1661, 5).
const codeEchoRequest = 9

// frame hands a frame of the peer to the subscriber.
func (p *Port) frame(s *sub, payload []byte) {
	p.traffic.FramesReceived++
	p.traffic.OctetsGot += uint64(len(payload))
	s.text("< ", payload)
	switch proto, body, _ := ppp.SplitFrame(payload); {
	case proto == ppp.ProtoLCP && len(body) > 0 && body[0] == codeEchoRequest:
		s.Echoes++
	case proto == ppp.ProtoIPv4 && s.State == Up && isPong(body):
		s.Pongs++
		p.tally.Pongs++
		return
	}
	if s.link != nil {
		p.client(s, false, func(out *ppp.Output) { s.link.Receive(p.now, payload, out) })
	}
}

// end is the end of a session.
func (p *Port) end(s *sub) {
	delete(p.sessions, key{s.MAC, s.ID})
	s.Done, s.link, s.retry = p.now, nil, 0
	p.become(s, Ended)
	if s.Refused != "" {
		p.tally.Refused++
	}
	if s.PADT {
		p.tally.Told++
	}
}

// timer is a moment at which a subscriber may have something to do.
type timer struct {
	at ppp.Time
	s  *sub
}

// timers is a heap by time. Deadlines mostly move away, with each packet, and their timers stay: one that comes too early is set again.
type timers []timer

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].at < h[j].at }
func (h timers) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push and Pop serve container/heap.
func (h *timers) Push(x any) { *h = append(*h, x.(timer)) }

// Pop takes the last element.
func (h *timers) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// deadline is when the subscriber wants to be looked at next; 0: never.
func (s *sub) deadline() ppp.Time {
	if s.link != nil {
		return s.link.Deadline()
	}
	return s.retry
}

// schedule has the subscriber looked at when it wants to be.
func (p *Port) schedule(s *sub) {
	if at := s.deadline(); at != 0 && (s.queued == 0 || at < s.queued) {
		heap.Push(&p.timers, timer{at, s})
		s.queued = at
	}
}

// expire does what is due.
func (p *Port) expire() {
	for len(p.timers) > 0 && p.timers[0].at <= p.now {
		x := heap.Pop(&p.timers).(timer)
		if x.s.queued != x.at {
			continue // there is an earlier one, or was
		}
		x.s.queued = 0
		switch at := x.s.deadline(); {
		case at == 0:
		case at > p.now:
			p.schedule(x.s)
		default:
			p.due(x.s)
		}
	}
}

// due does what a subscriber has to do now.
func (p *Port) due(s *sub) {
	switch {
	case s.link != nil:
		p.client(s, true, func(out *ppp.Output) { s.link.Expire(p.now, out) })
	case s.State == Closing:
		p.disconnect(s)
	default:
		s.Repeats++
		p.traffic.DiscoveryRepeats++
		p.ask(s)
	}
}
