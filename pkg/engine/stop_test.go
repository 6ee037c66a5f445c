package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/kernel/kerneltest"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/transport"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// crowd is lasting with room for many.
func crowd() *policy.Policy {
	p := lasting()
	p.Pools["ips"].Ranges[0].To = netip.MustParseAddr("192.168.23.250")
	return p
}

// P153, P154: a stop while a hundred calls are being set up, at whatever moment: every peer that has heard of us sees StopCCN, and
// nothing is left.
func TestStopUnderLoad(t *testing.T) {
	for _, after := range []time.Duration{0, 2, 5, 7, 9, 12, 20, 50, 3000} {
		t.Run(fmt.Sprintf("%d ms", after), func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				b := n.start(t, "2.2.2.2", crowd(), true)
				var callers []*box
				for i := range 5 {
					callers = append(callers, n.start(t, fmt.Sprintf("1.1.1.%d", 1+i), initiators(20), true))
				}
				time.Sleep(after * time.Millisecond) // virtual
				met := map[*box]bool{}
				for _, a := range callers {
					met[a] = len(a.look().Tunnels) > 0 && a.look().Tunnels[0].PeerID != 0
				}
				begun := time.Now()
				b.stop()
				if took := time.Since(begun); took > 5*time.Second {
					t.Errorf("the stop took %v", took)
				}
				for a, met := range met {
					if met && !strings.Contains(a.log.String(), "shutting down (6)") && !strings.Contains(a.log.String(), "being shut down") {
						t.Errorf("%v has not been told:\n%s", a.addr, a.log)
					}
					a.stop()
				}
			})
		})
	}
}

// A stop waits no longer than it may: for peers that do not answer, for a data path that never comes, for any call that sleeps in
// the kernel. What sleeps ends with its call, and nothing else is left.
func TestStopIsBounded(t *testing.T) {
	for _, op := range []kerneltest.Op{
		kerneltest.OpCreateTunnel, kerneltest.OpCreateSession, kerneltest.OpAttach, kerneltest.OpPass, kerneltest.OpClose,
	} {
		t.Run(op.String(), func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				b := n.start(t, "2.2.2.2", crowd(), true)
				release := b.k.Hold(op)
				a := n.start(t, "1.1.1.1", initiators(3), true)
				time.Sleep(3 * time.Second) // virtual
				ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
				defer cancel()
				begun := time.Now()
				err := b.e.Stop(ctx)
				if took := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) || took > 41*time.Second {
					t.Errorf("stop: %v after %v, want the deadline's error after 40 s", err, took)
				}
				release()
				synctest.Wait()
				a.stop()
			})
		})
	}
	t.Run("deaf peer", func(t *testing.T) {
		simulated(t, func(t *testing.T) {
			n := newInternet()
			b := n.start(t, "2.2.2.2", crowd(), true)
			a := n.start(t, "1.1.1.1", initiators(1), true)
			a.up("c0", time.Minute)
			n.mu.Lock()
			n.drop = func(netip.AddrPort, netip.AddrPort, []byte) bool { return true }
			n.mu.Unlock()
			begun := time.Now()
			b.stop()
			if took := time.Since(begun); took > 35*time.Second {
				t.Errorf("the stop took %v, want one retransmission cycle", took)
			}
			a.stop()
		})
	})
	t.Run("dead name server", func(t *testing.T) {
		simulated(t, func(t *testing.T) {
			n := newInternet()
			a := n.start(t, "1.1.1.1", one(func(c *policy.Call) { c.AutoStart, c.Peer = true, "slow.example" }), true)
			time.Sleep(time.Second) // virtual
			begun := time.Now()
			a.stop()
			if took := time.Since(begun); took > time.Second {
				t.Errorf("the stop took %v", took)
			}
		})
	})
}

