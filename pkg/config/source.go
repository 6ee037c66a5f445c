package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// source is the text of a configuration: it parses, and it cuts snippets that show no secret.
type source struct {
	name   string
	data   []byte
	lines  []string
	table  *node
	words  map[string]bool // the names of all keys
	starts []place         // of all nodes, in order
	masks  map[int][]span  // by line number
}

// span is a run of characters of one line: from is the first column, to the one after the last; 0: to the end of the line.
type span struct{ from, to int }

func newSource(name string, data []byte) *source {
	text := strings.TrimPrefix(string(data), "\ufeff")
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\r")
	}
	return &source{name: name, data: data, lines: lines, table: schema(), words: keyNames(), masks: map[int][]span{}}
}

// parse gives the root node of the only document, nil for an empty one.
func (s *source) parse() (*yaml.Node, *Diagnostic) {
	if d := s.unreadable(); d != nil {
		return nil, d
	}
	dec := yaml.NewDecoder(bytes.NewReader(s.data))
	root, err := decodeNode(dec)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, s.syntax(err)
	}
	s.findSecrets(root)
	second, err := decodeNode(dec)
	switch {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, s.syntax(err)
	default:
		s.conceal(min(max(second.Line, 1), len(s.lines)))
		d := s.diagnostic(second.Line, second.Column, "a second YAML document begins here", "keep everything in one document: remove the line with ---")
		return nil, &d
	}
	if len(root.Content) == 0 {
		return nil, nil
	}
	return root.Content[0], nil
}

// unreadable finds what the library reads otherwise than as the lines that editors show: another encoding, and other line ends.
// Its places would not be those of s.lines.
func (s *source) unreadable() *Diagnostic {
	const advice = "save the file as UTF-8 with LF line ends"
	found := func(line, column int, message string) *Diagnostic {
		s.conceal(line)
		d := s.diagnostic(line, column, message, advice)
		return &d
	}
	if bytes.HasPrefix(s.data, []byte("\xff\xfe")) || bytes.HasPrefix(s.data, []byte("\xfe\xff")) {
		return found(1, 1, "the file is UTF-16")
	}
	for i, text := range s.lines {
		at := strings.IndexFunc(text, func(r rune) bool { return strings.ContainsRune("\r\u0085\u2028\u2029", r) })
		if at >= 0 {
			r, _ := utf8.DecodeRuneInString(text[at:])
			return found(i+1, 1+utf8.RuneCountInString(text[:at]), fmt.Sprintf("a line ends with %U, which is not LF", r))
		}
	}
	return nil
}

// decodeNode reads one document. The library has panicked on strange input before; that is a syntax error here.
func decodeNode(dec *yaml.Decoder) (n *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			n, err = nil, fmt.Errorf("yaml: %v", r)
		}
	}()
	n = new(yaml.Node)
	err = dec.Decode(n)
	return n, err
}

// firstError is the first error in a text of any number of documents.
func firstError(text string) error {
	dec := yaml.NewDecoder(strings.NewReader(text))
	for {
		_, err := decodeNode(dec)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

var libraryLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)$`)

// syntax makes a diagnostic of a parser's error. The library names the line where the enclosing block begins, or none, so
// the place is searched.
func (s *source) syntax(fault error) *Diagnostic {
	line, message := 1, unquote(strings.ReplaceAll(fault.Error(), "\n", " "))
	if m := libraryLine.FindStringSubmatch(message); m != nil {
		message = m[2]
		if _, err := fmt.Sscanf(m[1], "%d", &line); err != nil {
			line = 1
		}
	}
	line = min(max(line, 1), len(s.lines))
	column := 1 + len(s.lines[line-1]) - len(strings.TrimLeft(s.lines[line-1], " "))
	if l, c, ok := s.longest(fault); ok {
		line, column = l, c
	}
	line, column = s.refine(message, line, column)
	advice := syntaxAdvice(message)
	if indent := s.lines[line-1][:len(s.lines[line-1])-len(strings.TrimLeft(s.lines[line-1], " \t"))]; strings.Contains(indent, "\t") {
		column = 1 + strings.Index(indent, "\t")
		message, advice = "a tab in the indentation", "indent with spaces"
	}
	if strings.HasPrefix(s.lines[line-1], "%") {
		advice = "remove this line: no YAML directive is needed"
	}
	s.conceal(line)
	d := s.diagnostic(line, column, "not YAML: "+printable(message), advice)
	return &d
}

// unquote drops what the library quotes of the text. Single characters that it names stay.
func unquote(message string) string {
	for _, quote := range []string{"'", "`"} {
		parts := strings.Split(message, quote)
		for i := 1; i < len(parts); i += 2 {
			if len(parts[i]) > 1 {
				parts[i] = "..."
			}
		}
		message = strings.Join(parts, quote)
	}
	return message
}

