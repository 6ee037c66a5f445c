package engine

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/transport"
	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/junk"
)

// victim is a box under attack: an LNS with a live call from box a, in virtual time.
type victim struct {
	*box
	a        *box
	call     api.Session // as it was before
	began    time.Time
	received int // datagrams and octets thrown at it
	octets   int
	lines    int // of the log, beside those of debugging
	mostHalf int
}

var toVictim = netip.MustParseAddrPort("2.2.2.2:1701")

func newVictim(t *testing.T, newCore bool) (*internet, *victim) {
	t.Helper()
	n := newInternet()
	p := acceptor()
	p.Templates["dialin"].IdleTimeout = 0
	p.Pools["ips"].Ranges[0] = policy.Range{From: netip.MustParseAddr("192.168.20.2"), To: netip.MustParseAddr("192.168.20.250")}
	v := &victim{box: n.start(t, "2.2.2.2", p, newCore), began: time.Now()}
	v.a = n.start(t, "1.1.1.1", initiators(1), true)
	v.a.up("c0", time.Minute)
	v.call = v.look().Sessions[0]
	v.forget()
	return n, v
}

// forget drops what was sent and logged so far, and returns the octets and the lines of it.
func (v *victim) forget() (sent int) {
	v.net.mu.Lock()
	for _, d := range v.net.sent[v.addr] {
		sent += len(d)
	}
	clear(v.net.sent)
	v.net.mu.Unlock()
	v.log.mu.Lock()
	defer v.log.mu.Unlock()
	for line := range strings.Lines(v.log.b.String()) {
		if !strings.Contains(line, "level=DEBUG") {
			v.lines++
		}
	}
	v.log.b.Reset()
	return sent
}

// throw gives the victim a datagram.
func (v *victim) throw(from netip.AddrPort, datagram []byte) {
	v.received++
	v.octets += len(datagram)
	v.e.Receive(transport.Packet{Local: toVictim, Remote: from, Data: datagram})
}

// pause lets the victim work, and some virtual time pass. It counts what is half-open.
func (v *victim) pause(d time.Duration) {
	synctest.Wait()
	v.mostHalf = max(v.mostHalf, int(v.e.counts.halfOpen.Load()))
	time.Sleep(d)
}

// unharmed checks that the live call is the one that it was, and that nothing is left of the attack once its time is over.
func (v *victim) unharmed() {
	v.t.Helper()
	time.Sleep(2 * time.Minute) // longer than a set-up may take; the live tunnel has exchanged HELLOs since
	s := v.look()
	want := v.call
	if len(s.Sessions) == 0 || s.Sessions[0].ID != want.ID || s.Sessions[0].TunnelID != want.TunnelID || !s.Sessions[0].EstablishedAt.Equal(want.EstablishedAt) {
		v.t.Errorf("sessions are %+v, want that of before: %+v", s.Sessions, want)
	}
	if n := v.e.counts.halfOpen.Load(); n != 0 || s.Status.HalfOpen != 0 {
		v.t.Errorf("%d tunnels are half-open", n)
	}
	for i, x := range v.e.shards {
		if x.nHalf != 0 || len(x.half) != 0 || len(x.halfOpen) > 64 || len(x.tunnels) != len(x.byRemote) || len(x.bySource) > len(x.tunnels) {
			v.t.Errorf("shard %d: %d half-open of %d sources, %d listed, %d tunnels of %d peers and %d sources",
				i, x.nHalf, len(x.half), len(x.halfOpen), len(x.tunnels), len(x.byRemote), len(x.bySource))
		}
	}
}

// newcomer starts an honest box and waits until its call is up, while keep goes on.
func (v *victim) newcomer(addr string, within time.Duration, keep func()) {
	v.t.Helper()
	c := v.net.start(v.t, addr, initiators(1), true)
	for end := time.Now().Add(within); ; {
		if x := c.look().Calls[0]; x.State == api.CallUp {
			break
		} else if time.Now().After(end) {
			v.t.Fatalf("no honest newcomer after %v: %+v\n%s", within, x, c.log)
		}
		keep()
	}
	c.stop()
	v.net.mu.Lock()
	defer v.net.mu.Unlock()
	delete(v.net.boxes, c.addr)
}

