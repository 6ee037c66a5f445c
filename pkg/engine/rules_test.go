package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/kernel/kerneltest"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// lasting is acceptor without an idle time.
func lasting() *policy.Policy {
	p := acceptor()
	p.Templates["dialin"].IdleTimeout = 0
	return p
}

func changed(p *policy.Policy, f func(p *policy.Policy)) *policy.Policy {
	f(p)
	return p
}

// A request that policy refuses ends at once, with the stage and the refuser's words at the caller, the reason at the refuser, and
// nothing of it is left: S44, S46-S48, S52, S79-S85, P57, P59, P62, P88.
func TestRefusals(t *testing.T) {
	// long: a table
	for name, c := range map[string]struct {
		accept func(p *policy.Policy)
		call   func(c *policy.Call)
		stage  string
		peer   string // in the caller's last error
		reason string // in the refuser's log
		silent bool   // the refuser says nothing on the wire (S52)
	}{
		"no role": {
			accept: func(p *policy.Policy) { p.Server.Mode = policy.ModeNone },
			stage:  "tunnel authentication", peer: "not authorised (4)", reason: "server.mode is none",
		},
		"LAC asked for an incoming call": {
			accept: func(p *policy.Policy) { p.Server.Mode = policy.ModeLAC },
			stage:  "session", peer: "no facilities at all (5)", reason: "without the LNS role",
		},
		"LNS asked for an outgoing call": {
			accept: func(p *policy.Policy) { p.Server.Mode = policy.ModeLNS },
			call:   func(c *policy.Call) { c.Method = policy.MethodOCRQ },
			stage:  "session", peer: "cannot place calls",
		},
		"default deny": {
			accept: func(p *policy.Policy) { p.Accept[0].From, _ = policy.ParseRange("10.0.0.0/8") },
			stage:  "tunnel authentication", peer: "not authorised (4)", reason: "no accept entry and no call for 1.1.1.1",
		},
		"filtered": {
			accept: func(p *policy.Policy) {
				r, _ := policy.ParseRange("10.0.0.0/8")
				p.Server.AllowFrom = []policy.Range{r}
			},
			stage: "transport", silent: true,
		},
		"too many tunnels": {
			accept: func(p *policy.Policy) { p.Server.MaxTunnels = -1 },
			stage:  "tunnel", peer: "try another", reason: "max_tunnels is reached",
		},
		"unknown name": {
			call:  func(c *policy.Call) { c.Remote = "nobody" },
			stage: "session", peer: "invalid destination (6)", reason: "nobody",
			accept: func(p *policy.Policy) { p.Accept = nil; p.Calls["x"] = &policy.Call{Name: "x", Peer: "1.1.1.1"} },
		},
		"challenge without a secret here": {
			accept: func(p *policy.Policy) { p.Secrets = nil },
			stage:  "tunnel authentication", peer: "no secret", reason: "no secret",
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				q := lasting()
				if c.accept != nil {
					c.accept(q)
				}
				p := initiators(1)
				if c.call != nil {
					c.call(p.Calls["c0"])
				}
				b := n.start(t, "2.2.2.2", q, true)
				a := n.start(t, "1.1.1.1", p, true)
				a.until("an error", time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].LastError != nil })
				got := a.look().Calls[0].LastError
				if got.Stage != c.stage || !strings.Contains(got.Text, c.peer) {
					t.Errorf("stage %q, text %q, want stage %q and %q", got.Stage, got.Text, c.stage, c.peer)
				}
				if !strings.Contains(b.log.String(), c.reason) {
					t.Errorf("the refuser does not say %q:\n%s", c.reason, b.log)
				}
				if warnings := strings.Count(a.log.String(), "level=WARN"); warnings != 1 {
					t.Errorf("%d warnings, want one\n%s", warnings, a.log)
				}
				if said := len(n.datagrams(b.addr)); said == 0 != c.silent {
					t.Errorf("%d datagrams of the refuser", said)
				}
				if c.silent && b.look().Status.Counters.Discarded.Filtered == 0 {
					t.Error("filtered packets are not counted")
				}
				a.stop()
				b.until("nothing left", 2*time.Minute, func(s *api.Snapshot) bool {
					return len(s.Tunnels) == 0 && len(s.Sessions) == 0 && s.Status.HalfOpen == 0
				})
				b.stop()
			})
		})
	}
}

