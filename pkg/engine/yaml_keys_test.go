package engine

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/ipv6"
	"github.com/l2tpd/l2tpd/pkg/network"
	"github.com/l2tpd/l2tpd/pkg/pppd"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// What the rows look at.

func callUp(w *world) any { return w.call().State == api.CallUp }

func tunnels(w *world) any { return len(w.b.look().Tunnels) }

func sessions(w *world) any { return len(w.b.look().Sessions) }

// started are the pppds of b.
func (w *world) started() []pppd.Spec {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	return slices.Clone(w.b.pppds)
}

// told is what the peer of b's only session is told of prefixes.
func (w *world) told() (l ipv6.Lease) {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	for _, l = range w.b.leases {
	}
	return l
}

// sessionsUp are those that carry packets.
func sessionsUp(w *world) any {
	up := 0
	for _, s := range w.b.look().Sessions {
		if s.IPCP == "Opened" {
			up++
		}
	}
	return up
}

func attempts(n uint64) func(*world) any {
	return func(w *world) any { return w.call().Attempts.Out > n }
}

// text is a text AVP of the first message of a type from box a.
func text(in wire.MessageType, avp wire.AVPType) func(*world) any {
	return func(w *world) any {
		if d := w.of(w.a, in); len(d) > 0 {
			s, _ := d[0].m.Text(avp)
			return s
		}
		return "no such message"
	}
}

// number is a 32-bit AVP of the first OCRQ from box a.
func number(avp wire.AVPType) func(*world) any {
	return func(w *world) any {
		if d := w.of(w.a, wire.MsgOCRQ); len(d) > 0 {
			n, _ := d[0].m.Uint32(avp)
			return n
		}
		return "no OCRQ"
	}
}

// onA and onB look at the interface of the box's session.
func onA(f func(network.Interface) any) func(*world) any {
	return func(w *world) any { return onBox(w.a, f) }
}

func onB(f func(network.Interface) any) func(*world) any {
	return func(w *world) any { return onBox(w.b, f) }
}

func onBox(x *box, f func(network.Interface) any) any {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, i := range x.applied {
		return f(i)
	}
	return "no interface"
}

func localA(w *world) any { return w.session(w.a).LocalIPv4 }

// alone cuts the net before the first packet: box a dials and hears nothing.
func alone(w *world) { w.cut = true }

// gaps are the waits between the copies of the first SCCRQ of box a, in seconds.
func gaps(w *world) (out []time.Duration) {
	var first uint16
	var last time.Time
	for _, d := range w.of(w.a, wire.MsgSCCRQ) {
		id, _ := d.m.Uint16(wire.AVPAssignedTunnelID)
		if first == 0 {
			first, last = id, d.at
			continue
		}
		if id == first {
			out = append(out, d.at.Sub(last).Round(10*time.Millisecond))
			last = d.at
		}
	}
	return out
}

func wait(d time.Duration) func(*world) { return func(*world) { time.Sleep(d) } }

// cutAfter lets a call come up, and cuts the net.
func cutAfter(d time.Duration) func(*world) {
	return func(w *world) {
		time.Sleep(30 * time.Second)
		w.a.kill()
		time.Sleep(d)
		w.a = w.n.start(w.T, "9.9.9.9", initiators(0), true) // for its log and its stop
	}
}

// begun throws n SCCRQs at box b that nobody follows up, of one source or of many.
func begun(n int, oneSource bool) func(*world) {
	return func(w *world) {
		for i := range n {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), uint16(1701+i))
			if !oneSource {
				from = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)}), 1701)
			}
			v := &victim{box: w.b}
			v.throw(from, request(uint16(100+i), "x"))
			v.pause(time.Second)
			v.throw(from, request(uint16(100+i), "x")) // as an honest one does under pressure
			v.pause(0)
		}
	}
}

func halfOpen(w *world) any { return w.b.look().Status.HalfOpen }

