package engine

import (
	"net/netip"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// attempts notes when a box sends an SCCRQ for the first time. The challenge in it makes each another one; a tunnel id may come
// again.
func (n *internet) attempts(from netip.Addr) func() []time.Time {
	var at []time.Time
	seen := map[string]bool{}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drop = func(source, _ netip.AddrPort, d []byte) bool { // called with the lock held
		if _, payload, err := wire.ParseHeader(d); err == nil && source.Addr() == from {
			if m, err := wire.ParseMessage(payload); err == nil && m.Type == wire.MsgSCCRQ {
				if !seen[string(payload)] {
					seen[string(payload)] = true
					at = append(at, time.Now())
				}
			}
		}
		return false
	}
	return func() []time.Time {
		n.mu.Lock()
		defer n.mu.Unlock()
		return append([]time.Time(nil), at...)
	}
}

// refusing is an acceptor that refuses every tunnel at once.
func refusing() *policy.Policy {
	p := acceptor()
	p.Accept = nil
	return p
}

// grows checks the waits between attempts: the first is between low and twice that, each may be twice the one before, none is
// longer than high, and grace is what is added by the answer and by who asks.
func grows(t *testing.T, at []time.Time, low, high, grace time.Duration) (waits []time.Duration) {
	t.Helper()
	most := low
	for i := 1; i < len(at); i++ {
		most = min(2*most, high)
		least := max(low, most/2)
		wait := at[i].Sub(at[i-1])
		if wait < least || wait > most+grace {
			t.Errorf("wait %d is %v, want %v to %v", i, wait, least, most)
		}
		waits = append(waits, wait)
	}
	return waits
}

// The wait after a failure doubles from redial.min to redial.max, with chance in it; success begins anew.
func TestRedialBacksOff(t *testing.T) {
	for _, x := range []struct{ low, high, wantLow, wantHigh time.Duration }{
		{0, 0, time.Second, time.Minute}, // the defaults
		{3 * time.Second, 20 * time.Second, 3 * time.Second, 20 * time.Second},
		{100 * time.Millisecond, time.Second, 100 * time.Millisecond, time.Second},
		{5 * time.Second, 5 * time.Second, 5 * time.Second, 5 * time.Second},
		{2 * time.Minute, 0, 2 * time.Minute, 2 * time.Minute},
	} {
		t.Run(x.wantLow.String()+" to "+x.wantHigh.String(), func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				const grace = 20 * time.Millisecond
				n := newInternet()
				b := n.start(t, "2.2.2.2", refusing(), true)
				at := n.attempts(netip.MustParseAddr("1.1.1.1"))
				a := n.start(t, "1.1.1.1", one(func(c *policy.Call) { c.AutoStart, c.RedialMin, c.RedialMax = true, x.low, x.high }), true)
				defer a.stop()
				defer b.stop()
				time.Sleep(12 * x.wantHigh)
				first := at()
				if len(first) < 10 {
					t.Fatalf("%d attempts in %v", len(first), 12*x.wantHigh)
				}
				grows(t, first, x.wantLow, x.wantHigh, grace)

				p := acceptor()
				p.Templates["dialin"].IdleTimeout = 0
				b.e.Reload(p)
				a.up("c0", 2*x.wantHigh)
				b.e.Reload(refusing())
				was := len(at())
				down := time.Now()
				b.act(api.Action{Verb: api.VerbTunnelClose, Tunnel: b.look().Tunnels[0].ID})
				time.Sleep(12 * x.wantHigh)
				grows(t, append([]time.Time{down}, at()[was:]...), x.wantLow, x.wantHigh, grace)
			})
		})
	}
}

// Boxes that failed together do not come back together.
func TestRedialIsSpread(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", refusing(), true)
		at := n.attempts(netip.MustParseAddr("1.1.1.1"))
		p := initiators(100)
		for _, c := range p.Calls {
			c.OwnTunnel, c.RedialMin, c.RedialMax = true, 8*time.Second, time.Hour
		}
		a := n.start(t, "1.1.1.1", p, true)
		defer a.stop()
		defer b.stop()
		time.Sleep(17 * time.Second)
		seconds := map[int]int{}
		for _, x := range at() {
			seconds[int(x.Sub(at()[0]).Seconds())]++
		}
		if seconds[0] != 100 {
			t.Fatalf("%d calls began together, want 100", seconds[0])
		}
		for s := 8; s < 16; s++ {
			if seconds[s] == 0 || seconds[s] > 40 {
				t.Errorf("%d of 100 calls come back in second %d, want about 12: %v", seconds[s], s, seconds)
			}
		}
	})
}

// S157: however many packets come, a call on demand that failed is tried again after the same waits as any other. The operator need
// not wait, and success begins anew.
func TestPacketsDoNotShortenTheBackOff(t *testing.T) {
	simulated(t, func(t *testing.T) {
		const low, high, every = 2 * time.Second, 30 * time.Second, 50 * time.Millisecond
		n := newInternet()
		b := n.start(t, "2.2.2.2", refusing(), true)
		at := n.attempts(netip.MustParseAddr("1.1.1.1"))
		a := n.start(t, "1.1.1.1", one(func(c *policy.Call) { c.OnDemand, c.RedialMin, c.RedialMax = true, low, high }), true)
		defer a.stop()
		defer b.stop()
		time.Sleep(time.Second)
		packets := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				a.wake(t)
				time.Sleep(every)
			}
		}
		packets(5 * time.Minute)
		first := at()
		if len(first) < 10 {
			t.Fatalf("%d attempts in five minutes of packets", len(first))
		}
		grows(t, first, low, high, every+20*time.Millisecond)

		a.act(api.Action{Verb: api.VerbCallUp, Call: "c0"})
		time.Sleep(10 * time.Millisecond)
		if got := len(at()); got != len(first)+1 {
			t.Errorf("%d attempts by call up, want one at once", got-len(first))
		}

		p := acceptor()
		p.Templates["dialin"].IdleTimeout = 0
		b.e.Reload(p)
		packets(2 * high)
		a.up("c0", time.Second)
		b.e.Reload(refusing())
		was := len(at())
		down := time.Now()
		b.act(api.Action{Verb: api.VerbTunnelClose, Tunnel: b.look().Tunnels[0].ID})
		packets(5 * time.Minute)
		grows(t, append([]time.Time{down}, at()[was:]...), low, high, every+20*time.Millisecond)
	})
}

