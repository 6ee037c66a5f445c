package radius

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	codec "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3162"
	"layeh.com/radius/rfc3576"
	"layeh.com/radius/rfc4372"
)

// Outcome is what became of a server's request: Done, or the Error-Cause of a refusal (RFC 5176, 3.5).
type Outcome uint32

// Outcomes. Handlers give Done, NotFound, NotRemovable, NoResources, ManySessions, BadValue or Prohibited.
const (
	Done            Outcome = 0
	Unsupported     Outcome = 401 // an attribute
	Missing         Outcome = 402 // an attribute
	OtherNAS        Outcome = 403
	InvalidRequest  Outcome = 404
	UnsupportedType Outcome = 405 // a Service-Type
	BadValue        Outcome = 407
	Prohibited      Outcome = 501
	NotFound        Outcome = 503 // no session matches
	NotRemovable    Outcome = 504
	NoResources     Outcome = 506
	ManySessions    Outcome = 508 // several match, and the handler does not act on all
)

// String gives the name for logs.
func (o Outcome) String() string {
	switch o {
	case Done:
		return "done"
	case Unsupported:
		return "unsupported attribute"
	case Missing:
		return "missing attribute"
	case OtherNAS:
		return "NAS identification mismatch"
	case InvalidRequest:
		return "invalid request"
	case UnsupportedType:
		return "unsupported service"
	case BadValue:
		return "invalid attribute value"
	case Prohibited:
		return "administratively prohibited"
	case NotFound:
		return "session context not found"
	case NotRemovable:
		return "session context not removable"
	case NoResources:
		return "resources unavailable"
	case ManySessions:
		return "multiple session selection unsupported"
	}
	return fmt.Sprintf("error cause %d", uint32(o))
}

// Match says which sessions a server means (P246): those to which all that is set applies. At least one thing is.
type Match struct {
	User           string
	SessionID      string // Acct-Session-Id
	MultiSessionID string // Acct-Multi-Session-Id
	Address        netip.Addr
	Port           *uint32 // NAS-Port
	PortID         string  // NAS-Port-Id
	CallingStation string
	CalledStation  string
	ChargeableUser string  // Chargeable-User-Identity
	InterfaceID    *uint64 // only together with IPv6Prefix
	IPv6Prefix     netip.Prefix
}

// Change is what a CoA-Request asks for: all of it or nothing. What is nil is not to change.
type Change struct {
	SessionTimeout  *time.Duration
	IdleTimeout     *time.Duration
	InterimInterval *time.Duration
	FilterIDs       []string
	Class           [][]byte
	PortLimit       *uint32
	MTU             *uint32
	Pool            *string // Framed-Pool, which a session that has its address may ignore
}

// demand is a server's request, taken apart.
type demand struct {
	coa     bool
	match   Match
	change  Change
	at      *time.Time        // Event-Timestamp
	proxies []codec.Attribute // Proxy-State, in order
	signed  bool
	found   bool // there is an identification of a session
	changes bool // there is something to change
}

// read takes an authentic request apart. The outcome is Done unless it must be refused; what has been read until then is there, and the
// Proxy-States and the time in any case.
func (d *demand) read(p *codec.Packet, nas NAS) Outcome {
	d.coa = p.Code == codec.CodeCoARequest
	outcome := Done
	seen := map[codec.Type]bool{}
	for _, avp := range p.Attributes {
		o := d.attribute(avp.Type, avp.Attribute, nas)
		if once(avp.Type) && seen[avp.Type] && o == Done {
			o = InvalidRequest
		}
		seen[avp.Type] = true
		if outcome == Done {
			outcome = o
		}
	}
	switch {
	case outcome != Done:
		return outcome
	case d.match.InterfaceID != nil && !d.match.IPv6Prefix.IsValid():
		return Missing // an interface id means nothing without its prefix (P246)
	case !d.found, d.coa && !d.changes:
		return Missing
	}
	return Done
}

// once says whether an attribute may be there only once (RFC 5176, 3.6).
func once(t codec.Type) bool {
	return !slices.Contains([]codec.Type{
		rfc2865.ProxyState_Type, rfc2865.ReplyMessage_Type, rfc2865.Class_Type, rfc2865.FilterID_Type, rfc2865.VendorSpecific_Type,
	}, t)
}

// verdict makes an outcome of whether a value is valid.
func verdict(ok bool) Outcome {
	if ok {
		return Done
	}
	return BadValue
}

