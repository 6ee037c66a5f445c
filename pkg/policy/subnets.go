package policy

import (
	"fmt"
	"net/netip"
)

// Subnets are all IPv6 prefixes of one length within a prefix. The zero Subnets has none.
type Subnets struct {
	Within netip.Prefix
	Length int // Within.Bits() to 128
}

// Valid says that there is at least one: Within is an IPv6 prefix, and Length is no shorter than it.
func (s Subnets) Valid() bool {
	a := s.Within.Addr()
	return s.Within.IsValid() && a.Is6() && !a.Is4In6() && s.Within.Bits() <= s.Length && s.Length <= a.BitLen()
}

// Contains says that p, host bits in it or not, is one of them: not a part of one, nor several together.
func (s Subnets) Contains(p netip.Prefix) bool {
	return s.Valid() && p.Bits() == s.Length && s.Within.Contains(p.Addr())
}

// Overlaps says that some address is in both, whatever the lengths.
func (s Subnets) Overlaps(o Subnets) bool {
	return s.Valid() && o.Valid() && s.Within.Overlaps(o.Within)
}

// Size is how many they are, at most the largest uint64.
func (s Subnets) Size() uint64 {
	switch {
	case !s.Valid():
		return 0
	case s.Length-s.Within.Bits() >= 64:
		return ^uint64(0)
	}
	return 1 << (s.Length - s.Within.Bits())
}

// String is such as "2001:db8:100::/40 in /56".
func (s Subnets) String() string { return fmt.Sprintf("%v in /%d", s.Within, s.Length) }
