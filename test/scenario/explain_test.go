//go:build kernel

package scenario

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// failure is a set-up that fails: what is wrong with it, and what is said of that.
type failure struct {
	extra, ppp string   // of the call and of its link
	change     []string // pairs of old and new text in both configurations
	secrets    string   // of b
	drop       string   // an nft expression: packets that b must not get
	stage      string   // what l2tpctl says
	text       string
	a, b       string // the line of each; "" for none
	explainB   string // what b explains of its session, if it comes to one
}

func failures() map[string]failure {
	return map[string]failure{
		"wrong tunnel secret": {
			extra: "secret: not-the-right-one-at-all,", secrets: "secrets: [{from: any, secret: the-right-one-which-is-long}]",
			stage: "tunnel authentication", text: "secret",
			a: "stage tunnel authentication.*secret", b: "stage tunnel authentication.*(secret|challenge)",
		},
		"no tunnel secret": {
			secrets: "secrets: [{from: any, secret: the-right-one-which-is-long}]",
			stage:   "tunnel authentication", text: "secret",
			a: "stage tunnel authentication.*secret", b: "stage tunnel authentication.*(secret|challenge)",
		},
		"wrong password": {
			ppp:   "user: alice, password: looking-glass, ipv4: request",
			stage: "user authentication", text: "login incorrect",
			a: "stage user authentication.*login incorrect", b: `stage user authentication.*wrong password of user .*alice`,
			explainB: `(?s)user alice.*in stage user authentication.*wrong password of user "alice".*try `,
		},
		"RADIUS dead": {
			ppp:     "user: alice, password: wonderland, ipv4: request",
			change:  []string{"auth: [chap], ipv4_pool", "users: radius, auth: [chap], ipv4_pool"},
			secrets: "radius: {servers: [{address: 10.0.0.9, secret: the-right-one-of-radius, timeout: 300ms, tries: 1}]}",
			stage:   "user authentication", text: "authentication is not available",
			a: "stage user authentication.*not available", b: "stage user authentication.*no RADIUS server has answered: 10.0.0.9",
			explainB: `(?s)user alice.*in stage user authentication.*no RADIUS server has answered: 10.0.0.9.*try .*l2tpctl status`,
		},
		"no address": {
			ppp:    "user: alice, password: wonderland, ipv4: 192.168.99.1",
			change: []string{"auth: [chap], ipv4_pool", "ipv6: off, auth: [chap], ipv4_pool", "{lan: {auth: none,", "{lan: {auth: none, ipv6: off,"},
			stage:  "address", text: "the peer ended PPP: no network protocol running",
			a: "stage address.*no network protocol", b: "stage address.*192.168.99.1",
			explainB: `(?s)user alice.*in stage address.*cause .*192.168.99.1.*try `,
		},
		"unknown user": {
			ppp:   "user: bob, password: wonderland, ipv4: request",
			stage: "user authentication", text: "login incorrect",
			a: "stage user authentication.*login incorrect", b: `stage user authentication.*there is no user .*bob`,
		},
		"no login at all": {
			ppp: "ipv4: request", stage: "LCP", text: "authentication",
			a: "call not established: stage LCP.*authentication", b: "call not established: stage LCP.*authentication",
			explainB: `(?s)in stage LCP.*authentication.*try .*login protocol`,
		},
		"no accept entry": {
			change: []string{"from: any, template", "from: 192.0.2.1, template"},
			stage:  "tunnel authentication", text: "the peer says: not authorised (4)",
			a: "stage tunnel authentication.*not authorised", b: "tunnel refused: no accept entry and no call for 10.0.0.1",
		},
		"nobody there": {
			extra: "tunnel: {retransmit: 100ms, max_retransmits: 2},", drop: "udp dport 1701", stage: "transport", text: "no answer from 10.0.0.2:1701",
			a: "stage transport.*no answer from 10.0.0.2:1701",
		},
		"no name": {
			change: []string{"10.0.0.2", "nowhere.invalid"},
			stage:  "transport", text: "nowhere.invalid",
			a: "stage transport.*nowhere.invalid",
		},
		"LCP without an answer": { // everything that is not a control message is lost
			ppp: "user: alice, password: wonderland", drop: "udp dport 1701 @th,64,1 0", stage: "LCP", text: "does not answer LCP",
			a: "stage LCP.*does not answer LCP", b: "stage LCP.*(does not answer LCP|the peer says)",
		},
	}
}

