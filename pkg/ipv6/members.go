package ipv6

import (
	"errors"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// members keeps interfaces in the multicast group that DHCPv6 clients send to. The kernel drops what is sent to a group in
// which the interface is not, also on a point-to-point link; whose socket made it a member does not matter.
//
// A socket has room for a few hundred memberships (net.core.optmem_max), so there are as many sockets as it takes: one for
// each 365 interfaces where that is 20 KiB, one for each 2340 where it is 128 KiB, as since Linux 6.7.
type members struct {
	mu     sync.Mutex
	rooms  []*room
	of     map[int]*room // by interface
	closed bool
}

// room is a socket with its number of memberships.
type room struct {
	fd   int
	used int
	full bool
}

func newMembers() *members { return &members{of: map[int]*room{}} }

// join makes an interface a member, anew if it is one. It may wait for the kernel's lock of network configuration.
func (m *members) join(index int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return os.ErrClosed
	}
	m.drop(index) // the membership of an interface that is gone must not pass for one
	for _, r := range m.rooms {
		if r.full {
			continue
		}
		err := m.enter(r, index)
		if !errors.Is(err, unix.ENOMEM) && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		r.full = true
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	r := &room{fd: fd}
	if err := m.enter(r, index); err != nil {
		_ = unix.Close(fd)
		return err
	}
	m.rooms = append(m.rooms, r)
	return nil
}

func (m *members) enter(r *room, index int) error {
	if err := unix.SetsockoptIPv6Mreq(r.fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, membership(index)); err != nil {
		return os.NewSyscallError("setsockopt IPV6_JOIN_GROUP", err)
	}
	r.used++
	m.of[index] = r
	return nil
}

// leave ends a membership, whether the interface is still there or not.
func (m *members) leave(index int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(index)
}

func (m *members) drop(index int) {
	r := m.of[index]
	if r == nil {
		return
	}
	delete(m.of, index)
	_ = unix.SetsockoptIPv6Mreq(r.fd, unix.IPPROTO_IPV6, unix.IPV6_LEAVE_GROUP, membership(index))
	r.full = false
	if r.used--; r.used > 0 {
		return
	}
	_ = unix.Close(r.fd)
	m.rooms = slices.DeleteFunc(m.rooms, func(x *room) bool { return x == r })
}

// close ends all memberships.
func (m *members) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.rooms {
		_ = unix.Close(r.fd)
	}
	m.rooms, m.of, m.closed = nil, nil, true
}
