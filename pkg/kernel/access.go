package kernel

import (
	"errors"
	"fmt"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PPPoESpec asks for the kernel's part of a PPPoE session (RFC 2516), whose id the discovery has agreed.
type PPPoESpec struct {
	Interface string  // where the peer is; it must be up. Its going down, or a new address or MTU of it, ends the session
	SessionID uint16  // 1..65534
	Peer      [6]byte // the peer's address, an individual one
}

// LineSpec asks for PPP in HDLC-like framing (RFC 1662) on a tty.
type LineSpec struct {
	TTY *os.File // in raw mode, with nothing more to be read by its owner
}

// access is what is different with a session that is not of L2TP.
type access struct {
	name   string
	line   bool
	face   int      // index of the interface; 0: none. mu
	before Stats    // what the interface had counted for others. mu
	held   [][]byte // frames to send when the link is bound. mu
}

var (
	errNotL2TP = errors.New("only L2TP has sequence numbers")
	errNotLine = errors.New("not a line")
	errLine    = errors.New("a line cannot be handed over")
)

// name is the session in errors.
func (s *Session) name() string {
	if s.access != nil {
		return s.access.name
	}
	return fmt.Sprintf("session %d/%d", s.tunnel, s.id)
}

func (s *Session) isLine() bool { return s.access != nil && s.access.line }

func (s PPPoESpec) name() string {
	return fmt.Sprintf("pppoe session %d on %s", s.SessionID, s.Interface)
}

// OpenPPPoE makes a session of PPPoE and begins to read, as CreateSession does one of L2TP; the interface is looked for in the calling
// thread's namespace. One that is missing or down is os.ErrNotExist, a session that there is already os.ErrExist, and a machine that
// has no PPPoE an *UnavailableError.
//
// The kernel has no MTU of its own for it: frames longer than the interface's MTU less 8 are lost.
func (k *Kernel) OpenPPPoE(spec PPPoESpec, to Receiver) (*Session, error) {
	s, err := k.openPPPoE(spec, to)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", spec.name(), err)
	}
	return s, nil
}

func (k *Kernel) openPPPoE(spec PPPoESpec, to Receiver) (*Session, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	sa := sockaddrPPPoE(spec)
	fd, err := connectPPPoX(unix.SOCK_STREAM, protoOE, sa[:])
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return nil, missing("pppoe", err)
	case errors.Is(err, unix.ENODEV):
		return nil, fmt.Errorf("interface %s is missing or down: %w", spec.Interface, err)
	case err != nil:
		return nil, fmt.Errorf("peer %v: %w", net.HardwareAddr(spec.Peer[:]), err)
	}
	s := &Session{
		k: k, to: to, access: &access{name: spec.name()}, link: fd, channel: -1, unit: -1,
	}
	if err := k.loop.add(s); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return s, nil
}

// missing says that a module is.
func missing(module string, err error) error {
	return &UnavailableError{
		What: module + " is not available",
		Advice: "modprobe " + module + "; if there is no such module install linux-modules-extra (Ubuntu) or " +
			"kernel-modules-extra (Fedora, RHEL)",
		Err: err,
	}
}

// OpenLine gives a tty to PPP and begins to read frames, as CreateSession does, and must have a Receiver. The tty is the
// session's from then on: the file is closed, and Close gives the tty its usual discipline back and lets go of it, which hangs up a
// line that is so configured. After an error it is the caller's as before. Not a tty: ENOTTY; a machine without PPP on ttys: an
// *UnavailableError.
//
// Frames longer than 1500 octets are not received.
func (k *Kernel) OpenLine(spec LineSpec, to Receiver) (*Session, error) {
	name := "line"
	if spec.TTY != nil {
		name += " " + spec.TTY.Name()
	}
	s, err := k.openLine(name, spec, to)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return s, nil
}

