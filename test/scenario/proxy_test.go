//go:build kernel

package scenario

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
	"github.com/l2tpd/l2tpd/test/scenario/lac"
)

// fate is what becomes of a client that a LAC hands over.
type fate int

const (
	unfit   fate = iota // LCP cannot hold: refused, or negotiated anew where that is allowed
	stays               // it comes up without a packet of LCP, and the verdict is that on its login to the LAC
	silent              // the same, without a verdict
	again               // LCP stays, and it logs in again
	wrong               // its login to the LAC is refused
	later               // its login to us is refused
	anew                // LCP begins anew
	refused             // proxy LCP is refused
)

// handed is one kind of client, with what a LAC says of it.
type handed struct {
	name     string
	method   ppp.AuthMethod // that the LAC agreed on with it
	password string
	alter    func(*control.CallInfo)

	accepted, rechallenged fate // with lns.accept.proxy auth: accept and rechallenge, if LCP may stay
}

var handedOver = []handed{
	{name: "CHAP", method: ppp.AuthCHAPMD5, accepted: stays, rechallenged: again},
	{name: "PAP", method: ppp.AuthPAP, accepted: stays, rechallenged: again},
	{name: "MS-CHAPv1", method: ppp.AuthMSCHAPv1, accepted: stays, rechallenged: again},
	{name: "MS-CHAPv2 has no type", method: ppp.AuthMSCHAPv2, accepted: again, rechallenged: again},
	{name: "CHAP, wrong password", method: ppp.AuthCHAPMD5, password: wrongPass, accepted: wrong, rechallenged: later},
	{name: "PAP, wrong password", method: ppp.AuthPAP, password: wrongPass, accepted: wrong, rechallenged: later},
	{name: "MS-CHAPv1, wrong password", method: ppp.AuthMSCHAPv1, password: wrongPass, accepted: wrong, rechallenged: later},
	{name: "another's response", method: ppp.AuthCHAPMD5, accepted: wrong, rechallenged: again, alter: func(c *control.CallInfo) {
		c.Proxy.Auth.Response = make([]byte, len(c.Proxy.Auth.Response))
	}},
	{name: "broken options", method: ppp.AuthCHAPMD5, alter: func(c *control.CallInfo) { c.Proxy.LCP.LastSent = []byte{3, 99} }},
	{name: "an option that nobody knows", method: ppp.AuthPAP, alter: func(c *control.CallInfo) {
		c.Proxy.LCP.LastReceived = append(c.Proxy.LCP.LastReceived, 0x63, 3, 0)
	}},
	{name: "nothing said", method: ppp.AuthCHAPMD5, alter: func(c *control.CallInfo) {
		c.Proxy = nil
	}},
	{name: "no login said", method: ppp.AuthCHAPMD5, accepted: again, rechallenged: again, alter: func(c *control.CallInfo) {
		c.Proxy.Auth = control.ProxyAuth{}
	}},
	{name: "another type than agreed on", method: ppp.AuthCHAPMD5, rechallenged: again, alter: func(c *control.CallInfo) {
		c.Proxy.Auth.Type = uint16(ppp.ProxyTypePAP)
	}},
	{name: "no challenge", method: ppp.AuthCHAPMD5, rechallenged: again, alter: func(c *control.CallInfo) { c.Proxy.Auth.Challenge = nil }},
	{name: "no login", method: ppp.AuthNone},
	{name: "a login before PPP", method: ppp.AuthNone, accepted: silent, alter: func(c *control.CallInfo) {
		c.Proxy.Auth = control.ProxyAuth{Type: uint16(ppp.ProxyTypeText), Name: "caller", Response: []byte(theirPass)}
	}},
}

// becomes is the fate of h by an accept entry.
func (h handed) becomes(lcp ppp.ProxyLCP, auth ppp.ProxyAuth) fate {
	f := h.accepted
	if auth == ppp.ProxyAuthRechallenge {
		f = h.rechallenged
	}
	switch {
	case lcp != ppp.ProxyLCPRenegotiate && auth != ppp.ProxyAuthRenegotiate && f != unfit:
		return f
	case h.password != "":
		return later
	case lcp == ppp.ProxyLCPAccept && auth != ppp.ProxyAuthRenegotiate:
		return refused
	}
	return anew
}

// attempt is one client at one accept entry.
type attempt struct {
	name   string
	from   netip.AddrPort
	client handed
	fate   fate
	number int // of the session
}

// proxies is an LNS with an accept entry for each way of taking what a LAC says, and a LAC that speaks from two addresses to each: from
// one without, from the other with hidden AVPs.
type proxies struct {
	*lab.Lab
	d        *lab.Daemon
	lac      *lac.LAC
	attempts []attempt
}

