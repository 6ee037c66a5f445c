//go:build kernel

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// BenchmarkKernelSessions sets sessions up and takes them down: by a bare loop of the system calls that keeps no books, the interface up
// and with an address; and by this package, which leaves the latter to others, when no interface waits for a session, and when enough
// do. The figures of interest are up/s and down/s. scripts/bench runs it.
func BenchmarkKernelSessions(b *testing.B) {
	if os.Getenv("L2TPD_GUEST") != "1" || os.Getenv("L2TPD_KERNEL") == "native" {
		b.Skip("it works in the machine's own network namespace, as the daemon does")
	}
	f := newField(b)
	for _, x := range []struct {
		name     string
		workers  int
		sessions int
		up       func(worker int, spec SessionSpec) (down func() error, err error)
	}{
		{"bare", 1, 100, f.bare},
		{"bare", 16, 100, f.bare},
		{"bare", 1, 1000, f.bare},
		{"bare", 16, 1000, f.bare},
		{"bare", 1, 5000, f.bare},
		{"bare", 16, 5000, f.bare},
		{"new", 64, 1000, f.through(f.none)},
		{"idle", 64, 1000, f.through(f.k)},
	} {
		b.Run(fmt.Sprintf("%s/%dx%d", x.name, x.workers, x.sessions), func(b *testing.B) {
			if x.name == "idle" {
				f.run(b, x.workers, x.sessions, x.up) // makes those that wait
			}
			var up, down time.Duration
			for range b.N {
				u, d := f.run(b, x.workers, x.sessions, x.up)
				up, down = up+u, down+d
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(x.sessions*b.N)/up.Seconds(), "up/s")
			b.ReportMetric(float64(x.sessions*b.N)/down.Seconds(), "down/s")
		})
	}
}

// field is where the benchmarks take place.
type field struct {
	k     *Kernel
	none  *Kernel       // in which no interface waits
	links []*linkClient // one for each worker of the bare loop
	id    uint16        // of the last session: an id may be taken for a while after it
}

func newField(b *testing.B) *field {
	b.Helper()
	lo, err := vnl.LinkByName("lo")
	if err == nil {
		err = vnl.LinkSetUp(lo)
	}
	if err != nil {
		b.Fatal(err)
	}
	f := &field{}
	if f.k, err = Open(Config{}); err != nil {
		b.Fatal(err)
	}
	if f.none, err = Open(Config{Units: -1}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := errors.Join(f.none.Close(), f.k.Close()); err != nil {
			b.Error(err)
		}
		for _, l := range f.links {
			_ = l.close()
		}
	})
	for range 64 {
		l, err := openLinks()
		if err != nil {
			b.Fatal(err)
		}
		f.links = append(f.links, l)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = unix.Close(fd) })
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 1701}),
		unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 2}, Port: 1701}),
		f.k.CreateTunnel(TunnelSpec{ID: 1, PeerID: 11, FD: fd}),
	)
	if err != nil {
		b.Fatal(err)
	}
	return f
}

// run sets sessions up, and takes them down.
func (f *field) run(b *testing.B, workers, sessions int, begin func(int, SessionSpec) (func() error, error)) (up, down time.Duration) {
	b.Helper()
	ends := make([]func() error, sessions)
	first := f.id%40000 + 1
	f.id = first + uint16(sessions)
	phase := func(do func(worker, i int) error) time.Duration {
		began := time.Now()
		next := make(chan int, sessions)
		for i := range sessions {
			next <- i
		}
		close(next)
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				for i := range next {
					if err := do(w, i); err != nil {
						b.Error(err)
					}
				}
			})
		}
		all.Wait()
		return time.Since(began)
	}
	up = phase(func(w, i int) (err error) {
		spec, _ := specs(first + uint16(i))
		ends[i], err = begin(w, spec)
		return err
	})
	if b.Failed() {
		b.FailNow()
	}
	down = phase(func(_, i int) error { return ends[i]() })
	return up, down
}

// bare makes each session and its interface with nothing but the system calls.
func (f *field) bare(worker int, spec SessionSpec) (func() error, error) {
	pppox, err := connectL2TP(spec)
	if err != nil {
		return nil, err
	}
	number, err := channelOf(pppox)
	if err != nil {
		return nil, err
	}
	channel, err := openPPP()
	if err != nil {
		return nil, err
	}
	if err := attachChannel(channel, number); err != nil {
		return nil, err
	}
	unit, err := openPPP()
	if err != nil {
		return nil, err
	}
	if err := f.links[worker].create(unit, UnitSpec{MTU: 1400}); err != nil {
		return nil, err
	}
	of, err := unitOf(unit)
	if err != nil {
		return nil, err
	}
	index, err := f.links[worker].index(fmt.Sprintf("ppp%d", of))
	if err != nil {
		return nil, err
	}
	if err := f.links[worker].bring(index, spec.SessionID); err != nil {
		return nil, err
	}
	if err := errors.Join(setNPMode(unit, IPv4, false), setNPMode(unit, IPv6, false), connectUnit(channel, of)); err != nil {
		return nil, err
	}
	return func() error {
		return errors.Join(unix.Close(pppox), unix.Close(channel), unix.Close(unit))
	}, nil
}

// bring brings an interface up with an address for each end.
func (c *linkClient) bring(index int, id uint16) error {
	link := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(link[4:], uint32(index))
	binary.NativeEndian.PutUint32(link[8:], unix.IFF_UP)
	binary.NativeEndian.PutUint32(link[12:], unix.IFF_UP)
	addr := []byte{unix.AF_INET, 32, 0, 0, 0, 0, 0, 0}
	binary.NativeEndian.PutUint32(addr[4:], uint32(index))
	e := netlink.NewAttributeEncoder()
	e.Bytes(unix.IFA_LOCAL, []byte{10, 8, 0, 1})
	e.Bytes(unix.IFA_ADDRESS, []byte{10, 9, byte(id >> 8), byte(id)})
	attrs, err := e.Encode()
	if err != nil {
		return err
	}
	for _, m := range []netlink.Message{
		{Header: netlink.Header{Type: unix.RTM_SETLINK, Flags: netlink.Request | netlink.Acknowledge}, Data: link},
		{Header: netlink.Header{Type: unix.RTM_NEWADDR, Flags: netlink.Request | netlink.Acknowledge | netlink.Create}, Data: append(addr, attrs...)},
	} {
		if _, err := c.execute(m); err != nil {
			return err
		}
	}
	return nil
}

// through makes each session as the daemon does.
func (f *field) through(k *Kernel) func(int, SessionSpec) (func() error, error) {
	return func(_ int, spec SessionSpec) (func() error, error) {
		s, err := k.CreateSession(spec, Funcs{})
		if err != nil {
			return nil, err
		}
		if _, err := s.Attach(UnitSpec{MTU: 1400}); err != nil {
			return nil, err
		}
		return s.Close, nil
	}
}
