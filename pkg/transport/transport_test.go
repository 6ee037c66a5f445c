package transport

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestMain proves that no reader outlives its transport.
func TestMain(m *testing.M) {
	code := m.Run()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if code == 0 && bytes.Contains(stacks, []byte("(*socket).read")) {
		fmt.Fprintf(os.Stderr, "a reading goroutine is left:\n%s\n", stacks)
		code = 1
	}
	os.Exit(code)
}

// received is a packet that outlives its handler.
type received struct {
	Local, Remote netip.AddrPort
	Data          string
}

// control and data make an L2TP message of that size, told apart by the T bit.
func control(size int) string { return "\xc8\x02" + strings.Repeat("c", size-2) }
func data(size int) string    { return "\x00\x02" + strings.Repeat("d", size-2) }

var equalAddrs = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

// listen starts a transport on port 0 of the addresses given and collects what it hands up.
func listen(t *testing.T, o Options, addrs ...string) (*Transport, <-chan received) {
	t.Helper()
	packets := make(chan received, 100)
	var local []netip.AddrPort
	for _, a := range addrs {
		local = append(local, netip.AddrPortFrom(netip.MustParseAddr(a), 0))
	}
	tr, err := Listen(local, o, func(p Packet) {
		packets <- received{p.Local, p.Remote, string(p.Data)}
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr, packets
}

// peer opens an ordinary UDP socket on an address; port 0: any.
func peer(t *testing.T, addr netip.AddrPort) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func loopback(last byte) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, last}) }

func write(t *testing.T, c *net.UDPConn, to netip.AddrPort, message string) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(message), to); err != nil {
		t.Fatal(err)
	}
}

func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came within 20 s")
		panic("unreachable")
	}
}

func wantPacket(t *testing.T, packets <-chan received, want received) {
	t.Helper()
	if diff := cmp.Diff(want, next(t, packets), equalAddrs); diff != "" {
		t.Fatalf("packet (-want +got):\n%s", diff)
	}
}

// P159, P161: the peer hears from the address it spoke to, whichever of our addresses that was.
func TestReplyLeavesFromTheAddressSentTo(t *testing.T) {
	t.Parallel()
	tests := []struct{ listen, to string }{
		{"0.0.0.0", "127.0.0.1"},
		{"0.0.0.0", "127.0.0.2"},
		{"0.0.0.0", "127.9.8.7"},
		{"127.0.0.5", "127.0.0.5"},
		{"::", "::1"},
		{"::1", "::1"},
	}
	for _, test := range tests {
		t.Run(test.listen+" "+test.to, func(t *testing.T) {
			t.Parallel()
			tr, packets := listen(t, Options{}, test.listen)
			to := netip.AddrPortFrom(netip.MustParseAddr(test.to), tr.Addrs()[0].Port())
			client, remote := peer(t, netip.AddrPortFrom(unspecified(to.Addr()), 0))
			write(t, client, to, control(12))
			p := next(t, packets)
			if p.Local != to || p.Remote.Port() != remote.Port() {
				t.Fatalf("packet came as %v -> %v, want to %v", p.Remote, p.Local, to)
			}
			if err := tr.Send(p.Local, p.Remote, []byte(control(20))); err != nil {
				t.Fatal(err)
			}
			buffer := make([]byte, 100)
			n, from, err := client.ReadFromUDPAddrPort(buffer)
			if err != nil || n != 20 || from.Port() != to.Port() || from.Addr().Unmap() != to.Addr() {
				t.Fatalf("reply of %d octets from %v, %v; want 20 from %v", n, from, err, to)
			}
		})
	}
}