// The limits of an accept entry hold over all shards, and what goes makes room (P59: try another).
func TestLimitsOfAnAcceptEntry(t *testing.T) {
	t.Run("tunnels", func(t *testing.T) {
		simulated(t, func(t *testing.T) {
			n := newInternet()
			b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) {
				p.Accept[0].MaxTunnels = 3
				p.Pools["ips"].Ranges[0].To = netip.MustParseAddr("192.168.20.250")
			}), true)
			defer b.stop()
			var callers []*box
			for i := range 8 {
				a := n.start(t, netip.AddrFrom4([4]byte{1, 1, 1, byte(1 + i)}).String(), one(autostart), true)
				callers = append(callers, a)
				time.Sleep(10 * time.Millisecond) // virtual
			}
			time.Sleep(30 * time.Second) // virtual
			if got := b.look().Status.Tunnels; got != 3 {
				t.Errorf("%d tunnels, want 3\n%s", got, b.log)
			}
			refused := slices.IndexFunc(callers, func(a *box) bool { return a.theCall().State != api.CallUp })
			if e := callers[refused].theCall().LastError; e == nil || !strings.Contains(e.Text, "try another") {
				t.Errorf("last error %+v, want try another", e)
			}
			callers[0].stop()
			b.until("room for two", time.Minute, func(s *api.Snapshot) bool { return s.Status.Tunnels == 2 })
			b.until("another in its place", 5*time.Minute, func(s *api.Snapshot) bool { return s.Status.Tunnels == 3 })
			for _, a := range callers[1:] {
				a.stop()
			}
		})
	})
	t.Run("sessions", func(t *testing.T) {
		simulated(t, func(t *testing.T) {
			n := newInternet()
			b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) { p.Accept[0].MaxSessions = 1 }), true)
			a := n.start(t, "1.1.1.1", initiators(2), true)
			defer b.stop()
			defer a.stop()
			a.until("one up, one refused", time.Minute, func(s *api.Snapshot) bool {
				return s.Status.Calls.Up == 1 && slices.ContainsFunc(s.Calls, func(c api.Call) bool {
					return c.LastError != nil && strings.Contains(c.LastError.Text, "try another (7)")
				})
			})
			for _, c := range a.look().Calls {
				if c.State == api.CallUp {
					a.act(api.Action{Verb: api.VerbCallDown, Call: c.Name})
				}
			}
			a.until("the other", 5*time.Minute, func(s *api.Snapshot) bool { return s.Status.Calls.Up == 1 })
		})
	})
}

// S17, S160: a user has his own address, which no pool gives away, and the networks behind him. Who logs in again takes it from
// his older session.
func TestUserHasHisOwnAddress(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		own := netip.MustParseAddr("192.168.20.200") // the pool's first
		b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) {
			p.Users["RouterA"].IPv4 = own
			p.Users["RouterA"].Routes = networks("192.168.30.0/24")
			p.Users["guest"] = &policy.User{Name: "guest", Password: policy.NewSecret([]byte("guest"))}
		}), true)
		defer b.stop()
		guest := n.start(t, "1.1.1.9", one(func(c *policy.Call) {
			c.AutoStart, c.PPP.User, c.PPP.Password = true, "guest", policy.NewSecret([]byte("guest"))
		}), true)
		defer guest.stop()
		guest.up("c0", time.Minute)
		if got := guest.look().Sessions[0].LocalIPv4; got == own {
			t.Errorf("the guest has %v, which is the user's own", got)
		}
		a := n.start(t, "1.1.1.1", one(autostart), true)
		a.up("c0", time.Minute)
		if got := a.look().Sessions[0].LocalIPv4; got != own {
			t.Errorf("the user has %v, want %v", got, own)
		}
		b.mu.Lock()
		routed := 0
		for _, i := range b.applied {
			if i.Peer == own && slices.Equal(i.Routes, networks("192.168.30.0/24")) {
				routed++
			}
		}
		b.mu.Unlock()
		if routed != 1 {
			t.Errorf("%d interfaces with the user's network, want 1", routed)
		}

		a.kill() // and comes back with another address
		again := n.start(t, "1.1.1.2", one(autostart), true)
		defer again.stop()
		again.up("c0", 10*time.Second)
		s := b.look()
		if len(s.Sessions) != 2 || !strings.Contains(b.log.String(), "the user has logged in again") {
			t.Errorf("%d sessions, want the guest's and the new one\n%s", len(s.Sessions), b.log)
		}
	})
}

