package network

import (
	"fmt"
	"net/netip"
	"slices"
)

// ipv6Metric is what the kernel takes for an IPv6 route without one.
const ipv6Metric = 1024

// minIPv6MTU is the smallest MTU of an interface that has IPv6 (RFC 8200, 5). The kernel takes IPv6 off all others.
const minIPv6MTU = 1280

// address is one address of an interface.
type address struct {
	local   netip.Addr
	peer    netip.Addr // not valid: none
	bits    int
	noRoute bool // the kernel adds no route for the prefix or the peer
	ours    bool // carries our protocol id
	inHost  bool // of host scope: never chosen as a source
}

func (a address) String() string {
	if a.peer.IsValid() {
		return fmt.Sprintf("%v peer %v/%d", a.local, a.peer, a.bits)
	}
	return fmt.Sprintf("%v/%d", a.local, a.bits)
}

// same compares what makes two addresses one to the kernel.
func (a address) same(b address) bool {
	return a.local == b.local && a.peer == b.peer && a.bits == b.bits && a.noRoute == b.noRoute
}

// route is a network reached through an interface.
type route struct {
	dst    netip.Prefix
	metric int // 0: the kernel's default
}

func (r route) String() string {
	if r.metric != 0 {
		return fmt.Sprintf("%v metric %d", r.dst, r.metric)
	}
	return r.dst.String()
}

// observed is what an interface is.
type observed struct {
	mtu       int
	group     int
	up        bool
	addresses []address
	routes    []route // ours only
}

// target is what an interface is to be.
type target struct {
	mtu       int // 0: leave
	group     int // 0: none of ours
	ipv6      bool
	addresses []address
	routes    []route
	guard     netip.Addr // the tunnel's endpoint, if the routes cover it
}

// targetOf derives the target from what was asked for. A route to nothing but the endpoint is left out: it would take the place
// of the host route, and catch the tunnel's own packets.
func targetOf(want Interface) target {
	t := target{mtu: want.MTU, group: groupOf(setsOf(want)), ipv6: want.IPv6}
	want.Endpoint = want.Endpoint.Unmap().WithZone("")
	if want.IPv4 {
		t.ipv4(want)
	}
	if want.IPv6 && want.LocalIPv6.IsValid() {
		a := address{local: want.LocalIPv6.WithZone(""), bits: 64, ours: true}
		if want.PeerIPv6.IsValid() {
			a.peer, a.bits = want.PeerIPv6.WithZone(""), 128
		}
		t.addresses = append(t.addresses, a)
	}
	for _, dst := range want.Routes {
		if dst.Addr().Is4() && !want.IPv4 || dst.Addr().Is6() && !want.IPv6 {
			continue
		}
		if dst.IsSingleIP() && dst.Addr() == want.Endpoint {
			continue
		}
		r := route{dst: dst.Masked(), metric: want.Metric}
		if dst.Addr().Is6() && r.metric == 0 {
			r.metric = ipv6Metric
		}
		if !slices.Contains(t.routes, r) {
			t.routes = append(t.routes, r)
		}
	}
	for _, r := range t.routes {
		if r.dst.Contains(want.Endpoint) {
			t.guard = want.Endpoint
		}
	}
	return t
}

// ipv4 adds the IPv4 address, or without one the route to the peer. A peer whose inner address is the tunnel's outer one
// (some servers do that) gets no route at all: it would catch the tunnel's own packets.
func (t *target) ipv4(want Interface) {
	local, peer := want.Local.Unmap(), want.Peer.Unmap()
	switch {
	case local.IsValid():
		t.addresses = append(t.addresses, address{
			local: local, peer: peer, bits: 32, noRoute: peer.IsValid() && peer == want.Endpoint, ours: true,
		})
	case peer.IsValid() && peer != want.Endpoint:
		t.routes = append(t.routes, route{dst: netip.PrefixFrom(peer, 32)})
	}
}

// opKind is the kind of an operation.
type opKind int

const (
	opNoAutoAddress opKind = iota // no link-local address of the kernel's making
	opSetMTU
	opSetGroup
	opUp
	opDelAddress
	opAddAddress
	opAddRoute
	opDelRoute
)

// operation is one step from what is to what is to be.
type operation struct {
	kind    opKind
	mtu     int
	group   int // of opSetGroup and opUp
	address address
	route   route
}

