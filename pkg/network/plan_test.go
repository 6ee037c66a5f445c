package network

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixes(s ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// branch is a call with everything.
func branch() Interface {
	return Interface{
		Name: "ppp0", MTU: 1400, Local: ip("10.0.0.1"), Peer: ip("10.0.0.2"), LocalIPv6: ip("fe80::1"), PeerIPv6: ip("fe80::2"),
		IPv4: true, IPv6: true, Routes: prefixes("192.168.20.7/24", "2001:db8:20::/48"), Metric: 50, Endpoint: ip("203.0.113.2"),
	}
}

// become applies a plan to what is there, with the kernel's side effects.
func become(have observed, ops []operation) observed {
	for _, op := range ops {
		switch op.kind {
		case opNoAutoAddress:
		case opSetMTU:
			have.mtu = op.mtu
		case opSetGroup:
			have.group = op.group
		case opUp:
			have.up, have.group = true, op.group
		case opDelAddress:
			var left []address
			v4 := 0
			for _, a := range have.addresses {
				if !a.same(op.address) {
					left = append(left, a)
					if a.local.Is4() {
						v4++
					}
				}
			}
			have.addresses = left
			if v4 == 0 && op.address.local.Is4() {
				var routes []route
				for _, r := range have.routes {
					if r.dst.Addr().Is6() {
						routes = append(routes, r)
					}
				}
				have.routes = routes
			}
		case opAddAddress:
			have.addresses = append(have.addresses, op.address)
		case opAddRoute:
			have.routes = append(have.routes, op.route)
		case opDelRoute:
			var left []route
			for _, r := range have.routes {
				if r != op.route {
					left = append(left, r)
				}
			}
			have.routes = left
		}
	}
	return have
}

func steps(ops []operation) []string {
	var out []string
	for _, op := range ops {
		out = append(out, op.String())
	}
	return out
}

// ofBranch are the addresses and routes of a branch.
func ofBranch() (v4, v6 address, lan, lan6 route) {
	v4 = address{local: ip("10.0.0.1"), peer: ip("10.0.0.2"), bits: 32, ours: true}
	v6 = address{local: ip("fe80::1"), peer: ip("fe80::2"), bits: 128, ours: true}
	lan = route{netip.MustParsePrefix("192.168.20.0/24"), 50}
	lan6 = route{netip.MustParsePrefix("2001:db8:20::/48"), 50}
	return v4, v6, lan, lan6
}

// planTest is a branch with changes, what is there, and the steps from there.
type planTest struct {
	name   string
	change func(*Interface)
	have   observed
	want   []string
}

func (test *planTest) run(t *testing.T) {
	t.Parallel()
	want := branch()
	if test.change != nil {
		test.change(&want)
	}
	ops := plan(targetOf(want), test.have)
	if diff := cmp.Diff(test.want, steps(ops)); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if again := plan(targetOf(want), become(test.have, ops)); len(again) > 0 {
		t.Errorf("after it, a second plan: %v", steps(again))
	}
}

const routerless = 1714 // the group of interfaces with IPv6

func TestPlan(t *testing.T) {
	t.Parallel()
	v4, v6, lan, lan6 := ofBranch()
	tests := []planTest{
		{"a new interface gets everything", nil, observed{mtu: 1500}, []string{
			"set mtu 1400", "switch automatic addresses off", "set up in group 1714",
			"add address 10.0.0.1 peer 10.0.0.2/32", "add address fe80::1 peer fe80::2/128",
			"add route 192.168.20.0/24 metric 50", "add route 2001:db8:20::/48 metric 50",
		}},
		{"what is as wanted stays", nil, observed{1400, routerless, true, []address{v6, v4}, []route{lan6, lan}}, nil},
		{
			"a closed protocol takes its addresses and routes along (IPV6CP down)", func(i *Interface) { i.IPv6 = false },
			observed{1400, routerless, true, []address{v4, v6}, []route{lan, lan6}},
			[]string{"set group 0", "delete address fe80::1 peer fe80::2/128", "delete route 2001:db8:20::/48 metric 50"},
		},
		{
			"losing the last IPv4 address loses the routes, which come back", func(i *Interface) { i.Local = ip("10.0.0.9") },
			observed{1400, routerless, true, []address{v4, v6}, []route{lan, lan6}},
			[]string{
				"delete address 10.0.0.1 peer 10.0.0.2/32", "add address 10.0.0.9 peer 10.0.0.2/32", "add route 192.168.20.0/24 metric 50",
			},
		},
		{
			"only the link-local address that IPV6CP settled stays", nil,
			observed{1400, routerless, true, []address{v4, v6, {local: ip("fe80::abcd"), bits: 64}}, []route{lan, lan6}},
			[]string{"delete address fe80::abcd/64"},
		},
		{
			"addresses of others stay", nil,
			observed{1400, routerless, true, []address{v4, v6, {local: ip("10.9.9.9"), bits: 24}, {local: ip("2001:db8::1"), bits: 64}}, []route{lan, lan6}},
			nil,
		},
		{
			"a changed metric adds before it deletes", func(i *Interface) { i.Metric = 60 },
			observed{1400, routerless, true, []address{v4, v6}, []route{lan, lan6}},
			[]string{
				"add route 192.168.20.0/24 metric 60", "add route 2001:db8:20::/48 metric 60",
				"delete route 192.168.20.0/24 metric 50", "delete route 2001:db8:20::/48 metric 50",
			},
		},
		{
			"unnumbered without a borrowed address routes to the peer (S166)",
			func(i *Interface) { i.Local, i.IPv6 = netip.Addr{}, false },
			observed{1400, 0, true, nil, nil},
			[]string{"add route 10.0.0.2/32", "add route 192.168.20.0/24 metric 50"},
		},
		{"mtu 0 leaves it", func(i *Interface) { i.MTU = 0 }, observed{1234, routerless, true, []address{v4, v6}, []route{lan, lan6}}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, test.run)
	}
}

// Whether the rules of the nftables table apply to an interface is a matter of its group.
func TestPlanOfGroups(t *testing.T) {
	t.Parallel()
	v4, v6, lan, lan6 := ofBranch()
	tests := []planTest{
		{
			"translation and clamping are of the group, too", func(i *Interface) { i.Masquerade, i.MSSClamp = true, true },
			observed{1400, routerless, true, []address{v4, v6}, []route{lan6, lan}},
			[]string{"set group 1717"},
		},
		{
			"translation of a closed protocol is none", func(i *Interface) { i.Masquerade, i.IPv4, i.Routes = true, false, nil },
			observed{1400, 1711, true, []address{v6}, nil},
			[]string{"set group 1714"},
		},
		{
			"the group that somebody chose stays, if none of ours is needed",
			func(i *Interface) { i.IPv6, i.Routes = false, nil },
			observed{1400, 99, false, []address{v4}, nil},
			[]string{"switch automatic addresses off", "set up in group 99"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, test.run)
	}
}

// A peer whose inner address is the outer one of the tunnel gets no route, or the tunnel's packets would go into the tunnel.
func TestPeerAddressThatIsTheEndpointGetsNoRoute(t *testing.T) {
	t.Parallel()
	want := branch()
	want.Endpoint = want.Peer
	got := targetOf(want)
	if len(got.addresses) == 0 || !got.addresses[0].noRoute {
		t.Errorf("addresses %v, want the first without a route", got.addresses)
	}
	want.Local = netip.Addr{}
	for _, r := range targetOf(want).routes {
		if r.dst.Contains(want.Endpoint) {
			t.Errorf("route %v covers the endpoint", r)
		}
	}
}

func TestEndpointIsGuardedOnlyWhereRoutesCoverIt(t *testing.T) {
	t.Parallel()
	tests := []struct {
		routes   []netip.Prefix
		endpoint string
		guarded  bool
	}{
		{prefixes("192.168.20.0/24"), "203.0.113.2", false},
		{prefixes("192.168.20.0/24", "0.0.0.0/0"), "203.0.113.2", true},
		{prefixes("203.0.113.0/24"), "::ffff:203.0.113.2", true},
		{prefixes("::/0"), "203.0.113.2", false},
		{prefixes("::/0"), "2001:db8::1", true},
	}
	for _, test := range tests {
		want := branch()
		want.Routes, want.Endpoint = test.routes, ip(test.endpoint)
		if got := targetOf(want).guard; got.IsValid() != test.guarded || got.IsValid() && got != want.Endpoint.Unmap() {
			t.Errorf("routes %v, endpoint %s: guard %v, want %v", test.routes, test.endpoint, got, test.guarded)
		}
	}
	want := branch()
	want.Routes, want.IPv4 = prefixes("0.0.0.0/0"), false
	if got := targetOf(want).guard; got.IsValid() {
		t.Errorf("a route that is not installed guards %v", got)
	}
}

// A route to the endpoint alone took the place of its host route, and was better than the one that refuses it.
func TestRouteToTheEndpointAloneIsLeftOut(t *testing.T) {
	t.Parallel()
	for endpoint, routes := range map[string][]netip.Prefix{
		"203.0.113.2":        prefixes("203.0.113.2/32", "203.0.113.0/24"),
		"::ffff:203.0.113.2": prefixes("203.0.113.2/32", "203.0.113.0/24"),
		"2001:db8::1":        prefixes("2001:db8::1/128", "2001:db8::/64"),
	} {
		want := branch()
		want.Routes, want.Endpoint = routes, ip(endpoint)
		got := targetOf(want)
		if len(got.routes) != 1 || got.routes[0].dst != routes[1] || !got.guard.IsValid() {
			t.Errorf("endpoint %s: routes %v, guard %v", endpoint, got.routes, got.guard)
		}
	}
}

func TestRoutesAreMaskedAndInstalledOnce(t *testing.T) {
	t.Parallel()
	want := branch()
	want.Metric = 0
	want.Routes = prefixes("192.168.20.1/24", "192.168.20.2/24", "2001:db8::5/64")
	got := []string{}
	for _, r := range targetOf(want).routes {
		got = append(got, r.String())
	}
	if diff := cmp.Diff([]string{"192.168.20.0/24", "2001:db8::/64 metric 1024"}, got); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

func TestStaleRoutes(t *testing.T) {
	t.Parallel()
	on := func(name, dst string) kernelRoute {
		return kernelRoute{route: route{dst: netip.MustParsePrefix(dst)}, name: name, protocol: Protocol}
	}
	marked := []kernelRoute{
		on("ppp0", "10.1.0.0/16"), on("ppp1", "10.2.0.0/16"), // a kept interface and a dead one
		on("eth0", "10.1.0.9/32"), // host route that the kept one needs
		on("eth0", "10.2.0.9/32"), // host route that the dead one needed
		on("eth0", "10.3.0.9/32"), // held by an owner
		on("ppp1", "10.1.0.0/16"), // the dead one's claim on a kept network
		on("", "10.1.0.9/32"),     // the same endpoints, refused when there is no path
		on("", "10.2.0.9/32"), on("", "10.3.0.9/32"),
	}
	got := []string{}
	for _, r := range stale(marked, map[string]bool{"ppp0": true}, map[netip.Addr]bool{ip("10.3.0.9"): true}) {
		got = append(got, r.dst.String()+" "+r.name)
	}
	if diff := cmp.Diff([]string{"10.2.0.0/16 ppp1", "10.2.0.9/32 eth0", "10.1.0.0/16 ppp1", "10.2.0.9/32 "}, got); diff != "" {
		t.Errorf("stale (-want +got):\n%s", diff)
	}
}

func TestOuterRouteLeavesOursOut(t *testing.T) {
	t.Parallel()
	r := func(dst string, protocol, metric, index int) netlink.Route {
		return netlink.Route{
			Dst: netOf(netip.MustParsePrefix(dst)), Protocol: netlink.RouteProtocol(protocol), Priority: metric, LinkIndex: index,
		}
	}
	dead := r("203.0.113.0/25", 4, 0, 9)
	dead.Flags = unix.RTNH_F_DEAD
	all := []netlink.Route{
		r("0.0.0.0/0", 4, 100, 1), r("0.0.0.0/0", 4, 50, 2), r("203.0.113.0/24", 4, 20, 3), r("203.0.113.0/24", 4, 10, 4),
		r("203.0.113.2/32", Protocol, 0, 5), r("203.0.113.0/28", Protocol, 0, 6), dead,
	}
	for endpoint, want := range map[string]int{"203.0.113.2": 4, "192.0.2.1": 2} {
		if got := longestMatch(all, ip(endpoint)); got == nil || got.LinkIndex != want {
			t.Errorf("%s: %v, want interface %d", endpoint, got, want)
		}
	}
	if got := longestMatch(all[4:], ip("203.0.113.2")); got != nil {
		t.Errorf("only our own: %v, want none", got)
	}
}

func TestPrefixOf(t *testing.T) {
	t.Parallel()
	for _, want := range prefixes("0.0.0.0/0", "10.0.0.0/8", "192.0.2.1/32", "::/0", "2001:db8::/32") {
		if got := prefixOf(netOf(want)); got != want {
			t.Errorf("%v came back as %v", want, got)
		}
	}
	for _, n := range []*net.IPNet{nil, {}, {IP: net.IPv4zero, Mask: net.CIDRMask(0, 128)}} {
		if got := prefixOf(n); got.IsValid() {
			t.Errorf("%v gave %v", n, got)
		}
	}
}
