package metrics

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api/apitest"
)

// served starts a Server on a free port, which is ended with the test.
func served(t *testing.T) (url string) {
	t.Helper()
	s, err := Listen([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, NewHandler(Config{Source: apitest.New(picture())}), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		if _, err := net.Dial("tcp", s.Addrs()[0].String()); err == nil {
			t.Error("the port is still open")
		}
	})
	return "http://" + s.Addrs()[0].String()
}

func TestThePortAnswersGETOfMetricsOnly(t *testing.T) {
	t.Parallel()
	url := served(t)
	for _, c := range []struct {
		method, path string
		code         int
	}{
		{"GET", "/metrics", 200},
		{"POST", "/metrics", 405},
		{"DELETE", "/metrics", 405},
		{"GET", "/v1/status", 404},
		{"POST", "/v1/actions", 404},
		{"GET", "/", 404},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, url+c.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != c.code {
			t.Errorf("%s %s: %d, %v", c.method, c.path, res.StatusCode, err)
		}
		if has := strings.Contains(string(b), "\nl2tp_tunnels "); has != (c.code == 200) {
			t.Errorf("%s %s: %s", c.method, c.path, b)
		}
	}
}

func TestAnAddressThatCannotBeOpenedLeavesTheOthers(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := Listen([]netip.AddrPort{netip.MustParseAddrPort(l.Addr().String()), netip.MustParseAddrPort("127.0.0.1:0")}, http.NotFoundHandler(), nil)
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || len(s.Addrs()) != 1 {
		t.Errorf("%v, %v", s.Addrs(), err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Whoever reaches the port must not be able to take all descriptors of the daemon.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	addr := strings.TrimPrefix(served(t), "http://")
	ask := func(c net.Conn) *bufio.Reader {
		t.Helper()
		if _, err := io.WriteString(c, "GET /none HTTP/1.1\r\nHost: l2tpd\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		return bufio.NewReader(c)
	}
	var all []net.Conn
	for range maxConns + 1 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all = append(all, c)
	}
	for _, c := range all[:maxConns] {
		if _, err := http.ReadResponse(ask(c), nil); err != nil {
			t.Fatal(err)
		}
	}
	last := all[maxConns]
	r := ask(last)
	if err := last.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one too many is answered: %v", err)
	}
	if err := last.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	all[0].Close()
	if _, err := http.ReadResponse(bufio.NewReader(last), nil); err != nil {
		t.Errorf("with one fewer it is not answered: %v", err)
	}
}
