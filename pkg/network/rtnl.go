package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	netlinkTimeout = 30 * time.Second
	dumpAttempts   = 20
)

// rtnl speaks rtnetlink. The library does links and routes; addresses are done here, because it can neither ask for those of
// one interface, which matters with thousands, nor mark them as ours.
type rtnl struct {
	handle *netlink.Handle
	socket *nl.NetlinkSocket
	shared map[int]*nl.SocketHandle
}

// link is an interface.
type link struct {
	index int
	name  string
	mtu   int
	up    bool
}

func openRtnl() (*rtnl, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	socket, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		handle.Close()
		return nil, err
	}
	n := &rtnl{handle: handle, socket: socket}
	n.shared = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}
	timeout := unix.NsecToTimeval(int64(netlinkTimeout))
	err = errors.Join(
		handle.SetSocketTimeout(netlinkTimeout),
		// Without this the kernel ignores the filter of a dump and sends everything.
		handle.SetStrictCheck(true),
		unix.SetsockoptInt(socket.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1),
		socket.SetReceiveTimeout(&timeout),
		socket.SetSendTimeout(&timeout),
	)
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *rtnl) close() {
	n.handle.Close()
	n.socket.Close()
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
	return link{index: a.Index, name: a.Name, mtu: a.MTU, up: a.Flags&net.FlagUp != 0}, nil
}

func (l link) device() netlink.Link {
	return &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: l.index, Name: l.name}}
}

func (n *rtnl) setUp(l link) error           { return n.handle.LinkSetUp(l.device()) }
func (n *rtnl) setDown(l link) error         { return n.handle.LinkSetDown(l.device()) }
func (n *rtnl) setMTU(l link, mtu int) error { return n.handle.LinkSetMTU(l.device(), mtu) }

// noAutoAddress keeps the kernel from making a link-local address. A host without IPv6 makes none.
func (n *rtnl) noAutoAddress(l link) error {
	err := n.handle.LinkSetIP6AddrGenMode(l.device(), nl.IN6_ADDR_GEN_MODE_NONE)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// observe reads what Apply compares with. An interface that is down has no routes.
func (n *rtnl) observe(l link) (observed, error) {
	o := observed{mtu: l.mtu, up: l.up}
	var err error
	if o.addresses, err = n.addresses(l); err != nil {
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
		all, err = n.handle.RouteListFiltered(family, filter, mask)
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
	err := n.handle.RouteDel(del)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete route %v: %w", r, err)
	}
	return nil
}

// Numbers of linux/if_addr.h that the library does not name.
const ifaProto = 11 // IFA_PROTO

// request starts a message on the address socket.
func (n *rtnl) request(kind, flags int) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(kind, flags)
	r.Sockets = n.shared
	return r
}

// changeAddress adds or deletes an address. One that is there already, or gone already, is no error.
func (n *rtnl) changeAddress(l link, a address, add bool) error {
	kind, flags, done := unix.RTM_DELADDR, unix.NLM_F_ACK, unix.EADDRNOTAVAIL
	if add {
		kind, flags, done = unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK, unix.EEXIST
	}
	m := nl.NewIfAddrmsg(family(a.local))
	m.Index = uint32(l.index)
	m.Prefixlen = uint8(a.bits)
	if a.local.IsLinkLocalUnicast() {
		m.Scope = unix.RT_SCOPE_LINK
	}
	peer := a.peer
	if !peer.IsValid() {
		peer = a.local
	}
	var bits uint32
	if a.noRoute {
		bits |= unix.IFA_F_NOPREFIXROUTE
	}
	if a.local.Is6() {
		bits |= unix.IFA_F_NODAD // IPV6CP has settled that the two differ
	}
	r := n.request(kind, flags)
	r.AddData(m)
	r.AddData(nl.NewRtAttr(unix.IFA_LOCAL, a.local.AsSlice()))
	r.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, peer.AsSlice()))
	if add {
		r.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(bits)))
		r.AddData(nl.NewRtAttr(ifaProto, []byte{Protocol}))
	}
	_, err := r.Execute(unix.NETLINK_ROUTE, 0)
	if errors.Is(err, done) {
		return nil
	}
	return err
}

// addresses reads the addresses of one interface.
func (n *rtnl) addresses(l link) ([]address, error) {
	var out []address
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		var messages [][]byte
		err := dump(func() (err error) {
			r := n.request(unix.RTM_GETADDR, unix.NLM_F_DUMP)
			m := nl.NewIfAddrmsg(family)
			m.Index = uint32(l.index)
			r.AddData(m)
			messages, err = r.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
			return err
		})
		if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT) {
			continue // no IPv6 there
		}
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			a, index, err := parseAddress(m)
			if err != nil {
				return nil, err
			}
			if index == l.index {
				out = append(out, a)
			}
		}
	}
	return out, nil
}

// parseAddress reads an RTM_NEWADDR message.
func parseAddress(b []byte) (address, int, error) {
	if len(b) < unix.SizeofIfAddrmsg {
		return address{}, 0, fmt.Errorf("address message of %d octets: %w", len(b), unix.EINVAL)
	}
	m := nl.DeserializeIfAddrmsg(b)
	attributes, err := nl.ParseRouteAttr(b[m.Len():])
	if err != nil {
		return address{}, 0, err
	}
	a := address{bits: int(m.Prefixlen)}
	var other netip.Addr
	for _, attribute := range attributes {
		ip, isAddr := netip.AddrFromSlice(attribute.Value)
		switch attribute.Attr.Type {
		case unix.IFA_LOCAL:
			if isAddr {
				a.local = ip
			}
		case unix.IFA_ADDRESS:
			if isAddr {
				other = ip
			}
		case unix.IFA_FLAGS:
			if len(attribute.Value) >= 4 {
				a.noRoute = binary.NativeEndian.Uint32(attribute.Value)&unix.IFA_F_NOPREFIXROUTE != 0
			}
		case ifaProto:
			a.ours = len(attribute.Value) == 1 && attribute.Value[0] == Protocol
		}
	}
	switch {
	case !a.local.IsValid(): // IPv6 without a peer
		a.local = other
	case other != a.local:
		a.peer = other
	}
	return a, int(m.Index), nil
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
