//go:build kernel

package lab

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pppOptions are the options of every pppd below an xl2tpd. They say nothing of authentication, which xl2tpd.conf decides;
// "logfd 2" is xl2tpd's own standard error, so that one log tells the whole story in order. A pppd that ends does not wait long for
// an answer.
const pppOptions = `noauth
logfd 2
debug
hide-password
nodefaultroute
noccp
novj
noipdefault
lcp-restart 1
lcp-max-terminate 1
+ipv6
`

// ForeignPeer is an xl2tpd with the pppds that it starts, whose log is xl2tpd's own. It has /run, /etc/xl2tpd and /etc/ppp to itself.
type ForeignPeer struct {
	*Proc

	run   string // what it sees as /run
	files string // what it sees as /etc/xl2tpd and /etc/ppp
	alive bool
}

// ForeignPeer runs xl2tpd with a configuration and waits until it listens. files are put into its /etc/xl2tpd, which is its /etc/ppp,
// too: name, content, ... (l2tp-secrets, chap-secrets, pap-secrets). Lines of a file "options" are added to pppd's usual ones, those of
// "only-options" take their place.
func (h *Host) ForeignPeer(conf string, files ...string) *ForeignPeer {
	t := h.l.t
	t.Helper()
	x := &ForeignPeer{run: filepath.Join(h.l.dir, h.Name+"-xrun"), files: filepath.Join(h.l.dir, h.Name+"-xetc")}
	for _, dir := range []string{filepath.Join(x.run, "xl2tpd"), x.files} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put := map[string]string{"xl2tpd.conf": conf, "l2tp-secrets": "", "options": ""}
	for i := 0; i+1 < len(files); i += 2 {
		put[files[i]] = files[i+1]
	}
	usual := pppOptions
	if strings.Contains(put["options"], "mppe") {
		usual = strings.Replace(usual, "noccp\n", "", 1) // which carries it
	}
	put["options"] = usual + put["options"]
	if only, ok := put["only-options"]; ok {
		put["options"] = only
	}
	for name, text := range put {
		text = strings.ReplaceAll(text, "\t", "")
		if err := os.WriteFile(filepath.Join(x.files, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	x.Proc = &Proc{Name: h.Name + "-xl2tpd", Host: h}
	x.Start()
	return x
}

// Start starts xl2tpd, again after Kill or Stop, and waits until it listens.
func (x *ForeignPeer) Start() {
	h := x.Host
	h.l.t.Helper()
	// Its own mount namespace: see ForeignPeer. /run last, for the scratch directory may be below it.
	c := exec.Command("sh", "-c", `
		mkdir -p /etc/xl2tpd /etc/ppp && mount --bind "$2" /etc/xl2tpd && mount --bind "$2" /etc/ppp && mount --bind "$1" /run && shift 2 && exec "$@"`,
		"sh", x.run, x.files, "xl2tpd", "-D", "-p", "/run/xl2tpd.pid", "-C", "/run/xl2tpd/l2tp-control")
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	x.Proc = h.start("xl2tpd", c)
	x.alive = true
	h.l.t.Cleanup(func() { // before the lab's own end
		if x.alive && !h.l.t.Failed() {
			x.Stop()
		}
	})
	x.WaitLog("Listening on IP address")
}

// Stop sends SIGTERM, upon which xl2tpd says StopCCN to every peer, ends its pppds and exits with code 1.
func (x *ForeignPeer) Stop() {
	x.Host.l.t.Helper()
	x.alive = false
	x.Signal(unix.SIGTERM)
	again := time.AfterFunc(Patience/4, func() { _ = x.cmd.Process.Signal(unix.SIGTERM) }) // one that comes at a bad moment is lost there
	defer again.Stop()
	if code := x.Wait(); code != 1 {
		x.Host.l.t.Fatalf("%s: exit code %d after SIGTERM, want 1, which is its own", x.Name, code)
	}
}

// Kill sends SIGKILL to xl2tpd and to its pppds, which would hold the kernel's sessions.
func (x *ForeignPeer) Kill() {
	x.Host.l.t.Helper()
	x.alive = false
	x.Proc.Kill()
}

// Control gives xl2tpd a command by its control file, as xl2tpd-control does, and returns its answer: "c lac [user password]"
// connects, "d lac" disconnects the tunnel, "h number" ends a call. An answer that begins with 00 is good.
func (x *ForeignPeer) Control(command string) (answer string) {
	x.Host.l.t.Helper()
	x.Host.l.Eventually(x.Name+": "+command, func() error { // it closes its control file and opens it again after each command
		var err error
		answer, err = x.control(command)
		return err
	})
	return answer
}

func (x *ForeignPeer) control(command string) (string, error) {
	path := filepath.Join(x.run, "answer")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return "", err
	}
	defer os.Remove(path) // xl2tpd does, too
	answer, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer answer.Close()
	if err := answer.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		return "", err
	}
	f, err := os.OpenFile(filepath.Join(x.run, "xl2tpd", "l2tp-control"), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := f.WriteString("@/run/answer " + command); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(answer).ReadString('\n')
	return strings.TrimSpace(line), err
}

// Connect makes xl2tpd call by a lac section. While its previous session is not quite gone, it refuses.
func (x *ForeignPeer) Connect(lac string) {
	x.Host.l.t.Helper()
	x.Host.l.Eventually(x.Name+": connect "+lac, func() error {
		if answer := x.Control("c " + lac); !strings.HasPrefix(answer, "00") {
			return errors.New(answer)
		}
		return nil
	})
}
