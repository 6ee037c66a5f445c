//go:build kernel

package scenario

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/wire"
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

// example is one of the configurations that users get, as it is but for pairs of old and new text.
func example(t *testing.T, name string, change ...string) string {
	t.Helper()
	b, err := os.ReadFile("../../configs/examples/" + name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for i := 0; i+1 < len(change); i += 2 {
		if !strings.Contains(text, change[i]) {
			t.Fatalf("%s has no %q", name, change[i])
		}
		text = strings.ReplaceAll(text, change[i], change[i+1])
	}
	return text
}

// side is one end of the static pair of S18 with IPv6 LANs too. extra goes into the call.
func side(self, peer string, extra ...string) string {
	m := map[string][]string{
		// secret for those who call us, peer, its secret, precedence, networks behind the peer
		"a": {"l2tpA", "2.2.2.2", "l2tpB", "in", "[192.168.20.0/24, \"fd20::/64\"]"},
		"b": {"l2tpB", "1.1.1.1", "l2tpA", "out", "[192.168.10.0/24, \"fd10::/64\"]"},
	}[self]
	if peer == "" {
		peer = m[1]
	}
	extra = append([]string{"precedence: " + m[3]}, extra...)
	return fmt.Sprintf(`
server: {mode: both, hostname: %s, listen: ["0.0.0.0:1701", "[::]:1701"]}
secrets: [{from: any, secret: %s}]
calls:
  remote: {peer: "%s", remote: remote, secret: %s, redial: {min: 500ms, max: 2s}, %s,
    ppp: {template: lan, ipv4: unnumbered, routes: %s}}
ppp: {templates: {lan: {auth: none, lcp_echo: {interval: 10s}}}}
log: {level: debug}
`, self, m[0], peer, m[2], strings.Join(extra, ", "), m[4])
}

// S18, S8, S76: the pair of examples, as users get them: the tunnel comes up whichever side starts first, joins the LANs, and
// takes everything back when a side stops. The restarted side is let in again.
func TestStaticPairComesUpWhicheverSideStartsFirst(t *testing.T) {
	n := newLANs(t)
	a, b := n.a.NewL2TPD(example(t, "lan-to-lan-a.yaml")), n.b.NewL2TPD(example(t, "lan-to-lan-b.yaml"))
	for _, order := range [][2]*lab.Daemon{{a, b}, {b, a}} {
		first, second := order[0], order[1]
		first.Start()
		first.WaitLog("dialling")
		second.Start()
		first.WaitUp("remote")
		second.WaitUp("remote")
		n.joined(t)
		if x, y := first.WaitSessions(1)[0], second.WaitSessions(1)[0]; x.ID != y.PeerID || y.ID != x.PeerID || x.PeerTunnelID != y.TunnelID {
			t.Errorf("the ends do not mean the same session: %+v and %+v", x, y)
		}
		first.Stop()
		second.WaitLog(`call down.*shutting down \(6\)`)
		n.pc1.ReachesNot("192.168.20.10")
		second.Stop()
	}
}

// S18, S69: both call at once. There is one tunnel and one session, that of the side with precedence: out.
func TestCrossingCallsEndWithTheOneChosenByPrecedence(t *testing.T) {
	n := newLANs(t)
	a, b := n.a.NewL2TPD(side("a", "", "autostart: on")), n.b.NewL2TPD(side("b", "", "autostart: on"))
	for range 4 {
		n.crossed(t, a, b)
		for d, role := range map[*lab.Daemon]string{a: "lns-incoming", b: "lac-incoming"} {
			if s := d.WaitSessions(1)[0]; s.Role != role {
				t.Errorf("%s has role %s in the session that is left, want %s", d.Name, s.Role, role)
			}
			d.WaitTunnels(1)
			if n := d.CountLog("WARN .*precedence"); n > 0 {
				t.Errorf("%s warns of the precedence", d.Name)
			}
		}
		n.joined(t)
		a.Stop()
		b.Stop()
	}
}

// S69: both ends say the same. There is one session all the same, and a warning that names the mistake.
func TestTheSamePrecedenceAtBothEndsIsSurvivedAndNamed(t *testing.T) {
	for _, p := range []string{"in", "out"} {
		t.Run(p, func(t *testing.T) {
			n := newLANs(t)
			a := n.a.NewL2TPD(strings.Replace(side("a", "", "autostart: on"), "precedence: in", "precedence: "+p, 1))
			b := n.b.NewL2TPD(strings.Replace(side("b", "", "autostart: on"), "precedence: out", "precedence: "+p, 1))
			n.crossed(t, a, b)
			n.joined(t)
			for _, d := range []*lab.Daemon{a, b} {
				d.WaitSessions(1)
				d.WaitTunnels(1)
				d.WaitLog("both ends have the same precedence.*precedence=" + p)
			}
		})
	}
}

// crossed has both daemons call before either hears of the other.
func (n *lans) crossed(t *testing.T, a, b *lab.Daemon) {
	t.Helper()
	n.internet.Sysctl("net/ipv4/ip_forward=0")
	a.Launch()
	b.Launch()
	a.WaitLog("dialling")
	b.WaitLog("dialling")
	n.internet.Sysctl("net/ipv4/ip_forward=1")
	a.WaitUp("remote")
	b.WaitUp("remote")
}

// S8, S14: IPv6 around, IPv4 and IPv6 inside. The other tests have IPv4 around.
func TestIPv6AroundBothInside(t *testing.T) {
	n := newLANs(t)
	a := n.a.L2TPD(side("a", "fd02::2", "autostart: on"))
	n.b.L2TPD(side("b", "fd01::1"))
	a.WaitUp("remote")
	n.joined(t)
	n.pc1.Reaches("fd20::10")
	n.pc2.Reaches("fd10::10")
	n.pc1.Transfer(n.pc2, "fd20::10", 1<<20)
	if s := a.Session("remote"); !s.Remote.Addr().Is6() || s.IPCP != "Opened" || s.IPV6CP != "Opened" {
		t.Errorf("session: %+v", s)
	}
}

// S6, S8: data stays in the kernel. While iperf3 runs, the kernel's counters of the session count what the wire sees; the daemon's
// sockets see control messages only, and the daemon hardly runs. S114, S122-S128: the counters are the sums of one another, the kernel's too.
func TestDataNeverPassesTheDaemon(t *testing.T) {
	n := newLANs(t)
	a := n.a.L2TPD(side("a", "", "autostart: on"))
	b := n.b.L2TPD(side("b", ""))
	a.WaitUp("remote")
	n.joined(t)
	wire1 := n.a.Capture("internet")
	n.pc2.Start("iperf3", "iperf3", "-s", "-1", "--forceflush").WaitLog("Server listening")
	before, from := a.Status().Counters, a.ProcessorTime()
	n.pc1.Run("iperf3", "-c", "192.168.20.10", "-n", "4M")
	after, used := a.Status().Counters, a.ProcessorTime()-from

	data, control := 0, 0
	for _, p := range wire1.Packets(func(p lab.Packet) bool { return p.Dst.Port() == 1701 }) {
		if p.Header.Control {
			control++
		} else {
			data++
		}
	}
	kernel := after.Data.InPackets - before.Data.InPackets + after.Data.OutPackets - before.Data.OutPackets
	sockets := func(c api.Counters) uint64 {
		return c.Listener.InDatagrams + c.Listener.OutDatagrams + c.TunnelSockets.InDatagrams + c.TunnelSockets.OutDatagrams
	}
	daemon := sockets(after) - sockets(before)
	frames := after.PPPFrames.In - before.PPPFrames.In + after.PPPFrames.Out - before.PPPFrames.Out
	t.Logf("on the wire %d data and %d control packets; the kernel counts %d; the daemon's sockets carried %d, and %d PPP frames; it ran %v",
		data, control, kernel, daemon, frames, used)
	// Of 3000: iperf3 ends when it has written all, and drops what has not left by then.
	const some = 1000
	if kernel < some || int(kernel) > data || data-int(kernel) > 100 { // the capture was on a little longer
		t.Errorf("the kernel counts %d packets, the wire saw %d", kernel, data)
	}
	if int(daemon) > control || frames > 20 {
		t.Errorf("the daemon handled %d datagrams and %d frames, with %d control messages on the wire", daemon, frames, control)
	}
	if s, total := a.Session("remote").Data, a.Status().Counters.Data.OutPackets; s == nil || total < s.OutPackets || total > s.OutPackets+4 {
		t.Errorf("the session's counters: %+v, and all that there are: %d", s, total) // some may have passed between the two looks
	}
	at, bt := sums(t, "a", a.Status().Counters), sums(t, "b", b.Status().Counters)
	if lost := int(at.OutPackets) - int(bt.InPackets); lost < -4 || lost > 4 { // an echo may have passed between the two looks
		t.Errorf("a has sent %d packets, b has got %d", at.OutPackets, bt.InPackets)
	}
}

// sums checks what the reference manual's samples show: 123 = 30 + 93, 30 = 26 + 4, 145 = 51 + 94, 51 = 37 + 14.
func sums(t *testing.T, name string, c api.Counters) api.DataTraffic {
	t.Helper()
	if c.InMessages != c.Control.In+c.Data.InPackets || c.OutMessages != c.Control.Out+c.Data.OutPackets || c.Data.InPackets == 0 || c.Data.OutPackets == 0 {
		t.Errorf("%s: messages %d in, %d out; control %d and %d, data %d and %d", name, c.InMessages, c.OutMessages, c.Control.In, c.Control.Out,
			c.Data.InPackets, c.Data.OutPackets)
	}
	if c.Control.In != c.Control.InWithData+c.Control.InNoData || c.Control.Out != c.Control.OutWithData+c.Control.OutNoData ||
		c.Control.InWithData != c.Control.InOrder+c.Control.OutOfOrder+c.Control.Discarded {
		t.Errorf("%s: control messages %+v", name, c.Control)
	}
	return c.Data
}

// S76, S77, S129: l2tpctl takes a call down and up again; down stays down.
func TestCallDownAndUp(t *testing.T) {
	n := newLANs(t)
	a := n.a.L2TPD(side("a", "", "autostart: on"))
	b := n.b.L2TPD(side("b", ""))
	a.WaitUp("remote")
	n.joined(t)
	n.pc1.Reaches("fd20::10")
	wire1 := n.a.Capture("internet")

	for what, want := range map[string][]string{
		"status":              {"running for", "mode           both, host name a", "calls          1 up, 0 down", "tunnels        1, and 0 half-open"},
		"tunnel list":         {"established", "2.2.2.2:1701"},
		"session list":        {"established", "remote"},
		"session show remote": {"interface       remote", "IPCP Opened, IPV6CP Opened"},
		"call list":           {"remote", "2.2.2.2", "up"},
		"call show remote":    {"call remote, up for", "precedence in", "secret         set"},
	} {
		out := a.Ctl(strings.Fields(what)...)
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("l2tpctl %s has no %q:\n%s", what, w, out)
			}
		}
	}

	mark := b.Mark()
	if out := a.Ctl("call", "down", "remote"); !strings.Contains(out, "taken down") {
		t.Errorf("call down says %q", out)
	}
	a.WaitState("remote", "idle")
	b.WaitSessions(0)
	b.WaitLogSince(mark, "call down")
	if got := wire1.First(wire.MsgCDN); len(got) != 1 {
		t.Errorf("%d CDN for one call", len(got))
	}
	n.pc1.ReachesNot("192.168.20.10")
	if c := a.Call("remote"); c.State != "idle" || !c.NextRedial.IsZero() {
		t.Errorf("call: %+v", c)
	}

	a.Ctl("call", "up", "remote", "--wait", "60s")
	n.joined(t)
	if got := wire1.First(wire.MsgSCCRQ); len(got) != 0 {
		t.Errorf("the call came up again with %d new tunnels; the old one was there", len(got))
	}
	// From the side that did not dial, and by session.
	s := b.Session("remote")
	b.Ctl("session", "close", fmt.Sprintf("%d/%d", s.TunnelID, s.ID))
	a.WaitLog("call down.*the peer")
	a.WaitUp("remote") // autostart: redialled
	n.joined(t)
	// Down means down: the peer's call is not let in either, and hears why.
	a.Ctl("call", "down", "remote")
	b.WaitSessions(0)
	if out, err := b.TryCtl("call", "up", "remote", "--wait", "60s"); err == nil || !strings.Contains(out, "taken down by the operator") {
		t.Errorf("call from the other side: %v, %s", err, out)
	}
}
