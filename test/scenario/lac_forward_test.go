//go:build kernel

package scenario

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// proxyModes are ways in which an LNS takes what a LAC says of its subscribers. Each has a realm, an address of the LAC's, and an accept
// entry for it.
var proxyModes = []struct {
	name, accept, rule string
	anew               bool // LCP begins anew
}{
	{name: "accept", accept: "{lcp: accept, auth: accept}"},
	{name: "again", accept: "{lcp: accept, auth: rechallenge}"},
	{name: "anew", accept: "{lcp: renegotiate, auth: renegotiate}", anew: true},
	{name: "off", accept: "{lcp: accept, auth: accept}", rule: "proxy_auth: off, "},
}

// loginMethods are those by which subscribers log in at the LAC, with the Proxy Authen Type of each and the AVPs that go with it
// (P187-P189).
var loginMethods = []struct {
	name  string
	avps  []wire.AVPType
	proxy uint16
}{
	{"pap", []wire.AVPType{wire.AVPProxyAuthenType, wire.AVPProxyAuthenName, wire.AVPProxyAuthenID, wire.AVPProxyAuthenResponse}, 3},
	{"chap", []wire.AVPType{
		wire.AVPProxyAuthenType, wire.AVPProxyAuthenName, wire.AVPProxyAuthenChallenge, wire.AVPProxyAuthenID, wire.AVPProxyAuthenResponse,
	}, 2},
	{"mschapv2", nil, 0},
}

// proxyLCP are the AVPs of every subscriber's LCP.
var proxyLCP = []wire.AVPType{wire.AVPInitialRecvLCP, wire.AVPLastSentLCP, wire.AVPLastRecvLCP}

// proxyAVPs are the proxy AVPs of a message, in their order.
func proxyAVPs(m wire.Message) (all []wire.AVPType) {
	for _, a := range m.AVPs {
		if a.Vendor == 0 && a.Type >= wire.AVPInitialRecvLCP && a.Type <= wire.AVPProxyAuthenResponse {
			all = append(all, a.Type)
		}
	}
	slices.Sort(all)
	return all
}

// iccn finds the ICCN of the LNS's session s.
func iccn(t *testing.T, c *lab.Capture, s *api.Session) wire.Message {
	t.Helper()
	for _, p := range c.First(wire.MsgICCN) {
		if p.Header.TunnelID == s.TunnelID && p.Header.SessionID == s.ID {
			m, _ := p.Control()
			return m
		}
	}
	t.Fatalf("no ICCN of %s's session %d/%d", s.User, s.TunnelID, s.ID)
	return wire.Message{}
}

// spoken counts the packets of LCP that negotiate, and the logins' challenges, that the LNS has sent on its session s.
func spoken(c *lab.Capture, s *api.Session) (lcp, challenges int) {
	for _, p := range c.Packets(func(p lab.Packet) bool {
		return p.Sent && !p.Header.Control && p.Header.TunnelID == s.PeerTunnelID && p.Header.SessionID == s.PeerID
	}) {
		switch proto, packet, _ := ppp.SplitFrame(p.Body); {
		case len(packet) == 0:
		case proto == ppp.ProtoLCP && packet[0] <= 4: // Configure-Request to Configure-Reject
			lcp++
		case proto == ppp.ProtoCHAP && packet[0] == 1:
			challenges++
		}
	}
	return lcp, challenges
}

// matrix is a LAC with a subscriber for each login method and mode, and one more who need not log in there.
type matrix struct {
	*wholesale
	wire     *lab.Capture
	dlac     *lab.Daemon
	dlns     *lab.Daemon
	hosts    map[string]*lab.Host
	dialling map[string]*lab.Subscriber
}

