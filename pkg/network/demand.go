package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// demandMetric is that of the waiting routes: above any that a call or an administrator would choose.
	demandMetric = 4_000_000
	// keptPackets is how many packets wait for a call; what comes beyond is dropped and sent again by whoever wants it heard.
	keptPackets = 16
	// wakeInterval is how often the owner is told again while packets keep coming: the first attempt may have failed.
	wakeInterval = time.Second
	// keptFor is how long a packet may wait.
	keptFor   = 30 * time.Second
	maxPacket = 1 << 16
)

// demandAddress is given to the waiting device, whose IPv4 address must be something for reverse path filters to accept what
// is put back: the dummy address of RFC 7600, with host scope, so that the kernel never chooses it as a source.
var demandAddress = address{local: netip.AddrFrom4([4]byte{192, 0, 0, 8}), bits: 32, ours: true, inHost: true}

// Demand waits for the first packet to networks whose call is down (S157). It holds their routes on a TUN device, with a
// metric worse than the call's own, so that the call takes over by adding its routes and gives back by removing them. It is
// safe for concurrent use.
type Demand struct {
	manager *Manager
	name    string
	index   int
	routes  []netip.Prefix
	wake    func()
	tun     *os.File
	reader  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   [2]bool // whether IPv4, IPv6 packets have their way, and only took the wrong turn just before
	quiet  bool    // the owner was told within wakeInterval
	kept   [][]byte
	again  *time.Timer // ends quiet
	forget *time.Timer // drops what was kept too long
}

// Demand makes the device and its routes, and calls wake when a packet to one of the networks comes: at the first, and again
// at most once a second while more come. wake must not block. The first packets are kept, 16 of them for 30 seconds.
//
// The device ends with the process. name must be free, and at most 15 octets.
func (m *Manager) Demand(name string, routes []netip.Prefix, wake func()) (*Demand, error) {
	if err := m.lock(context.Background()); err != nil {
		return nil, err
	}
	defer m.unlock()
	d, err := m.demand(name, routes, wake)
	if err != nil {
		return nil, fmt.Errorf("wait for packets on %s: %w", name, remedy(err))
	}
	return d, nil
}

func (m *Manager) demand(name string, routes []netip.Prefix, wake func()) (*Demand, error) {
	tun, err := openTun(name)
	if err != nil {
		return nil, err
	}
	d := &Demand{manager: m, name: name, routes: slices.Clone(routes), wake: wake, tun: tun}
	if err := d.prepare(m.nl); err != nil {
		_ = tun.Close()
		return nil, err
	}
	d.again = time.AfterFunc(time.Hour, d.listenAgain)
	d.forget = time.AfterFunc(time.Hour, d.dropKept)
	d.again.Stop()
	d.forget.Stop()
	m.demands[name] = d
	tracker := openTracker()
	d.reader.Go(func() { d.read(tracker) })
	return d, nil
}

// openTun makes a TUN device that ends with its descriptor.
func openTun(name string) (*os.File, error) {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return nil, fmt.Errorf("interface name %q: %w", name, err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make TUN device: %w", err)
	}
	// Only now: the poller never wakes for a descriptor that it met before the device was attached.
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}

// prepare brings the device up with the waiting routes. Packets put back into it may carry any source, our own addresses
// included, and are to be forwarded.
func (d *Demand) prepare(nl *rtnl) error {
	l, err := nl.link(d.name)
	if err != nil {
		return err
	}
	d.index = l.index
	failures, err := nl.commit(noAutoAddress(l), up(l, l.group), acceptAny(l), withAddress(l, demandAddress))
	if err = errors.Join(append(failures, err)...); err != nil {
		return fmt.Errorf("set up %s with address %v: %w", d.name, demandAddress, err)
	}
	for _, dst := range d.routes {
		if err := nl.addRoute(l, route{dst: dst.Masked(), metric: demandMetric}); err != nil {
			return fmt.Errorf("add route %v metric %d: %w", dst, demandMetric, err)
		}
	}
	return nil
}

