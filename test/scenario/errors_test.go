//go:build kernel

package scenario

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// clumsy is an operator's machine where things go wrong: a host whose l2tpd is started in ways of the test's own.
type clumsy struct {
	*lab.Lab
	t    *testing.T
	host *lab.Host
	dir  string // replaced by DIR in texts
}

func newClumsy(t *testing.T) *clumsy {
	t.Helper()
	l := lab.New(t)
	dir, err := os.MkdirTemp("", "op") //nolint:usetesting // unix sockets live in it: t.TempDir is too long for them
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	c := &clumsy{Lab: l, t: t, host: l.Host("b"), dir: dir}
	c.write(0o600, "server: {hostname: b}\n")
	return c
}

// write writes the configuration. The operator's socket is in DIR.
func (c *clumsy) write(mode os.FileMode, yaml string) {
	c.t.Helper()
	path := filepath.Join(c.dir, "l2tpd.yaml")
	if err := os.WriteFile(path, []byte(yaml+"api: {socket: "+c.dir+"/sock}\n"), mode); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		c.t.Fatal(err)
	}
}

// run starts l2tpd behind other words of a shell command line, in a mount namespace of its own.
func (c *clumsy) run(before string) *lab.Proc {
	c.t.Helper()
	return c.host.Start("l2tpd", "unshare", "--mount", "--propagation", "private", "sh", "-c",
		before+` "$@"`, "sh", c.Binary("l2tpd"), "run", "--config", c.dir+"/l2tpd.yaml", "--log-format", "text")
}

// stop ends a daemon that runs.
func (c *clumsy) stop(p *lab.Proc) {
	c.t.Helper()
	p.Signal(unix.SIGTERM)
	if code := p.Wait(); code != 0 {
		c.t.Errorf("exit code %d after SIGTERM", code)
	}
}

