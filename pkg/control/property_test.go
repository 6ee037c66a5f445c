package control

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// P132: the counters wrap in both directions, under load and loss.
func TestCountersWrap(t *testing.T) {
	t.Parallel()
	a, b := testConfig(1), testConfig(2)
	a.MaxRetransmits, b.MaxRetransmits = 12, 12
	a.SessionTimeout, b.SessionTimeout = time.Hour, time.Hour
	w := newWorld(t, 3, a, b)
	w.loss, w.jitter = 0.1, 20*time.Millisecond
	w.establish()
	w.runUntil(time.Minute, func() bool { return len(w.n[0].t.ch.Queue)+len(w.n[1].t.ch.Queue)+len(w.air) == 0 })
	w.shift(65535-20, 65535-70)
	for range 100 {
		w.openSession(0, LACIncoming, CallInfo{})
	}
	w.runUntil(time.Hour, func() bool { return len(w.n[0].up) == 100 && len(w.n[1].up) == 100 })
	if ns := w.n[0].t.View().Ns; ns > 1000 {
		t.Errorf("Ns %d has not wrapped", ns)
	}
	w.checkNoLeak()
}

// P132: what is old and what is new is told by half of the number space.
func TestWindowCompare(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		nr, ns uint16
		want   verdict
	}{
		{16, 15, duplicate},
		{16, 0, duplicate},
		{16, 65535, duplicate},
		{16, 32784, duplicate},
		{16, 16, inOrder},
		{16, 17, early},
		{16, 19, early},
		{16, 20, outside},
		{16, 32783, outside},
		{65535, 65535, inOrder},
		{65535, 0, early},
		{65534, 1, early},
		{0, 65535, duplicate},
		{0, 32768, duplicate},
		{0, 32767, outside},
	} {
		c := channel{window: 4}
		c.Nr = tt.nr
		if got := c.judge(tt.ns); got != tt.want {
			t.Errorf("next %d, came %d: got %v, want %v", tt.nr, tt.ns, got, tt.want)
		}
	}
}

// P131, P132: 70,000 messages and more pass through one tunnel, each once and in order.
func TestManyMessages(t *testing.T) {
	t.Parallel()
	a, b := testConfig(1), testConfig(2)
	w := newWorld(t, 3, a, b)
	w.establish()
	w.openSession(0, LACIncoming, CallInfo{})
	w.runUntil(time.Minute, func() bool { return len(w.n[0].up) == 1 && len(w.n[1].up) == 1 })
	id := w.n[1].t.Record().Sessions[0].ID
	w.n[0].events = nil
	const total = 70_000
	for i := range uint32(total) {
		w.do(1, CmdSendSLI{Session: id, Send: i})
		w.runUntil(time.Minute, func() bool { return w.n[1].t.ch.backlog() == 0 })
	}
	w.run(time.Minute)
	next := uint32(0)
	for _, e := range w.n[0].events {
		if e, ok := e.(EvACCM); ok {
			if e.Send != next {
				t.Fatalf("got %d, want %d", e.Send, next)
			}
			next++
		}
	}
	if next != total {
		t.Fatalf("%d of %d arrived", next, total)
	}
	w.checkNoLeak()
}

// P149: 1,000 tunnels idle for 24 hours under HELLO stay up; both ends ask only when the other was silent.
func TestDayOfKeepAlives(t *testing.T) {
	t.Parallel()
	hellos := 0
	for i := range uint64(1000) {
		a, b := testConfig(i), testConfig(i+5000)
		a.HelloInterval, b.HelloInterval = time.Minute, time.Minute
		w := newWorld(t, i, a, b)
		w.establish()
		w.n[0].trace, w.n[1].trace = nil, nil
		w.run(24 * time.Hour)
		for k, n := range w.n {
			if n.t.State() != TunnelEstablished {
				t.Fatalf("tunnel %d, node %d: %v", i, k, n.t.State())
			}
			if len(n.events) > 3 {
				t.Fatalf("tunnel %d, node %d: events %v", i, k, n.events)
			}
			hellos += int(n.t.View().Counters.OutMessages)
		}
	}
	if hellos < 1000*1400 || hellos > 1000*2900 {
		t.Errorf("%d messages in 1000 tunnel days", hellos)
	}
}

// A run cut at any step, its record encoded and restored, goes on as if nothing had happened: same datagrams, same times.
func TestRestoreChangesNothingThatThePeerSees(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			plain := randomRun(t, seed, nil)
			cuts := 0
			cut := randomRun(t, seed, func(w *world, i int) {
				n := w.n[i]
				r := n.t.Record()
				var buf bytes.Buffer
				if err := gob.NewEncoder(&buf).Encode(r); err != nil {
					t.Fatal(err)
				}
				var back Record
				if err := gob.NewDecoder(&buf).Decode(&back); err != nil {
					t.Fatal(err)
				}
				var out Output
				restored, err := Restore(back, n.cfg, w.now, &out)
				if err != nil {
					t.Fatal(err)
				}
				if n.t.State() == TunnelDead {
					return
				}
				n.t = restored
				cuts++
				if len(out.Datagrams)+len(out.Events) > 0 {
					w.afterStep = nil
					t.Fatalf("restoring did something: %v", out.Events)
				}
			})
			if diff := cmp.Diff(plain, cut); diff != "" {
				t.Errorf("restored run differs (-plain +cut):\n%s", diff)
			}
			if cuts < 50 {
				t.Errorf("only %d cuts", cuts)
			}
		})
	}
}

