//go:build kernel

package kernel

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// mac gives an interface's address.
func (h *host) mac(name string) (addr [6]byte) {
	h.t.Helper()
	h.must(func() error {
		link, err := h.nl.LinkByName(name)
		if err == nil {
			copy(addr[:], link.Attrs().HardwareAddr)
		}
		return err
	})
	return addr
}

// alter changes an interface.
func (h *host) alter(name string, change func(vnl.Link) error) {
	h.t.Helper()
	h.must(func() error {
		link, err := h.nl.LinkByName(name)
		if err != nil {
			return err
		}
		return change(link)
	})
}

func (h *host) openPPPoE(spec PPPoESpec, to Receiver) (s *Session, err error) {
	err = h.do(func() error {
		s, err = h.k.OpenPPPoE(spec, to)
		return err
	})
	return s, err
}

// pppoe opens a session on the wire.
func (h *host) pppoe(id uint16, peer *host, sink func([]byte), onDead func(error)) *Session {
	h.t.Helper()
	s, err := h.openPPPoE(PPPoESpec{Interface: "wire", SessionID: id, Peer: peer.mac("wire")}, Funcs{sink, onDead})
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *host) bridge(a, b *Session) error { return h.do(func() error { return a.Bridge(b) }) }

func (h *host) mustBridge(a, b *Session) {
	h.t.Helper()
	if err := h.bridge(a, b); err != nil {
		h.t.Fatal(err)
	}
}

// subscriber gives a client and a LAC with a wire between them.
func subscriber(t *testing.T, threads int) (client, lac *host) {
	t.Helper()
	client, lac = newHost(t, 1), newHost(t, threads)
	wire(t, client, lac, "10.0.0.1/24", "10.0.0.2/24")
	return client, lac
}

// core gives an LNS and lays a tunnel to it: 1 at the LAC, 11 at the LNS.
func core(t *testing.T, lac *host) (lns *host) {
	t.Helper()
	lns = newHost(t, 1)
	cable(t, lac, lns, "core", "198.51.100.1/24", "198.51.100.2/24")
	lac.tunnel(1, 11, "198.51.100.1:1701", "198.51.100.2:1701")
	lns.tunnel(11, 1, "198.51.100.2:1701", "198.51.100.1:1701")
	return lns
}

// long is a frame with a payload of 1500 octets.
func long(protocol uint16) []byte {
	return append([]byte{byte(protocol >> 8), byte(protocol)}, bytes.Repeat([]byte{0x5a}, 1500)...)
}

// silent fails the test when frames came.
func (i inbox) silent(t *testing.T, who string) {
	t.Helper()
	if len(i) > 0 {
		t.Errorf("%s got a frame: %s", who, <-i)
	}
}

// settle waits until the loop has done what it had to.
func (h *host) settle() { h.k.loop.call(func() {}) }

func TestKernelPPPoEFramesBothWays(t *testing.T) {
	client, lac := subscriber(t, 1)
	atClient, atLAC := newInbox(), newInbox()
	c, l := client.pppoe(7, lac, atClient.sink, nil), lac.pppoe(7, client, atLAC.sink, nil)
	for i := range byte(50) {
		mustSend(t, c, frame(lcp, i))
		mustSend(t, l, frame(chap, i))
	}
	for i := range byte(50) {
		atClient.want(t, text(chap, i))
		atLAC.want(t, text(lcp, i))
	}
	mustSend(t, c, long(0x0021))
	atLAC.want(t, hex.EncodeToString(long(0x0021)))
	if got, err := l.Stats(); err != nil || got != (Stats{}) {
		t.Errorf("stats %+v, %v; want zeros without an interface", got, err)
	}
	if err := l.SetSequencing(Sequencing{}); !errors.Is(err, errNotL2TP) {
		t.Errorf("sequencing of pppoe: %v", err)
	}
	if err := l.SetACCM(0, 0); !errors.Is(err, errNotLine) {
		t.Errorf("accm of pppoe: %v", err)
	}
}

