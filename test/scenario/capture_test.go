//go:build kernel

package scenario

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/capture/capturetest"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// untold are the octets on a wire that no capture of the daemon's may hold: hidden values and what proves a secret.
func untold(c *lab.Capture) (all []string) {
	add := func(b []byte) {
		if len(b) >= 4 { // fewer may be somewhere by chance
			all = append(all, string(b))
		}
	}
	c.Packets(func(p lab.Packet) bool {
		if m, ok := p.Control(); ok {
			for _, a := range m.AVPs {
				if a.Hidden || a.Vendor == 0 && (a.Type == wire.AVPChallengeResponse || a.Type == wire.AVPProxyAuthenResponse) {
					add(a.Value)
				}
			}
		}
		proto, packet, _ := ppp.SplitFrame(p.Body)
		if !p.Header.Control && proto == ppp.ProtoCHAP && len(packet) > 5 && packet[0] == 2 && len(packet) >= 5+int(packet[4]) {
			add(packet[5 : 5+int(packet[4])])
		}
		return false
	})
	return all
}

// developed ends a capture, and checks that tshark finds nothing wrong with its file, that no secret is in it, and that comments with
// these texts come in this order.
func developed(t *testing.T, f *lab.Film, wires []*lab.Capture, texts ...string) *capturetest.File {
	t.Helper()
	b := f.Cut()
	file, err := capturetest.Read(b)
	if err != nil || !file.Ended || file.Dropped > 0 || !strings.Contains(f.Log(), file.End) {
		t.Errorf("%s: ended %t, %d dropped, %q: %v\n%s", f.Name, file.Ended, file.Dropped, file.End, err, f.Log())
	}
	secrets := []string{tunnelSecret, otherSecret, ourPassword, theirPass}
	for _, w := range wires {
		secrets = append(secrets, untold(w)...)
	}
	for _, s := range secrets {
		if bytes.Contains(b, []byte(s)) {
			t.Errorf("%s: %q is in the file", f.Name, s)
		}
	}
	wrong := f.Shark("-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-V",
		"-Y", "_ws.malformed || _ws.expert.severity == error || ip.checksum.status == Bad || udp.checksum.status == Bad")
	if wrong != "" {
		t.Errorf("%s: tshark complains:\n%s", f.Name, wrong)
	}
	comments := strings.Split(f.Shark("-T", "fields", "-e", "frame.comment"), "\n")
	rest := comments
	for _, want := range texts {
		i := slices.IndexFunc(rest, func(s string) bool { return strings.Contains(s, want) })
		if i < 0 {
			t.Errorf("%s: no %q, or not in its place:\n%s", f.Name, want, strings.Join(comments, "\n"))
			break
		}
		rest = rest[i+1:]
	}
	return file
}

// messages are the types of control messages that tshark finds in a file, in the order in which each comes for the first time.
func messages(f *lab.Film) (all []string) {
	for _, x := range strings.Fields(f.Shark("-Y", "l2tp.avp.message_type", "-T", "fields", "-e", "l2tp.avp.message_type")) {
		if !slices.Contains(all, x) {
			all = append(all, x)
		}
	}
	return all
}

