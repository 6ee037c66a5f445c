//go:build kernel

package scenario

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// Tunnel secrets of the two boxes: what others must know to connect to them.
const (
	secretOfA = "what callers of a must know"
	secretOfB = "what callers of b must know"
)

// twoCalls configures calls one and two between a and b; extra is for both calls.
func twoCalls(self, extra string) string {
	own, peer, net, secret := secretOfA, "10.0.0.2", 20, secretOfB
	if self == "b" {
		own, peer, net, secret = secretOfB, "10.0.0.1", 10, secretOfA
	}
	text := fmt.Sprintf(`
server: {hostname: %s}
secrets: [{from: any, secret: %s}]
ppp: {templates: {lan: {auth: none}}}
log: {level: debug}
calls:
`, self, own)
	for name, network := range map[string]string{"one": "192.168", "two": "172.16"} {
		text += fmt.Sprintf("  %s: {peer: %s, remote: %s, secret: %s, %s, ppp: {template: lan, routes: [%s.%d.0/24]}}\n",
			name, peer, name, secret, extra, network, net)
	}
	return text
}

// S76, S183: two calls to one peer share a tunnel: one SCCRQ, two ICRQ.
func TestCallsToOnePeerShareATunnel(t *testing.T) {
	p := newPair(t)
	wire1 := p.a.Capture("b")
	b := p.b.L2TPD(twoCalls("b", "autostart: off"))
	a := p.a.L2TPD(twoCalls("a", "autostart: on"))
	a.WaitUp("one")
	a.WaitUp("two")
	a.WaitTunnels(1)
	b.WaitTunnels(1)
	if rq, ic := wire1.First(wire.MsgSCCRQ), wire1.First(wire.MsgICRQ); len(rq) != 1 || len(ic) != 2 {
		t.Errorf("%d SCCRQ and %d ICRQ for two calls, want 1 and 2", len(rq), len(ic))
	}
	p.joined(t)
	a.Ctl("call", "down", "two")
	a.WaitState("two", "idle")
	b.WaitSessions(1)
	p.joined(t)
	if got := wire1.Messages(wire.MsgStopCCN); len(got) > 0 {
		t.Error("the tunnel was closed although a call was left")
	}
}

// S184: with the last call the tunnel goes, after its idle time, with StopCCN 1, "general request to clear". The next call
// makes a new one.
func TestTunnelWithoutCallsIsClosedAfterItsIdleTime(t *testing.T) {
	p := newPair(t)
	wire1 := p.a.Capture("b")
	b := p.b.L2TPD(answerer(""))
	a := p.a.L2TPD(caller("tunnel: {idle_timeout: 2s}"))
	a.WaitUp("remote")
	a.Ctl("call", "down", "remote")
	a.WaitState("remote", "idle")
	a.WaitTunnels(0)
	b.WaitTunnels(0)
	stop := wire1.First(wire.MsgStopCCN)
	if len(stop) != 1 || !stop[0].Sent {
		t.Fatalf("%d StopCCN, want one of a", len(stop))
	}
	m, _ := stop[0].Control()
	if r, _ := m.Result(); r.Code != wire.StopGeneral {
		t.Errorf("StopCCN %v, want 1", r)
	}
	a.Ctl("call", "up", "remote", "--wait", "60s")
	p.joined(t)
	if n := len(wire1.First(wire.MsgSCCRQ)); n != 2 {
		t.Errorf("%d SCCRQ, want 2", n)
	}
}

// S185, S187: in one tunnel each end may be the caller of another call, although each direction has its own secret (S188).
func TestEachEndMayCallInOneTunnel(t *testing.T) {
	p := newPair(t)
	wire1 := p.a.Capture("b")
	a, b := p.a.L2TPD(twoCalls("a", "autostart: off")), p.b.L2TPD(twoCalls("b", "autostart: off"))
	a.Ctl("call", "up", "one", "--wait", "60s")
	b.Ctl("call", "up", "two", "--wait", "60s")
	for d, roles := range map[*lab.Daemon][2]string{a: {"lac-incoming", "lns-incoming"}, b: {"lns-incoming", "lac-incoming"}} {
		d.WaitSessions(2)
		d.WaitTunnels(1)
		if one, two := d.Session("one"), d.Session("two"); one.Role != roles[0] || two.Role != roles[1] {
			t.Errorf("%s: roles %s and %s, want %v", d.Name, one.Role, two.Role, roles)
		}
	}
	if n := len(wire1.First(wire.MsgSCCRQ)); n != 1 {
		t.Errorf("%d SCCRQ, want 1", n)
	}
	p.joined(t)
}

