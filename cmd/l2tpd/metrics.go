package main

import (
	"log/slog"

	"github.com/l2tpd/l2tpd/pkg/metrics"
)

// listenMetrics opens the TCP addresses for Prometheus. What cannot be opened is logged and is a problem for status.
func (d *daemon) listenMetrics() (*metrics.Server, []string) {
	var problems []string
	s, err := metrics.Listen(d.conf.Metrics.Listen, d.metrics, d.log)
	if err != nil {
		d.log.Error("not all addresses serve metrics: mend this and restart l2tpd", slog.String("why", err.Error()))
		problems = append(problems, err.Error())
	}
	for _, a := range s.Addrs() {
		d.log.Info("serving metrics", slog.Any("address", a))
	}
	return s, problems
}