const openUser = "open@nowhere.example"

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	m := &matrix{hosts: map[string]*lab.Host{}, dialling: map[string]*lab.Subscriber{}}
	var names []string
	for _, how := range loginMethods {
		for _, mode := range proxyModes {
			names = append(names, how.name[:min(4, len(how.name))]+"-"+mode.name)
		}
	}
	m.wholesale = newWholesale(t, append(names, "open")...)
	var access, rules, accept, users string
	for i, c := range m.clients {
		how, mode := "open", ""
		user := openUser
		if i < len(names) {
			how, mode = loginMethods[i/len(proxyModes)].name, proxyModes[i%len(proxyModes)].name
			user = how + "@" + mode + ".example"
		}
		m.hosts[user] = c
		c.Sysctl("net/ipv6/conf/default/accept_ra=2") // it forwards, and is a host of this link all the same
		access += fmt.Sprintf("    - {pppoe: {interface: %s, template: %s}}\n", c.Name, how)
		users += fmt.Sprintf("  %q: {password: %s, ipv4: 10.8.2.%d}\n", user, theirPass, i+1)
	}
	for i, mode := range proxyModes {
		from := fmt.Sprintf("10.4.1.%d", i+1)
		m.lac.IP("addr add " + from + "/32 dev lo")
		m.lns.IP("route add " + from + "/32 via 10.4.0.1")
		rules += fmt.Sprintf("    - {match: {realm: %s.example}, action: tunnel, lns: [{address: 10.4.0.2}], %slocal_address: %s, secret: %s}\n",
			mode.name, mode.rule, from, tunnelSecret)
		accept += fmt.Sprintf("  - {from: %s, template: dialin, proxy: %s}\n", from, mode.accept)
	}
	m.lns.IP("addr add 2001:db8::1/128 dev lo")
	m.wire = m.lns.Capture("lac")
	m.dlns = m.lns.L2TPD(`
server: {mode: lns, hostname: lns}
secret: ` + tunnelSecret + `
lns:
  accept:
` + accept + `
  - {from: any, template: dialin}
ppp: {templates: {dialin: {auth: [chap, mschapv2, pap], ipv4_local: 10.8.0.1, ipv6_pool: links}}}
pools: {links: {prefixes: ["2001:db8:1::/48"], prefix_length: 64}}
users:
` + users + `
log: {level: debug}
`)
	m.dlac = m.lac.L2TPD(`
server: {mode: lac, hostname: lac}
lac:
  access:
` + access + `
  rules:
` + rules + `
    - {match: unauthenticated, action: tunnel, lns: [{address: 10.4.0.2}], secret: ` + tunnelSecret + `}
ppp: {templates: {pap: {auth: [pap]}, chap: {auth: [chap]}, mschapv2: {auth: [mschapv2]}, open: {auth: none}}}
log: {level: debug}
`)
	for user, c := range m.hosts {
		m.dialling[user] = c.Subscriber("lac", user, theirPass)
	}
	return m
}

// P186-P197: subscribers log in at the LAC by each method, and the LNS accepts the login that it is told, asks for it again, or begins
// anew; without a type for it (P189), and with proxy_auth: off, it takes its own. IPv4 and IPv6 go through in every case.
func TestSubscribersLogInByEveryMethodAndMode(t *testing.T) {
	t.Parallel() // it waits more than it works
	m := newMatrix(t)
	m.dlns.WaitSessions(len(m.hosts))
	for _, how := range loginMethods {
		for _, mode := range proxyModes {
			user := how.name + "@" + mode.name + ".example"
			s := settled(m.Lab, m.dlns, user)
			m.hosts[user].Reaches("10.8.0.1")
			usesPrefix(m.Lab, m.hosts[user], s)
			said := iccn(t, m.wire, s)
			want := slices.Clone(proxyLCP)
			if mode.name != "off" {
				want = append(want, how.avps...)
			}
			if got := proxyAVPs(said); !slices.Equal(got, want) {
				t.Errorf("%s: ICCN has %v, want %v", user, got, want)
			}
			if kind, _ := said.Uint16(wire.AVPProxyAuthenType); mode.name != "off" && kind != how.proxy {
				t.Errorf("%s: Proxy Authen Type %d, want %d", user, kind, how.proxy)
			}
			lcp, challenges := spoken(m.wire, s)
			if (lcp > 0) != mode.anew {
				t.Errorf("%s: the LNS has sent %d packets of LCP", user, lcp)
			}
			asks := how.name == "chap" || how.name == "mschapv2"
			if kept := mode.name == "accept" && how.proxy != 0; !mode.anew && asks && (challenges > 0) == kept {
				t.Errorf("%s: the LNS has sent %d challenges", user, challenges)
			}
			if !mode.anew && s.Auth != how.name {
				t.Errorf("%s: logged in by %s", user, s.Auth)
			}
		}
	}
	m.open(t)
	discreet(t, m.dlac, m.dlns)
}

