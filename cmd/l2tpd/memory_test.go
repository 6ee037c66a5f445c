package main

import (
	"runtime"
	"runtime/metrics"
	"testing"

	"golang.org/x/sys/unix"
)

// Garbage is given back when nothing more comes, and not again before there is more.
func TestMemoryIsGivenBackOnceItIsCalm(t *testing.T) {
	released := func() uint64 {
		s := []metrics.Sample{{Name: "/gc/cycles/forced:gc-cycles"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	var m memory
	runtime.GC() // tells what is in use
	_, live := heap()
	before := released()
	for allocated := uint64(0); allocated <= 2*live; allocated += 1 << 16 {
		sink = make([]byte, 1<<16)
	}
	m.tend()
	if n := released() - before; n != 0 {
		t.Errorf("given back %d times during the rush", n)
	}
	m.tend()
	m.tend()
	if n := released() - before; n != 2 { // a collection for what is in use, one for what pools keep
		t.Errorf("given back %d times after the rush, want twice, once for pools", n)
	}
}

func TestNoHugePages(t *testing.T) {
	smallPages()
	on, err := unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0)
	if err != nil || on != 1 {
		t.Errorf("huge pages are not disabled: %d, %v", on, err)
	}
}

var sink []byte
