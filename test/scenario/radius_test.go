//go:build kernel

package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

// serverSecret is what the RADIUS server shares with its clients.
const serverSecret = otherSecret

// quick is the patience with a server that answers at once or never.
const quick = "timeout: 2s, tries: 4"

// radiusConfig asks servers at addresses; more is put among the keys of radius.
func radiusConfig(more string, servers ...string) string {
	list := ""
	for _, a := range servers {
		list += fmt.Sprintf("{address: %s, secret: %s, %s}, ", a, serverSecret, quick)
	}
	return "radius: {spool: /run/l2tpd/accounting, servers: [" + strings.TrimSuffix(list, ", ") + "]" + more + "}\n"
}

// withRADIUS adds the host of a RADIUS server, 10.5.0.2, that a box knows as 10.5.0.1.
func withRADIUS(l *lab.Lab, box *lab.Host) *lab.Host {
	h := l.Host("radius")
	l.Link(box.At("10.5.0.1/24"), h.At("10.5.0.2/24"))
	return h
}

// tunnelTo is what a users file says of a realm or a user that goes on at an LNS, with further attributes: name, value, ...
func tunnelTo(tag int, lns string, preference int, more ...string) string {
	text := fmt.Sprintf("Tunnel-Type:%[1]d += L2TP, Tunnel-Medium-Type:%[1]d += IPv4, Tunnel-Server-Endpoint:%[1]d += %[2]q, "+
		"Tunnel-Preference:%[1]d += %[3]d, Tunnel-Password:%[1]d += %[4]q", tag, lns, preference, tunnelSecret)
	for i := 0; i+1 < len(more); i += 2 {
		text += fmt.Sprintf(", %s:%d += %q", more[i], tag, more[i+1])
	}
	return text
}

// knownUser is an entry of a users file, with what the server replies.
func knownUser(name, password string, reply ...string) string {
	return fmt.Sprintf("%q Cleartext-Password := %q\n\t%s\n\n", name, password, strings.Join(reply, ",\n\t"))
}

// S96, P226-P232, P235: a rule asks the RADIUS server where a call goes: about the realm, or about the user with what he has shown. The
// groups of tunnels are tried by preference, with the secrets, names and assignments that the server gives; an LNS that is not who it
// should be is left for the next. A user without tunnels stays, with what the server grants; one who is refused is told why.
func TestRADIUSServerSaysWhereCallsGo(t *testing.T) {
	t.Parallel()
	w := newWholesale(t, "client")
	server := withRADIUS(w.Lab, w.lac)
	server.FreeRADIUS(serverSecret, knownUser("corp.example", ourPassword, "Service-Type = Outbound-User",
		tunnelTo(1, "10.4.0.2", 20, "Tunnel-Client-Auth-Id", "gold-lac", "Tunnel-Assignment-Id", "gold"), tunnelTo(2, "10.4.0.9", 10))+
		knownUser("bob@other.example", theirPass, tunnelTo(1, "10.4.0.2", 1, "Tunnel-Assignment-Id", "silver", "Tunnel-Server-Auth-Id", "lns"))+
		knownUser("carol@other.example", theirPass, tunnelTo(1, "10.4.0.2", 1, "Tunnel-Server-Auth-Id", "somebody"),
			tunnelTo(2, "10.4.0.2", 2, "Tunnel-Client-Auth-Id", "second-lac"))+
		knownUser("dave", theirPass, "Framed-IP-Address = 10.9.0.5")+
		"eve Auth-Type := Reject\n\tReply-Message = \"the bill is not paid\"\n")
	lns := w.lns.L2TPD(`
server: {mode: lns, hostname: lns}
secret: ` + tunnelSecret + `
lns: {accept: [{from: any, template: dialin}]}
ppp: {templates: {dialin: {auth: [chap], ipv4_local: 10.8.0.1, ipv4_pool: ips}}}
pools: {ips: {ranges: [10.8.0.10-10.8.0.20]}}
users:
  alice@corp.example: {password: ` + theirPass + `}
  bob@other.example: {password: ` + theirPass + `}
  carol@other.example: {password: ` + theirPass + `}
log: {level: debug}
`)
	lac := w.lac.L2TPD(w.lacConfig(`
    - {match: {realm: corp.example}, action: radius, radius_user: domain, radius_password: `+ourPassword+`}
    - {match: any-realm, action: radius}
    - {match: local, action: radius}
  attempt: 10s
`, "[chap, pap], ipv4_local: 10.9.0.1") + radiusConfig("", "10.5.0.2"))
	c := w.clients[0]
	c.Subscriber("lac", "alice@corp.example", theirPass).WaitUp()
	lac.WaitLog("WARN .*the next is tried.*lns=10.4.0.9.* next=10.4.0.2")
	c.Subscriber("lac", "bob@other.example", theirPass).WaitUp()
	c.Subscriber("lac", "carol@other.example", theirPass).WaitUp()
	lac.WaitLog(`WARN .*the next is tried.*the LNS calls itself .*lns.*somebody`)
	if _, local, remote := c.Subscriber("lac", "dave", theirPass).WaitUp(); local != "10.9.0.5" || remote != "10.9.0.1" {
		t.Errorf("dave has %s, and the LAC %s", local, remote)
	}
	eve := c.Subscriber("lac", "eve", theirPass)
	eve.WaitLog("the bill is not paid")
	eve.Wait()
	lac.WaitLog(`WARN .*call not established: stage user authentication.*cause=auth-failed.*eve`)

	names := map[string]int{}
	for _, x := range lns.Tunnels() {
		names[x.HostName] += x.SessionCount
	}
	if names["gold-lac"] != 1 || names["lac"] != 1 || names["second-lac"] != 1 || len(names) != 3 {
		t.Errorf("sessions by the LAC's name: %v", names)
	}
	discreet(t, lac, lns)
}

