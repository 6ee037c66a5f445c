package engine

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// incoming settles an offered call that belongs to a configured one. There is one session for each configured call: a crossing
// pair is decided by PRECEDENCE (S69), and a peer that calls again from a new tunnel has lost the old one.
func (d *dialers) incoming(s *session, conf *policy.Call) {
	x := d.byName[nameKey(conf.Name)]
	switch {
	case x == nil || x.removed || d.stopped:
		s.refuse(wire.Result{Code: wire.CDNNoFacilitiesTemp}, "the call is not configured any more")
		return
	case x.held:
		s.refuse(wire.Result{Code: wire.CDNAdmin, Text: "taken down by the operator"}, "the call has been taken down by the operator")
		return
	}
	s.dialer, s.conf, s.tmpl = x, conf, s.pol.Templates[conf.PPP.Template]
	cur := x.session
	switch {
	case cur == nil:
		x.accept(s)
	case x.heir != nil:
		s.refuse(wire.Result{Code: wire.CDNBusy}, "the call is being set up already")
	case cur.outgoing() && cur.state != control.SessionEstablished && !cur.releasing:
		x.cross(cur, s)
	case cur.releasing || cur.t != s.t:
		x.heir = s
		x.replace(cur)
	default:
		s.refuse(wire.Result{Code: wire.CDNBusy}, "the call is up already")
	}
}

// outgoing says that we asked for the session.
func (s *session) outgoing() bool {
	return s.role == control.LACIncoming || s.role == control.LNSOutgoing
}

// accept makes s the call's session.
func (x *dialer) accept(s *session) {
	x.session = s
	x.attempts.In++
	x.d.s.due.arm(&x.timer, 0)
	s.begin()
}

// replace ends a session whose peer calls again: without ceremony, since nobody is there to answer it.
func (x *dialer) replace(cur *session) {
	if cur.releasing {
		return
	}
	cur.log().Warn("the peer calls again: the old session is given up", slog.String("event", "call-replaced"))
	cur.drop("replaced", "the peer called again")
}

// drop ends a session at once: CDN if it came by a tunnel, then everything back.
func (s *session) drop(cause, text string) {
	if s.call == nil {
		s.hangUp(cause, text)
		return
	}
	if s.t != nil {
		s.t.ctl.Do(s.sh.now(), control.CmdCloseSession{Session: s.id, Result: wire.Result{Code: wire.CDNAdmin, Text: text}}, &s.t.out)
	}
	s.call.Lost(call.EvDown{Cause: cause, Text: text, Asked: true}, s.output())
	s.flush()
}

// crossing is the cause with which the call ends that gives way to the peer's.
const crossing = "crossing"

// cross decides between our call and the peer's that met it.
func (x *dialer) cross(ours, theirs *session) {
	own := x.conf.Precedence
	keep := policy.Crossing(own, x.contested,
		policy.CrossingSide{Session: uint16(ours.id)}, policy.CrossingSide{Session: uint16(theirs.peer)})
	x.crossed = true
	x.ourWay = policy.LowerWins(0, 0, uint16(ours.id), uint16(theirs.peer))
	x.d.s.e.log.Info("crossing calls", slog.String("event", "crossing"), slog.String("call", x.conf.Name),
		slog.String("precedence", own.String()), slog.Bool("keep_ours", keep))
	if keep {
		theirs.dialer = nil                                                     // so that its end is not taken for the call's
		theirs.dismiss(wire.Result{Code: wire.CDNAdmin, Text: "crossing call"}) // the line above tells of it
		return
	}
	x.session = theirs
	x.attempts.In++
	ours.hangUp(crossing, "crossing call")
	theirs.begin()
}

// cameUp: the call's session carries packets.
func (x *dialer) cameUp(s *session) {
	if s != x.session {
		return
	}
	x.attempts.Succeeded++
	x.delay, x.notBefore, x.lastErr = 0, 0, nil
	x.referred, x.others = false, 0
	x.crossed, x.contested = false, false
}