// A call on demand that ends because nothing moves is dialled by the very next packet.
func TestIdleCallIsDialledByTheNextPacket(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", acceptor(), true)
		p := one(onDemand)
		p.Templates["lan"].IdleTimeout = 30 * time.Second
		a := n.start(t, "1.1.1.1", p, true)
		defer a.stop()
		defer b.stop()
		time.Sleep(time.Second)
		a.wake(t)
		a.up("c0", time.Second)
		a.until("idle", time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].State == api.CallWaiting })
		a.wake(t)
		a.up("c0", 200*time.Millisecond)
	})
}

// What an operator closes is dialled again if it is wanted, from whichever end he does it; call down keeps a call down, for the peer's
// calls too, until call up (S77).
func TestWhatTheOperatorClosesComesBackUnlessTakenDown(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		a := n.start(t, "1.1.1.1", pair("a", "2.2.2.2", policy.PrecedenceIn, true), true)
		b := n.start(t, "2.2.2.2", pair("b", "1.1.1.1", policy.PrecedenceOut, false), true)
		defer a.stop()
		defer b.stop()
		a.up("remote", time.Minute)
		for _, x := range []struct {
			at   *box
			verb api.Verb
		}{{a, api.VerbSessionClose}, {a, api.VerbTunnelClose}, {b, api.VerbSessionClose}, {b, api.VerbTunnelClose}} {
			s := x.at.look().Sessions[0]
			x.at.act(api.Action{Verb: x.verb, Tunnel: s.TunnelID, Session: s.ID})
			x.at.until("closed", 5*time.Second, func(snap *api.Snapshot) bool {
				return len(snap.Sessions) == 0 || snap.Sessions[0].ID != s.ID
			})
			a.up("remote", 5*time.Second)
			b.up("remote", 5*time.Second)
		}

		for name, x := range map[string]*box{"the calling box": a, "the called box": b} {
			x.act(api.Action{Verb: api.VerbCallDown, Call: "remote"})
			time.Sleep(5 * time.Minute)
			if c := x.theCall(); c.State != api.CallIdle || !c.NextRedial.IsZero() {
				t.Errorf("%s: call %s, next attempt %v, want it to stay down", name, c.State, c.NextRedial)
			}
			if x == b && len(n.messages(b.addr, wire.MsgCDN)) == 0 {
				t.Errorf("the called box does not refuse")
			}
			x.act(api.Action{Verb: api.VerbCallUp, Call: "remote"})
			a.up("remote", 2*time.Minute)
			b.up("remote", 2*time.Minute)
		}
	})
}

// A call on demand that the operator closes waits for the next packet; taken down, it waits for nobody.
func TestWaitingCallTakenDownIgnoresPackets(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		p := acceptor()
		p.Templates["dialin"].IdleTimeout = 0
		b := n.start(t, "2.2.2.2", p, true)
		a := n.start(t, "1.1.1.1", one(onDemand), true)
		defer a.stop()
		defer b.stop()
		time.Sleep(time.Second)
		a.wake(t)
		a.up("c0", time.Second)
		s := a.look().Sessions[0]
		a.act(api.Action{Verb: api.VerbSessionClose, Tunnel: s.TunnelID, Session: s.ID})
		time.Sleep(time.Minute)
		if got := a.theCall().State; got != api.CallWaiting {
			t.Errorf("call %s, want it to wait for a packet", got)
		}
		a.wake(t)
		a.up("c0", time.Second)
		a.act(api.Action{Verb: api.VerbCallDown, Call: "c0"})
		for range 60 {
			time.Sleep(time.Second)
			a.wake(t)
		}
		if got := a.theCall(); got.State == api.CallUp || got.Attempts.Out != 2 {
			t.Errorf("call %s after %d attempts: packets bring up what was taken down", got.State, got.Attempts.Out)
		}
		a.act(api.Action{Verb: api.VerbCallUp, Call: "c0"})
		a.up("c0", time.Second)
	})
}

// S13, S77: a passive call can be taken down, and waits again when it is asked up.
func TestPassiveCallTakenDownRefusesItsPeer(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		pb := pair("b", "1.1.1.1", policy.PrecedenceOut, false)
		pb.Calls["remote"].Passive, pb.Calls["remote"].Peer = true, ""
		a := n.start(t, "1.1.1.1", pair("a", "2.2.2.2", policy.PrecedenceIn, true), true)
		b := n.start(t, "2.2.2.2", pb, true)
		defer a.stop()
		defer b.stop()
		b.up("remote", time.Minute)
		b.act(api.Action{Verb: api.VerbCallDown, Call: "remote"})
		time.Sleep(time.Minute)
		if s := b.look(); len(s.Sessions) != 0 {
			t.Errorf("sessions %+v", s.Sessions)
		}
		if e := a.theCall().LastError; e == nil || e.Stage != "session" {
			t.Errorf("the caller is told %+v", e)
		}
		b.act(api.Action{Verb: api.VerbCallUp, Call: "remote"})
		b.up("remote", 2*time.Minute)
	})
}
