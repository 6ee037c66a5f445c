//go:build kernel

package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/test/scenario/lab"
	"github.com/l2tpd/l2tpd/test/scenario/subscriber"
)

// nameServer is a dnsmasq on a host of its own, 10.5.0.2, that knows the names of a hosts file and says that there are no others.
type nameServer struct {
	*lab.Proc

	t     *testing.T
	host  *lab.Host
	hosts string // path
}

// namesLast is how long names may be kept.
const namesLast = 8 * time.Second

func (e *rulesLab) nameServer(hosts ...string) *nameServer {
	e.t.Helper()
	s := &nameServer{t: e.t, host: e.Host("dns"), hosts: filepath.Join(e.t.TempDir(), "hosts")}
	e.Link(e.lac.At("10.5.0.1/24"), s.host.At("10.5.0.2/24"))
	s.host.IP("addr add 10.5.0.3/24 dev lac")
	s.write(hosts)
	s.Proc = s.host.Start(
		"dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--group=root", "--pid-file=", "--no-resolv", "--no-hosts",
		"--listen-address=10.5.0.2", "--bind-interfaces", "--local=/example/", "--addn-hosts="+s.hosts, "--no-round-robin",
		fmt.Sprintf("--local-ttl=%d", int(namesLast.Seconds())), "--neg-ttl=1", "--log-queries", "--log-facility=-",
	)
	s.WaitLog("started|read ")
	return s
}

