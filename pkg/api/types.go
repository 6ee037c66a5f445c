package api

import (
	"net/netip"
	"time"
)

// APIVersion is the version of the JSON and the first element of every path.
const APIVersion = "v1"

// Snapshot is a consistent look at the daemon. A part that was not asked for is nil; one that was asked for and is empty is an
// empty list.
type Snapshot struct {
	APIVersion string      `json:"apiVersion"`
	TakenAt    time.Time   `json:"taken_at"`
	Status     *Status     `json:"status,omitempty"`
	Tunnels    []Tunnel    `json:"tunnels,omitzero"`
	Sessions   []Session   `json:"sessions,omitzero"`
	Calls      []Call      `json:"calls,omitzero"`
	Lives      []Life      `json:"lives,omitzero"`
	Debugs     []Debugging `json:"debugs,omitzero"`
	Load       *Load       `json:"load,omitempty"`

	Accept   []AcceptEntry `json:"accept,omitzero"`
	Rules    []LACRule     `json:"rules,omitzero"`
	Pools    []AddressPool `json:"pools,omitzero"`
	Peers    []Peer        `json:"peers,omitzero"`
	Settings []Setting     `json:"settings,omitzero"`
	RADIUS   *RADIUS       `json:"radius,omitempty"` // nil: no servers are configured, or not asked for
	Counters *Counters     `json:"counters,omitempty"`
	Since    time.Time     `json:"since,omitzero"` // when Counters began to count
}

// State is the state of the daemon.
type State string

// States of the daemon.
const (
	StateStarting State = "starting"
	StateRunning  State = "running"
	StateStopping State = "stopping"
)

// Status is the daemon as a whole (S108-S128).
type Status struct {
	Version      string    `json:"version"`
	State        State     `json:"state"`
	StartedAt    time.Time `json:"started_at"`
	PID          int       `json:"pid"`
	ConfigFile   string    `json:"config_file,omitempty"`
	ConfigLoaded time.Time `json:"config_loaded,omitzero"` // the last reload that was taken

	Mode         string           `json:"mode"` // none, lac, lns, both (S109)
	HostName     string           `json:"host_name"`
	Listen       []netip.AddrPort `json:"listen,omitempty"`
	ChecksumData bool             `json:"checksum_data"`        // S112
	AllowFrom    []string         `json:"allow_from,omitempty"` // ranges; empty: everyone (S111)
	Secrets      []SecretRange    `json:"secrets,omitempty"`    // S110
	Kernel       Kernel           `json:"kernel"`               // what the probe found
	Health       []Condition      `json:"health,omitempty"`     // what is wrong now; empty: nothing
	ClearText    []netip.AddrPort `json:"clear_text,omitempty"` // peers without a tunnel secret to or from whom passwords go in clear; some, if there are many
	Problems     []string         `json:"problems,omitzero"`    // what keeps the daemon from doing all it is configured to do

	LNS    []LNS    `json:"lns,omitempty"`    // that subscribers' calls go to
	Access []Access `json:"access,omitempty"` // where subscribers arrive
	RADIUS *RADIUS  `json:"radius,omitempty"` // nil: no servers are configured
	Pools  []Pool   `json:"pools,omitempty"`  // as they are configured, by name

	Tunnels  int      `json:"tunnels"`  // established (S116)
	Sessions int      `json:"sessions"` // established
	HalfOpen int      `json:"half_open"`
	Calls    CallsUp  `json:"calls"`
	Process  Process  `json:"process"`
	Counters Counters `json:"counters"`
}

// Process is what the daemon itself takes. What grows here without end, while tunnels and sessions do not, is a defect.
type Process struct {
	Goroutines  int    `json:"goroutines"`
	HeapOctets  uint64 `json:"heap_octets"`  // in use, as the latest collection of garbage found it
	TotalOctets uint64 `json:"total_octets"` // all memory that the runtime has of the kernel
}

// CallsUp counts configured calls by whether they are up.
type CallsUp struct {
	Up   int `json:"up"`
	Down int `json:"down"`
}

// SecretRange says whether a range of sources has a tunnel secret. The secret itself never leaves the daemon.
type SecretRange struct {
	From     string `json:"from"`                // address, range, prefix or "any"
	HostName string `json:"host_name,omitempty"` // empty: whatever the peer calls itself
	Secret   string `json:"secret"`              // SecretSet, SecretNone or SecretNotSet
}

// What a SecretRange can say of its secret.
const (
	SecretSet    = "set"
	SecretNone   = "none" // explicitly no authentication (S47)
	SecretNotSet = "not set"
)

