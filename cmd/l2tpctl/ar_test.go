package main

import (
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/api/apitest"
	"github.com/l2tpd/l2tpd/test/manual"
)

// arCommands are the 26 L2TP commands of the reference manual.
const arCommands = `ENABLE L2TP, DISABLE L2TP, ENABLE L2TP SERVER, DISABLE L2TP SERVER, ENABLE L2TP DEBUG, DISABLE L2TP DEBUG,
ADD L2TP CALL, SET L2TP CALL, DELETE L2TP CALL, ACTIVATE L2TP CALL, DEACTIVATE L2TP CALL, ADD L2TP IP, DELETE L2TP IP,
ADD L2TP PASSWORD, SET L2TP PASSWORD, DELETE L2TP PASSWORD, ADD L2TP USER, SET L2TP USER, DELETE L2TP USER, SET L2TP CHECKSUM, SET L2TP FILTER,
SHOW L2TP, SHOW L2TP CALL, SHOW L2TP IP, SHOW L2TP TUNNEL, SHOW L2TP USER`

// arParameters are those of ADD and SET, by their command.
var arParameters = map[string]string{
	"CALL": "TYPE, IP, REMOTE, DIAL, NUMBER, PASSWORD, PRE13, PRECEDENCE, SPEED, SUBADDRESS",
	"IP":   "PPPTEMPLATE, NUMBER, PRE13",
	"USER": "ACTION, IP, PORT, NUMBER, PASSWORD, PRE13, PREFIX, TIMEOUT",
}

// arFields are how many fields the tables of the manual have that SHOW prints (tables 1 to 8), by the heading of ours.
var arFields = map[string]int{
	"Fields of SHOW L2TP": 35, "Fields of SHOW L2TP CALL": 11, "Fields of SHOW L2TP IP": 4, "Fields of SHOW L2TP USER": 9,
	"Fields of SHOW L2TP TUNNEL": 29, "Fields of SHOW L2TP TUNNEL CALL": 25, "Fields of SHOW L2TP TUNNEL COUNTER": 22,
}

// Every command, parameter and field of the reference manual has its row.
func TestNothingOfTheARIsForgotten(t *testing.T) {
	t.Parallel()
	page := manual.ComingFromAR(t, "../..")
	names := func(heading string) (all []string) {
		for _, r := range page[heading] {
			if r.Here == "" {
				t.Errorf("%s: nothing takes the place of %s", heading, r.There)
			}
			if slices.Contains(all, r.There) {
				t.Errorf("%s: %s is there twice", heading, r.There)
			}
			all = append(all, r.There)
		}
		return all
	}
	commands := strings.Split(strings.ReplaceAll(arCommands, "\n", " "), ", ")
	if got := names("Commands"); len(commands) != 26 || !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(commands))) {
		t.Errorf("commands %q, want %q", got, commands)
	}
	parameters := names("Parameters")
	for command, list := range arParameters {
		for p := range strings.SplitSeq(list, ", ") {
			if !slices.Contains(parameters, command+" "+p) {
				t.Errorf("no row for the parameter %s of %s", p, command)
			}
		}
	}
	for heading, want := range arFields {
		if got := names(heading); len(got) != want {
			t.Errorf("%s: %d fields, want %d", heading, len(got), want)
		}
	}
}

// What takes their place exists: commands, keys of the configuration, fields of the JSON.
func TestWhatTakesThePlaceOfTheARExists(t *testing.T) {
	t.Parallel()
	keys := manual.Keys(t, "../..")
	words := regexp.MustCompile(`^[a-z0-9{}: -]+$`) // values, as the remarks have them
	for heading, rows := range manual.ComingFromAR(t, "../..") {
		for _, r := range rows {
			for _, code := range slices.Concat(manual.Code(r.Here), manual.Code(r.Remarks)) {
				switch {
				case strings.HasPrefix(code, "systemctl "):
				case strings.HasPrefix(code, "l2tpctl "):
					args := strings.Fields(code)[1:]
					c, rest, err := (&tool{}).root().Find(args)
					if err == nil {
						err = c.ParseFlags(rest)
					}
					if err != nil || !c.Runnable() || !c.HasParent() {
						t.Errorf("%s, %s: no command %s: %v", heading, r.There, code, err)
					}
				case strings.HasPrefix(code, "."):
					if !jsonPath(reflect.TypeFor[api.Snapshot](), code) {
						t.Errorf("%s, %s: no field %s", heading, r.There, code)
					}
				case isKey(keys, code):
				case strings.Contains(r.Here, "`"+code+"`") || !words.MatchString(code):
					t.Errorf("%s, %s: no key %s", heading, r.There, code)
				}
			}
		}
	}
}

