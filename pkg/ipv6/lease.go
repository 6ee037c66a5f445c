package ipv6

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Time is an instant: nanoseconds on a clock that never goes back.
type Time = time.Duration

// Lease is what the subscriber of one interface gets.
type Lease struct {
	// LinkLocal is our own address on the interface, the source of all that we send: it must be there already. Invalid: the
	// kernel chooses.
	LinkLocal netip.Addr
	// Link is the /64 from which hosts on the link make their addresses. Invalid: none.
	Link netip.Prefix
	// Delegated is the prefix for the networks behind the subscriber's router, given when it asks. Invalid: none.
	Delegated netip.Prefix
	DNS       []netip.Addr // at most 16, IPv6
	MTU       int          // of the link; below 1280, the least of IPv6, it is not told
	// Preferred and Valid are the lifetimes of Link and Delegated, in whole seconds. 0: one and two hours. They bound how long a
	// subscriber that lost its link uses what another has by then; the first also how long a lost registration goes unnoticed.
	Preferred, Valid time.Duration
}

const (
	minMTU           = 1280 // RFC 8200, 5
	maxDNS           = 16   // so that an advertisement is far below minMTU
	slaacBits        = 64   // RFC 7421: what interface identifiers leave
	defaultPreferred = time.Hour
	defaultValid     = 2 * time.Hour
	infinite         = 0xffffffff * time.Second // RFC 4861, 4.6.2
)

// complete fills in what is left out, and says what cannot be.
func (l Lease) complete() (Lease, error) {
	if l.Preferred == 0 {
		l.Preferred = defaultPreferred
	}
	if l.Valid == 0 {
		l.Valid = max(defaultValid, l.Preferred)
	}
	l.Preferred, l.Valid = min(l.Preferred, infinite), min(l.Valid, infinite)
	l.DNS = slices.Clone(l.DNS)
	switch {
	case l.LinkLocal.IsValid() && (!l.LinkLocal.Is6() || !l.LinkLocal.IsLinkLocalUnicast()):
		return l, fmt.Errorf("source %v is no link-local address", l.LinkLocal)
	case l.Link.IsValid() && (!plain(l.Link) || l.Link.Bits() != slaacBits):
		return l, fmt.Errorf("link prefix %v: hosts make addresses from an IPv6 prefix of 64 bits", l.Link)
	case l.Delegated.IsValid() && (!plain(l.Delegated) || l.Delegated.Bits() == 0):
		return l, fmt.Errorf("delegated prefix %v is no IPv6 prefix", l.Delegated)
	case l.Link.IsValid() && l.Delegated.IsValid() && l.Link.Overlaps(l.Delegated):
		return l, fmt.Errorf("delegated prefix %v and link prefix %v overlap", l.Delegated, l.Link)
	case len(l.DNS) > maxDNS:
		return l, fmt.Errorf("%d DNS servers, more than %d", len(l.DNS), maxDNS)
	case l.Preferred < time.Second || l.Valid < l.Preferred:
		return l, fmt.Errorf("lifetimes %v preferred, %v valid: the first must be at least a second and no more than the other", l.Preferred, l.Valid)
	}
	for _, a := range l.DNS {
		if !a.Is6() || a.Is4In6() || a.Zone() != "" {
			return l, fmt.Errorf("DNS server %v is no IPv6 address", a)
		}
	}
	return l, nil
}

// plain says that p is an IPv6 prefix without host bits.
func plain(p netip.Prefix) bool {
	return p.Addr().Is6() && !p.Addr().Is4In6() && p == p.Masked()
}

// dhcp says that there is something to be had by DHCPv6.
func (l Lease) dhcp() bool { return l.Delegated.IsValid() || len(l.DNS) > 0 }

// Change is what happened to a delegated prefix.
type Change uint8

// Changes of a delegated prefix.
const (
	Taken    Change = iota + 1 // a router has it from now on, also instead of another
	Released                   // the router gave it back
	Expired                    // the router did not renew it
)

func (c Change) String() string {
	switch c {
	case Taken:
		return "taken"
	case Released:
		return "released"
	case Expired:
		return "expired"
	}
	return fmt.Sprintf("Change(%d)", uint8(c))
}

// Event tells the owner of an interface what became of the delegated prefix.
type Event struct {
	Change Change
	Prefix netip.Prefix
	Router netip.Addr // link-local: the next hop of the prefix
	// Ready is set with Taken: the owner calls it when the prefix leads to the interface, and only then the router is told that
	// the prefix is its own. It may be called at any time, but not from within the function that got the Event. Until then the
	// router asks again; an owner that cannot install the route never calls it.
	Ready func()
}
