package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// snapshot makes a question to the daemon that needs no argument into what look takes.
func (t *tool) snapshot(ask func(*api.Client, *cobra.Command) (*api.Snapshot, error)) func(*cobra.Command, []string) (*api.Snapshot, error) {
	return func(c *cobra.Command, _ []string) (*api.Snapshot, error) { return ask(t.client(), c) }
}

func (t *tool) acceptCommand() *cobra.Command {
	return noun("accept", "List who may call in", "The accept table of the LNS: lns.accept in the configuration.",
		t.look("list", "List the accept table, and what it has let in", "", 0,
			t.snapshot(func(client *api.Client, c *cobra.Command) (*api.Snapshot, error) { return client.Accept(c.Context()) }),
			func(s *api.Snapshot) string { return listAccept(s, t.wide()) }))
}

func (t *tool) lacCommand() *cobra.Command {
	return noun("lac", "List where subscribers' calls go", "What the LAC does with subscribers: lac in the configuration.",
		t.look("rules", "List the rules, and how often each was followed", "", 0,
			t.snapshot(func(client *api.Client, c *cobra.Command) (*api.Snapshot, error) { return client.Rules(c.Context()) }),
			func(s *api.Snapshot) string { return listRules(s, t.wide()) }))
}

func (t *tool) poolCommand() *cobra.Command {
	return noun("pool", "List and show pools of addresses and prefixes", "A pool is named as in the configuration.",
		t.look("list", "List pools and how much of them is in use", "", 0,
			t.snapshot(func(client *api.Client, c *cobra.Command) (*api.Snapshot, error) {
				return client.Pools(c.Context(), "")
			}),
			func(s *api.Snapshot) string { return listPools(s, t.wide()) }),
		t.look("show POOL", "Show one pool and who has what of it", "", 1,
			func(c *cobra.Command, args []string) (*api.Snapshot, error) {
				return t.client().Pools(c.Context(), args[0])
			}, func(s *api.Snapshot) string { return showPool(s, t.wide()) }))
}

func (t *tool) peerCommand() *cobra.Command {
	show := t.look("show ADDRESS", "Show one peer", "", 1,
		func(c *cobra.Command, args []string) (*api.Snapshot, error) {
			return t.client().Peers(c.Context(), args[0])
		}, showPeer)
	show.Args = func(c *cobra.Command, args []string) error {
		if err := arguments(1)(c, args); err != nil {
			return err
		}
		return api.CheckAddress(args[0])
	}
	return noun("peer", "List and show peers: all that is known of one remote address",
		"A peer is a remote address to which a tunnel, a configured call or a rule of the LAC leads.",
		t.look("list", "List peers", "", 0,
			t.snapshot(func(client *api.Client, c *cobra.Command) (*api.Snapshot, error) {
				return client.Peers(c.Context(), "")
			}),
			func(s *api.Snapshot) string { return listPeers(s, t.wide()) }),
		show)
}

func (t *tool) radiusCommand() *cobra.Command {
	return t.look("radius", "Show RADIUS servers, what they were asked, and accounting records", "", 0,
		t.snapshot(func(client *api.Client, c *cobra.Command) (*api.Snapshot, error) { return client.RADIUS(c.Context()) }),
		func(s *api.Snapshot) string { return listRADIUS(s, t.wide()) })
}

func (t *tool) countersCommand() *cobra.Command {
	since := false
	c := t.look("counters", "Show the counters of the daemon and of the kernel",
		"Show what has been counted since the daemon started, or with --since-reset since l2tpctl counters reset.", 0,
		func(c *cobra.Command, _ []string) (*api.Snapshot, error) {
			return t.client().Counters(c.Context(), since)
		}, showCountersSince)
	c.Flags().BoolVar(&since, "since-reset", false, "only what was counted since l2tpctl counters reset")
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return oneOfItsVerbs(c, args)
		}
		return nil
	}
	c.AddCommand(t.act(api.VerbCountersReset, "reset", "Have --since-reset count from now on",
		"Have l2tpctl counters --since-reset count from now on, for everybody who asks this daemon. The counters themselves never go back: "+
			"others read them, too. A restart of the daemon ends the count."))
	return c
}

