package kerneltest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/kernel"
)

// Overhead of a frame that the counters include: the L2TP header with and without sequence numbers, and FF 03.
const (
	overhead          = 6 + 2
	overheadSequenced = 10 + 2
)

var (
	errFrame    = errors.New("frame shorter than its protocol allows")
	errAttached = fmt.Errorf("an interface is attached: %w", os.ErrExist)
	errDetached = fmt.Errorf("no interface is attached: %w", os.ErrNotExist)
)

// Session is one fake session. Safe for concurrent use; Close and Attach must not be called from the Receiver.
type Session struct {
	World
	k     *Kernel
	to    kernel.Receiver // never nil
	key   key
	line  bool
	pppoe kernel.PPPoESpec // of a session of PPPoE

	// All below is guarded by the kernel's mu.
	spec     kernel.SessionSpec // of a session of L2TP
	numbers  bool               // its frames have sequence numbers now
	closed   bool
	dead     bool // the interface is gone
	lost     bool // the session itself is gone, of PPPoE or a line
	told     bool // OnDead was
	peer     *Session
	muted    bool // it was bridged without a channel descriptor: its Receiver gets nothing
	accm     [2]uint32
	attached bool
	handed   bool // HandOver has been called
	unit     face
	since    time.Time // of Attach, or of the last network packet after it
	pass     map[kernel.NetworkProtocol]bool
	carried  uint64
	stats    kernel.Stats
	crypt    crypt
}

// CreateSession makes a session in an existing tunnel. nil is for a session that is handed over: nobody sees its frames.
func (k *Kernel) CreateSession(spec kernel.SessionSpec, to kernel.Receiver) (*Session, error) {
	at := key{tunnel: spec.TunnelID, session: spec.SessionID}
	if to == nil {
		to = nobody
	}
	err := begin(k, OpCreateSession, at.String())
	var s *Session
	if err == nil {
		s, err = createSession(k, at, spec, to)
	}
	if err != nil {
		return nil, fmt.Errorf("create session %v: %w", at, err)
	}
	return s, nil
}

func createSession(k *Kernel, at key, spec kernel.SessionSpec, to kernel.Receiver) (*Session, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := spec.Validate(); err != nil {
		k.violate("create session %v: %v", at, err)
		return nil, err
	}
	t, ok := k.tunnels[at.tunnel]
	switch {
	case !ok:
		k.violate("session %v created before its tunnel", at)
		return nil, unix.ENOENT
	case t.PeerID != spec.PeerTunnelID:
		k.violate("session %v created for peer tunnel %d, the tunnel's is %d", at, spec.PeerTunnelID, t.PeerID)
	case k.sessions[at] != nil:
		k.violate("session %v created twice", at)
		return nil, unix.EEXIST
	}
	s := newSession(k, at, to)
	s.spec, s.numbers = spec, spec.Sequencing.Send
	return s, nil
}

// newSession needs mu.
func newSession(k *Kernel, at key, to kernel.Receiver) *Session {
	s := &Session{k: k, key: at, to: to, pass: make(map[kernel.NetworkProtocol]bool)}
	s.World = World{s}
	k.sessions[at] = s
	return s
}

// at is the session's key.
func (s *Session) at() key { return s.key }

// do runs one call of a session that must be open, and attached for some.
func (s *Session) do(op Op, needsUnit bool, f func() error) error {
	k, at := s.k, s.at()
	err := begin(k, op, at.String())
	if err == nil {
		k.mu.Lock()
		switch {
		case s.closed:
			if op != OpIdle { // whoever asks for it may come too late
				k.violate("%v on session %v after Close", op, at)
			}
			err = os.ErrClosed
		case needsUnit && !s.attached:
			k.violate("%v on session %v before Attach", op, at)
			err = errDetached
		case s.handed && op.ours():
			k.violate("%v on session %v after HandOver", op, at)
			err = os.ErrClosed
		default:
			err = f()
		}
		k.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("%v on session %v: %w", op, at, err)
	}
	return nil
}

// Send carries one frame to the connected kernels.
func (s *Session) Send(frame []byte) error {
	err := s.do(OpSend, false, func() error {
		if len(frame) < 2 || (binary.BigEndian.Uint16(frame) == 0xc021 && len(frame) < 6) {
			s.k.violate("short frame on session %v", s.at())
			return errFrame
		}
		if s.lost {
			return s.sendDead()
		}
		s.peek(frame, false)
		countSent(s, frame)
		return nil
	})
	if err == nil {
		transmit(s, slices.Clone(frame), "")
	}
	return err
}

