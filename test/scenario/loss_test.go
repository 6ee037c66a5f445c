//go:build kernel

package scenario

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// P148: a fifth of all packets is lost in each direction, a tenth comes twice, and they overtake each other: 200 calls come up exactly
// once each, over one tunnel, and after a stop that loses packets too nothing is left.
func TestTwoHundredCallsThroughLoss(t *testing.T) {
	// Three unanswered LCP echoes, the default, are nothing special on such a wire, and ten lost Configure-Requests come to pass with many calls.
	const calls, limit, patient = 200, 8 * time.Minute, "lcp_echo: {failures: 10}, max_configure: 30"
	l := lab.New(t)
	a, b := l.Host("a"), l.Host("b")
	l.Link(a.At("10.0.0.1/24"), b.At("10.0.0.2/24"))
	db := b.L2TPD(strings.NewReplacer(", tunnel: {setup_timeout: 5s}", "", "auth: none,", "auth: none, "+patient+",").Replace(lns))
	var config strings.Builder
	config.WriteString("server: {hostname: a}\nppp: {templates: {lan: {auth: none, ipv6: off, " + patient + "}}}\ncalls:\n")
	for i := range calls {
		fmt.Fprintf(&config, "  c%03d: {peer: 10.0.0.2, autostart: on, ppp: {template: lan, ipv4: request, ipv6: off}}\n", i)
	}
	const bad = "delay 20ms 15ms loss 20% duplicate 10%" // the variation of the delay makes the disorder
	a.Netem("b", bad)
	b.Netem("a", bad)
	seen := a.Capture("b")
	began := time.Now()
	da := a.L2TPD(config.String())

	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := 0
	for up := 0; up < calls; <-tick.C {
		up = da.Status().Calls.Up
		if time.Since(began) > limit {
			t.Fatalf("%d calls of %d are up after %v", up, calls, limit)
		}
		if up > last+20 {
			t.Logf("%d up after %v", up, time.Since(began).Round(time.Second))
			last = up
		}
	}
	took := time.Since(began)
	for _, d := range []*lab.Daemon{db, da} {
		sessions := d.WaitSessions(calls)
		d.WaitTunnels(1)
		addresses := map[string]bool{}
		for _, s := range sessions {
			addresses[s.LocalIPv4.String()+" "+s.PeerIPv4.String()] = true
		}
		if len(addresses) != calls {
			t.Errorf("%s: %d pairs of addresses for %d sessions", d.Name, len(addresses), calls)
		}
		if n := len(d.Host.KernelSessions()); n != calls {
			t.Errorf("%s: the kernel has %d sessions", d.Name, n)
		}
		if n := len(d.Host.Interfaces()); n != calls {
			t.Errorf("%s: %d interfaces", d.Name, n)
		}
		if n := d.CountLog("INFO  call up"); n != calls {
			t.Errorf("%s: %d lines say that a call is up", d.Name, n)
		}
	}
	names := map[string]int{}
	for _, m := range regexp.MustCompile(`call up .*call=(\S+)`).FindAllStringSubmatch(da.Log(), -1) {
		names[m[1]]++
	}
	for name, n := range names {
		if n != 1 {
			t.Errorf("call %s came up %d times", name, n)
		}
	}
	x := da.Tunnels()[0]
	note(t, "%d calls up in %v; %d attempts failed, %d sessions went down; %d ICRQ, %d with repetitions; counters %+v", calls,
		took.Round(time.Second), da.CountLog("call not established"), da.CountLog("call down"), len(seen.First(wire.MsgICRQ)),
		len(seen.Messages(wire.MsgICRQ)), x.Counters)
	if x.Counters.Retransmits == 0 || x.Counters.Discarded == 0 || x.Counters.OutOfOrder == 0 {
		t.Errorf("the wire was too good: %+v", x.Counters)
	}
	if n := da.CountLog("call down") + db.CountLog("call down"); n > 0 {
		t.Errorf("%d calls went down again", n)
	}
	da.Stop()
	db.WaitSessions(0)
	db.Stop()
	for _, h := range []*lab.Host{a, b} {
		h.Netem(map[string]string{"a": "b", "b": "a"}[h.Name], "")
	}
}
