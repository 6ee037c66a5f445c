package capture_test

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/capture"
	"github.com/l2tpd/l2tpd/pkg/capture/capturetest"
)

var at = time.Date(2026, 11, 20, 15, 4, 5, 678901234, time.UTC)

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func TestFileIsReadBack(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w, err := capture.NewWriter(&b, 1<<20, "a capture")
	if err != nil {
		t.Fatal(err)
	}
	dsl := capture.Line{Name: "line/7", Description: "PPP with eth1"}
	packets := []capture.Packet{
		{From: addr("192.0.2.1:1701"), To: addr("203.0.113.2:41000"), Data: []byte("odd"), Length: 3, Comment: "one"},
		{From: addr("[2001:db8::1]:1701"), To: addr("[fe80::2%eth0]:1701"), Data: []byte("even"), Length: 4, Out: true, Lost: 7, Comment: strings.Repeat("x", 9000)},
		{Line: dsl, Data: []byte{0xc0, 0x21, 1}, Length: 3, Comment: "three"},
		{Line: dsl, Data: []byte{0, 0x21}, Length: 1502, Out: true},
		{From: addr("192.0.2.1:1701"), To: addr("203.0.113.2:1701"), Data: []byte("cut"), Length: 100},
		{From: addr("[::]:1701"), To: addr("203.0.113.2:1701")},
		{From: addr("203.0.113.2:1701"), To: addr("[::]:1701")},
		{To: addr("[2001:db8::1]:1701")},
		{},
	}
	for i, p := range packets {
		p.At = at.Add(time.Duration(i))
		if err := w.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(capture.End{Begun: at, Ended: at.Add(time.Second), Packets: 9, Lost: 7, Comment: "the end"}); err != nil || w.Size() != int64(b.Len()) {
		t.Fatalf("%d octets written, %d counted: %v", b.Len(), w.Size(), err)
	}
	f, err := capturetest.Read(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if f.Comment != "a capture" || f.End != "the end" || f.Received != 16 || f.Dropped != 7 || len(f.Packets) != len(packets) {
		t.Errorf("%d packets, file %+v", len(f.Packets), f)
	}
	if len(f.Interfaces) != 2 || f.Interfaces[0].Link != 101 || f.Interfaces[1] != (capturetest.Interface{Link: 9, Name: dsl.Name, Description: dsl.Description}) {
		t.Errorf("interfaces %+v", f.Interfaces)
	}
	want := []string{
		"192.0.2.1:1701 203.0.113.2:41000 odd", "[2001:db8::1]:1701 [fe80::2]:1701 even", "", "", "192.0.2.1:1701 203.0.113.2:1701 cut",
		"0.0.0.0:1701 203.0.113.2:1701 ", "203.0.113.2:1701 0.0.0.0:1701 ", "[::]:0 [2001:db8::1]:1701 ", "[::]:0 [::]:0 ",
	}
	for i, p := range f.Packets {
		if c := packets[i].Comment; p.Comment != c[:min(len(c), 8192)] || p.Lost != packets[i].Lost || (p.Flags == 2) != packets[i].Out || !p.At.Equal(at.Add(time.Duration(i))) {
			t.Errorf("packet %d: %+v", i, p)
		}
		if want[i] == "" {
			if !bytes.Equal(p.Data, packets[i].Data) || p.Length != packets[i].Length || p.Interface != 1 {
				t.Errorf("packet %d: %+v", i, p)
			}
			continue
		}
		from, to, data, err := p.UDP()
		if d := cmp.Diff(want[i], from.String()+" "+to.String()+" "+string(data)); d != "" || err != nil {
			t.Errorf("packet %d: %v (-want +got):\n%s", i, err, d)
		}
	}
}

// What does not fit is left out, and the end still fits.
func TestFileKeepsToItsLimit(t *testing.T) {
	t.Parallel()
	for limit := int64(2000); limit < 2100; limit++ {
		var b bytes.Buffer
		w, err := capture.NewWriter(&b, limit, "")
		if err != nil {
			t.Fatal(err)
		}
		n := uint64(0)
		for ; err == nil; n++ {
			err = w.Write(capture.Packet{At: at, Line: capture.Line{Name: "line"}, Data: make([]byte, 50), Length: 50})
		}
		if !errors.Is(err, capture.ErrFull) {
			t.Fatal(err)
		}
		if err := w.Close(capture.End{Begun: at, Ended: at, Packets: n - 1, Lost: 1, Comment: strings.Repeat("x", 300)}); err != nil {
			t.Fatal(err)
		}
		f, err := capturetest.Read(b.Bytes())
		if err != nil || int64(b.Len()) > limit || int64(b.Len()) < limit-400 || len(f.Packets) != int(n-1) {
			t.Errorf("%d packets in %d octets of %d: %v", len(f.Packets), b.Len(), limit, err)
		}
	}
}

// broken fails after some octets.
type broken struct{ left int }

var errBroken = errors.New("broken")

func (b *broken) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

func TestErrorsOfWritingAreTold(t *testing.T) {
	t.Parallel()
	if _, err := capture.NewWriter(&broken{}, 1<<20, ""); !errors.Is(err, errBroken) {
		t.Errorf("begin: %v", err)
	}
	w, err := capture.NewWriter(&broken{left: 300}, 1<<20, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(capture.Packet{At: at, Data: make([]byte, 200), Length: 200}); !errors.Is(err, errBroken) {
		t.Errorf("packet: %v", err)
	}
	if err := w.Close(capture.End{Begun: at, Ended: at}); !errors.Is(err, errBroken) {
		t.Errorf("end: %v", err)
	}
}
