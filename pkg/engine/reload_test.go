package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// messages are the control messages of one type that a box has sent, retransmissions left out.
func (n *internet) messages(from netip.Addr, want wire.MessageType) (out []wire.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	type sending struct{ tunnel, session, ns uint16 }
	seen := map[sending]bool{}
	for _, d := range n.sent[from] {
		h, payload, err := wire.ParseHeader(d)
		if err != nil || !h.Control || len(payload) == 0 {
			continue
		}
		m, err := wire.ParseMessage(payload)
		if err != nil || m.Type != want {
			continue
		}
		id, _ := m.Uint16(wire.AVPAssignedTunnelID)
		k := sending{h.TunnelID ^ id, h.SessionID, h.Ns}
		if !seen[k] {
			out = append(out, m)
		}
		seen[k] = true
	}
	return out
}

// theCall is the box's first call.
func (b *box) theCall() api.Call { return b.look().Calls[0] }

// waiting are the devices that wait for packets, with their routes.
func (b *box) waiting() map[string][]netip.Prefix {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.waits)
}

// one is a policy with one call to the box at 2.2.2.2, as change makes it.
func one(change func(*policy.Call)) *policy.Policy {
	p := initiators(1)
	p.Calls["c0"].AutoStart = false
	if change != nil {
		change(p.Calls["c0"])
	}
	return p
}

func autostart(c *policy.Call) { c.AutoStart = true }

func onDemand(c *policy.Call) { c.OnDemand = true }

