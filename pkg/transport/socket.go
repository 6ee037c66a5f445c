package transport

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket is one UDP socket under the runtime's poller.
type socket struct {
	kind    kind
	file    *os.File
	raw     syscall.RawConn
	local   netip.AddrPort                 // as bound
	remote  atomic.Pointer[netip.AddrPort] // as connected; nil for a listener
	dropped uint32                         // the kernel's count at the last datagram; the reading goroutine's
}

// open makes a socket with the options all of them share, lets more set others, and binds it.
func (t *Transport) open(k kind, local netip.AddrPort, more func(fd int) error) (*socket, error) {
	v6 := local.Addr().Is6()
	fd, err := unix.Socket(family(local.Addr()), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = errors.Join(commonOptions(fd, v6, t.options), more(fd))
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, sockaddr(local)))
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return adopt(k, fd)
}

// adopt takes over a bound descriptor; it is closed when that fails.
func adopt(k kind, fd int) (*socket, error) {
	local, err := sockname(fd)
	if err == nil {
		err = os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "udp:"+local.String())
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &socket{kind: k, file: file, raw: raw, local: local}, nil
}

// read feeds the handler until the socket is closed. Every other error is counted and passed over: an ICMP error is a hint,
// and a socket that stays in error must not stop the daemon, nor take a processor.
func (t *Transport) read(s *socket) {
	failures := 0
	for {
		err := t.readBatch(s)
		switch {
		case err == nil:
			failures = 0
			continue
		case errors.Is(err, os.ErrClosed), t.isClosed():
			return
		case isUnreachable(err):
			if s.kind == kindTunnel { // a listener's error queue tells the same, with the address
				t.unreachable(s.kind, *s.remote.Load())
			}
			continue
		}
		failures++
		t.log.LogAttrs(context.Background(), slog.LevelWarn, "receive",
			slog.String("socket", s.file.Name()), slog.Int("failures", failures), slog.Any("err", err))
		select {
		case <-t.done:
		case <-time.After(time.Duration(min(failures, 100)) * 10 * time.Millisecond):
		}
	}
}

// readBatch waits for datagrams and hands them up. The memory is borrowed only once there is something to read, so that
// thousands of quiet tunnel sockets share a few buffers.
func (t *Transport) readBatch(s *socket) error {
	var b *batch
	var n int
	var failure error
	err := s.raw.Read(func(fd uintptr) bool {
		b = t.buffers.Get().(*batch)
		n, failure = b.receive(fd)
		if failure == unix.EAGAIN {
			t.drainErrors(s, fd)
			t.buffers.Put(b)
			b, failure = nil, nil
			return false
		}
		return true
	})
	if b != nil {
		defer t.buffers.Put(b)
	}
	switch {
	case err != nil:
		// The poller knows no error but that the file is closed.
		return errors.Join(os.ErrClosed, err)
	case failure != nil:
		return os.NewSyscallError("recvmmsg", failure)
	}
	for i := range n {
		t.deliver(s, b, i)
	}
	return nil
}

func (t *Transport) deliver(s *socket, b *batch, i int) {
	data, remote, more := b.datagram(i)
	c := &t.counters[s.kind]
	c.received(data)
	if more.counted {
		c.overflow.Add(uint64(more.dropped - s.dropped))
		s.dropped = more.dropped
	}
	local := s.local
	if more.local.IsValid() {
		local = netip.AddrPortFrom(more.local, local.Port())
	}
	if !remote.IsValid() || local.Addr().IsMulticast() {
		return // nothing that could be answered
	}
	t.handler(Packet{Local: local, Remote: remote, Data: data})
}

// drainErrors empties the error queue of a listener: each entry names the destination that could not be reached.
func (t *Transport) drainErrors(s *socket, fd uintptr) {
	if s.kind != kindListener {
		return
	}
	var data [1]byte
	var oob [2 * oobSize]byte
	for {
		_, n, _, from, err := unix.Recvmsg(int(fd), data[:], oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			return
		}
		if !parseAncillary(oob[:n]).failure || from == nil {
			continue
		}
		t.unreachable(s.kind, fromSockaddr(from))
	}
}

func (t *Transport) unreachable(k kind, remote netip.AddrPort) {
	t.counters[k].unreachable.Add(1)
	if t.options.OnUnreachable != nil && remote.IsValid() {
		t.options.OnUnreachable(remote)
	}
}

// isUnreachable tells errors that an ICMP message left on a socket.
func isUnreachable(err error) bool {
	for _, errno := range []unix.Errno{
		unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENONET, unix.ENOPROTOOPT,
		unix.EOPNOTSUPP, unix.EPROTO, unix.EMSGSIZE, unix.EACCES,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

func (t *Transport) isClosed() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}
