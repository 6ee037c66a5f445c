package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/metrics"
)

// free is a TCP address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// get reads the metrics of an address.
func get(t *testing.T, addr string) string {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestMetricsAreServedWhereTheConfigurationSays(t *testing.T) {
	t.Parallel()
	addr := free(t)
	d, out := running(t, fmt.Sprintf("%s\nmetrics: {listen: [%q]}\n", before, addr))
	d.metrics = metrics.NewHandler(metrics.Config{Source: d, Log: d.log})
	s, problems := d.listenMetrics()
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if _, again := d.listenMetrics(); len(again) != 1 || !strings.Contains(again[0], addr) {
		t.Errorf("the address is taken, and the problems are %q", again)
	}
	if !strings.Contains(out.String(), "serving metrics") || !strings.Contains(out.String(), "mend this and restart l2tpd") {
		t.Errorf("log:\n%s", out)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ctx) }()
	defer func() { cancel(); <-done }()
	text := get(t, addr)
	for _, want := range []string{"l2tp_call_up{call=\"branch\"} 0\n", "l2tp_loop_wait_seconds_count{shard=\"2\"}", "l2tp_kernel_info{core=\"none\",release=\"\"} 1\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
