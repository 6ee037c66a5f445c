//go:build kernel

package scenario

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// S19, S13, S61: the pair of examples for one unknown address. The fixed side never calls, whatever is asked of it, and is
// reached from wherever the other side is.
func TestPassiveSideIsCalledAndNeverCalls(t *testing.T) {
	n := newLANs(t)
	fixed := n.b.L2TPD(example(t, "fixed-side.yaml"))
	wire2 := n.b.Capture("internet")
	fixed.WaitState("remote", "passive")
	if out, err := fixed.TryCtl("call", "up", "remote"); err == nil || !strings.Contains(out, "passive") {
		t.Errorf("call up of a passive call: %v, %q", err, out)
	}
	a := n.a.L2TPD(example(t, "unknown-side.yaml"))
	a.WaitUp("remote")
	fixed.WaitUp("remote")
	n.joined(t)

	// The unknown side comes back with another address.
	a.Stop()
	fixed.WaitState("remote", "passive")
	n.a.IP("addr del 1.1.1.1/24 dev internet", "addr add 1.1.1.77/24 dev internet", "route add default via 1.1.1.254")
	a.Start()
	fixed.WaitUp("remote")
	n.joined(t)
	if got := fixed.Session("remote").Remote.Addr().String(); got != "1.1.1.77" {
		t.Errorf("the session's peer is %s", got)
	}
	for _, p := range wire2.Messages(wire.MsgSCCRQ) {
		if p.Sent {
			t.Errorf("the passive side sent an SCCRQ to %v", p.Dst)
		}
	}
}

// S20, S21, S164, S168, S156, S160: the pair of examples for dial-up. The first packet calls, the caller gets an address of
// the pool, its LAN hides behind it, the idle link is closed by the acceptor and the next packet calls again. Only the idle
// time differs from the examples.
func TestDialUpOnDemandWithAddressFromPool(t *testing.T) {
	n := newLANs(t)
	n.b.Sysctl("net/ipv4/conf/pc2/proxy_arp=1") // as the example says: callers have addresses of the LAN
	b := n.b.L2TPD(example(t, "dynamic-acceptor.yaml", "idle_timeout: 60s", "idle_timeout: 20s"))
	a := n.a.L2TPD(example(t, "dynamic-initiator.yaml"))
	wire1 := n.a.Capture("internet")
	listen := n.pc2.UDP("192.168.20.10:9")
	a.WaitState("remote", "waiting")
	if got := wire1.Messages(wire.MsgSCCRQ); len(got) != 0 {
		t.Error("it calls before anybody wants it")
	}

	// The first packet itself is sent on: it is kept while the call is set up. (It may find the other side not ready yet.)
	n.pc1.Send("192.168.10.10:4000", "192.168.20.10:9", []byte("first"))
	n.Eventually("the first packet", func() error {
		if len(wire1.Packets(func(p lab.Packet) bool {
			return p.Sent && !p.Header.Control && bytes.HasSuffix(p.Body, []byte("first"))
		})) != 1 {
			return errNotYet
		}
		return nil
	})
	a.WaitUp("remote")
	s := a.Session("remote")
	pool := netip.MustParsePrefix("192.168.20.192/27")
	if !pool.Contains(s.LocalIPv4) || s.PeerIPv4.String() != "192.168.20.1" {
		t.Errorf("addresses %v -> %v", s.LocalIPv4, s.PeerIPv4)
	}
	n.pc1.Reaches("192.168.20.10")
	n.pc1.Send("192.168.10.10:4000", "192.168.20.10:9", []byte("next"))
	_, from, err := listen.ReadFromUDPAddrPort(make([]byte, 64))
	if err != nil || from.Addr().Unmap() != s.LocalIPv4 {
		t.Errorf("pc2 sees %v, %v; not the address that a got, %v", from, err, s.LocalIPv4)
	}
	if x := b.WaitSessions(1)[0]; x.User != "RouterA" || x.Auth != "chap" || x.PeerIPv4 != s.LocalIPv4 || x.Template != "dialin" {
		t.Errorf("the acceptor's session: %+v", x)
	}

	b.WaitLog("call down.*idle")
	b.WaitSessions(0)
	a.WaitState("remote", "waiting")
	if got := len(wire1.First(wire.MsgICRQ)); got != 1 {
		t.Errorf("%d calls before the link was idle; want 1", got)
	}
	n.pc1.Reaches("192.168.20.10")
	if got := len(wire1.First(wire.MsgICRQ)); got != 2 {
		t.Errorf("%d calls after the redial on demand; want 2", got)
	}
}

// S20, S21: the examples for dial-up as users get them. The caller may be anywhere; the secret decides (S87).
func TestExamplesForDialUp(t *testing.T) {
	n := newLANs(t)
	n.b.Sysctl("net/ipv4/conf/pc2/proxy_arp=1") // as the example says: callers have addresses of the LAN
	n.b.Sysctl("net/ipv4/conf/pc2/proxy_arp=1")
	b := n.b.L2TPD(example(t, "dynamic-acceptor.yaml"))
	a := n.a.L2TPD(example(t, "dynamic-initiator.yaml"))
	a.WaitState("remote", "waiting")
	n.pc1.Reaches("192.168.20.10")
	if s := b.WaitSessions(1)[0]; s.User != "RouterA" {
		t.Errorf("session: %+v", s)
	}
}
