package call

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// lower is where the link puts what it wants, until collect.
func (c *Call) lower() *ppp.Output {
	if c.linkOut == nil {
		c.linkOut = new(ppp.Output)
	}
	return c.linkOut
}

// collect moves what the link put out into out, and follows its events.
func (c *Call) collect(now Time, out *Output) {
	said := c.lower()
	c.linkOut = nil // an event may make the link speak again
	c.holding = c.holding || c.numbersAgain(said.Events)
	if c.holding {
		c.held = append(c.held, said.Frames...)
	} else {
		out.Frames = append(out.Frames, said.Frames...)
	}
	if x, ok := c.link.(*outside); ok {
		out.Ops = append(out.Ops, x.ops...)
		x.ops = nil
	}
	for _, ev := range said.Events {
		if c.ended() {
			return // by an event before this one: OpRelease is the last operation
		}
		c.linkEvent(now, ev, out)
	}
}

// numbersAgain says that with these events the last open NCP goes, so that numbering begins again (P179). The frames that go with
// them must have numbers: the peer follows a numbered frame only, and until it does the kernel drops what it sends.
func (c *Call) numbersAgain(events []ppp.Event) bool {
	if c.state != stateLink || c.numbering == c.numberingAtFirst {
		return false
	}
	ipv4, ipv6, down := c.ipv4, c.ipv6, false
	for _, ev := range events {
		if ev, ok := ev.(ppp.EvNetworkDown); ok {
			down = true
			if ev.Proto == ppp.ProtoIPv6 {
				ipv6 = false
			} else {
				ipv4 = false
			}
		}
	}
	return down && !ipv4 && !ipv6
}

// linkEvent follows one event of the link.
func (c *Call) linkEvent(now Time, ev ppp.Event, out *Output) {
	switch ev := ev.(type) {
	case ppp.EvLinkUp:
		c.tellACCM(accms{send: ev.PeerACCM, receive: ev.ACCM}, out)
		c.setACCM(ev.PeerACCM, ev.ACCM, out)
		c.mru, c.reached = ev.PeerMRU, StageUserAuth
		if ev.Auth == ppp.AuthNone && ev.Answer == ppp.AuthNone {
			c.reached = StageAddress
		}
	case ppp.EvAuthRequest:
		if c.p.Routed && !c.routed {
			c.route(OpRoute{Login: ev, LoggedIn: true}, out)
			return
		}
		out.Ops = append(out.Ops, OpAuthorize{Request: ev, User: c.user})
	case ppp.EvHeld:
		if c.routed { // and negotiated anew
			c.link.Do(now, ppp.CmdProceed(ev), c.lower())
			c.collect(now, out)
			return
		}
		c.route(OpRoute{Login: ppp.EvAuthRequest{Attempt: ev.Attempt}}, out)
	case ppp.EvLCPDown:
		c.lapse(out)
		c.setACCM(ppp.DefaultACCM, ppp.DefaultACCM, out)
	case ppp.EvUnjudged:
		out.Events = append(out.Events, EvUnchecked{Why: c.refusal})
		c.refusal, c.unavailable = "", false // it is not why the call may end later
	case ppp.EvAuthenticated:
		c.reached = StageAddress
		c.wantPrefixes(out) // before the unit: the interface waits for it
		c.wantUnit(out)
	case ppp.EvEncryptionWanted:
		c.armed = ev.Attempt
		out.Ops = append(out.Ops, OpArm{Wanted: ev, MRU: int(c.p.PPP.MRU)})
	case ppp.EvEncryptionUp:
		out.Ops = append(out.Ops, OpEncrypt{Attempt: c.armed, Required: ev.Required})
	case ppp.EvEncryptionDown:
		out.Ops = append(out.Ops, OpDisarm{})
	case ppp.EvDecryptionCheck:
		out.Ops = append(out.Ops, OpDecryption(ev))
	case ppp.EvAddressWanted:
		c.answerAddress(now, ev, out)
	case ppp.EvNetworkUp:
		c.networkUp(ev, out)
	case ppp.EvNetworkDown:
		c.networkDown(ev, out)
	case ppp.EvIdleCheck:
		if c.attach != stepDone { // nothing could have moved yet
			c.link.Do(now, ppp.CmdIdle{}, c.lower())
			c.collect(now, out)
			return
		}
		out.Ops = append(out.Ops, OpIdle{})
	case ppp.EvLinkDown:
		c.linkDown(ev, out)
	case ppp.EvAnomaly:
		out.Events = append(out.Events, EvAnomaly{Text: ev.Text})
	}
}

