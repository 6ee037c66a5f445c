//go:build kernel

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/l2tpd/l2tpd/test/scenario/subscriber"
)

// Subscribers are many light ones on an interface of a host. They are gone before the lab's end, without a word.
type Subscribers struct {
	*subscriber.Port

	host *Host
}

// Subscribers begins to be subscribers.
func (h *Host) Subscribers(cfg subscriber.Config) *Subscribers {
	t := h.l.t
	t.Helper()
	x := &Subscribers{host: h}
	err := h.Do(func() (err error) {
		x.Port, err = subscriber.Open(cfg)
		return err
	})
	if err != nil {
		t.Fatalf("host %s: subscribers: %v", h.Name, err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Errorf("host %s: subscribers: %v", h.Name, err)
		}
	})
	return x
}

// Await waits for a condition, which must be quick and call no method of the Port.
func (x *Subscribers) Await(what string, cond func(subscriber.Tally) bool) {
	t := x.host.l.t
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := x.Wait(ctx, cond); err != nil {
		var all strings.Builder
		for n, s := range x.Sessions() {
			fmt.Fprintf(&all, "%d: %+v\n", n, s)
		}
		t.Fatalf("host %s: %s: %v\n%s", x.host.Name, what, err, &all)
	}
}

// Reach has everybody who is up ping an address until it has answered each.
func (x *Subscribers) Reach(to netip.Addr) {
	t := x.host.l.t
	t.Helper()
	before := x.Sessions()
	x.host.l.Eventually("subscribers of host "+x.host.Name+" do not reach "+to.String(), func() error {
		var silent []int
		for n, s := range x.Sessions() {
			if s.State == subscriber.Up && (n >= len(before) || s.Pongs == before[n].Pongs) {
				silent = append(silent, n)
			}
		}
		if len(silent) > 0 {
			x.Ping(to, 56, silent...)
			return fmt.Errorf("%d have no answer", len(silent))
		}
		return nil
	})
}
