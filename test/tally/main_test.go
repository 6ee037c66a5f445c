package main

import (
	"bytes"
	"strings"
	"testing"
)

func tallied(t *testing.T, noskip bool, events string) (counts, string) {
	t.Helper()
	var out bytes.Buffer
	ta := &tally{out: &out, noskip: noskip, pkgs: map[string]*pkg{}, build: map[string][]string{}}
	if err := ta.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	return ta.total, out.String()
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
	got, out := tallied(t, false, mixed)
	if (got != counts{passed: 1, failed: 1, skipped: 1}) {
		t.Errorf("got %+v", got)
	}
	if strings.Count(out, "the reason") != 2 || !strings.HasSuffix(out, " 1.0s\n    TestB: b_test.go:1: the reason\n") || strings.Contains(out, "quiet") {
		t.Errorf("output:\n%s", out)
	}
}

func TestSkipCanBeAFailure(t *testing.T) {
	t.Parallel()
	if got, _ := tallied(t, true, mixed); (got != counts{passed: 1, failed: 2}) {
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
		if got, out := tallied(t, false, events); (got != counts{failed: 1}) || name == "no build" && !strings.Contains(out, "bad") {
			t.Errorf("%s: got %+v\n%s", name, got, out)
		}
	}
}

func TestForeignLinesPassThrough(t *testing.T) {
	t.Parallel()
	if _, out := tallied(t, false, "qemu: hello\n{\"x\":1}\n"); out != "qemu: hello\n{\"x\":1}\n" {
		t.Errorf("got %q", out)
	}
}
