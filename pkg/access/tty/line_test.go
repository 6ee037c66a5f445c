package tty

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

const lcp = "~\xff}#\xc0!}!}!} }\x34~" // how PPP begins

// modemTTY has scripts for a modem.
func modemTTY(device string) policy.TTY {
	return policy.TTY{
		Device: device, Speed: 57600, Type: policy.CallAsync, DialIn: true, DialOut: true,
		Init:   []string{"", "ATZ", "OK", `ATS0=0\c`, "", "", "OK"},
		Answer: []string{"RING", `\c`, "RING", "ATA", "CONNECT", `\c`},
		Dial:   []string{"ABORT", "LINE IN USE", "", `ATDT\T`, "CONNECT", `\c`},
		HangUp: []string{"", `+++\c`, "OK", "ATH", "OK"},
	}
}

// nullModem has none.
func nullModem(device string) policy.TTY {
	return policy.TTY{Device: device, DialIn: true, DialOut: true}
}

func (m *modem) initialised() {
	m.t.Helper()
	m.answers("ATZ\r", "ATZ\r\r\nOK\r\n", "ATS0=0\r", "\r\nOK\r\n")
}

func TestCallByModemArrivesWithItsNumberAndSpeed(t *testing.T) {
	t.Parallel()
	m := newModem(t)
	l, o := open(t, modemTTY(m.name))
	for range 2 { // Up is told once
		m.initialised()
		if l.Status().Counters.Rung == 0 {
			o.sees("up")
		}
		await(t, l, StateWaiting)
		m.says("\r\nRING\r\n\r\nDATE = 0101\r\nTIME = 1200\r\nNMBR = 5551234\r\n")
		o.sees("ringing ")
		m.says("\r\nRING\r\n")
		m.hears("ATA\r")
		m.says("\r\nCONNECT 33600/ARQ/V34\r\n" + lcp)
		c := o.call()
		if c.Speed != 33600 || c.CallingNumber != "5551234" || c.CalledNumber != "" {
			t.Errorf("%+v", c)
		}
		reads(t, c.File, "\n"+lcp)
		if s := l.Status(); s.State != StateInUse || s.Speed != 33600 || s.CallingNumber != "5551234" {
			t.Errorf("%+v", s)
		}
		if err := c.File.Close(); err != nil {
			t.Fatal(err)
		}
		l.Release("the user has gone")
		l.Release("again")
		m.answers("+++", "\r\nOK\r\n", "ATH\r", "\r\nOK\r\n")
	}
	m.initialised()
	await(t, l, StateWaiting)
	if diff := cmp.Diff(Status{State: StateWaiting, Why: "the user has gone", Counters: Counters{Rung: 2, Arrived: 2}}, l.Status()); diff != "" {
		t.Error(diff)
	}
}

func TestModemThatAnswersByItselfNeedsNoScript(t *testing.T) {
	t.Parallel()
	m := newModem(t)
	_, o := open(t, nullModem(m.name))
	o.sees("up")
	m.says("\r\nRING\r\n\r\nNMBR = 77\r\n\r\nRING\r\n\r\nCARRIER 28800\r\n\r\nCONNECT 115200\r\n")
	o.sees("ringing ")
	if c := o.call(); c.Speed != 28800 || c.CallingNumber != "77" {
		t.Errorf("%+v", c)
	}
}

// What follows the flag is for the line discipline.
func TestFirstOctetOfPPPIsACallAndNoMoreIsRead(t *testing.T) {
	t.Parallel()
	for _, begin := range []string{"~", "\xff}#"} {
		m := newModem(t)
		_, o := open(t, nullModem(m.name))
		o.sees("up")
		m.says("noise" + begin + lcp)
		c := o.call()
		if c.Speed != defaultSpeed {
			t.Errorf("speed %d", c.Speed)
		}
		reads(t, c.File, lcp)
	}
}

