package engine

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// P242, P208: what the other end of the tunnel says of the end is accounted, most telling first.
func TestWhatThePeerSaysIsAccounted(t *testing.T) {
	t.Parallel()
	value := func(code, direction byte) []byte { return []byte{0, code, 0xc0, 0x21, direction} }
	for name, c := range map[string]struct {
		result uint16
		value  []byte
		want   radius.TerminateCause
	}{
		"the user has hung up":             {wire.CDNAdmin, value(3, 1), radius.UserRequest},
		"the LNS has closed PPP":           {wire.CDNAdmin, value(3, 2), radius.HostRequest},
		"its operator":                     {wire.CDNAdmin, value(1, 0), radius.AdminReset},
		"echoes without an answer":         {wire.CDNAdmin, value(8, 0), radius.LostCarrier},
		"a wrong password":                 {wire.CDNAdmin, value(16, 1), radius.UserError},
		"no address":                       {wire.CDNNoFacilitiesTemp, value(18, 0), radius.ServiceUnavailable},
		"no more than an administrator":    {wire.CDNAdmin, nil, radius.UserRequest},
		"a cause that tells nothing":       {wire.CDNLostCarrier, value(0, 0), radius.LostCarrier},
		"a cause that is not known":        {wire.CDNLostCarrier, value(99, 0), radius.LostCarrier},
		"a value that is cut":              {wire.CDNLostCarrier, []byte{0, 1, 2}, radius.LostCarrier},
		"the LNS is full":                  {wire.CDNNoFacilitiesTemp, nil, radius.ServiceUnavailable},
		"an error":                         {wire.CDNError, nil, radius.ServiceUnavailable},
		"nothing, for the tunnel has gone": {0, nil, radius.LostService},
	} {
		if got := terminateCause(call.EvDown{Cause: "peer", Said: call.ReadSaid(c.result, c.value)}); got != c.want {
			t.Errorf("%s: cause %d, want %d", name, got, c.want)
		}
	}
}

// P241: a session is accounted for, or is not, as it was configured when it began. The daemon's own beginning and end are told whether there
// are servers or not.
func TestReloadOfServersLeavesSessionsAsTheyAre(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		x := &radiusBox{}
		n.radius = map[netip.Addr]RADIUS{netip.MustParseAddr("2.2.2.2"): x}
		without := func() *policy.Policy {
			p := lasting()
			p.Pools["ips"].Ranges[0].To = netip.MustParseAddr("192.168.20.240")
			for _, name := range []string{"before", "between", "after"} {
				p.Users[name] = &policy.User{Name: name, Password: policy.NewSecret([]byte("PasswordA"))}
			}
			return p
		}
		with := changed(without(), func(p *policy.Policy) { p.RADIUS.Servers = []policy.RADIUSServer{{Address: "192.0.2.9"}} })
		b := n.start(t, "2.2.2.2", without(), true)
		a := n.start(t, "1.1.1.1", waiting("before", "between", "after"), true)
		defer a.stop()
		a.begins("c0")
		b.e.Reload(with)
		a.begins("c1")
		b.e.Reload(without())
		a.begins("c2")
		time.Sleep(time.Minute) // virtual
		for _, c := range []string{"c0", "c1", "c2"} {
			a.act(api.Action{Verb: api.VerbCallDown, Call: c})
		}
		b.until("nothing", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
		b.stop()
		var got []string
		for _, r := range x.records() {
			kind, _, _ := strings.Cut(r, " to ")
			got = append(got, kind)
		}
		want := []string{"on", "start between", "stop between", "off"}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("told (-want +got):\n%s", d)
		}
	})
}

// P241: a session that has ended, and waits until something in the kernel is done, is told of no more before its end is: a server that
// changes it meanwhile, or that is asked again, does not bring interim records back.
func TestNoInterimAfterTheEnd(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		x := &servers{}
		b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) {
			p.Users["first"] = &policy.User{Name: "first", Password: policy.NewSecret([]byte("PasswordA"))}
			p.RADIUS.Servers, p.RADIUS.Interim = []policy.RADIUSServer{{Address: "192.0.2.9"}}, time.Minute
		}), true).with(x)
		a := n.start(t, "1.1.1.1", waiting("first"), true)
		defer a.stop()
		a.begins("c0")
		busy := func(is bool, then func(s *session)) {
			for _, sh := range b.e.shards {
				_ = sh.in(t.Context(), func() {
					for s := range sh.sessions() {
						s.busy = is
						then(s)
						s.flush()
					}
				})
			}
		}
		busy(true, func(s *session) { s.call.Lost(call.EvDown{Cause: "peer"}, s.output()) })
		if o := b.e.RADIUS().Change(t.Context(), radius.Match{User: "first"}, radius.Change{Class: [][]byte{{1}}}); o != radius.Done {
			t.Errorf("the change is answered %v", o)
		}
		busy(false, func(*session) {})
		time.Sleep(10 * time.Minute) // virtual
		if starts, stops, more := len(x.told(radius.Start)), len(x.told(radius.Stop)), x.told(radius.Interim); starts != 1 || stops != 1 || len(more) > 0 {
			t.Errorf("%d starts, %d stops, and between or after them %v", starts, stops, more)
		}
		b.stop()
	})
}
