//go:build kernel

package kernel

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// cableMTU is that of an Ethernet on which PPPoE carries 1500 octets (RFC 4638).
const cableMTU = 1508

// wait is how long a test waits for something that should happen at once.
const wait = time.Minute

// host is a network namespace with a Kernel in it. Its threads live in the namespace and end with the test.
type host struct {
	t     *testing.T
	calls chan func()
	ns    int
	nl    *vnl.Handle
	k     *Kernel
}

// newHost makes a namespace with lo up, and a Kernel.
func newHost(t *testing.T, threads int) *host {
	t.Helper()
	h := &host{t: t, calls: make(chan func())}
	begun := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			h.ns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		begun <- err
		h.serve()
	}()
	if err := <-begun; err != nil {
		t.Fatal(err)
	}
	for range threads - 1 {
		go func() {
			runtime.LockOSThread()
			begun <- unix.Setns(h.ns, unix.CLONE_NEWNET)
			h.serve()
		}()
		if err := <-begun; err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if h.nl != nil {
			h.nl.Close()
		}
		close(h.calls)
		_ = unix.Close(h.ns)
	})
	h.must(func() error {
		var err error
		if h.nl, err = vnl.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return err
		}
		lo, err := h.nl.LinkByName("lo")
		if err != nil {
			return err
		}
		return h.nl.LinkSetUp(lo)
	})
	h.must(func() error {
		var err error
		h.k, err = Open(Config{})
		return err
	})
	t.Cleanup(func() {
		if err := h.k.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *host) serve() {
	for f := range h.calls {
		f()
	}
}

// do runs f on a thread of the namespace.
func (h *host) do(f func() error) error {
	done := make(chan error)
	h.calls <- func() { done <- f() }
	return <-done
}

func (h *host) must(f func() error) {
	h.t.Helper()
	if err := h.do(f); err != nil {
		h.t.Fatal(err)
	}
}

// wire lays a veth pair between two hosts.
func wire(t *testing.T, a, b *host, prefixA, prefixB string) {
	t.Helper()
	cable(t, a, b, "wire", prefixA, prefixB)
}

// cable is a wire with a name.
func cable(t *testing.T, a, b *host, name, prefixA, prefixB string) {
	t.Helper()
	a.must(func() error {
		return a.nl.LinkAdd(&vnl.Veth{
			LinkAttrs: vnl.LinkAttrs{Name: name, MTU: cableMTU}, PeerName: name, PeerMTU: cableMTU, PeerNamespace: vnl.NsFd(b.ns),
		})
	})
	a.up(name, prefixA, "")
	b.up(name, prefixB, "")
	// A link that has just got its carrier drops what is sent, until the kernel's worker has seen that.
	for _, h := range []*host{a, b} {
		until(t, "the link is up", func() (up bool) {
			h.must(func() error {
				link, err := h.nl.LinkByName(name)
				up = err == nil && link.Attrs().OperState == vnl.OperUp
				return err
			})
			return up
		})
	}
}

// up gives an interface an address, with a peer for point-to-point links, and sets it up.
func (h *host) up(name, prefix, peer string) {
	h.t.Helper()
	h.must(func() error {
		link, err := h.nl.LinkByName(name)
		if err != nil {
			return err
		}
		addr, err := vnl.ParseAddr(prefix)
		if err != nil {
			return err
		}
		if peer != "" {
			if addr.Peer, err = vnl.ParseIPNet(peer); err != nil {
				return err
			}
		}
		if addr.IP.To4() == nil {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := h.nl.AddrAdd(link, addr); err != nil {
			return err
		}
		return h.nl.LinkSetUp(link)
	})
}

// links gives the names of the interfaces.
func (h *host) links() []string {
	h.t.Helper()
	var names []string
	h.must(func() error {
		links, err := h.nl.LinkList()
		for _, l := range links {
			names = append(names, l.Attrs().Name)
		}
		return err
	})
	slices.Sort(names)
	return names
}

// socket gives a UDP socket of the namespace, bound and connected, closed when the test ends.
func (h *host) socket(local, remote string) int {
	h.t.Helper()
	from, to := netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote)
	var fd int
	h.must(func() error {
		family := unix.AF_INET
		if from.Addr().Is6() {
			family = unix.AF_INET6
		}
		var err error
		if fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		h.t.Cleanup(func() { _ = unix.Close(fd) })
		tv := unix.NsecToTimeval(wait.Nanoseconds())
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
		if err := unix.Bind(fd, sockaddrOf(from)); err != nil {
			return err
		}
		return unix.Connect(fd, sockaddrOf(to))
	})
	return fd
}

func sockaddrOf(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// tunnel makes a kernel tunnel and gives its socket.
func (h *host) tunnel(id, peer uint16, local, remote string) int {
	h.t.Helper()
	fd := h.socket(local, remote)
	h.must(func() error { return h.k.CreateTunnel(TunnelSpec{ID: id, PeerID: peer, FD: fd}) })
	return fd
}

// session makes a session. Without a sink nobody reads it.
func (h *host) session(spec SessionSpec, sink func([]byte)) *Session {
	h.t.Helper()
	var to Receiver
	if sink != nil {
		to = Funcs{OnFrame: sink}
	}
	var s *Session
	h.must(func() error {
		var err error
		s, err = h.k.CreateSession(spec, to)
		return err
	})
	return s
}

func (h *host) attach(s *Session, spec UnitSpec) (u Unit, err error) {
	err = h.do(func() error {
		u, err = s.Attach(spec)
		return err
	})
	return u, err
}

func (h *host) mustAttach(s *Session, spec UnitSpec) Unit {
	h.t.Helper()
	u, err := h.attach(s, spec)
	if err != nil {
		h.t.Fatal(err)
	}
	return u
}

// The addresses of tunnels within one host.
const (
	addrA, addrB = "127.0.0.1:1701", "127.0.0.2:1701"
)

// specs gives both ends of a session between tunnels 1 and 11.
func specs(session uint16) (a, b SessionSpec) {
	return SessionSpec{TunnelID: 1, PeerTunnelID: 11, SessionID: session, PeerID: session + 10000},
		SessionSpec{TunnelID: 11, PeerTunnelID: 1, SessionID: session + 10000, PeerID: session}
}

// loopback gives a host with tunnels 1 and 11 to itself.
func loopback(t *testing.T, threads int) *host {
	t.Helper()
	h := newHost(t, threads)
	h.tunnel(1, 11, addrA, addrB)
	h.tunnel(11, 1, addrB, addrA)
	return h
}

// inbox is a sink that keeps what comes.
type inbox chan string

func newInbox() inbox { return make(inbox, 4096) }

func (i inbox) sink(frame []byte) { i <- hex.EncodeToString(frame) }

// want takes the next frames and compares them with what should come.
func (i inbox) want(t *testing.T, frames ...string) {
	t.Helper()
	for _, want := range frames {
		if got := receive(t, i); got != want {
			t.Errorf("frame %s, want %s", got, want)
		}
	}
}

// frame is a PPP control frame with one octet of identity.
func frame(protocol uint16, id byte) []byte {
	return []byte{byte(protocol >> 8), byte(protocol), 9, id, 0, 8, 1, 2, 3, 4}
}

func text(protocol uint16, id byte) string { return hex.EncodeToString(frame(protocol, id)) }

const (
	lcp  = 0xc021
	chap = 0xc223
	ipcp = 0x8021
	ccp  = 0x80fd
)

func mustSend(t *testing.T, s *Session, frames ...[]byte) {
	t.Helper()
	for _, f := range frames {
		if err := s.Send(f); err != nil {
			t.Fatal(err)
		}
	}
}

// until polls a condition that has no event to wait for.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(wait); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// descriptors lists what the process has open.
func descriptors(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil {
			open = append(open, fmt.Sprintf("%s -> %s", e.Name(), to))
		}
	}
	return open
}

// ping sends one echo request and does not wait.
func (h *host) ping(socket int, to string, seq byte) {
	h.t.Helper()
	addr := netip.MustParseAddr(to)
	packet := []byte{8, 0, 0, 0, 0x4c, 0x32, 0, seq}
	if addr.Is6() {
		packet[0] = 128 // the kernel fills the checksum in
	} else {
		sum := ^(0x0800 + 0x4c32 + uint16(seq))
		packet[2], packet[3] = byte(sum>>8), byte(sum)
	}
	if err := unix.Sendto(socket, packet, 0, sockaddrOf(netip.AddrPortFrom(addr, 0))); err != nil {
		h.t.Fatal(err)
	}
}

// pong waits for the next echo reply and gives its sequence number.
func (h *host) pong(socket int) byte {
	h.t.Helper()
	buf := make([]byte, 1500)
	for {
		n, err := unix.Read(socket, buf)
		if err != nil {
			h.t.Fatalf("wait for echo reply: %v", err)
		}
		icmp := buf[:n]
		if n > 20 && buf[0] == 0x45 {
			icmp = buf[20:n]
		}
		if len(icmp) >= 8 && (icmp[0] == 0 || icmp[0] == 129) && icmp[4] == 0x4c {
			return icmp[7]
		}
	}
}

// icmp gives a raw socket of the namespace.
func (h *host) icmp(v6 bool) int {
	h.t.Helper()
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if v6 {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	var fd int
	h.must(func() error {
		var err error
		if fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol); err != nil {
			return err
		}
		h.t.Cleanup(func() { _ = unix.Close(fd) })
		tv := unix.NsecToTimeval(wait.Nanoseconds())
		return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	})
	return fd
}

// flags gives an interface's flags by its index.
func (h *host) flags(index int) (flags net.Flags, mtu int) {
	h.t.Helper()
	h.must(func() error {
		link, err := h.nl.LinkByIndex(index)
		if err == nil {
			flags, mtu = link.Attrs().Flags, link.Attrs().MTU
		}
		return err
	})
	return flags, mtu
}
