//go:build kernel

package kernel

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestKernelFramesBothWaysOnPPPoX(t *testing.T) {
	h := loopback(t, 1)
	specA, specB := specs(1)
	atA, atB := newInbox(), newInbox()
	a, b := h.session(specA, atA.sink), h.session(specB, atB.sink)
	for i := range byte(50) {
		mustSend(t, a, frame(lcp, i))
		mustSend(t, b, frame(chap, i))
	}
	for i := range byte(50) {
		atA.want(t, text(chap, i))
		atB.want(t, text(lcp, i))
	}
}

func TestKernelInfoAndStats(t *testing.T) {
	h := loopback(t, 1)
	specA, specB := specs(1)
	specA.Sequencing = Sequencing{LNS: true, Reorder: 40 * time.Millisecond}
	atB := newInbox()
	a, b := h.session(specA, func([]byte) {}), h.session(specB, atB.sink)
	mustSend(t, a, frame(lcp, 1), frame(lcp, 2))
	atB.want(t, text(lcp, 1), text(lcp, 2))

	tunnel, err := h.k.TunnelInfo(1)
	if err != nil {
		t.Fatal(err)
	}
	wantTunnel := TunnelInfo{
		ID: 1, PeerID: 11, UDPChecksum: true, Local: netip.MustParseAddrPort(addrA), Remote: netip.MustParseAddrPort(addrB),
	}
	if diff := cmp.Diff(wantTunnel, tunnel, compareAddrs); diff != "" {
		t.Error(diff)
	}
	sent, err := a.Stats()
	if err != nil {
		t.Fatal(err)
	}
	// 6 octets of header, FF 03, 10 of frame.
	if want := (Stats{TxPackets: 2, TxBytes: 36}); sent != want {
		t.Errorf("sender's stats %+v, want %+v", sent, want)
	}
	if got, err := b.Stats(); err != nil || got.RxPackets != 2 || got.RxBytes == 0 {
		t.Errorf("receiver's stats %+v, %v", got, err)
	}
	info, err := h.k.SessionInfo(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	wantInfo := SessionInfo{
		TunnelID: 1, PeerTunnelID: 11, SessionID: 1, PeerID: 10001, Sequencing: specA.Sequencing, Stats: sent,
	}
	if diff := cmp.Diff(wantInfo, info); diff != "" {
		t.Error(diff)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := a.Stats(); err != nil || got != sent {
		t.Errorf("stats after Close %+v, %v; want the last ones", got, err)
	}
	if _, err := h.k.TunnelInfo(2); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent tunnel: %v", err)
	}
	until(t, "the session is gone", func() bool {
		_, err := h.k.SessionInfo(1, 1)
		return errors.Is(err, os.ErrNotExist)
	})
}

func TestKernelErrors(t *testing.T) {
	h := loopback(t, 1)
	specA, _ := specs(1)
	a := h.session(specA, func([]byte) {})
	other := h.socket("127.0.0.1:1702", "127.0.0.2:1702")
	stray := specA
	stray.TunnelID = 999
	before := descriptors(t)
	tests := []struct {
		name string
		call func() error
		is   error
		want string
	}{
		{
			"taken tunnel id", func() error { return h.k.CreateTunnel(TunnelSpec{ID: 1, PeerID: 5, FD: other}) },
			os.ErrExist, "create tunnel 1: file exists",
		},
		{
			"bad socket", func() error { return h.k.CreateTunnel(TunnelSpec{ID: 3, PeerID: 5, FD: 9999}) },
			unix.EBADF, "create tunnel 3: bad file descriptor",
		},
		{
			"no tunnel", func() error { _, err := h.k.CreateSession(stray, Funcs{}); return err },
			os.ErrNotExist, "create session 999/1: connect pppox: no such file or directory",
		},
		{
			"taken session id", func() error { _, err := h.k.CreateSession(specA, Funcs{}); return err },
			os.ErrExist, "create session 1/1: connect pppox: file exists",
		},
		{
			"numbering without reorder", func() error { return a.SetSequencing(Sequencing{Send: true}) },
			errReorder, "set sequencing of session 1/1: the reorder time-out must be 20ms..50ms with sequence numbers",
		},
		{
			"pass before attach", func() error { return a.Pass(IPv4, true) },
			os.ErrNotExist, "pass ipv4 on session 1/1: no interface is attached: file does not exist",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := h.do(tt.call)
			if err == nil || err.Error() != tt.want || !errors.Is(err, tt.is) {
				t.Errorf("error %q, want %q that is %v", err, tt.want, tt.is)
			}
		})
	}
	if diff := cmp.Diff(before, descriptors(t)); diff != "" {
		t.Errorf("failed calls leak: %s", diff)
	}
}

