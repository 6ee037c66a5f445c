package call

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// life is a whole call, the way it is if nobody disturbs it.
type life struct {
	name string
	p    func() Params
	far  func(c *ppp.Config)
	set  func(w *world)
	// ends is the cause with which the call ends of itself; empty: it comes up and stays.
	ends  string
	stage Stage
	mute  bool // nobody is at the far end
}

func routes(where ...string) func(w *world) { return func(w *world) { w.route = where } }

func noLogin(p func() Params) func() Params {
	return func() Params {
		p := p()
		p.PPP.Auth = nil
		return p
	}
}

func noAnswer(c *ppp.Config) { c.Answer = nil }

func dialIn() Params { return params(control.LNSIncoming) }

func with(f func(p *Params)) func() Params {
	return func() Params {
		p := dialIn()
		f(&p)
		return p
	}
}

func lives() []life { return append(ownLives(), subscribersLives()...) }

// ownLives are those of calls whose PPP ends here.
func ownLives() []life {
	role := func(r control.Role) func() Params { return func() Params { return params(r) } }
	return []life{
		{name: "lns-incoming", p: role(control.LNSIncoming)},
		{name: "lac-incoming", p: role(control.LACIncoming)},
		{name: "lns-outgoing", p: role(control.LNSOutgoing)},
		{name: "lac-outgoing", p: role(control.LACOutgoing)},
		{
			name: "both protocols, numbered until the first opens",
			p: with(func(p *Params) {
				*p = sequenced(*p, policy.SequencingStartup)
				p.PPP.IPv6 = true
			}),
			far: func(c *ppp.Config) { c.IPv6 = true },
		},
		{
			name: "no answer", set: func(w *world) { w.farDead = true }, ends: "lcp-no-answer", stage: StageLCP,
		},
		{
			name: "authentication refused", far: func(c *ppp.Config) { c.Answer = nil }, ends: "auth-refused", stage: StageLCP,
		},
		{
			name: "wrong password", set: func(w *world) { w.users = "other" }, ends: "auth-failed", stage: StageUserAuth,
		},
		{
			name: "authentication not finished", p: with(func(p *Params) { p.PPP.AuthTimeout = 5 * time.Second }),
			set:  func(w *world) { w.onFar = func(ev ppp.Event) { w.farDead = w.farDead || isLinkUp(ev) } },
			ends: "auth-timeout", stage: StageUserAuth,
		},
		{
			name: "echo failed", p: with(func(p *Params) { p.PPP.EchoInterval = time.Second }),
			set:  func(w *world) { w.onFar = func(ev ppp.Event) { w.farDead = w.farDead || isNetworkUp(ev) } },
			ends: "echo-failed", stage: StageUp,
		},
		{
			name: "idle", p: with(func(p *Params) { p.PPP.IdleTimeout = 10 * time.Second }),
			set: func(w *world) { w.idle = time.Minute }, ends: "idle", stage: StageUp,
		},
		{
			name: "session time", p: with(func(p *Params) { p.PPP.SessionTimeout = 10 * time.Second }), ends: "session-time", stage: StageUp,
		},
		{
			name: "looped back", p: with(func(p *Params) { p.PPP.Auth = nil }), set: func(w *world) { w.loop = true },
			ends: "loop", stage: StageLCP,
		},
		{
			name: "no address", set: func(w *world) { w.give = netip.Addr{} }, ends: "no-address", stage: StageAddress,
		},
		{
			name: "exhausted pool, and no more than link-local IPv6", p: with(func(p *Params) { p.PPP.IPv6 = true }),
			far: func(c *ppp.Config) { c.IPv6 = true },
			set: func(w *world) { w.give, w.exhausted = netip.Addr{}, "empty" }, ends: "no-address", stage: StageAddress,
		},
		{
			name: "the far end hangs up",
			set: func(w *world) {
				w.onFar = func(ev ppp.Event) {
					if isNetworkUp(ev) {
						w.farOut.Reset()
						w.far.Do(w.now, ppp.CmdClose{Text: "bye"}, &w.farOut)
						w.collectFar()
					}
				}
			},
			ends: "peer-terminate", stage: StageUp,
		},
	}
}

