package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"golang.org/x/sys/unix"
)

// calmAfter is how long little must happen before memory is given back.
const calmAfter = 5 * time.Second

// smallPages keeps the kernel from joining this process's pages into huge ones, as many distributions have it do: it takes what was
// given back for that, two MiB at a time, of a process that needs some twenty.
func smallPages() {
	_ = unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0) // without, it only takes more
}

// memory gives back what was garbage when a rush of callers is over: Go itself keeps as much as is in use, until it is needed.
type memory struct {
	seen  uint64 // octets that had been allocated at the last look
	freed uint64 // the same, when memory was last given back
}

// tend is called every calmAfter. Looking through all that is in use, which takes some milliseconds for thousands of sessions, is worth
// it once a quarter as much may be garbage.
func (m *memory) tend() {
	allocated, live := heap()
	calm := allocated-m.seen < live/8
	m.seen = allocated
	if calm && allocated-m.freed > live/4 {
		runtime.GC() // what pools have kept goes with the second collection
		debug.FreeOSMemory()
		m.freed = allocated
	}
}

// heap tells how many octets were ever allocated, and how many were in use when that was last looked at.
func heap() (allocated, live uint64) {
	m := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(m)
	return m[0].Value.Uint64(), m[1].Value.Uint64()
}
