package kerneltest_test

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/kernel/kerneltest"
)

var subscriber = kernel.PPPoESpec{Interface: "eth1", SessionID: 7, Peer: [6]byte{2, 0, 0, 0, 0, 1}}

// tty gives a file that stands for one.
func tty(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// lac is a kernel with one session of L2TP, whose other end is at another kernel, and what left to subscribers.
type lac struct {
	k, far       *kerneltest.Kernel
	l2tp, lns    *kerneltest.Session
	atL2TP       inbox
	atLNS, right inbox // right: at the subscriber
}

func newLAC(t *testing.T) *lac {
	t.Helper()
	l := &lac{far: kerneltest.New(kerneltest.Config{})}
	l.k = kerneltest.New(kerneltest.Config{OnAccess: func(_ *kerneltest.Session, frame []byte) { l.right.sink(frame) }})
	kerneltest.Connect(l.k, l.far)
	l.l2tp, l.lns = open(t, l.k, ours, l.atL2TP.sink), open(t, l.far, theirs, l.atLNS.sink)
	return l
}

func (l *lac) pppoe(t *testing.T, spec kernel.PPPoESpec, sink func([]byte)) *kerneltest.Session {
	t.Helper()
	s, err := l.k.OpenPPPoE(spec, kernel.Funcs{OnFrame: sink})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// end closes all and lets the kernels complain.
func (l *lac) end(t *testing.T, sessions ...*kerneltest.Session) {
	t.Helper()
	for _, s := range append(sessions, l.l2tp, l.lns) {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	l.k.Check(t)
	l.far.Check(t)
}

// want compares what came, after all had time to.
func (i *inbox) want(t *testing.T, what string, frames ...[]byte) {
	t.Helper()
	synctest.Wait()
	var want []string
	for _, f := range frames {
		want = append(want, fmt.Sprintf("%x", f))
	}
	if diff := cmp.Diff(want, i.take()); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

func send(t *testing.T, s *kerneltest.Session, frame []byte) {
	t.Helper()
	if err := s.Send(frame); err != nil {
		t.Error(err)
	}
}

func TestBridgeCarriesFramesBothWays(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"pppoe", "line"} {
		synctest.Test(t, func(t *testing.T) {
			l := newLAC(t)
			var here inbox
			var s *kerneltest.Session
			if kind == "pppoe" {
				if s = l.pppoe(t, subscriber, here.sink); l.k.PPPoE(subscriber) != s {
					t.Error("the session is not found")
				}
			} else {
				var err error
				if s, err = l.k.OpenLine(kernel.LineSpec{TTY: tty(t)}, kernel.Funcs{OnFrame: here.sink}); err != nil {
					t.Fatal(err)
				}
				if l.k.Line(os.DevNull) != s {
					t.Error("the line is not found")
				}
				if err := s.SetACCM(0, 5); err != nil || s.State().ACCM != [2]uint32{0, 5} {
					t.Errorf("accm %v, %v", s.State().ACCM, err)
				}
			}
			s.Inject(lcp)
			here.want(t, "before the bridge", lcp)
			if err := s.Bridge(l.l2tp); err != nil {
				t.Fatal(err)
			}
			if s.State().Peer != l.l2tp || l.l2tp.State().Peer != s {
				t.Error("they are not each other's peers")
			}
			s.Inject(ipcp)
			send(t, l.lns, lcp)
			l.atLNS.want(t, "at the LNS", ipcp)
			l.right.want(t, "at the subscriber", lcp)
			send(t, s, ipcp)
			l.right.want(t, "sent to the subscriber", ipcp)
			stats, err := l.l2tp.Stats()
			if want := (kernel.Stats{TxPackets: 1, TxBytes: 14, RxPackets: 1, RxBytes: 14}); err != nil || stats != want {
				t.Errorf("stats %+v, %v; want %+v", stats, err, want)
			}
			here.want(t, "the access side's sink")
			l.atL2TP.want(t, "the L2TP side's sink")

			if err := errors.Join(l.l2tp.Relay(lcp), s.Relay(ipcp)); err != nil {
				t.Error(err)
			}
			l.right.want(t, "relayed to the subscriber", lcp)
			l.atLNS.want(t, "relayed to the LNS", ipcp)
			l.end(t, s)
		})
	}
}

// An L2TP session that was bridged has no descriptor of its channel: what comes after the other side was closed is seen by nobody.
func TestBridgeEndsWithEitherSide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLAC(t)
		var here inbox
		s := l.pppoe(t, subscriber, here.sink)
		if err := errors.Join(s.Bridge(l.l2tp), s.Close()); err != nil {
			t.Fatal(err)
		}
		send(t, l.lns, lcp)
		l.atL2TP.want(t, "without the other side")
		if err := l.l2tp.Relay(lcp); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("relay without a bridge: %v", err)
		}
		if l.k.Lost() != 1 || l.l2tp.State().Peer != nil {
			t.Errorf("%d lost, peer %v", l.k.Lost(), l.l2tp.State().Peer)
		}
		s = l.pppoe(t, subscriber, here.sink)
		if err := errors.Join(s.Bridge(l.l2tp), l.l2tp.Close()); err != nil {
			t.Fatal(err)
		}
		s.Inject(lcp)
		here.want(t, "after the L2TP side was closed", lcp)
		l.end(t, s)
	})
}

