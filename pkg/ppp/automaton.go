package ppp

import "strings"

// state is a state of the option negotiation automaton, numbered as in RFC 1661, 4.1.
type state uint8

const (
	stInitial state = iota
	stStarting
	stClosed
	stStopped
	stClosing
	stStopping
	stReqSent
	stAckRcvd
	stAckSent
	stOpened
)

// timed says whether the restart timer runs in s.
func (s state) timed() bool { return s >= stClosing && s <= stAckSent }

// negotiating says whether a Configure-Request of the peer is worth judging in s.
func (s state) negotiating() bool { return s == stStopped || s >= stReqSent }

// asking says whether an answer to our Configure-Request can make sense in s.
func (s state) asking() bool { return s >= stReqSent }

// idle says whether the protocol has come to rest without being open.
func (s state) idle() bool { return s <= stStopped }

// trigger is an event of the automaton, in the order of the table's rows.
type trigger uint8

const (
	trUp trigger = iota
	trDown
	trOpen
	trClose
	trTimeoutMore // TO+
	trTimeoutLast // TO-
	trRequestGood // RCR+
	trRequestBad  // RCR-
	trAck         // RCA
	trNak         // RCN: Configure-Nak or Configure-Reject
	trTerminate   // RTR
	trTermAck     // RTA
	trUnknown     // RUC
	trRejectGood  // RXJ+: a permitted reject
	trRejectBad   // RXJ-: a catastrophic one
	trEcho        // RXR: Echo-Request, Echo-Reply or Discard-Request
)

// actions is a set of the automaton's actions. They are done in the order of the constants, which agrees with the
// order in every cell of the table.
type actions uint16

const (
	actTLD actions = 1 << iota // this layer down
	actIRC                     // initialise restart count
	actZRC                     // zero restart count
	actSCR                     // send Configure-Request
	actSCA                     // send Configure-Ack
	actSCN                     // send Configure-Nak or -Reject
	actSTR                     // send Terminate-Request
	actSTA                     // send Terminate-Ack
	actSCJ                     // send Code-Reject
	actSER                     // send Echo-Reply
	actTLU                     // this layer up
	actTLS                     // this layer started
	actTLF                     // this layer finished
)

// String writes the set as the table does: "irc,scr,sca".
func (a actions) String() string {
	var names []string
	for i, n := range [...]string{"tld", "irc", "zrc", "scr", "sca", "scn", "str", "sta", "scj", "ser", "tlu", "tls", "tlf"} {
		if a&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, ",")
}

// on is one cell of the table of RFC 1661, 4.1. It is false for a cell that the table leaves empty: the event cannot
// happen or means nothing there, and the state stays. Passive Stopped ([p]) is entered by Open alone; the restart
// option ([r]) is not used.
func (s state) on(t trigger) (actions, state, bool) {
	switch s {
	case stInitial:
		return onInitial(t)
	case stStarting:
		return onStarting(t)
	case stClosed:
		return onClosed(t)
	case stStopped:
		return onStopped(t)
	case stClosing:
		return onClosing(t)
	case stStopping:
		return onStopping(t)
	case stReqSent:
		return onReqSent(t)
	case stAckRcvd:
		return onAckRcvd(t)
	case stAckSent:
		return onAckSent(t)
	case stOpened:
		return onOpened(t)
	}
	return 0, s, false
}

func onInitial(t trigger) (actions, state, bool) {
	switch t {
	case trUp:
		return 0, stClosed, true
	case trOpen:
		return actTLS, stStarting, true
	case trClose:
		return 0, stInitial, true
	case trDown, trTimeoutMore, trTimeoutLast, trRequestGood, trRequestBad, trAck, trNak, trTerminate, trTermAck,
		trUnknown, trRejectGood, trRejectBad, trEcho:
	}
	return 0, stInitial, false
}

func onStarting(t trigger) (actions, state, bool) {
	switch t {
	case trUp:
		return actIRC | actSCR, stReqSent, true
	case trOpen:
		return 0, stStarting, true
	case trClose:
		return actTLF, stInitial, true
	case trDown, trTimeoutMore, trTimeoutLast, trRequestGood, trRequestBad, trAck, trNak, trTerminate, trTermAck,
		trUnknown, trRejectGood, trRejectBad, trEcho:
	}
	return 0, stStarting, false
}

func onClosed(t trigger) (actions, state, bool) {
	switch t {
	case trDown:
		return 0, stInitial, true
	case trOpen:
		return actIRC | actSCR, stReqSent, true
	case trClose, trTermAck, trRejectGood, trEcho:
		return 0, stClosed, true
	case trRequestGood, trRequestBad, trAck, trNak, trTerminate:
		return actSTA, stClosed, true
	case trUnknown:
		return actSCJ, stClosed, true
	case trRejectBad:
		return actTLF, stClosed, true
	case trUp, trTimeoutMore, trTimeoutLast:
	}
	return 0, stClosed, false
}

