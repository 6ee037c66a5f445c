package ppp

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Lists as a LAC sends them.
const (
	lacMagic   = "0506 000000aa"
	askCHAP    = "0305 c223 05"
	askPAP     = "0304 c023"
	askMSv1    = "0305 c223 80"
	askMSv2    = "0305 c223 81"
	askEAP     = "0304 c227"
	clientList = "0104 05d4 0506 00000099"
)

// forwarded is what a LAC tells that asked for a login in this way; the type and what belongs to it follow from that.
func forwarded(ask string) Proxy {
	x := Proxy{InitialReceived: opts(clientList), LastSent: opts("0104 05d4", lacMagic, ask), LastReceived: opts(clientList), Name: "bob", ID: 0x42}
	switch ask {
	case askCHAP:
		x.Type, x.Challenge, x.Response = ProxyTypeCHAP, bytes.Repeat([]byte{0xc4}, 20), bytes.Repeat([]byte{0x7e}, 16)
	case askPAP:
		x.Type, x.Response = ProxyTypePAP, []byte("secret")
	case askMSv1:
		x.Type, x.Challenge, x.Response = ProxyTypeMSCHAPv1, bytes.Repeat([]byte{0xc4}, 8), bytes.Repeat([]byte{0x7e}, 49)
	case "":
		x.Type = ProxyTypeNone
	}
	return x
}

// through is a link to a client whose call a LAC has passed on.
func through(t *testing.T, cfg Config, x Proxy) (*probe, []string) {
	t.Helper()
	cfg.Proxy = &x
	if cfg.IPv4 == IPv4Off {
		cfg.IPv4 = IPv4Unnumbered
	}
	p := newProbe(t, cfg)
	return p, p.take()
}

// P190, P205: LCP is open without a packet; MRUs, magic numbers and character maps are those of the two lists.
func TestProxyOpensLCPWithoutAPacket(t *testing.T) {
	t.Parallel()
	x := forwarded("")
	x.LastSent, x.LastReceived = opts("0104 05b4 0206 00000000", lacMagic), opts("0104 0578 0206 000a0000", peerMagic, "0702 0802")
	p, got := through(t, Config{EchoInterval: 10 * time.Second, MRU: 1400}, x)
	p.want(got, "> IPCP Configure-Request id=1", "! link up mru=1460 peer-mru=1400 auth=none answer=none accm=00000000 peer-accm=000a0000", `! authenticated peer=""`)
	v := p.link.View()
	if v.LCP != "Opened" || v.Magic != 0xaa || v.PeerMagic != 0x99 || v.MRU != 1460 || v.PeerMRU != 1400 || !v.Proxied {
		t.Errorf("%+v", v)
	}
	p.openIPCP()
	p.want(p.wait(10*time.Second), "> LCP Echo-Request id=1 magic=000000aa")
	p.want(p.give(newFrame(ProtoLCP, codeEchoRequest, 7, u32(0x99))), "> LCP Echo-Reply id=7 magic=000000aa")
}

