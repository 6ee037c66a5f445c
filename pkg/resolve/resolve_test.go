package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"codeberg.org/miekg/dns"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var compareAddrs = cmp.Options{cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()}

// mustLookup looks name up, and compares the answer.
func mustLookup(t *testing.T, r *Resolver, name string, want Answer) {
	t.Helper()
	got, err := r.Lookup(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, compareAddrs); d != "" {
		t.Errorf("answer for %s (-want +got):\n%s", name, d)
	}
}

// mustNotFind looks a name up that has no addresses, and returns why.
func mustNotFind(t *testing.T, r *Resolver, name string) error {
	t.Helper()
	a, err := r.Lookup(t.Context(), name)
	if err == nil {
		t.Fatalf("%s has %v", name, a.Addrs)
	}
	return err
}

func TestBothFamiliesComeInTurnWithTheLeastTTL(t *testing.T) {
	t.Parallel()
	s := newServer(t, zone(t, "lns.example. 300 IN A 192.0.2.9", "lns.example. 300 IN A 192.0.2.1", "lns.example. 300 IN A 192.0.2.5",
		"lns.example. 120 IN AAAA 2001:db8::9", "other.example. 1 IN A 203.0.113.1"))
	r, _ := newResolver(t, Config{Servers: servers(s)})
	want := Answer{Addrs: addrs("192.0.2.9", "2001:db8::9", "192.0.2.1", "192.0.2.5"), TTL: 2 * time.Minute}
	mustLookup(t, r, "LNS.Example.", want)
	want.Cached = true
	mustLookup(t, r, "lns.example", want)
	if n := s.asked.Load(); n != 2 {
		t.Errorf("%d questions, want 2", n)
	}
	six, err := r.LookupNetIP(t.Context(), "ip6", "lns.example")
	if d := cmp.Diff(addrs("2001:db8::9"), six, compareAddrs); d != "" || err != nil {
		t.Errorf("IPv6 addresses: %v, error %v", six, err)
	}
}

func TestAnswerExpiresAndChanges(t *testing.T) {
	t.Parallel()
	s := newServer(t, zone(t, "lns.example. 60 IN A 192.0.2.1"))
	r, c := newResolver(t, Config{Servers: servers(s)})
	mustLookup(t, r, "lns.example", Answer{Addrs: addrs("192.0.2.1"), TTL: time.Minute})
	s.serve(zone(t, "lns.example. 0 IN A 192.0.2.2"))
	c.move(59 * time.Second)
	mustLookup(t, r, "lns.example", Answer{Addrs: addrs("192.0.2.1"), TTL: time.Second, Cached: true})
	c.move(time.Second)
	mustLookup(t, r, "lns.example", Answer{Addrs: addrs("192.0.2.2"), TTL: time.Second}) // MinTTL
}

func TestTTLIsClamped(t *testing.T) {
	t.Parallel()
	s := newServer(t, zone(t, "week.example. 604800 IN A 192.0.2.1", "odd.example. 2147483648 IN A 192.0.2.2"))
	r, _ := newResolver(t, Config{Servers: servers(s), MinTTL: 2 * time.Second, MaxTTL: time.Hour})
	mustLookup(t, r, "week.example", Answer{Addrs: addrs("192.0.2.1"), TTL: time.Hour})
	mustLookup(t, r, "odd.example", Answer{Addrs: addrs("192.0.2.2"), TTL: 2 * time.Second})
}

