package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// path is how far a tunnel's kernel object has got.
type path uint8

const (
	pathNone path = iota
	pathMaking
	pathReady
	pathClosing
	pathClosed
)

// tunnel is one control connection with its sockets, its kernel object and its sessions.
type tunnel struct {
	s      *shard
	id     control.TunnelID
	ctl    *control.Tunnel
	out    control.Output
	local  netip.AddrPort
	remote netip.AddrPort

	initiator bool
	secret    bool
	pre13     bool             // the peer may be of the drafts before 13
	accept    *policy.Accept   // responder: the entry that let it in and counts it, if any
	key       *policy.ShareKey // initiator: what calls must have in common to share it
	tie       bool             // responder: the peer's SCCRQ carries a Tie Breaker
	tieLost   bool
	misnamed  bool   // the peer is not who it should be
	evicted   bool   // while half-open, by newer ones
	reason    string // why we end it, where the StopCCN does not say
	ordered   bool   // the operator ends it, or the daemon
	// unreachable: an ICMP error came back for something that was sent to the peer.
	unreachable bool
	flushing    bool
	half        bool // counted among the half-open
	counted     bool // counted among all
	source      sourceKey
	peer        control.PeerInfo

	path     path
	port     Port // of this tunnel alone, or nil
	conn     Conn
	outerMTU int // of the path to the peer; 0: unknown
	pathErr  error
	sessions map[control.SessionID]*session
	timer    deadline
	patience deadline // when the peer of the tunnel in its place has had the time to answer
	up       bool
	down     bool // EvTunnelDown has come
	downAt   Time
	ending   control.EvTunnelDown
	hello    time.Duration // silence before HELLO; 0: none
	looked   Time          // when the sessions' counters were last read for signs of life

	started, established time.Time
	lastError            string
	probing              bool // a HELLO asks whether the peer is still the one that it was
	probeFrom, heardAt   Time

	stranger  bool // the peer has not shown yet that it is where its packets say
	answering bool // what leaves now answers a packet of the peer
	owed      int  // octets sent to a stranger

	parted map[control.SessionID]sight // sessions that have left while somebody looked on
}

// newTunnel enters a tunnel into the shard's tables.
func (s *shard) newTunnel(id control.TunnelID, local, remote netip.AddrPort) *tunnel {
	t := &tunnel{
		s: s, id: id, local: local, remote: remote, sessions: map[control.SessionID]*session{},
		started: s.e.cfg.WallClock(),
	}
	t.timer = deadline{index: -1, owner: t}
	t.patience = deadline{index: -1, owner: whenDue(func(Time) { t.startPath() })}
	s.tunnels[id] = t
	t.list()
	return t
}

// admit tells the demultiplexer who may send to the tunnel.
func (t *tunnel) admit(anyPort bool) {
	t.s.e.routes[t.id].Store(&route{remote: t.remote, anyPort: anyPort})
}

// attrs name the tunnel in the log.
func (t *tunnel) attrs(more ...any) []any {
	a := []any{slog.Int("tunnel", int(t.id)), slog.Any("peer", t.remote)}
	if t.ctl != nil && t.ctl.PeerID() != 0 {
		a = append(a, slog.Int("peer_tunnel", int(t.ctl.PeerID())))
	}
	return append(a, more...)
}

// names are attrs for a line that is limited.
func (t *tunnel) names(more ...slog.Attr) []slog.Attr {
	a := []slog.Attr{slog.Int("tunnel", int(t.id)), slog.Any("peer", t.remote)}
	if t.ctl.PeerID() != 0 {
		a = append(a, slog.Int("peer_tunnel", int(t.ctl.PeerID())))
	}
	return append(a, more...)
}

// receive takes a control message from the tunnel's peer. The error says why it was dropped.
func (t *tunnel) receive(p packet) error {
	was := t.ctl.State()
	err := t.ctl.Receive(t.s.now(), p.data, &t.out)
	if err != nil && !errors.Is(err, control.ErrDuplicate) && !errors.Is(err, control.ErrRestarted) {
		t.s.strange(slog.LevelInfo, "control-dropped", t.remote.Addr(), "control message dropped",
			slog.Any("peer", t.remote), slog.Int("tunnel", int(t.id)), slog.String("why", err.Error()))
	}
	if was == control.TunnelWaitCtlReply && t.ctl.State() == control.TunnelEstablished && p.remote != t.remote {
		t.s.e.log.Info("the peer answers from another port, which is followed", t.attrs(slog.Any("now", p.remote))...)
		t.follow(p.remote)
	}
	t.flush()
	return err
}

