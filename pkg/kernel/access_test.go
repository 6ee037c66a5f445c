package kernel

import (
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// The structure is packed: 2 octets of family, 4 of protocol, then id, address and name, the id alone in network order.
func TestSockaddrPPPoE(t *testing.T) {
	t.Parallel()
	got := sockaddrPPPoE(PPPoESpec{Interface: "eth1.100", SessionID: 0x1234, Peer: [6]byte{2, 0x11, 0x22, 0x33, 0x44, 0x55}})
	want := make([]byte, 30)
	hostOrder.PutUint16(want, unix.AF_PPPOX)
	hostOrder.PutUint32(want[2:], 0)
	copy(want[6:], "\x12\x34\x02\x11\x22\x33\x44\x55eth1.100")
	if diff := cmp.Diff(hex.Dump(want), hex.Dump(got[:])); diff != "" {
		t.Error(diff)
	}
	// The longest name ends with a NUL.
	got = sockaddrPPPoE(PPPoESpec{Interface: "abcdefghijklmno", SessionID: 1})
	if string(got[14:]) != "abcdefghijklmno\x00" {
		t.Errorf("name %q", got[14:])
	}
}

func TestPPPoESpecValidate(t *testing.T) {
	t.Parallel()
	good := PPPoESpec{Interface: "eth1", SessionID: 1, Peer: [6]byte{2}}
	for _, tt := range []struct {
		name   string
		change func(*PPPoESpec)
		ok     bool
	}{
		{"good", func(*PPPoESpec) {}, true},
		{"last id", func(s *PPPoESpec) { s.SessionID = 0xfffe }, true},
		{"no id", func(s *PPPoESpec) { s.SessionID = 0 }, false},
		{"reserved id", func(s *PPPoESpec) { s.SessionID = 0xffff }, false},
		{"no interface", func(s *PPPoESpec) { s.Interface = "" }, false},
		{"long name", func(s *PPPoESpec) { s.Interface = strings.Repeat("x", 16) }, false},
		{"no peer", func(s *PPPoESpec) { s.Peer = [6]byte{} }, false},
		{"group", func(s *PPPoESpec) { s.Peer = [6]byte{1, 0, 0x5e, 0, 0, 1} }, false},
	} {
		s := good
		tt.change(&s)
		if err := s.Validate(); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if err := (LineSpec{}).Validate(); err == nil {
		t.Error("a line without a tty")
	}
}

func TestParseLinkStats(t *testing.T) {
	t.Parallel()
	counters := make([]byte, 24*8)
	for i := range 24 {
		hostOrder.PutUint64(counters[8*i:], uint64(i+1)<<33)
	}
	attribute := func(kind uint16, value []byte) []byte {
		b := hostOrder.AppendUint16(nil, uint16(4+len(value)))
		return append(hostOrder.AppendUint16(b, kind), value...)
	}
	good := append(ifInfo(7), attribute(unix.IFLA_MTU, make([]byte, 4))...)
	good = append(good, attribute(unix.IFLA_STATS64, counters)...)
	want := Stats{
		RxPackets: 1 << 33, TxPackets: 2 << 33, RxBytes: 3 << 33, TxBytes: 4 << 33, RxErrors: 5 << 33, TxErrors: 6 << 33,
	}
	got, err := parseLinkStats(good)
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if got := got.since(want); got != (Stats{}) {
		t.Errorf("%+v counted since", got)
	}
	for n, bad := range map[string][]byte{
		"no message": nil, "no attributes": ifInfo(7), "short counters": append(ifInfo(7), attribute(unix.IFLA_STATS64, counters[:40])...),
		"half an attribute": good[:len(good)-1],
	} {
		if _, err := parseLinkStats(bad); err == nil {
			t.Errorf("%s: no error", n)
		}
	}
}

// The socket of PPPoE is locked while it is bound, for writing, too: what is sent meanwhile leaves when it is bound, in order.
func TestSendDoesNotWaitForTheBinding(t *testing.T) {
	t.Parallel()
	s, far := session(t, rig(t), func([]byte) {}, nil)
	s.access = &access{name: "pppoe session 1 on eth1"}
	s.set(func() { s.binding = true })
	for i := range byte(2) {
		if err := s.Send([]byte{0xc0, 0x21, 9, i, 0, 4}); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 16)
	if n, err := unix.Read(far, buf); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("%x came, %v, while the socket was locked", buf[:max(n, 0)], err)
	}
	s.set(s.unhold)
	for i := range byte(2) {
		if n, err := unix.Read(far, buf); err != nil || n != 6 || buf[3] != i {
			t.Errorf("frame %x, %v; want number %d", buf[:max(n, 0)], err, i)
		}
	}
}

func TestBridgeNeedsTwoSessionsOfOneKernel(t *testing.T) {
	t.Parallel()
	k := rig(t)
	a, _ := session(t, k, func([]byte) {}, nil)
	b, _ := session(t, k, func([]byte) {}, nil)
	other, _ := session(t, rig(t), func([]byte) {}, nil)
	if err := a.Bridge(a); !errors.Is(err, errSelf) || err.Error() != "bridge session 1/2 to session 1/2: a session cannot be bridged to itself" {
		t.Errorf("to itself: %v", err)
	}
	if err := a.Bridge(other); !errors.Is(err, errForeign) {
		t.Errorf("to another kernel's: %v", err)
	}
	if err := a.Relay([]byte{0xc0, 0x21}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("relay without a bridge: %v", err)
	}
	b.set(func() { b.unit = 1 << 20 })
	if err := a.Bridge(b); !errors.Is(err, errAttached) {
		t.Errorf("to one with an interface: %v", err)
	}
	b.set(func() { b.unit = -1 })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{a.Bridge(b), b.Bridge(a)} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("with one that is closed: %v", err)
		}
	}
}

// Whoever bridges two sessions, in whatever direction, or closes them, nobody waits for another for ever. Here the kernel
// refuses all bridges.
func TestBridgesDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	k := rig(t)
	for range 50 {
		a, _ := session(t, k, func([]byte) {}, nil)
		b, _ := session(t, k, func([]byte) {}, nil)
		calls := []func() error{
			func() error { return a.Bridge(b) }, func() error { return b.Bridge(a) }, a.Close, b.Close,
		}
		done := make(chan error, len(calls))
		for _, call := range calls {
			go func() { done <- call() }()
		}
		for range calls {
			_ = receive(t, done)
		}
	}
}
