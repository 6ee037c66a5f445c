//go:build kernel

package scenario

import (
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// ackDelay is more than an acknowledgement waits for a message to go with.
const ackDelay = 100 * time.Millisecond

// plainPeer is a well-behaved L2TP peer without a kernel: tunnels of package control, all on one socket, which a box of ours would not
// do on every kernel.
type plainPeer struct {
	t       *testing.T
	conn    *net.UDPConn
	to      netip.AddrPort
	began   time.Time
	tunnels map[control.TunnelID]*control.Tunnel
	events  map[control.TunnelID][]control.Event
}

func newPlainPeer(t *testing.T, h *lab.Host, local, to string) *plainPeer {
	t.Helper()
	return &plainPeer{
		t: t, conn: h.UDP(local), to: netip.MustParseAddrPort(to), began: time.Now(),
		tunnels: map[control.TunnelID]*control.Tunnel{}, events: map[control.TunnelID][]control.Event{},
	}
}

func (p *plainPeer) now() control.Time { return time.Since(p.began) + 1 }

// open begins a tunnel.
func (p *plainPeer) open(id control.TunnelID) {
	p.t.Helper()
	var out control.Output
	cfg := control.TunnelConfig{HostName: "plain", Framing: wire.FramingSync, IdleTimeout: -1, Random: rand.Reader}
	p.tunnels[id] = control.Open(cfg, id, p.now(), &out)
	p.carry(id, &out)
}

func (p *plainPeer) carry(id control.TunnelID, out *control.Output) {
	p.t.Helper()
	for _, d := range out.Datagrams {
		if _, err := p.conn.WriteToUDPAddrPort(d, p.to); err != nil {
			p.t.Fatalf("send: %v", err)
		}
	}
	p.events[id] = append(p.events[id], out.Events...)
}

// serve answers what comes until done says so.
func (p *plainPeer) serve(what string, done func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(lab.Patience)
	buf := make([]byte, 2048)
	for !done() {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s: not within %v", what, lab.Patience)
		}
		if err := p.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			p.t.Fatal(err)
		}
		n, _, err := p.conn.ReadFromUDPAddrPort(buf)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			p.t.Fatalf("receive: %v", err)
		}
		for id, tn := range p.tunnels {
			var out control.Output
			if h, _, bad := wire.ParseHeader(buf[:n]); err == nil && bad == nil && control.TunnelID(h.TunnelID) == id {
				_ = tn.Receive(p.now(), append([]byte(nil), buf[:n]...), &out) // a duplicate is no failure
				p.began = p.began.Add(-ackDelay)                               // it acknowledges at once, before another tunnel has its say
			}
			tn.Expire(p.now(), &out)
			p.carry(id, &out)
		}
	}
}

// close ends every tunnel and waits until the other side has heard it.
func (p *plainPeer) close() {
	p.t.Helper()
	for id, tn := range p.tunnels {
		var out control.Output
		tn.Do(p.now(), control.CmdClose{Result: wire.Result{Code: wire.StopGeneral}}, &out)
		p.carry(id, &out)
	}
	p.serve("end of the tunnels", func() bool {
		for _, tn := range p.tunnels {
			if tn.View().Outstanding > 0 {
				return false
			}
		}
		return true
	})
}

// state is the state of a tunnel.
func (p *plainPeer) state(id control.TunnelID) control.TunnelState { return p.tunnels[id].State() }

// ending is what the other side said when it ended a tunnel.
func (p *plainPeer) ending(id control.TunnelID) wire.Result {
	for _, ev := range p.events[id] {
		if down, ok := ev.(control.EvTunnelDown); ok {
			return down.Result
		}
	}
	return wire.Result{}
}
