package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write generated files and goldens instead of comparing")

// golden compares got with a file, or writes it with -update.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not fresh, run the test with -update (-file +generated):\n%s", path, diff)
	}
}

// page writes lines at an indentation, all behind "#" where commented.
type page struct {
	bytes.Buffer
	commented bool
	item      bool // the next key begins a list item
}

func (p *page) line(indent int, text string) {
	if p.commented {
		p.WriteByte('#')
	}
	if p.item {
		indent -= 2
		if !strings.HasPrefix(text, "#") {
			text, p.item = "- "+text, false
		}
	}
	p.WriteString(strings.Repeat(" ", indent) + text + "\n")
}

// remark writes a comment, wrapped.
func (p *page) remark(indent int, text string) {
	const width = 110
	words := strings.Fields(text)
	for len(words) > 0 {
		n, length := 0, indent
		for n < len(words) && (n == 0 || length+len(words[n]) < width) {
			length += len(words[n]) + 1
			n++
		}
		p.line(indent, "# "+strings.Join(words[:n], " "))
		words = words[n:]
	}
}

// live says that a section has values of its own, so that it stands in the reference uncommented.
func live(n *node) bool {
	if n.field.kind != kindSection {
		return false
	}
	for _, c := range n.children {
		if c.field.kind == kindValue && c.field.def != "" || live(c) {
			return true
		}
	}
	return false
}

// reference renders the keys of a section.
func (p *page) reference(n *node, indent int) {
	for _, key := range n.order {
		c := n.children[key]
		if c.field.kind == kindRefused {
			continue
		}
		if indent == 0 {
			p.WriteByte('\n')
		}
		outer := p.commented
		if c.field.kind != kindValue && !live(c) {
			p.commented = true
		}
		if c.field.optional {
			p.item = true
		}
		if indent == 0 {
			p.commented, outer = outer, p.commented
			p.remark(indent, c.field.doc)
			p.commented, outer = outer, p.commented
		} else {
			p.remark(indent, c.field.doc+allowed(c.field))
		}
		switch c.field.kind {
		case kindSection:
			p.line(indent, key+":")
			p.reference(c, indent+2)
		case kindNamed:
			p.line(indent, key+":")
			p.line(indent+2, c.field.example+":")
			p.reference(c, indent+4)
		case kindList:
			p.line(indent, key+":")
			p.item = true
			p.reference(c, indent+4)
		case kindValue:
			value := c.field.def
			if value == "" {
				value = c.field.example
			}
			if c.field.aside || c.field.def == "" && !p.commented {
				p.line(indent, "# "+key+": "+value)
			} else {
				p.line(indent, key+": "+value)
			}
		case kindRefused:
		}
		p.commented = outer
	}
}

// allowed is what the reference says of a value beside its meaning.
func allowed(f *field) string {
	if f.kind != kindValue {
		return ""
	}
	text := typeText(f)
	if text == "text" || text == "secret" || text == "name" || text == "path" || text == "group" {
		return ""
	}
	return " (" + text + ")"
}

func renderReference() []byte {
	var p page
	p.remark(0, "l2tpd configuration: every key with its default. Keys behind # are examples. Check a file with: l2tpd check FILE.")
	p.remark(0, "A secret is a text, {file: /path} or {credential: name of systemd}.")
	p.remark(0, "Generated from the table of fields; do not edit.")
	p.reference(schema(), 0)
	return p.Bytes()
}

// cell makes text fit into a table of Markdown.
func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;", "*", "\\*").Replace(s)
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// manualHead is what is true of the whole file, for docs/l2tpd.yaml.md and the man page.
const manualHead = `# The configuration file

<!-- Generated from the table of fields in pkg/config; do not edit. -->

` + "`/etc/l2tpd/l2tpd.yaml`" + ` is one YAML document. ` + "`l2tpd check FILE`" + ` reports everything that is wrong with it at once.
` + "`l2tpd reference`" + ` prints every key with its default, as [configs/l2tpd.yaml](../configs/l2tpd.yaml) has them;
[configs/examples](../configs/examples) has whole deployments.

* Unknown keys, keys given twice, YAML anchors and aliases are errors.
* A switch is ` + "`on` or `off` (`true`, `yes`, `false`, `no`)" + `. A duration has a unit: ` + "`60s`, `5m`, `1m30s`" + `.
* A size is a number of octets, or has a unit: ` + "`64MiB`, `1GiB`" + `.
* A list of one may be written without brackets.
* A source is ` + "`any`" + `, an address, ` + "`from-to`" + ` with both ends included, or ` + "`network/bits`" + `, IPv4 or IPv6.
* A secret is a text, ` + "`{file: path}`" + ` (a regular file; one newline at its end does not count; a relative path starts at the folder of the configuration) or
  ` + "`{credential: name}`" + ` (systemd's ` + "`LoadCredential=`" + `).

After a reload a changed value is in use

| Class | when |
|---|---|
| live | at once; nothing is interrupted |
| new-sessions | for sessions that begin afterwards; those that are up keep the old value |
| tunnel-restart | for tunnels that begin afterwards |
| daemon-restart | when the daemon was restarted |
`

