package ppp

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// P183, P184: FF 03 and both sizes of the protocol field, at any time.
func TestSplitFrameTakesEveryFraming(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in    string
		proto Protocol
		rest  string
		ok    bool
	}{
		{"ff03c02101", ProtoLCP, "01", true},
		{"c02101", ProtoLCP, "01", true},
		{"ff03002145", ProtoIPv4, "45", true},
		{"002145", ProtoIPv4, "45", true},
		{"2145", ProtoIPv4, "45", true},
		{"ff032145", ProtoIPv4, "45", true},
		{"802001", 0x8020, "01", true}, // against the rule for the low bit: unknown, not broken
		{"57", ProtoIPv6, "", true},
		{"ff03", 0, "", false},
		{"c0", 0, "", false},
		{"", 0, "", false},
	} {
		proto, rest, ok := SplitFrame(opts(c.in))
		if proto != c.proto || fmt.Sprintf("%x", rest) != c.rest || ok != c.ok {
			t.Errorf("%s: %v %x %v", c.in, proto, rest, ok)
		}
	}
}

// P182, P183: a link answers framed and unframed requests alike, and what it sends has no FF 03.
func TestFramingDoesNotMatterToLCP(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{})
	p.take()
	req := newFrame(ProtoLCP, codeConfigureRequest, 1, opts(peerMagic))
	plain := p.give(req)
	p.want(p.give(append([]byte{0xff, 0x03}, req...)), plain...)
	p.want(p.give(append(slices.Clone(req), 0, 0, 0)), plain...) // padding
	p.want(plain, "> LCP Configure-Ack id=1 magic=00000099")
}

// P253: what is understood, what is ignored, what is rejected and in which order.
func TestLCPOptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in, want string
		cfg      Config
	}{
		"everything understood": {
			in:   "0104 05b4 0206 000a0000 0506 00000099 0702 0802",
			want: "> LCP Configure-Ack id=9 mru=1460 accm=000a0000 magic=00000099 pfc acfc",
		},
		"rejects in original order": {
			in:   "1304 0102 0104 05b4 0408 c025 00000064 0d03 06 1104 05dc 0506 00000099 1202 1704 0001 6303 01",
			want: "> LCP Configure-Reject id=9 19=0102 4=c02500000064 13=06 17=05dc 18= 23=0001 99=01",
		},
		"mru too small":           {in: "0104 0010", want: "> LCP Configure-Nak id=9 mru=128"},
		"mru of a wrong length":   {in: "0103 05", want: "> LCP Configure-Nak id=9 mru=1500"},
		"pfc of a wrong length":   {in: "0703 01", want: "> LCP Configure-Nak id=9 pfc"},
		"reject goes before nak":  {in: "0104 0010 1104 05dc", want: "> LCP Configure-Reject id=9 17=05dc"},
		"nothing asked":           {in: "", want: "> LCP Configure-Ack id=9"},
		"auth without an account": {in: "0304 c023", want: "> LCP Configure-Reject id=9 auth=pap"},
		"auth we like": {
			in: "0304 c023", want: "> LCP Configure-Ack id=9 auth=pap",
			cfg: Config{User: "u", Answer: chapOrPAP},
		},
		"auth we like less": {
			in: "0305 c223 81", want: "> LCP Configure-Nak id=9 auth=chap-md5",
			cfg: Config{User: "u", Answer: chapOrPAP},
		},
		"onlyCHAP without an algorithm": {
			in: "0304 c223", want: "> LCP Configure-Nak id=9 auth=chap-md5",
			cfg: Config{User: "u", Answer: chapOrPAP},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProbe(t, c.cfg)
			p.take()
			p.want(p.give(newFrame(ProtoLCP, codeConfigureRequest, 9, opts(c.in))), c.want)
		})
	}
}

func TestLCPDiscardsBrokenPackets(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"c021", "c02101", "c021 0101 0003", "c021 0101 0009 0104", // length below 4, beyond the frame
		"c021 0101 0006 0101", "c021 0101 0006 0109", // option length below 2, beyond the packet
	} {
		p := newProbe(t, Config{})
		p.take()
		for _, line := range p.give(opts(in)) {
			if !strings.HasPrefix(line, "! odd:") {
				t.Errorf("%s: %s", in, line)
			}
		}
		if s := p.link.View().LCP; s != "Req-Sent" {
			t.Errorf("%s: LCP is %s", in, s)
		}
	}
}

