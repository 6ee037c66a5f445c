package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// defaultTemplate is the template of calls that name none.
const defaultTemplate = "default"

// complete fills in what a constant default cannot say. It runs after the walk and before the checks.
func (w *walker) complete(c *Config) {
	p := c.Policy
	if p.Server.HostName == "" && w.env.Hostname != nil {
		if name, err := w.env.Hostname(); err == nil {
			p.Server.HostName = name
		}
	}
	if p.Server.HostName == "" && !w.bad["server.hostname"] {
		w.faultAt("server.hostname", "the host has no name, and server.hostname is not set", "add server: {hostname: NAME}")
	}
	if p.Templates[defaultTemplate] == nil {
		t := &policy.Template{Name: defaultTemplate}
		w.section(w.src.table.children["ppp"].children["templates"], emptyMapping(), "", t)
		t.Auth = nil
		p.Templates[defaultTemplate] = t
	}
	nameAccess(&p.LAC)
	for _, call := range p.Calls {
		if call.Type != policy.CallVirtual {
			call.Method = policy.MethodOCRQ
		}
		if call.PPP.Interface == "" {
			call.PPP.Interface = call.Name
		}
	}
}

// check finds what is wrong between fields that are each right.
func (w *walker) check(c *Config) {
	p := c.Policy
	w.checkServer(p)
	w.checkSecrets(p)
	w.checkAccept(p)
	w.checkLAC(p)
	for _, name := range slices.Sorted(maps.Keys(p.Templates)) {
		w.checkTemplate(p, p.Templates[name], "ppp.templates."+nameKey(name))
	}
	w.checkPools(p)
	w.checkUsers(p)
	w.checkCalls(p)
	w.checkRADIUS(p)
	w.checkMetrics(&c.Metrics)
}

// faultAt notes an error at a concrete path: at its value, its key, or what encloses it.
func (w *walker) faultAt(path, message, advice string) {
	w.path = path
	w.fault(w.nodeAt(path), message, advice)
}

func (w *walker) warnAt(path, message, advice string) { w.warn(w.nodeAt(path), message, advice) }

func (w *walker) nodeAt(path string) *yaml.Node {
	if w.isSection(path) {
		return w.keys[path]
	}
	for path != "" {
		if n := w.values[path]; n != nil && !w.isSection(path) {
			return n
		}
		if n := w.keys[path]; n != nil {
			return n
		}
		path = parent(path)
	}
	return nil
}

// isSection says that the value at path is a mapping: then its key is the better place to point to.
func (w *walker) isSection(path string) bool {
	n := w.values[path]
	return n != nil && n.Kind == yaml.MappingNode
}

// has says that the file has a value at path, a good one.
func (w *walker) has(path string) bool { return w.values[path] != nil && !w.bad[path] }

// line is the line of a path's key, for messages about two places.
func (w *walker) line(path string) int {
	if n := w.nodeAt(path); n != nil {
		return n.Line
	}
	return 0
}

func (w *walker) checkServer(p *policy.Policy) {
	w.checkTunnel(&p.Server.Tunnel, "server.tunnel")
	listen := p.Server.Listen
	if len(listen) == 0 && w.has("server.listen") {
		w.faultAt("server.listen", "listen is empty: there would be no socket", `write "0.0.0.0:1701"`)
	}
	w.checkListen("server.listen", listen)
	if len(p.Server.AllowFrom) == 0 && w.has("server.allow_from") {
		w.faultAt("server.allow_from", "allow_from is empty", "write [any] for everyone, or the sources; to stop the daemon use systemctl")
	}
}

// checkListen checks that no socket has another one's address.
func (w *walker) checkListen(path string, listen []netip.AddrPort) {
	for i, a := range listen {
		for j, b := range listen {
			if i != j && a.Addr().IsUnspecified() && a.Port() == b.Port() && a.Addr().Is4() == b.Addr().Is4() {
				w.faultAt(path, fmt.Sprintf("listen: %v is within %v", b, a), "keep one of the two")
			}
		}
	}
}

