//go:build kernel

package scenario

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/test/manual"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
	"github.com/l2tpd/l2tpd/test/scenario/subscriber"
)

// configured are secrets by the keys of the configuration that say them. Those of two ends of a tunnel are one.
var configured = map[string]string{
	"secret":                      "qT7wVn2LkXz9bRfHs4JmCg8p",
	"calls.*.secret":              "qT7wVn2LkXz9bRfHs4JmCg8p",
	"secrets[].secret":            "Zb3yPd8KtMc6vQxWj5NhGr2f",
	"lac.rules[].secret":          "Zb3yPd8KtMc6vQxWj5NhGr2f",
	"lac.rules[].lns[].secret":    "hJ9sRw4BnFk7gTzLm2XcVq6d",
	"lac.rules[].radius_password": "mX5kCt8VwZr3fHnPb7QjLd2g",
	"calls.*.ppp.password":        "vG2nTf6QxJw9zKhMc4RsBb8p",
	"users.*.password":            "wK8rLz3DgPn6tBvXf9HqJm4c",
	"radius.servers[].secret":     "fN4jQb7TzGk2xWcRm8VhPs6d",
	"radius.coa.clients[].secret": "pD6tHx9MvKw3nZgBj4QfRc7r",
}

// Secrets that no configuration has: of users whom a RADIUS server knows, of a tunnel that it names, and what somebody has got wrong.
const (
	radiusPass = "rW3bKx8NfTz5gVhQm2JcPd9s"
	wrongLogin = "tZ9gMv4XkRb7wHnCf3QjLs6p"
	wrongGuess = "xC7hPn2WzTk9fBvRg5MqJd8t"
	nextSecret = "bR8mWf5GxZt2kJvNc9HqPs4d"
)

// traces are the forms in which a secret may show.
func traces(secret string) map[string]string {
	b := []byte(secret)
	all := map[string]string{
		"text": secret, "hexadecimal": hex.EncodeToString(b), "octets": strings.Trim(fmt.Sprintf("%d", b), "[]"),
		"hexadecimal with spaces": fmt.Sprintf("% x", b), "hexadecimal with colons": strings.ReplaceAll(fmt.Sprintf("% x", b), " ", ":"),
	}
	for shift := range 3 { // an encoder takes three octets at a time, and another may stand before the secret
		text := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), b...))
		end := len(text)
		if (shift+len(b))%3 != 0 { // its last character depends on what follows
			end--
		}
		all[fmt.Sprintf("base64, shifted by %d", shift)] = text[(shift*8+5)/6 : end]
	}
	return all
}

// secretsIn are those of the secrets that a text has, with the forms that they have there.
func secretsIn(text string, secrets ...string) (found []string) {
	lower := strings.ToLower(text)
	for _, s := range secrets {
		for form, trace := range traces(s) {
			if strings.Contains(text, trace) || strings.HasPrefix(form, "hexadecimal") && strings.Contains(lower, trace) {
				found = append(found, s+" as "+form)
			}
		}
	}
	return found
}

// secretLAC and secretLNS have the secrets by their keys.
const secretLAC = `
server: {mode: both, hostname: lac}
secret: <secret>
lns: {accept: [{from: 10.4.0.2, template: back}]}
lac:
  access:
    - {pppoe: {interface: homes, template: access}}
  rules:
    - {match: {realm: plain.example}, action: tunnel, secret: <lac.rules[].secret>, lns: [{address: 10.4.0.2}]}
    - {match: {realm: hidden.example}, action: tunnel, host_name: hider, lns: [{address: 10.4.0.4, hide_avps: on, secret: <lac.rules[].lns[].secret>}]}
    - {match: {realm: asked.example}, action: radius, radius_user: domain, radius_password: <lac.rules[].radius_password>}
    - {match: {realm: wrong.example}, action: tunnel, host_name: stranger, secret: ` + wrongGuess + `, lns: [{address: 10.4.0.3}]}
    - {match: all, action: local, template: here}
ppp:
  templates:
    access: {auth: [mschapv2, chap, pap]}
    here: {users: [local, radius], ipv4_local: 10.9.0.1, ipv4_pool: ips, ipv6: off}
    back: {auth: [pap], ipv4_local: 10.9.0.1, ipv4_pool: ips, ipv6: off}
pools: {ips: {ranges: [10.9.0.10-10.9.0.99]}}
users: {branch: {password: <calls.*.ppp.password>}, carol: {password: <users.*.password>}}
radius:
  spool: /run/l2tpd/accounting
  servers: [{address: 10.5.0.2, secret: <radius.servers[].secret>, ` + quick + `}]
  coa: {listen: ["0.0.0.0:3799"], clients: [{from: 10.5.0.2, secret: <radius.coa.clients[].secret>}]}
log: {level: debug}
`

