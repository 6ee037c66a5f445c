package observe

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
)

// journalHandler sends records by the journal's native protocol. MESSAGE is the same text as on a terminal; every attribute is also a
// field of its own, so that "journalctl L2TP_PEER=192.0.2.1:1701" finds it.
type journalHandler struct {
	scope
	o        Options
	fallback *textHandler // when the journal's socket is gone
}

func newJournalHandler(o Options) *journalHandler {
	return &journalHandler{o: o, fallback: newTextHandler(o.Writer, o.Level, false)}
}

// Enabled implements slog.Handler.
func (h *journalHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.o.Level.Level() }

// WithAttrs implements slog.Handler.
func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	d := *h
	d.scope = h.withAttrs(attrs)
	return &d
}

// WithGroup implements slog.Handler.
func (h *journalHandler) WithGroup(name string) slog.Handler {
	d := *h
	d.scope = h.withGroup(name)
	return &d
}

// Handle implements slog.Handler.
func (h *journalHandler) Handle(_ context.Context, r slog.Record) error { return h.write(r, h.of(r)) }

// write sends a record. One that the journal does not take is written to the Writer, which is the journal's stream: nothing is lost but
// the fields.
func (h *journalHandler) write(r slog.Record, pairs []Field) error {
	message := string(appendDetails([]byte(Clean(r.Message)), pairs))
	fields := make(map[string]string, len(pairs)+1)
	fields["SYSLOG_IDENTIFIER"] = h.o.Identifier
	for _, p := range pairs {
		if p.Value != "" {
			fields[field(p.Key)] = Clean(p.Value)
		}
		if p.Key == KeyEvent {
			fields["MESSAGE_ID"] = MessageID(p.Value)
		}
	}
	p := priority(r.Level)
	if h.o.journal(message, p, fields) == nil {
		return nil
	}
	h.fallback.mu.Lock()
	defer h.fallback.mu.Unlock()
	_, err := fmt.Fprintf(h.fallback.w, "<%d>%s\n", p, message)
	return err
}

// field returns the name of the journal field for an attribute: L2TP_ and the key in capitals. The journal takes only letters,
// digits and underscores, at most 64 octets.
func field(key string) string {
	switch key {
	case KeyTunnel:
		return "L2TP_TUNNEL_ID"
	case KeyPeerTunnel:
		return "L2TP_PEER_TUNNEL_ID"
	case KeySession:
		return "L2TP_SESSION_ID"
	case KeyPeerSession:
		return "L2TP_PEER_SESSION_ID"
	}
	name := "L2TP_" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		default:
			return '_'
		}
	}, key)
	return name[:min(len(name), 64)]
}

// priority returns the syslog priority of a level. slog.LevelInfo+2 is a notice.
func priority(l slog.Level) journal.Priority {
	switch {
	case l >= slog.LevelError:
		return journal.PriErr
	case l >= slog.LevelWarn:
		return journal.PriWarning
	case l >= slog.LevelInfo+2:
		return journal.PriNotice
	case l >= slog.LevelInfo:
		return journal.PriInfo
	default:
		return journal.PriDebug
	}
}
