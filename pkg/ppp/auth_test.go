package ppp

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"
)

// V12: the example of RFC 2865, 7.2; RFC 1994 has none.
func TestCHAPMD5Vector(t *testing.T) {
	t.Parallel()
	challenge := opts("2aee86f08d0d55969ca5978e0d3367a2")
	got := CHAPMD5(0x16, []byte("arctangent"), challenge)
	if hex.EncodeToString(got[:]) != "e97557c316185895f293ff6344077275" {
		t.Errorf("%x", got)
	}

	// The same through a link that is asked.
	p := newProbe(t, Config{User: "flopsy", Password: []byte("arctangent"), Answer: onlyCHAP})
	p.openLCP("0305 c223 05")
	p.link.Receive(p.now, newFrame(ProtoCHAP, chapChallenge, 0x16, []byte{16}, challenge, []byte("lns")), &p.out)
	want := newFrame(ProtoCHAP, chapResponse, 0x16, []byte{16}, got[:], []byte("flopsy"))
	if len(p.out.Frames) != 1 || string(p.out.Frames[0]) != string(want) {
		t.Errorf("%x, want %x", p.out.Frames, want)
	}
}

func papFrame(id uint8, user, password string) []byte {
	return newFrame(ProtoPAP, papRequest, id, []byte{byte(len(user))}, []byte(user), []byte{byte(len(password))}, []byte(password))
}

// P257: one question to the owner, the same answer to every repeat, with the repeat's identifier.
func TestPAPRepeatsGetTheSameAnswer(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Auth: onlyPAP})
	p.openLCP()
	p.want(p.give(papFrame(5, "u", "p")), "! auth request PAP name=\"u\"")
	p.want(p.give(papFrame(6, "u", "p")))
	p.want(p.do(CmdAuthResult{OK: true, Message: "hello"}), "> PAP Authenticate-Ack id=6 message=\"hello\"", "! authenticated peer=\"u\"")
	p.want(p.give(papFrame(7, "other", "wrong")), "> PAP Authenticate-Ack id=7 message=\"hello\"")
	p.want(p.do(CmdAuthResult{OK: false})) // the verdict stands
}

// P256, P257: a verdict that comes when the peer has begun anew, under another name, is not taken for the new attempt's.
func TestVerdictsAreForTheirAttempt(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Auth: onlyPAP})
	p.openLCP()
	p.want(p.give(papFrame(1, "alice", "p")), "! auth request PAP name=\"alice\"")
	alice := p.link.Asked()
	p.give(newFrame(ProtoLCP, codeConfigureRequest, 9, opts("0506 00000098")))
	p.give(p.ack(ProtoLCP))
	if p.link.Asked() != 0 {
		t.Error("alice's attempt is still open")
	}
	p.want(p.give(papFrame(2, "root", "p")), "! auth request PAP name=\"root\"")
	root := p.link.Asked()
	if alice == 0 || root == 0 || alice == root {
		t.Fatalf("attempts %d and %d", alice, root)
	}
	p.want(p.do(CmdAuthResult{Attempt: alice, OK: true}))
	p.want(p.do(CmdAuthResult{Attempt: alice}))
	p.want(p.do(CmdAuthResult{Attempt: root, OK: true}), "> PAP Authenticate-Ack id=2 message=\"\"", "! authenticated peer=\"root\"")
}

// P257: Nak, then Terminate-Request.
func TestPAPNakThenTerminate(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Auth: onlyPAP})
	p.openLCP()
	p.give(papFrame(5, "u", "p"))
	p.want(p.do(CmdAuthResult{Message: "no"}),
		"> PAP Authenticate-Nak id=5 message=\"no\"", "> LCP Terminate-Request id=2 text=\"authentication failed\"")
}

func TestPAPClientRepeatsWithNewIdentifiers(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{User: "u", Password: []byte("p"), Answer: onlyPAP})
	got := p.openLCP("0304 c023")
	p.want(got[:1], "> PAP Authenticate-Request id=1 name=\"u\" password=***")
	p.want(p.wait(3*time.Second), "> PAP Authenticate-Request id=2 name=\"u\" password=***")
	p.want(p.give(newFrame(ProtoPAP, papAck, 3, []byte{0}))) // an answer to nothing we sent
	p.want(p.give(newFrame(ProtoPAP, papAck, 1, []byte{0})), "! authenticated peer=\"\"")
	p.want(p.wait(time.Hour))
}