func newProxies(t *testing.T) *proxies {
	t.Helper()
	p := &proxies{Lab: lab.New(t)}
	core, far := p.Host("core"), p.Host("lac")
	var addrs []string
	var accept, secrets strings.Builder
	var tunnels []lac.Tunnel
	var calls []lac.Call
	for _, lcp := range []ppp.ProxyLCP{ppp.ProxyLCPAccept, ppp.ProxyLCPMismatch, ppp.ProxyLCPRenegotiate} {
		for _, auth := range []ppp.ProxyAuth{ppp.ProxyAuthAccept, ppp.ProxyAuthRechallenge, ppp.ProxyAuthRenegotiate} {
			net := fmt.Sprintf("10.3.%d", 1+int(lcp)*3+int(auth))
			fmt.Fprintf(&accept, "  - {from: %s.0/24, template: dialin, proxy: {lcp: %v, auth: %v}}\n", net, lcp, auth)
			fmt.Fprintf(&secrets, "  - {from: %s.2, secret: %s}\n", net, tunnelSecret)
			for n, cfg := range []control.TunnelConfig{{}, {Secret: []byte(tunnelSecret), HideAVPs: true}} {
				from := netip.MustParseAddrPort(fmt.Sprintf("%s.%d:1701", net, n+1))
				addrs = append(addrs, from.Addr().String()+"/16")
				for _, h := range handedOver {
					p.attempts = append(p.attempts, attempt{
						name: fmt.Sprintf("lcp %v, auth %v, hidden %v: %s", lcp, auth, cfg.HideAVPs, h.name),
						from: from, client: h, fate: h.becomes(lcp, auth), number: len(calls),
					})
					calls = append(calls, h.call(len(tunnels)))
				}
				tunnels = append(tunnels, lac.Tunnel{LNS: netip.MustParseAddrPort("10.3.0.1:1701"), Config: cfg})
			}
		}
	}
	p.Link(core.At("10.3.0.1/16"), far.At(addrs...))
	p.d = core.L2TPD(fmt.Sprintf(`
server: {mode: lns, hostname: core}
secrets:
%s
  - {from: any, secret: none}
lns:
  accept:
%s
ppp: {templates: {dialin: {auth: [mschapv2, mschapv1, chap, pap], ipv4_local: 10.8.0.1, ipv4_pool: ips, ipv6: off}}}
pools: {ips: {ranges: [10.8.1.1-10.8.2.250]}}
users: {caller: {password: %s}}
log: {level: debug}
`, secrets.String(), accept.String(), theirPass))
	for i := range tunnels {
		tunnels[i].Conn = far.UDP(p.attempts[i*len(handedOver)].from.String())
	}
	p.lac = lac.Open(lac.Config{Tunnels: tunnels, Pending: 50})
	p.lac.Dial(calls...)
	return p
}

func (h handed) call(tunnel int) lac.Call {
	all := []ppp.AuthMethod{ppp.AuthPAP, ppp.AuthCHAPMD5, ppp.AuthMSCHAPv1, ppp.AuthMSCHAPv2}
	c := lac.Call{
		Tunnel: tunnel,
		Client: ppp.Config{IPv4: ppp.IPv4Request, Answer: all, User: "caller", Password: []byte(theirPass), Restart: time.Second},
		Proxy:  &lac.Proxy{LAC: ppp.Config{Name: "lac"}, Alter: h.alter},
	}
	if h.method != ppp.AuthNone {
		c.Proxy.LAC.Auth = []ppp.AuthMethod{h.method}
	}
	if h.password != "" {
		c.Client.Password = []byte(h.password)
	}
	return c
}

// P190-P197, P200, P216: what a LAC has negotiated with a client holds, is refused, or is negotiated anew, as the accept entry says, and
// the client is told what it waits for.
func TestProxyAVPsAreUsed(t *testing.T) {
	p := newProxies(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*lab.Patience)
	defer cancel()
	ends := 0
	var kept []int // clients that may repeat their login
	for _, a := range p.attempts {
		switch a.fate {
		case wrong, later, refused:
			ends++
		case stays:
			kept = append(kept, a.number)
		case unfit, silent, again, anew:
		}
	}
	up := len(p.attempts) - ends
	if err := p.lac.Wait(ctx, func(x lac.Tally) bool { return x.In[lac.Up]+x.In[lac.Ended] == len(p.attempts) }); err != nil {
		t.Error(err)
	}
	all := p.lac.Sessions()
	complaints := p.complaints(ends)
	for _, a := range p.attempts {
		if why := a.judge(all[a.number]); why != "" {
			s := all[a.number]
			t.Errorf("%s: %s; %d packets of LCP, login %x, %v, cause %x, %v", a.name, why, s.Configured, s.Login, s.State, s.DisconnectCause, s.Result)
		}
		a.told(t, complaints, all[a.number])
	}
	t.Logf("%d clients are up, %d are refused: %+v", up, ends, p.lac.Traffic())
	if t.Failed() {
		return
	}
	p.d.WaitSessions(up)
	p.lac.RepeatLogin(kept...)
	p.Eventually("verdicts upon repeated logins", func() error {
		for _, n := range kept {
			first := all[n].Login[0]
			if s := p.lac.Session(n); len(s.Login) < 2 || slices.ContainsFunc(s.Login, func(f []byte) bool { return !slices.Equal(f, first) }) {
				return fmt.Errorf("%s: %x", p.attempts[n].name, s.Login)
			}
		}
		return nil
	})
	p.lac.HangUp()
	if err := p.lac.Wait(ctx, func(x lac.Tally) bool { return x.In[lac.Ended] == len(p.attempts) }); err != nil {
		t.Error(err)
	}
	if err := p.lac.Close(ctx); err != nil {
		t.Error(err)
	}
	p.d.WaitSessions(0)
	discreet(t, p.d)
}

