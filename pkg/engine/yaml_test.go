package engine

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/config"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// The two configurations that the rows of yaml_keys_test.go change: box a calls box b.
const (
	callerYAML = `
server: {hostname: a}
calls:
  c0: {peer: 2.2.2.2, secret: the secret of box b, autostart: on,
       ppp: {ipv4: request, user: RouterA, password: PasswordA}}
ppp: {templates: {other: {auth: none, mru: 1000}}}
`
	calleeYAML = `
server: {hostname: b}
secrets: [{from: any, secret: the secret of box b}]
lns: {accept: [{from: any, template: dialin}]}
ppp:
  templates:
    dialin: {auth: [chap, pap], ipv4_local: 192.168.20.1, ipv4_pool: ips}
    second: {auth: [chap, pap], ipv4_local: 192.168.21.1, ipv4_pool: ips}
pools: {ips: {ranges: [192.168.20.200-192.168.20.210]}, others: {ranges: [192.168.22.0/24]}, links: {prefixes: ["2001:db8:1::/48"], prefix_length: 64}, sites: {prefixes: ["2001:db8:2::/48"], prefix_length: 56}}
users: {RouterA: {password: PasswordA}, RouterB: {password: PasswordA}}
`
)

// lacYAML is box a as a LAC, for the rows of yaml_lac_test.go.
const lacYAML = `
server: {hostname: a}
lac:
  access: [{pppoe: {interface: eth1, template: line}}]
  rules: [{match: all, action: tunnel, lns: [{address: 2.2.2.2}, {address: 3.3.3.3, preference: 1}], secret: the secret of box b}]
ppp:
  templates:
    line: {auth: [chap], ipv4_local: 10.1.0.1, ipv4_pool: here}
    other: {auth: [pap], ipv4_local: 10.2.0.1, ipv4_pool: there}
pools: {here: {ranges: [10.1.0.2-10.1.0.9]}, there: {ranges: [10.2.0.2-10.2.0.9]}}
users: {RouterA@corp.example: {password: PasswordA}}
`

// edit changes one value of a configuration; side is a or b. An empty value takes the key out.
type edit struct{ side, path, value string }

// yamlKey is one key of the configuration with what it does: see tells was without and want with the change.
type yamlKey struct {
	key       string
	change    edit
	with      []edit       // in both cases
	before    func(*world) // the boxes are not there yet
	run       func(*world) // instead of half a minute's wait
	lac       bool         // box a is a LAC with two LNSs, b and c
	see       func(*world) any
	was, want any
}

// world is two boxes that run what real YAML says.
type world struct {
	*testing.T
	n    *internet
	a, b *box
	c    *box             // nil, but for rows of a LAC
	subs []*subscriberBox // of a LAC
	cut  bool             // from the start on, nothing arrives
	sent []datagram       // by both; guarded by the net's lock
}

// datagram is a control message as it left a box.
type datagram struct {
	at       time.Time
	from, to netip.AddrPort
	m        wire.Message
}

// Every key of the configuration reaches what it is for: its YAML is read as the daemon reads it, two boxes run it, and what leaves
// them, or what they ask of kernel and network, differs by it.
func TestYAMLKeysReachWhatTheyAreFor(t *testing.T) {
	for _, x := range yamlKeys() {
		t.Run(x.key, func(t *testing.T) {
			if fmt.Sprint(x.was) == fmt.Sprint(x.want) {
				t.Fatalf("the row sees nothing: %v both times", x.was)
			}
			for _, run := range []struct {
				name  string
				edits []edit
				want  any
			}{{"without", x.with, x.was}, {"with", append(slices.Clone(x.with), x.change), x.want}} {
				t.Run(run.name, func(t *testing.T) {
					simulated(t, func(t *testing.T) {
						start := newWorld
						if x.lac {
							start = newLACWorld
						}
						w := start(t, run.edits, x.before)
						if x.run != nil {
							x.run(w)
						} else {
							time.Sleep(30 * time.Second)
						}
						if got := x.see(w); fmt.Sprint(got) != fmt.Sprint(run.want) {
							t.Errorf("%s %v: %v, want %v\n%s", x.key, run.edits, got, run.want, w.a.log)
						}
						w.n.mu.Lock()
						w.cut = false
						w.n.mu.Unlock()
						w.a.stop()
						w.b.stop()
						if w.c != nil {
							w.c.stop()
						}
					})
				})
			}
		})
	}
}