func (k *Kernel) openLine(name string, spec LineSpec, to Receiver) (*Session, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if to == nil {
		return nil, errLine
	}
	tty, err := duplicate(spec.TTY)
	if err != nil {
		return nil, err
	}
	channel, index, err := pppLine(tty)
	if err != nil {
		return nil, errors.Join(err, unix.Close(tty))
	}
	s := &Session{
		k: k, to: to, access: &access{name: name, line: true},
		link: tty, channel: channel, index: index, unit: -1, bound: true,
	}
	if err := k.loop.add(s); err != nil {
		return nil, errors.Join(err, setDiscipline(tty, disciplineTTY), unix.Close(channel), unix.Close(tty))
	}
	if err := spec.TTY.Close(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// pppLine makes a tty a PPP channel and gives a descriptor and the index of that. After an error the tty is as before.
func pppLine(tty int) (channel int, index int32, err error) {
	if channel, err = openPPP(); err != nil {
		return -1, 0, err
	}
	err = setDiscipline(tty, disciplinePPP)
	if errors.Is(err, unix.EINVAL) {
		err = missing("ppp_async", err)
	}
	if err != nil {
		return -1, 0, errors.Join(err, unix.Close(channel))
	}
	if index, err = channelOf(tty); err == nil {
		err = attachChannel(channel, index)
	}
	if err != nil {
		return -1, 0, errors.Join(err, setDiscipline(tty, disciplineTTY), unix.Close(channel))
	}
	return channel, index, nil
}

// duplicate gives a second descriptor of a file, without making the file a blocking one.
func duplicate(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	outer := raw.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(outer, err); err != nil {
		return -1, fmt.Errorf("copy the descriptor: %w", err)
	}
	return fd, nil
}

// setDiscipline changes what a tty's octets mean.
func setDiscipline(tty int, discipline int32) error {
	if err := ioctl(tty, unix.TIOCSETD, unsafe.Pointer(&discipline)); err != nil {
		return fmt.Errorf("set line discipline %d: %w", discipline, err)
	}
	return nil
}

// SetACCM says which control characters a line escapes when it sends, and drops when it receives (RFC 1662, 7.1). A new one has all
// bits set and none. Any other session than a line is an error.
func (s *Session) SetACCM(send, receive uint32) error {
	s.op.Lock()
	defer s.op.Unlock()
	err := error(nil)
	switch {
	case !s.isLine():
		err = errNotLine
	case s.link < 0:
		err = os.ErrClosed
	default:
		err = errors.Join(ioctl(s.channel, unix.PPPIOCSASYNCMAP, unsafe.Pointer(&send)),
			ioctl(s.channel, unix.PPPIOCSRASYNCMAP, unsafe.Pointer(&receive)))
	}
	if err != nil {
		return fmt.Errorf("set accm of %s: %w", s.name(), err)
	}
	return nil
}

// LineErrors are the counters of WAN-Error-Notify (RFC 2661, 6.13), as far as the hardware of a line counts: CRC, framing, hardware overruns,
// buffer overruns, time-outs, alignment. They begin wherever the hardware has them. A pty counts nothing, and is an error; so is any other
// session than a line.
func LineErrors(s *Session) (n [6]uint32, err error) {
	s.op.Lock()
	defer s.op.Unlock()
	var c struct {
		_, _, _, _, _, _                              int32 // modem lines that changed, octets
		frame, overrun, parity, brk, bufferOverrun, _ int32
		_                                             [8]int32
	}
	switch {
	case !s.isLine():
		err = errNotLine
	case s.link < 0:
		err = os.ErrClosed
	default:
		err = ioctl(s.link, unix.TIOCGICOUNT, unsafe.Pointer(&c))
	}
	if err != nil {
		return n, fmt.Errorf("errors of %s: %w", s.name(), err)
	}
	return [6]uint32{0, uint32(c.frame), uint32(c.overrun), uint32(c.bufferOverrun), 0, 0}, nil
}

// interfaceStats are the counters of a session that is not of L2TP: those of its interface. It is not called under mu, for it waits.
func (s *Session) interfaceStats() (Stats, error) {
	s.mu.Lock()
	face, last := s.access.face, s.last
	s.mu.Unlock()
	if face == 0 {
		return last, nil
	}
	now, err := s.k.links.stats(face)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.access.face != face: // closed meanwhile: it may have been another session's that was read
		return s.last, nil
	case err != nil:
		return s.last, fmt.Errorf("%s: get counters: %w", s.name(), err)
	}
	s.last = now.since(s.access.before)
	return s.last, nil
}

// since gives what was counted after before was.
func (s Stats) since(before Stats) Stats {
	s.TxPackets -= before.TxPackets
	s.TxBytes -= before.TxBytes
	s.TxErrors -= before.TxErrors
	s.RxPackets -= before.RxPackets
	s.RxBytes -= before.RxBytes
	s.RxErrors -= before.RxErrors
	return s
}
