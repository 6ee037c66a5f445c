package engine

import "net/netip"

// Unreachable takes the news that an ICMP error came back for a datagram to remote (P163). Anyone on the path can forge it, and a
// peer that is being restarted causes it: it ends nothing, but explains a set-up that ends without an answer. It may be
// called from several goroutines at once and does not block.
func (e *Engine) Unreachable(remote netip.AddrPort) {
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	for _, s := range e.shards {
		put(s.inbox, &s.inbox.work, maxHints, func() {
			for _, t := range s.byRemote[remote] {
				t.unreachable = true
			}
		})
	}
}
