package engine

import (
	"context"
	"errors"
	"log/slog"

	"github.com/l2tpd/l2tpd/pkg/access"
	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// Access serves the lines on which subscribers arrive. Its methods may sleep.
type Access interface {
	// Serve opens and closes what makes the difference to the list before. The errors are of places that cannot be served now.
	Serve(list []policy.Access, ring access.Ring) error
	// Dial has a call placed on a line. An error that has a method CDN() uint16 says what an LNS is told.
	Dial(ctx context.Context, name, number, subAddress string) (access.Caller, access.Line, error)
	// Counters gives those of all places that are served, by name. It does not wait for a Serve under way.
	Counters() []access.Counters
}

// AccessKernel makes the kernel's end of a subscriber's line.
type AccessKernel interface {
	OpenPPPoE(spec kernel.PPPoESpec, to kernel.Receiver) (Session, error)
	OpenLine(spec kernel.LineSpec, to kernel.Receiver) (Session, error)
}

// line is what a session has in place of a tunnel when its subscriber arrives here. All lines are shard 0's.
type line struct {
	id     uint16 // in place of a session id, unique among the lines
	caller access.Caller
	end    access.Line
	why    string // what the subscriber is told at the end
}

// lines are the subscribers' lines by id.
type lines struct {
	byID map[uint16]*session
	last uint16
}

// enter finds a free id for s. false: there is none.
func (l *lines) enter(s *session) bool {
	for range 0xffff {
		if l.last++; l.last != 0 && l.byID[l.last] == nil {
			s.line.id = l.last
			l.byID[l.last] = s
			return true
		}
	}
	return false
}

// ring takes a subscriber's call, from any goroutine.
func (e *Engine) ring(c access.Caller, end access.Line) (gone func(why string)) {
	sh := e.shards[0]
	s := &session{sh: sh, line: &line{caller: c, end: end}, started: e.cfg.WallClock()}
	s.timer = deadline{index: -1, owner: s}
	if !sh.post(s.arrived) {
		e.exec.submit(func() { end.HangUp("the daemon is stopping") })
		return func(string) {}
	}
	return func(why string) {
		sh.post(func() { s.hungUp(why) })
	}
}

// arrived begins a subscriber's call.
func (s *session) arrived() {
	sh := s.sh
	s.pol = sh.e.policy.Load()
	s.tmpl = s.pol.Templates[s.line.caller.Access.Template]
	why := ""
	switch {
	case sh.drained != nil || sh.e.stopping.Load():
		why = "the daemon is stopping"
	case sh.e.cfg.Kernel == nil:
		why = sh.e.noDataPath()
	case s.tmpl == nil:
		why = "the template of the access is gone"
	case !sh.lines.enter(s):
		why = "no more lines"
	}
	if why != "" {
		s.strange(slog.LevelWarn, "line-refused", "subscriber refused", slog.String("why", why))
		end := s.line.end
		sh.e.exec.submit(func() { end.HangUp(why) })
		return
	}
	sh.e.counts.lines.Add(1)
	s.log().Debug("subscriber arrives", slog.String("event", "line"))
	s.call = call.New(s.params(), 0, false, s.output())
	s.flush()
}

// hungUp: the subscriber has gone by himself.
func (s *session) hungUp(why string) {
	if s.call == nil || s.releasing {
		return
	}
	s.call.Lost(call.EvDown{Stage: call.StageLCP, Cause: "line-down", Text: why, ByPeer: true}, s.output())
	s.flush()
}

// openLine makes the kernel's end of the line, and tells the subscriber that he may begin: what he sends is heard from then on.
func (s *session) openLine(op call.OpCreate) {
	sh, caller, end := s.sh, s.line.caller, s.line.end
	sh.ask(func() func() {
		var data Session
		err := errors.New("a kernel without access lines")
		if k, ok := sh.e.cfg.Kernel.(AccessKernel); ok {
			if p := caller.PPPoE; p != nil {
				data, err = k.OpenPPPoE(kernel.PPPoESpec{Interface: p.Interface, SessionID: p.SessionID, Peer: p.MAC}, s)
			} else {
				data, err = k.OpenLine(kernel.LineSpec{TTY: caller.TTY.File}, s)
			}
		}
		if err == nil {
			end.Ready()
		}
		return func() {
			if err == nil {
				s.data = data
			}
			s.finished(op, call.Result{Err: err})
		}
	})
}

// leaveLine takes the session out of the table of lines.
func (s *session) leaveLine() {
	delete(s.sh.lines.byID, s.line.id)
	s.sh.e.counts.lines.Add(-1)
	s.sh.checkDrained()
}

// source is who causes what the session causes, for limits of the log.
func (s *session) source() string {
	if s.t != nil {
		return s.t.remote.Addr().String()
	}
	return s.line.caller.Access.Name + " " + s.line.caller.Station()
}

// names are the session's names on a line that is limited.
func (s *session) names(more ...slog.Attr) []slog.Attr {
	if s.t != nil {
		return s.t.names(append([]slog.Attr{slog.Int("session", int(s.id))}, more...)...)
	}
	return append([]slog.Attr{slog.Int("line", int(s.line.id)), slog.String("access", s.line.caller.Name())}, more...)
}

// strange writes a rate-limited line about something that the session's peer caused.
func (s *session) strange(level slog.Level, event, msg string, attrs ...slog.Attr) {
	s.sh.e.strangeBy(level, event, s.source(), msg, s.names(attrs...)...)
}

// serveAccess has the access lines of a policy served.
func (e *Engine) serveAccess(p *policy.Policy) {
	if e.cfg.Access == nil {
		if len(p.LAC.Access) > 0 {
			e.log.Error("subscribers cannot arrive", slog.String("why", "this daemon serves no access lines"))
		}
		return
	}
	e.exec.submit(func() {
		e.serving.Lock()
		defer e.serving.Unlock()
		if e.stopping.Load() || e.policy.Load() != p {
			return // a newer one is on its way
		}
		if err := e.cfg.Access.Serve(p.LAC.Access, e.ring); err != nil {
			e.log.Error("subscribers cannot arrive everywhere", slog.String("why", err.Error()))
		}
	})
}

// leaveAccess serves nobody any more.
func (e *Engine) leaveAccess() {
	if e.cfg.Access == nil {
		return
	}
	e.serving.Lock()
	defer e.serving.Unlock()
	if err := e.cfg.Access.Serve(nil, e.ring); err != nil {
		e.log.Warn("access lines are not closed in good order", slog.String("why", err.Error()))
	}
}

// accessViews are the places at which subscribers arrive, as the API shows them.
func (e *Engine) accessViews() (all []api.Access) {
	if e.cfg.Access == nil {
		return nil
	}
	for _, x := range e.cfg.Access.Counters() {
		v := api.Access{Name: x.Name, Sessions: x.Sessions}
		if c := x.PPPoE; c != nil {
			v.PPPoE = &api.Discovery{
				In: api.DiscoveryTraffic(c.In), Out: api.DiscoveryTraffic(c.Out), Offered: c.Offered, Repeated: c.Repeated,
				RefusedService: c.RefusedService, RefusedLimit: c.RefusedLimit, RefusedOther: c.RefusedOwner, BadLines: c.BadLines,
				Unsent: c.Unsent, Overflowed: c.Overflowed, Dropped: c.Reasons(),
			}
		}
		all = append(all, v)
	}
	return all
}

// wanted adds the lines that a query asks for.
func (l *lines) wanted(q api.Query, p *part) {
	for id, s := range l.byID {
		if (q.Session == 0 || q.Session == id) && q.Call == "" {
			p.wanted = append(p.wanted, s)
		}
	}
}