// callersOf is an LNS, core, with a RADIUS server's users that call by L2TP, each from a host of his own; those on the host strict must
// encrypt.
type callersOf struct {
	*lab.Lab
	core   *lab.Host
	names  []string // of their hosts
	them   map[string]*lab.Host
	radius *lab.FreeRADIUS
	d      *lab.Daemon
}

const callersLNS = `
server: {mode: lns, hostname: core}
secrets: [{from: any, secret: none}]
lns:
  accept:
    - {from: 10.3.0.0/24, template: strict}
    - {from: any, template: dialin}
ppp:
  templates:
    strict: {auth: [mschapv2], mppe: require, users: [local, radius], ipv4_local: 10.8.0.1, ipv4_pool: ips}
    dialin: {auth: [chap, pap], users: [local, radius], ipv4_local: 10.8.0.1, ipv4_pool: ips, duplicate_login: refuse}
pools:
  ips: {ranges: [10.8.0.10-10.8.0.30]}
  others: {ranges: [10.8.1.10-10.8.1.30]}
users: {local: {password: ` + theirPass + `, ipv4: 10.8.2.1}}
log: {level: debug}
`

// newCallers makes them; the first name is that of the host strict.
func newCallers(t *testing.T, users string, names ...string) *callersOf {
	t.Helper()
	x := &callersOf{Lab: lab.New(t), names: names, them: map[string]*lab.Host{}}
	x.core = x.Host("core")
	x.core.IP("addr add 2001:db8::1/128 dev lo")
	server := withRADIUS(x.Lab, x.core)
	for i, n := range names {
		h := x.Host(n)
		h.Sysctl("net/ipv6/conf/default/accept_ra=2") // it forwards, and is a host of its link all the same
		x.Link(x.core.At(fmt.Sprintf("10.3.%d.1/24", i)), h.At(fmt.Sprintf("10.3.%d.2/24", i)))
		x.them[n] = h
	}
	x.radius = server.FreeRADIUS(serverSecret, users)
	x.d = x.core.L2TPD(callersLNS + radiusConfig("", "10.5.0.2"))
	return x
}

// call has a user call from a host, with further options of pppd.
func (x *callersOf) call(host, user string, options ...string) *lab.ForeignPeer {
	lns := fmt.Sprintf("10.3.%d.1", slices.Index(x.names, host))
	return x.them[host].ForeignPeer(foreignLAC(lns, user, "autodial = yes"),
		append(passwords(user+" * "+theirPass), "options", strings.Join(options, "\n")+"\n")...)
}

// up waits until a user's session is up.
func (x *callersOf) up(user string) *api.Session {
	x.d.WaitLog(`INFO .*call up .* user=` + user + `\b`)
	return settled(x.Lab, x.d, user)
}

