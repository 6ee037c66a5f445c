package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Packet is one datagram, whichever socket received it. Data is valid until the handler returns.
type Packet struct {
	Local  netip.AddrPort // address it was sent to
	Remote netip.AddrPort
	Data   []byte
}

// Handler takes a packet. It is called from several goroutines at once and must not block.
type Handler func(Packet)

// Options of a transport.
type Options struct {
	// ReceiveBuffer is the socket receive buffer in octets; 0 means 4 MiB.
	ReceiveBuffer int
	// NoDataChecksum switches the UDP checksum off on tunnel sockets, which carry the kernel's data (S51). Control leaves
	// through the listener, which keeps it.
	NoDataChecksum bool
	// Mark is SO_MARK of every socket; 0: none. TOS is the DS field octet of every socket.
	Mark uint32
	TOS  int
	// Partial lets Listen succeed when at least one address can be used; Problems then says what is wrong with the others.
	Partial bool
	// OnUnreachable is told that an ICMP error came back for a datagram to this address (P163). Anyone on the path can forge
	// that: it is a hint. It is called from the reading goroutines and must not block; nil: nobody is told.
	OnUnreachable func(remote netip.AddrPort)
}

// ErrClosed says that the transport or the socket was closed before the call.
var ErrClosed = errors.New("transport closed")

// Transport is a set of listeners and the tunnel sockets made beside them. It is safe for concurrent use.
type Transport struct {
	*sink
	listeners []*listener // fixed after Listen
	problems  []error     // likewise
	readers   sync.WaitGroup

	mu     sync.RWMutex
	closed bool
	conns  map[*Conn]struct{}
	ports  map[netip.AddrPort]*listener // opened at run time, by their address
}

// listener is one unconnected socket.
type listener struct {
	*socket
	addr netip.AddrPort // as bound; the address may be unspecified
}

// Listen opens a listener per address and starts to read. An address may be unspecified, of either family, and port 0 lets
// the kernel choose. When an address cannot be used nothing is left open (but see Options.Partial), and the error lists every
// such address with what to do about it; it matches unix.EADDRINUSE and the like.
//
// Every socket allows its address to be shared (the tunnel sockets need that), so the kernel would let a second daemon bind
// it too: Listen looks for one first. The check is made against what the kernel lists and is not atomic.
func Listen(addrs []netip.AddrPort, o Options, h Handler, log *slog.Logger) (*Transport, error) {
	if len(addrs) == 0 {
		return nil, errors.New("listen: no address given")
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if o.ReceiveBuffer == 0 {
		o.ReceiveBuffer = 4 << 20
	}
	t := &Transport{sink: newSink(o, h, log), conns: make(map[*Conn]struct{}), ports: make(map[netip.AddrPort]*listener)}
	var failures []error
	for _, addr := range addrs {
		l, err := t.listen(addr)
		if err != nil {
			failures = append(failures, explain(addr, err))
			continue
		}
		t.listeners = append(t.listeners, l)
	}
	if o.Partial && len(t.listeners) > 0 {
		t.problems, failures = failures, nil
	}
	if len(failures) > 0 {
		for _, l := range t.listeners {
			_ = l.file.Close()
		}
		return nil, errors.Join(failures...)
	}
	for _, l := range t.listeners {
		t.readers.Go(l.read)
	}
	return t, nil
}

// listen opens one listener and does not read from it yet.
func (t *Transport) listen(addr netip.AddrPort) (*listener, error) {
	addr, err := Normalize(addr)
	if err != nil {
		return nil, err
	}
	for _, other := range t.listeners {
		if overlap(other.addr, addr) {
			return nil, fmt.Errorf("overlaps %v, which is given as well", other.addr)
		}
	}
	if taken, err := boundElsewhere(addr); err != nil {
		t.log.LogAttrs(context.Background(), slog.LevelDebug, "cannot look for other daemons", slog.Any("err", err))
	} else if taken {
		return nil, unix.EADDRINUSE
	}
	s, err := t.open(kindListener, addr, func(fd int) error { return listenerOptions(fd, addr.Addr().Is6()) })
	if err != nil {
		return nil, err
	}
	return &listener{socket: s, addr: s.local}, nil
}

// Addrs returns the addresses listened on, in the order given to Listen, with the ports the kernel chose.
func (t *Transport) Addrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, 0, len(t.listeners))
	for _, l := range t.listeners {
		addrs = append(addrs, l.addr)
	}
	return addrs
}

// Problems says of every address that Listen went without, under Options.Partial, why, and what to do about it.
func (t *Transport) Problems() []error { return t.problems }

// serving returns the listener through which local is reached: the one bound to it, else the unspecified one of its family
// and port. An unspecified local address, or port 0, matches any.
func (t *Transport) serving(local netip.AddrPort) *listener {
	var found *listener
	for _, l := range t.listeners {
		if l.addr.Addr().Is6() != local.Addr().Is6() || local.Port() != 0 && local.Port() != l.addr.Port() {
			continue
		}
		switch {
		case l.addr.Addr() == local.Addr():
			return l
		case l.addr.Addr().IsUnspecified(), local.Addr().IsUnspecified():
			if found == nil {
				found = l
			}
		}
	}
	return found
}

// LocalFor returns the address datagrams to remote leave from, with the port of the listener that sends them. The kernel's
// choice holds where a listener serves it, else the first listener of that family. No packet is sent.
func (t *Transport) LocalFor(remote netip.AddrPort) (netip.AddrPort, error) {
	remote, err := Normalize(remote)
	if err != nil {
		return netip.AddrPort{}, err
	}
	any := t.serving(netip.AddrPortFrom(unspecified(remote.Addr()), 0))
	if any == nil {
		return netip.AddrPort{}, noListener(remote)
	}
	source, err := t.sourceFor(remote)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("find our address for %v: %w", remote, err)
	}
	if l := t.serving(netip.AddrPortFrom(source, 0)); l != nil {
		return netip.AddrPortFrom(source, l.addr.Port()), nil
	}
	return any.addr, nil
}

// sourceFor asks the kernel for the source address of packets to remote, by connecting a socket that is bound to a port of
// its own, so that it can take nobody's packets.
func (t *Transport) sourceFor(remote netip.AddrPort) (netip.Addr, error) {
	fd, err := unix.Socket(family(remote.Addr()), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return netip.Addr{}, os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := routingOptions(fd, remote.Addr().Is6(), t.options); err != nil {
		return netip.Addr{}, err
	}
	if err := unix.Connect(fd, sockaddr(remote)); err != nil {
		return netip.Addr{}, os.NewSyscallError("connect", err)
	}
	local, err := sockname(fd)
	return local.Addr(), err
}

// Close closes every socket and waits until no handler runs any more. It must not be called from the handler. What a tunnel
// socket carried in the kernel ends with it, unless its descriptor is held elsewhere as well.
func (t *Transport) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return ErrClosed
	}
	t.closed = true
	close(t.done)
	conns, ports := t.conns, t.ports
	t.conns, t.ports = nil, nil
	t.mu.Unlock()

	var failures []error
	for _, l := range t.listeners {
		failures = append(failures, l.file.Close())
	}
	for _, l := range ports {
		failures = append(failures, l.file.Close())
	}
	for c := range conns {
		failures = append(failures, c.socket.file.Close())
	}
	t.readers.Wait()
	return errors.Join(failures...)
}
