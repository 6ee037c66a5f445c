package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Conn is the connected socket of one tunnel. The kernel's data path sends and receives on it; what user space receives there
// goes to the transport's handler. It is safe for concurrent use.
type Conn struct {
	transport *Transport
	socket    *socket
}

// Connect makes a tunnel socket between two addresses and reads from it at once: from the moment it is bound until it is
// connected it may be given other peers' datagrams, and afterwards it gets everything its peer sends, for other tunnels between the
// same addresses too. So a kernel tunnel is made of it between the two, by prepare: user space would be no place for those tunnels' data.
// local is the address the peer uses for us; when it is unspecified or has no port, LocalFor chooses. After an error there is no socket;
// that of prepare, which does not keep its descriptor, is returned as it is.
func (t *Transport) Connect(local, remote netip.AddrPort, prepare func(fd int) error) (*Conn, error) {
	var refused error
	c, err := t.connect(local, remote, func(fd int) error {
		refused = prepare(fd)
		return refused
	})
	switch {
	case refused != nil:
		return nil, refused
	case err != nil:
		return nil, fmt.Errorf("connect %v to %v: %w", local, remote, err)
	}
	return c, nil
}

func (t *Transport) connect(local, remote netip.AddrPort, prepare func(fd int) error) (*Conn, error) {
	remote, err := Normalize(remote)
	if err != nil {
		return nil, err
	}
	if !local.IsValid() || local.Addr().IsUnspecified() || local.Port() == 0 {
		if local, err = t.LocalFor(remote); err != nil {
			return nil, err
		}
	}
	if local, err = Normalize(local); err != nil {
		return nil, err
	}
	s, err := t.open(kindTunnel, local, func(fd int) error { return tunnelOptions(fd, local.Addr().Is6(), t.options) })
	if err != nil {
		return nil, err
	}
	if err = s.control(prepare); err == nil {
		err = connectSocket(s, remote)
	}
	if err != nil {
		_ = s.file.Close()
		return nil, err
	}
	return t.start(s)
}

// Adopt takes over the descriptor of a tunnel socket made by an earlier process. Its options are left alone: they were set
// when it was made, and setting them again costs data packets (the kernel drops those it meets under the socket's lock). The
// descriptor is the transport's from here on, also after an error.
func (t *Transport) Adopt(fd int) (*Conn, error) {
	unix.CloseOnExec(fd)
	s, err := t.adopt(kindTunnel, fd)
	if err != nil {
		return nil, fmt.Errorf("adopt descriptor %d: %w", fd, err)
	}
	err = s.control(func(fd int) error {
		peer, err := unix.Getpeername(fd)
		remote := fromSockaddr(peer)
		s.remote.Store(&remote)
		return os.NewSyscallError("getpeername", err)
	})
	if err != nil {
		_ = s.file.Close()
		return nil, fmt.Errorf("adopt descriptor %d: %w", fd, err)
	}
	return t.start(s)
}

// start registers a socket and reads from it.
func (t *Transport) start(s *socket) (*Conn, error) {
	c := &Conn{transport: t, socket: s}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = s.file.Close()
		return nil, ErrClosed
	}
	t.conns[c] = struct{}{}
	t.readers.Go(s.read)
	return c, nil
}

func connectSocket(s *socket, remote netip.AddrPort) error {
	return s.control(func(fd int) error {
		err := unix.Connect(fd, sockaddr(remote))
		if err == nil {
			s.remote.Store(&remote)
		}
		return os.NewSyscallError("connect", err)
	})
}

// Control calls f with the descriptor, which stays open meanwhile. It returns ErrClosed without calling f after Close.
func (c *Conn) Control(f func(fd uintptr) error) error {
	return c.socket.control(func(fd int) error { return f(uintptr(fd)) })
}

// Local returns the address the socket is bound to.
func (c *Conn) Local() netip.AddrPort { return c.socket.local }

// Remote returns the address the socket is connected to.
func (c *Conn) Remote() netip.AddrPort { return *c.socket.remote.Load() }

// Reconnect follows a peer that moved to another port or address (P156). The kernel's data path reads the destination with
// every packet and follows. After an error the socket is still connected to the old one.
func (c *Conn) Reconnect(remote netip.AddrPort) error {
	to, err := Normalize(remote)
	if err == nil {
		err = connectSocket(c.socket, to)
	}
	if err != nil {
		return fmt.Errorf("reconnect %v to %v: %w", c.socket.local, remote, err)
	}
	return nil
}

// turnAway leaves what the peer sends to the other sockets of the same addresses and ports, if there are any: the kernel ends the tunnel a
// moment before it forgets the socket, which would take their data to user space meanwhile. It makes the socket its own peer.
func (c *Conn) turnAway() {
	_ = connectSocket(c.socket, c.socket.local) // an address that has gone makes no difference
}

// Close turns the socket away from its peer, also for whoever has a copy of its descriptor, and closes it; with the last copy goes the
// kernel tunnel made of it. A handler may still be running for a datagram that came before. (Close of the Transport turns nobody away: a
// process that comes next may adopt a copy.)
func (c *Conn) Close() error {
	c.transport.mu.Lock()
	delete(c.transport.conns, c)
	c.transport.mu.Unlock()
	c.turnAway()
	if err := c.socket.file.Close(); err != nil {
		if errors.Is(err, os.ErrClosed) {
			return ErrClosed
		}
		return fmt.Errorf("close tunnel socket of %v: %w", c.socket.local, err)
	}
	return nil
}
