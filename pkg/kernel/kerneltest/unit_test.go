package kerneltest_test

import (
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/kernel/kerneltest"
)

// The longest idle one of a pattern comes first, as on the real kernel.
func TestInterfacesAreUsedAgain(t *testing.T) {
	t.Parallel()
	k := kerneltest.New(kerneltest.Config{Units: 3})
	if err := k.CreateTunnel(kernel.TunnelSpec{ID: 1, PeerID: 11, FD: 7}); err != nil {
		t.Fatal(err)
	}
	next := uint16(0)
	attach := func(name, want string) (*kerneltest.Session, kernel.Unit) {
		t.Helper()
		next++
		s, err := k.CreateSession(kernel.SessionSpec{TunnelID: 1, PeerTunnelID: 11, SessionID: next, PeerID: next}, kernel.Funcs{})
		if err != nil {
			t.Fatal(err)
		}
		u, err := s.Attach(kernel.UnitSpec{Name: name})
		if err != nil || u.Name != want {
			t.Errorf("%q: got %+v, %v; want %s", name, u, err, want)
		}
		return s, u
	}
	end := func(all ...*kerneltest.Session) {
		t.Helper()
		for _, s := range all {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	a, ofA := attach("in%d", "in0")
	b, _ := attach("in%d", "in1")
	end(b, a)
	b, _ = attach("in%d", "in1")
	a, again := attach("in%d", "in0")
	if again != ofA {
		t.Errorf("got %+v, want %+v", again, ofA)
	}
	end(a, b)
	// Another pattern makes its own, and a name that is wanted as it is comes from whoever does not use it.
	c, ofC := attach("", "ppp2")
	d, _ := attach("in1", "in1")
	end(c, d)
	// The configured one has vanished, and what is used now takes the place of what is not.
	e, _ := attach("in%d", "in0")
	f, _ := attach("in%d", "in1")
	g, _ := attach("in%d", "in2")
	end(e, f, g)
	h, ofH := attach("", "ppp2")
	if ofH == ofC {
		t.Errorf("%+v was kept", ofC)
	}
	end(h)
	// Encryption, or whoever deleted it, is the end of an interface.
	j, ofJ := attach("in%d", "in1")
	j.Vanish()
	end(j)
	l, ofL := attach("in%d", "in2")
	if err := l.ArmCompression(mppe(1, 2)); err != nil {
		t.Error(err)
	}
	end(l)
	_, ofM := attach("in%d", "in0")
	if ofM.Index == ofJ.Index || ofM.Index == ofL.Index {
		t.Errorf("%+v was used again", ofM)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	k.Check(t)
}

func TestNameInUseIsRefused(t *testing.T) {
	t.Parallel()
	k := kerneltest.New(kerneltest.Config{Units: -1})
	s := open(t, k, ours, discard)
	if u, err := s.Attach(kernel.UnitSpec{Name: "in%d"}); err != nil || u.Name != "in0" {
		t.Errorf("got %+v, %v", u, err)
	}
	other, err := k.CreateSession(kernel.SessionSpec{TunnelID: 1, PeerTunnelID: 11, SessionID: 3, PeerID: 13}, kernel.Funcs{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Attach(kernel.UnitSpec{Name: "in0"}); !errors.Is(err, os.ErrExist) {
		t.Errorf("taken name: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	u, err := other.Attach(kernel.UnitSpec{Name: "in%d"})
	if diff := cmp.Diff(kernel.Unit{Name: "in0", Index: 3}, u); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	k.Check(t)
}