func onStopped(t trigger) (actions, state, bool) {
	switch t {
	case trDown:
		return actTLS, stStarting, true
	case trOpen, trTermAck, trRejectGood, trEcho:
		return 0, stStopped, true
	case trClose:
		return 0, stClosed, true
	case trRequestGood:
		return actIRC | actSCR | actSCA, stAckSent, true
	case trRequestBad:
		return actIRC | actSCR | actSCN, stReqSent, true
	case trAck, trNak, trTerminate:
		return actSTA, stStopped, true
	case trUnknown:
		return actSCJ, stStopped, true
	case trRejectBad:
		return actTLF, stStopped, true
	case trUp, trTimeoutMore, trTimeoutLast:
	}
	return 0, stStopped, false
}

func onClosing(t trigger) (actions, state, bool) {
	switch t {
	case trDown:
		return 0, stInitial, true
	case trOpen:
		return 0, stStopping, true
	case trClose, trRequestGood, trRequestBad, trAck, trNak, trRejectGood, trEcho:
		return 0, stClosing, true
	case trTimeoutMore:
		return actSTR, stClosing, true
	case trTimeoutLast, trTermAck, trRejectBad:
		return actTLF, stClosed, true
	case trTerminate:
		return actSTA, stClosing, true
	case trUnknown:
		return actSCJ, stClosing, true
	case trUp:
	}
	return 0, stClosing, false
}

func onStopping(t trigger) (actions, state, bool) {
	switch t {
	case trDown:
		return 0, stStarting, true
	case trOpen, trRequestGood, trRequestBad, trAck, trNak, trRejectGood, trEcho:
		return 0, stStopping, true
	case trClose:
		return 0, stClosing, true
	case trTimeoutMore:
		return actSTR, stStopping, true
	case trTimeoutLast, trTermAck, trRejectBad:
		return actTLF, stStopped, true
	case trTerminate:
		return actSTA, stStopping, true
	case trUnknown:
		return actSCJ, stStopping, true
	case trUp:
	}
	return 0, stStopping, false
}

func onReqSent(t trigger) (actions, state, bool) {
	switch t {
	case trDown:
		return 0, stStarting, true
	case trOpen, trTermAck, trRejectGood, trEcho:
		return 0, stReqSent, true
	case trClose:
		return actIRC | actSTR, stClosing, true
	case trTimeoutMore:
		return actSCR, stReqSent, true
	case trTimeoutLast, trRejectBad:
		return actTLF, stStopped, true
	case trRequestGood:
		return actSCA, stAckSent, true
	case trRequestBad:
		return actSCN, stReqSent, true
	case trAck:
		return actIRC, stAckRcvd, true
	case trNak:
		return actIRC | actSCR, stReqSent, true
	case trTerminate:
		return actSTA, stReqSent, true
	case trUnknown:
		return actSCJ, stReqSent, true
	case trUp:
	}
	return 0, stReqSent, false
}

func onAckRcvd(t trigger) (actions, state, bool) {
	switch t {
	case trDown:
		return 0, stStarting, true
	case trOpen, trEcho:
		return 0, stAckRcvd, true
	case trClose:
		return actIRC | actSTR, stClosing, true
	case trTimeoutMore, trAck, trNak:
		return actSCR, stReqSent, true
	case trTimeoutLast, trRejectBad:
		return actTLF, stStopped, true
	case trRequestGood:
		return actSCA | actTLU, stOpened, true
	case trRequestBad:
		return actSCN, stAckRcvd, true
	case trTerminate:
		return actSTA, stReqSent, true
	case trTermAck, trRejectGood:
		return 0, stReqSent, true
	case trUnknown:
		return actSCJ, stAckRcvd, true
	case trUp:
	}
	return 0, stAckRcvd, false
}

func onAckSent(t trigger) (actions, state, bool) {
	switch t {
	case trDown:
		return 0, stStarting, true
	case trOpen, trTermAck, trRejectGood, trEcho:
		return 0, stAckSent, true
	case trClose:
		return actIRC | actSTR, stClosing, true
	case trTimeoutMore:
		return actSCR, stAckSent, true
	case trTimeoutLast, trRejectBad:
		return actTLF, stStopped, true
	case trRequestGood:
		return actSCA, stAckSent, true
	case trRequestBad:
		return actSCN, stReqSent, true
	case trAck:
		return actIRC | actTLU, stOpened, true
	case trNak:
		return actIRC | actSCR, stAckSent, true
	case trTerminate:
		return actSTA, stReqSent, true
	case trUnknown:
		return actSCJ, stAckSent, true
	case trUp:
	}
	return 0, stAckSent, false
}

func onOpened(t trigger) (actions, state, bool) {
	switch t {
	case trDown:
		return actTLD, stStarting, true
	case trOpen, trRejectGood:
		return 0, stOpened, true
	case trClose:
		return actTLD | actIRC | actSTR, stClosing, true
	case trRequestGood:
		return actTLD | actSCR | actSCA, stAckSent, true
	case trRequestBad:
		return actTLD | actSCR | actSCN, stReqSent, true
	case trAck, trNak, trTermAck:
		return actTLD | actSCR, stReqSent, true
	case trTerminate:
		return actTLD | actZRC | actSTA, stStopping, true
	case trUnknown:
		return actSCJ, stOpened, true
	case trRejectBad:
		return actTLD | actIRC | actSTR, stStopping, true
	case trEcho:
		return actSER, stOpened, true
	case trUp, trTimeoutMore, trTimeoutLast:
	}
	return 0, stOpened, false
}
