package radius

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	codec "layeh.com/radius"
)

const (
	// maxFlying bounds how many records are being sent at a time.
	maxFlying = 32
	// firstPause and maxPause are between two attempts to deliver anything while no server answers, and between two attempts to
	// deliver one record.
	firstPause = time.Second
	maxPause   = time.Minute
	// lossLogEvery bounds how often a loss is logged.
	lossLogEvery = 10 * time.Second
)

// accountant delivers accounting records: one goroutine picks what is sent, one keeps the spool, and each record under way has one.
type accountant struct {
	c       *Client
	ctx     context.Context // of what is under way
	cancel  context.CancelFunc
	running sync.WaitGroup
	wake    chan struct{} // the picker must look again
	dirty   chan struct{} // the keeper must write

	mu        sync.Mutex
	q         *queue
	seq       uint64
	flying    int
	down      int       // how often in a row no server answered; then one record at a time is tried
	downUntil time.Time // and none before
	failed    time.Time // last
	delivered time.Time // last
	closing   bool      // nothing new is taken
	stopped   bool      // nothing is sent any more
	idle      chan struct{}
	unwritten []*entry // wait for the keeper
	finished  []uint64 // on disk, and done with
	written   uint64   // all records up to this one are on disk, or done with
	waiters   []syncWaiter
	counts    RecordCounters
	lossAt    time.Time // of the last log line about a loss
	lossNew   uint64    // since then

	spool  *spool // nil: none; the keeper's
	broken bool   // the keeper's: the file must be made anew
}

// syncWaiter waits in Sync.
type syncWaiter struct {
	seq  uint64
	done chan struct{}
}