const secretLNS = `
server: {mode: both, hostname: lns, hide_avps: on}
secrets:
  - {host_name: hider, secret: <lac.rules[].lns[].secret>}
  - {host_name: gold-lac, secret: ` + tunnelSecret + `}
  - {from: any, secret: <secrets[].secret>}
calls:
  back: {peer: 10.4.0.8, secret: <calls.*.secret>, ppp: {ipv4: request, ipv6: off, user: branch, password: <calls.*.ppp.password>}}
  refused: {peer: 10.4.0.9, secret: ` + wrongGuess + `, redial: {min: 1h, max: 1h}}
lns:
  accept:
    - {from: 10.4.0.1, host_name: hider, template: outside}
    - {from: 10.4.0.1, template: dialin}
ppp:
  templates:
    dialin: {auth: [chap, pap], ipv4_local: 10.8.0.1, ipv4_pool: ips, ipv6: off}
    outside: {engine: pppd, auth: [chap, pap], ipv4_local: 10.8.0.1, ipv4_pool: ips, ipv6: off}
pools: {ips: {ranges: [10.8.0.10-10.8.0.99]}}
users:
  "pap@plain.example": {password: <users.*.password>}
  "chap@plain.example": {password: <users.*.password>}
  "chap@hidden.example": {password: <users.*.password>}
  "chap@asked.example": {password: <users.*.password>}
log: {level: debug}
`

// withSecrets puts the secrets in. It fails the test for a secret of the configuration that is in none of the texts.
func withSecrets(t *testing.T, texts ...string) []string {
	t.Helper()
	var pairs []string
	for key, typ := range manual.Keys(t, "../..") {
		if !strings.HasPrefix(typ, "secret") {
			continue
		}
		if !slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, "<"+key+">") }) || configured[key] == "" {
			t.Errorf("the configuration has a secret %s, which this test does not know", key)
		}
		pairs = append(pairs, "<"+key+">", configured[key])
	}
	if len(pairs) != 2*len(configured) {
		t.Errorf("%d secrets of the configuration are known, not %d", len(pairs)/2, len(configured))
	}
	for i := range texts {
		texts[i] = strings.NewReplacer(pairs...).Replace(texts[i])
	}
	return texts
}

// operators are the command lines of somebody who looks at everything. SESSION is one that is up, TUNNEL its tunnel, PEER its peer.
var operators = []string{
	"status --counters", "tunnel list -o wide", "tunnel show TUNNEL", "session list -o wide", "session show SESSION", "call list -o wide", "events",
	"explain session SESSION", "explain peer PEER", "top --once --interval 1s", "accept list -o wide", "lac rules -o wide", "pool list -o wide", "pool show ips",
	"peer list -o wide", "peer show PEER", "radius -o wide", "counters", "config show -o wide", "debug list -o wide", "version",
}

// unasked are the commands that tell nothing of the daemon, or are used elsewhere in the test.
var unasked = []string{"capture", "completion", "help", "reload"}

// seen is all that somebody can see of a daemon without l2tpctl, by where.
func seen(t *testing.T, d *lab.Daemon, film *lab.Film) map[string]string {
	t.Helper()
	all := d.State()
	delete(all, "/accounting/lock") // which is empty
	all["log"], all["capture"] = d.Log(), string(film.Cut())
	for _, path := range apiPaths(t) {
		all["GET "+path] = d.Get(strings.Replace(path, "PEER", d.Tunnels()[0].Remote.Addr().String(), 1))
	}
	return all
}

