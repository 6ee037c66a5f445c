package call

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// causeNames are the PPP disconnect causes of RFC 3145, section 3.
var causeNames = [...]string{
	1:  "administrative disconnect",
	2:  "proxy LCP needed but not sent",
	3:  "LCP Terminate-Request",
	4:  "encryption refused",
	5:  "LCP time-out",
	6:  "no LCP packets",
	7:  "loop",
	8:  "LCP echo time-out",
	9:  "unexpected endpoint discriminator",
	10: "unexpected MRRU",
	11: "unexpected short sequence number option",
	12: "call-back refused",
	13: "authentication time-out",
	14: "unexpected authentication protocol",
	15: "authentication protocol refused",
	16: "authentication failed",
	17: "NCP time-out",
	18: "no NCP available",
	19: "addresses could not be agreed on",
	20: "no address allowed",
}

// Said is what a CDN says of a session's end in numbers; zero: there was none.
type Said struct {
	Result uint16 // wire.CDNXxx
	why    disconnect
}

// ReadSaid reads a result code and the value of a PPP Disconnect Cause AVP, nil without one.
func ReadSaid(result uint16, value []byte) Said {
	s := Said{Result: result}
	if len(value) >= 5 {
		s.why = disconnect{
			code: binary.BigEndian.Uint16(value), protocol: ppp.Protocol(binary.BigEndian.Uint16(value[2:])), direction: direction(value[4]),
		}
	}
	return s
}

// Cause is the PPP disconnect cause (RFC 3145, 3); 0: not told.
func (s Said) Cause() uint16 { return s.why.code }

// ByUser says that the user's end has asked for what Cause is.
func (s Said) ByUser() bool { return s.why.direction == byPeer }

// DisconnectText puts the value of a PPP Disconnect Cause AVP into words (P208): cause, which end asked, and the peer's own text
// as it came, so that whoever writes it must escape it. Nothing for a value that is too short or gives no information.
func DisconnectText(value []byte) string {
	if len(value) < 5 {
		return ""
	}
	code := binary.BigEndian.Uint16(value)
	if code == 0 {
		return ""
	}
	words := fmt.Sprintf("PPP disconnect cause %d", code)
	if int(code) < len(causeNames) {
		words = fmt.Sprintf("%s (%d)", causeNames[code], code)
	}
	switch direction(value[4]) {
	case byPeer:
		words += ", at the user's end"
	case byUs:
		words += ", at the LNS's end"
	case global:
	}
	if text := strings.ToValidUTF8(string(value[5:]), "?"); text != "" {
		words += fmt.Sprintf(": %q", text)
	}
	return words
}