// arShown are the command lines whose tables show the fields of the JSON, by where those begin.
var arShown = map[string][]string{
	".status": {"status"}, ".counters": {"counters"}, ".accept": {"accept list"}, ".rules": {"lac rules -o wide"},
	".calls": {"call show branch", "call show phone", "call show backup", "call list"}, ".tunnels": {"tunnel show 4711", "tunnel list"},
	".sessions": {"session show branch", "session show line/12", "session list"},
}

// arPicture is tables, with a value for every field.
func arPicture() api.Snapshot {
	s := tables()
	s.Tunnels[0].Bearer, s.Sessions[0].Bearer = []string{"digital"}, []string{"digital"}
	return s
}

// What takes the place of a field that SHOW printed is not only in the JSON: the tables for people say something else when it is something
// else.
func TestTablesShowWhatTakesThePlaceOfTheAR(t *testing.T) {
	t.Parallel()
	shown := map[string]string{}
	for _, lines := range arShown {
		for _, line := range lines {
			shown[line] = try(t, apitest.New(arPicture()), strings.Fields(line)...).out
		}
	}
	seen := map[string]bool{}
	for heading, rows := range manual.ComingFromAR(t, "../..") {
		for _, r := range rows {
			for _, path := range manual.Code(r.Here) {
				if !strings.HasPrefix(path, ".") || seen[path] {
					continue
				}
				first, _, _ := strings.Cut(path[1:], ".")
				picture := arPicture()
				top := reflect.ValueOf(&picture).Elem()
				if first == "counters" { // which are those of the status
					top = top.FieldByName("Status")
				}
				if !changeAt(t, top, path) {
					t.Fatalf("%s: nothing to change", path)
				}
				for _, line := range arShown["."+strings.TrimSuffix(first, "[]")] {
					got := try(t, apitest.New(picture), strings.Fields(line)...)
					seen[path] = seen[path] || got.code == exitOK && got.out != shown[line]
				}
				if !seen[path] {
					t.Errorf("%s, %s: no table shows %s", heading, r.There, path)
				}
			}
		}
	}
	if len(seen) < 80 {
		t.Errorf("%d fields, want at least 80", len(seen))
	}
}

// changeAt makes something else of what jq would take by path. It is false if there is nothing.
func changeAt(t *testing.T, v reflect.Value, path string) (changed bool) {
	t.Helper()
	part, rest, _ := strings.Cut(strings.TrimPrefix(path, "."), ".")
	name, isList := strings.CutSuffix(part, "[]")
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return false
		}
		v = v.Elem()
	}
	for i := range v.NumField() {
		if tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); tag == name {
			v = v.Field(i)
			break
		}
	}
	if !isList {
		if rest != "" {
			return changeAt(t, v, rest)
		}
		change(t, v)
		return true
	}
	for i := range v.Len() {
		changed = true
		if rest == "" {
			change(t, v.Index(i))
			continue
		}
		changed = changeAt(t, v.Index(i), rest) || changed
	}
	return changed
}

// change makes another value of v, one that no rounding hides.
func change(t *testing.T, v reflect.Value) {
	t.Helper()
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = x.Add(-time.Hour)
		return
	case *netip.AddrPort:
		*x = netip.AddrPortFrom(netip.MustParseAddr("198.51.100.99"), x.Port()+1)
		return
	}
	switch v.Kind() { //nolint:exhaustive // no others are here
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.String:
		v.SetString(v.String() + "z")
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 7000)
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(v.Uint() + 7000)
	case reflect.Struct:
		change(t, v.Field(0))
	default:
		t.Fatalf("no other value of a %v is known", v.Type())
	}
}

func isKey(keys map[string]string, path string) bool {
	_, ok := keys[path]
	return ok
}

// jsonPath says whether a value of a type has what jq would take by path.
func jsonPath(t reflect.Type, path string) bool {
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "."), ".") {
		name, isList := strings.CutSuffix(part, "[]")
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return false
		}
		found := false
		for i := range t.NumField() {
			tag, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if tag == name {
				t, found = t.Field(i).Type, true
				break
			}
		}
		if !found || isList != (t.Kind() == reflect.Slice) {
			return false
		}
		if isList {
			t = t.Elem()
		}
	}
	return true
}
