package engine

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpd/l2tpd/pkg/control"
)

// Times of a doubt whether a tunnel's peer is still the one that it was.
const (
	doubtWait   = 1200 * time.Millisecond // how long it has to answer: a HELLO and its repetition after a second
	doubtMemory = 30 * time.Second        // how long an answer holds
)

// doubt is what is known of a tunnel's peer whose address has sent an SCCRQ for another tunnel. Anybody may have sent it under a
// forged address: the new tunnel must come up, which takes an answer from that address, and the peer must be silent on the old one.
type doubt uint8

const (
	peerAsked doubt = iota // no answer yet
	peerThere
	peerGone
)

// doubt asks the peer for a sign of life, unless that has been done, and says what came of it.
func (t *tunnel) doubt() doubt {
	now := t.s.now()
	past := now - t.probeFrom
	switch {
	case t.probeFrom == 0, t.heardAt > t.probeFrom && past >= doubtMemory:
		t.probing, t.probeFrom = true, now
		if t.up {
			t.do(control.CmdProbe{})
		}
		return peerAsked
	case t.heardAt > t.probeFrom:
		return peerThere
	case past < doubtWait:
		return peerAsked
	}
	return peerGone
}

// alone sees to it that t is the only tunnel with a data path between its addresses and ports, where the kernel would mix two of them
// up. False: not yet, or t is being closed, since its peer has another tunnel and is there.
func (t *tunnel) alone() bool {
	if t.s.e.newCore() {
		return true
	}
	for _, x := range slices.Clone(t.s.byRemote[t.remote]) {
		switch {
		case !t.mixedUpWith(x):
			continue
		case x.down: // the end of its path tells us
			return false
		}
		switch x.doubt() {
		case peerThere:
			t.reason = oneTunnel
			full := noResources
			full.Text = "second tunnel from one port"
			t.do(control.CmdClose{Result: full})
		case peerAsked:
			t.s.due.arm(&t.patience, x.probeFrom+doubtWait)
		case peerGone:
			x.restarted()
			if !t.mixedUpWith(x) {
				continue
			}
		}
		return false
	}
	return true
}

// mixedUpWith says that x has, or is making or closing, a data path between the addresses and ports of t.
func (t *tunnel) mixedUpWith(x *tunnel) bool {
	return x != t && x.local == t.local && x.path != pathNone && x.path != pathClosed
}

// oneTunnel is why a second tunnel is refused on an old kernel.
const oneTunnel = "this kernel cannot serve a second tunnel between the same addresses and ports (Linux 6.11 or later can)"

// successors lets the tunnels go on that have waited for the end of t's data path.
func (t *tunnel) successors() {
	for _, x := range slices.Clone(t.s.byRemote[t.remote]) {
		if x != t {
			x.startPath()
		}
	}
}

// restarted forgets a tunnel whose peer knows it no more.
func (t *tunnel) restarted() {
	t.s.strange(slog.LevelWarn, "restarted", t.remote.Addr(), "the peer has been restarted: its new tunnel takes the old one's place",
		slog.Any("peer", t.remote), slog.Int("tunnel", int(t.id)))
	t.reason = "the peer has been restarted"
	t.do(control.CmdForget{})
}

// known notes a control message that named the tunnel by its id: its sender is no stranger, for only our answer told it the id,
// and is alive.
func (t *tunnel) known() {
	t.heardAt, t.probing = t.s.now(), false
	if t.stranger {
		t.stranger = false
		t.s.strangers.repay(t.owed)
		t.owed = 0
	}
}

// asked takes what a stranger repeats; the answer is none of the repetitions that wait for spare credit.
func (t *tunnel) asked(p packet) error {
	t.answering = true
	defer func() { t.answering = false }()
	return t.receive(p)
}

// affords says whether a datagram may leave: to a stranger only within the credit.
func (t *tunnel) affords(octets int) bool {
	if !t.stranger {
		return true
	}
	if !t.s.strangers.spend(t.s.now(), octets, !t.answering) {
		t.s.e.counts.overLimit.Add(1)
		t.s.strange(slog.LevelInfo, "no-credit", t.remote.Addr(), "not answered: more would be sent to strangers than they send",
			slog.Any("peer", t.remote))
		return false
	}
	t.owed += octets
	return true
}

// follow takes a new address of the peer (P156).
func (t *tunnel) follow(remote netip.AddrPort) {
	t.unlist()
	t.remote = remote
	t.list()
}

// list files the tunnel under its peer's address.
func (t *tunnel) list() {
	s, r := t.s, t.remote
	s.byRemote[r] = append(s.byRemote[r], t)
	s.byAddr[r.Addr()] = append(s.byAddr[r.Addr()], t)
}

// unlist undoes list.
func (t *tunnel) unlist() {
	strike(t.s.byRemote, t.remote, t)
	strike(t.s.byAddr, t.remote.Addr(), t)
}

// strike takes a tunnel out of an index.
func strike[K comparable](index map[K][]*tunnel, key K, t *tunnel) {
	left := slices.DeleteFunc(index[key], func(x *tunnel) bool { return x == t })
	if len(left) == 0 {
		delete(index, key)
		return
	}
	index[key] = left
}
