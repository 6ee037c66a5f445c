package pool

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// subnets reads "2001:db8::/40 in 64" and the like.
func subnets(t *testing.T, texts ...string) []policy.Subnets {
	t.Helper()
	var all []policy.Subnets
	for _, text := range texts {
		var prefix string
		var s policy.Subnets
		if _, err := fmt.Sscanf(text, "%s in %d", &prefix, &s.Length); err != nil {
			t.Fatal(err)
		}
		s.Within = netip.MustParsePrefix(prefix)
		all = append(all, s)
	}
	return all
}

// drain allocates until nothing is left, at most most times.
func drain(p *Prefixes, most int) (got []string) {
	for i := range most {
		a, ok := p.Allocate(fmt.Sprint("u", i))
		if !ok {
			break
		}
		got = append(got, a.String())
	}
	return got
}

func TestPrefixesAreHandedOutOnceInOrder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		sets []string
		size uint64
		want []string
	}{
		{"whole", []string{"2001:db8::/56 in 56"}, 1, []string{"2001:db8::/56"}},
		{"in four", []string{"2001:db8:0:8::1/62 in 64"}, 4, []string{
			"2001:db8:0:8::/64", "2001:db8:0:9::/64", "2001:db8:0:a::/64", "2001:db8:0:b::/64",
		}},
		{"across the middle of the address", []string{"2001:db8:0:ffff::/64 in 65"}, 2, []string{
			"2001:db8:0:ffff::/65", "2001:db8:0:ffff:8000::/65",
		}},
		{"longer than half an address", []string{"2001:db8:0:1:ffff:ffff:ffff:fffe/127 in 128"}, 2, []string{
			"2001:db8:0:1:ffff:ffff:ffff:fffe/128", "2001:db8:0:1:ffff:ffff:ffff:ffff/128",
		}},
		{"to the end of the address space", []string{"ffff:ffff:ffff:fffe::/63 in 64"}, 2, []string{
			"ffff:ffff:ffff:fffe::/64", "ffff:ffff:ffff:ffff::/64",
		}},
		{"the end in single addresses", []string{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127 in 128"}, 2, []string{
			"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
		}},
		{"several", []string{"2001:db8:f::/63 in 64", "2001:db8:1::/55 in 56", "2001:db8:f::/64 in 64"}, 4, []string{
			"2001:db8:1::/56", "2001:db8:1:100::/56", "2001:db8:f::/64", "2001:db8:f:1::/64",
		}},
		// Both would hand out the same addresses.
		{"two lengths", []string{"2001:db8::/63 in 64", "2001:db8::/55 in 56", "2001:db8::/55 in 60"}, 2, []string{
			"2001:db8::/56", "2001:db8:0:100::/56",
		}},
		{"everything as one", []string{"::/0 in 0"}, 1, []string{"::/0"}},
		{"invalid", []string{"2001:db8::/48 in 40", "192.0.2.0/24 in 28"}, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := NewPrefixes(subnets(t, c.sets...))
			if _, size := p.Usage(); size != c.size {
				t.Errorf("size %d, want %d", size, c.size)
			}
			if diff := cmp.Diff(c.want, drain(p, 10)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPrefixesGoBackToTheUserThatHadThem(t *testing.T) {
	t.Parallel()
	p := NewPrefixes(subnets(t, "2001:db8::/54 in 56"))
	a, _ := p.Allocate("a")
	b, _ := p.Allocate("b")
	p.Release(a)
	p.Release(b)
	if got, _ := p.Allocate("b"); got != b {
		t.Errorf("b had %v, gets %v", b, got)
	}
	for _, user := range []string{"c", "d"} {
		if got, ok := p.Allocate(user); !ok || got == a {
			t.Errorf("%s gets a's %v though others were nobody's", user, got)
		}
	}
	if got, _ := p.Allocate("e"); got != a {
		t.Errorf("e gets %v, the only free one is %v", got, a)
	}
	if got, ok := p.Allocate("a"); ok {
		t.Errorf("an exhausted pool gives %v", got)
	}
}

func TestPrefixesAreClaimedWhole(t *testing.T) {
	t.Parallel()
	p := NewPrefixes(subnets(t, "2001:db8::/55 in 56"))
	one := netip.MustParsePrefix("2001:db8::1/56") // host bits do not make it another
	if !p.Contains(one) || !p.Claim(one) || p.Claim(one.Masked()) {
		t.Error("Claim is wrong")
	}
	for _, other := range []string{"2001:db8::/64", "2001:db8::/48", "2001:db8:1::/56", "10.0.0.0/8"} {
		if q := netip.MustParsePrefix(other); p.Contains(q) || p.Claim(q) {
			t.Errorf("%s is no prefix of the pool", other)
		}
	}
	if p.Contains(netip.Prefix{}) || p.Claim(netip.Prefix{}) {
		t.Error("an invalid prefix is claimed")
	}
	p.Release(netip.Prefix{})
	p.Release(one)
	if got := drain(p, 10); len(got) != 2 {
		t.Errorf("%v are left", got)
	}
}

func TestPoolOfAllPrefixesIsCheap(t *testing.T) {
	t.Parallel()
	p := NewPrefixes(subnets(t, "::/1 in 128", "8000::/1 in 64"))
	if _, size := p.Usage(); size != ^uint64(0) {
		t.Errorf("size %d", size)
	}
	if got, _ := p.Allocate("x"); got.String() != "::/128" || len(p.seen) != 1 {
		t.Errorf("got %v, %d seen", got, len(p.seen))
	}
}

func TestPoolNeverHandsAPrefixOutTwice(t *testing.T) {
	t.Parallel()
	model(t, NewPrefixes(subnets(t, "2001:db8:1::/51 in 56", "2001:db8:2::/64 in 68", "2001:db8:1:100::/60 in 64")), 32+16,
		func(rnd *rand.Rand) netip.Prefix {
			return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 1, byte(rnd.IntN(32))}), 56)
		},
		netip.Prefix.Overlaps)
}
