package engine

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// Why a tunnel cannot be begun.
var (
	errNoKernel   = errors.New("no data path")
	errNoTunnelID = errors.New("no tunnel id is free")
	errItself     = errors.New("that is this box itself")
)

// How long an LNS that does not serve is left alone, and how long a call waits for one before the next is tried.
const (
	defaultLockout = time.Minute
	defaultAttempt = 10 * time.Second
)

// lac is what is known of LNSs. It lives in shard 0, as the tunnels to them do.
type lac struct {
	s        *shard
	locks    policy.Lockouts
	sessions map[netip.AddrPort]int // at each LNS
	underWay map[*forward]bool      // that no LNS has taken yet
}

func newLAC(s *shard) *lac {
	return &lac{s: s, sessions: map[netip.AddrPort]int{}, underWay: map[*forward]bool{}}
}

// forward takes a subscriber's call to an LNS: to each of several, until one has it. Its fields belong to shard 0; what the subscriber's
// shard may look at is set before, or when it is told.
type forward struct {
	lac   *lac
	from  *session // of the subscriber; its shard's
	joint *joint   // his channel; nil once it is joined and nobody has to see to it
	rule  *policy.Rule
	user  string
	proxy *ppp.Proxy
	call  control.CallInfo // as an ICRQ tells of it

	done    func(r call.Result, far Session) // tells the subscriber's shard how it went
	severed func(ev call.EvDown)             // and that it is over

	left   []policy.Target // still to be tried
	target policy.Target   // of the present attempt
	sess   *session        // the same; nil: there is none
	tunnel control.TunnelID
	id     control.SessionID
	local  netip.Addr // of its tunnel, at our end
	serial uint32     // Call Serial Number
	watch  *lineWatch // of an asynchronous line; nil: it is none, or not joined yet
	up     bool
	over   bool
	why    []string // what came of the attempts before
	timer  deadline
}

// begin tries the targets.
func (fw *forward) begin(targets []policy.Target, balance policy.Balance) {
	l := fw.lac
	if fw.over {
		return
	}
	l.underWay[fw] = true
	fw.left = l.locks.Order(targets, balance, func(a netip.AddrPort) int { return l.sessions[a] }, l.s.now())
	fw.next()
}

// next tries the next target. It is called once for each that did not work.
func (fw *forward) next() {
	l := fw.lac
	for len(fw.left) > 0 && !fw.over {
		t := fw.left[0]
		fw.left = fw.left[1:]
		why, level := "", slog.LevelWarn
		switch {
		case l.s.e.stopping.Load():
			why = "the daemon is stopping"
		case t.MaxSessions > 0 && l.sessions[t.Addr] >= t.MaxSessions:
			why, level = fmt.Sprintf("it has max_sessions: %d", t.MaxSessions), slog.LevelInfo // as it is configured
		default:
			fw.target = t
			why = fw.try()
		}
		if why == "" {
			return
		}
		fw.note(level, t, why)
	}
	if !fw.over {
		fw.end()
		fw.done(call.Result{Why: "no LNS takes the call: " + strings.Join(fw.why, "; "), Message: "no LNS takes the call"}, nil)
	}
}

// note remembers why an LNS has not taken the call.
func (fw *forward) note(level slog.Level, t policy.Target, why string) {
	name := t.Name
	if _, err := netip.ParseAddr(name); err != nil { // which of those that it stands for
		name = fmt.Sprintf("%s (%v)", name, t.Addr)
	}
	fw.why = append(fw.why, name+": "+why)
	if len(fw.left) > 0 {
		fw.lac.s.strange(level, "lns-failed", t.Addr.Addr(), "an LNS does not take a call: the next is tried", slog.String("lns", t.Name),
			slog.Any("address", t.Addr), slog.String("why", why), slog.Any("next", fw.left[0].Addr))
	}
}

// end takes the forward out of the table of those that are under way.
func (fw *forward) end() {
	fw.over = true
	fw.watch.stop()
	delete(fw.lac.underWay, fw)
	fw.lac.s.due.arm(&fw.timer, 0)
}

// try asks the target of the present attempt for a session.
func (fw *forward) try() (why string) {
	s, t := fw.lac.s, &fw.target
	tun, err := fw.findTunnel()
	if err != nil {
		return err.Error()
	}
	info := fw.offer()
	var id control.SessionID
	tun.ctl.Do(s.now(), control.CmdOpenSession{Role: control.LACIncoming, Call: info, Session: &id}, &tun.out)
	if id == 0 {
		tun.flush()
		return "the tunnel can take no more sessions"
	}
	x := tun.newSession(id, control.LACIncoming)
	x.near, x.local = fw, &info
	fw.sess, fw.tunnel, fw.id, fw.local, fw.serial = x, tun.id, id, tun.local.Addr(), info.SerialNumber
	fw.lac.sessions[t.Addr]++
	s.due.arm(&fw.timer, s.now()+cmp.Or(x.pol.LAC.Attempt, defaultAttempt))
	tun.flush()
	return ""
}

