package wire

import "strconv"

// avpHeaderLen is the length of an AVP without its value, in octets (RFC 2661, 4.1).
const avpHeaderLen = 6

// Limits of one AVP and of one message.
const (
	// MaxValue is the longest value of an AVP, in octets: the 10-bit length field counts the 6 octets before it too.
	MaxValue = 1023 - avpHeaderLen
	// MaxHiddenValue is the longest value that can be hidden: the hidden form begins with 2 octets of length.
	MaxHiddenValue = MaxValue - hiddenLengthLen
	// MaxAVPs is how many AVPs a received message may hold. The richest message of the catalogue has some 30.
	MaxAVPs = 128
)

// valueKind is the layout of a value; it decides how Summary shows it.
type valueKind uint8

const (
	kindBytes       valueKind = iota // opaque octets, shown in hexadecimal
	kindText                         // text, usually UTF-8 or ASCII
	kindUint16                       // number
	kindUint32                       // number
	kindUint64                       // 8 octets, shown in hexadecimal
	kindNumber                       // number of any size
	kindEmpty                        // no value: its presence is the statement
	kindMessageType                  // RFC 2661, 4.4.1
	kindResult                       // RFC 2661, 4.4.2
	kindVersion                      // version and revision octets
	kindFraming                      // framing bits
	kindBearer                       // bearer bits
	kindCause                        // Q.931 cause, cause message, advisory text
	kindCallErrors                   // reserved, six counters
	kindACCM                         // reserved, send and receive map
	kindDisconnect                   // RFC 3145: code, control protocol, direction, text
	kindAuthType                     // proxy authentication protocol
	kindSecret                       // never shown
)

// messageSet is a set of message types, one bit each; types beyond 31 do not exist.
type messageSet uint32

// One bit per message.
const (
	inSCCRQ   = messageSet(1) << MsgSCCRQ
	inSCCRP   = messageSet(1) << MsgSCCRP
	inSCCCN   = messageSet(1) << MsgSCCCN
	inStopCCN = messageSet(1) << MsgStopCCN
	inOCRQ    = messageSet(1) << MsgOCRQ
	inOCRP    = messageSet(1) << MsgOCRP
	inOCCN    = messageSet(1) << MsgOCCN
	inICRQ    = messageSet(1) << MsgICRQ
	inICRP    = messageSet(1) << MsgICRP
	inICCN    = messageSet(1) << MsgICCN
	inCDN     = messageSet(1) << MsgCDN
	inWEN     = messageSet(1) << MsgWEN
	inSLI     = messageSet(1) << MsgSLI

	// inWindow13 are the messages that carried a payload window before draft 13 (P281, P282).
	inWindow13 = inOCRQ | inOCCN | inICRP | inICCN
)

func (s messageSet) has(t MessageType) bool { return t < 32 && s&(1<<t) != 0 }

// attribute is one row of the catalogue: everything the codec knows about an AVP.
type attribute struct {
	name      string
	min, max  int // length of the value in octets, before hiding
	kind      valueKind
	mandatory bool // the M bit as we send it; what a peer sends may differ (P29)
	hidable   bool
	hide      bool // hidden when hiding is on (P44)
	repeat    bool // several copies are meaningful
	must, may messageSet
	// nameOnly marks AVPs of extensions that are not implemented: they have a name for logs and are otherwise
	// unrecognised, so their M bit decides (P212, P214, P217, P218, P225).
	nameOnly bool
}

