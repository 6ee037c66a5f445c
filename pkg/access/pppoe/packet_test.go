package pppoe

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/l2tpd/l2tpd/test/golden"
)

func octets(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPacketsAreReadAsTheyAreMeant(t *testing.T) {
	t.Parallel()
	golden.Transcripts(t, "packet/*.txt", 3, func(t *testing.T) func(string) []string {
		return func(line string) []string {
			if text, ok := strings.CutPrefix(line, "line "); ok {
				return describeLine(octets(t, text))
			}
			p, err := Parse(octets(t, line))
			if err != nil {
				return []string{dropOf(err).String() + ": " + err.Error()}
			}
			return []string{p.String()}
		}
	})
}

func describeLine(b []byte) []string {
	line, ours, err := parseLine(b)
	switch {
	case err != nil:
		return []string{err.Error()}
	case !ours:
		return []string{"another vendor's"}
	case line.Empty():
		return []string{"nothing"}
	}
	out := []string{line.String()}
	for _, a := range line.Attributes() {
		out = append(out, fmt.Sprintf("AVP %d: %x", a.Type, a.Value))
	}
	return out
}

// seeds are packets and parts of them.
func seeds(f *testing.F) [][]byte {
	client, server := MAC{2, 0, 0, 0, 0, 1}, MAC{2, 0, 0, 0, 0, 2}
	vendor := octets(f, "00000de9 0102 6162 810400000400 8b0400000001 9003000101 910400000003 fe00")
	all := []Packet{
		{Dst: broadcast, Src: client, Code: CodePADI, Tags: []Tag{{TagServiceName, nil}, {TagHostUniq, []byte("u")}}},
		{Dst: broadcast, Src: client, Code: CodePADI, Tags: []Tag{
			{TagServiceName, []byte("internet")}, {TagPPPMaxPayload, []byte{5, 220}}, {TagVendorSpecific, vendor}, {TagRelaySessionID, []byte("relay")},
		}},
		{Dst: server, Src: client, Code: CodePADR, Tags: []Tag{{TagServiceName, nil}, {TagACCookie, make([]byte, cookieSize)}, {TagVendorSpecific, vendor}}},
		{Dst: server, Src: client, Code: CodePADT, SessionID: 7, Tags: []Tag{{TagGenericError, []byte("bye\n")}}},
		{Dst: client, Src: server, Code: CodePADO, Tags: []Tag{{TagServiceName, nil}, {TagACName, []byte("ac")}, {0x9999, []byte{1}}}},
		{Dst: client, Src: server, Code: CodePADS, SessionID: 7, Tags: []Tag{{TagServiceName, nil}, {TagEndOfList, nil}}},
		{Dst: client, Src: server, Code: CodePADS, Tags: []Tag{{TagServiceNameError, nil}, {TagACSystemError, []byte("x")}}},
	}
	var frames [][]byte
	for _, p := range all {
		frames = append(frames, p.frame(), append(p.frame(), make([]byte, 20)...))
	}
	return frames
}

// FuzzParse: what is taken apart can be put together again, and is written in one printable line.
func FuzzParse(f *testing.F) {
	for _, frame := range seeds(f) {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := Parse(in)
		if err != nil {
			if d := dropOf(err); !d.Malformed() || d == DropTags || len(p.Tags) > 0 {
				t.Errorf("%x: %v, %v", in, err, p)
			}
			return
		}
		again := p.frame()
		if len(again) > len(in) {
			t.Errorf("%x has become longer: %x", in, again)
		}
		q, err := Parse(again)
		if err != nil || q.String() != p.String() || !bytes.Equal(q.frame(), again) {
			t.Errorf("%x: %s became %s, %v", in, p, q, err)
		}
		for _, r := range p.String() {
			if !unicode.IsPrint(r) {
				t.Errorf("%q is not one printable line", p.String())
			}
		}
	})
}

// FuzzLine: whatever an access node tells can be written and makes AVPs of the lengths that RFC 5515 has.
func FuzzLine(f *testing.F) {
	f.Add(octets(f, "00000de9 0102 6162 810400000400 8b0400000001 9003000101 910400000003 fe00"))
	f.Add(octets(f, "00000de9 0300 8f00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		line, ours, err := parseLine(in)
		if (err != nil || !ours) && !line.Empty() {
			t.Errorf("%x: %+v, %v", in, line, err)
		}
		last := uint16(0)
		for _, a := range line.Attributes() {
			n, field := len(a.Value), LineField(a.Type)
			if a.Type <= last || a.Type < 3 && (n < 2 || n > 63) || field.rate() && n != 8 || (field.delay() || field == LineDSLType) && n != 4 ||
				field == LineAccessEncapsulation && n != 3 || field == LineIWF && n != 0 {
				t.Errorf("%x: AVP %d of %d octets", in, a.Type, n)
			}
			last = a.Type
		}
		for _, r := range line.String() {
			if !unicode.IsPrint(r) {
				t.Errorf("%q is not one printable line", line.String())
			}
		}
	})
}
