package engine

import (
	"cmp"
	"errors"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// How long the addresses of a peer's name are believed, and how long one waits after a failed question. Attempts ask anew.
const (
	namesHold  = 5 * time.Minute
	namesAgain = 30 * time.Second
)

// dialers are the configured calls. They live in shard 0.
type dialers struct {
	s       *shard
	byName  map[string]*dialer // by lower-case name
	devices map[string]*dialer // who has, makes or removes the waiting device of that name
	riders  map[*dialer]bool   // whose own tunnel lost a tie: their sessions ride on the winner
	serial  uint32             // last Call Serial Number
	stopped bool
}

// dialer is one configured call: it dials, waits to be called, and sees to it that there is one session at most.
type dialer struct {
	d    *dialers
	name string // key in the policy
	conf *policy.Call

	wanted    bool         // is to be up: autostart, told so, or a packet waits for it
	held      bool         // taken down by the operator: nothing brings it up but he
	session   *session     // the one there is, until it is gone
	heir      *session     // an offered one that waits for session to be gone
	resolving bool         // an attempt waits for the peer's addresses
	asking    bool         // the resolver has been asked
	lookup    deadline     // when to ask it again
	addrs     []netip.Addr // of the peer, as last resolved; never changed in place: other shards read it
	turn      int          // index into addrs of the next try
	timer     deadline     // next redial
	delay     time.Duration
	notBefore Time       // packets bring nothing up before this time
	atOnce    bool       // the attempt under way is out of date, or the peer sends us to another: the next follows without delay
	elsewhere netip.Addr // where the peer has sent us; for the next attempt alone
	referred  bool       // and that in this round of attempts already
	others    int        // further addresses of the peer that were tried in this round, without delay
	removed   bool       // no longer configured: here until its session is gone

	crossed   bool // the present attempt met one of the peer's
	contested bool // both ends turned out to have the same precedence
	ourWay    bool // how the lower id decided it

	demand   Demand         // the waiting device (S157); nil: there is none
	arming   bool           // it is being made or removed
	device   string         // its name
	waitsFor []netip.Prefix // its routes
	unfit    *policy.Call   // the configuration for which it could not be made
	attempts api.CallAttempts
	lastErr  *api.CallError
}

func newDialers(s *shard) *dialers {
	return &dialers{
		s: s, byName: map[string]*dialer{}, devices: map[string]*dialer{}, riders: map[*dialer]bool{},
		// From the clock, so that a number means one call at both ends even after a restart (RFC 2661, 4.4.4; P52).
		serial: uint32(s.e.cfg.WallClock().Unix()),
	}
}

// reconcile follows a new policy: calls come, change for their next session, or go.
func (d *dialers) reconcile(p *policy.Policy) {
	if d.stopped {
		return
	}
	for name, x := range d.byName {
		if p.Calls[name] == nil && !x.removed {
			x.remove()
		}
	}
	for name, conf := range p.Calls {
		x := d.byName[name]
		if x == nil {
			x = &dialer{d: d, name: name}
			x.timer = deadline{index: -1, owner: whenDue(func(Time) { x.dial() })}
			x.lookup = deadline{index: -1, owner: whenDue(func(Time) { x.ask() })}
			d.byName[name] = x
		}
		x.take(conf)
	}
	d.publish()
}

// publish lets the other shards know the peers' addresses.
func (d *dialers) publish() {
	m := make(map[string][]netip.Addr, len(d.byName))
	for name, x := range d.byName {
		if len(x.addrs) > 0 && !x.removed {
			m[name] = x.addrs
		}
	}
	d.s.e.peers.Store(newPeerBook(d.s.e.policy.Load(), m))
}

// stop ends dialling; sessions go with their tunnels.
func (d *dialers) stop() {
	d.stopped = true
	for _, x := range d.byName {
		x.rest()
		x.watch()
	}
}

// quiet says that no waiting device is left.
func (d *dialers) quiet() bool { return len(d.devices) == 0 }

// tunnelCame lets the calls whose own tunnel lost the tie ride on the winner (P113).
func (d *dialers) tunnelCame(t *tunnel) {
	for x := range d.riders {
		if x.session == nil && x.isPeer(t.remote.Addr()) && x.current() {
			delete(d.riders, x)
			d.s.due.arm(&x.timer, 0)
			x.open(t)
		}
	}
}

// take accepts a configuration. A live session keeps what it was made with (S72); an attempt that calls another peer, or in
// another way, than it should by now is given up.
func (x *dialer) take(conf *policy.Call) {
	old := x.conf
	if x.removed {
		x.removed, old = false, nil // it comes back while its last session goes
	}
	x.conf = conf
	if old == nil || old.Peer != conf.Peer || old.Passive != conf.Passive {
		x.locate()
	}
	if old == nil || old.AutoStart != conf.AutoStart || old.OnDemand != conf.OnDemand || old.Passive != conf.Passive {
		x.wanted = conf.AutoStart && !conf.Passive
		x.held = x.held && !x.wanted
		x.d.s.due.arm(&x.timer, 0)
	}
	if old != nil && !reflect.DeepEqual(old, conf) {
		x.delay, x.notBefore = 0, 0 // what failed may succeed now
		x.d.s.due.arm(&x.timer, 0)
		if s := x.session; s != nil && s.outgoing() && s.upSince.IsZero() && !s.releasing && (old.Peer != conf.Peer || old.ShareKey(netip.Addr{}) != conf.ShareKey(netip.Addr{})) {
			x.atOnce = true
			s.hangUp("changed", "the configuration of the call has changed")
		}
	}
	x.watch()
	if x.timer.index < 0 {
		x.dial()
	}
}

// remove closes a call that is no longer configured (S78).
func (x *dialer) remove() {
	x.removed, x.wanted, x.held = true, false, false
	delete(x.d.riders, x)
	x.rest()
	x.watch()
	if x.session == nil {
		delete(x.d.byName, x.name)
		return
	}
	x.session.hangUp("removed", "the call is no longer configured")
}

// rest stops the call's clocks.
func (x *dialer) rest() {
	x.d.s.due.arm(&x.timer, 0)
	x.d.s.due.arm(&x.lookup, 0)
}

// locate finds out where the peer is, so that its calls are known when they come (S64).
func (x *dialer) locate() {
	x.addrs = nil
	x.d.s.due.arm(&x.lookup, 0)
	if x.conf.Passive {
		return
	}
	if a, err := netip.ParseAddr(x.conf.Peer); err == nil {
		x.addrs = []netip.Addr{a.Unmap()}
		return
	}
	x.ask()
}

// ask asks the resolver for the peer's addresses, unless it has been asked.
func (x *dialer) ask() {
	if x.asking || x.d.stopped || x.removed {
		return
	}
	x.asking = true
	s, host := x.d.s, x.conf.Peer
	e := s.e
	e.names.submit(func() {
		addrs, err := e.cfg.Resolver.LookupNetIP(e.asking, "ip", host)
		s.post(func() { x.answered(host, addrs, err) })
	})
}

// answered takes the resolver's answer, and goes on with the attempt that may wait for it: with another address each time.
func (x *dialer) answered(host string, addrs []netip.Addr, err error) {
	attempt := x.resolving && x.wanted
	x.asking, x.resolving = false, false
	switch {
	case x.d.stopped || x.removed || x.conf.Passive:
		return
	case host != x.conf.Peer: // it has changed meanwhile
		x.locate()
		x.d.publish()
		x.dial()
		return
	case err != nil || len(addrs) == 0:
		x.d.s.due.arm(&x.lookup, x.d.s.now()+namesAgain)
		text := "no address for " + host
		if err != nil {
			text = "resolve " + host + ": " + err.Error()
		}
		if attempt {
			x.failed(call.StageTransport, text)
		}
		return
	}
	x.d.s.due.arm(&x.lookup, x.d.s.now()+namesHold)
	x.addrs = make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		x.addrs[i] = a.Unmap()
	}
	x.d.publish()
	if attempt && x.session == nil {
		x.turn++
		x.dialTo(x.addrs[(x.turn-1)%len(x.addrs)])
	}
}

