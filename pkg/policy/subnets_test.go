package policy

import (
	"net/netip"
	"testing"
)

func subnets(prefix string, length int) Subnets {
	return Subnets{Within: netip.MustParsePrefix(prefix), Length: length}
}

func TestSubnetsSize(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s    Subnets
		want uint64
	}{
		{Subnets{}, 0},
		{subnets("2001:db8:100::/40", 64), 1 << 24},
		{subnets("2001:db8:100::/40", 40), 1},
		{subnets("2001:db8:100::/40", 39), 0},
		{subnets("::/0", 128), ^uint64(0)},
		{subnets("::/0", 64), ^uint64(0)},
		{subnets("::/1", 64), 1 << 63},
		{subnets("2001:db8::/64", 129), 0},
		{subnets("192.0.2.0/24", 28), 0},
		{subnets("::ffff:192.0.2.0/120", 124), 0},
	} {
		if got := c.s.Size(); got != c.want || c.s.Valid() != (c.want > 0) {
			t.Errorf("%v: size %d, valid %v; want %d", c.s, got, c.s.Valid(), c.want)
		}
	}
}

// A prefix of another length is not one of them, though its addresses are.
func TestSubnetsContainWholePrefixesOnly(t *testing.T) {
	t.Parallel()
	s := subnets("2001:db8:100::/40", 56)
	for prefix, want := range map[string]bool{
		"2001:db8:100::/56":      true,
		"2001:db8:1ff:ff00::/56": true,
		"2001:db8:100:1::1/56":   true,
		"2001:db8:100::/48":      false,
		"2001:db8:100::/64":      false,
		"2001:db8:200::/56":      false,
		"10.0.0.0/8":             false,
	} {
		if got := s.Contains(netip.MustParsePrefix(prefix)); got != want {
			t.Errorf("%s: %v", prefix, got)
		}
	}
	if s.Contains(netip.Prefix{}) || (Subnets{}).Contains(netip.MustParsePrefix("::/0")) {
		t.Error("nothing contains something")
	}
}

func TestSubnetsOverlapWhateverTheirLength(t *testing.T) {
	t.Parallel()
	a := subnets("2001:db8:100::/40", 56)
	if !a.Overlaps(subnets("2001:db8:180::/48", 64)) || a.Overlaps(subnets("2001:db8:200::/40", 56)) || a.Overlaps(Subnets{}) {
		t.Error("Overlaps is wrong")
	}
}
