package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"gopkg.in/yaml.v3"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// Output formats, the words of -o.
const (
	formatTable = "table" // for people, 80 columns
	formatWide  = "wide"  // for people, all columns
	formatJSON  = "json"  // what the daemon answered
	formatYAML  = "yaml"  // the same
	formatJSONL = "jsonl" // each object of the answer on a line of its own
)

func formats() []string {
	return []string{formatTable, formatWide, formatJSON, formatYAML, formatJSONL}
}

// checkFormat says what is wrong with the word behind -o.
func (t *tool) checkFormat() error {
	if slices.Contains(formats(), t.format) {
		return nil
	}
	return usagef("say -o table, wide, json, yaml or jsonl", "there is no output format %q", t.format)
}

// wide says that tables have all their columns.
func (t *tool) wide() bool { return t.format == formatWide }

// machine says that programs read what is written.
func (t *tool) machine() bool { return t.format != formatTable && t.format != formatWide }

// show writes an answer in the format that was asked for; text makes it for people.
func (t *tool) show(answer any, text func() string) error {
	switch t.format {
	case formatJSON:
		return t.json(answer)
	case formatYAML:
		return t.yaml(answer)
	case formatJSONL:
		for _, object := range objects(answer) {
			if err := t.jsonLine(object); err != nil {
				return err
			}
		}
		return nil
	}
	return t.print(text())
}

// objects are what a Snapshot is about, without what stands around them; of any other answer, itself.
func objects(answer any) []any {
	snap, ok := answer.(*api.Snapshot)
	if !ok {
		return []any{answer}
	}
	var all []any
	v := reflect.ValueOf(*snap)
	for i := range v.NumField() {
		f := v.Field(i) // but for the version and the time
		if f.Kind() == reflect.Slice {
			for j := range f.Len() {
				all = append(all, f.Index(j).Interface())
			}
		}
		if f.Kind() == reflect.Pointer && !f.IsNil() {
			all = append(all, f.Interface())
		}
	}
	return all
}

// json writes v, for people who read it.
func (t *tool) json(v any) error { return t.encode(v, "  ") }

// jsonLine writes v as one line.
func (t *tool) jsonLine(v any) error { return t.encode(v, "") }

// encode writes v. What a terminal would obey and JSON does not escape by itself leaves as \uXXXX too.
func (t *tool) encode(v any, indent string) error {
	raw, err := toJSON(v, indent)
	if err != nil {
		return err
	}
	return t.print(escaped(string(raw), func(r rune) string {
		text := ""
		for _, u := range utf16.Encode([]rune{r}) {
			text += fmt.Sprintf(`\u%04x`, u)
		}
		return text
	}))
}

func toJSON(v any, indent string) ([]byte, error) {
	var raw bytes.Buffer
	enc := json.NewEncoder(&raw)
	enc.SetIndent("", indent)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	return raw.Bytes(), nil
}

// escaped is s with every character that is not printable, but the ends of lines, as with makes it.
func escaped(s string, with func(rune) string) string {
	var b strings.Builder
	for _, r := range s {
		if r == '\n' || strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		b.WriteString(with(r))
	}
	return b.String()
}

// yaml writes v with the keys of its JSON, in their order.
func (t *tool) yaml(v any) error {
	raw, err := toJSON(v, "")
	if err != nil {
		return err
	}
	var doc yaml.Node // JSON is YAML, but for some characters, and for how it escapes others
	if err := yaml.Unmarshal([]byte(escaped(string(raw), yamlEscape)), &doc); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	plain(&doc)
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	return t.print(escaped(b.String(), yamlEscape))
}

func yamlEscape(r rune) string { return fmt.Sprintf(`\U%08x`, r) }

// plain writes a node of JSON as people write YAML. A text that has to have escapes is quoted, since only there they mean something.
func plain(n *yaml.Node) {
	empty := len(n.Content) == 0 && n.Kind != yaml.ScalarNode
	if !empty { // else it stays [] or {}
		n.Style = 0
	}
	if n.Kind == yaml.ScalarNode && strings.ContainsFunc(n.Value, func(r rune) bool { return !strconv.IsPrint(r) }) {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, c := range n.Content {
		plain(c)
	}
}
