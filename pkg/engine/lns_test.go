package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/kernel/kerneltest"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// acceptor is S21: any source, users, a pool.
func acceptor() *policy.Policy {
	return &policy.Policy{
		Server:  policy.Server{Mode: policy.ModeBoth, HostName: "b", Checksum: true, Tunnel: policy.Tunnel{Hello: time.Minute}},
		Secrets: []policy.SecretRule{{Secret: policy.NewSecret([]byte("secret-of-b"))}},
		Accept:  []policy.Accept{{Template: "dialin", ProxyLCP: ppp.ProxyLCPMismatch}},
		Calls:   map[string]*policy.Call{},
		Templates: map[string]*policy.Template{"dialin": {
			Name: "dialin", IPv4: true, IPv4Local: netip.MustParseAddr("192.168.20.1"), IPv4Pool: "ips",
			Auth: []ppp.AuthMethod{ppp.AuthCHAPMD5, ppp.AuthPAP}, IdleTimeout: time.Minute,
		}},
		Users: map[string]*policy.User{"RouterA": {Name: "RouterA", Password: policy.NewSecret([]byte("PasswordA"))}},
		Pools: map[string]*policy.Pool{"ips": {Name: "ips", Ranges: []policy.Range{{
			From: netip.MustParseAddr("192.168.20.200"), To: netip.MustParseAddr("192.168.20.201"),
		}}}},
	}
}

// initiators is S20 with n calls.
func initiators(n int) *policy.Policy {
	p := &policy.Policy{
		Server:    policy.Server{Mode: policy.ModeBoth, HostName: "a", Checksum: true, Tunnel: policy.Tunnel{Hello: time.Minute}},
		Calls:     map[string]*policy.Call{},
		Templates: map[string]*policy.Template{"lan": {Name: "lan", IPv4: true}},
	}
	for i := range n {
		name := fmt.Sprintf("c%d", i)
		p.Calls[name] = &policy.Call{
			Name: name, Peer: "2.2.2.2", AutoStart: true, Secret: policy.NewSecret([]byte("secret-of-b")),
			PPP: policy.CallPPP{
				Template: "lan", IPv4: ppp.IPv4Request, User: "RouterA", Password: policy.NewSecret([]byte("PasswordA")),
				Masquerade: true, Routes: []netip.Prefix{netip.MustParsePrefix("192.168.20.0/24")},
			},
		}
	}
	return p
}

// S20, S21: the initiator gets an address of the pool; its idle call is dropped and, being wanted, dialled again.
func TestDynamicCallGetsAnAddressAndIdlesOut(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", acceptor(), true)
		a := n.start(t, "1.1.1.1", initiators(1), true)
		defer a.stop()
		defer b.stop()
		a.up("c0", time.Minute)
		s := a.look().Sessions[0]
		if s.LocalIPv4 != netip.MustParseAddr("192.168.20.200") || s.PeerIPv4 != netip.MustParseAddr("192.168.20.1") {
			t.Errorf("addresses %v and %v, want 192.168.20.200 and 192.168.20.1", s.LocalIPv4, s.PeerIPv4)
		}
		if got := b.look().Sessions[0]; got.User != "RouterA" || got.Template != "dialin" {
			t.Errorf("user %q by template %q, want RouterA by dialin", got.User, got.Template)
		}
		b.until("idle hang-up", 5*time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
		a.until("dialled again", time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].Attempts.Succeeded >= 2 })
	})
}