// subscribersLives are those of calls that go by rules, and of their far sides.
func subscribersLives() []life {
	return []life{
		{name: "access, ends here", p: accessParams, set: routes("here")},
		{name: "access, ends here by another template", p: accessParams, set: routes("there")},
		{name: "access, without a login", p: noLogin(accessParams), far: noAnswer, set: routes("here")},
		{name: "access, nowhere", p: accessParams, set: routes("nowhere"), ends: "no-lns", stage: StageForward},
		{name: "access, nowhere, without a login", p: noLogin(accessParams), far: noAnswer, set: routes("nowhere"), ends: "no-lns", stage: StageForward},
		{name: "access, rejected", p: accessParams, set: routes("rejected"), ends: "auth-failed", stage: StageUserAuth},
		{name: "access, rejected, without a login", p: noLogin(accessParams), far: noAnswer, set: routes("rejected"), ends: "rejected", stage: StageForward},
		{
			name: "access, nobody can be asked", p: accessParams, set: func(w *world) { w.route, w.unavailable = []string{"here"}, true },
			ends: "auth-unavailable", stage: StageUserAuth,
		},
		{name: "access, begun anew", p: accessParams, set: func(w *world) { w.route, w.anew = []string{"here"}, true }},
		{
			name: "access, asynchronous", set: routes("here"),
			p: func() Params {
				p := accessParams()
				p.PPP.Line = ppp.LineAsync
				return p
			},
		},
		{name: "access, forwarded", p: accessParams, set: routes("bridged")},
		{name: "access, forwarded after beginning anew", p: accessParams, set: func(w *world) { w.route, w.anew = []string{"bridged"}, true }},
		{name: "switched", p: with(func(p *Params) { p.Routed, p.PPP.Hold = true, true }), set: routes("bridged")},
		{name: "far side", p: forwardParams, mute: true},
	}
}

func isLinkUp(ev ppp.Event) bool {
	_, ok := ev.(ppp.EvLinkUp)
	return ok
}

func isNetworkUp(ev ppp.Event) bool {
	_, ok := ev.(ppp.EvNetworkUp)
	return ok
}

func (l life) start(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	p := dialIn
	if l.p != nil {
		p = l.p
	}
	far := farConfig()
	if l.far != nil {
		l.far(&far)
	}
	if l.set != nil {
		l.set(w)
	}
	w.farDead = w.farDead || l.mute
	w.begin(p(), far, false)
	return w
}

// How a life may be cut short. The call must end; only a failed operation that a call can live with may not.
var aborts = []struct {
	name string
	do   func(w *world)
	must bool
}{
	{"close", func(w *world) { w.call.Close(w.now, "operator", "closed by the operator", &w.out); w.collect() }, true},
	{"close twice", func(w *world) {
		w.call.Close(w.now, "operator", "closed by the operator", &w.out)
		w.call.Close(w.now, "operator", "again", &w.out)
		w.collect()
	}, true},
	{"lost", func(w *world) { w.call.Lost(lostDown(), &w.out); w.collect() }, true},
	{"vanished", func(w *world) { w.call.Vanished(errors.New("gone"), &w.out); w.collect() }, true},
	{"close, then lost", func(w *world) {
		w.call.Close(w.now, "operator", "closed by the operator", &w.out)
		w.call.Lost(lostDown(), &w.out)
		w.collect()
	}, true},
	{"close, then vanished", func(w *world) {
		w.call.Close(w.now, "operator", "closed by the operator", &w.out)
		w.call.Vanished(errors.New("gone"), &w.out)
		w.collect()
	}, true},
	{"sever", func(w *world) {
		w.call.Sever(EvDown{Cause: "peer", Text: "the other half has gone"}, wire.Result{Code: wire.CDNLostCarrier}, &w.out)
		w.collect()
	}, false},
	{"sever, then close and lost", func(w *world) {
		w.call.Sever(EvDown{Cause: "peer", Text: "the other half has gone"}, wire.Result{Code: wire.CDNLostCarrier}, &w.out)
		w.call.Close(w.now, "operator", "closed by the operator", &w.out)
		w.call.Lost(lostDown(), &w.out)
		w.collect()
	}, true},
	{"operation fails", func(w *world) {
		if len(w.ops) > 0 {
			w.done(errors.New("refused by the test"))
		}
	}, false},
	{"line dies, then close", func(w *world) {
		w.farDead = true
		w.call.Close(w.now, "operator", "closed by the operator", &w.out)
		w.collect()
	}, true},
}

