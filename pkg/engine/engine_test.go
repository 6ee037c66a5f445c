package engine

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// S18: whichever side starts, the call comes up, with interface, routes and one session at each end.
func TestStaticPairComesUpWhicheverSideStarts(t *testing.T) {
	for _, first := range []string{"a", "b", "both"} {
		t.Run(first, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				a := n.start(t, "1.1.1.1", pair("a", "2.2.2.2", policy.PrecedenceIn, first != "b"), true)
				b := n.start(t, "2.2.2.2", pair("b", "1.1.1.1", policy.PrecedenceOut, first != "a"), true)
				defer a.stop()
				defer b.stop()
				a.up("remote", time.Minute)
				b.up("remote", time.Minute)
				time.Sleep(10 * time.Second)
				for _, x := range []*box{a, b} {
					s := x.look()
					// Neither a lost tie nor a crossing call is a failure: whoever waits for the call must not be told of one.
					if c := s.Calls[0]; strings.Contains(x.log.String(), "WARN") || c.Attempts.Failed != 0 {
						t.Errorf("%v: %d failures\n%s", x.addr, c.Attempts.Failed, x.log)
					}
					if len(s.Sessions) != 1 || s.Status.Calls.Up != 1 {
						t.Errorf("%v: %d sessions, %d calls up, want 1 and 1\n%s", x.addr, len(s.Sessions), s.Status.Calls.Up, x.log)
					}
					if len(x.applied) != 1 {
						t.Errorf("%v: %d interfaces, want 1", x.addr, len(x.applied))
					}
					if first == "both" && len(s.Sessions) == 1 {
						want := map[string]string{"1.1.1.1": "lns-incoming", "2.2.2.2": "lac-incoming"}[x.addr.String()]
						if got := s.Sessions[0].Role; got != want {
							t.Errorf("%v: role %s, want %s: PRECEDENCE in keeps the incoming call\n%s", x.addr, got, want, x.log)
						}
					}
				}
			})
		})
	}
}

// S69: both ends saying the same ends with one session all the same, with a warning.
func TestSamePrecedenceAtBothEndsConverges(t *testing.T) {
	for _, prec := range []policy.Precedence{policy.PrecedenceIn, policy.PrecedenceOut} {
		t.Run(prec.String(), func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				a := n.start(t, "1.1.1.1", pair("a", "2.2.2.2", prec, true), true)
				b := n.start(t, "2.2.2.2", pair("b", "1.1.1.1", prec, true), true)
				defer a.stop()
				defer b.stop()
				a.up("remote", 5*time.Minute)
				b.up("remote", 5*time.Minute)
				time.Sleep(time.Minute)
				for _, x := range []*box{a, b} {
					if s := x.look(); len(s.Sessions) != 1 || s.Status.Calls.Up != 1 {
						t.Errorf("%v: %d sessions, %d calls up\n%s", x.addr, len(s.Sessions), s.Status.Calls.Up, x.log)
					}
				}
			})
		})
	}
}

// A peer that lost its memory is served as soon as it asks again, on either kind of kernel.
func TestRestartedPeerIsServedAgain(t *testing.T) {
	for _, newCore := range []bool{true, false} {
		t.Run(map[bool]string{true: "new core", false: "old core"}[newCore], func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				a := n.start(t, "1.1.1.1", pair("a", "2.2.2.2", policy.PrecedenceIn, true), newCore)
				b := n.start(t, "2.2.2.2", pair("b", "1.1.1.1", policy.PrecedenceOut, false), newCore)
				defer b.stop()
				b.up("remote", time.Minute)
				a.kill()
				a = n.start(t, "1.1.1.1", pair("a", "2.2.2.2", policy.PrecedenceIn, true), newCore)
				defer a.stop()
				a.up("remote", 10*time.Second)
				b.until("one session up", 10*time.Second, func(s *api.Snapshot) bool {
					return len(s.Sessions) == 1 && s.Status.Calls.Up == 1
				})
			})
		})
	}
}