func TestAliasesAreFollowedInTheAnswer(t *testing.T) {
	t.Parallel()
	records := []string{"b.example. 30 IN CNAME c.example.", "a.example. 90 IN CNAME B.example.", "c.example. 90 IN A 192.0.2.1"}
	for i := range maxChain + 1 {
		records = append(records, fmt.Sprintf("n%d.example. 90 IN CNAME n%d.example.", i, i+1))
	}
	s := newServer(t, zone(t, append(records, "loop.example. 90 IN CNAME loop.example.")...))
	r, _ := newResolver(t, Config{Servers: servers(s), Tries: 1})
	mustLookup(t, r, "a.example", Answer{Addrs: addrs("192.0.2.1"), TTL: 30 * time.Second})
	for _, name := range []string{"loop.example", "n0.example"} {
		if err := mustNotFind(t, r, name); !errors.Is(err, errChain) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := mustNotFind(t, r, "n1.example"); !errors.Is(err, ErrNotFound) { // as many as may be, to nothing
		t.Errorf("n1.example: %v", err)
	}
}

func TestAbsenceIsKeptAsTheZoneSays(t *testing.T) {
	t.Parallel()
	const soa = "example. 3600 IN SOA ns.example. root.example. 1 2 3 4 5"
	s := newServer(t, zone(t, soa, "here.example. 60 IN TXT x"))
	r, c := newResolver(t, Config{Servers: servers(s)})
	for name, word := range map[string]string{"gone.example": "NXDOMAIN", "here.example": "NODATA"} {
		err := mustNotFind(t, r, name)
		want := fmt.Sprintf("look up %s: name not found: %s: %s", name, s.addr, word)
		if !errors.Is(err, ErrNotFound) || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	c.move(4 * time.Second)
	_ = mustNotFind(t, r, "gone.example")
	if n := s.asked.Load(); n != 4 {
		t.Errorf("%d questions while the absence holds, want 4", n)
	}
	s.serve(zone(t, "gone.example. 60 IN A 192.0.2.1"))
	c.move(time.Second)
	mustLookup(t, r, "gone.example", Answer{Addrs: addrs("192.0.2.1"), TTL: time.Minute})
}

func TestSecondServerAnswersForTheFirst(t *testing.T) {
	t.Parallel()
	good := newServer(t, zone(t, "lns.example. 60 IN A 192.0.2.1"))
	for name, bad := range map[string]func(query){
		"silent":   silent,
		"SERVFAIL": func(q query) { q.send(packed(t, q.reply(t, dns.RcodeServerFailure))) },
		"REFUSED":  func(q query) { q.send(packed(t, q.reply(t, dns.RcodeRefused))) },
		"referral": func(q query) {
			m := q.reply(t, dns.RcodeSuccess, "example. 60 IN NS ns.example.")
			m.RecursionAvailable = false
			q.send(packed(t, m))
		},
		"malformed": func(q query) { q.send(append(packed(t, q.reply(t, dns.RcodeSuccess)), 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := newServer(t, bad)
			timeout := 5 * time.Second
			if name == "silent" {
				timeout = 3 * time.Second
			}
			r, _ := newResolver(t, Config{Servers: servers(first, good), Timeout: timeout})
			mustLookup(t, r, "lns.example", Answer{Addrs: addrs("192.0.2.1"), TTL: time.Minute})
			if n := first.asked.Load(); n != 2 {
				t.Errorf("%d questions to the first server, want 2", n)
			}
		})
	}
}

func TestErrorTellsWhatEachServerSaid(t *testing.T) {
	t.Parallel()
	mute := newServer(t, silent)
	ill := newServer(t, func(q query) { q.send(packed(t, q.reply(t, dns.RcodeServerFailure))) })
	pc, ln := bind(t)
	closed := netip.MustParseAddrPort(pc.LocalAddr().String())
	_, _ = pc.Close(), ln.Close()
	r, _ := newResolver(t, Config{Servers: append(servers(mute, ill), closed), Timeout: 3 * time.Second})
	err := mustNotFind(t, r, "lns.example")
	want := fmt.Sprintf("look up lns.example: %s: no answer in 3s; %s: SERVFAIL; %s: connection refused", mute.addr, ill.addr, closed)
	if err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ErrNotFound) {
		t.Errorf("%v is of the wrong kind", err)
	}
	if n := ill.asked.Load(); n != 4 {
		t.Errorf("%d questions, want 4: 2 rounds for each family", n)
	}
	if n := r.Stats().Entries; n != 0 {
		t.Errorf("%d entries after a failure", n)
	}
}

func TestOneFamilyIsKnownForAShortTimeWhenTheOtherIsNot(t *testing.T) {
	t.Parallel()
	have := zone(t, "lns.example. 3600 IN A 192.0.2.1")
	s := newServer(t, func(q query) {
		if q.qtype() == dns.TypeA {
			have(q)
			return
		}
		q.send(packed(t, q.reply(t, dns.RcodeServerFailure)))
	})
	r, _ := newResolver(t, Config{Servers: servers(s)})
	mustLookup(t, r, "lns.example", Answer{Addrs: addrs("192.0.2.1"), TTL: 30 * time.Second})
}

func TestTruncatedAnswerIsAskedForByTCP(t *testing.T) {
	t.Parallel()
	var records []string
	for i := range 200 {
		records = append(records, fmt.Sprintf("lns.example. 60 IN A 192.0.2.%d", i+1))
	}
	have := zone(t, records...)
	s := newServer(t, func(q query) {
		if q.network == "udp" && q.UDPSize != payload {
			t.Errorf("UDP payload of %d octets is announced, want %d", q.UDPSize, payload)
		}
		if q.network == "tcp" || q.qtype() != dns.TypeA {
			have(q)
			return
		}
		m := q.reply(t, dns.RcodeSuccess, records[:20]...)
		m.Truncated = true
		b := packed(t, m)
		q.send(b[:len(b)-7]) // in the middle of a record
	})
	r, _ := newResolver(t, Config{Servers: servers(s)})
	a, err := r.Lookup(t.Context(), "lns.example")
	if err != nil || len(a.Addrs) != maxAddrs || a.Addrs[0] != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("got %d addresses and error %v, want the first %d", len(a.Addrs), err, maxAddrs)
	}
}

func TestServerThatDoesNotKnowEDNSIsAskedWithout(t *testing.T) {
	t.Parallel()
	have := zone(t, "lns.example. 60 IN A 192.0.2.1")
	for name, refuse := range map[string]func(query){
		"with question": func(q query) { q.send(packed(t, q.reply(t, dns.RcodeFormatError))) },
		"header only":   func(q query) { q.send([]byte{byte(q.ID >> 8), byte(q.ID), 0x80, byte(dns.RcodeNotImplemented), 11: 0}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, func(q query) {
				if q.UDPSize > 0 {
					refuse(q)
					return
				}
				have(q)
			})
			r, _ := newResolver(t, Config{Servers: servers(s)})
			mustLookup(t, r, "lns.example", Answer{Addrs: addrs("192.0.2.1"), TTL: time.Minute})
		})
	}
}

