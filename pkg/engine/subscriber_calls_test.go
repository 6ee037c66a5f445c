package engine

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpd/l2tpd/pkg/access"
	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/kernel/kerneltest"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// wiretap keeps the control messages that leave, and loses some. It is the internet's drop.
type wiretap struct {
	n    *internet
	sent []datagram
	lose func(d datagram) bool // nil: none
}

func tap(n *internet) *wiretap {
	w := &wiretap{n: n}
	n.drop = func(from, to netip.AddrPort, d []byte) bool { // called with the net's lock held
		if h, payload, err := wire.ParseHeader(d); err == nil && h.Control && len(payload) > 0 {
			if m, err := wire.ParseMessage(payload); err == nil {
				x := datagram{time.Now(), from, to, m}
				w.sent = append(w.sent, x)
				return w.lose != nil && w.lose(x)
			}
		}
		return false
	}
	return w
}

// of are the messages of a type to an address, retransmissions included.
func (w *wiretap) of(to string, want wire.MessageType) (out []datagram) {
	w.n.mu.Lock()
	defer w.n.mu.Unlock()
	for _, d := range w.sent {
		if d.to.Addr().String() == to && d.m.Type == want {
			out = append(out, d)
		}
	}
	return out
}

const (
	lacBox  = "1.1.1.1"
	lnsBox  = "2.2.2.2"
	lnsBox2 = "3.3.3.3"
	lnsBox3 = "4.4.4.4"
)

// at is where a subscriber's call goes on; empty: nowhere.
func (b *box) at(s *subscriberBox) string {
	b.t.Helper()
	for _, x := range b.look().Sessions {
		if x.TunnelID == 0 && strings.HasPrefix(x.Access, fmt.Sprintf("eth1/%d ", s.id)) && x.Forwarded != nil {
			return x.Forwarded.LNS
		}
	}
	return ""
}

// S88-S94, S158, P186-P200: whatever the login and whatever the LNS makes of it, a subscriber's call goes on there. PPPoE's PADS comes
// after the kernel hears him, and before LCP; when he goes, nothing is left.
func TestSubscriberComesUpAtAnLNS(t *testing.T) {
	for name, m := range map[string][]ppp.AuthMethod{
		"none": nil, "pap": {ppp.AuthPAP}, "chap": {ppp.AuthCHAPMD5}, "mschapv2": {ppp.AuthMSCHAPv2}, "mschapv1": {ppp.AuthMSCHAPv1},
	} {
		for mode := range 9 {
			lcp, login := ppp.ProxyLCP(mode%3), ppp.ProxyAuth(mode/3)
			t.Run(fmt.Sprintf("%s/lcp=%d/auth=%d", name, lcp, login), func(t *testing.T) {
				simulated(t, func(t *testing.T) {
					n := newInternet()
					b := n.start(t, lnsBox, changed(lnsPolicy(), func(p *policy.Policy) {
						p.Accept[0].ProxyLCP, p.Accept[0].ProxyAuth, p.Templates["dialin"].Auth = lcp, login, m
					}), true)
					defer b.stop()
					a := n.start(t, lacBox, changed(lacPolicy(lnsBox), func(p *policy.Policy) {
						p.Templates["access"].Auth = m
						if m == nil {
							p.LAC.Rules[0].Match = policy.MatchUnauthenticated
						}
					}), true)
					defer a.stop()
					synctest.Wait()
					s := a.dsl.dialIn(t, client(m...), nil)
					s.comesUp(time.Minute)
					if s.address() != "192.168.20.200" || s.early > 0 || !s.ready || a.at(s) != lnsBox {
						t.Errorf("address %s, %d frames before PADS, forwarded to %q\n%s", s.address(), s.early, a.at(s), a.log)
					}
					want := map[bool]string{true: "", false: "RouterA"}[m == nil]
					if login != ppp.ProxyAuthAccept || lcp == ppp.ProxyLCPRenegotiate || name == "mschapv2" {
						want = client(m...).User // the LNS takes the login itself
					}
					if got := b.look().Sessions[0].User; got != want && got != "RouterA" {
						t.Errorf("at the LNS he is %q, want %q", got, want)
					}
					s.close()
					s.goes(time.Minute)
					a.empty(time.Minute)
					b.until("no session", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
				})
			})
		}
	}
}

// S97: PPP ends here, by the template of the rule, or by that of the access when no rule is for anybody.
func TestSubscriberStaysHere(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(p *policy.Policy)
		want string
	}{
		"no rules": {func(p *policy.Policy) { p.LAC.Rules = nil }, "192.168.20.200"},
		"local":    {func(p *policy.Policy) { p.LAC.Rules[0].Action = policy.ActionLocal }, "192.168.20.200"},
		"local by another template": {func(p *policy.Policy) {
			p.LAC.Rules[0].Action, p.LAC.Rules[0].Template = policy.ActionLocal, "dialin"
		}, "10.5.0.1"},
		"local without the realm": {func(p *policy.Policy) { // though MS-CHAPv2 proves it
			p.LAC.Rules[0].Action, p.Templates["access"].Auth = policy.ActionLocal, []ppp.AuthMethod{ppp.AuthMSCHAPv2}
			delete(p.Users, "RouterA@corp.example")
		}, "192.168.20.200"},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				lns := lnsPolicy()
				a := n.start(t, lacBox, changed(lacPolicy(lnsBox), func(p *policy.Policy) {
					p.Users, p.Pools = lns.Users, lns.Pools
					p.Pools["more"] = &policy.Pool{Name: "more", Ranges: []policy.Range{{From: netip.MustParseAddr("10.5.0.1"), To: netip.MustParseAddr("10.5.0.9")}}}
					p.Templates["access"].IPv4Local = netip.MustParseAddr("192.168.20.1")
					p.Templates["dialin"] = &policy.Template{Name: "dialin", IPv4: true, IPv4Local: netip.MustParseAddr("10.5.0.254"), IPv4Pool: "more"}
					c.set(p)
				}), true)
				defer a.stop()
				synctest.Wait()
				s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5, ppp.AuthMSCHAPv2), nil)
				s.comesUp(time.Minute)
				if s.address() != c.want {
					t.Errorf("address %s, want %s", s.address(), c.want)
				}
				if got := a.look().Sessions; len(got) != 1 || got[0].TunnelID != 0 || got[0].Interface == "" || got[0].Forwarded != nil {
					t.Errorf("%+v", got)
				}
				s.close()
				s.goes(time.Minute)
				a.empty(time.Minute)
			})
		})
	}
}

