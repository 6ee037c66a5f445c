package api

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Life is the course of a session, which may have ended: what l2tpctl explain tells.
type Life struct {
	Name      string         `json:"name"` // TUNNEL/SESSION by our ids, line/NUMBER, or "attempt": it did not come to a session
	Peer      netip.AddrPort `json:"peer,omitzero"`
	Access    string         `json:"access,omitempty"` // where the subscriber has come
	Call      string         `json:"call,omitempty"`
	User      string         `json:"user,omitempty"`
	Carries   string         `json:"carries_for,omitempty"` // the session whose call this one takes to an LNS
	LNS       string         `json:"lns,omitempty"`         // that has the subscriber's call
	Interface string         `json:"interface,omitempty"`
	StartedAt time.Time      `json:"started_at"`
	Steps     []Step         `json:"steps"` // in their order; the last is not over unless End is set
	End       *End           `json:"end,omitempty"`
}

// Step is one stage of a set-up, in the words of the log, or "up".
type Step struct {
	Stage string `json:"stage"`
	At    int64  `json:"at_ms"`   // since StartedAt
	Took  int64  `json:"took_ms"` // until the next began, or the end, or now
}

// End is how a session ended.
type End struct {
	At     time.Time `json:"at"`
	Stage  string    `json:"stage"` // at which it stopped; "up": it had been up
	Cause  string    `json:"cause"`
	Why    string    `json:"why"` // with the other side's words
	Advice string    `json:"advice,omitempty"`
}

// LifeQuery says whose lives are wanted. One of its parts is set.
type LifeQuery struct {
	Session string // TUNNEL/SESSION by our ids, line/NUMBER, or our session id
	Peer    string // address, or address:port
	User    string
	Call    string
}

// Wants reports whether a life is asked for.
func (q *LifeQuery) Wants(l *Life) bool {
	switch {
	case q.Session != "":
		return l.Name == q.Session || strings.HasSuffix(l.Name, "/"+q.Session) && !strings.HasPrefix(l.Name, LineRef)
	case q.Peer != "":
		return l.Peer.IsValid() && (l.Peer.String() == q.Peer || strings.HasPrefix(l.Peer.String(), hostPrefix(q.Peer)))
	case q.User != "": // his own, not that which carries it on
		return l.User == q.User && l.Carries == ""
	}
	return l.Call != "" && strings.EqualFold(l.Call, q.Call)
}

// getLives shows how sessions came to what they are.
func (s *Server) getLives(ctx context.Context, r *http.Request) (*Snapshot, error) {
	q := LifeQuery{Session: r.FormValue("session"), Peer: r.FormValue("peer"), User: r.FormValue("user"), Call: r.FormValue("call")}
	if q == (LifeQuery{}) {
		return nil, Errorf(CodeInvalid, "nobody is named whose life is to be told")
	}
	if err := checkPeer(q.Peer); err != nil {
		return nil, err
	}
	return s.cfg.Backend.Snapshot(ctx, Query{Lives: &q})
}

// Lives returns the lives of the sessions that are asked for, those that ended too as far as they are kept, the latest first.
func (c *Client) Lives(ctx context.Context, q LifeQuery) (*Snapshot, error) {
	return c.get(ctx, "lives", url.Values{"session": {q.Session}, "peer": {q.Peer}, "user": {q.User}, "call": {q.Call}})
}
