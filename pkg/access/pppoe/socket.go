package pppoe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxFrame is the longest frame that is read whole. Discovery packets are shorter than 1500 octets (RFC 2516, 5.1).
	maxFrame = 2048
	// receiveBuffer is a queue for the subscribers of a whole access node that call at once.
	receiveBuffer = 4 << 20
)

// device is an interface as it is now.
type device struct {
	index, mtu int
	mac        MAC
}

// socket receives and sends the discovery frames of an interface. It has two queues, so that PADIs, which anybody may send without
// end, take no room from PADRs and PADTs. It and all that it tells of belong to the network namespace in which it was opened,
// whatever interface it is bound to.
type socket struct {
	file   *os.File // an epoll instance under the runtime's poller: ready when a queue is
	raw    syscall.RawConn
	queues [2]int // packet sockets, used within raw only, so that none is used after it was closed
	turn   int    // the queue that is read first; it is the receiver's
}

// openSocket opens a socket that receives nothing until it is bound.
func openSocket() (*socket, error) {
	other, err := openQueue(false)
	if err != nil {
		return nil, err
	}
	later, err := openQueue(true)
	if err != nil {
		return nil, errors.Join(err, unix.Close(other))
	}
	return newSocket([2]int{other, later})
}

// openQueue opens a packet socket.
func openQueue(later bool) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		err = os.NewSyscallError("socket", err)
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w; this takes CAP_NET_RAW: run as root, or add it to CapabilityBoundingSet= of the systemd unit", err)
		}
		return -1, err
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // less will do too
	}
	if err := attachFilter(fd, later); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// attachFilter has a queue take what comes later than a PADO, which is PADR and PADT in their order, or else all other frames. Those
// too short to have a code are among the others: they are counted.
func attachFilter(fd int, later bool) error {
	const code = etherHeader + 1
	takeLater, takeOther := uint32(0), uint32(math.MaxUint32) // octets
	if later {
		takeLater, takeOther = takeOther, takeLater
	}
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_LEN},
		{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: code, Jt: 0, Jf: 3}, // the load would refuse a shorter one
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: code},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(CodePADR), Jt: 2, Jf: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(CodePADT), Jt: 1, Jf: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: takeOther},
		{Code: unix.BPF_RET | unix.BPF_K, K: takeLater},
	}
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	return os.NewSyscallError("setsockopt SO_ATTACH_FILTER", err)
}

// newSocket makes a socket of its queues, which are its own from now on, also after an error.
func newSocket(queues [2]int) (*socket, error) {
	fd, err := watch(queues)
	if err != nil {
		return nil, errors.Join(err, unix.Close(queues[0]), unix.Close(queues[1]))
	}
	s := &socket{file: os.NewFile(uintptr(fd), "pppoe"), queues: queues}
	if s.raw, err = s.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// watch makes an epoll instance that is ready when a queue is, and that the runtime's poller takes.
func watch(queues [2]int) (int, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("epoll_create1", err)
	}
	for _, fd := range queues {
		err = errors.Join(err, os.NewSyscallError("epoll_ctl",
			unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN})))
	}
	err = errors.Join(err, os.NewSyscallError("fcntl", unix.SetNonblock(epoll, true)))
	if err != nil {
		return -1, errors.Join(err, unix.Close(epoll))
	}
	return epoll, nil
}

// close waits for calls that are under way, and ends those that wait. Closing again is an error that does nothing: the queues' numbers
// may be another's by then.
func (s *socket) close() error {
	if err := s.file.Close(); err != nil {
		return err
	}
	return errors.Join(unix.Close(s.queues[0]), unix.Close(s.queues[1]))
}

// control runs f while the queues are open.
func (s *socket) control(f func() error) error {
	var failure error
	if err := s.raw.Control(func(uintptr) { failure = f() }); err != nil {
		return err
	}
	return failure
}

// What keeps an interface from being served.
var (
	errAbsent   = errors.New("there is no such interface")
	errDown     = errors.New("interface is down")
	errEthernet = errors.New("interface is not Ethernet")
	errUnusable = errors.New("interface has no address of one station")
	errAnother  = errors.New("interface is another one")
)

