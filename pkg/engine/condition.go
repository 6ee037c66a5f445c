package engine

import (
	"net/netip"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// maxClear is how many peers with passwords in clear one shard names.
const maxClear = 16

// inClear says that passwords go in clear through the tunnel, whose peer has not proved that it knows a secret.
func (t *tunnel) inClear() bool {
	if !t.up || t.down || t.secret {
		return false
	}
	for _, x := range t.sessions {
		if x.state != control.SessionEstablished || x.releasing || x.call == nil {
			continue
		}
		if name := proxyAuthName(x.proxyType); x.near != nil && (name == "pap" || name == "text") { // what we have passed on
			return true
		}
		if p := x.call.View().PPP; p.LCP != "" && (p.Auth == ppp.AuthPAP || p.Answer == ppp.AuthPAP) {
			return true
		}
	}
	return false
}

// clearText are the peers of such tunnels, at most maxClear.
func (s *shard) clearText() (peers []netip.AddrPort) {
	for _, t := range s.tunnels {
		if len(peers) < maxClear && t.inClear() {
			peers = append(peers, t.remote)
		}
	}
	return peers
}

// Activity grows with whatever the engine does. A single Snapshot makes it grow by look.
func (e *Engine) Activity() (n, look uint64) {
	for _, s := range e.shards {
		n += s.load.messages.Load() + s.load.fired.Load()
	}
	return n, uint64(len(e.shards))
}