// Slow operations, each for a while, and calls that are closed meanwhile in every way there is: nothing is left of them, the
// kernel's rules hold (kerneltest checks), and afterwards all is as before.
func TestClosesWhileTheKernelSleeps(t *testing.T) {
	for _, op := range []kerneltest.Op{
		kerneltest.OpCreateTunnel, kerneltest.OpCreateSession, kerneltest.OpAttach, kerneltest.OpPass, kerneltest.OpSetSequencing, kerneltest.OpClose,
	} {
		for name, disturb := range map[string]func(a, b *box){
			"call down":    func(a, _ *box) { a.act(api.Action{Verb: api.VerbCallDown, Call: "c0"}) },
			"tunnel close": func(a, _ *box) { closeTunnels(a) },
			"peer closes":  func(_, b *box) { closeTunnels(b) },
			"removed":      func(a, _ *box) { a.e.Reload(initiators(0)) },
			"sessions closed by the peer": func(_, b *box) {
				for _, s := range b.look().Sessions {
					b.act(api.Action{Verb: api.VerbSessionClose, Tunnel: s.TunnelID, Session: s.ID})
				}
			},
		} {
			t.Run(op.String()+", "+name, func(t *testing.T) {
				simulated(t, func(t *testing.T) {
					n := newInternet()
					q := crowd()
					q.Accept[0].Sequencing = policy.SequencingStartup
					b := n.start(t, "2.2.2.2", q, true)
					held := map[bool]*box{true: b}
					a := n.start(t, "1.1.1.1", one(nil), true)
					if op == kerneltest.OpCreateTunnel || op == kerneltest.OpAttach {
						held[true] = a
					}
					release := held[true].k.Hold(op)
					a.act(api.Action{Verb: api.VerbCallUp, Call: "c0"})
					time.Sleep(2 * time.Second) // virtual
					disturb(a, b)
					time.Sleep(2 * time.Second) // virtual
					release()
					time.Sleep(10 * time.Second) // virtual
					a.e.Reload(one(nil))
					a.act(api.Action{Verb: api.VerbCallUp, Call: "c0"})
					a.up("c0", 3*time.Minute)
					if s := b.look(); len(s.Sessions) != 1 {
						t.Errorf("%d sessions at the peer, want 1\n%s", len(s.Sessions), b.log)
					}
					a.stop()
					b.stop()
				})
			})
		}
	}
}

func closeTunnels(b *box) {
	for _, x := range b.look().Tunnels {
		_, _ = b.e.Act(b.t.Context(), api.Action{Verb: api.VerbTunnelClose, Tunnel: x.ID}) // it may be closing already
	}
}

// A completion that comes after its session has gone, while another has its id or the tunnel is new, changes nothing: calls go up and
// down fast, beside a kernel that takes its time.
func TestStaleCompletionsChangeNothing(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				dice := rand.New(rand.NewPCG(seed, 3))
				n := newInternet()
				b := n.start(t, "2.2.2.2", crowd(), true)
				a := n.start(t, "1.1.1.1", initiators(6), true)
				var releases []func()
				ops := []kerneltest.Op{kerneltest.OpCreateTunnel, kerneltest.OpCreateSession, kerneltest.OpAttach, kerneltest.OpPass, kerneltest.OpClose}
				for range 150 {
					x := []*box{a, b}[dice.IntN(2)]
					switch dice.IntN(6) {
					case 0:
						releases = append(releases, x.k.Hold(ops[dice.IntN(len(ops))]))
					case 1, 2:
						for _, r := range releases {
							r()
						}
						releases = nil
					case 3:
						closeTunnels(x)
					case 4:
						a.act(api.Action{Verb: api.VerbCallDown, Call: fmt.Sprintf("c%d", dice.IntN(6))})
					case 5:
						a.act(api.Action{Verb: api.VerbCallUp, Call: fmt.Sprintf("c%d", dice.IntN(6))})
					}
					time.Sleep(time.Duration(dice.IntN(200)) * time.Millisecond) // virtual
				}
				for _, r := range releases {
					r()
				}
				for i := range 6 {
					a.act(api.Action{Verb: api.VerbCallUp, Call: fmt.Sprintf("c%d", i)})
				}
				a.until("all up", 10*time.Minute, func(s *api.Snapshot) bool { return s.Status.Calls.Up == 6 && len(s.Sessions) == 6 })
				a.stop()
				b.stop()
			})
		})
	}
}

