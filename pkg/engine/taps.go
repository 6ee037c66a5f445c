package engine

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/capture"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// maxTappedLen bounds what is kept of each packet, in octets.
const maxTappedLen = 4096

// onlooker is somebody who is shown what passes: a capture or a debug. Shards and readers of sockets call all of it, at once, and must
// not be held up.
type onlooker interface {
	wants(*sight) bool
	room() bool           // false: there is none for a thing that is wanted, and that is counted
	show(*sight, *tapped) // what had room. A change of state has nothing but the time in tapped
	end(why string)       // it is over; a second end does not count
}

// taps are the captures and debugs under way. What passes looks at one pointer, which is nil where there are none.
type taps struct {
	list   atomic.Pointer[[]onlooker]
	mu     sync.Mutex // of those who change the list
	closed bool

	lastDebug int // number of the latest
}

// sight is something that passes, and whose it is: by that an onlooker decides. Ids are 0 where there is none, or none that is known yet.
type sight struct {
	local, remote        netip.AddrPort // of the tunnel
	tunnel, peerTunnel   uint16
	session, peerSession uint16
	line                 uint16 // in place of all of that
	access               string // where the line's subscriber has come
	call, user           string
	ofSession            bool    // it is a session's, and not the tunnel's as a whole
	change               *change // of state; nil: it is a packet
}

// change is one of a state.
type change struct{ of, from, to string }

// name is whose it is, as operators give it; nothing for what belongs to no tunnel.
func (x *sight) name() string {
	switch {
	case x.line != 0:
		return fmt.Sprint(api.LineRef, x.line)
	case x.ofSession && x.session != 0:
		return fmt.Sprintf("session %d/%d", x.tunnel, x.session)
	case x.tunnel != 0:
		return fmt.Sprintf("tunnel %d", x.tunnel)
	}
	return ""
}

// peer is the address at the other end, as a capture or a debug names it.
func (x *sight) peer() netip.Addr { return x.remote.Addr().Unmap().WithZone("") }

// tapped is a packet, masked, and what is said of it.
type tapped struct {
	capture.Packet
	frame int // where in Data PPP begins; negative: it is a control message
}

// text says what the packet is.
func (p *tapped) text() string {
	text := ""
	switch {
	case p.Comment != "":
		text = p.Comment
	case p.frame < 0:
		text = wire.Summary(p.Data)
	default:
		text = ppp.Summary(p.Data[p.frame:])
	}
	if len(p.Data) < p.Length {
		text += fmt.Sprintf(" (%d octets, cut)", p.Length)
	}
	return text
}

// note is text behind the packet's direction and a name.
func (p *tapped) note(name string) string {
	way := "in"
	if p.Out {
		way = "out"
	}
	if name != "" {
		way += ", " + name
	}
	return way + ": " + p.text()
}

// add lets o look on, if those who look on already let it.
func (x *taps) add(o onlooker, admit func(all []onlooker) error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return api.Errorf(api.CodeUnavailable, "%s", ErrStopping)
	}
	all := slices.Clone(x.all())
	if err := admit(all); err != nil {
		return err
	}
	all = append(all, o)
	x.list.Store(&all)
	return nil
}

func (x *taps) remove(o onlooker) {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(x.all()), func(other onlooker) bool { return other == o })
	if len(all) == 0 {
		x.list.Store(nil)
		return
	}
	x.list.Store(&all)
}

// all are those who look on, in the order in which they began.
func (x *taps) all() []onlooker {
	if all := x.list.Load(); all != nil {
		return *all
	}
	return nil
}

// close ends all of them, and lets none begin.
func (x *taps) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return
	}
	x.closed = true
	for _, o := range x.all() {
		o.end("the daemon stops")
	}
}

// idle says that nobody looks on.
func (x *taps) idle() bool { return x.list.Load() == nil }

// put shows something to everybody who wants it, and waits for none.
func (x *taps) put(s *sight, packet func() tapped) {
	var p *tapped
	for _, o := range x.all() {
		if !o.wants(s) || !o.room() {
			continue
		}
		if p == nil {
			made := packet()
			p = &made
		}
		o.show(s, p)
	}
}