// read takes packets off the device until it is closed.
func (d *Demand) read(tracker *tracker) {
	defer tracker.close()
	buffer := make([]byte, maxPacket)
	for {
		n, err := d.tun.Read(buffer)
		if err != nil {
			return // closed, or the device was deleted under us
		}
		packet := buffer[:n]
		if !d.asked(packet) {
			continue
		}
		// The kernel has settled this flow's address translation for the waiting device; it is to be settled anew when the
		// packet is put back and leaves through the call's interface.
		tracker.forget(packet)
		passes, wake := d.take(packet)
		if passes {
			_, _ = d.tun.Write(packet) // its hop limit ends the journey should the way be closed after all
		}
		if wake {
			d.wake()
		}
	}
}

// asked tells whether a packet is for one of the networks; the kernel sends others of its own accord when a device comes up.
func (d *Demand) asked(packet []byte) bool {
	dst, ok := destination(packet)
	return ok && slices.ContainsFunc(d.routes, func(p netip.Prefix) bool { return p.Contains(dst) })
}

// take decides about a packet at once, so that Release comes before it or after it: it passes, or it is stored if there is room; wake
// tells whether to wake the owner.
func (d *Demand) take(packet []byte) (passes, wake bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return false, false
	case d.open[version(packet)]:
		return true, false
	}
	if len(d.kept) < keptPackets {
		if len(d.kept) == 0 {
			d.forget.Reset(keptFor)
		}
		d.kept = append(d.kept, slices.Clone(packet))
	}
	if d.quiet {
		return false, false
	}
	d.quiet = true
	d.again.Reset(wakeInterval)
	return false, true
}

func (d *Demand) listenAgain() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.quiet = false
}

func (d *Demand) dropKept() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kept = nil
}

// Release says which network protocols have their way over the routes that the call has installed by now. Kept packets of these
// are put back into the device, for the kernel to forward them; so are those that still come, having been under way to the device
// when the routes changed. Packets of the others are kept, as before the call. Waiting goes on.
func (d *Demand) Release(ipv4, ipv6 bool) {
	d.mu.Lock()
	d.open = [2]bool{ipv4, ipv6}
	var free [][]byte
	d.kept = slices.DeleteFunc(d.kept, func(packet []byte) bool {
		if !d.open[version(packet)] {
			return false
		}
		free = append(free, packet)
		return true
	})
	d.mu.Unlock()
	for _, packet := range free {
		if _, err := d.tun.Write(packet); err != nil {
			return // closed; the packets are lost, as packets may be
		}
	}
}

// version is the index of an IP packet in open.
func version(packet []byte) int {
	if packet[0]>>4 == 6 {
		return 1
	}
	return 0
}

// Close removes the device with its routes.
func (d *Demand) Close() error {
	if err := d.manager.lock(context.Background()); err != nil {
		return err
	}
	if d.manager.demands[d.name] == d {
		delete(d.manager.demands, d.name)
		// Not left to the last descriptor: a child that is just being started has a copy for a moment.
		if l, err := d.manager.nl.link(d.name); err == nil && l.index == d.index {
			_ = d.manager.nl.handle.LinkDel(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: l.index}})
		}
	}
	d.manager.unlock()
	d.mu.Lock()
	closed := d.closed
	d.closed, d.kept = true, nil
	d.again.Stop()
	d.forget.Stop()
	d.mu.Unlock()
	if closed {
		return nil
	}
	err := d.tun.Close()
	d.reader.Wait()
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close %s: %w", d.name, err)
	}
	return nil
}

// destination returns the destination address of an IP packet.
func destination(packet []byte) (netip.Addr, bool) {
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(packet[16:20])), true
	case len(packet) >= 40 && packet[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(packet[24:40])), true
	}
	return netip.Addr{}, false
}
