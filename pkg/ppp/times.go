package ppp

import (
	"encoding/binary"
	"time"
)

// expireTimes runs what an established link watches: LCP echo, idle time and session time.
func (l *Link) expireTimes() {
	if due(&l.s.SessionAt, l.now) {
		l.s.Goodbye = "session time is over"
		l.fail(ReasonSessionTime, false, "")
	}
	if due(&l.s.IdleAt, l.now) {
		// Armed again in case that no answer comes; CmdIdle moves it.
		l.s.IdleAt = l.now + l.cfg.IdleTimeout
		l.out.Events = append(l.out.Events, EvIdleCheck{})
	}
	if due(&l.s.EchoAt, l.now) {
		l.echo()
	}
}

// echo sends the keep-alive, or gives the peer up after EchoFailures unanswered ones (P255).
func (l *Link) echo() {
	if l.s.EchoMissed >= l.cfg.EchoFailures {
		l.s.Goodbye = "no answer to LCP echo"
		l.fail(ReasonEcho, false, "")
		return
	}
	l.s.EchoMissed++
	l.s.EchoAt = l.now + l.cfg.EchoInterval
	n := l.negotiator(ProtoLCP)
	n.send(codeEchoRequest, n.nextID(), binary.BigEndian.AppendUint32(nil, l.s.LCP.Magic))
}

// idleFor takes the owner's answer to EvIdleCheck.
func (l *Link) idleFor(idle time.Duration) {
	if l.s.IdleAt == 0 {
		return
	}
	if idle >= l.cfg.IdleTimeout {
		l.s.Goodbye = "idle"
		l.fail(ReasonIdle, false, "")
		return
	}
	l.s.IdleAt = l.now + l.cfg.IdleTimeout - max(idle, 0)
}
