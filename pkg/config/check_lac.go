package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

func (w *walker) checkLAC(p *policy.Policy) {
	w.checkLACRole(p)
	w.checkAccess(p)
	first := map[string]string{}
	for i := range p.LAC.Rules {
		r, at := &p.LAC.Rules[i], w.items["lac.rules"][i]
		if !w.bad[at+".match"] && !w.bad[at] {
			if other, taken := first[matchText(r)]; taken {
				w.faultAt(at+".match", fmt.Sprintf("the rule in line %d is for the same users (%s)", w.line(other+".match"), matchText(r)), "keep one of the two")
			} else {
				first[matchText(r)] = at
			}
		}
		w.checkTunnel(&r.Tunnel, at+".tunnel")
		w.checkPre13(r.PRE13, r.IgnoreWindow13, at)
		if w.bad[at+".action"] {
			continue
		}
		w.checkAction(r, at)
		w.checkRuleKeys(r, at)
		w.checkLNSs(p, r, at)
		w.checkRuleSecret(r, at)
		w.checkLocalAddress(p, r.LocalAddr, at, ", or remove it")
		w.checkRuleTemplate(p, r, at)
	}
	w.checkLogins(p)
}

// checkLACRole checks that somebody arrives, that there is something to do with him, and that the server's mode lets it be done (S44).
func (w *walker) checkLACRole(p *policy.Policy) {
	l := &p.LAC
	if slices.ContainsFunc(l.Access, arrives) && len(l.Rules) == 0 && !w.anyBad("lac.rules") {
		w.faultAt("lac.access", "there are no rules: whoever arrives is turned away", "add rules: [{match: all, action: tunnel, lns: [{address: 192.0.2.1}], secret: ...}]")
	}
	if len(l.Rules) > 0 && !slices.ContainsFunc(l.Access, arrives) && !l.Switch && !w.anyBad("lac.access") {
		w.warnAt("lac.rules", "nobody arrives for whom these rules are", "add access: [{pppoe: {interface: eth1, template: NAME}}], or switch: on for calls that come in by L2TP")
	}
	if w.bad["server.mode"] {
		return
	}
	switch p.Server.Mode {
	case policy.ModeNone:
		for _, key := range []string{"lac.access", "lac.rules"} {
			if len(w.items[key]) > 0 {
				w.faultAt(key, "server.mode is none: no subscriber is served", "write mode: lac or both, or remove "+key)
				return
			}
		}
	case policy.ModeLNS:
		for i := range l.Access {
			if at := w.items["lac.access"][i] + ".tty.dial_out"; l.Access[i].TTY != nil && l.Access[i].TTY.DialOut {
				w.warnAt(at, "server.mode is lns: outgoing calls (OCRQ) are refused", "write mode: lac or both")
			}
		}
		for i := range l.Rules {
			if at := w.items["lac.rules"][i] + ".action"; l.Rules[i].Action.Tunnels() && w.has(at) {
				w.warnAt(at, "server.mode is lns: no subscriber is tunnelled", "write mode: lac or both")
				return
			}
		}
	case policy.ModeLAC, policy.ModeBoth:
	}
}

// arrives says that subscribers come in by an access: not where an LNS has numbers dialled and nothing else.
func arrives(a policy.Access) bool { return a.TTY == nil || a.TTY.DialIn }

// anyBad says that something at path, or below it, is wrong.
func (w *walker) anyBad(path string) bool {
	for at, bad := range w.bad {
		if below, ok := strings.CutPrefix(at, path); ok && bad && (below == "" || strings.HasPrefix(below, ".") || strings.HasPrefix(below, "[")) {
			return true
		}
	}
	return false
}

