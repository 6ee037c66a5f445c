//go:build kernel

package ipv6

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// lease is what subscriber n, 1 to 9, gets.
func lease(n int) Lease {
	return Lease{
		LinkLocal: addr("fe80::1"), DNS: addrs("2001:db8::53"), MTU: 1400,
		Link: prefix(fmt.Sprintf("2001:db8:1:%d::/64", n)), Delegated: prefix(fmt.Sprintf("2001:db8:%d00::/56", n)),
	}
}

// subscriber makes a host on a link of the router that is up at both ends.
func subscriber(t *testing.T, router *host, name string, n int) *host {
	t.Helper()
	s := newHost(t)
	wire(router, name, s)
	router.Run(fmt.Sprintf("ip -6 route add %v dev %s", lease(n).Link, name))
	return s
}

// checkHost finds what subscriber n must have: an address and the way out; and that the prefix is not on the link.
func checkHost(s *host, n int) {
	s.t.Helper()
	s.until("ip -6 addr show dev wan scope global -tentative", fmt.Sprintf(" 2001:db8:1:%d:", n), " dynamic ")
	s.until("ip -6 route show default", " default via fe80::1 dev wan proto ra ")
	if out := s.Run(fmt.Sprintf("ip -6 route show %v", lease(n).Link)); out != "" {
		s.t.Errorf("the prefix is on the link: %s", out)
	}
	s.Run("ping -c 1 -W 10 " + beyond)
}

// A host that is there before the interface is served takes everything from the first advertisement.
func TestIPv6HostTakesTheFirstAdvertisement(t *testing.T) {
	t.Parallel()
	router := newRouter(t)
	s := router.server()
	host := subscriber(t, router, "sub0", 1)
	router.serve(s, "sub0", lease(1))
	checkHost(host, 1)
	host.until("cat /proc/sys/net/ipv6/conf/wan/mtu", " 1400 ")
}

// A host that comes when the first advertisements are long gone asks, and is answered at once.
func TestIPv6HostAsksForAnAdvertisement(t *testing.T) {
	t.Parallel()
	router := newRouter(t)
	s := router.server()
	host := subscriber(t, router, "sub0", 1)
	host.Run("echo 0 > /proc/sys/net/ipv6/conf/wan/accept_ra")
	router.serve(s, "sub0", lease(1))
	count(t, s, func(c Counters) bool { return c.Advertisements == initialAdverts })
	host.Run("ip link set wan down; echo 1 > /proc/sys/net/ipv6/conf/wan/accept_ra; ip addr flush dev wan")
	host.up("wan", "fe80::2", "fe80::1")
	checkHost(host, 1)
	if c := s.Counters(); c.Solicitations == 0 {
		t.Errorf("nobody asked: %+v", c)
	}
}

// A router asks for its prefix, renews it, and gives it back.
func TestIPv6RouterIsDelegatedAPrefix(t *testing.T) {
	t.Parallel()
	router := newRouter(t)
	s := router.server()
	customer := subscriber(t, router, "sub0", 1)
	l := lease(1)
	l.Preferred, l.Valid = 6e9, 30e9
	told := router.serve(s, "sub0", l)
	client := customer.dhclient("wan")
	e := told.next(t, Taken)
	if e.Prefix != l.Delegated || e.Router != addr("fe80::2") {
		t.Errorf("%v is taken by %v", e.Prefix, e.Router)
	}
	client.untold()
	router.owner("sub0", e)
	client.told(" BOUND6 2001:db8:100::/56 2001:db8::53 ")
	customer.Run("ip addr add 2001:db8:100:1::1/128 dev lo")
	router.Run("ping -c 1 -W 10 2001:db8:100:1::1")
	client.told(" RENEW6 2001:db8:100::/56 ")
	client.dhclientRelease()
	router.owner("sub0", told.next(t, Released))
}

// Another client, that asks to be given its prefix at once.
func TestIPv6RapidCommit(t *testing.T) {
	t.Parallel()
	router := newRouter(t)
	s := router.server()
	customer := subscriber(t, router, "sub0", 1)
	told := router.serve(s, "sub0", lease(1))
	client := customer.dhcpcd("wan", "option dhcp6_rapid_commit")
	e := told.next(t, Taken)
	client.untold()
	router.owner("sub0", e)
	client.told(" BOUND6 2001:db8:100::/56 2001:db8::53 ")
	if log := client.text(); !strings.Contains(log, " SOLICIT6 ") || strings.Contains(log, " REQUEST6 ") {
		t.Errorf("the client has not been given its prefix at once:\n%s", log)
	}
	client.dhcpcdRelease()
	router.owner("sub0", told.next(t, Released))
}

