package wire

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
)

// How much of one value Summary shows, in octets.
const (
	summaryBytes = 32
	summaryText  = 64
)

// masked stands for what must not be seen.
const masked = "***"

// Summary is one line of printable ASCII about a datagram, for traces: kind, ids, numbers and every AVP by name. Hidden
// values, challenges, responses and the values of unknown AVPs are not shown; foreign text is quoted (P37); what is
// malformed is named. The payload of data messages is only counted.
func Summary(datagram []byte) string {
	h, payload, err := ParseHeader(datagram)
	if err != nil {
		return "malformed: " + err.Error() + ", " + octets(len(datagram))
	}
	var s strings.Builder
	if !h.Control {
		writeData(&s, h, payload)
		return s.String()
	}
	if len(payload) == 0 {
		s.WriteString("ZLB")
		writeIDs(&s, h)
		return s.String()
	}
	m, err := ParseMessage(payload)
	if m.Type == 0 && err != nil {
		s.WriteString("control message")
	} else {
		s.WriteString(m.name())
	}
	writeIDs(&s, h)
	m.writeAVPs(&s)
	if err != nil {
		s.WriteString("; malformed: " + err.Error())
	}
	return s.String()
}

// String is the message as Summary shows it, without its header.
func (m Message) String() string {
	var s strings.Builder
	s.WriteString(m.name())
	m.writeAVPs(&s)
	return s.String()
}

// String is the AVP as Summary shows it: secrets are masked.
func (a AVP) String() string {
	return a.describe(0)
}

// name is the message's type, and its M bit where that is unusual.
func (m Message) name() string {
	return m.Type.String() + flagNote(m.Mandatory, m.Type.Known())
}

// flagNote shows an M bit that is not what the catalogue says.
func flagNote(got, usual bool) string {
	switch {
	case got == usual:
		return ""
	case got:
		return "[M=1]"
	}
	return "[M=0]"
}

func writeData(s *strings.Builder, h Header, payload []byte) {
	s.WriteString("data tunnel=" + number(h.TunnelID) + " session=" + number(h.SessionID))
	if h.HasLength {
		s.WriteString(" length=" + number(h.Length))
	}
	if h.HasSequence {
		s.WriteString(" ns=" + number(h.Ns) + " nr=" + number(h.Nr))
	}
	if h.HasOffset {
		s.WriteString(" offset=" + number(h.OffsetSize))
	}
	if h.Priority {
		s.WriteString(" priority")
	}
	if h.Reset {
		s.WriteString(" reset")
	}
	s.WriteString(": " + octets(len(payload)))
}

func writeIDs(s *strings.Builder, h Header) {
	s.WriteString(" tunnel=" + number(h.TunnelID) + " session=" + number(h.SessionID) +
		" ns=" + number(h.Ns) + " nr=" + number(h.Nr))
}

func (m Message) writeAVPs(s *strings.Builder) {
	for i, a := range m.AVPs {
		if i == 0 {
			s.WriteString(": ")
		} else {
			s.WriteString("; ")
		}
		s.WriteString(a.describe(m.Type))
	}
}

// describe names one AVP of a message of type m and shows its value.
func (a AVP) describe(m MessageType) string {
	row := rowOf(a)
	s := a.Type.String()
	switch {
	case a.Vendor != 0 && row != nil:
		s = row.name
	case a.Vendor != 0:
		s = "vendor " + number(a.Vendor) + " AVP " + number(uint16(a.Type))
	}
	s += flagNote(a.Mandatory, row != nil && row.mandatory)
	if a.Reserved {
		s += "[reserved bit]"
	}
	switch {
	case a.Hidden:
		return s + "[H] " + masked
	case row == nil:
		return s + " " + octets(len(a.Value))
	case row.kind == kindSecret:
		return s + " " + masked
	case !row.fits(len(a.Value)):
		return s + " of wrong length, " + octets(len(a.Value))
	case row.kind == kindEmpty:
		return s
	}
	return s + " " + showValue(row.kind, m, a.Value)
}