// catalogue is the one table of AVPs: RFC 2661, 4.4 and section 6, and the extensions with a name. It is read only.
var catalogue = [...]attribute{
	AVPMessageType:         {name: "Message Type", min: 2, max: 2, kind: kindMessageType, mandatory: true},
	AVPResultCode:          {name: "Result Code", min: 2, max: MaxValue, kind: kindResult, mandatory: true, must: inStopCCN | inCDN},
	AVPProtocolVersion:     {name: "Protocol Version", min: 2, max: 2, kind: kindVersion, mandatory: true, must: inSCCRQ | inSCCRP},
	AVPFramingCapabilities: {name: "Framing Capabilities", min: 4, max: 4, kind: kindFraming, mandatory: true, hidable: true, must: inSCCRQ | inSCCRP},
	AVPBearerCapabilities:  {name: "Bearer Capabilities", min: 4, max: 4, kind: kindBearer, mandatory: true, hidable: true, may: inSCCRQ | inSCCRP},
	AVPTieBreaker:          {name: "Tie Breaker", min: 8, max: 8, kind: kindUint64, may: inSCCRQ},
	AVPFirmwareRevision:    {name: "Firmware Revision", min: 2, max: 2, kind: kindUint16, hidable: true, may: inSCCRQ | inSCCRP},
	AVPHostName:            {name: "Host Name", min: 1, max: MaxValue, kind: kindText, mandatory: true, must: inSCCRQ | inSCCRP},
	AVPVendorName:          {name: "Vendor Name", max: MaxValue, kind: kindText, hidable: true, may: inSCCRQ | inSCCRP},
	AVPAssignedTunnelID:    {name: "Assigned Tunnel ID", min: 2, max: 2, kind: kindUint16, mandatory: true, hidable: true, must: inSCCRQ | inSCCRP | inStopCCN},
	AVPReceiveWindowSize:   {name: "Receive Window Size", min: 2, max: 2, kind: kindUint16, mandatory: true, may: inSCCRQ | inSCCRP},
	AVPChallenge:           {name: "Challenge", min: 1, max: MaxValue, kind: kindSecret, mandatory: true, hidable: true, may: inSCCRQ | inSCCRP},
	AVPQ931CauseCode:       {name: "Q.931 Cause Code", min: 3, max: MaxValue, kind: kindCause, mandatory: true, may: inCDN},
	AVPChallengeResponse:   {name: "Challenge Response", min: 16, max: 16, kind: kindSecret, mandatory: true, hidable: true, may: inSCCRP | inSCCCN},
	AVPAssignedSessionID:   {name: "Assigned Session ID", min: 2, max: 2, kind: kindUint16, mandatory: true, hidable: true, must: inOCRQ | inOCRP | inICRQ | inICRP | inCDN},
	AVPCallSerialNumber:    {name: "Call Serial Number", min: 4, max: 4, kind: kindUint32, mandatory: true, hidable: true, must: inOCRQ | inICRQ},
	AVPMinimumBPS:          {name: "Minimum BPS", min: 4, max: 4, kind: kindUint32, mandatory: true, hidable: true, must: inOCRQ},
	AVPMaximumBPS:          {name: "Maximum BPS", min: 4, max: 4, kind: kindUint32, mandatory: true, hidable: true, must: inOCRQ},
	AVPBearerType:          {name: "Bearer Type", min: 4, max: 4, kind: kindBearer, mandatory: true, hidable: true, must: inOCRQ, may: inICRQ},
	AVPFramingType:         {name: "Framing Type", min: 4, max: 4, kind: kindFraming, mandatory: true, hidable: true, must: inOCRQ | inOCCN | inICCN},
	// Reserved by RFC 2661; Validate recognises it only from a peer older than draft 13 (P281, P282).
	AVPPacketProcDelay:      {name: "Packet Processing Delay", min: 2, max: 2, kind: kindUint16, mandatory: true, hidable: true, nameOnly: true},
	AVPCalledNumber:         {name: "Called Number", max: MaxValue, kind: kindText, mandatory: true, hidable: true, hide: true, must: inOCRQ, may: inICRQ},
	AVPCallingNumber:        {name: "Calling Number", max: MaxValue, kind: kindText, mandatory: true, hidable: true, hide: true, may: inICRQ},
	AVPSubAddress:           {name: "Sub-Address", max: MaxValue, kind: kindText, mandatory: true, hidable: true, may: inOCRQ | inICRQ},
	AVPTxConnectSpeed:       {name: "Tx Connect Speed", min: 4, max: 4, kind: kindUint32, mandatory: true, hidable: true, must: inOCCN | inICCN},
	AVPPhysicalChannelID:    {name: "Physical Channel ID", min: 4, max: 4, kind: kindUint32, hidable: true, may: inOCRP | inICRQ},
	AVPInitialRecvLCP:       {name: "Initial Received LCP CONFREQ", max: MaxValue, hidable: true, may: inICCN},
	AVPLastSentLCP:          {name: "Last Sent LCP CONFREQ", max: MaxValue, hidable: true, may: inICCN},
	AVPLastRecvLCP:          {name: "Last Received LCP CONFREQ", max: MaxValue, hidable: true, may: inICCN},
	AVPProxyAuthenType:      {name: "Proxy Authen Type", min: 2, max: 2, kind: kindAuthType, hidable: true, may: inICCN},
	AVPProxyAuthenName:      {name: "Proxy Authen Name", max: MaxValue, kind: kindText, hidable: true, hide: true, may: inICCN},
	AVPProxyAuthenChallenge: {name: "Proxy Authen Challenge", min: 1, max: MaxValue, kind: kindSecret, hidable: true, hide: true, may: inICCN},
	AVPProxyAuthenID:        {name: "Proxy Authen ID", min: 2, max: 2, kind: kindUint16, hidable: true, may: inICCN},
	AVPProxyAuthenResponse:  {name: "Proxy Authen Response", max: MaxValue, kind: kindSecret, hidable: true, hide: true, may: inICCN},
	AVPCallErrors:           {name: "Call Errors", min: 26, max: 26, kind: kindCallErrors, mandatory: true, hidable: true, must: inWEN},
	AVPACCM:                 {name: "ACCM", min: 10, max: 10, kind: kindACCM, mandatory: true, hidable: true, must: inSLI},
	AVPRandomVector:         {name: "Random Vector", max: MaxValue, mandatory: true, repeat: true, may: ^messageSet(0)},
	AVPPrivateGroupID:       {name: "Private Group ID", max: MaxValue, kind: kindText, hidable: true, may: inICCN},
	AVPRxConnectSpeed:       {name: "Rx Connect Speed", min: 4, max: 4, kind: kindUint32, hidable: true, may: inOCCN | inICCN},
	AVPSequencingRequired:   {name: "Sequencing Required", kind: kindEmpty, mandatory: true, may: inOCCN | inICCN},

	AVPRxMinimumBPS:      {name: "Rx Minimum BPS", min: 4, max: 4, kind: kindUint32, hidable: true, nameOnly: true},
	AVPRxMaximumBPS:      {name: "Rx Maximum BPS", min: 4, max: 4, kind: kindUint32, hidable: true, nameOnly: true},
	AVPServiceCategory:   {name: "Service Category", max: MaxValue, hidable: true, nameOnly: true},
	AVPServiceName:       {name: "Service Name", max: MaxValue, hidable: true, nameOnly: true},
	AVPCallingSubAddress: {name: "Calling Sub-Address", max: MaxValue, hidable: true, nameOnly: true},
	AVPVPIVCI:            {name: "VPI/VCI Identifier", max: MaxValue, hidable: true, nameOnly: true},
	// RFC 3145, 2: one copy for each network control protocol that came to an end (P208, P210).
	AVPPPPDisconnectCause:  {name: "PPP Disconnect Cause", min: 5, max: MaxValue, kind: kindDisconnect, hidable: true, repeat: true, may: inCDN},
	AVPControlConnectionDS: {name: "Control Connection DS", min: 2, max: 2, kind: kindUint16, hidable: true, nameOnly: true},
	AVPSessionDS:           {name: "Session DS", min: 2, max: 2, kind: kindUint16, hidable: true, nameOnly: true},
	// RFC 3437: hints, read and not acted upon. LCP Allow Options comes with M=1, so it must be recognised (P201).
	AVPLCPWantOptions:  {name: "LCP Want Options", max: MaxValue, hidable: true, may: inOCCN | inICCN},
	AVPLCPAllowOptions: {name: "LCP Allow Options", max: MaxValue, mandatory: true, hidable: true, may: inOCCN | inICCN},
	AVPLNSLastSentLCP:  {name: "LNS Last Sent LCP CONFREQ", max: MaxValue, hidable: true, may: inSLI},
	AVPLNSLastRecvLCP:  {name: "LNS Last Received LCP CONFREQ", max: MaxValue, hidable: true, may: inSLI},

	AVPModemOnHoldCapable: {name: "Modem On-Hold Capable", max: MaxValue, hidable: true, nameOnly: true},
	AVPModemOnHoldStatus:  {name: "Modem On-Hold Status", max: MaxValue, hidable: true, nameOnly: true},
	AVPPPPoERelay:         {name: "PPPoE Relay", max: MaxValue, hidable: true, nameOnly: true},
	AVPPPPoERelayResponse: {name: "PPPoE Relay Response Capability", max: MaxValue, hidable: true, nameOnly: true},
	AVPPPPoERelayForward:  {name: "PPPoE Relay Forward Capability", max: MaxValue, hidable: true, nameOnly: true},
	AVPExtendedVendorID:   {name: "Extended Vendor ID", max: MaxValue, hidable: true, nameOnly: true},

	AVPFailoverCapability:       {name: "Failover Capability", min: 6, max: 6, hidable: true, nameOnly: true},
	AVPTunnelRecovery:           {name: "Tunnel Recovery", min: 10, max: 10, mandatory: true, nameOnly: true},
	AVPSuggestedControlSequence: {name: "Suggested Control Sequence", min: 6, max: 6, hidable: true, nameOnly: true},
	AVPFailoverSessionState:     {name: "Failover Session State", min: 10, max: 10, mandatory: true, hidable: true, nameOnly: true},
	AVPConnectSpeedUpdate:       {name: "Connect Speed Update", min: 12, max: 12, hidable: true, nameOnly: true},
	AVPConnectSpeedUpdateEnable: {name: "Connect Speed Update Enable", kind: kindEmpty, hidable: true, nameOnly: true},
}

