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

// Arrival is a control message that came before its predecessor.
type Arrival struct {
	Ns      uint16
	Session SessionID
	Payload []byte
}

// ChannelRecord is the whole state of reliable delivery (RFC 2661, 5.8 and appendix A).
type ChannelRecord struct {
	Ns, Nr  uint16 // next to send, next expected
	PeerNr  uint16 // last acknowledged by the peer
	Queue   []Packet
	Sent    int // leading packets of Queue that have an Ns
	Flying  int // leading packets of Queue not to be sent (again) before the timer says so
	Retries int // retransmissions of Queue[0]

	// Requests are ICRQ and OCRQ that never left. Everything else goes before them: a burst of new calls must not
	// hold back the answers that the calls before it wait for.
	Requests []Packet

	Early []Arrival // in order of distance from Nr

	Window Window
	Trip   RoundTrip

	Unacked int  // messages delivered since the last acknowledgement left
	AckAt   Time // when a ZLB must leave; 0: nothing to acknowledge

	ProgressAt Time // last message delivered in order
	TroubleAt  Time // last sign of loss, in either direction

	Counters Counters
}

// verdict is what the channel thinks of an arrived Ns.
type verdict uint8

const (
	inOrder verdict = iota
	early
	duplicate
	outside
)

// channel delivers messages in order, exactly once. It knows nothing of their meaning.
type channel struct {
	ChannelRecord
	window  uint16 // ours
	first   time.Duration
	cap     time.Duration
	retries int
	ackNow  bool // an acknowledgement leaves at the end of this step
	urgent  bool // ignore CWND: only StopCCN is left to send
}

func newChannel(cfg *TunnelConfig) channel {
	c := channel{window: cfg.ReceiveWindow, first: cfg.RetransmitFirst, cap: cfg.RetransmitCap, retries: cfg.MaxRetransmits}
	c.Window = Window{Peer: cfg.DefaultWindow, Threshold: cfg.DefaultWindow, Congestion: 1}
	return c
}

// backlog is how many messages wait for a first transmission.
func (c *channel) backlog() int { return len(c.Queue) - c.Sent + len(c.Requests) }

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
		c.Sent, c.Flying, c.Retries = 0, 0, 0
	}
	c.forget(func(Packet) bool { return true })
	c.Requests = nil
}

// acknowledge takes an Nr from the peer. One that acknowledges nothing new is ignored, and so is one for a message
// never sent (P136).
func (c *channel) acknowledge(now Time, nr uint16) {
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
		return
	}
	if last := &c.Queue[n-1]; !last.Resent {
		c.Trip.sample(now - last.SentAt)
	}
	clear(c.Queue[:n])
	c.Queue = c.Queue[n:]
	c.Sent -= n
	c.Flying = max(0, c.Flying-n)
	c.Retries = 0
	for range n {
		c.Window.grow()
	}
}

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

// judge places an Ns (RFC 2661, 5.8: half of the number space is the past).
func (c *channel) judge(ns uint16) verdict {
	switch d := ns - c.Nr; {
	case d == 0:
		return inOrder
	case d >= 0x8000:
		return duplicate
	case d < c.window:
		return early
	}
	return outside
}

// hold keeps a message that came before its predecessor, once. It copies payload.
func (c *channel) hold(ns uint16, session SessionID, payload []byte) (fresh bool) {
	i, found := slices.BinarySearchFunc(c.Early, ns, func(a Arrival, ns uint16) int { return int(a.Ns-c.Nr) - int(ns-c.Nr) })
	if found {
		return false
	}
	c.Early = slices.Insert(c.Early, i, Arrival{Ns: ns, Session: session, Payload: slices.Clone(payload)})
	return true
}

// next takes the held message whose turn has come.
func (c *channel) next() (a Arrival, ok bool) {
	if len(c.Early) == 0 || c.Early[0].Ns != c.Nr {
		return a, false
	}
	a = c.Early[0]
	c.Early = slices.Delete(c.Early, 0, 1)
	return a, true
}

// retransmitAt is when the oldest unacknowledged message is due again; 0 if none.
func (c *channel) retransmitAt() Time {
	if c.Sent == 0 {
		return 0
	}
	return c.Queue[0].SentAt + c.timeout()
}

// expire makes the oldest message due for retransmission, if its time has come, and starts slow start over. It reports
// false when the peer has been silent for the whole cycle (P139).
func (c *channel) expire(now Time) (alive bool) {
	if c.AckAt != 0 && c.AckAt <= now {
		c.ackNow = true
	}
	if at := c.retransmitAt(); at == 0 || at > now {
		return true
	}
	if c.Retries >= c.retries {
		return false
	}
	c.Retries++
	c.Window.collapse()
	c.Flying = 0
	return true
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
	sent := false
	room := c.Window.room(c.urgent)
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
		} else {
			p.Resent = true
			c.TroubleAt = now
			c.Counters.OutRetransmits++
		}
		p.SentAt = now
		c.Flying++
		out.Datagrams = append(out.Datagrams, p.stamp(peer, c.Nr))
		c.Counters.OutControl++
		c.Counters.OutMessages++
		sent = true
	}
	if c.Unacked*2 >= int(c.window) && c.Unacked > 0 {
		c.ackNow = true
	}
	if c.ackNow && !sent && peer != 0 {
		out.Datagrams = append(out.Datagrams, wire.AppendZLB(nil, uint16(peer), c.Ns, c.Nr))
		c.Counters.OutControl++
		c.Counters.OutZLB++
	}
	switch {
	case sent, c.ackNow:
		c.Unacked, c.AckAt = 0, 0
	case c.Unacked > 0 && c.AckAt == 0:
		c.AckAt = now + ackDelay
	}
	c.ackNow = false
}

// stamp makes the copy of p that leaves.
func (p *Packet) stamp(peer TunnelID, nr uint16) []byte {
	d := slices.Clone(p.Datagram)
	binary.BigEndian.PutUint16(d[4:], uint16(peer))
	binary.BigEndian.PutUint16(d[8:], p.Ns)
	wire.PatchNr(d, nr)
	return d
}
