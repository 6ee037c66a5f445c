package ppp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// ProxyLCP says what becomes of the LCP options that a LAC agreed on with the client.
type ProxyLCP uint8

// What becomes of them.
const (
	ProxyLCPAccept      ProxyLCP = iota // they hold; the link ends when they cannot (P192, P216)
	ProxyLCPMismatch                    // they hold; LCP begins anew when they cannot
	ProxyLCPRenegotiate                 // LCP begins anew (P197)
)

// ProxyAuth says what becomes of the login that a LAC took from the client.
type ProxyAuth uint8

// What becomes of it.
const (
	ProxyAuthAccept      ProxyAuth = iota // it is checked as if it had come to us
	ProxyAuthRechallenge                  // LCP stays, the client must log in to us by the method agreed on (P194)
	ProxyAuthRenegotiate                  // LCP begins anew, so that our own list of methods holds
)

// ProxyType is a Proxy Authen Type (RFC 2661, 4.4.5).
type ProxyType uint16

// Types of proxy authentication. One that is not here counts as absent.
const (
	ProxyTypeAbsent ProxyType = iota // no AVP: a login, if there was one, has no type of its own (P189)
	ProxyTypeText                    // before PPP, by name and password
	ProxyTypeCHAP                    // CHAP-MD5
	ProxyTypePAP
	ProxyTypeNone // there was no login
	ProxyTypeMSCHAPv1
)

// Proxy is what a LAC says of a client whose call it passes on, and what we make of that (RFC 2661, 4.4.5; P186 to P200). The LCP options
// are lists without a packet's header; nil means that the AVP is absent.
type Proxy struct {
	LCP  ProxyLCP
	Auth ProxyAuth

	InitialReceived []byte // AVP 26; looked at only for being whole
	LastSent        []byte // AVP 27: our side, of the LAC's making
	LastReceived    []byte // AVP 28: the client's

	Type      ProxyType // AVP 29
	Name      string    // AVP 30
	Challenge []byte    // AVP 31
	ID        uint8     // AVP 32
	Response  []byte    // AVP 33: the value of a CHAP response, or the password
}

// clone shares no memory with x.
func (x *Proxy) clone() *Proxy {
	if x == nil {
		return nil
	}
	c := *x
	c.InitialReceived, c.LastSent, c.LastReceived = bytes.Clone(x.InitialReceived), bytes.Clone(x.LastSent), bytes.Clone(x.LastReceived)
	c.Challenge, c.Response = bytes.Clone(x.Challenge), bytes.Clone(x.Response)
	return &c
}

// proxied is what one proxied list of options comes to.
type proxied struct {
	mru   uint16 // 0: not in the list
	magic uint32
	accm  uint32
	auth  AuthMethod
}

// readProxied takes a list apart. It is as strict as our own negotiation, and tells what is wrong. Tolerated without a word: a missing
// MRU or magic number, any ACCM, and both compressions (P193).
func readProxied(list []byte) (proxied, string) {
	x := proxied{accm: DefaultACCM}
	options, ok := parseOptions(list)
	if !ok {
		return x, "broken options"
	}
	for _, o := range options {
		bad := false
		switch o.typ {
		case lcpMRU:
			if bad = len(o.data) != 2; !bad {
				x.mru = binary.BigEndian.Uint16(o.data)
				bad = x.mru < minMRU
			}
		case lcpACCM:
			if bad = len(o.data) != 4; !bad {
				x.accm = binary.BigEndian.Uint32(o.data)
			}
		case lcpAuth:
			x.auth, ok = parseAuthOption(o.data)
			bad = !ok
		case lcpMagic:
			if bad = len(o.data) != 4; !bad {
				x.magic = binary.BigEndian.Uint32(o.data)
			}
		case lcpPFC, lcpACFC:
			bad = len(o.data) != 0
		default:
			bad = true
		}
		if bad {
			return x, "the option " + summarizeLCPOption(o)
		}
	}
	return x, ""
}

// proxy opens a link with what a LAC has negotiated.
type proxy struct{ l *Link }

// open takes the LAC's LCP over. It is false when LCP must begin anew; a link that must not do so has ended.
func (p proxy) open() bool {
	l := p.l
	x := l.cfg.Proxy
	if x.LCP == ProxyLCPRenegotiate || x.Auth == ProxyAuthRenegotiate {
		return false
	}
	ours, theirs, why := p.judge()
	switch {
	case why == "":
		p.adopt(ours, theirs)
		return true
	case x.LCP == ProxyLCPMismatch:
		l.anomaly("LCP of the LAC does not hold, it begins anew: " + why)
		return false
	}
	l.fail(ReasonProxyLCP, false, why)
	return true
}

// judge says what the lists come to, or why they cannot hold.
func (p proxy) judge() (ours, theirs proxied, why string) {
	l := p.l
	x := l.cfg.Proxy
	if x.LastSent == nil || x.LastReceived == nil {
		return ours, theirs, "the LAC tells no LCP options"
	}
	if _, ok := parseOptions(x.InitialReceived); !ok {
		return ours, theirs, "broken options in the client's first request"
	}
	if ours, why = readProxied(x.LastSent); why != "" {
		return ours, theirs, why + " in the LAC's request"
	}
	if theirs, why = readProxied(x.LastReceived); why != "" {
		return ours, theirs, why + " in the client's request"
	}
	switch {
	case ours.magic != 0 && ours.magic == theirs.magic:
		why = "both ends have one magic number"
	case theirs.auth != AuthNone && (l.cfg.User == "" || !slices.Contains(l.cfg.Answer, theirs.auth)):
		why = fmt.Sprintf("the client wants a login by %v", theirs.auth)
	default:
		why = p.judgeAuth(ours.auth)
	}
	return ours, theirs, why
}

