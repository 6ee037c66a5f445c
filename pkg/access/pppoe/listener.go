package pppoe

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/observe"
)

const (
	lookInterval  = time.Second            // at an interface that is up
	retryInterval = 500 * time.Millisecond // at one that is not
	errorPause    = 100 * time.Millisecond // after an error of the socket that is nobody's doing
)

// Handler is told what happens, in order, by the Listener's goroutine. Its methods must not block, nor call Close or wait for one
// that does; the Listener's other methods may be called.
type Handler interface {
	// Offered is about a client that waits for Accept or Refuse.
	Offered(o Offer)
	// Ended is about a session that its client has ended. The owner frees it.
	Ended(id uint16, why string)
	// Down is about the interface: it cannot be served, or is not the same any more. The kernel has ended every session, and the
	// owner frees them. It is told at the beginning, too, when the interface is not there.
	Down(reason string)
	// Up is about the interface, which is served from now on.
	Up()
}

// Listener serves one interface. Its methods are safe for concurrent use and do not wait, but for Close. It lives in the network
// namespace of the thread that calls Listen.
type Listener struct {
	cfg     Config
	log     *slog.Logger
	started time.Time
	socket  *socket
	running sync.WaitGroup
	done    chan struct{} // closed by Close

	// These are the goroutine's.
	ac                 *AC
	out                Output
	up                 bool
	told               bool // Down or Up was called
	device             device
	lookAt             time.Duration
	unsent, overflowed uint64

	mu     sync.Mutex
	mail   []func(now time.Duration)
	wakeAt time.Duration // since started, when the socket ends a wait; -1: not set yet
	counts Counters
	closed bool
}

// Listen begins to serve an interface, which takes CAP_NET_RAW. The interface need not be there: it is waited for, then and whenever
// it goes away.
func Listen(cfg Config) (*Listener, error) {
	cfg.ACName = cmp.Or(cfg.ACName, hostName())
	if cfg.CookieKey == [32]byte{} {
		_, _ = rand.Read(cfg.CookieKey[:]) // it does not fail
	}
	if cfg.Handler == nil {
		return nil, fmt.Errorf("PPPoE on %s: nobody to tell", cfg.Interface)
	}
	if _, err := unix.NewIfreq(cfg.Interface); err != nil || cfg.Interface == "" {
		return nil, fmt.Errorf("PPPoE on %q: no name of an interface", cfg.Interface)
	}
	ac, err := NewAC(cfg)
	if err != nil {
		return nil, err
	}
	l := &Listener{cfg: cfg, log: cfg.Logger, started: time.Now(), ac: ac, done: make(chan struct{}), wakeAt: -1}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.cfg.Limiter == nil {
		l.cfg.Limiter = observe.NewLimiter(observe.LimiterConfig{})
	}
	if l.socket, err = openSocket(); err != nil {
		return nil, fmt.Errorf("PPPoE on %s: %w", cfg.Interface, err)
	}
	l.running.Go(l.run)
	return l, nil
}

// Close carries out what it was told before, ends, and waits for a call of the Handler that is under way. Sessions that the owner has
// not terminated live on in the kernel.
func (l *Listener) Close() error {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	_ = l.socket.wake(l.started) // fails when it is closed
	l.mu.Unlock()
	if first {
		close(l.done)
	}
	l.running.Wait()
	if !first {
		return nil
	}
	return l.socket.close()
}

// Accept confirms an offered session to its client, which begins with PPP at once: the kernel's session must be there. When the
// session is gone meanwhile, nothing happens.
func (l *Listener) Accept(id uint16) {
	l.post(func(time.Duration) { l.ac.Accept(id, &l.out) })
}

// Refuse tells a client that its session is not to be, and frees the number.
func (l *Listener) Refuse(id uint16, kind Refusal, text string) {
	l.post(func(now time.Duration) { l.ac.Refuse(now, id, kind, text, &l.out) })
}

// Terminate ends a session from our side, and tells the client why. The owner frees it when the kernel has let go.
func (l *Listener) Terminate(id uint16, text string) {
	l.post(func(now time.Duration) { l.ac.Terminate(now, id, text, &l.out) })
}

