//go:build kernel

package scenario

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// Secrets of the interoperation scenarios. None may ever be seen in a log.
const (
	tunnelSecret = "a-tunnel-secret-of-many-octets"
	otherSecret  = "another-secret-of-many-octets"
	ourPassword  = "our-password-at-theirs"
	theirPass    = "their-password-at-ours"
	wrongPass    = "what-nobody-has-agreed-on"
)

// foreignGlobal begins every xl2tpd.conf here.
const foreignGlobal = `
[global]
debug avp = yes
debug state = yes
debug tunnel = yes
`

// foreignLNS is the configuration of an xl2tpd that answers. Its PPP address is 10.9.n.1, and it gives 10.9.n.10 and so on.
func foreignLNS(n int, options ...string) string {
	return fmt.Sprintf(foreignGlobal+`
[lns default]
ip range = 10.9.%d.10-10.9.%[1]d.19
local ip = 10.9.%[1]d.1
name = office
%s
`, n, strings.Join(options, "\n"))
}

// foreignLAC is the configuration of an xl2tpd that has a lac section "home", for user name at lns.
func foreignLAC(lns, name string, options ...string) string {
	return fmt.Sprintf(foreignGlobal+`
[lac home]
lns = %s
name = %s
%s
`, lns, name, strings.Join(options, "\n"))
}

// demand makes a pppd demand a login by one protocol.
func demand(auth string) []string {
	other := map[string]string{"pap": "chap", "chap": "pap"}[auth]
	return []string{"require authentication = yes", "require " + auth + " = yes", "refuse " + other + " = yes"}
}

// passwords are the files for pppd: lines of "client server secret".
func passwords(lines ...string) []string {
	text := strings.Join(lines, " *\n") + " *\n"
	return []string{"pap-secrets", text, "chap-secrets", text}
}

// tunnelKey is an l2tp-secrets file with one secret for everyone.
func tunnelKey(secret string) []string { return []string{"l2tp-secrets", "* * " + secret + "\n"} }

// combination is one way in which a tunnel and a user can be protected.
type combination struct {
	n            int // makes the addresses
	name         string
	auth         string // pap or chap
	secret, hide bool
}

func combinations() []combination {
	var all []combination
	for _, hide := range []bool{false, true} {
		for _, secret := range []bool{false, true} {
			for _, auth := range []string{"pap", "chap"} {
				c := combination{n: len(all) + 1, name: auth, auth: auth, secret: secret, hide: hide}
				if secret {
					c.name += "-key"
				}
				if hide {
					c.name += "-hide"
				}
				all = append(all, c)
			}
		}
	}
	return all
}

// settled waits until both network protocols of a session are open and have an interface, and returns the session.
func settled(l *lab.Lab, d *lab.Daemon, ref string) *api.Session {
	var s *api.Session
	l.Eventually(d.Name+": session "+ref, func() error {
		if s = d.Session(ref); s.IPCP != "Opened" || s.IPV6CP != "Opened" || s.Interface == "" {
			return fmt.Errorf("LCP is %s, IPCP %s, IPV6CP %s, interface %q", s.LCP, s.IPCP, s.IPV6CP, s.Interface)
		}
		return nil
	})
	return s
}

// reachEachOther pings a session from end to end, by its IPv4 addresses and by IPv6's link-local ones.
func reachEachOther(us *lab.Host, s *api.Session, them *lab.Host, device string) {
	us.Reaches(s.PeerIPv4.String())
	them.Reaches(s.LocalIPv4.String())
	us.Reaches(s.PeerIPv6.String() + "%" + s.Interface)
	them.Reaches(s.LocalIPv6.String() + "%" + device)
}

// ordinary are the lines of a log in which nothing odd has happened.
var ordinary = regexp.MustCompile(` (DEBUG|INFO) +(l2tpd |listening|dialling|crossing calls|tunnel |session |call |operator: |delegated prefix taken|data for a session that does not exist)`)

