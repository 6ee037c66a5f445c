package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// byRADIUS is a LAC whose rule asks RADIUS servers, which give this answer.
func byRADIUS(t *testing.T, n *internet, answer radius.Answer, problem error, set func(p *policy.Policy)) (*box, *radiusBox) {
	t.Helper()
	s := &radiusBox{answer: answer, problem: problem}
	n.radius = map[netip.Addr]RADIUS{netip.MustParseAddr(lacBox): s}
	a := n.start(t, lacBox, changed(lacPolicy(), func(p *policy.Policy) {
		p.LAC.Rules[0].Action = policy.ActionRADIUS
		p.RADIUS = policy.RADIUS{Servers: []policy.RADIUSServer{{Address: "9.9.9.8"}}}
		if set != nil {
			set(p)
		}
	}), true)
	synctest.Wait()
	return a, s
}

func lnsOfRADIUS(address string, change func(x *radius.Tunnel)) radius.Tunnel {
	x := radius.Tunnel{ServerEndpoint: address, Password: policy.NewSecret([]byte("secret-of-b")), Preference: radius.NoPreference}
	if change != nil {
		change(&x)
	}
	return x
}

// records are what the servers were told, in short.
func (s *radiusBox) records() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.told {
		text := r.Kind.String()
		if r.User != "" {
			text += fmt.Sprintf(" %s to %s by %s", r.User, r.Tunnel.ServerEndpoint, r.Tunnel.AssignmentID)
		}
		if r.Kind == radius.Stop {
			text += fmt.Sprintf(" cause %d", r.Cause)
		}
		all = append(all, text)
	}
	return all
}

// S96, P228-P233: a RADIUS server names LNSs, with preferences, names that must be theirs, and what the LNS is told; accounting tells of the
// tunnel from beginning to end.
func TestRADIUSNamesTheLNS(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		w := tap(n)
		b, c := n.start(t, lnsBox, lnsPolicy(), true), n.start(t, lnsBox2, lnsPolicy(), true)
		defer b.stop()
		defer c.stop()
		a, s := byRADIUS(t, n, radius.Answer{Accept: true, Server: "test", Class: [][]byte{[]byte("gold")}, Tunnels: []radius.Tunnel{
			lnsOfRADIUS(lnsBox2, func(x *radius.Tunnel) {
				x.Preference, x.ServerAuthID, x.ClientAuthID, x.AssignmentID, x.PrivateGroup = 2, "lns", "edge7", "corp", "blue"
			}),
			lnsOfRADIUS(lnsBox, func(x *radius.Tunnel) { x.Preference, x.ServerAuthID = 1, "somebody else" }),
		}}, nil, nil)
		x := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
		x.comesUp(time.Minute)
		if a.at(x) != lnsBox2 {
			t.Errorf("at %s", a.at(x))
		}
		if !strings.Contains(a.log.String(), `the LNS calls itself \"lns\", its name should be \"somebody else\"`) {
			t.Errorf("nothing is said of the stranger\n%s", a.log)
		}
		if len(b.look().Sessions) > 0 || len(w.of(lnsBox, 12)) > 0 { // ICCN, which has the login
			t.Error("the stranger has the call")
		}
		if got := c.look(); len(got.Tunnels) != 1 || got.Tunnels[0].HostName != "edge7" || got.Sessions[0].PrivateGroup != "blue" {
			t.Errorf("%+v", got.Tunnels)
		}
		x.close()
		x.goes(time.Minute)
		a.empty(time.Minute)
		if got, want := s.records(), 3; len(got) != want || !strings.Contains(got[1], "to 3.3.3.3 by corp") || !strings.Contains(got[2], "to 3.3.3.3 by corp") {
			t.Errorf("%q", got)
		}
		s.mu.Lock()
		if r := s.told[1]; string(r.Class[0]) != "gold" || r.Port.CallingStation != "02:00:00:00:00:01" || r.Port.ID != "eth1:1" {
			t.Errorf("%+v", r)
		}
		if r := s.asked[0]; r.Name != "RouterA@corp.example" || r.Method != ppp.AuthCHAPMD5 || len(r.Response) != 16 || r.Port.Type != radius.PortPPPoE {
			t.Errorf("%+v", r)
		}
		s.mu.Unlock()
		a.stop()
		if got := s.records(); got[len(got)-1] != radius.Off.String() || got[0] != radius.On.String() {
			t.Errorf("%q", got)
		}
	})
}

// Whatever a server says, or fails to say, ends in one explaining line, and in nothing that is left.
func TestRADIUSTurnsAway(t *testing.T) {
	for name, c := range map[string]struct {
		answer  radius.Answer
		problem error
		log     string
	}{
		"reject":   {radius.Answer{Server: "test", Reason: "no credit", Message: "pay first"}, nil, "no credit"},
		"silence":  {radius.Answer{}, errors.New("no server answers"), "no server answers"},
		"unusable": {radius.Answer{Accept: true, Server: "test", TunnelUnusable: true}, nil, "names no LNS that can be used"},
		"dead LNS": {radius.Answer{Accept: true, Server: "test", Tunnels: []radius.Tunnel{lnsOfRADIUS("9.9.9.9", nil)}}, nil, "9.9.9.9"},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				a, s := byRADIUS(t, n, c.answer, c.problem, nil)
				defer a.stop()
				x := a.dsl.dialIn(t, client(ppp.AuthPAP), nil)
				x.goes(time.Minute)
				a.empty(time.Minute)
				if x.told() == "" || strings.Count(a.log.String(), "event=call-failed") != 1 || !strings.Contains(a.log.String(), c.log) {
					t.Errorf("told %q, no line with %q\n%s", x.told(), c.log, a.log)
				}
				if got := s.records(); len(got) != 1 {
					t.Errorf("%q", got)
				}
				if strings.Contains(a.log.String(), "PasswordA") {
					t.Error("the password is in the log")
				}
			})
		})
	}
}

