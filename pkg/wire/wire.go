package wire

// MessageType is the value of the Message Type AVP (RFC 2661, 4.4.1; RFC 3437, 3817, 4951, 5515).
type MessageType uint16

// Control messages (RFC 2661, section 6).
const (
	MsgSCCRQ   MessageType = 1
	MsgSCCRP   MessageType = 2
	MsgSCCCN   MessageType = 3
	MsgStopCCN MessageType = 4
	MsgHello   MessageType = 6
	MsgOCRQ    MessageType = 7
	MsgOCRP    MessageType = 8
	MsgOCCN    MessageType = 9
	MsgICRQ    MessageType = 10
	MsgICRP    MessageType = 11
	MsgICCN    MessageType = 12
	MsgCDN     MessageType = 14
	MsgWEN     MessageType = 15
	MsgSLI     MessageType = 16
)

// Control messages of extensions. They have names for logs; none is implemented, so they are handled as P26 says.
const (
	MsgSRRQ  MessageType = 18 // RFC 3817, PPPoE relay
	MsgSRRP  MessageType = 19
	MsgFSQ   MessageType = 21 // RFC 4951, failover
	MsgFSR   MessageType = 22
	MsgCSUN  MessageType = 28 // RFC 5515, access line information
	MsgCSURQ MessageType = 29
)

// AVPType is an attribute number of vendor 0 (RFC 2661, 4.4).
type AVPType uint16

// Attributes of vendor 0.
const (
	AVPMessageType          AVPType = 0
	AVPResultCode           AVPType = 1
	AVPProtocolVersion      AVPType = 2
	AVPFramingCapabilities  AVPType = 3
	AVPBearerCapabilities   AVPType = 4
	AVPTieBreaker           AVPType = 5
	AVPFirmwareRevision     AVPType = 6
	AVPHostName             AVPType = 7
	AVPVendorName           AVPType = 8
	AVPAssignedTunnelID     AVPType = 9
	AVPReceiveWindowSize    AVPType = 10
	AVPChallenge            AVPType = 11
	AVPQ931CauseCode        AVPType = 12
	AVPChallengeResponse    AVPType = 13
	AVPAssignedSessionID    AVPType = 14
	AVPCallSerialNumber     AVPType = 15
	AVPMinimumBPS           AVPType = 16
	AVPMaximumBPS           AVPType = 17
	AVPBearerType           AVPType = 18
	AVPFramingType          AVPType = 19
	AVPPacketProcDelay      AVPType = 20
	AVPCalledNumber         AVPType = 21
	AVPCallingNumber        AVPType = 22
	AVPSubAddress           AVPType = 23
	AVPTxConnectSpeed       AVPType = 24
	AVPPhysicalChannelID    AVPType = 25
	AVPInitialRecvLCP       AVPType = 26
	AVPLastSentLCP          AVPType = 27
	AVPLastRecvLCP          AVPType = 28
	AVPProxyAuthenType      AVPType = 29
	AVPProxyAuthenName      AVPType = 30
	AVPProxyAuthenChallenge AVPType = 31
	AVPProxyAuthenID        AVPType = 32
	AVPProxyAuthenResponse  AVPType = 33
	AVPCallErrors           AVPType = 34
	AVPACCM                 AVPType = 35
	AVPRandomVector         AVPType = 36
	AVPPrivateGroupID       AVPType = 37
	AVPRxConnectSpeed       AVPType = 38
	AVPSequencingRequired   AVPType = 39
	AVPPPPDisconnectCause   AVPType = 46
)