// S155, P240, P247-P250: what the server grants to a caller is what he has: addresses, networks behind him, prefixes, name servers, keys.
// The local users are asked first.
func TestRADIUSServerGrantsWhatCallersHave(t *testing.T) {
	t.Parallel()
	x := newCallers(t, knownUser("full", theirPass, "Framed-IP-Address = 10.8.3.7", `Framed-Route = "10.66.0.0/24 10.8.3.7 1"`,
		"Framed-IPv6-Prefix = 2001:db8:1:7::/64", "Delegated-IPv6-Prefix = 2001:db8:2:700::/56", "MS-Primary-DNS-Server = 10.8.0.53", "Class = 0x676f6c64",
		"Session-Timeout = 3600")+knownUser("pooled", theirPass, `Framed-Pool = "others"`), "full", "pooled", "local")
	d, core, router := x.d, x.core, x.them["full"]
	full := x.call("full", "full", "require-mppe-128", "usepeerdns")
	s := x.up("full")
	if s.Auth != "mschapv2" || !s.MPPE || s.PeerIPv4.String() != "10.8.3.7" || s.IPv6Prefix.String() != "2001:db8:1:7::/64" ||
		s.IPv6Delegated.String() != "2001:db8:2:700::/56" {
		t.Errorf("%+v", s)
	}
	full.WaitLog("primary +DNS address 10.8.0.53")
	reachEncrypted(t, core, router, "10.8.0.1")
	router.IP("addr add 10.66.0.1/24 dev lo")
	core.Reaches("10.66.0.1")
	usesPrefix(x.Lab, router, s)
	usesDelegatedPrefix(t, x.Lab, d, router, s)

	x.call("pooled", "pooled", "refuse-chap")
	if s := x.up("pooled"); s.Auth != "pap" || !strings.HasPrefix(s.PeerIPv4.String(), "10.8.1.") {
		t.Errorf("pooled: %s, %v", s.Auth, s.PeerIPv4)
	}
	x.call("local", "local")
	if s := x.up("local"); s.Auth != "chap" || s.PeerIPv4.String() != "10.8.2.1" {
		t.Errorf("local: %s, %v", s.Auth, s.PeerIPv4)
	}
	start := x.radius.WaitRecord("User-Name", "full", "Acct-Status-Type", "Start")
	for name, want := range map[string]string{
		"Class": "0x676f6c64", "Framed-IP-Address": "10.8.3.7", "Framed-IPv6-Prefix": "2001:db8:1:7::/64", "Acct-Authentic": "RADIUS",
		"Delegated-IPv6-Prefix": "2001:db8:2:700::/56", "NAS-Identifier": "core", "NAS-Port-Type": "Virtual",
	} {
		if start[name] != want {
			t.Errorf("%s is %q in the start record, not %q", name, start[name], want)
		}
	}
	if delay, err := strconv.Atoi(start["Acct-Delay-Time"]); err != nil || delay > int(lab.Patience.Seconds()) {
		t.Errorf("the start record is %q seconds old", start["Acct-Delay-Time"])
	}
	x.radius.WaitRecord("User-Name", "local", "Acct-Status-Type", "Start", "Acct-Authentic", "Local")
	discreet(t, d)
}

// P240, P242: times and limits of the server end sessions and refuse logins; so does it itself.
func TestRADIUSServerLimitsCallers(t *testing.T) {
	t.Parallel()
	x := newCallers(t, knownUser("brief", theirPass, "Session-Timeout = 10")+knownUser("idler", theirPass, "Idle-Timeout = 3")+
		knownUser("one", theirPass, "Port-Limit = 1")+knownUser("wrong", ourPassword), "strict", "brief", "idler", "first", "second", "wrong")
	x.call("brief", "brief")
	x.call("idler", "idler")
	x.call("first", "one")
	x.up("one")
	x.call("second", "one")
	x.call("wrong", "wrong")
	for _, line := range []string{
		"WARN .*cause=user-limit .*one", "INFO .*call down.*cause=session-time .*user=brief", "INFO .*call down.*cause=idle .*user=idler",
		"WARN .*call not established: stage user authentication.*cause=auth-failed.*RADIUS server 10.5.0.2 refuses user .*wrong",
	} {
		x.d.WaitLog(line)
	}
	x.radius.WaitRecord("User-Name", "brief", "Acct-Status-Type", "Stop", "Acct-Terminate-Cause", "Session-Timeout")
	x.radius.WaitRecord("User-Name", "idler", "Acct-Status-Type", "Stop", "Acct-Terminate-Cause", "Idle-Timeout")
	discreet(t, x.d)
}

