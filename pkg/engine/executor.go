package engine

import (
	"context"
	"sync"
)

// executor runs what may sleep on a bounded number of goroutines, first come first served. Submitting never blocks.
type executor struct {
	mu     sync.Mutex
	queue  []func()
	closed bool
	live   int // workers
	limit  int
	ended  chan struct{} // closed with the last worker of a closed executor
}

func newExecutor(limit int) *executor { return &executor{limit: limit, ended: make(chan struct{})} }

// submit queues f. A worker ends when nothing is left to do.
func (x *executor) submit(f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return
	}
	x.queue = append(x.queue, f)
	if x.live < x.limit {
		x.live++
		go x.work() // close waits for it
	}
}

func (x *executor) work() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for len(x.queue) > 0 {
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

// close lets the queue run empty and waits for the workers. When ctx ends, what has not begun is dropped, and its error is
// returned while workers are still at work; each of them ends with the call that it is in.
func (x *executor) close(ctx context.Context) error {
	x.mu.Lock()
	x.closed = true
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
