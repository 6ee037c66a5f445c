package manual

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// revised is the day that the pages bear: that of the last change which a reader should know of.
const revised = "2026-11-28"

// Page is a man page in the making, in the macros of man(7). Texts may have `code`, **bold**, _italic_ and links of Markdown.
type Page struct {
	b strings.Builder
}

// New begins the page of name in a section of the manual.
func New(name, section, short string) *Page {
	p := &Page{}
	p.line(`.\" Generated; do not edit: docs/architecture.md says from what.`)
	p.line(fmt.Sprintf(`.TH %s %s %s l2tpd "Manual of l2tpd"`, escape(strings.ToUpper(name)), section, revised))
	p.line(`.ad l`)
	p.line(`.nh`)
	p.Section("NAME")
	p.line(escape(name) + ` \- ` + escape(short))
	return p
}

// String gives the page.
func (p *Page) String() string { return p.b.String() }

func (p *Page) line(s string) { p.b.WriteString(s + "\n") }

// text writes lines of text.
func (p *Page) text(s string) {
	const width = 80
	line := ""
	for word := range strings.FieldsSeq(inline(s)) {
		if line != "" && len(line)+1+len(word) > width {
			p.line(guard(line))
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	p.line(guard(line))
}

// guard keeps a line from looking like a macro.
func guard(line string) string {
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		return `\&` + line
	}
	return line
}

// Section begins a section.
func (p *Page) Section(title string) { p.line(".SH " + quote(strings.ToUpper(title))) }

// Subsection begins a part of a section.
func (p *Page) Subsection(title string) { p.line(".SS " + quote(title)) }

// Paragraph writes a paragraph.
func (p *Page) Paragraph(text string) {
	if s := p.b.String(); !strings.HasPrefix(s[strings.LastIndexByte(s[:len(s)-1], '\n')+1:], ".S") { // below a heading it would be empty
		p.line(".PP")
	}
	p.text(text)
}

// Item writes a term with what it means.
func (p *Page) Item(term, text string) {
	p.line(".TP")
	p.line(guard(inline(term)))
	p.text(text)
}

// Below writes text into a line of its own, under what is written.
func (p *Page) Below(text string) {
	p.line(".br")
	p.text(text)
}

// Bullet writes a paragraph behind a bullet.
func (p *Page) Bullet(text string) {
	p.line(`.IP \(bu 2`)
	p.text(text)
}

// Indented writes what f writes within the item before.
func (p *Page) Indented(f func()) {
	p.line(".RS")
	f()
	p.line(".RE")
}

// Example writes lines as they are.
func (p *Page) Example(text string) {
	p.line(".PP")
	p.line(".RS 4")
	p.line(".nf")
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		p.line(guard(literal(line)))
	}
	p.line(".fi")
	p.line(".RE")
}

// escape makes s text for roff; a hyphen stays one.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '\'':
			b.WriteString(`\(aq`)
		case r == '`':
			b.WriteString(`\(ga`)
		case r == '^':
			b.WriteString(`\(ha`)
		case r == '~':
			b.WriteString(`\(ti`)
		case r > '~':
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// literal makes s text that may be copied into a shell: its hyphens are minus signs.
func literal(s string) string { return strings.ReplaceAll(escape(s), "-", `\-`) }

// quote makes s one argument of a macro.
func quote(s string) string { return `"` + strings.ReplaceAll(escape(s), `"`, `\(dq`) + `"` }

var (
	spans  = regexp.MustCompile("`([^`]+)`|\\*\\*([^*]+)\\*\\*|\\b_([^_]+)_\\b|\\[([^\\]]+)\\]\\([^)]+\\)")
	option = regexp.MustCompile(`(^|[\s(])(--?[a-z][-a-z]*)`)
)

// inline makes the marks of Markdown those of roff.
func inline(s string) string {
	var b strings.Builder
	plain := func(s string) {
		s = strings.NewReplacer(`\|`, "|", `\*`, "*", "&lt;", "<").Replace(s)
		b.WriteString(option.ReplaceAllStringFunc(escape(s), func(o string) string { return strings.ReplaceAll(o, "-", `\-`) }))
	}
	for {
		m := spans.FindStringSubmatchIndex(s)
		if m == nil {
			plain(s)
			return b.String()
		}
		plain(s[:m[0]])
		switch {
		case m[2] >= 0:
			b.WriteString(`\fB` + literal(s[m[2]:m[3]]) + `\fR`)
		case m[4] >= 0:
			b.WriteString(`\fB` + literal(s[m[4]:m[5]]) + `\fR`)
		case m[6] >= 0:
			b.WriteString(`\fI` + literal(s[m[6]:m[7]]) + `\fR`)
		default:
			b.WriteString(inline(s[m[8]:m[9]]))
		}
		s = s[m[1]:]
	}
}

// Fresh fails the test unless the file at path holds the page. With the flag -update, which the test's package has, it is written.
func (p *Page) Fresh(t *testing.T, path string) {
	t.Helper()
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(path, []byte(p.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), p.String()); diff != "" {
		t.Errorf("%s is not fresh, run the test with -update (-file +generated):\n%s", path, diff)
	}
}
