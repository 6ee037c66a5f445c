package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"time"

	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// RADIUS asks servers about users, and tells them what sessions use. Authorize may sleep, Account does not. Account gets On before all
// other records and Off behind them, whether there are servers or not: those that come or go with a reload are told in time.
type RADIUS interface {
	Authorize(ctx context.Context, r radius.Request) (radius.Answer, error)
	Account(r radius.Record) error
	Counters() (c radius.Counters, ok bool) // false: no servers are configured
}

var errNoRADIUS = errors.New("there is no RADIUS server")

// askers is how many questions to RADIUS servers wait at once: a slow server must not hold up the kernel, nor all of memory.
const askers = 256

// askServer asks a RADIUS server, and goes on in the session's shard. The question ends with the session.
func (s *session) askServer(r radius.Request, then func(radius.Answer, error)) {
	e, sh := s.sh.e, s.sh
	if e.cfg.RADIUS == nil {
		then(radius.Answer{}, errNoRADIUS)
		return
	}
	ctx, cancel := context.WithCancel(e.asking)
	s.accountID()
	s.account.stopAsking = cancel
	e.asks.submit(func() {
		defer cancel()
		a, err := e.cfg.RADIUS.Authorize(ctx, r)
		sh.post(func() { then(a, err) })
	})
}

// loginRequest is a request about what a peer has shown.
func (s *session) loginRequest(r ppp.EvAuthRequest) radius.Request {
	return radius.Request{
		Method: r.Method, Name: r.Name, Password: policy.NewSecret([]byte(r.Password)), ID: r.ID, Challenge: r.Challenge, Response: r.Response,
		SessionID: s.accountID(), Port: s.port(), Tunnel: s.tunnelInfo(),
	}
}

// port is where the session came in (P239).
func (s *session) port() radius.Port {
	if s.line == nil {
		return radius.Port{
			Number: uint32(s.id), Type: radius.PortVirtual, ID: fmt.Sprintf("%d/%d", s.t.id, s.id), CallingStation: s.remote.CallingNumber,
			CalledStation: s.remote.CalledNumber, ConnectInfo: connectInfo(s.remote.TxSpeed, s.remote.RxSpeed), Access: accessLine(s.remote.Line),
		}
	}
	c := &s.line.caller
	p := radius.Port{
		Number: uint32(s.line.id), Type: radius.PortAsync, ID: c.Access.Name, CallingStation: c.Station(), Access: accessLine(c.Line),
	}
	switch {
	case c.PPPoE != nil:
		p.Type, p.CalledStation = radius.PortPPPoE, c.PPPoE.Service
		p.ID = fmt.Sprintf("%s:%d", c.PPPoE.Interface, c.PPPoE.SessionID)
	case c.TTY != nil:
		p.CalledStation, p.ConnectInfo = c.TTY.CalledNumber, connectInfo(c.TTY.Speed, 0)
	}
	return p
}

// connectInfo is a speed in the words of RADIUS (RFC 2869, 5.11).
func connectInfo(tx, rx uint32) string {
	switch {
	case tx == 0:
		return ""
	case rx == 0 || rx == tx:
		return fmt.Sprintf("%d", tx)
	}
	return fmt.Sprintf("%d/%d", tx, rx)
}

// tunnelInfo is the tunnel that the session came by, or goes on by (P233).
func (s *session) tunnelInfo() radius.TunnelInfo {
	if fw := s.subscriber().far; fw != nil {
		return radius.TunnelInfo{
			ServerEndpoint: fw.target.Addr.Addr().String(), ClientEndpoint: address(fw.local), ClientAuthID: cmp.Or(fw.target.HostName, s.pol.Server.HostName),
			AssignmentID: fw.target.Assignment, PrivateGroup: fw.target.PrivateGroup, Connection: fmt.Sprint(fw.serial),
		}
	}
	if s.t == nil {
		return radius.TunnelInfo{}
	}
	return radius.TunnelInfo{
		ClientEndpoint: s.t.remote.Addr().String(), ServerEndpoint: address(s.t.local.Addr()), ClientAuthID: s.t.peer.HostName,
		ServerAuthID: s.pol.Server.HostName, PrivateGroup: s.remote.PrivateGroup, Connection: fmt.Sprint(s.remote.SerialNumber),
	}
}

// granted is what a RADIUS server gave a user, beyond what a template and a local user have.
type granted struct {
	link, behind netip.Prefix
	choice       bool   // the user chooses his address
	noAddress    string // why the one that it gave is not to be had; empty: it is, or it gave none
	class        [][]byte
	interim      time.Duration
	limit        int // sessions; 0: as many as there are

	over  bool             // the session's template has become another by it
	plain *policy.Template // what that was before
}

// ungrant takes back what a server gave to a login that has come to nothing, or has another after it.
func (s *session) ungrant() {
	if g := s.granted; g != nil && g.over {
		s.tmpl = g.plain
	}
	s.granted = nil
}

