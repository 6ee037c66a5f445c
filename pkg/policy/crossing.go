package policy

import "net/netip"

// CrossingSide is one of two calls that crossed: the Tie Breaker of the SCCRQ and the session id that its caller chose.
type CrossingSide struct {
	Tie     uint64 // 0: none sent, or not known to both ends
	Session uint16
}

// Crossing says which of two crossing calls of a virtual pair stays (S69, P120): ours (the outgoing one), or the peer's.
// contested says that both ends turned out to have the same precedence: then LowerWins decides, the same way on both ends.
func Crossing(own Precedence, contested bool, ours, peers CrossingSide) (keepOutgoing bool) {
	if contested {
		return LowerWins(ours.Tie, peers.Tie, ours.Session, peers.Session)
	}
	switch own {
	case PrecedenceIn:
		return false
	case PrecedenceOut:
		return true
	}
	return false
}

// LowerWins says that our call stays, by the tie-breaker rule (RFC 2661, 4.4.3): the lower tie breaker wins, one against
// none wins (P116), and without a difference the lower session id. Both ends must put the same values in, exchanged; 0
// means none. Everything equal, both ends give up their own call: false on both.
func LowerWins(ourTie, peerTie uint64, ourSession, peerSession uint16) (ours bool) {
	switch {
	case ourTie == peerTie:
		return ourSession < peerSession
	case ourTie == 0:
		return false
	case peerTie == 0:
		return true
	}
	return ourTie < peerTie
}

// ShareKey is what calls of one tunnel have in common (S76, S183). Calls with equal keys share a tunnel. It may be printed:
// the secret shows as "***".
type ShareKey struct {
	Peer           netip.AddrPort
	Local          netip.Addr // invalid: by route
	Secret         Digest
	Tunnel         Tunnel
	PRE13          bool
	IgnoreWindow13 bool
	Ephemeral      bool
	Own            string // name of the call that shares its tunnel with nobody
	Assignment     string // of subscribers' calls (RFC 2868, 3.7)
	HostName       string // that the peer is told, where it is not the server's
	Expect         string // that the peer must have
	HideAVPs       bool
}

// ShareKey is the key of c when its peer has the address peer. A PeerPort of 0 counts as 1701.
func (c *Call) ShareKey(peer netip.Addr) ShareKey {
	port := c.PeerPort
	if port == 0 {
		port = DefaultPort
	}
	k := ShareKey{
		Peer:           netip.AddrPortFrom(peer.Unmap(), port),
		Local:          c.LocalAddr,
		Secret:         c.Secret.digest(),
		Tunnel:         c.Tunnel,
		PRE13:          c.PRE13,
		IgnoreWindow13: c.IgnoreWindow13,
		Ephemeral:      c.EphemeralPort,
	}
	if c.OwnTunnel {
		k.Own = c.Name
	}
	return k
}

// DefaultPort is the UDP port of L2TP (RFC 2661, 8.1; S14, S31).
const DefaultPort = 1701
