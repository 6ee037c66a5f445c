package health

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// well is a daemon with which nothing is wrong.
func well() *api.Snapshot {
	return &api.Snapshot{
		Status: &api.Status{
			Kernel: api.Kernel{Release: "6.12.110", NewCore: true},
			Pools:  []api.Pool{{Name: "ips", Used: 80, Size: 100}, {Name: "none"}},
			LNS:    []api.LNS{{Address: netip.MustParseAddrPort("192.0.2.1:1701")}},
			RADIUS: &api.RADIUS{Servers: []api.RADIUSServer{
				{Name: "one", Purpose: api.RADIUSLogins}, {Name: "two", Purpose: api.RADIUSLogins}, {Name: "one", Purpose: api.RADIUSAccounting},
			}},
		},
		Calls: []api.Call{{Name: "branch", State: api.CallUp, LastError: &api.CallError{Stage: "transport"}}},
	}
}

var start = time.Date(2026, 11, 20, 15, 4, 5, 0, time.UTC)

// unreachable lets the peer of a call give no answer.
func unreachable(s *api.Snapshot) {
	s.Calls[0].State, s.Calls[0].NextRedial = api.CallWaiting, start.Add(time.Hour)
}

// script is a Tracker that is shown a daemon every second.
type script struct {
	t  *testing.T
	tr Tracker
	at int // seconds
}

// pass lets seconds pass with the daemon as changes make it, and returns what has changed: "12 +name" or "12 -name".
func (x *script) pass(seconds int, changes ...func(*api.Snapshot)) (seen []string) {
	x.t.Helper()
	for range seconds {
		s := well()
		for _, c := range changes {
			c(s)
		}
		for _, c := range x.tr.Observe(start.Add(time.Duration(x.at)*time.Second), s) {
			sign := "-"
			if c.Raised {
				sign = "+"
			}
			seen = append(seen, fmt.Sprint(x.at, " ", sign, c.Name))
		}
		x.at++
	}
	return seen
}

func (x *script) want(got []string, want ...string) {
	x.t.Helper()
	if !slices.Equal(got, want) {
		x.t.Errorf("%q, want %q", got, want)
	}
}

func noKernel(s *api.Snapshot) { s.Status.Kernel = api.Kernel{} }

func TestAConditionIsRaisedAfterItsDelayAndClearedAtOnce(t *testing.T) {
	t.Parallel()
	x := &script{t: t}
	x.want(x.pass(10))
	x.want(x.pass(29, unreachable)) // from 10 to 38
	if !x.tr.Pending() {
		t.Error("nothing is pending")
	}
	x.want(x.pass(1)) // a moment's peace
	if x.tr.Pending() {
		t.Error("something is pending")
	}
	x.want(x.pass(40, unreachable), "70 +peer-unreachable")
	r := x.tr.Raised()
	if len(r) != 1 || !r[0].Since.Equal(start.Add(40*time.Second)) || r[0].Message != "peers of calls cannot be reached: branch" || r[0].Advice == "" {
		t.Errorf("%+v", r)
	}
	x.want(x.pass(5), "80 -peer-unreachable")
	if r := x.tr.Raised(); r == nil || len(r) > 0 {
		t.Errorf("%+v", r)
	}
}

// Without a data path no call can reach its peer: one sentence is enough. When it is back, calls get their time to be dialled.
func TestAConditionThatAnotherExplainsIsHidden(t *testing.T) {
	t.Parallel()
	x := &script{t: t}
	x.want(x.pass(40, unreachable), "30 +peer-unreachable")
	x.want(x.pass(60, unreachable, noKernel), "40 +no-data-path", "40 -peer-unreachable")
	x.want(x.pass(40, unreachable), "100 -no-data-path", "130 +peer-unreachable")
}

func TestAnOldSnapshotChangesNothing(t *testing.T) {
	t.Parallel()
	x := &script{t: t}
	x.want(x.pass(1, noKernel), "0 +no-data-path")
	x.at = -5
	x.want(x.pass(3))
	if len(x.tr.Raised()) != 1 {
		t.Error("it is gone")
	}
}

func TestAPoolThatIsNearlyEmptyMustRecoverWell(t *testing.T) {
	t.Parallel()
	free := func(n uint64) func(*api.Snapshot) {
		return func(s *api.Snapshot) { s.Status.Pools[0].Used = 100 - n }
	}
	x := &script{t: t}
	x.want(x.pass(60, free(11)))
	x.want(x.pass(60, free(10)), "90 +pool-nearly-empty")
	x.want(x.pass(60, free(15)))
	x.want(x.pass(60, free(16)), "180 -pool-nearly-empty")
	x.want(x.pass(60, func(s *api.Snapshot) { s.Status.Pools[0].Used = 105 }), "270 +pool-nearly-empty")
}

