package policy

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestUserNamesAreSplitAtEitherDelimiter(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"alice", "alice", ""},
		{"alice@Corp.Example.", "alice", "corp.example"},
		{`CORP\alice`, "alice", "corp"},
		{"alice@home@corp.example", "alice@home", "corp.example"},
		{`CORP\alice@branch`, `CORP\alice`, "branch"},
		{"alice@", "alice", ""},
		{`\alice`, "alice", ""},
		{"@corp.example", "", "corp.example"},
		{"", "", ""},
	} {
		if user, realm := SplitUser(c[0]); user != c[1] || realm != c[2] {
			t.Errorf("%q: %q of %q, want %q of %q", c[0], user, realm, c[1], c[2])
		}
	}
}

// S88-S93: each pair of rules, in either order, against each kind of user.
func TestMostSpecificRuleHolds(t *testing.T) {
	t.Parallel()
	rules := []Rule{{Match: MatchRealm, Realm: "corp.example"}, {Match: MatchLocal}, {Match: MatchAnyRealm}, {Match: MatchAll}, {Match: MatchUnauthenticated}}
	users := []struct {
		name     string
		loggedIn bool
		fits     []Match // the best first
	}{
		{"alice@corp.example", true, []Match{MatchRealm, MatchAnyRealm, MatchAll}},
		{`Corp.Example\alice`, true, []Match{MatchRealm, MatchAnyRealm, MatchAll}},
		{"bob@elsewhere", true, []Match{MatchAnyRealm, MatchAll}},
		{"carol", true, []Match{MatchLocal, MatchAll}},
		{"", false, []Match{MatchUnauthenticated}},
	}
	for _, u := range users {
		for _, a := range rules {
			for _, b := range rules {
				l := LAC{Rules: []Rule{a, b}}
				var want *Match
				for _, m := range slices.Backward(u.fits) {
					if m == a.Match || m == b.Match {
						want = &m
					}
				}
				got := l.ForUser(u.name, u.loggedIn)
				if (got == nil) != (want == nil) || got != nil && got.Match != *want {
					t.Errorf("%q with rules %d and %d: %+v, want %v", u.name, a.Match, b.Match, got, want)
				}
			}
		}
	}
}

func lnsAt(n byte, preference, weight int) Target {
	return Target{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 1701), Preference: preference, Weight: weight}
}

func firsts(l *Lockouts, n int, balance Balance, now time.Duration, sessions func(netip.AddrPort) int, targets ...Target) map[byte]int {
	got := map[byte]int{}
	for range n {
		got[l.Order(targets, balance, sessions, now)[0].Addr.Addr().As4()[3]]++
	}
	return got
}

func TestTurnsFollowWeights(t *testing.T) {
	t.Parallel()
	var l Lockouts
	got := firsts(&l, 400, BalanceRoundRobin, 0, nil, lnsAt(1, 0, 3), lnsAt(2, 0, 1), lnsAt(3, 1, 9))
	if got[1] != 300 || got[2] != 100 || got[3] != 0 {
		t.Errorf("turns %v, want 300, 100, 0", got)
	}
}

func TestLeastFilledIsByWeight(t *testing.T) {
	t.Parallel()
	var l Lockouts
	have := map[netip.AddrPort]int{}
	sessions := func(a netip.AddrPort) int { return have[a] }
	for range 100 {
		have[l.Order([]Target{lnsAt(1, 0, 4), lnsAt(2, 0, 1)}, BalanceLeastFilled, sessions, 0)[0].Addr]++
	}
	if a, b := have[lnsAt(1, 0, 0).Addr], have[lnsAt(2, 0, 0).Addr]; a != 80 || b != 20 {
		t.Errorf("%d and %d sessions, want 80 and 20", a, b)
	}
}

// P228: an LNS that is left alone is the last to be tried, and has no calls to make up for when it is back.
func TestLockedLNSIsTriedLast(t *testing.T) {
	t.Parallel()
	var l Lockouts
	a, b := lnsAt(1, 0, 1), lnsAt(2, 5, 1)
	l.Lock(a.Addr, 60*time.Second)
	if got := l.Order([]Target{a, b}, BalanceRoundRobin, nil, 0); got[0].Addr != b.Addr || got[1].Addr != a.Addr {
		t.Errorf("order %v", got)
	}
	if got := firsts(&l, 1, BalanceRoundRobin, 61*time.Second, nil, a, b); got[1] != 1 {
		t.Errorf("after the lockout %v", got)
	}
	if !l.Served(a.Addr) || l.Served(a.Addr) || l.Locked(a.Addr, 0) != 0 {
		t.Error("a lockout that has ended is still there")
	}
	c := lnsAt(3, 0, 1)
	firsts(&l, 50, BalanceRoundRobin, 0, nil, c)
	if got := firsts(&l, 10, BalanceRoundRobin, 0, nil, c, lnsAt(4, 0, 1)); got[4] > 6 {
		t.Errorf("a newcomer gets %d of 10 calls", got[4])
	}
}
