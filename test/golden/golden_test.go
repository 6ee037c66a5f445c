package golden

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlayKeepsInputAndReplacesOutput(t *testing.T) {
	t.Parallel()
	got := play("# story\n> one\n  stale\n\n> two\n  stale\n", func(line string) []string {
		if line == "two" {
			return []string{"a", "b"}
		}
		return nil
	})
	if diff := cmp.Diff("# story\n> one\n\n> two\n  a\n  b\n", got); diff != "" {
		t.Error(diff)
	}
}
