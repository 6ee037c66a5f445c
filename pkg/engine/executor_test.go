package engine

import (
	"testing"
	"testing/synctest"
	"time"
)

// Some workers wait for more, use the stack that they have, and end when nothing comes.
func TestExecutorWorkersWaitForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExecutor(64)
		workers := func() int {
			synctest.Wait()
			x.mu.Lock()
			defer x.mu.Unlock()
			return x.live
		}
		begin := make(chan struct{})
		for range 40 {
			x.submit(func() { <-begin })
		}
		if n := workers(); n != 40 {
			t.Errorf("%d workers for what waits at once, want 40", n)
		}
		close(begin)
		if n := workers(); n != maxWaiting {
			t.Errorf("%d workers wait, want %d", n, maxWaiting)
		}
		ran := 0
		for range 100 {
			x.submit(func() { ran++ })
			if n := workers(); n > maxWaiting {
				t.Errorf("%d workers for one thing after another", n)
			}
		}
		time.Sleep(patience + time.Millisecond)
		if n := workers(); n != 0 || ran != 100 {
			t.Errorf("%d workers are left, %d of 100 things are done", n, ran)
		}
		if err := x.close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