// Calls of xl2tpd and pppd are captured from the SCCRQ of a peer that nobody knew to its StopCCN, with and without hidden AVPs, by PAP
// and by CHAP. The file is whole after Ctrl-C, tshark reads it, and no secret is in it.
func TestCaptureOfCallsFromXl2tpd(t *testing.T) {
	t.Parallel() // it waits more than it works
	l := lab.New(t)
	core := l.Host("core")
	var accept, users string
	hosts, wires, films := map[string]*lab.Host{}, map[string]*lab.Capture{}, map[string]*lab.Film{}
	logins := []string{"pap", "chap"}
	for n, auth := range logins {
		h := l.Host(auth)
		l.Link(core.At(fmt.Sprintf("10.2.%d.1/24", n)), h.At(fmt.Sprintf("10.2.%d.2/24", n)))
		accept += fmt.Sprintf("  - {from: 10.2.%d.0/24, template: %s}\n", n, auth)
		users += fmt.Sprintf("  user%d: {password: %s}\n", n, theirPass)
		hosts[auth], wires[auth] = h, core.Capture(auth)
	}
	d := core.L2TPD(fmt.Sprintf(`
server: {mode: lns, hostname: core, hide_avps: on}
secret: %s
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
`, tunnelSecret, accept, users))
	for n, auth := range logins {
		films[auth] = d.Film("--peer", fmt.Sprintf("10.2.%d.2", n))
	}
	var peers []*lab.ForeignPeer
	for n, auth := range logins {
		name := fmt.Sprintf("user%d", n)
		options := []string{"autodial = yes", "challenge = yes"}
		if auth == "chap" {
			options = append(options, "hidden bit = yes")
		}
		peers = append(peers, hosts[auth].ForeignPeer(foreignLAC(fmt.Sprintf("10.2.%d.1", n), name, options...),
			append(passwords(name+" * "+theirPass), tunnelKey(tunnelSecret)...)...))
	}
	d.WaitSessions(len(logins))
	for n := range logins {
		s := settled(l, d, fmt.Sprintf("user%d", n))
		core.Reaches(s.PeerIPv4.String())
	}
	for _, x := range peers {
		x.Stop()
	}
	d.WaitTunnels(0)
	for n, auth := range logins {
		login := map[string][]string{
			"pap": {`PAP Authenticate-Request`, "PAP Authenticate-Ack"}, "chap": {"CHAP Challenge", `CHAP Response`, "CHAP Success"},
		}[auth]
		f := films[auth]
		texts := append([]string{"in: SCCRQ", "SCCRP", "SCCCN", "ICRQ", "ICRP", "ICCN", "LCP Configure-Request"}, login...)
		file := developed(t, f, []*lab.Capture{wires[auth]}, append(texts, "IPCP Configure-Ack", "StopCCN")...)
		if types := messages(f); len(types) < 7 || strings.Join(types[:6], " ") != "1 2 3 10 11 12" || !slices.Contains(types, "4") {
			t.Errorf("%s: messages %v", auth, types)
		}
		if protocols := f.Shark("-T", "fields", "-e", "frame.protocols"); !strings.Contains(protocols, "raw:ip:udp:l2tp:ppp:"+auth+"\n") ||
			!strings.Contains(protocols, "raw:ip:udp:l2tp:ppp:ipcp") {
			t.Errorf("%s: protocols\n%s", auth, protocols)
		}
		for _, x := range strings.Fields(f.Shark("-T", "fields", "-E", "separator=,", "-e", "ip.src", "-e", "ip.dst")) {
			us, them := fmt.Sprintf("10.2.%d.1", n), fmt.Sprintf("10.2.%d.2", n)
			if x != us+","+them && x != them+","+us {
				t.Errorf("%s: a packet of %s", auth, x)
			}
		}
		if !strings.Contains(file.Comment, fmt.Sprintf("peer 10.2.%d.2", n)) {
			t.Errorf("%s: the file says %q", auth, file.Comment)
		}
	}
	discreet(t, d)
}

// A subscriber's call is captured at the LAC and at the LNS, both ours: his line as PPP, and the tunnel with proxy AVPs, plain or hidden.
func TestCaptureOfASubscribersCall(t *testing.T) {
	t.Parallel() // it waits more than it works
	w := newWholesale(t, "alice", "bob", "carol")
	link := w.lns.Capture("lac")
	lns := w.lns.L2TPD(strings.Replace(ourLNS, "users: {", "users: {carol: {password: "+theirPass+"}, ", 1))
	films := []*lab.Film{lns.Film("--peer", "10.4.0.1")}
	lac := w.lac.L2TPD(w.lacConfig(`
    - {match: {realm: corp.example}, action: tunnel, lns: [{address: 10.4.0.2, hide_avps: on}], secret: `+tunnelSecret+`}
    - {match: all, action: tunnel, lns: [{address: 10.4.0.2}], secret: `+tunnelSecret+`}
`, "[mschapv2, chap, pap]"))
	films = append(films, lac.Film("--all"))
	clients := []*lab.Subscriber{
		w.clients[0].Subscriber("lac", "alice@corp.example", theirPass, "refuse-mschap-v2", "refuse-mschap", "refuse-chap"),
		w.clients[1].Subscriber("lac", "bob", theirPass, "refuse-mschap-v2", "refuse-mschap"),
		w.clients[2].Subscriber("lac", "carol", theirPass, "refuse-chap"),
	}
	for i, x := range clients {
		_, _, remote := x.WaitUp()
		w.clients[i].Reaches(remote)
	}
	lns.WaitSessions(len(clients))
	lac.Ctl("tunnel", "close", fmt.Sprint(lac.Tunnels()[0].ID))
	lac.WaitTunnels(1)
	lns.WaitTunnels(1)
	wires := []*lab.Capture{link}
	developed(t, films[0], wires, "in: SCCRQ", "SCCRP", "SCCCN", "ICRQ", "ICRP", "ICCN", "IPCP Configure-Request", "StopCCN")
	file := developed(t, films[1], wires, "LCP Configure-Request", "SCCRQ", "SCCRP", "SCCCN", "ICRQ", "ICRP", "ICCN", "StopCCN")
	lines := 0
	for _, i := range file.Interfaces {
		if i.Link == 9 && strings.HasPrefix(i.Name, "line/") && strings.Contains(i.Description, "PPP with ") {
			lines++
		}
	}
	if lines != len(clients) {
		t.Errorf("%d lines: %+v", lines, file.Interfaces)
	}
	shown := films[1].Shark("-T", "fields", "-e", "frame.protocols")
	for _, want := range []string{"ppp:lcp", "ppp:pap", "ppp:chap", "raw:ip:udp:l2tp"} {
		if !strings.Contains(shown, want+"\n") {
			t.Errorf("no %s among\n%s", want, shown)
		}
	}
	discreet(t, lac, lns)
}