// Whatever cuts a call short, at whatever step: it ends with one EvDown, gives everything back with one OpRelease, which is its
// last operation, says EvGone last, closes its session at most once, and asks for nothing afterwards. (DESIGN: teardown is the
// same machine from wherever it is.)
func TestEveryAbortAtEveryStepEndsOnce(t *testing.T) {
	t.Parallel()
	for _, l := range lives() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			for _, a := range aborts {
				for at := 0; ; at++ {
					w := l.start(t)
					n := 0
					for n < at && w.step(w.now+2*time.Minute, nil) {
						n++
					}
					if n < at || at > 400 {
						if at < 5 && !l.mute {
							t.Fatalf("only %d steps: the test does not look where it should", n)
						}
						break
					}
					a.do(w)
					w.run(10 * time.Minute)
					checkEnd(t, w, fmt.Sprintf("%s at step %d", a.name, at), a.must || l.ends != "" || strings.HasPrefix(a.name, "sever") && w.call.p.Forward)
					if t.Failed() {
						return
					}
				}
			}
		})
	}
}

// checkEnd holds a call that has been left alone for long against the rules.
func checkEnd(t *testing.T, w *world, what string, must bool) {
	t.Helper()
	downs, gone := w.downs()
	closes := 0
	for _, c := range w.commands {
		if _, ok := c.(control.CmdCloseSession); ok {
			closes++
		}
	}
	ended := downs + gone + w.released
	switch {
	case ended == 0 && !must:
	case downs != 1 || gone != 1 || w.released != 1:
		w.wrong("%d EvDown, %d EvGone, %d OpRelease, want one of each", downs, gone, w.released)
	case closes > 1:
		w.wrong("session closed %d times", closes)
	case w.call.Deadline() != 0:
		w.wrong("a deadline is left at %v", w.call.Deadline())
	}
	switch access := w.call.p.Access; {
	case access && len(w.commands) > 0:
		w.wrong("a line has no tunnel: %d commands", len(w.commands))
	case !access && ended > 0 && closes == 0 && !strings.Contains(what, "lost"):
		w.wrong("the peer has not been told")
	}
	if len(w.broken) > 0 {
		t.Errorf("%s: %s\n%s", what, strings.Join(w.broken, "; "), strings.Join(w.lines, "\n"))
	}
}

// A life that nobody disturbs ends, if it ends, in the stage and with the cause that it is about.
func TestEndsNameStageAndCause(t *testing.T) {
	t.Parallel()
	for _, l := range lives() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			w := l.start(t)
			w.run(10 * time.Minute)
			var got *EvDown
			up := false
			for _, ev := range w.events {
				switch ev := ev.(type) {
				case EvDown:
					got = &ev
				case EvUp:
					up = true
				case EvGone, EvRouteStale, EvAnomaly:
				}
			}
			switch {
			case l.ends == "" && (got != nil || !up):
				t.Errorf("up %v, down %+v, want up and not down\n%s", up, got, strings.Join(w.lines, "\n"))
			case l.ends != "" && (got == nil || got.Cause != l.ends || got.Stage != l.stage):
				t.Errorf("down %+v, want cause %s in stage %v\n%s", got, l.ends, l.stage, strings.Join(w.lines, "\n"))
			case l.ends != "" && up != (l.stage == StageUp):
				t.Errorf("up %v with stage %v", up, l.stage)
			}
		})
	}
}
