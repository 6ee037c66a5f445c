package ppp

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sample reads what the RFC's example has in the place of random octets, after the magic number.
func sample(octets []byte) io.Reader {
	return io.MultiReader(bytes.NewReader(opts("52f1b1a7")), bytes.NewReader(octets), keyed(7))
}

const sampleSuccess = "S=407A5589115FD0D6209F510FE9C04566932CDA56"

func msResponse(id uint8, name string, value []byte) []byte {
	return newFrame(ProtoCHAP, chapResponse, id, []byte{byte(len(value))}, value, []byte(name))
}

// one is the only frame of the last step.
func (p *probe) one() []byte {
	p.t.Helper()
	if len(p.out.Frames) != 1 {
		p.t.Fatalf("%d frames", len(p.out.Frames))
	}
	return p.out.Frames[0]
}

// V15 on the wire: what we demand, what the owner is asked, what we answer.
func TestMSCHAPv2VectorAsAuthenticator(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Auth: onlyMSv2, Name: "lns", Random: sample(sampleChallenge), MaxFailure: 1})
	p.want(p.take(), "> LCP Configure-Request id=1 auth=ms-chapv2 magic=52f1b1a7")
	p.give(newFrame(ProtoLCP, codeConfigureRequest, 1, opts(peerMagic)))
	p.link.Receive(p.now, p.ack(ProtoLCP), &p.out)
	want := newFrame(ProtoCHAP, chapChallenge, 1, []byte{16}, sampleChallenge, []byte("lns"))
	if d := cmp.Diff(want, p.one()); d != "" {
		t.Errorf("challenge (-want +got):\n%s", d)
	}
	p.take()
	p.link.Receive(p.now, msResponse(1, `BIGCO\User`, sampleValue), &p.out)
	ask := EvAuthRequest{
		Attempt: 1, Method: AuthMSCHAPv2, ID: 1, Name: `BIGCO\User`, Challenge: sampleChallenge, Response: sampleValue,
	}
	if d := cmp.Diff([]Event{ask}, p.out.Events); d != "" {
		t.Errorf("question (-want +got):\n%s", d)
	}
	p.take()
	p.link.Do(p.now, CmdAuthResult{Attempt: 1, OK: true, Success: strings.ToLower(sampleSuccess[2:])}, &p.out)
	p.want(p.take(),
		`> CHAP Failure id=1 error=691 message=""`, `> LCP Terminate-Request id=2 text="authentication failed"`,
		"! odd: the verdict on an MS-CHAPv2 login has no authenticator response: it counts as a refusal")
}

// P260: the texts of the verdict, the first time and to every repeat.
func TestMSCHAPv2VerdictsOnTheWire(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		verdict CmdAuthResult
		code    chapCode
		text    string
	}{
		"good":             {CmdAuthResult{OK: true, Success: sampleSuccess, Message: "hello"}, chapSuccess, sampleSuccess + " M=hello"},
		"from RADIUS":      {CmdAuthResult{OK: true, Success: sampleSuccess + " M=x"}, chapSuccess, sampleSuccess + " M="},
		"bad":              {CmdAuthResult{Message: "no"}, chapFailure, "E=691 R=0 C=5B5D7C7D7B3F2F3E3C2C602132262628 V=3 M=no"},
		"expired password": {CmdAuthResult{Error: 648}, chapFailure, "E=648 R=0 C=5B5D7C7D7B3F2F3E3C2C602132262628 V=3 M="},
	} {
		p := newProbe(t, Config{Auth: onlyMSv2, Random: sample(sampleChallenge)})
		p.openLCP()
		p.give(msResponse(1, sampleUser, sampleValue))
		c.verdict.Attempt = p.link.Asked()
		p.link.Do(p.now, c.verdict, &p.out)
		want := newFrame(ProtoCHAP, c.code, 1, []byte(c.text))
		if d := cmp.Diff(string(want), string(p.out.Frames[0])); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		p.take()
		if !c.verdict.OK {
			continue
		}
		p.link.Receive(p.now, msResponse(1, "someone else", make([]byte, 49)), &p.out)
		if d := cmp.Diff(string(want), string(p.one())); d != "" {
			t.Errorf("%s, repeated (-want +got):\n%s", name, d)
		}
	}
}

