package engine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/kernel/kerneltest"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// metered starts two boxes with a call that is up between them. The queries are those that want the kernel's counters.
func metered(t *testing.T) (a, b *box, queries map[string]api.Query) {
	t.Helper()
	n := newInternet()
	a = n.start(t, "1.1.1.1", pair("a", "2.2.2.2", policy.PrecedenceIn, true), true)
	b = n.start(t, "2.2.2.2", pair("b", "1.1.1.1", policy.PrecedenceOut, false), true)
	a.up("remote", time.Minute)
	b.up("remote", time.Minute)
	s := a.look().Sessions[0]
	return a, b, map[string]api.Query{
		"status": {Status: true, Stats: true}, "list": {Sessions: true, Stats: true},
		"one": {Sessions: true, Tunnel: s.TunnelID, Session: s.ID, Stats: true},
	}
}

// A kernel that is slow to tell its counters holds up who asks for them, and nobody else.
func TestSlowCountersDoNotHoldUpAShard(t *testing.T) {
	simulated(t, func(t *testing.T) {
		a, b, queries := metered(t)
		defer b.stop()
		defer a.stop()
		for name, q := range queries {
			goOn := a.k.Hold(kerneltest.OpStats)
			var got *api.Snapshot
			var err error
			done := make(chan struct{})
			go func() {
				defer close(done)
				got, err = a.e.Snapshot(context.Background(), q)
			}()
			synctest.Wait()
			select {
			case <-done:
				t.Errorf("%s: answered without the kernel", name)
			default:
			}
			short, cancel := context.WithTimeout(context.Background(), time.Second)
			if other, err := a.e.Snapshot(short, api.Query{Status: true, Tunnels: true, Sessions: true, Calls: true}); err != nil || other.Status.Sessions != 1 {
				t.Errorf("%s: the shards are held up: %v", name, err)
			}
			cancel()
			goOn()
			<-done
			if err != nil || (got.Status == nil) == (len(got.Sessions) == 0) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			if got != nil && len(got.Sessions) == 1 && got.Sessions[0].Data == nil {
				t.Errorf("%s: the session has no counters", name)
			}
		}
	})
}

// Who does not wait any more reads no further.
func TestReadingOfCountersEndsWithItsAsker(t *testing.T) {
	simulated(t, func(t *testing.T) {
		a, b, queries := metered(t)
		defer b.stop()
		defer a.stop()
		for name, q := range queries {
			p := make([]part, len(a.e.shards))
			if err := a.e.each(context.Background(), func(s *shard) { p[s.index] = s.look(q) }); err != nil {
				t.Fatal(err)
			}
			for i, s := range a.e.shards {
				if err := s.views(context.Background(), q, &p[i]); err != nil {
					t.Fatal(err)
				}
			}
			gone, cancel := context.WithCancel(context.Background())
			cancel()
			ended := 0
			for i := range p {
				if errors.Is(p[i].read(gone), context.Canceled) {
					ended++
				}
			}
			if ended != 1 {
				t.Errorf("%s: %d parts were not read, want the one with the session", name, ended)
			}
		}
	})
}

// What a session has carried is counted once, while it lives and when it has ended, even if it ends between the look and the reading.
func TestCountersOfASessionThatEndsAreCountedOnce(t *testing.T) {
	simulated(t, func(t *testing.T) {
		a, b, _ := metered(t)
		defer b.stop()
		defer a.stop()
		before := a.look().Status.Counters.Data.InOctets
		parts := make([]part, len(a.e.shards))
		if err := a.e.each(context.Background(), func(s *shard) { parts[s.index] = s.look(api.Query{Status: true, Sessions: true, Stats: true}) }); err != nil {
			t.Fatal(err)
		}
		a.act(api.Action{Verb: api.VerbCallDown, Call: "remote"})
		a.until("the end of the session", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
		var sum uint64
		for i := range parts {
			if err := parts[i].read(context.Background()); err != nil {
				t.Fatal(err)
			}
			sum += parts[i].data[1]
		}
		if after := a.look().Status.Counters.Data.InOctets; before == 0 || sum < before || sum != after {
			t.Errorf("%d octets before the end, %d read over it, %d after it", before, sum, after)
		}
	})
}

// The interface that a pppd has made is none of the kernel's session: nobody asks that for its idle time.
func TestNoIdleTimeOfAPppdsSession(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) { p.Templates["dialin"].Engine = policy.EnginePppd }), true)
		defer b.stop() // which tells of calls that the kernel refuses
		a := n.start(t, "1.1.1.1", one(autostart), true)
		defer a.stop()
		b.until("an interface", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 1 && s.Sessions[0].Interface != "" })
		if x := b.look().Sessions[0]; x.Data == nil || x.IdleSeconds != 0 {
			t.Errorf("counters %v, idle for %d s", x.Data, x.IdleSeconds)
		}
	})
}
