package wire

import (
	"fmt"
	"strconv"
)

// ProblemKind classifies what is wrong with a message, for counters.
type ProblemKind uint8

// Kinds of problem.
const (
	ProblemNoMessageType  ProblemKind = iota + 1 // Message Type AVP missing, not first or unreadable (P20)
	ProblemLength                                // an AVP runs past the message, is too short or has a wrong length (P21, P28)
	ProblemTooMany                               // more than MaxAVPs AVPs
	ProblemUnknownMessage                        // unknown message type with M set: clears the tunnel (P26)
	ProblemUnknownAVP                            // unknown AVP with M set (P23, P24, P25)
	ProblemHidden                                // a hidden AVP with M set cannot be read, or one that must not be hidden is (P41-P43)
	ProblemMissing                               // a mandatory AVP is missing (P32)
	ProblemValue                                 // a value that is not allowed (P35, P36)
)

// String is a short name, fit for a counter label.
func (k ProblemKind) String() string {
	switch k {
	case ProblemNoMessageType:
		return "no-message-type"
	case ProblemLength:
		return "length"
	case ProblemTooMany:
		return "too-many-avps"
	case ProblemUnknownMessage:
		return "unknown-message"
	case ProblemUnknownAVP:
		return "unknown-avp"
	case ProblemHidden:
		return "hidden"
	case ProblemMissing:
		return "missing-avp"
	case ProblemValue:
		return "value"
	}
	return "problem " + strconv.Itoa(int(k))
}

// Problem is what is wrong with a received message, in the words that its sender is told. It is the dynamic type of
// every error of ParseMessage, Unhide and Validate.
type Problem struct {
	Kind    ProblemKind
	Code    uint16      // ErrCodeXxx, the general error code for Result.Error
	Message MessageType // 0 when it could not be read
	Vendor  uint16
	Type    AVPType // with Vendor: the AVP to blame; 0/0 when none is
	Text    string  // printable ASCII made of our own words and numbers: no foreign text, no secrets
}

// Error is Text.
func (p *Problem) Error() string { return p.Text }

// Result is what to tell the peer: result 2, general error, in StopCCN and CDN alike.
func (p *Problem) Result() Result {
	return Result{Code: StopError, Error: p.Code, HasError: true, Text: p.Text}
}

// ClearsTunnel reports whether the tunnel must go even though the message may name a session: its type is unknown or
// missing (P20, P26), or it belongs to the tunnel.
func (p *Problem) ClearsTunnel() bool {
	return !p.Message.Session()
}

// avpProblem blames one AVP of a message.
func avpProblem(kind ProblemKind, code uint16, m MessageType, a AVP, what string) *Problem {
	return &Problem{
		Kind: kind, Code: code, Message: m, Vendor: a.Vendor, Type: a.Type,
		Text: fmt.Sprintf("%s: %s", avpName(m, a), what),
	}
}

// avpName names an AVP for notes and problems: "ICRQ: Called Number (vendor 0 type 21)".
func avpName(m MessageType, a AVP) string {
	if row := rowOf(a); row != nil {
		return fmt.Sprintf("%s: %s (vendor %d type %d)", m, row.name, a.Vendor, a.Type)
	}
	return fmt.Sprintf("%s: vendor %d type %d", m, a.Vendor, a.Type)
}
