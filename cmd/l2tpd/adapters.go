package main

import (
	"log/slog"
	"net/netip"
	"sync"

	"github.com/l2tpd/l2tpd/pkg/engine"
	"github.com/l2tpd/l2tpd/pkg/ipv6"
	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/network"
	"github.com/l2tpd/l2tpd/pkg/pppd"
	"github.com/l2tpd/l2tpd/pkg/transport"
)

// kernelFor, networkFor and transportFor fit the packages that touch the system to the engine's interfaces.
type kernelFor struct{ *kernel.Kernel }

func (k kernelFor) CreateSession(s kernel.SessionSpec, to kernel.Receiver) (engine.Session, error) {
	return sessionOf(k.Kernel.CreateSession(s, to))
}

func (k kernelFor) OpenPPPoE(s kernel.PPPoESpec, to kernel.Receiver) (engine.Session, error) {
	return sessionOf(k.Kernel.OpenPPPoE(s, to))
}

func (k kernelFor) OpenLine(s kernel.LineSpec, to kernel.Receiver) (engine.Session, error) {
	return sessionOf(k.Kernel.OpenLine(s, to))
}

func sessionOf(s *kernel.Session, err error) (engine.Session, error) {
	if err != nil {
		return nil, err
	}
	return session{s}, nil
}

// session is a kernel session among others of the engine.
type session struct{ *kernel.Session }

func (s session) LineErrors() ([6]uint32, error) { return kernel.LineErrors(s.Session) }

func (s session) Bridge(to engine.Session) error { return s.Session.Bridge(to.(session).Session) }

type networkFor struct{ *network.Manager }

func (n networkFor) Demand(name string, routes []netip.Prefix, wake func()) (engine.Demand, error) {
	d, err := n.Manager.Demand(name, routes, wake)
	if err != nil {
		return nil, err
	}
	return d, nil
}

type transportFor struct{ *transport.Transport }

func (t transportFor) OpenPort(local netip.Addr, remote netip.AddrPort) (engine.Port, error) {
	p, err := t.Transport.OpenPort(local, remote)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (t transportFor) Connect(local, remote netip.AddrPort, prepare func(fd int) error) (engine.Conn, error) {
	c, err := t.Transport.Connect(local, remote, prepare)
	if err != nil {
		return nil, err
	}
	return c, nil
}

type pppdFor struct{ *pppd.Supervisor }

func (p pppdFor) Start(spec pppd.Spec, events func(pppd.Event)) (engine.PppdProcess, error) {
	x, err := p.Supervisor.Start(spec, events)
	if err != nil {
		return nil, err
	}
	return x, nil
}

// prefixesFor opens the service for IPv6 prefixes when the first session needs it: it takes privileges that nothing else does.
type prefixesFor struct {
	log *slog.Logger

	mu     sync.Mutex
	server *ipv6.Server
}

func (p *prefixesFor) Serve(index int, lease ipv6.Lease, notify func(ipv6.Event)) error {
	s, err := p.open()
	if err != nil {
		return err
	}
	return s.Serve(index, lease, notify)
}

func (p *prefixesFor) open() (*ipv6.Server, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		s, err := ipv6.New(ipv6.Config{Logger: p.log, Now: bootTime})
		if err != nil {
			return nil, err
		}
		p.server = s
	}
	return p.server, nil
}

// Stop follows a Serve, so that there is a server unless it could not be opened.
func (p *prefixesFor) Stop(index int) {
	p.mu.Lock()
	s := p.server
	p.mu.Unlock()
	if s != nil {
		s.Stop(index)
	}
}

func (p *prefixesFor) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return nil
	}
	return p.server.Close()
}
