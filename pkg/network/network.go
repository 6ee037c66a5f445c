package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/slab"
)

// Protocol is the routing protocol id that marks our routes in the kernel ("ip route ... proto 121").
const Protocol = 121

// Interface is the desired state of one PPP interface and of what goes with it.
type Interface struct {
	Name       string
	Fresh      *Fresh     // what is known of an interface that nothing was done with yet; nil: the kernel is asked
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

// Fresh is an interface that is down and has no address. Its owner's next Apply may say the same, and does not rely on it.
type Fresh struct {
	Index int
	MTU   int // 0: not known
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

	closing sync.Once
	closed  error // what Close returns

	// busy is a lock that a context can give up on. It guards everything below.
	busy    chan struct{}
	owners  map[Owner]*owned
	names   map[string]Owner // of the owners' interfaces: whose they are
	records slab.Of[owned]
	guards  *guards
	demands map[string]*Demand
}

// owned is what one owner asked for last.
type owned struct {
	name      string
	index     int          // of the interface, as it was then
	group     int          // that it was given; 0: none
	addresses []address    // IPv4, that may be on it
	held      []netip.Addr // endpoints whose host route it needs
	one       [1]address   // the room of addresses, as a rule
}

// keep notes an address that may be on the interface.
func (o *owned) keep(a address) {
	if o.addresses == nil {
		o.addresses = o.one[:0]
	}
	o.addresses = append(o.addresses, a)
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
		log: log, nl: nl,
		busy: make(chan struct{}, 1), owners: make(map[Owner]*owned), names: make(map[string]Owner),
		guards: &guards{nl: nl, log: log, by: make(map[netip.Addr]*hostRoute)}, demands: make(map[string]*Demand),
	}
	m.life, m.end = context.WithCancel(context.Background())
	m.nft = &nft{damaged: m.tableDamaged}
	if m.watch, err = openWatch(unix.NETLINK_ROUTE, outerGroups(), concernsOthers, m.outerChanged); err != nil {
		m.end()
		nl.close()
		return nil, fmt.Errorf("watch routes: %w", err)
	}
	m.guards.watch = m.watch
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

// tableDamaged repairs the nftables table that somebody else, such as a firewall that reloads, took away in whole or in part, or may
// have: of many changes at once not all are heard.
func (m *Manager) tableDamaged() {
	if m.lock(m.life) != nil {
		return
	}
	defer m.unlock()
	if err := m.nft.repair(); err != nil {
		m.log.LogAttrs(context.Background(), slog.LevelWarn, "nftables was changed by others, and the table cannot be made anew",
			slog.String("table", tableName), slog.Any("err", err))
		return
	}
	m.log.LogAttrs(context.Background(), slog.LevelWarn, "nftables was changed by others: the table is made anew", slog.String("table", tableName))
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

// Prepare makes what interfaces have in common, which takes the kernel a moment: the first one to come up does not wait for it then. What
// goes wrong is told when one needs it.
func (m *Manager) Prepare(ctx context.Context) {
	if m.lock(ctx) != nil {
		return
	}
	defer m.unlock()
	_ = m.nft.need()
}

// Owner is a name of the caller's choice for the call that has an interface: what it is, and the numbers that it has.
type Owner struct {
	What       string
	Tunnel, ID uint32 // 0: none
}

func (o Owner) String() string {
	switch {
	case o.Tunnel != 0:
		return fmt.Sprintf("%s %d/%d", o.What, o.Tunnel, o.ID)
	case o.ID != 0:
		return fmt.Sprintf("%s %d", o.What, o.ID)
	}
	return o.What
}

// Apply makes an interface and what goes with it as wanted, whatever it was before; applying the same again repairs what is
// missing and changes nothing else. An owner has one interface, and an interface one owner: the last to apply it.
//
// An IPv4 route that cannot be installed does not keep the others from being: the error then joins what failed. An interface
// that does not exist gives an error that matches os.ErrNotExist. After any error Remove takes back what was done.
//
// Trouble with IPv6 is not trouble with IPv4. An *IPv6Error says that the interface is complete as it would be with IPv6 closed:
// it is up, its IPv4 part is in place if asked for, and nothing of IPv6 is left on it. When more than IPv6 failed the error is
// no *IPv6Error.
//
// While IPv6 is open the kernel takes no router's word on the interface: Router Advertisements and redirects are dropped.
func (m *Manager) Apply(ctx context.Context, owner Owner, want Interface) error {
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

func (m *Manager) apply(ctx context.Context, owner Owner, want Interface) error {
	if before, ok := m.owners[owner]; ok && before.name != want.Name {
		if err := m.remove(owner); err != nil {
			return err
		}
	}
	if other, ok := m.names[want.Name]; ok && other != owner {
		// A pooled interface came to a new call before the old one was taken down.
		m.forget(other)
	}
	o, fresh := m.owners[owner], want.Fresh
	if o != nil {
		fresh = nil
	}
	link, err := m.find(want.Name, fresh)
	if err != nil {
		return err
	}
	if o == nil {
		o = m.records.New()
		o.name = want.Name
		m.owners[owner], m.names[want.Name] = o, owner
	}
	o.index = link.index
	if err := checkIPv6(link, want); err != nil {
		return &IPv6Error{err}
	}
	var failures []error
	target := targetOf(want)
	if target.group != 0 {
		if err := m.nft.need(); err != nil {
			if want.IPv6 {
				return &IPv6Error{err}
			}
			failures = append(failures, err)
			target.group = 0
		}
	}
	if target.guard.IsValid() {
		if err := m.guards.hold(owner, o, target.guard); err != nil {
			err = fmt.Errorf("host route to %v, which the routes of this interface cover: %w", target.guard, err)
			if want.IPv6 && target.guard.Is6() {
				return &IPv6Error{err}
			}
			return err
		}
	}
	have := observed{mtu: link.mtu, group: link.group}
	if fresh == nil {
		if have, err = m.look(o, link); err != nil {
			return err
		}
	}
	steps := plan(target, have)
	first := slices.IndexFunc(steps, operation.isRoute)
	if first < 0 {
		first = len(steps)
	}
	if err := m.prepare(o, link, steps[:first], want.IPv6); err != nil {
		return err
	}
	o.group = target.group
	for _, op := range steps[first:] {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := m.route(owner, link, op); err != nil {
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
	return errors.Join(failures...)
}

// find finds an interface. One that is fresh need not be asked for.
func (m *Manager) find(name string, fresh *Fresh) (link, error) {
	if fresh != nil {
		return link{index: fresh.Index, name: name, mtu: fresh.MTU}, nil
	}
	return m.nl.link(name)
}

// look reads what an interface is, and notes the addresses that we have to take back.
func (m *Manager) look(o *owned, l link) (observed, error) {
	have, err := m.nl.observe(l)
	o.addresses = o.one[:0]
	for _, a := range have.addresses {
		if a.ours && a.local.Is4() {
			o.addresses = append(o.addresses, a)
		}
	}
	return have, err
}

// prepare takes the steps of a plan that come before the routes.
func (m *Manager) prepare(o *owned, l link, steps []operation, ipv6 bool) error {
	changes := make([]change, len(steps))
	for i, op := range steps {
		switch op.kind {
		case opNoAutoAddress:
			changes[i] = noAutoAddress(l)
		case opSetMTU:
			changes[i] = withMTU(l, op.mtu)
		case opSetGroup:
			changes[i] = withGroup(l, op.group)
		case opUp:
			changes[i] = up(l, op.group)
		case opDelAddress:
			changes[i] = withoutAddress(l, op.address)
		case opAddAddress:
			changes[i] = withAddress(l, op.address)
			if op.address.local.Is4() {
				o.keep(op.address)
			}
		case opAddRoute, opDelRoute:
		}
	}
	failures, err := m.nl.commit(changes...)
	if err != nil {
		return err
	}
	var bad *IPv6Error
	for i, err := range failures {
		switch op := steps[i]; {
		case err == nil:
		case errors.Is(err, unix.ENODEV):
			return fmt.Errorf("interface %s: %w", l.name, os.ErrNotExist)
		case ipv6 && op.ipv6():
			bad = &IPv6Error{fmt.Errorf("%v: %w", op, err)}
		default:
			return fmt.Errorf("%v: %w", op, err)
		}
	}
	if bad != nil {
		return bad
	}
	return nil
}

// checkIPv6 tells why an interface that is to have IPv6 cannot.
func checkIPv6(l link, want Interface) error {
	mtu := want.MTU
	if mtu == 0 {
		mtu = l.mtu
	}
	if want.IPv6 && mtu < minIPv6MTU {
		return fmt.Errorf("it takes an MTU of %d, that of the interface is %d", minIPv6MTU, mtu)
	}
	return nil
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

// route takes a step of a plan that is about a route.
func (m *Manager) route(owner Owner, l link, op operation) error {
	if op.kind == opDelRoute {
		return m.nl.delRoute(l, op.route)
	}
	return m.addRoute(owner, l, op.route)
}

// addRoute adds a route, and where another has its place says which, or takes the place of one that a dead daemon left.
func (m *Manager) addRoute(owner Owner, l link, r route) error {
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
				return fmt.Errorf("another call has it: %v, %v; give one of them another metric", other, rival)
			}
		}
	}
	return m.nl.replaceRoute(l, r)
}

// Index gives the kernel's number of the interface that the owner's latest Apply found; 0: the owner has none.
func (m *Manager) Index(owner Owner) int {
	if m.lock(context.Background()) != nil {
		return 0
	}
	defer m.unlock()
	if o := m.owners[owner]; o != nil {
		return o.index
	}
	return 0
}

// Remove takes back what Apply did for this owner: routes, addresses, the group, the host route once nobody needs it;
// the interface is left down, since a pooled one must be that before it is connected anew. An owner that has nothing is no
// error, nor is an interface that is gone.
func (m *Manager) Remove(ctx context.Context, owner Owner) error {
	if err := m.lock(ctx); err != nil {
		return fmt.Errorf("remove interface of %v: %w", owner, err)
	}
	defer m.unlock()
	if err := m.remove(owner); err != nil {
		return fmt.Errorf("remove interface of %v: %w", owner, remedy(err))
	}
	return nil
}

func (m *Manager) remove(owner Owner) error {
	o, ok := m.owners[owner]
	if !ok {
		return nil
	}
	err := m.clear(o)
	m.forget(owner) // last, so that the endpoint is never left to the routes that cover it
	return err
}

// forget takes an owner out, with the name of his interface, and his host routes unless somebody else needs them.
func (m *Manager) forget(owner Owner) {
	o := m.owners[owner]
	delete(m.owners, owner)
	delete(m.names, o.name)
	m.guards.release(owner, o, netip.Addr{})
	m.records.Free(o)
}

// clear takes an interface down, which drops its routes, and removes our addresses. One that is gone has neither.
func (m *Manager) clear(o *owned) error {
	l := link{index: o.index, name: o.name}
	changes := []change{down(l, o.group != 0)}
	for _, a := range o.addresses {
		changes = append(changes, withoutAddress(l, a))
	}
	failures, err := m.nl.commit(changes...)
	for _, failure := range failures {
		if !errors.Is(failure, unix.ENODEV) {
			err = errors.Join(err, failure)
		}
	}
	return err
}

// Sweep removes what an earlier daemon left: routes with our protocol that belong neither to an owner nor to an interface named in keep, which are those whose calls go on and are applied later. Host routes that a kept route needs
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
		kept[o.name] = true
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
	return errors.Join(failures...)
}

// Close closes the manager's sockets and what still waits for a first packet. It leaves interfaces and routes alone: sessions
// may live on. The nftables table goes when no interface is in it. Closing again does nothing more.
func (m *Manager) Close() error {
	m.closing.Do(func() { m.closed = m.shut() })
	return m.closed
}

func (m *Manager) shut() error {
	m.end()
	watchErr := m.watch.close()
	for _, d := range m.waiting() {
		_ = d.Close()
	}
	if err := m.lock(context.Background()); err != nil {
		return err
	}
	defer m.unlock()
	needed := false
	for _, o := range m.owners {
		needed = needed || o.group != 0
	}
	err := errors.Join(m.nft.close(needed), watchErr)
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