// refine moves the place of two errors from the bracket around them to what is wrong in it.
func (s *source) refine(message string, line, column int) (int, int) {
	switch {
	case strings.Contains(message, "unexpected end of stream"):
		text := []rune(s.lines[line-1])
		for i := max(0, column-1); i < len(text); i++ {
			if text[i] != '"' && text[i] != '\'' {
				continue
			}
			end := closing(text[i:])
			if end == 0 {
				return line, i + 1
			}
			i += end - 1
		}
	case strings.Contains(message, "control characters"):
		for i, text := range s.lines {
			at := 0
			for _, r := range text {
				at++
				if unicode.IsControl(r) && r != '\t' {
					return i + 1, at
				}
			}
		}
	}
	return line, column
}

// longest finds the place after the longest beginning that parses, by whole lines and then by characters of the next line.
// Every beginning that holds the error ends in the same one, so the search starts at the shortest of those. It gives up,
// !ok, when that takes long.
func (s *source) longest(fault error) (line, column int, ok bool) {
	const budget = 1 << 20 // octets parsed in either search
	end := sort.Search(len(s.lines)-1, func(n int) bool { return sameError(firstError(s.beginning(n+1)), fault) }) + 1
	good, parsed := end-1, 0
	for ; good > 0; good-- {
		text := s.beginning(good)
		if parsed += len(text); parsed > budget {
			return 0, 0, false
		}
		if firstError(text) == nil {
			break
		}
	}
	before, next := s.beginning(good), []rune(s.lines[good])
	if (len(before)+len(next))*len(next) > budget {
		return good + 1, 1, true
	}
	for n := len(next); n > 0; n-- {
		if firstError(before+string(next[:n])) == nil {
			return good + 1, min(n+1, len(next)), true
		}
	}
	return good + 1, 1, true
}

// beginning is the text of the first n lines.
func (s *source) beginning(n int) string {
	if n == 0 {
		return ""
	}
	return strings.Join(s.lines[:n], "\n") + "\n"
}

func sameError(a, b error) bool { return a != nil && a.Error() == b.Error() }

func syntaxAdvice(message string) string {
	for _, a := range []struct{ part, advice string }{
		{"mapping values are not allowed", "check the indentation; put a value that contains a colon and a space into quotes"},
		{"',' or '", "close the bracket or brace that is open here, or add the missing comma"},
		{"unexpected end of stream", "close the quotation mark that is open here"},
		{"cannot start any token", "put the value into quotes"},
		{"expected key", "indent this line like the keys beside it"},
		{"expected '-' indicator", "begin every item of the list with a dash at the same column"},
		{"could not find expected ':'", "write a key, a colon, a space and a value"},
		{"unknown escape", "use single quotes, or write \\\\ for one backslash"},
		{"unknown anchor", "put a value that begins with * into quotes"},
		{"UTF-8", "save the file as UTF-8"},
		{"control characters", "remove the control character; save the file as plain UTF-8 text"},
	} {
		if strings.Contains(message, a.part) {
			return a.advice
		}
	}
	return "correct the YAML here"
}

// diagnostic makes an error at a position.
func (s *source) diagnostic(line, column int, message, advice string) Diagnostic {
	return Diagnostic{File: s.name, Line: line, Column: column, Message: message, Snippet: s.snippet(line, column), Advice: advice}
}

const widest = 120 // characters of a line that a snippet shows

// snippet is the line, without its secrets and indentation, with a caret below the column.
func (s *source) snippet(line, column int) string {
	if line < 1 || line > len(s.lines) {
		return ""
	}
	text, caret := s.masked(line, column-1)
	trim := 0
	for trim < len(text) && trim < caret && (text[trim] == ' ' || text[trim] == '\t') {
		trim++
	}
	text, caret = text[trim:], caret-trim
	if caret > widest-20 {
		cut := min(caret-widest/2, len(text))
		text, caret = append([]rune("..."), text[cut:]...), caret-cut+3
	}
	if len(text) > widest {
		text = append(text[:widest:widest], []rune("...")...)
	}
	return strings.TrimRight(printable(string(text)), " ") + "\n" + strings.Repeat(" ", max(0, caret)) + "^"
}

// masked is the line with its secrets and its comment replaced, and where column at, counted from 0, went.
func (s *source) masked(line, at int) ([]rune, int) {
	text := []rune(s.lines[line-1])
	hide := make([]bool, len(text)+1)
	masks := s.masks[line]
	if m := comment.FindStringIndex(s.lines[line-1]); m != nil {
		masks = append(masks[:len(masks):len(masks)], span{from: 1 + utf8.RuneCountInString(s.lines[line-1][:m[1]])})
	}
	for _, m := range masks {
		to := m.to
		if to == 0 || to > len(text)+1 {
			to = len(text) + 1
		}
		for i := max(0, m.from-1); i < to-1; i++ {
			hide[i] = true
		}
	}
	out, caret := make([]rune, 0, len(text)), 0
	for i, r := range text {
		if i == at {
			caret = len(out)
		}
		switch {
		case !hide[i]:
			out = append(out, r)
		case i == 0 || !hide[i-1]:
			out = append(out, '*', '*', '*')
		case i == at:
			caret = max(0, caret-3)
		}
	}
	if at >= len(text) {
		caret = len(out)
	}
	return out, max(0, caret)
}

// printable replaces what could disturb a terminal: control characters and broken UTF-8. A tab becomes one space.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}
