package engine

import (
	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/auth/radius"
)

// radiusView is what is known of RADIUS servers; nil: there are none.
func (e *Engine) radiusView() *api.RADIUS {
	if e.cfg.RADIUS == nil {
		return nil
	}
	c, ok := e.cfg.RADIUS.Counters()
	if !ok {
		return nil
	}
	n := c.Records
	v := &api.RADIUS{Servers: []api.RADIUSServer{}, Records: api.RADIUSRecords{
		Delivered: n.Delivered, Superseded: n.Superseded, Lost: n.Lost, Queued: n.Queued, Spooled: n.Spooled, Oldest: n.Oldest, DiskErrors: n.DiskErrors,
	}}
	add := func(purpose string, all []radius.ServerCounters) {
		for _, s := range all {
			v.Servers = append(v.Servers, api.RADIUSServer{
				Name: s.Server, Purpose: purpose, Requests: s.Requests, Retransmits: s.Retransmissions, Answers: s.Answers, Accepts: s.Accepts,
				Rejects: s.Rejects, Timeouts: s.Timeouts, BadAuthenticators: s.BadAuthenticators, Unsigned: s.Unsigned, Malformed: s.Malformed,
				Outstanding: s.Outstanding, RTT: s.RoundTrip.Milliseconds(), DeadSince: s.DeadSince,
			})
		}
	}
	add(api.RADIUSLogins, c.Auth)
	add(api.RADIUSAccounting, c.Accounting)
	return v
}