// S183: calls to one peer share its tunnel. An exhausted pool refuses the third, with the stage named, and an address that
// comes back is given again.
func TestCallsShareATunnelAndAPool(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		p := acceptor()
		p.Templates["dialin"].IdleTimeout = 0
		b := n.start(t, "2.2.2.2", p, true)
		a := n.start(t, "1.1.1.1", initiators(3), true)
		defer a.stop()
		defer b.stop()
		a.until("two up, one refused", time.Minute, func(s *api.Snapshot) bool {
			up, refused := 0, 0
			for _, c := range s.Calls {
				if c.State == api.CallUp {
					up++
				} else if c.LastError != nil && c.LastError.Stage == "address" {
					refused++
				}
			}
			return up == 2 && refused == 1
		})
		if s := a.look(); len(s.Tunnels) != 1 {
			t.Errorf("%d tunnels, want 1", len(s.Tunnels))
		}
		if !strings.Contains(b.log.String(), "address pool ips is exhausted") {
			t.Errorf("the exhausted pool is not in the log")
		}
		for _, c := range a.look().Calls {
			if c.State == api.CallUp {
				a.act(api.Action{Verb: api.VerbCallDown, Call: c.Name})
				break
			}
		}
		a.until("the third came up", 3*time.Minute, func(s *api.Snapshot) bool {
			up := 0
			for _, c := range s.Calls {
				if c.State == api.CallUp {
					up++
				}
			}
			return up == 2
		})
	})
}

// act asks an engine to do something.
func (b *box) act(a api.Action) *api.Result {
	b.t.Helper()
	r, err := b.e.Act(b.t.Context(), a)
	if err != nil {
		b.t.Fatalf("%v: %v", a.Verb, err)
	}
	return r
}

// A wrong password ends the call in the stage that it is about; no interface is made for it.
func TestWrongPasswordNamesTheStage(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", acceptor(), true)
		p := initiators(1)
		p.Calls["c0"].PPP.Password = policy.NewSecret([]byte("Wrong-Password"))
		a := n.start(t, "1.1.1.1", p, true)
		defer a.stop()
		defer b.stop()
		a.until("an error", time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].LastError != nil })
		if got := a.look().Calls[0].LastError; got.Stage != "user authentication" {
			t.Errorf("stage %q, want user authentication\n%s", got.Stage, a.log)
		}
		if !strings.Contains(b.log.String(), "stage user authentication") {
			t.Errorf("the acceptor does not name the stage:\n%s", b.log)
		}
		for _, op := range b.k.Calls() {
			if strings.HasPrefix(op, "attach") {
				t.Errorf("a unit was made for a failed login: %s", op)
			}
		}
		if strings.Contains(a.log.String()+b.log.String(), "Wrong-Password") {
			t.Errorf("a password is in the log")
		}
	})
}

// Every operation of the kernel may fail: the call ends with the reason, nothing leaks, and the next attempt succeeds.
func TestEveryKernelFailureIsSurvived(t *testing.T) {
	for _, op := range []kerneltest.Op{
		kerneltest.OpCreateTunnel, kerneltest.OpCreateSession, kerneltest.OpAttach, kerneltest.OpPass, kerneltest.OpClose,
	} {
		t.Run(op.String(), func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				p := acceptor()
				p.Templates["dialin"].IdleTimeout = 0
				b := n.start(t, "2.2.2.2", p, true)
				b.k.Fail(op, errors.New("refused by the test"))
				a := n.start(t, "1.1.1.1", initiators(1), true)
				a.up("c0", 5*time.Minute)
				a.stop()
				b.stop()
				if op != kerneltest.OpClose && !strings.Contains(b.log.String(), "refused by the test") {
					t.Errorf("the reason is not in the log:\n%s", b.log)
				}
			})
		})
	}
}

// An interface deleted by hand ends the call, which is dialled again.
func TestVanishedInterfaceIsReplaced(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		p := acceptor()
		p.Templates["dialin"].IdleTimeout = 0
		b := n.start(t, "2.2.2.2", p, true)
		a := n.start(t, "1.1.1.1", initiators(1), true)
		defer a.stop()
		defer b.stop()
		a.up("c0", time.Minute)
		s := a.look().Sessions[0]
		a.k.Session(s.TunnelID, s.ID).Vanish()
		a.until("dialled again", time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].Attempts.Succeeded == 2 })
	})
}

// The session's objects exist before the message that lets the peer use them: ICRP leaves after the kernel session is there.
func TestKernelSessionExistsBeforeICRP(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", acceptor(), true)
		release := b.k.Hold(kerneltest.OpCreateSession)
		a := n.start(t, "1.1.1.1", initiators(1), true)
		defer a.stop()
		defer b.stop()
		time.Sleep(5 * time.Second)
		if n.saw(b.addr, wire.MsgICRP) {
			t.Fatalf("ICRP left before the kernel session existed")
		}
		release()
		a.up("c0", time.Minute)
		if !n.saw(b.addr, wire.MsgICRP) {
			t.Errorf("no ICRP seen: the test does not look where it should")
		}
	})
}

