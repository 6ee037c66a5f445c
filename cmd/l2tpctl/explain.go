package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/l2tpd/l2tpd/pkg/api"
)

const (
	explained    = 3  // lives that are told in full
	latestEvents = 10 // that are shown below them
)

func (t *tool) explainCommand() *cobra.Command {
	subject := func(use, short string, of func(ref string) (api.LifeQuery, api.EventQuery)) *cobra.Command {
		return &cobra.Command{
			Use: use, Short: short, Args: arguments(1),
			RunE: func(c *cobra.Command, args []string) error {
				lives, events := of(args[0])
				if err := events.CheckPeer(); err != nil {
					return err
				}
				return t.explain(c.Context(), strings.Fields(use)[0], args[0], lives, events)
			},
		}
	}
	return noun("explain", "Tell how a session came to what it is, step by step",
		"Tell the life of sessions: each stage of the set-up and how long it took, and of those that have ended why, with the other side's words and "+
			"what to try. The last five hundred or so that ended are kept.",
		subject("session SESSION", "One session: TUNNEL/SESSION, line/NUMBER, or its id", func(ref string) (api.LifeQuery, api.EventQuery) {
			return api.LifeQuery{Session: ref}, api.EventQuery{Session: ref}
		}),
		subject("peer ADDRESS", "The sessions with one peer, and what its tunnels have told", func(ref string) (api.LifeQuery, api.EventQuery) {
			return api.LifeQuery{Peer: ref}, api.EventQuery{Peer: ref}
		}),
		subject("user USER", "The sessions of one user", func(ref string) (api.LifeQuery, api.EventQuery) {
			return api.LifeQuery{User: ref}, api.EventQuery{User: ref}
		}),
		subject("call CALL", "The sessions of one configured call", func(ref string) (api.LifeQuery, api.EventQuery) {
			return api.LifeQuery{Call: ref}, api.EventQuery{Call: ref}
		}))
}

// explain tells of a subject, which is there if it has a life or an event.
func (t *tool) explain(ctx context.Context, what, ref string, lives api.LifeQuery, events api.EventQuery) error {
	client := t.client()
	snap, err := client.Lives(ctx, lives)
	if err != nil {
		return err
	}
	if t.machine() {
		return t.show(snap, nil)
	}
	var told []string
	err = client.Events(ctx, events, func(e api.Event) error {
		if told = append(told, "  "+eventLine(&e, t.zone)); len(told) > latestEvents {
			told = told[1:]
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(snap.Lives) == 0 && len(told) == 0 {
		no := api.Errorf(api.CodeNotFound, "nothing is known of %s %q", what, ref)
		no.Hint = "l2tpctl session list and l2tpctl call list show what there is; what ended long ago is in the journal"
		return no
	}
	var b strings.Builder
	for i := range snap.Lives {
		if i == explained {
			fmt.Fprintf(&b, "... and %d more, which -o json has\n", len(snap.Lives)-i)
			break
		}
		b.WriteString(t.life(&snap.Lives[i], snap.TakenAt))
	}
	if len(told) > 0 {
		b.WriteString("latest events\n" + strings.Join(told, ""))
	}
	return t.print(b.String())
}

// life is one of them as text.
func (t *tool) life(l *api.Life, now time.Time) string {
	title := l.Name
	for _, x := range []struct{ before, value string }{
		{" with ", port(l.Peer)},
		{" at ", l.Access},
		{", call ", l.Call},
		{", user ", l.User},
		{", interface ", l.Interface},
		{", at LNS ", l.LNS},
		{", carries the frames of ", l.Carries},
	} {
		if x.value != "" {
			title += x.before + x.value
		}
	}
	v := newView(14, title)
	v.row("began", "%s", l.StartedAt.In(t.zone).Format("2006-01-02 15:04:05.000"))
	for i, s := range l.Steps {
		took := fmt.Sprintf("took %d ms", s.Took)
		if i == len(l.Steps)-1 {
			took = "for " + span(time.Duration(s.Took)*time.Millisecond)
		}
		v.row(fmt.Sprintf("+%d ms", s.At), "%-22s %s", s.Stage, took)
	}
	if e := l.End; e != nil {
		v.row("ended", "%s ago, in stage %s", age(now, e.At), e.Stage)
		v.row("cause", "%s: %s", e.Cause, e.Why)
		if e.Advice != "" {
			v.row("try", "%s", e.Advice)
		}
	}
	return v.String()
}
