package ppp

import (
	"bytes"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// protoEAP is not spoken here, but a peer's may come, and is sent back in a Protocol-Reject (RFC 3748).
const protoEAP = 0xc227

// Codes and types of EAP that are told apart (RFC 3748, 4 and 5).
const (
	eapRequest  code = 1
	eapResponse code = 2
	eapNak           = 3 // this type and those below it are no login
	eapMD5           = 4
)

// What of a user's packet stays, in octets.
const (
	ipv4Header = 20
	ipv6Header = 40
)

// Mask overwrites in a frame, in place, what must not be seen in a capture, octet for octet, so that all lengths stay right: PAP
// passwords, CHAP and MS-CHAP responses, MS-CHAPv2's answer to them, logins of EAP, what other login protocols say, all of that
// in a Protocol-Reject too, and what cannot be read. Challenges stay. Of a user's packet only the header is for a capture: the
// result is the frame without what comes behind.
func Mask(frame []byte) []byte {
	proto, payload, ok := SplitFrame(frame)
	if !ok {
		wire.Blank(frame)
		return frame
	}
	head := len(frame) - len(payload)
	switch proto {
	case ProtoIPv4:
		return frame[:head+min(len(payload), ipv4Header)]
	case ProtoIPv6:
		return frame[:head+min(len(payload), ipv6Header)]
	case ProtoLCP, ProtoPAP, ProtoCHAP, ProtoIPCP, ProtoIPV6CP, ProtoCCP, ProtoMPPE:
	}
	if proto < 0x8000 { // of a network protocol: data
		return frame[:head]
	}
	p, ok := parsePacket(payload)
	if !ok {
		wire.Blank(payload[min(len(payload), packetHeader):])
		return frame
	}
	wire.Blank(payload[len(p.raw):])
	switch proto {
	case ProtoPAP:
		maskPAP(p)
	case ProtoCHAP:
		maskCHAP(p)
	case ProtoLCP:
		if p.code == codeProtocolReject {
			wire.Blank(p.data[len(Mask(p.data)):])
		}
	case ProtoIPCP, ProtoIPV6CP, ProtoCCP, ProtoIPv4, ProtoIPv6, ProtoMPPE:
	default:
		switch {
		case proto == protoEAP:
			maskEAP(p)
		case proto >= 0xc000: // neither a network's control protocol nor one that is known: a login perhaps
			wire.Blank(p.data)
		}
	}
	return frame
}

func maskPAP(p packet) {
	switch papCode(p.code) {
	case papAck, papNak:
		return
	case papRequest:
		if _, rest, ok := cutCounted(p.data); ok {
			if password, behind, ok := cutCounted(rest); ok {
				wire.Blank(password)
				wire.Blank(behind)
				return
			}
		}
	}
	wire.Blank(p.data)
}

func maskCHAP(p packet) {
	switch chapCode(p.code) {
	case chapChallenge, chapFailure:
		return
	case chapResponse:
		if value, _, ok := cutCounted(p.data); ok {
			wire.Blank(value)
			return
		}
	case chapSuccess: // MS-CHAPv2's proves the password too (RFC 2759, 5)
		if said, ok := bytes.CutPrefix(p.data, []byte("S=")); ok {
			said, _, _ = bytes.Cut(said, []byte(" "))
			wire.Blank(said)
		}
		return
	}
	wire.Blank(p.data)
}

func maskEAP(p packet) {
	if p.code != eapRequest && p.code != eapResponse || len(p.data) == 0 || p.data[0] <= eapNak {
		return
	}
	if p.data[0] == eapMD5 {
		if value, _, ok := cutCounted(p.data[1:]); ok {
			if p.code == eapResponse {
				wire.Blank(value)
			}
			return
		}
	}
	wire.Blank(p.data[1:])
}
