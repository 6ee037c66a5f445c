package control

import "time"

// doubtLimit is how many acknowledgements that pass over the oldest message prove it lost at once. Fewer may come from
// messages that overtook it (RFC 5681, 3.2).
const doubtLimit = 3

// Recovery is what the peer's acknowledgements say of the oldest unacknowledged message beyond "not yet". With it a lost
// message leaves again before its timer: the fast retransmission and recovery of RFC 2001, on which appendix A of RFC 2661
// rests, as they are done today (RFC 5681, 3.2; RFC 6582). Windows here are mostly too small for three duplicates, so one
// is enough once the answer is overdue (in the manner of RFC 5827 and RFC 8985).
type Recovery struct {
	Doubts int    // acknowledgements that passed over the oldest message since its newest copy left
	Gap    bool   // a ZLB among them: something that was sent later has arrived
	Held   int    // messages that the peer keeps for want of the oldest: in flight no more
	Early  int    // copies of the oldest message that left before the timer
	Active bool   // an acknowledgement below Until shows the next hole
	Until  uint16 // Ns of the first message that had not been sent when the loss was seen
}

// doubt takes an acknowledgement that says nothing new, with flying messages under way, wait the time that an answer to the
// oldest of them, p, may take. It reports true when p must be taken for lost.
//
// A ZLB like that answers a message that came twice or before its predecessor (P133, P134), hence one that was sent after p. A
// message of the peer's own may just have crossed p: it says nothing before an answer to p could have come with it.
func (r *Recovery) doubt(now Time, p *Packet, zlb bool, flying int, wait time.Duration) (lost bool) {
	overdue := now-p.SentAt >= wait
	switch {
	case zlb && flying > 1:
		r.Gap = true
		r.Held = min(r.Held+1, flying-1)
	case zlb, !overdue:
		return false
	}
	r.Doubts++
	if p.Resent { // at most once in a round trip
		return overdue && (r.Gap || r.Doubts >= doubtLimit)
	}
	return overdue && r.Gap || r.Doubts >= doubtLimit
}

// advance takes an acknowledgement of n more messages; next is now the oldest.
func (r *Recovery) advance(n int, next uint16) {
	if !r.Active || int16(next-r.Until) >= 0 {
		*r = Recovery{Held: max(0, r.Held-n)}
		return
	}
	*r = Recovery{Active: true, Until: r.Until, Held: max(0, r.Held-n+1)}
}

// begin notes that the oldest message is lost while everything below until is under way. It reports false if that is one
// more hole of a recovery that has begun, for which the window has shrunk already.
func (r *Recovery) begin(until uint16) (first bool) {
	r.Early++
	if r.Active {
		return false
	}
	r.Active, r.Until = true, until
	return true
}

// answerTime is how long the answer to a message may take that left early copies before its timer: copies of the same message
// leave further and further apart (RFC 2661, 5.8). It is limit if nothing is known of the path.
func (r *RoundTrip) answerTime(early int, limit time.Duration) time.Duration {
	if r.Smooth == 0 {
		return limit
	}
	d := r.Smooth + max(4*r.Variation, ackDelay)
	for range early {
		if d *= 2; d >= limit {
			break
		}
	}
	return min(d, limit)
}