// P252: the timers and counters, and that they can be set.
func TestRestartTimerAndCounters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg              Config
		restart          time.Duration
		config, terminal int
	}{
		{Config{}, 3 * time.Second, 10, 2},
		{Config{Restart: time.Second, MaxConfigure: 4, MaxTerminate: 3}, time.Second, 4, 3},
	} {
		p := newProbe(t, c.cfg)
		n := len(p.take()) + len(p.wait(time.Duration(c.config-1)*c.restart))
		if n != c.config {
			t.Errorf("%d Configure-Requests, want %d", n, c.config)
		}
		p.want(p.wait(c.restart), "! link down stage=LCP reason=no answer peer=false text=\"\"")

		p = newProbe(t, c.cfg)
		p.take()
		p.do(CmdClose{Text: "x"})
		for i := 1; i < c.terminal; i++ {
			p.want(p.wait(c.restart), fmt.Sprintf("> LCP Terminate-Request id=%d text=\"x\"", i+2))
		}
		p.want(p.wait(c.restart), "! link down stage=LCP reason=closed here peer=false text=\"\"")
		if p.link.Deadline() != 0 {
			t.Error("a dead link has a deadline")
		}
	}
}

// P252, RFC 1661, 4.6: after Max-Failure Naks the option is rejected.
func TestMaxFailureTurnsNaksIntoRejects(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{0, 2} {
		p := newProbe(t, Config{MaxFailure: limit})
		p.take()
		naks := max(limit, 2)
		if limit == 0 {
			naks = 5
		}
		for i := range naks + 1 {
			want := fmt.Sprintf("> LCP Configure-Nak id=%d mru=128", i)
			if i == naks {
				want = fmt.Sprintf("> LCP Configure-Reject id=%d mru=16", i)
			}
			p.want(p.give(newFrame(ProtoLCP, codeConfigureRequest, uint8(i), opts("0104 0010"))), want)
		}
	}
}

// A request that comes again, for our Nak was lost or the network made a copy, gets the same Nak, and is no sign that the peer insists. One
// who repeats himself more often than anybody who hears nothing insists all the same.
func TestCopiesOfARequestAreNotCounted(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{MaxFailure: 2})
	p.take()
	for i, x := range []struct {
		id   uint8
		want string
	}{
		{1, "Nak id=1 mru=128"},
		{1, "Nak id=1 mru=128"},
		{1, "Nak id=1 mru=128"},
		{2, "Nak id=2 mru=128"},
		{2, "Nak id=2 mru=128"},
		{3, "Reject id=3 mru=16"},
	} {
		if got := p.give(newFrame(ProtoLCP, codeConfigureRequest, x.id, opts("0104 0010"))); len(got) != 1 || got[0] != "> LCP Configure-"+x.want {
			t.Errorf("%d: %q, want %s", i, got, x.want)
		}
	}

	p = newProbe(t, Config{MaxFailure: 2})
	p.take()
	naks := 0
	for strings.Contains(p.give(newFrame(ProtoLCP, codeConfigureRequest, 1, opts("0104 0010")))[0], "Nak") {
		naks++
	}
	if want := p.link.cfg.MaxConfigure + 1; naks != want {
		t.Errorf("%d Naks, want %d", naks, want)
	}
}

// A peer that never gives in does not keep a negotiation alive.
func TestEndlessDisagreementEnds(t *testing.T) {
	t.Parallel()
	for name, frame := range map[string]func(p *probe, id uint8) []byte{
		"rejected option again and again": func(_ *probe, id uint8) []byte {
			return newFrame(ProtoLCP, codeConfigureRequest, id, opts("1104 05dc"))
		},
		"nak for ever": func(p *probe, _ uint8) []byte {
			return newFrame(ProtoLCP, codeConfigureNak, p.link.s.LCP.SentID, opts("0506 00000001"))
		},
		"ack without ever asking": func(p *probe, _ uint8) []byte {
			p.wait(3 * time.Second)
			return p.ack(ProtoLCP)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProbe(t, Config{})
			for i := range 100 {
				p.give(frame(p, uint8(i)))
				if p.link.View().Phase == PhaseTerminate {
					p.want(p.wait(time.Minute)[1:], "! link down stage=LCP reason=no agreement on LCP options peer=false text=\"\"")
					return
				}
			}
			t.Error("still negotiating after 100 rounds")
		})
	}
}

