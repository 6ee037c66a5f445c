package engine

import (
	"context"
	"sync"
	"time"
)

// A worker that has nothing to do waits for more, with the stack that its work made it grow: but not many do, and not for long.
const (
	maxWaiting = 16
	patience   = time.Second
)

// executor runs what may sleep on a bounded number of goroutines, first come first served. Submitting never blocks.
type executor struct {
	mu      sync.Mutex
	queue   []func()
	more    chan struct{} // one worker that waits is to look again; a full one has woken as many as there may be
	closed  bool
	live    int // workers
	waiting int // of them, for patience to end or for more
	limit   int
	ended   chan struct{} // closed with the last worker of a closed executor
}

func newExecutor(limit int) *executor {
	return &executor{limit: limit, more: make(chan struct{}, maxWaiting), ended: make(chan struct{})}
}

// submit queues f.
func (x *executor) submit(f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return
	}
	x.queue = append(x.queue, f)
	switch {
	case x.waiting >= len(x.queue):
		x.wake()
	case x.live < x.limit:
		x.live++
		go x.work() // close waits for it
	}
}

func (x *executor) work() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for {
		if len(x.queue) == 0 && !x.closed && x.waiting < maxWaiting {
			x.await()
		}
		if len(x.queue) == 0 {
			break
		}
		f := x.queue[0]
		x.queue[0] = nil
		x.queue = x.queue[1:]
		x.mu.Unlock()
		f()
		x.mu.Lock()
	}
	x.live--
	if x.closed && x.live == 0 {
		close(x.ended)
	}
}

// await waits for more to do. The lock is free meanwhile.
func (x *executor) await() {
	over := time.NewTimer(patience)
	defer over.Stop()
	x.waiting++
	x.mu.Unlock()
	select {
	case <-x.more:
	case <-over.C:
	}
	x.mu.Lock()
	x.waiting--
}

// wake has a worker that waits look again.
func (x *executor) wake() {
	select {
	case x.more <- struct{}{}:
	default:
	}
}

// close lets the queue run empty and waits for the workers. When ctx ends, what has not begun is dropped, and its error is
// returned while workers are still at work; each of them ends with the call that it is in.
func (x *executor) close(ctx context.Context) error {
	x.mu.Lock()
	x.closed = true
	for range x.waiting {
		x.wake()
	}
	if x.live == 0 {
		x.mu.Unlock()
		return nil
	}
	x.mu.Unlock()
	select {
	case <-x.ended:
		return nil
	case <-ctx.Done():
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	clear(x.queue)
	x.queue = nil
	if x.live == 0 {
		return nil
	}
	return ctx.Err()
}
