package access

import (
	"context"
	"fmt"

	"github.com/l2tpd/l2tpd/pkg/access/tty"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// modem is a line with a modem, or a null modem. It has one caller at most, whose number is 0.
type modem struct {
	m       *Manager
	conf    policy.Access
	callers *callers
	*tty.Line
}

func (m *Manager) openTTY(a policy.Access, callers *callers) (*modem, error) {
	x := &modem{m: m, conf: a, callers: callers}
	callers.mu.Lock() // who calls at once finds the line
	defer callers.mu.Unlock()
	var err error
	x.Line, err = tty.Open(tty.Config{TTY: *a.TTY, Handler: ringer{x}, Logger: m.cfg.Logger})
	if err != nil {
		return nil, err
	}
	return x, nil
}

// configure is not possible while a modem waits: its scripts have been run.
func (x *modem) configure(policy.Access) (bool, error) { return false, nil }

func (x *modem) close() error {
	x.Close()
	return nil
}

// caller is who is on the line.
func (x *modem) caller(c tty.Call) Caller {
	return Caller{Access: x.conf, TTY: &TTY{
		Device: x.conf.TTY.Device, File: c.File, Speed: c.Speed, CallingNumber: c.CallingNumber, CalledNumber: c.CalledNumber,
	}}
}

// ringer is told by the line what happens; the line logs it.
type ringer struct{ x *modem }

func (r ringer) Up() {}

func (r ringer) Down(error) {}

func (r ringer) Ringing(string) {}

func (r ringer) Ended(string) {}

func (r ringer) Arrived(c tty.Call) {
	r.x.callers.arrived(0, r.x.caller(c), onLine{r.x, c})
}

// onLine is a call on a line.
type onLine struct {
	x    *modem
	call tty.Call
}

func (l onLine) Ready() {}

func (l onLine) HangUp(why string) {
	_ = l.call.File.Close() // the kernel has taken it over, unless it has not come to that
	l.x.callers.forget(0)   // before the line may have the next
	l.x.Release(why)
}

// Dial has a call placed on a line, and gives who is there then. It sleeps as long as that takes. An error may be a *tty.DialError.
func (m *Manager) Dial(ctx context.Context, name, number, subAddress string) (Caller, Line, error) {
	m.mu.Lock()
	s := m.places[name]
	m.mu.Unlock()
	if s == nil {
		return Caller{}, nil, fmt.Errorf("line %s is not there", name)
	}
	x, ok := s.place.(*modem)
	if !ok {
		return Caller{}, nil, fmt.Errorf("%s is no line that can be dialled on", name)
	}
	c, err := x.Dial(ctx, number, subAddress)
	if err != nil {
		return Caller{}, nil, err
	}
	return x.caller(c), onLine{x, c}, nil
}
