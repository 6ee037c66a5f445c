package engine

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/l2tpd/l2tpd/pkg/access"
	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// calls has n subscribers call, one after the other.
func calls(n int) func(*world) {
	return func(w *world) {
		for range n {
			w.subs = append(w.subs, w.a.dsl.dialIn(w.T, client(ppp.AuthCHAPMD5, ppp.AuthPAP), nil))
			time.Sleep(5 * time.Second)
		}
	}
}

// callByModem has somebody call by a line. He says nothing.
func callByModem(w *world) {
	file, modem, err := os.Pipe()
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = modem.Close() })
	w.a.dsl.dialIn(w.T, client(), func(c *access.Caller) { c.PPPoE, c.TTY = nil, &access.TTY{Device: "/dev/ttyS0", File: file} })
	time.Sleep(time.Second)
}

// callsAs has subscribers of these names call.
func callsAs(names ...string) func(*world) {
	return func(w *world) {
		for _, name := range names {
			cfg := client(ppp.AuthCHAPMD5, ppp.AuthPAP)
			cfg.User = name
			w.subs = append(w.subs, w.a.dsl.dialIn(w.T, cfg, nil))
			time.Sleep(5 * time.Second)
		}
	}
}

// went is where the subscribers' calls go on.
func went(w *world) any {
	var all []string
	for _, s := range w.subs {
		all = append(all, w.a.at(s))
	}
	return strings.Join(all, " ")
}

// subscribed says that the first subscriber has an address.
func subscribed(w *world) any { return w.subs[0].address() != "" }

// said is what f finds in the first message of a type from the LAC.
func said(in wire.MessageType, f func(m wire.Message) any) func(*world) any {
	return func(w *world) any {
		if all := w.of(w.a, in); len(all) > 0 {
			return f(all[0].m)
		}
		return "no such message"
	}
}

func saidText(in wire.MessageType, avp wire.AVPType) func(*world) any {
	return said(in, func(m wire.Message) any {
		s, _ := m.Text(avp)
		return s
	})
}

func has(in wire.MessageType, avp wire.AVPType) func(*world) any {
	return said(in, func(m wire.Message) any { return m.Has(avp) })
}

func hides(in wire.MessageType, avp wire.AVPType) func(*world) any {
	return said(in, func(m wire.Message) any {
		return slices.ContainsFunc(m.AVPs, func(a wire.AVP) bool { return a.Hidden && a.Type == avp })
	})
}

// radiusBox stands for RADIUS servers that remember what they are asked and told.
type radiusBox struct {
	mu      sync.Mutex
	asked   []radius.Request
	told    []radius.Record
	answer  radius.Answer
	problem error
}

func (s *radiusBox) Authorize(_ context.Context, r radius.Request) (radius.Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r)
	return s.answer, s.problem
}

func (s *radiusBox) Account(r radius.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, r)
	return nil
}

func (s *radiusBox) Counters() (radius.Counters, bool) { return radius.Counters{}, true }

// accepting has box a's servers let everybody in.
func accepting(w *world) {
	w.n.radius = map[netip.Addr]RADIUS{netip.MustParseAddr("1.1.1.1"): &radiusBox{answer: radius.Answer{Accept: true, Server: "test"}}}
}

func (w *world) servers() *radiusBox { return w.n.radius[w.a.addr].(*radiusBox) }

// firstAsked is what f finds in the first question to the servers.
func firstAsked(f func(r radius.Request) any) func(*world) any {
	return func(w *world) any {
		s := w.servers()
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.asked) == 0 {
			return "nothing is asked"
		}
		return f(s.asked[0])
	}
}

