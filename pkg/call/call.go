package call

import (
	"net/netip"
	"time"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// Time is an instant: nanoseconds on the machine's boot-time clock. Zero in a deadline means "no deadline".
type Time = time.Duration

// maxEarly bounds the frames held for a link that has not begun: LCP may overtake ICCN, and the peer repeats it anyway.
const maxEarly = 16

// outsideCloseTimeout is how long an ordered end waits for a program, which has its own patience with the peer.
const outsideCloseTimeout = 15 * time.Second

// Params is what one call needs to know. It is copied on use; what it points to must not change.
type Params struct {
	Name         string // of the configured call; empty for a temporary one
	Role         control.Role
	Tunnel       control.TunnelID
	PeerTunnel   control.TunnelID
	Session      control.SessionID
	Reply        *control.CallInfo // what ICRP, ICCN, OCRP or OCCN say for us
	Sequencing   policy.Sequencing
	PPP          *ppp.Config
	Outside      bool   // PPP is run by a program: OpRun
	UserIPv4     bool   // Outside: there is no address but those of users, which the program knows
	Access       bool   // a subscriber's line, and no session of a tunnel: PPP begins as soon as the kernel has it
	Routed       bool   // where the call goes is asked once it is known whose it is: OpRoute
	Forward      bool   // LACIncoming: the far side of another call, whose channel it is joined with: OpBridge
	Interface    string // wanted interface name; empty: the kernel's
	Prefixes     bool   // the peer may get IPv6 prefixes: ask OpPrefixes
	IPv6DNS      []netip.Addr
	MTU          int        // largest inner packet that the outer path carries unfragmented
	Peer         netip.Addr // address for the peer; invalid: ask OpAddress
	Routes       []netip.Prefix
	Metric       int
	Masquerade   bool
	MSSClamp     bool
	Endpoint     netip.Addr    // outer address of the tunnel's peer
	CloseTimeout time.Duration // how long an ordered end waits for Terminate-Ack; 0 means 3 s
}

// Sequencing are the data numbering switches of the kernel session.
type Sequencing struct{ Send, Require, LNS bool }

// Network is the desired state of the call's interface.
type Network struct {
	Interface           string
	MTU                 int
	Local, Peer         netip.Addr
	LocalIPv6, PeerIPv6 netip.Addr
	IPv4, IPv6          bool // which network protocols pass
	Routes              []netip.Prefix
	Metric              int
	Masquerade          bool
	MSSClamp            bool
	Endpoint            netip.Addr
	Link, Delegated     netip.Prefix // for the peer by router advertisement and by DHCPv6; invalid: none
	IPv6DNS             []netip.Addr
}

// Op is an operation for the owner. Operations of one call are carried out one after the other, in order; each ends with
// Done, in the same order. The concrete types are the Op… structs.
type Op interface{ op() }

// Operations.
type (
	// OpCreate makes the kernel session with its PPPoX socket.
	OpCreate struct {
		Session, Peer control.SessionID
		Sequencing    Sequencing
	}
	// OpAttach gives the session a channel and a unit.
	OpAttach struct {
		Interface string
		MTU       int
	}
	// OpSequencing switches the numbering of a live session.
	OpSequencing struct{ Sequencing Sequencing }
	// OpNetwork brings the interface to the desired state and lets the open protocols pass.
	OpNetwork struct{ Network Network }
	// OpAuthorize checks credentials.
	OpAuthorize struct {
		Request ppp.EvAuthRequest
		User    string // who the call belongs to since its first login; another user may not take it over
	}
	// OpAddress finds an address for the peer, named User if it has been authenticated.
	OpAddress struct {
		User   string
		Wanted netip.Addr
	}
	// OpPrefixes finds IPv6 prefixes for the peer, named User if it has been authenticated.
	OpPrefixes struct{ User string }
	// OpArm gives the interface the keys of MPPE. MRU is the most that the peer may send, in octets.
	OpArm struct {
		Wanted ppp.EvEncryptionWanted
		MRU    int
	}
	// OpEncrypt says that CCP is open; with Required nothing may leave in clear any more.
	OpEncrypt struct {
		Attempt  uint32 // the OpArm's that it belongs to
		Required bool
	}
	// OpDisarm ends encryption and throws the keys away.
	OpDisarm struct{}
	// OpDecryption asks whether the kernel has given up decrypting.
	OpDecryption struct{ Attempt uint32 }
	// OpIdle asks for how long no user data has moved.
	OpIdle struct{}
	// OpRun hands the session to a program that runs PPP; Peer is the address for the peer, if there is one to give.
	OpRun struct{ Peer netip.Addr }
	// OpHangUp asks that program to end PPP in good order.
	OpHangUp struct{}
	// OpRoute finds out where a subscriber's call goes, and takes it there. LoggedIn says that Login is what he has shown, and not
	// judged; Proxy is what an LNS is told of him.
	OpRoute struct {
		Login    ppp.EvAuthRequest
		LoggedIn bool
		Proxy    *ppp.Proxy
	}
	// OpACCM says which characters an asynchronous line escapes, and drops.
	OpACCM struct{ Send, Receive uint32 }
	// OpBridge joins the session's channel with that of the call that it is the far side of.
	OpBridge struct{}
	// OpRelease takes everything back: network state, unit, kernel session, address. It is the last operation of a call.
	OpRelease struct{}
)

func (OpCreate) op()     {}
func (OpAttach) op()     {}
func (OpSequencing) op() {}
func (OpNetwork) op()    {}
func (OpAuthorize) op()  {}
func (OpAddress) op()    {}
func (OpPrefixes) op()   {}
func (OpArm) op()        {}
func (OpEncrypt) op()    {}
func (OpDisarm) op()     {}
func (OpDecryption) op() {}
func (OpIdle) op()       {}
func (OpRun) op()        {}
func (OpHangUp) op()     {}
func (OpRoute) op()      {}
func (OpBridge) op()     {}
func (OpACCM) op()       {}
func (OpRelease) op()    {}

// Result is the outcome of an operation; only the fields that its kind names are looked at.
type Result struct {
	Err       error
	Interface string // OpAttach: the name the unit got
	OK        bool   // OpAuthorize
	Message   string // OpAuthorize: for the peer; OpAddress, OpPrefixes: why there is none
	Why       string // OpAuthorize: for the log when not OK, one sentence that names the user; OpRoute: the same
	Cause     string // OpRoute, RouteNowhere: of the EvDown; empty: "no-lns"
	// Unavailable: OpAuthorize: not OK because nobody could be asked.
	Unavailable bool
	Full        bool           // OpAuthorize: not OK because of a limit, the credentials are right; OpAddress: the pool is exhausted
	Success     string         // OpAuthorize: MS-CHAPv2's authenticator response
	Keys        ppp.Keys       // OpAuthorize: what MPPE starts from, with the MS-CHAPs
	User        string         // OpAuthorize: canonical name
	UserIPv4    netip.Addr     // OpAuthorize: the user's fixed address
	Routes      []netip.Prefix // OpAuthorize: networks behind the user
	Link        netip.Prefix   // OpPrefixes: invalid when the peer gets none
	Delegated   netip.Prefix   // OpPrefixes: the same
	Address     netip.Addr     // OpAddress: invalid when there is none
	Broken      bool           // OpDecryption: it has
	Idle        time.Duration  // OpIdle
	NoIPv6      error          // OpNetwork: IPv6 alone could not be set, and why
	NoPrefix    error          // OpNetwork: the peer cannot be told its prefixes, and why
	Route       Route          // OpRoute
	Here        *Params        // OpRoute with RouteHere, OpAuthorize: what holds for PPP and the interface from now on; nil: what did
}

// Route is where a subscriber's call goes.
type Route uint8

// Routes.
const (
	RouteNowhere  Route = iota // no LNS has taken it: Result.Why says so
	RouteHere                  // PPP ends here
	RouteBridged               // to an LNS: the kernel joins the two channels
	RouteRejected              // a login that is not wanted
)

// Stage names the part of a set-up in which a call ended.
type Stage uint8

// Stages, in the order in which a call goes through them.
const (
	StageTransport Stage = iota // no answer from the peer
	StageTunnelAuth
	StageTunnel  // the control connection ended or was refused otherwise
	StageSession // the session was refused
	StageKernel  // the kernel refused an object
	StageLCP
	StageUserAuth
	StageForward // no LNS has taken the subscriber's call
	StageAddress
	StageUp // the call had been up
)

// String names the stage in the operator's words.
func (s Stage) String() string {
	switch s {
	case StageTransport:
		return "transport"
	case StageTunnelAuth:
		return "tunnel authentication"
	case StageTunnel:
		return "tunnel"
	case StageSession:
		return "session"
	case StageKernel:
		return "kernel"
	case StageLCP:
		return "LCP"
	case StageUserAuth:
		return "user authentication"
	case StageForward:
		return "forwarding"
	case StageAddress:
		return "address"
	case StageUp:
		return "up"
	}
	return "unknown"
}

// Event is something the owner must know. The concrete types are the Ev… structs.
type Event interface{ event() }

// Events.
type (
	// EvUp: the first network protocol passes packets. Sent once.
	EvUp struct {
		Interface   string
		User        string
		Local, Peer netip.Addr
		Link        netip.Prefix
		Delegated   netip.Prefix
	}
	// EvDown: the call is ending; its resources are being released. Sent once.
	EvDown struct {
		Stage  Stage
		Cause  string // short stable name for logs and counters: "peer-terminate", "no-answer", ...
		Text   string // one explaining sentence, with the other side's words
		Asked  bool   // the owner asked for it
		ByPeer bool
		Idle   bool // idle time over: dial on demand may arm itself again
		// TryAnother: the peer is full and says so (P58). Elsewhere is where it says to go (P170); invalid: it does not.
		TryAnother bool
		Elsewhere  netip.Addr
		Said       Said // by the peer's CDN
	}
	// EvGone: everything is released. Sent once, last.
	EvGone struct{}
	// EvRouteStale: the subscriber has begun anew while OpRoute is at work. It is to come to an end, and will be asked again.
	EvRouteStale struct{}
	// EvUnchecked: the user of a call past its login was to be checked again, and nobody could do it: the call goes on. Why is one
	// sentence that names him.
	EvUnchecked struct{ Why string }
	// EvRelay: a frame of a bridged channel came, and not through the kernel's bridge. It is for the other one, and plain.
	EvRelay struct{ Frame []byte }
	// EvAnomaly: odd but harmless.
	EvAnomaly struct{ Text string }
)

func (EvUp) event()         {}
func (EvDown) event()       {}
func (EvGone) event()       {}
func (EvRouteStale) event() {}
func (EvUnchecked) event()  {}
func (EvRelay) event()      {}
func (EvAnomaly) event()    {}

// Output is what a step asks its owner to do, in this order: give Commands to the tunnel, send Frames on the session, begin
// Ops, hand Events up.
type Output struct {
	Commands []control.Command
	Frames   [][]byte
	Ops      []Op
	Events   []Event
}

// Reset empties o and keeps its memory.
func (o *Output) Reset() {
	clear(o.Commands)
	clear(o.Frames)
	clear(o.Ops)
	clear(o.Events)
	o.Commands, o.Frames, o.Ops, o.Events = o.Commands[:0], o.Frames[:0], o.Ops[:0], o.Events[:0]
}

// Call is one call. It is not safe for concurrent use.
type Call struct {
	p Params

	peer        control.SessionID
	state       state
	reached     Stage  // of PPP: LCP, user authentication, address
	armed       uint32 // the attempt of the last OpArm
	accms       accms  // that the LAC uses
	mru         uint16
	attach      step
	createdOK   bool // the kernel session exists
	sessionUp   bool // ICCN or OCCN has passed
	async       bool // the LAC must be told which characters are escaped
	renumbering bool // the numbering that ICCN or OCCN asked for is being set
	finding     bool // OpAddress is not answered: until then the call is not up, it may have to end
	prefixing   bool // OpPrefixes is not answered: the same
	full        bool // the peer's login was refused because of a limit
	unavailable bool // it was refused because nobody could be asked
	control     bool // the tunnel still knows the session
	applied     bool // a Network has been applied
	wasUp       bool
	holding     bool // frames go to held
	routing     bool // OpRoute is not answered
	routed      bool // it goes on here
	lapsed      bool // what it asks holds no more
	ipv4, ipv6  bool
	numbering   Sequencing
	// numberingAtFirst is what numbering was when PPP began.
	numberingAtFirst Sequencing

	noAddress string // why there was none for the peer
	refusal   string // why the peer's login was refused, for the log
	iface     string
	held      [][]byte    // frames of a negotiation that begins anew, until they can be numbered; nil: there are none to hold
	stale     *OpRoute    // what has to be asked instead of what is, for the subscriber has begun anew; nil: nothing
	link      link        // nil until PPP begins
	linkOut   *ppp.Output // of the step that is under way; nil: nothing
	early     [][]byte    // frames that came before the link, or the bridge
	user      string
	userIPv4  netip.Addr
	routes    []netip.Prefix
	local     netip.Addr
	remote    netip.Addr
	local6    netip.Addr
	remote6   netip.Addr
	prefix    netip.Prefix
	behind    netip.Prefix

	closeAt Time    // deadline of an ordered end
	closing *EvDown // nil before it
}

// state is where the call is between offer and release.
type state uint8

const (
	stateSetup     state = iota // session and kernel objects are being made
	stateLink                   // PPP runs
	stateBridged                // the kernel joins its channel with another call's
	stateClosing                // Terminate-Request is out
	stateReleasing              // OpRelease is out
	stateGone
)

// step is the progress of an operation that happens at most once.
type step uint8

const (
	stepNone step = iota
	stepRunning
	stepDone
)

// New makes the machine of a session whose peer id is known: after EvSessionOffered or EvSessionReplied. It asks for the
// kernel session at once: the kernel object exists before the message that lets the peer use it.
func New(p Params, peer control.SessionID, required bool, out *Output) *Call {
	c := &Call{p: p, peer: peer, control: !p.Access, accms: accms{ppp.DefaultACCM, ppp.DefaultACCM}}
	if c.p.CloseTimeout == 0 {
		c.p.CloseTimeout = 3 * time.Second
	}
	c.routes = append(c.routes, p.Routes...)
	c.numbering = initialSequencing(p.Role, p.Sequencing, required)
	out.Ops = append(out.Ops, OpCreate{Session: p.Session, Peer: peer, Sequencing: c.numbering})
	return c
}

// initialSequencing decides the kernel's switches at creation (S66, P174-P180). A LAC follows its LNS; an LNS is never
// switched by its LAC.
func initialSequencing(role control.Role, s policy.Sequencing, required bool) Sequencing {
	lns := role == control.LNSIncoming || role == control.LNSOutgoing
	q := Sequencing{LNS: lns}
	switch s {
	case policy.SequencingAlways:
		q.Send, q.Require = true, true
	case policy.SequencingStartup:
		q.Send = lns
	case policy.SequencingOnRequest:
	}
	if required {
		q.Send, q.Require = true, true
	}
	return q
}

// Connected is what ICCN or OCCN says.
type Connected struct {
	Required bool       // Sequencing Required (P176)
	Async    bool       // the line behind the LAC is asynchronous
	Proxy    *ppp.Proxy // of an earlier negotiation; nil: nothing
}

// Established tells the call that ICCN or OCCN has passed: PPP starts when the kernel session exists.
func (c *Call) Established(now Time, x Connected, out *Output) {
	if c.state != stateSetup {
		return
	}
	c.sessionUp, c.async = true, x.Async
	if x.Proxy != nil {
		cfg := *c.p.PPP
		cfg.Proxy = x.Proxy
		c.p.PPP = &cfg
	}
	if x.Required && !c.numbering.Require {
		// PPP waits for it: the peer drops frames without numbers from now on.
		c.renumbering = true
		c.numbering.Send, c.numbering.Require = true, true
		out.Ops = append(out.Ops, OpSequencing{Sequencing: c.numbering})
	}
	c.startLink(now, out)
}

// startLink opens PPP once both the session and its kernel object are there.
func (c *Call) startLink(now Time, out *Output) {
	if c.link != nil || c.p.Forward || !c.sessionUp && !c.p.Access || !c.createdOK || c.renumbering {
		return
	}
	c.state, c.reached, c.numberingAtFirst = stateLink, StageLCP, c.numbering
	if c.p.Outside {
		c.link = newOutside(c.p.PPP.IPv4, c.p.UserIPv4, c.lower())
	} else {
		c.link = ppp.Open(c.p.PPP, now, c.lower())
	}
	c.collect(now, out)
	early := c.early
	c.early = nil
	for _, f := range early {
		c.Receive(now, f, out)
	}
}

// Receive takes one PPP frame from whichever descriptor it arrived on. frame is not kept.
func (c *Call) Receive(now Time, frame []byte, out *Output) {
	switch c.state {
	case stateSetup:
		if len(c.early) < maxEarly {
			c.early = append(c.early, append([]byte(nil), frame...))
		}
	case stateLink, stateClosing:
		c.link.Receive(now, frame, c.lower())
		c.collect(now, out)
	case stateBridged:
		relay(frame, out)
	case stateReleasing, stateGone:
	}
}

// Deadline is when Expire wants to be called; 0: never.
func (c *Call) Deadline() Time {
	var d Time
	if c.state == stateLink || c.state == stateClosing {
		d = c.link.Deadline()
	}
	if c.closeAt != 0 && (d == 0 || c.closeAt < d) {
		d = c.closeAt
	}
	return d
}

// Expire lets time pass. Calls before the deadline do nothing.
func (c *Call) Expire(now Time, out *Output) {
	if c.closeAt != 0 && c.closeAt <= now { // Terminate-Request was never answered
		c.end(*c.closing, wire.Result{Code: wire.CDNAdmin}, disconnectAdmin, out)
		return
	}
	if c.state == stateLink || c.state == stateClosing {
		c.link.Expire(now, c.lower())
		c.collect(now, out)
	}
}

// Close ends the call in good order: Terminate-Request while PPP runs, then CDN. Cause and text go to EvDown.
func (c *Call) Close(now Time, cause, text string, out *Output) {
	down := EvDown{Stage: StageOf(c), Cause: cause, Text: text, Asked: true}
	switch c.state {
	case stateSetup:
		c.end(down, wire.Result{Code: wire.CDNAdmin, Text: text}, disconnectAdmin, out)
	case stateLink:
		c.state = stateClosing
		c.closing = &down
		c.closeAt = now + c.p.CloseTimeout
		if c.p.Outside {
			c.closeAt = now + outsideCloseTimeout
		}
		c.link.Do(now, ppp.CmdClose{Text: text}, c.lower())
		c.collect(now, out)
	case stateBridged:
		c.Sever(down, wire.Result{Code: wire.CDNAdmin, Text: text}, out)
	case stateClosing, stateReleasing, stateGone:
	}
}

// Lost tells the call that its session is gone: CDN, StopCCN or tunnel time-out. down explains it.
func (c *Call) Lost(down EvDown, out *Output) {
	c.control = false
	if c.wasUp || c.link != nil {
		down.Stage = StageOf(c) // how far PPP had got says more than that the session went
	}
	if c.link != nil && c.state != stateBridged {
		if end := c.link.View().End; end.Reason != ppp.ReasonNone {
			down = c.explain(end) // PPP had begun to end, and that is why
		}
	}
	c.end(down, wire.Result{}, disconnect{}, out)
}

// Vanished tells the call that a kernel object of its own disappeared (an interface deleted by hand).
func (c *Call) Vanished(err error, out *Output) {
	c.end(EvDown{Stage: StageOf(c), Cause: "kernel", Text: "the kernel object is gone: " + err.Error()},
		wire.Result{Code: wire.CDNLostCarrier}, disconnect{}, out)
}

// StageOf is where a call has got to; one that ends now stops there.
func StageOf(c *Call) Stage {
	switch {
	case c.wasUp:
		return StageUp
	case c.p.Forward:
		return StageSession
	case c.routing && c.state == stateLink:
		return StageForward
	case c.link == nil:
		return StageSession
	}
	return c.reached
}

// end is the one way down: CDN while the tunnel knows the session, then everything back.
func (c *Call) end(down EvDown, r wire.Result, d disconnect, out *Output) {
	if c.ended() {
		return
	}
	if c.state == stateClosing { // the reason why the end began counts, for the peer too
		down, r = *c.closing, wire.Result{Code: wire.CDNAdmin, Text: c.closing.Text}
	}
	if c.control {
		c.control = false
		out.Commands = append(out.Commands, control.CmdCloseSession{
			Session: c.p.Session, Result: r, DisconnectCause: d.append(nil),
		})
	}
	out.Events = append(out.Events, down)
	c.state, c.closeAt, c.early = stateReleasing, 0, nil
	out.Ops = append(out.Ops, OpRelease{})
}

// ended says that EvDown is out.
func (c *Call) ended() bool { return c.state == stateReleasing || c.state == stateGone }

// View is a consistent look at a call for show output.
type View struct {
	Name       string
	User       string
	Interface  string
	Up         bool
	Bridged    bool // with another call's channel: PPP here stands still
	Closing    bool
	Local      netip.Addr
	Peer       netip.Addr
	LocalIPv6  netip.Addr
	PeerIPv6   netip.Addr
	Link       netip.Prefix
	Delegated  netip.Prefix
	MTU        int
	Sequencing Sequencing
	PPP        ppp.View
}

// View looks at the call.
func (c *Call) View() View {
	v := View{
		Name: c.p.Name, User: c.user, Interface: c.iface, Up: c.wasUp && (c.state == stateLink || c.state == stateBridged),
		Bridged: c.state == stateBridged, Closing: c.state > stateBridged, Local: c.local, Peer: c.remote, LocalIPv6: c.local6, PeerIPv6: c.remote6,
		Link: c.prefix, Delegated: c.behind, MTU: c.mtu(), Sequencing: c.numbering,
	}
	if c.link != nil {
		v.PPP = c.link.View()
	}
	return v
}

// mtu is the interface MTU: what the peer takes, within what the outer path carries (P275).
func (c *Call) mtu() int {
	m := c.p.MTU
	if c.mru != 0 && (m == 0 || int(c.mru) < m) {
		m = int(c.mru)
	}
	if c.p.PPP.MPPE != ppp.MPPEOff {
		m -= ppp.MPPEOverhead
	}
	return m
}
