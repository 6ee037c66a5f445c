package engine

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// Redial delays where the configuration is silent.
const (
	redialMin = 2 * time.Second
	redialMax = 60 * time.Second
)

// dialers are the configured calls. They live in shard 0.
type dialers struct {
	s       *shard
	byName  map[string]*dialer // by lower-case name
	stopped bool
}

// dialer is one configured call: it dials, waits to be called, and sees to it that there is one session at most.
type dialer struct {
	d    *dialers
	name string // key in the policy
	conf *policy.Call

	wanted    bool     // is to be up: autostart, told so, or a packet waits for it
	session   *session // the one there is, until it is gone
	heir      *session // an offered one that waits for session to be gone
	resolving bool
	addrs     []netip.Addr // of the peer, as last resolved
	turn      int          // index into addrs of the next try
	timer     deadline     // next redial
	delay     time.Duration
	riding    bool // our tunnel lost a tie: the session rides on the winner
	removed   bool

	crossed   bool // the present attempt met one of the peer's
	contested bool // both ends turned out to have the same precedence
	ourWay    bool // how the lower id decided it

	demand   Demand
	arming   bool
	attempts api.CallAttempts
	lastErr  *api.CallError
}

func newDialers(s *shard) *dialers { return &dialers{s: s, byName: map[string]*dialer{}} }

