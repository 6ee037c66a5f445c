package kernel

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"
)

// attach does what Session.Attach promises.
func attach(s *Session, spec UnitSpec) (Unit, error) {
	if err := spec.Validate(); err != nil {
		return Unit{}, err
	}
	s.op.Lock()
	defer s.op.Unlock()
	if err := s.free(); err != nil {
		return Unit{}, err
	}
	defer s.k.sleep()()
	if err := openChannel(s); err != nil {
		return Unit{}, err
	}
	return openUnit(s, spec)
}

// openChannel binds the socket and begins to read its channel, unless a former Attach did. What may run out is got before the
// socket is bound, which cannot be taken back.
func openChannel(s *Session) error {
	if s.channel >= 0 {
		return nil
	}
	fd, err := openPPP()
	if err != nil {
		return err
	}
	index, err := bind(s)
	if err == nil {
		err = attachChannel(fd, index)
	}
	if err == nil {
		s.index = index
		s.set(func() { s.channel = fd })
		if err = s.k.loop.watch(s.serial, sourceChannel, fd); err != nil {
			s.set(func() { s.channel = -1 })
		}
	}
	if err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	return nil
}

// unhold ends the binding and sends what had to wait for that; mu is held.
func (s *Session) unhold() {
	s.binding = false
	if s.access == nil {
		return
	}
	for _, f := range s.access.held {
		_ = writeFrame(s.link, f)
	}
	s.access.held = nil
}

// bind hands the socket to the PPP driver. What the socket has queued is read right before, with nothing in between, and
// given to the Receiver afterwards: a frame that comes in between is re-injected by the driver behind those of the next 15 ms,
// or stranded where Features.Reinjects is false.
func bind(s *Session) (int32, error) {
	loop := s.k.loop
	s.reading.Lock()
	s.set(func() {
		_, _ = s.readStats() // for Stats, which does not wait
		s.bound, s.binding = true, true
	})
	loop.forget(s.link)
	s.reading.Unlock()
	var queued [][]byte
	if readable(s.link) { // seldom: a buffer is large
		buf := s.k.buffers.Get().(*[maxFrame]byte)
		defer s.k.buffers.Put(buf)
		_ = read(sourceLink, s.link, buf[:], drainBurst, func(f []byte) { queued = append(queued, bytes.Clone(f)) })
	}
	index, err := channelOf(s.link)
	s.set(func() {
		s.bound = err == nil
		s.unhold()
	})
	if len(queued) > 0 {
		loop.call(func() {
			for _, f := range queued {
				s.frame(f)
			}
		})
	}
	if err != nil {
		return 0, errors.Join(err, loop.watch(s.serial, sourceLink, s.link))
	}
	return index, nil
}
