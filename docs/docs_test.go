package docs

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/config"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/test/manual"
)

func read(t *testing.T, path string) string { return manual.Read(t, path) }

// Every configuration that a manual shows is a good one, without a warning. A comment of HTML before it, which readers do not see, may
// complete one that is only a part, or say "refused": then the code after it is what "l2tpd check" says of it.
func TestEveryConfigurationInTheManualsIsGood(t *testing.T) {
	t.Parallel()
	env := config.Env{
		ReadSecret: func(string) ([]byte, bool, error) {
			return []byte("0123456789abcdef0123456789abcdef\n"), false, nil
		},
		CredentialsDir: "/run/credentials/l2tpd.service",
		Hostname:       func() (string, error) { return "edge1", nil },
	}
	found := 0
	for _, page := range manual.Pages(t, "..") {
		blocks := manual.Blocks(t, page)
		for i, b := range blocks {
			if b.Lang != "yaml" {
				continue
			}
			found++
			if b.Refused() {
				_, err := config.Parse("l2tpd.yaml", []byte(b.Text), env)
				if err == nil || i+1 == len(blocks) || err.Error()+"\n" != blocks[i+1].Text {
					t.Errorf("%s: is to be refused with the words below it, gives:\n%v", b.At(), err)
				}
				continue
			}
			conf, err := config.Parse(page, []byte(b.Complete()), env)
			if err != nil {
				t.Errorf("%s:\n%s\n%v", b.At(), b.Complete(), err)
				continue
			}
			if len(conf.Warnings) > 0 {
				t.Errorf("%s:\n%s\nis warned of: %v", b.At(), b.Complete(), conf.Warnings)
			}
		}
	}
	if found < 8 {
		t.Errorf("%d configurations found in the manuals, want at least 8", found)
	}
}

// A man page that groff complains of looks odd somewhere.
func TestManPagesAreClean(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"l2tpd.8", "l2tpctl.1", "l2tpd.yaml.5"} {
		path := filepath.Join("man", name)
		cmd := exec.CommandContext(t.Context(), "groff", "-man", "-Tutf8", "-ww", path)
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		page, err := cmd.Output()
		if errors.Is(err, exec.ErrNotFound) {
			t.Fatal("groff is not there: scripts/test installs it, from Debian's package groff-base")
		}
		if err != nil || complaints.Len() > 0 {
			t.Errorf("%s: %v\n%s", name, err, &complaints)
		}
		for _, trace := range []string{"`", "**", "<!--", "](", "``"} {
			if bytes.Contains(page, []byte(trace)) {
				t.Errorf("%s shows %q, which is Markdown", name, trace)
			}
		}
	}
}

// causes returns every word that the daemon may write as a cause: those of control, and those that pkg/call has in its source.
func causes(t *testing.T) []string {
	t.Helper()
	var words []string
	for c := control.CauseNone; c <= control.CauseRefused; c++ {
		words = append(words, c.String())
	}
	sources, err := filepath.Glob("../pkg/call/*.go")
	if err != nil {
		t.Fatal(err)
	}
	n := len(words)
	for _, path := range sources {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, m := range regexp.MustCompile(`(?:Cause: |ppp\.Reason\w+:\s+\{)"([a-z-]+)"`).FindAllStringSubmatch(read(t, path), -1) {
			words = append(words, m[1])
		}
	}
	if len(words) == n {
		t.Fatal("no causes found in pkg/call")
	}
	return words
}

func TestEveryCauseIsExplained(t *testing.T) {
	t.Parallel()
	page := read(t, "operations.md")
	_, table, ok := strings.Cut(page, "| Cause | Of | It means |")
	if !ok {
		t.Fatal("operations.md has no table of causes")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	for _, c := range causes(t) {
		if !strings.Contains(table, "`"+c+"`") {
			t.Errorf("operations.md does not explain the cause %q", c)
		}
	}
}

func TestLinksInTheManualsLeadSomewhere(t *testing.T) {
	t.Parallel()
	anchor := regexp.MustCompile(`[^a-z0-9 -]`)
	for _, page := range manual.Pages(t, "..") {
		for _, m := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(read(t, page), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, fragment, _ := strings.Cut(m[1], "#")
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(target); errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: %s does not exist", page, m[1])
				continue
			}
			if fragment == "" {
				continue
			}
			found := false
			for _, h := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(read(t, target), -1) {
				id := strings.ReplaceAll(anchor.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")
				found = found || id == fragment
			}
			if !found {
				t.Errorf("%s: %s has no heading for #%s", page, target, fragment)
			}
		}
	}
}
