package radius

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	codec "layeh.com/radius"

	"github.com/l2tpd/l2tpd/pkg/ppp"
)

func login(name string) Request {
	return Request{Method: ppp.AuthPAP, Name: name, Password: secretOf("topsecret")}
}

func TestLoginIsAcceptedOrRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t, "secret", func(g got) [][]byte {
		if string(g.packet.Get(1)) == "good" {
			return [][]byte{reply(g, g.packet.Secret, codec.CodeAccessAccept, avp(18, "welcome"))}
		}
		return reject(g)
	})
	c := newClient(t, Config{Servers: []Server{{Name: "one", Auth: f.addr(), Timeout: wait}}})
	a, err := c.Authorize(t.Context(), login("good"))
	if err != nil || !a.Accept || a.Message != "welcome" || a.Server != "one" {
		t.Errorf("%+v, %v", a, err)
	}
	a, err = c.Authorize(t.Context(), login("bad"))
	if err != nil || a.Accept || a.Reason == "" {
		t.Errorf("%+v, %v", a, err)
	}
	n := c.Counters().Auth[0]
	if n.Requests != 2 || n.Accepts != 1 || n.Rejects != 1 || n.Outstanding != 0 || n.RoundTrip <= 0 {
		t.Errorf("%+v", n)
	}
}

func TestWhatThePeerMadeUnaskableIsRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t, "secret", accept)
	c := newClient(t, Config{Servers: []Server{{Auth: f.addr()}}})
	for _, r := range []Request{
		login(""),
		login(strings.Repeat("n", 254)),
		{Method: ppp.AuthPAP, Name: "n", Password: secretOf(strings.Repeat("p", 129))},
		{Method: ppp.AuthCHAPMD5, Name: "n", Challenge: []byte("c"), Response: make([]byte, 15)},
		{Method: ppp.AuthCHAPMD5, Name: "n", Response: make([]byte, 16)},
		{Method: ppp.AuthMSCHAPv1, Name: "n", Challenge: make([]byte, 8), Response: make([]byte, 48)},
		{Method: ppp.AuthMSCHAPv2, Name: "n", Challenge: make([]byte, 8), Response: make([]byte, 49)},
		{Method: 99, Name: "n"},
	} {
		if a, err := c.Authorize(t.Context(), r); err != nil || a.Accept || a.Reason == "" || a.Server != "" {
			t.Errorf("%v: %+v, %v", r.Method, a, err)
		}
	}
	if len(f.requests()) != 0 {
		t.Error("a server was asked")
	}
}

// P237: RFC 5080, 2.2.1.
func TestRepeatsAreTheSamePacket(t *testing.T) {
	t.Parallel()
	f := newFake(t, "secret", silent)
	c := newClient(t, Config{Servers: []Server{{Auth: f.addr(), Tries: 3, Timeout: 20 * time.Millisecond}}})
	if _, err := c.Authorize(t.Context(), login("u")); !errors.Is(err, ErrNoAnswer) {
		t.Fatal(err)
	}
	all := f.gets(3)
	for _, g := range all[1:] {
		if !bytes.Equal(g.raw, all[0].raw) || g.from != all[0].from {
			t.Error("a repeat is another packet")
		}
	}
	if n := c.Counters().Auth[0]; n.Retransmissions != 2 || n.Timeouts != 1 || n.DeadSince.IsZero() {
		t.Errorf("%+v", n)
	}
}

func TestSlowServerIsWaitedFor(t *testing.T) {
	t.Parallel()
	f := newFake(t, "secret", silent)
	f.become(func(g got) [][]byte {
		if len(f.requests()) < 3 {
			return nil
		}
		return accept(g)
	})
	c := newClient(t, Config{Servers: []Server{{Auth: f.addr(), Tries: 100}}})
	if a, err := c.Authorize(t.Context(), login("u")); err != nil || !a.Accept {
		t.Errorf("%+v, %v", a, err)
	}
}