func listAccept(s *api.Snapshot, wide bool) string {
	if len(s.Accept) == 0 {
		return "nobody may call in: lns.accept is empty\n"
	}
	type row = api.AcceptEntry
	return table(
		s.Accept, wide,
		column[row]{"FROM", always, func(c *row) string { return c.From }},
		column[row]{"HOST NAME", cut, func(c *row) string { return c.HostName }},
		column[row]{"TEMPLATE", always, func(c *row) string { return c.Template }},
		column[row]{"SEQUENCING", always, func(c *row) string { return c.Sequencing }},
		column[row]{"PRE13", always, func(c *row) string { return pre13(c.PRE13, wide && c.IgnoreWindow13) }},
		column[row]{"PROXY LCP", onlyWide, func(c *row) string { return c.ProxyLCP }},
		column[row]{"PROXY AUTH", onlyWide, func(c *row) string { return c.ProxyAuth }},
		column[row]{"TUNNELS", always, func(c *row) string { return ofAtMost(c.Tunnels, c.MaxTunnels) }},
		column[row]{"HALF-OPEN", onlyWide, func(c *row) string { return ofAtMost(c.HalfOpen, c.MaxHalfOpen) }},
		column[row]{"SESSIONS", always, func(c *row) string { return ofAtMost(c.Sessions, c.MaxSessions) }},
		column[row]{"TUNNELS BEGUN", onlyWide, func(c *row) string { return strconv.FormatUint(c.TunnelsBegun, 10) }},
		column[row]{"SESSIONS BEGUN", onlyWide, func(c *row) string { return strconv.FormatUint(c.SessionsBegun, 10) }},
	)
}

// pre13 says whether a peer of the drafts before 13 is put up with.
func pre13(on, ignoresWindow bool) string {
	switch {
	case !on:
		return "off"
	case ignoresWindow:
		return "on, window ignored"
	}
	return "on"
}

// ofAtMost is a number and its limit, if it has one.
func ofAtMost(n, limit int) string {
	if limit == 0 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d of %d", n, limit)
}

func listRules(s *api.Snapshot, wide bool) string {
	if len(s.Rules) == 0 {
		return "no rules are configured: lac.rules is empty\n"
	}
	type row = api.LACRule
	return table(
		s.Rules, wide,
		column[row]{"MATCH", always, func(c *row) string { return strings.TrimSpace(c.Match + " " + c.Realm) }},
		column[row]{"ACTION", always, func(c *row) string { return c.Action }},
		column[row]{"TO", cut, ruleGoal},
		column[row]{"SECRET", always, func(c *row) string { return yes(c.Secret, "set", "not set") }},
		column[row]{"TIMEOUT", always, func(c *row) string { return fmt.Sprintf("%ds", c.RTOCap/1000) }},
		column[row]{"SEQUENCING", onlyWide, func(c *row) string { return c.Sequencing }},
		column[row]{"PRE13", onlyWide, func(c *row) string { return pre13(c.PRE13, c.IgnoreWindow13) }},
		column[row]{"BALANCE", onlyWide, func(c *row) string { return c.Balance }},
		column[row]{"STRIP REALM", onlyWide, func(c *row) string { return yes(c.StripRealm, "on", "off") }},
		column[row]{"PROXY AUTH", onlyWide, func(c *row) string { return yes(c.ProxyAuth, "on", "off") }},
		column[row]{"HIDE AVPS", onlyWide, func(c *row) string { return yes(c.HideAVPs, "on", "off") }},
		column[row]{"ASSIGNMENT", onlyWide, func(c *row) string { return c.Assignment }},
		column[row]{"PER TUNNEL", onlyWide, func(c *row) string { return number(uint64(max(c.TunnelSessions, 0))) }},
		column[row]{"HITS", always, func(c *row) string { return strconv.FormatUint(c.Hits, 10) }},
	)
}

