package ppp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// holding is a LAC's configuration with a login by one of these methods.
func holding(m []AuthMethod) Config { return with(demand(m), func(c *Config) { c.Hold = true }) }

func holdScenes() []scene {
	slow := func(a, b *owner) { dialIn(a, b); a.slow = true }
	patient := func(c Config) Config { return with(c, func(c *Config) { c.AuthTimeout = 10 * time.Minute }) }
	minute := func(c *cable) { // S97: the rule that is found in the end says "local"
		c.run(time.Minute)
		c.a.slow = false
		for _, e := range slices.Clone(c.a.events) {
			c.handle(c.a, e)
		}
		c.drain(c.a)
		c.run(time.Second)
		c.do(c.b, CmdClose{Text: "bye"})
		c.run(time.Minute)
	}
	leaves := func(c *cable) {
		c.run(time.Second)
		c.do(c.b, CmdClose{Text: "bye"})
		c.run(time.Minute)
	}
	closes := func(c *cable) {
		c.run(time.Second)
		c.do(c.a, CmdClose{Text: "no LNS"})
		c.run(time.Minute)
	}
	local := []scene{
		{name: "hold-none", a: holding(nil), b: request(), set: dialIn},
		{name: "hold-chap", a: holding(onlyCHAP), b: answer(onlyCHAP), set: dialIn},
		{name: "hold-mschapv2-mppe", a: mppe(holding(onlyMSv2), MPPERequire), b: mppe(answer(onlyMSv2), MPPERequire), set: dialIn},
		{name: "hold-chap-minute", a: holding(onlyCHAP), b: patient(answer(onlyCHAP)), set: slow, act: minute},
		// P272
		{
			name: "line-pppoe", a: with(holding(onlyCHAP), func(c *Config) { c.Line = LinePPPoE }),
			b: with(answer(onlyCHAP), func(c *Config) { c.MRU = 1496 }), set: dialIn,
		},
		{
			name: "line-async", a: with(holding(onlyCHAP), func(c *Config) { c.Line, c.ACCM = LineAsync, 0x000a0000 }),
			b: with(answer(onlyCHAP), func(c *Config) { c.Line = LineAsync }), set: dialIn,
		},
	}
	for i := range local {
		local[i].reasonA, local[i].reasonB = ReasonPeer, ReasonLocal
	}
	return append(local,
		scene{name: "hold-client-leaves", a: holding(onlyCHAP), b: answer(onlyCHAP), set: slow, act: leaves, reasonA: ReasonPeer, reasonB: ReasonLocal},
		scene{name: "hold-close", a: holding(nil), b: request(), set: slow, act: closes, reasonA: ReasonLocal, reasonB: ReasonPeer},
	)
}

