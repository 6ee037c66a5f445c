package config

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// findSecrets notes where secrets stand, misspelt keys included, so that no snippet shows one.
func (s *source) findSecrets(root *yaml.Node) {
	if root.Kind != yaml.DocumentNode || len(root.Content) == 0 {
		return
	}
	top := root.Content[0]
	s.scan(top, false)
	if top.Kind != yaml.MappingNode {
		return
	}
	// A password in the wrong shape: "users: {name: password}", "secrets: [text]".
	for i := 0; i+1 < len(top.Content); i += 2 {
		if key := squash(top.Content[i].Value); key != "secret" && nearest(key, []string{"secrets", "users"}) != "" {
			s.hideScalars(top.Content[i+1])
		}
	}
}

func (s *source) scan(n *yaml.Node, secret bool) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			reference := secret && (key.Value == "file" || key.Value == "credential")
			s.scan(key, secret && key.Value != "file" && key.Value != "credential")
			s.scan(value, !reference && (secret || secretKey(key.Value)) || secretKey(key.Value) && value.Kind == yaml.ScalarNode)
		}
	case yaml.SequenceNode, yaml.DocumentNode:
		for _, c := range n.Content {
			s.scan(c, secret)
		}
	case yaml.ScalarNode:
		if secret {
			s.hide(n)
		}
	case yaml.AliasNode:
	}
}

// hideScalars hides the items of a list or the values of a mapping where mappings should be.
func (s *source) hideScalars(n *yaml.Node) {
	switch n.Kind {
	case yaml.ScalarNode:
		s.hide(n)
	case yaml.SequenceNode:
		for _, c := range n.Content {
			if c.Kind != yaml.MappingNode {
				s.scan(c, true)
			}
		}
	case yaml.MappingNode:
		for i := 1; i < len(n.Content); i += 2 {
			if n.Content[i].Kind != yaml.MappingNode {
				s.scan(n.Content[i], true)
			}
		}
	case yaml.DocumentNode, yaml.AliasNode:
	}
}

// secretKey says that a key's value is, or by a slip may be, a secret. "secrets" is the list of rules.
func secretKey(key string) bool {
	key = squash(key)
	if key == "secrets" || key == "users" || key == "passive" {
		return false
	}
	if strings.Contains(key, "secret") || strings.Contains(key, "pass") {
		return true
	}
	near := distance(key, "secret") <= 2 || distance(key, "password") <= 3
	return near && !slices.ContainsFunc(table(), func(f *field) bool { return squash(f.key()) == key })
}

// hide notes the place of a scalar: on one line exactly, over several lines generously.
func (s *source) hide(n *yaml.Node) {
	if n.Line < 1 || n.Line > len(s.lines) || n.Tag == "!!null" || isNone(n) {
		return
	}
	rest := []rune(s.lines[n.Line-1])
	rest = rest[min(max(n.Column-1, 0), len(rest)):]
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) == 0 && n.Anchor == "" &&
		strings.HasPrefix(string(rest), n.Value) {
		s.masks[n.Line] = append(s.masks[n.Line], span{n.Column, n.Column + utf8.RuneCountInString(n.Value)})
		return
	}
	if len(rest) > 0 && (rest[0] == '\'' || rest[0] == '"') {
		if end := closing(rest); end > 0 {
			s.masks[n.Line] = append(s.masks[n.Line], span{n.Column, n.Column + end})
			return
		}
	}
	indent := len(s.lines[n.Line-1]) - len(strings.TrimLeft(s.lines[n.Line-1], " -"))
	s.masks[n.Line] = append(s.masks[n.Line], span{from: n.Column})
	for l := n.Line + 1; l <= len(s.lines); l++ {
		text := s.lines[l-1]
		if strings.TrimSpace(text) != "" && len(text)-len(strings.TrimLeft(text, " ")) <= indent && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 {
			break
		}
		s.masks[l] = append(s.masks[l], span{from: 1})
	}
}

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

var secretWord = regexp.MustCompile(`(?i)[\pL\pN_-]*(?:secr|pass|pwd)[\pL\pN_-]*["']?\s*[:=]?`)

// guessSecret finds what may be a secret in a line that does not parse: everything after the first such key.
func guessSecret(line string) []span {
	for _, m := range secretWord.FindAllStringIndex(line, -1) {
		rest := strings.TrimLeft(line[m[1]:], " ")
		if strings.HasPrefix(rest, "{") || strings.HasPrefix(rest, "[") && strings.HasPrefix(strings.ToLower(strings.TrimLeft(line, " ")), "secrets") {
			continue
		}
		return []span{{from: 1 + utf8.RuneCountInString(line[:m[1]])}}
	}
	return nil
}
