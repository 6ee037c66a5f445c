//go:build kernel

package scenario

import (
	"regexp"
	"testing"
)

// What l2tpctl top shows of a session that carries something is what the kernel has counted between two looks.
func TestTopShowsWhatASessionCarries(t *testing.T) {
	p := newPair(t)
	b := p.b.L2TPD(answerer(""))
	a := p.a.L2TPD(caller(""))
	a.WaitUp("remote")
	b.WaitUp("remote")
	p.joined(t)
	ping := p.a.Start("ping", "ping", "-q", "-i", "0.05", "-s", "1000", "-I", "192.168.10.1", "192.168.20.1")
	out := a.Ctl("top", "--once", "--interval", "3s")
	ping.Kill()
	if !regexp.MustCompile(`(?m)^\d+/\d+ +remote +remote +[1-9][0-9.]*kbit +[1-9][0-9.]*kbit +\S+ +established$`).MatchString(out) {
		t.Errorf("no rates of session, call and interface remote:\n%s", out)
	}
	if out := b.Ctl("top", "-o", "json"); !regexp.MustCompile(`"in_octets": [1-9]`).MatchString(out) {
		t.Errorf("no counters:\n%s", out)
	}
}