// P259, V17 on the wire: v1 has a challenge of 8 octets, a plain Success, and a Failure without a message.
func TestMSCHAPv1OnTheWire(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		verdict CmdAuthResult
		code    chapCode
		text    string
	}{
		"good": {CmdAuthResult{OK: true, Message: "hello", Success: sampleSuccess}, chapSuccess, "hello"},
		"bad":  {CmdAuthResult{Message: "no"}, chapFailure, "E=691 R=0 C=102DB5DF085D3041 V=2"},
	} {
		p := newProbe(t, Config{Auth: onlyMSv1, Name: "lns", Random: sample(opts("102db5df085d3041"))})
		p.openLCP()
		p.want(p.give(msResponse(1, "u", make([]byte, 49))), `! auth request MS-CHAPv1 name="u"`)
		c.verdict.Attempt = p.link.Asked()
		p.link.Do(p.now, c.verdict, &p.out)
		want := newFrame(ProtoCHAP, c.code, 1, []byte(c.text))
		if d := cmp.Diff(string(want), string(p.out.Frames[0])); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// V15 and V17 from the other side: the value that we send.
func TestMSCHAPVectorsAsClient(t *testing.T) {
	t.Parallel()
	v1 := append(append(make([]byte, 24), opts("4e9d3c8f9cfd385d5bf4d3246791956ca4c351ab409a3d61")...), 1)
	for _, c := range []struct {
		option, user, password string
		challenge, value       []byte
	}{
		{"0305 c223 81", `BIGCO\User`, samplePassword, sampleChallenge, sampleValue},
		{"0305 c223 80", "User", "MyPw", opts("102db5df085d3041"), v1},
	} {
		p := newProbe(t, Config{Answer: allCHAPs, User: c.user, Password: []byte(c.password), Random: sample(samplePeerChallenge)})
		p.openLCP(c.option)
		challenge := newFrame(ProtoCHAP, chapChallenge, 9, []byte{byte(len(c.challenge))}, c.challenge, []byte("lns"))
		want := msResponse(9, c.user, c.value)
		for range 2 { // the copy of a challenge gets the same response
			p.link.Receive(p.now, challenge, &p.out)
			if d := cmp.Diff(want, p.one()); d != "" {
				t.Errorf("%s (-want +got):\n%s", c.option, d)
			}
			p.take()
		}
		p.wait(2 * time.Second)
		p.now += time.Second
		p.link.Expire(p.now, &p.out)
		if d := cmp.Diff(want, p.one()); d != "" {
			t.Errorf("%s, sent again (-want +got):\n%s", c.option, d)
		}
	}
}

// P260: the authenticator must prove itself; its digits may be of either case.
func TestMSCHAPv2ClientChecksTheAuthenticator(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{
		sampleSuccess: true, sampleSuccess + " M=Access granted": true, "S=" + strings.ToLower(sampleSuccess[2:]) + " M=": true,
		"": false, "Access granted": false, sampleSuccess[:41]: false, "S=" + strings.Repeat("0", 40): false,
		"M=x " + sampleSuccess: false, sampleSuccess[:41] + "7": false,
	} {
		p := newProbe(t, Config{Answer: onlyMSv2, User: sampleUser, Password: []byte(samplePassword), Random: sample(samplePeerChallenge)})
		p.openLCP("0305 c223 81")
		p.give(newFrame(ProtoCHAP, chapChallenge, 9, []byte{16}, sampleChallenge))
		p.want(p.give(newFrame(ProtoCHAP, chapSuccess, 8, []byte(text)))) // answers nothing
		got := p.give(newFrame(ProtoCHAP, chapSuccess, 9, []byte(text)))
		want := `> LCP Terminate-Request id=2 text="authentication failed"`
		if good {
			want = `! authenticated peer=""`
		}
		p.want(got, want)
		if end := p.link.View().End; good != (end.Reason == ReasonNone) || !good && end.Peer {
			t.Errorf("%q: %+v", text, end)
		}
	}
}

// A new challenge is answered with a new one of ours; the verdict must be that on the latest.
func TestMSCHAPv2ClientIsChallengedAgain(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Answer: onlyMSv2, User: sampleUser, Password: []byte(samplePassword), Random: sample(samplePeerChallenge)})
	p.openLCP("0305 c223 81")
	p.give(newFrame(ProtoCHAP, chapChallenge, 9, []byte{16}, sampleChallenge))
	p.give(newFrame(ProtoCHAP, chapSuccess, 9, []byte(sampleSuccess)))
	p.give(newFrame(ProtoCHAP, chapChallenge, 10, []byte{16}, sampleChallenge))
	if bytes.Equal(p.link.s.Claimant.Own, samplePeerChallenge) {
		t.Error("our challenge is the old one")
	}
	p.want(p.give(newFrame(ProtoCHAP, chapSuccess, 10, []byte(sampleSuccess))),
		`> LCP Terminate-Request id=2 text="authentication failed"`)
}

