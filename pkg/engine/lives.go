package engine

import (
	"cmp"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/backlog"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/control"
)

// livesOctets is what the lives of sessions that have ended take: of some five hundred.
const livesOctets = 256 << 10

// shownLives bounds an answer.
const shownLives = 100

// marks are when a session came to a stage, in milliseconds since it began, plus one; 0: never.
type marks [call.StageUp + 1]uint32

// mark notes that the session has come to a stage, the first time.
func (s *session) mark(stage call.Stage) {
	if s.marks[stage] == 0 {
		s.marks[stage] = uint32(s.sh.e.cfg.WallClock().Sub(s.started).Milliseconds()) + 1
	}
}

// stage is where the session has got to.
func (s *session) stage() call.Stage {
	switch {
	case s.call != nil:
		return call.StageOf(s.call)
	case s.t == nil || s.t.up:
		return call.StageSession
	case s.t.ctl.State() == control.TunnelWaitCtlReply:
		return call.StageTransport
	}
	return call.StageTunnel
}

// who says whose life it is.
func (s *session) who() api.Life {
	l := api.Life{Name: s.name(), StartedAt: s.started}
	if s.t != nil {
		l.Peer = s.t.remote
	} else {
		l.Access = s.line.caller.Name()
	}
	if s.conf != nil {
		l.Call = s.conf.Name
	}
	if s.call != nil {
		l.Interface = s.call.View().Interface
	}
	l.User = s.userName()
	if far := s.subscriber().far; far != nil {
		l.LNS = far.target.Name
	}
	if s.near != nil {
		l.Carries = s.near.from.name()
	}
	return l
}

// userName is whose session it is, as far as his name is known.
func (s *session) userName() string {
	if s.near != nil {
		return s.near.user
	}
	name := ""
	if s.call != nil {
		name = s.call.View().User
	}
	return cmp.Or(name, s.subscriber().login)
}

// steps are what the session has come through until now.
func (s *session) steps(now time.Time) (steps []api.Step) {
	for stage, at := range s.marks {
		if at != 0 {
			steps = append(steps, api.Step{Stage: stageName(call.Stage(stage)), At: int64(at) - 1})
		}
	}
	slices.SortStableFunc(steps, func(a, b api.Step) int { return cmp.Compare(a.At, b.At) })
	for i := range steps {
		until := now.Sub(s.started).Milliseconds()
		if i+1 < len(steps) {
			until = steps[i+1].At
		}
		steps[i].Took = max(until-steps[i].At, 0)
	}
	return steps
}

// stageName is a stage as operators know it.
func stageName(s call.Stage) string {
	if s == call.StageUp {
		return "up"
	}
	return s.String()
}

// bury keeps the life of a session that ends.
func (s *session) bury(ev call.EvDown) {
	if s.t != nil && s.t.tieLost { // another is in its place
		return
	}
	s.mark(ev.Stage)
	now := s.sh.e.cfg.WallClock()
	l := s.who()
	l.Steps = s.steps(now)
	l.End = &api.End{At: now, Stage: stageName(ev.Stage), Cause: ev.Cause, Why: ev.Text}
	if !ev.Asked && ev.Stage != call.StageUp {
		l.End.Advice = advice(ev.Stage, ev.Cause)
	}
	s.sh.e.buried.add(&l)
}

// graveyard keeps the lives of the sessions that ended last. Safe for concurrent use.
type graveyard struct {
	mu    sync.Mutex
	lives *backlog.Backlog // as JSON
}

func newGraveyard() graveyard { return graveyard{lives: backlog.New(livesOctets)} }

func (g *graveyard) add(l *api.Life) {
	record, err := json.Marshal(l)
	if err != nil { // it has nothing that JSON cannot say
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lives.Add(record)
}

func (g *graveyard) find(q *api.LifeQuery) (found []api.Life) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, record := range g.lives.After(0) {
		var l api.Life
		if json.Unmarshal(record, &l) == nil && q.Wants(&l) {
			found = append(found, l)
		}
	}
	return found
}

