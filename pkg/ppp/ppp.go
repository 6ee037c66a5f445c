package ppp

import (
	"io"
	"net/netip"
	"time"
)

// Time is an instant: nanoseconds on the machine's boot-time clock. Zero in a deadline means "no deadline".
type Time = time.Duration

// Protocol is a PPP protocol number (RFC 1661, section 2).
type Protocol uint16

// Protocols with a meaning here.
const (
	ProtoIPv4   Protocol = 0x0021
	ProtoIPv6   Protocol = 0x0057
	ProtoMPPE   Protocol = 0x00fd // a packet under compression or encryption (RFC 1962, 3)
	ProtoIPCP   Protocol = 0x8021
	ProtoIPV6CP Protocol = 0x8057
	ProtoCCP    Protocol = 0x80fd
	ProtoLCP    Protocol = 0xc021
	ProtoPAP    Protocol = 0xc023
	ProtoCHAP   Protocol = 0xc223
)

// AuthMethod is an authentication protocol.
type AuthMethod uint8

// Methods.
const (
	AuthNone AuthMethod = iota
	AuthPAP
	AuthCHAPMD5
	AuthMSCHAPv1 // RFC 2433; weak, for old peers only (P259)
	AuthMSCHAPv2 // RFC 2759 (P260)
)

// IPv4Mode says where our own IPv4 address on the link comes from.
type IPv4Mode uint8

// Modes of IPCP.
const (
	IPv4Off        IPv4Mode = iota // IPCP is protocol-rejected
	IPv4Own                        // we have Local; the peer gets what AddressWanted's answer says
	IPv4Request                    // we send 0.0.0.0 and take the Nak (S164, S165)
	IPv4Unnumbered                 // no IP-Address option needed from either side; Local, if valid, is borrowed (S166)
)

// MPPEMode says whether packets are encrypted (RFC 3078): with 128 bits and without state, after a login by MS-CHAP in one direction.
type MPPEMode uint8

// Modes of MPPE.
const (
	MPPEOff     MPPEMode = iota // CCP is protocol-rejected
	MPPEAllow                   // if the peer agrees; against RFC 3078, 2 the link goes on without if it does not
	MPPERequire                 // no network protocol before encryption, and no link without it
)

// Line is what carries the frames, as far as LCP has a say in it. Whatever it is, PFC and ACFC are never asked for, and a peer's frames
// are understood with and without them.
type Line uint8

// Lines.
const (
	LineTunnel Line = iota // L2TP: character maps and compressions are agreed to and mean nothing here
	LinePPPoE              // RFC 2516, 7: ACCM, PFC and ACFC are rejected, and no MRU is above MaxMRU (P272)
	LineAsync              // octets with the framing of RFC 1662: ACCM is asked for, the maps agreed on are in EvLinkUp
)

// Config is one link's policy. It is copied on use, unless Complete has made it.
type Config struct {
	Line     Line
	MaxMRU   uint16       // with LinePPPoE, the most for either side; 0 means 1492, more is for PPP-Max-Payload (RFC 4638)
	ACCM     uint32       // with LineAsync, the characters that the peer must escape on its way to us; DefaultACCM is not asked for
	MRU      uint16       // what we want to receive; 0 means 1500, with LinePPPoE MaxMRU at most
	Auth     []AuthMethod // what we demand of the peer, in order of preference; empty: nothing (P256)
	Answer   []AuthMethod // what we agree to if the peer demands it; needs User and Password
	Name     string       // our name in CHAP challenges
	User     string       // our credentials towards the peer (S163)
	Password []byte

	MPPE MPPEMode

	IPv4       IPv4Mode
	Local      netip.Addr   // our IPv4 address, for IPv4Own and IPv4Unnumbered
	DNS        []netip.Addr // offered to the peer on request, at most two (P263)
	NBNS       []netip.Addr
	WantDNS    bool   // ask the peer for DNS servers
	IPv6       bool   // negotiate IPV6CP, unless the peer takes no packets of 1280 octets (RFC 8200, 5)
	IPv6ID     uint64 // our interface identifier; 0: chosen from Random (P264)
	PeerIPv6ID uint64 // what the peer must take; 0: anything

	// Hold is for a LAC: the link stands still after LCP and the login until its owner has said that it goes on here. What waits is the
	// owner's answer to EvAuthRequest, or to EvHeld where there is no login; AuthTimeout does not count while it waits. Repeats of the
	// peer's login are absorbed, of several that differ the first counts; echoes are answered and sent. Interop: pppd as a client waits
	// 30 s for the answer to PAP or IPCP, ten requests long, and then hangs up; for the verdict of CHAP it waits without an end.
	Hold bool

	Proxy *Proxy // at an LNS: what the LAC agreed on and took from the client; nil: nothing of that kind is known

	Passive bool // LCP waits for the peer's Configure-Request before it sends its own, for MaxConfigure restart periods; not with Proxy

	Restart      time.Duration // 0 means 3 s (P252)
	MaxConfigure int           // 0 means 10
	MaxTerminate int           // 0 means 2
	MaxFailure   int           // 0 means 5
	AuthTimeout  time.Duration // the whole authentication phase; 0 means 60 s

	EchoInterval   time.Duration // 0: no LCP echo (S153)
	EchoFailures   int           // intervals without an answer; 0 means 3
	IdleTimeout    time.Duration // 0: none; the owner reports data by CmdIdle (S157)
	SessionTimeout time.Duration // 0: none
	Rechallenge    time.Duration // 0: none; CHAP and the MS-CHAPs only (P258)

	Random io.Reader // magic numbers, challenges, identifiers; must not fail

	complete bool // Complete has made it
}