// showValue decodes a value whose length fits its kind.
func showValue(kind valueKind, m MessageType, v []byte) string {
	switch kind {
	case kindText:
		return quote(v)
	case kindUint16:
		return number(binary.BigEndian.Uint16(v))
	case kindUint32:
		return strconv.FormatUint(uint64(binary.BigEndian.Uint32(v)), 10)
	case kindNumber:
		return strconv.FormatUint(AVP{Value: v}.Number(), 10)
	case kindMessageType:
		return MessageType(binary.BigEndian.Uint16(v)).String()
	case kindResult:
		return showResult(m, v)
	case kindVersion:
		return number(uint16(v[0])) + "." + number(uint16(v[1]))
	case kindFraming:
		return bits(binary.BigEndian.Uint32(v), "sync", "async")
	case kindBearer:
		return bits(binary.BigEndian.Uint32(v), "digital", "analog")
	case kindCause:
		return "cause " + number(binary.BigEndian.Uint16(v)) + " message " + number(uint16(v[2])) + " " + quote(v[3:])
	case kindCallErrors:
		return showCallErrors(v)
	case kindACCM:
		return "send " + hex.EncodeToString(v[2:6]) + " receive " + hex.EncodeToString(v[6:])
	case kindDisconnect:
		return "code " + number(binary.BigEndian.Uint16(v)) + " protocol " + hex.EncodeToString(v[2:4]) +
			" direction " + number(uint16(v[4])) + " " + quote(v[5:])
	case kindAuthType:
		return authType(binary.BigEndian.Uint16(v))
	case kindSecret:
		return masked
	case kindBytes, kindUint64, kindEmpty:
	}
	return hexadecimal(v)
}

func showResult(m MessageType, v []byte) string {
	r, _ := parseResult(v)
	if len(r.Text) > summaryText {
		r.Text = r.Text[:summaryText] + "..."
	}
	if m == MsgStopCCN {
		return r.StopString()
	}
	if m == MsgCDN {
		return r.CDNString()
	}
	return r.String()
}

func showCallErrors(v []byte) string {
	names := [...]string{"crc", "framing", "hardware overruns", "buffer overruns", "time-outs", "alignment"}
	var s strings.Builder
	for i, name := range names {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString(name + " " + strconv.FormatUint(uint64(binary.BigEndian.Uint32(v[2+4*i:])), 10))
	}
	return s.String()
}

// authType is the name of a proxy authentication protocol (RFC 2661, 4.4.5).
func authType(t uint16) string {
	switch t {
	case 1:
		return "text exchange (1)"
	case 2:
		return "CHAP (2)"
	case 3:
		return "PAP (3)"
	case 4:
		return "none (4)"
	case 5:
		return "MS-CHAPv1 (5)"
	}
	return number(t)
}

// bits shows the framing or bearer bits that are set: one names the lowest bit, two the next; others are in hexadecimal.
func bits(v uint32, one, two string) string {
	var parts []string
	if v&1 != 0 {
		parts = append(parts, one)
	}
	if v&2 != 0 {
		parts = append(parts, two)
	}
	if rest := v &^ 3; rest != 0 || v == 0 {
		parts = append(parts, "0x"+strconv.FormatUint(uint64(rest), 16))
	}
	return strings.Join(parts, "+")
}

// quote makes foreign text printable ASCII and keeps it short.
func quote(v []byte) string {
	if len(v) > summaryText {
		return strconv.QuoteToASCII(string(v[:summaryText])) + "... (" + octets(len(v)) + ")"
	}
	return strconv.QuoteToASCII(string(v))
}

func hexadecimal(v []byte) string {
	switch {
	case len(v) == 0:
		return "empty"
	case len(v) > summaryBytes:
		return hex.EncodeToString(v[:summaryBytes]) + "... (" + octets(len(v)) + ")"
	}
	return hex.EncodeToString(v)
}

func octets(n int) string {
	if n == 1 {
		return "1 octet"
	}
	return strconv.Itoa(n) + " octets"
}

func number(n uint16) string { return strconv.Itoa(int(n)) }
