package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// Whatever the order of claims, none overlaps another's, and what overlaps is found.
func TestClaimsNeverOverlap(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	x := newPools()
	mine := map[netip.Prefix]*session{}
	for range 20000 {
		p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, byte(rnd.IntN(2)), byte(rnd.IntN(256))}), 44+rnd.IntN(13)).Masked()
		if s := mine[p]; s != nil {
			x.disownPrefix(p, &session{}) // is not his
			x.disownPrefix(p, s)
			delete(mine, p)
			continue
		}
		free := true
		for q := range mine {
			free = free && !q.Overlaps(p)
		}
		if got := len(x.claims.over(p)) == 0; got != free {
			t.Fatalf("%v is free: %v, want %v", p, got, free)
		}
		s, refusal := &session{}, "nothing is said"
		x.ownPrefix(p, s, func(why string) { refusal = why })
		if free != (refusal == "") {
			t.Fatalf("%v is free: %v, refusal %q", p, free, refusal)
		}
		if free {
			mine[p] = s
		}
	}
	if len(x.claims) != len(mine) || !slices.IsSortedFunc(x.claims, func(a, b *owned) int { return a.prefix.Compare(b.prefix) }) {
		t.Errorf("%d claims, want %d in order", len(x.claims), len(mine))
	}
}

// gives are servers that give each user what the table says.
func gives(table func(user string) radius.Answer) *servers {
	return &servers{answer: func(_ context.Context, r radius.Request) (radius.Answer, error) {
		a := table(r.Name)
		a.Accept, a.Server = true, "test"
		return a, nil
	}}
}

// prefixed is asking for callers with IPv6, with pools of prefixes.
func prefixed() *policy.Policy {
	return changed(asking(), func(p *policy.Policy) {
		t := p.Templates["dialin"]
		t.IPv6, t.IPv6Pool, t.DelegatedPool = true, "links", "sites"
		p.Pools["ips"].Ranges[0].To = netip.MustParseAddr("192.168.20.240")
		p.Pools["links"] = &policy.Pool{Name: "links", Prefixes: networks("2001:db8:1::/62"), Length: 64}
		p.Pools["sites"] = &policy.Pool{Name: "sites", Prefixes: networks("2001:db8:2::/54"), Length: 56}
	})
}

// waiting are the calls of users, each to be told when to begin.
func waiting(users ...string) *policy.Policy {
	return changed(loginsOf(users...), func(p *policy.Policy) {
		for _, c := range p.Calls {
			c.AutoStart, c.PPP.IPv6 = false, true
		}
	})
}

// places are the prefixes of the box's established sessions, "link delegated" by user.
func (b *box) places() map[string]string {
	m := map[string]string{}
	for _, s := range b.look().Sessions {
		if s.State == "established" && s.IPV6CP == "Opened" {
			m[s.User] = fmt.Sprint(s.IPv6Prefix, " ", s.IPv6Delegated)
		}
	}
	return m
}

// claimed are the prefixes that are users' own and in use.
func (b *box) claimed() (all []netip.Prefix) {
	zero := b.e.shards[0]
	_ = zero.in(b.t.Context(), func() {
		for _, o := range zero.pools.claims {
			all = append(all, o.prefix)
		}
	})
	return all
}

func (b *box) begins(call string) {
	b.t.Helper()
	b.act(api.Action{Verb: api.VerbCallUp, Call: call})
	b.up(call, time.Minute)
}

