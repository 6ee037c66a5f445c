package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/l2tpd/l2tpd/pkg/observe"
)

// column is one of the columns of a table.
type column[T any] struct {
	head string
	in   columnKind
	cell func(*T) string
}

// columnKind says when a column is shown, and whether it may be cut.
type columnKind uint8

const (
	always   columnKind = iota
	cut                 // always, and cut where the line would not fit; one of a table
	onlyWide            // with -o wide
)

const (
	terminal  = 80 // columns that a table takes at most, if that can be
	widest    = 28 // of what may be cut
	narrowest = 6
)

// table lays out rows in columns two spaces apart. Cells are cleaned: peers choose some of them. Of a wide one nothing is cut.
func table[T any](items []T, wide bool, columns ...column[T]) string {
	columns = slices.DeleteFunc(columns, func(c column[T]) bool { return c.in == onlyWide && !wide })
	rows := make([][]string, 1+len(items))
	width := make([]int, len(columns))
	total, cuttable := -2, -1
	for i, c := range columns {
		rows[0] = append(rows[0], c.head)
		for j := range items {
			rows[j+1] = append(rows[j+1], observe.Clean(or(c.cell(&items[j]))))
		}
		for _, row := range rows {
			width[i] = max(width[i], utf8.RuneCountInString(row[i]))
		}
		if c.in == cut && !wide {
			cuttable, width[i] = i, min(width[i], widest)
		}
		total += width[i] + 2
	}
	if cuttable >= 0 && total > terminal {
		width[cuttable] = max(width[cuttable]-(total-terminal), narrowest, utf8.RuneCountInString(rows[0][cuttable]))
	}
	var b strings.Builder
	for _, row := range rows {
		var l strings.Builder
		for i, c := range row {
			if i == cuttable {
				c = shorten(c, width[i])
			}
			l.WriteString(c)
			l.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(c)+2))
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	return b.String()
}

// shorten cuts a clean text: what is cut must not be the end of an escape.
func shorten(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
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
