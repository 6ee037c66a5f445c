package pool

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// addresses are those of ranges.
type addresses struct {
	ranges []policy.Range // sorted, without overlaps
	total  uint64
	at     netip.Addr // the next; invalid: no more
	in     int        // the range that at is in
}

func newAddresses(ranges []policy.Range) *addresses {
	s := &addresses{}
	sorted := slices.DeleteFunc(slices.Clone(ranges), func(r policy.Range) bool {
		return !r.From.IsValid() || !r.To.IsValid() || r.From.BitLen() != r.To.BitLen() || r.To.Less(r.From)
	})
	slices.SortFunc(sorted, func(a, b policy.Range) int { return a.From.Compare(b.From) })
	for _, r := range sorted {
		if n := len(s.ranges); n > 0 && s.ranges[n-1].Contains(r.From) {
			if s.ranges[n-1].To.Less(r.To) {
				s.ranges[n-1].To = r.To
			}
			continue
		}
		s.ranges = append(s.ranges, r)
	}
	for _, r := range s.ranges {
		s.total = saturate(s.total, r.Size())
	}
	if len(s.ranges) > 0 {
		s.at = s.ranges[0].From
	}
	return s
}

func (s *addresses) next() (netip.Addr, bool) {
	a := s.at
	switch {
	case !a.IsValid():
	case a != s.ranges[s.in].To:
		s.at = a.Next()
	default:
		s.in++
		s.at = netip.Addr{}
		if s.in < len(s.ranges) {
			s.at = s.ranges[s.in].From
		}
	}
	return a, a.IsValid()
}

func (s *addresses) contains(a netip.Addr) bool {
	return slices.ContainsFunc(s.ranges, func(r policy.Range) bool { return r.Contains(a) })
}

func (s *addresses) size() uint64 { return s.total }

func (s *addresses) canonical(a netip.Addr) netip.Addr { return a.Unmap() }

// prefixes are those of sets.
type prefixes struct {
	sets  []policy.Subnets // sorted, without overlaps
	total uint64
	at    netip.Prefix // the next; invalid: no more
	in    int          // the set that at is in
}

func newPrefixes(sets []policy.Subnets) *prefixes {
	s := &prefixes{}
	widest := slices.DeleteFunc(slices.Clone(sets), func(x policy.Subnets) bool { return !x.Valid() })
	slices.SortStableFunc(widest, func(a, b policy.Subnets) int { return a.Within.Bits() - b.Within.Bits() })
	for _, x := range widest {
		if !slices.ContainsFunc(s.sets, x.Overlaps) {
			x.Within = x.Within.Masked()
			s.sets = append(s.sets, x)
			s.total = saturate(s.total, x.Size())
		}
	}
	slices.SortFunc(s.sets, func(a, b policy.Subnets) int { return a.Within.Addr().Compare(b.Within.Addr()) })
	s.enter()
	return s
}

// enter goes to the first prefix of the present set, if there is such a set.
func (s *prefixes) enter() {
	s.at = netip.Prefix{}
	if s.in < len(s.sets) {
		s.at = netip.PrefixFrom(s.sets[s.in].Within.Addr(), s.sets[s.in].Length)
	}
}

func (s *prefixes) next() (netip.Prefix, bool) {
	p := s.at
	if !p.IsValid() {
		return p, false
	}
	after, ok := following(p)
	if ok && s.sets[s.in].Contains(after) {
		s.at = after
	} else {
		s.in++
		s.enter()
	}
	return p, true
}

func (s *prefixes) contains(p netip.Prefix) bool {
	return slices.ContainsFunc(s.sets, func(x policy.Subnets) bool { return x.Contains(p) })
}

func (s *prefixes) size() uint64 { return s.total }

func (s *prefixes) canonical(p netip.Prefix) netip.Prefix { return p.Masked() }

// following is the IPv6 prefix of the same length behind p; false: p ends the address space.
func following(p netip.Prefix) (netip.Prefix, bool) {
	a := p.Addr().As16()
	hi, lo := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	var carry uint64
	if p.Bits() > 64 {
		lo, carry = bits.Add64(lo, 1<<(128-p.Bits()), 0)
		hi, carry = bits.Add64(hi, 0, carry)
	} else {
		hi, carry = bits.Add64(hi, 1<<(64-p.Bits()), 0)
	}
	binary.BigEndian.PutUint64(a[:8], hi)
	binary.BigEndian.PutUint64(a[8:], lo)
	return netip.PrefixFrom(netip.AddrFrom16(a), p.Bits()), carry == 0 && p.Bits() > 0
}

// saturate adds, and stays at the largest uint64.
func saturate(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return ^uint64(0)
	}
	return sum
}
