//go:build kernel

package scenario

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
	"github.com/l2tpd/l2tpd/test/scenario/subscriber"
)

// rulesLab is a LAC with two interfaces of subscribers, "net" with a login and "open" without, and some LNSs. LNS number n is 10.4.n.2, and
// 10.8.n.1 for those whom it serves; its interface to the LAC is called "lac".
type rulesLab struct {
	*lab.Lab
	t         *testing.T
	lac       *lab.Host
	net, open *lab.Host
	lns       []*lab.Host

	hasty bool // whether an LNS is given up after 3.5 seconds, which one that lives may once need, or 31
}

func newRulesLab(t *testing.T, lnss int) *rulesLab {
	t.Helper()
	e := &rulesLab{Lab: lab.New(t), t: t}
	e.lac, e.net, e.open = e.Host("lac"), e.Host("net"), e.Host("open")
	e.Link(e.net.At(), e.lac.At())
	e.Link(e.open.At(), e.lac.At())
	for n := range lnss {
		h := e.Host(fmt.Sprintf("lns%d", n))
		e.Link(e.lac.At(fmt.Sprintf("10.4.%d.1/24", n), fmt.Sprintf("fd00:4:%d::1/64", n)), h.At(fmt.Sprintf("10.4.%d.2/24", n), fmt.Sprintf("fd00:4:%d::2/64", n)))
		e.lns = append(e.lns, h)
	}
	return e
}

// config is the LAC's configuration with some rules, an item each, and more of the section lac.
func (e *rulesLab) config(more string, rules ...string) string {
	if len(rules) > 0 {
		more += "\n  rules:\n    - " + strings.Join(rules, "\n    - ")
	}
	repeated := 5
	if e.hasty {
		repeated = 2
	}
	return `
server: {mode: lac, hostname: lac, listen: ["0.0.0.0:1701", "[::]:1701"], tunnel: {hello: 2s, retransmit: 500ms, max_retransmits: ` + fmt.Sprint(repeated) + `}}
log: {level: debug}
ppp:
  templates:
    access: {auth: [chap, pap], ipv4_local: 10.9.0.1, ipv4_pool: ips, ipv6: off}
    open: {auth: none, ipv4_local: 10.9.0.1, ipv4_pool: ips, ipv6: off}
pools: {ips: {ranges: [10.9.0.10-10.9.0.99]}}
users: {dave: {password: ` + theirPass + `}, "alice@corp.example": {password: ` + theirPass + `}, 'CORP.Example.\bob': {password: ` + theirPass + `},
  "carol@other.example": {password: ` + theirPass + `}}
lac:
  access:
    - {pppoe: {interface: net, template: access}}
    - {pppoe: {interface: open, template: open}}
  ` + more + "\n"
}

// lnsUsers are the users of LNSs.
var lnsUsers = []string{"alice@corp.example", `CORP.Example.\bob`, "carol@other.example", "dave", "erin@corp.example", "alice", "bob"}

// serve starts an LNS.
func (e *rulesLab) serve(n int, more string) *lab.Daemon {
	e.t.Helper()
	users := "users: {"
	for _, u := range lnsUsers {
		users += "'" + u + "': {password: " + theirPass + "}, "
	}
	if !strings.Contains(more, "server:") {
		more += "\nserver: {mode: lns, hostname: lns, listen: [\"0.0.0.0:1701\", \"[::]:1701\"]}"
	}
	if !strings.Contains(more, "secret") {
		more += "\nsecret: " + tunnelSecret
	}
	if !strings.Contains(more, "lns:") {
		more += "\nlns: {accept: [{from: any, template: dialin}]}"
	}
	return e.lns[n].L2TPD(fmt.Sprintf(`
%s}
log: {level: debug}
ppp: {templates: {dialin: {auth: [chap, pap], ipv4_local: 10.8.%d.1, ipv4_pool: ips, ipv6: off}}}
pools: {ips: {ranges: [10.8.%d.10-10.8.%d.250]}}
%s
`, users, n, n, n, more))
}

// ruleTo is the part of a rule that leads to an LNS.
func ruleTo(n int) string {
	return fmt.Sprintf("action: tunnel, lns: [{address: 10.4.%d.2}], secret: %s", n, tunnelSecret)
}

// lightUser is a light subscriber.
func lightUser(user string, more ...ppp.AuthMethod) subscriber.Call {
	if len(more) == 0 {
		more = []ppp.AuthMethod{ppp.AuthCHAPMD5, ppp.AuthPAP}
	}
	return subscriber.Call{Client: ppp.Config{
		User: user, Password: []byte(theirPass), Answer: more, IPv4: ppp.IPv4Request, Restart: 3 * time.Second,
	}}
}

