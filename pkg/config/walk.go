package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// walker goes through a document along the table and fills a Config. It collects what is wrong and goes on.
type walker struct {
	src    *source
	env    Env
	folder string // of the configuration file
	c      *Config
	found  []Diagnostic
	keys   map[string]*yaml.Node // by concrete path: the key, or the item of a list
	values map[string]*yaml.Node
	bad    map[string]bool // concrete paths whose value is wrong, for checks that would only repeat it

	items map[string][]string // the concrete paths of the items that became entries, by that of their list
	path  string              // concrete path of the value being decoded
}

func newWalker(src *source, env Env, folder string) *walker {
	return &walker{
		src: src, env: env, folder: folder,
		keys: map[string]*yaml.Node{}, values: map[string]*yaml.Node{}, bad: map[string]bool{}, items: map[string][]string{},
	}
}

// diagnostics gives everything found in order, and whether an error is among it.
func (w *walker) diagnostics() (errs bool, all []Diagnostic) {
	order(w.found)
	errs = slices.ContainsFunc(w.found, func(d Diagnostic) bool { return !d.Warning })
	return errs, w.found
}

// fault notes an error at a node; a nil node means the whole file.
func (w *walker) fault(n *yaml.Node, message, advice string) {
	w.bad[w.path] = true
	w.note(n, message, advice, false)
}

// warn notes something doubtful at a node.
func (w *walker) warn(n *yaml.Node, message, advice string) { w.note(n, message, advice, true) }

func (w *walker) note(n *yaml.Node, message, advice string, warning bool) {
	d := Diagnostic{File: w.src.name, Message: message, Advice: advice, Warning: warning}
	if n != nil && n.Line > 0 {
		d = w.src.diagnostic(n.Line, n.Column, message, advice)
		d.Warning = warning
	}
	w.found = append(w.found, d)
}

// document walks the whole file; an empty one means all defaults.
func (w *walker) document(top *yaml.Node, c *Config) {
	w.c = c
	if top == nil {
		top = emptyMapping()
	}
	w.section(w.src.table, top, "", c)
}

// section walks a mapping with fixed keys, in the order of the table, so that what later sections inherit is there.
func (w *walker) section(s *node, y *yaml.Node, path string, object any) {
	if y.Kind != yaml.MappingNode {
		if !isNull(y) {
			w.path = path
			w.fault(y, quotePath(path)+": expected a mapping, found "+describe(y), "write {key: value, ...}, or the keys below, indented; keys: "+keyList(s))
		}
		y = &yaml.Node{Kind: yaml.MappingNode, Line: y.Line, Column: y.Column}
	}
	present := w.index(s, y, path)
	for _, key := range s.order {
		child, at := s.children[key], join(path, key)
		value := present[key]
		w.path = at
		switch child.field.kind {
		case kindSection:
			if value == nil && child.field.optional {
				continue
			}
			if value == nil {
				value = emptyMapping()
			}
			w.section(child, value, at, w.sectionObject(child.field.path, object))
		case kindNamed:
			if value != nil {
				w.named(child, value, at)
			}
		case kindList:
			if value != nil {
				w.list(child, value, at, object)
			}
		case kindRefused:
			if value != nil && (!child.field.offOK || !isOff(value)) {
				w.fault(w.keys[at], quotePath(key)+" is refused: "+child.field.doc, child.field.advice)
			}
		case kindValue:
			w.value(child, value, y, at, object)
		}
	}
}

// value decodes one value, or its default.
func (w *walker) value(child *node, value, section *yaml.Node, at string, object any) {
	f := child.field
	switch {
	case value != nil && isNull(value) && !f.required:
		w.fault(value, quotePath(f.key())+" has no value", "write a value, or remove the key"+defaultText(f))
	case value != nil:
		w.decode(f, value, object)
	case f.required && !w.bad[at] && !w.bad[parent(at)]:
		where := w.keys[parent(at)]
		if where == nil {
			where = section
		}
		w.fault(where, quotePath(f.key())+" is missing in "+quotePath(parent(at)), "add "+f.key()+": "+f.example)
	}
	if child.def != nil && (value == nil || w.bad[at]) {
		w.decode(f, child.def, object)
	}
}

// index finds the values of a mapping by key, and what is wrong with the keys. A key that is only misspelt, or whose value is
// refused, is not missing: it counts as bad.
func (w *walker) index(s *node, y *yaml.Node, path string) map[string]*yaml.Node {
	present := map[string]*yaml.Node{}
	var meant []string
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		at := join(path, key.Value)
		w.path = at
		switch {
		case !w.plainNode(key) || !w.plainNode(value):
			continue
		case key.Kind != yaml.ScalarNode:
			w.fault(key, "expected a plain word as key, found "+describe(key), "keys here: "+keyList(s))
			continue
		case s.children[key.Value] == nil:
			if k := w.unknown(s, key, value, path); k != "" {
				meant = append(meant, join(path, k))
			}
			continue
		case present[key.Value] != nil:
			w.fault(key, fmt.Sprintf("%s is here twice: first in line %d", quotePath(key.Value), w.keys[at].Line), "keep one of the two")
			continue
		}
		present[key.Value], w.keys[at], w.values[at] = value, key, value
	}
	for _, at := range meant {
		w.bad[at] = w.bad[at] || w.keys[at] == nil
	}
	return present
}