// newStayer is a box with one subscribers' interface, and the host of a RADIUS server.
func newStayer(t *testing.T) (w *wholesale, c, server *lab.Host) {
	t.Helper()
	w = newWholesale(t, "client")
	return w, w.clients[0], withRADIUS(w.Lab, w.lac)
}

// stays is the configuration of a box whose subscribers stay: their PPP ends here, and RADIUS servers know them.
func (w *wholesale) stays(radius string) string {
	const templates = "[chap, pap]}, dialin: {auth: [chap, pap], users: [local, radius], ipv4_local: 10.8.0.1, ipv4_pool: ips"
	return w.lacConfig("    - {match: all, action: local, template: dialin}\n", templates) +
		"pools: {ips: {ranges: [10.8.0.10-10.8.0.30]}}\nusers: {local: {password: " + theirPass + "}}\n" + radius
}

// P237: a dead server costs the first login its patience and is asked last from then on; a slow one holds up nobody but who waits for it.
// When none answers, the user is told, and one line says why.
func TestRADIUSServersThatAreDeadOrSlow(t *testing.T) {
	t.Parallel()
	w, c, server := newStayer(t)
	radius := server.FreeRADIUS(serverSecret, knownUser("alice", theirPass)+knownUser("slow", theirPass)+knownUser("bob", theirPass))
	conf := radiusConfig("", "10.5.0.9", "10.5.0.2")
	last := strings.LastIndex(conf, quick) // the slow user's server
	patient := conf[:last] + strings.Replace(conf[last:], quick, "timeout: 6s, tries: 2", 1)
	d := w.lac.L2TPD(w.stays(patient))
	c.Subscriber("lac", "alice", theirPass).WaitUp()
	if n := d.CountLog("WARN .*RADIUS server does not answer.* server=10.5.0.9 service=logins"); n != 1 {
		t.Errorf("%d lines about the dead server", n)
	}
	status := d.Ctl("status")
	if !strings.Contains(status, "10.5.0.9") || !strings.Contains(status, "has not answered for") {
		t.Errorf("status says nothing of the dead server:\n%s", status)
	}

	slow := c.Subscriber("lac", "slow", theirPass)
	slow.WaitLog("sent .CHAP Response")
	d.Status() // each shard has its part in it
	if n := d.CountLog(`call up .*user=slow\b`); n > 0 {
		t.Errorf("the daemon has answered when %d slow users were up", n)
	}
	slow.WaitUp()

	radius.Kill()
	bob := c.Subscriber("lac", "bob", theirPass)
	bob.WaitLog("authentication is not available")
	bob.Wait()
	d.WaitLog(`WARN .*call not established: stage user authentication.*cause=auth-unavailable.*bob.*no RADIUS server has answered`)
	if n := d.CountLog(`(WARN|ERROR) .*bob`); n != 1 {
		t.Errorf("%d lines about bob", n)
	}
	radius.Start()
	c.Subscriber("lac", "bob", theirPass).WaitUp()
	d.WaitLog("INFO .*RADIUS server answers again.* server=10.5.0.2 service=logins")
	discreet(t, d)
}

// P236, P238: a server that has another secret, or does not sign its answers, is named with the reason in one line.
func TestRADIUSServerWithAnotherSecretIsNamed(t *testing.T) {
	t.Parallel()
	w, c, server := newStayer(t)
	server.FreeRADIUS(wrongPass, knownUser("alice", theirPass))
	d := w.lac.L2TPD(w.stays(radiusConfig("", "10.5.0.2")))
	alice := c.Subscriber("lac", "alice", theirPass)
	alice.WaitLog("authentication is not available")
	d.WaitLog("WARN .*call not established.*cause=auth-unavailable")
	if n := d.CountLog("WARN .*RADIUS server does not answer.* server=10.5.0.2 service=logins .*secret"); n != 1 {
		t.Errorf("%d lines say that the secret may be another", n)
	}
	discreet(t, d)
}

