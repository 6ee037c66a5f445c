package engine

import (
	"context"
	"sync"
)

// executor runs what may sleep on a bounded number of goroutines, first come first served. Submitting never blocks.
type executor struct {
	mu     sync.Mutex
	ready  *sync.Cond
	queue  []func()
	closed bool
	idle   int // workers waiting for something to do
	live   int
	limit  int
	ended  chan struct{} // closed with the last worker of a closed executor
}

func newExecutor(limit int) *executor {
	x := &executor{limit: limit, ended: make(chan struct{})}
	x.ready = sync.NewCond(&x.mu)
	return x
}

// submit queues f. Workers are started as they are needed and stay.
func (x *executor) submit(f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return
	}
	x.queue = append(x.queue, f)
	if x.idle == 0 && x.live < x.limit {
		x.live++
		go x.work() // close waits for it
		return
	}
	x.ready.Signal()
}

func (x *executor) work() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for {
		for len(x.queue) == 0 {
			if x.closed {
				x.live--
				x.checkEnded()
				return
			}
			x.idle++
			x.ready.Wait()
			x.idle--
		}
		f := x.queue[0]
		x.queue[0] = nil
		x.queue = x.queue[1:]
		x.mu.Unlock()
		f()
		x.mu.Lock()
	}
}

func (x *executor) checkEnded() {
	if x.live == 0 {
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
	x.ready.Broadcast()
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
