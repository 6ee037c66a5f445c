package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// callerBox dials, and has no subscribers.
const callerBox = "5.5.5.5"

// chaosUsers are those who log in, with a realm and without one.
var chaosUsers = []string{"RouterA@corp.example", "bob@corp.example", "carol@else.example", "dave", "RouterA"}

// pick is one of several.
func pick[T any](c *chaos, of ...T) T { return of[c.dice.IntN(len(of))] }

// methods are logins that are demanded.
func (c *chaos) methods() []ppp.AuthMethod {
	return pick(c, []ppp.AuthMethod{ppp.AuthCHAPMD5, ppp.AuthPAP}, []ppp.AuthMethod{ppp.AuthPAP}, []ppp.AuthMethod{ppp.AuthCHAPMD5},
		[]ppp.AuthMethod{ppp.AuthMSCHAPv2}, []ppp.AuthMethod{ppp.AuthMSCHAPv2, ppp.AuthMSCHAPv1, ppp.AuthPAP}, nil)
}

// template changes what holds for users in every way that the configuration allows.
func (c *chaos) template(t *policy.Template) {
	t.Auth = c.methods()
	t.Sources = pick(c, nil, []policy.Source{policy.SourceRADIUS}, []policy.Source{policy.SourceLocal, policy.SourceRADIUS})
	t.Duplicate = policy.Duplicate(c.dice.IntN(3))
	t.IPv4Local, t.IPv4Pool = netip.MustParseAddr("192.168.20.1"), pick(c, "ips", "ips", "more", "")
	if t.IPv6 = pick(c, true, false); t.IPv6 {
		t.IPv6Pool, t.DelegatedPool = pick(c, "links", ""), pick(c, "sites", "")
	}
	t.Echo, t.IdleTimeout, t.SessionTimeout = pick(c, 0, 5*time.Second, 10*time.Second), pick(c, 0, 0, 20*time.Second), pick(c, 0, 0, 30*time.Second)
	if slices.Contains(t.Auth, ppp.AuthCHAPMD5) || slices.Contains(t.Auth, ppp.AuthMSCHAPv2) {
		t.Rechallenge = pick(c, 0, 5*time.Second)
	}
	if t.Interface = pick(c, "", "in%d"); t.Interface != "" {
		t.Ready = pick(c, 0, 2)
	}
	t.MPPE = pick(c, ppp.MPPEOff, ppp.MPPEOff, ppp.MPPEAllow)
	if len(t.Auth) == 1 && t.Auth[0] == ppp.AuthMSCHAPv2 {
		t.MPPE = pick(c, ppp.MPPEOff, ppp.MPPEAllow, ppp.MPPERequire)
	}
	t.MSSClamp, t.Masquerade = pick(c, true, false), pick(c, true, false)
}

// outside may have a pppd run a template's sessions.
func (c *chaos) outside(t *policy.Template) {
	if pick(c, true, false, false, false) {
		t.Engine, t.Sources, t.Ready, t.MPPE = policy.EnginePppd, nil, 0, ppp.MPPEOff
		t.Auth = pick(c, []ppp.AuthMethod{ppp.AuthCHAPMD5}, []ppp.AuthMethod{ppp.AuthPAP, ppp.AuthMSCHAPv2}, nil)
	}
}