func TestKernelAttachMayBeTriedAgain(t *testing.T) {
	h := loopback(t, 1)
	specA, specB := specs(1)
	atA, atB := newInbox(), newInbox()
	a, b := h.session(specA, atA.sink), h.session(specB, atB.sink)
	_, err := h.attach(a, UnitSpec{Name: "lo", MTU: 1400})
	if !errors.Is(err, os.ErrExist) || !strings.HasPrefix(err.Error(), "attach session 1/1: create interface lo: file exists") {
		t.Errorf("taken name: %v", err)
	}
	before := descriptors(t)
	if _, err := h.attach(a, UnitSpec{Name: "lo"}); !errors.Is(err, os.ErrExist) {
		t.Errorf("taken name again: %v", err)
	}
	if diff := cmp.Diff(before, descriptors(t)); diff != "" {
		t.Errorf("a failed attach leaks: %s", diff)
	}
	// The session carries frames as before.
	mustSend(t, a, frame(lcp, 1))
	mustSend(t, b, frame(lcp, 2), frame(ipcp, 3))
	atB.want(t, text(lcp, 1))
	atA.want(t, text(lcp, 2), text(ipcp, 3))

	u := h.mustAttach(a, UnitSpec{Name: "lan0", MTU: 1400})
	if u.Name != "lan0" || u.Index == 0 {
		t.Errorf("unit %+v", u)
	}
	if flags, mtu := h.flags(u.Index); flags&net.FlagUp != 0 || mtu != 1400 {
		t.Errorf("flags %v, mtu %d; want down, 1400", flags, mtu)
	}
	if _, err := h.attach(a, UnitSpec{}); !errors.Is(err, os.ErrExist) {
		t.Errorf("second attach: %v", err)
	}
	// A pattern takes the lowest number that is free.
	if u := h.mustAttach(b, UnitSpec{Name: "lns%d"}); u.Name != "lns0" || !slices.Contains(h.links(), u.Name) {
		t.Errorf("unit %+v among %v", u, h.links())
	}
}

// Without a name the kernel gives one.
func TestKernelUnitWithoutName(t *testing.T) {
	h := loopback(t, 1)
	specA, _ := specs(1)
	a := h.session(specA, newInbox().sink)
	if u := h.mustAttach(a, UnitSpec{}); u.Name != fmt.Sprintf("ppp%d", u.Unit) || !slices.Contains(h.links(), u.Name) {
		t.Errorf("unit %+v among %v", u, h.links())
	}
}

func TestKernelAttachedSessionsRouteByProtocol(t *testing.T) {
	h := loopback(t, 1)
	specA, specB := specs(1)
	atA, atB := newInbox(), newInbox()
	a, b := h.session(specA, atA.sink), h.session(specB, atB.sink)
	// What comes before the attach is read before what comes after.
	mustSend(t, a, frame(ipcp, 1))
	h.mustAttach(b, UnitSpec{})
	h.mustAttach(a, UnitSpec{})
	for i, p := range []uint16{lcp, ipcp, ccp, chap, 0x8057, 0x4021} {
		mustSend(t, a, frame(p, byte(i)))
		mustSend(t, b, frame(p, byte(i)))
		if i == 0 {
			atB.want(t, text(ipcp, 1))
		}
		atA.want(t, text(p, byte(i)))
		atB.want(t, text(p, byte(i)))
	}
}

// stream sends numbered frames of three protocols until done is closed, and a few more. At most 8 are under way, because
// PPP queues 32 frames and drops the oldest.
type stream struct {
	got    chan [2]int // protocol and number
	window chan struct{}
	done   chan struct{}
	sent   int
	all    sync.WaitGroup
}

