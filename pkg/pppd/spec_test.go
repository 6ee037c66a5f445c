package pppd

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/test/golden"
)

// specs are what the golden files in testdata are made of.
func specs(t *testing.T) map[string]Spec {
	t.Helper()
	lns := login(t)
	lns.HostName, lns.MTU, lns.MRU = "edge1", 1400, 1462
	lns.DNS, lns.NBNS = []netip.Addr{ip("192.0.2.53"), ip("192.0.2.54")}, []netip.Addr{ip("192.0.2.55")}
	lns.Users = append(lns.Users, User{Name: "fixed", Password: secret("p"), IPv4: ip("198.51.100.7")},
		User{Name: "nobody"}, User{Name: "*", Password: secret("everybody")}, User{Name: "file", Password: secret("@/etc/shadow")},
		User{Name: "machine", Password: secret("@login")}, User{Name: "odd \"n\\a\tm#e'", Password: secret("\"a\\b\tc#d'e f")},
		User{Name: "zero", Password: secret("a\x00b")})
	lns.EchoInterval, lns.IdleTimeout, lns.SessionTimeout = 10*time.Second, 90*time.Second, time.Hour
	lns.Rechallenge, lns.Restart = 5*time.Minute, 1500*time.Millisecond
	lns.MaxConfigure, lns.MaxTerminate, lns.MaxFailure, lns.EchoFailures = 7, 3, 4, 5

	wide := lns
	wide.Peer, wide.Auth, wide.Users = netip.Addr{}, []Auth{AuthPAP}, lns.Users[:1]

	client := Spec{
		Answer: []Auth{AuthCHAP, AuthPAP, AuthMSCHAPv2}, User: "branch office", Password: secret("se\"cret\n#"), WantDNS: true,
		IPv4: ppp.IPv4Request, Local: ip("192.0.2.1"), IPv6: true, IPv6ID: 1, PeerIPv6ID: 0xfedcba9876543210,
	}
	v6 := Spec{IPv6: true, IPv6ID: 0x0102030405060708}
	unnumbered := Spec{IPv4: ppp.IPv4Unnumbered, Local: ip("10.0.0.1"), Peer: ip("10.0.0.2")}
	borrowed := Spec{IPv4: ppp.IPv4Unnumbered, Local: ip("10.0.0.1")}
	mppe := login(t)
	mppe.Auth, mppe.RequireMPPE = []Auth{AuthMSCHAPv2}, true
	further := Spec{
		IPv4:    ppp.IPv4Request,
		Options: []string{"lcp-echo-adaptive", " lcp-echo-interval  7 ", `active-filter "icmp or tcp port 80"`, "ms-wins '#1'", "debug"},
	}
	return map[string]Spec{
		"lns": lns, "pap-no-address": wide, "client": client, "ipv6-only": v6, "unnumbered": unnumbered, "borrowed": borrowed,
		"mppe": mppe, "further": further,
	}
}

func TestTheFilesOfASession(t *testing.T) {
	t.Parallel()
	for name, spec := range specs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec.Name, spec.Socket = "1/1", socket(t)
			defer spec.Socket.Close()
			if err := spec.validate(); err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			pap, chap := spec.secrets()
			for _, f := range []struct {
				name    string
				content []byte
			}{{"options", spec.options("l2tp0")}, {"pap-secrets", pap}, {"chap-secrets", chap}} {
				if f.content != nil {
					fmt.Fprintf(&b, "== %s\n%s", f.name, f.content)
				}
			}
			golden.Compare(t, name+".txt", b.String())
		})
	}
}

