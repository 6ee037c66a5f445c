package resolve

import (
	"errors"
	"net/netip"
	"strings"
)

// ErrNotFound is behind the error for a name that does not exist, or that has no address (RFC 2308, 2). All servers would say so.
var ErrNotFound = errors.New("name not found")

// ErrBadName is behind the error for what cannot be a host name. Nobody is asked for it.
var ErrBadName = errors.New("not a host name")

// Reasons of a server that was of no use. They are behind an Error.
var (
	errMalformed = errors.New("malformed answer")
	errTruncated = errors.New("truncated answer over TCP")
	errChain     = errors.New("too many aliases")
	errReferral  = errors.New("refers to other servers")
)

// Said is what one server answered to one question, or why it did not.
type Said struct {
	Server netip.AddrPort
	Err    error
}

// Error tells why a name has no addresses: ErrNotFound, or nothing useful from any server. It must not be changed: callers share it.
type Error struct {
	Name string
	Err  error  // ErrNotFound, the end of the caller's context, or nil
	Said []Said // one for each thing that a server said, in the order of the servers' first words
}

// Error is one line: which servers were asked, and what they said.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("look up ")
	b.WriteString(e.Name)
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	sep := ": "
	for _, s := range e.Said {
		b.WriteString(sep)
		if s.Server.IsValid() {
			b.WriteString(s.Server.String())
			b.WriteString(": ")
		}
		b.WriteString(s.Err.Error())
		sep = "; "
	}
	return b.String()
}

// Unwrap gives all causes: a server that was silent is behind os.ErrDeadlineExceeded.
func (e *Error) Unwrap() []error {
	all := make([]error, 0, len(e.Said)+1)
	if e.Err != nil {
		all = append(all, e.Err)
	}
	for _, s := range e.Said {
		all = append(all, s.Err)
	}
	return all
}

// add notes what a server said, once.
func (e *Error) add(said ...Said) {
next:
	for _, s := range said {
		for _, old := range e.Said {
			if old.Server == s.Server && old.Err.Error() == s.Err.Error() {
				continue next
			}
		}
		e.Said = append(e.Said, s)
	}
}

// rcodeError is a response code other than NOERROR and NXDOMAIN.
type rcodeError struct{ text string }

func (e rcodeError) Error() string { return e.text }

// silence is a server that did not answer in time.
type silence struct {
	text  string
	cause error
}

func (e silence) Error() string { return e.text }
func (e silence) Unwrap() error { return e.cause }
