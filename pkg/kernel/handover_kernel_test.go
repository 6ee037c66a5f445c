//go:build kernel

package kernel

import (
	"errors"
	"os"
	"testing"
)

func TestKernelHandOver(t *testing.T) {
	h := loopback(t, 1)
	for round, sink := range []func([]byte){nil, func([]byte) { t.Error("the sink has got a frame of a session that was handed over") }} {
		specA, specB := specs(uint16(round + 1))
		before := descriptors(t)
		a, b := h.session(specA, func([]byte) {}), h.session(specB, sink)
		if sink == nil { // nobody has read what came before
			mustSend(t, a, frame(lcp, 0))
		}
		f, err := b.HandOver()
		if err != nil {
			t.Fatal(err)
		}
		mustSend(t, a, frame(lcp, 1))
		buf := make([]byte, 100)
		for id := byte(min(round, 1)); id < 2; id++ {
			n, err := f.Read(buf)
			if err != nil || string(buf[:n]) != string(frame(lcp, id)) {
				t.Errorf("frame %d: %x, %v", id, buf[:n], err)
			}
		}
		if got, err := b.Stats(); err != nil || got.RxPackets != uint64(2-round) {
			t.Errorf("stats %+v, %v", got, err)
		}
		// Whoever closes last ends the session.
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if _, err := h.k.SessionInfo(11, specB.SessionID); err != nil {
			t.Errorf("the session has gone before the other descriptor: %v", err)
		}
		if _, err := b.HandOver(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if err := errors.Join(f.Close(), a.Close()); err != nil {
			t.Error(err)
		}
		until(t, "the session is gone", func() bool {
			_, err := h.k.SessionInfo(11, specB.SessionID)
			return errors.Is(err, os.ErrNotExist)
		})
		if after := descriptors(t); len(after) != len(before) {
			t.Errorf("descriptors: %q, then %q", before, after)
		}
	}
	specA, _ := specs(9)
	a := h.session(specA, func([]byte) {})
	h.mustAttach(a, UnitSpec{})
	if _, err := a.HandOver(); !errors.Is(err, os.ErrExist) || err.Error() != "hand over session 1/9: an interface is attached: file already exists" {
		t.Errorf("with an interface: %v", err)
	}
}
