package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/health"
)

const (
	healthEvery = 5 * time.Second
	// healthAtLeast is how often conditions are judged though the engine has done nothing: those of RADIUS servers and the locks of LNSs
	// change by the clock alone.
	healthAtLeast = time.Minute
	healthTimeout = 4 * time.Second
)

// healthState follows the conditions of the daemon. It is safe for concurrent use.
type healthState struct {
	mu      sync.Mutex
	tracker health.Tracker

	activity uint64 // of the engine, when watch last looked
	looked   time.Time
}

// observe judges a Snapshot with a Status and the calls, logs what has changed, and puts what is raised into the Status.
func (h *healthState) observe(s *api.Snapshot, log *slog.Logger) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.tracker.Observe(s.TakenAt, s) {
		level, event, msg := slog.LevelWarn, "health-raised", "health: "+c.Message
		if !c.Raised {
			level, event, msg = slog.LevelInfo, "health-cleared", "health: no longer: "+c.Message
		}
		log.LogAttrs(context.Background(), level, msg, //nolint:sloglint // the sentence is the message; its parts are attributes
			slog.String("event", event), slog.String("condition", c.Name), slog.Time("since", c.Since), slog.String("advice", c.Advice))
	}
	s.Status.Health = h.tracker.Raised()
}

// due says whether something may have changed since the last look: the engine has done something, a condition waits for its delay, or it is
// long ago. If so, what the look itself makes the engine do does not count.
func (h *healthState) due(now time.Time, activity, look uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if activity == h.activity && !h.tracker.Pending() && now.Sub(h.looked) < healthAtLeast {
		return false
	}
	h.activity, h.looked = activity+look, now
	return true
}

// raised are the conditions as they were judged last.
func (h *healthState) raised() []api.Condition {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tracker.Raised()
}

// Snapshot implements api.Backend. Whoever asks for the Status has the conditions judged anew, unless he wants to see a single call:
// they are of all calls.
func (d *daemon) Snapshot(ctx context.Context, q api.Query) (*api.Snapshot, error) {
	full := q
	full.Calls = q.Calls || q.Status
	snap, err := d.Engine.Snapshot(ctx, full)
	if err == nil && q.Settings {
		snap.Settings = d.settings() // which the engine does not know as they were written
	}
	switch {
	case err != nil || snap.Status == nil:
		return snap, err
	case q.Call == "":
		d.health.observe(snap, d.log)
	default:
		snap.Status.Health = d.health.raised()
	}
	if !q.Calls {
		snap.Calls = nil
	}
	return snap, nil
}

// watchHealth judges the conditions every few seconds while something may have changed.
func (d *daemon) watchHealth(ctx context.Context) {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for {
		d.lookAtHealth(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// lookAtHealth judges the conditions if something may have changed. A daemon that does not answer is the watchdog's business.
func (d *daemon) lookAtHealth(ctx context.Context, now time.Time) {
	n, look := d.Activity()
	if !d.health.due(now, n, look) {
		return
	}
	limit, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	if _, err := d.Snapshot(limit, api.Query{Status: true}); err != nil {
		d.log.DebugContext(ctx, "health: no look at the daemon", slog.Any("error", err))
	}
}