// checkAccess checks where subscribers arrive (S158, S159).
func (w *walker) checkAccess(p *policy.Policy) {
	first := map[string]string{}
	for i := range p.LAC.Access {
		a, at := &p.LAC.Access[i], w.items["lac.access"][i]
		kind, key := "pppoe", "interface"
		switch {
		case a.PPPoE != nil && a.TTY != nil:
			w.faultAt(at+".tty", "tty stands beside pppoe", "make two items of it, each with its dash")
			continue
		case a.TTY != nil:
			kind, key = "tty", "device"
			w.checkLine(a.TTY, at+".tty")
		case a.PPPoE == nil:
			if !w.anyBad(at) {
				w.faultAt(at, "neither pppoe nor tty", "write pppoe: {interface: eth1, template: NAME}, or tty: {device: /dev/ttyS0, template: NAME}")
			}
			continue
		}
		at += "." + kind
		if place := at + "." + key; w.has(place) {
			other, taken := first[a.Name]
			switch what := badInterface(a.Name); {
			case taken:
				w.faultAt(place, fmt.Sprintf("%s %s is here twice: first in line %d", key, a.Name, w.line(other)), "keep one of the two")
			case a.PPPoE != nil && what != "":
				w.faultAt(place, fmt.Sprintf("interface name %s %s", quoteKey(a.Name), what), "write the name of an Ethernet interface or VLAN, as ip link shows it")
			default:
				first[a.Name] = place
			}
		}
		w.checkAccessTemplate(p, a, at+".template")
	}
}

// checkLine checks that a line is used, and that its scripts are (S159).
func (w *walker) checkLine(t *policy.TTY, at string) {
	if !t.DialIn && !t.DialOut && !w.bad[at+".dial_in"] && !w.bad[at+".dial_out"] {
		w.faultAt(at+".dial_in", "neither dial_in nor dial_out: nothing would use the line", "write dial_in: on or dial_out: on, or remove the item")
		return
	}
	if !t.DialIn && w.has(at+".answer") {
		w.faultAt(at+".answer", "answer has no meaning with dial_in: off", "remove it")
	}
	if !t.DialOut && w.has(at+".dial") {
		w.faultAt(at+".dial", "dial has no meaning with dial_out: off", "remove it, or write dial_out: on")
	}
	switch from := w.has(at + ".dial_out_from"); {
	case t.DialOut && !from:
		w.faultAt(at+".dial_out", "nobody may have calls placed here", "write dial_out_from: [ADDRESS] with the LNSs that may")
	case !t.DialOut && from:
		w.faultAt(at+".dial_out_from", "dial_out_from has no meaning with dial_out: off", "remove it, or write dial_out: on")
	}
	if t.DialOut && len(t.Dial) > 0 && !slices.ContainsFunc(t.Dial, func(s string) bool { return strings.Contains(s, `\T`) }) {
		w.warnAt(at+".dial", `dial has no \T: it would dial the same number whatever an LNS asks for`, `write \T where the number stands: 'ATDT\T'`)
	}
}

// checkAccessTemplate checks the template by which PPP begins: its frames are seen here until it is known where they go.
func (w *walker) checkAccessTemplate(p *policy.Policy, a *policy.Access, path string) {
	w.checkTemplateName(p, a.Template, path, false)
	t := p.Templates[a.Template]
	if t == nil || !w.has(path) {
		return
	}
	if t.Engine == policy.EnginePppd {
		w.faultAt(path, fmt.Sprintf("template %s has engine: pppd, and PPP begins here before it is known who goes where", t.Name), "name a template with engine: l2tpd")
	}
	stays := slices.ContainsFunc(p.LAC.Rules, func(r policy.Rule) bool {
		return r.Action == policy.ActionLocal && (r.Template == "" || r.Template == t.Name)
	})
	if t.MPPE != ppp.MPPEOff && !stays {
		w.warnAt(path, fmt.Sprintf("template %s has mppe, and nobody stays here by it: who is tunnelled agrees on encryption with the LNS", t.Name),
			"write mppe: off, or a rule with action: local")
	}
}

