package engine

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// P59, P76: server.max_tunnels, and that of an accept entry, bound the tunnels of all shards together, half-open ones included, at
// every moment. Unfinished set-ups make way for honest newcomers; who finds no room is told to try another.
func TestMaxTunnelsCountsTheUnfinishedToo(t *testing.T) {
	const most = 5
	for name, set := range map[string]func(*policy.Policy){
		"server":       func(p *policy.Policy) { p.Server.MaxTunnels = most },
		"accept entry": func(p *policy.Policy) { p.Accept[0].MaxTunnels = most },
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				p := acceptor()
				p.Templates["dialin"].IdleTimeout = 0
				p.Pools["ips"].Ranges[0].To = netip.MustParseAddr("192.168.20.250")
				set(p)
				v := &victim{box: n.start(t, "2.2.2.2", p, true)}
				defer v.stop()
				check := func(when string) {
					t.Helper()
					synctest.Wait()
					up, half := v.e.counts.tunnelsUp.Load(), v.e.counts.halfOpen.Load()
					if all := v.e.counts.tunnels.Load(); up+half > most || all != up+half {
						t.Fatalf("%s: %d up, %d half-open, %d in all, want at most %d", when, up, half, all, most)
					}
				}
				for i := range 60 { // set-ups that are begun and not finished, from sources of every shard
					v.throw(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 1}), 1701), request(uint16(1+i), "x"))
					check("flood")
				}
				if got := v.e.counts.halfOpen.Load(); got != most {
					t.Errorf("%d half-open, want %d: the newest", got, most)
				}
				time.Sleep(time.Minute)
				check("after the flood")
				if got := v.e.counts.tunnels.Load(); got != 0 {
					t.Fatalf("%d tunnels are counted, and there is none", got)
				}
				var callers []*box
				for i := range 8 {
					callers = append(callers, n.start(t, fmt.Sprintf("1.1.%d.1", i), one(autostart), true))
				}
				for range 600 {
					time.Sleep(100 * time.Millisecond)
					check("honest callers")
				}
				if got := v.look().Status.Tunnels; got != most {
					t.Errorf("%d tunnels, want %d\n%s", got, most, v.log)
				}
				told := 0
				for _, m := range n.messages(v.addr, wire.MsgStopCCN) {
					if r, _ := m.Result(); r.Code == wire.StopError && r.Error == wire.ErrCodeTryAnother {
						told++
					}
				}
				if told == 0 {
					t.Errorf("nobody is told to try another")
				}
				for _, c := range callers {
					c.stop()
				}
				v.until("nothing left", time.Minute, func(s *api.Snapshot) bool { return s.Status.Tunnels == 0 })
				check("in the end")
			})
		})
	}
}

// An accept entry is the same one after a reload that changes its limit: what it has let in counts on.
func TestReloadOfALimitCountsOn(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		limit := func(tunnels, sessions int) *policy.Policy {
			p := acceptor()
			p.Templates["dialin"].IdleTimeout = 0
			p.Pools["ips"].Ranges[0].To = netip.MustParseAddr("192.168.20.250")
			p.Accept[0].MaxTunnels, p.Accept[0].MaxSessions = tunnels, sessions
			return p
		}
		b := n.start(t, "2.2.2.2", limit(2, 3), true)
		defer b.stop()
		quick := func() *policy.Policy {
			p := initiators(2)
			for _, c := range p.Calls {
				c.RedialMax = 5 * time.Second
			}
			return p
		}
		for i := range 4 {
			a := n.start(t, fmt.Sprintf("1.1.%d.1", i), quick(), true)
			defer a.stop()
		}
		for _, x := range []struct{ tunnels, sessions, wantTunnels, wantSessions int }{
			{2, 3, 2, 3}, {3, 5, 3, 5}, {1, 1, 3, 5}, {0, 0, 4, 8},
		} {
			b.e.Reload(limit(x.tunnels, x.sessions))
			time.Sleep(time.Minute)
			if s := b.look().Status; s.Tunnels != x.wantTunnels || s.Sessions != x.wantSessions {
				t.Errorf("max_tunnels %d, max_sessions %d: %d tunnels, %d sessions, want %d and %d: nobody is thrown out\n%s",
					x.tunnels, x.sessions, s.Tunnels, s.Sessions, x.wantTunnels, x.wantSessions, b.log)
			}
		}
	})
}