// judgeAuth says why the client cannot be authenticated on top of the LAC's LCP, in which agreed is the method.
func (p proxy) judgeAuth(agreed AuthMethod) string {
	x, demanded := p.l.cfg.Proxy, p.l.cfg.Auth
	switch {
	case agreed != AuthNone && !slices.Contains(demanded, agreed):
		return fmt.Sprintf("the LAC asked for a login by %v", agreed)
	case len(demanded) == 0 || x.Auth == ProxyAuthRechallenge && agreed != AuthNone:
		return "" // nothing to check
	case x.Type == ProxyTypeNone:
		return "the LAC did without a login"
	case agreed == AuthNone && (x.Type != ProxyTypeText || x.Auth != ProxyAuthAccept || !slices.Contains(demanded, AuthPAP)):
		return "the client need not log in"
	}
	return p.contradiction(agreed)
}

// contradiction says why the proxied login cannot be one by the method agreed on.
func (p proxy) contradiction(agreed AuthMethod) string {
	x := p.l.cfg.Proxy
	m := AuthNone
	switch x.Type {
	case ProxyTypeCHAP:
		m = AuthCHAPMD5
	case ProxyTypePAP:
		m = AuthPAP
	case ProxyTypeMSCHAPv1:
		m = AuthMSCHAPv1
	case ProxyTypeAbsent, ProxyTypeText, ProxyTypeNone:
		return "" // no login that we can use: the client must log in to us (P196)
	default:
		return ""
	}
	switch {
	case m != agreed:
		return fmt.Sprintf("a login by %v, where %v was agreed on", m, agreed)
	case m == AuthPAP:
	case len(x.Challenge) == 0 || m.microsoft() && len(x.Challenge) != m.challengeSize() || len(x.Response) != m.responseSize():
		return fmt.Sprintf("a login by %v with %s of challenge and %s of response", m, octets(len(x.Challenge)), octets(len(x.Response)))
	}
	return ""
}

// adopt opens LCP without a packet (P190).
func (p proxy) adopt(ours, theirs proxied) {
	l := p.l
	x, s := l.cfg.Proxy, &l.s.LCP
	s.MRU, s.Magic, s.ACCM, s.Auth = ours.mru, ours.magic, ours.accm, ours.auth
	s.PeerMagic, s.PeerACCM, s.Answer = theirs.magic, theirs.accm, theirs.auth
	if theirs.mru != 0 {
		s.PeerMRU = theirs.mru
	}
	s.Sent, s.Replied = x.LastSent, true // a late answer to the LAC is none to us
	// A client that the LAC's Ack did not reach repeats its request: the magic number in it shows that it is the same (P199).
	s.Acked, s.AckedAt, s.AckedFor = x.LastReceived, l.now, true
	l.s.Proxied = true
	if h := l.s.Handover; h != nil {
		h.First = x.InitialReceived
	}
	if l.s.Authenticator.ID = x.ID; x.ID == 0 {
		// The identifier of the LAC's challenge is not known, and must not be that of ours: a late response would count.
		l.s.Authenticator.ID = uint8(l.random32())
	}
	l.s.Authenticator.Proxied = x.Auth == ProxyAuthAccept && len(l.cfg.Auth) > 0 && p.method() != AuthNone
	n := l.negotiator(ProtoLCP)
	n.become(stOpened)
	n.layer.changed(layerUp)
}

// method is how the proxied login is checked; AuthNone: there is none to check.
func (p proxy) method() AuthMethod {
	switch p.l.cfg.Proxy.Type {
	case ProxyTypeText:
		if p.l.s.LCP.Auth == AuthNone {
			return AuthPAP // name and password, but no packet that asks or answers
		}
		return AuthNone
	case ProxyTypeCHAP, ProxyTypePAP, ProxyTypeMSCHAPv1:
		return p.l.s.LCP.Auth
	case ProxyTypeAbsent, ProxyTypeNone:
	}
	return AuthNone
}

// present puts the proxied login before the owner. The verdict goes to the client under the identifier of its own packet (P190), so
// that the client takes it for the answer to what it said to the LAC.
func (p proxy) present() {
	l := p.l
	x, s := l.cfg.Proxy, &l.s.Authenticator
	s.ID, s.Name = x.ID, []byte(x.Name)
	if l.s.LCP.Auth.protocol() == ProtoCHAP {
		s.Challenge, s.Response = x.Challenge, x.Response
	} else {
		lac{l}.presented(x.Response)
	}
	auth{l}.put(authAsked)
	p.ask()
}

// ask sends the question, or sends it again. The password is in the configuration and in no record.
func (p proxy) ask() {
	l := p.l
	if l.s.LCP.Auth.protocol() == ProtoCHAP {
		chap(p).ask()
		return
	}
	s := &l.s.Authenticator
	l.event(EvAuthRequest{
		Attempt: s.Attempt, Method: AuthPAP, ID: s.ID, Name: string(s.Name), Password: bytes.Clone(l.cfg.Proxy.Response), Proxied: true,
	})
}
