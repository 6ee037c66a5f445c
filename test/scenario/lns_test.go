//go:build kernel

package scenario

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// S16, S17, S154, P257-P260, P264: callers of a foreign LAC log in by each method, and use the IPv6 prefix that they are told: their hosts
// make an address of it and reach what is behind the LNS. The last is a router, and uses the prefix that it asks for, too.
func TestCallersLogInByEveryMethodAndUseTheirPrefix(t *testing.T) {
	t.Parallel() // it waits more than it works
	methods := []string{"pap", "chap", "mschapv1", "mschapv2"}
	const router = "mschapv2"
	l := lab.New(t)
	core := l.Host("core")
	core.IP("addr add 2001:db8::1/128 dev lo")
	var users, templates, accept string
	them := map[string]*lab.Host{}
	for i, m := range methods {
		x := l.Host(m)
		x.Sysctl("net/ipv6/conf/default/accept_ra=2") // it forwards, and is a host of this link all the same
		l.Link(core.At(fmt.Sprintf("10.3.%d.1/24", i)), x.At(fmt.Sprintf("10.3.%d.2/24", i)))
		them[m] = x
		delegate := ""
		if m == router {
			delegate = ", ipv6_delegated_pool: sites"
		}
		users += fmt.Sprintf("  user-%s: {password: %s, ipv4: 10.8.2.%d}\n", m, theirPass, i+1)
		templates += fmt.Sprintf("    %s: {auth: [%[1]s], ipv4_local: 10.8.0.1, ipv6_pool: links, ipv6_dns: [\"2001:db8::53\"]%s}\n", m, delegate)
		accept += fmt.Sprintf("  - {from: 10.3.%d.0/24, template: %s}\n", i, m)
	}
	d := core.L2TPD(fmt.Sprintf(`
server: {mode: lns, hostname: core}
secrets: [{from: any, secret: none}]
lns:
  accept:
%s
ppp:
  templates:
%s
pools:
  links: {prefixes: ["2001:db8:1::/48"], prefix_length: 64}
  sites: {prefixes: ["2001:db8:2::/48"], prefix_length: 56}
users:
%s
log: {level: debug}
`, accept, templates, users))
	for i, m := range methods {
		name := "user-" + m
		them[m].ForeignPeer(foreignLAC(fmt.Sprintf("10.3.%d.1", i), name, "autodial = yes"), passwords(name+" * "+theirPass)...)
	}
	d.WaitSessions(len(methods))
	seen := map[netip.Prefix]bool{}
	for i, m := range methods {
		s := settled(l, d, "user-"+m)
		if s.Auth != m || s.PeerIPv4 != netip.AddrFrom4([4]byte{10, 8, 2, byte(i + 1)}) {
			t.Errorf("%s: logged in by %q, address %v", m, s.Auth, s.PeerIPv4)
		}
		if !s.IPv6Prefix.IsValid() || seen[s.IPv6Prefix] {
			t.Errorf("%s: prefix %v", m, s.IPv6Prefix)
		}
		seen[s.IPv6Prefix] = true
		reachEachOther(core, s, them[m], "ppp0")
		usesPrefix(l, them[m], s)
		if m == router {
			usesDelegatedPrefix(t, l, d, them[m], s)
		} else if s.IPv6Delegated.IsValid() {
			t.Errorf("%s: %v is delegated", m, s.IPv6Delegated)
		}
	}
	calm(t, d)
	discreet(t, d)
}

// reachEncrypted pings an address and checks that nothing went to core, or came from there, in clear.
func reachEncrypted(t *testing.T, core, from *lab.Host, addr string) {
	t.Helper()
	sniffer := from.Capture(core.Name)
	from.Reaches(addr)
	carried := 0
	for _, p := range sniffer.Packets(func(p lab.Packet) bool { return !p.Header.Control }) {
		switch frame := bytes.TrimPrefix(p.Body, []byte{0xff, 0x03}); {
		case bytes.HasPrefix(frame, []byte{0x00, 0x21}), bytes.HasPrefix(frame, []byte{0x00, 0x57}):
			t.Errorf("a packet goes in clear: %x", frame)
		case bytes.HasPrefix(frame, []byte{0x00, 0xfd}):
			carried++
		}
	}
	if carried < 2 {
		t.Errorf("%d encrypted packets, want an echo and its answer", carried)
	}
}

