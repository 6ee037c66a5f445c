package kerneltest_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/kernel/kerneltest"
)

// recorder is a testing.TB that keeps what Check would have failed the test for.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Helper()                   {}
func (r *recorder) Errorf(f string, a ...any) { r.errors = append(r.errors, fmt.Sprintf(f, a...)) }

// complaints gives what Check says.
func complaints(k *kerneltest.Kernel) []string {
	var r recorder
	k.Check(&r)
	return r.errors
}

// inbox is a sink.
type inbox struct {
	mu     sync.Mutex
	frames []string
}

func (i *inbox) sink(frame []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.frames = append(i.frames, fmt.Sprintf("%x", frame))
}

func (i *inbox) take() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	defer func() { i.frames = nil }()
	return i.frames
}

func discard([]byte) {}

var (
	ours   = kernel.SessionSpec{TunnelID: 1, PeerTunnelID: 11, SessionID: 2, PeerID: 12}
	theirs = kernel.SessionSpec{TunnelID: 11, PeerTunnelID: 1, SessionID: 12, PeerID: 2}
	lcp    = []byte{0xc0, 0x21, 1, 1, 0, 4}
	ipcp   = []byte{0x80, 0x21, 1, 1, 0, 4}
)

// open makes a tunnel and a session.
func open(t *testing.T, k *kerneltest.Kernel, spec kernel.SessionSpec, sink func([]byte)) *kerneltest.Session {
	t.Helper()
	if err := k.CreateTunnel(kernel.TunnelSpec{ID: spec.TunnelID, PeerID: spec.PeerTunnelID, FD: 7}); err != nil {
		t.Fatal(err)
	}
	s, err := k.CreateSession(spec, kernel.Funcs{OnFrame: sink})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pair makes both ends of a session.
func pair(t *testing.T, cfg kerneltest.Config, sinkA, sinkB func([]byte)) (a, b *kerneltest.Session, ka, kb *kerneltest.Kernel) {
	t.Helper()
	ka, kb = kerneltest.New(cfg), kerneltest.New(cfg)
	kerneltest.Connect(ka, kb)
	return open(t, ka, ours, sinkA), open(t, kb, theirs, sinkB), ka, kb
}

func TestFramesComeOutOfTheOtherKernelInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var atA, atB inbox
		a, b, ka, kb := pair(t, kerneltest.Config{}, atA.sink, atB.sink)
		frame := []byte{0xc0, 0x21, 1, 0, 0, 4}
		var want []string
		for i := range 100 {
			frame[3] = byte(i) // the sender may reuse its buffer at once
			want = append(want, fmt.Sprintf("%x", frame))
			if err := a.Send(frame); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if diff := cmp.Diff(want, atB.take()); diff != "" {
			t.Error(diff)
		}
		if err := b.Send(ipcp); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{"802101010004"}, atA.take()); diff != "" {
			t.Error(diff)
		}
		sa, _ := a.Stats()
		sb, _ := b.Stats()
		if want := (kernel.Stats{TxPackets: 100, TxBytes: 1400, RxPackets: 1, RxBytes: 14}); sa != want {
			t.Errorf("stats %+v, want %+v", sa, want)
		}
		if sb.RxPackets != 100 || sb.TxPackets != 1 {
			t.Errorf("stats %+v", sb)
		}
		for _, s := range []*kerneltest.Session{a, b} {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if got, _ := a.Stats(); got != sa {
			t.Errorf("stats after Close %+v, want the last %+v", got, sa)
		}
		ka.Check(t)
		kb.Check(t)
	})
}

