package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/network"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// watchAddresses looks every millisecond whether the box has an address of a peer on two interfaces, until the returned function
// is called.
func (b *box) watchAddresses() (stop func()) {
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
			b.mu.Lock()
			seen := map[netip.Addr]network.Owner{}
			for owner, x := range b.applied {
				if other, ok := seen[x.Peer]; ok && x.Peer.IsValid() && x.IPv4 {
					b.t.Errorf("%v: %v is behind %v and %v", b.addr, x.Peer, owner, other)
				}
				seen[x.Peer] = owner
			}
			b.mu.Unlock()
		}
	}()
	return func() { close(done); <-ended }
}

// login is a policy with calls that log in as these users.
func login(users ...string) *policy.Policy {
	p := initiators(len(users))
	for i, u := range users {
		c := p.Calls[fmt.Sprintf("c%d", i)]
		c.PPP.User, c.PPP.Password = u, policy.NewSecret([]byte("of "+u))
	}
	return p
}

// fixed adds a user with an address of his own, or, with "", without one.
func fixed(p *policy.Policy, name, addr string) {
	u := &policy.User{Name: name, Password: policy.NewSecret([]byte("of " + name))}
	if addr != "" {
		u.IPv4 = netip.MustParseAddr(addr)
	}
	p.Users[name] = u
}

// S17: the newest login of a user with an address of his own has it, from whichever box; the older link is closed first, and the log
// says so.
func TestNewestLoginHasTheUsersAddress(t *testing.T) {
	for _, x := range []struct{ name, second string }{{"from the same box", "1.1.1.1"}, {"from another box", "1.1.1.9"}} {
		t.Run(x.name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				p := acceptor()
				p.Templates["dialin"].IdleTimeout = 0
				fixed(p, "fixed", "192.168.20.77")
				b := n.start(t, "2.2.2.2", p, true)
				defer b.stop()
				defer b.watchAddresses()()
				idle := func() *policy.Policy {
					q := login("fixed", "fixed")
					q.Calls["c0"].AutoStart, q.Calls["c1"].AutoStart = false, false
					return q
				}
				a := n.start(t, "1.1.1.1", idle(), true)
				defer a.stop()
				other := a
				if x.second != "1.1.1.1" {
					other = n.start(t, x.second, idle(), true)
					defer other.stop()
				}
				a.act(api.Action{Verb: api.VerbCallUp, Call: "c0"})
				a.up("c0", time.Minute)
				old := b.look().Sessions[0].ID
				other.act(api.Action{Verb: api.VerbCallUp, Call: "c1"})
				other.up("c1", 5*time.Second)
				for _, s := range b.look().Sessions {
					if s.ID == old && s.State == "established" {
						t.Errorf("the older session is still there: %+v", s)
					}
				}
				if !strings.Contains(b.log.String(), "the user has logged in again") {
					t.Errorf("the log does not tell of it:\n%s", b.log)
				}
				time.Sleep(5 * time.Minute) // both want it: it changes hands, and nobody shares it
			})
		})
	}
}

// P262, S156: no pool gives out what is a user's own, a configured peer's or ours, not even what became so by a reload; who has an
// address from a pool keeps it until he goes.
func TestPoolsKeepOffOtherPeoplesAddresses(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		lns := func(own ...string) *policy.Policy {
			p := acceptor()
			p.Templates["dialin"].IdleTimeout = 0
			p.Templates["dialin"].IPv4Local = netip.MustParseAddr("192.168.20.200")
			p.Pools["ips"].Ranges[0].To = netip.MustParseAddr("192.168.20.205")
			p.Calls["branch"] = &policy.Call{Name: "branch", Peer: "7.7.7.7", PPP: policy.CallPPP{
				IPv4: ppp.IPv4Own, Local: netip.MustParseAddr("192.168.20.201"), Peer: netip.MustParseAddr("192.168.20.202"),
			}}
			for _, u := range []string{"x", "y", "z"} {
				fixed(p, u, "")
			}
			for i, a := range own {
				fixed(p, fmt.Sprintf("fixed%d", i), a)
			}
			return p
		}
		b := n.start(t, "2.2.2.2", lns("192.168.20.204"), true)
		defer b.stop()
		defer b.watchAddresses()()
		a := n.start(t, "1.1.1.1", login("x", "y", "z", "fixed0", "fixed1"), true)
		defer a.stop()
		time.Sleep(time.Minute)
		addrs := func() map[string]string {
			m := map[string]string{}
			for _, s := range a.look().Sessions {
				if s.IPCP == "Opened" {
					m[s.Call] = strings.TrimPrefix(s.LocalIPv4.String(), "192.168.20.")
				}
			}
			return m
		}
		// .200 to .202 and .204 are somebody's: two are left for three.
		got := addrs()
		pooled := map[string]string{}
		for _, c := range []string{"c0", "c1", "c2"} {
			if got[c] != "" {
				pooled[got[c]] = c
			}
		}
		if len(pooled) != 2 || pooled["203"] == "" || pooled["205"] == "" || got["c3"] != "204" {
			t.Fatalf("addresses %v, want .203 and .205 for two of c0, c1 and c2, .204 for c3", got)
		}
		// Now .205 becomes the own address of another user, while somebody has it.
		b.e.Reload(lns("192.168.20.204", "192.168.20.205"))
		time.Sleep(2 * time.Minute)
		if now := addrs(); now["c4"] != "" || now[pooled["205"]] != "205" {
			t.Errorf("addresses %v: .205 was %s's", now, pooled["205"])
		}
		if e := a.call("c4").LastError; e == nil || !strings.Contains(e.Text, "still in use") {
			t.Errorf("the user is told %+v", e)
		}
		a.act(api.Action{Verb: api.VerbCallDown, Call: pooled["205"]})
		a.up("c4", 2*time.Minute)
		time.Sleep(2 * time.Minute)
		if now := addrs(); now["c4"] != "205" || now["c3"] != "204" || len(now) != 3 {
			t.Errorf("addresses %v, want three, .205 with its user", now)
		}
	})
}

