package pppoe

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// fit cuts a text for a client to UTF-8 without NUL (RFC 2516, appendix A) of at most so many octets, and never more than maxText.
func fit(text string, room int) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\x00", "?")
	room = max(0, min(room, maxText))
	if len(text) <= room {
		return text
	}
	for room > 0 && !utf8.RuneStart(text[room]) {
		room--
	}
	return text[:room]
}

// printable gives a client's text for our own people: what cannot be printed becomes a question mark.
func printable(text []byte) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, fit(string(text), maxText))
}
