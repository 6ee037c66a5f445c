package ipv6

import (
	"net/netip"
	"time"

	"github.com/mdlayher/ndp"
)

// Times of router advertisements (RFC 4861, 6.2.1 and 10).
const (
	// The link is point-to-point and ends when either end does, of which LCP makes sure: advertisements only renew lifetimes, and
	// are as rare as the RFC allows. With thousands of links, and idle time-outs that they would keep from passing, it matters.
	maxInterval    = 30 * time.Minute
	minInterval    = 4 * time.Second
	initialAdverts = 3
	// A host that was not ready for the first one asks, if it can; the RFC's 16 s are the most that is allowed.
	initialInterval = 5 * time.Second
	minBetween      = 3 * time.Second // of advertisements to all nodes

	solicitBurst = 4 // a host asks three times
	solicitEvery = time.Second

	hopLimit   = 64  // for hosts to use
	ndHopLimit = 255 // what no router has forwarded (RFC 4861, 6.1)

	typeSolicitation = 133
)

var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allServers = netip.MustParseAddr("ff02::1:2") // and relay agents (RFC 8415, 7.1)
)

// interval is the longest time between two advertisements: a lost one must not cost a prefix its preference.
func (l Lease) interval() time.Duration {
	return max(min(l.Preferred/2, maxInterval), minInterval)
}

// advertisement encodes the router advertisement of a lease.
//
// The prefix is for addresses (A), but is not on the link (L is 0): on a point-to-point link there is nobody but us to be
// reached directly, and a router that gets no prefix of its own may then use this one for the network behind it (RFC 7278).
// There is no link-layer address to tell.
func advertisement(lease Lease) ([]byte, error) {
	lifetime := 3 * lease.interval()
	ra := &ndp.RouterAdvertisement{
		CurrentHopLimit: hopLimit,
		// Addresses are not to be had by DHCPv6 (M), but a router asks for a prefix only when one of the two flags is set
		// (RFC 7084, WPD-4).
		OtherConfiguration: lease.dhcp(),
		RouterLifetime:     lifetime,
	}
	if lease.MTU >= minMTU {
		ra.Options = append(ra.Options, ndp.NewMTU(uint32(lease.MTU)))
	}
	if lease.Link.IsValid() {
		ra.Options = append(ra.Options, &ndp.PrefixInformation{
			PrefixLength: uint8(lease.Link.Bits()), Prefix: lease.Link.Addr(), AutonomousAddressConfiguration: true,
			PreferredLifetime: lease.Preferred, ValidLifetime: lease.Valid,
		})
	}
	if len(lease.DNS) > 0 {
		ra.Options = append(ra.Options, &ndp.RecursiveDNSServer{Lifetime: lifetime, Servers: lease.DNS})
	}
	return ndp.MarshalMessage(ra)
}

// advertise gives the advertisement that is due, to all nodes, and sets the time of the next.
func (l *link) advertise(now Time) packet {
	l.toAll = now
	if l.initial > 0 {
		l.initial--
	}
	if l.initial > 0 {
		l.advertAt = now + initialInterval
	} else {
		longest := l.lease.interval()
		l.advertAt = now + longest - l.core.within(longest/3)
	}
	return l.advertTo(allNodes)
}

func (l *link) advertTo(to netip.Addr) packet {
	l.core.counts.Advertisements++
	return l.packet(to, l.advert)
}

// solicitation takes what came on the ICMPv6 socket. A host that says who it is gets its answer at once, and alone: on a
// point-to-point link there is no other router whose answer could collide, for which RFC 4861, 6.2.6 has a random delay of at
// most half a second. Any other gets the next advertisement to all nodes early.
func (c *core) solicitation(now Time, d datagram) (packet, bool) {
	l := c.links[d.index]
	switch {
	case l == nil:
		c.counts.Unserved++
		return packet{}, false
	case !validSolicitation(d):
		c.counts.Malformed++
		return packet{}, false
	case !l.solicited.take(now, solicitBurst, solicitEvery):
		c.counts.Limited++
		return packet{}, false
	}
	c.counts.Solicitations++
	if !d.from.IsLinkLocalUnicast() {
		l.advertAt = min(l.advertAt, max(now, l.toAll+minBetween))
		c.due.arm(l)
		return packet{}, false
	}
	return l.advertTo(d.from), true
}

// validSolicitation checks a router solicitation (RFC 4861, 6.1.1), but for its checksum, which the kernel has seen to.
func validSolicitation(d datagram) bool {
	const header, unit, sourceLinkLayer = 8, 8, 1
	b := d.data
	if d.hops != ndHopLimit || len(b) < header || b[0] != typeSolicitation || b[1] != 0 {
		return false
	}
	for b = b[header:]; len(b) > 0; {
		if len(b) < unit || b[1] == 0 || int(b[1])*unit > len(b) {
			return false
		}
		if b[0] == sourceLinkLayer && d.from.IsUnspecified() {
			return false
		}
		b = b[int(b[1])*unit:]
	}
	return true
}