// ruleComers are the subscribers of tests about whom a rule is for: those of net in turn, and one of open.
type ruleComers struct {
	net, open *lab.Subscribers
}

func (e *rulesLab) comers() *ruleComers {
	return &ruleComers{
		net:  e.net.Subscribers(subscriber.Config{Interface: "lac", Block: 1}),
		open: e.open.Subscribers(subscriber.Config{Interface: "lac", Block: 2}),
	}
}

// ruleUsers are who dials in a round; the last one does not log in.
var ruleUsers = []string{"alice@corp.example", `CORP.Example.\bob`, "carol@other.example", "dave", "erin@corp.example"}

// round has everybody dial, and waits until it is known what becomes of him.
func (c *ruleComers) round() (all []subscriber.Session) {
	var calls []subscriber.Call
	for _, u := range ruleUsers[:4] {
		calls = append(calls, lightUser(u))
	}
	first, alone := c.net.Dial(calls...), c.open.Dial(lightUser(ruleUsers[4]))
	settled := func(n int) func(subscriber.Tally) bool {
		return func(t subscriber.Tally) bool { return t.In[subscriber.Up]+t.In[subscriber.Ended] == n }
	}
	c.net.Await("subscribers have settled", settled(first+4))
	c.open.Await("the one without a login has settled", settled(alone+1))
	for n := range 4 {
		all = append(all, c.net.Session(first+n))
	}
	return append(all, c.open.Session(alone))
}

// leave has everybody hang up.
func (c *ruleComers) leave() {
	for _, p := range []*lab.Subscribers{c.net, c.open} {
		p.HangUp()
		p.Await("all have gone", func(t subscriber.Tally) bool { return t.In[subscriber.Up]+t.In[subscriber.Closing] == 0 })
	}
}

// servedBy is the LNS that has taken a subscriber; "" if none has.
func servedBy(s subscriber.Session) string {
	if s.State != subscriber.Up {
		return ""
	}
	return s.Peer.String()
}

// ruleKinds are the rules, the most specific first, with those of the users whom each is for.
var ruleKinds = []struct {
	match string
	fits  []int
}{
	{"{realm: corp.example}", []int{0, 1}},
	{"local", []int{3}},
	{"any-realm", []int{0, 1, 2}},
	{"all", []int{0, 1, 2, 3}},
	{"unauthenticated", []int{4}},
}

// S36, S88-S93: of any two rules the more specific one holds, in whichever order they are written; and who has no rule is told so.
func TestTheMoreSpecificRuleHoldsInEitherOrder(t *testing.T) {
	e := newRulesLab(t, 2)
	d := e.lac.L2TPD(e.config("", "{match: all, "+ruleTo(0)+"}"))
	lnss := []*lab.Daemon{e.serve(0, ""), e.serve(1, "")}
	c := e.comers()
	for a := range ruleKinds {
		for b := a + 1; b < len(ruleKinds); b++ {
			rules := []string{"{match: " + ruleKinds[a].match + ", " + ruleTo(0) + "}", "{match: " + ruleKinds[b].match + ", " + ruleTo(1) + "}"}
			for range 2 {
				d.SetConfig(e.config("", rules...))
				d.Ctl("reload")
				for u, s := range c.round() {
					want := ""
					if slices.Contains(ruleKinds[b].fits, u) {
						want = "10.8.1.1"
					}
					if slices.Contains(ruleKinds[a].fits, u) {
						want = "10.8.0.1"
					}
					if got := servedBy(s); got != want {
						t.Errorf("rules %v: %s is at %q instead of %q: %+v", rules, ruleUsers[u], got, want, s)
					}
					if want == "" && s.Told == "" {
						t.Errorf("rules %v: %s is not told why: %+v", rules, ruleUsers[u], s)
					}
				}
				c.leave()
				slices.Reverse(rules)
			}
		}
	}
	discreet(t, append(lnss, d)...)
}