// Who is not let in is told so, by PPP and by PADT; one line of the log says why.
func TestSubscriberIsTurnedAway(t *testing.T) {
	for name, c := range map[string]struct {
		set func(p *policy.Policy)
		log string
	}{
		"rejected":       {func(p *policy.Policy) { p.LAC.Rules[0].Action = policy.ActionReject }, "a rule rejects user"},
		"no rule":        {func(p *policy.Policy) { p.LAC.Rules[0].Match = policy.MatchLocal }, "no rule is for user"},
		"no LNS":         {func(p *policy.Policy) { p.LAC.Rules[0].LNS[0].Address = "9.9.9.9" }, "9.9.9.9"},
		"wrong password": {func(p *policy.Policy) { p.LAC.Rules[0].Action = policy.ActionLocal }, "there is no user"},
		"no name": {func(p *policy.Policy) {
			p.Templates["access"].Auth = nil
		}, "no rule is for subscribers without a login"},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				a := n.start(t, lacBox, changed(lacPolicy(lnsBox), c.set), true)
				defer a.stop()
				synctest.Wait()
				s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
				s.goes(2 * time.Minute)
				a.empty(time.Minute)
				if s.told() == "" {
					t.Errorf("he is not told: %q", s.got())
				}
				if got := strings.Count(a.log.String(), "event=call-failed"); got != 1 || !strings.Contains(a.log.String(), c.log) {
					t.Errorf("%d lines about the failure, want one with %q\n%s", got, c.log, a.log)
				}
				if strings.Contains(a.log.String(), "PasswordA") {
					t.Error("the password is in the log")
				}
			})
		})
	}
}