// checkAction checks that an action has what it needs, and that it can be done with the rule's users (S95-S98).
func (w *walker) checkAction(r *policy.Rule, at string) {
	domain := r.Action == policy.ActionRADIUS && r.RADIUSUser == policy.RADIUSDomain && !w.bad[at+".radius_user"]
	if r.Action == policy.ActionTunnel && len(r.LNS) == 0 && !w.anyBad(at+".lns") {
		w.faultAt(at, "action: tunnel needs lns: where to?", "add lns: [{address: 192.0.2.1}]")
	}
	if domain && r.RADIUSPassword.Empty() && !w.bad[at+".radius_password"] {
		w.faultAt(at+".radius_user", "radius_user: domain needs radius_password", "add the password that realms have in the RADIUS server")
	}
	if r.Action == policy.ActionRADIUS && r.RADIUSUser == policy.RADIUSFull && w.has(at+".radius_password") && !w.bad[at+".radius_user"] {
		w.faultAt(at+".radius_password", "radius_password has no meaning with radius_user: full: the user's own login is checked", "remove it, or write radius_user: domain")
	}
	if w.bad[at+".match"] {
		return
	}
	asks := "action: dns"
	if domain {
		asks = "radius_user: domain"
	}
	switch {
	case r.Match == policy.MatchUnauthenticated && r.Action == policy.ActionRADIUS && !domain:
		w.faultAt(at+".action", "action: radius with match: unauthenticated: there is no user whom a server could be asked about", "write action: tunnel, local or reject")
	case !domain && r.Action != policy.ActionDNS:
	case r.Match == policy.MatchLocal || r.Match == policy.MatchUnauthenticated:
		w.faultAt(at+".action", fmt.Sprintf("%s with match: %v: there is no realm to ask about", asks, r.Match), "write match: any-realm or {realm: NAME}, or another action")
	case r.Match == policy.MatchAll && !slices.ContainsFunc(w.c.Policy.LAC.Rules, func(o policy.Rule) bool { return o.Match == policy.MatchLocal }):
		w.warnAt(at+".action", asks+" with match: all: users without a realm are turned away", "write match: any-realm, and a rule with match: local")
	case r.Match == policy.MatchRealm && r.Action == policy.ActionDNS && !hostName(r.Realm):
		w.faultAt(at+".match", "action: dns: realm "+quoteKey(r.Realm)+" is no name that DNS could have", "write another action")
	}
}

// checkRuleKeys checks that every key of a rule has a meaning with its action (S98, S99, S103) and its users.
func (w *walker) checkRuleKeys(r *policy.Rule, at string) {
	only := func(fits bool, advice string, keys ...string) {
		for _, key := range keys {
			if place := at + "." + key; !fits && w.values[place] != nil {
				w.faultAt(place, fmt.Sprintf("%s has no meaning with action: %v", key, r.Action), advice)
			}
		}
	}
	only(r.Action == policy.ActionTunnel, "remove it, or write action: tunnel", "lns")
	only(r.Action == policy.ActionDNS, "remove it, or write action: dns", "prefix")
	only(r.Action == policy.ActionLocal, "remove it, or write action: local", "template")
	only(r.Action == policy.ActionRADIUS, "remove it, or write action: radius", "radius_user", "radius_password")
	only(r.Action != policy.ActionReject, "remove it", "strip_realm")
	only(r.Action.Tunnels(), "remove it", "balance", "secret", "proxy_auth", "sequencing", "compat", "pre13_flow", "assignment_id", "tunnel_sessions",
		"withhold_calling_number", "hide_avps", "host_name", "local_address", "tunnel")
	if w.bad[at+".match"] {
		return
	}
	if r.StripRealm && (r.Match == policy.MatchLocal || r.Match == policy.MatchUnauthenticated) && r.Action != policy.ActionReject {
		w.faultAt(at+".strip_realm", fmt.Sprintf("strip_realm has no meaning with match: %v: there is no realm", r.Match), "remove it")
	}
	if r.NoProxyAuth && r.Match == policy.MatchUnauthenticated && r.Action.Tunnels() {
		w.faultAt(at+".proxy_auth", "proxy_auth has no meaning with match: unauthenticated: no login is taken here", "remove it")
	}
}

// checkLNSs checks the rows of a rule against each other and against the sockets (S98, S99).
func (w *walker) checkLNSs(p *policy.Policy, r *policy.Rule, at string) {
	if r.Action != policy.ActionTunnel {
		return
	}
	first := map[string]string{}
	for i, n := range r.LNS {
		row := w.items[at+".lns"][i]
		place := row + ".address"
		if w.bad[place] || n.Address == "" {
			continue
		}
		if other, taken := first[lnsKey(n)]; taken && !w.bad[row+".port"] {
			w.faultAt(place, fmt.Sprintf("lns: %s is here twice: first in line %d", lnsKey(n), w.line(other)), "keep one of the two")
			continue
		}
		first[lnsKey(n)] = place
		a, err := netip.ParseAddr(n.Address)
		if err != nil {
			continue
		}
		if l := r.LocalAddr; l.IsValid() && l.Is4() != a.Is4() {
			w.faultAt(place, fmt.Sprintf("LNS %v and local_address %v are of two address families", a, l), "write an address of ours of the LNS's family")
			continue
		}
		w.checkRemote(p, "LNS", a, place)
	}
}