func (w *walker) checkTunnel(t *policy.Tunnel, path string) {
	if t.Retransmit <= t.RetransmitCap {
		return
	}
	for _, key := range []string{".retransmit", ".retransmit_cap"} {
		if w.values[path+key] != nil {
			w.faultAt(path+key, fmt.Sprintf("retransmit (%s) is longer than retransmit_cap (%s)", short(int64(t.Retransmit)), short(int64(t.RetransmitCap))),
				"make retransmit shorter, or retransmit_cap longer")
			return
		}
	}
}

// sameSource reports entries that hold for exactly the same peers (S48).
func (w *walker) sameSource(list string, n int, of func(int) (policy.Range, string)) {
	for i := range n {
		from, host := of(i)
		at := w.items[list][i]
		if w.bad[at+".from"] || w.bad[at+".host_name"] {
			continue
		}
		for j := range i {
			other, otherHost := of(j)
			before := w.items[list][j]
			if from != other || !strings.EqualFold(host, otherHost) || w.bad[before+".from"] || w.bad[before+".host_name"] {
				continue
			}
			at += ".from"
			if w.values[at] == nil {
				at = parent(at)
			}
			w.faultAt(at, fmt.Sprintf("%s: the entry in line %d is for the same peers (from %v)", list, w.line(before+".from"), from), "keep one of the two")
			break
		}
	}
}

func (w *walker) checkSecrets(p *policy.Policy) {
	if w.values["secret"] != nil && w.values["secrets"] != nil {
		w.path = "secret"
		w.fault(w.keys["secret"], fmt.Sprintf("secret cannot stand beside secrets (line %d)", w.keys["secrets"].Line), "write it as one more entry of secrets, with from: any")
		return
	}
	if w.values["secrets"] != nil {
		w.sameSource("secrets", len(p.Secrets), func(i int) (policy.Range, string) { return p.Secrets[i].From, p.Secrets[i].HostName })
	}
}

func (w *walker) checkAccept(p *policy.Policy) {
	w.sameSource("lns.accept", len(p.Accept), func(i int) (policy.Range, string) { return p.Accept[i].From, p.Accept[i].HostName })
	for i, a := range p.Accept {
		at := w.items["lns.accept"][i]
		w.checkTemplateName(p, a.Template, at+".template", false)
		w.checkPre13(a.PRE13, a.IgnoreWindow13, at)
		if w.bad[at+".from"] || w.values[at+".from"] == nil {
			continue
		}
		if f := p.Server.AllowFrom; len(f) > 0 && !slices.ContainsFunc(f, a.From.Overlaps) {
			w.faultAt(at+".from", fmt.Sprintf("server.allow_from drops everything from %v", a.From), "add these sources to server.allow_from")
		}
		if !w.bad["secret"] && !w.bad["secrets"] && !covered(p, a.From, a.HostName) {
			w.warnAt(at+".from", fmt.Sprintf("tunnels from %v are not authenticated", a.From),
				"add an entry of secrets for these sources; secret: none says that this is meant, under IPsec for example")
		}
	}
	if len(p.Accept) == 0 || w.bad["server.mode"] {
		return
	}
	switch p.Server.Mode {
	case policy.ModeNone:
		w.faultAt("lns.accept", "server.mode is none: no call is accepted", "write mode: lns or both, or remove lns.accept")
	case policy.ModeLAC:
		w.warnAt("lns.accept", "server.mode is lac: incoming calls (ICRQ) are refused", "write mode: lns or both")
	case policy.ModeLNS, policy.ModeBoth:
	}
}

