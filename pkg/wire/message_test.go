package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rawAVP is an AVP built by hand, with the six flag bits as given (0x8000 M, 0x4000 H, 0x3c00 reserved).
func rawAVP(flags, vendor, attribute uint16, value ...byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, flags|uint16(6+len(value)))
	b = binary.BigEndian.AppendUint16(b, vendor)
	b = binary.BigEndian.AppendUint16(b, attribute)
	return append(b, value...)
}

// payload is a message payload built by hand: a Message Type AVP with M and the AVPs given.
func payload(m MessageType, avps ...[]byte) []byte {
	return append(rawAVP(0x8000, 0, 0, byte(m>>8), byte(m)), bytes.Join(avps, nil)...)
}

func TestParseMessageKeepsOrderAndFlags(t *testing.T) {
	t.Parallel()
	// P19.
	b := payload(MsgICRQ,
		rawAVP(0x8000, 0, 14, 0, 1),
		rawAVP(0x4000, 0, 22, 9, 9, 9),
		rawAVP(0, 9, 77, 1),
		rawAVP(0x0400, 0, 15),
		rawAVP(0x2000, 0, 15),
	)
	m, err := ParseMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	want := Message{Type: MsgICRQ, Mandatory: true, AVPs: []AVP{
		{Mandatory: true, Type: 14, Value: []byte{0, 1}},
		{Hidden: true, Type: 22, Value: []byte{9, 9, 9}},
		{Vendor: 9, Type: 77, Value: []byte{1}},
		{Reserved: true, Type: 15, Value: []byte{}},
		{Reserved: true, Type: 15, Value: []byte{}},
	}}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
	b[8+6] = 0xee
	if m.AVPs[0].Value[0] != 0xee {
		t.Error("values do not alias the payload")
	}
	if v := m.AVPs[0].Value; cap(v) != len(v) {
		t.Error("an append to a value would overwrite the next AVP")
	}
}

func TestMessageTypeMustBeFirstAndReadable(t *testing.T) {
	t.Parallel()
	// P20; P25 for the reserved bit, P42 for the hidden one.
	tests := map[string]struct {
		payload []byte
		code    uint16
	}{
		"empty":         {nil, ErrCodeLength},
		"other first":   {append(rawAVP(0x8000, 0, 9, 0, 1), payload(MsgSCCRQ)...), ErrCodeValue},
		"vendor":        {rawAVP(0x8000, 9, 0, 0, 1), ErrCodeValue},
		"reserved bit":  {rawAVP(0x8400, 0, 0, 0, 1), ErrCodeValue},
		"hidden":        {rawAVP(0xc000, 0, 0, 0, 1), ErrCodeValue},
		"one octet":     {rawAVP(0x8000, 0, 0, 1), ErrCodeLength},
		"three octets":  {rawAVP(0x8000, 0, 0, 0, 1, 0), ErrCodeLength},
		"cut short":     {payload(MsgSCCRQ)[:7], ErrCodeLength},
		"length 5":      {[]byte{0x80, 5, 0, 0, 0, 0, 0, 1}, ErrCodeLength},
		"five octets":   {[]byte{0x80, 5, 0, 0, 0}, ErrCodeLength},
		"length beyond": {[]byte{0x83, 0xff, 0, 0, 0, 0, 0, 1}, ErrCodeLength},
	}
	for name, tt := range tests {
		m, err := ParseMessage(tt.payload)
		var p *Problem
		if !errors.As(err, &p) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		if p.Kind != ProblemNoMessageType || p.Code != tt.code || m.Type != 0 || !p.ClearsTunnel() {
			t.Errorf("%s: %+v, message %v", name, p, m)
		}
	}
}

func TestBrokenAVPLengthNamesTheMessage(t *testing.T) {
	t.Parallel()
	// P21: the message type and the AVPs before the broken one are there to answer with.
	good := rawAVP(0x8000, 0, 14, 0x12, 0x34)
	for name, bad := range map[string][]byte{
		"length 0":      {0x80, 0, 0, 0, 0, 1, 9, 9},
		"length 5":      {0x80, 5, 0, 0, 0, 1, 9, 9},
		"one too long":  {0x80, 9, 0, 0, 0, 1, 9, 9},
		"longest":       {0x83, 0xff, 0, 0, 0, 1, 9, 9},
		"one octet":     {0x80},
		"five octets":   {0x80, 5, 0, 0, 0},
		"trailing zero": {0, 0, 0, 0, 0, 0},
	} {
		for _, message := range []MessageType{MsgICRQ, MsgSCCRQ} {
			m, err := ParseMessage(payload(message, good, bad))
			var p *Problem
			if !errors.As(err, &p) {
				t.Errorf("%s: got %v", name, err)
				continue
			}
			if p.Kind != ProblemLength || p.Code != ErrCodeLength || p.Message != message {
				t.Errorf("%s: %+v", name, p)
			}
			if p.ClearsTunnel() != (message == MsgSCCRQ) {
				t.Errorf("%s in %s: clears tunnel %v", name, message, p.ClearsTunnel())
			}
			if id, ok := m.Uint16(AVPAssignedSessionID); m.Type != message || !ok || id != 0x1234 {
				t.Errorf("%s: message %v", name, m)
			}
		}
	}
}

