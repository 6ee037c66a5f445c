package transport

import (
	"os"

	"golang.org/x/sys/unix"
)

const (
	controlBit    = 0x80 // T bit, first octet of the L2TP header (RFC 2661, 3.1)
	maxFiltered   = 300  // octets of a data message that still reach user space: enough for LCP and authentication
	udpHeaderSize = 8
)

// option is one setsockopt call with an integer.
type option struct {
	name               string
	level, key, number int
}

func set(fd int, options ...option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.key, o.number); err != nil {
			return os.NewSyscallError("setsockopt "+o.name, err)
		}
	}
	return nil
}

// routingOptions are those that decide the route, and with it the source address.
func routingOptions(fd int, v6 bool, o Options) error {
	var options []option
	if o.Mark != 0 {
		options = append(options, option{"SO_MARK", unix.SOL_SOCKET, unix.SO_MARK, int(o.Mark)})
	}
	if o.TOS != 0 && v6 {
		options = append(options, option{"IPV6_TCLASS", unix.IPPROTO_IPV6, unix.IPV6_TCLASS, o.TOS})
	} else if o.TOS != 0 {
		options = append(options, option{"IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, o.TOS})
	}
	return set(fd, options...)
}

// commonOptions are set on every socket before it is bound.
func commonOptions(fd int, v6 bool, o Options) error {
	options := []option{
		{"SO_RXQ_OVFL", unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1},
	}
	if v6 {
		options = append(options, option{"IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1})
	}
	if err := set(fd, options...); err != nil {
		return err
	}
	if err := routingOptions(fd, v6, o); err != nil {
		return err
	}
	if err := setBuffer(fd, unix.SO_RCVBUFFORCE, option{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, o.ReceiveBuffer}); err != nil {
		return err
	}
	return attachFilter(fd)
}

// setBuffer sets the size of a buffer: beyond the system's limit only with CAP_NET_ADMIN; without it the limit is what there is.
func setBuffer(fd, force int, o option) error {
	if unix.SetsockoptInt(fd, o.level, force, o.number) == nil {
		return nil
	}
	return set(fd, o)
}

// sendBuffer is a listener's, in octets: the goodbyes of hundreds of sessions may go at once, and for a small message the kernel counts
// several times its octets.
const sendBuffer = 4 << 20

// listenerOptions make the kernel tell where a datagram was sent to, and which destinations are unreachable.
func listenerOptions(fd int, v6 bool) error {
	if err := setBuffer(fd, unix.SO_SNDBUFFORCE, option{"SO_SNDBUF", unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer}); err != nil {
		return err
	}
	if v6 {
		return set(fd, option{"IPV6_RECVPKTINFO", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1},
			option{"IPV6_RECVERR", unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1})
	}
	return set(fd, option{"IP_PKTINFO", unix.IPPROTO_IP, unix.IP_PKTINFO, 1},
		option{"IP_RECVERR", unix.IPPROTO_IP, unix.IP_RECVERR, 1})
}

// tunnelOptions switch the checksum of the kernel's data off where asked for (S51). IPv6 drops datagrams without one unless
// told otherwise, so both directions are opened: the peer's setting is expected to be the same.
func tunnelOptions(fd int, v6 bool, o Options) error {
	switch {
	case !o.NoDataChecksum:
		return nil
	case v6:
		return set(fd, option{"UDP_NO_CHECK6_TX", unix.IPPROTO_UDP, unix.UDP_NO_CHECK6_TX, 1},
			option{"UDP_NO_CHECK6_RX", unix.IPPROTO_UDP, unix.UDP_NO_CHECK6_RX, 1})
	default:
		return set(fd, option{"SO_NO_CHECK", unix.SOL_SOCKET, unix.SO_NO_CHECK, 1})
	}
}

// attachFilter lets control pass whole and data only when it is short. What comes here of data is early, short or strange;
// a flood of it must not fill the buffer that control needs. The program runs after the kernel's own data path has declined
// a datagram, and sees the UDP header first. An empty datagram fails the first load, which refuses it.
func attachFilter(fd int) error {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: udpHeaderSize},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: controlBit, Jt: 2, Jf: 0},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_LEN},
		{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: udpHeaderSize + maxFiltered, Jt: 1, Jf: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 17}, // all of it
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	return os.NewSyscallError("setsockopt SO_ATTACH_FILTER", err)
}
