//go:build kernel

package kernel

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lent makes a session with an interface.
func (h *host) lent(session uint16, spec UnitSpec) (*Session, Unit) {
	h.t.Helper()
	a, _ := specs(session)
	s := h.session(a, func([]byte) {})
	return s, h.mustAttach(s, spec)
}

func mustClose(t *testing.T, all ...*Session) {
	t.Helper()
	for _, s := range all {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// link gives an interface by its index.
func (h *host) link(index int) vnl.Link {
	h.t.Helper()
	var link vnl.Link
	h.must(func() (err error) {
		link, err = h.nl.LinkByIndex(index)
		return err
	})
	return link
}

// addresses counts the addresses of an interface.
func (h *host) addresses(index int) int {
	h.t.Helper()
	link, n := h.link(index), 0
	h.must(func() error {
		all, err := h.nl.AddrList(link, vnl.FAMILY_ALL)
		n = len(all)
		return err
	})
	return n
}

// units gives the names of the interfaces that wait.
func (h *host) units() []string {
	h.k.units.mu.Lock()
	defer h.k.units.mu.Unlock()
	return h.k.units.names()
}

// state reads a unit's flags and what it does with IPv4 and IPv6.
func state(t *testing.T, fd int) (flags int32, modes [2]int32) {
	t.Helper()
	if err := ioctl(fd, unix.PPPIOCGFLAGS, unsafe.Pointer(&flags)); err != nil {
		t.Fatal(err)
	}
	for i, p := range []NetworkProtocol{IPv4, IPv6} {
		arg := struct{ protocol, mode int32 }{int32(p), 0}
		if err := ioctl(fd, unix.PPPIOCGNPMODE, unsafe.Pointer(&arg)); err != nil {
			t.Fatal(err)
		}
		modes[i] = arg.mode
	}
	return flags, modes
}

// What a session did with its interface is gone when the next one gets it.
func TestKernelUnitIsUsedAgain(t *testing.T) {
	h := loopback(t, 1)
	a, first := h.lent(1, UnitSpec{MTU: 1400})
	before := descriptors(t)
	h.up(first.Name, "2001:db8::1/128", "") // left up, and with an address that goes when it is set down
	if err := errors.Join(a.Pass(IPv4, true), a.Pass(IPv6, true)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, a)
	if diff := cmp.Diff([]string{first.Name}, h.units()); diff != "" {
		t.Fatal(diff)
	}
	link := h.link(first.Index).Attrs()
	if link.Flags&net.FlagUp != 0 || link.Group != idleGroup || link.Name != first.Name || h.addresses(first.Index) != 0 {
		t.Errorf("an idle interface: %+v", link)
	}
	flags, modes := state(t, h.k.units.idle[0].fd)
	if flags != 0 || modes != [2]int32{npModeDrop, npModeDrop} {
		t.Errorf("an idle unit: flags %x, modes %v", flags, modes)
	}
	b, second := h.lent(2, UnitSpec{})
	if second != first {
		t.Errorf("got %+v, want %+v", second, first)
	}
	link = h.link(second.Index).Attrs()
	if link.Flags&net.FlagUp != 0 || link.Group != 0 || link.MTU != defaultMTU || h.addresses(second.Index) != 0 {
		t.Errorf("an interface used again: %+v", link)
	}
	if stats, err := b.Stats(); err != nil || stats != (Stats{}) {
		t.Errorf("counters of the new session: %+v, %v", stats, err)
	}
	if diff := cmp.Diff(len(before), len(descriptors(t))); diff != "" {
		t.Errorf("descriptors: %s", diff)
	}
	// The kernel takes IPv6 off an interface with an MTU below 1280.
	mustClose(t, b)
	c, _ := h.lent(3, UnitSpec{MTU: 1000})
	mustClose(t, c)
	_, last := h.lent(4, UnitSpec{MTU: 1400})
	if last != first {
		t.Errorf("got %+v, want %+v", last, first)
	}
	h.up(last.Name, "2001:db8::1/128", "")
}

func TestKernelConfiguredUnitVanishes(t *testing.T) {
	h := loopback(t, 1)
	links := h.links()
	for round := range uint16(2) {
		a, u := h.lent(round+1, UnitSpec{Name: "branch"})
		if u.Name != "branch" {
			t.Errorf("got %+v", u)
		}
		mustClose(t, a)
		if diff := cmp.Diff(links, h.links()); diff != "" {
			t.Errorf("after the call: %s", diff)
		}
	}
}

func TestKernelPatternsHaveTheirOwnUnits(t *testing.T) {
	h := loopback(t, 1)
	a, _ := h.lent(1, UnitSpec{Name: "in%d"})
	b, _ := h.lent(2, UnitSpec{Name: "in%d"})
	c, first := h.lent(3, UnitSpec{})
	mustClose(t, b, c, a)
	if diff := cmp.Diff([]string{"in1", first.Name, "in0"}, h.units()); diff != "" {
		t.Error(diff)
	}
	// The longest idle one comes first.
	for i, want := range []string{"in1", "in0", "in2"} {
		if _, u := h.lent(uint16(4+i), UnitSpec{Name: "in%d"}); u.Name != want {
			t.Errorf("got %s, want %s", u.Name, want)
		}
	}
	// A name that is wanted as it is comes from whoever does not use it.
	if _, u := h.lent(7, UnitSpec{Name: first.Name}); u.Name != first.Name {
		t.Errorf("got %+v", u)
	}
	if left := h.units(); len(left) != 0 {
		t.Errorf("idle: %v", left)
	}
	specA, _ := specs(8)
	s := h.session(specA, func([]byte) {})
	if _, err := h.attach(s, UnitSpec{Name: "in0"}); !errors.Is(err, os.ErrExist) {
		t.Errorf("the name of another session: %v", err)
	}
}

// Somebody else may have a name that a pattern would make.
func TestKernelPatternEvadesForeignNames(t *testing.T) {
	h := loopback(t, 1)
	h.must(func() error { return h.nl.LinkAdd(&vnl.Dummy{LinkAttrs: vnl.LinkAttrs{Name: "in0"}}) })
	if _, u := h.lent(1, UnitSpec{Name: "in%d"}); u.Name != "in1" {
		t.Errorf("got %+v", u)
	}
}

func TestKernelPoolIsBounded(t *testing.T) {
	h := newHost(t, 1)
	h.tunnel(1, 11, addrA, addrB)
	links := h.links()
	h.must(func() error {
		k, err := Open(Config{Units: 2})
		if err != nil {
			return err
		}
		defer func() {
			if err := k.Close(); err != nil {
				t.Error(err)
			}
		}()
		var all []*Session
		for i := range uint16(4) {
			spec, _ := specs(i + 1)
			s, err := k.CreateSession(spec, Funcs{})
			if err == nil {
				_, err = s.Attach(UnitSpec{})
			}
			if err != nil {
				return err
			}
			all = append(all, s)
		}
		mustClose(t, all...)
		if diff := cmp.Diff([]string{"ppp0", "ppp1"}, k.units.names()); diff != "" {
			t.Error(diff)
		}
		return nil
	})
	if diff := cmp.Diff(links, h.links()); diff != "" {
		t.Errorf("after the kernel's Close: %s", diff)
	}
}

// Those that are wanted are made while nobody asks, and made again when one is lost.
func TestKernelUnitsAreMadeAhead(t *testing.T) {
	h := loopback(t, 1)
	wait := func(want ...string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			got := h.units()
			diff := cmp.Diff(want, got)
			if diff == "" {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("idle: %s", diff)
			}
		}
	}
	h.k.Stock(map[string]int{"in%d": 2, "": 1})
	wait("ppp0", "in0", "in1")
	link := h.link(h.k.units.idle[1].Index).Attrs()
	if link.Flags&net.FlagUp != 0 || link.Group != idleGroup || link.MTU != defaultMTU {
		t.Errorf("an interface made ahead: %+v", link)
	}
	flags, modes := state(t, h.k.units.idle[1].fd)
	if flags != 0 || modes != [2]int32{npModeDrop, npModeDrop} {
		t.Errorf("a unit made ahead: flags %x, modes %v", flags, modes)
	}
	s, u := h.lent(1, UnitSpec{Name: "in%d"})
	if u.Name != "in0" {
		t.Errorf("got %+v", u)
	}
	h.k.Stock(map[string]int{"in%d": 3, "out%d": 1}) // those in use count, and none is taken away
	wait("ppp0", "in1", "in2", "out0")
	gone := h.link(u.Index)
	h.must(func() error { return h.nl.LinkDel(gone) })
	mustClose(t, s)
	wait("ppp0", "in1", "in2", "out0", "in0")
}

// Whatever somebody did to an interface is not for the next session.
func TestKernelChangedUnitIsNotUsedAgain(t *testing.T) {
	h := loopback(t, 1)
	links := h.links()
	before := descriptors(t)
	session := uint16(0)
	for name, change := range map[string]func(vnl.Link) error{
		"address": func(l vnl.Link) error {
			addr, err := vnl.ParseAddr("192.0.2.1/32")
			return errors.Join(err, h.nl.AddrAdd(l, addr))
		},
		"alias": func(l vnl.Link) error { return h.nl.LinkSetAlias(l, "customer 7") },
		"name":  func(l vnl.Link) error { return h.nl.LinkSetName(l, "wan") },
		"queueing discipline": func(l vnl.Link) error {
			return h.nl.QdiscReplace(vnl.NewPrio(vnl.QdiscAttrs{LinkIndex: l.Attrs().Index, Parent: vnl.HANDLE_ROOT, Handle: 1 << 16}))
		},
		"existence": func(l vnl.Link) error { return h.nl.LinkDel(l) },
	} {
		session++
		a, u := h.lent(session, UnitSpec{})
		link := h.link(u.Index)
		h.must(func() error { return change(link) })
		mustClose(t, a)
		if diff := cmp.Diff(links, h.links()); diff != "" {
			t.Errorf("another %s: %s", name, diff)
		}
		if left := h.units(); len(left) != 0 {
			t.Errorf("another %s: idle %v", name, left)
		}
	}
	if diff := cmp.Diff(before, descriptors(t)); diff != "" {
		t.Errorf("descriptors: %s", diff)
	}
}

// An interface that waits belongs to nobody: it may be deleted, and its number be another's.
func TestKernelIdleUnitMayVanish(t *testing.T) {
	h := loopback(t, 1)
	a, first := h.lent(1, UnitSpec{})
	mustClose(t, a)
	link := h.link(first.Index)
	var foreign int
	h.must(func() (err error) {
		if err := h.nl.LinkDel(link); err != nil {
			return err
		}
		if foreign, err = openPPP(); err != nil {
			return err
		}
		unit := int32(first.Unit)
		return ioctl(foreign, unix.PPPIOCNEWUNIT, unsafe.Pointer(&unit))
	})
	t.Cleanup(func() { _ = unix.Close(foreign) })
	specA, specB := specs(2)
	atA := newInbox()
	a, b := h.session(specA, atA.sink), h.session(specB, func([]byte) {})
	second := h.mustAttach(a, UnitSpec{})
	if second.Unit == first.Unit || second.Index == first.Index {
		t.Errorf("got %+v, which is somebody else's", second)
	}
	if left := h.units(); len(left) != 0 {
		t.Errorf("idle: %v", left)
	}
	mustSend(t, b, frame(ipcp, 1))
	atA.want(t, text(ipcp, 1))
}

// One that was renamed or set up while it waited must not come to a session like that.
func TestKernelIdleUnitMayChange(t *testing.T) {
	h := loopback(t, 1)
	a, first := h.lent(1, UnitSpec{})
	b, second := h.lent(2, UnitSpec{})
	mustClose(t, a, b)
	h.must(func() error {
		return errors.Join(
			h.nl.LinkSetName(&vnl.GenericLink{LinkAttrs: vnl.LinkAttrs{Index: first.Index}}, "wan"),
			h.nl.LinkSetUp(&vnl.GenericLink{LinkAttrs: vnl.LinkAttrs{Index: second.Index}}),
		)
	})
	_, got := h.lent(3, UnitSpec{})
	if flags, _ := h.flags(got.Index); got != second || flags&net.FlagUp != 0 {
		t.Errorf("got %+v, flags %v; want %+v, down", got, flags, second)
	}
	if slices.Contains(h.links(), "wan") {
		t.Error("the renamed interface was not closed")
	}
}

// A process that holds a copy of the PPPoX socket keeps the session alive: its channel stays at the interface.
func TestKernelUnitOfALivingSessionIsNotUsedAgain(t *testing.T) {
	h := loopback(t, 1)
	links := h.links()
	a, _ := h.lent(1, UnitSpec{})
	keeper, err := unix.Dup(a.link)
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, a)
	if left := h.units(); len(left) != 0 {
		t.Errorf("idle: %v", left)
	}
	if diff := cmp.Diff(links, h.links()); diff != "" {
		t.Error(diff)
	}
	if err := unix.Close(keeper); err != nil {
		t.Error(err)
	}
}

