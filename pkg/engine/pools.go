package engine

import (
	"errors"
	"maps"
	"net/netip"
	"slices"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/call"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/pool"
)

// pools hands out addresses and prefixes. Only shard 0 touches it.
type pools struct {
	addresses map[string]*stock[netip.Addr, policy.Range] // by the pool's name
	prefixes  map[string]*stock[netip.Prefix, policy.Subnets]
	owned     map[netip.Addr]*owned // users' own addresses in use
	claims    claims                // users' own prefixes in use

	pol              *policy.Policy // that reserved was made from
	reserved         map[netip.Addr]bool
	reservedPrefixes map[netip.Prefix]bool
}

func newPools() *pools {
	return &pools{
		addresses: map[string]*stock[netip.Addr, policy.Range]{}, prefixes: map[string]*stock[netip.Prefix, policy.Subnets]{},
		owned: map[netip.Addr]*owned{},
	}
}

// look takes a new policy's reservations, and finds the pool of a name as it has it, or, where it has none any more, as conf was.
func (x *pools) look(p *policy.Policy, conf *policy.Pool) *policy.Pool {
	if x.pol != p {
		x.pol, x.reserved, x.reservedPrefixes = p, reserved(p), reservedPrefixes(p)
	}
	if now := p.Pools[conf.Name]; now != nil {
		return now
	}
	return conf
}

// allocate finds an address for a user.
func (x *pools) allocate(p *policy.Policy, conf *policy.Pool, user string) (netip.Addr, bool) {
	conf = x.look(p, conf)
	k := stockOf(x.addresses, conf.Name)
	a, ok := k.allocate(pool.New, conf.Ranges, x.reserved, user)
	for ok && (x.owned[a] != nil || x.lent(a, k)) { // by a RADIUS server, or as the policy was before: this one does not know of that
		defer k.release(a)
		a, ok = k.allocate(pool.New, conf.Ranges, x.reserved, user)
	}
	return a, ok
}

// allocatePrefix finds a prefix for a user.
func (x *pools) allocatePrefix(p *policy.Policy, conf *policy.Pool, user string) (netip.Prefix, bool) {
	conf = x.look(p, conf)
	k := stockOf(x.prefixes, conf.Name)
	a, ok := k.allocate(pool.NewPrefixes, conf.Subnets(), x.reservedPrefixes, user)
	for ok && (len(x.claims.over(a)) > 0 || x.lends(a, k)) { // the same
		defer k.release(a)
		a, ok = k.allocate(pool.NewPrefixes, conf.Subnets(), x.reservedPrefixes, user)
	}
	return a, ok
}

// lent says that somebody has a from a pool other than that one: a reload may move ranges from one to another.
func (x *pools) lent(a netip.Addr, but *stock[netip.Addr, policy.Range]) bool {
	for _, k := range x.addresses {
		if k != but && k.used[a] {
			return true
		}
	}
	return false
}

// taken says that another session than s has a, which is configured, or brought, for a call.
func (x *pools) taken(a netip.Addr, s *session) bool {
	o := x.owned[a]
	return o != nil && o.holder != s || a != s.pooled && x.lent(a, nil)
}

// release takes an address back.
func (x *pools) release(name string, a netip.Addr) { stockOf(x.addresses, name).release(a) }

// releasePrefix takes a prefix back.
func (x *pools) releasePrefix(name string, p netip.Prefix) { stockOf(x.prefixes, name).release(p) }

// views are all configured pools, by name.
func (x *pools) views(p *policy.Policy) (all []api.Pool) {
	for _, name := range slices.Sorted(maps.Keys(p.Pools)) {
		v := api.Pool{Name: name}
		v.Used, v.Size = x.usage(x.look(p, p.Pools[name]))
		all = append(all, v)
	}
	return all
}

// usage is how much of a pool is used, and how much there is.
func (x *pools) usage(conf *policy.Pool) (used, size uint64) {
	if len(conf.Ranges) > 0 {
		k := stockOf(x.addresses, conf.Name)
		k.fit(pool.New, conf.Ranges, x.reserved)
		return k.free.Usage()
	}
	k := stockOf(x.prefixes, conf.Name)
	k.fit(pool.NewPrefixes, conf.Subnets(), x.reservedPrefixes)
	return k.free.Usage()
}

// stock is a pool of Ts with the configuration that it was made from: a reload that changes that makes a new one.
type stock[T, C comparable] struct {
	conf     []C
	reserved map[T]bool
	free     *pool.Of[T]
	used     map[T]bool
}

func stockOf[T, C comparable](all map[string]*stock[T, C], name string) *stock[T, C] {
	k := all[name]
	if k == nil {
		k = &stock[T, C]{used: map[T]bool{}}
		all[name] = k
	}
	return k
}

// allocate takes a free T, from a pool made anew where conf or what is reserved has changed.
func (k *stock[T, C]) allocate(remake func([]C) *pool.Of[T], conf []C, reserved map[T]bool, user string) (T, bool) {
	k.fit(remake, conf, reserved)
	x, ok := k.free.Allocate(user)
	if ok {
		k.used[x] = true
	}
	return x, ok
}

// fit makes the pool anew where conf or what is reserved has changed.
func (k *stock[T, C]) fit(remake func([]C) *pool.Of[T], conf []C, reserved map[T]bool) {
	if k.free != nil && slices.Equal(k.conf, conf) && sameIn(k.free, k.reserved, reserved) {
		return
	}
	k.conf, k.reserved, k.free = conf, reserved, remake(conf)
	for x := range reserved {
		k.free.Claim(x)
	}
	for x := range k.used { // by live sessions
		k.free.Claim(x)
	}
}

// release takes a T back.
func (k *stock[T, C]) release(x T) {
	if !k.used[x] {
		return
	}
	delete(k.used, x)
	if !k.reserved[x] {
		k.free.Release(x)
	}
}

// sameIn says that two sets are the same as far as a pool goes.
func sameIn[T comparable](p *pool.Of[T], a, b map[T]bool) bool {
	within := func(x, y map[T]bool) bool {
		for t := range x {
			if !y[t] && p.Contains(t) {
				return false
			}
		}
		return true
	}
	return within(a, b) && within(b, a)
}

// reservedPrefixes are the prefixes of users, that no pool may give to anybody.
func reservedPrefixes(p *policy.Policy) map[netip.Prefix]bool {
	set := map[netip.Prefix]bool{}
	for _, u := range p.Users {
		for _, own := range []netip.Prefix{u.IPv6, u.Behind} {
			if own.IsValid() {
				set[own] = true
			}
		}
	}
	return set
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
	return !ours(p, a)
}

// ours says whether a is an address of this box.
func ours(p *policy.Policy, a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	for _, t := range p.Templates {
		if t.IPv4Local == a {
			return true
		}
	}
	for _, c := range p.Calls {
		if c.PPP.Local == a {
			return true
		}
	}
	return false
}

// conflict says why the address that the peer of a configured call brought with it cannot be: it was not given here, and is ours.
func (s *session) conflict(n call.Network) error {
	switch {
	case s.conf == nil || !n.IPv4 || !n.Peer.IsValid():
		return nil
	case s.sh.pools.taken(n.Peer, s):
		return errors.New("the peer's address " + n.Peer.String() + " is that of another session")
	case n.Peer == s.conf.PPP.Peer || n.Peer == s.pooled || n.Peer == s.owned || foreign(s.pol, n.Peer):
		return nil
	}
	return errors.New(notForeign(n.Peer))
}

func notForeign(a netip.Addr) string { return "the peer's address " + a.String() + " is one of ours" }