// Output is what a step asks its owner to do, in this order: persist Record if Persist, send Frames, hand Events up.
// A frame starts with the two-octet protocol field: no FF 03, no FCS (P182, P183).
type Output struct {
	Persist bool
	Frames  [][]byte
	Events  []Event
}

// Reset empties o and keeps its memory.
func (o *Output) Reset() {
	o.Persist = false
	clear(o.Frames)
	clear(o.Events)
	o.Frames, o.Events = o.Frames[:0], o.Events[:0]
}

// Phase is a phase of RFC 1661, 3.2.
type Phase uint8

// Phases.
const (
	PhaseDead Phase = iota
	PhaseEstablish
	PhaseAuthenticate
	PhaseNetwork
	PhaseTerminate
)

// Stage names where a set-up failed, for the one explaining line and for RFC 3145 causes.
type Stage uint8

// Stages.
const (
	StageLCP Stage = iota
	StageAuth
	StageAddress // IPCP and IPV6CP
	StageUp      // the link had been up
)

// Reason is why a link ended.
type Reason uint8

// Reasons.
const (
	ReasonNone          Reason = iota
	ReasonLocal                // CmdClose
	ReasonPeer                 // Terminate-Request
	ReasonNoAnswer             // LCP configure or terminate retries exhausted
	ReasonNoAgreement          // LCP options could not be agreed on
	ReasonAuthRefused          // the peer refused every method we demand (cause 15)
	ReasonAuthFailed           // wrong credentials, of either side
	ReasonAuthTimeout          // no answer in the authentication phase
	ReasonEcho                 // LCP echo failures (cause 8)
	ReasonIdle                 // IdleTimeout
	ReasonSessionTime          // SessionTimeout
	ReasonLoop                 // magic number: the line is looped back
	ReasonNoNetwork            // no NCP came up (cause 18)
	ReasonProtocolError        // Code-Reject or Protocol-Reject of something vital
	ReasonNoEncryption         // MPPE is required and refused, or cannot be (cause 4)
	ReasonDecryption           // the peer's encrypted packets cannot be decrypted any more
	ReasonProxyLCP             // the LAC's LCP cannot hold or is missing, and may not begin anew (cause 2)
)

// Event is something the owner must know. The concrete types are the Ev… structs.
type Event interface{ event() }

