package api

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Event is something that happened, as the log tells it.
type Event struct {
	Cursor  string            `json:"cursor"` // where it stands: EventQuery.After goes on behind it
	Time    time.Time         `json:"time"`
	Level   string            `json:"level"`           // DEBUG, INFO, WARN, ERROR
	Event   string            `json:"event,omitempty"` // its name: l2tpd(8) lists them
	Message string            `json:"message"`
	Fields  map[string]string `json:"fields,omitempty"` // by the keys of the log
}

// EventsLost is the name of an event of the stream's own: some that were asked for are not kept any more.
const EventsLost = "events-lost"

// EventSource has the latest events, numbered from 1.
type EventSource interface {
	// EventsAfter gives those behind one, at most so many, each with its number as Cursor; how many that come before them are not kept any
	// more; and a channel that is closed when there are further ones.
	EventsAfter(seq uint64, most int) (events []Event, lost uint64, more <-chan struct{})
}

// EventQuery says which events are wanted. What is empty does not matter.
type EventQuery struct {
	After  string // a cursor; empty: from the oldest that is kept
	Follow bool   // wait for more, without end

	Event   string // name
	Tunnel  string // our id
	Session string // TUNNEL/SESSION by our ids, or our session id
	Peer    string // address, or address:port
	User    string
	Call    string
}

// values are the query as part of a URL.
func (q *EventQuery) values() url.Values {
	v := url.Values{}
	for key, value := range map[string]string{
		"after": q.After, "event": q.Event, "tunnel": q.Tunnel, "session": q.Session, "peer": q.Peer, "user": q.User, "call": q.Call,
	} {
		if value != "" {
			v.Set(key, value)
		}
	}
	if q.Follow {
		v.Set("follow", "true")
	}
	return v
}

// eventQuery is the inverse of values.
func eventQuery(r *http.Request) (q EventQuery, err error) {
	q = EventQuery{
		After: r.FormValue("after"), Event: r.FormValue("event"), Tunnel: r.FormValue("tunnel"), Session: r.FormValue("session"),
		Peer: r.FormValue("peer"), User: r.FormValue("user"), Call: r.FormValue("call"), Follow: r.FormValue("follow") == "true",
	}
	if q.Tunnel != "" {
		if err := CheckTunnel(q.Tunnel); err != nil {
			return q, err
		}
	}
	return q, q.CheckPeer()
}

// CheckPeer says what is wrong with Peer.
func (q *EventQuery) CheckPeer() error { return checkPeer(q.Peer) }

func checkPeer(peer string) error {
	if peer == "" {
		return nil
	}
	if _, err := netip.ParseAddr(peer); err == nil {
		return nil
	}
	if _, err := netip.ParseAddrPort(peer); err == nil {
		return nil
	}
	no := Errorf(CodeInvalid, "%q is no peer", peer)
	no.Hint = "name it by its address, for example 192.0.2.1, or 192.0.2.1:1701"
	return no
}

// wants reports whether an event is asked for.
func (q *EventQuery) wants(e *Event) bool {
	is := func(key, want string) bool { return want == "" || e.Fields[key] == want }
	return (q.Event == "" || e.Event == q.Event) && is("tunnel", q.Tunnel) && q.ofSession(e) && is("user", q.User) && is("call", q.Call) &&
		(q.Peer == "" || e.Fields["peer"] == q.Peer || strings.HasPrefix(e.Fields["peer"], hostPrefix(q.Peer)))
}

func (q *EventQuery) ofSession(e *Event) bool {
	tunnel, id, both := strings.Cut(q.Session, "/")
	switch {
	case q.Session == "":
		return true
	case !both:
		return e.Fields["session"] == q.Session
	case tunnel+"/" == LineRef:
		return e.Fields["line"] == id
	}
	return e.Fields["tunnel"] == tunnel && e.Fields["session"] == id
}

// hostPrefix is what all addresses with a port of one host begin with.
func hostPrefix(peer string) string {
	if a, err := netip.ParseAddr(peer); err == nil {
		return strings.TrimSuffix(netip.AddrPortFrom(a, 0).String(), "0")
	}
	return peer
}

