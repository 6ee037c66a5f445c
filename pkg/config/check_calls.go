package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

func (w *walker) checkCalls(p *policy.Policy) {
	names := slices.Sorted(maps.Keys(p.Calls))
	slices.SortStableFunc(names, func(a, b string) int { return w.line("calls."+a) - w.line("calls."+b) })
	for _, name := range names {
		c, at := p.Calls[name], "calls."+nameKey(name)
		w.checkCallType(c, at)
		w.checkPassive(p, c, at)
		w.checkRole(p, c, at)
		w.checkPeer(p, c, at)
		w.checkDialling(c, at)
		w.checkLink(c, at+".ppp")
		w.checkTemplateName(p, c.PPP.Template, at+".ppp.template", true)
		w.checkTunnel(&c.Tunnel, at+".tunnel")
		w.checkPre13(c.PRE13, c.IgnoreWindow13, at)
	}
	w.checkCallers(p, names)
	w.checkInterfaces(p, names)
	w.checkMatches(p, names)
	w.checkRoutes(p, names)
}

// checkCallType checks what goes with virtual calls only, or with dialled lines only (S60, S65, S69-S71).
func (w *walker) checkCallType(c *policy.Call, at string) {
	if w.bad[at+".type"] {
		return
	}
	misplaced := func(key, advice string) {
		if w.values[at+"."+key] != nil {
			w.faultAt(at+"."+key, fmt.Sprintf("%s has no meaning with type %v", key, c.Type), advice)
		}
	}
	if c.Type == policy.CallVirtual {
		misplaced("dial", "remove it; the name of the call at the other box is remote")
		misplaced("speed", "remove it")
		misplaced("minimum_speed", "remove it")
	} else {
		misplaced("precedence", "remove it: only two virtual calls can cross")
		misplaced("match", "remove it: nobody calls us by a line's name")
		if c.Method == policy.MethodOCRQ && w.has(at+".method") && w.values[at+".method"].Value != policy.MethodOCRQ.String() {
			w.faultAt(at+".method", fmt.Sprintf("type %v is always an outgoing call on the wire", c.Type), "remove method")
		}
		if c.Dial == "" && c.Remote == "" && !w.bad[at+".dial"] && !w.bad[at+".remote"] {
			w.faultAt(at, fmt.Sprintf("type %v needs dial or remote: what shall the peer dial?", c.Type), `add dial: "NUMBER", or remote: NAME of the line at the peer`)
		}
	}
	switch {
	case c.Type != policy.CallISDN:
		misplaced("sub_address", "remove it: only isdn has sub-addresses")
	case c.SubAddress != "" && c.Dial != "" && c.Remote != "":
		w.faultAt(at+".sub_address", "dial, remote and sub_address: the request has room for two of them", "remove one; remote is only needed where the peer has several lines")
	}
	if c.MinimumSpeed > c.Speed {
		w.faultAt(at+".minimum_speed", fmt.Sprintf("minimum_speed (%d) is above speed (%d)", c.MinimumSpeed, c.Speed), "lower minimum_speed")
	}
}

// checkPassive checks calls whose peer is any (S61, S13, S19).
func (w *walker) checkPassive(p *policy.Policy, c *policy.Call, at string) {
	if !c.Passive {
		return
	}
	if c.Type != policy.CallVirtual && !w.bad[at+".type"] {
		w.faultAt(at+".peer", fmt.Sprintf("peer: any is for virtual calls only, this one is %v", c.Type), "write the address of the peer")
	}
	if c.AutoStart {
		w.faultAt(at+".autostart", "autostart with peer: any: there is no address to call", "remove autostart, or write the peer's address")
	}
	if c.OnDemand {
		w.faultAt(at+".on_demand", "on_demand with peer: any: there is no address to call", "remove on_demand, or write the peer's address")
	}
	if !w.bad["secret"] && !w.bad["secrets"] && !covered(p, policy.Range{}, "") {
		w.warnAt(at, fmt.Sprintf("call %s waits for any peer, and tunnels from anywhere are not authenticated", c.Name),
			"add an entry of secrets from any; secret: none says that this is meant, under IPsec for example")
	}
	for key, why := range map[string]string{
		"secret":        "we never connect, and the peer is authenticated by secrets",
		"local_address": "we never connect",
		"source_port":   "we never connect",
		"port":          "we never connect",
		"own_tunnel":    "we never connect",
		"method":        "we never call",
		"redial":        "we never call",
	} {
		if w.values[at+"."+key] != nil {
			w.warnAt(at+"."+key, fmt.Sprintf("%s has no meaning with peer: any: %s", key, why), "remove it")
		}
	}
}

