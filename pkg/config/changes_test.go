package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("x.yaml", []byte(text), testEnv())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// S72, S78: what a reload does is told before, with its class, and without a secret.
func TestChangesListsWhatDiffersWithItsReloadClass(t *testing.T) {
	t.Parallel()
	old := parse(t, `
server: {checksum: on, tunnel: {hello: 60s}}
secrets: [{from: 10.0.0.0/8, secret: hushhushhushhush}, {from: any, secret: hushhushhushhush}, {from: 10.0.0.1, secret: none}]
calls:
  Branch: {peer: 192.0.2.1, secret: hushhushhushhush, autostart: on, ppp: {routes: [192.168.20.0/24], ipv4: request}}
  gone: {peer: 192.0.2.2, secret: none}
  wait: {peer: 192.0.2.3, secret: none}
lns: {accept: [{from: any, template: t}]}
ppp: {templates: {t: {auth: none}, u: {auth: chap}}}
pools: {p: {ranges: 10.0.0.1-10.0.0.9}}
users: {u: {password: hush}, "a.b": {password: hush}}
log: {level: info}
`)
	next := parse(t, `
server: {checksum: off, tunnel: {hello: never}}
secrets: [{from: any, secret: hushhushhushhush2}, {from: 10.0.0.1, secret: none}, {from: any, host_name: X, secret: none}]
calls:
  branch: {peer: 192.0.2.1, secret: hushhushhushhush, compat: pre13, ppp: {routes: [192.168.20.0/24, 192.168.21.0/24], ipv4: 10.0.0.1}}
  wait: {peer: any, tunnel: {hello: never}}
  new: {peer: 192.0.2.4, secret: none, tunnel: {hello: never}}
lns: {accept: [{from: any, template: u, max_sessions: 5}, {from: 10.0.0.1, template: u}]}
ppp: {templates: {t: {auth: either, idle_timeout: 60s}, u: {auth: chap}}}
pools: {p: {ranges: 10.0.0.1-10.0.0.10}}
users: {u: {password: hush2}}
log: {level: debug}
api: {group: admin}
metrics: {listen: 127.0.0.1}
`)
	var got []string
	for _, c := range old.Changes(next) {
		got = append(got, c.String())
	}
	want := []string{
		"server.checksum: on -> off (daemon-restart)",
		"server.tunnel.hello: 1m -> never (tunnel-restart)",
		"secrets[10.0.0.0/8]: removed (tunnel-restart)",
		"secrets[any].secret: *** -> *** (tunnel-restart)",
		"secrets[any x]: added (tunnel-restart)",
		"lns.accept[any].template: t -> u (new-sessions)",
		"lns.accept[any].max_sessions: unlimited -> 5 (live)",
		"lns.accept[10.0.0.1]: added (tunnel-restart)",
		"calls.branch.compat: rfc2661 -> pre13 (tunnel-restart)",
		"calls.branch.autostart: on -> off (live)",
		"calls.branch.tunnel.hello: 1m -> never (tunnel-restart)",
		"calls.branch.ppp.interface: Branch -> branch (new-sessions)",
		"calls.branch.ppp.ipv4: request -> 10.0.0.1 (new-sessions)",
		"calls.branch.ppp.routes: [192.168.20.0/24] -> [192.168.20.0/24, 192.168.21.0/24] (new-sessions)",
		"calls.gone: removed (live)",
		"calls.new: added (live)",
		"calls.wait.peer: 192.0.2.3 -> any (tunnel-restart)",
		"calls.wait.tunnel.hello: 1m -> never (tunnel-restart)",
		"ppp.templates.t.auth: none -> [CHAP-MD5, PAP] (new-sessions)",
		"ppp.templates.t.idle_timeout: never -> 1m (new-sessions)",
		"pools.p.ranges: [10.0.0.1-10.0.0.9] -> [10.0.0.1-10.0.0.10] (new-sessions)",
		`users."a.b": removed (new-sessions)`,
		"users.u.password: *** -> *** (new-sessions)",
		"api.group: l2tpd -> admin (daemon-restart)",
		"log.level: info -> debug (live)",
		"metrics.listen: [] -> [127.0.0.1:9711] (daemon-restart)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(strings.Join(got, "\n"), "hush") {
		t.Error("a secret shows")
	}
	if same := old.Changes(old); len(same) > 0 {
		t.Errorf("differs from itself: %v", same)
	}
}

