package control

import (
	"errors"
	"io"
	"time"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// Reasons why Receive dropped a datagram, beside those of wire.ParseHeader. They come bare: a flood costs no memory.
var (
	ErrData      = errors.New("data message on the control path")
	ErrDead      = errors.New("tunnel is dead")
	ErrTunnelID  = errors.New("tunnel id of another tunnel")            // P12, P13
	ErrDuplicate = errors.New("duplicate message")                      // acknowledged again (P133)
	ErrOutside   = errors.New("message outside the receive window")     // P135
	ErrRestarted = errors.New("a new SCCRQ under an id already in use") // the peer forgot this tunnel: see Receive
	ErrSequence  = errors.New("first message with Ns other than 0")     // RFC 2661, 5.8
)

// Tunnel is one control connection and its sessions. It is not safe for concurrent use. Every step takes the time and
// an Output that it appends to; times never go backwards.
type Tunnel struct {
	cfg       TunnelConfig
	id        TunnelID
	state     TunnelState
	initiator bool
	peer      PeerInfo

	challenge  []byte // ours, until answered
	tieBreaker uint64 // ours, with cfg.TieBreaker
	request    uint64 // fingerprint of the SCCRQ that made this tunnel, if the peer sent it
	serial     uint32 // last Call Serial Number given

	lastHeard   Time
	upAt        Time // when the tunnel was established
	setupAt     Time // half-open tunnels end then; 0: none
	idleAt      Time // tunnels without sessions end then; 0: none
	lingerAt    Time // closing tunnels die then
	peerStopped bool // StopCCN came: linger for the peer's retransmissions (P145)
	yielded     bool // a tie was lost: an SCCRP that may still come is answered by StopCCN

	ch   channel
	sess sessionTable
}

// Open starts a tunnel: SCCRQ leaves, the state is wait-ctl-reply (P60). id must not be 0 or in use.
func Open(cfg TunnelConfig, id TunnelID, now Time, out *Output) *Tunnel {
	t := newTunnel(cfg, id, now)
	t.initiator = true
	st := &step{t: t, now: now, out: out}
	if t.cfg.TieBreaker {
		var b [8]byte
		random(t, b[:])
		for _, x := range b {
			t.tieBreaker = t.tieBreaker<<8 | uint64(x)
		}
	}
	t.setupAt = now + t.cfg.SetupTimeout
	st.become(TunnelWaitCtlReply)
	st.send(nil, sccrq(t))
	st.finish()
	return t
}

func newTunnel(cfg TunnelConfig, id TunnelID, now Time) *Tunnel {
	t := &Tunnel{cfg: withDefaults(cfg), id: id, lastHeard: now}
	t.ch = newChannel(&t.cfg)
	t.sess = newSessionTable()
	return t
}

// withDefaults copies cfg and fills in what 0 stands for.
func withDefaults(cfg TunnelConfig) TunnelConfig {
	cfg.Secret = append([]byte(nil), cfg.Secret...)
	if cfg.ReceiveWindow == 0 {
		cfg.ReceiveWindow = 16
	}
	cfg.ReceiveWindow = min(cfg.ReceiveWindow, 32767)
	if cfg.DefaultWindow == 0 {
		cfg.DefaultWindow = 4
	}
	if cfg.RetransmitFirst == 0 {
		cfg.RetransmitFirst = time.Second
	}
	if cfg.RetransmitCap == 0 {
		cfg.RetransmitCap = 8 * time.Second
	}
	if cfg.MaxRetransmits == 0 {
		cfg.MaxRetransmits = 5
	}
	if cfg.SetupTimeout == 0 {
		cfg.SetupTimeout = cycle(cfg)
	}
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = 10 * time.Second
	}
	if cfg.AnswerTimeout == 0 {
		cfg.AnswerTimeout = 60 * time.Second
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = 60 * time.Second
	}
	if cfg.ErrorInterval == 0 {
		cfg.ErrorInterval = 60 * time.Second // RFC 2661, 6.13
	}
	if cfg.MaxSessions <= 0 {
		cfg.MaxSessions = 65535
	}
	return cfg
}

// cycle is how long a message is retransmitted before its sender gives up: 31 s with the defaults (RFC 2661, 5.8).
func cycle(cfg TunnelConfig) time.Duration {
	var sum time.Duration
	d := cfg.RetransmitFirst
	for range cfg.MaxRetransmits + 1 {
		sum += min(d, cfg.RetransmitCap)
		d = min(2*d, cfg.RetransmitCap)
	}
	return sum
}

// random fills b from the configuration's entropy source, which must not fail.
func random(t *Tunnel, b []byte) {
	if _, err := io.ReadFull(t.cfg.Random, b); err != nil {
		panic("control: TunnelConfig.Random: " + err.Error())
	}
}

// ID is the local tunnel id.
func (t *Tunnel) ID() TunnelID { return t.id }

// PeerID is the peer's tunnel id, 0 while unknown.
func (t *Tunnel) PeerID() TunnelID { return t.peer.TunnelID }

// State is the tunnel's state.
func (t *Tunnel) State() TunnelState { return t.state }

