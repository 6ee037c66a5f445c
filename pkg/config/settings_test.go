package config

import (
	"regexp"
	"strings"
	"testing"
)

// settingsOf parses a configuration and gives its settings by their paths.
func settingsOf(t *testing.T, text string) map[string]Setting {
	t.Helper()
	c, err := Parse("x.yaml", []byte(text), testEnv())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]Setting{}
	for _, s := range c.Settings("host") {
		all[s.Path] = s
	}
	return all
}

func TestNothingButTheDefaultsIsNotChanged(t *testing.T) {
	t.Parallel()
	for path, s := range settingsOf(t, "server: {hostname: host}\n") {
		if s.Changed {
			t.Errorf("%s: %q is said to differ from its default %q", path, s.Value, s.Default)
		}
	}
	text := "calls: {Branch: {peer: 192.0.2.1, secret: none}, line: {peer: 192.0.2.1, type: isdn, dial: \"1\", secret: none}}\nserver: {hostname: host, tunnel: {hello: 5s}}\nppp: {templates: {a: {}}}"
	want := "calls.branch.peer calls.line.peer calls.line.type calls.line.dial server.tunnel.hello"
	var got []string
	for path, s := range settingsOf(t, text) {
		if s.Changed {
			got = append(got, path)
		}
	}
	for _, path := range got {
		if !strings.Contains(" "+want+" ", " "+path+" ") {
			t.Errorf("%s is said to be changed: %+v", path, settingsOf(t, text)[path])
		}
	}
	if len(got) != len(strings.Fields(want)) {
		t.Errorf("changed are %q, want %q", got, want)
	}
}

// Every key is shown, whoever adds one to the table, and no secret is.
func TestEverySettingIsShownAndNoSecretIs(t *testing.T) {
	t.Parallel()
	all := settingsOf(t, string(inputs(t, "testdata/good")["testdata/good/everything.yaml"]))
	index := regexp.MustCompile(`\[[^\]]*\]`)
	shown := map[string]bool{}
	for path, s := range all {
		if strings.Contains(s.Value+s.Default+path, "hush") {
			t.Errorf("%s shows a secret: %+v", path, s)
		}
		path = index.ReplaceAllString(path, "[]")
		for _, named := range []string{"calls", "ppp.templates", "pools", "users"} {
			if rest, ok := strings.CutPrefix(path, named+"."); ok {
				if i := strings.LastIndex(rest, "\""); i > 0 {
					rest = rest[i+1:]
				} else {
					_, rest, _ = strings.Cut(rest, ".")
					rest = "." + rest
				}
				path = named + ".*" + rest
			}
		}
		shown[path] = true
	}
	for _, f := range table() {
		if f.kind == kindValue && f.at != nil && !shown[f.path] {
			t.Errorf("%s is not shown", f.path)
		}
	}
	if s := all["server.checksum"]; s != (Setting{"server.checksum", "off", "on", true, ReloadDaemonRestart}) {
		t.Errorf("%+v", s)
	}
}
