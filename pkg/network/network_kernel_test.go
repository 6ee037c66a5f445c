//go:build kernel

package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// edge makes a host with an outer network on eth0, and interfaces that stand for PPP links.
func edge(t *testing.T, links ...string) *host {
	t.Helper()
	h := newHost(t)
	h.Run(`ip link add eth0 type veth peer name outer
		ip link set outer up; ip link set eth0 up
		ip addr add 198.51.100.1/24 dev eth0; ip -6 addr add 2001:db8:51::1/64 dev eth0 nodad
		ip route add default via 198.51.100.254; ip -6 route add default via 2001:db8:51::fe dev eth0`)
	for _, name := range links {
		h.Run("ip link add " + name + " type veth peer name far-" + name + "; ip link set far-" + name + " up")
	}
	return h
}

const (
	addresses = "ip -o addr show dev ppp0 | sed 's/^[0-9]*: *//; s/ *valid_lft.*//; s/\\\\//'"
	ourRoutes = "ip route show proto 121; ip -6 route show proto 121"
)

func TestApplyAndRemove(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0")
	m := h.manager()
	for range 2 { // the second time changes nothing
		h.apply(m, "branch", branch())
		h.shows(addresses, `
			ppp0 inet 10.0.0.1 peer 10.0.0.2/32 scope global ppp0
			ppp0 inet6 fe80::1 peer fe80::2/128 scope link nodad`)
		h.shows(ourRoutes, `
			192.168.20.0/24 dev ppp0 scope link metric 50
			2001:db8:20::/48 dev ppp0 metric 50 pref medium`)
		h.shows("ip -o link show ppp0 | grep -o 'mtu [0-9]*\\|,UP'", ",UP\nmtu 1400")
	}
	// What somebody took away comes back.
	h.Run("ip route del 192.168.20.0/24; ip addr del 10.0.0.1 peer 10.0.0.2/32 dev ppp0; ip link set ppp0 mtu 1500")
	h.apply(m, "branch", branch())
	h.shows("ip route show dev ppp0; ip -o link show ppp0 | grep -o 'mtu [0-9]*'", `
		10.0.0.2 proto kernel scope link src 10.0.0.1
		192.168.20.0/24 proto 121 scope link metric 50
		mtu 1400`)

	h.Run("ip addr add 192.0.2.99/24 dev ppp0") // an administrator's, which is not ours to remove
	h.remove(m, "branch")
	h.remove(m, "branch")
	h.shows(ourRoutes, "")
	h.shows(addresses, "ppp0 inet 192.0.2.99/24 scope global ppp0")
	h.shows("ip -o link show ppp0 | grep -c ,UP || true", "0")
}

// S166, S167: no address at all, and the protocols come and go one by one.
func TestProtocolsComeAndGo(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0")
	m := h.manager()
	want := branch()
	want.Local, want.IPv6 = netip.Addr{}, false
	h.apply(m, "branch", want)
	h.shows(addresses, "")
	h.shows(ourRoutes, `
		10.0.0.2 dev ppp0 scope link
		192.168.20.0/24 dev ppp0 scope link metric 50`)
	want.IPv4, want.IPv6 = false, true
	h.apply(m, "branch", want)
	h.shows(addresses, "ppp0 inet6 fe80::1 peer fe80::2/128 scope link nodad")
	h.shows(ourRoutes, "2001:db8:20::/48 dev ppp0 metric 50 pref medium")
	want.LocalIPv6 = ip("fe80::9")
	h.apply(m, "branch", want)
	h.shows(addresses, "ppp0 inet6 fe80::9 peer fe80::2/128 scope link nodad")
}

func TestRoutesOfOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0", "ppp1")
	m := h.manager()
	h.Run("ip route add 192.168.20.0/24 via 198.51.100.7 metric 50 proto static")
	want := branch()
	want.Routes = append(want.Routes, netip.MustParsePrefix("192.168.21.0/24"))
	h.Enter()
	err := m.Apply(t.Context(), Owner{What: "branch"}, want)
	const text = "apply interface ppp0: add route 192.168.20.0/24 metric 50: another route exists: " +
		"192.168.20.0/24 via 198.51.100.7 dev eth0 proto 4 metric 50; remove it, or give this call's routes another metric"
	if err == nil || err.Error() != text {
		t.Errorf("error\n%v, want\n%s", err, text)
	}
	h.shows("ip route show 192.168.20.0/24", "192.168.20.0/24 via 198.51.100.7 dev eth0 proto static metric 50")
	h.shows("ip route show proto 121", "192.168.21.0/24 dev ppp0 scope link metric 50")

	other := Interface{Name: "ppp1", Local: ip("10.0.1.1"), Peer: ip("10.0.1.2"), IPv4: true, Metric: 50, Routes: prefixes("192.168.21.0/24")}
	err = m.Apply(t.Context(), Owner{What: "spare"}, other)
	const shared = "apply interface ppp1: add route 192.168.21.0/24 metric 50: another call has it: " +
		"branch, 192.168.21.0/24 dev ppp0 proto 121 metric 50; give one of them another metric"
	if err == nil || err.Error() != shared {
		t.Errorf("error\n%v, want\n%s", err, shared)
	}
	h.remove(m, "branch")
	h.apply(m, "spare", other)
	h.shows("ip route show proto 121", "192.168.21.0/24 dev ppp1 scope link metric 50")
}

func TestMissingInterface(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	m := h.manager()
	err := m.Apply(t.Context(), Owner{What: "branch"}, branch())
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "interface ppp0") {
		t.Errorf("error %v", err)
	}
	h.remove(m, "branch")
}

// An interface that its pool gave to a new call is not torn down by the old call's end.
func TestReusedInterfaceBelongsToItsLastOwner(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0")
	m := h.manager()
	h.apply(m, "old", branch())
	want := branch()
	want.Local, want.Routes = ip("10.0.0.7"), prefixes("192.168.33.0/24")
	h.apply(m, "new", want)
	h.remove(m, "old")
	h.shows("ip route show dev ppp0", `
		10.0.0.2 proto kernel scope link src 10.0.0.7
		192.168.33.0/24 proto 121 scope link metric 50`)
}

func TestEndpointKeepsAHostRouteWhileRoutesCoverIt(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, endpoint, routes, want string }{
		{"through the gateway", "203.0.113.2", "128.0.0.0/1", "203.0.113.2 via 198.51.100.254 dev eth0 proto 121"},
		{"on the link", "198.51.100.9", "198.51.100.0/24", "198.51.100.9 dev eth0 proto 121 scope link src 198.51.100.1"},
		{"over IPv6", "2001:db8:99::1", "2000::/3", "2001:db8:99::1 via 2001:db8:51::fe dev eth0 proto 121 metric 1024 pref medium"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := edge(t, "ppp0", "ppp1")
			m := h.manager()
			host := netip.MustParseAddr(test.endpoint)
			show := fmt.Sprintf("ip -%d route show exact %s", map[bool]int{true: 4, false: 6}[host.Is4()], test.endpoint)
			refused := "\nunreachable " + test.endpoint + " proto 121 metric 2147483647"
			if host.Is6() {
				refused = "\nunreachable " + test.endpoint + " dev lo proto 121 metric 2147483647 pref medium"
			}
			first, second := branch(), branch()
			first.Endpoint, first.Routes = host, prefixes(test.routes)
			second.Endpoint, second.Routes, second.Name = host, first.Routes, "ppp1"
			second.Metric, second.Local, second.LocalIPv6 = 60, ip("10.0.0.5"), ip("fe80::5")
			h.apply(m, "first", first)
			h.apply(m, "second", second)
			h.shows(show, test.want+refused)
			h.Run("ip route del " + test.endpoint + " proto 121; ip route del " + test.endpoint + " proto 121")
			h.apply(m, "first", first)
			h.shows(show, test.want+refused)
			h.remove(m, "first")
			h.shows(show, test.want+refused)
			second.Routes = prefixes("192.168.77.0/24")
			h.apply(m, "second", second)
			h.shows(show, "")
		})
	}
}

// After a crash: the covering route is there already, the host route is or is not.
func TestEndpointFindsTheOuterRouteBehindOurOwn(t *testing.T) {
	t.Parallel()
	for _, left := range []string{
		"true", "ip route add 203.0.113.2 via 198.51.100.254 proto 121",
		"ip route add unreachable 203.0.113.2 proto 121 metric 2147483647",
	} {
		h := edge(t, "ppp0")
		h.Run("ip link set ppp0 up; ip route add 203.0.113.0/24 dev ppp0 proto 121 metric 50; " + left)
		want := branch()
		want.Routes, want.Endpoint = prefixes("203.0.113.0/24"), ip("203.0.113.2")
		m := h.manager()
		h.apply(m, "branch", want)
		h.shows("ip route show exact 203.0.113.2", `
			203.0.113.2 via 198.51.100.254 dev eth0 proto 121
			unreachable 203.0.113.2 proto 121 metric 2147483647`)
		h.remove(m, "branch")
		h.shows("ip route show exact 203.0.113.2", "")
	}
}

