package pppd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// late is how long a test waits for what should happen at once.
const late = 20 * time.Second

// TestMain is the fake pppd where a script of fake says so. Otherwise it proves that nothing outlives its Supervisor.
func TestMain(m *testing.M) {
	if script := os.Getenv("FAKE_PPPD"); script != "" {
		os.Exit(fakePppd(strings.Split(script, ";")))
	}
	if os.Getenv("PPPD_TEST_DIR") != "" { // of a kernel test
		os.Exit(daemon())
	}
	code := m.Run()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if code == 0 && (bytes.Contains(stacks, []byte("pppd.(*Process)")) || bytes.Contains(stacks, []byte("pppd.newLauncher"))) {
		fmt.Fprintf(os.Stderr, "a goroutine is left:\n%s\n", stacks)
		code = 1
	}
	os.Exit(code)
}

// fakePppd carries out a script and gives its exit code.
func fakePppd(script []string) int {
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGTERM)
	for _, step := range script {
		verb, rest, _ := strings.Cut(step, " ")
		switch verb {
		case "say":
			fmt.Println(rest)
		case "report":
			_, _ = os.NewFile(reportFD, "reports").WriteString(rest + "\x00")
		case "show":
			show()
		case "flood":
			for i := range 20000 {
				fmt.Println("line", i)
			}
		case "wait": // for the signal
			<-hangUp
			fmt.Println("Terminating on signal 15")
		case "deaf":
			for range hangUp {
				fmt.Println("no")
			}
		case "orphan": // holds the pipes
			c := exec.Command("sleep", "1000")
			c.Stdout, c.ExtraFiles = os.Stdout, []*os.File{os.NewFile(reportFD, "reports")}
			if err := c.Start(); err != nil {
				panic(err)
			}
			fmt.Println("orphan", c.Process.Pid)
		case "kill":
			_ = unix.Kill(os.Getpid(), syscall.SIGKILL)
		case "exit":
			code, _ := strconv.Atoi(rest)
			return code
		}
	}
	return 0
}

// show says what a pppd finds.
func show() {
	fmt.Println("arguments", strings.Join(os.Args, " "))
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "FAKE_PPPD=") && !strings.HasPrefix(e, "GOCOVERDIR=") && !strings.HasPrefix(e, "PWD=") && !strings.HasPrefix(e, "_=") {
			fmt.Println("environment", e)
		}
	}
	names, _ := filepath.Glob("*")
	for _, name := range append(names, ".") {
		info, err := os.Stat(name)
		if err != nil {
			panic(err)
		}
		fmt.Println("file", name, info.Mode())
	}
	var open []string
	for fd := range 20 {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && fd <= reportFD {
			open = append(open, fmt.Sprintf("%d:%o", fd, st.Mode&unix.S_IFMT))
		}
	}
	fmt.Println("descriptors", strings.Join(open, " "))
	if sid, err := unix.Getsid(0); err != nil || sid != os.Getpid() {
		fmt.Println("not a session of its own")
	}
}

// fake makes a supervisor whose pppd carries out a script.
func fake(t *testing.T, cfg Config, script ...string) *Supervisor {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cfg.Path, cfg.Dir = filepath.Join(dir, "pppd"), filepath.Join(dir, "run")
	text := fmt.Sprintf("#!/bin/sh\nGOCOVERDIR=%s FAKE_PPPD='%s' exec %s \"$@\"\n", dir, strings.ReplaceAll(strings.Join(script, ";"), "'", `'\''`), self)
	syscall.ForkLock.RLock() // a child that another test has just started must not have the program open for writing (golang/go#22315)
	err = os.WriteFile(cfg.Path, []byte(text), 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	s := New(cfg)
	s.cover, s.straggle = func(string) error { return nil }, late
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), late)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(cfg.Dir); len(left) != 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	return s
}

// socket stands for a PPPoX socket.
func socket(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // of those that no Start has taken
	return f
}

func secret(s string) policy.Secret { return policy.NewSecret([]byte(s)) }

// login is a spec of an LNS.
func login(t *testing.T) Spec {
	t.Helper()
	return Spec{
		Name: "12/345", Socket: socket(t), Auth: []Auth{AuthPAP, AuthCHAP}, IPv4: ppp.IPv4Own, Local: ip("192.0.2.1"), Peer: ip("192.0.2.2"),
		Users: []User{{Name: "alice", Password: secret("wonderland")}, {Name: "zoë", Password: secret("caf\xc3\xa9-noir")}},
	}
}

// watched is a process with its events.
type watched struct {
	*Process
	t      *testing.T
	events chan Event
	lines  []string
}

func start(t *testing.T, s *Supervisor, spec Spec) *watched {
	t.Helper()
	w := &watched{t: t, events: make(chan Event, 1<<16)}
	var err error
	if w.Process, err = s.Start(spec, func(ev Event) { w.events <- ev }); err != nil {
		t.Fatal(err)
	}
	return w
}

// next gives the next event that is not a line.
func (w *watched) next() Event {
	w.t.Helper()
	over := time.After(late)
	for {
		select {
		case ev := <-w.events:
			line, ok := ev.(EvLine)
			if !ok {
				return ev
			}
			w.lines = append(w.lines, line.Text)
		case <-over:
			w.t.Fatalf("waited in vain for an event; lines so far: %q", w.lines)
		}
	}
}

// said waits for a line.
func (w *watched) said(line string) {
	w.t.Helper()
	over := time.After(late)
	for !slices.Contains(w.lines, line) {
		select {
		case ev := <-w.events:
			said, ok := ev.(EvLine)
			if !ok {
				w.t.Fatalf("%+v, want the line %q", ev, line)
			}
			w.lines = append(w.lines, said.Text)
		case <-over:
			w.t.Fatalf("waited in vain for the line %q; lines so far: %q", line, w.lines)
		}
	}
}

// ends waits for the end and compares it.
func (w *watched) ends(want string) {
	w.t.Helper()
	down, ok := w.next().(EvDown)
	if got := down.String(); !ok || got != want {
		w.t.Errorf("ended by %s\nwant     %s", got, want)
	}
	if len(w.events) != 0 {
		w.t.Errorf("after the end: %+v", <-w.events)
	}
}

// stop ends the process.
func (w *watched) stop() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), late)
	defer cancel()
	if err := w.Stop(ctx); err != nil {
		w.t.Error(err)
	}
}
