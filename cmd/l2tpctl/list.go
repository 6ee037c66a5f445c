package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/l2tpd/l2tpd/pkg/api"
)

func listTunnels(s *api.Snapshot, wide bool) string {
	if len(s.Tunnels) == 0 {
		return "no tunnels\n"
	}
	type row = api.Tunnel
	return table(
		s.Tunnels, wide,
		column[row]{"TUNNEL", always, func(c *row) string { return id(c.ID) }},
		column[row]{"PEER'S", onlyWide, func(c *row) string { return id(c.PeerID) }},
		column[row]{"STATE", always, func(c *row) string { return c.State }},
		column[row]{"LOCAL", onlyWide, func(c *row) string { return port(c.Local) }},
		column[row]{"REMOTE", always, func(c *row) string { return port(c.Remote) }},
		column[row]{"HOST NAME", cut, func(c *row) string { return c.HostName }},
		column[row]{"VENDOR", onlyWide, func(c *row) string { return c.Vendor }},
		column[row]{"OPENED BY", onlyWide, func(c *row) string { return yes(c.Initiator, "us", "peer") }},
		column[row]{"SECRET", onlyWide, func(c *row) string { return yes(c.Secret, "proven", "none") }},
		column[row]{"SESSIONS", always, func(c *row) string { return strconv.Itoa(c.SessionCount) }},
		column[row]{"RTT MS", onlyWide, func(c *row) string { return number(uint64(max(c.RTT, 0))) }},
		column[row]{"SENT AGAIN", onlyWide, func(c *row) string { return strconv.FormatUint(c.Counters.Retransmits, 10) }},
		column[row]{"AGE", always, func(c *row) string { return age(s.TakenAt, c.StartedAt) }},
		column[row]{"LAST ERROR", onlyWide, func(c *row) string { return c.LastError }},
	)
}

func listSessions(s *api.Snapshot, wide bool) string {
	if len(s.Sessions) == 0 {
		return "no sessions\n"
	}
	type row = api.Session
	return table(
		s.Sessions, wide,
		column[row]{"SESSION", always, sessionName},
		column[row]{"PEER'S", onlyWide, func(c *row) string { return ids(c.PeerTunnelID, c.PeerID) }},
		column[row]{"STATE", always, func(c *row) string { return c.State }},
		column[row]{"ROLE", onlyWide, func(c *row) string { return c.Role }},
		column[row]{"REMOTE", onlyWide, func(c *row) string { return port(c.Remote) }},
		column[row]{"CALL/USER", cut, heldBy},
		column[row]{"INTERFACE", always, func(c *row) string {
			if f := c.Forwarded; f != nil {
				return "to " + ids(f.TunnelID, f.SessionID)
			}
			return c.Interface
		}},
		column[row]{"PEER ADDRESS", always, func(c *row) string {
			if f := c.Forwarded; f != nil {
				return addr(f.Address.Addr())
			}
			return addr(firstValid(c.PeerIPv4, c.PeerIPv6))
		}},
		column[row]{"TEMPLATE", onlyWide, func(c *row) string { return c.Template }},
		column[row]{"MTU", onlyWide, func(c *row) string { return number(uint64(max(c.MTU, 0))) }},
		column[row]{"AUTH", onlyWide, func(c *row) string { return c.Auth }},
		column[row]{"IPV6", onlyWide, func(c *row) string { return prefix(c.IPv6Prefix) }},
		column[row]{"DELEGATED", onlyWide, func(c *row) string { return prefix(c.IPv6Delegated) }},
		column[row]{"CALLING", onlyWide, func(c *row) string { return c.CallingNumber }},
		column[row]{"AGE", always, func(c *row) string { return age(s.TakenAt, c.StartedAt) }},
	)
}

// sessionName is how a session is called on the command line.
func sessionName(c *api.Session) string {
	if c.TunnelID == 0 {
		return api.LineRef + id(c.ID)
	}
	return ids(c.TunnelID, c.ID)
}

// heldBy is whose session it is: of a call, a subscriber, or a user.
func heldBy(c *api.Session) string { return cmp.Or(c.Subscriber, c.Call, c.User) }

func listCalls(s *api.Snapshot, wide bool) string {
	if len(s.Calls) == 0 {
		return "no calls are configured\n"
	}
	type row = api.Call
	text := table(
		s.Calls, wide,
		column[row]{"CALL", always, func(c *row) string { return c.Name }},
		column[row]{"TYPE", onlyWide, func(c *row) string { return c.Type }},
		column[row]{"PEER", cut, func(c *row) string { return c.Peer }},
		column[row]{"ADDRESS", onlyWide, func(c *row) string { return port(c.PeerAddr) }},
		column[row]{"REMOTE", onlyWide, func(c *row) string { return c.Remote }},
		column[row]{"PRECEDENCE", onlyWide, func(c *row) string { return c.Precedence }},
		column[row]{"SEQUENCING", onlyWide, func(c *row) string { return c.Sequencing }},
		column[row]{"SECRET", onlyWide, func(c *row) string { return yes(c.Secret, "set", "not set") }},
		column[row]{"STATE", always, func(c *row) string { return string(c.State) }},
		column[row]{"SESSION", always, func(c *row) string { return ids(c.TunnelID, c.SessionID) }},
		column[row]{"INTERFACE", always, func(c *row) string { return c.Interface }},
		column[row]{"DIALLED", onlyWide, func(c *row) string { return strconv.FormatUint(c.Attempts.Out, 10) }},
		column[row]{"FAILED", onlyWide, func(c *row) string { return strconv.FormatUint(c.Attempts.Failed, 10) }},
		column[row]{"SINCE", always, func(c *row) string {
			if !c.NextRedial.IsZero() {
				return "redial in " + span(c.NextRedial.Sub(s.TakenAt))
			}
			return age(s.TakenAt, c.UpSince)
		}},
	)
	notes := ""
	for i := range s.Calls {
		if c := &s.Calls[i]; c.LastError != nil && c.State != api.CallUp {
			notes += line(fmt.Sprintf("%s, %s ago: %s", c.Name, age(s.TakenAt, c.LastError.At), explain(c)))
		}
	}
	if notes != "" {
		notes = "\n" + notes
	}
	return text + notes
}

// number returns a number, or nothing for 0 where that means that there is none.
func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
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
