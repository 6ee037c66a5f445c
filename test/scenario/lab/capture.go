//go:build kernel

package lab

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// Packet is one UDP packet on a link.
type Packet struct {
	Src, Dst netip.AddrPort
	Sent     bool   // by the host that was listened on
	Checksum uint16 // 0: none
	Payload  []byte
	Header   wire.Header // of L2TP; zero for anything else
	Body     []byte      // what follows the header
}

// Control says that the packet is a control message that is more than an acknowledgement, and which.
func (p Packet) Control() (wire.Message, bool) {
	if !p.Header.Control || len(p.Body) == 0 {
		return wire.Message{}, false
	}
	m, err := wire.ParseMessage(p.Body)
	return m, err == nil
}

// Capture listens on one interface of a host. It keeps UDP packets, and writes everything to a file for Wireshark.
type Capture struct {
	host *Host
	fd   *os.File
	done chan struct{}

	mu      sync.Mutex
	packets []Packet
	read    int // of all protocols
	file    *bufio.Writer
	close   func() error

	counting sync.Mutex // guards what the kernel has counted
	passed   int
	lost     int
	stopped  bool
}

// Capture begins to listen at the interface that leads to a neighbour. It ends with Stop or with the lab.
func (h *Host) Capture(to string) *Capture {
	t := h.l.t
	t.Helper()
	c := &Capture{host: h, done: make(chan struct{})}
	err := h.Do(func() error {
		link, err := net.InterfaceByName(to)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		c.fd = os.NewFile(uintptr(fd), "capture")
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) // less will do too
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: link.Index})
	})
	if err != nil {
		t.Fatalf("capture on %s of host %s: %v", to, h.Name, err)
	}
	file, err := os.Create(filepath.Join(h.l.logs, h.Name+"-"+to+".pcap"))
	if err != nil {
		t.Fatal(err)
	}
	c.file, c.close = bufio.NewWriterSize(file, 1<<20), sync.OnceValue(func() error { return errors.Join(c.file.Flush(), file.Close()) })
	head := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	head = binary.LittleEndian.AppendUint16(head, 2)
	head = binary.LittleEndian.AppendUint16(head, 4)
	head = append(head, make([]byte, 8)...)
	head = binary.LittleEndian.AppendUint32(head, 1<<16)
	head = binary.LittleEndian.AppendUint32(head, 1) // Ethernet
	_, _ = c.file.Write(head)                        // for people only
	go c.listen()
	t.Cleanup(c.Stop)
	return c
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

func (c *Capture) listen() {
	defer close(c.done)
	raw, err := c.fd.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 1<<16)
	for {
		var n int
		var from unix.Sockaddr
		var rerr error
		err := raw.Read(func(fd uintptr) bool {
			n, from, rerr = unix.Recvfrom(int(fd), buf, 0)
			return !errors.Is(rerr, unix.EAGAIN)
		})
		if err != nil {
			return // stopped
		}
		if rerr != nil {
			continue
		}
		ll, _ := from.(*unix.SockaddrLinklayer)
		c.add(buf[:n], ll != nil && ll.Pkttype == unix.PACKET_OUTGOING)
	}
}

func (c *Capture) add(frame []byte, sent bool) {
	now := time.Now()
	head := binary.LittleEndian.AppendUint32(nil, uint32(now.Unix()))
	head = binary.LittleEndian.AppendUint32(head, uint32(now.Nanosecond()/1000))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(frame)))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(frame)))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read++
	_, _ = c.file.Write(append(head, frame...)) // for people only
	if p, ok := parseUDP(frame); ok {
		p.Sent = sent
		c.packets = append(c.packets, p)
	}
}

