//go:build kernel

package kernel

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// ccpFrame is a Configure-Request or a Configure-Ack for MPPE.
func ccpFrame(code byte, options [4]byte) []byte {
	return append([]byte{0x80, 0xfd, code, 1, 0, 10, optionMPPE, optionMPPELen}, options[:]...)
}

const (
	confReq = 1
	confAck = 2
	termReq = 5
)

// crypt is a link between two hosts that is to be encrypted.
type crypt struct {
	a, b     *host
	sa, sb   *Session
	ua, ub   Unit
	atA, atB inbox
	wire     [2]int // taps of what comes to a and to b
}

func newCrypt(t *testing.T) *crypt {
	t.Helper()
	c := &crypt{a: newHost(t, 1), b: newHost(t, 1), atA: newInbox(), atB: newInbox()}
	wire(t, c.a, c.b, "10.9.0.1/24", "10.9.0.2/24")
	c.a.tunnel(1, 11, "10.9.0.1:1701", "10.9.0.2:1701")
	c.b.tunnel(11, 1, "10.9.0.2:1701", "10.9.0.1:1701")
	specA, specB := specs(1)
	c.sa, c.sb = c.a.session(specA, c.atA.sink), c.b.session(specB, c.atB.sink)
	c.ua, c.ub = c.a.mustAttach(c.sa, UnitSpec{MTU: 1400}), c.b.mustAttach(c.sb, UnitSpec{MTU: 1400})
	for i, h := range []*host{c.a, c.b} {
		var index int
		h.must(func() error {
			link, err := h.nl.LinkByName("wire")
			if err == nil {
				index = link.Attrs().Index
			}
			return err
		})
		c.wire[i] = h.tap(index)
	}
	t.Cleanup(func() { _, _ = unix.Close(c.wire[0]), unix.Close(c.wire[1]) })
	return c
}

// negotiate arms both ends and exchanges CCP as two daemons would.
func (c *crypt) negotiate(t *testing.T, ofA, ofB Compression) {
	t.Helper()
	if err := errors.Join(c.sa.ArmCompression(ofA), c.sb.ArmCompression(ofB)); err != nil {
		t.Fatal(err)
	}
	if err := c.sa.OpenCompression(true); !errors.Is(err, errNotRun) {
		t.Errorf("open before the Configure-Acks: %v", err)
	}
	request, ack := ccpFrame(confReq, ofA.Options), ccpFrame(confAck, ofA.Options)
	mustSend(t, c.sa, request)
	mustSend(t, c.sb, request)
	c.atA.want(t, hex.EncodeToString(request))
	c.atB.want(t, hex.EncodeToString(request))
	mustSend(t, c.sa, ack)
	c.atB.want(t, hex.EncodeToString(ack))
	if err := c.sa.OpenCompression(true); !errors.Is(err, errNotRun) {
		t.Errorf("open after one Configure-Ack: %v", err)
	}
	mustSend(t, c.sb, ack)
	c.atA.want(t, hex.EncodeToString(ack))
	if err := errors.Join(c.sa.OpenCompression(true), c.sb.OpenCompression(true)); err != nil {
		t.Fatal(err)
	}
}

// up opens IPv4 on both sides.
func (c *crypt) up(t *testing.T) {
	t.Helper()
	if err := errors.Join(c.sa.Pass(IPv4, true), c.sb.Pass(IPv4, true)); err != nil {
		t.Fatal(err)
	}
	c.a.up(c.ua.Name, "192.0.2.1/32", "192.0.2.2/32")
	c.b.up(c.ub.Name, "192.0.2.2/32", "192.0.2.1/32")
}

// outer gives the PPP frames that a tap saw in L2TP data messages.
func outer(t *testing.T, tap int) [][]byte {
	t.Helper()
	var frames [][]byte
	buf := make([]byte, 2000)
	for {
		n, err := unix.Read(tap, buf)
		if errors.Is(err, unix.EAGAIN) {
			return frames
		}
		if err != nil {
			t.Fatal(err)
		}
		const head = 20 + 8 + 6 + 2 // IPv4, UDP, L2TP, FF 03
		if n > head && binary.BigEndian.Uint16(buf[22:]) == 1701 && buf[28]&0x80 == 0 {
			frames = append(frames, bytes.Clone(buf[head:n]))
		}
	}
}

