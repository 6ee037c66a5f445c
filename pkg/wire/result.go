package wire

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parseResult reads the value of a Result Code AVP (RFC 2661, 4.4.2): 2 octets, 4, or 4 and text.
func parseResult(b []byte) (Result, bool) {
	switch {
	case len(b) == 2:
		return Result{Code: binary.BigEndian.Uint16(b)}, true
	case len(b) >= 4:
		return Result{
			Code:     binary.BigEndian.Uint16(b),
			Error:    binary.BigEndian.Uint16(b[2:]),
			HasError: true,
			Text:     string(b[4:]),
		}, true
	}
	return Result{}, false
}

// ResultAVP makes a Result Code AVP. Text goes out as valid UTF-8 (P37), cut between
// characters if it does not fit. A text needs an error code before it, so ErrCodeNone stands there if r has none.
//
// Interop: for a peer older than draft 13 the error code is always present, and error 8, which it does not know, is sent
// as 6 with a text (P285).
func ResultAVP(r Result, pre13 bool) AVP {
	if !r.HasError {
		r.Error = ErrCodeNone
	}
	if pre13 && r.Code == StopError && r.Error == ErrCodeUnknownMandatory {
		r.Error = ErrCodeVendor
		if r.Text == "" {
			r.Text = "unknown mandatory AVP"
		}
	}
	v := binary.BigEndian.AppendUint16(make([]byte, 0, 4+len(r.Text)), r.Code)
	if r.HasError || r.Text != "" || pre13 {
		v = binary.BigEndian.AppendUint16(v, r.Error)
		v = append(v, cutText(strings.ToValidUTF8(r.Text, "?"), MaxValue-4)...)
	}
	return Bytes(AVPResultCode, v)
}

// cutText is s, or its first limit octets without a broken last character.
func cutText(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// String is the result in numbers, for where it is not known whether StopCCN or CDN carried it. Like StopString and
// CDNString it quotes the text, so foreign octets are safe in a log (P37).
func (r Result) String() string {
	return r.sentence("result "+strconv.Itoa(int(r.Code)), "error "+strconv.Itoa(int(r.Error)))
}

// StopString is the result of a StopCCN as a readable sentence.
func (r Result) StopString() string {
	detail := errorName(r.Error)
	if r.Code == StopVersion {
		// The error code is the highest version the sender speaks (RFC 2661, 4.4.2).
		detail = fmt.Sprintf("highest version supported %d.%d", r.Error>>8, r.Error&0xff)
	}
	return r.sentence(fmt.Sprintf("%s (%d)", stopName(r.Code), r.Code), detail)
}

// CDNString is the result of a CDN as a readable sentence.
func (r Result) CDNString() string {
	return r.sentence(fmt.Sprintf("%s (%d)", cdnName(r.Code), r.Code), errorName(r.Error))
}

// sentence joins the parts that say something: an absent error code and error 0 do not.
func (r Result) sentence(result, detail string) string {
	s := result
	if r.HasError && r.Error != ErrCodeNone {
		s += ", " + detail
	}
	if r.Text != "" {
		s += ": " + strconv.QuoteToASCII(r.Text)
	}
	return s
}

func stopName(code uint16) string {
	switch code {
	case StopGeneral:
		return "cleared"
	case StopError:
		return "general error"
	case StopChannelExists:
		return "control channel already exists"
	case StopNotAuthorised:
		return "not authorised"
	case StopVersion:
		return "protocol version not supported"
	case StopShutdown:
		return "shutting down"
	case StopFSM:
		return "state machine error"
	case 8:
		return "control connection DS mismatch" // RFC 3308
	}
	return "unknown result"
}

func cdnName(code uint16) string {
	switch code {
	case CDNLostCarrier:
		return "carrier lost"
	case CDNError:
		return "general error"
	case CDNAdmin:
		return "cleared by administrator"
	case CDNNoFacilitiesTemp:
		return "no facilities for now"
	case CDNNoFacilitiesPerm:
		return "no facilities at all"
	case CDNInvalidDestination:
		return "invalid destination"
	case CDNNoCarrier:
		return "no carrier"
	case CDNBusy:
		return "busy"
	case CDNNoDialTone:
		return "no dial tone"
	case CDNTimeout:
		return "call not set up in time"
	case CDNNoFraming:
		return "no framing detected"
	case 12:
		return "session DS mismatch" // RFC 3308
	}
	return "unknown result"
}

// errorName says what a general error code means (RFC 2661, 4.4.2), with its number.
func errorName(code uint16) string {
	name := "unknown error"
	switch code {
	case ErrCodeNone:
		name = "no general error"
	case ErrCodeNoControl:
		name = "no control connection yet"
	case ErrCodeLength:
		name = "wrong length"
	case ErrCodeValue:
		name = "value out of range"
	case ErrCodeResources:
		name = "insufficient resources"
	case ErrCodeSessionID:
		name = "invalid session id"
	case ErrCodeVendor:
		name = "vendor-specific error"
	case ErrCodeTryAnother:
		name = "try another"
	case ErrCodeUnknownMandatory:
		name = "unknown mandatory AVP"
	}
	return fmt.Sprintf("%s (%d)", name, code)
}