// P254: unknown codes, unknown protocols only while LCP is Opened, and never more than the peer's MRU.
func TestRejectsFitThePeersMRU(t *testing.T) {
	t.Parallel()
	big := make([]byte, 1000)
	p := newProbe(t, Config{IPv4: IPv4Unnumbered})
	p.take()
	p.want(p.give(append(opts("c025"), big...))) // LCP is not open yet
	p.want(p.give(newFrame(ProtoLCP, code(99), 5, opts("0102"))), "> LCP Code-Reject id=2 of code 99, 6 octets")
	p.openLCP("0104 0080")
	for _, frame := range [][]byte{
		newFrame(ProtoLCP, code(99), 5, big),
		newFrame(ProtoIPCP, code(99), 5, big),
		append(opts("c025"), big...),
		append(opts("80fd"), big...),
		newFrame(ProtoLCP, codeEchoRequest, 5, big),
	} {
		p.link.Receive(p.now, frame, &p.out)
		if len(p.out.Frames) != 1 || len(p.out.Frames[0]) != 2+128 {
			t.Errorf("%s: answer %d frames, want one of 128 octets behind the protocol", Summary(frame), len(p.out.Frames))
		}
		p.take()
	}
}

// P270, P274, P269: CCP, ECP, BACP, LQR, MPLSCP, data of unknown protocols.
func TestForeignProtocolsAreRejected(t *testing.T) {
	t.Parallel()
	p := openIPv4(t, Config{})
	for i, c := range []struct{ in, want string }{
		{"80fd 0101 0004", "of CCP, 4 octets"},
		{"8053 0101 0004", "of protocol 0x8053, 4 octets"},
		{"c02b 0101 0004", "of protocol 0xc02b, 4 octets"},
		{"c025 00", "of protocol 0xc025, 1 octets"},
		{"c227 0101 0005 01", "of protocol 0xc227, 5 octets"},
		{"8057 0101 0004", "of IPV6CP, 4 octets"},
		{"002d 45", "of protocol 0x002d, 1 octets"},
		{"8020 45", "of protocol 0x8020, 1 octets"},
	} {
		p.want(p.give(opts(c.in)), fmt.Sprintf("> LCP Protocol-Reject id=%d %s", i+2, c.want))
	}
	p.want(p.give(opts("0021 45"))) // data in user space is nobody's fault
	if v := p.link.View(); v.LCP != "Opened" || v.IPCP != "Opened" {
		t.Errorf("%+v", v)
	}
}

// Frames of the network phase that come too early are dropped and harm nothing.
func TestEarlyNetworkFramesAreDropped(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{IPv4: IPv4Unnumbered, Auth: onlyPAP})
	p.take()
	early := func() {
		t.Helper()
		for _, f := range []string{"8021 0101 0004", "8057 0101 0004", "80fd 0101 0004", "0021 45", "002d 45", "8053 0101 0004", "8021 0501 0004", "8021 ff"} {
			p.want(p.give(opts(f)))
		}
	}
	early()
	p.openLCP()
	early()
	p.give(newFrame(ProtoPAP, papRequest, 1, []byte("\x01u\x01p")))
	p.want(p.do(CmdAuthResult{OK: true}),
		"> PAP Authenticate-Ack id=1 message=\"\"", "> IPCP Configure-Request id=1", "! authenticated peer=\"u\"")
}

// P255: answered with our magic number, in Opened only; the data comes back.
func TestEchoRequestIsAnsweredOnlyWhenOpened(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{})
	p.take()
	ping := newFrame(ProtoLCP, codeEchoRequest, 77, u32(0x99), []byte("data"))
	p.want(p.give(ping))
	p.openLCP()
	p.link.Receive(p.now, ping, &p.out)
	want := newFrame(ProtoLCP, codeEchoReply, 77, u32(p.link.View().Magic), []byte("data"))
	if d := cmp.Diff([][]byte{want}, p.out.Frames); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	p.take()
	p.want(p.give(newFrame(ProtoLCP, codeDiscardRequest, 1, u32(0x99))))
	p.want(p.give(newFrame(ProtoLCP, codeEchoRequest, 1))) // no magic number at all
}

