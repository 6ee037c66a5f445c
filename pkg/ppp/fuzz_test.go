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
const fuzzStarts = 19

// fuzzLink is a link in one of the situations that are worth a start.
func fuzzLink(t *testing.T, start byte) *probe {
	t.Helper()
	start %= fuzzStarts
	switch {
	case start >= 13:
		return fuzzLAC(t, start-13)
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

// fuzzLAC is a link of a LAC's, on Ethernet or an asynchronous line, which is asked where the call goes or has been asked.
func fuzzLAC(t *testing.T, start byte) *probe {
	t.Helper()
	cfg := Config{Hold: true, IPv4: IPv4Unnumbered, IPv6: true, SessionTimeout: time.Hour}
	if start%2 == 0 {
		cfg.Ethernet, cfg.MRU, cfg.Passive = 1492, 1492, true
	} else {
		cfg.Async = true
	}
	if start >= 2 {
		cfg.Auth = append(allCHAPs, AuthPAP)
	}
	p := newProbe(t, cfg)
	if start < 4 {
		p.openLCP()
	}
	return p
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
	for _, e := range events {
		switch e := e.(type) {
		case EvAuthRequest:
			if p.link.cfg.Hold {
				fuzzHeld(t, p, e)
			}
			p.link.Do(p.now, CmdAuthResult{Attempt: e.Attempt, OK: true, Success: sampleSuccess, Keys: sampleKeys}, &p.out)
		case EvHeld:
			fuzzHeld(t, p, EvAuthRequest{})
		case EvAddressWanted:
			p.link.Do(p.now, CmdAddress{Peer: addr("10.0.0.2")}, &p.out)
		case EvEncryptionWanted:
			p.link.Do(p.now, CmdEncryption{Attempt: e.Attempt, OK: true}, &p.out)
		case EvDecryptionCheck:
			p.link.Do(p.now, CmdDecryption{Attempt: e.Attempt}, &p.out)
		case EvLinkUp, EvAuthenticated, EvEncryptionUp, EvEncryptionDown, EvNetworkUp, EvNetworkDown, EvLinkDown, EvIdleCheck, EvAnomaly:
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

// fuzzHeld looks at what an LNS is told, of which it must be able to make a link, and goes on here.
func fuzzHeld(t *testing.T, p *probe, login EvAuthRequest) {
	t.Helper()
	if x := p.link.Proxy(login); x != nil {
		if x.InitialReceived == nil || x.LastSent == nil || x.LastReceived == nil {
			t.Errorf("a list is missing: %+v", x)
		}
		lns, got := through(t, Config{Auth: append(allCHAPs, AuthPAP)}, *x)
		if v := lns.link.View(); login.Method != AuthNone && !v.Proxied {
			t.Errorf("an LNS makes nothing of %+v: %q", x, got)
		}
	}
	here := *p.link.cfg
	here.IPv6ID, here.SessionTimeout = 5, time.Minute
	p.link.Do(p.now, CmdConfigure{Config: here.Complete()}, &p.out)
	p.link.Do(p.now, CmdProceed{}, &p.out)
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
		x := Proxy{
			LCP: ProxyLCP(mode % 3), Auth: ProxyAuth(mode / 3 % 3), Type: ProxyType(typ), ID: id, Name: name,
			InitialReceived: initial, LastSent: sent, LastReceived: received, Challenge: challenge, Response: response,
		}
		cfg := Config{Answer: chapOrPAP, User: "u"}
		if mode < 128 {
			cfg.Auth = append(allCHAPs, AuthPAP)
		}
		p, got := through(t, cfg, x)
		if len(got) == 0 || p.link.s.Dead && len(got) != 1 {
			t.Errorf("%+v: %q", x, got)
		}
		if v := p.link.View(); v.Proxied && (v.LCP != "Opened" || v.PeerMRU < minMRU || v.MRU < minMRU) {
			t.Errorf("%+v: %+v", x, v)
		}
		var err error
		if p.link, err = Restore(p.link.Record(), *p.link.cfg, p.now, &p.out); err != nil {
			t.Fatal(err)
		}
		p.take()
		p.do(CmdAuthResult{OK: true, Success: sampleSuccess})
		p.do(CmdClose{Text: "end"})
		p.wait(time.Hour)
		if !p.link.s.Dead || p.link.Deadline() != 0 {
			t.Errorf("the link does not end: %+v", p.link.View())
		}
	})
}
