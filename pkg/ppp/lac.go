package ppp

import "bytes"

// Proxy is what a LAC tells an LNS of the link and of the login r, which may be the zero EvAuthRequest where there was none (P186-P189).
// With Config.Hold the lists of LCP are whole. It is nil before LCP is open.
func (l *Link) Proxy(r EvAuthRequest) *Proxy {
	s := &l.s.LCP
	if s.State != stOpened {
		return nil
	}
	whole := func(list []byte) []byte { return append([]byte{}, list...) } // an empty list is one, too
	x := &Proxy{LastSent: whole(s.Sent), LastReceived: whole(s.Acked), Type: ProxyTypeNone}
	if s.Initial != nil {
		x.InitialReceived = whole(*s.Initial)
	}
	if from := l.cfg.Proxy; l.s.Proxied && from != nil { // it was a LAC before us that has negotiated
		x.InitialReceived = bytes.Clone(from.InitialReceived)
	}
	switch r.Method {
	case AuthPAP:
		x.Type, x.Name, x.ID, x.Response = ProxyTypePAP, r.Name, r.ID, bytes.Clone(r.Password)
		if s.Auth == AuthNone { // the login was before PPP: no packet has brought it
			x.Type, x.ID = ProxyTypeText, 0
		}
	case AuthCHAPMD5, AuthMSCHAPv1:
		x.Type, x.Name, x.ID, x.Challenge, x.Response = ProxyTypeCHAP, r.Name, r.ID, bytes.Clone(r.Challenge), bytes.Clone(r.Response)
		if r.Method == AuthMSCHAPv1 {
			x.Type = ProxyTypeMSCHAPv1
		}
	case AuthMSCHAPv2: // it has no type: the LNS takes a login itself
		x.Type = ProxyTypeAbsent
	case AuthNone:
	}
	return x
}

// TerminateRequest is a frame that ends LCP for a peer whose link is not ours any more, with a text for him.
func TerminateRequest(id uint8, text string) []byte {
	return newFrame(ProtoLCP, codeTerminateRequest, id, truncate([]byte(text), maxGoodbye))
}