// A reload that changes a pool does not give away what live sessions have, nor what became somebody's own.
func TestReloadOfAPoolKeepsWhatIsInUse(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", lasting(), true)
		a := n.start(t, "1.1.1.1", initiators(4), true)
		defer b.stop()
		defer a.stop()
		a.until("two up", time.Minute, func(s *api.Snapshot) bool { return s.Status.Calls.Up == 2 })
		b.e.Reload(changed(lasting(), func(p *policy.Policy) {
			p.Pools["ips"].Ranges[0].To = netip.MustParseAddr("192.168.20.203")
			p.Templates["dialin"].IPv4Local = netip.MustParseAddr("192.168.20.202")
		}))
		a.until("three up", 5*time.Minute, func(s *api.Snapshot) bool { return s.Status.Calls.Up == 3 })
		time.Sleep(5 * time.Minute) // virtual
		var have []string
		for _, s := range a.look().Sessions {
			if s.LocalIPv4.IsValid() {
				have = append(have, s.LocalIPv4.String())
			}
		}
		slices.Sort(have)
		if diff := cmp.Diff([]string{"192.168.20.200", "192.168.20.201", "192.168.20.203"}, have); diff != "" {
			t.Errorf("addresses (-want +got):\n%s", diff)
		}
	})
}

// S13, S19: the fixed side never sends SCCRQ; its peer reaches it from wherever it is.
func TestPassiveCallWaits(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		p := pair("b", "", policy.PrecedenceIn, true)
		p.Calls["remote"].Passive = true
		b := n.start(t, "2.2.2.2", p, true)
		defer b.stop()
		time.Sleep(10 * time.Minute) // virtual
		if n.saw(b.addr, wire.MsgSCCRQ) || b.theCall().State != api.CallPassive {
			t.Fatalf("state %s, SCCRQ sent: %v", b.theCall().State, n.saw(b.addr, wire.MsgSCCRQ))
		}
		a := n.start(t, "9.9.9.9", pair("a", "2.2.2.2", policy.PrecedenceOut, true), true)
		defer a.stop()
		a.up("remote", time.Minute)
		b.up("remote", time.Minute)
		if s := b.look().Sessions[0]; s.Call != "remote" {
			t.Errorf("session of call %q, want remote", s.Call)
		}
	})
}

// S186, P94-P109: a virtual call by OCRQ: who asks is the LNS, who answers the LAC.
func TestVirtualCallByOCRQ(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", pair("b", "1.1.1.1", policy.PrecedenceOut, false), true)
		a := n.start(t, "1.1.1.1", changed(pair("a", "2.2.2.2", policy.PrecedenceIn, true), func(p *policy.Policy) {
			p.Calls["remote"].Method = policy.MethodOCRQ
		}), true)
		defer b.stop()
		defer a.stop()
		a.up("remote", time.Minute)
		b.up("remote", time.Minute)
		if x, y := a.look().Sessions[0].Role, b.look().Sessions[0].Role; x != "lns-outgoing" || y != "lac-outgoing" {
			t.Errorf("roles %s and %s", x, y)
		}
	})
}

