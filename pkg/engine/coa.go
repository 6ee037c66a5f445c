package engine

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// RADIUSHandler does what RADIUS servers ask for (RFC 5176). Its methods wait for the shards.
type RADIUSHandler struct{ e *Engine }

// RADIUS gives the handler of servers' requests.
func (e *Engine) RADIUS() RADIUSHandler { return RADIUSHandler{e} }

// Disconnect ends all sessions that match (P243).
func (h RADIUSHandler) Disconnect(ctx context.Context, m radius.Match) radius.Outcome {
	return h.all(ctx, m, func(s *session) { s.hangUp("disconnect", "a RADIUS server asks for it") })
}

// Change changes all sessions that match, or none (P244).
func (h RADIUSHandler) Change(ctx context.Context, m radius.Match, c radius.Change) radius.Outcome {
	if len(c.FilterIDs) > 0 || c.PortLimit != nil || c.MTU != nil { // which a live session cannot have changed
		return radius.Unsupported
	}
	timed := c.SessionTimeout != nil || c.IdleTimeout != nil
	var elsewhere atomic.Bool
	if o := h.all(ctx, m, func(s *session) {
		if s.subscriber().far != nil || s.placed != nil || s.outside() {
			elsewhere.Store(true)
		}
	}); o != radius.Done {
		return o
	}
	if timed && elsewhere.Load() { // PPP, which has the clocks, is the LNS's, or a pppd's that cannot be told
		return radius.Prohibited
	}
	return h.all(ctx, m, func(s *session) { s.change(c) })
}

// all does something with each session that matches.
func (h RADIUSHandler) all(ctx context.Context, m radius.Match, do func(*session)) radius.Outcome {
	n := make([]int, len(h.e.shards))
	err := h.e.each(ctx, func(sh *shard) {
		for _, s := range sh.users() {
			if s.matches(m) {
				n[sh.index]++
				do(s)
			}
		}
	})
	switch {
	case err != nil:
		return radius.NoResources
	case !slices.ContainsFunc(n, func(n int) bool { return n > 0 }):
		return radius.NotFound
	}
	return radius.Done
}

// users are the shard's sessions that are users' own.
func (sh *shard) users() (all []*session) {
	for s := range sh.sessions() {
		if s.call != nil && !s.releasing && s.conf == nil && s.near == nil {
			all = append(all, s)
		}
	}
	return all
}

// matches says that all that a request names is the session's (P246).
func (s *session) matches(m radius.Match) bool {
	v, p := s.call.View(), s.port()
	text := func(want, have string) bool { return want == "" || want == have }
	switch {
	case m.MultiSessionID != "" || m.ChargeableUser != "" || m.InterfaceID != nil: // we give none
		return false
	case m.SessionID != "" && (s.account == nil || s.account.id != m.SessionID):
		return false
	case m.Address.IsValid() && m.Address != v.Peer, m.IPv6Prefix.IsValid() && m.IPv6Prefix != v.Link, m.Port != nil && *m.Port != p.Number:
		return false
	}
	return text(m.User, v.User) && text(m.PortID, p.ID) && text(m.CallingStation, p.CallingStation) && text(m.CalledStation, p.CalledStation)
}

// change has other times hold for a live session. They are counted from its beginning.
func (s *session) change(c radius.Change) {
	g := granted{over: true, plain: s.tmpl}
	if s.granted != nil {
		g = *s.granted
	}
	if c.Class != nil {
		g.class = c.Class
	}
	if c.InterimInterval != nil {
		g.interim = *c.InterimInterval
	}
	s.granted = &g
	if s.account != nil && s.account.started {
		s.accountAgain()
	}
	if c.SessionTimeout == nil && c.IdleTimeout == nil {
		return
	}
	var t policy.Template
	if s.tmpl != nil {
		t = *s.tmpl
	}
	if c.SessionTimeout != nil {
		t.SessionTimeout = *c.SessionTimeout
	}
	if c.IdleTimeout != nil {
		t.IdleTimeout = *c.IdleTimeout
	}
	if !g.over {
		g.over, g.plain = true, s.tmpl
	}
	s.tmpl = &t
	p := s.paramsNow()
	call.Reconfigure(s.call, s.sh.now(), &p, s.output())
	s.log().Info("a RADIUS server changes the session", slog.String("event", "session-changed"),
		slog.Duration("session_timeout", t.SessionTimeout), slog.Duration("idle_timeout", t.IdleTimeout))
	s.flush()
}
