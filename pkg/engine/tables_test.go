package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// table asks for tables.
func (b *box) table(q api.Query) *api.Snapshot {
	b.t.Helper()
	s, err := b.e.Snapshot(context.Background(), q)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// S130, S161: what the accept table has let in, what a pool has given to whom, and what is known of a peer, while calls are up and after.
func TestTablesCountWhatIsThere(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, "2.2.2.2", changed(lasting(), func(p *policy.Policy) {
			p.Accept[0].MaxSessions, p.Accept[0].PRE13 = 9, true
			p.Pools["spare"] = &policy.Pool{Name: "spare", Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8::/56")}, Length: 64}
			p.Users["fixed"] = &policy.User{Name: "fixed", IPv4: p.Pools["ips"].Ranges[0].To}
		}), true)
		a := n.start(t, "1.1.1.1", changed(initiators(1), func(p *policy.Policy) {
			p.Calls["bad"] = &policy.Call{Name: "bad", Peer: "3.3.3.3", RedialMin: time.Hour, RedialMax: time.Hour, AutoStart: true, PPP: policy.CallPPP{Template: "lan"}}
		}), true)
		defer b.stop()
		defer a.stop()
		a.up("c0", time.Minute)
		s := b.table(api.Query{Accept: true, Pools: true, Leases: true})
		want := []api.AcceptEntry{{
			From: "any", Template: "dialin", Sequencing: "on-request", PRE13: true, ProxyLCP: "mismatch", ProxyAuth: "accept", MaxSessions: 9,
			Tunnels: 1, Sessions: 1, TunnelsBegun: 1, SessionsBegun: 1,
		}}
		if d := cmp.Diff(want, s.Accept); d != "" {
			t.Errorf("accept (-want +got):\n%s", d)
		}
		if s.Tunnels != nil || s.Rules != nil || s.Peers != nil || len(s.Pools) != 2 {
			t.Fatalf("%+v", s)
		}
		name := b.look().Sessions[0]
		lease := api.Lease{Pool: "ips", Value: name.PeerIPv4.String(), Session: fmt.Sprintf("%d/%d", name.TunnelID, name.ID), User: "RouterA"}
		if p := s.Pools[0]; p.Used != 2 || p.Size != 2 || !slices.Equal(p.Templates, []string{"dialin"}) || !slices.Equal(p.Leases, []api.Lease{lease}) {
			t.Errorf("%+v, want the lease %+v, and one kept for a user", p, lease)
		}
		if p := s.Pools[1]; p.Used != 0 || p.Size != 256 || p.PrefixLength != 64 || len(p.Leases) != 0 {
			t.Errorf("%+v", p)
		}
		a.act(api.Action{Verb: api.VerbCallDown, Call: "c0"})
		b.until("no session", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
		synctest.Wait()
		s = b.table(api.Query{Accept: true, Pools: true})
		if e := s.Accept[0]; e.Sessions != 0 || e.SessionsBegun != 1 {
			t.Errorf("after the call: %+v", e)
		}
		if p := s.Pools[0]; p.Used != 1 || p.Leases != nil {
			t.Errorf("after the call: %+v", p)
		}
		a.until("the other has failed", 5*time.Minute, func(s *api.Snapshot) bool { return s.Calls[0].LastError != nil })
		peers := a.table(api.Query{Peers: true}).Peers
		if len(peers) != 2 || peers[0].Address.String() != "2.2.2.2" || peers[1].Address.String() != "3.3.3.3" {
			t.Fatalf("%+v", peers)
		}
		if p := peers[0]; p.HostName != "b" && len(p.Tunnels) != 0 || !slices.Equal(p.Calls, []string{"c0"}) || p.Secret != api.SecretNone || p.Refused != "" {
			t.Errorf("%+v", p)
		}
		if p := peers[1]; p.LastError == nil || p.LastError.Of != "call bad" || !strings.HasPrefix(p.LastError.Text, "transport: ") {
			t.Errorf("%+v", p)
		}
		if p := b.table(api.Query{Peers: true}).Peers; len(p) > 0 && p[0].Secret != api.SecretSet {
			t.Errorf("%+v", p)
		}
	})
}

// S131: a rule shows its LNSs and how often it was followed; an LNS that did not serve is a peer that is left alone.
func TestRulesCountTheirHits(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox2, lnsPolicy(), true)
		defer b.stop()
		a := n.start(t, lacBox, changed(lacPolicy(lnsBox, lnsBox2), func(p *policy.Policy) {
			p.LAC.Rules = append(p.LAC.Rules, policy.Rule{Match: policy.MatchRealm, Realm: "other.example", Action: policy.ActionReject})
		}), true)
		defer a.stop()
		synctest.Wait()
		s := a.dsl.dialIn(t, client(a.e.policy.Load().Templates["access"].Auth...), nil)
		s.comesUp(time.Minute)
		rules := a.table(api.Query{Rules: true}).Rules
		if len(rules) != 2 || rules[0].Hits != 1 || rules[1].Hits != 0 || !rules[0].Secret || rules[1].Secret || rules[0].RTOCap != 8000 {
			t.Errorf("%+v", rules)
		}
		want := []api.RuleLNS{{Address: lnsBox, Port: 1701, Weight: 1}, {Address: lnsBox2, Port: 1701, Preference: 1, Weight: 1}}
		if d := cmp.Diff(want, rules[0].LNS); d != "" {
			t.Errorf("LNSs (-want +got):\n%s", d)
		}
		peers := a.table(api.Query{Peers: true}).Peers
		if len(peers) != 2 || peers[0].LockedUntil.IsZero() || !peers[0].LNS || peers[1].LNSSessions != 1 || len(peers[1].Tunnels) != 1 || peers[1].Sessions != 1 {
			t.Errorf("%+v", peers)
		}
		s.close()
		s.goes(time.Minute)
		a.empty(time.Minute)
	})
}