// saw says whether a box has sent a message of a type.
func (n *internet) saw(from netip.Addr, want wire.MessageType) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.sent[from] {
		if _, payload, err := wire.ParseHeader(d); err == nil {
			if m, err := wire.ParseMessage(payload); err == nil && m.Type == want {
				return true
			}
		}
	}
	return false
}

// Dial on demand: nothing leaves before the first packet; it brings the call up and is forwarded then; idle, it waits again.
func TestFirstPacketDials(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", acceptor(), true)
		p := initiators(1)
		p.Calls["c0"].AutoStart, p.Calls["c0"].OnDemand = false, true
		a := n.start(t, "1.1.1.1", p, true)
		defer a.stop()
		defer b.stop()
		time.Sleep(time.Minute)
		if n.saw(a.addr, wire.MsgSCCRQ) {
			t.Fatalf("dialled without a packet")
		}
		a.wake(t)
		a.up("c0", time.Minute)
		a.until("idle", 5*time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].State == api.CallWaiting })
		time.Sleep(2 * time.Minute)
		if got := a.look().Calls[0].Attempts.Out; got != 1 {
			t.Errorf("%d attempts, want 1: an idle call waits for the next packet", got)
		}
		a.wake(t)
		a.up("c0", time.Minute)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.released != 2 {
			t.Errorf("kept packets released %d times, want 2", a.released)
		}
	})
}

// wake is a packet to the only waiting device.
func (b *box) wake(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.demands) != 1 {
		t.Fatalf("%d waiting devices, want 1", len(b.demands))
	}
	for _, wake := range b.demands {
		wake()
	}
}

// 20 % loss: 200 sessions come up exactly once each (P148), and all is given back.
func TestSessionsComeUpOnceThroughLoss(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		dice := rand.New(rand.NewPCG(1, 2))
		n.drop = func(_, _ netip.AddrPort, _ []byte) bool { return dice.IntN(5) == 0 }
		p := acceptor()
		p.Templates["dialin"].IdleTimeout = 0
		p.Pools["ips"].Ranges[0] = policy.Range{From: netip.MustParseAddr("192.168.20.2"), To: netip.MustParseAddr("192.168.20.250")}
		b := n.start(t, "2.2.2.2", p, true)
		a := n.start(t, "1.1.1.1", initiators(200), true)
		for begun := time.Now(); a.look().Status.Calls.Up < 200; time.Sleep(time.Second) { // virtual
			if time.Since(begun) > 5*time.Minute {
				t.Fatalf("%d of 200 calls up after %v\n%s", a.look().Status.Calls.Up, time.Since(begun), a.log)
			}
		}
		for _, x := range []*box{a, b} {
			if s := x.look(); len(s.Sessions) != 200 || len(s.Tunnels) != 1 {
				t.Errorf("%v: %d sessions in %d tunnels, want 200 in 1", x.addr, len(s.Sessions), len(s.Tunnels))
			}
		}
		seen := map[netip.Addr]bool{}
		for _, s := range a.look().Sessions {
			if seen[s.LocalIPv4] {
				t.Errorf("address %v given twice", s.LocalIPv4)
			}
			seen[s.LocalIPv4] = true
		}
		a.stop()
		b.stop()
	})
}