func TestAdministratorsHostRouteServes(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0")
	h.Run("ip route add 203.0.113.2 via 198.51.100.77 proto static")
	want := branch()
	want.Routes = prefixes("203.0.113.0/24")
	m := h.manager()
	h.apply(m, "branch", want)
	h.shows("ip route show exact 203.0.113.2", `
		203.0.113.2 via 198.51.100.77 dev eth0 proto static
		unreachable 203.0.113.2 proto 121 metric 2147483647`)
	h.remove(m, "branch")
	h.shows("ip route show exact 203.0.113.2", "203.0.113.2 via 198.51.100.77 dev eth0 proto static")
}

// A server whose inner address is its outer one: no route may lead its address into the tunnel.
func TestPeerThatIsItsOwnEndpoint(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0")
	want := branch()
	want.Peer = want.Endpoint
	h.apply(h.manager(), "branch", want)
	h.shows("ip route get 203.0.113.2 | head -1 | sed 's/ uid.*//'", "203.0.113.2 via 198.51.100.254 dev eth0 src 198.51.100.1")
	h.shows("ip -o addr show dev ppp0 | grep -o 'inet .*/32'", "inet 10.0.0.1 peer 203.0.113.2/32")
}

const ruleset = `
	table inet l2tpd {
	set masqueraded {
	type devgroup
	elements = { 1711,
	1713,
	1715,
	1717 }
	}
	set mssclamped {
	type devgroup
	elements = { 1712,
	1713,
	1716,
	1717 }
	}
	set routerless {
	type devgroup
	elements = { 1714,
	1715,
	1716,
	1717 }
	}
	chain postrouting {
	type nat hook postrouting priority srcnat; policy accept;
	meta nfproto ipv4 oifgroup @masqueraded masquerade
	}
	chain forward {
	type filter hook forward priority mangle; policy accept;
	oifgroup @mssclamped tcp flags syn / syn,rst tcp option maxseg size set rt mtu
	iifgroup @mssclamped tcp flags syn / syn,rst tcp option maxseg size set rt mtu
	}
	chain input {
	type filter hook input priority filter; policy accept;
	iifgroup @routerless icmpv6 type nd-router-advert drop
	iifgroup @routerless icmpv6 type nd-redirect drop
	}
	}`

// groups shows those of the interfaces.
const groups = "ip -o link show type veth | sed -n 's/.*: \\(ppp[01]\\)@.* group \\([^ ]*\\).*/\\1 \\2/p'"

func TestInterfacesJoinAndLeaveTheSets(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0", "ppp1")
	m := h.manager()
	plain := branch()
	plain.IPv6 = false
	h.apply(m, "plain", plain)
	h.shows("nft list ruleset", "")
	first, second := branch(), branch()
	first.Masquerade, first.MSSClamp, first.IPv6 = true, true, false
	second.Name, second.Metric, second.MSSClamp, second.Local, second.LocalIPv6 = "ppp1", 60, true, ip("10.0.0.5"), ip("fe80::5")
	h.apply(m, "plain", first)
	h.apply(m, "second", second)
	h.shows("nft list ruleset", ruleset)
	h.shows(groups, "ppp0 1713\nppp1 1716")

	second.Masquerade = true
	h.apply(m, "second", second)
	h.remove(m, "plain")
	h.shows(groups, "ppp0 default\nppp1 1717")
	second.IPv6 = false
	h.apply(m, "second", second)
	h.shows(groups, "ppp0 default\nppp1 1713")
	h.remove(m, "second")
	h.shows(groups, "ppp0 default\nppp1 default")
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	h.shows("nft list ruleset", "")
}

// A firewall that reloads flushes everything, and an administrator may try things: the table is what it was before they look again.
func TestTableThatOthersDamageIsRepaired(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0")
	m := h.manager()
	want := branch()
	want.MSSClamp = true
	h.apply(m, "branch", want)
	for _, damage := range []string{
		"nft flush ruleset", "nft delete table inet l2tpd", "nft flush table inet l2tpd", "nft flush chain inet l2tpd input",
		"nft delete element inet l2tpd mssclamped '{ 1716 }'",
	} {
		h.Run(damage)
		h.waits("nft list ruleset", ruleset)
	}
	h.Run("nft add table inet other; nft delete table inet other") // which concerns nobody
	h.shows("nft list ruleset", ruleset)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	h.shows("nft list ruleset", ruleset) // the interface goes on
}

