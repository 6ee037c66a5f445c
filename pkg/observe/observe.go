package observe

import (
	"io"
	"log/slog"
	"os"

	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/sys/unix"
)

// Keys of attributes with a meaning here. In text, a pair of ids is written as one value: tunnel=12/34 is ours, then the peer's.
const (
	KeyTunnel      = "tunnel"       // our tunnel id
	KeyPeerTunnel  = "peer_tunnel"  // the peer's
	KeySession     = "session"      // our session id
	KeyPeerSession = "peer_session" // the peer's
	KeyPeer        = "peer"         // address:port
	KeyUser        = "user"
	KeyCause       = "cause"
	KeyEvent       = "event" // machine-readable name of the event; not repeated in text
	KeyCall        = "call"
)

// Format is how records are written.
type Format uint8

// Formats.
const (
	FormatAuto    Format = iota // FormatJournal when Writer is standard error and that is the journal, else FormatText
	FormatText                  // one line a record, coloured on a terminal
	FormatJSON                  // one JSON object a line, as slog.JSONHandler writes it
	FormatJournal               // native journal protocol
)

// String returns the name that a command line takes.
func (f Format) String() string {
	switch f {
	case FormatAuto:
		return "auto"
	case FormatText:
		return "text"
	case FormatJSON:
		return "json"
	case FormatJournal:
		return "journal"
	}
	return "unknown"
}

// ParseFormat is the inverse of String. It reports false for any other word.
func ParseFormat(s string) (Format, bool) {
	for _, f := range []Format{FormatAuto, FormatText, FormatJSON, FormatJournal} {
		if s == f.String() {
			return f, true
		}
	}
	return FormatAuto, false
}

// Options of New.
type Options struct {
	Writer     io.Writer    // nil: standard error
	Level      slog.Leveler // nil: slog.LevelInfo; a *slog.LevelVar may change it later
	Format     Format
	Identifier string // SYSLOG_IDENTIFIER of journal entries; empty: "l2tpd"
	Ring       *Ring  // that keeps the latest records as well; nil: none

	// journal replaces the journal's socket in tests.
	journal func(message string, priority journal.Priority, fields map[string]string) error
}

// New returns a logger for the daemon. It is safe for concurrent use.
func New(o Options) *slog.Logger {
	if o.Writer == nil {
		o.Writer = os.Stderr
	}
	if o.Level == nil {
		o.Level = slog.LevelInfo
	}
	if o.Identifier == "" {
		o.Identifier = "l2tpd"
	}
	if o.journal == nil {
		o.journal = journal.Send
	}
	if o.Format == FormatAuto {
		o.Format = FormatText
		if ok, err := journal.StderrIsJournalStream(); err == nil && ok && o.Writer == io.Writer(os.Stderr) {
			o.Format = FormatJournal
		}
	}
	h := o.handler()
	if o.Ring != nil {
		h = &teeHandler{ring: o.Ring, next: h}
	}
	return slog.New(h)
}

// handler writes records in the format, which is not FormatAuto any more.
func (o *Options) handler() slog.Handler {
	switch o.Format {
	case FormatJSON:
		return slog.NewJSONHandler(o.Writer, &slog.HandlerOptions{Level: o.Level})
	case FormatJournal:
		return newJournalHandler(*o)
	case FormatAuto, FormatText:
	}
	return newTextHandler(o.Writer, o.Level, isTerminal(o.Writer) && os.Getenv("NO_COLOR") == "")
}

// isTerminal reports whether w is a file that is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	terminal := false
	err = raw.Control(func(fd uintptr) {
		_, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		terminal = err == nil
	})
	return err == nil && terminal
}
