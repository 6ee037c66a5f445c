package ppp

import "encoding/binary"

// SplitFrame takes one PPP frame apart: an optional FF 03 and a protocol field of one or two octets (RFC 1661, 6.5 and
// 6.6; P183, P184) are accepted at any time, whatever was negotiated. The payload shares b's memory. It is false when
// no protocol field is there. A number that breaks the rules of RFC 1661, 2 is returned as it is: it is an unknown protocol.
func SplitFrame(b []byte) (Protocol, []byte, bool) {
	if len(b) >= 2 && b[0] == 0xff && b[1] == 0x03 {
		b = b[2:]
	}
	if len(b) == 0 {
		return 0, nil, false
	}
	if b[0]&1 == 1 {
		return Protocol(b[0]), b[1:], true
	}
	if len(b) < 2 {
		return 0, nil, false
	}
	return Protocol(binary.BigEndian.Uint16(b)), b[2:], true
}

// PlainFrame is a copy of a frame without FF 03 and with a protocol field of two octets.
func PlainFrame(b []byte) []byte {
	p, payload, ok := SplitFrame(b)
	if !ok {
		return nil
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(p)), payload...)
}

// code is the first octet of a control packet. LCP and the NCPs share 1 to 7 (RFC 1661, 5).
type code uint8

const (
	codeConfigureRequest code = 1 + iota
	codeConfigureAck
	codeConfigureNak
	codeConfigureReject
	codeTerminateRequest
	codeTerminateAck
	codeCodeReject
	codeProtocolReject // this one and the following: LCP only
	codeEchoRequest
	codeEchoReply
	codeDiscardRequest
	codeResetRequest code = 14 // this one and the following: CCP only (RFC 1962, 5)
	codeResetAck     code = 15
)

const packetHeader = 4 // code, identifier, length

// packet is a control or authentication packet: code, identifier, two octets of length, data (RFC 1661, 5).
type packet struct {
	code code
	id   uint8
	data []byte
	raw  []byte // the whole packet without padding
}

// parsePacket reads b and drops padding behind the stated length. It is false when the length is impossible; such a
// packet is silently discarded (RFC 1661, 5).
func parsePacket(b []byte) (packet, bool) {
	if len(b) < packetHeader {
		return packet{}, false
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n < packetHeader || n > len(b) {
		return packet{}, false
	}
	return packet{code: code(b[0]), id: b[1], data: b[packetHeader:n], raw: b[:n]}, true
}

// newFrame builds one freshly owned frame with the full protocol field.
func newFrame[C code | papCode | chapCode](p Protocol, c C, id uint8, data ...[]byte) []byte {
	n := packetHeader
	for _, d := range data {
		n += len(d)
	}
	f := make([]byte, 0, 2+n)
	f = binary.BigEndian.AppendUint16(f, uint16(p))
	f = append(f, byte(c), id)
	f = binary.BigEndian.AppendUint16(f, uint16(n))
	for _, d := range data {
		f = append(f, d...)
	}
	return f
}

// option is one configuration option (RFC 1661, 6). raw is type, length and data.
type option struct {
	typ  uint8
	data []byte
	raw  []byte
}

// parseOptions is false when a length is impossible: the packet cannot be answered option by option and is discarded.
// The options share b's memory.
func parseOptions(b []byte) ([]option, bool) {
	var opts []option
	for len(b) > 0 {
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return nil, false
		}
		n := int(b[1])
		opts = append(opts, option{typ: b[0], data: b[2:n], raw: b[:n]})
		b = b[n:]
	}
	return opts, true
}

// appendOption appends one option. The data is shorter than 254 octets.
func appendOption(dst []byte, typ uint8, data ...byte) []byte {
	dst = append(dst, typ, byte(2+len(data)))
	return append(dst, data...)
}
