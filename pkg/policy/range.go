package policy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"strings"
)

// Range is an inclusive range of addresses of one family; the zero Range is "any", of both families (S29, S87).
type Range struct{ From, To netip.Addr }

// Errors of ParseRange.
var (
	errRangeEmpty    = errors.New("empty address range")
	errRangeFamilies = errors.New("both ends of a range must be of one address family")
	errRangeOrder    = errors.New("the range ends before it begins")
	errRangeZone     = errors.New("an address with a zone makes no range")
	errPrefixMapped  = errors.New("a prefix of IPv4-mapped addresses has at least 96 bits")
)

// ParseRange reads "any", one address, "from-to" with both ends included, or a CIDR prefix, of IPv4 or IPv6 (S29).
// A prefix with host bits set means its whole network. An IPv4-mapped IPv6 address, or prefix of them, is taken as IPv4.
func ParseRange(s string) (Range, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return Range{}, errRangeEmpty
	case strings.EqualFold(s, "any"):
		return Range{}, nil
	case strings.Contains(s, "/"):
		return parsePrefix(s)
	}
	from, to, two := strings.Cut(s, "-")
	first, err := parseAddr(from)
	if err != nil {
		return Range{}, err
	}
	last := first
	if two {
		if last, err = parseAddr(to); err != nil {
			return Range{}, err
		}
	}
	if first.Is4() != last.Is4() {
		return Range{}, errRangeFamilies
	}
	if last.Less(first) {
		return Range{}, errRangeOrder
	}
	return Range{From: first, To: last}, nil
}

func parseAddr(s string) (netip.Addr, error) {
	s = strings.TrimSpace(s)
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address", s)
	}
	if a.Zone() != "" {
		return netip.Addr{}, errRangeZone
	}
	return a.Unmap(), nil
}

func parsePrefix(s string) (Range, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return Range{}, fmt.Errorf("%q is not an address prefix", s)
	}
	if p, err = UnmapPrefix(p); err != nil {
		return Range{}, err
	}
	return PrefixRange(p), nil
}

// UnmapPrefix is the IPv4 prefix that a valid prefix of IPv4-mapped addresses stands for; any other prefix is returned as it is.
// It is an error if p has more than the mapped addresses.
func UnmapPrefix(p netip.Prefix) (netip.Prefix, error) {
	const mapped = 96 // bits in front of the IPv4 address
	switch {
	case !p.Addr().Is4In6():
		return p, nil
	case p.Bits() < mapped:
		return netip.Prefix{}, errPrefixMapped
	}
	return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped), nil
}

// PrefixRange is the range of all addresses of a valid prefix, which must not be one of IPv4-mapped addresses: see UnmapPrefix.
func PrefixRange(p netip.Prefix) Range {
	p = p.Masked()
	last := p.Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	to, _ := netip.AddrFromSlice(last)
	return Range{From: p.Addr(), To: to}
}

// IsAny says that r is "any": every address of both families.
func (r Range) IsAny() bool { return !r.From.IsValid() }

// IsWhole says that r is "any" or all of one family: the default row of a table, not a particular source.
func (r Range) IsWhole() bool {
	if r.IsAny() {
		return true
	}
	hi, lo := r.span()
	if r.From.Is4() {
		return lo == 1<<32-1
	}
	return hi&lo == ^uint64(0)
}

// Contains says that a, IPv4-mapped or with a zone or not, is in r. An invalid address is in no range.
func (r Range) Contains(a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	a = a.Unmap().WithZone("")
	if r.IsAny() {
		return true
	}
	return a.Is4() == r.From.Is4() && !a.Less(r.From) && !r.To.Less(a)
}

// Overlaps says that some address is in both.
func (r Range) Overlaps(o Range) bool {
	if r.IsAny() || o.IsAny() {
		return true
	}
	return r.Contains(o.From) || o.Contains(r.From)
}

// Compare orders ranges from the most to the least specific: fewer addresses first, "any" last, a tie by the lower first
// address (S48, S84). It is 0 for identical ranges only.
func (r Range) Compare(o Range) int {
	switch {
	case r.IsAny() && o.IsAny():
		return 0
	case r.IsAny():
		return 1
	case o.IsAny():
		return -1
	}
	rhi, rlo := r.span()
	ohi, olo := o.span()
	switch {
	case rhi != ohi:
		return compare(rhi, ohi)
	case rlo != olo:
		return compare(rlo, olo)
	}
	return r.From.Compare(o.From)
}

// Size is the number of addresses, at most the largest uint64.
func (r Range) Size() uint64 {
	hi, lo := r.span()
	if r.IsAny() || hi != 0 || lo == ^uint64(0) {
		return ^uint64(0)
	}
	return lo + 1
}

// String gives "any", one address, a prefix when the range is one, else "from-to". ParseRange reads it back.
func (r Range) String() string {
	if r.IsAny() {
		return "any"
	}
	if r.From == r.To {
		return r.From.String()
	}
	if p, ok := r.prefix(); ok {
		return p.String()
	}
	return r.From.String() + "-" + r.To.String()
}

// MarshalText gives String.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// prefix is r as a prefix, if it is one.
func (r Range) prefix() (netip.Prefix, bool) {
	hi, lo := r.span()
	n := bits.Len64(lo)
	if hi != 0 {
		n = 64 + bits.Len64(hi)
	}
	p := netip.PrefixFrom(r.From, r.From.BitLen()-n)
	return p, PrefixRange(p) == r
}

// span is To - From as 128 bits; 0 for "any".
func (r Range) span() (hi, lo uint64) {
	if r.IsAny() {
		return 0, 0
	}
	a, b := r.From.As16(), r.To.As16()
	lo, borrow := bits.Sub64(binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(a[8:]), 0)
	hi, _ = bits.Sub64(binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(a[:8]), borrow)
	return hi, lo
}

func compare(a, b uint64) int {
	if a < b {
		return -1
	}
	return 1
}
