package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/config"
	"github.com/l2tpd/l2tpd/test/golden"
)

// What the command line says, on which stream and with which exit code. Each golden holds all three.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	// A file with a secret is warned of when others may read it, which depends on how it was checked out.
	if err := errors.Join(os.Chmod("testdata/warned.yaml", 0o644), os.Chmod("testdata/secret", 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"no-command":         {},
		"help":               {"--help"},
		"help-run":           {"run", "--help"},
		"help-check":         {"check", "--help"},
		"unknown-command":    {"dance"},
		"unknown-flag":       {"check", "--loud"},
		"flag-without-value": {"run", "--config"},
		"too-many-arguments": {"check", "a.yaml", "b.yaml"},
		"run-with-argument":  {"run", "a.yaml"},
		"log-format":         {"run", "-c", "testdata/good.yaml", "--log-format", "xml"},
		"run-missing-file":   {"run", "-c", "testdata/none.yaml"},
		"run-bad-file":       {"run", "-c", "testdata/bad.yaml"},
		"check-good":         {"check", "testdata/good.yaml"},
		"check-flag":         {"check", "-c", "testdata/good.yaml"},
		"check-warnings":     {"check", "testdata/warned.yaml"},
		"check-bad":          {"check", "testdata/bad.yaml"},
		"check-no-yaml":      {"check", "testdata/broken.yaml"},
		"check-missing-file": {"check", "testdata/none.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			code := run(args, &stdout, &stderr)
			got := fmt.Sprintf("$ l2tpd %s\n-- exit code %d\n-- stdout\n%s-- stderr\n%s", strings.Join(args, " "), code, &stdout, &stderr)
			golden.Compare(t, name+".golden", got)
		})
	}
}

// The reference that the program prints is the one that the tests hold against the defaults.
func TestReferenceIsTheAnnotatedConfiguration(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	if code := run([]string{"reference"}, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Errorf("exit code %d, stderr %q", code, &stderr)
	}
	if diff := cmp.Diff(string(config.Reference()), stdout.String()); diff != "" {
		t.Error(diff)
	}
}

func TestVersionIsOneLine(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"version", "--version"} {
		var stdout, stderr bytes.Buffer
		if code := run([]string{arg}, &stdout, &stderr); code != 0 || !regexp.MustCompile(`^l2tpd \S+\n$`).Match(stdout.Bytes()) {
			t.Errorf("%s: exit code %d, stdout %q", arg, code, &stdout)
		}
	}
}
