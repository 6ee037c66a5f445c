//go:build kernel

package kernel

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dataMessage is what a peer that knows only UDP sees and sends.
func dataMessage(flags uint16, tunnel, session uint16, rest string) string {
	return fmt.Sprintf("%04x%04x%04x%s", flags, tunnel, session, rest)
}

func TestKernelSequencing(t *testing.T) {
	h := newHost(t, 1)
	h.tunnel(1, 11, addrA, addrB)
	peer := h.socket(addrB, addrA)
	specA, _ := specs(1)
	atA := newInbox()
	a := h.session(specA, atA.sink)
	read := func() string {
		t.Helper()
		buf := make([]byte, 1500)
		n, err := unix.Read(peer, buf)
		if err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(buf[:n])
	}
	send := func(message string) {
		t.Helper()
		if _, err := unix.Write(peer, unhex(t, message)); err != nil {
			t.Fatal(err)
		}
	}
	wantSent := func(want string) {
		t.Helper()
		if got := read(); got != want {
			t.Errorf("sent %s, want %s", got, want)
		}
	}
	mustSend(t, a, frame(lcp, 1))
	wantSent(dataMessage(0x0002, 11, 10001, "ff03"+text(lcp, 1)))

	q := Sequencing{Send: true, Require: true, LNS: true, Reorder: 50 * time.Millisecond}
	if err := a.SetSequencing(q); err != nil {
		t.Fatal(err)
	}
	info, err := h.k.SessionInfo(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	// Milliseconds become jiffies of 4 ms or less on the way.
	if d := info.Sequencing.Reorder - q.Reorder; d < -4*time.Millisecond || d > 4*time.Millisecond {
		t.Errorf("reorder time-out %v, want %v", info.Sequencing.Reorder, q.Reorder)
	}
	info.Sequencing.Reorder = q.Reorder
	if info.Sequencing != q {
		t.Errorf("sequencing %+v, want %+v", info.Sequencing, q)
	}
	mustSend(t, a, frame(lcp, 2), frame(lcp, 3))
	wantSent(dataMessage(0x0802, 11, 10001, "00000000ff03"+text(lcp, 2)))
	wantSent(dataMessage(0x0802, 11, 10001, "00010000ff03"+text(lcp, 3)))

	send(dataMessage(0x0002, 1, 1, "ff03"+text(lcp, 9))) // without a number: dropped
	var disordered []string
	for _, ns := range []byte{0, 2, 1, 3} {
		disordered = append(disordered, dataMessage(0x0802, 1, 1, fmt.Sprintf("00%02x0000ff03", ns)+text(lcp, ns)))
	}
	volley(t, peer, disordered...)
	atA.want(t, text(lcp, 0), text(lcp, 1), text(lcp, 2), text(lcp, 3))
	if stats, err := a.Stats(); err != nil || stats.RxSeqDiscards != 1 {
		t.Errorf("stats %+v, %v; want one discarded", stats, err)
	}

	if err := a.SetSequencing(Sequencing{LNS: true}); err != nil {
		t.Fatal(err)
	}
	mustSend(t, a, frame(lcp, 4))
	wantSent(dataMessage(0x0002, 11, 10001, "ff03"+text(lcp, 4)))
	send(dataMessage(0x0002, 1, 1, "ff03"+text(lcp, 5)))
	atA.want(t, text(lcp, 5))
}

// numbered is a peer that knows only UDP, so that it can number its frames as it likes.
type numbered struct {
	t  *testing.T
	fd int
}

// numberedPeer gives the peer of tunnel 1, and a session of that.
func numberedPeer(t *testing.T, h *host, q Sequencing) (*numbered, *Session, inbox) {
	t.Helper()
	h.tunnel(1, 11, addrA, addrB)
	p := &numbered{t, h.socket(addrB, addrA)}
	spec, _ := specs(1)
	spec.Sequencing = q
	box := newInbox()
	return p, h.session(spec, box.sink), box
}

// send sends frames to session 1 that have their numbers in them, with no time between.
func (p *numbered) send(ns ...uint16) {
	p.t.Helper()
	var messages []string
	for _, n := range ns {
		messages = append(messages, dataMessage(0x0802, 1, 1, fmt.Sprintf("%04x0000ff03", n)+numberedText(n)))
	}
	volley(p.t, p.fd, messages...)
}

// volley sends messages of one length as one datagram that the kernel cuts when it arrives: whatever the machine has to do besides, no
// time passes between them.
func volley(t *testing.T, fd int, messages ...string) {
	t.Helper()
	oob := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(oob[unix.CmsgLen(0):], uint16(len(messages[0])/2))
	if err := unix.Sendmsg(fd, unhex(t, strings.Join(messages, "")), oob, nil, 0); err != nil {
		t.Fatal(err)
	}
}

// numberedText is a frame with a number in it.
func numberedText(n uint16) string {
	f := frame(lcp, 0)
	f[8], f[9] = byte(n>>8), byte(n)
	return hex.EncodeToString(f)
}

func (b inbox) wantNumbers(t *testing.T, numbers ...uint16) {
	t.Helper()
	for _, n := range numbers {
		b.want(t, numberedText(n))
	}
}

// next reads what the session sends: of which session of the peer, and its number, -1 without.
func (p *numbered) next() (session uint16, ns int) {
	p.t.Helper()
	buf := make([]byte, 1500)
	n, err := unix.Read(p.fd, buf)
	if err != nil || n < 10 {
		p.t.Fatalf("%d octets, %v", n, err)
	}
	session, ns = binary.BigEndian.Uint16(buf[4:]), -1
	if binary.BigEndian.Uint16(buf)&0x0800 != 0 {
		ns = int(binary.BigEndian.Uint16(buf[6:]))
	}
	return session, ns
}

func (p *numbered) wantNext(session uint16, ns int) {
	p.t.Helper()
	if s, n := p.next(); s != session || n != ns {
		p.t.Errorf("number %d on session %d, want %d on %d", n, s, ns, session)
	}
}

// P178: what comes behind a lost frame waits for it no longer than the reorder time, and the kernel has no clock for that: the
// next frame is what ends the wait. What has waited too long is dropped with what is lost; nothing stalls for good.
func TestKernelLostFrameStallsNothing(t *testing.T) {
	const reorder = 50 * time.Millisecond
	for _, q := range []Sequencing{{Reorder: reorder}, {Send: true, Require: true, LNS: true, Reorder: reorder}} {
		t.Run(fmt.Sprintf("%+v", q), func(t *testing.T) {
			p, s, box := numberedPeer(t, newHost(t, 1), q)
			wantStats := func(discards, errors uint64) {
				t.Helper()
				until(t, fmt.Sprintf("%d frames are discarded, %d dropped in all", discards, errors), func() bool {
					stats, err := s.Stats()
					return err == nil && stats.RxSeqDiscards == discards && stats.RxErrors == errors
				})
			}
			p.send(0)
			p.send(2) // 1 is lost
			box.wantNumbers(t, 0)
			outlast(t, reorder)
			p.send(3)
			box.wantNumbers(t, 3)
			wantStats(1, 1) // 2, which has waited too long
			p.send(1)       // late
			wantStats(1, 2)
			p.send(4)
			box.wantNumbers(t, 4)

			// Within the time a frame is only late, and a second one of it is dropped.
			p.send(6, 5, 6)
			box.wantNumbers(t, 5, 6)
			wantStats(1, 3)

			// Frames that follow each other closely lose no more than those that have waited too long.
			p.send(8)
			outlast(t, reorder)
			for ns := range uint16(5) {
				p.send(9 + ns)
			}
			box.wantNumbers(t, 9, 10, 11, 12, 13)
			wantStats(2, 4)
			if len(box) != 0 {
				t.Errorf("%d more frames", len(box))
			}
		})
	}
}

// outlast waits until a reorder time-out is over for all that was sent.
func outlast(t *testing.T, reorder time.Duration) {
	t.Helper()
	began := time.Now()
	until(t, "the reorder time is over", func() bool { return time.Since(began) > 2*reorder })
}

// P177: each session counts for itself, from 0, modulo 65536. P175: numbering that is switched on again resumes where it stopped.
func TestKernelNumbersOfSessions(t *testing.T) {
	h := newHost(t, 1)
	on := Sequencing{Send: true, LNS: true, Reorder: 30 * time.Millisecond}
	p, s, _ := numberedPeer(t, h, on)
	other, _ := specs(2)
	other.Sequencing = on
	s2 := h.session(other, func([]byte) {})
	f := frame(lcp, 0)

	for ns := range 3 {
		mustSend(t, s, f)
		p.wantNext(10001, ns)
	}
	mustSend(t, s2, f, f)
	p.wantNext(10002, 0)
	p.wantNext(10002, 1)

	if err := s.SetSequencing(Sequencing{LNS: true}); err != nil {
		t.Fatal(err)
	}
	mustSend(t, s, f, f)
	p.wantNext(10001, -1)
	p.wantNext(10001, -1)
	if err := s.SetSequencing(on); err != nil {
		t.Fatal(err)
	}
	mustSend(t, s, f)
	p.wantNext(10001, 3)

	// Up to the end of the numbers, whatever the socket has no room for.
	for range 65534 - 4 {
		mustSend(t, s, f)
	}
	for err := error(nil); err == nil; {
		_, _, err = unix.Recvfrom(p.fd, make([]byte, 1500), unix.MSG_DONTWAIT)
	}
	mustSend(t, s, f)
	ns := 0
	for ns < 65534 {
		_, ns = p.next()
	}
	mustSend(t, s, f, f, f)
	p.wantNext(10001, 65535)
	p.wantNext(10001, 0)
	p.wantNext(10001, 1)
	mustSend(t, s2, f)
	p.wantNext(10002, 2)
}

// The peer's numbers go on behind 65535 with 0. The kernel takes none that is 32767 or more ahead, also at first.
func TestKernelNumbersOfThePeerWrap(t *testing.T) {
	const reorder = 30 * time.Millisecond
	p, s, box := numberedPeer(t, newHost(t, 1), Sequencing{Require: true, LNS: true, Reorder: reorder})
	p.send(65534)
	p.send(32766)
	box.wantNumbers(t, 32766)
	p.send(65532)
	outlast(t, reorder)
	for _, ns := range []uint16{65533, 65534, 65535, 0, 1} {
		p.send(ns)
	}
	box.wantNumbers(t, 65533, 65534, 65535, 0, 1)
	if stats, err := s.Stats(); err != nil || stats.RxErrors != 2 {
		t.Errorf("stats %+v, %v; want two dropped", stats, err)
	}
}
