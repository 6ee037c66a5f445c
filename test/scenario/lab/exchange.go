//go:build kernel

package lab

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Exchange is a telephone line between two ttys, with a modem at the near one. Nothing passes before Connect, or before the modem has been
// told to dial.
type Exchange struct {
	Near, Far string // devices: for the line of a LAC, and for the subscriber's pppd

	l         *Lab
	near, far *os.File
	said      *bufio.Reader
	mu        sync.Mutex
	joined    bool
}

// Exchange lays such a line.
func (l *Lab) Exchange() *Exchange {
	l.t.Helper()
	x := &Exchange{l: l}
	x.near, x.Near = pty(l)
	x.far, x.Far = pty(l)
	x.said = bufio.NewReader(x.near)
	l.t.Cleanup(x.HangUp)
	return x
}

// pty opens a pseudo terminal, whose other end is raw.
func pty(l *Lab) (master *os.File, device string) {
	l.t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		l.t.Fatal(err)
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, t); err != nil {
		l.t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "ptmx"), fmt.Sprintf("/dev/pts/%d", n)
}

// Say has the modem say something to its line.
func (x *Exchange) Say(text string) {
	x.l.t.Helper()
	if _, err := x.near.WriteString("\r\n" + text + "\r\n"); err != nil {
		x.l.t.Fatal(err)
	}
}

// Hear waits until the modem is told something that begins with a command, and returns the rest of the line.
func (x *Exchange) Hear(command string) string {
	x.l.t.Helper()
	_ = x.near.SetReadDeadline(time.Now().Add(Patience))
	for {
		line, err := x.said.ReadString('\r')
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), command); ok {
			_ = x.near.SetReadDeadline(time.Time{})
			return rest
		}
		if err != nil && !strings.Contains(err.Error(), "input/output error") { // which is a line that nobody has open
			x.l.t.Fatalf("the modem is not told %s: %v", command, err)
		}
	}
}

// Connect joins both ends: all octets pass from now on.
func (x *Exchange) Connect() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.joined {
		return
	}
	x.joined = true
	pass := func(to io.Writer, from io.Reader) { _, _ = io.Copy(to, from) } // until either is closed
	go pass(x.far, x.said)
	go pass(x.near, x.far)
}

// HangUp ends the line: both devices are gone.
func (x *Exchange) HangUp() {
	_ = x.near.Close()
	_ = x.far.Close()
}

// OnLine is a subscriber's pppd at the far end of a telephone line. It has /run and /etc/ppp to itself.
func (h *Host) OnLine(x *Exchange, user, password string, options ...string) *Subscriber {
	t := h.l.t
	t.Helper()
	s := &Subscriber{dir: filepath.Join(h.l.dir, h.Name+"-"+strings.ReplaceAll(user, "/", "_")+"-ppp")}
	if err := os.MkdirAll(filepath.Join(s.dir, "run", "lock"), 0o755); err != nil {
		t.Fatal(err)
	}
	secret := `"` + user + `" * "` + password + "\" *\n"
	for name, text := range map[string]string{
		"options": subscriberOptions, "pap-secrets": secret, "chap-secrets": secret,
		"peer": x.Far + " 115200\nlocal\nnocrtscts\nuser \"" + user + "\"\n" + strings.Join(options, "\n") + "\n",
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("sh", "-c", `mkdir -p /etc/ppp && mount --bind "$1" /etc/ppp && mount --bind "$1/run" /run && exec pppd file /etc/ppp/peer`, "sh", s.dir)
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	s.Proc = h.start("pppd", c)
	return s
}
