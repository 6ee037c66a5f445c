//go:build kernel

package lab

import (
	"path/filepath"
	"strings"
)

// Debug begins an l2tpctl debug of what the arguments say. Its output is the Proc's log.
func (d *Daemon) Debug(args ...string) *Proc {
	l := d.Host.l
	l.t.Helper()
	mark := d.Mark()
	command := []string{l.Binary("l2tpctl"), "--socket", filepath.Join(d.run, "l2tpd.sock"), "debug"}
	p := d.Host.Start("debug-"+strings.Join(args, ""), append(command, args...)...)
	d.WaitLogSince(mark, "debug begins")
	return p
}
