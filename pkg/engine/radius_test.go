package engine

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// servers stand for RADIUS servers that answer at once, as the test says.
type servers struct {
	answer func(ctx context.Context, r radius.Request) (radius.Answer, error)

	mu      sync.Mutex
	asked   []radius.Request
	records []radius.Record
}

func (x *servers) Authorize(ctx context.Context, r radius.Request) (radius.Answer, error) {
	x.mu.Lock()
	x.asked = append(x.asked, r)
	x.mu.Unlock()
	return x.answer(ctx, r)
}

func (x *servers) Account(r radius.Record) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.records = append(x.records, r)
	return nil
}

func (x *servers) Counters() (radius.Counters, bool) { return radius.Counters{}, true }

// told are the records of a kind.
func (x *servers) told(k radius.Kind) []radius.Record {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(x.records), func(r radius.Record) bool { return r.Kind != k })
}

// questions is how often they were asked.
func (x *servers) questions() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.asked)
}

// accepts are servers that give everybody the same.
func accepts(a radius.Answer) *servers {
	a.Accept, a.Server = true, "test"
	return &servers{answer: func(context.Context, radius.Request) (radius.Answer, error) { return a, nil }}
}

// asking is the policy of a box that asks RADIUS servers about all callers.
func asking() *policy.Policy {
	p := lasting()
	p.Users = nil
	p.Templates["dialin"].Sources = []policy.Source{policy.SourceRADIUS}
	p.RADIUS.Servers = []policy.RADIUSServer{{Address: "192.0.2.9"}}
	return p
}

// with gives a box that nobody has called yet its RADIUS servers.
func (b *box) with(x *servers) *box {
	b.t.Helper()
	b.e.cfg.RADIUS = x
	if err := b.e.Alive(b.t.Context()); err != nil { // the shards see it from now on
		b.t.Fatal(err)
	}
	return b
}

// loginsOf is the policy of a box with calls of several users.
func loginsOf(users ...string) *policy.Policy {
	p := initiators(len(users))
	for i, name := range users {
		p.Calls["c"+string(rune('0'+i))].PPP.User = name
	}
	return p
}

func duration(d time.Duration) *time.Duration { return &d }

// P240-P242: records tell of a session from its beginning to its end, with what it had: PPP has forgotten that by then. Its time is
// counted from when it came up, however often its user is challenged again meanwhile.
func TestSessionTimeOfAServerHoldsOverRechallenges(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		p := asking()
		p.Templates["dialin"].Rechallenge = 10 * time.Second
		x := accepts(radius.Answer{
			Address: netip.MustParseAddr("192.0.2.77"), Class: [][]byte{[]byte("gold")}, SessionTimeout: duration(200 * time.Second),
			InterimInterval: 50 * time.Second, // less than a server may ask for
		})
		b := n.start(t, "2.2.2.2", p, true).with(x)
		a := n.start(t, "1.1.1.1", loginsOf("RouterA"), true)
		defer a.stop()
		defer b.stop()
		a.up("c0", time.Minute)
		if s := a.look().Sessions[0]; s.LocalIPv4 != netip.MustParseAddr("192.0.2.77") {
			t.Errorf("the caller has %v", s.LocalIPv4)
		}
		b.until("end", 4*time.Minute, func(s *api.Snapshot) bool { return len(x.told(radius.Stop)) == 1 })
		stop, start := x.told(radius.Stop)[0], x.told(radius.Start)[0]
		if s := stop.SessionTime; s < 200*time.Second || s > 203*time.Second || stop.Cause != radius.SessionTimeout {
			t.Errorf("it has lasted %v, and ended by cause %d", s, stop.Cause)
		}
		if stop.Address != start.Address || stop.SessionID != start.SessionID || !stop.Address.IsValid() || len(stop.Class) != 1 {
			t.Errorf("it began as %+v, and ended as %+v", start, stop)
		}
		if x.questions() < 15 {
			t.Errorf("%d logins", x.questions())
		}
		if k := len(x.told(radius.Interim)); k != 3 {
			t.Errorf("%d interim records in 200 s", k)
		}
	})
}

// P262: a pool does not give what a server has given.
func TestPoolsLeaveAddressesOfServersAlone(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		x := &servers{answer: func(_ context.Context, r radius.Request) (radius.Answer, error) {
			a := radius.Answer{Accept: true, Server: "test"}
			if r.Name == "first" {
				a.Address = netip.MustParseAddr("192.168.20.200")
			}
			return a, nil
		}}
		b := n.start(t, "2.2.2.2", asking(), true).with(x)
		p := loginsOf("first", "second")
		p.Calls["c1"].AutoStart = false
		a := n.start(t, "1.1.1.1", p, true)
		defer a.stop()
		defer b.stop()
		a.up("c0", time.Minute)
		a.act(api.Action{Verb: api.VerbCallUp, Call: "c1"})
		a.up("c1", time.Minute)
		has := map[netip.Addr]bool{}
		for _, s := range b.look().Sessions {
			has[s.PeerIPv4] = true
		}
		if len(has) != 2 || !has[netip.MustParseAddr("192.168.20.201")] {
			t.Errorf("the two have %v", has)
		}
	})
}