// P186 to P189: what a LAC tells, octet for octet.
func TestProxyTellsWhatTheClientAgreedTo(t *testing.T) {
	t.Parallel()
	value := bytes.Repeat([]byte{0x7e}, 49)
	for name, c := range map[string]struct {
		ask   []AuthMethod
		frame func(p *probe) []byte
		want  Proxy
	}{
		"none": {want: Proxy{Type: ProxyTypeNone}},
		"PAP": {
			onlyPAP, func(*probe) []byte { return papFrame(0x43, "bob", "secret") },
			Proxy{Type: ProxyTypePAP, Name: "bob", ID: 0x43, Response: []byte("secret")},
		},
		"CHAP": {
			onlyCHAP, func(p *probe) []byte { return response(p, 1, "bob") },
			Proxy{Type: ProxyTypeCHAP, Name: "bob", ID: 1},
		},
		"MS-CHAPv1": {
			onlyMSv1, func(*probe) []byte { return msResponse(1, "bob", value) },
			Proxy{Type: ProxyTypeMSCHAPv1, Name: "bob", ID: 1, Response: value},
		},
		"MS-CHAPv2": {onlyMSv2, func(*probe) []byte { return msResponse(1, "bob", value) }, Proxy{}},
	} {
		p := newProbe(t, Config{Auth: c.ask, Hold: true, IPv4: IPv4Unnumbered, Line: LinePPPoE})
		if p.link.Proxy() != nil {
			t.Errorf("%s: told before LCP is open", name)
		}
		first := opts("0104 05d4 1104 05dc", peerMagic)
		p.give(newFrame(ProtoLCP, codeConfigureRequest, 1, first))
		p.openLCP("0104 0578")
		if got := p.link.Proxy(); len(c.ask) > 0 && (got.Type != ProxyTypeAbsent || got.Name != "" || got.Challenge != nil || got.Response != nil) {
			t.Errorf("%s: a login that has not come: %v", name, got)
		}
		want := c.want
		want.InitialReceived, want.LastReceived = first, opts(peerMagic, "0104 0578")
		want.LastSent = p.link.s.LCP.Sent
		if c.frame != nil {
			p.give(c.frame(p))
		}
		if want.Type == ProxyTypeCHAP || want.Type == ProxyTypeMSCHAPv1 {
			want.Challenge = bytes.Clone(p.link.s.Authenticator.Challenge)
		}
		if want.Type == ProxyTypeCHAP {
			want.Response = bytes.Clone(p.link.s.Authenticator.Response)
		}
		got := p.link.Proxy()
		if d := cmp.Diff(want, *got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		for _, b := range [][]byte{got.InitialReceived, got.LastSent, got.LastReceived, got.Challenge, got.Response} {
			clear(b)
		}
		if d := cmp.Diff(want, *p.link.Proxy()); d != "" {
			t.Errorf("%s shares memory (-want +got):\n%s", name, d)
		}
		p.do(CmdClose{})
		if p.link.Proxy() != nil {
			t.Errorf("%s: told of a link that is closing", name)
		}
	}
}

// Nothing that an AVP cannot hold is told, and nothing is kept where nobody may ask.
func TestProxyFitsAVPs(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Auth: onlyCHAP, Hold: true})
	many := append(bytes.Repeat(opts("63ff", strings.Repeat("00", 253)), 4), opts(peerMagic)...)
	p.give(newFrame(ProtoLCP, codeConfigureRequest, 1, many))
	p.openLCP(strings.Repeat("0104 0578", 300))
	p.give(response(p, 1, strings.Repeat("x", 1018)))
	got := p.link.Proxy()
	if got.LastReceived != nil || len(got.InitialReceived) != 3*255 || got.Type != ProxyTypeAbsent {
		t.Errorf("%v, initially %d octets", got, len(got.InitialReceived))
	}

	p = newProbe(t, Config{Auth: onlyPAP})
	p.openLCP()
	p.give(papFrame(1, "bob", "secret"))
	if p.link.Proxy() != nil || p.link.s.Handover != nil {
		t.Error("kept without Config.Hold")
	}
}

// Without a login the owner is asked once, and again when LCP has begun anew; an answer to the question before counts for nothing.
func TestHeldLinkWaitsForItsOwner(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Hold: true, IPv4: IPv4Unnumbered})
	up := "! link up mru=1500 peer-mru=1500 auth=none answer=none"
	p.want(p.openLCP(), up, "! held")
	p.want(p.give(newFrame(ProtoIPCP, codeConfigureRequest, 1))) // P198
	p.want(p.give(newFrame(ProtoLCP, codeConfigureRequest, 1, opts(peerMagic))), "> LCP Configure-Ack id=1 magic=00000099")
	p.want(p.wait(time.Hour))
	if p.link.Asked() != 1 {
		t.Errorf("asked %d", p.link.Asked())
	}
	first := opts("0506 000000aa", "1104 05dc")
	p.give(newFrame(ProtoLCP, codeConfigureRequest, 2, first)) // the whole negotiation is new, from its rejected request on
	p.want(p.give(newFrame(ProtoLCP, codeConfigureRequest, 3, opts("0506 000000aa"))), "> LCP Configure-Ack id=3 magic=000000aa")
	p.want(p.give(p.ack(ProtoLCP)), up, "! held")
	if got := p.link.Proxy().InitialReceived; !bytes.Equal(got, first) {
		t.Errorf("first request %x", got)
	}
	p.want(p.do(CmdProceed{Attempt: 1}))
	p.want(p.do(CmdAuthResult{Attempt: 2, OK: true}))
	p.want(p.do(CmdProceed{Attempt: 2}), "> IPCP Configure-Request id=1", `! authenticated peer=""`)
	p.want(p.do(CmdProceed{Attempt: 2}))
	p.openIPCP()
}

