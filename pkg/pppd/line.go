package pppd

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// maxLine is the longest line that is passed on in one piece. pppd's own are half as long.
const maxLine = 2048

// records reads until the end of r and hands over what ends with the delimiter, or is longer than a line may be.
func records(r io.Reader, delimiter byte, take func(string)) {
	buf := bufio.NewReaderSize(r, maxLine)
	for {
		b, err := buf.ReadSlice(delimiter)
		if text := strings.TrimRight(string(b), string(rune(delimiter))); text != "" {
			take(text)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return // the end, or the pipe was closed because the end did not come
		}
	}
}

// noise are lines that every pppd writes and nobody can use: about files that it may not have below /run, and about the MTU that it
// was told.
var noise = []string{"Failed to create pid file", "Warning: couldn't open ppp database", "Overriding mtu", "Overriding mru"}

func isNoise(line string) bool {
	for _, n := range noise {
		if strings.Contains(line, n) {
			return true
		}
	}
	return false
}

// printable makes a line of text out of octets that a peer may have had its hand in.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(line, "?"))
}

// shortestMasked is the length below which a password is not looked for: masking every "a" would give it away.
const shortestMasked = 4

// named finds what is called a password in pppd's packet dumps.
var named = regexp.MustCompile(`(?i)(password=)("(?:[^"\\]|\\.)*"|[^\s"]+)`)

// masker takes the passwords of a session out of its log. pppd hides them by itself: this is for what it does not mean to say,
// as an option that it does not understand.
func masker(s *Spec) func(string) string {
	var passwords []string
	add := func(secret policy.Secret) {
		for _, text := range []string{string(secret.Reveal()), visible(string(secret.Reveal()))} {
			if len(text) >= shortestMasked {
				passwords = append(passwords, text)
			}
		}
	}
	add(s.Password)
	for _, u := range s.Users {
		add(u.Password)
	}
	// One may begin with another: the longest first.
	slices.SortFunc(passwords, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	pairs := make([]string, 0, 2*len(passwords))
	for _, p := range passwords {
		pairs = append(pairs, p, "***")
	}
	literal := strings.NewReplacer(pairs...)
	return func(line string) string {
		return literal.Replace(named.ReplaceAllString(line, "${1}***"))
	}
}