func newStream() *stream {
	return &stream{got: make(chan [2]int, 1<<16), window: make(chan struct{}, 8), done: make(chan struct{})}
}

func (st *stream) sink(f []byte) {
	st.got <- [2]int{int(f[0])<<8 | int(f[1]), int(f[8])<<8 | int(f[9])}
	<-st.window
}

func (st *stream) run(t *testing.T, from *Session) {
	st.all.Go(func() {
		for left := 30; left > 0; st.sent++ {
			select {
			case st.window <- struct{}{}:
			case <-time.After(wait):
				t.Errorf("frames were lost: %d were sent, %d came", st.sent, len(st.got))
				return
			}
			f := frame([]uint16{lcp, ipcp, chap}[st.sent%3], 0)
			f[8], f[9] = byte(st.sent>>8), byte(st.sent)
			if err := from.Send(f); err != nil {
				t.Error(err)
				return
			}
			select {
			case <-st.done:
				left--
			default:
			}
		}
	})
}

// finish gives the numbers that came, by protocol, once all did.
func (st *stream) finish(t *testing.T) map[int][]int {
	t.Helper()
	close(st.done)
	st.all.Wait()
	numbers := make(map[int][]int)
	for range st.sent {
		f := receive(t, st.got)
		numbers[f[0]] = append(numbers[f[0]], f[1])
	}
	return numbers
}

// want gives the numbers that should have come.
func (st *stream) want() map[int][]int {
	numbers := make(map[int][]int)
	for n := range st.sent {
		p := []int{lcp, ipcp, chap}[n%3]
		numbers[p] = append(numbers[p], n)
	}
	return numbers
}

// Whoever attaches while the peer sends gets each frame once, be it from the socket, the channel or the unit.
func TestKernelAttachLosesNothing(t *testing.T) {
	h := loopback(t, 1)
	if !h.k.Features().Reinjects {
		t.Fatal("the tests' kernels re-inject")
	}
	for round := range uint16(10) {
		specA, specB := specs(round + 1)
		st := newStream()
		a, b := h.session(specA, func([]byte) {}), h.session(specB, st.sink)
		st.run(t, a)
		h.mustAttach(b, UnitSpec{})
		got := st.finish(t)
		for _, numbers := range got {
			slices.Sort(numbers) // the changeover itself may reorder
		}
		if diff := cmp.Diff(st.want(), got); diff != "" {
			t.Errorf("round %d: %s", round, diff)
		}
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	}
}

// From the channel to the unit the frames of each protocol keep their order: IPCP moves from the one to the other.
func TestKernelAttachKeepsOrder(t *testing.T) {
	h := loopback(t, 1)
	for round := range uint16(10) {
		specA, specB := specs(round + 1)
		st := newStream()
		a, b := h.session(specA, func([]byte) {}), h.session(specB, st.sink)
		if _, err := h.attach(b, UnitSpec{Name: "lo"}); !errors.Is(err, os.ErrExist) {
			t.Fatalf("taken name: %v", err)
		}
		st.run(t, a)
		h.mustAttach(b, UnitSpec{})
		got := st.finish(t)
		if diff := cmp.Diff(st.want(), got); diff != "" {
			t.Errorf("round %d: %s", round, diff)
		}
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	}
}

// What waits in the socket when Attach begins is read before what comes later.
func TestKernelAttachReadsTheSocketFirst(t *testing.T) {
	h := loopback(t, 2)
	specA, specB := specs(1)
	held, release := make(chan struct{}), make(chan struct{})
	atB := newInbox()
	first := true
	a := h.session(specA, func([]byte) {})
	b := h.session(specB, func(f []byte) {
		atB.sink(f)
		if first {
			first = false
			close(held)
			<-release
		}
	})
	mustSend(t, a, frame(lcp, 0))
	<-held
	for i := range byte(150) { // more than a burst and what a channel queues
		mustSend(t, a, frame(ipcp, i+1))
	}
	attached := make(chan error)
	go func() {
		_, err := h.attach(b, UnitSpec{})
		attached <- err
	}()
	until(t, "Attach has begun", func() bool {
		alone := b.op.TryLock()
		if alone {
			b.op.Unlock()
		}
		return !alone
	})
	close(release)
	if err := <-attached; err != nil {
		t.Fatal(err)
	}
	mustSend(t, a, frame(ipcp, 151))
	atB.want(t, text(lcp, 0))
	for i := range byte(151) {
		atB.want(t, text(ipcp, i+1))
	}
}

