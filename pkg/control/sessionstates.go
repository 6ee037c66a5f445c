package control

import (
	"slices"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// backlogSpare is how many messages beyond one for each session may wait for the peer's acknowledgements before calls
// from a peer that keeps asking but never acknowledges are ignored (P277).
const backlogSpare = 1024

// findSession is the session that a message belongs to, nil if there is none. A header with session id 0 is from a peer that does
// not know our id: its own id is in the message (P14, P85).
func findSession(t *Tunnel, id SessionID, m wire.Message) *session {
	if id != 0 {
		return t.sess.byID[id]
	}
	if m.Type != wire.MsgICRQ && m.Type != wire.MsgOCRQ && m.Type != wire.MsgCDN {
		return nil
	}
	peer, _ := m.Uint16(wire.AVPAssignedSessionID)
	return t.sess.byPeer[SessionID(peer)]
}

// sessionMessage gives a message to the function of its session's state. One for a session we do not know needs no answer,
// be it late or wrong (P79, P206).
func sessionMessage(st *step, id SessionID, m wire.Message) {
	t := st.t
	switch t.state {
	case TunnelIdle, TunnelDead, TunnelClosing:
		return
	case TunnelWaitCtlReply, TunnelWaitCtlConn:
		tunnelMessage(st, m)
		return
	case TunnelEstablished:
	}
	s := findSession(t, id, m)
	switch {
	case s == nil && id == 0 && (m.Type == wire.MsgICRQ || m.Type == wire.MsgOCRQ):
		offerCall(st, m)
	case s == nil && goodbye(st, id, m):
	case s == nil:
		t.ch.Counters.InUnknownSession++
		if m.Type != wire.MsgCDN { // two CDN that crossed are nothing odd
			st.anomaly(id, m.Type.String()+" for an unknown session")
		}
	case m.Type == wire.MsgCDN:
		s.disconnected(st, m)
	case m.Type == wire.MsgWEN, m.Type == wire.MsgSLI:
		s.notified(st, m)
	default:
		s.message(st, m)
	}
}

// malformedSession answers an unusable message of a session by CDN, and a CDN as if it were a good one. It leaves every
// other session alone (P24, P110).
func malformedSession(st *step, id SessionID, m wire.Message, result wire.Result) {
	t := st.t
	if t.state != TunnelEstablished {
		sessionMessage(st, id, m)
		return
	}
	s := findSession(t, id, m)
	peer, _ := m.Uint16(wire.AVPAssignedSessionID)
	switch {
	case s != nil && m.Type == wire.MsgCDN:
		s.disconnected(st, m)
	case s != nil:
		s.learnPeer(m)
		s.hangUp(st, CauseProtocol, result, nil)
	case id == 0 && peer != 0 && (m.Type == wire.MsgICRQ || m.Type == wire.MsgOCRQ):
		refuseCall(st, SessionID(peer), result)
	case s == nil && goodbye(st, id, m):
	default:
		t.ch.Counters.InUnknownSession++
		st.anomaly(id, m.Type.String()+" for an unknown session: "+result.Text)
	}
}

// message switches on the state; the CDN, WEN and SLI that every state takes alike have been dealt with.
func (s *session) message(st *step, m wire.Message) {
	switch s.State {
	case SessionIdle:
		offered(st, s, m)
	case SessionWaitTunnel:
		s.unexpected(st, m)
	case SessionWaitReply:
		waitReply(st, s, m)
	case SessionWaitConnect:
		waitConnect(st, s, m)
	case SessionWaitCSAnswer, SessionEstablished:
		s.unexpected(st, m)
	}
}

// unexpected ends the session on a message that does not fit its state (P84, P86, P91, P93, P99, P104, P105, P107).
func (s *session) unexpected(st *step, m wire.Message) {
	s.learnPeer(m)
	s.hangUp(st, CauseProtocol, wire.Result{
		Code: wire.CDNError, Error: wire.ErrCodeValue, HasError: true,
		Text: m.Type.String() + " in state " + s.State.String(),
	}, nil)
}

// offered is the idle state of a call that the owner has not yet answered: a connect before our reply is cleaned up
// without a word, anything else is refused (P89, P96).
func offered(st *step, s *session, m wire.Message) {
	if s.Role == LNSIncoming && m.Type == wire.MsgICCN || s.Role == LACOutgoing && m.Type == wire.MsgOCCN {
		s.down(st, CauseProtocol, wire.Result{Text: m.Type.String() + " in state " + s.State.String()})
		return
	}
	s.unexpected(st, m)
}

// waitReply waits for ICRP or OCRP (P82-P84, P103, P104).
func waitReply(st *step, s *session, m wire.Message) {
	switch {
	case s.Role == LACIncoming && m.Type == wire.MsgICCN:
		s.down(st, CauseProtocol, wire.Result{Text: m.Type.String() + " in state " + s.State.String()})
	case s.Role == LACIncoming && m.Type == wire.MsgICRP && !s.Replied,
		s.Role == LNSOutgoing && m.Type == wire.MsgOCRP:
		s.replied(st, m)
	default:
		s.unexpected(st, m)
	}
}

// replied takes the answer to our opening request.
func (s *session) replied(st *step, m wire.Message) {
	peer, _ := m.Uint16(wire.AVPAssignedSessionID)
	if !st.t.sess.setPeer(s, SessionID(peer)) {
		s.learnPeer(m)
		s.hangUp(st, CauseProtocol, wire.Result{
			Code: wire.CDNError, Error: wire.ErrCodeSessionID, HasError: true, Text: "session id already in use",
		}, nil)
		return
	}
	s.hear(m)
	if r, ok := refuseWindow(&st.t.cfg, *s.Remote); ok {
		s.hangUp(st, CauseRefused, r, nil)
		return
	}
	st.out.Persist = true
	if s.Role == LNSOutgoing {
		s.become(st, SessionWaitConnect)
	} else {
		s.Replied = true
		s.setDeadline(st, st.now+st.t.cfg.SessionTimeout)
	}
	st.emit(EvSessionReplied{Session: s.ID, Peer: s.Peer, Role: s.Role, Call: *s.Remote})
}

// hear adds to what the peer has said.
func (s *session) hear(m wire.Message) {
	said := *s.Remote
	mergeCall(&said, m)
	s.Remote = &said
}

// waitConnect waits for ICCN or OCCN (P90, P91, P105).
func waitConnect(st *step, s *session, m wire.Message) {
	connected := s.Role == LNSIncoming && m.Type == wire.MsgICCN || s.Role == LNSOutgoing && m.Type == wire.MsgOCCN
	if !connected {
		s.unexpected(st, m)
		return
	}
	s.hear(m)
	r, refused := refuseFraming(&st.t.cfg, *s.Remote)
	if !refused {
		r, refused = refuseWindow(&st.t.cfg, *s.Remote)
	}
	if refused {
		s.hangUp(st, CauseRefused, r, nil)
		return
	}
	s.up(st)
}

// disconnected ends a session on a CDN; there is no answer beyond the acknowledgement.
func (s *session) disconnected(st *step, m wire.Message) {
	e := EvSessionDown{Cause: CausePeer}
	e.Result, _ = m.Result()
	if b, ok := m.Bytes(wire.AVPPPPDisconnectCause); ok {
		e.DisconnectCause = slices.Clone(b)
	}
	if b, ok := m.Bytes(wire.AVPQ931CauseCode); ok {
		e.Q931Cause = slices.Clone(b)
	}
	if s.Peer != 0 {
		st.t.ch.parting = append(st.t.ch.parting, s.Peer)
	}
	s.gone(st, e)
}

// notified takes WEN and SLI (P204, P205).
func (s *session) notified(st *step, m wire.Message) {
	if s.State != SessionEstablished {
		st.anomaly(s.ID, m.Type.String()+" in state "+s.State.String())
		return
	}
	if m.Type == wire.MsgWEN {
		if errs, ok := m.CallErrors(); ok {
			st.emit(EvCallErrors{Session: s.ID, Errors: errs})
		}
		return
	}
	if send, receive, ok := m.ACCM(); ok {
		st.emit(EvACCM{Session: s.ID, Send: send, Receive: receive})
	}
}

// offerCall judges an ICRQ or OCRQ; a good one becomes a session that the owner must answer (P87, P88, P94, P95).
func offerCall(st *step, m wire.Message) {
	t := st.t
	id, _ := m.Uint16(wire.AVPAssignedSessionID)
	peer := SessionID(id)
	role := LNSIncoming
	if m.Type == wire.MsgOCRQ {
		role = LACOutgoing
	}
	var call CallInfo
	mergeCall(&call, m)
	if r, ok := refuseOffer(t, role, call); ok {
		refuseCall(st, peer, r)
		return
	}
	if t.ch.backlog() > t.cfg.MaxSessions+backlogSpare {
		st.anomaly(0, "call ignored: the peer does not acknowledge")
		return
	}
	s := t.sess.add(SessionRecord{
		ID: t.newID(st.now), Peer: peer, Role: role, PeerSerial: call.SerialNumber, Local: &CallInfo{}, Remote: &call,
	})
	s.setDeadline(st, st.now+t.cfg.SessionTimeout)
	st.watchIdle()
	st.emit(EvSessionOffered{Session: s.ID, Peer: s.Peer, Role: s.Role, Call: call})
}

// refuseOffer says why a call cannot be taken whatever the owner thinks of it.
func refuseOffer(t *Tunnel, role Role, call CallInfo) (wire.Result, bool) {
	enabled, what := t.cfg.Incoming, "incoming calls"
	if role == LACOutgoing {
		enabled, what = t.cfg.Outgoing, "outgoing calls"
	}
	const bearers = wire.BearerAnalog | wire.BearerDigital
	impossible := call.BearerType != 0 && call.BearerType&bearers == 0
	if role == LACOutgoing && t.cfg.Bearer != 0 {
		impossible = call.BearerType != 0 && call.BearerType&t.cfg.Bearer == 0
	}
	switch {
	case !enabled:
		return wire.Result{Code: wire.CDNAdmin, Text: what + " are not accepted"}, true
	case t.sess.count() >= t.cfg.MaxSessions || t.sess.count() >= 65534:
		return wire.Result{Code: wire.CDNNoFacilitiesTemp, Text: "too many sessions"}, true
	case impossible:
		return wire.Result{Code: wire.CDNNoFacilitiesPerm, Text: "no such bearer"}, true
	case role == LACOutgoing && call.MinimumBPS > call.MaximumBPS:
		return wire.Result{Code: wire.CDNError, Error: wire.ErrCodeValue, HasError: true, Text: "minimum above maximum BPS"}, true
	}
	if role == LACOutgoing {
		if r, ok := refuseFraming(&t.cfg, call); ok {
			return r, true
		}
	}
	return refuseWindow(&t.cfg, call)
}

// refuseFraming refuses a framing that we did not advertise (P50).
func refuseFraming(cfg *TunnelConfig, call CallInfo) (wire.Result, bool) {
	if call.FramingType&^cfg.Framing == 0 {
		return wire.Result{}, false
	}
	return wire.Result{Code: wire.CDNError, Error: wire.ErrCodeValue, HasError: true, Text: "framing type not advertised"}, true
}

// refuseWindow refuses payload flow control, which a data path in the kernel cannot do (P284).
func refuseWindow(cfg *TunnelConfig, call CallInfo) (wire.Result, bool) {
	if !cfg.PRE13 || cfg.IgnoreWindow13 || call.SessionWindow == 0 {
		return wire.Result{}, false
	}
	return wire.Result{
		Code: wire.CDNError, Error: wire.ErrCodeVendor, HasError: true,
		Text: "payload flow control (session receive window) is not supported",
	}, true
}

// refuseCall answers a call that becomes no session by CDN. The id in it is fresh and unused: the AVP must be there and not 0.
func refuseCall(st *step, peer SessionID, result wire.Result) {
	t := st.t
	if t.ch.backlog() > t.cfg.MaxSessions+backlogSpare {
		st.anomaly(0, "call ignored: the peer does not acknowledge")
		return
	}
	id := t.newID(st.now)
	t.sess.hold(id, st.now)
	st.send(&session{SessionRecord: SessionRecord{ID: id, Peer: peer}}, cdn(id, result, nil, t.cfg.PRE13))
	st.anomaly(0, "call refused: "+result.CDNString())
}
