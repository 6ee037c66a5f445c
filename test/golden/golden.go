package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Compare fails the test unless got is what testdata/name holds.
func Compare(t *testing.T, name, got string) {
	t.Helper()
	compare(t, filepath.Join("testdata", name), got)
}

func compare(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// Transcripts runs every file of testdata that matches pattern as a test of its own, of which there must be at least least. A file
// is a script in lines that begin with "> ", each followed by what came of it; "#" begins a comment. start gives, for one file, the
// function that carries out a line.
func Transcripts(t *testing.T, pattern string, least int, start func(t *testing.T) func(line string) []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(files) < least {
		t.Fatalf("transcripts: %d, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, file, play(string(text), start(t)))
		})
	}
}

// play carries a script out.
func play(script string, carryOut func(line string) []string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		input, isInput := strings.CutPrefix(line, "> ")
		switch {
		case isInput:
			b.WriteString(line)
			for _, out := range carryOut(strings.TrimSpace(input)) {
				b.WriteString("  " + out + "\n")
			}
		case strings.HasPrefix(line, "#"), strings.TrimSpace(line) == "":
			b.WriteString(line)
		}
	}
	return b.String()
}
