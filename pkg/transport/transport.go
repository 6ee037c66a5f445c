package transport

import "net/netip"

// Packet is one datagram, whichever socket received it. Data is valid until the handler returns.
type Packet struct {
	Local  netip.AddrPort // address it was sent to
	Remote netip.AddrPort
	Data   []byte
}

// Handler takes a packet. It is called from several goroutines at once and must not block.
type Handler func(Packet)

// Options of a transport.
type Options struct {
	// ReceiveBuffer is the socket receive buffer in octets; 0 means 4 MiB.
	ReceiveBuffer int
	// NoDataChecksum switches the UDP checksum off on tunnel sockets, which carry the kernel's data (S51). Control leaves
	// through the listener, which keeps it.
	NoDataChecksum bool
	// Mark is SO_MARK of every socket; 0: none. TOS is the DS field octet of every socket.
	Mark uint32
	TOS  int
}
