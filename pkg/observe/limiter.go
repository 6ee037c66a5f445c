package observe

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// LimiterConfig configures a Limiter.
type LimiterConfig struct {
	Burst    int           // lines at once for a new key; 0 means 5
	Interval time.Duration // of summaries, and the silence after which a key is new again; 0 means 1 minute
	MaxKeys  int           // keys remembered; beyond it sources share one key for each event; 0 means 1024
	// MaxSources is how many sources of one event have a key of their own: a flood from forged addresses must not fill the log
	// with first lines. Beyond it sources share one key; 0 means 32.
	MaxSources int
}

// Limiter keeps one source from filling the log. Of each key (event and source) the first lines pass, then one line for each
// interval says how many were held back. It is safe for concurrent use. Its clock is the time that callers pass in.
type Limiter struct {
	cfg     LimiterConfig
	mu      sync.Mutex
	keys    map[limiterKey]*limiterEntry
	sources map[string]int // keys of each event
	swept   time.Time      // when silent keys were last looked for
}

type limiterKey struct{ event, source string }

type limiterEntry struct {
	passed     int       // lines of the burst that went out
	suppressed uint64    // since the last line
	last       time.Time // last event
	next       time.Time // when the next summary may go out
	level      slog.Level
	message    string
}

// others is the source of the key that is shared when memory is full.
const others = "(others)"

// NewLimiter returns a Limiter without keys.
func NewLimiter(cfg LimiterConfig) *Limiter {
	cfg.Burst = cmp.Or(cfg.Burst, 5)
	cfg.Interval = cmp.Or(cfg.Interval, time.Minute)
	cfg.MaxKeys = cmp.Or(cfg.MaxKeys, 1024)
	cfg.MaxSources = cmp.Or(cfg.MaxSources, 32)
	return &Limiter{cfg: cfg, keys: make(map[limiterKey]*limiterEntry), sources: make(map[string]int)}
}

// Line is one event that may be logged.
type Line struct {
	Level   slog.Level
	Message string
	Event   string // one of the program's own words: their number is bounded
	Source  string // whoever caused it, most often an address without its port
	Attrs   []slog.Attr
}

// Log writes line to log unless its key is over its limit. A line that passes after others were held back carries suppressed=N.
func (l *Limiter) Log(ctx context.Context, now time.Time, log *slog.Logger, line Line) {
	if !log.Enabled(ctx, line.Level) {
		return
	}
	suppressed, ok := l.take(now, line)
	if !ok {
		return
	}
	attrs := append(slices.Clone(line.Attrs), slog.String(KeyEvent, line.Event))
	if suppressed > 0 {
		attrs = append(attrs, slog.Uint64("suppressed", suppressed))
	}
	write(ctx, now, log, line.Level, line.Message, attrs...)
}

// write hands one record to log's handler, with the caller's time. A line that cannot be written is lost: there is nowhere to say so.
func write(ctx context.Context, now time.Time, log *slog.Logger, level slog.Level, message string, attrs ...slog.Attr) {
	if !log.Enabled(ctx, level) {
		return
	}
	r := slog.NewRecord(now, level, message, 0)
	r.AddAttrs(attrs...)
	_ = log.Handler().Handle(ctx, r)
}

// take accounts for one line and reports whether it may go out, and how many did not since the last one.
func (l *Limiter) take(now time.Time, line Line) (suppressed uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := limiterKey{event: line.Event, source: line.Source}
	e := l.keys[key]
	if e == nil && l.full(key.event) {
		l.sweep(now)
		if l.full(key.event) {
			key.source = others
			e = l.keys[key]
		}
	}
	if e == nil {
		e = &limiterEntry{}
		l.keys[key] = e
		l.sources[key.event]++
	}
	if e.passed > 0 && now.Sub(e.last) >= l.cfg.Interval {
		e.passed = 0
	}
	e.last, e.level, e.message = now, line.Level, line.Message
	if e.passed < l.cfg.Burst {
		e.passed++
		e.next = now.Add(l.cfg.Interval)
	} else if now.Before(e.next) {
		e.suppressed++
		return 0, false
	}
	suppressed, e.suppressed = e.suppressed, 0
	e.next = now.Add(l.cfg.Interval)
	return suppressed, true
}

// full says that a new source of event must share a key.
func (l *Limiter) full(event string) bool {
	return len(l.keys) >= l.cfg.MaxKeys || l.sources[event] >= l.cfg.MaxSources
}

// sweep is forget at most sixteen times an interval: in a flood every new source would ask for it.
func (l *Limiter) sweep(now time.Time) {
	if now.Sub(l.swept) >= l.cfg.Interval/16 {
		l.swept = now
		l.forget(now)
	}
}

// forget drops keys that have been silent for an interval and owe no summary.
func (l *Limiter) forget(now time.Time) {
	for k, e := range l.keys {
		if e.suppressed == 0 && now.Sub(e.last) >= l.cfg.Interval {
			delete(l.keys, k)
			if l.sources[k.event]--; l.sources[k.event] <= 0 {
				delete(l.sources, k.event)
			}
		}
	}
}

// Flush writes the summaries that are due, so that the end of a flood is reported too, and forgets silent keys. The owner
// calls it about once an interval.
func (l *Limiter) Flush(ctx context.Context, now time.Time, log *slog.Logger) {
	type summary struct {
		limiterKey
		limiterEntry
	}
	var due []summary
	l.mu.Lock()
	for k, e := range l.keys {
		if e.suppressed > 0 && !now.Before(e.next) {
			due = append(due, summary{k, *e})
			e.suppressed, e.next = 0, now.Add(l.cfg.Interval)
		}
	}
	l.forget(now)
	l.mu.Unlock()
	slices.SortFunc(due, func(a, b summary) int {
		return cmp.Or(cmp.Compare(a.event, b.event), cmp.Compare(a.source, b.source))
	})
	for _, s := range due {
		write(ctx, now, log, s.level, s.message,
			slog.String("source", s.source), slog.Uint64("suppressed", s.suppressed), slog.String(KeyEvent, s.event))
	}
}