// S88-S92, S97: each kind of rule with each action that needs no name server.
func TestEachKindOfRuleHasEachAction(t *testing.T) {
	e := newRulesLab(t, 1)
	all := func(action string) (rules []string) {
		for _, k := range ruleKinds {
			rules = append(rules, "{match: "+k.match+", "+action+"}")
		}
		return rules
	}
	d := e.lac.L2TPD(e.config("", all(ruleTo(0))...))
	lns := e.serve(0, "")
	c := e.comers()
	for _, s := range c.round() {
		if servedBy(s) != "10.8.0.1" {
			t.Errorf("tunnel: %+v", s)
		}
	}
	for _, s := range d.Sessions() {
		if s.Access != "" && (s.Forwarded == nil || s.Forwarded.LNS != "10.4.0.2" || s.Interface != "") {
			t.Errorf("tunnel: %+v", s)
		}
	}
	lns.WaitSessions(5)
	c.leave()
	lns.WaitSessions(0)

	d.SetConfig(e.config("", all("action: local")...))
	d.Ctl("reload")
	for _, s := range c.round() {
		if servedBy(s) != "10.9.0.1" || !netip.MustParsePrefix("10.9.0.0/24").Contains(s.Address) {
			t.Errorf("local: %+v", s)
		}
	}
	lac := netip.MustParseAddr("10.9.0.1")
	c.net.Reach(lac)
	c.open.Reach(lac)
	for _, s := range d.WaitSessions(5) {
		if s.Role != "access" || s.Interface == "" || s.Forwarded != nil || s.State != "established" {
			t.Errorf("local: %+v", s)
		}
	}
	if len(lns.Sessions()) != 0 {
		t.Errorf("local: the LNS has %d sessions", len(lns.Sessions()))
	}
	c.leave()

	for _, r := range [][]string{all("action: reject"), {"{match: {realm: nobody.example}, action: reject}"}} {
		mark := d.Mark()
		d.SetConfig(e.config("", r...))
		d.Ctl("reload")
		for u, s := range c.round() {
			if servedBy(s) != "" || s.Link.Text == "" || s.Told == "" {
				t.Errorf("reject: %s is told %q, %q: %+v", ruleUsers[u], s.Link.Text, s.Told, s)
			}
		}
		e.Eventually("lines about the refused", func() error { return oneRefusalEach(d.LogSince(mark), 5) })
	}
	discreet(t, d, lns)
}

// oneRefusalEach says whether a log has exactly one warning for each of n subscribers.
func oneRefusalEach(log string, n int) error {
	var found []string
	for _, line := range warning.FindAllString(log, -1) {
		if !strings.Contains(line, "configuration: ") {
			found = append(found, line)
		}
	}
	if len(found) != n {
		return fmt.Errorf("%d warnings instead of %d:\n%s", len(found), n, strings.Join(found, "\n"))
	}
	return nil
}

// S93: a real pppd's user is found by either way of writing a realm, the LNS hears of him without it, and challenges him anew where it
// likes; and a pppd that is refused says why.
func TestRealSubscribersGoByTheirRealm(t *testing.T) {
	t.Parallel() // it waits more than it works
	e := newRulesLab(t, 2)
	lns := []*lab.Daemon{e.serve(0, ""), e.serve(1, "lns: {accept: [{from: any, template: dialin, proxy: {auth: rechallenge}}]}")}
	d := e.lac.L2TPD(e.config(
		"",
		"{match: {realm: corp.example}, strip_realm: on, "+ruleTo(0)+"}",
		"{match: {realm: other.example}, strip_realm: on, "+ruleTo(1)+"}",
		"{match: any-realm, action: reject}",
		"{match: local, action: local}",
		"{match: unauthenticated, action: reject}",
	))
	alice := e.net.Subscriber("lac", "alice@Corp.Example.", theirPass)
	bob := e.net.Subscriber("lac", `corp.example\\bob`, theirPass, "refuse-chap") // as pppd's files have it
	carol := e.net.Subscriber("lac", "carol@other.example", theirPass)
	dave := e.net.Subscriber("lac", "dave", theirPass)
	mallory := e.net.Subscriber("lac", "mallory@there.example", theirPass)
	_, _, remote := alice.WaitUp()
	if remote != "10.8.0.1" {
		t.Errorf("alice is at %s", remote)
	}
	bob.WaitUp()
	carol.WaitUp()
	if _, local, remote := dave.WaitUp(); remote != "10.9.0.1" || !strings.HasPrefix(local, "10.9.0.") {
		t.Errorf("dave has %s, at %s", local, remote)
	}
	for n, names := range [][]string{{"alice", "bob"}, {"carol@other.example"}} {
		var found []string
		for _, s := range lns[n].WaitSessions(len(names)) {
			found = append(found, s.User)
		}
		slices.Sort(found)
		if !slices.Equal(found, names) {
			t.Errorf("LNS %d knows %v instead of %v", n, found, names)
		}
	}
	e.net.Reaches("10.9.0.1")
	mallory.WaitLog("access denied")
	mallory.Wait()
	line := d.WaitLog("WARN .*mallory")
	if !strings.Contains(line, "a rule rejects user") {
		t.Errorf("the line says not why: %s", line)
	}
	if n := d.CountLog("(WARN|ERROR) .*mallory"); n != 1 {
		t.Errorf("%d warnings about mallory", n)
	}
	discreet(t, append(lns, d)...)
}

