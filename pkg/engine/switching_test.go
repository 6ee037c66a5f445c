package engine

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpd/l2tpd/pkg/access"
	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/transport"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// relaying is a LAC's policy for calls that come by L2TP (tunnel switching), and go on to an LNS.
func relaying(lns string) *policy.Policy {
	p := lacPolicy(lns)
	p.LAC.Access, p.LAC.Switch, p.Server.HostName = nil, true, "switch"
	p.Secrets = []policy.SecretRule{{Secret: policy.NewSecret([]byte("secret-of-b"))}}
	p.Accept = []policy.Accept{{Template: "access"}}
	return p
}

// Tunnel switching: what came by one tunnel goes on by another, with what the first LAC has said; the login holds all the way.
func TestTunnelSwitching(t *testing.T) {
	for name, m := range map[string][]ppp.AuthMethod{"none": nil, "pap": {ppp.AuthPAP}, "chap": {ppp.AuthCHAPMD5}, "mschapv1": {ppp.AuthMSCHAPv1}} {
		for _, end := range []string{"client", "client's PADT", "first", "middle", "last"} {
			t.Run(name+", ended by "+end, func(t *testing.T) {
				simulated(t, func(t *testing.T) {
					n := newInternet()
					w := tap(n)
					match := policy.MatchAll
					if m == nil {
						match = policy.MatchUnauthenticated
					}
					lns := n.start(t, lnsBox2, changed(lnsPolicy(), func(p *policy.Policy) { p.Templates["dialin"].Auth = m }), true)
					middle := n.start(t, lnsBox, changed(relaying(lnsBox2), func(p *policy.Policy) {
						p.LAC.Rules[0].Match, p.Templates["access"].Auth, p.LAC.Rules[0].StripRealm = match, m, false
					}), true)
					a := n.start(t, lacBox, changed(lacPolicy(lnsBox), func(p *policy.Policy) {
						p.LAC.Rules[0].Match, p.Templates["access"].Auth = match, m
					}), true)
					defer lns.stop()
					defer middle.stop()
					defer a.stop()
					synctest.Wait()
					s := a.dsl.dialIn(t, client(m...), func(c *access.Caller) {
						c.Line = &control.AccessLine{CircuitID: []byte("port 7"), RemoteID: []byte("house 9")}
					})
					s.comesUp(time.Minute)
					x := lns.look().Sessions[0]
					if x.CallingNumber != "02:00:00:00:00:01" || x.CalledNumber != "internet" || m != nil && x.User != "RouterA" {
						t.Errorf("at the LNS: calling %q, called %q, user %q", x.CallingNumber, x.CalledNumber, x.User)
					}
					for _, msg := range []wire.MessageType{wire.MsgICRQ, wire.MsgICCN} {
						first, second := w.of(lnsBox, msg), w.of(lnsBox2, msg)
						if len(first) == 0 || len(second) == 0 {
							t.Fatalf("%v: %d and %d", msg, len(first), len(second))
						}
						for _, avp := range []wire.AVPType{
							wire.AVPCallingNumber, wire.AVPCalledNumber, wire.AVPTxConnectSpeed, wire.AVPFramingType, wire.AVPInitialRecvLCP, wire.AVPLastSentLCP,
							wire.AVPLastRecvLCP, wire.AVPProxyAuthenType, wire.AVPProxyAuthenName, wire.AVPProxyAuthenChallenge, wire.AVPProxyAuthenID,
							wire.AVPProxyAuthenResponse,
						} {
							x, there := first[0].m.Bytes(avp)
							y, too := second[0].m.Bytes(avp)
							if there != too || string(x) != string(y) {
								t.Errorf("%v %v: %x became %x", msg, avp, x, y)
							}
						}
					}
					switch end {
					case "client":
						s.close()
					case "client's PADT":
						s.vanish()
					default:
						b := map[string]*box{"first": a, "middle": middle, "last": lns}[end]
						for _, x := range b.look().Sessions {
							if x.TunnelID != 0 {
								if _, err := b.e.Act(t.Context(), api.Action{Verb: api.VerbSessionClose, Tunnel: x.TunnelID, Session: x.ID}); err != nil {
									t.Error(err)
								}
								break
							}
						}
					}
					s.goes(time.Minute)
					a.empty(time.Minute)
					middle.empty(time.Minute)
					lns.until("no session", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
				})
			})
		}
	}
}

// Datagrams of less than 14 octets come to user space from the kernel's own tunnels: on their way through two bridges they lose nothing.
func TestBridgesPassOnShortFrames(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		lns := n.start(t, lnsBox2, lnsPolicy(), true)
		middle := n.start(t, lnsBox, relaying(lnsBox2), true)
		a := n.start(t, lacBox, lacPolicy(lnsBox), true)
		defer lns.stop()
		defer middle.stop()
		defer a.stop()
		synctest.Wait()
		s := a.dsl.dialIn(t, client(ppp.AuthPAP), nil)
		s.comesUp(time.Minute)
		in := func(b *box, peer, frame string) {
			t.Helper()
			for _, x := range b.look().Sessions {
				if x.Remote.Addr().String() == peer {
					d := append(wire.AppendDataHeader(nil, x.TunnelID, x.ID, false), frame...)
					b.e.Receive(transport.Packet{Local: x.Remote, Remote: x.Remote, Data: d})
				}
			}
			time.Sleep(time.Second)
		}
		for i, b := range []*box{middle, a} { // from the LNS
			before := len(s.got())
			in(b, map[*box]string{middle: lnsBox2, a: lnsBox}[b], "\xc0\x21\x09"+string(rune('p'+i))+"\x00\x08\x00\x00\x00\x00")
			if got := s.got()[before:]; len(got) != 1 || !strings.Contains(got[0], fmt.Sprintf("Echo-Request id=%d", 'p'+i)) {
				t.Errorf("the subscriber got %v", got)
			}
		}
		before := lns.look().Status.Counters.PPPFrames.In
		in(middle, lacBox, "\xc0\x21\x0a\x07\x00\x08\x00\x00\x00\x00") // from the subscriber
		if got := lns.look().Status.Counters.PPPFrames.In; got != before+1 {
			t.Errorf("the LNS got %d frames", got-before)
		}
		s.close()
		s.goes(time.Minute)
		lns.until("no session", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
	})
}

