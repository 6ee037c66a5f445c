package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	errBridged   = fmt.Errorf("it is bridged: %w", os.ErrExist)
	errUnbridged = fmt.Errorf("it is not bridged: %w", os.ErrNotExist)
	errSelf      = errors.New("a session cannot be bridged to itself")
	errForeign   = errors.New("they are not of one kernel")
)

// Bridge joins two sessions of one Kernel, which the kernel then carries frames between, whatever they are and whatever their length:
// no sink gets any. s is the access side, or the older one, and keeps a descriptor by which its death is noticed; of an L2TP session
// `to` that would tell nothing, and it has none. Both may be of any kind.
//
// What came before, up to the moment of the bridge, reaches the sinks; a caller who wants it to go on sends it by the other session.
// Send on either goes out on that session, as before. Stats go on, too, and those of an L2TP session count what the bridge carries.
//
// A session with an interface or with a bridge is os.ErrExist. After an error both work as before. The bridge ends with Unbridge, with
// the Close of either, and with the death of either. It sleeps 30-60 ms.
func (s *Session) Bridge(to *Session) error {
	if err := bridge(s, to); err != nil {
		return fmt.Errorf("bridge %s to %s: %w", s.name(), to.name(), err)
	}
	return nil
}

func bridge(s, to *Session) error {
	switch {
	case s == to:
		return errSelf
	case s.k != to.k:
		return errForeign
	}
	defer lockBoth(s, to)()
	for _, x := range []*Session{s, to} {
		if err := x.free(); err != nil {
			return fmt.Errorf("%s: %w", x.name(), err)
		}
	}
	defer s.k.sleep()()
	for _, x := range []*Session{s, to} {
		if err := openChannel(x); err != nil {
			return fmt.Errorf("%s: %w", x.name(), err)
		}
	}
	// The index that the kernel looks for is in the calling thread's namespace.
	if err := ioctl(s.channel, unix.PPPIOCBRIDGECHAN, unsafe.Pointer(&to.index)); err != nil {
		return err
	}
	s.peer.Store(to)
	to.peer.Store(s)
	if to.access == nil {
		return closeChannel(to)
	}
	return nil
}

// free reports why a session can be neither attached nor bridged; op is held.
func (s *Session) free() error {
	switch {
	case s.link < 0:
		return os.ErrClosed
	case s.unit >= 0:
		return errAttached
	case s.peer.Load() != nil:
		return errBridged
	}
	return nil
}

// lockBoth takes op of both, always in the same order.
func lockBoth(a, b *Session) (unlock func()) {
	if a.serial > b.serial {
		a, b = b, a
	}
	a.op.Lock()
	b.op.Lock()
	return func() {
		b.op.Unlock()
		a.op.Unlock()
	}
}

// closeChannel gives the sink what the channel has queued and lets go of the descriptor. The channel itself stays.
func closeChannel(s *Session) error {
	fd := s.channel
	s.k.loop.call(func() {
		s.set(func() { s.channel = -1 })
		s.k.loop.forget(fd)
		buf := s.k.buffers.Get().(*[maxFrame]byte)
		defer s.k.buffers.Put(buf)
		var queued [][]byte
		_ = read(sourceChannel, fd, buf[:], drainBurst, func(f []byte) { queued = append(queued, bytes.Clone(f)) })
		for _, f := range queued {
			s.sink(f)
		}
	})
	return unix.Close(fd)
}

// Unbridge ends the bridge of this session and its peer: the frames of both reach their sinks again, and either may be attached or
// bridged anew. Without a bridge: os.ErrNotExist. An error that names a channel is as that of Attach: the bridge has ended, and what the
// L2TP session that is named receives waits for its next Attach or Bridge. It sleeps 15-60 ms.
func (s *Session) Unbridge() error {
	if err := unbridge(s); err != nil {
		return fmt.Errorf("unbridge %s: %w", s.name(), err)
	}
	return nil
}

func unbridge(s *Session) error {
	to := s.peer.Load()
	if to == nil {
		return errUnbridged
	}
	defer lockBoth(s, to)()
	if s.peer.Load() != to || s.link < 0 || to.link < 0 {
		return errUnbridged // one was closed, or another Unbridge came first
	}
	defer s.k.sleep()()
	fd := s.channel
	if fd < 0 {
		fd = to.channel
	}
	// EINVAL: the kernel has ended the bridge, because one side of it died.
	if err := ioctl(fd, unix.PPPIOCUNBRIDGECHAN, nil); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	s.part()
	for _, x := range []*Session{s, to} {
		if err := openChannel(x); err != nil {
			return fmt.Errorf("%s: %w", x.name(), err)
		}
	}
	return nil
}

// part forgets the bridge, in both sessions; op of this one is held.
func (s *Session) part() {
	if to := s.peer.Swap(nil); to != nil {
		to.peer.CompareAndSwap(s, nil)
	}
}
