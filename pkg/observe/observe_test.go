package observe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/google/go-cmp/cmp"
)

// masked stands for a secret type: it says "***" whatever it is asked.
type masked struct{ octets string }

func (masked) String() string { return "***" }

// line returns what h-like loggers write for one record at a fixed time.
func line(t *testing.T, colour bool, log func(*slog.Logger)) string {
	t.Helper()
	var b bytes.Buffer
	h := newTextHandler(&b, slog.LevelDebug, colour)
	log(slog.New(fixedTime{h}))
	return b.String()
}

// fixedTime sets the time of every record.
type fixedTime struct{ slog.Handler }

func (f fixedTime) Handle(ctx context.Context, r slog.Record) error {
	r.Time = time.Date(2026, 11, 20, 15, 4, 5, 0, time.UTC)
	return f.Handler.Handle(ctx, r)
}

func (f fixedTime) WithAttrs(a []slog.Attr) slog.Handler { return fixedTime{f.Handler.WithAttrs(a)} }

func (f fixedTime) WithGroup(g string) slog.Handler { return fixedTime{f.Handler.WithGroup(g)} }

func TestTextLine(t *testing.T) {
	t.Parallel()
	peer := netip.MustParseAddrPort("192.0.2.1:1701")
	for _, tc := range []struct {
		name string
		log  func(*slog.Logger)
		want string
	}{
		{"message first, ids joined, event left out", func(l *slog.Logger) {
			l.Info("tunnel up", slog.Any("peer", peer), slog.Any("tunnel", uint16(12)), slog.Any("peer_tunnel", uint16(34)), slog.Any("host", "lns1"), slog.Any("event", "tunnel-up"))
		}, "15:04:05 INFO  tunnel up  peer=192.0.2.1:1701 tunnel=12/34 host=lns1\n"},
		{"session ids, unknown peer ids", func(l *slog.Logger) {
			l.Warn("session closed", slog.Any("tunnel", 12), slog.Any("peer_tunnel", 0), slog.Any("session", 5), slog.Any("peer_session", 6), slog.Any("cause", ""))
		}, "15:04:05 WARN  session closed  tunnel=12 session=5/6\n"},
		{"nothing but a message", func(l *slog.Logger) { l.Error("no socket") }, "15:04:05 ERROR no socket\n"},
		{"values that could be misread are quoted", func(l *slog.Logger) {
			l.Debug("x", slog.Any("a", "two words"), slog.Any("b", `say "hi"`), slog.Any("c", "k=v"), slog.Any("d", `back\slash`), slog.Any("e", "ok"))
		}, `15:04:05 DEBUG x  a="two words" b="say \"hi\"" c="k=v" d="back\\slash" e=ok` + "\n"},
		{"control characters of a peer are escaped", func(l *slog.Logger) {
			l.Info("peer says\x1b[2J\nforged line", slog.Any("host", "a\x1b]0;title\x07\r\nb"), slog.Any("user", "\u202eevil\u009b"), slog.Any("raw", "\xff\xfe"))
		}, `15:04:05 INFO  peer says\x1b[2J\nforged line  host="a\x1b]0;title\a\r\nb" user="\u202eevil\u009b" raw="\xff\xfe"` + "\n"},
		{"printable names of any script stay", func(l *slog.Logger) {
			l.Info("x", slog.Any("user", "jürgen"))
		}, "15:04:05 INFO  x  user=jürgen\n"},
		{"groups, with, errors, durations, secrets", func(l *slog.Logger) {
			l.With(slog.Any("call", "branch")).WithGroup("radius").With(slog.Any("server", "a")).Info("x", slog.Any("rtt", 1500*time.Millisecond), slog.Any("error", errors.New("dial: no route")), slog.Any("secret", masked{"hunter2"}), slog.Group("g", slog.Int("k", 1)))
		}, `15:04:05 INFO  x  call=branch radius.server=a radius.rtt=1.5s radius.error="dial: no route" radius.secret=*** radius.g.k=1` + "\n"},
		{"the later value of a key stands", func(l *slog.Logger) {
			l.With(slog.Any("peer", "a"), slog.Any("call", "b")).Info("x", slog.Any("peer", "c"))
		}, "15:04:05 INFO  x  peer=c call=b\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if d := cmp.Diff(tc.want, line(t, false, tc.log)); d != "" {
				t.Errorf("line (-want +got):\n%s", d)
			}
		})
	}
}

func TestTextColourOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	log := func(l *slog.Logger) { l.Error("x") }
	if got, want := line(t, true, log), "15:04:05 \x1b[31mERROR\x1b[0m x\n"; got != want {
		t.Errorf("coloured line %q, want %q", got, want)
	}
	f, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	New(Options{Writer: f, Format: FormatAuto}).Error("x")
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "\x1b") || !strings.HasSuffix(string(b), "ERROR x\n") {
		t.Errorf("a file got %q, want a plain line", b)
	}
}

