package wire

import "io"

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
	ProblemValue                                 // a value that is not allowed (P33, P35, P36)
)

// Problem is what is wrong with a received message.
type Problem struct {
	Kind    ProblemKind
	Code    uint16      // ErrCodeXxx: the general error code for Result.Error
	Message MessageType // 0 when it could not be read
	Vendor  uint16
	Type    AVPType // with Vendor: the AVP, if one is to blame
	Text    string
}

// Error is Text.
func (p *Problem) Error() string { return p.Text }

// Result is the Result to tell the peer.
func (p *Problem) Result() Result {
	return Result{Code: StopError, Error: p.Code, HasError: true, Text: p.Text}
}

// ClearsTunnel reports whether the whole tunnel must go even if the message names a session (P20, P26).
func (p *Problem) ClearsTunnel() bool { return false }

// ParseMessage is a stub.
func ParseMessage(payload []byte) (Message, error) { return Message{}, nil }

// Unhide is a stub.
func (m *Message) Unhide(secret []byte) error { return nil }

// ValidateOptions relaxes Validate.
type ValidateOptions struct {
	PRE13 bool // tolerate AVP 20 and AVP 10 in session messages (P281, P282)
}

// Validate is a stub.
func (m *Message) Validate(opts ValidateOptions) (ignored []string, err error) { return nil, nil }

// Version is a stub.
func (m Message) Version() (ver, rev uint8, ok bool) { return 0, 0, false }

// Uint16 is a stub.
func (m Message) Uint16(t AVPType) (uint16, bool) { return 0, false }

// Uint32 is a stub.
func (m Message) Uint32(t AVPType) (uint32, bool) { return 0, false }

// Uint64 is a stub.
func (m Message) Uint64(t AVPType) (uint64, bool) { return 0, false }

// Bytes is a stub.
func (m Message) Bytes(t AVPType) ([]byte, bool) { return nil, false }

// Text is a stub.
func (m Message) Text(t AVPType) (string, bool) { return "", false }

// Has is a stub.
func (m Message) Has(t AVPType) bool { return false }

// Result is a stub.
func (m Message) Result() (Result, bool) { return Result{}, false }

// CallErrors is a stub.
func (m Message) CallErrors() (errors [6]uint32, ok bool) { return errors, false }

// ACCM is a stub.
func (m Message) ACCM() (send, receive uint32, ok bool) { return 0, 0, false }

// Uint16 is a stub.
func Uint16(t AVPType, v uint16) AVP { return AVP{} }

// Uint32 is a stub.
func Uint32(t AVPType, v uint32) AVP { return AVP{} }

// Uint64 is a stub.
func Uint64(t AVPType, v uint64) AVP { return AVP{} }

// Bytes is a stub.
func Bytes(t AVPType, v []byte) AVP { return AVP{} }

// Text is a stub.
func Text(t AVPType, s string) AVP { return AVP{} }

// Flag is a stub.
func Flag(t AVPType) AVP { return AVP{} }

// CallErrorsAVP is a stub.
func CallErrorsAVP(errors [6]uint32) AVP { return AVP{} }

// ACCMAVP is a stub.
func ACCMAVP(send, receive uint32) AVP { return AVP{} }

// ResultAVP is a stub.
func ResultAVP(r Result, pre13 bool) AVP { return AVP{} }

// NewMessage is a stub.
func NewMessage(t MessageType, avps ...AVP) Message { return Message{} }

// Hiding says how to hide AVPs.
type Hiding struct {
	Secret []byte
	Random io.Reader
}

// AppendMessage is a stub.
func AppendMessage(dst []byte, tunnelID, sessionID, ns, nr uint16, m Message, hide *Hiding) []byte {
	return dst
}

// ChallengeResponse is a stub.
func ChallengeResponse(id uint8, secret, challenge []byte) [16]byte { return [16]byte{} }

// Summary is a stub.
func Summary(datagram []byte) string { return "" }

// Known reports whether this implementation handles messages of type t.
func (t MessageType) Known() bool { return false }

// Session reports whether t belongs to a session: a problem with it is answered by CDN, not StopCCN.
func (t MessageType) Session() bool { return false }

// String is a stub.
func (t MessageType) String() string { return "" }

// String is a stub.
func (t AVPType) String() string { return "" }

// String is a stub.
func (r Result) String() string { return "" }

// StopString is a stub.
func (r Result) StopString() string { return "" }

// CDNString is a stub.
func (r Result) CDNString() string { return "" }