// Receive takes one datagram from the tunnel's peer. The caller has checked the source address, and that the header
// names this tunnel, or names tunnel 0 and the message carries the peer's id of this tunnel as its Assigned Tunnel ID
// (an SCCRQ come again, P75, or a StopCCN, P74). datagram is not retained.
//
// An error says why the datagram was dropped, for a counter; errors of messages are answered to the peer and reported by
// events instead. ErrRestarted means that an SCCRQ is not the one that made this tunnel, come again, but that of a peer that
// started anew and happened to choose the same id. Nothing was changed: whether the old peer is gone is for the owner to find
// out (CmdProbe) before it forgets this tunnel, for anybody may send an SCCRQ under a forged address.
func (t *Tunnel) Receive(now Time, datagram []byte, out *Output) error {
	h, payload, err := wire.ParseHeader(datagram)
	if err != nil {
		t.ch.Counters.InMalformed++
		return err
	}
	if !h.Control {
		return ErrData
	}
	if t.state == TunnelDead {
		return ErrDead
	}
	again, err := t.addressed(now, h, payload)
	if err != nil {
		return err
	}
	c := &t.ch.Counters
	c.InControl++
	st := &step{t: t, now: now, out: out, promptAck: t.state != TunnelEstablished, again: again}
	t.lastHeard = max(t.lastHeard, now)
	t.ch.acknowledge(now, h.Nr, len(payload) == 0)
	if len(payload) == 0 {
		c.InZLB++
		c.InProcessed++
		st.finish()
		return nil
	}
	c.InMessages++
	err = st.take(h, payload)
	st.finish()
	return err
}

// addressed checks the tunnel id of a header (P12, P13, P74, P75). again: it is the SCCRQ that made this tunnel, and the
// peer has not yet answered our SCCRP.
func (t *Tunnel) addressed(now Time, h wire.Header, payload []byte) (again bool, err error) {
	if h.TunnelID == uint16(t.id) {
		return false, nil
	}
	if h.TunnelID != 0 || len(payload) == 0 || t.initiator {
		return false, ErrTunnelID
	}
	m, err := wire.ParseMessage(payload)
	if err != nil {
		return false, ErrTunnelID
	}
	switch {
	case m.Type == wire.MsgStopCCN:
		// Once it has named us by our id the peer knows it, and whoever does not is somebody else.
		if t.state != TunnelWaitCtlConn && t.state != TunnelClosing || AssignedTunnelID(m, t.cfg.Secret) != t.peer.TunnelID {
			return false, ErrTunnelID
		}
		return false, nil
	case m.Type != wire.MsgSCCRQ:
		return false, ErrTunnelID
	case fingerprint(m) != t.request, t.peerStopped, t.upAt != 0 && now-t.upAt > cycle(t.cfg):
		// Even the same octets are no retransmission after the peer's StopCCN or when it has long had our SCCRP.
		return false, ErrRestarted
	case t.ch.judge(h.Ns) != duplicate:
		return false, ErrTunnelID
	}
	return t.state == TunnelWaitCtlConn, nil
}

// Expire does what is due. Call it when Deadline has come; earlier calls do no harm.
func (t *Tunnel) Expire(now Time, out *Output) {
	if t.state == TunnelDead {
		return
	}
	st := &step{t: t, now: now, out: out}
	if !t.ch.expire(now) {
		st.lost(CauseTimeout, wire.Result{})
		return
	}
	switch t.state {
	case TunnelIdle, TunnelDead:
	case TunnelWaitCtlReply, TunnelWaitCtlConn:
		if due(t.setupAt, now) {
			setupOver(st)
		}
	case TunnelEstablished:
		expireSessions(st)
		switch {
		case due(t.idleAt, now):
			st.close(CauseIdle, wire.Result{Code: wire.StopGeneral, Text: "no sessions"})
		case due(t.helloAt(), now):
			st.send(nil, wire.NewMessage(wire.MsgHello))
		}
	case TunnelClosing:
		if due(t.lingerAt, now) {
			st.become(TunnelDead)
			return
		}
	}
	st.finish()
}

// helloAt is when silence must be broken by HELLO (P149). Anything unacknowledged probes the peer as well as a HELLO.
func (t *Tunnel) helloAt() Time {
	if t.cfg.HelloInterval <= 0 || len(t.ch.Queue) > 0 {
		return 0
	}
	return t.lastHeard + t.cfg.HelloInterval
}

// Deadline is when Expire must be called next; 0 for never.
func (t *Tunnel) Deadline() Time {
	d := earliest(t.ch.AckAt, t.ch.retransmitAt())
	switch t.state {
	case TunnelDead, TunnelIdle:
		return 0
	case TunnelWaitCtlReply, TunnelWaitCtlConn:
		return earliest(d, t.setupAt)
	case TunnelEstablished:
		return earliest(d, t.idleAt, t.helloAt(), t.sess.deadline())
	case TunnelClosing:
		return earliest(d, t.lingerAt)
	}
	return d
}

func due(at, now Time) bool { return at != 0 && at <= now }

// earliest is the first of the deadlines that exist, 0 if none does.
func earliest(times ...Time) Time {
	var first Time
	for _, at := range times {
		if at != 0 && (first == 0 || at < first) {
			first = at
		}
	}
	return first
}