func TestBrokenCredentialsAreDropped(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Auth: onlyPAP})
	p.openLCP()
	for _, data := range []string{"", "05 75", "01 75", "01 75 09 70"} {
		p.want(p.give(newFrame(ProtoPAP, papRequest, 1, opts(data))), "! odd: broken PAP Authenticate-Request")
	}
	p = newProbe(t, Config{Auth: onlyCHAP})
	p.openLCP()
	id := p.link.s.Authenticator.ID
	for _, data := range []string{"", "05 75", "01 75 75"} {
		p.want(p.give(newFrame(ProtoCHAP, chapResponse, id, opts(data))), "! odd: broken CHAP Response")
	}
}

func response(p *probe, id uint8, name string) []byte {
	return newFrame(ProtoCHAP, chapResponse, id, append([]byte{16}, make([]byte, 16)...), []byte(name))
}

// P258: identifier and challenge change every time.
func TestCHAPChallengesNeverRepeat(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Auth: onlyCHAP, Name: "lns", Rechallenge: time.Minute})
	p.openLCP()
	ids, values := map[uint8]bool{}, map[string]bool{}
	note := func() {
		s := p.link.s.Authenticator
		if ids[s.ID] || values[string(s.Challenge)] || len(s.Challenge) != 16 {
			t.Errorf("challenge %d %x is not new", s.ID, s.Challenge)
		}
		ids[s.ID], values[string(s.Challenge)] = true, true
	}
	note()
	for range 3 {
		p.wait(3 * time.Second)
		note()
	}
	p.give(response(p, p.link.s.Authenticator.ID, "u"))
	p.do(CmdAuthResult{OK: true})
	for range 5 {
		p.wait(time.Minute)
		note()
		p.give(response(p, p.link.s.Authenticator.ID, "u"))
		p.do(CmdAuthResult{OK: true})
	}
	if len(ids) != 9 {
		t.Errorf("%d challenges, want 9", len(ids))
	}
}

// P258: one question to the owner, the same reply to the same response; a response to an old challenge counts for nothing.
func TestCHAPRepeatsGetTheSameReply(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Auth: onlyCHAP, Rechallenge: time.Minute})
	p.openLCP()
	p.want(p.give(response(p, 9, "u")))
	p.want(p.give(response(p, 1, "u")), "! auth request CHAP-MD5 name=\"u\"")
	p.want(p.give(response(p, 1, "u")))
	p.want(p.wait(30 * time.Second)) // no challenge while the owner is deciding
	p.want(p.do(CmdAuthResult{OK: true, Message: "hi"}), "> CHAP Success id=1 message=\"hi\"", "! authenticated peer=\"u\"")
	p.want(p.give(response(p, 1, "someone else")), "> CHAP Success id=1 message=\"hi\"")
	p.want(p.wait(time.Minute), "> CHAP Challenge id=2 name=\"\" value=***")
	p.want(p.give(response(p, 1, "u")))
	p.want(p.give(response(p, 2, "u")), "! auth request CHAP-MD5 name=\"u\"")
	p.want(p.do(CmdAuthResult{OK: true, Message: "again"}), "> CHAP Success id=2 message=\"again\"")
}

// P237: a challenge of a peer that has been let in, about which nobody can judge, has neither Success nor Failure, however often the Response
// comes again, and counts for nothing: any number of them in a row leaves the link as it is.
func TestUnjudgedChallengeIsGivenUp(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Auth: onlyCHAP, Rechallenge: time.Minute})
	p.openLCP()
	p.give(response(p, 1, "u"))
	p.do(CmdAuthResult{OK: true, Message: "hi"})
	for id := range uint8(15) { // more than MaxConfigure
		id += 2
		p.want(p.wait(time.Minute), fmt.Sprintf("> CHAP Challenge id=%d name=\"\" value=***", id))
		p.want(p.give(response(p, id, "u")), "! auth request CHAP-MD5 name=\"u\"")
		attempt := p.link.Asked()
		p.wait(10 * time.Second)
		p.want(p.do(CmdAuthResult{Unjudged: true, Message: "not available"}), "! unjudged")
		p.want(p.give(response(p, id, "u")))
		p.want(p.do(CmdAuthResult{Attempt: attempt})) // too late
	}
	p.wait(time.Minute)
	p.want(p.wait(3*time.Second), "> CHAP Challenge id=18 name=\"\" value=***") // one that gets lost is repeated as ever
	p.give(response(p, 18, "u"))
	p.want(p.do(CmdAuthResult{OK: true, Message: "again"}), "> CHAP Success id=18 message=\"again\"")
}

