//go:build kernel

package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sites are two LANs with a link between their edges: lan - near - far. The far edge is its LAN's host as well.
type sites struct {
	lan, near, far *host
	manager        *Manager // of the near edge
	call           Interface
	tap            int // packet socket on the far edge's link
}

func newSites(t *testing.T) *sites {
	t.Helper()
	s := &sites{lan: newHost(t), near: newHost(t), far: newHost(t)}
	wire(s.near, "eth1", s.lan, "eth0")
	wire(s.near, "ppp0", s.far, "ppp0")
	s.lan.Run("ip link set eth0 up; ip addr add 192.168.10.2/24 dev eth0; ip route add default via 192.168.10.1")
	s.near.Run("ip link set eth1 up; ip addr add 192.168.10.1/24 dev eth1; echo 1 > /proc/sys/net/ipv4/ip_forward")
	s.far.Run(`ip link set ppp0 up; ip addr add 10.0.0.2/32 peer 10.0.0.1/32 dev ppp0
		ip link add lan type veth peer name lan0; ip link set lan up; ip addr add 192.168.20.5/24 dev lan
		ip route add 192.168.10.0/24 dev ppp0`)
	s.manager = s.near.manager()
	s.call = Interface{
		Name: "ppp0", MTU: 1400, IPv4: true, Local: ip("10.0.0.1"), Peer: ip("10.0.0.2"), Routes: prefixes("192.168.20.0/24"),
	}
	s.far.Enter()
	var err error
	s.tap, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_IP)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(s.tap) })
	if err := unix.SetsockoptTimeval(s.tap, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 60}); err != nil {
		t.Fatal(err)
	}
	return s
}

func htons(n uint16) uint16 { return n<<8 | n>>8 }

// arrival waits for the next echo request at the far edge and returns its source and sequence number.
func (s *sites) arrival(t *testing.T) (src netip.Addr, sequence int) {
	t.Helper()
	buffer := make([]byte, 2000)
	for {
		n, from, err := unix.Recvfrom(s.tap, buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			t.Fatalf("no packet at the far edge: %v", err)
		}
		if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if packet := buffer[:n]; n >= 28 && packet[9] == unix.IPPROTO_ICMP && packet[20] == 8 {
			return netip.AddrFrom4([4]byte(packet[12:16])), int(packet[26])<<8 | int(packet[27])
		}
	}
}

// S168: what leaves through the interface has its address, what does not leave there keeps its own.
func TestMasqueradeTranslatesWhatLeavesHere(t *testing.T) {
	t.Parallel()
	for _, masquerade := range []bool{true, false} {
		t.Run(fmt.Sprint(masquerade), func(t *testing.T) {
			t.Parallel()
			s := newSites(t)
			s.call.Masquerade = masquerade
			s.near.apply(s.manager, "branch", s.call)
			s.lan.Run("ping -c 1 -W 20 192.168.20.5")
			want := ip("192.168.10.2")
			if masquerade {
				want = ip("10.0.0.1")
			}
			if src, _ := s.arrival(t); src != want {
				t.Errorf("source %v, want %v", src, want)
			}
		})
	}
}

// P164: the segment size both ends learn fits the link's MTU.
func TestClampedSegmentsFitTheLink(t *testing.T) {
	t.Parallel()
	for _, clamp := range []bool{true, false} {
		t.Run(fmt.Sprint(clamp), func(t *testing.T) {
			t.Parallel()
			s := newSites(t)
			s.call.MSSClamp = clamp
			s.near.apply(s.manager, "branch", s.call)
			want := 1460 // nobody told
			if clamp {
				want = 1400 - 40
			}
			server, address := tcpServer(t, s.far, "192.168.20.5")
			client := tcpSocket(t, s.lan)
			if err := again(func() error { return unix.Connect(client, address) }); err != nil && !errors.Is(err, unix.EISCONN) {
				t.Fatal(err)
			}
			var accepted int
			if err := again(func() (err error) { accepted, _, err = unix.Accept(server); return err }); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = unix.Close(accepted) }()
			for end, fd := range map[string]int{"client": client, "server": accepted} {
				info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
				if err != nil {
					t.Fatal(err)
				}
				const timestamps = 12 // octets of option in every segment
				if got := int(info.Snd_mss) + timestamps; got != want {
					t.Errorf("%s sends segments of %d octets, want %d", end, got, want)
				}
			}
		})
	}
}

