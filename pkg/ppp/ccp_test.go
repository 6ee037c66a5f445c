package ppp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var sampleKeys = Keys{Send: bytes.Repeat([]byte{0x5e}, KeySize), Recv: bytes.Repeat([]byte{0xce}, KeySize)}

const (
	mppeHS       = "1206 01000040"
	keysWanted   = "! encryption wanted with keys, required="
	notEncrypted = `> LCP Terminate-Request id=2 text="encryption required"`
)

// loggedIn is a link of the given mode whose peer has just logged in by MS-CHAPv2, with what that made it do.
func loggedIn(t *testing.T, m MPPEMode, change func(c *Config)) (*probe, []string) {
	t.Helper()
	cfg := Config{Auth: onlyMSv2, IPv4: IPv4Unnumbered, MPPE: m}
	if change != nil {
		change(&cfg)
	}
	p := newProbe(t, cfg)
	p.openLCP()
	p.give(msResponse(p.link.s.Authenticator.ID, "u", make([]byte, 49)))
	return p, p.do(CmdAuthResult{OK: true, Success: sampleSuccess, Keys: sampleKeys})
}

// arms answers the question that waits.
func (p *probe) arms(ok bool) []string {
	p.t.Helper()
	return p.do(CmdEncryption{Attempt: p.link.s.CCP.Attempt, OK: ok})
}

func ccpRequest(id uint8, in string) []byte {
	return newFrame(ProtoCCP, codeConfigureRequest, id, opts(in))
}

// asked is a link that has sent its CCP request.
func asked(t *testing.T, m MPPEMode) *probe {
	t.Helper()
	p, _ := loggedIn(t, m, nil)
	p.want(p.arms(true), "> CCP Configure-Request id=1 mppe=HS")
	return p
}

// openIPCP opens IPCP of an unnumbered link in the network phase.
func (p *probe) openIPCP() {
	p.t.Helper()
	p.give(ipcpRequest(1, ""))
	p.give(p.ack(ProtoIPCP))
	if v := p.link.View(); v.IPCP != "Opened" {
		p.t.Fatalf("%+v", v)
	}
}

// encrypted is a link with CCP Opened, and with IPCP Opened, too.
func encrypted(t *testing.T, m MPPEMode) *probe {
	t.Helper()
	p := asked(t, m)
	p.give(p.ack(ProtoCCP))
	p.give(ccpRequest(1, mppeHS))
	p.openIPCP()
	if v := p.link.View(); v.CCP != "Opened" || !v.Encrypted {
		t.Fatalf("%+v", v)
	}
	return p
}

func bothModes(t *testing.T, f func(t *testing.T, m MPPEMode)) {
	t.Helper()
	for _, m := range []MPPEMode{MPPEAllow, MPPERequire} {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			f(t, m)
		})
	}
}

// The kernel is armed before the first frame of CCP leaves, and before a request of the peer is acknowledged. NCPs wait if they must,
// and what the peer sends of them meanwhile is not lost.
func TestKernelIsArmedBeforeCCPSpeaks(t *testing.T) {
	t.Parallel()
	p, got := loggedIn(t, MPPERequire, nil)
	p.want(got, `> CHAP Success id=1 S=*** message=""`, `! authenticated peer="u"`, keysWanted+"true")
	p.want(p.give(ccpRequest(1, mppeHS)))
	p.want(p.give(ccpRequest(2, mppeHS)))
	p.want(p.give(ipcpRequest(1, "")))
	p.want(p.give(newFrame(ProtoIPCP, codeTerminateRequest, 9)))
	p.want(p.wait(time.Hour)) // nothing is decided without the owner
	p.want(p.arms(true), "> CCP Configure-Request id=1 mppe=HS", "> CCP Configure-Ack id=2 mppe=HS")
	p.want(p.arms(true)) // answered once
	p.want(p.give(ipcpRequest(2, "")))
	p.want(p.give(p.ack(ProtoCCP)),
		"> IPCP Configure-Request id=1", "> IPCP Configure-Ack id=2", "! encryption up, required=true")
	p.want(p.give(p.ack(ProtoIPCP)), "! IPv4 up local=invalid IP peer=invalid IP dns=[]")

	p, got = loggedIn(t, MPPEAllow, nil)
	p.want(got, `> CHAP Success id=1 S=*** message=""`, "> IPCP Configure-Request id=1",
		`! authenticated peer="u"`, keysWanted+"false")
	p.want(p.give(ccpRequest(1, mppeHS)))
	p.want(p.arms(true), "> CCP Configure-Request id=1 mppe=HS", "> CCP Configure-Ack id=1 mppe=HS")
	p.want(p.give(p.ack(ProtoCCP)), "! encryption up, required=false")
}