// operated is what l2tpctl says of a daemon, by its command lines.
func operated(t *testing.T, d *lab.Daemon) map[string]string {
	t.Helper()
	all := map[string]string{}
	x := d.Tunnels()[0]
	s := d.Sessions()
	i := slices.IndexFunc(s, func(s api.Session) bool { return s.TunnelID == x.ID })
	names := strings.NewReplacer("SESSION", fmt.Sprintf("%d/%d", x.ID, s[i].ID), "TUNNEL", fmt.Sprint(x.ID), "PEER", x.Remote.Addr().String())
	for _, line := range operators {
		all["l2tpctl "+line] = d.Ctl(strings.Fields(names.Replace(line))...)
	}
	for command := range strings.Lines(d.Ctl("__complete", "")) {
		name, _, ok := strings.Cut(command, "\t")
		if ok && !slices.Contains(unasked, name) && !slices.ContainsFunc(operators, func(line string) bool { return strings.HasPrefix(line+" ", name+" ") }) {
			t.Errorf("nobody looks at l2tpctl %s", name)
		}
	}
	return all
}

// apiPaths are those that docs/api.md has for GET, and the metrics.
func apiPaths(t *testing.T) []string {
	t.Helper()
	m := regexp.MustCompile("GET (`/v1/[^;]+);").FindStringSubmatch(manual.Read(t, "../../docs/api.md"))
	if m == nil {
		t.Fatal("docs/api.md has no paths")
	}
	paths := []string{"/metrics", "/v1/sessions?stats=true"}
	for _, name := range manual.Code(m[1]) {
		path := "/v1/" + strings.TrimPrefix(name, "/v1/")
		if path == "/v1/lives" { // it wants to know whose
			path += "?peer=PEER"
		}
		paths = append(paths, path)
	}
	if len(paths) < 15 {
		t.Errorf("docs/api.md has only %v", paths)
	}
	return paths
}

// home is a subscriber with a login.
func home(user, password string, method ppp.AuthMethod) subscriber.Call {
	c := lightUser(user, method)
	c.Client.Password = []byte(password)
	return c
}