func TestScriptMayBeginWithWhatTheCallerSays(t *testing.T) {
	t.Parallel()
	m := newModem(t)
	tty := nullModem(m.name)
	tty.Answer = []string{"CLIENT", `CLIENTSERVER\c`}
	_, o := open(t, tty)
	o.sees("up")
	m.says("~~CLIENT")
	o.sees("ringing ")
	m.hears("CLIENTSERVER")
	o.call()
}

func TestCallerWhoGivesUpIsForgotten(t *testing.T) {
	t.Parallel()
	m := newModem(t)
	l, o := open(t, nullModem(m.name), func(l *Line) { l.times.ring = time.Millisecond })
	o.sees("up")
	m.says("RING\r\n")
	o.sees("ringing ", "ended: the caller has given up")
	await(t, l, StateWaiting)
	if diff := cmp.Diff(Counters{Rung: 1, Lost: 1}, l.Status().Counters); diff != "" {
		t.Error(diff)
	}
}

func TestAnswerThatFailsEndsTheCall(t *testing.T) {
	t.Parallel()
	m := newModem(t)
	_, o := open(t, modemTTY(m.name))
	m.initialised()
	o.sees("up")
	m.says("RING\r\nRING\r\n")
	o.sees("ringing ")
	m.answers("ATA\r", "\r\nNO CARRIER\r\n")
	o.sees(`ended: the modem says "NO CARRIER"`)
	m.answers("+++", "OK", "ATH\r", "OK")
	m.initialised()
}

func TestLineThatOnlyDialsTakesNoCalls(t *testing.T) {
	t.Parallel()
	m := newModem(t)
	tty := modemTTY(m.name)
	tty.DialIn = false
	l, o := open(t, tty)
	m.initialised()
	o.sees("up")
	m.says("RING\r\nRING\r\n" + lcp)
	await(t, l, StateWaiting)
	d := dial(t.Context(), l, "1", "")
	m.answers("ATDT1\r", "\r\nCONNECT\r\n")
	d.done.Wait()
	if d.err != nil {
		t.Fatal(d.err)
	}
	_ = d.call.File.Close()
	if len(o.events) > 0 {
		t.Errorf("event %q", <-o.events)
	}
}

func TestDialGivesTheLineWhenConnected(t *testing.T) {
	t.Parallel()
	m := newModem(t)
	tty := modemTTY(m.name)
	tty.Dial = []string{"", `ATD\T\sW\U`, "CONNECT", `\c`}
	l, _ := open(t, tty)
	for range 2 {
		m.initialised()
		await(t, l, StateWaiting)
		d := dial(t.Context(), l, "+1 (555) 123", "42")
		m.hears("ATD+1 (555) 123 W42\r")
		if s := l.Status(); s.State != StateDialling || s.CalledNumber != "+1 (555) 123" {
			t.Errorf("%+v", s)
		}
		dial(t.Context(), l, "2", "").fails(t, InUse)
		m.says("\r\nCONNECT 57600\r\n" + lcp)
		d.done.Wait()
		if d.err != nil || d.call.Speed != 57600 || d.call.CalledNumber != "+1 (555) 123" {
			t.Fatalf("%+v, %v", d.call, d.err)
		}
		reads(t, d.call.File, "\n"+lcp)
		dial(t.Context(), l, "2", "").fails(t, InUse)
		_ = d.call.File.Close()
		l.Release("done")
		m.answers("+++", "OK", "ATH\r", "OK")
	}
	if diff := cmp.Diff(Counters{Dialled: 2}, l.Status().Counters); diff != "" {
		t.Error(diff)
	}
}

// Whichever is first has the line, and the other one's call ends.
func TestRingAndDialMeet(t *testing.T) {
	t.Parallel()
	m := newModem(t)
	l, o := open(t, nullModem(m.name))
	o.sees("up")
	told := 0 // of ringing and its end, in turn
	for range 200 {
		await(t, l, StateWaiting)
		d := dial(t.Context(), l, "1", "")
		m.says("RING\r")
		d.done.Wait()
		if d.err == nil {
			_ = d.call.File.Close()
			l.Release("")
		} else {
			d.fails(t, InUse)
		}
		m.says("NO CARRIER\r")
		for len(o.events) > 0 {
			o.sees([]string{"ringing ", "ended: the caller has given up"}[told%2])
			told++
		}
	}
	m.says("NO CARRIER\r")
	await(t, l, StateWaiting)
	if c := l.Status().Counters; c.Arrived > 0 || c.Dialled > 200 || c.DialFailed > c.Dialled || c.Down > 0 {
		t.Errorf("%+v", c)
	}
}

