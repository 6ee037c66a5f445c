//go:build kernel

package scenario

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// siege is a box with a call from another, and a third host whose owner means no good. honest calls later. Each has a wire to b
// alone; what b has no other way for goes to evil, which takes it and says nothing.
//
//	a (10.0.0.1) ----- (10.0.0.2) b (10.0.3.2) ----- (10.0.3.3 and more) evil
//	honest (10.0.4.4) --- (10.0.4.2)
type siege struct {
	*lab.Lab
	a, b, honest, evil *lab.Host

	da, db *lab.Daemon
	call   api.Session // b's view of a's call, as it was before
}

// lns answers everybody. more is lines of their own.
const lns = `
server: {hostname: b, tunnel: {setup_timeout: 5s}}
lns: {accept: [{from: any, template: dialin}]}
pools: {ips: {ranges: [192.168.20.2-192.168.20.250]}}
ppp: {templates: {dialin: {auth: none, ipv4_pool: ips, ipv4_local: 192.168.20.1, ipv6: off}}}
`

// dialer calls the LNS at an address.
func dialer(name, peer string) string {
	return fmt.Sprintf(`
server: {hostname: %s}
calls: {up: {peer: %s, autostart: on, redial: {min: 500ms, max: 2s}, ppp: {template: lan, ipv4: request, ipv6: off}}}
ppp: {templates: {lan: {auth: none, ipv6: off}}}
`, name, peer)
}

func newSiege(t *testing.T, config string) *siege {
	t.Helper()
	l := lab.New(t)
	s := &siege{Lab: l, a: l.Host("a"), b: l.Host("b"), honest: l.Host("honest"), evil: l.Host("evil")}
	l.Link(s.a.At("10.0.0.1/24"), s.b.At("10.0.0.2/24"))
	l.Link(s.honest.At("10.0.4.4/24"), s.b.At("10.0.4.2/24"))
	l.Link(s.evil.At("10.0.3.3/24", "10.0.3.4/24", "10.0.3.5/24", "10.0.3.6/24"), s.b.At("10.0.3.2/24"))
	s.b.Route("0.0.0.0/0", "10.0.3.3")
	s.evil.Sysctl("net/ipv4/ip_forward=0", "net/ipv4/conf/all/arp_announce=2")
	s.evil.IP("addr add 10.0.0.1/32 dev lo", "route add 10.0.0.0/16 via 10.0.3.2", "route add blackhole default") // a's address, to lie with
	// For everybody whose address is forged: a proper host would not answer what it has not asked for.
	s.evil.Run("nft", "table ip lab { chain in { type filter hook prerouting priority raw; fib daddr type != local drop; }; "+
		"chain out { type filter hook output priority raw; icmp type destination-unreachable drop; }; }")
	s.db = s.b.L2TPD(config)
	s.da = s.a.L2TPD(dialer("a", "10.0.0.2"))
	s.da.WaitUp("up")
	s.a.Reaches("192.168.20.1")
	s.Eventually("the call up at b", func() error {
		if s.call = s.db.WaitSessions(1)[0]; s.call.EstablishedAt.IsZero() {
			return errNotThere
		}
		return nil
	})
	return s
}

// same checks that a's call is the one that it was.
func (s *siege) same(t *testing.T) {
	t.Helper()
	s.a.Reaches("192.168.20.1")
	for _, x := range s.db.Sessions() {
		if x.ID == s.call.ID && x.TunnelID == s.call.TunnelID && x.State == "established" && x.EstablishedAt.Equal(s.call.EstablishedAt) {
			return
		}
	}
	t.Fatalf("a's call is not the one that it was: %+v, want %+v", s.db.Sessions(), s.call)
}

// newcomer has the honest host call, until it is up, and go again.
func (s *siege) newcomer(t *testing.T) time.Duration {
	t.Helper()
	d := s.honest.L2TPD(dialer("honest", "10.0.4.2"))
	began := time.Now()
	d.WaitUp("up")
	took := time.Since(began)
	s.honest.Reaches("192.168.20.1")
	d.Stop()
	return took
}

