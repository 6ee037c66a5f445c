package engine

import (
	"net/netip"
	"slices"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// owned is a user's own address or prefix: one session has it at a time. The newest login wins (S17): the box that comes back after it
// has lost power must not wait for the end of its older session.
type owned struct {
	prefix netip.Prefix // invalid: it is an address
	holder *session
	next   *session
	give   func(refusal string) // answers next
}

// ask has s be the next holder.
func (o *owned) ask(s *session, give func(refusal string)) {
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

// leave is the going of s, who has it or waits for it. It is free then unless somebody waits for it.
func (o *owned) leave(s *session) (free bool) {
	give := o.give
	switch {
	case o.next == s:
		o.next, o.give = nil, nil
		give("the session has ended")
	case o.holder != s:
	case o.next == nil:
		return true
	default:
		o.holder, o.next, o.give = o.next, nil, nil
		give("")
	}
	return false
}

// claims are the prefixes that are users' own and in use, in the order of their addresses. None overlaps another.
type claims []*owned

// at is where those begin that have an address in common with p, and behind the last of them.
func (c claims) at(p netip.Prefix) (from, to int) {
	from, _ = slices.BinarySearchFunc(c, p, func(o *owned, p netip.Prefix) int { return o.prefix.Addr().Compare(p.Addr()) })
	if from > 0 && c[from-1].prefix.Overlaps(p) {
		from--
	}
	for to = from; to < len(c) && c[to].prefix.Overlaps(p); to++ {
	}
	return from, to
}

// over are those that have an address in common with p.
func (c claims) over(p netip.Prefix) claims {
	from, to := c.at(p)
	return c[from:to]
}

// own asks for a user's own address, in shard 0. give is called there, once the session that had it has given it back; with the
// reason when it is not to be had. Whoever has it from a pool, from before it was the user's own, keeps it.
func (x *pools) own(a netip.Addr, s *session, give func(refusal string)) {
	if x.lent(a, nil) {
		give("address " + a.String() + " is still in use")
		return
	}
	if x.owned[a] == nil {
		x.owned[a] = &owned{holder: s}
	}
	x.owned[a].ask(s, give)
}

// disown takes a user's own address back, or the wish for it.
func (x *pools) disown(a netip.Addr, s *session) {
	if o := x.owned[a]; o != nil && o.leave(s) {
		delete(x.owned, a)
	}
}

// ownPrefixes is own for some prefixes, one after the other. All sessions ask in one order, for their address before, so that no two wait
// for each other: a session that waits is not released.
func (x *pools) ownPrefixes(all []netip.Prefix, s *session, give func(refusal string)) {
	if len(all) == 0 {
		give("")
		return
	}
	x.ownPrefix(all[0], s, func(refusal string) {
		if refusal != "" {
			give(refusal)
			return
		}
		x.ownPrefixes(all[1:], s, give)
	})
}

// ownPrefix is own for a prefix. One that is another's in part is not to be had: whose it should be cannot be told.
func (x *pools) ownPrefix(p netip.Prefix, s *session, give func(refusal string)) {
	from, to := x.claims.at(p)
	switch over := x.claims[from:to]; {
	case len(over) == 1 && (over[0].prefix == p || over[0].holder == s): // it has the wider one first
		over[0].ask(s, give)
	case len(over) > 0:
		give("prefix " + p.String() + " overlaps " + over[0].prefix.String() + ", which is in use")
	case x.lends(p, nil):
		give("prefix " + p.String() + " is still in use")
	default:
		x.claims = slices.Insert(x.claims, from, &owned{prefix: p, holder: s})
		give("")
	}
}

// lends says that somebody has a part of p from a pool, where p itself from that one does not count.
func (x *pools) lends(p netip.Prefix, but *stock[netip.Prefix, policy.Subnets]) bool {
	for _, k := range x.prefixes {
		for q := range k.used {
			if q.Overlaps(p) && (k != but || q != p) {
				return true
			}
		}
	}
	return false
}

// disownPrefix takes a user's own prefix back, or the wish for it.
func (x *pools) disownPrefix(p netip.Prefix, s *session) {
	from, to := x.claims.at(p)
	if to == from+1 && x.claims[from].prefix == p && x.claims[from].leave(s) {
		x.claims = slices.Delete(x.claims, from, to)
	}
}