// P255: the keep-alive counts intervals without an answer in a row; in each it asks four times.
func TestEchoFailuresEndTheLink(t *testing.T) {
	t.Parallel()
	p := openIPv4(t, Config{EchoInterval: 8 * time.Second, EchoFailures: 2})
	magic := p.link.View().Magic
	for i := range 20 {
		p.want(p.wait(8*time.Second), fmt.Sprintf("> LCP Echo-Request id=%d magic=%08x", i+2, magic))
		p.give(newFrame(ProtoLCP, codeEchoReply, uint8(i+2), u32(0x99)))
	}
	p.wait(8 * time.Second)
	if got := len(p.wait(14 * time.Second)); got != 7 {
		t.Errorf("%d requests more in 14 s, want 7", got)
	}
	if m := p.link.View().EchoMissed; m != 2 {
		t.Errorf("missed %d, want 2", m)
	}
	p.want(p.wait(2*time.Second), "> LCP Terminate-Request id=30 text=\"no answer to LCP echo\"", "! IPv4 down")
	p.want(p.wait(time.Minute),
		"> LCP Terminate-Request id=31 text=\"no answer to LCP echo\"",
		"! link down stage=up reason=LCP echo unanswered peer=false text=\"\"")
}

// A path that loses most answers keeps its link: any frame shows that the peer is there.
func TestAnyFrameIsASignOfLife(t *testing.T) {
	t.Parallel()
	for name, frame := range map[string][]byte{
		"its own echo":  newFrame(ProtoLCP, codeEchoRequest, 1, u32(0x99)),
		"a late answer": newFrame(ProtoLCP, codeEchoReply, 2, u32(0x99)),
		"data":          {0x00, 0x21, 0x45},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := openIPv4(t, Config{EchoInterval: 8 * time.Second, EchoFailures: 2})
			for range 50 {
				p.wait(8*time.Second + 15*time.Second) // the first request, and seven of the eight that may stay without answer
				p.give(frame)
			}
			if m := p.link.View(); m.Phase != PhaseNetwork || m.EchoMissed != 0 {
				t.Errorf("phase %v, missed %d", m.Phase, m.EchoMissed)
			}
		})
	}
}

func TestRejectedEchoTurnsKeepAliveOff(t *testing.T) {
	t.Parallel()
	p := openIPv4(t, Config{EchoInterval: 10 * time.Second})
	p.wait(10 * time.Second)
	p.want(p.give(newFrame(ProtoLCP, codeCodeReject, 1, newFrame(ProtoLCP, codeEchoRequest, 2, u32(1))[2:])),
		"! odd: the peer rejects LCP Echo-Request: keep-alive is off")
	p.want(p.wait(time.Hour))
}

// P255: a line that returns our own frames is found out, while LCP opens and later.
func TestLoopedLineIsFound(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{})
	for range 200 {
		frames := p.out.Frames
		for _, e := range p.out.Events {
			if d, ok := e.(EvLinkDown); ok {
				if d.Reason != ReasonLoop {
					t.Errorf("ended with %v", d.Reason)
				}
				return
			}
		}
		p.out = Output{}
		for _, f := range frames {
			p.link.Receive(p.now, f, &p.out)
		}
	}
	t.Error("a looped line goes on for ever")
}

