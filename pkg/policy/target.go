package policy

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Target is an LNS that a subscriber's call may go to, with all that its tunnel is made by. It comes of a rule, of DNS or of RADIUS.
type Target struct {
	Name           string         // as it was written, for show and log
	Addr           netip.AddrPort // resolved
	Local          netip.Addr     // invalid: by route
	Preference     int
	Weight         int // 0 means 1
	Secret         Secret
	HostName       string // Host Name AVP for the LNS; empty: the server's
	Expect         string // what its Host Name AVP must be; empty: anything (P232)
	Assignment     string // calls with different ones do not share a tunnel (P229)
	PrivateGroup   string // for ICCN
	MaxSessions    int
	TunnelSessions int
	Withhold       bool
	HideAVPs       bool
	NoProxyAuth    bool
	Sequencing     Sequencing
	PRE13          bool
	IgnoreWindow13 bool
	Tunnel         Tunnel
}

// Target is what the rule and one of its rows make of an address of the latter.
func (r *Rule) Target(n LNS, addr netip.Addr) Target {
	t := Target{
		Name: n.Address, Addr: netip.AddrPortFrom(addr.Unmap(), cmp.Or(n.Port, DefaultPort)), Local: r.LocalAddr,
		Preference: n.Preference, Weight: n.Weight, Secret: n.Secret, HostName: r.HostName, Assignment: r.Assignment,
		MaxSessions: n.MaxSessions, TunnelSessions: r.TunnelSessions, Withhold: r.Withhold || n.Withhold, HideAVPs: r.HideAVPs || n.HideAVPs,
		NoProxyAuth: r.NoProxyAuth, Sequencing: r.Sequencing, PRE13: r.PRE13, IgnoreWindow13: r.IgnoreWindow13, Tunnel: r.Tunnel,
	}
	if t.Secret.Empty() {
		t.Secret = r.Secret
	}
	return t
}

// ShareKey is what calls to t have in common with others that may use its tunnel.
func (t *Target) ShareKey() ShareKey {
	return ShareKey{
		Peer: t.Addr, Local: t.Local, Secret: t.Secret.digest(), Tunnel: t.Tunnel, PRE13: t.PRE13, IgnoreWindow13: t.IgnoreWindow13,
		Assignment: t.Assignment, HostName: t.HostName, HideAVPs: t.HideAVPs, Expect: t.Expect,
	}
}

// Lockouts remembers the LNSs that did not serve, and takes turns among those that do. Its zero value is ready for use. It is not
// safe for concurrent use.
type Lockouts struct {
	until map[netip.AddrPort]time.Duration
	turns map[netip.AddrPort]float64 // calls that were given to each, for its weight
}

// Lock leaves an LNS alone until a given time.
func (l *Lockouts) Lock(a netip.AddrPort, until time.Duration) {
	if l.until == nil {
		l.until = map[netip.AddrPort]time.Duration{}
	}
	if len(l.until) > maxTurns { // addresses of long ago
		clear(l.until)
	}
	l.until[a] = until
}

// Served ends the lockout of an LNS, and says whether there was one.
func (l *Lockouts) Served(a netip.AddrPort) (was bool) {
	_, was = l.until[a]
	delete(l.until, a)
	return was
}

// Locked says until when an LNS is left alone; 0: it is not.
func (l *Lockouts) Locked(a netip.AddrPort, now time.Duration) time.Duration {
	if t := l.until[a]; t > now {
		return t
	}
	return 0
}

// Order puts targets in the order in which they are tried, and counts the turn of the first: by preference, within one by balance; those
// that are left alone come last, whatever their preference, the one whose time ends first before the others. sessions says how many
// an LNS has.
func (l *Lockouts) Order(targets []Target, balance Balance, sessions func(netip.AddrPort) int, now time.Duration) []Target {
	if l.turns == nil {
		l.turns = map[netip.AddrPort]float64{}
	}
	load := func(t *Target) float64 {
		w := float64(max(1, t.Weight))
		if balance == BalanceLeastFilled {
			return float64(sessions(t.Addr)) / w
		}
		return l.turns[t.Addr]
	}
	all := slices.Clone(targets)
	slices.SortStableFunc(all, func(a, b Target) int {
		return cmp.Or(
			cmp.Compare(l.Locked(a.Addr, now), l.Locked(b.Addr, now)),
			cmp.Compare(a.Preference, b.Preference),
			cmp.Compare(load(&a), load(&b)),
		)
	})
	if len(all) > 0 {
		l.took(all)
	}
	return all
}

// took counts a turn of the first. One that has not been there, or has been left alone, begins where the others are: it is not to get all
// calls until it has had as many.
func (l *Lockouts) took(all []Target) {
	first := all[0]
	least := l.turns[first.Addr]
	for _, t := range all[1:] {
		if x, known := l.turns[t.Addr]; known && t.Preference == first.Preference {
			least = max(least, x-1)
		}
	}
	l.turns[first.Addr] = least + 1/float64(max(1, first.Weight))
	if len(l.turns) > maxTurns { // addresses of long ago
		clear(l.turns)
	}
}

// maxTurns bounds the LNSs whose turns are remembered: RADIUS and DNS may name any number.
const maxTurns = 4096

// All are the LNSs that are left alone, each with the time until when.
func (l *Lockouts) All(now time.Duration) map[netip.AddrPort]time.Duration {
	all := map[netip.AddrPort]time.Duration{}
	for a, until := range l.until {
		if until > now {
			all[a] = until
		}
	}
	return all
}
