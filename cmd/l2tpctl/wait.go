package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// dialAndWait dials a call and looks at it until it is up, an attempt has failed, or the time is over.
func (t *tool) dialAndWait(ctx context.Context, name string, wait time.Duration) error {
	client := t.client()
	_, call, err := oneCall(ctx, client, name)
	if err != nil {
		return err
	}
	before := call.LastError
	if _, err := client.Act(ctx, api.Request{Verb: api.VerbCallUp, Ref: call.Name}); err != nil {
		return err
	}
	end, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		snap, call, err := oneCall(ctx, client, call.Name)
		if err != nil {
			return err
		}
		switch {
		case call.State == api.CallUp:
			return t.came(snap, call)
		case call.LastError != nil && (before == nil || call.LastError.At.After(before.At)):
			return fmt.Errorf("call %s: %s", call.Name, explain(call))
		}
		select {
		case <-end.Done():
			if ctx.Err() != nil {
				return errors.New("interrupted; the call goes on without us")
			}
			return fmt.Errorf("call %s is still %s after %v", call.Name, call.State, wait)
		case <-time.After(t.poll):
		}
	}
}

func (t *tool) came(snap *api.Snapshot, call *api.Call) error {
	return t.show(snap, func() string {
		return line(fmt.Sprintf("call %s: up, session %d/%d, interface %s", call.Name, call.TunnelID, call.SessionID, or(call.Interface)))
	})
}

func oneCall(ctx context.Context, client *api.Client, name string) (*api.Snapshot, *api.Call, error) {
	snap, err := client.Calls(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if len(snap.Calls) != 1 {
		return nil, nil, api.Errorf(api.CodeNotFound, "call %q has just gone", name)
	}
	return snap, &snap.Calls[0], nil
}

// explain says in one line why a call is not up: the stage, what happened, the other side's words.
func explain(c *api.Call) string {
	e := c.LastError
	if e == nil {
		return "refused"
	}
	s := e.Text
	if e.Stage != "" {
		s = e.Stage + ": " + s
	}
	if e.Peer != "" && !strings.Contains(e.Text, e.Peer) {
		s += fmt.Sprintf(" (the peer says %q)", e.Peer)
	}
	return s
}