// ended: the call's session is on its way down.
func (x *dialer) ended(s *session, ev call.EvDown) {
	if s != x.session {
		return
	}
	if ev.Idle && x.conf.OnDemand {
		x.wanted = x.conf.AutoStart
	}
	if ev.Asked || s.t.tieLost { // a lost tie is no failure: the session rides on the winner
		return
	}
	if s.upSince.IsZero() {
		x.attempts.Failed++
		if s.outgoing() && ev.TryAnother {
			x.tryAnother(ev.Elsewhere)
		}
	}
	peer := ""
	if ev.ByPeer {
		peer = ev.Text
	}
	x.lastErr = &api.CallError{At: x.d.s.e.cfg.WallClock(), Stage: ev.Stage.String(), Text: ev.Text, Peer: peer}
	if x.crossed && ev.ByPeer && s.upSince.IsZero() && !x.contested {
		x.contested = true
		x.d.s.e.log.Warn("both ends have the same precedence: the lower session id decides; set one end to in, the other to out",
			slog.String("event", "precedence-conflict"), slog.String("call", x.conf.Name),
			slog.String("precedence", x.conf.Precedence.String()))
	}
}

// tryAnother plans the next attempt without delay: where the full peer sends us, once, else at the next of its addresses, each once
// before the ordinary wait (P58, P170).
func (x *dialer) tryAnother(elsewhere netip.Addr) {
	switch {
	case elsewhere.IsValid() && !x.referred:
		x.referred, x.elsewhere, x.atOnce = true, elsewhere, true
	case x.others+1 < len(x.addrs):
		x.others++
		x.atOnce = true
	}
}

// crossedBy says that s ends because calls crossed.
func (x *dialer) crossedBy(s *session, ev call.EvDown) bool {
	return ev.Cause == crossing || s == x.session && x.crossed && ev.ByPeer
}

// gone: the session has given everything back; the next may begin.
func (x *dialer) gone(s *session) {
	if x.heir == s { // it went before its turn came
		x.heir = nil
		return
	}
	if s != x.session {
		return
	}
	x.session = nil
	atOnce := x.atOnce
	x.atOnce = false
	if h := x.heir; h != nil {
		x.heir = nil
		if !x.removed && !x.held && !x.d.stopped {
			x.accept(h)
			return
		}
		h.dialer = nil
		h.refuse(wire.Result{Code: wire.CDNNoFacilitiesTemp}, "the call has been taken down meanwhile")
	}
	switch {
	case x.removed:
		delete(x.d.byName, x.name)
	case x.d.stopped:
	case atOnce:
		x.dial()
	case s.t.tieLost:
		x.d.riders[x] = true
		x.after(x.d.s.e.within(2*time.Second) + time.Second) // if no winner shows up
	case x.contested && x.crossed:
		x.crossed = false
		if x.ourWay {
			x.dial()
		} else {
			x.after(5*time.Second + x.d.s.e.within(5*time.Second))
		}
	default:
		x.again()
	}
}

// watch brings the device that waits for the first packet one step nearer to what the configuration wants: none, or one of this
// name with these routes. It goes on when that step has been done.
func (x *dialer) watch() {
	want := x.conf.OnDemand && !x.d.stopped && !x.removed
	name, routes := x.conf.WaitingInterface(), x.conf.PPP.Routes
	switch {
	case x.arming:
	case x.demand != nil && (!want || x.device != name || !slices.Equal(x.waitsFor, routes)):
		x.disarm()
	case x.demand == nil && want && x.unfit != x.conf && x.d.devices[name] == nil:
		x.arm(name, routes)
	}
}

// arm makes the device. Another call's may have the name until it has been removed.
func (x *dialer) arm(name string, routes []netip.Prefix) {
	s, conf := x.d.s, x.conf
	x.arming, x.device, x.waitsFor = true, name, routes
	x.d.devices[name] = x
	wake := func() { s.post(x.packet) }
	s.ask(func() func() {
		dm, err := s.e.cfg.Network.Demand(name, routes, wake)
		return func() {
			x.arming, x.demand = false, dm
			if err != nil {
				x.demand, x.unfit = nil, conf
				delete(x.d.devices, name)
				s.e.log.Error("dial on demand cannot watch for packets", slog.String("call", conf.Name), slog.String("why", err.Error()))
			}
			x.d.watchAgain(x)
		}
	})
}

// disarm removes the device.
func (x *dialer) disarm() {
	s, dm, name := x.d.s, x.demand, x.device
	x.arming = true
	s.ask(func() func() {
		err := dm.Close()
		return func() {
			x.arming, x.demand = false, nil
			delete(x.d.devices, name)
			if err != nil {
				s.e.log.Warn("dial on demand device", slog.String("call", x.conf.Name), slog.String("why", err.Error()))
			}
			x.d.watchAgain(x)
		}
	})
}

// watchAgain goes on after a step of x, for those too that may have waited for the name of its device.
func (d *dialers) watchAgain(x *dialer) {
	x.watch()
	for _, y := range d.byName {
		y.watch()
	}
	d.s.checkDrained()
}
