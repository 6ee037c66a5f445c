package observe

import (
	"context"
	"io"
	"log/slog"
	"sync"
)

// textHandler writes lines for people:
//
//	15:04:05 INFO  tunnel up  peer=192.0.2.1:1701 tunnel=12/34 host=lns1
type textHandler struct {
	scope
	level  slog.Leveler
	colour bool
	mu     *sync.Mutex // of w; shared with every derived handler
	w      io.Writer
}

func newTextHandler(w io.Writer, level slog.Leveler, colour bool) *textHandler {
	return &textHandler{level: level, colour: colour, mu: new(sync.Mutex), w: w}
}

// Enabled implements slog.Handler.
func (h *textHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// WithAttrs implements slog.Handler.
func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	d := *h
	d.scope = h.withAttrs(attrs)
	return &d
}

// WithGroup implements slog.Handler.
func (h *textHandler) WithGroup(name string) slog.Handler {
	d := *h
	d.scope = h.withGroup(name)
	return &d
}

// Handle implements slog.Handler.
func (h *textHandler) Handle(_ context.Context, r slog.Record) error { return h.write(r, h.of(r)) }

// write is one Write.
func (h *textHandler) write(r slog.Record, fields []Field) error {
	b := make([]byte, 0, 256)
	if !r.Time.IsZero() {
		b = r.Time.AppendFormat(b, "15:04:05 ")
	}
	word, colour := levelWord(r.Level)
	if h.colour {
		b = append(b, colour...)
	}
	b = append(b, word...)
	if h.colour {
		b = append(b, "\x1b[0m"...)
	}
	for range 6 - len(word) {
		b = append(b, ' ')
	}
	b = append(b, Clean(r.Message)...)
	b = appendDetails(b, fields)
	b = append(b, '\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.w.Write(b)
	return err
}

// levelWord returns a word of at most five letters and the colour it has on a terminal.
func levelWord(l slog.Level) (word, colour string) {
	switch {
	case l >= slog.LevelError:
		return "ERROR", "\x1b[31m"
	case l >= slog.LevelWarn:
		return "WARN", "\x1b[33m"
	case l >= slog.LevelInfo:
		return "INFO", "\x1b[32m"
	default:
		return "DEBUG", "\x1b[2m"
	}
}