// The kernel drops frames without a number where the peer must number them, and follows the peer elsewhere.
func TestFramesWithoutNumbers(t *testing.T) {
	t.Parallel()
	const reorder = 30 * time.Millisecond
	tests := []struct {
		name     string
		a        kernel.Sequencing // of the session that sends first; the other begins without
		answered bool              // a frame of the other one gets through before it has seen a number
		follows  bool              // the other one numbers its frames afterwards
	}{
		{"nobody numbers", kernel.Sequencing{}, true, false},
		{"nobody numbers to an LNS", kernel.Sequencing{LNS: true}, true, false},
		{"an LNS numbers", kernel.Sequencing{Send: true, LNS: true, Reorder: reorder}, false, true},
		{"numbers are required", kernel.Sequencing{Require: true, Reorder: reorder}, false, false},
		{"both", kernel.Sequencing{Send: true, Require: true, LNS: true, Reorder: reorder}, false, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var atA, atB inbox
				a, b, ka, kb := pair(t, kerneltest.Config{}, atA.sink, atB.sink)
				send := func(s *kerneltest.Session, to *inbox, arrives bool) {
					t.Helper()
					if err := s.Send(lcp); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					if got := len(to.take()); got != map[bool]int{true: 1}[arrives] {
						t.Errorf("%d frames arrived, want %v", got, arrives)
					}
				}
				if err := a.SetSequencing(test.a); err != nil {
					t.Fatal(err)
				}
				send(b, &atA, test.answered)
				if stats, _ := a.Stats(); test.answered != (stats.RxSeqDiscards == 0) || stats.RxSeqDiscards != stats.RxErrors {
					t.Errorf("stats %+v", stats)
				}
				send(a, &atB, true)
				send(b, &atA, test.answered || test.follows)
				if b.State().Numbers != test.follows {
					t.Errorf("the other end numbers its frames: %v", !test.follows)
				}
				ka.Inject(1, 2, lcp) // by a peer that does what the session wants
				synctest.Wait()
				if got := len(atA.take()); got != 1 {
					t.Errorf("%d injected frames arrived", got)
				}
				// Whoever stops is followed as well.
				if err := a.SetSequencing(kernel.Sequencing{LNS: test.a.LNS}); err != nil {
					t.Fatal(err)
				}
				send(a, &atB, true)
				if a.State().Numbers || b.State().Numbers {
					t.Errorf("frames still have numbers: %v, %v", a.State().Numbers, b.State().Numbers)
				}
				send(b, &atA, true)
				for _, s := range []*kerneltest.Session{a, b} {
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}
				ka.Check(t)
				kb.Check(t)
			})
		})
	}
}

func TestNetworkPacketsPassOnlyWhereAllowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var atB inbox
		a, b, ka, kb := pair(t, kerneltest.Config{}, discard, atB.sink)
		packet := []byte{0x45}
		if a.Network(kernel.IPv4, packet) {
			t.Error("a packet left without an interface")
		}
		for _, s := range []*kerneltest.Session{a, b} {
			if _, err := s.Attach(kernel.UnitSpec{}); err != nil {
				t.Fatal(err)
			}
		}
		if a.Network(kernel.IPv4, packet) {
			t.Error("a packet left before Pass")
		}
		if err := a.Pass(kernel.IPv4, true); err != nil {
			t.Fatal(err)
		}
		if !a.Network(kernel.IPv4, packet) {
			t.Error("a packet did not leave after Pass")
		}
		synctest.Wait()
		if b.State().Carried != 0 {
			t.Error("a packet came out of an interface that drops")
		}
		if err := b.Pass(kernel.IPv4, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Second)
		a.Network(kernel.IPv4, packet)
		synctest.Wait()
		if b.State().Carried != 1 {
			t.Errorf("%d packets carried, want 1", b.State().Carried)
		}
		if got := atB.take(); got != nil {
			t.Errorf("the sink got network packets: %v", got)
		}
		time.Sleep(1500 * time.Millisecond)
		if idle, err := b.Idle(); err != nil || idle != time.Second {
			t.Errorf("idle %v, %v; want 1s", idle, err)
		}
		_, _ = a.Close(), b.Close()
		ka.Check(t)
		kb.Check(t)
	})
}

func TestEarlyFramesAreStray(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var strays []string
		ka := kerneltest.New(kerneltest.Config{})
		kb := kerneltest.New(kerneltest.Config{OnStray: func(tunnel, session uint16, frame []byte) {
			strays = append(strays, fmt.Sprintf("%d/%d %x", tunnel, session, frame))
		}})
		kerneltest.Connect(ka, kb)
		a := open(t, ka, ours, discard)
		if err := a.Send(lcp); err != nil {
			t.Fatal(err)
		}
		if ka.Lost() != 1 {
			t.Error("a frame without a tunnel to come out of was not lost")
		}
		if err := kb.CreateTunnel(kernel.TunnelSpec{ID: 11, PeerID: 1}); err != nil {
			t.Fatal(err)
		}
		if err := a.Send(lcp); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{"11/12 c02101010004"}, strays); diff != "" {
			t.Error(diff)
		}
		_ = a.Close()
	})
}