// The edits that many rows need.
var (
	offA    = edit{"a", "calls.c0.autostart", ""}
	againA  = edit{"a", "calls.c1", "{peer: 2.2.2.2, secret: the secret of box b, autostart: on, ppp: {ipv4: request, user: RouterA, password: PasswordA}}"}
	secondA = edit{"a", "calls.c1", "{peer: 2.2.2.2, secret: the secret of box b, autostart: on, ppp: {ipv4: request, user: RouterB, password: PasswordA}}"}
	isdnA   = edit{"a", "calls.c0.type", "isdn"}
	quietA  = edit{"a", "ppp.templates.default", "{auth: none, lcp_echo: {interval: never}}"}
	quietB  = edit{"b", "ppp.templates.dialin.lcp_echo.interval", "never"}
	callB   = edit{"b", "calls.x", "{peer: 1.1.1.1, secret: none, ppp: {ipv4: unnumbered}}"}
	askA    = edit{"a", "calls.c0.remote", "x"}
)

// yamlKeys are the rows of TestYAMLKeysReachWhatTheyAreFor.
func yamlKeys() []yamlKey {
	return slices.Concat(serverKeys(), tunnelKeys("server.tunnel", "server.tunnel"), tunnelKeys("calls.*.tunnel", "calls.c0.tunnel"),
		accessKeys(), peerKeys(), dialKeys(), linkKeys(), templateKeys(), callerKeys(), networkKeys(), dataKeys(), lacKeys())
}

func serverKeys() []yamlKey {
	return []yamlKey{
		{key: "server.mode", change: edit{"b", "server.mode", "lac"}, see: callUp, was: true, want: false},
		{
			key: "server.hostname", change: edit{"a", "server.hostname", "edge1"},
			see: text(wire.MsgSCCRQ, wire.AVPHostName), was: "a", want: "edge1",
		},
		{
			key: "server.allow_from", change: edit{"b", "server.allow_from", "[10.0.0.0/8]"}, was: "true false", want: "false true",
			see: func(w *world) any { return fmt.Sprint(callUp(w), w.b.look().Status.Counters.Discarded.Filtered > 0) },
		},
		{
			key: "server.hide_avps", change: edit{"a", "server.hide_avps", "on"}, with: []edit{askA}, was: false, want: true,
			see: func(w *world) any {
				for _, d := range w.of(w.a, wire.MsgICRQ) {
					return slices.ContainsFunc(d.m.AVPs, func(a wire.AVP) bool { return a.Hidden && a.Type == wire.AVPCalledNumber })
				}
				return "no ICRQ"
			},
		},
		{
			key: "server.pin_port", change: edit{"a", "server.pin_port", "on"}, see: callUp, was: true, want: false,
			before: func(w *world) {
				w.n.from = func(a netip.AddrPort) netip.AddrPort {
					if a.Addr() == netip.MustParseAddr("2.2.2.2") {
						return netip.AddrPortFrom(a.Addr(), 40000)
					}
					return a
				}
			},
		},
		{
			key: "server.max_tunnels", change: edit{"b", "server.max_tunnels", "1"}, see: tunnels, was: 2, want: 1,
			with: []edit{secondA, {"a", "calls.c0.own_tunnel", "on"}},
		},
		{
			key: "server.max_half_open", change: edit{"b", "server.max_half_open", "4"}, was: false, want: true,
			with: []edit{offA}, run: begun(20, false),
			see: func(w *world) any { return w.b.look().Status.HalfOpen <= 4+1 }, // each shard may have one
		},
		{
			key: "server.max_half_open_per_source", change: edit{"b", "server.max_half_open_per_source", "1"}, see: halfOpen, was: 3, want: 1,
			with: []edit{offA}, run: begun(3, true),
		},
	}
}