// call is the configured call of that name.
func (b *box) call(name string) api.Call {
	b.t.Helper()
	for _, c := range b.look().Calls {
		if c.Name == name {
			return c
		}
	}
	b.t.Fatalf("no call %s", name)
	return api.Call{}
}

// P262: the peer of a configured call may bring its own address, but none of ours and none that is ours to give.
func TestPeerCannotBringAnAddressOfOurs(t *testing.T) {
	for _, mode := range []ppp.IPv4Mode{ppp.IPv4Unnumbered, ppp.IPv4Own} {
		for addr, want := range map[string]bool{"10.0.0.1": true, "192.168.20.200": false, "192.168.20.77": false, "192.168.20.1": false} {
			t.Run(mode.String()+" "+addr, func(t *testing.T) {
				simulated(t, func(t *testing.T) {
					n := newInternet()
					pa := pair("a", "2.2.2.2", policy.PrecedenceIn, true)
					pb := pair("b", "1.1.1.1", policy.PrecedenceOut, false)
					pb.Pools, pb.Templates["dialin"] = acceptor().Pools, acceptor().Templates["dialin"]
					pb.Users = map[string]*policy.User{}
					fixed(pb, "fixed", "192.168.20.77")
					pa.Calls["remote"].PPP.IPv4, pa.Calls["remote"].PPP.Local = ppp.IPv4Own, netip.MustParseAddr(addr)
					pb.Calls["remote"].PPP.IPv4, pb.Calls["remote"].PPP.Local = mode, netip.MustParseAddr("192.168.10.1")
					pa.Calls["remote"].PPP.IPv6, pb.Calls["remote"].PPP.IPv6 = false, false
					a := n.start(t, "1.1.1.1", pa, true)
					b := n.start(t, "2.2.2.2", pb, true)
					defer a.stop()
					defer b.stop()
					time.Sleep(time.Minute)
					if up := b.theCall().State == api.CallUp; up != want {
						t.Errorf("up is %v, want %v\n%s", up, want, b.log)
					}
					if !want && !strings.Contains(b.log.String(), "the peer's address "+addr+" is one of ours") {
						t.Errorf("the reason is not in the log:\n%s", b.log)
					}
				})
			})
		}
	}
}

// What is kept for a user counts as used: nobody else can have it.
func TestPoolsSayWhatIsLeft(t *testing.T) {
	t.Parallel()
	p := &policy.Policy{
		Pools: map[string]*policy.Pool{
			"ips":      {Name: "ips", Ranges: []policy.Range{{From: netip.MustParseAddr("192.0.2.1"), To: netip.MustParseAddr("192.0.2.10")}}},
			"prefixes": {Name: "prefixes", Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8::/48")}, Length: 64},
		},
		Users: map[string]*policy.User{"a": {IPv4: netip.MustParseAddr("192.0.2.3")}, "b": {IPv4: netip.MustParseAddr("198.51.100.1")}},
	}
	x := newPools()
	check := func(ips, prefixes uint64) {
		t.Helper()
		want := []api.Pool{{Name: "ips", Used: ips, Size: 10}, {Name: "prefixes", Used: prefixes, Size: 65536}}
		if got := x.views(p); !slices.Equal(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	check(1, 0)
	a, ok := x.allocate(p, p.Pools["ips"], "c")
	b, also := x.allocatePrefix(p, p.Pools["prefixes"], "c")
	if !ok || !also {
		t.Fatal("nothing to be had")
	}
	check(2, 1)
	x.release("ips", a)
	x.releasePrefix("prefixes", b)
	check(1, 0)
}