// The edits that many rows need.
var (
	onlyB     = edit{"a", "lac.rules.0.lns", "[{address: 2.2.2.2}]"}
	evenly    = edit{"a", "lac.rules.0.lns", "[{address: 2.2.2.2}, {address: 3.3.3.3}]"}
	deadFirst = edit{"a", "lac.rules.0.lns", "[{address: 9.9.9.9}, {address: 2.2.2.2, preference: 1}]"}
	stay      = edit{"a", "lac.rules", "[{match: all, action: local}]"}
	server    = edit{"a", "radius.servers", "[{address: 9.9.9.8, secret: the secret of the server}]"}
	domainA   = edit{"a", "lac.rules", "[{match: all, action: radius, radius_user: domain, radius_password: one of sixteen octets}]"}
	twoRules  = edit{"a", "lac.rules", "[{match: any-realm, action: tunnel, lns: [{address: 2.2.2.2}], secret: the secret of box b}, " +
		"{match: local, action: tunnel, lns: [{address: 2.2.2.2}], secret: the secret of box b}]"}
)

func lacKeys() []yamlKey {
	rows := slices.Concat(lacOwnKeys(), ruleKeys(), pathKeys(), ruleTunnelKeys(), lnsKeys(), lacRADIUSKeys())
	for i := range rows {
		rows[i].lac = true
		if rows[i].run == nil {
			rows[i].run = calls(1)
		}
	}
	return rows
}

func lacOwnKeys() []yamlKey {
	return []yamlKey{
		{
			key: "lac.lockout", change: edit{"a", "lac.lockout", "5m"}, with: []edit{deadFirst}, was: false, want: true,
			run: func(w *world) { calls(1)(w); time.Sleep(2 * time.Minute) },
			see: func(w *world) any { return strings.Contains(fmt.Sprint(locked(w)), "9.9.9.9") },
		},
		{key: "lac.attempt", change: edit{"a", "lac.attempt", "2s"}, with: []edit{deadFirst}, see: subscribed, was: false, want: true},
		{
			key: "lac.switch", change: edit{"b", "lac.switch", "on"}, with: []edit{onlyB, {"b", "lac.rules", "[{match: all, action: reject}]"}},
			see: subscribed, was: true, want: false,
		},
		{
			key: "lac.access[].pppoe.template", change: edit{"a", "lac.access.0.pppoe.template", "other"}, was: ppp.AuthCHAPMD5, want: ppp.AuthPAP,
			see: func(w *world) any { return w.subs[0].peers[0].Answer },
		},
		{
			key: "lac.access[].tty.template", change: edit{"a", "lac.access.0.tty.template", "other"}, was: "line", want: "other",
			with: []edit{{"a", "lac.access", "[{tty: {device: /dev/ttyS0, template: line}}]"}}, run: callByModem,
			see: func(w *world) any { return w.session(w.a).Template },
		},
	}
}

// far is the far side of the first subscriber's call.
func (w *world) far() (x api.Session) {
	for _, x = range w.a.look().Sessions {
		if x.TunnelID != 0 {
			return x
		}
	}
	return x
}

// locked are the LNSs that are left alone.
func locked(w *world) (all []netip.AddrPort) {
	for _, x := range w.a.look().Status.LNS {
		if !x.LockedUntil.IsZero() {
			all = append(all, x.Address)
		}
	}
	return all
}

