package metrics

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// Source gives the Snapshots that are shown.
type Source interface {
	Snapshot(ctx context.Context, q api.Query) (*api.Snapshot, error)
}

// Config configures a Handler.
type Config struct {
	Source  Source
	Log     *slog.Logger  // nil: none
	Timeout time.Duration // of one scrape; 0 means 10 s
}

// query is what the table looks at. Stats costs a question to the kernel for each session: Handler lets one scrape at a time ask.
func query() api.Query { return api.Query{Status: true, Calls: true, Stats: true, Load: true} }

// Handler answers scrapes, one after the other.
type Handler struct {
	cfg  Config
	rows []row
	turn chan struct{} // holds the one that scrapes
}

// NewHandler returns a Handler.
func NewHandler(cfg Config) *Handler {
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Handler{cfg: cfg, rows: rows(), turn: make(chan struct{}, 1)}
}

// ServeHTTP implements http.Handler: one Snapshot as Prometheus text, or in the format that the client asks for. Without one the
// answer is 503.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.Timeout)
	defer cancel()
	snap, err := h.snapshot(ctx)
	if err != nil {
		h.cfg.Log.WarnContext(ctx, "metrics: no answer to a scrape", slog.String("event", "metrics"), slog.Any("error", err))
		http.Error(w, "no metrics: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(&collector{rows: h.rows, snap: snap}) // alone in it: nothing that it could collide with
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(h.cfg.Log.Handler(), slog.LevelWarn), DisableCompression: true,
	}).ServeHTTP(w, r)
}

func (h *Handler) snapshot(ctx context.Context) (*api.Snapshot, error) {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	snap, err := h.cfg.Source.Snapshot(ctx, query())
	if err == nil && snap.Status == nil {
		err = errors.New("the daemon tells nothing of itself")
	}
	return snap, err
}

// row is a metric with its description.
type row struct {
	metric
	desc *prometheus.Desc
}

func rows() []row {
	var all []row
	for _, m := range table() {
		all = append(all, row{m, prometheus.NewDesc(m.name, m.help, m.labels, nil)})
	}
	return all
}

// collector shows one Snapshot.
type collector struct {
	rows []row
	snap *api.Snapshot
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, r := range c.rows {
		ch <- r.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, r := range c.rows {
		r.collect(c.snap, ch)
	}
}

// series are the values of one combination of labels.
type series struct {
	labels []string
	value  float64
}

func (r *row) collect(snap *api.Snapshot, ch chan<- prometheus.Metric) {
	if r.kind == histogram {
		r.times(snap, func(h *api.Histogram, labels ...string) { ch <- r.histogram(h, labels) })
		return
	}
	all := map[string]*series{}
	r.values(snap, func(v float64, labels ...string) {
		for i := range labels {
			labels[i] = strings.ToValidUTF8(labels[i], "\uFFFD")
		}
		key := strings.Join(labels, "\x00")
		if all[key] == nil {
			all[key] = &series{labels: labels}
		}
		all[key].value += v
	})
	typ := prometheus.CounterValue
	if r.kind == gauge {
		typ = prometheus.GaugeValue
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		m, err := prometheus.NewConstMetric(r.desc, typ, all[key].value, all[key].labels...)
		if err != nil {
			m = prometheus.NewInvalidMetric(r.desc, err)
		}
		ch <- m
	}
}

// histogram makes a metric of times. Prometheus counts all that are below a bound.
func (r *row) histogram(h *api.Histogram, labels []string) prometheus.Metric {
	bounds, n := map[float64]uint64{}, uint64(0)
	for i, b := range api.LoadBounds() {
		n += h.Counts[i]
		bounds[b] = n
	}
	m, err := prometheus.NewConstHistogram(r.desc, n+h.Counts[len(h.Counts)-1], h.Sum, bounds, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(r.desc, err)
	}
	return m
}
