package tty

import (
	"bytes"
	"strconv"
	"strings"
)

const (
	maxLine   = 256 // octets of a modem's line that are looked at
	maxNumber = 64
)

// mark is what an octet has completed.
type mark uint8

const (
	markNone mark = iota
	markRing
	markConnect
	markResult // a call has failed: scanner.reason and scanner.text say how
	markPPP    // a frame has begun
)

// scanner reads along with what a modem says, in its own words (ITU-T V.250, V.253), whatever else is expected of it. What it holds is
// bounded.
type scanner struct {
	line []byte
	long bool    // the line is longer than what is held
	last [3]byte // octets

	connected bool
	speed     uint32 // as CONNECT had it; 0: it had none
	carrier   uint32 // as CARRIER had it
	calling   string
	reason    Reason // of markResult
	text      string
}

// feed takes the next octet.
func (s *scanner) feed(b byte) mark {
	s.last = [3]byte{s.last[1], s.last[2], b}
	switch {
	case b == 0x7e || s.last == [3]byte{0xff, 0x7d, 0x23}: // a flag, or the all-stations address and the escaped UI (RFC 1662)
		return markPPP
	case b == '\r' || b == '\n':
		line, long := string(s.line), s.long
		s.line, s.long = s.line[:0], false
		if long {
			return markNone
		}
		return s.read(strings.TrimSpace(line))
	case len(s.line) == maxLine:
		s.long = true
	default:
		s.line = append(s.line, b)
	}
	return markNone
}

// connecting says whether CONNECT is there, but the rest of its line is not.
func (s *scanner) connecting() bool { return !s.long && bytes.HasPrefix(s.line, []byte("CONNECT")) }

// newCall forgets what was said of the last call.
func (s *scanner) newCall() { *s = scanner{line: s.line[:0]} }

// rate is the speed of the call (P203), or fallback if the modem has not told it. CARRIER is of the connection itself, while CONNECT may
// be of the way to the modem.
func (s *scanner) rate(fallback int) uint32 {
	switch {
	case s.carrier > 0:
		return s.carrier
	case s.speed > 0:
		return s.speed
	}
	return uint32(fallback)
}

// results are how modems say that a call has failed.
var results = map[string]Reason{
	"BUSY":         Busy,
	"NO DIALTONE":  NoDialTone,
	"NO DIAL TONE": NoDialTone,
	"NO CARRIER":   NoCarrier,
	"VOICE":        NoCarrier,
	"NO ANSWER":    Timeout,
	"ERROR":        Refused,
	"DELAYED":      Refused,
	"BLACKLISTED":  Refused,
}

// reasonOf sorts a text that ends a script.
func reasonOf(text string) Reason {
	text = strings.ToUpper(text)
	for _, word := range []string{"BUSY", "NO DIALTONE", "NO DIAL TONE", "NO CARRIER", "NO ANSWER", "VOICE"} {
		if strings.Contains(text, word) {
			return results[word]
		}
	}
	return Refused
}

// read takes a whole line.
func (s *scanner) read(line string) mark {
	if reason, ok := results[line]; ok {
		s.reason, s.text = reason, line
		return markResult
	}
	if line == "RING" || strings.HasPrefix(line, "RING ") || strings.HasPrefix(line, "+CRING:") {
		return markRing
	}
	if rest, ok := strings.CutPrefix(line, "CONNECT"); ok {
		s.connected, s.speed = true, leadingSpeed(rest)
		return markConnect
	}
	if rest, ok := strings.CutPrefix(line, "CARRIER"); ok {
		s.carrier = leadingSpeed(rest)
		return markNone
	}
	for _, key := range []string{"NMBR", "CALLER NUMBER", "+CLIP"} {
		if rest, ok := strings.CutPrefix(line, key); ok {
			if number := callingNumber(rest); number != "" {
				s.calling = number
			}
			return markNone
		}
	}
	return markNone
}

// leadingSpeed reads " 33600/ARQ/V34": 0 if no number stands first.
func leadingSpeed(s string) uint32 {
	s = strings.TrimLeft(s, " ")
	end := 0
	for end < len(s) && '0' <= s[end] && s[end] <= '9' {
		end++
	}
	v, err := strconv.ParseUint(s[:end], 10, 32)
	if err != nil {
		return 0
	}
	return uint32(v)
}

// callingNumber reads " = 5551234", ": 5551234" and `: "5551234",129`. P and O are "private" and "out of area": no number.
func callingNumber(s string) string {
	s = strings.TrimLeft(s, ` =:"`)
	end := 0
	for end < len(s) && strings.IndexByte("0123456789*#+", s[end]) >= 0 {
		end++
	}
	if end > maxNumber {
		return ""
	}
	return s[:end]
}

// dialable says whether a number may be put into a script. It comes from the network, and a modem takes more than numbers.
func dialable(number string) bool {
	for i := range len(number) {
		if strings.IndexByte("0123456789*#+,-. ()wW", number[i]) < 0 {
			return false
		}
	}
	return len(number) <= maxNumber
}
