package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hostRoute keeps one tunnel endpoint on the outer network.
type hostRoute struct {
	route  *netlink.Route // nil: none of ours is needed, the system has a route that does
	owners map[string]bool
}

// guards keep tunnel endpoints on the outer network.
type guards struct {
	nl  *rtnl
	log *slog.Logger
	by  map[netip.Addr]*hostRoute
}

// hold makes sure that a host route keeps the endpoint off our interfaces, and counts the owner as needing it. The outer route
// is the one in force now: a call that comes back after the outer network changed finds the new one.
func (g *guards) hold(owner string, o *owned, endpoint netip.Addr) error {
	h := g.by[endpoint]
	if h == nil {
		h = &hostRoute{owners: make(map[string]bool)}
		g.by[endpoint] = h
	}
	h.owners[owner] = true
	if !slices.Contains(o.held, endpoint) {
		o.held = append(o.held, endpoint)
	}
	r, err := g.outerRoute(endpoint)
	if err != nil {
		return err
	}
	if r == nil {
		return nil
	}
	// What stands there is ours, from before or from an earlier daemon, or outerRoute had found it and there was nothing to do.
	if err := g.nl.handle.RouteReplace(r); err != nil {
		return fmt.Errorf("add %v: %w", r, err)
	}
	h.route = r
	return nil
}

// release uncounts the owner for all endpoints but one, and deletes host routes that nobody needs any more.
func (g *guards) release(owner string, o *owned, except netip.Addr) {
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
		if h.route == nil {
			continue
		}
		if err := g.nl.handle.RouteDel(h.route); err != nil && !errors.Is(err, unix.ESRCH) {
			g.log.LogAttrs(context.Background(), slog.LevelWarn, "host route stays",
				slog.Any("endpoint", endpoint), slog.Any("err", err))
		}
	}
	o.held = held
}

// outerRoute returns the host route to install for an endpoint: the next hop of the route to it, leaving out what goes
// through our own interfaces. nil: none is needed, the endpoint is local or the system has a host route of its own.
func (g *guards) outerRoute(endpoint netip.Addr) (*netlink.Route, error) {
	found, err := g.nl.handle.RouteGetWithOptions(endpoint.AsSlice(), &netlink.RouteGetOptions{FIBMatch: true})
	if err != nil {
		return nil, fmt.Errorf("no route to it: %w", err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no route to it: %w", unix.ENETUNREACH)
	}
	best := &found[0]
	if int(best.Protocol) == Protocol {
		// A host route of ours, which may be outdated, or a route that covers the endpoint already.
		if best, err = g.bestForeign(endpoint); err != nil {
			return nil, err
		}
	}
	switch {
	case best.Type != unix.RTN_UNICAST:
		return nil, nil
	case isHost(best.Dst):
		return nil, nil
	}
	r := &netlink.Route{
		Dst: hostNet(endpoint), Protocol: Protocol, Table: unix.RT_TABLE_MAIN,
		LinkIndex: best.LinkIndex, Gw: best.Gw, Via: best.Via, MultiPath: best.MultiPath, Src: best.Src, Encap: best.Encap,
		Flags: best.Flags & unix.RTNH_F_ONLINK,
	}
	if r.Gw == nil && r.Via == nil && len(r.MultiPath) == 0 && endpoint.Is4() {
		r.Scope = netlink.SCOPE_LINK
	}
	return r, nil
}

// bestForeign finds the most specific route to the endpoint that is not ours in the main table.
func (g *guards) bestForeign(endpoint netip.Addr) (*netlink.Route, error) {
	all, err := g.nl.routes(family(endpoint), &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, err
	}
	if best := longestMatch(all, endpoint); best != nil {
		return best, nil
	}
	return nil, fmt.Errorf("no route to it but through our own interfaces: %w", os.ErrNotExist)
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
