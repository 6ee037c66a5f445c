package engine

import (
	"errors"
	"hash/fnv"
	"log/slog"
	"net/netip"
	"sync/atomic"

	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/transport"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// routes says for every tunnel id who may send to it. The readers of the sockets look here, so that a flood of foreign or
// stale packets never reaches a shard.
type routes [1 << 16]atomic.Pointer[route]

// route is the peer of one tunnel. It is immutable.
type route struct {
	remote  netip.AddrPort
	anyPort bool // before SCCRP: the responder may answer from another port (P156)
}

func (r *route) admits(src netip.AddrPort) bool {
	return r.remote == src || (r.anyPort && r.remote.Addr() == src.Addr())
}

// Receive is the one demultiplexer of every socket, listener or tunnel: by tunnel id and source address. It is a
// transport.Handler: it may be called from several goroutines at once and does not block.
func (e *Engine) Receive(p transport.Packet) {
	remote := netip.AddrPortFrom(p.Remote.Addr().Unmap(), p.Remote.Port())
	local := netip.AddrPortFrom(p.Local.Addr().Unmap(), p.Local.Port())
	if !e.policy.Load().Admit(remote.Addr()) {
		e.counts.filtered.Add(1)
		return
	}
	h, payload, err := wire.ParseHeader(p.Data)
	if err != nil {
		e.counts.malformed.Add(1)
		what := "malformed packet dropped"
		if errors.Is(err, wire.ErrVersion) {
			what = "packet of another L2TP version dropped"
		}
		e.strange(slog.LevelInfo, "malformed", remote.Addr(), what, slog.String("why", err.Error()))
		return
	}
	if h.TunnelID == 0 {
		if !h.Control {
			e.counts.noTunnel.Add(1)
			return
		}
		e.newcomer(local, remote, h, p.Data)
		return
	}
	r := e.routes[h.TunnelID].Load()
	if h.Control && (r == nil || !r.admits(remote)) {
		e.tapIn(local, remote, h, p.Data)
	}
	switch {
	case r == nil:
		e.counts.noTunnel.Add(1)
		if h.Control && len(payload) == 0 {
			return // the acknowledgement of a last word: every refusal gets one
		}
		e.strange(slog.LevelInfo, "no-such-tunnel", remote.Addr(), "packet for a tunnel that does not exist dropped",
			slog.Any("peer", remote), slog.Int("tunnel", int(h.TunnelID)))
		return
	case !r.admits(remote):
		e.counts.foreign.Add(1)
		e.strange(slog.LevelWarn, "foreign-source", remote.Addr(), "packet for a tunnel of another peer dropped",
			slog.Any("peer", remote), slog.Int("tunnel", int(h.TunnelID)))
		return
	}
	s := e.shards[int(h.TunnelID)%len(e.shards)]
	if !put(s.inbox, &s.inbox.packets, maxPackets, packet{local: local, remote: remote, data: append([]byte(nil), p.Data...)}) {
		e.counts.overLimit.Add(1)
		if h.Control {
			e.tapIn(local, remote, h, p.Data)
		}
	}
}

// newcomer queues a control message without tunnel id. Configured calls, and the tunnels that may concern them, live in
// shard 0; other sources are spread.
func (e *Engine) newcomer(local, remote netip.AddrPort, h wire.Header, data []byte) {
	s := e.shards[0]
	if !e.concernsCalls(remote.Addr()) {
		sum := fnv.New32a()
		b := remote.Addr().As16()
		_, _ = sum.Write(b[:])
		s = e.shards[1+int(sum.Sum32()%uint32(len(e.shards)-1))]
	}
	if !put(s.inbox, &s.inbox.newcomers, maxNewcomers,
		packet{local: local, remote: remote, data: append([]byte(nil), data...)}) {
		e.counts.overLimit.Add(1)
		e.tapIn(local, remote, h, data)
	}
}

// peerBook says where the peers of configured calls are. It is immutable.
type peerBook struct {
	named map[string][]netip.Addr // what names resolved to, by call
	all   map[netip.Addr]bool     // every address of a peer
	any   bool                    // a passive call takes anybody
}

func newPeerBook(p *policy.Policy, named map[string][]netip.Addr) *peerBook {
	b := &peerBook{named: named, all: map[netip.Addr]bool{}}
	for _, c := range p.Calls {
		if c.Type != policy.CallVirtual {
			continue // the peer of a line does not call
		}
		b.any = b.any || c.Passive
		if a, err := netip.ParseAddr(c.Peer); err == nil {
			b.all[a.Unmap()] = true
		}
	}
	for _, addrs := range named {
		for _, a := range addrs {
			b.all[a] = true
		}
	}
	return b
}

// concernsCalls says whether a configured call may have its peer at a.
func (e *Engine) concernsCalls(a netip.Addr) bool {
	b := e.peers.Load()
	return b.any || b.all[a]
}

// peersOf are the addresses that a call's peer had when it was last resolved.
func (e *Engine) peersOf(call string) []netip.Addr { return e.peers.Load().named[call] }