// What is in the event is what PPPIOCSCOMPRESS wants; the keys are those of the verdict.
func TestEncryptionWantedHoldsOptionAndKeys(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Auth: onlyMSv2, IPv4: IPv4Unnumbered, MPPE: MPPERequire})
	p.openLCP()
	p.give(msResponse(1, "u", make([]byte, 49)))
	keys := Keys{Send: bytes.Clone(sampleKeys.Send), Recv: bytes.Clone(sampleKeys.Recv)}
	p.link.Do(p.now, CmdAuthResult{Attempt: 1, OK: true, Success: sampleSuccess, Keys: keys}, &p.out)
	clear(keys.Send)
	want := EvEncryptionWanted{Attempt: 1, Keys: sampleKeys, Option: [6]byte{18, 6, 1, 0, 0, 0x40}, Required: true}
	if d := cmp.Diff(Event(want), p.out.Events[1]); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, text := range []string{fmt.Sprintf("%+v", want), fmt.Sprintf("%#v", want), fmt.Sprintf("%+v", *p.link.Record().CCP)} {
		if strings.Contains(text, "94 94") || strings.Contains(text, "0x5e, 0x5e") || !strings.Contains(text, "keys") {
			t.Errorf("the keys are printed: %s", text)
		}
	}
}

// P261, P274: the one good option, and what is said to all others.
func TestCCPOptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"128 bits, stateless":      {mppeHS, "> CCP Configure-Ack id=9 mppe=HS"},
		"Windows":                  {"1206 010000e1", "> CCP Configure-Nak id=9 mppe=HS"},
		"128 bits with a state":    {"1206 00000040", "> CCP Configure-Nak id=9 mppe=HS"},
		"40 bits":                  {"1206 01000020", "> CCP Configure-Nak id=9 mppe=HS"},
		"56 bits":                  {"1206 01000080", "> CCP Configure-Nak id=9 mppe=HS"},
		"the obsolete bit":         {"1206 01000050", "> CCP Configure-Nak id=9 mppe=HS"},
		"MPPC only":                {"1206 00000001", "> CCP Configure-Nak id=9 mppe=HS"},
		"nothing supported":        {"1206 00000000", "> CCP Configure-Nak id=9 mppe=HS"},
		"a bit of the future":      {"1206 01010040", "> CCP Configure-Nak id=9 mppe=HS"},
		"too short":                {"1205 010000", "> CCP Configure-Nak id=9 mppe=HS"},
		"nothing":                  {"", "> CCP Configure-Nak id=9 mppe=HS"},
		"twice":                    {mppeHS + mppeHS, "> CCP Configure-Reject id=9 mppe=HS"},
		"pppd without MPPE":        {"1a04 7800 1804 7800 1503 2f", "> CCP Configure-Reject id=9 26=7800 24=7800 21=2f"},
		"with compression":         {"1206 01000040 1503 2f", "> CCP Configure-Reject id=9 21=2f"},
		"weak and with others":     {"1206 01000020 1102 1503 2f", "> CCP Configure-Reject id=9 17= 21=2f"},
		"Stac, and an unknown one": {"1105 000102 6302", "> CCP Configure-Reject id=9 17=000102 99="},
	} {
		p := asked(t, MPPERequire)
		got := p.give(ccpRequest(9, c.in))
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// ends checks what becomes of a link whose peer does not encrypt: with "allow" it goes on, with "require" it ends.
func ends(t *testing.T, p *probe, m MPPEMode, got []string) {
	t.Helper()
	text := strings.Join(append(got, p.wait(time.Minute)...), "\n")
	if n := strings.Count(text, "! encryption down"); n != 1 {
		t.Errorf("encryption went down %d times:\n%s", n, text)
	}
	end := p.link.View().End
	switch {
	case m == MPPERequire && (end.Reason != ReasonNoEncryption || !end.Peer || !strings.Contains(text, notEncrypted)):
		t.Errorf("the end is %+v:\n%s", end, text)
	case m == MPPEAllow && strings.Contains(text, "LCP"):
		t.Errorf("%s", text)
	case m == MPPEAllow:
		if v := p.link.View(); v.IPCP != "Opened" || v.Encrypted {
			t.Errorf("%+v", v)
		}
	}
}

// P261: a peer that will not, and says so in each of the ways there are.
func TestPeerRefusesEncryption(t *testing.T) {
	t.Parallel()
	refusals := map[string]func(p *probe) []string{
		"Nak to 40 bits":   func(p *probe) []string { return p.give(newFrame(ProtoCCP, codeConfigureNak, 1, opts("1206 01000020"))) },
		"Nak to a state":   func(p *probe) []string { return p.give(newFrame(ProtoCCP, codeConfigureNak, 1, opts("1206 00000040"))) },
		"Nak to nothing":   func(p *probe) []string { return p.give(newFrame(ProtoCCP, codeConfigureNak, 1, opts("1206 00000000"))) },
		"Nak of no length": func(p *probe) []string { return p.give(newFrame(ProtoCCP, codeConfigureNak, 1, opts("1202"))) },
		"Reject":           func(p *probe) []string { return p.give(newFrame(ProtoCCP, codeConfigureReject, 1, opts(mppeHS))) },
		"Protocol-Reject": func(p *probe) []string {
			return p.give(newFrame(ProtoLCP, codeProtocolReject, 1, opts("80fd"), []byte{1, 1, 0, 4}))
		},
		"Code-Reject": func(p *probe) []string { return p.give(newFrame(ProtoCCP, codeCodeReject, 1, opts("0101 0004"))) },
		"silence":     func(p *probe) []string { return p.wait(time.Minute) },
		"the same answer": func(p *probe) []string {
			var got []string
			for range 60 {
				got = append(got, p.give(newFrame(ProtoCCP, codeConfigureNak, p.link.s.CCP.SentID, opts("1206 010000e1")))...)
			}
			return got
		},
		"nothing asked": func(p *probe) []string {
			return append(p.give(ccpRequest(1, "")), p.give(ccpRequest(2, ""))...)
		},
		"only 40 bits": func(p *probe) []string {
			var got []string
			for id := range uint8(6) {
				got = append(got, p.give(ccpRequest(id, "1206 01000020"))...)
			}
			if got[5] != "> CCP Configure-Reject id=5 mppe=HL" {
				p.t.Errorf("%q", got)
			}
			return append(got, p.give(ccpRequest(7, ""))...)
		},
	}
	bothModes(t, func(t *testing.T, m MPPEMode) {
		for name, refuse := range refusals {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := asked(t, m)
				if m == MPPEAllow {
					p.openIPCP()
				}
				ends(t, p, m, refuse(p))
			})
		}
	})
}

