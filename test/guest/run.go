package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Patience of the runner, sized for emulation on a busy host.
const (
	bootLimit   = 3 * time.Minute
	beatEvery   = 2 * time.Second
	beatLimit   = 90 * time.Second
	dumpLimit   = 10 * time.Second
	consoleKept = 120 // lines of the kernel's console shown on failure
)

// session is one command's life in one guest, seen from the host.
type session struct {
	k       kernel
	opts    *options
	m       *machine
	log     *kernelLog
	console *lastLines
	match   *matcher
	out     io.Writer
	err     io.Writer
	started time.Time
	ready   *readyReport
	dead    bool // the guest did not live to report the command's end
}

// runGuest boots a kernel, runs the command there and judges the run.
func runGuest(cache, kernelSeries string, opts *options) (int, error) {
	k, err := getKernel(cache, kernelSeries, false)
	if err != nil {
		return exitRunner, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return exitRunner, err
	}
	if opts.artifacts != "" {
		if err := os.MkdirAll(opts.artifacts, 0o755); err != nil {
			return exitRunner, err
		}
	}
	t := task{
		Series: kernelSeries, Args: opts.args, Env: opts.env, Dir: dir,
		Terminal: opts.verb == "shell", Artifacts: opts.artifacts != "",
	}
	s := &session{
		k: k, opts: opts, log: newKernelLog(), console: &lastLines{keep: consoleKept},
		match: &matcher{re: opts.match}, started: time.Now(),
	}
	s.out, s.err = io.MultiWriter(os.Stdout, s.match), io.MultiWriter(os.Stderr, s.match)
	if s.m, err = startMachine(k, t, opts); err != nil {
		return exitRunner, err
	}
	defer s.m.stop()
	if t.Terminal {
		restore, err := s.attachTerminal()
		if err != nil {
			return exitRunner, err
		}
		defer restore()
	}
	return s.follow()
}

// frame is one frame from the guest, or the end of them.
type frame struct {
	kind byte
	body []byte
	err  error
}

