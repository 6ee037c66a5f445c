package radius

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	codec "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3162"
	"layeh.com/radius/rfc4818"
	"layeh.com/radius/rfc6911"

	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// Answer is what a server said of a Request. All but Accept, Reason, Server, Message, MSCHAPError and Warnings is there only when
// Accept is set; what the server did not say is the zero value.
type Answer struct {
	Accept   bool
	Reason   string   // why not, for a log; empty when accepted
	Server   string   // who said so; empty when nobody was asked
	Message  string   // Reply-Message, for the user
	Warnings []string // what was wrong with the answer and could be left out

	Address     netip.Addr // Framed-IP-Address
	AddressNAS  bool       // 255.255.255.254: we choose
	AddressUser bool       // 255.255.255.255: the user chooses
	NetmaskBits int        // Framed-IP-Netmask; 0: none
	Routes      []Route    // behind the user
	Pool        string     // Framed-Pool
	DNS, NBNS   []netip.Addr

	InterfaceID       uint64         // of the user (IPV6CP)
	IPv6Prefixes      []netip.Prefix // for the link (router advertisement)
	IPv6Addresses     []netip.Addr   // for DHCPv6
	DelegatedPrefixes []netip.Prefix // for DHCPv6 prefix delegation
	IPv6Routes        []Route        // behind the user
	Announced         []netip.Prefix // Route-IPv6-Information: to be announced to the user (RFC 4191)
	IPv6Pool          string         // Framed-IPv6-Pool, of prefixes for the link
	DelegatedPool     string         // Delegated-IPv6-Prefix-Pool
	AddressPool       string         // Stateful-IPv6-Address-Pool
	IPv6DNS           []netip.Addr

	MTU             uint32
	SessionTimeout  *time.Duration // nil: not said
	IdleTimeout     *time.Duration
	InterimInterval time.Duration
	PortLimit       uint32
	Compression     []uint32 // Framed-Compression: 0 none, 1 Van Jacobson
	FilterIDs       []string
	Class           [][]byte // to be sent in accounting as it is

	MSCHAPSuccess string   // for ppp.CmdAuthResult
	MSCHAPError   string   // of a refusal, "E=691 R=0 ...", for ppp.MSCHAPError
	Keys          ppp.Keys // what MPPE starts from, if it was said
	MPPEPolicy    uint32   // 1: allowed, 2: required
	MPPETypes     uint32   // bits as in MS-MPPE-Encryption-Types

	Tunnels []Tunnel // usable ones, by preference
	// TunnelUnusable: the server wants a tunnel, but none that it named can be used (P230). Warnings say why.
	TunnelUnusable bool
}

// Route is a network behind the user. Without a gateway, it is the user's address.
type Route struct {
	Prefix  netip.Prefix
	Gateway netip.Addr
	Metric  uint32
}

// question is what an answer is to be read with.
type question struct {
	request       Request
	secret        []byte
	authenticator authenticator
	maxTunnels    int
}

// reader collects an Answer.
type reader struct {
	question
	a          Answer
	tunnels    tunnels
	send, recv []byte // MPPE keys, hidden
	v1         []byte
	invalid    string // what makes the whole answer unusable
}

func (r *reader) warn(text string) { r.a.Warnings = append(r.a.Warnings, text) }

// decode makes an Answer of an authenticated packet.
func (q question) decode(p *codec.Packet) Answer {
	r := &reader{question: q}
	accept := p.Code == codec.CodeAccessAccept
	for _, avp := range p.Attributes {
		var ok bool
		switch {
		case avp.Type == rfc2865.ReplyMessage_Type:
			r.a.Message += readText(avp.Attribute)
			ok = true
		case avp.Type == rfc2865.VendorSpecific_Type:
			ok = true
			if !eachVendor(avp.Attribute, r.vendor) {
				r.warn("a vendor's attributes do not add up")
			}
		case !accept:
			ok = true
		case isTunnel(avp.Type):
			ok = r.tunnels.add(avp.Type, avp.Attribute)
		default:
			ok = r.framed(avp.Type, avp.Attribute) && r.ipv6(avp.Type, avp.Attribute) && r.limits(avp.Type, avp.Attribute)
		}
		if !ok && r.invalid == "" {
			r.invalid = fmt.Sprintf("attribute %d of the accept is not valid", avp.Type)
		}
	}
	switch {
	case p.Code == codec.CodeAccessChallenge:
		return r.refuse("the server wants a dialog, which is not supported")
	case !accept:
		return r.refuse("refused by the server")
	case r.invalid != "":
		return r.refuse(r.invalid) // RFC 2865, 5
	case r.tunnels.types && !r.tunnels.l2tp:
		return r.refuse("the accept demands tunnels of which none is L2TP") // P231
	}
	r.keys()
	if r.request.Method == ppp.AuthMSCHAPv2 && r.a.MSCHAPSuccess == "" {
		return r.refuse("the accept has no MS-CHAP2-Success") // the peer would hang up
	}
	r.a.Tunnels = r.tunnels.list(q.secret, q.authenticator, q.maxTunnels, r.warn)
	r.a.TunnelUnusable = r.tunnels.any && len(r.a.Tunnels) == 0
	r.a.Accept = true
	return r.a
}