// Each subscriber has its own, though all links look alike.
func TestIPv6SubscribersAreNotMixedUp(t *testing.T) {
	t.Parallel()
	router := newRouter(t)
	s := router.server()
	type customer struct {
		*host
		client *foreign
		told   events
	}
	all := map[int]customer{}
	for n := 1; n <= 3; n++ {
		name := fmt.Sprintf("sub%d", n)
		host := subscriber(t, router, name, n)
		told := router.serve(s, name, lease(n))
		all[n] = customer{host, host.dhclient("wan"), told}
	}
	for n, c := range all {
		e := c.told.next(t, Taken)
		if e.Prefix != lease(n).Delegated {
			t.Errorf("subscriber %d takes %v", n, e.Prefix)
		}
		router.owner(fmt.Sprintf("sub%d", n), e)
		c.client.told(fmt.Sprintf(" BOUND6 %v ", lease(n).Delegated))
		checkHost(c.host, n)
		if out := c.Run("ip -6 -o addr show dev wan scope global | wc -l"); out != "1" {
			t.Errorf("subscriber %d has %s addresses", n, out)
		}
	}
}

// An interface goes when its link goes, whatever is under way; the others do not notice.
func TestIPv6InterfaceVanishes(t *testing.T) {
	t.Parallel()
	router := newRouter(t)
	s := router.server()
	gone, stays := subscriber(t, router, "sub1", 1), subscriber(t, router, "sub2", 2)
	told := router.serve(s, "sub1", lease(1))
	router.serve(s, "sub2", lease(2))
	gone.dhclient("wan")
	e := told.next(t, Taken)
	index := router.index("sub1")
	router.Run("ip link del sub1")
	e.Ready() // comes too late
	// The answer and an advertisement have nowhere to go.
	count(t, s, func(c Counters) bool { return c.Unsent >= 2 })
	router.Enter()
	err := s.Serve(index, lease(1), nil)
	if want := fmt.Sprintf("serve IPv6 on interface %d: ", index); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v", err)
	}
	s.Stop(index)
	s.Stop(index)
	checkHost(stays, 2)
	if out := router.Run("cat /proc/net/igmp6"); strings.Count(out, "ff020000000000000000000000010002") != 1 {
		t.Errorf("members of groups:\n%s", out)
	}
}

// After Stop nothing comes of an interface; when it is served again, perhaps for another subscriber, it begins anew.
func TestIPv6StopAndServeAgain(t *testing.T) {
	t.Parallel()
	router := newRouter(t)
	s := router.server()
	customer := subscriber(t, router, "sub0", 1)
	told := router.serve(s, "sub0", lease(1))
	udp, index := customer.socket(unix.SOCK_DGRAM, 0), router.index("sub0")
	client := customer.dhclient("wan")
	router.owner("sub0", told.next(t, Taken))
	client.told(" BOUND6 2001:db8:100::/56 ")
	s.Stop(index)
	if out := router.Run("cat /proc/net/igmp6"); strings.Contains(out, "ff020000000000000000000000010002") {
		t.Errorf("members of groups:\n%s", out)
	}
	client.dhclientRelease() // which nobody hears
	again := router.serve(s, "sub0", lease(2))
	customer.send(udp, "wan", "ff02::1:2", serverPort, []byte{1})
	count(t, s, func(c Counters) bool { return c.Malformed == 1 })
	if len(told)+len(again) != 0 {
		t.Error("there is an event of what was released after Stop")
	}
	client = customer.dhclient("wan")
	router.owner("sub0", again.next(t, Taken))
	client.told(" BOUND6 2001:db8:200::/56 ")
}

// Only what comes from the link itself is heard: nobody else can make a packet that arrives with hop limit 255.
func TestIPv6ForwardedSolicitationIsDropped(t *testing.T) {
	t.Parallel()
	router := newRouter(t)
	s := router.server()
	customer := subscriber(t, router, "sub0", 1)
	router.serve(s, "sub0", lease(1))
	icmp := customer.socket(unix.SOCK_RAW, unix.IPPROTO_ICMPV6)
	for _, hops := range []int{64, 255} {
		if err := set(icmp, option{"IPV6_MULTICAST_HOPS", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, hops}); err != nil {
			t.Fatal(err)
		}
		customer.send(icmp, "wan", "ff02::2", 0, []byte{typeSolicitation, 0, 0, 0, 0, 0, 0, 0})
	}
	count(t, s, func(c Counters) bool { return c.Solicitations > 0 })
	if c := s.Counters(); c.Malformed != 1 {
		t.Errorf("%+v", c)
	}
}