func TestLoopAfterOpeningIsFound(t *testing.T) {
	t.Parallel()
	p := openIPv4(t, Config{})
	p.give(newFrame(ProtoLCP, codeEchoRequest, 1, u32(p.link.View().Magic)))
	got := p.wait(time.Minute)
	if want := "! link down stage=up reason=line looped back peer=false text=\"\""; got[len(got)-1] != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// RFC 1661, 5.6: a Code-Reject of one of the codes 1 to 7 is the end, of another nothing.
func TestCodeRejectOfAVitalCodeEndsTheLink(t *testing.T) {
	t.Parallel()
	for c := code(0); c < 16; c++ {
		p := openIPv4(t, Config{})
		got := p.give(newFrame(ProtoLCP, codeCodeReject, 1, newFrame(ProtoLCP, c, 1)[2:]))
		vital := c >= codeConfigureRequest && c <= codeCodeReject
		if ended := len(got) > 0 && strings.HasPrefix(got[0], "> LCP Terminate-Request"); ended != vital {
			t.Errorf("Code-Reject of %v: %q", c, got)
		}
		if vital {
			down := p.wait(time.Minute)
			if want := "! link down stage=up reason=protocol error peer=true text=\"\""; down[len(down)-1] != want {
				t.Errorf("Code-Reject of %v: %q", c, down)
			}
		}
	}
}

// RFC 1661, 5.7: Protocol-Reject ends what it names.
func TestProtocolReject(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ proto, want string }{
		{"c021", "protocol error"},
		{"8021", "no network protocol"},
		{"80fd", ""},
		{"0021", ""},
		{"c023", ""}, // PAP is not in use here
		{"1234", ""},
	} {
		p := openIPv4(t, Config{})
		p.give(newFrame(ProtoLCP, codeProtocolReject, 1, opts(c.proto), []byte{1, 1, 0, 4}))
		got := strings.Join(p.wait(time.Minute), "\n")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("Protocol-Reject of %s: %s", c.proto, got)
		}
	}

	p := newProbe(t, Config{Auth: onlyCHAP})
	p.openLCP()
	p.give(newFrame(ProtoLCP, codeProtocolReject, 1, opts("c223"), []byte{1, 1, 0, 4}))
	got := p.wait(time.Minute)
	if want := "! link down stage=user authentication reason=protocol error peer=true text=\"\""; got[len(got)-1] != want {
		t.Errorf("%q", got)
	}

	p = newProbe(t, Config{})
	p.take()
	p.want(p.give(newFrame(ProtoLCP, codeProtocolReject, 1, opts("c021")))) // not Opened: discarded
}

// P256: the methods in order, by Nak and by Reject; all refused is the end.
func TestAuthMethodsAreTriedInOrder(t *testing.T) {
	t.Parallel()
	magic := "magic=52f1b1a7"
	p := newProbe(t, Config{Auth: chapOrPAP, Random: strings.NewReader("\x52\xf1\xb1\xa7")})
	p.want(p.take(), "> LCP Configure-Request id=1 auth=chap-md5 "+magic)
	p.want(p.give(newFrame(ProtoLCP, codeConfigureNak, 1, opts("0305 c223 81"))),
		"> LCP Configure-Request id=2 auth=pap "+magic) // MS-CHAPv2 is not ours to give
	p.want(p.give(newFrame(ProtoLCP, codeConfigureReject, 2, opts("0304 c023"))),
		"> LCP Terminate-Request id=3 text=\"authentication required\"")
	p.want(p.give(newFrame(ProtoLCP, codeTerminateAck, 3)),
		"! link down stage=LCP reason=the peer refuses to authenticate peer=true text=\"\"")
}

// A Configure-Ack or -Reject that does not fit the request is discarded (RFC 1661, 5.2 and 5.4).
func TestAnswersMustFitTheRequest(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{MRU: 1400})
	p.take()
	s := p.link.s.LCP
	for _, f := range [][]byte{
		newFrame(ProtoLCP, codeConfigureAck, s.SentID+1, s.Sent),
		newFrame(ProtoLCP, codeConfigureAck, s.SentID, s.Sent[:4]),
		newFrame(ProtoLCP, codeConfigureReject, s.SentID, opts("0104 0579")),
		newFrame(ProtoLCP, codeConfigureReject, s.SentID),
		newFrame(ProtoLCP, codeConfigureNak, s.SentID+1, opts("0104 0500")),
	} {
		for _, line := range p.give(f) {
			if !strings.HasPrefix(line, "! odd:") {
				t.Errorf("%s: %s", Summary(f), line)
			}
		}
	}
	if v := p.link.View().LCP; v != "Req-Sent" {
		t.Errorf("LCP is %s", v)
	}
}

