package manual

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	inserted = regexp.MustCompile(`^<!-- insert (\S+) -->$`)
	tableOf  = regexp.MustCompile(`^<!-- table (\S+) of (\S+) -->$`)
	termed   = regexp.MustCompile(`^- (.+?): (.+)$`)
)

// Source writes a file of Markdown into the page. It has headings, paragraphs, lists, tables, whose first column becomes terms, and
// code. A comment "insert NAME" stands for what inserts[NAME] writes, a comment "table HEADING of FILE" for the table of another
// manual whose first column has that heading.
func (p *Page) Source(t *testing.T, path string, inserts map[string]func(*Page)) {
	t.Helper()
	for _, block := range blocks(Read(t, path)) {
		if m := inserted.FindStringSubmatch(block); m != nil {
			write := inserts[m[1]]
			if write == nil {
				t.Fatalf("%s: nobody writes %s", path, m[1])
			}
			write(p)
			continue
		}
		if m := tableOf.FindStringSubmatch(block); m != nil {
			other := filepath.Join(filepath.Dir(path), m[2])
			block = ""
			for _, b := range blocks(Read(t, other)) {
				if strings.HasPrefix(b, "| "+m[1]+" |") {
					block = b
				}
			}
			if block == "" {
				t.Fatalf("%s: %s has no table %s", path, other, m[1])
			}
		}
		p.block(block)
	}
}

// Markdown writes a text.
func (p *Page) Markdown(text string) {
	for _, block := range blocks(text) {
		p.block(block)
	}
}

func (p *Page) block(block string) {
	switch {
	case strings.HasPrefix(block, "<!--"), strings.HasPrefix(block, "# "):
	case strings.HasPrefix(block, "## "):
		p.Section(block[3:])
	case strings.HasPrefix(block, "### "):
		p.Subsection(block[4:])
	case strings.HasPrefix(block, "```"):
		_, code, _ := strings.Cut(block, "\n")
		p.Example(strings.TrimSuffix(code, "```"))
	case strings.HasPrefix(block, "|"):
		for _, row := range strings.Split(block, "\n")[2:] {
			cells := rowCells(row)
			meaning := cells[len(cells)-1]
			if len(cells) > 2 {
				meaning = strings.Join(cells[1:len(cells)-1], ", ") + ": " + meaning
			}
			p.Item(cells[0], meaning)
		}
	case strings.HasPrefix(block, "- "), strings.HasPrefix(block, "* "):
		p.list(block)
	default:
		p.Paragraph(strings.ReplaceAll(block, "\n", " "))
	}
}

// list writes a list. One whose items all begin with code and a colon is one of terms.
func (p *Page) list(block string) {
	var items []string
	terms := true
	for line := range strings.SplitSeq(block, "\n") {
		if rest, ok := strings.CutPrefix(line, "  "); ok && len(items) > 0 {
			items[len(items)-1] += " " + strings.TrimSpace(rest)
			continue
		}
		items = append(items, "- "+line[2:])
		terms = terms && strings.HasPrefix(line, "- `")
	}
	for _, item := range items {
		if m := termed.FindStringSubmatch(item); terms && m != nil {
			p.Item(m[1], m[2])
		} else {
			p.Bullet(item[2:])
		}
	}
}

// blocks cuts Markdown at its empty lines, but not within code.
func blocks(text string) []string {
	var all []string
	var block []string
	code := false
	end := func() {
		if len(block) > 0 {
			all = append(all, strings.Join(block, "\n"))
		}
		block = nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		fence := strings.HasPrefix(line, "```")
		if !code && (line == "" || fence || strings.HasPrefix(line, "#")) {
			end()
		}
		if code || line != "" {
			block = append(block, line)
		}
		if fence {
			code = !code
		}
		if !code && (fence || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "<!--") && strings.HasSuffix(line, "-->")) {
			end()
		}
	}
	end()
	return all
}

// Read returns the text of a file.
func Read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