func TestSendLetsTheKernelChooseTheAddress(t *testing.T) {
	t.Parallel()
	tr, _ := listen(t, Options{}, "0.0.0.0")
	client, remote := peer(t, netip.AddrPortFrom(loopback(7), 0))
	for _, local := range []netip.AddrPort{{}, netip.AddrPortFrom(netip.IPv4Unspecified(), tr.Addrs()[0].Port())} {
		if err := tr.Send(local, remote, []byte(control(12))); err != nil {
			t.Fatal(err)
		}
		_, from, err := client.ReadFromUDPAddrPort(make([]byte, 100))
		if err != nil || from.Port() != tr.Addrs()[0].Port() {
			t.Fatalf("came from %v, %v; want port %d", from, err, tr.Addrs()[0].Port())
		}
	}
}

func TestSendFromAForeignAddressSaysSo(t *testing.T) {
	t.Parallel()
	tr, _ := listen(t, Options{}, "0.0.0.0")
	_, remote := peer(t, netip.AddrPortFrom(loopback(1), 0))
	err := tr.Send(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.77"), tr.Addrs()[0].Port()), remote, []byte("x"))
	if err == nil || !strings.Contains(err.Error(), "192.0.2.77 is no address of this host any more") {
		t.Errorf("error %v", err)
	}
	if got := tr.Counters().Listener; got.SendErrors != 1 || got.SentDatagrams != 0 {
		t.Errorf("counters %+v", got)
	}
}

// The kernel gives a connected socket its peer's datagrams and leaves the others with the listener.
func TestEveryDatagramReachesTheHandler(t *testing.T) {
	t.Parallel()
	for _, ip := range []netip.Addr{loopback(1), netip.IPv6Loopback()} {
		t.Run(ip.String(), func(t *testing.T) {
			t.Parallel()
			tr, packets := listen(t, Options{}, unspecified(ip).String())
			local := netip.AddrPortFrom(ip, tr.Addrs()[0].Port())
			inside, remote := peer(t, netip.AddrPortFrom(ip, 0))
			outside, stranger := peer(t, netip.AddrPortFrom(ip, 0))
			conn, err := tr.Connect(local, remote, bare)
			if err != nil {
				t.Fatal(err)
			}
			write(t, inside, local, control(30))
			wantPacket(t, packets, received{local, remote, control(30)})
			write(t, inside, local, data(12))
			wantPacket(t, packets, received{local, remote, data(12)})
			write(t, outside, local, control(31))
			wantPacket(t, packets, received{local, stranger, control(31)})

			want := Counters{
				Listener: SocketCounters{ReceivedDatagrams: 1, ReceivedOctets: 31},
				Tunnel:   SocketCounters{ReceivedDatagrams: 2, ReceivedOctets: 42, ReceivedData: 1},
			}
			if diff := cmp.Diff(want, tr.Counters()); diff != "" {
				t.Errorf("counters (-want +got):\n%s", diff)
			}
			if conn.Local() != local || conn.Remote() != remote {
				t.Errorf("socket %v to %v, want %v to %v", conn.Local(), conn.Remote(), local, remote)
			}
		})
	}
}

// A tunnel socket that is bound and not yet connected takes every new peer's datagrams from the listener.
func TestDatagramsTakenBeforeConnectAreNotLost(t *testing.T) {
	t.Parallel()
	tr, packets := listen(t, Options{}, "0.0.0.0")
	local := netip.AddrPortFrom(loopback(1), tr.Addrs()[0].Port())
	_, remote := peer(t, netip.AddrPortFrom(loopback(2), 0))
	outside, stranger := peer(t, netip.AddrPortFrom(loopback(3), 0))
	s, err := tr.open(kindTunnel, local, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	write(t, outside, local, control(40))
	if err := connectSocket(s, remote); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.start(s); err != nil {
		t.Fatal(err)
	}
	wantPacket(t, packets, received{local, stranger, control(40)})
	if got := tr.Counters().Tunnel.ReceivedDatagrams; got != 1 {
		t.Errorf("%d datagrams at the tunnel socket, want the stranger's", got)
	}
}

// bare is for a tunnel socket without a kernel tunnel.
func bare(int) error { return nil }

// A kernel tunnel is made of a socket that is bound and not yet connected. Without one there is no socket.
func TestConnectPreparesTheSocketFirst(t *testing.T) {
	t.Parallel()
	tr, _ := listen(t, Options{}, "0.0.0.0")
	local := netip.AddrPortFrom(loopback(1), tr.Addrs()[0].Port())
	_, remote := peer(t, netip.AddrPortFrom(loopback(4), 0))
	kept := -1
	refusal := errors.New("no tunnel")
	conn, err := tr.Connect(local, remote, func(fd int) error {
		at, err := unix.Getsockname(fd)
		if fromSockaddr(at) != local {
			t.Errorf("prepared on %v, %v; want %v", fromSockaddr(at), err, local)
		}
		if _, err := unix.Getpeername(fd); !errors.Is(err, unix.ENOTCONN) {
			t.Errorf("prepared when connected: %v", err)
		}
		kept, err = unix.Dup(fd)
		if err != nil {
			t.Error(err)
		}
		return refusal
	})
	if conn != nil || err != refusal { //nolint:errorlint // it is not to be wrapped
		t.Errorf("%v, %v; want %v", conn, err, refusal)
	}
	if _, err := unix.Getpeername(kept); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("it was connected all the same: %v", err)
	}
	if err := unix.Close(kept); err != nil {
		t.Error(err)
	}
	if _, err := tr.Connect(local, remote, bare); err != nil {
		t.Error(err)
	}
}

// The SCCRQ of a peer that was killed and came back on its port meets the old tunnel's socket.
func TestRestartedPeerIsHeardOnTheTunnelSocket(t *testing.T) {
	t.Parallel()
	tr, packets := listen(t, Options{}, "0.0.0.0")
	local := netip.AddrPortFrom(loopback(1), tr.Addrs()[0].Port())
	first, remote := peer(t, netip.AddrPortFrom(loopback(4), 0))
	if _, err := tr.Connect(local, remote, bare); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, _ := peer(t, remote)
	write(t, second, local, control(50))
	wantPacket(t, packets, received{local, remote, control(50)})
}

// P156: the peer answers from another port.
func TestReconnectFollowsThePeer(t *testing.T) {
	t.Parallel()
	tr, packets := listen(t, Options{}, "0.0.0.0")
	local := netip.AddrPortFrom(loopback(1), tr.Addrs()[0].Port())
	_, before := peer(t, netip.AddrPortFrom(loopback(6), 0))
	moved, after := peer(t, netip.AddrPortFrom(loopback(6), 0))
	conn, err := tr.Connect(local, before, bare)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Reconnect(after); err != nil {
		t.Fatal(err)
	}
	write(t, moved, local, control(12))
	wantPacket(t, packets, received{local, after, control(12)})
	if got := tr.Counters().Tunnel.ReceivedDatagrams; got != 1 || conn.Remote() != after {
		t.Errorf("%d datagrams at the tunnel socket, connected to %v", got, conn.Remote())
	}
}

// A flood of data for unknown sessions must not take the buffer from control; LCP is short and still passes.
func TestLongDataIsFiltered(t *testing.T) {
	t.Parallel()
	tr, packets := listen(t, Options{}, "0.0.0.0")
	local := netip.AddrPortFrom(loopback(1), tr.Addrs()[0].Port())
	for _, kind := range []string{"listener", "tunnel"} {
		client, remote := peer(t, netip.AddrPortFrom(loopback(1), 0))
		if kind == "tunnel" {
			if _, err := tr.Connect(local, remote, bare); err != nil {
				t.Fatal(err)
			}
		}
		write(t, client, local, data(maxFiltered+1))
		write(t, client, local, "")
		write(t, client, local, data(maxFiltered))
		wantPacket(t, packets, received{local, remote, data(maxFiltered)})
		write(t, client, local, control(65507))
		wantPacket(t, packets, received{local, remote, control(65507)})
	}
	if got := tr.Counters(); got.Listener.Overflow != 2 || got.Tunnel.Overflow != 2 {
		t.Errorf("overflow %d and %d, want 2 and 2", got.Listener.Overflow, got.Tunnel.Overflow)
	}
}

// P163: an ICMP error is a hint; the socket works on.
func TestUnreachablePeerIsAHint(t *testing.T) {
	t.Parallel()
	hints := make(chan netip.AddrPort, 10)
	tr, packets := listen(t, Options{OnUnreachable: func(a netip.AddrPort) { hints <- a }}, "0.0.0.0", "::")
	for i, ip := range []netip.Addr{loopback(1), netip.IPv6Loopback()} {
		local := netip.AddrPortFrom(ip, tr.Addrs()[i].Port())
		gone, remote := peer(t, netip.AddrPortFrom(ip, 0))
		if err := gone.Close(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := tr.Send(local, remote, []byte(control(12))); err != nil {
				t.Fatal(err)
			}
			if got := next(t, hints); got != remote {
				t.Errorf("unreachable %v, want %v", got, remote)
			}
		}
		conn, err := tr.Connect(local, remote, bare)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Control(func(fd uintptr) error { return unix.Send(int(fd), []byte("data"), 0) }); err != nil {
			t.Fatal(err)
		}
		if got := next(t, hints); got != remote {
			t.Errorf("unreachable %v, want %v", got, remote)
		}
		back, _ := peer(t, remote)
		write(t, back, local, control(12))
		wantPacket(t, packets, received{local, remote, control(12)})
	}
	if got := tr.Counters(); got.Listener.Unreachable != 6 || got.Tunnel.Unreachable != 2 || got.Listener.SentDatagrams != 6 {
		t.Errorf("counters %+v", got)
	}
}

func TestLocalForIsTheKernelsChoice(t *testing.T) {
	t.Parallel()
	tr, _ := listen(t, Options{}, "0.0.0.0", "::1")
	for _, test := range []struct {
		remote, want string
		listener     int
	}{{"127.0.0.9", "127.0.0.1", 0}, {"::1", "::1", 1}} {
		got, err := tr.LocalFor(netip.AddrPortFrom(netip.MustParseAddr(test.remote), 1701))
		want := netip.AddrPortFrom(netip.MustParseAddr(test.want), tr.Addrs()[test.listener].Port())
		if err != nil || got != want {
			t.Errorf("for %s: %v, %v; want %v", test.remote, got, err, want)
		}
	}
	only, _ := listen(t, Options{}, "127.0.0.8")
	if got, err := only.LocalFor(netip.MustParseAddrPort("127.0.0.9:1701")); err != nil || got != only.Addrs()[0] {
		t.Errorf("beside the kernel's choice: %v, %v; want the listener %v", got, err, only.Addrs()[0])
	}
	_, err := only.LocalFor(netip.MustParseAddrPort("[::1]:1701"))
	if err == nil || !strings.Contains(err.Error(), `no IPv6 listener for this address: add "[::]:1701"`) {
		t.Errorf("error %v", err)
	}
}

// The texts users see when the daemon cannot start.
func TestListenErrorsNameTheRemedy(t *testing.T) {
	t.Parallel()
	other, _ := listen(t, Options{}, "127.0.0.1")
	plain, plainAddr := peer(t, netip.AddrPortFrom(loopback(2), 0))
	free, own := peer(t, netip.AddrPortFrom(loopback(3), 0)) // a port that nobody has in a moment
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	shared := other.Addrs()[0]
	_, err := Listen([]netip.AddrPort{
		shared,
		netip.AddrPortFrom(netip.IPv4Unspecified(), shared.Port()),
		plainAddr,
		netip.MustParseAddrPort("192.0.2.77:1701"),
		own,
		netip.AddrPortFrom(netip.IPv4Unspecified(), own.Port()),
	}, Options{}, func(Packet) {}, nil)
	want := fmt.Sprintf(`listen on 127.0.0.1:%d: address already in use; another L2TP daemon? see: ss -lunp sport = :%[1]d
listen on 0.0.0.0:%[1]d: address already in use; another L2TP daemon? see: ss -lunp sport = :%[1]d
listen on 127.0.0.2:%[2]d: address already in use; another L2TP daemon? see: ss -lunp sport = :%[2]d
listen on 192.0.2.77:1701: bind: cannot assign requested address; this host does not have that address, see: ip address
listen on 0.0.0.0:%[3]d: overlaps %[4]v, which is given as well`,
		shared.Port(), plainAddr.Port(), own.Port(), own)
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	if !errors.Is(err, unix.EADDRINUSE) || !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("error %v does not match the causes", err)
	}
	runtime.KeepAlive(plain)
}