// Kernel is what the daemon found out about the running kernel.
type Kernel struct {
	Release      string `json:"release"`
	NewCore      bool   `json:"new_core"`                // the L2TP core of 6.11 and later
	BelowMinimum bool   `json:"below_minimum,omitempty"` // it has known faults; Advice says which
	Advice       string `json:"advice,omitempty"`        // empty: nothing to say
}

// Counters count since the daemon started (S113-S128).
type Counters struct {
	TunnelAuthFailures uint64 `json:"tunnel_auth_failures"` // S113
	UserAuthFailures   uint64 `json:"user_auth_failures"`
	Unrouted           uint64 `json:"unrouted,omitempty"` // subscribers' calls that no LNS took, or no rule let pass
	// SessionEnds counts the sessions that ended, by cause: the words of L2TP_CAUSE in the log.
	SessionEnds map[string]uint64 `json:"session_ends,omitempty"`
	InMessages  uint64            `json:"in_messages"` // control and data (S114)
	OutMessages uint64            `json:"out_messages"`
	InErrors    uint64            `json:"in_errors"` // S115
	Discarded   Discards          `json:"discarded"`
	Control     ControlTraffic    `json:"control"`
	// Listener and TunnelSockets count what passed the daemon's own UDP sockets. The kernel takes data of live sessions out
	// before: the difference to Data is what the daemon never touched.
	Listener      SocketTraffic `json:"listener"`
	TunnelSockets SocketTraffic `json:"tunnel_sockets"`
	// PPPFrames are the PPP control frames the daemon itself read and wrote, on whatever descriptor.
	PPPFrames FrameTraffic `json:"ppp_frames"`
	Data      DataTraffic  `json:"data"` // sum over all sessions, ended ones included (S126-S128)
}

// Discards count received datagrams that changed nothing, by kind (S118-S121).
type Discards struct {
	Filtered      uint64 `json:"filtered"` // source not in allow_from (S119)
	NoSuchTunnel  uint64 `json:"no_such_tunnel"`
	NoSuchSession uint64 `json:"no_such_session"`
	NoData        uint64 `json:"no_data"` // data messages without a PPP frame, as some peers of the drafts before 13 send
	Malformed     uint64 `json:"malformed"`
	ForeignSource uint64 `json:"foreign_source"` // a live tunnel's id from an address that is not its peer's
	OverLimit     uint64 `json:"over_limit"`     // an SCCRQ beyond the half-open limits
}

// ControlTraffic counts control messages (S122-S125, S148).
type ControlTraffic struct {
	In          uint64 `json:"in"`
	InWithData  uint64 `json:"in_with_data"`
	InNoData    uint64 `json:"in_no_data"` // ZLB acknowledgements
	Processed   uint64 `json:"processed"`
	InOrder     uint64 `json:"in_order"`
	OutOfOrder  uint64 `json:"out_of_order"`
	Discarded   uint64 `json:"discarded"` // duplicates and messages outside the window
	Out         uint64 `json:"out"`
	OutWithData uint64 `json:"out_with_data"`
	OutNoData   uint64 `json:"out_no_data"`
	Retransmits uint64 `json:"retransmits"`
}

// SocketTraffic counts datagrams and their UDP payload octets.
type SocketTraffic struct {
	InDatagrams  uint64 `json:"in_datagrams"`
	InOctets     uint64 `json:"in_octets"`
	OutDatagrams uint64 `json:"out_datagrams"`
	OutOctets    uint64 `json:"out_octets"`
}

// FrameTraffic counts frames.
type FrameTraffic struct {
	In  uint64 `json:"in"`
	Out uint64 `json:"out"`
}

// DataTraffic is the kernel's count of data messages. Octets include the L2TP header and FF 03.
type DataTraffic struct {
	InPackets     uint64 `json:"in_packets"`
	InOctets      uint64 `json:"in_octets"`
	InErrors      uint64 `json:"in_errors"`
	OutPackets    uint64 `json:"out_packets"`
	OutOctets     uint64 `json:"out_octets"`
	OutErrors     uint64 `json:"out_errors"`
	SeqDiscards   uint64 `json:"seq_discards"`    // dropped for their sequence number (S127)
	OutOfSequence uint64 `json:"out_of_sequence"` // arrived in another order than sent
	Invalid       uint64 `json:"invalid"`
}

