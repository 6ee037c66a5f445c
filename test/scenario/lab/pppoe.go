//go:build kernel

package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Subscriber is a pppd with rp-pppoe's plugin. It has /run and /etc/ppp to itself.
type Subscriber struct {
	*Proc

	dir string
}

// subscriberOptions are those of every subscriber; it ends when its call does.
const subscriberOptions = `nodetach
noauth
logfd 2
debug
hide-password
nodefaultroute
noccp
novj
noipdefault
noproxyarp
lcp-restart 1
lcp-max-terminate 1
+ipv6
maxfail 1
`

// Subscriber dials by PPPoE on an interface as user, with further options of pppd, a line each.
func (h *Host) Subscriber(device, user, password string, options ...string) *Subscriber {
	t := h.l.t
	t.Helper()
	x := &Subscriber{dir: filepath.Join(h.l.dir, h.Name+"-"+strings.ReplaceAll(user, "/", "_")+"-ppp")}
	for _, d := range []string{x.dir, filepath.Join(x.dir, "run")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	secret := `"` + user + `" * "` + password + "\" *\n"
	for name, text := range map[string]string{
		"options": subscriberOptions, "pap-secrets": secret, "chap-secrets": secret,
		"peer": "plugin rp-pppoe.so\nnic-" + device + "\nuser \"" + user + "\"\n" + strings.Join(options, "\n") + "\n",
	} {
		if err := os.WriteFile(filepath.Join(x.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("sh", "-c", `mkdir -p /etc/ppp && mount --bind "$1" /etc/ppp && mount --bind "$1/run" /run && exec pppd file /etc/ppp/peer`, "sh", x.dir)
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	x.Proc = h.start("pppd", c)
	return x
}

// WaitUp waits until the subscriber has an IPv4 address, and returns its interface and both addresses.
func (x *Subscriber) WaitUp() (device, local, remote string) {
	x.Host.l.t.Helper()
	device = strings.TrimPrefix(after(x.WaitLog("Using interface "), "Using interface "), " ")
	local = after(x.WaitLog("local  IP address "), "local  IP address ")
	remote = after(x.WaitLog("remote IP address "), "remote IP address ")
	return strings.TrimSpace(device), strings.TrimSpace(local), strings.TrimSpace(remote)
}

func after(line, mark string) string {
	_, rest, _ := strings.Cut(line, mark)
	return rest
}
