package control

import (
	"crypto/subtle"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// protocolVersion is version 1 revision 0, the only one there is (RFC 2661, 4.4.3).
const protocolVersion uint16 = 0x0100

// challengeLen is how many random octets our Challenge holds (P123).
const challengeLen = 16

// Identifiers of the challenge response: the message type that carries it (RFC 2661, 4.4.3, Challenge Response).
const (
	sccrpID = uint8(wire.MsgSCCRP)
	scccnID = uint8(wire.MsgSCCCN)
)

// smallestRefusal is the length of a StopCCN without text: header, Message Type, Assigned Tunnel ID, Result Code.
const smallestRefusal = 12 + 8 + 8 + 10

// smallestSCCRQ is the length of the shortest valid SCCRQ: its five mandatory AVPs, a host name of one octet.
const smallestSCCRQ = 12 + 8 + 8 + 10 + 7 + 8

// Refusal is why an SCCRQ makes no tunnel. It is told to the peer by Refuse and leaves no state behind.
type Refusal struct {
	Result wire.Result
	Peer   TunnelID // where the answer goes; 0: it cannot be answered
	limit  int      // octets the answer may have; 0: fewer than the smallest SCCRQ
	pre13  bool
}

// Error says what was wrong.
func (r *Refusal) Error() string { return "refuse tunnel: " + r.Result.StopString() }

// Refuse appends the StopCCN for r to dst, made from nothing but r: Ns 0, Nr 1, never retransmitted. id is an unused
// tunnel id that the owner need not remember. The answer is shorter than the SCCRQ it answers, so that a forged source
// gains nothing: the text is cut to fit. dst comes back unchanged if r cannot be answered.
func Refuse(id TunnelID, r *Refusal, dst []byte) []byte {
	limit := r.limit
	if limit == 0 {
		limit = smallestSCCRQ - 1
	}
	if r.Peer == 0 || limit < smallestRefusal {
		return dst
	}
	result := r.Result
	result.HasError = true
	result.Text = cut(result.Text, limit-smallestRefusal)
	return wire.AppendMessage(dst, uint16(r.Peer), 0, 0, 1, stopCCN(id, result, r.pre13), nil)
}

// cut shortens s to n octets, at a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

// Accept judges an SCCRQ that came with header h. A good one makes a tunnel in wait-ctl-conn, and SCCRP leaves (P61). A bad
// one makes none, and nothing is kept: the error is a *Refusal to be told to the peer by Refuse; or ErrTunnelID for any other
// message and ErrSequence, of which nobody need be told. m is not changed.
func Accept(cfg TunnelConfig, id TunnelID, m wire.Message, h wire.Header, now Time, out *Output) (*Tunnel, error) {
	if m.Type != wire.MsgSCCRQ {
		return nil, ErrTunnelID
	}
	if h.Ns != 0 {
		return nil, ErrSequence
	}
	print := fingerprint(m)
	m.AVPs = slices.Clone(m.AVPs)
	ignored, refusal := judgeRequest(&m, cfg)
	if refusal != nil {
		refusal.limit, refusal.pre13 = max(1, int(h.Length)-1), cfg.PRE13
		return nil, refusal
	}
	t := newTunnel(cfg, id, now)
	t.request = print
	t.peer = peerInfo(m)
	t.ch.Nr, t.ch.Unacked = 1, 1
	t.ch.Window.setPeer(t.peer.ReceiveWindow)
	t.ch.Counters = Counters{InControl: 1, InMessages: 1, InProcessed: 1, InOrder: 1}
	t.setupAt = now + t.cfg.SetupTimeout
	st := &step{t: t, now: now, out: out}
	for _, text := range ignored {
		st.anomaly(0, text)
	}
	st.become(TunnelWaitCtlConn)
	st.send(nil, sccrp(t, m))
	st.finish()
	return t, nil
}

// judgeRequest checks an SCCRQ and reads its hidden AVPs in place.
func judgeRequest(m *wire.Message, cfg TunnelConfig) (ignored []string, refusal *Refusal) {
	if r, bad := refuseVersion(*m); bad {
		return nil, refuse(*m, r)
	}
	err := m.Unhide(cfg.Secret)
	if err == nil {
		ignored, err = m.Validate(wire.ValidateOptions{PRE13: cfg.PRE13})
	}
	if err != nil {
		return nil, refuse(*m, resultOf(err))
	}
	if m.Has(wire.AVPChallenge) && len(cfg.Secret) == 0 { // P125
		return nil, refuse(*m, wire.Result{Code: wire.StopNotAuthorised, Text: "no secret"})
	}
	return ignored, nil
}

// refuse makes the Refusal of m, addressed as far as m says.
func refuse(m wire.Message, r wire.Result) *Refusal {
	peer, _ := m.Uint16(wire.AVPAssignedTunnelID)
	return &Refusal{Result: r, Peer: TunnelID(peer)}
}

// refuseVersion refuses every protocol version but 1.0 (P34, P77). A message without one is left to Validate.
func refuseVersion(m wire.Message) (wire.Result, bool) {
	ver, rev, ok := m.Version()
	if !ok || ver == 1 && rev == 0 {
		return wire.Result{}, false
	}
	return wire.Result{
		Code: wire.StopVersion, Error: protocolVersion, HasError: true,
		Text: fmt.Sprintf("version %d.%d", ver, rev),
	}, true
}

// fingerprint tells one SCCRQ from another; retransmissions have the same.
func fingerprint(m wire.Message) uint64 {
	h := fnv.New64a()
	for _, a := range m.AVPs {
		h.Write([]byte{byte(a.Vendor >> 8), byte(a.Vendor), byte(a.Type >> 8), byte(a.Type), byte(len(a.Value) >> 8), byte(len(a.Value))})
		h.Write(a.Value)
	}
	return h.Sum64()
}

// peerInfo reads what SCCRQ and SCCRP say of their sender.
func peerInfo(m wire.Message) PeerInfo {
	var p PeerInfo
	id, _ := m.Uint16(wire.AVPAssignedTunnelID)
	p.TunnelID = TunnelID(id)
	p.HostName, _ = m.Text(wire.AVPHostName)
	p.VendorName, _ = m.Text(wire.AVPVendorName)
	p.FirmwareRevision, _ = m.Uint16(wire.AVPFirmwareRevision)
	p.Framing, _ = m.Uint32(wire.AVPFramingCapabilities)
	p.Bearer, p.HasBearer = m.Uint32(wire.AVPBearerCapabilities)
	p.ReceiveWindow, _ = m.Uint16(wire.AVPReceiveWindowSize)
	return p
}

// introduction is what SCCRQ and SCCRP say of us. With a secret we always challenge (P123).
func introduction(t *Tunnel) []wire.AVP {
	avps := []wire.AVP{
		wire.Uint16(wire.AVPProtocolVersion, protocolVersion),
		wire.Text(wire.AVPHostName, t.cfg.HostName),
		wire.Uint32(wire.AVPFramingCapabilities, t.cfg.Framing),
		wire.Uint16(wire.AVPAssignedTunnelID, uint16(t.id)),
	}
	if t.cfg.Bearer != 0 {
		avps = append(avps, wire.Uint32(wire.AVPBearerCapabilities, t.cfg.Bearer))
	}
	avps = append(avps, wire.Uint16(wire.AVPReceiveWindowSize, t.cfg.ReceiveWindow))
	if t.cfg.FirmwareRevision != 0 {
		avps = append(avps, wire.Uint16(wire.AVPFirmwareRevision, t.cfg.FirmwareRevision))
	}
	if t.cfg.VendorName != "" {
		avps = append(avps, wire.Text(wire.AVPVendorName, t.cfg.VendorName))
	}
	if len(t.cfg.Secret) > 0 {
		t.challenge = make([]byte, challengeLen)
		random(t, t.challenge)
		avps = append(avps, wire.Bytes(wire.AVPChallenge, t.challenge))
	}
	return avps
}

func sccrq(t *Tunnel) wire.Message {
	m := wire.NewMessage(wire.MsgSCCRQ, introduction(t)...)
	if t.cfg.TieBreaker {
		m.AVPs = append(m.AVPs, wire.Uint64(wire.AVPTieBreaker, t.tieBreaker))
	}
	return m
}

func sccrp(t *Tunnel, request wire.Message) wire.Message {
	m := wire.NewMessage(wire.MsgSCCRP, introduction(t)...)
	if challenge, ok := request.Bytes(wire.AVPChallenge); ok {
		m.AVPs = append(m.AVPs, t.respond(sccrpID, challenge))
	}
	return m
}

func stopCCN(id TunnelID, result wire.Result, pre13 bool) wire.Message {
	return wire.NewMessage(wire.MsgStopCCN, wire.Uint16(wire.AVPAssignedTunnelID, uint16(id)), wire.ResultAVP(result, pre13))
}

// respond answers a challenge (P121, P122).
func (t *Tunnel) respond(id uint8, challenge []byte) wire.AVP {
	r := wire.ChallengeResponse(id, t.cfg.Secret, challenge)
	return wire.Bytes(wire.AVPChallengeResponse, r[:])
}

// checkResponse says what is wrong with the answer to our challenge, "" if nothing is (P124, P128, P130).
func (t *Tunnel) checkResponse(id uint8, m wire.Message) string {
	if t.challenge == nil {
		return ""
	}
	got, ok := m.Bytes(wire.AVPChallengeResponse)
	if !ok {
		return "no challenge response"
	}
	want := wire.ChallengeResponse(id, t.cfg.Secret, t.challenge)
	if subtle.ConstantTimeCompare(got, want[:]) != 1 {
		return "wrong challenge response"
	}
	return ""
}