// verdict is a server's answer about one login.
type verdict struct {
	radius.Answer

	attempt uint32
}

// loginAt asks a RADIUS server about a login.
func (s *session) loginAt(op call.OpAuthorize) {
	s.askServer(s.loginRequest(op.Request), func(a radius.Answer, err error) { s.loginAnswered(op, a, err) })
}

// loginAnswered takes the verdict of a RADIUS server about a login.
func (s *session) loginAnswered(op call.OpAuthorize, a radius.Answer, err error) {
	name := op.Request.Name
	s.warnOf(a)
	if op.User == "" {
		s.ungrant() // of an attempt that nothing came of
	}
	switch {
	case errors.Is(err, context.Canceled):
		s.finished(op, call.Result{Unavailable: true, Why: fmt.Sprintf("user %q has not waited for the answer", name)})
		return
	case err != nil:
		if op.User == "" {
			s.forgetLogin(call.Result{})
			s.sh.e.counts.userAuthFailures.Add(1) // else he is let in, and nobody has refused him
		}
		s.finished(op, call.Result{Unavailable: true, Message: "authentication is not available", Why: fmt.Sprintf("user %q: %v", name, err)})
		return
	case !a.Accept:
		s.checked(op, call.Result{
			Message: cmp.Or(a.Message, "login incorrect"), Why: refusalOf(a, fmt.Sprintf("user %q", name)),
		})
		return
	case op.User != "" && op.User != name:
		s.checked(op, call.Result{Message: "login incorrect", Why: fmt.Sprintf("the session is that of user %q, and another cannot take it over", op.User)})
		return
	}
	s.authentic = radius.AuthenticRADIUS
	if op.User != "" {
		s.holdTo(&a)
	}
	r := call.Result{OK: true, User: name, UserIPv4: a.Address, Message: a.Message, Success: a.MSCHAPSuccess, Keys: a.Keys}
	for _, x := range append(a.Routes, a.IPv6Routes...) {
		r.Routes = append(r.Routes, x.Prefix)
	}
	s.grant(a)
	if ours(s.pol, a.Address) { // an interface with it at both ends would take what is for us
		r.UserIPv4 = netip.Addr{}
		s.granted.noAddress = fmt.Sprintf("RADIUS server %s gives address %v, which is one of ours", a.Server, a.Address)
	}
	p := s.paramsNow()
	r.Here = &p
	s.checked(op, r)
}

// holdTo has an answer about a user who is challenged again give the address and the prefixes of his first login: these are what his link
// keeps, and what is claimed for it.
func (s *session) holdTo(a *radius.Answer) {
	a.Address, a.IPv6Prefixes, a.DelegatedPrefixes = s.owned, nil, nil
	if g := s.granted; g != nil {
		a.IPv6Prefixes, a.DelegatedPrefixes = []netip.Prefix{g.link}, []netip.Prefix{g.behind}
	}
}

// refusalOf says why whom is refused. Servers are not asked what cannot be put into a request.
func refusalOf(a radius.Answer, whom string) string {
	if a.Server == "" {
		return fmt.Sprintf("%s is refused without asking a RADIUS server: %s", whom, a.Reason)
	}
	if a.Message != "" {
		return fmt.Sprintf("RADIUS server %s refuses %s: %s, with the words %q", a.Server, whom, a.Reason, a.Message)
	}
	return fmt.Sprintf("RADIUS server %s refuses %s: %s", a.Server, whom, a.Reason)
}

// paramsNow is params for a session that may be up: its time is counted from when it came up.
func (s *session) paramsNow() call.Params {
	p := s.params()
	if all := p.PPP.SessionTimeout; all > 0 && !s.upSince.IsZero() {
		own := *p.PPP
		own.SessionTimeout = max(time.Second, all-s.sh.e.cfg.WallClock().Sub(s.upSince))
		p.PPP = &own
	}
	return p
}

// warnOf tells what was wrong with an answer.
func (s *session) warnOf(a radius.Answer) {
	for _, w := range a.Warnings {
		s.strange(slog.LevelWarn, "radius-answer", "RADIUS server "+a.Server+": "+w)
	}
}

