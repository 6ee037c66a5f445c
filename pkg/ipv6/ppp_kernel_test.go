//go:build kernel

package ipv6

import (
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/kernel"
)

// pppLink joins two hosts by a PPP link through an L2TP tunnel, with the addresses that IPV6CP would have settled.
func pppLink(router *host, name string, customer *host) {
	router.t.Helper()
	router.Run(fmt.Sprintf("ip link add outer type veth peer name outer netns /proc/self/fd/3 3<%s", customer.Path()))
	router.ppp(name, 1, 2)
	customer.ppp("wan", 2, 1)
	customer.up("wan", "fe80::2", "fe80::1")
	router.up(name, "fe80::1", "fe80::2")
}

// ppp makes this end of the link, which is number us.
func (h *host) ppp(name string, us, them uint16) {
	h.t.Helper()
	h.Run(fmt.Sprintf("ip link set outer up; ip addr add 192.0.2.%d/24 dev outer", us))
	h.Enter()
	must := func(err error) {
		h.t.Helper()
		if err != nil {
			h.t.Fatal(err)
		}
	}
	k, err := kernel.Open(kernel.Config{})
	must(err)
	h.t.Cleanup(func() {
		if err := k.Close(); err != nil {
			h.t.Error(err)
		}
	})
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	h.t.Cleanup(func() { _ = unix.Close(fd) })
	end := func(n uint16) unix.Sockaddr {
		return &unix.SockaddrInet4{Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}).As4(), Port: 1701}
	}
	must(unix.Bind(fd, end(us)))
	must(unix.Connect(fd, end(them)))
	must(k.CreateTunnel(kernel.TunnelSpec{ID: us, PeerID: them, FD: fd}))
	s, err := k.CreateSession(kernel.SessionSpec{TunnelID: us, PeerTunnelID: them, SessionID: us, PeerID: them}, kernel.Funcs{})
	must(err)
	_, err = s.Attach(kernel.UnitSpec{Name: name, MTU: 1400})
	must(err)
	must(s.Pass(kernel.IPv6, true))
}

// On a real PPP link, which has no link-layer addresses and knows no neighbours.
func TestIPv6PPPLink(t *testing.T) {
	t.Parallel()
	router, customer := newRouter(t), newHost(t)
	s := router.server()
	pppLink(router, "sub0", customer)
	router.Run(fmt.Sprintf("ip -6 route add %v dev sub0", lease(1).Link))
	l := lease(1)
	l.MTU = 1380 // below the interface's own
	told := router.serve(s, "sub0", l)
	checkHost(customer, 1)
	customer.until("cat /proc/sys/net/ipv6/conf/wan/mtu", " 1380 ")
	client := customer.dhcpcd("wan", "")
	router.owner("sub0", told.next(t, Taken))
	client.told(" BOUND6 2001:db8:100::/56 2001:db8::53 ")
	customer.Run("ip addr add 2001:db8:100:1::1/128 dev lo")
	router.Run("ping -c 1 -W 10 2001:db8:100:1::1")
	client.dhcpcdRelease()
	router.owner("sub0", told.next(t, Released))
}

// A PPP interface, too, must be in the group of DHCPv6 servers, though nothing else could be meant on such a link: what comes
// while it is not is dropped before any socket sees it. The solicitations of hosts need no such thing: the kernel is in their
// group wherever it forwards.
func TestIPv6PPPLinkMustBeInTheGroup(t *testing.T) {
	t.Parallel()
	router, customer := newRouter(t), newHost(t)
	s := router.server()
	pppLink(router, "sub0", customer)
	udp := customer.socket(unix.SOCK_DGRAM, 0)
	router.serve(s, "sub0", Lease{LinkLocal: addr("fe80::1"), Link: lease(1).Link}) // nothing by DHCPv6
	customer.send(udp, "wan", "ff02::1:2", serverPort, []byte{1})
	router.serve(s, "sub0", lease(1))
	customer.send(udp, "wan", "ff02::1:2", serverPort, []byte{1, 2})
	// The socket gives them in order: the first would have been counted before.
	count(t, s, func(c Counters) bool { return c.Malformed > 0 })
	if c := s.Counters(); c.Malformed != 1 {
		t.Errorf("what came before is heard: %+v", c)
	}
}
