package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/api/apitest"
)

// later is the daemon after two seconds: branch has carried something, and a user has come with the ids of one who went.
func later() *api.Snapshot {
	s := daemon()
	s.TakenAt = now.Add(2 * time.Second)
	s.Sessions = slices.Clone(s.Sessions)
	s.Sessions[0].Data = &api.DataTraffic{InOctets: 8928 + 312500, OutOctets: 9024 + 250}
	s.Sessions[4].Data = &api.DataTraffic{InOctets: 10}
	s.Sessions[4].StartedAt = now.Add(time.Second)
	for i := range 40 {
		s.Sessions = append(s.Sessions, api.Session{
			TunnelID: 65535, ID: uint16(1000 + i), Remote: netip.MustParseAddrPort("[2001:db8:17::1]:1701"), State: "established",
			User: fmt.Sprintf("user%02d@a-realm-with-a-long-name.example.net", i), Interface: fmt.Sprintf("ppp%d", i),
			StartedAt: ago(time.Duration(i) * time.Hour), Data: &api.DataTraffic{InOctets: uint64(i) * 1e9, OutOctets: 1e6},
		})
	}
	return &s
}

// earlier is the daemon before that, with all that later has but for the new user.
func earlier() *api.Snapshot {
	s := later()
	s.TakenAt = now
	s.Sessions[0].Data = &api.DataTraffic{InOctets: 8928, OutOctets: 9024}
	s.Sessions[4].Data = &api.DataTraffic{InOctets: 5e6}
	s.Sessions[4].StartedAt = ago(time.Hour)
	for i := range s.Sessions[5:] {
		s.Sessions[5+i].Data = &api.DataTraffic{}
	}
	return s
}

// watched is a screen of a size after two looks.
func watched(width, height int) topState {
	s := topState{zone: time.UTC, width: width, height: height}
	return s.take(topSample{snap: earlier()}).take(topSample{snap: later(), cursor: "9", events: []api.Event{
		{Cursor: "7", Time: now, Message: "tunnel up", Fields: map[string]string{"tunnel": "4711"}},
		{Cursor: "8", Time: now, Message: "call down", Fields: map[string]string{
			"tunnel": "4711", "session": "340", "user": "eve\x1b[2J", "cause": "echo-failed", "why": "the peer does not answer LCP echo requests",
		}},
		{Cursor: "9", Time: now.Add(time.Second), Message: "call down", Fields: map[string]string{"line": "9", "peer": "eth1", "cause": "operator"}},
	}})
}

// press has keys typed, one after the other; those of one letter type it.
func press(s topState, keys ...string) topState {
	for _, k := range keys {
		text := ""
		if len([]rune(k)) == 1 {
			text = k
		}
		s, _, _ = s.key(k, text)
	}
	return s
}

// screenshot compares what is shown with testdata/name.
func screenshot(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

func TestTopOnAScreen(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{80, 24}, {132, 43}, {40, 10}} {
		for name, keys := range map[string][]string{
			"sessions": {}, "tunnels": {"t"}, "causes": {"c"}, "help": {"?"}, "filter": {"/", "U", "S", "E", "R", "0", "1"},
			"filtered": {"/", "b", "o", "b", "enter", "n"}, "scrolled": {"i", "pgdown", "down"}, "paused": {"a", "a", "space"},
		} {
			s := press(watched(size[0], size[1]), keys...)
			lines := s.screen()
			screenshot(t, fmt.Sprintf("top/%s-%dx%d.txt", name, size[0], size[1]), strings.Join(lines, "\n")+"\n")
		}
	}
}

// Whatever the size and whatever peers say, no line is too long and none is too many.
func TestTopFitsEveryScreen(t *testing.T) {
	t.Parallel()
	s := watched(0, 0)
	long := strings.Repeat("長い", 60) + "\x1b[2J\u202e\n"
	s.snap.Sessions[1].User, s.snap.Sessions[2].User, s.snap.Sessions[3].Interface = long, long, long
	s.snap.Tunnels[0].HostName, s.ended[0].Fields["why"], s.snap.Status.Problems = long, long, []string{long}
	s.snap.Status.Counters.SessionEnds = map[string]uint64{long: 1, "a": 2, "b": 3, "c": 4, "d": 5, "e": 6}
	lost := s.take(topSample{err: errors.New(long)})
	for width := 1; width < 160; width += 3 {
		for _, height := range []int{1, 2, 3, 4, 5, 9, 24, 60} {
			for _, keys := range [][]string{{}, {"t"}, {"c"}, {"?"}, {"/", long}, {"i", "pgdown"}, {"t", "pgdown"}} {
				for _, s := range []topState{s, lost} {
					s.width, s.height = width, height
					lines := press(s, keys...).screen()
					if len(lines) != height {
						t.Fatalf("%dx%d, %v: %d lines", width, height, keys, len(lines))
					}
					for _, l := range lines {
						if ansi.StringWidth(l) > width || strings.ContainsAny(l, "\x1b\n\u202e") {
							t.Fatalf("%dx%d, %v: %q", width, height, keys, l)
						}
					}
				}
			}
		}
	}
}

