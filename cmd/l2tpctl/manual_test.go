package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/l2tpd/l2tpd/test/manual"
)

const top = "../.."

func TestManPageIsFresh(t *testing.T) {
	t.Parallel()
	root := (&tool{}).root()
	p := manual.New("l2tpctl", "1", strings.ToLower(root.Short[:1])+root.Short[1:])
	p.Source(t, top+"/docs/man/l2tpctl.1.md", map[string]func(*manual.Page){
		"commands": func(p *manual.Page) { p.Commands(root) },
		"options":  func(p *manual.Page) { p.Flags(root.PersistentFlags()) },
	})
	p.Fresh(t, top+"/docs/man/l2tpctl.1")
}

// Every command line of l2tpctl in the manuals is one that it takes. Each but those
// that a sentence mentions is run where no daemon is: that is all that it complains of.
func TestCommandsInTheManualsExist(t *testing.T) {
	t.Parallel()
	lines := manual.Lines(t, top, "l2tpctl")
	if len(lines) < 30 {
		t.Errorf("%d command lines found, want at least 30", len(lines))
	}
	for _, l := range lines {
		if err := l.Fits((&tool{}).root()); err != nil {
			t.Errorf("%s: l2tpctl %q: %v", l.At, l.Args, err)
			continue
		}
		if l.Mention {
			continue
		}
		if strings.HasPrefix(strings.Join(l.Args, " "), "config check /") { // a file that is not there
			continue
		}
		if got := try(t, nil, l.Args...); got.code != exitOK && got.code != exitUnreachable {
			t.Errorf("%s: l2tpctl %q: exit code %d\n%s", l.At, l.Args, got.code, got.err)
		}
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	t.Parallel()
	manual.Walk((&tool{}).root(), func(c *cobra.Command) {
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		if got := try(t, nil, args...); got.code != exitOK || !strings.Contains(got.out, "Usage:") || got.err != "" {
			t.Errorf("l2tpctl %q: exit code %d, %q, %q", args, got.code, got.out, got.err)
		}
	})
}
