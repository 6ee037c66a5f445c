package ppp

import (
	"encoding/binary"
	"slices"
	"strings"
)

// LCP options (RFC 1661, 6). The others that exist, Quality-Protocol, Callback, MRRU, SSNHF, Endpoint-Discriminator and
// Link-Discriminator among them, are rejected like unknown ones (P253, P268 to P270).
const (
	lcpMRU   uint8 = 1
	lcpACCM  uint8 = 2
	lcpAuth  uint8 = 3
	lcpMagic uint8 = 5
	lcpPFC   uint8 = 7
	lcpACFC  uint8 = 8
)

const (
	defaultMRU = 1500
	// DefaultACCM escapes every control character: what holds where no map was agreed on (RFC 1662, 7.1).
	DefaultACCM uint32 = 1<<32 - 1
	// minMRU is the least we let a peer ask for; below it not even our own control packets fit reliably.
	minMRU = 128
	// The algorithm octets of the CHAP option (RFC 1994, 3; RFC 2433, 3; RFC 2759, 3).
	chapMD5     = 5
	chapMSCHAP1 = 0x80
	chapMSCHAP2 = 0x81
)

// LCPRecord is LCP's part of a Record.
type LCPRecord struct {
	Negotiation
	MRU       uint16 // in our request; 0: the option was rejected or is not needed
	PeerMRU   uint16
	ACCM      uint32  // what the peer escapes on its way to us: of our making with Config.Async only, else perhaps of the LAC's
	AskedACCM bool    // it is in our request, where it is of our making
	Initial   *[]byte // with Config.Hold: options of the peer's first request in this negotiation
	Settled   bool    // with it: LCP has been open since Initial came
	PeerACCM  uint32
	Magic     uint32 // 0: rejected
	PeerMagic uint32
	NakMagic  uint32 // the value of our latest Nak of a magic number
	Loops     int    // Configure-Requests in a row with our own magic number
	Auth      AuthMethod
	Answer    AuthMethod
	Tried     uint8 // set of AuthMethods that the peer has refused
	NoLogin   bool  // the peer wants a login, and we have refused: none is configured
}

// lcp is the layer of LCP.
type lcp struct{ l *Link }

// reset forgets what an earlier negotiation taught: the next one may be with another box (P197).
func (p lcp) reset() {
	s := &p.l.s.LCP
	s.MRU, s.Magic, s.Auth, s.Tried, s.NoLogin, s.ACCM = 0, p.l.random32(), AuthNone, 0, false, DefaultACCM
	s.AskedACCM = p.l.cfg.Async
	if s.AskedACCM {
		s.ACCM = 0
	}
	if p.l.cfg.MRU != defaultMRU {
		s.MRU = p.l.cfg.MRU
	}
	if len(p.l.cfg.Auth) > 0 {
		s.Auth = p.l.cfg.Auth[0]
	}
}

func (p lcp) wishes() []byte {
	s := &p.l.s.LCP
	var b []byte
	if s.MRU != 0 {
		b = appendOption(b, lcpMRU, byte(s.MRU>>8), byte(s.MRU))
	}
	if s.AskedACCM {
		b = appendOption(b, lcpACCM, binary.BigEndian.AppendUint32(nil, s.ACCM)...)
	}
	if s.Auth != AuthNone {
		b = appendOption(b, lcpAuth, authOption(s.Auth)...)
	}
	if s.Magic != 0 {
		b = appendOption(b, lcpMagic, binary.BigEndian.AppendUint32(nil, s.Magic)...)
	}
	return b
}

