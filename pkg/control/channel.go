package control

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// ackDelay is how long an acknowledgement may wait for a message to ride on (P143: at most 100 ms).
const ackDelay = 50 * time.Millisecond

// resendGap is the shortest time between two copies of a message that a duplicate of its request may provoke (P75).
const resendGap = 500 * time.Millisecond

// Packet is one control message waiting to be sent or acknowledged. Its octets never change: ids and counters are
// patched into the copy that leaves.
type Packet struct {
	Datagram []byte // header with Ns and Nr 0
	Type     wire.MessageType
	Session  SessionID // ours; 0 for tunnel messages
	Ns       uint16    // valid once sent
	SentAt   Time      // of the newest copy
	Resent   bool      // its round trip proves nothing (P146)
}

// ChannelRecord is the whole state of reliable delivery (RFC 2661, 5.8 and appendix A).
type ChannelRecord struct {
	Ns, Nr  uint16 // next to send, next expected
	PeerNr  uint16 // last acknowledged by the peer
	Queue   []Packet
	Sent    int // leading packets of Queue that have an Ns
	Flying  int // leading packets of Queue not to be sent (again) before the timer says so
	Retries int // retransmissions of Queue[0] by the timer
	Silent  int // those of them since anything came from the peer
	Limit   int // as many of those end the tunnel; 0 before the first

	Recovery Recovery

	// Requests are ICRQ and OCRQ that never left. Everything else goes before them: a burst of new calls must not
	// hold back the answers that the calls before it wait for.
	Requests []Packet

	Early []Arrival // in order of distance from Nr

	Window Window
	Trip   RoundTrip

	Unacked int  // messages delivered since the last acknowledgement left
	AckAt   Time // when a ZLB must leave; 0: nothing to acknowledge

	ProgressAt Time // last message delivered in order, or sent again for want of our acknowledgement
	TroubleAt  Time // last sign of loss, in either direction

	Counters Counters
}

// channel delivers messages in order, exactly once. It knows nothing of their meaning.
type channel struct {
	ChannelRecord
	window  uint16 // ours
	first   time.Duration
	cap     time.Duration
	retries int
	cycle   time.Duration
	ackNow  bool        // an acknowledgement leaves at the end of this step
	gap     bool        // a message came before its predecessor: a ZLB says so, whatever else leaves
	repair  bool        // Queue[0] leaves again at the end of this step
	parting []SessionID // the peer's ids of sessions whose CDN is acknowledged at the end of this step
	urgent  bool        // ignore CWND: only StopCCN is left to send
}

func newChannel(cfg *TunnelConfig) channel {
	c := channel{window: cfg.ReceiveWindow, first: cfg.RetransmitFirst, cap: cfg.RetransmitCap, retries: cfg.MaxRetransmits, cycle: cycle(*cfg)}
	c.Window = Window{Peer: cfg.DefaultWindow, Threshold: cfg.DefaultWindow, Congestion: 1}
	return c
}

// backlog is how many messages wait for a first transmission.
func (c *ChannelRecord) backlog() int { return len(c.Queue) - c.Sent + len(c.Requests) }

// push takes a message to be sent.
func (c *channel) push(p Packet) {
	if p.Type == wire.MsgICRQ || p.Type == wire.MsgOCRQ {
		c.Requests = append(c.Requests, p)
		return
	}
	c.Queue = append(c.Queue, p)
}

// withdraw forgets the messages of a session that never left, and reports whether its opening request was among them: the
// peer then knows nothing of the session. A CDN may be that of an earlier session with the same id, and stays.
func (c *channel) withdraw(id SessionID) (unknown bool) {
	c.forget(func(p Packet) bool { return p.Session == id && p.Type != wire.MsgCDN })
	before := len(c.Requests)
	c.Requests = slices.DeleteFunc(c.Requests, func(p Packet) bool { return p.Session == id })
	return len(c.Requests) < before
}

// forget drops messages that never left, requests aside.
func (c *channel) forget(which func(Packet) bool) (dropped int) {
	before := len(c.Queue)
	keep := slices.DeleteFunc(c.Queue[c.Sent:], which)
	c.Queue = c.Queue[:c.Sent+len(keep)]
	return before - len(c.Queue)
}

// supersede forgets a message of this type and session that never left: a newer one replaces it.
func (c *channel) supersede(t wire.MessageType, id SessionID) (forgotten int) {
	return c.forget(func(p Packet) bool { return p.Type == t && p.Session == id })
}

