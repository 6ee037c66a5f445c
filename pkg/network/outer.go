package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// refusalMetric is that of the routes that refuse an endpoint: every other route to it is better.
const refusalMetric = math.MaxInt32

// errNoPath says that the outer network has no route to an endpoint.
var errNoPath = errors.New("no route to it but through our own interfaces")

// hostRoute keeps one tunnel endpoint on the outer network. It is a pair: a route to the endpoint along the outer path, which the
// kernel drops when the path's interface goes down, and one without an interface that refuses the endpoint, which stays. So the
// endpoint is never left to the routes that cover it, which lead into the tunnel.
type hostRoute struct {
	route   *netlink.Route // along the outer path; nil: none of ours is needed, the system has one that does
	refused bool           // the other of the pair is there
	owners  map[Owner]bool
}

// guards keep tunnel endpoints on the outer network.
type guards struct {
	nl    *rtnl
	log   *slog.Logger
	watch *watch
	by    map[netip.Addr]*hostRoute
}

// hold makes sure that host routes keep the endpoint off our interfaces, and counts the owner as needing them. The outer path is
// the one in force now: a call that comes back after the outer network changed finds the new one. An endpoint that is held
// already may be without a path for the moment.
func (g *guards) hold(owner Owner, o *owned, endpoint netip.Addr) error {
	if err := g.watch.listen(true); err != nil { // before the path is looked for
		return fmt.Errorf("watch the outer network: %w", err)
	}
	h := g.by[endpoint]
	if h == nil {
		h = &hostRoute{owners: make(map[Owner]bool)}
		g.by[endpoint] = h
	}
	h.owners[owner] = true
	if !slices.Contains(o.held, endpoint) {
		o.held = append(o.held, endpoint)
	}
	err := g.settle(endpoint, h, g.mainTable)
	if h.refused && errors.Is(err, errNoPath) {
		return nil
	}
	return err
}

// release uncounts the owner for all endpoints but one, and deletes host routes that nobody needs any more.
func (g *guards) release(owner Owner, o *owned, except netip.Addr) {
	var held []netip.Addr
	for _, endpoint := range o.held {
		h := g.by[endpoint]
		if endpoint == except || h == nil {
			held = append(held, endpoint)
			continue
		}
		delete(h.owners, owner)
		if len(h.owners) > 0 {
			continue
		}
		delete(g.by, endpoint)
		if h.route != nil {
			g.remove(h.route)
		}
		if h.refused {
			g.remove(refusal(endpoint))
		}
	}
	o.held = held
	if len(g.by) == 0 {
		_ = g.watch.listen(false) // it would cost more, and nothing else
	}
}

// remove deletes a host route; one that is gone is all right.
func (g *guards) remove(r *netlink.Route) {
	if err := g.nl.handle.RouteDel(r); err != nil && !errors.Is(err, unix.ESRCH) {
		g.log.LogAttrs(context.Background(), slog.LevelWarn, "host route stays", slog.Any("route", r.Dst), slog.Any("err", err))
	}
}

// refresh follows changes of the outer network.
func (g *guards) refresh() {
	tables := make(map[int][]netlink.Route)
	table := func(family int) ([]netlink.Route, error) {
		all, ok := tables[family]
		if ok {
			return all, nil
		}
		all, err := g.mainTable(family)
		if err == nil {
			tables[family] = all
		}
		return all, err
	}
	for endpoint, h := range g.by {
		if err := g.settle(endpoint, h, table); err != nil && !errors.Is(err, errNoPath) {
			g.log.LogAttrs(context.Background(), slog.LevelWarn, "host route does not follow the outer network",
				slog.Any("endpoint", endpoint), slog.Any("err", err))
		}
	}
}

