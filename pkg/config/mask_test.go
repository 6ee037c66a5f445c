package config

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// slips are the single characters that a slip of the keyboard adds to a configuration.
var slips = []string{"{", "}", "[", "]", `"`, "'", ":", ": ", ",", "#", " #", "@", "&", "*", "|", ">", "-", "- ", "%", "!", "?", "? ", "=", " ", "\t", "\n", "\r", "\u2028"}

// One slip at any place of a configuration, or one missing character: whatever the error is, no secret shows in it.
func TestNoSlipShowsASecret(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"short form": "secret: hushhush\n",
		"rules":      "secrets:\n  - {from: any, secret: hushhush}\n  - from: 10.0.0.1\n    secret: 'hushhush'\n",
		"users":      "users:\n  bob:\n    password: |\n      hushhush\n      hushhush\n  eve: {password: \"hushhush\"}\n",
		"lac rules":  "lac: {rules: [{match: {realm: a}, lns: [{secret: hushhush}],\n  secret: hushhush}]}\n",
		"radius":     "radius:\n  coa:\n    clients:\n      - secret: 'hushhush'\n",
		"calls":      "calls:\n  a:\n    peer: x\n    secret: hushhush\n    ppp: {password:\n      hushhush}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range len(text) + 1 {
				shows(t, text[:i]+text[min(i+1, len(text)):])
				for _, s := range slips {
					shows(t, text[:i]+s+text[i:])
				}
			}
		})
	}
}

// shows fails the test when what is said of a configuration has a part of its secrets.
func shows(t *testing.T, text string) {
	t.Helper()
	c, err := Parse("x.yaml", []byte(text), testEnv())
	var said Errors
	if err != nil {
		errors.As(err, &said)
	} else {
		said = c.Warnings
	}
	if strings.Contains(said.Error(), "hush") {
		t.Errorf("%q:\n%v", text, said)
	}
}

// What is written where it does not belong: under another name, without its key, in another shape, or behind another value.
func TestNoMisplacedSecretShows(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"hush", "- hush", "secret:hush", "# hush\nmode: x", "? hush", "--- hush", "secret: x\n---\nhush", "secret: x\n--- hush",
		"psk: hush", "key: hush", "pw: [hush]", "shared_key: {a: hush, hush: b}", "sever: {secret: hush}", "radius: {secret: hush}", "ipsec: hush",
		"secrets: hush", "secrets: [hush]", "secrets: {from: any, psk: hush}", "secrets: [{from: any secret:hush}]", "secrets: [{from: any, secret:hush}]",
		"secrets: [{from: {secret: hush}}]", "secrets: [{secret: #hush\n}]", "secrets: [{secret: &hush }]", "secrets: [{secret: &hush x}]",
		"secrets: [{secret: !hush x}]", "secrets: [{secret: !!null hush}]", "secrets: [{secret: *hush}]", "secrets: [{secret: {file: [hush]}}]",
		"secrets: [{secret: {hush: x}}]", "secrets: [{secret: a, secret: hush}]", "secrets: [{<<: {secret: hush}}]",
		"secrets:\n  - secret: x\n    psk: >\n      hush\n      hush\n    from: 1", "secrets:\n  - secret:\n      hush\n      hush\n    from: 1",
		"users: hush", "users: [hush]", "users: {bob: hush}", "users: {bob: [hush]}", "users: {bob:hush}", "users: {bob hush}", "users: [bob: hush]",
		"users: {bob: {pasword: hush}}", "users: {bob: {pwd: hush}}", "users: {bob: {password hush}}", "users: {bob: {password:hush}}",
		"users: {bob: {password: a, ipv4: 10.0.0.1 psk=hush}}", "users: {bob: {password: a, hush}}", "users:\n  bob:\n    password:hush",
		"calls: {a: {peer: 1.2.3.4 secret=hush}}", "calls: {a: {peer: any, method: icrq secret:hush}}", "calls: {a: {peer: any, ppp: {ipv4: x pass:hush}}}",
		"lac: hush", "lac: {rules: hush}", "lac: {rules: [hush]}", "lac: {rules: [{match: {realm: x, secret: hush}}]}", "lac: {rules: [{match: {hush: x}}]}",
		"lac: {rules: [{match: {realm: x secret=hush}}]}", "lac: {rules: [{match: all secret:hush}]}", "lac: {rules: [{lns: hush}]}", "lac: {rules: [{lns: [hush]}]}",
		"lac: {rules: [{lns: {secret: hush}}]}", "lac: {rules: [{lns: [{address: a, psk: hush}]}]}", "lac: {rules: [{action: tunnel secret:hush}]}",
		"lac: {rules: [{timeout: hush}]}", "lac: {access: [{tty: {dial: [{hush: hush}]}}]}", "lac: {access: [{pppoe: {secret: hush}}]}",
		"radius: hush", "radius: {servers: hush}", "radius: {servers: [{address: a secret=hush}]}", "radius: {servers: {a: {secret: hush}}}",
		"radius: {coa: hush}", "radius: {coa: {clients: [{from: any, key: hush}]}}", "radius: {spool: /a secret:hush}",
		"calls: {a: {peer: any, ppp: {template: lan password:hush}}}", "ppp: {templates: {t: {auth: chap psk:hush, users: local pw:hush}}}",
	} {
		shows(t, text)
	}
}

// CRLF is a line end as good as LF: the places and masks are the same.
func TestLineEndsOfOtherSystems(t *testing.T) {
	t.Parallel()
	data := inputs(t, "testdata/bad")["testdata/bad/secret-lines.yaml"]
	_, want := Parse("x.yaml", data, testEnv())
	_, got := Parse("x.yaml", bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n")), testEnv())
	if diff := cmp.Diff(want.Error(), got.Error()); diff != "" {
		t.Errorf("(-LF +CRLF):\n%s", diff)
	}
}