func TestRADIUSServerThatDoesNotSignMustBeAllowed(t *testing.T) {
	t.Parallel()
	w, c, server := newStayer(t)
	server.UnsignedFreeRADIUS(serverSecret, knownUser("alice", theirPass))
	strict := w.stays(radiusConfig("", "10.5.0.2"))
	d := w.lac.L2TPD(strict)
	c.Subscriber("lac", "alice", theirPass).WaitLog("authentication is not available")
	d.WaitLog("WARN .*RADIUS server does not answer.* server=10.5.0.2 service=logins .*Message-Authenticator")
	d.SetConfig(strings.Replace(strict, "tries: 4", "tries: 4, message_authenticator: accept-missing", 1))
	d.Ctl("reload")
	c.Subscriber("lac", "alice", theirPass).WaitUp()
	discreet(t, d)
}

// packets is a counter of an accounting record.
func packets(t *testing.T, r lab.Record, name string) int {
	t.Helper()
	n, err := strconv.Atoi(r[name])
	if err != nil {
		t.Errorf("%s: %v in %v", name, err, r)
	}
	return n
}

// P241, P242: start and stop tell of a session with what the kernel has counted, at the LNS where it ends and at the LAC that it passes.
func TestAccountingCountsWhatTheKernelCarries(t *testing.T) {
	t.Parallel()
	w := newWholesale(t, "alice")
	server := withRADIUS(w.Lab, w.lac)
	server.Route("10.4.0.0/24", "10.5.0.1")
	w.lns.Route("10.5.0.0/24", "10.4.0.1")
	radius := server.FreeRADIUS(serverSecret, knownUser("alice@corp.example", theirPass, "Framed-IP-Address = 10.8.2.1", "Class = 0x676f6c64"))
	lns := w.lns.L2TPD(`
server: {mode: lns, hostname: lns}
secret: ` + tunnelSecret + `
lns: {accept: [{from: any, template: dialin}]}
ppp: {templates: {dialin: {auth: [chap], users: [radius], ipv4_local: 10.8.0.1}}}
log: {level: debug}
` + radiusConfig("", "10.5.0.2"))
	lac := w.lac.L2TPD(w.lacConfig("    - {match: all, action: tunnel, lns: [{address: 10.4.0.2}], secret: "+tunnelSecret+"}\n", "[chap]") + radiusConfig("", "10.5.0.2"))
	for _, name := range []string{"lac", "lns"} {
		radius.WaitRecord("Acct-Status-Type", "Accounting-On", "NAS-Identifier", name)
	}
	const echoes = 25
	c := w.clients[0]
	stops := func(how func(alice *lab.Subscriber), atLAC, atLNS string) {
		t.Helper()
		seen := map[string]bool{}
		for _, r := range radius.Records() {
			seen[r["Acct-Session-Id"]+r["NAS-Identifier"]] = true
		}
		alice := c.Subscriber("lac", "alice@corp.example", theirPass)
		alice.WaitUp()
		c.Reaches("10.8.0.1") // the LNS's end comes up a moment later
		c.Run("ping", "-c", strconv.Itoa(echoes), "-i", "0.01", "-q", "10.8.0.1")
		how(alice)
		for name, cause := range map[string]string{"lac": atLAC, "lns": atLNS} {
			var stop lab.Record
			w.Eventually("the stop of "+name, func() error {
				for _, r := range radius.Records() {
					if r["Acct-Status-Type"] == "Stop" && r["NAS-Identifier"] == name && !seen[r["Acct-Session-Id"]+name] {
						stop = r
						return nil
					}
				}
				return errNotThere
			})
			for _, counter := range []string{"Acct-Input-Packets", "Acct-Output-Packets"} {
				if n := packets(t, stop, counter); n < echoes {
					t.Errorf("%s: %s is %d after %d echoes", name, counter, n, echoes)
				}
			}
			if octets := packets(t, stop, "Acct-Input-Octets"); octets < echoes*84 {
				t.Errorf("%s: %d octets", name, octets)
			}
			if stop["Acct-Terminate-Cause"] != cause || stop["User-Name"] != "alice@corp.example" {
				t.Errorf("%s: cause %s, not %s; user %s", name, stop["Acct-Terminate-Cause"], cause, stop["User-Name"])
			}
			if name == "lns" && (stop["Framed-IP-Address"] != "10.8.2.1" || stop["Class"] != "0x676f6c64") {
				t.Errorf("the stop record: %v", stop)
			}
		}
	}
	stops(func(alice *lab.Subscriber) { alice.Signal(unix.SIGTERM); alice.Wait() }, "User-Request", "User-Request")
	stops(func(alice *lab.Subscriber) {
		s := lns.Sessions()[0]
		lns.Ctl("session", "close", fmt.Sprintf("%d/%d", s.TunnelID, s.ID))
		alice.Wait()
	}, "Host-Request", "Admin-Reset")
	stops(func(alice *lab.Subscriber) {
		lac.Stop()
		alice.Wait()
		lac.Start() // what the server has not taken in time is delivered now
	}, "Admin-Reboot", "Lost-Service")
	radius.WaitRecord("Acct-Status-Type", "Accounting-Off", "NAS-Identifier", "lac")
	discreet(t, lac, lns)
}

