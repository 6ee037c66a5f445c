package config

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// place is where a node begins.
type place struct{ line, column int }

func (p place) compare(o place) int { return cmp.Or(p.line-o.line, p.column-o.column) }

// findSecrets notes what no snippet may show: the values of secrets, and all that the table does not know where it stands, for it
// may be a secret under a wrong key or in a wrong shape.
func (s *source) findSecrets(root *yaml.Node) {
	s.note(root)
	slices.SortFunc(s.starts, place.compare)
	for _, top := range root.Content {
		s.coverSection(s.table, top)
	}
}

// note remembers where n and what is in it begin. An alias has no content of its own.
func (s *source) note(n *yaml.Node) {
	s.starts = append(s.starts, place{n.Line, n.Column})
	for _, c := range n.Content {
		s.note(c)
	}
}

// cover hides of y what the table does not know to be harmless; n is what the table has there, nil if nothing.
func (s *source) cover(n *node, y *yaml.Node) {
	if n == nil {
		s.hideAll(y)
		return
	}
	f := n.field
	switch f.kind {
	case kindSection:
		s.coverSection(n, y)
	case kindNamed:
		if y.Kind != yaml.MappingNode {
			s.coverSection(n, y)
			return
		}
		for i := 0; i+1 < len(y.Content); i += 2 {
			if key := y.Content[i]; key.Kind != yaml.ScalarNode || n.hasSecret() && isNull(y.Content[i+1]) {
				s.hideAll(key)
			}
			s.coverSection(n, y.Content[i+1])
		}
	case kindList:
		if y.Kind != yaml.SequenceNode {
			s.coverSection(n, y)
			return
		}
		for _, item := range y.Content {
			s.coverSection(n, item)
		}
	case kindValue:
		s.coverValue(f, y)
	case kindRefused:
		if !f.offOK || y.Kind != yaml.ScalarNode {
			s.hideAll(y)
		}
	}
}

// coverSection covers what should be a mapping with the keys of n.
func (s *source) coverSection(n *node, y *yaml.Node) {
	switch {
	case y.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(y.Content); i += 2 {
			key, value := y.Content[i], y.Content[i+1]
			child := n.children[key.Value]
			if child == nil && stray(key, value) {
				s.hideAll(key)
			}
			s.cover(child, value)
		}
	case n.hasSecret():
		s.hideAll(y)
	}
}

// coverValue covers a value of f: all of a secret but the word none and where it is to be found, nothing of another scalar, list of
// them, or mapping that f knows.
func (s *source) coverValue(f *field, y *yaml.Node) {
	switch {
	case !f.secret() && y.Kind == yaml.SequenceNode:
		for _, item := range y.Content {
			s.coverItem(item)
		}
	case len(f.inner) > 0 && y.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(y.Content); i += 2 {
			key, value := y.Content[i], y.Content[i+1]
			if !slices.Contains(f.inner, key.Value) {
				s.hideAll(key)
				s.hideAll(value)
				continue
			}
			s.coverItem(value)
		}
	case !f.secret():
		s.coverItem(y)
	case y.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(y.Content); i += 2 {
			key, value := y.Content[i], y.Content[i+1]
			if !isReference(key) {
				s.hideAll(key)
			}
			if !isReference(key) || value.Kind != yaml.ScalarNode {
				s.hideAll(value)
			}
		}
	case f.orNone() && isNone(y):
	default:
		s.hideAll(y)
	}
}

// coverItem covers a value that is no secret: all of it where it has another shape, or goes on with the key of one.
func (s *source) coverItem(y *yaml.Node) {
	if y.Kind == yaml.MappingNode || y.Kind == yaml.SequenceNode || goesOn.MatchString(y.Value) {
		s.hideAll(y)
	}
}

// goesOn finds the key of a secret within a value, as a forgotten comma or line end leaves it.
var goesOn = regexp.MustCompile(`(?i)[\w-]*(?:secr|pass|pwd|psk|pw)[\w-]*["']?\s*[:=]`)

