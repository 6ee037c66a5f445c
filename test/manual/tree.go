package manual

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Commands writes every command of a tree with its flags: first those that stand alone, then each group in a part of its own.
func (p *Page) Commands(root *cobra.Command) {
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && !c.HasAvailableSubCommands() {
			p.command(c)
		}
	}
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.HasAvailableSubCommands() {
			p.Subsection(c.CommandPath())
			p.Paragraph(sentence(c))
			p.below(c)
		}
	}
}

func (p *Page) below(parent *cobra.Command) {
	for _, c := range parent.Commands() {
		switch {
		case !c.IsAvailableCommand():
		case c.HasAvailableSubCommands():
			p.below(c)
		default:
			p.command(c)
		}
	}
}

// command writes a command that does something.
func (p *Page) command(c *cobra.Command) {
	name, rest, _ := strings.Cut(c.Use, " ")
	synopsis := "**" + strings.TrimSpace(c.Parent().CommandPath()+" "+name) + "**"
	for word := range strings.FieldsSeq(rest) {
		if inner, ok := strings.CutPrefix(word, "["); ok {
			synopsis += " [_" + strings.TrimSuffix(inner, "]") + "_]"
		} else {
			synopsis += " _" + word + "_"
		}
	}
	if c.HasAvailableLocalFlags() {
		synopsis += " [options]"
	}
	p.Item(synopsis, sentence(c))
	if c.Example != "" {
		p.Indented(func() { p.Example(c.Example) })
	}
	flags := c.LocalNonPersistentFlags()
	if flags.HasAvailableFlags() {
		p.Indented(func() { p.Flags(flags) })
	}
}

// sentence is the longer of what a command says of itself.
func sentence(c *cobra.Command) string {
	text := c.Long
	if text == "" {
		text = c.Short
	}
	text = strings.Join(strings.Fields(text), " ")
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}

// Flags writes flags but --help, which every command has.
func (p *Page) Flags(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		term := "**--" + f.Name + "**"
		if f.Shorthand != "" {
			term = "**-" + f.Shorthand + "**, " + term
		}
		kind, usage := pflag.UnquoteUsage(f)
		switch {
		case kind != "" && f.NoOptDefVal != "":
			term += " [_" + kind + "_]"
		case kind != "":
			term += " _" + kind + "_"
		}
		switch f.DefValue {
		case "", "false", "0", "0s", "[]":
		default:
			usage += fmt.Sprintf(" (default `%s`)", f.DefValue)
		}
		p.Item(term, usage)
	})
}