// follow relays the guest's output until the command has ended, or it is
// clear that it will not.
func (s *session) follow() (int, error) {
	frames := make(chan frame)
	quit := make(chan struct{})
	defer close(quit)
	go func() {
		for {
			kind, body, err := readFrame(s.m.agent)
			select {
			case frames <- frame{kind, body, err}:
			case <-quit:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	consoleDone := make(chan struct{})
	go func() {
		w := io.Writer(s.console)
		if s.opts.console {
			w = io.MultiWriter(s.console, os.Stderr)
		}
		_, _ = io.Copy(w, s.m.console) // ends with QEMU
		close(consoleDone)
	}()
	signals := interrupts()
	silence := time.NewTimer(bootLimit)
	var limit <-chan time.Time // runs from ready, not while booting; a shell has none
	for {
		select {
		case f := <-frames:
			if f.err != nil { // QEMU is gone or going: a panic reboots, -no-reboot exits
				<-consoleDone
				s.dead = true
				return s.fail(exitRunner, "the guest died before the command ended (panic?)")
			}
			if f.kind == frameReady && !s.opts.isShell() {
				limit = time.After(s.opts.timeout)
			}
			silence.Reset(beatLimit)
			if done, code, err := s.handle(f); done {
				return code, err
			}
		case <-silence.C:
			s.dead = true
			if s.ready == nil {
				return s.fail(exitRunner, fmt.Sprintf("the guest did not boot within %v", bootLimit))
			}
			return s.fail(exitRunner, fmt.Sprintf("the guest's kernel hangs: no sign of life for %v", beatLimit))
		case <-limit:
			s.askForDump(frames)
			return s.fail(exitTimeout, fmt.Sprintf("the command did not end within %v", s.opts.timeout))
		case sig := <-signals:
			return 128 + int(sig.(unix.Signal)), errors.New("interrupted")
		}
	}
}

func (o *options) isShell() bool { return o.verb == "shell" }

// handle deals with one frame; done means that the command has ended.
func (s *session) handle(f frame) (done bool, code int, err error) {
	switch f.kind {
	case frameOut:
		_, _ = s.out.Write(f.body) // a closed standard output is the reader's wish
	case frameErr:
		_, _ = s.err.Write(f.body)
	case frameKmsg:
		s.log.add(string(f.body))
	case frameReady:
		s.ready = new(readyReport)
		if err := json.Unmarshal(f.body, s.ready); err != nil {
			return true, exitRunner, err
		}
		fmt.Fprintf(os.Stderr, "guest: Linux %s, %s, ready after %.1fs\n",
			s.ready.Release, s.m.accel, time.Since(s.started).Seconds())
	case frameFatal:
		s.dead = true
		code, err := s.fail(exitRunner, "the guest's init gave up: "+string(f.body))
		return true, code, err
	case frameExit:
		var x exitReport
		if err := json.Unmarshal(f.body, &x); err != nil {
			return true, exitRunner, err
		}
		code, err := s.verdict(x)
		return true, code, err
	}
	return false, 0, nil
}

// verdict judges a run whose command has ended. The command's own failure
// goes before the runner's complaints, but those are printed all the same.
func (s *session) verdict(x exitReport) (int, error) {
	var wrong []string
	code := x.Code
	if x.Signal != "" {
		wrong = append(wrong, "the command was killed by "+x.Signal)
	} else if x.Code != 0 {
		wrong = append(wrong, fmt.Sprintf("the command ended with exit code %d", x.Code))
	}
	if s.opts.isShell() {
		return code, nil
	}
	if len(s.log.faulty) > 0 {
		wrong = append(wrong, "the kernel complained")
	}
	if !s.match.found() {
		wrong = append(wrong, fmt.Sprintf("no line of output matches %q", s.opts.match))
	}
	if len(wrong) == 0 {
		return 0, nil
	}
	if code == 0 {
		code = exitRunner
	}
	return s.fail(code, strings.Join(wrong, "; "))
}

// fail prints what it takes to understand a failed run.
func (s *session) fail(code int, why string) (int, error) {
	w := os.Stderr
	fmt.Fprintf(w, "\nguest: FAILED: %s\n", why)
	fmt.Fprintf(w, "guest: command: %s\n", quoteArgs(s.opts.args))
	fmt.Fprintf(w, "guest: kernel:  %s, after %.1fs\n", s.k.release, time.Since(s.started).Seconds())
	if report := s.log.report(); report != "" {
		fmt.Fprintf(w, "guest: kernel log (! is a fault):\n%s", report)
	} else if tail := s.log.tail(15); len(tail) > 0 {
		fmt.Fprintf(w, "guest: end of the kernel log:\n  %s\n", strings.Join(tail, "\n  "))
	}
	if tail := s.console.String(); s.dead && tail != "" {
		fmt.Fprintf(w, "guest: end of the console:\n%s\n", tail)
	}
	return code, nil
}

// askForDump has the guest print its processes and quit the command, which
// makes a Go program print its goroutines.
func (s *session) askForDump(frames <-chan frame) {
	fmt.Fprintf(os.Stderr, "\nguest: time is up, asking for a dump\n")
	w := &frameWriter{w: s.m.agent}
	if w.send(frameDump, nil) != nil {
		return
	}
	limit := time.After(dumpLimit)
	for {
		select {
		case f := <-frames:
			if f.err != nil || f.kind == frameExit {
				return
			}
			_, _, _ = s.handle(f)
		case <-limit:
			return
		}
	}
}

// attachTerminal connects our terminal to the guest's, if we have one.
func (s *session) attachTerminal() (restore func(), err error) {
	const in = 0
	w := &frameWriter{w: s.m.agent}
	go func() {
		_, _ = io.Copy(w.stream(frameInput), os.Stdin)
		w.post(frameInput, []byte{4}) // end of input is Ctrl-D on a terminal
	}()
	old, err := unix.IoctlGetTermios(in, unix.TCGETS)
	if err != nil {
		return func() {}, nil // not a terminal: a script feeds the shell
	}
	raw := *old
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(in, unix.TCSETS, &raw); err != nil {
		return nil, err
	}
	sendWindowSize(w)
	go func() {
		for range windowChanges() {
			sendWindowSize(w)
		}
	}()
	return func() { _ = unix.IoctlSetTermios(in, unix.TCSETS, old) }, nil
}

func sendWindowSize(w *frameWriter) {
	size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil {
		return
	}
	w.post(frameResize, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, size.Row), size.Col))
}

// matcher looks for a line of output that matches; without expression all do.
type matcher struct {
	re   *regexp.Regexp
	mu   sync.Mutex
	line []byte
	hit  bool
}

func (m *matcher) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, part := range bytes.SplitAfter(b, []byte("\n")) {
		m.line = append(m.line, part...)
		if bytes.HasSuffix(m.line, []byte("\n")) {
			m.check()
		}
	}
	return len(b), nil
}

func (m *matcher) check() {
	m.hit = m.hit || m.re != nil && m.re.Match(bytes.TrimRight(m.line, "\r\n"))
	m.line = m.line[:0]
}

func (m *matcher) found() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.check()
	return m.re == nil || m.hit
}

// lastLines keeps the end of what is written to it.
type lastLines struct {
	keep int
	mu   sync.Mutex
	buf  []byte
}

func (l *lastLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, b...)
	if n := bytes.Count(l.buf, []byte("\n")); n > 2*l.keep {
		l.buf = []byte(l.cut())
	}
	return len(b), nil
}

func (l *lastLines) cut() string {
	all := strings.SplitAfter(string(l.buf), "\n")
	return strings.Join(all[max(0, len(all)-l.keep):], "")
}

func (l *lastLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(strings.ReplaceAll(l.cut(), "\r", ""))
}

// quoteArgs shows a command line so that it can be pasted into a shell.
func quoteArgs(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$&|;<>()*?[]#~`!{}") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		quoted[i] = a
	}
	return strings.Join(quoted, " ")
}
