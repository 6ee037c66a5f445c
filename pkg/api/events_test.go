package api_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/api/apitest"
)

// diary is a source of events of which the oldest may be gone.
type diary struct {
	mu     sync.Mutex
	gone   uint64
	events []api.Event
	more   chan struct{}
}

func (d *diary) write(message string, fields map[string]string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, api.Event{Level: "INFO", Event: "test", Message: message, Fields: fields})
	if d.more != nil {
		close(d.more)
		d.more = nil
	}
}

// EventsAfter implements api.EventSource.
func (d *diary) EventsAfter(seq uint64, most int) (events []api.Event, lost uint64, more <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.more == nil {
		d.more = make(chan struct{})
	}
	for i, e := range d.events {
		n := uint64(i) + 1
		switch e.Cursor = strconv.FormatUint(n, 10); {
		case n <= seq:
		case n <= d.gone:
			lost++
		case len(events) < most:
			events = append(events, e)
		}
	}
	return events, lost, d.more
}

func newDiary(n int) *diary {
	d := &diary{}
	for i := range n {
		d.write(fmt.Sprintf("event %d", i+1), map[string]string{"tunnel": strconv.Itoa(i % 2), "session": strconv.Itoa(i), "peer": "192.0.2.1:1701"})
	}
	return d
}

// read collects what a query gives.
func read(t *testing.T, c *api.Client, q api.EventQuery) (messages []string, last string) {
	t.Helper()
	err := c.Events(t.Context(), q, func(e api.Event) error {
		messages, last = append(messages, e.Message), e.Cursor
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return messages, last
}

func TestEventsAreReadInPieces(t *testing.T) {
	t.Parallel()
	d := newDiary(600)
	c, _ := serveWith(t, api.ServerConfig{Backend: apitest.New(picture()), Events: d})
	all, last := read(t, c, api.EventQuery{})
	if len(all) != 600 || all[0] != "event 1" || all[599] != "event 600" {
		t.Fatalf("%d events", len(all))
	}
	if none, _ := read(t, c, api.EventQuery{After: last}); len(none) != 0 {
		t.Errorf("after the last: %v", none)
	}
	d.write("one more", nil)
	got, _ := read(t, c, api.EventQuery{After: last})
	if diff := cmp.Diff([]string{"one more"}, got); diff != "" {
		t.Error(diff)
	}
	d.mu.Lock()
	d.gone = 599
	d.mu.Unlock()
	if got, _ = read(t, c, api.EventQuery{}); len(got) != 2 {
		t.Errorf("of what is kept: %v", got)
	}
	first := last[:len(last)-len("600")] + "10"
	got, _ = read(t, c, api.EventQuery{After: first})
	if diff := cmp.Diff([]string{"589 events are not kept any more", "event 600", "one more"}, got); diff != "" {
		t.Error(diff)
	}
	got, _ = read(t, c, api.EventQuery{After: "another-7"})
	if len(got) < 1 || got[0] != "the daemon has been started anew: these are its events since" {
		t.Errorf("another daemon's cursor: %v", got)
	}
}

func TestEventsAreChosen(t *testing.T) {
	t.Parallel()
	d := &diary{}
	d.write("tunnel", map[string]string{"tunnel": "7", "peer": "192.0.2.1:1701"})
	d.write("session", map[string]string{"tunnel": "7", "session": "9", "peer": "192.0.2.1:1701", "user": "alice", "call": "branch"})
	d.write("other", map[string]string{"tunnel": "8", "session": "9", "peer": "192.0.2.10:1701"})
	d.write("line", map[string]string{"line": "3", "session": "5", "peer": "[2001:db8::1]:1701"})
	c, _ := serveWith(t, api.ServerConfig{Backend: apitest.New(picture()), Events: d})
	for _, x := range []struct {
		q    api.EventQuery
		want []string
	}{
		{api.EventQuery{Tunnel: "7"}, []string{"tunnel", "session"}},
		{api.EventQuery{Session: "9"}, []string{"session", "other"}},
		{api.EventQuery{Session: "7/9"}, []string{"session"}},
		{api.EventQuery{Session: "line/3"}, []string{"line"}},
		{api.EventQuery{Session: "line/5"}, nil},
		{api.EventQuery{Peer: "192.0.2.1"}, []string{"tunnel", "session"}},
		{api.EventQuery{Peer: "192.0.2.10:1701"}, []string{"other"}},
		{api.EventQuery{Peer: "2001:db8::1"}, []string{"line"}},
		{api.EventQuery{User: "alice"}, []string{"session"}},
		{api.EventQuery{Call: "branch", Tunnel: "7"}, []string{"session"}},
		{api.EventQuery{Event: "test"}, []string{"tunnel", "session", "other", "line"}},
		{api.EventQuery{Event: "call-up"}, nil},
	} {
		got, _ := read(t, c, x.q)
		if diff := cmp.Diff(x.want, got); diff != "" {
			t.Errorf("%+v: %s", x.q, diff)
		}
	}
	for _, q := range []api.EventQuery{{Tunnel: "x"}, {Peer: "branch"}} {
		err := c.Events(t.Context(), q, func(api.Event) error { return nil })
		if no, ok := errors.AsType[*api.Error](err); !ok || no.Code != api.CodeInvalid {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

func TestEventsAreFollowed(t *testing.T) {
	t.Parallel()
	d := newDiary(1)
	c, _ := serveWith(t, api.ServerConfig{Backend: apitest.New(picture()), Events: d})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	err := c.Events(ctx, api.EventQuery{Follow: true}, func(e api.Event) error {
		if got = append(got, e.Message); len(got) == 3 {
			cancel()
			return nil
		}
		d.write(fmt.Sprintf("news %d", len(got)), nil)
		return nil
	})
	if diff := cmp.Diff([]string{"event 1", "news 1", "news 2"}, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

// lastWords is a diary in which something is written when its reader has just looked, and the daemon ends before he hears of it.
type lastWords struct {
	*diary
	end func()
}

// EventsAfter implements api.EventSource.
func (d *lastWords) EventsAfter(seq uint64, most int) (events []api.Event, lost uint64, more <-chan struct{}) {
	events, lost, _ = d.diary.EventsAfter(seq, most)
	if len(events) == 0 && seq == 1 {
		d.write("the end", nil)
		d.end()
	}
	return events, lost, nil
}

// A reader who follows hears of the end of the daemon, and knows it from that of a list. He misses nothing that was written before.
func TestFollowersAreLetGo(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/s"
	ctx, stop := context.WithCancel(t.Context())
	s, err := api.Listen(api.ServerConfig{Backend: apitest.New(picture()), Events: &lastWords{newDiary(1), stop}, Path: path})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	c := api.NewClient(api.ClientConfig{Path: path})
	var got []string
	err = c.Events(t.Context(), api.EventQuery{Follow: true}, func(e api.Event) error {
		got = append(got, e.Message)
		return nil
	})
	if !api.StreamEnded(err) {
		t.Errorf("the stream ends with %v", err)
	}
	if diff := cmp.Diff([]string{"event 1", "the end"}, got); diff != "" {
		t.Error(diff)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	c2 := api.NewClient(api.ClientConfig{Path: path, Wait: -1})
	if err := c2.Events(t.Context(), api.EventQuery{}, func(api.Event) error { return nil }); err == nil {
		t.Error("events of a daemon that has stopped")
	}
}