// Tunnel is one control connection (S132-S142, S148).
type Tunnel struct {
	ID        uint16 `json:"id"` // ours: what l2tpctl takes as argument
	PeerID    uint16 `json:"peer_id"`
	State     string `json:"state"`     // idle, wait-ctl-reply, wait-ctl-conn, established, closing
	Initiator bool   `json:"initiator"` // we sent the SCCRQ

	Local  netip.AddrPort `json:"local"`
	Remote netip.AddrPort `json:"remote"`

	HostName string   `json:"host_name,omitempty"` // what the peer says of itself
	Vendor   string   `json:"vendor,omitempty"`
	Firmware uint16   `json:"firmware,omitempty"`
	Framing  []string `json:"framing,omitempty"` // sync, async
	Bearer   []string `json:"bearer,omitempty"`  // digital, analog

	Window       uint16 `json:"window"`      // ours, messages
	PeerWindow   uint16 `json:"peer_window"` // messages
	Ns           uint16 `json:"ns"`          // next to send
	Nr           uint16 `json:"nr"`          // next expected
	PeerNr       uint16 `json:"peer_nr"`     // acknowledged by the peer
	Congestion   uint16 `json:"congestion_window"`
	SlowStart    uint16 `json:"slow_start_threshold"`
	Outstanding  int    `json:"outstanding"`
	Queued       int    `json:"queued"`
	RTT          int64  `json:"rtt_ms"`     // milliseconds; 0: not measured yet
	RTO          int64  `json:"rto_ms"`     // milliseconds
	RTOCap       int64  `json:"rto_cap_ms"` // milliseconds (S139)
	Secret       bool   `json:"secret"`     // the peer proved that it knows the secret
	SessionCount int    `json:"sessions"`

	StartedAt     time.Time      `json:"started_at"`
	EstablishedAt time.Time      `json:"established_at,omitzero"`
	LastError     string         `json:"last_error,omitempty"`
	Debug         string         `json:"debug,omitempty"` // disabled, state, packet, state and packet: what is shown of it by debugs under way (S135)
	Counters      ControlTraffic `json:"counters"`
}

// Session is one call inside a tunnel (S143-S149).
type Session struct {
	TunnelID     uint16         `json:"tunnel_id"`             // 0: a subscriber's line, which has no tunnel
	ID           uint16         `json:"id"`                    // of a line: its number
	Access       string         `json:"access,omitempty"`      // where the subscriber has come: interface, session id and MAC address, or the device
	Forwarded    *Forwarded     `json:"forwarded,omitempty"`   // a subscriber's call that an LNS has
	Subscriber   string         `json:"subscriber,omitempty"`  // whose call the session takes to an LNS
	CarriesFor   string         `json:"carries_for,omitempty"` // the session that his call comes by: "line/1", or "4711/346" of a tunnel
	PeerTunnelID uint16         `json:"peer_tunnel_id"`
	PeerID       uint16         `json:"peer_id"`
	Remote       netip.AddrPort `json:"remote"`
	Role         string         `json:"role"`               // lac-incoming, lns-incoming, lac-outgoing, lns-outgoing
	State        string         `json:"state"`              // idle, wait-tunnel, wait-reply, wait-connect, wait-cs-answer, established
	Call         string         `json:"call,omitempty"`     // configured call it belongs to
	Template     string         `json:"template,omitempty"` // of a temporary call
	User         string         `json:"user,omitempty"`

	Interface string     `json:"interface,omitempty"`
	MTU       int        `json:"mtu,omitempty"`
	MRU       uint16     `json:"mru,omitempty"` // ours
	PeerMRU   uint16     `json:"peer_mru,omitempty"`
	LocalIPv4 netip.Addr `json:"local_ipv4,omitzero"`
	PeerIPv4  netip.Addr `json:"peer_ipv4,omitzero"`
	LocalIPv6 netip.Addr `json:"local_ipv6,omitzero"`
	PeerIPv6  netip.Addr `json:"peer_ipv6,omitzero"`
	// IPv6Prefix is told to the peer by router advertisement, IPv6Delegated given to its router by DHCPv6.
	IPv6Prefix    netip.Prefix `json:"ipv6_prefix,omitzero"`
	IPv6Delegated netip.Prefix `json:"ipv6_delegated,omitzero"`

	SerialNumber  uint32   `json:"serial_number"`
	PeerSerial    uint32   `json:"peer_serial_number,omitempty"` // if the peer called
	CalledNumber  string   `json:"called_number,omitempty"`
	CallingNumber string   `json:"calling_number,omitempty"`
	SubAddress    string   `json:"sub_address,omitempty"`
	TxSpeed       uint32   `json:"tx_speed,omitempty"` // bit/s, as said in ICCN or OCCN
	RxSpeed       uint32   `json:"rx_speed,omitempty"`
	Framing       []string `json:"framing,omitempty"`
	Bearer        []string `json:"bearer,omitempty"`

	PhysicalChannel uint32      `json:"physical_channel,omitempty"`
	PrivateGroup    string      `json:"private_group,omitempty"`    // the LAC says that the user belongs to (P54)
	ProxyAuth       string      `json:"proxy_auth,omitempty"`       // how the LAC says that it authenticated the user (P187)
	ProcessingDelay uint16      `json:"processing_delay,omitempty"` // tenths of a second; of peers of the drafts before 13
	LineErrors      *LineErrors `json:"line_errors,omitempty"`      // as the LAC last reported them (P204)

	SequencesSent     bool `json:"sequences_sent"`     // we number data now
	SequencesRequired bool `json:"sequences_required"` // unnumbered data is dropped

	Auth     string `json:"auth,omitempty"`      // what the peer showed: none, pap, chap
	PeerAuth string `json:"peer_auth,omitempty"` // what we showed
	MPPE     bool   `json:"mppe,omitempty"`      // encrypted by MPPE with 128 bits
	Phase    string `json:"ppp_phase"`           // dead, establish, authenticate, network, terminate
	LCP      string `json:"lcp"`                 // state of RFC 1661
	IPCP     string `json:"ipcp"`
	IPV6CP   string `json:"ipv6cp"`

	StartedAt     time.Time    `json:"started_at"`
	EstablishedAt time.Time    `json:"established_at,omitzero"`
	IdleSeconds   int64        `json:"idle_seconds"`    // since user data last moved
	Debug         string       `json:"debug,omitempty"` // disabled, state, packet, state and packet: what is shown of it by debugs under way (S145)
	Data          *DataTraffic `json:"data,omitempty"`  // nil: not asked for, or no kernel session
}

