package wire

import (
	"encoding/binary"
	"io"
	"math"
)

// newAVP makes an AVP of vendor 0 with the M bit of the catalogue; a type without a row gets M=0.
func newAVP(t AVPType, value []byte) AVP {
	row := lookup(t)
	return AVP{Mandatory: row != nil && row.mandatory, Type: t, Value: value}
}

// Bytes makes an AVP of vendor 0 that aliases v.
func Bytes(t AVPType, v []byte) AVP { return newAVP(t, v) }

// Text makes an AVP of vendor 0 from text.
func Text(t AVPType, s string) AVP { return newAVP(t, []byte(s)) }

// Flag makes an AVP of vendor 0 without a value.
func Flag(t AVPType) AVP { return newAVP(t, nil) }

// Uint16 makes an AVP of vendor 0 from a number.
func Uint16(t AVPType, v uint16) AVP {
	return newAVP(t, binary.BigEndian.AppendUint16(nil, v))
}

// Uint32 makes an AVP of vendor 0 from a number.
func Uint32(t AVPType, v uint32) AVP {
	return newAVP(t, binary.BigEndian.AppendUint32(nil, v))
}

// Uint64 makes an AVP of vendor 0 from a number.
func Uint64(t AVPType, v uint64) AVP {
	return newAVP(t, binary.BigEndian.AppendUint64(nil, v))
}

// CallErrorsAVP makes a Call Errors AVP; the order is that of Message.CallErrors.
func CallErrorsAVP(counts [6]uint32) AVP {
	v := make([]byte, 2, 26)
	for _, n := range counts {
		v = binary.BigEndian.AppendUint32(v, n)
	}
	return newAVP(AVPCallErrors, v)
}

// ACCMAVP makes an ACCM AVP.
func ACCMAVP(send, receive uint32) AVP {
	v := make([]byte, 2, 10)
	v = binary.BigEndian.AppendUint32(v, send)
	return newAVP(AVPACCM, binary.BigEndian.AppendUint32(v, receive))
}

// NewMessage makes a message; it keeps avps. The M bit of its type is set for the messages of RFC 2661 and clear for
// those of extensions, which a peer may ignore (RFC 4951, RFC 5515).
func NewMessage(t MessageType, avps ...AVP) Message {
	return Message{Type: t, Mandatory: t.Known(), AVPs: avps}
}

// AppendMessage appends a whole control message: header, Message Type AVP, the AVPs of m in order (P1, P19). Both ids
// are the peer's, 0 while unknown (P14). Reserved bits are always 0 (P287). An AVP with Hidden set is taken as
// ciphertext and goes out as it is.
//
// With hide, the AVPs that the catalogue names (P44) are hidden behind one fresh Random Vector, padded by a random
// number of octets (P45); never in SCCRQ, whose receiver may not have picked a secret yet.
//
// An AVP that cannot go out as asked is left out rather than sent damaged or in clear: its value is longer than MaxValue
// (MaxHiddenValue if it is to be hidden), the message would exceed 65535 octets, or hide.Random fails.
//
// Without hide it does not allocate if dst has room.
func AppendMessage(dst []byte, tunnelID, sessionID, ns, nr uint16, m Message, hide *Hiding) []byte {
	start := len(dst)
	dst = appendControlHeader(dst, tunnelID, sessionID, ns, nr)
	dst = appendAVPHeader(dst, AVP{Mandatory: m.Mandatory, Type: AVPMessageType}, 2)
	dst = binary.BigEndian.AppendUint16(dst, uint16(m.Type))
	if m.Type == MsgSCCRQ || hide != nil && len(hide.Secret) == 0 {
		hide = nil
	}
	var vector []byte
	for i := range m.AVPs {
		a := m.AVPs[i]
		mark, before := len(dst), vector
		if hide != nil && wantsHiding(a) {
			dst, vector = appendHidden(dst, a, hide, vector)
		} else if len(a.Value) <= MaxValue {
			dst = appendAVPHeader(dst, a, len(a.Value))
			dst = append(dst, a.Value...)
		}
		if len(dst)-start > math.MaxUint16 {
			dst, vector = dst[:mark], before
		}
	}
	binary.BigEndian.PutUint16(dst[start+2:], uint16(len(dst)-start))
	return dst
}

// wantsHiding reports whether a is one of the AVPs to hide and still plain.
func wantsHiding(a AVP) bool {
	row := rowOf(a)
	return !a.Hidden && row != nil && row.hidable && row.hide
}

// appendAVPHeader appends the six octets before a value of n octets.
func appendAVPHeader(dst []byte, a AVP, n int) []byte {
	flags := uint16(avpHeaderLen + n)
	if a.Mandatory {
		flags |= avpMandatory
	}
	if a.Hidden {
		flags |= avpHidden
	}
	dst = binary.BigEndian.AppendUint16(dst, flags)
	dst = binary.BigEndian.AppendUint16(dst, a.Vendor)
	return binary.BigEndian.AppendUint16(dst, uint16(a.Type))
}

// appendHidden appends a in hidden form, after a new Random Vector AVP if vector is nil. It returns the vector in use,
// or dst as it was if a cannot be hidden.
func appendHidden(dst []byte, a AVP, hide *Hiding, vector []byte) (out, used []byte) {
	if len(a.Value) > MaxHiddenValue {
		return dst, vector
	}
	// One draw for all that is random: the padding length, the padding, and a vector if there is none yet.
	var random [1 + maxPadding + randomVectorLen]byte
	if _, err := io.ReadFull(hide.Random, random[:]); err != nil {
		return dst, vector
	}
	if vector == nil {
		vector = random[1+maxPadding:]
		dst = appendAVPHeader(dst, newAVP(AVPRandomVector, nil), len(vector))
		dst = append(dst, vector...)
	}
	padding := min(int(random[0])%(maxPadding+1), MaxHiddenValue-len(a.Value))
	a.Hidden = true
	dst = appendAVPHeader(dst, a, hiddenLengthLen+len(a.Value)+padding)
	begin := len(dst)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(a.Value)))
	dst = append(dst, a.Value...)
	dst = append(dst, random[1:1+padding]...)
	encipher(a.Type, hide.Secret, vector, dst[begin:])
	return dst, vector
}
