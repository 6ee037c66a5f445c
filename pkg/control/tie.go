package control

import (
	"slices"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// Collide decides what becomes of this tunnel when m, an SCCRQ from its peer, crosses ours (P66, P113-P118; RFC 2661, 4.4.3,
// Tie Breaker). Only a tunnel in wait-ctl-reply can lose, and only to an SCCRQ that Accept would take under cfg. Whatever the
// outcome, nothing is sent; m is not changed. A tunnel that loses to the peer's lingers: a peer that began to dial when it had answered
// ours already knows of no tie, and its SCCRP is on the way.
func (t *Tunnel) Collide(m wire.Message, cfg TunnelConfig, now Time, out *Output) Collision {
	if t.state != TunnelWaitCtlReply {
		return CollisionNone
	}
	m.AVPs = slices.Clone(m.AVPs)
	if _, refusal := judgeRequest(&m, cfg); refusal != nil {
		return CollisionNone
	}
	theirs, has := m.Uint64(wire.AVPTieBreaker)
	st := &step{t: t, now: now, out: out}
	switch {
	case !has && !t.cfg.TieBreaker:
		return CollisionNone
	case !has, t.cfg.TieBreaker && t.tieBreaker < theirs:
		return CollisionOurs
	case !t.cfg.TieBreaker, theirs < t.tieBreaker:
		t.ch.abandon(true)
		st.endSessions()
		t.yielded = true
		t.lingerAt = now + cycle(t.cfg)
		st.become(TunnelClosing)
		st.emit(EvTunnelDown{Cause: CauseTieLost})
		return CollisionPeers
	}
	st.lost(CauseTieEqual, wire.Result{})
	return CollisionEqual
}
