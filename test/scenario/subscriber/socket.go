package subscriber

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// receiveBuffer is for all the subscribers of an interface.
const receiveBuffer = 8 << 20

// socket is a packet socket on one interface, for frames to whatever station.
type socket struct {
	file *os.File
	raw  syscall.RawConn
}

func openSocket(name string) (*socket, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := attach(fd, name); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "subscribers")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &socket{file, raw}, nil
}

// attach begins to receive from an interface, with what goes to stations that it does not know.
func attach(fd int, name string) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // less will do too
	}
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r); err != nil {
		return os.NewSyscallError("ioctl", err)
	}
	index := int(r.Uint32())
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	all := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &all); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	protocol := binary.NativeEndian.Uint16([]byte{unix.ETH_P_ALL >> 8, unix.ETH_P_ALL})
	return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: index}))
}

func (s *socket) receive(buf []byte) (n int, err error) {
	var failure error
	err = s.raw.Read(func(fd uintptr) bool {
		n, failure = unix.Read(int(fd), buf)
		return !errors.Is(failure, unix.EAGAIN) && !errors.Is(failure, unix.EINTR)
	})
	return n, errors.Join(err, os.NewSyscallError("read", failure))
}

func (s *socket) wake(at time.Time) error { return s.file.SetReadDeadline(at) }

func (s *socket) send(frame []byte) error {
	var failure error
	err := s.raw.Control(func(fd uintptr) { _, failure = unix.Write(int(fd), frame) })
	return errors.Join(err, os.NewSyscallError("write", failure))
}

func (s *socket) close() error { return s.file.Close() }