func TestKernelMPPE(t *testing.T) {
	for name, options := range map[string][4]byte{
		"128 bits stateless": {mppeStateless, 0, 0, mppe128},
		"40 bits stateless":  {mppeStateless, 0, 0, mppe40},
		"128 bits stateful":  {0, 0, 0, mppe128},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrypt(t)
			ofA, ofB := compression(1, 2), compression(2, 1)
			ofA.Options, ofB.Options = options, options
			c.negotiate(t, ofA, ofB)
			c.up(t)
			icmp := c.a.icmp(false)
			const packets = 300 // after 256 a stateful cipher gets its next key
			encrypted := [2]int{}
			for n := range packets {
				c.a.ping(icmp, "192.0.2.2", byte(n))
				if got := c.a.pong(icmp); got != byte(n) {
					t.Fatalf("reply %d, want %d", got, byte(n))
				}
				for i, tap := range c.wire {
					for _, f := range outer(t, tap) {
						switch p := binary.BigEndian.Uint16(f); p {
						case 0x00fd:
							encrypted[i]++
						case ccp:
						default:
							t.Errorf("protocol %04x in clear", p)
						}
						if bytes.Contains(f, []byte{192, 0, 2, 1}) || bytes.Contains(f, []byte{192, 0, 2, 2}) {
							t.Errorf("an address in clear: %x", f)
						}
					}
				}
			}
			if encrypted != [2]int{packets, packets} {
				t.Errorf("%d encrypted frames, want %d each way", encrypted, packets)
			}
			if broken, err := c.sa.CompressionBroken(); broken || err != nil {
				t.Errorf("broken: %v, %v", broken, err)
			}
			// Link control stays in clear, and works.
			mustSend(t, c.sa, frame(lcp, 1))
			c.atB.want(t, text(lcp, 1))
			// Keys and all the rest of it go with the interface.
			mustClose(t, c.sa, c.sb)
			if left := append(c.a.units(), c.b.units()...); len(left) != 0 {
				t.Errorf("idle: %v", left)
			}
		})
	}
}

// What was encrypted with another key is noise to the receiver, not packets.
func TestKernelMPPEWithAnotherKey(t *testing.T) {
	c := newCrypt(t)
	c.negotiate(t, compression(1, 2), compression(2, 3))
	c.up(t)
	tap := c.b.tap(c.ub.Index)
	defer unix.Close(tap)
	icmp := c.a.icmp(false)
	for seq := range byte(20) {
		c.a.ping(icmp, "192.0.2.2", seq)
	}
	mustSend(t, c.sa, frame(lcp, 1))
	for {
		got := receive(t, c.atB)
		if got == text(lcp, 1) {
			break
		}
	}
	buf := make([]byte, 2000)
	if n, err := unix.Read(tap, buf); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("the interface received %x, %v", buf[:max(n, 0)], err)
	}
	if n := len(outer(t, c.wire[1])); n < 22 {
		t.Errorf("%d frames on the wire: nothing is proven", n)
	}
}

// CCP that begins anew, or ends, ends encryption before anybody can say a word: that is why the network protocols are to be stopped.
// New keys make a new beginning.
func TestKernelMPPEEndsWithCCP(t *testing.T) {
	c := newCrypt(t)
	c.negotiate(t, compression(1, 2), compression(2, 1))
	c.up(t)
	icmp := c.a.icmp(false)
	c.a.ping(icmp, "192.0.2.2", 1)
	if got := c.a.pong(icmp); got != 1 {
		t.Errorf("reply %d", got)
	}
	seen := func() (clear int) {
		mustSend(t, c.sa, frame(lcp, 1))
		c.atB.want(t, text(lcp, 1))
		for _, f := range outer(t, c.wire[1]) {
			if binary.BigEndian.Uint16(f) == 0x0021 {
				clear++
			}
		}
		return clear
	}
	if n := seen(); n != 0 {
		t.Errorf("%d packets in clear", n)
	}
	mustSend(t, c.sb, []byte{0x80, 0xfd, termReq, 2, 0, 4})
	c.atA.want(t, "80fd05020004")
	if err := c.sa.OpenCompression(true); !errors.Is(err, errNotRun) {
		t.Errorf("open after a Terminate-Request: %v", err)
	}
	c.a.ping(icmp, "192.0.2.2", 2)
	if n := seen(); n != 1 {
		t.Errorf("%d packets in clear, want the one that makes Pass necessary", n)
	}
	if err := errors.Join(c.sa.Pass(IPv4, false), c.sb.Pass(IPv4, false)); err != nil {
		t.Fatal(err)
	}
	c.a.ping(icmp, "192.0.2.2", 3)
	if n := seen(); n != 0 {
		t.Errorf("%d packets in clear after Pass", n)
	}
	c.negotiate(t, compression(4, 5), compression(5, 4))
	if err := errors.Join(c.sa.Pass(IPv4, true), c.sb.Pass(IPv4, true)); err != nil {
		t.Fatal(err)
	}
	c.a.ping(icmp, "192.0.2.2", 4)
	for c.a.pong(icmp) != 4 { // the reply to the one in clear may still be there
	}
	if n := seen(); n != 0 {
		t.Errorf("%d packets in clear after the new beginning", n)
	}
}

