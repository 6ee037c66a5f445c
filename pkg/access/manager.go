package access

import (
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// leaving is how long a place that is not served any more waits for the next of its subscribers to be let go.
const leaving = 5 * time.Second

// Config is what a Manager is made of.
type Config struct {
	HostName string       // what subscribers are told where the configuration says nothing
	Logger   *slog.Logger // nil: silent
}

// Manager serves places at which subscribers arrive. It is safe for concurrent use. It lives in the network namespace of the threads
// that call it.
type Manager struct {
	cfg Config

	mu     sync.Mutex // held over Serve, which may sleep
	table  sync.Mutex // held over each change of places, which only Serve makes
	places map[string]*served
}

// place is one of them, open. configure is false when the place must be closed and opened anew.
type place interface {
	configure(policy.Access) (done bool, err error)
	close() error
}

// served is a place with its configuration, and its callers.
type served struct {
	place
	conf    policy.Access
	callers callers
}

// New makes a Manager that serves nothing.
func New(cfg Config) *Manager {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Manager{cfg: cfg, places: map[string]*served{}}
}

// Serve opens and closes what makes the difference to the list before. Subscribers at a place that is left are told that they are gone;
// those at one that stays keep what they have. The errors are of places that cannot be served; all others are.
func (m *Manager) Serve(list []policy.Access, ring Ring) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	want := map[string]policy.Access{}
	for _, a := range list {
		want[a.Name] = a
	}
	for name, s := range m.places {
		a, stays := want[name]
		if stays && reflect.DeepEqual(a, s.conf) {
			continue
		}
		if stays {
			done, err := s.configure(a)
			errs = append(errs, err)
			if done {
				if err == nil { // else it is tried again next time
					s.conf = a
				}
				continue
			}
		}
		s.callers.leave("the place where the subscriber has come is not served any more")
		errs = append(errs, s.close())
		m.set(name, nil)
	}
	for _, a := range list {
		if m.places[a.Name] != nil {
			continue
		}
		s, err := m.open(a, ring)
		if errs = append(errs, err); err == nil {
			m.set(a.Name, s)
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) open(a policy.Access, ring Ring) (*served, error) {
	s := &served{conf: a}
	s.callers.init(ring)
	var err error
	if a.PPPoE != nil {
		s.place, err = m.openPPPoE(a, &s.callers)
	} else {
		s.place, err = m.openTTY(a, &s.callers)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// callers are those at one place, by a number of the place's.
type callers struct {
	ring  Ring
	letGo chan struct{} // has one when the owner has let somebody go
	mu    sync.Mutex
	gone  map[int]func(why string)
	over  string // why nobody is let in any more; empty: everybody is
}

func (c *callers) init(ring Ring) {
	c.ring, c.letGo, c.gone = ring, make(chan struct{}, 1), map[int]func(string){}
}

// count is how many there are.
func (c *callers) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.gone)
}

// arrived tells the owner of a subscriber, unless the place is being left.
func (c *callers) arrived(n int, who Caller, l Line) {
	c.mu.Lock()
	why := c.over
	if why == "" {
		c.gone[n] = c.ring(who, l) // under mu, so that HangUp, which may come at once, finds him
	}
	c.mu.Unlock()
	if why != "" {
		l.HangUp(why)
	}
}

// left tells the owner that one has gone; nothing happens when the owner knows.
func (c *callers) left(n int, why string) {
	c.mu.Lock()
	gone := c.gone[n]
	c.mu.Unlock()
	if gone != nil {
		gone(why)
	}
}

// all tells the owner that everybody has gone.
func (c *callers) all(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, gone := range c.gone {
		gone(why)
	}
}

// forget: the owner has let one go. When nobody is left the place may be closed: all that is to be said to him must have been said.
func (c *callers) forget(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone[n] == nil {
		return
	}
	delete(c.gone, n)
	select {
	case c.letGo <- struct{}{}:
	default: // that somebody was is known
	}
}

// leave lets nobody in any more, tells the owner that everybody has gone, and waits until he has let them go, as long as he goes on with it.
func (c *callers) leave(why string) {
	c.mu.Lock()
	c.over = why
	c.mu.Unlock()
	c.all(why)
	timer := time.NewTimer(leaving)
	defer timer.Stop()
	for c.count() > 0 {
		select {
		case <-c.letGo:
			timer.Reset(leaving)
		case <-timer.C:
			return
		}
	}
}
