package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/config"
	"github.com/l2tpd/l2tpd/pkg/engine"
	"github.com/l2tpd/l2tpd/pkg/observe"
	"github.com/l2tpd/l2tpd/pkg/transport"
)

// nowhere is a transport on which nobody is reached.
type nowhere struct{}

func (nowhere) Send(_, _ netip.AddrPort, _ []byte) error { return nil }
func (nowhere) LocalFor(netip.AddrPort) (netip.AddrPort, error) {
	return netip.MustParseAddrPort("192.0.2.1:1701"), nil
}

func (nowhere) Connect(netip.AddrPort, netip.AddrPort, func(int) error) (engine.Conn, error) {
	return nil, errors.New("no socket here")
}

func (nowhere) OpenPort(netip.Addr, netip.AddrPort) (engine.Port, error) {
	return nil, errors.New("no port here")
}
func (nowhere) Counters() transport.Counters { return transport.Counters{} }

// journal keeps what is logged.
type journal struct {
	mu sync.Mutex
	b  strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// running is a daemon on a configuration of the test's, which touches nothing of the machine.
func running(t *testing.T, text string) (*daemon, *journal) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "l2tpd.yaml")
	write(t, path, text)
	conf, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	out := &journal{}
	d := &daemon{path: path, conf: conf, level: new(slog.LevelVar), limiter: observe.NewLimiter(observe.LimiterConfig{})}
	d.log = slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: d.level}))
	d.notify = observe.NewNotifier(d.log)
	d.servers = &radiusFor{log: d.log, farewell: time.Minute}
	t.Cleanup(func() {
		if err := d.servers.close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	d.Engine = engine.New(engine.Config{
		RADIUS: d.servers,
		Policy: conf.Policy, Transport: nowhere{}, KernelProblem: "this is a test", Now: bootTime, WallClock: time.Now,
		Logger: d.log, Limiter: d.limiter, ConfigFile: path,
	})
	d.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return d, out
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// hostName is what the running daemon calls itself, and its calls.
func hostName(t *testing.T, d *daemon) (name string, calls []string) {
	t.Helper()
	s, err := d.Snapshot(t.Context(), api.Query{Status: true, Calls: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Calls {
		calls = append(calls, c.Name)
	}
	return s.Status.HostName, calls
}

const before = `
server: {mode: both, hostname: edge1}
log: {level: info}
calls:
  branch: {peer: any, secret: none, ppp: {template: default}}
`

// A broken file changes nothing: the daemon runs on, the operator gets every mistake with its place, SIGHUP tells the log.
func TestReloadOfABrokenFileKeepsRunning(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"mistakes": "server: {mode: everything, hostname: edge2}\ncalls: {x: {colour: red}}\n",
		"no YAML":  "server: {mode: both\n",
		"gone":     "gone",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, out := running(t, before)
			if text == "gone" {
				if err := os.Remove(d.path); err != nil {
					t.Fatal(err)
				}
			} else {
				write(t, d.path, text)
			}
			_, err := d.Act(t.Context(), api.Action{Verb: api.VerbReload, By: "uid=0"})
			e, ok := errors.AsType[*api.Error](err)
			if !ok || e.Code != api.CodeConflict || !strings.Contains(e.Message, "the running one stays") || len(e.Details) == 0 || !strings.Contains(e.Hint, d.path) {
				t.Errorf("error %+v", err)
			}
			if !strings.Contains(strings.Join(e.Details, "\n"), d.path) {
				t.Errorf("the details do not name the place: %q", e.Details)
			}
			d.hangup()
			if s := out.String(); strings.Count(s, "reload refused: the running configuration stays") != 1 || strings.Count(s, "configuration: ") < len(e.Details) {
				t.Errorf("the log does not say all of it:\n%s", s)
			}
			if name, calls := hostName(t, d); name != "edge1" || len(calls) != 1 {
				t.Errorf("running as %q with calls %v, want edge1 with one", name, calls)
			}
			if err := d.Alive(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A good file is taken as a whole: what changed is listed with when it counts, in the answer and in the log, secrets masked.
func TestReloadTakesWhatHasChanged(t *testing.T) {
	t.Parallel()
	d, out := running(t, before)
	res, err := d.Act(t.Context(), api.Action{Verb: api.VerbReload, By: "uid=0"})
	if err != nil || res.Changed || res.Message != "nothing has changed" {
		t.Errorf("reload without a change: %+v, %v", res, err)
	}
	write(t, d.path, `
server: {mode: both, hostname: edge2, listen: ["0.0.0.0:1702"]}
log: {level: warn}
secrets: [{from: any, secret: a-secret-nobody-should-read}]
calls:
  other: {peer: any, secret: none, ppp: {template: default}}
`)
	res, err = d.Act(t.Context(), api.Action{Verb: api.VerbReload, By: "uid=0"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"server.hostname", "server.listen", "secrets[any]", "calls.branch", "calls.other", "log.level"}
	var got []string
	for _, line := range res.Details {
		path, _, _ := strings.Cut(line, ": ")
		got = append(got, path)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if !res.Changed || res.Message != "5 changes taken, 1 after a restart of l2tpd" {
		t.Errorf("result %+v", res)
	}
	if name, calls := hostName(t, d); name != "edge2" || len(calls) != 1 || calls[0] != "other" {
		t.Errorf("running as %q with calls %v", name, calls)
	}
	if d.level.Level() != slog.LevelWarn {
		t.Errorf("log level %v, want warn", d.level.Level())
	}
	if all := out.String() + strings.Join(res.Details, "\n"); strings.Contains(all, "nobody-should-read") {
		t.Error("a secret was shown")
	}
}

// A reload may outlive the request for it, and come to its end beside that of the daemon: what it has begun to change is taken down after
// it, and what sessions have told last is kept.
func TestTheEndWaitsForAReload(t *testing.T) {
	t.Parallel()
	d, out := running(t, before)
	d.servers.farewell = 500 * time.Millisecond // that long each of the two clients ends
	conf := deaf(t)
	text := before + fmt.Sprintf("radius: {spool: %q, servers: [{address: 127.0.0.1, port: %d, accounting_port: %d, secret: secret, timeout: 1m}]}\n",
		conf.Spool, conf.Servers[0].Port, conf.Servers[0].AccountingPort)
	write(t, d.path, text)
	if _, err := d.reload("test"); err != nil {
		t.Fatal(err)
	}
	write(t, d.path, strings.Replace(text, "edge1", "edge2", 1))
	done := make(chan error, 1)
	go func() {
		_, err := d.reload("test")
		done <- err
	}()
	for changing, end := false, time.Now().Add(time.Minute); !changing; runtime.Gosched() {
		d.servers.mu.Lock()
		changing = d.servers.change != nil
		d.servers.mu.Unlock()
		if time.Now().After(end) {
			t.Fatal("the servers are not being changed")
		}
	}
	if err := d.servers.Account(radius.Record{Kind: radius.Stop, SessionID: "one"}); err != nil {
		t.Error(err)
	}
	d.end(func() {
		if err := d.servers.close(); err != nil {
			t.Error(err)
		}
	})
	if err := <-done; err != nil {
		t.Error(err)
	}
	if log := out.String(); strings.Contains(log, "is lost") {
		t.Errorf("the log:\n%s", log)
	}
	again := newRADIUS(t, 0)
	if err := again.configure(conf, "edge2"); err != nil {
		t.Fatal(err)
	}
	if c, ok := again.Counters(); !ok || c.Records.Replayed != 3 { // with the beginning and the end of accounting
		t.Errorf("%+v", c.Records)
	}
}

// That the daemon has stopped is said when nothing is left to be taken down.
func TestItIsSaidLastThatTheDaemonHasStopped(t *testing.T) {
	t.Parallel()
	d, out := running(t, before)
	d.end(func() { d.log.Warn("clean up") })
	_, after, cleaned := strings.Cut(out.String(), "clean up")
	if !cleaned || !strings.Contains(after, "l2tpd has stopped") {
		t.Errorf("the log:\n%s", out)
	}
}

// The verbs that do not concern the process go to the engine.
func TestOtherVerbsGoToTheEngine(t *testing.T) {
	t.Parallel()
	d, _ := running(t, before)
	_, err := d.Act(t.Context(), api.Action{Verb: api.VerbCallUp, Call: "nobody"})
	if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != api.CodeNotFound {
		t.Errorf("error %v, want not-found of the engine", err)
	}
}