// The LAC and RADIUS: entries by what they are for, those of an LNS within their rule, in whatever order they stand.
func TestChangesOfLACAndRADIUSNameTheirEntries(t *testing.T) {
	t.Parallel()
	old := parse(t, `
lac:
  access: [{pppoe: {interface: eth1, template: t}}, {tty: {device: /dev/ttyS0, template: t}}]
  rules:
    - {match: {realm: a}, action: tunnel, lns: [{address: 192.0.2.1}, {address: 192.0.2.2}], secret: hushhushhushhush}
    - {match: all, action: tunnel, lns: [{address: 192.0.2.1}], secret: hushhushhushhush}
    - {match: local, action: reject}
ppp: {templates: {t: {users: [local, radius]}}}
radius:
  servers: [{address: 192.0.2.9, secret: hushhushhushhush}]
  coa: {listen: 0.0.0.0, clients: [{from: 192.0.2.9, secret: hushhushhushhush}]}
`)
	next := parse(t, `
lac:
  lockout: 2m
  access: [{tty: {device: /dev/ttyS1, template: t}}, {pppoe: {interface: eth1, template: t, max_sessions: 5}}]
  rules:
    - {match: any-realm, action: dns, secret: none}
    - {match: all, action: local, template: t}
    - {match: {realm: A.}, action: tunnel, lns: [{address: 192.0.2.2, weight: 3}, {address: 192.0.2.3}], secret: hushhushhushhush2, proxy_auth: off, tunnel: {hello: 5s}}
ppp: {templates: {t: {users: [radius]}}}
radius:
  servers: [{address: 192.0.2.9, secret: hushhushhushhush, message_authenticator: accept-missing, logins: on}, {address: 192.0.2.10, secret: hushhushhushhush}]
  interim: 5m
  spool_size: 1GiB
  coa: {listen: "0.0.0.0:3800", clients: [{from: 192.0.2.9, secret: hushhushhushhush2}]}
`)
	var got []string
	for _, c := range old.Changes(next) {
		got = append(got, c.String())
	}
	want := []string{
		"lac.lockout: 1m -> 2m (new-sessions)",
		"lac.access[eth1].pppoe.max_sessions: unlimited -> 5 (new-sessions)",
		"lac.access[/dev/ttyS0]: removed (new-sessions)",
		"lac.access[/dev/ttyS1]: added (new-sessions)",
		"lac.rules[realm a].secret: *** -> *** (new-sessions)",
		"lac.rules[realm a].proxy_auth: on -> off (new-sessions)",
		"lac.rules[realm a].tunnel.hello: 1m -> 5s (new-sessions)",
		"lac.rules[realm a].lns[192.0.2.1]: removed (new-sessions)",
		"lac.rules[realm a].lns[192.0.2.2].weight: 1 -> 3 (new-sessions)",
		"lac.rules[realm a].lns[192.0.2.3]: added (new-sessions)",
		"lac.rules[all].action: tunnel -> local (new-sessions)",
		"lac.rules[all].template: nothing -> t (new-sessions)",
		"lac.rules[all].secret: *** -> nothing (new-sessions)",
		"lac.rules[all].lns[192.0.2.1]: removed (new-sessions)",
		"lac.rules[local]: removed (new-sessions)",
		"lac.rules[any-realm]: added (new-sessions)",
		"ppp.templates.t.users: [local, radius] -> [radius] (new-sessions)",
		"radius.interim: none -> 5m (new-sessions)",
		"radius.spool_size: 64MiB -> 1GiB (new-sessions)",
		"radius.coa.listen: [0.0.0.0:3799] -> [0.0.0.0:3800] (daemon-restart)",
		"radius.servers[192.0.2.9 port 1812].message_authenticator: require -> accept-missing (new-sessions)",
		"radius.servers[192.0.2.10 port 1812]: added (new-sessions)",
		"radius.coa.clients[192.0.2.9].secret: *** -> *** (new-sessions)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if same := next.Changes(next); len(same) > 0 {
		t.Errorf("differs from itself: %v", same)
	}
}

// Every value of the table that the file can change is one that Changes sees.
func TestChangesSeesEveryField(t *testing.T) {
	t.Parallel()
	for _, f := range table() {
		if f.kind == kindValue && f.at == nil && f.path != "secret" {
			t.Errorf("%s: no accessor", f.path)
		}
	}
	data := inputs(t, "testdata/good")["testdata/good/everything.yaml"]
	all := parse(t, string(data))
	bare := parse(t, `
server: {mode: lns, listen: "[::]:1701"}
secrets: [{from: 10.0.0.0/8, host_name: branch, secret: none}]
lns: {accept: [{from: 10.0.0.0/8, host_name: branch, template: "0"}]}
lac:
  access: [{pppoe: {interface: eth1.100, template: v6only}}, {tty: {device: /dev/ttyS0, template: v6only}}, {tty: {device: /dev/ttyS1, template: v6only}}]
  rules:
    - {match: {realm: corp.example}, action: tunnel, lns: [{address: "2001:db8::7"}]}
    - {match: {realm: tunnel.example}, action: tunnel, lns: [{address: lns.example.net}]}
    - {match: any-realm, action: reject}
    - {match: local, action: reject}
    - {match: all, action: reject}
    - {match: unauthenticated, action: tunnel, lns: [{address: lac.example.net}]}
calls: {remote: {peer: any}, isdn: {peer: any}}
ppp: {templates: {"0": {}, v6only: {}, program: {}}}
radius:
  servers: [{address: 192.0.2.9, port: 1645, secret: x}, {address: radius.example.net, secret: x}]
  coa: {listen: "[::]:3799", clients: [{from: 192.0.2.0/24, secret: x}]}
pools: {ips: {ranges: 10.9.9.9}, links: {prefixes: ["fd00::/48"], prefix_length: 56}}
users: {remuser: {password: x}}
`)
	seen := map[string]bool{}
	named := strings.NewReplacer("calls.remote", "calls.*", "calls.isdn", "calls.*", "users.remuser", "users.*", "pools.ips", "pools.*", "pools.links", "pools.*",
		"templates.0", "templates.*", "templates.v6only", "templates.*", "templates.program", "templates.*", "templates.access", "templates.*")
	entry := regexp.MustCompile(`\[[^]]+\]`)
	for _, c := range bare.Changes(all) {
		seen[entry.ReplaceAllString(named.Replace(c.Path), "[]")] = true
	}
	// The key of an entry does not change, it makes another entry; the mode is the same in both.
	for _, key := range []string{
		"secret", "secrets[].from", "secrets[].host_name", "lns.accept[].from", "lns.accept[].host_name", "lns.accept[].template", "server.mode",
		"lac.access[].pppoe.interface", "lac.access[].tty.device", "lac.rules[].match", "lac.rules[].lns[].address", "lac.rules[].lns[].port",
		"radius.servers[].address", "radius.servers[].port", "radius.coa.clients[].from",
	} {
		seen[key] = true
	}
	for _, f := range table() {
		if f.kind == kindValue && !seen[f.path] {
			t.Errorf("%s: a change is not seen", f.path)
		}
	}
}

