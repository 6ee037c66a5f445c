package radius

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"

	codec "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2868"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3162"
)

// Vendors whose attributes are known; those of others are ignored (P251).
const (
	vendorMicrosoft = 311
	vendorADSLForum = 3561
)

// Attributes of Microsoft (RFC 2548).
const (
	msCHAPResponse  = 1
	msCHAPError     = 2
	msMPPEPolicy    = 7
	msMPPETypes     = 8
	msCHAPChallenge = 11
	msCHAPMPPEKeys  = 12
	msMPPESendKey   = 16
	msMPPERecvKey   = 17
	msCHAP2Response = 25
	msCHAP2Success  = 26
	msPrimaryDNS    = 28
	msSecondaryDNS  = 29
	msPrimaryNBNS   = 30
	msSecondaryNBNS = 31
)

// Attributes of the ADSL Forum (RFC 4679).
const (
	dslCircuitID  = 1
	dslRemoteID   = 2
	dslActualUp   = 129
	dslActualDown = 130
)

const (
	serviceFramed   = 2
	serviceOutbound = 5
	framedPPP       = 1
	tunnelL2TP      = 3
	mediumIPv4      = 1
	mediumIPv6      = 2
	// maxTag is the largest octet that is a tag (RFC 2868, 3.1); a larger one belongs to the string.
	maxTag = 0x1f
	// maxValue is the length of the longest attribute value.
	maxValue = 253
)

// PortType is a NAS-Port-Type.
type PortType uint32

// The port types of an LNS and of a LAC's lines (P239).
const (
	PortAsync    PortType = 0
	PortVirtual  PortType = 5
	PortEthernet PortType = 15
	PortPPPoE    PortType = 32
)

// NAS says who we are, in requests and when a server's request names its NAS.
type NAS struct {
	Identifier string
	IPv4, IPv6 netip.Addr // none: not sent
}

func (n NAS) add(p *codec.Attributes) {
	if n.IPv4.Is4() {
		p.Add(rfc2865.NASIPAddress_Type, n.IPv4.AsSlice())
	}
	addText(p, rfc2865.NASIdentifier_Type, n.Identifier)
	if n.IPv6.Is6() {
		p.Add(rfc3162.NASIPv6Address_Type, n.IPv6.AsSlice())
	}
}

// Port is where a session came in (P239). What is empty or zero is not sent, but the type is, unless all is empty.
type Port struct {
	Number         uint32 // NAS-Port
	Type           PortType
	ID             string // NAS-Port-Id
	CallingStation string
	CalledStation  string
	ConnectInfo    string
	Access         AccessLine
}

// AccessLine is what is known of a subscriber's DSL line (RFC 4679). What is empty or zero is not sent.
type AccessLine struct {
	CircuitID, RemoteID  string
	ActualUp, ActualDown uint32 // bit/s
}

func (l Port) add(p *codec.Attributes) {
	if l == (Port{}) {
		return
	}
	addNumber(p, rfc2865.NASPort_Type, l.Number)
	p.Add(rfc2865.NASPortType_Type, number(uint32(l.Type)))
	addText(p, rfc2869.NASPortID_Type, l.ID)
	addText(p, rfc2865.CallingStationID_Type, l.CallingStation)
	addText(p, rfc2865.CalledStationID_Type, l.CalledStation)
	addText(p, rfc2869.ConnectInfo_Type, l.ConnectInfo)
	addVendor(p, vendorADSLForum, dslCircuitID, []byte(cut(l.Access.CircuitID, 63)))
	addVendor(p, vendorADSLForum, dslRemoteID, []byte(cut(l.Access.RemoteID, 63)))
	if l.Access.ActualUp != 0 {
		addVendor(p, vendorADSLForum, dslActualUp, number(l.Access.ActualUp))
	}
	if l.Access.ActualDown != 0 {
		addVendor(p, vendorADSLForum, dslActualDown, number(l.Access.ActualDown))
	}
}

// TunnelInfo is the tunnel that a session uses: hints in an Access-Request, facts in accounting (P233). What is empty is not sent;
// without endpoints nothing is.
type TunnelInfo struct {
	ClientEndpoint, ServerEndpoint string // address or name
	ClientAuthID, ServerAuthID     string // host names
	AssignmentID                   string
	PrivateGroup                   string
	Connection                     string // Acct-Tunnel-Connection, accounting only
}