// note keeps numbers that a test has measured, in its log and with its artifacts.
func note(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Logf(format, args...)
	if dir := os.Getenv("ARTIFACTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, t.Name(), "numbers.txt"), fmt.Appendf(nil, format+"\n", args...), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// state is what of a daemon an attack could change.
type state struct {
	rss      int // octets
	halfOpen int
	traffic  api.SocketTraffic // both ways, of both kinds of sockets
	discards api.Discards
}

func (s *siege) state(t *testing.T) state {
	t.Helper()
	st := s.db.Status()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.db.PID()))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("no VmRSS in %s", status)
	}
	kb, _ := strconv.Atoi(string(m[1])) // digits
	c := st.Counters
	return state{
		rss: kb << 10, halfOpen: st.HalfOpen, discards: c.Discarded,
		traffic: api.SocketTraffic{
			InDatagrams:  c.Listener.InDatagrams + c.TunnelSockets.InDatagrams,
			InOctets:     c.Listener.InOctets + c.TunnelSockets.InOctets,
			OutDatagrams: c.Listener.OutDatagrams, OutOctets: c.Listener.OutOctets,
		},
	}
}

// settled waits until nothing of an attack is left half-open, and returns the state then.
func (s *siege) settled(t *testing.T) (st state) {
	t.Helper()
	s.Eventually("half-open tunnels", func() error {
		if st = s.state(t); st.halfOpen > 0 || len(s.db.Tunnels()) > 1 {
			return fmt.Errorf("%d are left", st.halfOpen)
		}
		return nil
	})
	return st
}

// rawPeer is an L2TP peer made of nothing but package wire: it does what a well-behaved one would not.
type rawPeer struct {
	t      *testing.T
	conn   *net.UDPConn
	to     netip.AddrPort
	id     uint16 // our tunnel id
	theirs uint16
	window uint16 // theirs
	ns, nr uint16
}

// newRawPeer makes a peer with a tunnel to the daemon at an address; window is its own.
func newRawPeer(t *testing.T, h *lab.Host, local, to string, id, window uint16) *rawPeer {
	t.Helper()
	p := &rawPeer{t: t, conn: h.UDP(local), to: netip.MustParseAddrPort(to), id: id}
	p.send(0, wire.NewMessage(wire.MsgSCCRQ,
		wire.Uint16(wire.AVPProtocolVersion, 0x0100), wire.Text(wire.AVPHostName, "raw"),
		wire.Uint32(wire.AVPFramingCapabilities, 3), wire.Uint16(wire.AVPAssignedTunnelID, id),
		wire.Uint16(wire.AVPReceiveWindowSize, window)))
	h1, payload, err := p.receive(lab.Patience)
	if err != nil {
		t.Fatalf("no SCCRP: %v", err)
	}
	m, err := wire.ParseMessage(payload)
	if err != nil || m.Type != wire.MsgSCCRP || h1.TunnelID != id {
		t.Fatalf("no SCCRP but %+v, %v, %v", h1, m.Type, err)
	}
	p.theirs, _ = m.Uint16(wire.AVPAssignedTunnelID)
	p.window, _ = m.Uint16(wire.AVPReceiveWindowSize)
	p.nr = 1
	p.send(0, wire.NewMessage(wire.MsgSCCCN))
	return p
}

// send sends a message with the next number.
func (p *rawPeer) send(session uint16, m wire.Message) {
	p.write(wire.AppendMessage(nil, p.theirs, session, p.ns, p.nr, m, nil))
	p.ns++
}

func (p *rawPeer) write(datagram []byte) {
	p.t.Helper()
	if _, err := p.conn.WriteToUDPAddrPort(datagram, p.to); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

// receive waits for the next control message.
func (p *rawPeer) receive(limit time.Duration) (wire.Header, []byte, error) {
	p.t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		p.t.Fatal(err)
	}
	buf := make([]byte, 2048)
	n, _, err := p.conn.ReadFromUDPAddrPort(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return wire.Header{}, nil, err
	}
	if err != nil {
		p.t.Fatalf("receive: %v", err)
	}
	return wire.ParseHeader(buf[:n])
}