// lookup is the row of t, or nil if t has none.
func lookup(t AVPType) *attribute {
	if int(t) >= len(catalogue) || catalogue[t].name == "" {
		return nil
	}
	return &catalogue[t]
}

// String is the name in the RFC, or "AVP n".
func (t AVPType) String() string {
	if row := lookup(t); row != nil {
		return row.name
	}
	return "AVP " + strconv.Itoa(int(t))
}

// Known reports whether this implementation handles messages of type t. What it does not know is acknowledged and
// ignored, or clears the tunnel if its M bit is set (P26).
func (t MessageType) Known() bool {
	const known = inSCCRQ | inSCCRP | inSCCCN | inStopCCN | 1<<MsgHello |
		inOCRQ | inOCRP | inOCCN | inICRQ | inICRP | inICCN | inCDN | inWEN | inSLI
	return messageSet(known).has(t)
}

// Session reports whether messages of type t belong to one session: what is wrong with them ends the session by CDN,
// not the tunnel by StopCCN (RFC 2661, 4.1). It is false for types that are not Known.
func (t MessageType) Session() bool {
	const session = inOCRQ | inOCRP | inOCCN | inICRQ | inICRP | inICCN | inCDN | inWEN | inSLI
	return messageSet(session).has(t)
}

// String is the abbreviation used in the RFCs, or "message n".
func (t MessageType) String() string {
	switch t {
	case MsgSCCRQ:
		return "SCCRQ"
	case MsgSCCRP:
		return "SCCRP"
	case MsgSCCCN:
		return "SCCCN"
	case MsgStopCCN:
		return "StopCCN"
	case MsgHello:
		return "HELLO"
	case MsgOCRQ:
		return "OCRQ"
	case MsgOCRP:
		return "OCRP"
	case MsgOCCN:
		return "OCCN"
	case MsgICRQ:
		return "ICRQ"
	case MsgICRP:
		return "ICRP"
	case MsgICCN:
		return "ICCN"
	case MsgCDN:
		return "CDN"
	case MsgWEN:
		return "WEN"
	case MsgSLI:
		return "SLI"
	case MsgSRRQ:
		return "SRRQ"
	case MsgSRRP:
		return "SRRP"
	case MsgFSQ:
		return "FSQ"
	case MsgFSR:
		return "FSR"
	case MsgCSUN:
		return "CSUN"
	case MsgCSURQ:
		return "CSURQ"
	}
	return "message " + strconv.Itoa(int(t))
}
