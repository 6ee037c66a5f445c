package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// foreignAVP and foreignDecode are a second decoder, written from RFC 2661, 3.1 and 4.1 alone and strict about
// everything that a sender must keep (P1, P19, P287).
type foreignAVP struct {
	Mandatory, Hidden bool
	Vendor, Type      uint16
	Value             string
}

type foreignMessage struct {
	Tunnel, Session, Ns, Nr uint16
	AVPs                    []foreignAVP
}

func foreignDecode(datagram []byte) (m foreignMessage, err error) {
	var fixed struct{ Bits, Length, Tunnel, Session, Ns, Nr uint16 }
	r := bytes.NewReader(datagram)
	if err := binary.Read(r, binary.BigEndian, &fixed); err != nil {
		return m, err
	}
	if fixed.Bits != 0xc802 {
		return m, fmt.Errorf("flags %04x", fixed.Bits)
	}
	if int(fixed.Length) != len(datagram) {
		return m, fmt.Errorf("length %d of %d", fixed.Length, len(datagram))
	}
	m = foreignMessage{Tunnel: fixed.Tunnel, Session: fixed.Session, Ns: fixed.Ns, Nr: fixed.Nr}
	for r.Len() > 0 {
		var head [3]uint16
		if err := binary.Read(r, binary.BigEndian, &head); err != nil {
			return m, err
		}
		if head[0]>>10&0xf != 0 {
			return m, fmt.Errorf("reserved bits in %04x", head[0])
		}
		value := make([]byte, int(head[0]%1024)-6)
		if _, err := io.ReadFull(r, value); err != nil {
			return m, err
		}
		m.AVPs = append(m.AVPs, foreignAVP{head[0]>>15 == 1, head[0]>>14&1 == 1, head[1], head[2], string(value)})
	}
	if len(m.AVPs) == 0 || m.AVPs[0].Type != 0 || len(m.AVPs[0].Value) != 2 {
		return m, errors.New("no message type")
	}
	return m, nil
}

func TestEveryMessageIsReadByAnotherDecoder(t *testing.T) {
	t.Parallel()
	// P1, P19, P48: all AVPs that each message may carry.
	for _, message := range knownMessages {
		m := minimal(message)
		for n := range catalogue {
			if catalogue[n].may.has(message) && AVPType(n) != AVPRandomVector {
				m.AVPs = append(m.AVPs, sample(AVPType(n)))
			}
		}
		for _, hide := range []*Hiding{nil, {Secret: testSecret, Random: entropy(uint64(message))}} {
			b := AppendMessage([]byte("before"), 1, 2, 3, 4, m, hide)
			if !bytes.HasPrefix(b, []byte("before")) {
				t.Fatal("did not append")
			}
			got, err := foreignDecode(b[len("before"):])
			if err != nil {
				t.Errorf("%s: %v", message, err)
				continue
			}
			if got.Tunnel != 1 || got.Session != 2 || got.Ns != 3 || got.Nr != 4 {
				t.Errorf("%s: header %+v", message, got)
			}
			want := []foreignAVP{{true, false, 0, 0, string([]byte{0, byte(message)})}}
			for _, a := range m.AVPs {
				want = append(want, foreignAVP{catalogue[a.Type].mandatory, false, 0, uint16(a.Type), string(a.Value)})
			}
			if hide == nil || message == MsgSCCRQ {
				if diff := cmp.Diff(want, got.AVPs); diff != "" {
					t.Errorf("%s: %s", message, diff)
				}
			} else if len(got.AVPs) < len(want) || len(got.AVPs) > len(want)+1 {
				t.Errorf("%s: %d AVPs, hidden ones included, from %d", message, len(got.AVPs), len(want))
			}
		}
	}
}

// randomMessage makes any message that AppendMessage can carry whole.
func randomMessage(r *rand.Rand) Message {
	m := Message{Type: MessageType(r.Uint32()), Mandatory: r.IntN(2) == 0}
	if r.IntN(2) == 0 {
		m.Type = knownMessages[r.IntN(len(knownMessages))]
	}
	for range r.IntN(12) {
		a := AVP{
			Mandatory: r.IntN(2) == 0, Hidden: r.IntN(8) == 0,
			Type: AVPType(1 + r.IntN(100)), Value: make([]byte, r.IntN(60)),
		}
		if r.IntN(4) == 0 {
			a.Vendor = uint16(r.Uint32())
		}
		if r.IntN(20) == 0 {
			a.Value = make([]byte, MaxValue)
		}
		for i := range a.Value {
			a.Value[i] = byte(r.Uint32())
		}
		m.AVPs = append(m.AVPs, a)
	}
	return m
}

