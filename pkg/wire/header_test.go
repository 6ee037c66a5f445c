package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unhex decodes hexadecimal with blanks between groups.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(string(bytes.Join(bytes.Fields([]byte(s)), nil)))
	if err != nil {
		t.Fatalf("decode %q: %v", s, err)
	}
	return b
}

// controlHeader is a control header for a message of n octets with the flag bits changed by xor.
func controlHeader(xor, n uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, 0xc802^xor)
	b = binary.BigEndian.AppendUint16(b, n)
	return append(b, 0, 1, 0, 2, 0, 3, 0, 4)
}

func TestControlHeaderIsRead(t *testing.T) {
	t.Parallel()
	h, payload, err := ParseHeader(append(controlHeader(0, 14), 0xaa, 0xbb))
	if err != nil {
		t.Fatal(err)
	}
	want := Header{
		Control: true, HasLength: true, HasSequence: true, Version: 2,
		Length: 14, TunnelID: 1, SessionID: 2, Ns: 3, Nr: 4,
	}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Error(diff)
	}
	if !bytes.Equal(payload, []byte{0xaa, 0xbb}) {
		t.Errorf("payload %x", payload)
	}
}

func TestControlHeaderWithWrongBitsIsMalformed(t *testing.T) {
	t.Parallel()
	// P2: L and S must be set. P3: O and P must not.
	for _, bit := range []uint16{bitLength, bitSequence, bitOffset, bitPriority} {
		if _, _, err := ParseHeader(append(controlHeader(bit, 12), make([]byte, 8)...)); !errors.Is(err, ErrMalformedHeader) {
			t.Errorf("bit %#04x flipped: got %v", bit, err)
		}
	}
}

func TestReservedHeaderBitsAreIgnored(t *testing.T) {
	t.Parallel()
	// P4.
	for _, bit := range []uint16{0x2000, 0x1000, 0x0400, 0x0080, 0x0040, 0x0020, 0x0010, 0x34f0} {
		h, _, err := ParseHeader(controlHeader(bit, 12))
		if err != nil {
			t.Errorf("bits %#04x: %v", bit, err)
		}
		if h.Reset != (bit&0x2000 != 0) || h.Nr != 4 {
			t.Errorf("bits %#04x: header %+v", bit, h)
		}
	}
}

func TestOtherVersionsAreRefused(t *testing.T) {
	t.Parallel()
	// P5: 1 is L2F, 3 is L2TPv3.
	for version := uint16(0); version < 16; version++ {
		_, _, err := ParseHeader(controlHeader(2^version, 12))
		if version == 2 && err != nil || version != 2 && !errors.Is(err, ErrVersion) {
			t.Errorf("version %d: got %v", version, err)
		}
	}
}

func TestControlLengthIsHonoured(t *testing.T) {
	t.Parallel()
	// P6.
	tests := map[string]struct {
		length  uint16
		payload int
		err     error
	}{
		"beyond datagram":     {17, 0, ErrMalformedHeader},
		"shorter than header": {11, 0, ErrMalformedHeader},
		"zero":                {0, 0, ErrMalformedHeader},
		"trailing ignored":    {14, 2, nil},
		"header only":         {12, 0, nil},
		"exact":               {16, 4, nil},
	}
	for name, tt := range tests {
		_, payload, err := ParseHeader(append(controlHeader(0, tt.length), 1, 2, 3, 4))
		if !errors.Is(err, tt.err) || len(payload) != tt.payload {
			t.Errorf("%s: %d octets, %v", name, len(payload), err)
		}
		if cap(payload) != len(payload) {
			t.Errorf("%s: an append to the payload would reach beyond it", name)
		}
	}
}