// unknown reports a key that the table does not have, and returns the key that was probably meant, "" if none.
func (w *walker) unknown(s *node, key, value *yaml.Node, path string) string {
	where := ""
	if path != "" {
		where = " in " + quotePath(path)
	}
	if stray(key, value) {
		what := "a key that is no word"
		if isNull(value) {
			what = "a key without a value"
		}
		w.fault(key, what+where, cmp.Or(typography(key.Value), "write key: value, with a space after the colon")+"; keys here: "+keyList(s))
		return ""
	}
	var words []string
	for _, k := range s.order {
		if f := s.children[k].field; f.kind != kindRefused {
			words = append(words, k)
			if slices.ContainsFunc(f.aka, func(a string) bool { return squash(a) == squash(key.Value) }) {
				w.fault(key, "unknown key "+quoteKey(key.Value)+where, "did you mean "+k+"?")
				return k
			}
		}
	}
	advice := "keys here: " + keyList(s)
	k := nearest(key.Value, words)
	if k != "" {
		advice = "did you mean " + k + "?"
	} else if found := places(key.Value); len(found) > 0 {
		advice = "there is " + strings.Join(found, ", ") + "; " + advice
	}
	w.fault(key, "unknown key "+quoteKey(key.Value)+where, advice)
	return k
}

// places are the paths of the table that end in key, at most three: the key may just be in the wrong section.
func places(key string) []string {
	var found []string
	for _, f := range table() {
		if f.key() == key && f.kind != kindRefused && len(found) < 3 {
			found = append(found, strings.ReplaceAll(f.path, "*", "NAME"))
		}
	}
	return found
}

// named walks a mapping from names to sections.
func (w *walker) named(s *node, y *yaml.Node, path string) {
	if y.Kind != yaml.MappingNode {
		if !isNull(y) {
			w.fault(y, quotePath(path)+": expected names with settings, found "+describe(y), fmt.Sprintf("write %s: {NAME: {...}}", s.field.key()))
		}
		return
	}
	rule := s.field.names
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		name := key.Value
		if rule.fold {
			name = strings.ToLower(name)
		}
		at := join(path, nameKey(name))
		w.path = at
		if !w.plainNode(key) || !w.plainNode(value) || !w.goodName(rule, key) {
			continue
		}
		if s.hasSecret() && isNull(value) {
			w.fault(key, "a "+rule.what+" without settings", fmt.Sprintf("write %s: {NAME: {...}}, with a space after every colon", s.field.key()))
			continue
		}
		if f := first[name]; f != nil {
			what, advice := fmt.Sprintf("%s %q is here twice: first in line %d", rule.what, key.Value, f.Line), "keep one of the two, or rename it"
			if f.Value != key.Value {
				what = fmt.Sprintf("%s %q has the same name as %q in line %d: upper and lower case are the same", rule.what, key.Value, f.Value, f.Line)
				advice = "rename one of the two"
			}
			w.fault(key, what, advice)
			continue
		}
		first[name] = key
		w.keys[at], w.values[at] = key, value
		w.section(s, value, at, w.namedObject(s.field.path, name, key.Value))
	}
}

var (
	nameChars       = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	strictNameChars = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
)

// goodName checks the name of a kindNamed entry (S27).
func (w *walker) goodName(rule nameRule, key *yaml.Node) bool {
	what := ""
	switch {
	case key.Kind != yaml.ScalarNode:
		what = "is " + describe(key)
	case key.Value == "":
		what = "is empty"
	case len(key.Value) > rule.max:
		what = fmt.Sprintf("is longer than %d octets", rule.max)
	case rule.any:
		if !utf8.ValidString(key.Value) || strings.ContainsFunc(key.Value, unicode.IsControl) {
			what = "has characters that cannot be printed"
		}
	case rule.strict && !strictNameChars.MatchString(key.Value):
		what = "has other characters than letters, digits and _"
	case !rule.strict && !nameChars.MatchString(key.Value):
		what = "has other characters than letters, digits, _, . and -"
	}
	if what == "" {
		return true
	}
	w.fault(key, fmt.Sprintf("the name of a %s %s", rule.what, what), "choose another name")
	return false
}

// list walks a list of sections; what they make is kept in outer, or in the policy.
func (w *walker) list(s *node, y *yaml.Node, path string, outer any) {
	if y.Kind != yaml.SequenceNode {
		if !isNull(y) {
			w.fault(y, quotePath(path)+": expected a list, found "+describe(y), fmt.Sprintf("write %s: [{...}, {...}], or items that begin with a dash", s.field.key()))
		}
		return
	}
	for i, item := range y.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		w.path = at
		if !w.plainNode(item) {
			continue
		}
		w.keys[at], w.values[at] = item, item
		if item.Kind != yaml.MappingNode {
			w.fault(item, quotePath(at)+": expected a mapping, found "+describe(item), "write {key: value, ...}; keys: "+keyList(s))
			continue
		}
		object := w.itemObject(s.field.path)
		w.section(s, item, at, object)
		w.keep(object, outer)
		w.items[path] = append(w.items[path], at)
	}
}

