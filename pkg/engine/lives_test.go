package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// lives are those that a box knows of a query.
func (b *box) lives(q api.LifeQuery) []api.Life {
	b.t.Helper()
	snap, err := b.e.Snapshot(b.t.Context(), api.Query{Lives: &q})
	if err != nil {
		b.t.Fatal(err)
	}
	return snap.Lives
}

// A set-up that stops tells at which stage, of what cause, and what to try; each step has its time.
func TestLivesTellWhereASetUpStops(t *testing.T) {
	for name, tt := range map[string]struct {
		a, b         func(*policy.Policy) // b nil: nobody is there
		stage, cause string
		why, advice  string
	}{
		"nobody answers": {stage: "transport", cause: "timeout", why: "no answer", advice: "UDP 1701"},
		"wrong secret": {
			a: func(p *policy.Policy) { p.Calls["c0"].Secret = policy.NewSecret([]byte("another")) }, b: func(*policy.Policy) {},
			stage: "tunnel authentication", cause: "authentication", why: "shared secret", advice: "secrets",
		},
		"no call of that name": {
			b:     func(p *policy.Policy) { p.Server.Mode = policy.ModeLAC },
			stage: "session", cause: "peer", why: "no facilities", advice: "refused the call",
		},
		"wrong password": {
			b:     func(p *policy.Policy) { p.Users["RouterA"].Password = policy.NewSecret([]byte("another")) },
			stage: "user authentication", advice: "password",
		},
		"no address": {
			b:     func(p *policy.Policy) { p.Pools["ips"].Ranges = nil; p.Templates["dialin"].IPv6 = false },
			stage: "address", advice: "pool",
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				var b *box
				if tt.b != nil {
					b = n.start(t, "2.2.2.2", changed(acceptor(), tt.b), true)
					defer b.stop()
				}
				p := initiators(1)
				if tt.a != nil {
					tt.a(p)
				}
				a := n.start(t, "1.1.1.1", p, true)
				defer a.stop()
				a.until("a failure", 5*time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].LastError != nil })
				lives := a.lives(api.LifeQuery{Call: "C0"})
				last := lives[len(lives)-1]
				if last.End == nil {
					t.Fatalf("%+v", lives)
				}
				e := last.End
				if e.Stage != tt.stage || tt.cause != "" && e.Cause != tt.cause || !strings.Contains(e.Why, tt.why) || !strings.Contains(e.Advice, tt.advice) {
					t.Errorf("ended %+v, want %+v", e, tt)
				}
				if got := last.Steps[len(last.Steps)-1].Stage; got != tt.stage {
					t.Errorf("steps %+v, want the last to be %s", last.Steps, tt.stage)
				}
				if name == "wrong password" {
					if there := b.lives(api.LifeQuery{User: "RouterA"}); len(there) == 0 || there[0].End == nil || there[0].End.Cause != "auth-failed" {
						t.Errorf("the LNS knows of %+v", there)
					}
				}
				at := int64(0)
				for _, s := range last.Steps {
					if s.At != at {
						t.Errorf("step %+v begins when the one before is over, at %d", s, at)
					}
					at = s.At + s.Took
				}
				if peer := a.lives(api.LifeQuery{Peer: "2.2.2.2"}); len(peer) == 0 {
					t.Error("nothing is known of the peer")
				}
			})
		})
	}
}

// An attempt that never came to a tunnel has a life, too.
func TestLivesOfAttemptsWithoutATunnel(t *testing.T) {
	simulated(t, func(t *testing.T) {
		p := initiators(1)
		p.Calls["c0"].Peer, p.Calls["c0"].AutoStart = "nobody.example", false
		a := newInternet().start(t, "1.1.1.1", p, true)
		defer a.stop()
		a.mu.Lock()
		a.names["nobody.example"] = nil
		a.mu.Unlock()
		a.act(api.Action{Verb: api.VerbCallUp, Call: "c0"})
		a.until("a failure", time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].LastError != nil })
		lives := a.lives(api.LifeQuery{Call: "c0"})
		if len(lives) != 1 || lives[0].End == nil || lives[0].End.Stage != "transport" || !strings.Contains(lives[0].End.Why, "nobody.example") {
			t.Errorf("%+v", lives)
		}
	})
}