// pppd's way to read a word, ported (getword in options.c): what is written must be what it reads.
func getword(t *testing.T, text string) (words []string) {
	t.Helper()
	r := bytes.NewBufferString(text)
	get := func() int {
		c, err := r.ReadByte()
		if err != nil {
			return -1
		}
		return int(c)
	}
	isSpace := func(c int) bool { return c == ' ' || c >= '\t' && c <= '\r' }
	c := get()
	for {
		for isSpace(c) {
			c = get()
		}
		if c < 0 {
			return words
		}
		if c == '#' {
			t.Fatalf("a comment in %q", text)
		}
		var word []byte
		quote := 0
		for c >= 0 {
			switch {
			case c == '\\':
				c = get()
				if c < '0' || c > '7' {
					t.Fatalf("an escape that is not octal in %q", text)
				}
				value := 0
				for n := 0; n < 3 && c >= '0' && c <= '7'; n++ {
					value = value<<3 + c - '0'
					c = get()
				}
				word = append(word, byte(value))
				continue
			case quote != 0 && c == quote:
				quote = 0
				c = get()
				continue
			case quote != 0:
			case c == '"' || c == '\'':
				quote = c
				c = get()
				continue
			case isSpace(c) || c == '#':
				quote = -1
			}
			if quote < 0 {
				break
			}
			word = append(word, byte(c))
			c = get()
		}
		words = append(words, string(word))
	}
}

