package kernel

import (
	"errors"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nltest"
	"golang.org/x/sys/unix"
)

// A past trap: a child that was just being started had a copy of the descriptor, the interface outlived its session, and the next one did
// not get the name. The loopback interface stands for one that is still there.
func TestDiscardedInterfaceIsGone(t *testing.T) {
	t.Parallel()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	query, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		unit   Unit
		answer unix.Errno
		want   []uint32 // indexes of what is deleted
		err    error
	}{
		{name: "gone", unit: Unit{Name: "test-no-such", Index: lo.Index}},
		{name: "never made", unit: Unit{Name: "lo"}},
		{name: "another's", unit: Unit{Name: "lo", Index: 1 << 30}},
		{name: "still there", unit: Unit{Name: "lo", Index: lo.Index}, want: []uint32{uint32(lo.Index)}},
		{name: "gone meanwhile", unit: Unit{Name: "lo", Index: lo.Index}, answer: unix.ENODEV, want: []uint32{uint32(lo.Index)}},
		{name: "not ours to delete", unit: Unit{Name: "lo", Index: lo.Index}, answer: unix.EPERM, want: []uint32{uint32(lo.Index)}, err: unix.EPERM},
	} {
		var deleted []uint32
		conn := nltest.Dial(func(requests []netlink.Message) ([]netlink.Message, error) {
			for _, m := range requests {
				if m.Header.Type == unix.RTM_DELLINK {
					deleted = append(deleted, hostOrder.Uint32(m.Data[4:]))
				}
			}
			return nltest.Error(int(tt.answer), requests)
		})
		k := &Kernel{units: newPool(0), links: &linkClient{linkConn: linkConn{conn: conn, busy: make(chan struct{}, 1)}, query: query}}
		near, _ := pipe(t)
		u := k.units.enter("")
		u.Unit, u.fd = tt.unit, near
		if err := k.discard(u); !errors.Is(err, tt.err) || (err != nil) != (tt.err != nil) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.err)
		}
		if diff := cmp.Diff(tt.want, deleted); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := unix.Close(query); err != nil {
		t.Error(err)
	}
}
