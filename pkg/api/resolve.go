package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxNearest bounds Error.Nearest.
const maxNearest = 5

// resolver turns what an operator typed into what a Backend knows.
type resolver struct{ backend Backend }

// parseID returns the tunnel or session id that s names. what says which, for the error.
func parseID(what, s string) (uint16, *Error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, &Error{
			Code: CodeInvalid, Message: fmt.Sprintf("%q is no %s id", s, what),
			Hint: "an id is a number from 1 to 65535, as the list shows it",
		}
	}
	return uint16(n), nil
}

// CheckTunnel says what is wrong with a reference to a tunnel that no daemon could resolve; nil if nothing is. The error is *Error.
func CheckTunnel(ref string) error {
	if _, bad := parseID("tunnel", ref); bad != nil {
		return bad
	}
	return nil
}

// tunnel returns the id of the tunnel that ref names.
func (r resolver) tunnel(ctx context.Context, ref string) (uint16, error) {
	id, bad := parseID("tunnel", ref)
	if bad != nil {
		return 0, bad
	}
	snap, err := r.backend.Snapshot(ctx, Query{Tunnels: true})
	if err != nil {
		return 0, err
	}
	ids := make([]uint16, 0, len(snap.Tunnels))
	for _, t := range snap.Tunnels {
		if t.ID == id {
			return id, nil
		}
		ids = append(ids, t.ID)
	}
	no := Errorf(CodeNotFound, "no tunnel %d", id)
	no.Nearest = nearestIDs(id, ids)
	no.Hint = "see l2tpctl tunnel list"
	return 0, no
}

// session returns the session that ref names: "tunnel/session", a session id, "line/number", the name of a call or of a user.
func (r resolver) session(ctx context.Context, ref string) (*Session, error) {
	tunnel, id := uint16(0), ref
	_, line, isLine := strings.Cut(ref, LineRef)
	if isLine = isLine && isNumber(line); isLine {
		id = line
	} else if t, rest, ok := strings.Cut(ref, "/"); ok && isNumber(t) && isNumber(rest) {
		n, bad := parseID("tunnel", t)
		if bad != nil {
			return nil, bad
		}
		tunnel, id = n, rest
	}
	snap, err := r.backend.Snapshot(ctx, Query{Sessions: true})
	if err != nil {
		return nil, err
	}
	var found []*Session
	if isNumber(id) {
		n, bad := parseID("session", id)
		if bad != nil {
			return nil, bad
		}
		found = matching(snap.Sessions, func(c *Session) bool {
			return c.ID == n && (c.TunnelID == 0) == isLine && (tunnel == 0 || c.TunnelID == tunnel)
		})
	}
	if len(found) == 0 && tunnel == 0 && !isLine {
		found = matching(snap.Sessions, func(c *Session) bool { return strings.EqualFold(c.Call, ref) || c.User == ref })
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, noSession(ref, id, snap.Sessions)
	}
	many := Errorf(CodeConflict, "%q names %d sessions", ref, len(found))
	for _, c := range found[:min(len(found), maxNearest)] {
		many.Nearest = append(many.Nearest, sessionRef(c))
	}
	many.Hint = "name one as TUNNEL/SESSION, for example " + many.Nearest[0]
	return nil, many
}

// LineRef is what stands before the number of a line where a session has its tunnel's id.
const LineRef = "line/"

func matching(sessions []Session, ok func(*Session) bool) []*Session {
	var found []*Session
	for i := range sessions {
		if ok(&sessions[i]) {
			found = append(found, &sessions[i])
		}
	}
	return found
}

// noSession says that ref names none and what comes close: ids for a number, names for a word.
func noSession(ref, id string, sessions []Session) *Error {
	no := Errorf(CodeNotFound, "no session %s", ref)
	no.Hint = "see l2tpctl session list"
	if !isNumber(id) {
		no.Message = fmt.Sprintf("no session of a call or user %q", ref)
		var names []string
		for i := range sessions {
			names = append(names, sessions[i].Call, sessions[i].User)
		}
		no.Nearest = nearestNames(ref, names)
		return no
	}
	want, _ := strconv.Atoi(id)
	order := make([]*Session, len(sessions))
	for i := range sessions {
		order[i] = &sessions[i]
	}
	slices.SortStableFunc(order, func(a, b *Session) int {
		return cmp.Compare(distance(int(a.ID), want), distance(int(b.ID), want))
	})
	for _, c := range order[:min(len(order), maxNearest)] {
		no.Nearest = append(no.Nearest, sessionRef(c))
	}
	return no
}

// call returns the configured spelling of the call that ref names, whatever its case (S27).
func (r resolver) call(ctx context.Context, ref string) (string, error) {
	snap, err := r.backend.Snapshot(ctx, Query{Calls: true})
	if err != nil {
		return "", err
	}
	names := make([]string, 0, len(snap.Calls))
	for i := range snap.Calls {
		if strings.EqualFold(snap.Calls[i].Name, ref) {
			return snap.Calls[i].Name, nil
		}
		names = append(names, snap.Calls[i].Name)
	}
	no := Errorf(CodeNotFound, "no call %q is configured", ref)
	no.Nearest = nearestNames(ref, names)
	no.Hint = "see l2tpctl call list"
	return "", no
}

// callOrItsSession is call, and takes a reference to the call's session too (S77).
func (r resolver) callOrItsSession(ctx context.Context, ref string) (string, error) {
	name, err := r.call(ctx, ref)
	if err == nil || !isNumber(strings.Replace(ref, "/", "", 1)) {
		return name, err
	}
	session, err := r.session(ctx, ref)
	if err != nil {
		return "", err
	}
	if session.Call == "" {
		no := Errorf(CodeConflict, "session %s belongs to no configured call", sessionRef(session))
		no.Hint = "close it with l2tpctl session close " + sessionRef(session)
		return "", no
	}
	return session.Call, nil
}

func sessionRef(c *Session) string {
	if c.TunnelID == 0 {
		return fmt.Sprintf("%s%d", LineRef, c.ID)
	}
	return fmt.Sprintf("%d/%d", c.TunnelID, c.ID)
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func distance(a, b int) int { return max(a-b, b-a) }

// nearestIDs returns the ids closest to want, closest first.
func nearestIDs(want uint16, ids []uint16) []string {
	ids = slices.Clone(ids)
	slices.SortStableFunc(ids, func(a, b uint16) int {
		return cmp.Compare(distance(int(a), int(want)), distance(int(b), int(want)))
	})
	var out []string
	for _, id := range ids[:min(len(ids), maxNearest)] {
		out = append(out, strconv.Itoa(int(id)))
	}
	return out
}

// nearestNames returns the names that want may have meant, best first: those that take few edits or begin the same way.
func nearestNames(want string, names []string) []string {
	type scored struct {
		name string
		cost int
	}
	var near []scored
	names = slices.Clone(names)
	slices.Sort(names)
	lower := strings.ToLower(want)
	for _, name := range slices.Compact(names) {
		if name == "" {
			continue
		}
		n := strings.ToLower(name)
		cost := edits(lower, n)
		if strings.HasPrefix(n, lower) || strings.HasPrefix(lower, n) {
			cost = min(cost, 1)
		}
		if cost <= max(2, len(want)/3) {
			near = append(near, scored{name, cost})
		}
	}
	slices.SortStableFunc(near, func(a, b scored) int { return cmp.Compare(a.cost, b.cost) })
	var out []string
	for _, c := range near[:min(len(near), maxNearest)] {
		out = append(out, c.name)
	}
	return out
}

// edits returns the Levenshtein distance of a and b, counting octets.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
