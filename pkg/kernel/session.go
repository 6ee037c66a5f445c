package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// PPP protocol ranges and numbers that decide about routing.
const (
	protocolLCP   = 0xc021
	firstLinkCtrl = 0xc000 // from here on: LCP and authentication, the channel's business
)

// errAttached says that a session has its interface already.
var errAttached = fmt.Errorf("an interface is attached: %w", os.ErrExist)

// began is an instant that others are measured from.
var began = time.Now()

// errDetached says that a session has no interface.
var errDetached = fmt.Errorf("no interface is attached: %w", os.ErrNotExist)

// Session is one session of L2TP or PPPoE with its PPPoX socket, or a tty line, and, once attached, its PPP channel and interface.
// Safe for concurrent use. All methods but Send and Stats may sleep, and only those two may be called from the Receiver.
type Session struct {
	k                *Kernel
	to               Receiver // nil: nobody reads
	serial           uint32
	tunnel, id       uint16  // of L2TP
	access           *access // of all others; nil: L2TP
	toldDead, closed bool    // toldDead: the loop's; closed: mu
	bound            bool    // the link gives no more frames; mu
	binding          bool    // it is being bound: calls on it wait for that; mu

	peer atomic.Pointer[Session] // the other side of the bridge; set while op of both is held, cleared by either

	op                 sync.Mutex // held by all that may sleep: the descriptors stay as they are while it is held
	face               *unit      // the interface; op
	index              int32      // of the channel, once there is one; op
	passed, compressed bool       // what the interface had once; op

	reading sync.Mutex // held by the loop over the reading of this session and its Receiver; taken after op, before mu

	// mu is held only over calls that do not sleep. The descriptors are -1 when absent; their writers hold op as well. The link is the
	// PPPoX socket or the tty: the session itself.
	mu                  sync.Mutex
	link, channel, unit int
	last                Stats
	attached            time.Duration // since began
}

// CreateSession makes a session in an existing tunnel (os.ErrNotExist otherwise) and begins to read. A taken id is
// os.ErrExist.
//
// The Receiver gets every PPP frame that reaches user space. Without one nobody reads: the session is to be handed over.
func (k *Kernel) CreateSession(spec SessionSpec, to Receiver) (*Session, error) {
	s, err := k.createSession(spec, to)
	if err != nil {
		return nil, fmt.Errorf("create session %d/%d: %w", spec.TunnelID, spec.SessionID, err)
	}
	return s, nil
}

func (k *Kernel) createSession(spec SessionSpec, to Receiver) (*Session, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	fd, err := connectL2TP(spec)
	if err != nil {
		return nil, err
	}
	s := &Session{
		k: k, to: to, tunnel: spec.TunnelID, id: spec.SessionID,
		link: fd, channel: -1, unit: -1,
	}
	if err := k.loop.add(s); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return s, nil
}

// Send sends one PPP frame that begins with the two octets of its protocol. Until Attach, and after Bridge, it goes out by the PPPoX
// socket or the line; after Attach LCP and authentication go by the channel and all else by the unit. It does not wait, and like any PPP link it
// may lose what it took. After Close: os.ErrClosed.
func (s *Session) Send(frame []byte) error {
	if err := s.send(frame); err != nil {
		return fmt.Errorf("send on %s: %w", s.name(), err)
	}
	return nil
}

func (s *Session) send(frame []byte) error {
	if len(frame) < 2 {
		return errFrame
	}
	protocol := binary.BigEndian.Uint16(frame)
	if protocol == protocolLCP && len(frame) < 6 {
		return errFrame // the kernel's filters have read past the end of such frames
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return os.ErrClosed
	}
	fd := s.link
	switch {
	case s.unit >= 0 && protocol < firstLinkCtrl:
		fd = s.unit
	case s.unit >= 0, s.isLine():
		fd = s.channel
	case s.binding && s.access != nil: // a socket of PPPoE is locked meanwhile, for writing too
		if len(s.access.held) < readBurst {
			s.access.held = append(s.access.held, bytes.Clone(frame))
		}
		return nil
	}
	err := writeFrame(fd, frame)
	if fd == s.link && s.access != nil && errors.Is(err, unix.ENOTCONN) {
		s.k.loop.post(func() { s.gone(err) }) // nothing else tells of a socket of PPPoE
	}
	return err
}

func writeFrame(fd int, frame []byte) error {
	for {
		_, err := unix.Write(fd, frame)
		if !errors.Is(err, unix.EINTR) {
			return edge(err)
		}
	}
}

// Attach gives the session a PPP interface: one that waits, if its name fits, else a new one. The interface is down, has no
// addresses and drops IPv4 and IPv6 until Pass; its own counters may be those of earlier sessions. Frames that
// come meanwhile reach the Receiver, in order but for the microseconds in which the kernel changes over. After an error the session
// works as before, and Attach may be tried again, for example with another name when the wanted one was taken (os.ErrExist).
//
// One error is different, because a socket that was given to the PPP driver cannot be taken back: "attach channel", os.ErrNotExist
// when the session is gone from the kernel or the calling thread is not in its namespace. The session then sends as before; what
// it receives waits for the next Attach, the last 32 frames of it.
func (s *Session) Attach(spec UnitSpec) (Unit, error) {
	u, err := attach(s, spec)
	if err != nil {
		return Unit{}, fmt.Errorf("attach %s: %w", s.name(), err)
	}
	return u, nil
}

