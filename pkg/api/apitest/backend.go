package apitest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// Backend is a daemon without tunnels of its own. It is safe for concurrent use.
type Backend struct {
	mu      sync.Mutex
	picture api.Snapshot
	actions []api.Action
	queries []api.Query
	fail    error
	hang    bool
	film    bool

	captures []api.Capture
	debugs   []api.Debug
}

// New returns a Backend that shows picture. Every part of it may be nil.
func New(picture api.Snapshot) *Backend { return &Backend{picture: picture} }

// Fail makes every later question end with err; nil ends that.
func (b *Backend) Fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = err
}

// Hang makes every later question wait for the end of its context.
func (b *Backend) Hang() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hang = true
}

// Change lets a test alter the picture.
func (b *Backend) Change(f func(*api.Snapshot)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.picture)
}

// Actions returns what was done so far.
func (b *Backend) Actions() []api.Action {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.actions)
}

// Queries returns what was asked so far.
func (b *Backend) Queries() []api.Query {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.queries)
}

func (b *Backend) await(ctx context.Context) error {
	b.mu.Lock()
	fail, hang := b.fail, b.hang
	b.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return fail
}

// Snapshot implements api.Backend.
func (b *Backend) Snapshot(ctx context.Context, q api.Query) (*api.Snapshot, error) {
	if err := b.await(ctx); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queries = append(b.queries, q)
	out := &api.Snapshot{TakenAt: b.picture.TakenAt}
	if q.Status && b.picture.Status != nil {
		status := *b.picture.Status
		out.Status = &status
	}
	if q.Load {
		out.Load = b.picture.Load
	}
	if q.Tunnels {
		out.Tunnels = keep(b.picture.Tunnels, func(t *api.Tunnel) bool { return q.Tunnel == 0 || t.ID == q.Tunnel })
	}
	if q.Sessions {
		out.Sessions = keep(b.picture.Sessions, func(c *api.Session) bool {
			return (q.Tunnel == 0 || c.TunnelID == q.Tunnel) && (q.Session == 0 || c.ID == q.Session)
		})
		if !q.Stats {
			for i := range out.Sessions {
				out.Sessions[i].Data = nil
			}
		}
	}
	fillTables(out, &b.picture, q)
	if q.Lives != nil {
		out.Lives = keep(b.picture.Lives, q.Lives.Wants)
	}
	if q.Calls {
		out.Calls = keep(b.picture.Calls, func(c *api.Call) bool { return q.Call == "" || c.Name == q.Call })
	}
	return out, nil
}

// keep returns the items that ok takes: never nil, never the picture's own memory.
func keep[T any](items []T, ok func(*T) bool) []T {
	out := make([]T, 0, len(items))
	for i := range items {
		if ok(&items[i]) {
			out = append(out, items[i])
		}
	}
	return out
}

// Act implements api.Backend. Closing removes, taking up and down sets the state.
func (b *Backend) Act(ctx context.Context, a api.Action) (*api.Result, error) {
	if err := b.await(ctx); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.actions = append(b.actions, a)
	switch a.Verb {
	case api.VerbTunnelClose:
		return b.closeTunnel(a)
	case api.VerbSessionClose:
		return b.closeSession(a)
	case api.VerbCallUp:
		return b.setCall(a, api.CallUp, "is being dialled")
	case api.VerbCallDown:
		return b.setCall(a, api.CallIdle, "is being taken down")
	case api.VerbCountersReset: // the server's own
	case api.VerbDebugStop:
		return b.stopDebugs(a)
	case api.VerbReload:
		return &api.Result{Changed: true, Message: "configuration reloaded", Details: []string{"calls.branch.peer: changed, takes effect at the next dial"}}, nil
	}
	return nil, api.Errorf(api.CodeInvalid, "no verb %q", a.Verb)
}

func (b *Backend) closeTunnel(a api.Action) (*api.Result, error) {
	n := len(b.picture.Tunnels)
	b.picture.Tunnels = keep(b.picture.Tunnels, func(t *api.Tunnel) bool { return t.ID != a.Tunnel })
	if len(b.picture.Tunnels) == n {
		return nil, api.Errorf(api.CodeNotFound, "no tunnel %d", a.Tunnel)
	}
	b.picture.Sessions = keep(b.picture.Sessions, func(c *api.Session) bool { return c.TunnelID != a.Tunnel })
	return &api.Result{Changed: true, Message: fmt.Sprintf("tunnel %d is being closed", a.Tunnel)}, nil
}

func (b *Backend) closeSession(a api.Action) (*api.Result, error) {
	n := len(b.picture.Sessions)
	b.picture.Sessions = keep(b.picture.Sessions, func(c *api.Session) bool { return c.TunnelID != a.Tunnel || c.ID != a.Session })
	if len(b.picture.Sessions) == n {
		return nil, api.Errorf(api.CodeNotFound, "no session %d/%d", a.Tunnel, a.Session)
	}
	return &api.Result{Changed: true, Message: fmt.Sprintf("session %d/%d is being closed", a.Tunnel, a.Session)}, nil
}

func (b *Backend) stopDebugs(a api.Action) (*api.Result, error) {
	n := len(b.picture.Debugs)
	b.picture.Debugs = keep(b.picture.Debugs, func(d *api.Debugging) bool { return a.Debug != 0 && d.ID != a.Debug })
	n -= len(b.picture.Debugs)
	if n == 0 && a.Debug != 0 {
		return nil, api.Errorf(api.CodeNotFound, "no debug %d", a.Debug)
	}
	if a.Debug != 0 {
		return &api.Result{Changed: true, Message: fmt.Sprintf("debug %d is being ended", a.Debug)}, nil
	}
	return &api.Result{Changed: n > 0, Message: fmt.Sprintf("%d debugs are being ended", n)}, nil
}

func (b *Backend) setCall(a api.Action, to api.CallState, message string) (*api.Result, error) {
	for i := range b.picture.Calls {
		c := &b.picture.Calls[i]
		if c.Name != a.Call {
			continue
		}
		if to == api.CallUp && c.State == api.CallPassive {
			no := api.Errorf(api.CodeConflict, "call %s is passive: its peer has no address", c.Name)
			no.Hint = "the other side has to call"
			return nil, no
		}
		changed := c.State != to
		c.State = to
		if !changed {
			message = "is " + string(to) + " already"
		}
		return &api.Result{Changed: changed, Message: "call " + c.Name + " " + message}, nil
	}
	return nil, api.Errorf(api.CodeNotFound, "no call %q", a.Call)
}