func TestAccessDies(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"fresh", "bridged", "attached"} {
		synctest.Test(t, func(t *testing.T) {
			l := newLAC(t)
			var told []error
			var here inbox
			s, err := l.k.OpenPPPoE(subscriber, kernel.Funcs{OnFrame: here.sink, OnDead: func(err error) { told = append(told, err) }})
			if err != nil {
				t.Fatal(err)
			}
			switch state {
			case "bridged":
				err = s.Bridge(l.l2tp)
			case "attached":
				_, err = s.Attach(kernel.UnitSpec{})
			}
			if err != nil {
				t.Fatal(err)
			}
			l.k.Down("eth1")
			s.Die()
			synctest.Wait()
			if want := state != "fresh"; (len(told) == 1) != want {
				t.Errorf("%s: told %v", state, told)
			}
			if err := s.Send(lcp); (state == "attached") != (err == nil) || err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: send on a dead session: %v", state, err)
			}
			synctest.Wait()
			if len(told) != 1 || !errors.Is(told[0], os.ErrNotExist) {
				t.Errorf("%s: told %v", state, told)
			}
			s.Inject(lcp)
			send(t, l.lns, lcp)
			here.want(t, "from the dead")
			l.right.want(t, "to the dead")
			other := subscriber
			other.SessionID++
			if _, err := l.k.OpenPPPoE(other, kernel.Funcs{}); !errors.Is(err, os.ErrNotExist) || !errors.Is(err, unix.ENODEV) {
				t.Errorf("on an interface that is down: %v", err)
			}
			l.k.Up("eth1")
			l.end(t, s, l.pppoe(t, other, discard))
		})
	}
}

// The interface counts for a session that is not of L2TP, and nothing does before.
func TestAccessIsCountedByItsInterface(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLAC(t)
		s := l.pppoe(t, subscriber, discard)
		send(t, s, ipcp)
		if _, err := s.Attach(kernel.UnitSpec{}); err != nil {
			t.Fatal(err)
		}
		send(t, s, lcp)
		send(t, s, ipcp)
		if err := s.Pass(kernel.IPv4, true); err != nil {
			t.Error(err)
		}
		s.Inject([]byte{0, 0x21, 1, 2, 3})
		synctest.Wait()
		want := kernel.Stats{TxPackets: 1, TxBytes: 4, RxPackets: 1, RxBytes: 3}
		if got, err := s.Stats(); err != nil || got != want || s.State().Carried != 1 {
			t.Errorf("stats %+v, %v; want %+v", got, err, want)
		}
		l.end(t, s)
	})
}

