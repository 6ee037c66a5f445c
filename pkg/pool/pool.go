package pool

import (
	"net/netip"
	"slices"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// Pool is a set of addresses, each free or in use. It is not safe for concurrent use. Its memory grows with the addresses
// that were ever in use, not with the size of its ranges.
type Pool struct {
	ranges []policy.Range // sorted, without overlaps
	size   uint64
	used   uint64

	next   netip.Addr // the first address that was never handed out; invalid: none is left
	in     int        // the range that next is in
	seen   map[netip.Addr]*entry
	last   map[string]netip.Addr // the newest address of each key
	queue  []ticket              // released addresses, the longest free one first; stale ones are skipped
	tokens uint64
}

// entry is an address that was in use before.
type entry struct {
	used   bool
	key    string // whose it is, or was last
	ticket uint64 // its valid place in the queue
}

type ticket struct {
	addr   netip.Addr
	ticket uint64
}

// New makes a pool of all addresses of ranges, all free. Overlapping ranges count once; "any" and invalid ranges do not count.
func New(ranges []policy.Range) *Pool {
	p := &Pool{seen: map[netip.Addr]*entry{}, last: map[string]netip.Addr{}}
	sorted := slices.DeleteFunc(slices.Clone(ranges), func(r policy.Range) bool {
		return !r.From.IsValid() || !r.To.IsValid() || r.From.BitLen() != r.To.BitLen() || r.To.Less(r.From)
	})
	slices.SortFunc(sorted, func(a, b policy.Range) int { return a.From.Compare(b.From) })
	for _, r := range sorted {
		if n := len(p.ranges); n > 0 && p.ranges[n-1].Contains(r.From) {
			if p.ranges[n-1].To.Less(r.To) {
				p.ranges[n-1].To = r.To
			}
			continue
		}
		p.ranges = append(p.ranges, r)
	}
	for _, r := range p.ranges {
		if p.size+r.Size() < p.size {
			p.size = ^uint64(0)
			break
		}
		p.size += r.Size()
	}
	if len(p.ranges) > 0 {
		p.next = p.ranges[0].From
	}
	return p
}

// Allocate takes a free address for sticky, a user's name: the one that it had last if that is free, else one that nobody
// had, else the one that is free for the longest time. False means that every address is in use. An empty sticky is nobody.
func (p *Pool) Allocate(sticky string) (netip.Addr, bool) {
	if a, ok := p.last[sticky]; ok && sticky != "" && !p.seen[a].used {
		p.take(a, sticky)
		return a, true
	}
	for p.next.IsValid() {
		a := p.next
		p.advance()
		if p.seen[a] == nil {
			p.take(a, sticky)
			return a, true
		}
	}
	for len(p.queue) > 0 {
		t := p.queue[0]
		p.queue = p.queue[1:]
		if e := p.seen[t.addr]; !e.used && e.ticket == t.ticket {
			p.take(t.addr, sticky)
			return t.addr, true
		}
	}
	return netip.Addr{}, false
}

// Claim takes one particular address, such as a user's own. False means that it is in use, or not of this pool.
func (p *Pool) Claim(a netip.Addr) bool {
	a = a.Unmap()
	if !p.Contains(a) {
		return false
	}
	if e := p.seen[a]; e != nil && e.used {
		return false
	}
	p.take(a, "")
	return true
}

// Release gives an address back. One that is not in use, or not of this pool, is ignored.
func (p *Pool) Release(a netip.Addr) {
	a = a.Unmap()
	e := p.seen[a]
	if e == nil || !e.used {
		return
	}
	p.used--
	p.tokens++
	e.used, e.ticket = false, p.tokens
	p.queue = append(p.queue, ticket{a, p.tokens})
	if len(p.queue) > 2*len(p.seen) {
		p.queue = slices.DeleteFunc(p.queue, func(t ticket) bool { return p.seen[t.addr].used || p.seen[t.addr].ticket != t.ticket })
	}
}

// Contains says that a is an address of this pool.
func (p *Pool) Contains(a netip.Addr) bool {
	return slices.ContainsFunc(p.ranges, func(r policy.Range) bool { return r.Contains(a) })
}

// Usage is the number of addresses in use, and of all; at most the largest uint64.
func (p *Pool) Usage() (used, size uint64) { return p.used, p.size }

// take marks a as in use by key and forgets whom else it was kept for.
func (p *Pool) take(a netip.Addr, key string) {
	e := p.seen[a]
	if e == nil {
		e = &entry{}
		p.seen[a] = e
	}
	if e.key != key && e.key != "" && p.last[e.key] == a {
		delete(p.last, e.key)
	}
	e.used, e.key = true, key
	if key != "" {
		p.last[key] = a
	}
	p.used++
}

// advance moves next to the following address.
func (p *Pool) advance() {
	if p.next != p.ranges[p.in].To {
		p.next = p.next.Next()
		return
	}
	p.in++
	p.next = netip.Addr{}
	if p.in < len(p.ranges) {
		p.next = p.ranges[p.in].From
	}
}
