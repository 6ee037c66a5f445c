package engine

import (
	"context"
	"sync"
)

// maxWaiting is how many workers wait for more to do, with the stack that their work made them grow; others end.
const maxWaiting = 16

// executor runs what may sleep on a bounded number of goroutines, first come first served. Submitting never blocks.
type executor struct {
	mu      sync.Mutex
	queue   []func()
	more    *sync.Cond // there is something in the queue, or it is closed
	closed  bool
	live    int // workers
	waiting int // of them, for more
	limit   int
	ended   chan struct{} // closed with the last worker of a closed executor
}

func newExecutor(limit int) *executor {
	x := &executor{limit: limit, ended: make(chan struct{})}
	x.more = sync.NewCond(&x.mu)
	return x
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
		x.more.Signal()
	case x.live < x.limit:
		x.live++
		go x.work() // close waits for it
	}
}

func (x *executor) work() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for {
		for len(x.queue) == 0 && !x.closed && x.waiting < maxWaiting {
			x.waiting++
			x.more.Wait()
			x.waiting--
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

// close lets the queue run empty and waits for the workers. When ctx ends, what has not begun is dropped, and its error is
// returned while workers are still at work; each of them ends with the call that it is in.
func (x *executor) close(ctx context.Context) error {
	x.mu.Lock()
	x.closed = true
	x.more.Broadcast()
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