// measured runs a test in virtual time that looks at the memory in use: no other runs beside it.
func measured(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// memory is the memory in use.
func memory() int {
	runtime.GC()
	runtime.GC() // pools are emptied in two steps
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// P276, P277: a million random, truncated and mutated datagrams, from strangers and under the address of a live peer. No panic, no
// memory kept, nothing but a valid SCCRQ makes state, fewer octets leave than came, and those who mean well notice nothing.
func TestAMillionJunkDatagramsChangeNothing(t *testing.T) {
	measured(t, func(t *testing.T) {
		_, v := newVictim(t, true)
		defer v.a.stop()
		defer v.stop()
		const million = 1_000_000
		src := junk.New(1)
		src.Avoid(v.call.TunnelID)
		from := []netip.AddrPort{netip.MustParseAddrPort("1.1.1.1:1701"), netip.MustParseAddrPort("1.1.1.1:40000")}
		for i := range 14 {
			from = append(from, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 8, byte(i)}), uint16(1701+i%3)))
		}
		sent := 0
		burst := func() {
			for range 400 {
				v.throw(from[v.received%len(from)], src.Next())
			}
			v.pause(20 * time.Millisecond)
			sent += v.forget()
		}
		for range 50 {
			burst() // what is made once is made now
		}
		before := memory()
		for v.received < million/2 {
			burst()
		}
		v.newcomer("3.3.3.3", time.Minute, burst)
		for v.received < million {
			burst()
		}
		v.unharmed()
		sent += v.forget()
		if grown := memory() - before; grown > 2<<20 {
			t.Errorf("%d octets of memory are kept", grown)
		}
		if v.received < million || sent >= v.octets {
			t.Errorf("%d datagrams of %d octets came, %d octets left", v.received, v.octets, sent)
		}
		if limit := 16 * (1 + 16*1024); v.mostHalf > limit {
			t.Errorf("%d half-open tunnels, want at most %d", v.mostHalf, limit)
		}
		if v.lines > 2000 {
			t.Errorf("%d log lines", v.lines)
		}
		d := v.look().Status.Counters.Discarded
		t.Logf("%d datagrams, %d octets in, %d out, %d half-open at most, %d log lines, in %v; %+v",
			v.received, v.octets, sent, v.mostHalf, v.lines, time.Since(v.began), d)
		if got := d.Malformed + d.NoSuchTunnel + d.ForeignSource + d.OverLimit; got < million/2 {
			t.Errorf("%d of them are counted: %+v", got, d)
		}
	})
}

// request is a valid SCCRQ, as short as they get.
func request(tunnel uint16, host string) []byte {
	return wire.AppendMessage(nil, 0, 0, 0, 0, wire.NewMessage(wire.MsgSCCRQ,
		wire.Uint16(wire.AVPProtocolVersion, 0x0100), wire.Text(wire.AVPHostName, host),
		wire.Uint32(wire.AVPFramingCapabilities, 3), wire.Uint16(wire.AVPAssignedTunnelID, tunnel)), nil)
}