// What is wrong with the first LNS of a list, in every way, is no reason for a subscriber not to come up at the second; and the time that he
// waits is bounded.
func TestNextLNSIsTried(t *testing.T) {
	refuses := func(set func(p *policy.Policy)) func(t *testing.T, n *internet) *box {
		return func(t *testing.T, n *internet) *box { return n.start(t, lnsBox, changed(lnsPolicy(), set), true) }
	}
	for name, c := range map[string]struct {
		first func(t *testing.T, n *internet) *box
		lose  func(d datagram) bool
		locks bool
		full  bool // with one subscriber
		limit time.Duration
	}{
		"dead": {locks: true, limit: 15 * time.Second},
		"StopCCN": {
			first: refuses(func(p *policy.Policy) { p.Accept[0].From, _ = policy.ParseRange("10.0.0.0/8") }), locks: true, limit: 2 * time.Second,
		},
		"another secret": {
			first: refuses(func(p *policy.Policy) { p.Secrets[0].Secret = policy.NewSecret([]byte("not that one")) }), locks: true, limit: 2 * time.Second,
		},
		"CDN":      {first: refuses(func(p *policy.Policy) { p.Accept[0].MaxSessions = 1 }), full: true, limit: 2 * time.Second},
		"no role":  {first: refuses(func(p *policy.Policy) { p.Server.Mode = policy.ModeLAC }), limit: 2 * time.Second},
		"no SCCRP": {first: refuses(func(*policy.Policy) {}), lose: func(d datagram) bool { return d.m.Type == wire.MsgSCCRP && d.from.Addr().String() == lnsBox }, locks: true, limit: 15 * time.Second},
		"no ICRP":  {first: refuses(func(*policy.Policy) {}), lose: func(d datagram) bool { return d.m.Type == wire.MsgICRP && d.from.Addr().String() == lnsBox }, locks: true, limit: 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				w := tap(n)
				w.lose = c.lose
				if c.first != nil {
					b := c.first(t, n)
					defer b.stop()
				}
				good := n.start(t, lnsBox2, lnsPolicy(), true)
				defer good.stop()
				a := n.start(t, lacBox, lacPolicy(lnsBox, lnsBox2), true)
				defer a.stop()
				synctest.Wait()
				if c.full {
					a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil).comesUp(time.Minute)
				}
				s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
				s.comesUp(c.limit)
				if a.at(s) != lnsBox2 {
					t.Errorf("forwarded to %q", a.at(s))
				}
				if got := strings.Contains(a.log.String(), "event=lns-locked"); got != c.locks {
					t.Errorf("the first is left alone: %v, want %v\n%s", got, c.locks, a.log)
				}
				if got := strings.Count(a.log.String(), "event=lns-failed"); got != 1 {
					t.Errorf("%d lines about the first, want one\n%s", got, a.log)
				}
				// The next subscriber does not wait for one that is left alone.
				next := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
				next.comesUp(2 * time.Second)
				s.close()
				next.vanish()
				w.n.mu.Lock()
				w.lose = nil
				w.n.mu.Unlock()
			})
		})
	}
}

// An LNS that did not serve is tried again when its time is over, and then has the calls again.
func TestLockoutEnds(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		second := n.start(t, lnsBox2, lnsPolicy(), true)
		defer second.stop()
		a := n.start(t, lacBox, changed(lacPolicy(lnsBox, lnsBox2), func(p *policy.Policy) { p.LAC.Lockout = 5 * time.Minute }), true)
		defer a.stop()
		synctest.Wait()
		call := func() (*subscriberBox, string) {
			s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
			s.comesUp(time.Minute)
			return s, a.at(s)
		}
		if _, at := call(); at != lnsBox2 {
			t.Errorf("with the first dead: at %s", at)
		}
		if lns := a.look().Status.LNS; len(lns) != 2 || lns[0].LockedUntil.IsZero() || lns[1].Sessions != 1 {
			t.Errorf("%+v", lns)
		}
		first := n.start(t, lnsBox, lnsPolicy(), true)
		defer first.stop()
		if _, at := call(); at != lnsBox2 {
			t.Errorf("while the first is left alone: at %s", at)
		}
		time.Sleep(5 * time.Minute)
		if _, at := call(); at != lnsBox {
			t.Errorf("when its time is over: at %s", at)
		}
		if !strings.Contains(a.log.String(), "event=lns-recovered") {
			t.Errorf("nothing is said of its recovery\n%s", a.log)
		}
		if lns := a.look().Status.LNS; len(lns) != 2 || !lns[0].LockedUntil.IsZero() || lns[0].Sessions != 1 || lns[1].Sessions != 2 {
			t.Errorf("%+v", lns)
		}
	})
}

// With every LNS left alone one is tried all the same: better late than not.
func TestLockedLNSIsTheLastResort(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		a := n.start(t, lacBox, lacPolicy(lnsBox), true)
		defer a.stop()
		synctest.Wait()
		a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil).goes(time.Minute)
		b := n.start(t, lnsBox, lnsPolicy(), true)
		defer b.stop()
		a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil).comesUp(5 * time.Second)
	})
}