// accms are the maps of a LAC: for what it sends to the caller, and for what it receives.
type accms struct{ send, receive uint32 }

// tellACCM tells the LAC of an asynchronous line which characters are escaped, unless that is what it does already: it begins with all
// of them (RFC 2661, 4.4.6; P205).
func (c *Call) tellACCM(x accms, out *Output) {
	if !c.async || c.p.Role.IsLAC() || !c.control || x == c.accms {
		return
	}
	c.accms = x
	out.Commands = append(out.Commands, control.CmdSendSLI{Session: c.p.Session, Send: x.send, Receive: x.receive})
}

// wantPrefixes asks for the peer's IPv6 prefixes, once it is known who that is.
func (c *Call) wantPrefixes(out *Output) {
	if c.p.Prefixes && !c.prefixing && !c.prefix.IsValid() && !c.behind.IsValid() {
		c.prefixing = true
		out.Ops = append(out.Ops, OpPrefixes{User: c.user})
	}
}

// wantUnit asks for channel and unit, once: they come after authentication, so that failing logins cost neither.
func (c *Call) wantUnit(out *Output) {
	if c.attach == stepNone && c.state == stateLink {
		c.attach = stepRunning
		out.Ops = append(out.Ops, OpAttach{Interface: c.p.Interface, MTU: c.mtu()})
	}
}

// answerAddress gives the peer its configured address, or asks for one.
func (c *Call) answerAddress(now Time, ev ppp.EvAddressWanted, out *Output) {
	switch {
	case c.p.Peer.IsValid():
		c.link.Do(now, ppp.CmdAddress{Peer: c.p.Peer}, c.lower())
		c.collect(now, out)
	case c.userIPv4.IsValid():
		c.link.Do(now, ppp.CmdAddress{Peer: c.userIPv4}, c.lower())
		c.collect(now, out)
	default:
		c.finding = true
		out.Ops = append(out.Ops, OpAddress{User: c.user, Wanted: ev.Wanted})
	}
}

// networkUp remembers what an NCP agreed on and applies it as soon as there is an interface.
func (c *Call) networkUp(ev ppp.EvNetworkUp, out *Output) {
	if ev.Proto == ppp.ProtoIPv6 {
		c.ipv6, c.local6, c.remote6 = true, ev.Local, ev.Peer
		if c.noAddress != "" {
			c.withoutIPv4(out)
		}
	} else {
		c.ipv4, c.local, c.remote = true, ev.Local, ev.Peer
	}
	if c.p.Sequencing == policy.SequencingStartup && c.numbering.Send && !c.numbering.Require {
		c.numbering.Send = false // S66, P179: numbered only until the first NCP opens
		out.Ops = append(out.Ops, OpSequencing{Sequencing: c.numbering})
	}
	c.wantUnit(out)
	c.apply(out)
}

// networkDown stops the packets of a protocol whose NCP has left Opened.
func (c *Call) networkDown(ev ppp.EvNetworkDown, out *Output) {
	if ev.Proto == ppp.ProtoIPv6 {
		c.ipv6, c.local6, c.remote6 = false, netip.Addr{}, netip.Addr{}
	} else {
		c.ipv4, c.local, c.remote = false, netip.Addr{}, netip.Addr{}
	}
	if c.state != stateLink {
		return // all of it is about to go
	}
	if !c.ipv4 && !c.ipv6 && c.numbering != c.numberingAtFirst {
		c.numbering = c.numberingAtFirst // P179: the negotiation that follows is numbered again
		out.Ops = append(out.Ops, OpSequencing{Sequencing: c.numbering})
	}
	if c.applied {
		out.Ops = append(out.Ops, OpNetwork{Network: c.network()})
	}
}

