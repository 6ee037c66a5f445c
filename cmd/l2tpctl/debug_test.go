package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/api/apitest"
)

// S55: a change of state is a record of two lines, with the ids of both ends. S56: a packet has a label with rx or tx; its octets are groups
// of 32 bits, nine a line, and the one shown here is that of the reference manual. S58: what is in it comes first.
func TestWhatOperatorsSeeOfDebugs(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]string{
		"help-debug":            "debug --help",
		"help-debug-state":      "debug state --help",
		"help-debug-packet":     "debug packet --help",
		"help-debug-stop":       "debug stop --help",
		"debug-state":           "debug state --tunnel --session",
		"debug-packet":          "debug packet --session 4711/345",
		"debug-hex":             "debug packet --call branch --hex",
		"debug-all":             "debug all --peer=203.0.113.2",
		"debug-json":            "debug all --user bob --hex -o json",
		"debug-yaml":            "debug packet --user -o yaml",
		"debug-background":      "debug all --tunnel 4711 --for 1h --background",
		"debug-background-json": "debug all --tunnel 4711 --background -o json",
		"debug-list":            "debug list",
		"debug-list-wide":       "debug list -o wide",
		"debug-list-json":       "debug list -o json",
		"debug-stop":            "debug stop 3",
		"debug-stop-all":        "debug stop all",
		"debug-stop-unknown":    "debug stop 4",
		"debug-stop-no-id":      "debug stop everything",
		"debug-nothing":         "debug all",
		"debug-no-kind":         "debug --tunnel",
		"debug-two-words":       "debug all --tunnel 4711 4712",
		"debug-word-before":     "debug all 4711 --tunnel",
		"debug-word-too-many":   "debug all --tunnel=9 4711",
		"debug-no-time":         "debug all --tunnel --for 0s",
		"debug-too-long":        "debug all --tunnel --for 25h",
		"debug-no-tunnel":       "debug all --tunnel 4712",
		"debug-bad-tunnel":      "debug all --tunnel lns1",
		"debug-no-session":      "debug all --session 4711/347",
		"debug-no-call":         "debug all --call brunch",
		"debug-bad-peer":        "debug all --peer router",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := strings.Fields(args)
			golden(t, name, list, try(t, apitest.New(daemon()), list...))
		})
	}
}

// S53: an option without a value is all of its sort. Its value may come behind = or as the next word.
func TestDebugKnowsWhichNameIsOfWhichOption(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"state --tunnel":                                   "state of all tunnels",
		"state --tunnel=4711":                              "state of tunnel 4711",
		"state --tunnel 4711":                              "state of tunnel 4711",
		"state --tunnel --for 1m":                          "state of all tunnels",
		"state --tunnel --for 1m 4711":                     "state of tunnel 4711",
		"packet --session":                                 "packet of all sessions",
		"packet --session 4711/345":                        "packet of session 4711/345",
		"packet --session line/12":                         "packet of line/12",
		"packet --session branch":                          "packet of session 4711/345",
		"packet --call":                                    "packet of all calls",
		"packet --call BACKUP":                             "packet of call backup",
		"packet --peer":                                    "packet of all peers",
		"packet --peer 192.0.2.77":                         "packet of peer 192.0.2.77",
		"all --user":                                       "state and packet of all users",
		"all --user nobody":                                "state and packet of user nobody",
		"all --tunnel --session":                           "state and packet of all tunnels, all sessions",
		"all --session --tunnel=9":                         "state and packet of tunnel 9, all sessions",
		"all --tunnel --session 4711/345":                  "state and packet of all tunnels, session 4711/345",
		"all --tunnel --call branch --user":                "state and packet of all tunnels, call branch, all users",
		"all --tunnel 9 --session":                         "state and packet of tunnel 9, all sessions",
		"all --tunnel 9 --tunnel 4711 --hex --peer":        "state and packet of tunnel 9, tunnel 4711, all peers",
		"all --tunnel 9 --session branch":                  "state and packet of tunnel 9, session 4711/345",
		"all --session branch --tunnel 9 --user=bob":       "state and packet of tunnel 9, session 4711/345, user bob",
		"all --tunnel=9 --tunnel 4711":                     "state and packet of tunnel 9, tunnel 4711",
		"all --tunnel=9 --session=branch --peer 192.0.2.7": "state and packet of tunnel 9, session 4711/345, peer 192.0.2.7",
	} {
		b := apitest.New(daemon())
		got := try(t, b, append([]string{"debug"}, strings.Fields(args)...)...)
		if got.code != exitOK || len(b.Debugs()) != 1 {
			t.Errorf("%s: %+v", args, got)
			continue
		}
		if d := b.Debugs()[0]; d.What() != want {
			t.Errorf("%s: asked for %s, want %s", args, d.What(), want)
		}
	}
}

// Ctrl-C ends a debug in good order: the daemon says its last word.
func TestDebugIsEndedByTheOperator(t *testing.T) {
	t.Parallel()
	got := interrupted(t, "debug", "state", "--tunnel")
	if got.code != exitOK || !strings.HasSuffix(got.err, "3 record(s) in 1s, none was left out; debug 3 ended because its reader has ended it\n") {
		t.Errorf("%d: %s", got.code, got.err)
	}
}

// goes is a daemon that goes in the middle of a debug.
type goes struct{ *apitest.Backend }

func (goes) Debug(_ context.Context, _ api.Debug, each func(api.DebugRecord) error) error {
	return each(api.DebugRecord{Debug: 1, Time: now, Kind: api.DebugLeftOut, Message: "12 records left out: a debug shows 200 a second"})
}

func TestDebugOfADaemonThatGoes(t *testing.T) {
	t.Parallel()
	args := []string{"debug", "all", "--tunnel"}
	golden(t, "debug-gone", args, try(t, goes{apitest.New(daemon())}, args...))
}

// Programs read one record a line.
func TestDebugRecordsReadBack(t *testing.T) {
	t.Parallel()
	got := try(t, apitest.New(daemon()), "debug", "all", "--call", "branch", "--hex", "-o", "jsonl")
	n := 0
	for l := range strings.Lines(got.out) {
		var r api.DebugRecord
		if err := json.Unmarshal([]byte(l), &r); err != nil || r.Debug != 3 {
			t.Errorf("%v: %s", err, l)
		}
		if r.Kind == api.DebugPacket && (r.Session != 345 || r.PeerSession != 51299 || len(r.Hex) != 2*r.Length) {
			t.Errorf("%+v", r)
		}
		n++
	}
	if n != 6 || got.err != "" {
		t.Errorf("%d records, %s", n, got.err)
	}
}

// The last group and the last line may be short.
func TestHexGroups(t *testing.T) {
	t.Parallel()
	for digits, want := range map[string]string{
		"":                                   "",
		"00":                                 "  00\n",
		"0011223344":                         "  00112233 44\n",
		strings.Repeat("01234567", 9):        "  " + strings.TrimSpace(strings.Repeat("01234567 ", 9)) + "\n",
		strings.Repeat("01234567", 9) + "89": "  " + strings.TrimSpace(strings.Repeat("01234567 ", 9)) + "\n  89\n",
	} {
		if got := hexGroups(digits); got != want {
			t.Errorf("%q: %q, want %q", digits, got, want)
		}
	}
}