// isPeer says whether a is where this call's peer is.
func (x *dialer) isPeer(a netip.Addr) bool {
	for _, p := range x.addrs {
		if p == a {
			return true
		}
	}
	return false
}

// dial starts an attempt, unless one is under way.
func (x *dialer) dial() {
	if x.session != nil || x.resolving || x.d.stopped || x.removed || x.conf.Passive || !x.wanted {
		return
	}
	x.d.s.due.arm(&x.timer, 0)
	delete(x.d.riders, x)
	if a := x.elsewhere; a.IsValid() {
		x.elsewhere = netip.Addr{}
		x.dialTo(a)
		return
	}
	if a, err := netip.ParseAddr(x.conf.Peer); err == nil {
		x.dialTo(a.Unmap())
		return
	}
	x.resolving = true
	x.ask()
}

// current says that the call is as it is configured: no other configuration is on its way to it, of which its session would have the half.
func (x *dialer) current() bool { return x.d.s.e.policy.Load().Calls[x.name] == x.conf }

// dialTo opens a session on a tunnel to a, the one there is or a new one (S76, S183).
func (x *dialer) dialTo(a netip.Addr) {
	if !x.current() {
		return // what is on its way dials
	}
	key := x.conf.ShareKey(a)
	for _, t := range x.d.s.byAddr[a] {
		if x.mayShare(t, key) {
			x.open(t)
			return
		}
	}
	c := x.conf
	t, err := x.d.s.openTunnel(&wish{
		key: key, secret: c.Secret, local: c.LocalAddr, tunnel: c.Tunnel, pre13: c.PRE13, ignoreWindow13: c.IgnoreWindow13,
		ephemeral: c.EphemeralPort, tie: !c.OwnTunnel, why: slog.String("call", c.Name),
	})
	switch {
	case errors.Is(err, errNoKernel):
		x.failed(call.StageKernel, err.Error())
	case errors.Is(err, errNoTunnelID):
		x.failed(call.StageTunnel, err.Error())
	case err != nil:
		x.failed(call.StageTransport, err.Error())
	default:
		x.open(t)
	}
}

