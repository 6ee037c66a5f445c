package engine

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/access"
	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/kernel/kerneltest"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// hung is the end of a line that counts how often it was hung up.
type hung struct{ times chan string }

func (hung) Ready() {}

func (h hung) HangUp(why string) { h.times <- why }

// placing is an LNS that asks a LAC for a call to a number. On the LAC's line somebody answers when the test has gone.
func placing(t *testing.T, n *internet, gone <-chan struct{}) (lns, lac *box, end hung) {
	t.Helper()
	end = hung{make(chan string, 10)}
	lac = n.start(t, "2.2.2.2", changed(pair("b", "1.1.1.1", policy.PrecedenceOut, false), func(p *policy.Policy) {
		all := []policy.Range{{From: netip.MustParseAddr("0.0.0.0"), To: netip.MustParseAddr("255.255.255.255")}}
		p.LAC.Access = []policy.Access{{Name: "modem", TTY: &policy.TTY{Device: "modem", DialOut: true, Type: policy.CallAsync, Speed: 64000, From: all}}}
	}), true)
	lac.dsl.dialled = func(context.Context) (access.Caller, access.Line, error) {
		<-gone
		file, err := os.Create(filepath.Join(t.TempDir(), "modem"))
		if err != nil {
			return access.Caller{}, nil, err
		}
		return access.Caller{Access: lac.dsl.places[0], TTY: &access.TTY{Device: "modem", File: file, Speed: 64000}}, end, nil
	}
	lns = n.start(t, "1.1.1.1", changed(pair("a", "2.2.2.2", policy.PrecedenceIn, true), func(p *policy.Policy) {
		c := p.Calls["remote"]
		c.Type, c.Dial, c.Remote, c.RedialMin, c.RedialMax = policy.CallAsync, "031", "", time.Hour, time.Hour
	}), true)
	return lns, lac, end
}

// theSession does something with the only session of a box.
func (b *box) theSession(do func(s *session)) {
	b.t.Helper()
	done := 0
	for _, sh := range b.e.shards {
		_ = sh.in(b.t.Context(), func() {
			for s := range sh.sessions() {
				done++
				do(s)
			}
		})
	}
	if done != 1 {
		b.t.Fatalf("%d sessions", done)
	}
}

// P94-P100: who was called may hang up before it is known here that he has answered, or before the tunnel carries anything: the LNS is told
// by CDN 1, and the line is free again.
func TestWhoWasCalledHangsUpAtOnce(t *testing.T) {
	for name, x := range map[string]struct {
		early, noPath bool
	}{"before it is known that he is there": {early: true}, "before the tunnel has a data path": {noPath: true}, "later": {}} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n, gone := newInternet(), make(chan struct{})
				lns, lac, end := placing(t, n, gone)
				defer lac.stop()
				defer lns.stop()
				release := func() {}
				if x.noPath {
					release = lac.k.Hold(kerneltest.OpCreateTunnel)
				}
				lac.until("the call is placed", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 1 })
				hangUp := func() { lac.theSession(func(s *session) { s.lineDied(errors.New("no carrier")) }) }
				if x.early {
					hangUp()
				}
				close(gone)
				time.Sleep(time.Second) // virtual
				if !x.early {
					hangUp()
				}
				release()
				lac.until("nothing", 10*time.Second, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
				if all := n.messages(lac.addr, wire.MsgCDN); len(all) != 1 {
					t.Errorf("%d CDNs\n%s", len(all), lac.log)
				} else if r, _ := all[0].Result(); r.Code != wire.CDNLostCarrier {
					t.Errorf("CDN says %v", r)
				}
				if len(end.times) != 1 {
					t.Errorf("the line was hung up %d times", len(end.times))
				}
				if !strings.Contains(lac.log.String(), "the line has hung up: no carrier") {
					t.Errorf("the log says nothing of it:\n%s", lac.log)
				}
			})
		})
	}
}

// A tunnel that gets no data path gives back the line of a call that has been answered meanwhile.
func TestAnsweredCallWithoutADataPath(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n, gone := newInternet(), make(chan struct{})
		lns, lac, end := placing(t, n, gone)
		defer lac.stop()
		defer lns.stop()
		release := lac.k.Hold(kerneltest.OpCreateTunnel)
		lac.until("the call is placed", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 1 })
		close(gone)
		time.Sleep(time.Second) // virtual
		for _, v := range lns.look().Tunnels {
			lns.act(api.Action{Verb: api.VerbTunnelClose, Tunnel: v.ID})
		}
		lac.until("no session", 10*time.Second, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
		release()
		if lac.until("hung up", 10*time.Second, func(*api.Snapshot) bool { return len(end.times) > 0 }); len(end.times) != 1 {
			t.Errorf("the line was hung up %d times", len(end.times))
		}
	})
}
