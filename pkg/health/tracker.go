package health

import (
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// Change is a condition that was raised or cleared.
type Change struct {
	Raised bool
	api.Condition
}

// Tracker follows the conditions. The zero value is ready. It is not safe for concurrent use.
type Tracker struct {
	seen   time.Time
	states map[string]*state
}

// state is how it stands with one condition.
type state struct {
	since   time.Time // it has held since then; zero: it does not
	raised  bool
	message string
}

// Observe judges a Snapshot that was taken at now, which has a Status and the calls, and returns what has changed, in the order of the
// table. One that is older than the last is ignored.
func (t *Tracker) Observe(now time.Time, s *api.Snapshot) []Change {
	if now.Before(t.seen) {
		return nil
	}
	t.seen = now
	if t.states == nil {
		t.states = map[string]*state{}
	}
	var changes []Change
	for _, c := range table() {
		x := t.states[c.name]
		if x == nil {
			x = &state{}
			t.states[c.name] = x
		}
		message := c.holds(s, x.raised)
		if c.unless != "" && !t.states[c.unless].since.IsZero() {
			message = "" // explained; if it is still so when that has ended, its delay begins anew
		}
		switch {
		case message == "" && x.raised:
			changes = append(changes, Change{Condition: c.condition(x)})
			*x = state{}
		case message == "":
			*x = state{}
		default:
			if x.since.IsZero() {
				x.since = now
			}
			x.message = message
			if !x.raised && now.Sub(x.since) >= c.delay {
				x.raised = true
				changes = append(changes, Change{Raised: true, Condition: c.condition(x)})
			}
		}
	}
	return changes
}

// Raised are the conditions that are raised, in the order of the table; never nil.
func (t *Tracker) Raised() []api.Condition {
	all := []api.Condition{}
	for _, c := range table() {
		if x := t.states[c.name]; x != nil && x.raised {
			all = append(all, c.condition(x))
		}
	}
	return all
}

// Pending says that a condition holds, and is not raised yet: time alone may raise it.
func (t *Tracker) Pending() bool {
	for _, x := range t.states {
		if !x.since.IsZero() && !x.raised {
			return true
		}
	}
	return false
}

func (c *condition) condition(x *state) api.Condition {
	return api.Condition{Name: c.name, Since: x.since, Message: x.message, Advice: c.advice}
}
