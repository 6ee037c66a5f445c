//go:build kernel

package lab

import (
	"os"
	"path/filepath"
	"strconv"
)

// Etc has a running daemon see a text as a file in /etc, which nobody else sees. Another text replaces it in place.
func (d *Daemon) Etc(name, text string) {
	t := d.Host.l.t
	t.Helper()
	path := filepath.Join(d.Host.l.dir, d.Host.Name+"-"+name+"-"+strconv.Itoa(d.PID()))
	_, err := os.Stat(path)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err == nil {
		return
	}
	d.Host.Run("nsenter", "--mount", "--target", strconv.Itoa(d.PID()), "sh", "-ec", `[ -e "$2" ] || : >"$2"; mount --bind "$1" "$2"`, "sh", path, "/etc/"+name)
}