// Calls that wait for an LNS move on as soon as another finds that it does not serve.
func TestWaitingCallsMoveOnTogether(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox2, lnsPolicy(), true)
		defer b.stop()
		a := n.start(t, lacBox, changed(lacPolicy(lnsBox, lnsBox2), func(p *policy.Policy) { p.LAC.Attempt = 8 * time.Second }), true)
		defer a.stop()
		synctest.Wait()
		var all []*subscriberBox
		for range 5 {
			all = append(all, a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil))
			time.Sleep(1500 * time.Millisecond)
		}
		for _, s := range all { // the last has begun two seconds before
			s.comesUp(2500 * time.Millisecond)
		}
		if got := strings.Count(a.log.String(), "event=lns-locked"); got != 1 {
			t.Errorf("%d lines, want one\n%s", got, a.log)
		}
	})
}

// max_sessions bounds an LNS over all tunnels, tunnel_sessions each tunnel.
func TestLimitsOfAnLNS(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b, c := n.start(t, lnsBox, lnsPolicy(), true), n.start(t, lnsBox2, lnsPolicy(), true)
		defer b.stop()
		defer c.stop()
		a := n.start(t, lacBox, changed(lacPolicy(lnsBox, lnsBox2), func(p *policy.Policy) {
			p.LAC.Rules[0].LNS[0].MaxSessions, p.LAC.Rules[0].TunnelSessions = 5, 2
		}), true)
		defer a.stop()
		synctest.Wait()
		var all []*subscriberBox
		for i := range 7 {
			s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
			s.comesUp(time.Minute)
			all = append(all, s)
			if want := map[bool]string{true: lnsBox, false: lnsBox2}[i < 5]; a.at(s) != want {
				t.Errorf("subscriber %d is at %s, want %s", i, a.at(s), want)
			}
		}
		if x, y := len(b.look().Tunnels), len(c.look().Tunnels); x != 3 || y != 1 {
			t.Errorf("%d and %d tunnels, want 3 and 1", x, y)
		}
		all[0].close()
		all[0].goes(time.Minute)
		s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
		s.comesUp(time.Minute)
		if a.at(s) != lnsBox {
			t.Errorf("with room again at the first: at %s", a.at(s))
		}
	})
}

// least-filled counts what is there, round-robin takes turns; both by weight.
func TestBalanceOfLNSs(t *testing.T) {
	for name, c := range map[string]struct {
		balance policy.Balance
		weight  int
		want    map[string]int
	}{
		"round-robin":          {policy.BalanceRoundRobin, 1, map[string]int{lnsBox: 6, lnsBox2: 6}},
		"round-robin, weights": {policy.BalanceRoundRobin, 3, map[string]int{lnsBox: 9, lnsBox2: 3}},
		"least-filled":         {policy.BalanceLeastFilled, 1, map[string]int{lnsBox: 6, lnsBox2: 6}},
		"least-filled, weight": {policy.BalanceLeastFilled, 3, map[string]int{lnsBox: 9, lnsBox2: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				b, d := n.start(t, lnsBox, lnsPolicy(), true), n.start(t, lnsBox2, lnsPolicy(), true)
				defer b.stop()
				defer d.stop()
				a := n.start(t, lacBox, changed(lacPolicy(lnsBox, lnsBox2), func(p *policy.Policy) {
					r := &p.LAC.Rules[0]
					r.Balance, r.LNS[1].Preference, r.LNS[0].Weight = c.balance, 0, c.weight
				}), true)
				defer a.stop()
				synctest.Wait()
				got := map[string]int{}
				for range 12 {
					s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
					s.comesUp(time.Minute)
					got[a.at(s)]++
				}
				if got[lnsBox] != c.want[lnsBox] || got[lnsBox2] != c.want[lnsBox2] {
					t.Errorf("%v, want %v", got, c.want)
				}
			})
		})
	}
}

