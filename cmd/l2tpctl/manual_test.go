package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every command line in the manuals is one that this program takes.
func TestCommandsInTheManualsExist(t *testing.T) {
	t.Parallel()
	found := 0
	for _, page := range []string{"../../README.md", "../../docs/operations.md"} {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		shell := strings.Join(regexp.MustCompile("(?s)```sh\n.*?```").FindAllString(string(b), -1), "\n")
		for _, m := range regexp.MustCompile(`(?m)^(?:sudo )?l2tpctl ([^#\n]*)`).FindAllStringSubmatch(shell, -1) {
			found++
			args := strings.Fields(m[1])
			c, rest, err := (&tool{}).root().Find(args)
			if err != nil {
				t.Errorf("%s: l2tpctl %s: %v", page, m[1], err)
				continue
			}
			if err := c.ParseFlags(rest); err != nil {
				t.Errorf("%s: l2tpctl %s: %v", page, m[1], err)
				continue
			}
			if err := c.ValidateArgs(c.Flags().Args()); err != nil || c.HasAvailableSubCommands() {
				t.Errorf("%s: l2tpctl %s: %v", page, m[1], err)
			}
		}
	}
	if found < 15 {
		t.Errorf("%d command lines found, want at least 15", found)
	}
}