// write writes the hosts file, which the server must be able to read.
func (s *nameServer) write(hosts []string) {
	s.t.Helper()
	if err := os.WriteFile(s.hosts, []byte(strings.Join(hosts, "\n")+"\n"), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// change gives the server other names, and waits until it has them.
func (s *nameServer) change(hosts ...string) {
	s.t.Helper()
	s.write(hosts)
	mark := s.Mark()
	s.Signal(unix.SIGHUP)
	s.WaitLogSince(mark, "read .*"+filepath.Base(s.hosts))
}

// dialOne has one subscriber dial, and waits until it is known what becomes of him.
func dialOne(p *lab.Subscribers, user string) subscriber.Session {
	n := p.Dial(lightUser(user))
	p.Await(user+" has settled", func(t subscriber.Tally) bool { return t.In[subscriber.Up]+t.In[subscriber.Ended] == n+1 })
	return p.Session(n)
}

// dnsRules is the configuration of LACs that look names up.
func dnsRules(e *rulesLab) string {
	const rest = "secret: " + tunnelSecret + ", strip_realm: on"
	return e.config(
		"attempt: 8s",
		"{match: {realm: plain.example}, action: dns, "+rest+"}",
		"{match: {realm: named.example}, action: tunnel, lns: [{address: far.example}], "+rest+"}",
		"{match: any-realm, action: dns, prefix: lns, "+rest+"}",
		"{match: all, action: dns, prefix: lns, "+rest+"}",
		"{match: unauthenticated, action: reject}",
	)
}

// S95, S103: the LNS is the address of the realm's name, with a label before it or not; of several addresses the next one is tried when
// one does not answer; a name is kept as long as it may be; one that does not exist is explained to the subscriber and in the log.
func TestRealmsAreLookedUpInDNS(t *testing.T) {
	t.Parallel() // it waits more than it works
	e := newRulesLab(t, 2)
	e.hasty = true
	names := []string{
		"10.4.0.2 plain.example", "10.4.1.2 lns.plain.example", "10.4.0.2 lns.other.example", "fd00:4:1::2 lns.six.example",
		"10.4.0.99 lns.several.example", "10.4.0.98 lns.several.example", "fd00:4:1::2 lns.several.example",
		"10.4.1.2 far.example", "10.4.0.97 lns.dead.example", "10.4.0.96 lns.dead.example", "10.4.0.2 lns.moves.example",
	}
	server := e.nameServer(names...)
	lnss := []*lab.Daemon{e.serve(0, ""), e.serve(1, "")}
	d := e.lac.L2TPD(dnsRules(e))
	d.Etc("resolv.conf", "nameserver 10.5.0.2\n")
	p := e.net.Subscribers(subscriber.Config{Interface: "lac"})
	for _, x := range []struct{ user, lns string }{
		{"alice@plain.example", "10.8.0.1"},
		{`Plain.EXAMPLE.\alice`, "10.8.0.1"},
		{"alice@other.example", "10.8.0.1"},
		{"alice@six.example", "10.8.1.1"},
		{"alice@named.example", "10.8.1.1"},
		{"alice@several.example", "10.8.1.1"}, // IPv4 and IPv6 take turns
	} {
		if s := dialOne(p, x.user); servedBy(s) != x.lns {
			t.Errorf("%s is at %q instead of %s: %+v", x.user, servedBy(s), x.lns, s)
		}
	}
	if line := d.WaitLog("WARN .*the next is tried"); !strings.Contains(line, "lns=lns.several.example") || !strings.Contains(line, "address=10.4.0.9") ||
		!strings.Contains(line, "next=[fd00:4:1::2]:1701") {
		t.Errorf("the line does not say which LNS has not answered, and which is next: %s", line)
	}
	for user, want := range map[string]string{
		"alice@gone.example": "lns.gone.example.*name not found", // NXDOMAIN
		"alice@a_b..example": "not a host name",
		"alice":              "no realm",
	} {
		mark := d.Mark()
		s := dialOne(p, user)
		if s.State != subscriber.Ended || s.Link.Text == "" || s.Told == "" {
			t.Errorf("%s is not told why: %+v", user, s)
		}
		explained(t, d, mark, want)
	}
	if s := dialOne(p, "alice@dead.example"); s.State != subscriber.Ended || s.Told == "" {
		t.Errorf("nobody answers: %+v", s)
	}
	for _, addr := range []string{"96", "97"} {
		d.WaitLog(`WARN .*no LNS takes the call.*lns\.dead\.example \(10\.4\.0\.` + addr + `:1701\): `)
	}

	asked := func() int { return server.CountLog(`query\[A\] lns.moves.example`) }
	began := time.Now()
	if s := dialOne(p, "alice@moves.example"); servedBy(s) != "10.8.0.1" {
		t.Errorf("%+v", s)
	}
	server.change("10.4.1.2 lns.moves.example")
	if s := dialOne(p, "alice@moves.example"); time.Since(began) < namesLast && servedBy(s) != "10.8.0.1" { // nobody has asked again
		t.Errorf("within %v: %+v", namesLast, s)
	}
	e.Eventually("the new address is not used", func() error {
		s := dialOne(p, "alice@moves.example")
		if servedBy(s) != "10.8.1.1" {
			return fmt.Errorf("at %q", servedBy(s))
		}
		return nil
	})
	if after := time.Since(began); after < namesLast || asked() < 2 { // it may be asked twice for one answer
		t.Errorf("the new address is used after %v and %d queries", after, asked())
	}
	discreet(t, append(lnss, d)...)
}

// S95: name servers that do not answer keep nobody waiting for long: another one is asked; without another one the subscriber is told, and
// the log says who has not answered.
func TestNameServersThatAreSilent(t *testing.T) {
	t.Parallel() // it waits more than it works
	e := newRulesLab(t, 1)
	server := e.nameServer("10.4.0.2 lns.other.example")
	server.host.UDP("10.5.0.3:53") // nobody reads it
	lns := e.serve(0, "")
	d := e.lac.L2TPD(dnsRules(e))
	p := e.net.Subscribers(subscriber.Config{Interface: "lac"})
	d.Etc("resolv.conf", "nameserver 10.5.0.3\n")
	mark := d.Mark()
	if s := dialOne(p, "alice@other.example"); s.State != subscriber.Ended || s.Link.Text == "" || s.Told == "" {
		t.Errorf("nobody answers: %+v", s)
	}
	explained(t, d, mark, `lns.other.example.*10\.5\.0\.3:53`)
	d.Etc("resolv.conf", "nameserver 10.5.0.3\nnameserver 10.5.0.2\n")
	if s := dialOne(p, "alice@other.example"); servedBy(s) != "10.8.0.1" {
		t.Errorf("the second server answers: %+v", s)
	}
	discreet(t, d, lns)
}