// A subscriber may go at any moment: by PADT, by the end of PPP, or without a word. Nothing of him is left at the LAC nor at the LNS, whether
// the tunnel was there or not.
func TestSubscriberGoesAtAnyMoment(t *testing.T) {
	ways := map[string]func(s *subscriberBox){
		"PADT": (*subscriberBox).vanish,
		"PPP":  (*subscriberBox).close,
		"operator": func(s *subscriberBox) {
			for _, x := range s.dsl.look().Sessions {
				if x.TunnelID == 0 {
					_, _ = s.dsl.e.Act(s.dsl.t.Context(), api.Action{Verb: api.VerbSessionClose, Session: x.ID})
				}
			}
		},
		"channel": func(s *subscriberBox) {
			if at := s.dsl.k.PPPoE(s.spec()); at != nil {
				at.Die()
			}
			time.Sleep(time.Millisecond)
			s.vanish()
		},
	}
	for name, leave := range ways {
		for tunnel, idle := range map[string]time.Duration{"": time.Second, ", tunnel there": 0} {
			t.Run(name+tunnel, func(t *testing.T) {
				simulated(t, func(t *testing.T) {
					n := newInternet()
					b := n.start(t, lnsBox, lnsPolicy(), true)
					defer b.stop()
					a := n.start(t, lacBox, changed(lacPolicy(lnsBox), func(p *policy.Policy) { p.LAC.Rules[0].Tunnel.IdleTimeout = idle }), true)
					defer a.stop()
					synctest.Wait()
					for ms := range 45 {
						s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
						time.Sleep(time.Duration(ms) * time.Millisecond)
						leave(s)
						time.Sleep(2 * time.Second)
						if len(s.ended()) == 0 && !s.refuses { // he had nothing yet to end
							s.vanish()
						}
						s.goes(2 * time.Minute)
						a.empty(time.Minute)
						b.until("no session", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
						time.Sleep(3 * time.Second) // the tunnel goes, if it may
						if t.Failed() {
							t.Fatalf("after %d ms\n%s", ms, a.log)
						}
					}
				})
			})
		}
	}
}

// The end of an LNS is told to its subscribers: PPP ends, and PADT follows. One line for each of them says why.
func TestLNSGoes(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(t *testing.T, b *box)
		text string
	}{
		"stops": {func(_ *testing.T, b *box) { b.stop() }, "at the LNS"},
		"dies":  {func(_ *testing.T, b *box) { b.kill() }, "at the LNS"},
		"closes the session": {func(t *testing.T, b *box) {
			for _, x := range b.look().Sessions {
				if _, err := b.e.Act(t.Context(), api.Action{Verb: api.VerbSessionClose, Tunnel: x.TunnelID, Session: x.ID}); err != nil {
					t.Error(err)
				}
			}
		}, ""},
		"closes the tunnel": {func(t *testing.T, b *box) {
			for _, x := range b.look().Tunnels {
				if _, err := b.e.Act(t.Context(), api.Action{Verb: api.VerbTunnelClose, Tunnel: x.ID}); err != nil {
					t.Error(err)
				}
			}
		}, "at the LNS"},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				b := n.start(t, lnsBox, lnsPolicy(), true)
				a := n.start(t, lacBox, lacPolicy(lnsBox), true)
				defer a.stop()
				synctest.Wait()
				var all []*subscriberBox
				for range 3 {
					s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
					s.comesUp(time.Minute)
					all = append(all, s)
				}
				c.end(t, b)
				for _, s := range all {
					if why := s.goes(3 * time.Minute); !strings.Contains(why, c.text) {
						t.Errorf("hung up with %q\n%s", why, a.log)
					}
				}
				a.empty(time.Minute)
				for _, s := range all {
					if s.told() == "" {
						t.Errorf("he is not told: %q", s.got())
					}
				}
				if got := strings.Count(a.log.String(), `msg="call down"`); got != 3 {
					t.Errorf("%d lines, want one for each\n%s", got, a.log)
				}
				if name == "closes the session" || name == "closes the tunnel" {
					b.stop()
				}
			})
		})
	}
}

// P153: a daemon that stops tells its subscribers and the LNS, at whatever stage a call is.
func TestLACStopsWithSubscribers(t *testing.T) {
	for _, ms := range []int{0, 3, 8, 12, 16, 20, 25, 30, 1000} {
		t.Run(fmt.Sprintf("after %d ms", ms), func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				b := n.start(t, lnsBox, lnsPolicy(), true)
				defer b.stop()
				a := n.start(t, lacBox, lacPolicy(lnsBox), true)
				synctest.Wait()
				s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
				time.Sleep(time.Duration(ms) * time.Millisecond)
				a.stop()
				if got := s.ended(); len(got) != 1 || !strings.Contains(got[0], "stopping") {
					t.Errorf("hung up with %q", got)
				}
				b.until("no session", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions)+len(s.Tunnels) == 0 })
				late := &subscriberBox{dsl: a.dsl, id: 99}
				a.dsl.ring(access.Caller{Access: policy.Access{Name: "eth1"}, PPPoE: &access.PPPoE{}}, late)("late")
			})
		})
	}
}

