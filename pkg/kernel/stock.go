package kernel

import (
	"errors"
	"log/slog"
	"time"
)

const (
	// stockCalm is how long nobody must have asked for an interface before one is made ahead: it would hold others up.
	stockCalm = time.Second
	// stockRetry is how long a failure rests.
	stockRetry = 30 * time.Second
)

// Stock sets how many interfaces there are to be at least, in use or waiting, by the name that Attach will ask for: empty, or with "%d".
// They are made while nobody asks for one, one after another, so that those who come in a rush find them, and as far as Config.Units
// allows. It replaces what was set before, and takes none away. It does not wait.
func (k *Kernel) Stock(goals map[string]int) { k.units.aim(goals) }

// stock makes the interfaces that are missing, until the Kernel is closed.
func (k *Kernel) stock() {
	defer close(k.stocked)
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-k.done:
			return
		case <-k.units.few:
		}
		for pause, short := k.makeAhead(); short; pause, short = k.makeAhead() {
			rest.Reset(pause)
			select {
			case <-k.done:
				return
			case <-rest.C:
			}
		}
	}
}

// makeAhead makes one interface if it is time, and says whether one is missing and when to look again.
func (k *Kernel) makeAhead() (pause time.Duration, short bool) {
	pattern, calm := k.units.next()
	if pattern == nil || calm < stockCalm {
		return stockCalm - calm, pattern != nil
	}
	defer k.sleep()()
	u, err := k.makeUnit(UnitSpec{Name: *pattern})
	if err == nil {
		if err = k.links.set(u.Index, idleGroup, 0); err != nil {
			err = errors.Join(err, k.discard(u))
		} else if u = k.units.put(u); u != nil {
			err = k.discard(u)
		}
	}
	if err != nil {
		k.log.Warn("no interface made ahead: callers wait for theirs", slog.String("name", *pattern), slog.Duration("again_in", stockRetry), slog.Any("error", err))
		return stockRetry, true
	}
	return 0, true
}
