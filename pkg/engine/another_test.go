package engine

import (
	"bytes"
	"crypto/md5"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/transport"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// P58, P170: a peer that is full sends us on: to the address that it names, or to the next of its own; at once, and not round and
// round.
func TestFullPeerSendsUsToAnother(t *testing.T) {
	full := func() *policy.Policy {
		return changed(lasting(), func(p *policy.Policy) { p.Server.MaxTunnels = 1 })
	}
	t.Run("next address", func(t *testing.T) {
		simulated(t, func(t *testing.T) {
			n := newInternet()
			first := n.start(t, "2.2.2.2", full(), true)
			defer first.stop()
			second := n.start(t, "2.2.2.3", lasting(), true)
			defer second.stop()
			guest := n.start(t, "1.1.1.9", one(autostart), true) // takes the only place
			defer guest.stop()
			guest.up("c0", time.Minute)
			a := n.start(t, "1.1.1.1", one(func(c *policy.Call) { c.Peer, c.RedialMin = "lns.example", time.Minute }), true)
			defer a.stop()
			a.mu.Lock()
			a.names["lns.example"] = []netip.Addr{first.addr, second.addr}
			a.mu.Unlock()
			a.act(api.Action{Verb: api.VerbCallUp, Call: "c0"})
			a.up("c0", 30*time.Second)
			if got := a.look().Sessions[0].Remote.Addr(); got != second.addr {
				t.Errorf("the session is with %v, want %v", got, second.addr)
			}
		})
	})
	t.Run("the address it names", func(t *testing.T) {
		simulated(t, func(t *testing.T) {
			n := newInternet()
			first := n.start(t, "2.2.2.2", full(), true)
			defer first.stop()
			second := n.start(t, "2.2.2.3", lasting(), true)
			defer second.stop()
			guest := n.start(t, "1.1.1.9", one(autostart), true)
			defer guest.stop()
			guest.up("c0", time.Minute)
			n.mu.Lock()
			n.alter = func(d []byte) []byte { return nameAnother(t, d, "2.2.2.3") }
			n.mu.Unlock()
			a := n.start(t, "1.1.1.1", one(func(c *policy.Call) { c.AutoStart, c.RedialMin = true, time.Minute }), true)
			defer a.stop()
			a.up("c0", 30*time.Second)
			if got := a.look().Sessions[0].Remote.Addr(); got != second.addr {
				t.Errorf("the session is with %v, want %v", got, second.addr)
			}
		})
	})
	t.Run("no end of names", func(t *testing.T) {
		simulated(t, func(t *testing.T) {
			n := newInternet()
			first := n.start(t, "2.2.2.2", full(), true)
			defer first.stop()
			guest := n.start(t, "1.1.1.9", one(autostart), true)
			defer guest.stop()
			guest.up("c0", time.Minute)
			n.mu.Lock()
			n.alter = func(d []byte) []byte { return nameAnother(t, d, "2.2.2.2") }
			n.mu.Unlock()
			a := n.start(t, "1.1.1.1", one(func(c *policy.Call) { c.AutoStart, c.RedialMin = true, time.Minute }), true)
			defer a.stop()
			a.until("an error", time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].LastError != nil })
			time.Sleep(20 * time.Second) // virtual
			if got := a.look().Calls[0].Attempts.Out; got != 2 {
				t.Errorf("%d attempts, want the first and one where the peer sent us", got)
			}
		})
	})
}

// nameAnother puts an address into every StopCCN that says "try another".
func nameAnother(t *testing.T, d []byte, addr string) []byte {
	h, body, err := wire.ParseHeader(d)
	if err != nil || !h.Control || len(body) == 0 {
		return d
	}
	m, err := wire.ParseMessage(body)
	if err != nil || m.Type != wire.MsgStopCCN {
		return d
	}
	r, ok := m.Result()
	if !ok || r.Error != wire.ErrCodeTryAnother {
		return d
	}
	r.Text = addr
	id, _ := m.Uint16(wire.AVPAssignedTunnelID)
	return wire.AppendMessage(nil, h.TunnelID, 0, h.Ns, h.Nr,
		wire.NewMessage(wire.MsgStopCCN, wire.Uint16(wire.AVPAssignedTunnelID, id), wire.ResultAVP(r, false)), nil)
}

// P66, P113-P118, P155: two boxes that dial each other at once from ports of their own have one tunnel in the end too.
func TestCrossingFromPortsOfTheirOwn(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		side := func(host, peer string, prec policy.Precedence) *policy.Policy {
			return changed(pair(host, peer, prec, true), func(p *policy.Policy) { p.Calls["remote"].EphemeralPort = true })
		}
		a := n.start(t, "1.1.1.1", side("a", "2.2.2.2", policy.PrecedenceIn), true)
		b := n.start(t, "2.2.2.2", side("b", "1.1.1.1", policy.PrecedenceOut), true)
		defer a.stop()
		defer b.stop()
		a.up("remote", time.Minute)
		b.up("remote", time.Minute)
		for _, x := range []*box{a, b} {
			if got := x.look(); len(got.Tunnels) != 1 || len(got.Sessions) != 1 {
				t.Errorf("%v: %d tunnels, %d sessions, want one of each\n%s", x.addr, len(got.Tunnels), len(got.Sessions), x.log)
			}
		}
	})
}

