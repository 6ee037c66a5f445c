package control

import (
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// S55: whoever looks at a message on its way, where it leaves or where it comes, learns whose it is, with both ids as soon as one message
// has told them, and after the session is gone.
func TestPartiesOfMessages(t *testing.T) {
	t.Parallel()
	a, b := testConfig(1), testConfig(2)
	b.Incoming = true
	w := newWorld(t, 1, a, b)
	var ours, theirs SessionID
	seen := map[wire.MessageType]int{}
	w.dropped = func(from int, d []byte) bool {
		h, payload, _ := wire.ParseHeader(d)
		m, _ := wire.ParseMessage(payload)
		if len(payload) == 0 || w.n[0].t == nil || w.n[1].t == nil {
			return false
		}
		seen[m.Type]++
		header := SessionID(h.SessionID)
		sent, got := w.n[from].t.Parties(m, header, true), w.n[1-from].t.Parties(m, header, false)
		if got.PeerTunnel != w.n[from].id || sent.PeerTunnel != 0 && sent.PeerTunnel != w.n[1-from].id {
			t.Errorf("%v: peer's tunnel %d, sent %d", m.Type, got.PeerTunnel, sent.PeerTunnel)
		}
		if !m.Type.Session() {
			if sent.Session+sent.PeerSession+got.Session+got.PeerSession != 0 {
				t.Errorf("%v: sent %+v, got %+v", m.Type, sent, got)
			}
			return false
		}
		mine, peers := ours, theirs
		if from == 1 {
			mine, peers = theirs, ours
		}
		if mine == 0 && m.Type == wire.MsgICRP { // it is told just now
			id, _ := m.Uint16(wire.AVPAssignedSessionID)
			theirs = SessionID(id)
			mine = theirs
		}
		if m.Type == wire.MsgICRQ { // leaves before its owner knows
			id, _ := m.Uint16(wire.AVPAssignedSessionID)
			ours, mine = SessionID(id), SessionID(id)
		}
		if sent.Session != mine || sent.PeerSession != peers || got.Session != peers || got.PeerSession != mine {
			t.Errorf("%v: sent %+v, got %+v, want %d and %d", m.Type, sent, got, mine, peers)
		}
		return false
	}
	w.establish()
	id := w.openSession(0, LACIncoming, CallInfo{})
	w.runUntil(time.Minute, func() bool { return w.n[0].up[id] > 0 && w.n[1].up[theirs] > 0 })
	if got := w.n[0].t.PeerOf(id); got != theirs || w.n[0].t.PeerOf(id+1) != 0 {
		t.Errorf("the peer's id of %d is %d, not %d", id, got, theirs)
	}
	w.do(0, CmdCloseSession{Session: id, Result: wire.Result{Code: wire.CDNAdmin}})
	w.run(time.Second)
	for _, m := range []wire.MessageType{wire.MsgSCCRP, wire.MsgSCCCN, wire.MsgICRQ, wire.MsgICRP, wire.MsgICCN, wire.MsgCDN} {
		if seen[m] == 0 {
			t.Errorf("no %v was seen", m)
		}
	}
}