// P193: what is no reason to begin anew.
func TestProxyTolerates(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(x *Proxy){
		"no MRU in 27":       func(x *Proxy) { x.LastSent = opts(lacMagic, askCHAP) },
		"no magic in 27":     func(x *Proxy) { x.LastSent = opts("0104 05d4", askCHAP) },
		"neither in 28":      func(x *Proxy) { x.LastReceived = []byte{} },
		"magic numbers of 0": func(x *Proxy) { x.LastSent, x.LastReceived = opts("0506 00000000", askCHAP), opts("0506 00000000") },
		"ACCM 0 and ACFC":    func(x *Proxy) { x.LastReceived = opts("0206 00000000 0802 0702", peerMagic) },
		"no first request":   func(x *Proxy) { x.InitialReceived = nil },
		"a big MRU":          func(x *Proxy) { x.LastSent = opts("0104 2328", askCHAP) },
		"an odd first one":   func(x *Proxy) { x.InitialReceived = opts("0304 c023 1104 05dc") },
	} {
		x := forwarded(askCHAP)
		change(&x)
		p, got := through(t, Config{Auth: onlyCHAP}, x)
		if len(got) != 2 || !strings.HasPrefix(got[0], "! link up") || got[1] != `! auth request CHAP-MD5 name="bob"` {
			t.Errorf("%s: %q", name, got)
		}
		if m := p.link.View(); m.MRU < 1500-8 || m.PeerMRU < 1492 {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// P192, P216: what cannot hold ends the link, or LCP begins anew, as the configuration says.
func TestProxyLCPThatCannotHold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(x *Proxy)
		why    string
	}{
		"nothing at all":     {func(x *Proxy) { *x = Proxy{} }, "the LAC tells no LCP options"},
		"no 27":              {func(x *Proxy) { x.LastSent = nil }, "the LAC tells no LCP options"},
		"no 28":              {func(x *Proxy) { x.LastReceived = nil }, "the LAC tells no LCP options"},
		"broken 26":          {func(x *Proxy) { x.InitialReceived = opts("0104") }, "broken options in the client's first request"},
		"broken 27":          {func(x *Proxy) { x.LastSent = opts("0100") }, "broken options in the LAC's request"},
		"broken 28":          {func(x *Proxy) { x.LastReceived = opts("01") }, "broken options in the client's request"},
		"small MRU in 28":    {func(x *Proxy) { x.LastReceived = opts("0104 007f") }, "the option mru=127 in the client's request"},
		"small MRU in 27":    {func(x *Proxy) { x.LastSent = opts("0104 0000", askCHAP) }, "the option mru=0 in the LAC's request"},
		"MRU of one octet":   {func(x *Proxy) { x.LastReceived = opts("0103 05") }, "the option 1=05 in the client's request"},
		"short magic":        {func(x *Proxy) { x.LastReceived = opts("0504 0001") }, "the option 5=0001 in the client's request"},
		"short ACCM":         {func(x *Proxy) { x.LastReceived = opts("0203 00") }, "the option 2=00 in the client's request"},
		"PFC with data":      {func(x *Proxy) { x.LastReceived = opts("0703 00") }, "the option 7=00 in the client's request"},
		"multilink":          {func(x *Proxy) { x.LastReceived = opts("1104 05dc", peerMagic) }, "the option 17=05dc in the client's request"},
		"quality":            {func(x *Proxy) { x.LastSent = opts("0408 c025 00000064") }, "the option 4=c02500000064 in the LAC's request"},
		"a looped line":      {func(x *Proxy) { x.LastReceived = opts(lacMagic) }, "both ends have one magic number"},
		"EAP":                {func(x *Proxy) { x.LastSent = opts(askEAP) }, "the option auth=c227 in the LAC's request"},
		"method not allowed": {func(x *Proxy) { x.LastSent = opts(askPAP) }, "the LAC asked for a login by PAP"},
		"client wants one":   {func(x *Proxy) { x.LastReceived = opts(askPAP) }, "the client wants a login by PAP"},
		"client wants EAP":   {func(x *Proxy) { x.LastReceived = opts(askEAP) }, "the option auth=c227 in the client's request"},
		"no login agreed on": {func(x *Proxy) { x.LastSent, x.Type = opts(lacMagic), ProxyTypeAbsent }, "the client need not log in"},
		"CHAP without LCP's": {func(x *Proxy) { x.LastSent = opts(lacMagic) }, "the client need not log in"},
		"no login at all":    {func(x *Proxy) { *x = forwarded("") }, "the LAC did without a login"},
		"type none":          {func(x *Proxy) { x.Type = ProxyTypeNone }, "the LAC did without a login"},
		"PAP data":           {func(x *Proxy) { x.Type = ProxyTypePAP }, "a login by PAP, where CHAP-MD5 was agreed on"},
		"MS-CHAP data":       {func(x *Proxy) { x.Type = ProxyTypeMSCHAPv1 }, "a login by MS-CHAPv1, where CHAP-MD5 was agreed on"},
		"no challenge":       {func(x *Proxy) { x.Challenge = nil }, "a login by CHAP-MD5 with 0 octets of challenge and 16 octets of response"},
		"short response":     {func(x *Proxy) { x.Response = x.Response[1:] }, "a login by CHAP-MD5 with 20 octets of challenge and 15 octets of response"},
		"MS-CHAPv1 too long": {func(x *Proxy) {
			*x = forwarded(askMSv1)
			x.Challenge = make([]byte, 16)
		}, "a login by MS-CHAPv1 with 16 octets of challenge and 49 octets of response"},
	} {
		for _, mode := range []ProxyLCP{ProxyLCPAccept, ProxyLCPMismatch, ProxyLCPRenegotiate} {
			x := forwarded(askCHAP)
			c.change(&x)
			x.LCP = mode
			p, got := through(t, Config{Auth: []AuthMethod{AuthCHAPMD5, AuthMSCHAPv1}, Random: sample(nil), Passive: true}, x)
			begin := "> LCP Configure-Request id=1 auth=chap-md5 magic=52f1b1a7"
			switch mode {
			case ProxyLCPAccept:
				p.want(got, fmt.Sprintf("! link down stage=LCP reason=LCP of the LAC not acceptable peer=false text=%q", c.why))
				if p.link.Deadline() != 0 {
					t.Errorf("%s: a dead link has a deadline", name)
				}
			case ProxyLCPMismatch:
				p.want(got, begin, "! odd: LCP of the LAC does not hold, it begins anew: "+c.why)
			case ProxyLCPRenegotiate:
				p.want(got, begin)
			}
		}
	}
}

// P190, P194, P196: which login counts, for all that can be demanded, agreed on and told.
func TestProxyAuthModes(t *testing.T) {
	t.Parallel()
	asks := func(m AuthMethod) string { return fmt.Sprintf("! auth request %v name=\"bob\"", m) }
	const (
		challenges = `> CHAP Challenge id=67 name="" value=***`
		open       = "> IPCP Configure-Request id=1"
		ends       = "! link down"
		begins     = "> LCP Configure-Request id=1"
		waits      = ""
	)
	text := func(ask string) Proxy {
		x := forwarded(ask)
		x.Type, x.Response = ProxyTypeText, []byte("secret")
		return x
	}
	of := func(x Proxy, typ ProxyType) Proxy { x.Type = typ; return x }
	for name, c := range map[string]struct {
		demanded []AuthMethod
		x        Proxy
		// with accept, rechallenge, renegotiate
		want [3]string
	}{
		"CHAP":                          {onlyCHAP, forwarded(askCHAP), [3]string{asks(AuthCHAPMD5), challenges, begins}},
		"CHAP as a second choice":       {[]AuthMethod{AuthPAP, AuthCHAPMD5}, forwarded(askCHAP), [3]string{asks(AuthCHAPMD5), challenges, begins}},
		"PAP":                           {chapOrPAP, forwarded(askPAP), [3]string{asks(AuthPAP), waits, begins}},
		"PAP is not allowed":            {onlyCHAP, forwarded(askPAP), [3]string{ends, ends, begins}},
		"MS-CHAPv1":                     {allCHAPs, forwarded(askMSv1), [3]string{asks(AuthMSCHAPv1), challenges, begins}},
		"MS-CHAPv2 has no type":         {allCHAPs, of(forwarded(askMSv2), ProxyTypeAbsent), [3]string{challenges, challenges, begins}},
		"MS-CHAPv2 told as CHAP":        {allCHAPs, of(forwarded(askMSv2), ProxyTypeCHAP), [3]string{ends, challenges, begins}},
		"CHAP, type absent":             {onlyCHAP, of(forwarded(askCHAP), ProxyTypeAbsent), [3]string{challenges, challenges, begins}},
		"CHAP, unknown type":            {onlyCHAP, of(forwarded(askCHAP), 77), [3]string{challenges, challenges, begins}},
		"PAP, type absent":              {onlyPAP, of(forwarded(askPAP), ProxyTypeAbsent), [3]string{waits, waits, begins}},
		"CHAP, type none":               {onlyCHAP, of(forwarded(askCHAP), ProxyTypeNone), [3]string{ends, challenges, begins}},
		"none, a login demanded":        {onlyCHAP, forwarded(""), [3]string{ends, ends, begins}},
		"none, nothing demanded":        {nil, forwarded(""), [3]string{open, open, begins}},
		"type absent, nothing demanded": {nil, of(forwarded(""), ProxyTypeAbsent), [3]string{open, open, begins}},
		"CHAP, nothing demanded":        {nil, forwarded(askCHAP), [3]string{ends, ends, begins}},
		"text":                          {onlyPAP, text(""), [3]string{asks(AuthPAP), ends, begins}},
		"text and CHAP":                 {chapOrPAP, text(askCHAP), [3]string{challenges, challenges, begins}},
		"text, PAP is not allowed":      {onlyCHAP, text(""), [3]string{ends, ends, begins}},
		"text, nothing demanded":        {nil, text(""), [3]string{open, open, begins}},
	} {
		for mode, want := range c.want {
			x := c.x
			x.Auth = ProxyAuth(mode)
			_, got := through(t, Config{Auth: c.demanded}, x)
			match := func(line string) bool { return strings.HasPrefix(line, want) }
			ok := slices.ContainsFunc(got, match)
			if want == waits {
				ok = len(got) == 1 && strings.HasPrefix(got[0], "! link up")
			}
			if !ok {
				t.Errorf("%s, %v: %q, want %q", name, x.Auth, got, want)
			}
		}
	}
}

// P190, P200: the question holds what the LAC took; the verdict goes out under the identifier of AVP 32, and again to every repeat.
func TestProxyVerdictAnswersTheClient(t *testing.T) {
	t.Parallel()
	x := forwarded(askCHAP)
	cfg := Config{Auth: onlyCHAP, IPv4: IPv4Unnumbered, Proxy: &x}
	p := newProbe(t, cfg)
	want := EvAuthRequest{
		Attempt: 1, Method: AuthCHAPMD5, ID: 0x42, Name: "bob", Challenge: x.Challenge, Response: x.Response, Proxied: true,
	}
	if d := cmp.Diff(Event(want), p.out.Events[1]); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	p.take()
	repeat := newFrame(ProtoCHAP, chapResponse, 0x42, []byte{16}, x.Response, []byte("bob"))
	p.want(p.give(repeat)) // the owner is thinking
	p.want(p.do(CmdAuthResult{OK: true, Message: "hi"}),
		`> CHAP Success id=66 message="hi"`, "> IPCP Configure-Request id=1", `! authenticated peer="bob"`)
	p.want(p.give(repeat), `> CHAP Success id=66 message="hi"`)

	x = forwarded(askPAP)
	p = newProbe(t, Config{Auth: onlyPAP, IPv4: IPv4Unnumbered, Proxy: &x})
	want = EvAuthRequest{Attempt: 1, Method: AuthPAP, ID: 0x42, Name: "bob", Password: []byte("secret"), Proxied: true}
	if d := cmp.Diff(Event(want), p.out.Events[1]); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	p.take()
	p.want(p.do(CmdAuthResult{OK: true}),
		`> PAP Authenticate-Ack id=66 message=""`, "> IPCP Configure-Request id=1", `! authenticated peer="bob"`)
	p.want(p.give(papFrame(0x43, "bob", "secret")), `> PAP Authenticate-Ack id=67 message=""`)

	// P191
	p, _ = through(t, Config{Auth: onlyMSv1}, forwarded(askMSv1))
	p.want(p.do(CmdAuthResult{Message: "no"}),
		`> CHAP Failure id=66 error=691 message=""`, `> LCP Terminate-Request id=1 text="authentication failed"`)
	if end := p.link.View().End; end.Reason != ReasonAuthFailed || end.Stage != StageAuth {
		t.Errorf("%+v", end)
	}
}

// A login before PPP is checked like one by PAP, and nobody is told: the client knows of no login in PPP.
func TestProxyTextLogin(t *testing.T) {
	t.Parallel()
	x := forwarded("")
	x.Type, x.Response = ProxyTypeText, []byte("secret")
	p, got := through(t, Config{Auth: onlyPAP}, x)
	p.want(got, "! link up mru=1492 peer-mru=1492 auth=none answer=none", `! auth request PAP name="bob"`)
	p.want(p.give(papFrame(1, "eve", "x")))
	p.want(p.do(CmdAuthResult{OK: true}), "> IPCP Configure-Request id=1", `! authenticated peer="bob"`)

	p, _ = through(t, Config{Auth: onlyPAP}, x)
	p.want(p.do(CmdAuthResult{}), `> LCP Terminate-Request id=1 text="authentication failed"`)
	p, _ = through(t, Config{Auth: onlyPAP}, x)
	got = p.wait(2 * time.Minute)
	if want := "! link down stage=user authentication reason=authentication timed out peer=false text=\"\""; got[len(got)-1] != want {
		t.Errorf("%q", got)
	}
}

// P194: our own challenge has another identifier than the LAC's, which counts for nothing any more.
func TestProxyRechallengeIsNew(t *testing.T) {
	t.Parallel()
	x := forwarded(askCHAP)
	x.Auth = ProxyAuthRechallenge
	p, _ := through(t, Config{Auth: onlyCHAP, Name: "lns"}, x)
	if s := p.link.s.Authenticator; s.ID != 0x43 || bytes.Equal(s.Challenge, x.Challenge) {
		t.Errorf("%+v", s)
	}
	p.want(p.give(newFrame(ProtoCHAP, chapResponse, 0x42, []byte{16}, x.Response, []byte("bob"))))
	p.want(p.give(response(p, 0x43, "bob")), `! auth request CHAP-MD5 name="bob"`)

	ids := map[uint8]bool{} // without an identifier of the LAC's, ours is any
	x.Type, x.ID = ProxyTypeAbsent, 0
	for seed := range int64(20) {
		p, _ := through(t, Config{Auth: onlyCHAP, Random: keyed(seed)}, x)
		ids[p.link.s.Authenticator.ID] = true
	}
	if len(ids) < 10 {
		t.Errorf("only %d identifiers in 20 links", len(ids))
	}
}

// A client that wants a login of us gets it on the LAC's LCP, too.
func TestProxyAnswersTheClientsDemand(t *testing.T) {
	t.Parallel()
	x := forwarded(askCHAP)
	x.LastReceived = opts(peerMagic, askPAP)
	p, got := through(t, Config{Auth: onlyCHAP, Answer: onlyPAP, User: "lns", Password: []byte("net")}, x)
	p.want(got, `> PAP Authenticate-Request id=1 name="lns" password=***`,
		"! link up mru=1492 peer-mru=1500 auth=CHAP-MD5 answer=PAP", `! auth request CHAP-MD5 name="bob"`)
	p.want(p.do(CmdAuthResult{OK: true}), `> CHAP Success id=66 message=""`)
	p.want(p.give(newFrame(ProtoPAP, papAck, 1, []byte{0})), "> IPCP Configure-Request id=1", `! authenticated peer="bob"`)
}

// What the client and the LAC still had to say to each other does no harm; a client that begins anew is met as on any link (P197).
func TestProxyLinkIsLikeAnyOther(t *testing.T) {
	t.Parallel()
	p, _ := through(t, Config{Auth: onlyCHAP, Random: keyed(3)}, forwarded(askCHAP))
	lac := opts("0104 05d4", lacMagic, askCHAP)
	for id := range uint8(4) {
		p.want(p.give(newFrame(ProtoLCP, codeConfigureAck, id, lac)))
		p.want(p.give(newFrame(ProtoLCP, codeConfigureNak, id, opts(askPAP))))
	}
	// The LAC's Ack was lost.
	p.want(p.give(newFrame(ProtoLCP, codeConfigureRequest, 7, opts(clientList))), "> LCP Configure-Ack id=7 mru=1492 magic=00000099")
	p.want(p.do(CmdAuthResult{OK: true}),
		`> CHAP Success id=66 message=""`, "> IPCP Configure-Request id=1", `! authenticated peer="bob"`)
	p.openIPCP()
	p.wait(time.Minute)

	got := p.give(newFrame(ProtoLCP, codeConfigureRequest, 8, opts(clientList)))
	if len(got) != 3 || !strings.HasPrefix(got[0], "> LCP Configure-Request id=1 auth=chap-md5 magic=") ||
		got[1] != "> LCP Configure-Ack id=8 mru=1492 magic=00000099" || got[2] != "! IPv4 down" {
		t.Errorf("%q", got)
	}
	p.want(p.give(p.ack(ProtoLCP)), `> CHAP Challenge id=67 name="" value=***`, "! link up mru=1500 peer-mru=1492 auth=CHAP-MD5 answer=none")
	if v := p.link.View(); v.Proxied {
		t.Errorf("%+v", v)
	}
	p.want(p.give(newFrame(ProtoLCP, codeTerminateRequest, 9)), "> LCP Terminate-Ack id=9")
}

// What waits for the owner is asked again after Restore, from the configuration where the record has no password.
func TestRestoreAsksForAProxiedLoginAgain(t *testing.T) {
	t.Parallel()
	text := forwarded("")
	text.Type, text.Response = ProxyTypeText, []byte("secret")
	for name, x := range map[string]Proxy{"CHAP": forwarded(askCHAP), "PAP": forwarded(askPAP), "MS-CHAPv1": forwarded(askMSv1), "text": text} {
		x.Name = name
		cfg := Config{Auth: []AuthMethod{AuthCHAPMD5, AuthMSCHAPv1, AuthPAP}, IPv4: IPv4Unnumbered, Proxy: &x}
		p := newProbe(t, cfg)
		asked := p.out.Events[1]
		p.take()
		if bytes.Contains(p.link.s.Authenticator.Response, []byte("secret")) {
			t.Errorf("%s: the record holds the password", name)
		}
		cfg = *p.link.cfg
		var err error
		if p.link, err = Restore(p.link.Record(), cfg, p.now, &p.out); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]Event{asked}, p.out.Events); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		p.take()
		got := p.do(CmdAuthResult{OK: true})
		if got[len(got)-1] != fmt.Sprintf("! authenticated peer=%q", name) {
			t.Errorf("%s: %q", name, got)
		}
	}

	// A configuration without it waits for the client's repeat.
	p, _ := through(t, Config{Auth: onlyPAP}, forwarded(askPAP))
	cfg := *p.link.cfg
	cfg.Proxy = nil
	var err error
	if p.link, err = Restore(p.link.Record(), cfg, p.now, &p.out); err != nil {
		t.Fatal(err)
	}
	p.want(p.take())
	p.link.Receive(p.now, papFrame(0x43, "bob", "secret"), &p.out)
	want := EvAuthRequest{Attempt: 2, Method: AuthPAP, ID: 0x43, Name: "bob", Password: []byte("secret")}
	if d := cmp.Diff([]Event{want}, p.out.Events); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestProxyIsCopiedAndNotPrinted(t *testing.T) {
	t.Parallel()
	x := forwarded(askPAP)
	p, _ := through(t, Config{Auth: onlyPAP}, x)
	clear(x.LastSent)
	clear(x.LastReceived)
	clear(x.Response)
	if got := p.link.cfg.Proxy; string(got.Response) != "secret" || got.LastSent[0] == 0 || got.LastReceived[0] == 0 {
		t.Errorf("%+v shares memory", p.link.cfg.Proxy)
	}
	for _, v := range []any{*p.link.cfg.Proxy, p.link.cfg.Proxy, *p.link.cfg, EvAuthRequest{Password: []byte("secret"), Proxied: true}} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			if text := fmt.Sprintf(format, v); strings.Contains(text, "secret") || strings.Contains(text, "115 101") || strings.Contains(text, "0x73") {
				t.Errorf("%T with %s prints the password: %s", v, format, text)
			}
		}
	}
}
