//go:build kernel

package kernel

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// pty is a tty with its master side.
type pty struct {
	t      *testing.T
	master int
	slave  *os.File
	buf    []byte // read from the master and not taken
}

// newPTY opens a pty whose slave is in raw mode.
func newPTY(t *testing.T) *pty {
	t.Helper()
	p := &pty{t: t}
	var err error
	if p.master, err = unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.hangUp)
	if err := unix.IoctlSetPointerInt(p.master, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(p.master, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if p.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.slave.Close() })
	raw := unix.Termios{Cflag: unix.CS8 | unix.CREAD | unix.B38400}
	raw.Cc[unix.VMIN] = 1
	if err := unix.IoctlSetTermios(p.master, unix.TCSETS, &raw); err != nil { // a pty's are those of its slave
		t.Fatal(err)
	}
	return p
}

func (p *pty) hangUp() {
	if p.master >= 0 {
		_ = unix.Close(p.master)
		p.master = -1
	}
}

// fcs16 is the frame check sequence of RFC 1662, appendix C.2.
func fcs16(b []byte) uint16 {
	fcs := uint16(0xffff)
	for _, c := range b {
		fcs ^= uint16(c)
		for range 8 {
			fcs = fcs>>1 ^ 0x8408*(fcs&1)
		}
	}
	return ^fcs
}

// send writes a frame in HDLC-like framing, with all control characters escaped.
func (p *pty) send(frame []byte) {
	p.t.Helper()
	b := append([]byte{0xff, 0x03}, frame...)
	fcs := fcs16(b)
	out := []byte{0x7e}
	for _, c := range append(b, byte(fcs), byte(fcs>>8)) {
		if c < 0x20 || c == 0x7d || c == 0x7e {
			out = append(out, 0x7d, c^0x20)
		} else {
			out = append(out, c)
		}
	}
	out = append(out, 0x7e)
	until(p.t, "the line has taken a frame", func() bool {
		n, err := unix.Write(p.master, out)
		out = out[max(n, 0):]
		return len(out) == 0 || err != nil && !errors.Is(err, unix.EAGAIN)
	})
}

// octets gives the next frame as it came, without flags.
func (p *pty) octets() []byte {
	p.t.Helper()
	var frame []byte
	until(p.t, "the line has sent a frame", func() bool {
		b := make([]byte, 4096)
		if n, err := unix.Read(p.master, b); err == nil {
			p.buf = append(p.buf, b[:n]...)
		}
		p.buf = bytes.TrimLeft(p.buf, "\x7e")
		end := bytes.IndexByte(p.buf, 0x7e)
		if end < 0 {
			return false
		}
		frame, p.buf = p.buf[:end], p.buf[end:]
		return true
	})
	return frame
}

// receive gives the next frame.
func (p *pty) receive() string {
	p.t.Helper()
	var b []byte
	escaped := byte(0)
	for _, c := range p.octets() {
		if c == 0x7d {
			escaped = 0x20
			continue
		}
		b, escaped = append(b, c^escaped), 0
	}
	if len(b) < 4 || b[0] != 0xff || b[1] != 3 || fcs16(b[:len(b)-2]) != uint16(b[len(b)-2])|uint16(b[len(b)-1])<<8 {
		p.t.Fatalf("no PPP frame: %x", b)
	}
	return hex.EncodeToString(b[2 : len(b)-2])
}

func (h *host) openLine(tty *os.File, sink func([]byte), onDead func(error)) (s *Session, err error) {
	err = h.do(func() error {
		s, err = h.k.OpenLine(LineSpec{TTY: tty}, Funcs{sink, onDead})
		return err
	})
	return s, err
}

func (h *host) line(p *pty, sink func([]byte), onDead func(error)) *Session {
	h.t.Helper()
	s, err := h.openLine(p.slave, sink, onDead)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func TestKernelLineFramesBothWays(t *testing.T) {
	h := newHost(t, 1)
	p, at := newPTY(t), newInbox()
	s := h.line(p, at.sink, nil)
	if _, err := p.slave.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the caller's file is open: %v", err)
	}
	for i := range byte(10) {
		p.send(frame(lcp, i))
		at.want(t, text(lcp, i))
		mustSend(t, s, frame(chap, i))
		if got := p.receive(); got != text(chap, i) {
			t.Errorf("frame %s, want %s", got, text(chap, i))
		}
	}
	// The ACCM: at first all control characters are escaped, with 0 none.
	body := []byte{0x80, 0x21, 9, 0, 0, 8, 1, 2, 3, 4}
	mustSend(t, s, body)
	if b := p.octets(); !bytes.HasPrefix(b, []byte{0xff, 0x7d, 0x23, 0x80, 0x21, 0x7d, 0x29}) {
		t.Errorf("octets with the first ACCM: %x", b)
	}
	if err := s.SetACCM(0, 0); err != nil {
		t.Fatal(err)
	}
	mustSend(t, s, body)
	if b := p.octets(); !bytes.HasPrefix(b, append([]byte{0xff, 0x03}, body...)) {
		t.Errorf("octets with ACCM 0: %x", b)
	}
	if _, err := s.HandOver(); !errors.Is(err, errLine) {
		t.Errorf("hand over: %v", err)
	}
}