// The interface of a pppd is not the kernel session's: its number is that of the network state.
func TestPrefixesOnTheInterfaceOfAPppd(t *testing.T) {
	simulated(t, func(t *testing.T) {
		w := newWorld(t, []edit{{"b", "ppp.templates.dialin.engine", "pppd"}, {"b", "ppp.templates.dialin.ipv6_pool", "links"}}, nil)
		time.Sleep(30 * time.Second)
		w.b.mu.Lock()
		lease, told := w.b.leases[pppdIndex]
		w.b.mu.Unlock()
		if want := netip.MustParsePrefix("2001:db8:1::/64"); !told || lease.Link != want {
			t.Errorf("told %v: %+v, want %v", told, lease, want)
		}
		w.a.stop()
		w.b.stop() // which looks whether anything is told still
	})
}

// newWorld starts both boxes.
func newWorld(t *testing.T, edits []edit, before func(*world)) *world {
	t.Helper()
	w := listening(t)
	if before != nil {
		before(w)
	}
	w.b = w.n.start(t, "2.2.2.2", w.parse("b", calleeYAML, edits), true)
	w.a = w.n.start(t, "1.1.1.1", w.parse("a", callerYAML, edits), true)
	return w
}

// newLACWorld starts a LAC and two LNSs.
func newLACWorld(t *testing.T, edits []edit, before func(*world)) *world {
	t.Helper()
	w := listening(t)
	if before != nil {
		before(w)
	}
	w.b = w.n.start(t, "2.2.2.2", w.parse("b", calleeYAML, append(slices.Clone(edits), forLAC("b")...)), true)
	w.c = w.n.start(t, "3.3.3.3", w.parse("c", calleeYAML, append(slices.Clone(edits), forLAC("c")...)), true)
	w.a = w.n.start(t, "1.1.1.1", w.parse("a", lacYAML, edits), true)
	synctest.Wait()
	return w
}

// forLAC are the edits that make a callee an LNS of the LAC.
func forLAC(side string) []edit {
	return []edit{{side, "server.hostname", side}, {side, "users", "{RouterA: {password: PasswordA}, RouterA@corp.example: {password: PasswordA}}"}}
}

// listening is a world without boxes.
func listening(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, n: newInternet()}
	w.n.drop = func(from, to netip.AddrPort, d []byte) bool { // called with the net's lock held
		if h, payload, err := wire.ParseHeader(d); err == nil && h.Control && len(payload) > 0 {
			if m, err := wire.ParseMessage(payload); err == nil {
				w.sent = append(w.sent, datagram{time.Now(), from, to, m})
			}
		}
		return w.cut
	}
	return w
}

// parse makes the policy of a box.
func (w *world) parse(side, text string, edits []edit) *policy.Policy {
	w.Helper()
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		w.Fatal(err)
	}
	for _, e := range edits {
		if e.side == side {
			w.set(doc, strings.Split(e.path, "."), e.value)
		}
	}
	out, err := yaml.Marshal(doc)
	if err != nil {
		w.Fatal(err)
	}
	c, err := config.Parse(side+".yaml", out, config.Env{})
	if err != nil {
		w.Fatalf("%v\n%s", err, out)
	}
	return c.Policy
}

// set puts YAML at a path into a document.
func (w *world) set(doc map[string]any, path []string, text string) {
	w.Helper()
	for len(path) > 1 {
		if i, err := strconv.Atoi(path[1]); err == nil {
			doc, path = doc[path[0]].([]any)[i].(map[string]any), path[2:]
			continue
		}
		next, ok := doc[path[0]].(map[string]any)
		if !ok {
			next = map[string]any{}
			doc[path[0]] = next
		}
		doc, path = next, path[1:]
	}
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		w.Fatal(err)
	}
	if doc[path[0]] = v; text == "" {
		delete(doc, path[0])
	}
}

// of are the messages of a type that a box has sent, retransmissions included.
func (w *world) of(from *box, want wire.MessageType) (out []datagram) {
	w.n.mu.Lock()
	defer w.n.mu.Unlock()
	for _, d := range w.sent {
		if d.from.Addr() == from.addr && d.m.Type == want {
			out = append(out, d)
		}
	}
	return out
}

// call is the first call of box a.
func (w *world) call() api.Call { return w.a.theCall() }

// session is the first session of a box.
func (w *world) session(x *box) api.Session {
	if s := x.look().Sessions; len(s) > 0 {
		return s[0]
	}
	return api.Session{}
}

