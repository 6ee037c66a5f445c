package control

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// lossy is a world in which a fifth of all datagrams is lost, a fifth comes twice, and bursts arrive in any order. window is what
// both ends advertise, 0 for the default.
func lossy(t *testing.T, seed uint64, window uint16) *world {
	t.Helper()
	a, b := testConfig(seed), testConfig(seed+100)
	a.ReceiveWindow, b.ReceiveWindow = window, window
	w := newWorld(t, seed, a, b)
	w.loss, w.duplication, w.jitter = 0.2, 0.2, 40*time.Millisecond
	return w
}

// P148: with 20 % loss, duplication and reordering, every session comes up exactly once with the default timers, in a time
// that a user would wait. Neither window is ever exceeded (P140), and there is at most one ZLB for a message (P147).
func TestLossyLinkBringsEverySessionUpOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		path   string
		total  int
		window uint16
		limit  time.Duration
	}{
		{"rough", 200, 0, 90 * time.Second},
		{"rough", 200, 4, 90 * time.Second},
		{"rough", 1000, 0, 4 * time.Minute},
		{"rough", 1000, 4, 5 * time.Minute},
		{"short", 200, 0, 150 * time.Second}, // nothing comes twice to make up for a loss
		{"short", 200, 4, 150 * time.Second},
		{"short", 1000, 0, 7 * time.Minute},
		{"short", 1000, 4, 8 * time.Minute},
	} {
		for seed := range uint64(10) {
			t.Run(fmt.Sprintf("%s path, %d sessions, window %d, seed %d", tt.path, tt.total, tt.window, seed), func(t *testing.T) {
				t.Parallel()
				w := lossy(t, seed, tt.window)
				if tt.path == "short" {
					w.duplication, w.jitter, w.delay = 0, 0, time.Millisecond
				}
				w.afterStep = func(w *world, i int) {
					if c := &w.n[i].t.ch; c.Sent > int(c.Window.Peer) || c.Counters.OutZLB > c.Counters.InMessages {
						t.Fatalf("%d outstanding, window %d; %d ZLBs for %d messages", c.Sent, c.Window.Peer, c.Counters.OutZLB, c.Counters.InMessages)
					}
				}
				w.establish()
				roles := []Role{LACIncoming, LNSOutgoing}
				for i := range tt.total {
					by, role := 0, LACIncoming
					if seed%2 == 1 {
						by, role = i&1, roles[i>>1&1]
					}
					if w.openSession(by, role, CallInfo{CalledNumber: "12345"}) == 0 {
						t.Fatal("session refused")
					}
				}
				w.runUntil(tt.limit, func() bool { return len(w.n[0].up) == tt.total && len(w.n[1].up) == tt.total })
				for i, n := range w.n {
					for id, k := range n.up {
						if k != 1 {
							t.Errorf("node %d: session %d up %d times", i, id, k)
						}
					}
					if len(n.down)+n.tunnelDowns > 0 {
						t.Errorf("node %d: %d sessions ended, the tunnel %d times", i, len(n.down), n.tunnelDowns)
					}
				}
				w.checkNoLeak()
			})
		}
	}
}

// P139, P148: losses alone end no tunnel and no call, in many thousand calls with the default timers.
func TestLossIsNoReasonToGiveUp(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		w := lossy(t, 1000+seed, uint16(4*(seed&1)))
		w.establish()
		for range 200 {
			w.openSession(0, LACIncoming, CallInfo{})
		}
		w.runUntil(2*time.Minute, func() bool { return len(w.n[0].up) == 200 && len(w.n[1].up) == 200 })
		if n := len(w.n[0].down) + len(w.n[1].down); n > 0 {
			t.Errorf("seed %d: %d sessions ended", seed, n)
		}
	}
}

// Messages that are overtaken by two others are not taken for lost: nothing is sent twice.
func TestReorderingIsNoLoss(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		w := newWorld(t, seed, testConfig(seed), testConfig(seed+100))
		const gap = 100 * time.Microsecond
		var free [2]Time // when the link is free for the next datagram
		overtaken := 0
		w.later = func(from int) time.Duration {
			free[from] = max(free[from]+gap, w.now)
			d := free[from] - w.now
			if w.rng.IntN(3) == 0 {
				overtaken++
				d += 2*gap + gap/2 // behind the two after it
			}
			return d
		}
		w.establish()
		for i := range 300 {
			w.openSession(i&1, LACIncoming, CallInfo{})
		}
		w.runUntil(time.Minute, func() bool { return len(w.n[0].up) == 300 && len(w.n[1].up) == 300 })
		early := uint64(0)
		for i, n := range w.n {
			c := n.t.View().Counters
			early += c.InOutOfOrder
			if c.OutRetransmits > 0 {
				t.Errorf("seed %d, node %d: %d retransmissions", seed, i, c.OutRetransmits)
			}
		}
		if overtaken < 100 || early < 100 {
			t.Fatalf("seed %d: %d datagrams held back, %d messages came early: nothing is tested", seed, overtaken, early)
		}
	}
}

