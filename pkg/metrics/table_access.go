package metrics

import "github.com/l2tpd/l2tpd/pkg/api"

// maxLNS bounds the LNSs that have series of their own: a RADIUS server may name any number. The others together are "other".
const maxLNS = 256

func subscriberMetrics() []metric {
	lns := func(get func(*api.LNS) float64) func(*api.Snapshot, put) {
		return func(s *api.Snapshot, put put) {
			for i := range s.Status.LNS {
				name := "other"
				if i < maxLNS {
					name = s.Status.LNS[i].Address.String()
				}
				put(get(&s.Status.LNS[i]), name)
			}
		}
	}
	return append([]metric{
		{
			name: "l2tp_subscribers_unrouted_total", kind: counter, help: "Subscribers' calls that no LNS took, or no rule let pass.",
			values: of(func(s *api.Status) uint64 { return s.Counters.Unrouted }),
		},
		{
			name: "l2tp_lns_sessions", kind: gauge, help: "Subscribers' sessions at an LNS.", labels: []string{"lns"},
			values: lns(func(n *api.LNS) float64 { return float64(n.Sessions) }),
		},
		{
			name: "l2tp_lns_locked", kind: gauge, help: "1 for an LNS that did not serve and is left alone.", labels: []string{"lns"},
			values: lns(func(n *api.LNS) float64 { return truth(!n.LockedUntil.IsZero()) }),
		},
		{
			name: "l2tp_access_sessions", kind: gauge, help: "Subscribers at an interface or device.", labels: []string{"access"},
			values: func(s *api.Snapshot, put put) {
				for _, a := range s.Status.Access {
					put(float64(a.Sessions), a.Name)
				}
			},
		},
	}, discoveryMetrics()...)
}

func discoveryMetrics() []metric {
	each := func(get func(name string, c *api.Discovery, put put)) func(*api.Snapshot, put) {
		return func(s *api.Snapshot, put put) {
			for _, a := range s.Status.Access {
				if a.PPPoE != nil {
					get(a.Name, a.PPPoE, put)
				}
			}
		}
	}
	return []metric{
		{
			name: "l2tp_pppoe_packets_total", kind: counter, help: "Packets of PPPoE discovery.", labels: []string{"access", "direction", "code"},
			values: each(func(name string, c *api.Discovery, put put) {
				for way, n := range map[string]*api.DiscoveryTraffic{"in": &c.In, "out": &c.Out} {
					put(float64(n.PADI), name, way, "PADI")
					put(float64(n.PADO), name, way, "PADO")
					put(float64(n.PADR), name, way, "PADR")
					put(float64(n.PADS), name, way, "PADS")
					put(float64(n.PADT), name, way, "PADT")
				}
			}),
		},
		{
			name: "l2tp_pppoe_requests_total", kind: counter, labels: []string{"access", "result"},
			help: "Sessions that PPPoE clients asked for: offered within all limits, repeated, or refused for their service, a limit or something else.",
			values: each(func(name string, c *api.Discovery, put put) {
				put(float64(c.Offered), name, "offered")
				put(float64(c.Repeated), name, "repeated")
				put(float64(c.RefusedService), name, "refused-service")
				put(float64(c.RefusedLimit), name, "refused-limit")
				put(float64(c.RefusedOther), name, "refused-other")
			}),
		},
		{
			name: "l2tp_pppoe_dropped_total", kind: counter, help: "Packets of PPPoE discovery that had no answer, by reason.", labels: []string{"access", "reason"},
			values: each(func(name string, c *api.Discovery, put put) {
				for reason, n := range c.Dropped {
					put(float64(n), name, reason)
				}
			}),
		},
		{
			name: "l2tp_pppoe_lost_total", kind: counter, labels: []string{"access", "reason"},
			help: "Packets of PPPoE discovery that the kernel did not take (unsent), or that found no room in the socket (overflowed).",
			values: each(func(name string, c *api.Discovery, put put) {
				put(float64(c.Unsent), name, "unsent")
				put(float64(c.Overflowed), name, "overflowed")
			}),
		},
		{
			name: "l2tp_pppoe_bad_lines_total", kind: counter, help: "Access-line tags that could not be read.", labels: []string{"access"},
			values: each(func(name string, c *api.Discovery, put put) { put(float64(c.BadLines), name) }),
		},
	}
}
