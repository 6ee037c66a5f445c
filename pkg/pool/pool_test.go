package pool

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

func newPool(t *testing.T, ranges ...string) *Pool {
	t.Helper()
	var rs []policy.Range
	for _, s := range ranges {
		r, err := policy.ParseRange(s)
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	return New(rs)
}

func allocate(t *testing.T, p *Pool, key string) string {
	t.Helper()
	a, ok := p.Allocate(key)
	if !ok {
		t.Fatalf("pool is exhausted for %q", key)
	}
	return a.String()
}

// S161: the ends are included, exhaustion is reported, a released address comes again.
func TestPoolHandsOutEveryAddressOnce(t *testing.T) {
	t.Parallel()
	p := newPool(t, "192.168.20.200-192.168.20.202", "10.0.0.1", "192.168.20.201-192.168.20.203", "10.0.0.1")
	if _, size := p.Usage(); size != 5 {
		t.Fatalf("size %d", size)
	}
	var got []string
	for i := range 5 {
		got = append(got, allocate(t, p, fmt.Sprint("u", i)))
	}
	want := []string{"10.0.0.1", "192.168.20.200", "192.168.20.201", "192.168.20.202", "192.168.20.203"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if a, ok := p.Allocate("late"); ok {
		t.Errorf("exhausted pool gives %v", a)
	}
	p.Release(netip.MustParseAddr("192.168.20.201"))
	p.Release(netip.MustParseAddr("192.168.20.201"))
	p.Release(netip.MustParseAddr("9.9.9.9"))
	if got := allocate(t, p, "late"); got != "192.168.20.201" {
		t.Errorf("got %s", got)
	}
	if _, ok := p.Allocate("later"); ok {
		t.Error("an address released twice is handed out twice")
	}
}

func TestPoolGivesAUserTheSameAddressAgain(t *testing.T) {
	t.Parallel()
	p := newPool(t, "10.0.0.1-10.0.0.3")
	a, b := allocate(t, p, "a"), allocate(t, p, "b")
	p.Release(netip.MustParseAddr(a))
	p.Release(netip.MustParseAddr(b))
	if got := allocate(t, p, "b"); got != b {
		t.Errorf("b had %s, gets %s", b, got)
	}
	if got := allocate(t, p, "c"); got != "10.0.0.3" {
		t.Errorf("c gets %s though 10.0.0.3 was nobody's", got)
	}
	if got := allocate(t, p, "d"); got != a {
		t.Errorf("d gets %s, the only free one is %s", got, a)
	}
	p.Release(netip.MustParseAddr(b))
	if got := allocate(t, p, "a"); got != b {
		t.Errorf("a's own is taken: it gets %s, not %s", got, b)
	}
	if _, ok := p.Allocate("a"); ok {
		t.Error("exhaustion is not reported")
	}
}

// S17: a fixed address inside the pool is not handed out to another user.
func TestPoolClaimKeepsAnAddressFromOthers(t *testing.T) {
	t.Parallel()
	p := newPool(t, "10.0.0.1-10.0.0.2")
	one := netip.MustParseAddr("10.0.0.1")
	if !p.Claim(one) || p.Claim(one) || p.Claim(netip.MustParseAddr("10.0.0.9")) {
		t.Error("Claim is wrong")
	}
	if got := allocate(t, p, "x"); got != "10.0.0.2" {
		t.Errorf("got %s", got)
	}
	if _, ok := p.Allocate("y"); ok {
		t.Error("a claimed address is handed out")
	}
	p.Release(one)
	if got := allocate(t, p, "y"); got != "10.0.0.1" {
		t.Errorf("got %s", got)
	}
}

func TestPoolOfTheWholeAddressSpaceIsCheap(t *testing.T) {
	t.Parallel()
	p := newPool(t, "0.0.0.0/0", "::/0")
	if _, size := p.Usage(); size != ^uint64(0) {
		t.Errorf("size %d", size)
	}
	if got := allocate(t, p, ""); got != "0.0.0.0" {
		t.Errorf("got %s", got)
	}
	if p := New([]policy.Range{{}}); p.Contains(netip.MustParseAddr("1.1.1.1")) {
		t.Error("any is a pool")
	} else if _, ok := p.Allocate("x"); ok {
		t.Error("an empty pool gives")
	}
}

// model checks a pool against a plain set: whatever the order of calls, nothing is in use twice, all of it can be, and what does
// not overlap before does not overlap in use. claims gives one that may be claimed.
func model[T comparable](t *testing.T, p *Of[T], size int, claims func(*rand.Rand) T, overlap func(a, b T) bool) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	used := map[T]bool{}
	had := map[string]T{}
	var list []T
	use := func(a T) {
		for b := range used {
			if overlap(a, b) {
				t.Fatalf("%v is handed out while %v is in use", a, b)
			}
		}
		if !p.Contains(a) {
			t.Fatalf("%v is not of the pool", a)
		}
		used[a], list = true, append(list, a)
		for user, b := range had {
			if a == b {
				delete(had, user)
			}
		}
	}
	for range 30000 {
		switch rnd.IntN(3) {
		case 0:
			if len(list) > 0 {
				i := rnd.IntN(len(list))
				p.Release(list[i])
				delete(used, list[i])
				list[i] = list[len(list)-1]
				list = list[:len(list)-1]
			}
		case 1:
			a := claims(rnd)
			if p.Claim(a) == used[a] {
				t.Fatalf("claim of %v, in use: %v", a, used[a])
			}
			if !used[a] {
				use(a)
			}
		default:
			user := fmt.Sprint(rnd.IntN(60))
			want, sticky := had[user]
			a, ok := p.Allocate(user)
			if ok != (len(list) < size) {
				t.Fatalf("%d of %d in use, ok %v", len(list), size, ok)
			}
			if !ok {
				break
			}
			if sticky && !used[want] && a != want {
				t.Fatalf("%s had %v, which is free, and gets %v", user, want, a)
			}
			use(a)
			had[user] = a
		}
		if n, all := p.Usage(); n != uint64(len(list)) || all != uint64(size) {
			t.Fatalf("usage %d of %d, want %d of %d", n, all, len(list), size)
		}
	}
	if len(p.queue) > 2*size+1 || len(p.last) > size || len(p.seen) > size {
		t.Errorf("memory grows: %d queued, %d remembered, %d seen", len(p.queue), len(p.last), len(p.seen))
	}
}

func TestPoolNeverHandsAnAddressOutTwice(t *testing.T) {
	t.Parallel()
	model(t, newPool(t, "10.0.0.0-10.0.0.30", "10.0.1.0/28"), 31+16,
		func(rnd *rand.Rand) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(rnd.IntN(31))}) },
		func(a, b netip.Addr) bool { return a == b })
}
