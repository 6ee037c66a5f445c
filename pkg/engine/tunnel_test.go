package engine

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// A past bug: the tunnel's socket was closed at once after StopCCN. What arrives while a socket is being closed is lost, and
// xl2tpd acknowledges a StopCCN only once: five retransmissions followed, and a stop of the daemon took half a minute.
func TestTunnelSocketStaysOpenForTheLastAcknowledgement(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		a := n.start(t, "1.1.1.1", pair("a", "2.2.2.2", policy.PrecedenceIn, true), true)
		b := n.start(t, "2.2.2.2", pair("b", "1.1.1.1", policy.PrecedenceOut, false), true)
		defer a.stop()
		defer b.stop()
		a.up("remote", time.Minute)
		stops := 0
		n.mu.Lock()
		n.drop = func(_, to netip.AddrPort, d []byte) bool {
			h, body, err := wire.ParseHeader(d)
			if err != nil || !h.Control {
				return false
			}
			if m, err := wire.ParseMessage(body); err == nil && m.Type == wire.MsgStopCCN {
				stops++
			}
			// Called with the net locked: a's own lock is free.
			a.mu.Lock()
			defer a.mu.Unlock()
			return stops > 0 && to.Addr() == a.addr && a.closed > 0
		}
		n.mu.Unlock()
		a.act(api.Action{Verb: api.VerbTunnelClose, Tunnel: a.look().Tunnels[0].ID})
		time.Sleep(500 * time.Millisecond) // virtual: before any retransmission
		a.mu.Lock()
		closed := a.closed
		a.mu.Unlock()
		if closed != 1 {
			t.Errorf("%d tunnel sockets were closed, want 1: its StopCCN has been acknowledged", closed)
		}
		time.Sleep(2 * time.Second) // virtual
		n.mu.Lock()
		defer n.mu.Unlock()
		if stops != 1 {
			t.Errorf("StopCCN was sent %d times", stops)
		}
		n.drop = nil
	})
}

// A past bug: pppd behind xl2tpd has an address of its own; a configured call with ours in ipv4 and no peer_ipv4 closed IPCP, for it
// knew no address to give.
func TestConfiguredPeerKeepsItsOwnAddress(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		own := func(p *policy.Policy, addr string) *policy.Policy {
			p.Calls["remote"].PPP.IPv4, p.Calls["remote"].PPP.Local = ppp.IPv4Own, netip.MustParseAddr(addr)
			p.Calls["remote"].PPP.IPv6 = false
			return p
		}
		a := n.start(t, "1.1.1.1", own(pair("a", "2.2.2.2", policy.PrecedenceIn, true), "10.0.0.1"), true)
		b := n.start(t, "2.2.2.2", own(pair("b", "1.1.1.1", policy.PrecedenceOut, false), "10.0.0.2"), true)
		defer a.stop()
		defer b.stop()
		a.up("remote", time.Minute)
		b.up("remote", time.Minute)
		if s := a.look().Sessions[0]; s.LocalIPv4 != netip.MustParseAddr("10.0.0.1") || s.PeerIPv4 != netip.MustParseAddr("10.0.0.2") {
			t.Errorf("addresses %v and %v, want 10.0.0.1 and 10.0.0.2", s.LocalIPv4, s.PeerIPv4)
		}
	})
}

// A past bug: ipv6: off of a configured call was overruled by its template, whose own switch is for accepted calls.
func TestCallDecidesAboutItsIPv6(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		p := pair("a", "2.2.2.2", policy.PrecedenceIn, true)
		p.Calls["remote"].PPP.IPv6 = false
		p.Templates["lan"].IPv6 = true
		a := n.start(t, "1.1.1.1", p, true)
		b := n.start(t, "2.2.2.2", pair("b", "1.1.1.1", policy.PrecedenceOut, false), true)
		defer a.stop()
		defer b.stop()
		a.up("remote", time.Minute)
		time.Sleep(time.Minute) // virtual
		if s := a.look().Sessions[0]; s.LocalIPv6.IsValid() || s.IPCP != "Opened" {
			t.Errorf("IPv6 address %v, IPCP %s", s.LocalIPv6, s.IPCP)
		}
	})
}

// A past bug: a peer's challenge without a secret of ours was explained as two different secrets, in two lines.
func TestMissingSecretIsExplainedInOneLine(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		p := pair("a", "2.2.2.2", policy.PrecedenceIn, true)
		p.Calls["remote"].Secret = policy.Secret{}
		a := n.start(t, "1.1.1.1", p, true)
		b := n.start(t, "2.2.2.2", pair("b", "1.1.1.1", policy.PrecedenceOut, false), true)
		defer a.stop()
		defer b.stop()
		a.until("an error", time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].LastError != nil })
		e := a.look().Calls[0].LastError
		if want := "the peer asks for a secret, and none is configured here"; e.Text != want || e.Stage != "tunnel authentication" {
			t.Errorf("stage %q, text %q, want %q", e.Stage, e.Text, want)
		}
		if n := strings.Count(a.log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings, want one\n%s", n, a.log)
		}
	})
}

// A past bug: the accepting end called the same a refused tunnel, for "refuse tunnel: not authorised (4)".
func TestMissingSecretIsExplainedByTheAcceptingEnd(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		p := pair("b", "1.1.1.1", policy.PrecedenceOut, false)
		p.Secrets = nil
		a := n.start(t, "1.1.1.1", pair("a", "2.2.2.2", policy.PrecedenceIn, true), true)
		b := n.start(t, "2.2.2.2", p, true)
		defer a.stop()
		defer b.stop()
		a.until("an error", time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].LastError != nil })
		if want := "stage tunnel authentication: the peer asks for a secret, and none is configured here"; !strings.Contains(b.log.String(), want) {
			t.Errorf("no line %q\n%s", want, b.log)
		}
	})
}
