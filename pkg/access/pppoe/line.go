package pppoe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// vendorBBF is the Broadband Forum, once the ADSL Forum.
const vendorBBF = 3561

// encapsulationLength is that of LineAccessEncapsulation.
const encapsulationLength = 3

// LineField is one thing that an access node tells of a line. The numbers are those of TR-101's sub-tags, and of the AVPs of
// RFC 5515.
type LineField uint8

// The fields.
const (
	LineCircuitID           LineField = 0x01
	LineRemoteID            LineField = 0x02
	LineActualUp            LineField = 0x81 // this one and the following ten: rates
	LineActualDown          LineField = 0x82
	LineMinUp               LineField = 0x83
	LineMinDown             LineField = 0x84
	LineAttainableUp        LineField = 0x85
	LineAttainableDown      LineField = 0x86
	LineMaxUp               LineField = 0x87
	LineMaxDown             LineField = 0x88
	LineMinUpLowPower       LineField = 0x89
	LineMinDownLowPower     LineField = 0x8a
	LineMaxDelayUp          LineField = 0x8b // this one and the following three: interleaving delays
	LineActualDelayUp       LineField = 0x8c
	LineMaxDelayDown        LineField = 0x8d
	LineActualDelayDown     LineField = 0x8e
	LineAccessEncapsulation LineField = 0x90
	LineDSLType             LineField = 0x91
	LineIWF                 LineField = 0xfe
)

// rate says that f is a rate; delay that it is an interleaving delay.
func (f LineField) rate() bool  { return f >= LineActualUp && f <= LineMinDownLowPower }
func (f LineField) delay() bool { return f >= LineMaxDelayUp && f <= LineActualDelayDown }

// Line is what an access node tells of a subscriber's line (TR-101, 3.9.2). Nothing in it is proven: where the access node lets
// them pass, a client may send such tags itself.
type Line struct {
	CircuitID, RemoteID []byte               // as they came; empty: not told
	Rates               map[LineField]uint64 // bit/s, those that were told
	Delays              map[LineField]uint32 // milliseconds, those that were told
	Encapsulation       []byte               // data link, encapsulation 1, encapsulation 2; empty: not told
	DSLType             uint32               // 0: not told
	IWF                 bool                 // PPP over ATM comes through an interworking function
}

// Empty says that nothing was told.
func (l *Line) Empty() bool {
	return len(l.CircuitID) == 0 && len(l.RemoteID) == 0 && len(l.Rates) == 0 && len(l.Delays) == 0 &&
		len(l.Encapsulation) == 0 && l.DSLType == 0 && !l.IWF
}

// LineAttribute is one AVP of RFC 5515: vendor 3561, and never mandatory.
type LineAttribute struct {
	Type  uint16
	Value []byte
}

// Attributes gives the line as AVPs of an ICRQ (RFC 5515, 5; P222), in the order of their types. A circuit or remote id that is no
// such AVP, because it has not 2 to 63 octets, is left out.
func (l *Line) Attributes() (all []LineAttribute) {
	add := func(f LineField, value []byte) { all = append(all, LineAttribute{uint16(f), value}) }
	for _, id := range []struct {
		field LineField
		value []byte
	}{{LineCircuitID, l.CircuitID}, {LineRemoteID, l.RemoteID}} {
		if len(id.value) >= 2 && len(id.value) <= 63 {
			add(id.field, id.value)
		}
	}
	for f := LineActualUp; f <= LineActualDelayDown; f++ {
		if rate, ok := l.Rates[f]; ok {
			add(f, binary.BigEndian.AppendUint64(nil, rate))
		}
		if delay, ok := l.Delays[f]; ok {
			add(f, binary.BigEndian.AppendUint32(nil, delay))
		}
	}
	if len(l.Encapsulation) == encapsulationLength {
		add(LineAccessEncapsulation, l.Encapsulation)
	}
	if l.DSLType != 0 {
		add(LineDSLType, binary.BigEndian.AppendUint32(nil, l.DSLType))
	}
	if l.IWF {
		add(LineIWF, nil)
	}
	return all
}

// errLine is about a sub-tag whose length cannot be.
var errLine = errors.New("access line sub-tag of a wrong length")

// parseLine reads the value of a Vendor-Specific tag; false: it is another vendor's. Sub-tags of unknown types are skipped. The
// result has memory of its own.
func parseLine(b []byte) (l Line, ours bool, err error) {
	if len(b) < 4 || binary.BigEndian.Uint32(b) != vendorBBF {
		return Line{}, false, nil
	}
	for b = b[4:]; len(b) > 0; {
		if len(b) < 2 || int(b[1]) > len(b)-2 {
			return Line{}, true, errLine
		}
		f, value := LineField(b[0]), b[2:2+int(b[1])]
		if !l.set(f, value) {
			return Line{}, true, errLine
		}
		b = b[2+len(value):]
	}
	return l, true, nil
}

// set takes one sub-tag. It is false when its length is not that of its type.
func (l *Line) set(f LineField, value []byte) bool {
	switch {
	case f == LineCircuitID:
		l.CircuitID = append([]byte{}, value...)
		return true
	case f == LineRemoteID:
		l.RemoteID = append([]byte{}, value...)
		return true
	case f == LineIWF:
		l.IWF = true
		return len(value) == 0
	case f == LineAccessEncapsulation:
		l.Encapsulation = append([]byte{}, value...)
		return len(value) == encapsulationLength
	case f.rate(), f.delay(), f == LineDSLType:
		if len(value) != 4 {
			return false
		}
		l.setNumber(f, binary.BigEndian.Uint32(value))
	}
	return true
}

func (l *Line) setNumber(f LineField, v uint32) {
	switch {
	case f == LineDSLType:
		l.DSLType = v
	case f.rate():
		if l.Rates == nil {
			l.Rates = map[LineField]uint64{}
		}
		l.Rates[f] = 1000 * uint64(v) // TR-101 tells kbit/s
	default:
		if l.Delays == nil {
			l.Delays = map[LineField]uint32{}
		}
		l.Delays[f] = v
	}
}

// lineNames are those of rates and delays.
var lineNames = [...]string{
	"actual up", "actual down", "minimum up", "minimum down", "attainable up", "attainable down", "maximum up", "maximum down",
	"low-power minimum up", "low-power minimum down",
	"maximum delay up", "actual delay up", "maximum delay down", "actual delay down",
}

// String is the line in one printable line of text.
func (l *Line) String() string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if len(l.CircuitID) > 0 {
		add("circuit %q", l.CircuitID)
	}
	if len(l.RemoteID) > 0 {
		add("remote %q", l.RemoteID)
	}
	for f := LineActualUp; f <= LineActualDelayDown; f++ {
		if rate, ok := l.Rates[f]; ok {
			add("%s %d bit/s", lineNames[f-LineActualUp], rate)
		}
		if delay, ok := l.Delays[f]; ok {
			add("%s %d ms", lineNames[f-LineActualUp], delay)
		}
	}
	if len(l.Encapsulation) > 0 {
		add("encapsulation %x", l.Encapsulation)
	}
	if l.DSLType != 0 {
		add("type %d", l.DSLType)
	}
	if l.IWF {
		add("interworking")
	}
	return strings.Join(parts, ", ")
}
