//go:build kernel

package scenario

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
	"github.com/l2tpd/l2tpd/test/scenario/lac"
)

// crowd is a host for an LNS, and a LAC with many callers on another.
type crowd struct {
	*lab.Lab
	t    testing.TB
	core *lab.Host // 10.3.0.1
	far  *lab.Host
	lac  *lac.LAC
}

// pending is how many callers come at the same time.
const pending = 50

func newCrowd(t testing.TB) *crowd {
	t.Helper()
	c := &crowd{Lab: lab.New(t), t: t}
	c.core, c.far = c.Host("core"), c.Host("lac")
	c.Link(c.core.At("10.3.0.1/24"), c.far.At("10.3.0.2/24"))
	return c
}

// crowdLNS is the configuration of an LNS that knows one user and has addresses for so many of his sessions, and no more.
func crowdLNS(sessions int, tunnel, template string) string {
	first, last := crowdPool(sessions)
	return fmt.Sprintf(`
server: {mode: lns, hostname: core, max_half_open_per_source: 1024, tunnel: {%s}}
secrets: [{from: any, secret: none}]
lns: {accept: [{from: any, template: dialin}]}
ppp:
  templates:
    dialin: {auth: [mschapv2, chap, pap], ipv4_local: 10.8.0.1, ipv4_pool: ips, ipv6: off, %s}
pools: {ips: {ranges: [%v-%v]}}
users: {caller: {password: %s}}
`, tunnel, template, first, last, theirPass)
}

// crowdPool is a range of so many addresses.
func crowdPool(n int) (first, last netip.Addr) {
	first = netip.MustParseAddr("10.8.1.1")
	last = first
	for range n - 1 {
		last = last.Next()
	}
	return first, last
}

// dial opens tunnels, and waits until the LNS has them in the kernel.
func (c *crowd) dial(tunnels int, cfg control.TunnelConfig) {
	c.t.Helper()
	all := make([]lac.Tunnel, tunnels)
	for i := range all {
		all[i] = lac.Tunnel{
			Conn: c.far.UDP(fmt.Sprintf("10.3.0.2:%d", 20000+i)), LNS: netip.MustParseAddrPort("10.3.0.1:1701"), Config: cfg,
		}
	}
	c.lac = lac.Open(lac.Config{Tunnels: all, Pending: pending})
	c.wait("tunnels", func(x lac.Tally) bool { return x.Tunnels == tunnels })
	c.Eventually("tunnels in the kernel", func() error { // the LNS makes the last one after the LAC's last word
		if n := len(c.core.KernelTunnels()); n != tunnels {
			return fmt.Errorf("%d of %d", n, tunnels)
		}
		return nil
	})
}

func (c *crowd) wait(what string, cond func(lac.Tally) bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 15*lab.Patience) // xl2tpd takes its time for 5,000
	defer cancel()
	if err := c.lac.Wait(ctx, cond); err != nil {
		c.t.Fatalf("%s: %v; %+v", what, err, c.lac.Traffic())
	}
}

// hangUp ends the tunnels, and the LAC.
func (c *crowd) hangUp() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), lab.Patience)
	defer cancel()
	if err := c.lac.Close(ctx); err != nil {
		c.t.Error(err)
	}
}

// callerBy is a client that logs in by a method.
func callerBy(method ppp.AuthMethod) ppp.Config {
	return ppp.Config{
		IPv4: ppp.IPv4Request, Answer: []ppp.AuthMethod{method}, User: "caller", Password: []byte(theirPass),
	}
}
