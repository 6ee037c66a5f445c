package radius

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	codec "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2867"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3162"
	"layeh.com/radius/rfc4818"
	"layeh.com/radius/rfc6911"
)

// Kind is the Acct-Status-Type of a record.
type Kind uint32

// The kinds of records (P241).
const (
	Start   Kind = 1
	Stop    Kind = 2
	Interim Kind = 3
	On      Kind = 7
	Off     Kind = 8
)

// String gives the name for logs.
func (k Kind) String() string {
	switch k {
	case Start:
		return "start"
	case Stop:
		return "stop"
	case Interim:
		return "interim"
	case On:
		return "on"
	case Off:
		return "off"
	}
	return fmt.Sprintf("kind %d", uint32(k))
}

// session says whether a record tells of a session, not of the whole machine.
func (k Kind) session() bool { return k == Start || k == Stop || k == Interim }

// TerminateCause is an Acct-Terminate-Cause (RFC 2866, 5.10; P242).
type TerminateCause uint32

// The causes; zero is not sent.
const (
	UserRequest        TerminateCause = 1
	LostCarrier        TerminateCause = 2
	LostService        TerminateCause = 3
	IdleTimeout        TerminateCause = 4
	SessionTimeout     TerminateCause = 5
	AdminReset         TerminateCause = 6
	AdminReboot        TerminateCause = 7
	PortError          TerminateCause = 8
	NASError           TerminateCause = 9
	NASRequest         TerminateCause = 10
	NASReboot          TerminateCause = 11
	PortUnneeded       TerminateCause = 12
	PortPreempted      TerminateCause = 13
	PortSuspended      TerminateCause = 14
	ServiceUnavailable TerminateCause = 15
	Callback           TerminateCause = 16
	UserError          TerminateCause = 17
	HostRequest        TerminateCause = 18
)

// Authentic is an Acct-Authentic: who let the user in; zero is not sent.
type Authentic uint32

// Who let a user in.
const (
	AuthenticRADIUS Authentic = 1
	AuthenticLocal  Authentic = 2
	AuthenticRemote Authentic = 3
)

// Record is one message of accounting. What is empty or zero is not sent, but for the counters and the time of a session's stop and
// interim records. Input is what the user sent.
type Record struct {
	Kind           Kind
	At             time.Time // when it happened; zero: now
	SessionID      string    // Acct-Session-Id: needed, but for On and Off
	MultiSessionID string
	User           string
	Authentic      Authentic
	Port           Port
	Tunnel         TunnelInfo
	Class          [][]byte // of the Answer

	Address           netip.Addr
	InterfaceID       uint64
	IPv6Prefixes      []netip.Prefix
	IPv6Addresses     []netip.Addr
	DelegatedPrefixes []netip.Prefix

	InputOctets, OutputOctets   uint64
	InputPackets, OutputPackets uint64
	SessionTime                 time.Duration
	Cause                       TerminateCause // of a stop, and of Off
}

// attributes encodes a record, but for the Acct-Delay-Time.
func (r Record) attributes(nas NAS) ([]byte, error) {
	var p codec.Packet
	p.Code = codec.CodeAccountingRequest
	p.Add(rfc2866.AcctStatusType_Type, number(uint32(r.Kind)))
	if len(r.SessionID) > maxValue || len(r.User) > maxValue {
		return nil, errors.New("the session id or the name is longer than 253 octets")
	}
	addText(&p.Attributes, rfc2866.AcctSessionID_Type, r.SessionID)
	addText(&p.Attributes, rfc2865.UserName_Type, r.User)
	nas.add(&p.Attributes)
	p.Add(rfc2869.EventTimestamp_Type, number(uint32(max(0, r.At.Unix()))))
	if r.Kind.session() {
		r.addSession(&p.Attributes)
	}
	if r.Kind == Stop || r.Kind == Interim {
		r.addCounters(&p.Attributes)
	}
	if r.Kind == Stop || r.Kind == Off {
		addNumber(&p.Attributes, rfc2866.AcctTerminateCause_Type, uint32(r.Cause))
	}
	b, err := p.MarshalBinary()
	if err != nil {
		return nil, err
	}
	if len(b) > codec.MaxPacketLength-6 {
		return nil, errors.New("it is too long")
	}
	return b[headerSize:], nil
}