// Attributes of extensions. Most have only a name: see the catalogue.
const (
	AVPRxMinimumBPS             AVPType = 40 // RFC 3301, ATM
	AVPRxMaximumBPS             AVPType = 41
	AVPServiceCategory          AVPType = 42
	AVPServiceName              AVPType = 43
	AVPCallingSubAddress        AVPType = 44
	AVPVPIVCI                   AVPType = 45
	AVPControlConnectionDS      AVPType = 47 // RFC 3308, differentiated services
	AVPSessionDS                AVPType = 48
	AVPLCPWantOptions           AVPType = 49 // RFC 3437, LCP negotiation
	AVPLCPAllowOptions          AVPType = 50
	AVPLNSLastSentLCP           AVPType = 51
	AVPLNSLastRecvLCP           AVPType = 52
	AVPModemOnHoldCapable       AVPType = 53 // RFC 3573, modem on hold
	AVPModemOnHoldStatus        AVPType = 54
	AVPPPPoERelay               AVPType = 55 // RFC 3817, PPPoE relay
	AVPPPPoERelayResponse       AVPType = 56
	AVPPPPoERelayForward        AVPType = 57
	AVPExtendedVendorID         AVPType = 58 // RFC 3931
	AVPFailoverCapability       AVPType = 76 // RFC 4951, failover
	AVPTunnelRecovery           AVPType = 77
	AVPSuggestedControlSequence AVPType = 78
	AVPFailoverSessionState     AVPType = 79
	AVPConnectSpeedUpdate       AVPType = 97 // RFC 5515, access line information
	AVPConnectSpeedUpdateEnable AVPType = 98
)

// Framing and bearer bits (RFC 2661, 4.4.3): capabilities and types share them.
const (
	FramingSync   uint32 = 1
	FramingAsync  uint32 = 2
	BearerDigital uint32 = 1
	BearerAnalog  uint32 = 2
)

// Header is an L2TPv2 header, control or data (RFC 2661, 3.1).
type Header struct {
	Control     bool  // T bit
	HasLength   bool  // L bit
	HasSequence bool  // S bit
	HasOffset   bool  // O bit
	Priority    bool  // P bit
	Reset       bool  // 0x2000, the R bit of draft 12 (P286); reserved and ignored by RFC 2661
	Version     uint8 // low nibble, 2 for L2TPv2
	Length      uint16
	TunnelID    uint16
	SessionID   uint16
	Ns, Nr      uint16
	OffsetSize  uint16
}

// AVP is one attribute-value pair as it stands in a message (RFC 2661, 4.1).
// Value aliases the buffer it was parsed from.
type AVP struct {
	Mandatory bool // M bit
	Hidden    bool // H bit: Value is still ciphertext
	Reserved  bool // a reserved flag bit was set: treat as unrecognised (P25)
	Vendor    uint16
	Type      AVPType
	Value     []byte
}

// Message is one control message without its header. AVPs holds every AVP after Message Type, in order.
type Message struct {
	Type      MessageType
	Mandatory bool // M bit of the Message Type AVP
	AVPs      []AVP
	Ignored   []string // set by Unhide: one note for each AVP it removed, no secrets
}

// Result codes of StopCCN (RFC 2661, 4.4.2).
const (
	StopGeneral       uint16 = 1
	StopError         uint16 = 2
	StopChannelExists uint16 = 3
	StopNotAuthorised uint16 = 4
	StopVersion       uint16 = 5
	StopShutdown      uint16 = 6
	StopFSM           uint16 = 7
)

// Result codes of CDN (RFC 2661, 4.4.2).
const (
	CDNLostCarrier        uint16 = 1
	CDNError              uint16 = 2
	CDNAdmin              uint16 = 3
	CDNNoFacilitiesTemp   uint16 = 4
	CDNNoFacilitiesPerm   uint16 = 5
	CDNInvalidDestination uint16 = 6
	CDNNoCarrier          uint16 = 7
	CDNBusy               uint16 = 8
	CDNNoDialTone         uint16 = 9
	CDNTimeout            uint16 = 10
	CDNNoFraming          uint16 = 11
)

// General error codes (RFC 2661, 4.4.2).
const (
	ErrCodeNone             uint16 = 0
	ErrCodeNoControl        uint16 = 1
	ErrCodeLength           uint16 = 2
	ErrCodeValue            uint16 = 3
	ErrCodeResources        uint16 = 4
	ErrCodeSessionID        uint16 = 5
	ErrCodeVendor           uint16 = 6
	ErrCodeTryAnother       uint16 = 7
	ErrCodeUnknownMandatory uint16 = 8
)

// Result is the value of a Result Code AVP: why a tunnel or session ends, in the words of the protocol.
// Results are values told to the peer, never Go errors.
type Result struct {
	Code     uint16 // StopXxx in a StopCCN, CDNXxx in a CDN
	Error    uint16 // ErrCodeXxx; meaningful only when HasError
	HasError bool
	Text     string // UTF-8 as sent; use String for logs, it makes foreign bytes safe
}