// S186: a virtual call as OCRQ: the caller is the LNS, the answerer the LAC.
// S187: in the same tunnel the LNS accepts the other's call.
func TestCallByOCRQBesideOneByICRQ(t *testing.T) {
	p := newPair(t)
	wire1 := p.a.Capture("b")
	a, b := p.a.L2TPD(twoCalls("a", "autostart: off, method: ocrq")), p.b.L2TPD(twoCalls("b", "autostart: off"))
	a.Ctl("call", "up", "one", "--wait", "60s")
	b.WaitUp("one")
	p.joined(t)
	b.Ctl("call", "up", "two", "--wait", "60s")
	a.WaitUp("two")
	for d, roles := range map[*lab.Daemon][2]string{a: {"lns-outgoing", "lns-incoming"}, b: {"lac-outgoing", "lac-incoming"}} {
		d.WaitTunnels(1)
		if one, two := d.Session("one"), d.Session("two"); one.Role != roles[0] || two.Role != roles[1] {
			t.Errorf("%s: roles %s and %s, want %v", d.Name, one.Role, two.Role, roles)
		}
	}
	if oc, ic := len(wire1.First(wire.MsgOCRQ)), len(wire1.First(wire.MsgICRQ)); oc != 1 || ic != 1 {
		t.Errorf("%d OCRQ and %d ICRQ, want 1 of each", oc, ic)
	}
}

// S66, P174-P180: sequencing as configured is what the kernel does, at both ends and on the wire.
func TestSequencingIsWhatTheKernelDoes(t *testing.T) {
	data := func(p lab.Packet) bool { return !p.Header.Control && len(p.Body) > 0 && (p.Src.Port() == 1701) }
	for name, c := range map[string]struct {
		caller, answerer string
		kernel           string // what "ip l2tp" says at both ends once the link is up
		lcp, later       bool   // whether the LNS numbers data before and after the network protocols are up
	}{
		"always":     {"always", "on-request", "send recv", true, true},
		"on-request": {"on-request", "on-request", "", false, false},
		"startup":    {"on-request", "startup", "", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			wire1 := p.a.Capture("b")
			b := p.b.L2TPD(answerer("sequencing: " + c.answerer))
			a := p.a.L2TPD(caller("sequencing: " + c.caller))
			a.WaitUp("remote")
			b.WaitUp("remote")
			p.joined(t)
			p.a.Reaches("192.168.20.1", "192.168.10.1") // the LAC follows its LNS with what it sends next
			for _, h := range []*lab.Host{p.a, p.b} {
				p.Eventually("kernel of "+h.Name, func() error {
					out := h.Run("ip", "l2tp", "show", "session")
					_, numbering, _ := strings.Cut(out, "sequence numbering:")
					numbering, _, _ = strings.Cut(numbering, "\n")
					if strings.TrimSpace(numbering) != c.kernel {
						return fmt.Errorf("sequence numbering is %q, want %q:\n%s", numbering, c.kernel, out)
					}
					return nil
				})
			}
			first := wire1.Packets(func(p lab.Packet) bool { return data(p) && !p.Sent })
			if len(first) == 0 || first[0].Header.HasSequence != c.lcp {
				t.Errorf("the LNS's first data packets: numbered %v, want %v", first[0].Header.HasSequence, c.lcp)
			}
			wire1.Forget()
			p.joined(t)
			later := wire1.Packets(data)
			if len(later) == 0 {
				t.Fatal("no data packets")
			}
			for _, x := range later {
				if x.Header.HasSequence != c.later {
					t.Errorf("data packet %v -> %v: numbered %v, want %v", x.Src, x.Dst, x.Header.HasSequence, c.later)
				}
			}
			if s := a.Session("remote"); s.SequencesSent != c.later {
				t.Errorf("l2tpctl says that data is numbered: %v", s.SequencesSent)
			}
			p.a.Transfer(p.b, "192.168.20.1", 1<<20)
		})
	}
}

