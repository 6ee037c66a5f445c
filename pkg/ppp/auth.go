package ppp

import (
	"bytes"
	"crypto/md5" //nolint:gosec // RFC 1994 prescribes MD5
)

// progress is how far one direction of authentication has come.
type progress uint8

const (
	authIdle    progress = iota // not agreed on, or not begun
	authWaiting                 // for the other side
	authAsked                   // the owner is deciding
	authPassed
	authFailed
)

// Codes of PAP (RFC 1334, 2.2) and CHAP (RFC 1994, 4).
const (
	papRequest code = 1 + iota
	papAck
	papNak
)

const (
	chapChallenge code = 1 + iota
	chapResponse
	chapSuccess
	chapFailure
)

// challengeSize is the length of our CHAP challenges in octets, that of an MD5 hash as RFC 1994, 2.3 advises.
const challengeSize = md5.Size

// AuthenticatorRecord is what we demand of the peer, part of a Record.
type AuthenticatorRecord struct {
	Progress    progress
	ID          uint8 // of the challenge, or of the latest PAP request
	Challenge   []byte
	Name        []byte // presented by the peer
	Response    []byte // CHAP, while the owner is deciding
	Message     string // of the verdict, for repeated requests
	Tries       int
	Deadline    Time // to challenge again without an answer
	Rechallenge Time
	Forgotten   bool // restored while the owner was deciding: a repeat is worth asking again
}

// ClaimantRecord is what the peer demands of us, part of a Record.
type ClaimantRecord struct {
	Progress  progress
	FirstID   uint8 // PAP: of the first request of this attempt
	ID        uint8
	Challenge []byte
	Tries     int
	Deadline  Time // to repeat our request or response
}

// auth is the authentication phase, both directions of it.
type auth struct{ l *Link }

// CHAPMD5 is the response value of RFC 1994, 4.1 for the method CHAP-MD5.
func CHAPMD5(id uint8, secret, challenge []byte) [md5.Size]byte {
	b := make([]byte, 0, 1+len(secret)+len(challenge))
	b = append(b, id)
	b = append(b, secret...)
	b = append(b, challenge...)
	return md5.Sum(b) //nolint:gosec // as above
}

// begin enters the authentication phase; without a method agreed on it is over at once.
func (a auth) begin() {
	l := a.l
	l.s.Phase = PhaseAuthenticate
	l.s.Authenticator = AuthenticatorRecord{ID: l.s.Authenticator.ID}
	l.s.Claimant = ClaimantRecord{ID: l.s.Claimant.ID}
	l.s.PeerName = nil
	if l.s.LCP.Auth != AuthNone || l.s.LCP.Answer != AuthNone {
		l.s.AuthDeadline = l.now + l.cfg.AuthTimeout
	}
	switch l.s.LCP.Auth {
	case AuthNone:
	case AuthPAP:
		l.s.Authenticator.Progress = authWaiting
	case AuthCHAPMD5:
		a.challenge()
	}
	switch l.s.LCP.Answer {
	case AuthNone:
	case AuthPAP:
		l.s.Claimant.Progress = authWaiting
		l.s.Claimant.FirstID = l.s.Claimant.ID + 1
		a.requestPAP()
	case AuthCHAPMD5:
		l.s.Claimant.Progress = authWaiting
	}
	a.check()
}

// stop forgets the phase: LCP has left Opened.
func (a auth) stop() {
	s := &a.l.s
	s.AuthDeadline = 0
	s.Authenticator = AuthenticatorRecord{ID: s.Authenticator.ID}
	s.Claimant = ClaimantRecord{ID: s.Claimant.ID}
}

// check moves on when both directions are done.
func (a auth) check() {
	l := a.l
	done := func(m AuthMethod, p progress) bool { return m == AuthNone || p == authPassed }
	if l.s.Phase != PhaseAuthenticate || !done(l.s.LCP.Auth, l.s.Authenticator.Progress) ||
		!done(l.s.LCP.Answer, l.s.Claimant.Progress) {
		return
	}
	l.s.AuthDeadline = 0
	l.event(EvAuthenticated{PeerName: string(l.s.PeerName)})
	network{l}.begin()
}

