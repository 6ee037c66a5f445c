package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/access"
	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/health"
	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/kernel/kerneltest"
	"github.com/l2tpd/l2tpd/pkg/metrics"
	"github.com/l2tpd/l2tpd/pkg/network"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/pppd"
)

var (
	chaosWorlds = flag.Int("chaos", 30, "how many worlds TestNothingThatHappensTogetherBreaksAnything goes through")
	chaosFirst  = flag.Uint64("chaos.first", 0, "the seed of the first of them")
)

// Whatever happens at the same time, at a LAC, at LNSs and at a box between them, by whatever configuration: every query is answered, nobody
// has what another has, and when all are asked to end nothing is left of anything. With -v the steps of each world are told.
func TestNothingThatHappensTogetherBreaksAnything(t *testing.T) {
	t.Parallel()
	for seed := *chaosFirst; seed < *chaosFirst+uint64(*chaosWorlds); seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			simulated(t, func(t *testing.T) { newChaos(t, seed).run() })
		})
	}
}

// chaos is a world in which all happens that can, as the dice say.
type chaos struct {
	t      *testing.T
	n      *internet
	begun  time.Time
	places []*place
	all    []*subscriberBox
	modems []*modem
	held   []func() // kernel operations that wait
	films  []*film
	shown  []*terminal

	dice   *rand.Rand
	mu     sync.Mutex         // of the dice and the modems, where several goroutines have them
	others *chaos             // whose dice are those of the wire and the servers
	loss   map[netip.Addr]int // per cent of what a box sends; under the net's lock
}

// place is where a box stands.
type place struct {
	*box
	addr    string
	policy  func() *policy.Policy
	newCore bool
	servers *servers
	tracker health.Tracker
	metrics http.Handler
}

func newChaos(t *testing.T, seed uint64) *chaos {
	c := &chaos{t: t, n: newInternet(), begun: time.Now(), dice: rand.New(rand.NewPCG(seed, 1)), loss: map[netip.Addr]int{}}
	c.others = &chaos{dice: rand.New(rand.NewPCG(seed, 2))}
	c.n.ordered, c.n.radius = pick(c, true, false), map[netip.Addr]RADIUS{}
	c.n.drop = func(from, _ netip.AddrPort, _ []byte) bool {
		c.others.mu.Lock()
		defer c.others.mu.Unlock()
		return c.others.dice.IntN(100) < c.loss[from.Addr()]
	}
	roles := map[string]func() *policy.Policy{lnsBox: c.lns, lacBox: c.lac}
	if pick(c, true, false, false) {
		roles[lnsBox], roles[lnsBox2] = c.relay, c.lns
	} else if pick(c, true, false) {
		roles[lnsBox2] = c.lns
	}
	if pick(c, true, false) {
		roles[callerBox] = c.caller
	}
	for _, addr := range []string{lnsBox2, lnsBox, lacBox, callerBox} {
		if roles[addr] != nil {
			p := &place{addr: addr, policy: roles[addr], newCore: pick(c, true, true, false)}
			c.places = append(c.places, p)
			c.start(p)
		}
	}
	return c
}

// start boots the box of a place.
func (c *chaos) start(p *place) {
	if p.servers == nil {
		p.servers = &servers{answer: c.others.answer}
		c.n.radius[netip.MustParseAddr(p.addr)] = p.servers
	}
	p.box = c.n.start(c.t, p.addr, p.policy(), p.newCore)
	p.mu.Lock()
	p.names["nowhere.example"] = nil
	p.mu.Unlock()
	p.metrics = metrics.NewHandler(metrics.Config{Source: p.e})
	p.dsl.mu.Lock()
	p.dsl.dialled = c.dial
	p.dsl.mu.Unlock()
	b := p.box
	p.mu.Lock()
	p.applies = func(owner network.Owner, want network.Interface) error {
		b.sharing(owner, want)
		return c.others.mayFail(100)
	}
	p.runs = func(ev *pppd.EvNetworkUp) error {
		c.others.mu.Lock()
		ev.User = pick(c.others, append(chaosUsers, "")...)
		c.others.mu.Unlock()
		if u := b.e.policy.Load().Users[ev.User]; u != nil && !ev.Peer.IsValid() {
			ev.Peer = u.IPv4
		}
		return c.others.mayFail(20)
	}
	p.mu.Unlock()
}