func TestFailureOfACallHasItsReason(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		says   string
		reason Reason
		cdn    uint16
	}{
		{"\r\nNO CARRIER\r\n", NoCarrier, 7},
		{"\r\nVOICE\r\n", NoCarrier, 7},
		{"\r\nBUSY\r\n", Busy, 8},
		{"\r\nNO DIALTONE\r\n", NoDialTone, 9},
		{"\r\nNO DIAL TONE\r\n", NoDialTone, 9},
		{"\r\nNO ANSWER\r\n", Timeout, 10},
		{"", Timeout, 10},
		{"\r\nCONNECT 9600\r\nlog", Framing, 11},
		{"\r\nCONNECT 9600\r\nlog\r\nNO CARRIER\r\n", NoCarrier, 7},
		{"\r\nERROR\r\n", Refused, 4},
		{"LINE IN USE", Refused, 4},
	} {
		t.Run(c.says, func(t *testing.T) {
			t.Parallel()
			m := newModem(t)
			tty := modemTTY(m.name)
			if c.reason == Timeout && c.says == "" || c.reason == Framing { // nothing else ends the wait
				tty.Dial = append([]string{"TIMEOUT", "1"}, tty.Dial...)
			}
			if strings.Contains(c.says, "CONNECT") {
				tty.Dial = append(tty.Dial, "login:", "me")
			}
			l, _ := open(t, tty)
			m.initialised()
			await(t, l, StateWaiting)
			d := dial(t.Context(), l, "123", "")
			m.answers("ATDT123\r", c.says)
			d.fails(t, c.reason)
			if got := c.reason.CDN(); got != c.cdn {
				t.Errorf("result code %d, want %d", got, c.cdn)
			}
			m.answers("+++", "OK", "ATH\r", "OK")
			m.initialised()
			await(t, l, StateWaiting)
			if diff := cmp.Diff(Counters{Dialled: 1, DialFailed: 1}, l.Status().Counters); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	m := newModem(t)
	l, _ := open(t, modemTTY(m.name))
	m.initialised()
	await(t, l, StateWaiting)
	ctx, cancel := context.WithCancel(t.Context())
	d := dial(ctx, l, "1", "")
	m.hears("ATDT1\r")
	cancel()
	if d.done.Wait(); !errors.Is(d.err, context.Canceled) {
		t.Errorf("%v", d.err)
	}
	m.answers("+++", "OK", "ATH\r", "OK")
	m.initialised()
	await(t, l, StateWaiting)
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	dial(ctx, l, "1", "").fails(t, Timeout)
}

// A number comes from an LNS, and must not become a modem command.
func TestNumberThatIsNoneIsNotDialled(t *testing.T) {
	t.Parallel()
	l, _ := open(t, nullModem("/dev/null"))
	for _, number := range []string{"1;ATZ", "1\rATZ", "+++ATH", "1\x00", strings.Repeat("1", 65), "1&F", "abc"} {
		dial(t.Context(), l, number, "").fails(t, BadNumber)
		dial(t.Context(), l, "1", number).fails(t, BadNumber)
	}
}

func TestLineOutlivesItsDevice(t *testing.T) {
	t.Parallel()
	device := filepath.Join(t.TempDir(), "modem")
	l, o := open(t, nullModem(device))
	o.sees("down: open " + device + ": no such file or directory")
	dial(t.Context(), l, "1", "").fails(t, Unavailable)
	for i := range 3 {
		m := newModem(t)
		if err := os.Symlink(m.name, device); err != nil {
			t.Fatal(err)
		}
		o.sees("up")
		if i == 1 { // ringing does not survive it
			m.says("RING\r")
			o.sees("ringing ")
		}
		if err := os.Remove(device); err != nil {
			t.Fatal(err)
		}
		m.vanish()
		if i == 1 {
			o.sees("ended: *")
		}
		o.sees("down: *")
	}
	if n := l.Status().Counters.Down; n != 4 {
		t.Errorf("down %d times", n)
	}
}

func TestModemThatVanishesFailsTheCall(t *testing.T) {
	t.Parallel()
	m := newModem(t)
	l, o := open(t, modemTTY(m.name))
	m.initialised()
	o.sees("up")
	await(t, l, StateWaiting)
	d := dial(t.Context(), l, "1", "")
	m.hears("ATDT1\r")
	m.vanish()
	d.fails(t, Unavailable)
	o.sees("down: *")
}

func TestModemThatDoesNotAnswerIsDown(t *testing.T) {
	t.Parallel()
	m := newModem(t)
	tty := modemTTY(m.name)
	tty.Init = []string{"ABORT", "ERROR", "", "AT", "OK"}
	l, o := open(t, tty)
	m.answers("AT\r", "\r\nERROR\r\n")
	o.sees(`down: initialise: the modem says "ERROR"`)
	m.answers("AT\r", "\r\nERROR\r\n", "AT\r", "\r\nOK\r\n")
	o.sees("up")
	await(t, l, StateWaiting)
}

func TestDeviceThatIsNoTTYIsDown(t *testing.T) {
	t.Parallel()
	_, o := open(t, nullModem("/dev/null"))
	o.sees("down: open /dev/null: not a tty")
}

func TestDeviceIsOnesOnly(t *testing.T) {
	t.Parallel()
	m := newModem(t)
	first, o := open(t, nullModem(m.name))
	o.sees("up")
	_, other := open(t, nullModem(m.name))
	other.sees("down: open " + m.name + ": another program uses it")
	m.says(lcp)
	c := o.call()
	first.Close() // the call keeps the lock
	if len(other.events) > 0 {
		t.Errorf("event %q", <-other.events)
	}
	_ = c.File.Close()
	other.sees("up")
}

func TestModeOfALine(t *testing.T) {
	t.Parallel()
	m := newModem(t)
	l, o := open(t, policy.TTY{Device: m.name, Speed: 12345, DialIn: true})
	o.sees("up")
	await(t, l, StateWaiting)
	mode := m.mode()
	if mode.Lflag != 0 || mode.Oflag != 0 || mode.Ispeed != 12345 || mode.Ospeed != 12345 ||
		mode.Cflag&(unix.CLOCAL|unix.HUPCL|unix.CREAD|unix.CSIZE|unix.CRTSCTS) != unix.CLOCAL|unix.HUPCL|unix.CREAD|unix.CS8 {
		t.Errorf("%+v", mode)
	}
}

func TestCarrierIsACallAndItsLossHangsUp(t *testing.T) {
	t.Parallel()
	m, p := newModem(t), &fakePins{now: signals{clear: true}}
	l, o := open(t, nullModem(m.name), p.on)
	o.sees("up")
	await(t, l, StateWaiting)
	if m.mode().Cflag&(unix.CLOCAL|unix.CRTSCTS) != unix.CLOCAL|unix.CRTSCTS {
		t.Error("no flow control, or the line needs carrier to speak with its modem")
	}
	p.show(signals{clear: true, carrier: true})
	m.says("\r\nCONNECT 14400\r\n")
	c := o.call()
	if c.Speed != 14400 {
		t.Errorf("%+v", c)
	}
	if m.mode().Cflag&(unix.CLOCAL|unix.CRTSCTS) != unix.CRTSCTS {
		t.Error("carrier is not minded")
	}
	_ = c.File.Close()
	l.Release("done")
	await(t, l, StateWaiting)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dropped != 1 {
		t.Errorf("DTR was dropped %d times", p.dropped)
	}
}

// A null modem shows the carrier of a machine that is on, whether it calls or not.
func TestCarrierThatWasThereIsNoCall(t *testing.T) {
	t.Parallel()
	m, p := newModem(t), &fakePins{now: signals{carrier: true}}
	_, o := open(t, nullModem(m.name), p.on, func(l *Line) { l.times.speed = time.Millisecond })
	o.sees("up")
	m.says("x")
	p.show(signals{})
	m.says(lcp)
	c := o.call()
	reads(t, c.File, lcp[1:])
}

func TestRingSignalBeginsTheAnswer(t *testing.T) {
	t.Parallel()
	m, p := newModem(t), &fakePins{}
	tty := nullModem(m.name)
	tty.Answer = []string{"", "ATA", "CONNECT", `\c`}
	l, o := open(t, tty, p.on)
	o.sees("up")
	await(t, l, StateWaiting)
	p.show(signals{ring: true})
	o.sees("ringing ")
	m.answers("ATA\r", "\r\nCONNECT\r\n")
	o.call()
}

func TestFloodIsNoCallAndHarmless(t *testing.T) {
	t.Parallel()
	m := newModem(t)
	_, o := open(t, nullModem(m.name))
	o.sees("up")
	m.says(strings.Repeat("x", 1<<18) + "RING\r\n\r\nRING\r\n")
	o.sees("ringing ")
	m.says("CONNECT 1200\r\n")
	if c := o.call(); c.Speed != 1200 {
		t.Errorf("%+v", c)
	}
}

// Not parallel: no other test's goroutines may be there.
func TestCloseLeavesNothingInAnyState(t *testing.T) {
	for _, c := range []struct {
		state State
		reach func(t *testing.T, m *modem, l *Line, o *owner)
	}{
		{StateBroken, func(_ *testing.T, m *modem, _ *Line, _ *owner) { m.vanish() }},
		{StateInitialising, func(_ *testing.T, m *modem, _ *Line, _ *owner) { m.hears("ATZ\r") }},
		{StateWaiting, func(_ *testing.T, m *modem, _ *Line, _ *owner) { m.initialised() }},
		{StateRinging, func(_ *testing.T, m *modem, _ *Line, _ *owner) {
			m.initialised()
			m.says("RING\r\nRING\r\n")
			m.hears("ATA\r")
		}},
		{StateDialling, func(t *testing.T, m *modem, l *Line, _ *owner) {
			m.initialised()
			await(t, l, StateWaiting)
			d := dial(context.Background(), l, "1", "")
			t.Cleanup(func() {
				if d.done.Wait(); !errors.Is(d.err, os.ErrClosed) {
					t.Errorf("%v", d.err)
				}
			})
			m.hears("ATDT1\r")
		}},
		{StateInUse, func(_ *testing.T, m *modem, _ *Line, o *owner) {
			m.initialised()
			m.says("RING\r\nRING\r\n")
			m.answers("ATA\r", "CONNECT\r\n")
			o.sees("up", "ringing ")
			_ = o.call().File.Close()
		}},
	} {
		t.Run(c.state.String(), func(t *testing.T) {
			m := newModem(t)
			l, o := open(t, modemTTY(m.name))
			c.reach(t, m, l, o)
			await(t, l, c.state)
			l.Close()
			l.Release("too late")
			l.Close()
			if s := l.Status().State; s != StateClosed {
				t.Errorf("%v after Close", s)
			}
			if _, err := l.Dial(t.Context(), "1", ""); !errors.Is(err, os.ErrClosed) {
				t.Errorf("dial after Close: %v", err)
			}
			if n := descriptors(t, m.name); c.state != StateBroken && n != 1 {
				t.Errorf("%d descriptors of %s, want the test's own", n, m.name)
			}
			b := make([]byte, 1<<20)
			if stacks := string(b[:runtime.Stack(b, true)]); strings.Contains(stacks, "tty.(*Line).run") || strings.Contains(stacks, "tty.(*port)") {
				t.Errorf("left:\n%s", stacks)
			}
		})
	}
}
