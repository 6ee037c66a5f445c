package engine

import (
	"cmp"
	"net/netip"

	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// tunnelConfig makes the configuration of one control connection. own are the server's values, or those of a call, which the
// configuration has completed with the server's.
func (e *Engine) tunnelConfig(p *policy.Policy, own policy.Tunnel, secret policy.Secret, pre13 bool) control.TunnelConfig {
	_, outgoing := p.Roles()
	c := control.TunnelConfig{
		HostName: p.Server.HostName, VendorName: e.cfg.VendorName, FirmwareRevision: 1,
		Framing: wire.FramingSync | wire.FramingAsync, PRE13: pre13,
		Incoming: true, Outgoing: true, // the policy of the time when a call comes decides about roles
		ReceiveWindow:   own.ReceiveWindow,
		HelloInterval:   own.Hello,
		RetransmitFirst: own.Retransmit,
		RetransmitCap:   own.RetransmitCap,
		MaxRetransmits:  own.MaxRetransmits,
		SetupTimeout:    own.SetupTimeout,
		IdleTimeout:     own.IdleTimeout,
		Random:          e.cfg.Random,
	}
	if outgoing {
		c.Bearer = wire.BearerDigital | wire.BearerAnalog
	}
	if !secret.Empty() {
		c.Secret = secret.Reveal()
		c.HideAVPs = p.Server.HideAVPs
	}
	return c
}

// overhead is what goes around an inner packet: IP, UDP, L2TP with sequence numbers, FF 03 and the PPP protocol (P164).
func overhead(outer netip.Addr, sequencing bool) int {
	n := 20 + 8 + 6 + 4
	if outer.Is6() {
		n += 20
	}
	if sequencing {
		n += 4
	}
	return n
}

// params puts together what the call machine needs: the template's values, over them those of the configured call.
func (s *session) params() call.Params {
	t := s.tmpl
	if t == nil {
		t = &policy.Template{}
	}
	seq := s.sequencing()
	mtu := s.innerMTU(seq)
	if t.MTU != 0 {
		mtu = min(mtu, t.MTU)
	}
	p := call.Params{
		Role: s.role, Session: s.id, Sequencing: seq, Routed: s.isRouted(),
		PPP:       s.linkConfig(t, mtu),
		Outside:   s.outside(),
		Interface: t.Interface, MTU: mtu, Masquerade: t.Masquerade, MSSClamp: t.MSSClamp,
	}
	switch {
	case s.line != nil:
		p.Access = true
	case s.near != nil:
		p.Tunnel, p.PeerTunnel, p.Forward, p.Reply = s.t.id, s.t.ctl.PeerID(), true, s.near.reply()
		if x := p.Reply.Proxy; x != nil {
			s.proxyType = x.Auth.Type
		}
	case s.placed != nil:
		p.Tunnel, p.PeerTunnel, p.Forward, p.Reply = s.t.id, s.t.ctl.PeerID(), true, s.placed.connected()
	default:
		p.Tunnel, p.PeerTunnel, p.Reply, p.Endpoint = s.t.id, s.t.ctl.PeerID(), s.reply(seq), s.t.remote.Addr()
	}
	p.UserIPv4 = p.Outside && t.IPv4Pool == "" && len(t.Auth) > 0
	if s.conf == nil {
		p.Prefixes, p.IPv6DNS = t.IPv6, t.IPv6DNS
	}
	if c := s.conf; c != nil {
		p.Name, p.Interface = c.Name, c.InterfaceName()
		p.Peer, p.Routes, p.Metric = c.PPP.Peer, c.PPP.Routes, c.PPP.Metric
		p.Masquerade = p.Masquerade || c.PPP.Masquerade
	}
	return p
}

// innerMTU is the largest inner packet that the path of the session carries unfragmented.
func (s *session) innerMTU(seq policy.Sequencing) int {
	if s.line != nil {
		if p := s.line.caller.PPPoE; p != nil {
			return int(p.MaxPayload)
		}
		return 1500
	}
	// A LAC numbers its data as soon as its LNS does (P174): it must have room for that.
	return cmp.Or(s.t.outerMTU, 1500) - overhead(s.t.remote.Addr(), seq != policy.SequencingOnRequest || s.role.IsLAC() || numbered(s.remote))
}

// isRouted says that rules say where the session's call goes: a subscriber's line, or with tunnel switching a call of a tunnel that
// belongs to no configured one.
func (s *session) isRouted() bool {
	if s.line != nil {
		return true
	}
	return s.pol.LAC.Switch && s.role == control.LNSIncoming && s.conf == nil && !s.outside()
}

// sequencing is the mode of the call, of the accept entry, or of the rule.
func (s *session) sequencing() policy.Sequencing {
	switch {
	case s.near != nil:
		return s.near.target.Sequencing
	case s.conf != nil:
		return s.conf.Sequencing
	case s.accept != nil:
		return s.accept.Sequencing
	}
	return policy.SequencingOnRequest
}

// reply is what our answer says of the call: ICRP, ICCN, OCRP or OCCN.
func (s *session) reply(seq policy.Sequencing) *control.CallInfo {
	speed := uint32(policy.VirtualSpeed)
	if s.role == control.LACOutgoing {
		speed = min(speed, s.remote.MaximumBPS) // no more than the OCRQ allows
	}
	return &control.CallInfo{
		FramingType: wire.FramingSync, TxSpeed: speed,
		SequencingRequired: s.role.IsLAC() && seq == policy.SequencingAlways, // S66: ON as LAC
	}
}

// linkKey is what the links of temporary calls under one policy differ in.
type linkKey struct {
	tmpl   *policy.Template
	mtu    int
	routed bool
	kind   lineKind
}

// linkConfig is the policy of the link. All temporary calls of a kind have one between them.
func (s *session) linkConfig(t *policy.Template, mtu int) *ppp.Config {
	if s.conf != nil || s.tmpl == nil || s.granted != nil {
		return s.pppConfig(t, mtu).Complete()
	}
	sh := s.sh
	if sh.linksOf != s.pol {
		sh.linksOf, sh.links = s.pol, map[linkKey]*ppp.Config{}
	}
	k := linkKey{t, mtu, s.isRouted(), s.lineKind()}
	if sh.links[k] == nil {
		sh.links[k] = s.pppConfig(t, mtu).Complete()
	}
	return sh.links[k]
}

// lineKind is what kind of line a session is.
type lineKind uint8

const (
	noLine lineKind = iota
	pppoeLine
	ttyLine
)

func (s *session) lineKind() lineKind {
	switch {
	case s.line == nil:
		return noLine
	case s.line.caller.PPPoE != nil:
		return pppoeLine
	}
	return ttyLine
}

// pppConfig makes the policy of the link.
func (s *session) pppConfig(t *policy.Template, mtu int) ppp.Config {
	c := ppp.Config{
		MRU: cmp.Or(t.MRU, 1500), Auth: t.Auth, Name: s.pol.Server.HostName, DNS: t.DNS, NBNS: t.NBNS,
		MaxConfigure: t.MaxConfigure, MaxTerminate: t.MaxTerminate, MaxFailure: t.MaxFailure,
		Restart: t.Restart, EchoInterval: t.Echo, EchoFailures: t.EchoFailures, IdleTimeout: t.IdleTimeout,
		SessionTimeout: t.SessionTimeout, Rechallenge: t.Rechallenge, MPPE: t.MPPE, IPv6: t.IPv6, Random: s.sh.e.cfg.Random,
	}
	c.MRU = min(c.MRU, uint16(mtu))
	c.Hold = s.isRouted()
	switch s.lineKind() {
	case noLine:
	case pppoeLine:
		c.Line, c.MaxMRU = ppp.LinePPPoE, s.line.caller.PPPoE.MaxPayload
		c.Passive = true // the subscriber begins, when he has learnt his session's number
	case ttyLine:
		c.Line = ppp.LineAsync
	}
	if t.IPv4 {
		c.IPv4, c.Local = ppp.IPv4Unnumbered, t.IPv4Local
		if t.IPv4Local.IsValid() {
			c.IPv4 = ppp.IPv4Own
		}
	}
	if x := s.conf; x != nil {
		c.IPv4, c.Local = x.PPP.IPv4, x.PPP.Local
		c.IPv6 = x.PPP.IPv6
		c.User, c.Password = x.PPP.User, x.PPP.Password.Reveal()
		if c.User != "" {
			c.Answer = []ppp.AuthMethod{ppp.AuthCHAPMD5, ppp.AuthMSCHAPv2, ppp.AuthPAP}
		}
	}
	c.IPv6 = c.IPv6 && mtu >= ppp.MinIPv6MTU
	return c
}

// proxy is what the LAC has negotiated with the caller before (P186-P188), and what the accept entry makes of it; nil: nothing.
// Without any of it, only an entry that insists on the LAC's LCP minds (P195, P216).
func (s *session) proxy() *ppp.Proxy {
	a, x := s.accept, s.remote.Proxy
	if x == nil {
		x = &control.Proxy{}
	}
	lcp, login := x.LCP, x.Auth
	switch said := lcp.InitialReceived != nil || lcp.LastSent != nil || lcp.LastReceived != nil || login.Type != 0; {
	case a == nil || s.role != control.LNSIncoming, !said && a.ProxyLCP != ppp.ProxyLCPAccept:
		return nil
	}
	return &ppp.Proxy{
		LCP: a.ProxyLCP, Auth: a.ProxyAuth,
		InitialReceived: lcp.InitialReceived, LastSent: lcp.LastSent, LastReceived: lcp.LastReceived,
		Type: ppp.ProxyType(login.Type), Name: login.Name, Challenge: login.Challenge, ID: login.ID, Response: login.Response,
	}
}
