package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpd/l2tpd/pkg/access"
	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/kernel/kerneltest"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// The LAC requires numbers while the kernel still makes the session, and then the kernel refuses it: what was to be done with the session is
// forgotten. It was done without one, and the daemon fell.
func TestSequencingOfASessionThatTheKernelRefuses(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		lac := n.start(t, "2.2.2.2", changed(pair("b", "1.1.1.1", policy.PrecedenceOut, false), func(p *policy.Policy) {
			p.Calls["remote"].Sequencing = policy.SequencingAlways
		}), true)
		defer lac.stop()
		lns := n.start(t, "1.1.1.1", changed(pair("a", "2.2.2.2", policy.PrecedenceIn, false), func(p *policy.Policy) {
			p.Calls["remote"].Method = policy.MethodOCRQ
		}), true)
		defer lns.stop()
		goOn := lns.k.Hold(kerneltest.OpCreateSession)
		lns.k.Fail(kerneltest.OpCreateSession, errors.New("too many open files"))
		lns.act(api.Action{Verb: api.VerbCallUp, Call: "remote"})
		time.Sleep(time.Second)
		goOn()
		time.Sleep(time.Second)
		if c := lns.call("remote"); c.LastError == nil || !strings.Contains(c.LastError.Text, "too many open files") {
			t.Errorf("%+v", c.LastError)
		}
	})
}

// A caller hangs up while his line is still being told which characters to escape: no LNS is asked for somebody who has gone.
func TestNoLNSIsAskedForWhoHasGone(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox, lnsPolicy(), true)
		defer b.stop()
		a := n.start(t, lacBox, lacPolicy(lnsBox), true)
		defer a.stop()
		synctest.Wait()
		goOn := a.k.Hold(kerneltest.OpSetACCM)
		s := a.dsl.callIn(t, client(ppp.AuthCHAPMD5))
		time.Sleep(5 * time.Second)
		s.vanish()
		time.Sleep(time.Second)
		goOn()
		s.goes(time.Minute)
		time.Sleep(time.Minute)
		if len(n.messages(netip.MustParseAddr(lacBox), wire.MsgICRQ)) > 0 {
			t.Error("an LNS is asked for a session for somebody who has gone")
		}
		a.empty(5 * time.Minute)
	})
}

// What a subscriber sends and gets whose PPP ends here is no data of tunnels, neither while he is up nor when he has gone.
func TestDataOfALineIsNoDataOfTunnels(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		a := n.start(t, lacBox, changed(lacPolicy(), func(p *policy.Policy) {
			p.LAC.Rules[0].Action, p.LAC.Rules[0].StripRealm = policy.ActionLocal, true
			p.Templates["access"].IPv4Local = netip.MustParseAddr("10.7.0.1")
			p.Users["RouterA"] = &policy.User{Name: "RouterA", Password: policy.NewSecret([]byte("PasswordA")), IPv4: netip.MustParseAddr("10.7.0.7")}
		}), true)
		defer a.stop()
		synctest.Wait()
		s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
		s.comesUp(time.Minute)
		for range 10 {
			s.channel().Inject([]byte("\x00\x21" + strings.Repeat("x", 100)))
		}
		time.Sleep(time.Second)
		v := a.look()
		if v.Sessions[0].Data.InPackets == 0 {
			t.Error("nothing has passed")
		}
		s.close()
		s.goes(time.Minute)
		if c := a.look().Status.Counters; c.Data.InPackets > 0 || c.InMessages > 0 {
			t.Errorf("no L2TP was spoken: %+v, %d", c.Data, c.InMessages)
		}
	})
}

// P205, P206: the ACCM that the last LNS has agreed on goes on to the LAC that has the line.
func TestACCMOfASwitchedCall(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		w := tap(n)
		lns := n.start(t, lnsBox2, changed(lnsPolicy(), func(p *policy.Policy) { p.Accept[0].ProxyLCP = ppp.ProxyLCPRenegotiate }), true)
		middle := n.start(t, lnsBox, relaying(lnsBox2), true)
		a := n.start(t, lacBox, lacPolicy(lnsBox), true)
		defer lns.stop()
		defer middle.stop()
		defer a.stop()
		synctest.Wait()
		s := a.dsl.callIn(t, client(ppp.AuthCHAPMD5))
		s.comesUp(time.Minute)
		time.Sleep(time.Minute)
		all := w.of(lacBox, wire.MsgSLI)
		if last := all[len(all)-1]; !strings.HasSuffix(fmt.Sprint(last.m), fmt.Sprint(w.of(lnsBox, wire.MsgSLI)[0].m.AVPs)+"}") && len(all) < 2 {
			t.Errorf("the first LAC hears of %v alone", all)
		}
		if strings.Contains(middle.log.String(), "ACCM of a line") {
			t.Error("the switch complains")
		}
	})
}