// mayFail is what goes wrong, once in n times.
func (c *chaos) mayFail(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dice.IntN(n) > 0 {
		return nil
	}
	return errors.New("the dice say so")
}

// modem is a line on which somebody has been called.
type modem struct{ hung atomic.Int32 }

func (*modem) Ready() {}

func (m *modem) HangUp(string) { m.hung.Add(1) }

// dial has somebody answer, or not, after a while.
func (c *chaos) dial(ctx context.Context) (access.Caller, access.Line, error) {
	c.others.mu.Lock()
	wait, answered := time.Duration(c.others.dice.IntN(20))*time.Second, pick(c.others, true, true, false)
	c.others.mu.Unlock()
	select {
	case <-time.After(wait): // virtual
	case <-ctx.Done():
		answered = false
	}
	file, err := os.CreateTemp(c.t.TempDir(), "modem")
	if err != nil || !answered {
		return access.Caller{}, nil, errors.Join(errors.New("nobody answers"), err)
	}
	m := &modem{}
	c.mu.Lock()
	c.modems = append(c.modems, m)
	c.mu.Unlock()
	at := policy.Access{Name: "modem", TTY: &policy.TTY{Device: "modem", Speed: 64000}}
	return access.Caller{Access: at, TTY: &access.TTY{Device: "modem", File: file, Speed: 64000}}, m, nil
}

// sharing finds whether somebody has the address that another user's session is about to have. It is called with mu held.
func (b *box) sharing(owner network.Owner, want network.Interface) {
	users := func(i network.Interface) bool {
		return i.IPv4 && i.Peer.IsValid() && (strings.HasPrefix(i.Name, "ppp") || strings.HasPrefix(i.Name, "in"))
	}
	for other, has := range b.applied {
		if other != owner && users(want) && users(has) && has.Peer == want.Peer {
			b.t.Errorf("%v: %v gets %v, which %v has", b.addr, owner, want.Peer, other)
		}
	}
}

// run does what the dice say, and has all of it end.
func (c *chaos) run() {
	defer c.report()
	synctest.Wait()
	for range 30 + c.dice.IntN(31) {
		for range pick(c, 1, 1, 1, 2, 4) { // at the same time
			i := c.dice.IntN(len(chaosSteps))
			c.t.Logf("after %v: %s", time.Since(c.begun), chaosSteps[i].does(c, pick(c, c.places...)))
		}
		time.Sleep(pick(c, 3*time.Millisecond, 30*time.Millisecond, 300*time.Millisecond, 3*time.Second, 15*time.Second) * time.Duration(1+c.dice.IntN(3))) // virtual
		if c.query(pick(c, c.places...)); c.t.Failed() {
			return
		}
	}
	c.t.Logf("after %v: the end", time.Since(c.begun))
	c.calm()
	for _, p := range c.places {
		c.query(p)
	}
	c.end()
}

// report tells of what has failed, and ends the boxes all the same.
func (c *chaos) report() {
	if !c.t.Failed() {
		return
	}
	c.release()
	for _, p := range c.places {
		c.t.Logf("--- %s\n%s", p.addr, p.log)
		if !p.e.stopping.Load() {
			p.kill()
		}
	}
}

// query asks a box for all that can be asked for.
func (c *chaos) query(p *place) {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	snap, err := p.e.Snapshot(ctx, api.Query{
		Status: true, Tunnels: true, Sessions: true, Calls: true, Accept: true, Rules: true, Pools: true, Peers: true, Settings: true, Leases: true,
		Debugs: true, Stats: true, Load: true, Lives: pick(c, nil, &api.LifeQuery{}, &api.LifeQuery{User: chaosUsers[0]}),
	})
	if err != nil {
		c.t.Errorf("%s: %v", p.addr, err)
		return
	}
	p.tracker.Observe(time.Now(), snap)
	w := httptest.NewRecorder()
	p.metrics.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		c.t.Errorf("%s: metrics: %d %s", p.addr, w.Code, w.Body)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, l := range p.leases {
		for j, m := range p.leases {
			if i < j && (overlap(l.Link, m.Link) || overlap(l.Link, m.Delegated) || overlap(l.Delegated, m.Link) || overlap(l.Delegated, m.Delegated)) {
				c.t.Errorf("%s: two have the same of %+v and %+v", p.addr, l, m)
			}
		}
	}
}

