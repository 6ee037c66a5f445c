package engine

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/test/golden"
)

// S76, S77: what an operator may ask for, what he is told, and what he is told when it cannot be.
func TestActVerbs(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", lasting(), true)
		a := n.start(t, "1.1.1.1", changed(one(nil), func(p *policy.Policy) {
			p.Calls["waits"] = &policy.Call{Name: "Waits", Passive: true, PPP: policy.CallPPP{Template: "lan"}}
		}), true)
		defer b.stop()

		refused := func(act api.Action, code api.ErrorCode, text string) {
			t.Helper()
			_, err := a.e.Act(t.Context(), act)
			if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != code || !strings.Contains(e.Message, text) {
				t.Errorf("%s: %v, want %s with %q", act.Verb, err, code, text)
			}
		}
		done := func(act api.Action, changed bool, text string) {
			t.Helper()
			r := a.act(act)
			if r.Changed != changed || !strings.Contains(r.Message, text) {
				t.Errorf("%s: changed %v, %q; want %v with %q", act.Verb, r.Changed, r.Message, changed, text)
			}
		}
		refused(api.Action{Verb: "dance"}, api.CodeInvalid, `unknown verb "dance"`)
		refused(api.Action{Verb: api.VerbReload}, api.CodeInternal, "reload")
		refused(api.Action{Verb: api.VerbCallUp, Call: "nobody"}, api.CodeNotFound, `no call "nobody" is configured`)
		refused(api.Action{Verb: api.VerbCallDown, Call: "nobody"}, api.CodeNotFound, `no call "nobody" is configured`)
		refused(api.Action{Verb: api.VerbCallUp, Call: "Waits"}, api.CodeConflict, "call Waits is passive")
		refused(api.Action{Verb: api.VerbTunnelClose, Tunnel: 7}, api.CodeNotFound, "no tunnel 7")
		refused(api.Action{Verb: api.VerbSessionClose, Tunnel: 7, Session: 8}, api.CodeNotFound, "no tunnel 7")

		done(api.Action{Verb: api.VerbCallUp, Call: "C0", By: "uid=0"}, true, "call c0 is being dialled")
		a.up("c0", time.Minute)
		done(api.Action{Verb: api.VerbCallUp, Call: "c0"}, false, "call c0 is up already")
		s := a.look().Sessions[0]
		refused(api.Action{Verb: api.VerbSessionClose, Tunnel: s.TunnelID, Session: s.ID ^ 1}, api.CodeNotFound, "no session")
		done(api.Action{Verb: api.VerbSessionClose, Tunnel: s.TunnelID, Session: s.ID}, true, "session is being closed")
		a.until("dialled again", time.Minute, func(s *api.Snapshot) bool { return s.Calls[1].Attempts.Succeeded+s.Calls[0].Attempts.Succeeded == 2 })
		done(api.Action{Verb: api.VerbTunnelClose, Tunnel: s.TunnelID}, true, "tunnel 2.2.2.2:1701 is being closed")
		refused(api.Action{Verb: api.VerbTunnelClose, Tunnel: s.TunnelID}, api.CodeNotFound, "no tunnel")
		done(api.Action{Verb: api.VerbCallDown, Call: "c0"}, true, "call c0")
		a.until("down", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
		done(api.Action{Verb: api.VerbCallDown, Call: "c0"}, false, "call c0 was down already")
		if !strings.Contains(a.log.String(), `by="uid=0"`) {
			t.Error("the log does not say who asked")
		}
		if n := strings.Count(a.log.String(), "level=WARN"); n != 0 {
			t.Errorf("%d warnings about what the operator wanted\n%s", n, a.log)
		}

		a.stop()
		refused(api.Action{Verb: api.VerbCallUp, Call: "c0"}, api.CodeUnavailable, "the daemon is stopping")
		if _, err := a.e.Snapshot(context.Background(), api.Query{Status: true}); err == nil {
			t.Error("a snapshot of a stopped engine")
		}
	})
}