// plainNode refuses what makes a configuration hard to read: aliases, anchors and merge keys.
func (w *walker) plainNode(n *yaml.Node) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		w.fault(n, "a YAML alias (*) is refused", "write the value out, or put a value that begins with * into quotes")
	case n.Anchor != "":
		w.fault(n, "a YAML anchor (&) is refused", "remove it, or put a value that begins with & into quotes")
	case n.Tag == "!!merge":
		w.fault(n, "a YAML merge key (<<) is refused", "write the keys out; templates and server.tunnel hold what several calls share")
	default:
		return true
	}
	return false
}

// sectionObject is what the fields of a section belong to.
func (w *walker) sectionObject(path string, outer any) any {
	switch path {
	case "server":
		return &w.c.Policy.Server
	case "lac":
		return &w.c.Policy.LAC
	case "radius":
		return &w.c.Policy.RADIUS
	case "lac.access[].pppoe":
		outer.(*policy.Access).PPPoE = &policy.PPPoE{}
	case "lac.access[].tty":
		outer.(*policy.Access).TTY = &policy.TTY{}
	}
	return outer
}

// namedObject makes the object of a named section. name is its key, spelt its name as written.
func (w *walker) namedObject(path, name, spelt string) any {
	p := w.c.Policy
	switch path {
	case "calls":
		c := &policy.Call{Name: spelt, Tunnel: p.Server.Tunnel}
		p.Calls[name] = c
		return c
	case "ppp.templates":
		t := &policy.Template{Name: spelt}
		p.Templates[name] = t
		return t
	case "pools":
		o := &policy.Pool{Name: spelt}
		p.Pools[name] = o
		return o
	default:
		u := &policy.User{Name: spelt}
		p.Users[name] = u
		return u
	}
}

// itemObject makes the object of an item.
func (w *walker) itemObject(path string) any {
	switch path {
	case "secrets":
		return &policy.SecretRule{}
	case "lns.accept":
		return &policy.Accept{}
	case "lac.access":
		return &policy.Access{}
	case "lac.rules":
		return &policy.Rule{Tunnel: w.c.Policy.Server.Tunnel}
	case "lac.rules[].lns":
		return &policy.LNS{}
	case "radius.servers":
		return &policy.RADIUSServer{}
	case "radius.coa.clients":
		return &policy.CoAClient{}
	}
	panic(fmt.Sprintf("config: %s: nobody makes its items", path)) // a defect of the table
}

// keep appends a finished item to its list.
func (w *walker) keep(object, outer any) {
	p := w.c.Policy
	switch o := object.(type) {
	case *policy.SecretRule:
		p.Secrets = append(p.Secrets, *o)
	case *policy.Accept:
		p.Accept = append(p.Accept, *o)
	case *policy.Access:
		p.LAC.Access = append(p.LAC.Access, *o)
	case *policy.Rule:
		p.LAC.Rules = append(p.LAC.Rules, *o)
	case *policy.LNS:
		r := outer.(*policy.Rule)
		r.LNS = append(r.LNS, *o)
	case *policy.RADIUSServer:
		p.RADIUS.Servers = append(p.RADIUS.Servers, *o)
	case *policy.CoAClient:
		p.RADIUS.CoA = append(p.RADIUS.CoA, *o)
	}
}

func emptyMapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode} }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// parent is the path without its last part; a quoted last part may hold dots.
func parent(path string) string {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i]
	}
	return ""
}

// nameKey is a name as part of a path.
func nameKey(name string) string {
	if nameChars.MatchString(name) && !strings.Contains(name, ".") {
		return name
	}
	return strconv.Quote(name)
}

func quotePath(path string) string {
	if path == "" {
		return "the configuration"
	}
	return path
}

// quoteKey quotes a key or value of the file; a long or strange one is cut, and what may be a secret at its end.
func quoteKey(key string) string {
	const longest = 40
	if at := goesOn.FindStringIndex(key); at != nil {
		key = key[:at[1]] + "..."
	}
	if r := []rune(printable(key)); len(r) > longest {
		return strconv.Quote(string(r[:longest]) + "...")
	}
	return strconv.Quote(printable(key))
}

func keyList(s *node) string {
	var keys []string
	for _, k := range s.order {
		if s.children[k].field.kind != kindRefused {
			keys = append(keys, k)
		}
	}
	return strings.Join(keys, ", ")
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// isOff says that a value means "off", as operators of other systems write it.
func isOff(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && slices.Contains([]string{"off", "false", "no", "none", "never", "0"}, strings.ToLower(n.Value))
}

func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case isNull(n):
		return "empty"
	}
	return "a single value"
}

func defaultText(f *field) string {
	if f.def == "" {
		return ""
	}
	return " (default: " + f.def + ")"
}