// S51, S112: without checksums data has none, and control messages keep theirs. IPv6 too.
func TestChecksumOffConcernsDataOnly(t *testing.T) {
	for name, addr := range map[string][2]string{"IPv4": {"10.0.0.1", "10.0.0.2"}, "IPv6": {"fd00::1", "fd00::2"}} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			wire1 := p.a.Capture("b")
			off := strings.NewReplacer("server: {", `server: {checksum: off, listen: ["0.0.0.0:1701", "[::]:1701"], `,
				"10.0.0.1", "\""+addr[0]+"\"", "10.0.0.2", "\""+addr[1]+"\"")
			p.b.L2TPD(off.Replace(answerer("")))
			a := p.a.L2TPD(off.Replace(caller("tunnel: {hello: 1s}")))
			a.WaitUp("remote")
			p.joined(t)
			p.a.Transfer(p.b, "192.168.20.1", 1<<18)
			p.Eventually("HELLO", func() error {
				if len(wire1.Messages(wire.MsgHello)) == 0 {
					return fmt.Errorf("none yet")
				}
				return nil
			})
			data, ctl := 0, 0
			for _, x := range wire1.Packets(func(p lab.Packet) bool { return p.Dst.Port() == 1701 }) {
				if x.Header.Control {
					ctl++
				} else {
					data++
				}
				if with := x.Checksum != 0; with != x.Header.Control {
					t.Fatalf("%v -> %v, control %v: checksum %#x", x.Src, x.Dst, x.Header.Control, x.Checksum)
				}
			}
			if data == 0 || ctl == 0 {
				t.Errorf("%d data and %d control packets seen", data, ctl)
			}
		})
	}
}

// A peer that was killed and calls again from the same port is back in service at once, not after the old tunnel has died
// (P75, and what the engine does about it on either kernel).
func TestRestartedPeerIsServedAsSoonAsItAsks(t *testing.T) {
	t.Parallel() // it waits more than it works
	p := newPair(t)
	// Dead tunnels are given up after some twenty seconds instead of 31.
	impatient := strings.NewReplacer("server: {", "server: {tunnel: {retransmit: 200ms, max_retransmits: 6}, ")
	b := p.b.L2TPD(impatient.Replace(answerer("")))
	a := p.a.L2TPD(impatient.Replace(caller("")))
	a.WaitUp("remote")
	b.WaitUp("remote")
	old := b.Session("remote")
	for range 2 {
		a.Kill()
		mark := b.Mark()
		a.Start()
		a.WaitUp("remote")
		if b.Session("remote").ID == old.ID {
			t.Error("the answerer has the old session still")
		}
		p.joined(t)
		b.WaitUp("remote")
		b.WaitSessions(1)
		servedAtOnce(t, b.LogSince(mark))
		b.WaitTunnels(1) // the old one is found dead
	}
}

// servedAtOnce looks at what was logged until a call was up: nobody who calls again has to wait until his old call is found dead.
func servedAtOnce(t *testing.T, log string) {
	t.Helper()
	until := log[:strings.LastIndex(log, "call up")+1]
	if until == "" || strings.Contains(until, "does not answer any more") || strings.Contains(until, "echo") {
		t.Errorf("the new call had to wait for the old one's death:\n%s", log)
	}
}

// As above, and the killed one is the side that answered: it calls by itself when it is back.
func TestRestartedAnswererCallsItself(t *testing.T) {
	t.Parallel() // it waits more than it works
	p := newPair(t)
	// Dead tunnels are given up after some twenty seconds instead of 31.
	impatient := strings.NewReplacer("server: {", "server: {tunnel: {retransmit: 200ms, max_retransmits: 6}, ")
	b := p.b.L2TPD(impatient.Replace(answerer("autostart: on, precedence: out")))
	a := p.a.L2TPD(impatient.Replace(caller("precedence: in")))
	a.WaitUp("remote")
	b.WaitUp("remote")
	p.joined(t)
	b.Kill()
	mark := a.Mark()
	b.Start()
	b.WaitUp("remote")
	a.WaitUp("remote")
	p.joined(t)
	a.WaitSessions(1)
	servedAtOnce(t, a.LogSince(mark))
}

