//go:build kernel

package network

import (
	"errors"
	"testing"
)

// wantIPv6Error applies what has trouble with IPv6 alone.
func (h *host) wantIPv6Error(m *Manager, want Interface, text string) {
	h.t.Helper()
	h.enter()
	err := m.Apply(h.t.Context(), "branch", want)
	var ipv6 *IPv6Error
	if !errors.As(err, &ipv6) || err.Error() != text {
		h.t.Errorf("error\n%v, want the IPv6 error\n%s", err, text)
	}
	h.shows(addresses, "ppp0 inet 10.0.0.1 peer 10.0.0.2/32 scope global ppp0")
	h.shows("ip -o link show ppp0 | grep -c ,UP; "+ourRoutes, "1\n192.168.20.0/24 dev ppp0 scope link metric 50")
}

func (h *host) wantIPv6(m *Manager, want Interface) {
	h.t.Helper()
	h.apply(m, "branch", want)
	h.shows(addresses, `
		ppp0 inet 10.0.0.1 peer 10.0.0.2/32 scope global ppp0
		ppp0 inet6 fe80::1 peer fe80::2/128 scope link nodad`)
	h.shows(ourRoutes, `
		192.168.20.0/24 dev ppp0 scope link metric 50
		2001:db8:20::/48 dev ppp0 metric 50 pref medium`)
}

// A host without IPv6 lost IPv4 as well when its peer opened IPV6CP.
func TestIPv6SwitchedOffLeavesIPv4(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0")
	m := h.manager()
	h.run("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
	for range 2 {
		h.wantIPv6Error(m, branch(), "apply interface ppp0: no ipv6: add address fe80::1 peer fe80::2/128: permission denied; "+
			"is IPv6 switched off there? see sysctl net.ipv6.conf.all.disable_ipv6")
	}
	h.run("echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
	h.wantIPv6(m, branch())
	// Nor does switching it off under a call.
	h.run("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
	h.wantIPv6Error(m, branch(), "apply interface ppp0: no ipv6: add address fe80::1 peer fe80::2/128: permission denied; "+
		"is IPv6 switched off there? see sysctl net.ipv6.conf.all.disable_ipv6")
	h.remove(m, "branch")
	h.shows(addresses+"; "+ourRoutes, "")
}

// The kernel takes IPv6 off an interface with a smaller MTU than 1280, and gives it anew, all settings lost, when the MTU grows.
func TestMTUTooSmallForIPv6LeavesIPv4(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0")
	m := h.manager()
	want := branch()
	want.MTU = 1200
	h.wantIPv6Error(m, want, "apply interface ppp0: no ipv6: it takes an MTU of 1280, that of the interface is 1200")
	want.MTU = 0
	h.wantIPv6Error(m, want, "apply interface ppp0: no ipv6: it takes an MTU of 1280, that of the interface is 1200")
	h.remove(m, "branch")
	h.wantIPv6(m, branch())
}

func TestIPv6RouteOfAnotherLeavesIPv4(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0")
	m := h.manager()
	h.run("ip -6 route add 2001:db8:20::/48 dev eth0 metric 50 proto static")
	h.wantIPv6Error(m, branch(), "apply interface ppp0: no ipv6: add route 2001:db8:20::/48 metric 50: another route exists: "+
		"2001:db8:20::/48 dev eth0 proto 4 metric 50; remove it, or give this call's routes another metric")
	h.run("ip -6 route del 2001:db8:20::/48 dev eth0")
	h.wantIPv6(m, branch())
}

func TestIPv6EndpointWithoutAPathLeavesIPv4(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0")
	m := h.manager()
	h.run("ip -6 route del default")
	want := branch()
	want.Endpoint = ip("2001:db8:99::1")
	want.Routes = append(want.Routes, prefixes("::/0")...)
	h.wantIPv6Error(m, want, "apply interface ppp0: no ipv6: "+
		"host route to 2001:db8:99::1, which the routes of this interface cover: no route to it: network is unreachable")
}

// Trouble with IPv4 is not hidden by trouble with IPv6.
func TestErrorOfIPv4IsNoIPv6Error(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0")
	m := h.manager()
	h.run("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip route add 192.168.20.0/24 dev eth0 metric 50 proto static")
	err := m.Apply(t.Context(), "branch", branch())
	const text = "apply interface ppp0: add route 192.168.20.0/24 metric 50: another route exists: " +
		"192.168.20.0/24 dev eth0 proto 4 metric 50; remove it, or give this call's routes another metric\n" +
		"add address fe80::1 peer fe80::2/128: permission denied; " +
		"is IPv6 switched off there? see sysctl net.ipv6.conf.all.disable_ipv6"
	var ipv6 *IPv6Error
	if err == nil || err.Error() != text || errors.As(err, &ipv6) {
		t.Errorf("error\n%v, want, not as an IPv6 error,\n%s", err, text)
	}
}