func (p lcp) judge(opts []option) verdict {
	var v verdict
	if s := &p.l.s.LCP; p.l.cfg.Hold && (s.Initial == nil || s.Settled) {
		var list []byte
		for _, o := range opts {
			list = append(list, o.raw...)
		}
		s.Initial, s.Settled = &list, false
	}
	for _, o := range opts {
		switch o.typ {
		case lcpMRU:
			p.judgeMRU(o, &v)
		case lcpACCM, lcpPFC, lcpACFC:
			p.judgeFraming(o, &v)
		case lcpAuth:
			p.judgeAuth(o, &v)
		case lcpMagic:
			p.judgeMagic(o, &v)
		default:
			v.reject(o)
		}
	}
	return v
}

// judgeMRU: on Ethernet a peer takes no more than that carries.
func (p lcp) judgeMRU(o option, v *verdict) {
	most := p.l.cfg.Ethernet
	switch {
	case len(o.data) != 2:
		v.nak(o, defaultMRU>>8, defaultMRU&0xff)
	case binary.BigEndian.Uint16(o.data) < minMRU:
		v.nak(o, 0, minMRU)
	case most != 0 && binary.BigEndian.Uint16(o.data) > most:
		v.nak(o, byte(most>>8), byte(most))
	}
}

// judgeFraming: on Ethernet nothing is stuffed or compressed. Elsewhere any map is fine, and may be news to a LAC that stuffs octets
// (RFC 2661, 4.4.6; P205, P253, P272).
func (p lcp) judgeFraming(o option, v *verdict) {
	switch {
	case p.l.cfg.Ethernet != 0:
		v.reject(o)
	case o.typ == lcpACCM && len(o.data) != 4:
		v.nak(o, 0, 0, 0, 0)
	case o.typ != lcpACCM && len(o.data) != 0:
		v.nak(o)
	}
}

// judgeAuth: a method of cfg.Answer is fine, another one is Naked with the one we like best, and without any we refuse to
// authenticate (RFC 1661, 6.2).
func (p lcp) judgeAuth(o option, v *verdict) {
	if p.l.cfg.User == "" || len(p.l.cfg.Answer) == 0 {
		p.l.s.LCP.NoLogin = true
		v.reject(o)
		return
	}
	if m, ok := parseAuthOption(o.data); !ok || !slices.Contains(p.l.cfg.Answer, m) {
		v.nak(o, authOption(p.l.cfg.Answer[0])...)
	}
}

// judgeMagic: our own number coming back means a looped line, or chance; MaxFailure times in a row it is a loop
// (RFC 1661, 6.4).
func (p lcp) judgeMagic(o option, v *verdict) {
	s := &p.l.s.LCP
	if len(o.data) == 4 {
		m := binary.BigEndian.Uint32(o.data)
		if m != 0 && m != s.Magic {
			s.Loops = 0
			return
		}
		if m != 0 {
			s.Loops++
			if s.Loops >= p.l.cfg.MaxFailure {
				p.l.fail(ReasonLoop, false, "")
				return
			}
		}
	}
	s.NakMagic = p.l.random32()
	v.nak(o, binary.BigEndian.AppendUint32(nil, s.NakMagic)...)
}

func (p lcp) accept(opts []option) {
	s := &p.l.s.LCP
	s.PeerMRU, s.PeerACCM, s.PeerMagic, s.Answer = defaultMRU, DefaultACCM, 0, AuthNone
	for _, o := range opts {
		switch o.typ {
		case lcpMRU:
			s.PeerMRU = binary.BigEndian.Uint16(o.data)
		case lcpACCM:
			s.PeerACCM = binary.BigEndian.Uint32(o.data)
		case lcpMagic:
			s.PeerMagic = binary.BigEndian.Uint32(o.data)
		case lcpAuth:
			s.Answer, _ = parseAuthOption(o.data)
		}
	}
	s.PeerMRU = p.carried(s.PeerMRU)
}

// carried bounds an MRU, which an end that says nothing of it has too, by what Ethernet carries.
func (p lcp) carried(mru uint16) uint16 {
	if most := p.l.cfg.Ethernet; most != 0 {
		return min(mru, most)
	}
	return mru
}

