package engine

import (
	"strings"
	"sync"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// quota counts what each accept entry has let in, over all shards: an entry's sources are spread over them. It is safe for
// concurrent use.
type quota struct {
	mu   sync.Mutex
	n    map[entryKey]int
	ever map[entryKey]uint64 // that have been let in
}

// entryKey is what an accept entry is known by: it stays the same entry through a reload that changes the rest.
type entryKey struct {
	from policy.Range
	host string
}

func keyOf(a *policy.Accept) entryKey { return entryKey{a.From, strings.ToLower(a.HostName)} }

// take counts one more, unless there are limit already; 0 is no limit.
func (q *quota) take(a *policy.Accept, limit int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	k := keyOf(a)
	if limit > 0 && q.n[k] >= limit {
		return false
	}
	if q.n == nil {
		q.n, q.ever = map[entryKey]int{}, map[entryKey]uint64{}
	}
	q.n[k]++
	q.ever[k]++
	return true
}

// of returns how many of an entry's are there, and have ever been.
func (q *quota) of(a *policy.Accept) (now int, ever uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n[keyOf(a)], q.ever[keyOf(a)]
}

// give takes one back.
func (q *quota) give(a *policy.Accept) {
	q.mu.Lock()
	defer q.mu.Unlock()
	k := keyOf(a)
	if q.n[k]--; q.n[k] <= 0 {
		delete(q.n, k)
	}
}
