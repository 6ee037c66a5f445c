package pppd

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// Exit codes of pppd (pppd(8), EXIT STATUS; the last is in its source alone).
const (
	exitOK           = 0
	exitUserRequest  = 5
	exitNegotiation  = 10
	exitPeerAuth     = 11
	exitIdle         = 12
	exitConnectTime  = 13
	exitPeerDead     = 15
	exitHangup       = 16
	exitLoopback     = 17
	exitAuthToPeer   = 19
	exitTrafficLimit = 20
)

// said is a reason for the end that a line of the log tells. It counts where the exit code says less: pppd knows no code for half
// of the reasons, and forgets the one it had when nobody answers its Terminate-Request, because it then takes its own closing of
// the channel for a hang-up of the modem.
type said struct {
	begins string // the line
	reason ppp.Reason
	stage  ppp.Stage // how far the link had got at most, if it had not been up
	text   string    // what there is to say beyond the reason
}

// lines are what pppd says before it gives up, in its words of 2.4.9 and 2.5. They are known by their beginning: names and messages
// of the peer come later in them.
var lines = []said{
	{"LCP terminated by peer", ppp.ReasonPeer, ppp.StageAddress, theRest},
	{"LCP: timeout sending Config-Requests", ppp.ReasonNoAnswer, ppp.StageLCP, ""},
	{"Serial line is looped back", ppp.ReasonLoop, ppp.StageLCP, ""},
	{"peer refused to authenticate", ppp.ReasonAuthRefused, ppp.StageAuth, ""},
	{"PAP peer authentication failed", ppp.ReasonAuthFailed, ppp.StageAuth, ""},
	{"CHAP authentication timed out", ppp.ReasonAuthTimeout, ppp.StageAuth, noAnswer},
	{"No response to PAP authenticate-requests", ppp.ReasonAuthTimeout, ppp.StageAuth, noAnswer},
	{"CHAP authentication failed", ppp.ReasonAuthFailed, ppp.StageAuth, notTaken},
	{"PAP authentication failed", ppp.ReasonAuthFailed, ppp.StageAuth, notTaken},
	{"Terminating connection due to lack of activity", ppp.ReasonIdle, ppp.StageUp, ""},
	{"Connect time expired", ppp.ReasonSessionTime, ppp.StageUp, ""},
	{"Serial link appears to be disconnected", ppp.ReasonEcho, ppp.StageAddress, ""},
	{"Traffic limit reached", ppp.ReasonLocal, ppp.StageUp, limit},
	{"Terminating on signal", ppp.ReasonLocal, ppp.StageAddress, told},
	{"Hangup (SIGHUP)", ppp.ReasonLocal, ppp.StageAddress, told},
	// One network protocol may fail and another live on: any later reason counts more.
	{"IPCP: timeout sending Config-Requests", ppp.ReasonNoNetwork, ppp.StageAddress, theLine},
	{"IPV6CP: timeout sending Config-Requests", ppp.ReasonNoNetwork, ppp.StageAddress, theLine},
	{"CCP: timeout sending Config-Requests", ppp.ReasonNoNetwork, ppp.StageAddress, theLine},
	{"IPCP terminated by peer", ppp.ReasonNoNetwork, ppp.StageAddress, theLine},
	{"IPV6CP terminated by peer", ppp.ReasonNoNetwork, ppp.StageAddress, theLine},
	{"Peer refused to agree to our IP address", ppp.ReasonNoNetwork, ppp.StageAddress, theLine},
	{"Could not determine", ppp.ReasonNoNetwork, ppp.StageAddress, theLine},
	{"Peer is not authorized to use remote address", ppp.ReasonNoNetwork, ppp.StageAddress, theLine},
	{"local and remote LL addresses are equal", ppp.ReasonNoNetwork, ppp.StageAddress, theLine},
	{"MPPE required", ppp.ReasonNoNetwork, ppp.StageAddress, theLine},
	{"MPPE disabled", ppp.ReasonNoNetwork, ppp.StageAddress, theLine},
}

// wrongCHAP is the one line that the peer's name comes first in: Peer NAME failed CHAP authentication.
var wrongCHAP = said{"Peer ", ppp.ReasonAuthFailed, ppp.StageAuth, ""}

const (
	noAnswer = "the peer does not answer our login"
	notTaken = "the peer does not take our login"
	told     = "pppd was told to end"
	limit    = "the traffic limit is reached"
	theLine  = "\x00line" // the line itself
	theRest  = "\x00rest" // what the peer says, in brackets
)

