package api

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// credentials are those of the process at the other end of a connection, as they were when it connected.
type credentials struct {
	uid, gid uint32
	pid      int32
	groups   []uint32 // supplementary
}

// String names the process for the log.
func (c credentials) String() string { return fmt.Sprintf("uid=%d pid=%d", c.uid, c.pid) }

// access is what a caller may do.
type access uint8

const (
	accessNone access = iota
	accessRead
	accessAct
)

// access returns what c may do: root and the daemon's own user act, members of the group (-1: there is none) read.
func (c credentials) access(own uint32, group int) access {
	switch {
	case c.uid == 0 || c.uid == own:
		return accessAct
	case group >= 0 && (int(c.gid) == group || slices.Contains(c.groups, uint32(group))):
		return accessRead
	default:
		return accessNone
	}
}

// peerCredentials asks the kernel who is at the other end of conn.
func peerCredentials(conn *net.UnixConn) (credentials, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return credentials{}, fmt.Errorf("peer credentials: %w", err)
	}
	var c credentials
	var failed error
	err = raw.Control(func(fd uintptr) {
		ucred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			failed = err
			return
		}
		c = credentials{uid: ucred.Uid, gid: ucred.Gid, pid: ucred.Pid}
		c.groups, failed = peerGroups(fd)
	})
	if err := errors.Join(err, failed); err != nil {
		return credentials{}, fmt.Errorf("peer credentials: %w", err)
	}
	return c, nil
}

// peerGroups returns the supplementary groups of fd's peer (SO_PEERGROUPS, which x/sys/unix has no function for).
func peerGroups(fd uintptr) ([]uint32, error) {
	for groups := make([]uint32, 64); ; {
		size := uint32(len(groups)) * 4
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4], nil
		case errno == unix.ERANGE && int(size/4) > len(groups):
			groups = make([]uint32, size/4)
		default:
			return nil, errno
		}
	}
}