// findTunnel finds one with room, or makes one (S5, S183).
func (fw *forward) findTunnel() (*tunnel, error) {
	s, t := fw.lac.s, &fw.target
	key := t.ShareKey()
	for _, x := range s.byAddr[t.Addr.Addr()] {
		usable := x.initiator && *x.key == key && !x.down && !x.tieLost && x.ctl.State() != control.TunnelClosing
		if usable && (t.TunnelSessions == 0 || len(x.sessions) < t.TunnelSessions) {
			return x, nil
		}
	}
	return s.openTunnel(&wish{
		key: key, secret: t.Secret, local: t.Local, tunnel: t.Tunnel, pre13: t.PRE13, ignoreWindow13: t.IgnoreWindow13,
		hostName: t.HostName, hideAVPs: t.HideAVPs, tie: t.TunnelSessions == 0, why: slog.String("lns", t.Name),
	})
}

// offer is what ICRQ says of the call.
func (fw *forward) offer() control.CallInfo {
	info := fw.call
	fw.lac.s.dialers.serial++
	info.SerialNumber = fw.lac.s.dialers.serial
	if fw.target.Withhold {
		info.CallingNumber = ""
	}
	return info
}

// reply is what ICCN says of it.
func (fw *forward) reply() *control.CallInfo {
	info := fw.call
	info.PrivateGroup = fw.privateGroup()
	info.SequencingRequired = fw.target.Sequencing == policy.SequencingAlways
	if x := fw.proxy; x != nil {
		p := &control.Proxy{LCP: control.ProxyLCP{InitialReceived: x.InitialReceived, LastSent: x.LastSent, LastReceived: x.LastReceived}}
		if !fw.target.NoProxyAuth {
			p.Auth = control.ProxyAuth{
				Type: uint16(x.Type), Name: fw.rule.UserName(x.Name), Challenge: x.Challenge, ID: x.ID, Response: x.Response,
			}
		}
		info.Proxy = p
	}
	return &info
}

// privateGroup is the one of a RADIUS server, or else of the LAC that the call comes from.
func (fw *forward) privateGroup() string { return cmp.Or(fw.target.PrivateGroup, fw.call.PrivateGroup) }

// late: the LNS has taken too long.
func (fw *forward) late(Time) {
	if fw.sess == nil || fw.up || fw.over {
		return
	}
	fw.lac.lock(fw.target, "no answer in time")
}

// lock leaves an LNS alone for a while, and has the calls that wait for it tried elsewhere.
func (l *lac) lock(t policy.Target, why string) {
	hold := cmp.Or(l.s.e.policy.Load().LAC.Lockout, defaultLockout)
	if l.locks.Locked(t.Addr, l.s.now()) == 0 {
		say(l.s.e.log, slog.LevelWarn, "an LNS does not serve: it is left alone for a while", slog.String("event", "lns-locked"),
			slog.String("lns", t.Name), slog.Any("address", t.Addr), slog.String("why", why), slog.Duration("for", hold))
	}
	l.locks.Lock(t.Addr, l.s.now()+hold)
	for fw := range l.underWay {
		if fw.target.Addr == t.Addr && fw.sess != nil && !fw.up && !fw.over {
			fw.abandon(why)
		}
	}
	l.forsake(t, why)
}

// forsake gives up tunnels to an LNS that nobody waits for any more, before they are up: the next call is not to wait for one that may be
// about to fail.
func (l *lac) forsake(t policy.Target, why string) {
	for _, x := range slices.Clone(l.s.byAddr[t.Addr.Addr()]) {
		if x.initiator && !x.up && !x.down && x.key.Peer == t.Addr && len(x.sessions) == 0 {
			x.reason = why
			x.do(control.CmdClose{Result: wire.Result{Code: wire.StopGeneral, Text: why}})
		}
	}
}

// abandon gives the present attempt up and goes on to the next.
func (fw *forward) abandon(why string) {
	x := fw.sess
	fw.sess = nil
	x.endFar(call.EvDown{Cause: "abandoned", Text: why, Asked: true}, wire.CDNAdmin)
	fw.note(slog.LevelWarn, fw.target, why)
	fw.next()
}

// ended: the session of an attempt, or of the call that it led to, is on its way down.
func (fw *forward) ended(x *session, ev call.EvDown) {
	if fw.sess != x {
		return
	}
	fw.sess = nil
	switch {
	case fw.up:
		fw.end()
		if cause := x.t.ending.Cause; cause == control.CauseTimeout || cause == control.CausePeer { // it is the tunnel that has gone
			fw.lac.lock(fw.target, ev.Text)
		}
		fw.severed(ev)
		return
	case fw.over:
		return
	}
	fw.note(slog.LevelWarn, fw.target, ev.Text)
	if dead := ev.Stage < call.StageSession || ev.Cause == control.CauseTimeout.String(); dead {
		fw.lac.lock(fw.target, ev.Text)
	}
	fw.next()
}

