package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/health"
)

// names of what is raised.
func raised(s *api.Snapshot) (all []string) {
	for _, c := range s.Status.Health {
		all = append(all, c.Name)
	}
	return all
}

// The daemon of these tests has no kernel.
func TestStatusAndMetricsShowConditions(t *testing.T) {
	t.Parallel()
	d, out := running(t, before)
	for range 2 {
		s, err := d.Snapshot(t.Context(), api.Query{Status: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := raised(s); len(got) != 1 || got[0] != health.NoDataPath || s.Status.Health[0].Since.IsZero() {
			t.Errorf("raised: %+v", s.Status.Health)
		}
		if s.Calls != nil {
			t.Error("calls, for which nobody asked")
		}
	}
	if n := strings.Count(out.String(), "event=health-raised condition=no-data-path"); n != 1 {
		t.Errorf("it is in the log %d times:\n%s", n, out)
	}
	s, err := d.Snapshot(t.Context(), api.Query{Status: true, Calls: true, Call: "branch"})
	if err != nil || len(s.Calls) != 1 || len(raised(s)) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestAConditionIsLoggedWhenItIsRaisedAndWhenItIsCleared(t *testing.T) {
	t.Parallel()
	out := &journal{}
	log := slog.New(slog.NewTextHandler(out, nil))
	var h healthState
	look := func(after time.Duration, release string) {
		at := time.Date(2026, 11, 20, 15, 4, 5, 0, time.UTC).Add(after)
		h.observe(&api.Snapshot{TakenAt: at, Status: &api.Status{Kernel: api.Kernel{Release: release}}}, log)
	}
	look(0, "6.12")
	look(5*time.Second, "")
	look(10*time.Second, "")
	look(15*time.Second, "6.12")
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(got) != 2 || !strings.Contains(got[0], "level=WARN") || !strings.Contains(got[0], "event=health-raised condition=no-data-path since=2026-11-20T15:04:10.000Z advice=") ||
		!strings.Contains(got[1], "level=INFO") || !strings.Contains(got[1], "event=health-cleared condition=no-data-path") {
		t.Errorf("%s", out)
	}
}

func TestHealthIsJudgedOnlyWhenSomethingMayHaveChanged(t *testing.T) {
	t.Parallel()
	var h healthState
	at := time.Date(2026, 11, 20, 15, 4, 5, 0, time.UTC)
	for i, c := range []struct {
		after    time.Duration
		activity uint64
		want     bool
	}{
		{0, 10, true},                 // never looked; the look itself makes it 13
		{5 * time.Second, 13, false},  // nothing but the look
		{10 * time.Second, 14, true},  // one message
		{15 * time.Second, 17, false}, // nothing again
		{69 * time.Second, 17, false},
		{70 * time.Second, 17, true}, // a minute has gone
		{75 * time.Second, 20, false},
	} {
		if got := h.due(at.Add(c.after), c.activity, 3); got != c.want {
			t.Errorf("%d: %v, want %v", i, got, c.want)
		}
	}
	h.tracker.Observe(at, &api.Snapshot{Status: &api.Status{
		Kernel: api.Kernel{Release: "6.12"}, Pools: []api.Pool{{Used: 1, Size: 1}},
	}})
	if !h.due(at.Add(80*time.Second), 20, 3) {
		t.Error("a condition waits for its delay")
	}
}

func TestTheDaemonWatchesItsHealth(t *testing.T) {
	t.Parallel()
	d, out := running(t, before)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.watchHealth(ctx) // ends after its first look
	n, look := d.Activity()
	d.lookAtHealth(t.Context(), time.Now().Add(healthAtLeast))
	if after, _ := d.Activity(); after < n+look {
		t.Errorf("activity %d after %d: a look is %d", after, n, look)
	}
	if !strings.Contains(out.String(), "event=health-raised") {
		t.Errorf("it has not looked:\n%s", out)
	}
}
