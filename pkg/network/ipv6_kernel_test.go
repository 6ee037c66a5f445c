//go:build kernel

package network

import (
	"bytes"
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// router sends ICMPv6 to all nodes on a link of a host.
type router struct {
	t    *testing.T
	fd   int
	link uint32
}

func newRouter(h *host, name string) *router {
	h.t.Helper()
	h.Enter()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = unix.Close(fd) })
	link, err := net.InterfaceByName(name)
	if err != nil {
		h.t.Fatal(err)
	}
	err = errors.Join(
		unix.BindToDevice(fd, name),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000}),
	)
	if err != nil {
		h.t.Fatal(err)
	}
	return &router{h.t, fd, uint32(link.Index)}
}

func (r *router) send(message []byte) {
	r.t.Helper()
	to := &unix.SockaddrInet6{ZoneId: r.link, Addr: ip("ff02::1").As16()}
	if err := again(func() error { return unix.Sendto(r.fd, message, 0, to) }); err != nil {
		r.t.Fatal(err)
	}
}

// advertise says that it is everybody's router, and that all have addresses of a network. It returns when the host at the other
// end has seen that: the answer to a later echo request is here.
func (r *router) advertise(network string) {
	r.t.Helper()
	r.ping(1) // the link is ready
	advert := []byte{routerAdvert, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0}
	prefix := []byte{3, 4, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0}
	r.send(append(append(advert, prefix...), ip(network).AsSlice()...))
	r.ping(2)
}

// ping sends echo requests until one is answered.
func (r *router) ping(sequence byte) {
	r.t.Helper()
	const echo, reply = 128, 129
	request := []byte{echo, 0, 0, 0, 0x4c, 0x32, 0, sequence}
	buffer := make([]byte, 1500)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		r.send(request)
		for {
			n, _, err := unix.Recvfrom(r.fd, buffer, 0)
			if errors.Is(err, unix.EAGAIN) {
				break // lost: again
			}
			if err != nil && !errors.Is(err, unix.EINTR) {
				r.t.Fatal(err)
			}
			if n >= len(request) && buffer[0] == reply && bytes.Equal(buffer[4:8], request[4:]) {
				return
			}
		}
	}
	r.t.Fatal("no echo reply")
}

// Whoever a peer says it is: it got the box's default route with one Router Advertisement.
func TestPeerIsNobodysRouter(t *testing.T) {
	t.Parallel()
	near, far := newHost(t), newHost(t)
	wire(near, "ppp0", far, "ppp0")
	wire(near, "plain", far, "plain")
	near.Run(`echo 0 > /proc/sys/net/ipv6/conf/all/forwarding
		for name in ppp0 plain; do echo 1 > /proc/sys/net/ipv6/conf/$name/accept_ra; done
		ip link set plain addrgenmode none up; ip -6 addr add fe80::1 peer fe80::2/128 dev plain nodad`)
	far.Run(`for name in ppp0 plain; do
		ip link set $name addrgenmode none up; ip -6 addr add fe80::2 peer fe80::1/128 dev $name nodad; done`)
	m := near.manager()
	near.apply(m, "branch", branch())

	newRouter(far, "ppp0").advertise("2001:db8:bad::")
	near.shows("ip -6 route show default; ip -6 route show dev ppp0", `
		2001:db8:20::/48 proto 121 metric 50 pref medium
		fe80::1 proto kernel metric 256 pref medium
		fe80::2 proto kernel metric 256 pref medium`)
	near.shows(addresses, `
		ppp0 inet 10.0.0.1 peer 10.0.0.2/32 scope global ppp0
		ppp0 inet6 fe80::1 peer fe80::2/128 scope link nodad`)

	// An interface that is not ours shows that the kernel would have taken it.
	newRouter(far, "plain").advertise("2001:db8:bad::")
	near.shows("ip -6 route show default | grep -o '.* metric'", "default via fe80::2 dev plain proto ra metric")
	near.shows("ip -6 route show 2001:db8:bad::/64 dev plain | wc -l; ip -o -6 addr show dev plain scope global | wc -l", "1\n1")
}

// wantIPv6Error applies what has trouble with IPv6 alone.
func (h *host) wantIPv6Error(m *Manager, want Interface, text string) {
	h.t.Helper()
	h.Enter()
	err := m.Apply(h.t.Context(), Owner{What: "branch"}, want)
	var ipv6 *IPv6Error
	if !errors.As(err, &ipv6) || err.Error() != text {
		h.t.Errorf("error\n%v, want the IPv6 error\n%s", err, text)
	}
	h.shows(addresses, "ppp0 inet 10.0.0.1 peer 10.0.0.2/32 scope global ppp0")
	h.shows("ip -o link show ppp0 | grep -c ,UP; "+ourRoutes, "1\n192.168.20.0/24 dev ppp0 scope link metric 50")
	h.shows("ip -o link show ppp0 | grep -o 'group [0-9a-z]*'", "group default")
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
	h.Run("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
	for range 2 {
		h.wantIPv6Error(m, branch(), "apply interface ppp0: no ipv6: add address fe80::1 peer fe80::2/128: permission denied; "+
			"is IPv6 switched off there? see sysctl net.ipv6.conf.all.disable_ipv6")
	}
	h.Run("echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
	h.wantIPv6(m, branch())
	// Nor does switching it off under a call.
	h.Run("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
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
	h.Run("ip -6 route add 2001:db8:20::/48 dev eth0 metric 50 proto static")
	h.wantIPv6Error(m, branch(), "apply interface ppp0: no ipv6: add route 2001:db8:20::/48 metric 50: another route exists: "+
		"2001:db8:20::/48 dev eth0 proto 4 metric 50; remove it, or give this call's routes another metric")
	h.Run("ip -6 route del 2001:db8:20::/48 dev eth0")
	h.wantIPv6(m, branch())
}

func TestIPv6EndpointWithoutAPathLeavesIPv4(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0")
	m := h.manager()
	h.Run("ip -6 route del default")
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
	h.Run("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip route add 192.168.20.0/24 dev eth0 metric 50 proto static")
	err := m.Apply(t.Context(), Owner{What: "branch"}, branch())
	const text = "apply interface ppp0: add route 192.168.20.0/24 metric 50: another route exists: " +
		"192.168.20.0/24 dev eth0 proto 4 metric 50; remove it, or give this call's routes another metric\n" +
		"add address fe80::1 peer fe80::2/128: permission denied; " +
		"is IPv6 switched off there? see sysctl net.ipv6.conf.all.disable_ipv6"
	var ipv6 *IPv6Error
	if err == nil || err.Error() != text || errors.As(err, &ipv6) {
		t.Errorf("error\n%v, want, not as an IPv6 error,\n%s", err, text)
	}
}
