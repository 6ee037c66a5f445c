package tty

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// Config is what a Line is made of.
type Config struct {
	TTY     policy.TTY
	Handler Handler      // not nil
	Logger  *slog.Logger // nil: silent
}

// Handler is told what becomes of a line, by the line's goroutine, one thing after the other. Its methods must not block, and must not
// call Close; Release may be called.
type Handler interface {
	// Up: the line waits for calls, for the first time or again after Down.
	Up()
	// Down: the device is not there, or its modem does not answer, and is tried again and again. It is told once, until Up.
	Down(err error)
	// Ringing: somebody calls. Either Arrived or Ended follows, unless the line is closed. A caller may arrive without it. The number is
	// empty if the modem has not told it by now.
	Ringing(callingNumber string)
	// Ended: a call that was ringing did not arrive.
	Ended(why string)
	// Arrived: a subscriber is there, and PPP begins. The call is the handler's, which calls Release at its end.
	Arrived(Call)
}

// Call is a line at the point where PPP begins.
type Call struct {
	File          *os.File // in raw mode, non-blocking. Whoever gets the call closes it, and then calls Release
	Speed         uint32   // bits per second, as the modem told (P203), else those of the device
	CallingNumber string   // of who called us; empty: not told
	CalledNumber  string   // that we dialled
}

// times are what a line waits for, apart from its scripts.
type times struct {
	retry    time.Duration // before a line that is down is tried again: at first, doubled each time
	mostWait time.Duration // and at most
	ring     time.Duration // without a further ring: the caller has given up
	speed    time.Duration // for the rest of what a modem says after carrier is there
	drop     time.Duration // that DTR is down
	poll     time.Duration // between looks at the control lines
	hangUp   time.Duration // for an expectation when hanging up, unless the script says otherwise
}

func usualTimes() times {
	return times{
		retry: time.Second, mostWait: time.Minute, ring: 10 * time.Second, speed: time.Second,
		drop: time.Second, poll: time.Second / 4, hangUp: 5 * time.Second,
	}
}

const (
	defaultSpeed = 115200
	maxSpeed     = 20_000_000
)

var (
	errNoDevice = errors.New("no device")
	errIdle     = errors.New("neither dial-in nor dial-out")
)

// scripts are those of a line.
type scripts struct{ init, answer, dial, hangUp script }

// CheckScript says what of a chat script cannot work.
//
// A chat script has expectations and what is sent when they are met, in turn. An empty expectation is met at once. A carriage return goes
// behind what is sent. The words ABORT, CLR_ABORT and TIMEOUT in an expectation's place take the word behind them: a text whose
// appearance ends the script, one that shall no longer, and the seconds for each expectation, 45 at first. Escapes: \r \n \t \s \b \N \\
// \^ and \ooo for octets; and in what is sent \c for no carriage return, \d and \p for a pause of a second and a tenth, \K for a break, \T
// for the number and \U for the sub-address. An expectation has no sub-expectations.
//
// A modem's own words for a failed call (BUSY, NO CARRIER, NO DIALTONE, NO ANSWER, ERROR and such) end the answer and dial scripts without an ABORT.
//
// An answer script that begins with an expectation begins when that is met; else when the modem says RING, or its ring line is on. To
// hear the calling number, which comes after the first ring, wait for the second: RING, \c, RING, ATA, CONNECT.
func CheckScript(words []string) error {
	_, err := parseScript(words)
	return err
}

func scriptsOf(t policy.TTY) (s scripts, err error) {
	switch {
	case t.Device == "":
		return s, errNoDevice
	case t.Speed < 0 || t.Speed > maxSpeed:
		return s, fmt.Errorf("%s: speed %d: want 1 to %d bit/s", t.Device, t.Speed, maxSpeed)
	case !t.DialIn && !t.DialOut:
		return s, fmt.Errorf("%s: %w", t.Device, errIdle)
	}
	for _, x := range []struct {
		name  string
		words []string
		to    *script
	}{{"init", t.Init, &s.init}, {"answer", t.Answer, &s.answer}, {"dial", t.Dial, &s.dial}, {"hang-up", t.HangUp, &s.hangUp}} {
		if *x.to, err = parseScript(x.words); err != nil {
			return s, fmt.Errorf("%s: %s script: %w", t.Device, x.name, err)
		}
	}
	return s, nil
}

func speedOf(t policy.TTY) int { return cmp.Or(t.Speed, defaultSpeed) }
