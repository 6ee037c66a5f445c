package control

import (
	"container/heap"
	"slices"
	"time"

	"github.com/l2tpd/l2tpd/pkg/slab"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// quarantine is how long a freed session id is not given out again, so that late messages for the old session do not
// meet a new one.
const quarantine = 31 * time.Second

// session is one call in this tunnel. Its record is its whole state; unsent follows from the send queue.
type session struct {
	SessionRecord
	unsent int // messages that never left, so that the queue need not be searched for none
}

// withdraw forgets the messages that never left, and reports whether the opening request was among them.
func (s *session) withdraw(ch *channel) (unheard bool) {
	if s.unsent == 0 {
		return false
	}
	s.unsent = 0
	return ch.withdraw(s.ID)
}

// SessionRecord is the state of one session.
type SessionRecord struct {
	ID, Peer    SessionID
	Role        Role
	State       SessionState
	Replied     bool   // LACIncoming: ICRP came, ICCN waits for the owner
	Serial      uint32 // of the call, where it is ours; else PeerSerial
	PeerSerial  uint32
	Local       *CallInfo // what the two ends have said, until EvSessionUp is out; then nil. They are replaced, never written in place
	Remote      *CallInfo
	Deadline    Time // set-up ends then; 0: none (P109)
	Since       Time // when the first deadline was set
	Established Time
	Told        *ErrorReport // LAC: the last WEN; nil: there was none
}

// ErrorReport is a WEN and when it was sent.
type ErrorReport struct {
	At     Time
	Errors [6]uint32
}

// become is the only writer of a session's state. It also sets the time that the new state may take; where a message of
// ours must leave first, the time begins with that.
func (s *session) become(st *step, to SessionState) {
	st.emit(EvSessionState{Session: s.ID, From: s.State, To: to})
	s.State = to
	st.out.Persist = true
	switch to {
	case SessionIdle, SessionWaitTunnel, SessionWaitReply, SessionWaitCSAnswer, SessionEstablished:
		s.setDeadline(st, 0)
	case SessionWaitConnect:
		if s.Role == LNSOutgoing {
			s.setDeadline(st, st.now+st.t.cfg.AnswerTimeout)
		} else {
			s.setDeadline(st, 0)
		}
	}
}

func (s *session) setDeadline(st *step, at Time) {
	s.Deadline = at
	if at != 0 {
		if s.Since == 0 {
			s.Since = st.now
		}
		heap.Push(&st.t.sess.timers, timer{at, s.ID})
	}
}

// start sends the opening request of a session that we want, now that the tunnel is up (P81, P101, P102).
func (s *session) start(st *step) {
	t := st.t
	switch s.Role {
	case LACIncoming:
		st.send(s, icrq(s))
	case LNSOutgoing:
		if t.peer.Bearer == 0 {
			s.down(st, CauseRefused, wire.Result{Code: wire.CDNNoFacilitiesPerm, Text: "the peer cannot place calls"})
			return
		}
		st.send(s, ocrq(t, s))
	case LNSIncoming, LACOutgoing:
		return
	}
	s.become(st, SessionWaitReply)
}

// up enters the established state. The user's proxied password has then been sent or handed up and is forgotten.
func (s *session) up(st *step) {
	s.become(st, SessionEstablished)
	s.Established = st.now
	if !s.Role.IsLAC() {
		s.emitUp(st, *s.Remote)
		return
	}
	if s.Local.Proxy != nil { // emitUp waits until our message leaves
		said, proxy := *s.Local, *s.Local.Proxy
		proxy.Auth.Response = nil
		said.Proxy = &proxy
		s.Local = &said
	}
}

// emitUp hands up what ICCN or OCCN says. Nobody here needs it any more.
func (s *session) emitUp(st *step, said CallInfo) {
	st.emit(EvSessionUp{Session: s.ID, Peer: s.Peer, Role: s.Role, Call: said})
	s.Local, s.Remote = nil, nil
}

// down ends a session without a word to the peer.
func (s *session) down(st *step, cause Cause, result wire.Result) {
	s.gone(st, EvSessionDown{Cause: cause, Result: result})
}

// gone forgets a session and says so once.
func (s *session) gone(st *step, e EvSessionDown) {
	t := st.t
	s.withdraw(&t.ch)
	if s.State != SessionIdle {
		s.become(st, SessionIdle)
	}
	t.sess.remove(s, st.now)
	e.Session, e.Role = s.ID, s.Role
	st.emit(e)
	st.out.Persist = true
	st.watchIdle()
}

// learnPeer takes the peer's id from whatever answer shows it, for the header of the CDN that is to follow. A peer that is told
// of session 0 must guess which one is meant, and xl2tpd ends them all. The id is used for nothing else: it may be that of
// another session.
func (s *session) learnPeer(m wire.Message) {
	if id, ok := m.Uint16(wire.AVPAssignedSessionID); ok && s.Peer == 0 {
		s.Peer = SessionID(id)
	}
}

// hangUp ends a session and tells the peer by CDN, unless the peer has never heard of it (P80, P85).
func (s *session) hangUp(st *step, cause Cause, result wire.Result, disconnect []byte) {
	t := st.t
	unheard := s.withdraw(&t.ch) || s.State == SessionWaitTunnel
	peer := *s
	s.down(st, cause, result)
	switch {
	case unheard:
	case peer.Peer == 0 && t.peer.VendorName == vendorXL2TPD:
		t.sess.part(s.ID, &Goodbye{Result: result, Disconnect: disconnect})
	default:
		st.send(&peer, cdn(s.ID, result, disconnect, t.cfg.PRE13))
	}
}

// vendorXL2TPD is the Vendor Name of xl2tpd. A CDN to session 0, which stands for one whose id the peer has not told yet (P85), ends all
// calls of the tunnel there: it has to wait.
const vendorXL2TPD = "xelerance.com"

// Goodbye is a CDN that waits for the peer's id of a session that is gone here.
type Goodbye struct {
	Result     wire.Result
	Disconnect []byte
}

// goodbye takes a message for a session that is gone: the answer to our request tells the id that its CDN has waited for. It
// reports whether there was one. Without an answer while the id is in quarantine, none is sent: the peer knows of no call.
func goodbye(st *step, id SessionID, m wire.Message) bool {
	t := st.t
	g := t.sess.held[id]
	if g == nil {
		return false
	}
	t.sess.part(id, nil)
	if peer, _ := m.Uint16(wire.AVPAssignedSessionID); peer != 0 && m.Type != wire.MsgCDN {
		st.send(&session{SessionRecord: SessionRecord{ID: id, Peer: SessionID(peer)}}, cdn(id, g.Result, g.Disconnect, t.cfg.PRE13))
	}
	st.out.Persist = true
	return true
}

// timer is a session deadline. It counts only while the session still has that deadline.
type timer struct {
	at Time
	id SessionID
}

// timers is a heap by time, then by id so that runs can be repeated.
type timers []timer

func (h timers) Len() int { return len(h) }

func (h timers) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].id < h[j].id
}