// A client that begins anew or leaves is followed at once.
func TestHeldClientBeginsAnewOrLeaves(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Auth: onlyCHAP, Hold: true, IPv4: IPv4Unnumbered})
	p.openLCP()
	p.want(p.give(response(p, 1, "bob")), `! auth request CHAP-MD5 name="bob"`)
	p.now += 10 * time.Second
	got := p.give(newFrame(ProtoLCP, codeConfigureRequest, 9, opts("0506 000000aa")))
	if len(got) != 3 || got[1] != "> LCP Configure-Ack id=9 magic=000000aa" || got[2] != "! LCP down" || p.link.Proxy() != nil {
		t.Errorf("%q", got)
	}
	p.want(p.do(CmdAuthResult{Attempt: 1, OK: true}))
	p.want(p.give(p.ack(ProtoLCP)), `> CHAP Challenge id=2 name="" value=***`, "! link up mru=1500 peer-mru=1500 auth=CHAP-MD5 answer=none")
	p.want(p.give(response(p, 2, "eve")), `! auth request CHAP-MD5 name="eve"`)
	if x := p.link.Proxy(); x.Name != "eve" || !bytes.Equal(x.InitialReceived, opts("0506 000000aa")) {
		t.Errorf("%v", x)
	}
	p.want(p.give(newFrame(ProtoLCP, codeTerminateRequest, 5, []byte("bye"))), "> LCP Terminate-Ack id=5", "! LCP down")
	p.want(p.wait(time.Minute), `! link down stage=user authentication reason=closed by the peer peer=true text="bye"`)
}

// While the owner looks for an LNS the client repeats itself, or says something else: the first word counts, no timer ends the login, and
// the verdict is under the latest identifier.
func TestHoldAbsorbsRepeatedLogins(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Auth: onlyPAP, Hold: true, IPv4: IPv4Unnumbered, EchoInterval: time.Hour})
	p.openLCP()
	p.want(p.give(papFrame(1, "bob", "secret")), `! auth request PAP name="bob"`)
	for id := byte(2); id < 42; id++ {
		p.want(p.wait(3 * time.Second))
		p.want(p.give(papFrame(id, "bob", "secret")))
		p.want(p.give(newFrame(ProtoLCP, codeEchoRequest, id, u32(0x99))), fmt.Sprintf("> LCP Echo-Reply id=%d magic=%08x", id, p.link.View().Magic))
	}
	p.want(p.give(papFrame(42, "eve", "other")))
	if x := p.link.Proxy(); x.Name != "bob" || string(x.Response) != "secret" || x.ID != 42 {
		t.Errorf("%v with %q", x, x.Response)
	}
	p.want(p.do(CmdAuthResult{OK: true}), `> PAP Authenticate-Ack id=42 message=""`, "> IPCP Configure-Request id=1", `! authenticated peer="bob"`)

	p = newProbe(t, Config{Auth: onlyCHAP, Hold: true, IPv4: IPv4Unnumbered})
	p.openLCP()
	p.want(p.give(response(p, 1, "bob")), `! auth request CHAP-MD5 name="bob"`)
	for range 40 {
		p.want(p.wait(3 * time.Second))
		p.want(p.give(response(p, 1, "bob")))
		p.want(p.give(response(p, 1, "eve")))
	}
	p.want(p.do(CmdAuthResult{OK: true}), `> CHAP Success id=1 message=""`, "> IPCP Configure-Request id=1", `! authenticated peer="bob"`)
	if x := p.link.Proxy(); x.Name != "bob" || x.Type != ProxyTypeCHAP || len(x.Response) != 16 {
		t.Errorf("%v", x)
	}

	// A client that never logs in is still not waited for longer than AuthTimeout.
	p = newProbe(t, Config{Auth: onlyPAP, Hold: true})
	p.openLCP()
	p.wait(61 * time.Second)
	if end := p.link.View().End; end.Reason != ReasonAuthTimeout {
		t.Errorf("%+v", end)
	}
	// Nor is one that lets us wait for its own verdict.
	p = newProbe(t, Config{Hold: true, User: "lac", Answer: onlyCHAP})
	p.openLCP(askCHAP)
	p.want(p.wait(time.Hour))
	p.want(p.do(CmdProceed{Attempt: 1}))
	p.wait(61 * time.Second)
	if end := p.link.View().End; end.Reason != ReasonAuthTimeout {
		t.Errorf("%+v", end)
	}
}

