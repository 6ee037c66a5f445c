package kerneltest

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/l2tpd/l2tpd/pkg/kernel"
)

// transmit carries a frame to the kernel that has the other end of the session; if none has, to the first with the tunnel.
func transmit(s *Session, frame []byte, encryptedWith string) {
	k := s.k
	k.mu.Lock()
	spec, numbered, peers, lost := s.spec, s.numbers, slices.Clone(k.peers), s.lost
	k.mu.Unlock()
	if s.key.access != "" {
		if k.cfg.OnAccess != nil && !lost {
			k.cfg.OnAccess(s, slices.Clone(frame))
		}
		return
	}
	if k.cfg.OnSend != nil {
		k.cfg.OnSend(spec, slices.Clone(frame))
	}
	to := arrival{to: key{tunnel: spec.PeerTunnelID, session: spec.PeerID}, frame: frame, numbered: numbered, key: encryptedWith}
	var fallback *Kernel
	for _, peer := range peers {
		switch knows(peer, spec) {
		case theSession:
			enqueue(peer, to)
			return
		case theTunnel:
			if fallback == nil {
				fallback = peer
			}
		case nothing:
		}
	}
	if fallback != nil {
		enqueue(fallback, to)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lost++
}

// knowledge is how much of a peer's session a kernel has.
type knowledge int

const (
	nothing knowledge = iota
	theTunnel
	theSession
)

// knows looks for the other end of a peer's session.
func knows(k *Kernel, peer kernel.SessionSpec) knowledge {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.sessions[key{tunnel: peer.PeerTunnelID, session: peer.PeerID}]; s != nil &&
		s.spec.PeerTunnelID == peer.TunnelID && s.spec.PeerID == peer.SessionID {
		return theSession
	}
	if t, ok := k.tunnels[peer.PeerTunnelID]; ok && t.PeerID == peer.TunnelID {
		return theTunnel
	}
	return nothing
}

func enqueue(k *Kernel, a arrival) {
	k.mu.Lock()
	defer k.mu.Unlock()
	push(k, a)
}

// push needs mu.
func push(k *Kernel, a arrival) {
	k.queue = append(k.queue, a)
	if !k.running {
		k.running = true
		go deliver(k)
	}
}

// deliver empties the queue and ends.
func deliver(k *Kernel) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.queue) > 0 {
		a := k.queue[0]
		k.queue = k.queue[1:]
		s := k.sessions[a.to]
		call := consume(k, a, s)
		if call == nil {
			continue
		}
		k.delivering = s
		k.mu.Unlock()
		call()
		k.mu.Lock()
		k.delivering = nil
		k.idle.Broadcast()
	}
	k.running = false
}

// consume decides what an arrival causes; mu is held, and what it returns runs without.
func consume(k *Kernel, a arrival, s *Session) func() {
	switch {
	case s == nil && (a.dead != "" || a.to.access != ""):
		return nil
	case s == nil && k.cfg.OnStray != nil:
		return func() { k.cfg.OnStray(a.to.tunnel, a.to.session, a.frame) }
	case s == nil:
		k.lost++
		return nil
	case a.dead != "":
		if s.told {
			return nil
		}
		s.told = true
		return func() { s.to.Dead(fmt.Errorf("the %s of session %v is gone: %w", a.dead, a.to, os.ErrNotExist)) }
	case s.lost:
		return nil
	}
	if !admit(s, a.numbered) {
		s.stats.RxSeqDiscards++
		s.stats.RxErrors++
		return nil
	}
	if size := s.size(a.frame, a.numbered); size > 0 {
		s.stats.RxPackets++
		s.stats.RxBytes += size
	}
	switch to := s.peer; {
	case len(a.frame) < 2:
		return nil
	case to != nil && to.lost:
		k.lost++
		return nil
	case to != nil:
		countSent(to, a.frame)
		return func() { transmit(to, a.frame, a.key) }
	case s.muted:
		k.lost++
		return nil
	}
	frame := s.receive(a)
	if frame == nil {
		return nil
	}
	p := kernel.NetworkProtocol(binary.BigEndian.Uint16(frame))
	if s.attached && (p == kernel.IPv4 || p == kernel.IPv6) {
		if s.pass[p] && !s.dead {
			s.carried++
			s.since = time.Now()
		}
		return nil
	}
	return func() { s.to.Frame(frame) }
}

// admit decides whether a session takes a frame with or without a number; mu is held. Without LNS mode the session's own
// numbering follows the peer's.
func admit(s *Session, numbered bool) bool {
	q := s.spec.Sequencing
	if !numbered && (q.Require || s.numbers && q.LNS) {
		return false
	}
	if !q.LNS {
		s.numbers = numbered
	}
	return true
}