// A call that the operator takes down while it is being dialled is no failure: one line says so, no warning.
func TestCallTakenDownWhileDiallingIsNoWarning(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		a := n.start(t, "1.1.1.1", one(autostart), true) // nobody answers
		defer a.stop()
		time.Sleep(3 * time.Second) // virtual
		a.act(api.Action{Verb: api.VerbCallDown, Call: "c0"})
		time.Sleep(time.Minute) // virtual
		log := a.log.String()
		if strings.Contains(log, "level=WARN") || strings.Count(log, "call ended before it was up") != 1 ||
			!strings.Contains(log, "closed by the operator") {
			t.Errorf("want one line, and no warning:\n%s", log)
		}
		if c := a.theCall(); c.LastError != nil || c.State != api.CallIdle {
			t.Errorf("state %s, last error %+v", c.State, c.LastError)
		}
	})
}

// What a snapshot shows of a call that is up, a call that failed and the daemon: fields, units and names, at both ends.
func TestSnapshotShowsEverything(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		n.ordered = true
		b := n.start(t, "2.2.2.2", lasting(), true)
		a := n.start(t, "1.1.1.1", changed(one(autostart), func(p *policy.Policy) {
			p.Calls["bad"] = &policy.Call{Name: "bad", Peer: "3.3.3.3", RedialMin: time.Hour, RedialMax: time.Hour, AutoStart: true, PPP: policy.CallPPP{Template: "lan"}}
		}), true)
		defer b.stop()
		defer a.stop()
		time.Sleep(45500 * time.Millisecond) // virtual: looking would put chance into the times
		golden.Compare(t, "snapshot-initiator.json", shown(t, a))
		golden.Compare(t, "snapshot-acceptor.json", shown(t, b))
	})
}

// shown is a snapshot as JSON without what chance decides.
func shown(t *testing.T, b *box) string {
	t.Helper()
	s := b.look()
	s.Status.PID, s.Status.Process = 4711, api.Process{Goroutines: 24, HeapOctets: 2 << 20, TotalOctets: 8 << 20}
	for i := range s.Tunnels {
		s.Tunnels[i].ID, s.Tunnels[i].PeerID = 1, 2
	}
	for i := range s.Sessions {
		x := &s.Sessions[i]
		x.TunnelID, x.PeerTunnelID, x.ID, x.PeerID = 1, 2, 3, 4
		x.SerialNumber, x.PeerSerial = min(x.SerialNumber, 1), min(x.PeerSerial, 1)
	}
	for i := range s.Calls {
		c := &s.Calls[i]
		if c.TunnelID != 0 {
			c.TunnelID, c.SessionID = 1, 3
		}
		if !c.NextRedial.IsZero() {
			c.NextRedial = s.TakenAt.Add(time.Hour)
		}
	}
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + "\n"
}

// S76, S77: a call that is asked for while its last session still goes is dialled as soon as that is gone, and not after redial_min.
func TestCallUpWhileTheCallGoesDown(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", lasting(), true)
		defer b.stop()
		a := n.start(t, "1.1.1.1", one(func(c *policy.Call) { c.AutoStart, c.RedialMin, c.RedialMax = true, time.Hour, time.Hour }), true)
		defer a.stop()
		for round, down := range []func(){
			func() { a.act(api.Action{Verb: api.VerbCallDown, Call: "c0"}) },
			func() {
				s := a.look().Sessions[0]
				a.act(api.Action{Verb: api.VerbSessionClose, Tunnel: s.TunnelID, Session: s.ID})
			},
		} {
			a.up("c0", time.Minute)
			down()
			if r := a.act(api.Action{Verb: api.VerbCallUp, Call: "c0"}); !r.Changed || r.Message != "call c0 is being dialled" {
				t.Errorf("changed %v: %s", r.Changed, r.Message)
			}
			a.until("up again", time.Minute, func(s *api.Snapshot) bool {
				return s.Calls[0].State == api.CallUp && s.Calls[0].Attempts.Succeeded == uint64(round)+2
			})
		}
	})
}

// An action that is not answered in time may be done yet: "unavailable" would say that it is not.
func TestActionThatIsNotAnsweredInTime(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		a := n.start(t, "1.1.1.1", one(nil), true)
		defer a.stop()
		busy := make(chan struct{})
		a.e.shards[0].post(func() { <-busy })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.e.Act(ctx, api.Action{Verb: api.VerbCallUp, Call: "c0"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		close(busy)
	})
}