// P262: an address that a server gives and that is ours, of the template or of anything else, is none: the call ends for want of one, or
// has IPv6 alone.
func TestServersDoNotGiveOurAddresses(t *testing.T) {
	for name, x := range map[string]struct {
		give string
		ipv6 bool
	}{
		"of the template": {"192.168.20.1", false}, "of a call": {"192.168.30.1", false}, "with IPv6": {"192.168.20.1", true},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				p := asking()
				p.Templates["dialin"].IPv6 = x.ipv6
				p.Calls["branch"] = &policy.Call{Name: "branch", Peer: "7.7.7.7", PPP: policy.CallPPP{IPv4: ppp.IPv4Own, Local: netip.MustParseAddr("192.168.30.1")}}
				servers := accepts(radius.Answer{Address: netip.MustParseAddr(x.give)})
				b := n.start(t, "2.2.2.2", p, true).with(servers)
				a := n.start(t, "1.1.1.1", changed(loginsOf("RouterA"), func(p *policy.Policy) { p.Calls["c0"].PPP.IPv6 = x.ipv6 }), true)
				defer a.stop()
				defer b.stop()
				why := "RADIUS server test gives address " + x.give + ", which is one of ours"
				if x.ipv6 {
					a.up("c0", time.Minute)
					time.Sleep(time.Minute)
					if s := b.look().Sessions[0]; s.IPV6CP != "Opened" || s.PeerIPv4.IsValid() || !strings.Contains(b.log.String(), "the call goes on without IPv4: "+why) {
						t.Errorf("IPV6CP is %s, the peer has %v\n%s", s.IPV6CP, s.PeerIPv4, b.log)
					}
				} else {
					b.until("an end", time.Minute, func(s *api.Snapshot) bool { return s.Status.Counters.SessionEnds["no-address"] > 0 })
					line := `level=WARN msg="call not established: stage address"`
					if log := b.log.String(); strings.Count(log, line) != 1 || !strings.Contains(log, `cause=no-address why="`+why+`"`) {
						t.Errorf("it is told otherwise than once:\n%s", log)
					}
				}
				b.mu.Lock()
				for owner, i := range b.applied {
					if i.Local == i.Peer && i.Local.IsValid() {
						t.Errorf("%s has %v at both ends", owner, i.Local)
					}
				}
				b.mu.Unlock()
				if got := servers.told(radius.Start); !x.ipv6 && len(got) > 0 {
					t.Errorf("accounted: %+v", got)
				}
			})
		})
	}
}

// A user who may choose his address gets neither ours nor another's.
func TestUsersChooseNoAddressThatIsTaken(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", asking(), true).with(accepts(radius.Answer{AddressUser: true}))
		p := loginsOf("first", "second", "third")
		for name, want := range map[string]string{"c0": "192.0.2.77", "c1": "192.0.2.77", "c2": "192.168.20.201"} {
			c := p.Calls[name]
			c.AutoStart, c.PPP.IPv4, c.PPP.Local = false, ppp.IPv4Own, netip.MustParseAddr(want)
		}
		a := n.start(t, "1.1.1.1", p, true)
		defer a.stop()
		defer b.stop()
		a.act(api.Action{Verb: api.VerbCallUp, Call: "c0"})
		a.up("c0", time.Minute)
		a.act(api.Action{Verb: api.VerbCallUp, Call: "c1"})
		a.act(api.Action{Verb: api.VerbCallUp, Call: "c2"})
		b.until("two refusals", time.Minute, func(*api.Snapshot) bool {
			return strings.Contains(b.log.String(), "address 192.0.2.77 is another user's") && strings.Contains(b.log.String(), "192.168.20.201 is one of ours")
		})
		if s := a.look(); s.Status.Calls.Up != 1 {
			t.Errorf("%d calls are up", s.Status.Calls.Up)
		}
	})
}