// gone: nothing of an attempt's session is left.
func (fw *forward) gone(x *session) {
	a := x.t.key.Peer
	if fw.lac.sessions[a]--; fw.lac.sessions[a] <= 0 {
		delete(fw.lac.sessions, a)
	}
}

// joined: the LNS has the call.
func (fw *forward) joined(x *session) {
	l := fw.lac
	delete(l.underWay, fw)
	l.s.due.arm(&fw.timer, 0)
	fw.up = true
	if l.locks.Served(fw.target.Addr) {
		say(l.s.e.log, slog.LevelInfo, "an LNS serves again", slog.String("event", "lns-recovered"), slog.String("lns", fw.target.Name),
			slog.Any("address", fw.target.Addr))
	}
	fw.done(call.Result{Route: call.RouteBridged, User: fw.user}, x.data)
	fw.done, fw.proxy, fw.left, fw.why = nil, nil, nil, nil // of no use any more, and there may be thousands
	if fw.call.FramingType != wire.FramingAsync {
		fw.joint = nil
		return
	}
	fw.watch = watchLine(x, fw.joint)
}

// cancel ends what is done for a subscriber who has gone.
func (fw *forward) cancel(ev call.EvDown) {
	x := fw.sess
	fw.sess = nil
	fw.end()
	if x == nil {
		return
	}
	code := uint16(wire.CDNAdmin)
	if ev.ByPeer {
		code = wire.CDNLostCarrier
	}
	x.endFar(call.EvDown{Cause: ev.Cause, Text: ev.Text, ByPeer: ev.ByPeer, Asked: true}, code)
}

// endFar ends the far side of a subscriber's call at once.
func (s *session) endFar(ev call.EvDown, code uint16) {
	if s.call == nil {
		s.hangUp(ev.Cause, ev.Text)
		return
	}
	s.call.Sever(ev, wire.Result{Code: code, Text: ev.Text}, s.output())
	s.flush()
}

// bridge joins the far side with the subscriber's channel.
func (s *session) bridge(op call.OpBridge) {
	far := s.data
	var x *joint
	if s.near != nil {
		s.sh.due.arm(&s.near.timer, 0) // the LNS has answered: what takes long from here on is our own affair
		x = s.near.joint
	} else {
		x = s.placed.joint
	}
	s.async(op, func() call.Result { return call.Result{Err: x.join(far)} })
}

// offer is what an LNS is told of a subscriber's call, before and beside his login: of a call that came through a tunnel, what its LAC
// says of it.
func (s *session) offer() control.CallInfo {
	if s.line == nil {
		info := s.remote
		info.SequencingRequired, info.HasSessionWindow, info.SessionWindow, info.ProcessingDelay = false, false, 0, 0 // of that tunnel alone
		return info
	}
	c := &s.line.caller
	info := control.CallInfo{
		BearerType: wire.BearerDigital, FramingType: wire.FramingSync, PhysicalChannel: uint32(s.line.id), CallingNumber: c.Station(),
		TxSpeed: policy.VirtualSpeed, Line: c.Line,
	}
	switch {
	case c.PPPoE != nil:
		info.CalledNumber = c.PPPoE.Service
	case c.TTY != nil:
		info.CalledNumber = c.TTY.CalledNumber
		info.BearerType, info.FramingType = wire.BearerAnalog, wire.FramingAsync
		info.TxSpeed = cmp.Or(c.TTY.Speed, uint32(c.Access.TTY.Speed))
	}
	return info
}

// wish is a tunnel that somebody wants.
type wish struct {
	key            policy.ShareKey
	secret         policy.Secret
	local          netip.Addr // source address; invalid: by route
	tunnel         policy.Tunnel
	pre13          bool
	ignoreWindow13 bool
	ephemeral      bool
	tie            bool   // one tunnel is wanted: P119
	hostName       string // that the peer is told; empty: the server's
	hideAVPs       bool
	why            slog.Attr // whom it is for
}