func renderManual() []byte {
	var b bytes.Buffer
	b.WriteString(manualHead)
	section(&b, "Top level", "", schema())
	b.WriteString("\n## Refused keys\n\n| Key | Why | Instead |\n|---|---|---|\n")
	for _, f := range table() {
		if f.kind == kindRefused {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", code(f.path), cell(f.doc), cell(f.advice))
		}
	}
	return b.Bytes()
}

// section renders the values of one section and then the sections in it.
func section(b *bytes.Buffer, title, doc string, n *node) {
	var rows bytes.Buffer
	for _, key := range n.order {
		f := n.children[key].field
		if f.kind != kindValue {
			continue
		}
		def := code(f.def)
		if f.required {
			def = "required"
		}
		fmt.Fprintf(&rows, "| %s | %s | %s | %v | %s |\n", code(key), cell(typeText(f)), def, f.reload, cell(f.doc))
	}
	if rows.Len() > 0 || doc != "" {
		fmt.Fprintf(b, "\n## %s\n", title)
		if doc != "" {
			fmt.Fprintf(b, "\n%s\n", doc)
		}
	}
	if rows.Len() > 0 {
		b.WriteString("\n| Key | Value | Default | In use | Meaning |\n|---|---|---|---|---|\n")
		b.Write(rows.Bytes())
	}
	for _, key := range n.order {
		c := n.children[key]
		if c.field.kind == kindSection || c.field.kind == kindNamed || c.field.kind == kindList {
			name := c.field.path
			switch c.field.kind {
			case kindNamed:
				name += ".*"
			case kindList:
				name += "[]"
			case kindSection, kindValue, kindRefused:
			}
			section(b, code(name), c.field.doc, c)
		}
	}
}

func TestReferenceIsFresh(t *testing.T) {
	t.Parallel()
	golden(t, "../../configs/l2tpd.yaml", renderReference())
}

func TestManualIsFresh(t *testing.T) {
	t.Parallel()
	golden(t, "../../docs/l2tpd.yaml.md", renderManual())
}

// The reference equals the defaults: parsing it, or nothing at all, is the same.
func TestReferenceEqualsDefaults(t *testing.T) {
	t.Parallel()
	want, err := Parse("x.yaml", nil, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse("x.yaml", Reference(), testEnv())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpAll()); diff != "" {
		t.Errorf("(-defaults +reference):\n%s", diff)
	}
	if len(got.Warnings) > 0 {
		t.Errorf("warnings: %v", got.Warnings)
	}
}

// What the reference shows behind # is right as well, has every key, and gives every key with a default its default.
func TestReferenceExamplesAreRight(t *testing.T) {
	t.Parallel()
	commented := regexp.MustCompile(`(?m)^#( {2,}|[a-z])`)
	text := commented.ReplaceAllString(string(Reference()), "$1")
	c, err := Parse("x.yaml", []byte(text), testEnv())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range c.Warnings {
		t.Errorf("warning: %v", d)
	}
	if c.Policy.Calls["branch"] == nil || c.Policy.Users["remuser"] == nil || len(c.Policy.Accept) != 1 || len(c.Policy.Secrets) != 1 {
		t.Errorf("an example is not there: %+v", c.Policy)
	}
	bare := `{calls: {branch: {peer: 203.0.113.2, secret: none, tunnel: {hello: 60s}}}, ppp: {templates: {dialin: {}}}}`
	d, err := Parse("x.yaml", []byte(bare), testEnv())
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range Changes(d.Policy, c.Policy) {
		for _, f := range table() {
			if f.def != "" && regexp.MustCompile(`^`+strings.ReplaceAll(regexp.QuoteMeta(f.path), `\*`, `\w+`)+`$`).MatchString(change.Path) {
				t.Errorf("the reference shows another value than the default: %v", change)
			}
		}
	}
	for _, f := range table() {
		if f.kind != kindRefused && !regexp.MustCompile(`(?m)^[# -]*`+f.key()+`:`).MatchString(text) {
			t.Errorf("%s is not in the reference", f.path)
		}
	}
}
