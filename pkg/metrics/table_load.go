package metrics

import (
	"strconv"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// loadMetrics are of the daemon's own loops and workers, and of pools.
func loadMetrics() []metric {
	loops := func(get func(l *api.Loop) *api.Histogram) func(*api.Snapshot, putTimes) {
		return func(s *api.Snapshot, put putTimes) {
			if s.Load == nil {
				return
			}
			for i := range s.Load.Loops {
				put(get(&s.Load.Loops[i]), strconv.Itoa(i))
			}
		}
	}
	executors := func(get func(x *api.Executor) int) func(*api.Snapshot, put) {
		return func(s *api.Snapshot, put put) {
			if s.Load == nil {
				return
			}
			for i := range s.Load.Executors {
				put(float64(get(&s.Load.Executors[i])), s.Load.Executors[i].Name)
			}
		}
	}
	pools := func(get func(p api.Pool) uint64) func(*api.Snapshot, put) {
		return func(s *api.Snapshot, put put) {
			for _, p := range s.Status.Pools {
				put(float64(get(p)), p.Name)
			}
		}
	}
	return []metric{
		{
			name: "l2tp_pool_used", kind: gauge, help: "Addresses or prefixes of a pool that are in use, or kept for somebody.", labels: []string{"pool"},
			values: pools(func(p api.Pool) uint64 { return p.Used }),
		},
		{
			name: "l2tp_pool_size", kind: gauge, help: "Addresses or prefixes of a pool.", labels: []string{"pool"},
			values: pools(func(p api.Pool) uint64 { return p.Size }),
		},
		{
			name: "l2tp_loop_messages_total", kind: counter, help: "Messages that a loop of the daemon has worked on.", labels: []string{"shard"},
			values: func(s *api.Snapshot, put put) {
				if s.Load == nil {
					return
				}
				for i, l := range s.Load.Loops {
					put(float64(l.Messages), strconv.Itoa(i))
				}
			},
		},
		{
			name: "l2tp_loop_wait_seconds", kind: histogram, labels: []string{"shard"},
			help:  "Time for which messages waited for a loop; in each turn, that of the one that waited longest.",
			times: loops(func(l *api.Loop) *api.Histogram { return &l.Wait }),
		},
		{
			name: "l2tp_loop_run_seconds", kind: histogram, help: "Time that a turn of a loop took.", labels: []string{"shard"},
			times: loops(func(l *api.Loop) *api.Histogram { return &l.Run }),
		},
		{
			name: "l2tp_executor_queued", kind: gauge, help: "Work that waits for a worker: kernel and network, name lookups, or RADIUS.", labels: []string{"executor"},
			values: executors(func(x *api.Executor) int { return x.Queued }),
		},
		{
			name: "l2tp_executor_working", kind: gauge, help: "Workers that are at work.", labels: []string{"executor"},
			values: executors(func(x *api.Executor) int { return x.Working }),
		},
		{
			name: "l2tp_executor_limit", kind: gauge, help: "Most workers that may be at work.", labels: []string{"executor"},
			values: executors(func(x *api.Executor) int { return x.Limit }),
		},
	}
}
