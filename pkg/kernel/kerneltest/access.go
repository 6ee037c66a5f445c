package kerneltest

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/kernel"
)

var (
	errBridged   = fmt.Errorf("it is bridged: %w", os.ErrExist)
	errUnbridged = fmt.Errorf("it is not bridged: %w", os.ErrNotExist)
	errGone      = fmt.Errorf("%w: %w", unix.ENOTCONN, os.ErrNotExist)
	errNotL2TP   = errors.New("only L2TP has sequence numbers")
	errNotLine   = errors.New("not a line")
	errNotOurs   = errors.New("they are not two of one kernel")
)

// OpenPPPoE makes a session of PPPoE. Its frames go to Config.OnAccess and come by Session.Inject.
func (k *Kernel) OpenPPPoE(spec kernel.PPPoESpec, to kernel.Receiver) (*Session, error) {
	at := key{access: pppoeName(spec)}
	if to == nil {
		to = nobody
	}
	return k.open(OpOpenPPPoE, at, spec.Validate(), func() (*Session, error) {
		if k.down[spec.Interface] {
			return nil, fmt.Errorf("interface %s is missing or down: %w: %w", spec.Interface, unix.ENODEV, os.ErrNotExist)
		}
		s := newSession(k, at, to)
		s.pppoe = spec
		return s, nil
	})
}

// OpenLine makes a session of a tty, which may be any file here. Its frames go to Config.OnAccess and come by Session.Inject.
func (k *Kernel) OpenLine(spec kernel.LineSpec, to kernel.Receiver) (*Session, error) {
	at, invalid := key{access: "line"}, spec.Validate()
	if invalid == nil {
		at.access = spec.TTY.Name()
	}
	if to == nil {
		invalid = errors.New("nobody to receive")
	}
	return k.open(OpOpenLine, at, invalid, func() (*Session, error) {
		s := newSession(k, at, to)
		s.line, s.accm[0] = true, ^uint32(0)
		return s, spec.TTY.Close()
	})
}

// open runs one call that makes a session of a name that must not be taken.
func (k *Kernel) open(op Op, at key, invalid error, f func() (*Session, error)) (*Session, error) {
	err := begin(k, op, at.String())
	var s *Session
	if err == nil {
		k.mu.Lock()
		switch {
		case invalid != nil:
			k.violate("%v %v: %v", op, at, invalid)
			err = invalid
		case k.sessions[at] != nil:
			k.violate("%v %v, which is open", op, at)
			err = fmt.Errorf("%w: %w", unix.EALREADY, os.ErrExist)
		default:
			s, err = f()
		}
		k.mu.Unlock()
	}
	if err != nil {
		return nil, fmt.Errorf("%v %v: %w", op, at, err)
	}
	return s, nil
}

// SetACCM says what a line escapes and drops.
func (s *Session) SetACCM(send, receive uint32) error {
	return s.do(OpSetACCM, false, func() error {
		if !s.line {
			s.k.violate("accm of session %v", s.at())
			return errNotLine
		}
		s.accm = [2]uint32{send, receive}
		return nil
	})
}

// Bridge joins two sessions: what arrives for one leaves by the other.
func (s *Session) Bridge(to *Session) error {
	if s == to || s.k != to.k {
		s.k.mu.Lock()
		defer s.k.mu.Unlock()
		s.k.violate("session %v bridged to %v", s.at(), to.at())
		return fmt.Errorf("bridge session %v to %v: %w", s.at(), to.at(), errNotOurs)
	}
	return s.do(OpBridge, false, func() error {
		for _, x := range []*Session{s, to} {
			var err error
			switch {
			case x.closed:
				err = os.ErrClosed
			case x.attached:
				err = errAttached
			case x.peer != nil:
				err = errBridged
			case x.handed:
				err = errors.New("it was handed over")
			}
			if err != nil {
				s.k.violate("session %v bridged to %v: %v: %v", s.at(), to.at(), x.at(), err)
				return fmt.Errorf("%v: %w", x.at(), err)
			}
			if x.lost {
				return fmt.Errorf("%v: %w", x.at(), errGone)
			}
		}
		s.peer, to.peer = to, s
		s.muted, to.muted = false, to.key.access == ""
		return nil
	})
}

// Relay sends a frame that came for this session by the other.
func (s *Session) Relay(frame []byte) error {
	s.k.mu.Lock()
	to := s.peer
	s.k.mu.Unlock()
	if to == nil {
		return errUnbridged
	}
	return to.Send(frame)
}

// part forgets the bridge; the kernel's mu is held.
func (s *Session) part() {
	if s.peer != nil {
		s.peer.peer, s.peer = nil, nil
	}
}

// sendDead is what Send does on a session that is gone; the kernel's mu is held. An interface, or a line, takes frames all the same.
func (s *Session) sendDead() error {
	if s.line || s.attached {
		return nil
	}
	push(s.k, arrival{to: s.at(), dead: "socket"})
	return errGone
}
