// Command tally reads the events of "go test -json" and prints what a person
// wants of them: a line for each package, and all the output of what failed.
// Below a package's line the first lines of its failures come again: what is
// above may be longer than what somebody keeps of it.
//
//	go test -json ./... | tally [-noskip] [-packages N] [-prefix TEXT] [-sum FILE] [-failures FILE]
//
// It counts tests and subtests as go test reports them. A package that fails
// without a failed test (it does not build, it panics, its events just end)
// counts as one failed test, and so does each of N packages that never came.
// With -noskip a skipped test is a failed one.
// "passed failed skipped" is appended to the file of -sum, and what failed, with
// its reasons, to that of -failures. The exit code is 1 if anything failed or if
// there were no tests at all.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"sort"
	"strings"
)

// event is what cmd/test2json documents, and the build's events of go test.
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Output      string
	Elapsed     float64
	FailedBuild string
}

type counts struct{ passed, failed, skipped int }

// pkg is one package's progress.
type pkg struct {
	counts
	name    string
	output  map[string][]string // by test; "" is the package's own
	reasons []string            // of failures, in a line each
	running map[string]bool
	done    bool
}

type tally struct {
	out    io.Writer
	prefix string
	noskip bool
	pkgs   map[string]*pkg
	build  map[string][]string // build output by import path
	total  counts

	failures []string // of all packages, in a line each
}

func main() {
	noskip := flag.Bool("noskip", false, "a skipped test is a failed one")
	packages := flag.Int("packages", 0, "this many packages must come")
	prefix := flag.String("prefix", "", "goes before every line")
	sum := flag.String("sum", "", "append the counts to this file")
	failures := flag.String("failures", "", "append what failed to this file")
	flag.Parse()
	t := &tally{out: os.Stdout, prefix: *prefix, noskip: *noskip, pkgs: map[string]*pkg{}, build: map[string][]string{}}
	if err := t.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(2)
	}
	if missing := *packages - len(t.pkgs); missing > 0 {
		t.say("FAIL %d of %d packages never ran", missing, *packages)
		t.total.failed += missing
	}
	appendTo(*sum, fmt.Sprintln(t.total.passed, t.total.failed, t.total.skipped))
	appendTo(*failures, strings.Join(t.failures, ""))
	if t.total.failed > 0 || t.total.passed == 0 {
		os.Exit(1)
	}
}

// appendTo adds text to a file, if there is to be one. A tally that cannot be told is no tally: it ends the program.
func appendTo(name, text string) {
	if name == "" || text == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(2)
	}
}

// read takes all events, and then closes the packages that never ended.
func (t *tally) read(r io.Reader) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var e event
		if json.Unmarshal(sc.Bytes(), &e) != nil || e.Action == "" {
			t.say("%s", sc.Text()) // not go test's: somebody has something to say
			continue
		}
		t.event(e)
	}
	var open []string
	for name, p := range t.pkgs {
		if !p.done {
			open = append(open, name)
		}
	}
	sort.Strings(open)
	for _, name := range open {
		t.pkgs[name].output[""] = append(t.pkgs[name].output[""], "the events ended before the package did\n")
		t.end(t.pkgs[name], event{Action: "fail"})
	}
	return sc.Err()
}

func (t *tally) event(e event) {
	switch e.Action {
	case "build-output":
		t.build[e.ImportPath] = append(t.build[e.ImportPath], e.Output)
		return
	case "build-fail":
		return // the package's own fail event names it
	}
	p := t.pkgs[e.Package]
	if p == nil {
		p = &pkg{name: e.Package, output: map[string][]string{}, running: map[string]bool{}}
		t.pkgs[e.Package] = p
	}
	switch e.Action {
	case "run":
		p.running[e.Test] = true
	case "output":
		p.output[e.Test] = append(p.output[e.Test], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.end(p, e)
			return
		}
		t.test(p, e)
	}
}

func (t *tally) test(p *pkg, e event) {
	delete(p.running, e.Test)
	switch {
	case e.Action == "pass":
		p.passed++
	case e.Action == "skip" && !t.noskip:
		p.skipped++
	default:
		p.failed++
		t.dump(e.Action+" "+p.name+" "+e.Test, p.output[e.Test])
		p.reasons = append(p.reasons, reasons(e.Test, p.output[e.Test])...)
	}
	delete(p.output, e.Test)
}

// end is a package's end. The tests that still ran then are what killed it.
func (t *tally) end(p *pkg, e event) {
	p.done = true
	if e.Action == "fail" && (p.failed == 0 || len(p.running) > 0) {
		p.failed++
		output := append(t.build[e.FailedBuild], p.output[""]...)
		t.dump("fail "+p.name, output)
		p.reasons = append(p.reasons, reasons("all of it", output)...)
		for test := range p.running {
			t.dump("unfinished "+p.name+" "+test, p.output[test])
			p.reasons = append(p.reasons, reasons(test, p.output[test])...)
		}
	}
	t.total.passed += p.passed
	t.total.failed += p.failed
	t.total.skipped += p.skipped
	if p.passed+p.failed+p.skipped == 0 {
		return // no test files
	}
	verdict := "ok  "
	if p.failed > 0 {
		verdict = "FAIL"
	}
	t.say("%s %-50s %4d passed, %d failed, %d skipped, %.1fs", verdict, p.name, p.passed, p.failed, p.skipped, e.Elapsed)
	for _, line := range p.reasons {
		t.say("    %s", line)
		t.failures = append(t.failures, fmt.Sprintf("%s%s %s\n", t.prefix, p.name, line))
	}
}

// said is what a test says by itself: "file_test.go:12: text".
var said = regexp.MustCompile(`^\s*\w+_test\.go:\d+: .`)

// reasons are the last things that a test that failed has said, in a short line each. For one that has said nothing by itself, such as a
// fuzz target or a build, it is the last line.
func reasons(test string, output []string) (lines []string) {
	last := "no word"
	for _, x := range output {
		first, _, _ := strings.Cut(strings.TrimSpace(x), "\n")
		if first != "" && !strings.HasPrefix(first, "=== ") {
			last = first
		}
		if said.MatchString(x) {
			lines = append(lines, fmt.Sprintf("%s: %.300s", test, first))
		}
	}
	if len(lines) == 0 {
		return []string{fmt.Sprintf("%s: %.300s", test, last)}
	}
	return lines[max(0, len(lines)-6):]
}

// dump shows the output of something that failed, without go test's framing.
func (t *tally) dump(title string, output []string) {
	t.say("--- %s", title)
	for line := range strings.Lines(strings.Join(output, "")) {
		if !strings.HasPrefix(line, "=== ") {
			t.say("    %s", strings.TrimRight(line, "\n"))
		}
	}
}

func (t *tally) say(format string, args ...any) {
	fmt.Fprintf(t.out, t.prefix+format+"\n", args...)
}
