package observe

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestRingKeepsWhatTheLogMayLeaveOut(t *testing.T) {
	t.Parallel()
	ring := NewRing(1 << 20)
	var out bytes.Buffer
	log := New(Options{Writer: &out, Level: slog.LevelWarn, Format: FormatText, Ring: ring})
	log.With(slog.Int("tunnel", 7)).Info("call up", slog.String("event", "call-up"), slog.String("user", "alice"), slog.String("prefix", ""))
	log.Debug("never seen")
	log.Info("session 7/8: idle -> wait-connect", slog.String("event", "debug-state")) // a debug has it for whoever asked
	log.WithGroup("radius").Warn("no answer", slog.String("server", "192.0.2.9"))
	got, lost, _ := ring.After(0, 10)
	want := []Entry{
		{Seq: 1, Level: slog.LevelInfo, Event: "call-up", Message: "call up", Fields: []Field{{"tunnel", "7"}, {"user", "alice"}}},
		{Seq: 2, Level: slog.LevelWarn, Message: "no answer", Fields: []Field{{"radius.server", "192.0.2.9"}}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Entry{}, "Time")); diff != "" || lost != 0 {
		t.Errorf("%d lost\n%s", lost, diff)
	}
	if n := bytes.Count(out.Bytes(), []byte("\n")); n != 1 {
		t.Errorf("the log has %d lines:\n%s", n, out.String())
	}
}

// Whoever reads goes on where he was, hears of more, and of what he has missed.
func TestRingIsReadInPieces(t *testing.T) {
	t.Parallel()
	const octets = 64 << 10
	e := Entry{
		Time: time.Unix(1234, 567), Level: slog.LevelWarn, Event: "call-up", Message: "x",
		Fields: []Field{{"peer", "192.0.2.1:1701"}, {"why", "nothing"}},
	}
	r := NewRing(octets)
	waits := func(more <-chan struct{}) bool {
		select {
		case <-more:
			return false
		default:
			return true
		}
	}
	_, _, more := r.After(0, 10)
	if !waits(more) {
		t.Error("more of an empty ring")
	}
	for range 3 {
		r.add(&e)
	}
	if waits(more) {
		t.Error("nobody is told of more")
	}
	for _, x := range []struct {
		after uint64
		most  int
		first uint64
		n     int
	}{{0, 2, 1, 2}, {2, 2, 3, 1}, {3, 2, 0, 0}, {99, 2, 0, 0}} {
		got, lost, _ := r.After(x.after, x.most)
		if len(got) != x.n || lost != 0 || x.n > 0 && got[0].Seq != x.first {
			t.Errorf("%+v: got %v, %d lost", x, got, lost)
		}
		for i := range got {
			want := e
			want.Seq = x.first + uint64(i)
			if diff := cmp.Diff(want, got[i]); diff != "" {
				t.Errorf("%+v: %s", x, diff)
			}
		}
	}
	const all = 5000 // more than there is room for
	for range all - 3 {
		r.add(&e)
	}
	got, lost, _ := r.After(1, all)
	if len(got) < 100 || len(got)*len("call-up192.0.2.1:1701nothing") > octets || 1+int(lost)+len(got) != all || got[len(got)-1].Seq != all {
		t.Errorf("%d of %d are kept, %d lost", len(got), all, lost)
	}
	e.Message = strings.Repeat("x", 1<<20)
	r.add(&e)
	if got, _, _ := r.After(all, 1); len(got) != 1 || !strings.Contains(got[0].Message, "too long") {
		t.Errorf("of a line that is too long there is %v", got)
	}
}

// Keys, names of events and messages are kept once, up to a number of them and of octets each; whatever comes, what was told is told again.
func TestRingKeepsWordsOnce(t *testing.T) {
	t.Parallel()
	r := NewRing(1 << 20)
	var want []Entry
	for i := range 3 * maxWords {
		unique := strings.Repeat("x", i%(2*maxWord)) + strconv.Itoa(i)
		e := Entry{
			Seq: uint64(i + 1), Time: time.Unix(1234, int64(i)), Level: slog.LevelWarn, Event: "call-up", Message: unique,
			Fields: []Field{{"peer", unique}, {unique, "peer"}},
		}
		want = append(want, e)
		r.add(&e)
	}
	got, _, _ := r.After(0, len(want))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(r.words.texts); n != maxWords {
		t.Errorf("%d words", n)
	}
	before := len(r.scratch)
	r.add(&Entry{Time: time.Unix(1234, 0), Event: "call-up", Message: "call-up", Fields: []Field{{"peer", "call-up"}}})
	if n := len(r.scratch); n > 20 {
		t.Errorf("%d octets of words alone, %d before", n, before)
	}
}
