// Package transport owns the UDP sockets: listeners, and one connected socket per established tunnel for the kernel's data.
//
// Every socket, listener or tunnel, feeds the same handler, because which of them a datagram reaches is the kernel's choice:
// a tunnel socket receives everything from its peer's address and port, and while it is being bound also what other peers
// send. Control messages always leave through a listener, with the source address the peer knows (P159), so that switching
// the UDP checksum off on tunnel sockets touches data only (S51).
package transport
