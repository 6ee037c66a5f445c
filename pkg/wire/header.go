package wire

import (
	"encoding/binary"
	"errors"
)

// Reasons why a datagram is not an L2TPv2 message. ParseHeader returns them bare, so a flood costs no memory; the
// answer to each is silence and a counter.
var (
	ErrShort           = errors.New("datagram shorter than its L2TP header")    // P7
	ErrVersion         = errors.New("not L2TP version 2")                       // P5
	ErrMalformedHeader = errors.New("wrong bits or lengths in the L2TP header") // P2, P3, P6, P9
)

// Bits of the first two octets (RFC 2661, 3.1).
const (
	bitControl     uint16 = 0x8000
	bitLength      uint16 = 0x4000
	bitReset       uint16 = 0x2000
	bitSequence    uint16 = 0x0800
	bitOffset      uint16 = 0x0200
	bitPriority    uint16 = 0x0100
	maskVersion    uint16 = 0x000f
	protocolL2TPv2 uint16 = 2
)

// controlHeaderLen is the length of a control header, all of whose fields are mandatory, in octets.
const controlHeaderLen = 12

// ParseHeader splits a datagram into its header and its payload, which aliases datagram.
//
// A control message ends where its Length says; a data message with a Length too, and what follows is ignored (P6, P10).
// The payload of a data message begins after the offset padding (P9). Reserved bits are ignored (P4). The payload of a
// control message is empty for a ZLB. Errors are ErrShort, ErrVersion and ErrMalformedHeader; Header then holds what was
// read so far.
func ParseHeader(datagram []byte) (h Header, payload []byte, err error) {
	if len(datagram) < 2 {
		return h, nil, ErrShort
	}
	flags := binary.BigEndian.Uint16(datagram)
	h.Control = flags&bitControl != 0
	h.HasLength = flags&bitLength != 0
	h.HasSequence = flags&bitSequence != 0
	h.HasOffset = flags&bitOffset != 0
	h.Priority = flags&bitPriority != 0
	h.Reset = flags&bitReset != 0
	h.Version = uint8(flags & maskVersion)
	if flags&maskVersion != protocolL2TPv2 {
		return h, nil, ErrVersion
	}
	if h.Control && (!h.HasLength || !h.HasSequence || h.HasOffset || h.Priority) {
		return h, nil, ErrMalformedHeader
	}
	return parseFields(h, datagram)
}

// parseFields reads the fields that the flag bits in h announce.
func parseFields(h Header, datagram []byte) (Header, []byte, error) {
	size := 6
	if h.HasLength {
		size += 2
	}
	if h.HasSequence {
		size += 4
	}
	if h.HasOffset {
		size += 2
	}
	if len(datagram) < size {
		return h, nil, ErrShort
	}
	rest := datagram[2:size]
	next := func() uint16 {
		v := binary.BigEndian.Uint16(rest)
		rest = rest[2:]
		return v
	}
	end := len(datagram)
	if h.HasLength {
		h.Length = next()
		end = int(h.Length)
	}
	h.TunnelID = next()
	h.SessionID = next()
	if h.HasSequence {
		h.Ns = next()
		h.Nr = next()
	}
	if h.HasOffset {
		h.OffsetSize = next()
	}
	begin := size + int(h.OffsetSize)
	if end > len(datagram) || begin > end {
		return h, nil, ErrMalformedHeader
	}
	return h, datagram[begin:end:end], nil
}

// AppendZLB appends a zero-length body acknowledgement, 12 octets (RFC 2661, 5.8). tunnelID is the peer's.
func AppendZLB(dst []byte, tunnelID, ns, nr uint16) []byte {
	return appendControlHeader(dst, tunnelID, 0, ns, nr)
}

// appendControlHeader appends a control header whose Length says "header only".
func appendControlHeader(dst []byte, tunnelID, sessionID, ns, nr uint16) []byte {
	dst = binary.BigEndian.AppendUint16(dst, bitControl|bitLength|bitSequence|protocolL2TPv2)
	dst = binary.BigEndian.AppendUint16(dst, controlHeaderLen)
	dst = binary.BigEndian.AppendUint16(dst, tunnelID)
	dst = binary.BigEndian.AppendUint16(dst, sessionID)
	dst = binary.BigEndian.AppendUint16(dst, ns)
	return binary.BigEndian.AppendUint16(dst, nr)
}

// PatchNr writes nr into a control message made by AppendMessage or AppendZLB: a retransmission keeps its Ns and
// content but carries the newest Nr (P137). It panics if datagram is shorter than a control header.
func PatchNr(datagram []byte, nr uint16) {
	binary.BigEndian.PutUint16(datagram[10:controlHeaderLen], nr)
}

// AppendDataHeader appends the shortest data header, 6 octets, for a frame that user space sends itself. priority sets
// the P bit, which LCP echoes carry (P17). Both ids are the peer's.
func AppendDataHeader(dst []byte, tunnelID, sessionID uint16, priority bool) []byte {
	flags := protocolL2TPv2
	if priority {
		flags |= bitPriority
	}
	dst = binary.BigEndian.AppendUint16(dst, flags)
	dst = binary.BigEndian.AppendUint16(dst, tunnelID)
	return binary.BigEndian.AppendUint16(dst, sessionID)
}