// networks are prefixes.
func networks(text ...string) (out []netip.Prefix) {
	for _, s := range text {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// S72, P279: what a reload changes of a call does what the configuration says from then on; a live session stays as it is.
func TestReloadOfACall(t *testing.T) {
	// long: a table
	lan := networks("192.168.20.0/24")
	all := func(changes ...func(*policy.Call)) func(*policy.Call) {
		return func(c *policy.Call) {
			for _, f := range changes {
				f(c)
			}
		}
	}
	wrong := func(c *policy.Call) { c.Secret = policy.NewSecret([]byte("wrong")) }
	for name, x := range map[string]struct {
		old, next func(*policy.Call)
		up        bool                          // wait for the call before the reload
		between   func(a *box)                  // before the reload
		state     api.CallState                 // a second after it
		devices   map[string][]netip.Prefix     // that wait for packets then
		then      func(t *testing.T, a, b *box) // looks further
	}{
		"autostart off to on": {next: autostart, state: api.CallUp},
		"autostart on to off": {
			old: autostart, up: true, state: api.CallUp,
			then: func(t *testing.T, a, b *box) {
				s := b.look().Sessions[0]
				b.act(api.Action{Verb: api.VerbSessionClose, Tunnel: s.TunnelID, Session: s.ID})
				time.Sleep(5 * time.Minute)
				if c := a.theCall(); c.State != api.CallIdle || c.Attempts.Out != 1 {
					t.Errorf("call %s after %d attempts, want it idle: nothing wants it any more", c.State, c.Attempts.Out)
				}
			},
		},
		"autostart on to off while it fails": {
			old: all(autostart, wrong), next: wrong, state: api.CallIdle,
			between: func(*box) { time.Sleep(20 * time.Second) },
			then: func(t *testing.T, a, _ *box) {
				was := a.theCall().Attempts.Out
				time.Sleep(5 * time.Minute)
				if got := a.theCall().Attempts.Out; got != was || was == 0 {
					t.Errorf("%d attempts after the reload, %d before", got-was, was)
				}
			},
		},
		"on_demand off to on": {
			next: onDemand, state: api.CallWaiting, devices: map[string][]netip.Prefix{"w-c0": lan},
			then: func(t *testing.T, a, _ *box) { a.wake(t); a.up("c0", time.Second) },
		},
		"on_demand on to off":    {old: onDemand, state: api.CallIdle},
		"on_demand to autostart": {old: onDemand, next: autostart, state: api.CallUp},
		"autostart to on_demand": {
			old: autostart, up: true, next: onDemand, state: api.CallUp, devices: map[string][]netip.Prefix{"w-c0": lan},
			then: func(t *testing.T, a, _ *box) {
				s := a.look().Sessions[0]
				a.act(api.Action{Verb: api.VerbSessionClose, Tunnel: s.TunnelID, Session: s.ID})
				time.Sleep(time.Minute)
				if c := a.theCall(); c.State != api.CallWaiting {
					t.Errorf("call %s, want it to wait for a packet", c.State)
				}
			},
		},
		"routes of a waiting call": {
			old: onDemand, next: all(onDemand, func(c *policy.Call) { c.PPP.Routes = networks("10.0.0.0/8", "fd00::/8") }),
			state: api.CallWaiting, devices: map[string][]netip.Prefix{"w-c0": networks("10.0.0.0/8", "fd00::/8")},
		},
		"interface of a waiting call": {
			old: onDemand, next: all(onDemand, func(c *policy.Call) { c.PPP.Interface = "branch" }),
			state: api.CallWaiting, devices: map[string][]netip.Prefix{"w-branch": lan},
		},
		"peer of a call that is up": {
			old: autostart, up: true, next: all(autostart, func(c *policy.Call) { c.Peer = "3.3.3.3" }), state: api.CallUp,
			then: func(t *testing.T, a, b *box) {
				if got := a.theCall().PeerAddr.Addr(); got != b.addr {
					t.Errorf("the live session is with %v, want %v", got, b.addr)
				}
				if got := a.e.peersOf("c0"); a.e.concernsCalls(b.addr) || !a.e.concernsCalls(netip.MustParseAddr("3.3.3.3")) {
					t.Errorf("calls are expected of %v", got)
				}
			},
		},
		"peer of a call being set up": {
			old: all(autostart, func(c *policy.Call) { c.Peer = "9.9.9.9" }), next: autostart, state: api.CallUp,
			between: func(*box) { time.Sleep(3 * time.Second) },
		},
		"name of the peer": {
			next: func(c *policy.Call) { c.Peer = "new.example" }, state: api.CallIdle,
			between: func(a *box) {
				a.mu.Lock()
				defer a.mu.Unlock()
				a.names["new.example"] = []netip.Addr{netip.MustParseAddr("4.4.4.4")}
			},
			then: func(t *testing.T, a, b *box) {
				if !a.e.concernsCalls(netip.MustParseAddr("4.4.4.4")) || a.e.concernsCalls(b.addr) {
					t.Errorf("the call is not expected from where its peer is now: %v", a.e.peersOf("c0"))
				}
				a.mu.Lock()
				a.names["new.example"] = []netip.Addr{netip.MustParseAddr("5.5.5.5")}
				a.mu.Unlock()
				time.Sleep(namesHold)
				if !a.e.concernsCalls(netip.MustParseAddr("5.5.5.5")) {
					t.Errorf("the peer has moved, and nobody has asked for its name again: %v", a.e.peersOf("c0"))
				}
			},
		},
		"peer to any": {
			old: all(autostart, wrong), next: func(c *policy.Call) { c.Passive, c.Peer = true, "" }, state: api.CallPassive,
			between: func(*box) { time.Sleep(10 * time.Second) },
		},
		"secret put right while it waits": {
			old: all(autostart, wrong), next: autostart, state: api.CallUp,
			between: func(*box) { time.Sleep(4 * time.Minute) },
		},
		"secret put right while packets come": {
			old: all(onDemand, wrong), next: onDemand, state: api.CallWaiting, devices: map[string][]netip.Prefix{"w-c0": lan},
			between: func(a *box) {
				for range 240 {
					for _, wake := range maps.Clone(a.demands) {
						wake()
					}
					time.Sleep(time.Second)
				}
			},
			then: func(t *testing.T, a, _ *box) { a.wake(t); a.up("c0", time.Second) },
		},
		"another key of a call that was taken down": {
			old: autostart, up: true, next: all(autostart, func(c *policy.Call) { c.PPP.Metric = 7 }), state: api.CallIdle,
			between: func(a *box) { a.act(api.Action{Verb: api.VerbCallDown, Call: "c0"}); time.Sleep(time.Second) },
		},
		"nothing": {old: all(autostart, wrong), next: all(autostart, wrong), state: api.CallWaiting, between: func(*box) { time.Sleep(2 * time.Minute) }},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				p := acceptor()
				p.Templates["dialin"].IdleTimeout = 0
				b := n.start(t, "2.2.2.2", p, true)
				a := n.start(t, "1.1.1.1", one(x.old), true)
				defer a.stop()
				defer b.stop()
				if x.up {
					a.up("c0", time.Second)
				}
				time.Sleep(time.Second)
				if x.between != nil {
					x.between(a)
				}
				before := a.look()
				a.e.Reload(one(x.next))
				time.Sleep(time.Second)
				after := a.look()
				if got := after.Calls[0].State; got != x.state {
					t.Errorf("call %s, want %s\n%s", got, x.state, a.log)
				}
				if diff := cmp.Diff(x.devices, a.waiting(), cmp.Comparer(func(x, y netip.Prefix) bool { return x == y })); diff != "" && len(x.devices)+len(a.waiting()) > 0 {
					t.Errorf("waiting devices (-want +got):\n%s", diff)
				}
				if x.up && x.state == api.CallUp && (len(after.Sessions) != 1 || after.Sessions[0].ID != before.Sessions[0].ID) {
					t.Errorf("the live session did not stay: %+v", after.Sessions)
				}
				if x.then != nil {
					x.then(t, a, b)
				}
			})
		})
	}
}

