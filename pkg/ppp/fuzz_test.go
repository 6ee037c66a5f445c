package ppp

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode"
)

// seedFrames is one of everything that a peer may send.
func seedFrames() [][]byte {
	return [][]byte{
		newFrame(ProtoLCP, codeConfigureRequest, 1, opts("0104 05b4 0206 000a0000 0305 c223 05", peerMagic, "0702 0802")),
		newFrame(ProtoLCP, codeConfigureAck, 1, opts("0506 00000001")),
		newFrame(ProtoLCP, codeConfigureNak, 1, opts("0104 0500 0304 c023")),
		newFrame(ProtoLCP, codeConfigureReject, 1, opts("0506 00000001")),
		newFrame(ProtoLCP, codeTerminateRequest, 2, []byte("bye")),
		newFrame(ProtoLCP, codeTerminateAck, 2),
		newFrame(ProtoLCP, codeCodeReject, 1, opts("0901 0008 00000000")),
		newFrame(ProtoLCP, codeProtocolReject, 1, opts("8057 0101 0004")),
		newFrame(ProtoLCP, codeEchoRequest, 1, u32(5), []byte("x")),
		newFrame(ProtoLCP, codeEchoReply, 1, u32(5)),
		newFrame(ProtoPAP, papRequest, 1, []byte("\x03bob\x06secret")),
		newFrame(ProtoPAP, papNak, 1, []byte("\x02no")),
		newFrame(ProtoCHAP, chapChallenge, 1, append([]byte{16}, make([]byte, 20)...)),
		newFrame(ProtoCHAP, chapResponse, 1, append([]byte{16}, make([]byte, 20)...)),
		newFrame(ProtoCHAP, chapFailure, 1, []byte("no")),
		newFrame(ProtoIPCP, codeConfigureRequest, 1, opts("0306 00000000 8106 00000000 0206 002d0f01")),
		newFrame(ProtoIPCP, codeConfigureNak, 1, opts("0306 0a000002")),
		newFrame(ProtoIPV6CP, codeConfigureRequest, 1, opts("010a 0000000000000005")),
		newFrame(ProtoLCP, codeConfigureRequest, 2, opts(peerMagic, "0305 c223 81")),
		newFrame(ProtoLCP, codeConfigureNak, 1, opts("0305 c223 80")),
		newFrame(ProtoCHAP, chapChallenge, 1, []byte{16}, make([]byte, 16), []byte("lns")),
		newFrame(ProtoCHAP, chapChallenge, 1, []byte{8}, make([]byte, 8)),
		msResponse(1, `BIGCO\u`, make([]byte, 49)),
		newFrame(ProtoCHAP, chapSuccess, 1, []byte(sampleSuccess+" M=hi")),
		newFrame(ProtoCHAP, chapFailure, 1, []byte("E=691 R=0 C=00 V=3 M=no")),
		ccpRequest(1, mppeHS), ccpRequest(2, "1206 010000e1 1503 2f"),
		newFrame(ProtoCCP, codeConfigureAck, 1, opts(mppeHS)),
		newFrame(ProtoCCP, codeConfigureReject, 1, opts(mppeHS)),
		newFrame(ProtoCCP, codeTerminateAck, 1),
		newFrame(ProtoCCP, codeTerminateRequest, 1),
		newFrame(ProtoCCP, codeResetRequest, 1),
		newFrame(ProtoLCP, codeProtocolReject, 1, opts("80fd 0101 0004")),
		opts("00fd 9000 1234"),
		opts("80fd 0101 0004"),
		opts("ff03 0021 45"),
		opts("21"),
		{},
	}
}

// FuzzReceive feeds frames, each behind its length, to links in every phase: nothing panics, an answer is bounded, whole
// and readable, the record can always be restored, and the link still ends exactly once.
func FuzzReceive(f *testing.F) {
	for start := range byte(fuzzStarts) {
		var all []byte
		for _, frame := range seedFrames() {
			all = append(append(all, byte(len(frame))), frame...)
			f.Add(start, append([]byte{byte(len(frame))}, frame...))
		}
		f.Add(start, all)
	}
	f.Fuzz(func(t *testing.T, start byte, in []byte) {
		p := fuzzLink(t, start)
		for len(in) > 0 {
			n := min(int(in[0]), len(in)-1)
			fuzzStep(t, p, in[1:1+n])
			in = in[1+n:]
		}
		p.do(CmdClose{Text: "end"})
		p.wait(time.Hour)
		if !p.link.s.Dead || p.link.Deadline() != 0 {
			t.Errorf("the link does not end: %+v", p.link.View())
		}
	})
}

// fuzzStarts is how many beginnings fuzzLink knows.
const fuzzStarts = 20

