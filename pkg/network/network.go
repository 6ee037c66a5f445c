package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
)

// Protocol is the routing protocol id that marks our routes in the kernel ("ip route ... proto 121").
const Protocol = 121

// Interface is the desired state of one PPP interface and of what goes with it.
type Interface struct {
	Name       string
	MTU        int        // 0: leave
	Local      netip.Addr // our IPv4 address; invalid: none (unnumbered without a borrowed address)
	Peer       netip.Addr // the other end's IPv4 address; invalid: none
	LocalIPv6  netip.Addr // our link-local address from IPV6CP; invalid: none
	PeerIPv6   netip.Addr
	IPv4, IPv6 bool           // which NCPs are open: addresses and routes of a closed one are not installed
	Routes     []netip.Prefix // IPv4 and IPv6 networks behind the peer (S167)
	Metric     int            // of the routes; 0: the kernel's default
	Masquerade bool           // source NAT of what leaves here (S168)
	MSSClamp   bool           // TCP MSS follows the path MTU
	Endpoint   netip.Addr     // the tunnel's outer peer: kept off this interface by a host route, so that no loop can form
}

// Manager applies desired states. It is safe for concurrent use; calls wait for each other, as the kernel would make them,
// and block on netlink: they belong on an executor.
type Manager struct {
	log   *slog.Logger
	nl    *rtnl
	nft   *nft
	watch *watch             // of the outer network, which the host routes follow
	life  context.Context    // of what the watch starts
	end   context.CancelFunc // of life

	// busy is a lock that a context can give up on. It guards everything below.
	busy    chan struct{}
	owners  map[string]*owned
	guards  *guards
	demands map[string]*Demand
}

// owned is what one owner asked for last.
type owned struct {
	want  Interface
	index int          // of the interface, as it was then
	held  []netip.Addr // endpoints whose host route it needs
}

// New opens the manager's netlink sockets, in the network namespace of the calling thread.
func New(log *slog.Logger) (*Manager, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	nl, err := openRtnl()
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	m := &Manager{
		log: log, nl: nl, nft: &nft{},
		busy: make(chan struct{}, 1), owners: make(map[string]*owned),
		guards: &guards{nl: nl, log: log, by: make(map[netip.Addr]*hostRoute)}, demands: make(map[string]*Demand),
	}
	m.life, m.end = context.WithCancel(context.Background())
	if m.watch, err = openWatch(m.outerChanged); err != nil {
		m.end()
		nl.close()
		return nil, fmt.Errorf("watch routes: %w", err)
	}
	return m, nil
}

// outerChanged lets the host routes follow the outer network.
func (m *Manager) outerChanged() {
	if m.lock(m.life) != nil {
		return
	}
	defer m.unlock()
	m.guards.refresh()
}

func (m *Manager) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case m.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *Manager) unlock() { <-m.busy }

// Apply makes an interface and what goes with it as wanted, whatever it was before; applying the same again repairs what is
// missing and changes nothing else. The owner is a name of the caller's choice for the call that has the interface; an owner
// has one interface, and an interface one owner: the last to apply it.
//
// An IPv4 route that cannot be installed does not keep the others from being: the error then joins what failed. An interface
// that does not exist gives an error that matches os.ErrNotExist. After any error Remove takes back what was done.
//
// Trouble with IPv6 is not trouble with IPv4. An *IPv6Error says that the interface is complete as it would be with IPv6 closed:
// it is up, its IPv4 part is in place if asked for, and nothing of IPv6 is left on it. When more than IPv6 failed the error is
// no *IPv6Error.
//
// While IPv6 is open the kernel takes no router's word on the interface: Router Advertisements and redirects are dropped.
func (m *Manager) Apply(ctx context.Context, owner string, want Interface) error {
	if err := m.lock(ctx); err != nil {
		return fmt.Errorf("apply interface %s: %w", want.Name, err)
	}
	defer m.unlock()
	err := m.apply(ctx, owner, want)
	if ipv6 := (*IPv6Error)(nil); errors.As(err, &ipv6) {
		ipv6.Err = remedy(ipv6.Err)
		want.IPv6 = false
		if rest := m.apply(ctx, owner, want); rest != nil {
			err = errors.Join(remedy(rest), ipv6.Err)
		}
	} else {
		err = remedy(err)
	}
	if err != nil {
		return fmt.Errorf("apply interface %s: %w", want.Name, err)
	}
	return nil
}

