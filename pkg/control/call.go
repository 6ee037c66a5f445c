package control

import (
	"slices"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// maxPRE13 is how long a control message to a pre-draft 13 peer may be, in octets (P285).
const maxPRE13 = 1500

// mergeCall adds to c what m says of the call. What m does not say stays as it was.
func mergeCall(c *CallInfo, m wire.Message) {
	for t, field := range map[wire.AVPType]*uint32{
		wire.AVPCallSerialNumber:  &c.SerialNumber,
		wire.AVPMinimumBPS:        &c.MinimumBPS,
		wire.AVPMaximumBPS:        &c.MaximumBPS,
		wire.AVPBearerType:        &c.BearerType,
		wire.AVPFramingType:       &c.FramingType,
		wire.AVPPhysicalChannelID: &c.PhysicalChannel,
		wire.AVPTxConnectSpeed:    &c.TxSpeed,
		wire.AVPRxConnectSpeed:    &c.RxSpeed,
	} {
		if v, ok := m.Uint32(t); ok {
			*field = v
		}
	}
	for t, field := range map[wire.AVPType]*string{
		wire.AVPCalledNumber:   &c.CalledNumber,
		wire.AVPCallingNumber:  &c.CallingNumber,
		wire.AVPSubAddress:     &c.SubAddress,
		wire.AVPPrivateGroupID: &c.PrivateGroup,
	} {
		if v, ok := m.Text(t); ok {
			*field = v
		}
	}
	if slices.ContainsFunc(m.AVPs, proxies) {
		c.Proxy = mergeProxy(c.Proxy, m)
	}
	c.SequencingRequired = c.SequencingRequired || m.Has(wire.AVPSequencingRequired)
	if v, ok := m.Uint16(wire.AVPPacketProcDelay); ok {
		c.ProcessingDelay = v
	}
	if v, ok := m.Uint16(wire.AVPReceiveWindowSize); ok {
		c.SessionWindow, c.HasSessionWindow = v, true
	}
}

// mergeProxy is old with what m says.
func mergeProxy(old *Proxy, m wire.Message) *Proxy {
	p := &Proxy{}
	if old != nil {
		*p = *old
	}
	for t, field := range map[wire.AVPType]*[]byte{
		wire.AVPInitialRecvLCP:       &p.LCP.InitialReceived,
		wire.AVPLastSentLCP:          &p.LCP.LastSent,
		wire.AVPLastRecvLCP:          &p.LCP.LastReceived,
		wire.AVPProxyAuthenChallenge: &p.Auth.Challenge,
		wire.AVPProxyAuthenResponse:  &p.Auth.Response,
	} {
		if v, ok := m.Bytes(t); ok {
			*field = slices.Clone(v)
		}
	}
	if v, ok := m.Text(wire.AVPProxyAuthenName); ok {
		p.Auth.Name = v
	}
	if v, ok := m.Uint16(wire.AVPProxyAuthenType); ok {
		p.Auth.Type = v
	}
	if v, ok := m.Uint16(wire.AVPProxyAuthenID); ok {
		p.Auth.ID = uint8(v)
	}
	return p
}

// proxies says whether an AVP is of a Proxy.
func proxies(a wire.AVP) bool {
	return a.Vendor == 0 && a.Type >= wire.AVPInitialRecvLCP && a.Type <= wire.AVPProxyAuthenResponse
}

func icrq(s *session) wire.Message {
	c := s.Local
	m := wire.NewMessage(wire.MsgICRQ,
		wire.Uint16(wire.AVPAssignedSessionID, uint16(s.ID)),
		wire.Uint32(wire.AVPCallSerialNumber, c.SerialNumber))
	if c.BearerType != 0 {
		m.AVPs = append(m.AVPs, wire.Uint32(wire.AVPBearerType, c.BearerType))
	}
	m.AVPs = appendChannel(m.AVPs, c)
	m.AVPs = appendText(m.AVPs, wire.AVPCallingNumber, c.CallingNumber)
	m.AVPs = appendText(m.AVPs, wire.AVPCalledNumber, c.CalledNumber)
	m.AVPs = appendText(m.AVPs, wire.AVPSubAddress, c.SubAddress)
	return m
}

func icrp(t *Tunnel, s *session) wire.Message {
	m := wire.NewMessage(wire.MsgICRP, wire.Uint16(wire.AVPAssignedSessionID, uint16(s.ID)))
	m.AVPs = appendWindow(m.AVPs, t, s.Local)
	return m
}

func iccn(t *Tunnel, s *session) wire.Message {
	c := s.Local
	m := wire.NewMessage(wire.MsgICCN,
		wire.Uint32(wire.AVPTxConnectSpeed, c.TxSpeed),
		wire.Uint32(wire.AVPFramingType, offeredBits(c.FramingType, t.peer.Framing)))
	if p := c.Proxy; p != nil {
		m.AVPs = appendBytes(m.AVPs, wire.AVPInitialRecvLCP, p.LCP.InitialReceived)
		m.AVPs = appendBytes(m.AVPs, wire.AVPLastSentLCP, p.LCP.LastSent)
		m.AVPs = appendBytes(m.AVPs, wire.AVPLastRecvLCP, p.LCP.LastReceived)
		m.AVPs = appendProxyAuth(m.AVPs, p.Auth)
	}
	m.AVPs = appendText(m.AVPs, wire.AVPPrivateGroupID, c.PrivateGroup)
	return appendConnect(m, t, c)
}

func ocrq(t *Tunnel, s *session) wire.Message {
	c := s.Local
	m := wire.NewMessage(wire.MsgOCRQ,
		wire.Uint16(wire.AVPAssignedSessionID, uint16(s.ID)),
		wire.Uint32(wire.AVPCallSerialNumber, c.SerialNumber),
		wire.Uint32(wire.AVPMinimumBPS, c.MinimumBPS),
		wire.Uint32(wire.AVPMaximumBPS, max(c.MinimumBPS, c.MaximumBPS)),
		wire.Uint32(wire.AVPBearerType, offeredBits(c.BearerType, t.peer.Bearer)),
		wire.Uint32(wire.AVPFramingType, offeredBits(c.FramingType, t.peer.Framing)),
		wire.Text(wire.AVPCalledNumber, c.CalledNumber))
	m.AVPs = appendText(m.AVPs, wire.AVPSubAddress, c.SubAddress)
	m.AVPs = appendWindow(m.AVPs, t, c)
	return m
}

func ocrp(s *session) wire.Message {
	m := wire.NewMessage(wire.MsgOCRP, wire.Uint16(wire.AVPAssignedSessionID, uint16(s.ID)))
	m.AVPs = appendChannel(m.AVPs, s.Local)
	return m
}

func occn(t *Tunnel, s *session) wire.Message {
	c := s.Local
	m := wire.NewMessage(wire.MsgOCCN,
		wire.Uint32(wire.AVPTxConnectSpeed, c.TxSpeed),
		wire.Uint32(wire.AVPFramingType, offeredBits(c.FramingType, t.peer.Framing)))
	m = appendConnect(m, t, c)
	m.AVPs = appendWindow(m.AVPs, t, c)
	return m
}

func cdn(id SessionID, result wire.Result, disconnect []byte, pre13 bool) wire.Message {
	m := wire.NewMessage(wire.MsgCDN, wire.ResultAVP(result, pre13), wire.Uint16(wire.AVPAssignedSessionID, uint16(id)))
	m.AVPs = appendBytes(m.AVPs, wire.AVPPPPDisconnectCause, disconnect)
	return m
}

// offeredBits keeps what the peer advertised of the bits that we want, and falls back to what it advertised (P50): for a
// call without a modem one framing is as good as another. A peer that advertised nothing gets what we want.
func offeredBits(want, advertised uint32) uint32 {
	switch {
	case advertised == 0 && want == 0:
		return wire.FramingSync
	case advertised == 0:
		return want
	case want&advertised == 0:
		return advertised & -advertised
	}
	return want & advertised
}

// appendConnect adds what ICCN and OCCN share. To a pre-draft 13 peer Sequencing Required means nothing without a
// session window (P285).
func appendConnect(m wire.Message, t *Tunnel, c *CallInfo) wire.Message {
	if c.RxSpeed != 0 {
		m.AVPs = append(m.AVPs, wire.Uint32(wire.AVPRxConnectSpeed, c.RxSpeed))
	}
	if c.SequencingRequired && (!t.cfg.PRE13 || c.HasSessionWindow) {
		m.AVPs = append(m.AVPs, wire.Flag(wire.AVPSequencingRequired))
	}
	if m.Type == wire.MsgICCN {
		m.AVPs = appendWindow(m.AVPs, t, c)
	}
	return m
}

// appendWindow adds the session window of drafts before 13, if one is configured (P285).
func appendWindow(avps []wire.AVP, t *Tunnel, c *CallInfo) []wire.AVP {
	if !t.cfg.PRE13 || !c.HasSessionWindow {
		return avps
	}
	avps = append(avps, wire.Uint16(wire.AVPReceiveWindowSize, c.SessionWindow))
	if c.ProcessingDelay != 0 {
		avps = append(avps, wire.Uint16(wire.AVPPacketProcDelay, c.ProcessingDelay))
	}
	return avps
}

func appendChannel(avps []wire.AVP, c *CallInfo) []wire.AVP {
	if c.PhysicalChannel == 0 {
		return avps
	}
	return append(avps, wire.Uint32(wire.AVPPhysicalChannelID, c.PhysicalChannel))
}

func appendText(avps []wire.AVP, t wire.AVPType, s string) []wire.AVP {
	if s == "" {
		return avps
	}
	return append(avps, wire.Text(t, s))
}

func appendBytes(avps []wire.AVP, t wire.AVPType, b []byte) []wire.AVP {
	if len(b) == 0 {
		return avps
	}
	return append(avps, wire.Bytes(t, b))
}

// Proxy Authen Types (RFC 2661, 4.4.5).
const (
	proxyText  uint16 = 1
	proxyCHAP  uint16 = 2
	proxyPAP   uint16 = 3
	proxyMSv1  uint16 = 5
	proxyUnset uint16 = 0
)

// appendProxyAuth adds the AVPs that belong to a type of proxy authentication (P187).
func appendProxyAuth(avps []wire.AVP, p ProxyAuth) []wire.AVP {
	if p.Type == proxyUnset {
		return avps
	}
	avps = append(avps, wire.Uint16(wire.AVPProxyAuthenType, p.Type))
	switch p.Type {
	case proxyText:
		avps = append(avps, wire.Text(wire.AVPProxyAuthenName, p.Name))
	case proxyCHAP, proxyMSv1:
		avps = append(avps, wire.Text(wire.AVPProxyAuthenName, p.Name), wire.Bytes(wire.AVPProxyAuthenChallenge, p.Challenge),
			wire.Uint16(wire.AVPProxyAuthenID, uint16(p.ID)))
	case proxyPAP:
		avps = append(avps, wire.Text(wire.AVPProxyAuthenName, p.Name), wire.Uint16(wire.AVPProxyAuthenID, uint16(p.ID)))
	default:
		return avps
	}
	return append(avps, wire.Bytes(wire.AVPProxyAuthenResponse, p.Response))
}

// withoutProxy is m without the proxy AVPs, which the peer can do without.
func withoutProxy(m wire.Message) wire.Message {
	m.AVPs = slices.DeleteFunc(slices.Clone(m.AVPs), proxies)
	return m
}
