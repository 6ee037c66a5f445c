package manual

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

func TestMarkdownBecomesRoff(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"paragraph":    {"one\ntwo `a-b`\n", ".PP\none two \\fBa\\-b\\fR\n"},
		"option":       {"say --wait, or -o json; half-open", ".PP\nsay \\-\\-wait, or \\-o json; half-open\n"},
		"emphasis":     {"**run** _FILE_, not max_half_open", ".PP\n\\fBrun\\fR \\fIFILE\\fR, not max_half_open\n"},
		"link":         {"see [the `log`](x.md#log)", ".PP\nsee the \\fBlog\\fR\n"},
		"no macro":     {"'tis so", ".PP\n\\(aqtis so\n"},
		"dot":          {".yaml files", ".PP\n\\&.yaml files\n"},
		"backslash":    {"a\\b ~ é", ".PP\na\\eb \\(ti \\[u00E9]\n"},
		"heading":      {"## Exit status\n\n0 or 1", ".SH \"EXIT STATUS\"\n0 or 1\n"},
		"table":        {"| A | B |\n|---|---|\n| `x\\|y` | why |\n", ".TP\n\\fBx|y\\fR\nwhy\n"},
		"three":        {"| A | B | C |\n|---|---|---|\n| x | y | z |", ".TP\nx\ny: z\n"},
		"terms":        {"- `a`, `b`: what\n  it is\n- `c`: other", ".TP\n\\fBa\\fR, \\fBb\\fR\nwhat it is\n.TP\n\\fBc\\fR\nother\n"},
		"bullets":      {"- `a`: x\n- plain: y", ".IP \\(bu 2\n\\fBa\\fR: x\n.IP \\(bu 2\nplain: y\n"},
		"code":         {"```sh\nl2tpctl -o json\n\n.x\n```", ".PP\n.RS 4\n.nf\nl2tpctl \\-o json\n\n\\&.x\n.fi\n.RE\n"},
		"comment":      {"<!-- seen by nobody -->\n\nx", ".PP\nx\n"},
		"long":         {strings.Repeat("word ", 20), ".PP\n" + strings.TrimSpace(strings.Repeat("word ", 16)) + "\nword word word word\n"},
		"long at dots": {strings.Repeat("word ", 16) + ".yaml", ".PP\n" + strings.TrimSpace(strings.Repeat("word ", 16)) + "\n\\&.yaml\n"},
	} {
		p := &Page{}
		p.line(".")
		p.Markdown(c.in)
		if diff := cmp.Diff(".\n"+c.want, p.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestEveryCommandOfALineIsFound(t *testing.T) {
	t.Parallel()
	got := commands(`sudo l2tpctl call up 'my call' --wait "30 s" && l2tpd check | tee x; l2tpd version # l2tpd dance`)
	want := [][]string{{"l2tpctl", "call", "up", "my call", "--wait", "30 s"}, {"l2tpd", "check"}, {"tee", "x"}, {"l2tpd", "version"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCommentsBeforeABlockAreItsOwn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "page.md")
	text := "<!-- refused -->\n```yaml\na: 1\n```\n\n<!-- far -->\n\n```yaml\nb: 2\n```\n<!--\nd: 4\n-->\n```yaml\nc: 3\n```\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range Blocks(t, path) {
		got = append(got, strings.TrimPrefix(b.At(), path)+" "+b.Complete())
		if b.Refused() != (b.Line == 2) {
			t.Errorf("%s: refused is %v", b.At(), b.Refused())
		}
	}
	if diff := cmp.Diff([]string{":2 a: 1\nrefused\n", ":8 b: 2\n\n", ":14 c: 3\nd: 4\n"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLinesAreHeldAgainstTheTree(t *testing.T) {
	t.Parallel()
	for line, good := range map[string]bool{
		"call up branch": true, "call up branch --wait 3": true,
		"call --help": true, "help call": true, "completion bash": true, "completion tcsh": false,
		"call up": false, "call": false, "call dance": false, "call up branch --loud": false, "call up a b": false, "dance": false,
	} {
		root := &cobra.Command{Use: "l2tpctl", Args: cobra.NoArgs}
		call := &cobra.Command{Use: "call", Run: func(*cobra.Command, []string) {}, Args: cobra.MinimumNArgs(1)}
		up := &cobra.Command{Use: "up CALL", Run: func(*cobra.Command, []string) {}, Args: cobra.ExactArgs(1)}
		up.Flags().Int("wait", 0, "")
		call.AddCommand(up)
		root.AddCommand(call)
		l := Line{Args: strings.Fields(line)}
		if err := l.Fits(root); (err == nil) != good {
			t.Errorf("%s: %v", line, err)
		}
	}
	if got := alternatives([]string{"explain", "call|user", "NAME"}); len(got) != 2 || got[1][1] != "user" {
		t.Errorf("alternatives: %q", got)
	}
}
