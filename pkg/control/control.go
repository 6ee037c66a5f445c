package control

import (
	"io"
	"time"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// Time is an instant: nanoseconds on the machine's boot-time clock, which keeps its meaning in a new process.
// Zero in a deadline means "no deadline".
type Time = time.Duration

// TunnelID and SessionID are identifiers of the local side unless a name says peer. Zero is never assigned.
type (
	TunnelID  uint16
	SessionID uint16
)

// TunnelConfig is what one tunnel needs to know. It is copied on use and not changed later.
type TunnelConfig struct {
	HostName         string // Host Name AVP, never empty
	VendorName       string
	FirmwareRevision uint16
	Framing          uint32 // wire.FramingXxx we advertise
	Bearer           uint32 // wire.BearerXxx we advertise; 0 sends no Bearer Capabilities AVP (P49)
	ReceiveWindow    uint16 // Receive Window Size we advertise, 1..32767; 0 means 16
	Secret           []byte // shared secret; nil: no tunnel authentication (P123-P125)
	HideAVPs         bool   // hide what P44 names; needs Secret
	TieBreaker       bool   // send the Tie Breaker AVP in SCCRQ (P119)
	PRE13            bool   // P281-P287
	IgnoreWindow13   bool   // PRE13: accept a session window and ignore it (pre13_flow: ignore)
	DefaultWindow    uint16 // peer window when the peer sends none; 0 means 4 (P140)

	HelloInterval   time.Duration // silence before HELLO; 0: none (P149)
	RetransmitFirst time.Duration // 0 means 1 s (P137)
	RetransmitCap   time.Duration // 0 means 8 s, S107 (P138)
	MaxRetransmits  int           // 0 means 5 (P139)
	SetupTimeout    time.Duration // half-open tunnel; 0 means the whole retransmission cycle (P76)
	SessionTimeout  time.Duration // ICRP/ICCN/OCRP wait; 0 means 10 s (P109)
	AnswerTimeout   time.Duration // OCCN wait; 0 means 60 s (P109)
	IdleTimeout     time.Duration // tunnel without sessions; 0 means 60 s, negative: keep (P112, S184)
	ErrorInterval   time.Duration // between two WEN of a call; 0 means 60 s (P204)
	MaxSessions     int           // live sessions in this tunnel; 0 means 65535

	Incoming bool // we answer ICRQ (LNS role); else CDN (S44)
	Outgoing bool // we answer OCRQ (LAC role); else CDN (S44)

	Random io.Reader // entropy: challenges, random vectors, session ids, tie breakers; must not fail
}

// Output is what a step asks its owner to do, in this order: persist Record if Persist, send Datagrams, hand Events up.
// The owner may reuse an Output after Reset; datagrams are owned by it until then.
type Output struct {
	Persist   bool
	Datagrams [][]byte
	Events    []Event
}

// Reset empties o and keeps its memory.
func (o *Output) Reset() {
	o.Persist = false
	clear(o.Datagrams)
	clear(o.Events)
	o.Datagrams, o.Events = o.Datagrams[:0], o.Events[:0]
}

// TunnelState is a state of RFC 2661, 7.2.1, and our own linger after StopCCN.
type TunnelState uint8

// Tunnel states.
const (
	TunnelIdle TunnelState = iota
	TunnelWaitCtlReply
	TunnelWaitCtlConn
	TunnelEstablished
	TunnelClosing // StopCCN sent or received, still acknowledging for the linger time (P145)
	TunnelDead    // nothing left to do: the owner forgets it
)

// SessionState is a state of RFC 2661, 7.4 and 7.5.
type SessionState uint8

// Session states.
const (
	SessionIdle SessionState = iota
	SessionWaitTunnel
	SessionWaitReply
	SessionWaitConnect
	SessionWaitCSAnswer
	SessionEstablished
)

// Role is what the local side is for one session: who the caller is decides it (RFC 2661, 5.2).
type Role uint8

// The four session roles.
const (
	LACIncoming Role = iota // we send ICRQ
	LNSIncoming             // we receive ICRQ
	LACOutgoing             // we receive OCRQ
	LNSOutgoing             // we send OCRQ
)

// Cause classifies the end of a tunnel or session for counters and for one explaining log line.
type Cause uint8

// Causes.
const (
	CauseNone         Cause = iota
	CauseLocal              // asked for by Close
	CausePeer               // StopCCN or CDN received
	CauseTimeout            // no answer after the retransmission cycle, or set-up time over
	CauseAuth               // tunnel authentication
	CauseProtocol           // malformed or unexpected message, Result says which
	CauseTieLost            // our SCCRQ lost a tie: not an error, the winner carries on (P113)
	CauseTieEqual           // both dropped; retry with a new value after a random delay (P115)
	CauseTunnelClosed       // session only: its tunnel went
	CauseIdle               // tunnel only: no session for IdleTimeout
	CauseRefused            // policy or capability refused it locally (role, limit, bearer)
)

// PeerInfo is what the peer said of itself in SCCRQ or SCCRP (S136-S138).
type PeerInfo struct {
	TunnelID         TunnelID
	HostName         string
	VendorName       string
	FirmwareRevision uint16
	Framing, Bearer  uint32
	HasBearer        bool
	ReceiveWindow    uint16
}

// CallInfo is what a session's messages said of the call (ICRQ, OCRQ, OCRP, ICCN, OCCN); zero values mean "not sent",
// unless Empty names them. The same type carries what we say in OpenSession, AcceptSession and ConnectSession: what one tunnel
// has read of a call, another can send again.
type CallInfo struct {
	SerialNumber       uint32
	MinimumBPS         uint32
	MaximumBPS         uint32
	BearerType         uint32
	FramingType        uint32
	CalledNumber       string
	CallingNumber      string
	SubAddress         string
	PhysicalChannel    uint32
	TxSpeed, RxSpeed   uint32
	PrivateGroup       string
	SequencingRequired bool
	HasSessionWindow   bool
	ProcessingDelay    uint16      // PRE13, tenths of a second
	SessionWindow      uint16      // PRE13: value of AVP 10 in a session message. Like the delay it is of one tunnel's path
	Empty              FieldSet    // what is zero or empty and was sent all the same
	Proxy              *Proxy      // nil: nothing of it was sent. It is never written to
	Line               *AccessLine // nil: nothing of it was sent. It is never written to
}

// FieldSet is a set of those values of a call that a message need not hold.
type FieldSet uint16

// Values of a CallInfo, and options of its ProxyLCP: an LCP CONFREQ without options is an empty one.
const (
	FieldBearerType FieldSet = 1 << iota
	FieldCalledNumber
	FieldCallingNumber
	FieldSubAddress
	FieldPhysicalChannel
	FieldRxSpeed
	FieldPrivateGroup
	FieldInitialReceivedLCP
	FieldLastSentLCP
	FieldLastReceivedLCP
)

// Proxy is what a LAC says of its own talk with the caller.
type Proxy struct {
	LCP  ProxyLCP
	Auth ProxyAuth
}

// ProxyLCP carries AVPs 26-28: option lists without code, id and length (P186).
type ProxyLCP struct{ InitialReceived, LastSent, LastReceived []byte }

// ProxyAuth carries AVPs 29-33 (P187, P188). Type 0 means not sent.
type ProxyAuth struct {
	Type      uint16
	Name      string
	Challenge []byte
	ID        uint8
	Response  []byte
	// Partial: an AVP that the type needs was not sent. Only what is not empty is sent again: who is told of an empty
	// response takes it for a wrong one, who is told of none asks the user.
	Partial bool
}

// Event is something the owner must know. The concrete types are the Ev… structs.
type Event interface{ event() }

// Events of a tunnel and its sessions.
type (
	// EvTunnelUp: established; sessions may come. Sent once.
	EvTunnelUp struct{ Peer PeerInfo }
	// EvTunnelDown: every session has had its EvSessionDown before. The tunnel lingers until Dead.
	EvTunnelDown struct {
		Cause  Cause
		Result wire.Result // ours or the peer's, by Cause
	}
	// EvTunnelState: every change of state, for trace and records.
	EvTunnelState struct{ From, To TunnelState }
	// EvSessionOffered: a good ICRQ or OCRQ arrived (state idle). The owner prepares the data path
	// (the kernel object exists before the message that lets the peer use it), then AcceptSession or CloseSession.
	EvSessionOffered struct {
		Session SessionID // ours, already assigned
		Peer    SessionID
		Role    Role // LNSIncoming or LACOutgoing
		Call    CallInfo
	}
	// EvSessionReplied: ICRP arrived for our ICRQ, or OCRP for our OCRQ. After ICRP the owner prepares the data path and
	// says ConnectSession (which sends ICCN); after OCRP it prepares it and waits for OCCN.
	EvSessionReplied struct {
		Session SessionID
		Peer    SessionID
		Role    Role // LACIncoming or LNSOutgoing
		Call    CallInfo
	}
	// EvSessionUp: established: ICCN or OCCN sent or received. Call holds what ICCN/OCCN said.
	EvSessionUp struct {
		Session SessionID
		Peer    SessionID
		Role    Role
		Call    CallInfo
	}
	// EvSessionDown: gone. Sent exactly once for each session that was offered or opened.
	EvSessionDown struct {
		Session SessionID
		Role    Role
		Cause   Cause
		Result  wire.Result
		// DisconnectCause is the PPP Disconnect Cause AVP of the CDN, if any (RFC 3145): code, protocol, direction, text.
		DisconnectCause []byte
		Q931Cause       []byte // Q.931 Cause Code AVP of the CDN, if any: cause, message, advisory text (P207)
	}
	// EvSessionState: every change of state.
	EvSessionState struct {
		Session  SessionID
		From, To SessionState
	}
	// EvCallErrors: WEN arrived (six counters of RFC 2661, 4.4.6). EvACCM: SLI arrived.
	EvCallErrors struct {
		Session SessionID
		Errors  [6]uint32
	}
	EvACCM struct {
		Session       SessionID
		Send, Receive uint32
	}
	// EvAnomaly: something odd that did no harm (ignored AVP, duplicate, bad M bit ...), for a rate-limited log line.
	EvAnomaly struct {
		Session SessionID // 0: of the tunnel
		Text    string    // no secrets
	}
)

func (EvTunnelUp) event()       {}
func (EvTunnelDown) event()     {}
func (EvTunnelState) event()    {}
func (EvSessionOffered) event() {}
func (EvSessionReplied) event() {}
func (EvSessionUp) event()      {}
func (EvSessionDown) event()    {}
func (EvSessionState) event()   {}
func (EvCallErrors) event()     {}
func (EvACCM) event()           {}
func (EvAnomaly) event()        {}

// Command is something the owner wants. The concrete types are the Cmd… structs. A command that does not fit the
// session's state is ignored (the session may have gone meanwhile).
type Command interface{ command() }

// Commands to a tunnel.
type (
	// CmdClose sends StopCCN with Result and lingers (P145). Sessions get EvSessionDown{CauseTunnelClosed}, no CDN.
	CmdClose struct{ Result wire.Result }
	// CmdOpenSession starts a session in role LACIncoming (ICRQ) or LNSOutgoing (OCRQ), at once or when the tunnel is up.
	// The tunnel assigns the id and reports it through *Session before Do returns; 0 if it can take none (EvAnomaly says why).
	CmdOpenSession struct {
		Role    Role
		Call    CallInfo
		Session *SessionID
	}
	// CmdAcceptSession answers EvSessionOffered: ICRP or OCRP leaves.
	CmdAcceptSession struct {
		Session SessionID
		Call    CallInfo
	}
	// CmdConnectSession sends ICCN (after EvSessionReplied, role LACIncoming) or OCCN (role LACOutgoing, bearer is up).
	CmdConnectSession struct {
		Session SessionID
		Call    CallInfo
	}
	// CmdCloseSession sends CDN, unless the session is in wait-tunnel (P80, P85, P92, P108).
	CmdCloseSession struct {
		Session         SessionID
		Result          wire.Result
		DisconnectCause []byte
	}
	// CmdHeard says that data came from the peer at At: it counts as silence broken (P150).
	CmdHeard struct{ At Time }
	// CmdSendWEN and CmdSendSLI notify about an established session (P204, P206). The counters of WEN begin at 0 with the call
	// and only grow; they are sent if they have changed and the last WEN is ErrorInterval old. What is not sent then must be said again.
	CmdSendWEN struct {
		Session SessionID
		Errors  [6]uint32
	}
	CmdSendSLI struct {
		Session       SessionID
		Send, Receive uint32
	}
)

func (CmdClose) command()          {}
func (CmdOpenSession) command()    {}
func (CmdAcceptSession) command()  {}
func (CmdConnectSession) command() {}
func (CmdCloseSession) command()   {}
func (CmdHeard) command()          {}
func (CmdSendWEN) command()        {}
func (CmdSendSLI) command()        {}

// Counters of one tunnel (S122-S125, S148). All count messages since the tunnel began.
type Counters struct {
	InControl, InMessages, InZLB                          uint64
	InProcessed, InOrder, InOutOfOrder, InDiscarded       uint64
	OutControl, OutMessages, OutZLB, OutRetransmits       uint64
	InMalformed, InDuplicates, InOutsideWindow, InWrongNr uint64
	InUnknownSession, InUnknownMessage                    uint64
}

// TunnelView is a consistent look at a tunnel for show output. Its sessions have views of their own: they may be many.
type TunnelView struct {
	ID                  TunnelID
	State               TunnelState
	Initiator           bool // we sent the SCCRQ
	Peer                PeerInfo
	Ns, Nr, PeerNr      uint16 // next to send, next expected, last acknowledged by the peer
	Window, PeerWindow  uint16
	CongestionWindow    uint16
	SlowStartThreshold  uint16
	Outstanding, Queued int
	RTT, RTO            time.Duration
	LastHeard           Time // of the peer, control or data
	Counters            Counters
}

// SessionView is a look at a session.
type SessionView struct {
	ID, Peer        SessionID
	Role            Role
	State           SessionState
	SerialNumber    uint32
	PeerSerial      uint32
	EstablishedTime Time
}

// Collision is the outcome of an SCCRQ that crosses ours (RFC 2661, 4.4.3, Tie Breaker).
type Collision uint8

// Outcomes of Tunnel.Collide.
const (
	CollisionNone  Collision = iota // no tie: both tunnels come up (P117), or ours is not waiting for a reply
	CollisionOurs                   // ours wins: drop the peer's SCCRQ silently (P114, P116)
	CollisionPeers                  // the peer's wins: this tunnel lingers (EvTunnelDown CauseTieLost), Accept the SCCRQ
	CollisionEqual                  // equal values: both are dropped (EvTunnelDown CauseTieEqual)
)

// CmdProbe sends a HELLO now unless something unacknowledged is out already: is the peer still the one that it was?
type CmdProbe struct{}

// CmdForget ends the tunnel at once and without a word: the peer has been restarted and knows it no more. Sessions get
// EvSessionDown{CauseTunnelClosed}; the tunnel is dead.
type CmdForget struct{}

func (CmdProbe) command()  {}
func (CmdForget) command() {}