// covered says that secrets have an entry, be it with the word none, for every peer in from: whatever its host name is, or with
// this one. Of any those families count that are listened on.
func covered(p *policy.Policy, from policy.Range, host string) bool {
	ranges := []policy.Range{from}
	if from.IsAny() {
		ranges = nil
		for _, l := range p.Server.Listen {
			all := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
			if l.Addr().Is4() {
				all = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
			}
			ranges = append(ranges, policy.PrefixRange(all))
		}
	}
	return !slices.ContainsFunc(ranges, func(r policy.Range) bool {
		return !slices.ContainsFunc(p.Secrets, func(rule policy.SecretRule) bool {
			fits := rule.HostName == "" || strings.EqualFold(rule.HostName, host)
			return fits && rule.From.Contains(r.From) && rule.From.Contains(r.To)
		})
	})
}

// checkTemplateName checks a reference. The template of calls that name none exists always, for calls only.
func (w *walker) checkTemplateName(p *policy.Policy, name, path string, call bool) {
	if !w.has(path) || p.Templates[name] != nil && (call || name != defaultTemplate || w.keys["ppp.templates."+nameKey(name)] != nil) {
		return
	}
	known := slices.DeleteFunc(slices.Sorted(maps.Keys(p.Templates)), func(t string) bool { return !call && w.keys["ppp.templates."+nameKey(t)] == nil })
	w.unknownName("template", name, path, known, "ppp.templates")
}

// unknownName reports a reference to nothing.
func (w *walker) unknownName(what, name, path string, known []string, section string) {
	advice := fmt.Sprintf("add it to %s", section)
	if near := nearest(name, known); near != "" && near != name {
		advice = fmt.Sprintf("did you mean %s?", near)
	} else if len(known) > 0 && len(known) <= 8 {
		advice += "; there is " + strings.Join(known, ", ")
	}
	w.faultAt(path, fmt.Sprintf("there is no %s %s", what, quoteKey(name)), advice)
}

func (w *walker) checkPre13(pre13, ignore bool, path string) {
	if ignore && !pre13 && !w.bad[path+".compat"] {
		w.faultAt(path+".pre13_flow", "pre13_flow: ignore has no meaning without compat: pre13", "remove the key, or add compat: pre13")
	}
}

// checkTemplatePools checks the pools of a template: each must be there, and have what it is asked for.
func (w *walker) checkTemplatePools(p *policy.Policy, t *policy.Template, path string) {
	named := func(key, name string) *policy.Pool {
		if name == "" || w.bad[path+"."+key] {
			return nil
		}
		pool := p.Pools[name]
		if pool == nil {
			w.unknownName("pool", name, path+"."+key, slices.Sorted(maps.Keys(p.Pools)), "pools")
		}
		return pool
	}
	prefixes := func(key, name string, fits func(length int) bool, want string) {
		switch pool := named(key, name); {
		case pool == nil || w.bad["pools."+nameKey(name)+".prefix_length"]:
		case len(pool.Prefixes) == 0:
			w.faultAt(path+"."+key, fmt.Sprintf("%s: pool %s has no prefixes", key, name), "name a pool with prefixes and prefix_length")
		case !fits(pool.Length):
			w.faultAt(path+"."+key, fmt.Sprintf("%s: pool %s gives prefixes of length %d", key, name, pool.Length), want)
		}
	}
	prefixes("ipv6_pool", t.IPv6Pool, func(n int) bool { return n == 64 }, "the prefix of a link has length 64: write prefix_length: 64 in a pool for links")
	prefixes("ipv6_delegated_pool", t.DelegatedPool, func(n int) bool { return n <= 64 }, "write prefix_length: 56, or 64 at most")
	if told := t.IPv6Pool != "" || t.DelegatedPool != ""; told && t.IdleTimeout > 15*time.Minute {
		w.warnAt(path+".idle_timeout", fmt.Sprintf("idle_timeout of %v beside IPv6 prefixes: router advertisements are traffic, and no link is idle for so long", t.IdleTimeout),
			"write 15m or less")
	}
	for _, key := range []string{"ipv6_pool", "ipv6_delegated_pool", "ipv6_dns"} {
		if !t.IPv6 && w.has(path+"."+key) {
			w.faultAt(path+"."+key, key+" has no meaning with ipv6: off", "remove the key, or write ipv6: on")
		}
	}
	if pool := named("ipv4_pool", t.IPv4Pool); pool != nil {
		switch {
		case len(pool.Ranges) == 0 && len(pool.Prefixes) > 0:
			w.faultAt(path+".ipv4_pool", fmt.Sprintf("ipv4_pool: pool %s has no ranges", t.IPv4Pool), "name a pool with ranges")
		case t.IPv4Local.IsValid() && slices.ContainsFunc(pool.Ranges, func(r policy.Range) bool { return r.Contains(t.IPv4Local) }):
			w.faultAt(path+".ipv4_local", fmt.Sprintf("ipv4_local: %v is an address of pool %s, a caller could get it", t.IPv4Local, t.IPv4Pool),
				"take another address, or leave it out of the pool")
		}
	}
}

