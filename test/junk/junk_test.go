package junk

import (
	"bytes"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// The same seed gives the same datagrams, another one others.
func TestSeedDecides(t *testing.T) {
	t.Parallel()
	a, b, c := New(1), New(1), New(2)
	same := 0
	for range 1000 {
		x := a.Next()
		if !bytes.Equal(x, b.Next()) {
			t.Fatal("one seed, two datagrams")
		}
		if bytes.Equal(x, c.Next()) {
			same++
		}
	}
	if same > 100 {
		t.Errorf("%d of 1000 datagrams are those of another seed", same)
	}
}

// Junk reaches every depth: headers that do not parse, messages that do not, and messages that are good.
func TestJunkReachesEveryDepth(t *testing.T) {
	t.Parallel()
	s := New(3)
	s.Avoid(77)
	var badHeader, badMessage, good, requests int
	types := map[wire.MessageType]bool{}
	for range 100_000 {
		h, payload, err := wire.ParseHeader(s.Next())
		switch {
		case err != nil:
			badHeader++
			continue
		case h.TunnelID == 77:
			t.Fatal("an id that was to be avoided")
		case !h.Control:
			continue
		}
		m, err := wire.ParseMessage(payload)
		if err != nil {
			badMessage++
			continue
		}
		good++
		types[m.Type] = true
		if m.Type == wire.MsgSCCRQ && h.TunnelID == 0 {
			requests++
		}
	}
	if badHeader < 10_000 || badMessage < 10_000 || good < 10_000 || requests < 1_000 {
		t.Errorf("bad headers %d, bad messages %d, good messages %d, of them SCCRQ %d", badHeader, badMessage, good, requests)
	}
	for want := wire.MsgSCCRQ; want <= wire.MsgSLI; want++ {
		if want.Known() && !types[want] {
			t.Errorf("no %v among them", want)
		}
	}
}

// What comes again keeps its header but for the length, which is true.
func TestAgainKeepsTheHeader(t *testing.T) {
	t.Parallel()
	hello := wire.AppendMessage(nil, 5, 0, 17, 4, wire.NewMessage(wire.MsgHello), nil)
	s := New(4, hello)
	changed := 0
	for range 1000 {
		d := s.Again()
		h, _, err := wire.ParseHeader(d)
		if err != nil || h.TunnelID != 5 || h.Ns != 17 || h.Nr != 4 || int(h.Length) != len(d) {
			t.Fatalf("%x: %+v, %v", d, h, err)
		}
		if !bytes.Equal(d, hello) {
			changed++
		}
	}
	if changed < 900 {
		t.Errorf("%d of 1000 changed", changed)
	}
}
