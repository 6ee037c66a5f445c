package engine

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// tables adds the configured tables that a query asks for, with what has come of them.
func (e *Engine) tables(q api.Query, parts []part, snap *api.Snapshot) {
	p := e.policy.Load()
	if q.Accept {
		snap.Accept = e.acceptTable(p)
	}
	if q.Rules {
		snap.Rules = e.ruleTable(p)
	}
	if !q.Pools {
		return
	}
	snap.Pools = append([]api.AddressPool{}, parts[0].poolRows...)
	if !q.Leases {
		return
	}
	var leases []api.Lease
	for i := range parts {
		leases = append(leases, parts[i].leases...)
	}
	slices.SortFunc(leases, func(a, b api.Lease) int {
		return cmp.Or(cmp.Compare(a.Value, b.Value), cmp.Compare(a.Session, b.Session))
	})
	for i := range snap.Pools {
		x := &snap.Pools[i]
		x.Leases = []api.Lease{}
		for _, l := range leases {
			if l.Pool == x.Name {
				x.Leases = append(x.Leases, l)
			}
		}
	}
}

// acceptTable is the LNS's accept table (S130), in the order of the file.
func (e *Engine) acceptTable(p *policy.Policy) []api.AcceptEntry {
	all := make([]api.AcceptEntry, 0, len(p.Accept))
	for i := range p.Accept {
		a := &p.Accept[i]
		v := api.AcceptEntry{
			From: a.From.String(), HostName: a.HostName, Template: a.Template, Sequencing: a.Sequencing.String(), PRE13: a.PRE13,
			IgnoreWindow13: a.IgnoreWindow13, ProxyLCP: a.ProxyLCP.String(), ProxyAuth: a.ProxyAuth.String(),
			MaxTunnels: a.MaxTunnels, MaxHalfOpen: a.MaxHalfOpen, MaxSessions: a.MaxSessions,
		}
		v.Tunnels, v.TunnelsBegun = e.tunnels.of(a)
		v.HalfOpen, _ = e.halfOpen.of(a)
		v.Sessions, v.SessionsBegun = e.sessions.of(a)
		all = append(all, v)
	}
	return all
}

// ruleKey is what a rule of the LAC is known by: there is one for each realm, and one for each word.
func ruleKey(r *policy.Rule) string { return r.Match.String() + " " + r.Realm }

// ruleTable is the LAC's table (S131), in the order of the file.
func (e *Engine) ruleTable(p *policy.Policy) []api.LACRule {
	hits := e.counts.hits.all()
	all := make([]api.LACRule, 0, len(p.LAC.Rules))
	for i := range p.LAC.Rules {
		r := &p.LAC.Rules[i]
		v := api.LACRule{
			Match: r.Match.String(), Realm: r.Realm, Action: r.Action.String(), Prefix: r.Prefix, Template: r.Template, Secret: !r.Secret.Empty(),
			StripRealm: r.StripRealm, ProxyAuth: !r.NoProxyAuth, Sequencing: r.Sequencing.String(), PRE13: r.PRE13, IgnoreWindow13: r.IgnoreWindow13,
			Assignment: r.Assignment, TunnelSessions: r.TunnelSessions, Withhold: r.Withhold, HideAVPs: r.HideAVPs, HostName: r.HostName,
			LocalAddress: r.LocalAddr, RTOCap: retransmitCap(r.Tunnel, p.Server.Tunnel).Milliseconds(), Hits: hits[ruleKey(r)],
		}
		if r.Action == policy.ActionTunnel {
			v.Balance = r.Balance.String()
		}
		if r.Action == policy.ActionRADIUS {
			v.RADIUSUser = r.RADIUSUser.String()
		}
		for _, n := range r.LNS {
			v.LNS = append(v.LNS, api.RuleLNS{
				Address: n.Address, Port: cmp.Or(n.Port, policy.DefaultPort), Preference: n.Preference, Weight: cmp.Or(n.Weight, 1),
				Secret: !n.Secret.Empty(), MaxSessions: n.MaxSessions, Withhold: n.Withhold, HideAVPs: n.HideAVPs,
			})
		}
		all = append(all, v)
	}
	return all
}

// poolTable is what one shard knows of the pools: shard 0 what is free of them, every one what its sessions have.
func (s *shard) poolTable(q api.Query) (pools []api.AddressPool, leases []api.Lease) {
	if q.Pools && s.pools != nil {
		pools = s.pools.table(s.e.policy.Load())
	}
	if !q.Pools || !q.Leases {
		return pools, nil
	}
	for x := range s.sessions() {
		l := api.Lease{Session: x.name()}
		if x.call != nil {
			l.User = x.call.View().User
		}
		if x.pooled.IsValid() {
			l.Pool, l.Value = x.pooledFrom.Name, x.pooled.String()
			leases = append(leases, l)
		}
		for _, p := range x.lent {
			if p.pool != "" {
				l.Pool, l.Value = p.pool, p.prefix.String()
				leases = append(leases, l)
			}
		}
	}
	return pools, leases
}

// table is all configured pools, by name.
func (x *pools) table(p *policy.Policy) (all []api.AddressPool) {
	for _, name := range slices.Sorted(maps.Keys(p.Pools)) {
		conf := x.look(p, p.Pools[name])
		v := api.AddressPool{Name: conf.Name, PrefixLength: conf.Length}
		for _, r := range conf.Ranges {
			v.Ranges = append(v.Ranges, r.String())
		}
		for _, within := range conf.Prefixes {
			v.Prefixes = append(v.Prefixes, within.String())
		}
		for _, t := range p.Templates {
			if slices.ContainsFunc([]string{t.IPv4Pool, t.IPv6Pool, t.DelegatedPool}, func(of string) bool { return strings.EqualFold(of, name) }) {
				v.Templates = append(v.Templates, t.Name)
			}
		}
		slices.Sort(v.Templates)
		v.Used, v.Size = x.usage(conf)
		all = append(all, v)
	}
	return all
}