// An old kernel cannot serve two tunnels between the same addresses and ports. Two such boxes that dial each other at once, each for a
// tunnel of its own, agree on whose goes first.
func TestCrossingOwnTunnelsOnOldKernels(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		side := func(host, peer string, prec policy.Precedence) *policy.Policy {
			return changed(pair(host, peer, prec, true), func(p *policy.Policy) { p.Calls["remote"].OwnTunnel = true })
		}
		a := n.start(t, "1.1.1.1", side("a", "2.2.2.2", policy.PrecedenceIn), false)
		b := n.start(t, "2.2.2.2", side("b", "1.1.1.1", policy.PrecedenceOut), false)
		defer a.stop()
		defer b.stop()
		a.up("remote", 10*time.Second)
		b.up("remote", 10*time.Second)
	})
}

// throw lets a datagram arrive.
func throw(b *box, from netip.AddrPort, datagram []byte) {
	b.e.Receive(transport.Packet{Local: netip.AddrPortFrom(b.addr, 1701), Remote: from, Data: slices.Clone(datagram)})
}

// hiddenTunnelID is the AVPs Random Vector and, hidden with it, Assigned Tunnel ID, as octets (RFC 2661, 4.3).
func hiddenTunnelID(secret string, id uint16) []byte {
	vector := bytes.Repeat([]byte{0xa7}, 16)
	pad := md5.Sum(slices.Concat([]byte{0, byte(wire.AVPAssignedTunnelID)}, []byte(secret), vector))
	b := append([]byte{0x80, 22, 0, 0, 0, byte(wire.AVPRandomVector)}, vector...)
	return append(b, 0xc0, 10, 0, 0, 0, byte(wire.AVPAssignedTunnelID), pad[0], pad[1]^2, pad[2]^byte(id>>8), pad[3]^byte(id))
}

// P75, P46: an SCCRQ that comes again is known by its tunnel id, hidden or not.
func TestRepeatedSCCRQWithAHiddenID(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", lasting(), true)
		defer b.stop()
		from := netip.MustParseAddrPort("1.1.1.7:1701")
		avps := []wire.AVP{
			wire.Uint16(wire.AVPProtocolVersion, 0x0100), wire.Text(wire.AVPHostName, "lac"), wire.Uint32(wire.AVPFramingCapabilities, 3),
		}
		d := wire.AppendMessage(nil, 0, 0, 0, 0, wire.NewMessage(wire.MsgSCCRQ, avps...), nil)
		d = append(d, hiddenTunnelID("secret-of-b", 77)...)
		d[2], d[3] = byte(len(d)>>8), byte(len(d))
		for range 3 {
			throw(b, from, d)
			time.Sleep(time.Second) // virtual
		}
		if got := b.look().Tunnels; len(got) != 1 || got[0].PeerID != 77 {
			t.Errorf("%d tunnels, want one with the peer's id 77\n%s", len(got), b.log)
		}
	})
}

// A peer that said goodbye and comes back with the id that it had is a new peer, at once.
func TestSameIDAfterAGoodbye(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) { p.Secrets = nil }), true)
		defer b.stop()
		from := netip.MustParseAddrPort("1.1.1.7:1701")
		sccrq := request(77, "lac")
		throw(b, from, sccrq)
		b.until("half-open", time.Minute, func(s *api.Snapshot) bool { return len(s.Tunnels) == 1 })
		first := b.look().Tunnels[0].ID
		throw(b, from, wire.AppendMessage(nil, first, 0, 1, 1, wire.NewMessage(wire.MsgSCCCN), nil))
		b.until("up", time.Minute, func(s *api.Snapshot) bool { return s.Tunnels[0].State == "established" })
		throw(b, from, wire.AppendMessage(nil, first, 0, 2, 1, wire.NewMessage(wire.MsgStopCCN,
			wire.Uint16(wire.AVPAssignedTunnelID, 77), wire.ResultAVP(wire.Result{Code: wire.StopShutdown}, false)), nil))
		time.Sleep(time.Second) // virtual
		throw(b, from, sccrq)
		b.until("served again", time.Second, func(s *api.Snapshot) bool {
			return slices.ContainsFunc(s.Tunnels, func(x api.Tunnel) bool { return x.ID != first && strings.HasPrefix(x.State, "wait") })
		})
	})
}
