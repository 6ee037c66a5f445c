package deps

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree parses every Go file of the repository.
func tree(t *testing.T) []source {
	t.Helper()
	const root = "../.."
	var all []source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && name != root && (strings.HasPrefix(base, ".") || slices.Contains([]string{"testdata", "vendor", "artifacts", "bin"}, base)) {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(base) != ".go" {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(name))
		all = append(all, source{fset: fset, file: file, dir: filepath.ToSlash(dir), name: base})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTreeKeepsTheRules(t *testing.T) {
	t.Parallel()
	all := tree(t)
	if len(all) == 0 {
		t.Fatal("no source found")
	}
	for name, check := range map[string]func(source) []string{
		"imports point one way": checkImports, "deciding packages are pure": checkPurity, "nothing is too long": checkLength,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, s := range all {
				for _, w := range check(s) {
					t.Error(w)
				}
			}
		})
	}
	t.Run("types stay small", func(t *testing.T) {
		t.Parallel()
		for _, w := range checkMethods(all) {
			t.Error(w)
		}
	})
}

func parse(t *testing.T, dir, text string) source {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "x.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return source{fset: fset, file: file, dir: dir, name: "x.go"}
}

func TestImportsOfTheWrongDirectionAreFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"cmd/l2tpd", "pkg/engine", true},
		{"cmd/l2tpd", "pkg/kernel", true},
		{"pkg/engine", "pkg/call", true},
		{"pkg/call", "pkg/policy", true},
		{"pkg/call", "pkg/control", true},
		{"pkg/control", "pkg/wire", true},
		{"pkg/kernel/kerneltest", "pkg/kernel", true},
		{"pkg/kernel", "pkg/wire", true},
		{"pkg/wire", "pkg/control", false},
		{"pkg/control", "pkg/ppp", false},
		{"pkg/ppp", "pkg/control", false},
		{"pkg/policy", "pkg/call", false},
		{"pkg/call", "pkg/pool", false},
		{"pkg/kernel", "pkg/engine", false},
		{"pkg/kernel", "pkg/network", false},
		{"pkg/access/pppoe", "pkg/auth/radius", false},
		{"pkg/engine", "pkg/kernel", true},
		{"pkg/api", "cmd/l2tpd", false},
		{"pkg/api", "test/deps", false},
	} {
		s := parse(t, c.from, fmt.Sprintf("package x\nimport _ %q\n", module+c.to))
		if got := checkImports(s); (len(got) == 0) != c.ok {
			t.Errorf("%s imports %s: %q", c.from, c.to, got)
		}
	}
}

func TestImpureCodeIsFound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		`import "net/netip"; var _ netip.Addr`:                      0,
		`import "time"; const x = time.Second; var _ time.Duration`: 0,

		`import "net"`:                      1,
		`import "os/exec"`:                  1,
		`import "sync/atomic"`:              1,
		`import "crypto/rand"`:              1,
		`import "log/slog"`:                 1,
		`import "golang.org/x/sys/unix"`:    1,
		`import "time"; var x = time.Now()`: 1,

		`import clock "time"; var x = clock.Since(clock.Time{})`:               1,
		`import "time"; var x = time.NewTimer`:                                 1,
		`func f() { go f() }`:                                                  1,
		`type t struct { c chan int }`:                                         1,
		`func f(time struct{ Now func() int }) int { return time.Now() }`:      0,
		`import "time"; func f() { time.AfterFunc(time.Second, func() {}) }`:   1,
		`import ("sync"; "context"); var ( _ sync.Mutex; _ context.Context ) `: 2,
	} {
		if got := checkPurity(parse(t, "pkg/control", "package x\n"+text)); len(got) != want {
			t.Errorf("%s: %q", text, got)
		}
		if got := checkPurity(parse(t, "pkg/engine", "package x\n"+text)); len(got) != 0 {
			t.Errorf("%s in an impure package: %q", text, got)
		}
	}
}

func TestLengthIsLimited(t *testing.T) {
	t.Parallel()
	body := func(lines int) string { return "{\n" + strings.Repeat("\n", lines-2) + "}\n" }
	for _, c := range []struct {
		text string
		want int
	}{
		{"package x\nfunc f() " + body(80), 0},
		{"package x\nfunc f() " + body(81), 1},
		{"package x\n// f is long: a table.\nfunc f() " + body(81), 0},
		{"package x\nfunc f() {\n// long: a table\n" + strings.Repeat("\n", 90) + "}\n", 0},
		{"package x\n" + strings.Repeat("\n", 800), 1},
		{"// long: all tables\n\npackage x\n" + strings.Repeat("\n", 800), 0},
	} {
		if got := checkLength(parse(t, "pkg/x", c.text)); len(got) != c.want {
			t.Errorf("%.60q: %q", c.text, got)
		}
	}
}

func TestMethodsAreCounted(t *testing.T) {
	t.Parallel()
	methods := func(n int) string {
		var b strings.Builder
		b.WriteString("package x\ntype t[T any] struct{}\n")
		for i := range n {
			fmt.Fprintf(&b, "func (*t[T]) M%d() {}\n", i)
		}
		return b.String()
	}
	if got := checkMethods([]source{parse(t, "pkg/x", methods(15))}); len(got) != 0 {
		t.Errorf("fifteen: %q", got)
	}
	if got := checkMethods([]source{parse(t, "pkg/x", methods(10)), parse(t, "pkg/x", methods(6))}); len(got) != 1 {
		t.Errorf("sixteen over two files: %q", got)
	}
}