var clock = regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d `)

// text makes a log comparable: no times, no paths, no process ids, no lines of less weight than a warning.
func (c *clumsy) text(log string) string {
	log = clock.ReplaceAllString(log, "")
	log = strings.ReplaceAll(log, c.dir, "DIR")
	log = regexp.MustCompile(`pid \d+`).ReplaceAllString(log, "pid N")
	out := ""
	for line := range strings.Lines(log) {
		if !strings.HasPrefix(line, "INFO ") && !strings.HasPrefix(line, "DEBUG ") {
			out += line
		}
	}
	return out
}

func (c *clumsy) same(what, got, want string) {
	c.t.Helper()
	if d := cmp.Diff(want, c.text(got)); d != "" {
		c.t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// ctl runs l2tpctl for the daemon of DIR.
func (c *clumsy) ctl(args ...string) (string, error) {
	c.t.Helper()
	return c.host.Try(c.Binary("l2tpctl"), append([]string{"--socket", c.dir + "/sock"}, args...)...)
}

// ends checks that a daemon ends with exit code 1 and this text.
func (c *clumsy) ends(p *lab.Proc, want string) {
	c.t.Helper()
	if code := p.Wait(); code != 1 {
		c.t.Errorf("exit code %d, want 1", code)
	}
	c.same("what it says", p.Log(), want)
}

// The daemon that cannot start says why, in one line, and ends with 1.
func TestStartsThatCannotBe(t *testing.T) {
	c := newClumsy(t)
	config := filepath.Join(c.dir, "l2tpd.yaml")

	if err := os.Chmod(c.dir, 0o755); err != nil { // so that another user gets as far as the file
		t.Fatal(err)
	}
	c.ends(c.run("exec setpriv --reuid 65534 --regid 65534 --clear-groups"),
		"DIR/l2tpd.yaml: cannot read the configuration: permission denied\n"+
			"  give the path of a file that this user may read\n")

	running := c.run("exec")
	running.WaitLog("l2tpd is ready")
	c.ends(c.run("exec"), "ERROR l2tpd ends  why=\"api socket DIR/sock: another l2tpd is running (pid N)\"\n")
	if out, err := c.ctl("call", "list"); err != nil {
		t.Errorf("the first daemon is disturbed: %v\n%s", err, out)
	}
	c.stop(running)

	if err := os.Remove(config); err != nil {
		t.Fatal(err)
	}
	c.ends(c.run("exec"), "DIR/l2tpd.yaml: cannot read the configuration: no such file or directory\n"+
		"  give the path of a file that this user may read\n")

	c.write(0o600, "")
	taken := c.host.UDP("127.0.0.1:1701")
	c.ends(c.run("exec"), "ERROR l2tpd ends  why=\"listen on 0.0.0.0:1701: address already in use; another L2TP daemon? see: "+
		"ss -lunp sport = :1701\"\n")
	taken.Close()
	again := c.run("exec")
	again.WaitLog("l2tpd is ready")
	c.stop(again)
}

// l2tpctl without a daemon says so, says what to do, and ends with 4.
func TestCtlWithoutDaemon(t *testing.T) {
	c := newClumsy(t)
	out, err := c.ctl("status")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 4 {
		t.Errorf("l2tpctl ends with %v, want 4", err)
	}
	c.same("l2tpctl", out, "waiting for l2tpd to answer ...\nl2tpctl: l2tpd does not answer on DIR/sock: no such file or directory\n"+
		"  is it running? systemctl status l2tpd tells; journalctl -u l2tpd -n 20 tells why not; is --socket right?\n")
}

// One of two addresses is taken by another program: the daemon says so, serves the other one, and status shows what is wrong.
func TestOneOfTwoAddressesIsTaken(t *testing.T) {
	l := lab.New(t)
	a, b := l.Host("a"), l.Host("b")
	l.Link(a.At("10.0.0.1/24"), b.At("10.0.0.2/24", "10.0.0.3/24"))
	b.UDP("10.0.0.3:1701")
	db := b.L2TPD(strings.Replace(lns, "hostname: b", `hostname: b, listen: ["10.0.0.3:1701", "10.0.0.2:1701"]`, 1))
	const why = "listen on 10.0.0.3:1701: address already in use; another L2TP daemon? see: ss -lunp sport = :1701"
	db.WaitLog("ERROR not all addresses are listened on: mend this and restart l2tpd  why=\"" + regexp.QuoteMeta(why) + "\"")
	if p := db.Status().Problems; len(p) != 1 || p[0] != why {
		t.Errorf("problems in status: %q", p)
	}
	if out := db.Ctl("status"); !strings.Contains(out, why) || !strings.Contains(out, "l2tpctl: the daemon is degraded: incomplete") {
		t.Errorf("status does not show it:\n%s", out)
	}
	da := a.L2TPD(dialer("a", "10.0.0.2"))
	da.WaitUp("up")
	a.Reaches("192.168.20.1")
}

// hopeless checks a daemon that cannot carry data: it says why in one line, refuses what calls in and says why not to call out, and
// answers the operator.
func (c *clumsy) hopeless(p *lab.Proc, why string) {
	c.t.Helper()
	p.WaitLog("l2tpd is ready")
	p.WaitLog("WARN  health: the kernel's L2TP cannot be used.* condition=no-data-path")
	log := regexp.MustCompile(`(?m)^.* WARN  health: .*\n`).ReplaceAllString(p.Log(), "")
	c.same("what it says", log, "ERROR no data path: tunnels will be refused until this is mended and l2tpd restarted  why=\""+why+"\"\n")
	out, err := c.ctl("status")
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !strings.Contains(out, why) ||
		!strings.Contains(out, "l2tpctl: the daemon is degraded: no-data-path") {
		c.t.Errorf("status: %v\n%s", err, out)
	}
	c.stop(p)
}

// Without the right to change the network, or without /dev/ppp, the daemon runs, and says what it cannot do and what mends it.
func TestRightsAndDevicesThatAreMissing(t *testing.T) {
	c := newClumsy(t)
	c.hopeless(c.run("exec setpriv --bounding-set -net_admin --inh-caps -net_admin"),
		"no CAP_NET_ADMIN: run as root or from the systemd unit, or grant it with AmbientCapabilities=CAP_NET_ADMIN")
	c.hopeless(c.run("mount -t tmpfs tmpfs /dev && exec"), "/dev/ppp does not exist: modprobe ppp_generic, or: mknod /dev/ppp c 108 0")
}

// The kernel's L2TP modules are not there: the daemon names the module. Its own calls fail in the stage of the
// kernel, and once the modules are there a restart is all it takes.
func TestModulesThatAreMissing(t *testing.T) {
	if os.Getenv("L2TPD_GUEST") == "" {
		t.Fatal("this test takes the machine's modules away: run it in a guest")
	}
	l := lab.New(t)
	a, b := l.Host("a"), l.Host("b")
	l.Link(a.At("10.0.0.1/24"), b.At("10.0.0.2/24"))
	hide := func(f func(args ...string) (string, error)) func(args ...string) {
		return func(args ...string) {
			t.Helper()
			if out, err := f(args...); err != nil {
				t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
	}(func(args ...string) (string, error) { // in the test's own mount namespace, where the kernel looks for modules
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		return string(out), err
	})
	hide("sh", "-c", "for m in l2tp_ppp l2tp_eth l2tp_ip6 l2tp_ip l2tp_netlink pppoe; do ! grep -q \"^$m \" /proc/modules || rmmod $m || exit 1; done")
	hide("mount", "-t", "tmpfs", "tmpfs", "/usr/lib/modules")
	hidden := true
	show := func() {
		if hidden {
			hidden = false
			hide("umount", "/usr/lib/modules")
		}
	}
	defer show()

	db := b.L2TPD(lns)
	line := db.WaitLog("ERROR no data path")
	if !strings.Contains(line, "l2tp_netlink") || !strings.Contains(line, "modprobe") {
		t.Errorf("the line names neither module nor remedy: %s", line)
	}
	if p := db.Status().Problems; len(p) != 1 || !strings.Contains(p[0], "l2tp_netlink is not available") {
		t.Errorf("problems in status: %q; log: %s", p, line)
	}
	da := a.L2TPD(dialer("a", "10.0.0.2"))
	da.WaitLog("ERROR no data path")
	l.Eventually("error of the call", func() error {
		if x := da.Call("up"); x.LastError == nil {
			return errNotThere
		}
		return nil
	})
	if e := da.Call("up").LastError; !strings.Contains(e.Text, "no data path") {
		t.Errorf("the call's error does not say that there is no data path: %+v", e)
	}
	t.Logf("a: %s\nb: %s", da.Call("up").LastError.Text, strings.Join(warnings(db), "\n"))
	if n := len(warnings(db)); n > 20 {
		t.Errorf("%d warnings and errors", n)
	}
	show()
	db.Restart()
	da.Restart()
	da.WaitUp("up")
	a.Reaches("192.168.20.1")
}

// warnings are the lines of a daemon's log with the weight of a warning or more.
func warnings(d *lab.Daemon) []string {
	return regexp.MustCompile(`(?m)^\S+ (WARN|ERROR) .*$`).FindAllString(d.Log(), -1)
}

// No way leads to the peer: the call says so, other calls go on, and with a route the next attempt succeeds.
func TestNoRouteToThePeer(t *testing.T) {
	l := lab.New(t)
	a, b := l.Host("a"), l.Host("b")
	l.Link(a.At("10.0.0.1/24"), b.At("10.0.0.2/24"))
	b.IP("addr add 172.16.0.2/32 dev lo")
	b.L2TPD(lns)
	da := a.L2TPD(`
server: {hostname: a}
calls:
  near: {peer: 10.0.0.2, autostart: on, ppp: {template: lan, ipv4: request, ipv6: off}}
  far: {peer: 172.16.0.2, autostart: on, redial: {min: 500ms, max: 1s}, ppp: {template: lan, ipv4: request, ipv6: off}}
ppp: {templates: {lan: {auth: none, ipv6: off}}}
`)
	line := da.WaitLog("WARN .*call=far")
	if !strings.Contains(line, "stage transport") || !strings.Contains(line, "network is unreachable") || !strings.Contains(line, "172.16.0.2") {
		t.Errorf("the line says not what is wrong: %s", line)
	}
	da.WaitUp("near")
	if x := da.Call("far"); x.State == api.CallUp || x.LastError == nil || !strings.Contains(x.LastError.Text, "network is unreachable") {
		t.Errorf("call far: %+v", x)
	}
	a.Route("172.16.0.0/16", "10.0.0.2")
	da.WaitUp("far")
}
