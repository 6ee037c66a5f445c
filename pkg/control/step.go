package control

import (
	"errors"
	"fmt"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// step is one call into a Tunnel: what happens at one instant.
type step struct {
	t         *Tunnel
	now       Time
	out       *Output
	promptAck bool // set-up and teardown do not wait for a message to carry the acknowledgement
	again     bool // the SCCRQ of a half-open tunnel came again
}

func (st *step) emit(e Event) { st.out.Events = append(st.out.Events, e) }

func (st *step) anomaly(id SessionID, text string) { st.emit(EvAnomaly{Session: id, Text: text}) }

// become is the only writer of the tunnel's state.
func (st *step) become(to TunnelState) {
	t := st.t
	st.emit(EvTunnelState{From: t.state, To: to})
	t.state = to
	st.out.Persist = true
	if to != TunnelWaitCtlReply && to != TunnelWaitCtlConn {
		t.setupAt = 0
	}
	if to != TunnelEstablished {
		t.idleAt = 0
	}
}

// send queues a message for the peer; s is nil for tunnel messages.
func (st *step) send(s *session, m wire.Message) {
	t := st.t
	p := Packet{Type: m.Type}
	var peer SessionID
	if s != nil {
		p.Session, peer = s.ID, s.Peer
		s.unsent++
	}
	var hide *wire.Hiding
	if t.cfg.HideAVPs && len(t.cfg.Secret) > 0 && m.Type != wire.MsgSCCRQ {
		hide = &wire.Hiding{Secret: t.cfg.Secret, Random: t.cfg.Random}
	}
	p.Datagram = wire.AppendMessage(nil, uint16(t.peer.TunnelID), uint16(peer), 0, 0, m, hide)
	if t.cfg.PRE13 && len(p.Datagram) > maxPRE13 {
		p.Datagram = wire.AppendMessage(nil, uint16(t.peer.TunnelID), uint16(peer), 0, 0, withoutExtras(m), hide)
		st.anomaly(p.Session, m.Type.String()+" too long for a pre-draft 13 peer: proxy and access line AVPs left out")
	}
	t.ch.push(p)
}

// take gives a message to the channel, and what the channel releases to the machines.
func (st *step) take(h wire.Header, payload []byte) error {
	ch := &st.t.ch
	switch ch.judge(h.Ns) {
	case inOrder:
		ch.Counters.InOrder++
		deliver(st, SessionID(h.SessionID), payload)
		for {
			a, ok := ch.next()
			if !ok {
				return nil
			}
			deliver(st, a.Session, a.Payload)
		}
	case early:
		if !ch.hold(h.Ns, SessionID(h.SessionID), payload) {
			break
		}
		ch.Counters.InOutOfOrder++
		ch.TroubleAt = st.now
		ch.ackNow, ch.gap = true, true
		return nil
	case outside:
		ch.Counters.InOutsideWindow++
		ch.Counters.InDiscarded++
		ch.ackNow = true
		return ErrOutside
	case duplicate:
	}
	ch.Counters.InDuplicates++
	ch.TroubleAt, ch.ProgressAt = st.now, st.now
	ch.Counters.InDiscarded++
	if st.again {
		ch.resend(st.now)
	}
	ch.ackNow = true
	return ErrDuplicate
}

// deliver gives one message, in order, to the machines.
func deliver(st *step, id SessionID, payload []byte) {
	t := st.t
	t.ch.Nr++
	t.ch.Unacked++
	t.ch.ProgressAt = st.now
	t.ch.Counters.InProcessed++
	st.out.Persist = true
	if t.state == TunnelDead {
		return
	}
	m, err := wire.ParseMessage(payload)
	if e := m.Unhide(t.cfg.Secret); err == nil { // what follows may ask even a broken message for its ids
		err = e
	}
	if err == nil {
		var ignored []string
		ignored, err = m.Validate(wire.ValidateOptions{PRE13: t.cfg.PRE13})
		for _, text := range ignored {
			st.anomaly(id, text)
		}
	}
	switch {
	case err != nil:
		malformed(st, id, m, err)
	case !m.Type.Known():
		t.ch.Counters.InUnknownMessage++
		st.anomaly(id, fmt.Sprintf("message type %d ignored", m.Type))
	case m.Type.Session():
		sessionMessage(st, id, m)
	default:
		tunnelMessage(st, m)
	}
}

// malformed answers a message that cannot be used: StopCCN for the tunnel's own messages, CDN for a session's (P20-P36).
func malformed(st *step, id SessionID, m wire.Message, err error) {
	t := st.t
	t.ch.Counters.InMalformed++
	result := resultOf(err)
	p, ok := errors.AsType[*wire.Problem](err)
	clears := ok && p.ClearsTunnel()
	switch {
	case m.Type == wire.MsgStopCCN, t.state == TunnelClosing:
		tunnelMessage(st, m)
	case m.Type.Session() && !clears:
		malformedSession(st, id, m, result)
	case ok && p.Vendor == 0 && p.Type == wire.AVPChallengeResponse && t.challenge != nil:
		// A response of the wrong length is a wrong response (P128).
		st.learnID(m)
		st.close(CauseAuth, wire.Result{Code: wire.StopNotAuthorised, Text: "wrong challenge response"})
	default:
		st.learnID(m)
		st.close(CauseProtocol, result)
	}
}

// resultOf is what the peer is told of a message that could not be used.
func resultOf(err error) wire.Result {
	if p, ok := errors.AsType[*wire.Problem](err); ok {
		return p.Result()
	}
	return wire.Result{Code: wire.StopError, Error: wire.ErrCodeValue, HasError: true, Text: err.Error()}
}

// learnID takes the peer's tunnel id from any message that shows it, so that even a refusal finds its way.
func (st *step) learnID(m wire.Message) {
	if id, ok := m.Uint16(wire.AVPAssignedTunnelID); ok && st.t.peer.TunnelID == 0 {
		st.t.peer.TunnelID = TunnelID(id)
	}
}

// endSessions tells of the end of every session, in order of their ids; no CDN is sent (RFC 2661, 5.7).
func (st *step) endSessions() {
	for _, s := range st.t.sess.ordered() {
		s.down(st, CauseTunnelClosed, wire.Result{})
	}
}

// close ends the tunnel by StopCCN and lingers until it is acknowledged.
func (st *step) close(cause Cause, result wire.Result) {
	t := st.t
	t.ch.abandon(t.state == TunnelWaitCtlReply && t.peer.TunnelID == 0)
	st.endSessions()
	t.ch.urgent = true
	st.send(nil, stopCCN(t.id, result, t.cfg.PRE13))
	t.lingerAt = st.now + cycle(t.cfg)
	st.become(TunnelClosing)
	st.emit(EvTunnelDown{Cause: cause, Result: result})
}

// stopped ends the tunnel because the peer said StopCCN: it is acknowledged, now and when it comes again (P73, P145).
func (st *step) stopped(result wire.Result) {
	t := st.t
	t.ch.abandon(true)
	st.endSessions()
	t.peerStopped = true
	t.lingerAt = st.now + cycle(t.cfg)
	st.become(TunnelClosing)
	st.emit(EvTunnelDown{Cause: CausePeer, Result: result})
}

// lost ends the tunnel without a word.
func (st *step) lost(cause Cause, result wire.Result) {
	t := st.t
	t.ch.abandon(true)
	st.endSessions()
	known := t.state == TunnelClosing
	st.become(TunnelDead)
	if !known {
		st.emit(EvTunnelDown{Cause: cause, Result: result})
	}
}

// setupOver ends a tunnel that did not come up in time (P76). Who acknowledges nothing is told nothing: the source
// address may be a lie.
func setupOver(st *step) {
	if st.t.ch.Sent > 0 {
		st.lost(CauseTimeout, wire.Result{})
		return
	}
	st.close(CauseTimeout, wire.Result{Code: wire.StopGeneral, Text: "set-up time over"})
}

// left starts the time that the peer has to answer a session's message: it does not run while the window holds the message
// back, for a busy tunnel is no reason to give up a call. A call that we complete is up for its owner when ICCN or OCCN has
// left: PPP that began before would tire itself out against a peer that has not been told yet.
func (st *step) left(p *Packet) {
	s := st.t.sess.byID[p.Session]
	if s == nil || p.Type == wire.MsgCDN {
		return // a CDN is the last word on a session that is gone
	}
	s.unsent--
	switch {
	case p.Type == wire.MsgICRQ, p.Type == wire.MsgOCRQ, p.Type == wire.MsgICRP:
		s.setDeadline(st, st.now+st.t.cfg.SessionTimeout)
	case p.Type == wire.MsgOCRP && s.State == SessionWaitCSAnswer:
		s.setDeadline(st, st.now+st.t.cfg.AnswerTimeout)
	case s.Local != nil && (p.Type == wire.MsgICCN || p.Type == wire.MsgOCCN):
		s.emitUp(st, *s.Local)
	}
}

// finish sends what may leave and ends a closing tunnel when nothing is left to say.
func (st *step) finish() {
	t := st.t
	defer t.sess.settle()
	if t.state == TunnelDead {
		return
	}
	if st.promptAck || t.state != TunnelEstablished {
		t.ch.ackNow = t.ch.ackNow || t.ch.Unacked > 0
	}
	t.ch.flush(st.now, t.peer.TunnelID, st.out, st.left)
	if t.state == TunnelClosing && len(t.ch.Queue) == 0 && !t.peerStopped && !t.yielded {
		st.become(TunnelDead)
	}
}