func TestRatesAreDifferencesOfOneSession(t *testing.T) {
	t.Parallel()
	s := topState{zone: time.UTC}.take(topSample{snap: earlier()})
	if len(s.rates) != 0 || s.known {
		t.Errorf("rates of one picture: %v", s.rates)
	}
	s = s.take(topSample{snap: later()})
	if got, want := s.rates["4711/345"], (bitRate{1250000, 1000}); got != want {
		t.Errorf("rate %v, want %v", got, want)
	}
	for _, name := range []string{"65535/3", "65535/1", "line/12"} { // another's id, no counters, no counters
		if r, ok := s.rates[name]; ok {
			t.Errorf("%s has the rate %v", name, r)
		}
	}
	back := later()
	back.TakenAt, back.Sessions[0].Data = now.Add(4*time.Second), &api.DataTraffic{}
	if r, ok := s.take(topSample{snap: back}).rates["4711/345"]; ok {
		t.Errorf("counters that went back give the rate %v", r)
	}
	if s := s.take(topSample{snap: later()}); len(s.rates) != 0 {
		t.Errorf("rates of no time: %v", s.rates)
	}
	again := later()
	again.TakenAt, again.Status.StartedAt = now.Add(4*time.Second), now.Add(3*time.Second)
	if s := s.take(topSample{snap: again}); s.known {
		t.Error("the total of a daemon that has just started is known")
	}
}

// A subscriber's line is no part of the total: the session that carries his frames is.
func TestTheTotalCountsEachFrameOnce(t *testing.T) {
	t.Parallel()
	a, b := earlier(), later()
	a.Sessions, b.Sessions = slices.Clone(a.Sessions[:4]), slices.Clone(b.Sessions[:4])
	for i := range 4 {
		a.Sessions[i].Data, b.Sessions[i].Data = &api.DataTraffic{}, &api.DataTraffic{InOctets: 100}
	}
	s := topState{zone: time.UTC}.take(topSample{snap: a}).take(topSample{snap: b})
	if s.total != (bitRate{in: 3 * 400}) || len(s.rates) != 4 {
		t.Errorf("total %v of %v", s.total, s.rates)
	}
}

func TestRatesHaveUnits(t *testing.T) {
	t.Parallel()
	for r, want := range map[float64]string{
		0: "0bit", 1: "1bit", 999: "999bit", 999.6: "1.00kbit", 1234: "1.23kbit", 12345: "12.3kbit", 123456: "123kbit", 999600: "1.00Mbit",
		2.5e9: "2.50Gbit", 1e12: "1.00Tbit", 1e16: "10000Tbit",
	} {
		if got := bits(r); got != want {
			t.Errorf("%v is %s, want %s", r, got, want)
		}
	}
}

func TestTopOrders(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		keys        string
		first, last string
	}{
		{"", "65535/1039", "65535/3"},
		{"r", "65535/3", "65535/1039"},
		{"a", "65535/1039", "65535/3"},
		{"i", "line/12", "65535/1039"},
		{"ii", "65535/1039", "line/12"},
		{"n", "65535/1", "65535/1039"},
	} {
		s := press(watched(80, 24), strings.Split(tc.keys, "")...)
		all := s.sessions()
		if first, last := sessionName(all[0]), sessionName(all[len(all)-1]); first != tc.first || last != tc.last {
			t.Errorf("%q: from %s to %s, want %s to %s", tc.keys, first, last, tc.first, tc.last)
		}
	}
	if all := press(watched(80, 24), "t", "n").tunnels(); all[0].ID != 9 || all[2].ID != 65535 {
		t.Errorf("tunnels by name: %d ... %d", all[0].ID, all[2].ID)
	}
}