// S17, P262: a prefix that a server gives, or that is a local user's own, is one session's: the newest login has it, and the older session is
// closed first. What is one's in part is refused. All of it comes back.
func TestPrefixesOfServersAreOneSessionsAtATime(t *testing.T) {
	link, site := netip.MustParsePrefix("2001:db8:9:1::/64"), netip.MustParsePrefix("2001:db8:9:100::/56")
	for name, x := range map[string]struct {
		first, second radius.Answer
		refusal       string // empty: the second has taken it over
	}{
		"the link's":  {radius.Answer{IPv6Prefixes: []netip.Prefix{link}}, radius.Answer{IPv6Prefixes: []netip.Prefix{link}}, ""},
		"behind":      {radius.Answer{DelegatedPrefixes: []netip.Prefix{site}}, radius.Answer{DelegatedPrefixes: []netip.Prefix{site}}, ""},
		"one as both": {radius.Answer{IPv6Prefixes: []netip.Prefix{link}}, radius.Answer{DelegatedPrefixes: []netip.Prefix{link}}, ""},
		"within another's": {
			radius.Answer{DelegatedPrefixes: []netip.Prefix{site}},
			radius.Answer{IPv6Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:9:107::/64")}},
			"prefix 2001:db8:9:107::/64 overlaps 2001:db8:9:100::/56, which is in use",
		},
		"around another's": {
			radius.Answer{IPv6Prefixes: []netip.Prefix{link}},
			radius.Answer{DelegatedPrefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:9::/48")}},
			"prefix 2001:db8:9::/48 overlaps 2001:db8:9:1::/64, which is in use",
		},
		"a local user's": {radius.Answer{}, radius.Answer{DelegatedPrefixes: []netip.Prefix{site}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				p := prefixed()
				who := "first"
				if name == "a local user's" {
					who = "RouterA"
					p.Users = map[string]*policy.User{who: {Name: who, Password: policy.NewSecret([]byte("PasswordA")), Behind: site}}
					p.Templates["dialin"].Sources = []policy.Source{policy.SourceLocal, policy.SourceRADIUS}
				}
				b := n.start(t, "2.2.2.2", p, true).with(gives(func(user string) radius.Answer {
					return map[string]radius.Answer{"first": x.first, "second": x.second}[user]
				}))
				a := n.start(t, "1.1.1.1", waiting(who, "second"), true)
				defer a.stop()
				defer b.stop()
				a.begins("c0")
				b.until("IPv6", time.Minute, func(*api.Snapshot) bool { return b.places()[who] != "" })
				before := b.claimed()
				if len(before) != 1 {
					t.Errorf("claimed: %v", before)
				}
				if x.refusal != "" {
					a.act(api.Action{Verb: api.VerbCallUp, Call: "c1"})
					b.until("a refusal", time.Minute, func(*api.Snapshot) bool {
						return strings.Contains(b.log.String(), "cause=user-limit why=\""+x.refusal)
					})
					if _, ok := b.places()[who]; !ok || !slices.Equal(b.claimed(), before) {
						t.Errorf("afterwards: %v, claimed %v", b.places(), b.claimed())
					}
					a.act(api.Action{Verb: api.VerbCallDown, Call: "c0"})
					a.up("c1", 2*time.Minute)
				} else {
					a.begins("c1")
					b.until("the second alone", time.Minute, func(*api.Snapshot) bool {
						now := b.places()
						return now[who] == "" && now["second"] != ""
					})
					if !strings.Contains(b.log.String(), "the user has logged in again: the older session is closed") {
						t.Errorf("the log does not tell of it:\n%s", b.log)
					}
				}
				for _, c := range []string{"c0", "c1"} {
					a.act(api.Action{Verb: api.VerbCallDown, Call: c})
				}
				b.until("nothing", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 && len(b.claimed()) == 0 })
			})
		})
	}
}

// P262: pools do not give what a server has given, be it a part of it; and a server's login is refused what somebody has from a pool.
func TestPoolsLeavePrefixesOfServersAlone(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", prefixed(), true).with(gives(func(user string) radius.Answer {
			return map[string]radius.Answer{
				"first": {
					IPv6Prefixes:      []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/64")},
					DelegatedPrefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:2::/55")},
				},
				"third": {IPv6Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:2:2ff::/64")}},
			}[user]
		}))
		a := n.start(t, "1.1.1.1", waiting("first", "second", "third"), true)
		defer a.stop()
		defer b.stop()
		a.begins("c0")
		a.begins("c1")
		b.until("IPv6", time.Minute, func(*api.Snapshot) bool { return len(b.places()) == 2 })
		if got := b.places(); got["first"] != "2001:db8:1::/64 2001:db8:2::/55" || got["second"] != "2001:db8:1:1::/64 2001:db8:2:200::/56" {
			t.Errorf("the two have %v", got)
		}
		a.act(api.Action{Verb: api.VerbCallUp, Call: "c2"})
		b.until("a refusal", time.Minute, func(*api.Snapshot) bool {
			return strings.Contains(b.log.String(), "prefix 2001:db8:2:2ff::/64 is still in use")
		})
		a.act(api.Action{Verb: api.VerbCallDown, Call: "c1"})
		a.up("c2", 2*time.Minute)
		a.act(api.Action{Verb: api.VerbCallDown, Call: "c0"})
		b.until("one session", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 1 })
		a.begins("c1")
		b.until("IPv6", time.Minute, func(*api.Snapshot) bool { return b.places()["second"] != "" })
		if got := b.places()["second"]; !strings.HasPrefix(got, "2001:db8:1:1::/64 2001:db8:2:") {
			t.Errorf("the second has %v", got)
		}
	})
}

