package control

import (
	"cmp"
	"slices"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// Parties are the ids of those whom a control message is of; 0: there is none, or it is not known yet.
type Parties struct {
	PeerTunnel           TunnelID
	Session, PeerSession SessionID
}

// Parties says whom a message of this tunnel is of, that we have sent, or are about to receive, under a header's session id. It is
// for traces. m is not changed.
func (t *Tunnel) Parties(m wire.Message, header SessionID, sent bool) Parties {
	p := Parties{PeerTunnel: t.peer.TunnelID}
	assigned := SessionID(assignedID(m, wire.AVPAssignedSessionID, t.cfg.Secret)) // of whoever has sent it
	if sent {
		p.Session, p.PeerSession = assigned, header
		if s := t.sess.byPeer[header]; s != nil && assigned == 0 {
			p.Session = s.ID
		}
		return p
	}
	if p.PeerTunnel == 0 {
		p.PeerTunnel = AssignedTunnelID(m, t.cfg.Secret)
	}
	s := t.sess.byID[header]
	if header == 0 { // of a peer that does not know our id (P14, P85)
		s = t.sess.byPeer[assigned]
	}
	p.Session, p.PeerSession = header, assigned
	if s != nil {
		p.Session, p.PeerSession = s.ID, cmp.Or(assigned, s.Peer)
	}
	return p
}

// PeerOf is the peer's id of a session; 0: it is not known yet, or there is no such session.
func (t *Tunnel) PeerOf(id SessionID) SessionID {
	if s := t.sess.byID[id]; s != nil {
		return s.Peer
	}
	return 0
}

// AssignedTunnelID is what m says of its sender's tunnel id, hidden under secret or not (P46); 0: nothing that can be read.
// m is not changed.
func AssignedTunnelID(m wire.Message, secret []byte) TunnelID {
	return TunnelID(assignedID(m, wire.AVPAssignedTunnelID, secret))
}

// assignedID reads an id, hidden or not; 0: nothing that can be read. m is not changed.
func assignedID(m wire.Message, avp wire.AVPType, secret []byte) uint16 {
	id, ok := m.Uint16(avp)
	if !ok && len(secret) > 0 && slices.ContainsFunc(m.AVPs, func(a wire.AVP) bool { return a.Hidden && a.Type == avp }) {
		m.AVPs = slices.Clone(m.AVPs)
		if m.Unhide(secret) == nil {
			id, _ = m.Uint16(avp)
		}
	}
	return id
}
