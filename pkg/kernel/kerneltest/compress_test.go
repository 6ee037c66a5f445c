package kerneltest_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/kernel/kerneltest"
)

func mppe(send, receive byte) kernel.Compression {
	return kernel.Compression{
		Send: bytes.Repeat([]byte{send}, 16), Receive: bytes.Repeat([]byte{receive}, 16), Options: [4]byte{1, 0, 0, 0x40},
	}
}

// ccp is a Configure-Request or a Configure-Ack for MPPE.
func ccp(code byte) []byte { return []byte{0x80, 0xfd, code, 1, 0, 10, 18, 6, 1, 0, 0, 0x40} }

// negotiate exchanges CCP both ways.
func negotiate(t *testing.T, a, b *kerneltest.Session) {
	t.Helper()
	for _, code := range []byte{1, 2} {
		if err := errors.Join(a.Send(ccp(code)), b.Send(ccp(code))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	}
}

func TestPacketsAreEncrypted(t *testing.T) {
	t.Parallel()
	packet := []byte{0x45, 1, 2, 3}
	tests := []struct {
		name     string
		ofA, ofB kernel.Compression
		carried  uint64
		require  bool
		want     []string // what reaches the sink of b after CCP
	}{
		{"crossed keys", mppe(1, 2), mppe(2, 1), 1, true, []string{"c02101010004"}},
		{"another key", mppe(1, 2), mppe(2, 3), 0, true, []string{"c02101010004"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var atB inbox
				var wire []string
				cfg := kerneltest.Config{OnSend: func(_ kernel.SessionSpec, frame []byte) { wire = append(wire, fmt.Sprintf("%x", frame)) }}
				a, b, ka, kb := pair(t, cfg, discard, atB.sink)
				for _, s := range []*kerneltest.Session{a, b} {
					if _, err := s.Attach(kernel.UnitSpec{}); err != nil {
						t.Fatal(err)
					}
				}
				if err := errors.Join(a.ArmCompression(tt.ofA), b.ArmCompression(tt.ofB)); err != nil {
					t.Fatal(err)
				}
				if err := a.OpenCompression(true); err == nil {
					t.Error("open before the Configure-Acks")
				}
				negotiate(t, a, b)
				err := errors.Join(a.OpenCompression(tt.require), b.OpenCompression(tt.require), a.Pass(kernel.IPv4, true), b.Pass(kernel.IPv4, true))
				if err != nil {
					t.Fatal(err)
				}
				if !a.State().Encrypting {
					t.Error("open, and not encrypting")
				}
				atB.take()
				wire = nil
				a.Network(kernel.IPv4, packet)
				if err := a.Send(lcp); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if diff := cmp.Diff([]string{"00fdffdebafefdfc", "c02101010004"}, wire); diff != "" {
					t.Errorf("on the wire: %s", diff)
				}
				if diff := cmp.Diff(tt.want, atB.take()); diff != "" {
					t.Errorf("at the sink: %s", diff)
				}
				if got := b.State().Carried; got != tt.carried {
					t.Errorf("%d packets carried, want %d", got, tt.carried)
				}
				if err := errors.Join(a.Close(), b.Close()); err != nil {
					t.Error(err)
				}
				ka.Check(t)
				kb.Check(t)
			})
		})
	}
}