func (h timers) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push and Pop serve container/heap.
func (h *timers) Push(x any) { *h = append(*h, x.(timer)) }

// Pop takes the last element.
func (h *timers) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// FreedID is a session id in quarantine.
type FreedID struct {
	ID      SessionID
	Until   Time
	Goodbye *Goodbye // nil: the peer has been told, or need not be
}

// sessionTable finds sessions by either side's id.
type sessionTable struct {
	byID   map[SessionID]*session
	byPeer map[SessionID]*session
	freed  []FreedID              // oldest first
	held   map[SessionID]*Goodbye // the same ids
	timers timers

	records slab.Of[session]
	gone    []*session // in this step, which may still speak of them
}

func newSessionTable() sessionTable {
	return sessionTable{byID: map[SessionID]*session{}, byPeer: map[SessionID]*session{}, held: map[SessionID]*Goodbye{}}
}

func (x *sessionTable) count() int { return len(x.byID) }

// ordered lists the sessions by id.
func (x *sessionTable) ordered() []*session {
	list := make([]*session, 0, len(x.byID))
	for _, s := range x.byID {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *session) int { return int(a.ID) - int(b.ID) })
	return list
}

// add enters a session.
func (x *sessionTable) add(r SessionRecord) *session {
	s := x.records.New()
	s.SessionRecord = r
	x.byID[s.ID] = s
	if s.Peer != 0 {
		x.byPeer[s.Peer] = s
	}
	return s
}

