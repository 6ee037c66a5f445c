package config

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// testEnv is an environment without a disk.
func testEnv() Env {
	files := map[string]string{
		"/creds/default":               "a default secret of 30 octets!\n",
		"/creds/branch":                "a branch secret of 30 octets!!\r\n",
		"/creds/routera":               "PasswordA",
		"/creds/corp":                  "a secret of corp of 28 octets",
		"/creds/radius":                "a RADIUS secret of 30 octets!!",
		"/creds/empty":                 "\n",
		"/etc/l2tpd/remuser.secret":    "rempass\n",
		"/etc/l2tpd/lines.secret":      "rempass\n\n",
		"/etc/l2tpd/branch.secret":     "0123456789abcdef\n",
		"testdata/good/near.secret":    "beside the configuration",
		"../../configs/examples/a.key": "never read",
		"/shared/lines":                "hushhushhush\nhushhushhush\n",
		"/shared/branch":               "hushhushhushhush\n",
	}
	return Env{
		CredentialsDir: "/creds",
		Hostname:       func() (string, error) { return "testhost", nil },
		ReadSecret: func(name string) ([]byte, bool, error) {
			text, ok := files[name]
			if !ok {
				return nil, false, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
			}
			return []byte(text), strings.HasPrefix(name, "/shared/"), nil
		},
	}
}

// cmpAll compares what go-cmp cannot look into.
func cmpAll() cmp.Options {
	return cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	}
}

// inputs are the YAML files of a folder by name.
func inputs(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(folder + "/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files in %s: %v", folder, err)
	}
	out := map[string][]byte{}
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		out[p] = data
	}
	return out
}

// environment reads the first line of a test file: "# env: shared nocreds nohost".
func environment(data []byte) Env {
	env := testEnv()
	first, _, _ := strings.Cut(string(data), "\n")
	_, words, _ := strings.Cut(first, "# env:")
	for word := range strings.FieldsSeq(words) {
		switch word {
		case "shared":
			env.Shared = true
		case "nocreds":
			env.CredentialsDir = ""
		case "nohost":
			env.Hostname = func() (string, error) { return "", errors.New("no name") }
		}
	}
	return env
}

// Every kind of wrong configuration has its message. Their secrets all contain "hush", which no message may.
func TestEveryWrongConfigurationIsExplained(t *testing.T) {
	t.Parallel()
	place := regexp.MustCompile(`(?m)^testdata/bad/[a-z0-9-]+\.yaml:(\d+):(\d+): `)
	for path, data := range inputs(t, "testdata/bad") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			c, err := Parse(path, data, environment(data))
			var errs Errors
			if !errors.As(err, &errs) {
				t.Fatalf("no Errors: %v, %v", c, err)
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".golden", []byte(err.Error()+"\n"))
			if strings.Contains(err.Error(), "hush") {
				t.Error("a secret shows")
			}
			if n := len(place.FindAllString(err.Error(), -1)); n != len(errs) {
				t.Errorf("%d of %d messages have a place", n, len(errs))
			}
			for _, d := range errs {
				if d.Advice == "" || d.Message == "" || d.Snippet == "" || strings.HasSuffix(d.Message, ".") || d.File != path {
					t.Errorf("incomplete: %#v", d)
				}
				line := strings.Split(string(data), "\n")[d.Line-1]
				if d.Column < 1 || d.Column > len([]rune(line))+1 {
					t.Errorf("column %d of %q", d.Column, line)
				}
			}
			if !slices.IsSortedFunc(errs, func(a, b Diagnostic) int { return a.Line - b.Line }) {
				t.Error("not in the order of the file")
			}
		})
	}
}

// What is right is read as written; the dump has every value and no secret.
func TestGoodConfigurationsAreReadAsWritten(t *testing.T) {
	t.Parallel()
	for path, data := range inputs(t, "testdata/good") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			c, err := Parse(path, data, environment(data))
			if err != nil {
				t.Fatal(err)
			}
			out, err := json.MarshalIndent(c, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".json", append(out, '\n'))
			if strings.Contains(string(out), "hush") {
				t.Error("a secret shows")
			}
		})
	}
}

