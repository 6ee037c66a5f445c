package ppp

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"time"
)

// Defaults of Config.
const (
	defaultRestart      = 3 * time.Second
	defaultMaxConfigure = 10
	defaultMaxTerminate = 2
	defaultMaxFailure   = 5
	defaultAuthTimeout  = 60 * time.Second
	defaultEchoFailures = 3
)

// Complete returns a copy of c that shares no memory with it and has no zero where a default exists. Any number of links may have it:
// it must not be written to.
func (c Config) Complete() *Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	count := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	if c.MaxMRU == 0 {
		c.MaxMRU = pppoeMRU
	}
	c.MaxMRU = max(c.MaxMRU, minMRU)
	if c.MRU == 0 {
		c.MRU = defaultMRU
	}
	c.MRU = max(c.MRU, minMRU)
	if c.Line == LinePPPoE {
		c.MRU = min(c.MRU, c.MaxMRU)
	}
	def(&c.Restart, defaultRestart)
	def(&c.AuthTimeout, defaultAuthTimeout)
	count(&c.MaxConfigure, defaultMaxConfigure)
	count(&c.MaxTerminate, defaultMaxTerminate)
	count(&c.MaxFailure, defaultMaxFailure)
	count(&c.EchoFailures, defaultEchoFailures)
	c.Auth = append([]AuthMethod(nil), c.Auth...)
	c.Answer = append([]AuthMethod(nil), c.Answer...)
	c.Password = append([]byte(nil), c.Password...)
	c.DNS = append(c.DNS[:0:0], c.DNS...)
	c.NBNS = append(c.NBNS[:0:0], c.NBNS...)
	c.Local = c.Local.Unmap()
	c.Proxy = c.Proxy.clone()
	c.complete = true
	return &c
}

// tolerance is how many Naks and Rejects in a row either side may send before a negotiation counts as failed. Twice
// Max-Configure leaves a peer with Max-Failure 10 (pppd) the time to turn its Naks into Rejects.
func (c *Config) tolerance() int { return 2*c.MaxConfigure + c.MaxFailure }

// Link is one end of a PPP link. It is not safe for concurrent use. It ends with exactly one EvLinkDown and does nothing
// after that.
type Link struct {
	cfg *Config // is never written to
	s   Record  // everything that changes
	now Time    // of the step being done
	out *Output // of the step being done

	used uint8 // octets of room
	room [roomOctets]byte
}

// roomOctets is what the options of the usual negotiations, a challenge and a name need.
const roomOctets = 136

// keep copies what the record has from now on. As a rule it lies in the link itself: on the heap each of these few octets would keep a page
// of short-lived ones. What was kept is never overwritten.
func (l *Link) keep(b []byte) []byte {
	free := l.room[l.used:]
	if len(b) == 0 || len(b) > len(free) {
		return bytes.Clone(b)
	}
	l.used += uint8(copy(free, b))
	return free[:len(b):len(b)]
}

// Open makes a link whose lower layer is up. LCP starts at once, or waits for the peer if cfg says Passive; then the wait
// is bounded like the negotiation itself, by MaxConfigure restart periods. With cfg.Proxy LCP may be open already, and the link may
// be over: with EvLinkDown in out.
func Open(cfg *Config, now Time, out *Output) *Link {
	if !cfg.complete {
		cfg = cfg.Complete()
	}
	l := &Link{cfg: cfg, now: now, out: out}
	l.s = Record{Version: recordVersion, Phase: PhaseEstablish}
	l.s.complete(cfg)
	defer l.leave()
	l.s.LCP.PeerMRU = min(defaultMRU, lcp{l}.most())
	if l.cfg.Proxy != nil && (proxy{l}).open() {
		return l
	}
	lcp{l}.reset()
	n := l.negotiator(ProtoLCP)
	if l.cfg.Passive && l.cfg.Proxy == nil {
		// The passive option ([p] in the table): Stopped is where a request starts everything.
		n.become(stStopped)
		l.s.PassiveUntil = now + Time(l.cfg.MaxConfigure)*l.cfg.Restart
	} else {
		n.fire(trOpen)
		n.fire(trUp)
	}
	return l
}