// open looks at the subscriber who need not log in at the LAC: the LNS will have him do so.
func (m *matrix) open(t *testing.T) {
	t.Helper()
	s := settled(m.Lab, m.dlns, openUser)
	m.hosts[openUser].Reaches("10.8.0.1")
	usesPrefix(m.Lab, m.hosts[openUser], s)
	said := iccn(t, m.wire, s)
	if got, want := proxyAVPs(said), append(slices.Clone(proxyLCP), wire.AVPProxyAuthenType); !slices.Equal(got, want) {
		t.Errorf("without login: ICCN has %v, want %v", got, want)
	}
	if kind, _ := said.Uint16(wire.AVPProxyAuthenType); kind != 4 {
		t.Errorf("without login: Proxy Authen Type %d, want 4", kind)
	}
	if s.Auth != "chap" {
		t.Errorf("without login: logged in by %q at the LNS, want chap", s.Auth)
	}
}

// An xl2tpd with pppd knows nothing of what the LAC has negotiated, and begins anew: the subscriber comes up all the same, whatever he
// showed the LAC (P195, P197).
func TestSubscribersAreForwardedToXl2tpd(t *testing.T) {
	t.Parallel() // it waits more than it works
	all := []struct{ name, lns string }{{"pap", "pap"}, {"chap", "chap"}, {"mschapv2", "chap"}, {"off", "pap"}, {"open", "chap"}}
	var names []string
	for _, x := range all {
		names = append(names, x.name)
	}
	w := newWholesale(t, names...)
	var access, rules string
	var secrets []string
	captures := map[string]*lab.Capture{}
	for _, x := range all {
		access += fmt.Sprintf("    - {pppoe: {interface: %s, template: %[1]s}}\n", x.name)
		secrets = append(secrets, x.name+"@"+x.name+".example * "+theirPass)
	}
	foreign := map[string]*lab.Host{}
	for i, auth := range []string{"pap", "chap"} {
		h := w.Host("office" + auth)
		w.Link(w.lac.At(fmt.Sprintf("10.5.%d.1/24", i+1)), h.At(fmt.Sprintf("10.5.%d.2/24", i+1)))
		captures[auth] = h.Capture("lac")
		h.ForeignPeer(foreignLNS(i+1, append(demand(auth), "challenge = yes")...), append(passwords(secrets...), tunnelKey(tunnelSecret)...)...)
		foreign[auth] = h
	}
	address := map[string]string{"pap": "10.5.1.2", "chap": "10.5.2.2"}
	for _, x := range all[:4] {
		more := ""
		if x.name == "off" {
			more = "proxy_auth: off, "
		}
		rules += fmt.Sprintf("    - {match: {realm: %s.example}, action: tunnel, lns: [{address: %s}], %ssecret: %s}\n", x.name, address[x.lns], more, tunnelSecret)
	}
	lac := w.lac.L2TPD(`
server: {mode: lac, hostname: lac}
lac:
  access:
` + access + `
  rules:
` + rules + `
    - {match: unauthenticated, action: tunnel, lns: [{address: 10.5.2.2}], secret: ` + tunnelSecret + `}
ppp: {templates: {pap: {auth: [pap]}, chap: {auth: [chap]}, mschapv2: {auth: [mschapv2]}, off: {auth: [chap]}, open: {auth: none}}}
log: {level: debug}
`)
	var dialling []*lab.Subscriber
	for i, x := range all {
		dialling = append(dialling, w.clients[i].Subscriber("lac", x.name+"@"+x.name+".example", theirPass))
	}
	for i, x := range all {
		device, _, remote := dialling[i].WaitUp()
		if want := map[string]string{"pap": "10.9.1.1", "chap": "10.9.2.1"}[x.lns]; remote != want {
			t.Errorf("%s: the LNS is %s, want %s", x.name, remote, want)
		}
		w.clients[i].Reaches(remote)
		far := strings.Fields(dialling[i].WaitLog("remote LL address "))
		w.clients[i].Reaches(far[len(far)-1] + "%" + device)
	}
	if n := len(captures["pap"].First(wire.MsgICCN)) + len(captures["chap"].First(wire.MsgICCN)); n != len(all) {
		t.Errorf("%d ICCN for %d subscribers", n, len(all))
	}
	discreet(t, lac)
}

