package ppp

import "bytes"

// progress is how far one direction of authentication has come.
type progress uint8

const (
	authIdle    progress = iota // not agreed on, not begun, or a challenge on a link past its login that nobody could judge
	authWaiting                 // for the other side
	authAsked                   // the owner is deciding
	authPassed
	authFailed
	authHeld // nothing is asked of the peer, and the owner has not said yet that the link goes on
)

// AuthenticatorRecord is what we demand of the peer, part of a Record.
type AuthenticatorRecord struct {
	Progress    progress
	ID          uint8 // of the challenge, or of the latest PAP request
	Forgotten   bool  // restored while the owner was deciding: a repeat is worth asking again
	Proxied     bool  // the question is about what the LAC took from the client
	Challenge   []byte
	Name        []byte // presented by the peer
	Response    []byte // CHAP, while the owner is deciding; with Config.Hold longer
	Message     string // of the verdict, for repeated requests
	Success     string // of the verdict: MS-CHAPv2's authenticator response
	Error       uint16 // of the verdict: MS-CHAP's error code
	Attempt     uint32 // number of the latest question to the owner
	Tries       int
	Deadline    Time // to challenge again without an answer
	Rechallenge Time
}

// ClaimantRecord is what the peer demands of us, part of a Record.
type ClaimantRecord struct {
	Progress  progress
	FirstID   uint8 // PAP: of the first request of this attempt
	ID        uint8
	Challenge []byte
	Own       []byte // MS-CHAPv2: our challenge in the response to it
	Tries     int
	Deadline  Time // to repeat our request or response
}

// auth is the authentication phase, both directions of it.
type auth struct{ l *Link }

// begin enters the authentication phase; without a method agreed on it is over at once.
func (a auth) begin() {
	l := a.l
	l.s.Phase = PhaseAuthenticate
	if l.s.LCP.Auth != AuthNone || l.s.LCP.Answer != AuthNone || l.s.Authenticator.Proxied {
		l.s.AuthDeadline = l.now + l.cfg.AuthTimeout
	}
	if l.s.Authenticator.Proxied {
		proxy{l}.present()
	} else {
		a.demand()
	}
	switch l.s.LCP.Answer {
	case AuthNone:
	case AuthPAP:
		l.s.Claimant.Progress = authWaiting
		l.s.Claimant.FirstID = l.s.Claimant.ID + 1
		pap{l}.request()
	case AuthCHAPMD5, AuthMSCHAPv1, AuthMSCHAPv2:
		l.s.Claimant.Progress = authWaiting
	}
	a.check()
}

// put begins a new question to the owner, who may take its time with Config.Hold: only then no time is set for the answer.
func (a auth) put(p progress) {
	s := &a.l.s
	s.Authenticator.Progress = p
	s.Authenticator.Attempt++
	if a.l.cfg.Hold {
		s.AuthDeadline = 0
	}
}

// hold asks the owner whether the link goes on here.
func (a auth) hold() { a.l.event(EvHeld{Attempt: a.l.s.Authenticator.Attempt}) }

// proceed is the owner's answer to EvHeld.
func (a auth) proceed(c CmdProceed) {
	s := &a.l.s.Authenticator
	if s.Progress != authHeld || s.Attempt != c.Attempt {
		return
	}
	s.Progress = authIdle
	a.l.out.Persist = true
	a.resume()
}

// resume goes on after an answer of the owner. The peer's time, which Config.Hold has stopped, begins anew.
func (a auth) resume() {
	l := a.l
	a.check()
	if l.cfg.Hold && l.s.Phase == PhaseAuthenticate {
		l.s.AuthDeadline = l.now + l.cfg.AuthTimeout
	}
}

// restore asks the owner again what waits for its answer.
func (a auth) restore() {
	l := a.l
	s := &l.s.Authenticator
	switch s.Progress {
	case authIdle, authWaiting, authPassed, authFailed:
		return
	case authHeld:
		a.hold()
		return
	case authAsked:
	}
	switch l.s.LCP.Auth {
	case AuthCHAPMD5, AuthMSCHAPv1, AuthMSCHAPv2:
		chap{l}.ask()
	case AuthPAP, AuthNone: // the latter after a login before PPP
		if s.Forgotten = !s.Proxied || l.cfg.Proxy == nil; !s.Forgotten {
			lac{l}.presented(l.cfg.Proxy.Response)
			proxy{l}.ask()
		} else if l.cfg.Hold && l.s.Phase == PhaseAuthenticate {
			l.s.AuthDeadline = l.now + l.cfg.AuthTimeout
		}
	}
}

// demand asks the peer for its login, or without one the owner to go on.
func (a auth) demand() {
	l := a.l
	switch l.s.LCP.Auth {
	case AuthNone:
		if l.cfg.Hold {
			a.put(authHeld)
			a.hold()
		}
	case AuthPAP:
		l.s.Authenticator.Progress = authWaiting
	case AuthCHAPMD5, AuthMSCHAPv1, AuthMSCHAPv2:
		chap{l}.challenge()
	}
}