func TestNumberOfAVPsIsBounded(t *testing.T) {
	t.Parallel()
	// P276: a full datagram of empty AVPs must not make us allocate for each.
	one := rawAVP(0, 9, 1)
	if m, err := ParseMessage(payload(MsgHello, bytes.Repeat(one, MaxAVPs))); err != nil || len(m.AVPs) != MaxAVPs {
		t.Errorf("%d AVPs: %v", len(m.AVPs), err)
	}
	for _, n := range []int{MaxAVPs + 1, 10000} {
		m, err := ParseMessage(payload(MsgHello, bytes.Repeat(one, n)))
		var p *Problem
		if !errors.As(err, &p) || p.Kind != ProblemTooMany || p.Code != ErrCodeResources || len(m.AVPs) != 0 {
			t.Errorf("%d AVPs: %v", n, err)
		}
	}
}

func TestAccessorsCheckLengthAndReadability(t *testing.T) {
	t.Parallel()
	m := Message{Type: MsgICRQ, AVPs: []AVP{
		{Type: 9, Vendor: 9, Value: []byte{8, 8}},      // another vendor's
		{Type: 9, Hidden: true, Value: []byte{7, 7}},   // ciphertext
		{Type: 9, Reserved: true, Value: []byte{6, 6}}, // unrecognised (P25)
		{Type: 9, Value: []byte{1, 2}},
		{Type: 9, Value: []byte{5, 5}}, // second copy (P31)
		{Type: 15, Value: []byte{1, 2, 3, 4}},
		{Type: 5, Value: []byte{1, 2, 3, 4, 5, 6, 7, 8}},
		{Type: 7, Value: []byte("a\xffb")},
		{Type: 39},
	}}
	if v, ok := m.Uint16(9); !ok || v != 0x0102 {
		t.Errorf("Uint16: %#x %v", v, ok)
	}
	if v, ok := m.Uint32(15); !ok || v != 0x01020304 {
		t.Errorf("Uint32: %#x %v", v, ok)
	}
	if v, ok := m.Uint64(5); !ok || v != 0x0102030405060708 {
		t.Errorf("Uint64: %#x %v", v, ok)
	}
	if v, ok := m.Text(7); !ok || v != "a\xffb" {
		t.Errorf("Text: %q %v", v, ok)
	}
	if v, ok := m.Bytes(7); !ok || string(v) != "a\xffb" {
		t.Errorf("Bytes: %q %v", v, ok)
	}
	if !m.Has(39) || m.Has(40) {
		t.Error("Has")
	}
	if _, ok := m.Uint16(15); ok {
		t.Error("Uint16 of 4 octets")
	}
	if _, ok := m.Uint32(9); ok {
		t.Error("Uint32 of 2 octets")
	}
	if _, ok := m.Uint64(15); ok {
		t.Error("Uint64 of 4 octets")
	}
	if _, ok := m.Uint16(10); ok {
		t.Error("Uint16 of an absent AVP")
	}
	if _, ok := m.Text(39); !ok {
		t.Error("an empty text is there")
	}
}

func TestVersionIsTwoOctets(t *testing.T) {
	t.Parallel()
	// P34.
	m := NewMessage(MsgSCCRQ, Bytes(AVPProtocolVersion, []byte{1, 2}))
	if ver, rev, ok := m.Version(); ver != 1 || rev != 2 || !ok {
		t.Errorf("%d.%d %v", ver, rev, ok)
	}
	if _, _, ok := NewMessage(MsgSCCRQ).Version(); ok {
		t.Error("absent version")
	}
	if _, _, ok := NewMessage(MsgSCCRQ, Bytes(AVPProtocolVersion, []byte{1})).Version(); ok {
		t.Error("short version")
	}
}

func TestResultCodeForms(t *testing.T) {
	t.Parallel()
	// P56: 8, 10 and 10+n octets.
	for _, tt := range []struct {
		value string
		want  Result
		ok    bool
	}{
		{"0006", Result{Code: 6}, true},
		{"0002 0000", Result{Code: 2, HasError: true}, true},
		{"0002 0008", Result{Code: 2, Error: 8, HasError: true}, true},
		{"0002 0007 6869ff", Result{Code: 2, Error: 7, HasError: true, Text: "hi\xff"}, true},
		{"000200", Result{}, false},
		{"00", Result{}, false},
		{"", Result{}, false},
	} {
		got, ok := NewMessage(MsgCDN, Bytes(AVPResultCode, unhex(t, tt.value))).Result()
		if ok != tt.ok || got != tt.want {
			t.Errorf("%s: %#v %v", tt.value, got, ok)
		}
	}
	if _, ok := NewMessage(MsgCDN).Result(); ok {
		t.Error("absent result")
	}
}