func TestTopFilters(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string]int{"": 45, "alice": 2, "BRANCH": 1, "4711/": 3, "203.0.113.2": 3, "ppp3": 11, "nobody": 0, "02:00:00:00:00:05": 1} {
		s := press(watched(80, 24), append([]string{"/"}, strings.Split(filter, "")...)...)
		if got := len(s.sessions()); got != want {
			t.Errorf("%q: %d sessions, want %d", filter, got, want)
		}
		if s = press(s, "esc"); len(s.sessions()) != 45 || s.typing {
			t.Errorf("%q: Esc left %q", filter, s.filter)
		}
	}
	s := press(watched(80, 24), "/", "b", "o", "é", "backspace", "b", "enter")
	if s.filter != "bob" || s.typing {
		t.Errorf("filter %q", s.filter)
	}
	if s := press(s, "t"); len(s.tunnels()) != 0 {
		t.Error("the filter does not hold for tunnels")
	}
	if s := press(watched(80, 24), "/", "l", "i", "n", "e", "/"); len(s.latest()) != 1 {
		t.Errorf("%d ended sessions of lines", len(s.latest()))
	}
}

func TestWhoQuitsTop(t *testing.T) {
	t.Parallel()
	typing := press(watched(80, 24), "/")
	for _, tc := range []struct {
		s    topState
		key  string
		quit bool
	}{{watched(80, 24), "q", true}, {watched(80, 24), "ctrl+c", true}, {typing, "ctrl+c", true}, {typing, "q", false}} {
		if _, quit, _ := tc.s.key(tc.key, tc.key); quit != tc.quit {
			t.Errorf("%s: %v", tc.key, quit)
		}
	}
}

func TestTopScrollsAsFarAsThereIsSomething(t *testing.T) {
	t.Parallel()
	s := press(watched(80, 24), "i", "pgdown", "pgdown", "pgdown", "pgdown")
	if s.offset != 45-20 {
		t.Errorf("offset %d, want %d", s.offset, 45-20)
	}
	few := later()
	few.Sessions = few.Sessions[:3]
	if s := s.take(topSample{snap: few}); s.offset != 0 {
		t.Errorf("offset %d with three sessions", s.offset)
	}
	if s := press(s, "home", "up"); s.offset != 0 {
		t.Errorf("offset %d at the top", s.offset)
	}
}

// message gives what a command of bubbletea brings, if that is one of top's.
func message(cmd tea.Cmd) tea.Msg {
	if cmd == nil {
		return nil
	}
	return cmd()
}

// A daemon that goes is told, what was seen last stays, and when it is back top goes on.
func TestTopOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		samples := []topSample{
			{err: &api.UnreachableError{Path: "/run/l2tpd/l2tpd.sock", Err: errors.New("connection refused")}}, {snap: later()},
		}
		asked := 0
		begin := topState{zone: time.UTC, width: 80, height: 24}.take(topSample{snap: earlier()})
		var m tea.Model = topModel{state: begin, interval: 2 * time.Second, look: func(string, bool) topSample {
			asked++
			return samples[asked-1]
		}}
		screen := func() string { return ansi.Strip(m.View().Content) }
		begun := time.Now()
		cmd := m.Init()
		for _, want := range []string{"! l2tpd has stopped; waiting for it to come back", "! call backup"} {
			m, cmd = m.Update(message(cmd)) // it is time
			m, cmd = m.Update(message(cmd)) // the look
			if !strings.Contains(screen(), want) || !strings.Contains(screen(), "65535/10") {
				t.Errorf("%q is not in\n%s", want, screen())
			}
		}
		if took := time.Since(begun); took != 4*time.Second {
			t.Errorf("two looks took %v", took)
		}
		if m.(topModel).state.rates["4711/345"].in == 0 {
			t.Error("no rates after the daemon came back")
		}
	})
}

// A past bug: where the daemon told no events, it was said to be gone.
func TestTopShowsWhyThereAreNoEvents(t *testing.T) {
	t.Parallel()
	s := press(watched(80, 24).take(topSample{snap: later(), untold: errors.New("no events are kept\n")}), "c")
	if s.lost != "" || !strings.Contains(strings.Join(s.screen(), "\n"), "! no events are kept") {
		t.Errorf("lost: %q, screen\n%s", s.lost, strings.Join(s.screen(), "\n"))
	}
	if s = s.take(topSample{err: context.DeadlineExceeded}); !strings.Contains(s.notice(), "no answer from l2tpd") {
		t.Errorf("notice %q", s.notice())
	}
}