// OCCN that came while the kernel's tunnel was still being made was forgotten: the caller never began PPP.
func TestOCCNBeforeTheDataPathIsNotForgotten(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", pair("b", "1.1.1.1", policy.PrecedenceOut, false), true)
		a := n.start(t, "1.1.1.1", changed(pair("a", "2.2.2.2", policy.PrecedenceIn, false), func(p *policy.Policy) {
			p.Calls["remote"].Method = policy.MethodOCRQ
		}), true)
		defer b.stop()
		defer a.stop()
		release := a.k.Hold(kerneltest.OpCreateTunnel)
		a.act(api.Action{Verb: api.VerbCallUp, Call: "remote"})
		time.Sleep(2 * time.Second) // virtual
		if len(n.messages(b.addr, wire.MsgOCCN)) == 0 {
			t.Fatal("OCCN has not come yet")
		}
		release()
		a.up("remote", 10*time.Second)
		if v := a.look().Calls[0]; v.Attempts.Out != 1 {
			t.Errorf("%d attempts", v.Attempts.Out)
		}
	})
}

// S66, P174-P180: what the kernel is told about data sequence numbers, by mode and role, while PPP negotiates and afterwards.
func TestSequencingReachesTheKernel(t *testing.T) {
	type numbering struct{ send, require, lns bool }
	for name, c := range map[string]struct {
		accept, call policy.Sequencing
		lns, lac     numbering // first
		lnsUp        numbering // when the call is up
	}{
		"on request": {lns: numbering{lns: true}, lnsUp: numbering{lns: true}},
		"always as LNS": {
			accept: policy.SequencingAlways,
			lns:    numbering{true, true, true}, lnsUp: numbering{true, true, true},
		},
		"always as LAC": { // Sequencing Required in ICCN
			call: policy.SequencingAlways,
			lns:  numbering{lns: true}, lac: numbering{send: true, require: true}, lnsUp: numbering{true, true, true},
		},
		"startup": {
			accept: policy.SequencingStartup,
			lns:    numbering{send: true, lns: true}, lnsUp: numbering{lns: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) { p.Accept[0].Sequencing = c.accept }), true)
				a := n.start(t, "1.1.1.1", one(func(x *policy.Call) { x.AutoStart, x.Sequencing = true, c.call }), true)
				defer b.stop()
				defer a.stop()
				at := func(x *box) numbering {
					s := x.look().Sessions
					if len(s) == 0 {
						return numbering{}
					}
					info, err := x.k.SessionInfo(s[0].TunnelID, s[0].ID)
					if err != nil {
						return numbering{}
					}
					q := info.Sequencing
					if (q.Send || q.Require) && q.Reorder != reorder {
						t.Errorf("reorder time-out %v", q.Reorder)
					}
					return numbering{q.Send, q.Require, q.LNS}
				}
				release := b.k.Hold(kerneltest.OpSetSequencing)
				a.until("both ends in the kernel", time.Minute, func(*api.Snapshot) bool { return len(b.k.Calls()) > 1 && len(a.k.Calls()) > 1 })
				time.Sleep(time.Second) // virtual
				first := [2]numbering{at(b), at(a)}
				release()
				a.up("c0", time.Minute)
				time.Sleep(time.Second) // virtual
				if first[0] != c.lns || first[1] != c.lac {
					t.Errorf("at first %+v and %+v, want %+v and %+v", first[0], first[1], c.lns, c.lac)
				}
				if got := at(b); got != c.lnsUp {
					t.Errorf("when up %+v, want %+v", got, c.lnsUp)
				}
			})
		})
	}
}

