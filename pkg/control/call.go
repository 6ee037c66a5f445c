package control

import (
	"slices"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// maxPRE13 is how long a control message to a pre-draft 13 peer may be, in octets (P285).
const maxPRE13 = 1500

// mergeCall adds to c what m says of the call. What m does not say stays as it was.
func mergeCall(c *CallInfo, m wire.Message) {
	for _, f := range []struct {
		kind wire.AVPType
		to   *uint32
		bit  FieldSet
	}{
		{wire.AVPCallSerialNumber, &c.SerialNumber, 0},
		{wire.AVPMinimumBPS, &c.MinimumBPS, 0},
		{wire.AVPMaximumBPS, &c.MaximumBPS, 0},
		{wire.AVPBearerType, &c.BearerType, FieldBearerType},
		{wire.AVPFramingType, &c.FramingType, 0},
		{wire.AVPPhysicalChannelID, &c.PhysicalChannel, FieldPhysicalChannel},
		{wire.AVPTxConnectSpeed, &c.TxSpeed, 0},
		{wire.AVPRxConnectSpeed, &c.RxSpeed, FieldRxSpeed},
	} {
		if v, ok := m.Uint32(f.kind); ok {
			*f.to = v
			c.mark(f.bit, v == 0)
		}
	}
	for _, f := range []struct {
		kind wire.AVPType
		to   *string
		bit  FieldSet
	}{
		{wire.AVPCalledNumber, &c.CalledNumber, FieldCalledNumber},
		{wire.AVPCallingNumber, &c.CallingNumber, FieldCallingNumber},
		{wire.AVPSubAddress, &c.SubAddress, FieldSubAddress},
		{wire.AVPPrivateGroupID, &c.PrivateGroup, FieldPrivateGroup},
	} {
		if v, ok := m.Text(f.kind); ok {
			*f.to = v
			c.mark(f.bit, v == "")
		}
	}
	if slices.ContainsFunc(m.AVPs, proxies) {
		mergeProxy(c, m)
	}
	if slices.ContainsFunc(m.AVPs, ofLine) {
		c.Line = readLine(m)
	}
	c.SequencingRequired = c.SequencingRequired || m.Has(wire.AVPSequencingRequired)
	if v, ok := m.Uint16(wire.AVPPacketProcDelay); ok {
		c.ProcessingDelay = v
	}
	if v, ok := m.Uint16(wire.AVPReceiveWindowSize); ok {
		c.SessionWindow, c.HasSessionWindow = v, true
	}
}

// mark notes whether a value that was sent is empty.
func (c *CallInfo) mark(f FieldSet, empty bool) {
	c.Empty &^= f
	if empty {
		c.Empty |= f
	}
}

// mergeProxy adds what m says of the LAC's talk with the caller.
func mergeProxy(c *CallInfo, m wire.Message) {
	p := &Proxy{}
	if c.Proxy != nil {
		*p = *c.Proxy
	}
	for _, f := range []struct {
		kind wire.AVPType
		to   *[]byte
		bit  FieldSet
	}{
		{wire.AVPInitialRecvLCP, &p.LCP.InitialReceived, FieldInitialReceivedLCP},
		{wire.AVPLastSentLCP, &p.LCP.LastSent, FieldLastSentLCP},
		{wire.AVPLastRecvLCP, &p.LCP.LastReceived, FieldLastReceivedLCP},
		{wire.AVPProxyAuthenChallenge, &p.Auth.Challenge, 0},
		{wire.AVPProxyAuthenResponse, &p.Auth.Response, 0},
	} {
		if v, ok := m.Bytes(f.kind); ok {
			*f.to = slices.Clone(v)
			c.mark(f.bit, len(v) == 0)
		}
	}
	if v, ok := m.Text(wire.AVPProxyAuthenName); ok {
		p.Auth.Name = v
	}
	if v, ok := m.Uint16(wire.AVPProxyAuthenType); ok {
		p.Auth.Type = v
		p.Auth.Partial = slices.ContainsFunc(proxyParts(v), func(t wire.AVPType) bool { return !m.Has(t) })
	}
	if v, ok := m.Uint16(wire.AVPProxyAuthenID); ok {
		p.Auth.ID = uint8(v)
	}
	c.Proxy = p
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
	m.AVPs = c.appendNumber(m.AVPs, wire.AVPBearerType, c.BearerType, FieldBearerType)
	m.AVPs = c.appendNumber(m.AVPs, wire.AVPPhysicalChannelID, c.PhysicalChannel, FieldPhysicalChannel)
	m.AVPs = c.appendText(m.AVPs, wire.AVPCallingNumber, c.CallingNumber, FieldCallingNumber)
	m.AVPs = c.appendText(m.AVPs, wire.AVPCalledNumber, c.CalledNumber, FieldCalledNumber)
	m.AVPs = c.appendText(m.AVPs, wire.AVPSubAddress, c.SubAddress, FieldSubAddress)
	m.AVPs = c.Line.appendTo(m.AVPs)
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
		m.AVPs = c.appendBytes(m.AVPs, wire.AVPInitialRecvLCP, p.LCP.InitialReceived, FieldInitialReceivedLCP)
		m.AVPs = c.appendBytes(m.AVPs, wire.AVPLastSentLCP, p.LCP.LastSent, FieldLastSentLCP)
		m.AVPs = c.appendBytes(m.AVPs, wire.AVPLastRecvLCP, p.LCP.LastReceived, FieldLastReceivedLCP)
		m.AVPs = appendProxyAuth(m.AVPs, p.Auth)
	}
	m.AVPs = c.appendText(m.AVPs, wire.AVPPrivateGroupID, c.PrivateGroup, FieldPrivateGroup)
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
	m.AVPs = c.appendText(m.AVPs, wire.AVPSubAddress, c.SubAddress, FieldSubAddress)
	m.AVPs = appendWindow(m.AVPs, t, c)
	return m
}

