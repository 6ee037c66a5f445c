package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
)

func TestHistogramsHaveTheBoundsOfTheAPI(t *testing.T) {
	t.Parallel()
	bounds := api.LoadBounds()
	if len(bounds) != len(loadBounds) {
		t.Fatalf("%d bounds, want %d", len(loadBounds), len(bounds))
	}
	var h histogram
	for i, b := range loadBounds {
		if b.Seconds() != bounds[i] {
			t.Errorf("bound %d: %v, want %v s", i, b, bounds[i])
		}
		h.observe(b)
	}
	h.observe(time.Minute)
	v := h.view()
	for i, n := range v.Counts {
		if n != 1 {
			t.Errorf("%d times in bucket %d, want one: a bound is of its own bucket", n, i)
		}
	}
	if v.Sum < 66 || v.Sum > 67 {
		t.Errorf("sum %v s", v.Sum)
	}
}

func TestLoopsCountWhatWaitsAndRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShard(&Engine{cfg: Config{Now: func() Time { return 1 }}}, 1)
		s.post(func() { time.Sleep(20 * time.Millisecond) }) // the loop is not there yet, and then at work
		time.Sleep(2 * time.Second)
		go s.run()
		synctest.Wait()
		s.post(func() {})
		time.Sleep(time.Second)
		s.inbox.close()
		synctest.Wait()
		if n := s.load.messages.Load(); n != 2 {
			t.Errorf("%d messages, want 2", n)
		}
		wait, run := s.load.wait.view(), s.load.run.view()
		// The first waited two seconds for the loop, the second 20 ms for the first.
		if wait.Counts[9] != 1 || wait.Counts[5] != 1 || wait.Sum < 2.019 || wait.Sum > 2.021 {
			t.Errorf("waits %+v", wait)
		}
		if run.Counts[5] != 1 || run.Sum < 0.019 || run.Sum > 0.021 {
			t.Errorf("runs %+v", run)
		}
	})
}

func TestExecutorsSayWhatWaits(t *testing.T) {
	t.Parallel()
	x := newExecutor(1)
	hold, held := make(chan struct{}), make(chan struct{})
	x.submit(func() { close(held); <-hold })
	<-held
	x.submit(func() {})
	x.submit(func() {})
	if v := x.view("kernel"); v != (api.Executor{Name: "kernel", Queued: 2, Working: 1, Limit: 1}) {
		t.Errorf("%+v", v)
	}
	close(hold)
	if err := x.close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// A turn of the loop is what a datagram of a live tunnel costs: counting it must cost next to nothing, and no memory.
func TestCountingALoopsTurnAllocatesNothing(t *testing.T) {
	var l load
	b := batch{packets: make([]packet, 3)}
	if n := testing.AllocsPerRun(100, func() { l.begin(&b, time.Second); l.run.observe(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkTurn is a turn of the loop with one message.
func BenchmarkTurn(b *testing.B) {
	s := newShard(&Engine{cfg: Config{Now: func() Time { return 1 }}}, 1)
	var t batch
	for b.Loop() {
		s.post(func() {})
		s.once(&t)
	}
}