// The old kernel core cannot serve two tunnels of one 5-tuple: the second is refused with the reason; the new one can.
func TestSecondTunnelOfOneAddressAndPort(t *testing.T) {
	for _, newCore := range []bool{true, false} {
		t.Run(map[bool]string{true: "new core", false: "old core"}[newCore], func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				p := acceptor()
				p.Templates["dialin"].IdleTimeout = 0
				b := n.start(t, "2.2.2.2", p, newCore)
				q := initiators(2)
				q.Calls["c0"].OwnTunnel, q.Calls["c1"].OwnTunnel = true, true
				a := n.start(t, "1.1.1.1", q, true)
				defer a.stop()
				defer b.stop()
				want := map[bool]int{true: 2, false: 1}[newCore]
				b.until("tunnels", time.Minute, func(s *api.Snapshot) bool { return s.Status.Tunnels == want })
				time.Sleep(20 * time.Second)
				if got := b.look().Status.Tunnels; got != want {
					t.Errorf("%d tunnels, want %d\n%s", got, want, b.log)
				}
				if !newCore && !strings.Contains(b.log.String(), "this kernel cannot serve a second tunnel") {
					t.Errorf("the reason is not in the log:\n%s", b.log)
				}
			})
		})
	}
}

// The tunnel that waits for another one's end on the old kernel core gets its data path, too, when the other has had none.
func TestTunnelAfterOneWithoutADataPath(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", lasting(), false)
		defer b.stop()
		q := initiators(2)
		for _, c := range q.Calls {
			c.OwnTunnel, c.AutoStart, c.RedialMin, c.RedialMax = true, false, time.Hour, time.Hour
		}
		a := n.start(t, "1.1.1.1", q, true)
		defer a.stop()
		release := b.k.Hold(kerneltest.OpCreateTunnel)
		b.k.Fail(kerneltest.OpCreateTunnel, errors.New("no memory"))
		a.act(api.Action{Verb: api.VerbCallUp, Call: "c0"})
		time.Sleep(10 * time.Millisecond) // virtual
		first := a.look().Tunnels[0].ID
		a.act(api.Action{Verb: api.VerbTunnelClose, Tunnel: first})
		time.Sleep(10 * time.Millisecond)
		a.act(api.Action{Verb: api.VerbCallUp, Call: "c1"})
		time.Sleep(10 * time.Millisecond)
		release()
		a.up("c1", 10*time.Second)
	})
}

// No kernel: tunnels are refused with the reason, and the daemon goes on.
func TestWithoutKernelTunnelsAreRefused(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", acceptor(), true)
		b.e.cfg.Kernel, b.e.cfg.KernelProblem = nil, "l2tp_ppp is missing"
		a := n.start(t, "1.1.1.1", initiators(1), true)
		defer a.stop()
		defer b.stop()
		a.until("an error", time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].LastError != nil })
		if !strings.Contains(b.log.String(), "l2tp_ppp is missing") {
			t.Errorf("the reason is not in the log:\n%s", b.log)
		}
		b.look()
	})
}

// P261: both sides encrypt where one demands it; the simulated kernel sees to the order, and that nothing passes in clear.
func TestMPPE(t *testing.T) {
	for _, x := range []struct {
		name         string
		ours, theirs ppp.MPPEMode
		up           bool
	}{
		{"both require", ppp.MPPERequire, ppp.MPPERequire, true},
		{"one allows", ppp.MPPERequire, ppp.MPPEAllow, true},
		{"both allow", ppp.MPPEAllow, ppp.MPPEAllow, true},
		{"one does not need it", ppp.MPPEAllow, ppp.MPPEOff, true},
		{"one refuses", ppp.MPPERequire, ppp.MPPEOff, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				theirs := acceptor()
				theirs.Templates["dialin"].Auth = []ppp.AuthMethod{ppp.AuthMSCHAPv2}
				theirs.Templates["dialin"].MPPE = x.theirs
				ours := initiators(1)
				ours.Templates["lan"].MPPE = x.ours
				b := n.start(t, "2.2.2.2", theirs, true)
				defer b.stop()
				a := n.start(t, "1.1.1.1", ours, true)
				defer a.stop()
				if !x.up {
					a.until("end of the attempt", time.Minute, func(s *api.Snapshot) bool {
						e := s.Calls[0].LastError
						return e != nil && strings.Contains(e.Text, "encryption")
					})
					if ends := a.look().Status.Counters.SessionEnds; ends["no-encryption"] == 0 {
						t.Errorf("sessions ended by %v", ends)
					}
					return
				}
				a.up("c0", time.Minute)
				if s := a.look().Sessions[0]; s.MPPE != (x.theirs != ppp.MPPEOff) {
					t.Errorf("encrypted: %v", s.MPPE)
				}
				if mine, peers := a.look().Sessions[0].MTU, b.look().Sessions[0].MTU; mine != 1458-ppp.MPPEOverhead || (peers == 1458) != (x.theirs == ppp.MPPEOff) {
					t.Errorf("MTU %d and %d", mine, peers)
				}
			})
		})
	}
}

