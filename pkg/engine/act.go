package engine

import (
	"context"
	"errors"
	"log/slog"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/control"
)

// Act implements the verbs of api.Backend that concern tunnels, sessions, calls and debugs; VerbReload is its owner's.
func (e *Engine) Act(ctx context.Context, a api.Action) (*api.Result, error) {
	if a.Verb == api.VerbDebugStop { // no shard has to do with it
		return e.stopDebugs(a)
	}
	res := &api.Result{APIVersion: api.APIVersion}
	var problem *api.Error
	work := func(s *shard) {
		switch a.Verb {
		case api.VerbTunnelClose:
			problem = s.closeTunnel(a, res)
		case api.VerbSessionClose:
			problem = s.closeSession(a, res)
		case api.VerbCallUp:
			problem = s.callUp(a, res)
		case api.VerbCallDown:
			problem = s.callDown(a, res)
		case api.VerbReload, api.VerbCountersReset, api.VerbDebugStop:
			problem = api.Errorf(api.CodeInternal, "%s is not for the engine", a.Verb)
		default:
			problem = api.Errorf(api.CodeInvalid, "unknown verb %q", a.Verb)
		}
	}
	s := e.shards[0]
	if a.Verb == api.VerbTunnelClose || a.Verb == api.VerbSessionClose {
		s = e.shards[int(a.Tunnel)%len(e.shards)]
	}
	if err := s.in(ctx, func() { work(s) }); errors.Is(err, ErrStopping) {
		return nil, api.Errorf(api.CodeUnavailable, "%s", err)
	} else if err != nil {
		return nil, err // it may be done yet
	}
	if problem != nil {
		return nil, problem
	}
	say(e.log, slog.LevelInfo, "operator: "+res.Message, slog.String("event", "operator"), slog.String("by", a.By))
	return res, nil
}

func (s *shard) closeTunnel(a api.Action, res *api.Result) *api.Error {
	t := s.tunnels[control.TunnelID(a.Tunnel)]
	if t == nil || t.down {
		return api.Errorf(api.CodeNotFound, "no tunnel %d", a.Tunnel)
	}
	res.Changed = true
	res.Message = "tunnel " + t.remote.String() + " is being closed"
	t.reason, t.ordered = stopReason.Text, true
	t.do(control.CmdClose{Result: stopReason})
	return nil
}

func (s *shard) closeSession(a api.Action, res *api.Result) *api.Error {
	var x *session
	if a.Tunnel == 0 {
		if x = s.lines.byID[a.Session]; x == nil {
			return api.Errorf(api.CodeNotFound, "no line %d", a.Session)
		}
	} else {
		t := s.tunnels[control.TunnelID(a.Tunnel)]
		if t == nil {
			return api.Errorf(api.CodeNotFound, "no tunnel %d", a.Tunnel)
		}
		if x = t.sessions[control.SessionID(a.Session)]; x == nil {
			return api.Errorf(api.CodeNotFound, "no session %d in tunnel %d", a.Session, a.Tunnel)
		}
	}
	res.Changed = !x.releasing
	res.Message = "session is being closed"
	x.hangUp("operator", "closed by the operator")
	return nil
}

// callUp dials now (S76).
func (s *shard) callUp(a api.Action, res *api.Result) *api.Error {
	x := s.dialers.byName[nameKey(a.Call)]
	switch {
	case x == nil || x.removed:
		return api.Errorf(api.CodeNotFound, "no call %q is configured", a.Call)
	case x.conf.Passive && x.held:
		x.held = false
		res.Changed, res.Message = true, "call "+x.conf.Name+" waits for its peer again"
		return nil
	case x.conf.Passive:
		return &api.Error{
			Code: api.CodeConflict, Message: "call " + x.conf.Name + " is passive: its peer has no known address",
			Hint: "set peer: in the configuration, or dial from the other side",
		}
	case x.session != nil && !x.session.upSince.IsZero() && !x.session.ending():
		res.Message = "call " + x.conf.Name + " is up already"
		return nil
	}
	x.wanted, x.held = true, false
	x.delay = 0
	x.atOnce = x.atOnce || x.session != nil && x.session.ending() // dial waits for its end
	x.dial()
	res.Changed, res.Message = true, "call "+x.conf.Name+" is being dialled"
	return nil
}

// callDown hangs up and stays down, for the peer's calls too, until asked (S77).
func (s *shard) callDown(a api.Action, res *api.Result) *api.Error {
	x := s.dialers.byName[nameKey(a.Call)]
	if x == nil || x.removed {
		return api.Errorf(api.CodeNotFound, "no call %q is configured", a.Call)
	}
	res.Changed = x.wanted || x.session != nil || !x.held
	x.wanted, x.held = false, true
	delete(s.dialers.riders, x)
	s.due.arm(&x.timer, 0)
	res.Message = "call " + x.conf.Name + " was down already"
	if x.session != nil {
		res.Message = "call " + x.conf.Name + " is being taken down"
		x.session.hangUp("operator", "closed by the operator")
	}
	return nil
}