// checkRole checks that the server's mode has the role that the call needs (S44).
func (w *walker) checkRole(p *policy.Policy, c *policy.Call, at string) {
	if w.bad["server.mode"] || w.bad[at+".method"] || w.bad[at+".type"] {
		return
	}
	mode := p.Server.Mode
	place := at + ".method"
	if w.values[place] == nil {
		place = at
	}
	switch {
	case mode == policy.ModeBoth:
	case mode == policy.ModeNone:
		w.faultAt(at, "server.mode is none, and there is a call", "write mode: both, or remove the call")
	case c.Passive:
	case c.Method == policy.MethodICRQ && mode != policy.ModeLAC:
		w.faultAt(place, "the call is made as a LAC (method icrq), and server.mode is lns", "write mode: both, or method: ocrq")
	case c.Type != policy.CallVirtual && mode != policy.ModeLNS:
		w.faultAt(at, fmt.Sprintf("a call of type %v is made as an LNS, and server.mode is lac", c.Type), "write mode: both")
	case c.Method == policy.MethodOCRQ && mode != policy.ModeLNS:
		w.faultAt(place, "the call is made as an LNS (method ocrq), and server.mode is lac", "write mode: both, or method: icrq")
	}
}

// checkPeer checks addresses against the sockets and the filter.
func (w *walker) checkPeer(p *policy.Policy, c *policy.Call, at string) {
	if c.Passive || w.bad[at+".peer"] {
		return
	}
	if c.Secret.Empty() && w.values[at+".secret"] == nil && !w.bad[at+".secret"] {
		w.warnAt(at, fmt.Sprintf("call %s has no secret: the tunnel is not authenticated", c.Name), "add secret; secret: none says that this is meant, under IPsec for example")
	}
	local := c.LocalAddr
	peer, err := netip.ParseAddr(c.Peer)
	named := err != nil
	switch {
	case !local.IsValid():
	case local == peer:
		w.faultAt(at+".peer", fmt.Sprintf("peer %v is our own address (local_address)", peer), "write the other box's address")
	case !named && local.Is4() != peer.Is4():
		w.faultAt(at+".local_address", fmt.Sprintf("local_address %v and peer %v are of two address families", local, peer), "write an address of ours of the peer's family")
	case c.EphemeralPort:
	default:
		w.checkLocalAddress(p, local, at, ", or write source_port: ephemeral")
	}
	if !named {
		w.checkRemote(p, "peer", peer, at+".peer")
	}
}

// checkLocalAddress checks that an address of ours that tunnels are made from is listened on.
func (w *walker) checkLocalAddress(p *policy.Policy, local netip.Addr, at, or string) {
	if !local.IsValid() || w.bad["server.listen"] || slices.ContainsFunc(p.Server.Listen, func(l netip.AddrPort) bool {
		return l.Addr() == local || l.Addr().IsUnspecified() && l.Addr().Is4() == local.Is4()
	}) {
		return
	}
	w.faultAt(at+".local_address", fmt.Sprintf("local_address %v is not listened on (server.listen)", local), "add it to server.listen"+or)
}

// checkRemote checks the address of another box, what, against the sockets and the filter.
func (w *walker) checkRemote(p *policy.Policy, what string, a netip.Addr, path string) {
	family := "IPv6"
	if a.Is4() {
		family = "IPv4"
	}
	if listen := p.Server.Listen; !w.bad["server.listen"] {
		switch {
		case !slices.ContainsFunc(listen, func(l netip.AddrPort) bool { return l.Addr().Is4() == a.Is4() }):
			w.faultAt(path, fmt.Sprintf("%s %v is %s, and server.listen has no %s address", what, a, family, family), `add "[::]:1701" or "0.0.0.0:1701" to server.listen`)
		case slices.ContainsFunc(listen, func(l netip.AddrPort) bool { return l.Addr() == a }):
			w.faultAt(path, fmt.Sprintf("%s %v is an address of this box (server.listen)", what, a), "write the other box's address")
		}
	}
	if !w.bad["server.allow_from"] && !p.Admit(a) {
		w.faultAt(path, fmt.Sprintf("server.allow_from drops everything from %s %v", what, a), "add the "+what+" to server.allow_from")
	}
}