// A single loss in a full window costs no time-out: the others show it.
func TestLossInAWindowCostsNoTimeout(t *testing.T) {
	t.Parallel()
	for lost := range 40 {
		w := newWorld(t, 1, testConfig(1), testConfig(2))
		w.establish()
		n := 0
		w.dropped = func(from int, d []byte) bool {
			_, payload, err := wire.ParseHeader(d)
			if err != nil {
				t.Fatal(err)
			}
			if from != 0 || len(payload) == 0 {
				return false
			}
			n++
			return n == lost+3 // the first two are alone in the window
		}
		for range 100 {
			w.openSession(0, LACIncoming, CallInfo{})
		}
		w.runUntil(900*time.Millisecond, func() bool { return len(w.n[0].up) == 100 && len(w.n[1].up) == 100 })
		if got := w.n[0].t.View().Counters.OutRetransmits; got != 1 {
			t.Errorf("message %d lost: %d retransmissions", lost, got)
		}
	}
}

// However many ZLBs a peer sends that say nothing new, few copies leave, further and further apart (RFC 2661, 5.8).
func TestRepeatedAcknowledgementsProvokeLittle(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	for _, line := range []string{"rx SCCRQ", "wait 10ms", "rx SCCCN", "open-icrq", "open-icrq", "open-icrq"} {
		s.line(line)
	}
	var copies []Time
	last := s.now
	for range 20_000 {
		before := s.tun.View().Counters.OutRetransmits
		s.line("zlb nr=1")
		s.line("wait 1ms")
		if s.tun.View().Counters.OutRetransmits == before {
			continue
		}
		copies = append(copies, s.now-last)
		last = s.now
	}
	if len(copies) < 5 || len(copies) > 10 || !slices.IsSorted(copies) {
		t.Fatalf("intervals of the copies: %v", copies)
	}
}

// P137: after a recovery the timer is what it was, and a slow path still raises it.
func TestTimerIsBackAfterRecovery(t *testing.T) {
	t.Parallel()
	w := lossy(t, 5, 0)
	w.establish()
	for range 300 {
		w.openSession(0, LACIncoming, CallInfo{})
	}
	w.runUntil(5*time.Minute, func() bool { return len(w.n[0].up) == 300 && len(w.n[1].up) == 300 })
	w.loss, w.duplication = 0, 0
	w.run(20 * time.Second)
	for i, n := range w.n {
		v := n.t.View()
		if v.RTO != time.Second || v.RTT > 200*time.Millisecond || v.Outstanding > 0 {
			t.Errorf("node %d: RTO %v, RTT %v, %d outstanding", i, v.RTO, v.RTT, v.Outstanding)
		}
	}
}

// P139: a peer that has gone without a word ends the tunnel after the cycle where nothing was lost before; where messages had been
// lost, later; one that talks but acknowledges nothing, too.
func TestSilenceEndsTheTunnel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		before   []string
		again    string // what comes every 3 s
		from, to time.Duration
	}{
		{"clean path", nil, "", 31 * time.Second, 31 * time.Second},
		{"lossy path", []string{"rx HELLO ns=3", "rx HELLO ns=2 nr=1"}, "", 111 * time.Second, 111 * time.Second},
		{"old losses", []string{"rx HELLO ns=3", "rx HELLO ns=2 nr=1", "wait 31s"}, "", 31 * time.Second, 31 * time.Second},
		{"losses before others", []string{"rx HELLO ns=3", "rx HELLO ns=2 nr=1", "open-icrq", "hangup code=1", "wait 1s", "zlb", "wait 31s"}, "", 31 * time.Second, 31 * time.Second},
		{"deaf peer", nil, "zlb nr=1", 151 * time.Second, 151 * time.Second},
		{"deaf peer with messages", nil, "rx WEN nr=1", 151 * time.Second, 200 * time.Second},
	} {
		s := newScript(t)
		for _, line := range append([]string{"rx SCCRQ", "rx SCCCN"}, tt.before...) {
			s.line(line)
		}
		s.line("open-icrq")
		start := s.now
		for s.tun.State() != TunnelDead && s.now-start < time.Hour {
			s.line("wait 1s")
			s.line("restore")
			if (s.now-start)%(3*time.Second) == 0 && tt.again != "" && s.tun.State() != TunnelDead {
				s.line(tt.again)
			}
		}
		if d := s.now - start; d < tt.from || d > tt.to {
			t.Errorf("%s: ended after %v, want %v to %v", tt.name, d, tt.from, tt.to)
		}
	}
}

// P109: a call waits while the peer sends again what we have, for its acknowledgements get lost, and so may its messages.
func TestCallWaitsWhileAcknowledgementsAreLost(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	for _, line := range []string{"rx SCCRQ", "rx SCCCN", "rx ICRQ", "accept", "zlb"} {
		s.line(line)
	}
	for range 20 {
		s.line("wait 8s")
		s.line("rx ICRQ ns=2")
	}
	if s.tun.sess.byID[s.session] == nil {
		t.Fatal("the call was given up")
	}
	s.line("wait 2m")
	if s.tun.sess.byID[s.session] != nil {
		t.Error("the call was never given up")
	}
}

// Whatever came from the peer begins the count of unanswered retransmissions anew.
func TestAnySignOfLifePostponesTheEnd(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	for _, line := range []string{"rx SCCRQ", "rx SCCCN", "open-icrq", "wait 30s", "zlb nr=1", "wait 40s"} {
		s.line(line)
	}
	if s.tun.State() != TunnelEstablished {
		t.Fatalf("%v 40 s after a sign of life", s.tun.State())
	}
	s.line("wait 1s")
	if s.tun.State() != TunnelDead {
		t.Errorf("%v 41 s after the last sign of life", s.tun.State())
	}
}
