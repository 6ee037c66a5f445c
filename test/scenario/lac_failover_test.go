//go:build kernel

package scenario

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
	"github.com/l2tpd/l2tpd/test/scenario/subscriber"
)

// failover is a rule with LNSs: each is the rest of a row after its address.
func failover(rows ...string) []string {
	var list []string
	for n, more := range rows {
		list = append(list, fmt.Sprintf("{address: 10.4.%d.2%s}", n, more))
	}
	return []string{
		"{match: all, action: tunnel, strip_realm: on, tunnel: {idle_timeout: 2s}, secret: " + tunnelSecret + ", lns: [" + strings.Join(list, ", ") + "]%s}",
		"{match: unauthenticated, action: reject}",
	}
}

// with is a rule list with more in its first rule.
func with(rules []string, more string) []string {
	all := slices.Clone(rules)
	all[0] = strings.Replace(all[0], "%s", more, 1)
	return all
}

// customers are people who want to be served: whoever is thrown out dials again.
type customers struct {
	p      *lab.Subscribers
	wanted int
	mine   map[int]bool // numbers of calls that nobody has hung up
	redial int
}

// come has more of them dial.
func (c *customers) come(n int) {
	first := c.p.Dial(slices.Repeat([]subscriber.Call{lightUser("alice@corp.example")}, n)...)
	for i := range n {
		c.mine[first+i] = true
	}
	c.wanted += n
}

// leave has some of those who are up hang up.
func (c *customers) leave(n int) {
	for i := range c.mine {
		if n > 0 && c.p.Session(i).State == subscriber.Up {
			c.p.HangUp(i)
			delete(c.mine, i)
			c.wanted--
			n--
		}
	}
}

// served waits until so many are up. Whoever was thrown out dials again.
func (c *customers) served(e *rulesLab, n int) {
	e.t.Helper()
	e.Eventually(fmt.Sprintf("%d customers are served", n), func() error {
		up := 0
		for i, s := range c.p.Sessions() {
			switch {
			case !c.mine[i]:
			case s.State == subscriber.Ended:
				delete(c.mine, i)
				c.redial++
				c.wanted--
				c.come(1)
			case s.State == subscriber.Up:
				up++
			}
		}
		if up < n {
			return fmt.Errorf("%d of %d", up, n)
		}
		return nil
	})
}

// everybody waits until all are up.
func (c *customers) everybody(e *rulesLab) {
	e.t.Helper()
	c.served(e, c.wanted)
}

// S4, S94: two of three LNSs die while a hundred subscribers come and go: everybody is served, by the one that is left; the log and l2tpctl
// tell of the dead, and one that comes back serves again, because it is the one to be preferred.
func TestSubscribersAreServedWhileLNSsDie(t *testing.T) {
	e := newRulesLab(t, 3)
	e.hasty = true
	lnss := []*lab.Daemon{e.serve(0, ""), e.serve(1, ""), e.serve(2, "")}
	d := e.lac.L2TPD(e.config("lockout: 20s\n  attempt: 6s", with(failover("", ", preference: 1", ", preference: 2"), "")...))
	c := &customers{p: e.net.Subscribers(subscriber.Config{Interface: "lac", Pending: 10}), mine: map[int]bool{}}
	pppd := e.net.Subscriber("lac", "bob@corp.example", theirPass)
	if _, _, remote := pppd.WaitUp(); remote != "10.8.0.1" {
		t.Errorf("pppd is at %s", remote)
	}
	c.come(40)
	c.served(e, 20)
	lnss[0].Kill()
	c.leave(10)
	c.come(30)
	d.WaitLog(`WARN .*an LNS does not serve.*lns=10\.4\.0\.2`)
	c.served(e, 30)
	lnss[1].Kill()
	c.leave(10)
	c.come(30)
	d.WaitLog(`WARN .*an LNS does not serve.*lns=10\.4\.1\.2`)
	if out := d.Ctl("status"); strings.Count(out, "did not serve: left alone for") == 0 {
		t.Errorf("l2tpctl does not tell of the LNSs that are left alone:\n%s", out)
	}
	c.everybody(e)
	d.WaitTunnels(1) // the dead LNSs' are given up, and who was in them comes again
	c.everybody(e)
	for i, s := range c.p.Sessions() {
		if c.mine[i] && servedBy(s) != "10.8.2.1" {
			t.Errorf("a subscriber is at %q: %+v", servedBy(s), s)
		}
	}
	lnss[2].WaitSessions(c.wanted)
	pppd.WaitLog("Connection terminated|LCP terminated by peer|Modem hangup")
	t.Logf("%d calls dialled again", c.redial)

	lnss[0].Start()
	e.Eventually("the first LNS does not serve again", func() error {
		c.come(1)
		c.everybody(e)
		all := c.p.Sessions()
		if got := servedBy(all[len(all)-1]); got != "10.8.0.1" {
			return fmt.Errorf("the last one is at %q", got)
		}
		return nil
	})
	d.WaitLog(`INFO .*an LNS serves again.*lns=10\.4\.0\.2`)
	there := 0
	for i, s := range c.p.Sessions() {
		if c.mine[i] && servedBy(s) == "10.8.0.1" {
			there++
		}
	}
	if out := d.Ctl("status"); !regexp.MustCompile(fmt.Sprintf(`10\.4\.0\.2:1701: %d sessions?\n`, there)).MatchString(out) {
		t.Errorf("l2tpctl does not tell of the LNS that is back, with %d sessions:\n%s", there, out)
	}
	c.p.HangUp()
	d.WaitTunnels(0)
	discreet(t, append(lnss, d)...)
}