// P237: the dead one is asked last until its time is over.
func TestDeadServerIsAskedLast(t *testing.T) {
	t.Parallel()
	first, second := newFake(t, "one", silent), newFake(t, "two", accept)
	var log bytes.Buffer
	c := newClient(t, Config{DeadTime: time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil)), Servers: []Server{
		{Name: "first", Auth: first.addr(), Secret: secretOf("one")},
		{Name: "second", Auth: second.addr(), Secret: secretOf("two"), Timeout: wait},
	}})
	for range 2 {
		if a, err := c.Authorize(t.Context(), login("u")); err != nil || a.Server != "second" {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	first.gets(2)
	second.become(silent)
	first.become(accept)
	c.auth[0].timeout, c.auth[1].timeout = wait, 20*time.Millisecond
	if a, err := c.Authorize(t.Context(), login("u")); err != nil || a.Server != "first" {
		t.Fatalf("the last hope was not asked: %+v, %v", a, err)
	}
	if n := c.Counters().Auth; !n[0].DeadSince.IsZero() || n[1].DeadSince.IsZero() {
		t.Errorf("%+v", n)
	}
	if a, err := c.Authorize(t.Context(), login("u")); err != nil || a.Server != "first" {
		t.Errorf("%+v, %v", a, err)
	}
	if s := log.String(); strings.Count(s, "does not answer") != 2 || strings.Count(s, "answers again") != 1 || strings.Contains(s, "topsecret") {
		t.Error(s)
	}
}

func TestDeadTimeEnds(t *testing.T) {
	t.Parallel()
	first, second := newFake(t, "secret", silent), newFake(t, "secret", accept)
	c := newClient(t, Config{DeadTime: time.Nanosecond, Servers: []Server{
		{Name: "first", Auth: first.addr()}, {Name: "second", Auth: second.addr(), Timeout: wait},
	}})
	for range 2 {
		if a, err := c.Authorize(t.Context(), login("u")); err != nil || a.Server != "second" {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	first.gets(4)
}

// A server that does not like one request is not dead when it answers others.
func TestSilenceToOneRequestIsNoDeath(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	f := newFake(t, "secret", func(g got) [][]byte {
		if string(g.packet.Get(1)) == "poison" {
			return nil
		}
		return accept(g)
	})
	c := newClient(t, Config{Servers: []Server{{Auth: f.addr(), Tries: 20, Timeout: 100 * time.Millisecond}}})
	go func() {
		defer close(release)
		_, _ = c.Authorize(context.Background(), login("poison"))
	}()
	eventually(t, "poison is sent", func() bool { return len(f.requests()) > 0 })
	if _, err := c.Authorize(t.Context(), login("u")); err != nil {
		t.Fatal(err)
	}
	<-release
	if n := c.Counters().Auth[0]; n.Timeouts != 1 || !n.DeadSince.IsZero() {
		t.Errorf("%+v", n)
	}
}

// P238: what is not signed, or is signed with another secret, or answers another request, counts for nothing; the right answer behind
// it does.
func TestForgedAnswersAreIgnored(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		forged func(g got) []byte
		count  func(n ServerCounters) uint64
	}{
		"another secret": {
			func(g got) []byte { return reply(g, []byte("other"), codec.CodeAccessAccept) },
			func(n ServerCounters) uint64 { return n.BadAuthenticators },
		},
		"unsigned": {
			func(g got) []byte { return unsigned(g, g.packet.Secret, codec.CodeAccessAccept) },
			func(n ServerCounters) uint64 { return n.Unsigned },
		},
		"wrong Message-Authenticator": {
			func(g got) []byte {
				return unsigned(g, g.packet.Secret, codec.CodeAccessAccept, avp(80, strings.Repeat("x", 16)))
			},
			func(n ServerCounters) uint64 { return n.BadAuthenticators },
		},
		"two Message-Authenticators": {
			func(g got) []byte {
				return reply(g, g.packet.Secret, codec.CodeAccessAccept, avp(80, strings.Repeat("x", 16)))
			},
			func(n ServerCounters) uint64 { return n.Malformed },
		},
		"short": {func(got) []byte { return []byte("short") }, func(n ServerCounters) uint64 { return n.Malformed }},
		"another id": {
			func(g got) []byte {
				b := reply(g, g.packet.Secret, codec.CodeAccessAccept)
				b[1]++
				return b
			},
			func(n ServerCounters) uint64 { return n.Strays },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, "secret", func(g got) [][]byte { return append([][]byte{c.forged(g)}, reject(g)...) })
			client := newClient(t, Config{Servers: []Server{{Auth: f.addr(), Timeout: wait}}})
			a, err := client.Authorize(t.Context(), login("u"))
			if n := client.Counters().Auth[0]; err != nil || a.Accept || a.Server == "" || c.count(n) != 1 {
				t.Errorf("%+v, %v, %+v", a, err, n)
			}
		})
	}
}