func TestForgedAnswersAreIgnored(t *testing.T) {
	t.Parallel()
	have := zone(t, "lns.example. 60 IN A 192.0.2.1")
	stranger, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stranger.Close() })
	s := newServer(t, func(q query) {
		if q.qtype() != dns.TypeA {
			have(q)
			return
		}
		forge := func(change func(*dns.Msg)) []byte {
			m := q.reply(t, dns.RcodeSuccess, "lns.example. 60 IN A 203.0.113.66")
			change(m)
			return packed(t, m)
		}
		_, _ = stranger.WriteTo(forge(func(*dns.Msg) {}), q.client) // the kernel drops it
		q.send(forge(func(m *dns.Msg) { m.ID++ }))
		q.send(forge(func(m *dns.Msg) { m.Response = false }))
		q.send(forge(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }))
		q.send(forge(func(m *dns.Msg) { m.Question = nil }))
		q.send(forge(func(m *dns.Msg) {
			m.Question = []dns.RR{&dns.A{Hdr: dns.Header{Name: "lnz.example.", Class: dns.ClassINET}}}
		}))
		q.send(forge(func(m *dns.Msg) {
			m.Question = []dns.RR{&dns.A{Hdr: dns.Header{Name: "lns.example.", Class: dns.ClassCHAOS}}}
		}))
		q.send(forge(func(m *dns.Msg) {
			m.Question = []dns.RR{&dns.MX{Hdr: dns.Header{Name: "lns.example.", Class: dns.ClassINET}}}
		}))
		q.send([]byte("junk"))
		have(q)
	})
	r, _ := newResolver(t, Config{Servers: servers(s)})
	mustLookup(t, r, "lns.example", Answer{Addrs: addrs("192.0.2.1"), TTL: time.Minute})
	if n := r.Stats().Foreign; n != 8 {
		t.Errorf("%d foreign messages counted, want 8", n)
	}
}

