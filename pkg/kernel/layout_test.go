package kernel

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSockaddrLayout(t *testing.T) {
	t.Parallel()
	got := sockaddr(SessionSpec{TunnelID: 0x0102, SessionID: 0x0304, PeerTunnelID: 0x0506, PeerID: 0x0708})
	wantBytes(t, got[:], `1800 01000000
		00000000 ffffffff
		0000 0000 00000000 0000000000000000
		0201 0403 0605 0807`)
}

func TestParseStats(t *testing.T) {
	t.Parallel()
	var b [statsLen]byte
	for i := range 8 {
		binary.LittleEndian.PutUint64(b[8+8*i:], uint64(i+1)<<32|uint64(i))
	}
	v := func(i uint64) uint64 { return (i+1)<<32 | i }
	want := Stats{
		TxPackets: v(0), TxBytes: v(1), TxErrors: v(2),
		RxPackets: v(3), RxBytes: v(4), RxSeqDiscards: v(5), RxOutOfSequence: v(6), RxErrors: v(7),
	}
	if diff := cmp.Diff(want, parseStats(&b)); diff != "" {
		t.Error(diff)
	}
}

// With a reorder time-out of 0 each lost frame costs five more, so the time-out is set first and is never 0.
func TestReorderTimeoutIsSetBeforeNumbering(t *testing.T) {
	t.Parallel()
	tests := []struct {
		q    Sequencing
		want [4]option
	}{
		{Sequencing{}, [4]option{{5, 30}, {4, 0}, {2, 0}, {3, 0}}},
		{Sequencing{LNS: true, Send: true, Reorder: 50 * time.Millisecond}, [4]option{{5, 50}, {4, 1}, {2, 0}, {3, 1}}},
		{Sequencing{Require: true, Reorder: 20 * time.Millisecond}, [4]option{{5, 20}, {4, 0}, {2, 1}, {3, 0}}},
	}
	for _, tt := range tests {
		if got := tt.q.options(); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.q, got, tt.want)
		}
	}
}

// A fresh unit's idle clocks start at boot: at HZ=250 it reports 17179573 s.
func TestIdleIsClampedToTheAgeOfTheUnit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		transmit, receive uint64
		age, want         time.Duration
	}{
		{17179573, 17179573, 3500 * time.Millisecond, 3500 * time.Millisecond},
		{17179573, 2, time.Minute, 2 * time.Second},
		{4, 9, time.Minute, 4 * time.Second},
		{0, 0, 300 * time.Millisecond, 0},
		{math.MaxUint64, math.MaxUint64, time.Second, time.Second},
		{5, 5, -time.Second, 0},
	}
	for _, tt := range tests {
		var b [16]byte
		binary.LittleEndian.PutUint64(b[0:], tt.transmit)
		binary.LittleEndian.PutUint64(b[8:], tt.receive)
		if got := parseIdle(&b, tt.age); got != tt.want {
			t.Errorf("idle of %d, %d at age %v: %v, want %v", tt.transmit, tt.receive, tt.age, got, tt.want)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	session := func(q Sequencing) SessionSpec {
		return SessionSpec{TunnelID: 1, PeerTunnelID: 2, SessionID: 3, PeerID: 4, Sequencing: q}
	}
	tests := []struct {
		what interface{ Validate() error }
		want string
	}{
		{TunnelSpec{ID: 1, PeerID: 65535}, ""},
		{TunnelSpec{PeerID: 1}, "id 0 is reserved"},
		{TunnelSpec{ID: 1}, "id 0 is reserved"},
		{TunnelSpec{ID: 1, PeerID: 1, FD: -1}, "no socket"},
		{session(Sequencing{}), ""},
		{SessionSpec{TunnelID: 1, PeerTunnelID: 2, SessionID: 3}, "id 0 is reserved"},
		{session(Sequencing{LNS: true}), ""},
		{session(Sequencing{Send: true}), "the reorder time-out must be 20ms..50ms with sequence numbers"},
		{Sequencing{Require: true, Reorder: 19 * ms}, "the reorder time-out must be 20ms..50ms with sequence numbers"},
		{Sequencing{Reorder: 51 * ms}, "the reorder time-out must be 20ms..50ms with sequence numbers"},
		{Sequencing{Require: true, Send: true, Reorder: 50 * ms}, ""},
		{UnitSpec{}, ""},
		{UnitSpec{Name: "exactly15octets", MTU: 1410}, ""},
		{UnitSpec{Name: "sixteen16octets!"}, `interface name "sixteen16octets!" is longer than 15 octets`},
		{UnitSpec{Name: "lns%d"}, ""},
		{UnitSpec{Name: "lns%d-%d"}, `interface name "lns%d-%d" has a forbidden character`},
		{UnitSpec{Name: "lns%s"}, `interface name "lns%s" has a forbidden character`},
		{UnitSpec{Name: "a/b"}, `interface name "a/b" has a forbidden character`},
		{UnitSpec{Name: "a b"}, `interface name "a b" has a forbidden character`},
		{UnitSpec{Name: ".."}, `interface name ".." is reserved`},
		{UnitSpec{MTU: 67}, "mtu 67 is not in 68..65535"},
		{UnitSpec{MTU: 65536}, "mtu 65536 is not in 68..65535"},
	}
	for _, tt := range tests {
		got := ""
		if err := tt.what.Validate(); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.what, got, tt.want)
		}
	}
}
