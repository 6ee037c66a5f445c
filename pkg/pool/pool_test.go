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

// A model: whatever the order of calls, no address is in use twice, and all of them can be.
func TestPoolNeverHandsAnAddressOutTwice(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	p := newPool(t, "10.0.0.0-10.0.0.30", "10.0.1.0/28")
	const size = 31 + 16
	used := map[netip.Addr]bool{}
	var list []netip.Addr
	for range 100000 {
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
			a := netip.AddrFrom4([4]byte{10, 0, 0, byte(rnd.IntN(31))})
			if p.Claim(a) == used[a] {
				t.Fatalf("claim of %v, in use: %v", a, used[a])
			}
			if !used[a] {
				used[a], list = true, append(list, a)
			}
		default:
			a, ok := p.Allocate(fmt.Sprint(rnd.IntN(60)))
			if ok != (len(list) < size) {
				t.Fatalf("%d of %d in use, ok %v", len(list), size, ok)
			}
			if ok && (used[a] || !p.Contains(a)) {
				t.Fatalf("%v handed out, in use: %v", a, used[a])
			}
			if ok {
				used[a], list = true, append(list, a)
			}
		}
		if n, _ := p.Usage(); n != uint64(len(list)) {
			t.Fatalf("usage %d, want %d", n, len(list))
		}
	}
	if len(p.queue) > 2*size+1 || len(p.last) > size {
		t.Errorf("memory grows: %d queued, %d remembered", len(p.queue), len(p.last))
	}
}
