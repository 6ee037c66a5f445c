package control

import (
	"slices"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// tunnelEvent is what a message means to the control connection, in the words of RFC 2661, 7.2.1.
type tunnelEvent uint8

// Events, in the order of eventOf.
const (
	receiveSCCRQ tunnelEvent = iota
	receiveSCCRP
	receiveSCCCN
	receiveStopCCN
	receiveOther // a session's message before there can be sessions (P127)
)

// eventOf is the event of a message that is not HELLO.
func eventOf(t wire.MessageType) tunnelEvent {
	types := []wire.MessageType{wire.MsgSCCRQ, wire.MsgSCCRP, wire.MsgSCCCN, wire.MsgStopCCN}
	if i := slices.Index(types, t); i >= 0 {
		return tunnelEvent(i)
	}
	return receiveOther
}

// tunnelMessage gives a message to the function of the present state.
func tunnelMessage(st *step, m wire.Message) {
	if m.Type == wire.MsgHello {
		return // the acknowledgement is the answer (P151)
	}
	event := eventOf(m.Type)
	switch st.t.state {
	case TunnelIdle, TunnelDead:
	case TunnelWaitCtlReply:
		waitCtlReply(st, event, m)
	case TunnelWaitCtlConn:
		waitCtlConn(st, event, m)
	case TunnelEstablished:
		established(st, event, m)
	case TunnelClosing:
		closing(st, event, m)
	}
}

func waitCtlReply(st *step, event tunnelEvent, m wire.Message) {
	switch event {
	case receiveSCCRP:
		acceptReply(st, m)
	case receiveStopCCN:
		peerStop(st, m)
	case receiveSCCRQ, receiveSCCCN, receiveOther:
		unexpected(st, m)
	}
}

func waitCtlConn(st *step, event tunnelEvent, m wire.Message) {
	switch event {
	case receiveSCCCN:
		acceptConnected(st, m)
	case receiveStopCCN:
		peerStop(st, m)
	case receiveSCCRQ, receiveSCCRP, receiveOther:
		unexpected(st, m)
	}
}

func established(st *step, event tunnelEvent, m wire.Message) {
	switch event {
	case receiveStopCCN:
		peerStop(st, m)
	case receiveSCCRQ, receiveSCCRP, receiveSCCCN, receiveOther:
		unexpected(st, m)
	}
}

// closing acknowledges whatever comes. An SCCRP that crossed our StopCCN shows where the StopCCN must go; a StopCCN
// that crossed it makes the peer's retransmissions our business.
func closing(st *step, event tunnelEvent, m wire.Message) {
	t := st.t
	switch event {
	case receiveSCCRP:
		if t.peer.TunnelID == 0 {
			st.learnID(m)
			t.ch.Flying = 0
		}
		if t.yielded {
			t.yielded = false
			st.send(nil, stopCCN(t.id, wire.Result{Code: wire.StopGeneral, Text: "your own call has won the tie"}, t.cfg.PRE13))
			t.lingerAt = st.now + t.ch.timeout()/2 // it is said once: the peer may have found out
			st.out.Persist = true
		}
	case receiveStopCCN:
		st.learnID(m)
		if !t.peerStopped {
			t.peerStopped = true
			t.ch.abandon(true)
			t.lingerAt = st.now + cycle(t.cfg)
		}
	case receiveSCCRQ, receiveSCCCN, receiveOther:
	}
}

// peerStop ends the tunnel on a StopCCN, however little of it can be read.
func peerStop(st *step, m wire.Message) {
	st.learnID(m)
	result, _ := m.Result()
	st.stopped(result)
}

// unexpected ends the tunnel on a message that does not fit its state (P67, P70, P71, P127).
func unexpected(st *step, m wire.Message) {
	st.learnID(m)
	st.close(CauseProtocol, wire.Result{
		Code: wire.StopFSM,
		Text: m.Type.String() + " in state " + st.t.state.String(),
	})
}

// acceptReply judges the SCCRP to our SCCRQ (P64, P65, P77).
func acceptReply(st *step, m wire.Message) {
	t := st.t
	t.peer = peerInfo(m)
	st.out.Persist = true
	if r, ok := refuseVersion(m); ok {
		st.close(CauseProtocol, r)
		return
	}
	if text := t.checkResponse(sccrpID, m); text != "" {
		st.close(CauseAuth, wire.Result{Code: wire.StopNotAuthorised, Text: text})
		return
	}
	if t.challenge == nil && m.Has(wire.AVPChallengeResponse) {
		st.anomaly(0, "challenge response without a challenge")
	}
	reply := wire.NewMessage(wire.MsgSCCCN)
	if challenge, ok := m.Bytes(wire.AVPChallenge); ok {
		if len(t.cfg.Secret) == 0 {
			st.close(CauseAuth, wire.Result{Code: wire.StopNotAuthorised, Text: "challenged, but no secret is configured"})
			return
		}
		reply.AVPs = append(reply.AVPs, t.respond(scccnID, challenge))
	}
	t.ch.Window.setPeer(t.peer.ReceiveWindow)
	st.send(nil, reply)
	st.up()
}

// acceptConnected judges the SCCCN to our SCCRP (P68, P69).
func acceptConnected(st *step, m wire.Message) {
	t := st.t
	if text := t.checkResponse(scccnID, m); text != "" {
		st.close(CauseAuth, wire.Result{Code: wire.StopNotAuthorised, Text: text})
		return
	}
	if t.challenge == nil && m.Has(wire.AVPChallengeResponse) {
		st.anomaly(0, "challenge response without a challenge")
	}
	st.up()
}

// up enters the established state and starts the sessions that waited for it.
func (st *step) up() {
	t := st.t
	t.challenge = nil
	t.upAt = st.now
	st.become(TunnelEstablished)
	st.emit(EvTunnelUp{Peer: t.peer})
	for _, s := range t.sess.ordered() {
		s.start(st)
	}
	st.watchIdle()
}

// watchIdle starts the idle time of a tunnel without sessions, and ends it when there is one (P112).
func (st *step) watchIdle() {
	t := st.t
	if t.state != TunnelEstablished || t.cfg.IdleTimeout < 0 || t.sess.count() > 0 {
		t.idleAt = 0
		return
	}
	t.idleAt = st.now + t.cfg.IdleTimeout
}
