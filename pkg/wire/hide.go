package wire

import (
	"crypto/md5"
	"encoding/binary"
	"io"
)

// hiddenLengthLen is the length field in front of a hidden value, in octets (RFC 2661, 4.3).
const hiddenLengthLen = 2

// Octets of a Random Vector AVP that we send (P40), and bound of the random padding after a hidden value (P45).
const (
	randomVectorLen = 16
	maxPadding      = 31
)

// Hiding says how AppendMessage hides AVPs.
type Hiding struct {
	Secret []byte    // the tunnel's shared secret (P47); empty hides nothing
	Random io.Reader // entropy for random vectors and padding; must not fail
}

// ChallengeResponse is the response to a tunnel authentication challenge (RFC 2661, 4.4.3): MD5 over id, secret and
// challenge. id is the type of the message that carries the response, 2 for SCCRP and 3 for SCCCN.
func ChallengeResponse(id uint8, secret, challenge []byte) [16]byte {
	b := make([]byte, 0, 1+len(secret)+len(challenge))
	b = append(b, id)
	b = append(b, secret...)
	b = append(b, challenge...)
	return md5.Sum(b)
}

// Unhide replaces the value of every hidden AVP by its plain value, using the nearest preceding Random Vector AVP
// (P39). The plain values are new memory: the buffer that m was parsed from stays as received, so a capture of it
// holds no secrets.
//
// A hidden AVP that cannot be read (no secret, no Random Vector, nonsense after deciphering) is removed and noted in
// m.Ignored. The error is the first *Problem: an unreadable AVP with M set (P41), or H on an AVP that must not be hidden
// (P42). Every other AVP is treated even then, so that the answer can be addressed. AVPs with a reserved bit are left
// for Validate.
func (m *Message) Unhide(secret []byte) error {
	var first *Problem
	var vector []byte
	haveVector := false
	kept := m.AVPs[:0]
	for _, a := range m.AVPs {
		if a.Reserved || !a.Hidden {
			if a.Vendor == 0 && a.Type == AVPRandomVector && !a.Reserved {
				vector, haveVector = a.Value, true
			}
			kept = append(kept, a)
			continue
		}
		value, p := reveal(m.Type, a, secret, vector, haveVector)
		if p == nil {
			a.Hidden, a.Value = false, value
			kept = append(kept, a)
			continue
		}
		m.Ignored = append(m.Ignored, p.Text)
		if first == nil && (a.Mandatory || mustNotHide(a)) {
			first = p
		}
	}
	clear(m.AVPs[len(kept):])
	m.AVPs = kept
	if first != nil {
		return first
	}
	return nil
}

// mustNotHide reports whether H on a is an error whatever its M bit says.
func mustNotHide(a AVP) bool {
	row := rowOf(a)
	return row != nil && !row.hidable
}

// reveal deciphers one hidden AVP or says why it cannot.
func reveal(m MessageType, a AVP, secret, vector []byte, haveVector bool) ([]byte, *Problem) {
	switch {
	case mustNotHide(a):
		return nil, avpProblem(ProblemHidden, ErrCodeValue, m, a, "must not be hidden")
	case !haveVector:
		return nil, avpProblem(ProblemHidden, ErrCodeValue, m, a, "hidden without a Random Vector before it")
	case len(secret) == 0:
		return nil, avpProblem(ProblemHidden, ErrCodeUnknownMandatory, m, a, "hidden, and no secret is configured to read it")
	}
	value, ok := decipher(a.Type, secret, vector, a.Value)
	if !ok {
		return nil, avpProblem(ProblemHidden, ErrCodeLength, m, a, "hidden value does not decipher, the secrets may differ")
	}
	return value, nil
}

// decipher undoes RFC 2661, 4.3 and returns the value without length and padding. ok is false if the length inside does
// not fit (P43).
func decipher(t AVPType, secret, vector, hidden []byte) (value []byte, ok bool) {
	if len(hidden) < hiddenLengthLen {
		return nil, false
	}
	plain := make([]byte, len(hidden))
	pads := newPads(t, secret, vector)
	for i := 0; i < len(hidden); i += md5.Size {
		block := hidden[i:min(i+md5.Size, len(hidden))]
		for j, c := range block {
			plain[i+j] = c ^ pads.pad[j]
		}
		pads.next(block)
	}
	n := int(binary.BigEndian.Uint16(plain))
	if n > len(plain)-hiddenLengthLen {
		return nil, false
	}
	end := hiddenLengthLen + n
	return plain[hiddenLengthLen:end:end], true
}

// encipher turns a subformat (length, value, padding) into its hidden form, in place.
func encipher(t AVPType, secret, vector, subformat []byte) {
	pads := newPads(t, secret, vector)
	for i := 0; i < len(subformat); i += md5.Size {
		block := subformat[i:min(i+md5.Size, len(subformat))]
		for j := range block {
			block[j] ^= pads.pad[j]
		}
		pads.next(block)
	}
}

// pads is the key stream of RFC 2661, 4.3, one block at a time.
type pads struct {
	pad     [md5.Size]byte
	secret  []byte
	scratch []byte // kept, so that a message full of hidden AVPs costs time but little memory
}

// newPads begins with b1 = MD5(attribute type, secret, random vector).
func newPads(t AVPType, secret, vector []byte) pads {
	b := make([]byte, 0, max(2+len(secret)+len(vector), len(secret)+md5.Size))
	b = binary.BigEndian.AppendUint16(b, uint16(t))
	b = append(b, secret...)
	b = append(b, vector...)
	return pads{pad: md5.Sum(b), secret: secret, scratch: b}
}

// next goes on to b(i) = MD5(secret, c(i-1)).
func (p *pads) next(cipher []byte) {
	b := append(p.scratch[:0], p.secret...)
	b = append(b, cipher...)
	p.pad = md5.Sum(b)
}
