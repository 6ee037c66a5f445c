package api

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
)

// getMetrics asks a server for its metrics as somebody.
func getMetrics(t *testing.T, who credentials, metrics http.Handler) (int, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "l2tpd.sock")
	s, err := Listen(ServerConfig{Backend: still{}, Path: path, Metrics: metrics, peer: func(*net.UnixConn) (credentials, error) { return who, nil }})
	if err != nil {
		t.Fatal(err)
	}
	s.group, s.own = 900, 700
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) },
	}}
	res, err := c.Get("http://l2tpd/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestMetricsAreForThoseWhoMayRead(t *testing.T) {
	t.Parallel()
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "l2tp_tunnels 1\n") })
	if code, text := getMetrics(t, credentials{uid: 1000, gid: 900}, h); code != http.StatusOK || text != "l2tp_tunnels 1\n" {
		t.Errorf("a member of the group: %d %s", code, text)
	}
	if code, text := getMetrics(t, credentials{uid: 1000, gid: 100}, h); code != http.StatusForbidden {
		t.Errorf("a stranger: %d %s", code, text)
	}
	if code, _ := getMetrics(t, credentials{}, nil); code != http.StatusBadRequest {
		t.Errorf("without metrics: %d", code)
	}
}
