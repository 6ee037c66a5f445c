package call

import (
	"cmp"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// A subscriber's call goes on here or, by way of another call, at an LNS. Its own machine runs LCP, takes the login and asks where it
// goes; the other, Params.Forward, has no PPP: its session is joined with the subscriber's channel before ICCN says that it may be used.

// route asks where the call goes. A subscriber who begins anew meanwhile is asked about again, once the owner has given up the first.
func (c *Call) route(op OpRoute, out *Output) {
	if x, ok := c.link.(*ppp.Link); ok {
		op.Proxy = x.Proxy()
	}
	if c.routing {
		c.stale = &op
		out.Events = append(out.Events, EvRouteStale{})
		return
	}
	c.routing, c.reached = true, StageForward
	out.Ops = append(out.Ops, op)
}

// handedOver stands for a link that goes on at an LNS: what was known of it then is all that is kept.
type handedOver struct{ view ppp.View }

// Receive, Do and Expire have nobody to tell.
func (h *handedOver) Receive(Time, []byte, *ppp.Output) {}
func (h *handedOver) Do(Time, ppp.Command, *ppp.Output) {}
func (h *handedOver) Expire(Time, *ppp.Output)          {}

// Deadline is never.
func (h *handedOver) Deadline() Time { return 0 }

// View is as the link was.
func (h *handedOver) View() ppp.View { return h.view }

// Asked says that no question is open.
func (h *handedOver) Asked() uint32 { return 0 }

// setACCM has a subscriber's asynchronous line escape what has been agreed on.
func (c *Call) setACCM(send, receive uint32, out *Output) {
	if c.p.Access && c.p.PPP.Line == ppp.LineAsync {
		out.Ops = append(out.Ops, OpACCM{Send: send, Receive: receive})
	}
}

// lapse gives up what is asked about a subscriber whose LCP is not open any more: what an LNS would be told of him holds no more. His login
// follows.
func (c *Call) lapse(out *Output) {
	if c.routing && !c.lapsed {
		c.lapsed = true
		out.Events = append(out.Events, EvRouteStale{})
	}
}

// routeFound goes on with what has been found.
func (c *Call) routeFound(now Time, op OpRoute, r Result, out *Output) {
	again, lapsed := c.stale, c.lapsed
	c.routing, c.stale, c.lapsed = false, nil, false
	if c.state != stateLink {
		return // about to end
	}
	switch {
	case r.Route == RouteBridged: // too late to ask anew: what the subscriber repeats goes to the LNS
		c.state, c.user, c.wasUp = stateBridged, r.User, true
		c.link = &handedOver{c.link.View()}
		out.Events = append(out.Events, EvUp{User: c.user})
	case again != nil:
		c.route(*again, out)
	case lapsed: // until he logs in again
	case r.Route == RouteHere:
		c.here(now, op, r, out)
	case r.Route == RouteRejected && op.LoggedIn:
		c.refusal, c.full, c.reached = r.Why, r.Full, StageUserAuth
		c.link.Do(now, ppp.CmdAuthResult{Attempt: op.Login.Attempt, Message: r.Message}, c.lower())
		c.collect(now, out)
	default:
		c.nowhere(now, r, out)
	}
}

// here goes on with PPP.
func (c *Call) here(now Time, op OpRoute, r Result, out *Output) {
	c.routed = true
	c.configure(now, r.Here)
	if op.LoggedIn {
		c.reached = StageUserAuth

		out.Ops = append(out.Ops, OpAuthorize{Request: op.Login, User: c.user})
		return
	}
	c.reached = StageAddress
	c.link.Do(now, ppp.CmdProceed{Attempt: op.Login.Attempt}, c.lower())
	c.collect(now, out)
}

// configure has other parameters hold from now on, as far as they are about PPP and the interface; nil: none.
func (c *Call) configure(now Time, h *Params) {
	if h == nil {
		return
	}
	p := *h
	p.Name, p.Role, p.Tunnel, p.PeerTunnel, p.Session, p.Reply = c.p.Name, c.p.Role, c.p.Tunnel, c.p.PeerTunnel, c.p.Session, c.p.Reply
	p.Access, p.Routed, p.Forward, p.CloseTimeout = c.p.Access, c.p.Routed, c.p.Forward, c.p.CloseTimeout
	c.p = p
	c.link.Do(now, ppp.CmdConfigure{Config: p.PPP}, c.lower())
}

// Reconfigure has other parameters hold for a call whose PPP runs here: for one that is up, the times that it may last.
func Reconfigure(c *Call, now Time, p *Params, out *Output) {
	if c.state == stateLink {
		c.configure(now, p)
		c.collect(now, out)
	}
}

// nowhere ends PPP in good order: there is nobody to take the call.
func (c *Call) nowhere(now Time, r Result, out *Output) {
	c.state = stateClosing
	c.closing = &EvDown{Stage: StageForward, Cause: cmp.Or(r.Cause, "no-lns"), Text: r.Why}
	c.closeAt = now + c.p.CloseTimeout
	c.link.Do(now, ppp.CmdClose{Text: r.Message}, c.lower())
	c.collect(now, out)
}

// bridged lets the LNS know that it may use the session, now that what it sends finds its way.
func (c *Call) bridged(r Result, out *Output) {
	if c.failed(r, out) {
		return
	}
	c.state, c.wasUp = stateBridged, true
	out.Commands = append(out.Commands, control.CmdConnectSession{Session: c.p.Session, Call: *c.p.Reply})
	c.p.Reply = nil // it is said once
	out.Events = append(out.Events, EvUp{})
	early := c.early
	c.early = nil
	for _, f := range early {
		relay(f, out)
	}
}

// relay passes on a frame that did not come through the kernel's bridge: too short for it, as a datagram of less than
// 14 octets is, or earlier.
func relay(frame []byte, out *Output) {
	if f := ppp.PlainFrame(frame); f != nil {
		out.Events = append(out.Events, EvRelay{f})
	}
}

// Sever tells one half of a subscriber's call that the other has ended, or is to end; r is what the peer is told. The far side ends at
// once. The subscriber's PPP is told when it has been joined, without an answer being waited for: it would not come here.
func (c *Call) Sever(down EvDown, r wire.Result, out *Output) {
	switch {
	case c.p.Forward:
		down.Stage = StageOf(c)
		c.end(down, r, disconnect{}, out)
	case c.state == stateBridged:
		down.Stage = StageUp
		out.Frames = append(out.Frames, ppp.TerminateRequest(1, r.Text))
		why := down.Said.why // what the LNS has told is news for the LAC that the call came from
		if why.code == 0 {
			why = disconnectAdmin
		}
		c.end(down, r, why, out)
	}
}