// do gives commands to the control connection.
func (t *tunnel) do(commands ...control.Command) {
	for _, c := range commands {
		t.ctl.Do(t.s.now(), c, &t.out)
	}
	t.flush()
}

// looks is how often in a HELLO interval the kernel is asked for data that it has received. When since the last look it came is
// not known: a dead peer gains a quarter of the interval by it.
const looks = 4

// expire is the tunnel's deadline. Data that the kernel has received counts as a sign of life (P150).
func (t *tunnel) expire(now Time) {
	if at := t.lookAt(); at != 0 && at <= now {
		t.looked = now
		if t.heard() {
			t.ctl.Do(now, control.CmdHeard{At: now}, &t.out)
		}
	}
	t.ctl.Expire(now, &t.out)
	t.flush()
}

// lookAt is when the kernel is to be asked next; 0: never.
func (t *tunnel) lookAt() Time {
	if !t.up || t.down || t.hello <= 0 || len(t.sessions) == 0 {
		return 0
	}
	return t.looked + t.hello/looks
}

// deadline is when expire is wanted; 0: never.
func (t *tunnel) deadline() Time {
	d, look := t.ctl.Deadline(), t.lookAt()
	if look != 0 && (d == 0 || look < d) {
		return look
	}
	return d
}

// heard says whether a session's receive counter has moved since the last call.
func (t *tunnel) heard() bool {
	moved := false
	for _, s := range t.sessions {
		if s.data == nil || s.releasing {
			continue
		}
		if st, err := s.data.Stats(); err == nil && st.RxPackets != s.rx {
			s.rx, moved = st.RxPackets, true
		}
	}
	return moved
}

// flush carries out what the control connection wants, until it wants nothing more.
func (t *tunnel) flush() {
	if t.flushing {
		return // the loop below it on the stack goes on
	}
	t.flushing = true
	for len(t.out.Datagrams) > 0 || len(t.out.Events) > 0 {
		for _, d := range t.out.Datagrams {
			t.send(d)
		}
		events := append([]control.Event(nil), t.out.Events...)
		t.out.Reset()
		for _, ev := range events { // the sessions' ends come first, but are explained by the tunnel's
			if ev, ok := ev.(control.EvTunnelDown); ok {
				t.ending = ev
			}
		}
		for _, ev := range events {
			t.event(ev)
		}
	}
	t.out.Reset()
	t.flushing = false
	t.bury()
	if t.s.tunnels[t.id] == t {
		t.s.due.arm(&t.timer, t.deadline())
	}
}

func (t *tunnel) send(datagram []byte) {
	if !t.affords(len(datagram)) {
		return
	}
	t.tapOut(datagram)
	if err := t.s.e.cfg.Transport.Send(t.local, t.remote, datagram); err != nil {
		t.lastError = err.Error()
		t.s.strange(slog.LevelWarn, "send-failed", t.remote.Addr(), "cannot send to the peer",
			slog.Any("peer", t.remote), slog.Int("tunnel", int(t.id)), slog.String("why", err.Error()))
	}
}

