package subscriber

import (
	"encoding/binary"
	"net/netip"

	"github.com/l2tpd/l2tpd/pkg/ppp"
)

const (
	ipHeader   = 20 // no options
	icmpHeader = 8
	icmp       = 1

	// Types of ICMP (RFC 792).
	echoReply   = 0
	echoRequest = 8
)

// ping is a PPP frame with an ICMP echo request.
func ping(from, to netip.Addr, size int) []byte {
	b := make([]byte, 2+ipHeader+icmpHeader+size)
	binary.BigEndian.PutUint16(b, uint16(ppp.ProtoIPv4))
	ip := b[2:]
	ip[0], ip[8], ip[9] = 0x45, 64, icmp // version and length, time to live, protocol
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	copy(ip[12:16], from.AsSlice())
	copy(ip[16:20], to.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], checksum(ip[:ipHeader]))
	ip[ipHeader] = echoRequest
	binary.BigEndian.PutUint16(ip[ipHeader+2:], checksum(ip[ipHeader:]))
	return b
}

// isPong says that an IPv4 packet is an answer to a ping.
func isPong(packet []byte) bool {
	return len(packet) >= ipHeader+icmpHeader && packet[0] == 0x45 && packet[9] == icmp && packet[ipHeader] == echoReply
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