// A look that was wanted at once takes the place of that which was planned: there is one at a time.
func TestTopLooksOnceInAnInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var events []bool
		var m tea.Model = topModel{state: watched(80, 24), interval: time.Second, look: func(_ string, e bool) topSample {
			events = append(events, e)
			return topSample{snap: later(), cursor: "10"}
		}}
		planned := message(m.Init())
		m, now := m.Update(tea.KeyPressMsg{Code: 'c', Text: "c"})
		if _, more := m.Update(planned); more != nil {
			t.Error("a second look while one is under way")
		}
		m, next := m.Update(message(now))
		if m.(topModel).state.after != "10" {
			t.Errorf("the next look is for events after %q", m.(topModel).state.after)
		}
		if _, more := m.Update(planned); more != nil {
			t.Error("the needless look was made")
		}
		m, _ = m.Update(tea.KeyPressMsg{Code: tea.KeySpace, Text: " "})
		m, again := m.Update(message(next))
		if len(events) != 1 || !events[0] {
			t.Errorf("looks %v, want one, with events", events)
		}
		_, now = m.Update(tea.KeyPressMsg{Code: tea.KeySpace, Text: " "})
		if now == nil || again == nil {
			t.Error("top does not go on after a pause")
		}
	})
}

// The terminal gets its own screen back, with a cursor.
func TestTopLeavesTheTerminalAsItWas(t *testing.T) {
	t.Parallel()
	for name, input := range map[string]string{"q": "q", "Ctrl-C": "\x03"} {
		var out bytes.Buffer
		r, w := io.Pipe()
		go func() { _, _ = w.Write([]byte(input)) }()
		m := topModel{state: watched(80, 24), interval: time.Hour}
		err := watch(t.Context(), m, tea.WithInput(r), tea.WithOutput(&out), tea.WithWindowSize(80, 24), tea.WithEnvironment([]string{"TERM=xterm"}), tea.WithoutSignalHandler())
		w.Close()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for on, off := range map[string]string{"\x1b[?1049h": "\x1b[?1049l", "\x1b[?25l": "\x1b[?25h", "\x1b[?2004h": "\x1b[?2004l"} {
			if strings.LastIndex(out.String(), on) < 0 || strings.LastIndex(out.String(), off) < strings.LastIndex(out.String(), on) {
				t.Errorf("%s: %q is left on in %q", name, on, out.String())
			}
		}
	}
}

func TestTopOnPaper(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := topState{zone: time.UTC}.take(topSample{snap: earlier()})
		begun := time.Now()
		text, err := topOnce(t.Context(), s, 2*time.Second, func(context.Context) (*api.Snapshot, error) { return later(), nil })
		if err != nil || time.Since(begun) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		screenshot(t, "top/once.txt", text)
		if _, err := topOnce(t.Context(), s, time.Second, func(context.Context) (*api.Snapshot, error) { return nil, errors.New("gone") }); err == nil {
			t.Error("no error without a second picture")
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := topOnce(ended, s, time.Hour, nil); err == nil {
			t.Error("no error when it was interrupted")
		}
	})
}

func TestTopAsACommand(t *testing.T) {
	t.Parallel()
	got := try(t, apitest.New(daemon()), "top", "-o", "json")
	var snap api.Snapshot
	if err := json.Unmarshal([]byte(got.out), &snap); err != nil || got.code != exitOK {
		t.Fatalf("%v, %+v", err, got)
	}
	if d := cmp.Diff([]int{3, 5}, []int{len(snap.Tunnels), len(snap.Sessions)}); d != "" || snap.Status == nil || snap.Sessions[0].Data == nil {
		t.Errorf("%s, %+v", d, snap)
	}
	for _, args := range []string{"top --help", "top --interval 100ms", "top now"} {
		list := strings.Fields(args)
		golden(t, filepath.Join("top", strings.NewReplacer(" ", "-", "--", "").Replace(args)), list, try(t, apitest.New(daemon()), list...))
	}
	if got := try(t, nil, "top"); got.code != exitUnreachable {
		t.Errorf("without a daemon: %+v", got)
	}
}
