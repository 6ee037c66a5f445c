package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// Setting is one key of a configuration, with its value as the file would have it. Secrets are masked.
type Setting struct {
	Path           string // as in Change
	Value, Default string
	Changed        bool // Value is not Default
	Reload         Reload
}

// Settings lists every key of c with its value, in the order of Changes. hostname is the host's own.
func (c *Config) Settings(hostname string) []Setting {
	var all []Setting
	w := newWalker(newSource("", nil), Env{}, "")
	w.c = &Config{Policy: emptyPolicy()}
	d := &differ{table: table(), visit: func(f *field, at string, object any) {
		now, def := f.at(object), f.at(c.untouched(w, f, object, hostname))
		if now == nil || reflect.ValueOf(now).Kind() == reflect.Pointer && reflect.ValueOf(now).IsNil() {
			return
		}
		s := Setting{Path: at, Value: valueText(f, now), Default: valueText(f, def), Changed: !reflect.DeepEqual(now, def), Reload: f.reload}
		s.Changed = s.Changed && (s.Value != s.Default || f.secret())
		all = append(all, s)
	}}
	d.configs(c, c)
	return all
}

// untouched is an object like that one, where f has its default. Some defaults are those of another key.
func (c *Config) untouched(w *walker, f *field, object any, hostname string) any {
	o := objectOf(f)
	if n := parseDefault(f.def); n != nil {
		w.decode(f, n, o)
	}
	switch o := o.(type) {
	case *policy.Server:
		o.HostName = hostname
	case *policy.Call:
		is := object.(*policy.Call)
		o.Tunnel, o.PPP.Interface = c.Policy.Server.Tunnel, is.Name
		if is.Type != policy.CallVirtual && strings.HasSuffix(f.path, ".method") {
			o.Method = policy.MethodOCRQ
		}
	case *policy.Rule:
		o.Tunnel = c.Policy.Server.Tunnel
	case *policy.Template:
		if object.(*policy.Template).Name == defaultTemplate { // it is there without being written, and asks nobody for a login
			o.Auth = nil
		}
	}
	return o
}

// Summary says in one line what a configuration has.
func (c *Config) Summary() string {
	p := c.Policy
	lac := ""
	if n, m := len(p.LAC.Access), len(p.LAC.Rules); n+m > 0 {
		lac = fmt.Sprintf("%s, %s, ", count(n, "place of access", "places of access"), count(m, "rule", "rules"))
	}
	return fmt.Sprintf("mode %s, %s, %s, %s%s, %s, %s", p.Server.Mode,
		count(len(p.Calls), "call", "calls"), count(len(p.Accept), "accept entry", "accept entries"), lac,
		count(len(p.Templates), "template", "templates"), count(len(p.Users), "user", "users"), count(len(p.Pools), "pool", "pools"))
}

// count puts a number before its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
