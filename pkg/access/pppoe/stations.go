package pppoe

import (
	"container/list"
	"time"

	"github.com/l2tpd/l2tpd/pkg/sieve"
)

const (
	// maxStations is how many stations are known, of those that have proven their address and of the others.
	maxStations = 2048
	// sieveTime is how long a PADI is remembered under pressure, at least: clients repeat it after 1 to 20 s.
	sieveTime = 20 * time.Second
	// sieveOctets takes less than one newcomer in 1000 for one seen before at 10,000 PADIs a second.
	sieveOctets = 1 << 20
	// pressure is how much of the interface's burst or of the queue is gone when visits are remembered: before those that come again
	// and again may use no more.
	pressure = 0.2
)

// bucket is a token bucket. The zero one is full.
type bucket struct {
	used float64
	at   time.Duration
}

// level is how many tokens are not there now.
func (b *bucket) level(now time.Duration, r Rate) float64 {
	return max(0, b.used-(now-b.at).Seconds()*float64(r.PerSecond))
}

// take takes a token, if there is one beyond the part of the burst that is kept for others. A full bucket always has one.
func (b *bucket) take(now time.Duration, r Rate, kept float64) bool {
	b.used, b.at = b.level(now, r), now
	if b.used > 0 && b.used+1 > float64(r.Burst)*(1-kept) {
		return false
	}
	b.used++
	return true
}

// station is what is known of one address.
type station struct {
	mac        MAC
	padi, padr bucket
	answered   time.Duration // until when a PADO counts that it has made nothing of
}

// stations are some addresses. The one that was asked for longest ago leaves for a new one.
type stations struct {
	all   map[MAC]*list.Element
	order list.List // of *station, the newest first
}

func (s *stations) find(mac MAC) *station {
	e := s.all[mac]
	if e == nil {
		return nil
	}
	s.order.MoveToFront(e)
	return e.Value.(*station)
}

func (s *stations) add(x *station) {
	if len(s.all) >= maxStations {
		s.remove(s.order.Back().Value.(*station).mac)
	}
	if s.all == nil {
		s.all = map[MAC]*list.Element{}
	}
	s.all[x.mac] = s.order.PushFront(x)
}

func (s *stations) remove(mac MAC) {
	if e := s.all[mac]; e != nil {
		s.order.Remove(e)
		delete(s.all, mac)
	}
}

// trust is what speaks for a station. Each step may use a part of what all share that the ones below may not.
type trust int

const (
	idle      trust = iota // has had a PADO just now, and made nothing of it
	stranger               // never seen, as a forged address is
	returning              // has come before and had no answer, as an honest client in a flood
	proven                 // has sent an AC-Cookie that was sent to its address
)

// kept is the part of a shared burst, or of a queue, that is kept for others.
func (t trust) kept() float64 {
	switch t {
	case idle:
		return 0.75
	case stranger:
		return 0.5
	case returning:
		return 0.25
	case proven:
	}
	return 0
}

// crowd bounds what is done for stations, and what is remembered of them (P277). A flood of PADIs from ever new addresses gets no
// more than half of the answers that the interface has in hand: the rest is for those that come again, and for those that have
// proven their address lately. One that comes again and again, and had its answer, gets a quarter. Addresses push each other out of
// the table, and are remembered by a few bits while a flood lasts. A PADR with a valid cookie does not compete with PADIs at all.
type crowd struct {
	rates      Rates
	proven     stations
	others     stations
	padi, padr bucket // of the interface
	pressed    bool

	visits sieve.Sieve[visit] // under pressure
}

func newCrowd(r Rates) crowd {
	return crowd{rates: r, visits: sieve.New[visit](sieveOctets, sieveTime)}
}

// allowPADI says whether a PADI of that station may be answered. So much of the queue of answers is full, of 1.
func (c *crowd) allowPADI(now time.Duration, mac MAC, full float64) (Drop, bool) {
	c.pressed = max(c.padi.level(now, c.rates.PADI)/float64(c.rates.PADI.Burst), full) >= pressure
	x, t := c.proven.find(mac), proven
	if x == nil {
		x, t = c.visit(now, mac)
	}
	switch {
	case !x.padi.take(now, c.rates.StationPADI, 0):
		return DropStation, false
	case full >= 1-t.kept():
		return DropDelayed, false
	case !c.padi.take(now, c.rates.PADI, t.kept()):
		return DropRate, false
	}
	if x.answered = now + sieveTime; t != proven {
		c.note(now, visit{mac, true})
	}
	return 0, true
}

// visit finds out what is known of a station that has not proven its address, and remembers that it was here.
func (c *crowd) visit(now time.Duration, mac MAC) (*station, trust) {
	x := c.others.find(mac)
	known := x != nil
	if !known {
		x = &station{mac: mac}
		c.others.add(x)
	}
	switch {
	case now < x.answered || c.visits.Noted(now, visit{mac, true}):
		return x, idle
	case known || c.visits.Noted(now, visit{mac, false}):
		return x, returning
	}
	c.note(now, visit{mac, false})
	return x, stranger
}

// allowPADR says whether a PADR may be looked at whose cookie is valid.
func (c *crowd) allowPADR(now time.Duration, mac MAC) bool {
	x := c.proven.find(mac)
	if x == nil {
		if x = c.others.find(mac); x == nil {
			x = &station{mac: mac}
		}
		c.others.remove(mac)
		c.proven.add(x)
	}
	return x.padr.take(now, c.rates.StationPADR, 0)
}

// allowSession says whether the interface may have another session now.
func (c *crowd) allowSession(now time.Duration) bool { return c.padr.take(now, c.rates.PADR, 0) }

// visit is what is remembered under pressure: that a station was here, and that it was answered.
type visit struct {
	mac      MAC
	answered bool
}

// note remembers a visit, under pressure.
func (c *crowd) note(now time.Duration, v visit) {
	if c.pressed {
		c.visits.Note(now, v)
	}
}
