package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/l2tpd/l2tpd/pkg/observe"
)

// table lays out rows in columns two spaces apart. Cells are cleaned: peers choose some of them.
type table struct {
	head []string
	rows [][]string
}

// widest is the longest name that a table shows; the show commands have the rest.
const widest = 28

func (t *table) add(cells ...string) {
	for i, c := range cells {
		cells[i] = observe.Clean(or(c))
	}
	t.rows = append(t.rows, cells)
}

func (t *table) String() string {
	width := make([]int, len(t.head))
	all := append([][]string{t.head}, t.rows...)
	for _, row := range all {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for _, row := range all {
		var l strings.Builder
		for i, c := range row {
			l.WriteString(c)
			l.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(c)+2))
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	return b.String()
}

// shorten returns a name that fits a table. It is clean: what is cut must not be the end of an escape.
func shorten(s string) string {
	s = observe.Clean(s)
	if utf8.RuneCountInString(s) <= widest {
		return s
	}
	return string([]rune(s)[:widest-1]) + "…"
}

// view lays out one object: a headline and labelled rows.
type view struct {
	b     strings.Builder
	label int // width of labels
}

func newView(label int, headline string) *view {
	v := &view{label: label}
	v.b.WriteString(line(headline))
	return v
}

// row adds a labelled line; a row without label continues the one before.
func (v *view) row(label, format string, args ...any) {
	v.b.WriteString(line(fmt.Sprintf("  %-*s  %s", v.label, label, fmt.Sprintf(format, args...))))
}

// head begins a block.
func (v *view) head(title string) { v.b.WriteString("\n" + title + "\n") }

func (v *view) String() string { return v.b.String() }

// line returns s as one line of text, whatever a peer put into it.
func line(s string) string { return strings.TrimRight(observe.Clean(s), " ") + "\n" }

// or returns s, or a dash in the place of nothing.
func or(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// age returns how long before now t was, in its two largest units. Empty for no time.
func age(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return span(now.Sub(t))
}

func span(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	days, hours, minutes, seconds := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case days > 0:
		return fmt.Sprintf("%dd%dh", days, hours)
	case hours > 0:
		return fmt.Sprintf("%dh%dm", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%dm%ds", minutes, seconds)
	default:
		return fmt.Sprintf("%ds", seconds)
	}
}

func yes(b bool, ifTrue, ifFalse string) string {
	if b {
		return ifTrue
	}
	return ifFalse
}

func list(items []string, none string) string {
	if len(items) == 0 {
		return none
	}
	return strings.Join(items, ", ")
}
