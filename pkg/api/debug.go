package api

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of a debug.
const (
	DefaultDebugTime = 5 * time.Minute
	MaxDebugTime     = 24 * time.Hour
	MaxDebugs        = 16 // at a time
)

// DebugAll in the place of a name stands for all of a sort, those to come too.
const DebugAll = "*"

const debugType = "application/jsonl"

// DebugSort is a sort of what can be debugged.
type DebugSort string

// Sorts of what can be debugged.
const (
	DebugTunnel  DebugSort = "tunnel"  // the tunnel's own states and messages, without those of its sessions
	DebugSession DebugSort = "session" // a line's too
	DebugCall    DebugSort = "call"    // the sessions of a configured call
	DebugPeer    DebugSort = "peer"    // all that is exchanged with an address
	DebugUser    DebugSort = "user"    // the sessions of a user, as soon as his name is known
)

func debugSorts() []DebugSort {
	return []DebugSort{DebugTunnel, DebugSession, DebugCall, DebugPeer, DebugUser}
}

// DebugTarget is whom a debug is of: one of a sort, or all.
type DebugTarget struct {
	Sort    DebugSort
	All     bool
	Tunnel  uint16 // of a tunnel and of a session
	Session uint16
	Line    uint16 // in place of both
	Call    string // by its configured spelling
	Peer    netip.Addr
	User    string
}

// String says whom.
func (t DebugTarget) String() string {
	if t.All {
		return "all " + string(t.Sort) + "s"
	}
	switch t.Sort {
	case DebugTunnel:
		return fmt.Sprintf("tunnel %d", t.Tunnel)
	case DebugSession:
		if t.Line != 0 {
			return fmt.Sprint(LineRef, t.Line)
		}
		return fmt.Sprintf("session %d/%d", t.Tunnel, t.Session)
	case DebugCall:
		return "call " + t.Call
	case DebugPeer:
		return "peer " + t.Peer.String()
	case DebugUser:
		return "user " + t.User
	}
	return string(t.Sort)
}

// Debug is a request to be shown changes of state or packets, resolved: at least one of both, and of somebody.
type Debug struct {
	State, Packet bool
	Of            []DebugTarget
	Hex           bool // packets in hexadecimal besides
	For           time.Duration
	Background    bool   // it tells the log only
	By            string // who asks
}

// What says what is shown, and whom it is of.
func (d *Debug) What() string {
	of := make([]string, len(d.Of))
	for i, t := range d.Of {
		of[i] = t.String()
	}
	return DebugKinds(d.State, d.Packet) + " of " + strings.Join(of, ", ")
}

// DebugKinds is what is debugged, in the words of the AR routers (S135).
func DebugKinds(state, packet bool) string {
	switch {
	case state && packet:
		return "state and packet"
	case state:
		return "state"
	case packet:
		return "packet"
	}
	return "disabled"
}

// DebugRecord is one of what a debug shows, as the log has it too.
type DebugRecord struct {
	Debug   int             `json:"debug"` // number of the debug
	Time    time.Time       `json:"time"`
	Kind    DebugRecordKind `json:"kind"`    // begin, state, packet, left-out, end
	Message string          `json:"message"` // what has happened, in one line

	Tunnel      uint16         `json:"tunnel,omitempty"`       // ours; 0 or missing, as all ids: there is none, or none that is known yet
	PeerTunnel  uint16         `json:"peer_tunnel,omitempty"`  // the peer's
	Session     uint16         `json:"session,omitempty"`      // ours
	PeerSession uint16         `json:"peer_session,omitempty"` // the peer's
	Line        uint16         `json:"line,omitempty"`         // of a subscriber, in place of a tunnel
	Access      string         `json:"access,omitempty"`       // where he has come
	Peer        netip.AddrPort `json:"peer,omitzero"`
	Call        string         `json:"call,omitempty"`
	User        string         `json:"user,omitempty"`

	Of   string `json:"of,omitempty"`   // whose it is: tunnel, session; of a state also stage: how far a session's set-up has come
	From string `json:"from,omitempty"` // of a state: the old one
	To   string `json:"to,omitempty"`   // and the new one

	Direction string `json:"direction,omitempty"` // of a packet: in, out
	Length    int    `json:"length,omitempty"`    // of a packet, octets
	Decoded   string `json:"decoded,omitempty"`   // what is in it, secrets masked
	Hex       string `json:"hex,omitempty"`       // its octets, secrets overwritten by asterisks; the first 4096 of them, if it was asked for

	Records uint64 `json:"records,omitempty"`  // at the end: how many were shown
	LeftOut uint64 `json:"left_out,omitempty"` // at the end: how many were not; of left-out: since the line before
}

// DebugRecordKind is what a DebugRecord tells of.
type DebugRecordKind string

// Kinds of records. The first is DebugBegins, the last DebugEnds.
const (
	DebugBegins  DebugRecordKind = "begin"
	DebugState   DebugRecordKind = "state"
	DebugPacket  DebugRecordKind = "packet"
	DebugLeftOut DebugRecordKind = "left-out"
	DebugEnds    DebugRecordKind = "end"
)

// Debugging is a debug under way.
type Debugging struct {
	ID         int       `json:"id"`
	What       string    `json:"what"` // "state and packet of all tunnels, session 4711/345"
	Hex        bool      `json:"hex"`
	Background bool      `json:"background"` // it tells the log only
	By         string    `json:"by"`
	StartedAt  time.Time `json:"started_at"`
	EndsAt     time.Time `json:"ends_at"`
	Records    uint64    `json:"records"`  // that were shown
	LeftOut    uint64    `json:"left_out"` // that were more than can be shown
}

