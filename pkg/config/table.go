package config

import (
	"net/netip"
	"time"

	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

const notOffered = "this version does not offer it"

func serverFields() []field {
	server := func(get func(*policy.Server) any) func(any) any {
		return func(o any) any { return get(o.(*policy.Server)) }
	}
	rows := []field{
		{path: "server", kind: kindSection, doc: "What is true of the whole daemon."},
		{
			path: "server.mode", rows: "S44, S45, S10", reload: ReloadNewSessions, def: "both", words: []string{"none", "lac", "lns", "both"},
			doc: "Roles that are played: lac sends subscribers to LNSs and answers outgoing calls (OCRQ), lns answers incoming ones (ICRQ). " +
				"A call that needs a missing role is refused. " +
				"A changed mode holds for the next call in any tunnel; peers learn of a new lac when their tunnel is next built.",
			at: server(func(s *policy.Server) any { return &s.Mode }),
		},
		{
			path: "server.hostname", rows: "S138, S177", reload: ReloadTunnelRestart, example: "edge1", min: 1, max: 255, typ: "text",
			doc: "Host name that is told to peers (Host Name AVP). Default: the host's own name.", aka: []string{"host_name"},
			at: server(func(s *policy.Server) any { return &s.HostName }),
		},
		{
			path: "server.listen", rows: "S14, S31", reload: ReloadDaemonRestart, def: `["0.0.0.0:1701"]`, aka: []string{"port"},
			doc: "UDP addresses to listen on and to call from; without a port 1701. With IPv6: [\"0.0.0.0:1701\", \"[::]:1701\"].",
			at:  server(func(s *policy.Server) any { return &s.Listen }),
		},
		{
			path: "server.checksum", rows: "S51, S112", reload: ReloadDaemonRestart, def: "on", aka: []string{"data_checksum"},
			doc: "UDP checksum of data packets. Control messages always have one.",
			at:  server(func(s *policy.Server) any { return &s.Checksum }),
		},
		{
			path: "server.allow_from", rows: "S38, S52, S85", reload: ReloadLive, def: "[any]", aka: []string{"filter"},
			doc: "Sources whose packets are looked at. All others are dropped in silence, before anything else, and counted.",
			at:  server(func(s *policy.Server) any { return &s.AllowFrom }),
		},
		{
			path: "server.hide_avps", reload: ReloadTunnelRestart, def: "off",
			doc: "Hide names, numbers and authentication data in control messages to peers with a secret.",
			at:  server(func(s *policy.Server) any { return &s.HideAVPs }),
		},
		{
			path: "server.pin_port", reload: ReloadLive, def: "off", rows: "P156",
			doc: "Take the answer to a call of ours only from the port that was called; off: a peer may answer from another and is followed.",
			at:  server(func(s *policy.Server) any { return &s.PinPort }),
		},
		{
			path: "server.max_tunnels", reload: ReloadLive, def: "65535", min: 1, max: 65535, doc: "Most tunnels at a time, half-open ones included.",
			at: server(func(s *policy.Server) any { return &s.MaxTunnels }),
		},
		{
			path: "server.max_half_open", reload: ReloadLive, def: "1024", min: 1, max: 65535, doc: "Most tunnels at a time that peers have begun and not finished.",
			at: server(func(s *policy.Server) any { return &s.MaxHalfOpen }),
		},
		{
			path: "server.max_half_open_per_source", reload: ReloadLive, def: "16", min: 1, max: 65535, doc: "The same for one source address.",
			at: server(func(s *policy.Server) any { return &s.MaxHalfOpenPerSource }),
		},
		{path: "server.tunnel", kind: kindSection, doc: "Timers and windows of control connections; a call may have its own."},
	}
	rows = append(rows, tunnelFields("server.tunnel", ReloadTunnelRestart, true, func(o any) *policy.Tunnel { return &o.(*policy.Server).Tunnel })...)
	return append(
		rows,
		refused("enabled", "S42, S43", "there is no switch", "systemd starts and stops the daemon: systemctl enable --now l2tpd"),
		refused("security", "S176", notOffered, "remove the section; require IPsec in nftables (meta secpath) on UDP port 1701"),
		refused("ipsec", "S25, S173-S175", "IPsec is not set up here, and single DES nowhere",
			"remove the section; use strongSwan with ESP in transport mode, AES-GCM, selectors udp/1701"),
		refused("dns", "S181", notOffered, "remove the section; the system's resolver is used"),
	)
}

// refused makes the row of a key that operators may look for and that is not offered.
func refused(path, rows, reason, advice string) field {
	return field{path: path, kind: kindRefused, rows: rows, doc: reason, advice: advice}
}

// refusedOff is refused, but lets the key pass when its value says off.
func refusedOff(path, rows, reason, advice string) field {
	f := refused(path, rows, reason, advice)
	f.offOK = true
	return f
}

func accessFields() []field {
	return []field{
		{
			path: "secret", typ: "secret or none", rows: "S50", reload: ReloadTunnelRestart, weak: 16, example: "{credential: default}", aside: true,
			doc: "Short for one entry of secrets, from any. It cannot stand beside secrets.",
			aka: secretWords("password"), read: readTopSecret,
		},
		{
			path: "secrets", kind: kindList, reload: ReloadTunnelRestart, rows: "S46-S49, S110, S188",
			doc: "Tunnel secrets by which peers that connect to us are authenticated. The entry of the most specific source range holds, " +
				"else that of the host name, else the one from any. Without a fitting entry the tunnel is not authenticated. " +
				"When we connect, the call's secret holds.",
		},
		{
			path: "secrets[].from", rows: "S29, S46, S48", reload: ReloadTunnelRestart, def: "any", doc: "Source addresses of the peer.", aka: []string{"ip"},
			at: in(func(r *policy.SecretRule) *policy.Range { return &r.From }),
		},
		{
			path: "secrets[].host_name", reload: ReloadTunnelRestart, example: "branch", min: 1, max: 255, aside: true, aka: []string{"hostname"},
			doc: "Host Name AVP of the peer; upper and lower case are the same. Default: any.",
			at:  in(func(r *policy.SecretRule) *string { return &r.HostName }),
		},
		{
			path: "secrets[].secret", typ: "secret or none", rows: "S28, S47", reload: ReloadTunnelRestart, example: "{credential: default}", required: true, weak: 16,
			doc: "The secret, {file: path} or {credential: name}; none: no authentication for these peers, and their challenge is refused.",
			aka: secretWords("password"),
			at: func(o any) any {
				r := o.(*policy.SecretRule)
				return secretOrNone{r.Secret, r.None}
			},
			read: readRuleSecret,
		},
	}
}

func acceptFields() []field {
	return []field{
		{path: "lns", kind: kindSection, doc: "Calls that come in without being configured by name."},
		{
			path: "lns.accept", kind: kindList, reload: ReloadTunnelRestart, rows: "S79-S87, S63",
			doc: "Sources whose calls get a temporary interface made by a template. The most specific entry holds. A source that fits neither " +
				"an entry nor a call is refused.",
		},
		{
			path: "lns.accept[].from", rows: "S29, S79, S87", reload: ReloadTunnelRestart, example: "198.51.100.0/24", required: true, aka: []string{"ip"},
			doc: "Source addresses of the peer.",
			at:  in(func(a *policy.Accept) *policy.Range { return &a.From }),
		},
		{
			path: "lns.accept[].host_name", reload: ReloadTunnelRestart, example: "lac1", min: 1, max: 255, aside: true, aka: []string{"hostname"},
			doc: "Host Name AVP of the peer. Default: any.",
			at:  in(func(a *policy.Accept) *string { return &a.HostName }),
		},
		{
			path: "lns.accept[].template", typ: "name", rows: "S80", reload: ReloadNewSessions, example: "dialin", required: true, aka: []string{"ppptemplate"},
			doc: "Name of the template of these sessions.", min: 1, max: 32,
			at: in(func(a *policy.Accept) *string { return &a.Template }),
		},
		{
			path: "lns.accept[].sequencing", rows: "S66, S81", reload: ReloadNewSessions, def: "on-request", words: sequencingWords(), aka: []string{"number"},
			doc: "When data packets are numbered.",
			at:  in(func(a *policy.Accept) *policy.Sequencing { return &a.Sequencing }),
		},
		{
			path: "lns.accept[].compat", rows: "S82", reload: ReloadTunnelRestart, def: "rfc2661", words: []string{"rfc2661", "pre13"}, aka: []string{"pre13"},
			doc: "pre13: the peer speaks an Internet-Draft before number 13.",
			at:  in(func(a *policy.Accept) *bool { return &a.PRE13 }),
		},
		{
			path: "lns.accept[].pre13_flow", reload: ReloadTunnelRestart, def: "refuse", words: []string{"refuse", "ignore"},
			doc: "What to do with the data window that a pre13 peer asks for.",
			at:  in(func(a *policy.Accept) *bool { return &a.IgnoreWindow13 }),
		},
		{
			path: "lns.accept[].max_tunnels", reload: ReloadLive, def: "unlimited", special: zero("unlimited"), min: 1, max: 65535, doc: "Most tunnels at a time by this entry.",
			at: in(func(a *policy.Accept) *int { return &a.MaxTunnels }),
		},
		{
			path: "lns.accept[].max_half_open", reload: ReloadLive, def: "unlimited", special: zero("unlimited"), min: 1, max: 65535,
			doc: "Most tunnels at a time by this entry that peers have begun and not finished; the oldest makes way for a new one.",
			at:  in(func(a *policy.Accept) *int { return &a.MaxHalfOpen }),
		},
		{
			path: "lns.accept[].max_sessions", reload: ReloadLive, def: "unlimited", special: zero("unlimited"), min: 1, max: 65535, doc: "Most sessions at a time by this entry.",
			at: in(func(a *policy.Accept) *int { return &a.MaxSessions }),
		},
		{path: "lns.accept[].proxy", kind: kindSection, doc: "What becomes of what a LAC has negotiated with the caller before."},
		{
			path: "lns.accept[].proxy.lcp", rows: "P190-P197", reload: ReloadNewSessions, def: "mismatch", words: []string{"accept", "mismatch", "renegotiate"},
			doc: "accept: its LCP holds, and a call whose LCP is missing or cannot hold is refused; mismatch: then LCP begins anew; renegotiate: it always does.",
			at:  in(func(a *policy.Accept) *ppp.ProxyLCP { return &a.ProxyLCP }),
		},
		{
			path: "lns.accept[].proxy.auth", rows: "P190-P196, P200", reload: ReloadNewSessions, def: "accept", words: []string{"accept", "rechallenge", "renegotiate"},
			doc: "accept: the login that it took is checked here, and the caller need not repeat it; rechallenge: the caller must log in again by the method agreed on; " +
				"renegotiate: LCP begins anew, so that auth of the template holds.",
			at: in(func(a *policy.Accept) *ppp.ProxyAuth { return &a.ProxyAuth }),
		},
		refused("lns.accept[].secret", "S46", "secrets do not stand here", "write an entry of secrets with the same from"),
	}
}

// secretWords are what a secret is called elsewhere, other among them.
func secretWords(other string) []string {
	return []string{other, "pass", "passwd", "passphrase", "pw", "pwd", "psk", "key", "shared_key", "shared_secret"}
}

func sequencingWords() []string { return []string{"on-request", "always", "startup"} }

func dataFields() []field {
	return []field{
		{path: "pools", kind: kindNamed, reload: ReloadNewSessions, rows: "S161", example: "ips", names: nameRule{what: "pool", max: 32}, doc: "Addresses or prefixes for callers, by name."},
		{
			path: "pools.*.ranges", rows: "S161, S29", reload: ReloadNewSessions, example: "[192.168.20.200-192.168.20.210]", aka: []string{"ip", "range"},
			doc: "IPv4 ranges; both ends are included. A pool has ranges or prefixes.",
			at:  in(func(p *policy.Pool) *[]policy.Range { return &p.Ranges }),
		},
		{
			path: "pools.*.prefixes", reload: ReloadNewSessions, example: `["2001:db8:100::/40"]`, aka: []string{"prefix"}, aside: true,
			doc: "IPv6 prefixes from which shorter ones of prefix_length are given.",
			at:  in(func(p *policy.Pool) *[]netip.Prefix { return &p.Prefixes }),
		},
		{
			path: "pools.*.prefix_length", reload: ReloadNewSessions, example: "64", min: 1, max: 128, aka: []string{"length"}, aside: true,
			doc: "Length of the prefix that each caller gets: 64 for a link, 48 to 64 for the networks behind a router.",
			at:  in(func(p *policy.Pool) *int { return &p.Length }),
		},
		{path: "users", kind: kindNamed, reload: ReloadNewSessions, rows: "S160", example: "remuser", names: nameRule{what: "user", max: 255, any: true}, doc: "Users who may log in by PPP, by name."},
		{
			path: "users.*.password", typ: "secret", rows: "S160", reload: ReloadNewSessions, example: "{file: /etc/l2tpd/remuser.secret}", required: true,
			doc: "The password, {file: path} or {credential: name}. CHAP needs it in clear.", aka: secretWords("secret"),
			at: in(func(u *policy.User) *policy.Secret { return &u.Password }),
		},
		{
			path: "users.*.ipv4", typ: "IPv4 address", rows: "S17, S160", reload: ReloadNewSessions, example: "192.168.20.200", aka: []string{"ip", "address", "ipaddress"},
			doc: "The user's own address. No pool gives it to anybody else, and the user's newest login has it: an older link that still has it is closed. " +
				"Default: from the template's pool.",
			at: in(func(u *policy.User) *netip.Addr { return &u.IPv4 }),
		},
		{
			path: "users.*.ipv6_prefix", typ: "prefix", reload: ReloadNewSessions, example: `"2001:db8:9:1::/64"`,
			doc: "The user's own /64 for the link, that his newest login has. Default: from the template's pool.",
			at:  in(func(u *policy.User) *netip.Prefix { return &u.IPv6 }),
		},
		{
			path: "users.*.ipv6_delegated", typ: "prefix", reload: ReloadNewSessions, example: `"2001:db8:9:100::/56"`,
			doc: "The user's own prefix for the networks behind him, given when his router asks by DHCPv6. His newest login has it. " +
				"Default: from the template's pool.",
			at: in(func(u *policy.User) *netip.Prefix { return &u.Behind }),
		},
		{
			path: "users.*.routes", rows: "S160", reload: ReloadNewSessions, example: "[192.168.30.0/24]", aka: []string{"networks"},
			doc: "Networks behind the user.",
			at:  in(func(u *policy.User) *[]netip.Prefix { return &u.Routes }),
		},
		{
			path: "users.*.max_sessions", rows: "S17", reload: ReloadNewSessions, def: "unlimited", special: zero("unlimited"), min: 1, max: 65535, aka: []string{"limit"},
			doc: "Most sessions of the user at a time. What becomes of one more is duplicate_login of the template.",
			at:  in(func(u *policy.User) *int { return &u.Sessions }),
		},
		refused("users.*.netmask", "S160", "an address on a PPP link has no netmask", "write the network behind the user as routes: [network/bits]"),
		refused("users.*.login", "S160", "users here are never administrators", "remove the key"),
	}
}

func daemonFields() []field {
	return []field{
		{path: "api", kind: kindSection, doc: "The socket of l2tpctl."},
		{
			path: "api.socket", typ: "path", reload: ReloadDaemonRestart, def: "/run/l2tpd/l2tpd.sock", min: 2, max: 107, doc: "Path of the unix socket.",
			at: in(func(c *Config) *string { return &c.API.Socket }),
		},
		{
			path: "api.group", typ: "group", reload: ReloadDaemonRestart, def: "l2tpd", max: 32, doc: `Group that may use the socket beside root; "": root only.`,
			at: in(func(c *Config) *string { return &c.API.Group }),
		},
		{path: "log", kind: kindSection, doc: "The log."},
		{
			path: "log.level", reload: ReloadLive, def: "info", words: []string{"debug", "info", "warn", "error"}, doc: "Least severe line that is written.",
			at: in(func(c *Config) *Level { return &c.Log.Level }),
		},
		{path: "metrics", kind: kindSection, doc: "Metrics for Prometheus. The socket of l2tpctl always has them.", aka: []string{"prometheus"}},
		{
			path: "metrics.listen", reload: ReloadDaemonRestart, example: `["127.0.0.1:9711"]`, aka: []string{"port", "address"},
			doc: "TCP addresses on which everybody who reaches them may read the metrics (GET /metrics); without a port 9711. Default: none.",
			at:  in(func(c *Config) *[]netip.AddrPort { return &c.Metrics.Listen }),
		},
	}
}

const second = int64(time.Second)