// Receive handles one frame from the peer, with or without FF 03, with a protocol field of one or two octets. It does
// not keep frame.
func (l *Link) Receive(now Time, frame []byte, out *Output) {
	if l.s.Dead {
		return
	}
	l.now, l.out = now, out
	defer l.leave()
	proto, payload, ok := SplitFrame(frame)
	if !ok {
		l.anomaly("frame without a protocol")
		return
	}
	times{l}.heard()
	switch proto {
	case ProtoIPv4, ProtoIPv6:
		return // data that found its way here belongs to no open NCP
	case ProtoMPPE:
		if l.s.Phase == PhaseNetwork && !(ccp{l}).possible() {
			lcp{l}.rejectProtocol(proto, payload)
		} else if l.s.ccp().Up {
			ccp{l}.undecrypted()
		}
		return
	case ProtoLCP, ProtoPAP, ProtoCHAP:
	case ProtoIPCP, ProtoIPV6CP, ProtoCCP:
		if l.s.Phase != PhaseNetwork {
			return // RFC 1661, 3.5: silently discarded
		}
		if !(network{l}).wanted(proto) {
			lcp{l}.rejectProtocol(proto, payload)
			return
		}
	default:
		// Other link-layer protocols are rejected as soon as LCP is open, other network protocols in their phase only.
		if proto >= 0xc000 || l.s.Phase == PhaseNetwork {
			lcp{l}.rejectProtocol(proto, payload)
		}
		return
	}
	p, ok := parsePacket(payload)
	if !ok {
		l.anomaly("broken " + proto.String() + " packet")
		return
	}
	switch proto {
	case ProtoLCP:
		lcp{l}.receive(p)
		if l.s.LCP.State != stStopped {
			l.s.PassiveUntil = 0 // the peer has begun: the wait is over
		}
	case ProtoPAP, ProtoCHAP:
		auth{l}.receive(proto, p)
	case ProtoCCP:
		ccp{l}.receive(p)
	case ProtoIPCP, ProtoIPV6CP:
		network{l}.receive(proto, p)
	case ProtoIPv4, ProtoIPv6, ProtoMPPE:
	}
}

// Do carries out an owner's command. A command that does not fit the moment is ignored.
func (l *Link) Do(now Time, c Command, out *Output) {
	if l.s.Dead {
		return
	}
	l.now, l.out = now, out
	defer l.leave()
	switch c := c.(type) {
	case CmdAuthResult:
		auth{l}.verdict(c)
	case CmdProceed:
		auth{l}.proceed(c)
	case CmdEncryption:
		ccp{l}.armed(c)
	case CmdDecryption:
		ccp{l}.checked(c)
	case CmdAddress:
		ipcp{l}.assigned(c.Peer.Unmap())
	case CmdIdle:
		times{l}.idleFor(c.Idle)
	case CmdConfigure:
		l.configure(c.Config)
	case CmdCloseNetwork:
		network{l}.close(c.Proto)
	case CmdClose:
		if l.s.End.Reason == ReasonNone {
			l.s.Goodbye = c.Text
		}
		l.fail(ReasonLocal, false, "")
	}
}

// configure has cfg hold for what has not begun yet.
func (l *Link) configure(cfg *Config) {
	was := l.cfg
	switch {
	case l.s.Phase == PhaseNetwork || l.s.Phase == PhaseTerminate: // its protocols are those that it began with
		c := *l.cfg
		c.SessionTimeout, c.IdleTimeout = cfg.SessionTimeout, cfg.IdleTimeout
		l.cfg = &c
	case cfg.complete:
		l.cfg = cfg
	default:
		l.cfg = cfg.Complete()
	}
	times{l}.anew(was)
	l.s.complete(l.cfg)
}

// Expire does what is due at now. Call it at Deadline or later.
func (l *Link) Expire(now Time, out *Output) {
	if l.s.Dead {
		return
	}
	l.now, l.out = now, out
	defer l.leave()
	if due(&l.s.PassiveUntil, now) {
		l.fail(ReasonNoAnswer, false, "")
	}
	l.negotiator(ProtoLCP).expire()
	if l.s.CCP != nil {
		l.negotiator(ProtoCCP).expire()
	}
	l.negotiator(ProtoIPCP).expire()
	if l.s.IPV6CP != nil {
		l.negotiator(ProtoIPV6CP).expire()
	}
	ccp{l}.expire()
	auth{l}.expire()
	times{l}.expire()
}

// Deadline is when Expire is wanted next; 0 means never.
func (l *Link) Deadline() Time {
	if l.s.Dead {
		return 0
	}
	var d Time
	ccp, ipv6cp := l.s.ccp(), l.s.ipv6cp()
	for _, t := range [...]Time{
		l.s.LCP.Deadline, ccp.Deadline, ccp.DoubtAt, l.s.IPCP.Deadline, ipv6cp.Deadline, l.s.PassiveUntil,
		l.s.AuthDeadline, l.s.Authenticator.Deadline, l.s.Authenticator.Rechallenge, l.s.Claimant.Deadline,
		l.s.EchoAt, l.s.IdleAt, l.s.SessionAt,
	} {
		if t != 0 && (d == 0 || t < d) {
			d = t
		}
	}
	return d
}

// Asked is the Attempt of the EvAuthRequest or EvHeld that waits for its answer; 0: none does.
func (l *Link) Asked() uint32 { return auth{l}.asked() }

