package kerneltest

import (
	"encoding/binary"
	"errors"

	"github.com/l2tpd/l2tpd/pkg/kernel"
)

// Protocols of a frame that the kernel itself looks at.
const (
	protocolCCP     = 0x80fd
	protocolCrypted = 0x00fd
	protocolLCP     = 0xc021
)

// Codes of CCP that move the kernel's state.
const (
	confReq  = 1
	confAck  = 2
	termReq  = 5
	termAck  = 6
	resetAck = 15
)

// bears is how many frames without the mark of an encrypted one the kernel endures, with a Reset-Ack after each.
const bears = 15

var errNotRun = errors.New("the Configure-Acks of CCP have not gone both ways since compression was armed")

// crypt is the state of MPPE in an interface.
type crypt struct {
	keys               kernel.Compression
	armed, up, require bool
	sending, receiving bool // the Configure-Acks were seen
	waiting            bool // for a Reset-Ack: nothing is decrypted
	noise              int  // frames that made no sense; more than bears: nothing is decrypted ever
}

func (c *crypt) broken() bool { return c.noise > bears }

// ArmCompression gives the interface the keys of both directions.
func (s *Session) ArmCompression(c kernel.Compression) error {
	return s.do(OpArmCompression, true, func() error {
		if err := c.Validate(); err != nil {
			s.k.violate("arm compression of session %v: %v", s.at(), err)
			return err
		}
		s.crypt = crypt{keys: c, armed: true}
		return nil
	})
}

// OpenCompression says that CCP is open. The real kernel would send in clear if it had not seen both Configure-Acks.
func (s *Session) OpenCompression(require bool) error {
	return s.do(OpOpenCompression, true, func() error {
		switch {
		case !s.crypt.armed:
			s.k.violate("compression of session %v opened before it was armed", s.at())
			return errNotRun
		case !s.crypt.sending || !s.crypt.receiving:
			return errNotRun
		}
		s.crypt.up, s.crypt.require = true, require
		return nil
	})
}

// CloseCompression ends what ArmCompression began.
func (s *Session) CloseCompression() error {
	return s.do(OpCloseCompression, true, func() error {
		s.crypt = crypt{}
		return nil
	})
}

// CompressionBroken reports whether the kernel has given up decrypting.
func (s *Session) CompressionBroken() (broken bool, err error) {
	err = s.do(OpCompressionBroken, true, func() error {
		broken = s.crypt.broken()
		return nil
	})
	return broken, err
}

// peek looks at CCP as the kernel does; mu is held.
func (s *Session) peek(frame []byte, inbound bool) {
	if !s.attached || len(frame) < 6 || binary.BigEndian.Uint16(frame) != protocolCCP {
		return
	}
	c := &s.crypt
	switch frame[2] {
	case confReq:
		if inbound {
			c.sending = false
		} else {
			c.receiving = false
		}
	case termReq, termAck:
		c.sending, c.receiving = false, false
	case resetAck:
		if inbound && c.up {
			c.waiting = false
		}
	case confAck:
		if len(frame) != 12 || frame[6] != 18 || frame[7] != 6 {
			return // nothing, or another option
		}
		switch {
		case !c.armed && !inbound:
			s.k.violate("session %v acknowledged MPPE before compression was armed", s.at())
		case !c.armed || c.up:
		case inbound:
			c.receiving = true
		default:
			c.sending = true
		}
	}
}

// encrypt gives what leaves instead of a network packet, and with which key; mu is held.
func (s *Session) encrypt(frame []byte) (out []byte, key string) {
	c := &s.crypt
	if !c.up || !c.sending {
		if c.require {
			s.k.violate("session %v sent a packet in clear, and encryption is required", s.at())
		}
		return frame, ""
	}
	out = binary.BigEndian.AppendUint16(nil, protocolCrypted)
	for _, b := range frame {
		out = append(out, ^b)
	}
	return out, string(c.keys.Send)
}

// receive gives what an arrived frame is to the interface, with encryption undone; nil: nothing. mu is held.
func (s *Session) receive(a arrival) []byte {
	if !s.attached {
		return a.frame
	}
	protocol, c := binary.BigEndian.Uint16(a.frame), &s.crypt
	encrypted := protocol == protocolCrypted && c.receiving && !c.waiting && !c.broken()
	if encrypted && a.key == "" { // no kernel has encrypted it
		c.noise++
		c.waiting, encrypted = true, false
	}
	if c.broken() && c.require && protocol < protocolLCP {
		return nil
	}
	s.peek(a.frame, true)
	if !encrypted {
		return a.frame
	}
	if a.key != string(c.keys.Receive) {
		return nil // noise
	}
	var packet []byte
	for _, b := range a.frame[2:] {
		packet = append(packet, ^b)
	}
	return packet
}