// settle makes the host routes of an endpoint what they are to be now. Without a path, errNoPath, what is there stays. Nor is
// anything done where no loop can come about: the endpoint is local, or refused by the administrator.
func (g *guards) settle(endpoint netip.Addr, h *hostRoute, table func(family int) ([]netlink.Route, error)) error {
	best, guarded, err := g.outerRoute(endpoint, table)
	switch {
	case err != nil:
		return err
	case best.Type != unix.RTN_UNICAST:
		return nil
	case isHost(best.Dst): // the system's own serves
		if h.route != nil {
			g.remove(h.route)
			h.route = nil
		}
	default:
		r := hostRouteLike(best, endpoint)
		if guarded && h.route != nil && h.route.Equal(*r) {
			break
		}
		// What stands there is ours, from before or from an earlier daemon.
		if err := g.nl.handle.RouteReplace(r); err != nil {
			return fmt.Errorf("add %v: %w", r, err)
		}
		h.route = r
	}
	if err := g.nl.handle.RouteAdd(refusal(endpoint)); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("add unreachable %v: %w", endpoint, err)
	}
	h.refused = true
	return nil
}

// outerRoute returns the route to the endpoint, leaving out ours, and whether a host route of ours to it is in force.
func (g *guards) outerRoute(endpoint netip.Addr, table func(family int) ([]netlink.Route, error)) (*netlink.Route, bool, error) {
	found, err := g.nl.handle.RouteGetWithOptions(endpoint.AsSlice(), &netlink.RouteGetOptions{FIBMatch: true})
	refused := errors.Is(err, unix.EHOSTUNREACH) // which our own route says, too
	if err != nil && !refused {
		return nil, false, fmt.Errorf("no route to it: %w", err)
	}
	if len(found) == 0 && !refused {
		return nil, false, fmt.Errorf("no route to it: %w", unix.ENETUNREACH)
	}
	if !refused && int(found[0].Protocol) != Protocol {
		return &found[0], false, nil
	}
	// A host route of ours, which may be outdated, or a route that covers the endpoint already.
	all, err := table(family(endpoint))
	if err != nil {
		return nil, false, err
	}
	best := longestMatch(all, endpoint)
	if best == nil {
		return nil, false, errNoPath
	}
	return best, !refused && isHost(found[0].Dst), nil
}

// mainTable reads the main routing table.
func (g *guards) mainTable(family int) ([]netlink.Route, error) {
	return g.nl.routes(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
}

// hostRouteLike makes the host route that takes an endpoint along the path of another route.
func hostRouteLike(best *netlink.Route, endpoint netip.Addr) *netlink.Route {
	r := &netlink.Route{
		Dst: hostNet(endpoint), Protocol: Protocol, Table: unix.RT_TABLE_MAIN,
		LinkIndex: best.LinkIndex, Gw: best.Gw, Via: best.Via, MultiPath: best.MultiPath, Src: best.Src, Encap: best.Encap,
		Flags: best.Flags & unix.RTNH_F_ONLINK,
	}
	if r.Gw == nil && r.Via == nil && len(r.MultiPath) == 0 && endpoint.Is4() {
		r.Scope = netlink.SCOPE_LINK
	}
	return r
}

// refusal is the route that refuses an endpoint when no other leads to it.
func refusal(endpoint netip.Addr) *netlink.Route {
	return &netlink.Route{
		Dst: hostNet(endpoint), Protocol: Protocol, Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNREACHABLE, Priority: refusalMetric,
	}
}

// longestMatch picks the route with the longest prefix, and of those the lowest metric, leaving ours out.
func longestMatch(all []netlink.Route, endpoint netip.Addr) *netlink.Route {
	var best *netlink.Route
	bestBits := -1
	for i := range all {
		r := &all[i]
		dst := prefixOf(r.Dst)
		if int(r.Protocol) == Protocol || !dst.Contains(endpoint) || r.Flags&unix.RTNH_F_DEAD != 0 {
			continue
		}
		if dst.Bits() > bestBits || dst.Bits() == bestBits && r.Priority < best.Priority {
			best, bestBits = r, dst.Bits()
		}
	}
	return best
}

func isHost(n *net.IPNet) bool {
	p := prefixOf(n)
	return p.IsValid() && p.IsSingleIP()
}

func hostNet(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	ip, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits == 0 {
		return netip.Prefix{}
	}
	if ip = ip.Unmap(); ip.BitLen() != bits {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(ip, ones)
}

func netOf(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func family(a netip.Addr) int {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}