// grant has what a server gave hold for the session, in place of what one gave before (P240, P247-P249).
func (s *session) grant(a radius.Answer) {
	interim := time.Duration(0)
	if s.granted != nil {
		interim = s.granted.interim
	}
	s.ungrant()
	g := &granted{over: true, plain: s.tmpl, choice: a.AddressUser, class: a.Class, interim: a.InterimInterval, limit: int(min(a.PortLimit, 65535))}
	if len(a.IPv6Prefixes) > 0 {
		g.link = a.IPv6Prefixes[0]
	}
	if len(a.DelegatedPrefixes) > 0 {
		g.behind = a.DelegatedPrefixes[0]
	}
	s.granted = g
	var t policy.Template
	if s.tmpl != nil {
		t = *s.tmpl
	}
	pool := func(into *string, name, attribute string) {
		switch {
		case name == "":
		case s.pol.Pools[name] == nil:
			s.strange(slog.LevelWarn, "radius-pool", "a RADIUS server names a pool that is not configured", slog.String(attribute, name))
		default:
			*into = name
		}
	}
	pool(&t.IPv4Pool, a.Pool, "framed_pool")
	pool(&t.IPv6Pool, a.IPv6Pool, "framed_ipv6_pool")
	pool(&t.DelegatedPool, a.DelegatedPool, "delegated_ipv6_prefix_pool")
	if len(a.DNS) > 0 {
		t.DNS = a.DNS
	}
	if len(a.NBNS) > 0 {
		t.NBNS = a.NBNS
	}
	if len(a.IPv6DNS) > 0 {
		t.IPv6DNS = a.IPv6DNS
	}
	if a.SessionTimeout != nil {
		t.SessionTimeout = *a.SessionTimeout
	}
	if a.IdleTimeout != nil {
		t.IdleTimeout = *a.IdleTimeout
	}
	if a.MTU >= 64 && a.MTU <= 65535 && (t.MTU == 0 || int(a.MTU) < t.MTU) {
		t.MTU = int(a.MTU)
	}
	s.tmpl = &t
	if s.account != nil && s.account.started && interim != g.interim {
		s.accountAgain()
	}
}

// askRADIUS asks where a subscriber's call goes (S96).
func (s *session) askRADIUS(j *routing) {
	rule, login := s.sub.rule, j.op.Login
	r := s.loginRequest(login)
	full := rule.RADIUSUser == policy.RADIUSFull
	switch {
	case !full:
		_, realm := policy.SplitUser(login.Name)
		if realm == "" {
			s.routed(j, call.Result{
				Route: call.RouteRejected, Message: "access denied", Cause: "rejected",
				Why: fmt.Sprintf("user %q has no realm that a RADIUS server could be asked about", login.Name),
			})
			return
		}
		r = radius.Realm(realm, rule.RADIUSPassword, s.port())
	case !j.op.LoggedIn:
		r.Method, r.Name, r.Password = ppp.AuthNone, r.Port.CallingStation, rule.RADIUSPassword
	}
	s.askServer(r, func(a radius.Answer, err error) {
		if j.over {
			return
		}
		s.warnOf(a)
		switch {
		case err != nil:
			s.routed(j, call.Result{Why: err.Error(), Message: "no service now", Cause: "radius"})
		case !a.Accept:
			s.routed(j, call.Result{
				Route: call.RouteRejected, Message: cmp.Or(a.Message, "login incorrect"), Cause: "radius-reject",
				Why: refusalOf(a, fmt.Sprintf("%q", r.Name)),
			})
		case len(a.Tunnels) == 0 && a.TunnelUnusable:
			s.routed(j, call.Result{Why: fmt.Sprintf("RADIUS server %s names no LNS that can be used", a.Server), Message: "no LNS is known", Cause: "radius"})
		case len(a.Tunnels) == 0:
			if full && j.op.LoggedIn {
				s.sub.answer = &verdict{a, login.Attempt}
			}
			s.stays(j, rule.Template)
		default:
			s.granted = &granted{class: a.Class, interim: a.InterimInterval}
			s.resolveTunnels(j, a.Tunnels)
		}
	})
}

// resolveTunnels goes on with the LNSs that a RADIUS server names (P228, P229, P232).
func (s *session) resolveTunnels(j *routing, tunnels []radius.Tunnel) {
	var rows []row
	for _, t := range tunnels {
		r := row{LNS: policy.LNS{Address: t.ServerEndpoint, Preference: int(t.Preference), Secret: t.Password}}
		local, _ := netip.ParseAddr(t.ClientEndpoint) // a name of ours says nothing about the address
		r.with = func(x *policy.Target) {
			x.HostName, x.Expect = cmp.Or(t.ClientAuthID, x.HostName), t.ServerAuthID
			x.Assignment, x.PrivateGroup = cmp.Or(t.AssignmentID, x.Assignment), t.PrivateGroup
			if local.IsValid() {
				x.Local = local
			}
		}
		rows = append(rows, r)
	}
	s.resolve(j, rows, false)
}

// accessLine is what is known of a subscriber's line in the terms of RADIUS (P223).
func accessLine(l *control.AccessLine) radius.AccessLine {
	if l == nil {
		return radius.AccessLine{}
	}
	rate := func(t wire.LineAttribute) uint32 {
		v, _ := l.Value(t)
		return uint32(min(v, math.MaxUint32))
	}
	return radius.AccessLine{
		CircuitID: string(l.CircuitID), RemoteID: string(l.RemoteID), ActualUp: rate(wire.LineActualRateUp), ActualDown: rate(wire.LineActualRateDown),
	}
}