// P157: packets for a tunnel from another address, StopCCN and CDN among them, change nothing and are counted.
func TestForeignSourceChangesNothing(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", crowd(), true)
		a := n.start(t, "1.1.1.1", initiators(1), true)
		defer b.stop()
		defer a.stop()
		a.up("c0", time.Minute)
		time.Sleep(time.Second) // virtual
		tunnel, session := b.look().Tunnels[0], b.look().Sessions[0]
		stop := wire.NewMessage(wire.MsgStopCCN, wire.Uint16(wire.AVPAssignedTunnelID, tunnel.PeerID),
			wire.ResultAVP(wire.Result{Code: wire.StopGeneral}, false))
		cdn := wire.NewMessage(wire.MsgCDN, wire.ResultAVP(wire.Result{Code: wire.CDNAdmin}, false), wire.Uint16(wire.AVPAssignedSessionID, session.PeerID))
		sent := len(n.datagrams(b.addr))
		for _, from := range []string{"6.6.6.6:1701", "1.1.1.1:1702", "1.1.1.2:1701"} {
			for _, d := range [][]byte{
				wire.AppendMessage(nil, tunnel.ID, 0, tunnel.Nr, tunnel.Ns, stop, nil),
				wire.AppendMessage(nil, tunnel.ID, session.ID, tunnel.Nr, tunnel.Ns, cdn, nil),
				wire.AppendZLB(nil, tunnel.ID, tunnel.Nr, tunnel.Ns),
				{0x00, 0x02, byte(tunnel.ID >> 8), byte(tunnel.ID), byte(session.ID >> 8), byte(session.ID), 0xff, 0x03, 0xc0, 0x21, 5, 1, 0, 4},
			} {
				b.e.Receive(transport.Packet{
					Local: netip.MustParseAddrPort("2.2.2.2:1701"), Remote: netip.MustParseAddrPort(from), Data: d,
				})
			}
		}
		time.Sleep(10 * time.Second) // virtual
		s := b.look()
		if len(s.Sessions) != 1 || s.Sessions[0].IPCP != "Opened" || s.Status.Counters.Discarded.ForeignSource != 12 {
			t.Errorf("%d sessions, %d foreign packets; want 1 and 12", len(s.Sessions), s.Status.Counters.Discarded.ForeignSource)
		}
		if got := len(n.datagrams(b.addr)); got != sent {
			t.Errorf("%d datagrams in answer", got-sent)
		}
	})
}

// A killed peer is noticed by the unanswered HELLO, and its calls are given back.
func TestKilledPeerIsNoticed(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", crowd(), true)
		a := n.start(t, "1.1.1.1", initiators(20), true)
		defer b.stop()
		a.until("all up", time.Minute, func(s *api.Snapshot) bool { return s.Status.Calls.Up == 20 })
		a.kill()
		b.until("nothing left", 3*time.Minute, func(s *api.Snapshot) bool { return len(s.Tunnels) == 0 && len(s.Sessions) == 0 })
		if got := strings.Count(b.log.String(), "the peer does not answer any more"); got != 21 {
			t.Errorf("%d lines, want one for the tunnel and one for each call", got)
		}
	})
}

// The watchdog is fed only while every shard answers.
func TestAliveNeedsEveryShard(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		a := n.start(t, "1.1.1.1", initiators(0), true)
		defer a.stop()
		if err := a.e.Alive(t.Context()); err != nil {
			t.Errorf("alive: %v", err)
		}
		stuck := make(chan struct{})
		a.e.shards[2].post(func() { <-stuck })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := a.e.Alive(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a stuck shard: %v", err)
		}
		close(stuck)
		if err := a.e.Alive(t.Context()); err != nil {
			t.Errorf("alive again: %v", err)
		}
	})
}

// P153: a subscriber's call that is to be forwarded when the daemon has begun to stop opens no tunnel, of which nobody would tell the LNS
// the end. The shard that opens tunnels may have closed its own by then.
func TestNoTunnelIsOpenedWhileTheDaemonStops(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		a := n.start(t, lacBox, lacPolicy(lnsBox), true)
		defer a.stop()
		synctest.Wait()
		s := a.dsl.dialIn(t, client(ppp.AuthPAP), nil)
		synctest.Wait() // he has arrived
		a.e.stopping.Store(true)
		time.Sleep(time.Minute) // virtual
		if all := n.messages(a.addr, wire.MsgSCCRQ); len(all) > 0 {
			t.Errorf("%d SCCRQs have left", len(all))
		}
		if got := s.ended(); len(got) != 1 {
			t.Errorf("the subscriber is hung up %d times", len(got))
		}
	})
}