// Each condition, and what looks like it and is none.
//
// long: a table.
func TestWhatIsACondition(t *testing.T) {
	t.Parallel()
	dead := func(servers ...int) func(*api.Snapshot) {
		return func(s *api.Snapshot) {
			for _, i := range servers {
				s.Status.RADIUS.Servers[i].DeadSince = start
			}
		}
	}
	call := func(change func(c *api.Call)) func(*api.Snapshot) {
		return func(s *api.Snapshot) { unreachable(s); change(&s.Calls[0]) }
	}
	raised := map[string]bool{}
	for _, c := range []struct {
		what   string
		change func(*api.Snapshot)
		want   string // name: message; empty: nothing is wrong
	}{
		{"all is well", func(*api.Snapshot) {}, ""},
		{"no kernel", noKernel, "no-data-path: the kernel's L2TP cannot be used: every tunnel is refused"},
		{"no kernel, which is a problem", func(s *api.Snapshot) { noKernel(s); s.Status.Problems = []string{"no module"} }, "no-data-path: the kernel's L2TP cannot be used: every tunnel is refused"},
		{"problems", func(s *api.Snapshot) { s.Status.Problems = []string{"a", "b", "c", "d", "e"} }, "incomplete: does not work as configured: a, b, c and 2 more"},
		{"old kernel", func(s *api.Snapshot) { s.Status.Kernel = api.Kernel{Release: "6.1.2", BelowMinimum: true} }, "kernel-too-old: kernel 6.1.2 has known faults in L2TP and PPP"},
		{"old core, all mended", func(s *api.Snapshot) { s.Status.Kernel = api.Kernel{Release: "6.1.190"} }, ""},
		{"waiting to redial", unreachable, "peer-unreachable: peers of calls cannot be reached: branch"},
		{"dialling", call(func(c *api.Call) { c.State, c.NextRedial = api.CallDialling, time.Time{} }), "peer-unreachable: peers of calls cannot be reached: branch"},
		{"waiting for a packet", call(func(c *api.Call) { c.NextRedial = time.Time{} }), ""},
		{"not wanted", call(func(c *api.Call) { c.State = api.CallIdle }), ""},
		{"refused by the peer", call(func(c *api.Call) { c.LastError = &api.CallError{Stage: "tunnel"} }), ""},
		{"dialled for the first time", call(func(c *api.Call) { c.LastError = nil }), ""},
		{"LNS left alone", func(s *api.Snapshot) { s.Status.LNS[0].LockedUntil = start }, "lns-not-serving: LNSs do not serve: 192.0.2.1:1701"},
		{"one server dead", dead(0), ""},
		{"all login servers dead", dead(0, 1), "radius-dead: no RADIUS server answers: logins"},
		{"all servers dead", dead(0, 1, 2), "radius-dead: no RADIUS server answers: logins, accounting"},
		{"no servers", func(s *api.Snapshot) { s.Status.RADIUS = nil }, ""},
		{"pool", func(s *api.Snapshot) { s.Status.Pools[0].Used = 99 }, "pool-nearly-empty: pools are nearly empty: ips (1 of 100 free)"},
		{
			"clear text", func(s *api.Snapshot) {
				s.Status.ClearText = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.7:1701")}
			},
			"clear-text-peer: passwords go in clear (PAP) through tunnels without a secret, with peers: 192.0.2.7:1701",
		},
	} {
		x := &script{t: t}
		x.pass(100, c.change)
		got := ""
		for _, r := range x.tr.Raised() {
			got += r.Name + ": " + r.Message
			raised[r.Name] = true
			if r.Advice == "" || strings.HasSuffix(r.Advice, ".") || strings.HasSuffix(r.Message, ".") {
				t.Errorf("%s: %+v", c.what, r)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	for _, name := range Names() {
		if !raised[name] {
			t.Errorf("%s is never raised", name)
		}
	}
}

// What explains a condition is judged before it.
func TestConditionsAreInTheOrderOfTheirCauses(t *testing.T) {
	t.Parallel()
	names := Names()
	for i, c := range table() {
		if c.unless != "" && !slices.Contains(names[:i], c.unless) {
			t.Errorf("%s comes before %q, which explains it", c.name, c.unless)
		}
		if slices.Contains(names[:i], c.name) {
			t.Errorf("%s is there twice", c.name)
		}
	}
}