// set changes the descriptors; op is held.
func (s *Session) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// Pass lets the interface pass a network protocol, or drop it silently. It needs Attach.
func (s *Session) Pass(p NetworkProtocol, pass bool) error {
	err := s.withUnit(func(fd int) error {
		if p != IPv4 && p != IPv6 {
			return errProtocol
		}
		s.passed = s.passed || pass
		return setNPMode(fd, p, pass)
	})
	if err != nil {
		return fmt.Errorf("pass %v on %s: %w", p, s.name(), err)
	}
	return nil
}

// withUnit does something with the descriptor of the session's interface.
func (s *Session) withUnit(do func(fd int) error) error {
	s.op.Lock()
	defer s.op.Unlock()
	switch {
	case s.link < 0:
		return os.ErrClosed
	case s.unit < 0:
		return errDetached
	}
	return do(s.unit)
}

// SetSequencing changes the switches of a live session, which must be one of L2TP. Before 7.3.4 turning Send on or off under traffic may garble a
// frame.
func (s *Session) SetSequencing(q Sequencing) error {
	err := q.Validate()
	if err == nil {
		s.op.Lock()
		defer s.op.Unlock()
		switch {
		case s.access != nil:
			err = errNotL2TP
		case s.link < 0:
			err = os.ErrClosed
		default:
			err = setSequencing(s.link, q)
		}
	}
	if err != nil {
		return fmt.Errorf("set sequencing of %s: %w", s.name(), err)
	}
	return nil
}

// Stats reads the counters: one system call, no lock shared with netlink. While Attach is at work it may give those read
// last, since the socket is locked for some 15 ms, and so it does after Close, without an error.
//
// The kernel has none of PPPoE and of lines. Their sessions give what their interface has counted since Attach, without the octets of
// the protocol and without LCP and authentication: zeros before Attach, and with Bridge, where the L2TP session counts. To read them takes
// the kernel's mutex for the network, which is held for some milliseconds while an interface is created.
func (s *Session) Stats() (Stats, error) {
	if s.access != nil {
		return s.interfaceStats()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link < 0 || s.binding {
		return s.last, nil
	}
	return s.readStats()
}

// readStats needs mu. What could be read last is given with an error too.
func (s *Session) readStats() (Stats, error) {
	now, err := statsOf(s.link)
	if err != nil {
		return s.last, fmt.Errorf("%s: %w", s.name(), err)
	}
	s.last = now
	return now, nil
}

// Idle is the time, in whole seconds, since the interface last carried a packet in either direction, and never more than
// the time since Attach. It needs Attach. It does not wait for other calls: a session on which Pass is at work counts as
// busy, one whose Close has begun as closed. The PPP driver has one mutex for all interfaces of the machine, though, which
// is held for some milliseconds while one is created.
func (s *Session) Idle() (time.Duration, error) {
	idle, err := s.idle()
	if err != nil {
		return 0, fmt.Errorf("idle time of %s: %w", s.name(), err)
	}
	return idle, nil
}

func (s *Session) idle() (time.Duration, error) {
	alone := s.op.TryLock()
	if alone {
		defer s.op.Unlock()
	}
	s.mu.Lock()
	closed, unit, age := s.closed, s.unit, time.Since(began)-s.attached
	s.mu.Unlock()
	switch {
	case closed:
		return 0, os.ErrClosed
	case unit < 0:
		return 0, errDetached
	case !alone:
		return 0, nil
	}
	return idleOf(unit, age)
}

// Close ends the session: the counters are read, then the PPPoX socket or the tty, which is the session, and the channel are closed;
// a bridge ends. The interface waits for another session, or is closed as well: see Config.Units. It sleeps 15-60 ms. After it has returned the Receiver
// is not called again, and no frame of this session is in the interface. Further calls do nothing.
func (s *Session) Close() error {
	s.op.Lock()
	defer s.op.Unlock()
	if s.link < 0 {
		return nil
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	defer s.k.sleep()()
	s.k.loop.remove(s)
	if s.access != nil {
		_, _ = s.interfaceStats()
	}
	s.mu.Lock()
	if s.access == nil {
		// As late as possible. A session that was deleted under us has none: what was read last stands.
		_, _ = s.readStats()
	} else {
		s.access.face = 0
	}
	link, channel, unit := s.link, s.channel, s.unit
	s.link, s.channel, s.unit = -1, -1, -1
	s.mu.Unlock()
	if s.isLine() {
		_ = setDiscipline(link, disciplineTTY) // an error is that of a line that was hung up
	}
	// The link comes first: its end takes the channel off the interface, and waits until no frame is on its way between them.
	// PPPIOCDISCONN would do the same, with the mutex of all PPP interfaces held.
	fds := []int{link, channel}
	if s.face == nil {
		fds = append(fds, unit)
	}
	var errs []error
	for _, fd := range fds {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	s.part() // the kernel has parted them when the link was closed
	if s.face != nil {
		errs = append(errs, s.k.giveBack(s.face, s.passed, s.compressed))
		s.face = nil
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close %s: %w", s.name(), err)
	}
	return nil
}
