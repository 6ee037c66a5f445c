package engine

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// A past bug: sessions said CHAP-MD5 where the API promises, and the configuration says, chap.
func TestLoginMethodsHaveTheNamesOfTheConfiguration(t *testing.T) {
	t.Parallel()
	for m, want := range map[ppp.AuthMethod]string{ppp.AuthNone: "none", ppp.AuthPAP: "pap", ppp.AuthCHAPMD5: "chap"} {
		if got := authName(m); got != want {
			t.Errorf("%v is shown as %q, want %q", m, got, want)
		}
	}
}

// A long list holds a shard up for a few sessions at a time: what comes meanwhile has its turn in between. What has ended meanwhile is not
// in it.
func TestALongListIsMadeInManyTurns(t *testing.T) {
	const n = 300
	synctest.Test(t, func(t *testing.T) {
		withCallers(t, n, func() {}, func(x *callers) {
			q, ctx := api.Query{Sessions: true, Stats: true}, t.Context()
			before := x.e.load()
			snap, err := x.e.Snapshot(ctx, q)
			if err != nil || len(snap.Sessions) != n {
				t.Fatalf("%d sessions, want %d: %v", len(snap.Sessions), n, err)
			}
			turns := 0
			for i, l := range x.e.load().Loops {
				turns += int(l.Messages - before.Loops[i].Messages)
			}
			if want := len(x.e.shards) + (n+viewsAtOnce-1)/viewsAtOnce; turns != want {
				t.Errorf("the list took %d turns, want %d", turns, want)
			}
			listed := 0
			for _, s := range x.e.shards {
				var p part
				if err := s.in(ctx, func() { p = s.look(q) }); err != nil {
					t.Fatal(err)
				}
				if len(p.wanted) == 0 {
					continue
				}
				gone := p.wanted[n/2]
				entered := func(is bool) {
					if err := s.in(ctx, func() {
						delete(gone.t.sessions, gone.id)
						if is {
							gone.t.sessions[gone.id] = gone
						}
					}); err != nil {
						t.Fatal(err)
					}
				}
				entered(false)
				if err := s.views(ctx, q, &p); err != nil {
					t.Fatal(err)
				}
				entered(true)
				listed += len(p.sessions)
				if slices.ContainsFunc(p.sessions, func(v api.Session) bool { return v.ID == uint16(gone.id) }) || len(p.readings.sessions) != len(p.sessions) {
					t.Errorf("%d sessions, %d to be read, and one of them has gone", len(p.sessions), len(p.readings.sessions))
				}
			}
			if listed != n-1 {
				t.Errorf("%d sessions are listed, want %d", listed, n-1)
			}
		})
	})
}
