package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// A shard whose inbox was closed together with its last message went back to sleep: the wake-up for both was one, and the daemon
// did not end.
func TestShardEndsWithItsLastMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := New(Config{
			Policy: &policy.Policy{}, Now: func() Time { return time.Hour }, WallClock: time.Now,
		})
		s := e.shards[1]
		done := make(chan struct{})
		go func() {
			s.run()
			close(done)
		}()
		synctest.Wait() // it sleeps
		ran := false
		s.inbox.mu.Lock()
		s.inbox.work = append(s.inbox.work, func() { ran = true })
		s.inbox.closed = true
		s.inbox.mu.Unlock()
		s.inbox.wake <- struct{}{}
		synctest.Wait()
		select {
		case <-done:
		default:
			s.inbox.wake <- struct{}{}
			t.Error("the shard sleeps on")
			<-done
		}
		if !ran {
			t.Error("the last message was lost")
		}
	})
}