// A Nak that asks for more than we agree to is no refusal: its sender takes what we agree to in the end.
func TestANakForMoreIsNotTheEnd(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"1206 010000e1", "1206 01000060", "1503 2f"} {
		p := asked(t, MPPERequire)
		p.want(p.give(newFrame(ProtoCCP, codeConfigureNak, 1, opts(in))), "> CCP Configure-Request id=2 mppe=HS")
	}
}

// P261: encryption that the peer ends, or that the kernel gives up, when it had been up.
func TestEncryptionEnds(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, m MPPEMode) {
		ways := map[string]func(p *probe) []string{
			"Terminate-Request": func(p *probe) []string { return p.give(newFrame(ProtoCCP, codeTerminateRequest, 5)) },
			"Code-Reject":       func(p *probe) []string { return p.give(newFrame(ProtoCCP, codeCodeReject, 1, opts("0101 0004"))) },
			"the kernel":        func(p *probe) []string { return p.arms(false) },
		}
		for name, way := range ways {
			p := encrypted(t, m)
			got := way(p)
			text := strings.Join(append(got, p.wait(time.Minute)...), "\n")
			if strings.Count(text, "! encryption down") != 1 {
				t.Errorf("%s:\n%s", name, text)
			}
			v := p.link.View()
			switch m {
			case MPPEAllow:
				if v.IPCP != "Opened" || v.Encrypted || v.End.Reason != ReasonNone {
					t.Errorf("%s: %+v", name, v)
				}
			case MPPERequire:
				p.want(got, notEncrypted, "! IPv4 down", "! encryption down")
				if v.End.Reason != ReasonNoEncryption || v.End.Peer == (name == "the kernel") {
					t.Errorf("%s: %+v", name, v)
				}
			case MPPEOff:
			}
		}
	})
}

