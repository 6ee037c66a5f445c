package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// defaultMTU is what the kernel gives a new PPP interface.
const defaultMTU = 1500

// openUnit gives the session an interface and connects its channel to it. NCP frames that came before are in the channel's
// queue, which ready reads before the unit's.
func openUnit(s *Session, spec UnitSpec) (Unit, error) {
	u, err := connectIdle(s, spec)
	if u == nil && err == nil {
		u, err = connectNew(s, spec)
	}
	if err != nil {
		return Unit{}, err
	}
	before := Stats{}
	if s.access != nil {
		if before, err = s.k.links.stats(u.Index); err != nil {
			return Unit{}, errors.Join(err, disconnectUnit(s.channel), s.k.discard(u))
		}
	}
	s.face, s.passed, s.compressed = u, false, false
	s.set(func() { s.unit, s.attached = u.fd, time.Since(began) })
	// Not earlier: a unit without a channel is at its end of file.
	if err = s.k.loop.watch(s.serial, sourceUnit, u.fd); err == nil && s.access != nil {
		s.set(func() { s.access.face, s.access.before = u.Index, before })
	}
	if err != nil {
		s.face = nil
		s.set(func() { s.unit = -1 })
		return Unit{}, errors.Join(err, disconnectUnit(s.channel), s.k.discard(u))
	}
	return u.Unit, nil
}

// connectIdle connects the channel to an interface that waits, and gives nil where none fits. One that is of no use any more is
// closed, and the next one is tried.
func connectIdle(s *Session, spec UnitSpec) (*unit, error) {
	k := s.k
	for u := k.units.take(spec.Name); u != nil; u = k.units.take(spec.Name) {
		err := wake(k, u, spec.MTU)
		if err == nil {
			err = connectUnit(s.channel, int32(u.Unit.Unit))
			if errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.EINVAL) { // the channel's fault
				return nil, errors.Join(err, k.giveBack(u, false, false))
			}
		}
		if err == nil && goneUnit(u.fd) {
			// It was deleted in this moment, and somebody else made another with its number.
			if err := disconnectUnit(s.channel); err != nil {
				return nil, errors.Join(err, k.discard(u))
			}
			err = os.ErrNotExist
		}
		if err == nil {
			return u, nil
		}
		k.log.Debug("idle interface dropped", slog.String("interface", u.Name), slog.Any("error", err))
		if err := k.discard(u); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// wake gets an interface ready that has waited. Whoever could, may have changed it meanwhile: deleted, renamed, set up.
func wake(k *Kernel, u *unit, mtu int) error {
	if goneUnit(u.fd) {
		return os.ErrNotExist
	}
	if index, err := k.links.index(u.Name); err != nil || index != u.Index {
		return fmt.Errorf("find interface %s: %w", u.Name, os.ErrNotExist)
	}
	if mtu == 0 {
		mtu = defaultMTU
	}
	return k.links.set(u.Index, 0, mtu)
}

// connectNew makes an interface and connects the channel to it.
func connectNew(s *Session, spec UnitSpec) (*unit, error) {
	u, err := s.k.makeUnit(spec)
	if err != nil {
		return nil, err
	}
	if err := connectUnit(s.channel, int32(u.Unit.Unit)); err != nil {
		return nil, errors.Join(err, s.k.discard(u))
	}
	return u, nil
}

// makeUnit makes an interface that drops IPv4 and IPv6.
func (k *Kernel) makeUnit(spec UnitSpec) (*unit, error) {
	fd, err := openPPP()
	if err != nil {
		return nil, err
	}
	u := k.units.enter(spec.Name)
	u.fd = fd
	if err := k.createLink(u, spec); err != nil {
		return nil, errors.Join(err, k.discard(u))
	}
	number, err := unitOf(fd)
	if err == nil {
		u.Unit.Unit = int(number)
		if u.Name == "" {
			u.Name = k.units.name("ppp"+nameNumber, u.Unit.Unit)
		}
		if u.Index, err = k.links.index(u.Name); err != nil {
			err = fmt.Errorf("find interface %s: %w", u.Name, err)
		}
	}
	for _, p := range []NetworkProtocol{IPv4, IPv6} {
		if err == nil {
			err = setNPMode(fd, p, false)
		}
	}
	if err != nil {
		return nil, errors.Join(err, k.discard(u))
	}
	return u, nil
}

// createLink makes the interface of an open PPP file, under the name that the specification asks for. Where that has a number it is
// given at once: to rename an interface takes the kernel longer than to make one.
func (k *Kernel) createLink(u *unit, spec UnitSpec) error {
	u.Name = spec.Name
	for {
		if u.Name != "" && u.reusable() && u.number < 0 {
			u.number, u.Name = k.units.number(u.pattern)
		}
		if len(u.Name) > maxName {
			return fmt.Errorf("create interface %s: the name is longer than %d octets", u.Name, maxName)
		}
		err := k.links.create(u.fd, UnitSpec{Name: u.Name, MTU: spec.MTU})
		if err == nil {
			return nil
		}
		idle := (*unit)(nil)
		if errors.Is(err, os.ErrExist) {
			idle = k.units.claim(u.Name)
		}
		switch {
		case idle != nil:
			if err := k.discard(idle); err != nil {
				return err
			}
		case errors.Is(err, os.ErrExist) && u.number >= 0:
			u.number = -1 // somebody else has that name, and keeps the number
		default:
			return fmt.Errorf("create interface %s: %w", u.Name, err)
		}
	}
}

// giveBack takes an interface back whose channel is closed: it waits for another session, or it is closed as well.
func (k *Kernel) giveBack(u *unit, passed, compressed bool) error {
	if !u.reusable() || compressed || !k.units.room(u.pattern) {
		return k.discard(u)
	}
	if err := rest(k, u, passed); err != nil {
		k.log.Debug("interface is not used again", slog.String("interface", u.Name), slog.Any("error", err))
		return k.discard(u)
	}
	if u = k.units.put(u); u != nil {
		return k.discard(u)
	}
	return nil
}

// rest brings an interface into the state in which it may wait: nothing of its last session is left in it.
func rest(k *Kernel, u *unit, passed bool) error {
	if !drainUnit(u.fd) {
		return errors.New("it is still connected: somebody else has its session's socket")
	}
	if passed {
		if err := errors.Join(setNPMode(u.fd, IPv4, false), setNPMode(u.fd, IPv6, false)); err != nil {
			return err
		}
	}
	if err := k.links.set(u.Index, idleGroup, 0); err != nil {
		return err
	}
	what, err := k.links.changed(u.Unit)
	if err == nil && what != "" {
		err = fmt.Errorf("somebody changed %s", what)
	}
	return err
}

// discard closes an interface, which may sleep, and releases the number in its name. When it returns the name is free: that is not left
// to the last descriptor, of which a child that is just being started has a copy for a moment.
func (k *Kernel) discard(u *unit) error {
	err := unix.Close(u.fd)
	if name, absent := k.links.name(u.Index); absent == nil && name == u.Name {
		err = errors.Join(err, k.links.remove(u.Index))
	}
	if err != nil {
		err = fmt.Errorf("close interface %s: %w", u.Name, err)
	}
	k.units.forget(u)
	return err
}
