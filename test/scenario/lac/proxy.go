package lac

import (
	"crypto/rand"
	"slices"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// Proxy has the LAC itself negotiate LCP with the client, and take its login, before it hands the client over (RFC 2661, 4.4.5). The
// client does not begin anew at the LNS: it goes on where it is, and repeats its login until it hears a verdict.
type Proxy struct {
	LAC   ppp.Config              // the LAC's end; Random is filled in, networks are left to the LNS
	Alter func(*control.CallInfo) // nil, or changes what ICCN says of it
}

// rounds is how often each end may speak before a client counts as one that cannot be handed over.
const rounds = 50

// handOver connects the client to the LAC until it has logged in, or has nothing to log in for, and tells info what the LAC knows. The
// wire between them takes no time.
func (l *LAC) handOver(s *session, info *control.CallInfo) {
	cfg := s.call.Proxy.LAC
	cfg.IPv4, cfg.IPv6 = ppp.IPv4Off, false
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	var up, down ppp.Output
	lac := ppp.Open(&cfg, l.now, &down)
	s.link = ppp.Open(&s.call.Client, l.now, &up)
	var asked ppp.EvAuthRequest
	over := false
	for n := 0; n < rounds && !over; n++ {
		frames, events := up.Frames, up.Events
		up = ppp.Output{}
		for _, ev := range events {
			l.happened(s, ev)
		}
		for _, f := range frames {
			if proto, _, _ := ppp.SplitFrame(f); proto == ppp.ProtoPAP || proto == ppp.ProtoCHAP {
				s.login = f
			}
			lac.Receive(l.now, f, &down)
		}
		for _, ev := range down.Events {
			switch ev := ev.(type) {
			case ppp.EvAuthRequest:
				asked, over = ev, true
			case ppp.EvAuthenticated, ppp.EvLinkDown:
				over = true
			}
		}
		frames, down = down.Frames, ppp.Output{}
		for _, f := range frames {
			proto, body, _ := ppp.SplitFrame(f)
			if !over || proto == ppp.ProtoLCP && body[0] <= codeConfigureReject { // what comes after the end is not said
				s.link.Receive(l.now, f, &up)
			}
		}
	}
	for _, ev := range up.Events {
		l.happened(s, ev)
	}
	r := lac.Record()
	info.Proxy = &control.Proxy{LCP: control.ProxyLCP{
		InitialReceived: slices.Clone(r.LCP.Acked), LastSent: slices.Clone(r.LCP.Sent), LastReceived: slices.Clone(r.LCP.Acked),
	}}
	info.Proxy.Auth = control.ProxyAuth{
		Type: uint16(proxyTypes[r.LCP.Auth]), Name: asked.Name, Challenge: asked.Challenge, ID: asked.ID, Response: append(asked.Password, asked.Response...),
	}
	if s.call.Proxy.Alter != nil {
		s.call.Proxy.Alter(info)
	}
}

// proxyTypes has no MS-CHAPv2: it has no number.
var proxyTypes = map[ppp.AuthMethod]ppp.ProxyType{
	ppp.AuthNone: ppp.ProxyTypeNone, ppp.AuthPAP: ppp.ProxyTypePAP, ppp.AuthCHAPMD5: ppp.ProxyTypeCHAP, ppp.AuthMSCHAPv1: ppp.ProxyTypeMSCHAPv1,
}