// users are who is known, with what is theirs, and the pools for the others.
func (c *chaos) users(p *policy.Policy) {
	p.Users = map[string]*policy.User{}
	for i, name := range chaosUsers {
		if pick(c, true, false, false, false, false) {
			continue
		}
		u := &policy.User{Name: name, Password: policy.NewSecret([]byte("PasswordA")), Sessions: pick(c, 0, 0, 1, 2)}
		if pick(c, true, false) {
			u.IPv4 = netip.AddrFrom4([4]byte{192, 168, pick[byte](c, 20, 30), byte(200 + i)})
		}
		if pick(c, true, false) {
			u.IPv6 = chaosPrefix(byte(i), 64)
		}
		if pick(c, true, false) {
			u.Behind = chaosPrefix(byte(16+i), 56)
		}
		if pick(c, true, false) {
			u.Routes = networks(fmt.Sprintf("10.%d.0.0/16", i))
		}
		p.Users[name] = u
	}
	last := netip.AddrFrom4([4]byte{192, 168, 20, pick[byte](c, 201, 204, 240)})
	p.Pools = map[string]*policy.Pool{
		"ips":   {Name: "ips", Ranges: []policy.Range{{From: netip.MustParseAddr("192.168.20.200"), To: last}}},
		"more":  {Name: "more", Ranges: []policy.Range{{From: netip.MustParseAddr("192.168.21.1"), To: netip.MustParseAddr("192.168.21.3")}}},
		"links": {Name: "links", Prefixes: networks(pick(c, "2001:db8:1::/62", "2001:db8:1::/60")), Length: 64},
		"sites": {Name: "sites", Prefixes: networks("2001:db8:2::/53"), Length: 56},
	}
	if pick(c, true, false, false) {
		delete(p.Pools, pick(c, "ips", "more", "links", "sites")) // as are pools that only a RADIUS server names
		for _, t := range p.Templates {
			for _, name := range []*string{&t.IPv4Pool, &t.IPv6Pool, &t.DelegatedPool} {
				if p.Pools[*name] == nil {
					*name = ""
				}
			}
		}
	}
	p.RADIUS.Servers = []policy.RADIUSServer{{Address: "192.0.2.9"}}
	p.RADIUS.Interim = pick(c, 0, 7*time.Second)
}

// chaosPrefix is a prefix of someone's own.
func chaosPrefix(i byte, bits int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 0, 9, i}), bits).Masked()
}

// accepting changes how callers are let in.
func (c *chaos) accepting(p *policy.Policy) {
	a := &p.Accept[0]
	a.ProxyLCP, a.ProxyAuth = ppp.ProxyLCP(c.dice.IntN(3)), ppp.ProxyAuth(c.dice.IntN(3))
	a.Sequencing = policy.Sequencing(c.dice.IntN(3))
	a.MaxSessions, a.MaxTunnels, a.MaxHalfOpen = pick(c, 0, 0, 2, 5), pick(c, 0, 0, 2), pick(c, 0, 0, 1)
	p.Server.Tunnel.IdleTimeout = pick(c, 0, time.Second, -1)
	p.Server.Tunnel.Hello = pick(c, 5*time.Second, time.Minute)
	p.Server.HideAVPs = pick(c, true, false)
	p.Server.Mode = pick(c, policy.ModeBoth, policy.ModeBoth, policy.ModeBoth, policy.ModeLNS, policy.ModeLAC)
	p.Server.MaxTunnels, p.Server.MaxHalfOpen = pick(c, 0, 0, 0, 2), pick(c, 0, 0, 0, 1)
	if pick(c, true, false, false, false, false) {
		p.Secrets[0].Secret = policy.NewSecret([]byte("another"))
	}
}

// lns is an LNS that may also dial, and be called, as one end of a pair.
func (c *chaos) lns() *policy.Policy {
	return changed(lnsPolicy(), func(p *policy.Policy) {
		c.template(p.Templates["dialin"])
		c.outside(p.Templates["dialin"])
		c.users(p)
		c.accepting(p)
		c.calls(p, callerBox, false)
		if pick(c, true, false) {
			c.placing(p)
		}
	})
}

// lac is a LAC with subscribers, that may have calls of its own.
func (c *chaos) lac() *policy.Policy {
	return changed(lacPolicy(), func(p *policy.Policy) {
		c.rules(p, lnsBox, lnsBox2, "9.9.9.9", "lns.example", "nowhere.example")
		if pick(c, true, false, false, false, false, false) {
			p.LAC.Rules = nil
		}
		c.calls(p, lnsBox, true)
		p.Secrets = []policy.SecretRule{{Secret: policy.NewSecret([]byte("secret-of-b"))}}
		r, _ := policy.ParseRange("0.0.0.0/0")
		p.LAC.Access = append(p.LAC.Access, policy.Access{Name: "modem", TTY: &policy.TTY{Device: "modem", DialOut: true, Type: policy.CallAsync, From: []policy.Range{r}}})
		switch c.dice.IntN(12) {
		case 0:
			p.LAC.Access = nil
		case 1:
			p.LAC.Access[0].PPPoE.ACName = "another"
		}
	})
}

// relay is a LAC for calls that come by L2TP.
func (c *chaos) relay() *policy.Policy {
	return changed(relaying(lnsBox2), func(p *policy.Policy) {
		c.rules(p, lnsBox2, "9.9.9.9")
		for i := range p.LAC.Rules {
			if r := &p.LAC.Rules[i]; r.Action == policy.ActionDNS { // all names lead to this box: its calls would come back for ever
				r.Action = policy.ActionTunnel
			}
		}
		c.accepting(p)
		p.LAC.Switch = pick(c, true, true, true, false)
	})
}