// apply asks for the desired network state once the unit exists.
func (c *Call) apply(out *Output) {
	if c.attach != stepDone || (!c.ipv4 && !c.ipv6) || c.state != stateLink || (c.finding || c.prefixing) && !c.wasUp {
		return
	}
	c.applied = true
	out.Ops = append(out.Ops, OpNetwork{Network: c.network()})
}

func (c *Call) network() Network {
	n := Network{
		Interface: c.iface, MTU: c.mtu(), Local: c.local, Peer: c.remote, LocalIPv6: c.local6, PeerIPv6: c.remote6,
		IPv4: c.ipv4, IPv6: c.ipv6, Routes: c.routes, Metric: c.p.Metric, Masquerade: c.p.Masquerade,
		MSSClamp: c.p.MSSClamp, Endpoint: c.p.Endpoint,
	}
	if c.ipv6 {
		n.Link, n.Delegated, n.IPv6DNS = c.prefix, c.behind, c.p.IPv6DNS
		for _, p := range []netip.Prefix{c.prefix, c.behind} {
			if p.IsValid() {
				n.Routes = append(slices.Clip(n.Routes), p)
			}
		}
	}
	return n
}

// Done takes the result of the oldest operation that has not been answered yet.
func (c *Call) Done(now Time, op Op, r Result, out *Output) {
	if _, ok := op.(OpRelease); ok {
		c.state = stateGone
		out.Events = append(out.Events, EvGone{})
		return
	}
	if c.ended() {
		return // what it made is taken back by OpRelease, which comes after it
	}
	switch op := op.(type) {
	case OpCreate:
		c.created(now, r, out)
	case OpAttach:
		if c.failed(r, out) {
			return
		}
		c.attach, c.iface = stepDone, r.Interface
		c.apply(out)
	case OpSequencing:
		if r.Err != nil {
			out.Events = append(out.Events, EvAnomaly{Text: r.Err.Error()})
		}
		c.renumbering = false
		out.Frames = append(out.Frames, c.held...)
		c.held, c.holding = nil, false
		if c.state == stateSetup {
			c.startLink(now, out)
		}
	case OpNetwork:
		c.networkApplied(now, op, r, out)
	case OpAuthorize:
		c.authorized(now, op, r, out)
	case OpAddress:
		if !c.failed(r, out) && c.state == stateLink {
			c.addressed(now, r, out)
		}
	case OpPrefixes:
		c.prefixed(now, r, out)
	case OpArm:
		c.encrypted(now, op.Wanted.Attempt, r, out)
	case OpEncrypt:
		if r.Err != nil {
			c.encrypted(now, op.Attempt, r, out)
		}
	case OpDisarm, OpACCM:
		if r.Err != nil {
			out.Events = append(out.Events, EvAnomaly{Text: r.Err.Error()})
		}
	case OpDecryption:
		c.decrypts(now, op, r, out)
	case OpIdle:
		if c.state == stateLink {
			c.link.Do(now, ppp.CmdIdle{Idle: r.Idle}, c.lower())
			c.collect(now, out)
		}
	case OpRun:
		c.failed(r, out)
	case OpRoute:
		c.routeFound(now, op, r, out)
	case OpBridge:
		c.bridged(r, out)
	case OpHangUp, OpRelease:
	}
}

// addressed gives the peer its address. Without one, IPv6 may go on alone (P265). But a caller whom an exhausted pool leaves with no
// more than a link-local address is better told so: another LNS may have what it needs (P209).
func (c *Call) addressed(now Time, r Result, out *Output) {
	c.finding, c.noAddress = false, ""
	if !r.Address.IsValid() {
		c.noAddress = cmp.Or(r.Message, "there is no address for the peer")
	}
	c.link.Do(now, ppp.CmdAddress{Peer: r.Address}, c.lower())
	switch {
	case c.noAddress == "":
	case r.Full && !c.prefix.IsValid() && !c.behind.IsValid():
		c.link.Do(now, ppp.CmdCloseNetwork{Proto: ppp.ProtoIPv6}, c.lower())
	case c.ipv6:
		c.withoutIPv4(out)
	}
	c.collect(now, out)
	if !c.applied {
		c.apply(out)
	}
}

