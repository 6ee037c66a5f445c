package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// counting is a line that counts its errors, and can do nothing else.
type counting struct {
	Session
	read func() ([6]uint32, error)
}

func (c counting) LineErrors() ([6]uint32, error) { return c.read() }

// P204: a LAC tells the LNS of the errors on a subscriber's line, those since the call began, as long as more come, and at most once a
// minute.
func TestErrorsOnALineAreToldToTheLNS(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox, lnsPolicy(), true)
		defer b.stop()
		a := n.start(t, lacBox, lacPolicy(lnsBox), true)
		defer a.stop()
		synctest.Wait()
		a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
		b.until("the call", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 1 && !s.Sessions[0].EstablishedAt.IsZero() })
		count, looks := uint32(70), 0 // calls before this one have left their errors
		if err := a.e.shards[0].in(context.Background(), func() {
			for _, x := range a.e.shards[0].tunnels {
				for _, s := range x.sessions {
					s.near.watch = watchLine(s, newJoint(counting{read: func() ([6]uint32, error) {
						looks++
						return [6]uint32{0, count, 0, 0, 0, 0}, nil
					}}))
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		told := func(want uint32) {
			t.Helper()
			b.until("line errors", 2*time.Minute, func(s *api.Snapshot) bool {
				e := s.Sessions[0].LineErrors
				return want == 0 && e == nil || e != nil && e.Framing == want
			})
		}
		time.Sleep(90 * time.Second)
		told(0)
		count = 75
		told(5)
		count = 79
		told(9)
		before := looks
		a.dsl.subscribers[1].gone("he leaves")
		a.until("the end of the call", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
		time.Sleep(5 * time.Minute)
		if looks != before {
			t.Errorf("%d looks at the line of a call that has ended", looks-before)
		}
	})
}