// tapIn shows a control message that has arrived, and that belongs to no tunnel. data is not changed.
func (e *Engine) tapIn(local, remote netip.AddrPort, h wire.Header, data []byte) {
	if e.taps.idle() {
		return
	}
	x := sight{local: local, remote: remote, tunnel: h.TunnelID}
	if m, ok := x.read(h, data); ok {
		x.peerTunnel = uint16(control.AssignedTunnelID(m, nil))
	}
	if x.ofSession {
		x.session = h.SessionID
	}
	e.tapControl(false, &x, data)
}

// tapIn shows a control message that has arrived for the tunnel, before it is looked at.
func (t *tunnel) tapIn(p packet) {
	if t.s.e.taps.idle() {
		return
	}
	x := t.sightOf(p.data, false)
	x.local, x.remote = p.local, p.remote
	t.s.e.tapControl(false, &x, p.data)
}

// tapOut shows a control message that leaves.
func (t *tunnel) tapOut(data []byte) {
	if t.s.e.taps.idle() {
		return
	}
	x := t.sightOf(data, true)
	t.s.e.tapControl(true, &x, data)
}

// tapAnswer shows a message that leaves without a tunnel.
func (s *shard) tapAnswer(local, remote netip.AddrPort, data []byte) {
	if s.e.taps.idle() {
		return
	}
	h, _, _ := wire.ParseHeader(data) // it is ours: there is nothing wrong with it
	s.e.tapControl(true, &sight{local: local, remote: remote, peerTunnel: h.TunnelID}, data)
}

func (e *Engine) tapControl(out bool, x *sight, data []byte) {
	e.taps.put(x, func() tapped {
		p := tapped{frame: -1, Packet: capture.Packet{At: e.cfg.WallClock(), Out: out, From: x.remote, To: x.local, Length: len(data)}}
		if out {
			p.From, p.To = p.To, p.From
		}
		masked := slices.Clone(data)
		wire.Mask(masked)
		p.Data = masked[:min(len(masked), maxTappedLen)]
		if len(p.Data) < len(masked) {
			p.Comment = wire.Summary(masked) // of which its reader has but a part
		}
		return p
	})
}

// tap shows a PPP frame of the session: in a tunnel as the data message that it came or goes in. frame is not changed.
func (s *session) tap(out bool, frame []byte) {
	e := s.sh.e
	if e.taps.idle() {
		return
	}
	x := s.sight()
	e.taps.put(&x, func() tapped {
		p := tapped{Packet: capture.Packet{At: e.cfg.WallClock(), Out: out}}
		switch {
		case s.t == nil:
			p.Line = capture.Line{Name: s.name(), Description: "PPP with " + x.access}
		case out:
			p.From, p.To = s.t.local, s.t.remote
			p.Data = wire.AppendDataHeader(nil, x.peerTunnel, x.peerSession, false)
		default:
			p.From, p.To = s.t.remote, s.t.local
			p.Data = wire.AppendDataHeader(nil, x.tunnel, x.session, false)
		}
		p.frame, p.Length = len(p.Data), len(p.Data)+len(frame)
		p.Data = append(p.Data, ppp.Mask(slices.Clone(frame))...)
		p.Data = p.Data[:min(len(p.Data), maxTappedLen)]
		return p
	})
}

// Whose state changes.
const (
	stateOfTunnel  = "tunnel"
	stateOfSession = "session"
	stateOfStage   = "stage" // of a session's set-up, in the words of l2tpctl explain
)

// tapState shows the tunnel's change of state.
func (t *tunnel) tapState(from, to control.TunnelState) {
	if t.s.e.taps.idle() {
		return
	}
	x := t.sight()
	t.s.e.tapChange(&x, change{stateOfTunnel, from.String(), to.String()})
}