// View is a consistent look at the link. Addresses are there while their protocol is open.
func (l *Link) View() View {
	s := &l.s
	ccp, ipv6cp := s.ccp(), s.ipv6cp()
	v := View{
		Phase: s.Phase, LCP: s.LCP.State.String(), IPCP: s.IPCP.State.String(), IPV6CP: ipv6cp.State.String(),
		CCP: ccp.State.String(), Encrypted: ccp.Up, Proxied: s.Proxied,
		MRU: lcp{l}.mru(), PeerMRU: s.LCP.PeerMRU, Magic: s.LCP.Magic, PeerMagic: s.LCP.PeerMagic,
		Auth: s.LCP.Auth, Answer: s.LCP.Answer, PeerName: string(s.PeerName), EchoMissed: s.EchoTries / echoRepeats, End: s.End,
	}
	if s.IPCP.Up {
		v.Local, v.Peer = s.IPCP.Local, s.IPCP.Peer
	}
	if ipv6cp.Up {
		v.LocalIPv6ID, v.PeerIPv6ID = ipv6cp.Local, ipv6cp.Peer
	}
	return v
}

// leave ends a step: nothing may write to an owner's Output later.
func (l *Link) leave() { l.out = nil }

// negotiator makes the automaton of LCP, CCP, IPCP or IPV6CP for this step.
func (l *Link) negotiator(p Protocol) *negotiator {
	n := &negotiator{l: l, proto: p}
	switch p {
	case ProtoLCP:
		n.s, n.layer = &l.s.LCP.Negotiation, lcp{l}
	case ProtoCCP:
		n.s, n.layer = &l.s.CCP.Negotiation, ccp{l}
	case ProtoIPCP:
		n.s, n.layer = &l.s.IPCP.Negotiation, ipcp{l}
	case ProtoIPV6CP:
		n.s, n.layer = &l.s.IPV6CP.Negotiation, ipv6cp{l}
	case ProtoIPv4, ProtoIPv6, ProtoMPPE, ProtoPAP, ProtoCHAP:
		panic("ppp: " + p.String() + " has no automaton")
	}
	return n
}

// note remembers why the link ends; the first reason counts.
func (l *Link) note(r Reason, peer bool, text string) {
	if l.s.End.Reason != ReasonNone {
		return
	}
	stage := StageLCP
	switch l.s.Phase {
	case PhaseDead, PhaseEstablish, PhaseTerminate:
	case PhaseAuthenticate:
		stage = StageAuth
	case PhaseNetwork:
		stage = StageAddress
	}
	text = strings.ToValidUTF8(text, "?")
	switch {
	case l.s.BeenUp:
		stage = StageUp
	case peer && l.s.LCP.NoLogin:
		if stage == StageAddress {
			stage = StageAuth // there was none, and that is why
		}
		const wants = "it wants a login, and none is configured for it"
		if text == "" {
			text = wants
		} else {
			text += " (" + wants + ")"
		}
	}
	l.s.End = EvLinkDown{Stage: stage, Reason: r, Peer: peer, Text: text}
	l.s.PassiveUntil, l.s.EchoAt, l.s.IdleAt, l.s.SessionAt = 0, 0, 0, 0
	l.out.Persist = true
}

// fail closes the link for a reason: Terminate-Request, then EvLinkDown when it is answered or given up.
func (l *Link) fail(r Reason, peer bool, text string) {
	if l.s.Dead || l.s.End.Reason != ReasonNone {
		return
	}
	l.note(r, peer, text)
	l.s.Phase = PhaseTerminate
	l.negotiator(ProtoLCP).fire(trClose)
	if l.s.LCP.State.idle() {
		l.finish()
	}
}

// finish is the end.
func (l *Link) finish() {
	if l.s.Dead {
		return
	}
	l.s.Dead, l.s.Phase = true, PhaseDead
	l.event(l.s.End)
}

func (l *Link) event(e Event) {
	l.out.Events = append(l.out.Events, e)
	l.out.Persist = true
}

// anomaly reports something that changes nothing.
func (l *Link) anomaly(text string) {
	l.out.Events = append(l.out.Events, EvAnomaly{Text: text})
}

// random fills b from Config.Random, whose contract is that it does not fail: going on with a guessable challenge would
// be worse than the panic.
func (l *Link) random(b []byte) {
	if _, err := io.ReadFull(l.cfg.Random, b); err != nil {
		panic("ppp: Config.Random: " + err.Error())
	}
}

// random32 is never 0.
func (l *Link) random32() uint32 {
	var b [4]byte
	l.random(b[:])
	return max(binary.BigEndian.Uint32(b[:]), 1)
}

// due says whether the deadline has come, and clears it if so.
func due(t *Time, now Time) bool {
	if *t == 0 || *t > now {
		return false
	}
	*t = 0
	return true
}
