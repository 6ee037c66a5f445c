package engine

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// S18, S69, P113-P120: whatever the two ends of a pair do at the same moment, and whatever the net loses, in the end there is
// exactly one session for the pair, and nothing of the others is left.
func TestCrossingPairsConverge(t *testing.T) {
	t.Parallel()
	const seeds = 200
	for part := range 4 {
		t.Run(fmt.Sprintf("part %d", part), func(t *testing.T) {
			for seed := part * seeds / 4; seed < (part+1)*seeds/4; seed++ {
				t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { simulated(t, func(t *testing.T) { cross(t, uint64(seed)) }) })
			}
		})
	}
}

// cross lets two boxes dial each other in a way that the seed decides.
func cross(t *testing.T, seed uint64) {
	dice := rand.New(rand.NewPCG(seed, 7))
	precedence := [2]policy.Precedence{policy.PrecedenceIn, policy.PrecedenceOut}
	if dice.IntN(2) == 0 {
		precedence[0], precedence[1] = precedence[1], precedence[0]
	}
	if dice.IntN(5) == 0 { // misconfigured
		precedence[1] = precedence[0]
	}
	ownTunnels, ocrq, newCore := dice.IntN(4) == 0, dice.IntN(4) == 0, dice.IntN(4) > 0
	loss := dice.IntN(3) * 10 // per cent
	make := func(host, peer string, prec policy.Precedence) *policy.Policy {
		p := pair(host, peer, prec, true)
		c := p.Calls["remote"]
		c.OwnTunnel = ownTunnels
		c.RedialMin, c.RedialMax = time.Second, 10*time.Second
		if ocrq {
			c.Method = policy.MethodOCRQ
		}
		return p
	}
	policies := []*policy.Policy{make("a", "2.2.2.2", precedence[0]), make("b", "1.1.1.1", precedence[1])}
	addrs := []string{"1.1.1.1", "2.2.2.2"}
	n := newInternet()
	first, offset := dice.IntN(2), time.Duration(dice.IntN(50_001))*time.Microsecond
	n.drop = func(_, _ netip.AddrPort, _ []byte) bool { return dice.IntN(100) < loss } // called under the net's lock
	boxes := [2]*box{}
	boxes[first] = n.start(t, addrs[first], policies[first], newCore)
	time.Sleep(offset) // virtual
	boxes[1-first] = n.start(t, addrs[1-first], policies[1-first], newCore)

	what := fmt.Sprintf("precedence %v and %v, own tunnels %v, OCRQ %v, new core %v, loss %d %%",
		precedence[0], precedence[1], ownTunnels, ocrq, newCore, loss)
	settled := func(s *api.Snapshot) bool { return len(s.Sessions) == 1 && s.Status.Calls.Up == 1 }
	calm := 0
	for end := time.Now().Add(15 * time.Minute); calm < 40; time.Sleep(500 * time.Millisecond) { // virtual
		if settled(boxes[0].look()) && settled(boxes[1].look()) {
			calm++
		} else {
			calm = 0
		}
		if time.Now().After(end) {
			t.Errorf("not one session at each end (%s)\n--- a\n%s\n--- b\n%s", what, boxes[0].log, boxes[1].log)
			break
		}
	}
	n.mu.Lock()
	n.drop = nil // what is lost now would only make the test wait
	n.mu.Unlock()
	a, b := boxes[0].look(), boxes[1].look()
	if len(a.Sessions) == 1 && len(b.Sessions) == 1 && a.Sessions[0].ID != b.Sessions[0].PeerID {
		t.Errorf("the ends have different sessions (%s)\n--- a\n%s\n--- b\n%s", what, boxes[0].log, boxes[1].log)
	}
	for _, x := range boxes {
		x.mu.Lock()
		if len(x.applied) != 1 {
			t.Errorf("%v: %d interfaces, want 1 (%s)", x.addr, len(x.applied), what)
		}
		x.mu.Unlock()
	}
	boxes[0].stop()
	boxes[1].stop()
}