// fragments is how many fragments a host has made.
func fragments(t *testing.T, h *lab.Host) int {
	t.Helper()
	var names []string
	for line := range strings.Lines(h.Run("cat", "/proc/net/snmp")) {
		switch f := strings.Fields(line); {
		case len(f) == 0 || f[0] != "Ip:":
		case names == nil:
			names = f
		default:
			n, err := strconv.Atoi(f[slices.Index(names, "FragCreates")])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("the kernel does not count fragments")
	return 0
}

// passes pings with packets of so many octets that may not be fragmented within the link.
func passes(l *lab.Lab, h *lab.Host, to string, octets int) {
	l.Eventually(fmt.Sprintf("%d octets from %s to %s", octets, h.Name, to), func() error {
		out, err := h.Try("ping", "-n", "-c1", "-W2", "-M", "do", "-s", strconv.Itoa(octets-28), to)
		if err != nil {
			return errors.New(out)
		}
		return nil
	})
}

// RFC 4638: a subscriber has an MRU of 1492, and one of 1500 where both his link and the access carry it. Packets of that size pass end to
// end, in one piece where the network behind the LAC carries them, in two of the outer packet where it does not.
func TestSubscribersHaveAnMRUOf1500(t *testing.T) {
	t.Parallel() // it waits more than it works
	w := newWholesale(t, "small", "large", "asks")
	wide := func(a, b *lab.Host, mtu int) {
		a.IP(fmt.Sprintf("link set %s mtu %d", b.Name, mtu))
		b.IP(fmt.Sprintf("link set %s mtu %d", a.Name, mtu))
	}
	wide(w.lac, w.lns, 1600)
	wide(w.lac, w.clients[1], 1508)
	wide(w.lac, w.clients[2], 1508)
	lns := w.lns.L2TPD(`
server: {mode: lns, hostname: lns}
lns: {accept: [{from: any, template: dialin}]}
ppp: {templates: {dialin: {auth: [chap], ipv4_local: 10.8.0.1}}}
users: {small: {password: ` + theirPass + `, ipv4: 10.8.2.1}, large: {password: ` + theirPass + `, ipv4: 10.8.2.2}, asks: {password: ` + theirPass + `, ipv4: 10.8.2.3}}
log: {level: debug}
`)
	lac := w.lac.L2TPD(`
server: {mode: lac, hostname: lac}
lac:
  access:
    - {pppoe: {interface: small, max_payload: 1500, template: access}}
    - {pppoe: {interface: large, max_payload: 1500, template: access}}
    - {pppoe: {interface: asks, template: access}}
  rules: [{match: all, action: tunnel, lns: [{address: 10.4.0.2}]}]
ppp: {templates: {access: {auth: [chap]}}}
log: {level: debug}
`)
	sizes := map[string]int{"small": 1492, "large": 1500, "asks": 1492}
	for _, c := range w.clients {
		options := []string{"mtu 1500", "mru 1500"} // by which rp-pppoe.so says PPP-Max-Payload, where the interface's MTU allows it
		if c.Name == "small" {
			options = nil
		}
		c.Subscriber("lac", c.Name, theirPass, options...)
	}
	lns.WaitSessions(3)
	for _, c := range w.clients {
		s, size := settled(w.Lab, lns, c.Name), sizes[c.Name]
		if s.MTU != size || int(s.PeerMRU) != size || int(s.MRU) != size {
			t.Errorf("%s: MTU %d, his MRU %d, ours %d; want %d", c.Name, s.MTU, s.PeerMRU, s.MRU, size)
		}
		if out := c.Run("ip", "-o", "link", "show", "ppp0"); !strings.Contains(out, fmt.Sprintf(" mtu %d ", size)) {
			t.Errorf("%s: want an MTU of %d, have %s", c.Name, size, out)
		}
		passes(w.Lab, c, "10.8.0.1", size)
		passes(w.Lab, w.lns, s.PeerIPv4.String(), size)
	}
	if n := fragments(t, w.lac) + fragments(t, w.lns); n != 0 {
		t.Errorf("%d fragments where there is room for all of a packet", n)
	}
	wide(w.lac, w.lns, 1500)
	before := fragments(t, w.lac)
	passes(w.Lab, w.clients[1], "10.8.0.1", 1500)
	passes(w.Lab, w.lns, "10.8.2.2", 1500)
	if n := fragments(t, w.lac) - before; n < 2 {
		t.Errorf("the LAC has made %d fragments of a packet that does not fit", n)
	}
	discreet(t, lac, lns)
}

// S4: the kernel carries what subscribers send. The daemon counts it, and sees none of it: neither its PPPoX sockets nor its UDP sockets
// have anything to read but control messages.
func TestForwardedPacketsPassTheDaemonBy(t *testing.T) {
	w := newWholesale(t, "alice")
	lns := w.lns.L2TPD(ourLNS)
	lac := w.lac.L2TPD(w.lacConfig("    - {match: all, action: tunnel, lns: [{address: 10.4.0.2}], secret: "+tunnelSecret+"}\n", "[chap]"))
	w.clients[0].Subscriber("lac", "alice@corp.example", theirPass).WaitUp()
	lns.WaitSessions(1)
	settled(w.Lab, lns, "alice@corp.example")
	w.clients[0].Reaches("10.8.0.1") // all is up
	line := lac.Session("alice@corp.example")
	if line.Forwarded == nil {
		t.Fatalf("alice's line does not say where her call is: %+v", line)
	}
	far := func() *api.Session {
		return lac.Session(fmt.Sprintf("%d/%d", line.Forwarded.TunnelID, line.Forwarded.SessionID))
	}
	shown := lac.Ctl("session", "show", "alice@corp.example")
	if !regexp.MustCompile(`10\.4\.0\.2`).MatchString(shown) {
		t.Errorf("l2tpctl does not tell the LNS:\n%s", shown)
	}
	const n = 50
	f0, c0 := far(), lac.Status().Counters
	w.clients[0].Run("ping", "-c", strconv.Itoa(n), "-i", "0.01", "-q", "10.8.0.1")
	f1, c1 := far(), lac.Status().Counters
	if in, out := f1.Data.InPackets-f0.Data.InPackets, f1.Data.OutPackets-f0.Data.OutPackets; in < n || out < n {
		t.Errorf("the far session has received %d packets and sent %d, want %d each", in, out, n)
	}
	if d := c1.PPPFrames; d != c0.PPPFrames {
		t.Errorf("PPP frames of the daemon: %+v, then %+v", c0.PPPFrames, d)
	}
	sockets := func(c api.Counters) (in, out uint64) {
		return c.Listener.InDatagrams + c.TunnelSockets.InDatagrams - c.Control.In, c.Listener.OutDatagrams + c.TunnelSockets.OutDatagrams - c.Control.Out
	}
	in0, out0 := sockets(c0)
	if in1, out1 := sockets(c1); in1 != in0 || out1 != out0 {
		t.Errorf("the daemon's UDP sockets have had %d and %d datagrams that are no control messages", in1-in0, out1-out0)
	}
	discreet(t, lac, lns)
}
