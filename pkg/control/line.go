package control

import (
	"slices"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// AccessLine is what a LAC knows of the line that a subscriber is on (RFC 5515; P222). It goes into ICRQ.
type AccessLine struct {
	CircuitID []byte // of the line at the access node, 2..63 octets, opaque; empty: not sent
	RemoteID  []byte // of the subscriber, 2..63 octets, opaque; empty: not sent
	Values    []LineValue
}

// LineValue is one number about a line: a rate in bit/s, a delay in milliseconds, or a few octets read as one number.
type LineValue struct {
	Attribute wire.LineAttribute
	Value     uint64
}

// Value is the number of an attribute; ok is false if it was not sent. l may be nil.
func (l *AccessLine) Value(t wire.LineAttribute) (v uint64, ok bool) {
	if l == nil {
		return 0, false
	}
	i := slices.IndexFunc(l.Values, func(x LineValue) bool { return x.Attribute == t })
	if i < 0 {
		return 0, false
	}
	return l.Values[i].Value, true
}

// SetValue sets the number of an attribute.
func (l *AccessLine) SetValue(t wire.LineAttribute, v uint64) {
	i := slices.IndexFunc(l.Values, func(x LineValue) bool { return x.Attribute == t })
	if i < 0 {
		l.Values = append(l.Values, LineValue{Attribute: t, Value: v})
		return
	}
	l.Values[i].Value = v
}

// isNumber says whether an attribute is among the Values of an AccessLine.
func isNumber(t wire.LineAttribute) bool { return t != wire.LineCircuitID && t != wire.LineRemoteID }

// ofLine says whether an AVP is of an AccessLine.
func ofLine(a wire.AVP) bool { return a.Vendor == wire.VendorAccessLine }

// readLine is what a message that has been validated says of a line.
func readLine(m wire.Message) *AccessLine {
	l := &AccessLine{}
	for _, a := range m.AVPs {
		if !ofLine(a) {
			continue
		}
		t := wire.LineAttribute(a.Type)
		if isNumber(t) {
			l.SetValue(t, a.Number())
		} else if t == wire.LineCircuitID {
			l.CircuitID = slices.Clone(a.Value)
		} else {
			l.RemoteID = slices.Clone(a.Value)
		}
	}
	return l
}

// appendTo adds the AVPs of a line, which may be nil. What RFC 5515 has no room for is left out: a peer would ignore it.
func (l *AccessLine) appendTo(avps []wire.AVP) []wire.AVP {
	if l == nil {
		return avps
	}
	add := func(a wire.AVP) {
		if wire.LineAttribute(a.Type).Fits(len(a.Value)) {
			avps = append(avps, a)
		}
	}
	add(wire.LineBytes(wire.LineCircuitID, l.CircuitID))
	add(wire.LineBytes(wire.LineRemoteID, l.RemoteID))
	for _, v := range l.Values {
		if isNumber(v.Attribute) {
			add(wire.LineNumber(v.Attribute, v.Value))
		}
	}
	return avps
}