// abandon forgets the messages that never left, and all if everything is true. The peer must still get the sent ones,
// or it would never accept what follows.
func (c *channel) abandon(everything bool) {
	if everything {
		c.Sent, c.Flying, c.Retries, c.Silent, c.Limit, c.Recovery = 0, 0, 0, 0, 0, Recovery{}
	}
	c.forget(func(Packet) bool { return true })
	c.Requests = nil
}

// acknowledge takes an Nr from the peer. One for a message never sent is ignored (P136); one that acknowledges nothing new
// may show that a message is lost.
func (c *channel) acknowledge(now Time, nr uint16, zlb bool) {
	c.Silent = 0
	if int16(nr-c.Ns) > 0 {
		c.Counters.InWrongNr++
		return
	}
	if int16(nr-c.PeerNr) > 0 {
		c.PeerNr = nr
	}
	n := 0
	for n < c.Sent && int16(nr-c.Queue[n].Ns) > 0 {
		n++
	}
	if n == 0 {
		if c.Flying > 0 && nr == c.Queue[0].Ns && c.Recovery.doubt(now, &c.Queue[0], zlb, c.Flying, c.answerTime()) {
			c.lost()
		}
		return
	}
	// A message that had to wait for a lost one shows no round trip either (P146).
	if !slices.ContainsFunc(c.Queue[:n], func(p Packet) bool { return p.Resent }) {
		c.Trip.sample(now - c.Queue[n-1].SentAt)
	}
	clear(c.Queue[:n])
	c.Queue = c.Queue[n:]
	c.Sent -= n
	c.Flying = max(0, c.Flying-n)
	c.Retries, c.Limit = 0, 0
	for range n {
		c.Window.grow()
	}
	c.Recovery.advance(n, nr)
	if c.Recovery.Active && c.Flying > 0 && now-c.Queue[0].SentAt >= c.Trip.Smooth {
		c.lost() // the next hole
	}
}

// lost sends the oldest message again at the end of this step.
func (c *channel) lost() {
	if c.Recovery.begin(c.Ns) {
		c.Window.halve()
	}
	c.repair = true
}

// answerTime is how long the answer to the newest copy of the oldest message may take.
func (c *channel) answerTime() time.Duration { return c.Trip.answerTime(c.Recovery.Early, c.cap) }

// timeout is the wait after the present number of retransmissions: from RetransmitFirst, or more on a slow path,
// doubling up to the cap (P137, P138).
func (c *channel) timeout() time.Duration {
	d := max(c.first, c.Trip.bound())
	for range c.Retries {
		if d *= 2; d >= c.cap {
			break
		}
	}
	return min(d, c.cap)
}

// retransmitAt is when the oldest unacknowledged message is due again; 0 if none.
func (c *channel) retransmitAt() Time {
	if c.Sent == 0 {
		return 0
	}
	d := c.timeout()
	if c.Recovery.Gap {
		d = min(d, c.answerTime())
	}
	return c.Queue[0].SentAt + d
}

// expire makes the oldest message due for retransmission, if its time has come. If that is the retransmission timer's, slow
// start starts over. It reports false when the peer must be given up.
func (c *channel) expire(now Time) (alive bool) {
	if c.AckAt != 0 && c.AckAt <= now {
		c.ackNow = true
	}
	at := c.retransmitAt()
	switch {
	case at == 0 || at > now:
		return true
	case now-c.Queue[0].SentAt < c.timeout():
		c.lost()
		return true
	}
	if !c.worthwhile(now) {
		return false
	}
	c.Retries++
	c.Silent++
	c.Window.collapse()
	c.Recovery = Recovery{Early: c.Recovery.Early}
	c.Flying = 0
	return true
}

// Who answers nothing is gone after MaxRetransmits retransmissions. Where a fifth of all messages is lost, each of them comes to
// nothing with probability 0.36, and all of them for one message in 500: where messages have been lost within the last cycle,
// silence must be lossyPatience times as long (111 s with the defaults), which leaves one in ten million. Who is heard but
// acknowledges nothing is given up after deafPatience times as many.
const (
	lossyPatience = 3
	deafPatience  = 4
)