// A child that is just being started has copies of all descriptors. The name of the interface is free all the same.
func TestKernelNameIsFreeWhileACopyIsHeld(t *testing.T) {
	h := loopback(t, 1)
	a, first := h.lent(1, UnitSpec{Name: "branch"})
	for _, fd := range []int{a.link, a.channel, a.unit} {
		keeper, err := unix.Dup(fd)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(keeper) })
	}
	mustClose(t, a)
	if _, second := h.lent(2, UnitSpec{Name: "branch"}); second.Name != first.Name {
		t.Errorf("got %+v", second)
	}
}

// The idle clocks of an interface go on from one session to the next.
func TestKernelIdleOfAUnitUsedAgain(t *testing.T) {
	h := loopback(t, 1)
	a, u := h.lent(1, UnitSpec{})
	h.up(u.Name, "192.0.2.1/32", "192.0.2.2/32")
	if err := a.Pass(IPv4, true); err != nil {
		t.Fatal(err)
	}
	h.ping(h.icmp(false), "192.0.2.2", 1)
	sent := time.Now()
	h.clear(u)
	mustClose(t, a)
	until(t, "the clock says more than the next session's age", func() bool { return time.Since(sent) > 1100*time.Millisecond })
	began := time.Now()
	b, again := h.lent(2, UnitSpec{})
	if again != u {
		t.Fatalf("got %+v, want %+v", again, u)
	}
	if idle, err := b.Idle(); err != nil || idle > time.Since(began) {
		t.Errorf("idle %v, %v; the session is less than %v old", idle, err, time.Since(began))
	}
}

