package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// account is what a session's accounting needs to know.
type account struct {
	id string
	// stopAsking ends the question about the session; nil: none is under way.
	stopAsking context.CancelFunc

	started bool
	untold  bool // its start is still to be told
	cause   radius.TerminateCause
	used    kernel.Stats // at the end
	timer   deadline     // of interim records

	address      netip.Addr // that the user has, or had last
	link, behind netip.Prefix
	since, until Time // it came up, and ended
}

// accountID is the session's Acct-Session-Id: unique over restarts.
func (s *session) accountID() string {
	if s.account == nil {
		s.account = &account{}
		s.account.id = fmt.Sprintf("%08x%08x", uint32(s.sh.e.started.Unix()), s.sh.e.counts.accounts.Add(1))
	}
	return s.account.id
}

// accounted says that RADIUS servers are told of the session: it is a user's, and no configured call's, nor the far side of one.
func (s *session) accounted() bool {
	return s.sh.e.cfg.RADIUS != nil && s.pol.RADIUS.Accounts() && s.conf == nil && s.near == nil
}

// accountStart tells of a session that is up.
func (s *session) accountStart() {
	if !s.accounted() || s.account != nil && s.account.started {
		return
	}
	s.accountID()
	x := s.account
	x.started, x.untold, x.since = true, true, s.sh.now()
	x.timer = deadline{index: -1, owner: whenDue(s.accountTime)}
	s.accountTime(x.since)
}

// accountTime tells of a session that has an address, or gets none soon: IPv6 may be up before IPv4. Later it tells what is used.
func (s *session) accountTime(now Time) {
	x := s.account
	switch {
	case !x.untold:
		s.accountRecord(radius.Interim)
	case !s.call.View().Peer.IsValid() && s.subscriber().far == nil && s.tmpl != nil && s.tmpl.IPv4 && now < x.since+addressTime:
		s.sh.due.arm(&x.timer, now+addressTime/10)
		return
	default:
		s.accountTold()
	}
	s.accountAgain()
}

// accountTold sees to it that a session's start is told before all else.
func (s *session) accountTold() {
	if x := s.account; x.untold {
		x.untold = false
		s.accountRecord(radius.Start)
	}
}

// accountAgain plans the next interim record. A session that has ended has none, though it may still wait for its release.
func (s *session) accountAgain() {
	every := s.pol.RADIUS.Interim
	if g := s.granted; g != nil && g.interim > 0 {
		every = max(g.interim, interimEvery)
	}
	if every > 0 && !s.account.untold && s.account.until == 0 {
		s.sh.due.arm(&s.account.timer, s.sh.now()+every)
	}
}

// accountEnd notes, while there is something to be read, what is told at the end.
func (s *session) accountEnd(ev call.EvDown) {
	if s.account != nil && s.account.started {
		s.account.cause, s.account.used, s.account.until = terminateCause(ev), s.usage(), s.sh.now()
		s.sh.due.arm(&s.account.timer, 0)
		s.accountTold()
	}
}

// accountStop tells of a session that is gone.
func (s *session) accountStop() {
	if s.account != nil && s.account.started {
		s.accountRecord(radius.Stop)
		s.account.started = false
	}
}

func (s *session) accountRecord(kind radius.Kind) {
	e := s.sh.e
	v, x := s.call.View(), s.account
	if v.Peer.IsValid() { // PPP forgets it before the session is gone
		x.address = v.Peer
	}
	if v.Link.IsValid() || v.Delegated.IsValid() {
		x.link, x.behind = v.Link, v.Delegated
	}
	r := radius.Record{
		Kind: kind, At: s.accountAt(kind), SessionID: x.id, User: v.User, Authentic: s.authentic, Port: s.port(), Tunnel: s.tunnelInfo(),
		Address: x.address,
	}
	for _, p := range []struct {
		from netip.Prefix
		to   *[]netip.Prefix
	}{{x.link, &r.IPv6Prefixes}, {x.behind, &r.DelegatedPrefixes}} {
		if p.from.IsValid() {
			*p.to = []netip.Prefix{p.from}
		}
	}
	if s.granted != nil {
		r.Class = s.granted.class
	}
	if kind != radius.Start {
		u, until := x.used, x.until
		if kind == radius.Interim {
			u, until = s.usage(), s.sh.now()
		}
		r.InputOctets, r.InputPackets, r.OutputOctets, r.OutputPackets = u.RxBytes, u.RxPackets, u.TxBytes, u.TxPackets
		r.SessionTime = until - x.since
	}
	if kind == radius.Stop {
		r.Cause = x.cause
	}
	e.account(r)
}

