package observe

import (
	"flag"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/journal"
)

var update = flag.Bool("update", false, "write the journal's catalog anew")

const catalogFile = "../../configs/systemd/l2tpd.catalog"

func TestCatalogIsFresh(t *testing.T) {
	if *update {
		if err := os.WriteFile(catalogFile, []byte(Catalog()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(catalogFile)
	if err != nil || string(got) != Catalog() {
		t.Errorf("%s is not fresh, run the test with -update: %v", catalogFile, err)
	}
}

// named finds how the daemon gives names to events.
var named = []*regexp.Regexp{
	regexp.MustCompile(`slog\.String\("event", "([^"]+)"\)`),
	regexp.MustCompile(`strange(?:By)?\([^,]+, "([^"]+)"`),
	regexp.MustCompile(`\.line\(slog\.Level\w+, "[^"]+", "([^"]+)"`),
	regexp.MustCompile(`level, event, msg :?= slog\.Level\w+, "([^"]+)"`),
}

// Every event that the daemon tells of is explained, and no other.
func TestVocabularyIsComplete(t *testing.T) {
	t.Parallel()
	told := map[string]string{"pppoe-drop": "with the reason behind it"}
	for _, dir := range []string{"../../pkg", "../../cmd/l2tpd"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, re := range named {
				for _, m := range re.FindAllStringSubmatch(string(text), -1) {
					told[m[1]] = path
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(told) < 50 {
		t.Fatalf("only %d names are found", len(told))
	}
	var names []string
	for _, k := range Vocabulary() {
		names = append(names, k.Name)
		if told[k.Name] == "" {
			t.Errorf("%s: nobody tells of it", k.Name)
		}
		if !strings.HasSuffix(k.Mean, ".") || strings.ContainsAny(k.Mean+k.Do, "\n") {
			t.Errorf("%s: %q, %q", k.Name, k.Mean, k.Do)
		}
		delete(told, k.Name)
	}
	if !slices.IsSorted(names) {
		t.Error("the vocabulary is not sorted")
	}
	for name, path := range told {
		t.Errorf("%s, in %s, is not explained", name, path)
	}
}

func TestJournalKnowsEventsByID(t *testing.T) {
	t.Parallel()
	var got map[string]string
	log := New(Options{Format: FormatJournal, Writer: os.Stderr, journal: func(_ string, _ journal.Priority, fields map[string]string) error {
		got = fields
		return nil
	}})
	log.Info("call up", slog.String("event", "call-up"))
	if got["MESSAGE_ID"] != MessageID("call-up") || len(got["MESSAGE_ID"]) != 32 {
		t.Errorf("MESSAGE_ID %q", got["MESSAGE_ID"])
	}
	log.Info("PPPoE discovery packet dropped", slog.String("event", "pppoe-drop-rate"))
	if got["MESSAGE_ID"] != MessageID("pppoe-drop") {
		t.Errorf("of a dropped packet: MESSAGE_ID %q", got["MESSAGE_ID"])
	}
	log.Info("listening")
	if id, ok := got["MESSAGE_ID"]; ok {
		t.Errorf("of no event: MESSAGE_ID %q", id)
	}
}
