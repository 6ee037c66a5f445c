package config

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

func callFields() []field {
	rows := []field{{
		path: "calls", kind: kindNamed, rows: "S27, S59, S72, S78", example: "branch", names: nameRule{what: "call", max: 15, fold: true, strict: true},
		doc: "Calls to other boxes, by name (1-15 letters, digits and underscores; upper and lower case are the same).",
	}}
	rows = append(rows, peerFields()...)
	rows = append(rows, dialFields()...)
	rows = append(rows, field{path: "calls.*.tunnel", kind: kindSection, doc: "As server.tunnel, for the tunnel of this call."})
	rows = append(rows, tunnelFields("calls.*.tunnel", ReloadTunnelRestart, false, func(o any) *policy.Tunnel { return &o.(*policy.Call).Tunnel })...)
	rows = append(rows, linkFields()...)
	for i := range rows {
		if rows[i].kind == kindValue && rows[i].reload == ReloadLive && !slices.Contains(ruling(), rows[i].key()) {
			rows[i].reload = ReloadNewSessions
		}
	}
	return rows
}

// ruling are the keys that say when there is a call, not what it is like: they hold at once.
func ruling() []string {
	return []string{"autostart", "on_demand", "min", "max", "precedence", "match"}
}

// call makes an accessor of a call.
func call[V any](get func(*policy.Call) *V) func(any) any { return in(get) }

func peerFields() []field {
	return []field{
		{
			path: "calls.*.type", rows: "S60", def: "virtual", words: []string{"virtual", "isdn", "async"},
			doc: "virtual: LAN to LAN. isdn, async: the peer, a LAC, dials a line for us.",
			at:  call(func(c *policy.Call) *policy.CallType { return &c.Type }),
		},
		{
			path: "calls.*.peer", typ: "address, host name or any", rows: "S61, S13, S19", example: "203.0.113.2", required: true, aka: []string{"ip", "address", "remote_ip"},
			doc: "The other box. any: its address is not known, it calls us and we never call it.", reload: ReloadTunnelRestart,
			at: func(o any) any {
				if c := o.(*policy.Call); !c.Passive {
					return c.Peer
				}
				return "any"
			},
			read: readPeer,
		},
		{
			path: "calls.*.port", rows: "S31", def: "1701", min: 1, max: 65535, doc: "UDP port of the peer.", reload: ReloadTunnelRestart,
			at: call(func(c *policy.Call) *uint16 { return &c.PeerPort }),
		},
		{
			path: "calls.*.local_address", example: "192.0.2.1", aside: true, doc: "Our address of the tunnel. Default: by route.", reload: ReloadTunnelRestart,
			aka: []string{"local", "source"},
			at:  call(func(c *policy.Call) *netip.Addr { return &c.LocalAddr }),
		},
		{
			path: "calls.*.source_port", rows: "S14", def: "listen", words: []string{"listen", "ephemeral"}, reload: ReloadTunnelRestart,
			doc: "listen: call from the port of server.listen. ephemeral: from a port of the kernel's choice, for peers behind NAT or many tunnels to one peer.",
			at:  call(func(c *policy.Call) *bool { return &c.EphemeralPort }),
		},
		{
			path: "calls.*.secret", rows: "S28, S67, S188", example: "{credential: branch}", weak: 16, reload: ReloadTunnelRestart, aka: secretWords("password"),
			doc: "The peer's tunnel secret, presented when we connect: a text, {file: path} or {credential: name}. none, the default: no authentication.",
			typ: "secret or none",
			at:  call(func(c *policy.Call) *policy.Secret { return &c.Secret }), read: readUnlessNone(func(c *policy.Call) *policy.Secret { return &c.Secret }),
		},
		{
			path: "calls.*.compat", rows: "S68", def: "rfc2661", words: []string{"rfc2661", "pre13"}, aka: []string{"pre13"}, reload: ReloadTunnelRestart,
			doc: "pre13: the peer speaks an Internet-Draft before number 13.",
			at:  call(func(c *policy.Call) *bool { return &c.PRE13 }),
		},
		{
			path: "calls.*.pre13_flow", def: "refuse", words: []string{"refuse", "ignore"}, reload: ReloadTunnelRestart,
			doc: "What to do with the data window that a pre13 peer asks for.",
			at:  call(func(c *policy.Call) *bool { return &c.IgnoreWindow13 }),
		},
		{
			path: "calls.*.own_tunnel", rows: "S76, S183", def: "off", reload: ReloadTunnelRestart,
			doc: "off: calls to the same peer with the same secret and parameters share a tunnel.",
			at:  call(func(c *policy.Call) *bool { return &c.OwnTunnel }),
		},
	}
}

