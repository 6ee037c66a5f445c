package engine

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// lookupTime is how long a subscriber waits for the names of LNSs.
const lookupTime = 10 * time.Second

// subscriber is what is known of a call that goes by the rules.
type subscriber struct {
	login  string       // the name that he gave
	rule   *policy.Rule // that has been found for him; nil: there is none
	answer *verdict     // that the rule has asked for about the login under way; nil: none
	job    *routing     // where his call goes is being found out
	far    *forward     // his call goes on at an LNS
	data   Session      // the kernel's session there
	joint  *joint       // his channel, while an LNS's session is to be joined with it
}

// subscriber is s.sub, to look at.
func (s *session) subscriber() subscriber {
	if s.sub == nil {
		return subscriber{}
	}
	return *s.sub
}

// routing is a question under way: where a subscriber's call goes.
type routing struct {
	op   call.OpRoute
	fw   *forward // once there are LNSs to try
	over bool     // answered
}

// route finds the rule for a subscriber and follows it (S88-S97).
func (s *session) route(op call.OpRoute) {
	j := &routing{op: op}
	if s.sub == nil {
		s.sub = &subscriber{}
	}
	s.ungrant() // what came of another rule
	s.sub.job, s.sub.answer = j, nil
	name := op.Login.Name
	rule := s.pol.LAC.ForUser(name, op.LoggedIn)
	s.sub.rule, s.sub.login = rule, name
	if rule == nil {
		s.withoutRule(j)
		return
	}
	s.sh.e.counts.hits.add(ruleKey(rule))
	switch rule.Action {
	case policy.ActionTunnel:
		s.resolve(j, rowsOf(rule.LNS), false)
	case policy.ActionDNS:
		_, realm := policy.SplitUser(name)
		if realm == "" {
			s.routed(j, call.Result{
				Route: call.RouteRejected, Message: "access denied", Why: fmt.Sprintf("user %q has no realm to be looked up", name), Cause: "no-realm",
			})
			return
		}
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
	if t := s.pol.Templates[template]; t != nil {
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
	j.over, s.sub.job = true, nil
	if r.Route == call.RouteNowhere || r.Route == call.RouteRejected {
		s.sh.e.counts.unrouted.Add(1)
	}
	s.finished(j.op, r)
}

// reroute gives the question up: the subscriber has begun anew, and it will be asked again.
func (s *session) reroute() {
	if j := s.subscriber().job; j != nil {
		s.giveUp(j, call.EvDown{Cause: "rerouted", Text: "the subscriber begins anew", ByPeer: true})
	}
}

// giveUp answers a question whose answer nobody needs any more.
func (s *session) giveUp(j *routing, ev call.EvDown) {
	if fw := j.fw; fw != nil {
		s.sh.e.shards[0].post(func() { fw.cancel(ev) })
	}
	s.endAsking()
	s.routed(j, call.Result{Why: ev.Text})
}

// unroute ends, with the subscriber's call, what goes on for it elsewhere.
func (s *session) unroute(ev call.EvDown) {
	if s.line != nil {
		s.line.why = told(ev)
	}
	if fw := s.subscriber().far; fw != nil {
		s.sh.e.shards[0].post(func() { fw.cancel(ev) })
	}
	if j := s.subscriber().job; j != nil {
		s.giveUp(j, ev)
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

// told is what a subscriber is told of the end of his call: not where LNSs and servers are.
func told(ev call.EvDown) string {
	switch {
	case ev.Asked: // by the operator, or the daemon that stops
		return ev.Text
	case ev.Stage == call.StageForward:
		return "no LNS takes the call"
	case strings.HasPrefix(ev.Text, atLNS):
		return "the call has ended at the LNS"
	case ev.Stage == call.StageKernel || ev.Cause == "kernel" || ev.Cause == "network":
		return "out of order"
	}
	return ev.Text
}

// atLNS begins the text of an end that came from the far side.
const atLNS = "at the LNS: "

// resolve finds the addresses of LNSs. With inOrder those of one name are tried in the order in which they are given, else they take turns.
func (s *session) resolve(j *routing, rows []row, inOrder bool) {
	rule, e, sh := s.sub.rule, s.sh.e, s.sh
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
		addrs, errs := e.lookUp(names)
		var why []string
		for i, n := range names {
			if errs[i] != nil {
				why = append(why, errs[i].Error())
			}
			for turn, a := range addrs[i] {
				if inOrder {
					n.Preference = turn
				}
				targets = append(targets, n.target(rule, a))
			}
		}
		sh.post(func() { s.forward(j, targets, rule.Balance, strings.Join(why, "; ")) })
	})
}

// lookUp finds the addresses of LNSs, all at the same time. It sleeps.
func (e *Engine) lookUp(names []row) (addrs [][]netip.Addr, errs []error) {
	ctx, cancel := context.WithTimeout(e.asking, lookupTime)
	defer cancel()
	addrs, errs = make([][]netip.Addr, len(names)), make([]error, len(names))
	var all sync.WaitGroup
	for i, n := range names {
		all.Go(func() { addrs[i], errs[i] = e.cfg.Resolver.LookupNetIP(ctx, "ip", n.Address) })
	}
	all.Wait()
	return addrs, errs
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
	if s.sub.joint == nil {
		s.sub.joint = newJoint(s.data)
	}
	fw := &forward{lac: zero.lac, from: s, joint: s.sub.joint, rule: s.sub.rule, proxy: j.op.Proxy, call: s.offer(), user: j.op.Login.Name}
	fw.timer = deadline{index: -1, owner: whenDue(fw.late)}
	if why != "" {
		fw.why = []string{why}
	}
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
		s.sub.far, s.sub.data = fw, far
		if fw.call.FramingType != wire.FramingAsync { // an asynchronous line has its ACCM set still
			s.sub.joint = nil
		}
	}
	s.routed(j, r)
}

// severed: the far side has ended.
func (s *session) severed(ev call.EvDown) {
	if s.call == nil || s.releasing {
		return
	}
	down := call.EvDown{Cause: ev.Cause, Text: atLNS + ev.Text, ByPeer: ev.ByPeer, Said: ev.Said}
	r := wire.Result{Code: wire.CDNAdmin, Text: told(down)}
	if ev.Said.Result == wire.CDNLostCarrier {
		r.Code = wire.CDNLostCarrier
	}
	s.call.Sever(down, r, s.output())
	s.flush()
}

// joined: the two halves of a subscriber's call carry his frames from now on.
func (s *session) joined(ev call.EvUp) {
	s.upSince = s.sh.e.cfg.WallClock()
	if s.near != nil {
		s.near.joined(s)
		return
	}
	if p := s.placed; p != nil {
		p.watch = watchLine(s, p.joint)
		s.log().Info("call placed", slog.String("event", "call-up"), slog.String("called", s.remote.CalledNumber),
			slog.String("line", s.placed.caller.Name()), slog.Int("speed", int(s.placed.connected().TxSpeed)))
		return
	}
	s.accountStart()
	s.log().Info("call forwarded", slog.String("event", "call-up"), slog.String("user", ev.User), slog.String("lns", s.sub.far.target.Name))
}

// farAttrs name the session that carries a subscriber's call on, in the words of sessions that have no line. One that came by L2TP
// has these words itself.
func (s *session) farAttrs() []slog.Attr {
	far := s.subscriber().far
	switch {
	case far == nil:
		return nil
	case s.line == nil:
		return []slog.Attr{
			slog.Int("far_tunnel", int(far.tunnel)), slog.Int("far_session", int(far.id)), slog.Any("far_peer", far.target.Addr),
		}
	}
	return []slog.Attr{slog.Int("tunnel", int(far.tunnel)), slog.Int("session", int(far.id)), slog.Any("peer", far.target.Addr)}
}