// lives are those of a shard's sessions.
func (s *shard) lives(q *api.LifeQuery) (found []api.Life) {
	now := s.e.cfg.WallClock()
	for x := range s.sessions() {
		if x.releasing { // its end has been told
			continue
		}
		if l := x.who(); q.Wants(&l) {
			l.Steps = x.steps(now)
			found = append(found, l)
		}
	}
	return found
}

// newestLives orders lives, those of live sessions and the latest first, and bounds them.
func newestLives(lives []api.Life) []api.Life {
	slices.SortStableFunc(lives, func(a, b api.Life) int {
		if (a.End == nil) != (b.End == nil) {
			if a.End == nil {
				return -1
			}
			return 1
		}
		return b.StartedAt.Compare(a.StartedAt)
	})
	return append([]api.Life{}, lives[:min(len(lives), shownLives)]...)
}

// advice is what to try after a set-up that stopped at a stage for a cause; nothing where the cause says it all.
func advice(stage call.Stage, cause string) string {
	if text := causeAdvice[cause]; text != "" {
		return text
	}
	switch stage {
	case call.StageTransport:
		return "is there a route to the peer (ip route get), does a firewall at either end drop UDP 1701, does an l2tp daemon run there?"
	case call.StageTunnelAuth:
		return "the secrets of the two ends differ: the call's secret here must be the peer's for us, and that under secrets its own"
	case call.StageTunnel:
		return "the peer has refused or ended the tunnel: its words say why, its log says more"
	case call.StageSession:
		return "the peer has refused the call: look at the call's remote name there, and at its limits and modes"
	case call.StageKernel:
		return "look at l2tpctl status and dmesg: the kernel did not make what was asked for"
	case call.StageLCP:
		return "the two ends do not agree on PPP: compare auth, mru and what the peer demands"
	case call.StageUserAuth:
		return "compare the user's name and password at both ends, and which login protocols each allows (auth)"
	case call.StageForward:
		return "l2tpctl status shows which LNSs are left alone; l2tpctl explain peer ADDRESS tells of the attempts"
	case call.StageAddress:
		return "look at the addresses that each end asks for, and at the pool's size"
	case call.StageUp:
	}
	return ""
}

var causeAdvice = map[string]string{
	"lcp-no-answer":     "the tunnel works and PPP is not answered: does the peer start PPP for this call, do data packets pass (UDP 1701, path MTU)?",
	"auth-failed":       "compare the user's name and password at both ends",
	"auth-refused":      "no login protocol suits both ends: compare auth of the template with what the peer offers",
	"auth-unavailable":  "no RADIUS server has answered: l2tpctl status shows which, docs/radius.md what each needs",
	"user-limit":        "the user has all the sessions that he may have: max_sessions of the user, duplicate_login of the template",
	"no-address":        "no address was left or agreed on: the template's pool, the user's own address, what the peer insists on",
	"no-encryption":     "mppe: require here, and the peer does not encrypt: require MPPE with 128 bits there",
	"proxy-lcp":         "write proxy: {lcp: renegotiate} in the accept entry, or have the LAC send what it has negotiated",
	"no-lns":            "no LNS has taken the call: l2tpctl status shows which are left alone, and why",
	"no-lns-known":      "the rule's name does not resolve: ask the name server that the message names",
	"no-rule":           "add a rule for the realm under lac.rules, or match: all",
	"no-realm":          "the rule looks the realm up, and this user has none: add a rule with match: local",
	"rejected":          "a rule rejects him: that is what it is for",
	"radius":            "no RADIUS server has answered: l2tpctl status shows which, docs/radius.md what each needs",
	"radius-reject":     "the RADIUS server's log says why it refuses the user",
	"kernel":            "look at l2tpctl status and dmesg: the kernel did not make what was asked for",
	"decryption-failed": "the keys of the two ends differ: the password of the user, or a peer that has been restarted",
}
