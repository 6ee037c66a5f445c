package control

import (
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// script drives one tunnel line by line: a line is what its peer or its owner does. Ids and numbers that a line does not
// name are those that a correct peer would use.
type script struct {
	t   *testing.T
	cfg TunnelConfig
	id  TunnelID
	tun *Tunnel
	now Time

	peerTunnel  uint16
	peerSession uint16
	peerNs      uint16
	last        []byte    // last datagram received
	session     SessionID // the newest of ours
	challenge   []byte    // of the tunnel under test, as the peer saw it

	out  []string // what came out since the last line
	sent []wire.Message
	evs  []Event
}

func newScript(t *testing.T) *script {
	cfg := testConfig(7)
	cfg.Secret = nil
	return &script{t: t, cfg: cfg, id: 1001, now: time.Second, peerTunnel: 77, peerSession: 500}
}

// line carries out one line and returns what came out.
func (s *script) line(text string) []string {
	s.t.Helper()
	s.out, s.sent, s.evs = nil, nil, nil
	words := strings.Fields(text)
	args := map[string]string{}
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		args[k] = v
	}
	var out Output
	switch words[0] {
	case "config":
		s.configure(args)
	case "open":
		s.tun = Open(s.cfg, s.id, s.now, &out)
	case "rx":
		s.receive(s.message(words[1], args), &out)
	case "zlb":
		nr := s.number(args, "nr", uint64(s.nextNr()))
		s.receive(wire.AppendZLB(nil, uint16(s.number(args, "tid", uint64(s.id))), uint16(s.number(args, "ns", uint64(s.peerNs))), uint16(nr)), &out)
	case "raw":
		s.receive(s.hex(words[1]), &out)
	case "again":
		s.receive(s.last, &out)
	case "collide":
		_, payload, _ := wire.ParseHeader(s.message("SCCRQ", args))
		m, err := wire.ParseMessage(payload)
		if err != nil {
			s.t.Fatal(err)
		}
		s.out = append(s.out, "collision "+s.tun.Collide(m, s.tun.cfg, s.now, &out).String())
	case "wait":
		s.wait(words[1])
		return s.out
	case "restore":
		s.restore(&out)
	case "view":
		v := s.tun.View()
		s.out = append(s.out, fmt.Sprintf("view %v ns=%d nr=%d peer-nr=%d window=%d peer-window=%d cwnd=%d ssthresh=%d outstanding=%d queued=%d rto=%v",
			v.State, v.Ns, v.Nr, v.PeerNr, v.Window, v.PeerWindow, v.CongestionWindow, v.SlowStartThreshold, v.Outstanding, v.Queued, v.RTO))
	default:
		s.command(words[0], args, &out)
	}
	s.take(&out)
	return s.out
}