// The peer negotiates CCP anew, or sends its request again because our Ack was lost: the kernel has seen the request and does not
// encrypt any more, so it is armed anew before anything is answered.
func TestCCPBeginsAnew(t *testing.T) {
	t.Parallel()
	for name, request := range map[string][]byte{
		"a copy": ccpRequest(1, mppeHS), "a new one": ccpRequest(2, mppeHS), "another one": ccpRequest(2, "1206 010000e1"),
	} {
		p := encrypted(t, MPPERequire)
		p.want(p.give(request), "! IPv4 down", "! encryption down", keysWanted+"true")
		p.want(p.give(ipcpRequest(7, "")))
		got := p.arms(true)
		if len(got) != 2 || got[0] != "> CCP Configure-Request id=2 mppe=HS" {
			t.Errorf("%s: %q", name, got)
		}
		if name == "another one" {
			p.give(ccpRequest(3, mppeHS))
		}
		p.want(p.give(p.ack(ProtoCCP)),
			"> IPCP Configure-Request id=2", "> IPCP Configure-Ack id=7", "! encryption up, required=true")
		p.give(p.ack(ProtoIPCP))
		if v := p.link.View(); v.IPCP != "Opened" || v.CCP != "Opened" {
			t.Errorf("%s: %+v", name, v)
		}
	}

	p := encrypted(t, MPPEAllow)
	p.want(p.give(ccpRequest(1, mppeHS)), "! encryption down", keysWanted+"false")
	p.want(p.arms(true), "> CCP Configure-Request id=2 mppe=HS", "> CCP Configure-Ack id=1 mppe=HS")
	p.want(p.give(p.ack(ProtoCCP)), "! encryption up, required=false")
}

// A Terminate-Ack, too, ends what the kernel does.
func TestTerminateAckArmsAnew(t *testing.T) {
	t.Parallel()
	p := encrypted(t, MPPEAllow)
	p.want(p.give(newFrame(ProtoCCP, codeTerminateAck, 5)), "! encryption down", keysWanted+"false")
	p.want(p.arms(true), "> CCP Configure-Request id=2 mppe=HS")

	p = asked(t, MPPERequire)
	p.give(ccpRequest(1, mppeHS)) // acknowledged: Ack-Sent
	p.want(p.give(newFrame(ProtoCCP, codeTerminateAck, 5)), "! encryption down", keysWanted+"true")
}

// A peer that is late finds CCP ready as long as it has not refused.
func TestLateCCPIsArmedAgain(t *testing.T) {
	t.Parallel()
	p := asked(t, MPPEAllow)
	p.openIPCP()
	if got := p.wait(time.Minute); got[len(got)-1] != "! encryption down" {
		t.Errorf("%q", got)
	}
	p.want(p.give(ccpRequest(8, mppeHS)), keysWanted+"false")
	p.want(p.arms(true), "> CCP Configure-Request id=1 mppe=HS", "> CCP Configure-Ack id=8 mppe=HS")
	p.want(p.give(p.ack(ProtoCCP)), "! encryption up, required=false")
}

// An answer that is for an earlier attempt means nothing.
func TestArmingAnswersAreForTheirAttempt(t *testing.T) {
	t.Parallel()
	p := encrypted(t, MPPEAllow)
	first := p.link.s.CCP.Attempt
	p.give(ccpRequest(2, mppeHS))
	p.want(p.do(CmdEncryption{Attempt: first, OK: true}))
	p.want(p.do(CmdEncryption{Attempt: first}))
	p.want(p.do(CmdEncryption{Attempt: first + 1, OK: true}), "> CCP Configure-Request id=2 mppe=HS", "> CCP Configure-Ack id=2 mppe=HS")

	p = newProbe(t, Config{MPPE: MPPEAllow, IPv4: IPv4Unnumbered})
	p.openLCP()
	p.want(p.do(CmdEncryption{OK: true}))
	p.want(p.do(CmdEncryption{}))
}

