package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Peers gives the addresses that a call's peer name resolved to, by the call's key in Policy.Calls. It is asked only for
// calls whose Peer is not an address; nil, or an empty answer, means that they are not known now.
type Peers = func(call string) []netip.Addr

// Admit says that packets from src may be looked at (S52); else they are dropped in silence and counted.
func (p *Policy) Admit(src netip.Addr) bool {
	if len(p.Server.AllowFrom) == 0 {
		return true
	}
	return slices.ContainsFunc(p.Server.AllowFrom, func(r Range) bool { return r.Contains(src) })
}

// Roles says which offers we answer (S44): an ICRQ makes us the LNS of the call, an OCRQ its LAC.
func (p *Policy) Roles() (incoming, outgoing bool) {
	switch p.Server.Mode {
	case ModeNone:
		return false, false
	case ModeLAC:
		return false, true
	case ModeLNS:
		return true, false
	case ModeBoth:
		return true, true
	}
	return false, false
}

// ForSCCRQ says how an SCCRQ from src, whose Host Name AVP is hostName, is answered: nobody is let in who fits neither an
// accept entry nor a call (S83, default deny; the filter of Admit came before: S85). The secret is that of the most
// specific source range, else of the host name, else the default (P129, S46-S48). An empty Responder.Secret means no
// tunnel authentication.
func (p *Policy) ForSCCRQ(src netip.Addr, hostName string, peers Peers) Responder {
	r := Responder{Accept: p.accept(src, hostName)}
	var calls compat
	r.Calls, calls = p.callsFor(src, peers)
	incoming, outgoing := p.Roles()
	switch {
	case !incoming && !outgoing:
		return refuseSCCRQ("server.mode is none: no role to answer in")
	case r.Accept == nil && !r.Calls && (!outgoing || !p.dialsFor(src)):
		return refuseSCCRQ(fmt.Sprintf("no accept entry and no call for %v", src))
	}
	if r.Accept != nil {
		calls.add(r.Accept.PRE13, r.Accept.IgnoreWindow13)
	}
	r.PRE13, r.IgnoreWindow13 = calls.pre13, calls.ignoreWindow
	if rule := p.secret(src, hostName); rule != nil && !rule.None {
		r.Secret = rule.Secret
	}
	return r
}

func refuseSCCRQ(reason string) Responder { return Responder{Refuse: true, Reason: reason} }

// accept finds the most specific accept entry (S84): by range, then one that asks for this host name.
func (p *Policy) accept(src netip.Addr, hostName string) *Accept {
	var best *Accept
	for i := range p.Accept {
		e := &p.Accept[i]
		if !e.From.Contains(src) || !fitsHost(e.HostName, hostName) {
			continue
		}
		if best == nil || narrower(e.From, e.HostName, best.From, best.HostName) {
			best = e
		}
	}
	return best
}

// compat is the tolerance for peers of the drafts before 13 that the calls or entries of one source ask for.
type compat struct{ pre13, ignoreWindow bool }

func (c *compat) add(pre13, ignoreWindow bool) {
	c.pre13 = c.pre13 || pre13
	c.ignoreWindow = c.ignoreWindow || pre13 && ignoreWindow
}

// callsFor says whether a virtual call has src for its peer or any peer, and what PRE13 is for those that fit best: the
// calls that name the peer, else the passive ones.
func (p *Policy) callsFor(src netip.Addr, peers Peers) (fits bool, pre13 compat) {
	var passive, named bool
	var ofPassive, ofNamed compat
	for key, c := range p.Calls {
		switch {
		case c.Type != CallVirtual:
		case c.Passive:
			passive = true
			ofPassive.add(c.PRE13, c.IgnoreWindow13)
		case hasPeer(key, c, src, peers):
			named = true
			ofNamed.add(c.PRE13, c.IgnoreWindow13)
		}
	}
	if named {
		return true, ofNamed
	}
	return passive, ofPassive
}

// hasPeer says that src is the address, or one of the addresses, of the call's peer.
func hasPeer(key string, c *Call, src netip.Addr, peers Peers) bool {
	if !src.IsValid() {
		return false
	}
	src = src.Unmap()
	if a, err := netip.ParseAddr(c.Peer); err == nil {
		return a.Unmap() == src
	}
	if peers == nil || c.Peer == "" {
		return false
	}
	return slices.ContainsFunc(peers(key), func(a netip.Addr) bool { return a.Unmap() == src })
}

// secret finds the rule that fits best (P129): a particular source range, then a host name, then the default.
func (p *Policy) secret(src netip.Addr, hostName string) *SecretRule {
	var best *SecretRule
	for i := range p.Secrets {
		r := &p.Secrets[i]
		if !r.From.Contains(src) || !fitsHost(r.HostName, hostName) {
			continue
		}
		if best == nil || narrower(r.From, r.HostName, best.From, best.HostName) {
			best = r
		}
	}
	return best
}

// narrower orders two rows that fit one source: a particular range stands before a host name, a host name before a row
// for everyone; then the smaller range, then the one that asks for a host name. Of two identical rows the first stays.
func narrower(from Range, host string, than Range, thanHost string) bool {
	if a, b := class(from, host), class(than, thanHost); a != b {
		return a < b
	}
	if c := from.Compare(than); c != 0 {
		return c < 0
	}
	return host != "" && thanHost == ""
}

func class(from Range, host string) int {
	switch {
	case !from.IsWhole():
		return 0
	case host != "":
		return 1
	}
	return 2
}

func fitsHost(want, got string) bool { return want == "" || strings.EqualFold(want, got) }
