package kernel

import (
	"slices"
	"strconv"
	"strings"
	"sync"
)

// unit is a PPP interface and the descriptor that owns it: closing that removes the interface.
type unit struct {
	Unit
	fd      int
	pattern string // what the name was made of
	number  int    // what stands for "%d" in it
}

// reusable reports whether the name may wait for another session: a configured one vanishes with its call.
func (u *unit) reusable() bool { return u.pattern == "" || strings.Contains(u.pattern, nameNumber) }

// pool has the interfaces that wait for a session, and the numbers in their names. Safe for concurrent use; nothing here sleeps.
type pool struct {
	mu      sync.Mutex
	limit   int
	shut    bool
	idle    []*unit // the one that has waited longest comes first: it has the least to do with its last session
	numbers map[string]*numbers
}

func newPool(limit int) *pool { return &pool{limit: limit, numbers: make(map[string]*numbers)} }

// take gives an interface whose name was made of pattern, or nil.
func (p *pool) take(pattern string) *unit {
	return p.remove(func(u *unit) bool { return u.pattern == pattern })
}

// claim gives the interface that has a name, if it is one that waits, or nil.
func (p *pool) claim(name string) *unit {
	return p.remove(func(u *unit) bool { return u.Name == name })
}

func (p *pool) remove(fits func(*unit) bool) *unit {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.idle, fits)
	if i < 0 {
		return nil
	}
	u := p.idle[i]
	p.idle = slices.Delete(p.idle, i, i+1)
	return u
}

// room reports whether put would keep an interface whose name was made of pattern.
func (p *pool) room(pattern string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keeps(pattern)
}

// put keeps an interface and gives the one that must go instead, if one must.
func (p *pool) put(u *unit) (out *unit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.keeps(u.pattern) {
		return u
	}
	if len(p.idle) >= p.limit {
		i := p.stranger(u.pattern)
		out = p.idle[i]
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	p.idle = append(p.idle, u)
	return out
}

// keeps needs mu. In a full pool those of other patterns make room: a pattern that nobody uses any more is never taken.
func (p *pool) keeps(pattern string) bool {
	return !p.shut && (len(p.idle) < p.limit || p.stranger(pattern) >= 0)
}

// stranger finds an interface of another pattern, or gives -1; it needs mu.
func (p *pool) stranger(pattern string) int {
	return slices.IndexFunc(p.idle, func(u *unit) bool { return u.pattern != pattern })
}

// close refuses further interfaces and gives those there are.
func (p *pool) close() []*unit {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := p.idle
	p.shut, p.idle = true, nil
	return left
}

// number gives a number for a name, and the name. It is the caller's until release.
func (p *pool) number(pattern string) (n int, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := p.numbers[pattern]
	if of == nil {
		of = &numbers{taken: make(map[int]bool)}
		p.numbers[pattern] = of
	}
	n = of.next()
	return n, strings.Replace(pattern, nameNumber, strconv.Itoa(n), 1)
}

// release takes the number of a name back.
func (p *pool) release(pattern string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if of := p.numbers[pattern]; of != nil {
		of.free(n)
	}
}

// numbers gives out the lowest numbers there are.
type numbers struct {
	taken  map[int]bool
	lowest int // all below are taken
}

func (s *numbers) next() int {
	for s.taken[s.lowest] {
		s.lowest++
	}
	n := s.lowest
	s.taken[n] = true
	return n
}

func (s *numbers) free(n int) {
	delete(s.taken, n)
	s.lowest = min(s.lowest, n)
}