// Forwarded is where a subscriber's call goes on: the kernel carries its frames between his line and this session.
type Forwarded struct {
	LNS       string         `json:"lns"` // as it is configured, or as it was found
	Address   netip.AddrPort `json:"address"`
	TunnelID  uint16         `json:"tunnel_id"`
	SessionID uint16         `json:"session_id"`
}

// LNS is what is known of one that subscribers' calls go to.
type LNS struct {
	Address     netip.AddrPort `json:"address"`
	Sessions    int            `json:"sessions"`
	LockedUntil time.Time      `json:"locked_until,omitzero"` // it did not serve, and is left alone
}

// Access is a place at which subscribers arrive. It counts since it is served.
type Access struct {
	Name     string     `json:"name"`     // the interface or the device
	Sessions int        `json:"sessions"` // subscribers that are there, or on their way in or out
	PPPoE    *Discovery `json:"pppoe,omitempty"`
}

// Discovery counts what an access concentrator of PPPoE has heard and said. Every packet that had no answer is in Dropped.
type Discovery struct {
	In             DiscoveryTraffic  `json:"in"`
	Out            DiscoveryTraffic  `json:"out"`
	Offered        uint64            `json:"offered"`           // sessions that the daemon was asked for, within all limits
	Repeated       uint64            `json:"repeated"`          // PADRs whose PADS was lost
	RefusedService uint64            `json:"refused_service"`   // PADRs without a service of ours
	RefusedLimit   uint64            `json:"refused_limit"`     // and beyond a limit on sessions
	RefusedOther   uint64            `json:"refused_other"`     // and those that the daemon could not or would not serve
	BadLines       uint64            `json:"bad_lines"`         // access-line tags that could not be read
	Unsent         uint64            `json:"unsent"`            // that the kernel did not take
	Overflowed     uint64            `json:"overflowed"`        // frames that found no room in the socket
	Dropped        map[string]uint64 `json:"dropped,omitempty"` // by reason: the words of "reason" in the log
}

// DiscoveryTraffic counts packets of discovery by their code.
type DiscoveryTraffic struct {
	PADI uint64 `json:"padi"`
	PADO uint64 `json:"pado"`
	PADR uint64 `json:"padr"`
	PADS uint64 `json:"pads"`
	PADT uint64 `json:"padt"`
}

// RADIUS is what is known of RADIUS servers, and of the accounting records for them.
type RADIUS struct {
	Servers []RADIUSServer `json:"servers"` // in the order in which they are asked; one that serves both purposes is there twice
	Records RADIUSRecords  `json:"records"`
}

// What a RADIUSServer is asked about.
const (
	RADIUSLogins     = "logins"
	RADIUSAccounting = "accounting"
)

