package lac

import (
	"cmp"
	"container/heap"
	"crypto/rand"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// grace is how long a client that has gone waits for the LNS's CDN before the LAC sends its own.
const grace = 20 * time.Second

// speed is what a LAC says of a line that has none, in bit/s.
const speed = 100_000_000

// Call is what one session shall be.
type Call struct {
	Tunnel int // which of Config.Tunnels
	// Client is the caller. Random is filled in; IPv4 is IPv4Request for one that wants an address.
	Client ppp.Config
	Proxy  *Proxy // nil: the client negotiates with the LNS alone
	Number string // Calling Number
	Async  bool   // its line is said to be asynchronous
	// Alter is nil, or changes what ICRQ and ICCN say of its line.
	Alter func(*control.CallInfo)
	Text  func(string) // nil, or called with a line for each frame that the client sends or hears; it calls no method of the LAC
}

// line is what the LAC says of its line.
func (c *Call) line() control.CallInfo {
	info := control.CallInfo{TxSpeed: speed, FramingType: wire.FramingSync}
	if c.Async {
		info.FramingType = wire.FramingAsync
	}
	if c.Alter != nil {
		c.Alter(&info)
	}
	return info
}

// State is how far a session has come.
type State uint8

// States of a session.
const (
	Waiting     State = iota // for its turn
	Calling                  // ICRQ is on its way
	Negotiating              // PPP
	Up                       // a network protocol is open
	Ended
)

// String names the state.
func (s State) String() string {
	return [...]string{Waiting: "waiting", Calling: "calling", Negotiating: "negotiating", Up: "up", Ended: "ended"}[s]
}

// Session is what has become of a call. Times count from Open of the LAC; 0 means not yet.
type Session struct {
	Tunnel   int
	ID, Peer control.SessionID
	State    State

	Asked     time.Duration // ICRQ goes to the tunnel
	Connected time.Duration // ICCN has left
	LinkUp    time.Duration // LCP is Opened, at the client; the latest time
	LoggedIn  time.Duration // authentication is over, at the client; the latest time
	NetworkUp time.Duration // the first network protocol
	Done      time.Duration // CDN sent or received, or the tunnel is gone

	Address netip.Addr // the client's, by IPCP
	Repeats int        // frames that the client's timer sent, echoes left out
	// Configured counts LCP's Configure packets of the LNS, and Echoes its Echo-Requests.
	Configured, Echoes int
	Login              [][]byte // the LNS's latest frames of PAP and CHAP, oldest first

	Told control.CallInfo // what ICCN says of what the LAC has negotiated
	// Maps are what the LNS says of escaped characters. They change nothing here: there is no line.
	Maps  []control.EvACCM
	Pings int // answered

	Link            ppp.EvLinkDown // how PPP ended, as the client sees it
	Cause           control.Cause
	Result          wire.Result
	DisconnectCause []byte
}

// loginFrames is how many frames Session.Login keeps.
const loginFrames = 8

type session struct {
	Session
	call  Call
	tn    *tunnel
	link  *ppp.Link    // nil: not yet
	login []byte       // the client's latest frame of PAP or CHAP
	limit control.Time // when a client that has gone is given up; 0: it has not

	queued control.Time // when the first of its timers is due; 0: none
}

// Dial adds calls and returns the number of the first. They begin in order, as Config.Pending allows.
func (l *LAC) Dial(calls ...Call) (first int) {
	l.do(func() {
		first = len(l.sessions)
		for _, c := range calls {
			if c.Client.Random == nil {
				c.Client.Random = rand.Reader
			}
			s := &session{Session: Session{Tunnel: c.Tunnel}, call: c, tn: l.tunnels[c.Tunnel]}
			l.sessions, l.queue = append(l.sessions, s), append(l.queue, s)
			l.tally.In[Waiting]++
		}
	})
	return first
}

// Session tells what has become of a call.
func (l *LAC) Session(n int) (s Session) {
	l.do(func() {
		s = l.sessions[n].Session
		s.Login, s.Maps = slices.Clone(s.Login), slices.Clone(s.Maps)
	})
	return s
}

// Sessions tells it of all calls.
func (l *LAC) Sessions() (all []Session) {
	l.do(func() {
		for _, s := range l.sessions {
			all = append(all, s.Session)
			last := &all[len(all)-1]
			last.Login, last.Maps = slices.Clone(s.Login), slices.Clone(s.Maps)
		}
	})
	return all
}

// HangUp has clients end PPP in good order; the CDN is the LNS's. Without numbers: all clients.
func (l *LAC) HangUp(numbers ...int) {
	l.each(numbers, func(s *session) {
		l.client(s, false, func(out *ppp.Output) { s.link.Do(l.now, ppp.CmdClose{Text: "the user hangs up"}, out) })
	})
}

// Drop ends sessions by CDN, as when the line is lost. Without numbers: all.
func (l *LAC) Drop(numbers ...int) { l.each(numbers, l.drop) }

// ReportErrors tells the LNS of errors on the line of a session, in the order of wire.CallErrorsAVP.
func (l *LAC) ReportErrors(number int, counts [6]uint32) {
	l.each([]int{number}, func(s *session) {
		l.step(s.tn, func(out *control.Output) { s.tn.t.Do(l.now, control.CmdSendWEN{Session: s.ID, Errors: counts}, out) })
	})
}

// RepeatLogin has clients send their latest frame of PAP or CHAP once more, as when the answer was lost.
func (l *LAC) RepeatLogin(numbers ...int) {
	l.each(numbers, func(s *session) {
		if s.login != nil {
			l.emit(s, s.login)
		}
	})
}

// each does f with sessions whose client is there.
func (l *LAC) each(numbers []int, f func(*session)) {
	l.do(func() {
		for n, s := range l.sessions {
			if (len(numbers) == 0 || slices.Contains(numbers, n)) && s.link != nil && s.State != Ended {
				f(s)
			}
		}
	})
}

// become is the only writer of a session's state.
func (l *LAC) become(s *session, to State) {
	if s.State == Up && s.Echoes >= 2 {
		l.tally.Checked--
	}
	l.tally.In[s.State]--
	l.tally.In[to]++
	s.State = to
	if s.State == Up && s.Echoes >= 2 {
		l.tally.Checked++
	}
}

// begin starts sessions whose turn has come.
func (l *LAC) begin() {
	for len(l.queue) > 0 && (l.pending == 0 || l.tally.In[Calling]+l.tally.In[Negotiating] < l.pending) {
		s := l.queue[0]
		if !s.tn.up && !s.tn.down {
			return
		}
		l.queue = l.queue[1:]
		s.Asked = l.now
		l.become(s, Calling)
		info := s.call.line()
		info.CallingNumber = s.call.Number
		l.step(s.tn, func(out *control.Output) {
			s.tn.t.Do(l.now, control.CmdOpenSession{Role: control.LACIncoming, Call: info, Session: &s.ID}, out)
			if s.ID != 0 {
				s.tn.sessions[s.ID] = s
			}
		})
		if s.ID == 0 {
			l.end(s)
		}
	}
}

// connect answers ICRP: ICCN leaves, with what the LAC has negotiated before.
func (l *LAC) connect(s *session) {
	info := s.call.line()
	if s.call.Proxy != nil {
		l.handOver(s, &info)
		s.Told = info
	}
	l.step(s.tn, func(out *control.Output) { s.tn.t.Do(l.now, control.CmdConnectSession{Session: s.ID, Call: info}, out) })
}

// connected opens the client's end, unless the LAC has done so.
func (l *LAC) connected(s *session, peer control.SessionID) {
	s.Peer, s.Connected = peer, l.now
	l.become(s, Negotiating)
	if s.link == nil {
		l.client(s, false, func(out *ppp.Output) { s.link = ppp.Open(&s.call.Client, l.now, out) })
	}
	l.schedule(s)
}

// client carries out what a client wants after do. byTimer: it was its timer that made it act.
func (l *LAC) client(s *session, byTimer bool, do func(*ppp.Output)) {
	out := l.frames.take()
	do(out)
	for _, f := range out.Frames {
		if proto, body, _ := ppp.SplitFrame(f); proto == ppp.ProtoPAP || proto == ppp.ProtoCHAP {
			s.login = f
		} else if proto == ppp.ProtoLCP && body[0] == codeEchoRequest {
			byTimer = false
		}
		if byTimer {
			s.Repeats++
			l.traffic.FrameRepeats++
		}
		l.emit(s, f)
	}
	for _, ev := range out.Events {
		l.happened(s, ev)
	}
	out.Reset()
	l.frames = append(l.frames, out)
	l.schedule(s)
}

// emit sends a frame of the client. Before ICCN there is nowhere to send it.
func (l *LAC) emit(s *session, frame []byte) {
	if s.Peer == 0 || s.State == Ended {
		return
	}
	if s.call.Text != nil {
		s.call.Text("> " + ppp.Summary(frame))
	}
	l.packet = wire.AppendDataHeader(l.packet[:0], uint16(s.tn.t.PeerID()), uint16(s.Peer), false)
	l.packet = append(append(l.packet, 0xff, 0x03), frame...)
	l.traffic.FramesSent++
	l.send(s.tn, l.packet)
}

// happened takes note of what the client's link tells.
func (l *LAC) happened(s *session, ev ppp.Event) {
	switch ev := ev.(type) {
	case ppp.EvLinkUp:
		s.LinkUp = l.now
	case ppp.EvAuthenticated:
		s.LoggedIn = l.now
	case ppp.EvNetworkUp:
		if ev.Proto == ppp.ProtoIPv4 {
			s.Address = ev.Local
		}
		s.NetworkUp = cmp.Or(s.NetworkUp, l.now)
		if s.State == Negotiating {
			l.become(s, Up)
		}
	case ppp.EvNetworkDown:
		if s.State == Up {
			l.become(s, Negotiating)
		}
	case ppp.EvLinkDown:
		s.Link, s.limit = ev, l.now+grace
	case ppp.EvAddressWanted:
		l.client(s, false, func(out *ppp.Output) { s.link.Do(l.now, ppp.CmdAddress{}, out) })
	case ppp.EvEncryptionWanted:
		l.client(s, false, func(out *ppp.Output) { s.link.Do(l.now, ppp.CmdEncryption{Attempt: ev.Attempt}, out) })
	case ppp.EvAnomaly, ppp.EvAuthRequest, ppp.EvDecryptionCheck, ppp.EvEncryptionDown, ppp.EvEncryptionUp, ppp.EvIdleCheck:
	}
}

// Codes of LCP (RFC 1661, 5).
const (
	codeConfigureReject = 4
	codeEchoRequest     = 9
)

// frame hands a frame of the LNS to the client.
func (l *LAC) frame(s *session, payload []byte) {
	l.traffic.FramesReceived++
	if s.call.Text != nil {
		s.call.Text("< " + ppp.Summary(payload))
	}
	switch proto, body, _ := ppp.SplitFrame(payload); {
	case proto == ppp.ProtoLCP && len(body) > 0 && body[0] <= codeConfigureReject:
		s.Configured++
	case proto == ppp.ProtoLCP && len(body) > 0 && body[0] == codeEchoRequest:
		if s.Echoes++; s.Echoes == 2 && s.State == Up {
			l.tally.Checked++
		}
	case proto == ppp.ProtoPAP || proto == ppp.ProtoCHAP:
		s.Login = append(s.Login[max(0, len(s.Login)+1-loginFrames):len(s.Login):len(s.Login)], slices.Clone(payload))
	case proto == ppp.ProtoIPv4 && s.State == Up:
		if reply := pong(body); reply != nil {
			s.Pings++
			l.emit(s, append([]byte{0, byte(ppp.ProtoIPv4)}, reply...))
		}
	}
	l.client(s, false, func(out *ppp.Output) { s.link.Receive(l.now, payload, out) })
}

// drop ends a session by CDN.
func (l *LAC) drop(s *session) {
	l.step(s.tn, func(out *control.Output) {
		s.tn.t.Do(l.now, control.CmdCloseSession{Session: s.ID, Result: wire.Result{Code: wire.CDNLostCarrier}}, out)
	})
}

// end is the end of a session.
func (l *LAC) end(s *session) {
	delete(s.tn.sessions, s.ID)
	s.Done = l.now
	l.become(s, Ended)
	s.link = nil
}

// timer is a moment at which a session or a tunnel may have something to do.
type timer struct {
	at control.Time
	s  *session // nil: it is the tunnel's
	tn *tunnel
}

// timers is a heap by time. Deadlines mostly move away, with each packet, and their timers stay: one that comes too early is set
// again.
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

func (h *timers) pop() timer { return heap.Pop(h).(timer) }

// add sees to it that there is a timer for x.at, 0 being never, or an earlier one. queued is when the first of its owner goes off; later
// ones do not count any more.
func (h *timers) add(x timer, queued *control.Time) {
	if x.at != 0 && (*queued == 0 || x.at < *queued) {
		heap.Push(h, x)
		*queued = x.at
	}
}

// deadline is when the session wants to be looked at next; 0: never.
func (s *session) deadline() control.Time {
	if s.link == nil {
		return 0
	}
	if d := s.link.Deadline(); s.limit == 0 || d != 0 && d < s.limit {
		return d
	}
	return s.limit
}

// schedule has the session looked at when it wants to be.
func (l *LAC) schedule(s *session) { l.timers.add(timer{at: s.deadline(), s: s}, &s.queued) }

// due does what a session has to do now.
func (l *LAC) due(s *session) {
	switch at := s.deadline(); {
	case at == 0:
	case at > l.now:
		l.schedule(s)
	case s.limit != 0 && s.limit <= l.now:
		l.drop(s)
	default:
		l.client(s, true, func(out *ppp.Output) { s.link.Expire(l.now, out) })
	}
}