func TestPppdReadsWhatIsWritten(t *testing.T) {
	t.Parallel()
	var all []byte
	for c := 255; c > 0; c-- {
		all = append(all, byte(c))
	}
	words := []string{string(all), "plain", "", "7", "\x017", `a"b`, "a'b", `\`, "#", " ", "a b", "12\n34"}
	var f file
	f.add("option", words...)
	f.add("next")
	if n := strings.Count(f.String(), "\n"); n != 2 {
		t.Errorf("%d lines: %q", n, f.String())
	}
	got := getword(t, f.String())
	want := append(append([]string{"option"}, words...), "next")
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// What vslprintf in pppd's utils.c makes of octets with %v.
func TestNamesAreMadeVisibleAsPppdDoes(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"alice": "alice", `do\main "x"`: `do\main "x"`, "a\tb": "a\tb", "a\nb": "a^Jb", "\x7f": "^?", "ö": "M-CM-6", "\xff\x9f\xa0": "M-^?M-^_M- ",
		"\x89": "M-\t",
	} {
		if got := visible(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestSpecsThatPppdCannotCarryOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		change func(*Spec)
		want   string
	}{
		{func(s *Spec) { s.Socket = nil }, "no socket"},
		{func(s *Spec) { s.Name = "" }, "no name"},
		{func(s *Spec) { s.MTU = 127 }, "mtu 127: pppd takes 128..16384"},
		{func(s *Spec) { s.MRU = 16385 }, "mru 16385: pppd takes 128..16384"},
		{func(s *Spec) { s.Interface = "a-name-of-16-oct" }, `interface name "a-name-of-16-oct"`},
		{func(s *Spec) { s.Interface = "a/b" }, `interface name "a/b"`},
		{func(s *Spec) { s.Interface = "l%dp%d" }, `interface name "l%dp%d"`},
		{func(s *Spec) { s.Interface = "a b" }, `interface name "a b"`},
		{func(s *Spec) { s.Interface = ".." }, `interface name ".."`},
		{func(s *Spec) { s.HostName = "a\x00b" }, `host name "a\x00b"`},
		{func(s *Spec) { s.Users = nil }, "the peer must log in, but there is no user who could"},
		{func(s *Spec) { s.Users = []User{{Name: "*", Password: secret("x")}} }, "the peer must log in, but there is no user who could"},
		{func(s *Spec) { s.Answer, s.User = []Auth{AuthPAP}, "x" }, "our login: no name or no password"},
		{func(s *Spec) { s.Answer, s.User, s.Password = []Auth{AuthPAP}, "x", secret("a\x00b") }, "our login: pppd cannot have a zero octet in a name or password"},
		{func(s *Spec) { s.Answer, s.User, s.Password = []Auth{AuthPAP}, "x", secret(strings.Repeat("x", 256)) }, "our login: the name or the password is too long for pppd"},
		{func(s *Spec) { s.RequireMPPE = true }, "MPPE takes its keys from MS-CHAPv2: nothing else may be demanded or answered, and in one direction only"},
		{func(s *Spec) { s.Local = netip.Addr{} }, "no local IPv4 address"},
		{func(s *Spec) { s.IPv4, s.Local = ppp.IPv4Unnumbered, netip.Addr{} }, "pppd needs an IPv4 address of ours on an unnumbered link, too"},
		{func(s *Spec) { s.IPv4 = ppp.IPv4Off }, "neither IPv4 nor IPv6"},
		{func(s *Spec) { s.Peer = ip("2001:db8::1") }, "address 2001:db8::1: not IPv4"},
		{func(s *Spec) { s.DNS = []netip.Addr{ip("192.0.2.1"), ip("192.0.2.2"), ip("192.0.2.3")} }, "more than two DNS or NBNS servers"},
		{func(s *Spec) { s.Options = make([]string, 101) }, "101 further options: at most 100"},
		{func(s *Spec) { s.Options = []string{"debug", "pty /bin/cat"} }, `pppd option "pty /bin/cat": pty is about a line, and the line is the L2TP session`},
	} {
		spec := login(t)
		_ = spec.Socket.Close()
		c.change(&spec)
		if err := spec.validate(); err == nil || err.Error() != c.want {
			t.Errorf("error %v\nwant  %s", err, c.want)
		}
	}
}

func TestFurtherOptionsKeepPppdUnderSupervision(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"debug", "lcp-echo-adaptive", "mtu 1400", "ipcp-accept-remote", "active-filter 'icmp and not host 10.0.0.1'", "ms-dns 10.0.0.1",
		"endpoint local:01.02.03", "nomppe-stateful", "maxoctets 100000", "kdebug 7",
	} {
		if err := CheckOption(good); err != nil {
			t.Error(err)
		}
	}
	for bad, want := range map[string]string{
		"":                               "nothing in it",
		"  ":                             "nothing in it",
		"debug ''":                       "nothing in it",
		"debug\nplugin x.so":             "a line break or another control character",
		"debug\x00":                      "a line break or another control character",
		"'debug":                         "a quote that does not end",
		"'de'bug":                        "a quote within a word",
		"plugin x.so":                    "plugin would bring in what the daemon has not written",
		"debug plugin x.so":              "plugin would bring in what the daemon has not written",
		"'plugin' x.so":                  "plugin would bring in what the daemon has not written",
		"call isp":                       "call would bring in what the daemon has not written",
		"file /etc/passwd":               "file would bring in what the daemon has not written",
		"pty 'ssh x'":                    "pty is about a line, and the line is the L2TP session",
		"connect x":                      "connect is about a line, and the line is the L2TP session",
		"/dev/ttyS0":                     "/dev/ttyS0 is about a line, and the line is the L2TP session",
		"updetach":                       "updetach would take pppd from under the daemon's eyes",
		"logfd 7":                        "logfd would take pppd's log from the daemon",
		"show-password":                  "show-password would write passwords into the log",
		"persist":                        "persist would begin anew on a session that has ended",
		"multilink":                      "multilink would join sessions",
		"noauth":                         "noauth would let in who should not be",
		"10.0.0.1:10.0.0.2":              "10.0.0.1:10.0.0.2 is given by other keys",
		"password x":                     "password is given by other keys",
		"pppol2tp 7":                     "pppol2tp is given by other keys",
		"pppol2tp_lns_mode":              "pppol2tp_lns_mode is given by other keys",
		"set PEERNAME=root":              "set would change what pppd reports to the daemon",
		"ip-up-script /bin/x":            "ip-up-script would change what pppd reports to the daemon",
		"x " + strings.Repeat("x", 1024): "too long for pppd",
	} {
		err := CheckOption(bad)
		if want = fmt.Sprintf("pppd option %q: %s", bad, want); err == nil || err.Error() != want {
			t.Errorf("error %v\nwant  %s", err, want)
		}
	}
}

func TestEveryWayToAuthenticateHasAName(t *testing.T) {
	t.Parallel()
	for a, want := range map[Auth]string{AuthPAP: "PAP", AuthCHAP: "CHAP", AuthMSCHAPv2: "MS-CHAPv2", 9: "Auth(9)"} {
		if got := a.String(); got != want {
			t.Errorf("%d: %s, want %s", a, got, want)
		}
	}
}