// Pools that a reload renames, or cuts anew, give nobody what a live session has.
func TestPoolsOfAReloadGiveNothingTwice(t *testing.T) {
	for _, what := range []string{"renamed", "length"} {
		t.Run(what, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				lns := func(name string, length int) *policy.Policy {
					p := changed(lasting(), func(p *policy.Policy) {
						t := p.Templates["dialin"]
						t.IPv6, t.DelegatedPool = true, "sites"
						t.IPv4Pool = name
						ips := p.Pools["ips"]
						delete(p.Pools, "ips")
						ips.Name = name
						ips.Ranges[0].To = netip.MustParseAddr("192.168.20.240")
						p.Pools[name] = ips
						p.Pools["sites"] = &policy.Pool{Name: "sites", Prefixes: networks("2001:db8:2::/48"), Length: length}
					})
					fixed(p, "x", "")
					fixed(p, "y", "")
					return p
				}
				b := n.start(t, "2.2.2.2", lns("ips", 56), true)
				defer b.stop()
				q := login("x", "y")
				q.Calls["c0"].AutoStart, q.Calls["c1"].AutoStart = false, false
				q.Calls["c0"].PPP.IPv6, q.Calls["c1"].PPP.IPv6 = true, true
				a := n.start(t, "1.1.1.1", q, true)
				defer a.stop()
				a.begins("c0")
				if what == "renamed" {
					b.e.Reload(lns("callers", 56))
				} else {
					b.e.Reload(lns("ips", 60))
				}
				time.Sleep(time.Second)
				a.begins("c1")
				time.Sleep(time.Second)
				v := b.look().Sessions
				if v[0].PeerIPv4 == v[1].PeerIPv4 || v[0].IPv6Delegated.Overlaps(v[1].IPv6Delegated) {
					t.Errorf("%v %v and %v %v", v[0].PeerIPv4, v[0].IPv6Delegated, v[1].PeerIPv4, v[1].IPv6Delegated)
				}
			})
		})
	}
}

// A call that cannot be placed leaves nothing behind.
func TestCallThatCannotBePlacedLeavesNoContext(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n, gone := newInternet(), make(chan struct{})
		lns, lac, _ := placing(t, n, gone)
		defer lac.stop()
		defer lns.stop()
		dialling := make(chan context.Context, 1)
		lac.dsl.mu.Lock()
		lac.dsl.dialled = func(ctx context.Context) (access.Caller, access.Line, error) {
			dialling <- ctx
			return access.Caller{}, nil, errors.New("busy")
		}
		lac.dsl.mu.Unlock()
		time.Sleep(time.Minute) // virtual
		if (<-dialling).Err() == nil {
			t.Error("the context of a call that failed lives on")
		}
		close(gone)
	})
}

// P244: a server cannot change the times of a call that was placed for an LNS, whose PPP it is, and is told so.
func TestTimesOfAPlacedCallAreTheLNSs(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n, gone := newInternet(), make(chan struct{})
		lns, lac, _ := placing(t, n, gone)
		defer lac.stop()
		defer lns.stop()
		close(gone)
		time.Sleep(10 * time.Second)
		v := lac.look().Sessions
		port := uint32(v[0].ID)
		hour := time.Hour
		if got := lac.e.RADIUS().Change(t.Context(), radius.Match{Port: &port}, radius.Change{SessionTimeout: &hour}); got == radius.Done {
			t.Error("done, and nothing has come of it")
		}
	})
}