// tunnelKeys are the keys of a control connection, of the server's section or of a call's.
func tunnelKeys(key, at string) []yamlKey {
	set := func(k, v string) edit { return edit{"a", at + "." + k, v} }
	return []yamlKey{
		{
			key: key + ".receive_window", change: set("receive_window", "4"), was: 16, want: 4,
			see: func(w *world) any {
				n, _ := w.of(w.a, wire.MsgSCCRQ)[0].m.Uint16(wire.AVPReceiveWindowSize)
				return n
			},
		},
		{
			key: key + ".hello", change: set("hello", "never"), with: []edit{quietA, quietB, {"b", "server.tunnel.hello", "never"}},
			run: wait(10 * time.Minute), was: true, want: false,
			see: func(w *world) any { return len(w.of(w.a, wire.MsgHello)) > 5 },
		},
		{
			key: key + ".retransmit", change: set("retransmit", "3s"), before: alone, was: time.Second, want: 3 * time.Second,
			see: func(w *world) any { return gaps(w)[0] },
		},
		{
			key: key + ".retransmit_cap", change: set("retransmit_cap", "20s"), before: alone, with: []edit{set("max_retransmits", "7"), set("setup_timeout", "10m")},
			run: wait(5 * time.Minute), was: 8 * time.Second, want: 20 * time.Second,
			see: func(w *world) any { return slices.Max(gaps(w)) },
		},
		{
			key: key + ".max_retransmits", change: set("max_retransmits", "2"), before: alone, run: wait(time.Minute), was: 5, want: 2,
			see: func(w *world) any { return len(gaps(w)) },
		},
		{
			key: key + ".setup_timeout", change: set("setup_timeout", "4s"), before: alone, run: wait(10 * time.Second), was: false, want: true,
			see: func(w *world) any { return w.call().Attempts.Failed > 0 },
		},
		{
			key: key + ".idle_timeout", change: set("idle_timeout", "5s"), was: 1, want: 0,
			run: func(w *world) {
				time.Sleep(10 * time.Second)
				w.a.act(api.Action{Verb: api.VerbCallDown, Call: "c0"})
				time.Sleep(20 * time.Second)
			},
			see: func(w *world) any { return w.a.look().Status.Tunnels },
		},
	}
}

func accessKeys() []yamlKey {
	return []yamlKey{
		{
			key: "secret", change: edit{"b", "secret", "another secret of box b"}, see: callUp, was: true, want: false,
			with: []edit{{"b", "secrets", ""}, {"b", "secret", "the secret of box b"}},
		},
		{key: "secrets[].from", change: edit{"b", "secrets.0.from", "10.0.0.0/8"}, see: callUp, was: true, want: false},
		{key: "secrets[].host_name", change: edit{"b", "secrets.0.host_name", "edge1"}, see: callUp, was: true, want: false},
		{key: "secrets[].secret", change: edit{"b", "secrets.0.secret", "another secret of box b"}, see: callUp, was: true, want: false},
		{key: "lns.accept[].from", change: edit{"b", "lns.accept.0.from", "10.0.0.0/8"}, see: callUp, was: true, want: false},
		{key: "lns.accept[].host_name", change: edit{"b", "lns.accept.0.host_name", "edge1"}, see: callUp, was: true, want: false},
		{
			key: "lns.accept[].template", change: edit{"b", "lns.accept.0.template", "second"}, was: "192.168.20.1", want: "192.168.21.1",
			see: func(w *world) any { return w.session(w.a).PeerIPv4 },
		},
		{
			key: "lns.accept[].sequencing", change: edit{"b", "lns.accept.0.sequencing", "always"}, was: false, want: true,
			see: func(w *world) any { return w.session(w.b).SequencesSent },
		},
		{
			key: "lns.accept[].compat", change: edit{"b", "lns.accept.0.compat", "pre13"}, was: false, want: true,
			before: func(w *world) { w.n.alter = withWindow(wire.MsgICCN, 0) },
			see:    func(w *world) any { return w.session(w.b).SequencesSent },
		},
		{
			key: "lns.accept[].pre13_flow", change: edit{"b", "lns.accept.0.pre13_flow", "ignore"}, see: callUp, was: false, want: true,
			with:   []edit{{"b", "lns.accept.0.compat", "pre13"}},
			before: func(w *world) { w.n.alter = withWindow(wire.MsgICCN, 4) },
		},
		{
			key: "lns.accept[].max_tunnels", change: edit{"b", "lns.accept.0.max_tunnels", "1"}, see: tunnels, was: 2, want: 1,
			with: []edit{secondA, {"a", "calls.c0.own_tunnel", "on"}},
		},
		{key: "lns.accept[].proxy.lcp", change: edit{"b", "lns.accept.0.proxy.lcp", "accept"}, see: callUp, was: true, want: false},
		{
			key: "lns.accept[].proxy.auth", change: edit{"b", "lns.accept.0.proxy.auth", "renegotiate"}, was: 1, want: 0,
			before: func(w *world) { w.n.alter = withAVPs(lacSays("not it")...) },
			see:    func(w *world) any { return w.b.look().Status.Counters.UserAuthFailures },
		},
		{
			key: "lns.accept[].max_half_open", change: edit{"b", "lns.accept.0.max_half_open", "1"}, was: 2, want: 1,
			before: func(w *world) { w.cut = true },
			run: func(w *world) {
				for i := range uint16(2) {
					throw(w.b, netip.AddrPortFrom(netip.AddrFrom4([4]byte{9, 9, 9, byte(i)}), 1701), request(7, "lac"))
				}
				time.Sleep(time.Second)
			},
			see: func(w *world) any { return w.b.look().Status.HalfOpen },
		},
		{
			key: "lns.accept[].max_sessions", change: edit{"b", "lns.accept.0.max_sessions", "1"}, see: sessions, was: 2, want: 1,
			with: []edit{secondA},
		},
	}
}

