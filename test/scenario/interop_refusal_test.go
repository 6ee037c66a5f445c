//go:build kernel

package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// refusal is a call that must not come up, because something is wrong on the one side or the other.
type refusal struct {
	name    string
	foreign []string // lines of xl2tpd's section
	files   []string // of xl2tpd and pppd
	ours    string   // our half: of the call, or the accept entry's template
	secret  string   // our tunnel secret; "": none

	log   string // what our one line begins with
	words string // and what it goes on with
	kind  wire.MessageType
	sent  bool // by us
	code  uint16
	error uint16
	other uint16 // the code of the other end's message, where chance decides which of the two is first; 0: it does not
}

// ended fails the test unless the message that ended the attempt is as promised, and the one log line, too.
func (r refusal) ended(t *testing.T, l *lab.Lab, d *lab.Daemon, who string, c *lab.Capture) {
	t.Helper()
	line := d.WaitLog(r.log + ".* " + who + "[ :].*" + r.words)
	if !strings.Contains(line, " WARN ") {
		t.Errorf("%s: the explaining line is %s", r.name, line)
	}
	l.Eventually(r.name, func() error {
		for _, p := range c.First(r.kind) {
			m, _ := p.Control()
			got, ok := m.Result()
			if p.Sent != r.sent && ok && got.Code == r.code && got.Error == r.error { // the capture is at the peer's end
				return nil
			}
			if p.Sent == r.sent && ok && got.Code == r.other && r.other != 0 {
				return nil
			}
		}
		var seen []string
		for _, p := range append(c.First(wire.MsgStopCCN), c.First(wire.MsgCDN)...) {
			seen = append(seen, fmt.Sprintf("%v: %s", p.Src, wire.Summary(p.Payload)))
		}
		return fmt.Errorf("no %v with result %d and error %d, but %v", r.kind, r.code, r.error, seen)
	})
}

// What is wrong at one end ends our call to xl2tpd at once: with the right code on the wire, and with one line in the log that names
// the stage and has the peer's words, and no secret (P57, P124, P125, P209, P256-P258).
func TestRefusalsOfOurCallsAreExplained(t *testing.T) {
	t.Parallel() // it waits more than it works
	key := func(s string) []string { return append(tunnelKey(s), passwords("alice office "+ourPassword)...) }
	login := func(user, pass string) string { return fmt.Sprintf("user: %s, password: %s", user, pass) }
	all := []refusal{
		{
			name: "other-secret", secret: otherSecret, foreign: []string{"challenge = yes"}, files: key(tunnelSecret),
			log: "stage tunnel authentication", words: "the shared secret is not the same", kind: wire.MsgStopCCN, sent: true, code: wire.StopNotAuthorised,
		},
		{
			name: "no-secret", foreign: []string{"challenge = yes"}, files: key(tunnelSecret),
			log: "stage tunnel authentication", kind: wire.MsgStopCCN, sent: true, code: wire.StopNotAuthorised,
		},
		{
			name: "theirs-missing", secret: tunnelSecret, files: passwords("alice office " + ourPassword),
			log: "stage tunnel authentication", kind: wire.MsgStopCCN, sent: true, code: wire.StopNotAuthorised,
		},
		{
			name: "pap-password", ours: login("alice", wrongPass), foreign: demand("pap"), files: passwords("alice office " + ourPassword),
			log: "stage user authentication", words: "Login incorrect", kind: wire.MsgCDN, sent: true, code: wire.CDNAdmin,
			other: wire.CDNLostCarrier, // its pppd has ended PPP
		},
		{
			name: "chap-password", ours: login("alice", wrongPass), foreign: demand("chap"), files: passwords("alice office " + ourPassword),
			log: "stage user authentication", words: "Access denied", kind: wire.MsgCDN, sent: true, code: wire.CDNAdmin,
			other: wire.CDNLostCarrier, // its pppd has ended PPP
		},
		{
			name: "unknown-user", ours: login("bob", ourPassword), foreign: demand("chap"), files: passwords("alice office " + ourPassword),
			log: "stage user authentication", words: "wrong user name or password", kind: wire.MsgCDN, sent: true, code: wire.CDNAdmin,
			other: wire.CDNLostCarrier, // its pppd has ended PPP
		},
		{
			name: "their-password", ours: "template: chap", files: passwords("office * " + wrongPass),
			log: "stage user authentication", kind: wire.MsgCDN, sent: true, code: wire.CDNAdmin,
		},
		{
			name: "no-login", foreign: demand("chap"), files: passwords("alice office " + ourPassword),
			log: "stage user authentication", words: "peer refused to authenticate .it wants a login, and none is configured",
			kind: wire.MsgCDN, code: wire.CDNLostCarrier, other: wire.CDNAdmin, // its pppd ends PPP, and then its session
		},
	}
	l := lab.New(t)
	edge := l.Host("edge")
	calls := ""
	wires := map[string]*lab.Capture{}
	for i, r := range all {
		n := i + 1
		x := l.Host(r.name)
		l.Link(edge.At(fmt.Sprintf("10.1.%d.1/24", n)), x.At(fmt.Sprintf("10.1.%d.2/24", n)))
		wires[r.name] = x.Capture("edge")
		x.ForeignPeer(foreignLNS(n, r.foreign...), r.files...)
		secret := ""
		if r.secret != "" {
			secret = "secret: " + r.secret + ", "
		}
		calls += fmt.Sprintf("  %s: {peer: 10.1.%d.2, autostart: on, %sredial: {min: 1h, max: 1h}, ppp: {ipv4: request, interface: c%[2]d, %[4]s}}\n",
			strings.ReplaceAll(r.name, "-", "_"), n, secret, r.ours)
	}
	d := edge.L2TPD(fmt.Sprintf(`
server: {hostname: edge}
calls:
%s
ppp: {templates: {chap: {auth: [chap]}}}
users: {office: {password: %s}}
log: {level: debug}
`, calls, theirPass))
	for _, r := range all {
		call := strings.ReplaceAll(r.name, "-", "_")
		r.ended(t, l, d, "call="+call, wires[r.name])
		if e := d.Call(call).LastError; e == nil || e.Stage == "" || e.Text == "" {
			t.Errorf("%s: the call's last error is %+v", r.name, e)
		}
	}
	discreet(t, d)
}

