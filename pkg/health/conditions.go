package health

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// Names of the conditions. They are part of the interface: alerts and scripts rely on them.
const (
	NoDataPath      = "no-data-path"
	Incomplete      = "incomplete"
	KernelTooOld    = "kernel-too-old"
	PeerUnreachable = "peer-unreachable"
	LNSNotServing   = "lns-not-serving"
	PoolNearlyEmpty = "pool-nearly-empty"
	RADIUSDead      = "radius-dead"
	ClearTextPeer   = "clear-text-peer"
)

// condition is one row of the table.
type condition struct {
	name   string
	delay  time.Duration // for which it must hold before it is raised
	unless string        // the condition that explains it: while that holds this one does not count; empty: none
	advice string
	// holds gives the sentence that says what is wrong, or nothing. raised: the condition is raised already, and may take more to end
	// than to begin. The Snapshot has a Status and the calls.
	holds func(s *api.Snapshot, raised bool) string
}

// Names are the names of all conditions, in the order of the table.
func Names() []string {
	var all []string
	for _, c := range table() {
		all = append(all, c.name)
	}
	return all
}

// table is every condition, one that explains another before it. It is made anew on each call: nobody shares it.
func table() []condition {
	return []condition{
		{
			name: NoDataPath, advice: "l2tpctl status says why under Problems; mend that and restart l2tpd",
			holds: func(s *api.Snapshot, _ bool) string {
				return when(s.Status.Kernel.Release == "", "the kernel's L2TP cannot be used: every tunnel is refused")
			},
		},
		{
			name: Incomplete, unless: NoDataPath, advice: "l2tpctl status names them under Problems; mend them and restart l2tpd",
			holds: func(s *api.Snapshot, _ bool) string { return list("does not work as configured", s.Status.Problems) },
		},
		{
			name: KernelTooOld, advice: "update the kernel: 6.1.190, 6.12.110, or a later series",
			holds: func(s *api.Snapshot, _ bool) string {
				return when(s.Status.Kernel.BelowMinimum, "kernel "+s.Status.Kernel.Release+" has known faults in L2TP and PPP")
			},
		},
		{
			name: PeerUnreachable, delay: 30 * time.Second, unless: NoDataPath, holds: peerUnreachable,
			advice: "l2tpctl call show NAME has the last error; look at the route, and at the firewalls of both sides (UDP 1701)",
		},
		{
			name: LNSNotServing, delay: 30 * time.Second, unless: NoDataPath, holds: lnsNotServing,
			advice: "look at that LNS and the way to it; journalctl -u l2tpd L2TP_EVENT=lns-locked tells why it is left alone",
		},
		{
			name: PoolNearlyEmpty, delay: 30 * time.Second, holds: poolNearlyEmpty,
			advice: "make its ranges larger (pools), or look for sessions that should have ended (l2tpctl session list)",
		},
		{
			name: RADIUSDead, delay: 10 * time.Second, holds: radiusDead,
			advice: "look at the servers and the way to them; l2tpctl status --counters shows what they were asked",
		},
		{
			name: ClearTextPeer, delay: 30 * time.Second, holds: clearTextPeer,
			advice: "give the tunnel a secret (secrets, or the call's secret), have users log in by chap or mschapv2, or run it over IPsec",
		},
	}
}

// when is a sentence, if it is true.
func when(is bool, sentence string) string {
	if is {
		return sentence
	}
	return ""
}

// most is how many objects a sentence names.
const most = 3

// list is a sentence about things, of which it names the first; nothing if there are none.
func list(what string, things []string) string {
	if len(things) == 0 {
		return ""
	}
	named := strings.Join(things[:min(most, len(things))], ", ")
	if n := len(things) - most; n > 0 {
		named += fmt.Sprintf(" and %d more", n)
	}
	return what + ": " + named
}

// peerUnreachable finds configured calls that ought to be up, and whose peers give no answer. One that waits for its first packet, or
// that nobody wants, says nothing of its peer.
func peerUnreachable(s *api.Snapshot, _ bool) string {
	var calls []string
	for i := range s.Calls {
		c := &s.Calls[i]
		trying := c.State == api.CallDialling || c.State == api.CallWaiting && !c.NextRedial.IsZero()
		if trying && c.LastError != nil && c.LastError.Stage == "transport" {
			calls = append(calls, c.Name)
		}
	}
	return list("peers of calls cannot be reached", calls)
}

func lnsNotServing(s *api.Snapshot, _ bool) string {
	var all []string
	for _, n := range s.Status.LNS {
		if !n.LockedUntil.IsZero() {
			all = append(all, n.Address.String())
		}
	}
	return list("LNSs do not serve", all)
}

// poolNearlyEmpty finds pools of which no more than a tenth is free; such a one counts until more than three twentieths are.
func poolNearlyEmpty(s *api.Snapshot, raised bool) string {
	part := 0.1
	if raised {
		part = 0.15
	}
	var all []string
	for _, p := range s.Status.Pools {
		if free := p.Size - min(p.Used, p.Size); p.Size > 0 && float64(free) <= part*float64(p.Size) {
			all = append(all, fmt.Sprintf("%s (%d of %d free)", p.Name, free, p.Size))
		}
	}
	return list("pools are nearly empty", all)
}

// radiusDead finds what no RADIUS server is left for.
func radiusDead(s *api.Snapshot, _ bool) string {
	if s.Status.RADIUS == nil {
		return ""
	}
	var dead []string
	for _, purpose := range []string{api.RADIUSLogins, api.RADIUSAccounting} {
		of := slices.DeleteFunc(slices.Clone(s.Status.RADIUS.Servers), func(x api.RADIUSServer) bool { return x.Purpose != purpose })
		if len(of) > 0 && !slices.ContainsFunc(of, func(x api.RADIUSServer) bool { return x.DeadSince.IsZero() }) {
			dead = append(dead, purpose)
		}
	}
	return list("no RADIUS server answers", dead)
}

// clearTextPeer finds tunnels whose peers have proved nothing, and through which passwords go in clear.
func clearTextPeer(s *api.Snapshot, _ bool) string {
	var all []string
	for _, a := range s.Status.ClearText {
		all = append(all, a.String())
	}
	return list("passwords go in clear (PAP) through tunnels without a secret, with peers", all)
}
