//go:build kernel

package radius

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// ownNetwork runs the test in a process that has a network of its own, with nothing but loopback, and is true there.
func ownNetwork(t *testing.T) bool {
	t.Helper()
	const mark = "L2TPD_OWN_NETWORK"
	if os.Getenv(mark) != "" {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), mark+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	return false
}

const serverConfig = `
prefix = DIR
logdir = DIR
raddbdir = DIR
run_dir = DIR
libdir = /usr/lib/freeradius
max_request_time = 30
security { allow_core_dumps = no }
modules {
	pap { }
	chap { }
	mschap { use_mppe = yes }
	files { usersfile = DIR/users }
	detail { filename = DIR/detail }
}
client here { ipaddr = 127.0.0.1
	secret = xyzzy5461
	require_message_authenticator = yes }
client there { ipaddr = 127.0.0.2
	secret = another
	require_message_authenticator = yes }
server default {
	listen { type = auth
		ipaddr = 127.0.0.1
		port = 1812 }
	listen { type = acct
		ipaddr = 127.0.0.1
		port = 1813 }
	authorize {
		chap
		mschap
		files
		pap
	}
	authenticate {
		Auth-Type PAP {
			pap
		}
		Auth-Type CHAP {
			chap
		}
		Auth-Type MS-CHAP {
			mschap
		}
	}
	preacct { }
	accounting {
		detail
	}
	SIGN
}
`

// signAnswers has FreeRADIUS put a Message-Authenticator into answers, which 3.2.1 does not do by itself.
const signAnswers = `post-auth {
		update reply {
			Message-Authenticator := 0x00
		}
		Post-Auth-Type REJECT {
			update reply {
				Message-Authenticator := 0x00
			}
		}
	}`

const serverUsers = `
alice Cleartext-Password := "alicepw"
	Service-Type = Framed-User, Framed-Protocol = PPP, Framed-IP-Address = 192.0.2.77, Framed-Route = "198.51.100.0/24 192.0.2.77 2",
	Framed-IPv6-Prefix = 2001:db8:1::/64, Delegated-IPv6-Prefix = 2001:db8:100::/56, Session-Timeout = 3600, Class = 0x616263,
	Reply-Message = "welcome"

tunnel.example Cleartext-Password := "fixed"
	Tunnel-Type:1 = L2TP, Tunnel-Medium-Type:1 = IPv4, Tunnel-Server-Endpoint:1 = "192.0.2.1", Tunnel-Password:1 = "tunnelsecret",
	Tunnel-Preference:1 = 20, Tunnel-Assignment-Id:1 = "gold", Tunnel-Client-Auth-Id:1 = "lac", Tunnel-Server-Auth-Id:1 = "lns",
	Tunnel-Type:2 += L2TP, Tunnel-Medium-Type:2 += IPv6, Tunnel-Server-Endpoint:2 += "2001:db8::1", Tunnel-Preference:2 += 10,
	Tunnel-Password:2 += "a-longer-tunnel-secret-over-16-octets"
`