func (p lcp) refused(c code, opts []option) bool {
	s := &p.l.s.LCP
	for _, o := range opts {
		switch o.typ {
		case lcpMRU:
			if c == codeConfigureReject {
				s.MRU = 0
			} else if s.MRU != 0 && len(o.data) == 2 {
				// The peer may want less, not more than we can take.
				if m := binary.BigEndian.Uint16(o.data); m >= minMRU && m < s.MRU {
					s.MRU = m
				}
			}
		case lcpACCM:
			if c == codeConfigureReject {
				s.AskedACCM, s.ACCM = false, DefaultACCM
			} else if len(o.data) == 4 { // the peer wants more escaped than we (RFC 1662, 7.1)
				s.ACCM |= binary.BigEndian.Uint32(o.data)
			}
		case lcpMagic:
			if c == codeConfigureReject {
				s.Magic = 0
			} else if s.Magic != 0 {
				s.Magic = p.l.random32()
			}
		case lcpAuth:
			if s.Auth != AuthNone && !p.nextAuth(o) {
				p.l.s.Goodbye = "authentication required"
				p.l.fail(ReasonAuthRefused, true, "")
				return false
			}
		}
	}
	return true
}

// nextAuth moves on to the method that the peer suggests, else to our next one that it has not refused (P256).
func (p lcp) nextAuth(o option) bool {
	s := &p.l.s.LCP
	s.Tried |= 1 << s.Auth
	if m, ok := parseAuthOption(o.data); ok && s.Tried&(1<<m) == 0 && slices.Contains(p.l.cfg.Auth, m) {
		s.Auth = m
		return true
	}
	for _, m := range p.l.cfg.Auth {
		if s.Tried&(1<<m) == 0 {
			s.Auth = m
			return true
		}
	}
	return false
}

func (p lcp) changed(c change) {
	l := p.l
	switch c {
	case layerUp:
		s := &l.s.LCP
		s.Settled = s.Initial != nil
		l.event(EvLinkUp{MRU: p.mru(), PeerMRU: s.PeerMRU, ACCM: s.ACCM, PeerACCM: s.PeerACCM, Auth: s.Auth, Answer: s.Answer})
		if l.cfg.EchoInterval > 0 {
			l.s.EchoAt, l.s.EchoTries = l.now+l.cfg.EchoInterval, 0
		}
		l.s.PeerLeft, l.s.PeerWords = false, ""
		auth{l}.begin()
	case layerDown:
		l.s.EchoAt, l.s.Proxied = 0, false
		auth{l}.stop()
		network{l}.stop()
		l.s.Phase = PhaseTerminate
		if l.s.LCP.State == stReqSent || l.s.LCP.State == stAckSent {
			l.s.Phase = PhaseEstablish
			p.reset()
		}
	case layerFinished:
		if l.s.PeerLeft {
			l.note(ReasonPeer, true, l.s.PeerWords)
		}
		l.note(ReasonNoAnswer, false, "")
		l.finish()
	}
}

// receive handles the codes that only LCP has and leaves the rest to the automaton.
func (p lcp) receive(in packet) {
	l := p.l
	n := l.negotiator(ProtoLCP)
	opened := l.s.LCP.State == stOpened
	switch in.code {
	case codeTerminateRequest:
		if opened {
			l.note(ReasonPeer, true, string(in.data))
		} else {
			// The automaton goes on asking (RFC 1661, 4.1), but not for long: this peer has most likely gone for good.
			l.s.PeerLeft, l.s.PeerWords = true, strings.ToValidUTF8(string(in.data), "?")
			n.s.Restarts = min(n.s.Restarts, l.cfg.MaxTerminate)
		}
		n.receive(in)
	case codeProtocolReject:
		if opened && len(in.data) >= 2 {
			p.protocolRejected(Protocol(binary.BigEndian.Uint16(in.data)))
		}
	case codeEchoRequest, codeEchoReply, codeDiscardRequest:
		if !opened || len(in.data) < 4 {
			return
		}
		magic := binary.BigEndian.Uint32(in.data)
		switch {
		case in.code == codeEchoReply: // its coming was all that it is for
		case magic != 0 && magic == l.s.LCP.Magic:
			l.fail(ReasonLoop, false, "")
		case in.code == codeEchoRequest:
			n.in = in
			n.fire(trEcho)
		}
	case codeConfigureRequest, codeConfigureAck, codeConfigureNak, codeConfigureReject, codeTerminateAck, codeCodeReject,
		codeResetRequest, codeResetAck:
		n.receive(in)
	default:
		n.receive(in)
	}
}

