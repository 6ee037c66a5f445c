package manual

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Pages returns the paths of the manuals in Markdown, from root, the top of the tree.
func Pages(t *testing.T, root string) []string {
	t.Helper()
	pages := []string{filepath.Join(root, "README.md")}
	for _, pattern := range []string{"docs/*.md", "docs/man/*.md"} {
		more, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(more) == 0 {
			t.Fatalf("no manuals: %s, %v", pattern, err)
		}
		pages = append(pages, more...)
	}
	return pages
}

// Block is a piece of code in a manual.
type Block struct {
	Page    string
	Line    int    // of the fence that begins it
	Lang    string // behind the fence
	Text    string
	comment string
}

// Complete is the text with what completes it: a comment of HTML directly before the block, which the reader does not see.
func (b *Block) Complete() string { return b.Text + b.comment + "\n" }

// Refused says that the comment is "refused": the block shows a mistake.
func (b *Block) Refused() bool { return b.comment == "refused" }

// At names the place of the block.
func (b *Block) At() string { return fmt.Sprintf("%s:%d", b.Page, b.Line) }

var fenced = regexp.MustCompile("(?ms)(?:^<!--([^>]*)-->\n)?^```([a-z]*)\n(.*?)^```$")

// Blocks returns all code of a manual.
func Blocks(t *testing.T, page string) []Block {
	t.Helper()
	text := Read(t, page)
	var all []Block
	for _, m := range fenced.FindAllStringSubmatchIndex(text, -1) {
		b := Block{Page: page, Line: 1 + strings.Count(text[:m[4]-3], "\n"), Lang: text[m[4]:m[5]], Text: text[m[6]:m[7]]}
		if m[2] >= 0 {
			b.comment = strings.TrimSpace(text[m[2]:m[3]])
		}
		all = append(all, b)
	}
	return all
}

// Line is a command line that a manual shows.
type Line struct {
	At      string
	Args    []string // without the program
	Mention bool     // in a sentence, where it may lack its arguments
}

var span = regexp.MustCompile("`([a-z0-9]+ [^`\n]+)`")

// Lines returns every command line of a program that the manuals show: in blocks of sh, and in `code` within the text, where "a|b"
// stands for either.
func Lines(t *testing.T, root, program string) []Line {
	t.Helper()
	var all []Line
	for _, page := range Pages(t, root) {
		for _, b := range Blocks(t, page) {
			if b.Lang != "sh" {
				continue
			}
			for i, line := range strings.Split(b.Text, "\n") {
				for _, words := range commands(line) {
					if filepath.Base(words[0]) == program {
						all = append(all, Line{At: fmt.Sprintf("%s:%d", page, b.Line+1+i), Args: words[1:]})
					}
				}
			}
		}
		text := fenced.ReplaceAllString(Read(t, page), "")
		for _, m := range span.FindAllStringSubmatch(text, -1) {
			words := strings.Fields(strings.ReplaceAll(m[1], `\|`, "|"))
			if words[0] != program {
				continue
			}
			for _, args := range alternatives(words[1:]) {
				all = append(all, Line{At: page + ": `" + m[1] + "`", Args: args, Mention: true})
			}
		}
	}
	return all
}

// commands cuts a line of shell into its commands, and those into words.
func commands(line string) [][]string {
	var all [][]string
	var words []string
	end := func() {
		if len(words) > 0 && words[0] == "sudo" {
			words = words[1:]
		}
		if len(words) > 0 {
			all = append(all, words)
		}
		words = nil
	}
	for _, m := range regexp.MustCompile(`'([^']*)'|"([^"]*)"|(#.*|&&|\|\|?|;)|([^\s'";|&]+)`).FindAllStringSubmatch(line, -1) {
		switch {
		case strings.HasPrefix(m[3], "#"):
			end()
			return all
		case m[3] != "":
			end()
		default:
			words = append(words, m[1]+m[2]+m[4])
		}
	}
	end()
	return all
}

// alternatives gives the lines that one with words like "a|b" stands for.
func alternatives(words []string) [][]string {
	all := [][]string{{}}
	for _, word := range words {
		var next [][]string
		for _, line := range all {
			for choice := range strings.SplitSeq(word, "|") {
				next = append(next, append(slices.Clone(line), choice))
			}
		}
		all = next
	}
	return all
}

// Fits says what is wrong with the line for a tree: no such command, no such flag, or another number of arguments.
func (l *Line) Fits(root *cobra.Command) error {
	root.InitDefaultHelpCmd() // which cobra would else add when it is run
	root.InitDefaultCompletionCmd()
	c, rest, err := root.Find(l.Args)
	if err != nil {
		return err
	}
	if err := c.ParseFlags(rest); errors.Is(err, pflag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if c.HasAvailableSubCommands() && c.HasParent() && c.ValidateArgs(nil) != nil { // some do something without one
		return errors.New("a verb is missing")
	}
	if l.Mention && c.Flags().NArg() == 0 {
		return nil
	}
	return c.ValidateArgs(c.Flags().Args())
}

// Walk calls f for every available command of a tree.
func Walk(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			Walk(sub, f)
		}
	}
}