func TestShortDatagramsAreRefused(t *testing.T) {
	t.Parallel()
	// P7: every prefix of a control header; a data header of 6 octets is whole.
	whole := controlHeader(0, 12)
	for n := range whole {
		if _, _, err := ParseHeader(whole[:n]); !errors.Is(err, ErrShort) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
	for n := range 6 {
		if _, _, err := ParseHeader(unhex(t, "000200010002")[:n]); !errors.Is(err, ErrShort) {
			t.Errorf("data, %d octets: %v", n, err)
		}
	}
}

func TestDataHeaderForms(t *testing.T) {
	t.Parallel()
	// P8: every sum of L, S, O and P delivers the same frame; P9: the offset is skipped.
	frame := []byte{0xff, 0x03, 0xc0, 0x21, 1, 2, 3}
	for i := range 16 {
		flags := protocolL2TPv2
		var fields []byte
		want := Header{Version: 2, TunnelID: 7, SessionID: 9}
		if i&1 != 0 {
			flags |= bitLength
			want.HasLength = true
		}
		fields = append(fields, 0, 7, 0, 9)
		if i&2 != 0 {
			flags |= bitSequence
			fields = append(fields, 0x12, 0x34, 0x56, 0x78)
			want.HasSequence, want.Ns, want.Nr = true, 0x1234, 0x5678
		}
		if i&4 != 0 {
			flags |= bitOffset
			fields = append(fields, 0, 3, 0xee, 0xee, 0xee)
			want.HasOffset, want.OffsetSize = true, 3
		}
		if i&8 != 0 {
			flags |= bitPriority
			want.Priority = true
		}
		b := binary.BigEndian.AppendUint16(nil, flags)
		if want.HasLength {
			want.Length = uint16(4 + len(fields) + len(frame))
			b = binary.BigEndian.AppendUint16(b, want.Length)
		}
		b = append(append(b, fields...), frame...)
		if want.HasLength {
			b = append(b, 0xdd, 0xdd) // P10: ignored
		}
		h, payload, err := ParseHeader(b)
		if err != nil || !bytes.Equal(payload, frame) {
			t.Errorf("flags %04x: payload %x, %v", flags, payload, err)
		}
		if diff := cmp.Diff(want, h); diff != "" {
			t.Errorf("flags %04x: %s", flags, diff)
		}
	}
}

func TestOffsetBeyondDatagramIsMalformed(t *testing.T) {
	t.Parallel()
	// P9.
	for _, s := range []string{
		"0202 0001 0002 0003 ffff",
		"0202 0001 0002 ffff ffff",
		"4202 000c 0001 0002 0003 ffff ffff", // within the datagram, beyond its Length
	} {
		if _, _, err := ParseHeader(unhex(t, s)); !errors.Is(err, ErrMalformedHeader) {
			t.Errorf("%s: %v", s, err)
		}
	}
	h, payload, err := ParseHeader(unhex(t, "0202 0001 0002 0002 ffff"))
	if err != nil || len(payload) != 0 || h.OffsetSize != 2 {
		t.Errorf("offset up to the end: %x, %v", payload, err)
	}
}

func TestDataFrameOfARouterIsRead(t *testing.T) {
	t.Parallel()
	// V25: PPP with address and control octets, protocol 0021, an IPv4 packet of 84 octets.
	frame := append(unhex(t, "40020060 0d48c863 ff030021 45000054"), make([]byte, 80)...)
	h, payload, err := ParseHeader(frame)
	if err != nil {
		t.Fatal(err)
	}
	want := Header{HasLength: true, Version: 2, Length: 96, TunnelID: 3400, SessionID: 51299}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Error(diff)
	}
	if len(payload) != 88 || !bytes.HasPrefix(payload, []byte{0xff, 0x03, 0x00, 0x21, 0x45}) {
		t.Errorf("payload %x", payload)
	}
}

func TestZLBIsTwelveOctets(t *testing.T) {
	t.Parallel()
	// P1, and RFC 2661, 5.8: an acknowledgement is a header alone, of session 0.
	got := AppendZLB([]byte{0xee}, 0x1234, 0x0001, 0x0002)
	want := unhex(t, "ee c802 000c 1234 0000 0001 0002")
	if !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

func TestPatchNrChangesNothingElse(t *testing.T) {
	t.Parallel()
	// P137.
	b := AppendMessage(nil, 1, 2, 3, 4, NewMessage(MsgHello), nil)
	want := AppendMessage(nil, 1, 2, 3, 0xfffe, NewMessage(MsgHello), nil)
	PatchNr(b, 0xfffe)
	if !bytes.Equal(b, want) {
		t.Errorf("got %x, want %x", b, want)
	}
}

func TestDataHeaderForUserSpaceFrames(t *testing.T) {
	t.Parallel()
	// P8, P17.
	if got, want := AppendDataHeader(nil, 0x0102, 0x0304, false), unhex(t, "0002 0102 0304"); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	if got, want := AppendDataHeader(nil, 0x0102, 0x0304, true), unhex(t, "0102 0102 0304"); !bytes.Equal(got, want) {
		t.Errorf("priority: got %x, want %x", got, want)
	}
}