// S46, S50: literal, file and credential; one newline does not count.
func TestSecretsComeFromTextFileAndCredential(t *testing.T) {
	t.Parallel()
	c, err := Parse("testdata/good/x.yaml", []byte(`
secrets:
  - {from: 10.0.0.1, secret: "literal text  "}
  - {from: 10.0.0.2, secret: {file: /etc/l2tpd/branch.secret}}
  - {from: 10.0.0.3, secret: {credential: branch}}
  - {from: 10.0.0.4, secret: {file: near.secret}}
  - {from: 10.0.0.5, secret: "none"}
  - {from: 10.0.0.6, secret: none}
  - {from: 10.0.0.7, secret: 0123456789012345}
users: {u: {password: {file: /etc/l2tpd/lines.secret}}}
`), testEnv())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range c.Policy.Secrets {
		got = append(got, string(r.Secret.Reveal()))
	}
	got = append(got, string(c.Policy.Users["u"].Password.Reveal()))
	want := []string{
		"literal text  ", "0123456789abcdef", "a branch secret of 30 octets!!", "beside the configuration", "none", "", "0123456789012345",
		"rempass\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if none := c.Policy.Secrets[5].None; !none || c.Policy.Secrets[4].None {
		t.Error("S47: only the bare word means none")
	}
}

// S50: the scalar is one entry for everyone.
func TestTopLevelSecretIsOneEntryForEveryone(t *testing.T) {
	t.Parallel()
	parse := func(text string) *policy.Policy {
		c, err := Parse("x.yaml", []byte(text), testEnv())
		if err != nil {
			t.Fatal(err)
		}
		return c.Policy
	}
	short, long := parse("secret: 0123456789abcdef"), parse("secrets: [{from: any, secret: 0123456789abcdef}]")
	if diff := cmp.Diff(long, short, cmpAll()); diff != "" {
		t.Error(diff)
	}
}

// S101, S180: the same holds for the secrets of rules, LNSs, RADIUS servers and their clients.
func TestSecretsOfLACAndRADIUSComeFromTextFileAndCredential(t *testing.T) {
	t.Parallel()
	for form, want := range map[string]string{
		`"literal, of 20 octets"`:          "literal, of 20 octets",
		"{file: /etc/l2tpd/branch.secret}": "0123456789abcdef",
		"{credential: branch}":             "a branch secret of 30 octets!!",
	} {
		c, err := Parse("x.yaml", []byte(strings.ReplaceAll(`
lac:
  switch: on
  rules:
    - {match: local, action: tunnel, secret: SECRET, lns: [{address: 192.0.2.1, secret: SECRET}]}
    - {match: any-realm, action: radius, radius_user: domain, radius_password: SECRET}
radius:
  servers: [{address: 192.0.2.9, secret: SECRET}]
  coa: {listen: 0.0.0.0, clients: [{from: 192.0.2.9, secret: SECRET}]}
`, "SECRET", form)), testEnv())
		if err != nil {
			t.Fatal(err)
		}
		p := c.Policy
		for i, s := range []policy.Secret{p.LAC.Rules[0].Secret, p.LAC.Rules[0].LNS[0].Secret, p.LAC.Rules[1].RADIUSPassword, p.RADIUS.Servers[0].Secret, p.RADIUS.CoA[0].Secret} {
			if got := string(s.Reveal()); got != want {
				t.Errorf("secret %d as %s: %q, want %q", i, form, got, want)
			}
		}
	}
}

// Calls inherit the server's tunnel values, and have their own where they say so.
func TestCallInheritsServerTunnel(t *testing.T) {
	t.Parallel()
	c, err := Parse("x.yaml", []byte(`
calls: {a: {peer: 192.0.2.1, secret: none, tunnel: {hello: never}}}
server: {tunnel: {retransmit_cap: 20s, hello: 5s, idle_timeout: never}}
`), testEnv())
	if err != nil {
		t.Fatal(err)
	}
	want := c.Policy.Server.Tunnel
	want.Hello = 0
	if diff := cmp.Diff(want, c.Policy.Calls["a"].Tunnel); diff != "" || want.IdleTimeout >= 0 || want.RetransmitCap.Seconds() != 20 {
		t.Errorf("%+v\n%s", want, diff)
	}
}