// P261: encryption by MPPE in the kernel, negotiated here. Where it is required nothing passes in clear, and who will not encrypt gets no
// call; where it is allowed, either kind of client is served.
func TestCallersEncryptByMPPE(t *testing.T) {
	l := lab.New(t)
	core := l.Host("core")
	them := map[string]*lab.Host{}
	clients := []struct{ name, options string }{
		{"strict", "require-mppe-128\n"}, {"eager", "require-mppe-128\n"}, {"plain", "nomppe\n"}, {"refuses", "nomppe\n"},
	}
	users := ""
	for i, c := range clients {
		them[c.name] = l.Host(c.name)
		l.Link(core.At(fmt.Sprintf("10.3.%d.1/24", i)), them[c.name].At(fmt.Sprintf("10.3.%d.2/24", i)))
		users += fmt.Sprintf("  %s: {password: %s, ipv4: 10.8.2.%d}\n", c.name, theirPass, i+1)
	}
	d := core.L2TPD(`
server: {mode: lns, hostname: core}
secrets: [{from: any, secret: none}]
lns:
  accept:
    - {from: 10.3.1.0-10.3.2.255, template: allow}
    - {from: any, template: require}
ppp:
  templates:
    require: {auth: [mschapv2], mppe: require, ipv4_local: 10.8.0.1}
    allow: {auth: [mschapv2], mppe: allow, ipv4_local: 10.8.0.1}
users:
` + users + `
log: {level: debug}
`)
	for i, c := range clients {
		them[c.name].ForeignPeer(foreignLAC(fmt.Sprintf("10.3.%d.1", i), c.name, "autodial = yes"),
			append(passwords(c.name+" * "+theirPass), "options", c.options)...)
	}
	d.WaitLog("WARN .*call not established.*10.3.3.2.*cause=no-encryption")
	d.WaitSessions(3)
	for _, name := range []string{"strict", "eager", "plain"} {
		s := settled(l, d, name)
		reachEachOther(core, s, them[name], "ppp0")
		if s.MPPE != (name != "plain") {
			t.Errorf("%s: encrypted: %v", name, s.MPPE)
		}
		if name != "plain" {
			reachEncrypted(t, core, them[name], "10.8.0.1")
		}
	}
	discreet(t, d)
}

// A packet that makes no sense does no lasting harm: a pppd answers the Reset-Request, and the kernel decrypts again. After many the kernel
// has given up, and the session ends in one explaining line.
func TestSessionEndsWhenNothingIsDecrypted(t *testing.T) {
	t.Parallel() // it waits more than it works
	l := lab.New(t)
	core, client := l.Host("core"), l.Host("client")
	l.Link(core.At("10.3.0.1/24"), client.At("10.3.0.2/24"))
	d := core.L2TPD(`
server: {mode: lns, hostname: core}
secrets: [{from: any, secret: none}]
lns: {accept: [{from: any, template: require}]}
ppp: {templates: {require: {auth: [mschapv2], mppe: require, ipv4_local: 10.8.0.1}}}
users: {client: {password: ` + theirPass + `, ipv4: 10.8.2.1}}
`)
	peer := client.ForeignPeer(foreignLAC("10.3.0.1", "client", "autodial = yes"),
		append(passwords("client * "+theirPass), "options", "require-mppe-128\n")...)
	s := d.WaitSessions(1)[0]
	to := [4]byte{10, 3, 0, 1}
	noise := append(wire.AppendDataHeader(nil, s.TunnelID, s.ID, false), 0xff, 0x03, 0x00, 0xfd, 0, 0, 1, 2, 3, 4)
	packet, fd := forged([4]byte{10, 3, 0, 2}, to, noise), forger(t, client)
	junk := func() error { return unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: to}) }
	if err := junk(); err != nil {
		t.Fatal(err)
	}
	peer.WaitLog("sent .CCP ResetAck")
	client.Reaches("10.8.0.1")
	l.Eventually("the end of the session", func() error {
		if d.CountLog("INFO .*call down.*cause=decryption-failed .*the kernel has given up.* user=client ") == 1 {
			return nil
		}
		return cmp.Or(junk(), errNotThere)
	})
	peer.WaitLog("packets cannot be decrypted")
	discreet(t, d)
}