// checkCallers warns of peers that must be given a secret, and may connect to us without one: a call lets its peer in (S46, S188).
// Each is named once. A call without a secret has its own warning.
func (w *walker) checkCallers(p *policy.Policy, names []string) {
	if in, out := p.Roles(); !in && !out || w.bad["server.mode"] || w.bad["secret"] || w.bad["secrets"] {
		return
	}
	named := map[string]bool{}
	for _, name := range names {
		c, at := p.Calls[name], "calls."+nameKey(name)
		peer := strings.ToLower(c.Peer)
		if c.Passive || c.Type != policy.CallVirtual || c.Secret.Empty() || named[peer] || w.bad[at+".peer"] || w.bad[at+".type"] {
			continue
		}
		named[peer] = true
		from, advice := policy.Range{}, "add an entry of secrets from any: the address behind a name may change; secret: none there says that this is meant"
		if a, err := netip.ParseAddr(c.Peer); err == nil {
			from, advice = policy.Range{From: a, To: a}, fmt.Sprintf("add secrets: [{from: %v, secret: ...}]; secret: none there says that this is meant", a)
		}
		if !covered(p, from, "") {
			w.warnAt(at+".peer", fmt.Sprintf("calls that come from peer %s are not authenticated", c.Peer), advice)
		}
	}
}

func (w *walker) checkDialling(c *policy.Call, at string) {
	if c.AutoStart && c.OnDemand {
		w.faultAt(at+".on_demand", "on_demand cannot stand beside autostart", "keep one of the two")
	}
	if c.OnDemand && len(c.PPP.Routes) == 0 && !w.bad[at+".ppp.routes"] {
		w.faultAt(at+".on_demand", "on_demand without routes: no packet would ever start the call", "add ppp: {routes: [network/bits]}")
	}
	if c.RedialMin > c.RedialMax {
		w.faultAt(at+".redial", fmt.Sprintf("redial: min (%s) is longer than max (%s)", short(int64(c.RedialMin)), short(int64(c.RedialMax))), "make min shorter, or max longer")
	}
}

// checkLink checks the PPP side of a call; at is the path of the ppp section.
func (w *walker) checkLink(c *policy.Call, at string) {
	l := &c.PPP
	if (l.User == "") != l.Password.Empty() && !w.bad[at+".user"] && !w.bad[at+".password"] {
		have, need := "user", "password"
		if l.User == "" {
			have, need = need, have
		}
		w.faultAt(at+"."+have, have+" without "+need, "add "+need)
	}
	if w.bad[at+".ipv4"] {
		return
	}
	if l.Peer.IsValid() {
		switch {
		case l.IPv4 != ppp.IPv4Own:
			w.faultAt(at+".peer_ipv4", "peer_ipv4 needs an address of ours in ipv4", "write ipv4: ADDRESS, or remove peer_ipv4")
		case l.Peer == l.Local:
			w.faultAt(at+".peer_ipv4", "peer_ipv4 is our own address", "write the address of the other end")
		}
	}
	if l.IPv4 == ppp.IPv4Off && !l.IPv6 && !w.bad[at+".ipv6"] {
		w.faultAt(at, "neither IPv4 nor IPv6: nothing could be carried", "write ipv4: unnumbered, or ipv6: on")
	}
	if l.IPv4 == ppp.IPv4Off && l.Masquerade {
		w.faultAt(at+".masquerade", "masquerade has no meaning with ipv4: off", "remove it")
	}
	for _, r := range l.Routes {
		switch {
		case r.Addr().Is4() && l.IPv4 == ppp.IPv4Off:
			w.faultAt(at+".routes", fmt.Sprintf("route %v needs IPv4, and ipv4 is off", r), "remove the route, or write ipv4: unnumbered")
		case !r.Addr().Is4() && !l.IPv6:
			w.faultAt(at+".routes", fmt.Sprintf("route %v needs IPv6, and ipv6 is off", r), "remove the route, or write ipv6: on")
		}
	}
}

