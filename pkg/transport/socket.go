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

// sink is where the sockets of a transport deliver, and what they share.
type sink struct {
	options  Options
	handler  Handler
	log      *slog.Logger
	counters [kinds]counters
	buffers  chan *batch   // that are not in use
	done     chan struct{} // closed with the transport
}

func newSink(o Options, h Handler, log *slog.Logger) *sink {
	return &sink{options: o, handler: h, log: log, buffers: make(chan *batch, spareBatches), done: make(chan struct{})}
}

// spareBatches is how many batches wait to be used again. They are large, and to make one brings the next garbage collection nearer.
const spareBatches = 1

func (k *sink) borrow() *batch {
	select {
	case b := <-k.buffers:
		return b
	default:
		return newBatch()
	}
}

func (k *sink) giveBack(b *batch) {
	select {
	case k.buffers <- b:
	default:
	}
}

// socket is one UDP socket under the runtime's poller.
type socket struct {
	*sink
	kind    kind
	file    *os.File
	raw     syscall.RawConn
	local   netip.AddrPort                 // as bound
	remote  atomic.Pointer[netip.AddrPort] // as connected; nil for a listener
	dropped uint32                         // the kernel's count at the last datagram; the reading goroutine's
}

// open makes a socket with the options all of them share, lets more set others, and binds it.
func (k *sink) open(what kind, local netip.AddrPort, more func(fd int) error) (*socket, error) {
	v6 := local.Addr().Is6()
	fd, err := unix.Socket(family(local.Addr()), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = errors.Join(commonOptions(fd, v6, k.options), more(fd))
	if err == nil {
		err = bind(fd, local)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return k.adopt(what, fd)
}

// bind binds a socket that shares its port. Where the kernel chooses the port, sharing begins afterwards: else it would choose
// among the ports of others that share theirs.
func bind(fd int, local netip.AddrPort) error {
	share := option{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}
	if local.Port() != 0 {
		if err := set(fd, share); err != nil {
			return err
		}
	}
	if err := unix.Bind(fd, sockaddr(local)); err != nil {
		return os.NewSyscallError("bind", err)
	}
	return set(fd, share)
}

// adopt takes over a bound descriptor; it is closed when that fails.
func (k *sink) adopt(what kind, fd int) (*socket, error) {
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
	return &socket{sink: k, kind: what, file: file, raw: raw, local: local}, nil
}

// read feeds the handler until the socket is closed. Every other error is counted and passed over: an ICMP error is a hint,
// and a socket that stays in error must not stop the daemon, nor take a processor.
func (s *socket) read() {
	failures := 0
	for {
		err := s.readBatch()
		switch {
		case err == nil:
			failures = 0
			continue
		case errors.Is(err, os.ErrClosed), s.isClosed():
			return
		case isUnreachable(err):
			if s.kind == kindTunnel { // a listener's error queue tells the same, with the address
				s.unreachable(s.kind, *s.remote.Load())
			}
			continue
		}
		failures++
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "receive",
			slog.String("socket", s.file.Name()), slog.Int("failures", failures), slog.Any("err", err))
		select {
		case <-s.done:
		case <-time.After(time.Duration(min(failures, 100)) * 10 * time.Millisecond):
		}
	}
}

// readBatch waits for datagrams and hands them up. The memory is borrowed only once there is something to read, so that
// thousands of quiet tunnel sockets share a few buffers.
func (s *socket) readBatch() error {
	var b *batch
	var n int
	var failure error
	err := s.raw.Read(func(fd uintptr) bool {
		b = s.borrow()
		n, failure = b.receive(fd)
		if errors.Is(failure, unix.EAGAIN) {
			s.drainErrors(fd)
			s.giveBack(b)
			b, failure = nil, nil
			return false
		}
		return true
	})
	if b != nil {
		defer s.giveBack(b)
	}
	switch {
	case err != nil:
		// The poller knows no error but that the file is closed.
		return errors.Join(os.ErrClosed, err)
	case failure != nil:
		return os.NewSyscallError("recvmmsg", failure)
	}
	for i := range n {
		s.deliver(b, i)
	}
	return nil
}

func (s *socket) deliver(b *batch, i int) {
	data, remote, more := b.datagram(i)
	c := &s.counters[s.kind]
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
	s.handler(Packet{Local: local, Remote: remote, Data: data})
}

// drainErrors empties the error queue of a listener: each entry names the destination that could not be reached.
func (s *socket) drainErrors(fd uintptr) {
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
		s.unreachable(s.kind, fromSockaddr(from))
	}
}

func (k *sink) unreachable(what kind, remote netip.AddrPort) {
	k.counters[what].unreachable.Add(1)
	if k.options.OnUnreachable != nil && remote.IsValid() {
		k.options.OnUnreachable(remote)
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

func (k *sink) isClosed() bool {
	select {
	case <-k.done:
		return true
	default:
		return false
	}
}