// calm fails the test for anything else in l2tpd's log: a foreign peer's habits are no reason for it (P22, P29, P37).
func calm(t *testing.T, d *lab.Daemon) {
	t.Helper()
	for line := range strings.Lines(d.Log()) {
		if strings.Contains(line, "configuration: ") ||
			strings.Contains(line, "health: ") && (strings.Contains(line, "passwords go in clear") || strings.Contains(line, "pools are nearly empty")) {
			continue // about the scenario, not about the peer
		}
		if !ordinary.MatchString(line) {
			t.Errorf("%s complains: %s", d.Name, line)
		}
	}
}

// discreet fails the test if a secret is in a log of ours.
func discreet(t *testing.T, all ...*lab.Daemon) {
	t.Helper()
	for _, d := range all {
		for _, s := range []string{tunnelSecret, otherSecret, ourPassword, theirPass, wrongPass} {
			if strings.Contains(d.Log(), s) {
				t.Errorf("%s: secret %q is in the log", d.Name, s)
			}
		}
	}
}

// hidden says which AVPs of the first message of a type were hidden.
func hidden(t *testing.T, c *lab.Capture, kind wire.MessageType) (hid, random bool) {
	t.Helper()
	all := c.First(kind)
	if len(all) == 0 {
		t.Fatalf("no %v was seen", kind)
	}
	m, _ := all[0].Control()
	for _, a := range m.AVPs {
		hid = hid || a.Hidden
		random = random || a.Type == wire.AVPRandomVector
	}
	return hid, random
}

// Our calls reach xl2tpd with pppd in every combination of tunnel secret, hidden AVPs, PAP and CHAP; where there is a secret, we
// ask pppd for a login, too. The address is asked for or given (P38-P46, P121-P123, P257, P258, P262, P264).
func TestOurCallsAreServedByXl2tpd(t *testing.T) {
	t.Parallel() // it waits more than it works
	l := lab.New(t)
	edges := map[bool]*lab.Host{false: l.Host("edge"), true: l.Host("edgehide")}
	calls := map[bool]string{}
	them := map[int]*lab.Host{}
	logs := map[int]*lab.ForeignPeer{}
	wires := map[int]*lab.Capture{}
	for _, c := range combinations() {
		x := l.Host(c.name)
		l.Link(edges[c.hide].At(fmt.Sprintf("10.1.%d.1/24", c.n)), x.At(fmt.Sprintf("10.1.%d.2/24", c.n)))
		files := passwords("alice office "+ourPassword, "office * "+theirPass)
		options := demand(c.auth)
		more, template := "", c.auth+"1"
		if c.secret {
			files = append(files, tunnelKey(tunnelSecret)...)
			options = append(options, "challenge = yes")
			more, template = "secret: "+tunnelSecret+",", c.auth+"2"
		}
		if c.hide {
			options = append(options, "hidden bit = yes")
		}
		ipv4 := "request"
		if c.auth == "chap" {
			ipv4 = fmt.Sprintf("10.9.%d.10", c.n)
		}
		them[c.n], wires[c.n] = x, x.Capture(edges[c.hide].Name)
		logs[c.n] = x.ForeignPeer(foreignLNS(c.n, options...), files...)
		calls[c.hide] += fmt.Sprintf(
			"  call%d: {peer: 10.1.%[1]d.2, remote: branch%[1]d, autostart: on, %s ppp: {template: %s, ipv4: %s, user: alice, password: %s}}\n",
			c.n, more, template, ipv4, ourPassword)
	}
	daemons := map[bool]*lab.Daemon{}
	for hide, h := range edges {
		daemons[hide] = h.L2TPD(fmt.Sprintf(`
server: {hostname: edge, hide_avps: %t}
calls:
%s
ppp: {templates: {pap1: {auth: none, restart: 1s, max_configure: 60}, chap1: {auth: none, restart: 1s, max_configure: 60}, pap2: {auth: [pap], restart: 1s, max_configure: 60}, chap2: {auth: [chap], restart: 1s, max_configure: 60}}}
users: {office: {password: %s}}
log: {level: debug}
`, hide, calls[hide], theirPass))
	}
	for _, c := range combinations() {
		d, call := daemons[c.hide], fmt.Sprintf("call%d", c.n)
		d.WaitUp(call)
		s := settled(l, d, call)
		auth := "none"
		if c.secret {
			auth = c.auth
		}
		if s.PeerAuth != c.auth || s.Auth != auth {
			t.Errorf("%s: we have shown %q, they %q; want %q, %q", c.name, s.PeerAuth, s.Auth, c.auth, auth)
		}
		if want := netip.AddrFrom4([4]byte{10, 9, byte(c.n), 10}); s.LocalIPv4 != want {
			t.Errorf("%s: our address is %v, want %v", c.name, s.LocalIPv4, want)
		}
		reachEachOther(edges[c.hide], s, them[c.n], "ppp0")
		if hid, _ := hidden(t, wires[c.n], wire.MsgICRQ); hid != (c.secret && c.hide) {
			t.Errorf("%s: hidden AVPs in our ICRQ: %t", c.name, hid)
		}
		if _, random := hidden(t, wires[c.n], wire.MsgICRP); random != c.hide {
			t.Errorf("%s: xl2tpd's hidden bit made a Random Vector: %t", c.name, random)
		}
		logs[c.n].WaitLog(fmt.Sprintf("peer reports dialed number 'branch%d'", c.n))
	}
	for _, d := range daemons {
		for _, x := range d.Tunnels() {
			with := func(c combination) bool { return c.secret && byte(c.n) == x.Remote.Addr().As4()[2] }
			if secret := slices.ContainsFunc(combinations(), with); x.Secret != secret {
				t.Errorf("tunnel with %v: the peer has proved the secret: %t", x.Remote, x.Secret)
			}
		}
		calm(t, d)
	}
	discreet(t, daemons[false], daemons[true])
}

