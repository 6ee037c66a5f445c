package control

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// Each transcript is a script in lines that begin with "> ", followed by what the tunnel did. "#" begins a comment.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("transcripts: %d, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			s := newScript(t)
			for line := range strings.Lines(string(want)) {
				text, isInput := strings.CutPrefix(line, "> ")
				switch {
				case isInput:
					b.WriteString(line)
					for _, out := range s.line(text) {
						b.WriteString("  " + out + "\n")
					}
				case strings.HasPrefix(line, "#"), strings.TrimSpace(line) == "":
					b.WriteString(line)
				}
			}
			if *update {
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); diff != "" {
				t.Errorf("transcript differs (-file +run):\n%s", diff)
			}
		})
	}
}