func TestLevelCanChangeAtRunTime(t *testing.T) {
	t.Parallel()
	for _, f := range []Format{FormatText, FormatJSON, FormatJournal} {
		var b bytes.Buffer
		level := new(slog.LevelVar)
		log := New(Options{Writer: &b, Level: level, Format: f, journal: func(m string, _ journal.Priority, _ map[string]string) error {
			b.WriteString(m)
			return nil
		}}).With(slog.Any("k", "v"))
		log.Debug("quiet")
		if b.Len() != 0 {
			t.Errorf("%v: debug passed at level info: %q", f, b.String())
		}
		level.Set(slog.LevelDebug)
		log.Debug("loud")
		if !strings.Contains(b.String(), "loud") {
			t.Errorf("%v: debug did not pass after the level changed", f)
		}
	}
}

func TestJSONLines(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	New(Options{Writer: &b, Format: FormatJSON}).Info("tunnel up", slog.Any("tunnel", uint16(12)), slog.Any("peer", netip.MustParseAddrPort("[2001:db8::1]:1701")))
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatalf("%q: %v", b.String(), err)
	}
	delete(got, "time")
	want := map[string]any{"level": "INFO", "msg": "tunnel up", "tunnel": 12.0, "peer": "[2001:db8::1]:1701"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("object (-want +got):\n%s", d)
	}
}

func TestJournalFields(t *testing.T) {
	t.Parallel()
	type entry struct {
		Message  string
		Priority journal.Priority
		Fields   map[string]string
	}
	var got []entry
	log := New(Options{Format: FormatJournal, journal: func(m string, p journal.Priority, f map[string]string) error {
		got = append(got, entry{m, p, f})
		return nil
	}})
	log.With(slog.Any("tunnel", uint16(12)), slog.Any("peer_tunnel", uint16(34))).Warn("session down", slog.Any("session", uint16(5)), slog.Any("peer_session", uint16(6)), slog.Any("peer", "192.0.2.1:1701"), slog.Any("user", "bob\n"), slog.Any("cause", "lost carrier"), slog.Any("event", "session-down"), slog.Any("call", "branch"), slog.Any("radius.id", 7), slog.Any("empty", ""))
	log.Log(t.Context(), slog.LevelInfo+2, "notice")
	want := []entry{
		{
			`session down  tunnel=12/34 session=5/6 peer=192.0.2.1:1701 user="bob\n" cause="lost carrier" call=branch radius.id=7`,
			journal.PriWarning,
			map[string]string{
				"SYSLOG_IDENTIFIER": "l2tpd", "L2TP_TUNNEL_ID": "12", "L2TP_PEER_TUNNEL_ID": "34", "L2TP_SESSION_ID": "5",
				"L2TP_PEER_SESSION_ID": "6", "L2TP_PEER": "192.0.2.1:1701", "L2TP_USER": `bob\n`, "L2TP_CAUSE": "lost carrier",
				"L2TP_EVENT": "session-down", "MESSAGE_ID": MessageID("session-down"), "L2TP_CALL": "branch", "L2TP_RADIUS_ID": "7",
			},
		},
		{"notice", journal.PriNotice, map[string]string{"SYSLOG_IDENTIFIER": "l2tpd"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
}

func TestJournalLossFallsBackToTheStream(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	log := New(Options{Writer: &b, Format: FormatJournal, journal: func(string, journal.Priority, map[string]string) error {
		return errors.New("gone")
	}})
	log.Error("tunnel down", slog.Any("tunnel", 12))
	if got, want := b.String(), "<3>tunnel down  tunnel=12\n"; got != want {
		t.Errorf("stream got %q, want %q", got, want)
	}
}

func TestJournalFieldNamesAreValid(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"user": "L2TP_USER", "rtt-ms": "L2TP_RTT_MS", "a.b/c": "L2TP_A_B_C", strings.Repeat("x", 100): "L2TP_" + strings.Repeat("X", 59),
	} {
		if got := field(in); got != want {
			t.Errorf("field(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestParseFormatIsTheInverseOfString(t *testing.T) {
	t.Parallel()
	for _, f := range []Format{FormatAuto, FormatText, FormatJSON, FormatJournal} {
		if got, ok := ParseFormat(f.String()); !ok || got != f {
			t.Errorf("ParseFormat(%q) = %v, %v", f.String(), got, ok)
		}
	}
	if _, ok := ParseFormat("xml"); ok {
		t.Error("xml is no format")
	}
}