// Calls of xl2tpd with pppd are served by the accept table in every combination of tunnel secret, hidden AVPs, PAP and CHAP, with
// an address from the pool or the user's own (S63, S79-S82; P46, P121-P125, P257, P258, P262, P264).
func TestXl2tpdCallsAreServedByTheAcceptTable(t *testing.T) {
	t.Parallel() // it waits more than it works
	l := lab.New(t)
	core := l.Host("core")
	var accept, secrets, users string
	them := map[int]*lab.Host{}
	conf, files := map[int]string{}, map[int][]string{}
	for _, c := range combinations() {
		x := l.Host(c.name)
		l.Link(core.At(fmt.Sprintf("10.2.%d.1/24", c.n)), x.At(fmt.Sprintf("10.2.%d.2/24", c.n)))
		name := fmt.Sprintf("user%d", c.n)
		options := []string{"autodial = yes"}
		them[c.n], files[c.n] = x, passwords(name+" * "+theirPass)
		accept += fmt.Sprintf("  - {from: 10.2.%d.0/24, template: %s}\n", c.n, c.auth)
		users += fmt.Sprintf("  %s: {password: %s", name, theirPass)
		if c.auth == "chap" {
			users += fmt.Sprintf(", ipv4: 10.8.1.%d", c.n)
		}
		users += "}\n"
		if c.secret {
			secrets += fmt.Sprintf("  - {from: 10.2.%d.0/24, secret: %s}\n", c.n, tunnelSecret)
			files[c.n] = append(files[c.n], tunnelKey(tunnelSecret)...)
			options = append(options, "challenge = yes")
		}
		if c.hide {
			options = append(options, "hidden bit = yes")
		}
		conf[c.n] = foreignLAC(fmt.Sprintf("10.2.%d.1", c.n), name, options...)
	}
	d := core.L2TPD(fmt.Sprintf(`
server: {mode: lns, hostname: core, hide_avps: on}
secrets:
%s
lns:
  accept:
%s
ppp:
  templates:
    pap: {auth: [pap], ipv4_local: 10.8.0.1, ipv4_pool: ips}
    chap: {auth: [chap], ipv4_local: 10.8.0.1, ipv4_pool: ips}
pools: {ips: {ranges: [10.8.0.10-10.8.0.20]}}
users:
%s
log: {level: debug}
`, secrets, accept, users))
	for _, c := range combinations() {
		them[c.n].ForeignPeer(conf[c.n], files[c.n]...)
	}
	d.WaitSessions(len(combinations()))
	pool := netip.MustParsePrefix("10.8.0.0/24")
	for _, c := range combinations() {
		s := settled(l, d, fmt.Sprintf("user%d", c.n))
		if s.Auth != c.auth || s.PeerAuth != "none" || s.Template != c.auth {
			t.Errorf("%s: they have shown %q, we %q, by template %q", c.name, s.Auth, s.PeerAuth, s.Template)
		}
		fixed := netip.AddrFrom4([4]byte{10, 8, 1, byte(c.n)})
		if fits := pool.Contains(s.PeerIPv4); fits != (c.auth == "pap") || !fits && s.PeerIPv4 != fixed {
			t.Errorf("%s: the user has address %v", c.name, s.PeerIPv4)
		}
		reachEachOther(core, s, them[c.n], "ppp0")
	}
	calm(t, d)
	discreet(t, d)
}