// event follows one event of the control connection.
func (t *tunnel) event(ev control.Event) {
	switch ev := ev.(type) {
	case control.EvTunnelUp:
		if t.initiator && t.key.Expect != "" && t.key.Expect != ev.Peer.HostName {
			t.isStranger(ev.Peer.HostName)
			return
		}
		t.isUp(ev)
	case control.EvTunnelDown:
		t.isDown(ev)
	case control.EvTunnelState:
		t.s.e.log.Debug("tunnel state", t.attrs(slog.String("from", ev.From.String()), slog.String("to", ev.To.String()))...)
		t.tapState(ev.From, ev.To)
	case control.EvSessionOffered:
		t.offered(ev)
	case control.EvSessionReplied:
		if s := t.sessions[ev.Session]; s != nil {
			s.replied(ev)
		}
	case control.EvSessionUp:
		if s := t.sessions[ev.Session]; s != nil {
			s.established(ev)
		}
	case control.EvSessionDown:
		if s := t.sessions[ev.Session]; s != nil {
			s.lost(ev)
		}
	case control.EvSessionState:
		if s := t.sessions[ev.Session]; s != nil {
			s.state = ev.To
			s.log().Debug("session state", slog.String("from", ev.From.String()), slog.String("to", ev.To.String()))
		}
		t.tapSession(ev)
	case control.EvCallErrors:
		if s := t.sessions[ev.Session]; s != nil {
			s.lineErrors = &ev.Errors
			if fw := s.subscriber().far; fw != nil {
				fw.errors(ev.Errors)
			}
		}
		// For one call a LAC sends one a minute at most (RFC 2661, 6.13): who sends more does not fill the log.
		t.s.strange(slog.LevelInfo, "line-errors", t.remote.Addr(), "the LAC reports line errors",
			t.names(slog.Int("session", int(ev.Session)), slog.Any("errors", ev.Errors))...)
	case control.EvACCM:
		switch s := t.sessions[ev.Session]; {
		case s == nil:
		case s.near != nil:
			s.near.accm(ev.Send, ev.Receive)
		case s.placed != nil && s.placed.joint != nil:
			t.s.e.escape(s.placed.joint, ev.Send, ev.Receive)
		}
		t.s.strange(slog.LevelDebug, "accm", t.remote.Addr(), "the LNS sets the ACCM", t.names(slog.Int("session", int(ev.Session)),
			slog.String("send", fmt.Sprintf("%08x", ev.Send)), slog.String("receive", fmt.Sprintf("%08x", ev.Receive)))...)
	case control.EvAnomaly:
		t.s.strange(slog.LevelInfo, "anomaly", t.remote.Addr(), ev.Text,
			slog.Any("peer", t.remote), slog.Int("tunnel", int(t.id)), slog.Int("session", int(ev.Session)))
	}
}

// isStranger refuses an LNS that is not the one that a RADIUS server has named (P232).
func (t *tunnel) isStranger(name string) {
	t.misnamed = true
	t.reason = fmt.Sprintf("the LNS calls itself %q, its name should be %q", name, t.key.Expect)
	t.do(control.CmdClose{Result: wire.Result{Code: wire.StopNotAuthorised, Text: "not the LNS that was wanted"}})
}

// isUp tells of a tunnel that is established, and asks for its data path: a connected socket, and the kernel's tunnel on it.
func (t *tunnel) isUp(ev control.EvTunnelUp) {
	t.looked = t.s.now()
	t.up, t.peer, t.established = true, ev.Peer, t.s.e.cfg.WallClock()
	t.tieLost = false // the peer has it up
	t.admit(false)
	t.leaveHalfOpen()
	t.winTie()
	t.s.e.counts.tunnelsUp.Add(1)
	if !t.counted { // one of ours: it is wanted, and only counts for others
		t.counted = true
		t.s.e.counts.tunnels.Add(1)
	}
	t.s.e.log.Info("tunnel up", t.attrs(slog.String("event", "tunnel-up"), slog.String("host", ev.Peer.HostName),
		slog.String("vendor", ev.Peer.VendorName), slog.Bool("authenticated", t.secret))...)
	t.startPath()
}

// startPath makes the data path once the tunnel is up and no other stands in its way.
func (t *tunnel) startPath() {
	if !t.up || t.down || t.path != pathNone || !t.alone() {
		return
	}
	t.path = pathMaking
	e, local, remote := t.s.e, t.local, t.remote
	spec := kernel.TunnelSpec{ID: uint16(t.id), PeerID: uint16(t.peer.TunnelID)}
	t.s.ask(func() func() {
		conn, err := e.makePath(local, remote, spec)
		mtu := 0
		if err == nil {
			mtu = conn.PathMTU() // now: later the question costs data packets
		}
		return func() { t.pathMade(conn, mtu, err) }
	})
}

// winTie expects nothing any more of the peer's half-open tunnel that our own has won against: its SCCRQ came before ours left, so that
// only the peer could compare the two (RFC 2661, 4.4.3). It may not have: then SCCCN still comes, and the tunnel lives.
func (t *tunnel) winTie() {
	if !t.initiator || t.key.Own != "" {
		return
	}
	for _, x := range t.s.byRemote[t.remote] {
		if x.half && x.tie {
			x.tieLost = true
		}
	}
}

// makePath may sleep: it runs in the executor.
func (e *Engine) makePath(local, remote netip.AddrPort, spec kernel.TunnelSpec) (Conn, error) {
	return e.cfg.Transport.Connect(local, remote, func(fd int) error {
		spec.FD = fd
		return e.cfg.Kernel.CreateTunnel(spec)
	})
}

