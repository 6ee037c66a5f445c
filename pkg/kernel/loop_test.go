package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// rig is a Kernel without L2TP: its sessions read ordinary datagram sockets.
func rig(t *testing.T) *Kernel {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	l, err := openLoop(log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
	return &Kernel{
		log: log, loop: l, sleeping: make(chan struct{}, 4), buffers: sync.Pool{New: func() any { return new([maxFrame]byte) }},
	}
}

// pipe gives a descriptor for a session, which closes it, and its far end.
func pipe(t *testing.T) (near, far int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fds[1]) })
	return fds[0], fds[1]
}

// session gives a session and the far end of its socket.
func session(t *testing.T, k *Kernel, sink func([]byte), onDead func(error)) (*Session, int) {
	t.Helper()
	near, far := pipe(t)
	s := &Session{k: k, to: Funcs{sink, onDead}, tunnel: 1, id: 2, link: near, channel: -1, unit: -1}
	if err := k.loop.add(s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, far
}

func write(t *testing.T, fd int, frame []byte) {
	t.Helper()
	for {
		_, err := unix.Write(fd, frame)
		if err == nil {
			return
		}
		if !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
	}
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func TestFramesComeInOrderFromOneGoroutine(t *testing.T) {
	t.Parallel()
	k := rig(t)
	const sessions, frames = 8, 500
	var busy sync.Mutex
	done := make(chan int, sessions)
	for i := range sessions {
		next := 0
		_, far := session(t, k, func(frame []byte) {
			if !busy.TryLock() {
				t.Error("two sinks at once")
			} else {
				defer busy.Unlock()
			}
			if n := int(frame[2])<<8 | int(frame[3]); n != next {
				t.Errorf("frame %d, want %d", n, next)
			}
			if next++; next == frames {
				done <- i
			}
		}, nil)
		go func() {
			for n := range frames {
				write(t, far, []byte{0xc0, 0x21, byte(n >> 8), byte(n)})
			}
		}()
	}
	for range sessions {
		receive(t, done)
	}
}

func TestSinkIsSilentAfterClose(t *testing.T) {
	t.Parallel()
	k := rig(t)
	for range 200 {
		var mu sync.Mutex
		closed := false
		came := make(chan struct{}, 1)
		s, far := session(t, k, func([]byte) {
			mu.Lock()
			defer mu.Unlock()
			if closed {
				t.Error("a frame after Close")
			}
			select {
			case came <- struct{}{}:
			default:
			}
		}, nil)
		stop := make(chan struct{})
		var sender sync.WaitGroup
		sender.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if _, err := unix.SendmsgN(far, []byte{0xc0, 0x21, 0, 0}, nil, nil, unix.MSG_NOSIGNAL); errors.Is(err, unix.EPIPE) {
						return
					}
				}
			}
		})
		receive(t, came)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		mu.Lock()
		closed = true
		mu.Unlock()
		close(stop)
		sender.Wait()
	}
}

func TestClosedSessionRefuses(t *testing.T) {
	t.Parallel()
	s, _ := session(t, rig(t), func([]byte) {}, nil)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, attach := s.Attach(UnitSpec{})
	_, idle := s.Idle()
	for what, err := range map[string]error{
		"send": s.Send([]byte{0xc0, 0x21, 1, 1, 0, 4}), "attach": attach, "idle": idle,
		"pass": s.Pass(IPv4, true), "set sequencing": s.SetSequencing(Sequencing{}),
		"arm compression": s.ArmCompression(compression(1, 2)), "open compression": s.OpenCompression(true),
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s after Close: %v, want os.ErrClosed", what, err)
		}
	}
	if _, err := s.Stats(); err != nil {
		t.Errorf("stats after Close: %v, want the last ones", err)
	}
}

// The socket is locked while it is bound: whoever shows counters must not wait for that.
func TestStatsDoNotWaitForTheBinding(t *testing.T) {
	t.Parallel()
	s, _ := session(t, rig(t), func([]byte) {}, nil)
	want := Stats{TxPackets: 3}
	s.set(func() { s.binding, s.last = true, want })
	if got, err := s.Stats(); err != nil || got != want {
		t.Errorf("stats %+v, %v; want those read last", got, err)
	}
}

func TestCallsBeforeAttachAreErrors(t *testing.T) {
	t.Parallel()
	s, _ := session(t, rig(t), func([]byte) {}, nil)
	_, idle := s.Idle()
	_, broken := s.CompressionBroken()
	for what, err := range map[string]error{
		"idle": idle, "pass": s.Pass(IPv6, true), "arm compression": s.ArmCompression(compression(1, 2)),
		"open compression": s.OpenCompression(true), "compression": broken,
	} {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s before Attach: %v, want os.ErrNotExist", what, err)
		}
	}
}

func TestShortFramesAreRefused(t *testing.T) {
	t.Parallel()
	s, _ := session(t, rig(t), func([]byte) {}, nil)
	for _, frame := range [][]byte{nil, {0xc0}, {0xc0, 0x21, 9, 0, 0}} {
		if err := s.Send(frame); !errors.Is(err, errFrame) {
			t.Errorf("Send(%x): %v", frame, err)
		}
	}
}

