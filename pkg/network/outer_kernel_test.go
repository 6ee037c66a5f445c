//go:build kernel

package network

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// lookout asks the kernel all the time which way packets to an endpoint go.
type lookout struct {
	stop chan struct{}
	done chan int // how often they went into the tunnel
}

// look begins to look out, in a host.
func (h *host) look(endpoint netip.Addr, tunnel string) *lookout {
	h.t.Helper()
	h.Enter()
	handle, err := netlink.NewHandle()
	if err != nil {
		h.t.Fatal(err)
	}
	link, err := handle.LinkByName(tunnel)
	if err != nil {
		h.t.Fatal(err)
	}
	l := &lookout{stop: make(chan struct{}), done: make(chan int)}
	go func() {
		defer handle.Close()
		wrong := 0
		for {
			select {
			case <-l.stop:
				l.done <- wrong
				return
			default:
			}
			routes, err := handle.RouteGet(endpoint.AsSlice())
			if err == nil && len(routes) > 0 && routes[0].LinkIndex == link.Attrs().Index {
				wrong++
			}
		}
	}()
	return l
}

// end stops looking out, and fails the test if a packet would have gone into its own tunnel.
func (l *lookout) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	if wrong := <-l.done; wrong > 0 {
		t.Errorf("%d times the endpoint was behind its own tunnel", wrong)
	}
}

// An uplink that went down took the host route along. What came back was a default route with a worse metric than the call's
// own, and the tunnel was led into itself.
func TestEndpointOutlastsItsUplink(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, endpoint, route string
		down                  string // the uplink goes
		held                  string // what keeps the endpoint out of the tunnel meanwhile
		up                    string // it comes back
		want                  string
	}{
		{
			"IPv4", "203.0.113.2", "0.0.0.0/0",
			"ip link set eth0 down",
			"unreachable 203.0.113.2 proto 121 metric 2147483647",
			"ip link set eth0 up; ip route add default via 198.51.100.254 metric 100",
			"203.0.113.2 via 198.51.100.254 dev eth0 proto 121",
		},
		{
			"IPv4, by another gateway", "203.0.113.2", "0.0.0.0/0",
			"ip link set eth0 down",
			"unreachable 203.0.113.2 proto 121 metric 2147483647",
			"ip link set eth0 up; ip route add default via 198.51.100.77 metric 100",
			"203.0.113.2 via 198.51.100.77 dev eth0 proto 121",
		},
		{
			"IPv4, the address goes", "203.0.113.2", "0.0.0.0/0",
			"ip addr flush dev eth0",
			"unreachable 203.0.113.2 proto 121 metric 2147483647",
			"ip addr add 198.51.100.1/24 dev eth0; ip route add default via 198.51.100.254 metric 100",
			"203.0.113.2 via 198.51.100.254 dev eth0 proto 121",
		},
		{
			"IPv6", "2001:db8:99::1", "::/0",
			"ip link set eth0 down",
			"unreachable 2001:db8:99::1 dev lo proto 121 metric 2147483647 pref medium",
			`ip link set eth0 up; ip -6 addr add 2001:db8:51::1/64 dev eth0 nodad
			ip -6 route add default via 2001:db8:51::fe dev eth0 metric 2000`,
			"2001:db8:99::1 via 2001:db8:51::fe dev eth0 proto 121 metric 1024 pref medium",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := edge(t, "ppp0")
			m := h.manager()
			want := branch()
			want.Endpoint, want.Routes = ip(test.endpoint), prefixes(test.route)
			show := "ip route show exact " + test.endpoint
			if want.Endpoint.Is6() {
				show = "ip -6 route show exact " + test.endpoint
			}
			h.apply(m, "branch", want)
			l := h.look(want.Endpoint, "ppp0")
			for range 3 {
				h.Run(test.down)
				h.shows(show, test.held)
				h.apply(m, "branch", want) // the call negotiates anew, meanwhile
				h.shows(show, test.held)
				h.Run(test.up)
				h.waits(show, test.want+"\n"+test.held)
			}
			l.end(t)
			h.remove(m, "branch")
			h.shows("ip route show table all proto 121; ip -6 route show table all proto 121", "")
		})
	}
}

// The other uplink is there all the time: the kernel says nothing but that the first went down.
func TestEndpointMovesToTheOtherUplink(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0")
	h.Run(`ip link add eth1 type veth peer name outer1; ip link set outer1 up; ip link set eth1 up
		ip addr add 192.0.2.1/24 dev eth1; ip route add default via 192.0.2.254 metric 100`)
	m := h.manager()
	want := branch()
	want.Routes = prefixes("0.0.0.0/0")
	h.apply(m, "branch", want)
	l := h.look(want.Endpoint, "ppp0")
	const refused = "\nunreachable 203.0.113.2 proto 121 metric 2147483647"
	const show = "ip route show exact 203.0.113.2"
	h.shows(show, "203.0.113.2 via 198.51.100.254 dev eth0 proto 121"+refused)
	h.Run("ip link set eth0 down")
	h.waits(show, "203.0.113.2 via 192.0.2.254 dev eth1 proto 121"+refused)
	h.Run("ip link set eth0 up; ip route add default via 198.51.100.254")
	h.waits(show, "203.0.113.2 via 198.51.100.254 dev eth0 proto 121"+refused)
	// An administrator who gives the endpoint a route of its own has the last word.
	h.Run("ip route add 203.0.113.2 via 192.0.2.7 proto static metric 10")
	h.waits(show, "203.0.113.2 via 192.0.2.7 dev eth1 proto static metric 10"+refused)
	l.end(t)
	h.remove(m, "branch")
	h.shows(show, "203.0.113.2 via 192.0.2.7 dev eth1 proto static metric 10")
}

// Changes are looked at when there are host routes, and not because of our own.
func TestManyHostRoutesFollowTheUplink(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0", "ppp1", "ppp2")
	m := h.manager()
	var held []string
	for i := range 3 {
		endpoint := netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 2)})
		h.apply(m, fmt.Sprint("call", i), Interface{
			Name: fmt.Sprint("ppp", i), IPv4: true, Local: ip("10.0.0.1"), Peer: netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}),
			Routes: prefixes("0.0.0.0/0"), Metric: 50 + i, Endpoint: endpoint,
		})
		held = append(held, fmt.Sprintf("%v via 198.51.100.254 dev eth0", endpoint))
	}
	h.Run("ip link set eth0 down")
	h.shows("ip route show proto 121 type unicast dev eth0", "")
	h.Run("ip link set eth0 up; ip route add default via 198.51.100.254 metric 100")
	h.waits("ip route show proto 121 type unicast | grep eth0 || true", strings.Join(held, "\n"))
	for i := range 3 {
		h.remove(m, fmt.Sprint("call", i))
	}
	h.shows("ip route show table all proto 121", "")
}
