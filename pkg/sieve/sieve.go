// Package sieve remembers for a while which keys have come, in a few bits each, so that a flood of new ones takes no memory beyond
// what was set aside.
package sieve

import (
	"hash/maphash"
	"time"
)

// Sieve is two Bloom filters, a young and an old one. It takes memory from the first Note until nothing was noted for a while. It is
// not safe for concurrent use. Its instants are differences from any one beginning.
type Sieve[K comparable] struct {
	keep       time.Duration
	words      uint64
	seed       maphash.Seed // so that nobody finds keys that are taken for others
	young, old filter       // nil: empty
	turnAt     time.Duration
}

// New makes a Sieve that remembers keys for keep at least, and for twice as long at most, in two filters of so many octets. With n keys
// in each of them, some (n/2/octets)^4 of new keys are taken for known ones.
func New[K comparable](octets int, keep time.Duration) Sieve[K] {
	return Sieve[K]{keep: keep, words: uint64(max(8, octets) / 8), seed: maphash.MakeSeed()}
}

// Noted says whether a key has been noted lately. It may take a new key for one, and never the other way round.
func (s *Sieve[K]) Noted(now time.Duration, key K) bool {
	s.turn(now)
	if s.Empty() {
		return false
	}
	h := maphash.Comparable(s.seed, key)
	return s.young.has(h) || s.old.has(h)
}

// Note remembers a key.
func (s *Sieve[K]) Note(now time.Duration, key K) {
	s.turn(now)
	if s.young == nil {
		s.young = make(filter, s.words)
	}
	s.young.add(maphash.Comparable(s.seed, key))
}

// Expire gives memory back when nothing was noted for long. Nobody has to call it who calls the other methods now and then.
func (s *Sieve[K]) Expire(now time.Duration) { s.turn(now) }

// Empty says whether nothing is remembered.
func (s *Sieve[K]) Empty() bool { return s.young == nil && s.old == nil }

// turn forgets what is old.
func (s *Sieve[K]) turn(now time.Duration) {
	if now < s.turnAt {
		return
	}
	if s.old, s.young = s.young, nil; now >= s.turnAt+s.keep {
		s.old = nil
	}
	s.turnAt = now + s.keep
}

// filter is a Bloom filter of four bits a key.
type filter []uint64

// bits are the places of a hash.
func (f filter) bits(h uint64) (places [4]uint64) {
	step := h>>32 | 1
	for i := range places {
		places[i] = (h + uint64(i)*step) % (64 * uint64(len(f)))
	}
	return places
}

func (f filter) has(h uint64) bool {
	if f == nil {
		return false
	}
	for _, b := range f.bits(h) {
		if f[b/64]&(1<<(b%64)) == 0 {
			return false
		}
	}
	return true
}

func (f filter) add(h uint64) {
	for _, b := range f.bits(h) {
		f[b/64] |= 1 << (b % 64)
	}
}
