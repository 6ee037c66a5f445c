package wire

// maskOctet takes the place of every octet that must not be seen: an asterisk.
const maskOctet = '*'

// Blank overwrites b with asterisks.
func Blank(b []byte) {
	for i := range b {
		b[i] = maskOctet
	}
}

// Mask overwrites in a control message, in place, what must not be seen in a capture, octet for octet, so that all lengths
// stay right: the values of hidden AVPs, of Challenge Response and Proxy Authen Response, of AVPs that are not known or have a
// reserved bit, and whatever cannot be read. A Challenge stays: without its response it tells nothing. Of what is no
// control message nothing but the first 12 octets stays.
func Mask(datagram []byte) {
	h, rest, err := ParseHeader(datagram)
	if err != nil || !h.Control {
		Blank(datagram[min(len(datagram), controlHeaderLen):])
		return
	}
	Blank(datagram[h.Length:])
	for len(rest) > 0 {
		a, behind, p := nextAVP(0, rest)
		if p != nil {
			Blank(rest[min(len(rest), avpHeaderLen):])
			return
		}
		if a.secret() {
			Blank(a.Value)
		}
		rest = behind
	}
}

// secret says whether the value must not be seen in a capture.
func (a AVP) secret() bool {
	row := rowOf(a)
	if a.Hidden || a.Reserved || row == nil {
		return true
	}
	challenge := a.Vendor == 0 && (a.Type == AVPChallenge || a.Type == AVPProxyAuthenChallenge)
	return row.kind == kindSecret && !challenge
}
