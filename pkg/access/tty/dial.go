package tty

import (
	"fmt"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// Reason says why a call could not be placed.
type Reason uint8

// Reasons.
const (
	NoCarrier   Reason = iota // the other end is no modem, or has hung up
	Busy                      // the other end is
	NoDialTone                // there is no exchange
	Timeout                   // nothing came of it in the time that there was
	Framing                   // connected, but what was to come before PPP did not
	InUse                     // the line has another call, or is not ready again after one
	Unavailable               // the device is not there, or its modem does not answer
	Refused                   // the modem would not do what the script has it do
	BadNumber                 // it is none, or too long
)

// String is the reason in words.
func (r Reason) String() string {
	switch r {
	case NoCarrier:
		return "no carrier"
	case Busy:
		return "busy"
	case NoDialTone:
		return "no dial tone"
	case Timeout:
		return "timeout"
	case Framing:
		return "no framing"
	case InUse:
		return "line in use"
	case Unavailable:
		return "line unavailable"
	case Refused:
		return "refused by the modem"
	case BadNumber:
		return "bad number"
	}
	return fmt.Sprintf("Reason(%d)", uint8(r))
}

// CDN is the result code by which an LNS learns of it (P98; RFC 2661, 4.4.2).
func (r Reason) CDN() uint16 {
	switch r {
	case NoCarrier:
		return wire.CDNNoCarrier
	case Busy:
		return wire.CDNBusy
	case NoDialTone:
		return wire.CDNNoDialTone
	case Timeout:
		return wire.CDNTimeout
	case Framing:
		return wire.CDNNoFraming
	case InUse, Unavailable, Refused:
		return wire.CDNNoFacilitiesTemp
	case BadNumber:
		return wire.CDNInvalidDestination
	}
	return wire.CDNError
}

// DialError is a call that could not be placed.
type DialError struct {
	Device string
	Reason Reason
	Err    error // what there is to say beyond; may be nil
}

// Error is one line.
func (e *DialError) Error() string {
	s := fmt.Sprintf("dial on %s: %v", e.Device, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives what there is to say beyond the reason.
func (e *DialError) Unwrap() error { return e.Err }

// CDN is the result code by which an LNS learns of it.
func (e *DialError) CDN() uint16 { return e.Reason.CDN() }