func newAccountant(c *Client) (*accountant, error) {
	cfg := c.cfg.Spool
	octets := cmp.Or(cfg.MaxOctets, 64<<20)
	if cfg.Dir != "" {
		octets /= 4
	}
	a := &accountant{
		c: c, wake: make(chan struct{}, 1), dirty: make(chan struct{}, 1), q: newQueue(octets, cmp.Or(cfg.MaxRecords, 65536)),
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	if cfg.Dir != "" {
		if err := a.replay(cfg.Dir); err != nil {
			a.cancel()
			return nil, err
		}
		a.running.Go(a.keep)
	}
	a.running.Go(a.pick)
	return a, nil
}

// replay takes in what an earlier process has left.
func (a *accountant) replay(dir string) error {
	s, found, torn, err := openSpool(dir)
	if err != nil {
		return err
	}
	for _, e := range found {
		a.seq = max(a.seq, e.seq)
		e.onDisk = true
		a.take(e)
		a.counts.Replayed++
	}
	if torn > 0 {
		if err := s.keepDamaged(); err != nil {
			return errors.Join(err, s.close())
		}
		a.c.log.LogAttrs(a.ctx, slog.LevelWarn, "the end of the accounting spool cannot be read, the file is kept: a crash cuts it so",
			slog.String("file", damagedName), slog.Int64("octets", torn))
	}
	if len(found) > 0 {
		a.c.log.LogAttrs(a.ctx, slog.LevelInfo, "accounting records of an earlier run are delivered now",
			slog.Int("records", len(found)))
	}
	a.written, a.finished, a.spool = a.seq, nil, s
	if err := s.rewrite(a.live()); err != nil {
		return errors.Join(err, s.close())
	}
	return nil
}

// live lists the entries that wait, and counts them as on disk.
func (a *accountant) live() []*entry {
	all := make([]*entry, 0, a.q.order.Len())
	for x := a.q.order.Front(); x != nil; x = x.Next() {
		e := x.Value.(*entry)
		e.onDisk = true
		all = append(all, e)
	}
	return all
}

// Account takes a record for delivery and never waits. It is sent as long as it takes, to one server after the other, over restarts of
// the process if there is a spool; an interim record only until a later record of its session is there. When there is no room, the oldest
// interim records are lost first and stop records last; ErrLost says that this one was. After Sync a record is safe from a crash.
func (c *Client) Account(r Record) error {
	if len(c.accounting) == 0 {
		return ErrNoServer
	}
	now := c.cfg.Now()
	if r.At.IsZero() {
		r.At = now
	}
	switch r.Kind {
	case On, Off:
		r.SessionID = cmp.Or(r.SessionID, fmt.Sprintf("%08X", uint32(r.At.Unix())))
	case Start, Stop, Interim:
		if r.SessionID == "" {
			return fmt.Errorf("account %v: no session id", r.Kind)
		}
	default:
		return fmt.Errorf("account: %v is unknown", r.Kind)
	}
	attrs, err := r.attributes(c.cfg.NAS)
	if err != nil {
		return fmt.Errorf("account %v of session %q: %w", r.Kind, cut(r.SessionID, 64), err)
	}
	e := &entry{kind: r.Kind, at: r.At, attrs: attrs}
	if r.Kind.session() {
		e.session = r.SessionID
	}
	return c.account.accept(e)
}

func (a *accountant) accept(e *entry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing {
		return ErrClosed
	}
	a.seq++
	e.seq = a.seq
	a.counts.Accepted++
	kept := a.take(e)
	if kept && a.spool != nil {
		if len(a.unwritten) > 2*a.q.order.Len()+1000 { // the disk is slow, and most of them are not needed any more
			a.unwritten = slices.DeleteFunc(a.unwritten, func(e *entry) bool { return e.gone })
		}
		a.unwritten = append(a.unwritten, e)
	}
	signal(a.dirty) // also for what has gone
	signal(a.wake)
	if !kept {
		return ErrLost
	}
	return nil
}

// take puts an entry into the queue, and counts what goes for it; the mutex is held, or nobody else is there yet.
func (a *accountant) take(e *entry) (kept bool) {
	superseded, lost := a.q.add(e)
	if superseded != nil {
		a.counts.Superseded++
		a.finish(superseded)
	}
	kept = true
	for _, x := range lost {
		a.counts.Lost++
		a.lossNew++
		a.finish(x)
		kept = kept && x != e
	}
	if now := time.Now(); len(lost) > 0 && now.Sub(a.lossAt) >= lossLogEvery {
		x := lost[len(lost)-1]
		a.c.log.LogAttrs(a.ctx, slog.LevelError, "accounting records are lost: no server answers, and there is no more room",
			slog.Uint64("records", a.lossNew), slog.String("last", x.kind.String()), slog.String("session", x.session))
		a.lossAt, a.lossNew = now, 0
	}
	return kept
}

// finish has an entry that is done with forgotten on disk. The mutex is held.
func (a *accountant) finish(e *entry) {
	e.gone = true
	if e.onDisk && a.spool != nil {
		a.finished = append(a.finished, e.seq)
	}
}

// signal wakes who waits on a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pick sends what is due until the accountant is closed.
func (a *accountant) pick() {
	timer := time.NewTimer(math.MaxInt64)
	defer timer.Stop()
	for {
		again, stopped := a.pickNow(time.Now())
		if stopped {
			return
		}
		timer.Stop()
		if !again.IsZero() {
			timer.Reset(max(0, time.Until(again)))
		}
		select {
		case <-a.wake:
		case <-timer.C:
		}
	}
}

// pickNow sends what is due and says when to look again.
func (a *accountant) pickNow(now time.Time) (again time.Time, stopped bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.stopped {
		most := maxFlying
		if a.down > 0 {
			if most = 1; now.Before(a.downUntil) {
				return a.downUntil, false
			}
		}
		if a.flying >= most {
			return time.Time{}, false
		}
		e, again := a.q.next(now)
		if e == nil {
			return again, false
		}
		e.flying = true
		a.flying++
		a.running.Go(func() { a.send(e) })
	}
	return time.Time{}, true
}

// send delivers an entry, or puts it back.
func (a *accountant) send(e *entry) {
	begun := time.Now()
	_, _, err := a.c.ask(a.ctx, a.c.accounting, func(to *endpoint, id uint8) ([]byte, error) {
		return accountingPacket(e.attrs, to.secret, id, a.c.cfg.Now().Sub(e.at)), nil
	}, codec.CodeAccountingResponse)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flying--
	now := time.Now()
	switch {
	case err == nil:
		a.q.remove(e)
		a.finish(e)
		a.counts.Delivered++
		if a.down > 0 { // all may try again
			a.down = 0
			for x := a.q.order.Front(); x != nil; x = x.Next() {
				x.Value.(*entry).due = time.Time{}
			}
		}
		a.delivered = now
	case a.ctx.Err() != nil:
		e.flying = false
	default:
		if a.q.retry(e, now.Add(pause(e.rounds))) {
			a.counts.Superseded++
			a.finish(e)
		}
		if !a.delivered.After(begun) && !a.failed.After(begun) { // else others have told, and this one began with them
			a.down++
			a.failed = now
			a.downUntil = now.Add(pause(a.down - 1))
		}
	}
	if a.idle != nil && (a.q.order.Len() == 0 || a.down > 0 && a.spool != nil) {
		close(a.idle)
		a.idle = nil
	}
	signal(a.dirty)
	signal(a.wake)
}

// pause grows with every failure.
func pause(failures int) time.Duration { return min(firstPause<<min(failures, 10), maxPause) }

// keep writes to the spool until the accountant is closed: all that came while it wrote the last time goes at once.
func (a *accountant) keep() {
	for {
		select {
		case <-a.dirty:
		case <-a.ctx.Done():
			return
		}
		if !a.keepNow() {
			select { // the disk is full or gone: not at once again
			case <-time.After(firstPause):
				signal(a.dirty)
			case <-a.ctx.Done():
			}
		}
	}
}

// keepNow writes what is new, or the whole file anew when most of it is about what is done with, or when writing has gone wrong.
func (a *accountant) keepNow() (ok bool) {
	a.mu.Lock()
	upTo := a.seq
	var b []byte
	var live []*entry
	sync := false
	for _, e := range a.unwritten {
		if !e.gone {
			e.onDisk = true
			b, sync = appendPut(b, e), true
		}
	}
	for _, seq := range a.finished {
		b = appendDone(b, seq)
	}
	a.unwritten, a.finished = nil, nil
	size := a.spool.size + int64(len(b))
	anew := a.broken || size > 2*a.q.maxOctets || size > smallFile && size > 2*a.q.octets
	if anew {
		live = a.live()
	}
	a.mu.Unlock()
	var err error
	switch {
	case anew:
		err = a.spool.rewrite(live)
	case len(b) > 0:
		err = a.spool.write(b, sync)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.counts.DiskErrors++
		if !a.broken {
			a.c.log.LogAttrs(a.ctx, slog.LevelError, "accounting records cannot be written: they wait in memory", slog.Any("err", err))
		}
		a.broken = true
		return false
	}
	a.broken = false
	a.written = upTo
	left := a.waiters[:0]
	for _, w := range a.waiters {
		if w.seq <= upTo {
			close(w.done)
		} else {
			left = append(left, w)
		}
	}
	a.waiters = left
	return true
}

// Sync waits until every record that Account has taken before is on disk, delivered or lost. Without a spool it returns at once.
func (c *Client) Sync(ctx context.Context) error {
	a := c.account
	a.mu.Lock()
	if a.spool == nil || a.written >= a.seq {
		a.mu.Unlock()
		return nil
	}
	w := syncWaiter{seq: a.seq, done: make(chan struct{})}
	a.waiters = append(a.waiters, w)
	a.mu.Unlock()
	signal(a.dirty)
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the accounting spool: %w", ctx.Err())
	case <-a.ctx.Done():
		return ErrClosed
	}
}