// reconcile follows a new policy: calls come, change for their next session, or go.
func (d *dialers) reconcile(p *policy.Policy) {
	if d.stopped {
		return
	}
	for name, x := range d.byName {
		if p.Calls[name] == nil {
			x.remove()
		}
	}
	for name, conf := range p.Calls {
		x := d.byName[name]
		if x == nil {
			x = &dialer{d: d, name: name}
			x.timer = deadline{index: -1, fire: func(Time) { x.dial() }}
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
		if len(x.addrs) > 0 {
			m[name] = x.addrs
		}
	}
	d.s.e.peers.Store(&m)
}

// stop ends dialling; sessions go with their tunnels.
func (d *dialers) stop() {
	d.stopped = true
	for _, x := range d.byName {
		d.s.due.arm(&x.timer, 0)
		x.disarm()
	}
}

// quiet says that no call has anything under way that needs the executor.
func (d *dialers) quiet() bool {
	for _, x := range d.byName {
		if x.arming || x.demand != nil {
			return false
		}
	}
	return true
}

// tunnelCame lets the calls whose own tunnel lost the tie ride on the winner (P113).
func (d *dialers) tunnelCame(t *tunnel) {
	for _, x := range d.byName {
		if x.riding && x.session == nil && x.isPeer(t.remote.Addr()) {
			x.riding = false
			d.s.due.arm(&x.timer, 0)
			x.open(t)
		}
	}
}

// tunnelGone is the end of a tunnel; its sessions have been told one by one.
func (d *dialers) tunnelGone(*tunnel) {}

// take accepts a configuration. A live session keeps what it was made with (S72).
func (x *dialer) take(conf *policy.Call) {
	first := x.conf == nil
	x.conf = conf
	if first && conf.AutoStart && !conf.Passive {
		x.wanted = true
	}
	if conf.OnDemand {
		x.arm()
	}
	if x.wanted && x.session == nil && x.timer.index < 0 {
		x.dial()
	}
}

// remove closes a call that is no longer configured (S78).
func (x *dialer) remove() {
	x.removed, x.wanted = true, false
	x.d.s.due.arm(&x.timer, 0)
	x.disarm()
	delete(x.d.byName, x.name)
	if x.session != nil {
		x.session.hangUp("removed", "the call is no longer configured")
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
	if x.session != nil || x.resolving || x.d.stopped || x.conf.Passive || !x.wanted {
		return
	}
	x.d.s.due.arm(&x.timer, 0)
	if a, err := netip.ParseAddr(x.conf.Peer); err == nil {
		x.addrs = []netip.Addr{a.Unmap()}
		x.d.publish()
		x.dialTo(a.Unmap())
		return
	}
	x.resolving = true
	e, host := x.d.s.e, x.conf.Peer
	x.d.s.ask(func() func() {
		addrs, err := e.cfg.Resolver.LookupNetIP(background, "ip", host)
		return func() { x.resolved(addrs, err) }
	})
}

// resolved goes on with an address of the peer: another one at each try.
func (x *dialer) resolved(addrs []netip.Addr, err error) {
	x.resolving = false
	if err != nil || len(addrs) == 0 {
		text := "no address for " + x.conf.Peer
		if err != nil {
			text = "resolve " + x.conf.Peer + ": " + err.Error()
		}
		x.failed(call.StageTransport, text)
		return
	}
	x.addrs = x.addrs[:0]
	for _, a := range addrs {
		x.addrs = append(x.addrs, a.Unmap())
	}
	x.d.publish()
	if x.session == nil && x.wanted && !x.d.stopped {
		x.turn++
		x.dialTo(x.addrs[(x.turn-1)%len(x.addrs)])
	}
}

// dialTo opens a session on a tunnel to a, the one there is or a new one (S76, S183).
func (x *dialer) dialTo(a netip.Addr) {
	key := x.conf.ShareKey(a)
	for _, t := range x.d.s.tunnels {
		if x.mayShare(t, key) {
			x.open(t)
			return
		}
	}
	s := x.d.s
	remote := key.Peer
	local, err := s.e.cfg.Transport.LocalFor(remote)
	if err != nil {
		x.failed(call.StageTransport, err.Error())
		return
	}
	if x.conf.LocalAddr.IsValid() {
		local = netip.AddrPortFrom(x.conf.LocalAddr, local.Port())
	}
	id := s.newTunnelID()
	if id == 0 {
		x.failed(call.StageTunnel, "no tunnel id is free")
		return
	}
	t := s.newTunnel(id, local, remote)
	t.initiator, t.key, t.secret = true, key, !x.conf.Secret.Empty()
	t.admit(!s.e.policy.Load().Server.PinPort)
	cfg := s.e.tunnelConfig(s.e.policy.Load(), x.conf.Tunnel, x.conf.Secret, x.conf.PRE13)
	cfg.IgnoreWindow13 = x.conf.IgnoreWindow13
	cfg.TieBreaker = !x.conf.OwnTunnel // P119: where one tunnel is wanted
	t.ctl = control.Open(cfg, id, s.now(), &t.out)
	s.e.log.Info("dialling", t.attrs(slog.String("event", "dialling"), slog.String("call", x.conf.Name))...)
	x.open(t)
}

// mayShare says whether the call may use a tunnel that is there. One that the peer made serves too if it has been
// authenticated or the call asks for no secret (S185).
func (x *dialer) mayShare(t *tunnel, key policy.ShareKey) bool {
	switch {
	case t.down || t.tieLost || t.probing || t.ctl.State() == control.TunnelClosing:
		return false
	case t.initiator:
		return t.key == key
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
	s.dialer, s.conf, s.local = x, x.conf, info
	s.tmpl = s.pol.Templates[x.conf.PPP.Template]
	x.session = s
	t.flush()
}

// offer is what ICRQ or OCRQ say of the call.
func (x *dialer) offer() control.CallInfo {
	c := x.conf
	info := control.CallInfo{
		BearerType: c.Bearer(), FramingType: wire.FramingSync, CalledNumber: c.Remote, SubAddress: c.SubAddress,
		MinimumBPS: max(c.MinimumSpeed, 1), MaximumBPS: max(c.Speed, 64000),
	}
	if c.Dial != "" {
		info.CalledNumber = c.Dial
	}
	return info
}

// failed notes why an attempt ended, and plans the next.
func (x *dialer) failed(stage call.Stage, text string) {
	x.attempts.Failed++
	x.lastErr = &api.CallError{At: x.d.s.e.cfg.WallClock(), Stage: stageName(stage), Text: text}
	x.d.s.e.log.Warn("call not established: stage "+stageName(stage), slog.String("call", x.conf.Name),
		slog.String("peer", x.conf.Peer), slog.String("event", "call-failed"), slog.String("why", text))
	x.again()
}

// again plans the next attempt: the delay doubles up to its limit, with jitter so that boxes that failed together do not
// come back together.
func (x *dialer) again() {
	if !x.wanted || x.d.stopped || x.conf.Passive || x.session != nil {
		return
	}
	if x.conf.OnDemand && !x.conf.AutoStart {
		x.wanted = false // the next packet asks again
		return
	}
	low, high := x.conf.RedialMin, x.conf.RedialMax
	if low == 0 {
		low = redialMin
	}
	if high == 0 {
		high = max(redialMax, low)
	}
	x.delay = min(max(2*x.delay, low), high)
	x.after(x.delay/2 + rand.N(x.delay/2+1))
}

// after plans the next attempt at a given distance.
func (x *dialer) after(d time.Duration) { x.d.s.due.arm(&x.timer, x.d.s.now()+d) }

// nameKey is a call's name as the policy files it.
func nameKey(name string) string { return strings.ToLower(name) }