func TestCountersAndMapsRoundTrip(t *testing.T) {
	t.Parallel()
	// RFC 2661, 4.4.6: both begin with two reserved octets.
	counts := [6]uint32{1, 2, 3, 4, 5, 0xffffffff}
	a := CallErrorsAVP(counts)
	if got, ok := NewMessage(MsgWEN, a).CallErrors(); !ok || got != counts || len(a.Value) != 26 {
		t.Errorf("call errors %v %v", got, ok)
	}
	a = ACCMAVP(0x000a0000, 0xffffffff)
	send, receive, ok := NewMessage(MsgSLI, a).ACCM()
	if !ok || send != 0x000a0000 || receive != 0xffffffff || !bytes.Equal(a.Value, unhex(t, "0000 000a0000 ffffffff")) {
		t.Errorf("ACCM %x %x %v, %x", send, receive, ok, a.Value)
	}
	if _, ok := NewMessage(MsgWEN).CallErrors(); ok {
		t.Error("absent counters")
	}
	if _, _, ok := NewMessage(MsgSLI).ACCM(); ok {
		t.Error("absent map")
	}
}

func TestSCCRPOfAForeignPeerIsRead(t *testing.T) {
	t.Parallel()
	// V26: xl2tpd 1.3.18 answers tunnel 0x1234. A Random Vector stands first although nothing is hidden.
	m := parseDatagram(t, unhex(t, foreignSCCRP))
	if err := m.Unhide([]byte("mysecret")); err != nil {
		t.Fatal(err)
	}
	ignored, err := m.Validate(ValidateOptions{})
	if err != nil || len(ignored) != 0 {
		t.Fatalf("ignored %q, %v", ignored, err)
	}
	if m.AVPs[0].Type != AVPRandomVector || len(m.AVPs[0].Value) != 16 {
		t.Errorf("first AVP %v", m.AVPs[0])
	}
	if v, _ := m.Text(AVPHostName); v != "lns.example" {
		t.Errorf("host name %q", v)
	}
	if v, _ := m.Text(AVPVendorName); v != "xelerance.com" {
		t.Errorf("vendor name %q", v)
	}
	if v, _ := m.Uint16(AVPAssignedTunnelID); v != 0x8273 {
		t.Errorf("tunnel id %#x", v)
	}
	if v, _ := m.Uint16(AVPReceiveWindowSize); v != 4 {
		t.Errorf("window %d", v)
	}
	if v, _ := m.Uint16(AVPFirmwareRevision); v != 0x0690 {
		t.Errorf("firmware %#x", v)
	}
	if !m.Has(AVPChallenge) {
		t.Error("no challenge")
	}
	response := ChallengeResponse(uint8(MsgSCCRP), []byte("mysecret"), unhex(t, "101112131415161718191a1b1c1d1e1f"))
	if v, _ := m.Bytes(AVPChallengeResponse); !bytes.Equal(v, response[:]) {
		t.Errorf("response %x, want %x", v, response)
	}
}

const foreignSCCRP = `
	c80200ae1234000000000001800800000000000280160000002446c50dac3a7a558bdb344bc68ad3ff1c800800
	0000020100800a0000000300000003800a000000040000000000080000000606908011000000076c6e732e6578
	616d706c6500130000000878656c6572616e63652e636f6d800800000009827380080000000a000480160000000d
	61b087e2b43ff159890c94d4d79aac7180160000000b3af2e2eb64634f02b6f38c079da5ea82`

// parseDatagram is ParseHeader and ParseMessage for datagrams that must be good.
func parseDatagram(t testing.TB, datagram []byte) Message {
	t.Helper()
	_, payload, err := ParseHeader(datagram)
	if err != nil {
		t.Fatalf("header of %x: %v", datagram, err)
	}
	m, err := ParseMessage(payload)
	if err != nil {
		t.Fatalf("message %x: %v", payload, err)
	}
	return m
}

func TestProblemTextHoldsNoForeignOctets(t *testing.T) {
	t.Parallel()
	_, err := ParseMessage(payload(MessageType(0xfefe), []byte("\x80\x05evil\n")))
	if got, want := fmt.Sprint(err), "message 65278: AVP vendor 25974 type 26988 of length 5 in 7 octets"; got != want {
		t.Errorf("got %q", got)
	}
}