// A challenge that nobody answers ends the link.
func TestUnansweredChallengesEndTheLink(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Auth: onlyCHAP})
	p.openLCP()
	got := p.wait(time.Minute)
	challenges := 1 + strings.Count(strings.Join(got, "\n"), "CHAP Challenge")
	if challenges != 10 {
		t.Errorf("%d challenges, want 10", challenges)
	}
	if want := "! link down stage=user authentication reason=authentication timed out peer=false text=\"\""; got[len(got)-1] != want {
		t.Errorf("%q, want %q", got[len(got)-1], want)
	}
}

// Our own challenge is not answered: the peer would authenticate itself with our secret (RFC 1994, 5).
func TestReflectedChallengeIsNotAnswered(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Auth: onlyCHAP, Answer: onlyCHAP, User: "u", Password: []byte("p")})
	p.openLCP("0305 c223 05")
	s := p.link.s.Authenticator
	p.want(p.give(newFrame(ProtoCHAP, chapChallenge, s.ID, []byte{16}, s.Challenge, []byte("mirror"))),
		"! odd: the peer sends our own CHAP challenge back")
}

// A verdict of the peer counts once, for the latest response, and only if authentication was agreed on.
func TestUnaskedVerdictsAreIgnored(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Answer: onlyCHAP, User: "u", Password: []byte("p")})
	p.openLCP("0305 c223 05")
	p.want(p.give(newFrame(ProtoCHAP, chapSuccess, 0)))
	p.give(newFrame(ProtoCHAP, chapChallenge, 3, append([]byte{16}, make([]byte, 16)...)))
	p.want(p.give(newFrame(ProtoCHAP, chapFailure, 4, []byte("x"))))
	p.want(p.give(newFrame(ProtoPAP, papNak, 3, []byte{0})))
	p.want(p.give(newFrame(ProtoCHAP, chapSuccess, 3)), "! authenticated peer=\"\"")
	p.want(p.give(newFrame(ProtoCHAP, chapFailure, 3, []byte("late"))))

	p = newProbe(t, Config{})
	p.openLCP()
	p.want(p.give(papFrame(1, "u", "p")))
	p.want(p.give(newFrame(ProtoCHAP, chapFailure, 1)))
}

func TestSummaryShowsNoSecret(t *testing.T) {
	t.Parallel()
	for want, f := range map[string][]byte{
		`PAP Authenticate-Request id=1 name="u\n" password=***`: papFrame(1, "u\n", "topsecret"),
		`CHAP Response id=2 name="bob" value=***`:               newFrame(ProtoCHAP, chapResponse, 2, []byte("\x09topsecretbob")),
		`CHAP Challenge id=2 name="lns" value=***`:              newFrame(ProtoCHAP, chapChallenge, 2, []byte("\x09topsecretlns")),
		`PAP Authenticate-Request id=1 broken`:                  newFrame(ProtoPAP, papRequest, 1, []byte("\x01u\x20topsecret")),
		`CHAP Response id=2 broken`:                             newFrame(ProtoCHAP, chapResponse, 2, []byte("\x20topsecret")),
		`CHAP Success id=2 S=*** message="hi"`:                  newFrame(ProtoCHAP, chapSuccess, 2, []byte(sampleSuccess+" M=hi")),
		`CHAP Success id=2 S=*** message=""`:                    newFrame(ProtoCHAP, chapSuccess, 2, []byte(sampleSuccess)),
		`CHAP Failure id=2 error=691 message="no"`:              newFrame(ProtoCHAP, chapFailure, 2, []byte("E=691 R=0 C=00 V=3 M=no")),
	} {
		if got := Summary(f); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	e := EvAuthRequest{Name: "u", Password: []byte("topsecret"), Response: []byte("topsecret")}
	for _, text := range []string{fmt.Sprint(e), fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e)} {
		if strings.Contains(text, "topsecret") || strings.Contains(text, "116 111 112") {
			t.Errorf("the event prints the secret: %s", text)
		}
	}
	v := CmdAuthResult{OK: true, Success: "S=topsecret"}
	for _, text := range []string{fmt.Sprint(v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v)} {
		if strings.Contains(text, "topsecret") || !strings.Contains(text, "ok=true") {
			t.Errorf("the verdict prints the authenticator response: %s", text)
		}
	}
	c := Config{Password: []byte("topsecret")}
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c)} {
		if strings.Contains(text, "topsecret") || strings.Contains(text, "116 111 112") || strings.Contains(text, "0x74, 0x6f") {
			t.Errorf("the configuration prints the secret: %s", text)
		}
	}
}