// A kernel without MPPE: CCP is protocol-rejected, the peer's request that waited included.
func TestKernelThatCannotEncrypt(t *testing.T) {
	t.Parallel()
	p, _ := loggedIn(t, MPPEAllow, nil)
	p.want(p.give(ccpRequest(1, mppeHS)))
	p.want(p.arms(false), "> LCP Protocol-Reject id=2 of CCP, 10 octets", "! encryption down")
	p.want(p.give(ccpRequest(2, mppeHS)), "> LCP Protocol-Reject id=3 of CCP, 10 octets")
	p.want(p.arms(true))

	p, _ = loggedIn(t, MPPERequire, nil)
	p.want(p.arms(false), notEncrypted, "! encryption down")
	if end := p.link.View().End; end.Reason != ReasonNoEncryption || end.Peer {
		t.Errorf("%+v", end)
	}
}

// P274: without keys CCP is rejected as if there were no MPPE; keys of a wrong length are none.
func TestNoMPPEWithoutKeys(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		auth    []AuthMethod
		verdict CmdAuthResult
	}{
		"CHAP-MD5":   {onlyCHAP, CmdAuthResult{OK: true, Keys: sampleKeys}},
		"no keys":    {onlyMSv2, CmdAuthResult{OK: true, Success: sampleSuccess}},
		"short keys": {onlyMSv2, CmdAuthResult{OK: true, Success: sampleSuccess, Keys: Keys{Send: make([]byte, 8), Recv: make([]byte, 8)}}},
		"one key":    {onlyMSv2, CmdAuthResult{OK: true, Success: sampleSuccess, Keys: Keys{Send: make([]byte, 16)}}},
	} {
		for _, m := range []MPPEMode{MPPEAllow, MPPERequire} {
			p := newProbe(t, Config{Auth: c.auth, MPPE: m, IPv4: IPv4Unnumbered})
			p.openLCP()
			p.give(msResponse(1, "u", make([]byte, c.auth[0].responseSize())))
			p.do(c.verdict)
			if m == MPPERequire {
				if end := p.link.View().End; end.Reason != ReasonNoEncryption || end.Peer {
					t.Errorf("%s: %+v", name, end)
				}
				continue
			}
			p.want(p.give(ccpRequest(1, mppeHS)), "> LCP Protocol-Reject id=2 of CCP, 10 octets")
			p.want(p.give(opts("00fd 9000 1234")), "> LCP Protocol-Reject id=3 of MPPE, 4 octets")
		}
	}
	p, _ := loggedIn(t, MPPEOff, nil)
	if p.link.s.ccp().Keys.known() {
		t.Error("keys are kept that nobody needs")
	}
	p.want(p.give(ccpRequest(1, mppeHS)), "> LCP Protocol-Reject id=2 of CCP, 10 octets")
}

// RFC 1962, 5: without state a Reset-Request changes nothing and is answered all the same, while CCP is open.
func TestResetRequestIsAnswered(t *testing.T) {
	t.Parallel()
	p := asked(t, MPPEAllow)
	p.want(p.give(newFrame(ProtoCCP, codeResetRequest, 7)))
	p = encrypted(t, MPPEAllow)
	p.want(p.give(newFrame(ProtoCCP, codeResetRequest, 7)), "> CCP Reset-Ack id=7")
	p.want(p.give(newFrame(ProtoCCP, codeResetRequest, 8, []byte("why"))), "> CCP Reset-Ack id=8")
	p.want(p.give(newFrame(ProtoCCP, codeResetAck, 7)))
	p.want(p.give(newFrame(ProtoCCP, code(99), 7)), "> CCP Code-Reject id=2 of code 99, 4 octets")
	p.want(p.give(newFrame(ProtoCCP, codeEchoRequest, 7)), "> CCP Code-Reject id=3 of Echo-Request, 4 octets")
	if v := p.link.View(); !v.Encrypted {
		t.Errorf("%+v", v)
	}
	// The other protocols have no such code.
	p.want(p.give(newFrame(ProtoIPCP, codeResetRequest, 7)), "> IPCP Code-Reject id=2 of Reset-Request, 4 octets")
	p.want(p.give(newFrame(ProtoLCP, codeResetAck, 7)), "> LCP Code-Reject id=2 of Reset-Ack, 4 octets")
}

