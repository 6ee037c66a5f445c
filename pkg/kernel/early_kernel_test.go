//go:build kernel

package kernel

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A peer that was just told of its success sends its first requests at once, and Attach is at work then. One frame after each of its
// steps, and one before the first: all come, in order, and once.
func TestKernelAttachDeliversBetweenItsSteps(t *testing.T) {
	h := loopback(t, 1)
	if !h.k.Features().Reinjects {
		t.Fatal("the tests' kernels re-inject")
	}
	for round, idle := range []bool{false, true} { // a new interface, one that waits
		specA, specB := specs(uint16(round) + 1)
		atA := newInbox()
		a, b := h.session(specA, atA.sink), h.session(specB, func([]byte) {})
		sent := byte(0)
		send := func() {
			mustSend(t, b, frame(ipcp, sent))
			sent++
		}
		if waits := len(h.units()) > 0; waits != idle {
			t.Fatalf("an interface waits: %v", waits)
		}
		// The loop must not see the frames in the socket, as it does not when it has other things to do.
		a.reading.Lock()
		a.set(func() { a.bound = true })
		h.k.loop.forget(a.link)
		a.reading.Unlock()
		send() // into the socket, where PPPIOCGCHAN finds it: later than the last look at the socket
		index, err := channelOf(a.link)
		if err != nil {
			t.Fatal(err)
		}
		send() // to the channel, which nobody has
		h.must(func() error {
			channel, err := openPPP()
			if err != nil {
				return err
			}
			if err := attachChannel(channel, index); err != nil {
				return err
			}
			a.set(func() { a.channel = channel })
			return nil
		})
		send() // to the channel's queue
		u, err := connectIdle(a, UnitSpec{})
		if u == nil && err == nil {
			u, err = connectNew(a, UnitSpec{})
		}
		if err != nil {
			t.Fatal(err)
		}
		send() // to the interface's queue, which nobody reads yet
		a.face = u
		a.set(func() { a.unit = u.fd })
		if err := h.k.loop.watch(a.serial, sourceUnit, u.fd); err != nil {
			t.Fatal(err)
		}
		send()
		for i := range sent {
			atA.want(t, text(ipcp, i))
		}
		mustSend(t, b, frame(lcp, 0))
		if err := h.k.loop.watch(a.serial, sourceChannel, a.channel); err != nil {
			t.Fatal(err)
		}
		atA.want(t, text(lcp, 0)) // and nothing twice before it
		mustClose(t, a, b)
	}
}

// The same with Attach itself: the peer's first request is under way at any moment of it.
func TestKernelFirstRequestIsNeverLost(t *testing.T) {
	const rounds = 40
	h := loopback(t, 2)
	for round := range uint16(rounds) {
		specA, specB := specs(round + 1)
		atA := newInbox()
		a, b := h.session(specA, atA.sink), h.session(specB, func([]byte) {})
		begun, sent := make(chan struct{}), make(chan error, 1)
		go func() {
			<-begun
			for range round * 400 { // a moment, that is another one in each round
				_ = unix.Getppid()
			}
			sent <- b.Send(frame(ipcp, byte(round)))
		}()
		close(begun)
		h.mustAttach(a, UnitSpec{})
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		mustSend(t, b, frame(ipcp, 0xff))
		atA.want(t, text(ipcp, byte(round)), text(ipcp, 0xff))
		mustClose(t, a, b)
	}
}
