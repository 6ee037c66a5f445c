//go:build kernel

package scenario

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// S16, S17, S154, P257-P260, P264: callers of a foreign LAC log in by each method, and use the IPv6 prefix that they are told: their hosts
// make an address of it and reach what is behind the LNS.
func TestCallersLogInByEveryMethodAndUseTheirPrefix(t *testing.T) {
	t.Parallel() // it waits more than it works
	methods := []string{"pap", "chap", "mschapv1", "mschapv2"}
	l := lab.New(t)
	core := l.Host("core")
	core.IP("addr add 2001:db8::1/128 dev lo")
	var users, templates, accept string
	them := map[string]*lab.Host{}
	for i, m := range methods {
		x := l.Host(m)
		x.Sysctl("net/ipv6/conf/default/accept_ra=2") // it forwards, and is a host of this link all the same
		l.Link(core.At(fmt.Sprintf("10.3.%d.1/24", i)), x.At(fmt.Sprintf("10.3.%d.2/24", i)))
		them[m] = x
		users += fmt.Sprintf("  user-%s: {password: %s, ipv4: 10.8.2.%d}\n", m, theirPass, i+1)
		templates += fmt.Sprintf("    %s: {auth: [%[1]s], ipv4_local: 10.8.0.1, ipv6_pool: links, ipv6_dns: [\"2001:db8::53\"]}\n", m)
		accept += fmt.Sprintf("  - {from: 10.3.%d.0/24, template: %s}\n", i, m)
	}
	d := core.L2TPD(fmt.Sprintf(`
server: {mode: lns, hostname: core}
secrets: [{from: any, secret: none}]
lns:
  accept:
%s
ppp:
  templates:
%s
pools: {links: {prefixes: ["2001:db8:1::/48"], prefix_length: 64}}
users:
%s
log: {level: debug}
`, accept, templates, users))
	for i, m := range methods {
		name := "user-" + m
		them[m].ForeignPeer(foreignLAC(fmt.Sprintf("10.3.%d.1", i), name, "autodial = yes"), passwords(name+" * "+theirPass)...)
	}
	d.WaitSessions(len(methods))
	seen := map[netip.Prefix]bool{}
	for i, m := range methods {
		s := settled(l, d, "user-"+m)
		if s.Auth != m || s.PeerIPv4 != netip.AddrFrom4([4]byte{10, 8, 2, byte(i + 1)}) {
			t.Errorf("%s: logged in by %q, address %v", m, s.Auth, s.PeerIPv4)
		}
		if !s.IPv6Prefix.IsValid() || seen[s.IPv6Prefix] {
			t.Errorf("%s: prefix %v", m, s.IPv6Prefix)
		}
		seen[s.IPv6Prefix] = true
		reachEachOther(core, s, them[m], "ppp0")
		l.Eventually(m+": no address of the prefix", func() error {
			out := them[m].Run("ip", "-6", "-o", "addr", "show", "dev", "ppp0", "scope", "global")
			for _, word := range strings.Fields(out) {
				if a, err := netip.ParsePrefix(word); err == nil && s.IPv6Prefix.Contains(a.Addr()) {
					return nil
				}
			}
			return errors.New(out)
		})
		them[m].Reaches("2001:db8::1")
	}
	calm(t, d)
	discreet(t, d)
}