// S184, P112: the tunnel goes some time after its last session, unless it is to stay; a session meanwhile keeps it.
func TestIdleTunnelGoes(t *testing.T) {
	for name, c := range map[string]struct {
		idle time.Duration
		gone time.Duration // after the last session; 0: never
	}{
		"after its time": {20 * time.Second, 20 * time.Second},
		"never":          {-1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) { p.Server.Tunnel.IdleTimeout = -1 }), true)
				a := n.start(t, "1.1.1.1", one(func(x *policy.Call) { x.AutoStart, x.Tunnel.IdleTimeout = true, c.idle }), true)
				defer b.stop()
				defer a.stop()
				a.up("c0", time.Minute)
				time.Sleep(time.Hour) // virtual
				a.act(api.Action{Verb: api.VerbCallDown, Call: "c0"})
				a.until("no session", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
				time.Sleep(c.idle - time.Second)
				if len(a.look().Tunnels) != 1 || len(b.look().Tunnels) != 1 {
					t.Fatal("the tunnel went too early")
				}
				if c.gone == 0 {
					time.Sleep(24 * time.Hour) // virtual
					if len(a.look().Tunnels) != 1 {
						t.Error("the tunnel was to stay")
					}
					return
				}
				time.Sleep(5 * time.Second)
				if s := b.look(); s.Status.Tunnels != 0 || !strings.Contains(b.log.String(), "no sessions") {
					t.Errorf("%d tunnels at the peer, want none\n%s", s.Status.Tunnels, b.log)
				}
			})
		})
	}
}

// P149, P150: silence is broken by HELLO, and data in the kernel is no silence. A call's hello 0 sends none.
func TestDataInTheKernelSuppressesHello(t *testing.T) {
	for name, c := range map[string]struct {
		hello time.Duration
		data  bool
		want  bool
	}{
		"silence": {hello: 30 * time.Second, want: true},
		"data":    {hello: 30 * time.Second, data: true},
		"off":     {},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) { p.Server.Tunnel.Hello = 0 }), true)
				a := n.start(t, "1.1.1.1", one(func(x *policy.Call) { x.AutoStart, x.Tunnel.Hello = true, c.hello }), true)
				defer b.stop()
				defer a.stop()
				a.up("c0", time.Minute)
				b.until("up", time.Minute, func(s *api.Snapshot) bool { return s.Sessions[0].IPCP == "Opened" })
				s := b.look().Sessions[0]
				for range 30 {
					time.Sleep(10 * time.Second) // virtual
					if c.data {
						b.k.Session(s.TunnelID, s.ID).Network(kernel.IPv4, []byte{0x45})
					}
				}
				if got := n.saw(a.addr, wire.MsgHello); got != c.want {
					t.Errorf("HELLO sent: %v, want %v", got, c.want)
				}
				if c.data { // the last was a moment ago: silence begins
					time.Sleep(29 * time.Second) // virtual
					early := n.saw(a.addr, wire.MsgHello)
					time.Sleep(9 * time.Second) // virtual: an interval and a quarter
					if late := n.saw(a.addr, wire.MsgHello); early || !late {
						t.Errorf("HELLO after 29 s of silence: %v; after 38 s: %v", early, late)
					}
				}
				if got := len(a.look().Sessions); got != 1 {
					t.Errorf("%d sessions, want 1", got)
				}
			})
		})
	}
}

// S14, P155: source_port: ephemeral: control leaves from a port of the tunnel's own, and the tunnel's socket has the same.
func TestCallFromAPortOfItsOwn(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", lasting(), true)
		a := n.start(t, "1.1.1.1", one(func(c *policy.Call) { c.AutoStart, c.EphemeralPort = true, true }), true)
		defer b.stop()
		a.up("c0", time.Minute)
		local := a.look().Tunnels[0].Local
		if local.Port() == 1701 || b.look().Tunnels[0].Remote != local {
			t.Errorf("tunnel from %v, at the peer %v", local, b.look().Tunnels[0].Remote)
		}
		a.mu.Lock()
		if !a.ports[local] || !slices.Contains(a.connected, local) {
			t.Errorf("ports %v, sockets %v, want %v in both", a.ports, a.connected, local)
		}
		a.mu.Unlock()
		a.act(api.Action{Verb: api.VerbTunnelClose, Tunnel: a.look().Tunnels[0].ID})
		a.until("dialled again", time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].Attempts.Succeeded == 2 })
		a.stop() // checks that every port is closed
	})
}