// Each example is parsed as its comments say it is deployed, without an error and with no warning but those of its short secrets.
func TestExamplesAreRight(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"lan-to-lan-a.yaml":      "calls [remote] accept 0",
		"lan-to-lan-b.yaml":      "calls [remote] accept 0",
		"fixed-side.yaml":        "calls [remote] accept 0",
		"unknown-side.yaml":      "calls [remote] accept 0",
		"dynamic-initiator.yaml": "calls [remote] accept 0",
		"dynamic-acceptor.yaml":  "calls [] accept 1",
		"lns.yaml":               "calls [] accept 1",
		"lac.yaml":               "calls [] accept 0",
		"lac-rules.yaml":         "calls [] accept 0",
	}
	for path, data := range inputs(t, "../../configs/examples") {
		c, err := Parse(path, data, testEnv())
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		for _, d := range c.Warnings {
			if !strings.Contains(d.Message, "shorter than 16") {
				t.Errorf("%v", d)
			}
		}
		name := filepath.Base(path)
		got := "calls [" + strings.Join(slices.Sorted(maps.Keys(c.Policy.Calls)), " ") + "] accept " + string('0'+rune(len(c.Policy.Accept)))
		if got != want[name] {
			t.Errorf("%s: %s, want %s", name, got, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

// S18, S188: the two sides of the static example know each other: each call reaches the other's, with the other's secret.
func TestLANToLANExamplesAreMirrorImages(t *testing.T) {
	t.Parallel()
	load := func(name string) *policy.Policy {
		c, err := Load("../../configs/examples/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return c.Policy
	}
	for _, pair := range [][2]string{{"lan-to-lan-a.yaml", "lan-to-lan-b.yaml"}, {"unknown-side.yaml", "fixed-side.yaml"}, {"dynamic-initiator.yaml", "dynamic-acceptor.yaml"}} {
		a, b := load(pair[0]), load(pair[1])
		for _, way := range [][2]*policy.Policy{{a, b}, {b, a}} {
			from, to := way[0], way[1]
			c := from.Calls["remote"]
			if c == nil || c.Passive {
				continue
			}
			src := netip.MustParseAddr(map[*policy.Policy]string{a: "1.1.1.1", b: "2.2.2.2"}[from])
			r := to.ForSCCRQ(src, from.Server.HostName, nil)
			if r.Refuse || !r.Secret.Equal(c.Secret) || c.Secret.Empty() {
				t.Errorf("%v: tunnel from %v: refused %v, secrets equal %v", pair, src, r.Refuse, r.Secret.Equal(c.Secret))
			}
			v := to.ForOffer(policy.Offer{Source: src, CalledNumber: c.Remote}, nil)
			if v.Refuse || to.Calls["remote"] != nil && v.Call != to.Calls["remote"] || to.Calls["remote"] == nil && v.Accept == nil {
				t.Errorf("%v: call from %v: %+v", pair, src, v)
			}
		}
	}
	a, b := load("lan-to-lan-a.yaml").Calls["remote"], load("lan-to-lan-b.yaml").Calls["remote"]
	if a.Precedence == b.Precedence || a.Secret.Equal(b.Secret) {
		t.Error("S69, S188: the two sides must differ in precedence and secret")
	}
}

// S15, S91, S94, S97: every user goes to the LNS of the other example, with the secret that it wants.
func TestLACExampleFitsTheLNSExample(t *testing.T) {
	t.Parallel()
	load := func(name string) *policy.Policy {
		c, err := Load("../../configs/examples/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return c.Policy
	}
	lac, lns := load("lac.yaml"), load("lns.yaml")
	for _, user := range []string{"alice", "alice@corp.example", `CORP\alice`} {
		r := lac.LAC.ForUser(user, true)
		if r == nil || r.Action != policy.ActionTunnel || len(r.LNS) != 1 || r.LNS[0].Address != "2.2.2.2" {
			t.Fatalf("%s: %+v", user, r)
		}
		target := r.Target(r.LNS[0], netip.MustParseAddr("2.2.2.2"))
		if want := lns.ForSCCRQ(netip.MustParseAddr("1.1.1.1"), "lac", nil); want.Refuse || !want.Secret.Equal(target.Secret) || string(target.Secret.Reveal()) != "password" {
			t.Errorf("%s: the LNS refuses (%v), or wants another secret", user, want.Refuse)
		}
	}
	if r := lac.LAC.ForUser("", false); r != nil {
		t.Errorf("who did not log in goes by %+v", r)
	}
}

// S88-S97: the comments of the example say who goes where.
func TestLACRulesExampleSendsEverybodyHisWay(t *testing.T) {
	t.Parallel()
	c, err := Load("../../configs/examples/lac-rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]policy.Action{
		"alice@Corp.Example.": policy.ActionTunnel, "bob@tunnel.example": policy.ActionDNS, `GUEST.example\carol`: policy.ActionLocal,
		"erin@elsewhere.example": policy.ActionRADIUS, "dave": policy.ActionLocal, "": policy.ActionTunnel,
	} {
		if r := c.Policy.LAC.ForUser(user, user != ""); r == nil || r.Action != want {
			t.Errorf("%q: %+v, want %v", user, r, want)
		}
	}
}

// A secret's file is read when it is a regular one of a sensible size. Once a FIFO was waited for, and a device read without end.
func TestOnlyRegularFilesHaveSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode fs.FileMode) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	write("good", strings.Repeat("x", 32)+"\n", 0o640)
	write("linked", strings.Repeat("x", 32), 0o600)
	write("shared", strings.Repeat("x", 32), 0o604)
	write("long", strings.Repeat("x", 256), 0o600)
	write("huge", strings.Repeat("x", 4097), 0o600)
	if err := os.Symlink("linked", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"good":      "",
		"link":      "",
		"shared":    "a secret in a file that everyone may read",
		"fifo":      ": not a regular file",
		"":          ": not a regular file",
		"/dev/zero": "cannot read \"/dev/zero\": not a regular file",
		"huge":      ": longer than 4 KiB",
		"long":      "secret is longer than 255 octets",
		"absent":    ": no such file or directory",
	} {
		secret := name
		if !filepath.IsAbs(name) {
			secret = filepath.Join(dir, name)
		}
		write("l2tpd.yaml", "secret: {file: "+secret+"}\n", 0o600)
		c, err := Load(filepath.Join(dir, "l2tpd.yaml"))
		var said Errors
		if err != nil {
			errors.As(err, &said)
		} else {
			said = c.Warnings
		}
		if got := said.Error(); (got == "") != (want == "") || strings.Count(got, want) == 0 || (err == nil) != (want == "" || name == "shared") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestLoadExplainsAFileThatCannotBeRead(t *testing.T) {
	t.Parallel()
	_, err := Load(filepath.Join(t.TempDir(), "absent.yaml"))
	var errs Errors
	if !errors.As(err, &errs) || !strings.Contains(err.Error(), "absent.yaml: cannot read the configuration: no such file or directory") {
		t.Errorf("%v", err)
	}
}

// A literal secret in a file that everyone may read is a warning, not an error; file and mode are looked at by Load.
func TestLoadWarnsOfSecretsReadableByOthers(t *testing.T) {
	t.Parallel()
	for mode, want := range map[fs.FileMode]int{0o600: 0, 0o640: 0, 0o644: 1} {
		path := filepath.Join(t.TempDir(), "l2tpd.yaml")
		if err := os.WriteFile(path, []byte("secret: 0123456789abcdef\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Warnings) != want {
			t.Errorf("%v: %v", mode, c.Warnings)
		}
	}
}

// A syntax error points to where it is, not to where the enclosing block begins.
func TestSyntaxErrorsPointToTheirPlace(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"server:\n  mode: both\n   hostname: x\n":           "3:12",
		"server:\n  mode: both\n hostname: x\n":             "3:2",
		"a: [1, 2\nb: 3\nc: 4\n":                            "1:4",
		"server:\n  mode: both\nlog:\n  level: 'info\nx: y": "4:10",
		"server:\n\tmode: both\n":                           "2:1",
		"server:\n  mode: @x\n":                             "2:9",
		"server: {mode: both\n":                             "1:9",
		"\"a\\qb\": 1\n":                                    "1:1",
		"a: b: c":                                           "1:5",
	} {
		_, err := Parse("x", []byte(text), testEnv())
		var errs Errors
		if !errors.As(err, &errs) || len(errs) != 1 || !strings.HasPrefix(errs[0].String(), "x:"+want+": ") {
			t.Errorf("%q: %v, want place %s", text, err, want)
		}
	}
}

// Two templates that could make one interface, and a user's address that is ours twice, were once told in any order.
func TestMessagesHaveOneOrder(t *testing.T) {
	t.Parallel()
	text := []byte(`
calls: {l2tp1: {peer: 192.0.2.1, secret: none}}
ppp: {templates: {a: {interface: "l2tp%d", ipv4_local: 10.0.0.1}, b: {interface: "l2t%d", ipv4_local: 10.0.0.1}, c: {interface: "l2tp%d", ipv4_local: 10.0.0.1}}}
users: {u: {password: hush, ipv4: 10.0.0.1}}
`)
	_, want := Parse("x.yaml", text, testEnv())
	for range 20 {
		if _, got := Parse("x.yaml", text, testEnv()); got.Error() != want.Error() {
			t.Fatalf("once\n%v\nonce\n%v", want, got)
		}
	}
}

// The names of calls and the limits of the keys keep most of these away.
func TestInterfaceNamesThatTheKernelRefuses(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"l2tp-remote": "", "a": "", "abcdefghijklmno": "", "pppx": "",
		"abcdefghijklmnop": "longer", ".": "characters", "..": "characters", "a b": "characters", "a/b": "characters", "a%d": "characters",
		"lo": "meaning", "all": "meaning", "default": "meaning", "ppp7": "other PPP links",
	} {
		if got := badInterface(name); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("badInterface(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestNearestFindsSlips(t *testing.T) {
	t.Parallel()
	words := []string{"sequencing", "secret", "peer", "idle_timeout", "hello", "pap"}
	for in, want := range map[string]string{
		"seqencing": "sequencing", "Sequencing": "sequencing", "secert": "secret", "per": "peer", "idle": "idle_timeout", "idle-timeout": "idle_timeout",
		"timeout": "idle_timeout", "helo": "hello", "xyz": "", "": "", "chap": "", strings.Repeat("x", 1000): "",
	} {
		if got := nearest(in, words); got != want {
			t.Errorf("nearest(%q) = %q, want %q", in, got, want)
		}
	}
}

// Whatever the octets: no panic, an error is Errors with places inside the text.
func FuzzParse(f *testing.F) {
	f.Add(Reference())
	for _, pattern := range []string{"testdata/*/*.yaml", "../../configs/examples/*.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, p := range paths {
			data, err := os.ReadFile(p)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	for _, s := range []string{"a: &a [*a]", "? [x]\n: y", "<<: {a: b}", "calls: {? {a: b} : c}", "\xff\xfe", "---\n---\n", "users: {\"\\0\": {}}", "!!binary x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("x.yaml", data, testEnv())
		if err == nil {
			if c == nil || c.Policy == nil {
				t.Fatal("neither configuration nor error")
			}
			return
		}
		var errs Errors
		if !errors.As(err, &errs) || len(errs) == 0 {
			t.Fatalf("%T %v", err, err)
		}
		lines := strings.Count(string(data), "\n") + 1
		for _, d := range errs {
			if d.Line < 0 || d.Line > lines || d.String() == "" {
				t.Errorf("%+v of %d lines", d, lines)
			}
		}
	})
}
