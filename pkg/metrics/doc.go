// Package metrics shows a Snapshot of the daemon as Prometheus metrics. It keeps no numbers of its own: a scrape takes one Snapshot, and the
// table of all metrics says where in it each value is. Labels are bounded: no metric is labelled by a tunnel, session, user or
// arbitrary peer.
package metrics
