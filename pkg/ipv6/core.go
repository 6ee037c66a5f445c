package ipv6

import (
	"net/netip"
	"time"
)

// Counters count what was received and sent, over all interfaces.
type Counters struct {
	Solicitations  uint64 // router solicitations that were valid
	Advertisements uint64 // router advertisements that were due
	Messages       uint64 // DHCPv6 messages that were valid and for us
	Replies        uint64 // DHCPv6 replies that were due
	Malformed      uint64 // not as the protocol has it
	OtherServer    uint64 // DHCPv6 messages for another server
	Limited        uint64 // more than one interface may ask
	Unserved       uint64 // on interfaces that are not served
	Unsent         uint64 // what the kernel did not take, often because the interface was just gone
}

// datagram is what a socket received.
type datagram struct {
	index    int // of the interface
	from, to netip.Addr
	hops     int
	data     []byte
}

// packet is what is to be sent.
type packet struct {
	index    int
	from, to netip.Addr // from invalid: the kernel chooses
	data     []byte
}

// core decides what is sent, and when. It has no socket, no clock and no lock.
type core struct {
	id     []byte                            // our DUID
	within func(time.Duration) time.Duration // a random time shorter than that
	links  map[int]*link
	due    deadlines
	counts Counters
	tokens uint64 // of registrations
}

func newCore(id []byte, within func(time.Duration) time.Duration) *core {
	return &core{id: id, within: within, links: map[int]*link{}}
}

// link is one interface that is served.
type link struct {
	core    *core
	index   int
	lease   Lease
	notify  func(Event, uint64) // the number is for ready
	advert  []byte
	due     Time // in deadlines
	place   int  // in deadlines; -1: not there
	initial int  // how many advertisements still come in quick succession

	advertAt  Time // when the next advertisement is due
	toAll     Time // when the last one was sent to all nodes
	solicited bucket
	messages  bucket
	holder    holder
}

// packet is one from us on this link.
func (l *link) packet(to netip.Addr, data []byte) packet {
	return packet{index: l.index, from: l.lease.LinkLocal, to: to, data: data}
}

// deadline is when the link wants to be looked at.
func (l *link) deadline() Time {
	if l.holder.has() {
		return min(l.advertAt, l.holder.expires)
	}
	return l.advertAt
}

// serve begins to serve an interface, anew if it was served before. The lease must be complete. The first advertisement is due
// at once.
func (c *core) serve(now Time, index int, lease Lease, notify func(Event, uint64)) error {
	advert, err := advertisement(lease)
	if err != nil {
		return err
	}
	c.stop(index)
	l := &link{
		core: c, index: index, lease: lease, notify: notify, advert: advert, place: -1,
		initial: initialAdverts, advertAt: now, toAll: now - minBetween,
		solicited: bucket{now - solicitBurst*solicitEvery}, messages: bucket{now - messageBurst*messageEvery},
	}
	c.links[index] = l
	c.due.arm(l)
	return nil
}

// stop forgets an interface, without an event.
func (c *core) stop(index int) {
	if l := c.links[index]; l != nil {
		c.due.remove(l)
		delete(c.links, index)
	}
}

// deadline is when next has something to do; false: never.
func (c *core) deadline() (Time, bool) {
	if len(c.due) == 0 {
		return 0, false
	}
	return c.due[0].due, true
}

// next does one thing that is due: it ends a registration, or gives an advertisement to be sent. It is called again until it
// gives none.
func (c *core) next(now Time) (packet, bool) {
	for len(c.due) > 0 && c.due[0].due <= now {
		l := c.due[0]
		if l.holder.has() && l.holder.expires <= now {
			l.release(Expired)
			c.due.arm(l)
			continue
		}
		p := l.advertise(now)
		c.due.arm(l)
		return p, true
	}
	return packet{}, false
}

// bucket lets a burst through at once, and then one each interval. It has as many in stock as there are intervals since.
type bucket struct{ since Time }

// take says whether one more passes.
func (b *bucket) take(now Time, burst int, every time.Duration) bool {
	since := max(b.since, now-time.Duration(burst)*every) + every
	if since > now {
		return false
	}
	b.since = since
	return true
}
