package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	netlinkTimeout = 30 * time.Second
	dumpAttempts   = 20
)

// rtnl speaks rtnetlink.
type rtnl struct {
	handle    *netlink.Handle
	dumps     *netlink.Handle // with strict checks, see openRtnl
	addresses *addressBook
	*committer
}

// link is an interface.
type link struct {
	index int
	name  string
	mtu   int
	group int
	up    bool
}

func openRtnl() (*rtnl, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	dumps, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		handle.Close()
		return nil, err
	}
	addresses, err := openAddressBook()
	if err != nil {
		handle.Close()
		dumps.Close()
		return nil, err
	}
	changes, err := openCommitter()
	if err != nil {
		handle.Close()
		dumps.Close()
		addresses.close()
		return nil, err
	}
	n := &rtnl{handle: handle, dumps: dumps, addresses: addresses, committer: changes}
	// Without strict checks the kernel ignores the filter of a dump and sends everything; with them it refuses what the
	// library asks about single IPv6 routes.
	err = errors.Join(handle.SetSocketTimeout(netlinkTimeout), dumps.SetSocketTimeout(netlinkTimeout), dumps.SetStrictCheck(true))
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *rtnl) close() {
	n.handle.Close()
	n.dumps.Close()
	n.addresses.close()
	n.committer.close()
}

// dump repeats a dump that the kernel says was interrupted by a change.
func dump(f func() error) error {
	var err error
	for range dumpAttempts {
		if err = f(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return err
		}
	}
	return err
}

// link looks an interface up by name, with one request.
func (n *rtnl) link(name string) (link, error) {
	l, err := n.handle.LinkByName(name)
	if err != nil {
		var missing netlink.LinkNotFoundError
		if errors.As(err, &missing) {
			return link{}, fmt.Errorf("interface %s: %w", name, os.ErrNotExist)
		}
		return link{}, fmt.Errorf("find interface %s: %w", name, err)
	}
	a := l.Attrs()
	return link{index: a.Index, name: a.Name, mtu: a.MTU, group: int(a.Group), up: a.Flags&net.FlagUp != 0}, nil
}

// observe reads what Apply compares with. An interface that is down has no routes.
func (n *rtnl) observe(l link) (observed, error) {
	o := observed{mtu: l.mtu, group: l.group, up: l.up}
	var err error
	if o.addresses, err = n.addresses.of(l); err != nil {
		return o, fmt.Errorf("read addresses: %w", err)
	}
	if !l.up {
		return o, nil
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		all, err := n.routes(family, &netlink.Route{LinkIndex: l.index, Protocol: Protocol, Table: unix.RT_TABLE_MAIN},
			netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		if err != nil {
			return o, err
		}
		for _, r := range all {
			o.routes = append(o.routes, route{dst: prefixOf(r.Dst), metric: r.Priority})
		}
	}
	return o, nil
}

// routes dumps the routes of a family that match the filter.
func (n *rtnl) routes(family int, filter *netlink.Route, mask uint64) ([]netlink.Route, error) {
	var all []netlink.Route
	err := dump(func() (err error) {
		all, err = n.dumps.RouteListFiltered(family, filter, mask)
		return err
	})
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil // no IPv6 on this host
	}
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	return all, nil
}

// marked returns every route of the main table that carries our protocol.
func (n *rtnl) marked() ([]kernelRoute, error) {
	var out []kernelRoute
	names := make(map[int]string)
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		all, err := n.routes(family, &netlink.Route{Protocol: Protocol, Table: unix.RT_TABLE_MAIN},
			netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, err
		}
		for _, r := range all {
			out = append(out, n.kernelRoute(r, names))
		}
	}
	return out, nil
}

// routesTo returns the routes that stand where r would: same network, same metric.
func (n *rtnl) routesTo(r route) ([]kernelRoute, error) {
	all, err := n.routes(family(r.dst.Addr()), &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, err
	}
	var out []kernelRoute
	for _, have := range all {
		if prefixOf(have.Dst) == r.dst && have.Priority == r.metric {
			out = append(out, n.kernelRoute(have, make(map[int]string)))
		}
	}
	return out, nil
}

func (n *rtnl) kernelRoute(r netlink.Route, names map[int]string) kernelRoute {
	k := kernelRoute{
		route: route{dst: prefixOf(r.Dst), metric: r.Priority}, index: r.LinkIndex, protocol: int(r.Protocol),
		refuses: r.Type == unix.RTN_UNREACHABLE,
	}
	if via, ok := netip.AddrFromSlice(r.Gw); ok {
		k.via = via.Unmap()
	}
	if _, ok := names[k.index]; !ok && k.index != 0 {
		if l, err := n.handle.LinkByIndex(k.index); err == nil {
			names[k.index] = l.Attrs().Name
		}
	}
	k.name = names[k.index]
	return k
}

// on makes the library's form of one of our routes.
func (r route) on(index int) *netlink.Route {
	out := &netlink.Route{
		LinkIndex: index, Dst: netOf(r.dst), Priority: r.metric, Protocol: Protocol, Table: unix.RT_TABLE_MAIN,
		Type: unix.RTN_UNICAST,
	}
	if r.dst.Addr().Is4() {
		out.Scope = netlink.SCOPE_LINK
	}
	return out
}

func (n *rtnl) addRoute(l link, r route) error     { return n.handle.RouteAdd(r.on(l.index)) }
func (n *rtnl) replaceRoute(l link, r route) error { return n.handle.RouteReplace(r.on(l.index)) }

func (n *rtnl) delRoute(l link, r route) error {
	return n.delMarked(kernelRoute{route: r, index: l.index})
}

// delMarked deletes a route that carries our protocol; one that is gone is no error.
func (n *rtnl) delMarked(r kernelRoute) error {
	del := r.on(r.index)
	del.Scope = netlink.SCOPE_NOWHERE // any
	if r.refuses {
		del.Type, del.LinkIndex = unix.RTN_UNREACHABLE, 0
	}
	err := n.handle.RouteDel(del)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete route %v: %w", r, err)
	}
	return nil
}

// remedy adds what to do to errors that have one known cause.
func remedy(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w; this takes CAP_NET_ADMIN", err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w; is IPv6 switched off there? see sysctl net.ipv6.conf.all.disable_ipv6", err)
	}
	return err
}