// addSession adds what identifies a session and what it has.
func (r Record) addSession(p *codec.Attributes) {
	p.Add(rfc2865.ServiceType_Type, number(serviceFramed))
	p.Add(rfc2865.FramedProtocol_Type, number(framedPPP))
	addText(p, rfc2866.AcctMultiSessionID_Type, r.MultiSessionID)
	addNumber(p, rfc2866.AcctAuthentic_Type, uint32(r.Authentic))
	r.Port.add(p)
	r.Tunnel.add(p)
	addTagged(p, rfc2867.AcctTunnelConnection_Type, r.Tunnel.Connection)
	for _, c := range r.Class {
		if len(c) <= maxValue {
			p.Add(rfc2865.Class_Type, c)
		}
	}
	if r.Address.Is4() {
		p.Add(rfc2865.FramedIPAddress_Type, r.Address.AsSlice())
	}
	if r.InterfaceID != 0 {
		p.Add(rfc3162.FramedInterfaceID_Type, binary.BigEndian.AppendUint64(nil, r.InterfaceID))
	}
	for _, x := range r.IPv6Prefixes {
		addPrefix(p, rfc3162.FramedIPv6Prefix_Type, x)
	}
	for _, x := range r.DelegatedPrefixes {
		addPrefix(p, rfc4818.DelegatedIPv6Prefix_Type, x)
	}
	for _, a := range r.IPv6Addresses {
		if a.Is6() {
			p.Add(rfc6911.FramedIPv6Address_Type, a.AsSlice())
		}
	}
}

// addCounters adds what a session has used. What does not fit 32 bits is in the gigawords (RFC 2869, 5.1); packets wrap.
func (r Record) addCounters(p *codec.Attributes) {
	p.Add(rfc2866.AcctInputOctets_Type, number(uint32(r.InputOctets)))
	p.Add(rfc2866.AcctOutputOctets_Type, number(uint32(r.OutputOctets)))
	p.Add(rfc2866.AcctInputPackets_Type, number(uint32(r.InputPackets)))
	p.Add(rfc2866.AcctOutputPackets_Type, number(uint32(r.OutputPackets)))
	p.Add(rfc2869.AcctInputGigawords_Type, number(uint32(r.InputOctets>>32)))
	p.Add(rfc2869.AcctOutputGigawords_Type, number(uint32(r.OutputOctets>>32)))
	p.Add(rfc2866.AcctSessionTime_Type, number(seconds(r.SessionTime)))
}

// seconds bounds a time to what an attribute holds.
func seconds(d time.Duration) uint32 {
	return uint32(min(max(0, d/time.Second), math.MaxUint32))
}

// addPrefix adds an IPv6 prefix with as many octets as it needs.
func addPrefix(p *codec.Attributes, t codec.Type, x netip.Prefix) {
	if x.IsValid() && x.Addr().Is6() {
		octets := x.Masked().Addr().As16()
		p.Add(t, append(codec.Attribute{0, byte(x.Bits())}, octets[:(x.Bits()+7)/8]...))
	}
}

// accountingPacket makes an Accounting-Request of encoded attributes.
func accountingPacket(attrs, secret []byte, id uint8, delay time.Duration) []byte {
	b := append(make([]byte, headerSize, headerSize+len(attrs)+6), attrs...)
	b = append(b, byte(rfc2866.AcctDelayTime_Type), 6)
	b = binary.BigEndian.AppendUint32(b, seconds(delay))
	b[0], b[1] = byte(codec.CodeAccountingRequest), id
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[4:], digest(b, secret, authenticator{}))
	return b
}
