package metrics

import (
	"slices"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/health"
)

// kind is what a metric's value does.
type kind uint8

const (
	counter kind = iota // only grows
	gauge
	histogram
)

// put gives one value of a metric, with the values of its labels in their order. Values of the same labels are added.
type put func(value float64, labels ...string)

// putTimes does so for a histogram. There may be only one of the same labels.
type putTimes func(h *api.Histogram, labels ...string)

// metric is one row of the table, with times if it is a histogram, else with values. They are called only with a Snapshot that has a
// Status.
type metric struct {
	name   string
	kind   kind
	help   string
	labels []string
	rows   string // S-rows that it shows
	values func(s *api.Snapshot, put put)
	times  func(s *api.Snapshot, put putTimes)
}

// of makes values out of a single one.
func of[N int | uint64](get func(*api.Status) N) func(*api.Snapshot, put) {
	return func(s *api.Snapshot, put put) { put(float64(get(s.Status))) }
}

// inOut makes values out of a pair by direction.
func inOut[N int | uint64](get func(*api.Status) (in, out N)) func(*api.Snapshot, put) {
	return func(s *api.Snapshot, put put) {
		in, out := get(s.Status)
		put(float64(in), "in")
		put(float64(out), "out")
	}
}

// truth is 1 for true.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds is an instant as Prometheus has it; 0 for none.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

var direction = []string{"direction"}

// table is every metric. It is made anew on each call: nobody shares it.
func table() []metric {
	var all []metric
	for _, part := range [][]metric{daemonMetrics(), protocolMetrics(), callMetrics(), loadMetrics(), subscriberMetrics(), radiusMetrics()} {
		all = append(all, part...)
	}
	return all
}

func daemonMetrics() []metric {
	return []metric{
		{
			name: "l2tp_info", kind: gauge, help: "Always 1; version of the daemon and the roles that it plays.", labels: []string{"version", "mode"}, rows: "S109",
			values: func(s *api.Snapshot, put put) { put(1, s.Status.Version, s.Status.Mode) },
		},
		{
			name: "l2tp_kernel_info", kind: gauge, help: "Always 1; release of the kernel and its L2TP core: new (Linux 6.11 and later), old, or none.",
			labels: []string{"release", "core"},
			values: func(s *api.Snapshot, put put) {
				core := "old"
				switch k := s.Status.Kernel; {
				case k.Release == "":
					core = "none"
				case k.NewCore:
					core = "new"
				}
				put(1, s.Status.Kernel.Release, core)
			},
		},
		{
			name: "l2tp_state", kind: gauge, help: "1 for the state that the daemon is in.", labels: []string{"state"}, rows: "S108",
			values: func(s *api.Snapshot, put put) {
				for _, x := range []api.State{api.StateStarting, api.StateRunning, api.StateStopping} {
					put(truth(x == s.Status.State), string(x))
				}
			},
		},
		{
			name: "l2tp_start_time_seconds", kind: gauge, help: "When the daemon started.",
			values: func(s *api.Snapshot, put put) { put(seconds(s.Status.StartedAt)) },
		},
		{
			name: "l2tp_config_loaded_timestamp_seconds", kind: gauge, help: "When the daemon took its configuration.",
			values: func(s *api.Snapshot, put put) { put(seconds(s.Status.ConfigLoaded)) },
		},
		{
			name: "l2tp_problems", kind: gauge, help: "Things that keep the daemon from doing all that it is configured to do; l2tpctl status names them.",
			values: of(func(s *api.Status) int { return len(s.Problems) }),
		},
		{
			name: "l2tp_health_condition", kind: gauge, help: "1 for a condition that is raised; l2tpctl status says what it means.", labels: []string{"name"},
			values: func(s *api.Snapshot, put put) {
				for _, name := range health.Names() {
					put(truth(slices.ContainsFunc(s.Status.Health, func(c api.Condition) bool { return c.Name == name })), name)
				}
			},
		},
		{
			name: "l2tp_goroutines", kind: gauge, help: "Goroutines of the daemon.",
			values: of(func(s *api.Status) int { return s.Process.Goroutines }),
		},
		{
			name: "l2tp_heap_bytes", kind: gauge, help: "Heap in use, as the latest garbage collection found it.",
			values: of(func(s *api.Status) uint64 { return s.Process.HeapOctets }),
		},
		{
			name: "l2tp_memory_bytes", kind: gauge, help: "All memory that the daemon's runtime has of the kernel.",
			values: of(func(s *api.Status) uint64 { return s.Process.TotalOctets }),
		},
	}
}

func callMetrics() []metric {
	call := func(get func(c *api.Call, put put)) func(*api.Snapshot, put) {
		return func(s *api.Snapshot, put put) {
			for i := range s.Calls {
				get(&s.Calls[i], put)
			}
		}
	}
	return []metric{
		{
			name: "l2tp_calls", kind: gauge, help: "Configured calls by whether they are up.", labels: []string{"state"},
			values: func(s *api.Snapshot, put put) {
				put(float64(s.Status.Calls.Up), "up")
				put(float64(s.Status.Calls.Down), "down")
			},
		},
		{
			name: "l2tp_call_up", kind: gauge, help: "1 for a configured call that is up.", labels: []string{"call"},
			values: call(func(c *api.Call, put put) { put(truth(c.State == api.CallUp), c.Name) }),
		},
		{
			name: "l2tp_call_attempts_total", kind: counter, help: "Set-ups of a configured call: out where we dialled, in where the peer called.",
			labels: []string{"call", "direction"},
			values: call(func(c *api.Call, put put) {
				put(float64(c.Attempts.In), c.Name, "in")
				put(float64(c.Attempts.Out), c.Name, "out")
			}),
		},
		{
			name: "l2tp_call_results_total", kind: counter, help: "What became of the set-ups of a configured call.", labels: []string{"call", "result"},
			values: call(func(c *api.Call, put put) {
				put(float64(c.Attempts.Succeeded), c.Name, "succeeded")
				put(float64(c.Attempts.Failed), c.Name, "failed")
			}),
		},
	}
}
