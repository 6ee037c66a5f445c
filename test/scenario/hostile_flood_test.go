//go:build kernel

package scenario

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/junk"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

var errNotThere = errors.New("not there yet")

// attack runs shoot, which sends some datagrams and says how many, again and again until stop.
type attack struct {
	sent atomic.Int64
	end  chan struct{}
	wg   sync.WaitGroup
	err  error
}

func begin(shoot func() (int, error)) *attack {
	x := &attack{end: make(chan struct{})}
	x.wg.Go(func() {
		for {
			select {
			case <-x.end:
				return
			default:
			}
			n, err := shoot()
			x.sent.Add(int64(n))
			if err != nil {
				x.err = err
				return
			}
		}
	})
	return x
}

func (x *attack) stop(t *testing.T) int {
	t.Helper()
	close(x.end)
	x.wg.Wait()
	if x.err != nil {
		t.Errorf("attack: %v", x.err)
	}
	return int(x.sent.Load())
}

// pinger pings all the time; lost says how many of how many got no answer.
type pinger struct{ *lab.Proc }

func (s *siege) pinger() pinger {
	p := pinger{s.a.Start("ping", "ping", "-n", "-i", "0.2", "192.168.20.1")}
	p.WaitLog("bytes from")
	return p
}

func (p pinger) lost(t *testing.T) (lost, of int) {
	t.Helper()
	p.Signal(unix.SIGINT)
	p.Wait()
	m := regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`).FindStringSubmatch(p.Log())
	if m == nil {
		t.Fatalf("ping said %q", p.Log())
	}
	of, _ = strconv.Atoi(m[1]) // digits
	got, _ := strconv.Atoi(m[2])
	return of - got, of
}

// octets reads the counters of b's interface to evil: what really passed the wire.
func (s *siege) wireOctets(t *testing.T) (in, out int) {
	t.Helper()
	err := s.b.Do(func() error {
		read := func(name string) int {
			link, err := os.ReadFile("/proc/thread-self/net/dev")
			if err != nil {
				return -1
			}
			for line := range strings.Lines(string(link)) {
				if f := strings.Fields(line); len(f) > 9 && f[0] == "evil:" {
					n, _ := strconv.Atoi(f[map[string]int{"rx": 1, "tx": 9}[name]]) // digits
					return n
				}
			}
			return -1
		}
		in, out = read("rx"), read("tx")
		return nil
	})
	if err != nil || in < 0 || out < 0 {
		t.Fatalf("counters of the wire: %d, %d, %v", in, out, err)
	}
	return in, out
}

// P276, P277: more than 100,000 datagrams of junk reach the daemon, from strangers and under the address of a live peer: invented ones,
// and the peer's own messages again with damage behind the header. (A million reach the engine in its own tests.) The daemon keeps
// no memory and no state, sends less than it gets, and those who mean well notice nothing.
func TestJunkHarmsNobody(t *testing.T) {
	// long: one siege, from before to after
	const enough = 110_000
	s := newSiege(t, lns)
	seen := s.b.Capture("a")
	s.da.Ctl("call", "down", "up") // for a capture of a whole call
	s.db.WaitSessions(0)
	s.da.Ctl("call", "up", "up", "--wait", "60s")
	s.call = s.db.WaitSessions(1)[0]
	var real [][]byte
	for _, p := range seen.Packets(func(p lab.Packet) bool {
		return p.Header.Control && !p.Sent && p.Header.TunnelID != 0 && len(p.Body) > 0
	}) {
		real = append(real, p.Payload)
	}
	seen.Stop()
	if len(real) < 2 {
		t.Fatalf("%d messages were seen", len(real))
	}
	src := junk.New(uint64(s.call.TunnelID), real...)
	src.Avoid(s.call.TunnelID)
	to := netip.MustParseAddrPort("10.0.0.2:1701")
	var guns []*net.UDPConn
	for _, from := range []string{"10.0.3.3:1701", "10.0.3.4:1701", "10.0.3.5:1702", "10.0.3.6:50000", "10.0.0.1:1701", "10.0.0.1:1701"} {
		if len(guns) == 5 {
			guns = append(guns, guns[4]) // the live peer's twice
			break
		}
		guns = append(guns, s.evil.UDP(from))
	}
	round := 0
	shoot := func() (int, error) {
		for range 200 {
			i := round % len(guns)
			round++
			d := src.Next()
			if i == 5 {
				d = src.Again()
			}
			if _, err := guns[i].WriteToUDPAddrPort(d, to); err != nil {
				return 0, err
			}
		}
		return 200, nil
	}
	for range 20 {
		if _, err := shoot(); err != nil {
			t.Fatal(err)
		}
	}
	before := s.settled(t)
	ping := s.pinger()
	began := time.Now()
	x := begin(shoot)
	newcomer := s.newcomer(t)
	flow(s.Lab, enough, func() uint64 { return s.state(t).traffic.InDatagrams - before.traffic.InDatagrams })
	sent := x.stop(t)
	took := time.Since(began)
	s.same(t)
	lost, of := ping.lost(t)
	after := s.settled(t)
	in, out := after.traffic.InOctets-before.traffic.InOctets, after.traffic.OutOctets-before.traffic.OutOctets
	note(t, "%d datagrams sent in %v, %d came, %d octets in, %d out; newcomer up in %v; %d of %d pings lost; RSS %d KiB before, %d after; %+v",
		sent, took.Round(time.Second), after.traffic.InDatagrams-before.traffic.InDatagrams, in, out, newcomer.Round(time.Millisecond), lost, of,
		before.rss>>10, after.rss>>10, after.discards)
	if out >= in {
		t.Errorf("%d octets came, %d left", in, out)
	}
	if lost*10 > of {
		t.Errorf("%d of %d pings lost", lost, of)
	}
	if after.rss-before.rss > 24<<20 {
		t.Errorf("%d KiB of memory before, %d after", before.rss>>10, after.rss>>10)
	}
	if n := s.db.CountLog("."); n > 1000 {
		t.Errorf("%d log lines", n)
	}
	s.newcomer(t)
}

// P277, P280: valid SCCRQs under 50,000 forged addresses. What is half-open stays bounded, more octets come than leave on the wire, the
// log tells of it in few lines, an honest newcomer is served, the live call unharmed, and everything comes back.
func TestSCCRQFloodFromForgedAddresses(t *testing.T) {
	const enough = 50_000
	s := newSiege(t, lns+"\nlog: {level: info}\n")
	fd := forger(t, s.evil)
	dice := rand.New(rand.NewPCG(1, 2))
	shoot := func() (int, error) {
		for range 100 {
			src := [4]byte{100, byte(dice.IntN(256)), byte(dice.IntN(256)), byte(1 + dice.IntN(254))}
			d := forged(src, [4]byte{10, 0, 3, 2}, wire.AppendMessage(nil, 0, 0, 0, 0, wire.NewMessage(wire.MsgSCCRQ,
				wire.Uint16(wire.AVPProtocolVersion, 0x0100), wire.Text(wire.AVPHostName, "x"),
				wire.Uint32(wire.AVPFramingCapabilities, 3), wire.Uint16(wire.AVPAssignedTunnelID, uint16(1+dice.IntN(65535)))), nil))
			if err := unix.Sendto(fd, d, 0, &unix.SockaddrInet4{Addr: [4]byte{10, 0, 3, 2}}); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return 0, err
			}
		}
		return 100, nil
	}
	before := s.settled(t)
	wireIn, wireOut := s.wireOctets(t)
	lines := s.db.CountLog(".")
	ping := s.pinger()
	began := time.Now()
	x := begin(shoot)
	most := 0
	watch := func() uint64 {
		st := s.state(t)
		most = max(most, st.halfOpen)
		return st.traffic.InDatagrams - before.traffic.InDatagrams
	}
	s.Eventually("pressure", func() error {
		if watch(); most < 200 {
			return errNotThere
		}
		return nil
	})
	newcomer := s.newcomer(t)
	flow(s.Lab, enough, watch)
	sent := x.stop(t)
	took := time.Since(began)
	lost, of := ping.lost(t)
	s.same(t)
	after := s.settled(t)
	in, out := s.wireOctets(t)
	in, out = in-wireIn, out-wireOut
	lines = s.db.CountLog(".") - lines
	note(t, "%d SCCRQs sent in %v, %d came, %d octets in on the wire, %d out; %d half-open at most; newcomer up in %v; %d of %d pings lost; "+
		"%d log lines; RSS %d KiB before, %d after; %+v", sent, took.Round(time.Second), after.traffic.InDatagrams-before.traffic.InDatagrams,
		in, out, most, newcomer.Round(time.Millisecond), lost, of, lines, before.rss>>10, after.rss>>10, after.discards)
	if out >= in {
		t.Errorf("%d octets came, %d left", in, out)
	}
	if most > 1024+3 {
		t.Errorf("%d half-open tunnels", most)
	}
	if lost*10 > of {
		t.Errorf("%d of %d pings lost", lost, of)
	}
	if allowed := 300 + 120*int(took.Minutes()); lines > allowed { // the limiter forgets whom it has not heard for a minute
		t.Errorf("%d log lines, of %d at most", lines, allowed)
	}
	if after.rss-before.rss > 24<<20 {
		t.Errorf("%d KiB of memory before, %d after", before.rss>>10, after.rss>>10)
	}
	s.newcomer(t)
}

// forger is a socket of a host for packets that are forged.
func forger(t *testing.T, h *lab.Host) (fd int) {
	t.Helper()
	if err := h.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// forged is an IPv4 packet with a UDP datagram between two L2TP ports. The kernel fills in the header's checksum.
func forged(src, dst [4]byte, payload []byte) []byte {
	n := 28 + len(payload)
	b := append(make([]byte, 0, n), 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = append(b, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0)
	b = append(append(b, src[:]...), dst[:]...)
	b = binary.BigEndian.AppendUint16(b, 1701)
	b = binary.BigEndian.AppendUint16(b, 1701)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

// flow waits until so many have come, a tenth of them at a time: how long all of them take says nothing of the daemon.
func flow(l *lab.Lab, enough uint64, count func() uint64) {
	for tenth := range uint64(10) {
		want := enough * (tenth + 1) / 10
		l.Eventually("what is to come", func() error {
			if n := count(); n < want {
				return fmt.Errorf("%d instead of %d", n, want)
			}
			return nil
		})
	}
}