// A link goes on waiting after Restore, and tells the same; the password of PAP comes with the client's next request.
func TestRestoreOfAHeldLink(t *testing.T) {
	t.Parallel()
	for _, m := range [][]AuthMethod{nil, onlyCHAP, onlyMSv1, onlyMSv2, onlyPAP} {
		p := newProbe(t, Config{Auth: m, Hold: true, IPv4: IPv4Unnumbered})
		p.openLCP()
		switch {
		case m == nil:
		case m[0] == AuthPAP:
			p.give(papFrame(1, "bob", "secret"))
		case m[0] == AuthCHAPMD5:
			p.give(response(p, 1, "bob"))
		default:
			p.give(msResponse(1, "bob", make([]byte, 49)))
		}
		told := p.link.Proxy()
		b, err := json.Marshal(p.link.Record())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "secret") || strings.Contains(string(b), "c2VjcmV0") {
			t.Errorf("%v: the record holds the password: %s", m, b)
		}
		var r Record
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatal(err)
		}
		if p.link, err = Restore(r, *p.link.cfg, p.now, &p.out); err != nil {
			t.Fatal(err)
		}
		switch {
		case m == nil:
			p.want(p.take(), "! held")
			p.want(p.wait(time.Hour))
		case m[0] == AuthPAP:
			p.want(p.take())
			if x := p.link.Proxy(); x.Type != ProxyTypeAbsent || x.Name != "" {
				t.Errorf("%v", x)
			}
			p.want(p.give(papFrame(2, "bob", "secret")), `! auth request PAP name="bob"`)
			told.ID = 2
			p.want(p.wait(time.Hour))
		default:
			p.want(p.take(), fmt.Sprintf("! auth request %v name=\"bob\"", m[0]))
			p.want(p.wait(time.Hour))
		}
		if d := cmp.Diff(told, p.link.Proxy()); d != "" {
			t.Errorf("%v (-before +after):\n%s", m, d)
		}
	}

	// A client that does not repeat itself is not waited for longer than AuthTimeout.
	p := newProbe(t, Config{Auth: onlyPAP, Hold: true})
	p.openLCP()
	p.give(papFrame(1, "bob", "secret"))
	var err error
	if p.link, err = Restore(p.link.Record(), *p.link.cfg, p.now, &p.out); err != nil {
		t.Fatal(err)
	}
	p.wait(61 * time.Second)
	if end := p.link.View().End; end.Reason != ReasonAuthTimeout {
		t.Errorf("%+v", end)
	}
}

