//go:build kernel

package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/kernel"
)

// namespace moves the test's thread, which ends with the test, into a network namespace of its own.
func namespace(t *testing.T, commands string) {
	t.Helper()
	runtime.LockOSThread() // never unlocked
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("unshare: %v (these tests take root)", err)
	}
	if out, err := exec.Command("sh", "-ec", "ip link set lo up\n"+commands).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// capture is a packet socket on a loopback device. It sees what a network card would.
type capture int

func openCapture(t *testing.T) capture {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}); err != nil {
		t.Fatal(err)
	}
	return capture(fd)
}

// checksum waits for the UDP datagram between two addresses that has this many octets of payload.
func (c capture) checksum(t *testing.T, from, to netip.AddrPort, octets int) uint16 {
	t.Helper()
	buffer := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(int(c), buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			t.Fatalf("no datagram of %d octets from %v to %v: %v", octets, from, to, err)
		}
		packet := buffer[:n]
		var src, dst netip.Addr
		header := 20
		switch {
		case n >= 28 && packet[0] == 0x45 && packet[9] == unix.IPPROTO_UDP:
			src, dst = netip.AddrFrom4([4]byte(packet[12:])), netip.AddrFrom4([4]byte(packet[16:]))
		case n >= 48 && packet[0]>>4 == 6 && packet[6] == unix.IPPROTO_UDP:
			src, dst, header = netip.AddrFrom16([16]byte(packet[8:])), netip.AddrFrom16([16]byte(packet[24:])), 40
		default:
			continue
		}
		udp := packet[header:]
		ports := [2]uint16{binary.BigEndian.Uint16(udp), binary.BigEndian.Uint16(udp[2:])}
		if src == from.Addr() && dst == to.Addr() && ports == [2]uint16{from.Port(), to.Port()} && len(udp) == 8+octets {
			return binary.BigEndian.Uint16(udp[6:])
		}
	}
}

// S51, P160: with the checksum off, data that the kernel sends has none, and control that the daemon sends has one. The
// daemon sees no data of a session it has given to the kernel, and all control.
func TestKernelTunnelOnATunnelSocket(t *testing.T) {
	for _, ip := range []string{"127.0.0.2", "fd00::2"} {
		for _, off := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s off=%v", ip, off), func(t *testing.T) {
				namespace(t, "ip -6 addr add fd00::1/64 dev lo nodad; ip -6 addr add fd00::2/64 dev lo nodad")
				testKernelTunnel(t, netip.MustParseAddr(ip), off)
			})
		}
	}
}