func peerKeys() []yamlKey {
	return []yamlKey{
		{
			key: "calls.*.type", change: isdnA, with: []edit{askA}, was: 0, want: wire.BearerDigital,
			see: func(w *world) any {
				for _, t := range []wire.MessageType{wire.MsgICRQ, wire.MsgOCRQ} {
					for _, d := range w.of(w.a, t) {
						n, _ := d.m.Uint32(wire.AVPBearerType)
						return n
					}
				}
				return "no call"
			},
		},
		{
			key: "calls.*.peer", change: edit{"a", "calls.c0.peer", "3.3.3.3"}, was: "2.2.2.2:1701", want: "3.3.3.3:1701",
			see: func(w *world) any { return w.call().PeerAddr },
		},
		{
			key: "calls.*.port", change: edit{"a", "calls.c0.port", "1702"}, was: 1701, want: 1702,
			see: func(w *world) any { return w.of(w.a, wire.MsgSCCRQ)[0].to.Port() },
		},
		{
			key: "calls.*.local_address", change: edit{"a", "calls.c0.local_address", "1.1.1.7"}, before: alone, was: "1.1.1.1", want: "1.1.1.7",
			see: func(w *world) any {
				w.n.mu.Lock()
				defer w.n.mu.Unlock()
				return w.sent[0].from.Addr()
			},
		},
		{
			key: "calls.*.source_port", change: edit{"a", "calls.c0.source_port", "ephemeral"}, was: true, want: false,
			see: func(w *world) any { return w.of(w.a, wire.MsgSCCRQ)[0].from.Port() == 1701 },
		},
		{key: "calls.*.secret", change: edit{"a", "calls.c0.secret", "another secret"}, see: callUp, was: true, want: false},
		{
			key: "calls.*.compat", change: edit{"a", "calls.c0.compat", "pre13"}, was: false, want: true,
			before: func(w *world) { w.n.alter = withWindow(wire.MsgICRP, 0) },
			see:    func(w *world) any { return w.session(w.a).SequencesSent },
		},
		{
			key: "calls.*.pre13_flow", change: edit{"a", "calls.c0.pre13_flow", "ignore"}, see: callUp, was: false, want: true,
			with:   []edit{{"a", "calls.c0.compat", "pre13"}},
			before: func(w *world) { w.n.alter = withWindow(wire.MsgICRP, 4) },
		},
		{
			key: "calls.*.own_tunnel", change: edit{"a", "calls.c0.own_tunnel", "on"}, with: []edit{secondA}, see: tunnels, was: 1, want: 2,
		},
	}
}