// Each failure of a set-up is explained by one line in the log of each box that has to do with it, and by what l2tpctl says and
// explains of the call: the stage, the other side's words, and what to try.
func TestFailuresAreExplainedInOneLine(t *testing.T) {
	const dialin = `
lns: {accept: [{from: any, template: dialin}]}
pools: {ips: {ranges: [192.168.20.200]}}
users: {alice: {password: wonderland}}
`
	// a calls b: extra is for the call, ppp for its link.
	const calls = `
server: {hostname: a}
calls:
  remote: {peer: 10.0.0.2, redial: {min: 1h, max: 1h}, EXTRA
    ppp: {template: lan, routes: [192.168.20.0/24], PPP}}
ppp: {templates: {lan: {auth: none, restart: 1s}}}
`
	const answers = `
server: {hostname: b}
ppp: {templates: {dialin: {auth: [chap], ipv4_pool: ips, ipv4_local: 192.168.20.1, restart: 1s}}}
` + dialin
	p := newPair(t)
	for name, c := range failures() {
		t.Log(name)
		if c.drop != "" {
			p.b.Run("nft", "table inet lab { chain in { type filter hook prerouting priority raw; "+c.drop+" drop; }; }")
		}
		change := strings.NewReplacer(append(c.change, "EXTRA", c.extra, "PPP", c.ppp)...)
		b := p.b.L2TPD(change.Replace(answers) + c.secrets)
		a := p.a.L2TPD(change.Replace(calls))
		markA, markB := a.Mark(), b.Mark()
		a.Ctl("call", "up", "remote")
		var call *api.Call
		p.Eventually(name+": end of the attempt", func() error {
			if call = a.Call("remote"); call.LastError == nil || call.State == api.CallDialling {
				return errNotYet
			}
			return nil
		})
		if e := call.LastError; e.Stage != c.stage || !strings.Contains(e.Text+e.Peer, c.text) {
			t.Errorf("%s: l2tpctl says stage %q, %q; want %q, %q", name, e.Stage, e.Text, c.stage, c.text)
		}
		explained(t, a, markA, c.a)
		explained(t, b, markB, c.b)
		told(t, name, a.Ctl("explain", "call", "remote"), "(?s)in stage "+c.stage+`\n.*cause .*`+regexp.QuoteMeta(c.text)+`.*\n  try `)
		if c.explainB != "" {
			told(t, name, b.Ctl("explain", "peer", "10.0.0.1"), c.explainB)
		}
		if c.drop != "" {
			p.b.Run("nft", "delete table inet lab")
		}
		a.Stop()
		b.Stop()
	}
}

// told checks what l2tpctl explains.
func told(t *testing.T, name, text, want string) {
	t.Helper()
	if !regexp.MustCompile(want).MatchString(text) {
		t.Errorf("%s: explained is\n%s\nwant %s", name, text, want)
	}
}

var errNotYet = errors.New("not yet")

var warning = regexp.MustCompile(`(?m)^\S+ (WARN|ERROR) .*$`)

// explained checks that a log has exactly one warning since a mark, and which.
func explained(t *testing.T, d *lab.Daemon, mark int, want string) {
	t.Helper()
	if want != "" {
		d.WaitLogSince(mark, "(WARN|ERROR) .*"+want)
	}
	refused := false
	lines := slices.DeleteFunc(warning.FindAllString(d.LogSince(mark), -1), func(line string) bool {
		again := refused && strings.Contains(line, "tunnel refused: no accept entry") // an SCCRQ that came again
		refused = refused || strings.Contains(line, "tunnel refused: no accept entry")
		return again || strings.Contains(line, "RADIUS server does not answer") // whomever it was asked about
	})
	n := 1
	if want == "" {
		n = 0
	}
	if len(lines) != n {
		t.Errorf("%s: %d lines, want %d:\n%s", d.Name, len(lines), n, strings.Join(lines, "\n"))
	}
	for _, secret := range []string{"the-right-one", "not-the-right", "wonderland", "looking-glass"} {
		if strings.Contains(d.Log(), secret) {
			t.Errorf("%s: the log has %q", d.Name, secret)
		}
	}
}

// S156: an exhausted pool is named on the box that has it; the caller hears that there is no address.
func TestExhaustedPoolIsNamed(t *testing.T) {
	p := newPair(t)
	b := p.b.L2TPD(`
server: {hostname: b}
ppp: {templates: {dialin: {auth: none, ipv4_pool: ips, ipv4_local: 192.168.20.1, ipv6: off}}}
lns: {accept: [{from: any, template: dialin}]}
pools: {ips: {ranges: [192.168.20.200]}}
`)
	a := p.a.L2TPD(`
server: {hostname: a}
calls:
  one: {peer: 10.0.0.2, redial: {min: 1h, max: 1h}, ppp: {template: lan, ipv4: request, ipv6: off}}
  two: {peer: 10.0.0.2, redial: {min: 1h, max: 1h}, ppp: {template: lan, ipv4: request, ipv6: off}}
ppp: {templates: {lan: {auth: none, ipv6: off}}}
`)
	a.Ctl("call", "up", "one", "--wait", "60s")
	out, err := a.TryCtl("call", "up", "two", "--wait", "60s")
	if err == nil || !strings.Contains(out, "address") {
		t.Errorf("call two: %v, %s", err, out)
	}
	b.WaitLog("WARN .*stage address.*address pool ips is exhausted")
	a.WaitLog("WARN .*stage address")
	a.Ctl("call", "down", "one")
	b.WaitSessions(0)
	a.Ctl("call", "up", "two", "--wait", "60s") // the address is free again
}
