package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Diagnostic is one thing that is wrong, or doubtful, in a configuration. No secret is in any of its texts.
type Diagnostic struct {
	File    string
	Line    int // from 1; 0: about the whole file
	Column  int // from 1, in characters
	Message string
	Snippet string // the line and, below, a caret at Column; secrets show as ***
	Advice  string // what to do
	Warning bool   // the configuration is usable all the same
}

// String gives "file:line:column: message", the line with its caret, and the advice.
func (d Diagnostic) String() string {
	var b strings.Builder
	b.WriteString(d.File)
	if d.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", d.Line, d.Column)
	}
	b.WriteString(": ")
	if d.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(d.Message)
	if d.Snippet != "" {
		for line := range strings.SplitSeq(d.Snippet, "\n") {
			b.WriteString("\n    " + line)
		}
	}
	if d.Advice != "" {
		b.WriteString("\n  " + d.Advice)
	}
	return b.String()
}

// Errors is everything that is wrong with a configuration, in the order of the file, warnings included.
type Errors []Diagnostic

// Error gives every diagnostic, one after the other.
func (e Errors) Error() string {
	parts := make([]string, len(e))
	for i, d := range e {
		parts[i] = d.String()
	}
	return strings.Join(parts, "\n")
}

// cause is the reason of a file error without operation and path.
func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// nearest finds the candidate that word was probably meant to be; "" if none is near. Case, "-" and "_" do not count.
func nearest(word string, candidates []string) string {
	best, bestDistance := "", 0
	for _, c := range candidates {
		d := distance(squash(word), squash(c))
		if d > max(1, len(c)/3) && !begins(word, c) {
			continue
		}
		if best == "" || d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// begins says that one of the words, of at least four letters, begins or ends the other: "idle" for "idle_timeout".
func begins(a, b string) bool {
	a, b = squash(a), squash(b)
	if len(a) > len(b) {
		a, b = b, a
	}
	return len(a) >= 4 && (strings.HasPrefix(b, a) || strings.HasSuffix(b, a))
}

func squash(s string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s))
}

// distance is the edit distance of a and b with transpositions of neighbours. Long words are not compared.
func distance(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return longest
	}
	var before, last []int
	for j := range len(b) + 1 {
		last = append(last, j)
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// order sorts by position, errors before warnings at the same one, and by text where nothing else decides: what was found on the way
// through a map has no order.
func order(list []Diagnostic) {
	severity := func(d Diagnostic) int {
		if d.Warning {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b Diagnostic) int {
		return cmp.Or(a.Line-b.Line, a.Column-b.Column, severity(a)-severity(b), strings.Compare(a.Message, b.Message))
	})
}