// The cost of an interface is paid once: a session that takes one that waits makes none.
func TestKernelManySessionsShareTheUnits(t *testing.T) {
	const sessions, workers = 200, 16
	h := loopback(t, workers)
	var highest int
	for round := range 3 {
		all := make([]*Session, sessions)
		units := make([]Unit, sessions)
		h.each(workers, sessions, func(i int) (err error) {
			spec, _ := specs(uint16(round*sessions + i + 1)) // an id may be taken for a while after its session
			if all[i], err = h.k.CreateSession(spec, Funcs{}); err != nil {
				return err
			}
			units[i], err = all[i].Attach(UnitSpec{Name: "in%d", MTU: 1400})
			return err
		})
		seen := make(map[string]bool)
		for _, u := range units {
			if seen[u.Name] {
				t.Errorf("two sessions have %s", u.Name)
			}
			seen[u.Name] = true
			if round > 0 && u.Index > highest {
				t.Errorf("%+v was made in round %d", u, round)
			}
		}
		for _, u := range units {
			highest = max(highest, u.Index)
		}
		h.each(workers, sessions, func(i int) error { return all[i].Close() })
		if idle := h.units(); len(idle) != sessions {
			t.Errorf("%d interfaces wait", len(idle))
		}
	}
}

// each does something for each number, on the threads of the namespace.
func (h *host) each(threads, n int, do func(i int) error) {
	h.t.Helper()
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	done := make(chan error, threads)
	for range threads {
		go func() {
			done <- h.do(func() (err error) {
				for i := range next {
					if bad := do(i); bad != nil {
						err = errors.Join(err, fmt.Errorf("%d: %w", i, bad))
					}
				}
				return err
			})
		}()
	}
	for range threads {
		if err := <-done; err != nil {
			h.t.Fatal(err)
		}
	}
}
