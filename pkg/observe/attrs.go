package observe

import (
	"encoding"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// pair is one attribute ready to be written: the key with its groups ("radius.server"), the value as text, not yet escaped.
type pair struct{ key, value string }

// scope is what WithAttrs and WithGroup have gathered. It is immutable.
type scope struct {
	pairs  []pair
	prefix string
}

func (s scope) withAttrs(attrs []slog.Attr) scope {
	pairs := append([]pair(nil), s.pairs...)
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
func (s scope) of(r slog.Record) []pair {
	pairs := append(make([]pair, 0, len(s.pairs)+r.NumAttrs()), s.pairs...)
	r.Attrs(func(a slog.Attr) bool {
		pairs = appendAttr(pairs, s.prefix, a)
		return true
	})
	out := pairs[:0]
	at := make(map[string]int, len(pairs))
	for _, p := range pairs {
		if i, ok := at[p.key]; ok {
			out[i].value = p.value
			continue
		}
		at[p.key] = len(out)
		out = append(out, p)
	}
	return out
}

func appendAttr(pairs []pair, prefix string, a slog.Attr) []pair {
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
	return append(pairs, pair{key: prefix + a.Key, value: text(v)})
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

// details returns the pairs as text shows them: empty values and the event's name left out, ids of both ends joined.
func details(pairs []pair) []pair {
	find := func(key string) string {
		for _, p := range pairs {
			if p.key == key {
				return p.value
			}
		}
		return ""
	}
	out := make([]pair, 0, len(pairs))
	for _, p := range pairs {
		switch p.key {
		case KeyEvent:
			continue
		case KeyTunnel:
			p.value = joinIDs(p.value, find(KeyPeerTunnel))
		case KeySession:
			p.value = joinIDs(p.value, find(KeyPeerSession))
		case KeyPeerTunnel:
			if find(KeyTunnel) != "" {
				continue
			}
		case KeyPeerSession:
			if find(KeySession) != "" {
				continue
			}
		}
		if p.value != "" {
			out = append(out, p)
		}
	}
	return out
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

// appendDetails appends "  key=value" for each pair.
func appendDetails(b []byte, pairs []pair) []byte {
	for i, p := range details(pairs) {
		if i == 0 {
			b = append(b, ' ')
		}
		b = append(b, ' ')
		b = append(b, Clean(p.key)...)
		b = append(b, '=')
		b = append(b, quote(p.value)...)
	}
	return b
}