// Events of a link.
type (
	// EvLinkUp: LCP is Opened. PeerMRU bounds the interface MTU (P275).
	EvLinkUp struct {
		MRU, PeerMRU uint16
		// On an asynchronous line, which characters must be escaped on the way to us, and on the way to the peer (RFC 1662, 7.1). Before
		// LCP is open, and again when it has left Opened, both are DefaultACCM; frames of LCP keep to that at any time.
		ACCM, PeerACCM uint32
		Auth           AuthMethod // agreed: what the peer must show us
		Answer         AuthMethod // agreed: what we must show the peer
	}
	// EvAuthRequest: the peer presented credentials; answer with CmdAuthResult. Sent once an attempt, never for a repeat.
	EvAuthRequest struct {
		Attempt   uint32 // goes into the answer
		Method    AuthMethod
		ID        uint8
		Name      string
		Password  []byte // PAP
		Challenge []byte // CHAP: the one that we sent
		Response  []byte // CHAP: the whole value; with the MS-CHAPs 49 octets, of which NTResponse cuts the proof
		Proxied   bool   // the LAC took it from the client
	}
	// EvHeld: with Config.Hold, the peer need not log in, and the owner says with CmdProceed that the link goes on here. It is for such a
	// link what EvAuthRequest is for one with a login: sent once after EvLinkUp, and anew, under a new number, after LCP has begun anew.
	EvHeld struct{ Attempt uint32 } // goes into the answer
	// EvLCPDown: with Config.Hold, LCP has left Opened: every question asked before is void, what Proxy told does not hold any more, and
	// the character maps are back to DefaultACCM. EvLinkUp follows when the peer negotiates anew, EvLinkDown when it has gone.
	EvLCPDown struct{}
	// EvUnjudged: the link goes on though the peer has been challenged again and nobody could judge its answer.
	EvUnjudged struct{}
	// EvAuthenticated: both directions of authentication that were agreed on succeeded. It comes in any case, with an empty
	// name if the peer had to show nothing; the network phase begins with it.
	EvAuthenticated struct{ PeerName string }
	// EvEncryptionWanted: the kernel must be armed for MPPE; answer with CmdEncryption. That means, on a unit that has its channel:
	// PPPIOCSCOMPRESS for both directions, each with Option and its key behind it, then the flag SC_CCP_OPEN without SC_CCP_UP. It
	// comes after EvAuthenticated and again when CCP negotiates anew. Between it and the answer no CCP frame is sent, and none of the
	// peer's that waits is acted on, so that the kernel sees every Configure-Ack of either side armed.
	EvEncryptionWanted struct {
		Attempt  uint32 // goes into the answer
		Keys     Keys
		Option   [6]byte // CCP option 18: stateless, 128 bits
		Required bool
	}
	// EvEncryptionUp: CCP is Opened, and all packets of either side are encrypted from now on: when the frames of this step have gone
	// through the unit, our Configure-Ack among them, set SC_CCP_UP, with Required also SC_MUST_COMP. With Required every EvNetworkUp
	// comes after it. Packets grow by MPPEOverhead. After Restore View.Encrypted says whether those flags belong to the unit.
	EvEncryptionUp struct{ Required bool }
	// EvEncryptionDown: what EvEncryptionWanted asked for is over: clear all three flags, which frees the kernel's keys. It comes once
	// for each EvEncryptionWanted, before the next one and before EvLinkDown. With Required every EvNetworkDown comes before it.
	EvEncryptionDown struct{}
	// EvDecryptionCheck: packets could not be decrypted since EvEncryptionUp, and the kernel may have given up (SC_DC_FERROR); answer
	// with CmdDecryption. At most one comes in a restart period, however many such packets there are.
	EvDecryptionCheck struct{ Attempt uint32 }
	// EvAddressWanted: IPCP needs to know what the peer shall have; answer with CmdAddress. Wanted is what it asked for, if
	// anything. Sent once a link: always with IPv4Own, with IPv4Unnumbered only when the peer asks for an address.
	EvAddressWanted struct{ Wanted netip.Addr }
	// EvNetworkUp: one NCP opened. Called once for IPv4 and once for IPv6.
	EvNetworkUp struct {
		Proto       Protocol   // ProtoIPv4 or ProtoIPv6
		Local, Peer netip.Addr // IPv4: may be invalid when unnumbered. IPv6: link-local addresses
		DNS         []netip.Addr
	}
	// EvNetworkDown: one NCP left Opened.
	EvNetworkDown struct{ Proto Protocol }
	// EvLinkDown: the end; the link sends nothing more. Text holds the other side's words, if any.
	EvLinkDown struct {
		Stage  Stage
		Reason Reason
		Peer   bool // the other side ended it
		Text   string
	}
	// EvIdleCheck: the idle time may be over; answer with CmdIdle.
	EvIdleCheck struct{}
	// EvAnomaly: odd but harmless, for a rate-limited log line.
	EvAnomaly struct{ Text string }
)