// S17: a configured call does not get the address that a caller has from a pool, though a reload says that it is the call's.
func TestCallDoesNotTakeACallersAddress(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		lns := func(more bool) *policy.Policy {
			p := lasting()
			fixed(p, "x", "")
			if more {
				p.Calls["c1"] = &policy.Call{Name: "c1", Peer: "1.1.1.9", PPP: policy.CallPPP{
					Template: "dialin", IPv4: ppp.IPv4Own, Local: netip.MustParseAddr("192.168.20.1"), Peer: netip.MustParseAddr("192.168.20.200"),
				}}
			}
			return p
		}
		b := n.start(t, "2.2.2.2", lns(false), true)
		defer b.stop()
		a := n.start(t, "1.1.1.1", login("x"), true)
		defer a.stop()
		a.up("c0", time.Minute)
		b.e.Reload(lns(true))
		q := login("x", "x")
		delete(q.Calls, "c0")
		c := n.start(t, "1.1.1.9", q, true)
		defer c.stop()
		time.Sleep(time.Minute)
		seen := map[netip.Addr]bool{}
		for _, s := range b.look().Sessions {
			if s.State == "established" && seen[s.PeerIPv4] && s.PeerIPv4.IsValid() {
				t.Errorf("two sessions have %v", s.PeerIPv4)
			}
			seen[s.PeerIPv4] = true
		}
	})
}

// A LAC that passes a password on in clear, to an LNS that has proved nothing, says so as the LNS does.
func TestPasswordsThatArePassedOnInClear(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox, changed(lnsPolicy(), func(p *policy.Policy) { p.Secrets = nil }), true)
		defer b.stop()
		a := n.start(t, lacBox, changed(lacPolicy(lnsBox), func(p *policy.Policy) { p.LAC.Rules[0].Secret = policy.Secret{} }), true)
		defer a.stop()
		synctest.Wait()
		s := a.dsl.dialIn(t, client(ppp.AuthPAP), nil)
		s.comesUp(time.Minute)
		if len(a.look().Status.ClearText) == 0 || len(b.look().Status.ClearText) == 0 {
			t.Errorf("LAC %v, LNS %v", a.look().Status.ClearText, b.look().Status.ClearText)
		}
	})
}

// A subscriber begins LCP anew while the rule about him waits for the kernel: the rule's template holds all the same.
func TestTemplateOfARuleForWhoBeginsAnew(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		a := n.start(t, lacBox, changed(lacPolicy(), func(p *policy.Policy) {
			p.LAC.Rules[0].Action, p.LAC.Rules[0].StripRealm, p.LAC.Rules[0].Template = policy.ActionLocal, true, "stays"
			p.Templates["access"].IPv4, p.Templates["access"].IPv4Pool = false, ""
			p.Templates["stays"] = &policy.Template{Name: "stays", IPv4: true, IPv4Local: netip.MustParseAddr("10.7.0.1"), Auth: p.Templates["access"].Auth}
			p.Users["RouterA"] = &policy.User{Name: "RouterA", Password: policy.NewSecret([]byte("PasswordA")), IPv4: netip.MustParseAddr("10.7.0.7")}
		}), true)
		defer a.stop()
		synctest.Wait()
		goOn := a.k.Hold(kerneltest.OpSetACCM)
		s := a.dsl.callIn(t, client(ppp.AuthCHAPMD5))
		time.Sleep(5 * time.Second)
		s.channel().Inject([]byte("\xc0\x21\x01\x63\x00\x0a\x05\x06\x01\x02\x03\x04")) // he negotiates anew
		time.Sleep(time.Second)
		goOn()
		time.Sleep(40 * time.Second)
		if !strings.Contains(a.log.String(), "remote=10.7.0.7") {
			t.Errorf("the rule's template does not hold\n%s", a.log)
		}
	})
}

// P205, P206: the line of a call that was placed for an LNS is told what the LNS has agreed on.
func TestACCMOfAPlacedCall(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n, gone := newInternet(), make(chan struct{})
		lns, lac, _ := placing(t, n, gone)
		defer lac.stop()
		defer lns.stop()
		close(gone)
		time.Sleep(10 * time.Second)
		lns.theSession(func(s *session) {
			s.t.do(control.CmdSendSLI{Session: s.id, Send: 0, Receive: 0})
		})
		time.Sleep(time.Second)
		if !strings.Contains(strings.Join(lac.k.Calls(), "; "), "set accm") {
			t.Error("the line is not told what the LNS has agreed on")
		}
	})
}