// close delivers what it can and keeps the rest. Where there is a spool it does not wait for servers that do not answer.
func (a *accountant) close(ctx context.Context) error {
	a.mu.Lock()
	if a.closing {
		a.mu.Unlock()
		return nil
	}
	a.closing = true
	var idle chan struct{}
	if a.q.order.Len() > 0 && (a.down == 0 || a.spool == nil) {
		idle = make(chan struct{})
		a.idle = idle
	}
	a.mu.Unlock()
	if idle != nil {
		select {
		case <-idle:
		case <-ctx.Done():
		}
	}
	a.mu.Lock()
	a.stopped = true
	a.mu.Unlock()
	a.cancel()
	signal(a.wake)
	a.running.Wait()
	if a.spool != nil {
		a.keepNow() // what came last
	}
	left := a.q.sessions()
	if a.spool == nil {
		if left > 0 {
			return fmt.Errorf("%w: %d with the process, for there is no spool", ErrLost, left)
		}
		return nil
	}
	err := a.spool.close()
	if a.broken {
		err = errors.Join(err, fmt.Errorf("%w: up to %d, for the spool cannot be written", ErrLost, left))
	}
	return err
}

func (a *accountant) counters() RecordCounters {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.counts
	c.Queued, c.Octets = a.q.order.Len(), a.q.octets
	if a.spool != nil {
		c.Spooled = c.Queued - len(a.unwritten)
	}
	if x := a.q.order.Front(); x != nil {
		c.Oldest = x.Value.(*entry).at
	}
	return c
}