// An encrypted packet that the kernel hands up is no protocol that we do not know.
func TestEncryptedPacketsAreNotRejected(t *testing.T) {
	t.Parallel()
	packet := opts("00fd 9000 1234")
	p, _ := loggedIn(t, MPPERequire, nil)
	p.want(p.give(packet))
	p.arms(true)
	p.want(p.give(packet))
	p = encrypted(t, MPPERequire)
	p.want(p.give(packet), "> CCP Reset-Request id=2", odd)
}

// noise is a packet that the kernel could not decrypt.
func noise() []byte { return opts("00fd 0000 1234") }

const odd = "! odd: a packet could not be decrypted"

// Linux decrypts nothing more after a packet that it could not decrypt, until a Reset-Ack comes. However many there are, one Reset-Request
// is on its way, and one question a restart period is asked.
func TestUndecryptedPacketsAreFollowedByAReset(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, m MPPEMode) {
		p := encrypted(t, m)
		p.want(p.give(noise()), "> CCP Reset-Request id=2", odd)
		for range 100 {
			p.want(p.give(noise()), odd)
		}
		p.want(p.wait(defaultRestart), "> CCP Reset-Request id=3", "! decrypting?") // the first was lost
		p.want(p.do(CmdDecryption{Attempt: 1}))
		p.want(p.give(newFrame(ProtoCCP, codeResetAck, 3)))

		// A peer that answers and goes on with it does not put the next question off.
		for id := uint8(4); id < 104; id++ {
			p.want(p.give(noise()), fmt.Sprintf("> CCP Reset-Request id=%d", id), odd)
			p.want(p.give(newFrame(ProtoCCP, codeResetAck, id)))
			p.now += defaultRestart / 200
		}
		p.want(p.wait(defaultRestart/2), "! decrypting?")

		// All is well again, as far as can be seen from here: the kernel is asked seldom.
		p.want(p.wait(calmChecks*defaultRestart - 1))
		p.want(p.wait(1), "! decrypting?")
		p.want(p.wait(3*calmChecks*defaultRestart), "! decrypting?", "! decrypting?", "! decrypting?")

		// CCP that begins anew is without a past.
		p.give(ccpRequest(2, mppeHS))
		p.arms(true)
		p.give(p.ack(ProtoCCP))
		if v := p.link.View(); !v.Encrypted || v.End.Reason != ReasonNone {
			t.Errorf("%+v", v)
		}
		if s := p.link.s.CCP; s.DoubtAt != 0 || s.Resets != 0 {
			t.Errorf("still in doubt: %+v", s)
		}
	})
}

// A link on which nothing is decrypted any more ends, whether encryption was required or not: the next one has other keys.
func TestLinkThatCannotDecryptEnds(t *testing.T) {
	t.Parallel()
	const goodbye = `text="packets cannot be decrypted"`
	bothModes(t, func(t *testing.T, m MPPEMode) {
		p := encrypted(t, m)
		p.give(noise())
		p.give(newFrame(ProtoCCP, codeResetAck, 2))
		p.want(p.wait(defaultRestart), "! decrypting?")
		p.want(p.do(CmdDecryption{Attempt: 7, Broken: true})) // not of this attempt
		p.want(p.do(CmdDecryption{Attempt: 1, Broken: true}), "> LCP Terminate-Request id=2 "+goodbye, "! IPv4 down", "! encryption down")
		p.want(p.do(CmdDecryption{Attempt: 1, Broken: true}))
		p.want(p.give(newFrame(ProtoLCP, codeTerminateAck, 2)),
			`! link down stage=up reason=packets cannot be decrypted peer=false text="the kernel has given up after too many broken ones"`)

		p = encrypted(t, m)
		p.give(noise())
		want := []string{}
		for id := 3; id < 3+defaultMaxConfigure-1; id++ {
			want = append(want, fmt.Sprintf("> CCP Reset-Request id=%d", id), "! decrypting?")
		}
		p.want(p.wait((defaultMaxConfigure-1)*defaultRestart), want...)
		p.want(p.wait(defaultRestart), "> LCP Terminate-Request id=2 "+goodbye, "! IPv4 down", "! encryption down")
		end := EvLinkDown{Stage: StageUp, Reason: ReasonDecryption, Text: "the peer does not answer Reset-Requests"}
		if got := p.link.View().End; got != end {
			t.Errorf("%+v", got)
		}
	})

	// Before there is encryption, and after it, nobody doubts it.
	p := asked(t, MPPERequire)
	p.want(p.give(noise()))
	p.want(p.do(CmdDecryption{Attempt: 1, Broken: true}))
}