// checkEngine checks what goes with a pppd only, and what a pppd cannot do.
func (w *walker) checkEngine(t *policy.Template, path string) {
	if t.Engine == policy.EngineOwn {
		if w.has(path + ".pppd_options") {
			w.faultAt(path+".pppd_options", "pppd_options needs engine: pppd", "write engine: pppd, or remove the key")
		}
		noKeys := func(m ppp.AuthMethod) bool { return m != ppp.AuthMSCHAPv2 && m != ppp.AuthMSCHAPv1 }
		if t.MPPE == ppp.MPPERequire && slices.ContainsFunc(t.Auth, noKeys) && !w.bad[path+".auth"] {
			w.faultAt(path+".mppe", "mppe takes its keys from MS-CHAP", "write auth: [mschapv2]")
		}
		return
	}
	if t.IPv4 && !t.IPv4Local.IsValid() && !w.bad[path+".ipv4_local"] {
		w.faultAt(path, "engine: pppd needs ipv4_local: a pppd must know our address", "add ipv4_local: 192.168.20.1")
	}
	if slices.Contains(t.Sources, policy.SourceRADIUS) {
		w.faultAt(path+".users", "users: radius is not there with engine: pppd, which is told the users of the configuration", "write users: [local], or engine: l2tpd")
	}
	if slices.Contains(t.Auth, ppp.AuthMSCHAPv1) {
		w.faultAt(path+".auth", "auth: mschapv1 is not there with engine: pppd", "use mschapv2")
	}
	if t.Ready > 0 {
		w.faultAt(path+".interfaces_ready", "interfaces_ready is not there with engine: pppd: each pppd makes its own interface", "remove the key")
	}
	if t.MPPE == ppp.MPPEAllow {
		w.faultAt(path+".mppe", "mppe: allow is not there with engine: pppd", "write require or off")
	}
	if t.MPPE == ppp.MPPERequire && !slices.Equal(t.Auth, []ppp.AuthMethod{ppp.AuthMSCHAPv2}) && !w.bad[path+".auth"] {
		w.faultAt(path+".mppe", "mppe takes its keys from MS-CHAPv2", "write auth: [mschapv2]")
	}
}

