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
// no Receiver gets any. s is the access side, or the older one, and keeps a descriptor by which its death is noticed; of an L2TP session
// `to` that would tell nothing, and it has none. Both may be of any kind.
//
// What came before, up to the moment of the bridge, reaches the Receivers; a caller who wants it to go on sends it by the other session.
// Send on either goes out on that session, as before. Stats go on, too, and those of an L2TP session count what the bridge carries.
//
// A session with an interface or with a bridge is os.ErrExist. After an error both work as before. The bridge ends with the Close of either,
// and with the death of either. It sleeps 30-60 ms.
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

// Relay takes a frame of a bridged session that did not go through the kernel, and sends it by the other session. An L2TP socket leaves
// such frames to user space: those of a datagram that is shorter than 14 octets, which need no FF 03 and no content to be that. The frame
// begins with the two octets of its protocol. It does not wait. Without a bridge: os.ErrNotExist.
func (s *Session) Relay(frame []byte) error {
	to := s.peer.Load()
	if to == nil {
		return fmt.Errorf("relay from %s: %w", s.name(), errUnbridged)
	}
	return to.Send(frame)
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

// closeChannel gives the Receiver what the channel has queued and lets go of the descriptor. The channel itself stays.
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
			s.frame(f)
		}
	})
	return unix.Close(fd)
}

// part forgets the bridge, in both sessions; op of this one is held.
func (s *Session) part() {
	if to := s.peer.Swap(nil); to != nil {
		to.peer.CompareAndSwap(s, nil)
	}
}