func TestQuestionsDifferInIDAndPort(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	ids, ports := map[uint16]bool{}, map[string]bool{}
	s := newServer(t, func(q query) {
		mu.Lock()
		ids[q.ID], ports[q.client.String()] = true, true
		mu.Unlock()
		q.send(packed(t, q.reply(t, dns.RcodeNameError)))
	})
	r, _ := newResolver(t, Config{Servers: servers(s)})
	for i := range 16 {
		_ = mustNotFind(t, r, fmt.Sprintf("n%d.example", i))
	}
	mu.Lock()
	defer mu.Unlock()
	if len(ids) < 28 || len(ports) < 24 { // of 32: chance may repeat some
		t.Errorf("32 questions had %d ids and %d ports", len(ids), len(ports))
	}
}

func TestExpiredAnswerHoldsWhileNoServerAnswers(t *testing.T) {
	t.Parallel()
	s := newServer(t, zone(t, "lns.example. 60 IN A 192.0.2.1"))
	r, c := newResolver(t, Config{Servers: servers(s)})
	mustLookup(t, r, "lns.example", Answer{Addrs: addrs("192.0.2.1"), TTL: time.Minute})
	s.serve(func(q query) { q.send(packed(t, q.reply(t, dns.RcodeServerFailure))) })
	c.move(2 * time.Minute)
	stale := Answer{Addrs: addrs("192.0.2.1"), TTL: recheck, Cached: true, Stale: true}
	mustLookup(t, r, "lns.example", stale)
	mustLookup(t, r, "lns.example", stale)
	if n := s.asked.Load(); n != 4 {
		t.Errorf("%d questions, want 4: one round, and none before the servers may be asked again", n)
	}
	c.move(recheck)
	mustLookup(t, r, "lns.example", stale)
	c.move(maxStale - time.Minute - recheck)
	if err := mustNotFind(t, r, "lns.example"); errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	s.serve(zone(t, "lns.example. 60 IN A 192.0.2.2"))
	mustLookup(t, r, "lns.example", Answer{Addrs: addrs("192.0.2.2"), TTL: time.Minute})
	c.move(time.Minute)
	s.serve(func(q query) { q.send(packed(t, q.reply(t, dns.RcodeNameError))) })
	if err := mustNotFind(t, r, "lns.example"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a name that is gone: %v", err)
	}
}

func TestExpiredAnswerHoldsForACallerWhoCannotWait(t *testing.T) {
	t.Parallel()
	s := newServer(t, zone(t, "lns.example. 60 IN A 192.0.2.1"))
	r, c := newResolver(t, Config{Servers: servers(s), Timeout: time.Minute})
	mustLookup(t, r, "lns.example", Answer{Addrs: addrs("192.0.2.1"), TTL: time.Minute})
	s.serve(silent)
	c.move(time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	a, err := r.Lookup(ctx, "lns.example")
	if err != nil || !a.Stale {
		t.Errorf("got %v, error %v", a, err)
	}
}

func TestCallersShareTheQuestions(t *testing.T) {
	t.Parallel()
	const callers = 50
	have := zone(t, "lns.example. 60 IN A 192.0.2.1")
	gate := make(chan struct{})
	s := newServer(t, func(q query) {
		<-gate
		have(q)
	})
	r, _ := newResolver(t, Config{Servers: servers(s)})
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			a, err := r.Lookup(t.Context(), "lns.example")
			if err != nil || len(a.Addrs) != 1 {
				t.Errorf("got %v, error %v", a, err)
				return
			}
			a.Addrs[0] = netip.Addr{} // is the caller's own
		})
	}
	waitFor(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		f := r.flights["lns.example"]
		return f != nil && f.waiters == callers
	})
	close(gate)
	wg.Wait()
	if n := s.asked.Load(); n != 2 {
		t.Errorf("%d questions of %d callers, want 2", n, callers)
	}
	mustLookup(t, r, "lns.example", Answer{Addrs: addrs("192.0.2.1"), TTL: time.Minute, Cached: true})
}

