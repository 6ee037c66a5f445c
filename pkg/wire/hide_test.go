package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	testSecret = []byte("mysecret")
	vectorA    = []byte("\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab\xac\xad\xae\xaf")
	vectorC    = []byte("\xc0\xc1\xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xcb\xcc\xcd\xce\xcf")
)

// hiddenVectors are V3 to V9; those marked so were read by xl2tpd 1.3.18, the others made by an independent script.
var hiddenVectors = []struct {
	name   string
	kind   AVPType
	vector []byte
	value  string
	pad    int
	hidden string
}{
	{"V3 no padding (xl2tpd)", 14, vectorA, "\x56\x78", 0, "938a7f50"},
	{"V4 padding (xl2tpd)", 15, vectorA, "\x00\x00\x00\x01", 10, "5a97ed3ae3e3aee94226b479ef032c9c"},
	{"V5 three blocks (xl2tpd)", 22, vectorA, "Example Vendor Name, 33 octets ab", 0, "67f01d84978b738b6a850cd3998a562eeb6efcfafeb5229ee3d780d017c9add964db23"},
	{"V6 one whole block", 30, vectorA, "user@example.c", 0, "dee230cdcbd2e33c6dde5c02380a53fa"},
	{"V7 one octet of block 2", 30, vectorA, "user@example.co", 0, "dee330cdcbd2e33c6dde5c02380a53faae"},
	{"V8 empty value", 39, vectorA, "", 0, "9d3e"},
	{"V9 other vector", 14, vectorC, "\x56\x78", 0, "5a0cfab1"},
}

func TestHiddenVectors(t *testing.T) {
	t.Parallel()
	// P38.
	for _, tt := range hiddenVectors {
		hidden := unhex(t, tt.hidden)
		value, ok := decipher(tt.kind, testSecret, tt.vector, hidden)
		if !ok || string(value) != tt.value {
			t.Errorf("%s: read %q %v", tt.name, value, ok)
		}
		sub := append([]byte{0, byte(len(tt.value))}, tt.value...)
		sub = append(sub, make([]byte, tt.pad)...)
		encipher(tt.kind, testSecret, tt.vector, sub)
		if !bytes.Equal(sub, hidden) {
			t.Errorf("%s: made %x", tt.name, sub)
		}
	}
}

// cipherOf hides a subformat whose length field says n.
func cipherOf(n uint16, rest int) []byte {
	sub := append([]byte{byte(n >> 8), byte(n)}, make([]byte, rest)...)
	encipher(AVPCallingNumber, testSecret, vectorA, sub)
	return sub
}

