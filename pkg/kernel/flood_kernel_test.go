//go:build kernel

package kernel

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// packet is an IPv4 packet with a word in it.
func packet(from, to string, word uint32) []byte {
	b := make([]byte, 32)
	b[0], b[3], b[8], b[9] = 0x45, 32, 64, unix.IPPROTO_UDP
	src, dst := netip.MustParseAddr(from).As4(), netip.MustParseAddr(to).As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum+sum>>16))
	b[21], b[23], b[25] = 9, 9, 12 // ports and length
	binary.BigEndian.PutUint32(b[28:], word)
	return b
}

// tap gives a socket that sees the IPv4 packets which an interface receives.
func (h *host) tap(index int) int {
	h.t.Helper()
	var fd int
	h.must(func() (err error) {
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: 0x0008, Ifindex: index})
	})
	return fd
}

// flood is all that is sent without end while an interface goes from session to session.
type flood struct {
	stop    atomic.Bool
	current sync.RWMutex // held over the sending of what bears a number
	number  uint32
	peers   []*Session // current
	all     sync.WaitGroup
}

// peer sends control frames and packets on the sessions of earlier peers and of the last one, each with its own number.
func (f *flood) peer() {
	for !f.stop.Load() {
		f.current.RLock()
		for i, s := range f.peers {
			number := binary.BigEndian.AppendUint32(frame(ipcp, 0)[:6], uint32(i))
			_ = s.Send(number)
			_ = s.Send(append([]byte{0x00, 0x21}, packet("192.0.2.2", "192.0.2.1", uint32(i))...))
		}
		f.current.RUnlock()
	}
}

// local sends packets into the interface, each with the number of the session that it is meant for.
func (f *flood) local(fd int) {
	to := &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 2}, Port: 9}
	for !f.stop.Load() {
		f.current.RLock()
		_ = unix.Sendto(fd, binary.BigEndian.AppendUint32(nil, f.number), 0, to) // the interface may be down
		f.current.RUnlock()
	}
}

// An interface carries no frame of an earlier session to a later one, nor a packet that was sent to the earlier session's peer.
func TestKernelUnitCarriesNothingOver(t *testing.T) {
	const rounds = 12
	h := loopback(t, 2)
	f := &flood{}
	var udp int
	h.must(func() (err error) {
		udp, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	})
	defer unix.Close(udp)
	f.all.Go(f.peer)
	f.all.Go(func() { f.local(udp) })
	defer f.all.Wait()
	defer f.stop.Store(true)
	var interfaces []Unit
	var came, left, tapped atomic.Int64
	for round := range uint32(rounds) {
		specA, specB := specs(uint16(round) + 1)
		a := h.session(specA, func(frame []byte) {
			if came.Add(1); binary.BigEndian.Uint32(frame[len(frame)-4:]) != round {
				t.Errorf("session %d received %x", round, frame)
			}
		})
		b := h.session(specB, func(frame []byte) {
			if frame[0] == 0x00 && frame[1] == 0x21 && len(frame) >= 34 && frame[11] == unix.IPPROTO_UDP {
				if left.Add(1); binary.BigEndian.Uint32(frame[30:]) != round {
					t.Errorf("what was sent to peer %d came to peer %d: %x", binary.BigEndian.Uint32(frame[30:]), round, frame)
				}
			}
		})
		f.current.Lock()
		f.number = round
		f.peers = append(f.peers, b)
		f.current.Unlock()
		u := h.mustAttach(a, UnitSpec{MTU: 1400})
		interfaces = append(interfaces, u)
		tap := h.tap(u.Index)
		if err := a.Pass(IPv4, true); err != nil {
			t.Fatal(err)
		}
		h.up(u.Name, "192.0.2.1/32", "192.0.2.2/32")
		before := left.Load()
		until(t, "packets flow both ways", func() bool {
			buf := make([]byte, 100)
			n, err := unix.Read(tap, buf)
			if err == nil && n >= 32 {
				if tapped.Add(1); binary.BigEndian.Uint32(buf[28:]) != round {
					t.Errorf("the interface received %x of an earlier session in round %d", buf[:n], round)
				}
			}
			return err == nil && left.Load() > before+20
		})
		_ = unix.Close(tap)
		h.clear(u)
		mustClose(t, a)
	}
	for _, u := range interfaces {
		if u != interfaces[0] {
			t.Errorf("the sessions had %+v and %+v: nothing is proven", interfaces[0], u)
		}
	}
	t.Logf("%d control frames, %d packets received, %d sent", came.Load(), tapped.Load(), left.Load())
}

// clear takes the addresses off an interface, which stays up.
func (h *host) clear(u Unit) {
	h.t.Helper()
	link := h.link(u.Index)
	h.must(func() error {
		addrs, err := h.nl.AddrList(link, unix.AF_INET)
		if err != nil {
			return err
		}
		for _, addr := range addrs {
			if err := h.nl.AddrDel(link, &addr); err != nil {
				return err
			}
		}
		return nil
	})
}