// again repeats a call that a signal interrupted.
func again(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func tcpSocket(t *testing.T, h *host) int {
	t.Helper()
	h.Enter()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func tcpServer(t *testing.T, h *host, on string) (int, unix.Sockaddr) {
	t.Helper()
	fd := tcpSocket(t, h)
	address := &unix.SockaddrInet4{Port: 5001, Addr: ip(on).As4()}
	if err := unix.Bind(fd, address); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	return fd, address
}

// S157: the first packet brings the call up and arrives, whoever sent it and whatever the edge filters and translates.
func TestFirstPacketArrivesAfterRelease(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		local      bool // from the edge itself
		masquerade bool
		strict     int // rp_filter of all interfaces
	}{
		{"forwarded", false, false, 0},
		{"forwarded, reverse path filter", false, false, 2},
		{"forwarded, masqueraded", false, true, 0},
		{"from the edge", true, false, 0},
		{"from the edge, reverse path filter", true, false, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSites(t)
			s.call.Masquerade = test.masquerade
			s.near.Run(fmt.Sprintf("echo %d > /proc/sys/net/ipv4/conf/all/rp_filter", test.strict))
			woken := make(chan struct{}, 10)
			s.near.Enter()
			d, err := s.manager.Demand("branch", s.call.Routes, func() { woken <- struct{}{} })
			if err != nil {
				t.Fatal(err)
			}
			s.near.shows("ip route show 192.168.20.0/24", "192.168.20.0/24 dev branch proto 121 scope link metric 4000000")
			if test.masquerade { // for another call as well: the flow's translation is settled before its call is up
				s.near.apply(s.manager, "other", Interface{Name: "eth1", IPv4: true, Masquerade: true})
			}

			from, want := s.lan, ip("192.168.10.2")
			if test.local {
				from, want = s.near, ip("192.168.10.1")
			}
			if test.masquerade {
				want = ip("10.0.0.1")
			}
			from.Enter()
			ping := exec.Command("ping", "-c", "1", "-W", "60", "192.168.20.5")
			var out strings.Builder
			ping.Stdout = &out
			if err := ping.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-woken:
			case <-time.After(time.Minute):
				t.Fatal("the first packet woke nobody")
			}
			s.near.apply(s.manager, "branch", s.call)
			d.Release(true, true)
			src, sequence := s.arrival(t)
			if src != want || sequence != 1 {
				t.Errorf("packet %d from %v arrived, want 1 from %v", sequence, src, want)
			}
			if err := ping.Wait(); err != nil {
				t.Errorf("ping: %v\n%s", err, out.String())
			}

			s.near.remove(s.manager, "branch")
			s.near.shows("ip route show 192.168.20.0/24", "192.168.20.0/24 dev branch proto 121 scope link metric 4000000")
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			s.near.shows("ip route show 192.168.20.0/24; ip -o link show type tun", "")
		})
	}
}

func TestDemandNameMustBeFree(t *testing.T) {
	t.Parallel()
	h := edge(t, "ppp0")
	m := h.manager()
	for _, name := range []string{"ppp0", "a-name-beyond-15"} {
		if _, err := m.Demand(name, prefixes("192.168.20.0/24"), func() {}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	d, err := m.Demand("branch", prefixes("2001:db8:20::/48"), func() {})
	if err != nil {
		t.Fatal(err)
	}
	// A sweep leaves it alone, and closing the manager ends it.
	if err := m.Sweep(t.Context(), nil); err != nil {
		t.Error(err)
	}
	h.shows("ip -6 route show proto 121", "2001:db8:20::/48 dev branch metric 4000000 pref medium")
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	h.shows("ip -6 route show proto 121", "")
}