func TestAppendThenParseRoundTrips(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		m := randomMessage(r)
		ids := [4]uint16{uint16(r.Uint32()), uint16(r.Uint32()), uint16(r.Uint32()), uint16(r.Uint32())}
		b := AppendMessage(nil, ids[0], ids[1], ids[2], ids[3], m, nil)
		h, payload, err := ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		want := Header{
			Control: true, HasLength: true, HasSequence: true, Version: 2, Length: uint16(len(b)),
			TunnelID: ids[0], SessionID: ids[1], Ns: ids[2], Nr: ids[3],
		}
		if diff := cmp.Diff(want, h); diff != "" {
			t.Fatal(diff)
		}
		got, err := ParseMessage(payload)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, got); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestHideThenUnhideRoundTrips(t *testing.T) {
	t.Parallel()
	// P38-P40, P47 for any value and secret.
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 500 {
		m := randomMessage(r)
		m.Type = MsgICCN
		var want []AVP
		for j := range m.AVPs {
			m.AVPs[j].Hidden = false
			if v := m.AVPs[j].Value; len(v) > MaxHiddenValue {
				m.AVPs[j].Value = v[:MaxHiddenValue]
			}
			if m.AVPs[j].Type != AVPRandomVector {
				want = append(want, m.AVPs[j])
			}
		}
		m.AVPs = want
		secret := make([]byte, 1+r.IntN(40))
		for j := range secret {
			secret[j] = byte(r.Uint32())
		}
		got := parseDatagram(t, AppendMessage(nil, 0, 0, 0, 0, m, &Hiding{Secret: secret, Random: entropy(uint64(i))}))
		if err := got.Unhide(secret); err != nil {
			t.Fatal(err)
		}
		var plain []AVP
		for _, a := range got.AVPs {
			if a.Type != AVPRandomVector || a.Vendor != 0 {
				plain = append(plain, a)
			}
		}
		if diff := cmp.Diff(want, plain); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestReservedBitsAreNeverSent(t *testing.T) {
	t.Parallel()
	// P287: not even when a received AVP is sent on.
	m := NewMessage(MsgHello, AVP{Reserved: true, Type: 9, Value: []byte{0, 1}})
	if _, err := foreignDecode(AppendMessage(nil, 0, 0, 0, 0, m, nil)); err != nil {
		t.Error(err)
	}
}

func TestConstructorsTakeTheMBitFromTheCatalogue(t *testing.T) {
	t.Parallel()
	// P48.
	for _, tt := range []struct {
		got  AVP
		want AVP
	}{
		{Uint16(AVPAssignedTunnelID, 0x0102), AVP{Mandatory: true, Type: 9, Value: []byte{1, 2}}},
		{Uint16(AVPFirmwareRevision, 0x0102), AVP{Type: 6, Value: []byte{1, 2}}},
		{Uint32(AVPRxConnectSpeed, 0x01020304), AVP{Type: 38, Value: []byte{1, 2, 3, 4}}},
		{Uint64(AVPTieBreaker, 0x0102030405060708), AVP{Type: 5, Value: []byte{1, 2, 3, 4, 5, 6, 7, 8}}},
		{Text(AVPHostName, "a"), AVP{Mandatory: true, Type: 7, Value: []byte("a")}},
		{Bytes(AVPChallenge, []byte{1}), AVP{Mandatory: true, Type: 11, Value: []byte{1}}},
		{Flag(AVPSequencingRequired), AVP{Mandatory: true, Type: 39}},
		{Flag(AVPType(5000)), AVP{Type: 5000}},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Error(diff)
		}
	}
	if !NewMessage(MsgHello).Mandatory || NewMessage(MsgFSR).Mandatory || NewMessage(MsgCSUN).Mandatory {
		t.Error("M bit of the Message Type AVP")
	}
}

func TestAppendMessageDoesNotAllocate(t *testing.T) {
	// Not parallel: AllocsPerRun counts the whole process.
	dst := make([]byte, 0, 2048)
	m := fullICCN()
	if n := testing.AllocsPerRun(100, func() {
		dst = AppendMessage(dst[:0], 1, 2, 3, 4, m, nil)
		dst = AppendZLB(dst, 1, 2, 3)
		PatchNr(dst, 9)
		dst = AppendDataHeader(dst, 1, 2, true)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	hello := AppendMessage(nil, 1, 0, 3, 4, NewMessage(MsgHello), nil)
	if n := testing.AllocsPerRun(100, func() {
		_, payload, _ := ParseHeader(hello)
		if m, err := ParseMessage(payload); err != nil || m.Type != MsgHello {
			t.Error(err)
		}
		if _, _, err := ParseHeader(hello[:3]); err == nil {
			t.Error("short datagram")
		}
	}); n != 0 {
		t.Errorf("%v allocations to read a HELLO and to refuse junk", n)
	}
}

func TestAVPThatDoesNotFitIsLeftOut(t *testing.T) {
	t.Parallel()
	long := Bytes(AVPLastSentLCP, bytes.Repeat([]byte{7}, MaxValue+1))
	m := parseDatagram(t, AppendMessage(nil, 0, 0, 0, 0, NewMessage(MsgICCN, long, Uint32(AVPTxConnectSpeed, 1)), nil))
	if m.Has(AVPLastSentLCP) || !m.Has(AVPTxConnectSpeed) {
		t.Errorf("got %v", m)
	}

	full := NewMessage(MsgICCN, Bytes(AVPLastSentLCP, bytes.Repeat([]byte{7}, 900)))
	for range 70 {
		full.AVPs = append(full.AVPs, Bytes(AVPLastSentLCP, bytes.Repeat([]byte{7}, MaxValue)))
	}
	// The response does not fit, hidden or not; the Random Vector made for it must not be missing from the name after it.
	full.AVPs = append(full.AVPs, Bytes(AVPProxyAuthenResponse, make([]byte, 600)), Text(AVPProxyAuthenName, "n"))
	for _, hide := range []*Hiding{nil, {Secret: testSecret, Random: entropy(5)}} {
		b := AppendMessage(nil, 0, 0, 0, 0, full, hide)
		m = parseDatagram(t, b)
		if len(b) > 65535 || len(m.AVPs) < 64 {
			t.Errorf("%d octets, %d AVPs", len(b), len(m.AVPs))
		}
		if err := m.Unhide(testSecret); err != nil || !m.Has(AVPProxyAuthenName) || m.Has(AVPProxyAuthenResponse) {
			t.Errorf("the AVP that fits is gone: %v", err)
		}
	}
}

func TestResultAVPForms(t *testing.T) {
	t.Parallel()
	// P56; P285 before draft 13.
	for _, tt := range []struct {
		r             Result
		plain, before string
	}{
		{Result{Code: 6}, "0006", "0006 0000"},
		{Result{Code: 6, Error: 9}, "0006", "0006 0000"},
		{Result{Code: 2, Error: 4, HasError: true}, "0002 0004", "0002 0004"},
		{Result{Code: 3, Text: "no"}, "0003 0000 6e6f", "0003 0000 6e6f"},
		{Result{Code: 2, Error: 8, HasError: true, Text: "x"}, "0002 0008 78", "0002 0006 78"},
		{Result{Code: 2, Error: 8, HasError: true}, "0002 0008", "0002 0006 756e6b6e6f776e206d616e6461746f727920415650"},
		{Result{Code: 5, Error: 0x0100, HasError: true}, "0005 0100", "0005 0100"},
		{Result{Code: 5, Error: 8, HasError: true}, "0005 0008", "0005 0008"}, // a version, not an error
		{Result{Code: 1, Text: "a\xffb"}, "0001 0000 613f62", "0001 0000 613f62"},
	} {
		for _, form := range []struct {
			pre13 bool
			want  string
		}{{false, tt.plain}, {true, tt.before}} {
			a := ResultAVP(tt.r, form.pre13)
			if !bytes.Equal(a.Value, unhex(t, form.want)) || a.Type != AVPResultCode || !a.Mandatory {
				t.Errorf("%#v, pre13 %v: %x", tt.r, form.pre13, a.Value)
			}
		}
	}
}

func TestLongResultTextIsCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	// P37: what we send is UTF-8.
	a := ResultAVP(Result{Code: 1, Text: strings.Repeat("é", 1000)}, false)
	r, ok := NewMessage(MsgCDN, a).Result()
	if !ok || len(a.Value) != MaxValue-1 || r.Text != strings.Repeat("é", 506) {
		t.Errorf("%d octets", len(a.Value))
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	m := fullICCN()
	dst := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendMessage(dst[:0], 1, 2, 3, 4, m, nil)
	}
}

func BenchmarkReceiveICRQ(b *testing.B) {
	datagram := AppendMessage(nil, 1, 2, 3, 4, fullICRQ(), nil)
	b.ReportAllocs()
	for b.Loop() {
		_, payload, _ := ParseHeader(datagram)
		m, err := ParseMessage(payload)
		if err == nil {
			_, err = m.Validate(ValidateOptions{})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
