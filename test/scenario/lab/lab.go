//go:build kernel

package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/network"
)

// Patience is how long anything may take. It is far longer than needed: it catches hangs only.
const Patience = 2 * time.Minute

// Eventually waits between looks for three times as long as the look took, within bounds. Under emulation a look at the kernel by a
// program, or at a daemon, would otherwise take the processor from what it waits for.
const (
	minPause = 50 * time.Millisecond
	maxPause = 500 * time.Millisecond
)

// Lab is a network of hosts. It belongs to one test.
type Lab struct {
	t     testing.TB
	dir   string // scratch space, removed at the end
	logs  string // where logs and captures are kept
	hosts []*Host
	procs []*Proc
}

// New makes an empty lab that ends with the test.
func New(t testing.TB) *Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a lab needs root and a kernel with L2TP: run scripts/test kernel")
	}
	dir, err := os.MkdirTemp("", "lab") //nolint:usetesting // unix sockets live in it: t.TempDir is too long for them
	if err != nil {
		t.Fatal(err)
	}
	l := &Lab{t: t, dir: dir, logs: dir}
	if art := os.Getenv("ARTIFACTS"); art != "" {
		l.logs = filepath.Join(art, strings.ReplaceAll(t.Name(), "/", "_"))
		if err := os.MkdirAll(l.logs, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(l.end)
	return l
}

// end takes everything back and checks that nothing else is left.
func (l *Lab) end() {
	if l.t.Failed() {
		l.describe()
	}
	for i := len(l.procs) - 1; i >= 0; i-- {
		l.procs[i].finish()
	}
	for _, h := range l.hosts {
		h.checkClean()
	}
	if l.t.Failed() {
		for i, p := range l.procs {
			if !slices.ContainsFunc(l.procs[i+1:], func(later *Proc) bool { return later.Name == p.Name }) { // the last run of each
				l.t.Logf("--- %s\n%s", p.Name, tail(p.log.text(0), 60))
			}
		}
	}
	for _, h := range l.hosts {
		h.remove()
	}
	if err := os.RemoveAll(l.dir); err != nil {
		l.t.Errorf("scratch space: %v", err)
	}
}

// describe shows what the hosts look like when a test has failed.
func (l *Lab) describe() {
	for _, h := range l.hosts {
		out, _ := h.Try("sh", "-c", "ip -br addr; ip route; ip -6 route; ip l2tp show tunnel; ip l2tp show session; ip -s link")
		l.t.Logf("--- host %s\n%s", h.Name, out)
	}
}

// Eventually looks at cond until it returns nil; it fails the test with its last error when Patience is over.
func (l *Lab) Eventually(what string, cond func() error) {
	l.t.Helper()
	if err := l.within(Patience, cond); err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
}

// within looks at cond until it returns nil or the time is over.
func (l *Lab) within(limit time.Duration, cond func() error) error {
	deadline := time.After(limit)
	for {
		began := time.Now()
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(min(max(minPause, 3*time.Since(began)), maxPause)):
		case <-deadline:
			return fmt.Errorf("not within %v: %w", limit, err)
		}
	}
}

// Host is a machine: a network namespace.
type Host struct {
	Name string

	l     *Lab
	ns    string // name of the namespace
	fd    *os.File
	wires map[string]bool // interfaces that belong here
}

// Host makes a machine that forwards packets, with only a loopback interface.
func (l *Lab) Host(name string) *Host {
	l.t.Helper()
	h := &Host{Name: name, l: l, ns: filepath.Base(l.dir) + "-" + name, wires: map[string]bool{"lo": true}}
	if err := h.make(); err != nil {
		l.t.Fatalf("make host %s: %v", name, err)
	}
	l.hosts = append(l.hosts, h)
	// No duplicate address detection: it would take a second for each address, and there are no duplicates here.
	h.Sysctl(
		"net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1",
		"net/ipv6/conf/all/accept_dad=0", "net/ipv6/conf/default/accept_dad=0",
		"net/ipv4/conf/all/rp_filter=0", "net/ipv4/conf/default/rp_filter=0",
	)
	h.netlink(func(nl *netlink.Handle) error { return up(nl, "lo") })
	return h
}