// P204: errors on the first LAC's line are told to the last LNS.
func TestLineErrorsOfASwitchedCall(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		w := tap(n)
		lns := n.start(t, lnsBox2, lnsPolicy(), true)
		middle := n.start(t, lnsBox, relaying(lnsBox2), true)
		a := n.start(t, lacBox, lacPolicy(lnsBox), true)
		defer lns.stop()
		defer middle.stop()
		defer a.stop()
		synctest.Wait()
		s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
		s.comesUp(time.Minute)
		_ = a.e.shards[0].in(t.Context(), func() {
			for _, x := range a.e.shards[0].tunnels {
				for _, s := range x.sessions {
					x.do(control.CmdSendWEN{Session: s.id, Errors: [6]uint32{0, 7}})
				}
			}
		})
		time.Sleep(10 * time.Second)
		if len(w.of(lnsBox, wire.MsgWEN)) != len(w.of(lnsBox2, wire.MsgWEN)) {
			t.Error("the LNS does not hear of line errors")
		}
	})
}

// A line that is not there is not a session of that number in some tunnel.
func TestQueryOfALine(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox, lnsPolicy(), true)
		defer b.stop()
		a := n.start(t, lacBox, lacPolicy(lnsBox), true)
		defer a.stop()
		synctest.Wait()
		s := a.dsl.dialIn(t, client(ppp.AuthPAP), nil)
		s.comesUp(time.Minute)
		var far uint16
		for _, v := range a.look().Sessions {
			if v.TunnelID != 0 {
				far = v.ID
			}
		}
		snap, err := a.e.Snapshot(t.Context(), api.Query{Sessions: true, Session: far}) // what session show line/N asks
		if err != nil || len(snap.Sessions) > 0 {
			t.Errorf("there is no such line: %+v, %v", snap.Sessions, err)
		}
	})
}

// A reload makes the template of a place one of pppds, and gives the place another: who arrives before the place knows is no pppd's, which
// cannot have him.
func TestSubscriberWhoArrivesWhileHisTemplateBecomesPppds(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		pol := func(after bool) *policy.Policy {
			return changed(lacPolicy(), func(p *policy.Policy) {
				p.LAC.Rules[0].Action = policy.ActionLocal
				p.Pools["ips"] = lnsPolicy().Pools["ips"]
				p.Templates["access"].IPv4Local = netip.MustParseAddr("10.7.0.1")
				if after {
					plain := *p.Templates["access"]
					plain.Name = "dsl"
					p.Templates["dsl"], p.LAC.Access[0].Template = &plain, "dsl"
					p.Templates["access"].Engine = policy.EnginePppd
				}
			})
		}
		a := n.start(t, lacBox, pol(false), true)
		defer a.stop()
		synctest.Wait()
		a.e.Reload(pol(true))
		a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil) // before Serve has told eth1 of it
		time.Sleep(time.Minute)
	})
}

// A redial is due when the policy is there already, but not yet told to the call: it waits for that, for with the half of it the call would come
// up without the login that its template demands.
func TestRedialWhileAReloadIsOnItsWay(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		pol := func(name string) *policy.Policy {
			p := pair("a", "2.2.2.2", policy.PrecedenceIn, false)
			p.Templates = map[string]*policy.Template{name: {Name: name, IPv4: true, Auth: []ppp.AuthMethod{ppp.AuthCHAPMD5}, Echo: 10 * time.Second}}
			p.Users = map[string]*policy.User{}
			fixed(p, "box", "")
			p.Calls["remote"].PPP.Template = name
			return p
		}
		b := n.start(t, "2.2.2.2", changed(pair("b", "1.1.1.1", policy.PrecedenceOut, false), func(p *policy.Policy) {
			c := p.Calls["remote"]
			c.PPP.User, c.PPP.Password = "box", policy.NewSecret([]byte("of box"))
		}), true)
		defer b.stop()
		a := n.start(t, "1.1.1.1", pol("lan"), true)
		defer a.stop()
		synctest.Wait()
		p := pol("wan")
		_ = a.e.shards[0].in(t.Context(), func() { // Reload, with a redial that is due between its Store and its post
			a.e.policy.Store(p)
			x := a.e.shards[0].dialers.byName["remote"]
			x.wanted = true
			x.dial()
		})
		a.e.Reload(p)
		a.up("remote", time.Minute)
		if v := a.look().Sessions[0]; v.Auth != "chap" {
			t.Errorf("up without a login: auth %q", v.Auth)
		}
	})
}