// Wrong secrets end at once, with the stage in one line, and are counted (S113, P124).
func TestWrongSecretNamesTheStage(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		p := pair("a", "2.2.2.2", policy.PrecedenceIn, true)
		p.Calls["remote"].Secret = policy.NewSecret([]byte("not the one"))
		a := n.start(t, "1.1.1.1", p, true)
		b := n.start(t, "2.2.2.2", pair("b", "1.1.1.1", policy.PrecedenceOut, false), true)
		defer a.stop()
		defer b.stop()
		a.until("an error", time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].LastError != nil })
		if got := a.look().Calls[0].LastError; got.Stage != "tunnel authentication" {
			t.Errorf("stage %q, want tunnel authentication\n%s", got.Stage, a.log)
		}
		if a.look().Status.Counters.TunnelAuthFailures == 0 {
			t.Errorf("tunnel authentication failures not counted")
		}
		if strings.Contains(a.log.String(), "not the one") || strings.Contains(b.log.String(), "secret-of") {
			t.Errorf("a secret is in the log")
		}
	})
}

// A peer that never answers: the transport stage is named, and redialling goes on.
func TestSilentPeerNamesTheTransportStage(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		a := n.start(t, "1.1.1.1", pair("a", "2.2.2.2", policy.PrecedenceIn, true), true)
		defer a.stop()
		a.until("two attempts", 5*time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].Attempts.Out >= 2 })
		c := a.look().Calls[0]
		if c.LastError == nil || c.LastError.Stage != "transport" {
			t.Errorf("last error %+v, want stage transport\n%s", c.LastError, a.log)
		}
	})
}

// P52: Call Serial Numbers rise from call to call, are the same at both ends, and do not begin anew with a restart.
func TestCallSerialNumbersRise(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		p := acceptor()
		p.Templates["dialin"].IdleTimeout = 0
		b := n.start(t, "2.2.2.2", p, true)
		a := n.start(t, "1.1.1.1", initiators(1), true)
		a.up("c0", time.Minute)
		first := a.look().Sessions[0].SerialNumber
		if got := b.look().Sessions[0].PeerSerial; got != first {
			t.Errorf("serial number %d here, %d at the peer", first, got)
		}
		a.stop()
		time.Sleep(time.Minute)
		a = n.start(t, "1.1.1.1", initiators(1), true)
		a.up("c0", time.Minute)
		if got := a.look().Sessions[0].SerialNumber; got <= first {
			t.Errorf("serial number %d after %d", got, first)
		}
		a.stop()
		b.stop()
	})
}

// What interfaces have in common is made when the engine starts, not for the first call's packets to wait for; and only if it is needed.
func TestTheNetworkIsPreparedBeforeTheFirstCall(t *testing.T) {
	for name, clamp := range map[string]bool{"needed": true, "not needed": false} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				p := pair("a", "2.2.2.2", policy.PrecedenceIn, false)
				for _, x := range p.Templates {
					x.MSSClamp, x.Masquerade, x.IPv6 = clamp, false, false
				}
				b := newInternet().start(t, "1.1.1.1", p, true)
				defer b.stop()
				time.Sleep(time.Second) // virtual
				b.mu.Lock()
				defer b.mu.Unlock()
				if got := b.prepared > 0; got != clamp {
					t.Errorf("prepared %d times", b.prepared)
				}
			})
		})
	}
}

// A past bug: the peer's tunnel was forgotten when ours came up before its SCCCN had arrived, although the peer had not compared the two: its
// calls had no answer.
func TestThePeersTunnelLivesBesideOurs(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", pair("b", "1.1.1.1", policy.PrecedenceOut, false), true)
		lost := false
		n.mu.Lock()
		n.drop = func(local, _ netip.AddrPort, d []byte) bool { // the first SCCCN of a is lost, and b dials
			_, payload, _ := wire.ParseHeader(d)
			m, _ := wire.ParseMessage(payload)
			if m.Type != wire.MsgSCCCN || local.Addr() != netip.MustParseAddr("1.1.1.1") || lost {
				return false
			}
			lost = true
			go func() { _, _ = b.e.Act(context.Background(), api.Action{Verb: api.VerbCallUp, Call: "remote"}) }()
			return true
		}
		n.mu.Unlock()
		a := n.start(t, "1.1.1.1", pair("a", "2.2.2.2", policy.PrecedenceIn, true), true)
		defer b.stop()
		defer a.stop()
		a.up("remote", 5*time.Second)
		b.up("remote", 5*time.Second)
		time.Sleep(5 * time.Second) // virtual: SCCCN has come again
		for _, x := range []*box{a, b} {
			if up := x.look().Status.Tunnels; up != 2 { // of the two calls one gives way, which is another matter
				t.Errorf("%v: %d tunnels, want 2\n%s", x.addr, up, x.log)
			}
		}
	})
}