func TestInnerLengthMustFit(t *testing.T) {
	t.Parallel()
	// P43, V9n.
	tests := map[string]struct {
		hidden []byte
		ok     bool
		n      int
	}{
		"FFFF":         {cipherOf(0xffff, 14), false, 0},
		"15 in 16":     {cipherOf(15, 14), false, 0},
		"3 in 4":       {cipherOf(3, 2), false, 0},
		"1 in 2":       {cipherOf(1, 0), false, 0},
		"one octet":    {[]byte{0}, false, 0},
		"no octet":     {nil, false, 0},
		"14 in 16":     {cipherOf(14, 14), true, 14},
		"4 in 16":      {cipherOf(4, 14), true, 4},
		"0 in 2":       {cipherOf(0, 0), true, 0},
		"1015 in 1017": {cipherOf(1015, 1015), true, 1015},
	}
	for name, tt := range tests {
		value, ok := decipher(AVPCallingNumber, testSecret, vectorA, tt.hidden)
		if ok != tt.ok || len(value) != tt.n || cap(value) != len(value) {
			t.Errorf("%s: %d octets, %v", name, len(value), ok)
		}
		for _, mandatory := range []bool{true, false} {
			m := NewMessage(MsgICRQ, Bytes(AVPRandomVector, vectorA),
				AVP{Mandatory: mandatory, Hidden: true, Type: AVPCallingNumber, Value: tt.hidden})
			err := m.Unhide(testSecret)
			if tt.ok {
				if err != nil || !m.Has(AVPCallingNumber) {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			if m.Has(AVPCallingNumber) || len(m.Ignored) != 1 {
				t.Errorf("%s: %v, ignored %q", name, m, m.Ignored)
			}
			if mandatory {
				wantProblem(t, err, ProblemHidden, ErrCodeLength, 0, AVPCallingNumber)
			} else if err != nil {
				t.Errorf("%s, M=0: %v", name, err)
			}
		}
	}
}

func TestNearestRandomVectorIsUsed(t *testing.T) {
	t.Parallel()
	// P39: V3 after the first vector, V9 after the second; a vector with a reserved bit is not one (P25).
	b := payload(MsgICRQ,
		rawAVP(0x8000, 0, 36, vectorA...),
		rawAVP(0xc000, 0, 14, unhex(t, "938a7f50")...),
		rawAVP(0x8000, 0, 36, vectorC...),
		rawAVP(0x0400, 0, 36, vectorA...),
		rawAVP(0xc000, 0, 14, unhex(t, "5a0cfab1")...),
	)
	received := bytes.Clone(b)
	m, err := ParseMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Unhide(testSecret); err != nil {
		t.Fatal(err)
	}
	want := []AVP{
		{Mandatory: true, Type: 36, Value: vectorA},
		{Mandatory: true, Type: 14, Value: []byte{0x56, 0x78}},
		{Mandatory: true, Type: 36, Value: vectorC},
		{Reserved: true, Type: 36, Value: vectorA},
		{Mandatory: true, Type: 14, Value: []byte{0x56, 0x78}},
	}
	if diff := cmp.Diff(want, m.AVPs); diff != "" {
		t.Error(diff)
	}
	if !bytes.Equal(b, received) {
		t.Error("Unhide wrote plain values into the datagram")
	}
}

func TestRandomVectorsOfAnyLength(t *testing.T) {
	t.Parallel()
	// P40.
	for _, n := range []int{0, 1, 16, 64, 1000, MaxValue} {
		vector := bytes.Repeat([]byte{0x5c}, n)
		sub := append([]byte{0, 3}, "123"...)
		encipher(AVPCalledNumber, testSecret, vector, sub)
		m := NewMessage(MsgICRQ, Bytes(AVPRandomVector, vector), AVP{Hidden: true, Type: AVPCalledNumber, Value: sub})
		if err := m.Unhide(testSecret); err != nil {
			t.Errorf("%d octets: %v", n, err)
		}
		if v, _ := m.Text(AVPCalledNumber); v != "123" {
			t.Errorf("%d octets: %q", n, v)
		}
	}
}

func TestHiddenAVPThatCannotBeRead(t *testing.T) {
	t.Parallel()
	// P41.
	vector := Bytes(AVPRandomVector, vectorA)
	hidden := AVP{Hidden: true, Type: AVPAssignedSessionID, Value: unhex(t, "938a7f50")}
	tests := map[string]struct {
		secret []byte
		avps   []AVP
		code   uint16
	}{
		"no vector":         {testSecret, []AVP{hidden}, ErrCodeValue},
		"vector comes late": {testSecret, []AVP{hidden, vector}, ErrCodeValue},
		"no secret":         {nil, []AVP{vector, hidden}, ErrCodeUnknownMandatory},
		"wrong secret":      {[]byte("other"), []AVP{vector, hidden}, ErrCodeLength},
	}
	for name, tt := range tests {
		for _, mandatory := range []bool{true, false} {
			m := NewMessage(MsgICRQ, Uint32(AVPCallSerialNumber, 1))
			for _, a := range tt.avps {
				a.Mandatory = mandatory
				m.AVPs = append(m.AVPs, a)
			}
			err := m.Unhide(tt.secret)
			if m.Has(AVPAssignedSessionID) || !m.Has(AVPCallSerialNumber) || len(m.Ignored) != 1 {
				t.Errorf("%s: %v, ignored %q", name, m, m.Ignored)
			}
			if !mandatory {
				if err != nil {
					t.Errorf("%s, M=0: %v", name, err)
				}
				if ignored, _ := m.Validate(ValidateOptions{}); len(ignored) != 1 {
					t.Errorf("%s: Validate reports %q", name, ignored)
				}
				continue
			}
			p := wantProblem(t, err, ProblemHidden, tt.code, 0, AVPAssignedSessionID)
			if strings.Contains(p.Text, string(testSecret)) {
				t.Errorf("%s: secret in %q", name, p.Text)
			}
		}
	}
}

func TestHiddenAVPThatMustNotBeHidden(t *testing.T) {
	t.Parallel()
	// P42; for Message Type see TestMessageTypeMustBeFirstAndReadable.
	for _, kind := range []AVPType{
		AVPMessageType, AVPResultCode, AVPProtocolVersion, AVPTieBreaker, AVPHostName, AVPReceiveWindowSize,
		AVPQ931CauseCode, AVPRandomVector, AVPSequencingRequired,
	} {
		for _, mandatory := range []bool{true, false} {
			sub := make([]byte, 2+lookup(kind).min)
			sub[1] = byte(lookup(kind).min)
			encipher(kind, testSecret, vectorA, sub)
			m := NewMessage(MsgSCCRP, Bytes(AVPRandomVector, vectorA),
				AVP{Mandatory: mandatory, Hidden: true, Type: kind, Value: sub}, Uint16(AVPAssignedTunnelID, 5))
			wantProblem(t, m.Unhide(testSecret), ProblemHidden, ErrCodeValue, 0, kind)
			if !m.Has(AVPAssignedTunnelID) {
				t.Errorf("%s: the AVPs after it are gone", kind)
			}
		}
	}
}

func TestReservedHiddenAVPIsLeftToValidate(t *testing.T) {
	t.Parallel()
	// P25 goes before P41 and P42.
	for _, kind := range []AVPType{AVPHostName, AVPVendorName} {
		m := minimal(MsgSCCRQ)
		m.AVPs = append(m.AVPs, AVP{Reserved: true, Hidden: true, Type: kind, Value: []byte{1}})
		if err := m.Unhide(nil); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if ignored, err := m.Validate(ValidateOptions{}); err != nil || len(ignored) != 0 {
			t.Errorf("%s: ignored %q, %v", kind, ignored, err)
		}
	}
}

// entropy is a repeatable source for tests.
func entropy(seed uint64) io.Reader {
	return rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
}

// fullICRQ and fullICCN carry every AVP that is hidden when hiding is on, among others.
func fullICRQ() Message {
	return NewMessage(MsgICRQ, Uint16(AVPAssignedSessionID, 0x5678), Uint32(AVPCallSerialNumber, 1),
		Text(AVPCalledNumber, "0123456"), Text(AVPCallingNumber, "0123456"), Text(AVPSubAddress, "sub"))
}

func fullICCN() Message {
	return NewMessage(MsgICCN, Uint32(AVPTxConnectSpeed, 64000), Uint32(AVPFramingType, FramingSync),
		Uint16(AVPProxyAuthenType, 2), Text(AVPProxyAuthenName, "user@example.com"),
		Bytes(AVPProxyAuthenChallenge, []byte("challenge-octets")), Uint16(AVPProxyAuthenID, 7),
		Bytes(AVPProxyAuthenResponse, []byte("response-octets!")), Text(AVPPrivateGroupID, "red"))
}

func TestHidingHidesWhatItMust(t *testing.T) {
	t.Parallel()
	// P44, P40, P47: read back with the same secret; nothing of the plain text is on the wire.
	tests := map[string]struct {
		m     Message
		hide  []AVPType
		plain []string
	}{
		"ICRQ": {fullICRQ(), []AVPType{21, 22}, []string{"0123456"}},
		"ICCN": {fullICCN(), []AVPType{30, 31, 33}, []string{"user@example", "challenge-octets", "response-octets!"}},
	}
	for name, tt := range tests {
		b := AppendMessage(nil, 1, 2, 3, 4, tt.m, &Hiding{Secret: testSecret, Random: entropy(1)})
		for _, s := range tt.plain {
			if bytes.Contains(b, []byte(s)) {
				t.Errorf("%s: %q is on the wire", name, s)
			}
		}
		m := parseDatagram(t, b)
		var hidden []AVPType
		vectors := 0
		for i, a := range m.AVPs {
			if a.Type == AVPRandomVector {
				vectors++
				if len(a.Value) < 16 || !a.Mandatory || !m.AVPs[i+1].Hidden {
					t.Errorf("%s: vector %v", name, a)
				}
			}
			if a.Hidden {
				hidden = append(hidden, a.Type)
			}
		}
		if diff := cmp.Diff(tt.hide, hidden); diff != "" || vectors != 1 {
			t.Errorf("%s: %d vectors, hidden %s", name, vectors, diff)
		}
		if err := m.Unhide(testSecret); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if ignored, err := m.Validate(ValidateOptions{}); err != nil || len(ignored) != 0 {
			t.Errorf("%s: ignored %q, %v", name, ignored, err)
		}
		for _, a := range tt.m.AVPs {
			if v, _ := m.Bytes(a.Type); !bytes.Equal(v, a.Value) {
				t.Errorf("%s: %s is %q", name, a.Type, v)
			}
		}
	}
}

func TestNothingIsHiddenInSCCRQ(t *testing.T) {
	t.Parallel()
	// P44. Called Number stands for an AVP that would be hidden elsewhere.
	m := minimal(MsgSCCRQ)
	m.AVPs = append(m.AVPs, Text(AVPCalledNumber, "123"))
	got := AppendMessage(nil, 0, 0, 0, 0, m, &Hiding{Secret: testSecret, Random: entropy(1)})
	if !bytes.Equal(got, AppendMessage(nil, 0, 0, 0, 0, m, nil)) {
		t.Errorf("got %s", Summary(got))
	}
}

func TestHidingWithoutSecretHidesNothing(t *testing.T) {
	t.Parallel()
	got := AppendMessage(nil, 0, 0, 0, 0, fullICRQ(), &Hiding{Random: entropy(1)})
	if !bytes.Equal(got, AppendMessage(nil, 0, 0, 0, 0, fullICRQ(), nil)) {
		t.Errorf("got %s", Summary(got))
	}
}

func TestCiphertextIsNotHiddenAgain(t *testing.T) {
	t.Parallel()
	a := AVP{Mandatory: true, Hidden: true, Type: AVPCalledNumber, Value: []byte("cipher")}
	m := parseDatagram(t, AppendMessage(nil, 0, 0, 0, 0, NewMessage(MsgICRQ, a), &Hiding{Secret: testSecret, Random: entropy(1)}))
	if diff := cmp.Diff([]AVP{a}, m.AVPs); diff != "" {
		t.Error(diff)
	}
}

func TestPaddingAndVectorsAreFresh(t *testing.T) {
	t.Parallel()
	// P45: equal values get different lengths; P40: every message gets its own vector.
	random := entropy(1)
	lengths, vectors := map[int]bool{}, map[string]bool{}
	const runs = 200
	for range runs {
		m := parseDatagram(t, AppendMessage(nil, 0, 0, 0, 0, fullICRQ(), &Hiding{Secret: testSecret, Random: random}))
		for _, a := range m.AVPs {
			if a.Hidden {
				lengths[len(a.Value)] = true
			}
			if a.Type == AVPRandomVector {
				vectors[string(a.Value)] = true
			}
		}
	}
	if len(lengths) < 16 || len(vectors) != runs {
		t.Errorf("%d lengths, %d vectors", len(lengths), len(vectors))
	}
}

func TestSecretsNeverGoOutInClearWhenEntropyFails(t *testing.T) {
	t.Parallel()
	broken := &Hiding{Secret: testSecret, Random: io.LimitReader(entropy(1), 20)}
	b := AppendMessage(nil, 0, 0, 0, 0, fullICRQ(), broken)
	m := parseDatagram(t, b)
	if bytes.Contains(b, []byte("0123456")) || m.Has(AVPCalledNumber) || !m.Has(AVPAssignedSessionID) || m.Has(AVPRandomVector) {
		t.Errorf("got %s", Summary(b))
	}
}

func TestLongestHiddenValue(t *testing.T) {
	t.Parallel()
	for _, n := range []int{MaxHiddenValue - 1, MaxHiddenValue, MaxHiddenValue + 1, MaxValue} {
		value := bytes.Repeat([]byte{'x'}, n)
		b := AppendMessage(nil, 0, 0, 0, 0, NewMessage(MsgICCN, Bytes(AVPProxyAuthenResponse, value)), &Hiding{Secret: testSecret, Random: entropy(9)})
		if bytes.Contains(b, []byte("xxxxxxxx")) {
			t.Errorf("%d octets: in clear", n)
		}
		m := parseDatagram(t, b)
		if err := m.Unhide(testSecret); err != nil {
			t.Fatal(err)
		}
		if v, ok := m.Bytes(AVPProxyAuthenResponse); ok != (n <= MaxHiddenValue) || ok && !bytes.Equal(v, value) {
			t.Errorf("%d octets: %d %v", n, len(v), ok)
		}
	}
}

func TestHiddenICRQOfAPeerIsHonoured(t *testing.T) {
	t.Parallel()
	// P46: Assigned Session ID and Calling Number, V3 and V5.
	m, err := ParseMessage(payload(MsgICRQ,
		rawAVP(0, 0, 36, vectorA...), // M=0 as some peers have it (P29)
		rawAVP(0xc000, 0, 14, unhex(t, "938a7f50")...),
		rawAVP(0xc000, 0, 15, unhex(t, "5a97ed3ae3e3aee94226b479ef032c9c")...),
		rawAVP(0xc000, 0, 22, unhex(t, "67f01d84978b738b6a850cd3998a562eeb6efcfafeb5229ee3d780d017c9add964db23")...),
	))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Unhide(testSecret); err != nil {
		t.Fatal(err)
	}
	if ignored, err := m.Validate(ValidateOptions{}); err != nil || len(ignored) != 0 {
		t.Fatalf("ignored %q, %v", ignored, err)
	}
	id, _ := m.Uint16(AVPAssignedSessionID)
	serial, _ := m.Uint32(AVPCallSerialNumber)
	calling, _ := m.Text(AVPCallingNumber)
	if id != 0x5678 || serial != 1 || calling != "Example Vendor Name, 33 octets ab" {
		t.Errorf("id %#x, serial %d, calling %q", id, serial, calling)
	}
}

func TestChallengeResponses(t *testing.T) {
	t.Parallel()
	// V1 and V2 from xl2tpd 1.3.18, V2b from an independent script (P121, P122).
	for _, tt := range []struct {
		id              uint8
		challenge, want string
	}{
		{2, "101112131415161718191a1b1c1d1e1f", "61b087e2b43ff159890c94d4d79aac71"},
		{3, "d25d2c071ba3bd3070baba3e683d5220", "aff761fbfca52cfc880dde13fe9366fe"},
		{3, "101112131415161718191a1b1c1d1e1f", "4780c9572db3a05fdff1fe5e9b224d4f"},
	} {
		got := ChallengeResponse(tt.id, testSecret, unhex(t, tt.challenge))
		if !bytes.Equal(got[:], unhex(t, tt.want)) {
			t.Errorf("id %d: %x, want %s", tt.id, got, tt.want)
		}
	}
}

func TestUnhideErrorIsNilInterface(t *testing.T) {
	t.Parallel()
	// A typed nil would read as an error at every caller.
	m := minimal(MsgHello)
	err := m.Unhide(nil)
	_, verr := m.Validate(ValidateOptions{})
	if err != nil || verr != nil || errors.Is(err, io.EOF) {
		t.Errorf("%v, %v", err, verr)
	}
}