func dialKeys() []yamlKey {
	return []yamlKey{
		{
			key: "calls.*.remote", change: askA, see: text(wire.MsgICRQ, wire.AVPCalledNumber), was: "", want: "x",
		},
		{
			key: "calls.*.match", change: edit{"b", "calls.x.match", "lan7"}, was: "", want: "x",
			with: []edit{callB, {"a", "calls.c0.remote", "lan7"}, {"a", "calls.c0.ppp.ipv4", "unnumbered"}},
			see:  func(w *world) any { return w.session(w.b).Call },
		},
		{
			key: "calls.*.precedence", change: edit{"a", "calls.c0.precedence", "out"}, was: true, want: false,
			with: []edit{
				askA,
				{"a", "secret", "the secret of box a"},
				{"a", "calls.c0.ppp", "{}"},
				{"b", "calls.x", "{peer: 1.1.1.1, secret: the secret of box a, remote: c0, autostart: on}"},
			},
			see: func(w *world) any {
				return strings.Contains(w.a.log.String()+w.b.log.String(), "both ends have the same precedence")
			},
		},
		{
			key: "calls.*.method", change: edit{"a", "calls.c0.method", "ocrq"}, was: 0, want: 1,
			see: func(w *world) any { return len(w.of(w.a, wire.MsgOCRQ)) },
		},
		{
			key: "calls.*.sequencing", change: edit{"a", "calls.c0.sequencing", "always"}, was: false, want: true,
			see: func(w *world) any { return w.session(w.a).SequencesSent },
		},
		{
			key: "calls.*.dial", change: edit{"a", "calls.c0.dial", `"0312345678"`}, with: []edit{isdnA, askA},
			see: text(wire.MsgOCRQ, wire.AVPCalledNumber), was: "x", want: "0312345678",
		},
		{
			key: "calls.*.sub_address", change: edit{"a", "calls.c0.sub_address", `"10"`}, with: []edit{isdnA, askA},
			see: text(wire.MsgOCRQ, wire.AVPSubAddress), was: "", want: "10",
		},
		{
			key: "calls.*.speed", change: edit{"a", "calls.c0.speed", "9600"}, with: []edit{isdnA, askA},
			see: number(wire.AVPMaximumBPS), was: 64000, want: 9600,
		},
		{
			key: "calls.*.minimum_speed", change: edit{"a", "calls.c0.minimum_speed", "1200"}, with: []edit{isdnA, askA},
			see: number(wire.AVPMinimumBPS), was: 300, want: 1200,
		},
		{key: "calls.*.autostart", change: edit{"a", "calls.c0.autostart", "on"}, with: []edit{offA}, see: callUp, was: false, want: true},
		{
			key: "calls.*.on_demand", change: edit{"a", "calls.c0.on_demand", "on"}, with: []edit{offA, {"a", "calls.c0.ppp.routes", "[10.0.0.0/8]"}},
			see: func(w *world) any { return w.a.waiting() }, was: map[string]any{}, want: "map[w-c0:[10.0.0.0/8]]",
		},
		{
			key: "calls.*.redial.min", change: edit{"a", "calls.c0.redial.min", "20s"}, with: []edit{{"b", "lns.accept.0.from", "10.0.0.0/8"}},
			run: wait(15 * time.Second), see: attempts(1), was: true, want: false,
		},
		{
			key: "calls.*.redial.max", change: edit{"a", "calls.c0.redial.max", "2s"}, with: []edit{{"b", "lns.accept.0.from", "10.0.0.0/8"}},
			run: wait(5 * time.Minute), see: attempts(100), was: false, want: true,
		},
	}
}