func (m *Manager) apply(ctx context.Context, owner string, want Interface) error {
	if before, ok := m.owners[owner]; ok && before.want.Name != want.Name {
		if err := m.remove(owner); err != nil {
			return err
		}
	}
	for other, o := range m.owners {
		if other != owner && o.want.Name == want.Name {
			// A pooled interface came to a new call before the old one was taken down.
			m.guards.release(other, o, netip.Addr{})
			delete(m.owners, other)
		}
	}
	link, err := m.nl.link(want.Name)
	if err != nil {
		return err
	}
	o := m.owners[owner]
	if o == nil {
		o = &owned{}
		m.owners[owner] = o
	}
	o.want, o.index = want, link.index
	if want.IPv6 {
		if err := m.openIPv6(link, want); err != nil {
			return &IPv6Error{err}
		}
	}
	target := targetOf(want)
	if target.guard.IsValid() {
		if err := m.guards.hold(owner, o, target.guard); err != nil {
			err = fmt.Errorf("host route to %v, which the routes of this interface cover: %w", target.guard, err)
			if want.IPv6 && target.guard.Is6() {
				return &IPv6Error{err}
			}
			return err
		}
	}
	have, err := m.nl.observe(link)
	if err != nil {
		return err
	}
	var failures []error
	for _, op := range plan(target, have) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := m.do(owner, link, op); err != nil {
			err = fmt.Errorf("%v: %w", op, err)
			if want.IPv6 && op.ipv6() {
				return &IPv6Error{err}
			}
			failures = append(failures, err)
			if op.kind != opAddRoute {
				return errors.Join(failures...)
			}
		}
	}
	m.guards.release(owner, o, target.guard)
	if err := m.nft.member(want.Name, setsOf(want)...); err != nil {
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// openIPv6 does what comes before anything of IPv6: the interface can have it, and takes no router's word.
func (m *Manager) openIPv6(l link, want Interface) error {
	mtu := want.MTU
	if mtu == 0 {
		mtu = l.mtu
	}
	if mtu < minIPv6MTU {
		return fmt.Errorf("it takes an MTU of %d, that of the interface is %d", minIPv6MTU, mtu)
	}
	return m.nft.join(want.Name, setRouterless)
}

// setsOf names the nftables sets that an interface is to be in.
func setsOf(want Interface) []string {
	var sets []string
	if want.Masquerade && want.IPv4 {
		sets = append(sets, setMasquerade)
	}
	if want.MSSClamp {
		sets = append(sets, setClamp)
	}
	if want.IPv6 {
		sets = append(sets, setRouterless)
	}
	return sets
}

// do performs one operation of a plan.
func (m *Manager) do(owner string, l link, op operation) error {
	switch op.kind {
	case opNoAutoAddress:
		return m.nl.noAutoAddress(l)
	case opSetMTU:
		return m.nl.setMTU(l, op.mtu)
	case opUp:
		return m.nl.setUp(l)
	case opDelAddress:
		return m.nl.addresses.change(l, op.address, false)
	case opAddAddress:
		return m.nl.addresses.change(l, op.address, true)
	case opAddRoute:
		return m.addRoute(owner, l, op.route)
	case opDelRoute:
		return m.nl.delRoute(l, op.route)
	}
	return fmt.Errorf("%v: unknown operation", op)
}

// addRoute adds a route, and where another has its place says which, or takes the place of one that a dead daemon left.
func (m *Manager) addRoute(owner string, l link, r route) error {
	err := m.nl.addRoute(l, r)
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	rivals, err := m.nl.routesTo(r)
	if err != nil {
		return err
	}
	for _, rival := range rivals {
		if rival.index == l.index {
			return nil
		}
		if rival.protocol != Protocol {
			return fmt.Errorf("another route exists: %v; remove it, or give this call's routes another metric", rival)
		}
		for other, o := range m.owners {
			if other != owner && o.index == rival.index {
				return fmt.Errorf("another call has it: %s, %v; give one of them another metric", other, rival)
			}
		}
	}
	return m.nl.replaceRoute(l, r)
}

// Remove takes back what Apply did for this owner: routes, addresses, set memberships, the host route once nobody needs it;
// the interface is left down, since a pooled one must be that before it is connected anew. An owner that has nothing is no
// error, nor is an interface that is gone.
func (m *Manager) Remove(ctx context.Context, owner string) error {
	if err := m.lock(ctx); err != nil {
		return fmt.Errorf("remove interface of %s: %w", owner, err)
	}
	defer m.unlock()
	if err := m.remove(owner); err != nil {
		return fmt.Errorf("remove interface of %s: %w", owner, remedy(err))
	}
	return nil
}

func (m *Manager) remove(owner string) error {
	o, ok := m.owners[owner]
	if !ok {
		return nil
	}
	delete(m.owners, owner)
	link, linkErr := m.nl.link(o.want.Name)
	switch {
	case errors.Is(linkErr, os.ErrNotExist), linkErr == nil && link.index != o.index:
		linkErr = nil
	case linkErr == nil:
		linkErr = m.clear(link)
	}
	err := m.nft.member(o.want.Name)
	// Last, so that the endpoint is never left to the routes that cover it.
	m.guards.release(owner, o, netip.Addr{})
	return errors.Join(err, linkErr)
}

// clear takes an interface down, which drops its routes, and removes our addresses.
func (m *Manager) clear(l link) error {
	have, err := m.nl.observe(l)
	if err != nil {
		return err
	}
	failures := []error{m.nl.setDown(l)}
	for _, a := range have.addresses {
		if a.ours && a.local.Is4() {
			failures = append(failures, m.nl.addresses.change(l, a, false))
		}
	}
	return errors.Join(failures...)
}

// Sweep removes what an earlier daemon left: routes with our protocol and set members that belong neither to an owner nor to
// an interface named in keep, which are those whose calls go on and are applied later. Host routes that a kept route needs
// stay.
func (m *Manager) Sweep(ctx context.Context, keep []string) error {
	if err := m.lock(ctx); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	defer m.unlock()
	if err := m.sweep(keep); err != nil {
		return fmt.Errorf("sweep: %w", remedy(err))
	}
	return nil
}

func (m *Manager) sweep(keep []string) error {
	kept := make(map[string]bool)
	for _, name := range keep {
		kept[name] = true
	}
	for _, o := range m.owners {
		kept[o.want.Name] = true
	}
	for name := range m.demands {
		kept[name] = true
	}
	marked, err := m.nl.marked()
	if err != nil {
		return err
	}
	held := make(map[netip.Addr]bool)
	for endpoint := range m.guards.by {
		held[endpoint] = true
	}
	var failures []error
	for _, r := range stale(marked, kept, held) {
		failures = append(failures, m.nl.delMarked(r))
	}
	failures = append(failures, m.nft.retain(kept))
	return errors.Join(failures...)
}

// Close closes the manager's sockets and what still waits for a first packet. It leaves interfaces and routes alone: sessions
// may live on. The nftables table goes when no interface is in it.
func (m *Manager) Close() error {
	m.end()
	watchErr := m.watch.close()
	for _, d := range m.waiting() {
		_ = d.Close()
	}
	if err := m.lock(context.Background()); err != nil {
		return err
	}
	defer m.unlock()
	err := errors.Join(m.nft.close(), watchErr)
	m.nl.close()
	if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

func (m *Manager) waiting() []*Demand {
	if m.lock(context.Background()) != nil {
		return nil
	}
	defer m.unlock()
	var all []*Demand
	for _, d := range m.demands {
		all = append(all, d)
	}
	return all
}