func testKernelTunnel(t *testing.T, remoteIP netip.Addr, off bool) {
	k, err := kernel.Open(kernel.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = k.Close() }()
	tr, packets := listen(t, Options{NoDataChecksum: off}, unspecified(remoteIP).String())
	far, farPackets := listen(t, Options{NoDataChecksum: off}, remoteIP.String())
	remote := far.Addrs()[0]
	localIP := loopback(1)
	if remoteIP.Is6() {
		localIP = netip.MustParseAddr("fd00::1")
	}
	local := netip.AddrPortFrom(localIP, tr.Addrs()[0].Port())
	_, err = tr.Connect(local, remote, func(fd int) error {
		return k.CreateTunnel(kernel.TunnelSpec{ID: 10, PeerID: 20, FD: fd})
	})
	if err != nil {
		t.Fatal(err)
	}
	back, err := far.Connect(remote, local, bare) // so that data without a checksum is accepted over IPv6
	if err != nil {
		t.Fatal(err)
	}
	wire := openCapture(t)
	frames := make(chan string, 10)
	spec := kernel.SessionSpec{TunnelID: 10, PeerTunnelID: 20, SessionID: 100, PeerID: 200}
	session, err := k.CreateSession(spec, kernel.Funcs{OnFrame: func(frame []byte) { frames <- string(frame) }})
	if err != nil {
		t.Fatal(err)
	}

	const lcp = "\xc0\x21\x09\x01\x00\x08\x00\x00\x00\x00"
	if err := session.Send([]byte(lcp)); err != nil {
		t.Fatal(err)
	}
	const sent = "\x00\x02\x00\x14\x00\xc8\xff\x03" + lcp
	wantPacket(t, farPackets, received{remote, local, sent})
	if sum := wire.checksum(t, local, remote, len(sent)); (sum == 0) != off {
		t.Errorf("data has the checksum %#04x, off is %v", sum, off)
	}
	if err := tr.Send(local, remote, []byte(control(40))); err != nil {
		t.Fatal(err)
	}
	wantPacket(t, farPackets, received{remote, local, control(40)})
	if sum := wire.checksum(t, local, remote, 40); sum == 0 {
		t.Error("control has no checksum")
	}

	// From the peer: data for the session stays in the kernel; control, and data that is for no session, comes up.
	inject := func(message string) {
		t.Helper()
		if err := back.Control(func(fd uintptr) error { return unix.Send(int(fd), []byte(message), 0) }); err != nil {
			t.Fatal(err)
		}
	}
	inject("\x00\x02\x00\x0a\x00\x64\xff\x03" + lcp)
	if got := next(t, frames); got != lcp {
		t.Errorf("frame %x, want %x", got, lcp)
	}
	early := "\x00\x02\x00\x0a\x00\x65\xff\x03" + lcp // a session that is yet to be made
	inject("\x00\x02\x00\x0a\x00\x65" + strings.Repeat("f", maxFiltered))
	inject(early)
	wantPacket(t, packets, received{local, remote, early})
	inject(control(50))
	wantPacket(t, packets, received{local, remote, control(50)})
	want := Counters{
		Listener: SocketCounters{SentDatagrams: 1, SentOctets: 40},
		Tunnel:   SocketCounters{ReceivedDatagrams: 2, ReceivedOctets: uint64(len(early)) + 50, ReceivedData: 1, Overflow: 1},
	}
	if diff := cmp.Diff(want, tr.Counters()); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

// P159: also where an address means nothing without its interface, and where the host has many.
func TestReplyLeavesFromTheAddressSentToOnManyInterfaces(t *testing.T) {
	namespace(t, `
		for i in 1 2; do
			ip link add a$i type veth peer name b$i
			ip link set a$i up; ip link set b$i up
			ip -6 addr add fe80::a/64 dev a$i nodad; ip -6 addr add fe80::b/64 dev b$i nodad
			ip addr add 10.0.$i.1/24 dev a$i; ip addr add 10.0.$i.77/24 dev a$i
			ip -6 addr add fd00:$i::1/64 dev a$i nodad; ip -6 addr add fd00:$i::77/64 dev a$i nodad
			ping -q -c 1 -w 20 fe80::a%b$i # a device that has just come up may lose its first packets
		done`)
	tr, packets := listen(t, Options{Mark: 7, TOS: 0xc0}, "0.0.0.0", "::")
	for _, test := range []struct{ to, from string }{
		{"10.0.1.77", "0.0.0.0"},
		{"10.0.2.1", "0.0.0.0"},
		{"fd00:1::77", "::"},
		{"fd00:2::1", "::"},
		{"fe80::a%b1", "fe80::b%b1"},
		{"fe80::a%b2", "fe80::b%b2"},
	} {
		port := tr.Addrs()[0].Port()
		if strings.Contains(test.to, ":") {
			port = tr.Addrs()[1].Port()
		}
		client, _ := peer(t, netip.AddrPortFrom(netip.MustParseAddr(test.from), 0))
		write(t, client, netip.AddrPortFrom(netip.MustParseAddr(test.to), port), control(12))
		p := next(t, packets)
		if p.Local.Addr().WithZone("") != netip.MustParseAddr(test.to).WithZone("") {
			t.Errorf("%s: packet came to %v", test.to, p.Local)
		}
		if err := tr.Send(p.Local, p.Remote, []byte(control(20))); err != nil {
			t.Fatal(err)
		}
		_, from, err := client.ReadFromUDPAddrPort(make([]byte, 100))
		if err != nil || from.Addr().Unmap() != netip.MustParseAddr(test.to) || from.Port() != port {
			t.Errorf("%s: reply from %v, %v", test.to, from, err)
		}
		if conn, err := tr.Connect(p.Local, p.Remote, bare); err != nil {
			t.Errorf("%s: %v", test.to, err)
		} else if conn.Local() != p.Local || conn.Remote() != p.Remote {
			t.Errorf("%s: socket %v to %v, want %v to %v", test.to, conn.Local(), conn.Remote(), p.Local, p.Remote)
		}
	}
}
