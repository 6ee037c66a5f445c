package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Send sends a control message through the listener that serves local, so that it leaves from the address and port the peer
// sent to (P159). local may be unspecified or its port 0: then the kernel chooses the address. It never blocks; a datagram
// the socket has no room for is lost, like any other, and reported. An error left behind by an earlier datagram's ICMP answer
// is not this one's and does not stop it.
func (t *Transport) Send(local, remote netip.AddrPort, datagram []byte) error {
	err := t.send(local, remote, datagram)
	if err != nil {
		t.counters[kindListener].sendErrors.Add(1)
		return fmt.Errorf("send to %v from %v: %w", remote, local, err)
	}
	t.counters[kindListener].sent(len(datagram))
	return nil
}

func (t *Transport) send(local, remote netip.AddrPort, datagram []byte) error {
	remote, err := Normalize(remote)
	if err != nil {
		return err
	}
	if !local.IsValid() {
		local = netip.AddrPortFrom(unspecified(remote.Addr()), 0)
	}
	if local, err = Normalize(local); err != nil {
		return err
	}
	l := t.through(local)
	if l == nil || l.addr.Addr().Is6() != remote.Addr().Is6() {
		return noListener(remote)
	}
	to, oob := sockaddr(remote), pktinfo(local.Addr())
	err = l.control(func(fd int) error {
		var err error
		// A pending error is taken by the call that meets it, and a burst of ICMP can leave another meanwhile.
		for range 3 {
			_, err = unix.SendmsgN(fd, datagram, oob, to, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			if !isUnreachable(err) && !errors.Is(err, unix.EINTR) {
				break
			}
		}
		return os.NewSyscallError("sendmsg", err)
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENETUNREACH) {
		return fmt.Errorf("%w (no route, or %v is no address of this host any more)", err, local.Addr())
	}
	return err
}

// control runs f on the descriptor while it cannot be closed.
func (s *socket) control(f func(fd int) error) error {
	var err error
	if closed := s.raw.Control(func(fd uintptr) { err = f(int(fd)) }); closed != nil {
		return ErrClosed
	}
	return err
}

func noListener(remote netip.AddrPort) error {
	name, example := "IPv4", "0.0.0.0:1701"
	if remote.Addr().Is6() {
		name, example = "IPv6", "[::]:1701"
	}
	return fmt.Errorf("no %s listener for this address: add %q to the listen addresses", name, example)
}
