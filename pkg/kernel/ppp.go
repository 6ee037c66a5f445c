package kernel

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const devPPP = "/dev/ppp"

// NPMODE values of a unit (include/uapi/linux/ppp-ioctl.h).
const (
	npModePass = 0
	npModeDrop = 1
)

// openPPP opens an unattached PPP file. It is a raw descriptor on purpose: a poller that sees it before it is attached never
// wakes for it.
func openPPP() (int, error) {
	for {
		fd, err := unix.Open(devPPP, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return -1, fmt.Errorf("open %s: %w", devPPP, edge(err))
		}
		return fd, nil
	}
}

// ioctl passes a pointer to a structure that the request knows the size of.
func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg))
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return edge(errno)
		}
	}
}

// channelOf binds a PPPoX socket to the PPP driver and gives its channel's index. It sleeps an RCU grace period. A line has been bound
// since it was opened, and only gives the index.
func channelOf(link int) (int32, error) {
	var index int32
	if err := ioctl(link, unix.PPPIOCGCHAN, unsafe.Pointer(&index)); err != nil {
		return 0, fmt.Errorf("bind channel: %w", err)
	}
	return index, nil
}

// attachChannel makes an unattached PPP file that of a channel, which is looked for in the calling thread's namespace.
func attachChannel(fd int, index int32) error {
	if err := ioctl(fd, unix.PPPIOCATTCHAN, unsafe.Pointer(&index)); err != nil {
		return fmt.Errorf("attach channel %d: %w", index, err)
	}
	return nil
}

// unitOf gives the number of a unit.
func unitOf(fd int) (int32, error) {
	var unit int32
	if err := ioctl(fd, unix.PPPIOCGUNIT, unsafe.Pointer(&unit)); err != nil {
		return 0, fmt.Errorf("get unit: %w", err)
	}
	return unit, nil
}

// connectUnit puts a channel under a unit.
func connectUnit(channel int, unit int32) error {
	if err := ioctl(channel, unix.PPPIOCCONNECT, unsafe.Pointer(&unit)); err != nil {
		return fmt.Errorf("connect unit %d: %w", unit, err)
	}
	return nil
}

// disconnectUnit takes a channel off its unit. It sleeps an RCU grace period, and all of the driver's ioctls wait meanwhile.
func disconnectUnit(channel int) error {
	if err := ioctl(channel, unix.PPPIOCDISCONN, nil); err != nil {
		return fmt.Errorf("disconnect unit: %w", err)
	}
	return nil
}

// goneUnit reports whether the interface of a unit was deleted.
func goneUnit(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd)}}
	_, err := unix.Poll(fds, 0)
	return err == nil && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// drainUnit throws away what a unit has queued, and reports whether it is one without a channel: any other blocks.
func drainUnit(fd int) bool {
	var b [2]byte // any frame is longer, and lost by that
	for range drainBurst {
		n, err := unix.Read(fd, b[:])
		switch {
		case err == nil && n == 0:
			return true
		case err == nil, errors.Is(err, unix.EOVERFLOW), errors.Is(err, unix.EINTR):
		default:
			return false
		}
	}
	return false
}

// setNPMode lets a unit pass or drop a network protocol.
func setNPMode(fd int, p NetworkProtocol, pass bool) error {
	arg := struct{ protocol, mode int32 }{int32(p), npModeDrop}
	if pass {
		arg.mode = npModePass
	}
	if err := ioctl(fd, unix.PPPIOCSNPMODE, unsafe.Pointer(&arg)); err != nil {
		return fmt.Errorf("set %v mode: %w", p, err)
	}
	return nil
}

// idleOf gives the time since a unit's last packet in either direction.
func idleOf(fd int, age time.Duration) (time.Duration, error) {
	var b [16]byte
	if err := ioctl(fd, unix.PPPIOCGIDLE64, unsafe.Pointer(&b)); err != nil {
		return 0, fmt.Errorf("get idle time: %w", err)
	}
	return parseIdle(&b, age), nil
}

// statsOf reads a session's counters without a lock of the netlink family.
func statsOf(pppox int) (Stats, error) {
	var b [statsLen]byte
	if err := ioctl(pppox, unix.PPPIOCGL2TPSTATS, unsafe.Pointer(&b)); err != nil {
		return Stats{}, fmt.Errorf("get counters: %w", err)
	}
	return parseStats(&b), nil
}

// connectL2TP makes a session and a socket for it.
func connectL2TP(s SessionSpec) (int, error) {
	sa := sockaddr(s)
	fd, err := connectPPPoX(unix.SOCK_DGRAM, protoOL2TP, sa[:])
	if err != nil {
		return -1, err
	}
	if err := setOptions(fd, s.Sequencing.firstOptions()); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// connectPPPoX opens a socket and connects it by a raw call, because x/sys has no sockaddr_pppol2tp.
func connectPPPoX(kind, protocol int, sa []byte) (int, error) {
	fd, err := unix.Socket(unix.AF_PPPOX, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, fmt.Errorf("open pppox: %w", edge(err))
	}
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa[0])), uintptr(len(sa)))
	if errno != 0 {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("connect pppox: %w", edge(errno))
	}
	return fd, nil
}

func setSequencing(fd int, q Sequencing) error {
	all := q.options()
	return setOptions(fd, all[:])
}

func setOptions(fd int, options []option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, unix.SOL_PPPOL2TP, o.name, o.value); err != nil {
			return fmt.Errorf("set sequencing: %w", edge(err))
		}
	}
	return nil
}