// ruleGoal is where a rule leads.
func ruleGoal(c *api.LACRule) string {
	switch c.Action {
	case "tunnel":
		to := make([]string, len(c.LNS))
		for i, n := range c.LNS {
			to[i] = hostPort(n.Address, n.Port)
		}
		return strings.Join(to, ", ")
	case "dns":
		realm := c.Realm
		if realm == "" {
			realm = "(realm)"
		}
		return strings.TrimPrefix(c.Prefix+"."+realm, ".")
	case "radius":
		return "by " + c.RADIUSUser + " name"
	case "local":
		return c.Template
	}
	return ""
}

func hostPort(host string, port uint16) string {
	if a, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(a, port).String()
	}
	return fmt.Sprintf("%s:%d", host, port)
}

func listPools(s *api.Snapshot, wide bool) string {
	if len(s.Pools) == 0 {
		return "no pools are configured\n"
	}
	type row = api.AddressPool
	return table(
		s.Pools, wide,
		column[row]{"POOL", always, func(c *row) string { return c.Name }},
		column[row]{"HAS", cut, poolHas},
		column[row]{"USED", always, func(c *row) string { return strconv.FormatUint(c.Used, 10) }},
		column[row]{"FREE", always, func(c *row) string { return strconv.FormatUint(c.Size-min(c.Used, c.Size), 10) }},
		column[row]{"SIZE", onlyWide, func(c *row) string { return strconv.FormatUint(c.Size, 10) }},
		column[row]{"TEMPLATES", always, func(c *row) string { return list(c.Templates, "none") }},
	)
}

func poolHas(c *api.AddressPool) string {
	if len(c.Prefixes) == 0 {
		return strings.Join(c.Ranges, ", ")
	}
	return fmt.Sprintf("/%d of %s", c.PrefixLength, strings.Join(c.Prefixes, ", "))
}

func showPool(s *api.Snapshot, wide bool) string {
	if len(s.Pools) == 0 {
		return "no pools\n"
	}
	c := &s.Pools[0]
	v := newView(9, fmt.Sprintf("pool %s, %d of %d in use", c.Name, c.Used, c.Size))
	v.row("has", "%s", poolHas(c))
	v.row("templates", "%s", list(c.Templates, "none"))
	if others := c.Used - min(c.Used, uint64(len(c.Leases))); others > 0 {
		v.row("kept", "%d for users, calls, and the daemon itself", others)
	}
	if len(c.Leases) == 0 {
		v.row("sessions", "none")
		return v.String()
	}
	type row = api.Lease
	return v.String() + "\n" + table(
		c.Leases, wide,
		column[row]{"HAS", always, func(l *row) string { return l.Value }},
		column[row]{"SESSION", always, func(l *row) string { return l.Session }},
		column[row]{"USER", cut, func(l *row) string { return l.User }},
	)
}

func listPeers(s *api.Snapshot, wide bool) string {
	if len(s.Peers) == 0 {
		return "no peers\n"
	}
	type row = api.Peer
	return table(
		s.Peers, wide,
		column[row]{"PEER", always, func(c *row) string { return addr(c.Address) }},
		column[row]{"HOST NAME", cut, func(c *row) string { return c.HostName }},
		column[row]{"SECRET", always, func(c *row) string { return yes(c.Refused == "", c.Secret, "refused") }},
		column[row]{"TUNNELS", always, func(c *row) string { return strconv.Itoa(len(c.Tunnels)) }},
		column[row]{"SESSIONS", always, func(c *row) string { return strconv.Itoa(c.Sessions) }},
		column[row]{"CALLS", always, func(c *row) string { return strconv.Itoa(len(c.Calls)) }},
		column[row]{"LNS", always, func(c *row) string {
			switch {
			case !c.LockedUntil.IsZero():
				return "locked " + span(c.LockedUntil.Sub(s.TakenAt))
			case c.LNS:
				return counting(c.LNSSessions, "call")
			}
			return ""
		}},
		column[row]{"LAST ERROR", onlyWide, func(c *row) string {
			if c.LastError == nil {
				return ""
			}
			return c.LastError.Text
		}},
	)
}

