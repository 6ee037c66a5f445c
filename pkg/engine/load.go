package engine

import (
	"sync/atomic"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// loadBounds are api.LoadBounds as durations.
var loadBounds = [...]time.Duration{
	10 * time.Microsecond, 100 * time.Microsecond, time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 500 * time.Millisecond, time.Second, 5 * time.Second,
}

// histogram counts durations. One goroutine observes; anybody may look.
type histogram struct {
	counts [len(loadBounds) + 1]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(loadBounds) && d > loadBounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) view() api.Histogram {
	v := api.Histogram{Counts: make([]uint64, len(h.counts)), Sum: time.Duration(h.sum.Load()).Seconds()}
	for i := range h.counts {
		v.Counts[i] = h.counts[i].Load()
	}
	return v
}

// load is how busy a shard is. The shard counts, without a lock or an allocation.
type load struct {
	messages  atomic.Uint64
	fired     atomic.Uint64 // turns in which a deadline was due
	wait, run histogram
}

// begin counts a batch that was taken at the time now of the inbox's clock.
func (l *load) begin(b *batch, now time.Duration) {
	if n := len(b.work) + len(b.packets) + len(b.newcomers) + len(b.frames); n > 0 {
		l.messages.Add(uint64(n))
		l.wait.observe(now - b.first)
	}
}

// load is how busy the engine is.
func (e *Engine) load() *api.Load {
	v := &api.Load{}
	for _, s := range e.shards {
		v.Loops = append(v.Loops, api.Loop{Messages: s.load.messages.Load(), Wait: s.load.wait.view(), Run: s.load.run.view()})
	}
	for _, x := range []struct {
		name string
		of   *executor
	}{{"kernel", e.exec}, {"names", e.names}, {"radius", e.asks}} {
		v.Executors = append(v.Executors, x.of.view(x.name))
	}
	return v
}

// view is what the executor has to do.
func (x *executor) view(name string) api.Executor {
	x.mu.Lock()
	defer x.mu.Unlock()
	return api.Executor{Name: name, Queued: len(x.queue), Working: x.live - x.waiting, Limit: x.limit}
}