// hurried is a context whose time is over when the test says so.
type hurried struct {
	context.Context
	over chan struct{}
}

func (h hurried) Done() <-chan struct{} { return h.over }

func (h hurried) Err() error {
	select {
	case <-h.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestLookupEndsWithItsLastCaller(t *testing.T) {
	t.Parallel()
	s := newServer(t, silent)
	r, _ := newResolver(t, Config{Servers: servers(s), Timeout: time.Minute})
	first, leave := context.WithCancel(t.Context())
	second := hurried{t.Context(), make(chan struct{})}
	var wg, left sync.WaitGroup
	left.Go(func() {
		if _, err := r.Lookup(first, "lns.example"); !errors.Is(err, context.Canceled) {
			t.Errorf("first: %v", err)
		}
	})
	waitFor(t, func() bool { return s.asked.Load() == 2 })
	wg.Go(func() {
		_, err := r.Lookup(second, "lns.example")
		want := fmt.Sprintf("look up lns.example: context deadline exceeded: %s: no answer yet", s.addr)
		if !errors.Is(err, context.DeadlineExceeded) || err.Error() != want {
			t.Errorf("second: got %v, want %s", err, want)
		}
	})
	waitFor(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		f := r.flights["lns.example"]
		return f.waiters == 2
	})
	leave()
	left.Wait()
	close(second.over)
	wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.flights) != 0 {
		t.Error("a lookup is under way that nobody waits for")
	}
}

func TestInventedNamesDoNotDisplaceRealOnes(t *testing.T) {
	t.Parallel()
	r, c := newResolver(t, Config{MaxEntries: 1000})
	found := outcome{known: true, reply: reply{addrs: addrs("192.0.2.1"), ttl: time.Hour}}
	nothing := outcome{known: true, reply: reply{ttl: -1, said: "NXDOMAIN"}}
	learn := func(name string, o outcome) {
		r.mu.Lock()
		defer r.mu.Unlock()
		_, _ = r.learn(&Error{Name: name}, o, nothing)
	}
	check := func(when string, entries, present int) {
		t.Helper()
		if n, p := len(r.cache.entries), r.cache.present.Len(); n != entries || p != present || n != p+r.cache.absent.Len() {
			t.Errorf("%s: %d entries, %d of them present; want %d and %d", when, n, p, entries, present)
		}
	}
	for i := range 500 {
		learn(fmt.Sprintf("lns%d.example", i), found)
	}
	for i := range 100_000 {
		learn(fmt.Sprintf("user%d.example", i), nothing)
	}
	check("invented names", 1000, 500)
	for i := range 100_000 {
		learn(fmt.Sprintf("host%d.example", i), found)
	}
	check("names that exist", 1000, 1000)
	c.move(time.Hour + maxStale)
	for i := range 700 {
		learn(fmt.Sprintf("user%d.example", i), nothing)
	}
	check("instead of what is too old", 1000, 300)
}

