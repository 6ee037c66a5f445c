package metrics

import (
	"context"
	"errors"
	"flag"
	"hash/fnv"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/api/apitest"
	"github.com/l2tpd/l2tpd/pkg/health"
)

var update = flag.Bool("update", false, "write the golden files anew")

// number fills every number below v that is not set with one of its own, which depends on nothing but its place.
func number(v reflect.Value, place string) {
	h := fnv.New32()
	_, _ = io.WriteString(h, place)
	own := 1000 + uint64(h.Sum32())%1_000_000
	switch k := v.Kind(); {
	case k == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]() && v.Type() != reflect.TypeFor[netip.AddrPort]():
		for i := range v.NumField() {
			number(v.Field(i), place+"."+v.Type().Field(i).Name)
		}
	case k == reflect.Slice:
		for i := range v.Len() {
			number(v.Index(i), place+"."+strconv.Itoa(i))
		}
	case k == reflect.Pointer && !v.IsNil():
		number(v.Elem(), place)
	case k == reflect.Uint64 && v.Uint() == 0:
		v.SetUint(own)
	case (k == reflect.Int || k == reflect.Int64) && v.Int() == 0:
		v.SetInt(int64(own))
	}
}

// picture is a daemon with one of everything, and in each number another value.
func picture() api.Snapshot {
	at := time.Date(2026, 11, 20, 15, 4, 5, 0, time.UTC)
	s := api.Snapshot{
		TakenAt: at,
		Status: &api.Status{
			Version: "v0.1.0", State: api.StateRunning, StartedAt: at.Add(-time.Hour), ConfigLoaded: at.Add(-time.Minute), Mode: "both",
			Kernel: api.Kernel{Release: "6.12.110", NewCore: true}, Problems: []string{"one"},
			LNS: []api.LNS{{Address: netip.MustParseAddrPort("192.0.2.1:1701"), LockedUntil: at.Add(time.Minute)}, {Address: netip.MustParseAddrPort("[2001:db8::1]:1701")}},
			Access: []api.Access{
				{Name: "eth1.7", PPPoE: &api.Discovery{Dropped: map[string]uint64{"rate": 2001, "cookie": 2002}}}, {Name: "ttyUSB0"},
			},
			Health: []api.Condition{{Name: health.RADIUSDead}},
			Pools:  []api.Pool{{Name: "ips"}},
			RADIUS: &api.RADIUS{
				Servers: []api.RADIUSServer{
					{Name: "192.0.2.9", Purpose: api.RADIUSLogins, RTT: 4}, {Name: "192.0.2.9", Purpose: api.RADIUSAccounting, RTT: 5, DeadSince: at},
				},
				Records: api.RADIUSRecords{Oldest: at.Add(-time.Second)},
			},
			Counters: api.Counters{SessionEnds: map[string]uint64{"peer": 2003, "operator": 2004}},
		},
		Load: &api.Load{
			Loops: []api.Loop{
				{Wait: api.Histogram{Counts: []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, Sum: 1.5}, Run: api.Histogram{Counts: make([]uint64, 11)}},
			},
			Executors: []api.Executor{{Name: "kernel"}},
		},
		Calls: []api.Call{{Name: "backup", State: api.CallWaiting}, {Name: "branch", State: api.CallUp}},
	}
	number(reflect.ValueOf(s.Status), "Status")
	number(reflect.ValueOf(s.Calls), "Calls")
	number(reflect.ValueOf(s.Load.Executors), "Executors")
	return s
}

// scrape asks a Handler for the metrics of a picture.
func scrape(t *testing.T, s api.Snapshot) string {
	t.Helper()
	w := httptest.NewRecorder()
	NewHandler(Config{Source: apitest.New(s)}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestExposition(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]api.Snapshot{
		"full.prom": picture(), "empty.prom": {Status: &api.Status{State: api.StateStarting}},
	} {
		got := scrape(t, s)
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s: run go test ./pkg/metrics -update, and look at the difference:\n%s", name, d)
		}
	}
}

func TestNamesAreAsPrometheusWantsThem(t *testing.T) {
	t.Parallel()
	problems, err := promlint.New(strings.NewReader(scrape(t, picture()))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, m := range table() {
		if !strings.HasPrefix(m.name, "l2tp_") || !strings.HasSuffix(m.help, ".") {
			t.Errorf("%s: %s", m.name, m.help)
		}
	}
}

func TestAPedanticRegistryTakesEveryMetric(t *testing.T) {
	t.Parallel()
	s := picture()
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(&collector{rows: rows(), snap: &s}); err != nil {
		t.Fatal(err)
	}
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != len(table()) {
		t.Errorf("%d metrics of %d in the picture", len(all), len(table()))
	}
}

// Two servers of one name, or what else the daemon has twice, must not make the whole scrape fail.
func TestTheSameSeriesTwiceIsTheirSum(t *testing.T) {
	t.Parallel()
	s := picture()
	s.Status.Access = []api.Access{{Name: "eth1", Sessions: 3}, {Name: "eth1", Sessions: 4}, {Name: "a\xffb", Sessions: 1}}
	got := scrape(t, s)
	for _, want := range []string{"l2tp_access_sessions{access=\"eth1\"} 7\n", "l2tp_access_sessions{access=\"a\uFFFDb\"} 1\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s", want)
		}
	}
}

func TestSeriesOfLNSsAreBounded(t *testing.T) {
	t.Parallel()
	s := picture()
	s.Status.LNS = nil
	for i := range maxLNS + 10 {
		s.Status.LNS = append(s.Status.LNS, api.LNS{Address: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(1+i)), Sessions: 1})
	}
	got := scrape(t, s)
	if n := strings.Count(got, "\nl2tp_lns_sessions{"); n != maxLNS+1 || !strings.Contains(got, "l2tp_lns_sessions{lns=\"other\"} 10\n") {
		t.Errorf("%d series", n)
	}
}

// Labels whose values anybody on the network could choose would let him fill the memory of whoever scrapes.
func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	bounded := []string{
		"access", "call", "cause", "code", "content", "core", "direction", "executor", "lns", "mode", "name", "order", "pool", "purpose", "reason",
		"release", "result", "server", "shard", "socket", "state", "version",
	}
	for _, m := range table() {
		for _, l := range m.labels {
			if !slices.Contains(bounded, l) {
				t.Errorf("%s: label %s", m.name, l)
			}
		}
	}
}

// source is one that fails.
type source struct{ err error }

func (s source) Snapshot(context.Context, api.Query) (*api.Snapshot, error) {
	return &api.Snapshot{}, s.err
}

func TestAScrapeWithoutASnapshotIsUnavailable(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errors.New("stopping"), nil} {
		w := httptest.NewRecorder()
		NewHandler(Config{Source: source{err}}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("%v: %d", err, w.Code)
		}
	}
}

func TestAScrapeWaitsForItsTurnAndGivesUp(t *testing.T) {
	t.Parallel()
	h := NewHandler(Config{Source: apitest.New(picture())})
	h.turn <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil))
	if b, _ := io.ReadAll(w.Body); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d: %s", w.Code, b)
	}
}

// value finds one series in an exposition; NaN: there is none.
func value(t *testing.T, text, series string) float64 {
	t.Helper()
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	return math.NaN()
}