// The kernel bears with some frames that make no sense, one after each Reset-Ack, and then with none.
func TestDecryptingIsGivenUp(t *testing.T) {
	t.Parallel()
	const bears = 15
	noise, resetAck := []byte{0x00, 0xfd, 0, 0, 1}, []byte{0x80, 0xfd, 15, 1, 0, 4}
	for _, require := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var atA inbox
			a, b, ka, kb := pair(t, kerneltest.Config{}, atA.sink, discard)
			for _, s := range []*kerneltest.Session{a, b} {
				if _, err := s.Attach(kernel.UnitSpec{}); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(a.ArmCompression(mppe(1, 2)), b.ArmCompression(mppe(2, 1))); err != nil {
				t.Fatal(err)
			}
			negotiate(t, a, b)
			err := errors.Join(a.OpenCompression(require), b.OpenCompression(require), a.Pass(kernel.IPv4, true), b.Pass(kernel.IPv4, true))
			if err != nil {
				t.Fatal(err)
			}
			say := func(frames ...[]byte) (got int) {
				t.Helper()
				atA.take()
				for _, f := range frames {
					if err := b.Send(f); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				return len(atA.take())
			}
			carried := func() uint64 {
				before := a.State().Carried
				b.Network(kernel.IPv4, []byte{0x45})
				synctest.Wait()
				return a.State().Carried - before
			}
			for n := range bears {
				if got := say(noise, noise); got != 2 {
					t.Fatalf("%d frames of two at the sink", got)
				}
				if carried() != 0 {
					t.Fatal("decrypted before the Reset-Ack")
				}
				say(resetAck)
				if broken, err := a.CompressionBroken(); broken || err != nil || carried() != 1 {
					t.Fatalf("after %d frames: broken %v, %v", n+1, broken, err)
				}
			}
			got := say(noise, resetAck, lcp)
			if want := map[bool]int{true: 1, false: 3}[require]; got != want {
				t.Errorf("require %v: %d frames at the sink, want %d", require, got, want)
			}
			if broken, err := a.CompressionBroken(); !broken || err != nil || carried() != 0 {
				t.Errorf("broken %v, %v", broken, err)
			}
			if err := errors.Join(a.Close(), b.Close()); err != nil {
				t.Error(err)
			}
			ka.Check(t)
			kb.Check(t)
		})
	}
}

func TestCompressionOutOfOrderIsSeen(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   func(a, b *kerneltest.Session)
		want string
	}{
		{
			"armed too late", func(a, _ *kerneltest.Session) { _ = a.Send(ccp(2)) },
			"kerneltest: session 1/2 acknowledged MPPE before compression was armed",
		},
		{
			"opened unarmed", func(a, _ *kerneltest.Session) { _ = a.OpenCompression(false) },
			"kerneltest: compression of session 1/2 opened before it was armed",
		},
		{
			"bad keys", func(a, _ *kerneltest.Session) { _ = a.ArmCompression(kernel.Compression{}) },
			"kerneltest: arm compression of session 1/2: the keys must have 16 octets",
		},
		{
			"packets after the peer began anew", func(a, b *kerneltest.Session) {
				_, _ = a.ArmCompression(mppe(1, 2)), b.ArmCompression(mppe(2, 1))
				negotiate(t, a, b)
				_, _ = a.OpenCompression(true), a.Pass(kernel.IPv4, true)
				_ = b.Send(ccp(1))
				synctest.Wait()
				a.Network(kernel.IPv4, []byte{0x45})
			},
			"kerneltest: session 1/2 sent a packet in clear, and encryption is required",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a, b, ka, kb := pair(t, kerneltest.Config{}, discard, discard)
				for _, s := range []*kerneltest.Session{a, b} {
					if _, err := s.Attach(kernel.UnitSpec{}); err != nil {
						t.Fatal(err)
					}
				}
				tt.do(a, b)
				synctest.Wait()
				_, _ = a.Close(), b.Close()
				if diff := cmp.Diff([]string{tt.want}, complaints(ka)); diff != "" {
					t.Error(diff)
				}
				kb.Check(t)
			})
		})
	}
}

func TestCompressionNeedsAnInterface(t *testing.T) {
	t.Parallel()
	k := kerneltest.New(kerneltest.Config{})
	s := open(t, k, ours, discard)
	if err := s.ArmCompression(mppe(1, 2)); err == nil {
		t.Error("armed without an interface")
	}
	_ = s.Close()
	if diff := cmp.Diff([]string{"kerneltest: arm compression on session 1/2 before Attach"}, complaints(k)); diff != "" {
		t.Error(diff)
	}
}