// attribute reads one attribute.
func (d *demand) attribute(t codec.Type, b []byte, nas NAS) Outcome {
	switch t {
	case rfc2865.NASIPAddress_Type:
		a, ok := readIPv4(b)
		return d.ours(ok, a == nas.IPv4)
	case rfc2865.NASIdentifier_Type:
		return d.ours(len(b) > 0, string(b) == nas.Identifier)
	case rfc3162.NASIPv6Address_Type:
		a, ok := readIPv6(b)
		return d.ours(ok, a == nas.IPv6)
	case rfc2865.ProxyState_Type:
		d.proxies = append(d.proxies, slices.Clone(codec.Attribute(b)))
	case rfc2869.MessageAuthenticator_Type:
		d.signed = true
	case rfc2869.EventTimestamp_Type:
		n, ok := readNumber(b)
		at := time.Unix(int64(n), 0)
		d.at = &at
		return verdict(ok)
	case rfc2865.ReplyMessage_Type, codec.TypeInvalid: // the latter is never on the wire
	case rfc2866.AcctTerminateCause_Type:
		if d.coa {
			return Unsupported
		}
	case rfc2865.ServiceType_Type:
		return UnsupportedType // P244: nothing but a plain change, no Authorize Only
	default:
		if o, known := d.identity(t, b); known {
			d.found = true
			return o
		}
		return d.setting(t, b)
	}
	return Done
}

// ours refuses what is meant for another NAS.
func (d *demand) ours(valid, same bool) Outcome {
	switch {
	case !valid:
		return BadValue
	case !same:
		return OtherNAS
	}
	return Done
}

// identity reads what says which session is meant.
func (d *demand) identity(t codec.Type, b []byte) (o Outcome, known bool) {
	text := func(to *string) (Outcome, bool) {
		*to = string(b)
		return verdict(len(b) > 0), true
	}
	m := &d.match
	switch t {
	case codec.TypeInvalid:
	case rfc2865.UserName_Type:
		return text(&m.User)
	case rfc2866.AcctSessionID_Type:
		return text(&m.SessionID)
	case rfc2866.AcctMultiSessionID_Type:
		return text(&m.MultiSessionID)
	case rfc2869.NASPortID_Type:
		return text(&m.PortID)
	case rfc2865.CallingStationID_Type:
		return text(&m.CallingStation)
	case rfc2865.CalledStationID_Type:
		return text(&m.CalledStation)
	case rfc4372.ChargeableUserIdentity_Type:
		return text(&m.ChargeableUser)
	case rfc2865.NASPort_Type:
		n, ok := readNumber(b)
		m.Port = &n
		return verdict(ok), true
	case rfc2865.FramedIPAddress_Type:
		var ok bool
		m.Address, ok = readIPv4(b)
		return verdict(ok), true
	case rfc3162.FramedInterfaceID_Type:
		var n uint64
		for _, o := range b {
			n = n<<8 | uint64(o)
		}
		m.InterfaceID = &n
		return verdict(len(b) == 8), true
	case rfc3162.FramedIPv6Prefix_Type:
		var ok bool
		m.IPv6Prefix, ok = readPrefix(b)
		return verdict(ok), true
	}
	return Done, false
}

// setting reads what a CoA-Request changes. In a Disconnect-Request only Class is allowed, and means nothing.
func (d *demand) setting(t codec.Type, b []byte) Outcome {
	if !d.coa {
		if t == rfc2865.Class_Type {
			return Done
		}
		return Unsupported
	}
	d.changes = true
	c := &d.change
	var ok bool
	switch t {
	case codec.TypeInvalid:
	case rfc2865.SessionTimeout_Type:
		c.SessionTimeout, ok = readSeconds(b)
	case rfc2865.IdleTimeout_Type:
		c.IdleTimeout, ok = readSeconds(b)
	case rfc2869.AcctInterimInterval_Type:
		c.InterimInterval, ok = readSeconds(b)
	case rfc2865.FilterID_Type:
		c.FilterIDs, ok = append(c.FilterIDs, string(b)), len(b) > 0
	case rfc2865.Class_Type:
		c.Class, ok = append(c.Class, slices.Clone(b)), len(b) > 0
	case rfc2865.PortLimit_Type:
		var n uint32
		n, ok = readNumber(b)
		c.PortLimit = &n
	case rfc2865.FramedMTU_Type:
		var n uint32
		n, ok = readNumber(b)
		c.MTU = &n
	case rfc2869.FramedPool_Type:
		s := string(b)
		c.Pool, ok = &s, len(b) > 0
	default:
		return Unsupported
	}
	return verdict(ok)
}

// answer encodes an answer to a request of this id and authenticator.
func (d *demand) answer(o Outcome, secret []byte, id uint8, a authenticator) ([]byte, error) {
	p := codec.Packet{Identifier: id, Authenticator: a, Secret: secret}
	switch {
	case d.coa && o == Done:
		p.Code = codec.CodeCoAACK
	case d.coa:
		p.Code = codec.CodeCoANAK
	case o == Done:
		p.Code = codec.CodeDisconnectACK
	default:
		p.Code = codec.CodeDisconnectNAK
	}
	if o != Done {
		p.Add(rfc3576.ErrorCause_Type, number(uint32(o)))
	}
	for _, s := range d.proxies {
		p.Add(rfc2865.ProxyState_Type, s)
	}
	if d.signed {
		return sign(&p)
	}
	return p.Encode()
}
