package control

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// entropy is a repeatable TunnelConfig.Random.
func entropy(seed uint64) *rand.ChaCha8 {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

func testConfig(seed uint64) TunnelConfig {
	return TunnelConfig{
		HostName: "host", Framing: wire.FramingSync | wire.FramingAsync, Bearer: wire.BearerDigital,
		Secret: []byte("mysecret"), Incoming: true, Outgoing: true, Random: entropy(seed), IdleTimeout: -1,
	}
}

// flight is a datagram under way.
type flight struct {
	at   Time
	seq  int
	to   int
	data []byte
}

type flights []flight

func (f flights) Len() int { return len(f) }
func (f flights) Less(i, j int) bool {
	return f[i].at < f[j].at || f[i].at == f[j].at && f[i].seq < f[j].seq
}
func (f flights) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)   { *f = append(*f, x.(flight)) }
func (f *flights) Pop() any {
	last := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return last
}

// node is one end of a link: a tunnel and an owner that takes every call.
type node struct {
	cfg                TunnelConfig
	id                 TunnelID
	t                  *Tunnel
	passive            bool // the owner does not answer offers and replies
	events             []Event
	trace              []string
	up                 map[SessionID]int
	down               map[SessionID]int
	known              map[SessionID]bool // offered or opened
	tunnelDowns, deads int
	last               Record
}

// world is two nodes, a link and a clock.
type world struct {
	t                 *testing.T
	now               Time
	rng               *rand.Rand
	n                 [2]*node
	air               flights
	seq               int
	loss, duplication float64
	delay, jitter     time.Duration
	steps             int
	afterStep         func(w *world, i int) // called after node i did something
	onPersist         func(i int)
	dropped           func(from int, d []byte) bool
	later             func(from int) time.Duration // more delay of the next datagram
	keepTrace         bool
}

func newWorld(t *testing.T, seed uint64, a, b TunnelConfig) *world {
	w := &world{t: t, now: time.Second, rng: rand.New(rand.NewPCG(seed, 1)), delay: 5 * time.Millisecond}
	for i, cfg := range []TunnelConfig{a, b} {
		w.n[i] = &node{cfg: cfg, id: TunnelID(1001 + 1000*i), up: map[SessionID]int{}, down: map[SessionID]int{}, known: map[SessionID]bool{}}
	}
	return w
}

// open lets node 0 call node 1.
func (w *world) open() {
	var out Output
	w.n[0].t = Open(w.n[0].cfg, w.n[0].id, w.now, &out)
	w.done(0, &out)
}

// do gives a command to node i.
func (w *world) do(i int, c Command) {
	var out Output
	w.n[i].t.Do(w.now, c, &out)
	w.done(i, &out)
}

func (w *world) openSession(i int, role Role, call CallInfo) SessionID {
	var id SessionID
	w.do(i, CmdOpenSession{Role: role, Call: call, Session: &id})
	if id != 0 {
		w.n[i].known[id] = true
	}
	return id
}

// done carries out an Output.
func (w *world) done(i int, out *Output) {
	w.t.Helper()
	n := w.n[i]
	if out.Persist && w.onPersist != nil {
		w.onPersist(i)
	}
	for _, d := range out.Datagrams {
		if w.keepTrace {
			n.trace = append(n.trace, fmt.Sprintf("%v %x", w.now, d))
		}
		w.transmit(i, d)
	}
	if n.t == nil {
		return
	}
	if w.afterStep != nil {
		w.afterStep(w, i)
	}
	for _, e := range out.Events {
		w.event(i, e)
	}
}

func (w *world) transmit(from int, d []byte) {
	copies := 1
	if w.rng.Float64() < w.duplication {
		copies = 2
	}
	for range copies {
		if w.rng.Float64() < w.loss || w.dropped != nil && w.dropped(from, d) {
			continue
		}
		delay := w.delay
		if w.jitter > 0 {
			delay += time.Duration(w.rng.Int64N(int64(w.jitter)))
		}
		if w.later != nil {
			delay += w.later(from)
		}
		w.seq++
		heap.Push(&w.air, flight{w.now + delay, w.seq, 1 - from, append([]byte(nil), d...)})
	}
}

// event is the owner's reaction.
func (w *world) event(i int, e Event) {
	w.t.Helper()
	n := w.n[i]
	n.events = append(n.events, e)
	switch e := e.(type) {
	case EvSessionOffered:
		if n.known[e.Session] {
			w.t.Fatalf("node %d: session %d offered while known", i, e.Session)
		}
		n.known[e.Session] = true
		if n.passive {
			return
		}
		w.do(i, CmdAcceptSession{Session: e.Session})
		if e.Role == LACOutgoing {
			w.do(i, CmdConnectSession{Session: e.Session, Call: CallInfo{TxSpeed: 64000, FramingType: wire.FramingSync}})
		}
	case EvSessionReplied:
		if e.Role == LACIncoming && !n.passive {
			w.do(i, CmdConnectSession{Session: e.Session, Call: CallInfo{TxSpeed: 100e6, FramingType: wire.FramingSync}})
		}
	case EvSessionUp:
		n.up[e.Session]++
	case EvSessionDown:
		if !n.known[e.Session] {
			w.t.Fatalf("node %d: session %d down, which was never there", i, e.Session)
		}
		delete(n.known, e.Session)
		n.down[e.Session]++
	case EvTunnelDown:
		n.tunnelDowns++
		if len(n.known) > 0 {
			w.t.Fatalf("node %d: tunnel down before its %d sessions", i, len(n.known))
		}
	case EvTunnelState:
		if e.To == TunnelDead {
			n.deads++
		}
	}
}