func overlap(p, q netip.Prefix) bool { return p.IsValid() && q.IsValid() && p.Overlaps(q) }

// calm ends what disturbs the world.
func (c *chaos) calm() {
	c.release()
	c.n.mu.Lock()
	clear(c.loss)
	c.n.mu.Unlock()
	for _, f := range c.films {
		f.cut()
	}
	for _, x := range c.shown {
		x.over()
	}
	c.films, c.shown = nil, nil
	for _, p := range c.places {
		p.k.Up("eth1")
		p.mu.Lock()
		p.noIPv6, p.pppdsEnd, p.slow = nil, 0, 0
		p.mu.Unlock()
	}
}

func (c *chaos) release() {
	for _, f := range c.held {
		f()
	}
	c.held = nil
}

// end asks all to end, and looks whether anything is left.
func (c *chaos) end() {
	for _, p := range c.places {
		for _, x := range p.look().Calls {
			p.mayAct(api.Action{Verb: api.VerbCallDown, Call: x.Name})
		}
	}
	for _, s := range c.all {
		s.vanish()
	}
	for _, p := range c.places {
		closeTunnels(p.box)
	}
	for _, p := range c.places {
		p.until("no tunnel", 2*time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 && p.tunnels() == 0 })
		p.empty(time.Minute)
		p.clean()
	}
	for _, s := range c.all {
		if got := s.ended(); len(got) != 1 {
			c.t.Errorf("subscriber %d is hung up %d times: %q", s.id, len(got), got)
		}
	}
	for _, p := range c.places {
		p.stop()
		p.accounts()
	}
	for _, m := range c.modems {
		if n := m.hung.Load(); n != 1 {
			c.t.Errorf("a modem is hung up %d times", n)
		}
	}
}

// tunnels are all of a box, those that only wait for a late answer among them.
func (b *box) tunnels() (n int) {
	b.t.Helper()
	for _, s := range b.e.shards {
		if err := s.in(b.t.Context(), func() { n += len(s.tunnels) }); err != nil {
			b.t.Error(err)
		}
	}
	return n
}

// clean checks that nothing is left in any table of a box without tunnels and lines.
func (b *box) clean() {
	b.t.Helper()
	synctest.Wait()
	is := func(what string, n int) {
		if n != 0 {
			b.t.Errorf("%v: %d %s are left", b.addr, n, what)
		}
	}
	err := b.e.each(b.t.Context(), func(s *shard) {
		is("tunnels", len(s.tunnels)+len(s.byRemote)+len(s.byAddr)+len(s.bySource)+len(s.half)+s.nHalf)
		if s.pools == nil {
			is("deadlines", s.due.Len())
			return
		}
		is("deadlines", max(0, s.due.Len()-2*len(s.dialers.byName)))
		for _, k := range s.pools.addresses {
			is("addresses", len(k.used))
		}
		for _, k := range s.pools.prefixes {
			is("prefixes", len(k.used))
		}
		is("users' own addresses", len(s.pools.owned))
		is("users' own prefixes", len(s.pools.claims))
		is("logins", len(s.logins))
		is("riders", len(s.dialers.riders))
		for _, x := range s.dialers.byName {
			if x.session != nil || x.heir != nil || x.removed {
				b.t.Errorf("%v: call %s has a session still", b.addr, x.name)
			}
		}
	})
	if err != nil {
		b.t.Error(err)
	}
	for what, q := range map[string]*quota{"tunnels of accept entries": &b.e.tunnels, "half-open tunnels of accept entries": &b.e.halfOpen, "sessions of accept entries": &b.e.sessions} {
		q.mu.Lock()
		is(what, len(q.n))
		q.mu.Unlock()
	}
	is("who look on", len(b.e.taps.all()))
	for i := range b.e.routes {
		if b.e.routes[i].Load() != nil {
			is("ways for packets", 1)
		}
	}
	is("counted tunnels", int(b.e.counts.tunnels.Load()))
	is("counted tunnels that are up", int(b.e.counts.tunnelsUp.Load()))
	is("counted half-open tunnels", int(b.e.counts.halfOpen.Load()))
	b.mu.Lock()
	defer b.mu.Unlock()
	is("interfaces", len(b.applied))
	is("leases", len(b.leases))
	is("ports", len(b.ports))
}