// link is what PPP of a box's first session was configured with.
func (w *world) link(x *box) (c ppp.Config) {
	w.Helper()
	err := x.e.each(w.Context(), func(s *shard) {
		for _, t := range s.tunnels {
			for _, y := range t.sessions {
				c = *y.params().PPP
			}
		}
	})
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// elsewhere are the keys whose effect another test shows.
func elsewhere() map[string]string {
	keys := map[string]string{
		"server.listen":   "TestPartialListenGoesOnWithTheAddressesThatWork",
		"server.checksum": "TestChecksumOffTouchesTunnelSocketsOnly",
		"api.socket":      "TestStartsThatCannotBe",
		"api.group":       "TestTheSocketBelongsToTheGroup",
		"log.level":       "TestReloadTakesWhatHasChanged",
		"metrics.listen":  "TestMetricsAreServedWhereTheConfigurationSays",

		"lac.access[].tty.device":        "TestDeviceThatIsNoTTYIsDown",
		"lac.access[].tty.speed":         "TestModeOfALine",
		"lac.access[].tty.type":          "TestLinesAreFoundByKindNameSpeedAndLNS",
		"lac.access[].tty.names":         "TestLinesAreFoundByKindNameSpeedAndLNS",
		"lac.access[].tty.dial_out":      "TestLinesAreFoundByKindNameSpeedAndLNS",
		"lac.access[].tty.dial_out_from": "TestLinesAreFoundByKindNameSpeedAndLNS",
		"lac.access[].tty.dial_in":       "TestLineThatOnlyDialsTakesNoCalls",
		"lac.access[].tty.init":          "TestCallByModemArrivesWithItsNumberAndSpeed",
		"lac.access[].tty.answer":        "TestCallByModemArrivesWithItsNumberAndSpeed",
		"lac.access[].tty.dial":          "TestDialGivesTheLineWhenConnected",
		"lac.access[].tty.hang_up":       "TestCallByModemArrivesWithItsNumberAndSpeed",
	}
	for test, sections := range map[string]map[string]string{
		"TestEveryPPPoEKeyReachesTheListener": {
			"lac.access[].pppoe": "interface service_names ac_name delay max_payload max_sessions max_sessions_per_mac rate rate_per_mac",
		},
		"TestEveryRADIUSKeyReachesTheClient": {
			"radius":           "dead_time nas_identifier nas_address spool spool_size",
			"radius.servers[]": "address port accounting_port secret timeout tries source message_authenticator logins accounting",
		},
		"TestEveryCoAKeyReachesTheListeners": {
			"radius.coa":           "listen",
			"radius.coa.clients[]": "from secret message_authenticator",
		},
	} {
		for section, names := range sections {
			for name := range strings.FieldsSeq(names) {
				keys[section+"."+name] = test
			}
		}
	}
	return keys
}

// Every key of the manual has a row in yaml_keys_test.go or yaml_lac_test.go, or a test elsewhere that its name leads to.
func TestEveryYAMLKeyHasARow(t *testing.T) {
	t.Parallel()
	rows := map[string]bool{}
	for _, x := range yamlKeys() {
		if rows[x.key] {
			t.Errorf("%s has two rows", x.key)
		}
		rows[x.key] = true
	}
	tests := testNames(t)
	for key, name := range elsewhere() {
		if !tests[name] {
			t.Errorf("%s: there is no test %s", key, name)
		}
	}
	manual := manualKeys(t)
	if len(manual) < 90 {
		t.Fatalf("the manual has %d keys only: is it read as it is written?", len(manual))
	}
	others := elsewhere()
	for _, key := range manual {
		_, other := others[key]
		if rows[key] == other {
			t.Errorf("%s: has a row: %v, is tested elsewhere: %v; want one of the two", key, rows[key], other)
		}
		delete(rows, key)
		delete(others, key)
	}
	for key := range rows {
		t.Errorf("%s has a row, and is no key of the manual", key)
	}
	for key := range others {
		t.Errorf("%s is tested elsewhere, and is no key of the manual", key)
	}
}

// manualKeys are the keys of docs/l2tpd.yaml.md, which a test of pkg/config keeps equal to the configuration's table.
func manualKeys(t *testing.T) (keys []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "l2tpd.yaml.md"))
	if err != nil {
		t.Fatal(err)
	}
	section, refused := "", false
	for line := range strings.Lines(string(text)) {
		quoted := strings.Split(line, "`")
		switch {
		case strings.HasPrefix(line, "## "):
			section, refused = "", strings.Contains(line, "Refused")
			if len(quoted) > 1 {
				section = quoted[1] + "."
			}
		case strings.HasPrefix(line, "| `") && !refused:
			keys = append(keys, section+quoted[1])
		}
	}
	return keys
}

// testNames are the tests of the whole project.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(line, "func Test"); ok {
				name, _, _ = strings.Cut(name, "(")
				names["Test"+name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
