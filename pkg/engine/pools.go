package engine

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/pool"
)

// pools hands out addresses. Only shard 0 touches it.
type pools struct {
	byName map[string]*poolOf
	owned  map[netip.Addr]*owned // users' own addresses in use

	pol      *policy.Policy // that reserved was made from
	reserved map[netip.Addr]bool
}

// poolOf is a pool with what it was made from: a reload that changes that makes a new one.
type poolOf struct {
	ranges   []policy.Range
	reserved map[netip.Addr]bool
	free     *pool.Pool
	used     map[netip.Addr]bool
}

func newPools() *pools {
	return &pools{byName: map[string]*poolOf{}, owned: map[netip.Addr]*owned{}}
}

// allocate finds an address for a user in the pool of that name as p has it, or, where p has none any more, in conf.
func (x *pools) allocate(p *policy.Policy, conf *policy.Pool, user string) (netip.Addr, bool) {
	if now := p.Pools[conf.Name]; now != nil {
		conf = now
	}
	if x.pol != p {
		x.pol, x.reserved = p, reserved(p)
	}
	of := x.byName[conf.Name]
	if of == nil {
		of = &poolOf{used: map[netip.Addr]bool{}}
		x.byName[conf.Name] = of
	}
	if of.free == nil || !slices.Equal(of.ranges, conf.Ranges) || !sameIn(of.free, of.reserved, x.reserved) {
		of.make(conf.Ranges, x.reserved)
	}
	a, ok := of.free.Allocate(user)
	if ok {
		of.used[a] = true
	}
	return a, ok
}

// make begins anew with what is reserved and what live sessions have.
func (of *poolOf) make(ranges []policy.Range, reserved map[netip.Addr]bool) {
	of.ranges, of.reserved, of.free = ranges, reserved, pool.New(ranges)
	for a := range reserved {
		of.free.Claim(a)
	}
	for a := range of.used {
		of.free.Claim(a)
	}
}

// sameIn says that two sets are the same as far as a pool goes.
func sameIn(p *pool.Pool, a, b map[netip.Addr]bool) bool {
	within := func(x, y map[netip.Addr]bool) bool {
		for addr := range x {
			if !y[addr] && p.Contains(addr) {
				return false
			}
		}
		return true
	}
	return within(a, b) && within(b, a)
}

// release takes an address back.
func (x *pools) release(name string, a netip.Addr) {
	of := x.byName[name]
	if of == nil || !of.used[a] {
		return
	}
	delete(of.used, a)
	if !of.reserved[a] {
		of.free.Release(a)
	}
}

// reserved are the addresses that no pool may give to anybody: those of users, of the peers of calls, and our own (P262).
func reserved(p *policy.Policy) map[netip.Addr]bool {
	set := map[netip.Addr]bool{}
	add := func(addrs ...netip.Addr) {
		for _, a := range addrs {
			if a.IsValid() {
				set[a.Unmap()] = true
			}
		}
	}
	for _, u := range p.Users {
		add(u.IPv4)
	}
	for _, c := range p.Calls {
		add(c.PPP.Local, c.PPP.Peer)
	}
	for _, t := range p.Templates {
		add(t.IPv4Local)
	}
	return set
}

// foreign says whether a peer may have a as its own address: it is neither ours nor ours to give (P262).
func foreign(p *policy.Policy, a netip.Addr) bool {
	for _, x := range p.Pools {
		if slices.ContainsFunc(x.Ranges, func(r policy.Range) bool { return r.Contains(a) }) {
			return false
		}
	}
	for _, u := range p.Users {
		if u.IPv4 == a {
			return false
		}
	}
	for _, t := range p.Templates {
		if t.IPv4Local == a {
			return false
		}
	}
	for _, c := range p.Calls {
		if c.PPP.Local == a {
			return false
		}
	}
	return true
}

// conflict says why the address that the peer of a configured call brought with it cannot be: it was not given here, and is ours.
func (s *session) conflict(n call.Network) error {
	if s.conf == nil || !n.IPv4 || !n.Peer.IsValid() || n.Peer == s.conf.PPP.Peer || n.Peer == s.pooled || n.Peer == s.owned || foreign(s.pol, n.Peer) {
		return nil
	}
	return errors.New(notForeign(n.Peer))
}

func notForeign(a netip.Addr) string { return "the peer's address " + a.String() + " is one of ours" }

// owned is a user's own address: one session has it at a time. The newest login wins (S17): the box that comes back after it has
// lost power must not wait for the end of its older session.
type owned struct {
	holder *session
	next   *session
	give   func(refusal string) // answers next
}

// own asks for a user's own address, in shard 0. give is called there, once the session that had it has given it back; with the
// reason when it is not to be had. Whoever has it from a pool, from before it was the user's own, keeps it.
func (x *pools) own(a netip.Addr, s *session, give func(refusal string)) {
	for _, of := range x.byName {
		if of.used[a] {
			give("address " + a.String() + " is still in use")
			return
		}
	}
	o := x.owned[a]
	if o == nil {
		o = &owned{holder: s}
		x.owned[a] = o
	}
	if o.holder == s {
		give("")
		return
	}
	if o.next != nil {
		o.give("logged in elsewhere")
	}
	old := o.holder
	o.next, o.give = s, give
	old.replacedBy(s)
}

// disown takes a user's own address back.
func (x *pools) disown(a netip.Addr, s *session) {
	o := x.owned[a]
	switch {
	case o == nil || o.holder != s:
	case o.next == nil:
		delete(x.owned, a)
	default:
		give := o.give
		o.holder, o.next, o.give = o.next, nil, nil
		give("")
	}
}