// S183: two calls that share no tunnel. The new core of the kernel serves both tunnels between the same ports; on the old one,
// which would mix up their data, the second calls from a port of its own. Either way each call has its own data.
func TestTwoTunnelsBetweenTwoBoxes(t *testing.T) {
	p := newPair(t)
	p.b.IP("addr add 172.16.20.1/24 dev lo")
	p.a.IP("addr add 172.16.10.1/24 dev lo")
	b := p.b.L2TPD(twoCalls("b", "autostart: off"))
	a := p.a.L2TPD(twoCalls("a", "own_tunnel: on"))
	a.Ctl("call", "up", "one", "--wait", "60s")
	a.Ctl("call", "up", "two", "--wait", "60s")
	a.WaitTunnels(2)
	b.WaitTunnels(2)
	all := b.Tunnels()
	if same, newCore := all[0].Remote == all[1].Remote, a.Status().Kernel.NewCore; same != newCore {
		t.Errorf("tunnels from %v and %v; new core: %v", all[0].Remote, all[1].Remote, newCore)
	}
	p.joined(t)
	p.a.Reaches("172.16.20.1", "172.16.10.1")
	p.a.Transfer(p.b, "172.16.20.1", 1<<20)
	one, two := a.Session("one").Data, a.Session("two").Data
	if one.OutPackets >= 100 || two.OutPackets < 700 {
		t.Errorf("the transfer of call two: call one sent %d packets, call two %d", one.OutPackets, two.OutPackets)
	}
}

// Tunnels that come and go between the same addresses and ports take nothing of one that is busy: each new socket gets everything the peer
// sends, from the moment it is connected, and the kernel's tunnel is on it by then.
func TestTunnelsComeBesideABusyOne(t *testing.T) {
	const others = 16
	config := func(self string) string {
		own, net, secret, extra := secretOfA, 20, secretOfB, "own_tunnel: on, tunnel: {idle_timeout: 1s}, "
		peer := "10.0.0.2"
		if self == "b" {
			own, peer, net, secret, extra = secretOfB, "10.0.0.1", 10, secretOfA, ""
		}
		text := fmt.Sprintf("server: {hostname: %s}\nsecrets: [{from: any, secret: %s}]\nppp: {templates: {lan: {auth: none}}}\ncalls:\n", self, own)
		for i := range 1 + others {
			text += fmt.Sprintf("  c%d: {peer: %s, remote: c%d, secret: %s, %sautostart: off, ppp: {template: lan, routes: [192.168.%d.%d/32]}}\n",
				i, peer, i, secret, extra, net, 1+i)
		}
		return text
	}
	p := newPair(t)
	b := p.b.L2TPD(config("b"))
	a := p.a.L2TPD(config("a"))
	a.Ctl("call", "up", "c0", "--wait", "60s")
	p.joined(t)
	ping := pinger{p.a.Start("ping", "ping", "-q", "-n", "-i", "0.002", "-s", "1000", "-I", "192.168.10.1", "192.168.20.1")}
	for i := range others {
		a.Ctl("call", "up", fmt.Sprintf("c%d", 1+i), "--wait", "60s")
	}
	a.WaitTunnels(1 + others)
	for i := range others {
		a.Ctl("call", "down", fmt.Sprintf("c%d", 1+i))
	}
	a.WaitTunnels(1)
	b.WaitTunnels(1)
	lost, of := ping.lost(t)
	if lost > 4 || of < 100 { // the last ones may be on their way when ping is told to end; a tunnel that takes one takes 16
		t.Errorf("%d of %d pings lost", lost, of)
	}
}