// A template with engine: pppd has its sessions run by a real pppd: logins, own addresses, networks behind the user, limits, MPPE, and
// ends that name their reason.
func TestPppdServesCallers(t *testing.T) {
	l := lab.New(t)
	core := l.Host("core")
	them := map[string]*lab.Host{}
	for i, name := range []string{"plain", "secure", "wrong", "twice"} {
		them[name] = l.Host(name)
		l.Link(core.At(fmt.Sprintf("10.3.%d.1/24", i)), them[name].At(fmt.Sprintf("10.3.%d.2/24", i)))
	}
	them["plain"].IP("addr add 192.168.77.1/24 dev lo")
	them["plain"].Sysctl("net/ipv6/conf/default/accept_ra=2")
	core.IP("addr add 2001:db8::1/128 dev lo")
	d := core.L2TPD(`
server: {mode: lns, hostname: core}
secrets: [{from: any, secret: none}]
lns:
  accept:
    - {from: 10.3.1.0/24, template: secure}
    - {from: any, template: plain}
ppp:
  templates:
    plain: {engine: pppd, auth: [chap, pap], ipv4_local: 10.8.0.1, ipv4_pool: ips, ipv6_pool: links, ipv6_delegated_pool: sites,
      duplicate_login: refuse, pppd_options: [lcp-max-configure 20]}
    secure: {engine: pppd, auth: [mschapv2], mppe: require, ipv4_local: 10.8.0.1, ipv4_pool: ips}
pools:
  ips: {ranges: [10.8.0.10-10.8.0.20]}
  links: {prefixes: ["2001:db8:1::/48"], prefix_length: 64}
  sites: {prefixes: ["2001:db8:2::/48"], prefix_length: 56}
users:
  user-plain: {password: ` + theirPass + `, ipv4: 10.8.2.1, routes: [192.168.77.0/24]}
  user-secure: {password: ` + theirPass + `}
log: {level: debug}
`)
	call := func(name, user, password string, options ...string) {
		lns := map[string]string{"plain": "10.3.0.1", "secure": "10.3.1.1", "wrong": "10.3.2.1", "twice": "10.3.3.1"}[name]
		them[name].ForeignPeer(foreignLAC(lns, user, "autodial = yes"), append(passwords(user+" * "+password), options...)...)
	}
	call("plain", "user-plain", theirPass)
	call("secure", "user-secure", theirPass, "options", "require-mppe-128\n")
	d.WaitSessions(2)
	plain, secure := settled(l, d, "user-plain"), settled(l, d, "user-secure")
	if plain.PeerIPv4 != netip.MustParseAddr("10.8.2.1") || !netip.MustParsePrefix("10.8.0.0/24").Contains(secure.PeerIPv4) {
		t.Errorf("addresses %v and %v", plain.PeerIPv4, secure.PeerIPv4)
	}
	reachEachOther(core, plain, them["plain"], "ppp0")
	core.Reaches("192.168.77.1")
	reachEncrypted(t, core, them["secure"], "10.8.0.1")

	call("wrong", "user-secure", wrongPass)
	d.WaitLog("WARN .*call not established: stage user authentication.*10.3.2.2.*wrong user name or password")
	call("twice", "user-plain", theirPass)
	d.WaitLog("WARN .*call not established: stage user authentication.*10.3.3.2.*is logged in as often as he may be: 1")
	d.WaitSessions(2)
	usesPrefix(l, them["plain"], plain)
	usesDelegatedPrefix(t, l, d, them["plain"], plain)
	d.Ctl("session", "close", "user-secure")
	d.WaitLog("call down.*user=user-secure.*closed by the operator|call down.*closed by the operator.*user=user-secure")
	discreet(t, d)
}

// S16, S17: the example as it is delivered, with a foreign LAC: an address of the pool, and the user's own; a LAC outside the range is refused.
func TestExampleOfAnLNS(t *testing.T) {
	n := newLANs(t)
	d := n.b.L2TPD(example(t, "lns.yaml"))
	secret := []string{"l2tp-secrets", "* * password\n"}
	lac := n.a.ForeignPeer(foreignLAC("2.2.2.2", "remuser", "autodial = yes", "challenge = yes"), append(passwords("remuser * rempass"), secret...)...)
	d.WaitSessions(1)
	s := settled(n.Lab, d, "remuser")
	if pool := netip.MustParsePrefix("192.168.20.192/27"); !pool.Contains(s.PeerIPv4) || s.Auth != "mschapv2" || !strings.HasPrefix(s.Interface, "l2tp") {
		t.Errorf("address %v, login by %s, interface %s", s.PeerIPv4, s.Auth, s.Interface)
	}
	n.b.Reaches(s.PeerIPv4.String())
	lac.Kill()
	n.a.ForeignPeer(foreignLAC("2.2.2.2", "fixed", "autodial = yes", "challenge = yes"), append(passwords("fixed * fixpass"), secret...)...)
	n.Eventually("the user's own address", func() error {
		for _, s := range d.Sessions() {
			if s.User == "fixed" && s.PeerIPv4 == netip.MustParseAddr("192.168.20.199") {
				return nil
			}
		}
		return errors.New("not there yet")
	})
	d.WaitSessions(1) // the first is found dead
	n.internet.ForeignPeer(foreignLAC("2.2.2.2", "remuser", "autodial = yes"), passwords("remuser * rempass")...)
	d.WaitLog("tunnel refused.*no accept entry and no call for 2.2.2.254")
	discreet(t, d)
}
