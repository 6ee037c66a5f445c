//go:build kernel

package scenario

import (
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// P132, P140: 70,000 control messages in each direction through one tunnel, so that the numbers wrap: each is answered exactly once
// and in order, and never are more on the way than the window allows. The messages are calls that are all refused.
func TestNumbersWrapAndTheWindowHolds(t *testing.T) {
	// long: both directions of one tunnel
	s := newSiege(t, lns)
	s.db.Stop()
	s.da.Stop()
	s.db.SetConfig(`
server: {hostname: b, mode: lac, tunnel: {receive_window: 32, idle_timeout: never}}
lns: {accept: [{from: any, template: dialin}]}
ppp: {templates: {dialin: {auth: none}}}
`)
	s.db.Start()
	const total, window, ahead = 70_000, 32, 100
	p := newRawPeer(t, s.evil, "10.0.3.3:1701", "10.0.3.2:1701", 99, window)
	began := time.Now()
	request := func(i int) []byte {
		return wire.AppendMessage(nil, p.theirs, 0, uint16(2+i), p.nr, wire.NewMessage(wire.MsgICRQ,
			wire.Uint16(wire.AVPAssignedSessionID, uint16(1+i%65535)), wire.Uint32(wire.AVPCallSerialNumber, uint32(i))), nil)
	}
	sent, acked, refused, resent, most := 0, 0, 0, 0, 0
	early := map[uint16]uint16{} // sessions of answers that came before others, by number
	said := p.nr                 // the Nr that they have last seen
	for refused < total || acked < total {
		for sent < total && sent-acked < int(p.window) && sent-refused < ahead {
			p.write(request(sent))
			sent++
			said = p.nr
		}
		h, payload, err := p.receive(time.Second)
		if err != nil { // lost in an overfull buffer
			for i := acked; i < sent; i++ {
				p.write(request(i))
				resent++
			}
			p.write(wire.AppendZLB(nil, p.theirs, uint16(2+sent), p.nr))
			said = p.nr
			if time.Since(began) > 10*time.Minute {
				t.Fatalf("%d sent, %d acknowledged, %d refused", sent, acked, refused)
			}
			continue
		}
		if done := int(int16(h.Nr - uint16(2+acked))); done > 0 && acked+done <= sent {
			acked += done
		}
		if len(payload) == 0 {
			continue
		}
		most = max(most, int(int16(h.Ns-said))+1)
		if int16(h.Ns-p.nr) < 0 {
			p.write(wire.AppendZLB(nil, p.theirs, uint16(2+sent), p.nr)) // a repetition
			said = p.nr
			continue
		}
		m, err := wire.ParseMessage(payload)
		if err != nil || m.Type != wire.MsgCDN {
			t.Fatalf("answer %d is %v: %v", refused, m.Type, err)
		}
		early[h.Ns] = h.SessionID // two processors may send in another order
		for {
			session, ok := early[p.nr]
			if !ok {
				break
			}
			if want := uint16(1 + refused%65535); session != want {
				t.Fatalf("answer %d is for session %d, want %d", refused, session, want)
			}
			delete(early, p.nr)
			refused++
			p.nr++
		}
		if sent == total || int(p.nr-said) >= window/2 { // nothing to ride on
			p.write(wire.AppendZLB(nil, p.theirs, uint16(2+sent), p.nr))
			said = p.nr
		}
	}
	took := time.Since(began)
	if most > window {
		t.Errorf("%d messages were on the way at a time, our window is %d", most, window)
	}
	s.Eventually("the last acknowledgement", func() error {
		if x := s.db.Tunnels(); len(x) != 1 || x[0].Outstanding > 0 {
			return errNotThere
		}
		return nil
	})
	x := s.db.Tunnels()[0]
	wrapped := total + 2 - 1<<16
	if x.State != "established" || int(x.Nr) != wrapped || int(x.Ns) != wrapped-1 || x.Counters.Processed < total || x.SessionCount != 0 {
		t.Errorf("tunnel: %+v", x)
	}
	if n := s.db.CountLog("refused"); n > 20 {
		t.Errorf("%d log lines for %d refused calls", n, total)
	}
	note(t, "%d messages each way in %v (%d a second), %d on the way at most, %d repeated", total, took.Round(time.Second),
		int(float64(total)/took.Seconds()), most, resent)
	p.ns = x.Nr
	p.send(0, wire.NewMessage(wire.MsgStopCCN, wire.Uint16(wire.AVPAssignedTunnelID, p.id),
		wire.ResultAVP(wire.Result{Code: wire.StopGeneral}, false)))
	s.db.WaitTunnels(0)
}

// P157: StopCCN and CDN with the right ids and numbers from a wrong address or port, and from the right address with wrong ids, change
// nothing at either end. The same message with everything right ends the call, which shows that the forgeries were good.
func TestStopFromAWrongAddressChangesNothing(t *testing.T) {
	s := newSiege(t, lns)
	tunnel := s.db.Tunnels()[0]
	peer := s.da.Tunnels()[0]
	calm := func() (nrB, nrA uint16) {
		s.Eventually("quiet tunnel", func() error {
			b, a := s.db.Tunnels()[0], s.da.Tunnels()[0]
			nrB, nrA = b.Nr, a.Nr
			if b.Outstanding+a.Outstanding+b.Queued+a.Queued > 0 || b.Ns != a.Nr || a.Ns != b.Nr {
				return errNotThere
			}
			return nil
		})
		return nrB, nrA
	}
	stop := func(tunnelID, ns, nr, assigned uint16) []byte {
		return wire.AppendMessage(nil, tunnelID, 0, ns, nr, wire.NewMessage(wire.MsgStopCCN, wire.Uint16(wire.AVPAssignedTunnelID, assigned),
			wire.ResultAVP(wire.Result{Code: wire.StopGeneral}, false)), nil)
	}
	cdn := func(tunnelID, session, ns, nr, assigned uint16) []byte {
		return wire.AppendMessage(nil, tunnelID, session, ns, nr, wire.NewMessage(wire.MsgCDN,
			wire.ResultAVP(wire.Result{Code: wire.CDNAdmin}, false), wire.Uint16(wire.AVPAssignedSessionID, assigned)), nil)
	}
	nrB, nrA := calm()
	before := s.state(t)
	for _, from := range []string{"10.0.3.3:1701", "10.0.3.3:40000", "10.0.0.1:40000"} { // wrong address, wrong both, wrong port
		s.evil.Send(from, "10.0.0.2:1701", stop(tunnel.ID, nrB, nrA, peer.ID))
		s.evil.Send(from, "10.0.0.2:1701", cdn(tunnel.ID, s.call.ID, nrB, nrA, s.call.PeerID))
		s.evil.Send(from, "10.0.0.2:1701", stop(0, nrB, nrA, peer.ID))
		s.evil.Send(from, "10.0.0.1:1701", stop(peer.ID, nrA, nrB, tunnel.ID))
		s.evil.Send(from, "10.0.0.1:1701", cdn(peer.ID, s.call.PeerID, nrA, nrB, s.call.ID))
	}
	right := "10.0.0.1:1701" // of a, with wrong ids; and with the right ones, but numbers of the past
	s.evil.Send(right, "10.0.0.2:1701", stop(tunnel.ID^1, nrB, nrA, peer.ID))
	s.evil.Send(right, "10.0.0.2:1701", cdn(tunnel.ID^1, s.call.ID, nrB, nrA, s.call.PeerID))
	s.evil.Send(right, "10.0.0.2:1701", stop(0, nrB, nrA, peer.ID^1))
	s.evil.Send(right, "10.0.0.2:1701", stop(tunnel.ID, nrB-1, nrA, peer.ID))
	s.evil.Send(right, "10.0.0.2:1701", cdn(tunnel.ID, s.call.ID, nrB-1, nrA, s.call.PeerID))
	s.Eventually("all have come", func() error {
		d := s.state(t).discards
		if d.ForeignSource-before.discards.ForeignSource < 6 || d.NoSuchTunnel-before.discards.NoSuchTunnel < 2 {
			return errNotThere
		}
		return nil
	})
	s.same(t)
	if x := s.da.Call("up"); x.State != "up" || x.Attempts.Out != 1 {
		t.Errorf("a's call: %+v", x)
	}
	s.db.WaitLog("WARN .*of another peer dropped")

	nrB, nrA = calm()
	s.evil.Send(right, "10.0.0.2:1701", cdn(tunnel.ID, s.call.ID, nrB, nrA, s.call.PeerID))
	s.db.WaitLog("call down.*cleared by administrator")
	s.da.Kill() // its tunnel is out of step now
	s.db.Stop()
}
