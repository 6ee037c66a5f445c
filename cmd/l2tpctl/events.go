package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/observe"
)

func (t *tool) eventsCommand() *cobra.Command {
	var q api.EventQuery
	c := &cobra.Command{
		Use: "events", Short: "Show what has happened, and what happens",
		Long: "Show the latest events, a thousand or so: the lines of the log from info on, whatever log.level is. With --follow, go on with those to " +
			"come, also after a restart of the daemon. With -o json each event is one line, whose cursor --after takes.",
		Args: arguments(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := q.CheckPeer(); err != nil {
				return err
			}
			return t.events(c.Context(), q)
		},
	}
	f := c.Flags()
	f.BoolVarP(&q.Follow, "follow", "f", false, "go on with events to come, until interrupted")
	f.StringVar(&q.After, "after", "", "begin behind the event with this cursor")
	f.StringVar(&q.Event, "event", "", "only events of this name, for example call-down")
	f.StringVar(&q.Tunnel, "tunnel", "", "only those of this tunnel, by our id")
	f.StringVar(&q.Session, "session", "", "only those of this session: TUNNEL/SESSION, or line/NUMBER")
	f.StringVar(&q.Peer, "peer", "", "only those of this peer: its address, with or without a port")
	f.StringVar(&q.User, "user", "", "only those of this user")
	f.StringVar(&q.Call, "call", "", "only those of this configured call")
	return c
}

// events shows events. One who follows goes on where he was when the daemon comes back.
func (t *tool) events(ctx context.Context, q api.EventQuery) error {
	client := t.client()
	for {
		err := client.Events(ctx, q, func(e api.Event) error {
			q.After = e.Cursor
			switch t.format {
			case formatJSON, formatJSONL:
				return t.jsonLine(e)
			case formatYAML:
				if err := t.print("---\n"); err != nil {
					return err
				}
				return t.yaml(e)
			}
			return t.print(eventLine(&e, t.zone))
		})
		if ctx.Err() != nil {
			return nil
		}
		if !api.StreamEnded(err) { // a daemon that is gone has had its time to come back
			return err
		}
		_, _ = io.WriteString(t.err, "l2tpd has stopped; waiting for it to come back ...\n")
	}
}

// eventLine is an event as the log has it, with the day.
func eventLine(e *api.Event, zone *time.Location) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-5s %s", e.Time.In(zone).Format("2006-01-02 15:04:05.000"), e.Level, observe.Clean(e.Message))
	for i, key := range slices.SortedFunc(maps.Keys(e.Fields), fieldOrder) {
		if i == 0 {
			b.WriteByte(' ')
		}
		value := e.Fields[key]
		if value == "" || strings.ContainsAny(value, " =\"\\") || observe.Clean(value) != value {
			value = strconv.Quote(value)
		}
		fmt.Fprintf(&b, " %s=%s", observe.Clean(key), value)
	}
	return b.String() + "\n"
}

// fieldOrder has whom it is about first, and why last.
func fieldOrder(a, b string) int {
	order := []string{"tunnel", "peer_tunnel", "session", "peer_session", "line", "peer", "call", "user", "", "cause", "why"}
	rank := func(key string) int {
		if i := slices.Index(order, key); i >= 0 {
			return i
		}
		return slices.Index(order, "")
	}
	if d := rank(a) - rank(b); d != 0 {
		return d
	}
	return strings.Compare(a, b)
}