// An old kernel mixes up tunnels between the same addresses and ports: a second one of ours leaves from a port of its own.
func TestSecondTunnelOnAnOldKernelHasItsOwnPort(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", lasting(), false)
		p := initiators(2)
		p.Calls["c0"].OwnTunnel, p.Calls["c1"].OwnTunnel = true, true
		a := n.start(t, "1.1.1.1", p, false)
		defer b.stop()
		defer a.stop()
		a.until("both up", time.Minute, func(s *api.Snapshot) bool { return s.Status.Calls.Up == 2 })
		s := a.look()
		if len(s.Tunnels) != 2 || s.Tunnels[0].Local == s.Tunnels[1].Local {
			t.Errorf("tunnels %+v, want two from different ports", s.Tunnels)
		}
	})
}

// A tunnel that came up before its peer became that of a configured call makes way for one that the call can use.
func TestCallConfiguredWhileItsPeerHasATunnel(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		p := pair("b", "1.1.1.1", policy.PrecedenceOut, false)
		call := p.Calls["remote"]
		p.Calls = map[string]*policy.Call{}
		p.Accept = []policy.Accept{{Template: "lan", ProxyLCP: ppp.ProxyLCPMismatch}}
		p.Templates["lan"].IPv4 = true
		b := n.start(t, "2.2.2.2", p, true)
		a := n.start(t, "1.1.1.1", changed(pair("a", "2.2.2.2", policy.PrecedenceIn, true), func(p *policy.Policy) {
			p.Calls["remote"].RedialMin, p.Calls["remote"].RedialMax = time.Second, time.Second
			p.Calls["remote"].PPP.IPv4 = ppp.IPv4Unnumbered
		}), true)
		defer b.stop()
		defer a.stop()
		a.up("remote", time.Minute)
		q := *p
		q.Calls = map[string]*policy.Call{"remote": call}
		b.e.Reload(&q)
		a.act(api.Action{Verb: api.VerbSessionClose, Tunnel: a.look().Sessions[0].TunnelID, Session: a.look().Sessions[0].ID})
		b.up("remote", time.Minute)
	})
}

// A past bug: a call that was removed, while its peer's next call waited for the old session to go, was taken by nobody's dialer.
func TestRemovedCallTakesNoSuccessor(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", pair("b", "1.1.1.1", policy.PrecedenceOut, false), true)
		a := n.start(t, "1.1.1.1", pair("a", "2.2.2.2", policy.PrecedenceIn, true), true)
		a.up("remote", time.Minute)
		b.up("remote", time.Minute)
		release := b.k.Hold(kerneltest.OpClose)
		a.kill()
		a = n.start(t, "1.1.1.1", pair("a", "2.2.2.2", policy.PrecedenceIn, true), true)
		time.Sleep(5 * time.Second) // virtual: the new call waits behind the old session
		if len(b.look().Sessions) != 2 {
			t.Fatalf("%d sessions: the test does not look where it should\n%s", len(b.look().Sessions), b.log)
		}
		none := pair("b", "1.1.1.1", policy.PrecedenceOut, false)
		none.Calls = map[string]*policy.Call{}
		b.e.Reload(none)
		release()
		b.until("no session", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
		if !strings.Contains(b.log.String(), "the call has been taken down meanwhile") {
			t.Errorf("nobody says why:\n%s", b.log)
		}
		a.stop()
		b.stop()
	})
}