// The doubt is part of the record.
func TestDoubtOutlivesARestart(t *testing.T) {
	t.Parallel()
	p := encrypted(t, MPPERequire)
	p.give(noise())
	l, err := Restore(p.link.Record(), *p.link.cfg, p.now, &p.out)
	if err != nil {
		t.Fatal(err)
	}
	p.link = l
	p.want(p.give(noise()), odd)
	p.want(p.wait(defaultRestart), "> CCP Reset-Request id=3", "! decrypting?")
}

// LCP that is negotiated anew takes encryption along, and its keys.
func TestRenegotiationForgetsTheKeys(t *testing.T) {
	t.Parallel()
	p := encrypted(t, MPPERequire)
	got := p.give(newFrame(ProtoLCP, codeConfigureRequest, 9, opts("0506 00000098")))
	p.want(got[2:], "! IPv4 down", "! encryption down")
	if p.link.s.ccp().Keys.known() {
		t.Error("the old keys are there")
	}
	p.give(p.ack(ProtoLCP))
	p.give(msResponse(p.link.s.Authenticator.ID, "u", make([]byte, 49)))
	p.want(p.do(CmdAuthResult{OK: true, Success: sampleSuccess, Keys: sampleKeys}),
		`> CHAP Success id=2 S=*** message=""`, `! authenticated peer="u"`, keysWanted+"true")
	p.want(p.arms(true), "> CCP Configure-Request id=2 mppe=HS")
}

// The keys of a later login are those of the next negotiation, on both ends; what runs goes on.
func TestRechallengeChangesNoRunningKey(t *testing.T) {
	t.Parallel()
	p, _ := loggedIn(t, MPPEAllow, func(c *Config) { c.Rechallenge = time.Hour })
	p.arms(true)
	p.give(p.ack(ProtoCCP))
	p.give(ccpRequest(1, mppeHS))
	p.openIPCP()
	p.wait(time.Hour)
	p.give(msResponse(p.link.s.Authenticator.ID, "u", make([]byte, 49)))
	next := Keys{Send: sampleKeys.Recv, Recv: sampleKeys.Send}
	p.want(p.do(CmdAuthResult{OK: true, Success: sampleSuccess, Keys: next}), `> CHAP Success id=2 S=*** message=""`)
	p.link.Receive(p.now, ccpRequest(2, mppeHS), &p.out)
	want := []Event{EvEncryptionDown{}, EvEncryptionWanted{Attempt: 2, Keys: next, Option: [6]byte{18, 6, 1, 0, 0, 0x40}}}
	if d := cmp.Diff(want, p.out.Events); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestSummaryOfCCP(t *testing.T) {
	t.Parallel()
	for want, f := range map[string][]byte{
		"CCP Configure-Request id=1 mppe=HMSLC":      ccpRequest(1, "1206 010000e1"),
		"CCP Configure-Request id=1 mppe=D":          ccpRequest(1, "1206 00000010"),
		"CCP Configure-Request id=1 mppe=00000000":   ccpRequest(1, "1206 00000000"),
		"CCP Configure-Request id=1 mppe=01020040":   ccpRequest(1, "1206 01020040"),
		"CCP Configure-Request id=1 18=0100 26=7800": ccpRequest(1, "1204 0100 1a04 7800"),
		"CCP Reset-Request id=3":                     newFrame(ProtoCCP, codeResetRequest, 3),
		"CCP Reset-Ack id=3 2 octets":                newFrame(ProtoCCP, codeResetAck, 3, opts("0102")),
		"MPPE 4 octets":                              opts("00fd 9000 1234"),
	} {
		if got := Summary(f); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