func TestKernelPing(t *testing.T) {
	a, b := newHost(t, 1), newHost(t, 1)
	wire(t, a, b, "10.9.0.1/24", "10.9.0.2/24")
	a.tunnel(1, 11, "10.9.0.1:1701", "10.9.0.2:1701")
	b.tunnel(11, 1, "10.9.0.2:1701", "10.9.0.1:1701")
	specA, specB := specs(1)
	atB := newInbox()
	sa, sb := a.session(specA, func([]byte) {}), b.session(specB, atB.sink)
	ua, ub := a.mustAttach(sa, UnitSpec{Name: "left", MTU: 1400}), b.mustAttach(sb, UnitSpec{Name: "right", MTU: 1400})
	a.up(ua.Name, "192.0.2.1/32", "192.0.2.2/32")
	b.up(ub.Name, "192.0.2.2/32", "192.0.2.1/32")
	a.up(ua.Name, "2001:db8::1/128", "2001:db8::2/128")
	b.up(ub.Name, "2001:db8::2/128", "2001:db8::1/128")
	for _, tt := range []struct {
		p  NetworkProtocol
		to string
	}{{IPv4, "192.0.2.2"}, {IPv6, "2001:db8::2"}} {
		icmp := a.icmp(tt.p == IPv6)
		if err := sa.Pass(tt.p, true); err != nil {
			t.Fatal(err)
		}
		a.ping(icmp, tt.to, 1) // dropped there
		mustSend(t, sa, frame(lcp, 1))
		atB.want(t, text(lcp, 1))
		if err := sb.Pass(tt.p, true); err != nil {
			t.Fatal(err)
		}
		for seq := byte(2); seq < 5; seq++ {
			a.ping(icmp, tt.to, seq)
			if got := a.pong(icmp); got != seq {
				t.Errorf("%v: reply %d, want %d", tt.p, got, seq)
			}
		}
		if err := sb.Pass(tt.p, false); err != nil {
			t.Fatal(err)
		}
		a.ping(icmp, tt.to, 5)
		mustSend(t, sa, frame(lcp, 2))
		atB.want(t, text(lcp, 2))
		if err := sb.Pass(tt.p, true); err != nil {
			t.Fatal(err)
		}
		a.ping(icmp, tt.to, 6)
		if got := a.pong(icmp); got != 6 {
			t.Errorf("%v: reply %d, want 6: what came in between was not dropped", tt.p, got)
		}
	}
	stats, err := sb.Stats()
	if err != nil || stats.TxPackets < 8 || stats.RxPackets < 16 || stats.RxErrors != 0 {
		t.Errorf("stats %+v, %v", stats, err)
	}
	if idle, err := sb.Idle(); err != nil || idle > wait {
		t.Errorf("idle %v, %v", idle, err)
	}
}

// A fresh unit's own idle clocks say 200 days.
func TestKernelIdleIsNoMoreThanTheAge(t *testing.T) {
	h := loopback(t, 1)
	specA, _ := specs(1)
	a := h.session(specA, func([]byte) {})
	began := time.Now()
	h.mustAttach(a, UnitSpec{})
	idle, err := a.Idle()
	if err != nil || idle < 0 || idle > time.Since(began) {
		t.Errorf("idle %v, %v", idle, err)
	}
}

// A frame that is here before its session reaches the tunnel's socket, one for the session but before Attach the sink.
func TestKernelEarlyFrames(t *testing.T) {
	h := newHost(t, 1)
	h.tunnel(1, 11, addrA, addrB)
	socket := h.tunnel(11, 1, addrB, addrA)
	specA, specB := specs(1)
	a := h.session(specA, func([]byte) {})
	mustSend(t, a, frame(lcp, 1))
	buf := make([]byte, 1500)
	n, err := unix.Read(socket, buf)
	if want := dataMessage(0x0002, 11, 10001, "ff03"+text(lcp, 1)); err != nil || hex.EncodeToString(buf[:max(n, 0)]) != want {
		t.Errorf("the tunnel's socket got %x, %v; want %s", buf[:max(n, 0)], err, want)
	}
	atB := newInbox()
	h.session(specB, atB.sink)
	mustSend(t, a, frame(lcp, 2))
	atB.want(t, text(lcp, 2))
}