// An answer without a tunnel has PPP end here, and its verdict about the login counts: the server is not asked again. Times that it gives
// hold, and may be changed by a CoA-Request; a Disconnect-Request ends the call.
func TestRADIUSHasTheCallStayHere(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		hour := time.Hour
		a, s := byRADIUS(t, n, radius.Answer{
			Accept: true, Server: "test", Address: netip.MustParseAddr("10.7.0.7"), SessionTimeout: &hour, InterimInterval: 10 * time.Minute,
		}, nil, func(p *policy.Policy) {
			p.Templates["access"].IPv4Local, p.Templates["access"].Sources = netip.MustParseAddr("10.7.0.1"), []policy.Source{policy.SourceRADIUS}
		})
		defer a.stop()
		x := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
		x.comesUp(time.Minute)
		if x.address() != "10.7.0.7" || len(s.asked) != 1 {
			t.Errorf("address %s, asked %d times", x.address(), len(s.asked))
		}
		time.Sleep(50 * time.Minute)
		two := 2 * time.Hour
		m := radius.Match{User: "RouterA@corp.example"}
		if got := a.e.RADIUS().Change(t.Context(), m, radius.Change{SessionTimeout: &two}); got != radius.Done {
			t.Errorf("%v", got)
		}
		time.Sleep(65 * time.Minute)
		if x.address() == "" || len(x.ended()) > 0 {
			t.Errorf("the call has ended: %q", x.ended())
		}
		time.Sleep(10 * time.Minute)
		if x.goes(time.Minute); !strings.Contains(a.log.String(), "cause=session-time") {
			t.Errorf("%q\n%s", x.ended(), a.log)
		}
		a.empty(time.Minute)
		interim := 0
		for _, r := range s.records() {
			if strings.HasPrefix(r, radius.Interim.String()) {
				interim++
			}
		}
		if interim < 10 || interim > 12 {
			t.Errorf("%d interim records in two hours", interim)
		}
		y := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
		y.comesUp(time.Minute)
		if got := a.e.RADIUS().Disconnect(t.Context(), radius.Match{User: "nobody"}); got != radius.NotFound {
			t.Errorf("%v", got)
		}
		if got := a.e.RADIUS().Disconnect(t.Context(), m); got != radius.Done {
			t.Errorf("%v", got)
		}
		y.goes(time.Minute)
		a.empty(time.Minute)
	})
}

// A forwarded call has no times that could be changed here, and is disconnected like any other.
func TestRADIUSDisconnectsAForwardedCall(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox, lnsPolicy(), true)
		defer b.stop()
		a, _ := byRADIUS(t, n, radius.Answer{Accept: true, Server: "test", Tunnels: []radius.Tunnel{lnsOfRADIUS(lnsBox, nil)}}, nil, nil)
		defer a.stop()
		x := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
		x.comesUp(time.Minute)
		hour := time.Hour
		m := radius.Match{CallingStation: "02:00:00:00:00:01"}
		if got := a.e.RADIUS().Change(t.Context(), m, radius.Change{SessionTimeout: &hour}); got != radius.Prohibited {
			t.Errorf("%v", got)
		}
		if got := a.e.RADIUS().Disconnect(t.Context(), m); got != radius.Done {
			t.Errorf("%v", got)
		}
		x.goes(time.Minute)
		if x.told() == "" {
			t.Error("the subscriber is not told")
		}
		a.empty(time.Minute)
		b.until("no session", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
	})
}

// Whom a rule's server has let in is challenged again by it, whoever the template has known users from: he stays, and his address comes back.
func TestRADIUSThatLetsACallerStayJudgesHimAgain(t *testing.T) {
	for name, users := range map[string]map[string]*policy.User{
		"unknown here": {},
		"known here":   {"RouterA@corp.example": {Name: "RouterA@corp.example", Password: policy.NewSecret([]byte("PasswordA"))}},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				a, s := byRADIUS(t, n, radius.Answer{Accept: true, Server: "test", Address: netip.MustParseAddr("10.7.0.7")}, nil, func(p *policy.Policy) {
					p.Users, p.LAC.Rules[0].StripRealm = users, false
					p.Templates["access"].IPv4Local, p.Templates["access"].Rechallenge = netip.MustParseAddr("10.7.0.1"), 10*time.Second
				})
				defer a.stop()
				x := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
				x.comesUp(time.Minute)
				time.Sleep(time.Minute) // virtual
				if s.mu.Lock(); len(s.asked) < 5 || x.address() != "10.7.0.7" {
					t.Errorf("asked %d times, address %s, hung up with %q", len(s.asked), x.address(), x.ended())
				}
				s.mu.Unlock()
				x.close()
				x.goes(time.Minute)
				a.empty(time.Minute)
				zero := a.e.shards[0]
				if err := zero.in(t.Context(), func() {
					if all := zero.pools.owned; len(all) > 0 {
						t.Errorf("still somebody's: %v", all)
					}
				}); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
