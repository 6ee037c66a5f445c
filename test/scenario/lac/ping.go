package lac

import (
	"encoding/binary"
	"slices"
)

// Types of ICMP (RFC 792).
const (
	echoReply   = 0
	echoRequest = 8
)

// pong is what a host answers to an IPv4 packet if it is a ping; nil: it is not.
func pong(packet []byte) []byte {
	const header, icmp = 20, 1 // no options: nobody pings with any
	switch {
	case len(packet) < header+8 || packet[0] != 0x45 || packet[9] != icmp || packet[header] != echoRequest:
		return nil
	case binary.BigEndian.Uint16(packet[6:])&0x3fff != 0: // a fragment
		return nil
	}
	b := slices.Clone(packet)
	copy(b[12:16], packet[16:20])
	copy(b[16:20], packet[12:16])
	b[header] = echoReply
	sum := uint32(binary.BigEndian.Uint16(b[header+2:])) + echoRequest<<8 // the sum is of complements (RFC 1624)
	binary.BigEndian.PutUint16(b[header+2:], uint16(sum+sum>>16))
	return b
}