// checkInterfaces checks interface names: valid, and of one call only (S8, S27). A call on demand has one for its waiting device, too
// (S157).
func (w *walker) checkInterfaces(p *policy.Policy, names []string) {
	first, waits := map[string]string{}, map[string]string{}
	for _, name := range names {
		if c := p.Calls[name]; c.OnDemand {
			waits[c.WaitingInterface()] = name
		}
	}
	for _, name := range names {
		c, at := p.Calls[name], "calls."+nameKey(name)
		path := at
		if w.values[at+".ppp.interface"] != nil {
			path = at + ".ppp.interface"
		}
		iface := c.PPP.Interface
		switch what := badInterface(iface); {
		case w.bad[path] && path != at:
			continue
		case what != "":
			w.faultAt(path, fmt.Sprintf("interface name %s %s", quoteKey(iface), what), "choose another name: ppp: {interface: NAME}")
			continue
		case first[iface] != "":
			w.faultAt(path, fmt.Sprintf("interface %s is that of call %s as well (line %d)", iface, p.Calls[first[iface]].Name, w.line("calls."+nameKey(first[iface]))),
				"choose another name: ppp: {interface: NAME}")
			continue
		}
		if other := waits[iface]; other != "" {
			w.faultAt(path, fmt.Sprintf("on interface %s waits call %s for its first packet (line %d)", iface, p.Calls[other].Name, w.line("calls."+nameKey(other))),
				"choose another name: ppp: {interface: NAME}")
			continue
		}
		first[iface] = name
		for _, t := range p.Templates {
			if before, after, ok := strings.Cut(t.Interface, "%d"); ok && fitsPattern(iface, before, after) {
				w.faultAt(path, fmt.Sprintf("interface %s could be made by template %s (%s)", iface, t.Name, t.Interface), "choose another name: ppp: {interface: NAME}")
			}
		}
	}
}

func fitsPattern(name, before, after string) bool {
	if !strings.HasPrefix(name, before) || !strings.HasSuffix(name, after) || len(name) <= len(before)+len(after) {
		return false
	}
	return strings.Trim(name[len(before):len(name)-len(after)], "0123456789") == ""
}

// longestInterface is the kernel's IFNAMSIZ without the closing zero.
const longestInterface = 15

// badInterface says what is wrong with an interface name, as the kernel and our own use of names see it.
func badInterface(name string) string {
	switch {
	case len(name) > longestInterface:
		return "is longer than 15 octets"
	case name == "." || name == ".." || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 127 || strings.ContainsRune("/:%\"'\\", r) }):
		return "has characters that the kernel refuses"
	case name == "lo" || name == "all" || name == "default":
		return "has another meaning in the kernel"
	case fitsPattern(name, "ppp", ""):
		return "is one that the kernel gives to other PPP links"
	}
	return ""
}

// badPattern is badInterface for names with a number.
func badPattern(pattern string) string {
	const digits = 5
	before, after, ok := strings.Cut(pattern, "%d")
	switch {
	case !ok || strings.Contains(after, "%"):
		return "does not have exactly one %d"
	case len(before)+len(after)+digits > longestInterface:
		return "is too long: with five digits it exceeds 15 octets"
	case after == "" && before == "ppp":
		return "is the kernel's own: leave the key out to have it"
	}
	return badInterface(before + "0" + after + "x")
}

// checkMatches checks that an incoming call can select one call only (S64).
func (w *walker) checkMatches(p *policy.Policy, names []string) {
	type key struct {
		match, peer string
	}
	first := map[key]string{}
	for _, name := range names {
		c, at := p.Calls[name], "calls."+nameKey(name)
		if c.Type != policy.CallVirtual || w.bad[at+".peer"] {
			continue
		}
		k := key{strings.ToLower(c.MatchName()), strings.ToLower(c.Peer)}
		other, taken := first[k]
		if !taken {
			first[k] = name
			continue
		}
		path := at
		if w.values[at+".match"] != nil {
			path += ".match"
		}
		w.faultAt(path, fmt.Sprintf("calls of this peer to %q are those of call %s as well (line %d)", c.MatchName(), p.Calls[other].Name, w.line("calls."+nameKey(other))),
			"give the two calls different match names")
	}
}

// checkRoutes warns of networks that two calls lead to alike.
func (w *walker) checkRoutes(p *policy.Policy, names []string) {
	type key struct {
		prefix netip.Prefix
		metric int
	}
	first := map[key]string{}
	for _, name := range names {
		c := p.Calls[name]
		for _, r := range c.PPP.Routes {
			k := key{r, c.PPP.Metric}
			if other, taken := first[k]; taken {
				w.warnAt("calls."+nameKey(name)+".ppp.routes", fmt.Sprintf("call %s leads to %v with the same metric", p.Calls[other].Name, r),
					"give one of the two calls a higher ppp: {metric: NUMBER}")
				continue
			}
			first[k] = name
		}
	}
}