// What is wrong at one end ends a call of xl2tpd to us at once, and our line in the log names the stage (P57, P124, P209, P256-P258,
// S52, S63).
func TestRefusalsOfXl2tpdCallsAreExplained(t *testing.T) {
	// long: a table
	t.Parallel() // it waits more than it works
	login := func(name, pass string) []string { return passwords(name + " * " + pass) }
	all := []refusal{
		{
			name: "other-secret", secret: tunnelSecret, foreign: []string{"name = rover"}, files: append(tunnelKey(otherSecret), login("rover", theirPass)...),
			log: "stage tunnel authentication", words: "the shared secret is not the same", kind: wire.MsgStopCCN, sent: true, code: wire.StopNotAuthorised,
		},
		{
			name: "they-check", secret: tunnelSecret, foreign: []string{"name = rover", "challenge = yes"}, files: append(tunnelKey(otherSecret), login("rover", theirPass)...),
			log: "stage tunnel", words: "the peer says: .*Invalid challenge authentication", kind: wire.MsgStopCCN, code: wire.StopError, error: wire.ErrCodeVendor,
		},
		{
			name: "no-secret", secret: tunnelSecret, foreign: []string{"name = rover"}, files: login("rover", theirPass),
			log: "stage tunnel", words: "the peer says: .*No secret key", kind: wire.MsgStopCCN, code: wire.StopError, error: wire.ErrCodeVendor,
		},
		{
			name: "ours-missing", foreign: []string{"name = rover", "challenge = yes"}, files: append(tunnelKey(tunnelSecret), login("rover", theirPass)...),
			log: "stage tunnel authentication: the peer asks for a secret, and none is configured here", kind: wire.MsgStopCCN, sent: true, code: wire.StopNotAuthorised,
		},
		{
			name: "pap-password", ours: "pap", foreign: []string{"name = rover"}, files: login("rover", wrongPass),
			log: "stage user authentication", kind: wire.MsgCDN, sent: true, code: wire.CDNAdmin,
		},
		{
			name: "chap-password", ours: "chap", foreign: []string{"name = rover"}, files: login("rover", wrongPass),
			log: "stage user authentication", kind: wire.MsgCDN, sent: true, code: wire.CDNAdmin,
		},
		{
			name: "unknown-user", ours: "chap", foreign: []string{"name = nobody"}, files: login("nobody", theirPass),
			log: "stage user authentication", kind: wire.MsgCDN, sent: true, code: wire.CDNAdmin,
		},
		{
			name: "refuses", ours: "chap", foreign: []string{"refuse authentication = yes"}, files: login("rover", theirPass),
			log: "stage LCP", words: "no authentication protocol could be agreed on", kind: wire.MsgCDN, sent: true, code: wire.CDNAdmin,
		},
		{
			name: "mute", ours: "chap", foreign: []string{"name = rover"}, files: login("rover", theirPass),
			log: "stage LCP", words: "the peer does not answer LCP", kind: wire.MsgCDN, sent: true, code: wire.CDNNoFraming,
		},
		{
			name: "full-pool", ours: "full", foreign: []string{"name = rover"}, files: login("rover", theirPass),
			log: "stage address", words: "address pool none is exhausted", kind: wire.MsgCDN, sent: true, code: wire.CDNNoFacilitiesTemp,
		},
		{
			name: "over-limit", ours: "chap", foreign: []string{"name = single"}, files: login("single", theirPass),
			log: "stage user authentication", words: "is logged in as often as he may be: 1", kind: wire.MsgCDN, sent: true, code: wire.CDNNoFacilitiesTemp,
		},
		{
			name: "stranger", foreign: []string{"name = rover"}, files: login("rover", theirPass),
			log: "tunnel refused: ", kind: wire.MsgStopCCN, sent: true, code: wire.StopNotAuthorised,
		},
	}
	l := lab.New(t)
	core := l.Host("core")
	var accept, secrets string
	them, wires := map[string]*lab.Host{}, map[string]*lab.Capture{}
	for i, r := range all {
		n := i + 1
		them[r.name] = l.Host(r.name)
		l.Link(core.At(fmt.Sprintf("10.2.%d.1/24", n)), them[r.name].At(fmt.Sprintf("10.2.%d.2/24", n)))
		if r.name != "stranger" {
			accept += fmt.Sprintf("  - {from: 10.2.%d.0/24, template: %s}\n", n, cmp.Or(r.ours, "chap"))
		}
		if r.secret != "" {
			secrets += fmt.Sprintf("  - {from: 10.2.%d.0/24, secret: %s}\n", n, r.secret)
		}
	}
	// Of the mute one, whatever is not a control message is lost.
	core.Run("nft", fmt.Sprintf("table inet lab { chain in { type filter hook prerouting priority raw; ip saddr 10.2.%d.2 udp dport 1701 @th,64,1 0 drop; }; }",
		1+slices.IndexFunc(all, func(r refusal) bool { return r.name == "mute" })))
	first := l.Host("first")
	l.Link(core.At("10.2.100.1/24"), first.At("10.2.100.2/24"))
	d := core.L2TPD(fmt.Sprintf(`
server: {mode: lns, hostname: core}
secrets:
%s
lns:
  accept:
%s
  - {from: 10.2.100.0/24, template: chap}
ppp:
  templates:
    pap: {auth: [pap], ipv4_local: 10.8.0.1, ipv4_pool: ips}
    chap: {auth: [chap], ipv4_local: 10.8.0.1, ipv4_pool: ips, restart: 1s, max_configure: 60}
    full: {auth: [chap], ipv4_local: 10.8.0.1, ipv4_pool: none}
pools: {ips: {ranges: [10.8.0.10-10.8.0.20]}, none: {ranges: [10.8.0.30]}}
users:
  rover: {password: %s}
  single: {password: %[3]s, max_sessions: 1}
  owner: {password: %[3]s, ipv4: 10.8.0.30}
log: {level: debug}
`, secrets, accept, theirPass))
	first.ForeignPeer(foreignLAC("10.2.100.1", "single", "autodial = yes"), login("single", theirPass)...)
	d.WaitSessions(1)
	settled(l, d, "single")
	for i, r := range all {
		x := them[r.name]
		wires[r.name] = x.Capture("core")
		x.ForeignPeer(foreignGlobal+fmt.Sprintf("[lac home]\nlns = 10.2.%d.1\nautodial = yes\n%s\n", i+1, strings.Join(r.foreign, "\n")), r.files...)
	}
	for i, r := range all {
		r.ended(t, l, d, fmt.Sprintf("peer=10.2.%d.2", i+1), wires[r.name])
	}
	d.WaitSessions(1)
	if up := d.Sessions(); up[0].User != "single" {
		t.Errorf("another session is left: %+v", up)
	}
	c := d.Status().Counters // S113; xl2tpd may dial again, so there may be more of each
	if c.TunnelAuthFailures < 1 || c.UserAuthFailures < 3 {
		t.Errorf("%d failures of tunnel authentication, %d of users'", c.TunnelAuthFailures, c.UserAuthFailures)
	}
	for _, cause := range []string{"auth-failed", "auth-refused", "lcp-no-answer", "user-limit"} {
		if c.SessionEnds[cause] == 0 {
			t.Errorf("no session ended by %s: %v", cause, c.SessionEnds)
		}
	}
	discreet(t, d)
}
