package metrics

import "github.com/l2tpd/l2tpd/pkg/api"

func radiusMetrics() []metric { return append(serverMetrics(), recordMetrics()...) }

func serverMetrics() []metric {
	serving := []string{"server", "purpose"}
	one := func(get func(*api.RADIUSServer) float64) func(*api.Snapshot, put) {
		return func(s *api.Snapshot, put put) {
			if s.Status.RADIUS == nil {
				return
			}
			for i := range s.Status.RADIUS.Servers {
				x := &s.Status.RADIUS.Servers[i]
				put(get(x), x.Name, x.Purpose)
			}
		}
	}
	return []metric{
		{
			name: "l2tp_radius_requests_total", kind: counter, help: "Requests to a RADIUS server, retransmissions included.", labels: serving,
			values: one(func(x *api.RADIUSServer) float64 { return float64(x.Requests) }),
		},
		{
			name: "l2tp_radius_retransmits_total", kind: counter, help: "Requests to a RADIUS server that were sent again.", labels: serving,
			values: one(func(x *api.RADIUSServer) float64 { return float64(x.Retransmits) }),
		},
		{
			name: "l2tp_radius_answers_total", kind: counter, help: "Answers of a RADIUS server that could be believed.", labels: serving,
			values: one(func(x *api.RADIUSServer) float64 { return float64(x.Answers) }),
		},
		{
			name: "l2tp_radius_logins_total", kind: counter, help: "What a RADIUS server said of logins.", labels: []string{"server", "result"},
			values: func(s *api.Snapshot, put put) {
				if s.Status.RADIUS == nil {
					return
				}
				for _, x := range s.Status.RADIUS.Servers {
					if x.Purpose == api.RADIUSLogins {
						put(float64(x.Accepts), x.Name, "accept")
						put(float64(x.Rejects), x.Name, "reject")
					}
				}
			},
		},
		{
			name: "l2tp_radius_timeouts_total", kind: counter, help: "Requests to a RADIUS server that were given up.", labels: serving,
			values: one(func(x *api.RADIUSServer) float64 { return float64(x.Timeouts) }),
		},
		{
			name: "l2tp_radius_bad_answers_total", kind: counter, labels: []string{"server", "purpose", "reason"},
			help: "Answers of a RADIUS server that could not be believed: made with another secret, unsigned where a signature is demanded, or malformed.",
			values: func(s *api.Snapshot, put put) {
				if s.Status.RADIUS == nil {
					return
				}
				for _, x := range s.Status.RADIUS.Servers {
					put(float64(x.BadAuthenticators), x.Name, x.Purpose, "secret")
					put(float64(x.Unsigned), x.Name, x.Purpose, "unsigned")
					put(float64(x.Malformed), x.Name, x.Purpose, "malformed")
				}
			},
		},
		{
			name: "l2tp_radius_outstanding", kind: gauge, help: "Requests that wait for the answer of a RADIUS server.", labels: serving,
			values: one(func(x *api.RADIUSServer) float64 { return float64(x.Outstanding) }),
		},
		{
			name: "l2tp_radius_round_trip_seconds", kind: gauge, help: "Time that a RADIUS server takes to answer.", labels: serving,
			values: one(func(x *api.RADIUSServer) float64 { return float64(x.RTT) / 1000 }),
		},
		{
			name: "l2tp_radius_dead", kind: gauge, help: "1 for a RADIUS server that does not answer.", labels: serving,
			values: one(func(x *api.RADIUSServer) float64 { return truth(!x.DeadSince.IsZero()) }),
		},
	}
}

func recordMetrics() []metric {
	records := func(get func(*api.RADIUSRecords, put)) func(*api.Snapshot, put) {
		return func(s *api.Snapshot, put put) {
			if s.Status.RADIUS != nil {
				get(&s.Status.RADIUS.Records, put)
			}
		}
	}
	return []metric{
		{
			name: "l2tp_radius_records_total", kind: counter, labels: []string{"result"},
			help: "Accounting records: delivered, superseded by a later one, or lost for want of room.",
			values: records(func(r *api.RADIUSRecords, put put) {
				put(float64(r.Delivered), "delivered")
				put(float64(r.Superseded), "superseded")
				put(float64(r.Lost), "lost")
			}),
		},
		{
			name: "l2tp_radius_records_queued", kind: gauge, help: "Accounting records that no server has taken yet.",
			values: records(func(r *api.RADIUSRecords, put put) { put(float64(r.Queued)) }),
		},
		{
			name: "l2tp_radius_records_spooled", kind: gauge, help: "Accounting records on disk.",
			values: records(func(r *api.RADIUSRecords, put put) { put(float64(r.Spooled)) }),
		},
		{
			name: "l2tp_radius_oldest_record_timestamp_seconds", kind: gauge, help: "When the oldest accounting record that still waits was made; 0: none waits.",
			values: records(func(r *api.RADIUSRecords, put put) { put(seconds(r.Oldest)) }),
		},
		{
			name: "l2tp_radius_disk_errors_total", kind: counter, help: "Accounting records that could not be written to or read from disk.",
			values: records(func(r *api.RADIUSRecords, put put) { put(float64(r.DiskErrors)) }),
		},
	}
}
