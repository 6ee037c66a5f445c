package kernel

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ready serves one event, on the loop's goroutine.
func (s *Session) ready(from source, events uint32, buf []byte) {
	s.reading.Lock()
	defer s.reading.Unlock()
	s.mu.Lock()
	fd := s.descriptor(from)
	channel := s.channel
	s.mu.Unlock()
	if fd < 0 {
		return
	}
	if from == sourceUnit && channel >= 0 {
		// What the peer sent before the unit was connected, and the end of authentication, wait there: all of it comes first.
		_ = read(sourceChannel, channel, buf, readBurst, s.frame)
	}
	err := read(from, fd, buf, readBurst, s.frame)
	if err == nil && events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		err = os.ErrNotExist
	}
	if err != nil {
		s.k.loop.forget(fd)
		s.dead(from, err)
	}
}

// frame is for the Receiver, if there is one.
func (s *Session) frame(b []byte) {
	if s.to != nil {
		s.to.Frame(b)
	}
}

// descriptor gives what is to be read, or -1; it needs mu.
func (s *Session) descriptor(from source) int {
	if s.closed {
		return -1
	}
	switch from {
	case sourceWake:
	case sourceLink:
		if s.bound {
			return -1
		}
		return s.link
	case sourceChannel:
		return s.channel
	case sourceUnit:
		return s.unit
	}
	return -1
}

// read takes up to burst frames from a descriptor. An error means that the descriptor is of no more
// use: os.ErrNotExist when its channel or unit is gone.
func read(from source, fd int, buf []byte, burst int, take func([]byte)) error {
	for range burst {
		n, err := unix.Read(fd, buf)
		switch {
		case err == nil && n >= 2:
			take(buf[:n])
		case err == nil && n == 0 && from != sourceLink:
			return os.ErrNotExist // end of file
		case err == nil, errors.Is(err, unix.EINTR), errors.Is(err, unix.EOVERFLOW):
			// Nothing, less than a protocol, or more than an IP packet holds.
		case errors.Is(err, unix.EAGAIN):
			return nil
		default:
			return edge(err)
		}
	}
	return nil
}

// readable says whether something waits to be read.
func readable(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err != nil || n > 0
}

// gone tells that the link has vanished, on the loop's goroutine.
func (s *Session) gone(err error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if !closed {
		s.dead(sourceLink, err)
	}
}

// dead tells once that the session is of no more use.
func (s *Session) dead(from source, err error) {
	if s.toldDead || s.to == nil {
		return
	}
	s.toldDead = true
	s.to.Dead(fmt.Errorf("the %v of %s is gone: %w", from, s.name(), err))
}
