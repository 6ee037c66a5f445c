package engine

import "sync"

// executor runs what may sleep on a bounded number of goroutines, first come first served. Submitting never blocks.
type executor struct {
	mu     sync.Mutex
	ready  *sync.Cond
	queue  []func()
	closed bool
	idle   int // workers waiting for something to do
	live   int
	limit  int
	wg     sync.WaitGroup
}

func newExecutor(limit int) *executor {
	x := &executor{limit: limit}
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
		x.wg.Go(x.work)
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

// close lets the queue run empty and waits for the workers.
func (x *executor) close() {
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	x.ready.Broadcast()
	x.wg.Wait()
}
