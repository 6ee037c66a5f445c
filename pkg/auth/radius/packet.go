package radius

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"errors"

	codec "layeh.com/radius"
	"layeh.com/radius/rfc2869"
)

const (
	headerSize        = 20
	authenticatorSize = 16
)

// authenticator is the field of a packet's header.
type authenticator [authenticatorSize]byte

// Why a packet is not believed.
var (
	errMalformed     = errors.New("malformed packet")
	errAuthenticator = errors.New("wrong authenticator")
	errUnsigned      = errors.New("no message authenticator")
)

// sign encodes a packet with a Message-Authenticator as its first attribute: a forger who may choose what follows cannot put a
// collision before it (P238, RFC 2869, 5.14). An answer has the authenticator of its request in p, a server's request zeros.
func sign(p *codec.Packet) ([]byte, error) {
	mac := make(codec.Attribute, authenticatorSize)
	signed := *p
	signed.Attributes = append(codec.Attributes{{Type: rfc2869.MessageAuthenticator_Type, Attribute: mac}}, p.Attributes...)
	b, err := signed.MarshalBinary()
	if err != nil {
		return nil, err
	}
	copy(mac, macOf(b, headerSize+2, p.Secret, p.Authenticator))
	return signed.Encode()
}

// macOf computes the Message-Authenticator whose value is at an offset of packet b, with this authenticator in the header.
func macOf(b []byte, at int, secret []byte, a authenticator) []byte {
	var none authenticator
	h := hmac.New(md5.New, secret)
	h.Write(b[:4])
	h.Write(a[:])
	h.Write(b[headerSize:at])
	h.Write(none[:])
	h.Write(b[at+authenticatorSize:])
	return h.Sum(nil)
}

// frame cuts what a datagram holds behind its packet, and finds the value of the Message-Authenticator, 0 if there is none. Nothing
// is allocated.
func frame(b []byte) (packet []byte, mac int, err error) {
	if len(b) < headerSize {
		return nil, 0, errMalformed
	}
	size := int(binary.BigEndian.Uint16(b[2:]))
	if size < headerSize || size > codec.MaxPacketLength || size > len(b) {
		return nil, 0, errMalformed
	}
	b = b[:size]
	for at := headerSize; at < size; at += int(b[at+1]) {
		if at+2 > size || b[at+1] < 2 || at+int(b[at+1]) > size {
			return nil, 0, errMalformed
		}
		if codec.Type(b[at]) != rfc2869.MessageAuthenticator_Type {
			continue
		}
		if mac != 0 || b[at+1] != 2+authenticatorSize {
			return nil, 0, errMalformed
		}
		mac = at + 2
	}
	return b, mac, nil
}

// digest is the authenticator that an answer to a request with authenticator a has, or, with zeros, that a server's request and an
// Accounting-Request have (RFC 2865, 3; RFC 2866, 3).
func digest(b, secret []byte, a authenticator) []byte {
	h := md5.New()
	h.Write(b[:4])
	h.Write(a[:])
	h.Write(b[headerSize:])
	h.Write(secret)
	return h.Sum(nil)
}

// believe checks an answer to a request with authenticator a, or, with zeros, a server's request, and takes it apart. A
// Message-Authenticator is checked if there is one, and demanded if need be.
func believe(b, secret []byte, a authenticator, demand bool) (*codec.Packet, error) {
	b, mac, err := frame(b)
	switch {
	case err != nil:
		return nil, err
	case !hmac.Equal(digest(b, secret, a), b[4:headerSize]):
		return nil, errAuthenticator
	case mac == 0 && demand:
		return nil, errUnsigned
	case mac != 0 && !hmac.Equal(macOf(b, mac, secret, a), b[mac:mac+authenticatorSize]):
		return nil, errAuthenticator
	}
	p, err := codec.Parse(b, secret)
	if err != nil {
		return nil, errMalformed
	}
	return p, nil
}

// xorDigest uncovers a block of 16 octets that was hidden after another (RFC 2865, 5.2).
func xorDigest(block, secret, before []byte) []byte {
	h := md5.New()
	h.Write(secret)
	h.Write(before)
	out := h.Sum(nil)
	for i := range out {
		out[i] ^= block[i]
	}
	return out
}
