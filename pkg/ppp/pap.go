package ppp

import "bytes"

// papCode is a code of PAP (RFC 1334, 2.2).
type papCode uint8

const (
	papRequest papCode = 1 + iota
	papAck
	papNak
)

// pap is both sides of PAP.
type pap struct{ l *Link }

// request sends Authenticate-Request; its identifier changes every time (RFC 1334, 2.2.1).
func (p pap) request() {
	l := p.l
	s := &l.s.Claimant
	s.ID++
	s.Tries++
	s.Deadline = l.now + l.cfg.Restart
	l.out.Persist = true
	user, password := truncate([]byte(l.cfg.User), 255), truncate(l.cfg.Password, 255)
	auth{l}.send(newFrame(ProtoPAP, papRequest, s.ID, []byte{byte(len(user))}, user, []byte{byte(len(password))}, password))
}

func (p pap) requested(in packet) {
	l := p.l
	s := &l.s.Authenticator
	name, rest, ok := cutCounted(in.data)
	password, _, ok2 := cutCounted(rest)
	if !ok || !ok2 {
		l.anomaly("broken PAP Authenticate-Request")
		return
	}
	switch s.Progress {
	case authWaiting:
	case authAsked:
		s.ID = in.id // the peer may only look at the answer to its latest request
		if !s.Forgotten {
			return
		}
	case authPassed, authFailed:
		auth{l}.reply(in.id)
		return
	case authIdle, authHeld:
		return
	}
	s.ID, s.Name, s.Forgotten, s.Proxied = in.id, l.keep(name), false, false
	lac{l}.presented(password)
	auth{l}.put(authAsked)
	l.event(EvAuthRequest{Attempt: s.Attempt, Method: AuthPAP, ID: in.id, Name: string(name), Password: bytes.Clone(password)})
}

func (p pap) answered(in packet) {
	s := &p.l.s.Claimant
	// Any request of this attempt may be the one that got the answer.
	if s.Progress != authWaiting || in.id-s.FirstID > s.ID-s.FirstID {
		return
	}
	text, _, _ := cutCounted(in.data)
	auth(p).claimed(papCode(in.code) == papAck, string(text))
}