// stray says that a key which the table does not have is no word with a value. It may be a value that lost its key, or a key and
// its value without the space between: it is neither shown nor quoted.
func stray(key, value *yaml.Node) bool {
	return key.Kind != yaml.ScalarNode || isNull(value) || !nameChars.MatchString(key.Value) && key.Tag != "!!merge"
}

// hideAll hides every scalar of n but the keys that are words of the table.
func (s *source) hideAll(n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key := n.Content[i]; stray(key, n.Content[i+1]) || !s.words[key.Value] {
				s.hideAll(key)
			}
			s.hideAll(n.Content[i+1])
		}
	case yaml.SequenceNode, yaml.DocumentNode:
		for _, c := range n.Content {
			s.hideAll(c)
		}
	case yaml.ScalarNode, yaml.AliasNode:
		s.hide(n)
	}
}

// hide notes the place of a scalar: exactly where it is plain to see where it ends, else to where the next node begins.
func (s *source) hide(n *yaml.Node) {
	if n.Line < 1 || n.Line > len(s.lines) || isNull(n) && n.Anchor == "" && n.Style == 0 {
		return
	}
	rest := []rune(s.lines[n.Line-1])
	rest = rest[min(max(n.Column-1, 0), len(rest)):]
	written := n.Value
	if n.Kind == yaml.AliasNode {
		written = "*" + written
	}
	if n.Style == 0 && n.Anchor == "" && strings.HasPrefix(string(rest), written) {
		s.mask(n.Line, span{n.Column, n.Column + utf8.RuneCountInString(written)})
		return
	}
	if len(rest) > 0 && (rest[0] == '\'' || rest[0] == '"') {
		if end := closing(rest); end > 0 {
			s.mask(n.Line, span{n.Column, n.Column + end})
			return
		}
	}
	end := place{line: len(s.lines) + 1}
	if i, _ := slices.BinarySearchFunc(s.starts, place{n.Line, n.Column + 1}, place.compare); i < len(s.starts) {
		end = s.starts[i]
	}
	from := n.Column
	for l := n.Line; l < end.line; l, from = l+1, 1 {
		s.mask(l, span{from: from})
	}
	if end.line > len(s.lines) {
		return
	}
	before := []rune(s.lines[end.line-1])
	before = before[:min(max(end.column-1, 0), len(before))]
	s.mask(end.line, span{from, 1 + utf8.RuneCountInString(strings.TrimRight(string(before), " \t"))})
}

// mask hides a run of a line from its snippets.
func (s *source) mask(line int, m span) { s.masks[line] = append(s.masks[line], m) }

// closing is the number of characters of the quoted text at the start of rest, 0 if it does not end on this line.
func closing(rest []rune) int {
	quote := rest[0]
	for i := 1; i < len(rest); i++ {
		switch {
		case quote == '"' && rest[i] == '\\':
			i++
		case rest[i] == quote && quote == '\'' && i+1 < len(rest) && rest[i+1] == quote:
			i++
		case rest[i] == quote:
			return i + 1
		}
	}
	return 0
}

var (
	indentation = regexp.MustCompile(`^(?:---(?:[ \t]|$))?[ \t]*(?:-[ \t]+)*`)
	firstKey    = regexp.MustCompile(`^[{\[ \t]*["']?(\w+)["']?[ \t]*:[ \t]*`)
	// comment is where one begins: the library takes "#" so behind a bracket, comma or quote as well.
	comment = regexp.MustCompile(`(?:^|[ \t,{}\[\]"'])#[ \t]*`)
)

// conceal hides what a line of a text that does not parse may have of a secret, whose key may be on another line: all but the
// indentation and the first key, if that is a word of the table.
func (s *source) conceal(line int) {
	text := s.lines[line-1]
	shown := len(indentation.FindString(text))
	if m := firstKey.FindStringSubmatch(text[shown:]); m != nil && s.words[m[1]] {
		shown += len(m[0])
	}
	s.mask(line, span{from: 1 + utf8.RuneCountInString(text[:shown])})
}