// A host that asks from another address than its interface identifier's is not reached by unicast, and is answered all the same.
func TestIPv6HostWithAnotherLinkLocalAddress(t *testing.T) {
	t.Parallel()
	router := newRouter(t)
	s := router.server()
	customer := subscriber(t, router, "sub0", 1)
	customer.Run("echo 0 > /proc/sys/net/ipv6/conf/wan/accept_ra")
	router.serve(s, "sub0", lease(1))
	count(t, s, func(c Counters) bool { return c.Advertisements == initialAdverts })
	customer.Run("ip -6 addr del fe80::2 peer fe80::1/128 dev wan; ip -6 addr add fe80::77/64 dev wan nodad; " +
		"echo 1 > /proc/sys/net/ipv6/conf/wan/accept_ra")
	icmp := customer.socket(unix.SOCK_RAW, unix.IPPROTO_ICMPV6)
	if err := set(icmp, option{"IPV6_MULTICAST_HOPS", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, ndHopLimit}); err != nil {
		t.Fatal(err)
	}
	customer.send(icmp, "wan", "ff02::2", 0, []byte{typeSolicitation, 0, 0, 0, 0, 0, 0, 0})
	customer.until("ip -6 route show default", " default via fe80::1 dev wan proto ra ")
}

// Hundreds of interfaces cost a descriptor each for as many as one socket has room, and nothing is left of them.
func TestIPv6ManyInterfaces(t *testing.T) {
	t.Parallel()
	router := newRouter(t)
	s := router.server()
	const pairs = 200
	router.Run("sysctl -qw net.core.optmem_max=20480 || true") // a namespace's own since Linux 6.8; it was 20480 before
	router.Run(fmt.Sprintf("for i in $(seq %d); do echo link add a$i type veth peer name b$i; done | ip -batch -", pairs))
	indexes := strings.Fields(router.Run("ip -o link show type veth | cut -d: -f1"))
	for _, text := range indexes {
		var index int
		if _, err := fmt.Sscan(text, &index); err != nil {
			t.Fatal(err)
		}
		router.Enter()
		if err := s.Serve(index, Lease{DNS: addrs("2001:db8::53")}, nil); err != nil {
			t.Fatal(err)
		}
		defer s.Stop(index)
	}
	members := func() int {
		return strings.Count(router.Run("cat /proc/net/igmp6"), "ff020000000000000000000000010002")
	}
	if n := members(); n != 2*pairs {
		t.Errorf("%d of %d interfaces are in the group", n, 2*pairs)
	}
	if n := len(s.members.rooms); n != 2 {
		t.Errorf("%d sockets for %d memberships", n, 2*pairs)
	}
	for i, text := range indexes {
		var index int
		if _, err := fmt.Sscan(text, &index); err != nil {
			t.Fatal(err)
		}
		if i == pairs {
			router.Run(fmt.Sprintf("for i in $(seq %d); do echo link del a$i; done | ip -batch -", pairs))
		}
		s.Stop(index)
	}
	if n := len(s.members.rooms); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
}

func TestIPv6ErrorsSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		prepare func(*host) error
		want    string
	}{
		{
			"CAP_NET_RAW", func(*host) error { return without(unix.CAP_NET_RAW) },
			"open socket for router advertisements: socket: operation not permitted; this takes CAP_NET_RAW: run as root, or add it " +
				"to CapabilityBoundingSet= of the systemd unit",
		},
		{
			"CAP_NET_BIND_SERVICE", func(*host) error { return without(unix.CAP_NET_BIND_SERVICE) },
			"open socket for DHCPv6, port 547: bind: permission denied; this takes CAP_NET_BIND_SERVICE: run as root, or add it " +
				"to CapabilityBoundingSet= of the systemd unit",
		},
		{
			"port", func(h *host) error {
				return unix.Bind(h.socket(unix.SOCK_DGRAM, 0), &unix.SockaddrInet6{Port: serverPort})
			},
			"open socket for DHCPv6, port 547: bind: address already in use; another DHCPv6 server? see: ss -lunp sport = :547",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			if err := c.prepare(h); err != nil {
				t.Fatal(err)
			}
			s, err := New(Config{Now: clock(), Identity: "test"})
			if err == nil {
				_ = s.Close()
			}
			if err == nil || err.Error() != c.want {
				t.Errorf("%v\nwant %s", err, c.want)
			}
		})
	}
}

// without takes a capability from this thread, which ends with the test.
func without(capability int) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[0].Effective &^= 1 << capability
	return unix.Capset(&header, &data[0])
}

// With these two capabilities and no other all of it works.
func TestIPv6NeedsNoOtherCapability(t *testing.T) {
	t.Parallel()
	router := newRouter(t)
	host := subscriber(t, router, "sub0", 1)
	index := router.index("sub0")
	router.Enter()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var all, few [2]unix.CapUserData
	if err := unix.Capget(&header, &all[0]); err != nil {
		t.Fatal(err)
	}
	few = all
	few[0].Effective, few[1].Effective = 1<<unix.CAP_NET_RAW|1<<unix.CAP_NET_BIND_SERVICE, 0
	if err := unix.Capset(&header, &few[0]); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Now: clock(), Identity: "test"})
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
		err = s.Serve(index, lease(1), nil)
	}
	if err := errors.Join(err, unix.Capset(&header, &all[0])); err != nil {
		t.Fatal(err)
	}
	checkHost(host, 1)
}