// RADIUSServer is how one server serves one purpose.
type RADIUSServer struct {
	Name              string    `json:"name"`    // as it is configured
	Purpose           string    `json:"purpose"` // RADIUSLogins or RADIUSAccounting
	Requests          uint64    `json:"requests"`
	Retransmits       uint64    `json:"retransmits"` // of those
	Answers           uint64    `json:"answers"`     // that could be believed
	Accepts           uint64    `json:"accepts,omitempty"`
	Rejects           uint64    `json:"rejects,omitempty"`
	Timeouts          uint64    `json:"timeouts"`           // requests that were given up
	BadAuthenticators uint64    `json:"bad_authenticators"` // answers made with another secret
	Unsigned          uint64    `json:"unsigned"`           // answers without the Message-Authenticator that is demanded
	Malformed         uint64    `json:"malformed"`
	Outstanding       int       `json:"outstanding"`
	RTT               int64     `json:"rtt_ms"`
	DeadSince         time.Time `json:"dead_since,omitzero"` // it does not answer; zero: it does, or has not been asked
}

// RADIUSRecords count accounting records.
type RADIUSRecords struct {
	Delivered  uint64    `json:"delivered"`
	Superseded uint64    `json:"superseded"` // interim records that a later one has made needless
	Lost       uint64    `json:"lost"`       // for want of room
	Queued     int       `json:"queued"`     // that no server has taken yet
	Spooled    int       `json:"spooled"`    // of those, how many are on disk
	Oldest     time.Time `json:"oldest,omitzero"`
	DiskErrors uint64    `json:"disk_errors"`
}

// LineErrors are the counters of WAN-Error-Notify (RFC 2661, 4.4.6), since the line came up.
type LineErrors struct {
	CRC       uint32 `json:"crc"`
	Framing   uint32 `json:"framing"`
	Hardware  uint32 `json:"hardware_overruns"`
	Buffer    uint32 `json:"buffer_overruns"`
	TimeOut   uint32 `json:"time_outs"`
	Alignment uint32 `json:"alignment"`
}

// CallState is what a configured call is doing.
type CallState string

// States of a call.
const (
	CallIdle     CallState = "idle"     // not wanted: no autostart, or taken down
	CallWaiting  CallState = "waiting"  // for the next redial, or for the first packet (dial on demand)
	CallDialling CallState = "dialling" // tunnel or session or PPP being set up
	CallUp       CallState = "up"
	CallClosing  CallState = "closing" // on its way down
	CallPassive  CallState = "passive" // peer: any; waits to be called (S61)
)

// Call is one configured call (S129).
type Call struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`                 // virtual, isdn, async
	Peer       string         `json:"peer"`                 // as configured; "any" when passive
	PeerAddr   netip.AddrPort `json:"peer_addr,omitzero"`   // as resolved
	Remote     string         `json:"remote,omitempty"`     // name of the call at the other end (S62)
	Dial       string         `json:"dial,omitempty"`       // S65
	SubAddress string         `json:"sub_address,omitzero"` // S71
	Speed      uint32         `json:"speed,omitempty"`      // bit/s (S70)
	Precedence string         `json:"precedence"`           // in, out (S69)
	Sequencing string         `json:"sequencing"`           // always, on-request, startup (S66)
	PRE13      bool           `json:"pre13"`                // S68
	Method     string         `json:"method"`               // icrq, ocrq (S186)
	Secret     bool           `json:"secret"`               // one is configured
	AutoStart  bool           `json:"autostart"`
	OnDemand   bool           `json:"on_demand"`

	State      CallState    `json:"state"`
	TunnelID   uint16       `json:"tunnel_id,omitempty"`
	SessionID  uint16       `json:"session_id,omitempty"`
	Interface  string       `json:"interface,omitempty"`
	UpSince    time.Time    `json:"up_since,omitzero"`
	NextRedial time.Time    `json:"next_redial,omitzero"`
	LastError  *CallError   `json:"last_error,omitempty"`
	Attempts   CallAttempts `json:"attempts"`
}

// CallError is why a call is not up: one stage, one sentence, and the other side's words.
type CallError struct {
	At    time.Time `json:"at"`
	Stage string    `json:"stage"` // transport, tunnel, tunnel authentication, session, LCP, user authentication, address
	Text  string    `json:"text"`
	Peer  string    `json:"peer_says,omitempty"`
}

// CallAttempts count what became of a call's set-ups since the daemon started.
type CallAttempts struct {
	Out       uint64 `json:"out"` // we dialled
	In        uint64 `json:"in"`  // the peer called
	Succeeded uint64 `json:"succeeded"`
	Failed    uint64 `json:"failed"`
}
