package kernel

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// HandOver gives a descriptor of the session's socket to be inherited by a process that runs PPP on it, as pppd does, and stops
// to read the socket. A session that CreateSession made without a Receiver has never been read: what came meanwhile waits in the
// socket, and that process gets it where Features.Reinjects is true. Of any other session it has gone to the Receiver.
//
// The file is the caller's; it may be closed once the process has started. The kernel's session lives until the last
// descriptor is closed: Close reads the counters and closes this one, so the process must have ended before Close ends the
// session, and should, because it would send on. Until then Stats and SetSequencing work as ever; Send, Attach and Pass are
// not to be called, and OnDead is not told anything. With an interface attached: os.ErrExist.
func (s *Session) HandOver() (*os.File, error) {
	f, err := s.handOver()
	if err != nil {
		return nil, fmt.Errorf("hand over %s: %w", s.name(), err)
	}
	return f, nil
}

func (s *Session) handOver() (*os.File, error) {
	s.op.Lock()
	defer s.op.Unlock()
	switch {
	case s.link < 0:
		return nil, os.ErrClosed
	case s.isLine():
		return nil, errLine
	case s.peer.Load() != nil:
		return nil, errBridged
	case s.channel >= 0:
		return nil, errAttached
	}
	s.reading.Lock()
	s.set(func() { s.bound = true })
	s.k.loop.forget(s.link)
	s.reading.Unlock()
	fd, err := unix.FcntlInt(uintptr(s.link), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("copy the descriptor: %w", edge(err))
	}
	return os.NewFile(uintptr(fd), "pppox"), nil
}
