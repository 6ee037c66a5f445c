package kernel

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/l2tpd/l2tpd/pkg/slab"
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
	spelled names
	made    map[string]int // how many there are of a pattern, waiting or not
	goals   map[string]int // how many there should be at least
	asked   time.Time      // when one was wanted last
	few     chan struct{}  // has an element when there may be fewer than there should be
	units   slab.Of[unit]
}

func newPool(limit int) *pool {
	return &pool{limit: limit, numbers: make(map[string]*numbers), spelled: names{}, made: make(map[string]int), few: make(chan struct{}, 1)}
}

// enter begins an interface, whose name is to be made of pattern. It is the caller's until forget.
func (p *pool) enter(pattern string) *unit {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.units.New()
	u.pattern, u.number = pattern, -1
	p.count(pattern, 1)
	return u
}

// forget takes an interface out that is closed, and releases the number in its name.
func (p *pool) forget(u *unit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if of := p.numbers[u.pattern]; of != nil && u.number >= 0 {
		of.free(u.number)
	}
	p.count(u.pattern, -1)
	p.units.Free(u)
}

// take gives an interface whose name was made of pattern, or nil.
func (p *pool) take(pattern string) *unit {
	u := p.remove(func(u *unit) bool { return u.pattern == pattern })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = time.Now()
	return u
}

// count says how many more or fewer there are of a pattern; it needs mu.
func (p *pool) count(pattern string, n int) {
	if p.made[pattern] += n; p.made[pattern] == 0 {
		delete(p.made, pattern)
	}
	p.tell()
}

// aim sets how many there should be at least, by what their names are made of.
func (p *pool) aim(goals map[string]int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.goals = maps.Clone(goals)
	p.tell()
}

// tell needs mu.
func (p *pool) tell() {
	if p.short() == nil {
		return
	}
	select {
	case p.few <- struct{}{}:
	default:
	}
}

// short names a pattern of which there are fewer than there should be, if there is room for more that wait; it needs mu.
func (p *pool) short() *string {
	if p.shut || len(p.idle) >= p.limit {
		return nil
	}
	for _, pattern := range slices.Sorted(maps.Keys(p.goals)) {
		if p.made[pattern] < p.goals[pattern] {
			return &pattern
		}
	}
	return nil
}

// next is what is to be made ahead, nil if nothing is, and how long ago an interface was wanted.
func (p *pool) next() (pattern *string, calm time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.short(), time.Since(p.asked)
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

// number gives a number for a name, and the name. It is the interface's until forget.
func (p *pool) number(pattern string) (n int, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := p.numbers[pattern]
	if of == nil {
		of = &numbers{taken: make(map[int]bool)}
		p.numbers[pattern] = of
	}
	n = of.next()
	return n, p.spelled.of(pattern, n)
}

// name is the name that has a number which the kernel has chosen.
func (p *pool) name(pattern string, n int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spelled.of(pattern, n)
}

// numbers gives out the lowest numbers there are.
type numbers struct {
	taken  map[int]bool
	lowest int // all below are taken
}

// namesInOne is how many names lie in one string.
const namesInOne = 64

// names are those that have been made, many in one string: they stay, and each is shorter than what else lies on the heap's pages.
type names map[nameBlock]string

// nameBlock is the place of namesInOne names, one behind the other.
type nameBlock struct {
	pattern string
	block   int
}

// of is the name that has a number.
func (x names) of(pattern string, n int) string {
	before, after, _ := strings.Cut(pattern, nameNumber)
	at := nameBlock{pattern, n / namesInOne}
	if x[at] == "" {
		var b strings.Builder
		for i := range namesInOne {
			b.WriteString(before + strconv.Itoa(at.block*namesInOne+i) + after)
		}
		x[at] = b.String()
	}
	length := func(n int) int { return len(before) + len(strconv.Itoa(n)) + len(after) }
	from := 0
	for i := at.block * namesInOne; i < n; i++ {
		from += length(i)
	}
	return x[at][from : from+length(n)]
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