// P258, S160: a session belongs to the user of its first login. Another one, with credentials of his own, neither takes it over
// nor makes the first one's address unusable.
func TestSessionStaysWithItsUser(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		his, theirs := netip.MustParseAddr("192.168.20.50"), netip.MustParseAddr("192.168.20.51")
		b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) {
			p.Users["RouterA"].IPv4 = his
			p.Users["other"] = &policy.User{Name: "other", Password: policy.NewSecret([]byte("other")), IPv4: theirs}
		}), true)
		defer b.stop()
		a := n.start(t, "1.1.1.1", one(autostart), true)
		defer a.stop()
		a.up("c0", time.Minute)

		holders := func() (got []netip.Addr) {
			_ = b.e.shards[0].in(t.Context(), func() { got = slices.SortedFunc(maps.Keys(b.e.shards[0].pools.owned), netip.Addr.Compare) })
			return got
		}
		login := func(since string) {
			_ = b.e.each(t.Context(), func(s *shard) {
				for _, x := range s.tunnels {
					for _, sess := range x.sessions {
						sess.authorize(call.OpAuthorize{User: since, Request: ppp.EvAuthRequest{Method: ppp.AuthPAP, Name: "other", Password: []byte("other")}})
					}
				}
			})
			synctest.Wait()
		}
		login("RouterA")
		if got := holders(); !slices.Equal(got, []netip.Addr{his}) {
			t.Errorf("after another's login the addresses in use are %v, want %v", got, his)
		}
		login("") // as if the first login had not been answered yet when the peer began anew
		if got := holders(); !slices.Equal(got, []netip.Addr{theirs}) {
			t.Errorf("the addresses in use are %v, want %v", got, theirs)
		}
	})
}

// A link that cannot carry 1280 octets is not offered IPv6 (RFC 8200, 5).
func TestNoIPv6OnNarrowLinks(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		wide := func(p *policy.Policy) { p.Templates["dialin"].IPv6 = true }
		b := n.start(t, "2.2.2.2", changed(lasting(), wide), true)
		defer b.stop()
		a := n.start(t, "1.1.1.1", changed(one(autostart), func(p *policy.Policy) { p.Calls["c0"].PPP.IPv6, p.Templates["lan"].MTU = true, 1279 }), true)
		defer a.stop()
		a.up("c0", time.Minute)
		if s := a.look().Sessions[0]; s.IPCP != "Opened" || s.IPV6CP == "Opened" {
			t.Errorf("IPCP is %s, IPV6CP %s", s.IPCP, s.IPV6CP)
		}
	})
}

// P265: where interfaces cannot have IPv6, calls have IPv4, and the log says why.
func TestIPv6TroubleLeavesIPv4(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) { p.Templates["dialin"].IPv6 = true }), true)
		defer b.stop()
		b.mu.Lock()
		b.noIPv6 = unix.EACCES
		b.mu.Unlock()
		a := n.start(t, "1.1.1.1", one(func(c *policy.Call) { c.AutoStart, c.PPP.IPv6 = true, true }), true)
		defer a.stop()
		a.up("c0", time.Minute)
		b.until("IPv4 alone", time.Minute, func(s *api.Snapshot) bool { return s.Sessions[0].IPCP == "Opened" && s.Sessions[0].IPV6CP != "Opened" })
		data := b.k.Session(b.look().Sessions[0].TunnelID, b.look().Sessions[0].ID)
		if s := data.State(); !s.IPv4 || s.IPv6 {
			t.Errorf("IPv4 passes: %v, IPv6 passes: %v", s.IPv4, s.IPv6)
		}
		if !strings.Contains(b.log.String(), "the call goes on without IPv6: permission denied") {
			t.Errorf("the reason is not in the log:\n%s", b.log)
		}
	})
}

