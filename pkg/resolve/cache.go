package resolve

import (
	"container/list"
	"net/netip"
	"time"
)

// entry is what is known of one name: that it has addresses, or that it has none.
type entry struct {
	name    string
	addrs   []netip.Addr
	absent  *Error // the answer, if there are no addresses
	expires time.Duration
	retry   time.Duration // after a lookup that nobody answered: when the next one may be tried
	at      *list.Element
}

// usable says whether e has addresses that are not too old for when nobody can be asked.
func (e *entry) usable(now time.Duration) bool { return e.absent == nil && now < e.expires+maxStale }

// cache keeps what is known of at most max names. It is not safe for concurrent use.
type cache struct {
	max     int
	entries map[string]*entry
	present *list.List // of *entry, the one that was asked for last in front
	absent  *list.List // the same of names without addresses
}

func newCache(limit int) cache {
	return cache{max: limit, entries: map[string]*entry{}, present: list.New(), absent: list.New()}
}

// get finds what is known of a name, however old.
func (c *cache) get(name string) *entry {
	e := c.entries[name]
	if e != nil {
		c.of(e).MoveToFront(e.at)
	}
	return e
}

// put keeps e in place of what is known of its name. Names that exist are kept before those that do not, whatever users make up:
// what has to go is one that is too old for any use, one that does not exist, or else the one that was not asked for the longest.
func (c *cache) put(e *entry, now time.Duration) {
	if old := c.entries[e.name]; old != nil {
		c.drop(old)
	}
	e.at = c.of(e).PushFront(e)
	c.entries[e.name] = e
	for len(c.entries) > c.max {
		victim := c.present.Back()
		if last := c.absent.Back(); last != nil && (victim == nil || victim.Value.(*entry).usable(now)) {
			victim = last
		}
		c.drop(victim.Value.(*entry))
	}
}

func (c *cache) drop(e *entry) {
	c.of(e).Remove(e.at)
	delete(c.entries, e.name)
}

// of is the list that e belongs to.
func (c *cache) of(e *entry) *list.List {
	if e.absent != nil {
		return c.absent
	}
	return c.present
}
