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
	// pppoeMRU is what a frame of Ethernet has room for behind the headers of PPPoE and PPP (RFC 2516, 7).
	pppoeMRU = 1492
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
	ACCM      uint32 // what the peer escapes on its way to us: in our request on an asynchronous line, or of the LAC's making
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
	if p.l.cfg.MRU != defaultMRU || p.l.cfg.Line == LinePPPoE {
		s.MRU = p.l.cfg.MRU
	}
	if p.l.cfg.Line == LineAsync {
		s.ACCM = p.l.cfg.ACCM
	}
	if len(p.l.cfg.Auth) > 0 {
		s.Auth = p.l.cfg.Auth[0]
	}
	lac(p).forget()
}

func (p lcp) wishes() []byte {
	s := &p.l.s.LCP
	var b []byte
	if s.MRU != 0 {
		b = appendOption(b, lcpMRU, byte(s.MRU>>8), byte(s.MRU))
	}
	if p.l.cfg.Line == LineAsync && s.ACCM != DefaultACCM {
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
	sized := false
	for _, o := range opts {
		switch o.typ {
		case lcpMRU:
			sized = true
			p.judgeMRU(o, &v)
		case lcpACCM:
			// Any map is fine: we stuff no octets ourselves, and it may be news to who does, the owner of an asynchronous line or a LAC
			// (RFC 2661, 4.4.6; P205, P253).
			switch {
			case p.l.cfg.Line == LinePPPoE:
				v.reject(o)
			case len(o.data) != 4:
				v.nak(o, 0, 0, 0, 0)
			}
		case lcpAuth:
			p.judgeAuth(o, &v)
		case lcpMagic:
			p.judgeMagic(o, &v)
		case lcpPFC, lcpACFC:
			switch {
			case p.l.cfg.Line == LinePPPoE:
				v.reject(o)
			case len(o.data) != 0:
				v.nak(o)
			}
		default:
			v.reject(o)
		}
	}
	if !sized && p.most() < defaultMRU && p.l.s.LCP.Naks == 0 {
		// The default does not fit the line. We would send less anyway, but an LNS that gets the call knows only the option.
		v.ask(lcpMRU, byte(p.most()>>8), byte(p.most()))
	}
	return v
}

// most is the greatest MRU that the peer may have.
func (p lcp) most() uint16 {
	if p.l.cfg.Line == LinePPPoE {
		return p.l.cfg.MaxMRU
	}
	return 1<<16 - 1
}

func (p lcp) judgeMRU(o option, v *verdict) {
	fit := min(defaultMRU, p.most())
	if len(o.data) == 2 {
		m := binary.BigEndian.Uint16(o.data)
		if fit = min(max(m, minMRU), p.most()); fit == m {
			return
		}
	}
	v.nak(o, byte(fit>>8), byte(fit))
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
	s.PeerMRU = min(s.PeerMRU, p.most())
}

func (p lcp) refused(c code, opts []option) bool {
	s := &p.l.s.LCP
	for _, o := range opts {
		switch o.typ {
		case lcpMRU:
			if c == codeConfigureReject {
				s.MRU = 0
			} else if len(o.data) == 2 {
				// The peer may want less, also where we did not ask (RFC 1661, 5.3), not more than we can take.
				if m := binary.BigEndian.Uint16(o.data); m >= minMRU && m < p.mru() {
					s.MRU = m
				}
			}
		case lcpACCM:
			if c == codeConfigureReject {
				s.ACCM = DefaultACCM
			} else if p.l.cfg.Line == LineAsync && len(o.data) == 4 {
				s.ACCM |= binary.BigEndian.Uint32(o.data) // both ends' needs (RFC 1662, 7.1)
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
		if l.cfg.Hold {
			l.event(EvLCPDown{})
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
			n.s.Restarts = min(n.s.Restarts, int16(l.cfg.MaxTerminate))
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
	case codeConfigureRequest:
		n.receive(in)
		lac{l}.received(in)
	case codeConfigureAck, codeConfigureNak, codeConfigureReject, codeTerminateAck, codeCodeReject,
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

// mru is what we can be sent: without an agreed option the default holds, if the line can carry it.
func (p lcp) mru() uint16 {
	if p.l.s.LCP.MRU != 0 {
		return p.l.s.LCP.MRU
	}
	return min(defaultMRU, p.most())
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
