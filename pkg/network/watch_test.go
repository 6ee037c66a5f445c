package network

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// receive waits for what should come at once.
func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// A past trap: a firewall that reloads filled the queue with what concerned others, and the removal of our table was lost. Here the kernel
// has more to acknowledge than the queue takes, none of it of concern; the watch hears of that, and goes on.
func TestChangesThatOverflowAreNotMissed(t *testing.T) {
	t.Parallel()
	var later atomic.Bool
	heard, changed := make(chan struct{}, 1), make(chan struct{}, 1)
	tell := func(c chan struct{}) {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	w, err := openWatch(unix.NETLINK_ROUTE, nil, func([]netlink.Message) bool {
		if later.Load() {
			tell(heard)
		}
		return false
	}, func() { tell(changed) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.conn.SetReadBuffer(1); err != nil { // the least that there is
		t.Fatal(err)
	}
	acknowledged := netlink.Message{Header: netlink.Header{Type: netlink.Noop, Flags: netlink.Request | netlink.Acknowledge}}
	many := make([]netlink.Message, 1000)
	for i := range many {
		many[i] = acknowledged
	}
	if _, err := w.conn.SendMessages(many); err != nil {
		t.Fatal(err)
	}
	receive(t, changed)
	later.Store(true)
	if _, err := w.conn.Send(acknowledged); err != nil {
		t.Fatal(err)
	}
	receive(t, heard)
}
