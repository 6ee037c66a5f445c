package engine

import (
	"errors"
	"time"

	"github.com/l2tpd/l2tpd/pkg/control"
)

// watchEvery is how often a LAC looks for errors on an asynchronous line, which is as often as it may tell of them (RFC 2661, 6.13; P204).
const watchEvery = time.Minute

var errNoCounters = errors.New("it counts no errors")

// errorCounter is a line that counts its errors: the six counters of WEN, from whatever they began with.
type errorCounter interface {
	LineErrors() ([6]uint32, error)
}

// lineWatch tells an LNS of the errors on the line behind one of its sessions.
type lineWatch struct {
	s     *session
	line  *joint
	begun bool
	base  [6]uint32 // when the call began
	over  bool
	timer deadline
}

// watchLine begins to look. A line that counts nothing is looked at once.
func watchLine(s *session, line *joint) *lineWatch {
	w := &lineWatch{s: s, line: line}
	w.timer = deadline{index: -1, owner: whenDue(func(Time) { w.look() })}
	w.look()
	return w
}

// look reads the counters, and tells what has come since the call began.
func (w *lineWatch) look() {
	sh := w.s.sh
	sh.ask(func() func() {
		now, err := countErrors(w.line)
		return func() {
			if err != nil || w.over || w.s.releasing {
				return
			}
			if !w.begun {
				w.begun, w.base = true, now
			} else {
				for i := range now {
					now[i] -= w.base[i]
				}
				w.s.t.do(control.CmdSendWEN{Session: w.s.id, Errors: now})
			}
			sh.due.arm(&w.timer, sh.now()+watchEvery)
		}
	})
}

// stop ends it. w may be nil.
func (w *lineWatch) stop() {
	if w != nil {
		w.over = true
		w.s.sh.due.arm(&w.timer, 0)
	}
}

// countErrors reads what a line counts, if it counts. It may sleep.
func countErrors(line *joint) (n [6]uint32, err error) {
	err = line.use(func(data Session) error {
		x, ok := data.(errorCounter)
		if !ok {
			return errNoCounters
		}
		n, err = x.LineErrors()
		return err
	})
	return n, err
}
