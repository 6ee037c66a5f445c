package deps

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/l2tpd/l2tpd/"

// pure are the deciding packages, each with what it may import of this module.
var pure = map[string][]string{
	"pkg/wire":    {},
	"pkg/control": {"pkg/wire", "pkg/slab"},
	"pkg/slab":    {},
	"pkg/ppp":     {"pkg/wire"},
	"pkg/policy":  {"pkg/wire", "pkg/control", "pkg/ppp"},
	"pkg/call":    {"pkg/wire", "pkg/control", "pkg/ppp", "pkg/policy"},
	"pkg/health":  {"pkg/api"},
}

// adapters implement the interfaces that pkg/engine declares: none knows
// another, nor the engine. The engine may use the types that they speak in.
var adapters = []string{"pkg/kernel", "pkg/pppd", "pkg/access", "pkg/auth/radius", "pkg/network", "pkg/ipv6", "pkg/resolve"}

// impureImports are what a pure package may not import; "x/" is all below x.
var impureImports = []string{
	"net", "net/http", "os", "os/", "sync", "sync/", "context", "syscall", "crypto/rand", "math/rand", "math/rand/v2",
	"log", "log/", "golang.org/x/sys/", "golang.org/x/sync/", "unsafe",
}

// impureTime are the functions of package time that read or run a clock.
var impureTime = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}

const (
	maxFileLines = 800
	maxFuncLines = 80
	maxMethods   = 15
	// excuse in a comment of the function, or before the package clause of the
	// file, is followed by the reason for its length.
	excuse = "long:"
)

// source is one parsed Go file; dir is its package's path in the tree.
type source struct {
	fset *token.FileSet
	file *ast.File
	dir  string
	name string
}

func (s source) test() bool      { return strings.HasSuffix(s.name, "_test.go") }
func (s source) generated() bool { return strings.HasPrefix(s.name, "z") && ast.IsGenerated(s.file) }

func (s source) at(pos token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", path.Join(s.dir, s.name), s.fset.Position(pos).Line, fmt.Sprintf(format, args...))
}

// within returns which of the packages dir is, or is below; "" if none.
func within(dir string, packages []string) string {
	for _, p := range packages {
		if dir == p || strings.HasPrefix(dir, p+"/") {
			return p
		}
	}
	return ""
}

func purePackages() []string {
	names := make([]string, 0, len(pure))
	for name := range pure {
		names = append(names, name)
	}
	return names
}

// checkImports finds imports that point the wrong way. Tests may import anything.
func checkImports(s source) (wrong []string) {
	if s.test() {
		return nil
	}
	for _, spec := range s.file.Imports {
		full, _ := strconv.Unquote(spec.Path.Value) // the parser has seen to the quotes
		to, ours := strings.CutPrefix(full, module)
		if !ours {
			continue
		}
		if reason := whyNot(s.dir, to); reason != "" {
			wrong = append(wrong, s.at(spec.Pos(), "%s imports %s: %s", s.dir, to, reason))
		}
	}
	return wrong
}

// whyNot says why package from must not import package to, or nothing.
func whyNot(from, to string) string {
	fromPure, fromAdapter, toAdapter := within(from, purePackages()), within(from, adapters), within(to, adapters)
	switch {
	case within(to, []string{"cmd"}) != "":
		return "nothing imports a command"
	case within(to, []string{"test"}) != "" && within(from, []string{"test"}) == "":
		return "nothing imports test code"
	case fromPure != "":
		if within(to, append([]string{fromPure}, pure[fromPure]...)) == "" {
			return "not below it"
		}
	case fromAdapter != "" && to == "pkg/engine":
		return "the engine declares the interface, the adapter does not know it"
	case fromAdapter != "" && toAdapter != "" && fromAdapter != toAdapter:
		return "adapters do not know each other"
	}
	return ""
}

// checkPurity finds what has no place in deciding code.
func checkPurity(s source) (wrong []string) {
	if s.test() || within(s.dir, purePackages()) == "" {
		return nil
	}
	for _, spec := range s.file.Imports {
		name, _ := strconv.Unquote(spec.Path.Value)
		if slices.ContainsFunc(impureImports, func(banned string) bool {
			return name == banned || strings.HasSuffix(banned, "/") && strings.HasPrefix(name, banned)
		}) {
			wrong = append(wrong, s.at(spec.Pos(), "pure package imports %s", name))
		}
	}
	timeName := importName(s.file, "time")
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			wrong = append(wrong, s.at(n.Pos(), "pure package starts a goroutine"))
		case *ast.ChanType:
			wrong = append(wrong, s.at(n.Pos(), "pure package uses a channel"))
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if ok && timeName != "" && x.Name == timeName && slices.Contains(impureTime, n.Sel.Name) {
				wrong = append(wrong, s.at(n.Pos(), "pure package calls time.%s", n.Sel.Name))
			}
		}
		return true
	})
	return wrong
}

// importName is the name that a file knows a package by, "" if it does not.
func importName(f *ast.File, name string) string {
	for _, spec := range f.Imports {
		if spec.Path.Value == strconv.Quote(name) {
			if spec.Name != nil {
				return spec.Name.Name
			}
			return path.Base(name)
		}
	}
	return ""
}

// checkLength finds files and functions that are too long, without excuse.
func checkLength(s source) (wrong []string) {
	if s.generated() {
		return nil
	}
	excused := func(from, to token.Pos) bool {
		return slices.ContainsFunc(s.file.Comments, func(g *ast.CommentGroup) bool {
			return g.Pos() >= from && g.End() <= to && strings.Contains(g.Text(), excuse)
		})
	}
	length := s.fset.File(s.file.Pos()).LineCount()
	if length > maxFileLines && !excused(s.file.FileStart, s.file.Package) {
		wrong = append(wrong, s.at(s.file.Pos(), "file of %d lines, more than %d", length, maxFileLines))
	}
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		from := f.Pos()
		if f.Doc != nil {
			from = f.Doc.Pos()
		}
		n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1
		if n > maxFuncLines && !excused(from, f.End()) {
			wrong = append(wrong, s.at(f.Pos(), "%s has %d lines, more than %d", f.Name.Name, n, maxFuncLines))
		}
	}
	return wrong
}

// checkMethods finds types with too many exported methods, over all of a tree's files: what others must know of a type. How a
// machine is cut into functions of its own is bounded by the length of files and functions.
func checkMethods(all []source) (wrong []string) {
	count, where := map[string]int{}, map[string]string{}
	for _, s := range all {
		if s.generated() || strings.HasPrefix(s.dir, "test/") {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil || !f.Name.IsExported() {
				continue
			}
			t := s.dir + " " + s.file.Name.Name + "." + receiver(f.Recv.List[0].Type)
			if count[t]++; count[t] == maxMethods+1 {
				where[t] = s.at(f.Pos(), "the method one too many")
			}
		}
	}
	for _, t := range slices.Sorted(maps.Keys(where)) {
		wrong = append(wrong, fmt.Sprintf("%s: %s has %d exported methods, more than %d", where[t], t, count[t], maxMethods))
	}
	return wrong
}

// receiver names the type of a method's receiver.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}
