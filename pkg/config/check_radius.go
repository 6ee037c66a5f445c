package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

func (w *walker) checkRADIUS(p *policy.Policy) {
	w.checkRADIUSUse(p)
	w.checkRADIUSServers(&p.RADIUS)
	w.checkCoA(p)
}

// asked says where the configuration asks RADIUS servers about logins.
func (w *walker) asked(p *policy.Policy) (paths []string) {
	for _, name := range slices.Sorted(maps.Keys(p.Templates)) {
		if at := "ppp.templates." + nameKey(name) + ".users"; slices.Contains(p.Templates[name].Sources, policy.SourceRADIUS) {
			paths = append(paths, at)
		}
	}
	for i := range p.LAC.Rules {
		if at := w.items["lac.rules"][i] + ".action"; p.LAC.Rules[i].Action == policy.ActionRADIUS && w.has(at) {
			paths = append(paths, at)
		}
	}
	return paths
}

// checkRADIUSUse checks that who asks finds a server, and that a server has something to do (S96, S155, S180).
func (w *walker) checkRADIUSUse(p *policy.Policy) {
	asked := w.asked(p)
	if w.anyBad("radius.servers") {
		return
	}
	answers := slices.ContainsFunc(p.RADIUS.Servers, func(s policy.RADIUSServer) bool { return !s.NoLogins })
	for _, at := range asked {
		switch {
		case len(p.RADIUS.Servers) == 0:
			w.faultAt(at, "there is no RADIUS server to ask", "add radius: {servers: [{address: 192.0.2.9, secret: ...}]}")
		case !answers:
			w.faultAt(at, "no RADIUS server is asked about logins: all have logins: off", "write logins: on for one of radius.servers")
		}
	}
	for i, s := range p.RADIUS.Servers {
		at := w.items["radius.servers"][i]
		switch {
		case s.NoLogins && s.NoAccounting:
			w.faultAt(at, "neither logins nor accounting: the server would be asked nothing", "write logins: on or accounting: on, or remove the server")
		case len(asked) == 0 && s.NoAccounting:
			w.warnAt(at, "nobody asks this server: no template has users: [radius], no rule action: radius", "add radius to users of a template, or remove the server")
		}
	}
}

func (w *walker) checkRADIUSServers(r *policy.RADIUS) {
	type key struct {
		address string
		port    uint16
	}
	logins, accounts := map[key]string{}, map[key]string{}
	for i, s := range r.Servers {
		at := w.items["radius.servers"][i]
		place := at + ".address"
		if !w.has(place) {
			continue
		}
		twice := func(first map[key]string, off bool, port uint16, portKey, what string) bool {
			if off || w.bad[at+"."+portKey] {
				return false
			}
			k := key{strings.ToLower(s.Address), port}
			other, taken := first[k]
			if !taken {
				first[k] = place
				return false
			}
			w.faultAt(place, fmt.Sprintf("server %s has port %d for %s in line %d as well", s.Address, port, what, w.line(other)), "keep one of the two, or give them different ports")
			return true
		}
		if !twice(logins, s.NoLogins, s.Port, "port", "logins") {
			twice(accounts, s.NoAccounting, s.AccountingPort, "accounting_port", "accounting")
		}
		if s.Port == s.AccountingPort && !s.NoLogins && !s.NoAccounting && !w.bad[at+".port"] && !w.bad[at+".accounting_port"] {
			w.faultAt(place, fmt.Sprintf("port and accounting_port are both %d", s.Port), "write two ports: servers know requests by them")
		}
		if a, err := netip.ParseAddr(s.Address); err == nil && s.Source.IsValid() && s.Source.Is4() != a.Is4() {
			w.faultAt(at+".source", fmt.Sprintf("source %v and server %v are of two address families", s.Source, a), "write an address of ours of the server's family")
		}
	}
	if r.Spool == "" && w.has("radius.spool") && w.has("radius.spool_size") {
		w.faultAt("radius.spool_size", `spool_size has no meaning with spool: ""`, "remove it, or name a folder")
	}
}

// checkCoA checks that orders are taken, and from somebody (P243).
func (w *walker) checkCoA(p *policy.Policy) {
	r := &p.RADIUS
	w.sameSource("radius.coa.clients", len(r.CoA), func(i int) (policy.Range, string) { return r.CoA[i].From, "" })
	if w.anyBad("radius.coa") {
		return
	}
	switch {
	case len(r.CoAListen) > 0 && len(r.CoA) == 0:
		w.faultAt("radius.coa.listen", "there are no clients: every request would be dropped", "add clients: [{from: 192.0.2.9, secret: ...}]")
	case len(r.CoAListen) == 0 && len(r.CoA) > 0:
		w.faultAt("radius.coa.clients", "there is no address to listen on: no request would be heard", `add listen: ["0.0.0.0:3799"]`)
	}
	w.checkListen("radius.coa.listen", r.CoAListen)
	for _, a := range r.CoAListen {
		for _, b := range p.Server.Listen {
			if a.Port() == b.Port() && a.Addr().Is4() == b.Addr().Is4() && (a.Addr() == b.Addr() || a.Addr().IsUnspecified() || b.Addr().IsUnspecified()) {
				w.faultAt("radius.coa.listen", fmt.Sprintf("listen: %v is a socket of L2TP (server.listen)", a), "write another port, such as 3799")
			}
		}
	}
}