// Two users share one tunnel to xl2tpd; the end of one leaves the other alone (P110, S183-S188).
func TestTwoUsersBehindOneTunnel(t *testing.T) {
	t.Parallel() // it waits more than it works
	l := lab.New(t)
	edge, office := l.Host("edge"), l.Host("office")
	l.Link(edge.At("10.1.1.1/24"), office.At("10.1.1.2/24"))
	x := office.ForeignPeer(foreignLNS(1, append(demand("chap"), "challenge = yes")...),
		append(passwords("alice office "+ourPassword, "bob office "+ourPassword), tunnelKey(tunnelSecret)...)...)
	call := func(name string) string {
		return fmt.Sprintf("  %s: {peer: 10.1.1.2, autostart: on, secret: %s, ppp: {ipv4: request, user: %s, password: %s}}\n", name, tunnelSecret, name, ourPassword)
	}
	d := edge.L2TPD("server: {hostname: edge}\ncalls:\n" + call("alice") + call("bob") + "log: {level: debug}\n")
	d.WaitUp("alice")
	d.WaitUp("bob")
	d.WaitTunnels(1)
	a, b := settled(l, d, "alice"), settled(l, d, "bob")
	if a.TunnelID != b.TunnelID || a.ID == b.ID || a.LocalIPv4 == b.LocalIPv4 {
		t.Errorf("alice has session %d/%d at %v, bob %d/%d at %v", a.TunnelID, a.ID, a.LocalIPv4, b.TunnelID, b.ID, b.LocalIPv4)
	}
	office.Reaches(a.LocalIPv4.String())
	office.Reaches(b.LocalIPv4.String())
	mark := x.Mark()
	d.Ctl("call", "down", "alice")
	d.WaitState("alice", api.CallIdle)
	x.WaitLogSince(mark, "Connection closed to 10.1.1.1, serial")
	if s := d.WaitSessions(1)[0]; s.ID != b.ID {
		t.Errorf("bob's session is %d, was %d", s.ID, b.ID)
	}
	office.Reaches(b.LocalIPv4.String())
	d.Ctl("call", "up", "alice")
	d.WaitUp("alice")
	d.WaitTunnels(1)
	calm(t, d)
}