func TestKernelPPPoEErrors(t *testing.T) {
	client, lac := subscriber(t, 1)
	spec := PPPoESpec{Interface: "wire", SessionID: 7, Peer: client.mac("wire")}
	l, err := lac.openPPPoE(spec, Funcs{})
	if err != nil {
		t.Fatal(err)
	}
	lac.must(func() error {
		return lac.nl.LinkAdd(&vnl.Dummy{LinkAttrs: vnl.LinkAttrs{Name: "off"}})
	})
	before := descriptors(t)
	missing, down, bad := spec, spec, spec
	missing.Interface, down.Interface, bad.SessionID = "nowhere", "off", 0
	for _, tt := range []struct {
		spec PPPoESpec
		is   error
		want string
	}{
		{missing, os.ErrNotExist, "open pppoe session 7 on nowhere: interface nowhere is missing or down: connect pppox: no such device"},
		{down, os.ErrNotExist, "open pppoe session 7 on off: interface off is missing or down: connect pppox: no such device"},
		{spec, os.ErrExist, "open pppoe session 7 on wire: peer " + fmt.Sprint(client.hardware("wire")) +
			": connect pppox: operation already in progress"},
		{bad, nil, "open pppoe session 0 on wire: session id 0 is reserved"},
	} {
		_, err := lac.openPPPoE(tt.spec, Funcs{})
		if err == nil || err.Error() != tt.want || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("error %q, want %q that is %v", err, tt.want, tt.is)
		}
	}
	if diff := cmp.Diff(before, descriptors(t)); diff != "" {
		t.Errorf("failed calls leak: %s", diff)
	}
	// The id is free when the session is closed.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := lac.openPPPoE(spec, Funcs{}); err != nil {
		t.Error(err)
	}
}

func (h *host) hardware(name string) string {
	addr := h.mac(name)
	var octets []string
	for _, b := range addr {
		octets = append(octets, fmt.Sprintf("%02x", b))
	}
	return strings.Join(octets, ":")
}

