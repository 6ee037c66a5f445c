package api_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/api/apitest"
)

// withTables is picture with what the tables have.
func withTables() api.Snapshot {
	s := picture()
	s.Accept = []api.AcceptEntry{{From: "any", Template: "dialin"}}
	s.Rules = []api.LACRule{{Match: "all", Action: "local"}}
	s.Pools = []api.AddressPool{{Name: "a", Leases: []api.Lease{{Pool: "a", Value: "10.0.0.1"}}}, {Name: "b", Leases: []api.Lease{}}}
	s.Peers = []api.Peer{{Address: netip.MustParseAddr("192.0.2.1")}, {Address: netip.MustParseAddr("192.0.2.2")}}
	s.Settings = []api.Setting{{Path: "server.mode"}, {Path: "server.checksum", Changed: true}}
	s.Status.RADIUS = &api.RADIUS{Servers: []api.RADIUSServer{{Name: "r"}}}
	return s
}

// must returns a snapshot, or fails the test.
func must(t *testing.T) func(*api.Snapshot, error) *api.Snapshot {
	t.Helper()
	return func(s *api.Snapshot, err error) *api.Snapshot {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestEveryTableIsRead(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, apitest.New(withTables()))
	ctx, get := t.Context(), must(t)
	if s := get(c.Accept(ctx)); len(s.Accept) != 1 || s.APIVersion != "v1" || s.Rules != nil || s.Tunnels != nil {
		t.Errorf("%+v", s)
	}
	if s := get(c.Rules(ctx)); len(s.Rules) != 1 {
		t.Errorf("%+v", s)
	}
	if s := get(c.Pools(ctx, "")); len(s.Pools) != 2 || s.Pools[0].Leases != nil {
		t.Errorf("%+v", s)
	}
	if s := get(c.Pools(ctx, "a")); len(s.Pools) != 1 || len(s.Pools[0].Leases) != 1 {
		t.Errorf("%+v", s)
	}
	if s := get(c.Peers(ctx, "")); len(s.Peers) != 2 {
		t.Errorf("%+v", s)
	}
	if s := get(c.Peers(ctx, "::ffff:192.0.2.2")); len(s.Peers) != 1 || s.Peers[0].Address != netip.MustParseAddr("192.0.2.2") {
		t.Errorf("%+v", s)
	}
	if s := get(c.RADIUS(ctx)); len(s.RADIUS.Servers) != 1 || s.Status != nil {
		t.Errorf("%+v", s)
	}
	if s := get(c.Settings(ctx, false)); len(s.Settings) != 2 {
		t.Errorf("%+v", s)
	}
	if s := get(c.Settings(ctx, true)); len(s.Settings) != 1 || s.Settings[0].Path != "server.checksum" {
		t.Errorf("%+v", s)
	}
	_, err := c.Pools(ctx, "A")
	if no := refused(t, err, api.CodeNotFound); len(no.Nearest) == 0 || !strings.Contains(no.Hint, "pool list") {
		t.Errorf("%+v", no)
	}
	_, err = c.Peers(ctx, "192.0.2.3")
	if no := refused(t, err, api.CodeNotFound); len(no.Nearest) != 2 {
		t.Errorf("%+v", no)
	}
	_, err = c.Peers(ctx, "lns1")
	refused(t, err, api.CodeInvalid)
}

// A reset is a baseline: who asks for what came since gets that, and everybody else what he got before.
func TestCountersAreNotResetForOthers(t *testing.T) {
	t.Parallel()
	b := apitest.New(picture())
	count := func(n uint64) {
		b.Change(func(s *api.Snapshot) {
			s.Status.Counters = api.Counters{
				InMessages: n, Data: api.DataTraffic{InOctets: 10 * n, InErrors: 3}, SessionEnds: map[string]uint64{"idle": n, "peer": 2},
			}
			s.TakenAt = s.TakenAt.Add(1)
		})
	}
	c, _ := serve(t, b)
	ctx, get := t.Context(), must(t)
	_, err := c.Counters(ctx, true)
	if no := refused(t, err, api.CodeConflict); !strings.Contains(no.Hint, "counters reset") {
		t.Errorf("%+v", no)
	}
	count(5)
	if _, err := c.Act(ctx, api.Request{Verb: api.VerbCountersReset}); err != nil {
		t.Fatal(err)
	}
	at := get(c.Counters(ctx, true)).Since
	count(9)
	since, all := get(c.Counters(ctx, true)), get(c.Counters(ctx, false))
	want := api.Counters{InMessages: 4, Data: api.DataTraffic{InOctets: 40}, SessionEnds: map[string]uint64{"idle": 4}}
	if d := cmp.Diff(want, *since.Counters); d != "" || !since.Since.Equal(at) {
		t.Errorf("since the reset at %v (-want +got):\n%s", since.Since, d)
	}
	if all.Counters.InMessages != 9 || get(c.Status(ctx)).Status.Counters.InMessages != 9 {
		t.Errorf("the daemon's own count went back: %+v", all.Counters)
	}
	count(1) // the kernel could not be asked
	if got := get(c.Counters(ctx, true)).Counters; got.InMessages != 0 || got.Data.InOctets != 0 {
		t.Errorf("counted below nothing: %+v", got)
	}
	if len(b.Actions()) != 0 {
		t.Errorf("the backend was bothered: %+v", b.Actions())
	}
}
