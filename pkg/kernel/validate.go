package kernel

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Limits of the reorder time-out, and what stands for 0 while the peer alone decides about numbering.
const (
	minReorder     = 20 * time.Millisecond
	maxReorder     = 50 * time.Millisecond
	defaultReorder = 30 * time.Millisecond
)

// maxName is IFNAMSIZ without its NUL.
const maxName = 15

var (
	errID       = errors.New("id 0 is reserved")
	errReorder  = fmt.Errorf("the reorder time-out must be %v..%v with sequence numbers", minReorder, maxReorder)
	errFrame    = errors.New("frame shorter than its protocol allows")
	errProtocol = errors.New("not a network protocol")
)

// Validate reports ids outside 1..65535 and a missing socket.
func (s TunnelSpec) Validate() error {
	if s.ID == 0 || s.PeerID == 0 {
		return errID
	}
	if s.FD < 0 {
		return errors.New("no socket")
	}
	return nil
}

// Validate reports ids outside 1..65535 and bad sequencing.
func (s SessionSpec) Validate() error {
	if s.TunnelID == 0 || s.PeerTunnelID == 0 || s.SessionID == 0 || s.PeerID == 0 {
		return errID
	}
	return s.Sequencing.Validate()
}

// Validate reports an interface's name, an id or an address that cannot be.
func (s PPPoESpec) Validate() error {
	switch {
	case s.Interface == "" || len(s.Interface) > maxName:
		return fmt.Errorf("interface name %q is not of 1..%d octets", s.Interface, maxName)
	case s.SessionID == 0 || s.SessionID == 0xffff:
		return fmt.Errorf("session id %d is reserved", s.SessionID)
	case s.Peer == [6]byte{} || s.Peer[0]&1 != 0:
		return errors.New("the peer's address is not an individual one")
	}
	return nil
}

// Validate reports a missing tty.
func (s LineSpec) Validate() error {
	if s.TTY == nil {
		return errors.New("no tty")
	}
	return nil
}

// Validate reports a reorder time-out outside its range: 20..50 ms, or 0 while neither Send nor Require is set.
func (q Sequencing) Validate() error {
	if q.Reorder == 0 && !q.Send && !q.Require {
		return nil
	}
	if q.Reorder < minReorder || q.Reorder > maxReorder {
		return errReorder
	}
	return nil
}

// reorder is the time-out the kernel is given.
func (q Sequencing) reorder() time.Duration {
	if q.Reorder == 0 {
		return defaultReorder
	}
	return q.Reorder
}

// nameNumber stands for a number in the name of an interface.
const nameNumber = "%d"

// Validate reports a name or an MTU that the kernel would refuse or read as a pattern.
func (u UnitSpec) Validate() error {
	if len(u.Name) > maxName {
		return fmt.Errorf("interface name %q is longer than %d octets", u.Name, maxName)
	}
	if u.Name == "." || u.Name == ".." {
		return fmt.Errorf("interface name %q is reserved", u.Name)
	}
	for _, c := range []byte(strings.Replace(u.Name, nameNumber, "", 1)) {
		if c <= ' ' || c == 0x7f || c == '/' || c == ':' || c == '%' {
			return fmt.Errorf("interface name %q has a forbidden character", u.Name)
		}
	}
	if u.MTU != 0 && (u.MTU < 68 || u.MTU > 65535) {
		return fmt.Errorf("mtu %d is not in 68..65535", u.MTU)
	}
	return nil
}

// String names the protocol.
func (p NetworkProtocol) String() string {
	switch p {
	case IPv4:
		return "ipv4"
	case IPv6:
		return "ipv6"
	}
	return fmt.Sprintf("protocol 0x%04x", uint16(p))
}
