package ppp

import (
	"fmt"
	"net/netip"
)

// IPCP options (RFC 1332, 3; RFC 1877). IP-Addresses (1), IP-Compression-Protocol (2) and unknown ones are rejected (P262).
const (
	ipcpAddress uint8 = 3
	ipcpDNS1    uint8 = 129
	ipcpNBNS1   uint8 = 130
	ipcpDNS2    uint8 = 131
	ipcpNBNS2   uint8 = 132
)

// IPCPRecord is IPCP's part of a Record.
type IPCPRecord struct {
	Negotiation
	Local     netip.Addr // in our request
	DNS       [2]IPv4    // in our request
	NoAddress bool       // the peer rejected the option, or will not agree
	NoDNS     [2]bool    // rejected by the peer

	Up       bool // EvNetworkUp has been sent
	Asked    bool // EvAddressWanted has been sent, with Wanted
	Answered bool // by CmdAddress, with Assigned
	Wanted   IPv4
	Assigned IPv4
	Insisted IPv4       // a wrong address that the peer still asked for after Max-Failure Naks
	Peer     netip.Addr // agreed on
}

// IPv4 is an IPv4 address, or none. A netip.Addr takes five times the room.
type IPv4 struct {
	Some   bool
	Octets [4]byte
}

// ipv4Of is a as an IPv4; none where it is not one.
func ipv4Of(a netip.Addr) IPv4 {
	if !a.Is4() {
		return IPv4{}
	}
	return IPv4{true, a.As4()}
}

// addr is x as an address; invalid: none.
func (x IPv4) addr() netip.Addr {
	if !x.Some {
		return netip.Addr{}
	}
	return netip.AddrFrom4(x.Octets)
}

// bytes is what stands in an option; nothing for none.
func (x IPv4) bytes() []byte {
	if !x.Some {
		return nil
	}
	return x.Octets[:]
}

// ipcp is the layer of IPCP.
type ipcp struct{ l *Link }

// reset prepares our wishes for a new negotiation; what the owner answered stays.
func (p ipcp) reset() {
	s := &p.l.s.IPCP
	s.Local, s.NoAddress, s.NoDNS, s.Insisted = p.l.cfg.Local, false, [2]bool{}, IPv4{}
	s.DNS = [2]IPv4{{Some: true}, {Some: true}}
	if p.l.cfg.IPv4 == IPv4Request {
		s.Local = netip.IPv4Unspecified()
	}
}

func (p ipcp) wishes() []byte {
	s := &p.l.s.IPCP
	var b []byte
	if s.Local.IsValid() && !s.NoAddress {
		b = appendOption(b, ipcpAddress, s.Local.AsSlice()...)
	}
	if p.l.cfg.WantDNS {
		for i, typ := range [...]uint8{ipcpDNS1, ipcpDNS2} {
			if !s.NoDNS[i] {
				b = appendOption(b, typ, s.DNS[i].Octets[:]...)
			}
		}
	}
	return b
}

func (p ipcp) judge(opts []option) verdict {
	var v verdict
	addressed := false
	for _, o := range opts {
		switch o.typ {
		case ipcpAddress:
			addressed = true
			p.judgeAddress(o, &v)
		case ipcpDNS1:
			judgeServer(o, p.l.cfg.DNS, 0, &v)
		case ipcpDNS2:
			judgeServer(o, p.l.cfg.DNS, 1, &v)
		case ipcpNBNS1:
			judgeServer(o, p.l.cfg.NBNS, 0, &v)
		case ipcpNBNS2:
			judgeServer(o, p.l.cfg.NBNS, 1, &v)
		default:
			v.reject(o)
		}
	}
	if !addressed && p.l.cfg.IPv4 == IPv4Own {
		s := &p.l.s.IPCP
		if s.Insisted.Some {
			// It gave up the option, hardly the address: an open link would drop its packets without a word.
			p.l.anomaly(p.insistence())
			p.l.negotiator(ProtoIPCP).fire(trClose)
			return v
		}
		p.want(netip.Addr{}, &v)
		if !v.hold && s.Naks == 0 {
			// Appended once: a peer that stays silent has its address configured (P262).
			v.ask(ipcpAddress, s.Assigned.bytes()...)
		}
	}
	return v
}

// insistence is what the peer insists on, in words; empty: on nothing.
func (p ipcp) insistence() string {
	s := &p.l.s.IPCP
	if !s.Insisted.Some {
		return ""
	}
	return fmt.Sprintf("the peer insists on the address %v, it should have %v", s.Insisted.addr(), s.Assigned.addr())
}

// want asks the owner for the peer's address, once a link; until the answer comes the request is held.
func (p ipcp) want(a netip.Addr, v *verdict) {
	s := &p.l.s.IPCP
	if !s.Asked {
		s.Asked, s.Wanted = true, ipv4Of(a)
		p.l.event(EvAddressWanted{Wanted: a})
	}
	v.hold = v.hold || !s.Answered
}

