package transport

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchSize   = 8       // datagrams per system call
	maxDatagram = 1 << 16 // more than a UDP datagram can carry, so none is cut
	oobSize     = 128     // room for pktinfo, the overflow count and an extended error
)

// batch is the memory of one recvmmsg call. The headers point into the batch itself, so it must not be copied.
type batch struct {
	headers [batchSize]unix.Mmsghdr
	iovecs  [batchSize]unix.Iovec
	names   [batchSize][unix.SizeofSockaddrInet6]byte
	oobs    [batchSize][oobSize]byte
	data    [batchSize][maxDatagram]byte
}

func newBatch() *batch {
	b := new(batch)
	for i := range b.headers {
		b.iovecs[i].Base = &b.data[i][0]
		b.iovecs[i].SetLen(maxDatagram)
		h := &b.headers[i].Hdr
		h.Name = &b.names[i][0]
		h.Iov = &b.iovecs[i]
		h.SetIovlen(1)
		h.Control = &b.oobs[i][0]
	}
	return b
}

// receive takes what is waiting on a socket, up to batchSize datagrams, without blocking.
func (b *batch) receive(fd uintptr) (int, error) {
	for i := range b.headers {
		h := &b.headers[i].Hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(oobSize)
		h.Flags = 0
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.headers[0])), batchSize,
			unix.MSG_DONTWAIT, 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// datagram returns the i-th datagram received, its source, and what came with it.
func (b *batch) datagram(i int) (data []byte, remote netip.AddrPort, more ancillary) {
	h := &b.headers[i]
	data = b.data[i][:h.Len]
	remote = parseName(b.names[i][:h.Hdr.Namelen])
	return data, remote, parseAncillary(b.oobs[i][:h.Hdr.Controllen])
}

// ancillary is what the kernel says about a datagram beside its source.
type ancillary struct {
	local   netip.Addr // the address to answer from; not valid on sockets that are bound to one
	dropped uint32     // datagrams dropped at this socket so far, modulo 2^32
	counted bool       // dropped was given
	failure bool       // this is no datagram but an error, from the error queue
}

// parseAncillary reads control messages; unknown ones are passed over.
func parseAncillary(oob []byte) ancillary {
	var a ancillary
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		oob = rest
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			// The second field: for a broadcast it is the address of the interface, else the destination.
			a.local = netip.AddrFrom4([4]byte(data[4:]))
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			a.local = zoned(netip.AddrFrom16([16]byte(data)), binary.NativeEndian.Uint32(data[16:]))
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
			a.dropped, a.counted = binary.NativeEndian.Uint32(data), true
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_RECVERR, h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_RECVERR:
			a.failure = true
		}
	}
	return a
}

// pktinfo encodes the source address of a datagram to send; nil when the kernel is to choose.
func pktinfo(local netip.Addr) []byte {
	switch {
	case local.IsUnspecified():
		return nil
	case local.Is6():
		b := make([]byte, unix.CmsgSpace(unix.SizeofInet6Pktinfo))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		h.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
		data := b[unix.CmsgLen(0):]
		ip := local.As16()
		copy(data, ip[:])
		binary.NativeEndian.PutUint32(data[16:], scope(local))
		return b
	default:
		b := make([]byte, unix.CmsgSpace(unix.SizeofInet4Pktinfo))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		ip := local.As4()
		copy(b[unix.CmsgLen(4):], ip[:])
		return b
	}
}
