//go:build kernel

package kernel

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// BenchmarkKernelSessions sets sessions with interfaces up and takes them down: by a bare loop of the system calls that keeps no
// books, by this package when no interface waits for a session, and when enough do. The figures of interest are up/s and down/s. scripts/bench runs it.
func BenchmarkKernelSessions(b *testing.B) {
	if os.Getenv("L2TPD_GUEST") != "1" || os.Getenv("L2TPD_KERNEL") == "native" {
		b.Skip("it works in the machine's own network namespace, as the daemon does")
	}
	f := newField(b)
	for _, workers := range []int{1, 16, 64} {
		for _, way := range []struct {
			name string
			up   func(worker int, spec SessionSpec) (down func() error, err error)
		}{
			{"bare", f.bare}, {"new", f.through(f.none)}, {"idle", f.through(f.k)},
		} {
			b.Run(fmt.Sprintf("%s/%d", way.name, workers), func(b *testing.B) {
				var up, down time.Duration
				sessions := min(192, 48*workers)
				if way.name == "idle" {
					f.run(b, 16, sessions, way.up) // makes those that wait
				}
				for range b.N {
					u, d := f.run(b, workers, sessions, way.up)
					up, down = up+u, down+d
				}
				b.ReportMetric(float64(sessions*b.N)/up.Seconds(), "up/s")
				b.ReportMetric(float64(sessions*b.N)/down.Seconds(), "down/s")
			})
		}
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
	pppox, err := connectPPPoX(spec)
	if err != nil {
		return nil, err
	}
	index, err := channelOf(pppox)
	if err != nil {
		return nil, err
	}
	channel, err := openPPP()
	if err != nil {
		return nil, err
	}
	if err := attachChannel(channel, index); err != nil {
		return nil, err
	}
	unit, err := openPPP()
	if err != nil {
		return nil, err
	}
	if err := f.links[worker].create(unit, UnitSpec{MTU: 1400}); err != nil {
		return nil, err
	}
	number, err := unitOf(unit)
	if err != nil {
		return nil, err
	}
	if _, err := f.links[worker].index(fmt.Sprintf("ppp%d", number)); err != nil {
		return nil, err
	}
	if err := errors.Join(setNPMode(unit, IPv4, false), setNPMode(unit, IPv6, false), connectUnit(channel, number)); err != nil {
		return nil, err
	}
	return func() error {
		return errors.Join(unix.Close(pppox), unix.Close(channel), unix.Close(unit))
	}, nil
}

// through makes each session as the daemon does.
func (f *field) through(k *Kernel) func(int, SessionSpec) (func() error, error) {
	return func(_ int, spec SessionSpec) (func() error, error) {
		s, err := k.CreateSession(spec, func([]byte) {})
		if err != nil {
			return nil, err
		}
		if _, err := s.Attach(UnitSpec{MTU: 1400}); err != nil {
			return nil, err
		}
		return s.Close, nil
	}
}