// fuzzLink is a link in one of the situations that are worth a start.
func fuzzLink(t *testing.T, start byte) *probe {
	t.Helper()
	start %= fuzzStarts
	switch {
	case start >= 13:
		return fuzzHeld(t, start-13)
	case start >= 9:
		x := forwarded([]string{askCHAP, askPAP, askMSv1, askMSv2}[start-9])
		p, _ := through(t, Config{Auth: append(allCHAPs, AuthPAP), IPv6: true, MPPE: MPPEAllow}, x)
		return p
	case start >= 7:
		return encrypted(t, MPPEAllow+MPPEMode(start-7))
	}
	cfg := Config{IPv4: IPv4Mode(start % 4), IPv6: true, Local: addr("10.0.0.1"), WantDNS: true, EchoInterval: time.Second}
	switch {
	case start > 4:
		cfg.Auth, cfg.Answer, cfg.User, cfg.MPPE = allCHAPs, allCHAPs, "u", MPPEAllow+MPPEMode(start-5)
	case start > 1:
		cfg.Auth, cfg.Answer, cfg.User = chapOrPAP, chapOrPAP, "u"
	}
	p := newProbe(t, cfg)
	if start > 0 {
		p.openLCP()
	}
	return p
}

// fuzzHeld is a LAC's link, on each line and with each login.
func fuzzHeld(t *testing.T, start byte) *probe {
	t.Helper()
	cfg := Config{Hold: true, Line: Line(start % 3), ACCM: 0x000a0000, IPv4: IPv4Unnumbered, IPv6: true, MPPE: MPPEAllow}
	if start > 0 {
		cfg.Auth = [][]AuthMethod{onlyPAP, onlyCHAP, onlyMSv1, onlyMSv2, allCHAPs, nil}[start-1]
	}
	if start == 6 { // handed over by another LAC
		x := forwarded(askCHAP)
		cfg.Auth, cfg.Line, cfg.Proxy = onlyCHAP, LineTunnel, &x
	}
	p := newProbe(t, cfg)
	if start > 0 && start < 6 {
		p.openLCP("0104 05d4")
	}
	return p
}

// fuzzTold wants what the link tells an LNS to be known when LCP is open, to fit AVPs, and to be what an LNS can take.
func fuzzTold(t *testing.T, p *probe) {
	t.Helper()
	x := p.link.Proxy()
	if (x != nil) != (p.link.cfg.Hold && p.link.s.LCP.State == stOpened) {
		t.Errorf("LCP is %v, told %v", p.link.s.LCP.State, x)
	}
	if x == nil {
		return
	}
	for _, v := range [][]byte{x.InitialReceived, x.LastSent, x.LastReceived, []byte(x.Name), x.Challenge, x.Response} {
		if len(v) > maxAVPValue {
			t.Errorf("%d octets do not fit an AVP: %v", len(v), x)
		}
	}
	if x.InitialReceived == nil {
		t.Errorf("the first request is not known: %v", x)
	}
	lists := []struct {
		what string
		list []byte
	}{{"sent", x.LastSent}, {"received", x.LastReceived}}
	for _, l := range lists {
		if _, why := readProxied(l.list); why != "" {
			t.Errorf("%s: %s in %x", l.what, why, l.list)
		}
	}
	if (x.Type == ProxyTypeAbsent || x.Type == ProxyTypeNone) && (x.Name != "" || x.Challenge != nil || x.Response != nil || x.ID != 0) {
		t.Errorf("%v with a login", x)
	}
}