func (w *walker) checkTemplate(p *policy.Policy, t *policy.Template, path string) {
	w.checkTemplatePools(p, t, path)
	w.checkEngine(t, path)
	for _, key := range []string{"ipv4_pool", "ipv4_local", "dns", "nbns", "masquerade"} {
		if !t.IPv4 && w.has(path+"."+key) {
			w.faultAt(path+"."+key, key+" has no meaning with ipv4: off", "remove the key, or write ipv4: on")
		}
	}
	if !t.IPv4 && !t.IPv6 && !w.bad[path+".ipv4"] && !w.bad[path+".ipv6"] && w.servesCallers(p, t) {
		w.faultAt(path, "neither IPv4 nor IPv6: nothing could be carried by its calls", "write ipv4: on, or ipv6: on")
	}
	if t.Rechallenge > 0 && !w.bad[path+".auth"] && !slices.Contains(t.Auth, ppp.AuthCHAPMD5) {
		w.faultAt(path+".rechallenge", "rechallenge needs chap in auth", "add chap to auth, or remove rechallenge")
	}
	if t.IPv6 && t.MTU > 0 && t.MTU < 1280 {
		w.faultAt(path+".mtu", fmt.Sprintf("mtu %d is too small for IPv6", t.MTU), "write 1280 or more, or ipv6: off")
	}
	if t.Echo == 0 && w.has(path+".lcp_echo.failures") {
		w.faultAt(path+".lcp_echo.failures", "lcp_echo: failures has no meaning with interval: never", "remove failures")
	}
	local := !slices.Contains(t.Sources, policy.SourceRADIUS) && !w.bad[path+".users"]
	users := len(p.Users) > 0 || w.keys["users"] != nil || p.LAC.Switch // whose callers an LNS may know
	if len(t.Auth) > 0 && !w.bad[path+".auth"] && local && !users && w.servesCallers(p, t) {
		w.warnAt(path+".auth", "callers must log in (auth), and there are no users", "add users, or write auth: none")
	}
	if t.Interface != "" && !w.bad[path+".interface"] {
		if what := badPattern(t.Interface); what != "" {
			w.faultAt(path+".interface", "interface "+quoteKey(t.Interface)+" "+what, `write a name with one %d, such as "l2tp%d"`)
		}
	}
}

// servesCallers says that sessions end here by t: those of an accept entry, or of subscribers who stay.
func (w *walker) servesCallers(p *policy.Policy, t *policy.Template) bool {
	arrives := slices.ContainsFunc(p.LAC.Access, func(a policy.Access) bool { return a.Template == t.Name })
	return slices.ContainsFunc(p.Accept, func(a policy.Accept) bool { return a.Template == t.Name }) ||
		slices.ContainsFunc(p.LAC.Rules, func(r policy.Rule) bool {
			return r.Action == policy.ActionLocal && (r.Template == t.Name || r.Template == "" && arrives)
		})
}

// checkPool checks that a pool has one kind of things to give.
func (w *walker) checkPool(pool *policy.Pool, at string) {
	if w.bad[at] || w.bad[at+".ranges"] || w.bad[at+".prefixes"] || w.bad[at+".prefix_length"] {
		return
	}
	switch {
	case len(pool.Ranges) > 0 && (len(pool.Prefixes) > 0 || pool.Length > 0):
		w.faultAt(at, "ranges stand beside prefixes", "make two pools, one for IPv4 addresses and one for IPv6 prefixes")
	case len(pool.Ranges) == 0 && len(pool.Prefixes) == 0:
		w.faultAt(at, "the pool is empty", "add ranges: [192.168.20.200-192.168.20.210], or prefixes and prefix_length")
	case len(pool.Prefixes) > 0 && pool.Length == 0:
		w.faultAt(at, "prefixes without prefix_length", "add prefix_length: 64 for links, or 56 for the networks behind routers")
	}
	for _, s := range pool.Subnets() {
		switch {
		case !s.Within.Addr().Is6():
			w.faultAt(at+".prefixes", fmt.Sprintf("%v is no IPv6 prefix", s.Within), "write IPv4 addresses as ranges")
		case pool.Length > 0 && !s.Valid():
			w.faultAt(at+".prefix_length", fmt.Sprintf("no prefix of length %d is within %v", pool.Length, s.Within), "write a longer prefix_length")
		}
	}
}