func dialFields() []field {
	return []field{
		{
			path: "calls.*.remote", typ: "text", rows: "S62, S63", example: "branch", min: 1, max: 64, aka: []string{"remotecall"},
			doc: "Name of the call at the other box, or of a line there with type isdn or async (Called Number AVP; beside dial, Sub-Address AVP). " +
				"Default: none, the other box answers by its accept table.",
			at: call(func(c *policy.Call) *string { return &c.Remote }),
		},
		{
			path: "calls.*.match", typ: "text", rows: "S64", example: "edge", aside: true, min: 1, max: 64,
			doc: "Name by which the other box's calls select this one. Default: the call's name.",
			at:  call(func(c *policy.Call) *string { return &c.Match }),
		},
		{
			path: "calls.*.precedence", rows: "S69", def: "in", words: []string{"in", "out"},
			doc: "When both boxes call at once, keep the incoming (in) or our outgoing (out) call. The other box must say the opposite.",
			at:  call(func(c *policy.Call) *policy.Precedence { return &c.Precedence }),
		},
		{
			path: "calls.*.method", rows: "S186", def: "icrq", words: []string{"icrq", "ocrq"},
			doc: "How a virtual call travels: as an incoming call, which every peer knows, or as an outgoing one. isdn and async are always ocrq.",
			at:  call(func(c *policy.Call) *policy.Method { return &c.Method }),
		},
		{
			path: "calls.*.sequencing", rows: "S66", def: "on-request", words: sequencingWords(), aka: []string{"number"},
			doc: "When data packets are numbered: on-request of the peer, always, or startup: until the network protocols are up.",
			at:  call(func(c *policy.Call) *policy.Sequencing { return &c.Sequencing }),
		},
		{
			path: "calls.*.dial", typ: "text", rows: "S32, S65", example: `"0312345678"`, aside: true, min: 1, max: 31,
			doc: "Number that the peer dials for us; only with type isdn or async (Called Number AVP).",
			at:  call(func(c *policy.Call) *string { return &c.Dial }),
		},
		{
			path: "calls.*.sub_address", typ: "text", rows: "S33, S71", example: `"10"`, aside: true, min: 1, max: 31,
			doc: "Sub-address of the called user; only with type isdn, and not beside both dial and remote (Sub-Address AVP).",
			at:  call(func(c *policy.Call) *string { return &c.SubAddress }),
		},
		{
			path: "calls.*.speed", typ: "bits per second 300..4294967295", rows: "S34, S70", def: fmt.Sprint(policy.DefaultSpeed), aside: true, min: 300, max: 4294967295,
			doc: "Highest speed of the line that the peer dials (Maximum BPS AVP).",
			at:  call(func(c *policy.Call) *uint32 { return &c.Speed }),
		},
		{
			path: "calls.*.minimum_speed", typ: "bits per second 300..4294967295", rows: "S70", def: fmt.Sprint(policy.DefaultMinimumSpeed), aside: true, min: 300, max: 4294967295,
			doc: "Lowest speed of the line that the peer dials (Minimum BPS AVP).",
			at:  call(func(c *policy.Call) *uint32 { return &c.MinimumSpeed }),
		},
		{
			path: "calls.*.autostart", rows: "S76", def: "off", doc: "Call when the daemon starts, and again whenever the call is lost.",
			at: call(func(c *policy.Call) *bool { return &c.AutoStart }),
		},
		{
			path: "calls.*.on_demand", rows: "S157", def: "off", doc: "Call when the first packet wants to go there. It cannot stand beside autostart.",
			at: call(func(c *policy.Call) *bool { return &c.OnDemand }),
		},
		{path: "calls.*.redial", kind: kindSection, doc: "Waits between attempts."},
		{
			path: "calls.*.redial.min", def: short(int64(policy.DefaultRedialMin)), min: int64(100 * time.Millisecond), max: int64(time.Hour),
			doc: "Shortest wait after an attempt that failed; packets (on_demand) do not shorten it. The wait doubles each time, with some chance in it.",
			at:  call(func(c *policy.Call) *time.Duration { return &c.RedialMin }),
		},
		{
			path: "calls.*.redial.max", def: short(int64(policy.DefaultRedialMax)), min: second, max: int64(24 * time.Hour), doc: "Longest wait.",
			at: call(func(c *policy.Call) *time.Duration { return &c.RedialMax }),
		},
	}
}

