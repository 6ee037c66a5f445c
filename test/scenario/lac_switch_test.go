//go:build kernel

package scenario

import (
	"testing"

	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// Tunnel switching: calls that come by one tunnel go on by another, by the rules, and the kernel carries the frames from the one to the
// other. Those whom a rule keeps here have their PPP here.
func TestCallsAreSwitchedFromTunnelToTunnel(t *testing.T) {
	t.Parallel() // it waits more than it works
	l := lab.New(t)
	edge, middle, far := l.Host("edge"), l.Host("middle"), l.Host("far")
	l.Link(edge.At("10.5.1.1/24"), middle.At("10.5.1.2/24"))
	l.Link(middle.At("10.5.2.1/24"), far.At("10.5.2.2/24"))
	lns := far.L2TPD(ourLNS)
	ours := middle.L2TPD(`
server: {mode: both, hostname: middle}
secrets: [{from: 10.5.1.0/24, secret: ` + otherSecret + `}]
lns: {accept: [{from: 10.5.1.0/24, template: here}]}
lac:
  switch: on
  rules:
    - {match: {realm: corp.example}, action: tunnel, lns: [{address: 10.5.2.2}], secret: ` + tunnelSecret + `}
    - {match: local, action: local}
ppp: {templates: {here: {auth: [chap, pap], ipv4_local: 10.8.9.1}}}
users: {rover: {password: ` + theirPass + `, ipv4: 10.8.9.10}}
log: {level: debug}
`)
	dial := func(user string) {
		edge.ForeignPeer(foreignLAC("10.5.1.2", user, "autodial = yes", "challenge = yes"), append(passwords(user+" * "+theirPass), tunnelKey(otherSecret)...)...)
	}
	dial("alice@corp.example")
	s := lns.WaitSessions(1)[0]
	if s.User != "alice@corp.example" || s.ProxyAuth != "chap" {
		t.Errorf("the LNS serves %q, whose LAC says that he logged in by %q", s.User, s.ProxyAuth)
	}
	edge.Reaches("10.8.0.1")
	before := ours.Status().Counters.PPPFrames.In
	edge.Run("ping", "-c", "20", "-i", "0.01", "-q", "10.8.0.1")
	if n := ours.Status().Counters.PPPFrames.In - before; n != 0 {
		t.Errorf("the daemon in the middle has seen %d frames of 20 echoes", n)
	}
	ours.WaitLog("call forwarded.*user=alice@corp.example lns=10.5.2.2")
	lns.Ctl("session", "close", "alice@corp.example")
	ours.WaitLog("call down.*(at the LNS|the peer)") // whichever of its two ends is first
	ours.WaitSessions(0)
	discreet(t, ours, lns)
}
