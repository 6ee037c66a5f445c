package engine

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// peerTable adds every remote address that a tunnel, a configured call or a rule of the LAC has led to.
func (e *Engine) peerTable(ctx context.Context, into *api.Snapshot) error {
	snap, err := e.Snapshot(ctx, api.Query{Status: true, Tunnels: true, Calls: true})
	if err != nil {
		return err
	}
	x := peerTable{}
	for i := range snap.Tunnels {
		x.tunnel(&snap.Tunnels[i])
	}
	for i := range snap.Calls {
		x.call(&snap.Calls[i])
	}
	for _, n := range snap.Status.LNS {
		p := x.at(n.Address.Addr())
		p.LNS = true
		p.LNSSessions += n.Sessions
		if n.LockedUntil.After(p.LockedUntil) {
			p.LockedUntil = n.LockedUntil
		}
	}
	pol := e.policy.Load()
	for a, p := range x {
		e.admits(pol, a, p)
		into.Peers = append(into.Peers, *p)
	}
	slices.SortFunc(into.Peers, func(a, b api.Peer) int { return a.Address.Compare(b.Address) })
	into.Peers = append([]api.Peer{}, into.Peers...)
	return nil
}

// peerTable is the peers by their addresses.
type peerTable map[netip.Addr]*api.Peer

func (x peerTable) at(a netip.Addr) *api.Peer {
	a = a.Unmap()
	if x[a] == nil {
		x[a] = &api.Peer{Address: a}
	}
	return x[a]
}

func (x peerTable) tunnel(t *api.Tunnel) {
	p := x.at(t.Remote.Addr())
	p.Tunnels = append(p.Tunnels, t.ID)
	p.Sessions += t.SessionCount
	p.HostName = cmp.Or(t.HostName, p.HostName)
	if t.State != control.TunnelEstablished.String() {
		p.HalfOpen++
	}
	if t.LastError != "" && p.LastError == nil {
		p.LastError = &api.PeerError{Of: fmt.Sprintf("tunnel %d", t.ID), Text: t.LastError}
	}
}

// call adds a configured call. What went wrong with it is of a time that is known: it stands before a tunnel's.
func (x peerTable) call(c *api.Call) {
	if !c.PeerAddr.IsValid() {
		return
	}
	p := x.at(c.PeerAddr.Addr())
	p.Calls = append(p.Calls, c.Name)
	if e := c.LastError; e != nil && (p.LastError == nil || e.At.After(p.LastError.At)) {
		p.LastError = &api.PeerError{At: e.At, Of: "call " + c.Name, Text: e.Text}
		if e.Stage != "" {
			p.LastError.Text = e.Stage + ": " + e.Text
		}
	}
}

// admits says how a tunnel that the peer opens would be answered.
func (e *Engine) admits(pol *policy.Policy, a netip.Addr, p *api.Peer) {
	r := pol.ForSCCRQ(a, p.HostName, e.peersOf)
	p.Secret = api.SecretNone
	if !r.Secret.Empty() {
		p.Secret = api.SecretSet
	}
	switch {
	case !pol.Admit(a):
		p.Refused = "server.allow_from does not have it"
	case r.Refuse:
		p.Refused = r.Reason
	}
}