// Freed gives a session's number back. One that is still up is terminated.
func (l *Listener) Freed(id uint16) {
	l.post(func(now time.Duration) { l.ac.Freed(now, id, &l.out) })
}

// Configure has other names, delays, limits and rates hold for clients to come; sessions stay as they are.
func (l *Listener) Configure(cfg Config) error {
	cfg.ACName, cfg.Interface, cfg.CookieKey = cmp.Or(cfg.ACName, hostName()), l.cfg.Interface, l.cfg.CookieKey
	if _, err := cfg.complete(); err != nil {
		return err
	}
	l.post(func(time.Duration) { _ = l.ac.Configure(cfg) }) // it has been found good
	return nil
}

// Counters gives what was counted since Listen.
func (l *Listener) Counters() Counters {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// post leaves a command for the goroutine. After Close it is nobody's.
func (l *Listener) post(command func(now time.Duration)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.mail = append(l.mail, command)
	if len(l.mail) == 1 {
		l.wakeAt = 0
		_ = l.socket.wake(l.started) // does not fail on an open socket
	}
}

// collect takes the commands that are there, or else lets the socket wait until something is due.
func (l *Listener) collect() (mail []func(now time.Duration), closed bool) {
	until := l.lookAt
	if at, any := l.ac.Deadline(); any {
		until = min(until, at)
	}
	counts := l.ac.Counters()
	counts.Unsent, counts.Overflowed = l.unsent, l.overflowed
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts = counts
	mail, l.mail = l.mail, nil
	if len(mail) == 0 && !l.closed && until != l.wakeAt { // in a flood it is the same for many frames
		l.wakeAt = until
		_ = l.socket.wake(l.started.Add(until)) // does not fail on an open socket
	}
	return mail, l.closed
}

func (l *Listener) now() time.Duration { return time.Since(l.started) }

// run is the goroutine that owns the AC.
func (l *Listener) run() {
	buf := make([]byte, maxFrame)
	for {
		mail, closed := l.collect()
		for _, command := range mail {
			command(l.now())
			l.deliver()
		}
		switch {
		case len(mail) > 0:
			continue // there may be more
		case closed:
			return
		}
		now := l.now()
		if now >= l.lookAt {
			l.look(now)
		}
		l.ac.Expire(now, &l.out)
		l.deliver()
		l.read(buf)
	}
}

// read waits for a frame, or for whatever else is due.
func (l *Listener) read(buf []byte) {
	r, err := l.socket.receive(buf)
	switch {
	case err == nil && (!l.up || r.index != l.device.index): // was on its way
	case err == nil && r.other:
		l.ac.drop(MAC{}, DropElsewhere, &l.out)
		l.deliver()
	case err == nil:
		l.ac.Receive(l.now(), r.frame, &l.out)
		l.deliver()
	case errors.Is(err, os.ErrDeadlineExceeded):
	case gone(err):
		l.lose()
	default:
		l.line(slog.LevelWarn, "PPPoE discovery cannot be received", "pppoe-receive", slog.Any("err", err))
		select { // an error that stays must not take a processor
		case <-l.done:
		case <-time.After(errorPause):
		}
	}
}

// look finds out what has become of the interface. The kernel ends sessions when the address or the MTU changes, as when the
// interface goes down, and says nothing to those who have them.
func (l *Listener) look(now time.Duration) {
	l.overflowed += l.socket.overflow()
	d, err := l.socket.look(l.cfg.Interface)
	if err == nil && l.up && d.index == l.device.index {
		d.mac, err = l.socket.address(d.index)
	}
	switch {
	case err != nil:
		l.down(err.Error())
	case l.up && d == l.device:
	default:
		if l.up {
			l.down(changed(l.device, d))
		}
		l.begin(d)
	}
	l.lookAt = now + retryInterval
	if l.up {
		l.lookAt = now + lookInterval
	}
}

// changed says what is new.
func changed(was, is device) string {
	switch {
	case was.index != is.index:
		return errAnother.Error()
	case was.mtu != is.mtu:
		return fmt.Sprintf("MTU has changed from %d to %d", was.mtu, is.mtu)
	}
	return fmt.Sprintf("address has changed from %s to %s", was.mac, is.mac)
}

// begin serves an interface that was not served.
func (l *Listener) begin(d device) {
	err := l.socket.bind(d.index)
	if err == nil {
		d.mac, err = l.socket.address(d.index)
	}
	if err != nil {
		l.down(err.Error())
		return
	}
	l.device, l.up, l.told = d, true, true
	l.ac.Up(l.now(), d.mac, d.mtu, &l.out)
	l.log.LogAttrs(context.Background(), slog.LevelInfo, "PPPoE interface is served", slog.String("event", "pppoe-up"),
		slog.String("interface", l.cfg.Interface), slog.String("address", d.mac.String()), slog.Int("mtu", d.mtu))
	l.cfg.Handler.Up()
}

// down says that the interface is not served, once.
func (l *Listener) down(reason string) {
	if l.told && !l.up {
		return
	}
	l.up, l.told = false, true
	l.ac.Down(l.now())
	l.log.LogAttrs(context.Background(), slog.LevelWarn, "PPPoE interface is not served", slog.String("event", "pppoe-down"),
		slog.String("interface", l.cfg.Interface), slog.String("reason", reason))
	l.cfg.Handler.Down(reason)
}

// deliver does what the AC has decided.
func (l *Listener) deliver() {
	lost := false
	for _, frame := range l.out.Frames {
		if err := l.socket.send(l.device.index, frame); err != nil {
			l.unsent++
			if gone(err) { // the kernel says so once for each queue, to whoever comes first
				lost = true
			}
			l.line(slog.LevelDebug, "PPPoE discovery cannot be sent", "pppoe-send", slog.Any("err", err))
		}
	}
	for _, d := range l.out.Dropped {
		l.dropped(d)
	}
	for _, r := range l.out.Refused {
		l.line(slog.LevelWarn, "PPPoE session refused", "pppoe-refused", slog.String("client", r.Client.String()), slog.String("why", r.Why))
	}
	offers, ends := l.out.Offers, l.out.Ended
	clear(l.out.Frames)
	l.out = Output{Frames: l.out.Frames[:0], Dropped: l.out.Dropped[:0]}
	for _, e := range ends {
		l.cfg.Handler.Ended(e.SessionID, e.Why)
	}
	for _, o := range offers {
		l.cfg.Handler.Offered(o)
	}
	if lost {
		l.lose()
	}
}

// gone says that an error is about an interface that went down or away.
func gone(err error) bool {
	return errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)
}

