//go:build kernel

package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Proc is a program that runs on a host until it ends or the lab does.
type Proc struct {
	Name string // host-program, as its log file is called
	Host *Host

	cmd   *exec.Cmd
	log   *record
	done  chan struct{} // closed when it has ended
	err   error         // how it ended; valid after done
	ended bool          // the test has seen it end
}

// Start starts a program; name is for its log.
func (h *Host) Start(name string, args ...string) *Proc {
	h.l.t.Helper()
	return h.start(name, exec.Command(args[0], args[1:]...))
}

func (h *Host) start(name string, c *exec.Cmd) *Proc {
	t := h.l.t
	t.Helper()
	p := &Proc{Name: h.Name + "-" + name, Host: h, cmd: c, done: make(chan struct{})}
	p.log = newRecord(filepath.Join(h.l.logs, p.Name+".log"), t)
	c.Stdout, c.Stderr = p.log, p.log
	c.WaitDelay = 5 * time.Second // a child of its may hold the pipe
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	c.SysProcAttr.Setpgid = true
	if err := h.Do(c.Start); err != nil {
		t.Fatalf("start %s: %v", p.Name, err)
	}
	h.l.procs = append(h.l.procs, p)
	go func() {
		p.err = c.Wait()
		close(p.done)
		p.log.wake()
	}()
	return p
}

// PID is the program's process id.
func (p *Proc) PID() int { return p.cmd.Process.Pid }

// ProcessorTime is what the program's threads have used of the processor, to the nanosecond: one that slept did not use any.
func (p *Proc) ProcessorTime() (used time.Duration) {
	p.Host.l.t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.PID()))
	if err != nil || len(threads) == 0 {
		p.Host.l.t.Fatalf("%s: no threads: %v", p.Name, err)
	}
	for _, name := range threads {
		stat, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // it has ended
		}
		var running int64
		if _, scan := fmt.Sscan(string(stat), &running); err != nil || scan != nil {
			p.Host.l.t.Fatal(errors.Join(err, scan))
		}
		used += time.Duration(running)
	}
	return used
}

// Signal sends a signal to the program alone.
func (p *Proc) Signal(s unix.Signal) {
	p.Host.l.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.Host.l.t.Fatalf("%s: signal %v: %v", p.Name, s, err)
	}
}

// Wait waits for the end and returns the exit code, -1 after a signal.
func (p *Proc) Wait() int {
	p.Host.l.t.Helper()
	select {
	case <-p.done:
	case <-time.After(Patience):
		p.Host.l.t.Fatalf("%s does not end", p.Name)
	}
	p.ended = true
	return p.cmd.ProcessState.ExitCode()
}

// Kill ends the program and its children with SIGKILL.
func (p *Proc) Kill() {
	p.Host.l.t.Helper()
	p.killGroup()
	p.Wait()
}

func (p *Proc) killGroup() { _ = unix.Kill(-p.PID(), unix.SIGKILL) } // gone already: good

// finish is the lab's end for a program that the test has left running.
func (p *Proc) finish() {
	p.killGroup()
	<-p.done
	p.log.close()
	for _, bad := range []string{"panic: ", "fatal error: ", "WARNING: DATA RACE"} {
		if strings.Contains(p.log.text(0), bad) {
			p.Host.l.t.Errorf("%s: its log has %q", p.Name, bad)
		}
	}
}

// Log returns what the program has said so far.
func (p *Proc) Log() string { return p.log.text(0) }

// Mark is the present end of the log, for WaitLogSince.
func (p *Proc) Mark() int { return p.log.size() }

// LogSince returns what the program has said since a mark.
func (p *Proc) LogSince(mark int) string { return p.log.text(mark) }

// WaitLog waits for a line that matches the expression, from the beginning of the log on, and returns the line.
func (p *Proc) WaitLog(expression string) string {
	p.Host.l.t.Helper()
	return p.WaitLogSince(0, expression)
}

// WaitLogSince waits for a line that matches the expression, from a mark on, and returns the line.
func (p *Proc) WaitLogSince(mark int, expression string) string {
	p.Host.l.t.Helper()
	line, err := p.waitLog(mark, regexp.MustCompile(expression))
	if err != nil {
		p.Host.l.t.Fatalf("%s: no line %q: %v", p.Name, expression, err)
	}
	return line
}

func (p *Proc) waitLog(mark int, re *regexp.Regexp) (string, error) {
	deadline := time.After(Patience)
	for {
		more := p.log.next()
		for line := range strings.Lines(p.log.text(mark)) {
			if re.MatchString(line) {
				return strings.TrimSpace(line), nil
			}
		}
		select {
		case <-more:
		case <-deadline:
			return "", fmt.Errorf("not within %v", Patience)
		}
		select {
		case <-p.done:
			if !re.MatchString(p.log.text(mark)) {
				return "", fmt.Errorf("the program has ended: %w", errors.Join(p.err, errEnded))
			}
		default:
		}
	}
}

var errEnded = errors.New("no more lines will come")

// CountLog counts the lines that match the expression.
func (p *Proc) CountLog(expression string) int {
	re := regexp.MustCompile(expression)
	n := 0
	for line := range strings.Lines(p.log.text(0)) {
		if re.MatchString(line) {
			n++
		}
	}
	return n
}

// record is a program's output, in memory and in a file.
type record struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	file    *os.File
	filed   int           // octets of buf that are in the file, too
	filedAt time.Time     // when the latest came there
	changed chan struct{} // closed at the next change
}

// fileEvery is how often the file gets what is new: a guest's file is the host's, and each write waits for that.
const fileEvery = 500 * time.Millisecond

func newRecord(path string, t testing.TB) *record {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644) // a program may be started more than once
	if err != nil {
		t.Fatal(err)
	}
	return &record{file: f, changed: make(chan struct{})}
}

// Write implements io.Writer.
func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buf.Write(b)
	var err error
	if time.Since(r.filedAt) > fileEvery {
		err = r.toFile()
	}
	close(r.changed)
	r.changed = make(chan struct{})
	return len(b), err
}

func (r *record) toFile() error {
	n, err := r.file.Write(r.buf.Bytes()[r.filed:])
	r.filed, r.filedAt = r.filed+n, time.Now()
	return err
}

func (r *record) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.changed)
	r.changed = make(chan struct{})
}

// next returns a channel that is closed at the next change.
func (r *record) next() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func (r *record) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Len()
}

func (r *record) text(from int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.buf.Bytes()[from:])
}

func (r *record) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = r.toFile(), r.file.Close() // the copy in memory is what tests read
}
