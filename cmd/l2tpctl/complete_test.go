package main

import (
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api/apitest"
)

func TestNamesAndIDsAreCompletedFromTheDaemon(t *testing.T) {
	t.Parallel()
	evil := daemon()
	evil.Sessions[1].User = "$(reboot)"
	evil.Tunnels[2].HostName = "two\nlines\tand a tabulator"
	for name, args := range map[string][]string{
		"complete-tunnel":        {"tunnel", "show", ""},
		"complete-tunnel-option": {"session", "list", "--tunnel", ""},
		"complete-session":       {"session", "close", ""},
		"complete-call":          {"call", "up", ""},
		"complete-user":          {"explain", "user", ""},
		"complete-peer":          {"events", "--peer", ""},
		"complete-debug":         {"debug", "stop", ""},
		"complete-debug-tunnel":  {"debug", "state", "--tunnel", ""},
		"complete-debug-call":    {"debug", "all", "--tunnel=4711", "--call", "b"},
		"complete-debug-user":    {"debug", "all", "--tunnel", "4711", "--user", ""},
		"complete-debug-session": {"debug", "packet", "--session=4"},
		"complete-debug-two":     {"debug", "all", "--tunnel", "--call", ""},
		"complete-debug-no-more": {"debug", "state", "--tunnel", "4711", ""},
		"complete-output":        {"status", "-o", ""},
		"complete-shell":         {"completion", ""},
		"complete-second":        {"tunnel", "show", "4711", ""},
		"complete-nothing":       {"reload", ""},
		"complete-command":       {"session", ""},
		"complete-begun":         {"call", "show", "b"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := append([]string{"__complete"}, args...)
			golden(t, name, list, try(t, apitest.New(evil), list...))
		})
	}
}

// A shell asks in the middle of a line: whatever is the matter with the daemon, nothing comes, and at once.
func TestNoDaemonCompletesNothing(t *testing.T) {
	t.Parallel()
	golden(t, "complete-no-daemon", []string{"__complete", "tunnel", "show", ""}, try(t, nil, "__complete", "tunnel", "show", ""))
	hangs := apitest.New(daemon())
	hangs.Hang()
	got := tryFor(t, time.Millisecond, hangs, "__complete", "call", "up", "")
	if got.code != exitOK || strings.Contains(got.out, "branch") || strings.Contains(got.err, "waiting") {
		t.Errorf("%+v", got)
	}
}

func TestEveryShellGetsItsScript(t *testing.T) {
	t.Parallel()
	for shell, want := range map[string]string{"bash": "complete -o default -F __start_l2tpctl", "zsh": "#compdef l2tpctl", "fish": "complete -c l2tpctl"} {
		got := try(t, nil, "completion", shell)
		if got.code != exitOK || !strings.Contains(got.out, want) || got.err != "" {
			t.Errorf("%s: exit code %d, %s, %.200q", shell, got.code, got.err, got.out)
		}
	}
	golden(t, "completion-no-shell", []string{"completion", "tcsh"}, try(t, nil, "completion", "tcsh"))
	golden(t, "help-completion", []string{"completion", "--help"}, try(t, nil, "completion", "--help"))
}
