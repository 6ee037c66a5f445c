package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/kernel/kerneltest"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// A subscriber who goes while the kernel joins his channel with the LNS's has it closed afterwards, and one who has gone is not joined.
func TestChannelIsNotClosedWhileItIsJoined(t *testing.T) {
	for name, leave := range map[string]func(s *subscriberBox){"PADT": (*subscriberBox).vanish, "PPP": (*subscriberBox).close} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				b := n.start(t, lnsBox, lnsPolicy(), true)
				defer b.stop()
				a := n.start(t, lacBox, lacPolicy(lnsBox), true)
				defer a.stop()
				synctest.Wait()
				goOn := a.k.Hold(kerneltest.OpBridge)
				s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
				time.Sleep(time.Second)
				leave(s)
				time.Sleep(5 * time.Second)
				goOn()
				s.goes(time.Minute)
				a.empty(time.Minute)
				b.until("no session", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
			})
		})
	}
}

// An LNS that has answered is not to blame when the kernel takes long over the bridge.
func TestSlowBridgeIsNotTheLNSsFault(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox, lnsPolicy(), true)
		defer b.stop()
		a := n.start(t, lacBox, changed(lacPolicy(lnsBox), func(p *policy.Policy) { p.LAC.Attempt = 2 * time.Second }), true)
		defer a.stop()
		synctest.Wait()
		goOn := a.k.Hold(kerneltest.OpBridge)
		s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
		time.Sleep(5 * time.Second)
		goOn()
		s.comesUp(time.Minute)
		if l := a.look().Status.LNS; len(l) != 1 || !l[0].LockedUntil.IsZero() || l[0].Sessions != 1 {
			t.Errorf("the LNSs are %+v", l)
		}
		s.close()
		a.empty(time.Minute)
	})
}