// S78: a call that is removed is closed, and its waiting device goes with it; two calls may exchange their interfaces.
func TestReloadOfCallsAndTheirDevices(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		p := acceptor()
		p.Templates["dialin"].IdleTimeout = 0
		b := n.start(t, "2.2.2.2", p, true)
		policies := func(names ...string) *policy.Policy {
			p := initiators(len(names))
			for i, name := range names {
				c := p.Calls[fmt.Sprintf("c%d", i)]
				c.AutoStart, c.OnDemand, c.PPP.Interface = false, true, name
				c.PPP.Routes = networks(fmt.Sprintf("10.%d.0.0/16", i))
			}
			return p
		}
		a := n.start(t, "1.1.1.1", policies("left", "right"), true)
		defer a.stop()
		defer b.stop()
		time.Sleep(time.Second)
		a.e.Reload(policies("right", "left"))
		time.Sleep(time.Second)
		want := map[string][]netip.Prefix{"w-right": networks("10.0.0.0/16"), "w-left": networks("10.1.0.0/16")}
		if got := a.waiting(); !maps.EqualFunc(want, got, slices.Equal[[]netip.Prefix]) {
			t.Errorf("devices %v, want %v\n%s", got, want, a.log)
		}
		for _, c := range []string{"c0", "c1"} {
			a.act(api.Action{Verb: api.VerbCallUp, Call: c})
			a.up(c, time.Minute)
		}
		a.e.Reload(policies("right"))
		time.Sleep(time.Second)
		if s := a.look(); len(s.Sessions) != 1 || s.Sessions[0].Call != "c0" || len(s.Calls) != 1 || len(a.waiting()) != 1 {
			t.Errorf("sessions %+v, calls %+v, devices %v", s.Sessions, s.Calls, a.waiting())
		}
		a.e.Reload(policies("right", "left"))
		time.Sleep(time.Second)
		if got := a.waiting(); !maps.EqualFunc(want, got, slices.Equal[[]netip.Prefix]) {
			t.Errorf("devices %v, want %v", got, want)
		}
	})
}

// S44, S45: a role that a reload adds or takes away counts for the next call, in live tunnels too. (That of a LAC only where the
// peer was told of it when the tunnel began, P49.)
func TestReloadOfTheModeReachesLiveTunnels(t *testing.T) {
	for _, x := range []struct {
		method policy.Method
		modes  []policy.Mode
	}{
		{policy.MethodICRQ, []policy.Mode{policy.ModeLAC, policy.ModeBoth, policy.ModeLAC, policy.ModeLNS}},
		{policy.MethodOCRQ, []policy.Mode{policy.ModeBoth, policy.ModeLNS, policy.ModeLAC, policy.ModeLNS}},
	} {
		t.Run(x.method.String(), func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				mode := func(m policy.Mode) *policy.Policy {
					p := acceptor()
					p.Server.Mode = m
					p.Templates["dialin"].IdleTimeout = 0
					return p
				}
				b := n.start(t, "2.2.2.2", mode(x.modes[0]), true)
				a := n.start(t, "1.1.1.1", one(func(c *policy.Call) { c.AutoStart, c.Method, c.RedialMax = true, x.method, 2*time.Second }), true)
				defer a.stop()
				defer b.stop()
				for _, m := range x.modes {
					b.e.Reload(mode(m))
					for _, s := range a.look().Sessions {
						a.act(api.Action{Verb: api.VerbSessionClose, Tunnel: s.TunnelID, Session: s.ID})
					}
					was := len(n.messages(b.addr, wire.MsgCDN))
					time.Sleep(10 * time.Second)
					may := m == policy.ModeBoth || (m == policy.ModeLNS) == (x.method == policy.MethodICRQ)
					if up := a.theCall().State == api.CallUp; up != may {
						t.Errorf("mode %v: up is %v, want %v\n%s", m, up, may, a.log)
					}
					refusals := n.messages(b.addr, wire.MsgCDN)[was:]
					if !may && len(refusals) == 0 {
						t.Errorf("mode %v: no call is refused", m)
					}
					for _, x := range refusals {
						if r, _ := x.Result(); !may && r.Code != wire.CDNNoFacilitiesPerm {
							t.Errorf("mode %v: CDN %s", m, r.CDNString())
						}
					}
				}
				if got := len(n.messages(a.addr, wire.MsgSCCRQ)); got != 1 {
					t.Errorf("%d tunnels, want one that lives through it all", got)
				}
			})
		})
	}
}