func linkKeys() []yamlKey {
	return []yamlKey{
		{
			key: "calls.*.ppp.template", change: edit{"a", "calls.c0.ppp.template", "other"}, was: true, want: false,
			see: func(w *world) any { return w.session(w.a).MRU > 1000 },
		},
		{
			key: "calls.*.ppp.interface", change: edit{"a", "calls.c0.ppp.interface", "branch"}, was: "c0", want: "branch",
			see: onA(func(i network.Interface) any { return i.Name }),
		},
		{
			key: "calls.*.ppp.ipv4", change: edit{"a", "calls.c0.ppp.ipv4", "off"}, was: true, want: false,
			see: onA(func(i network.Interface) any { return i.IPv4 }),
		},
		{
			key: "calls.*.ppp.borrow", change: edit{"a", "calls.c0.ppp.borrow", "192.168.10.1"}, was: "invalid IP", want: "192.168.10.1",
			with: []edit{callB, askA, {"a", "calls.c0.ppp.ipv4", "unnumbered"}}, see: onA(func(i network.Interface) any { return i.Local }),
		},
		{
			key: "calls.*.ppp.peer_ipv4", change: edit{"a", "calls.c0.ppp.peer_ipv4", "10.0.0.2"}, was: "invalid IP", want: "10.0.0.2",
			with: []edit{callB, {"b", "calls.x.ppp.ipv4", "request"}, askA, {"a", "calls.c0.ppp.ipv4", "10.0.0.1"}},
			see:  func(w *world) any { return w.session(w.b).LocalIPv4 },
		},
		{
			key: "calls.*.ppp.ipv6", change: edit{"a", "calls.c0.ppp.ipv6", "off"}, was: true, want: false,
			see: onA(func(i network.Interface) any { return i.IPv6 }),
		},
		{
			key: "calls.*.ppp.user", change: edit{"a", "calls.c0.ppp.user", "RouterB"}, was: "RouterA", want: "RouterB",
			see: func(w *world) any { return w.session(w.b).User },
		},
		{key: "calls.*.ppp.password", change: edit{"a", "calls.c0.ppp.password", "wrong"}, see: callUp, was: true, want: false},
		{
			key: "calls.*.ppp.routes", change: edit{"a", "calls.c0.ppp.routes", "[10.0.0.0/8]"}, was: "[]", want: "[10.0.0.0/8]",
			see: onA(func(i network.Interface) any { return i.Routes }),
		},
		{
			key: "calls.*.ppp.metric", change: edit{"a", "calls.c0.ppp.metric", "7"}, was: 0, want: 7,
			see: onA(func(i network.Interface) any { return i.Metric }),
		},
		{
			key: "calls.*.ppp.masquerade", change: edit{"a", "calls.c0.ppp.masquerade", "on"}, was: false, want: true,
			see: onA(func(i network.Interface) any { return i.Masquerade }),
		},
	}
}

func callerKeys() []yamlKey {
	const at = "ppp.templates.dialin."
	set := func(k, v string) edit { return edit{"b", at + k, v} }
	return []yamlKey{
		{
			key: "ppp.templates.*.ipv6_pool", change: set("ipv6_pool", "links"), was: "invalid Prefix", want: "2001:db8:1::/64",
			see: func(w *world) any { return w.told().Link },
		},
		{
			key: "ppp.templates.*.ipv6_delegated_pool", change: set("ipv6_delegated_pool", "sites"), was: "invalid Prefix", want: "2001:db8:2::/56",
			see: func(w *world) any { return w.told().Delegated },
		},
		{
			key: "ppp.templates.*.ipv6_dns", change: set("ipv6_dns", `["2001:db8::53"]`), was: "[]", want: "[2001:db8::53]",
			with: []edit{{"b", "ppp.templates.dialin.ipv6_pool", "links"}},
			see:  func(w *world) any { return w.told().DNS },
		},
		{
			key: "ppp.templates.*.engine", change: set("engine", "pppd"), was: 0, want: 1,
			see: func(w *world) any { return min(1, len(w.started())) },
		},
		{
			key: "ppp.templates.*.pppd_options", change: set("pppd_options", "[lcp-max-configure 20]"), was: "[]", want: "[lcp-max-configure 20]",
			with: []edit{{"b", "ppp.templates.dialin.engine", "pppd"}},
			see:  func(w *world) any { return w.started()[0].Options },
		},
		{
			key: "ppp.templates.*.mppe", change: set("mppe", "require"), was: false, want: true,
			with: []edit{{"b", "ppp.templates.dialin.engine", "pppd"}, {"b", "ppp.templates.dialin.auth", "[mschapv2]"}},
			see:  func(w *world) any { return w.started()[0].RequireMPPE },
		},
	}
}