// make makes the namespace, with a name so that "ip netns exec" and people find it.
func (h *Host) make() error {
	path := "/run/netns/" + h.ns
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("unshare: %w", err)
			return
		}
		done <- unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
	}()
	if err := <-done; err != nil {
		return err
	}
	var err error
	h.fd, err = os.Open(path)
	return err
}

// netlink runs f with a netlink socket in the host's network.
func (h *Host) netlink(f func(*netlink.Handle) error) {
	h.l.t.Helper()
	err := h.Do(func() error {
		nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer nl.Close()
		return f(nl)
	})
	if err != nil {
		h.l.t.Fatalf("host %s: %v", h.Name, err)
	}
}

func up(nl *netlink.Handle, name string) error {
	link, err := nl.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	return nl.LinkSetUp(link)
}

// Do runs f on a thread that lives in the host's network.
func (h *Host) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Setns(int(h.fd.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter host %s: %w", h.Name, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// Sysctl sets kernel settings, each as net/path=value.
func (h *Host) Sysctl(settings ...string) {
	h.l.t.Helper()
	err := h.Do(func() error {
		for _, s := range settings {
			name, value, _ := strings.Cut(s, "=")
			if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.l.t.Fatalf("host %s: %v", h.Name, err)
	}
}

// End is one end of a link.
type End struct {
	host  *Host
	addrs []string
}

// At names an end of a link on this host, with addresses as address/bits.
func (h *Host) At(addrs ...string) End { return End{h, addrs} }

// Link lays a cable between two hosts. At each end its interface is called as the host at the other end.
func (l *Lab) Link(a, b End) {
	l.t.Helper()
	a.host.netlink(func(nl *netlink.Handle) error {
		return nl.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: b.host.Name}, PeerName: a.host.Name, PeerNamespace: netlink.NsFd(b.host.fd.Fd()),
		})
	})
	a.up(b.host.Name)
	b.up(a.host.Name)
}

func (e End) up(name string) {
	e.host.l.t.Helper()
	e.host.wires[name] = true
	e.host.netlink(func(nl *netlink.Handle) error {
		link, err := nl.LinkByName(name)
		if err != nil {
			return fmt.Errorf("interface %s: %w", name, err)
		}
		for _, a := range e.addrs {
			addr, err := netlink.ParseAddr(a)
			if err != nil {
				return fmt.Errorf("address %s: %w", a, err)
			}
			if err := nl.AddrAdd(link, addr); err != nil {
				return fmt.Errorf("add %s to %s: %w", a, name, err)
			}
		}
		return nl.LinkSetUp(link)
	})
}

// Route adds routes: network, next hop, network, next hop, ...
func (h *Host) Route(pairs ...string) {
	h.l.t.Helper()
	h.netlink(func(nl *netlink.Handle) error {
		for i := 0; i+1 < len(pairs); i += 2 {
			_, dst, err := net.ParseCIDR(pairs[i])
			if err != nil {
				return err
			}
			if err := nl.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(pairs[i+1])}); err != nil {
				return fmt.Errorf("route %s via %s: %w", pairs[i], pairs[i+1], err)
			}
		}
		return nil
	})
}

// IP changes the host's network: each line is an ip command without the word ip.
func (h *Host) IP(lines ...string) {
	h.l.t.Helper()
	c := exec.Command("ip", "-netns", h.ns, "-batch", "-")
	c.Stdin = strings.NewReader(strings.Join(lines, "\n"))
	if out, err := c.CombinedOutput(); err != nil {
		h.l.t.Fatalf("host %s: ip -batch: %v\n%s\n%s", h.Name, err, strings.Join(lines, "\n"), out)
	}
}

// Netem disturbs what the host sends to a neighbour, in the words of tc netem ("loss 20%"); "" ends it.
func (h *Host) Netem(to, what string) {
	h.l.t.Helper()
	if what == "" {
		h.Run("tc", "qdisc", "del", "dev", to, "root")
		return
	}
	h.Run("tc", append([]string{"qdisc", "replace", "dev", to, "root", "netem"}, strings.Fields(what)...)...)
}