// freeRADIUS runs a server until the test ends, and gives its directory.
func freeRADIUS(t *testing.T, postAuth string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{"radiusd.conf": serverConfig, "users": serverUsers, "dictionary": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.NewReplacer("DIR", dir, "SIGN", postAuth).Replace(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("freeradius", "-X", "-d", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan struct{})
	var log bytes.Buffer
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			fmt.Fprintln(&log, lines.Text())
			if strings.Contains(lines.Text(), "Ready to process requests") {
				select {
				case <-ready:
				default:
					close(ready)
				}
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("freeradius:\n%s", log.String())
		}
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatal("freeradius has ended")
	case <-time.After(time.Minute):
		t.Fatal("freeradius does not start")
	}
	return dir
}

func freeRADIUSServer(secret string) Server {
	return Server{
		Name: "freeradius", Auth: netip.MustParseAddrPort("127.0.0.1:1812"), Accounting: netip.MustParseAddrPort("127.0.0.1:1813"),
		Secret: secretOf(secret), Timeout: wait,
	}
}

// P226, P236, P238, P241, P250 with a server that is not ours.
func TestFreeRADIUSAcceptsRefusesAndAccounts(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	dir := freeRADIUS(t, signAnswers)
	c := newClient(t, Config{
		Servers: []Server{freeRADIUSServer(vectorSecret)}, NAS: NAS{Identifier: "edge1", IPv4: netip.MustParseAddr("127.0.0.1")},
		Spool: Spool{Dir: filepath.Join(dir, "spool")},
	})
	ask := func(r Request) Answer {
		t.Helper()
		a, err := c.Authorize(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	same(t, Answer{Accept: true, Server: "freeradius", Tunnels: []Tunnel{
		{Tag: 2, Medium: 2, ServerEndpoint: "2001:db8::1", Password: secretOf("a-longer-tunnel-secret-over-16-octets"), Preference: 10},
		{
			Tag: 1, Medium: 1, ServerEndpoint: "192.0.2.1", Password: secretOf("tunnelsecret"), AssignmentID: "gold", ClientAuthID: "lac",
			ServerAuthID: "lns", Preference: 20,
		},
	}}, ask(Realm("tunnel.example", secretOf("fixed"), Port{Type: PortEthernet, ID: "eth1", Access: AccessLine{CircuitID: "c", ActualUp: 1}})))

	alice := Answer{
		Accept: true, Server: "freeradius", Message: "welcome", Address: netip.MustParseAddr("192.0.2.77"),
		Routes:       []Route{{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Gateway: netip.MustParseAddr("192.0.2.77"), Metric: 2}},
		IPv6Prefixes: prefixes("2001:db8:1::/64"), DelegatedPrefixes: prefixes("2001:db8:100::/56"), SessionTimeout: pointer(time.Hour),
		Class: [][]byte{[]byte("abc")},
	}
	pap := Request{Method: ppp.AuthPAP, Name: "alice", Password: secretOf("alicepw"), Port: Port{Type: PortVirtual, Number: 1}}
	same(t, alice, ask(pap))
	challenge := []byte("0123456789abcdef")
	response := ppp.CHAPMD5(7, []byte("alicepw"), challenge)
	same(t, alice, ask(Request{Method: ppp.AuthCHAPMD5, Name: "alice", ID: 7, Challenge: challenge, Response: response[:]}))
	pap.Password = secretOf("wrong")
	if a := ask(pap); a.Accept {
		t.Errorf("a wrong password: %+v", a)
	}
	for _, m := range []ppp.AuthMethod{ppp.AuthMSCHAPv1, ppp.AuthMSCHAPv2} {
		microsoftLogin(t, m, ask)
	}

	mustAccount(
		t, c, Record{Kind: On}, Record{Kind: Start, SessionID: "s1", User: "alice"},
		Record{
			Kind: Stop, SessionID: "s1", User: "alice", InputOctets: 1<<32 + 5, Cause: UserRequest, Class: alice.Class,
			Tunnel: TunnelInfo{ServerEndpoint: "192.0.2.1", ClientEndpoint: "192.0.2.2", Connection: "42"},
		},
	)
	delivered(t, c, 3)
	detail, err := os.ReadFile(filepath.Join(dir, "detail"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Acct-Status-Type = Accounting-On", "Acct-Status-Type = Start", "Acct-Status-Type = Stop", "Acct-Input-Gigawords = 1",
		"Acct-Terminate-Cause = User-Request", "Class = 0x616263", "Acct-Tunnel-Connection", "Acct-Delay-Time = 0",
	} {
		if !strings.Contains(string(detail), want) {
			t.Errorf("no %s in\n%s", want, detail)
		}
	}
}

// microsoftLogin logs alice in with MS-CHAP, and compares what the server sends with what the password gives.
func microsoftLogin(t *testing.T, m ppp.AuthMethod, ask func(Request) Answer) {
	t.Helper()
	challenge := []byte("0123456789abcdef")
	if m == ppp.AuthMSCHAPv1 {
		challenge = challenge[:8]
	}
	value := append([]byte("fedcba9876543210"), make([]byte, 33)...)
	if m == ppp.AuthMSCHAPv1 {
		value = make([]byte, 49)
	}
	want, ok := ppp.SolveMSCHAP(m, "alice", []byte("alicepw"), challenge, value)
	if !ok {
		t.Fatal("no solution")
	}
	copy(value[24:], want.Response[:])
	value[48] = map[ppp.AuthMethod]byte{ppp.AuthMSCHAPv1: 1}[m] // v1: the NT response counts
	r := Request{Method: m, Name: "alice", ID: 9, Challenge: challenge, Response: value}
	a := ask(r)
	if !a.Accept || a.MSCHAPSuccess != want.Success || !bytes.Equal(a.Keys.Send, want.Keys.Send) || !bytes.Equal(a.Keys.Recv, want.Keys.Recv) {
		t.Errorf("%v: %+v, not %+v", m, a, want)
	}
	value[30] ^= 1
	a = ask(r)
	if code, _, ok := ppp.MSCHAPError(a.MSCHAPError); a.Accept || !ok || code != 691 {
		t.Errorf("%v, wrong: %+v", m, a)
	}
}

func TestFreeRADIUSWithAnotherSecretSaysNothing(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	freeRADIUS(t, signAnswers)
	s := freeRADIUSServer("wrong")
	s.Timeout, s.Tries = 500*time.Millisecond, 2
	c := newClient(t, Config{Servers: []Server{s}})
	if a, err := c.Authorize(t.Context(), Request{Method: ppp.AuthPAP, Name: "alice", Password: secretOf("alicepw")}); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("%+v, %v", a, err)
	}
}

// P238: FreeRADIUS 3.2.1 as it comes needs the option.
func TestFreeRADIUSThatDoesNotSignMustBeAllowed(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	freeRADIUS(t, "")
	strict, lax := freeRADIUSServer(vectorSecret), freeRADIUSServer(vectorSecret)
	strict.Timeout, strict.Tries, lax.AllowUnsigned = 500*time.Millisecond, 2, true
	r := Request{Method: ppp.AuthPAP, Name: "alice", Password: secretOf("alicepw")}
	c := newClient(t, Config{Servers: []Server{strict}})
	eventually(t, "an answer is in time to be counted", func() bool {
		_, _ = c.Authorize(t.Context(), r)
		return c.Counters().Auth[0].Unsigned > 0
	})
	a, err := c.Authorize(t.Context(), r)
	if !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "no Message-Authenticator") {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := newClient(t, Config{Servers: []Server{lax}}).Authorize(t.Context(), r); err != nil || !a.Accept {
		t.Errorf("%+v, %v", a, err)
	}
}

// P243-P245 with an operator's tool that is not ours.
func TestFreeRADIUSClientDisconnectsAndChanges(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	h := &recorder{}
	l, err := Listen(ListenConfig{
		Address: netip.MustParseAddrPort("127.0.0.1:3799"), Handler: h, RequireTimestamp: true,
		Peers: []Peer{{From: rangeOf("127.0.0.0/8"), Secret: secretOf(vectorSecret), Signed: true}}, NAS: NAS{Identifier: "edge1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ask := func(what, secret, attrs, want string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		cmd := exec.CommandContext(ctx, "radclient", "-x", "-r", "2", "-t", "2", "127.0.0.1:3799", what, secret)
		cmd.Stdin = strings.NewReader(fmt.Sprintf("%s, Event-Timestamp = %d, Message-Authenticator = 0x00\n", attrs, time.Now().Unix()))
		out, _ := cmd.CombinedOutput() // it fails with a refusal
		if !strings.Contains(string(out), want) {
			t.Errorf("%s %s: no %q in\n%s", what, attrs, want, out)
		}
	}
	ask("disconnect", vectorSecret, `User-Name = "alice", NAS-Identifier = "edge1"`, "Received Disconnect-ACK")
	ask("coa", vectorSecret, `Acct-Session-Id = "s1", Session-Timeout = 60`, "Received CoA-ACK")
	ask("coa", vectorSecret, `Acct-Session-Id = "s1", Service-Type = Framed-User`, "Error-Cause = Unsupported-Service")
	ask("disconnect", vectorSecret, `User-Name = "alice", NAS-Identifier = "other"`, "Error-Cause = NAS-Identification-Mismatch")
	h.say(NotFound)
	ask("disconnect", vectorSecret, `User-Name = "bob"`, "Error-Cause = Session-Context-Not-Found")
	ask("disconnect", "wrong", `User-Name = "alice"`, "No reply")
	matches, changes := h.seen()
	same(t, []Match{{User: "alice"}, {SessionID: "s1"}, {User: "bob"}}, matches)
	same(t, []Change{{}, {SessionTimeout: pointer(time.Minute)}, {}}, changes)
	if n := l.Counters(); n.BadAuthenticators != 2 || n.Acked != 2 || n.Naked != 3 {
		t.Errorf("%+v", n)
	}
}