// stop forgets everything but the identifiers used: LCP has left Opened.
func (a auth) stop() {
	s := &a.l.s
	s.AuthDeadline, s.PeerName = 0, nil
	if s.CCP != nil {
		s.CCP.Keys = Keys{}
	}
	s.Authenticator = AuthenticatorRecord{ID: s.Authenticator.ID, Attempt: s.Authenticator.Attempt}
	s.Claimant = ClaimantRecord{ID: s.Claimant.ID}
}

// check moves on when both directions are done.
func (a auth) check() {
	l := a.l
	done := func(p progress) bool { return p == authIdle || p == authPassed }
	if l.s.Phase != PhaseAuthenticate || !done(l.s.Authenticator.Progress) || !done(l.s.Claimant.Progress) {
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
		switch c := papCode(p.code); {
		case c == papRequest && ours:
			pap{l}.requested(p)
		case (c == papAck || c == papNak) && theirs:
			pap{l}.answered(p)
		}
	case ProtoCHAP:
		switch c := chapCode(p.code); {
		case c == chapResponse && ours:
			chap{l}.responded(p)
		case c == chapChallenge && theirs:
			chap{l}.challenged(p)
		case (c == chapSuccess || c == chapFailure) && theirs:
			chap{l}.answered(p)
		}
	case ProtoIPv4, ProtoIPv6, ProtoMPPE, ProtoIPCP, ProtoIPV6CP, ProtoCCP, ProtoLCP:
	}
}

// asked is the attempt that the owner is deciding; 0: none. Attempts have numbers because an answer may come when the peer has begun
// anew, perhaps under another name.
func (a auth) asked() uint32 {
	s := &a.l.s.Authenticator
	if s.Progress != authAsked && s.Progress != authHeld {
		return 0
	}
	return s.Attempt
}

// verdict is the owner's answer to EvAuthRequest.
func (a auth) verdict(c CmdAuthResult) {
	l := a.l
	s := &l.s.Authenticator
	if s.Progress != authAsked || s.Attempt != c.Attempt {
		return
	}
	success, _, proved := authenticatorResponse(c.Success)
	if l.s.LCP.Auth == AuthMSCHAPv2 && c.OK && !proved {
		// The peer would hang up on a Success that proves nothing (RFC 2759, 5).
		l.anomaly("the verdict on an MS-CHAPv2 login has no authenticator response: it counts as a refusal")
		c.OK = false
	}
	if c.Unjudged && !c.OK && l.s.Phase == PhaseNetwork {
		a.abandon()
		return
	}
	s.Progress, s.Message, s.Success, s.Error, s.Forgotten = authFailed, c.Message, success, c.Error, false
	if !l.cfg.Hold {
		s.Response = nil
	}
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
	if l.s.LCP.Auth.microsoft() {
		a.learn(c.Keys)
	}
	a.rechallenge()
	a.resume()
}

// rechallenge plans the next challenge of a peer that has been let in.
func (a auth) rechallenge() {
	l := a.l
	if l.s.LCP.Auth.protocol() == ProtoCHAP && l.cfg.Rechallenge > 0 {
		l.s.Authenticator.Rechallenge = l.now + l.cfg.Rechallenge
	}
}

// abandon gives up a challenge of a peer that has been let in before. There is no verdict to tell: a Success would vouch for what nobody
// has checked, and with MS-CHAPv2 it cannot be made. Repeats of the Response are ignored.
func (a auth) abandon() {
	s := &a.l.s.Authenticator
	s.Progress = authIdle
	if !a.l.cfg.Hold {
		s.Response = nil
	}
	a.rechallenge()
	a.l.event(EvUnjudged{})
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
		a.send(newFrame(ProtoPAP, c, id, []byte{byte(len(m))}, m))
	case AuthCHAPMD5, AuthMSCHAPv1, AuthMSCHAPv2:
		c := chapFailure
		if ok {
			c = chapSuccess
		}
		a.send(newFrame(ProtoCHAP, c, id, truncate([]byte(chap(a).verdict(ok)), 255)))
	case AuthNone:
	}
}

func (a auth) send(frame []byte) { a.l.out.Frames = append(a.l.out.Frames, frame) }

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
		chap{l}.challenge()
	}
	if due(&l.s.Authenticator.Deadline, l.now) {
		chap{l}.challenge()
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
		pap{l}.request()
	default:
		chap{l}.respond()
	}
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

// learn keeps the keys of a login, if they are for anything. Interop: logins by MS-CHAP in both directions make two sets of keys, and
// RFC 3079 means those of who began the call, which PPP does not know: there is no MPPE then, as with pppd.
func (a auth) learn(k Keys) {
	s := &a.l.s
	if a.l.cfg.MPPE == MPPEOff || !k.known() || s.LCP.Auth.microsoft() && s.LCP.Answer.microsoft() {
		return
	}
	s.CCP.Keys = Keys{Send: bytes.Clone(k.Send), Recv: bytes.Clone(k.Recv)}
	a.l.out.Persist = true
}

// cutCounted cuts a field off that begins with its length in one octet.
func cutCounted(b []byte) (field, rest []byte, ok bool) {
	if len(b) == 0 || int(b[0]) > len(b)-1 {
		return nil, nil, false
	}
	return b[1 : 1+int(b[0])], b[1+int(b[0]):], true
}