// The kernel bears with some frames that make no sense, one after each Reset-Ack, and then with none.
func TestKernelMPPEGivesUp(t *testing.T) {
	h := newHost(t, 1)
	h.tunnel(1, 11, addrA, addrB)
	peer := h.socket(addrB, addrA)
	specA, _ := specs(1)
	atA := newInbox()
	a := h.session(specA, atA.sink)
	h.mustAttach(a, UnitSpec{})
	write := func(f []byte) {
		t.Helper()
		if _, err := unix.Write(peer, unhex(t, dataMessage(0x0002, 1, 1, "ff03"+hex.EncodeToString(f)))); err != nil {
			t.Fatal(err)
		}
	}
	say := func(f []byte) {
		t.Helper()
		write(f)
		atA.want(t, hex.EncodeToString(f))
	}
	c := compression(1, 2)
	if err := a.ArmCompression(c); err != nil {
		t.Fatal(err)
	}
	mustSend(t, a, ccpFrame(confReq, c.Options))
	say(ccpFrame(confReq, c.Options))
	mustSend(t, a, ccpFrame(confAck, c.Options))
	say(ccpFrame(confAck, c.Options))
	if err := a.OpenCompression(true); err != nil {
		t.Fatal(err)
	}
	const bears = 15
	noise := []byte{0x00, 0xfd, 0, 0, 1, 2, 3, 4} // without the mark of an encrypted frame
	for range bears {
		say(noise)
		say([]byte{0x80, 0xfd, 15, 1, 0, 4}) // Reset-Ack
	}
	if broken, err := a.CompressionBroken(); broken || err != nil {
		t.Errorf("broken after %d frames: %v, %v", bears, broken, err)
	}
	write(noise)
	write(frame(ipcp, 1))
	say(frame(lcp, 1)) // the only one of the three that comes
	if broken, err := a.CompressionBroken(); !broken || err != nil {
		t.Errorf("broken after %d frames: %v, %v", bears+1, broken, err)
	}
}

// Frames longer than the driver's first buffers take an MRU.
func TestKernelMPPEWithLongFrames(t *testing.T) {
	c := newCrypt(t)
	ofA, ofB := compression(1, 2), compression(2, 1)
	ofA.MRU, ofB.MRU = 4000, 4000
	c.negotiate(t, ofA, ofB)
	c.up(t)
	for _, end := range []struct {
		h *host
		u Unit
	}{{c.a, c.ua}, {c.b, c.ub}} {
		link := end.h.link(end.u.Index)
		end.h.must(func() error { return end.h.nl.LinkSetMTU(link, 4000) })
	}
	tap := c.b.tap(c.ub.Index)
	defer unix.Close(tap)
	icmp := c.a.icmp(false)
	long := make([]byte, 3000)
	long[0] = 13 // a message that nobody answers
	if err := unix.Sendto(icmp, long, 0, &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 2}}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5000)
	until(t, "the long packet is there", func() bool {
		n, err := unix.Read(tap, buf)
		return err == nil && n == 20+len(long)
	})
}

func TestKernelMPPEModuleMissing(t *testing.T) {
	if !noModprobe(t) {
		return
	}
	unload(t, "ppp_mppe")
	h := loopback(t, 1)
	a, u := h.lent(1, UnitSpec{})
	err := a.ArmCompression(compression(1, 2))
	var missing *UnavailableError
	const want = "arm compression of session 1/1: ppp_mppe is not available: modprobe ppp_mppe; if there is no such module install " +
		"linux-modules-extra (Ubuntu) or kernel-modules-extra (Fedora, RHEL)"
	if !errors.As(err, &missing) || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	if flags, _ := h.flags(u.Index); flags&net.FlagUp != 0 {
		t.Errorf("flags %v", flags)
	}
}