const (
	eventBatch   = 256 // events between looks at whether somebody still listens
	eventTimeout = 30 * time.Second
)

// getEvents streams events, one JSON object a line.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) {
	if _, err := s.permit(r, accessRead); err != nil {
		s.reply(w, nil, err)
		return
	}
	q, err := eventQuery(r)
	if err == nil && s.cfg.Events == nil {
		err = Errorf(CodeUnavailable, "no events are kept")
	}
	if err != nil {
		s.reply(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	w.WriteHeader(http.StatusOK)
	if err := s.stream(r.Context(), w, &q); err != nil {
		s.cfg.Log.DebugContext(r.Context(), "events not sent", slog.String("why", err.Error()))
	}
}

// stream writes what q asks for until there is no more, or somebody has gone.
func (s *Server) stream(ctx context.Context, w http.ResponseWriter, q *EventQuery) error {
	seq, known := s.readCursor(q.After)
	enc, flush := json.NewEncoder(w), http.NewResponseController(w)
	enc.SetEscapeHTML(false)
	for first := true; ; first = false {
		events, lost, more := s.cfg.Events.EventsAfter(seq, eventBatch)
		if err := flush.SetWriteDeadline(time.Now().Add(eventTimeout)); err != nil {
			return err
		}
		if note := s.gap(first && !known, first && q.After == "", lost); note != "" {
			if err := enc.Encode(Event{Cursor: s.cursor(seq), Time: time.Now(), Level: "WARN", Event: EventsLost, Message: note}); err != nil {
				return err
			}
		}
		for i := range events {
			e := &events[i]
			seq, _ = strconv.ParseUint(e.Cursor, 10, 64)
			if e.Cursor = s.cursor(seq); q.wants(e) {
				if err := enc.Encode(e); err != nil {
					return err
				}
			}
		}
		if err := flush.Flush(); err != nil {
			return err
		}
		switch {
		case len(events) > 0:
			continue
		case !q.Follow:
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil
		case <-s.ending:
			q.Follow = false // what was written before the end is still read
		}
	}
}

// gap says what the reader misses; nothing if that is what he must expect who asks for all that there is.
func (s *Server) gap(restarted, all bool, lost uint64) string {
	switch {
	case restarted:
		return "the daemon has been started anew: these are its events since"
	case lost > 0 && !all:
		return fmt.Sprintf("%d events are not kept any more", lost)
	}
	return ""
}

func (s *Server) cursor(seq uint64) string { return fmt.Sprintf("%s-%d", s.boot, seq) }

// readCursor gives the number of the event that a cursor is of; not known: it is another daemon's.
func (s *Server) readCursor(cursor string) (seq uint64, known bool) {
	if cursor == "" {
		return 0, true
	}
	boot, number, _ := strings.Cut(cursor, "-")
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil || boot != s.boot {
		return 0, false
	}
	return seq, true
}

// Events hands the events of q to each, in order, until there are no more or one of them fails. A stream that breaks off is an error,
// unless ctx is done.
func (c *Client) Events(ctx context.Context, q EventQuery, each func(Event) error) error {
	path := "events"
	if v := q.values(); len(v) > 0 {
		path += "?" + v.Encode()
	}
	return c.ask(ctx, func() error {
		body, err := c.open(ctx, http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		defer body.Close()
		lines := bufio.NewScanner(body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var e Event
			if err := json.NewDecoder(bytes.NewReader(lines.Bytes())).Decode(&e); err != nil {
				return fmt.Errorf("read the daemon's events: %w", err)
			}
			if err := each(e); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		return cmp.Or(lines.Err(), ended(q.Follow))
	})
}

// errStreamEnded says that somebody who follows has nothing to follow any more.
var errStreamEnded = errors.New("l2tpd has ended the stream of events")

func ended(follow bool) error {
	if follow {
		return errStreamEnded
	}
	return nil
}

// StreamEnded reports whether err is the end of a stream that was to go on: the daemon has stopped.
func StreamEnded(err error) bool {
	return errors.Is(err, errStreamEnded) || errors.Is(err, io.ErrUnexpectedEOF)
}