// What a server gave to one login does not hold for the next.
func TestGrantsEndWithTheirLogin(t *testing.T) {
	t.Parallel()
	base := &policy.Template{Name: "dialin", IPv4Pool: "ips", IdleTimeout: time.Minute}
	s := &session{tmpl: base, pol: &policy.Policy{Pools: map[string]*policy.Pool{"others": {Name: "others"}}}}
	s.grant(radius.Answer{Pool: "others", IdleTimeout: duration(time.Hour), AddressUser: true, PortLimit: 1, DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53")}})
	if s.tmpl.IPv4Pool != "others" || s.tmpl.IdleTimeout != time.Hour || !s.granted.choice || s.granted.limit != 1 {
		t.Errorf("granted: %+v, %+v", s.tmpl, s.granted)
	}
	s.grant(radius.Answer{})
	if s.tmpl.IPv4Pool != "ips" || s.tmpl.IdleTimeout != time.Minute || s.tmpl.DNS != nil || s.granted.choice || s.granted.limit != 0 {
		t.Errorf("granted after another: %+v, %+v", s.tmpl, s.granted)
	}
	s.ungrant()
	if s.tmpl != base || s.granted != nil {
		t.Errorf("left: %+v, %+v", s.tmpl, s.granted)
	}
}

// A question to a server ends with its session: a server that does not answer must not hold what the session has.
func TestQuestionsEndWithTheirSession(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		x := &servers{answer: func(ctx context.Context, _ radius.Request) (radius.Answer, error) {
			<-ctx.Done()
			return radius.Answer{}, ctx.Err()
		}}
		b := n.start(t, "2.2.2.2", asking(), true).with(x)
		a := n.start(t, "1.1.1.1", loginsOf("RouterA"), true)
		defer a.stop()
		defer b.stop()
		b.until("a question", time.Minute, func(*api.Snapshot) bool { return x.questions() > 0 })
		a.act(api.Action{Verb: api.VerbCallDown, Call: "c0"})
		b.until("nothing", 10*time.Second, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
	})
}

// P237: when no server answers, the login is refused for that, in one line.
func TestUnansweredLoginsAreUnavailable(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		x := &servers{answer: func(context.Context, radius.Request) (radius.Answer, error) {
			return radius.Answer{}, errors.New("nobody is there")
		}}
		b := n.start(t, "2.2.2.2", asking(), true).with(x)
		a := n.start(t, "1.1.1.1", loginsOf("RouterA"), true)
		defer a.stop()
		defer b.stop()
		b.until("an end", time.Minute, func(s *api.Snapshot) bool { return s.Status.Counters.SessionEnds["auth-unavailable"] > 0 })
		if strings.Count(b.log.String(), "nobody is there") != 1 {
			t.Errorf("it is told otherwise than once:\n%s", b.log)
		}
		if len(x.told(radius.Start)) != 0 {
			t.Error("a session that was not up is accounted")
		}
	})
}

// P237, P258: a user who is up and is challenged again stays when no server answers, and hears neither Success nor Failure; who is asked
// again later may still be refused.
func TestRechallengeWithoutAServerLeavesTheSession(t *testing.T) {
	for _, method := range []ppp.AuthMethod{ppp.AuthCHAPMD5, ppp.AuthMSCHAPv2} {
		t.Run(method.String(), func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				p := asking()
				p.Templates["dialin"].Auth, p.Templates["dialin"].Rechallenge = []ppp.AuthMethod{method}, time.Minute
				var silent, refuses atomic.Bool
				x := &servers{answer: func(_ context.Context, r radius.Request) (radius.Answer, error) {
					if silent.Load() {
						return radius.Answer{}, errors.New("nobody is there")
					}
					solved, _ := ppp.SolveMSCHAP(r.Method, r.Name, []byte("PasswordA"), r.Challenge, r.Response)
					return radius.Answer{Accept: !refuses.Load(), Server: "test", MSCHAPSuccess: solved.Success, Reason: "no credit"}, nil
				}}
				b := n.start(t, "2.2.2.2", p, true).with(x)
				a := n.start(t, "1.1.1.1", loginsOf("RouterA"), true)
				defer a.stop()
				defer b.stop()
				a.up("c0", time.Minute)
				const line = `level=WARN msg="the user cannot be checked again, the session goes on"`
				rounds := func(d time.Duration) int {
					before := x.questions()
					time.Sleep(d)
					return x.questions() - before
				}
				silent.Store(true)
				if got := rounds(90 * time.Second); got != 1 || strings.Count(b.log.String(), line) != 1 {
					t.Errorf("%d challenges, told %d times\n%s", got, strings.Count(b.log.String(), line), b.log)
				}
				if !strings.Contains(b.log.String(), `nobody is there`) {
					t.Errorf("nothing says why:\n%s", b.log)
				}
				if got := rounds(20 * time.Minute); got < 18 || got > 20 {
					t.Errorf("%d challenges in 20 minutes", got)
				}
				silent.Store(false)
				if got := rounds(2 * time.Minute); got != 2 {
					t.Errorf("%d challenges in two minutes", got)
				}
				if s := b.look(); len(s.Sessions) != 1 || len(s.Status.Counters.SessionEnds) > 0 || s.Status.Counters.UserAuthFailures > 0 || len(x.told(radius.Stop)) > 0 {
					t.Errorf("%d sessions, ended %v, %d failed logins", len(s.Sessions), s.Status.Counters.SessionEnds, s.Status.Counters.UserAuthFailures)
				}
				refuses.Store(true)
				b.until("an end", 2*time.Minute, func(s *api.Snapshot) bool { return s.Status.Counters.SessionEnds["auth-failed"] > 0 })
			})
		})
	}
}

