package engine

import (
	"context"
	"iter"
	"log/slog"
	"net/netip"
	"time"

	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/observe"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/slab"
)

// shard is one goroutine and everything that it alone may touch. Shard 0 has the configured calls, and the tunnels that one
// of them may concern; the others share what is left by source address.
type shard struct {
	e     *Engine
	index int
	inbox *inbox
	due   deadlines
	// outputs are those of the sessions that have something under way.
	outputs slab.Of[call.Output]
	load    load

	tunnels   map[control.TunnelID]*tunnel
	byRemote  map[netip.AddrPort][]*tunnel // by the peer's address and port
	byAddr    map[netip.Addr][]*tunnel     // by its address
	bySource  map[sourceKey]*tunnel        // responder tunnels, by what a repeated SCCRQ shows
	halfOpen  []*tunnel                    // responder tunnels before SCCCN, oldest first; may hold some that have moved on
	half      map[netip.Addr]int           // half-open responder tunnels by source
	nHalf     int
	strangers strangers
	resting   restingIDs
	data      [9]uint64 // counters of sessions that are gone, in the order of dataOf
	dialers   *dialers  // shard 0 only; nil elsewhere
	pools     *pools    // shard 0 only; nil elsewhere
	logins    logins    // shard 0 only; nil elsewhere
	lines     lines     // shard 0 only
	lac       *lac      // shard 0 only; nil elsewhere

	links   map[linkKey]*ppp.Config // of temporary calls under linksOf
	linksOf *policy.Policy

	drained func() // set once the shard is draining: called when the last tunnel has gone
}

// sourceKey is what identifies a peer's tunnel before we have given it an id.
type sourceKey struct {
	remote netip.AddrPort
	peer   control.TunnelID
}

func newShard(e *Engine, index int) *shard {
	s := &shard{
		e: e, index: index, inbox: newInbox(),
		tunnels:   map[control.TunnelID]*tunnel{},
		byRemote:  map[netip.AddrPort][]*tunnel{},
		byAddr:    map[netip.Addr][]*tunnel{},
		bySource:  map[sourceKey]*tunnel{},
		half:      map[netip.Addr]int{},
		resting:   restingIDs{until: map[control.TunnelID]Time{}},
		strangers: newStrangers(),
	}
	if index == 0 {
		s.dialers = newDialers(s)
		s.pools, s.logins, s.lac = newPools(), logins{}, newLAC(s)
		s.lines.byID = map[uint16]*session{}
	}
	return s
}

// post hands f to the shard; false when it has ended.
func (s *shard) post(f func()) bool { return put(s.inbox, &s.inbox.work, 0, f) }

// run is the shard's goroutine.
func (s *shard) run() {
	var b batch
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if closed := s.once(&b); closed {
			return // nothing can have come after what this turn worked on
		}
		now := s.now()
		wait := time.Hour
		if d := s.due.next(); d != 0 {
			wait = max(0, d-now)
		}
		timer.Reset(wait)
		select {
		case <-s.inbox.wake:
		case <-timer.C:
		}
	}
}

// once takes what has come, works on it, and fires the deadlines that are due, unless the inbox is closed.
func (s *shard) once(b *batch) (closed bool) {
	closed = s.inbox.take(b)
	begun := s.inbox.clock()
	s.load.begin(b, begun)
	s.turn(b)
	if now := s.now(); !closed && s.due.next() != 0 && s.due.next() <= now {
		s.load.fired.Add(1)
		s.due.fire(now)
	}
	s.load.run.observe(s.inbox.clock() - begun)
	return closed
}

// turn works on one batch: what we asked for ourselves first, then live tunnels, strangers last.
func (s *shard) turn(b *batch) {
	for _, f := range b.work {
		f()
	}
	for _, f := range b.frames {
		f.session.frame(f.data)
	}
	for _, p := range b.packets {
		s.packet(p)
	}
	for _, p := range b.newcomers {
		s.newcomer(p)
	}
}

func (s *shard) now() Time { return s.e.cfg.Now() }

// ask runs work in the executor and done back here.
func (s *shard) ask(work func() func()) {
	s.e.exec.submit(func() {
		done := work()
		s.post(done)
	})
}

// say writes a line whose message is a sentence made of what happened: an operator reads messages, not attributes.
func say(l *slog.Logger, level slog.Level, msg string, attrs ...slog.Attr) {
	l.LogAttrs(background, level, msg, attrs...) //nolint:sloglint // see above; attributes hold the parts as well
}

// strange writes a rate-limited line about something that a stranger caused.
func (s *shard) strange(level slog.Level, event string, source netip.Addr, msg string, attrs ...slog.Attr) {
	s.e.strange(level, event, source, msg, attrs...)
}

func (e *Engine) strange(level slog.Level, event string, source netip.Addr, msg string, attrs ...slog.Attr) {
	e.strangeBy(level, event, source.String(), msg, attrs...)
}

func (e *Engine) strangeBy(level slog.Level, event, source, msg string, attrs ...slog.Attr) {
	e.cfg.Limiter.Log(context.Background(), e.cfg.WallClock(), e.log, observe.Line{
		Level: level, Message: msg, Event: event, Source: source, Attrs: attrs,
	})
}

// sessions are all of the shard's: those of its tunnels, and the lines.
func (s *shard) sessions() iter.Seq[*session] {
	return func(yield func(*session) bool) {
		for _, t := range s.tunnels {
			for _, x := range t.sessions {
				if !yield(x) {
					return
				}
			}
		}
		for _, x := range s.lines.byID {
			if !yield(x) {
				return
			}
		}
	}
}

// drain closes every tunnel and calls done when the last is gone.
func (s *shard) drain(done func()) {
	s.drained = done
	if s.dialers != nil {
		s.dialers.stop()
	}
	for _, x := range s.lines.byID {
		x.hangUp("stop", "the daemon is stopping")
	}
	for _, t := range s.tunnels {
		t.shutdown()
	}
	s.checkDrained()
}

func (s *shard) checkDrained() {
	if s.drained != nil && len(s.tunnels) == 0 && len(s.lines.byID) == 0 && (s.dialers == nil || s.dialers.quiet()) {
		done := s.drained
		s.drained = nil
		done()
	}
}

// newTunnelID finds a random id of this shard's residue class: the demultiplexer finds the shard by it. Where that one is taken
// the next free one is as good. 0: none is left.
func (s *shard) newTunnelID() control.TunnelID {
	s.resting.prune(s.now())
	n := len(s.e.shards)
	slots := 65535/n + 1
	first := int(s.e.random(int64(slots)))
	for i := range slots {
		id := (first+i)%slots*n + s.index
		if id == 0 || id > 65535 {
			continue
		}
		if t := control.TunnelID(id); s.tunnels[t] == nil && s.resting.until[t] == 0 {
			return t
		}
	}
	return 0
}

// rest is how long a tunnel id stays unused: the kernel deletes in its own time, and late packets must find nobody.
const rest = 2 * time.Minute

// restingIDs are tunnel ids that must not be used again yet.
type restingIDs struct {
	until map[control.TunnelID]Time
	queue []control.TunnelID // the first one's rest ends first
}

func (r *restingIDs) add(id control.TunnelID, now Time) {
	r.prune(now)
	r.until[id] = now + rest
	r.queue = append(r.queue, id)
}

// prune ends the rest of ids whose time has come.
func (r *restingIDs) prune(now Time) {
	for len(r.queue) > 0 && r.until[r.queue[0]] <= now {
		delete(r.until, r.queue[0])
		r.queue = r.queue[1:]
	}
}
