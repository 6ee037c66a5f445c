package policy

import (
	"net/netip"
	"time"

	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// Mode says which roles the server plays (S44).
type Mode uint8

// Modes. The zero value plays none.
const (
	ModeNone Mode = iota
	ModeLAC
	ModeLNS
	ModeBoth
)

// Sequencing says when data frames are numbered (S66, S81).
type Sequencing uint8

// Sequencing modes.
const (
	SequencingOnRequest Sequencing = iota // OFF: only if the peer asks
	SequencingAlways                      // ON
	SequencingStartup                     // STARTUP: as LNS, until the first NCP opens
)

// Precedence says which of two crossing virtual calls stays (S69).
type Precedence uint8

// Precedences. IN is the reference manual's default.
const (
	PrecedenceIn Precedence = iota
	PrecedenceOut
)

// CallType is the kind of call that the remote box has to start (S60).
type CallType uint8

// Call types.
const (
	CallVirtual CallType = iota
	CallISDN
	CallAsync
)

// Method is how a virtual call travels on the wire (S186).
type Method uint8

// Methods.
const (
	MethodICRQ Method = iota
	MethodOCRQ
)

// Server holds what is true of the whole daemon.
type Server struct {
	Mode                 Mode
	HostName             string           // Host Name AVP (S177); never empty
	Listen               []netip.AddrPort // UDP addresses
	Checksum             bool             // UDP checksum on data (S51)
	AllowFrom            []Range          // S52; empty: everyone
	HideAVPs             bool             // hide AVPs towards peers with a secret (P44)
	PinPort              bool             // refuse an answer to our SCCRQ from another port (P156)
	Tunnel               Tunnel           // defaults for every tunnel
	MaxTunnels           int              // established and half-open; 0: 65535
	MaxHalfOpen          int              // half-open responder tunnels in all; 0 means 1024 (P277)
	MaxHalfOpenPerSource int              // 0 means 16 (P76)
}

// Tunnel are the timers and windows of a control connection; zero values mean the defaults of control.TunnelConfig.
type Tunnel struct {
	ReceiveWindow  uint16
	Hello          time.Duration
	Retransmit     time.Duration
	RetransmitCap  time.Duration // S107
	MaxRetransmits int
	SetupTimeout   time.Duration
	IdleTimeout    time.Duration // negative: keep (S184)
}

// SecretRule is one row of the responder's secrets (S46-S50): by source range, by host name, or both. An empty Secret with
// None set is the explicit "no authentication" (S47).
type SecretRule struct {
	From     Range
	HostName string // compared case-insensitively; empty: any
	Secret   Secret
	None     bool
}

// What stands for a zero field of a Call.
const (
	DefaultRedialMin    = time.Second
	DefaultRedialMax    = time.Minute
	DefaultSpeed        = 64000 // bits per second (S70)
	DefaultMinimumSpeed = 300
)

// VirtualSpeed is what is said of the speed of a call without a line, in bits per second.
const VirtualSpeed = 100_000_000

// Call is one configured call (S59-S78).
type Call struct {
	Name           string
	Type           CallType
	Peer           string // host name or address; empty with Passive
	PeerPort       uint16
	Passive        bool       // peer: any (S61): never dialled by us
	LocalAddr      netip.Addr // source address; invalid: by route
	Remote         string     // S62: travels as Called Number
	Match          string     // name by which the peer's calls select this one; empty: Name
	Precedence     Precedence
	Secret         Secret // presented when we dial (S67); empty: none
	Sequencing     Sequencing
	PRE13          bool
	IgnoreWindow13 bool
	Method         Method
	Dial           string // Called Number of an outgoing call through a LAC (S65)
	SubAddress     string
	Speed          uint32 // Maximum BPS (S70)
	MinimumSpeed   uint32
	AutoStart      bool
	OnDemand       bool          // dial on the first packet (S157)
	EphemeralPort  bool          // source port chosen by the kernel, not 1701 (S14)
	OwnTunnel      bool          // do not share a tunnel with other calls
	RedialMin      time.Duration // first redial delay; doubles with jitter up to RedialMax
	RedialMax      time.Duration
	Tunnel         Tunnel
	PPP            CallPPP
}

// CallPPP is the PPP side of a call.
type CallPPP struct {
	Template   string // name of a template; its values stand where this struct is silent
	Interface  string // interface name; empty: the call's name
	IPv4       ppp.IPv4Mode
	Local      netip.Addr // our address (IPv4Own), or the one borrowed (IPv4Unnumbered)
	Peer       netip.Addr // address given to the peer (IPv4Own)
	IPv6       bool
	User       string // S163
	Password   Secret
	Routes     []netip.Prefix // S167
	Metric     int
	Masquerade bool // S168
}

// Accept is one row of the LNS accept table (S79-S87).
type Accept struct {
	From           Range
	HostName       string
	Template       string
	Sequencing     Sequencing
	PRE13          bool
	IgnoreWindow13 bool
	ProxyLCP       ppp.ProxyLCP  // what becomes of the LCP that a LAC agreed on with the caller (P190-P197)
	ProxyAuth      ppp.ProxyAuth // and of the login that it took
	MaxTunnels     int           // per entry; 0: no limit
	MaxHalfOpen    int           // tunnels that peers have begun and not finished
	MaxSessions    int
}

// Engine says who runs the PPP of a template's sessions.
type Engine uint8

// Engines.
const (
	EngineOwn  Engine = iota // pkg/ppp
	EnginePppd               // a pppd for each session
)

// Duplicate says what becomes of a user who logs in while he has all the sessions that he may have (S17).
type Duplicate uint8

// Duplicates. Without max_sessions a user may have any number with DuplicateAllow, one otherwise.
const (
	DuplicateAllow   Duplicate = iota // refused where there is a limit
	DuplicateReplace                  // his oldest session ends
	DuplicateRefuse                   // the new login is refused
)

// Template is a blueprint of PPP interfaces (S150-S157, S182).
type Template struct {
	Name           string
	Auth           []ppp.AuthMethod // demanded of the peer; empty: none
	Sources        []Source         // who knows users, in the order in which they are asked (S155); empty: the local ones
	Duplicate      Duplicate
	Engine         Engine
	PppdOptions    []string // further options of pppd, a line each
	MPPE           ppp.MPPEMode
	MRU            uint16
	MTU            int // cap of the interface MTU; 0: from MRU and path
	MSSClamp       bool
	Echo           time.Duration
	EchoFailures   int
	IdleTimeout    time.Duration
	SessionTimeout time.Duration
	Rechallenge    time.Duration
	Restart        time.Duration
	MaxConfigure   int // Configure-Requests without an answer (RFC 1661, 4.6); 0 means 10
	MaxTerminate   int // 0 means 2
	MaxFailure     int // Configure-Naks before rejecting; 0 means 5
	IPv4           bool
	IPv4Local      netip.Addr // our end's address for accepted users; invalid: unnumbered
	IPv4Pool       string
	DNS, NBNS      []netip.Addr
	IPv6           bool
	IPv6Pool       string       // of the /64 for the link, by router advertisement
	DelegatedPool  string       // of the prefix for the networks behind, by DHCPv6
	IPv6DNS        []netip.Addr // told by both
	Interface      string       // name pattern of accepted sessions' interfaces: "l2tp%d"; empty: the kernel's pppN
	Ready          int          // how many of them wait for callers
	Masquerade     bool
}

// User is one local user (S160).
type User struct {
	Name     string
	Password Secret
	IPv4     netip.Addr
	Routes   []netip.Prefix // networks behind the user
	IPv6     netip.Prefix   // his own /64 for the link
	Behind   netip.Prefix   // his own delegated prefix
	Sessions int            // most at a time; 0: as the template's Duplicate says
}

// MaxSessions is how many sessions a user may have under a template; 0: any number.
func (u *User) MaxSessions(t *Template) int {
	if u.Sessions > 0 || t == nil || t.Duplicate == DuplicateAllow {
		return u.Sessions
	}
	return 1
}

// Pool is a named set of IPv4 addresses (S161), or of IPv6 prefixes.
type Pool struct {
	Name     string
	Ranges   []Range
	Prefixes []netip.Prefix
	Length   int // of the prefixes that are given out of Prefixes; 0 with Ranges
}

// Subnets are the prefixes of the pool.
func (p *Pool) Subnets() []Subnets {
	all := make([]Subnets, len(p.Prefixes))
	for i, within := range p.Prefixes {
		all[i] = Subnets{Within: within, Length: p.Length}
	}
	return all
}

// Policy is one validated configuration. It is immutable: a reload makes a new one.
type Policy struct {
	Server    Server
	Secrets   []SecretRule
	Calls     map[string]*Call // by lower-case name (S27)
	Accept    []Accept
	Templates map[string]*Template
	Users     map[string]*User
	Pools     map[string]*Pool
	LAC       LAC
	RADIUS    RADIUS
}

// Responder is how an SCCRQ is to be answered.
type Responder struct {
	Secret Secret
	Refuse bool    // no accept entry and no call for this source: default deny (S83); StopCCN 4
	Reason string  // why refused, for the log
	Accept *Accept // most specific accept entry, if any (S84)
	Calls  bool    // a configured call may concern this source: its shard must own the tunnel
	PRE13  bool
	// IgnoreWindow13 goes with PRE13: a session window is accepted and ignored (P284).
	IgnoreWindow13 bool
}

// Offer describes an incoming call of an established tunnel.
type Offer struct {
	Source       netip.Addr
	HostName     string
	Outgoing     bool // OCRQ: we are asked to place the call
	CalledNumber string
	SubAddress   string
	BearerType   uint32 // OCRQ: what kind of line it asks for
	MinimumBPS   uint32 // OCRQ: the slowest line that would do
	Secret       bool   // the tunnel was authenticated
}

// Verdict is what to do with an offered call (S63, S64): exactly one of Call, Accept, Lines, Refuse is set.
type Verdict struct {
	Call   *Call
	Accept *Accept   // a temporary call, by this entry's template
	Lines  []*Access // an outgoing call on one of these, whichever is free first
	Refuse bool
	Code   uint16 // wire.CDNXxx
	Error  uint16 // wire.ErrCodeXxx, with Code 2
	Reason string
}