// receive takes a PAP or CHAP packet. Packets of a method that was not agreed on mean nothing.
func (a auth) receive(proto Protocol, p packet) {
	l := a.l
	if l.s.LCP.State != stOpened {
		return
	}
	ours, theirs := l.s.LCP.Auth.protocol() == proto, l.s.LCP.Answer.protocol() == proto
	switch proto {
	case ProtoPAP:
		switch {
		case p.code == papRequest && ours:
			a.papRequested(p)
		case (p.code == papAck || p.code == papNak) && theirs:
			a.papAnswered(p)
		}
	case ProtoCHAP:
		switch {
		case p.code == chapResponse && ours:
			a.chapResponded(p)
		case p.code == chapChallenge && theirs:
			a.chapChallenged(p)
		case (p.code == chapSuccess || p.code == chapFailure) && theirs:
			a.chapAnswered(p)
		}
	case ProtoIPv4, ProtoIPv6, ProtoIPCP, ProtoIPV6CP, ProtoCCP, ProtoLCP:
	}
}

// verdict is the owner's answer to EvAuthRequest.
func (a auth) verdict(c CmdAuthResult) {
	l := a.l
	s := &l.s.Authenticator
	if s.Progress != authAsked {
		return
	}
	s.Progress, s.Message, s.Response, s.Forgotten = authFailed, c.Message, nil, false
	if c.OK {
		s.Progress = authPassed
	}
	l.out.Persist = true
	a.reply(s.ID)
	if !c.OK {
		l.s.Goodbye = "authentication failed"
		l.fail(ReasonAuthFailed, false, "")
		return
	}
	l.s.PeerName = s.Name
	if l.s.LCP.Auth == AuthCHAPMD5 && l.cfg.Rechallenge > 0 {
		s.Rechallenge = l.now + l.cfg.Rechallenge
	}
	a.check()
}

// reply says the verdict, the first time and again to every repeat (P257, P258).
func (a auth) reply(id uint8) {
	s := &a.l.s.Authenticator
	ok := s.Progress == authPassed
	switch a.l.s.LCP.Auth {
	case AuthPAP:
		c := papNak
		if ok {
			c = papAck
		}
		m := truncate([]byte(s.Message), 255)
		a.send(ProtoPAP, c, id, []byte{byte(len(m))}, m)
	case AuthCHAPMD5:
		c := chapFailure
		if ok {
			c = chapSuccess
		}
		a.send(ProtoCHAP, c, id, truncate([]byte(s.Message), 255))
	case AuthNone:
	}
}

func (a auth) send(proto Protocol, c code, id uint8, data ...[]byte) {
	a.l.out.Frames = append(a.l.out.Frames, newFrame(proto, c, id, data...))
}

// expire runs the timers of both directions.
func (a auth) expire() {
	l := a.l
	if due(&l.s.AuthDeadline, l.now) {
		l.s.Goodbye = "authentication timed out"
		l.fail(ReasonAuthTimeout, false, "")
		return
	}
	if due(&l.s.Authenticator.Rechallenge, l.now) {
		l.s.Authenticator.Tries = 0
		a.challenge()
	}
	if due(&l.s.Authenticator.Deadline, l.now) {
		a.challenge()
	}
	if due(&l.s.Claimant.Deadline, l.now) {
		a.repeat()
	}
}

// repeat sends our request or response once more. After MaxConfigure of them it only waits: AuthTimeout decides.
func (a auth) repeat() {
	l := a.l
	s := &l.s.Claimant
	switch {
	case s.Tries >= l.cfg.MaxConfigure:
	case l.s.LCP.Answer == AuthPAP:
		a.requestPAP()
	default:
		a.respond()
	}
}

// requestPAP sends Authenticate-Request; its identifier changes every time (RFC 1334, 2.2.1).
func (a auth) requestPAP() {
	l := a.l
	s := &l.s.Claimant
	s.ID++
	s.Tries++
	s.Deadline = l.now + l.cfg.Restart
	l.out.Persist = true
	user, password := truncate([]byte(l.cfg.User), 255), truncate(l.cfg.Password, 255)
	a.send(ProtoPAP, papRequest, s.ID, []byte{byte(len(user))}, user, []byte{byte(len(password))}, password)
}

