package observe

import (
	"context"
	"encoding/binary"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/l2tpd/l2tpd/pkg/backlog"
)

// Entry is a record that a Ring keeps.
type Entry struct {
	Seq     uint64 // from 1, in the order in which they came
	Time    time.Time
	Level   slog.Level
	Event   string // machine-readable name; empty: the record has none
	Message string
	Fields  []Field // by the keys of the log, the event's name left out
}

// words are texts that records have in common, by number: they are kept once.
type words struct {
	numbers map[string]uint64
	texts   []string
}

const (
	maxWords = 512 // more would be no words of ours
	maxWord  = 64  // octets
)

// text appends a text: its number, or its octets behind their number. What follows is told by the lowest bit.
func (w *words) text(b []byte, s string) []byte {
	if n, ok := w.numbers[s]; ok {
		return binary.AppendUvarint(b, n<<1|1)
	}
	return append(binary.AppendUvarint(b, uint64(len(s))<<1), s...)
}

// word is text for what comes again: a key, the name of an event, a message.
func (w *words) word(b []byte, s string) []byte {
	if _, ok := w.numbers[s]; !ok && len(s) <= maxWord && len(w.texts) < maxWords {
		s = strings.Clone(s)
		w.numbers[s] = uint64(len(w.texts))
		w.texts = append(w.texts, s)
	}
	return w.text(b, s)
}

// take is the inverse of text and word.
func (w *words) take(b []byte) (s string, rest []byte) {
	x, n := binary.Uvarint(b)
	b = b[n:]
	if x&1 == 1 {
		return w.texts[x>>1], b
	}
	return string(b[:x>>1]), b[x>>1:]
}

// encode appends the entry as a record: its time, its level, how many texts follow, and those. Fields without a value, and the event's
// name, which has a place of its own, are left out.
func (w *words) encode(b []byte, e *Entry) []byte {
	b = binary.AppendVarint(b, e.Time.UnixNano())
	b = binary.AppendVarint(b, int64(e.Level))
	kept := func(f Field) bool { return f.Value != "" && f.Key != KeyEvent }
	texts := uint64(2)
	for _, f := range e.Fields {
		if kept(f) {
			texts += 2
		}
	}
	b = binary.AppendUvarint(b, texts)
	b = w.word(w.word(b, e.Event), e.Message)
	for _, f := range e.Fields {
		if kept(f) {
			b = w.text(w.word(b, f.Key), f.Value)
		}
	}
	return b
}

// decode is the inverse of encode.
func (w *words) decode(seq uint64, record []byte) Entry {
	e := Entry{Seq: seq}
	if len(record) == 0 {
		e.Message = "a line that is too long to be kept"
		return e
	}
	at, n := binary.Varint(record)
	record = record[n:]
	level, n := binary.Varint(record)
	record = record[n:]
	texts, n := binary.Uvarint(record)
	record = record[n:]
	e.Time, e.Level = time.Unix(0, at), slog.Level(level)
	e.Event, record = w.take(record)
	e.Message, record = w.take(record)
	if texts > 2 {
		e.Fields = make([]Field, texts/2-1)
	}
	for i := range e.Fields {
		e.Fields[i].Key, record = w.take(record)
		e.Fields[i].Value, record = w.take(record)
	}
	return e
}

// Ring keeps the latest records of a logger, from slog.LevelInfo on whatever the log takes, up to a number of octets; but not what a
// debug shows. It is safe for concurrent use.
type Ring struct {
	mu      sync.Mutex
	kept    *backlog.Backlog
	words   words
	scratch []byte
	more    chan struct{} // closed when the next one comes; nil: nobody waits
}

// NewRing makes a Ring for so many octets.
func NewRing(octets int) *Ring {
	return &Ring{kept: backlog.New(octets), words: words{numbers: map[string]uint64{}}}
}

func (r *Ring) add(e *Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scratch = r.words.encode(r.scratch[:0], e)
	r.kept.Add(r.scratch)
	if r.more != nil {
		close(r.more)
		r.more = nil
	}
}

// After gives the records that came after one, at most so many, and a channel that is closed when there are more than the Ring has now.
// lost is how many of them the Ring has not any more.
func (r *Ring) After(seq uint64, most int) (found []Entry, lost uint64, more <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.more == nil {
		r.more = make(chan struct{})
	}
	seq = min(seq, r.kept.Last())
	if first := r.kept.First(); seq+1 < first {
		lost = first - seq - 1
	}
	for n, record := range r.kept.After(seq) {
		if len(found) == most {
			break
		}
		found = append(found, r.words.decode(n, record))
	}
	return found, lost, r.more
}

// teeHandler gives records to a Ring and to the log.
type teeHandler struct {
	scope
	ring *Ring
	next slog.Handler
}

// Enabled implements slog.Handler.
func (h *teeHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo || h.next.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (h *teeHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &teeHandler{scope: h.withAttrs(attrs), ring: h.ring, next: h.next.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h *teeHandler) WithGroup(name string) slog.Handler {
	return &teeHandler{scope: h.withGroup(name), ring: h.ring, next: h.next.WithGroup(name)}
}

// fieldWriter is a handler of ours, for which a record need not be put into words again.
type fieldWriter interface {
	write(r slog.Record, fields []Field) error
}

// Handle implements slog.Handler.
func (h *teeHandler) Handle(ctx context.Context, r slog.Record) error {
	keep, logged := r.Level >= slog.LevelInfo, h.next.Enabled(ctx, r.Level)
	ours, ok := h.next.(fieldWriter)
	if !keep && !ok {
		return h.next.Handle(ctx, r) // it is enabled for one of the two
	}
	fields := h.of(r)
	if keep {
		h.ring.keep(r, fields)
	}
	switch {
	case !logged:
		return nil
	case ok:
		return ours.write(r, fields)
	}
	return h.next.Handle(ctx, r)
}

// shown begins the names of the events that a debug shows. They are many, somebody has asked for them where he reads them, and they
// would push everything else out of the Ring.
const shown = "debug-"

// keep keeps a record, if it is for the Ring.
func (r *Ring) keep(x slog.Record, fields []Field) {
	e := Entry{Time: x.Time, Level: x.Level, Message: x.Message, Fields: fields}
	if i := index(fields, KeyEvent); i >= 0 {
		e.Event = fields[i].Value
	}
	if !strings.HasPrefix(e.Event, shown) {
		r.add(&e)
	}
}