// accountAt is when what a record tells happened.
func (s *session) accountAt(kind radius.Kind) time.Time {
	if kind == radius.Start {
		return s.upSince
	}
	return s.sh.e.cfg.WallClock()
}

// account hands a record on, and tells of one that cannot be told; of those that are lost for want of room the client tells.
func (e *Engine) account(r radius.Record) {
	if err := e.cfg.RADIUS.Account(r); err != nil && !errors.Is(err, radius.ErrLost) {
		e.strangeBy(slog.LevelError, "accounting", r.Kind.String(), "accounting record is lost", slog.String("session", r.SessionID),
			slog.String("user", r.User), slog.String("why", err.Error()))
	}
}

// accountAll tells of the daemon's beginning or end.
func (e *Engine) accountAll(kind radius.Kind) {
	if e.cfg.RADIUS == nil {
		return
	}
	r := radius.Record{Kind: kind, At: e.cfg.WallClock()}
	if kind == radius.Off {
		r.Cause = radius.AdminReboot
	}
	e.account(r)
}

// terminateCause is the end of a session in RADIUS's words (P242).
func terminateCause(ev call.EvDown) radius.TerminateCause {
	switch ev.Cause {
	case "peer-terminate":
		return radius.UserRequest
	case "line-down", "echo-failed", "lcp-no-answer":
		return radius.LostCarrier
	case "timeout", "tunnel-closed":
		return radius.LostService
	case "idle":
		return radius.IdleTimeout
	case "session-time":
		return radius.SessionTimeout
	case "operator", "disconnect":
		return radius.AdminReset
	case "stop":
		return radius.AdminReboot
	case "kernel", "network":
		return radius.NASError
	case "replaced", "user-limit":
		return radius.PortPreempted
	case "no-address", "no-lns", "auth-unavailable":
		return radius.ServiceUnavailable
	case "peer":
		return theirCause(ev.Said)
	case "auth-failed", "auth-refused":
		return radius.UserError
	}
	return radius.NASRequest
}

// theirCause is the end of a session that the other end of the tunnel has ended: by its PPP disconnect cause (RFC 3145, 3) where it tells
// one, else by the CDN's result code (RFC 2661, 4.4.2). A CDN for administrative reasons is what an LNS sends, too, whose user has hung up.
func theirCause(said call.Said) radius.TerminateCause {
	switch said.Cause() {
	case 1:
		return radius.AdminReset
	case 3:
		if said.ByUser() {
			return radius.UserRequest
		}
		return radius.HostRequest
	case 5, 6, 7, 8:
		return radius.LostCarrier
	case 13, 14, 15, 16:
		return radius.UserError
	case 2, 4, 9, 10, 11, 12, 17, 18, 19, 20:
		return radius.ServiceUnavailable
	}
	switch said.Result {
	case wire.CDNAdmin:
		return radius.UserRequest
	case wire.CDNError, wire.CDNNoFacilitiesTemp, wire.CDNNoFacilitiesPerm:
		return radius.ServiceUnavailable
	case 0: // the tunnel went
		return radius.LostService
	}
	return radius.LostCarrier
}

// addressTime is how long the start of a session waits for an address to be told with it.
const addressTime = 2 * time.Second

// interimEvery is the least time between interim records that a server may ask for.
const interimEvery = time.Minute