func templateKeys() []yamlKey {
	const at = "ppp.templates.dialin."
	set := func(k, v string) edit { return edit{"b", at + k, v} }
	return []yamlKey{
		{
			key: "ppp.templates.*.auth", change: set("auth", "pap"), was: "chap", want: "pap",
			see: func(w *world) any { return w.session(w.b).Auth },
		},
		{
			key: "ppp.templates.*.duplicate_login", change: set("duplicate_login", "refuse"), see: sessionsUp, was: 2, want: 1,
			with: []edit{againA},
		},
		{
			key: "ppp.templates.*.mru", change: set("mru", "1000"), was: true, want: false,
			see: func(w *world) any { return w.session(w.a).PeerMRU > 1000 },
		},
		{
			key: "ppp.templates.*.mtu", change: set("mtu", "1300"), was: true, want: false,
			see: onB(func(i network.Interface) any { return i.MTU > 1300 }),
		},
		{
			key: "ppp.templates.*.mss_clamp", change: set("mss_clamp", "off"), was: true, want: false,
			see: onB(func(i network.Interface) any { return i.MSSClamp }),
		},
		{
			key: "ppp.templates.*.lcp_echo.interval", change: set("lcp_echo.interval", "never"), with: []edit{{"b", "server.tunnel.hello", "never"}},
			run: cutAfter(time.Minute), see: sessions, was: 0, want: 1,
		},
		{
			key: "ppp.templates.*.lcp_echo.failures", change: set("lcp_echo.failures", "10"), with: []edit{{"b", "server.tunnel.hello", "never"}},
			run: cutAfter(time.Minute), see: sessions, was: 0, want: 1,
		},
		{
			key: "ppp.templates.*.idle_timeout", change: set("idle_timeout", "30s"), run: wait(3 * time.Minute), see: attempts(2), was: false, want: true,
		},
		{
			key: "ppp.templates.*.session_timeout", change: set("session_timeout", "30s"), run: wait(3 * time.Minute), see: attempts(2), was: false, want: true,
		},
		{
			key: "ppp.templates.*.rechallenge", change: set("rechallenge", "60s"), with: []edit{quietA, quietB}, run: wait(10 * time.Minute), was: false, want: true,
			see: func(w *world) any { return w.b.look().Status.Counters.PPPFrames.Out > 16 },
		},
		{
			key: "ppp.templates.*.restart", change: set("restart", "10s"), was: 3 * time.Second, want: 10 * time.Second,
			see: func(w *world) any { return w.link(w.b).Restart },
		},
		{
			key: "ppp.templates.*.max_configure", change: set("max_configure", "3"), was: 10, want: 3,
			see: func(w *world) any { return w.link(w.b).MaxConfigure },
		},
		{
			key: "ppp.templates.*.max_terminate", change: set("max_terminate", "5"), was: 2, want: 5,
			see: func(w *world) any { return w.link(w.b).MaxTerminate },
		},
		{
			key: "ppp.templates.*.max_failure", change: set("max_failure", "7"), was: 5, want: 7,
			see: func(w *world) any { return w.link(w.b).MaxFailure },
		},
	}
}