// Run runs a command on the host and returns what it printed. It fails the test when the command does.
func (h *Host) Run(name string, args ...string) string {
	h.l.t.Helper()
	out, err := h.Try(name, args...)
	if err != nil {
		h.l.t.Fatalf("host %s: %s %s: %v\n%s", h.Name, name, strings.Join(args, " "), err, out)
	}
	return out
}

// Try runs a command on the host and returns what it printed, and its failure.
func (h *Host) Try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.WaitDelay = time.Second
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	// A child begins in the network of the thread that makes it.
	if err := h.Do(c.Start); err != nil {
		return "", err
	}
	err := c.Wait()
	return out.String(), cmp.Or(ctx.Err(), err)
}

// Reaches pings an address until it answers. from is an address of the host to ping from; none: the kernel chooses.
func (h *Host) Reaches(addr string, from ...string) {
	h.l.t.Helper()
	h.l.Eventually("host "+h.Name+" does not reach "+addr, func() error { return h.Ping(addr, 2, from...) })
}

// ReachesNot pings an address that must not answer within a second.
func (h *Host) ReachesNot(addr string, from ...string) {
	h.l.t.Helper()
	if h.Ping(addr, 1, from...) == nil {
		h.l.t.Fatalf("host %s reaches %s, which it should not", h.Name, addr)
	}
}

// Ping pings an address once and waits so many seconds for the answer.
func (h *Host) Ping(addr string, wait int, from ...string) error {
	args := []string{"-n", "-c1", fmt.Sprintf("-W%d", wait)}
	for _, f := range from {
		args = append(args, "-I", f)
	}
	out, err := h.Try("ping", append(args, addr)...)
	if err != nil {
		return errors.New(strings.TrimSpace(out))
	}
	return nil
}

// Interfaces lists the host's interfaces that are not part of the lab's cabling.
func (h *Host) Interfaces() []string {
	h.l.t.Helper()
	var found []string
	h.netlink(func(nl *netlink.Handle) error {
		links, err := nl.LinkList()
		for errors.Is(err, netlink.ErrDumpInterrupted) { // something came or went meanwhile
			links, err = nl.LinkList()
		}
		for _, x := range links {
			if name := x.Attrs().Name; !h.wires[name] {
				found = append(found, name)
			}
		}
		return err
	})
	return found
}

// KernelTunnels lists what the kernel has: one line for each tunnel.
func (h *Host) KernelTunnels() []string { return h.kernelObjects("tunnel", "Tunnel ") }

// KernelSessions lists what the kernel has: one line for each session.
func (h *Host) KernelSessions() []string { return h.kernelObjects("session", "Session ") }

func (h *Host) kernelObjects(kind, head string) []string {
	h.l.t.Helper()
	var found []string
	for line := range strings.Lines(h.Run("ip", "l2tp", "show", kind)) {
		if strings.HasPrefix(line, head) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// checkClean fails the test for what a daemon left behind. The kernel deletes in its own time.
func (h *Host) checkClean() {
	if h.l.t.Failed() {
		return
	}
	err := h.l.within(Patience, func() error {
		if left := h.Interfaces(); len(left) > 0 {
			return fmt.Errorf("interfaces %v are left", left)
		}
		if left := h.KernelTunnels(); len(left) > 0 {
			return fmt.Errorf("tunnels are left: %v", left)
		}
		if out := h.Run("ip", "route", "show", "table", "all", "proto", strconv.Itoa(network.Protocol)); out != "" {
			return fmt.Errorf("routes are left: %s", out)
		}
		return nil
	})
	if err != nil {
		h.l.t.Errorf("host %s is not clean: %v", h.Name, err)
	}
}

func (h *Host) remove() {
	h.fd.Close()
	path := "/run/netns/" + h.ns
	if err := errors.Join(unix.Unmount(path, unix.MNT_DETACH), os.Remove(path)); err != nil {
		h.l.t.Errorf("remove host %s: %v", h.Name, err)
	}
}

// tail returns the last n lines of text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