// routine begins lines that tell nothing of a failure.
var routine = []string{
	"Using interface", "Renamed interface", "Connect:", "Connect time", "Sent ", "Connection terminated", "Modem hangup", "Plugin ",
	"Overriding ", "Exit.", "no PAP secret found for",
}

// tracker keeps what pppd has said so far.
type tracker struct {
	up   bool // a network protocol has been up
	said said // the reason for the end
	last string
}

// see takes one line of the log.
func (t *tracker) see(line string) {
	for _, begin := range routine {
		if strings.HasPrefix(line, begin) {
			return
		}
	}
	t.last = line
	if t.decided() {
		return // what follows from the first reason
	}
	if strings.HasPrefix(line, wrongCHAP.begins) && strings.HasSuffix(line, " failed CHAP authentication") {
		t.said = wrongCHAP
		return
	}
	for _, s := range lines {
		rest, ok := strings.CutPrefix(line, s.begins)
		if !ok {
			continue
		}
		switch s.text {
		case theLine:
			s.text = line
		case theRest:
			s.text = strings.TrimSuffix(strings.TrimPrefix(rest, " ("), ")")
		}
		t.said = s
		return
	}
}

// decided says that pppd has told a reason that no later line takes back.
func (t *tracker) decided() bool {
	return t.said.reason != ppp.ReasonNone && t.said.reason != ppp.ReasonNoNetwork
}

// end puts the end of a process into the words of package ppp. asked says that we told it to end: whatever it then ran into is
// of no interest, unless it had its own reason before.
func (t *tracker) end(status syscall.WaitStatus, asked bool) EvDown {
	d := t.reason(status)
	if asked && (d.Err != nil || d.Reason == ppp.ReasonLocal) {
		d = t.down(ppp.ReasonLocal, ppp.StageAddress, "")
	}
	return d
}

func (t *tracker) reason(status syscall.WaitStatus) EvDown {
	if status.Signaled() {
		return t.fail(fmt.Sprintf("pppd was ended by signal %d (%v)", status.Signal(), status.Signal()))
	}
	s := t.said
	switch status.ExitStatus() {
	case exitOK, exitNegotiation:
		switch {
		case s.reason != ppp.ReasonNone:
			return t.down(s.reason, s.stage, s.text)
		case t.up:
			return t.down(ppp.ReasonPeer, ppp.StageUp, "")
		}
		return t.down(ppp.ReasonNoAgreement, ppp.StageLCP, t.last)
	case exitHangup:
		if s.reason != ppp.ReasonNone {
			return t.down(s.reason, s.stage, s.text)
		}
		return t.fail("the session vanished under pppd")
	case exitUserRequest: // by somebody else than us
		return t.down(ppp.ReasonLocal, ppp.StageAddress, told)
	case exitPeerAuth: // pppd has no words for a peer that says nothing
		if s.reason == ppp.ReasonAuthRefused || s.reason == ppp.ReasonAuthFailed {
			return t.down(s.reason, s.stage, "")
		}
		return t.down(ppp.ReasonAuthTimeout, ppp.StageAuth, "")
	case exitAuthToPeer:
		if s.reason == ppp.ReasonAuthTimeout {
			return t.down(s.reason, s.stage, s.text)
		}
		return t.down(ppp.ReasonAuthFailed, ppp.StageAuth, notTaken)
	case exitIdle:
		return t.down(ppp.ReasonIdle, ppp.StageUp, "")
	case exitConnectTime:
		return t.down(ppp.ReasonSessionTime, ppp.StageUp, "")
	case exitPeerDead:
		return t.down(ppp.ReasonEcho, ppp.StageAddress, "")
	case exitLoopback:
		return t.down(ppp.ReasonLoop, ppp.StageLCP, "")
	case exitTrafficLimit:
		return t.down(ppp.ReasonLocal, ppp.StageUp, limit)
	}
	text := fmt.Sprintf("pppd failed (exit code %d)", status.ExitStatus())
	if t.last != "" {
		text += ": " + t.last
	}
	return t.fail(text)
}

func (t *tracker) down(r ppp.Reason, s ppp.Stage, text string) EvDown {
	if t.up {
		s = ppp.StageUp
	}
	return EvDown{EvLinkDown: ppp.EvLinkDown{Stage: s, Reason: r, Peer: r == ppp.ReasonPeer, Text: text}}
}

// fail is an end that is no end of PPP.
func (t *tracker) fail(text string) EvDown {
	d := t.down(ppp.ReasonNone, ppp.StageLCP, "")
	d.Err = errors.New(text)
	return d
}