func ocrp(s *session) wire.Message {
	m := wire.NewMessage(wire.MsgOCRP, wire.Uint16(wire.AVPAssignedSessionID, uint16(s.ID)))
	m.AVPs = s.Local.appendNumber(m.AVPs, wire.AVPPhysicalChannelID, s.Local.PhysicalChannel, FieldPhysicalChannel)
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
	if len(disconnect) > 0 {
		m.AVPs = append(m.AVPs, wire.Bytes(wire.AVPPPPDisconnectCause, disconnect))
	}
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
	m.AVPs = c.appendNumber(m.AVPs, wire.AVPRxConnectSpeed, c.RxSpeed, FieldRxSpeed)
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

// appendNumber, appendText and appendBytes add a value that a message need not hold, if there is one.
func (c *CallInfo) appendNumber(avps []wire.AVP, t wire.AVPType, v uint32, f FieldSet) []wire.AVP {
	if v == 0 && c.Empty&f == 0 {
		return avps
	}
	return append(avps, wire.Uint32(t, v))
}

func (c *CallInfo) appendText(avps []wire.AVP, t wire.AVPType, s string, f FieldSet) []wire.AVP {
	if s == "" && c.Empty&f == 0 {
		return avps
	}
	return append(avps, wire.Text(t, s))
}

func (c *CallInfo) appendBytes(avps []wire.AVP, t wire.AVPType, b []byte, f FieldSet) []wire.AVP {
	if len(b) == 0 && c.Empty&f == 0 {
		return avps
	}
	return append(avps, wire.Bytes(t, b))
}

// Proxy Authen Types (RFC 2661, 4.4.5).
const (
	proxyUnset uint16 = 0
	proxyText  uint16 = 1
	proxyCHAP  uint16 = 2
	proxyPAP   uint16 = 3
	proxyNone  uint16 = 4
	proxyMSv1  uint16 = 5
)

// proxyParts are the AVPs that a type of proxy authentication needs (P187); of a type that has not been defined, none.
func proxyParts(kind uint16) []wire.AVPType {
	name, challenge, id, response := wire.AVPProxyAuthenName, wire.AVPProxyAuthenChallenge, wire.AVPProxyAuthenID, wire.AVPProxyAuthenResponse
	switch kind {
	case proxyText:
		return []wire.AVPType{name, response}
	case proxyCHAP, proxyMSv1:
		return []wire.AVPType{name, challenge, id, response}
	case proxyPAP:
		return []wire.AVPType{name, id, response}
	}
	return nil
}

// appendProxyAuth adds the AVPs that belong to a type of proxy authentication (P187), and of a partial one or an unknown type
// whatever there is.
func appendProxyAuth(avps []wire.AVP, p ProxyAuth) []wire.AVP {
	if p.Type == proxyUnset {
		return avps
	}
	avps = append(avps, wire.Uint16(wire.AVPProxyAuthenType, p.Type))
	if p.Type == proxyNone {
		return avps
	}
	parts := proxyParts(p.Type)
	for _, part := range []struct {
		avp   wire.AVP
		empty bool
	}{
		{wire.Text(wire.AVPProxyAuthenName, p.Name), p.Name == ""},
		{wire.Bytes(wire.AVPProxyAuthenChallenge, p.Challenge), len(p.Challenge) == 0},
		{wire.Uint16(wire.AVPProxyAuthenID, uint16(p.ID)), p.ID == 0},
		{wire.Bytes(wire.AVPProxyAuthenResponse, p.Response), len(p.Response) == 0},
	} {
		belongs := slices.Contains(parts, part.avp.Type)
		if belongs && !p.Partial || !part.empty && (belongs || parts == nil) {
			avps = append(avps, part.avp)
		}
	}
	return avps
}

// withoutExtras is m without the proxy and access line AVPs, which the peer can do without.
func withoutExtras(m wire.Message) wire.Message {
	m.AVPs = slices.DeleteFunc(slices.Clone(m.AVPs), func(a wire.AVP) bool { return proxies(a) || ofLine(a) })
	return m
}
