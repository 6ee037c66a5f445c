package main

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/l2tpd/l2tpd/pkg/api"
)

func listTunnels(s *api.Snapshot) string {
	if len(s.Tunnels) == 0 {
		return "no tunnels\n"
	}
	t := table{head: []string{"TUNNEL", "PEER'S", "STATE", "REMOTE", "HOST NAME", "SESSIONS", "AGE"}}
	for i := range s.Tunnels {
		c := &s.Tunnels[i]
		t.add(id(c.ID), id(c.PeerID), c.State, port(c.Remote), shorten(c.HostName), strconv.Itoa(c.SessionCount), age(s.TakenAt, c.StartedAt))
	}
	return t.String()
}

func listSessions(s *api.Snapshot) string {
	if len(s.Sessions) == 0 {
		return "no sessions\n"
	}
	return sessionTable(s).String()
}

func sessionTable(s *api.Snapshot) *table {
	t := &table{head: []string{"SESSION", "PEER'S", "STATE", "CALL OR USER", "INTERFACE", "PEER ADDRESS", "AGE"}}
	for i := range s.Sessions {
		c := &s.Sessions[i]
		name := c.Call
		if name == "" {
			name = c.User
		}
		device, peer := c.Interface, addr(firstValid(c.PeerIPv4, c.PeerIPv6))
		switch {
		case c.Forwarded != nil:
			device, peer = "to "+ids(c.Forwarded.TunnelID, c.Forwarded.SessionID), port(c.Forwarded.Address)
		case c.Subscriber != "":
			name = c.Subscriber
		}
		t.add(sessionName(c), ids(c.PeerTunnelID, c.PeerID), c.State, shorten(name), device, peer, age(s.TakenAt, c.StartedAt))
	}
	return t
}

// sessionName is how a session is called on the command line.
func sessionName(c *api.Session) string {
	if c.TunnelID == 0 {
		return "line/" + id(c.ID)
	}
	return ids(c.TunnelID, c.ID)
}

func listCalls(s *api.Snapshot) string {
	if len(s.Calls) == 0 {
		return "no calls are configured\n"
	}
	t := table{head: []string{"CALL", "PEER", "STATE", "SESSION", "INTERFACE", "SINCE"}}
	notes := ""
	for i := range s.Calls {
		c := &s.Calls[i]
		since := age(s.TakenAt, c.UpSince)
		if !c.NextRedial.IsZero() {
			since = "redial in " + span(c.NextRedial.Sub(s.TakenAt))
		}
		t.add(c.Name, shorten(c.Peer), string(c.State), ids(c.TunnelID, c.SessionID), c.Interface, since)
		if c.LastError != nil && c.State != api.CallUp {
			notes += line(fmt.Sprintf("%s, %s ago: %s", c.Name, age(s.TakenAt, c.LastError.At), explain(c)))
		}
	}
	if notes != "" {
		notes = "\n" + notes
	}
	return t.String() + notes
}

// id returns an id, or nothing for 0, which is never assigned.
func id(n uint16) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(int(n))
}

func ids(tunnel, session uint16) string {
	if tunnel == 0 && session == 0 {
		return ""
	}
	return or(id(tunnel)) + "/" + or(id(session))
}

func port(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func addr(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func prefix(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

func firstValid(addrs ...netip.Addr) netip.Addr {
	for _, a := range addrs {
		if a.IsValid() {
			return a
		}
	}
	return netip.Addr{}
}