// P208: what the LNS tells of the end of PPP reaches the first LAC.
func TestSwitchRelaysWhyTheLNSEndsACall(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		w := tap(n)
		lns := n.start(t, lnsBox2, changed(lnsPolicy(), func(p *policy.Policy) {
			p.Templates["dialin"].Auth, p.Users["RouterA"].Password = []ppp.AuthMethod{ppp.AuthCHAPMD5}, policy.NewSecret([]byte("another"))
		}), true)
		middle := n.start(t, lnsBox, changed(relaying(lnsBox2), func(p *policy.Policy) { p.Templates["access"].Auth = []ppp.AuthMethod{ppp.AuthCHAPMD5} }), true)
		a := n.start(t, lacBox, changed(lacPolicy(lnsBox), func(p *policy.Policy) { p.Templates["access"].Auth = []ppp.AuthMethod{ppp.AuthCHAPMD5} }), true)
		defer lns.stop()
		defer middle.stop()
		defer a.stop()
		synctest.Wait()
		a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil).goes(time.Minute)
		a.empty(time.Minute)
		cdns := w.of(lacBox, wire.MsgCDN)
		if len(cdns) != 1 {
			t.Fatalf("%d CDN\n%s", len(cdns), a.log)
		}
		v, _ := cdns[0].m.Bytes(wire.AVPPPPDisconnectCause)
		if got, want := call.DisconnectText(v), "authentication failed (16), at the user's end"; got != want {
			t.Errorf("the first LAC hears of %q, want %q", got, want)
		}
	})
}

// Without lac.switch a call that comes by L2TP ends here, whatever the rules are.
func TestNoSwitchingUnlessAsked(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox, changed(lnsPolicy(), func(p *policy.Policy) { p.LAC.Rules = relaying(lnsBox2).LAC.Rules }), true)
		defer b.stop()
		a := n.start(t, lacBox, lacPolicy(lnsBox), true)
		defer a.stop()
		synctest.Wait()
		s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
		s.comesUp(time.Minute)
		if got := b.look().Sessions; len(got) != 1 || got[0].Forwarded != nil || got[0].PeerIPv4.String() != s.address() {
			t.Errorf("%+v", got)
		}
	})
}

// A call is not switched to the box that switches it, whoever names that as its LNS: it would come in and go out again without end.
func TestCallIsNotSwitchedToTheSwitch(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		middle := n.start(t, lnsBox, changed(relaying(lnsBox), func(p *policy.Policy) {
			p.Server.Listen = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:1701")}
		}), true)
		a := n.start(t, lacBox, lacPolicy(lnsBox), true)
		defer middle.stop()
		defer a.stop()
		synctest.Wait()
		s := a.dsl.dialIn(t, client(ppp.AuthCHAPMD5), nil)
		s.goes(5 * time.Minute)
		if sent := n.messages(middle.addr, wire.MsgSCCRQ); len(sent) > 0 || !strings.Contains(middle.log.String(), "that is this box itself") {
			t.Errorf("%d SCCRQs\n%s", len(sent), middle.log)
		}
	})
}
