package wire

import (
	"encoding/binary"
	"fmt"
)

// Bits and fields of the first two octets of an AVP (RFC 2661, 4.1).
const (
	avpMandatory uint16 = 0x8000
	avpHidden    uint16 = 0x4000
	avpReserved  uint16 = 0x3c00
	avpLength    uint16 = 0x03ff
)

// ParseMessage splits the payload of a control message into AVPs (P19-P21). It looks at structure only: Unhide, then
// Validate judge the content. The values alias payload. A ZLB has no payload and is not for ParseMessage.
//
// An error is a *Problem. The message then holds what was read before it: Type is 0 if the Message Type AVP is what is
// wrong, else it tells whether a tunnel or a session is concerned, and AVPs may name the ids to answer to.
func ParseMessage(payload []byte) (Message, error) {
	var m Message
	first, rest, p := nextAVP(m.Type, payload)
	if p == nil {
		p = checkMessageType(first)
	}
	if p != nil {
		return m, p
	}
	m.Type = MessageType(binary.BigEndian.Uint16(first.Value))
	m.Mandatory = first.Mandatory
	n := countAVPs(rest)
	if n > MaxAVPs {
		return m, &Problem{
			Kind: ProblemTooMany, Code: ErrCodeResources, Message: m.Type,
			Text: fmt.Sprintf("%s: more than %d AVPs", m.Type, MaxAVPs),
		}
	}
	if n > 0 {
		m.AVPs = make([]AVP, 0, n)
	}
	for len(rest) > 0 {
		var a AVP
		if a, rest, p = nextAVP(m.Type, rest); p != nil {
			return m, p
		}
		m.AVPs = append(m.AVPs, a)
	}
	return m, nil
}

// checkMessageType says whether the first AVP of a message is a Message Type AVP that can be read. A reserved bit makes
// an AVP unrecognised (P25), and an unrecognised Message Type is none.
func checkMessageType(a AVP) *Problem {
	text, code := "", ErrCodeValue
	switch {
	case a.Vendor != 0 || a.Type != AVPMessageType:
		text = fmt.Sprintf("first AVP is vendor %d type %d, not Message Type", a.Vendor, a.Type)
	case a.Reserved:
		text = "reserved bit set in the Message Type AVP"
	case a.Hidden:
		text = "Message Type AVP is hidden"
	case len(a.Value) != 2:
		text, code = fmt.Sprintf("Message Type AVP with a value of %d octets", len(a.Value)), ErrCodeLength
	default:
		return nil
	}
	return &Problem{Kind: ProblemNoMessageType, Code: code, Vendor: a.Vendor, Type: a.Type, Text: text}
}

// countAVPs counts the well-formed AVPs at the front of b, up to MaxAVPs+1, so that ParseMessage allocates once and no
// more than it uses.
func countAVPs(b []byte) int {
	n := 0
	for n <= MaxAVPs && len(b) >= avpHeaderLen {
		length := int(binary.BigEndian.Uint16(b) & avpLength)
		if length < avpHeaderLen || length > len(b) {
			break
		}
		b = b[length:]
		n++
	}
	return n
}

// nextAVP cuts the first AVP off b. m is for the words of the problem.
func nextAVP(m MessageType, b []byte) (a AVP, rest []byte, p *Problem) {
	if len(b) < avpHeaderLen {
		return a, nil, lengthProblem(m, a, fmt.Sprintf("%d octets where an AVP should begin", len(b)))
	}
	flags := binary.BigEndian.Uint16(b)
	length := int(flags & avpLength)
	a = AVP{
		Mandatory: flags&avpMandatory != 0,
		Hidden:    flags&avpHidden != 0,
		Reserved:  flags&avpReserved != 0,
		Vendor:    binary.BigEndian.Uint16(b[2:]),
		Type:      AVPType(binary.BigEndian.Uint16(b[4:])),
	}
	if length < avpHeaderLen || length > len(b) {
		return a, nil, lengthProblem(m, a, fmt.Sprintf("AVP vendor %d type %d of length %d in %d octets", a.Vendor, a.Type, length, len(b)))
	}
	a.Value = b[avpHeaderLen:length:length]
	return a, b[length:], nil
}