// worthwhile says whether the oldest message may be retransmitted once more (P139).
func (c *channel) worthwhile(now Time) bool {
	if c.Limit == 0 {
		c.Limit = c.retries
		if c.TroubleAt != 0 && now-c.TroubleAt < c.cycle {
			c.Limit *= lossyPatience
		}
	}
	return c.Silent < c.Limit && c.Retries < deafPatience*c.retries
}

// struggling says whether messages are being lost while others arrive, or may arrive yet: whether there was either in as much
// time as may pass between two deliveries before the tunnel is given up.
func (c *channel) struggling(now Time) bool {
	if c.Limit > c.retries {
		return true
	}
	recent := now - c.cycle - time.Duration((lossyPatience-1)*c.retries)*c.cap
	return c.TroubleAt != 0 && c.TroubleAt > recent && c.ProgressAt > recent
}

// resend makes all unacknowledged messages due at once, unless a copy left a moment ago.
func (c *channel) resend(now Time) {
	if c.Sent > 0 && now-c.Queue[0].SentAt >= resendGap {
		c.Flying = 0
	}
}

// flush sends what the windows allow and then, if nothing carried it, the acknowledgement that is due. peer is the
// tunnel id in the header; 0 while unknown: a ZLB could then not be told apart and is not sent. left hears of every
// message that leaves for the first time.
func (c *channel) flush(now Time, peer TunnelID, out *Output, left func(*Packet)) {
	sent := c.repair && c.Flying > 0
	if sent {
		c.transmit(now, &c.Queue[0], peer, out)
	}
	c.repair = false
	room := c.Window.room(c.urgent, c.Recovery.Held)
	for c.Flying < room {
		if c.Flying == len(c.Queue) {
			if len(c.Requests) == 0 {
				break
			}
			c.Queue = append(c.Queue, c.Requests[0])
			c.Requests[0] = Packet{}
			c.Requests = c.Requests[1:]
		}
		p := &c.Queue[c.Flying]
		if c.Flying == c.Sent {
			p.Ns = c.Ns
			c.Ns++
			c.Sent++
			out.Persist = true
			left(p)
		}
		c.transmit(now, p, peer, out)
		c.Flying++
		sent = true
	}
	if c.Unacked*2 >= int(c.window) && c.Unacked > 0 {
		c.ackNow = true
	}
	if (c.ackNow && !sent || c.gap) && len(c.parting) == 0 && peer != 0 {
		c.zlb(peer, 0, out)
	}
	for _, id := range c.parting {
		c.zlb(peer, id, out)
	}
	switch {
	case sent, c.ackNow, len(c.parting) > 0:
		c.Unacked, c.AckAt = 0, 0
	case c.Unacked > 0 && c.AckAt == 0:
		c.AckAt = now + ackDelay
	}
	c.ackNow, c.gap, c.parting = false, false, nil
}

// zlb sends an acknowledgement. RFC 2661 does not say what its session id is: it is 0 except for a CDN's.
//
// Interop: xl2tpd ends a call for good, so that the user can call again, only when the ZLB for its CDN names the call. It gets
// such a one for the first copy only: one for a call that it has ended would bring its sequence numbers into disorder.
func (c *channel) zlb(peer TunnelID, id SessionID, out *Output) {
	d := wire.AppendZLB(nil, uint16(peer), c.Ns, c.Nr)
	binary.BigEndian.PutUint16(d[6:], uint16(id))
	out.Datagrams = append(out.Datagrams, d)
	c.Counters.OutControl++
	c.Counters.OutZLB++
}

// transmit sends a copy of p.
func (c *channel) transmit(now Time, p *Packet, peer TunnelID, out *Output) {
	if p.SentAt != 0 {
		p.Resent = true
		c.TroubleAt = now
		c.Counters.OutRetransmits++
	}
	if p == &c.Queue[0] {
		c.Recovery.Doubts, c.Recovery.Gap = 0, false
	}
	p.SentAt = now
	out.Datagrams = append(out.Datagrams, p.stamp(peer, c.Nr))
	c.Counters.OutControl++
	c.Counters.OutMessages++
}

// stamp makes the copy of p that leaves.
func (p *Packet) stamp(peer TunnelID, nr uint16) []byte {
	d := slices.Clone(p.Datagram)
	binary.BigEndian.PutUint16(d[4:], uint16(peer))
	binary.BigEndian.PutUint16(d[8:], p.Ns)
	wire.PatchNr(d, nr)
	return d
}
