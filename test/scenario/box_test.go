//go:build kernel

package scenario

import (
	"fmt"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// pair is two boxes on one wire, each with a LAN address of its own on the loopback: enough where only the boxes matter.
//
//	192.168.10.1 a (10.0.0.1) ----- (10.0.0.2) b 192.168.20.1
type pair struct {
	*lab.Lab
	a, b *lab.Host
}

func newPair(t testing.TB) *pair {
	t.Helper()
	l := lab.New(t)
	p := &pair{l, l.Host("a"), l.Host("b")}
	l.Link(p.a.At("10.0.0.1/24", "fd00::1/64"), p.b.At("10.0.0.2/24", "fd00::2/64"))
	p.a.IP("addr add 192.168.10.1/24 dev lo")
	p.b.IP("addr add 192.168.20.1/24 dev lo")
	return p
}

// joined checks that the LAN addresses reach each other.
func (p *pair) joined(t *testing.T) {
	t.Helper()
	p.a.Reaches("192.168.20.1", "192.168.10.1")
}

// caller configures a to call b. extra is for the call, more is lines of their own.
func caller(extra string, more ...string) string {
	return box("a", "10.0.0.2", "192.168.20.0/24", "autostart: on, "+extra, more)
}

// answerer configures b to answer a.
func answerer(extra string, more ...string) string {
	return box("b", "10.0.0.1", "192.168.10.0/24", extra, more)
}

func box(self, peer, route, extra string, more []string) string {
	extra = strings.TrimSuffix(strings.TrimSpace(extra), ",")
	if extra != "" {
		extra += ", "
	}
	return fmt.Sprintf(`
server: {hostname: %s}
calls:
  remote: {peer: %s, remote: remote, redial: {min: 500ms, max: 1s}, %sppp: {template: lan, routes: [%s]}}
ppp: {templates: {lan: {auth: none}}}
log: {level: debug}
%s
`, self, peer, extra, route, strings.Join(more, "\n"))
}
