package tty

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
)

// link is what a chat runs over.
type link interface {
	until(d time.Duration) error // what is begun from now on must be done in d
	next() (byte, error)         // errTimeout: none came
	send(b []byte) error
	pause(d time.Duration) error
	sendBreak() error
}

var errTimeout = errors.New("timeout")

// failure is a script that did not get what it wanted.
type failure struct {
	reason Reason
	text   string // what was said, or waited for
}

// Error is one line.
func (f *failure) Error() string {
	if f.reason == Timeout || f.reason == Framing {
		return "timeout waiting for " + f.text
	}
	return "the modem says " + f.text
}

// chat runs scripts. What the modem says is seen by its scanner, too.
type chat struct {
	link    link
	scan    *scanner
	results bool // a modem's own words for a failed call end the script
	number  string
	sub     string

	aborts  [][]byte
	timeout time.Duration
	tail    []byte // what came since the last expectation was met: its end
}

// run goes through a script. The error is a *failure, or the link's.
func (c *chat) run(s script) error {
	c.timeout = chatTimeout
	for _, st := range s {
		var err error
		switch st.kind {
		case stepExpect:
			err = c.expect(st.text)
		case stepSend:
			err = c.say(st.pieces)
		case stepAbort:
			c.aborts = append(c.aborts, st.text)
		case stepForget:
			c.aborts = slices.DeleteFunc(c.aborts, func(a []byte) bool { return bytes.Equal(a, st.text) })
		case stepTimeout:
			c.timeout = st.wait
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *chat) expect(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	c.tail = c.tail[:0]
	if err := c.link.until(c.timeout); err != nil {
		return err
	}
	for {
		b, err := c.link.next()
		if errors.Is(err, errTimeout) {
			reason := Timeout
			if c.scan.connected || c.scan.connecting() {
				reason = Framing // P98: the call is there, what should come then is not
			}
			return &failure{reason: reason, text: fmt.Sprintf("%q", text)}
		}
		if err != nil {
			return err
		}
		m := c.scan.feed(b)
		c.tail = follow(c.tail, b)
		if bytes.HasSuffix(c.tail, text) {
			return nil
		}
		for _, a := range c.aborts {
			if bytes.HasSuffix(c.tail, a) {
				return &failure{reason: reasonOf(string(a)), text: fmt.Sprintf("%q", a)}
			}
		}
		if c.results && m == markResult {
			return &failure{reason: c.scan.reason, text: fmt.Sprintf("%q", c.scan.text)}
		}
	}
}

// follow adds an octet to a tail, of which no more is kept than can be looked for.
func follow(tail []byte, b byte) []byte {
	if len(tail) == 2*maxText {
		tail = tail[:copy(tail, tail[maxText:])]
	}
	return append(tail, b)
}

func (c *chat) say(pieces []piece) error {
	for _, p := range pieces {
		err := c.link.until(c.timeout)
		if err != nil {
			return err
		}
		switch p.kind {
		case pieceText:
			err = c.link.send(p.text)
		case pieceNumber:
			err = c.link.send([]byte(c.number))
		case pieceSubAddress:
			err = c.link.send([]byte(c.sub))
		case piecePause:
			err = c.link.pause(p.wait)
		case pieceBreak:
			err = c.link.sendBreak()
		}
		if errors.Is(err, errTimeout) {
			return &failure{reason: Timeout, text: "the modem to take what is sent"}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
