//go:build kernel

package lab

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// Daemon is an l2tpd. It has /run/l2tpd and /etc/l2tpd to itself, so that a configuration with the usual paths works on
// every host of a lab.
type Daemon struct {
	*Proc
	Config string // path of the configuration, to be changed before Reload

	client *api.Client
	run    string // what the daemon sees as /run/l2tpd
	files  string // what it sees as /etc/l2tpd
	alive  bool
}

// Binary returns the path of one of our programs.
func (l *Lab) Binary(name string) string {
	l.t.Helper()
	dir := os.Getenv("L2TPD_BIN")
	if dir == "" {
		l.t.Fatal("L2TPD_BIN is not set: it names the directory with l2tpd and l2tpctl (scripts/test sets it)")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		l.t.Fatalf("L2TPD_BIN: %v", err)
	}
	return path
}

// L2TPD runs l2tpd with a configuration and waits until it is ready. files are put into its /etc/l2tpd: name, content, ...
func (h *Host) L2TPD(yaml string, files ...string) *Daemon {
	h.l.t.Helper()
	d := h.NewL2TPD(yaml, files...)
	d.Start()
	return d
}

// NewL2TPD makes an l2tpd that does not run yet.
func (h *Host) NewL2TPD(yaml string, files ...string) *Daemon {
	t := h.l.t
	t.Helper()
	d := &Daemon{Proc: &Proc{Name: h.Name + "-l2tpd", Host: h}, run: filepath.Join(h.l.dir, h.Name+"-run"), files: filepath.Join(h.l.dir, h.Name+"-etc")}
	for _, dir := range []string{d.run, d.files} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	d.Config = filepath.Join(d.files, "l2tpd.yaml")
	d.SetConfig(yaml)
	for i := 0; i+1 < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(d.files, files[i]), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.client = api.NewClient(api.ClientConfig{Path: filepath.Join(d.run, "l2tpd.sock")})
	return d
}

// SetConfig writes the configuration, for the next Start or Reload. Tabs at the beginning of lines are taken off.
func (d *Daemon) SetConfig(yaml string) {
	d.Host.l.t.Helper()
	if err := os.WriteFile(d.Config, []byte(strings.ReplaceAll(yaml, "\t", "")), 0o600); err != nil {
		d.Host.l.t.Fatal(err)
	}
}

// Start starts the daemon and waits until it is ready.
func (d *Daemon) Start() {
	d.Host.l.t.Helper()
	d.Launch()
	d.WaitLog("l2tpd is ready")
}

// Launch starts the daemon and does not wait.
func (d *Daemon) Launch() {
	d.Host.l.t.Helper()
	// Its own mount namespace: see Daemon.
	c := exec.Command("sh", "-c", `
		mkdir -p /run/l2tpd /etc/l2tpd && mount --bind "$1" /run/l2tpd && mount --bind "$2" /etc/l2tpd && shift 2 && exec "$@"`,
		"sh", d.run, d.files, d.Host.l.Binary("l2tpd"), "run", "--config", "/etc/l2tpd/l2tpd.yaml", "--log-format", "text")
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	c.Env = append(os.Environ(), "GOTRACEBACK=all")
	d.Proc = d.Host.start("l2tpd", c)
	d.alive = true
	d.Host.l.t.Cleanup(func() { // before the lab's own end
		if d.alive && !d.Host.l.t.Failed() {
			d.Stop()
		}
	})
}

// Stop sends SIGTERM; the daemon must end with exit code 0.
func (d *Daemon) Stop() {
	d.Host.l.t.Helper()
	d.alive = false
	d.Signal(unix.SIGTERM)
	if code := d.Wait(); code != 0 {
		d.Host.l.t.Fatalf("%s: exit code %d after SIGTERM: %v", d.Name, code, d.err)
	}
	d.WaitLog("l2tpd has stopped")
}

// Kill sends SIGKILL.
func (d *Daemon) Kill() {
	d.Host.l.t.Helper()
	d.alive = false
	d.Proc.Kill()
}

// Restart stops the daemon and starts it again.
func (d *Daemon) Restart() {
	d.Host.l.t.Helper()
	d.Stop()
	d.Start()
}

// Ctl runs l2tpctl; a failure fails the test.
func (d *Daemon) Ctl(args ...string) string {
	d.Host.l.t.Helper()
	out, err := d.TryCtl(args...)
	if err != nil && !strings.Contains(out, "l2tpctl: the daemon is degraded: ") { // status has shown it, and may be asked just for that
		d.Host.l.t.Fatalf("%s: l2tpctl %s: %v\n%s", d.Name, strings.Join(args, " "), err, out)
	}
	return out
}

// TryCtl runs l2tpctl.
func (d *Daemon) TryCtl(args ...string) (string, error) {
	d.Host.l.t.Helper()
	return d.Host.Try(d.Host.l.Binary("l2tpctl"), append([]string{"--socket", filepath.Join(d.run, "l2tpd.sock")}, args...)...)
}

