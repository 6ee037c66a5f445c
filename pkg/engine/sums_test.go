package engine

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// controlSums are the sums that hold within the counters of control messages at any moment (S122-S125).
func controlSums(t *testing.T, of string, c *api.ControlTraffic) {
	t.Helper()
	if c.In != c.InWithData+c.InNoData {
		t.Errorf("%s: in %d, but %d with data and %d without", of, c.In, c.InWithData, c.InNoData)
	}
	if c.Out != c.OutWithData+c.OutNoData {
		t.Errorf("%s: out %d, but %d with data and %d without", of, c.Out, c.OutWithData, c.OutNoData)
	}
	if c.InWithData != c.InOrder+c.OutOfOrder+c.Discarded {
		t.Errorf("%s: %d with data, but %d in order, %d out of order, %d discarded", of, c.InWithData, c.InOrder, c.OutOfOrder, c.Discarded)
	}
	if least, most := c.InNoData+c.InOrder, c.InNoData+c.InOrder+c.OutOfOrder; c.Processed < least || c.Processed > most {
		t.Errorf("%s: %d processed, want %d to %d", of, c.Processed, least, most)
	}
	if c.Retransmits > c.OutWithData {
		t.Errorf("%s: %d sent again of %d", of, c.Retransmits, c.OutWithData)
	}
}

// sums checks that the numbers of a snapshot are those of the reference manual's samples, of which each is a sum of others; ended says that
// tunnels and sessions have come and gone, whose numbers only the whole has.
func (b *box) sums(ended bool) *api.Snapshot {
	b.t.Helper()
	s := b.look()
	c := &s.Status.Counters
	if c.InMessages != c.Control.In+c.Data.InPackets || c.OutMessages != c.Control.Out+c.Data.OutPackets {
		b.t.Errorf("%v: messages %d and %d, but control %d and %d, data %d and %d", b.addr, c.InMessages, c.OutMessages,
			c.Control.In, c.Control.Out, c.Data.InPackets, c.Data.OutPackets)
	}
	if c.InErrors != c.Discarded.Malformed+c.Data.InErrors {
		b.t.Errorf("%v: %d errors, but %d malformed, %d of the kernel's", b.addr, c.InErrors, c.Discarded.Malformed, c.Data.InErrors)
	}
	controlSums(b.t, b.addr.String(), &c.Control)
	var control api.ControlTraffic
	var data api.DataTraffic
	for i := range s.Tunnels {
		x := &s.Tunnels[i].Counters
		controlSums(b.t, b.addr.String()+", a tunnel", x)
		n := x.InOrder
		control.In, control.InWithData, control.InNoData, control.Processed = control.In+x.In, control.InWithData+x.InWithData, control.InNoData+x.InNoData, control.Processed+x.Processed
		control.InOrder, control.OutOfOrder, control.Discarded = control.InOrder+n, control.OutOfOrder+x.OutOfOrder, control.Discarded+x.Discarded
		control.Out, control.OutWithData, control.OutNoData, control.Retransmits = control.Out+x.Out, control.OutWithData+x.OutWithData, control.OutNoData+x.OutNoData, control.Retransmits+x.Retransmits
	}
	for i := range s.Sessions {
		if x := s.Sessions[i].Data; x != nil {
			data.InPackets, data.InOctets, data.OutPackets, data.OutOctets = data.InPackets+x.InPackets, data.InOctets+x.InOctets, data.OutPackets+x.OutPackets, data.OutOctets+x.OutOctets
		}
	}
	if !ended {
		if d := cmp.Diff(control, c.Control); d != "" {
			b.t.Errorf("%v: control messages of all tunnels, and of the daemon (-sum +whole):\n%s", b.addr, d)
		}
		if d := cmp.Diff(data, c.Data); d != "" {
			b.t.Errorf("%v: data of all sessions, and of the daemon (-sum +whole):\n%s", b.addr, d)
		}
	}
	if c.Control.In < control.In || c.Control.Out < control.Out || c.Data.InPackets < data.InPackets || c.Data.OutOctets < data.OutOctets {
		b.t.Errorf("%v: the whole is less than its parts: %+v and %+v, %+v and %+v", b.addr, c.Control, control, c.Data, data)
	}
	return s
}

// S114, S122-S128: 123 = 30 + 93, 30 = 26 + 4, 145 = 51 + 94, 51 = 37 + 14. What one end has sent the other has got, the kernel's packets
// and octets included, and nothing of those that have ended is lost.
func TestCountersAreSumsAndAgreeAtBothEnds(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		n.ordered = true
		b := n.start(t, "2.2.2.2", lasting(), true)
		a := n.start(t, "1.1.1.1", initiators(1), true)
		defer b.stop()
		defer a.stop()
		var last [2]api.Counters
		for round := range 3 {
			a.up("c0", time.Minute)
			time.Sleep(90500 * time.Millisecond) // virtual: HELLOs and echoes have passed, nothing is on its way
			sa, sb := a.sums(round > 0), b.sums(round > 0)
			ca, cb := sa.Status.Counters, sb.Status.Counters
			if ca.Control.Out != cb.Control.In || cb.Control.Out != ca.Control.In || ca.Control.OutNoData != cb.Control.InNoData || cb.Control.OutWithData != ca.Control.InWithData {
				t.Errorf("control messages: %+v, %+v", ca.Control, cb.Control)
			}
			if ca.Control.Discarded+cb.Control.Discarded+ca.Control.OutOfOrder+cb.Control.OutOfOrder+ca.Control.Retransmits+cb.Control.Retransmits != 0 {
				t.Errorf("nothing was lost: %+v, %+v", ca.Control, cb.Control)
			}
			if ca.Data.OutPackets != cb.Data.InPackets || ca.Data.OutOctets != cb.Data.InOctets || cb.Data.OutPackets != ca.Data.InPackets || cb.Data.OutOctets != ca.Data.InOctets {
				t.Errorf("data: %+v, %+v", ca.Data, cb.Data)
			}
			if ca.Data.InPackets <= last[0].Data.InPackets || cb.Data.InPackets <= last[1].Data.InPackets || ca.Control.In <= last[0].Control.In {
				t.Errorf("round %d has counted nothing: %+v, %+v", round, ca, cb)
			}
			last = [2]api.Counters{ca, cb}
			a.act(api.Action{Verb: api.VerbTunnelClose, Tunnel: sa.Tunnels[0].ID})
			a.until("down", time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].State != api.CallUp })
		}
	})
}

// The same sums hold at any moment while datagrams are lost, doubled in effect by retransmission, and come in another order.
func TestCountersAreSumsThroughLoss(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		dice := rand.New(rand.NewPCG(3, 4))
		n.drop = func(_, _ netip.AddrPort, _ []byte) bool { return dice.IntN(5) == 0 }
		b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) {
			p.Pools["ips"].Ranges[0] = policy.Range{From: netip.MustParseAddr("192.168.20.2"), To: netip.MustParseAddr("192.168.20.250")}
		}), true)
		a := n.start(t, "1.1.1.1", initiators(20), true)
		defer b.stop()
		defer a.stop()
		for range 120 {
			time.Sleep(500 * time.Millisecond) // virtual
			a.sums(true)
			b.sums(true)
		}
		ca, cb := a.sums(true).Status.Counters.Control, b.sums(true).Status.Counters.Control
		if ca.Retransmits+cb.Retransmits == 0 || ca.OutOfOrder+cb.OutOfOrder == 0 {
			t.Errorf("nothing was lost: %+v, %+v", ca, cb)
		}
	})
}
