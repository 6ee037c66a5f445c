package engine

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// Passwords by PAP go in clear unless the tunnel's peer proves a secret, which is then at least one of ours. Both ends see it.
func TestPasswordsInClearAreNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		auth   ppp.AuthMethod
		secret string
		clear  bool
	}{
		"pap": {ppp.AuthPAP, "", true}, "chap": {ppp.AuthCHAPMD5, "", false}, "pap, with a secret": {ppp.AuthPAP, "a secret of both", false},
	} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) {
					p.Templates["dialin"].Auth = []ppp.AuthMethod{c.auth}
					p.Secrets = []policy.SecretRule{{Secret: policy.NewSecret([]byte(c.secret)), None: c.secret == ""}}
				}), true)
				a := n.start(t, "1.1.1.1", changed(one(autostart), func(p *policy.Policy) {
					p.Calls["c0"].Secret = policy.NewSecret([]byte(c.secret))
				}), true)
				defer b.stop()
				defer a.stop()
				time.Sleep(30 * time.Second) // virtual
				for peer, x := range map[string]*box{"1.1.1.1:1701": b, "2.2.2.2:1701": a} {
					s := x.look().Status
					if s.Sessions != 1 {
						t.Fatalf("%v: %d sessions", x.addr, s.Sessions)
					}
					var want []netip.AddrPort
					if c.clear {
						want = append(want, netip.MustParseAddrPort(peer))
					}
					if !slices.Equal(s.ClearText, want) {
						t.Errorf("%v: %v, want %v", x.addr, s.ClearText, want)
					}
				}
			})
		})
	}
}

// Who looks again only when something has happened must not be woken by his own look, nor miss a deadline.
func TestActivityIsWhatHappensBesideALook(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		a := n.start(t, "1.1.1.1", one(nil), true) // nothing to do
		defer a.stop()
		time.Sleep(time.Minute) // virtual
		before, look := a.e.Activity()
		if _, err := a.e.Snapshot(context.Background(), api.Query{Status: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // virtual
		if after, _ := a.e.Activity(); after != before+look {
			t.Errorf("activity %d after %d and a look of %d", after, before, look)
		}
		a.e.shards[0].post(func() {
			d := &deadline{index: -1, owner: whenDue(func(Time) {})}
			a.e.shards[0].due.arm(d, a.e.shards[0].now()+time.Second)
		})
		time.Sleep(2 * time.Second) // virtual
		if after, _ := a.e.Activity(); after != before+look+2 {
			t.Errorf("activity %d, want a message and a deadline more than %d", after, before+look)
		}
	})
}