// P241: a reload that adds the first server, or removes the last, is told to it before and behind the sessions.
func TestAccountingBeginsAndEndsWithReloads(t *testing.T) {
	t.Parallel()
	w, c, server := newStayer(t)
	radius := server.FreeRADIUS(serverSecret, "")
	without := strings.Replace(w.stays(""), "users: [local, radius]", "users: [local]", 1)
	d := w.lac.L2TPD(without)
	before := c.Subscriber("lac", "local", theirPass)
	before.WaitUp()
	d.SetConfig(w.stays(radiusConfig("", "10.5.0.2")))
	d.Ctl("reload")
	radius.WaitRecord("Acct-Status-Type", "Accounting-On")
	after := c.Subscriber("lac", "local", theirPass)
	after.WaitUp()
	radius.WaitRecord("Acct-Status-Type", "Start")
	for _, x := range []*lab.Subscriber{before, after} {
		x.Signal(unix.SIGTERM)
		x.Wait()
	}
	radius.WaitRecord("Acct-Status-Type", "Stop")
	d.SetConfig(without)
	d.Ctl("reload")
	radius.WaitRecord("Acct-Status-Type", "Accounting-Off")
	var all []string
	for _, r := range radius.Records() {
		all = append(all, r["Acct-Status-Type"])
	}
	// FreeRADIUS keeps a record again that comes again because its answer was late.
	if want := []string{"Accounting-On", "Start", "Stop", "Accounting-Off"}; !slices.Equal(slices.Compact(all), want) {
		t.Errorf("the server is told %v, want %v", all, want)
	}
	if n := d.CountLog("record is lost|RADIUS client ends"); n > 0 {
		t.Errorf("%d lines about lost records", n)
	}
	discreet(t, d)
}