// P277: a flood of valid SCCRQs under forged addresses. Who sends each once makes a few half-open tunnels, and who repeats them no
// more than the limit; more octets come than leave in either case, the log tells of it in few lines, ids and memory come back,
// and an honest newcomer is served after his first repetition.
func TestSCCRQFlood(t *testing.T) {
	for name, x := range map[string]struct {
		copies, limit int
		within        time.Duration
	}{
		"each once":  {copies: 1, limit: 256 + 64, within: 5 * time.Second},
		"each twice": {copies: 2, limit: 1024 + 3, within: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			measured(t, func(t *testing.T) {
				_, v := newVictim(t, true)
				defer v.a.stop()
				defer v.stop()
				dice := rand.New(rand.NewPCG(7, 8))
				sent := 0
				burst := func() {
					for range 200 {
						from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(dice.IntN(256)), byte(dice.IntN(256)), byte(dice.IntN(256))}), 1701)
						d := request(uint16(1+dice.IntN(65535)), "x")
						for range x.copies {
							v.throw(from, d)
						}
					}
					v.pause(20 * time.Millisecond) // 10,000 a second
					sent += v.forget()
				}
				burst()
				before := memory()
				for v.received < 100_000 {
					burst()
				}
				v.newcomer("3.3.3.3", x.within, burst)
				for v.received < 200_000 {
					burst()
				}
				if sent >= v.octets {
					t.Errorf("%d octets came, %d left", v.octets, sent)
				}
				if v.mostHalf > x.limit || v.mostHalf < 200 {
					t.Errorf("%d half-open tunnels, want 200 to %d", v.mostHalf, x.limit)
				}
				v.unharmed()
				sent += v.forget()
				if sent >= v.octets {
					t.Errorf("%d octets came, %d left in the end", v.octets, sent)
				}
				if v.lines > 300 {
					t.Errorf("%d log lines", v.lines)
				}
				if grown := memory() - before; grown > 2<<20 {
					t.Errorf("%d octets of memory are kept", grown)
				}
				for _, s := range v.e.shards {
					if len(s.resting.until) > 10 {
						t.Errorf("shard %d: %d tunnel ids rest", s.index, len(s.resting.until))
					}
				}
				t.Logf("%d SCCRQs, %d octets in, %d out, %d half-open at most, %d log lines in %v", v.received, v.octets, sent,
					v.mostHalf, v.lines, time.Since(v.began))
			})
		})
	}
}

// Who floods under the address of an honest newcomer does not keep him out.
func TestFloodUnderTheNewcomersOwnAddress(t *testing.T) {
	simulated(t, func(t *testing.T) {
		_, v := newVictim(t, true)
		defer v.a.stop()
		defer v.stop()
		id := uint16(0)
		burst := func() {
			for port := range uint16(50) {
				id++
				v.throw(netip.AddrPortFrom(netip.MustParseAddr("3.3.3.3"), 1701+port), request(id, "x"))
			}
			v.pause(20 * time.Millisecond)
		}
		for range 100 {
			burst()
		}
		v.newcomer("3.3.3.3", 5*time.Second, burst)
		if v.mostHalf > 16 {
			t.Errorf("%d half-open tunnels of one source, want at most 16", v.mostHalf)
		}
		v.unharmed()
	})
}

// An SCCRQ under the address of a live peer, with the peer's own tunnel id or another one, ends nothing: the peer is asked, and
// answers. Only silence shows that it has been restarted.
func TestForgedSCCRQDoesNotEndALiveTunnel(t *testing.T) {
	for _, newCore := range []bool{true, false} {
		for _, sameID := range []bool{true, false} {
			t.Run(fmt.Sprintf("new core %v, same id %v", newCore, sameID), func(t *testing.T) {
				simulated(t, func(t *testing.T) {
					n, v := newVictim(t, newCore)
					defer v.stop()
					from := netip.MustParseAddrPort("1.1.1.1:1701")
					id := v.call.PeerTunnelID
					if !sameID {
						id++
					}
					for i := range 2000 {
						v.throw(from, request(id, "forged"))
						if i%10 == 0 {
							v.pause(10 * time.Millisecond)
						}
					}
					time.Sleep(time.Minute)
					if s := v.look(); len(s.Sessions) != 1 || s.Sessions[0].ID != v.call.ID || s.Sessions[0].TunnelID != v.call.TunnelID {
						t.Fatalf("sessions: %+v, want %+v\n%s", s.Sessions, v.call, v.log)
					}
					// Now the peer is really gone, and the one in its place asks as it would.
					n.mu.Lock()
					clear(n.sent)
					n.mu.Unlock()
					v.a.kill()
					v.throw(from, request(id, "restarted"))
					time.Sleep(10 * time.Millisecond)
					ours := v.answer(wire.MsgSCCRP)
					if ours == 0 {
						t.Fatalf("the restarted peer is not answered\n%s", v.log)
					}
					again := n.start(t, "1.1.1.1", initiators(1), true)
					defer again.stop()
					again.up("c0", 3*time.Second)
					time.Sleep(2 * time.Minute)
				})
			})
		}
	}
}