func networkKeys() []yamlKey {
	const at = "ppp.templates.dialin."
	set := func(k, v string) edit { return edit{"b", at + k, v} }
	return []yamlKey{
		{
			key: "ppp.templates.*.ipv4", change: edit{"b", "ppp.templates.dialin", "{auth: [chap, pap], ipv4: off}"}, was: true, want: false,
			see: onB(func(i network.Interface) any { return i.IPv4 }),
		},
		{
			key: "ppp.templates.*.ipv4_local", change: set("ipv4_local", "192.168.20.2"), was: "192.168.20.1", want: "192.168.20.2",
			see: func(w *world) any { return w.session(w.a).PeerIPv4 },
		},
		{
			key: "ppp.templates.*.ipv4_pool", change: set("ipv4_pool", "others"), see: localA, was: "192.168.20.200", want: "192.168.22.0",
		},
		{
			key: "ppp.templates.*.dns", change: set("dns", "[192.0.2.53]"), was: "[]", want: "[192.0.2.53]",
			see: func(w *world) any { return w.link(w.b).DNS },
		},
		{
			key: "ppp.templates.*.nbns", change: set("nbns", "[192.0.2.54]"), was: "[]", want: "[192.0.2.54]",
			see: func(w *world) any { return w.link(w.b).NBNS },
		},
		{
			key: "ppp.templates.*.ipv6", change: set("ipv6", "off"), was: true, want: false,
			see: onB(func(i network.Interface) any { return i.IPv6 }),
		},
		{
			key: "ppp.templates.*.interface", change: set("interface", `"in%d"`), was: "ppp0", want: "in0",
			see: onB(func(i network.Interface) any { return i.Name }),
		},
		{
			key: "ppp.templates.*.interfaces_ready", change: set("interfaces_ready", "3"), was: 0, want: 2,
			see: func(w *world) any { return len(w.b.k.Waiting("")) },
		},
		{
			key: "ppp.templates.*.masquerade", change: set("masquerade", "on"), was: false, want: true,
			see: onB(func(i network.Interface) any { return i.Masquerade }),
		},
	}
}

func dataKeys() []yamlKey {
	return []yamlKey{
		{key: "pools.*.ranges", change: edit{"b", "pools.ips.ranges", "[192.168.20.50]"}, see: localA, was: "192.168.20.200", want: "192.168.20.50"},
		{key: "users.*.password", change: edit{"b", "users.RouterA.password", "another"}, see: callUp, was: true, want: false},
		{key: "users.*.ipv4", change: edit{"b", "users.RouterA.ipv4", "192.168.20.77"}, see: localA, was: "192.168.20.200", want: "192.168.20.77"},
		{
			key: "users.*.max_sessions", change: edit{"b", "users.RouterA.max_sessions", "1"}, see: sessionsUp, was: 2, want: 1,
			with: []edit{againA},
		},
		{
			key: "users.*.ipv6_prefix", change: edit{"b", "users.RouterA.ipv6_prefix", "2001:db8:9:1::/64"}, was: "invalid Prefix", want: "2001:db8:9:1::/64",
			see: func(w *world) any { return w.told().Link },
		},
		{
			key: "users.*.ipv6_delegated", change: edit{"b", "users.RouterA.ipv6_delegated", "2001:db8:9:100::/56"}, was: "invalid Prefix", want: "2001:db8:9:100::/56",
			see: func(w *world) any { return w.told().Delegated },
		},
		{
			key: "pools.*.prefixes", change: edit{"b", "pools.links.prefixes", `["2001:db8:7::/48"]`}, was: "2001:db8:1::/64", want: "2001:db8:7::/64",
			with: []edit{{"b", "ppp.templates.dialin.ipv6_pool", "links"}},
			see:  func(w *world) any { return w.told().Link },
		},
		{
			key: "pools.*.prefix_length", change: edit{"b", "pools.sites.prefix_length", "60"}, was: "2001:db8:2::/56", want: "2001:db8:2::/60",
			with: []edit{{"b", "ppp.templates.dialin.ipv6_delegated_pool", "sites"}},
			see:  func(w *world) any { return w.told().Delegated },
		},
		{
			key: "users.*.routes", change: edit{"b", "users.RouterA.routes", "[192.168.30.0/24]"}, was: "[]", want: "[192.168.30.0/24]",
			see: onB(func(i network.Interface) any { return i.Routes }),
		},
	}
}
