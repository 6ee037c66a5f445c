package tty

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pins are a device's modem control lines.
type pins interface {
	state() (signals, error)
	ready(on bool) error // DTR and RTS
}

// signals are what the other end shows.
type signals struct{ carrier, ring, clear bool }

// pinsOf gives the control lines of a device that has them; nil if it has none, as a pty.
func pinsOf(fd int) pins {
	if _, err := unix.IoctlGetInt(fd, unix.TIOCMGET); err != nil {
		return nil
	}
	return modemPins(fd)
}

// modemPins is the descriptor of a device with control lines.
type modemPins int

func (p modemPins) state() (signals, error) {
	v, err := unix.IoctlGetInt(int(p), unix.TIOCMGET)
	if err != nil {
		return signals{}, fmt.Errorf("read control lines: %w", err)
	}
	return signals{carrier: v&unix.TIOCM_CAR != 0, ring: v&unix.TIOCM_RI != 0, clear: v&unix.TIOCM_CTS != 0}, nil
}

func (p modemPins) ready(on bool) error {
	var err error
	if on {
		err = unix.IoctlSetPointerInt(int(p), unix.TIOCMBIS, unix.TIOCM_DTR|unix.TIOCM_RTS)
	} else {
		err = unix.IoctlSetPointerInt(int(p), unix.TIOCMBIC, unix.TIOCM_DTR)
	}
	if err != nil {
		return fmt.Errorf("set control lines: %w", err)
	}
	return nil
}

// port is an open device, in raw mode, locked. It belongs to one goroutine.
type port struct {
	file *os.File // nil: handed over
	fd   int
	pins pins // nil: the device has none
	ctx  context.Context
	one  [1]byte
}

var (
	errLocked = errors.New("another program uses it")
	errNoTTY  = errors.New("not a tty")
	past      = time.Unix(1, 0)
)

// openPort opens a device for a line at a speed in bits per second.
func openPort(device string, speed int, find func(fd int) pins) (*port, error) {
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", device, err)
	}
	p := &port{fd: fd}
	if err := p.prepare(speed, find); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open %s: %w", device, err)
	}
	p.file = os.NewFile(uintptr(fd), device)
	return p, nil
}

func (p *port) prepare(speed int, find func(fd int) pins) error {
	if _, err := unix.IoctlGetTermios(p.fd, unix.TCGETS2); err != nil {
		return errNoTTY
	}
	err := unix.Flock(p.fd, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errLocked
	}
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(p.fd, &st); err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	if !isPTY(st.Rdev) {
		if err := unix.IoctlSetInt(p.fd, unix.TIOCEXCL, 0); err != nil {
			return fmt.Errorf("make exclusive: %w", err)
		}
	}
	p.pins = find(p.fd)
	if p.pins != nil {
		if err := p.pins.ready(true); err != nil {
			return err
		}
	}
	return p.raw(speed, true)
}

// isPTY says whether a device is a pty's slave, by the numbers that they have.
func isPTY(device uint64) bool {
	const first, last = 136, 143
	major := unix.Major(device)
	return first <= major && major <= last
}

// raw sets how octets pass: all of them, as they are. With local, a carrier that is absent or lost means nothing; else its loss hangs
// up. There is flow control by RTS and CTS if the other end shows CTS: on a null modem of three wires it would stop all output. The last
// one to close the device drops DTR.
func (p *port) raw(speed int, local bool) error {
	t, err := unix.IoctlGetTermios(p.fd, unix.TCGETS2)
	if err != nil {
		return fmt.Errorf("get mode: %w", err)
	}
	t.Iflag, t.Oflag, t.Lflag = unix.IGNBRK|unix.IGNPAR, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.HUPCL | unix.BOTHER
	if local {
		t.Cflag |= unix.CLOCAL
	}
	s, err := p.signals()
	if err != nil {
		return err
	}
	if s.clear {
		t.Cflag |= unix.CRTSCTS
	}
	t.Ispeed, t.Ospeed = uint32(speed), uint32(speed)
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(p.fd, unix.TCSETS2, t); err != nil {
		return fmt.Errorf("set raw mode at %d bit/s: %w", speed, err)
	}
	return nil
}

// signals are all off where there are no control lines.
func (p *port) signals() (signals, error) {
	if p.pins == nil {
		return signals{}, nil
	}
	return p.pins.state()
}

// within has what is read and written end when ctx does, until the function that it gives is called.
func (p *port) within(ctx context.Context) (leave func()) {
	file, done := p.file, make(chan struct{})
	p.ctx = ctx
	stop := context.AfterFunc(ctx, func() {
		_ = file.SetDeadline(past)
		close(done)
	})
	return func() {
		if !stop() {
			<-done
		}
		p.ctx = nil
	}
}

// until begins a time in which all that follows must be done; 0 is no limit.
func (p *port) until(d time.Duration) error {
	var t time.Time
	if d > 0 {
		t = time.Now().Add(d)
	}
	if err := p.file.SetDeadline(t); err != nil {
		return p.failed("set deadline", err)
	}
	if p.ctx.Err() != nil { // its end may have come before, and have been undone
		return context.Cause(p.ctx)
	}
	return nil
}

// next reads one octet, and no more: what follows may be PPP's.
func (p *port) next() (byte, error) {
	if _, err := io.ReadFull(p.file, p.one[:]); err != nil {
		return 0, p.failed("read", err)
	}
	return p.one[0], nil
}

func (p *port) send(b []byte) error {
	if _, err := p.file.Write(b); err != nil {
		return p.failed("write", err)
	}
	return nil
}

func (p *port) failed(what string, err error) error {
	switch {
	case p.ctx.Err() != nil:
		return context.Cause(p.ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errTimeout
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%s %s: hung up", what, p.file.Name())
	}
	return fmt.Errorf("%s: %w", what, err) // the error names the file
}

// pause lets time pass.
func (p *port) pause(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
}

// sendBreak holds the line for a quarter of a second.
func (p *port) sendBreak() error {
	if err := unix.IoctlSetInt(p.fd, unix.TIOCSBRK, 0); err != nil {
		return fmt.Errorf("send break: %w", err)
	}
	err := p.pause(time.Second / 4)
	if clearErr := unix.IoctlSetInt(p.fd, unix.TIOCCBRK, 0); err == nil && clearErr != nil {
		return fmt.Errorf("send break: %w", clearErr)
	}
	return err
}

// drop takes DTR down for d, for the modem to hang up; nothing where there are no control lines.
func (p *port) drop(d time.Duration) error {
	if p.pins == nil {
		return nil
	}
	if err := p.pins.ready(false); err != nil {
		return err
	}
	if err := p.pause(d); err != nil {
		return err
	}
	return p.pins.ready(true)
}

// flush forgets what came and what has not gone out.
func (p *port) flush() error {
	if err := unix.IoctlSetInt(p.fd, unix.TCFLSH, unix.TCIOFLUSH); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// handOver gives the file away. With a carrier, its loss hangs up from now on.
func (p *port) handOver(speed int) (*os.File, error) {
	s, err := p.signals()
	if err != nil {
		return nil, err
	}
	if err := p.raw(speed, !s.carrier); err != nil {
		return nil, err
	}
	if err := p.file.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("set deadline: %w", err)
	}
	file := p.file
	p.file = nil
	return file, nil
}

// close lets go of the device, unless it was handed over.
func (p *port) close() {
	if p.file != nil {
		_ = p.file.Close()
	}
}
