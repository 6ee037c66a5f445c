//go:build kernel

package scenario

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// records are those that a debug has printed as lines of JSON.
func records(t *testing.T, p *lab.Proc) (all []api.DebugRecord) {
	t.Helper()
	for l := range strings.Lines(p.Log()) {
		var r api.DebugRecord
		if err := json.Unmarshal([]byte(l), &r); err != nil {
			t.Fatalf("%s: %v: %s", p.Name, err, l)
		}
		all = append(all, r)
	}
	if len(all) < 2 || all[0].Kind != api.DebugBegins || all[len(all)-1].Kind != api.DebugEnds {
		t.Fatalf("%s: no beginning, or no end:\n%s", p.Name, p.Log())
	}
	return all
}

// octetsOf are those that a debug has printed in groups.
func octetsOf(p *lab.Proc) string {
	all := ""
	for _, l := range regexp.MustCompile(`(?m)^  [0-9a-f]{8}(?: [0-9a-f]{2,8})*$`).FindAllString(p.Log(), -1) {
		all += strings.ReplaceAll(l, " ", "")
	}
	b, _ := hex.DecodeString(all)
	return string(b)
}

// A call is debugged at both ends before there is a tunnel (S53): its states come in the order of RFC 2661, 7.2.1 and 7.4, in records of
// two lines, with the ids of both ends (S55, S189), its packets decoded and in groups of 32 bits (S56, S58). What the terminal has got the
// log has too (S179), the ring of events has not, and no secret is anywhere (S57). Debugs are listed, shown with the tunnel (S135) and
// stopped (S54).
func TestDebugOfACallThatIsToCome(t *testing.T) {
	t.Parallel() // it waits more than it works
	p := newPair(t)
	wire := p.a.Capture("b")
	b := p.b.L2TPD(`
server: {mode: lns, hostname: b, hide_avps: on}
secret: ` + tunnelSecret + `
lns: {accept: [{from: any, template: dialin}]}
ppp: {templates: {dialin: {auth: [chap], ipv4_pool: ips, ipv4_local: 192.168.20.1, ipv6: off}}}
pools: {ips: {ranges: [192.168.20.200]}}
users: {alice: {password: ` + theirPass + `}}
`)
	a := p.a.L2TPD(`
server: {hostname: a, hide_avps: on}
calls:
  remote: {peer: 10.0.0.2, remote: office, secret: ` + tunnelSecret + `, redial: {min: 1h, max: 1h}, ppp: {template: lan, ipv4: request, user: alice, password: ` + theirPass + `}}
ppp: {templates: {lan: {auth: none, ipv6: off}}}
`)
	here, there := a.Debug("all", "--tunnel", "--session", "-o", "jsonl"), b.Debug("all", "--tunnel", "--session", "--hex")
	if out := a.Ctl("debug", "state", "--call", "remote", "--background"); !strings.Contains(out, "debug 2 shows state of call remote") {
		t.Errorf("in the background: %s", out)
	}
	a.Ctl("call", "up", "remote", "--wait", "60s")
	tunnel, session := a.Tunnels()[0], *a.Session("remote")
	if shown := a.Ctl("tunnel", "show", fmt.Sprint(tunnel.ID)); tunnel.Debug != "state and packet" || !regexp.MustCompile(`(?m)^  debug +state and packet$`).MatchString(shown) {
		t.Errorf("the tunnel is debugged: %s\n%s", tunnel.Debug, shown)
	}
	list := a.Ctl("debug", "list")
	for _, want := range []string{`(?m)^1 .* uid=0 pid=\d+ +state and packet of all tunnels, all sessions$`, `(?m)^2 +4m\d+s .* state of call remote$`} {
		if !regexp.MustCompile(want).MatchString(list) {
			t.Errorf("no %s in\n%s", want, list)
		}
	}
	a.Ctl("call", "down", "remote")
	a.WaitSessions(0)
	b.WaitSessions(0)
	a.Ctl("tunnel", "close", fmt.Sprint(tunnel.ID))
	a.WaitTunnels(0)
	b.WaitTunnels(0)
	if out, err := a.TryCtl("debug", "stop", "99"); err == nil || !strings.Contains(out, "no debug 99") {
		t.Errorf("stop of no debug: %v, %s", err, out)
	}
	a.Ctl("debug", "stop", "2")
	a.WaitLog(`debug ends: it was stopped by uid=0 .* debug=2 `)
	b.Ctl("debug", "stop", "all")
	here.Signal(unix.SIGINT)
	for _, x := range []*lab.Proc{here, there} {
		if code := x.Wait(); code != 0 {
			t.Errorf("%s: exit code %d\n%s", x.Name, code, x.Log())
		}
	}
	callInItsOrder(t, a, here, &tunnel, &session)
	for _, want := range []string{
		`\[no tunnel, peer's ` + fmt.Sprint(tunnel.ID) + `, to 10\.0\.0\.1:1701\] rx\n  SCCRQ `,
		`\[tunnel \d+, peer's \d+, to 10\.0\.0\.1:1701\]\n  wait-ctl-conn -> established\n`,
		`\[tunnel \d+, peer's \d+, session \d+, peer's ` + fmt.Sprint(session.ID) + `, to 10\.0\.0\.1:1701\]\n  wait-connect -> established\n`,
		`, peer's ` + fmt.Sprint(session.ID) + `, to 10\.0\.0\.1:1701\] tx\n  CHAP Challenge .*\n  000[02][0-9a-f]{4} [0-9a-f]{8} [0-9a-f ]+\n`,
		`, user alice, to 10\.0\.0\.1:1701\]\n  stage address -> up\n`,
		`\] rx\n  CDN .*\n`,
		`none was left out; debug 1 ended because it was stopped by uid=0 pid=\d+\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(there.Log()) {
			t.Errorf("no %s in\n%s", want, there.Log())
		}
	}
	untoldByDebugs(t, wire, here, there, a.Proc, b.Proc)
	if out := a.Ctl("debug", "all", "--peer", "10.9.9.9", "--for", "100ms"); !regexp.MustCompile(`0 records in \S+, none was left out;.*because its time is over`).MatchString(out) {
		t.Errorf("a debug of nothing: %s", out)
	}
}

// untoldByDebugs checks that nothing that must not be seen is in what programs have printed, in words or as octets.
func untoldByDebugs(t *testing.T, wire *lab.Capture, all ...*lab.Proc) {
	t.Helper()
	secrets := append(untold(wire), tunnelSecret, theirPass)
	if len(secrets) < 6 { // two responses of the tunnel, one of the login, a hidden number
		t.Errorf("only %d values were secret", len(secrets))
	}
	octets := 0
	for _, p := range all {
		inHex := octetsOf(p)
		octets += len(inHex)
		for _, s := range secrets {
			if strings.Contains(p.Log(), s) || strings.Contains(p.Log(), hex.EncodeToString([]byte(s))) || strings.Contains(inHex, s) {
				t.Errorf("%s: %q is in what it says", p.Name, s)
			}
		}
	}
	if octets < 500 {
		t.Errorf("only %d octets were shown", octets)
	}
}

// callInItsOrder checks what a debug of all tunnels and sessions has shown of a call that came and went, and that the log has it too.
func callInItsOrder(t *testing.T, d *lab.Daemon, p *lab.Proc, tunnel *api.Tunnel, session *api.Session) {
	t.Helper()
	states, types, told := map[string][]string{}, map[string][]string{}, ""
	all := records(t, p)
	rest := d.Log()
	for _, r := range all[1 : len(all)-1] {
		switch r.Kind {
		case api.DebugState:
			states[r.Of] = append(states[r.Of], r.From+" -> "+r.To)
		case api.DebugPacket:
			word, _, _ := strings.Cut(r.Decoded, " ")
			types[r.Direction] = append(types[r.Direction], word)
		case api.DebugBegins, api.DebugLeftOut, api.DebugEnds:
			t.Errorf("%+v", r)
		}
		if r.Tunnel != tunnel.ID || r.PeerTunnel != tunnel.PeerID && r.PeerTunnel != 0 || r.Session != session.ID && r.Session != 0 ||
			r.PeerSession != session.PeerID && r.PeerSession != 0 || r.Peer.String() != "10.0.0.2:1701" {
			t.Errorf("of others: %+v", r)
		}
		told += fmt.Sprintf("%d/%d %d/%d ", r.Tunnel, r.PeerTunnel, r.Session, r.PeerSession)
		line := "INFO  " + r.Message + "  debug=1 "
		i := strings.Index(rest, line)
		if i < 0 {
			t.Errorf("%s: no %q, or not in its place", d.Name, line)
			continue
		}
		rest = rest[i+len(line):]
	}
	if n := strings.Count(d.Log(), "  debug=1 "); n != len(all) { // with its beginning and its end
		t.Errorf("%s: %d lines of the debug, and %d records", d.Name, n, len(all))
	}
	for _, want := range []string{
		fmt.Sprintf("%d/0 0/0", tunnel.ID), fmt.Sprintf("%d/%d %d/0", tunnel.ID, tunnel.PeerID, session.ID),
		fmt.Sprintf("%d/%d %d/%d", tunnel.ID, tunnel.PeerID, session.ID, session.PeerID),
	} {
		if !strings.Contains(told, want) {
			t.Errorf("no ids %s", want)
		}
	}
	for of, want := range map[string][]string{
		"tunnel":  {"idle -> wait-ctl-reply", "wait-ctl-reply -> established", "established -> closing"},
		"session": {"idle -> wait-tunnel", "wait-tunnel -> wait-reply", "wait-reply -> established", "established -> idle"},
	} {
		if got := states[of]; len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
			t.Errorf("states of the %s: %q, want %q", of, got, want)
		}
	}
	for direction, want := range map[string][]string{
		"out": {"SCCRQ", "SCCCN", "ICRQ", "ICCN", "LCP", "CHAP", "IPCP", "CDN", "StopCCN"}, "in": {"SCCRP", "ICRP", "LCP", "CHAP", "IPCP"},
	} {
		rest := types[direction]
		for _, word := range want {
			i := slices.Index(rest, word)
			if i < 0 {
				t.Errorf("%s: no %s, or not in its place: %q", direction, word, types[direction])
				break
			}
			rest = rest[i:]
		}
	}
	events := d.Ctl("events")
	if strings.Contains(events, "wait-ctl-reply") || !strings.Contains(events, "debug begins") || !strings.Contains(events, "debug ends") {
		t.Errorf("events:\n%s", events)
	}
}
