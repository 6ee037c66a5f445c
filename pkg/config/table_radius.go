package config

import (
	"net/netip"
	"time"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

func radiusFields() []field {
	rows := []field{
		{path: "radius", kind: kindSection, rows: "S180", doc: "RADIUS: logins, accounting, and orders about sessions that are up."},
	}
	rows = append(rows, radiusServerFields()...)
	rows = append(
		rows,
		field{
			path: "radius.dead_time", rows: "P237", def: "60s", min: second, max: int64(time.Hour), aka: []string{"deadtime"},
			doc: "How long a server that did not answer is asked last.",
			at:  in(func(r *policy.RADIUS) *time.Duration { return &r.DeadTime }),
		},
		field{
			path: "radius.nas_identifier", typ: "text", rows: "P239", example: "edge1", min: 1, max: 253, doc: "Name of this box for the servers (NAS-Identifier). Default: the host's own name.",
			at: in(func(r *policy.RADIUS) *string { return &r.Identifier }),
		},
		field{
			path: "radius.nas_address", rows: "P239", example: "192.0.2.1", aka: []string{"nas_ip", "nas_ip_address"},
			doc: "Address of this box for the servers (NAS-IP-Address, NAS-IPv6-Address). Default: none is told.",
			at:  in(func(r *policy.RADIUS) *netip.Addr { return &r.Address }),
		},
		field{
			path: "radius.interim", rows: "P241", def: "none", special: zero("none"), min: 60 * second, max: int64(24 * time.Hour), aka: []string{"interim_interval"},
			doc: "Time between interim accounting records, where the server's answer does not say.",
			at:  in(func(r *policy.RADIUS) *time.Duration { return &r.Interim }),
		},
		field{
			path: "radius.spool", typ: "path", rows: "P241", def: accountingSpool, max: 255,
			doc: `Folder for accounting records that no server has taken yet; "": they are in memory alone, and lost with the daemon.`,
			at:  in(func(r *policy.RADIUS) *string { return &r.Spool }),
		},
		field{
			path: "radius.spool_size", def: "64MiB", min: 1 << 20, max: 1 << 40, doc: "Most of it; then the oldest records are dropped.",
			at: in(func(r *policy.RADIUS) *int64 { return &r.SpoolSize }),
		},
	)
	rows = append(rows, coaFields()...)
	for i := range rows {
		if rows[i].reload == ReloadLive {
			rows[i].reload = ReloadNewSessions
		}
	}
	return rows
}

func radiusServerFields() []field {
	return []field{
		{
			path: "radius.servers", kind: kindList, rows: "S180", aka: []string{"server", "hosts"},
			doc: "Servers, in the order in which they are asked. They get accounting records of every session, and are asked about logins by users: [radius] of a template " +
				"and action: radius of a rule.",
		},
		{
			path: "radius.servers[].address", typ: "address or host name", example: "192.0.2.9", required: true, aka: []string{"ip", "host"}, doc: "The server.",
			at:   in(func(s *policy.RADIUSServer) *string { return &s.Address }),
			read: readHost(func(s *policy.RADIUSServer) *string { return &s.Address }),
		},
		{
			path: "radius.servers[].port", def: "1812", min: 1, max: 65535, aka: []string{"auth_port", "authentication_port"}, doc: "UDP port for logins.",
			at: in(func(s *policy.RADIUSServer) *uint16 { return &s.Port }),
		},
		{
			path: "radius.servers[].accounting_port", def: "1813", min: 1, max: 65535, aka: []string{"acct_port"}, doc: "UDP port for accounting records.",
			at: in(func(s *policy.RADIUSServer) *uint16 { return &s.AccountingPort }),
		},
		{
			path: "radius.servers[].secret", typ: "secret", example: "{credential: radius}", required: true, weak: 16, aka: secretWords("password"),
			doc: "Secret that is shared with the server: a text, {file: path} or {credential: name}.",
			at:  in(func(s *policy.RADIUSServer) *policy.Secret { return &s.Secret }),
		},
		{
			path: "radius.servers[].timeout", def: "3s", min: int64(100 * time.Millisecond), max: int64(time.Minute), doc: "Wait for an answer before the server is asked again.",
			at: in(func(s *policy.RADIUSServer) *time.Duration { return &s.Timeout }),
		},
		{
			path: "radius.servers[].tries", def: "3", min: 1, max: 20, aka: []string{"retries", "retransmits"}, doc: "How often it is asked before the next server is.",
			at: in(func(s *policy.RADIUSServer) *int { return &s.Tries }),
		},
		{
			path: "radius.servers[].source", example: "192.0.2.1", aside: true, aka: []string{"local_address"}, doc: "Address of ours that it is asked from. Default: by route.",
			at: in(func(s *policy.RADIUSServer) *netip.Addr { return &s.Source }),
		},
		{
			path: "radius.servers[].message_authenticator", rows: "P238", def: "require", words: []string{"require", "accept-missing"},
			doc: "require: answers to logins without a Message-Authenticator do not count, for they can be forged. FreeRADIUS before 3.2.5 adds it only when told to: " +
				"radius.md says how. accept-missing: for servers that cannot.",
			at: in(func(s *policy.RADIUSServer) *bool { return &s.Unsigned }),
		},
		{
			path: "radius.servers[].logins", def: "on", doc: "It is asked about logins.", aka: []string{"auth", "authentication"},
			at: func(o any) any { return inverted{&o.(*policy.RADIUSServer).NoLogins} },
		},
		{
			path: "radius.servers[].accounting", def: "on", doc: "It gets accounting records.", aka: []string{"acct"},
			at: func(o any) any { return inverted{&o.(*policy.RADIUSServer).NoAccounting} },
		},
	}
}

func coaFields() []field {
	return []field{
		{path: "radius.coa", kind: kindSection, rows: "P243-P246", doc: "Orders to end or change sessions that are up (Disconnect-Request, CoA-Request).", aka: []string{"dynamic_authorization", "das"}},
		{
			path: "radius.coa.listen", reload: ReloadDaemonRestart, example: `["0.0.0.0:3799"]`, aka: []string{"port"},
			doc: "UDP addresses on which they are taken; without a port 3799. Default: they are not.",
			at:  in(func(r *policy.RADIUS) *[]netip.AddrPort { return &r.CoAListen }),
		},
		{path: "radius.coa.clients", kind: kindList, doc: "Who may send them. All others are dropped in silence.", aka: []string{"client"}},
		{
			path: "radius.coa.clients[].from", example: "192.0.2.9", required: true, aka: []string{"ip", "address"}, doc: "Source addresses.",
			at: in(func(c *policy.CoAClient) *policy.Range { return &c.From }),
		},
		{
			path: "radius.coa.clients[].secret", typ: "secret", example: "{credential: radius}", required: true, weak: 16, aka: secretWords("password"),
			doc: "Secret that is shared with them: a text, {file: path} or {credential: name}.",
			at:  in(func(c *policy.CoAClient) *policy.Secret { return &c.Secret }),
		},
		{
			path: "radius.coa.clients[].message_authenticator", rows: "P245", def: "accept-missing", words: []string{"accept-missing", "require"},
			doc: "require: a request without a Message-Authenticator is dropped. One that is there is checked in any case.",
			at:  in(func(c *policy.CoAClient) *bool { return &c.Signed }),
		},
	}
}