// pathMade takes the data path, or ends the tunnel that cannot have one.
func (t *tunnel) pathMade(conn Conn, mtu int, err error) {
	t.conn, t.outerMTU, t.pathErr = conn, mtu, err
	t.path = pathReady
	switch {
	case err != nil:
		t.path = pathClosed
		t.reason = err.Error()
		t.do(control.CmdClose{Result: wire.Result{
			Code: wire.StopError, Error: wire.ErrCodeResources, HasError: true, Text: "no data path",
		}})
		t.successors()
	default:
		for _, s := range t.sessions {
			if s.waiting {
				s.begin()
			}
		}
	}
	t.bury()
}

// isDown logs why, in one line. The sessions have been told before.
func (t *tunnel) isDown(ev control.EvTunnelDown) {
	t.down, t.downAt = true, t.s.now()
	t.leaveHalfOpen()
	t.leaveCount()
	if t.up {
		t.s.e.counts.tunnelsUp.Add(-1)
	}
	level, msg, text := t.explain(ev)
	if text != "" {
		t.lastError = text
	}
	if ev.Cause == control.CauseAuth {
		t.s.e.counts.authFailures.Add(1)
	}
	if t.tieLost || t.evicted {
		return
	}
	attrs := []slog.Attr{
		slog.Int("tunnel", int(t.id)), slog.Any("peer", t.remote), slog.String("cause", t.cause(ev)),
	}
	if text != "" {
		attrs = append(attrs, slog.String("why", text))
	}
	if t.initiator && !t.up {
		level = slog.LevelDebug // each call that waited for the tunnel has said it
	}
	if t.up || t.initiator {
		say(t.s.e.log, level, msg, append(attrs, slog.String("event", "tunnel-down"))...)
		return
	}
	t.s.strange(level, "tunnel-down", t.remote.Addr(), msg, attrs...)
}

// cause is the short name of why a tunnel ends.
func (t *tunnel) cause(ev control.EvTunnelDown) string {
	if t.pathErr != nil {
		return "kernel"
	}
	return ev.Cause.String()
}

// explain puts the end of a tunnel into words; no message: it is not worth a line.
func (t *tunnel) explain(ev control.EvTunnelDown) (level slog.Level, msg, text string) {
	msg = "tunnel down"
	if !t.up {
		msg = "tunnel not established: stage " + tunnelStage(ev).String()
	}
	switch ev.Cause {
	case control.CauseLocal, control.CauseIdle:
		if t.pathErr != nil {
			return slog.LevelError, msg, t.reason
		}
		if t.reason != "" {
			return slog.LevelInfo, msg, t.reason
		}
		return slog.LevelInfo, msg, ev.Result.StopString()
	case control.CausePeer:
		level = slog.LevelWarn
		if t.up && (ev.Result.Code == wire.StopShutdown || ev.Result.Code == wire.StopGeneral) {
			level = slog.LevelInfo
		}
		text = "the peer says: " + ev.Result.StopString()
		if t.initiator && !t.up && ev.Result.Code == wire.StopNotAuthorised && ev.Result.Text == "" {
			text += "; it does not know us, or the secret is not the same at both ends"
		}
		return level, msg, text
	case control.CauseTimeout:
		return slog.LevelWarn, msg, t.silence()
	case control.CauseAuth:
		if !t.secret {
			return slog.LevelWarn, msg, "the peer asks for a secret, and none is configured here"
		}
		return slog.LevelWarn, msg, "the shared secret is not the same at both ends"
	case control.CauseProtocol, control.CauseRefused, control.CauseTunnelClosed, control.CauseNone:
		return slog.LevelWarn, msg, ev.Result.StopString()
	case control.CauseTieLost, control.CauseTieEqual:
		return slog.LevelDebug, "tunnel gave way to the peer's", ""
	}
	return slog.LevelWarn, msg, ev.Result.StopString()
}

// explainSession puts the end of the tunnel into words for one of its sessions.
func (t *tunnel) explainSession() call.EvDown {
	if t.pathErr != nil {
		return call.EvDown{Stage: call.StageKernel, Cause: t.cause(t.ending), Text: t.reason}
	}
	_, _, why := t.explain(t.ending)
	d := call.EvDown{
		Stage: tunnelStage(t.ending), Cause: t.cause(t.ending), Text: why,
		ByPeer: t.ending.Cause == control.CausePeer, Asked: t.ordered,
	}
	if r := t.ending.Result; d.ByPeer && triesAnother(r) {
		d.TryAnother = true
		if a, err := netip.ParseAddr(r.Text); err == nil && a.IsGlobalUnicast() && a.Zone() == "" {
			d.Elsewhere = a.Unmap()
		}
	}
	switch {
	case t.misnamed: // no reason to leave it alone: those who know it by its name are served
		d.Stage = call.StageSession
	case why == "":
		d.Text = "the tunnel is gone"
	case t.up:
		d.Text = "the tunnel is gone: " + why
	}
	return d
}

