package kerneltest

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/l2tpd/l2tpd/pkg/kernel"
)

// World is what happens to a session by others than its owner, and what only a test can see of it.
type World struct{ s *Session }

// Network sends a packet as the interface would: it leaves if the session passes the protocol, encrypted if CCP is open. It
// reports whether it left.
func (w World) Network(p kernel.NetworkProtocol, packet []byte) bool {
	s := w.s
	frame, key := append(binary.BigEndian.AppendUint16(nil, uint16(p)), packet...), ""
	s.k.mu.Lock()
	leaves := !s.closed && s.attached && !s.dead && !s.lost && s.pass[p]
	if leaves {
		s.since = time.Now()
		frame, key = s.encrypt(frame)
		countSent(s, frame)
	}
	s.k.mu.Unlock()
	if leaves {
		transmit(s, frame, key)
	}
	return leaves
}

// State is what a test may want to know of a session beyond what a caller can.
type State struct {
	Attached   bool
	Unit       kernel.Unit // the interface, if attached
	Carried    uint64      // network packets that came out of it
	Numbers    bool        // its frames have sequence numbers: as asked for, or, without LNS mode, as the peer's last
	Encrypting bool        // the network packets that it sends are encrypted
	IPv4, IPv6 bool        // it passes the protocol
	Peer       *Session    // the other side of the bridge, or nil
	ACCM       [2]uint32   // of a line: what it escapes, what it drops
}

// State gives the present state.
func (w World) State() State {
	s := w.s
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	return State{
		Attached: s.attached, Unit: s.unit.Unit, Carried: s.carried, Numbers: s.numbers,
		Encrypting: s.crypt.up && s.crypt.sending, IPv4: s.pass[kernel.IPv4], IPv6: s.pass[kernel.IPv6],
		Peer: s.peer, ACCM: s.accm,
	}
}

// Inject lets a frame arrive, as if the peer had sent it. It is Kernel.Inject for sessions that have no ids.
func (w World) Inject(frame []byte) {
	w.s.k.mu.Lock()
	defer w.s.k.mu.Unlock()
	if !w.s.closed {
		push(w.s.k, arrival{to: w.s.at(), frame: slices.Clone(frame), numbered: w.s.numbers || w.s.spec.Sequencing.Require})
	}
}

// Die ends a PPPoE session as a PADT does, or hangs a line up. OnDead is told at once by a line, and by a session that is attached or
// bridged; else by the next Send.
func (w World) Die() {
	w.s.k.mu.Lock()
	defer w.s.k.mu.Unlock()
	w.s.die()
}

// die needs the kernel's mu.
func (s *Session) die() {
	if s.closed || s.lost || s.key.access == "" {
		return
	}
	s.lost = true
	if s.line || s.attached || s.peer != nil {
		push(s.k, arrival{to: s.at(), dead: "channel"})
	}
}

// Vanish lets the interface disappear, as "ip link del" does, and tells OnDead.
func (w World) Vanish() {
	s, k := w.s, w.s.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if s.closed || s.dead {
		return
	}
	s.dead = true
	push(k, arrival{to: s.at(), dead: "interface"})
}