func (s *script) number(args map[string]string, key string, otherwise uint64) uint64 {
	s.t.Helper()
	text, ok := args[key]
	if !ok {
		return otherwise
	}
	v, err := strconv.ParseUint(text, 0, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *script) hex(text string) []byte {
	s.t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (s *script) configure(args map[string]string) {
	s.t.Helper()
	for k, v := range args {
		switch k {
		case "secret":
			s.cfg.Secret = []byte(v)
		case "hide":
			s.cfg.HideAVPs = true
		case "tie":
			s.cfg.TieBreaker = true
		case "pre13":
			s.cfg.PRE13 = true
		case "ignore13":
			s.cfg.IgnoreWindow13 = true
		case "hello":
			s.cfg.HelloInterval = duration(s.t, v)
		case "idle":
			s.cfg.IdleTimeout = duration(s.t, v)
		case "errors":
			s.cfg.ErrorInterval = duration(s.t, v)
		case "answer":
			s.cfg.AnswerTimeout = duration(s.t, v)
		case "window":
			s.cfg.ReceiveWindow = uint16(s.number(args, k, 0))
		case "max":
			s.cfg.MaxSessions = int(s.number(args, k, 0))
		case "framing":
			s.cfg.Framing = uint32(s.number(args, k, 0))
		case "no-incoming":
			s.cfg.Incoming = false
		case "no-outgoing":
			s.cfg.Outgoing = false
		case "no-bearer":
			s.cfg.Bearer = 0
		default:
			s.t.Fatalf("config %s?", k)
		}
	}
}

// nextNr acknowledges all that the tunnel has sent.
func (s *script) nextNr() uint16 {
	if s.tun == nil {
		return 0
	}
	return s.tun.View().Ns
}

// defaults are the AVPs of a correct message of each type.
func (s *script) defaults(mt wire.MessageType) []wire.AVP {
	session := wire.Uint16(wire.AVPAssignedSessionID, s.peerSession)
	serial := wire.Uint32(wire.AVPCallSerialNumber, 9)
	framing := wire.Uint32(wire.AVPFramingType, 1)
	speed := wire.Uint32(wire.AVPTxConnectSpeed, 64000)
	switch mt {
	case wire.MsgSCCRQ, wire.MsgSCCRP:
		return []wire.AVP{
			wire.Uint16(wire.AVPProtocolVersion, 0x100), wire.Text(wire.AVPHostName, "peer"),
			wire.Uint32(wire.AVPFramingCapabilities, 3), wire.Uint32(wire.AVPBearerCapabilities, 1),
			wire.Uint16(wire.AVPAssignedTunnelID, s.peerTunnel),
		}
	case wire.MsgStopCCN:
		return []wire.AVP{wire.Uint16(wire.AVPAssignedTunnelID, s.peerTunnel), wire.ResultAVP(wire.Result{Code: wire.StopGeneral}, false)}
	case wire.MsgICRQ:
		return []wire.AVP{session, serial}
	case wire.MsgICRP, wire.MsgOCRP:
		return []wire.AVP{session}
	case wire.MsgICCN, wire.MsgOCCN:
		return []wire.AVP{speed, framing}
	case wire.MsgOCRQ:
		return []wire.AVP{
			session, serial, wire.Uint32(wire.AVPMinimumBPS, 1), wire.Uint32(wire.AVPMaximumBPS, 64000),
			wire.Uint32(wire.AVPBearerType, 1), framing, wire.Text(wire.AVPCalledNumber, "12345"),
		}
	case wire.MsgCDN:
		return []wire.AVP{wire.ResultAVP(wire.Result{Code: wire.CDNAdmin}, false), session}
	case wire.MsgWEN:
		return []wire.AVP{wire.CallErrorsAVP([6]uint32{1, 2, 3, 4, 5, 6})}
	case wire.MsgSLI:
		return []wire.AVP{wire.ACCMAVP(0xa0000, 0)}
	case wire.MsgSCCCN, wire.MsgHello, wire.MsgSRRQ, wire.MsgSRRP, wire.MsgFSQ, wire.MsgFSR, wire.MsgCSUN, wire.MsgCSURQ:
	}
	return nil
}

// message builds a datagram from the peer: header numbers and AVPs that args do not name are the correct ones.
func (s *script) message(name string, args map[string]string) []byte {
	s.t.Helper()
	mt := wire.MessageType(0)
	for i := range wire.MessageType(30) {
		if i.String() == name {
			mt = i
		}
	}
	if mt == 0 {
		s.t.Fatalf("message %q?", name)
	}
	s.peerSession = uint16(s.number(args, "session", uint64(s.peerSession)))
	s.peerTunnel = uint16(s.number(args, "tunnel", uint64(s.peerTunnel)))
	m := wire.NewMessage(mt, s.defaults(mt)...)
	tid, sid := uint64(s.id), uint64(0)
	if mt == wire.MsgSCCRQ {
		tid = 0
	}
	if mt.Session() && mt != wire.MsgICRQ && mt != wire.MsgOCRQ {
		sid = uint64(s.session)
	}
	s.amend(&m, args)
	ns := uint16(s.number(args, "ns", uint64(s.peerNs)))
	if _, explicit := args["ns"]; !explicit {
		s.peerNs++
	}
	return wire.AppendMessage(nil, uint16(s.number(args, "tid", tid)), uint16(s.number(args, "sid", sid)), ns,
		uint16(s.number(args, "nr", uint64(s.nextNr()))), m, nil)
}

// amend changes the AVPs of a message as args say.
func (s *script) amend(m *wire.Message, args map[string]string) {
	s.t.Helper()
	put := func(a wire.AVP) {
		for i := range m.AVPs {
			if m.AVPs[i].Type == a.Type {
				m.AVPs[i] = a
				return
			}
		}
		m.AVPs = append(m.AVPs, a)
	}
	for _, k := range []string{"without", "version", "host", "vendor", "window", "framing", "ftype", "bearer", "btype", "challenge", "response", "tie", "result", "unknown", "line", "seq", "minbps", "delay", "disconnect", "cause931"} {
		v, ok := args[k]
		if !ok {
			continue
		}
		n := func() uint64 { return s.number(args, k, 0) }
		switch k {
		case "without":
			t := wire.AVPType(n())
			kept := m.AVPs[:0]
			for _, a := range m.AVPs {
				if a.Type != t {
					kept = append(kept, a)
				}
			}
			m.AVPs = kept
		case "version":
			put(wire.Uint16(wire.AVPProtocolVersion, uint16(n())))
		case "host":
			put(wire.Text(wire.AVPHostName, v))
		case "vendor":
			put(wire.Text(wire.AVPVendorName, v))
		case "window":
			put(wire.Uint16(wire.AVPReceiveWindowSize, uint16(n())))
		case "framing":
			put(wire.Uint32(wire.AVPFramingCapabilities, uint32(n())))
		case "ftype":
			put(wire.Uint32(wire.AVPFramingType, uint32(n())))
		case "bearer":
			put(wire.Uint32(wire.AVPBearerCapabilities, uint32(n())))
		case "btype":
			put(wire.Uint32(wire.AVPBearerType, uint32(n())))
		case "minbps":
			put(wire.Uint32(wire.AVPMinimumBPS, uint32(n())))
		case "challenge":
			put(wire.Bytes(wire.AVPChallenge, s.hex(v)))
		case "response":
			put(wire.Bytes(wire.AVPChallengeResponse, s.response(m.Type, v)))
		case "tie":
			put(wire.Uint64(wire.AVPTieBreaker, n()))
		case "result":
			code, e, has := strings.Cut(v, "/")
			r := wire.Result{HasError: has}
			r.Code = uint16(s.number(map[string]string{k: code}, k, 0))
			if has {
				r.Error = uint16(s.number(map[string]string{k: e}, k, 0))
			}
			put(wire.ResultAVP(r, false))
		case "unknown":
			m.AVPs = append(m.AVPs, wire.AVP{Mandatory: n() == 1, Vendor: 9, Type: 500, Value: []byte{1}})
		case "line":
			m.AVPs = append(m.AVPs, wire.LineBytes(wire.LineCircuitID, []byte("node-1")), wire.LineBytes(wire.LineRemoteID, []byte(v)),
				wire.LineNumber(wire.LineActualRateDown, 16e6))
		case "seq":
			put(wire.Flag(wire.AVPSequencingRequired))
		case "delay":
			put(wire.AVP{Mandatory: true, Type: wire.AVPPacketProcDelay, Value: []byte{byte(n() >> 8), byte(n())}})
		case "disconnect":
			put(wire.Bytes(wire.AVPPPPDisconnectCause, s.hex(v)))
		case "cause931":
			put(wire.Bytes(wire.AVPQ931CauseCode, s.hex(v)))
		}
	}
}

// response is the peer's answer to the tunnel's challenge: good, bad, or octets.
func (s *script) response(mt wire.MessageType, v string) []byte {
	s.t.Helper()
	r := wire.ChallengeResponse(uint8(mt), s.cfg.Secret, s.challenge)
	switch v {
	case "good":
	case "bad":
		r[15] ^= 1
	default:
		return s.hex(v)
	}
	return r[:]
}

// receive gives a datagram to the tunnel, or to Accept while there is none.
func (s *script) receive(d []byte, out *Output) {
	s.t.Helper()
	s.last = d
	if s.tun != nil {
		if err := s.tun.Receive(s.now, d, out); err != nil {
			s.out = append(s.out, "drop "+err.Error())
		}
		return
	}
	h, payload, err := wire.ParseHeader(d)
	if err != nil {
		s.out = append(s.out, "drop "+err.Error())
		return
	}
	m, err := wire.ParseMessage(payload)
	if err != nil {
		s.t.Fatal(err)
	}
	tun, err := Accept(s.cfg, s.id, m, h, s.now, out)
	if err == nil {
		s.tun = tun
		return
	}
	s.out = append(s.out, "no tunnel: "+err.Error())
	if r, ok := errors.AsType[*Refusal](err); ok {
		answer := Refuse(s.id, r, nil)
		if len(answer) >= len(d) {
			s.t.Errorf("refusal of %d octets for an SCCRQ of %d", len(answer), len(d))
		}
		if len(answer) > 0 {
			out.Datagrams = append(out.Datagrams, answer)
		}
	}
}

// command gives a command to the tunnel.
func (s *script) command(name string, args map[string]string, out *Output) {
	s.t.Helper()
	id := SessionID(s.number(args, "sid", uint64(s.session)))
	code := uint16(s.number(args, "code", 0))
	call := CallInfo{TxSpeed: 100e6, FramingType: wire.FramingSync}
	var c Command
	switch name {
	case "close":
		c = CmdClose{Result: wire.Result{Code: code}}
	case "open-line":
		c = CmdOpenSession{Role: LACIncoming, Call: CallInfo{CallingNumber: "line", Line: testLine()}, Session: &s.session}
	case "open-icrq":
		c = CmdOpenSession{Role: LACIncoming, Call: CallInfo{CalledNumber: "lan"}, Session: &s.session}
	case "open-ocrq":
		c = CmdOpenSession{Role: LNSOutgoing, Call: CallInfo{CalledNumber: "lan", MaximumBPS: 64000, BearerType: 1, FramingType: 1}, Session: &s.session}
	case "accept":
		_, has := args["window"]
		c = CmdAcceptSession{Session: id, Call: CallInfo{
			HasSessionWindow: has, SessionWindow: uint16(s.number(args, "window", 0)), PhysicalChannel: uint32(s.number(args, "channel", 0)),
		}}
	case "connect":
		_, call.SequencingRequired = args["seq"]
		call.TxSpeed, call.RxSpeed = uint32(s.number(args, "tx", 100e6)), uint32(s.number(args, "rx", 0))
		call.FramingType = uint32(s.number(args, "ftype", uint64(wire.FramingSync)))
		c = CmdConnectSession{Session: id, Call: call}
	case "connect-proxy":
		call.Proxy = &Proxy{LCP: ProxyLCP{InitialReceived: []byte{1, 4, 5, 220}, LastSent: []byte{1, 4, 5, 212}, LastReceived: []byte{5, 6, 1, 2, 3, 4}}}
		call.Proxy.Auth = ProxyAuth{Type: uint16(s.number(args, "type", 2)), Name: "joe@example.com", Challenge: []byte{1, 2, 3, 4}, ID: 7, Response: []byte{5, 6, 7, 8}}
		call.PrivateGroup = "blue"
		c = CmdConnectSession{Session: id, Call: call}
	case "hangup":
		c = CmdCloseSession{Session: id, Result: wire.Result{Code: code}}
	case "hangup-cause":
		c = CmdCloseSession{Session: id, Result: wire.Result{Code: code}, DisconnectCause: []byte{0, 1, 0, 0, 0}}
	case "heard":
		c = CmdHeard{At: s.now}
	case "wen":
		c = CmdSendWEN{Session: id, Errors: [6]uint32{uint32(s.number(args, "crc", 1)), 2, 3, 4, 5, 6}}
	case "wen-none":
		c = CmdSendWEN{Session: id}
	case "sli":
		c = CmdSendSLI{Session: id, Send: 0xffffffff, Receive: 0xa0000}
	case "probe":
		c = CmdProbe{}
	case "forget":
		c = CmdForget{}
	default:
		s.t.Fatalf("line %q?", name)
	}
	s.tun.Do(s.now, c, out)
}

// wait lets time pass, with every deadline in it.
func (s *script) wait(text string) {
	s.t.Helper()
	for end := s.now + duration(s.t, text); ; {
		var out Output
		d := Time(0)
		if s.tun != nil {
			d = s.tun.Deadline()
		}
		if d == 0 || d > end {
			s.now = end
			return
		}
		s.now = max(s.now, d)
		s.tun.Expire(s.now, &out)
		s.take(&out)
	}
}

func (s *script) restore(out *Output) {
	s.t.Helper()
	t, err := Restore(s.tun.Record(), s.cfg, s.now, out)
	if err != nil {
		s.t.Fatal(err)
	}
	s.tun = t
}

// take notes an Output.
func (s *script) take(out *Output) {
	s.t.Helper()
	for _, d := range out.Datagrams {
		s.out = append(s.out, fmt.Sprintf("%v tx %s", s.now, wire.Summary(d)))
		_, payload, err := wire.ParseHeader(d)
		if err != nil {
			s.t.Fatalf("sent a bad header: %v", err)
		}
		if len(payload) == 0 {
			continue
		}
		m, err := wire.ParseMessage(payload)
		if err == nil {
			err = m.Unhide(s.cfg.Secret)
		}
		if err == nil {
			_, err = m.Validate(wire.ValidateOptions{PRE13: s.cfg.PRE13})
		}
		if err != nil {
			s.t.Errorf("sent a bad message: %v", err)
		}
		if c, ok := m.Bytes(wire.AVPChallenge); ok {
			s.challenge = c
		}
		s.sent = append(s.sent, m)
	}
	for _, e := range out.Events {
		if o, ok := e.(EvSessionOffered); ok {
			s.session = o.Session
		}
		s.evs = append(s.evs, e)
		s.out = append(s.out, describe(e))
	}
}

// describe is an event on one line, without what is zero.
func describe(e Event) string {
	switch e := e.(type) {
	case EvTunnelState:
		return fmt.Sprintf("tunnel %v -> %v", e.From, e.To)
	case EvSessionState:
		return fmt.Sprintf("session %d %v -> %v", e.Session, e.From, e.To)
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", e), "control.") + fields(reflect.ValueOf(e))
}

func fields(v reflect.Value) string {
	var b strings.Builder
	for i := range v.NumField() {
		f := v.Field(i)
		if f.IsZero() {
			continue
		}
		name := v.Type().Field(i).Name
		_, named := f.Interface().(fmt.Stringer)
		switch {
		case f.Kind() == reflect.Struct && !named:
			fmt.Fprintf(&b, " %s{%s}", name, strings.TrimSpace(fields(f)))
		case f.Kind() == reflect.Pointer:
			fmt.Fprintf(&b, " %s{%s}", name, strings.TrimSpace(fields(f.Elem())))
		case f.Kind() == reflect.String:
			fmt.Fprintf(&b, " %s=%q", name, f.String())
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() != reflect.Uint8:
			fmt.Fprintf(&b, " %s=%v", name, f.Interface())
		case f.Kind() == reflect.Slice:
			fmt.Fprintf(&b, " %s=%x", name, f.Bytes())
		default:
			fmt.Fprintf(&b, " %s=%v", name, f.Interface())
		}
	}
	return b.String()
}
