package observe

import (
	"bytes"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// limited is a Limiter with a virtual clock and what it wrote.
type limited struct {
	*Limiter
	t   *testing.T
	now time.Time
	out bytes.Buffer
	log *slog.Logger
}

func newLimited(t *testing.T, cfg LimiterConfig) *limited {
	t.Helper()
	l := &limited{Limiter: NewLimiter(cfg), t: t, now: time.Unix(1000, 0)}
	l.log = slog.New(newTextHandler(&l.out, slog.LevelInfo, false))
	return l
}

// events logs n events of one source, a second apart.
func (l *limited) events(n int, event, source string) {
	for range n {
		l.Log(l.t.Context(), l.now, l.log, Line{Message: event, Event: event, Source: source, Attrs: []slog.Attr{slog.String("source", source)}})
		l.now = l.now.Add(time.Second)
	}
}

// lines returns what was written since the last call, without times.
func (l *limited) lines() []string {
	text := strings.TrimSuffix(regexp.MustCompile(`(?m)^[0-9:]{8} `).ReplaceAllString(l.out.String(), ""), "\n")
	l.out.Reset()
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

func (l *limited) want(what string, want ...string) {
	l.t.Helper()
	if d := cmp.Diff(want, l.lines()); d != "" {
		l.t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestLimiterPassesTheBurstThenOneSummaryEachInterval(t *testing.T) {
	t.Parallel()
	l := newLimited(t, LimiterConfig{Burst: 2, Interval: 10 * time.Second})
	l.events(25, "filtered", "192.0.2.1")
	l.want("a flood of 25 s",
		"INFO  filtered  source=192.0.2.1",
		"INFO  filtered  source=192.0.2.1",
		"INFO  filtered  source=192.0.2.1 suppressed=9",
		"INFO  filtered  source=192.0.2.1 suppressed=9")
	l.Flush(t.Context(), l.now, l.log)
	l.want("flush before the interval is over")
	l.now = l.now.Add(10 * time.Second)
	l.Flush(t.Context(), l.now, l.log)
	l.want("the end of the flood", "INFO  filtered  source=192.0.2.1 suppressed=3")
	l.Flush(t.Context(), l.now.Add(time.Minute), l.log)
	l.want("nothing is told twice")
}

func TestLimiterKeysDoNotShareABurst(t *testing.T) {
	t.Parallel()
	l := newLimited(t, LimiterConfig{Burst: 1, Interval: time.Hour})
	l.events(3, "filtered", "192.0.2.1")
	l.events(3, "malformed", "192.0.2.1")
	l.events(3, "filtered", "192.0.2.2")
	l.want("three keys", "INFO  filtered  source=192.0.2.1", "INFO  malformed  source=192.0.2.1", "INFO  filtered  source=192.0.2.2")
}

func TestLimiterGivesABurstAgainAfterSilence(t *testing.T) {
	t.Parallel()
	l := newLimited(t, LimiterConfig{Burst: 2, Interval: 10 * time.Second})
	l.events(3, "filtered", "a")
	l.lines()
	l.now = l.now.Add(10 * time.Second)
	l.events(3, "filtered", "a")
	l.want("after ten quiet seconds", "INFO  filtered  source=a suppressed=1", "INFO  filtered  source=a")
}

func TestLimiterMemoryIsBounded(t *testing.T) {
	t.Parallel()
	l := newLimited(t, LimiterConfig{Burst: 1, Interval: time.Hour, MaxKeys: 10})
	for i := range 1000 {
		l.events(1, "filtered", fmt.Sprintf("192.0.2.%d", i))
	}
	if n := len(l.keys); n > 11 {
		t.Errorf("%d keys are remembered, want at most 10 and one shared", n)
	}
	if n := len(l.lines()); n != 11 {
		t.Errorf("%d lines, want one for each of 10 keys and one for all others", n)
	}
	l.now = l.now.Add(2 * time.Hour)
	l.Flush(t.Context(), l.now, l.log)
	l.want("the others", "INFO  filtered  source=(others) suppressed=989")
	l.Flush(t.Context(), l.now, l.log)
	if n := len(l.keys); n != 0 {
		t.Errorf("%d keys are remembered after two silent hours", n)
	}
}

// P280: a flood from forged addresses gives each of them a first line; the sum is bounded for each event, and an event that is
// not flooded keeps its own lines.
func TestLimiterSharesOneKeyAmongTheManySourcesOfOneEvent(t *testing.T) {
	t.Parallel()
	l := newLimited(t, LimiterConfig{Burst: 2, Interval: time.Hour, MaxSources: 3})
	for i := range 1000 {
		l.events(2, "filtered", fmt.Sprintf("192.0.2.%d", i))
	}
	if n := len(l.lines()); n != 3*2+2 {
		t.Errorf("%d lines, want two for each of 3 sources and two for all others", n)
	}
	l.events(1, "malformed", "192.0.2.1")
	l.want("another event", "INFO  malformed  source=192.0.2.1")
	l.now = l.now.Add(2 * time.Hour)
	l.Flush(t.Context(), l.now, l.log)
	l.want("the others", "INFO  filtered  source=(others) suppressed=1992")
	l.events(1, "filtered", "198.51.100.1")
	l.want("after the flood", "INFO  filtered  source=198.51.100.1")
}

// A full limiter does not look through all its keys at every event of a flood.
func TestLimiterSweepsSeldom(t *testing.T) {
	t.Parallel()
	l := newLimited(t, LimiterConfig{Interval: time.Minute, MaxSources: 2})
	for i := range 100 {
		l.events(1, "filtered", fmt.Sprint(i))
	}
	if l.now.Sub(l.swept) > 6*time.Second {
		t.Errorf("not swept for %v", l.now.Sub(l.swept))
	}
	at := l.swept
	l.now = at.Add(time.Second)
	for i := range 100 {
		l.Log(t.Context(), l.now, l.log, Line{Message: "x", Event: "filtered", Source: fmt.Sprint("s", i)})
	}
	if !l.swept.Equal(at) {
		t.Errorf("swept at %v and again a second later", at)
	}
}

func TestLimiterSpendsNothingBelowTheLevel(t *testing.T) {
	t.Parallel()
	l := newLimited(t, LimiterConfig{Burst: 1})
	l.Log(t.Context(), l.now, l.log, Line{Level: slog.LevelDebug, Message: "x", Event: "x", Source: "a"})
	if len(l.keys) != 0 {
		t.Error("a line below the level took a key")
	}
}