// randomRun is a life of two tunnels under loss with random commands; it returns all that was sent.
func randomRun(t *testing.T, seed uint64, cut func(*world, int)) []string {
	t.Helper()
	a, b := testConfig(seed), testConfig(seed+50)
	a.HideAVPs = seed%2 == 0
	b.HideAVPs = a.HideAVPs
	a.HelloInterval, b.HelloInterval = 7*time.Second, 11*time.Second
	a.IdleTimeout, b.IdleTimeout = 30*time.Second, 40*time.Second
	w := newWorld(t, seed, a, b)
	w.keepTrace = true
	w.loss, w.duplication, w.jitter = 0.1, 0.1, 100*time.Millisecond
	w.afterStep = cut
	w.open()
	for range 150 {
		w.run(time.Duration(w.rng.Int64N(int64(700 * time.Millisecond))))
		i := w.rng.IntN(2)
		if w.n[i].t == nil || w.n[i].t.State() == TunnelDead {
			continue
		}
		switch w.rng.IntN(8) {
		case 0, 1, 2:
			w.openSession(i, []Role{LACIncoming, LNSOutgoing}[w.rng.IntN(2)], CallInfo{CalledNumber: "1", Line: testLine()})
		case 3, 4:
			if ids := w.n[i].t.sess.ordered(); len(ids) > 0 {
				w.do(i, CmdCloseSession{Session: ids[w.rng.IntN(len(ids))].ID, Result: wire.Result{Code: wire.CDNAdmin}})
			}
		case 5:
			if ids := w.n[i].t.sess.ordered(); len(ids) > 0 {
				id := ids[w.rng.IntN(len(ids))].ID
				w.do(i, CmdSendSLI{Session: id, Send: 1, Receive: 2})
				w.do(i, CmdSendWEN{Session: id, Errors: [6]uint32{uint32(seed) + 1}})
			}
		case 6:
			w.do(i, CmdHeard{At: w.now})
		case 7:
			if w.rng.IntN(20) == 0 {
				w.do(i, CmdClose{Result: wire.Result{Code: wire.StopShutdown}})
			}
		}
	}
	w.run(2 * time.Minute)
	return append(append([]string{}, w.n[0].trace...), w.n[1].trace...)
}

// The record kept at the last Persist is enough: a crash at any later moment loses at most what a lossy link loses.
func TestPersistedRecordIsEnough(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		a, b := testConfig(seed), testConfig(seed+50)
		a.MaxRetransmits, b.MaxRetransmits = 12, 12
		a.SessionTimeout, b.SessionTimeout = time.Hour, time.Hour
		w := newWorld(t, seed, a, b)
		w.loss, w.jitter = 0.05, 20*time.Millisecond
		w.establish()
		for range 50 {
			w.openSession(0, LACIncoming, CallInfo{})
		}
		w.n[0].last, w.n[1].last = w.n[0].t.Record(), w.n[1].t.Record()
		for done := func() bool { return len(w.n[0].up) >= 50 && len(w.n[1].up) >= 50 }; !done(); {
			if !w.persistingStep(t) {
				t.Fatalf("seed %d: stuck with %d and %d up", seed, len(w.n[0].up), len(w.n[1].up))
			}
		}
		for i, n := range w.n {
			if len(n.down) > 0 {
				t.Errorf("seed %d, node %d: %d sessions lost", seed, i, len(n.down))
			}
		}
	}
}

// persistingStep is a step after which both tunnels may crash and come back from what was persisted.
func (w *world) persistingStep(t *testing.T) bool {
	t.Helper()
	w.onPersist = func(i int) { w.n[i].last = w.n[i].t.Record() }
	if !w.step(w.now + time.Hour) {
		return false
	}
	if i := w.rng.IntN(10); i < 2 {
		var out Output
		restored, err := Restore(w.n[i].last, w.n[i].cfg, w.now, &out)
		if err != nil {
			t.Fatal(err)
		}
		w.n[i].t = restored
		w.done(i, &out)
	}
	return true
}

// Secrets are not in a record.
func TestRecordHoldsNoSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, testConfig(1), testConfig(2))
	w.establish()
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(w.n[0].t.Record()); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(buf.Bytes(), []byte("mysecret")) {
		t.Error("secret in the record")
	}
}