// Tunnels that came up and went leave nothing behind in the list of half-open ones.
func TestTheListOfHalfOpenTunnelsDoesNotGrow(t *testing.T) {
	simulated(t, func(t *testing.T) {
		_, v := newVictim(t, true)
		defer v.a.stop()
		defer v.stop()
		for i := range 1000 {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1701)
			v.throw(from, request(9, "brief"))
			synctest.Wait()
			ours := v.answer(wire.MsgSCCRP)
			if ours == 0 {
				t.Fatalf("round %d: no SCCRP\n%s", i, v.log)
			}
			v.throw(from, wire.AppendMessage(nil, ours, 0, 1, 1, wire.NewMessage(wire.MsgStopCCN, wire.Uint16(wire.AVPAssignedTunnelID, 9),
				wire.ResultAVP(wire.Result{Code: wire.StopGeneral}, false)), nil))
			synctest.Wait()
			v.forget()
		}
		for _, s := range v.e.shards {
			if len(s.halfOpen) > 64+2 {
				t.Errorf("shard %d remembers %d tunnels", s.index, len(s.halfOpen))
			}
		}
		v.unharmed()
	})
}

// answer is the Assigned Tunnel ID of the newest message of a type that the victim has sent.
func (v *victim) answer(want wire.MessageType) (id uint16) {
	v.net.mu.Lock()
	defer v.net.mu.Unlock()
	for _, d := range v.net.sent[v.addr] {
		_, payload, err := wire.ParseHeader(d)
		if err != nil {
			continue
		}
		if m, err := wire.ParseMessage(payload); err == nil && m.Type == want {
			id, _ = m.Uint16(wire.AVPAssignedTunnelID)
		}
	}
	return id
}

// P277, P280: calls that are refused one after the other, by a peer that may have a tunnel, do not fill the log.
func TestRefusedCallsDoNotFillTheLog(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		p := acceptor()
		p.Server.Mode = policy.ModeBoth
		p.Secrets, p.Accept[0].MaxSessions = nil, 1
		v := &victim{box: n.start(t, "2.2.2.2", p, true)}
		defer v.stop()
		from := netip.MustParseAddrPort("10.0.0.1:1701")
		v.throw(from, request(9, "caller"))
		synctest.Wait()
		ours := v.answer(wire.MsgSCCRP)
		v.throw(from, wire.AppendMessage(nil, ours, 0, 1, 1, wire.NewMessage(wire.MsgSCCCN), nil))
		refused := 0
		for i := range uint16(500) {
			m := wire.NewMessage(wire.MsgICRQ, wire.Uint16(wire.AVPAssignedSessionID, 1+i), wire.Uint32(wire.AVPCallSerialNumber, uint32(i)))
			v.throw(from, wire.AppendMessage(nil, ours, 0, 2+i, v.ns(), m, nil))
			time.Sleep(10 * time.Millisecond)
		}
		for _, d := range n.datagrams(v.addr) {
			if _, payload, err := wire.ParseHeader(d); err == nil {
				if m, err := wire.ParseMessage(payload); err == nil && m.Type == wire.MsgCDN {
					refused++
				}
			}
		}
		if refused < 400 {
			t.Fatalf("%d calls refused\n%s", refused, v.log)
		}
		if got := strings.Count(v.log.String(), "call refused"); got == 0 || got > 10 {
			t.Errorf("%d lines for %d refused calls", got, refused)
		}
	})
}

// ns is the Nr that acknowledges all that the victim has sent.
func (v *victim) ns() uint16 {
	v.net.mu.Lock()
	defer v.net.mu.Unlock()
	next := uint16(0)
	for _, d := range v.net.sent[v.addr] {
		if len(d) > 12 {
			next = binary.BigEndian.Uint16(d[8:]) + 1
		}
	}
	return next
}