func showPeer(s *api.Snapshot) string {
	if len(s.Peers) == 0 {
		return "no peers\n"
	}
	c := &s.Peers[0]
	v := newView(10, fmt.Sprintf("peer %s, %s", c.Address, or(c.HostName)))
	if c.Refused != "" {
		v.row("calls us", "refused: %s", c.Refused)
	} else {
		v.row("calls us", "%s", yes(c.Secret == api.SecretSet, "needs a secret", "needs no secret"))
	}
	tunnels := make([]string, len(c.Tunnels))
	for i, n := range c.Tunnels {
		tunnels[i] = id(n)
	}
	v.row("tunnels", "%s; %d of them half-open", list(tunnels, "none"), c.HalfOpen)
	v.row("sessions", "%d", c.Sessions)
	v.row("calls", "%s", list(c.Calls, "none"))
	switch {
	case !c.LockedUntil.IsZero():
		v.row("LNS", "%s; did not serve: left alone for %s", counting(c.LNSSessions, "session"), span(c.LockedUntil.Sub(s.TakenAt)))
	case c.LNS:
		v.row("LNS", "%s", counting(c.LNSSessions, "session"))
	}
	if e := c.LastError; e != nil {
		when := ""
		if !e.At.IsZero() {
			when = ", " + age(s.TakenAt, e.At) + " ago"
		}
		v.row("last error", "%s%s: %s", e.Of, when, e.Text)
	}
	v.row("more", "l2tpctl explain peer %s", c.Address)
	return v.String()
}

func listRADIUS(s *api.Snapshot, wide bool) string {
	if s.RADIUS == nil {
		return "no RADIUS servers are configured\n"
	}
	type row = api.RADIUSServer
	text := table(
		s.RADIUS.Servers, wide,
		column[row]{"SERVER", cut, func(c *row) string { return c.Name }},
		column[row]{"FOR", always, func(c *row) string { return c.Purpose }},
		column[row]{"STATE", always, func(c *row) string {
			switch {
			case !c.DeadSince.IsZero():
				return "silent " + age(s.TakenAt, c.DeadSince)
			case c.Answers == 0:
				return "no answer yet"
			}
			return "answers"
		}},
		column[row]{"REQUESTS", always, func(c *row) string { return strconv.FormatUint(c.Requests, 10) }},
		column[row]{"ANSWERS", always, func(c *row) string { return strconv.FormatUint(c.Answers, 10) }},
		column[row]{"GIVEN UP", always, func(c *row) string { return strconv.FormatUint(c.Timeouts, 10) }},
		column[row]{"SENT AGAIN", onlyWide, func(c *row) string { return strconv.FormatUint(c.Retransmits, 10) }},
		column[row]{"ACCEPTS", onlyWide, func(c *row) string { return strconv.FormatUint(c.Accepts, 10) }},
		column[row]{"REJECTS", onlyWide, func(c *row) string { return strconv.FormatUint(c.Rejects, 10) }},
		column[row]{"OTHER SECRET", onlyWide, func(c *row) string { return strconv.FormatUint(c.BadAuthenticators, 10) }},
		column[row]{"UNSIGNED", onlyWide, func(c *row) string { return strconv.FormatUint(c.Unsigned, 10) }},
		column[row]{"MALFORMED", onlyWide, func(c *row) string { return strconv.FormatUint(c.Malformed, 10) }},
		column[row]{"OUTSTANDING", onlyWide, func(c *row) string { return strconv.Itoa(c.Outstanding) }},
		column[row]{"RTT MS", always, func(c *row) string { return number(uint64(max(c.RTT, 0))) }},
	)
	n := s.RADIUS.Records
	text += "\n" + line(fmt.Sprintf("accounting records: %d delivered, %d superseded, %d lost", n.Delivered, n.Superseded, n.Lost))
	oldest := ""
	if !n.Oldest.IsZero() {
		oldest = ", the oldest for " + age(s.TakenAt, n.Oldest)
	}
	return text + line(fmt.Sprintf("  %d waiting, %d of them on disk%s; %d disk errors", n.Queued, n.Spooled, oldest, n.DiskErrors))
}

// showCountersSince shows counters and from when on they count.
func showCountersSince(s *api.Snapshot) string {
	if s.Counters == nil {
		return "the daemon tells no counters\n"
	}
	return line("counted for "+age(s.TakenAt, s.Since)) + showCounters(s.Counters)
}
