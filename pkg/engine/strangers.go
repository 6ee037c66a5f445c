package engine

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/sieve"
)

// Credit of strangers, in octets.
const (
	creditMax   = 64 << 10 // what an idle daemon has in hand
	creditSpare = creditMax / 2
	creditPerS  = 1 << 10 // earned by time alone, each second

	longestAnswer = 1 << 9 // an SCCRP with the longest host name is shorter
)

const (
	// sieveTime is how long an SCCRQ is remembered under pressure, at least: an honest peer repeats it after 1, 2, 4 and 8 s.
	sieveTime = 8 * time.Second
	// sieveOctets takes one newcomer in 17,000 for one seen before at 10,000 SCCRQs a second, one in 50 at 50,000.
	sieveOctets = 1 << 18
)

// strangers bounds what a shard does for those who have not shown that they are where their packets say (P277).
//
// What is sent to them comes out of a credit, which half of every octet of theirs fills, and time a little: whoever forges
// source addresses gets fewer octets sent to his victims than he sends himself. A peer that proves its address, by using the
// tunnel id that only our answer told it, gives back what it cost. Repetitions and refusals leave half of the credit to first
// answers.
//
// Under pressure an SCCRQ is answered when it comes again, as an honest one does after a second: forged ones seldom do. It is
// remembered by a few bits meanwhile, so that a flood takes no memory.
type strangers struct {
	credit   int
	earnedAt Time

	sccrqs sieve.Sieve[sourceKey] // that have come, under pressure
}

func newStrangers() strangers {
	return strangers{credit: creditMax, sccrqs: sieve.New[sourceKey](sieveOctets, sieveTime)}
}

// earn takes time and the length of an SCCRQ into account.
func (x *strangers) earn(now Time, octets int) {
	if past := (now - x.earnedAt).Truncate(time.Second); past > 0 {
		x.earnedAt += past
		x.credit += creditPerS * int(min(past, time.Hour)/time.Second)
	}
	x.credit = min(creditMax, x.credit+octets/2)
}

// spend takes octets out of the credit if there are enough. What is spare leaves half of the credit to others.
func (x *strangers) spend(now Time, octets int, spare bool) bool {
	x.earn(now, 0)
	left := x.credit - octets
	if left < 0 || spare && left < creditSpare {
		return false
	}
	x.credit = left
	return true
}

// canAnswer says whether there is credit for any SCCRP.
func (x *strangers) canAnswer(now Time) bool {
	x.earn(now, 0)
	return x.credit >= longestAnswer
}

// repay gives back what a peer cost that is no stranger any more.
func (x *strangers) repay(octets int) { x.credit = min(creditMax, x.credit+octets) }

// seen says whether an SCCRQ has come before, and remembers it.
func (x *strangers) seen(now Time, key sourceKey) bool {
	known := x.sccrqs.Noted(now, key)
	x.sccrqs.Note(now, key)
	return known
}

func maxHalfOpen(srv policy.Server) int { return cmp.Or(srv.MaxHalfOpen, 1024) }

func maxHalfOpenPerSource(srv policy.Server) int { return cmp.Or(srv.MaxHalfOpenPerSource, 16) }

// pressed says that so many tunnels are half-open, in all or of one source, that strangers must ask twice.
func (s *shard) pressed(src netip.Addr, srv policy.Server) bool {
	return int(s.e.counts.halfOpen.Load()) >= (maxHalfOpen(srv)+3)/4 || s.half[src] >= (maxHalfOpenPerSource(srv)+1)/2
}

// evict forgets the oldest half-open tunnel for which want holds, without a word: it owns no socket and no kernel object.
func (s *shard) evict(want func(*tunnel) bool) bool {
	for len(s.halfOpen) > 0 && !s.halfOpen[0].half {
		s.halfOpen[0] = nil
		s.halfOpen = s.halfOpen[1:]
	}
	i := slices.IndexFunc(s.halfOpen, func(t *tunnel) bool { return t.half && want(t) })
	if i < 0 {
		return false
	}
	t := s.halfOpen[i]
	t.evicted = true
	s.e.counts.evicted.Add(1)
	t.do(control.CmdForget{})
	return true
}

// enterHalfOpen counts a tunnel among the half-open.
func (s *shard) enterHalfOpen(t *tunnel) {
	t.half = true
	s.nHalf++
	s.e.counts.halfOpen.Add(1)
	s.half[t.remote.Addr()]++
	s.halfOpen = append(s.halfOpen, t)
}

// leaveHalfOpen takes the tunnel out of the count of half-open ones. Their list is cleaned once most have left.
func (t *tunnel) leaveHalfOpen() {
	if !t.half {
		return
	}
	t.half = false
	if t.accept != nil {
		t.s.e.halfOpen.give(t.accept)
	}
	s, a := t.s, t.remote.Addr()
	s.nHalf--
	s.e.counts.halfOpen.Add(-1)
	if s.half[a]--; s.half[a] <= 0 {
		delete(s.half, a)
	}
	if len(s.halfOpen) > 2*s.nHalf+64 {
		s.halfOpen = slices.DeleteFunc(s.halfOpen, func(x *tunnel) bool { return !x.half })
	}
}
