package tty

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

const patience = time.Minute // for what should come at once

// modem is what is at the other end of a pty.
type modem struct {
	t      *testing.T
	master *os.File
	slave  *os.File // kept open, so that the master is not hung up between two openings by the line
	name   string   // of the slave
	heard  []byte
}

func newModem(t *testing.T) *modem {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	m := &modem{t: t, master: os.NewFile(uintptr(fd), "/dev/ptmx"), name: fmt.Sprintf("/dev/pts/%d", n)}
	m.slave, err = os.OpenFile(m.name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.vanish)
	return m
}

func (m *modem) vanish() { _, _ = m.master.Close(), m.slave.Close() }

// hears waits until the line has sent text.
func (m *modem) hears(text string) {
	m.t.Helper()
	if err := m.master.SetReadDeadline(time.Now().Add(patience)); err != nil {
		m.t.Fatal(err)
	}
	var b [1]byte
	for !bytes.HasSuffix(m.heard, []byte(text)) {
		if _, err := m.master.Read(b[:]); err != nil {
			m.t.Fatalf("heard %q, not %q: %v", m.heard, text, err)
		}
		m.heard = append(m.heard, b[0])
	}
	m.heard = nil
}

func (m *modem) says(text string) {
	m.t.Helper()
	if _, err := m.master.WriteString(text); err != nil {
		m.t.Fatal(err)
	}
}

// answers waits for what the line sends and says something in reply, pair after pair.
func (m *modem) answers(pairs ...string) {
	m.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		m.hears(pairs[i])
		m.says(pairs[i+1])
	}
}

// mode gives how the tty is set.
func (m *modem) mode() *unix.Termios {
	m.t.Helper()
	mode, err := unix.IoctlGetTermios(int(m.slave.Fd()), unix.TCGETS2)
	if err != nil {
		m.t.Fatal(err)
	}
	return mode
}

// owner is a line's handler.
type owner struct {
	t      *testing.T
	events chan string
	calls  chan Call
}

func newOwner(t *testing.T) *owner {
	return &owner{t: t, events: make(chan string, 100), calls: make(chan Call, 10)}
}

func (o *owner) Up()                   { o.events <- "up" }
func (o *owner) Down(err error)        { o.events <- "down: " + err.Error() }
func (o *owner) Ringing(number string) { o.events <- "ringing " + number }
func (o *owner) Ended(why string)      { o.events <- "ended: " + why }
func (o *owner) Arrived(c Call) {
	o.calls <- c
	o.events <- "arrived"
}

// sees waits for an event, which must be the next. A text that ends in * is the beginning of one.
func (o *owner) sees(want ...string) {
	o.t.Helper()
	for _, w := range want {
		select {
		case got := <-o.events:
			begin, some := strings.CutSuffix(w, "*")
			if got != w && (!some || !strings.HasPrefix(got, begin)) {
				o.t.Fatalf("event %q, want %q", got, w)
			}
		case <-time.After(patience):
			o.t.Fatalf("no event, want %q", w)
		}
	}
}

// call is the one that has arrived; the test closes its file.
func (o *owner) call() Call {
	o.t.Helper()
	o.sees("arrived")
	c := <-o.calls
	o.t.Cleanup(func() { _ = c.File.Close() })
	return c
}

// open begins to serve a line with short times, which ends with the test.
func open(t *testing.T, c policy.TTY, change ...func(*Line)) (*Line, *owner) {
	t.Helper()
	o := newOwner(t)
	l, err := newLine(Config{TTY: c, Handler: o})
	if err != nil {
		t.Fatal(err)
	}
	l.times = times{
		retry: time.Millisecond, mostWait: 10 * time.Millisecond, ring: patience, speed: patience, drop: time.Millisecond,
		poll: time.Millisecond, hangUp: patience,
	}
	for _, f := range change {
		f(l)
	}
	l.start()
	t.Cleanup(l.Close)
	return l, o
}

// await waits for a state.
func await(t *testing.T, l *Line, want State) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); l.Status().State != want; <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%v, want %v", l.Status(), want)
		}
	}
}

// reads takes as much from a file as there is in text, which it must be.
func reads(t *testing.T, f *os.File, text string) {
	t.Helper()
	if err := f.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(text))
	if n, err := io.ReadFull(f, b); err != nil || string(b) != text {
		t.Fatalf("read %q, %v; want %q", b[:n], err, text)
	}
}

// descriptors counts ours of a device.
func descriptors(t *testing.T, device string) int {
	t.Helper()
	names, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range names {
		if to, err := os.Readlink(name); err == nil && to == device {
			n++
		}
	}
	return n
}

// dialled is the outcome of Dial, under way in a goroutine.
type dialled struct {
	call Call
	err  error
	done sync.WaitGroup
}

func dial(ctx context.Context, l *Line, number, sub string) *dialled {
	d := &dialled{}
	d.done.Go(func() { d.call, d.err = l.Dial(ctx, number, sub) })
	return d
}

// fails waits for the outcome, which must be this one.
func (d *dialled) fails(t *testing.T, want Reason) {
	t.Helper()
	d.done.Wait()
	var failed *DialError
	if !errors.As(d.err, &failed) || failed.Reason != want {
		t.Fatalf("%v, want %v", d.err, want)
	}
}

// fakePins are control lines for a pty.
type fakePins struct {
	mu      sync.Mutex
	now     signals
	dropped int // times that DTR went down
}

func (p *fakePins) state() (signals, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now, nil
}

func (p *fakePins) ready(on bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !on {
		p.dropped++
		p.now.carrier = false
	}
	return nil
}

func (p *fakePins) show(s signals) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = s
}

func (p *fakePins) on(l *Line) { l.find = func(int) pins { return p } }
