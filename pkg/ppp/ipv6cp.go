package ppp

import (
	"encoding/binary"
	"net/netip"
)

// ipv6cpInterfaceID is the only IPV6CP option in use (RFC 5072, 4.1).
const ipv6cpInterfaceID uint8 = 1

// IPV6CPRecord is IPV6CP's part of a Record.
type IPV6CPRecord struct {
	Negotiation
	Local   uint64
	NoLocal bool   // the peer rejected the option
	Peer    uint64 // agreed on; 0 when the peer has not said
	Up      bool   // EvNetworkUp has been sent
}

// ipv6cp is the layer of IPV6CP.
type ipv6cp struct{ l *Link }

func (p ipv6cp) reset() {
	s := p.l.s.IPV6CP
	s.NoLocal = false
	if s.Local == 0 {
		s.Local = p.l.cfg.IPv6ID
	}
	if s.Local == 0 {
		s.Local = p.newID()
	}
}

// newID makes an identifier that is not globally unique (the "u" bit is 0, RFC 5072, 4.1), not 0 and of neither side.
func (p ipv6cp) newID() uint64 {
	s := p.l.s.IPV6CP
	id := uint64(p.l.random32())<<32 | uint64(p.l.random32())
	id &^= 0x0200_0000_0000_0000
	for id == 0 || id == s.Local || id == s.Peer {
		id++
	}
	return id
}

func (p ipv6cp) wishes() []byte {
	s := p.l.s.IPV6CP
	if s.NoLocal {
		return nil
	}
	return appendOption(nil, ipv6cpInterfaceID, binary.BigEndian.AppendUint64(nil, s.Local)...)
}

// judge: 0 and our own identifier are Naked with another one; PeerIPv6ID, if set, is the only good one (P264). Both ends 0,
// which RFC 5072 rejects, cannot happen: ours never is.
func (p ipv6cp) judge(opts []option) verdict {
	s := p.l.s.IPV6CP
	var v verdict
	said := false
	for _, o := range opts {
		if o.typ != ipv6cpInterfaceID || len(o.data) != 8 {
			v.reject(o)
			continue
		}
		said = true
		id, fixed := binary.BigEndian.Uint64(o.data), p.l.cfg.PeerIPv6ID
		if id == 0 || id == s.Local || fixed != 0 && id != fixed {
			v.nak(o, p.suggestion()...)
		}
	}
	if !said && s.Naks == 0 {
		v.ask(ipv6cpInterfaceID, p.suggestion()...)
	}
	return v
}

func (p ipv6cp) suggestion() []byte {
	id := p.l.cfg.PeerIPv6ID
	if id == 0 || id == p.l.s.IPV6CP.Local {
		id = p.newID()
	}
	return binary.BigEndian.AppendUint64(nil, id)
}

func (p ipv6cp) accept(opts []option) {
	p.l.s.IPV6CP.Peer = 0
	for _, o := range opts {
		p.l.s.IPV6CP.Peer = binary.BigEndian.Uint64(o.data)
	}
}

func (p ipv6cp) refused(c code, opts []option) bool {
	s := p.l.s.IPV6CP
	for _, o := range opts {
		if o.typ != ipv6cpInterfaceID {
			continue
		}
		if c == codeConfigureReject {
			s.NoLocal = true
			continue
		}
		if len(o.data) != 8 {
			continue
		}
		id := binary.BigEndian.Uint64(o.data)
		if id == 0 || id == s.Local || id == s.Peer {
			id = p.newID()
		}
		s.Local = id
	}
	return true
}

func (p ipv6cp) changed(c change) {
	l, s := p.l, p.l.s.IPV6CP
	switch c {
	case layerUp:
		s.Up = true
		network{l}.up(EvNetworkUp{Proto: ProtoIPv6, Local: linkLocal(s.Local), Peer: linkLocal(s.Peer)})
	case layerDown:
		if s.Up {
			s.Up = false
			l.event(EvNetworkDown{Proto: ProtoIPv6})
		}
		p.reset()
	case layerFinished:
		network{l}.check()
	}
}

// linkLocal is fe80::/64 with an interface identifier; invalid when there is none.
func linkLocal(id uint64) netip.Addr {
	if id == 0 {
		return netip.Addr{}
	}
	b := [16]byte{0xfe, 0x80}
	binary.BigEndian.PutUint64(b[8:], id)
	return netip.AddrFrom16(b)
}
