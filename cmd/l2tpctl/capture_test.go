package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/api/apitest"
	"github.com/l2tpd/l2tpd/pkg/capture/capturetest"
)

func TestWhatOperatorsSeeOfCaptures(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]string{
		"help-capture":       "capture --help",
		"capture-nothing":    "capture -w x.pcapng",
		"capture-two":        "capture --all --tunnel 9 -w x.pcapng",
		"capture-no-file":    "capture --all",
		"capture-not-a-file": "capture --all -w /dev/null",
		"capture-size":       "capture --all -w x.pcapng --size 12",
		"capture-no-time":    "capture --all -w x.pcapng --for 0s",
		"capture-too-long":   "capture --all -w x.pcapng --for 100h",
		"capture-no-tunnel":  "capture --tunnel 4712 -w x.pcapng",
		"capture-bad-tunnel": "capture --tunnel lns1 -w x.pcapng",
		"capture-no-session": "capture --session 4711/347 -w x.pcapng",
		"capture-no-peer":    "capture --peer router -w x.pcapng",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list := strings.Fields(args)
			golden(t, name, list, try(t, apitest.New(daemon()), list...))
		})
	}
}

const lastWord = "2 packets in 1s, none was lost; the capture ended because its time is over\n"

// whole checks a file that a capture has written.
func whole(t *testing.T, b []byte) {
	t.Helper()
	f, err := capturetest.Read(b)
	if err != nil || len(f.Packets) != 2 || !f.Ended {
		t.Errorf("%d packets, ended %t: %v", len(f.Packets), f.Ended, err)
	}
}

func TestCaptureWritesAFileForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	b := apitest.New(daemon())
	path := filepath.Join(t.TempDir(), "a.pcapng")
	got := try(t, b, "capture", "--session", "branch", "-w", path, "--for", "1m", "--size", "32KiB")
	if got != (outcome{exitOK, "", lastWord}) {
		t.Errorf("%+v", got)
	}
	if c := b.Captures()[0]; c.What() != "session 4711/345" || c.For.String() != "1m0s" || c.Size != 32<<10 || !strings.HasPrefix(c.By, "uid=") {
		t.Errorf("asked for %+v", c)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("mode %v: %v", info.Mode(), err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole(t, file)
	if err := os.WriteFile(path, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := try(t, b, "capture", "--all", "-w", path); got.code != exitUsage || !strings.Contains(got.err, "--force") {
		t.Errorf("over another file: %+v", got)
	}
	if file, _ := os.ReadFile(path); string(file) != "mine" {
		t.Errorf("the other file is %q", file)
	}
	if got := try(t, b, "capture", "--all", "-w", path, "--force"); got != (outcome{exitOK, "", lastWord}) {
		t.Errorf("by force: %+v", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("by force: mode %v: %v", info.Mode(), err)
	}
}

func TestCaptureWritesToAPipe(t *testing.T) {
	t.Parallel()
	got := try(t, apitest.New(daemon()), "capture", "--peer", "203.0.113.2", "-w", "-")
	if got.code != exitOK || got.err != lastWord {
		t.Errorf("%d: %s", got.code, got.err)
	}
	whole(t, []byte(got.out))
}

// A refused capture leaves no file.
func TestCaptureThatIsRefusedLeavesNoFile(t *testing.T) {
	t.Parallel()
	b := apitest.New(daemon())
	b.Fail(api.Errorf(api.CodeConflict, "4 captures are under way already"))
	path := filepath.Join(t.TempDir(), "a.pcapng")
	if got := try(t, b, "capture", "--all", "-w", path); got.code != exitFailed {
		t.Errorf("%+v", got)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file is left: %v", err)
	}
}

// eager calls then when something has been written to it.
type eager struct {
	bytes.Buffer
	then func()
}

func (w *eager) Write(b []byte) (int, error) {
	w.then()
	return w.Buffer.Write(b)
}

// interrupted runs a command that has no end against a daemon, and presses Ctrl-C when it has written something.
func interrupted(t *testing.T, args ...string) outcome {
	t.Helper()
	b := apitest.New(daemon())
	b.Film()
	path, stop := serve(t, b)
	defer stop()
	ctx, interrupt := context.WithCancel(t.Context())
	out, stderr := &eager{then: interrupt}, &bytes.Buffer{}
	code := run(ctx, env{out: out, err: stderr, wait: -1, zone: now.Location()}, append([]string{"--socket", path}, args...))
	return outcome{code, out.String(), stderr.String()}
}

// Ctrl-C ends a capture in good order: the daemon says its last word, and the file is whole.
func TestCaptureIsEndedByTheOperator(t *testing.T) {
	t.Parallel()
	got := interrupted(t, "capture", "--all", "-w", "-")
	if got.code != exitOK || got.err != lastWord {
		t.Errorf("%d: %s", got.code, got.err)
	}
	whole(t, []byte(got.out))
}

// What is cut short is told of, and only whole blocks are written.
func TestWholeBlocksAreCopied(t *testing.T) {
	t.Parallel()
	all := try(t, apitest.New(daemon()), "capture", "--all", "-w", "-").out
	for n := range len(all) {
		var b bytes.Buffer
		done, err := copyBlocks(&b, strings.NewReader(all[:n]))
		f, bad := capturetest.Read(b.Bytes())
		if bad != nil || len(f.Packets) != done.packets || done.note != "" || err == nil != (b.Len() == n) || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d octets: %+v, %v; %v", n, done, err, bad)
		}
	}
	if _, err := copyBlocks(io.Discard, strings.NewReader("\x06\x00\x00\x00\xff\xff\xff\xff and so on")); err == nil {
		t.Error("a block of 4 GiB is taken")
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int64{
		"4096": 4096, "4KiB": 4096, "16MiB": 16 << 20, "1GiB": 1 << 30,
		"": 0, "4095": 0, "2GiB": 0, "-1": 0, "16MB": 0, "16 MiB": 0, "99999999999999999999": 0, "2147483647GiB": 0,
	} {
		if got, err := octets(s); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
}

func TestCaptureIsNotForATerminal(t *testing.T) {
	t.Parallel()
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal("no terminal: ", err)
	}
	defer tty.Close()
	var stderr bytes.Buffer
	code := run(t.Context(), env{out: tty, err: &stderr, wait: -1}, []string{"--socket", "/nowhere", "capture", "--all", "-w", "-"})
	if code != exitUsage || !strings.Contains(stderr.String(), "not for a terminal") {
		t.Errorf("%d: %s", code, &stderr)
	}
}
