package config

import (
	"testing"

	"github.com/l2tpd/l2tpd/test/manual"
)

// fields writes every key below n into a man page, section by section, as section does for the Markdown.
func fields(p *manual.Page, title, doc string, n *node) {
	named := false
	head := func() {
		if !named {
			p.Subsection(title)
		}
		named = true
	}
	if doc != "" {
		head()
		p.Paragraph(doc)
	}
	for _, key := range n.order {
		f := n.children[key].field
		if f.kind != kindValue {
			continue
		}
		head()
		usage := "Required."
		switch {
		case f.def != "":
			usage = "Default: `" + f.def + "`."
		case !f.required:
			usage = ""
		}
		p.Item("`"+f.path+"` ("+typeText(f)+")", f.doc)
		p.Below(usage + " In use: " + f.reload.String() + ".")
	}
	for _, key := range n.order {
		c := n.children[key]
		switch c.field.kind {
		case kindSection:
			fields(p, c.field.path, c.field.doc, c)
		case kindNamed:
			fields(p, c.field.path+".*", c.field.doc, c)
		case kindList:
			fields(p, c.field.path+"[]", c.field.doc, c)
		case kindValue, kindRefused:
		}
	}
}

func TestManPageIsFresh(t *testing.T) {
	t.Parallel()
	p := manual.New("l2tpd.yaml", "5", "configuration of l2tpd")
	p.Source(t, "../../docs/man/l2tpd.yaml.5.md", map[string]func(*manual.Page){
		"head": func(p *manual.Page) { p.Markdown(manualHead) },
		"keys": func(p *manual.Page) { fields(p, "Top level", "", schema()) },
		"refused": func(p *manual.Page) {
			for _, f := range table() {
				if f.kind == kindRefused {
					p.Item("`"+f.path+"`", f.doc+"; "+f.advice+".")
				}
			}
		},
	})
	p.Fresh(t, "../../docs/man/l2tpd.yaml.5")
}
