package config

import (
	"net/netip"
	"time"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// What stands in the configuration for zero fields of the policy.
const (
	accountingSpool = "/var/lib/l2tpd/accounting"
	coaPort         = 3799 // RFC 5176, 2.1
)

// pppoe makes an accessor of an interface. Of a line it gives an empty one, which nothing differs from.
func pppoe[V any](get func(*policy.PPPoE) V) func(any) any {
	return func(o any) any {
		if p := o.(*policy.Access).PPPoE; p != nil {
			return get(p)
		}
		return get(&policy.PPPoE{})
	}
}

// ofTTY makes an accessor of a line. Of an interface it gives an empty one, which nothing differs from.
func ofTTY[V any](get func(*policy.TTY) V) func(any) any {
	return func(o any) any {
		if t := o.(*policy.Access).TTY; t != nil {
			return get(t)
		}
		return get(&policy.TTY{})
	}
}

// rule makes an accessor of a rule.
func rule[V any](get func(*policy.Rule) V) func(any) any {
	return func(o any) any { return get(o.(*policy.Rule)) }
}

func lacFields() []field {
	rows := []field{
		{path: "lac", kind: kindSection, doc: "Subscribers who arrive here, and who of them goes to which LNS."},
		{
			path: "lac.lockout", def: "60s", min: second, max: int64(time.Hour), doc: "How long an LNS that did not answer is tried last.",
			at: in(func(l *policy.LAC) *time.Duration { return &l.Lockout }),
		},
		{
			path: "lac.attempt", def: "10s", min: second, max: int64(5 * time.Minute), doc: "How long one LNS may take before the next is tried.",
			at: in(func(l *policy.LAC) *time.Duration { return &l.Attempt }),
		},
		{
			path: "lac.switch", def: "off", aka: []string{"tunnel_switching"},
			doc: "on: calls that come in by L2TP go by the rules, too (tunnel switching). off: they end here.",
			at:  in(func(l *policy.LAC) *bool { return &l.Switch }),
		},
	}
	rows = append(rows, pppoeFields()...)
	rows = append(rows, ttyFields()...)
	rows = append(rows, ruleFields()...)
	rows = append(rows, ruleActionFields()...)
	rows = append(rows, ruleTunnelFields()...)
	rows = append(rows, field{path: "lac.rules[].tunnel", kind: kindSection, doc: "As server.tunnel, for the tunnels of this rule."})
	rows = append(rows, tunnelFields("lac.rules[].tunnel", ReloadNewSessions, false, func(o any) *policy.Tunnel { return &o.(*policy.Rule).Tunnel })...)
	for i := range rows {
		rows[i].reload = ReloadNewSessions
	}
	return append(
		rows,
		refused("lac.access[].isdn", "S158", "there is no ISDN controller here", "write tty: {device: /dev/ttyACM0, type: isdn, ...} for a terminal adapter, or pppoe"),
		refused("lac.rules[].port", "S99", "the port is that of an LNS", "write lns: [{address: 192.0.2.1, port: 1702}]"),
		refused("lac.rules[].timeout", "S104, S107", "it is the longest wait between retransmissions", "write tunnel: {retransmit_cap: 20s}"),
	)
}

func pppoeFields() []field {
	return []field{
		{
			path: "lac.access", kind: kindList, rows: "S158, S159",
			doc: "Where subscribers arrive: interfaces with PPPoE, lines with a modem. Each item is one of them.",
		},
		{path: "lac.access[].pppoe", kind: kindSection, optional: true, rows: "S158, P271", doc: "An interface on which PPPoE is answered (access concentrator)."},
		{
			path: "lac.access[].pppoe.interface", typ: "interface name", example: "eth1", required: true, min: 1, max: longestInterface, aka: []string{"device"},
			doc: "Name of the interface; a VLAN has one of its own.",
			at:  pppoe(func(p *policy.PPPoE) *string { return &p.Interface }),
		},
		{
			path: "lac.access[].pppoe.service_names", typ: "list of texts", example: "[internet]", aka: []string{"service_name", "services"},
			doc: "Services that are offered; another one that a subscriber asks for is refused. Default: any is served.",
			at:  pppoe(func(p *policy.PPPoE) *[]string { return &p.ServiceNames }), read: readTexts,
		},
		{
			path: "lac.access[].pppoe.ac_name", typ: "text", example: "edge1", min: 1, max: 128, doc: "Name of this box for subscribers (AC-Name). Default: the host's own name.",
			at: pppoe(func(p *policy.PPPoE) *string { return &p.ACName }),
		},
		{
			path: "lac.access[].pppoe.delay", def: "0s", max: int64(10 * time.Second), doc: "Wait before an offer (PADO), so that another box is first.",
			at: pppoe(func(p *policy.PPPoE) *time.Duration { return &p.Delay }),
		},
		{
			path: "lac.access[].pppoe.max_payload", rows: "P273", def: "1492", min: 1492, max: 9000, aka: []string{"ppp_max_payload"},
			doc: "Largest MRU that a subscriber is granted who asks for more than 1492 (PPP-Max-Payload); the interface's MTU less 8 is the limit all the same.",
			at:  pppoe(func(p *policy.PPPoE) *uint16 { return &p.MaxPayload }),
		},
		{
			path: "lac.access[].pppoe.max_sessions", def: "unlimited", special: zero("unlimited"), min: 1, max: 65535, doc: "Most sessions at a time on this interface.",
			at: pppoe(func(p *policy.PPPoE) *int { return &p.MaxSessions }),
		},
		{
			path: "lac.access[].pppoe.max_sessions_per_mac", def: "unlimited", special: zero("unlimited"), min: 1, max: 65535, doc: "The same for one MAC address.",
			at: pppoe(func(p *policy.PPPoE) *int { return &p.MaxSessionsOfMAC }),
		},
		{
			path: "lac.access[].pppoe.rate", def: "1000", min: 1, max: 1000000, doc: "Most discovery packets a second that are looked at.",
			at: pppoe(func(p *policy.PPPoE) *int { return &p.Rate }),
		},
		{
			path: "lac.access[].pppoe.rate_per_mac", def: "10", min: 1, max: 1000000, doc: "The same for one MAC address.",
			at: pppoe(func(p *policy.PPPoE) *int { return &p.RateOfMAC }),
		},
		{
			path: "lac.access[].pppoe.template", typ: "name", example: "dialin", required: true, min: 1, max: 32, aka: []string{"ppptemplate"},
			doc: "Name of the template by which PPP begins: login and timers, and all of it for who stays here.",
			at:  in(func(a *policy.Access) *string { return &a.Template }),
		},
	}
}

func ttyFields() []field {
	script := func(key, example, doc string, get func(*policy.TTY) *[]string) field {
		return field{path: "lac.access[].tty." + key, typ: "chat script", example: example, doc: doc, at: ofTTY(get), read: readScript}
	}
	return []field{
		{path: "lac.access[].tty", kind: kindSection, optional: true, rows: "S159", doc: "A line with a modem or a null modem."},
		{
			path: "lac.access[].tty.device", typ: "path", example: "/dev/ttyS0", required: true, min: 2, max: 255, doc: "Path of the device.",
			at: ofTTY(func(t *policy.TTY) *string { return &t.Device }),
		},
		{
			path: "lac.access[].tty.speed", typ: "bits per second 300..4000000", def: "115200", min: 300, max: 4000000, doc: "Speed of the line to the modem.",
			at: ofTTY(func(t *policy.TTY) *int { return &t.Speed }),
		},
		{
			path: "lac.access[].tty.type", typ: "async or isdn", rows: "S60", def: "async", doc: "What an LNS must ask for (OCRQ) to have a call placed here.",
			at: ofTTY(func(t *policy.TTY) *policy.CallType { return &t.Type }), read: readLineType,
		},
		{
			path: "lac.access[].tty.names", typ: "list of texts", rows: "S33, S71", example: "[modem1]", aka: []string{"name", "sub_address"},
			doc: "Names by which the Sub-Address of an LNS's call selects this line. Default: any call of its type.",
			at:  ofTTY(func(t *policy.TTY) *[]string { return &t.Names }), read: readTexts,
		},
		{
			path: "lac.access[].tty.dial_in", def: "on", doc: "Take calls from the line.",
			at: ofTTY(func(t *policy.TTY) *bool { return &t.DialIn }),
		},
		{
			path: "lac.access[].tty.dial_out", def: "off", doc: "Place calls that an LNS asks for (OCRQ).",
			at: ofTTY(func(t *policy.TTY) *bool { return &t.DialOut }),
		},
		withAside(field{
			path: "lac.access[].tty.dial_out_from", example: "[192.0.2.1]", rows: "S12, S60",
			doc: "LNSs that may have calls placed here. Their tunnels are let in without an entry of lns.accept; secrets says with which secret.",
			at:  ofTTY(func(t *policy.TTY) *[]policy.Range { return &t.From }),
		}),
		script("init", `["", ATZ, OK, ATS0=0, OK]`, "What is expected and said in turn before the line waits for calls.", func(t *policy.TTY) *[]string { return &t.Init }),
		script("answer", "[RING, ATA, CONNECT]", "The same when a call comes in. Default: PPP begins as soon as there is a carrier or data.",
			func(t *policy.TTY) *[]string { return &t.Answer }),
		withAside(script("dial", `["", 'ATDT\T', CONNECT]`, `The same to place a call; \T is the number.`, func(t *policy.TTY) *[]string { return &t.Dial })),
		script("hang_up", `["", ATH, OK]`, "The same after a call.", func(t *policy.TTY) *[]string { return &t.HangUp }),
		{
			path: "lac.access[].tty.template", typ: "name", example: "dialin", required: true, min: 1, max: 32, aka: []string{"ppptemplate"},
			doc: "Name of the template by which PPP begins: login and timers, and all of it for who stays here.",
			at:  in(func(a *policy.Access) *string { return &a.Template }),
		},
	}
}

func withAside(f field) field {
	f.aside = true
	return f
}

func ruleFields() []field {
	return []field{
		{
			path: "lac.rules", kind: kindList, rows: "S88-S107", aka: []string{"user", "users"},
			doc: "Who of the subscribers goes where. The rule of a user's realm holds, else any-realm or local, else all, wherever they stand. " +
				"Who did not log in has unauthenticated alone. Without a fitting rule he is turned away.",
		},
		{
			path: "lac.rules[].match", typ: "local, any-realm, all, unauthenticated or {realm: NAME}", rows: "S36, S88-S93", example: "{realm: corp.example}", required: true,
			inner: []string{"realm"}, aka: []string{"user", "realm", "domain"},
			doc: "Whom the rule is for: users of one realm, as in user@corp.example or corp.example\\user; without a realm (local); with any; every user who logged in (all); " +
				"or who had no login to pass, under a template with auth: none. Upper and lower case are the same.",
			at: rule(matchText), read: readMatch,
		},
		{
			path: "lac.rules[].action", typ: "tunnel, dns, radius, local or reject", rows: "S94-S97", example: "tunnel", required: true,
			doc: "tunnel: to one of lns. dns: to the LNS that has the realm's name. radius: to the LNS that a RADIUS server names. local: PPP ends here. reject: turned away.",
			at:  rule(func(r *policy.Rule) *policy.Action { return &r.Action }), read: readAction,
		},
		{
			path: "lac.rules[].lns", kind: kindList, rows: "S94, S98, S99", aka: []string{"ip", "address", "server", "servers", "database"},
			doc: "LNSs for action: tunnel.",
		},
		{
			path: "lac.rules[].lns[].address", typ: "address or host name", rows: "S98", example: "192.0.2.1", required: true, aka: []string{"ip", "peer", "host"},
			doc:  "The LNS. A name with several addresses stands for as many LNSs.",
			at:   in(func(n *policy.LNS) *string { return &n.Address }),
			read: readHost(func(n *policy.LNS) *string { return &n.Address }),
		},
		{
			path: "lac.rules[].lns[].port", rows: "S99", def: "1701", min: 1, max: 65535, doc: "UDP port of the LNS.",
			at: in(func(n *policy.LNS) *uint16 { return &n.Port }),
		},
		{
			path: "lac.rules[].lns[].preference", def: "0", max: 65535, aka: []string{"priority"}, doc: "LNSs with a lower number are tried first; balance is among those with the same.",
			at: in(func(n *policy.LNS) *int { return &n.Preference }),
		},
		{
			path: "lac.rules[].lns[].weight", def: "1", min: 1, max: 65535, doc: "Share of the sessions among LNSs of one preference.",
			at: in(func(n *policy.LNS) *int { return &n.Weight }),
		},
		{
			path: "lac.rules[].lns[].secret", typ: "secret", rows: "S28, S101", example: "{credential: corp}", aside: true, weak: 16, aka: secretWords("password"),
			doc: "Tunnel secret of this LNS. Default: the rule's.",
			at:  in(func(n *policy.LNS) *policy.Secret { return &n.Secret }),
		},
		{
			path: "lac.rules[].lns[].max_sessions", def: "unlimited", special: zero("unlimited"), min: 1, max: 65535, doc: "Most sessions at a time with this LNS, over all tunnels to it.",
			at: in(func(n *policy.LNS) *int { return &n.MaxSessions }),
		},
		{
			path: "lac.rules[].lns[].withhold_calling_number", def: "off", doc: "This LNS is not told the calling number.",
			at: in(func(n *policy.LNS) *bool { return &n.Withhold }),
		},
		{
			path: "lac.rules[].lns[].hide_avps", def: "off", doc: "Hide names, numbers and login data in control messages to this LNS.",
			at: in(func(n *policy.LNS) *bool { return &n.HideAVPs }),
		},
	}
}

// ruleActionFields are the rows of a rule about its action.
func ruleActionFields() []field {
	return []field{
		{
			path: "lac.rules[].balance", def: "round-robin", words: []string{"round-robin", "least-filled"},
			doc: "Who of several LNSs of one preference gets the next call: in turn, or the one with the fewest sessions, both by weight.",
			at:  rule(func(r *policy.Rule) *policy.Balance { return &r.Balance }),
		},
		{
			path: "lac.rules[].prefix", typ: "label", rows: "S95, S103", example: "lns", aside: true, min: 1, max: 63,
			doc: "With action: dns, a label before the realm: with lns, the LNS of corp.example is lns.corp.example. Default: none.",
			at:  rule(func(r *policy.Rule) *string { return &r.Prefix }), read: readPrefix,
		},
		{
			path: "lac.rules[].template", typ: "name", rows: "S97", example: "dialin", aside: true, min: 1, max: 32, aka: []string{"ppptemplate"},
			doc: "With action: local, the template of the session. Default: that of the access.",
			at:  rule(func(r *policy.Rule) *string { return &r.Template }),
		},
		{
			path: "lac.rules[].radius_user", def: "full", rows: "S96, P235", words: []string{"full", "domain"}, aside: true,
			doc: "With action: radius, whom the server is asked about: the user with the login that he has shown (full), or the realm with radius_password (domain).",
			at:  rule(func(r *policy.Rule) *policy.RADIUSUser { return &r.RADIUSUser }),
		},
		{
			path: "lac.rules[].radius_password", typ: "secret", rows: "S96", example: "{credential: corp}", aside: true, aka: secretWords("dummy_password"),
			doc: "Password of realms in the RADIUS server, for radius_user: domain.",
			at:  rule(func(r *policy.Rule) *policy.Secret { return &r.RADIUSPassword }),
		},
	}
}

// ruleTunnelFields are the rows of a rule about its tunnels.
func ruleTunnelFields() []field {
	return []field{
		{
			path: "lac.rules[].secret", typ: "secret or none", rows: "S28, S101", example: "{credential: corp}", weak: 16, aka: secretWords("password"),
			doc: "Tunnel secret that the LNS is presented; one that a RADIUS server names comes first. none, the default: no authentication.",
			at:  rule(func(r *policy.Rule) *policy.Secret { return &r.Secret }), read: readUnlessNone(func(r *policy.Rule) *policy.Secret { return &r.Secret }),
		},
		{
			path: "lac.rules[].strip_realm", def: "off", doc: "The LNS, or the login here, gets the user's name without the realm.",
			at: rule(func(r *policy.Rule) *bool { return &r.StripRealm }),
		},
		{
			path: "lac.rules[].proxy_auth", def: "on", doc: "The LNS is told the login that was taken here. off: it takes one itself.",
			at: rule(func(r *policy.Rule) inverted { return inverted{&r.NoProxyAuth} }),
		},
		{
			path: "lac.rules[].sequencing", rows: "S100", def: "on-request", words: []string{"on-request", "always"}, aka: []string{"number"},
			doc: "When data packets are numbered: on-request of the LNS, or always.",
			at:  rule(func(r *policy.Rule) *policy.Sequencing { return &r.Sequencing }), read: readRuleSequencing,
		},
		{
			path: "lac.rules[].compat", rows: "S102", def: "rfc2661", words: []string{"rfc2661", "pre13"}, aka: []string{"pre13"},
			doc: "pre13: the LNS speaks an Internet-Draft before number 13.",
			at:  rule(func(r *policy.Rule) *bool { return &r.PRE13 }),
		},
		{
			path: "lac.rules[].pre13_flow", def: "refuse", words: []string{"refuse", "ignore"}, doc: "What to do with the data window that a pre13 LNS asks for.",
			at: rule(func(r *policy.Rule) *bool { return &r.IgnoreWindow13 }),
		},
		{
			path: "lac.rules[].assignment_id", typ: "text", rows: "P229", example: "corp", aside: true, min: 1, max: 64,
			doc: "Calls by rules with different ones do not share a tunnel.",
			at:  rule(func(r *policy.Rule) *string { return &r.Assignment }),
		},
		{
			path: "lac.rules[].tunnel_sessions", def: "unlimited", special: zero("unlimited"), min: 1, max: 65535,
			doc: "Most sessions in one tunnel; then another one is made to the same LNS.",
			at:  rule(func(r *policy.Rule) *int { return &r.TunnelSessions }),
		},
		{
			path: "lac.rules[].withhold_calling_number", def: "off", doc: "No LNS of this rule is told the calling number.",
			at: rule(func(r *policy.Rule) *bool { return &r.Withhold }),
		},
		{
			path: "lac.rules[].hide_avps", def: "off", doc: "Hide names, numbers and login data in control messages to all LNSs of this rule.",
			at: rule(func(r *policy.Rule) *bool { return &r.HideAVPs }),
		},
		{
			path: "lac.rules[].host_name", typ: "text", example: "edge1", aside: true, min: 1, max: 255, aka: []string{"hostname"},
			doc: "Host name that the LNS is told (Host Name AVP). Default: server.hostname.",
			at:  rule(func(r *policy.Rule) *string { return &r.HostName }),
		},
		{
			path: "lac.rules[].local_address", example: "192.0.2.9", aside: true, aka: []string{"local", "source"}, doc: "Our address of the tunnel. Default: by route.",
			at: rule(func(r *policy.Rule) *netip.Addr { return &r.LocalAddr }),
		},
	}
}
