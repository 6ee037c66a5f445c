//go:build kernel

package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// Send sends one UDP datagram from a port of the host. The address may be one that the host does not have: see
// net.ipv4.ip_nonlocal_bind.
func (h *Host) Send(from, to string, datagram []byte) {
	h.l.t.Helper()
	err := h.Do(func() error {
		c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from)), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write(datagram)
		return err
	})
	if err != nil {
		h.l.t.Fatalf("host %s: send from %s to %s: %v", h.Name, from, to, err)
	}
}

// UDP opens a UDP socket on the host, to be read from within Patience.
func (h *Host) UDP(local string) *net.UDPConn {
	h.l.t.Helper()
	var c *net.UDPConn
	err := h.Do(func() error {
		var err error
		if c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(local))); err != nil {
			return err
		}
		return c.SetReadDeadline(time.Now().Add(Patience))
	})
	if err != nil {
		h.l.t.Fatalf("host %s: %v", h.Name, err)
	}
	h.l.t.Cleanup(func() { c.Close() })
	return c
}

// Transfer moves octets over one TCP connection to addr, which is an address of host to, and fails the test if they do not
// arrive within Patience.
func (h *Host) Transfer(to *Host, addr string, octets int64) {
	h.l.t.Helper()
	if err := h.transfer(to, addr, octets); err != nil {
		h.l.t.Fatalf("transfer of %d octets from %s to %s: %v", octets, h.Name, addr, err)
	}
}

func (h *Host) transfer(to *Host, addr string, octets int64) error {
	var listener *net.TCPListener
	err := to.Do(func() error {
		var err error
		listener, err = net.ListenTCP("tcp", &net.TCPAddr{IP: net.ParseIP(addr)})
		return err
	})
	if err != nil {
		return err
	}
	defer listener.Close()
	deadline := time.Now().Add(Patience)
	_ = listener.SetDeadline(deadline)
	got := make(chan error, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			got <- err
			return
		}
		defer c.Close()
		_ = c.SetDeadline(deadline)
		n, err := io.Copy(io.Discard, c)
		if err == nil && n != octets {
			err = fmt.Errorf("%d octets arrived", n)
		}
		got <- err
	}()
	err = h.Do(func() error {
		c, err := net.DialTimeout("tcp", listener.Addr().String(), Patience)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(deadline)
		_, err = io.CopyN(c, zeros{}, octets)
		return err
	})
	if err != nil {
		listener.Close()
	}
	return errors.Join(err, <-got)
}

type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
