package main

import (
	"strconv"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/observe"
)

// eventsFor shows what the log has told to operators.
type eventsFor struct{ ring *observe.Ring }

// EventsAfter implements api.EventSource.
func (x eventsFor) EventsAfter(seq uint64, most int) (events []api.Event, lost uint64, more <-chan struct{}) {
	entries, lost, more := x.ring.After(seq, most)
	for _, e := range entries {
		fields := make(map[string]string, len(e.Fields))
		for _, f := range e.Fields {
			fields[f.Key] = f.Value
		}
		events = append(events, api.Event{
			Cursor: strconv.FormatUint(e.Seq, 10), Time: e.Time, Level: e.Level.String(), Event: e.Event, Message: e.Message, Fields: fields,
		})
	}
	return events, lost, more
}