// Logins that want what others have, in every order, come to an end: none waits for one that waits for it.
func TestLoginsForEachOthersPrefixesDoNotBlock(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", prefixed(), true)
		prefixes := networks("2001:db8:9:1::/64", "2001:db8:9:2::/64")
		var asked atomic.Uint32
		x := gives(func(string) radius.Answer { // crosswise
			i := asked.Add(1) % 2
			return radius.Answer{IPv6Prefixes: prefixes[i : i+1], DelegatedPrefixes: prefixes[1-i : 2-i]}
		})
		b.with(x)
		a := n.start(t, "1.1.1.1", changed(waiting("a", "b", "c", "d", "e", "f"), func(p *policy.Policy) {
			for _, c := range p.Calls {
				c.AutoStart = true
			}
		}), true)
		defer b.stop()
		for range 5 {
			before := x.questions()
			time.Sleep(5 * time.Minute)
			if x.questions() == before {
				t.Fatalf("nobody logs in any more:\n%s", b.log)
			}
		}
		a.stop()
		b.until("nothing", 5*time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 && len(b.claimed()) == 0 })
	})
}

// A user who is challenged again keeps what his first login gave, whatever the server says now, and it comes back with his session.
func TestRechallengeChangesNoClaims(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		p := prefixed()
		p.Templates["dialin"].Rechallenge = 10 * time.Second
		var asked atomic.Uint32
		x := gives(func(string) radius.Answer {
			i := byte(asked.Add(1))
			return radius.Answer{
				Address:           netip.AddrFrom4([4]byte{192, 0, 2, i}),
				DelegatedPrefixes: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 9, i}), 56)},
			}
		})
		b := n.start(t, "2.2.2.2", p, true).with(x)
		a := n.start(t, "1.1.1.1", waiting("first"), true)
		defer a.stop()
		defer b.stop()
		a.begins("c0")
		time.Sleep(time.Minute)
		zero := b.e.shards[0]
		addresses := func() (n int) {
			_ = zero.in(t.Context(), func() { n = len(zero.pools.owned) })
			return n
		}
		if got := b.claimed(); len(got) != 1 || addresses() != 1 || !strings.HasSuffix(b.places()["first"], " "+got[0].String()) || x.questions() < 5 {
			t.Errorf("claimed: %v and %d addresses after %d logins; he has %v", got, addresses(), x.questions(), b.places())
		}
		a.act(api.Action{Verb: api.VerbCallDown, Call: "c0"})
		b.until("nothing", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 && len(b.claimed()) == 0 && addresses() == 0 })
	})
}

// S17: a session that is to have the address of one which is still being released ends before that is: nobody has the address then, and
// the next who logs in gets it.
func TestWhoWaitsForAnAddressMayGo(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) {
			p.Templates["dialin"].Engine = policy.EnginePppd // a session that a pppd runs may go while it waits
			p.Users["RouterA"].IPv4 = netip.MustParseAddr("192.168.30.1")
		}), true)
		defer b.stop()
		calls := initiators(3)
		for _, c := range calls.Calls {
			c.AutoStart, c.RedialMin = false, time.Hour
		}
		a := n.start(t, "1.1.1.1", calls, true)
		defer a.stop()
		owned := func() (n int) {
			_ = b.e.shards[0].in(t.Context(), func() { n = len(b.e.shards[0].pools.owned) })
			return n
		}
		for call, end := range []time.Duration{20 * time.Second, 0} {
			b.mu.Lock()
			b.pppdsEnd = end
			b.mu.Unlock()
			a.act(api.Action{Verb: api.VerbCallUp, Call: fmt.Sprint("c", call)})
			time.Sleep(time.Second) // virtual
		}
		if strings.Count(b.log.String(), "event=user-again") != 1 || strings.Count(b.log.String(), "call up") != 1 {
			t.Fatalf("the second does not wait for the first\n%s", b.log)
		}
		a.act(api.Action{Verb: api.VerbCallDown, Call: "c1"})
		time.Sleep(time.Minute)
		if owned() != 0 {
			t.Errorf("%d addresses are somebody's\n%s", owned(), b.log)
		}
		a.act(api.Action{Verb: api.VerbCallUp, Call: "c2"})
		time.Sleep(time.Second)
		if strings.Count(b.log.String(), "call up") != 2 || owned() != 1 {
			t.Errorf("the next has no address\n%s", b.log)
		}
	})
}