// messagesOfTunnel are the control messages that the LAC has sent in the tunnel whose SCCRQ has a host name.
func messagesOfTunnel(t *testing.T, c *lab.Capture, host string) (all map[wire.MessageType]wire.Message, sccrq lab.Packet) {
	t.Helper()
	all = map[wire.MessageType]wire.Message{}
	var ours, theirs uint16
	for _, p := range c.Packets(func(p lab.Packet) bool { _, ok := p.Control(); return ok }) {
		m, _ := p.Control()
		switch name, _ := m.Text(wire.AVPHostName); {
		case m.Type == wire.MsgSCCRQ && name == host:
			ours, _ = m.Uint16(wire.AVPAssignedTunnelID)
			all[m.Type], sccrq = m, p
		case ours != 0 && m.Type == wire.MsgSCCRP && p.Header.TunnelID == ours:
			theirs, _ = m.Uint16(wire.AVPAssignedTunnelID)
		case theirs != 0 && p.Sent && p.Header.TunnelID == theirs && p.Dst == sccrq.Dst:
			all[m.Type] = m
		}
	}
	if all[wire.MsgICCN].Type != wire.MsgICCN {
		t.Fatalf("the tunnel of %s has no ICCN: %v", host, all)
	}
	return all, sccrq
}

// S28, S99-S101: what a rule says of its tunnels holds on the wire: secret of each LNS, port, our address and name, whether the
// subscriber's number is told, whether AVPs are hidden, the login, and whether data is numbered.
func TestRulesHoldOnTheWire(t *testing.T) {
	t.Parallel() // it waits more than it works
	e := newRulesLab(t, 1)
	lns := e.serve(0, `
server: {mode: lns, hostname: lns, listen: ["0.0.0.0:1701", "0.0.0.0:1702"]}
secrets:
  - {host_name: other, secret: `+otherSecret+`}
  - {from: any, secret: `+tunnelSecret+`}
`)
	e.lac.IP("addr add 10.4.0.9/24 dev lns0")
	c := e.lac.Capture("lns0")
	rule := func(name, lns, more string) string {
		return fmt.Sprintf("{match: {realm: %s.example}, action: tunnel, host_name: %s, secret: %s, lns: [{address: 10.4.0.2%s}]%s}", name, name, tunnelSecret, lns, more)
	}
	d := e.lac.L2TPD(e.config(
		"", rule("plain", "", ""),
		rule("other", ", secret: "+otherSecret, ""),
		rule("port", ", port: 1702", ""),
		rule("local", "", ", local_address: 10.4.0.9"),
		rule("withhold", "", ", withhold_calling_number: on"),
		rule("withheld", ", withhold_calling_number: on", ""),
		rule("hide", "", ", hide_avps: on"),
		rule("hidden", ", hide_avps: on", ""),
		rule("numbered", "", ", sequencing: always"),
		rule("strip", "", ", strip_realm: on"),
		rule("nologin", "", ", proxy_auth: off, strip_realm: on"),
		"{match: unauthenticated, action: reject}",
	))
	names := []string{"plain", "other", "port", "local", "withhold", "withheld", "hide", "hidden", "numbered", "strip", "nologin"}
	var calls []subscriber.Call
	for _, name := range names {
		calls = append(calls, lightUser("alice@"+name+".example"))
	}
	p := e.net.Subscribers(subscriber.Config{Interface: "lac"})
	p.Dial(calls...)
	p.Await("all have gone on", func(t subscriber.Tally) bool { return t.In[subscriber.Up]+t.In[subscriber.Ended] == len(names) })
	for n, s := range p.Sessions() {
		served := names[n] == "strip" // the LNS knows alice, and nobody with these realms
		if up := s.State == subscriber.Up; up != served {
			t.Errorf("%s: %+v", names[n], s)
		}
	}
	for n, name := range names {
		judgeOnTheWire(t, c, name, strings.ReplaceAll(p.Session(n).MAC.String(), ":", ""))
	}
	discreet(t, d, lns)
}