// A subscriber may be terminated here: the interface carries packets, and its counters are the session's, from its own beginning.
func TestKernelPPPoEAttached(t *testing.T) {
	client, lac := subscriber(t, 1)
	var first Stats
	for round := range uint16(2) {
		atClient, atLAC := newInbox(), newInbox()
		c, l := client.pppoe(7+round, lac, atClient.sink, nil), lac.pppoe(7+round, client, atLAC.sink, nil)
		mustSend(t, c, frame(lcp, 1))
		u := lac.mustAttach(l, UnitSpec{MTU: 1492})
		if _, err := lac.attach(l, UnitSpec{}); !errors.Is(err, os.ErrExist) {
			t.Errorf("second attach: %v", err)
		}
		mustSend(t, c, frame(ipcp, 2), frame(chap, 3))
		mustSend(t, l, frame(ipcp, 4), frame(lcp, 5))
		atClient.want(t, text(ipcp, 4), text(lcp, 5))
		got := map[string]bool{receive(t, atLAC): true, receive(t, atLAC): true, receive(t, atLAC): true}
		if diff := cmp.Diff(map[string]bool{text(lcp, 1): true, text(ipcp, 2): true, text(chap, 3): true}, got); diff != "" {
			t.Error(diff)
		}
		tap := lac.tap(u.Index)
		if err := l.Pass(IPv4, true); err != nil {
			t.Fatal(err)
		}
		lac.up(u.Name, "192.0.2.1/32", "192.0.2.2/32")
		mustSend(t, c, append([]byte{0x00, 0x21}, packet("192.0.2.2", "192.0.2.1", 9)...))
		until(t, "the packet is through", func() bool {
			_, err := unix.Read(tap, make([]byte, 100))
			return err == nil
		})
		_ = unix.Close(tap)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		stats, err := l.Stats()
		// IPCP of 8 octets each way, and a packet of 32.
		if err != nil || stats.RxPackets != 2 || stats.RxBytes != 40 || stats.TxPackets == 0 {
			t.Errorf("stats %+v, %v", stats, err)
		}
		if round == 0 {
			first = stats
		} else if stats.RxPackets != first.RxPackets || u.Unit != 0 {
			t.Errorf("stats %+v of the second session of interface %+v, %+v of the first", stats, u, first)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKernelBridgePPPoEToL2TP(t *testing.T) {
	client, lac := subscriber(t, 1)
	lns := core(t, lac)
	specA, specB := specs(1)
	atClient, atAccess, atCore, atLNS := newInbox(), newInbox(), newInbox(), newInbox()
	c, access := client.pppoe(7, lac, atClient.sink, nil), lac.pppoe(7, client, atAccess.sink, nil)
	l2tp, n := lac.session(specA, atCore.sink), lns.session(specB, atLNS.sink)

	// What came before reaches the sinks.
	mustSend(t, c, frame(lcp, 1))
	mustSend(t, n, frame(lcp, 2))
	lac.mustBridge(access, l2tp)
	atAccess.want(t, text(lcp, 1))
	atCore.want(t, text(lcp, 2))

	for i, p := range []uint16{lcp, ipcp, ccp, chap, 0x0021, 0x0057, 0x4021} {
		mustSend(t, c, frame(p, byte(i)))
		mustSend(t, n, frame(p, byte(i)))
		atLNS.want(t, text(p, byte(i)))
		atClient.want(t, text(p, byte(i)))
	}
	mustSend(t, c, long(0x0021))
	mustSend(t, n, long(0x0057))
	atLNS.want(t, hex.EncodeToString(long(0x0021)))
	atClient.want(t, hex.EncodeToString(long(0x0057)))
	got, err := l2tp.Stats()
	want := Stats{TxPackets: 8, TxBytes: 7*18 + 1510, RxPackets: 9, RxBytes: got.RxBytes}
	if err != nil || got != want || got.RxBytes < 8*10+1502 {
		t.Errorf("stats %+v, %v; want %+v", got, err, want)
	}

	// Either side can still be spoken to.
	mustSend(t, access, frame(lcp, 21))
	mustSend(t, l2tp, frame(lcp, 22))
	atClient.want(t, text(lcp, 21))
	atLNS.want(t, text(lcp, 22))
	for s, to := range map[*Session]inbox{access: atLNS, l2tp: atClient} {
		if err := s.Relay(frame(lcp, 23)); err != nil {
			t.Error(err)
		}
		to.want(t, text(lcp, 23))
	}

	for what, err := range map[string]error{
		"attach":       func() error { _, err := lac.attach(access, UnitSpec{}); return err }(),
		"attach l2tp":  func() error { _, err := lac.attach(l2tp, UnitSpec{}); return err }(),
		"bridge again": lac.bridge(access, l2tp), "bridge back": lac.bridge(l2tp, access),
		"hand over": func() error { _, err := l2tp.HandOver(); return err }(),
	} {
		if !errors.Is(err, os.ErrExist) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := lac.bridge(access, access); !errors.Is(err, errSelf) {
		t.Errorf("bridge to itself: %v", err)
	}
	lac.settle()
	atAccess.silent(t, "the access side's sink")
	atCore.silent(t, "the L2TP side's sink")
}

// A stream that never stops loses nothing and is not doubled when the bridge begins: each frame is at the sink or at the other end.
func TestKernelBridgeLosesNothing(t *testing.T) {
	client, lac := subscriber(t, 1)
	lns := core(t, lac)
	for round := range uint16(5) {
		specA, specB := specs(round + 1)
		up, down := newStream(), newStream()
		c, access := client.pppoe(7+round, lac, down.sink, nil), lac.pppoe(7+round, client, up.sink, nil)
		l2tp, n := lac.session(specA, down.sink), lns.session(specB, up.sink)
		up.run(t, c)
		down.run(t, n)
		lac.mustBridge(access, l2tp)
		for what, st := range map[string]*stream{"up": up, "down": down} {
			got := st.finish(t)
			for _, numbers := range got {
				slices.Sort(numbers)
			}
			if diff := cmp.Diff(st.want(), got); diff != "" {
				t.Errorf("round %d, %s: %s", round, what, diff)
			}
		}
		if err := errors.Join(access.Close(), l2tp.Close(), c.Close(), n.Close()); err != nil {
			t.Error(err)
		}
	}
}

// padt sends a PADT of RFC 2516 from a host.
func (h *host) padt(to [6]byte, id uint16) {
	h.t.Helper()
	h.must(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		link, err := h.nl.LinkByName("wire")
		if err != nil {
			return err
		}
		b := append(to[:], link.Attrs().HardwareAddr...)
		b = append(b, 0x88, 0x63, 0x11, 0xa7)
		b = binary.BigEndian.AppendUint16(b, id)
		b = append(b, make([]byte, 42)...)
		return unix.Sendto(fd, b, 0, &unix.SockaddrLinklayer{Protocol: 0x6388, Ifindex: link.Attrs().Index})
	})
}

// However the access side dies, bridged or attached, OnDead is told once; before that the next Send tells.
func TestKernelPPPoEDeathIsToldOnce(t *testing.T) {
	deaths := map[string]func(client, lac *host){
		"padt":      func(client, lac *host) { client.padt(lac.mac("wire"), 7) },
		"link down": func(_, lac *host) { lac.alter("wire", lac.nl.LinkSetDown) },
		"mtu":       func(_, lac *host) { lac.alter("wire", func(l vnl.Link) error { return lac.nl.LinkSetMTU(l, 1500) }) },
		"deleted":   func(client, _ *host) { client.alter("wire", client.nl.LinkDel) },
	}
	for name, die := range deaths {
		for _, state := range []string{"fresh", "bridged", "bridged to", "attached"} {
			t.Run(name+" "+state, func(t *testing.T) {
				client, lac := subscriber(t, 1)
				lac.tunnel(1, 11, addrA, addrB)
				specA, _ := specs(1)
				dead := make(chan error, 8)
				client.pppoe(7, lac, func([]byte) {}, nil)
				l := lac.pppoe(7, client, func([]byte) {}, func(err error) { dead <- err })
				to := lac.session(specA, func([]byte) {})
				want := "the channel of pppoe session 7 on wire is gone: file does not exist"
				switch state {
				case "bridged":
					lac.mustBridge(l, to)
				case "bridged to":
					lac.mustBridge(to, l)
				case "attached":
					lac.mustAttach(l, UnitSpec{})
				}
				die(client, lac)
				if state == "fresh" {
					until(t, "a send fails", func() bool { return errors.Is(l.Send(frame(lcp, 1)), os.ErrNotExist) })
					want = "the socket of pppoe session 7 on wire is gone: transport endpoint is not connected"
				}
				if err := receive(t, dead); !errors.Is(err, os.ErrNotExist) || err.Error() != want && state != "attached" {
					t.Errorf("told %v, want %s", err, want)
				}
				_ = l.Send(frame(lcp, 2))
				lac.settle()
				if err := lac.bridge(l, to); err == nil {
					t.Error("a dead session was bridged")
				}
				if err := errors.Join(l.Close(), to.Close()); err != nil {
					t.Error(err)
				}
				if len(dead) > 0 {
					t.Errorf("told again: %v", <-dead)
				}
			})
		}
	}
}

// Bridges end in any order, also while they begin, and leave nothing.
func TestKernelBridgeEndsInAnyOrder(t *testing.T) {
	const workers, rounds = 8, 13
	client, lac := subscriber(t, 2*workers)
	lac.tunnel(1, 11, addrA, addrB)
	peer := client.mac("wire")
	before := descriptors(t)
	done := make(chan error, workers)
	for w := range workers {
		go func() {
			var errs []error
			for i := range rounds {
				errs = append(errs, lac.bridgeRound(uint16(w*rounds+i+1), peer, i%4))
			}
			done <- errors.Join(errs...)
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	lac.settle()
	if diff := cmp.Diff(before, descriptors(t)); diff != "" {
		t.Errorf("descriptors are left: %s", diff)
	}
}

// bridgeRound makes two sessions, bridges them and closes them in one of four orders.
func (h *host) bridgeRound(id uint16, peer [6]byte, order int) error {
	spec, _ := specs(id)
	s, err := h.openPPPoE(PPPoESpec{Interface: "wire", SessionID: id, Peer: peer}, Funcs{})
	if err != nil {
		return err
	}
	var to *Session
	err = h.do(func() error {
		to, err = h.k.CreateSession(spec, Funcs{})
		return err
	})
	if err != nil {
		return errors.Join(err, s.Close())
	}
	bridged := make(chan error, 1)
	bridge := func() { bridged <- h.bridge(s, to) }
	closed := make(chan error, 2)
	end := func(s *Session) { closed <- s.Close() }
	switch order {
	case 0:
		bridge()
		end(s)
		end(to)
	case 1:
		bridge()
		end(to)
		end(s)
	case 2:
		bridge()
		go end(s)
		go end(to)
	case 3:
		go bridge()
		go end(to)
		go end(s)
	}
	err = errors.Join(err, <-closed, <-closed)
	if e := <-bridged; e != nil && (order != 3 || !errors.Is(e, os.ErrClosed)) {
		err = errors.Join(err, e)
	}
	return err
}

// Tunnel switching: the frames of one tunnel go on in another.
func TestKernelBridgeL2TPToL2TP(t *testing.T) {
	h := loopback(t, 1)
	h.tunnel(2, 12, "127.0.0.3:1701", "127.0.0.4:1701")
	h.tunnel(12, 2, "127.0.0.4:1701", "127.0.0.3:1701")
	specA, specB := specs(1)
	atA, atB, atC, atD := newInbox(), newInbox(), newInbox(), newInbox()
	a, b := h.session(specA, atA.sink), h.session(specB, atB.sink)
	c := h.session(SessionSpec{TunnelID: 2, PeerTunnelID: 12, SessionID: 5, PeerID: 6}, atC.sink)
	d := h.session(SessionSpec{TunnelID: 12, PeerTunnelID: 2, SessionID: 6, PeerID: 5}, atD.sink)
	h.mustBridge(b, c)
	for i, p := range []uint16{lcp, ipcp, 0x0021} {
		mustSend(t, a, frame(p, byte(i)))
		mustSend(t, d, frame(p, byte(i)))
		atD.want(t, text(p, byte(i)))
		atA.want(t, text(p, byte(i)))
	}
	mustSend(t, b, frame(lcp, 9))
	atA.want(t, text(lcp, 9))
	for _, s := range []*Session{b, c} {
		if got, err := s.Stats(); err != nil || got.RxPackets != 3 || got.TxPackets < 3 {
			t.Errorf("stats %+v, %v", got, err)
		}
	}
	// The side that stays can have another bridge.
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	mustSend(t, a, frame(lcp, 10))
	atB.want(t, text(lcp, 10))
	again := h.session(SessionSpec{TunnelID: 2, PeerTunnelID: 12, SessionID: 7, PeerID: 8}, atC.sink)
	e := h.session(SessionSpec{TunnelID: 12, PeerTunnelID: 2, SessionID: 8, PeerID: 7}, atD.sink)
	h.mustBridge(b, again)
	mustSend(t, a, frame(lcp, 11))
	mustSend(t, e, frame(lcp, 12))
	atD.want(t, text(lcp, 11))
	atA.want(t, text(lcp, 12))
	// So can the one that has no descriptor of its channel.
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	mustSend(t, e, frame(lcp, 13))
	h.mustAttach(again, UnitSpec{})
	atC.want(t, text(lcp, 13))
	h.settle()
	atB.silent(t, "the first sink")
	atC.silent(t, "the second sink")
}
