//go:build kernel

package lab

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Film is an l2tpctl capture under way.
type Film struct {
	*Proc
	Path string // of its file
}

// Film begins a capture of what the arguments say.
func (d *Daemon) Film(args ...string) *Film {
	l := d.Host.l
	l.t.Helper()
	f := &Film{Path: filepath.Join(l.t.TempDir(), "film.pcapng")}
	mark := d.Mark()
	command := []string{l.Binary("l2tpctl"), "--socket", filepath.Join(d.run, "l2tpd.sock"), "capture", "-w", f.Path}
	f.Proc = d.Host.Start("film-"+strings.Trim(args[0], "-"), append(command, args...)...)
	d.WaitLogSince(mark, "capture begins")
	return f
}

// Cut ends the capture by Ctrl-C and returns its file.
func (f *Film) Cut() []byte {
	t := f.Host.l.t
	t.Helper()
	f.Signal(unix.SIGINT)
	if code := f.Wait(); code != 0 {
		t.Fatalf("%s: exit code %d\n%s", f.Name, code, f.Log())
	}
	b, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Shark reads the file by tshark, and returns what that prints.
func (f *Film) Shark(args ...string) string {
	f.Host.l.t.Helper()
	return f.Host.Run("sh", append([]string{"-c", `exec tshark -r "$0" "$@" 2>/dev/null`, f.Path}, args...)...)
}