func fuzzStep(t *testing.T, p *probe, frame []byte) {
	t.Helper()
	p.now += 100 * time.Millisecond
	wasDead := p.link.s.Dead
	kept := bytes.Clone(frame)
	p.link.Receive(p.now, frame, &p.out)
	clear(frame) // a link that keeps its input would now remember zeros
	octets := 0
	for _, f := range p.out.Frames {
		octets += len(f)
		if s := Summary(f); strings.Contains(s, "broken") {
			t.Errorf("answer to %x: %s", kept, s)
		}
	}
	if len(p.out.Frames) > 8 || octets > 8*(len(kept)+300) {
		t.Errorf("%x is answered by %d frames, %d octets", kept, len(p.out.Frames), octets)
	}
	if wasDead && len(p.out.Frames)+len(p.out.Events) > 0 {
		t.Errorf("a dead link says %q", p.take())
	}
	events := p.out.Events
	p.out = Output{}
	fuzzTold(t, p)
	for _, e := range events {
		switch e := e.(type) {
		case EvAuthRequest:
			if !p.link.cfg.Hold || p.now%(4*time.Second) == 0 { // a LAC takes its time
				p.link.Do(p.now, CmdAuthResult{Attempt: e.Attempt, OK: true, Success: sampleSuccess, Keys: sampleKeys}, &p.out)
			}
		case EvHeld:
			p.link.Do(p.now, CmdProceed(e), &p.out)
		case EvAddressWanted:
			p.link.Do(p.now, CmdAddress{Peer: addr("10.0.0.2")}, &p.out)
		case EvEncryptionWanted:
			p.link.Do(p.now, CmdEncryption{Attempt: e.Attempt, OK: true}, &p.out)
		case EvDecryptionCheck:
			p.link.Do(p.now, CmdDecryption{Attempt: e.Attempt}, &p.out)
		case EvLinkUp, EvLCPDown, EvAuthenticated, EvEncryptionUp, EvEncryptionDown, EvNetworkUp, EvNetworkDown, EvLinkDown, EvIdleCheck, EvAnomaly:
		}
	}
	if d := p.link.Deadline(); d != 0 && d <= p.now {
		p.link.Expire(p.now, &p.out)
	}
	p.out = Output{}
	var out Output
	l, err := Restore(p.link.Record(), *p.link.cfg, p.now, &out)
	if err != nil {
		t.Fatalf("after %x: %v", kept, err)
	}
	p.link = l
}

// FuzzOptions: what is taken apart can be put together again.
func FuzzOptions(f *testing.F) {
	for _, frame := range seedFrames() {
		if len(frame) > 6 {
			f.Add(frame[6:])
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		parsed, ok := parseOptions(in)
		var again []byte
		for _, o := range parsed {
			again = appendOption(again, o.typ, o.data...)
		}
		if ok && !bytes.Equal(again, in) {
			t.Errorf("%x became %x", in, again)
		}
		if !ok && len(parsed) > 0 {
			t.Errorf("%x: options of a broken packet", in)
		}
	})
}

// FuzzSummary: one printable line, whatever comes.
func FuzzSummary(f *testing.F) {
	for _, frame := range seedFrames() {
		f.Add(frame)
		f.Add(append([]byte{0xff, 0x03}, frame...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s := Summary(in)
		if s == "" {
			t.Errorf("%x: nothing", in)
		}
		for _, r := range s {
			if !unicode.IsPrint(r) {
				t.Errorf("%x: %q is not one printable line", in, s)
			}
		}
	})
}

// FuzzProxy: whatever a LAC tells, the link asks, begins anew or ends, can be restored, and ends once when it is closed.
func FuzzProxy(f *testing.F) {
	for _, ask := range []string{"", askCHAP, askPAP, askMSv1, askMSv2, askEAP} {
		x := forwarded(ask)
		for mode := range byte(9) {
			f.Add(mode, uint16(x.Type), x.ID, x.InitialReceived, x.LastSent, x.LastReceived, x.Name, x.Challenge, x.Response)
		}
	}
	f.Fuzz(func(t *testing.T, mode byte, typ uint16, id uint8, initial, sent, received []byte, name string, challenge, response []byte) {
		for _, v := range [][]byte{initial, sent, received, []byte(name), challenge, response} {
			if len(v) > maxAVPValue {
				return // no LAC can tell it
			}
		}
		x := Proxy{
			LCP: ProxyLCP(mode % 3), Auth: ProxyAuth(mode / 3 % 3), Type: ProxyType(typ), ID: id, Name: name,
			InitialReceived: initial, LastSent: sent, LastReceived: received, Challenge: challenge, Response: response,
		}
		cfg := Config{Answer: chapOrPAP, User: "u", Hold: mode%2 == 1}
		if mode < 128 {
			cfg.Auth = append(allCHAPs, AuthPAP)
		}
		p, got := through(t, cfg, x)
		if len(got) == 0 || p.link.s.Dead && len(got) != 1 {
			t.Errorf("%+v: %q", x, got)
		}
		fuzzTold(t, p)
		if v := p.link.View(); v.Proxied && (v.LCP != "Opened" || v.PeerMRU < minMRU || v.MRU < minMRU) {
			t.Errorf("%+v: %+v", x, v)
		}
		var err error
		if p.link, err = Restore(p.link.Record(), *p.link.cfg, p.now, &p.out); err != nil {
			t.Fatal(err)
		}
		p.take()
		p.do(CmdAuthResult{OK: true, Success: sampleSuccess})
		p.do(CmdProceed{Attempt: p.link.Asked()})
		p.do(CmdClose{Text: "end"})
		p.wait(time.Hour)
		if !p.link.s.Dead || p.link.Deadline() != 0 {
			t.Errorf("the link does not end: %+v", p.link.View())
		}
	})
}