// A daemon of an earlier version left its table, which is another.
func TestTableOfAnEarlierVersionIsReplaced(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0")
	h.Run(`nft add table inet l2tpd
		nft 'add set inet l2tpd masqueraded { type ifname; }; add element inet l2tpd masqueraded { ppp9 }'
		nft 'add chain inet l2tpd input { type filter hook input priority 0; }; add rule inet l2tpd input iifname @masqueraded drop'`)
	m := h.manager()
	h.apply(m, "branch", branch())
	h.shows("nft list ruleset", ruleset)
}

func TestSweepAfterACrash(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0", "ppp1")
	crashed := h.manager()
	alive, dead := branch(), branch()
	alive.Masquerade, alive.Routes = true, prefixes("192.168.20.0/24", "203.0.113.0/24")
	dead.Name, dead.Metric, dead.Masquerade, dead.Local, dead.LocalIPv6 = "ppp1", 60, true, ip("10.0.0.5"), ip("fe80::5")
	dead.Endpoint, dead.Routes = ip("203.0.114.2"), prefixes("192.168.30.0/24", "203.0.114.0/24")
	h.apply(crashed, "alive", alive)
	h.apply(crashed, "dead", dead)
	if err := crashed.watch.close(); err != nil { // or it would go on to repair its host routes
		t.Fatal(err)
	}
	h.Run("ip route add 192.0.2.0/24 via 198.51.100.3 proto static")

	m := h.manager()
	h.Enter()
	if err := m.Sweep(t.Context(), []string{"ppp0"}); err != nil {
		t.Fatal(err)
	}
	h.shows("ip route show proto 121", `
		192.168.20.0/24 dev ppp0 scope link metric 50
		203.0.113.0/24 dev ppp0 scope link metric 50
		203.0.113.2 via 198.51.100.254 dev eth0
		unreachable 203.0.113.2 metric 2147483647`)
	h.shows("ip route show proto static", "192.0.2.0/24 via 198.51.100.3 dev eth0")
	h.shows(groups, "ppp0 1715\nppp1 1715") // the second is the dead call's, and goes with it
	h.apply(m, "adopted", alive)
	if err := m.Sweep(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	h.remove(m, "adopted")
	h.shows("ip route show proto 121", "")
}

func TestConcurrentOwners(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	const links = 40
	for i := range links / 2 {
		h.Run(fmt.Sprintf("ip link add ppp%d type veth peer name ppp%d", 2*i, 2*i+1))
	}
	m := h.manager()
	h.Enter()
	if err := m.nft.need(); err != nil { // its socket belongs to this thread's host
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	for i := range links {
		calls.Go(func() {
			owner := Owner{What: "call", ID: uint32(i + 1)}
			want := Interface{
				Name: fmt.Sprintf("ppp%d", i), MTU: 1400, IPv4: true, Masquerade: true,
				Local: ip("10.0.0.1"), Peer: netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}),
				Routes: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(i), 0}), 24)},
			}
			if err := m.Apply(t.Context(), owner, want); err != nil {
				t.Error(err)
			}
			if i%2 == 0 {
				if err := m.Remove(t.Context(), owner); err != nil {
					t.Error(err)
				}
			}
		})
	}
	calls.Wait()
	if t.Failed() {
		return
	}
	h.shows("ip route show proto 121 | wc -l", fmt.Sprint(links/2))
	h.shows("ip -o link show group 1711 | wc -l", fmt.Sprint(links/2))
}

// Without the right to change the network the error says which it takes.
func TestErrorsNameTheMissingCapability(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0")
	m := h.manager()
	h.Enter()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capset(&header, &data[0]); err != nil { // of this thread, which ends with the test
		t.Fatal(err)
	}
	err := m.Apply(t.Context(), Owner{What: "branch"}, branch())
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "this takes CAP_NET_ADMIN") {
		t.Errorf("error %v", err)
	}
}

// Descriptors are numbers that are used again: who closes one twice closes another's.
func TestClosingAgainClosesNothing(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0")
	m := h.manager()
	h.apply(m, "branch", branch())
	h.remove(m, "branch")
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	var others []*os.File
	for range 10 { // they take the numbers that were the manager's
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		others = append(others, r, w)
	}
	if err := m.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	for _, f := range others {
		if _, err := f.Stat(); err != nil {
			t.Error(err)
		}
	}
}