// A peer asks for a second tunnel from the same address and port. The new core of the kernel serves both; on the old one the second
// is refused, with the reason, while the first is alive.
func TestSecondTunnelFromTheSamePort(t *testing.T) {
	l := lab.New(t)
	b, x := l.Host("b"), l.Host("x")
	l.Link(b.At("10.0.0.2/24"), x.At("10.0.0.3/24"))
	d := b.L2TPD(`
server: {hostname: b}
lns: {accept: [{from: any, template: lan}]}
secrets: [{from: any, secret: none}]
ppp: {templates: {lan: {auth: none}}}
`)
	peer := newPlainPeer(t, x, "10.0.0.3:1701", "10.0.0.2:1701")
	peer.open(7)
	peer.serve("first tunnel", func() bool { return peer.state(7) == control.TunnelEstablished })
	d.WaitTunnels(1)
	peer.open(8)
	peer.serve("second tunnel", func() bool {
		// On an old kernel it may come up, and is closed when the first has answered.
		return peer.state(8) == control.TunnelEstablished && d.Status().Kernel.NewCore || peer.ending(8).Code != 0
	})
	if d.Status().Kernel.NewCore {
		if peer.state(8) != control.TunnelEstablished {
			t.Errorf("the second tunnel: %v", peer.ending(8))
		}
		d.WaitTunnels(2)
	} else {
		if r := peer.ending(8); r.Code != wire.StopError || r.Error != wire.ErrCodeResources {
			t.Errorf("the second tunnel: %v", r)
		}
		d.WaitLog("this kernel cannot serve a second tunnel.*Linux 6.11")
		d.WaitTunnels(1)
	}
	if peer.state(7) != control.TunnelEstablished {
		t.Error("the first tunnel is gone")
	}
	peer.close()
}

// A StopCCN or CDN with all the right numbers from a wrong address changes nothing, and is told of.
func TestForeignStopAndHangUpChangeNothing(t *testing.T) {
	p := newPair(t)
	c := p.Host("c")
	p.Link(p.a.At("10.1.0.1/24"), c.At("10.1.0.3/24"))
	c.Route("10.0.0.0/24", "10.1.0.1")
	p.b.L2TPD(answerer(""))
	a := p.a.L2TPD(caller(""))
	a.WaitUp("remote")
	p.joined(t)
	tn, s := a.Tunnels()[0], a.Session("remote")
	result := wire.ResultAVP(wire.Result{Code: 1}, false)
	stop := wire.AppendMessage(nil, tn.ID, 0, tn.Nr, tn.Ns, wire.NewMessage(wire.MsgStopCCN, wire.Uint16(wire.AVPAssignedTunnelID, tn.PeerID), result), nil)
	cdn := wire.AppendMessage(nil, tn.ID, s.ID, tn.Nr, tn.Ns, wire.NewMessage(wire.MsgCDN, result, wire.Uint16(wire.AVPAssignedSessionID, s.PeerID)), nil)
	for _, d := range [][]byte{stop, cdn} {
		c.Send("10.1.0.3:1701", "10.0.0.1:1701", d)   // another address
		p.b.Send("10.0.0.2:9999", "10.0.0.1:1701", d) // another port
	}
	p.Eventually("foreign packets", func() error {
		if n := a.Status().Counters.Discarded.ForeignSource; n != 4 {
			return fmt.Errorf("%d counted, want 4", n)
		}
		return nil
	})
	a.WaitLog("WARN .*another peer.*10.1.0.3")
	if now := a.Session("remote"); now.ID != s.ID || a.Call("remote").State != "up" {
		t.Errorf("the session is not what it was: %+v", now)
	}
	if now := a.Tunnels()[0]; now.Nr != tn.Nr {
		t.Errorf("Nr went from %d to %d", tn.Nr, now.Nr)
	}
	p.joined(t)
}

