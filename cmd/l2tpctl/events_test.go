package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/api/apitest"
)

// withEvents is a daemon that has two to tell.
type withEvents struct{ *apitest.Backend }

// EventsAfter implements api.EventSource.
func (withEvents) EventsAfter(seq uint64, _ int) (events []api.Event, lost uint64, more <-chan struct{}) {
	if seq > 0 {
		return nil, 0, make(chan struct{})
	}
	return []api.Event{
		{Cursor: "1", Time: now, Level: "INFO", Event: "tunnel-up", Message: "tunnel up", Fields: map[string]string{
			"tunnel": "4711", "peer": "203.0.113.2:1701", "authenticated": "true", "host": "edge 2\x1b[2J",
		}},
		{Cursor: "2", Time: now, Level: "WARN", Event: "call-failed", Message: "call not established: stage LCP", Fields: map[string]string{
			"session": "346", "tunnel": "4711", "cause": "lcp-no-answer", "why": "the peer does not answer LCP", "user": "",
		}},
	}, 0, make(chan struct{})
}

func TestEventsOnATerminal(t *testing.T) {
	b := withEvents{apitest.New(daemon())}
	args := []string{"events"}
	golden(t, "events", args, try(t, b, args...))
	args = []string{"events", "--tunnel", "4711", "--event", "call-failed", "-o", "json"}
	got := try(t, b, args...)
	var e api.Event
	if err := json.Unmarshal([]byte(got.out), &e); err != nil || e.Fields["cause"] != "lcp-no-answer" || strings.Count(got.out, "\n") != 1 {
		t.Errorf("%v: %s", err, got.out)
	}
	for _, args := range [][]string{{"events", "--peer", "edge2"}, {"events", "--tunnel", "x"}, {"events", "now"}} {
		if got := try(t, b, args...); got.code == 0 || got.err == "" {
			t.Errorf("%v: %+v", args, got)
		}
	}
	if got := try(t, apitest.New(daemon()), "events"); got.code == 0 {
		t.Errorf("events of a daemon that keeps none: %+v", got)
	}
}