// answerEcho returns the data of an Echo-Request under our own magic number (RFC 1661, 5.8).
func (p lcp) answerEcho(in packet) {
	l := p.l
	var magic [4]byte
	binary.BigEndian.PutUint32(magic[:], l.s.LCP.Magic)
	data := truncate(in.data[4:], int(l.s.LCP.PeerMRU)-packetHeader-4)
	l.out.Frames = append(l.out.Frames, newFrame(ProtoLCP, codeEchoReply, in.id, magic[:], data))
}

// protocolRejected handles a Protocol-Reject: RXJ- for what we use, nothing for the rest (RFC 1661, 5.7).
func (p lcp) protocolRejected(proto Protocol) {
	l := p.l
	switch proto {
	case ProtoLCP:
		l.negotiator(ProtoLCP).rejectedForGood()
	case ProtoIPCP, ProtoIPV6CP, ProtoCCP:
		if (network{l}).wanted(proto) && l.s.Phase == PhaseNetwork {
			l.negotiator(proto).rejectedForGood()
		}
	case ProtoPAP, ProtoCHAP:
		if l.s.LCP.Auth.protocol() == proto || l.s.LCP.Answer.protocol() == proto {
			l.fail(ReasonProtocolError, true, "")
		}
	case ProtoIPv4, ProtoIPv6, ProtoMPPE:
	}
}

// rejectProtocol answers a frame of a protocol that we do not speak, only while LCP is Opened (RFC 1661, 5.7).
func (p lcp) rejectProtocol(proto Protocol, payload []byte) {
	l := p.l
	if l.s.LCP.State != stOpened {
		return
	}
	data := truncate(payload, int(l.s.LCP.PeerMRU)-packetHeader-2)
	n := l.negotiator(ProtoLCP)
	n.send(codeProtocolReject, n.s.nextID(), []byte{byte(proto >> 8), byte(proto)}, data)
}

// mru is what we can be sent: without an agreed option the default holds.
func (p lcp) mru() uint16 {
	if p.l.s.LCP.MRU != 0 {
		return p.l.s.LCP.MRU
	}
	return p.carried(defaultMRU)
}

func (m AuthMethod) protocol() Protocol {
	switch m {
	case AuthNone:
		return 0
	case AuthPAP:
		return ProtoPAP
	case AuthCHAPMD5, AuthMSCHAPv1, AuthMSCHAPv2:
		return ProtoCHAP
	}
	return 0
}

// authOption is the data of the Authentication-Protocol option for m.
func authOption(m AuthMethod) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(m.protocol()))
	switch m {
	case AuthCHAPMD5:
		b = append(b, chapMD5)
	case AuthMSCHAPv1:
		b = append(b, chapMSCHAP1)
	case AuthMSCHAPv2:
		b = append(b, chapMSCHAP2)
	case AuthNone, AuthPAP:
	}
	return b
}

// parseAuthOption is false for a method that is not implemented.
func parseAuthOption(b []byte) (AuthMethod, bool) {
	for _, m := range [...]AuthMethod{AuthPAP, AuthCHAPMD5, AuthMSCHAPv1, AuthMSCHAPv2} {
		if slices.Equal(b, authOption(m)) {
			return m, true
		}
	}
	return AuthNone, false
}
