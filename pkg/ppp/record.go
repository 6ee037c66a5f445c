package ppp

import "fmt"

// recordVersion changes when an older Record can no longer be read.
const recordVersion = 1

// Record is everything about a link that changes, for a new process to carry on without the peer noticing. It holds times
// of the machine's boot-time clock and no secret of Config; with MPPE it holds the keys of the link, for CCP to begin anew. It can be
// encoded with encoding/json and encoding/gob; its slices are shared with the link and must not be written to.
type Record struct {
	Version  uint16 // beside Phase: eight octets more and a link would take 128 more
	Phase    Phase
	Proxied  bool // LCP is that of the LAC
	BeenUp   bool // an NCP has been open
	PeerLeft bool // a Terminate-Request came before LCP was open, with PeerWords
	Dead     bool
	LCP      LCPRecord
	IPCP     IPCPRecord
	IPV6CP   *IPV6CPRecord // nil, like CCP: the configuration has it off
	CCP      *CCPRecord
	Handover *HandoverRecord // nil without Config.Hold

	Authenticator AuthenticatorRecord
	Claimant      ClaimantRecord
	PeerName      []byte // authenticated

	PassiveUntil Time
	AuthDeadline Time
	EchoAt       Time
	EchoTries    int // requests without an answer, in a row
	IdleAt       Time
	SessionAt    Time

	PeerWords string
	Goodbye   string // the text of our Terminate-Request
	End       EvLinkDown
}

// Record returns the link's state.
func (l *Link) Record() Record { return l.s.clone() }

// clone shares nothing with r that is written to.
func (r Record) clone() Record {
	if r.IPV6CP != nil {
		r.IPV6CP = new(*r.IPV6CP)
	}
	if r.CCP != nil {
		r.CCP = new(*r.CCP)
	}
	if r.Handover != nil {
		r.Handover = &HandoverRecord{First: r.Handover.First}
	}
	return r
}

// complete adds what the configuration has on.
func (r *Record) complete(cfg *Config) {
	if r.IPV6CP == nil && cfg.IPv6 {
		r.IPV6CP = &IPV6CPRecord{}
	}
	if r.CCP == nil && cfg.MPPE != MPPEOff {
		r.CCP = &CCPRecord{}
	}
	if r.Handover == nil && cfg.Hold {
		r.Handover = &HandoverRecord{}
	}
}

// ipv6cp and ccp are copies, to look at; of a protocol that is off, those of one that has not begun.
func (r *Record) ipv6cp() (c IPV6CPRecord) {
	if r.IPV6CP != nil {
		c = *r.IPV6CP
	}
	return c
}

func (r *Record) ccp() (c CCPRecord) {
	if r.CCP != nil {
		c = *r.CCP
	}
	return c
}

// Restore makes a link go on where r was taken; nothing is renegotiated. cfg is that of the old link. Events that wait
// for the owner's answer are sent again, except a PAP EvAuthRequest: the password is not recorded, so it follows when
// the peer repeats its request, for which it has cfg.AuthTimeout with cfg.Hold. That of a LAC is taken from cfg.Proxy.
func Restore(r Record, cfg Config, now Time, out *Output) (*Link, error) {
	if err := r.check(cfg); err != nil {
		return nil, fmt.Errorf("restore link: %w", err)
	}
	l := &Link{cfg: cfg.Complete(), s: r.clone(), now: now, out: out}
	l.s.complete(l.cfg)
	defer l.leave()
	if r.Dead {
		return l, nil
	}
	times{l}.restore()
	auth{l}.restore()
	if l.s.ccp().Armed == armAsked {
		ccp{l}.question()
	}
	if l.s.IPCP.Asked && !l.s.IPCP.Answered {
		l.event(EvAddressWanted{Wanted: l.s.IPCP.Wanted.addr()})
	}
	return l, nil
}

// check refuses what no link can be in, or cannot be in under the configuration.
func (r *Record) check(cfg Config) error {
	if r.Version != recordVersion {
		return fmt.Errorf("record version %d, want %d", r.Version, recordVersion)
	}
	if r.Phase > PhaseTerminate || r.LCP.Auth > AuthMSCHAPv2 || r.LCP.Answer > AuthMSCHAPv2 ||
		r.Authenticator.Progress > authHeld || r.Claimant.Progress > authFailed || r.ccp().Armed > armReady {
		return fmt.Errorf("record out of range: phase %d, authentication %d and %d", r.Phase, r.LCP.Auth, r.LCP.Answer)
	}
	for _, n := range [...]struct {
		proto Protocol
		state state
		off   bool
	}{
		{ProtoLCP, r.LCP.State, false},
		{ProtoIPCP, r.IPCP.State, cfg.IPv4 == IPv4Off},
		{ProtoIPV6CP, r.ipv6cp().State, !cfg.IPv6},
		{ProtoCCP, r.ccp().State, cfg.MPPE == MPPEOff},
	} {
		if n.state > stOpened {
			return fmt.Errorf("%v state %d does not exist", n.proto, n.state)
		}
		if n.off && !n.state.idle() {
			return fmt.Errorf("%v is %v in the record, the configuration has it off", n.proto, n.state)
		}
	}
	return nil
}