// S94: LNSs of one preference take turns by weight, or the emptier one comes next.
func TestLNSsShareSubscribersByWeight(t *testing.T) {
	t.Parallel() // it waits more than it works
	e := newRulesLab(t, 2)
	lnss := []*lab.Daemon{e.serve(0, ""), e.serve(1, "")}
	d := e.lac.L2TPD(e.config("", with(failover(", weight: 3", ""), "")...))
	p := e.net.Subscribers(subscriber.Config{Interface: "lac", Pending: 1})
	up := 0
	dial := func(n, first, second int) {
		t.Helper()
		up += n
		p.Dial(slices.Repeat([]subscriber.Call{lightUser("alice@corp.example")}, n)...)
		p.Await("all are up", func(t subscriber.Tally) bool { return t.In[subscriber.Up] == up })
		lnss[0].WaitSessions(first)
		lnss[1].WaitSessions(second)
	}
	dial(16, 12, 4)
	d.SetConfig(e.config("", with(failover(", weight: 3", ""), ", balance: least-filled")...))
	d.Ctl("reload")
	var some []int
	for n, s := range p.Sessions() {
		if servedBy(s) == "10.8.0.1" && len(some) < 8 {
			some = append(some, n)
		}
	}
	p.HangUp(some...)
	up -= len(some)
	p.Await("some have gone", func(t subscriber.Tally) bool { return t.In[subscriber.Up] == up })
	onlySubscribers(e, d, 8)
	dial(8, 12, 4)
	dial(4, 15, 5)
	discreet(t, append(lnss, d)...)
}

// onlySubscribers waits until a LAC has so many subscribers who are served.
func onlySubscribers(e *rulesLab, d *lab.Daemon, n int) {
	e.t.Helper()
	e.Eventually("subscribers who are served", func() error {
		found := 0
		for _, s := range d.Sessions() {
			if s.Forwarded != nil && s.State == "established" {
				found++
			}
		}
		if found != n {
			return fmt.Errorf("%d instead of %d", found, n)
		}
		return nil
	})
}

// refuser is an LNS that answers every SCCRQ with a StopCCN.
func refuser(t *testing.T, h *lab.Host, local string, r wire.Result) {
	t.Helper()
	conn := h.UDP(local)
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil { // closed
				return
			}
			head, body, err := wire.ParseHeader(buf[:n])
			if err != nil || len(body) == 0 {
				continue
			}
			m, err := wire.ParseMessage(body)
			if id, ok := m.Uint16(wire.AVPAssignedTunnelID); err == nil && ok && m.Type == wire.MsgSCCRQ {
				stop := wire.NewMessage(wire.MsgStopCCN, wire.Uint16(wire.AVPAssignedTunnelID, 1), wire.ResultAVP(r, false))
				_, _ = conn.WriteToUDPAddrPort(wire.AppendMessage(nil, id, 0, 0, head.Ns+1, stop, nil), from) // as if lost: it comes again
			}
		}
	}()
}

// S94: an LNS that refuses the tunnel, one that refuses the call and one that is dead: the next one serves. When none does, the subscriber
// is told by LCP and PADT, and one line says why of each.
func TestLNSsThatRefuse(t *testing.T) {
	t.Parallel() // it waits more than it works
	e := newRulesLab(t, 4)
	e.hasty = true
	refuser(t, e.lns[0], "10.4.0.2:1701", wire.Result{Code: wire.StopError, Error: wire.ErrCodeTryAnother, HasError: true, Text: "too busy"})
	full := e.serve(1, "lns: {accept: [{from: any, template: dialin, max_sessions: 1}]}")
	good := e.serve(3, "") // number 2 is nobody
	d := e.lac.L2TPD(e.config("attempt: 10s", with(failover("", ", preference: 1", ", preference: 2", ", preference: 3"), "")...))
	p := e.net.Subscribers(subscriber.Config{Interface: "lac"})
	mark := d.Mark()
	if s := dialOne(p, "alice@corp.example"); servedBy(s) != "10.8.1.1" {
		t.Errorf("the first is at %q: %+v", servedBy(s), s)
	}
	if line := d.WaitLogSince(mark, "the next is tried.*10.4.0.2"); !strings.Contains(line, "too busy") || !strings.Contains(line, "next=10.4.1.2") {
		t.Errorf("the line does not say what the LNS has said: %s", line)
	}
	mark = d.Mark()
	if s := dialOne(p, "alice@corp.example"); servedBy(s) != "10.8.3.1" {
		t.Errorf("the second is at %q: %+v", servedBy(s), s)
	}
	d.WaitLogSince(mark, "the next is tried.*10.4.1.2")
	d.WaitLogSince(mark, "the next is tried.*10.4.2.2")
	good.Kill()
	onlySubscribers(e, d, 1)
	mark = d.Mark()
	began := time.Now()
	s := dialOne(p, "alice@corp.example")
	if s.State != subscriber.Ended || s.Link.Text == "" || !s.PADT || !strings.Contains(s.Told, "no LNS takes the call") {
		t.Errorf("after %v the third has not been told: %+v", time.Since(began), s)
	}
	line := d.WaitLogSince(mark, "WARN .*no LNS takes the call")
	for n := range 4 {
		if !strings.Contains(line, fmt.Sprintf("10.4.%d.2: ", n)) {
			t.Errorf("the line says nothing of LNS %d: %s", n, line)
		}
	}
	lines := 0
	for line := range strings.Lines(d.LogSince(mark)) {
		if strings.Contains(line, "WARN") && strings.Contains(line, "no LNS takes the call") {
			lines++
		}
	}
	if lines != 1 {
		t.Errorf("%d lines about one subscriber", lines)
	}
	discreet(t, d, full, good)
}