// S17, P57: a user who logs in once too often is refused, or ends his oldest session, as the template says; each end has its code on the
// wire, its line and its counter.
func TestUserOverHisLimit(t *testing.T) {
	for name, x := range map[string]struct {
		limit     int
		duplicate policy.Duplicate
		calls     int // of one user
		up        int
		cause     string // of what ends
	}{
		"no limit":                    {calls: 3, up: 3},
		"limit":                       {limit: 2, calls: 3, up: 2, cause: "user-limit"},
		"refuse":                      {duplicate: policy.DuplicateRefuse, calls: 2, up: 1, cause: "user-limit"},
		"replace":                     {duplicate: policy.DuplicateReplace, calls: 2, up: 1, cause: "replaced"},
		"replace the oldest of three": {limit: 2, duplicate: policy.DuplicateReplace, calls: 3, up: 2, cause: "replaced"},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) {
					p.Pools["ips"].Ranges[0].To = netip.MustParseAddr("192.168.20.210")
					p.Users["RouterA"].Sessions, p.Templates["dialin"].Duplicate = x.limit, x.duplicate
				}), true)
				defer b.stop()
				calls := initiators(x.calls)
				for _, c := range calls.Calls {
					c.AutoStart, c.RedialMin = false, time.Hour
				}
				a := n.start(t, "1.1.1.1", calls, true)
				defer a.stop()
				for i := range x.calls {
					a.act(api.Action{Verb: api.VerbCallUp, Call: fmt.Sprintf("c%d", i)})
					time.Sleep(10 * time.Second) // virtual
				}
				s := b.look()
				up := 0
				for _, c := range s.Sessions {
					if c.IPCP == "Opened" {
						up++
					}
				}
				ends := s.Status.Counters.SessionEnds
				if up != x.up || len(s.Sessions) != up || x.cause != "" && ends[x.cause] != uint64(x.calls-x.up) {
					t.Errorf("%d up of %d, ended %v; want %d, %s\n%s", up, len(s.Sessions), ends, x.up, x.cause, b.log)
				}
				if x.cause == "user-limit" {
					if m := n.messages(b.addr, wire.MsgCDN); len(m) != 1 {
						t.Errorf("%d CDNs, want 1", len(m))
					} else if r, _ := m[0].Result(); r.Code != wire.CDNNoFacilitiesTemp {
						t.Errorf("CDN %s, want %d", r.CDNString(), wire.CDNNoFacilitiesTemp)
					}
				}
				held := 0
				_ = b.e.shards[0].in(t.Context(), func() {
					if l, some := b.e.shards[0].logins["RouterA"]; some {
						held = l.sessions
					}
				})
				if held != x.up {
					t.Errorf("%d logins are counted, want %d", held, x.up)
				}
			})
		})
	}
}

// A prefix is one session's at a time. Where none is left the call has no IPv6, and says why; what comes back is given again.
func TestPrefixesOfAPoolRunOut(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) {
			p.Templates["dialin"].IPv6, p.Templates["dialin"].IPv6Pool = true, "links"
			p.Pools["links"] = &policy.Pool{Name: "links", Prefixes: networks("2001:db8:1::/64"), Length: 64}
		}), true)
		defer b.stop()
		calls := changed(initiators(2), func(p *policy.Policy) {
			for _, c := range p.Calls {
				c.PPP.IPv6, c.AutoStart = true, false
			}
		})
		a := n.start(t, "1.1.1.1", calls, true)
		defer a.stop()
		for _, name := range []string{"c0", "c1"} {
			a.act(api.Action{Verb: api.VerbCallUp, Call: name})
			a.up(name, time.Minute)
			time.Sleep(time.Second) // virtual
		}
		with := func() (with int) {
			for _, s := range b.look().Sessions {
				if s.IPv6Prefix.IsValid() {
					with++
				}
				if s.IPv6Prefix.IsValid() != (s.IPV6CP == "Opened") {
					t.Errorf("session %d: prefix %v, IPV6CP %s", s.ID, s.IPv6Prefix, s.IPV6CP)
				}
			}
			return with
		}
		if got := with(); got != 1 || !strings.Contains(b.log.String(), "goes on without IPv6: pool links is exhausted") {
			t.Errorf("%d sessions have the one prefix\n%s", got, b.log)
		}
		for _, name := range []string{"c0", "c1"} {
			a.act(api.Action{Verb: api.VerbCallDown, Call: name})
		}
		b.until("down", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
		a.act(api.Action{Verb: api.VerbCallUp, Call: "c1"})
		a.up("c1", time.Minute)
		b.until("the prefix again", time.Minute, func(s *api.Snapshot) bool {
			return s.Sessions[0].IPv6Prefix.IsValid() && s.Sessions[0].IPV6CP == "Opened"
		})
	})
}