func (EvLinkUp) event()           {}
func (EvAuthRequest) event()      {}
func (EvHeld) event()             {}
func (EvLCPDown) event()          {}
func (EvUnjudged) event()         {}
func (EvAuthenticated) event()    {}
func (EvEncryptionWanted) event() {}
func (EvEncryptionUp) event()     {}
func (EvEncryptionDown) event()   {}
func (EvDecryptionCheck) event()  {}
func (EvAddressWanted) event()    {}
func (EvNetworkUp) event()        {}
func (EvNetworkDown) event()      {}
func (EvLinkDown) event()         {}
func (EvIdleCheck) event()        {}
func (EvAnomaly) event()          {}

// Command is something the owner wants. The concrete types are the Cmd… structs.
type Command interface{ command() }

// Commands to a link.
type (
	// CmdAuthResult answers EvAuthRequest. Message goes to the peer in the reply. An answer to an attempt that is over is ignored.
	CmdAuthResult struct {
		Attempt uint32
		OK      bool
		Message string
		// Success is MS-CHAPv2's authenticator response, "S=" and 40 digits, as in MS-CHAP2-Success (RFC 2548, 2.3.3); what follows
		// them is ignored. An OK without it counts as a refusal, because the peer would not accept it.
		Success string
		Error   uint16 // MS-CHAP: the error code of a refusal (RFC 2759, 6); 0 means 691
		Keys    Keys   // MS-CHAP: what MPPE starts from, if it is known
		// Unjudged says, without OK, that nobody could judge. A peer that is challenged again on a link past its login then hears nothing
		// and keeps what it has, EvUnjudged comes, and the next challenge after Config.Rechallenge. A login that is unjudged is refused.
		Unjudged bool
	}
	// CmdProceed answers EvHeld: the network phase begins. An answer to an attempt that is over is ignored. Who hands the link to an LNS
	// takes Proxy and drops the link; who refuses it sends CmdClose.
	CmdProceed struct{ Attempt uint32 }
	// CmdEncryption answers EvEncryptionWanted. OK false says that the kernel cannot, or, later on, that it could not do what
	// EvEncryptionUp says: the link goes on without encryption or ends. An answer to an attempt that is over is ignored.
	CmdEncryption struct {
		Attempt uint32
		OK      bool
	}
	// CmdDecryption answers EvDecryptionCheck. Broken says that the kernel decrypts no more: the link ends, because a new one helps,
	// which has other keys. An answer to an attempt that is over is ignored.
	CmdDecryption struct {
		Attempt uint32 // of the question
		Broken  bool
	}
	// CmdAddress answers EvAddressWanted. An invalid Peer means there is none: IPCP is closed (cause 18, P265), or with
	// IPv4Unnumbered the peer's question is rejected.
	CmdAddress struct{ Peer netip.Addr }
	// CmdIdle says for how long no user data has moved, from the kernel's counters.
	CmdIdle struct{ Idle time.Duration }
	// CmdCloseNetwork closes one NCP, ProtoIPv4 or ProtoIPv6, and leaves the other.
	CmdCloseNetwork struct{ Proto Protocol }
	// CmdConfigure has another configuration hold for what has not begun yet: before the verdict on a login, or CmdProceed, all of the
	// network phase, and the keep-alive. Later it is for the session's time and the idle time: the one that has changed begins again.
	// Config is that of Config.Complete.
	CmdConfigure struct{ Config *Config }
	// CmdClose sends Terminate-Request and ends with EvLinkDown when it is answered or given up.
	CmdClose struct{ Text string }
)

func (CmdConfigure) command()    {}
func (CmdAuthResult) command()   {}
func (CmdProceed) command()      {}
func (CmdEncryption) command()   {}
func (CmdDecryption) command()   {}
func (CmdAddress) command()      {}
func (CmdIdle) command()         {}
func (CmdCloseNetwork) command() {}
func (CmdClose) command()        {}

// View is a consistent look at a link for show output.
type View struct {
	Phase                   Phase
	LCP, IPCP, IPV6CP, CCP  string // automaton states by their RFC 1661 names
	MRU, PeerMRU            uint16
	Magic, PeerMagic        uint32
	Auth, Answer            AuthMethod
	PeerName                string
	Encrypted               bool // by MPPE
	Proxied                 bool // LCP is that of the LAC
	Local, Peer             netip.Addr
	LocalIPv6ID, PeerIPv6ID uint64
	EchoMissed              int        // intervals without an answer, in a row
	End                     EvLinkDown // why the link is ending, ahead of the event; ReasonNone: it is not
}