// refuse gives an Answer without what only an accepted one has.
func (r *reader) refuse(why string) Answer {
	return Answer{Reason: why, Message: r.a.Message, MSCHAPError: r.a.MSCHAPError, Warnings: r.a.Warnings}
}

// framed reads what IPv4 needs (P240). Like the others, it is false for a value that is not valid, true for foreign attributes.
func (r *reader) framed(t codec.Type, b []byte) (ok bool) {
	switch t {
	case codec.TypeInvalid: // is never on the wire
	case rfc2865.FramedIPAddress_Type:
		a, ok := readIPv4(b)
		switch a {
		case netip.AddrFrom4([4]byte{255, 255, 255, 254}):
			r.a.AddressNAS = true
		case netip.AddrFrom4([4]byte{255, 255, 255, 255}):
			r.a.AddressUser = true
		default:
			r.a.Address = a
		}
		return ok
	case rfc2865.FramedIPNetmask_Type:
		n, ok := readNumber(b)
		bits := 0
		for m := n; m&(1<<31) != 0; m <<= 1 {
			bits++
		}
		if n<<bits != 0 {
			r.warn("Framed-IP-Netmask has holes")
			return ok
		}
		r.a.NetmaskBits = bits
		return ok
	case rfc2865.FramedRoute_Type:
		r.route(&r.a.Routes, b, false)
	case rfc2869.FramedPool_Type:
		r.a.Pool = readText(b)
	case rfc2865.FramedCompression_Type:
		n, ok := readNumber(b)
		r.a.Compression = append(r.a.Compression, n)
		return ok
	case rfc2865.FramedProtocol_Type:
		n, ok := readNumber(b)
		return ok && n == framedPPP
	}
	return true
}

// ipv6 reads what IPv6 needs (P247-P249).
func (r *reader) ipv6(t codec.Type, b []byte) (ok bool) {
	addr := func(to *[]netip.Addr) bool {
		a, ok := readIPv6(b)
		*to = append(*to, a)
		return ok
	}
	prefix := func(to *[]netip.Prefix) bool {
		p, ok := readPrefix(b)
		*to = append(*to, p)
		return ok
	}
	switch t {
	case codec.TypeInvalid:
	case rfc3162.FramedInterfaceID_Type:
		if len(b) != 8 {
			return false
		}
		for _, o := range b {
			r.a.InterfaceID = r.a.InterfaceID<<8 | uint64(o)
		}
	case rfc3162.FramedIPv6Prefix_Type:
		return prefix(&r.a.IPv6Prefixes)
	case rfc3162.FramedIPv6Route_Type:
		r.route(&r.a.IPv6Routes, b, true)
	case rfc3162.FramedIPv6Pool_Type:
		r.a.IPv6Pool = readText(b)
	case rfc4818.DelegatedIPv6Prefix_Type:
		return prefix(&r.a.DelegatedPrefixes)
	case rfc6911.FramedIPv6Address_Type:
		return addr(&r.a.IPv6Addresses)
	case rfc6911.DNSServerIPv6Address_Type:
		return addr(&r.a.IPv6DNS)
	case rfc6911.RouteIPv6Information_Type:
		return prefix(&r.a.Announced)
	case rfc6911.DelegatedIPv6PrefixPool_Type:
		r.a.DelegatedPool = readText(b)
	case rfc6911.StatefulIPv6AddressPool_Type:
		r.a.AddressPool = readText(b)
	}
	return true
}

// limits reads what bounds a session. A service that is not ours makes an accept a refusal (RFC 2865, 5.6).
func (r *reader) limits(t codec.Type, b []byte) (ok bool) {
	switch t {
	case codec.TypeInvalid:
	case rfc2865.ServiceType_Type:
		n, ok := readNumber(b)
		return ok && (n == serviceFramed || n == serviceOutbound)
	case rfc2865.FramedMTU_Type:
		r.a.MTU, ok = readNumber(b)
		return ok
	case rfc2865.SessionTimeout_Type:
		r.a.SessionTimeout, ok = readSeconds(b)
		return ok
	case rfc2865.IdleTimeout_Type:
		r.a.IdleTimeout, ok = readSeconds(b)
		return ok
	case rfc2869.AcctInterimInterval_Type:
		d, ok := readSeconds(b)
		r.a.InterimInterval = *d
		return ok
	case rfc2865.PortLimit_Type:
		r.a.PortLimit, ok = readNumber(b)
		return ok
	case rfc2865.FilterID_Type:
		r.a.FilterIDs = append(r.a.FilterIDs, readText(b))
	case rfc2865.Class_Type:
		r.a.Class = append(r.a.Class, slices.Clone(b))
	}
	return true
}