// mayShare says whether the call may use a tunnel that is there. One that the peer made serves too if it has been
// authenticated or the call asks for no secret (S185).
func (x *dialer) mayShare(t *tunnel, key policy.ShareKey) bool {
	switch {
	case t.down || t.tieLost || t.probing || t.ctl.State() == control.TunnelClosing:
		return false
	case t.initiator:
		return *t.key == key
	}
	return t.up && t.remote.Addr() == key.Peer.Addr() && !x.conf.OwnTunnel && (t.secret || x.conf.Secret.Empty())
}

// open asks the tunnel for a session.
func (x *dialer) open(t *tunnel) {
	role := control.LACIncoming
	if x.conf.Method == policy.MethodOCRQ || x.conf.Type != policy.CallVirtual {
		role = control.LNSOutgoing
	}
	x.attempts.Out++
	x.crossed = false
	var id control.SessionID
	info := x.offer()
	t.ctl.Do(t.s.now(), control.CmdOpenSession{Role: role, Call: info, Session: &id}, &t.out)
	if id == 0 {
		t.flush()
		x.failed(call.StageSession, "the tunnel can take no more sessions")
		return
	}
	s := t.newSession(id, role)
	s.dialer, s.conf, s.local = x, x.conf, &info
	s.tmpl = s.pol.Templates[x.conf.PPP.Template]
	x.session = s
	t.flush()
}

// offer is what ICRQ or OCRQ say of the call. The number to dial travels as Called Number (S65), or else the name of the call
// or line at the peer (S62); where both are given, the name travels as Sub-Address.
func (x *dialer) offer() control.CallInfo {
	c := x.conf
	x.d.serial++
	info := control.CallInfo{
		SerialNumber: x.d.serial,
		BearerType:   c.Bearer(), FramingType: c.Framing(), CalledNumber: c.Remote, SubAddress: c.SubAddress,
		MinimumBPS: cmp.Or(c.MinimumSpeed, policy.DefaultMinimumSpeed), MaximumBPS: cmp.Or(c.Speed, policy.DefaultSpeed),
	}
	if c.Dial != "" {
		info.CalledNumber, info.SubAddress = c.Dial, cmp.Or(c.SubAddress, c.Remote)
	}
	return info
}

// failed notes why an attempt ended, and plans the next.
func (x *dialer) failed(stage call.Stage, text string) {
	x.attempts.Failed++
	x.lastErr = &api.CallError{At: x.d.s.e.cfg.WallClock(), Stage: stage.String(), Text: text}
	say(x.d.s.e.log, slog.LevelWarn, "call not established: stage "+stage.String(), slog.String("call", x.conf.Name),
		slog.String("peer", x.conf.Peer), slog.String("event", "call-failed"), slog.String("why", text))
	x.d.s.e.buried.add(&api.Life{
		Name: "attempt", Call: x.conf.Name, StartedAt: x.lastErr.At, Steps: []api.Step{{Stage: stage.String()}},
		End: &api.End{At: x.lastErr.At, Stage: stage.String(), Cause: "no-tunnel", Why: text, Advice: advice(stage, "")},
	})
	x.again()
}

// again plans the next attempt. On demand, it is the first packet after the wait that makes it.
func (x *dialer) again() {
	if !x.wanted || x.d.stopped || x.conf.Passive || x.session != nil {
		return
	}
	x.referred, x.others = false, 0
	wait := x.backOff()
	if x.conf.OnDemand && !x.conf.AutoStart {
		x.wanted, x.notBefore = false, x.d.s.now()+wait
		return
	}
	x.after(wait)
}

// backOff is the wait after a failure: between redial.min and twice that after the first, doubling up to redial.max, and
// random within a factor of two so that boxes that failed together do not come back together.
func (x *dialer) backOff() time.Duration {
	low := cmp.Or(x.conf.RedialMin, policy.DefaultRedialMin)
	high := max(low, cmp.Or(x.conf.RedialMax, policy.DefaultRedialMax))
	x.delay = min(2*max(x.delay, low), high)
	return max(low, x.delay/2+x.d.s.e.within(x.delay/2+1))
}

// packet is the first packet to networks behind a call that is down, or one of those that follow it (S157).
func (x *dialer) packet() {
	if x.session != nil || x.d.stopped || x.removed || x.held || !x.conf.OnDemand || x.d.s.now() < x.notBefore {
		return
	}
	x.wanted = true
	x.dial()
}

// after plans the next attempt at a given distance.
func (x *dialer) after(d time.Duration) { x.d.s.due.arm(&x.timer, x.d.s.now()+d) }

// nameKey is a call's name as the policy files it.
func nameKey(name string) string { return strings.ToLower(name) }
