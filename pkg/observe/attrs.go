package observe

import (
	"encoding"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Field is an attribute of a record as text: the key with its groups ("radius.server"), the value not yet escaped.
type Field struct{ Key, Value string }

// scope is what WithAttrs and WithGroup have gathered. It is immutable.
type scope struct {
	pairs  []Field
	prefix string
}

func (s scope) withAttrs(attrs []slog.Attr) scope {
	pairs := append([]Field(nil), s.pairs...)
	for _, a := range attrs {
		pairs = appendAttr(pairs, s.prefix, a)
	}
	return scope{pairs: pairs, prefix: s.prefix}
}

func (s scope) withGroup(name string) scope {
	if name == "" {
		return s
	}
	return scope{pairs: s.pairs, prefix: s.prefix + name + "."}
}

// of returns the pairs of one record: those of the scope first. A later pair with the same key replaces an earlier one in place.
func (s scope) of(r slog.Record) []Field {
	pairs := append(make([]Field, 0, len(s.pairs)+r.NumAttrs()), s.pairs...)
	r.Attrs(func(a slog.Attr) bool {
		pairs = appendAttr(pairs, s.prefix, a)
		return true
	})
	out := pairs[:0]
	for _, p := range pairs { // they are a dozen
		if i := index(out, p.Key); i >= 0 {
			out[i].Value = p.Value
			continue
		}
		out = append(out, p)
	}
	return out
}

// index is where a key is; -1: nowhere.
func index(fields []Field, key string) int {
	for i := range fields {
		if fields[i].Key == key {
			return i
		}
	}
	return -1
}

func appendAttr(pairs []Field, prefix string, a slog.Attr) []Field {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, g := range v.Group() {
			pairs = appendAttr(pairs, prefix, g)
		}
		return pairs
	}
	if a.Key == "" {
		return pairs
	}
	return append(pairs, Field{Key: prefix + a.Key, Value: text(v)})
}

// text returns v in words. Kinds that slog knows take the shortest form; everything else says of itself what it wants to.
func text(v slog.Value) string {
	switch v.Kind() {
	case slog.KindTime:
		return v.Time().Format(time.RFC3339Nano)
	case slog.KindAny:
		switch x := v.Any().(type) {
		case nil:
			return ""
		case error:
			return x.Error()
		case netip.AddrPort: // most lines have one
			return x.String()
		case fmt.Stringer:
			return fmt.Sprintf("%v", x)
		case encoding.TextMarshaler:
			b, err := x.MarshalText()
			if err != nil {
				return "!" + err.Error()
			}
			return string(b)
		default:
			return fmt.Sprintf("%+v", x)
		}
	case slog.KindBool, slog.KindDuration, slog.KindFloat64, slog.KindInt64, slog.KindString, slog.KindUint64,
		slog.KindGroup, slog.KindLogValuer:
	}
	return v.String()
}

// details gives the fields as text shows them: empty values and the event's name left out, ids of both ends joined.
func details(fields []Field) iter.Seq[Field] {
	find := func(key string) string {
		if i := index(fields, key); i >= 0 {
			return fields[i].Value
		}
		return ""
	}
	return func(yield func(Field) bool) {
		for _, p := range fields {
			switch p.Key {
			case KeyEvent:
				continue
			case KeyTunnel:
				p.Value = joinIDs(p.Value, find(KeyPeerTunnel))
			case KeySession:
				p.Value = joinIDs(p.Value, find(KeyPeerSession))
			case KeyPeerTunnel:
				if find(KeyTunnel) != "" {
					continue
				}
			case KeyPeerSession:
				if find(KeySession) != "" {
					continue
				}
			}
			if p.Value != "" && !yield(p) {
				return
			}
		}
	}
}

func joinIDs(ours, peers string) string {
	if ours == "" || peers == "" || peers == "0" {
		return ours
	}
	return ours + "/" + peers
}

// Clean escapes what could move a cursor, end a line or turn the text around; printable text stays as it is. It is for words that a
// peer chose and a terminal will show.
func Clean(s string) string {
	ok := true
	for i, r := range s {
		if !strconv.IsPrint(r) || r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)) {
			ok = false
			break
		}
	}
	if ok {
		return s
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// quote returns s as the value of key=value: bare when that cannot be misread.
func quote(s string) string {
	if s == "" {
		return `""`
	}
	for _, r := range s {
		if r == ' ' || r == '"' || r == '=' || r == '\\' || r == utf8.RuneError || !strconv.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

// appendDetails appends "  key=value" for each field.
func appendDetails(b []byte, fields []Field) []byte {
	between := "  "
	for p := range details(fields) {
		b = append(b, between...)
		b = append(b, Clean(p.Key)...)
		b = append(b, '=')
		b = append(b, quote(p.Value)...)
		between = " "
	}
	return b
}
