//go:build kernel

package kernel

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// withDescriptors runs f while the process can open no more than some descriptors.
func (h *host) withDescriptors(free int, f func()) {
	h.t.Helper()
	limit := unix.Rlimit{}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		h.t.Fatal(err)
	}
	// The lowest free numbers are what the kernel gives: the next one after those is refused.
	var taken []int
	next := 0
	for range free + 1 {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			h.t.Fatal(err)
		}
		taken, next = append(taken, fd), fd
	}
	for _, fd := range taken {
		_ = unix.Close(fd)
	}
	low := limit
	low.Cur = uint64(next)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		h.t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			h.t.Fatal(err)
		}
	}()
	f()
}

// A process out of descriptors bound the socket, had nothing to read the channel with, and left the session deaf.
func TestKernelAttachWithoutDescriptorsChangesNothing(t *testing.T) {
	h := loopback(t, 1)
	specA, specB := specs(1)
	atA, atB := newInbox(), newInbox()
	a, b := h.session(specA, atA.sink), h.session(specB, atB.sink)
	before := descriptors(t)
	h.withDescriptors(0, func() {
		if _, err := h.attach(a, UnitSpec{}); !errors.Is(err, unix.EMFILE) {
			t.Errorf("no descriptor left: %v", err)
		}
	})
	if diff := cmp.Diff(before, descriptors(t)); diff != "" {
		t.Errorf("a failed attach leaks: %s", diff)
	}
	mustSend(t, b, frame(lcp, 1))
	mustSend(t, a, frame(lcp, 2))
	atA.want(t, text(lcp, 1))
	atB.want(t, text(lcp, 2))
	// One is enough for the channel, and frames come through it.
	h.withDescriptors(1, func() {
		if _, err := h.attach(a, UnitSpec{}); !errors.Is(err, unix.EMFILE) {
			t.Errorf("one descriptor left: %v", err)
		}
	})
	mustSend(t, b, frame(lcp, 3))
	atA.want(t, text(lcp, 3))
	h.mustAttach(a, UnitSpec{})
	mustSend(t, b, frame(ipcp, 4))
	atA.want(t, text(ipcp, 4))
}

// A socket cannot be taken back from the PPP driver, but nothing is lost when the channel is found at the second attempt. A thread
// of another namespace does not find it.
func TestKernelAttachFindsTheChannelLater(t *testing.T) {
	h, elsewhere := loopback(t, 1), newHost(t, 1)
	specA, specB := specs(1)
	atA, atB := newInbox(), newInbox()
	a, b := h.session(specA, atA.sink), h.session(specB, atB.sink)
	before := descriptors(t)
	for range 2 {
		if _, err := elsewhere.attach(a, UnitSpec{}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "attach channel") {
			t.Errorf("attach from another namespace: %v", err)
		}
	}
	if diff := cmp.Diff(before, descriptors(t)); diff != "" {
		t.Errorf("a failed attach leaks: %s", diff)
	}
	mustSend(t, a, frame(lcp, 1))
	atB.want(t, text(lcp, 1))
	mustSend(t, b, frame(lcp, 2), frame(ipcp, 3))
	h.mustAttach(a, UnitSpec{})
	atA.want(t, text(lcp, 2), text(ipcp, 3))
	mustSend(t, b, frame(ipcp, 4))
	atA.want(t, text(ipcp, 4))
}