func ruleKeys() []yamlKey {
	at := func(key, value string) edit { return edit{"a", "lac.rules.0." + key, value} }
	return []yamlKey{
		{key: "lac.rules[].match", change: at("match", "local"), see: subscribed, was: true, want: false},
		{key: "lac.rules[].action", change: edit{"a", "lac.rules", "[{match: all, action: reject}]"}, see: subscribed, was: true, want: false},
		{
			key: "lac.rules[].balance", change: at("balance", "least-filled"), with: []edit{evenly}, was: "3.3.3.3 2.2.2.2", want: "3.3.3.3 3.3.3.3",
			run: func(w *world) {
				calls(3)(w)
				w.subs[1].close() // the only one at c
				time.Sleep(5 * time.Second)
				w.subs = nil
				calls(2)(w)
			},
			see: went,
		},
		{
			key: "lac.rules[].prefix", change: at("prefix", "lns"), with: []edit{{"a", "lac.rules", "[{match: all, action: dns, secret: the secret of box b}]"}},
			run: func(w *world) {
				w.a.mu.Lock()
				w.a.names["lns.corp.example"] = []netip.Addr{netip.MustParseAddr("3.3.3.3")}
				w.a.mu.Unlock()
				calls(1)(w)
			},
			see: went, was: "corp.example", want: "lns.corp.example",
		},
		{
			key: "lac.rules[].template", change: at("template", "other"), with: []edit{stay}, was: "10.1.0.2", want: "10.2.0.2",
			see: func(w *world) any { return w.subs[0].address() },
		},
		{
			key: "lac.rules[].radius_user", change: domainA, with: []edit{server, {"a", "lac.rules", "[{match: all, action: radius}]"}}, before: accepting,
			see: firstAsked(func(r radius.Request) any { return r.Name }), was: "RouterA@corp.example", want: "corp.example",
		},
		{
			key: "lac.rules[].radius_password", change: at("radius_password", "two of sixteen octets"), before: accepting,
			with: []edit{server, domainA}, was: "one of sixteen octets", want: "two of sixteen octets",
			see: firstAsked(func(r radius.Request) any { return string(r.Password.Reveal()) }),
		},
		{
			key: "lac.rules[].secret", change: at("secret", "the secret of box b"), with: []edit{at("secret", "")}, see: subscribed, was: false, want: true,
		},
		{
			key: "lac.rules[].strip_realm", change: at("strip_realm", "on"), see: saidText(wire.MsgICCN, wire.AVPProxyAuthenName),
			was: "RouterA@corp.example", want: "RouterA",
		},
		{
			key: "lac.rules[].proxy_auth", change: at("proxy_auth", "off"), see: has(wire.MsgICCN, wire.AVPProxyAuthenResponse), was: true, want: false,
		},
	}
}

// pathKeys are those of a rule that are about the way to its LNSs.
func pathKeys() []yamlKey {
	at := func(key, value string) edit { return edit{"a", "lac.rules.0." + key, value} }
	return []yamlKey{
		{
			key: "lac.rules[].sequencing", change: at("sequencing", "always"), see: has(wire.MsgICCN, wire.AVPSequencingRequired), was: false, want: true,
		},
		{
			key: "lac.rules[].compat", change: at("compat", "pre13"), was: false, want: true,
			before: func(w *world) { w.n.alter = withWindow(wire.MsgICRP, 0) }, with: []edit{onlyB},
			see: func(w *world) any { return w.far().SequencesSent },
		},
		{
			key: "lac.rules[].pre13_flow", change: at("pre13_flow", "ignore"), see: subscribed, was: false, want: true,
			before: func(w *world) { w.n.alter = withWindow(wire.MsgICRP, 4) }, with: []edit{onlyB, at("compat", "pre13")},
		},
		{
			key: "lac.rules[].assignment_id", change: edit{"a", "lac.rules.1.assignment_id", "apart"}, with: []edit{twoRules},
			run: callsAs("RouterA@corp.example", "RouterA"), see: tunnels, was: 1, want: 2,
		},
		{key: "lac.rules[].tunnel_sessions", change: at("tunnel_sessions", "1"), run: calls(2), see: tunnels, was: 1, want: 2},
		{
			key: "lac.rules[].withhold_calling_number", change: at("withhold_calling_number", "on"), see: has(wire.MsgICRQ, wire.AVPCallingNumber),
			was: true, want: false,
		},
		{
			key: "lac.rules[].hide_avps", change: at("hide_avps", "on"), see: hides(wire.MsgICRQ, wire.AVPCallingNumber), was: false, want: true,
		},
		{
			key: "lac.rules[].host_name", change: at("host_name", "edge1"), see: text(wire.MsgSCCRQ, wire.AVPHostName), was: "a", want: "edge1",
		},
		{
			key: "lac.rules[].local_address", change: at("local_address", "1.1.1.9"), was: "1.1.1.1", want: "1.1.1.9",
			see: func(w *world) any {
				w.n.mu.Lock()
				defer w.n.mu.Unlock()
				return w.sent[0].from.Addr()
			},
		},
	}
}

