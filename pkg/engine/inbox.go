package engine

import (
	"net/netip"
	"sync"
	"time"
)

// Bounds of what strangers can put into a shard's inbox. Completions and requests of our own are not bounded: each answers
// something that was.
const (
	maxPackets   = 8192 // of known tunnels
	maxNewcomers = 512  // SCCRQ and the like, not yet of any tunnel
	maxFrames    = 8192 // PPP frames from the kernel
	maxHints     = 1024 // ICMP errors, among the completions
)

// inbox is the only way into a shard.
type inbox struct {
	mu        sync.Mutex
	wake      chan struct{} // capacity 1
	work      []func()
	packets   []packet
	newcomers []packet
	frames    []frame
	closed    bool
	begun     time.Time
	first     time.Duration // since begun: when the item came that waits longest; 0: none waits
}

// packet is a datagram copied out of the transport's buffer.
type packet struct {
	local, remote netip.AddrPort
	data          []byte
}

// frame is a PPP frame of a session.
type frame struct {
	session *session
	data    []byte
}

// batch is what one turn of a shard works on.
type batch struct {
	work      []func()
	packets   []packet
	newcomers []packet
	frames    []frame
	first     time.Duration // when the oldest of them came, by the inbox's clock
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1), begun: time.Now()} }

// clock is the time by which waits are measured. It is never 0.
func (b *inbox) clock() time.Duration { return max(1, time.Since(b.begun)) }

// put adds one item unless its queue is full or the inbox is closed.
func put[T any](b *inbox, queue *[]T, limit int, item T) bool {
	b.mu.Lock()
	ok := !b.closed && (limit == 0 || len(*queue) < limit)
	if ok {
		*queue = append(*queue, item)
		if b.first == 0 {
			b.first = b.clock()
		}
	}
	b.mu.Unlock()
	if ok {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
	return ok
}

// take empties the inbox into t, which gives its memory back for the next turn.
func (b *inbox) take(t *batch) (closed bool) {
	clear(t.work)
	clear(t.packets)
	clear(t.newcomers)
	clear(t.frames)
	b.mu.Lock()
	defer b.mu.Unlock()
	t.work, b.work = b.work, t.work[:0]
	t.packets, b.packets = b.packets, t.packets[:0]
	t.newcomers, b.newcomers = b.newcomers, t.newcomers[:0]
	t.frames, b.frames = b.frames, t.frames[:0]
	t.first, b.first = b.first, 0
	return b.closed
}

// close makes the shard end after what is queued.
func (b *inbox) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}