func TestKernelIPv6Outer(t *testing.T) {
	h := newHost(t, 1)
	h.tunnel(1, 11, "[::1]:1701", "[::1]:1702")
	h.tunnel(11, 1, "[::1]:1702", "[::1]:1701")
	specA, specB := specs(1)
	atB := newInbox()
	a, b := h.session(specA, func([]byte) {}), h.session(specB, atB.sink)
	mustSend(t, a, frame(lcp, 1))
	atB.want(t, text(lcp, 1))
	h.mustAttach(b, UnitSpec{})
	mustSend(t, a, frame(ipcp, 2))
	atB.want(t, text(ipcp, 2))
	info, err := h.k.TunnelInfo(1)
	if err != nil {
		t.Fatal(err)
	}
	want := TunnelInfo{
		ID: 1, PeerID: 11, UDPChecksum: true,
		Local: netip.MustParseAddrPort("[::1]:1701"), Remote: netip.MustParseAddrPort("[::1]:1702"),
	}
	if diff := cmp.Diff(want, info, compareAddrs); diff != "" {
		t.Error(diff)
	}
}

// Old cores find a session by socket and session id alone, so they mix the two up; Features tells.
func TestKernelTwoTunnelsOfOne5Tuple(t *testing.T) {
	a, b := newHost(t, 1), newHost(t, 1)
	wire(t, a, b, "10.9.0.1/24", "10.9.0.2/24")
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(uname.Release[:])
	if old := strings.HasPrefix(release, "6.1."); a.k.Features().NewCore == old {
		t.Fatalf("%s: new core %v", release, !old)
	}
	if !a.k.Features().NewCore {
		return
	}
	boxes := []inbox{newInbox(), newInbox()}
	var senders []*Session
	for i := range uint16(2) {
		a.tunnel(i+1, i+11, "10.9.0.1:1701", "10.9.0.2:1701")
		b.tunnel(i+11, i+1, "10.9.0.2:1701", "10.9.0.1:1701")
		senders = append(senders, a.session(SessionSpec{TunnelID: i + 1, PeerTunnelID: i + 11, SessionID: 7, PeerID: 7},
			func([]byte) {}))
		b.session(SessionSpec{TunnelID: i + 11, PeerTunnelID: i + 1, SessionID: 7, PeerID: 7}, boxes[i].sink)
	}
	for n := range byte(20) {
		for i, s := range senders {
			mustSend(t, s, frame(lcp, 2*n+byte(i)))
		}
	}
	for n := range byte(20) {
		for i := range senders {
			boxes[i].want(t, text(lcp, 2*n+byte(i)))
		}
	}
}