// openTunnel begins a tunnel to key.Peer.
func (s *shard) openTunnel(w *wish) (*tunnel, error) {
	if s.e.cfg.Kernel == nil {
		return nil, fmt.Errorf("%w: %s", errNoKernel, s.e.cfg.KernelProblem)
	}
	remote := w.key.Peer
	if s.e.itself(remote) {
		return nil, errItself
	}
	id := s.newTunnelID()
	if id == 0 {
		return nil, errNoTunnelID
	}
	local, port, err := s.sourceFor(remote, w.local, w.ephemeral)
	if err != nil {
		return nil, err
	}
	t := s.newTunnel(id, local, remote)
	t.port, t.hello, t.pre13 = port, w.tunnel.Hello, w.pre13
	t.initiator, t.key, t.secret = true, &w.key, !w.secret.Empty()
	pol := s.e.policy.Load()
	t.admit(!pol.Server.PinPort)
	cfg := s.e.tunnelConfig(pol, w.tunnel, w.secret, w.pre13)
	cfg.IgnoreWindow13 = w.ignoreWindow13
	cfg.TieBreaker = w.tie
	cfg.HostName = cmp.Or(w.hostName, cfg.HostName)
	cfg.HideAVPs = cfg.HideAVPs || w.hideAVPs && t.secret
	t.ctl = control.Open(cfg, id, s.now(), &t.out)
	s.e.log.Info("dialling", t.attrs(slog.String("event", "dialling"), w.why)...)
	return t, nil
}

// itself says that a is where we listen: a call that is switched to there would come in and go out again without end.
func (e *Engine) itself(a netip.AddrPort) bool {
	at, err := e.cfg.Transport.LocalFor(a)
	return err == nil && at.Addr() == a.Addr() && slices.ContainsFunc(e.cfg.Listen, func(x netip.AddrPort) bool {
		return x.Port() == a.Port() && (x.Addr().IsUnspecified() || x.Addr() == a.Addr())
	})
}

// sourceFor finds the address that a new tunnel to remote leaves from: the listener's, or a port of its own where that is asked for (S14),
// or where the kernel could not tell it from another tunnel between the same addresses and ports.
func (s *shard) sourceFor(remote netip.AddrPort, from netip.Addr, ephemeral bool) (netip.AddrPort, Port, error) {
	tr := s.e.cfg.Transport
	if !ephemeral {
		local, err := tr.LocalFor(remote)
		if err != nil {
			return local, nil, err
		}
		if from.IsValid() {
			local = netip.AddrPortFrom(from, local.Port())
		}
		taken := func(t *tunnel) bool { return t.local == local && t.path != pathClosed }
		if s.e.newCore() || !slices.ContainsFunc(s.byRemote[remote], taken) {
			return local, nil, nil
		}
	}
	port, err := tr.OpenPort(from, remote)
	if err != nil {
		return netip.AddrPort{}, nil, err
	}
	return port.Local(), port, nil
}

// views are the LNSs that have calls, or are left alone.
func (l *lac) views() (all []api.LNS) {
	now, wall := l.s.now(), l.s.e.cfg.WallClock()
	of := map[netip.AddrPort]*api.LNS{}
	for a, n := range l.sessions {
		of[a] = &api.LNS{Address: a, Sessions: n}
	}
	for a, until := range l.locks.All(now) {
		if of[a] == nil {
			of[a] = &api.LNS{Address: a}
		}
		of[a].LockedUntil = wall.Add(until - now)
	}
	for _, x := range of {
		all = append(all, *x)
	}
	slices.SortFunc(all, func(a, b api.LNS) int { return a.Address.Compare(b.Address) })
	return all
}

// escaper is a session that may be an asynchronous line.
type escaper interface {
	SetACCM(send, receive uint32) error
}

// setACCM says which characters a line escapes, and drops. It may sleep.
func setACCM(data Session, send, receive uint32) error {
	if x, ok := data.(escaper); ok {
		return x.SetACCM(send, receive)
	}
	return nil
}

// accm takes the maps that the LNS has agreed on with the subscriber (RFC 2661, 4.4.6; P205). They are news to asynchronous lines only.
func (fw *forward) accm(send, receive uint32) {
	if fw.call.FramingType != wire.FramingAsync {
		return
	}
	from := fw.from
	if from.line != nil {
		fw.lac.s.e.escape(fw.joint, send, receive)
		return
	}
	from.sh.post(func() { // the line is that of the LAC which the call comes from
		if from.t.sessions[from.id] == from {
			from.t.do(control.CmdSendSLI{Session: from.id, Send: send, Receive: receive})
		}
	})
}

// escape is setACCM for a line that may go meanwhile.
func (e *Engine) escape(x *joint, send, receive uint32) {
	e.exec.submit(func() {
		err := x.use(func(data Session) error { return setACCM(data, send, receive) })
		if err != nil && !errors.Is(err, errJointGone) {
			e.log.Warn("ACCM of a line", slog.String("why", err.Error()))
		}
	})
}

// errors takes what the LAC which the call comes from says of its line: the LNS is to hear of it (RFC 2661, 4.4.6; P204).
func (fw *forward) errors(n [6]uint32) {
	fw.lac.s.post(func() {
		if x := fw.sess; x != nil && fw.up {
			x.t.do(control.CmdSendWEN{Session: x.id, Errors: n})
		}
	})
}