// No secret shows anywhere: not in logs at debug level, in what l2tpctl and the socket tell, in captures or in files of the daemon's, after
// calls of every sort, good ones and refused ones, with every secret that the configuration knows.
func TestNoSecretShowsAnywhere(t *testing.T) {
	t.Parallel() // it waits more than it works
	w := newWholesale(t, "homes")
	conf := withSecrets(t, secretLAC, secretLNS)
	server := withRADIUS(w.Lab, w.lac)
	server.FreeRADIUS(configured["radius.servers[].secret"], knownUser("asked.example", configured["lac.rules[].radius_password"], "Service-Type = Outbound-User",
		tunnelTo(1, "10.4.0.5", 1, "Tunnel-Client-Auth-Id", "gold-lac"))+knownUser("dave", radiusPass))
	// An old kernel takes one tunnel between two addresses; and who has the wrong secret at one of them is left alone there for a while.
	w.lns.IP("addr add 10.4.0.3/24 dev lac", "addr add 10.4.0.4/24 dev lac", "addr add 10.4.0.5/24 dev lac")
	w.lac.IP("addr add 10.4.0.8/24 dev lns", "addr add 10.4.0.9/24 dev lns")
	lns, d := w.lns.L2TPD(conf[1]), w.lac.L2TPD(conf[0])
	daemons := map[*lab.Daemon]*lab.Film{d: d.Film("--all"), lns: lns.Film("--all")}
	debugs := map[*lab.Daemon][]*lab.Proc{}
	for x := range daemons {
		for _, form := range [][]string{{"-o", "jsonl", "--hex"}, {"-o", "table"}} {
			debugs[x] = append(debugs[x], x.Debug(append([]string{"all", "--tunnel", "--session", "--call", "--user", "--peer"}, form...)...))
		}
	}

	p := w.clients[0].Subscribers(subscriber.Config{Interface: "lac"})
	pass := configured["users.*.password"]
	good := []subscriber.Call{
		home("pap@plain.example", pass, ppp.AuthPAP), home("chap@plain.example", pass, ppp.AuthCHAPMD5), home("chap@hidden.example", pass, ppp.AuthCHAPMD5),
		home("chap@asked.example", pass, ppp.AuthCHAPMD5), home("carol", pass, ppp.AuthPAP), home("carol", pass, ppp.AuthMSCHAPv2), home("dave", radiusPass, ppp.AuthPAP),
		home("dave", radiusPass, ppp.AuthCHAPMD5),
	}
	bad := []subscriber.Call{
		home("pap@plain.example", wrongLogin, ppp.AuthPAP), home("pap@hidden.example", wrongLogin, ppp.AuthPAP), home("pap@wrong.example", pass, ppp.AuthPAP),
		home("carol", wrongLogin, ppp.AuthPAP), home("dave", wrongLogin, ppp.AuthPAP), home("nobody@plain.example", wrongLogin, ppp.AuthCHAPMD5),
	}
	lns.Ctl("call", "up", "back", "--wait", "60s")
	p.Dial(append(good, bad...)...)
	if out, err := lns.TryCtl("call", "up", "refused", "--wait", "60s"); err == nil {
		t.Errorf("the call with a wrong secret: %s", out)
	}
	p.Await("everybody has settled", func(x subscriber.Tally) bool {
		return x.In[subscriber.Up] == len(good) && x.In[subscriber.Ended] == len(bad)
	})
	server.Order("10.5.0.1:3799", "disconnect", configured["radius.coa.clients[].secret"], `User-Name = "dave"`)
	d.WaitLog("call down.*user=dave")

	// Reloads tell what is new, and where an error is.
	d.SetConfig(strings.ReplaceAll(conf[0], configured["secrets[].secret"], nextSecret))
	told := d.Ctl("reload")
	d.SetConfig(strings.Replace(conf[0], "secret: "+configured["secret"], "secret: ["+configured["secret"]+", "+nextSecret+"]", 1))
	refused, err := d.TryCtl("reload")
	if err == nil || !strings.Contains(told, "secret") {
		t.Errorf("reloads: %s\n%s", told, refused)
	}

	secrets := slices.Concat(slices.Collect(maps.Values(configured)), []string{radiusPass, wrongLogin, wrongGuess, nextSecret, tunnelSecret})
	for x, film := range daemons {
		all := seen(t, x, film)
		for _, debug := range debugs[x] {
			debug.Signal(unix.SIGINT)
			debug.Wait()
			all[debug.Name] = debug.Log()
		}
		if x == d {
			maps.Copy(all, operated(t, d))
			all["the capture by tshark"], all["a reload"], all["a refused reload"] = film.Shark("-V"), told, refused
		}
		for where, text := range all {
			if text == "" {
				t.Errorf("%s: nothing in %s", x.Name, where)
			}
			for _, found := range secretsIn(text, secrets...) {
				t.Errorf("%s: %s has %s", x.Name, where, found)
			}
		}
	}
}

// What looks for secrets finds them.
func TestSecretsAreFound(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"secret=" + wrongGuess + ";", fmt.Sprintf("%X", "ab"+wrongGuess+"c"), fmt.Sprintf("%d", []byte(wrongGuess+"a")), fmt.Sprintf("% X", wrongGuess),
		strings.ReplaceAll(fmt.Sprintf("% x", wrongGuess), " ", ":"),
		base64.StdEncoding.EncodeToString([]byte(wrongGuess)), base64.URLEncoding.EncodeToString([]byte("a" + wrongGuess + "bc")),
		base64.StdEncoding.EncodeToString([]byte("ab" + wrongGuess + "c")), base64.StdEncoding.EncodeToString([]byte("abc" + wrongGuess)),
	} {
		if len(secretsIn(text, wrongGuess)) == 0 {
			t.Errorf("not found in %s", text)
		}
	}
}