// Get asks the daemon's socket for a path, such as "/v1/status", and returns the answer's body.
func (d *Daemon) Get(path string) string {
	t := d.Host.l.t
	t.Helper()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(d.run, "l2tpd.sock"))
	}
	c := http.Client{Timeout: Patience, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	r, err := c.Get("http://l2tpd" + path)
	if err != nil {
		t.Fatalf("%s: %s: %v", d.Name, path, err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s, %v: %s", d.Name, path, r.Status, err, body)
	}
	return string(body)
}

// State returns the files that the daemon keeps in its /run/l2tpd, by their paths there, but those that pppd reads secrets from.
func (d *Daemon) State() map[string]string {
	t := d.Host.l.t
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(d.run, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || entry.Name() == "pap-secrets" || entry.Name() == "chap-secrets" {
			return err
		}
		b, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, d.run)] = string(b)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", d.Name, err)
	}
	return all
}

// ask asks the daemon over its socket.
func (d *Daemon) ask(get func(context.Context) (*api.Snapshot, error)) *api.Snapshot {
	d.Host.l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	s, err := get(ctx)
	if err != nil {
		d.Host.l.t.Fatalf("%s: %v", d.Name, err)
	}
	return s
}

// Status asks for the daemon as a whole.
func (d *Daemon) Status() *api.Status {
	d.Host.l.t.Helper()
	return d.ask(d.client.Status).Status
}

// Tunnels asks for all tunnels that are not on their way down.
func (d *Daemon) Tunnels() []api.Tunnel {
	d.Host.l.t.Helper()
	var live []api.Tunnel
	for _, x := range d.ask(func(ctx context.Context) (*api.Snapshot, error) { return d.client.Tunnels(ctx, "") }).Tunnels {
		if x.State != "closing" && x.State != "dead" {
			live = append(live, x)
		}
	}
	return live
}

// Sessions asks for all sessions.
func (d *Daemon) Sessions() []api.Session {
	d.Host.l.t.Helper()
	return d.ask(func(ctx context.Context) (*api.Snapshot, error) { return d.client.Sessions(ctx, "", "") }).Sessions
}

// Session asks for one session, by call, interface, user or ids, with the kernel's counters.
func (d *Daemon) Session(ref string) *api.Session {
	d.Host.l.t.Helper()
	s := d.ask(func(ctx context.Context) (*api.Snapshot, error) { return d.client.Sessions(ctx, "", ref) })
	if len(s.Sessions) != 1 {
		d.Host.l.t.Fatalf("%s: %d sessions for %q", d.Name, len(s.Sessions), ref)
	}
	return &s.Sessions[0]
}

// Calls asks for all configured calls.
func (d *Daemon) Calls() []api.Call {
	d.Host.l.t.Helper()
	return d.ask(func(ctx context.Context) (*api.Snapshot, error) { return d.client.Calls(ctx, "") }).Calls
}

// Call asks for one configured call.
func (d *Daemon) Call(name string) *api.Call {
	d.Host.l.t.Helper()
	return &d.ask(func(ctx context.Context) (*api.Snapshot, error) { return d.client.Calls(ctx, name) }).Calls[0]
}

// WaitUp waits until a configured call is up.
func (d *Daemon) WaitUp(call string) {
	d.Host.l.t.Helper()
	d.WaitState(call, api.CallUp)
}

// WaitState waits until a configured call is in a state.
func (d *Daemon) WaitState(call string, want api.CallState) {
	d.Host.l.t.Helper()
	d.Host.l.Eventually(d.Name+": call "+call, func() error {
		if c := d.Call(call); c.State != want {
			return fmt.Errorf("it is %s, not %s; last error: %v", c.State, want, cmp.Or(c.LastError, &api.CallError{}).Text)
		}
		return nil
	})
}

// WaitSessions waits until the daemon has exactly n sessions that are established, have an interface and carry a network protocol on
// it, and returns them.
func (d *Daemon) WaitSessions(n int) []api.Session {
	d.Host.l.t.Helper()
	var up []api.Session
	d.Host.l.Eventually(d.Name, func() error {
		up = nil
		all := d.Sessions()
		for _, s := range all {
			if s.State == "established" && (s.IPCP == "Opened" || s.IPV6CP == "Opened") && s.Interface != "" {
				up = append(up, s)
			}
		}
		if len(up) != n || len(all) != n {
			return fmt.Errorf("%d sessions are up, and %d are not; want %d", len(up), len(all)-len(up), n)
		}
		return nil
	})
	return up
}

// WaitTunnels waits until the daemon has exactly n live tunnels.
func (d *Daemon) WaitTunnels(n int) {
	d.Host.l.t.Helper()
	d.Host.l.Eventually(d.Name, func() error {
		if all := d.Tunnels(); len(all) != n {
			return fmt.Errorf("%d tunnels, want %d", len(all), n)
		}
		return nil
	})
}