// The operator closes a line by its number.
func TestOperatorClosesALine(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox, lnsPolicy(), true)
		defer b.stop()
		a := n.start(t, lacBox, lacPolicy(lnsBox), true)
		defer a.stop()
		synctest.Wait()
		one, other := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil), a.dsl.dialIn(t, client(ppp.AuthPAP), nil)
		one.comesUp(time.Minute)
		other.comesUp(time.Minute)
		id := uint16(0)
		for _, x := range a.look().Sessions {
			if x.TunnelID == 0 && strings.HasPrefix(x.Access, "eth1/1 ") {
				id = x.ID
			}
		}
		if _, err := a.e.Act(t.Context(), api.Action{Verb: api.VerbSessionClose, Session: id, By: "root"}); err != nil {
			t.Fatal(err)
		}
		if why := one.goes(time.Minute); why != "closed by the operator" {
			t.Errorf("hung up with %q", why)
		}
		if _, err := a.e.Act(t.Context(), api.Action{Verb: api.VerbSessionClose, Session: 4711}); err == nil {
			t.Error("a line that is not there is closed")
		}
		b.until("one session", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 1 })
		if other.address() == "" || len(other.ended()) > 0 {
			t.Error("the other subscriber is gone, too")
		}
	})
}

// New rules hold for new calls; those that are up stay where they are (S17). A list of places that has changed is served.
func TestReloadOfRules(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b, c := n.start(t, lnsBox, lnsPolicy(), true), n.start(t, lnsBox2, lnsPolicy(), true)
		defer b.stop()
		defer c.stop()
		a := n.start(t, lacBox, lacPolicy(lnsBox), true)
		defer a.stop()
		synctest.Wait()
		old := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
		old.comesUp(time.Minute)
		a.e.Reload(changed(lacPolicy(lnsBox2), func(p *policy.Policy) { p.LAC.Access[0].PPPoE.ACName = "new" }))
		synctest.Wait()
		if a.dsl.places[0].PPPoE.ACName != "new" {
			t.Errorf("served: %+v", a.dsl.places)
		}
		young := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
		young.comesUp(time.Minute)
		if a.at(old) != lnsBox || a.at(young) != lnsBox2 {
			t.Errorf("at %s and %s", a.at(old), a.at(young))
		}
		// A place that is not served any more has its subscribers hung up by the manager, as its ring says.
		a.e.Reload(changed(lacPolicy(lnsBox2), func(p *policy.Policy) { p.LAC.Access = nil }))
		synctest.Wait()
		old.vanish()
		young.vanish()
		a.empty(time.Minute)
	})
}

// Subscribers who come and go leave neither an entry of any table nor a kernel object.
func TestSubscribersComeAndGo(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		n.ordered = true
		b := n.start(t, lnsBox, lnsPolicy(), true)
		defer b.stop()
		a := n.start(t, lacBox, lacPolicy(lnsBox), true)
		defer a.stop()
		synctest.Wait()
		for round := range 10 {
			var all []*subscriberBox
			for range 20 {
				all = append(all, a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil))
			}
			for i, s := range all {
				s.comesUp(time.Minute)
				if (i+round)%2 == 0 {
					s.vanish()
				} else {
					s.close()
				}
			}
			for _, s := range all {
				s.goes(time.Minute)
			}
			a.empty(time.Minute)
		}
		b.until("no session", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
		err := a.e.each(t.Context(), func(s *shard) {
			for _, tun := range s.tunnels {
				if len(tun.sessions) > 0 {
					t.Errorf("tunnel %d has %d sessions", tun.id, len(tun.sessions))
				}
			}
			if s.due.Len() > 5 {
				t.Errorf("shard %d has %d deadlines", s.index, s.due.Len())
			}
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// What the kernel refuses ends the call, with a line that says so, or has the next LNS tried; nothing is left.
func TestKernelRefusesALine(t *testing.T) {
	for name, op := range map[string]kerneltest.Op{"open": kerneltest.OpOpenPPPoE, "bridge": kerneltest.OpBridge, "session": kerneltest.OpCreateSession} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				b := n.start(t, lnsBox, lnsPolicy(), true)
				defer b.stop()
				a := n.start(t, lacBox, lacPolicy(lnsBox), true)
				defer a.stop()
				synctest.Wait()
				a.k.Fail(op, fmt.Errorf("refused by the test"))
				s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
				why := s.goes(time.Minute)
				if !strings.Contains(why+a.log.String(), "refused by the test") {
					t.Errorf("hung up with %q\n%s", why, a.log)
				}
				a.empty(time.Minute)
				b.until("no session", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
				a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil).comesUp(time.Minute)
			})
		})
	}
}

