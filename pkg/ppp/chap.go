package ppp

import (
	"bytes"
	"crypto/md5"
)

// chapCode is a code of CHAP (RFC 1994, 4).
type chapCode uint8

const (
	chapChallenge chapCode = 1 + iota
	chapResponse
	chapSuccess
	chapFailure
)

// challengeSize is the length of our challenges in octets, that of an MD5 hash as RFC 1994, 2.3 advises.
const challengeSize = md5.Size

// chap is both sides of CHAP-MD5.
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
	s.Progress = authWaiting
	s.ID++
	s.Tries++
	s.Challenge = make([]byte, challengeSize)
	l.random(s.Challenge)
	s.Deadline = l.now + l.cfg.Restart
	l.out.Persist = true
	auth{l}.send(newFrame(ProtoCHAP, chapChallenge, s.ID, []byte{challengeSize}, s.Challenge, []byte(l.cfg.Name)))
}

func (c chap) responded(in packet) {
	l := c.l
	s := &l.s.Authenticator
	if in.id != s.ID {
		return
	}
	value, name, ok := cutCounted(in.data)
	if !ok || len(value) != md5.Size {
		l.anomaly("broken CHAP Response")
		return
	}
	switch s.Progress {
	case authWaiting:
	case authPassed, authFailed:
		auth{l}.reply(in.id)
		return
	case authIdle, authAsked:
		return
	}
	s.Progress, s.Name, s.Response, s.Deadline, s.Tries = authAsked, bytes.Clone(name), bytes.Clone(value), 0, 0
	s.Attempt++
	c.ask()
}

func (c chap) ask() {
	s := &c.l.s.Authenticator
	c.l.event(EvAuthRequest{
		Attempt: s.Attempt, Method: AuthCHAPMD5, ID: s.ID, Name: string(s.Name),
		Challenge: bytes.Clone(s.Challenge), Response: bytes.Clone(s.Response),
	})
}

func (c chap) challenged(in packet) {
	l := c.l
	s := &l.s.Claimant
	value, _, ok := cutCounted(in.data)
	if !ok || len(value) == 0 {
		l.anomaly("broken CHAP Challenge")
		return
	}
	if bytes.Equal(value, l.s.Authenticator.Challenge) {
		// Answering our own challenge would authenticate the peer to us (RFC 1994, 5).
		l.anomaly("the peer sends our own CHAP challenge back")
		return
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
	value := CHAPMD5(s.ID, l.cfg.Password, s.Challenge)
	auth{l}.send(newFrame(ProtoCHAP, chapResponse, s.ID, []byte{md5.Size}, value[:], []byte(l.cfg.User)))
}

func (c chap) answered(in packet) {
	s := &c.l.s.Claimant
	if s.Progress != authWaiting || s.Challenge == nil || in.id != s.ID {
		return
	}
	auth(c).claimed(chapCode(in.code) == chapSuccess, string(in.data))
}