func (c *Call) withoutIPv4(out *Output) {
	out.Events = append(out.Events, EvAnomaly{Text: "the call goes on without IPv4: " + c.noAddress})
}

// encrypted tells the link what the kernel says of an attempt to encrypt.
func (c *Call) encrypted(now Time, attempt uint32, r Result, out *Output) {
	if c.state != stateLink {
		return
	}
	if r.Err != nil {
		out.Events = append(out.Events, EvAnomaly{Text: r.Err.Error()})
	}
	c.link.Do(now, ppp.CmdEncryption{Attempt: attempt, OK: r.Err == nil}, c.lower())
	c.collect(now, out)
}

// decrypts tells the link whether the kernel still decrypts. A kernel that does not say so is asked again.
func (c *Call) decrypts(now Time, op OpDecryption, r Result, out *Output) {
	switch {
	case c.state != stateLink:
	case r.Err != nil:
		out.Events = append(out.Events, EvAnomaly{Text: r.Err.Error()})
	default:
		c.link.Do(now, ppp.CmdDecryption{Attempt: op.Attempt, Broken: r.Broken}, c.lower())
		c.collect(now, out)
	}
}

// prefixed takes the peer's IPv6 prefixes. Without those that it should have, IPv6 is closed: hosts would have addresses that lead
// nowhere.
func (c *Call) prefixed(now Time, r Result, out *Output) {
	c.prefixing, c.prefix, c.behind = false, r.Link, r.Delegated
	why := r.Message
	if r.Err != nil {
		why = r.Err.Error()
	}
	if why != "" && c.state == stateLink {
		out.Events = append(out.Events, EvAnomaly{Text: "the call goes on without IPv6: " + why})
		c.link.Do(now, ppp.CmdCloseNetwork{Proto: ppp.ProtoIPv6}, c.lower())
		c.collect(now, out)
	}
	if !c.applied {
		c.apply(out)
	}
}

// created lets the peer know that it may use the session, now that it can.
func (c *Call) created(now Time, r Result, out *Output) {
	if c.failed(r, out) {
		return
	}
	c.createdOK = true
	switch {
	case c.p.Forward:
		out.Ops = append(out.Ops, OpBridge{})
		return
	case c.p.Access:
		c.startLink(now, out)
		return
	}
	reply := *c.p.Reply
	c.p.Reply = nil // it is said once
	switch c.p.Role {
	case control.LNSIncoming:
		out.Commands = append(out.Commands, control.CmdAcceptSession{Session: c.p.Session, Call: reply})
	case control.LACIncoming:
		out.Commands = append(out.Commands, control.CmdConnectSession{Session: c.p.Session, Call: reply})
	case control.LACOutgoing: // a virtual call: there is no line to wait for
		out.Commands = append(out.Commands,
			control.CmdAcceptSession{Session: c.p.Session, Call: reply},
			control.CmdConnectSession{Session: c.p.Session, Call: reply})
	case control.LNSOutgoing:
	}
	c.startLink(now, out)
}

// failed ends the call if the kernel refused something it cannot live without.
func (c *Call) failed(r Result, out *Output) bool {
	if r.Err == nil {
		return false
	}
	c.end(EvDown{Stage: StageKernel, Cause: "kernel", Text: r.Err.Error()},
		wire.Result{Code: wire.CDNError, Error: wire.ErrCodeResources, HasError: true}, disconnect{}, out)
	return true
}

func (c *Call) authorized(now Time, op OpAuthorize, r Result, out *Output) {
	if c.link.Asked() != op.Request.Attempt {
		return // the peer has begun anew meanwhile
	}
	if r.Err != nil {
		r.OK, r.Message = false, "authentication is not available"
		out.Events = append(out.Events, EvAnomaly{Text: "authorize: " + r.Err.Error()})
	}
	if c.state != stateLink {
		return
	}
	c.refusal, c.full, c.unavailable = "", r.Full, r.Unavailable
	if !r.OK {
		c.refusal = r.Why
	} else {
		c.user, c.userIPv4 = r.User, r.UserIPv4
		c.addRoutes(r.Routes)
		c.configure(now, r.Here)
	}
	c.link.Do(now, ppp.CmdAuthResult{
		Attempt: op.Request.Attempt, OK: r.OK, Message: r.Message, Success: r.Success, Keys: r.Keys, Unjudged: r.Unavailable,
	}, c.lower())
	c.collect(now, out)
}

