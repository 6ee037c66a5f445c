package ppp

// MinIPv6MTU is what an IPv6 link must carry, in octets (RFC 8200, 5).
const MinIPv6MTU = 1280

// network is the network-layer protocol phase: CCP and the NCPs, each for itself (P265).
type network struct{ l *Link }

// wanted says whether p is a protocol of this phase that we speak.
func (w network) wanted(p Protocol) bool {
	switch p {
	case ProtoIPCP:
		return w.l.cfg.IPv4 != IPv4Off
	case ProtoIPV6CP:
		return w.l.cfg.IPv6 && w.l.s.LCP.PeerMRU >= MinIPv6MTU
	case ProtoCCP:
		return ccp(w).possible()
	case ProtoIPv4, ProtoIPv6, ProtoMPPE, ProtoLCP, ProtoPAP, ProtoCHAP:
	}
	return false
}

// waiting says whether the NCPs wait for encryption.
func (w network) waiting() bool { return ccp(w).required() && !w.l.s.CCP.Up }

// each calls f for every NCP that is wanted.
func (w network) each(f func(n *negotiator)) {
	for _, p := range [...]Protocol{ProtoIPCP, ProtoIPV6CP} {
		if w.wanted(p) {
			f(w.l.negotiator(p))
		}
	}
}

// begin opens the NCPs, at once or when packets are encrypted.
func (w network) begin() {
	l := w.l
	l.s.Phase = PhaseNetwork
	l.out.Persist = true
	if l.cfg.SessionTimeout > 0 && l.s.SessionAt == 0 {
		l.s.SessionAt = l.now + l.cfg.SessionTimeout
	}
	w.each(func(n *negotiator) { *n.s = Negotiation{State: n.s.State, ID: n.s.ID} })
	ccp(w).begin()
	if l.s.Phase == PhaseNetwork && !w.waiting() {
		w.open()
	}
}

// open starts the NCPs.
func (w network) open() {
	l := w.l
	w.each(func(n *negotiator) {
		switch n.proto {
		case ProtoIPCP:
			ipcp{l}.reset()
			if l.cfg.IPv4 == IPv4Own && l.s.IPCP.Answered && !l.s.IPCP.Assigned.Some {
				return // the owner has no address for the peer
			}
		case ProtoIPV6CP:
			ipv6cp{l}.reset()
		case ProtoIPv4, ProtoIPv6, ProtoMPPE, ProtoCCP, ProtoLCP, ProtoPAP, ProtoCHAP:
		}
		n.fire(trOpen)
		n.fire(trUp)
		n.release()
	})
	w.check()
}

// hold takes the NCPs down until encryption is there again.
func (w network) hold() {
	w.each(func(n *negotiator) {
		n.fire(trDown)
		*n.s = Negotiation{State: n.s.State, ID: n.s.ID}
	})
}

// receive takes an NCP's packet. A peer that begins before there is encryption need not repeat its request.
func (w network) receive(proto Protocol, in packet) {
	n := w.l.negotiator(proto)
	switch {
	case !w.waiting():
		n.receive(in)
	case in.code == codeConfigureRequest:
		n.hold(in)
	}
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

// stop takes everything down with LCP, encryption last.
func (w network) stop() {
	w.each(func(n *negotiator) { n.fire(trDown) })
	ccp(w).stop()
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
	if w.l.s.Phase != PhaseNetwork || w.waiting() {
		return
	}
	some, alive := false, false
	w.each(func(n *negotiator) {
		some = true
		alive = alive || !n.s.State.idle()
	})
	if some && !alive {
		w.l.s.Goodbye = "no network protocol running"
		w.l.fail(ReasonNoNetwork, false, ipcp(w).insistence())
	}
}
