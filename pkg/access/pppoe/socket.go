package pppoe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxFrame is the longest frame that is read whole. Discovery packets are shorter than 1500 octets (RFC 2516, 5.1).
	maxFrame = 2048
	// receiveBuffer is for the subscribers of a whole access node that call at once.
	receiveBuffer = 4 << 20
)

// device is an interface as it is now.
type device struct {
	index, mtu int
	mac        MAC
}

// socket is a packet socket for discovery frames, under the runtime's poller. It and all that it tells of belong to the network
// namespace in which it was opened, whatever interface it is bound to.
type socket struct {
	file *os.File
	raw  syscall.RawConn
}

// openSocket opens a socket that receives nothing until it is bound.
func openSocket() (*socket, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		err = os.NewSyscallError("socket", err)
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w; this takes CAP_NET_RAW: run as root, or add it to CapabilityBoundingSet= of the systemd unit", err)
		}
		return nil, err
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // less will do too
	}
	file := os.NewFile(uintptr(fd), "pppoe")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &socket{file, raw}, nil
}

func (s *socket) close() error { return s.file.Close() }

// control runs f on the descriptor.
func (s *socket) control(f func(fd int) error) error {
	var failure error
	if err := s.raw.Control(func(fd uintptr) { failure = f(int(fd)) }); err != nil {
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
	err = s.control(func(fd int) error {
		index, err := unix.NewIfreq(name)
		if err != nil {
			return fmt.Errorf("interface name %q: %w", name, err)
		}
		flags, mtu := *index, *index
		for _, question := range []struct {
			number uint
			answer *unix.Ifreq
		}{{unix.SIOCGIFINDEX, index}, {unix.SIOCGIFFLAGS, &flags}, {unix.SIOCGIFMTU, &mtu}} {
			if err := unix.IoctlIfreq(fd, question.number, question.answer); errors.Is(err, unix.ENODEV) {
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

// bind begins to receive from an interface.
func (s *socket) bind(index int) error {
	return s.control(func(fd int) error {
		err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(etherType), Ifindex: index})
		return os.NewSyscallError("bind", err)
	})
}

// address gives the address of the interface that the socket is bound to.
func (s *socket) address(index int) (mac MAC, err error) {
	err = s.control(func(fd int) error {
		a, err := unix.Getsockname(fd)
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

// receive waits for the next frame, until the deadline.
func (s *socket) receive(buf []byte) (r received, err error) {
	var failure error
	var n int
	var from unix.Sockaddr
	err = s.raw.Read(func(fd uintptr) bool {
		n, from, failure = unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
		return !errors.Is(failure, unix.EAGAIN) && !errors.Is(failure, unix.EINTR)
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
	return s.control(func(fd int) error {
		to := &unix.SockaddrLinklayer{Protocol: htons(etherType), Ifindex: index, Halen: 6}
		copy(to.Addr[:], frame[:6])
		return os.NewSyscallError("sendto", unix.Sendto(fd, frame, unix.MSG_DONTWAIT, to))
	})
}

// overflow gives how many frames found no room in the socket since it was last asked.
func (s *socket) overflow() (n uint64) {
	_ = s.control(func(fd int) error { // without an answer, none are known
		stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err == nil {
			n = uint64(stats.Drops)
		}
		return err
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