// A daemon that stops gives up all questions. That is nothing to be told of those whose users were being checked again.
func TestStopDuringARechallengeSaysNothingOfTheUser(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		p := asking()
		p.Templates["dialin"].Rechallenge = time.Minute
		var slow atomic.Bool
		x := &servers{answer: func(ctx context.Context, _ radius.Request) (radius.Answer, error) {
			if slow.Load() {
				<-ctx.Done()
				return radius.Answer{}, ctx.Err()
			}
			return radius.Answer{Accept: true, Server: "test"}, nil
		}}
		b := n.start(t, "2.2.2.2", p, true).with(x)
		a := n.start(t, "1.1.1.1", loginsOf("RouterA"), true)
		defer a.stop()
		a.up("c0", time.Minute)
		slow.Store(true)
		b.until("a question", 2*time.Minute, func(*api.Snapshot) bool { return x.questions() == 2 })
		b.stop()
		if strings.Contains(b.log.String(), "cannot be checked") {
			t.Errorf("it is told:\n%s", b.log)
		}
	})
}

// P243, P244: servers end and change sessions. The time that they give is counted from the session's beginning.
func TestServersEndAndChangeSessions(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		x := accepts(radius.Answer{})
		b := n.start(t, "2.2.2.2", asking(), true).with(x)
		a := n.start(t, "1.1.1.1", loginsOf("first", "second"), true)
		defer a.stop()
		defer b.stop()
		a.up("c0", time.Minute)
		a.up("c1", time.Minute)
		h := b.e.RADIUS()
		is := func(got, want radius.Outcome) {
			t.Helper()
			if got != want {
				t.Errorf("%v, want %v", got, want)
			}
		}
		is(h.Disconnect(t.Context(), radius.Match{User: "nobody"}), radius.NotFound)
		is(h.Disconnect(t.Context(), radius.Match{User: "first", SessionID: "another"}), radius.NotFound)
		is(h.Change(t.Context(), radius.Match{User: "first"}, radius.Change{FilterIDs: []string{"x"}}), radius.Unsupported)
		up := x.told(radius.Start)
		time.Sleep(30 * time.Second) // virtual
		is(h.Change(t.Context(), radius.Match{User: "first"}, radius.Change{SessionTimeout: duration(40 * time.Second), Class: [][]byte{[]byte("new")}}), radius.Done)
		is(h.Disconnect(t.Context(), radius.Match{User: "second"}), radius.Done)
		b.until("both end", 15*time.Second, func(*api.Snapshot) bool { return len(x.told(radius.Stop)) == 2 })
		for _, r := range x.told(radius.Stop) {
			switch {
			case r.User == "second" && r.Cause == radius.AdminReset && r.SessionTime < 35*time.Second:
			case r.User == "first" && r.Cause == radius.SessionTimeout && r.SessionTime < 43*time.Second && string(r.Class[0]) == "new":
			default:
				t.Errorf("%+v", r)
			}
		}
		if len(up) != 2 {
			t.Errorf("%d starts", len(up))
		}
	})
}

// P232: a tunnel to an LNS that is not who it should be is closed before any call is on it.
func TestTunnelToAnLNSOfAnotherNameIsClosed(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", lasting(), true)
		a := n.start(t, "1.1.1.1", initiators(0), true)
		defer a.stop()
		defer b.stop()
		sh := a.e.shards[0]
		var err error
		if out := sh.in(t.Context(), func() {
			w := &wish{secret: policy.NewSecret([]byte("secret-of-b")), why: slog.String("lns", "b")}
			w.key = policy.ShareKey{Peer: netip.MustParseAddrPort("2.2.2.2:1701"), Expect: "somebody"}
			x, failed := sh.openTunnel(w)
			if err = failed; err == nil {
				x.flush()
			}
		}); out != nil || err != nil {
			t.Fatal(out, err)
		}
		b.until("the end of the tunnel", time.Minute, func(*api.Snapshot) bool {
			return strings.Contains(b.log.String(), "not the LNS that was wanted")
		})
		if s := a.look(); s.Status.Tunnels != 0 || strings.Contains(a.log.String(), "tunnel up") {
			t.Errorf("%d tunnels\n%s", s.Status.Tunnels, a.log)
		}
	})
}