// accounts checks what the servers of a box were told.
func (p *place) accounts() {
	p.t.Helper()
	last := map[string]radius.Kind{}
	p.servers.mu.Lock()
	defer p.servers.mu.Unlock()
	for _, r := range p.servers.records {
		before, there := last[r.SessionID]
		switch r.Kind {
		case radius.Start:
			if there {
				p.t.Errorf("%s: session %s begins again", p.addr, r.SessionID)
			}
		case radius.Interim, radius.Stop:
			if !there || before == radius.Stop {
				p.t.Errorf("%s: %v of session %s, which is not there", p.addr, r.Kind, r.SessionID)
			}
		case radius.On, radius.Off:
			continue
		}
		last[r.SessionID] = r.Kind
	}
	for id, kind := range last {
		if kind != radius.Stop {
			p.t.Errorf("%s: session %s has no stop", p.addr, id)
		}
	}
}

// mayAct asks for something that may be out of date.
func (p *place) mayAct(a api.Action) {
	p.t.Helper()
	_, err := p.e.Act(p.t.Context(), a)
	if e, ok := errors.AsType[*api.Error](err); err != nil && (!ok || e.Code != api.CodeNotFound && e.Code != api.CodeConflict) {
		p.t.Errorf("%s: %s: %v", p.addr, a.Verb, err)
	}
}

// lac0 is where subscribers arrive.
func (c *chaos) lac0() *place {
	return c.places[slices.IndexFunc(c.places, func(p *place) bool { return p.addr == lacBox })]
}

// chaosOps are kernel operations that may fail, or sleep.
var chaosOps = []kerneltest.Op{
	kerneltest.OpCreateTunnel, kerneltest.OpCreateSession, kerneltest.OpSend, kerneltest.OpAttach, kerneltest.OpPass, kerneltest.OpSetSequencing,
	kerneltest.OpHandOver, kerneltest.OpIdle, kerneltest.OpClose, kerneltest.OpArmCompression, kerneltest.OpOpenCompression,
	kerneltest.OpOpenPPPoE, kerneltest.OpOpenLine, kerneltest.OpBridge, kerneltest.OpSetACCM,
}

// chaosSteps are what may happen, some more often than others. Each tells what it has done.
var chaosSteps = slices.Concat(
	slices.Repeat([]chaosStep{{(*chaos).arrive}}, 8),
	slices.Repeat([]chaosStep{{(*chaos).leave}}, 4),
	slices.Repeat([]chaosStep{{(*chaos).call}}, 3),
	slices.Repeat([]chaosStep{{(*chaos).closes}}, 3),
	slices.Repeat([]chaosStep{{(*chaos).reload}}, 3),
	slices.Repeat([]chaosStep{{(*chaos).demand}}, 2),
	slices.Repeat([]chaosStep{{(*chaos).kernel}}, 4),
	slices.Repeat([]chaosStep{{(*chaos).dies}}, 2),
	[]chaosStep{{(*chaos).restart}, {(*chaos).fails}, {(*chaos).unreachable}, {(*chaos).watch}, {(*chaos).weather}, {(*chaos).traffic}, {(*chaos).traffic}},
)

type chaosStep struct {
	does func(*chaos, *place) string
}

// arrive has subscribers dial in, of whom some have before.
func (c *chaos) arrive(*place) string {
	p := c.lac0()
	p.dsl.mu.Lock()
	served := len(p.dsl.places) > 0
	p.dsl.mu.Unlock()
	if !served {
		return "nobody can arrive"
	}
	text := "subscribers arrive:"
	for range 1 + c.dice.IntN(3) {
		x := client(ppp.AuthCHAPMD5, ppp.AuthMSCHAPv2, ppp.AuthMSCHAPv1, ppp.AuthPAP)
		x.User, x.IPv6, x.MPPE = pick(c, chaosUsers...), pick(c, true, false), pick(c, ppp.MPPEOff, ppp.MPPEAllow)
		switch c.dice.IntN(8) {
		case 0:
			x.Password = []byte("wrong")
		case 1:
			x.IPv4, x.Local = ppp.IPv4Own, netip.MustParseAddr("192.0.2.77")
		case 2:
			x.Answer = []ppp.AuthMethod{ppp.AuthPAP}
		case 3:
			x.Answer, x.User, x.Password = nil, "", nil
		}
		s := p.dsl.dialIn(c.t, x, nil)
		c.all = append(c.all, s)
		text += fmt.Sprintf(" %d %q", s.id, x.User)
	}
	return text
}

