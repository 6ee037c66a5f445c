package engine

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/network"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

var background = context.Background()

// session is one session of a tunnel, from the moment that it has an id until its last kernel object is gone.
type session struct {
	sh        *shard
	t         *tunnel // nil: it is a subscriber's line
	line      *line   // nil: it is one of a tunnel
	id        control.SessionID
	peer      control.SessionID
	role      control.Role
	state     control.SessionState
	proxyType uint16 // the Proxy Authen Type that the LAC named, be it the peer or we

	dialer *dialer        // the configured call it belongs to, or nil
	accept *policy.Accept // the entry that let a temporary call in and counts it, or nil
	tmpl   *policy.Template
	conf   *policy.Call // the configuration that dialer's call had at the beginning, or nil
	pol    *policy.Policy

	granted   *granted         // by a RADIUS server; nil: nothing
	authentic radius.Authentic // who has let the user in
	account   *account         // nil: RADIUS servers have not been asked about it, nor told

	sub    *subscriber // nil: nobody has asked where the call goes
	placed *placed     // it is a call that an LNS has had placed on a line
	near   *forward    // it is the far side of a subscriber's call

	call *call.Call   // nil until the peer's id is known
	out  *call.Output // of the step that is under way; nil: nothing

	data       Session // kernel session; nil until OpCreate is done
	ops        []call.Op
	waiting    bool // for the tunnel's data path
	connected  bool // ICCN or OCCN has passed
	busy       bool // an operation is with an executor
	releasing  bool
	netApplied bool
	serving    bool       // IPv6 prefixes, on the interface; the executor's, as long as an operation is with it
	judging    bool       // whether the user whom a pppd has let in may have the session, is being found out
	pooled     netip.Addr // address taken from a pool
	pooledFrom *policy.Pool
	lent       []lent
	index      int            // of the interface
	fresh      *network.Fresh // the interface until something is done with it; the executor's, as long as an operation is with it
	owned      netip.Addr     // the user's own, claimed
	process    PppdProcess    // nil: PPP runs here
	counted    counted        // as a login; of shard 0
	login      string         // the user it is counted for; empty: none
	judged     []func(now call.Time)
	rx         uint64       // packets received, at the last look for signs of life
	asked      *call.EvDown // why we hung up before there was a call machine, or nil

	local      *control.CallInfo // of a call that we place; else nil
	remote     control.CallInfo
	lineErrors *[6]uint32 // of the latest WEN; nil: none came
	timer      deadline
	framesIn   uint64
	framesOut  uint64
	started    time.Time
	upSince    time.Time
	marks      marks
	at         call.Stage // of the set-up
}

// newSession enters a session into its tunnel.
func (t *tunnel) newSession(id control.SessionID, role control.Role) *session {
	s := &session{sh: t.s, t: t, id: id, role: role, pol: t.s.e.policy.Load(), started: t.s.e.cfg.WallClock()}
	s.timer = deadline{index: -1, owner: s}
	t.sessions[id] = s
	s.at = s.stage()
	s.mark(s.at)
	return s
}

// log has the session's names on every line. It is of the shard: what runs elsewhere must not have it.
func (s *session) log() *slog.Logger { return slog.New(sessionLog{s}) }

// sessionLog puts a session's names before the attributes of a record, when there is one: most of what a session could tell is not
// wanted.
type sessionLog struct{ s *session }

func (l sessionLog) handler() slog.Handler { return l.s.sh.e.log.Handler() }

