package docs

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/api"
)

var update = flag.Bool("update", false, "write generated pages instead of comparing")

// answers are what the daemon may answer, the root of all that the page describes.
var answers = []reflect.Type{
	reflect.TypeFor[api.Snapshot](), reflect.TypeFor[api.Result](), reflect.TypeFor[api.Error](), reflect.TypeFor[api.Event](), reflect.TypeFor[api.DebugRecord](), reflect.TypeFor[api.Request](),
}

// The page has every key of every answer, with what the source says of it.
func TestEveryKeyOfTheJSONIsDocumented(t *testing.T) {
	t.Parallel()
	got := apiPage(t)
	if *update {
		if err := os.WriteFile("api.md", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(strings.Split(read(t, "api.md"), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("api.md is not fresh, run the test with -update (-file +generated):\n%s", d)
	}
}

// apiPage makes docs/api.md from the types of pkg/api and their comments.
func apiPage(t *testing.T) string {
	t.Helper()
	source := structs(t)
	var b strings.Builder
	b.WriteString(`# The JSON of l2tpctl and of the socket

<!-- Generated from the types of pkg/api; do not edit. -->

` + "`l2tpctl -o json`" + ` prints what the daemon answered, a *Snapshot* or, of what it was told to do, a *Result*; ` + "`-o yaml`" + ` the same as YAML;
` + "`-o jsonl`" + ` each object of a Snapshot's lists on a line of its own, without what is around it. ` + "`l2tpctl events -o json`" + ` prints an *Event* a line, ` + "`l2tpctl debug all`" + ` a *DebugRecord*.
On the socket it is HTTP: GET ` + "`/v1/status`, `tunnels`, `sessions`, `calls`, `accept`, `rules`, `pools`, `peers`, `radius`, `counters`, `settings`, `lives`, `events`, `debugs`" + `;
and POST ` + "`/v1/actions`" + ` of a *Request*, ` + "`/v1/capture`" + `, whose answer is pcapng, and ` + "`/v1/debug`" + `, whose answer is a *DebugRecord* a line. A refusal is an *Error*.

` + "`apiVersion`" + ` is ` + "`" + api.APIVersion + "`" + `. Within a version keys are added, never renamed or removed: ignore those that you do not know. A key that has nothing to
say may be missing. Times are RFC 3339, in UTC or with their offset; durations end in their unit. Secrets are in none of it.
`)
	done, left := map[string]bool{}, slices.Clone(answers)
	for len(left) > 0 {
		x := left[0]
		left = left[1:]
		if done[x.Name()] {
			continue
		}
		done[x.Name()] = true
		s, ok := source[x.Name()]
		if !ok {
			t.Fatalf("no type %s in the source of pkg/api", x.Name())
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| Key | Value | Meaning |\n|---|---|---|\n", x.Name(), s.doc)
		for i := range x.NumField() {
			f := x.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if key == "" || key == "-" {
				t.Errorf("%s.%s has no key", x.Name(), f.Name)
				continue
			}
			word, inner := valueWord(f.Type)
			if inner != nil {
				left = append(left, inner)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", key, word, strings.ReplaceAll(s.fields[f.Name], "|", "\\|"))
		}
	}
	return b.String()
}

// valueWord is what a type is in JSON, and the structure within it, which has a heading of its own.
func valueWord(t reflect.Type) (word string, inner reflect.Type) {
	switch t.String() {
	case "time.Time":
		return "time", nil
	case "netip.Addr", "netip.AddrPort", "netip.Prefix":
		return map[string]string{"Addr": "address", "AddrPort": "address:port", "Prefix": "prefix"}[t.Name()], nil
	}
	switch t.Kind() { //nolint:exhaustive // all others are numbers
	case reflect.Pointer:
		return valueWord(t.Elem())
	case reflect.Slice:
		word, inner = valueWord(t.Elem())
		return "list of " + word, inner
	case reflect.Map:
		word, inner = valueWord(t.Elem())
		return word + " by name", inner
	case reflect.Struct:
		return "[" + t.Name() + "](#" + strings.ToLower(t.Name()) + ")", t
	case reflect.String:
		return "text", nil
	case reflect.Bool:
		return "true, false", nil
	}
	return "number", nil
}

// described is a structure of the source: its comment, and those of its fields.
type described struct {
	doc    string
	fields map[string]string
}

// structs reads the structures of pkg/api.
func structs(t *testing.T) map[string]described {
	t.Helper()
	files, err := filepath.Glob("../pkg/api/*.go")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]described{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			decl, ok := n.(*ast.GenDecl)
			if !ok {
				return true
			}
			for _, spec := range decl.Specs {
				x, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				if s, ok := x.Type.(*ast.StructType); ok {
					all[x.Name.Name] = described{oneLine(decl.Doc.Text()), fieldComments(s)}
				}
			}
			return true
		})
	}
	return all
}

func fieldComments(s *ast.StructType) map[string]string {
	all := map[string]string{}
	for _, f := range s.Fields.List {
		for _, name := range f.Names {
			all[name.Name] = oneLine(f.Doc.Text() + " " + f.Comment.Text())
		}
	}
	return all
}

// rows are the numbers of requirements in comments, which nobody but their authors knows.
var rows = regexp.MustCompile(` ?\((?:[SP]\d+(?:-|, )?)+\)`)

func oneLine(s string) string { return rows.ReplaceAllString(strings.Join(strings.Fields(s), " "), "") }

// Every path that the server has is on the page.
func TestEveryPathOfTheSocketIsDocumented(t *testing.T) {
	t.Parallel()
	page := read(t, "api.md")
	served := regexp.MustCompile(`HandleFunc\("(?:GET|POST) /"\+APIVersion\+"/(\w+)"`).FindAllStringSubmatch(read(t, "../pkg/api/server.go"), -1)
	served = append(served, regexp.MustCompile(`"(\w+)": +(?:part\(|s\.get)`).FindAllStringSubmatch(read(t, "../pkg/api/reading.go"), -1)...)
	if len(served) < 14 {
		t.Errorf("%d paths found in the source, want at least 14", len(served))
	}
	for _, m := range served {
		if !strings.Contains(page, "`"+m[1]+"`") && !strings.Contains(page, "/v1/"+m[1]+"`") {
			t.Errorf("/v1/%s is not on the page", m[1])
		}
	}
}
