package config

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// ChangeKind is what happened to an entry or a value.
type ChangeKind uint8

// Kinds of change.
const (
	Changed ChangeKind = iota // a value
	Added                     // an entry of a list or mapping
	Removed
)

// String gives changed, added or removed.
func (k ChangeKind) String() string {
	switch k {
	case Changed:
		return "changed"
	case Added:
		return "added"
	case Removed:
		return "removed"
	}
	return "unknown"
}

// MarshalText gives String.
func (k ChangeKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Change is one difference between two configurations.
type Change struct {
	Path     string // "server.checksum", "calls.branch", "calls.branch.peer", "secrets[192.0.2.0/24].secret"
	Kind     ChangeKind
	Reload   Reload // when it is in use
	Old, New string // values as text, secrets masked; empty with Added and Removed
}

// String gives one line of a reload plan.
func (c Change) String() string {
	if c.Kind != Changed {
		return fmt.Sprintf("%s: %v (%v)", c.Path, c.Kind, c.Reload)
	}
	return fmt.Sprintf("%s: %s -> %s (%v)", c.Path, orNothing(c.Old), orNothing(c.New), c.Reload)
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// Changes lists what differs between two policies, in the order of the manual, entries by name or source. Calls, templates,
// pools and users that one side does not have are one change each.
func Changes(old, next *policy.Policy) []Change {
	d := &differ{table: table()}
	d.policies(old, next)
	return d.list
}

// policies goes through two policies side by side.
func (d *differ) policies(old, next *policy.Policy) {
	d.fields("server", "server", &old.Server, &next.Server)
	diffList(d, "secrets", "secrets", old.Secrets, next.Secrets, func(r *policy.SecretRule) string { return sourceKey(r.From, r.HostName) }, nil)
	diffList(d, "lns.accept", "lns.accept", old.Accept, next.Accept, func(a *policy.Accept) string { return sourceKey(a.From, a.HostName) }, nil)
	d.fields("lac", "lac", &old.LAC, &next.LAC)
	diffList(d, "lac.access", "lac.access", old.LAC.Access, next.LAC.Access, func(a *policy.Access) string { return a.Name }, nil)
	diffList(d, "lac.rules", "lac.rules", old.LAC.Rules, next.LAC.Rules, matchText, func(at string, a, b *policy.Rule) {
		diffList(d, "lac.rules[].lns", at+".lns", a.LNS, b.LNS, func(n *policy.LNS) string { return lnsKey(*n) }, nil)
	})
	diffNamed(d, "calls", old.Calls, next.Calls)
	diffNamed(d, "ppp.templates", old.Templates, next.Templates)
	diffNamed(d, "pools", old.Pools, next.Pools)
	diffNamed(d, "users", old.Users, next.Users)
	d.fields("radius", "radius", &old.RADIUS, &next.RADIUS)
	diffList(d, "radius.servers", "radius.servers", old.RADIUS.Servers, next.RADIUS.Servers, serverKey, nil)
	diffList(d, "radius.coa.clients", "radius.coa.clients", old.RADIUS.CoA, next.RADIUS.CoA, func(c *policy.CoAClient) string { return c.From.String() }, nil)
}

// Changes lists what differs between c and next, the daemon's own settings included.
func (c *Config) Changes(next *Config) []Change {
	d := &differ{table: table()}
	d.configs(c, next)
	return d.list
}

// configs goes through two configurations side by side.
func (d *differ) configs(c, next *Config) {
	d.policies(c.Policy, next.Policy)
	d.fields("api", "api", c, next)
	d.fields("log", "log", c, next)
	d.fields("metrics", "metrics", c, next)
}

type differ struct {
	table []*field
	list  []Change
	visit func(f *field, at string, object any) // instead of comparing, if not nil
}

// fields compares two objects by the rows below prefix but those of lists below it; at is the concrete path that prefix stands for.
func (d *differ) fields(prefix, at string, old, next any) {
	for _, f := range d.table {
		key, below := strings.CutPrefix(f.path, prefix+".")
		if !below || strings.Contains(key, "[]") || f.kind != kindValue || f.at == nil {
			continue
		}
		if d.visit != nil {
			d.visit(f, at+"."+key, next)
			continue
		}
		a, b := f.at(old), f.at(next)
		if reflect.DeepEqual(a, b) {
			continue
		}
		d.list = append(d.list, Change{Path: at + "." + key, Kind: Changed, Reload: f.reload, Old: valueText(f, a), New: valueText(f, b)})
	}
}

// entry notes an entry that is on one side only.
func (d *differ) entry(path, at string, kind ChangeKind) {
	for _, f := range d.table {
		if f.path == path {
			d.list = append(d.list, Change{Path: at, Kind: kind, Reload: f.reload})
		}
	}
}

func diffNamed[V any](d *differ, path string, old, next map[string]*V) {
	keys := slices.Sorted(maps.Keys(old))
	for _, k := range slices.Sorted(maps.Keys(next)) {
		if old[k] == nil {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		at := join(path, nameKey(k))
		switch a, b := old[k], next[k]; {
		case b == nil:
			d.entry(path, at, Removed)
		case a == nil:
			d.entry(path, at, Added)
		default:
			d.fields(path+".*", at, a, b)
		}
	}
}

// diffList compares two lists, entries by key; path is that of the table, where the concrete one. more, if not nil, compares what is within
// an entry that is on both sides.
func diffList[V any](d *differ, path, where string, old, next []V, key func(*V) string, more func(at string, a, b *V)) {
	find := func(list []V, k string) *V {
		for i := range list {
			if key(&list[i]) == k {
				return &list[i]
			}
		}
		return nil
	}
	for i := range old {
		at := where + "[" + key(&old[i]) + "]"
		b := find(next, key(&old[i]))
		if b == nil {
			d.entry(path, at, Removed)
			continue
		}
		d.fields(path+"[]", at, &old[i], b)
		if more != nil {
			more(at, &old[i], b)
		}
	}
	for i := range next {
		if find(old, key(&next[i])) == nil {
			d.entry(path, where+"["+key(&next[i])+"]", Added)
		}
	}
}

// serverKey names a RADIUS server.
func serverKey(s *policy.RADIUSServer) string {
	return fmt.Sprintf("%s port %d", strings.ToLower(s.Address), s.Port)
}

// sourceKey names an entry of a list of sources.
func sourceKey(from policy.Range, host string) string {
	if host == "" {
		return from.String()
	}
	return from.String() + " " + strings.ToLower(host)
}

// secretOrNone is the value of a secret rule.
type secretOrNone struct {
	Secret policy.Secret
	None   bool
}

// String gives none or the mask.
func (s secretOrNone) String() string {
	if s.None {
		return "none"
	}
	return s.Secret.String()
}

// valueText gives the value that f.at returned as the file would have it, secrets masked.
func valueText(f *field, v any) string {
	switch p := v.(type) {
	case *bool:
		words := [2]string{"off", "on"}
		if len(f.words) == 2 {
			words = [2]string(f.words)
		}
		if *p {
			return words[1]
		}
		return words[0]
	case inverted:
		if *p.off {
			return "off"
		}
		return "on"
	case *int64:
		return sizeText(*p)
	case *time.Duration:
		for word, d := range f.special {
			if d == int64(*p) {
				return word
			}
		}
		return short(int64(*p))
	case *int:
		for word, n := range f.special {
			if n == int64(*p) {
				return word
			}
		}
		return fmt.Sprint(*p)
	case *policy.Secret:
		if p.Empty() {
			return ""
		}
		return p.String()
	case *netip.Addr:
		if !p.IsValid() {
			return ""
		}
		return p.String()
	case *[]ppp.AuthMethod:
		if len(*p) == 0 {
			return "none"
		}
	}
	r := reflect.Indirect(reflect.ValueOf(v))
	if r.Kind() != reflect.Slice {
		return fmt.Sprint(r.Interface())
	}
	parts := make([]string, r.Len())
	for i := range parts {
		parts[i] = fmt.Sprint(r.Index(i).Interface())
	}
	return "[" + strings.Join(parts, ", ") + "]"
}