// Attach gives the session an interface: one that waits, if its name fits, else a new one. A name in use is os.ErrExist.
func (s *Session) Attach(spec kernel.UnitSpec) (kernel.Unit, error) {
	var u face
	err := s.do(OpAttach, false, func() error {
		if err := spec.Validate(); err != nil {
			s.k.violate("attach session %v: %v", s.at(), err)
			return err
		}
		if s.attached {
			s.k.violate("session %v attached twice", s.at())
			return errAttached
		}
		if s.peer != nil {
			s.k.violate("session %v attached while it is bridged", s.at())
			return errBridged
		}
		if s.lost {
			return errGone
		}
		var err error
		if u, err = lend(s.k, spec.Name); err != nil {
			return err
		}
		s.unit, s.attached, s.muted, s.since = u, true, false, time.Now()
		return nil
	})
	if err != nil {
		return kernel.Unit{}, err
	}
	return u.Unit, nil
}

// Pass lets the interface pass or drop a protocol.
func (s *Session) Pass(p kernel.NetworkProtocol, pass bool) error {
	return s.do(OpPass, true, func() error {
		if p != kernel.IPv4 && p != kernel.IPv6 {
			s.k.violate("pass %v on session %v", p, s.at())
			return unix.EINVAL
		}
		s.pass[p] = pass
		return nil
	})
}

// SetSequencing changes the switches.
func (s *Session) SetSequencing(q kernel.Sequencing) error {
	return s.do(OpSetSequencing, false, func() error {
		if s.key.access != "" {
			s.k.violate("sequencing of %v", s.at())
			return errNotL2TP
		}
		if err := q.Validate(); err != nil {
			s.k.violate("sequencing of session %v: %v", s.at(), err)
			return err
		}
		s.spec.Sequencing, s.numbers = q, q.Send
		return nil
	})
}

// Stats gives the counters, after Close the last ones.
func (s *Session) Stats() (kernel.Stats, error) {
	if err := begin(s.k, OpStats, s.at().String()); err != nil {
		return kernel.Stats{}, fmt.Errorf("session %v: %w", s.at(), err)
	}
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	return s.stats, nil
}

// Idle is the time since the last network packet or Attach, in whole seconds; after Close it is os.ErrClosed, and no violation.
func (s *Session) Idle() (time.Duration, error) {
	var idle time.Duration
	err := s.do(OpIdle, true, func() error {
		idle = time.Since(s.since).Truncate(time.Second)
		return nil
	})
	return idle, err
}

// Close ends the session; after it the Receiver does not run. An injected failure is returned, but the session is gone, as with
// close(2). Further calls do nothing.
func (s *Session) Close() error {
	k := s.k
	k.mu.Lock()
	closed := s.closed
	k.mu.Unlock()
	if closed {
		return nil
	}
	err := begin(k, OpClose, s.at().String())
	k.mu.Lock()
	defer k.mu.Unlock()
	if !s.closed {
		s.closed = true
		delete(k.sessions, s.at())
		s.part()
		if s.attached && !s.dead && !s.crypt.armed {
			giveBack(k, s.unit)
		}
	}
	for k.delivering == s {
		k.idle.Wait()
	}
	if err != nil {
		return fmt.Errorf("close session %v: %w", s.at(), err)
	}
	return nil
}

// countSent needs the kernel's mu.
func countSent(s *Session, frame []byte) {
	if size := s.size(frame, s.numbers); size > 0 {
		s.stats.TxPackets++
		s.stats.TxBytes += size
	}
}

// size is what the counters say of a frame; 0: nothing. It needs the kernel's mu.
func (s *Session) size(frame []byte, numbered bool) uint64 {
	switch {
	case s.key.access == "":
		return wireSize(frame, numbered)
	case !s.attached || len(frame) <= 2 || binary.BigEndian.Uint16(frame) >= 0xc000:
		return 0
	}
	return uint64(len(frame) - 2)
}

func wireSize(frame []byte, numbered bool) uint64 {
	if numbered {
		return uint64(len(frame) + overheadSequenced)
	}
	return uint64(len(frame) + overhead)
}