func TestBrokenMSCHAPIsDropped(t *testing.T) {
	t.Parallel()
	for _, m := range [][]AuthMethod{onlyMSv1, onlyMSv2} {
		p := newProbe(t, Config{Auth: m})
		p.openLCP()
		for _, n := range []int{0, 16, 24, 48, 50} {
			p.want(p.give(msResponse(1, "u", make([]byte, n))), "! odd: broken CHAP Response")
		}
		p.want(p.give(newFrame(ProtoCHAP, chapCode(7), 1, make([]byte, 584)))) // a change of password
		p.want(p.give(msResponse(1, "u", make([]byte, 49))), fmt.Sprintf("! auth request %v name=\"u\"", m[0]))

		p = newProbe(t, Config{Answer: m, User: "u"})
		p.openLCP(fmt.Sprintf("0305 c223 %02x", authOption(m[0])[2]))
		for _, n := range []int{0, 7, 9, 15, 17} {
			p.want(p.give(newFrame(ProtoCHAP, chapChallenge, 1, []byte{byte(n)}, make([]byte, n))), "! odd: broken CHAP Challenge")
		}
	}
}

// P256: what pppd and Windows say to methods that they do not like, and EAP, which we do not speak.
func TestMSCHAPIsNegotiatedWithItsPeers(t *testing.T) {
	t.Parallel()
	magic := " magic=52f1b1a7"
	for name, c := range map[string]struct {
		auth []AuthMethod
		nak  string
		want string
	}{
		"Windows wants MS-CHAPv2":          {allCHAPs[1:], "0305 c223 81", "auth=chap-md5"},
		"Windows wants MS-CHAPv2, allowed": {[]AuthMethod{AuthCHAPMD5, AuthMSCHAPv2}, "0305 c223 81", "auth=ms-chapv2"},
		"Windows wants EAP":                {allCHAPs, "0304 c227", "auth=ms-chapv1"},
		"pppd wants MS-CHAPv1":             {allCHAPs, "0305 c223 80", "auth=ms-chapv1"},
		"pppd wants CHAP-MD5":              {allCHAPs, "0305 c223 05", "auth=chap-md5"},
		"pppd wants PAP":                   {append(allCHAPs[:1:1], AuthPAP), "0304 c023", "auth=pap"},
		"an algorithm of nobody":           {allCHAPs, "0305 c223 07", "auth=ms-chapv1"},
		"no algorithm":                     {allCHAPs, "0304 c223", "auth=ms-chapv1"},
	} {
		p := newProbe(t, Config{Auth: c.auth, Random: sample(nil)})
		p.take()
		got := p.give(newFrame(ProtoLCP, codeConfigureNak, 1, opts(c.nak)))
		if want := "> LCP Configure-Request id=2 " + c.want + magic; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}

	for name, c := range map[string]struct {
		answer   []AuthMethod
		in, want string
	}{
		"MS-CHAPv2":            {allCHAPs, "0305 c223 81", "> LCP Configure-Ack id=9 auth=ms-chapv2"},
		"MS-CHAPv1":            {allCHAPs, "0305 c223 80", "> LCP Configure-Ack id=9 auth=ms-chapv1"},
		"MS-CHAPv1 is too old": {onlyMSv2, "0305 c223 80", "> LCP Configure-Nak id=9 auth=ms-chapv2"},
		"EAP":                  {allCHAPs, "0304 c227", "> LCP Configure-Nak id=9 auth=ms-chapv2"},
		"EAP and no login":     {nil, "0304 c227", "> LCP Configure-Reject id=9 auth=c227"},
		"too long":             {allCHAPs, "0306 c223 8100", "> LCP Configure-Nak id=9 auth=ms-chapv2"},
	} {
		p := newProbe(t, Config{Answer: c.answer, User: "u"})
		p.take()
		got := p.give(newFrame(ProtoLCP, codeConfigureRequest, 9, opts(c.in)))
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A peer that begins with EAP all the same is told that nobody speaks it (P267 is not ours).
func TestEAPFramesAreRejected(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Auth: onlyMSv2})
	p.openLCP()
	p.want(p.give(opts("c227 0101 0005 01")), "> LCP Protocol-Reject id=2 of protocol 0xc227, 5 octets")
}