// P190 to P197, P200: whatever the LAC asked for, and whatever the LNS makes of it, the client comes up, also when it repeats its Response
// into the tunnel because nobody has answered it yet.
func TestClientComesUpThroughOurLAC(t *testing.T) {
	t.Parallel()
	patient := func(c *Config) { c.AuthTimeout = 10 * time.Minute }
	for _, m := range [][]AuthMethod{nil, onlyPAP, onlyCHAP, onlyMSv1, onlyMSv2} {
		for lcp := ProxyLCPAccept; lcp <= ProxyLCPRenegotiate; lcp++ {
			for auth := ProxyAuthAccept; auth <= ProxyAuthRenegotiate; auth++ {
				for _, late := range []bool{false, true} {
					name := fmt.Sprintf("%v, LCP %v, auth %v, late %v", m, lcp, auth, late)
					a, b := newOwner(t, "a", demand(m)), newOwner(t, "b", with(answer(m), patient))
					dialIn(a, b)
					c := newCable(t, a, b)
					lac := with(demand(m), func(c *Config) { c.Name, c.MRU, c.Line = "lac", 1460, LinePPPoE })
					c.callThrough(lac, Proxy{LCP: lcp, Auth: auth})
					a.slow = late
					c.open()
					if late {
						c.run(7 * time.Second) // with two repeats of a login in them
						a.slow = false
						if id := a.link.Asked(); id != 0 {
							i := slices.IndexFunc(a.events, func(e Event) bool { _, ok := e.(EvAuthRequest); return ok })
							c.handle(a, a.events[i])
							c.drain(a)
						} else if len(m) == 0 {
							c.handle(a, EvAddressWanted{})
							c.drain(a)
						}
					}
					c.run(time.Minute)
					if len(a.up) != 1 || len(b.up) != 1 || len(a.downs)+len(b.downs) != 0 {
						t.Errorf("%s: up %v and %v, down %v and %v\n%s", name, a.up, b.up, a.downs, b.downs, c.log.String())
						continue
					}
					kept := lcp != ProxyLCPRenegotiate && auth != ProxyAuthRenegotiate
					if v := a.link.View(); v.Proxied != kept || kept && (v.MRU != 1460 || v.PeerMRU != 1492) {
						t.Errorf("%s: %+v", name, v)
					}
					if s := a.link.s.Authenticator; s.Progress == authPassed && a.link.s.LCP.Auth.protocol() == ProtoCHAP {
						p := &probe{t: t, link: a.link, now: c.now}
						value := make([]byte, a.link.s.LCP.Auth.responseSize())
						got := p.give(newFrame(ProtoCHAP, chapResponse, s.ID, []byte{byte(len(value))}, value, []byte("bob")))
						if len(got) != 1 || !strings.HasPrefix(got[0], fmt.Sprintf("> CHAP Success id=%d ", s.ID)) {
							t.Errorf("%s: %q", name, got)
						}
					}
				}
			}
		}
	}
}

// A LAC that gets its client from another one passes on what that one told (P186).
func TestProxyOfAProxiedCall(t *testing.T) {
	t.Parallel()
	text := forwarded("")
	text.Type, text.Response = ProxyTypeText, []byte("secret")
	for name, x := range map[string]Proxy{
		"none": forwarded(""), "CHAP": forwarded(askCHAP), "PAP": forwarded(askPAP), "MS-CHAPv1": forwarded(askMSv1), "text": text,
	} {
		switch x.Type {
		case ProxyTypeNone:
			x.Name, x.ID = "", 0
		case ProxyTypeText:
			x.ID = 0
		case ProxyTypeAbsent, ProxyTypeCHAP, ProxyTypePAP, ProxyTypeMSCHAPv1:
		}
		cfg := Config{Auth: []AuthMethod{AuthCHAPMD5, AuthMSCHAPv1, AuthPAP}, Hold: true}
		if x.Type == ProxyTypeNone {
			cfg.Auth = nil
		}
		p, _ := through(t, cfg, x)
		if d := cmp.Diff(&x, p.link.Proxy()); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// P272: what a line of PPPoE allows (RFC 2516, 7), and with PPP-Max-Payload (RFC 4638).
func TestPPPoELine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		most     uint16
		in, want string
	}{
		"as it should be":  {0, "0104 05d4 0506 00000099", "> LCP Configure-Ack id=9 mru=1492 magic=00000099"},
		"framing of HDLC":  {0, "0206 00000000 0104 05d4 0702 0802 0903 04", "> LCP Configure-Reject id=9 accm=00000000 pfc acfc 9=04"},
		"MRU too big":      {0, "0104 05dc", "> LCP Configure-Nak id=9 mru=1492"},
		"MRU of 1493":      {0, "0104 05d5", "> LCP Configure-Nak id=9 mru=1492"},
		"MRU small":        {0, "0104 0500", "> LCP Configure-Ack id=9 mru=1280"},
		"MRU too small":    {0, "0104 0001", "> LCP Configure-Nak id=9 mru=128"},
		"MRU of one octet": {0, "0103 05", "> LCP Configure-Nak id=9 mru=1492"},
		"no MRU":           {0, "0506 00000099", "> LCP Configure-Nak id=9 mru=1492"},
		"jumbo":            {1500, "0104 05dc", "> LCP Configure-Ack id=9 mru=1500"},
		"jumbo, no MRU":    {1500, "", "> LCP Configure-Ack id=9"},
		"too big a jumbo":  {1500, "0104 2328", "> LCP Configure-Nak id=9 mru=1500"},
	} {
		p := newProbe(t, Config{Line: LinePPPoE, MaxMRU: c.most})
		own := uint16(1492)
		if c.most != 0 {
			own = c.most
		}
		p.want(p.take(), fmt.Sprintf("> LCP Configure-Request id=1 mru=%d magic=f3ff4d45", own))
		if got := p.give(newFrame(ProtoLCP, codeConfigureRequest, 9, opts(c.in))); len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}

	// It is asked for its MRU once; without the option it gets no more than fits, and we expect no more when it refuses ours.
	p := newProbe(t, Config{Line: LinePPPoE, MRU: 1500, IPv4: IPv4Unnumbered})
	p.give(newFrame(ProtoLCP, codeConfigureRequest, 0, opts(peerMagic)))
	p.give(newFrame(ProtoLCP, codeConfigureReject, p.link.s.LCP.SentID, opts("0104 05d4")))
	p.want(p.openLCP(), "> IPCP Configure-Request id=1", "! link up mru=1492 peer-mru=1492 auth=none answer=none", `! authenticated peer=""`)
}

