package engine

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// P156, P157: a peer that answers from another port is followed for the whole tunnel, unless pin_port forbids it; a third address
// is never listened to.
func TestAnswerFromAnotherPort(t *testing.T) {
	for name, pin := range map[string]bool{"followed": false, "pinned": true} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				n.from = func(a netip.AddrPort) netip.AddrPort {
					if a.Addr() == netip.MustParseAddr("2.2.2.2") {
						return netip.AddrPortFrom(a.Addr(), 40000)
					}
					return a
				}
				p := initiators(1)
				p.Server.PinPort = pin
				b := n.start(t, "2.2.2.2", acceptor(), true)
				a := n.start(t, "1.1.1.1", p, true)
				defer a.stop()
				defer b.stop()
				if pin {
					a.until("refused", time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].LastError != nil })
					if s := a.look(); s.Status.Counters.Discarded.ForeignSource == 0 || s.Calls[0].LastError.Stage != "transport" {
						t.Errorf("foreign packets %d, stage %q", s.Status.Counters.Discarded.ForeignSource, s.Calls[0].LastError.Stage)
					}
					return
				}
				a.up("c0", time.Minute)
				if got := a.look().Tunnels[0].Remote; got != netip.MustParseAddrPort("2.2.2.2:40000") {
					t.Errorf("peer %v, want 2.2.2.2:40000", got)
				}
			})
		})
	}
}

// P163: an ICMP error ends nothing, but explains the set-up that nobody answers.
func TestUnreachablePeerIsNamed(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		a := n.start(t, "1.1.1.1", pair("a", "2.2.2.2", policy.PrecedenceIn, true), true)
		defer a.stop()
		a.until("SCCRQ out", time.Minute, func(s *api.Snapshot) bool { return len(s.Tunnels) == 1 })
		a.e.Unreachable(netip.MustParseAddrPort("2.2.2.2:1701"))
		a.until("an error", time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].LastError != nil })
		if got := a.look().Calls[0].LastError; got.Stage != "transport" || !strings.Contains(got.Text, "nobody listens there") {
			t.Errorf("last error %+v", got)
		}
	})
}
