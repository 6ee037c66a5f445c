package control

import "time"

// Window is how much may be unacknowledged: the peer's window and slow start within it (RFC 2661, appendix A).
type Window struct {
	Peer       uint16 // the peer's Receive Window Size
	Congestion uint16 // CWND
	Threshold  uint16 // SSTHRESH
	Growth     uint16 // acknowledgements towards the next step of congestion avoidance
}

// setPeer takes the peer's Receive Window Size; 0 keeps the default (P140).
func (w *Window) setPeer(n uint16) {
	if n == 0 {
		return
	}
	n = min(n, 32767)
	if w.Threshold == w.Peer {
		w.Threshold = n
	}
	w.Peer = n
	w.Threshold = min(w.Threshold, n)
	w.Congestion = min(w.Congestion, n)
}

// grow opens the congestion window by one acknowledged message.
func (w *Window) grow() {
	switch {
	case w.Congestion >= w.Peer:
	case w.Congestion < w.Threshold:
		w.Congestion++
	default:
		if w.Growth++; w.Growth >= w.Congestion {
			w.Growth = 0
			w.Congestion++
		}
	}
}

// collapse starts slow start over because a message must be retransmitted.
func (w *Window) collapse() {
	w.Threshold = max(1, w.Congestion/2)
	w.Congestion, w.Growth = 1, 0
}

// halve answers a loss that the peer's acknowledgements showed: they keep coming, so that slow start need not start over
// (RFC 5681, 3.2).
func (w *Window) halve() {
	w.Threshold = max(1, w.Congestion/2)
	w.Congestion, w.Growth = w.Threshold, 0
}

// room is how many messages may be unacknowledged (P140, P142); urgent ones need not wait for slow start. Messages that the
// peer holds, out of order, are in flight no more, but count for its window (RFC 3042, RFC 5681, 3.2).
func (w *Window) room(urgent bool, held int) int {
	if urgent {
		return int(w.Peer)
	}
	return min(int(w.Congestion)+held, int(w.Peer))
}

// RoundTrip is the estimate of RFC 6298, 2.
type RoundTrip struct {
	Smooth, Variation time.Duration // Smooth 0: no sample yet
}

// sample takes the round-trip time of a message that was sent once (P146).
func (r *RoundTrip) sample(rtt time.Duration) {
	rtt = max(rtt, 1)
	if r.Smooth == 0 {
		r.Smooth, r.Variation = rtt, rtt/2
		return
	}
	r.Variation += ((r.Smooth - rtt).Abs() - r.Variation) / 4
	r.Smooth = max(1, r.Smooth+(rtt-r.Smooth)/8)
}

// bound is how long an answer may take; 0 if nothing is known.
func (r *RoundTrip) bound() time.Duration { return r.Smooth + 4*r.Variation }