// Two users come through one tunnel to an LNS, whoever runs PPP there; the end of one leaves the other alone (P110, S183). They are calls
// of ours: an xl2tpd makes a second call in a tunnel, but starts no pppd for it.
func TestTwoUsersOfAnLNSBehindOneTunnel(t *testing.T) {
	t.Parallel() // it waits more than it works
	l := lab.New(t)
	core := l.Host("core")
	engines := []string{"internal", "pppd"}
	var accept, users string
	for i, engine := range engines {
		accept += fmt.Sprintf("  - {from: 10.2.%d.0/24, template: %s}\n", i, engine)
		for j, name := range []string{"alice", "bob"} {
			users += fmt.Sprintf("  %s-%s: {password: %s, ipv4: 10.8.%d.1%d}\n", name, engine, theirPass, i, j)
		}
		users += fmt.Sprintf("  carol-%s: {password: %s}\n", engine, theirPass)
	}
	d := core.NewL2TPD(fmt.Sprintf(`
server: {mode: lns, hostname: core}
secret: %s
lns:
  accept:
%s
ppp:
  templates:
    internal: {auth: [chap], ipv4_local: 10.8.0.1}
    pppd: {engine: pppd, auth: [chap], ipv4_local: 10.8.1.1}
users:
%s
log: {level: debug}
`, tunnelSecret, accept, users))
	edges := map[string]*lab.Daemon{}
	for i, engine := range engines {
		edge := l.Host(engine)
		l.Link(core.At(fmt.Sprintf("10.2.%d.1/24", i)), edge.At(fmt.Sprintf("10.2.%d.2/24", i)))
		call := func(name, autostart string) string {
			return fmt.Sprintf("  %s: {peer: 10.2.%d.1, autostart: %s, secret: %s, ppp: {ipv4: request, ipv6: off, user: %s-%s, password: %s}}\n",
				name, i, autostart, tunnelSecret, name, engine, theirPass)
		}
		edges[engine] = edge.NewL2TPD("server: {hostname: edge}\ncalls:\n" + call("alice", "on") + call("bob", "on") + call("carol", "off"))
	}
	d.Start()
	for _, edge := range edges {
		edge.Start()
	}
	d.WaitSessions(4)
	d.WaitTunnels(2)
	for i, engine := range engines {
		a, b := d.Session("alice-"+engine), d.Session("bob-"+engine)
		if a.TunnelID != b.TunnelID || a.ID == b.ID || a.Template != engine || b.Template != engine {
			t.Errorf("%s: alice has session %d/%d by %s, bob %d/%d by %s", engine, a.TunnelID, a.ID, a.Template, b.TunnelID, b.ID, b.Template)
		}
		core.Reaches(a.PeerIPv4.String())
		core.Reaches(b.PeerIPv4.String())
		edges[engine].Ctl("call", "down", "alice")
		d.WaitSessions(3 - i)
		if after := d.Session("bob-" + engine); after.ID != b.ID {
			t.Errorf("%s: bob's session is %d, was %d", engine, after.ID, b.ID)
		}
		edges[engine].Ctl("call", "up", "carol") // who has no address, and there is no pool
		d.WaitLog(fmt.Sprintf("WARN .*call not established: stage address.*peer=10.2.%d.2", i))
		core.Reaches(b.PeerIPv4.String())
	}
	discreet(t, d, edges["internal"], edges["pppd"])
}

// An xl2tpd with two lac sections makes a tunnel for each user, both from its one port. A kernel that keeps their data apart serves
// both; on an older one the second is refused with the reason, and the first lives on.
func TestXl2tpdWithTwoSections(t *testing.T) {
	t.Parallel() // it waits more than it works
	l := lab.New(t)
	core, x := l.Host("core"), l.Host("roof")
	l.Link(core.At("10.2.1.1/24"), x.At("10.2.1.2/24"))
	d := core.L2TPD(fmt.Sprintf(`
server: {mode: lns, hostname: core}
secret: %s
lns: {accept: [{from: any, template: dialin}]}
ppp: {templates: {dialin: {auth: [chap], ipv4_local: 10.8.0.1}}}
users: {alice: {password: %s, ipv4: 10.8.0.10}, bob: {password: %[2]s, ipv4: 10.8.0.11}}
log: {level: debug}
`, tunnelSecret, theirPass))
	section := "[lac %s]\nlns = 10.2.1.1\nname = %[1]s\nchallenge = yes\n"
	p := x.ForeignPeer(foreignGlobal+fmt.Sprintf(section, "alice")+fmt.Sprintf(section, "bob"),
		append(passwords("alice * "+theirPass, "bob * "+theirPass), tunnelKey(tunnelSecret)...)...)
	p.Connect("alice")
	d.WaitSessions(1)
	p.Connect("bob")
	if d.Status().Kernel.NewCore {
		d.WaitSessions(2)
		d.WaitTunnels(2)
		core.Reaches("10.8.0.10")
		core.Reaches("10.8.0.11")
		calm(t, d)
		return
	}
	d.WaitLog("cannot serve a second tunnel between the same addresses and ports")
	if s := d.WaitSessions(1)[0]; s.User != "alice" {
		t.Errorf("the session that is left is %s's", s.User)
	}
	core.Reaches("10.8.0.10")
}