// RFC 1662, 7.1: the map that we ask for, and what becomes of it.
func TestAsyncLine(t *testing.T) {
	t.Parallel()
	async := func(accm uint32) *probe {
		return newProbe(t, Config{Line: LineAsync, ACCM: accm, IPv4: IPv4Unnumbered, Hold: true})
	}
	p := async(DefaultACCM)
	p.want(p.take(), "> LCP Configure-Request id=1 magic=f3ff4d45")
	p.want(p.openLCP(), "! link up mru=1500 peer-mru=1500 auth=none answer=none", "! held")

	p = async(0)
	p.want(p.take(), "> LCP Configure-Request id=1 accm=00000000 magic=f3ff4d45")
	p.want(p.give(newFrame(ProtoLCP, codeConfigureNak, 1, opts("0206 000a0000"))), "> LCP Configure-Request id=2 accm=000a0000 magic=f3ff4d45")
	p.want(p.openLCP("0206 00000001"), "! link up mru=1500 peer-mru=1500 auth=none answer=none accm=000a0000 peer-accm=00000001", "! held")
	p.now += time.Minute
	got := p.give(newFrame(ProtoLCP, codeConfigureRequest, 9, opts("0506 000000aa"))) // what was agreed on is forgotten
	if len(got) != 3 || !strings.HasPrefix(got[0], "> LCP Configure-Request id=3 accm=00000000 magic=") || got[2] != "! LCP down" {
		t.Errorf("%q", got)
	}
	p.want(p.give(p.ack(ProtoLCP)), "! link up mru=1500 peer-mru=1500 auth=none answer=none accm=00000000 peer-accm=ffffffff", "! held")

	p = async(0)
	p.give(newFrame(ProtoLCP, codeConfigureReject, 1, opts("0206 00000000")))
	p.want(p.openLCP(), "! link up mru=1500 peer-mru=1500 auth=none answer=none", "! held")
}

func TestTerminateRequestIsWhole(t *testing.T) {
	t.Parallel()
	if got, want := Summary(TerminateRequest(7, "the LNS is gone")), `LCP Terminate-Request id=7 text="the LNS is gone"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := TerminateRequest(7, strings.Repeat("x", 2000)); len(got) > minMRU {
		t.Errorf("%d octets", len(got))
	}
	p := newProbe(t, Config{})
	p.openLCP()
	p.want(p.give(TerminateRequest(7, "x")), "> LCP Terminate-Ack id=7")
}
