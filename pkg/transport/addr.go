package transport

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Normalize returns an address the way packets carry it: IPv4 never mapped into IPv6, and the zone of a link-local address as
// the interface's index, so that two spellings of one address compare equal.
func Normalize(a netip.AddrPort) (netip.AddrPort, error) {
	if !a.Addr().IsValid() {
		return a, fmt.Errorf("address %v: not valid", a)
	}
	ip := a.Addr().Unmap()
	if zone := ip.Zone(); zone != "" {
		index, err := zoneIndex(zone)
		if err != nil {
			return a, fmt.Errorf("address %v: interface %s: %w", a, zone, err)
		}
		ip = ip.WithZone(strconv.FormatUint(uint64(index), 10))
	}
	return netip.AddrPortFrom(ip, a.Port()), nil
}

// zoneIndex returns the interface index of a zone, which is a number or a name.
func zoneIndex(zone string) (uint32, error) {
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	ifr, err := unix.NewIfreq(zone)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr); err != nil {
		return 0, os.NewSyscallError("ioctl", err)
	}
	return ifr.Uint32(), nil
}

// zoned adds the interface to an address that means nothing without.
func zoned(ip netip.Addr, index uint32) netip.Addr {
	if index == 0 || !ip.IsLinkLocalUnicast() {
		return ip
	}
	return ip.WithZone(strconv.FormatUint(uint64(index), 10))
}

// scope returns the interface index of a normalized address.
func scope(ip netip.Addr) uint32 {
	n, _ := strconv.ParseUint(ip.Zone(), 10, 32)
	return uint32(n)
}

func family(ip netip.Addr) int {
	if ip.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// sockaddr converts a normalized address for the system calls.
func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16(), ZoneId: scope(a.Addr())}
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

// fromSockaddr is the inverse of sockaddr; other families give the zero value.
func fromSockaddr(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(zoned(netip.AddrFrom16(sa.Addr), sa.ZoneId), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

func sockname(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
	}
	return fromSockaddr(sa), nil
}

// parseName reads struct sockaddr_in or sockaddr_in6, without allocating for addresses that have no zone.
func parseName(b []byte) netip.AddrPort {
	if len(b) < unix.SizeofSockaddrInet4 {
		return netip.AddrPort{}
	}
	port := binary.BigEndian.Uint16(b[2:])
	switch binary.NativeEndian.Uint16(b) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:])), port)
	case unix.AF_INET6:
		if len(b) < unix.SizeofSockaddrInet6 {
			break
		}
		ip := netip.AddrFrom16([16]byte(b[8:]))
		return netip.AddrPortFrom(zoned(ip, binary.NativeEndian.Uint32(b[24:])), port)
	}
	return netip.AddrPort{}
}