// caller is a box that only dials.
func (c *chaos) caller() *policy.Policy {
	return changed(initiators(0), func(p *policy.Policy) {
		p.Secrets = []policy.SecretRule{{Secret: policy.NewSecret([]byte("secret-of-b"))}}
		c.calls(p, lnsBox, true)
	})
}

// rules say where subscribers go: to some of these LNSs, or elsewhere.
func (c *chaos) rules(p *policy.Policy, lns ...string) {
	p.Templates["here"] = &policy.Template{Name: "here", IPv4: true}
	for _, t := range p.Templates {
		c.template(t)
	}
	c.users(p)
	base := p.LAC.Rules[0]
	p.LAC.Rules, p.LAC.Lockout, p.LAC.Attempt = nil, pick(c, 0, 5*time.Second), pick(c, 0, 3*time.Second)
	for _, m := range []policy.Match{policy.MatchRealm, policy.MatchLocal, policy.MatchAnyRealm, policy.MatchAll, policy.MatchUnauthenticated} {
		if m != policy.MatchAll && m != policy.MatchUnauthenticated && pick(c, true, true, false) {
			continue
		}
		r := base
		r.Match, r.Action = m, pick(c, policy.ActionTunnel, policy.ActionTunnel, policy.ActionTunnel, policy.ActionLocal, policy.ActionRADIUS, policy.ActionReject, policy.ActionDNS)
		switch {
		case m == policy.MatchRealm:
			r.Realm = "corp.example"
		case m == policy.MatchUnauthenticated && (r.Action == policy.ActionRADIUS || r.Action == policy.ActionDNS), m == policy.MatchLocal && r.Action == policy.ActionDNS:
			r.Action = policy.ActionLocal
		}
		r.StripRealm = m != policy.MatchLocal && m != policy.MatchUnauthenticated && pick(c, true, false)
		r.Balance, r.TunnelSessions = policy.Balance(c.dice.IntN(2)), pick(c, 0, 0, 1, 2)
		r.NoProxyAuth, r.Sequencing = m != policy.MatchUnauthenticated && pick(c, true, false, false), policy.Sequencing(c.dice.IntN(2))
		r.Tunnel.IdleTimeout = pick(c, 0, time.Second)
		r.Assignment, r.HideAVPs, r.Withhold = pick(c, "", "", "corp"), pick(c, true, false), pick(c, true, false)
		if r.Action == policy.ActionLocal {
			r.Template = pick(c, "", "here")
		}
		if r.Action == policy.ActionRADIUS && m != policy.MatchLocal && pick(c, true, false, false) {
			r.RADIUSUser, r.RADIUSPassword = policy.RADIUSDomain, policy.NewSecret([]byte("realm"))
		}
		for i, a := range lns {
			if i == 0 || pick(c, true, false) {
				r.LNS = append(r.LNS, policy.LNS{Address: a, Preference: c.dice.IntN(2), Weight: c.dice.IntN(3), MaxSessions: pick(c, 0, 0, 1, 3), HideAVPs: pick(c, true, false)})
			}
		}
		p.LAC.Rules = append(p.LAC.Rules, r)
	}
}

