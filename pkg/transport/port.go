package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
)

// Port is an extra listener for one tunnel, on a port that the kernel chose (S14). From OpenPort to Close, Send and Connect
// with its address as the local one use it, so that control and data of the tunnel leave from one port.
type Port struct {
	transport *Transport
	listener  *listener
}

// OpenPort opens a port for a tunnel to remote and reads from it at once. local is our address; when it is not valid the
// kernel's choice for remote holds.
func (t *Transport) OpenPort(local netip.Addr, remote netip.AddrPort) (*Port, error) {
	p, err := t.openPort(local, remote)
	if err != nil {
		return nil, fmt.Errorf("open a port for %v: %w", remote, err)
	}
	return p, nil
}

func (t *Transport) openPort(local netip.Addr, remote netip.AddrPort) (*Port, error) {
	remote, err := Normalize(remote)
	if err != nil {
		return nil, err
	}
	if !local.IsValid() {
		if local, err = t.sourceFor(remote); err != nil {
			return nil, err
		}
	}
	bind, err := Normalize(netip.AddrPortFrom(local, 0))
	if err != nil {
		return nil, err
	}
	s, err := t.open(kindListener, bind, func(fd int) error { return listenerOptions(fd, bind.Addr().Is6()) })
	if err != nil {
		return nil, err
	}
	p := &Port{transport: t, listener: &listener{socket: s, addr: s.local}}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = s.file.Close()
		return nil, ErrClosed
	}
	t.ports[s.local] = p.listener
	t.readers.Go(s.read)
	return p, nil
}

// Local returns the address and port that the kernel chose.
func (p *Port) Local() netip.AddrPort { return p.listener.addr }

// Close closes the port. A tunnel socket that is bound to it stays. A handler may still be running for a datagram that came
// before.
func (p *Port) Close() error {
	t := p.transport
	t.mu.Lock()
	delete(t.ports, p.listener.addr)
	t.mu.Unlock()
	if err := p.listener.file.Close(); err != nil {
		if errors.Is(err, os.ErrClosed) {
			return ErrClosed
		}
		return fmt.Errorf("close port %v: %w", p.listener.addr, err)
	}
	return nil
}

// through returns the listener that sends for local: an opened port, or the one that serves it.
func (t *Transport) through(local netip.AddrPort) *listener {
	t.mu.RLock()
	l := t.ports[local]
	t.mu.RUnlock()
	if l != nil {
		return l
	}
	return t.serving(local)
}
