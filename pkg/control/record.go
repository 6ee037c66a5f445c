package control

import (
	"container/heap"
	"errors"
	"fmt"
	"slices"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// recordVersion grows when a Record changes its meaning.
const recordVersion = 1

// Record is the complete state of a tunnel without its configuration, which holds the secrets. Encoding it with gob or any
// other codec that keeps octets and strings exact and restoring it changes nothing that the peer can see. It shares octets
// that never change with the tunnel, and nothing else.
type Record struct {
	Version   int
	ID        TunnelID
	State     TunnelState
	Initiator bool
	Peer      PeerInfo

	Challenge  []byte // as sent: not a secret
	TieBreaker uint64
	Request    uint64 // fingerprint of the peer's SCCRQ
	Serial     uint32

	LastHeard, UpAt, SetupAt, IdleAt, LingerAt Time
	PeerStopped, Yielded                       bool

	Channel  ChannelRecord
	Sessions []SessionRecord // by id
	Freed    []FreedID
}

// Record is a copy of the present state.
func (t *Tunnel) Record() Record {
	r := Record{
		Version: recordVersion, ID: t.id, State: t.state, Initiator: t.initiator, Peer: t.peer,
		Challenge: t.challenge, TieBreaker: t.tieBreaker, Request: t.request, Serial: t.serial,
		LastHeard: t.lastHeard, UpAt: t.upAt, SetupAt: t.setupAt, IdleAt: t.idleAt, LingerAt: t.lingerAt, PeerStopped: t.peerStopped, Yielded: t.yielded,
		Channel: t.ch.ChannelRecord, Freed: slices.Clone(t.sess.freed),
	}
	r.Channel.Queue = slices.Clone(r.Channel.Queue)
	r.Channel.Requests = slices.Clone(r.Channel.Requests)
	r.Channel.Early = slices.Clone(r.Channel.Early)
	for _, s := range t.sess.ordered() {
		r.Sessions = append(r.Sessions, s.SessionRecord)
	}
	return r
}

// ErrRecord means that a Record does not describe a tunnel that could exist.
var ErrRecord = errors.New("record is not usable")

// Restore makes the tunnel of a Record anew. cfg is that of the old one; its timers apply from the next use on. What fell due
// meanwhile is done at once, in out. The Record must not be changed afterwards.
func Restore(r Record, cfg TunnelConfig, now Time, out *Output) (*Tunnel, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("restore tunnel %d: %w", r.ID, err)
	}
	t := newTunnel(cfg, r.ID, now)
	t.state, t.initiator, t.peer = r.State, r.Initiator, r.Peer
	t.challenge, t.tieBreaker, t.request, t.serial = r.Challenge, r.TieBreaker, r.Request, r.Serial
	t.lastHeard, t.upAt, t.setupAt, t.idleAt, t.lingerAt = r.LastHeard, r.UpAt, r.SetupAt, r.IdleAt, r.LingerAt
	t.peerStopped, t.yielded = r.PeerStopped, r.Yielded
	t.ch.ChannelRecord = r.Channel
	t.ch.Queue = slices.Clone(r.Channel.Queue)
	t.ch.Requests = slices.Clone(r.Channel.Requests)
	t.ch.Early = slices.Clone(r.Channel.Early)
	t.ch.urgent = t.state == TunnelClosing
	for _, sr := range r.Sessions {
		s := t.sess.add(sr)
		if s.Deadline != 0 {
			heap.Push(&t.sess.timers, timer{s.Deadline, s.ID})
		}
	}
	for _, p := range slices.Concat(t.ch.Queue[t.ch.Sent:], t.ch.Requests) {
		if s := t.sess.byID[p.Session]; s != nil && p.Type != wire.MsgCDN {
			s.unsent++
		}
	}
	t.sess.freed = slices.Clone(r.Freed)
	for _, f := range r.Freed {
		t.sess.held[f.ID] = f.Goodbye
	}
	if due(t.Deadline(), now) {
		t.Expire(now, out)
	}
	return t, nil
}

// check refuses a Record that would break what the machines rely on.
func (r *Record) check() error {
	c := &r.Channel
	switch {
	case r.Version != recordVersion:
		return fmt.Errorf("version %d: %w", r.Version, ErrRecord)
	case r.ID == 0, r.State == TunnelIdle, r.State > TunnelDead:
		return fmt.Errorf("id %d in state %v: %w", r.ID, r.State, ErrRecord)
	case c.Sent < 0, c.Sent > len(c.Queue), c.Flying < 0, c.Flying > c.Sent, c.Window.Peer == 0, c.Window.Congestion == 0, c.Recovery.Held < 0:
		return fmt.Errorf("send queue: %w", ErrRecord)
	}
	for _, p := range slices.Concat(c.Queue, c.Requests) {
		if len(p.Datagram) < 12 {
			return fmt.Errorf("queued message of %d octets: %w", len(p.Datagram), ErrRecord)
		}
	}
	for _, s := range r.Sessions {
		if s.ID == 0 || s.State > SessionEstablished || s.Role > LNSOutgoing {
			return fmt.Errorf("session %d in state %v: %w", s.ID, s.State, ErrRecord)
		}
		if (s.Local == nil || s.Remote == nil) && (s.State != SessionEstablished || s.Local != s.Remote) {
			return fmt.Errorf("session %d without what was said of it: %w", s.ID, ErrRecord)
		}
	}
	return nil
}

// View is a look at the tunnel for show output.
func (t *Tunnel) View() TunnelView {
	c := &t.ch
	v := TunnelView{
		ID: t.id, State: t.state, Initiator: t.initiator, Peer: t.peer,
		Ns: c.Ns, Nr: c.Nr, PeerNr: c.PeerNr,
		Window: c.window, PeerWindow: c.Window.Peer, CongestionWindow: c.Window.Congestion, SlowStartThreshold: c.Window.Threshold,
		Outstanding: c.Sent, Queued: c.backlog(), RTT: c.Trip.Smooth, RTO: c.timeout(), Counters: c.Counters,
		LastHeard: t.lastHeard,
	}
	return v
}

// SessionView looks at one session; the zero value if there is none.
func (t *Tunnel) SessionView(id SessionID) SessionView {
	s := t.sess.byID[id]
	if s == nil {
		return SessionView{}
	}
	return SessionView{
		ID: s.ID, Peer: s.Peer, Role: s.Role, State: s.State,
		SerialNumber: s.Serial, PeerSerial: s.PeerSerial, EstablishedTime: s.Established,
	}
}
