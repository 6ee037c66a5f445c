package ipv6

import (
	"bytes"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// holder is who has the delegated prefix of a link: a client and one of its identity associations.
//
// A link has one subscriber. So whoever asks last has the prefix: a router that was reset and goes by another name must not wait
// until its former self has expired.
type holder struct {
	client  []byte // DUID; nil: nobody
	iaid    [4]byte
	router  netip.Addr
	expires Time
	token   uint64 // of this registration
	ready   bool   // the owner's route is there
	answer  packet // waits for that; its data is nil when there is none
}

func (h *holder) has() bool { return h.client != nil }

// is says that a request's association is the one that has the prefix.
func (h *holder) is(r *request, iaid [4]byte) bool {
	return h.has() && bytes.Equal(h.client, r.client) && h.iaid == iaid
}

// choose picks the association of a message that may have the prefix: the one that has it, else the first.
func (h *holder) choose(r *request, all []*dhcpv6.OptIAPD) int {
	for i, ia := range all {
		if h.is(r, ia.IaId) {
			return i
		}
	}
	return 0
}

// waits keeps an answer back until the owner is ready; false: it is.
func (h *holder) waits(p packet) bool {
	if !h.ready {
		h.answer = p
	}
	return !h.ready
}

// register notes that a client's association has the prefix from now on. The owner is told when the next hop changes.
func (l *link) register(r *request, iaid [4]byte) {
	r.commits = true
	h := &l.holder
	known := h.has() && h.router == r.from
	h.client, h.iaid, h.router, h.expires = bytes.Clone(r.client), iaid, r.from, r.now+l.lease.Valid
	l.core.due.arm(l)
	if known {
		return
	}
	l.core.tokens++
	h.token, h.ready, h.answer = l.core.tokens, false, packet{}
	l.notify(Event{Change: Taken, Prefix: l.lease.Delegated, Router: h.router}, h.token)
}

// release notes that nobody has the prefix any more.
func (l *link) release(why Change) {
	router := l.holder.router
	l.holder = holder{}
	l.notify(Event{Change: why, Prefix: l.lease.Delegated, Router: router}, 0)
}

// ready says that the route of a registration is there, and gives the answer that waited for it. A registration that is over by
// then is ignored.
func (c *core) ready(index int, token uint64) (packet, bool) {
	l := c.links[index]
	if l == nil || l.holder.token != token || l.holder.ready {
		return packet{}, false
	}
	p := l.holder.answer
	l.holder.ready, l.holder.answer = true, packet{}
	if p.data == nil {
		return packet{}, false
	}
	c.counts.Replies++
	return p, true
}
