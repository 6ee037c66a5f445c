package tty

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"time"
)

// arrival is what a waiting line has come to.
type arrival uint8

const (
	cameNothing arrival = iota // a call is to be placed, or the line closed
	cameRing                   // the answer script is next
	cameFirst                  // so it is, and its first expectation is met
	cameCarrier                // the modem has answered by itself; it may have more to say
	camePPP                    // PPP has begun
	cameSilence                // the caller has given up
)

// wait waits for a call, or for a request to place one, which it gives. The line is free for requests until then, or until it rings.
func (l *Line) wait(p *port, scan *scanner) (arrival, *request, error) {
	ctx, cancel := context.WithCancelCause(l.ctx)
	defer cancel(nil)
	l.mu.Lock()
	l.set(StateWaiting, l.status.Why)
	l.wake = cancel
	l.mu.Unlock()
	scan.newCall()
	leave := p.within(ctx)
	w := &waiter{line: l, port: p, scan: scan}
	came, err := w.listen()
	leave()
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.request
	l.request, l.wake = nil, nil
	if err != nil && (errors.Is(err, errAsked) || l.ctx.Err() != nil) {
		came, err = cameNothing, nil
	}
	if came != cameNothing && l.status.State == StateWaiting {
		l.set(StateRinging, "")
	} else if l.status.State == StateWaiting {
		l.set(StateInitialising, l.status.Why)
	}
	return came, r, err
}

// waiter listens to a line that waits.
type waiter struct {
	line    *Line
	port    *port
	scan    *scanner
	carrier bool // as it was at the last look
	rings   bool
	quiet   time.Time // when a caller who rings no more has given up; zero: nobody rings
	tail    []byte
}

// listen waits for a call. An error of the port is one of the device, or the cause for which waiting ended.
func (w *waiter) listen() (arrival, error) {
	s, err := w.port.signals()
	if err != nil {
		return cameNothing, err
	}
	w.carrier, w.rings = s.carrier, s.ring // on a null modem both may be on for good
	for {
		if err := w.arm(); err != nil {
			return cameNothing, err
		}
		b, err := w.port.next()
		came := cameNothing
		switch {
		case errors.Is(err, errTimeout):
			came, err = w.look()
		case err == nil:
			came, err = w.hear(b)
		}
		if err != nil || came != cameNothing {
			return came, err
		}
	}
}

// arm sets the time of the next look, if there is anything to look at.
func (w *waiter) arm() error {
	var d time.Duration
	if !w.quiet.IsZero() {
		d = max(time.Until(w.quiet), time.Nanosecond)
	}
	if w.port.pins != nil && (d == 0 || d > w.line.times.poll) {
		d = w.line.times.poll
	}
	return w.port.until(d)
}

// look sees what is no octet: control lines, and time.
func (w *waiter) look() (arrival, error) {
	if !w.quiet.IsZero() && !time.Now().Before(w.quiet) {
		return cameSilence, nil
	}
	s, err := w.port.signals()
	if err != nil || !w.line.cfg.TTY.DialIn {
		return cameNothing, err
	}
	carrier, rings := s.carrier && !w.carrier, s.ring && !w.rings
	w.carrier, w.rings = s.carrier, s.ring
	scripted := len(w.line.scripts.answer) > 0
	switch {
	case carrier && !scripted:
		return cameCarrier, nil
	case rings:
		return w.ring()
	}
	return cameNothing, nil
}

// hear takes one octet.
func (w *waiter) hear(b byte) (arrival, error) {
	m := w.scan.feed(b)
	if !w.line.cfg.TTY.DialIn {
		return cameNothing, nil
	}
	answer := w.line.scripts.answer
	if first := answer.first(); len(first) > 0 {
		w.tail = follow(w.tail, b)
		if bytes.HasSuffix(w.tail, first) {
			return cameFirst, nil
		}
		return cameNothing, nil
	}
	switch m {
	case markRing:
		return w.ring()
	case markConnect:
		if len(answer) == 0 {
			return cameCarrier, nil
		}
	case markPPP:
		if len(answer) == 0 {
			return camePPP, nil
		}
	case markResult:
		if !w.quiet.IsZero() {
			return cameSilence, nil
		}
	case markNone:
	}
	return cameNothing, nil
}

// ring is one ring: the answer script begins, or the modem answers by itself in time. The line is no longer free, unless a call is to be
// placed already, which the modem will decide.
func (w *waiter) ring() (arrival, error) {
	l := w.line
	if answer := l.scripts.answer; len(answer) > 0 && len(answer.first()) == 0 {
		return cameRing, nil
	}
	first := w.quiet.IsZero()
	w.quiet = time.Now().Add(l.times.ring)
	if !first {
		return cameNothing, nil
	}
	l.mu.Lock()
	if l.request != nil {
		l.mu.Unlock()
		return cameNothing, errAsked
	}
	l.set(StateRinging, "")
	l.mu.Unlock()
	l.ringing(w.scan.calling)
	return cameNothing, nil
}

// first is the text by which a script may begin; empty: none.
func (s script) first() []byte {
	for _, st := range s {
		if st.kind == stepExpect {
			return st.text
		}
	}
	return nil
}

// behindFirst is what is left of a script when its first expectation is met.
func (s script) behindFirst() script {
	for i, st := range s {
		if st.kind == stepExpect {
			return append(s[:i:i], s[i+1:]...)
		}
	}
	return nil
}

// ringing tells of a call.
func (l *Line) ringing(calling string) {
	l.rang = true
	l.mu.Lock()
	l.status.CallingNumber = calling
	l.status.Counters.Rung++
	l.mu.Unlock()
	l.log.LogAttrs(context.Background(), slog.LevelDebug, "line rings", slog.String("event", "tty-ring"), slog.String("calling", calling))
	l.handler.Ringing(calling)
}

// lost is the end of a call that rang, if there is one.
func (l *Line) lost(why string) {
	if !l.rang {
		return
	}
	l.rang = false
	l.mu.Lock()
	l.status.Counters.Lost++
	l.status.Why = why
	l.mu.Unlock()
	l.log.LogAttrs(context.Background(), slog.LevelInfo, "call did not arrive", slog.String("event", "tty-lost"), slog.String("reason", why))
	l.handler.Ended(why)
}

// receive sees a call that comes in to its end. Only a line that does not work is an error.
func (l *Line) receive(p *port, scan *scanner, came arrival) error {
	if came == cameNothing {
		return nil
	}
	l.called = true
	var s script
	switch came {
	case cameSilence:
		l.lost("the caller has given up")
		return nil
	case cameRing:
		s = l.scripts.answer
		l.ringing(scan.calling)
	case cameFirst:
		s = l.scripts.answer.behindFirst()
		l.ringing(scan.calling)
	case cameNothing, cameCarrier, camePPP:
	}
	c := &chat{link: p, scan: scan, results: true}
	file, err := l.connect(l.ctx, p, c, s, came == cameCarrier)
	if l.ctx.Err() != nil && err != nil {
		return nil
	}
	if err != nil {
		l.lost(err.Error())
		var failed *failure
		if errors.As(err, &failed) {
			return nil
		}
		return err
	}
	l.rang = false
	call := Call{File: file, Speed: scan.rate(l.speed), CallingNumber: scan.calling}
	l.inUse(call, true)
	l.handler.Arrived(call)
	return l.untilReleased()
}