func (p ipcp) judgeAddress(o option, v *verdict) {
	s := &p.l.s.IPCP
	a, ok := netip.AddrFromSlice(o.data)
	if !ok || !a.Is4() {
		v.reject(o)
		return
	}
	switch p.l.cfg.IPv4 {
	case IPv4Own:
		p.want(a, v)
		if !v.hold && ipv4Of(a) != s.Assigned {
			if int(s.Naks) >= p.l.cfg.MaxFailure && usable(a) {
				s.Insisted = ipv4Of(a)
			}
			v.nak(o, s.Assigned.bytes()...)
		}
	case IPv4Request:
		if !usable(a) || a == s.Local {
			v.reject(o)
		}
	case IPv4Unnumbered:
		if a == s.Local {
			v.reject(o) // an address conflict is never acknowledged (P262)
			return
		}
		if usable(a) {
			return
		}
		p.want(a, v)
		if v.hold {
			return
		}
		if s.Assigned.Some {
			v.nak(o, s.Assigned.bytes()...)
		} else {
			v.reject(o)
		}
	case IPv4Off:
	}
}

// judgeServer offers the nth address of a kind, or rejects the question (P263).
func judgeServer(o option, have []netip.Addr, n int, v *verdict) {
	if n >= len(have) || !have[n].Is4() {
		v.reject(o)
		return
	}
	if a, ok := netip.AddrFromSlice(o.data); !ok || a != have[n] {
		v.nak(o, have[n].AsSlice()...)
	}
}

// usable says whether a can be one host's address.
func usable(a netip.Addr) bool {
	return a.Is4() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func (p ipcp) accept(opts []option) {
	s := &p.l.s.IPCP
	s.Peer = netip.Addr{}
	if p.l.cfg.IPv4 == IPv4Own {
		s.Peer = s.Assigned.addr()
	}
	for _, o := range opts {
		if o.typ == ipcpAddress {
			s.Peer, _ = netip.AddrFromSlice(o.data)
		}
	}
}

func (p ipcp) refused(c code, opts []option) bool {
	s := &p.l.s.IPCP
	for _, o := range opts {
		a, ok := netip.AddrFromSlice(o.data)
		ok = ok && a.Is4()
		switch o.typ {
		case ipcpAddress:
			if !p.refusedAddress(c, a, ok) {
				return false
			}
		case ipcpDNS1, ipcpDNS2:
			i := 0
			if o.typ == ipcpDNS2 {
				i = 1
			}
			if c == codeConfigureReject {
				s.NoDNS[i] = true
			} else if ok {
				s.DNS[i] = ipv4Of(a)
			}
		}
	}
	return true
}

// refusedAddress: only IPv4Request takes what the peer says (S164, S165); the others insist, without the option if need be.
func (p ipcp) refusedAddress(c code, a netip.Addr, ok bool) bool {
	s := &p.l.s.IPCP
	if c == codeConfigureReject {
		s.NoAddress = true
		return p.l.cfg.IPv4 != IPv4Request
	}
	switch p.l.cfg.IPv4 {
	case IPv4Request:
		if ok && usable(a) && a != s.Peer {
			s.Local = a
		}
	case IPv4Unnumbered:
		s.NoAddress = int(s.Refused) > p.l.cfg.MaxFailure
	case IPv4Own, IPv4Off:
	}
	return true
}

func (p ipcp) changed(c change) {
	l, s := p.l, &p.l.s.IPCP
	switch c {
	case layerUp:
		if l.cfg.IPv4 == IPv4Request && !usable(s.Local) {
			l.negotiator(ProtoIPCP).fire(trClose) // the peer agreed to no address at all
			return
		}
		var dns []netip.Addr
		for i, x := range s.DNS {
			if a := x.addr(); l.cfg.WantDNS && !s.NoDNS[i] && usable(a) {
				dns = append(dns, a)
			}
		}
		s.Up = true
		network{l}.up(EvNetworkUp{Proto: ProtoIPv4, Local: s.Local, Peer: s.Peer, DNS: dns})
	case layerDown:
		if s.Up {
			s.Up = false
			l.event(EvNetworkDown{Proto: ProtoIPv4})
		}
		p.reset()
	case layerFinished:
		network{l}.check()
	}
}

// assigned is the owner's answer to EvAddressWanted.
func (p ipcp) assigned(a netip.Addr) {
	l, s := p.l, &p.l.s.IPCP
	if s.Answered {
		return
	}
	if a.IsValid() && (!usable(a) || a == l.cfg.Local) {
		l.anomaly("the address for the peer is not usable: " + a.String())
		a = netip.Addr{}
	}
	s.Answered, s.Assigned = true, ipv4Of(a)
	l.out.Persist = true
	if !a.IsValid() && l.cfg.IPv4 == IPv4Own {
		l.negotiator(ProtoIPCP).fire(trClose)
		network{l}.check()
		return
	}
	l.negotiator(ProtoIPCP).release()
}