// calls are configured calls to a peer: one end of a pair, and with logins some of users.
func (c *chaos) calls(p *policy.Policy, peer string, logins bool) {
	base := func(name string) *policy.Call {
		x := &policy.Call{
			Name: name, Peer: pick(c, peer, peer, peer, "lns.example", "nowhere.example"), AutoStart: pick(c, true, false), Secret: policy.NewSecret([]byte("secret-of-b")), OwnTunnel: pick(c, true, false, false),
			EphemeralPort: pick(c, true, false, false), RedialMax: pick(c, 5*time.Second, time.Minute), Sequencing: policy.Sequencing(c.dice.IntN(3)),
			PPP: policy.CallPPP{Template: "lan", IPv6: pick(c, true, false), Routes: networks("172.16.0.0/16")},
		}
		x.OnDemand = !x.AutoStart && pick(c, true, false)
		return x
	}
	p.Templates["lan"] = &policy.Template{Name: "lan", IPv4: true, Echo: pick(c, 0, 10*time.Second), IdleTimeout: pick(c, 0, 0, 20*time.Second), MPPE: pick(c, ppp.MPPEOff, ppp.MPPEAllow)}
	for i := range 3 {
		if !logins || pick(c, true, false) {
			continue
		}
		x := base(fmt.Sprint("c", i))
		x.PPP.IPv4, x.PPP.User, x.PPP.Password = ppp.IPv4Request, pick(c, chaosUsers...), policy.NewSecret([]byte(pick(c, "PasswordA", "PasswordA", "PasswordA", "wrong")))
		p.Calls[x.Name] = x
	}
	if pick(c, true, false) {
		x := base("remote")
		x.Remote, x.Precedence, x.PPP.IPv4 = "remote", policy.Precedence(c.dice.IntN(2)), ppp.IPv4Unnumbered
		x.Method = policy.Method(c.dice.IntN(2))
		if x.Passive = pick(c, true, false, false, false); x.Passive {
			x.Peer, x.AutoStart, x.OnDemand = "", false, false
		}
		p.Calls[x.Name] = x
	}
}

// placing has a call by which the LAC is to dial on a line.
func (c *chaos) placing(p *policy.Policy) {
	p.Calls["modem"] = &policy.Call{
		Name: "modem", Peer: lacBox, Type: policy.CallAsync, Dial: "031", Secret: policy.NewSecret([]byte("secret-of-b")), AutoStart: true,
		RedialMax: pick(c, 5*time.Second, time.Minute), PPP: policy.CallPPP{Template: "lan", IPv4: ppp.IPv4Unnumbered},
	}
}

// answer is what a RADIUS server says: anything.
func (c *chaos) answer(ctx context.Context, r radius.Request) (radius.Answer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if pick(c, true, false, false, false) {
		d := time.Duration(c.dice.IntN(8000)) * time.Millisecond
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			c.mu.Lock()
			return radius.Answer{}, ctx.Err()
		case <-time.After(d): // virtual
		}
		c.mu.Lock()
	}
	a := radius.Answer{Accept: true, Server: "test"}
	switch c.dice.IntN(8) {
	case 0:
		return radius.Answer{}, errors.New("nobody is there")
	case 1:
		return radius.Answer{Server: "test", Reason: "no credit", Message: "pay first"}, nil
	case 2, 3:
		for _, x := range []string{lnsBox, lnsBox2, "9.9.9.9"} {
			if pick(c, true, false) {
				a.Tunnels = append(a.Tunnels, lnsOfRADIUS(x, func(x *radius.Tunnel) {
					x.Preference, x.ServerAuthID = uint32(c.dice.IntN(3)), pick(c, "", "", "somebody")
				}))
			}
		}
		a.TunnelUnusable = pick(c, true, false)
	}
	solved, _ := ppp.SolveMSCHAP(r.Method, r.Name, []byte("PasswordA"), r.Challenge, r.Response)
	a.MSCHAPSuccess, a.Keys = solved.Success, solved.Keys
	a.Address = pick(c, netip.Addr{}, netip.Addr{}, netip.AddrFrom4([4]byte{192, 168, pick[byte](c, 20, 30), byte(200 + c.dice.IntN(5))}), netip.MustParseAddr("192.168.20.1"))
	a.AddressUser = !a.Address.IsValid() && pick(c, true, false, false, false)
	if pick(c, true, false) {
		a.IPv6Prefixes = []netip.Prefix{chaosPrefix(byte(c.dice.IntN(5)), 64)}
	}
	if pick(c, true, false) {
		a.DelegatedPrefixes = []netip.Prefix{chaosPrefix(pick[byte](c, 16, 17, 18, 0), pick(c, 56, 48))}
	}
	a.Pool, a.IPv6Pool, a.DelegatedPool = pick(c, "", "more", "nowhere"), pick(c, "", "links"), pick(c, "", "sites")
	a.PortLimit, a.InterimInterval, a.Class = pick[uint32](c, 0, 0, 1, 2), pick(c, 0, time.Minute), pick(c, nil, [][]byte{[]byte("gold")})
	a.SessionTimeout, a.IdleTimeout = pick(c, nil, nil, duration(20*time.Second)), pick(c, nil, nil, duration(15*time.Second))
	a.MTU = pick[uint32](c, 0, 0, 1400)
	return a, nil
}
