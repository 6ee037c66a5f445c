package ppp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Summary is one readable line about a frame, for traces and tests. PAP passwords, CHAP values and MS-CHAP's authenticator responses
// are masked, text of the other side is quoted. It accepts anything.
func Summary(frame []byte) string {
	proto, payload, ok := SplitFrame(frame)
	if !ok {
		return "no protocol"
	}
	head := proto.String() + " "
	switch proto {
	case ProtoLCP, ProtoIPCP, ProtoIPV6CP, ProtoCCP, ProtoPAP, ProtoCHAP:
	case ProtoIPv4, ProtoIPv6, ProtoMPPE:
		return head + octets(len(payload))
	default:
		return head + octets(len(payload))
	}
	p, ok := parsePacket(payload)
	if !ok {
		return head + "broken packet of " + octets(len(payload))
	}
	switch proto {
	case ProtoPAP:
		return head + summarizePAP(p)
	case ProtoCHAP:
		return head + summarizeCHAP(p)
	case ProtoLCP, ProtoIPCP, ProtoIPV6CP, ProtoCCP, ProtoIPv4, ProtoIPv6, ProtoMPPE:
	}
	return head + summarizeControl(proto, p)
}

func octets(n int) string { return strconv.Itoa(n) + " octets" }

func titled(name string, id uint8) string { return fmt.Sprintf("%s id=%d", name, id) }

func summarizePAP(p packet) string {
	switch c := papCode(p.code); c {
	case papRequest:
		name, rest, ok := cutCounted(p.data)
		if _, _, ok2 := cutCounted(rest); !ok || !ok2 {
			return titled("Authenticate-Request", p.id) + " broken"
		}
		return titled("Authenticate-Request", p.id) + fmt.Sprintf(" name=%q password=***", name)
	case papAck, papNak:
		name := "Authenticate-Ack"
		if c == papNak {
			name = "Authenticate-Nak"
		}
		text, _, _ := cutCounted(p.data)
		return titled(name, p.id) + fmt.Sprintf(" message=%q", text)
	}
	return fmt.Sprintf("code %d id=%d", uint8(p.code), p.id)
}

func summarizeCHAP(p packet) string {
	switch c := chapCode(p.code); c {
	case chapChallenge, chapResponse:
		name := "Challenge"
		if c == chapResponse {
			name = "Response"
		}
		_, who, ok := cutCounted(p.data)
		if !ok {
			return titled(name, p.id) + " broken"
		}
		return titled(name, p.id) + fmt.Sprintf(" name=%q value=***", who)
	case chapSuccess:
		if _, rest, ok := authenticatorResponse(string(p.data)); ok {
			return titled("Success", p.id) + fmt.Sprintf(" S=*** message=%q", strings.TrimPrefix(rest, " M="))
		}
		return titled("Success", p.id) + fmt.Sprintf(" message=%q", p.data)
	case chapFailure:
		if code, message, ok := MSCHAPError(string(p.data)); ok {
			return titled("Failure", p.id) + fmt.Sprintf(" error=%d message=%q", code, message)
		}
		return titled("Failure", p.id) + fmt.Sprintf(" message=%q", p.data)
	}
	return fmt.Sprintf("code %d id=%d", uint8(p.code), p.id)
}

func summarizeControl(proto Protocol, p packet) string {
	s := titled(p.code.String(), p.id)
	switch p.code {
	case codeConfigureRequest, codeConfigureAck, codeConfigureNak, codeConfigureReject:
		opts, ok := parseOptions(p.data)
		if !ok {
			return s + " broken options"
		}
		for _, o := range opts {
			s += " " + summarizeOption(proto, o)
		}
		return s
	case codeTerminateRequest, codeTerminateAck:
		if len(p.data) > 0 {
			s += fmt.Sprintf(" text=%q", p.data)
		}
		return s
	case codeCodeReject:
		if len(p.data) > 0 {
			s += fmt.Sprintf(" of %v, %s", code(p.data[0]), octets(len(p.data)))
		}
		return s
	case codeProtocolReject:
		if proto == ProtoLCP && len(p.data) >= 2 {
			return s + fmt.Sprintf(" of %v, %s", Protocol(binary.BigEndian.Uint16(p.data)), octets(len(p.data)-2))
		}
	case codeResetRequest, codeResetAck:
		if proto == ProtoCCP && len(p.data) == 0 {
			return s
		}
	case codeEchoRequest, codeEchoReply, codeDiscardRequest:
		if proto == ProtoLCP && len(p.data) >= 4 {
			return s + fmt.Sprintf(" magic=%08x", binary.BigEndian.Uint32(p.data))
		}
	}
	return s + " " + octets(len(p.data))
}

func summarizeOption(proto Protocol, o option) string {
	switch proto {
	case ProtoLCP:
		return summarizeLCPOption(o)
	case ProtoIPCP:
		name, known := map[uint8]string{
			ipcpAddress: "addr", ipcpDNS1: "dns1", ipcpDNS2: "dns2", ipcpNBNS1: "nbns1", ipcpNBNS2: "nbns2",
		}[o.typ]
		if a, ok := netip.AddrFromSlice(o.data); known && ok && a.Is4() {
			return name + "=" + a.String()
		}
	case ProtoIPV6CP:
		if o.typ == ipv6cpInterfaceID && len(o.data) == 8 {
			return fmt.Sprintf("id=%016x", o.data)
		}
	case ProtoCCP:
		if o.typ == ccpMPPE && len(o.data) == len(mppeBits) {
			return "mppe=" + mppeLetters(o.data)
		}
	case ProtoIPv4, ProtoIPv6, ProtoMPPE, ProtoPAP, ProtoCHAP:
	}
	return fmt.Sprintf("%d=%x", o.typ, o.data)
}

func summarizeLCPOption(o option) string {
	switch {
	case o.typ == lcpMRU && len(o.data) == 2:
		return fmt.Sprintf("mru=%d", binary.BigEndian.Uint16(o.data))
	case o.typ == lcpACCM && len(o.data) == 4:
		return fmt.Sprintf("accm=%x", o.data)
	case o.typ == lcpMagic && len(o.data) == 4:
		return fmt.Sprintf("magic=%x", o.data)
	case o.typ == lcpPFC && len(o.data) == 0:
		return "pfc"
	case o.typ == lcpACFC && len(o.data) == 0:
		return "acfc"
	case o.typ == lcpAuth:
		if m, ok := parseAuthOption(o.data); ok {
			return "auth=" + strings.ToLower(m.String())
		}
		return fmt.Sprintf("auth=%x", o.data)
	}
	return fmt.Sprintf("%d=%x", o.typ, o.data)
}

// mppeLetters writes Supported Bits with the letters of RFC 3078, 2: "HS"; what has no letter, or none at all, in hex.
func mppeLetters(bits []byte) string {
	v, letters := binary.BigEndian.Uint32(bits), ""
	for _, b := range [...]struct {
		bit    uint32
		letter string
	}{{1 << 24, "H"}, {1 << 7, "M"}, {1 << 6, "S"}, {1 << 5, "L"}, {1 << 4, "D"}, {1, "C"}} {
		if v&b.bit != 0 {
			letters += b.letter
			v &^= b.bit
		}
	}
	if v != 0 || letters == "" {
		return fmt.Sprintf("%x", bits)
	}
	return letters
}
