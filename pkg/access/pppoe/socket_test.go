package pppoe

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pipe gives both ends of what keeps datagrams apart, as a packet socket does. The second goes with the test.
func pipe(t *testing.T) (queue, sender int) {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(ends[1]) })
	return ends[0], ends[1]
}

// fakeSocket is a socket whose queues are filled by the senders.
func fakeSocket(t *testing.T) (s *socket, senders [2]int) {
	t.Helper()
	var queues [2]int
	for i := range queues {
		queues[i], senders[i] = pipe(t)
	}
	s, err := newSocket(queues)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.close() })
	return s, senders
}

func put(t *testing.T, sender int, frame []byte) {
	t.Helper()
	if err := unix.Send(sender, frame, 0); err != nil {
		t.Fatal(err)
	}
}

// closed says that nobody can receive what that sender sends.
func closed(sender int) bool { return errors.Is(unix.Send(sender, []byte{0}, 0), unix.ECONNREFUSED) }

func TestExactlyOneQueueTakesAFrame(t *testing.T) {
	t.Parallel()
	var queues, senders [2]int
	for i := range queues {
		queues[i], senders[i] = pipe(t)
		defer func() { _ = unix.Close(queues[i]) }()
		if err := attachFilter(queues[i], i == 1); err != nil {
			t.Fatal(err)
		}
	}
	takes := func(frame []byte, want int) {
		t.Helper()
		for i := range queues {
			put(t, senders[i], frame)
			buf := make([]byte, maxFrame)
			n, _, err := unix.Recvfrom(queues[i], buf, unix.MSG_DONTWAIT)
			if taken := err == nil; taken != (i == want) || taken && !bytes.Equal(frame, buf[:n]) {
				t.Errorf("queue %d and %x: %x, %v", i, frame, buf[:max(n, 0)], err)
			}
		}
	}
	for code := range 256 {
		want := 0
		if c := Code(code); c == CodePADR || c == CodePADT {
			want = 1
		}
		frame := Packet{Code: Code(code), Tags: []Tag{{TagServiceName, []byte("all of it")}}}.frame()
		takes(frame, want)
		takes(frame[:etherHeader+2], want)
		for n := range etherHeader + 2 {
			takes(frame[:n], 0)
		}
	}
}

func TestQueuesAreReadInTurn(t *testing.T) {
	t.Parallel()
	s, senders := fakeSocket(t)
	for range 3 {
		put(t, senders[1], []byte{'b'})
	}
	for range 5 {
		put(t, senders[0], []byte{'a'})
	}
	var order []byte
	for range 8 {
		r, err := s.receive(make([]byte, maxFrame))
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, r.frame...)
	}
	if string(order) != "abababaa" {
		t.Errorf("read in the order %s", order)
	}
}

func TestEitherQueueEndsTheWait(t *testing.T) {
	t.Parallel()
	s, senders := fakeSocket(t)
	frames, end := make(chan byte), make(chan error)
	go func() {
		for {
			r, err := s.receive(make([]byte, maxFrame))
			if err != nil {
				end <- err
				return
			}
			frames <- r.frame[0]
		}
	}()
	for i := range 3000 {
		put(t, senders[i/3%2], []byte{byte(i)}) // the same again, too
		if got := <-frames; got != byte(i) {
			t.Fatalf("frame %d instead of %d", got, byte(i))
		}
	}
	if err := s.wake(time.Unix(1, 0)); err != nil {
		t.Error(err)
	}
	if err := <-end; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the wait has ended with %v", err)
	}
}

func TestSocketClosesItsQueues(t *testing.T) {
	t.Parallel()
	s, senders := fakeSocket(t)
	if closed(senders[0]) || closed(senders[1]) {
		t.Error("closed too early")
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	if !closed(senders[0]) || !closed(senders[1]) {
		t.Error("a queue is open")
	}
	if err := s.close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closing again: %v", err)
	}
	err := s.control(func() error {
		t.Error("a closed queue is used")
		return nil
	})
	if err == nil {
		t.Error("a closed queue can be used")
	}

	// One does not wait for a file: epoll refuses it.
	for place := range senders {
		file, err := unix.Open("/proc/self/status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		queue, sender := pipe(t)
		queues := [2]int{queue, queue}
		queues[place] = file
		if _, err := newSocket(queues); !errors.Is(err, unix.EPERM) || !closed(sender) {
			t.Errorf("a socket with a file: %v, the queue is closed: %t", err, closed(sender))
		}
	}
}
