//go:build kernel

package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Ether hears and sends whole Ethernet frames at one interface of a host, beside whatever else is at work there.
type Ether struct {
	MAC [6]byte // of the interface

	host *Host
	fd   *os.File
}

// Ether begins to hear what passes the interface that leads to a neighbour, in both directions. It ends with the lab.
func (h *Host) Ether(to string) *Ether {
	t := h.l.t
	t.Helper()
	e := &Ether{host: h}
	err := h.Do(func() error {
		link, err := net.InterfaceByName(to)
		if err != nil {
			return err
		}
		copy(e.MAC[:], link.HardwareAddr)
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		e.fd = os.NewFile(uintptr(fd), "ether")
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: link.Index})
	})
	if err != nil {
		t.Fatalf("hear %s of host %s: %v", to, h.Name, err)
	}
	t.Cleanup(func() { e.fd.Close() })
	return e
}

// Send sends a frame as if a program of the host had.
func (e *Ether) Send(frame []byte) {
	e.host.l.t.Helper()
	if _, err := e.fd.Write(frame); err != nil {
		e.host.l.t.Fatalf("host %s: send a frame: %v", e.host.Name, err)
	}
}

// Wait takes frames, oldest first, until one is what the test waits for, and returns it.
func (e *Ether) Wait(what string, want func(frame []byte) bool) []byte {
	t := e.host.l.t
	t.Helper()
	if err := e.fd.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	for {
		n, err := e.fd.Read(buf)
		switch {
		case err == nil && want(buf[:n]):
			return append([]byte(nil), buf[:n]...)
		case err == nil, errors.Is(err, unix.ENETDOWN): // which is no end of what may come
		default:
			t.Fatalf("host %s: no %s: %v", e.host.Name, what, err)
		}
	}
}

// PPPoESessions lists the kernel's sessions of PPPoE: one line for each, with its number, the other end and the interface.
func (h *Host) PPPoESessions() (lines []string) {
	h.l.t.Helper()
	// The file is that of the thread that reads it, which is in the host's network.
	err := h.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/pppoe")
		if err != nil {
			return fmt.Errorf("sessions of PPPoE: %w", err)
		}
		lines = nonEmpty(string(text))
		return nil
	})
	if err != nil {
		h.l.t.Fatalf("host %s: %v", h.Name, err)
	}
	return lines[min(1, len(lines)):] // the first is a heading
}

// nonEmpty are the lines of a text that have something on them.
func nonEmpty(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