// lose takes note that the interface went down. It may be up again already, but the kernel's sessions are gone.
func (l *Listener) lose() {
	if l.up {
		l.down(errDown.Error())
		l.lookAt = l.now()
	}
}

// dropped writes of a packet that had no answer, unless there are too many. What happens on every network is for those who look
// for it.
func (l *Listener) dropped(d Dropped) {
	level := slog.LevelWarn
	switch d.Why {
	case DropElsewhere, DropDirection, DropService, DropUndecided, DropNoSession, DropDown:
		level = slog.LevelDebug
	case DropShort, DropEtherType, DropVersion, DropLength, DropTag, DropCode, DropSource, DropTags,
		DropCookie, DropStation, DropRate, DropDelayed, DropOversize:
	}
	if l.log.Enabled(context.Background(), level) {
		l.line(level, "PPPoE discovery packet dropped", "pppoe-drop-"+d.Why.String(), slog.Any("client", lazyMAC(d.Client)),
			slog.String("reason", d.Why.String()))
	}
}

// lazyMAC is an address that is written only for lines that pass.
type lazyMAC MAC

// LogValue implements slog.LogValuer.
func (m lazyMAC) LogValue() slog.Value { return slog.StringValue(MAC(m).String()) }

// line logs what strangers cause.
func (l *Listener) line(level slog.Level, message, event string, attrs ...slog.Attr) {
	l.cfg.Limiter.Log(context.Background(), time.Now(), l.log, observe.Line{
		Level: level, Message: message, Event: event, Source: l.cfg.Interface,
		Attrs: append(attrs, slog.String("interface", l.cfg.Interface)),
	})
}
