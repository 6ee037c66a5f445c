//go:build kernel

package scenario

import (
	"fmt"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// wholesale is a LAC with subscribers on one side and an LNS on the other.
type wholesale struct {
	*lab.Lab
	lac, lns *lab.Host
	clients  []*lab.Host
}

// newWholesale makes them: the LAC is 10.4.0.1, the LNS 10.4.0.2.
func newWholesale(t *testing.T, clients ...string) *wholesale {
	t.Helper()
	w := &wholesale{Lab: lab.New(t)}
	w.lac, w.lns = w.Host("lac"), w.Host("lns")
	w.Link(w.lac.At("10.4.0.1/24"), w.lns.At("10.4.0.2/24"))
	for _, name := range clients {
		c := w.Host(name)
		w.Link(c.At(), w.lac.At())
		w.clients = append(w.clients, c)
	}
	return w
}

// lacConfig is a LAC's configuration that takes all subscribers of the clients' interfaces by some rules.
func (w *wholesale) lacConfig(rules string, auth string) string {
	var access string
	for _, c := range w.clients {
		access += fmt.Sprintf("    - {pppoe: {interface: %s, template: access}}\n", c.Name)
	}
	return "server: {mode: lac, hostname: lac}\nlac:\n  access:\n" + access + "  rules:\n" + rules +
		"ppp: {templates: {access: {auth: " + auth + "}}}\nlog: {level: debug}\n"
}

const ourLNS = `
server: {mode: lns, hostname: lns}
secret: ` + tunnelSecret + `
lns: {accept: [{from: any, template: dialin}]}
ppp: {templates: {dialin: {auth: [chap, pap], ipv4_local: 10.8.0.1, ipv4_pool: ips, ipv6_pool: links}}}
pools:
  ips: {ranges: [10.8.0.10-10.8.0.20]}
  links: {prefixes: ["2001:db8:1::/48"], prefix_length: 64}
users: {"alice@corp.example": {password: ` + theirPass + `, ipv4: 10.8.2.1}, bob: {password: ` + theirPass + `}}
log: {level: debug}
`

// An LNS need not send FF 03 (RFC 1661, 6.6): a frame without it may be so short that the kernel leaves it to the daemon. It reaches the
// subscriber all the same.
func TestShortFramesOfAnLNSReachTheSubscriber(t *testing.T) {
	w := newWholesale(t, "alice")
	lns := w.lns.L2TPD(ourLNS)
	lac := w.lac.L2TPD(strings.Replace(w.lacConfig(`
    - {match: all, action: tunnel, lns: [{address: 10.4.0.2}], secret: `+tunnelSecret+`}
`, "chap"), "server: {", "server: {tunnel: {retransmit: 200ms, max_retransmits: 4}, ", 1)) // it need not wait for the dead at its end
	alice := w.clients[0].Subscriber("lac", "alice@corp.example", theirPass)
	alice.WaitUp()
	lns.Kill() // so that somebody else may have its port
	sent := 0
	for _, s := range lac.Sessions() {
		if s.TunnelID != 0 {
			frame := []byte{0xc0, 0x21, 5, 0x63, 0, 4} // LCP Terminate-Request
			w.lns.Send("10.4.0.2:1701", "10.4.0.1:1701", append(wire.AppendDataHeader(nil, s.TunnelID, s.ID, false), frame...))
			sent++
		}
	}
	if sent != 1 {
		t.Fatalf("%d sessions with an LNS", sent)
	}
	alice.WaitLog(`rcvd \[LCP TermReq id=0x63`)
	alice.WaitLog(`sent \[LCP TermAck id=0x63`)
}

// S4-S6, S15: subscribers come by PPPoE, log in far enough for their names to be known, and go on at the LNS; the kernel carries their
// frames from then on, and the daemon sees none of them.
func TestSubscribersAreForwarded(t *testing.T) {
	w := newWholesale(t, "alice", "bob")
	lns := w.lns.L2TPD(ourLNS)
	lac := w.lac.L2TPD(w.lacConfig(`
    - {match: all, action: tunnel, lns: [{address: 10.4.0.2}], secret: `+tunnelSecret+`}
`, "[chap, pap]"))
	alice := w.clients[0].Subscriber("lac", "alice@corp.example", theirPass)
	bob := w.clients[1].Subscriber("lac", "bob", theirPass, "refuse-chap")
	_, local, remote := alice.WaitUp()
	if local != "10.8.2.1" || remote != "10.8.0.1" {
		t.Errorf("alice has %s, and the LNS %s", local, remote)
	}
	bob.WaitUp()
	w.clients[0].Reaches("10.8.0.1")
	w.clients[1].Reaches("10.8.0.1")
	lns.WaitSessions(2)
	lns.WaitTunnels(1)
	before := lac.Status().Counters
	w.clients[0].Run("ping", "-c", "20", "-i", "0.01", "-q", "10.8.0.1")
	after := lac.Status().Counters
	if d := after.PPPFrames.In - before.PPPFrames.In; d != 0 {
		t.Errorf("the daemon has seen %d frames of 20 echoes", d)
	}
	if d := after.Data.InPackets - before.Data.InPackets; d < 20 {
		t.Errorf("the kernel has counted %d packets from the LNS, want 20", d)
	}
	discreet(t, lac, lns)
}