// lengthProblem reports an AVP that does not fit its message. Before the message type is known that is the problem.
func lengthProblem(m MessageType, a AVP, text string) *Problem {
	if m == 0 {
		return &Problem{Kind: ProblemNoMessageType, Code: ErrCodeLength, Vendor: a.Vendor, Type: a.Type, Text: "no Message Type: " + text}
	}
	return &Problem{
		Kind: ProblemLength, Code: ErrCodeLength, Message: m, Vendor: a.Vendor, Type: a.Type,
		Text: fmt.Sprintf("%s: %s", m, text),
	}
}

// find is the value of the first readable AVP t of vendor 0. Ciphertext and AVPs with a reserved bit are not readable.
func (m Message) find(t AVPType) ([]byte, bool) {
	for i := range m.AVPs {
		a := &m.AVPs[i]
		if a.Type == t && a.Vendor == 0 && !a.Hidden && !a.Reserved {
			return a.Value, true
		}
	}
	return nil, false
}

// Has reports whether the message holds a readable AVP t of vendor 0.
func (m Message) Has(t AVPType) bool {
	_, ok := m.find(t)
	return ok
}

// Bytes is the value of AVP t. It aliases the buffer that the message was parsed from.
func (m Message) Bytes(t AVPType) ([]byte, bool) { return m.find(t) }

// Text is the value of AVP t as its sender wrote it: it may be invalid UTF-8 and hold control characters, so quote it
// before it reaches a log (P37).
func (m Message) Text(t AVPType) (string, bool) {
	v, ok := m.find(t)
	return string(v), ok
}

// Uint16 is the value of AVP t; ok is false if it is absent or not 2 octets long.
func (m Message) Uint16(t AVPType) (v uint16, ok bool) {
	b, _ := m.find(t)
	if len(b) != 2 {
		return 0, false
	}
	return binary.BigEndian.Uint16(b), true
}

// Uint32 is the value of AVP t; ok is false if it is absent or not 4 octets long.
func (m Message) Uint32(t AVPType) (v uint32, ok bool) {
	b, _ := m.find(t)
	if len(b) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b), true
}

// Uint64 is the value of AVP t; ok is false if it is absent or not 8 octets long.
func (m Message) Uint64(t AVPType) (v uint64, ok bool) {
	b, _ := m.find(t)
	if len(b) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(b), true
}

// Version is the Protocol Version AVP: 1 and 0 for RFC 2661 (P34).
func (m Message) Version() (ver, rev uint8, ok bool) {
	b, _ := m.find(AVPProtocolVersion)
	if len(b) != 2 {
		return 0, 0, false
	}
	return b[0], b[1], true
}

// Result is the Result Code AVP: 8, 10 or more octets long (P56).
func (m Message) Result() (Result, bool) {
	b, ok := m.find(AVPResultCode)
	if !ok {
		return Result{}, false
	}
	return parseResult(b)
}

// CallErrors is the Call Errors AVP: CRC errors, framing errors, hardware overruns, buffer overruns, time-out errors,
// alignment errors (RFC 2661, 4.4.6).
func (m Message) CallErrors() (counts [6]uint32, ok bool) {
	b, _ := m.find(AVPCallErrors)
	if len(b) != 26 {
		return counts, false
	}
	for i := range counts {
		counts[i] = binary.BigEndian.Uint32(b[2+4*i:])
	}
	return counts, true
}

// ACCM is the ACCM AVP: the maps for sending and receiving (RFC 2661, 4.4.6).
func (m Message) ACCM() (send, receive uint32, ok bool) {
	b, _ := m.find(AVPACCM)
	if len(b) != 10 {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(b[2:]), binary.BigEndian.Uint32(b[6:]), true
}