// ruleTunnelKeys are like those of a call; what dials is a subscriber.
func ruleTunnelKeys() []yamlKey {
	rows := tunnelKeys("lac.rules[].tunnel", "lac.rules.0.tunnel")
	for i := range rows {
		r := &rows[i]
		quiet := func(e edit) bool { return e == quietA || e == quietB }
		if slices.ContainsFunc(r.with, quiet) {
			r.with = append(slices.DeleteFunc(slices.Clone(r.with), quiet), edit{"b", "ppp.templates.dialin.lcp_echo.interval", "never"})
		}
		r.with = append(slices.Clone(r.with), onlyB)
		after := r.run
		switch key := r.key[strings.LastIndexByte(r.key, '.')+1:]; key {
		case "setup_timeout":
			r.with = append(r.with, edit{"a", "lac.attempt", "5m"})
			r.see, after = func(w *world) any { return len(w.subs[0].ended()) > 0 }, wait(10*time.Second)
		case "idle_timeout":
			after = func(w *world) {
				w.subs[0].close()
				time.Sleep(20 * time.Second)
			}
		case "hello", "receive_window":
		default: // retransmissions, which an attempt must not cut short
			r.with = append(r.with, edit{"a", "lac.attempt", "5m"})
			if after == nil {
				after = wait(30 * time.Second)
			}
		}
		r.run = func(w *world) {
			calls(1)(w)
			if after != nil {
				after(w)
			}
		}
	}
	return rows
}

func lnsKeys() []yamlKey {
	at := func(key, value string) edit { return edit{"a", "lac.rules.0.lns.0." + key, value} }
	return []yamlKey{
		{key: "lac.rules[].lns[].address", change: at("address", "3.3.3.3"), with: []edit{onlyB}, see: went, was: "2.2.2.2", want: "3.3.3.3"},
		{
			key: "lac.rules[].lns[].port", change: at("port", "1702"), was: 1701, want: 1702,
			see: func(w *world) any { return w.of(w.a, wire.MsgSCCRQ)[0].to.Port() },
		},
		{key: "lac.rules[].lns[].preference", change: at("preference", "5"), see: went, was: "2.2.2.2", want: "3.3.3.3"},
		{
			key: "lac.rules[].lns[].weight", change: at("weight", "3"), with: []edit{evenly}, run: calls(8), was: 4, want: 6,
			see: func(w *world) any { return strings.Count(went(w).(string), "2.2.2.2") },
		},
		{
			key: "lac.rules[].lns[].secret", change: at("secret", "the secret of box b"), with: []edit{onlyB, {"a", "lac.rules.0.secret", "another secret of box b"}},
			see: subscribed, was: false, want: true,
		},
		{
			key: "lac.rules[].lns[].max_sessions", change: at("max_sessions", "1"), run: calls(2), see: went, was: "2.2.2.2 2.2.2.2", want: "2.2.2.2 3.3.3.3",
		},
		{
			key: "lac.rules[].lns[].withhold_calling_number", change: at("withhold_calling_number", "on"), see: has(wire.MsgICRQ, wire.AVPCallingNumber),
			was: true, want: false,
		},
		{
			key: "lac.rules[].lns[].hide_avps", change: at("hide_avps", "on"), see: hides(wire.MsgICRQ, wire.AVPCallingNumber), was: false, want: true,
		},
	}
}

func lacRADIUSKeys() []yamlKey {
	return []yamlKey{
		{
			key: "ppp.templates.*.users", change: edit{"a", "ppp.templates.line.users", "[radius]"}, with: []edit{stay, server}, before: accepting,
			see: firstAsked(func(r radius.Request) any { return r.Name }), was: "nothing is asked", want: "RouterA@corp.example",
		},
		{
			key: "radius.interim", change: edit{"a", "radius.interim", "2m"}, with: []edit{server}, before: accepting, was: 0, want: 4,
			run: func(w *world) { calls(1)(w); time.Sleep(9 * time.Minute) },
			see: func(w *world) any {
				s, n := w.servers(), 0
				s.mu.Lock()
				defer s.mu.Unlock()
				for _, r := range s.told {
					if r.Kind == radius.Interim {
						n++
					}
				}
				return n
			},
		},
	}
}