func (t TunnelInfo) add(p *codec.Attributes) {
	if t.ClientEndpoint == "" && t.ServerEndpoint == "" {
		return
	}
	medium := uint32(mediumIPv4)
	for _, s := range []string{t.ClientEndpoint, t.ServerEndpoint} {
		if a, err := netip.ParseAddr(s); err == nil && a.Is6() {
			medium = mediumIPv6
		}
	}
	p.Add(rfc2868.TunnelType_Type, number(tunnelL2TP)) // the tag octet of all is zero: there is one tunnel
	p.Add(rfc2868.TunnelMediumType_Type, number(medium))
	addTagged(p, rfc2868.TunnelClientEndpoint_Type, t.ClientEndpoint)
	addTagged(p, rfc2868.TunnelServerEndpoint_Type, t.ServerEndpoint)
	addTagged(p, rfc2868.TunnelPrivateGroupID_Type, t.PrivateGroup)
	addTagged(p, rfc2868.TunnelAssignmentID_Type, t.AssignmentID)
	addTagged(p, rfc2868.TunnelClientAuthID_Type, t.ClientAuthID)
	addTagged(p, rfc2868.TunnelServerAuthID_Type, t.ServerAuthID)
}

// number is the value of an integer attribute.
func number(n uint32) codec.Attribute { return binary.BigEndian.AppendUint32(nil, n) }

// cut bounds what others have chosen to what an attribute holds.
func cut(s string, most int) string { return s[:min(len(s), most)] }

// addText adds a text unless it is empty; the end of one that is too long is left out.
func addText(p *codec.Attributes, t codec.Type, s string) {
	if s != "" {
		p.Add(t, codec.Attribute(cut(s, maxValue)))
	}
}

// addTagged adds a text without tag. One that begins with what looks like a tag gets a tag of zero.
func addTagged(p *codec.Attributes, t codec.Type, s string) {
	if s != "" && s[0] <= maxTag {
		s = "\x00" + s
	}
	addText(p, t, s)
}

// addNumber adds an integer unless it is zero.
func addNumber(p *codec.Attributes, t codec.Type, n uint32) {
	if n != 0 {
		p.Add(t, number(n))
	}
}

// addVendor adds one attribute of a vendor unless it is empty.
func addVendor(p *codec.Attributes, vendor uint32, kind byte, value []byte) {
	if len(value) > 0 {
		v := append(binary.BigEndian.AppendUint32(nil, vendor), kind, byte(2+len(value)))
		p.Add(rfc2865.VendorSpecific_Type, append(v, value...))
	}
}

// eachVendor calls f for the attributes within a Vendor-Specific value; it is false when their lengths do not add up.
func eachVendor(value []byte, f func(vendor uint32, kind byte, value []byte)) bool {
	if len(value) < 4 {
		return false
	}
	vendor, rest := binary.BigEndian.Uint32(value), value[4:]
	if vendor != vendorMicrosoft && vendor != vendorADSLForum {
		f(vendor, 0, rest) // no rule says how others lay theirs out
		return true
	}
	for len(rest) > 0 {
		if len(rest) < 2 || rest[1] < 2 || int(rest[1]) > len(rest) {
			return false
		}
		f(vendor, rest[0], rest[2:rest[1]])
		rest = rest[rest[1]:]
	}
	return true
}

// readNumber reads an integer attribute.
func readNumber(b []byte) (uint32, bool) {
	if len(b) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b), true
}

// readSeconds reads an integer attribute that is a time.
func readSeconds(b []byte) (*time.Duration, bool) {
	n, ok := readNumber(b)
	d := time.Duration(n) * time.Second
	return &d, ok
}

// readIPv4 reads an address attribute.
func readIPv4(b []byte) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(b)
	return a, ok && a.Is4()
}

// readIPv6 reads an address attribute.
func readIPv6(b []byte) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(b)
	return a, ok && a.Is6()
}

// readPrefix reads an IPv6 prefix: a reserved octet, the length, and the octets, of which the last may be left out (P248). Bits beyond
// the length do not count.
func readPrefix(b []byte) (netip.Prefix, bool) {
	if len(b) < 2 || len(b) > 18 || b[1] > 128 {
		return netip.Prefix{}, false
	}
	var octets [16]byte
	copy(octets[:], b[2:])
	return netip.PrefixFrom(netip.AddrFrom16(octets), int(b[1])).Masked(), true
}

// readText makes a text of what a server sent. Interop: some end it with a zero octet.
func readText(b []byte) string { return strings.TrimRight(string(b), "\x00") }
