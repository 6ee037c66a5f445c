package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// lookupTime is how long a subscriber waits for the names of LNSs.
const lookupTime = 10 * time.Second

// routing is a question under way: where a subscriber's call goes.
type routing struct {
	op   call.OpRoute
	fw   *forward // once there are LNSs to try
	over bool     // answered
}

// route finds the rule for a subscriber and follows it (S88-S97).
func (s *session) route(op call.OpRoute) {
	j := &routing{op: op}
	s.job = j
	name := op.Login.Name
	rule := s.pol.LAC.ForUser(name, op.LoggedIn)
	s.rule = rule
	if rule == nil {
		s.withoutRule(j)
		return
	}
	switch rule.Action {
	case policy.ActionTunnel:
		s.resolve(j, rowsOf(rule.LNS), false)
	case policy.ActionDNS:
		_, realm := policy.SplitUser(name)
		if rule.Prefix != "" {
			realm = rule.Prefix + "." + realm
		}
		s.resolve(j, rowsOf([]policy.LNS{{Address: realm}}), true)
	case policy.ActionRADIUS:
		s.askRADIUS(j)
	case policy.ActionLocal:
		s.stays(j, rule.Template)
	case policy.ActionReject:
		s.routed(j, call.Result{
			Route: call.RouteRejected, Message: "access denied", Why: fmt.Sprintf("a rule rejects user %q", name), Cause: "rejected",
		})
	}
}

// withoutRule: a call that came through a tunnel stays here, as it would without the rules; a subscriber's line is for those whom a rule
// is for, if there are rules.
func (s *session) withoutRule(j *routing) {
	if s.line == nil || len(s.pol.LAC.Rules) == 0 {
		s.stays(j, "")
		return
	}
	why := fmt.Sprintf("no rule is for user %q", j.op.Login.Name)
	if !j.op.LoggedIn {
		why = "no rule is for subscribers without a login"
	}
	s.routed(j, call.Result{Route: call.RouteRejected, Message: "access denied", Why: why, Cause: "no-rule"})
}

// stays has PPP end here, by the template of the rule if it has one.
func (s *session) stays(j *routing, template string) {
	r := call.Result{Route: call.RouteHere}
	if t := s.pol.Templates[template]; t != nil && t != s.tmpl {
		s.tmpl = t
		p := s.params()
		r.Here = &p
	}
	s.routed(j, r)
}

// routed answers the question.
func (s *session) routed(j *routing, r call.Result) {
	if j.over {
		return
	}
	j.over, s.job = true, nil
	if r.Route == call.RouteNowhere || r.Route == call.RouteRejected {
		s.sh.e.counts.unrouted.Add(1)
	}
	s.finished(j.op, r)
}

// reroute gives the question up: the subscriber has begun anew, and it will be asked again.
func (s *session) reroute() {
	if s.job != nil {
		s.giveUp(s.job, call.EvDown{Cause: "rerouted", Text: "the subscriber begins anew", ByPeer: true})
	}
}

// giveUp answers a question whose answer nobody needs any more.
func (s *session) giveUp(j *routing, ev call.EvDown) {
	if fw := j.fw; fw != nil {
		s.sh.e.shards[0].post(func() { fw.cancel(ev) })
	}
	s.routed(j, call.Result{Why: ev.Text})
}

// unroute ends, with the subscriber's call, what goes on for it elsewhere.
func (s *session) unroute(ev call.EvDown) {
	if s.line != nil {
		s.line.why = ev.Text
	}
	if fw := s.far; fw != nil {
		s.sh.e.shards[0].post(func() { fw.cancel(ev) })
	}
	if s.job != nil {
		s.giveUp(s.job, ev)
	}
}

// row is an LNS whose address may have to be found.
type row struct {
	policy.LNS
	with func(*policy.Target) // what else holds for it; nil: nothing
}

func rowsOf(list []policy.LNS) []row {
	rows := make([]row, len(list))
	for i, n := range list {
		rows[i].LNS = n
	}
	return rows
}

func (r row) target(rule *policy.Rule, a netip.Addr) policy.Target {
	t := rule.Target(r.LNS, a)
	if r.with != nil {
		r.with(&t)
	}
	return t
}

// resolve finds the addresses of LNSs. With inOrder those of one name are tried in the order in which they are given, else they take turns.
func (s *session) resolve(j *routing, rows []row, inOrder bool) {
	rule, e, sh := s.rule, s.sh.e, s.sh
	var targets []policy.Target
	var names []row
	for _, n := range rows {
		if a, err := netip.ParseAddr(n.Address); err == nil {
			targets = append(targets, n.target(rule, a))
		} else {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		s.forward(j, targets, rule.Balance, "")
		return
	}
	e.names.submit(func() {
		ctx, cancel := context.WithTimeout(e.asking, lookupTime)
		defer cancel()
		var errs []error
		for _, n := range names {
			addrs, err := e.cfg.Resolver.LookupNetIP(ctx, "ip", n.Address)
			if err != nil {
				errs = append(errs, fmt.Errorf("look up %s: %w", n.Address, err))
			}
			for i, a := range addrs {
				if inOrder {
					n.Preference = i
				}
				targets = append(targets, n.target(rule, a))
			}
		}
		why := ""
		if err := errors.Join(errs...); err != nil {
			why = err.Error()
		}
		sh.post(func() { s.forward(j, targets, rule.Balance, why) })
	})
}

// forward has the call taken to one of the targets. why tells what is known of those that are not among them.
func (s *session) forward(j *routing, targets []policy.Target, balance policy.Balance, why string) {
	if j.over {
		return
	}
	if len(targets) == 0 {
		s.routed(j, call.Result{Why: "no LNS is known: " + why, Message: "no LNS is known", Cause: "no-lns-known"})
		return
	}
	zero := s.sh.e.shards[0]
	fw := &forward{lac: zero.lac, from: s, data: s.data, rule: s.rule, proxy: j.op.Proxy, call: s.offer(), user: j.op.Login.Name}
	fw.timer = deadline{index: -1, fire: fw.late}
	fw.done = func(r call.Result, far Session) {
		s.sh.post(func() { s.forwarded(j, fw, r, far) })
	}
	fw.severed = func(ev call.EvDown) { s.sh.post(func() { s.severed(ev) }) }
	j.fw = fw
	zero.post(func() { fw.begin(targets, balance) })
}

// forwarded: an LNS has taken the call, or none has.
func (s *session) forwarded(j *routing, fw *forward, r call.Result, far Session) {
	if r.Route == call.RouteBridged && !j.over {
		s.far, s.farData = fw, far
	}
	s.routed(j, r)
}

// severed: the far side has ended.
func (s *session) severed(ev call.EvDown) {
	if s.call == nil || s.releasing {
		return
	}
	s.call.Severed(call.EvDown{Cause: ev.Cause, Text: "at the LNS: " + ev.Text, ByPeer: ev.ByPeer, Asked: ev.Asked}, &s.out)
	s.flush()
}

// joined: the two halves of a subscriber's call carry his frames from now on.
func (s *session) joined(ev call.EvUp) {
	s.upSince = s.sh.e.cfg.WallClock()
	if s.near != nil {
		s.near.joined(s)
		return
	}
	s.accountStart()
	s.log().Info("call forwarded", slog.String("event", "call-up"), slog.String("user", ev.User), slog.String("lns", s.far.target.Name),
		slog.Any("address", s.far.target.Addr), slog.Int("tunnel", int(s.far.tunnel)), slog.Int("session", int(s.far.id)))
	s.logger = nil
}