func TestHostsFileComesFirstAndIsReadAgain(t *testing.T) {
	t.Parallel()
	hosts := filepath.Join(t.TempDir(), "hosts")
	write := func(text string) {
		if err := os.WriteFile(hosts, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := newServer(t, zone(t, "lns.example. 60 IN A 192.0.2.1"))
	r, _ := newResolver(t, Config{Servers: servers(s), Hosts: hosts})
	write("# comment\n2001:db8::7 lns.example\n192.0.2.7\tother LNS.example. # x\nbad lns.example\n192.0.2.7 lns.example\n")
	mustLookup(t, r, "lns.example", Answer{Addrs: addrs("192.0.2.7", "2001:db8::7"), TTL: fileTTL, Cached: true})
	if _, err := r.LookupNetIP(t.Context(), "ip6", "other"); !errors.Is(err, ErrNotFound) {
		t.Errorf("IPv6 of a host with IPv4 alone: %v", err)
	}
	write("192.0.2.8 lns.example\n")
	mustLookup(t, r, "lns.example", Answer{Addrs: addrs("192.0.2.8"), TTL: fileTTL, Cached: true})
	if err := os.Remove(hosts); err != nil {
		t.Fatal(err)
	}
	mustLookup(t, r, "lns.example", Answer{Addrs: addrs("192.0.2.1"), TTL: time.Minute})
}

func TestServersOfResolvConf(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "resolv.conf")
	r, _ := newResolver(t, Config{ResolvConf: path})
	for _, c := range []struct{ text, want string }{
		{"", "127.0.0.1:53"},
		{"search example\nnameserver 192.0.2.1 # one\n; nameserver 192.0.2.2\nnameserver x\nnameserver 2001:db8::1\n", "192.0.2.1:53 [2001:db8::1]:53"},
		{"nameserver fe80::1%eth0\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3", "[fe80::1%eth0]:53 192.0.2.1:53 192.0.2.2:53"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(each(r.servers.get(), netip.AddrPort.String), " "); got != c.want {
			t.Errorf("got %s, want %s, of:\n%s", got, c.want, c.text)
		}
	}
}

func TestNamesThatNobodyIsAskedFor(t *testing.T) {
	t.Parallel()
	s := newServer(t, silent)
	r, _ := newResolver(t, Config{Servers: servers(s)})
	mustLookup(t, r, "::ffff:192.0.2.1", Answer{Addrs: addrs("192.0.2.1"), TTL: time.Hour, Cached: true})
	for _, name := range []string{
		"", ".", "a..b", ".a", "a b", "a\x00b", "ä.example", "a\\.b", strings.Repeat("a", 64), strings.Repeat("a.", 128),
	} {
		if err := mustNotFind(t, r, name); !errors.Is(err, ErrBadName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Lookup(ended, "lns.example"); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who has gone: %v", err)
	}
	if n := s.asked.Load(); n != 0 {
		t.Errorf("%d questions", n)
	}
}

// waitFor waits for a condition that another goroutine brings about.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("it does not come")
		}
	}
}

func FuzzAnswer(f *testing.F) {
	q := question{name: "lns.example", qtype: dns.TypeA, id: 0x1234}
	seed, err := q.pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed, false)
	for _, records := range [][]string{
		{"lns.example. 60 IN A 192.0.2.1", "lns.example. 60 IN AAAA 2001:db8::1"},
		{"lns.example. 60 IN CNAME b.example.", "b.example. 60 IN A 192.0.2.1"},
		{"example. 60 IN SOA ns.example. root.example. 1 2 3 4 5"},
		{"example. 60 IN NS ns.example."},
	} {
		for _, qtype := range []dns.RR{&dns.A{}, &dns.AAAA{}} {
			*qtype.Header() = dns.Header{Name: "lns.example.", Class: dns.ClassINET}
			m := dns.Msg{MsgHeader: dns.MsgHeader{ID: q.id, Response: true, UDPSize: payload}, Question: []dns.RR{qtype}}
			for _, text := range records {
				rr, err := dns.New(text)
				if err != nil {
					f.Fatal(err)
				}
				m.Answer, m.Ns = append(m.Answer, rr), append(m.Ns, rr)
			}
			if err := m.Pack(); err != nil {
				f.Fatal(err)
			}
			f.Add(m.Data, dns.RRToType(qtype) == dns.TypeAAAA)
		}
	}
	f.Fuzz(func(t *testing.T, msg []byte, six bool) {
		q := q
		if six {
			q.qtype = dns.TypeAAAA
		}
		r, v, err := q.read(msg)
		if v != answered && err != nil || (v != answered || err != nil) && (r.said != "" || len(r.addrs) > 0) {
			t.Fatalf("verdict %d, error %v, and %+v", v, err, r)
		}
		if v != answered || err != nil {
			return
		}
		if len(r.addrs) > maxAddrs || r.ttl > (1<<31-1)*time.Second || r.ttl < -1 || (len(r.addrs) == 0) != (r.said != "") {
			t.Fatalf("reply %+v", r)
		}
		for _, a := range r.addrs {
			if !a.IsValid() || a.Is4In6() || !six && !a.Is4() || r.ttl < 0 {
				t.Fatalf("reply %+v", r)
			}
		}
	})
}
