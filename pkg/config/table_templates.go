package config

import (
	"net/netip"
	"time"

	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// template makes an accessor of a template.
func template[V any](get func(*policy.Template) *V) func(any) any { return in(get) }

func templateFields() []field {
	rows := []field{
		{path: "ppp", kind: kindSection, doc: "PPP."},
		{
			path: "ppp.templates", kind: kindNamed, rows: "S37, S150", example: "dialin", names: nameRule{what: "template", max: 32},
			doc: "Blueprints of PPP links, by name.",
		},
		{
			path: "ppp.templates.*.auth", typ: "none, either, or a list of chap, pap, mschapv2, mschapv1", rows: "S154, P259, P260", def: "[chap]", aka: []string{"authentication"},
			doc: "What the peer must log in with, in order of preference; either: chap, else pap. none: no login. mschapv2 is what Windows wants; " +
				"mschapv1 is weak, and for old peers only.",
			at:   template(func(t *policy.Template) *[]ppp.AuthMethod { return &t.Auth }),
			read: readAuth,
		},
		{
			path: "ppp.templates.*.users", typ: "list of local, radius", rows: "S155", def: "[local]", aka: []string{"login", "auth_source"},
			doc:  "Where users are looked up, in that order: local is users of this file, radius asks the servers of radius.",
			at:   template(func(t *policy.Template) *[]policy.Source { return &t.Sources }),
			read: readUsers,
		},
		{
			path: "ppp.templates.*.engine", def: "l2tpd", words: []string{"l2tpd", "pppd"},
			doc: "Who runs PPP for accepted calls: the daemon itself, or a pppd for each session (package ppp; the unit needs configs/systemd/pppd.conf).",
			at:  template(func(t *policy.Template) *policy.Engine { return &t.Engine }),
		},
		{
			path: "ppp.templates.*.pppd_options", typ: "list of pppd's options", example: `["lcp-max-configure 20"]`, min: 1, max: 32, aside: true,
			doc:  "Further options for pppd, each with its arguments.",
			at:   template(func(t *policy.Template) *[]string { return &t.PppdOptions }),
			read: readPppdOptions,
		},
		{
			path: "ppp.templates.*.mppe", rows: "P261", def: "off", words: []string{"off", "allow", "require"},
			doc: "Encryption by MPPE with 128 bits, for old clients that have nothing else: RC4 is weak, IPsec is better. It takes its keys from MS-CHAP: auth must name that alone. allow encrypts with those who can; with engine: pppd there is only require.",
			at:  template(func(t *policy.Template) *ppp.MPPEMode { return &t.MPPE }),
		},
		{
			path: "ppp.templates.*.duplicate_login", rows: "S17", def: "allow", words: []string{"allow", "replace", "refuse"}, aka: []string{"single_session"},
			doc: "What becomes of a user who logs in while he has all the sessions that he may have: max_sessions of the user, else one unless this is allow. " +
				"replace: his oldest ends; refuse, and allow at max_sessions: the new one is refused. What is his own, an address or a prefix, his newest login always has.",
			at: template(func(t *policy.Template) *policy.Duplicate { return &t.Duplicate }),
		},
		{
			path: "ppp.templates.*.mru", rows: "S182", def: "1500", min: 128, max: 9000, doc: "Largest PPP packet that we want to receive.",
			at: template(func(t *policy.Template) *uint16 { return &t.MRU }),
		},
		{
			path: "ppp.templates.*.mtu", rows: "S182", def: "auto", special: zero("auto"), min: 576, max: 9000,
			doc: "Limit of the interface's MTU; auto: what the peer receives and the path carries.",
			at:  template(func(t *policy.Template) *int { return &t.MTU }),
		},
		{
			path: "ppp.templates.*.mss_clamp", rows: "S182", def: "on", aka: []string{"mssheader"}, doc: "TCP segments are kept small enough for the link.",
			at: template(func(t *policy.Template) *bool { return &t.MSSClamp }),
		},
	}
	rows = append(rows, templateTimerFields()...)
	rows = append(rows, templateNetworkFields()...)
	for i := range rows {
		if rows[i].kind == kindValue || rows[i].kind == kindNamed {
			rows[i].reload = ReloadNewSessions
		}
	}
	return append(rows, templateRefusals()...)
}

func templateTimerFields() []field {
	return []field{
		{path: "ppp.templates.*.lcp_echo", kind: kindSection, rows: "S153", aka: []string{"echo"}, doc: "Check whether the peer is still there."},
		{
			path: "ppp.templates.*.lcp_echo.interval", rows: "S153", def: "10s", min: second, max: int64(time.Hour), special: never(), doc: "Time between two checks.",
			at: template(func(t *policy.Template) *time.Duration { return &t.Echo }),
		},
		{
			path: "ppp.templates.*.lcp_echo.failures", rows: "S153", def: "3", min: 1, max: 100, doc: "Intervals without a sign of life after which the link is closed; a check without an answer is repeated within its interval.",
			at: template(func(t *policy.Template) *int { return &t.EchoFailures }),
		},
		{
			path: "ppp.templates.*.idle_timeout", rows: "S157", def: "never", min: second, max: 365 * 24 * int64(time.Hour), special: never(), aka: []string{"idle"},
			doc: "Close a link that carries nothing for this time.",
			at:  template(func(t *policy.Template) *time.Duration { return &t.IdleTimeout }),
		},
		{
			path: "ppp.templates.*.session_timeout", rows: "S182", def: "never", min: second, max: 365 * 24 * int64(time.Hour), special: never(), aka: []string{"onlinelimit"},
			doc: "Close a link after this time.",
			at:  template(func(t *policy.Template) *time.Duration { return &t.SessionTimeout }),
		},
		{
			path: "ppp.templates.*.rechallenge", rows: "S182", def: "never", min: 60 * second, max: 24 * int64(time.Hour), special: never(),
			doc: "Ask for the CHAP password again and again at this interval.",
			at:  template(func(t *policy.Template) *time.Duration { return &t.Rechallenge }),
		},
		{
			path: "ppp.templates.*.restart", rows: "S182", def: "3s", min: second, max: 60 * second, doc: "Wait before a PPP request is repeated.",
			at: template(func(t *policy.Template) *time.Duration { return &t.Restart }),
		},
		{
			path: "ppp.templates.*.max_configure", rows: "P252", def: "10", min: 1, max: 255, doc: "Configure-Requests without an answer before PPP gives up.",
			at: template(func(t *policy.Template) *int { return &t.MaxConfigure }),
		},
		{
			path: "ppp.templates.*.max_terminate", rows: "P252", def: "2", min: 1, max: 255, doc: "Terminate-Requests without an answer before PPP ends all the same.",
			at: template(func(t *policy.Template) *int { return &t.MaxTerminate }),
		},
		{
			path: "ppp.templates.*.max_failure", rows: "P252", def: "5", min: 1, max: 255, doc: "Configure-Naks before an option is rejected.",
			at: template(func(t *policy.Template) *int { return &t.MaxFailure }),
		},
	}
}

func templateNetworkFields() []field {
	return []field{
		{
			path: "ppp.templates.*.ipv4", def: "on", doc: "IPv4 for accepted calls.",
			at: template(func(t *policy.Template) *bool { return &t.IPv4 }),
		},
		{
			path: "ppp.templates.*.ipv4_local", typ: "IPv4 address", example: "192.168.20.1", aka: []string{"local"},
			doc: "Our address on links of accepted calls. Default: unnumbered.",
			at:  template(func(t *policy.Template) *netip.Addr { return &t.IPv4Local }),
		},
		{
			path: "ppp.templates.*.ipv4_pool", typ: "name", rows: "S156", example: "ips", min: 1, max: 32, aka: []string{"ippool", "pool"},
			doc: "Pool that gives callers their address.",
			at:  template(func(t *policy.Template) *string { return &t.IPv4Pool }),
		},
		{
			path: "ppp.templates.*.dns", typ: "at most two IPv4 addresses", example: "[192.0.2.53]", max: 2, doc: "Name servers that callers are told.",
			at: template(func(t *policy.Template) *[]netip.Addr { return &t.DNS }),
		},
		{
			path: "ppp.templates.*.nbns", typ: "at most two IPv4 addresses", example: "[192.0.2.54]", max: 2, aka: []string{"wins"}, doc: "NetBIOS name servers that callers are told.",
			at: template(func(t *policy.Template) *[]netip.Addr { return &t.NBNS }),
		},
		{
			path: "ppp.templates.*.ipv6", def: "on", doc: "IPv6 with link-local addresses for accepted calls.",
			at: template(func(t *policy.Template) *bool { return &t.IPv6 }),
		},
		{
			path: "ppp.templates.*.ipv6_pool", typ: "name", example: "links", min: 1, max: 32, aside: true,
			doc: "Pool of prefixes that gives each link a /64, told by router advertisement. Default: link-local addresses only.",
			at:  template(func(t *policy.Template) *string { return &t.IPv6Pool }),
		},
		{
			path: "ppp.templates.*.ipv6_delegated_pool", typ: "name", example: "sites", min: 1, max: 32, aside: true,
			doc: "Pool of prefixes for the networks behind callers, given when their router asks by DHCPv6.",
			at:  template(func(t *policy.Template) *string { return &t.DelegatedPool }),
		},
		{
			path: "ppp.templates.*.ipv6_dns", typ: "at most four IPv6 addresses", example: `["2001:db8::53"]`, max: 4,
			doc: "Name servers that callers are told by router advertisement and DHCPv6.",
			at:  template(func(t *policy.Template) *[]netip.Addr { return &t.IPv6DNS }),
		},
		{
			path: "ppp.templates.*.interface", typ: "interface name with %d", example: `"l2tp%d"`, min: 1, max: 15,
			doc: "Names of the interfaces of accepted calls; %d is a number. Default: the kernel's pppN.",
			at:  template(func(t *policy.Template) *string { return &t.Interface }),
		},
		{
			path: "ppp.templates.*.interfaces_ready", reload: ReloadLive, def: "0", max: 8192, aka: []string{"ready"},
			doc: "How many interfaces there are at least, in use or waiting: they are made while no caller needs one, so that the rush after a " +
				"start finds them. Those that wait are down, in group 1701, and have the kernel's memory of 25 KiB each. Those that callers have left wait as well.",
			at: template(func(t *policy.Template) *int { return &t.Ready }),
		},
		{
			path: "ppp.templates.*.masquerade", rows: "S168", def: "off", aka: []string{"nat"}, doc: "Source NAT: what leaves there has the address of the link.",
			at: template(func(t *policy.Template) *bool { return &t.Masquerade }),
		},
	}
}

func templateRefusals() []field {
	const at = "ppp.templates.*."
	return []field{
		refusedOff(at+"bap", "S151", "bandwidth allocation (BAP) needs multilink, which nothing here speaks", "remove the key, or write bap: off"),
		refusedOff(at+"lqr", "S152", "link quality reports (LQR) are not offered", "use lcp_echo: {interval: 10s, failures: 3}"),
		refusedOff(at+"vj", "S182", "Van Jacobson header compression is not offered", "remove the key"),
		refusedOff(at+"vjc", "S182", "Van Jacobson header compression is not offered", "remove the key"),
		refusedOff(at+"ccp", "S182", "compression (CCP) is not offered", "remove the key"),
		refusedOff(at+"compression", "S182", "compression (CCP) is not offered", "remove the key"),
		refusedOff(at+"multilink", "S182", "multilink PPP is not offered", "remove the key"),
		refusedOff(at+"maxlinks", "S182", "multilink PPP is not offered", "remove the key"),
		refusedOff(at+"data_limit", "S182", notOffered, "use session_timeout or idle_timeout"),
		refusedOff(at+"bridge", "S9", "bridging over PPP is not offered", "use VXLAN or L2TPv3 of the kernel for bridging"),
		refusedOff(at+"ipx", "S1, S9", "only IPv4 and IPv6 are carried", "remove the key"),
		refusedOff(at+"appletalk", "S1, S9", "only IPv4 and IPv6 are carried", "remove the key"),
		refusedOff(at+"tacacs", "S155", "TACACS is not offered", "use users: [local, radius]"),
	}
}

func never() map[string]int64 { return zero("never") }

// zero names the value 0.
func zero(word string) map[string]int64 { return map[string]int64{word: 0} }