func (o operation) String() string {
	switch o.kind {
	case opNoAutoAddress:
		return "switch automatic addresses off"
	case opSetMTU:
		return fmt.Sprintf("set mtu %d", o.mtu)
	case opSetGroup:
		return fmt.Sprintf("set group %d", o.group)
	case opUp:
		return fmt.Sprintf("set up in group %d", o.group)
	case opDelAddress:
		return fmt.Sprintf("delete address %v", o.address)
	case opAddAddress:
		return fmt.Sprintf("add address %v", o.address)
	case opAddRoute:
		return fmt.Sprintf("add route %v", o.route)
	case opDelRoute:
		return fmt.Sprintf("delete route %v", o.route)
	}
	return fmt.Sprintf("operation %d", int(o.kind))
}

// isRoute tells whether a step is about a route.
func (o operation) isRoute() bool { return o.kind == opAddRoute || o.kind == opDelRoute }

// ipv6 tells whether a step is about IPv6 alone.
func (o operation) ipv6() bool {
	switch o.kind {
	case opNoAutoAddress:
		return true
	case opSetMTU, opSetGroup, opUp:
		return false
	case opDelAddress, opAddAddress:
		return o.address.local.Is6()
	case opAddRoute, opDelRoute:
		return o.route.dst.Addr().Is6()
	}
	return false
}

// plan computes the steps from what is to what is to be, in an order in which each can succeed. Addresses come before routes,
// and of the addresses the old ones go first: when an interface loses its last IPv4 address the kernel drops all its routes.
// Of addresses that are not ours only IPv6 link-local ones go: the peer knows us by the one IPV6CP settled. The MTU comes before
// the switch for automatic addresses, which the kernel resets when an MTU too small for IPv6 grows.
func plan(want target, have observed) []operation {
	var ops []operation
	if want.mtu != 0 && want.mtu != have.mtu {
		ops = append(ops, operation{kind: opSetMTU, mtu: want.mtu})
	}
	group := have.group
	if want.group != 0 || isOurGroup(group) {
		group = want.group
	}
	switch {
	case !have.up:
		ops = append(ops, operation{kind: opNoAutoAddress}, operation{kind: opUp, group: group})
	case group != have.group:
		ops = append(ops, operation{kind: opSetGroup, group: group})
	}
	var left []address
	lost := false // an IPv4 address went
	for _, a := range have.addresses {
		wanted := slices.ContainsFunc(want.addresses, a.same)
		foreign := !a.ours && (!a.local.IsLinkLocalUnicast() || a.local.Is4() || !want.ipv6)
		if wanted || foreign {
			left = append(left, a)
			continue
		}
		ops = append(ops, operation{kind: opDelAddress, address: a})
		lost = lost || a.local.Is4()
	}
	for _, a := range want.addresses {
		if !slices.ContainsFunc(left, a.same) {
			ops = append(ops, operation{kind: opAddAddress, address: a})
		}
	}
	routes := have.routes
	if lost && !slices.ContainsFunc(left, func(a address) bool { return a.local.Is4() }) {
		routes = slices.DeleteFunc(slices.Clone(routes), func(r route) bool { return r.dst.Addr().Is4() })
	}
	for _, r := range want.routes {
		if !slices.Contains(routes, r) {
			ops = append(ops, operation{kind: opAddRoute, route: r})
		}
	}
	for _, r := range routes {
		if !slices.Contains(want.routes, r) {
			ops = append(ops, operation{kind: opDelRoute, route: r})
		}
	}
	return ops
}

// kernelRoute is a route as the kernel has it.
type kernelRoute struct {
	route
	via      netip.Addr // not valid: none, or several next hops
	index    int        // of the interface; 0: several next hops
	name     string     // of the interface, where it was looked up
	protocol int
	refuses  bool // it leads nowhere: the kernel answers that the destination is unreachable
}

func (r kernelRoute) String() string {
	s := r.dst.String()
	if r.refuses {
		s = "unreachable " + s
	}
	if r.via.IsValid() {
		s += " via " + r.via.String()
	}
	if r.name != "" {
		s += " dev " + r.name
	}
	s += fmt.Sprintf(" proto %d", r.protocol)
	if r.metric != 0 {
		s += fmt.Sprintf(" metric %d", r.metric)
	}
	return s
}

// stale picks from the routes that carry our protocol those nobody needs: not on a kept interface, and no host route that is
// held, or that a route on a kept interface makes necessary.
func stale(marked []kernelRoute, kept map[string]bool, held map[netip.Addr]bool) []kernelRoute {
	var covers []netip.Prefix
	for _, r := range marked {
		if kept[r.name] {
			covers = append(covers, r.dst)
		}
	}
	var out []kernelRoute
	for _, r := range marked {
		covered := func(p netip.Prefix) bool { return p.Contains(r.dst.Addr()) && p != r.dst }
		if kept[r.name] || r.dst.IsSingleIP() && (held[r.dst.Addr()] || slices.ContainsFunc(covers, covered)) {
			continue
		}
		out = append(out, r)
	}
	return out
}