// With Options.Partial a transport serves the addresses that it can have, and tells of the others; with none it is an error still.
func TestPartialListenGoesOnWithTheAddressesThatWork(t *testing.T) {
	t.Parallel()
	plain, taken := peer(t, netip.AddrPortFrom(loopback(4), 0))
	good := netip.AddrPortFrom(loopback(5), 0)
	tr, err := Listen([]netip.AddrPort{taken, good}, Options{Partial: true}, func(Packet) {}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tr.Close() }()
	if a := tr.Addrs(); len(a) != 1 || a[0].Addr() != good.Addr() {
		t.Errorf("listens on %v, want %v", a, good.Addr())
	}
	if p := tr.Problems(); len(p) != 1 || !errors.Is(p[0], unix.EADDRINUSE) || !strings.Contains(p[0].Error(), taken.String()) {
		t.Errorf("problems %v", p)
	}
	if _, err := Listen([]netip.AddrPort{taken}, Options{Partial: true}, func(Packet) {}, nil); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("no address is left: error %v", err)
	}
	runtime.KeepAlive(plain)
}

// Tunnel sockets held over a restart are no other daemon.
func TestListenBesideTunnelSocketsOfAnEarlierProcess(t *testing.T) {
	t.Parallel()
	before, _ := listen(t, Options{}, "127.0.0.1")
	local := before.Addrs()[0]
	client, remote := peer(t, netip.AddrPortFrom(loopback(2), 0))
	conn, err := before.Connect(local, remote, bare)
	if err != nil {
		t.Fatal(err)
	}
	var held int
	if err := conn.Control(func(fd uintptr) error { held, err = unix.Dup(int(fd)); return err }); err != nil {
		t.Fatal(err)
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	packets := make(chan received, 10)
	after, err := Listen([]netip.AddrPort{local}, Options{}, func(p Packet) {
		packets <- received{p.Local, p.Remote, string(p.Data)}
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = after.Close() }()
	if adopted, err := after.Adopt(held); err != nil || adopted.Local() != local || adopted.Remote() != remote {
		t.Fatalf("adopted %v, %v", adopted, err)
	}
	write(t, client, local, control(12))
	wantPacket(t, packets, received{local, remote, control(12)})
	if got := after.Counters().Tunnel.ReceivedDatagrams; got != 1 {
		t.Errorf("%d datagrams at the tunnel socket, want 1", got)
	}
}

func TestAdoptRefusesASocketThatIsNotConnected(t *testing.T) {
	t.Parallel()
	tr, _ := listen(t, Options{}, "127.0.0.1")
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Adopt(fd); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("error %v, want ENOTCONN", err)
	}
}

// S51: the option is on the tunnel socket and never on a listener.
func TestChecksumOffTouchesTunnelSocketsOnly(t *testing.T) {
	t.Parallel()
	for _, off := range []int{0, 1} {
		tr, _ := listen(t, Options{NoDataChecksum: off == 1}, "127.0.0.1", "::1")
		for i, option := range []struct{ level, key int }{{unix.SOL_SOCKET, unix.SO_NO_CHECK}, {unix.IPPROTO_UDP, unix.UDP_NO_CHECK6_TX}} {
			get := func(fd int) (n int, err error) { return unix.GetsockoptInt(fd, option.level, option.key) }
			local := tr.Addrs()[i]
			conn, err := tr.Connect(local, netip.AddrPortFrom(local.Addr(), 9), bare)
			if err != nil {
				t.Fatal(err)
			}
			err = conn.Control(func(fd uintptr) error {
				if got, err := get(int(fd)); err != nil || got != off {
					t.Errorf("%v: tunnel socket %d, %v; want %d", local, got, err, off)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			err = tr.listeners[i].control(func(fd int) error {
				if got, err := get(fd); err != nil || got != 0 {
					t.Errorf("%v: listener %d, %v; want 0", local, got, err)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// The option must be what the poller survives: a blocking descriptor would hang the reader's Close.
func TestDescriptorStaysNonBlocking(t *testing.T) {
	t.Parallel()
	tr, _ := listen(t, Options{}, "127.0.0.1")
	conn, err := tr.Connect(tr.Addrs()[0], netip.MustParseAddrPort("127.0.0.1:9"), bare)
	if err != nil {
		t.Fatal(err)
	}
	err = conn.Control(func(fd uintptr) error {
		flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		if flags&unix.O_NONBLOCK == 0 {
			t.Errorf("flags %#x; want O_NONBLOCK", flags)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestCloseWaitsForHandlers(t *testing.T) {
	t.Parallel()
	entered, release, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
	tr, err := Listen([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Options{}, func(Packet) {
		close(entered)
		<-release
		close(left)
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	client, _ := peer(t, netip.AddrPortFrom(loopback(1), 0))
	write(t, client, tr.Addrs()[0], control(12))
	next(t, entered)
	closed := make(chan error)
	go func() { closed <- tr.Close() }()
	<-tr.done
	select {
	case err := <-closed:
		t.Errorf("closed while a handler runs: %v", err)
	default:
	}
	close(release)
	next(t, left)
	if err := next(t, closed); err != nil {
		t.Error(err)
	}
	if err := tr.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	if _, err := tr.Connect(tr.Addrs()[0], netip.MustParseAddrPort("127.0.0.1:9"), bare); !errors.Is(err, ErrClosed) {
		t.Errorf("connect after close: %v", err)
	}
	if err := tr.Send(tr.Addrs()[0], netip.MustParseAddrPort("127.0.0.1:9"), []byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("send after close: %v", err)
	}
}

// A handler may close the socket its packet came from.
func TestHandlerMayCloseItsTunnelSocket(t *testing.T) {
	t.Parallel()
	conns, closed := make(chan *Conn, 1), make(chan error, 1)
	tr, err := Listen([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Options{}, func(Packet) {
		closed <- (<-conns).Close()
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tr.Close() }()
	client, remote := peer(t, netip.AddrPortFrom(loopback(1), 0))
	conn, err := tr.Connect(tr.Addrs()[0], remote, bare)
	if err != nil {
		t.Fatal(err)
	}
	conns <- conn
	write(t, client, conn.Local(), control(12))
	if err := next(t, closed); err != nil {
		t.Error(err)
	}
	if err := conn.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	if err := conn.Control(func(uintptr) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("control after close: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	tr, err := Listen([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Options{}, func(Packet) {}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var users sync.WaitGroup
	for range 8 {
		_, remote := peer(t, netip.AddrPortFrom(loopback(1), 0))
		users.Go(func() {
			for range 50 {
				conn, err := tr.Connect(tr.Addrs()[0], remote, bare)
				if err != nil {
					t.Error(err)
					return
				}
				if err := errors.Join(tr.Send(conn.Local(), tr.Addrs()[0], []byte(control(12))), conn.Reconnect(remote)); err != nil {
					t.Error(err)
				}
				tr.Counters()
				if err := conn.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	users.Wait()
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
}
