package access

import (
	"cmp"
	"slices"

	"github.com/l2tpd/l2tpd/pkg/access/pppoe"
)

// Counters are what one place has counted since it is served.
type Counters struct {
	Name     string // of the policy.Access
	Sessions int    // subscribers that are there, or on their way in or out
	PPPoE    *pppoe.Counters
}

// counting is a place with an access concentrator.
type counting interface{ Counters() pppoe.Counters }

// Counters gives those of all places that are served, by name. It does not wait for a Serve under way.
func (m *Manager) Counters() []Counters {
	m.table.Lock()
	defer m.table.Unlock()
	all := make([]Counters, 0, len(m.places))
	for name, s := range m.places {
		c := Counters{Name: name, Sessions: s.callers.count()}
		if p, ok := s.place.(counting); ok {
			x := p.Counters()
			c.PPPoE = &x
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Counters) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// set puts a place into the table; nil takes it out.
func (m *Manager) set(name string, s *served) {
	m.table.Lock()
	defer m.table.Unlock()
	if s == nil {
		delete(m.places, name)
		return
	}
	m.places[name] = s
}