// leave has a subscriber go, or begin anew.
func (c *chaos) leave(*place) string {
	if len(c.all) == 0 {
		return "nobody is there"
	}
	s := pick(c, c.all...)
	switch c.dice.IntN(4) {
	case 0:
		s.close()
		return fmt.Sprintf("subscriber %d ends PPP", s.id)
	case 1:
		s.vanish()
		return fmt.Sprintf("subscriber %d sends a PADT", s.id)
	case 2:
		s.mu.Lock()
		s.refuses = true
		s.mu.Unlock()
		return fmt.Sprintf("subscriber %d is silent", s.id)
	}
	s.step(func(now time.Duration, out *ppp.Output) {
		if s.link != nil {
			clear(s.up)
			s.link = ppp.Open(&s.cfg, now, out)
		}
	})
	return fmt.Sprintf("subscriber %d begins anew", s.id)
}

// call dials a call, takes it down, or has a packet for one that waits.
func (c *chaos) call(p *place) string {
	p.mu.Lock()
	devices := slices.Sorted(maps.Keys(p.demands))
	p.mu.Unlock()
	if len(devices) > 0 && pick(c, true, false) {
		name := pick(c, devices...)
		p.mu.Lock()
		wake := p.demands[name]
		p.mu.Unlock()
		wake()
		return "a packet for " + name + " of " + p.addr
	}
	calls := p.look().Calls
	if len(calls) == 0 {
		return "no calls"
	}
	a := api.Action{Verb: pick(c, api.VerbCallUp, api.VerbCallUp, api.VerbCallDown), Call: pick(c, calls...).Name}
	p.mayAct(a)
	return fmt.Sprintf("%s %s of %s", a.Verb, a.Call, p.addr)
}

// closes has the operator close sessions or tunnels.
func (c *chaos) closes(p *place) string {
	s := p.look()
	if pick(c, true, false, false) {
		closeTunnels(p.box)
		return p.addr + " closes its tunnels"
	}
	if len(s.Sessions) == 0 {
		return "no sessions"
	}
	x := pick(c, s.Sessions...)
	p.mayAct(api.Action{Verb: api.VerbSessionClose, Tunnel: x.TunnelID, Session: x.ID})
	return fmt.Sprintf("%s closes session %d/%d", p.addr, x.TunnelID, x.ID)
}

// reload has another policy of the same role hold.
func (c *chaos) reload(p *place) string {
	q := p.policy()
	p.e.Reload(q)
	if p.addr == lacBox && len(q.LAC.Access) == 0 {
		for _, s := range c.all { // as the access concentrator does
			s.vanish()
		}
	}
	return p.addr + " reloads"
}

// demand has a RADIUS server end or change sessions.
func (c *chaos) demand(p *place) string {
	m := radius.Match{User: pick(c, chaosUsers...)}
	if pick(c, true, false) {
		m = radius.Match{Address: netip.AddrFrom4([4]byte{192, 168, 20, byte(200 + c.dice.IntN(3))})}
	}
	if pick(c, true, false) {
		return fmt.Sprintf("%s: disconnect %+v: %v", p.addr, m, p.e.RADIUS().Disconnect(c.t.Context(), m))
	}
	x := radius.Change{Class: pick(c, nil, [][]byte{[]byte("new")}), InterimInterval: pick(c, nil, duration(time.Minute), duration(0))}
	x.SessionTimeout, x.IdleTimeout = pick(c, nil, duration(time.Second), duration(time.Minute)), pick(c, nil, duration(10*time.Second))
	return fmt.Sprintf("%s: change %+v: %v", p.addr, m, p.e.RADIUS().Change(c.t.Context(), m, x))
}

// kernel has an operation fail, or sleep for a while.
func (c *chaos) kernel(p *place) string {
	op := pick(c, chaosOps...)
	switch {
	case len(c.held) > 2 || len(c.held) > 0 && pick(c, true, false):
		c.release()
		return "the kernels wake up"
	case pick(c, true, false):
		p.k.Fail(op, unix.ENOMEM)
		return fmt.Sprintf("%s: %v will fail", p.addr, op)
	}
	if op == kerneltest.OpSend || op == kerneltest.OpIdle { // do not sleep
		op = kerneltest.OpClose
	}
	c.held = append(c.held, p.k.Hold(op))
	return fmt.Sprintf("%s: %v sleeps", p.addr, op)
}