func linkFields() []field {
	return []field{
		{path: "calls.*.ppp", kind: kindSection, rows: "S162", doc: "The PPP link over the call."},
		{
			path: "calls.*.ppp.template", typ: "name", rows: "S150", def: "default", min: 1, max: 32,
			doc: "Name of the template of the link. Unless you define it, default is: auth none, lcp_echo every 10s, IPv4 and IPv6.",
			at:  call(func(c *policy.Call) *string { return &c.PPP.Template }),
		},
		{
			path: "calls.*.ppp.interface", typ: "interface name", rows: "S8, S73", example: "branch", min: 1, max: 15,
			doc: "Name of the interface. Default: the call's name.",
			at:  call(func(c *policy.Call) *string { return &c.PPP.Interface }),
		},
		{
			path: "calls.*.ppp.ipv4", typ: "off, request, unnumbered or an address", rows: "S164-S166", def: "unnumbered",
			doc: "Our IPv4 address on the link: none, asked of the peer, unnumbered, or this one. off: no IPv4.",
			at: func(o any) any {
				c := o.(*policy.Call)
				if c.PPP.IPv4 != ppp.IPv4Own {
					return c.PPP.IPv4.String()
				}
				return c.PPP.Local.String()
			},
			read: readCallIPv4,
		},
		{
			path: "calls.*.ppp.borrow", typ: "IPv4 address", rows: "S166", example: "192.168.10.1",
			doc: "With ipv4: unnumbered, an address of ours that packets of this box leave with. Default: the kernel chooses.",
			at: func(o any) any {
				c := o.(*policy.Call)
				if c.PPP.IPv4 != ppp.IPv4Unnumbered || !c.PPP.Local.IsValid() {
					return ""
				}
				return c.PPP.Local.String()
			},
			read: readBorrow,
		},
		{
			path: "calls.*.ppp.peer_ipv4", typ: "IPv4 address", example: "192.168.99.2", aside: true,
			doc: "With an address in ipv4: the address that the peer gets. Default: its own.",
			at:  call(func(c *policy.Call) *netip.Addr { return &c.PPP.Peer }),
		},
		{
			path: "calls.*.ppp.ipv6", def: "on", doc: "IPv6 with link-local addresses.",
			at: call(func(c *policy.Call) *bool { return &c.PPP.IPv6 }),
		},
		{
			path: "calls.*.ppp.user", typ: "text", rows: "S163", example: "RouterA", min: 1, max: 255, doc: "Our name when the peer asks for a login.",
			at: call(func(c *policy.Call) *string { return &c.PPP.User }),
		},
		{
			path: "calls.*.ppp.password", typ: "secret", rows: "S163", example: "{credential: routera}", doc: "Our password when the peer asks for a login.",
			aka: secretWords("secret"),
			at:  call(func(c *policy.Call) *policy.Secret { return &c.PPP.Password }),
		},
		{
			path: "calls.*.ppp.routes", rows: "S167", example: "[192.168.20.0/24]", aka: []string{"route"},
			doc: "Networks behind the peer: routed into the link while it is up.",
			at:  call(func(c *policy.Call) *[]netip.Prefix { return &c.PPP.Routes }),
		},
		{
			path: "calls.*.ppp.metric", def: "auto", special: zero("auto"), min: 1, max: 4294967295, doc: "Metric of these routes; auto: the kernel's.",
			at: call(func(c *policy.Call) *int { return &c.PPP.Metric }),
		},
		{
			path: "calls.*.ppp.masquerade", rows: "S168", def: "off", aka: []string{"nat"}, doc: "Source NAT: what leaves here has the address of the link.",
			at: call(func(c *policy.Call) *bool { return &c.PPP.Masquerade }),
		},
	}
}