// judgeOnTheWire judges the messages of the tunnel that the rule of that name is about.
func judgeOnTheWire(t *testing.T, c *lab.Capture, name, mac string) {
	t.Helper()
	all, sccrq := messagesOfTunnel(t, c, name)
	port, local := uint16(1701), "10.4.0.1"
	switch name {
	case "port":
		port = 1702
	case "local":
		local = "10.4.0.9"
	}
	if sccrq.Dst.Port() != port || sccrq.Src.Addr().String() != local {
		t.Errorf("%s: SCCRQ goes from %v to %v", name, sccrq.Src, sccrq.Dst)
	}
	icrq, iccn := all[wire.MsgICRQ], all[wire.MsgICCN]
	hides := strings.HasPrefix(name, "hid")
	for _, a := range slices.Concat(icrq.AVPs, iccn.AVPs) {
		secret := a.Type == wire.AVPCallingNumber || a.Type == wire.AVPProxyAuthenName || a.Type == wire.AVPProxyAuthenResponse
		if secret && a.Hidden != hides {
			t.Errorf("%s: %v is hidden: %t", name, a.Type, a.Hidden)
		}
	}
	if hides {
		return
	}
	number, told := icrq.Text(wire.AVPCallingNumber)
	if withholds := strings.HasPrefix(name, "with"); told == withholds || told && !strings.EqualFold(strings.NewReplacer(":", "", "-", "").Replace(number), mac) {
		t.Errorf("%s: calling number %q, told: %t", name, number, told)
	}
	if has := iccn.Has(wire.AVPSequencingRequired); has != (name == "numbered") {
		t.Errorf("%s: Sequencing Required: %t", name, has)
	}
	want := "alice@" + name + ".example"
	switch name {
	case "strip":
		want = "alice"
	case "nologin":
		want = ""
	}
	if got, _ := iccn.Text(wire.AVPProxyAuthenName); got != want {
		t.Errorf("%s: Proxy Authen Name %q instead of %q", name, got, want)
	}
}

// P229, S5: who shares a tunnel, and how long it stays.
func TestWhoSharesATunnel(t *testing.T) {
	t.Parallel() // it waits more than it works
	e := newRulesLab(t, 2)
	lnss := []*lab.Daemon{e.serve(0, ""), e.serve(1, "")}
	rule := func(realm, more string) string {
		return "{match: {realm: " + realm + "}, strip_realm: on, tunnel: {idle_timeout: 1s}, " + ruleTo(0) + more + "}"
	}
	d := e.lac.L2TPD(e.config(
		"", rule("a1.example", ", assignment_id: a"), rule("a2.example", ", assignment_id: a"), rule("b.example", ", assignment_id: b"),
		rule("two.example", ", assignment_id: two, tunnel_sessions: 2"),
		"{match: {realm: most.example}, strip_realm: on, action: tunnel, secret: "+tunnelSecret+", lns: [{address: 10.4.1.2, max_sessions: 2}, {address: 10.4.0.2, preference: 1}]}",
		"{match: {realm: full.example}, strip_realm: on, action: tunnel, secret: "+tunnelSecret+", lns: [{address: 10.4.1.2, max_sessions: 2}]}",
		"{match: unauthenticated, action: reject}",
	))
	p := e.net.Subscribers(subscriber.Config{Interface: "lac"})
	dial := func(up int, realms ...string) {
		t.Helper()
		for _, r := range realms {
			p.Dial(lightUser("alice@" + r))
		}
		p.Await(fmt.Sprintf("%d are up", up), func(t subscriber.Tally) bool { return t.In[subscriber.Up] == up })
	}
	leave := func() {
		t.Helper()
		p.HangUp()
		p.Await("all have gone", func(t subscriber.Tally) bool { return t.In[subscriber.Up] == 0 })
		d.WaitTunnels(0)
		lnss[0].WaitTunnels(0)
	}
	dial(2, "a1.example", "a2.example")
	lnss[0].WaitTunnels(1)
	dial(3, "b.example")
	lnss[0].WaitTunnels(2)
	leave()

	dial(5, slices.Repeat([]string{"two.example"}, 5)...)
	lnss[0].WaitTunnels(3)
	leave()

	dial(1, "most.example")
	dial(2, "most.example")
	dial(3, "most.example")
	lnss[1].WaitSessions(2)
	lnss[0].WaitSessions(1)
	first := p.Dial(lightUser("alice@full.example"))
	p.Await("the one too many has gone", func(t subscriber.Tally) bool { return t.Told > 0 })
	if s := p.Session(first); !strings.Contains(s.Told, "no LNS takes the call") {
		t.Errorf("the one too many: %+v", s)
	}
	d.WaitLog("WARN .*no LNS takes the call.*max_sessions: 2")
	discreet(t, append(lnss, d)...)
}