// P164, S182: full-size segments get through without fragmenting inside, over a path whose MTU is smaller than the first hop's
// too; nobody waits for packets that do not fit.
func TestFullSizeTransfersDoNotStall(t *testing.T) {
	n := newLANs(t)
	a := n.a.L2TPD(side("a", "", "autostart: on"))
	n.b.L2TPD(side("b", ""))
	a.WaitUp("remote")
	n.joined(t)
	n.pc1.Transfer(n.pc2, "192.168.20.10", 4<<20)
	n.pc2.Transfer(n.pc1, "192.168.10.10", 4<<20)
	n.pc1.Transfer(n.pc2, "fd20::10", 1<<20)
	mtu := a.Session("remote").MTU
	if mtu < 1400 || mtu > 1462 {
		t.Errorf("MTU %d", mtu)
	}
	// A packet of exactly the MTU passes, one octet more is refused by the box with the right MTU.
	passes(n.Lab, n.pc1, "192.168.20.10", mtu)
	if out, err := n.pc1.Try("ping", "-c1", "-W2", "-Mdo", "-s", fmt.Sprint(mtu-27), "192.168.20.10"); err == nil || !strings.Contains(out, fmt.Sprintf("mtu = %d", mtu)) {
		t.Errorf("a packet that is too big: %v\n%s", err, out)
	}
	n.internet.IP("link set dev b mtu 1400")
	n.b.IP("link set dev internet mtu 1400")
	n.pc1.Transfer(n.pc2, "192.168.20.10", 2<<20)
	n.pc2.Transfer(n.pc1, "192.168.10.10", 2<<20)
}

// A route into the call that covers the call's own peer does not send the tunnel into itself.
func TestRouteThatCoversThePeerMakesNoLoop(t *testing.T) {
	n := newLANs(t)
	b := n.b.L2TPD(side("b", ""))
	a := n.a.L2TPD(strings.Replace(side("a", "", "autostart: on"), "routes: [", "routes: [0.0.0.0/1, 2.2.2.0/24, ", 1))
	a.WaitUp("remote")
	b.WaitUp("remote")
	n.joined(t)
	if out := n.a.Run("ip", "route", "get", "2.2.2.2"); !strings.Contains(out, "via 1.1.1.254") {
		t.Errorf("the way to the peer: %s", out)
	}
	if out := n.a.Run("ip", "route", "get", "2.2.2.3"); !strings.Contains(out, "dev remote") {
		t.Errorf("the way to the peer's neighbour: %s", out)
	}
	n.pc1.Transfer(n.pc2, "192.168.20.10", 1<<20)
	a.Ctl("call", "down", "remote")
	a.WaitState("remote", "idle")
	if out := n.a.Run("ip", "route", "show", "2.2.2.2"); out != "" {
		t.Errorf("the host route is left: %s", out)
	}
	a.Ctl("call", "up", "remote", "--wait", "60s")
	n.joined(t)
}

// S72, S78: a reload adds a call, which starts, and removes one, which is hung up; another is not touched. A broken
// configuration changes nothing.
func TestReloadAddsAndRemovesCalls(t *testing.T) {
	p := newPair(t)
	both := twoCalls("a", "autostart: on")
	without := func(call string) string {
		var kept []string
		for line := range strings.Lines(both) {
			if !strings.HasPrefix(line, "  "+call+":") {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	}
	b := p.b.L2TPD(twoCalls("b", "autostart: off"))
	a := p.a.L2TPD(without("two"))
	a.WaitUp("one")
	one := a.Session("one")

	a.SetConfig(both)
	if out := a.Ctl("reload"); !strings.Contains(out, "two") {
		t.Errorf("reload does not name the new call: %s", out)
	}
	a.WaitUp("two")
	a.SetConfig("calls: {one: {peer: [}")
	if out, err := a.TryCtl("reload"); err == nil || !strings.Contains(out, "l2tpd.yaml:1:") {
		t.Errorf("reload of a broken file: %v, %s", err, out)
	}
	if now := a.Session("one"); now.ID != one.ID || now.EstablishedAt != one.EstablishedAt {
		t.Error("the other call was touched")
	}
	a.SetConfig(without("one"))
	a.Signal(unix.SIGHUP)
	a.WaitLog("configuration reloaded.*SIGHUP")
	a.WaitSessions(1)
	b.WaitSessions(1)
	if all := a.Calls(); len(all) != 1 || all[0].Name != "two" || all[0].State != "up" {
		t.Errorf("calls: %+v", all)
	}
}
