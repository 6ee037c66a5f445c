package tty

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// State is what a line does.
type State uint8

// States.
const (
	StateInitialising State = iota // the device is opened, the last call hung up, the modem initialised
	StateWaiting                   // for a call, or to place one
	StateRinging                   // somebody calls
	StateDialling                  // a call is placed
	StateInUse                     // by a call
	StateBroken                    // until it is tried again
	StateClosed
)

// String is the state in words.
func (s State) String() string {
	switch s {
	case StateInitialising:
		return "initialising"
	case StateWaiting:
		return "waiting"
	case StateRinging:
		return "ringing"
	case StateDialling:
		return "dialling"
	case StateInUse:
		return "in use"
	case StateBroken:
		return "broken"
	case StateClosed:
		return "closed"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Counters are of what happened since Open.
type Counters struct {
	Rung       uint64 // calls that rang
	Lost       uint64 // of these, calls that did not arrive
	Arrived    uint64 // subscribers who were handed over
	Dialled    uint64 // calls that were to be placed, unless the line was not free
	DialFailed uint64 // of these, calls that could not be
	Down       uint64 // times that the line broke
}

// Status is what a line does, to be shown.
type Status struct {
	State         State
	Why           string // of Broken; in other states how the last call ended
	Speed         uint32 // of InUse
	CallingNumber string // of Ringing and InUse
	CalledNumber  string // of Dialling and InUse
	Counters      Counters
}

// Line is a device that takes and places calls, one at a time. It is safe for concurrent use.
type Line struct {
	cfg     Config
	scripts scripts
	speed   int
	log     *slog.Logger
	times   times
	find    func(fd int) pins
	handler Handler

	ctx      context.Context // ends with Close
	cancel   context.CancelCauseFunc
	runner   sync.WaitGroup
	released chan string // one at most, and only in use

	// The runner's.
	up     bool // Up was told, Down not yet
	down   bool // the other way round
	rang   bool // Ringing was told, how it ended not yet
	called bool // there is, or was, a call to hang up

	mu      sync.Mutex
	status  Status
	request *request                // to be looked at when waiting ends
	wake    context.CancelCauseFunc // ends waiting; nil: the line does not wait
}

// request is somebody's wish for a call. It is answered exactly once.
type request struct {
	ctx                context.Context
	number, subAddress string
	answer             chan answer
}

type answer struct {
	call Call
	err  error
}

var (
	errAsked     = errors.New("a call is to be placed")
	errNoDialOut = errors.New("it takes calls only")
)

// Open begins to serve a line. An error is of the configuration: a device that is not there is Down, and tried again.
func Open(cfg Config) (*Line, error) {
	l, err := newLine(cfg)
	if err != nil {
		return nil, err
	}
	l.start()
	return l, nil
}

func newLine(cfg Config) (*Line, error) {
	s, err := scriptsOf(cfg.TTY)
	if err != nil {
		return nil, err
	}
	l := &Line{
		cfg: cfg, scripts: s, speed: speedOf(cfg.TTY), log: cfg.Logger, times: usualTimes(), find: pinsOf, handler: cfg.Handler,
		released: make(chan string, 1),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.log = l.log.With(slog.String("device", cfg.TTY.Device))
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	return l, nil
}

func (l *Line) start() { l.runner.Go(l.run) }

// Close ends the line, and waits until nothing more is told of it. A call that was handed over stays its owner's.
func (l *Line) Close() {
	l.cancel(os.ErrClosed)
	l.runner.Wait()
}

// Status says what the line does.
func (l *Line) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

// Release says that the call which was handed over has ended, and that its file is closed. The line hangs up and waits again. Without
// such a call nothing happens.
func (l *Line) Release(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.status.State == StateInUse {
		l.set(StateInitialising, why)
		l.released <- why // it has room: this is the only one for this call
	}
}

// Dial places a call and gives the line when the script has come to its end. An error is a *DialError, or says that the line was closed
// or ctx cancelled; a ctx whose time is over is Timeout. The caller is the call's owner, even if ctx has ended meanwhile.
func (l *Line) Dial(ctx context.Context, number, subAddress string) (Call, error) {
	if !dialable(number) || !dialable(subAddress) {
		return Call{}, &DialError{Device: l.cfg.TTY.Device, Reason: BadNumber}
	}
	r := &request{ctx: ctx, number: number, subAddress: subAddress, answer: make(chan answer, 1)}
	if err := l.ask(r); err != nil {
		return Call{}, err
	}
	a := <-r.answer
	return a.call, a.err
}

// ask puts a request before the runner, if the line is free.
func (l *Line) ask(r *request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	refused := &DialError{Device: l.cfg.TTY.Device, Reason: InUse}
	switch l.status.State {
	case StateWaiting:
		if !l.cfg.TTY.DialOut {
			return &DialError{Device: l.cfg.TTY.Device, Reason: Unavailable, Err: errNoDialOut}
		}
		if l.request != nil {
			return refused
		}
		l.status.Counters.Dialled++
		l.request = r
		l.wake(errAsked)
		return nil
	case StateBroken:
		return &DialError{Device: l.cfg.TTY.Device, Reason: Unavailable, Err: errors.New(l.status.Why)}
	case StateClosed:
		return fmt.Errorf("dial on %s: %w", l.cfg.TTY.Device, os.ErrClosed)
	case StateInitialising, StateRinging, StateDialling, StateInUse:
	}
	return refused
}

// set changes the state. The caller holds mu.
func (l *Line) set(s State, why string) {
	l.status = Status{State: s, Why: why, Counters: l.status.Counters}
}

// to changes the state; the rest of the status stays that of the last call.
func (l *Line) to(s State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set(s, l.status.Why)
}

// run is the line's goroutine.
func (l *Line) run() {
	defer l.to(StateClosed)
	wait := l.times.retry
	for l.ctx.Err() == nil {
		worked := false
		err := l.cycle(&worked)
		if l.ctx.Err() != nil {
			return
		}
		if worked {
			wait = l.times.retry
		}
		if err == nil {
			continue
		}
		l.broken(err)
		select {
		case <-l.ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, l.times.mostWait)
	}
}

// broken tells that the line does not work, once.
func (l *Line) broken(err error) {
	l.mu.Lock()
	l.set(StateBroken, err.Error())
	if !l.down {
		l.status.Counters.Down++
	}
	l.mu.Unlock()
	if !l.down {
		l.up, l.down = false, true
		l.log.LogAttrs(context.Background(), slog.LevelWarn, "line is not served: it is tried again", slog.String("event", "tty-down"), slog.String("why", err.Error()))
		l.handler.Down(err)
	}
}

// cycle opens the device, waits for one call and sees it to its end, whether it comes about or not. worked is set when the line has waited.
// An error is one of the device.
func (l *Line) cycle(worked *bool) error {
	l.to(StateInitialising)
	p, err := openPort(l.cfg.TTY.Device, l.speed, l.find)
	if err != nil {
		return err
	}
	defer p.close()
	scan := &scanner{}
	if err := l.prepare(p, scan); err != nil {
		return err
	}
	*worked = true
	if !l.up {
		l.up, l.down = true, false
		l.log.LogAttrs(context.Background(), slog.LevelInfo, "line is served", slog.String("event", "tty-up"))
		l.handler.Up()
	}
	came, r, err := l.wait(p, scan)
	switch {
	case r != nil && (err != nil || came != cameNothing):
		l.refuse(r, err)
	case r != nil:
		return l.dial(p, scan, r)
	}
	if err != nil {
		l.lost(err.Error())
		return err
	}
	return l.receive(p, scan, came)
}

// refuse answers a request that came too late.
func (l *Line) refuse(r *request, err error) {
	failed := &DialError{Device: l.cfg.TTY.Device, Reason: InUse}
	if err != nil {
		failed.Reason, failed.Err = Unavailable, err
	}
	l.dialFailed(r, failed)
}

// prepare hangs up if there was a call, and initialises the modem.
func (l *Line) prepare(p *port, scan *scanner) error {
	defer p.within(l.ctx)()
	if l.called {
		hangUp := append(script{{kind: stepTimeout, wait: l.times.hangUp}}, l.scripts.hangUp...)
		var failed *failure
		if err := (&chat{link: p, scan: scan}).run(hangUp); errors.As(err, &failed) {
			// DTR, or the initialisation, may do.
			l.log.LogAttrs(context.Background(), slog.LevelDebug, "hang-up script failed", slog.String("event", "tty-hang-up"),
				slog.Any("err", err))
		} else if err != nil {
			return err
		}
		if err := p.drop(l.times.drop); err != nil {
			return err
		}
		if err := p.flush(); err != nil {
			return err
		}
		l.called = false
	}
	if err := (&chat{link: p, scan: scan}).run(l.scripts.init); err != nil {
		return fmt.Errorf("initialise: %w", err)
	}
	return nil
}

// dial places the call that r asks for. Only a line that does not work is an error.
func (l *Line) dial(p *port, scan *scanner, r *request) error {
	l.mu.Lock()
	l.set(StateDialling, "")
	l.status.CalledNumber = r.number
	l.mu.Unlock()
	l.called = true
	scan.newCall()
	ctx, cancel := context.WithCancelCause(l.ctx)
	stop := context.AfterFunc(r.ctx, func() { cancel(context.Cause(r.ctx)) })
	c := &chat{link: p, scan: scan, results: true, number: r.number, sub: r.subAddress}
	file, err := l.connect(ctx, p, c, l.scripts.dial, false)
	stop()
	cancel(nil)
	if err != nil {
		result, broken := l.dialError(r, err)
		l.dialFailed(r, result)
		return broken
	}
	call := Call{File: file, Speed: scan.rate(l.speed), CalledNumber: r.number}
	l.inUse(call, false)
	r.answer <- answer{call: call}
	return l.untilReleased()
}

// connect runs a script and gives the file when it has come to its end, and the modem has told the speed. answered says that the modem
// has taken the call by itself, and may be about to say so.
func (l *Line) connect(ctx context.Context, p *port, c *chat, s script, answered bool) (*os.File, error) {
	leave := p.within(ctx)
	err := p.until(0)
	if err == nil {
		err = c.run(s)
	}
	if err == nil {
		err = l.settle(p, c.scan, answered)
	}
	leave()
	if err != nil {
		return nil, err
	}
	return p.handOver(l.speed)
}

// settle gives the modem a moment to say that it is connected, and how fast, if it has begun to or is expected to. PPP does not wait for it.
func (l *Line) settle(p *port, scan *scanner, expected bool) error {
	err := p.until(l.times.speed)
	for err == nil && (scan.connecting() || expected && !scan.connected) {
		var b byte
		if b, err = p.next(); err == nil && scan.feed(b) == markPPP {
			return nil
		}
	}
	if errors.Is(err, errTimeout) {
		return nil
	}
	return err
}

// dialError sorts what kept a call from being placed: the answer to who asked, and what is wrong with the line, if anything is.
func (l *Line) dialError(r *request, err error) (result, broken error) {
	d := &DialError{Device: l.cfg.TTY.Device, Err: err}
	var failed *failure
	switch {
	case errors.As(err, &failed):
		d.Reason = failed.reason
	case l.ctx.Err() != nil:
		return fmt.Errorf("dial on %s: %w", l.cfg.TTY.Device, os.ErrClosed), nil
	case r.ctx.Err() != nil && !errors.Is(r.ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("dial on %s: %w", l.cfg.TTY.Device, err), nil
	case r.ctx.Err() != nil:
		d.Reason = Timeout
	default:
		d.Reason = Unavailable
		return d, err
	}
	return d, nil
}

func (l *Line) dialFailed(r *request, err error) {
	l.mu.Lock()
	l.status.Counters.DialFailed++
	l.status.Why = err.Error()
	l.mu.Unlock()
	l.log.LogAttrs(context.Background(), slog.LevelInfo, "call could not be placed", slog.String("event", "tty-dial-failed"),
		slog.String("called", r.number), slog.Any("err", err))
	r.answer <- answer{err: err}
}

func (l *Line) inUse(c Call, arrived bool) {
	l.mu.Lock()
	l.set(StateInUse, "")
	l.status.Speed, l.status.CallingNumber, l.status.CalledNumber = c.Speed, c.CallingNumber, c.CalledNumber
	if arrived {
		l.status.Counters.Arrived++
	}
	l.mu.Unlock()
	l.log.LogAttrs(context.Background(), slog.LevelInfo, "line is in use", slog.String("event", "tty-call"),
		slog.Uint64("speed", uint64(c.Speed)), slog.String("calling", c.CallingNumber), slog.String("called", c.CalledNumber))
}

// untilReleased waits for the end of a call that was handed over.
func (l *Line) untilReleased() error {
	select {
	case why := <-l.released:
		l.log.LogAttrs(context.Background(), slog.LevelInfo, "line is free again", slog.String("event", "tty-free"), slog.String("reason", why))
	case <-l.ctx.Done():
	}
	return nil
}