// P241: what happens while no server takes records is told when one does, with the time that has passed, and over a crash.
func TestAccountingSurvivesOutagesAndCrashes(t *testing.T) {
	t.Parallel()
	w, c, server := newStayer(t)
	radius := server.FreeRADIUS(serverSecret, "")
	d := w.lac.NewL2TPD(w.stays(radiusConfig("", "10.5.0.2")))
	d.Start()
	first := c.Subscriber("lac", "local", theirPass)
	first.WaitUp()
	radius.WaitRecord("Acct-Status-Type", "Start") // which it keeps before it answers
	w.Eventually("all is delivered", func() error {
		if r := d.Status().RADIUS; r == nil || r.Records.Queued > 0 {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	radius.Kill()
	ended := time.Now()
	first.Signal(unix.SIGTERM)
	first.Wait()
	d.WaitSessions(0)
	d.WaitLog("WARN .*RADIUS server does not answer")
	w.Eventually("the queue", func() error {
		if !strings.Contains(d.Ctl("status"), "1 record waiting") {
			return errors.New(d.Ctl("status"))
		}
		return nil
	})
	second := c.Subscriber("lac", "local", theirPass)
	second.WaitUp()
	mark := d.Mark()
	second.Signal(unix.SIGTERM)
	second.Wait()
	d.WaitLogSince(mark, "call down")
	w.Eventually("the spool", func() error {
		if r := d.Status().RADIUS; r == nil || r.Records.Queued < 3 || r.Records.Spooled != r.Records.Queued {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	d.Kill()
	d.Start()
	d.WaitLog("INFO .*accounting records of an earlier run are delivered now.* records=")
	radius.Start()
	w.Eventually("both stops", func() error {
		stops := map[string]lab.Record{}
		for _, r := range radius.Records() {
			if r["Acct-Status-Type"] == "Stop" {
				stops[r["Acct-Session-Id"]] = r
			}
		}
		if len(stops) != 2 {
			return cmp.Or(fmt.Errorf("%d stops", len(stops)), errNotThere)
		}
		for _, r := range stops {
			delay, err := strconv.Atoi(r["Acct-Delay-Time"])
			if err != nil {
				return err
			}
			if most := int(time.Since(ended).Seconds()) + 2; delay < 1 || delay > most {
				t.Errorf("the record is %d s old, at most %d have passed", delay, most)
			}
		}
		return nil
	})
	discreet(t, d)
}

// P243-P246: the server ends and changes sessions by the names that accounting has told it. What cannot be done is answered with the
// reason; who has not the secret hears nothing.
func TestRADIUSServerEndsAndChangesSessions(t *testing.T) {
	t.Parallel()
	w := newWholesale(t, "client")
	server := withRADIUS(w.Lab, w.lac)
	radius := server.FreeRADIUS(serverSecret, knownUser("alice", theirPass)+knownUser("bob", theirPass))
	w.lns.L2TPD(`
server: {mode: lns, hostname: lns}
secret: ` + tunnelSecret + `
lns: {accept: [{from: any, template: dialin}]}
ppp: {templates: {dialin: {auth: [chap], ipv4_local: 10.8.0.1, ipv4_pool: ips}}}
pools: {ips: {ranges: [10.8.0.10-10.8.0.20]}}
users: {carol@far.example: {password: ` + theirPass + `}}
`)
	config := strings.Replace(w.stays(radiusConfig(", coa: {listen: [\"10.5.0.1\"], clients: [{from: 10.5.0.2, secret: "+serverSecret+"}]}", "10.5.0.2")),
		"    - {match: all,", "    - {match: {realm: far.example}, action: tunnel, lns: [{address: 10.4.0.2}], secret: "+tunnelSecret+"}\n    - {match: all,", 1)
	d := w.lac.L2TPD(config)
	c := w.clients[0]
	order := func(what, secret, attributes, want string) {
		t.Helper()
		if out := server.Order("10.5.0.1:3799", what, secret, attributes); !strings.Contains(out, want) {
			t.Errorf("%s %s: no %q in\n%s", what, attributes, want, out)
		}
	}
	alice, bob, carol := c.Subscriber("lac", "alice", theirPass), c.Subscriber("lac", "bob", theirPass), c.Subscriber("lac", "carol@far.example", theirPass)
	for _, x := range []*lab.Subscriber{alice, bob, carol} {
		x.WaitUp()
	}
	start := radius.WaitRecord("User-Name", "bob", "Acct-Status-Type", "Start")
	order("disconnect", wrongPass, `User-Name = "alice"`, "No reply")
	order("disconnect", serverSecret, `User-Name = "nobody"`, "Error-Cause = Session-Context-Not-Found")
	order("disconnect", serverSecret, `User-Name = "alice"`, "Received Disconnect-ACK")
	alice.Wait()
	radius.WaitRecord("User-Name", "alice", "Acct-Status-Type", "Stop", "Acct-Terminate-Cause", "Admin-Reset")
	order("coa", serverSecret, `User-Name = "bob", Filter-Id = "gold"`, "Error-Cause = Unsupported-Attribute")
	order("coa", serverSecret, `Acct-Session-Id = "`+start["Acct-Session-Id"]+`", Session-Timeout = 2`, "Received CoA-ACK")
	bob.Wait()
	radius.WaitRecord("User-Name", "bob", "Acct-Status-Type", "Stop", "Acct-Terminate-Cause", "Session-Timeout")
	order("coa", serverSecret, `User-Name = "carol@far.example", Session-Timeout = 60`, "Error-Cause = Administratively-Prohibited")
	order("disconnect", serverSecret, `User-Name = "carol@far.example"`, "Received Disconnect-ACK")
	carol.Wait()
	if !strings.Contains(carol.Log(), "PADT") && !strings.Contains(carol.Log(), "Modem hangup") && !strings.Contains(carol.Log(), "a RADIUS server asks for it") {
		t.Error("carol was not told")
	}
	radius.WaitRecord("User-Name", "carol@far.example", "Acct-Status-Type", "Stop", "Acct-Terminate-Cause", "Admin-Reset")
	discreet(t, d)
}