// An LNS gives a call back while the kernel joins it with the subscriber: the next LNS's session is joined in its place, which may not have
// been closed by then.
func TestNextLNSIsJoinedWhenTheKernelIsSlow(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b, c := n.start(t, lnsBox, lnsPolicy(), true), n.start(t, lnsBox2, lnsPolicy(), true)
		defer b.stop()
		defer c.stop()
		a := n.start(t, lacBox, lacPolicy(lnsBox, lnsBox2), true)
		defer a.stop()
		synctest.Wait()
		bridge, end := a.k.Hold(kerneltest.OpBridge), a.k.Hold(kerneltest.OpClose)
		s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
		time.Sleep(time.Second) // virtual
		closeTunnels(b)
		time.Sleep(time.Second) // virtual
		bridge()
		time.Sleep(time.Second) // virtual
		end()
		s.comesUp(time.Minute)
		if a.at(s) != lnsBox2 {
			t.Errorf("at %s\n%s", a.at(s), a.log)
		}
	})
}

// A subscriber who begins LCP anew while his call is taken to an LNS is asked about again, and comes up.
func TestSubscriberBeginsAnew(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox, lnsPolicy(), true)
		defer b.stop()
		a := n.start(t, lacBox, lacPolicy(lnsBox), true)
		defer a.stop()
		synctest.Wait()
		for ms := range 60 {
			s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
			time.Sleep(time.Duration(ms) * time.Millisecond)
			s.step(func(now time.Duration, out *ppp.Output) {
				if s.link != nil {
					clear(s.up)
					s.link = ppp.Open(&s.cfg, now, out)
				}
			})
			s.comesUp(time.Minute)
			s.vanish()
			s.goes(time.Minute)
			a.empty(time.Minute)
			b.until("no session", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
			if t.Failed() {
				t.Fatalf("after %d ms\n%s", ms, a.log)
			}
		}
	})
}

// S17: a subscriber whose PPP ends here logs in again, as after a power cut: his older session is closed, for his own address or for the
// limit, and nothing else happens. There was no tunnel to close it in: the daemon fell.
func TestSubscriberOfOursLogsInAgain(t *testing.T) {
	for name, x := range map[string]func(p *policy.Policy){
		"his own address": func(p *policy.Policy) {
			p.Users["RouterA@corp.example"].IPv4 = netip.MustParseAddr("192.168.30.1")
		},
		"one session at a time": func(p *policy.Policy) {
			p.Templates["access"].Duplicate = policy.DuplicateReplace
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				a := n.start(t, lacBox, changed(lacPolicy(lnsBox), func(p *policy.Policy) {
					p.LAC.Rules[0] = policy.Rule{Match: policy.MatchAll, Action: policy.ActionLocal}
					p.Users["RouterA@corp.example"] = &policy.User{Name: "RouterA@corp.example", Password: policy.NewSecret([]byte("PasswordA"))}
					p.Pools["ips"] = lnsPolicy().Pools["ips"]
					p.Templates["access"].IPv4Local = netip.MustParseAddr("192.168.30.254")
					x(p)
				}), true)
				defer a.stop()
				synctest.Wait()
				older := a.dsl.dialIn(t, client(ppp.AuthPAP), nil)
				older.comesUp(time.Minute)
				newer := a.dsl.dialIn(t, client(ppp.AuthPAP), nil)
				newer.comesUp(time.Minute)
				if why := older.goes(time.Minute); !strings.Contains(why, "logged in again") {
					t.Errorf("the older one hears %q", why)
				}
				if all := a.look().Sessions; len(all) != 1 || len(newer.ended()) > 0 {
					t.Errorf("%d sessions; the newer one has heard %q", len(all), newer.ended())
				}
			})
		})
	}
}