func TestKernelDeletedInterfaceIsTold(t *testing.T) {
	h := loopback(t, 1)
	before := descriptors(t)
	specA, specB := specs(1)
	told := make(chan error, 4)
	atA := newInbox()
	var a *Session
	h.must(func() (err error) {
		a, err = h.k.CreateSession(specA, Funcs{atA.sink, func(err error) { told <- err }})
		return err
	})
	b := h.session(specB, func([]byte) {})
	u := h.mustAttach(a, UnitSpec{Name: "doomed"})
	mustSend(t, b, frame(ipcp, 1))
	atA.want(t, text(ipcp, 1))
	h.must(func() error {
		link, err := h.nl.LinkByIndex(u.Index)
		if err != nil {
			return err
		}
		return h.nl.LinkDel(link)
	})
	if err := receive(t, told); !errors.Is(err, os.ErrNotExist) ||
		!strings.HasPrefix(err.Error(), "the interface of session 1/1 is gone") {
		t.Errorf("told %v", err)
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	if len(told) != 0 {
		t.Errorf("told again: %v", <-told)
	}
	if diff := cmp.Diff(before, descriptors(t)); diff != "" {
		t.Error(diff)
	}
}

func TestKernelSinkIsSilentAfterClose(t *testing.T) {
	h := loopback(t, 1)
	for round := range uint16(10) {
		specA, specB := specs(round + 1)
		var mu sync.Mutex
		closed := false
		came := make(chan struct{}, 1)
		a := h.session(specA, func([]byte) {})
		b := h.session(specB, func([]byte) {
			mu.Lock()
			defer mu.Unlock()
			if closed {
				t.Error("a frame after Close")
			}
			select {
			case came <- struct{}{}:
			default:
			}
		})
		if round%2 == 1 {
			h.mustAttach(b, UnitSpec{})
		}
		stop := make(chan struct{})
		var sender sync.WaitGroup
		sender.Go(func() {
			for i := byte(0); ; i++ {
				select {
				case <-stop:
					return
				default:
					if err := a.Send(frame(lcp, i)); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
		receive(t, came)
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		mu.Lock()
		closed = true
		mu.Unlock()
		close(stop)
		sender.Wait()
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestKernelNothingIsLeftAfterManySessions(t *testing.T) {
	const sessions, workers = 200, 16
	h := loopback(t, workers)
	links, before := h.links(), descriptors(t)
	ids := make(chan uint16)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for id := range ids {
				err := h.do(func() error {
					specA, _ := specs(id)
					s, err := h.k.CreateSession(specA, Funcs{})
					if err != nil {
						return err
					}
					u, err := s.Attach(UnitSpec{Name: fmt.Sprintf("lan%d", id), MTU: 1400})
					if err == nil && u.Name != fmt.Sprintf("lan%d", id) {
						err = fmt.Errorf("session %d got %+v", id, u)
					}
					return errors.Join(err, s.Pass(IPv4, true), s.Close())
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	began := time.Now()
	for id := range uint16(sessions) {
		ids <- id + 1
	}
	close(ids)
	all.Wait()
	t.Logf("%d sessions in %v", sessions, time.Since(began).Round(time.Millisecond))
	if diff := cmp.Diff(before, descriptors(t)); diff != "" {
		t.Errorf("descriptors: %s", diff)
	}
	if diff := cmp.Diff(links, h.links()); diff != "" {
		t.Errorf("interfaces: %s", diff)
	}
}

// The driver refuses a new interface by rtnetlink (EBUSY) whenever somebody else is inside it, as a pppd that makes a unit.
func TestKernelAttachOutlastsRivals(t *testing.T) {
	h := loopback(t, 3)
	stop := make(chan struct{})
	var rivals sync.WaitGroup
	for range 2 {
		rivals.Go(func() {
			err := h.do(func() error {
				for {
					select {
					case <-stop:
						return nil
					default:
					}
					fd, err := openPPP()
					if err != nil {
						return err
					}
					unit := int32(-1)
					err = ioctl(fd, unix.PPPIOCNEWUNIT, unsafe.Pointer(&unit))
					if err = errors.Join(err, unix.Close(fd)); err != nil {
						return err
					}
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	for id := range uint16(20) {
		specA, _ := specs(id + 1)
		a := h.session(specA, func([]byte) {})
		if _, err := h.attach(a, UnitSpec{Name: fmt.Sprintf("lan%d", id)}); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	rivals.Wait()
}

func TestKernelCloseTakesSessionsAlong(t *testing.T) {
	h := newHost(t, 1)
	h.tunnel(1, 11, addrA, addrB)
	links, before := h.links(), descriptors(t)
	var k *Kernel
	var s *Session
	h.must(func() error {
		var err error
		if k, err = Open(Config{Workers: 2}); err != nil {
			return err
		}
		for i := range uint16(8) {
			spec, _ := specs(i + 1)
			if s, err = k.CreateSession(spec, Funcs{}); err != nil {
				return err
			}
		}
		_, err = s.Attach(UnitSpec{})
		return err
	})
	for range 2 {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(before, descriptors(t)); diff != "" {
		t.Errorf("descriptors: %s", diff)
	}
	if diff := cmp.Diff(links, h.links()); diff != "" {
		t.Errorf("interfaces: %s", diff)
	}
	if err := s.Send(frame(lcp, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("send after the kernel's Close: %v", err)
	}
}
