package ipv6

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	clientPort = 546
	serverPort = 547

	maxMessage = 2048 // octets; more than a PPP link carries, and more than any message that makes sense
)

// errTruncated is about a message longer than maxMessage.
var errTruncated = errors.New("message is too long")

// socket is one that serves all interfaces, under the runtime's poller.
type socket struct {
	file *os.File
	raw  syscall.RawConn
	port int // of those that are sent to
	data [maxMessage]byte
	oob  [128]byte
}

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

// openAdvertiser opens the ICMPv6 socket. What it sends does not come back to this host, which would take it for another
// router's.
func openAdvertiser() (*socket, error) {
	s, err := openSocket("ndp", unix.SOCK_RAW, unix.IPPROTO_ICMPV6, 0, func(fd int) error {
		var filter unix.ICMPv6Filter // a bit that is set blocks
		for i := range filter.Data {
			filter.Data[i] = ^uint32(0)
		}
		filter.Data[typeSolicitation/32] &^= 1 << (typeSolicitation % 32)
		if err := unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &filter); err != nil {
			return os.NewSyscallError("setsockopt ICMPV6_FILTER", err)
		}
		return set(fd,
			option{"IPV6_RECVHOPLIMIT", unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1},
			option{"IPV6_MULTICAST_HOPS", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, ndHopLimit},
			option{"IPV6_UNICAST_HOPS", unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ndHopLimit},
			option{"IPV6_MULTICAST_LOOP", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0},
		)
	})
	if err != nil {
		return nil, fmt.Errorf("open socket for router advertisements: %w", explain(err))
	}
	return s, nil
}

// openServer opens the DHCPv6 socket. It shares its port with a server of other interfaces.
func openServer() (*socket, error) {
	s, err := openSocket("dhcpv6", unix.SOCK_DGRAM, unix.IPPROTO_UDP, clientPort, func(fd int) error {
		err := set(fd,
			option{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
			option{"IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1},
		)
		if err != nil {
			return err
		}
		return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrInet6{Port: serverPort}))
	})
	if err != nil {
		return nil, fmt.Errorf("open socket for DHCPv6, port %d: %w", serverPort, explain(err))
	}
	return s, nil
}

// openSocket opens a socket that tells the interface of what it receives.
func openSocket(name string, kind, protocol, port int, prepare func(fd int) error) (*socket, error) {
	fd, err := unix.Socket(unix.AF_INET6, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = set(fd, option{"IPV6_RECVPKTINFO", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1})
	if err == nil {
		err = prepare(fd)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	file := os.NewFile(uintptr(fd), name)
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &socket{file: file, raw: raw, port: port}, nil
}

// explain says what to do about a socket that cannot be had.
func explain(err error) error {
	remedy := ""
	switch {
	case errors.Is(err, unix.EPERM):
		remedy = "; this takes CAP_NET_RAW: run as root, or add it to CapabilityBoundingSet= of the systemd unit"
	case errors.Is(err, unix.EACCES):
		remedy = "; this takes CAP_NET_BIND_SERVICE: run as root, or add it to CapabilityBoundingSet= of the systemd unit"
	case errors.Is(err, unix.EADDRINUSE):
		remedy = "; another DHCPv6 server? see: ss -lunp sport = :547"
	case errors.Is(err, unix.EAFNOSUPPORT):
		remedy = "; this host has no IPv6"
	}
	return fmt.Errorf("%w%s", err, remedy)
}

func (s *socket) close() error { return s.file.Close() }

// receive waits for the next datagram, whose data is good until the next call. The error is os.ErrClosed when the socket is.
func (s *socket) receive() (datagram, error) {
	var n, control, flags int
	var from unix.Sockaddr
	var failure error
	err := s.raw.Read(func(fd uintptr) bool {
		n, control, flags, from, failure = unix.Recvmsg(int(fd), s.data[:], s.oob[:], unix.MSG_DONTWAIT)
		return !errors.Is(failure, unix.EAGAIN)
	})
	switch {
	case err != nil:
		return datagram{}, errors.Join(os.ErrClosed, err) // the poller knows no other error
	case failure != nil:
		return datagram{}, os.NewSyscallError("recvmsg", failure)
	case flags&unix.MSG_TRUNC != 0:
		return datagram{}, errTruncated
	}
	d := datagram{data: s.data[:n]}
	if a, ok := from.(*unix.SockaddrInet6); ok {
		d.from = netip.AddrFrom16(a.Addr)
	}
	d.control(s.oob[:control])
	return d, nil
}

// control reads the interface, the destination and the hop limit out of what came with a datagram.
func (d *datagram) control(b []byte) {
	for len(b) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			return
		}
		b = rest
		if header.Level != unix.IPPROTO_IPV6 {
			continue
		}
		switch {
		case header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			d.to = netip.AddrFrom16([16]byte(data))
			d.index = int(binary.NativeEndian.Uint32(data[16:]))
		case header.Type == unix.IPV6_HOPLIMIT && len(data) >= 4:
			d.hops = int(binary.NativeEndian.Uint32(data))
		}
	}
}

// send sends one packet and does not wait: what cannot go is lost, and asked for again.
func (s *socket) send(p packet) error {
	info := unix.Inet6Pktinfo{Ifindex: uint32(p.index)}
	if p.from.IsValid() {
		info.Addr = p.from.As16()
	}
	to := &unix.SockaddrInet6{Port: s.port, Addr: p.to.As16(), ZoneId: uint32(p.index)}
	oob := unix.PktInfo6(&info)
	var failure error
	err := s.raw.Control(func(fd uintptr) {
		failure = unix.Sendmsg(int(fd), p.data, oob, to, unix.MSG_DONTWAIT)
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("sendmsg", failure)
}

// membership is the argument of IPV6_JOIN_GROUP.
func membership(index int) *unix.IPv6Mreq {
	return &unix.IPv6Mreq{Multiaddr: allServers.As16(), Interface: uint32(index)}
}
