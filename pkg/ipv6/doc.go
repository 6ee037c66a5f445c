// Package ipv6 gives IPv6 to the subscribers behind PPP interfaces: router advertisements, from which a host makes its addresses,
// and DHCPv6, by which a router asks for a prefix of its own (P264).
//
// Two sockets and three goroutines serve all interfaces. What is answered, and when, is decided without sockets and clock (core);
// the Server around it reads, sends and waits.
package ipv6
