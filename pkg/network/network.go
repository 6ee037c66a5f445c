package network

import "net/netip"

// Protocol is the routing protocol id that marks our routes in the kernel ("ip route ... proto 121").
const Protocol = 121

// Interface is the desired state of one PPP interface and of what goes with it.
type Interface struct {
	Name       string
	MTU        int        // 0: leave
	Local      netip.Addr // our IPv4 address; invalid: none (unnumbered without a borrowed address)
	Peer       netip.Addr // the other end's IPv4 address; invalid: none
	LocalIPv6  netip.Addr // our link-local address from IPV6CP; invalid: none
	PeerIPv6   netip.Addr
	IPv4, IPv6 bool           // which NCPs are open: addresses and routes of a closed one are not installed
	Routes     []netip.Prefix // IPv4 and IPv6 networks behind the peer (S167)
	Metric     int            // of the routes; 0: the kernel's default
	Masquerade bool           // source NAT of what leaves here (S168)
	MSSClamp   bool           // TCP MSS follows the path MTU
	Endpoint   netip.Addr     // the tunnel's outer peer: kept off this interface by a host route, so that no loop can form
}
