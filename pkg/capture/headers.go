package capture

import (
	"encoding/binary"
	"net/netip"
)

const (
	ipv4Len, ipv6Len, udpLen = 20, 40, 8

	protocolUDP = 17
	hops        = 64
)

// appendHeaders makes up the IP and UDP headers of a datagram. Lengths are those of the whole datagram. The checksum is right
// where nothing was cut off; else it is 0, which says that there is none.
func appendHeaders(dst []byte, p Packet) []byte {
	from, to := p.From.Addr().Unmap(), p.To.Addr().Unmap()
	if from.Is4() != to.Is4() || !from.IsValid() { // an end that is not known
		from, to = sameFamily(from, to)
	}
	length := uint16(min(udpLen+p.Length, 0xffff))
	if from.Is4() {
		dst = appendIPv4(dst, from.As4(), to.As4(), length)
	} else {
		dst = append(dst, 0x60, 0, 0, 0)
		dst = binary.BigEndian.AppendUint16(dst, length)
		dst = append(dst, protocolUDP, hops)
		dst = append(dst, from.AsSlice()...)
		dst = append(dst, to.AsSlice()...)
	}
	udp := len(dst)
	dst = binary.BigEndian.AppendUint16(dst, p.From.Port())
	dst = binary.BigEndian.AppendUint16(dst, p.To.Port())
	dst = binary.BigEndian.AppendUint16(dst, length)
	dst = append(dst, 0, 0)
	if len(p.Data) == p.Length {
		n := uint32(protocolUDP) + uint32(length) // of the pseudo-header
		n = sum(sum(sum(sum(n, from.AsSlice()), to.AsSlice()), dst[udp:]), p.Data)
		c := ^fold(n)
		if c == 0 {
			c = 0xffff
		}
		binary.BigEndian.PutUint16(dst[udp+6:], c)
	}
	return dst
}

// sameFamily replaces an address that is not known, or a wildcard of the other family.
func sameFamily(from, to netip.Addr) (netip.Addr, netip.Addr) {
	wildcard := func(of netip.Addr) netip.Addr {
		if of.Is4() {
			return netip.IPv4Unspecified()
		}
		return netip.IPv6Unspecified()
	}
	switch {
	case !from.IsValid() || to.IsValid() && from.IsUnspecified():
		return wildcard(to), or(to)
	default:
		return from, wildcard(from)
	}
}

// or is a, or IPv6's wildcard.
func or(a netip.Addr) netip.Addr {
	if !a.IsValid() {
		return netip.IPv6Unspecified()
	}
	return a
}

func appendIPv4(dst []byte, from, to [4]byte, length uint16) []byte {
	head := len(dst)
	dst = append(dst, 0x45, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(min(ipv4Len+int(length), 0xffff)))
	dst = append(dst, 0, 0, 0, 0, hops, protocolUDP, 0, 0)
	dst = append(dst, from[:]...)
	dst = append(dst, to[:]...)
	binary.BigEndian.PutUint16(dst[head+10:], ^fold(sum(0, dst[head:])))
	return dst
}

// sum adds b to an Internet checksum (RFC 1071).
func sum(n uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		n += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) > 0 {
		n += uint32(b[0]) << 8
	}
	return uint32(fold(n))
}

func fold(n uint32) uint16 {
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}