func (a auth) papRequested(p packet) {
	l := a.l
	s := &l.s.Authenticator
	name, rest, ok := cutCounted(p.data)
	password, _, ok2 := cutCounted(rest)
	if !ok || !ok2 {
		l.anomaly("broken PAP Authenticate-Request")
		return
	}
	switch s.Progress {
	case authWaiting:
	case authAsked:
		s.ID = p.id // the peer may only look at the answer to its latest request
		if !s.Forgotten {
			return
		}
	case authPassed, authFailed:
		a.reply(p.id)
		return
	case authIdle:
		return
	}
	s.Progress, s.ID, s.Name, s.Forgotten = authAsked, p.id, bytes.Clone(name), false
	l.event(EvAuthRequest{Method: AuthPAP, ID: p.id, Name: string(name), Password: bytes.Clone(password)})
}

func (a auth) papAnswered(p packet) {
	s := &a.l.s.Claimant
	// Any request of this attempt may be the one that got the answer.
	if s.Progress != authWaiting || p.id-s.FirstID > s.ID-s.FirstID {
		return
	}
	text, _, _ := cutCounted(p.data)
	a.claimed(p.code == papAck, string(text))
}

// claimed ends our own attempt.
func (a auth) claimed(ok bool, text string) {
	l := a.l
	l.s.Claimant.Deadline = 0
	l.out.Persist = true
	if !ok {
		l.s.Claimant.Progress = authFailed
		l.fail(ReasonAuthFailed, true, text)
		return
	}
	l.s.Claimant.Progress = authPassed
	a.check()
}

// challenge sends a new challenge with a new identifier (RFC 1994, 4.1: both change every time).
func (a auth) challenge() {
	l := a.l
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
	a.send(ProtoCHAP, chapChallenge, s.ID, []byte{challengeSize}, s.Challenge, []byte(l.cfg.Name))
}

func (a auth) chapResponded(p packet) {
	l := a.l
	s := &l.s.Authenticator
	if p.id != s.ID {
		return
	}
	value, name, ok := cutCounted(p.data)
	if !ok || len(value) != md5.Size {
		l.anomaly("broken CHAP Response")
		return
	}
	switch s.Progress {
	case authWaiting:
	case authPassed, authFailed:
		a.reply(p.id)
		return
	case authIdle, authAsked:
		return
	}
	s.Progress, s.Name, s.Response, s.Deadline, s.Tries = authAsked, bytes.Clone(name), bytes.Clone(value), 0, 0
	a.askCHAP()
}

func (a auth) askCHAP() {
	s := &a.l.s.Authenticator
	a.l.event(EvAuthRequest{
		Method: AuthCHAPMD5, ID: s.ID, Name: string(s.Name),
		Challenge: bytes.Clone(s.Challenge), Response: bytes.Clone(s.Response),
	})
}

func (a auth) chapChallenged(p packet) {
	l := a.l
	s := &l.s.Claimant
	value, _, ok := cutCounted(p.data)
	if !ok || len(value) == 0 {
		l.anomaly("broken CHAP Challenge")
		return
	}
	if bytes.Equal(value, l.s.Authenticator.Challenge) {
		// Answering our own challenge would authenticate the peer to us (RFC 1994, 5).
		l.anomaly("the peer sends our own CHAP challenge back")
		return
	}
	s.ID, s.Challenge, s.Tries = p.id, bytes.Clone(value), 0
	s.Progress = authWaiting
	a.respond()
}

// respond answers the latest challenge. It is repeated until a verdict comes, because a lost Success cannot be told
// from a slow one (RFC 1994, 4.2).
func (a auth) respond() {
	l := a.l
	s := &l.s.Claimant
	s.Tries++
	s.Deadline = l.now + l.cfg.Restart
	l.out.Persist = true
	value := CHAPMD5(s.ID, l.cfg.Password, s.Challenge)
	a.send(ProtoCHAP, chapResponse, s.ID, []byte{md5.Size}, value[:], []byte(l.cfg.User))
}

func (a auth) chapAnswered(p packet) {
	s := &a.l.s.Claimant
	if s.Progress != authWaiting || s.Challenge == nil || p.id != s.ID {
		return
	}
	a.claimed(p.code == chapSuccess, string(p.data))
}

// cutCounted cuts a field off that begins with its length in one octet.
func cutCounted(b []byte) (field, rest []byte, ok bool) {
	if len(b) == 0 || int(b[0]) > len(b)-1 {
		return nil, nil, false
	}
	return b[1 : 1+int(b[0])], b[1+int(b[0]):], true
}
