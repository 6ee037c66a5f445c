package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/l2tpd/l2tpd/pkg/access"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// placed is the line on which a call that an LNS has asked for is placed (S12, S60; P94-P100). PPP is the LNS's: the kernel carries its
// frames to the line.
type placed struct {
	cancel func() // ends the dialling
	caller access.Caller
	end    access.Line // nil until somebody is there
	data   Session     // the kernel's end of the line; nil until then
	joint  *joint      // through which the session uses that
	watch  *lineWatch  // nil until it is joined with the LNS's session
	died   error       // who was called has hung up before PPP could pass
}

// coder is an error that says what an LNS is told of it.
type coder interface {
	error
	CDN() uint16
}

// place answers an OCRQ, and dials. Until somebody is there OCCN waits.
func (s *session) place(lines []*policy.Access) {
	e, sh := s.sh.e, s.sh
	if e.cfg.Access == nil || e.cfg.Kernel == nil {
		s.refuse(wire.Result{Code: wire.CDNNoFacilitiesTemp}, "calls cannot be placed by this daemon")
		return
	}
	ctx, cancel := context.WithCancel(e.asking)
	p := &placed{cancel: cancel}
	s.placed = p
	s.t.ctl.Do(sh.now(), control.CmdAcceptSession{Session: s.id}, &s.t.out)
	s.t.flush()
	number, subAddress := s.remote.CalledNumber, s.remote.SubAddress
	s.log().Info("placing a call", slog.String("event", "placing"), slog.String("called", number), slog.String("sub_address", subAddress))
	dead := func(err error) { sh.post(func() { s.lineDied(err) }) }
	e.asks.submit(func() {
		caller, end, data, err := e.dialOn(ctx, lines, number, subAddress, dead)
		sh.post(func() { s.answered(p, caller, end, data, err) })
	})
}

// dialOn tries one line after another until a call is there, and gives it to the kernel. It sleeps.
func (e *Engine) dialOn(ctx context.Context, lines []*policy.Access, number, subAddress string, dead func(error)) (
	c access.Caller, l access.Line, data Session, err error,
) {
	for _, a := range lines {
		if c, l, err = e.cfg.Access.Dial(ctx, a.Name, number, subAddress); err == nil || ctx.Err() != nil {
			break
		}
		if r, ok := errors.AsType[coder](err); ok && r.CDN() != wire.CDNNoFacilitiesTemp { // it was dialled: another line would not help
			break
		}
	}
	if err != nil {
		return c, nil, nil, err
	}
	k, ok := e.cfg.Kernel.(AccessKernel)
	if !ok {
		err = errors.New("a kernel without access lines")
	} else {
		data, err = k.OpenLine(kernel.LineSpec{TTY: c.TTY.File}, kernel.Funcs{OnDead: dead})
	}
	if err != nil {
		l.HangUp(err.Error())
	}
	return c, l, data, err
}

// answered: somebody is on the line, or nobody is.
func (s *session) answered(p *placed, c access.Caller, end access.Line, data Session, err error) {
	gone := s.t.sessions[s.id] != s || s.releasing
	switch {
	case gone && err == nil:
		s.sh.e.exec.submit(func() {
			_ = data.Close()
			end.HangUp("the LNS has given up")
		})
	case gone:
	case err != nil:
		p.cancel()
		r := wire.Result{Code: wire.CDNNoFacilitiesTemp, Text: err.Error()}
		if x, ok := errors.AsType[coder](err); ok {
			r.Code = x.CDN()
		}
		s.refuse(r, fmt.Sprintf("no call to %q: %v", s.remote.CalledNumber, err))
	default:
		p.caller, p.end, p.data, p.joint = c, end, data, newJoint(data)
		if p.died == nil {
			s.begin()
		} else {
			s.lineDied(p.died)
		}
	}
}

// lineDied: who was called has hung up, which the kernel may tell before it is known that he was there.
func (s *session) lineDied(err error) {
	const text = "the line has hung up: "
	switch p := s.placed; {
	case s.t.sessions[s.id] != s || s.releasing:
	case s.call != nil:
		s.call.Sever(call.EvDown{Cause: "line-down", Text: text + err.Error()}, wire.Result{Code: wire.CDNLostCarrier}, s.output())
		s.flush()
	case p.end != nil:
		s.refuse(wire.Result{Code: wire.CDNLostCarrier}, text+err.Error())
		p.leave(s.sh)
	default:
		p.died = err
	}
}

// leave is letGo for a session without a call machine, which has nothing to release. p may be nil.
func (p *placed) leave(sh *shard) {
	if p == nil {
		return
	}
	p.cancel()
	if p.end != nil {
		sh.e.exec.submit(func() { _ = p.letGo("the LNS has ended the call") })
	}
}

// letGo ends what has been placed for a session that ends, once. It sleeps.
func (p *placed) letGo(why string) error {
	if p == nil {
		return nil
	}
	p.cancel()
	if p.end == nil {
		return nil
	}
	p.joint.end()
	err := p.data.Close()
	p.end.HangUp(why)
	p.end = nil
	return err
}

// connected is what OCCN says of the line (P203).
func (p *placed) connected() *control.CallInfo {
	t := p.caller.TTY
	return &control.CallInfo{FramingType: wire.FramingAsync, TxSpeed: cmp.Or(t.Speed, uint32(p.caller.Access.TTY.Speed))}
}
