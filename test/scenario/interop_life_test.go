//go:build kernel

package scenario

import (
	"errors"
	"fmt"
	"regexp"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// answering is an l2tpd that answers xl2tpd: hello is its silence before HELLO.
func answering(hello string) string {
	return fmt.Sprintf(`
server: {mode: lns, hostname: core, tunnel: {hello: %s}}
secret: %s
lns: {accept: [{from: any, template: dialin}]}
ppp: {templates: {dialin: {auth: [chap], ipv4_local: 10.8.0.1, ipv4_pool: ips, restart: 1s, max_configure: 60, lcp_echo: {interval: never}}}}
pools: {ips: {ranges: [10.8.0.10-10.8.0.20]}}
users: {rover: {password: %s}}
log: {level: debug}
`, hello, tunnelSecret, theirPass)
}

// foreignCaller is an xl2tpd that calls answering at an address, as user rover.
func foreignCaller(h *lab.Host, at string) *lab.ForeignPeer {
	return h.ForeignPeer(foreignLAC(at, "rover", "autodial = yes", "challenge = yes"),
		append(passwords("rover * "+theirPass), tunnelKey(tunnelSecret)...)...)
}

// callOffice is an l2tpd that calls an xl2tpd made by foreignOffice.
func callOffice(hello string) string {
	return fmt.Sprintf(`
server: {hostname: edge, tunnel: {hello: %s}}
calls: {branch: {peer: 10.1.1.2, autostart: on, secret: %s, redial: {min: 500ms, max: 1s}, ppp: {template: lan, ipv4: request, user: alice, password: %s}}}
ppp: {templates: {lan: {auth: none, restart: 1s, max_configure: 60, lcp_echo: {interval: never}}}}
log: {level: debug}
`, hello, tunnelSecret, ourPassword)
}

func foreignOffice(h *lab.Host) *lab.ForeignPeer {
	return h.ForeignPeer(foreignLNS(1, append(demand("chap"), "challenge = yes")...),
		append(passwords("alice office "+ourPassword), tunnelKey(tunnelSecret)...)...)
}

// Idle tunnels live on HELLO alone for 30 cycles of two seconds: with xl2tpd, whoever has called, and among ourselves; xl2tpd asks, too,
// once in a minute. Another implementation in this language lost its tunnels this way (P149-P151).
func TestIdleTunnelsLiveByHello(t *testing.T) {
	// long: three pairs at once, to wait only once
	t.Parallel() // it waits more than it works
	const cycles = 30
	l := lab.New(t)
	type side struct {
		d       *lab.Daemon
		wire    *lab.Capture
		foreign bool
		session api.Session
	}
	var sides []*side
	add := func(n int, us, them string) (a, b *lab.Host, s *side) {
		a, b = l.Host(us), l.Host(them)
		l.Link(a.At(fmt.Sprintf("10.1.%d.1/24", n)), b.At(fmt.Sprintf("10.1.%d.2/24", n)))
		s = &side{wire: a.Capture(them), foreign: true}
		sides = append(sides, s)
		return a, b, s
	}
	edge, x, s := add(1, "edge", "office")
	foreignOffice(x)
	s.d = edge.L2TPD(callOffice("2s"))
	core, y, s := add(2, "core", "rover")
	s.d = core.L2TPD(answering("2s"))
	foreignCaller(y, "10.1.2.1")
	a, b, s := add(3, "a", "b")
	own := func(peer int, prec string) string {
		return fmt.Sprintf(`
server: {mode: both, tunnel: {hello: 2s}}
secret: %s
calls: {remote: {peer: 10.1.3.%d, remote: remote, precedence: %s, autostart: on, secret: %[1]s, ppp: {template: lan}}}
ppp: {templates: {lan: {auth: none, restart: 1s, max_configure: 60, lcp_echo: {interval: never}}}}
`, tunnelSecret, peer, prec)
	}
	s.d, s.foreign = a.L2TPD(own(2, "in")), false
	other := b.L2TPD(own(1, "out"))

	for _, s := range sides {
		s.session = s.d.WaitSessions(1)[0]
	}
	other.WaitSessions(1)
	for _, s := range sides {
		s.wire.Forget()
	}
	seen := func(s *side, cycles int) {
		l.Eventually(s.d.Name, func() error {
			ours := len(s.wire.Packets(func(p lab.Packet) bool { return isHello(p) && p.Sent }))
			theirs := len(s.wire.Packets(func(p lab.Packet) bool { return isHello(p) && !p.Sent }))
			if s.foreign && ours < cycles || ours+theirs < cycles {
				return fmt.Errorf("%d HELLOs were sent and %d received", ours, theirs)
			}
			return nil
		})
	}
	for n := 10; n <= cycles; n += 10 { // each has the lab's patience to itself
		for _, s := range sides {
			seen(s, n)
		}
	}
	for _, s := range sides {
		if s.foreign {
			l.Eventually(s.d.Name+": xl2tpd's own HELLO", func() error {
				if len(s.wire.Packets(func(p lab.Packet) bool { return isHello(p) && !p.Sent })) == 0 {
					return errors.New("not seen")
				}
				return nil
			})
		}
	}
	for _, s := range sides {
		if end := len(s.wire.Messages(wire.MsgStopCCN)) + len(s.wire.Messages(wire.MsgCDN)); end > 0 {
			t.Errorf("%s: %d messages of teardown", s.d.Name, end)
		}
		if now := s.d.WaitSessions(1)[0]; now.ID != s.session.ID || now.TunnelID != s.session.TunnelID {
			t.Errorf("%s: the session is %d/%d, was %d/%d", s.d.Name, now.TunnelID, now.ID, s.session.TunnelID, s.session.ID)
		}
		c := s.d.Tunnels()[0].Counters
		if s.foreign && c.OutWithData < cycles || !s.foreign && c.OutWithData+c.InWithData < cycles || c.InNoData == 0 {
			t.Errorf("%s: the tunnel's counters do not show the HELLOs: %+v", s.d.Name, c)
		}
		calm(t, s.d)
	}
	edge.Reaches("10.9.1.1")
	y.Reaches("10.8.0.1")
	discreet(t, sides[0].d, sides[1].d, sides[2].d, other)
}

func isHello(p lab.Packet) bool {
	m, ok := p.Control()
	return ok && m.Type == wire.MsgHello
}

// A killed xl2tpd that calls again from the same port is served as soon as it asks, and the old session is gone; and so is a killed
// l2tpd by xl2tpd (P70, P221).
func TestKilledPeersAreServedAgain(t *testing.T) {
	t.Parallel() // it waits more than it works
	l := lab.New(t)
	core, rover := l.Host("core"), l.Host("rover")
	l.Link(core.At("10.1.2.1/24"), rover.At("10.1.2.2/24"))
	edge, x := l.Host("edge"), l.Host("office")
	l.Link(edge.At("10.1.1.1/24"), x.At("10.1.1.2/24"))
	foreignOffice(x)
	e := edge.L2TPD(callOffice("5s"))
	d := core.L2TPD(answering("5s"))
	caller := foreignCaller(rover, "10.1.2.1")

	old := d.WaitSessions(1)[0]
	wires := core.Capture("rover")
	caller.Kill()
	caller.Start()
	caller.WaitLog("Call established with")
	rover.Reaches("10.8.0.1")
	now := d.WaitSessions(1)[0]
	if now.TunnelID == old.TunnelID {
		t.Errorf("the session is still the old one")
	}
	core.Reaches(now.PeerIPv4.String())
	for _, p := range append(wires.Messages(wire.MsgStopCCN), wires.Messages(wire.MsgCDN)...) {
		if p.Sent && p.Header.TunnelID == now.PeerTunnelID {
			t.Errorf("the new tunnel was disturbed: %s", wire.Summary(p.Payload))
		}
	}

	e.WaitUp("branch")
	before := e.WaitSessions(1)[0]
	e.Kill()
	e.Start()
	e.WaitUp("branch")
	if after := settled(l, e, "branch"); after.TunnelID == before.TunnelID {
		t.Errorf("the tunnel has the old id")
	}
	edge.Reaches("10.9.1.1")
	e.WaitSessions(1)
}

// Each side understands how the other ends a session or a tunnel, and says so with the other's words (P56, P73, P86, P92, P208).
func TestGoodbyesAreUnderstood(t *testing.T) {
	t.Parallel() // it waits more than it works
	l := lab.New(t)
	core, rover := l.Host("core"), l.Host("rover")
	l.Link(core.At("10.1.2.1/24"), rover.At("10.1.2.2/24"))
	d := core.L2TPD(answering("60s"))
	x := foreignCaller(rover, "10.1.2.1")
	up := 0 // where in our log the call comes up
	local := regexp.MustCompile(`Local: (\d+), Remote`)
	for _, c := range []struct {
		name   string
		do     func(s api.Session, call string)
		ours   string // what our log says
		theirs string // what theirs says
	}{
		{
			"xl2tpd-control disconnect", func(api.Session, string) { x.Control("d home") },
			`tunnel down .*the peer says: .*Goodbye!`, "",
		},
		{
			"xl2tpd hangs up", func(_ api.Session, call string) { x.Control("h " + call) },
			`call down .*the peer ended PPP: User request`, "",
		},
		{
			"l2tpctl session close", func(s api.Session, _ string) { d.Ctl("session", "close", fmt.Sprintf("%d/%d", s.TunnelID, s.ID)) },
			`call down .*closed by the operator`, `Connection closed to 10\.1\.2\.1, serial \d+ \(closed by the operator\)`,
		},
		{
			"l2tpctl tunnel close", func(s api.Session, _ string) { d.Ctl("tunnel", "close", fmt.Sprint(s.TunnelID)) },
			`tunnel down `, `Connection closed to 10\.1\.2\.1, port 1701 \(closed by the operator\)`,
		},
		{
			"l2tpd stops", func(api.Session, string) { d.Restart() },
			"l2tpd is ready", `peer closing for reason 6 \(Requester is being shut down\)`,
		},
		{
			"xl2tpd stops", func(api.Session, string) { x.Stop() },
			`tunnel down .*the peer says: .*Server closing`, "",
		},
	} {
		d.WaitLogSince(up, "call up")
		s := d.WaitSessions(1)[0]
		var call string
		for _, m := range local.FindAllStringSubmatch(x.Log(), -1) {
			call = m[1] // of the last call
		}
		ourMark, theirMark := d.Mark(), x.Mark()
		daemon := d.PID()
		c.do(s, call)
		if d.PID() != daemon {
			ourMark = 0
		}
		t.Logf("%s:\n%s", c.name, d.WaitLogSince(ourMark, c.ours))
		if c.theirs != "" {
			t.Log(x.WaitLogSince(theirMark, c.theirs))
		}
		d.WaitSessions(0)
		up = d.Mark()
		if c.name != "xl2tpd stops" {
			x.Connect("home")
		}
	}
	discreet(t, d)
}
