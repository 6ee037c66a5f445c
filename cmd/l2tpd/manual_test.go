package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/l2tpd/l2tpd/pkg/observe"
	"github.com/l2tpd/l2tpd/test/manual"
)

const top = "../.."

func TestManPageIsFresh(t *testing.T) {
	t.Parallel()
	root := commands(io.Discard)
	p := manual.New("l2tpd", "8", root.Short)
	p.Source(t, top+"/docs/man/l2tpd.8.md", map[string]func(*manual.Page){
		"commands": func(p *manual.Page) { p.Commands(root) },
		"events": func(p *manual.Page) {
			for _, k := range observe.Vocabulary() {
				p.Item("**"+k.Name+"**", k.Mean)
				if k.Do != "" {
					p.Below("To do: " + k.Do)
				}
			}
		},
	})
	p.Fresh(t, top+"/docs/man/l2tpd.8")
}

// Every command line of l2tpd in the manuals is one that it takes. Those that neither serve nor need a file of this host are run, but
// not those that a sentence mentions.
func TestCommandsInTheManualsExist(t *testing.T) {
	t.Parallel()
	lines := manual.Lines(t, top, "l2tpd")
	if len(lines) < 8 {
		t.Errorf("%d command lines found, want at least 8", len(lines))
	}
	for _, l := range lines {
		if err := l.Fits(commands(io.Discard)); err != nil {
			t.Errorf("%s: l2tpd %q: %v", l.At, l.Args, err)
		}
		if l.Mention || l.Args[0] == "run" || l.Args[0] == "check" {
			continue
		}
		var stdout, stderr bytes.Buffer
		if code := run(l.Args, &stdout, &stderr); code != 0 || stdout.Len() == 0 || stderr.Len() > 0 {
			t.Errorf("%s: l2tpd %q: exit code %d, %d octets, %q", l.At, l.Args, code, stdout.Len(), &stderr)
		}
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	t.Parallel()
	manual.Walk(commands(io.Discard), func(c *cobra.Command) {
		var stdout, stderr bytes.Buffer
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		if code := run(args, &stdout, &stderr); code != 0 || !strings.Contains(stdout.String(), "Usage:") || stderr.Len() > 0 {
			t.Errorf("l2tpd %q: exit code %d, %q, %q", args, code, &stdout, &stderr)
		}
	})
}

// "l2tpd check" takes the configurations that the manuals show and those of configs/examples, with their secrets where they say.
func TestCheckTakesWhatTheManualsShow(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", t.TempDir())
	texts := map[string]string{}
	for _, page := range manual.Pages(t, top) {
		for _, b := range manual.Blocks(t, page) {
			if b.Lang == "yaml" && !b.Refused() {
				texts[b.At()] = b.Complete()
			}
		}
	}
	examples, err := filepath.Glob(top + "/configs/examples/*.yaml")
	if err != nil || len(examples) < 9 {
		t.Fatalf("%d examples, %v", len(examples), err)
	}
	for _, path := range examples {
		texts[path] = manual.Read(t, path)
	}
	named := regexp.MustCompile(`/etc/l2tpd/[a-z0-9./-]+`)
	credential := regexp.MustCompile(`\{credential: ([a-z-]+)\}`)
	for at, text := range texts {
		dir := t.TempDir()
		write := func(path string) {
			if err := os.WriteFile(path, []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text = named.ReplaceAllStringFunc(text, func(path string) string {
			path = filepath.Join(dir, filepath.Base(path))
			write(path)
			return path
		})
		for _, m := range credential.FindAllStringSubmatch(text, -1) {
			write(filepath.Join(os.Getenv("CREDENTIALS_DIRECTORY"), m[1]))
		}
		file := filepath.Join(dir, "l2tpd.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		if code := run([]string{"check", file}, &stdout, &stderr); code != 0 || !strings.Contains(stdout.String(), ": good: ") {
			t.Errorf("%s: exit code %d\n%s%s", at, code, &stdout, &stderr)
		}
	}
}