// What is one of some words is shown as that word, and not as the number that stands for it.
func TestChangesOfWordsAreWords(t *testing.T) {
	t.Parallel()
	seen := map[reflect.Type]bool{}
	var walk func(x reflect.Type)
	walk = func(x reflect.Type) {
		if seen[x] || !strings.HasPrefix(x.PkgPath(), "github.com/l2tpd/") && x.PkgPath() != "" {
			return
		}
		seen[x] = true
		kind := x.Kind()
		if kind == reflect.Struct {
			for i := range x.NumField() {
				walk(x.Field(i).Type)
			}
		}
		if slices.Contains([]reflect.Kind{reflect.Map, reflect.Slice, reflect.Array, reflect.Pointer}, kind) {
			walk(x.Elem())
		}
		if kind == reflect.Uint8 && x.PkgPath() != "" && !x.Implements(reflect.TypeFor[fmt.Stringer]()) {
			t.Errorf("%v has no words", x)
		}
	}
	if walk(reflect.TypeFor[policy.Policy]()); !seen[reflect.TypeFor[policy.Engine]()] || !seen[reflect.TypeFor[policy.Match]()] {
		t.Error("not everything was looked at")
	}
}

// The table itself is whole: every default and example is right, every row has a text, the rows of the manual that a key must
// answer for are there.
func TestTableIsWhole(t *testing.T) {
	t.Parallel()
	rows := map[string]bool{}
	for _, f := range table() {
		for r := range strings.SplitSeq(f.rows, ", ") {
			rows[r] = true
			if from, to, ok := strings.Cut(r, "-S"); ok {
				for n := atoi(t, from[1:]); n <= atoi(t, to); n++ {
					rows[fmt.Sprint("S", n)] = true
				}
			}
		}
		if f.doc == "" || f.kind == kindRefused && f.advice == "" {
			t.Errorf("%s: no text", f.path)
		}
		if f.kind != kindValue {
			continue
		}
		for _, text := range []string{f.def, f.example} {
			if text == "" {
				continue
			}
			w := newWalker(newSource("x", nil), testEnv(), ".")
			w.c = &Config{Policy: emptyPolicy()}
			n := parseDefault(text)
			if n == nil {
				t.Errorf("%s: %q is not YAML", f.path, text)
				continue
			}
			object := objectOf(f)
			if f.key() == "borrow" {
				w.decode(byPath("calls.*.ppp.ipv4"), parseDefault("unnumbered"), object)
			}
			if w.decode(f, n, object); len(w.found) > 0 {
				t.Errorf("%s: %v", f.path, w.found)
			}
		}
		if f.def == "" && f.example == "" {
			t.Errorf("%s: neither default nor example", f.path)
		}
	}
	for _, r := range strings.Fields("S13 S14 S19 S27 S28 S29 S31 S32 S33 S34 S37 S38 S39 S42 S44 S46 S47 S48 S50 S51 S52 S59 S60 S61 S62 S63 S64 S65 S66 S67 S68 S69 " +
		"S70 S71 S72 S73 S76 S78 S79 S80 S81 S82 S87 S88 S89 S90 S91 S92 S93 S94 S95 S96 S97 S98 S99 S100 S101 S102 S103 S104 S107 S150 S151 S152 S153 S154 S155 S156 S157 S158 S159 S160 S161 S162 S163 S164 S165 S166 S167 S168 S177 S180 S182 S184 S186 S188") {
		if !rows[r] {
			t.Errorf("%s has no key", r)
		}
	}
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func byPath(path string) *field {
	for _, f := range table() {
		if f.path == path {
			return f
		}
	}
	return nil
}