func TestBrokenRulesAreReported(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		cause func(t *testing.T, k *kerneltest.Kernel) error
		is    error
		want  string
	}{
		{"session before its tunnel", func(_ *testing.T, k *kerneltest.Kernel) error {
			_, err := k.CreateSession(ours, kernel.Funcs{})
			return err
		}, os.ErrNotExist, "session 1/2 created before its tunnel"},
		{"tunnel twice", func(_ *testing.T, k *kerneltest.Kernel) error {
			_ = k.CreateTunnel(kernel.TunnelSpec{ID: 1, PeerID: 11})
			return k.CreateTunnel(kernel.TunnelSpec{ID: 1, PeerID: 12})
		}, os.ErrExist, "tunnel 1 created twice"},
		{"session twice", func(t *testing.T, k *kerneltest.Kernel) error {
			s := open(t, k, ours, discard)
			_, err := k.CreateSession(ours, kernel.Funcs{})
			_ = s.Close()
			return err
		}, os.ErrExist, "session 1/2 created twice"},
		{"id 0", func(_ *testing.T, k *kerneltest.Kernel) error {
			return k.CreateTunnel(kernel.TunnelSpec{PeerID: 11})
		}, nil, "create tunnel 0: id 0 is reserved"},
		{"use after close", func(t *testing.T, k *kerneltest.Kernel) error {
			s := open(t, k, ours, discard)
			_ = s.Close()
			return s.Send(lcp)
		}, os.ErrClosed, "send on session 1/2 after Close"},
		{"attach twice", func(t *testing.T, k *kerneltest.Kernel) error {
			s := open(t, k, ours, discard)
			defer s.Close()
			_, _ = s.Attach(kernel.UnitSpec{})
			_, err := s.Attach(kernel.UnitSpec{})
			return err
		}, os.ErrExist, "session 1/2 attached twice"},
		{"pass before attach", func(t *testing.T, k *kerneltest.Kernel) error {
			s := open(t, k, ours, discard)
			defer s.Close()
			return s.Pass(kernel.IPv4, true)
		}, os.ErrNotExist, "pass on session 1/2 before Attach"},
		{"sequencing without reorder", func(t *testing.T, k *kerneltest.Kernel) error {
			s := open(t, k, ours, discard)
			defer s.Close()
			return s.SetSequencing(kernel.Sequencing{Send: true})
		}, nil, "sequencing of session 1/2: the reorder time-out must be 20ms..50ms with sequence numbers"},
		{"session left", func(t *testing.T, k *kerneltest.Kernel) error {
			open(t, k, ours, discard)
			return os.ErrInvalid
		}, nil, "session 1/2 was not closed"},
		{"socket before session", func(t *testing.T, k *kerneltest.Kernel) error {
			s := open(t, k, ours, discard)
			k.SocketClosed(7)
			return errors.Join(s.Close(), os.ErrInvalid)
		}, nil, "socket of tunnel 1 closed before session 1/2"},
		{"use after kernel close", func(t *testing.T, k *kerneltest.Kernel) error {
			_ = k.Close()
			return k.CreateTunnel(kernel.TunnelSpec{ID: 1, PeerID: 11})
		}, os.ErrClosed, "create tunnel 1 after the kernel was closed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := kerneltest.New(kerneltest.Config{})
			err := tt.cause(t, k)
			if err == nil {
				t.Fatal("no error")
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v is not %v", err, tt.is)
			}
			if diff := cmp.Diff([]string{"kerneltest: " + tt.want}, complaints(k)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSocketsAreTracked(t *testing.T) {
	t.Parallel()
	k := kerneltest.New(kerneltest.Config{TrackSockets: true})
	s := open(t, k, ours, discard)
	if err := k.CreateTunnel(kernel.TunnelSpec{ID: 3, PeerID: 4, FD: 7}); !errors.Is(err, unix.EBUSY) {
		t.Errorf("second tunnel on a socket: %v, want EBUSY", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(complaints(k), "\n"); !strings.Contains(got, "socket 7 of tunnel 1 was not closed") {
		t.Errorf("Check says %q", got)
	}
	k.SocketClosed(7)
	if _, err := k.TunnelInfo(1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("tunnel after its socket: %v", err)
	}
}

func TestInjectedFailures(t *testing.T) {
	t.Parallel()
	k := kerneltest.New(kerneltest.Config{})
	s := open(t, k, ours, discard)
	for _, op := range []kerneltest.Op{kerneltest.OpAttach, kerneltest.OpClose} {
		k.Fail(op, unix.ENOMEM)
	}
	if _, err := s.Attach(kernel.UnitSpec{Name: "lan"}); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("attach: %v, want the injected error", err)
	}
	if u, err := s.Attach(kernel.UnitSpec{Name: "lan"}); err != nil || u.Name != "lan" {
		t.Errorf("second attach: %v, %v", u, err)
	}
	if err := s.Close(); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("close: %v, want the injected error", err)
	}
	want := []string{"create tunnel 1", "create session 1/2", "attach 1/2", "attach 1/2", "close 1/2"}
	if diff := cmp.Diff(want, k.Calls()); diff != "" {
		t.Error(diff)
	}
	k.Check(t)
}

func TestHeldCallsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := kerneltest.New(kerneltest.Config{})
		s := open(t, k, ours, discard)
		release := k.Hold(kerneltest.OpAttach)
		done := make(chan error, 1)
		go func() {
			_, err := s.Attach(kernel.UnitSpec{})
			done <- err
		}()
		synctest.Wait()
		if s.State().Attached {
			t.Error("a held call went on")
		}
		release()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = s.Close()
		k.Check(t)
	})
}

func TestNoFrameAfterClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		closed, got := false, 0
		k := kerneltest.New(kerneltest.Config{})
		s := open(t, k, ours, func([]byte) {
			time.Sleep(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			got++
			if closed {
				t.Error("the sink ran after Close")
			}
		})
		for range 10 {
			k.Inject(1, 2, lcp)
		}
		time.Sleep(3500 * time.Microsecond)
		_ = s.Close()
		mu.Lock()
		closed = true
		if got != 4 { // the fourth was under way
			t.Errorf("%d frames, want 4", got)
		}
		mu.Unlock()
		synctest.Wait()
		k.Check(t)
	})
}

func TestVanishedInterfaceIsToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told []error
		k := kerneltest.New(kerneltest.Config{})
		if err := k.CreateTunnel(kernel.TunnelSpec{ID: ours.TunnelID, PeerID: ours.PeerTunnelID, FD: 8}); err != nil {
			t.Fatal(err)
		}
		s, err := k.CreateSession(ours, kernel.Funcs{OnDead: func(err error) { told = append(told, err) }})
		if err != nil {
			t.Fatal(err)
		}
		s.Vanish()
		s.Vanish()
		synctest.Wait()
		if len(told) != 1 || !errors.Is(told[0], os.ErrNotExist) {
			t.Errorf("told %v", told)
		}
		_ = s.Close()
		s.Vanish()
		synctest.Wait()
		if len(told) != 1 {
			t.Error("told after Close")
		}
	})
}

func TestInterfaceNamesAreUnique(t *testing.T) {
	t.Parallel()
	k := kerneltest.New(kerneltest.Config{})
	first := open(t, k, ours, discard)
	spec := ours
	spec.SessionID = 3
	second, err := k.CreateSession(spec, kernel.Funcs{})
	if err != nil {
		t.Fatal(err)
	}
	u1, err := first.Attach(kernel.UnitSpec{Name: "ppp0"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Attach(kernel.UnitSpec{Name: "ppp0"}); !errors.Is(err, os.ErrExist) {
		t.Errorf("taken name: %v", err)
	}
	u2, err := second.Attach(kernel.UnitSpec{})
	if err != nil {
		t.Fatal(err)
	}
	if u2.Name != "ppp1" || u2.Index == u1.Index || u2.Unit == u1.Unit {
		t.Errorf("units %+v and %+v", u1, u2)
	}
	_, _ = first.Close(), second.Close()
	k.Check(t)
}

func TestAHandedOverSessionIsAnothers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b, ka, kb := pair(t, kerneltest.Config{}, discard, func([]byte) { t.Error("a frame") })
		f, err := b.HandOver()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(a.Send(lcp), f.Close()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, err := b.Stats(); err != nil || got.RxPackets != 1 {
			t.Errorf("stats %+v, %v", got, err)
		}
		if err := b.Send(lcp); !errors.Is(err, os.ErrClosed) {
			t.Errorf("send: %v", err)
		}
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Error(err)
		}
		ka.Check(t)
		if diff := cmp.Diff([]string{"kerneltest: send on session 11/12 after HandOver"}, complaints(kb)); diff != "" {
			t.Error(diff)
		}
	})
}
