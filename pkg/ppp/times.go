package ppp

import (
	"encoding/binary"
	"time"
)

// times is what an established link watches: LCP echo, idle time and session time.
type times struct{ l *Link }

func (t times) expire() {
	l := t.l
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
		t.echo()
	}
}

// echoRepeats is how often in an interval a request without an answer is sent. One loss is no failure then: at 5 % of loss a
// link would end every few hours otherwise.
const echoRepeats = 4

// echo sends the keep-alive, or gives the peer up after EchoFailures intervals without any frame of it (P255).
func (t times) echo() {
	l := t.l
	if l.s.EchoTries >= l.cfg.EchoFailures*echoRepeats {
		l.s.Goodbye = "no answer to LCP echo"
		l.fail(ReasonEcho, false, "")
		return
	}
	l.s.EchoTries++
	l.s.EchoAt = l.now + l.cfg.EchoInterval/echoRepeats
	n := l.negotiator(ProtoLCP)
	n.send(codeEchoRequest, n.s.nextID(), binary.BigEndian.AppendUint32(nil, l.s.LCP.Magic))
}

// heard: a frame came, so the peer is there, whatever became of the answers to our requests.
func (t times) heard() {
	l := t.l
	if l.s.EchoTries == 0 || l.s.EchoAt == 0 {
		return
	}
	l.s.EchoTries, l.s.EchoAt = 0, l.now+l.cfg.EchoInterval
}

// idleFor takes the owner's answer to EvIdleCheck.
func (t times) idleFor(idle time.Duration) {
	l := t.l
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

// anew begins the clocks again that are not as they were: the keep-alive if LCP is open, the others if the network phase has begun. Else they
// stand still until then, though they may have run before the peer began anew.
func (t times) anew(was *Config) {
	l := t.l
	if l.s.Phase == PhaseTerminate {
		return
	}
	if d := l.cfg.SessionTimeout; d != was.SessionTimeout {
		if l.s.SessionAt = 0; d > 0 && l.s.Phase == PhaseNetwork {
			l.s.SessionAt = l.now + d
		}
	}
	if d := l.cfg.IdleTimeout; d != was.IdleTimeout {
		if l.s.IdleAt = 0; d > 0 && (l.s.IPCP.Up || l.s.ipv6cp().Up) {
			l.s.IdleAt = l.now + d
		}
	}
	if d := l.cfg.EchoInterval; d != was.EchoInterval {
		l.s.EchoAt, l.s.EchoTries = 0, 0
		if d > 0 && l.s.LCP.State == stOpened {
			l.s.EchoAt = l.now + d
		}
	}
}

// restore stops the watches that the configuration no longer has, and moves a keep-alive that is overdue because the
// record is older than it. Each link keeps its own rhythm: ten thousand restored at once do not all send in one moment.
func (t times) restore() {
	l := t.l
	if l.cfg.EchoInterval == 0 {
		l.s.EchoAt = 0
	}
	if l.cfg.IdleTimeout == 0 {
		l.s.IdleAt = 0
	}
	if l.cfg.SessionTimeout == 0 {
		l.s.SessionAt = 0
	}
	if l.s.EchoAt != 0 && l.s.EchoAt < l.now {
		l.s.EchoAt = l.now + l.cfg.EchoInterval - (l.now-l.s.EchoAt)%l.cfg.EchoInterval
	}
}