// The peer may make our MRU smaller, not larger; without the option it is 1500.
func TestMRUFollowsANakDownwardsOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code code
		in   string
		want uint16
	}{
		{codeConfigureNak, "0104 0500", 1280},
		{codeConfigureNak, "0104 0800", 1400},
		{codeConfigureNak, "0104 0001", 1400},
		{codeConfigureReject, "0104 0578", 1500},
	} {
		p := newProbe(t, Config{MRU: 1400})
		p.give(newFrame(ProtoLCP, c.code, 1, opts(c.in)))
		up := p.openLCP()
		if want := fmt.Sprintf("! link up mru=%d peer-mru=1500 auth=none answer=none", c.want); up[0] != want {
			t.Errorf("%v %s: %q, want %q", c.code, c.in, up, want)
		}
	}
}

// A copy of the acknowledged request, from the network or sent again because our Ack was lost, gets the same Ack; the
// copy of an Ack gets nothing. Neither takes an open link down.
func TestDuplicatesDoNotRenegotiate(t *testing.T) {
	t.Parallel()
	p := openIPv4(t, Config{})
	p.want(p.give(newFrame(ProtoLCP, codeConfigureRequest, 1, opts(peerMagic))), "> LCP Configure-Ack id=1 magic=00000099")
	p.want(p.give(p.ack(ProtoLCP)))
	p.want(p.give(p.ack(ProtoIPCP)))
	p.wait(4 * time.Second)
	if got := p.give(newFrame(ProtoLCP, codeConfigureRequest, 1, opts(peerMagic))); got[0] == "> LCP Configure-Ack id=1 magic=00000099" {
		t.Errorf("the same request long after is a new beginning: %q", got)
	}
}

// P197: a peer that renegotiates LCP gets authentication and networks anew, with the wishes of the start.
func TestRenegotiationStartsEverythingAnew(t *testing.T) {
	t.Parallel()
	c := upLink(t)
	a, b := c.a, c.b
	mark := c.log.Len()
	b.cfg.Random = keyed(99)
	b.link = Open(&b.cfg, c.now, &b.out)
	b.up = map[Protocol]EvNetworkUp{}
	c.drain(b)
	c.run(10 * time.Second)
	golden(t, "transcript/renegotiation.txt", c.log.String()[mark:])
	if len(a.up) != 2 || len(b.up) != 2 || len(a.downs)+len(b.downs) != 0 {
		t.Errorf("a up %v down %v, b up %v down %v", a.up, a.downs, b.up, b.downs)
	}
	asked := 0
	for _, e := range a.events {
		if _, ok := e.(EvAddressWanted); ok {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("EvAddressWanted %d times, want once a link", asked)
	}
}

// P266: Terminate-Request is answered, the networks go down at once, the link after a restart period.
func TestTerminateRequestOfThePeer(t *testing.T) {
	t.Parallel()
	p := openIPv4(t, Config{})
	p.want(p.give(newFrame(ProtoLCP, codeTerminateRequest, 42, []byte("so long\xff"))), "> LCP Terminate-Ack id=42", "! IPv4 down")
	p.want(p.give(newFrame(ProtoLCP, codeTerminateRequest, 43)), "> LCP Terminate-Ack id=43")
	p.want(p.give(newFrame(ProtoIPCP, codeConfigureRequest, 9)))
	p.want(p.wait(3*time.Second), "! link down stage=up reason=closed by the peer peer=true text=\"so long?\"")
	p.want(p.give(newFrame(ProtoLCP, codeConfigureRequest, 1)))
	p.want(p.do(CmdClose{}))
	p.want(p.wait(time.Hour))
}

// Nothing is left to say twice: commands that do not fit the moment do nothing.
func TestCommandsOutOfPlaceAreIgnored(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{IPv4: IPv4Unnumbered})
	p.take()
	p.want(p.do(CmdAuthResult{OK: false}))
	p.want(p.do(CmdIdle{Idle: time.Hour}))
	p = openIPv4(t, Config{})
	p.want(p.do(CmdAuthResult{OK: false}))
	p.want(p.do(CmdAddress{}))
	p.want(p.do(CmdIdle{Idle: time.Hour}))
	if v := p.link.View(); v.Phase != PhaseNetwork {
		t.Errorf("phase %v", v.Phase)
	}
}