// A line that is closed is an ordinary tty again, for whoever has it open.
func TestKernelLineIsGivenBack(t *testing.T) {
	h := newHost(t, 1)
	p := newPTY(t)
	keeper, err := duplicate(p.slave)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(keeper) }()
	before := descriptors(t)
	s := h.line(p, func([]byte) {}, nil)
	if d, err := unix.IoctlGetInt(keeper, unix.TIOCGETD); err != nil || d != disciplinePPP {
		t.Errorf("discipline %d, %v", d, err)
	}
	if n, err := LineErrors(s); err == nil { // nothing can go wrong on a pty
		t.Errorf("errors %v of a pty", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := LineErrors(s); !errors.Is(err, os.ErrClosed) {
		t.Errorf("errors %v, %v after Close", n, err)
	}
	if d, err := unix.IoctlGetInt(keeper, unix.TIOCGETD); err != nil || d != disciplineTTY {
		t.Errorf("discipline %d, %v after Close", d, err)
	}
	if got := descriptors(t); len(got) != len(before)-1 {
		t.Errorf("descriptors before, with the caller's file, and after: %s", cmp.Diff(before, got))
	}
	if err := errors.Join(s.Send(frame(lcp, 1)), s.SetACCM(0, 0)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("calls after Close: %v", err)
	}
	// What is no tty stays its owner's.
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	before = descriptors(t)
	_, err = h.openLine(file, func([]byte) {}, nil)
	if !errors.Is(err, unix.ENOTTY) || err.Error() != "open line /dev/null: set line discipline 3: inappropriate ioctl for device" {
		t.Errorf("no tty: %v", err)
	}
	if diff := cmp.Diff(before, descriptors(t)); diff != "" {
		t.Errorf("a failed call leaks: %s", diff)
	}
}

func TestKernelLineHangsUp(t *testing.T) {
	for _, bridged := range []bool{false, true} {
		h := loopback(t, 1)
		specA, _ := specs(1)
		to := h.session(specA, func([]byte) {})
		dead := make(chan error, 8)
		p := newPTY(t)
		s := h.line(p, func([]byte) {}, func(err error) { dead <- err })
		if bridged {
			h.mustBridge(s, to)
		}
		p.hangUp()
		if err := receive(t, dead); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("told %v", err)
		}
		_ = s.Send(frame(lcp, 1))
		if err := errors.Join(s.Close(), to.Close()); err != nil {
			t.Error(err)
		}
		if len(dead) > 0 {
			t.Errorf("told again: %v", <-dead)
		}
	}
}

func TestKernelLineAttached(t *testing.T) {
	h := newHost(t, 1)
	p, at := newPTY(t), newInbox()
	s := h.line(p, at.sink, nil)
	p.send(frame(lcp, 1))
	h.mustAttach(s, UnitSpec{})
	at.want(t, text(lcp, 1))
	for i, proto := range []uint16{lcp, ipcp, ccp, chap} {
		p.send(frame(proto, byte(i)))
		at.want(t, text(proto, byte(i)))
		mustSend(t, s, frame(proto, byte(i)))
		if got := p.receive(); got != text(proto, byte(i)) {
			t.Errorf("frame %s, want %s", got, text(proto, byte(i)))
		}
	}
	// IPCP and CCP of 8 octets each way.
	want := Stats{TxPackets: 2, TxBytes: 16, RxPackets: 2, RxBytes: 16}
	if got, err := s.Stats(); err != nil || got != want {
		t.Errorf("stats %+v, %v; want %+v", got, err, want)
	}
}

func TestKernelBridgeLineToL2TP(t *testing.T) {
	h := loopback(t, 1)
	specA, specB := specs(1)
	p, atLine, atA, atB := newPTY(t), newInbox(), newInbox(), newInbox()
	s := h.line(p, atLine.sink, nil)
	a, b := h.session(specA, atA.sink), h.session(specB, atB.sink)
	h.mustBridge(s, a)
	for i, proto := range []uint16{lcp, chap, ipcp, 0x0021} {
		p.send(frame(proto, byte(i)))
		atB.want(t, text(proto, byte(i)))
		mustSend(t, b, frame(proto, byte(i)))
		if got := p.receive(); got != text(proto, byte(i)) {
			t.Errorf("frame %s, want %s", got, text(proto, byte(i)))
		}
	}
	p.send(long(0x0021))
	atB.want(t, hex.EncodeToString(long(0x0021)))
	mustSend(t, b, long(0x0057))
	if got := p.receive(); got != hex.EncodeToString(long(0x0057)) {
		t.Errorf("long frame %s", got)
	}
	mustSend(t, s, frame(lcp, 9))
	if got := p.receive(); got != text(lcp, 9) {
		t.Errorf("frame %s, want %s", got, text(lcp, 9))
	}
	if got, err := a.Stats(); err != nil || got.TxPackets != 5 || got.RxPackets != 5 {
		t.Errorf("stats %+v, %v", got, err)
	}
	h.settle()
	atLine.silent(t, "the line's sink")
	atA.silent(t, "the L2TP side's sink")
}