// arrive gives a datagram to its node, as the owner of the tunnels there would.
func (w *world) arrive(f flight) {
	w.t.Helper()
	n := w.n[f.to]
	var out Output
	h, payload, err := wire.ParseHeader(f.data)
	if err != nil {
		return
	}
	if n.t == nil {
		if h.TunnelID != 0 || len(payload) == 0 {
			return
		}
		m, err := wire.ParseMessage(payload)
		if err != nil || m.Type != wire.MsgSCCRQ {
			return
		}
		n.t, err = Accept(n.cfg, n.id, m, h, w.now, &out)
		if err != nil {
			w.t.Fatalf("accept: %v", err)
		}
		w.done(f.to, &out)
		return
	}
	_ = n.t.Receive(w.now, f.data, &out) // drops are counted by the tunnel
	w.done(f.to, &out)
}

// step does the next thing that happens until limit, and reports whether there was one.
func (w *world) step(limit Time) bool {
	w.t.Helper()
	var next Time
	who := -1
	for i, n := range w.n {
		if n.t == nil {
			continue
		}
		if d := n.t.Deadline(); d != 0 && (who < 0 || d < next) {
			next, who = d, i
		}
	}
	if len(w.air) > 0 && (who < 0 || w.air[0].at <= next) {
		next, who = w.air[0].at, 2
	}
	if who < 0 || next > limit {
		w.now = max(w.now, limit)
		return false
	}
	w.steps++
	w.now = max(w.now, next)
	if who == 2 {
		w.arrive(heap.Pop(&w.air).(flight))
		return true
	}
	var out Output
	w.n[who].t.Expire(w.now, &out)
	w.done(who, &out)
	return true
}

// run lets d pass.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	for limit := w.now + d; w.step(limit); {
	}
}

// runUntil lets time pass until ok, at most d.
func (w *world) runUntil(d time.Duration, ok func() bool) {
	w.t.Helper()
	for limit := w.now + d; !ok(); {
		if !w.step(limit) {
			break
		}
	}
	if !ok() {
		w.t.Fatalf("not reached by %v: states %v, %v", w.now, w.n[0].t.State(), w.n[1].t.State())
	}
}

// establish brings the tunnel up on both sides.
func (w *world) establish() {
	w.t.Helper()
	w.open()
	w.runUntil(5*time.Minute, func() bool {
		return w.n[0].t.State() == TunnelEstablished && w.n[1].t != nil && w.n[1].t.State() == TunnelEstablished
	})
}

// shift moves the counters of an idle tunnel as if that many messages had passed, n0 by node 0 and n1 by node 1.
func (w *world) shift(n0, n1 uint16) {
	w.t.Helper()
	by := [2]uint16{n0, n1}
	for i, n := range w.n {
		r := n.t.Record()
		if len(r.Channel.Queue)+len(r.Channel.Early) > 0 {
			w.t.Fatal("shift of a busy channel")
		}
		r.Channel.Ns += by[i]
		r.Channel.PeerNr += by[i]
		r.Channel.Nr += by[1-i]
		var out Output
		t, err := Restore(r, n.cfg, w.now, &out)
		if err != nil {
			w.t.Fatal(err)
		}
		n.t = t
	}
}

// checkNoLeak closes the tunnel from node 0 and expects every session and tunnel to end exactly once.
func (w *world) checkNoLeak() {
	w.t.Helper()
	w.do(0, CmdClose{Result: wire.Result{Code: wire.StopShutdown}})
	w.runUntil(10*time.Minute, func() bool {
		return w.n[0].t.State() == TunnelDead && w.n[1].t.State() == TunnelDead
	})
	for i, n := range w.n {
		if len(n.known) > 0 {
			w.t.Errorf("node %d: %d sessions without an end", i, len(n.known))
		}
		for id, k := range n.down {
			if k != 1 {
				// an id may be used again after its quarantine; tests that count do not run that long
				w.t.Errorf("node %d: session %d ended %d times", i, id, k)
			}
		}
		if n.tunnelDowns != 1 || n.deads != 1 {
			w.t.Errorf("node %d: %d tunnel downs, %d times dead", i, n.tunnelDowns, n.deads)
		}
		if d := n.t.Deadline(); d != 0 {
			w.t.Errorf("node %d: dead with a deadline", i)
		}
	}
}