// settle gives up the memory of those that are gone, at the end of a step.
func (x *sessionTable) settle() {
	for _, s := range x.gone {
		x.records.Free(s)
	}
	x.gone = x.gone[:0]
}

// setPeer learns the peer's id of s; false if another session has it.
func (x *sessionTable) setPeer(s *session, peer SessionID) bool {
	if other := x.byPeer[peer]; other != nil && other != s {
		return false
	}
	s.Peer = peer
	x.byPeer[peer] = s
	return true
}

func (x *sessionTable) remove(s *session, now Time) {
	delete(x.byID, s.ID)
	if x.byPeer[s.Peer] == s {
		delete(x.byPeer, s.Peer)
	}
	x.gone = append(x.gone, s)
	x.hold(s.ID, now)
}

// hold puts an id into quarantine.
func (x *sessionTable) hold(id SessionID, now Time) {
	x.freed = append(x.freed, FreedID{ID: id, Until: now + quarantine})
	x.held[id] = nil
}

// part sets what is to be said to the peer of a session whose id is in quarantine.
func (x *sessionTable) part(id SessionID, g *Goodbye) {
	for i := len(x.freed) - 1; i >= 0; i-- {
		if x.freed[i].ID == id {
			x.freed[i].Goodbye, x.held[id] = g, g
			return
		}
	}
}

// release ends the quarantine of ids whose time has come, and of the oldest while there is no other id left.
func (x *sessionTable) release(now Time) {
	n := 0
	for n < len(x.freed) && (x.freed[n].Until <= now || len(x.byID)+len(x.freed)-n >= 65535) {
		delete(x.held, x.freed[n].ID)
		n++
	}
	x.freed = x.freed[n:]
}

// newID picks a random unused session id (P15). There is one: callers keep below 65535 sessions.
func (t *Tunnel) newID(now Time) SessionID {
	x := &t.sess
	x.release(now)
	var b [2]byte
	random(t, b[:])
	id := SessionID(b[0])<<8 | SessionID(b[1])
	// A full table would make picking again and again slow: the next free id after a random one is as good.
	for id == 0 || x.byID[id] != nil || x.inQuarantine(id) {
		id++
	}
	return id
}

func (x *sessionTable) inQuarantine(id SessionID) bool {
	_, held := x.held[id]
	return held
}

// deadline is when the first session set-up ends; 0 if none.
func (x *sessionTable) deadline() Time {
	for len(x.timers) > 0 {
		first := x.timers[0]
		if s := x.byID[first.id]; s != nil && s.Deadline == first.at {
			return first.at
		}
		heap.Pop(&x.timers)
	}
	return 0
}

// patience bounds how often the set-up time of a session may begin again.
const patience = 30

// expireSessions ends the sessions whose set-up took too long (P109). Where the channel is struggling, the answer may be on its
// way: the time begins again, but not without end.
func expireSessions(st *step) {
	x := &st.t.sess
	for due(x.deadline(), st.now) {
		s := x.byID[x.timers[0].id]
		limit := st.t.cfg.SessionTimeout
		if st.t.ch.struggling(st.now) && st.now-s.Since < patience*limit {
			s.setDeadline(st, st.now+limit)
			continue
		}
		s.timeOut(st)
	}
}

func (s *session) timeOut(st *step) {
	text := "set-up time over in state " + s.State.String()
	result := wire.Result{Code: wire.CDNTimeout, Text: text}
	if !s.Role.IsLAC() {
		result = wire.Result{Code: wire.CDNError, Error: wire.ErrCodeResources, HasError: true, Text: text}
	}
	s.hangUp(st, CauseTimeout, result, nil)
}