func (w *walker) checkPools(p *policy.Policy) {
	names := slices.Sorted(maps.Keys(p.Pools))
	slices.SortStableFunc(names, func(a, b string) int { return w.line("pools."+nameKey(a)) - w.line("pools."+nameKey(b)) })
	for i, name := range names {
		w.checkPool(p.Pools[name], "pools."+nameKey(name))
		for _, before := range names[:i] {
			for _, s := range p.Pools[name].Subnets() {
				if slices.ContainsFunc(p.Pools[before].Subnets(), s.Overlaps) {
					w.faultAt("pools."+nameKey(name)+".prefixes", fmt.Sprintf("pool %s: %v overlaps a prefix of pool %s (line %d)",
						name, s.Within, before, w.line("pools."+nameKey(before)+".prefixes")), "give every prefix to one pool only")
				}
			}
		}
		for _, r := range p.Pools[name].Ranges {
			for _, before := range names[:i] {
				for _, o := range p.Pools[before].Ranges {
					if r.Overlaps(o) {
						w.faultAt("pools."+nameKey(name)+".ranges", fmt.Sprintf("pool %s: %v overlaps %v of pool %s (line %d)",
							name, r, o, before, w.line("pools."+nameKey(before)+".ranges")), "give every address to one pool only")
					}
				}
			}
		}
	}
}

// checkUserPrefixes checks a user's own prefixes: of the right length, and nobody else's.
func (w *walker) checkUserPrefixes(u *policy.User, at string, p *policy.Policy, names []string) {
	if u.IPv6.IsValid() && (!u.IPv6.Addr().Is6() || u.IPv6.Bits() != 64) {
		w.faultAt(at+".ipv6_prefix", fmt.Sprintf("ipv6_prefix: %v is no IPv6 prefix of length 64", u.IPv6), "the prefix of a link has length 64")
	}
	if u.Behind.IsValid() && (!u.Behind.Addr().Is6() || u.Behind.Bits() > 64) {
		w.faultAt(at+".ipv6_delegated", fmt.Sprintf("ipv6_delegated: %v is no IPv6 prefix of length 64 or less", u.Behind), "write a prefix such as 2001:db8:9:100::/56")
	}
	if u.IPv6.IsValid() && u.Behind.IsValid() && u.IPv6.Overlaps(u.Behind) {
		w.faultAt(at+".ipv6_delegated", "ipv6_delegated overlaps ipv6_prefix", "give the link a prefix of its own")
	}
	for _, other := range names[:slices.Index(names, u.Name)] {
		o := p.Users[other]
		for key, own := range map[string]netip.Prefix{"ipv6_prefix": u.IPv6, "ipv6_delegated": u.Behind} {
			if own.IsValid() && (o.IPv6.IsValid() && own.Overlaps(o.IPv6) || o.Behind.IsValid() && own.Overlaps(o.Behind)) {
				w.faultAt(at+"."+key, fmt.Sprintf("%s: %v overlaps a prefix of user %q (line %d)", key, own, other, w.line("users."+nameKey(other))),
					"give every user prefixes of his own")
			}
		}
	}
}

func (w *walker) checkUsers(p *policy.Policy) {
	first := map[netip.Addr]string{}
	names := slices.Sorted(maps.Keys(p.Users))
	slices.SortStableFunc(names, func(a, b string) int { return w.line("users."+nameKey(a)) - w.line("users."+nameKey(b)) })
	for _, name := range names {
		u, at := p.Users[name], "users."+nameKey(name)+".ipv4"
		w.checkUserPrefixes(u, "users."+nameKey(name), p, names)
		if !u.IPv4.IsValid() {
			continue
		}
		if other, ok := first[u.IPv4]; ok {
			w.faultAt(at, fmt.Sprintf("ipv4: %v is the address of user %q as well (line %d)", u.IPv4, other, w.line("users."+nameKey(other)+".ipv4")),
				"give every user another address")
			continue
		}
		first[u.IPv4] = name
		for _, t := range p.Templates {
			if t.IPv4Local == u.IPv4 {
				w.faultAt(at, fmt.Sprintf("ipv4: %v is our own address in template %s", u.IPv4, t.Name), "give the user another address")
			}
		}
		for _, c := range p.Calls {
			if c.PPP.Peer == u.IPv4 || c.PPP.Local == u.IPv4 {
				w.faultAt(at, fmt.Sprintf("ipv4: %v is an address of call %s", u.IPv4, c.Name), "give the user another address")
			}
		}
	}
}
