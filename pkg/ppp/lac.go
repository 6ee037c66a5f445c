package ppp

import "bytes"

// maxAVPValue is the most octets that the value of an AVP holds: 1023 less the header (RFC 2661, 4.1).
const maxAVPValue = 1023 - 6

// HandoverRecord is what only a link that may be handed to an LNS keeps, part of a Record.
type HandoverRecord struct {
	First    []byte // the options of the client's first Configure-Request in this negotiation; nil: none has come
	password []byte // of the login by PAP that is judged or was judged last: in no record
}

// lac is a link's side towards an LNS that may get it.
type lac struct{ l *Link }

// received remembers the client's first Configure-Request, judged or not (P186). Whole options are left out where an AVP cannot hold
// them all.
func (c lac) received(in packet) {
	s := &c.l.s
	if s.Handover == nil || s.Handover.First != nil || !s.LCP.State.negotiating() {
		return
	}
	list, ok := parseOptions(in.data)
	if !ok {
		return
	}
	first := make([]byte, 0, min(len(in.data), maxAVPValue))
	for _, o := range list {
		if len(first)+len(o.raw) > maxAVPValue {
			break
		}
		first = append(first, o.raw...)
	}
	s.Handover.First = first
	c.l.out.Persist = true
}

// forget begins a new negotiation of LCP.
func (c lac) forget() {
	if h := c.l.s.Handover; h != nil {
		*h = HandoverRecord{}
	}
}

// presented keeps the password of a login by PAP.
func (c lac) presented(password []byte) {
	if h := c.l.s.Handover; h != nil {
		h.password = bytes.Clone(password)
	}
}

// Proxy is what a LAC tells an LNS of the client now, for the LNS to take as Config.Proxy with modes of its own: the LCP options agreed
// on, and the login that is being judged or was judged last (P186 to P189). Before there is a login, after one by MS-CHAPv2, and after
// Restore until a client with PAP repeats its request, it has the type ProxyTypeAbsent and nothing else of a login. Every list and
// string fits an AVP; what would not is left out. It shares no memory with the link. It is nil when LCP is not open or the link has no
// Config.Hold.
func (l *Link) Proxy() *Proxy {
	s := &l.s
	if s.LCP.State != stOpened || s.Handover == nil {
		return nil
	}
	x := &Proxy{InitialReceived: list(s.Handover.First), LastSent: list(s.LCP.Sent), LastReceived: list(s.LCP.Acked)}
	lac{l}.login(x)
	return x
}

// list copies a list of options. An empty one is not nil, because nil says that it is not known.
func list(b []byte) []byte {
	if len(b) > maxAVPValue {
		return nil
	}
	return append([]byte{}, b...)
}

// login adds what the client has shown of itself.
func (c lac) login(x *Proxy) {
	l := c.l
	s := &l.s.Authenticator
	switch s.Progress {
	case authIdle, authHeld:
		if l.s.LCP.Auth == AuthNone {
			x.Type = ProxyTypeNone
		}
		return
	case authWaiting:
		return
	case authAsked, authPassed, authFailed:
	}
	if len(s.Name) > maxAVPValue {
		return
	}
	switch m := l.s.LCP.Auth; m {
	case AuthNone, AuthPAP:
		password := l.s.Handover.password
		if password == nil {
			return
		}
		x.Type, x.Response = ProxyTypePAP, bytes.Clone(password)
		if m == AuthNone {
			x.Type = ProxyTypeText // another LAC has it from the client
		}
	case AuthCHAPMD5, AuthMSCHAPv1:
		x.Type, x.Challenge, x.Response = ProxyTypeCHAP, bytes.Clone(s.Challenge), bytes.Clone(s.Response)
		if m == AuthMSCHAPv1 {
			x.Type = ProxyTypeMSCHAPv1
		}
	case AuthMSCHAPv2:
		return // it has no type (P189)
	}
	x.Name = string(s.Name)
	if x.Type != ProxyTypeText {
		x.ID = s.ID
	}
}

// TerminateRequest is a whole LCP Terminate-Request, for who must end a link that is in nobody's hands any more, such as a LAC that has
// lost the LNS. Its text is cut to what fits every peer.
func TerminateRequest(id uint8, text string) []byte {
	return newFrame(ProtoLCP, codeTerminateRequest, id, truncate([]byte(text), maxGoodbye))
}