// DebugRequest is what an operator asks for. Targets are references as for other verbs, DebugAll for all of a sort.
type DebugRequest struct {
	State, Packet, Hex, Background bool
	Of                             map[DebugSort][]string
	For                            time.Duration // 0: DefaultDebugTime
}

func (r *DebugRequest) query() url.Values {
	q := url.Values{}
	for key, set := range map[string]bool{"state": r.State, "packet": r.Packet, "hex": r.Hex, "background": r.Background} {
		if set {
			q.Set(key, "true")
		}
	}
	for sort, refs := range r.Of {
		q[string(sort)] = refs
	}
	if r.For != 0 {
		q.Set("for", r.For.String())
	}
	return q
}

// debugging handles POST /v1/debug: it answers with a DebugRecord a line until the debug ends. That is when its time is over, when the
// connection is closed, when a request body that came in chunks ends, after which the last line is still sent, or when somebody stops
// it. One in the background ends after the first line, and goes on.
func (s *Server) debugging(w http.ResponseWriter, r *http.Request) {
	who, err := s.permit(r, accessAct)
	if err != nil {
		s.reply(w, nil, err)
		return
	}
	asking, asked := context.WithTimeout(r.Context(), s.cfg.Timeout)
	d, err := s.names.debug(asking, r.URL.Query())
	asked()
	if err != nil {
		s.reply(w, nil, err)
		return
	}
	d.By = who.String()
	ctx, out, done, err := s.live(w, r, debugType)
	if err != nil {
		s.reply(w, nil, err)
		return
	}
	defer done()
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	s.lived(ctx, out, s.cfg.Backend.Debug(ctx, d, func(x DebugRecord) error {
		if err := out.conn.SetWriteDeadline(time.Now().Add(eventTimeout)); err != nil {
			return err
		}
		return lines.Encode(x)
	}))
}

// debug resolves a request for a debug.
func (r resolver) debug(ctx context.Context, q url.Values) (Debug, error) {
	d := Debug{For: DefaultDebugTime}
	for key, to := range map[string]*bool{"state": &d.State, "packet": &d.Packet, "hex": &d.Hex, "background": &d.Background} {
		switch v := q.Get(key); v {
		case "", "false":
		case "true":
			*to = true
		default:
			return d, Errorf(CodeInvalid, "%s=%q: want true or false", key, v)
		}
	}
	if limit := q.Get("for"); limit != "" {
		var bad error
		if d.For, bad = time.ParseDuration(limit); bad != nil || d.For <= 0 || d.For > MaxDebugTime {
			return d, Errorf(CodeInvalid, "a debug lasts %v at most, not %s", MaxDebugTime, limit)
		}
	}
	for _, sort := range debugSorts() {
		for _, ref := range q[string(sort)] {
			t := DebugTarget{Sort: sort, All: ref == DebugAll}
			if !t.All {
				if err := r.debugTarget(ctx, ref, &t); err != nil {
					return d, err
				}
			}
			if !slices.Contains(d.Of, t) {
				d.Of = append(d.Of, t)
			}
		}
	}
	no := Errorf(CodeInvalid, "a debug is of state or packet or both, and of a tunnel, session, call, peer or user, or of all of them")
	no.Hint = "l2tpctl debug --help"
	if len(d.Of) == 0 || !d.State && !d.Packet {
		return d, no
	}
	return d, nil
}

// debugTarget resolves one reference of a sort.
func (r resolver) debugTarget(ctx context.Context, ref string, t *DebugTarget) (err error) {
	switch t.Sort {
	case DebugTunnel:
		t.Tunnel, err = r.tunnel(ctx, ref)
	case DebugSession:
		s, err := r.session(ctx, ref)
		if err != nil {
			return err
		}
		t.Tunnel, t.Session = s.TunnelID, s.ID
		if s.TunnelID == 0 {
			t.Session, t.Line = 0, s.ID
		}
	case DebugCall:
		t.Call, err = r.call(ctx, ref)
	case DebugPeer:
		if err := CheckAddress(ref); err != nil {
			return err
		}
		t.Peer = netip.MustParseAddr(ref).Unmap().WithZone("")
	case DebugUser:
		if t.User = ref; ref == "" {
			return Errorf(CodeInvalid, "a user has a name")
		}
	}
	return err
}

// debugID reads which debug is meant; 0: all.
func debugID(ref string) (int, error) {
	if ref == "all" {
		return 0, nil
	}
	n, err := strconv.ParseUint(ref, 10, 31)
	if err != nil || n == 0 {
		no := Errorf(CodeInvalid, "%q is no debug", ref)
		no.Hint = "it is a number, as l2tpctl debug list shows it, or all"
		return 0, no
	}
	return int(n), nil
}

// FollowDebug begins a debug, and hands what it shows to each, in order, to its last record, or until each fails. When ctx is done the daemon
// is asked to end it, and what it still says is handed on. One in the background has but one record, and goes on. The error is *Error
// where the daemon said no, and one that StreamEnded knows where it has gone.
func FollowDebug(ctx context.Context, c *Client, r DebugRequest, each func(DebugRecord) error) error {
	stream, err := c.live(ctx, "debug", r.query(), debugType)
	if err != nil {
		return err
	}
	defer stream.Close()
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var x DebugRecord
		if err := json.NewDecoder(bytes.NewReader(lines.Bytes())).Decode(&x); err != nil {
			return fmt.Errorf("read what the daemon shows: %w", err)
		}
		if err := each(x); err != nil {
			return err
		}
		if x.Kind == DebugEnds || r.Background {
			return nil
		}
	}
	return cmp.Or(lines.Err(), io.ErrUnexpectedEOF)
}

// Debugs returns the debugs under way.
func Debugs(ctx context.Context, c *Client) (*Snapshot, error) { return c.get(ctx, "debugs", nil) }