// complaints are what the daemon complains of, when there are n lines of it.
func (p *proxies) complaints(n int) string {
	var lines []string
	p.Eventually("complaints", func() error {
		if lines = regexp.MustCompile(`(?m)^.* (WARN|ERROR) .*$`).FindAllString(p.d.Log(), -1); len(lines) < n {
			return fmt.Errorf("%d lines, want %d", len(lines), n)
		}
		return nil
	})
	return strings.Join(lines, "\n")
}

// judge says why a session is not what it should be; empty: it is.
func (a attempt) judge(s lac.Session) string {
	switch a.fate {
	case wrong, later, refused:
		return a.judgeEnd(s)
	case unfit, stays, silent, again, anew:
	}
	switch {
	case s.State != lac.Up || !s.Address.IsValid():
		return "not up"
	case (a.fate == anew) != (s.Configured > 0):
		return "LCP"
	case a.fate == silent && len(s.Login) > 0:
		return "a verdict"
	case a.fate == stays && !verdict(s, true):
		return "no verdict that the client waits for, or more than that"
	case a.fate == again && a.client.method != ppp.AuthPAP && len(s.Login) < 2:
		return "no challenge"
	}
	return ""
}

func (a attempt) judgeEnd(s lac.Session) string {
	want, code := uint16(2), wire.CDNNoFraming
	if a.fate != refused {
		want, code = 16, wire.CDNAdmin
	}
	switch {
	case s.State != lac.Ended || s.Cause != control.CausePeer:
		return "not refused"
	case s.Result.Code != code || len(s.DisconnectCause) < 2 || binary.BigEndian.Uint16(s.DisconnectCause) != want:
		return fmt.Sprintf("want disconnect cause %d", want)
	case a.fate == refused && (s.Configured > 0 || len(s.Login) > 0):
		return "a word to the client"
	case a.fate == wrong && (s.Configured > 0 || !verdict(s, false)):
		return "no verdict that the client waits for"
	}
	return ""
}

// verdict says whether the LNS has said nothing of the login but the one verdict, under the identifier that the LAC has told; and once
// more for each time that a client's patience was over, which happens when the machine is slow.
func verdict(s lac.Session, good bool) bool {
	const papAck, papNak, chapSuccess, chapFailure = 2, 3, 3, 4
	if len(s.Login) == 0 || len(s.Login) > 1+s.Repeats {
		return false
	}
	if slices.ContainsFunc(s.Login, func(f []byte) bool { return !slices.Equal(f, s.Login[0]) }) {
		return false
	}
	proto, body, _ := ppp.SplitFrame(s.Login[0])
	want := map[ppp.Protocol]map[bool]byte{
		ppp.ProtoPAP: {true: papAck, false: papNak}, ppp.ProtoCHAP: {true: chapSuccess, false: chapFailure},
	}[proto][good]
	id := uint8(0)
	if p := s.Told.Proxy; p != nil {
		id = p.Auth.ID
	}
	return len(body) > 1 && body[0] == want && body[1] == id
}

// told checks that what the daemon complains of has one line about a client that is refused, and no complaint about any other.
func (a attempt) told(t *testing.T, log string, s lac.Session) {
	t.Helper()
	t.Helper()
	var lines []string
	about := regexp.MustCompile(fmt.Sprintf(` (WARN|ERROR) .* session=\d+/%d peer=%v .*`, s.ID, a.from))
	for line := range strings.Lines(log) {
		if about.MatchString(line) {
			lines = append(lines, line)
		}
	}
	want := map[fate]string{wrong: "cause=auth-failed", later: "cause=auth-failed", refused: "cause=proxy-lcp"}[a.fate]
	if want == "" && len(lines) == 0 || want != "" && len(lines) == 1 && strings.Contains(lines[0], want) {
		return
	}
	t.Errorf("%s: want a line with %q, have %q", a.name, want, lines)
}
