//go:build kernel

package scenario

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// usesPrefix waits until a caller has made an address of the prefix that he is told, and has him reach what is behind the LNS with it.
func usesPrefix(l *lab.Lab, caller *lab.Host, s *api.Session) {
	l.Eventually(s.User+": no address of the prefix", func() error {
		out := caller.Run("ip", "-6", "-o", "addr", "show", "dev", "ppp0", "scope", "global")
		for _, word := range strings.Fields(out) {
			if a, err := netip.ParsePrefix(word); err == nil && s.IPv6Prefix.Contains(a.Addr()) {
				return nil
			}
		}
		return errors.New(out)
	})
	caller.Reaches("2001:db8::1")
}

// usesDelegatedPrefix has the router of a caller ask for its prefix by DHCPv6, as routers do: by a program of its own, that knows nothing
// of L2TP. A machine behind it, pc2, and one behind the LNS reach each other until the session ends.
//
//	pc1 2001:db8:f::2 --- core ===== router --- pc2
func usesDelegatedPrefix(t *testing.T, l *lab.Lab, d *lab.Daemon, router *lab.Host, s *api.Session) {
	t.Helper()
	core, pc1, pc2 := d.Host, l.Host("pc1"), l.Host("pc2")
	l.Link(core.At("2001:db8:f::1/64"), pc1.At("2001:db8:f::2/64"))
	l.Link(router.At(), pc2.At())
	pc1.Route("::/0", "2001:db8:f::1")
	client, told := dhcpcd(t, l, router, "ppp0")
	if got := told(); got != s.IPv6Delegated || !got.IsValid() {
		t.Fatalf("the client is told %v, the session has %v", got, s.IPv6Delegated)
	}
	d.WaitLog("delegated prefix taken.* prefix=" + s.IPv6Delegated.String())

	// The second network of it, for the first one could be mistaken for all of it.
	a := s.IPv6Delegated.Addr().As16()
	a[7]++
	a[15] = 1
	gateway := netip.AddrFrom16(a)
	a[15] = 2
	behind := netip.AddrFrom16(a).String()
	router.IP(fmt.Sprintf("addr add %v/64 dev pc2", gateway))
	pc2.IP(fmt.Sprintf("addr add %s/64 dev %s", behind, router.Name))
	pc2.Route("::/0", gateway.String())
	pc1.Reaches(behind)

	route := func() string { return core.Run("ip", "-6", "route", "show", s.IPv6Delegated.String()) }
	if out := route(); !strings.Contains(out, " dev "+s.Interface+" ") {
		t.Errorf("route: %q, want one to %s", out, s.Interface)
	}
	d.Ctl("session", "close", s.User)
	l.Eventually("the route is gone", func() error {
		if out := route(); out != "" {
			return errors.New(out)
		}
		return nil
	})
	client.Kill() // if it has not ended with its interface
}

// dhcpcd asks for a prefix on a link. told waits for it.
func dhcpcd(t *testing.T, l *lab.Lab, h *lab.Host, link string) (client *lab.Proc, told func() netip.Prefix) {
	t.Helper()
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	heard := file("heard", "")
	script := file("script", "#!/bin/sh\necho \"$reason $new_dhcp6_ia_pd1_prefix1/$new_dhcp6_ia_pd1_prefix1_length\" >> "+heard+"\n")
	conf := file("conf", "ipv6only\nnoipv6rs\nnodelay\nscript "+script+"\ninterface "+link+"\nia_pd 1 -\n")
	// It has its files to itself.
	client = h.Start("dhcpcd", "unshare", "-m", "sh", "-ec", `
		for d in /var/lib/dhcpcd /run/dhcpcd; do
			mkdir -p $d
			mount -t tmpfs none $d
		done
		exec dhcpcd -d -B -f "$0" "$1"`, conf, link)
	return client, func() (prefix netip.Prefix) {
		t.Helper()
		l.Eventually("a delegated prefix", func() error {
			b, err := os.ReadFile(heard)
			if err != nil {
				return err
			}
			_, text, ok := strings.Cut(string(b), "BOUND6 ")
			if !ok {
				return fmt.Errorf("not in %q", b)
			}
			text, _, _ = strings.Cut(text, "\n")
			prefix, err = netip.ParsePrefix(text)
			return err
		})
		return prefix
	}
}