// parseUDP takes a UDP packet out of an Ethernet frame. Fragments and IPv6 extension headers are not looked into.
func parseUDP(frame []byte) (Packet, bool) {
	var src, dst netip.Addr
	var udp []byte
	switch {
	case len(frame) >= 42 && binary.BigEndian.Uint16(frame[12:]) == unix.ETH_P_IP && frame[23] == unix.IPPROTO_UDP:
		n := 14 + int(frame[14]&0xf)*4
		if len(frame) < n+8 {
			return Packet{}, false
		}
		src, dst = netip.AddrFrom4([4]byte(frame[26:30])), netip.AddrFrom4([4]byte(frame[30:34]))
		udp = frame[n:]
	case len(frame) >= 62 && binary.BigEndian.Uint16(frame[12:]) == unix.ETH_P_IPV6 && frame[20] == unix.IPPROTO_UDP:
		src, dst = netip.AddrFrom16([16]byte(frame[22:38])), netip.AddrFrom16([16]byte(frame[38:54]))
		udp = frame[54:]
	default:
		return Packet{}, false
	}
	length := int(binary.BigEndian.Uint16(udp[4:]))
	p := Packet{
		Src: netip.AddrPortFrom(src, binary.BigEndian.Uint16(udp)), Dst: netip.AddrPortFrom(dst, binary.BigEndian.Uint16(udp[2:])),
		Checksum: binary.BigEndian.Uint16(udp[6:]),
		Payload:  append([]byte(nil), udp[8:max(8, min(length, len(udp)))]...), // without Ethernet padding
	}
	if h, body, err := wire.ParseHeader(p.Payload); err == nil {
		p.Header, p.Body = h, body
	}
	return p, true
}

// Packets returns the UDP packets seen so far for which want holds. It waits until all that has passed the interface has been
// looked at, and fails the test if some could not be.
func (c *Capture) Packets(want func(Packet) bool) []Packet {
	t := c.host.l.t
	t.Helper()
	c.host.l.Eventually("capture", func() error {
		passed, lost, err := c.statistics()
		switch read := c.seen(); {
		case err != nil:
			return err
		case lost > 0:
			t.Fatalf("the capture of host %s lost %d packets", c.host.Name, lost)
		case read < passed:
			return fmt.Errorf("%d of %d packets looked at", read, passed)
		}
		return nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []Packet
	for _, p := range c.packets {
		if want(p) {
			found = append(found, p)
		}
	}
	return found
}

func (c *Capture) seen() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read
}

// statistics returns how many packets have passed since the beginning, and how many were lost. The kernel begins anew each
// time it is asked.
func (c *Capture) statistics() (passed, lost int, err error) {
	c.counting.Lock()
	defer c.counting.Unlock()
	if c.stopped {
		return c.passed, c.lost, nil
	}
	raw, err := c.fd.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var st *unix.TpacketStats
	if cerr := raw.Control(func(fd uintptr) {
		st, err = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	}); cerr != nil {
		return 0, 0, cerr
	}
	if err != nil {
		return 0, 0, err
	}
	c.passed += int(st.Packets)
	c.lost += int(st.Drops)
	return c.passed, c.lost, nil
}

// Messages returns the control messages of one type seen so far, repetitions included.
func (c *Capture) Messages(t wire.MessageType) []Packet {
	return c.Packets(func(p Packet) bool {
		m, ok := p.Control()
		return ok && m.Type == t
	})
}

// First returns the control messages of one type without repetitions.
func (c *Capture) First(t wire.MessageType) []Packet {
	type key struct {
		src    netip.AddrPort
		tunnel uint16
		ns     uint16
		body   string
	}
	seen := map[key]bool{}
	var once []Packet
	for _, p := range c.Messages(t) {
		k := key{p.Src, p.Header.TunnelID, p.Header.Ns, string(p.Body)}
		if !seen[k] {
			seen[k] = true
			once = append(once, p)
		}
	}
	return once
}

// Forget drops what has been seen.
func (c *Capture) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.packets = nil
}

// Stop ends listening; what was seen stays.
func (c *Capture) Stop() {
	c.Packets(func(Packet) bool { return false }) // all that has passed is to be seen
	c.counting.Lock()
	c.stopped = true
	c.counting.Unlock()
	c.fd.Close()
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.close() // for people only
}
