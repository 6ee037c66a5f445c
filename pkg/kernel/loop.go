package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// source says which of a session's descriptors an event belongs to.
type source int32

const (
	sourceWake source = iota // not a session's: the loop's own eventfd
	sourceLink
	sourceChannel
	sourceUnit
)

// String names the source.
func (s source) String() string {
	switch s {
	case sourceWake:
		return "wake"
	case sourceLink:
		return "socket"
	case sourceChannel:
		return "channel"
	case sourceUnit:
		return "interface"
	}
	return fmt.Sprintf("source %d", int32(s))
}

const (
	// maxFrame holds the largest frame an IP packet can carry: a shorter buffer would lose longer frames.
	maxFrame = 64 << 10
	// readBurst bounds what one descriptor may deliver before others have their turn. It is no less than what PPP queues: 32.
	readBurst = 32
	// drainBurst bounds the emptying of a socket, so that a flood cannot hold it.
	drainBurst = 1024
)

// loop reads every session of a Kernel on one goroutine: Receivers run there, and nowhere else. The descriptors are not given
// to Go's poller, because a goroutine waiting for each would cost more than the rest of a session.
type loop struct {
	log         *slog.Logger
	epoll, wake int
	done        chan struct{} // closed when run has returned
	buf         []byte        // run's

	mu       sync.Mutex
	sessions map[uint32]*Session // by serial number
	last     uint32              // the last serial number given
	tasks    []func()
	closed   bool // no more sessions
	stop     bool // run returns after the tasks
}

func openLoop(log *slog.Logger) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("open eventfd: %w", err)
	}
	l := &loop{
		log: log, epoll: epoll, wake: wake, done: make(chan struct{}),
		buf: make([]byte, maxFrame), sessions: make(map[uint32]*Session),
	}
	if err := l.watch(0, sourceWake, wake); err != nil {
		_ = unix.Close(wake)
		_ = unix.Close(epoll)
		return nil, err
	}
	go l.run()
	return l, nil
}

// close ends the goroutine. No session may be left.
func (l *loop) close() error {
	l.mu.Lock()
	l.stop = true
	l.mu.Unlock()
	l.kick()
	<-l.done
	return errors.Join(unix.Close(l.wake), unix.Close(l.epoll))
}

// add gives a session its serial number and begins to read its socket, or the channel of a line, if there is a Receiver for it.
func (l *loop) add(s *Session) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return os.ErrClosed
	}
	for {
		l.last++
		if _, taken := l.sessions[l.last]; !taken {
			break
		}
	}
	s.serial = l.last
	if s.to != nil {
		from, fd := sourceLink, s.link
		if s.channel >= 0 {
			from, fd = sourceChannel, s.channel
		}
		if err := l.watch(s.serial, from, fd); err != nil {
			return err
		}
	}
	l.sessions[s.serial] = s
	return nil
}

// remove forgets a session that is marked as closed. After it returned the session's Receiver is not running and will not run.
func (l *loop) remove(s *Session) {
	l.mu.Lock()
	delete(l.sessions, s.serial)
	l.mu.Unlock()
	s.reading.Lock()
	defer s.reading.Unlock()
	for _, fd := range []int{s.link, s.channel, s.unit} {
		l.forget(fd)
	}
}

// shut refuses further sessions and gives those there are.
func (l *loop) shut() []*Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	left := make([]*Session, 0, len(l.sessions))
	for _, s := range l.sessions {
		left = append(left, s)
	}
	return left
}

// watch adds a descriptor. Events carry the session's serial number, not the descriptor: one that was closed and whose
// number was used again cannot be mistaken.
func (l *loop) watch(serial uint32, from source, fd int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(serial), Pad: int32(from)}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("watch %v: %w", from, err)
	}
	return nil
}

// forget removes a descriptor; one that is not there (-1 too) is no error.
func (l *loop) forget(fd int) {
	if fd >= 0 {
		_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	}
}

// call runs f on the loop's goroutine and waits for it. It must not be called from there. On a loop that ended f runs at
// once: there is nobody left to exclude.
func (l *loop) call(f func()) {
	ran := make(chan struct{})
	l.post(func() {
		f()
		close(ran)
	})
	select {
	case <-ran:
	case <-l.done:
		select {
		case <-ran:
		default:
			f()
		}
	}
}

// post runs f on the loop's goroutine, unless the loop has ended, and does not wait.
func (l *loop) post(f func()) {
	l.mu.Lock()
	l.tasks = append(l.tasks, f)
	l.mu.Unlock()
	l.kick()
}

// kick wakes the goroutine.
func (l *loop) kick() {
	one := [8]byte{}
	hostOrder.PutUint64(one[:], 1)
	// EAGAIN means that the counter is full, so it wakes anyway.
	_, _ = unix.Write(l.wake, one[:])
}

func (l *loop) run() {
	defer close(l.done)
	events := make([]unix.EpollEvent, 128)
	for {
		n, err := unix.EpollWait(l.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			// Only a closed descriptor or a bad pointer can do this: a defect, said loudly instead of spinning.
			l.log.Error("wait for frames", slog.Any("error", err))
			return
		}
		for _, ev := range events[:max(n, 0)] {
			from := source(ev.Pad)
			if from == sourceWake {
				if l.work() {
					return
				}
				continue
			}
			l.mu.Lock()
			s := l.sessions[uint32(ev.Fd)]
			l.mu.Unlock()
			if s != nil {
				s.ready(from, ev.Events, l.buf)
			}
		}
	}
}

// work runs the tasks and reports whether the loop ends.
func (l *loop) work() bool {
	var counter [8]byte
	_, _ = unix.Read(l.wake, counter[:])
	l.mu.Lock()
	tasks, stop := l.tasks, l.stop
	l.tasks = nil
	l.mu.Unlock()
	for _, f := range tasks {
		f()
	}
	return stop
}