// silence says what a peer that does not answer may mean.
func (t *tunnel) silence() string {
	if t.up {
		return "the peer does not answer any more"
	}
	if t.initiator && t.unreachable {
		return fmt.Sprintf("%v is unreachable or nobody listens there (ICMP)", t.remote)
	}
	if t.initiator {
		return fmt.Sprintf("no answer from %v: is it up, does a firewall drop UDP, does it know us?", t.remote)
	}
	return "the peer did not finish the set-up"
}

// tunnelStage is the stage in which a tunnel that never came up ended. A peer that answers "not authorised" to our response
// does not like our secret.
func tunnelStage(ev control.EvTunnelDown) call.Stage {
	switch ev.Cause {
	case control.CauseTimeout:
		return call.StageTransport
	case control.CauseAuth:
		return call.StageTunnelAuth
	case control.CausePeer:
		if ev.Result.Code == wire.StopNotAuthorised {
			return call.StageTunnelAuth
		}
		return call.StageTunnel
	case control.CauseNone, control.CauseLocal, control.CauseProtocol, control.CauseTieLost, control.CauseTieEqual,
		control.CauseTunnelClosed, control.CauseIdle, control.CauseRefused:
		return call.StageTunnel
	}
	return call.StageTunnel
}

// leaveCount takes the tunnel out of the counts of all and of its accept entry.
func (t *tunnel) leaveCount() {
	if t.counted {
		t.counted = false
		t.s.e.counts.tunnels.Add(-1)
	}
	if t.accept != nil {
		t.s.e.tunnels.give(t.accept)
		t.accept = nil
	}
}

// shutdown says StopCCN 6.
func (t *tunnel) shutdown() {
	t.reason, t.ordered = "the daemon is stopping", true
	t.do(control.CmdClose{Result: wire.Result{Code: wire.StopShutdown}})
}

// ackPatience is how long the data path of a tunnel that we have closed waits for the peer's acknowledgement.
const ackPatience = time.Second

// bury gives back what a dead tunnel still holds: first the data path, once no session needs it, then the tunnel itself, once
// it need not acknowledge any more.
func (t *tunnel) bury() {
	if !t.down || len(t.sessions) > 0 {
		return
	}
	switch t.path {
	case pathReady:
		if t.ctl.View().Outstanding > 0 && t.s.now() < t.downAt+ackPatience {
			return // what arrives while a socket is being closed is lost: the acknowledgement of our StopCCN must not be
		}
		t.path = pathClosing
		conn := t.conn
		t.s.ask(func() func() {
			err := conn.Close()
			return func() {
				t.path = pathClosed
				t.successors()
				if err != nil {
					t.s.e.log.Warn("close tunnel socket", t.attrs(slog.String("why", err.Error()))...)
				}
				t.bury()
			}
		})
	case pathMaking, pathClosing:
	case pathNone, pathClosed:
		// A daemon that goes down does not wait for what only the peer could want to repeat, nor for a peer that has never been heard.
		draining := t.s.drained != nil && (t.ctl.View().Outstanding == 0 || t.ctl.PeerID() == 0)
		if draining || t.ctl.State() == control.TunnelDead {
			t.forget()
		}
	}
}

// forget takes the tunnel out of every table.
func (t *tunnel) forget() {
	s := t.s
	if s.tunnels[t.id] != t {
		return
	}
	s.e.counts.addControl(t.ctl.View().Counters)
	delete(s.tunnels, t.id)
	t.unlist()
	if s.bySource[t.source] == t {
		delete(s.bySource, t.source)
	}
	s.e.routes[t.id].Store(nil)
	s.due.arm(&t.timer, 0)
	s.due.arm(&t.patience, 0)
	if t.path != pathNone || t.initiator { // else the kernel never knew it: a flood must not use the ids up
		s.resting.add(t.id, s.now())
	}
	if p := t.port; p != nil {
		s.e.exec.submit(func() {
			if err := p.Close(); err != nil {
				s.e.log.Warn("close port", slog.Any("local", p.Local()), slog.String("why", err.Error()))
			}
		})
	}
	s.checkDrained()
}
