package ppp

import (
	"bytes"
	"crypto/md5"
	"crypto/subtle"
	"fmt"
)

// chapCode is a code of CHAP (RFC 1994, 4).
type chapCode uint8

const (
	chapChallenge chapCode = 1 + iota
	chapResponse
	chapSuccess
	chapFailure
)

// md5ChallengeSize is the length of our challenges for CHAP-MD5 in octets, that of the hash as RFC 1994, 2.3 advises.
const md5ChallengeSize = md5.Size

// chap is both sides of CHAP-MD5 and of both MS-CHAPs, which differ in the value of a Response and in the text of the verdict.
type chap struct{ l *Link }

// CHAPMD5 is the response value of RFC 1994, 4.1 for the method CHAP-MD5.
func CHAPMD5(id uint8, secret, challenge []byte) [md5.Size]byte {
	b := make([]byte, 0, 1+len(secret)+len(challenge))
	b = append(b, id)
	b = append(b, secret...)
	b = append(b, challenge...)
	return md5.Sum(b)
}

// challenge sends a new challenge with a new identifier (RFC 1994, 4.1: both change every time).
func (c chap) challenge() {
	l := c.l
	s := &l.s.Authenticator
	if s.Tries >= l.cfg.MaxConfigure {
		l.s.Goodbye = "authentication timed out"
		l.fail(ReasonAuthTimeout, false, "")
		return
	}
	s.Progress, s.Proxied = authWaiting, false
	s.ID++
	s.Tries++
	challenge := make([]byte, l.s.LCP.Auth.challengeSize())
	l.random(challenge)
	s.Challenge = l.keep(challenge)
	s.Deadline = l.now + l.cfg.Restart
	l.out.Persist = true
	auth{l}.send(newFrame(ProtoCHAP, chapChallenge, s.ID, []byte{byte(len(s.Challenge))}, s.Challenge, []byte(l.cfg.Name)))
}

func (c chap) responded(in packet) {
	l := c.l
	s := &l.s.Authenticator
	if in.id != s.ID {
		return
	}
	value, name, ok := cutCounted(in.data)
	if !ok || len(value) != l.s.LCP.Auth.responseSize() {
		l.anomaly("broken CHAP Response")
		return
	}
	switch s.Progress {
	case authWaiting:
	case authPassed, authFailed:
		auth{l}.reply(in.id)
		return
	case authIdle, authAsked, authHeld:
		return
	}
	s.Name, s.Response, s.Deadline, s.Tries = l.keep(name), bytes.Clone(value), 0, 0
	auth{l}.put(authAsked)
	c.ask()
}

func (c chap) ask() {
	s := &c.l.s.Authenticator
	c.l.event(EvAuthRequest{
		Attempt: s.Attempt, Method: c.l.s.LCP.Auth, ID: s.ID, Name: string(s.Name),
		Challenge: bytes.Clone(s.Challenge), Response: bytes.Clone(s.Response), Proxied: s.Proxied,
	})
}

// verdict is the text of our Success or Failure. With the MS-CHAPs it has a form of its own (RFC 2433, 9 and 10; RFC 2759, 5 and 6):
// the challenge in it is the one that was answered, because R=0 lets nobody use another.
func (c chap) verdict(ok bool) string {
	s := &c.l.s.Authenticator
	code := s.Error
	if code == 0 {
		code = msErrorDenied
	}
	switch m := c.l.s.LCP.Auth; {
	case ok && m == AuthMSCHAPv2:
		return s.Success + " M=" + s.Message
	case !ok && m == AuthMSCHAPv2:
		return fmt.Sprintf("E=%d R=0 C=%X V=3 M=%s", code, s.Challenge, s.Message)
	case !ok && m == AuthMSCHAPv1:
		return fmt.Sprintf("E=%d R=0 C=%X V=2", code, s.Challenge)
	}
	return s.Message
}

func (c chap) challenged(in packet) {
	l := c.l
	s := &l.s.Claimant
	value, _, ok := cutCounted(in.data)
	if m := l.s.LCP.Answer; !ok || len(value) == 0 || m.microsoft() && len(value) != m.challengeSize() {
		l.anomaly("broken CHAP Challenge")
		return
	}
	if bytes.Equal(value, l.s.Authenticator.Challenge) {
		// Answering our own challenge would authenticate the peer to us (RFC 1994, 5).
		l.anomaly("the peer sends our own CHAP challenge back")
		return
	}
	if in.id != s.ID || !bytes.Equal(value, s.Challenge) {
		// The copy of a challenge gets the same response: the peer may have judged the first one already.
		s.Own = nil
	}
	s.ID, s.Challenge, s.Tries = in.id, bytes.Clone(value), 0
	s.Progress = authWaiting
	c.respond()
}

// respond answers the latest challenge. It is repeated until a verdict comes, because a lost Success cannot be told
// from a slow one (RFC 1994, 4.2).
func (c chap) respond() {
	l := c.l
	s := &l.s.Claimant
	s.Tries++
	s.Deadline = l.now + l.cfg.Restart
	l.out.Persist = true
	var value []byte
	if l.s.LCP.Answer == AuthMSCHAPv2 && s.Own == nil {
		s.Own = make([]byte, msv2ChallengeSize)
		l.random(s.Own)
	}
	if l.s.LCP.Answer.microsoft() {
		value, _ = c.solve()
	} else {
		sum := CHAPMD5(s.ID, l.cfg.Password, s.Challenge)
		value = sum[:]
	}
	auth{l}.send(newFrame(ProtoCHAP, chapResponse, s.ID, []byte{byte(len(value))}, value, []byte(l.cfg.User)))
}

// solve is our Response value for the latest challenge, and what the peer must make of it.
func (c chap) solve() ([]byte, MSCHAP) {
	l := c.l
	s := &l.s.Claimant
	value := make([]byte, msValueSize)
	if l.s.LCP.Answer == AuthMSCHAPv2 {
		copy(value, s.Own)
	} else {
		value[msValueSize-1] = 1 // use the NT response: the other one, broken by design, stays empty (RFC 2433, 7)
	}
	x, ok := SolveMSCHAP(l.s.LCP.Answer, l.cfg.User, l.cfg.Password, s.Challenge, value)
	if !ok {
		return value, MSCHAP{} // cannot be: all lengths are right
	}
	copy(value[ntAt:], x.Response[:])
	return value, x
}

func (c chap) answered(in packet) {
	l := c.l
	s := &l.s.Claimant
	if s.Progress != authWaiting || s.Challenge == nil || in.id != s.ID {
		return
	}
	text, ok := string(in.data), chapCode(in.code) == chapSuccess
	if !l.s.LCP.Answer.microsoft() {
		auth(c).claimed(ok, text)
		return
	}
	if !ok {
		auth(c).claimed(false, explainFailure(text))
		return
	}
	_, x := c.solve()
	if got, _, _ := authenticatorResponse(text); l.s.LCP.Answer == AuthMSCHAPv2 &&
		(x.Success == "" || subtle.ConstantTimeCompare([]byte(got), []byte(x.Success)) != 1) {
		// RFC 2759, 5: the peer does not know our password, so it is not who it should be.
		s.Progress, s.Deadline = authFailed, 0
		l.s.Goodbye = "authentication failed"
		l.fail(ReasonAuthFailed, false, "the peer does not prove that it knows our password")
		return
	}
	auth(c).learn(Keys{Send: x.Keys.Recv, Recv: x.Keys.Send}) // we are not the authenticator
	auth(c).claimed(true, text)
}