// tapSession shows a session's change of state. The session may have left already.
func (t *tunnel) tapSession(ev control.EvSessionState) {
	if t.s.e.taps.idle() {
		return
	}
	x := t.sightOfSession(ev.Session)
	t.s.e.tapChange(&x, change{stateOfSession, ev.From.String(), ev.To.String()})
}

// reach notes the stage that the session is in, and shows that it has come to it.
func (s *session) reach(stage call.Stage) {
	s.mark(stage)
	if s.at == stage {
		return
	}
	from := stageName(s.at)
	if s.line != nil && s.at == call.StageTransport { // which a line does not have
		from = control.SessionIdle.String()
	}
	s.at = stage
	s.tapStage(from, stageName(stage))
}

func (s *session) tapStage(from, to string) {
	if s.sh.e.taps.idle() {
		return
	}
	x := s.sight()
	s.sh.e.tapChange(&x, change{stateOfStage, from, to})
}

func (e *Engine) tapChange(x *sight, c change) {
	x.change = &c
	e.taps.put(x, func() tapped { return tapped{Packet: capture.Packet{At: e.cfg.WallClock()}} })
}

// sight is the tunnel as a whole.
func (t *tunnel) sight() sight {
	x := sight{local: t.local, remote: t.remote, tunnel: uint16(t.id)}
	if t.ctl != nil {
		x.peerTunnel = uint16(t.ctl.PeerID())
	}
	return x
}

// sight is the session.
func (s *session) sight() sight {
	x := sight{ofSession: true, user: s.userName()}
	if s.t != nil {
		x = s.t.sight()
		x.ofSession, x.user, x.session, x.peerSession = true, s.userName(), uint16(s.id), uint16(cmp.Or(s.peer, s.t.ctl.PeerOf(s.id)))
	} else {
		x.line, x.access = s.line.id, s.line.caller.Name()
	}
	if s.conf != nil {
		x.call = s.conf.Name
	}
	return x
}

// sightOfSession is one of the tunnel's sessions, which may have left.
func (t *tunnel) sightOfSession(id control.SessionID) sight {
	if s := t.sessions[id]; s != nil {
		return s.sight()
	}
	if x, ok := t.parted[id]; ok {
		return x
	}
	x := t.sight()
	x.ofSession, x.session, x.peerSession = true, uint16(id), uint16(t.ctl.PeerOf(id))
	return x
}

// sightOf is whose a control message is that the tunnel has sent, or that has come for it.
func (t *tunnel) sightOf(data []byte, sent bool) sight {
	x := t.sight()
	h, _, _ := wire.ParseHeader(data) // Receive, and we, have found it good
	m, ok := x.read(h, data)
	if !ok {
		return x
	}
	who := t.ctl.Parties(m, control.SessionID(h.SessionID), sent)
	if x.ofSession {
		x = t.sightOfSession(who.Session)
		x.session = uint16(who.Session) // of which there may be none
		if who.PeerSession != 0 {
			x.peerSession = uint16(who.PeerSession)
		}
	}
	x.peerTunnel = uint16(who.PeerTunnel)
	return x
}

// read finds out whether a control message is a session's: those are that place, end or report on a call (RFC 2661, 3.2), and what is
// sent to a session; acknowledgements are the tunnel's. false: there is nothing to read.
func (x *sight) read(h wire.Header, data []byte) (m wire.Message, ok bool) {
	_, payload, err := wire.ParseHeader(data)
	if err != nil || len(payload) == 0 {
		return m, false
	}
	m, _ = wire.ParseMessage(payload) // of a broken one, what can be read
	x.ofSession = m.Type.Session() || !m.Type.Known() && h.SessionID != 0
	return m, true
}

// maxParted bounds how many sessions are remembered that have left a tunnel.
const maxParted = 256

// part remembers a session that leaves: its last word and its last state are still to be shown.
func (t *tunnel) part(s *session) {
	if t.s.e.taps.idle() {
		return
	}
	if t.parted == nil || len(t.parted) >= maxParted {
		t.parted = map[control.SessionID]sight{}
	}
	t.parted[s.id] = s.sight()
}