// Packets that make no sense are answered with Reset-Requests, and the kernel is asked whether it goes on decrypting, seldom, however many
// there are. When it has given up, the session ends and says why; the call is placed again, and works.
func TestSessionEndsWhenNothingIsDecrypted(t *testing.T) {
	for _, mode := range []ppp.MPPEMode{ppp.MPPERequire, ppp.MPPEAllow} {
		t.Run(mode.String(), func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				theirs := lasting()
				theirs.Templates["dialin"].Auth = []ppp.AuthMethod{ppp.AuthMSCHAPv2}
				theirs.Templates["dialin"].MPPE = mode
				ours := initiators(1)
				ours.Templates["lan"].MPPE = ppp.MPPEAllow
				b := n.start(t, "2.2.2.2", theirs, true)
				defer b.stop()
				a := n.start(t, "1.1.1.1", ours, true)
				defer a.stop()
				a.up("c0", time.Minute)
				b.until("up", time.Minute, func(s *api.Snapshot) bool { return s.Sessions[0].IPCP == "Opened" })
				first := b.look().Sessions[0]
				noise := func(times int) {
					for range times {
						b.k.Inject(first.TunnelID, first.ID, []byte{0x00, 0xfd, 0, 0, 1, 2})
					}
					time.Sleep(10 * time.Millisecond) // virtual: until the Reset-Ack is there
				}
				asked := func() (times int) {
					for _, what := range b.k.Calls() {
						if strings.HasPrefix(what, kerneltest.OpCompressionBroken.String()) {
							times++
						}
					}
					return times
				}
				noise(300)
				time.Sleep(time.Minute) // virtual
				if s := b.look().Sessions; len(s) != 1 || s[0].ID != first.ID || !s[0].MPPE {
					t.Fatalf("some noise ended the session: %+v", s)
				}
				if times := asked(); times == 0 || times > 3 {
					t.Errorf("the kernel was asked %d times in a minute", times)
				}
				for range 20 {
					noise(1)
				}
				b.until("the end of the session", time.Minute, func(s *api.Snapshot) bool {
					return s.Status.Counters.SessionEnds["decryption-failed"] == 1
				})
				a.until("the call again", time.Minute, func(s *api.Snapshot) bool {
					return len(s.Sessions) == 1 && s.Calls[0].State == api.CallUp && s.Sessions[0].MPPE
				})
				if times := asked(); times > 6 {
					t.Errorf("the kernel was asked %d times", times)
				}
				const why = "the peer's encrypted packets cannot be decrypted any more: the kernel has given up after too many broken ones"
				if !strings.Contains(b.log.String(), why) {
					t.Errorf("the log does not say why:\n%s", b.log)
				}
				if !strings.Contains(a.log.String(), "the peer ended PPP: packets cannot be decrypted") {
					t.Errorf("the caller is not told why:\n%s", a.log)
				}
			})
		})
	}
}

// An interface that cannot be made ends the call, and is given no keys.
func TestNoInterfaceIsGivenNoKeys(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		theirs := acceptor()
		theirs.Templates["dialin"].Auth, theirs.Templates["dialin"].MPPE = []ppp.AuthMethod{ppp.AuthMSCHAPv2}, ppp.MPPERequire
		b := n.start(t, "2.2.2.2", theirs, true)
		defer b.stop()
		b.k.Fail(kerneltest.OpAttach, errors.New("no interface"))
		ours := initiators(1)
		ours.Templates["lan"].MPPE = ppp.MPPEAllow
		a := n.start(t, "1.1.1.1", ours, true)
		defer a.stop()
		a.up("c0", time.Minute)
		if ends := b.look().Status.Counters.SessionEnds; ends["kernel"] != 1 {
			t.Errorf("sessions ended by %v", ends)
		}
	})
}