// lnsKey names an LNS within its rule.
func lnsKey(n policy.LNS) string {
	key := strings.ToLower(n.Address)
	if port := cmp.Or(n.Port, policy.DefaultPort); port != policy.DefaultPort {
		key += fmt.Sprintf(" port %d", port)
	}
	return key
}

// checkRuleSecret checks that there is a secret where one is needed, and warns where none is said (S101). A RADIUS server may name one.
func (w *walker) checkRuleSecret(r *policy.Rule, at string) {
	if !r.Secret.Empty() || w.bad[at+".secret"] || r.Action != policy.ActionTunnel && r.Action != policy.ActionDNS {
		return
	}
	const advice = "add secret, or write hide_avps: off"
	if r.HideAVPs && (r.Action == policy.ActionDNS || slices.ContainsFunc(r.LNS, func(n policy.LNS) bool { return n.Secret.Empty() })) && !w.anyBad(at+".lns") {
		w.faultAt(at+".hide_avps", "hide_avps needs a secret: what is hidden is hidden by it", advice)
		return
	}
	bare := r.Action == policy.ActionDNS
	for i, n := range r.LNS {
		row := w.items[at+".lns"][i]
		if !n.Secret.Empty() || w.bad[row+".secret"] {
			continue
		}
		bare = true
		if n.HideAVPs {
			w.faultAt(row+".hide_avps", "hide_avps needs a secret: what is hidden is hidden by it", advice)
		}
	}
	if bare && w.values[at+".secret"] == nil {
		w.warnAt(at, "the rule has no secret: its tunnels are not authenticated", "add secret; secret: none says that this is meant, under IPsec for example")
	}
}

// checkRuleTemplate checks the template of sessions that stay here (S97).
func (w *walker) checkRuleTemplate(p *policy.Policy, r *policy.Rule, at string) {
	if r.Action != policy.ActionLocal || r.Template == "" {
		return
	}
	w.checkTemplateName(p, r.Template, at+".template", false)
	if t := p.Templates[r.Template]; t != nil && t.Engine == policy.EnginePppd && w.has(at+".template") {
		w.faultAt(at+".template", fmt.Sprintf("template %s has engine: pppd, which cannot go on with a link that has begun here", t.Name), "name a template with engine: l2tpd")
	}
}

// checkLogins warns of rules for whom nobody comes, and of subscribers for whom there is no rule, as far as logins decide it (S92).
func (w *walker) checkLogins(p *policy.Policy) {
	if w.anyBad("lac") || w.anyBad("ppp") || len(p.LAC.Rules) == 0 {
		return
	}
	bare := slices.IndexFunc(p.LAC.Rules, func(r policy.Rule) bool { return r.Match == policy.MatchUnauthenticated })
	others := slices.ContainsFunc(p.LAC.Rules, func(r policy.Rule) bool { return r.Match != policy.MatchUnauthenticated })
	unasked := false
	for i := range p.LAC.Access {
		a := &p.LAC.Access[i]
		t, at := p.Templates[a.Template], w.items["lac.access"][i]+".pppoe.template"
		if a.TTY != nil {
			at = w.items["lac.access"][i] + ".tty.template"
		}
		switch {
		case t == nil:
			return
		case !arrives(*a):
		case len(t.Auth) == 0:
			unasked = true
			if bare < 0 {
				w.warnAt(at, fmt.Sprintf("template %s has auth: none, and no rule is for those who do not log in: they are turned away", t.Name),
					"add a rule with match: unauthenticated, or auth to the template")
			}
		case !others:
			w.warnAt(at, fmt.Sprintf("template %s has users log in, and all rules are for those who do not: they are turned away", t.Name),
				"add a rule with match: all, or write auth: none in the template")
		}
	}
	if bare >= 0 && !unasked && slices.ContainsFunc(p.LAC.Access, arrives) && !p.LAC.Switch {
		w.warnAt(w.items["lac.rules"][bare]+".match", "match: unauthenticated: no template of lac.access has auth: none, so nobody comes without a login",
			"write auth: none in a template of lac.access, or remove the rule")
	}
}

// nameAccess gives every access the name by which it is shown.
func nameAccess(l *policy.LAC) {
	for i := range l.Access {
		switch a := &l.Access[i]; {
		case a.PPPoE != nil:
			a.Name = a.PPPoE.Interface
		case a.TTY != nil:
			a.Name = filepath.Clean(a.TTY.Device)
		}
	}
}