// addRoutes takes over the networks behind a user.
func (c *Call) addRoutes(routes []netip.Prefix) {
	for _, p := range routes {
		if !slices.Contains(c.routes, p) {
			c.routes = append(c.routes, p)
		}
	}
}

func (c *Call) networkApplied(now Time, op OpNetwork, r Result, out *Output) {
	if r.NoIPv6 != nil && r.Err == nil && c.state == stateLink { // each protocol for itself (P265)
		out.Events = append(out.Events, EvAnomaly{Text: "the call goes on without IPv6: " + r.NoIPv6.Error()})
		c.link.Do(now, ppp.CmdCloseNetwork{Proto: ppp.ProtoIPv6}, c.lower())
		c.collect(now, out)
		if !op.Network.IPv4 {
			return
		}
	}
	if r.Err != nil && !c.wasUp {
		c.end(EvDown{Stage: StageAddress, Cause: "network", Text: r.Err.Error()},
			wire.Result{Code: wire.CDNNoFacilitiesTemp}, disconnect{}, out)
		return
	}
	if r.Err != nil {
		out.Events = append(out.Events, EvAnomaly{Text: r.Err.Error()})
		return
	}
	if r.NoPrefix != nil {
		out.Events = append(out.Events, EvAnomaly{Text: "the peer is not told its IPv6 prefixes: " + r.NoPrefix.Error()})
	}
	if !c.wasUp && (op.Network.IPv4 || op.Network.IPv6) {
		c.wasUp = true
		out.Events = append(out.Events, EvUp{
			Interface: c.iface, User: c.user, Local: c.local, Peer: c.remote, Link: c.prefix, Delegated: c.behind,
		})
	}
}

// linkDown ends the call with the reason PPP gave (P57, P209).
func (c *Call) linkDown(ev ppp.EvLinkDown, out *Output) {
	how := c.reason(ev)
	d := how.disconnect
	if ev.Reason == ppp.ReasonPeer {
		d.direction = byPeer
	}
	c.end(c.explain(ev), wire.Result{Code: how.code, Text: how.text}, d, out)
}

// reason is how the end of PPP is told.
func (c *Call) reason(ev ppp.EvLinkDown) ending {
	how := reasons[ev.Reason]
	switch {
	case ev.Reason != ppp.ReasonAuthFailed:
	case c.full:
		how = overLimit
	case c.unavailable:
		how = noJudge
	}
	if ev.Reason == ppp.ReasonNoNetwork && c.noAddress != "" {
		how.text = c.noAddress
	}
	return how
}

// explain puts the end of PPP into words.
func (c *Call) explain(ev ppp.EvLinkDown) EvDown {
	how := c.reason(ev)
	down := EvDown{Cause: how.cause, Text: how.text, ByPeer: ev.Peer, Idle: ev.Reason == ppp.ReasonIdle}
	if ev.Reason == ppp.ReasonAuthFailed && c.refusal != "" {
		down.Text = c.refusal
	}
	switch ev.Stage {
	case ppp.StageLCP:
		down.Stage = StageLCP
	case ppp.StageAuth:
		down.Stage = StageUserAuth
		if c.reached == StageForward { // what he has shown is with an LNS, or was when he left
			down.Stage = StageForward
		}
	case ppp.StageAddress:
		down.Stage = StageAddress
	case ppp.StageUp:
		down.Stage = StageAddress // which the interface has not got yet
	}
	if c.wasUp {
		down.Stage = StageUp
	}
	if ev.Text != "" {
		down.Text += ": " + ev.Text
	}
	return down
}

// ending is how one reason of PPP is told: to the log, in the CDN, in the PPP Disconnect Cause AVP.
type ending struct {
	cause, text string
	code        uint16
	disconnect  disconnect
}

