package ppp

// MinIPv6MTU is what an IPv6 link must carry, in octets (RFC 8200, 5).
const MinIPv6MTU = 1280

// network is the network-layer protocol phase: the NCPs, each for itself (P265).
type network struct{ l *Link }

// wanted says whether p is an NCP that the configuration asks for.
func (w network) wanted(p Protocol) bool {
	return p == ProtoIPCP && w.l.cfg.IPv4 != IPv4Off || p == ProtoIPV6CP && w.l.cfg.IPv6 && w.l.s.LCP.PeerMRU >= MinIPv6MTU
}

// each calls f for every NCP that is wanted.
func (w network) each(f func(n *negotiator)) {
	for _, p := range [...]Protocol{ProtoIPCP, ProtoIPV6CP} {
		if w.wanted(p) {
			f(w.l.negotiator(p))
		}
	}
}

// begin opens the NCPs.
func (w network) begin() {
	l := w.l
	l.s.Phase = PhaseNetwork
	l.out.Persist = true
	if l.cfg.SessionTimeout > 0 && l.s.SessionAt == 0 {
		l.s.SessionAt = l.now + l.cfg.SessionTimeout
	}
	w.each(func(n *negotiator) {
		id := n.s.ID
		*n.s = Negotiation{State: n.s.State, ID: id}
		switch n.proto {
		case ProtoIPCP:
			ipcp{l}.reset()
			if l.cfg.IPv4 == IPv4Own && l.s.IPCP.Answered && !l.s.IPCP.Assigned.IsValid() {
				return // the owner has no address for the peer
			}
		case ProtoIPV6CP:
			ipv6cp{l}.reset()
		case ProtoIPv4, ProtoIPv6, ProtoCCP, ProtoLCP, ProtoPAP, ProtoCHAP:
		}
		n.fire(trOpen)
		n.fire(trUp)
	})
	w.check()
}

// close ends one NCP in good order. The link ends with its last.
func (w network) close(p Protocol) {
	ncp := ProtoIPCP
	if p == ProtoIPv6 {
		ncp = ProtoIPV6CP
	}
	if w.l.s.Phase == PhaseNetwork && w.wanted(ncp) {
		w.l.negotiator(ncp).fire(trClose)
	}
}

// stop takes the NCPs down with LCP.
func (w network) stop() {
	w.each(func(n *negotiator) { n.fire(trDown) })
}

// up reports an NCP that opened.
func (w network) up(e EvNetworkUp) {
	l := w.l
	l.s.BeenUp = true
	if l.cfg.IdleTimeout > 0 && l.s.IdleAt == 0 {
		l.s.IdleAt = l.now + l.cfg.IdleTimeout
	}
	l.event(e)
}

// check ends the link when every NCP that was wanted has come to rest without being open.
func (w network) check() {
	if w.l.s.Phase != PhaseNetwork {
		return
	}
	some, alive := false, false
	w.each(func(n *negotiator) {
		some = true
		alive = alive || !n.s.State.idle()
	})
	if some && !alive {
		w.l.s.Goodbye = "no network protocol running"
		w.l.fail(ReasonNoNetwork, false, "")
	}
}