// After Attach link control goes by the channel, all else (CCP too, which the unit must see) by the unit.
func TestSendIsRoutedByProtocol(t *testing.T) {
	t.Parallel()
	s, pppox := session(t, rig(t), func([]byte) {}, nil)
	far := map[string]int{"socket": pppox}
	pipe := func(name string) int {
		var near int
		near, far[name] = pipe(t)
		return near
	}
	tests := []struct {
		protocol         uint16
		before, attached string
	}{
		{0xc021, "socket", "channel"},
		{0xc023, "socket", "channel"},
		{0xc223, "socket", "channel"},
		{0x8021, "socket", "unit"},
		{0x8057, "socket", "unit"},
		{0x80fd, "socket", "unit"},
		{0x0021, "socket", "unit"},
	}
	check := func(protocol uint16, want string) {
		t.Helper()
		frame := []byte{byte(protocol >> 8), byte(protocol), 1, 1, 0, 4}
		if err := s.Send(frame); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 16)
		for name, fd := range far {
			n, err := unix.Read(fd, buf)
			if name != want && !errors.Is(err, unix.EAGAIN) {
				t.Errorf("%04x came out of the %s, want %s", protocol, name, want)
			}
			if name == want && (err != nil || string(buf[:n]) != string(frame)) {
				t.Errorf("%04x did not come out of the %s: %x, %v", protocol, name, buf[:max(n, 0)], err)
			}
		}
	}
	for _, tt := range tests {
		check(tt.protocol, tt.before)
	}
	s.set(func() { s.channel = pipe("channel") })
	s.set(func() { s.unit = pipe("unit") })
	for _, tt := range tests {
		check(tt.protocol, tt.attached)
	}
}

func TestDeadDescriptorIsToldOnce(t *testing.T) {
	t.Parallel()
	told := make(chan error, 8)
	frames := make(chan string, 8)
	s, far := session(t, rig(t), func(f []byte) { frames <- fmt.Sprintf("%x", f) }, func(err error) { told <- err })
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.set(func() { s.unit = fds[0] })
	if err := s.k.loop.watch(s.serial, sourceUnit, fds[0]); err != nil {
		t.Fatal(err)
	}
	write(t, fds[1], []byte{0x80, 0x21})
	if err := unix.Close(fds[1]); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, told); !errors.Is(got, os.ErrNotExist) ||
		got.Error() != "the interface of session 1/2 is gone: file does not exist" {
		t.Errorf("told %v", got)
	}
	// A dead descriptor is ready for ever: it must not be watched any more.
	ev := unix.EpollEvent{Events: unix.EPOLLIN}
	if err := unix.EpollCtl(s.k.loop.epoll, unix.EPOLL_CTL_MOD, fds[0], &ev); !errors.Is(err, unix.ENOENT) {
		t.Errorf("the dead descriptor is still watched: %v", err)
	}
	// The session's other descriptors are served as before, and frames that came before the end were delivered.
	write(t, far, []byte{0xc0, 0x21})
	if diff := cmp.Diff([]string{"8021", "c021"}, []string{receive(t, frames), receive(t, frames)}); diff != "" {
		t.Error(diff)
	}
	if len(told) != 0 {
		t.Errorf("told again: %v", <-told)
	}
}

// A session may have nobody to tell, as one that a pppd has: its frames are lost, and others' are not.
func TestSessionWithoutReceiver(t *testing.T) {
	t.Parallel()
	frames := make(chan string, 8)
	k := rig(t)
	s, _ := session(t, k, nil, nil)
	_, far := session(t, k, func(f []byte) { frames <- fmt.Sprintf("%x", f) }, nil)
	unit, farUnit := pipe(t)
	s.set(func() { s.to, s.unit = nil, unit })
	if err := k.loop.watch(s.serial, sourceUnit, unit); err != nil {
		t.Fatal(err)
	}
	write(t, farUnit, []byte{0x80, 0x21})
	for readable(unit) {
		runtime.Gosched()
	}
	write(t, far, []byte{0xc0, 0x21})
	if got := receive(t, frames); got != "c021" {
		t.Errorf("frame %s", got)
	}
}

// A peer's first IPCP request is on the channel when it came before the interface, its second on the unit.
func TestChannelIsReadBeforeTheUnit(t *testing.T) {
	t.Parallel()
	frames := make(chan string, 8)
	held, release := make(chan struct{}), make(chan struct{})
	k := rig(t)
	s, _ := session(t, k, func(f []byte) { frames <- fmt.Sprintf("%x", f) }, nil)
	_, blocker := session(t, k, func([]byte) {
		close(held)
		<-release
	}, nil)
	channel, farChannel := pipe(t)
	unit, farUnit := pipe(t)
	s.set(func() { s.channel = channel })
	s.set(func() { s.unit = unit })
	if err := errors.Join(k.loop.watch(s.serial, sourceChannel, channel), k.loop.watch(s.serial, sourceUnit, unit)); err != nil {
		t.Fatal(err)
	}
	write(t, blocker, []byte{0xc0, 0x21})
	<-held
	write(t, farUnit, []byte{0x80, 0x21, 2})
	write(t, farChannel, []byte{0x80, 0x21, 0})
	write(t, farChannel, []byte{0x80, 0x21, 1})
	close(release)
	for _, want := range []string{"802100", "802101", "802102"} {
		if got := receive(t, frames); got != want {
			t.Errorf("frame %s, want %s", got, want)
		}
	}
}

// Tens of thousands of sessions are meant to fit: no goroutine and no buffer each.
func TestSessionIsSmall(t *testing.T) {
	t.Parallel()
	if size := unsafe.Sizeof(Session{}); size > 320 {
		t.Errorf("a session takes %d octets", size)
	}
}

func TestShutKernelClosesWhatIsLeft(t *testing.T) {
	t.Parallel()
	k := rig(t)
	var left []*Session
	for range 10 {
		s, _ := session(t, k, func([]byte) {}, nil)
		left = append(left, s)
	}
	for _, s := range k.loop.shut() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, s := range left {
		if err := s.Send([]byte{0x80, 0x21}); !errors.Is(err, os.ErrClosed) {
			t.Errorf("send on a session that was left: %v", err)
		}
	}
	if err := k.loop.add(&Session{k: k, link: 0}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("new session on a closed kernel: %v", err)
	}
}
