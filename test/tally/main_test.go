package main

import (
	"bytes"
	"strings"
	"testing"
)

// tallied returns what is counted of the events, what is shown, and what is noted of failures.
func tallied(t *testing.T, noskip bool, events string) (total counts, shown, failures string) {
	t.Helper()
	var out bytes.Buffer
	ta := &tally{out: &out, noskip: noskip, pkgs: map[string]*pkg{}, build: map[string][]string{}}
	if err := ta.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	return ta.total, out.String(), strings.Join(ta.failures, "")
}

const mixed = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestB","Output":"b_test.go:1: the reason\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"run","Package":"p","Test":"TestC"}
{"Action":"skip","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p","Elapsed":1}
`

func TestFailuresAreShownAndCounted(t *testing.T) {
	t.Parallel()
	got, out, failures := tallied(t, false, mixed)
	if (got != counts{passed: 1, failed: 1, skipped: 1}) {
		t.Errorf("got %+v", got)
	}
	if strings.Count(out, "the reason") != 2 || !strings.HasSuffix(out, " 1.0s\n    TestB: b_test.go:1: the reason\n") || strings.Contains(out, "quiet") {
		t.Errorf("output:\n%s", out)
	}
	if failures != "p TestB: b_test.go:1: the reason\n" {
		t.Errorf("failures:\n%s", failures)
	}
}

func TestFailureWithoutAWordOfTheTestIsToldByItsLastLine(t *testing.T) {
	t.Parallel()
	_, _, failures := tallied(t, false, `{"Action":"run","Package":"p","Test":"FuzzA"}
{"Action":"output","Package":"p","Test":"FuzzA","Output":"--- FAIL: FuzzA (5.02s)\n"}
{"Action":"output","Package":"p","Test":"FuzzA","Output":"    context deadline exceeded\n"}
{"Action":"output","Package":"p","Test":"FuzzA","Output":"=== NAME\n"}
{"Action":"fail","Package":"p","Test":"FuzzA"}
{"Action":"fail","Package":"p"}
{"Action":"run","Package":"q","Test":"TestB"}
`)
	if want := "p FuzzA: context deadline exceeded\nq all of it: the events ended before the package did\nq TestB: no word\n"; failures != want {
		t.Errorf("got %s want %s", failures, want)
	}
}

func TestSkipCanBeAFailure(t *testing.T) {
	t.Parallel()
	if got, _, _ := tallied(t, true, mixed); (got != counts{passed: 1, failed: 2}) {
		t.Errorf("got %+v", got)
	}
}

func TestPackageThatDiesIsAFailure(t *testing.T) {
	t.Parallel()
	for name, events := range map[string]string{
		"no end":   `{"Action":"run","Package":"p","Test":"TestA"}`,
		"panic":    `{"Action":"run","Package":"p","Test":"TestA"}` + "\n" + `{"Action":"fail","Package":"p"}`,
		"no build": `{"Action":"build-output","ImportPath":"p","Output":"bad\n"}` + "\n" + `{"Action":"fail","Package":"p","FailedBuild":"p"}`,
	} {
		if got, out, _ := tallied(t, false, events); (got != counts{failed: 1}) || name == "no build" && !strings.Contains(out, "bad") {
			t.Errorf("%s: got %+v\n%s", name, got, out)
		}
	}
}

func TestForeignLinesPassThrough(t *testing.T) {
	t.Parallel()
	if _, out, _ := tallied(t, false, "qemu: hello\n{\"x\":1}\n"); out != "qemu: hello\n{\"x\":1}\n" {
		t.Errorf("got %q", out)
	}
}