func TestBrokenRulesOfAccessAreReported(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, l *lac, s *kerneltest.Session) error
		is   error
	}{
		{"twice", func(_ *testing.T, l *lac, _ *kerneltest.Session) error {
			_, err := l.k.OpenPPPoE(subscriber, kernel.Funcs{})
			return err
		}, os.ErrExist},
		{"invalid", func(_ *testing.T, l *lac, _ *kerneltest.Session) error {
			_, err := l.k.OpenPPPoE(kernel.PPPoESpec{}, kernel.Funcs{})
			return err
		}, nil},
		{"no tty", func(_ *testing.T, l *lac, _ *kerneltest.Session) error {
			_, err := l.k.OpenLine(kernel.LineSpec{}, kernel.Funcs{})
			return err
		}, nil},
		{"self", func(_ *testing.T, _ *lac, s *kerneltest.Session) error { return s.Bridge(s) }, nil},
		{"foreign", func(_ *testing.T, l *lac, s *kerneltest.Session) error { return s.Bridge(l.lns) }, nil},
		{"attached", func(t *testing.T, l *lac, s *kerneltest.Session) error {
			if _, err := l.l2tp.Attach(kernel.UnitSpec{}); err != nil {
				t.Error(err)
			}
			return s.Bridge(l.l2tp)
		}, os.ErrExist},
		{"bridged", func(t *testing.T, l *lac, s *kerneltest.Session) error {
			if err := s.Bridge(l.l2tp); err != nil {
				t.Error(err)
			}
			return s.Bridge(l.l2tp)
		}, os.ErrExist},
		{"attach a bridged one", func(t *testing.T, l *lac, s *kerneltest.Session) error {
			if err := s.Bridge(l.l2tp); err != nil {
				t.Error(err)
			}
			_, err := l.l2tp.Attach(kernel.UnitSpec{})
			return err
		}, os.ErrExist},
		{"closed", func(t *testing.T, l *lac, s *kerneltest.Session) error {
			if err := l.l2tp.Close(); err != nil {
				t.Error(err)
			}
			return s.Bridge(l.l2tp)
		}, os.ErrClosed},
		{"handed over", func(t *testing.T, l *lac, s *kerneltest.Session) error {
			f, err := l.l2tp.HandOver()
			if err != nil {
				t.Error(err)
			}
			_ = f.Close()
			return s.Bridge(l.l2tp)
		}, nil},
		{"sequencing", func(_ *testing.T, _ *lac, s *kerneltest.Session) error { return s.SetSequencing(kernel.Sequencing{}) }, nil},
		{"accm", func(_ *testing.T, _ *lac, s *kerneltest.Session) error { return s.SetACCM(0, 0) }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLAC(t)
			s := l.pppoe(t, subscriber, discard)
			if err := tt.do(t, l, s); err == nil || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v, want %v", err, tt.is)
			}
			for _, x := range []*kerneltest.Session{s, l.l2tp} {
				if err := x.Close(); err != nil {
					t.Error(err)
				}
			}
			if got := complaints(l.k); len(got) != 1 {
				t.Errorf("complaints %q", got)
			}
		})
	}
}

// What the test injects comes back, and the calls are noted.
func TestAccessCallsMayFail(t *testing.T) {
	t.Parallel()
	l := newLAC(t)
	s := l.pppoe(t, subscriber, discard)
	for op, call := range map[kerneltest.Op]func() error{
		kerneltest.OpOpenPPPoE: func() error { _, err := l.k.OpenPPPoE(subscriber, kernel.Funcs{}); return err },
		kerneltest.OpOpenLine:  func() error { _, err := l.k.OpenLine(kernel.LineSpec{TTY: os.Stdin}, kernel.Funcs{}); return err },
		kerneltest.OpBridge:    func() error { return s.Bridge(l.l2tp) },
		kerneltest.OpSetACCM:   func() error { return s.SetACCM(0, 0) },
	} {
		l.k.Fail(op, unix.EIO)
		if err := call(); !errors.Is(err, unix.EIO) {
			t.Errorf("%v: %v", op, err)
		}
	}
	if calls := l.k.Calls(); calls[2] != "open pppoe eth1/020000000001/7" {
		t.Errorf("calls %q", calls)
	}
	l.end(t, s)
}
