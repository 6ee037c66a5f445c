//go:build kernel

package scenario

import (
	"fmt"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// lans is deployment 3: two boxes over a router, a LAN behind each with one machine. The addresses are those of S18.
//
//	192.168.10.10 pc1 --- a (1.1.1.1) --- internet --- b (2.2.2.2) --- pc2 192.168.20.10
type lans struct {
	*lab.Lab
	a, b, internet *lab.Host
	pc1, pc2       *lab.Host
}

func newLANs(t *testing.T) *lans {
	t.Helper()
	l := lab.New(t)
	n := &lans{Lab: l, a: l.Host("a"), b: l.Host("b"), internet: l.Host("internet"), pc1: l.Host("pc1"), pc2: l.Host("pc2")}
	l.Link(n.a.At("1.1.1.1/24", "fd01::1/64"), n.internet.At("1.1.1.254/24", "fd01::fe/64"))
	l.Link(n.b.At("2.2.2.2/24", "fd02::2/64"), n.internet.At("2.2.2.254/24", "fd02::fe/64"))
	l.Link(n.a.At("192.168.10.1/24", "fd10::1/64"), n.pc1.At("192.168.10.10/24", "fd10::10/64"))
	l.Link(n.b.At("192.168.20.1/24", "fd20::1/64"), n.pc2.At("192.168.20.10/24", "fd20::10/64"))
	n.a.Route("0.0.0.0/0", "1.1.1.254", "::/0", "fd01::fe")
	n.b.Route("0.0.0.0/0", "2.2.2.254", "::/0", "fd02::fe")
	n.pc1.Route("0.0.0.0/0", "192.168.10.1", "::/0", "fd10::1")
	n.pc2.Route("0.0.0.0/0", "192.168.20.1", "::/0", "fd20::1")
	return n
}

// joined checks that the LANs reach each other.
func (n *lans) joined(t *testing.T) {
	t.Helper()
	n.pc1.Reaches("192.168.20.10")
	n.pc2.Reaches("192.168.10.10")
}

// side is one end of the static pair of S18. extra goes into the call.
func side(self, peer string, extra ...string) string {
	m := map[string][]string{
		// secret for those who call us, peer, its secret, precedence, networks behind the peer
		"a": {"l2tpA", "2.2.2.2", "l2tpB", "in", "[192.168.20.0/24, fd20::/64]"},
		"b": {"l2tpB", "1.1.1.1", "l2tpA", "out", "[192.168.10.0/24, fd10::/64]"},
	}[self]
	if peer == "" {
		peer = m[1]
	}
	return fmt.Sprintf(`
server: {mode: both, hostname: %s, listen: ["0.0.0.0:1701", "[::]:1701"]}
secrets: [{from: any, secret: %s}]
calls:
  remote: {peer: "%s", remote: remote, precedence: %s, secret: %s, autostart: true, redial: {min: 500ms, max: 2s}, %s
    ppp: {template: lan, ipv4: unnumbered, routes: %s}}
ppp: {templates: {lan: {auth: none, lcp_echo: {interval: 10s}}}}
log: {level: debug}
`, self, m[0], peer, m[3], m[2], strings.Join(append(extra, ""), ", "), m[4])
}

// S18, S8, S76: the tunnel comes up whichever side starts first, and joins the LANs.
func TestStaticPairComesUpWhicheverSideStartsFirst(t *testing.T) {
	for _, order := range []string{"ab", "ba"} {
		t.Run(order, func(t *testing.T) {
			n := newLANs(t)
			hosts := map[byte]*lab.Host{'a': n.a, 'b': n.b}
			first := hosts[order[0]].L2TPD(side(order[:1], ""))
			first.WaitLog("dialling")
			second := hosts[order[1]].L2TPD(side(order[1:], ""))
			first.WaitUp("remote")
			second.WaitUp("remote")
			n.joined(t)
			if x, y := first.WaitSessions(1)[0], second.WaitSessions(1)[0]; x.ID != y.PeerID || y.ID != x.PeerID || x.PeerTunnelID != y.TunnelID {
				t.Errorf("the ends do not mean the same session: %+v and %+v", x, y)
			}
		})
	}
}