var reasons = map[ppp.Reason]ending{
	ppp.ReasonNone:          {"unknown", "PPP ended", wire.CDNAdmin, disconnect{}},
	ppp.ReasonLocal:         {"local", "PPP was closed here", wire.CDNAdmin, disconnect{3, ppp.ProtoLCP, byUs}},
	ppp.ReasonPeer:          {"peer-terminate", "the peer ended PPP", wire.CDNAdmin, disconnect{3, ppp.ProtoLCP, byPeer}},
	ppp.ReasonNoAnswer:      {"lcp-no-answer", "the peer does not answer LCP", wire.CDNNoFraming, disconnect{5, ppp.ProtoLCP, global}},
	ppp.ReasonNoAgreement:   {"lcp-no-agreement", "LCP options could not be agreed on", wire.CDNNoFraming, disconnect{5, ppp.ProtoLCP, global}},
	ppp.ReasonAuthRefused:   {"auth-refused", "no authentication protocol could be agreed on", wire.CDNAdmin, disconnect{15, ppp.ProtoLCP, byPeer}},
	ppp.ReasonAuthFailed:    {"auth-failed", "wrong user name or password", wire.CDNAdmin, disconnect{16, 0, byPeer}},
	ppp.ReasonAuthTimeout:   {"auth-timeout", "authentication was not finished in time", wire.CDNAdmin, disconnect{13, 0, global}},
	ppp.ReasonEcho:          {"echo-failed", "LCP echo requests are not answered", wire.CDNLostCarrier, disconnect{8, ppp.ProtoLCP, global}},
	ppp.ReasonIdle:          {"idle", "the idle time is over", wire.CDNAdmin, disconnect{1, 0, global}},
	ppp.ReasonSessionTime:   {"session-time", "the session time is over", wire.CDNAdmin, disconnect{1, 0, global}},
	ppp.ReasonLoop:          {"loop", "the line is looped back", wire.CDNLostCarrier, disconnect{7, ppp.ProtoLCP, global}},
	ppp.ReasonNoNetwork:     {"no-address", "no network protocol could be agreed on", wire.CDNNoFacilitiesTemp, disconnect{18, 0, global}},
	ppp.ReasonProtocolError: {"protocol-reject", "the peer rejected a protocol that is needed", wire.CDNAdmin, disconnect{18, 0, byPeer}},
	ppp.ReasonProxyLCP:      {"proxy-lcp", "LCP of the LAC does not hold, and may not begin anew", wire.CDNNoFraming, disconnect{2, ppp.ProtoLCP, global}},
	ppp.ReasonNoEncryption:  {"no-encryption", "encryption is required and could not be agreed on", wire.CDNAdmin, disconnect{4, ppp.ProtoCCP, byPeer}},
	ppp.ReasonDecryption:    {"decryption-failed", "the peer's encrypted packets cannot be decrypted any more", wire.CDNLostCarrier, disconnect{}},
}

// overLimit is how the end of a login is told that was right and one too many.
var overLimit = ending{"user-limit", "the user may have no more sessions", wire.CDNNoFacilitiesTemp, disconnectAdmin}

// noJudge is how the end of a login is told about which nobody could be asked.
var noJudge = ending{"auth-unavailable", "nobody could be asked about the login", wire.CDNNoFacilitiesTemp, disconnect{}}

// direction of a disconnect cause (RFC 3145, 2.1).
type direction uint8

const (
	global direction = iota
	byPeer           // at the peer's request
	byUs             // at our request
)

// disconnect is a PPP Disconnect Cause (RFC 3145): code, control protocol, direction. Code 0 is not sent.
type disconnect struct {
	code      uint16
	protocol  ppp.Protocol
	direction direction
}

var disconnectAdmin = disconnect{code: 1}

// append adds the value of the AVP, nothing when there is no information.
func (d disconnect) append(b []byte) []byte {
	if d.code == 0 {
		return b
	}
	b = binary.BigEndian.AppendUint16(b, d.code)
	b = binary.BigEndian.AppendUint16(b, uint16(d.protocol))
	return append(b, byte(d.direction))
}