// look finds the interface of that name, which is up, without its address. It takes no lock of the kernel's network
// configuration, so that it may be done often.
func (s *socket) look(name string) (d device, err error) {
	err = s.control(func() error {
		index, err := unix.NewIfreq(name)
		if err != nil {
			return fmt.Errorf("interface name %q: %w", name, err)
		}
		flags, mtu := *index, *index
		for _, question := range []struct {
			number uint
			answer *unix.Ifreq
		}{{unix.SIOCGIFINDEX, index}, {unix.SIOCGIFFLAGS, &flags}, {unix.SIOCGIFMTU, &mtu}} {
			if err := unix.IoctlIfreq(s.queues[0], question.number, question.answer); errors.Is(err, unix.ENODEV) {
				return errAbsent
			} else if err != nil {
				return os.NewSyscallError("ioctl", err)
			}
		}
		if flags.Uint16()&unix.IFF_UP == 0 {
			return errDown
		}
		d.index, d.mtu = int(index.Uint32()), int(mtu.Uint32())
		return nil
	})
	return d, err
}

// bind begins to receive from an interface that is up. Each queue tells once that its interface went down; one that has not yet told
// it of the time before does not tell it any more.
func (s *socket) bind(index int) error {
	return s.control(func() error {
		for _, fd := range s.queues {
			if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil { // it is forgotten when it is read
				return os.NewSyscallError("getsockopt SO_ERROR", err)
			}
			if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(etherType), Ifindex: index}); err != nil {
				return os.NewSyscallError("bind", err)
			}
		}
		return nil
	})
}

// address gives the address of the interface that the socket is bound to.
func (s *socket) address(index int) (mac MAC, err error) {
	err = s.control(func() error {
		a, err := unix.Getsockname(s.queues[0]) // the kernel treats both alike
		if err != nil {
			return os.NewSyscallError("getsockname", err)
		}
		link, ok := a.(*unix.SockaddrLinklayer)
		switch {
		case !ok || link.Ifindex != index:
			return errAnother
		case link.Hatype != unix.ARPHRD_ETHER || int(link.Halen) != len(mac):
			return errEthernet
		}
		if mac = MAC(link.Addr[:len(mac)]); !mac.host() {
			return errUnusable
		}
		return nil
	})
	return mac, err
}

// received is one frame and where it was going.
type received struct {
	frame []byte
	index int  // of the interface
	other bool // for another station, or in a VLAN that has no device
}

// receive waits for the next frame, until the deadline. While both queues have some they take turns, so that neither waits for the
// end of a flood in the other.
func (s *socket) receive(buf []byte) (r received, err error) {
	var failure error
	var n int
	var from unix.Sockaddr
	err = s.raw.Read(func(uintptr) bool {
		for range s.queues {
			n, from, failure = unix.Recvfrom(s.queues[s.turn], buf, unix.MSG_DONTWAIT)
			s.turn = (s.turn + 1) % len(s.queues)
			if !errors.Is(failure, unix.EAGAIN) && !errors.Is(failure, unix.EINTR) {
				return true
			}
		}
		return false
	})
	if err = errors.Join(err, os.NewSyscallError("recvfrom", failure)); err != nil {
		return received{}, err
	}
	r.frame = buf[:n]
	if link, ok := from.(*unix.SockaddrLinklayer); ok {
		r.index, r.other = link.Ifindex, link.Pkttype == unix.PACKET_OTHERHOST
	}
	return r, nil
}

// wake sets until when receive waits. It is safe for concurrent use.
func (s *socket) wake(at time.Time) error { return s.file.SetReadDeadline(at) }

// send sends one frame and does not wait: what cannot go is lost, and asked for again.
func (s *socket) send(index int, frame []byte) error {
	return s.control(func() error {
		to := &unix.SockaddrLinklayer{Protocol: htons(etherType), Ifindex: index, Halen: 6}
		copy(to.Addr[:], frame[:6])
		return os.NewSyscallError("sendto", unix.Sendto(s.queues[0], frame, unix.MSG_DONTWAIT, to))
	})
}

// overflow gives how many frames found no room in the queues since it was last asked.
func (s *socket) overflow() (n uint64) {
	_ = s.control(func() error { // without an answer, none are known
		for _, fd := range s.queues {
			if stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
				n += uint64(stats.Drops)
			}
		}
		return nil
	})
	return n
}

// htons is what the kernel wants of a protocol's number.
func htons(v uint16) uint16 { return binary.NativeEndian.Uint16([]byte{byte(v >> 8), byte(v)}) }

// hostName is the AC-Name of those that have no other.
func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "l2tpd"
	}
	return name
}