func TestUnsignedAnswersCanBeAllowed(t *testing.T) {
	t.Parallel()
	f := newFake(t, "secret", func(g got) [][]byte { return [][]byte{unsigned(g, g.packet.Secret, codec.CodeAccessAccept)} })
	c := newClient(t, Config{Servers: []Server{{Auth: f.addr(), Timeout: wait, AllowUnsigned: true}}})
	if a, err := c.Authorize(t.Context(), login("u")); err != nil || !a.Accept {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestWrongSecretIsNamedInTheError(t *testing.T) {
	t.Parallel()
	f := newFake(t, "other", accept)
	c := newClient(t, Config{Servers: []Server{{Auth: f.addr(), Name: "one"}}})
	eventually(t, "an answer is in time to be counted", func() bool {
		_, _ = c.Authorize(t.Context(), login("u"))
		return c.Counters().Auth[0].BadAuthenticators > 0
	})
	_, err := c.Authorize(t.Context(), login("u"))
	if !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "one: no answer; some had a wrong authenticator") ||
		strings.Contains(err.Error(), "topsecret") {
		t.Error(err)
	}
}

func TestRepeatedAnswersAreStrays(t *testing.T) {
	t.Parallel()
	f := newFake(t, "secret", func(g got) [][]byte { return append(accept(g), accept(g)...) })
	c := newClient(t, Config{Servers: []Server{{Auth: f.addr(), Timeout: wait}}})
	for range 3 {
		if a, err := c.Authorize(t.Context(), login("u")); err != nil || !a.Accept {
			t.Errorf("%+v, %v", a, err)
		}
	}
	eventually(t, "strays are counted", func() bool { return c.Counters().Auth[0].Strays == 3 })
}

// P237: more than 256 at once need more source ports.
func TestSixHundredAtOnce(t *testing.T) {
	t.Parallel()
	const many = 600
	var mu sync.Mutex
	held := map[string]got{}
	f := newFake(t, "secret", silent)
	f.become(func(g got) (out [][]byte) {
		mu.Lock()
		defer mu.Unlock()
		held[string(g.packet.Get(1))] = g
		if len(held) < many {
			return nil
		}
		for _, h := range held {
			f.send(reply(h, f.secret, codec.CodeAccessAccept, avp(18, string(h.packet.Get(1)))), h.from)
		}
		return nil
	})
	c := newClient(t, Config{Servers: []Server{{Auth: f.addr(), Timeout: 3 * time.Second, Tries: 10}}})
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			name := fmt.Sprintf("user%d", i)
			if a, err := c.Authorize(t.Context(), login(name)); err != nil || a.Message != name {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
		})
	}
	all.Wait()
	ports := map[netip.AddrPort]map[byte]string{}
	for _, g := range f.requests() {
		if ports[g.from] == nil {
			ports[g.from] = map[byte]string{}
		}
		name := string(g.packet.Get(1))
		if other, ok := ports[g.from][g.packet.Identifier]; ok && other != name {
			t.Errorf("%s and %s have the same port and id", name, other)
		}
		ports[g.from][g.packet.Identifier] = name
	}
	if len(ports) != 3 {
		t.Errorf("%d source ports", len(ports))
	}
	if n := c.Counters().Auth[0]; n.SourcePorts != 1 || n.Outstanding != 0 {
		t.Errorf("afterwards: %+v", n)
	}
}

func TestContextAndCloseEndALogin(t *testing.T) {
	t.Parallel()
	f := newFake(t, "secret", silent)
	c := newClient(t, Config{Servers: []Server{{Auth: f.addr(), Timeout: time.Hour}}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.Authorize(ctx, login("u"))
		done <- err
	}()
	eventually(t, "it is asked", func() bool { return len(f.requests()) == 1 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	go func() {
		_, err := c.Authorize(context.Background(), login("u"))
		done <- err
	}()
	eventually(t, "it is asked", func() bool { return len(f.requests()) == 2 })
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := c.Authorize(t.Context(), login("u")); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if n := c.Counters().Auth[0]; !n.DeadSince.IsZero() {
		t.Error("the server counts as dead")
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	some := netip.MustParseAddrPort("127.0.0.1:1812")
	for _, s := range []Server{{Auth: some}, {Secret: secretOf("s")}, {Auth: some, Secret: secretOf("s"), Tries: -1}} {
		if c, err := New(Config{Servers: []Server{s}}); err == nil {
			_ = c.Close(t.Context())
			t.Errorf("%+v is taken", s)
		}
	}
	c := newClient(t, Config{})
	if _, err := c.Authorize(t.Context(), login("u")); !errors.Is(err, ErrNoServer) {
		t.Error(err)
	}
	if err := c.Account(Record{Kind: Start, SessionID: "1"}); !errors.Is(err, ErrNoServer) {
		t.Error(err)
	}
}
