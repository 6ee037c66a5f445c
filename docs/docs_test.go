package docs

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/config"
	"github.com/l2tpd/l2tpd/pkg/control"
)

// manuals are the pages that operators read.
var manuals = []string{"../README.md", "operations.md", "radius.md"}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

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
	for _, page := range manuals {
		for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(read(t, page), -1) {
			found++
			conf, err := config.Parse(page, []byte(m[1]), env)
			if err != nil {
				t.Errorf("%s:\n%s\n%v", page, m[1], err)
				continue
			}
			if len(conf.Warnings) > 0 {
				t.Errorf("%s:\n%s\nis warned of: %v", page, m[1], conf.Warnings)
			}
		}
	}
	if found < 3 {
		t.Errorf("%d configurations found in the manuals, want at least 3", found)
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
	for _, page := range manuals {
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
