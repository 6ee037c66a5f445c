package transport

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// S14, P155: a tunnel from a port of its own: control leaves from it and is heard there, whatever port answers (P156), and the
// tunnel socket shares the port.
func TestPortServesOneTunnelBesideTheListeners(t *testing.T) {
	t.Parallel()
	for _, listening := range []string{"0.0.0.0", "::1"} {
		t.Run(listening, func(t *testing.T) {
			t.Parallel()
			tr, packets := listen(t, Options{}, listening)
			home := netip.MustParseAddr("127.0.0.1")
			if listening == "::1" {
				home = netip.MustParseAddr("::1")
			}
			responder, remote := peer(t, netip.AddrPortFrom(home, 0))
			other, answering := peer(t, netip.AddrPortFrom(home, 0))
			p, err := tr.OpenPort(netip.Addr{}, remote)
			if err != nil {
				t.Fatal(err)
			}
			local := p.Local()
			if local.Addr() != home || local.Port() == tr.Addrs()[0].Port() || local.Port() == 0 {
				t.Fatalf("port at %v, want one of its own at %v", local, home)
			}
			if err := tr.Send(local, remote, []byte(control(30))); err != nil {
				t.Fatal(err)
			}
			var b [100]byte
			if n, from, err := responder.ReadFromUDPAddrPort(b[:]); err != nil || n != 30 || from != local {
				t.Fatalf("%d octets from %v, %v; want 30 from %v", n, from, err, local)
			}
			write(t, other, local, control(31))
			wantPacket(t, packets, received{local, answering, control(31)})

			conn, err := tr.Connect(local, answering, bare)
			if err != nil {
				t.Fatal(err)
			}
			write(t, other, local, control(32))
			wantPacket(t, packets, received{local, answering, control(32)})
			if conn.Local() != local || tr.Counters().Tunnel.ReceivedDatagrams != 1 {
				t.Errorf("tunnel socket at %v with %d datagrams, want 1 at %v", conn.Local(), tr.Counters().Tunnel.ReceivedDatagrams, local)
			}
			if got, err := tr.LocalFor(remote); err != nil || got.Port() != tr.Addrs()[0].Port() {
				t.Errorf("other tunnels leave from %v, %v; want the listener's port", got, err)
			}

			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			if err := p.Close(); !errors.Is(err, ErrClosed) {
				t.Errorf("second Close: %v, want ErrClosed", err)
			}
			if err := tr.Send(local, remote, []byte(control(12))); err == nil {
				t.Error("sent from a port that is closed")
			}
			write(t, other, local, control(33))
			wantPacket(t, packets, received{local, answering, control(33)}) // the tunnel socket lives on
		})
	}
}

// The kernel would give a port that another socket shares: two tunnels would then hear each other.
func TestPortsAreDistinct(t *testing.T) {
	t.Parallel()
	tr, _ := listen(t, Options{}, "127.0.0.1")
	_, remote := peer(t, netip.AddrPortFrom(loopback(2), 0))
	seen := map[netip.AddrPort]bool{}
	for range 200 {
		p, err := tr.OpenPort(loopback(1), remote)
		if err != nil {
			t.Fatal(err)
		}
		if seen[p.Local()] {
			t.Fatalf("%v given twice", p.Local())
		}
		seen[p.Local()] = true
	}
}

func TestOpenPortSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	tr, _ := listen(t, Options{}, "127.0.0.1")
	remote := netip.AddrPortFrom(loopback(2), 1701)
	if _, err := tr.OpenPort(netip.MustParseAddr("192.0.2.1"), remote); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("port at a foreign address: %v, want EADDRNOTAVAIL", err)
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.OpenPort(loopback(1), remote); !errors.Is(err, ErrClosed) {
		t.Errorf("port of a closed transport: %v, want ErrClosed", err)
	}
}
