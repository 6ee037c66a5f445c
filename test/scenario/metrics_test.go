//go:build kernel

package scenario

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// scrape reads the metrics of a port on the host itself.
func scrape(t *testing.T, h *lab.Host, addr string) string {
	t.Helper()
	text, err := tryScrape(h, addr)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func tryScrape(h *lab.Host, addr string) (string, error) {
	var conn net.Conn
	if err := h.Do(func() (err error) { conn, err = net.Dial("tcp", addr); return err }); err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: l2tpd\r\nConnection: close\r\n\r\n"); err != nil {
		return "", err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return string(b), err
}

// metric finds a series in what was scraped; -1: it is not there.
func metric(t *testing.T, text, series string) float64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(text)
	if m == nil {
		return -1
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A call that is up, its packets, and the loss of its peer show in the metrics; the loss makes status fail, names itself, and is over
// when the peer is back.
func TestMetricsAndHealthFollowACall(t *testing.T) {
	l := lab.New(t)
	a, b := l.Host("a"), l.Host("b")
	l.Link(a.At("10.0.0.1/24"), b.At("10.0.0.2/24"))
	db := b.L2TPD(lns)
	const addr = "127.0.0.1:9711"
	da := a.L2TPD(dialer("a", "10.0.0.2") + "metrics: {listen: [" + addr + "]}\n")
	da.WaitUp("up")
	a.Reaches("192.168.20.1")

	text := scrape(t, a, addr)
	for series, least := range map[string]float64{
		`l2tp_call_up{call="up"}`: 1, "l2tp_tunnels": 1, "l2tp_sessions": 1, `l2tp_data_packets_total{direction="in"}`: 1,
		`l2tp_data_packets_total{direction="out"}`: 1, `l2tp_control_messages_total{content="data",direction="out"}`: 4,
		`l2tp_loop_run_seconds_count{shard="0"}`: 1, `l2tp_loop_wait_seconds_count{shard="0"}`: 1, `l2tp_health_condition{name="peer-unreachable"}`: 0,
	} {
		if v := metric(t, text, series); v < least {
			t.Errorf("%s is %v, want at least %v", series, v, least)
		}
	}
	if release := strings.TrimSpace(a.Run("uname", "-r")); !strings.Contains(text, `release="`+release+`"} 1`) {
		t.Errorf("the kernel, %s, is not there:\n%s", release, text)
	}

	db.Stop()
	l.Eventually("status", func() error {
		out, err := da.TryCtl("status")
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != 1 || !strings.Contains(out, "peers of calls cannot be reached: up") {
			return fmt.Errorf("%v: %s", err, out) //nolint:errorlint // it may be nil
		}
		return nil
	})
	text = scrape(t, a, addr)
	if metric(t, text, `l2tp_health_condition{name="peer-unreachable"}`) != 1 || metric(t, text, `l2tp_call_up{call="up"}`) != 0 {
		t.Errorf("the metrics do not tell:\n%s", text)
	}
	da.WaitLog("health: peers of calls cannot be reached: up")
	db.Start()
	da.WaitUp("up")
	da.WaitLog("health: no longer: peers of calls cannot be reached: up")
	if out := da.Ctl("status"); strings.Contains(out, "peer-unreachable") {
		t.Errorf("status still tells of it:\n%s", out)
	}
}
