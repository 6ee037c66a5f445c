package api

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// Backend is what the server asks: the engine, or a fake in tests. Methods are called concurrently. They return when ctx is
// done at the latest, and *Error where the caller's question is at fault; any other error is reported as internal.
type Backend interface {
	// Snapshot returns the parts that q names, consistent with each other as far as one shard goes. Objects come in the order of
	// their ids (tunnel, then session) and calls by name.
	Snapshot(ctx context.Context, q Query) (*Snapshot, error)
	// Act does a, or starts it and says so. It is called only for a caller that may act.
	Act(ctx context.Context, a Action) (*Result, error)
	// Capture writes a pcapng file of what c asks for, block by block, until ctx is done or c's limits are reached, and then the file's
	// end. Nothing has been written when it fails with *Error. It is called only for a caller that may act.
	Capture(ctx context.Context, c Capture, w io.Writer) error
	// Debug hands what d asks for to each, one after another, until ctx is done, d's time is over or somebody stops it; the last is a
	// DebugEnds. If d is of the background, it returns when each has had the first, which is a DebugBegins, and the debug goes on. An
	// error of each ends it. each has not been called when it fails with *Error. It is called only for a caller that may act.
	Debug(ctx context.Context, d Debug, each func(DebugRecord) error) error
}

// Query says what a Snapshot must hold. The server has resolved names already: a Backend filters by id only.
type Query struct {
	Status, Tunnels, Sessions, Calls bool

	Accept, Rules, Pools, Peers, Settings bool
	Leases                                bool // with Pools: who has what of them
	Debugs                                bool

	Lives *LifeQuery // whose lives; nil: nobody's

	Tunnel  uint16 // only this tunnel and its sessions; 0: all
	Session uint16 // only this session of Tunnel; 0: all
	Call    string // only this call, by its configured spelling; empty: all
	// Stats asks for the kernel's counters (Session.Data and IdleSeconds, Status.Counters.Data brought up to date): a kernel request or
	// two for each session, so lists have them only for a client that asks.
	Stats bool
	Load  bool // of the daemon's loops and workers
}

// Verb is something an operator may ask for.
type Verb string

// Verbs.
const (
	VerbTunnelClose  Verb = "tunnel-close"  // StopCCN; needs Tunnel
	VerbSessionClose Verb = "session-close" // CDN; needs Tunnel and Session
	VerbCallUp       Verb = "call-up"       // dial now (S76); needs Call
	VerbCallDown     Verb = "call-down"     // CDN 3 and no redial until asked (S77); needs Call
	VerbReload       Verb = "reload"        // read the configuration again and apply the difference
	VerbDebugStop    Verb = "debug-stop"    // end debugs (S54); Debug says which
	// VerbCountersReset has Counters since a reset count from now on. The server does it, no backend sees it.
	VerbCountersReset Verb = "counters-reset"
)

// Action is one request to act, resolved: what its Verb needs is set.
type Action struct {
	Verb    Verb
	Tunnel  uint16
	Session uint16
	Call    string // by its configured spelling
	Debug   int    // 0: all
	By      string // who asks, for the log: "uid=0 pid=4711"
}

// Request is what a client posts to have an Action done. Ref is what the operator typed: a tunnel id, a session reference, the
// name of a call, or the number of a debug or "all", as the Verb demands; empty for a reload.
type Request struct {
	Verb Verb   `json:"verb"`
	Ref  string `json:"ref,omitempty"`
}

// Result is the answer to an Action.
type Result struct {
	APIVersion string   `json:"apiVersion"`
	Changed    bool     `json:"changed"`          // false: it was so already
	Message    string   `json:"message"`          // one sentence that names the object, without a full stop
	Details    []string `json:"details,omitzero"` // a reload: one line for each difference, in the order applied
}

// ErrorCode is the kind of an Error.
type ErrorCode string

// Error codes.
const (
	CodeInvalid     ErrorCode = "invalid"     // the request makes no sense: 400
	CodeForbidden   ErrorCode = "forbidden"   // the caller may not: 403
	CodeNotFound    ErrorCode = "not-found"   // no such object: 404
	CodeConflict    ErrorCode = "conflict"    // the object's state does not allow it: 409
	CodeUnavailable ErrorCode = "unavailable" // starting, stopping or too busy, nothing was done: 503
	CodeInternal    ErrorCode = "internal"    // the daemon's own fault: 500
)

// Error is an answer that says no. It travels as JSON and comes out of the client as the same type.
type Error struct {
	Code    ErrorCode `json:"code"`
	Message string    `json:"message"`           // lower case, no full stop, names the object
	Details []string  `json:"details,omitempty"` // a refused reload: the lines that explain each error in the configuration
	Nearest []string  `json:"nearest,omitempty"` // what exists and looks like it, or all that was meant; at most five
	Hint    string    `json:"hint,omitempty"`    // what to do next
}

// Error returns the message and, if there are any, the nearest objects.
func (e *Error) Error() string {
	if len(e.Nearest) == 0 {
		return e.Message
	}
	objects := strings.Join(e.Nearest, ", ")
	if e.Code == CodeNotFound {
		objects = "nearest: " + objects
	}
	return e.Message + " (" + objects + ")"
}

// Errorf makes an Error of the given code.
func Errorf(code ErrorCode, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
