package call

import (
	"net/netip"

	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// link runs PPP on a session: a ppp.Link, or for a program of its own, as pppd is one, an outside.
type link interface {
	Receive(now Time, frame []byte, out *ppp.Output)
	Do(now Time, c ppp.Command, out *ppp.Output)
	Expire(now Time, out *ppp.Output)
	Deadline() Time
	View() ppp.View
	Asked() uint32
}

// outside stands for a program that runs PPP. It asks for the program when it knows the peer's address, and says what the program
// tells the call in the words of a ppp.Link.
type outside struct {
	mode ppp.IPv4Mode
	ops  []Op // asked for since the call last looked
	view ppp.View
	no6  bool // what the program has of IPv6 does not count
	dead bool
}

// newOutside asks first for the address that the peer is to have: the program takes it with it, unless it has those of the users.
func newOutside(mode ppp.IPv4Mode, userIPv4 bool, out *ppp.Output) *outside {
	x := &outside{mode: mode, view: ppp.View{Phase: ppp.PhaseEstablish, LCP: "Initial", IPCP: "Initial", IPV6CP: "Initial", CCP: "Initial"}}
	if x.mode == ppp.IPv4Own && !userIPv4 {
		out.Events = append(out.Events, ppp.EvAddressWanted{})
	} else {
		x.ops = append(x.ops, OpRun{})
	}
	return x
}

// Do carries out what can be told to a program: where to begin, and to end.
func (x *outside) Do(_ Time, c ppp.Command, out *ppp.Output) {
	if x.dead {
		return
	}
	switch c := c.(type) {
	case ppp.CmdAddress:
		if !c.Peer.IsValid() {
			x.end(ppp.EvLinkDown{Stage: ppp.StageAddress, Reason: ppp.ReasonNoNetwork}, out)
			return
		}
		x.ops = append(x.ops, OpRun{Peer: c.Peer})
	case ppp.CmdClose:
		x.view.Phase = ppp.PhaseTerminate
		x.ops = append(x.ops, OpHangUp{})
	case ppp.CmdCloseNetwork:
		if c.Proto == ppp.ProtoIPv6 {
			x.closeIPv6(out)
		}
	case ppp.CmdAuthResult, ppp.CmdIdle, ppp.CmdEncryption, ppp.CmdDecryption:
	}
}

// closeIPv6 goes on as if the program had none, for it cannot be told to close one protocol. Without another it ends.
func (x *outside) closeIPv6(out *ppp.Output) {
	x.no6 = true
	if x.mode == ppp.IPv4Off {
		x.end(ppp.EvLinkDown{Stage: ppp.StageAddress, Reason: ppp.ReasonNoNetwork}, out)
		return
	}
	if x.view.IPV6CP == "Opened" {
		x.view.IPV6CP = "Closed"
		out.Events = append(out.Events, ppp.EvNetworkDown{Proto: ppp.ProtoIPv6})
	}
}

// end is the program's end, or that of a link that never had one.
func (x *outside) end(ev ppp.EvLinkDown, out *ppp.Output) {
	if !x.dead {
		x.dead, x.view.Phase, x.view.End = true, ppp.PhaseDead, ev
		out.Events = append(out.Events, ev)
	}
}

// Receive drops what finds its way here: the program reads the session itself.
func (x *outside) Receive(Time, []byte, *ppp.Output) {}

// Expire has nothing to do: the program has the clocks.
func (x *outside) Expire(Time, *ppp.Output) {}

// Deadline is never.
func (x *outside) Deadline() Time { return 0 }

// View is what is known of the link.
func (x *outside) View() ppp.View { return x.view }

// Asked is none: the program judges logins.
func (x *outside) Asked() uint32 { return 0 }

// Ran is what the program of a call tells: a network protocol came up on an interface, for a user with networks behind him.
type Ran struct {
	Interface string
	User      string
	Routes    []netip.Prefix
	ppp.EvNetworkUp
}

// Up tells the call that its program has a network protocol open.
func (c *Call) Up(now Time, r Ran, out *Output) {
	x, ok := c.link.(*outside)
	if !ok || x.dead || c.state != stateLink {
		return
	}
	c.iface, c.user, c.reached = r.Interface, r.User, StageAddress
	if c.attach != stepDone { // the first time
		c.attach = stepDone
		c.wantPrefixes(out)
	}
	c.addRoutes(r.Routes)
	if r.Proto == ppp.ProtoIPv6 && x.no6 {
		return
	}
	x.view.Phase, x.view.LCP = ppp.PhaseNetwork, "Opened"
	if r.Proto == ppp.ProtoIPv6 {
		x.view.IPV6CP = "Opened"
	} else {
		x.view.IPCP = "Opened"
	}
	c.lower().Events = append(c.lower().Events, r.EvNetworkUp)
	c.collect(now, out)
}

// Down tells the call that its program has a network protocol no more.
func (c *Call) Down(now Time, ev ppp.EvNetworkDown, out *Output) {
	x, ok := c.link.(*outside)
	if !ok || x.dead {
		return
	}
	if ev.Proto == ppp.ProtoIPv6 {
		x.view.IPV6CP = "Closed"
	} else {
		x.view.IPCP = "Closed"
	}
	c.lower().Events = append(c.lower().Events, ev)
	c.collect(now, out)
}

// Ending tells the call why its program is about to end. It counts if the session goes first, by the peer's goodbye.
func (c *Call) Ending(ev ppp.EvLinkDown) {
	if x, ok := c.link.(*outside); ok && !x.dead {
		x.view.End = ev
	}
}

// Refuse ends a call whose program has let in a user who may not have it: why names him, for the log.
func (c *Call) Refuse(now Time, why string, out *Output) {
	if x, ok := c.link.(*outside); ok && c.state == stateLink {
		c.refusal, c.full = why, true
		x.end(ppp.EvLinkDown{Stage: ppp.StageAuth, Reason: ppp.ReasonAuthFailed}, c.lower())
		c.collect(now, out)
	}
}

// Exited tells the call that its program has ended. err is why it could not do its work; nil: PPP ended as ev says.
func (c *Call) Exited(now Time, ev ppp.EvLinkDown, err error, out *Output) {
	x, ok := c.link.(*outside)
	if !ok {
		return
	}
	if err != nil {
		x.dead = true
		c.failed(Result{Err: err}, out)
		return
	}
	x.end(ev, c.lower())
	c.collect(now, out)
}
