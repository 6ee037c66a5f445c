package control

import (
	"cmp"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// Do carries out a command. One that does not fit the present state is ignored: what it meant may be gone by now.
func (t *Tunnel) Do(now Time, c Command, out *Output) {
	st := &step{t: t, now: now, out: out}
	if t.state == TunnelDead || t.state == TunnelIdle {
		refuseOpen(st, c)
		return
	}
	switch c := c.(type) {
	case CmdClose:
		if t.state != TunnelClosing {
			st.close(CauseLocal, c.Result)
		}
	case CmdForget:
		st.lost(CauseLocal, wire.Result{})
	case CmdProbe:
		if t.state == TunnelEstablished && len(t.ch.Queue) == 0 {
			st.send(nil, wire.NewMessage(wire.MsgHello))
		}
	case CmdHeard:
		t.lastHeard = max(t.lastHeard, min(c.At, now))
	case CmdOpenSession:
		openSession(st, c)
	case CmdAcceptSession:
		acceptSession(st, c)
	case CmdConnectSession:
		connectSession(st, c)
	case CmdCloseSession:
		if s := t.sess.byID[c.Session]; s != nil {
			s.hangUp(st, CauseLocal, c.Result, c.DisconnectCause)
		}
	case CmdSendWEN:
		if s := t.sess.byID[c.Session]; s != nil && s.Role.IsLAC() {
			report(st, s, c.Errors)
		}
	case CmdSendSLI:
		if s := t.sess.byID[c.Session]; s != nil && !s.Role.IsLAC() {
			notify(st, s, wire.NewMessage(wire.MsgSLI, wire.ACCMAVP(c.Send, c.Receive)))
		}
	}
	st.finish()
}

// refuseOpen answers CmdOpenSession where no session can be.
func refuseOpen(st *step, c Command) {
	if open, ok := c.(CmdOpenSession); ok {
		*open.Session = 0
		st.anomaly(0, "no session: tunnel is "+st.t.state.String())
	}
}

// openSession makes a session that we ask for (P78, P81, P101).
func openSession(st *step, c CmdOpenSession) {
	t := st.t
	*c.Session = 0
	switch {
	case t.state == TunnelClosing:
		refuseOpen(st, c)
		return
	case c.Role != LACIncoming && c.Role != LNSOutgoing:
		st.anomaly(0, "no session: role "+c.Role.String()+" does not ask")
		return
	case t.sess.count() >= t.cfg.MaxSessions || t.sess.count() >= 65534:
		st.anomaly(0, "no session: too many sessions")
		return
	}
	call := c.Call
	if call.SerialNumber == 0 {
		t.serial++
		call.SerialNumber = t.serial
	}
	s := t.sess.add(SessionRecord{
		ID: t.newID(st.now), Role: c.Role, Serial: call.SerialNumber, Local: &call, Remote: &CallInfo{},
	})
	*c.Session = s.ID
	st.watchIdle()
	s.become(st, SessionWaitTunnel)
	if t.state == TunnelEstablished {
		s.start(st)
	}
}

// acceptSession answers an offered call: ICRP or OCRP leaves (P87, P94).
func acceptSession(st *step, c CmdAcceptSession) {
	t := st.t
	s := t.sess.byID[c.Session]
	if s == nil || s.State != SessionIdle {
		return
	}
	call := c.Call
	s.Local = &call
	switch s.Role {
	case LNSIncoming:
		st.send(s, icrp(t, s))
		s.become(st, SessionWaitConnect)
	case LACOutgoing:
		st.send(s, ocrp(s))
		s.become(st, SessionWaitCSAnswer)
	case LACIncoming, LNSOutgoing:
	}
}

// connectSession completes a call on the LAC's side: ICCN or OCCN leaves (P82, P97).
func connectSession(st *step, c CmdConnectSession) {
	t := st.t
	s := t.sess.byID[c.Session]
	switch {
	case s == nil:
	case s.Role == LACIncoming && s.State == SessionWaitReply && s.Replied:
		s.connectWith(c.Call)
		st.send(s, iccn(t, s))
		s.up(st)
	case s.Role == LACOutgoing && s.State == SessionWaitCSAnswer:
		s.connectWith(c.Call)
		st.send(s, occn(t, s))
		s.up(st)
	}
}

// connectWith takes what the owner says at connect; the numbers of the opening request stay.
func (s *session) connectWith(call CallInfo) {
	old := s.Local
	call.SerialNumber = old.SerialNumber
	call.CalledNumber = cmp.Or(call.CalledNumber, old.CalledNumber)
	call.CallingNumber = cmp.Or(call.CallingNumber, old.CallingNumber)
	call.SubAddress = cmp.Or(call.SubAddress, old.SubAddress)
	call.BearerType = cmp.Or(call.BearerType, old.BearerType)
	call.PhysicalChannel = cmp.Or(call.PhysicalChannel, old.PhysicalChannel)
	call.Line = cmp.Or(call.Line, old.Line)
	s.Local = &call
}

// report sends WEN if there are errors that the peer has not been told of, and it was not told of others just now (P204).
func report(st *step, s *session, errors [6]uint32) {
	interval := st.t.cfg.ErrorInterval
	last := ErrorReport{At: st.now - interval}
	if s.Told != nil {
		last = *s.Told
	}
	if s.State != SessionEstablished || errors == last.Errors || st.now-last.At < interval {
		return
	}
	s.Told = &ErrorReport{At: st.now, Errors: errors}
	st.out.Persist = true
	notify(st, s, wire.NewMessage(wire.MsgWEN, wire.CallErrorsAVP(errors)))
}

// notify sends WEN or SLI on an established session; it replaces one that has not left yet.
func notify(st *step, s *session, m wire.Message) {
	if s.State != SessionEstablished {
		return
	}
	if s.unsent > 0 {
		s.unsent -= st.t.ch.supersede(m.Type, s.ID)
	}
	st.send(s, m)
}
