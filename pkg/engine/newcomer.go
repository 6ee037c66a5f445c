package engine

import (
	"cmp"
	"errors"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// newcomer takes a control message without tunnel id: an SCCRQ, or the StopCCN of a peer that has not learnt our id (P74).
func (s *shard) newcomer(p packet) {
	h, payload, err := wire.ParseHeader(p.data)
	if err != nil {
		s.e.counts.malformed.Add(1)
		return
	}
	s.e.tapIn(p.local, p.remote, h, p.data)
	s.strangers.earn(s.now(), len(p.data))
	m, err := wire.ParseMessage(payload)
	if err != nil || m.Type != wire.MsgSCCRQ && m.Type != wire.MsgStopCCN {
		s.notSCCRQ(p)
		return
	}
	// The secret first: the id by which a repeated message is known may be hidden.
	host, _ := m.Text(wire.AVPHostName)
	resp := s.e.policy.Load().ForSCCRQ(p.remote.Addr(), host, s.e.peersOf)
	key := sourceKey{remote: p.remote, peer: control.AssignedTunnelID(m, resp.Secret.Reveal())}
	if t := s.bySource[key]; t != nil && key.peer != 0 {
		// A repeated SCCRQ gets the same SCCRP (P75); a StopCCN is matched by AVP 9 (P74).
		switch {
		case !errors.Is(t.asked(p), control.ErrRestarted):
			return
		case t.down: // it said goodbye, and has chosen the same id again
			t.do(control.CmdForget{})
		default:
			t.doubt() // restarted, and chose the same id again; or somebody else: the new tunnel must come up first
		}
	}
	if m.Type != wire.MsgSCCRQ {
		s.notSCCRQ(p)
		return
	}
	s.sccrq(p, h, m, resp, key)
}

func (s *shard) notSCCRQ(p packet) {
	s.e.counts.malformed.Add(1)
	s.strange(slog.LevelInfo, "not-sccrq", p.remote.Addr(), "control message without tunnel dropped: not an SCCRQ",
		slog.Any("peer", p.remote))
}

// packet takes a message of a known tunnel; data reaches user space while the kernel session is not there yet, or when it is
// shorter than the kernel wants it (kernel rule: fewer than 14 octets).
func (s *shard) packet(p packet) {
	h, payload, err := wire.ParseHeader(p.data)
	if err != nil {
		s.e.counts.malformed.Add(1)
		return
	}
	t := s.tunnels[control.TunnelID(h.TunnelID)]
	if t == nil {
		s.e.counts.noTunnel.Add(1)
		if h.Control {
			s.e.tapIn(p.local, p.remote, h, p.data)
		}
		return
	}
	if h.Control {
		t.tapIn(p)
		t.known()
		_ = t.receive(p) // counted and logged there
		return
	}
	sess := t.sessions[control.SessionID(h.SessionID)]
	if sess == nil {
		s.e.counts.noSession.Add(1)
		s.strange(slog.LevelInfo, "no-such-session", p.remote.Addr(), "data for a session that does not exist dropped",
			slog.Any("peer", p.remote), slog.Int("tunnel", int(h.TunnelID)), slog.Int("session", int(h.SessionID)))
		return
	}
	if len(payload) == 0 || t.pre13 && h.Reset { // P181, P286: acknowledgements of the drafts before 13
		s.e.counts.noData.Add(1)
		return
	}
	sess.frame(payload)
}

// sccrq answers a request for a new tunnel. Nothing is kept before it has been found good.
func (s *shard) sccrq(p packet, h wire.Header, m wire.Message, resp policy.Responder, key sourceKey) {
	pol := s.e.policy.Load()
	src := p.remote.Addr()
	switch {
	case s.e.stopping.Load():
		s.refuse(p, key.peer, wire.Result{Code: wire.StopShutdown}, "the daemon is stopping")
		return
	case resp.Refuse:
		s.refuse(p, key.peer, wire.Result{Code: wire.StopNotAuthorised}, resp.Reason)
		return
	case s.e.cfg.Kernel == nil:
		s.refuse(p, key.peer, noResources, s.e.noDataPath())
		return
	}
	cfg := s.e.tunnelConfig(pol, pol.Server.Tunnel, resp.Secret, resp.PRE13)
	cfg.IgnoreWindow13 = resp.IgnoreWindow13
	if !s.roomFor(p, key, pol) || s.collides(p.remote, m, cfg) || !s.shareable(p, key) {
		return
	}
	id := s.newTunnelID()
	if id == 0 {
		s.refuse(p, key.peer, noResources, "no tunnel id is free")
		return
	}
	t := s.newTunnel(id, p.local, p.remote)
	var err error
	t.ctl, err = control.Accept(cfg, id, m, h, s.now(), &t.out)
	if err != nil {
		delete(s.tunnels, id)
		t.unlist()
		if r, ok := errors.AsType[*control.Refusal](err); ok {
			s.answer(p, r, whyRefused(r))
		}
		return
	}
	if why := t.enter(resp.Accept, pol.Server); why != "" {
		delete(s.tunnels, id)
		t.unlist()
		s.refuse(p, key.peer, tryAnother, why)
		return
	}
	s.makeRoom(src, pol.Server)
	t.secret, t.source, t.hello, t.pre13 = !resp.Secret.Empty(), key, cfg.HelloInterval, cfg.PRE13
	t.tie = m.Has(wire.AVPTieBreaker)
	s.bySource[key] = t
	s.enterHalfOpen(t)
	t.stranger, t.answering = true, true
	t.admit(false)
	t.flush()
	t.answering = false
	if s.dialers != nil {
		s.dialers.tunnelCame(t)
	}
}

// What a peer is told that we have no room for.
var (
	noResources = wire.Result{Code: wire.StopError, Error: wire.ErrCodeResources, HasError: true}
	tryAnother  = wire.Result{Code: wire.StopError, Error: wire.ErrCodeTryAnother, HasError: true}
)

// refuse answers an SCCRQ that we do not want.
func (s *shard) refuse(p packet, peer control.TunnelID, r wire.Result, why string) {
	s.answer(p, &control.Refusal{Result: r, Peer: peer}, why)
}

// whyRefused is what is wrong with an SCCRQ that pkg/control refuses. Not authorised is for a challenge that we cannot answer.
func whyRefused(r *control.Refusal) string {
	if r.Result.Code == wire.StopNotAuthorised {
		return "stage tunnel authentication: the peer asks for a secret, and none is configured here"
	}
	return r.Result.StopString()
}

// answer sends a StopCCN that leaves no state behind, if it may be sent at all.
func (s *shard) answer(p packet, r *control.Refusal, why string) {
	s.e.counts.refused.Add(1)
	s.strange(slog.LevelWarn, "sccrq-refused", p.remote.Addr(), "tunnel refused: "+why,
		slog.Any("peer", p.remote), slog.String("answer", r.Result.StopString()))
	id := s.newTunnelID()
	if id == 0 {
		return
	}
	b := control.Refuse(id, r, nil)
	if len(b) == 0 {
		return
	}
	if !s.strangers.spend(s.now(), len(b), true) {
		s.e.counts.overLimit.Add(1)
		return
	}
	s.tapAnswer(p.local, p.remote, b)
	_ = s.e.cfg.Transport.Send(p.local, p.remote, b) // a stranger's loss
}

// collides settles an SCCRQ that crosses ours; true: it is to be dropped. The peer may dial from another port than that which we
// dial (P155); a tunnel that is to be one of several concerns its own port only.
func (s *shard) collides(remote netip.AddrPort, m wire.Message, cfg control.TunnelConfig) bool {
	for _, t := range slices.Clone(s.byAddr[remote.Addr()]) {
		if !t.initiator || t.ctl.State() != control.TunnelWaitCtlReply || t.remote != remote && t.key.Own != "" {
			continue
		}
		outcome := t.ctl.Collide(m, cfg, s.now(), &t.out)
		t.tieLost = outcome == control.CollisionPeers || outcome == control.CollisionEqual
		t.flush()
		switch outcome {
		case control.CollisionOurs, control.CollisionEqual:
			return true
		case control.CollisionPeers, control.CollisionNone:
		}
	}
	return false
}

// roomFor applies the limits.
func (s *shard) roomFor(p packet, key sourceKey, pol *policy.Policy) bool {
	src := p.remote.Addr()
	srv := pol.Server
	if s.pressed(src, srv) {
		if !s.strangers.seen(s.now(), key) || !s.strangers.canAnswer(s.now()) {
			s.e.counts.overLimit.Add(1)
			s.strange(slog.LevelWarn, "pressure", src, "many unfinished tunnel requests: new ones are answered when they come again",
				slog.Any("peer", p.remote))
			return false
		}
	} else {
		s.strangers.sccrqs.Expire(s.now())
	}
	if int(s.e.counts.tunnelsUp.Load()) >= maxTunnels(srv) {
		s.refuse(p, key.peer, tryAnother, "max_tunnels is reached")
		return false
	}
	return true
}

// makeRoom lets a new tunnel push out the oldest unfinished set-up, of its source or of all, where there are too many: an
// honest peer finishes within a round trip.
func (s *shard) makeRoom(src netip.Addr, srv policy.Server) {
	for s.half[src] > 0 && s.half[src] >= maxHalfOpenPerSource(srv) {
		s.evict(func(t *tunnel) bool { return t.remote.Addr() == src })
	}
	for s.nHalf > 0 && int(s.e.counts.halfOpen.Load()) >= maxHalfOpen(srv) {
		s.evict(func(*tunnel) bool { return true })
	}
}

// enter counts a tunnel that a peer has begun, over all shards, if the limits allow it; else it says which does not. Unfinished
// set-ups count, and make way, the oldest first.
func (t *tunnel) enter(a *policy.Accept, srv policy.Server) (refusal string) {
	s := t.s
	for !s.e.counts.enter(maxTunnels(srv)) {
		if !s.evict(func(*tunnel) bool { return true }) {
			return "max_tunnels is reached"
		}
	}
	t.counted = true
	for a != nil && !s.e.tunnels.take(a, a.MaxTunnels) {
		if !s.evict(func(x *tunnel) bool { return x.accept != nil && keyOf(x.accept) == keyOf(a) }) {
			t.leaveCount()
			return "max_tunnels of its accept entry is reached"
		}
	}
	t.accept = a
	for a != nil && !s.e.halfOpen.take(a, a.MaxHalfOpen) {
		if !s.evict(func(x *tunnel) bool { return x.accept != nil && keyOf(x.accept) == keyOf(a) }) {
			t.leaveCount()
			return "max_half_open of its accept entry is reached"
		}
	}
	return ""
}

// maxTunnels counts half-open ones in.
func maxTunnels(srv policy.Server) int { return cmp.Or(srv.MaxTunnels, 65535) }

// shareable decides about a second tunnel from the address and port of another. The kernel's L2TP core of 6.11 and later serves
// both. An older one mixes their data up: there the second is refused while the peer of the first is known to be there.
func (s *shard) shareable(p packet, key sourceKey) bool {
	newCore := s.e.newCore()
	for _, t := range slices.Clone(s.byRemote[p.remote]) {
		if t.local != p.local || t.down {
			continue
		}
		dialling := t.ctl.State() == control.TunnelWaitCtlReply
		switch {
		case dialling && newCore:
			continue
		case dialling && t.local.Compare(p.remote) < 0:
			return false // the peer sees the same two addresses, and dials again from another port
		case dialling:
			t.reason = "it gives way to the peer's: this kernel cannot serve both between the same addresses and ports"
			t.do(control.CmdForget{})
			continue
		}
		// A restarted peer's old tunnel dies by its unanswered HELLO, or when the new one wants its place.
		if t.doubt() == peerThere && !newCore {
			s.refuse(p, key.peer, noResources, oneTunnel)
			return false
		}
	}
	return true
}
