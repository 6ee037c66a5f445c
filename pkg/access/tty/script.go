package tty

import (
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

const (
	maxText     = 128 // octets of one expectation
	maxAborts   = 32
	chatTimeout = 45 * time.Second
	maxTimeout  = time.Hour
	longPause   = time.Second
	shortPause  = time.Second / 10
)

// script is a chat script taken apart.
type script []step

type stepKind uint8

const (
	stepExpect  stepKind = iota // wait for text; at once if it is empty
	stepSend                    // pieces
	stepAbort                   // text ends the script from now on
	stepForget                  // text does not any more
	stepTimeout                 // wait is that of each expectation from now on
)

type step struct {
	kind   stepKind
	text   []byte
	pieces []piece
	wait   time.Duration
}

type pieceKind uint8

const (
	pieceText pieceKind = iota
	piecePause
	pieceNumber
	pieceSubAddress
	pieceBreak
)

// piece is a part of what is sent.
type piece struct {
	kind pieceKind
	text []byte
	wait time.Duration
}

var (
	errNoAnswer   = errors.New("nothing follows")
	errLong       = fmt.Errorf("more than %d octets", maxText)
	errEscapeEnd  = errors.New(`it ends in a single backslash`)
	errEmptyAbort = errors.New("the empty text would always be found")
	errAborts     = fmt.Errorf("more than %d texts that end the script", maxAborts)
)

// parseScript takes a chat script apart.
func parseScript(words []string) (script, error) {
	var s script
	aborts := 0
	for i := 0; i < len(words); i++ {
		word := words[i]
		kind, directive := map[string]stepKind{"ABORT": stepAbort, "CLR_ABORT": stepForget, "TIMEOUT": stepTimeout}[word]
		if directive {
			i++
			if i == len(words) {
				return nil, fmt.Errorf("entry %d, %s: %w", i, word, errNoAnswer)
			}
			st, err := parseDirective(kind, words[i])
			if err != nil {
				return nil, fmt.Errorf("entry %d, %s %q: %w", i, word, words[i], err)
			}
			if kind == stepAbort {
				aborts++
			}
			s = append(s, st)
			continue
		}
		text, err := parseExpect(word)
		if err != nil {
			return nil, fmt.Errorf("entry %d, expect %q: %w", i+1, word, err)
		}
		s = append(s, step{kind: stepExpect, text: text})
		if i++; i == len(words) {
			break // the last expectation needs no answer
		}
		pieces, err := parseSend(words[i])
		if err != nil { // what is sent may be a secret
			return nil, fmt.Errorf("entry %d, after expect %q: %w", i+1, word, err)
		}
		s = append(s, step{kind: stepSend, pieces: pieces})
	}
	if aborts > maxAborts {
		return nil, errAborts
	}
	return s, nil
}

func parseDirective(kind stepKind, word string) (step, error) {
	if kind == stepTimeout {
		n, err := strconv.Atoi(word)
		if wait := time.Duration(n) * time.Second; err == nil && n > 0 && wait <= maxTimeout {
			return step{kind: kind, wait: wait}, nil
		}
		return step{}, fmt.Errorf("want 1 to %d seconds", maxTimeout/time.Second)
	}
	text, err := parseExpect(word)
	if err == nil && len(text) == 0 {
		err = errEmptyAbort
	}
	return step{kind: kind, text: text}, err
}

// parseExpect gives the octets that are waited for.
func parseExpect(word string) ([]byte, error) {
	var text []byte
	for rest := word; rest != ""; {
		b, special, n, err := unescape(rest)
		switch {
		case err != nil:
			return nil, err
		case special != 0:
			return nil, fmt.Errorf(`\%c has a meaning only in what is sent`, special)
		}
		text, rest = append(text, b), rest[n:]
	}
	if len(text) > maxText {
		return nil, errLong
	}
	return text, nil
}

// parseSend gives what is sent, with a carriage return behind it unless \c says otherwise.
func parseSend(word string) ([]piece, error) {
	var pieces []piece
	var text []byte
	flush := func() {
		if len(text) > 0 {
			pieces, text = append(pieces, piece{kind: pieceText, text: text}), nil
		}
	}
	bare := false
	for rest := word; rest != ""; {
		b, special, n, err := unescape(rest)
		if err != nil {
			return nil, err
		}
		rest = rest[n:]
		if special == 0 {
			text = append(text, b)
			continue
		}
		flush()
		switch special {
		case 'c':
			bare = true
		case 'd':
			pieces = append(pieces, piece{kind: piecePause, wait: longPause})
		case 'p':
			pieces = append(pieces, piece{kind: piecePause, wait: shortPause})
		case 'T':
			pieces = append(pieces, piece{kind: pieceNumber})
		case 'U':
			pieces = append(pieces, piece{kind: pieceSubAddress})
		case 'K':
			pieces = append(pieces, piece{kind: pieceBreak})
		}
	}
	if !bare {
		text = append(text, '\r')
	}
	flush()
	return pieces, nil
}

// unescape takes the first octet of s, or the escape that stands there: n octets. special is the letter of one that is no octet.
func unescape(s string) (b byte, special byte, n int, err error) {
	if s[0] != '\\' {
		return s[0], 0, 1, nil
	}
	if len(s) == 1 {
		return 0, 0, 0, errEscapeEnd
	}
	switch c := s[1]; c {
	case 'r':
		return '\r', 0, 2, nil
	case 'n':
		return '\n', 0, 2, nil
	case 't':
		return '\t', 0, 2, nil
	case 's':
		return ' ', 0, 2, nil
	case 'b':
		return '\b', 0, 2, nil
	case 'N':
		return 0, 0, 2, nil
	case '\\', '^':
		return c, 0, 2, nil
	case 'c', 'd', 'p', 'T', 'U', 'K':
		return 0, c, 2, nil
	case '0', '1', '2', '3', '4', '5', '6', '7':
		n = 2
		for n < len(s) && n < 4 && '0' <= s[n] && s[n] <= '7' {
			n++
		}
		v, err := strconv.ParseUint(s[1:n], 8, 8)
		if err != nil {
			err = fmt.Errorf(`%s is more than \377`, s[:n])
		}
		return byte(v), 0, n, err
	}
	r, _ := utf8.DecodeRuneInString(s[1:])
	return 0, 0, 0, fmt.Errorf(`unknown escape \%c`, r)
}