// Enabled implements slog.Handler.
func (l sessionLog) Enabled(ctx context.Context, level slog.Level) bool {
	return l.handler().Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (l sessionLog) Handle(ctx context.Context, r slog.Record) error {
	attrs := l.s.fullNames()
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	named := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	named.AddAttrs(attrs...)
	return l.handler().Handle(ctx, named)
}

// WithAttrs implements slog.Handler.
func (l sessionLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return l.handler().WithAttrs(append(l.s.fullNames(), attrs...))
}

// WithGroup implements slog.Handler.
func (l sessionLog) WithGroup(name string) slog.Handler {
	return l.handler().WithAttrs(l.s.fullNames()).WithGroup(name)
}

// fullNames are the ids of both ends, and whose session it is.
func (s *session) fullNames() []slog.Attr {
	a := make([]slog.Attr, 0, 12)
	if s.line != nil {
		a = append(a, slog.Int("line", int(s.line.id)), slog.String("access", s.line.caller.Name()))
		return append(a, s.farAttrs()...)
	}
	a = append(a, slog.Int("tunnel", int(s.t.id)), slog.Int("session", int(s.id)), slog.Any("peer", s.t.remote))
	if id := s.t.ctl.PeerID(); id != 0 {
		a = append(a, slog.Int("peer_tunnel", int(id)))
	}
	a = append(a, s.farAttrs()...)
	switch {
	case s.dialer != nil:
		a = append(a, slog.String("call", s.dialer.conf.Name))
	case s.near != nil && s.near.user != "":
		a = append(a, slog.String("user", s.near.user))
	}
	if s.peer != 0 {
		a = append(a, slog.Int("peer_session", int(s.peer)))
	}
	return a
}

// offered decides about a call that the peer wants to make.
func (t *tunnel) offered(ev control.EvSessionOffered) {
	s := t.newSession(ev.Session, ev.Role)
	s.peer, s.remote = ev.Peer, ev.Call
	v := s.pol.ForOffer(policy.Offer{
		Source: t.remote.Addr(), HostName: t.peer.HostName, Outgoing: ev.Role == control.LACOutgoing,
		CalledNumber: ev.Call.CalledNumber, SubAddress: ev.Call.SubAddress, BearerType: ev.Call.BearerType, MinimumBPS: ev.Call.MinimumBPS, Secret: t.secret,
	}, t.s.e.peersOf)
	switch {
	case t.s.e.stopping.Load():
		s.refuse(wire.Result{Code: wire.CDNAdmin}, "the daemon is stopping")
	case v.Refuse:
		s.refuse(wire.Result{Code: v.Code, Error: v.Error, HasError: v.Error != 0}, v.Reason)
	case v.Call != nil && t.s.dialers == nil:
		s.refuse(wire.Result{Code: wire.CDNNoFacilitiesTemp}, "the call was configured after this tunnel came up")
		if len(t.sessions) == 0 { // the peer's next tunnel will be where the call is
			t.reason = "its peer has become that of a configured call"
			t.do(control.CmdClose{Result: wire.Result{Code: wire.StopGeneral, Text: "dial again"}})
		}
	case v.Call != nil:
		t.s.dialers.incoming(s, v.Call)
	case v.Lines != nil:
		s.place(v.Lines)
	default:
		s.acceptTemporary(v.Accept)
	}
}

// acceptTemporary makes a temporary call by an accept entry (S63, S79).
func (s *session) acceptTemporary(a *policy.Accept) {
	if !s.sh.e.sessions.take(a, a.MaxSessions) {
		s.refuse(tryAnother, "max_sessions of the accept entry is reached") // the code is 2 in both messages (P59)
		return
	}
	s.accept = a
	s.tmpl = s.pol.Templates[a.Template]
	s.begin()
}

// refuse answers an offered call with CDN and forgets it. The peer may offer many.
func (s *session) refuse(r wire.Result, why string) {
	s.sh.strange(slog.LevelWarn, "call-refused", s.t.remote.Addr(), "call refused", s.t.names(slog.Int("session", int(s.id)),
		slog.Int("peer_session", int(s.peer)), slog.String("why", why), slog.String("called", s.remote.CalledNumber),
		slog.String("answer", r.CDNString()))...)
	s.dismiss(r)
}

// dismiss is refuse without a word in the log.
func (s *session) dismiss(r wire.Result) {
	s.t.part(s)
	delete(s.t.sessions, s.id)
	s.t.do(control.CmdCloseSession{Session: s.id, Result: r})
}

// replied: ICRP or OCRP came for a call of ours.
func (s *session) replied(ev control.EvSessionReplied) {
	s.peer, s.remote = ev.Peer, ev.Call
	s.begin()
}

// begin makes the call machine, now that both ids are known and the tunnel has a data path; the kernel session is its first
// wish.
func (s *session) begin() {
	s.waiting = s.t.path == pathNone || s.t.path == pathMaking
	if s.waiting {
		return // pathMade begins it
	}
	s.call = call.New(s.params(), s.peer, numbered(s.remote), s.output())
	s.flush()
	if s.connected { // OCCN did not wait for our data path
		s.connect()
	}
}

// established: ICCN or OCCN has passed.
func (s *session) established(ev control.EvSessionUp) {
	s.peer = ev.Peer
	if ev.Role == control.LNSIncoming || ev.Role == control.LNSOutgoing {
		s.remote = ev.Call // ICCN or OCCN, on top of what came before
		if p := ev.Call.Proxy; p != nil {
			s.proxyType = p.Auth.Type
		}
	}
	s.connected = true
	if s.call != nil {
		s.connect()
	}
}

// connect tells the call that its session is established.
func (s *session) connect() {
	s.log().Info("session established", slog.String("event", "session-up"), slog.String("role", s.role.String()))
	s.call.Established(s.sh.now(), call.Connected{
		Required: numbered(s.remote), Async: s.remote.FramingType == wire.FramingAsync, Proxy: s.proxy(),
	}, s.output())
	s.remote.Proxy = nil // PPP has it
	s.flush()
}

// numbered says whether the peer wants every data frame numbered: by Sequencing Required (P176), or, from before draft 13, by
// a session window of 0, which is numbers without flow control (P283).
func numbered(c control.CallInfo) bool {
	return c.SequencingRequired || c.HasSessionWindow && c.SessionWindow == 0
}

// lost: the tunnel has no such session any more.
func (s *session) lost(ev control.EvSessionDown) {
	down := s.explain(ev)
	if s.call == nil { // never got so far as to own anything
		if s.asked != nil {
			down = *s.asked
		}
		s.ended(down)
		s.leave()
		return
	}
	s.call.Lost(down, s.output())
	s.flush()
}

// ended tells of the end, before anything is given back.
func (s *session) ended(ev call.EvDown) {
	s.sh.e.counts.ends.add(ev.Cause)
	s.tapStage(stageName(s.at), "ended")
	s.accountEnd(ev)
	s.logDown(ev)
	s.bury(ev)
	switch {
	case s.dialer != nil:
		s.dialer.ended(s, ev)
	case s.near != nil:
		s.near.ended(s, ev)
	}
	if s.placed != nil {
		s.placed.watch.stop()
	}
	s.unroute(ev)
	s.endAsking()
}

// endAsking gives up a question to a RADIUS server whose answer nobody needs any more.
func (s *session) endAsking() {
	if x := s.account; x != nil && x.stopAsking != nil {
		x.stopAsking()
		x.stopAsking = nil
	}
}

// leave takes the session, of which nothing is left, out of every table.
func (s *session) leave() {
	s.sh.due.arm(&s.timer, 0)
	if s.line != nil {
		s.leaveLine()
		return
	}
	s.t.part(s)
	delete(s.t.sessions, s.id)
	if s.near != nil {
		s.near.gone(s)
	}
	s.placed.leave(s.sh)
	if s.accept != nil {
		s.sh.e.sessions.give(s.accept)
		s.accept = nil
	}
	if s.dialer != nil {
		s.dialer.gone(s)
	}
	s.t.bury()
}

// explain puts the end of a session into words.
func (s *session) explain(ev control.EvSessionDown) call.EvDown {
	d := call.EvDown{Stage: call.StageSession, Cause: ev.Cause.String(), Text: ev.Result.CDNString()}
	switch ev.Cause {
	case control.CausePeer:
		d.ByPeer, d.Text, d.TryAnother = true, "the peer says: "+ev.Result.CDNString(), triesAnother(ev.Result)
		d.Said = call.ReadSaid(ev.Result.Code, ev.DisconnectCause)
		if ev.Result.Code == wire.CDNLostCarrier {
			d.Text = "the peer hung up: " + ev.Result.CDNString()
		}
		switch words := call.DisconnectText(ev.DisconnectCause); {
		case words == "":
		case ev.Result.Code == wire.CDNAdmin: // which is said of any end that is in order: the PPP cause tells more
			d.Text = fmt.Sprintf("%s; the peer says %q", words, ev.Result.Text)
		default:
			d.Text += "; " + words
		}
		if len(ev.Q931Cause) >= 2 {
			d.Text += fmt.Sprintf("; Q.931 cause %d", binary.BigEndian.Uint16(ev.Q931Cause)) // P207
		}
	case control.CauseTunnelClosed, control.CauseTieLost, control.CauseTieEqual, control.CauseAuth, control.CauseIdle:
		d = s.t.explainSession()
	case control.CauseTimeout:
		d.Text = "the peer does not answer the call"
	case control.CauseLocal:
		d.Asked = true
	case control.CauseNone, control.CauseProtocol, control.CauseRefused:
	}
	if s.t.up && d.Stage < call.StageSession {
		d.Stage = call.StageSession
	}
	return d
}

// triesAnother says that the peer answers "try another" (P58).
func triesAnother(r wire.Result) bool {
	return r.Code == wire.CDNError && r.HasError && r.Error == wire.ErrCodeTryAnother // the code is 2 in both messages
}

// frame takes a PPP frame that reached user space.
func (s *session) frame(data []byte) {
	s.framesIn++
	s.sh.e.counts.framesIn.Add(1)
	s.tap(false, data)
	if s.call == nil {
		return
	}
	s.call.Receive(s.sh.now(), data, s.output())
	s.flush()
}

// expire is the call's deadline.
func (s *session) expire(now Time) {
	s.call.Expire(now, s.output())
	s.flush()
}

// ending says that the session is on its way down.
func (s *session) ending() bool {
	return s.releasing || s.asked != nil || s.call != nil && s.call.View().Closing
}

// hangUp ends the call in good order.
func (s *session) hangUp(cause, text string) {
	if s.call == nil {
		s.asked = &call.EvDown{Stage: call.StageSession, Cause: cause, Text: text, Asked: true}
		s.t.do(control.CmdCloseSession{Session: s.id, Result: wire.Result{Code: wire.CDNAdmin, Text: text}})
		return
	}
	s.call.Close(s.sh.now(), cause, text, s.output())
	s.flush()
}

// output is where the call puts what it wants.
func (s *session) output() *call.Output {
	if s.out == nil {
		s.out = s.sh.outputs.New()
	}
	return s.out
}

// flush carries out what the call wants, until it wants nothing more.
func (s *session) flush() {
	for s.out != nil {
		out := *s.out
		s.sh.outputs.Free(s.out)
		s.out = nil
		for _, c := range out.Commands {
			s.t.ctl.Do(s.sh.now(), c, &s.t.out)
		}
		if s.data != nil {
			for _, f := range out.Frames {
				s.send(f)
			}
		}
		s.ops = append(s.ops, out.Ops...)
		s.dropLate()
		for _, ev := range out.Events {
			s.event(ev)
		}
	}
	s.reach(s.stage())
	s.pump()
	if s.call != nil {
		s.sh.due.arm(&s.timer, s.call.Deadline())
	}
	if s.t != nil {
		s.t.flush()
	}
}

// dropLate forgets the operations that a call which ends has wished for before: what has not begun would act for nobody, and may have nothing
// to act upon.
func (s *session) dropLate() {
	if n := len(s.ops); n > 1 {
		if last, ok := s.ops[n-1].(call.OpRelease); ok {
			s.ops = []call.Op{last}
		}
	}
}

func (s *session) send(frame []byte) {
	s.framesOut++
	s.sh.e.counts.framesOut.Add(1)
	s.tap(true, frame)
	if err := s.data.Send(frame); err != nil {
		s.strange(slog.LevelInfo, "frame-lost", "PPP frame not sent", slog.String("why", err.Error()))
	}
}

// relay passes on what the kernel has left to user space of a bridge's frames.
func (s *session) relay(frame []byte) {
	s.sh.e.counts.framesOut.Add(1)
	if err := s.data.Relay(frame); err != nil {
		s.strange(slog.LevelInfo, "frame-lost", "PPP frame not passed on", slog.String("why", err.Error()))
	}
}

// event follows one event of the call.
func (s *session) event(ev call.Event) {
	switch ev := ev.(type) {
	case call.EvUp:
		if s.subscriber().far != nil || s.near != nil || s.placed != nil {
			s.joined(ev)
			return
		}
		s.upSince = s.sh.e.cfg.WallClock()
		s.log().Info("call up", slog.String("event", "call-up"), slog.String("interface", ev.Interface),
			slog.String("user", ev.User), slog.String("local", address(ev.Local)), slog.String("remote", address(ev.Peer)),
			slog.String("prefix", prefixText(ev.Link)), slog.String("delegated", prefixText(ev.Delegated)))
		s.accountStart()
		if s.dialer != nil {
			s.dialer.cameUp(s)
		}
	case call.EvDown:
		s.ended(ev)
	case call.EvGone:
		s.gone()
	case call.EvRouteStale:
		s.reroute()
	case call.EvUnchecked:
		if s.sh.e.stopping.Load() { // which gives up all questions
			return
		}
		s.strange(slog.LevelWarn, "unchecked", "the user cannot be checked again, the session goes on", slog.String("why", ev.Why))
	case call.EvRelay:
		s.relay(ev.Frame)
	case call.EvAnomaly:
		s.strange(slog.LevelInfo, "ppp", ev.Text)
	}
}

// address is a in the log; nothing where there is none, as on an unnumbered link.
func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// prefixText is p in the log; nothing where there is none.
func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

// logDown explains the end in one line: the stage, the cause, the other side's words.
func (s *session) logDown(ev call.EvDown) {
	level, event, msg := slog.LevelInfo, "call-down", "call down"
	switch {
	case s.near != nil:
		level, msg = slog.LevelDebug, "far side of a subscriber's call ends" // which has its own line
	case !s.upSince.IsZero():
	case s.t != nil && s.t.tieLost || s.dialer != nil && s.dialer.crossedBy(s, ev):
		level, msg = slog.LevelDebug, "call gives way" // to another, that has its own line
	case ev.Asked:
		msg = "call ended before it was up"
	default:
		level, event, msg = slog.LevelWarn, "call-failed", "call not established: stage "+ev.Stage.String()
	}
	attrs := []slog.Attr{slog.String("cause", ev.Cause), slog.String("why", ev.Text)}
	if s.call != nil {
		attrs = append(attrs, s.last()...)
	}
	if s.line != nil && event == "call-failed" && (s.call == nil || s.call.View().User == "") { // anybody on the Ethernet can do that
		s.strange(level, event, msg, attrs...)
		return
	}
	say(s.log(), level, msg, append([]slog.Attr{slog.String("event", event)}, attrs...)...)
}

// last is what the log says of a session that ends: whose it was, what it carried, for how long.
func (s *session) last() (attrs []slog.Attr) {
	if user := cmp.Or(s.call.View().User, s.subscriber().login); user != "" {
		attrs = append(attrs, slog.String("user", user))
	}
	if s.data != nil {
		u := s.usage()
		attrs = append(attrs, slog.Uint64("rx_bytes", u.RxBytes), slog.Uint64("tx_bytes", u.TxBytes))
	}
	if !s.upSince.IsZero() {
		attrs = append(attrs, slog.Duration("up", s.sh.e.cfg.WallClock().Sub(s.upSince).Round(time.Second)))
	}
	return attrs
}

// gone: everything has been given back.
func (s *session) gone() {
	s.accountStop()
	if s.data != nil && s.line == nil { // those of a line are no data messages
		if st, err := s.data.Stats(); err == nil {
			s.sh.addData(st)
		}
	}
	s.leave()
}
