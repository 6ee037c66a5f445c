package pool

import (
	"net/netip"
	"slices"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// Pool is a pool of addresses. An IPv4-mapped IPv6 address is taken as IPv4.
type Pool = Of[netip.Addr]

// Prefixes is a pool of IPv6 prefixes, each handed out as a whole. Host bits of a prefix do not count.
type Prefixes = Of[netip.Prefix]

// Of is a set of Ts, each free or in use. It is not safe for concurrent use. Its memory grows with the Ts that were ever in use,
// not with the size of the set.
type Of[T comparable] struct {
	space space[T]
	used  uint64

	seen   map[T]entry
	last   map[string]T // the newest T of each key
	queue  []ticket[T]  // released Ts, the longest free one first; stale ones are skipped
	tokens uint64
}

// space is what a pool has, in the order in which it is handed out for the first time.
type space[T comparable] interface {
	next() (T, bool) // the first, and with each call the one that follows; false: no more
	contains(T) bool
	size() uint64
	canonical(T) T // the one name of what several Ts may name
}

// entry is a T that was in use before.
type entry struct {
	used   bool
	key    string // whose it is, or was last
	ticket uint64 // its valid place in the queue
}

type ticket[T comparable] struct {
	of     T
	ticket uint64
}

// New makes a pool of all addresses of ranges, all free. Overlapping ranges count once; "any" and invalid ranges do not count.
func New(ranges []policy.Range) *Pool { return of[netip.Addr](newAddresses(ranges)) }

// NewPrefixes makes a pool of all prefixes of sets, all free. Of sets that overlap only the widest counts, or the first of
// those that are as wide: prefixes of two lengths would overlap too. Invalid ones do not count.
func NewPrefixes(sets []policy.Subnets) *Prefixes { return of[netip.Prefix](newPrefixes(sets)) }

func of[T comparable](s space[T]) *Of[T] {
	return &Of[T]{space: s, seen: map[T]entry{}, last: map[string]T{}}
}

// Allocate takes a free T for sticky, a user's name: the one that it had last if that is free, else one that nobody had, else
// the one that is free for the longest time. False means that every T is in use. An empty sticky is nobody.
func (p *Of[T]) Allocate(sticky string) (T, bool) {
	if a, ok := p.last[sticky]; ok && sticky != "" && !p.seen[a].used {
		p.take(a, sticky)
		return a, true
	}
	for {
		a, more := p.space.next()
		if !more {
			break
		}
		if _, before := p.seen[a]; !before {
			p.take(a, sticky)
			return a, true
		}
	}
	for len(p.queue) > 0 {
		t := p.queue[0]
		p.queue = p.queue[1:]
		if p.valid(t) {
			p.take(t.of, sticky)
			return t.of, true
		}
	}
	var none T
	return none, false
}

// Claim takes one particular T, such as a user's own. False means that it is in use, or not of this pool.
func (p *Of[T]) Claim(a T) bool {
	a = p.space.canonical(a)
	if !p.space.contains(a) {
		return false
	}
	if p.seen[a].used {
		return false
	}
	p.take(a, "")
	return true
}

// Release gives a T back. One that is not in use, or not of this pool, is ignored.
func (p *Of[T]) Release(a T) {
	a = p.space.canonical(a)
	e := p.seen[a]
	if !e.used {
		return
	}
	p.used--
	p.tokens++
	e.used, e.ticket = false, p.tokens
	p.seen[a] = e
	p.queue = append(p.queue, ticket[T]{a, p.tokens})
	if len(p.queue) > 2*len(p.seen) {
		p.queue = slices.DeleteFunc(p.queue, func(t ticket[T]) bool { return !p.valid(t) })
	}
}

// Contains says that a is of this pool, free or not.
func (p *Of[T]) Contains(a T) bool { return p.space.contains(p.space.canonical(a)) }

// Usage is the number of Ts in use, and of all; at most the largest uint64.
func (p *Of[T]) Usage() (used, size uint64) { return p.used, p.space.size() }

// valid says that a place in the queue is that of a T that is free, and its newest.
func (p *Of[T]) valid(t ticket[T]) bool {
	e := p.seen[t.of]
	return !e.used && e.ticket == t.ticket
}

// take marks a as in use by key and forgets whom else it was kept for.
func (p *Of[T]) take(a T, key string) {
	e := p.seen[a]
	if e.key != key && e.key != "" && p.last[e.key] == a {
		delete(p.last, e.key)
	}
	e.used, e.key = true, key
	p.seen[a] = e
	if key != "" {
		p.last[key] = a
	}
	p.used++
}