// S51, S112: a changed checksum, or listen address, is not shown before the restart of the daemon that it takes.
func TestStatusShowsWhatTheSocketsAreLike(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		p := acceptor()
		p.Server.Listen = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:1701")}
		b := n.start(t, "2.2.2.2", p, true)
		defer b.stop()
		q := acceptor()
		q.Server.Checksum, q.Server.Mode = false, policy.ModeLNS
		b.e.Reload(q)
		if s := b.look().Status; !s.ChecksumData || len(s.Listen) != 1 || s.Mode != "lns" {
			t.Errorf("checksum %v, listen %v, mode %s: want on, one address, lns", s.ChecksumData, s.Listen, s.Mode)
		}
	})
}

// S49, S86: a rule of secrets, or an accept entry, that a reload removes counts no more for the next SCCRQ. The tunnel that is up
// stays, and with the entry back its peer gets in again.
func TestReloadThatRemovesWhoMayConnect(t *testing.T) {
	near := policy.Range{From: netip.MustParseAddr("1.1.1.1"), To: netip.MustParseAddr("1.1.1.1")}
	for name, x := range map[string]struct {
		old, next func(*policy.Policy)
		text      string // in the last error of the caller
	}{
		"secret": {
			next: func(p *policy.Policy) { p.Secrets = nil },
			text: "no secret",
		},
		"secret beside a wider one": {
			old: func(p *policy.Policy) {
				p.Secrets = append(p.Secrets, policy.SecretRule{From: near, Secret: p.Secrets[0].Secret})
				p.Secrets[0].Secret = policy.NewSecret([]byte("for-all-others"))
			},
			next: func(p *policy.Policy) { p.Secrets[0].Secret = policy.NewSecret([]byte("for-all-others")) },
			text: "secret",
		},
		"accept entry": {
			next: func(p *policy.Policy) { p.Accept = nil },
			text: "not authorised (4)",
		},
		"accept entry beside another": {
			old: func(p *policy.Policy) {
				p.Accept = append(p.Accept, policy.Accept{From: near, Template: "dialin", ProxyLCP: ppp.ProxyLCPMismatch})
				p.Accept[0].HostName = "somebody else"
			},
			next: func(p *policy.Policy) { p.Accept[0].HostName = "somebody else" },
			text: "not authorised (4)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				with := func(change func(*policy.Policy)) *policy.Policy {
					if change == nil {
						return lasting()
					}
					return changed(lasting(), change)
				}
				b := n.start(t, "2.2.2.2", with(x.old), true)
				a := n.start(t, "1.1.1.1", one(func(c *policy.Call) { c.AutoStart, c.RedialMax = true, 2*time.Second }), true)
				defer b.stop()
				defer a.stop()
				a.up("c0", time.Second)
				was := a.look().Sessions[0].ID

				b.e.Reload(with(x.next))
				time.Sleep(time.Minute) // virtual
				if s := a.look().Sessions; len(s) != 1 || s[0].ID != was {
					t.Fatalf("the live session did not stay: %+v\n%s", s, b.log)
				}

				b.act(api.Action{Verb: api.VerbTunnelClose, Tunnel: b.look().Tunnels[0].ID})
				time.Sleep(time.Minute) // virtual
				asked := len(n.messages(a.addr, wire.MsgSCCRQ)) - 1
				c := a.theCall()
				if asked == 0 || c.State == api.CallUp || len(b.look().Sessions) > 0 {
					t.Errorf("call %s after %d more SCCRQs\n%s", c.State, asked, b.log)
				}
				if e := c.LastError; e == nil || e.Stage != "tunnel authentication" || !strings.Contains(e.Text, x.text) {
					t.Errorf("last error %+v, want %q", e, x.text)
				}

				b.e.Reload(with(x.old))
				a.up("c0", time.Minute)
			})
		})
	}
}