// vendor reads Microsoft's attributes (P250). What is wrong with them is left out.
func (r *reader) vendor(vendor uint32, kind byte, b []byte) {
	if vendor != vendorMicrosoft {
		return
	}
	ok := true
	addr := func(to *[]netip.Addr) {
		var a netip.Addr
		if a, ok = readIPv4(b); ok {
			*to = append(*to, a)
		}
	}
	switch kind {
	case msPrimaryDNS, msSecondaryDNS:
		addr(&r.a.DNS)
	case msPrimaryNBNS, msSecondaryNBNS:
		addr(&r.a.NBNS)
	case msMPPEPolicy:
		r.a.MPPEPolicy, ok = readNumber(b)
	case msMPPETypes:
		r.a.MPPETypes, ok = readNumber(b)
	case msMPPESendKey:
		r.send = b
	case msMPPERecvKey:
		r.recv = b
	case msCHAPMPPEKeys:
		r.v1 = b
	case msCHAP2Success:
		if ok = len(b) > 1 && b[0] == r.request.ID; ok {
			r.a.MSCHAPSuccess = readText(b[1:])
		}
	case msCHAPError:
		if ok = len(b) > 1; ok {
			r.a.MSCHAPError = readText(b[1:])
		}
	}
	if !ok {
		r.warn(fmt.Sprintf("attribute %d of Microsoft is not valid", kind))
	}
}

// keys uncovers what MPPE starts from.
func (r *reader) keys() {
	if r.v1 != nil && r.request.Method == ppp.AuthMSCHAPv1 {
		// Hidden like a password: 8 octets for LAN Manager, 16 that servers fill with the hash of the hash, padding (RFC 2548, 2.4.1).
		plain, ok := uncover(r.v1, r.secret, r.authenticator)
		if !ok {
			r.warn("MS-CHAP-MPPE-Keys cannot be read")
			return
		}
		key := ppp.StartKeyMSCHAPv1(plain[8:24], r.request.Challenge)
		r.a.Keys = ppp.Keys{Send: key, Recv: slices.Clone(key)}
		return
	}
	if r.send == nil || r.recv == nil {
		return
	}
	send, _, err1 := codec.TunnelPassword(r.send, r.secret, r.authenticator[:])
	recv, _, err2 := codec.TunnelPassword(r.recv, r.secret, r.authenticator[:])
	if err1 != nil || err2 != nil || len(send) != ppp.KeySize || len(recv) != ppp.KeySize {
		r.warn("MS-MPPE-Send-Key or MS-MPPE-Recv-Key cannot be read")
		return
	}
	r.a.Keys = ppp.Keys{Send: send, Recv: recv}
}

// uncover reads MS-CHAP-MPPE-Keys. A password of the codec's would end at the first zero octet.
func uncover(b, secret []byte, a authenticator) (plain [32]byte, ok bool) {
	if len(b) != len(plain) {
		return plain, false
	}
	last := a[:]
	for at := 0; at < len(b); at += authenticatorSize {
		copy(plain[at:], xorDigest(b[at:at+authenticatorSize], secret, last))
		last = b[at : at+authenticatorSize]
	}
	return plain, true
}

// route adds a route of text, or a warning.
func (r *reader) route(to *[]Route, b []byte, v6 bool) {
	v, err := parseRoute(readText(b), v6)
	if err != nil {
		r.warn(err.Error())
		return
	}
	*to = append(*to, v)
}

// parseRoute reads "prefix gateway metric", of which the last two may be missing; more metrics are ignored. An IPv4 prefix without a
// length has that of its class (RFC 2865, 5.22; RFC 3162, 2.5).
func parseRoute(text string, v6 bool) (Route, error) {
	wrong := func(what string) (Route, error) {
		return Route{}, fmt.Errorf("route %q: %s is not valid", cut(text, 80), what)
	}
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return wrong("an empty one")
	}
	var v Route
	var err error
	if v.Prefix, err = netip.ParsePrefix(fields[0]); err != nil {
		a, err := netip.ParseAddr(fields[0])
		if err != nil || a.Zone() != "" {
			return wrong("the prefix")
		}
		v.Prefix = netip.PrefixFrom(a, classBits(a))
	}
	if v.Prefix.Addr().Is6() != v6 || v.Prefix.Addr().Is4In6() {
		return wrong("the prefix")
	}
	v.Prefix = v.Prefix.Masked()
	if len(fields) > 1 {
		a, err := netip.ParseAddr(fields[1])
		if err != nil || a.Is6() != v6 || a.Is4In6() || a.Zone() != "" {
			return wrong("the gateway")
		}
		if !a.IsUnspecified() {
			v.Gateway = a
		}
	}
	if len(fields) > 2 {
		n, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			return wrong("the metric")
		}
		v.Metric = uint32(n)
	}
	return v, nil
}

// classBits is the length of a prefix that has none.
func classBits(a netip.Addr) int {
	if a.Is6() {
		return 128
	}
	switch first := a.As4()[0]; {
	case first < 128:
		return 8
	case first < 192:
		return 16
	case first < 224:
		return 24
	}
	return 32
}