// dies has a kernel object vanish, or all of PPPoE.
func (c *chaos) dies(p *place) string {
	switch s := p.look().Sessions; {
	case p.addr == lacBox && pick(c, true, false, false, false):
		if p.k.Down("eth1"); pick(c, true, false) {
			p.k.Up("eth1")
		}
		return "eth1 goes down"
	case p.addr == lacBox && len(c.all) > 0:
		x := pick(c, c.all...)
		if at := p.k.PPPoE(x.spec()); at != nil && pick(c, true, false) {
			at.Die()
		} else if at != nil && at.State().Attached {
			at.Vanish()
		}
		return fmt.Sprintf("the kernel's end of subscriber %d dies", x.id)
	case len(p.programs) > 0 && pick(c, true, false):
		p.mu.Lock()
		x := pick(c, p.programs...)
		p.mu.Unlock()
		x.exit(ppp.ReasonPeer)
		return p.addr + ": a pppd ends"
	case len(s) > 0:
		x := pick(c, s...)
		if at := p.k.Session(x.TunnelID, x.ID); at != nil && at.State().Attached {
			at.Vanish()
		}
		return fmt.Sprintf("%s: the interface of %d/%d vanishes", p.addr, x.TunnelID, x.ID)
	}
	return "nothing to die"
}

// restart stops a box in good order, and boots it again.
func (c *chaos) restart(p *place) string {
	c.calm()
	p.stop()
	p.accounts()
	time.Sleep(pick(c, time.Second, time.Minute)) // virtual
	c.start(p)
	synctest.Wait()
	return p.addr + " has been stopped and started again"
}

// fails has a box go without a word, and boots it again.
func (c *chaos) fails(p *place) string {
	c.calm()
	p.kill()
	if p.addr == lacBox {
		c.all, c.modems = nil, nil // nobody hangs them up
	}
	p.servers = nil
	time.Sleep(pick(c, time.Second, 3*time.Minute)) // virtual
	c.start(p)
	synctest.Wait()
	return p.addr + " has had a power cut"
}

// unreachable has an ICMP error come back from a peer.
func (c *chaos) unreachable(p *place) string {
	other := pick(c, c.places...).addr
	p.e.Unreachable(netip.AddrPortFrom(netip.MustParseAddr(other), 1701))
	return fmt.Sprintf("%s hears that %s is unreachable", p.addr, other)
}

// watch has somebody look on, or go.
func (c *chaos) watch(p *place) string {
	if len(c.films)+len(c.shown) > 2 {
		for _, f := range c.films {
			f.cut()
		}
		for _, x := range c.shown {
			x.over()
		}
		c.films, c.shown = nil, nil
		return "nobody looks on"
	}
	c.films = append(c.films, p.film(api.Capture{All: true}, nil))
	c.shown = append(c.shown, p.debug(api.Debug{}, everything(api.DebugTunnel, api.DebugSession, api.DebugCall)...))
	return "somebody looks on at " + p.addr
}

// weather changes what is lost, and how fast others are.
func (c *chaos) weather(p *place) string {
	lost := pick(c, 0, 10, 40, 100)
	c.n.mu.Lock()
	c.loss[netip.MustParseAddr(p.addr)] = lost
	c.n.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noIPv6, p.pppdsEnd = pick(c, nil, errors.New("no IPv6")), pick(c, 0, 3*time.Second, 20*time.Second)
	p.slow = pick(c, 0, 5*time.Millisecond, 2*time.Second)
	return fmt.Sprintf("%s: %d %% of what it sends is lost; pppds end in %v, the network takes %v, IPv6: %v", p.addr, lost, p.pppdsEnd, p.slow, p.noIPv6)
}

// traffic has packets leave by all interfaces.
func (c *chaos) traffic(p *place) string {
	n := 0
	for _, x := range p.look().Sessions {
		if at := p.k.Session(x.TunnelID, x.ID); at != nil && at.Network(kernel.IPv4, make([]byte, 20)) {
			n++
		}
	}
	return fmt.Sprintf("%s sends %d packets", p.addr, n)
}
