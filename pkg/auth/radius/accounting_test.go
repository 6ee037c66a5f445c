package radius

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	codec "layeh.com/radius"
)

// status gives kind and session of the requests that a server has got, repeats left out.
func (f *fake) status() (all []string) {
	seen := map[string]bool{}
	for _, g := range f.requests() {
		if !seen[string(g.raw)] {
			seen[string(g.raw)] = true
			all = append(all, fmt.Sprintf("%v %s", Kind(binary.BigEndian.Uint32(g.packet.Get(40))), g.packet.Get(44)))
		}
	}
	return all
}

func mustAccount(t *testing.T, c *Client, records ...Record) {
	t.Helper()
	for _, r := range records {
		if err := c.Account(r); err != nil {
			t.Fatal(err)
		}
	}
}

func delivered(t *testing.T, c *Client, n uint64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d records are delivered", n), func() bool { return c.Counters().Records.Delivered >= n })
}

// P241.
func TestRecordHoldsWhatIsKnown(t *testing.T) {
	t.Parallel()
	f := newFake(t, "secret", account)
	at := time.Unix(1700000000, 0)
	c := newClient(t, Config{
		Servers: []Server{{Accounting: f.addr(), Timeout: wait}}, Now: func() time.Time { return at.Add(7 * time.Second) },
		NAS: NAS{Identifier: "nas"},
	})
	mustAccount(t, c, Record{
		Kind: Stop, At: at, SessionID: "s1", MultiSessionID: "m", User: "u", Authentic: AuthenticRADIUS, Port: Port{Type: PortVirtual, ID: "p"},
		Tunnel: TunnelInfo{
			ClientEndpoint: "192.0.2.1", ServerEndpoint: "192.0.2.2", ClientAuthID: "lac", ServerAuthID: "lns", AssignmentID: "gold", Connection: "42",
		},
		Class: [][]byte{[]byte("c1"), []byte("c2")}, Address: netip.MustParseAddr("192.0.2.9"), InterfaceID: 1,
		IPv6Prefixes: prefixes("2001:db8:1::/64"), DelegatedPrefixes: prefixes("2001:db8:100::/56"), IPv6Addresses: addrs("2001:db8::1"),
		InputOctets: 5<<32 + 1, OutputOctets: 6<<32 + 2, InputPackets: 3, OutputPackets: 4, SessionTime: time.Hour, Cause: IdleTimeout,
	})
	delivered(t, c, 1)
	g := f.requests()[0]
	if !bytes.Equal(digest(g.raw, f.secret, authenticator{}), g.raw[4:headerSize]) {
		t.Error("wrong authenticator")
	}
	n := func(v uint32) string { return string(number(v)) }
	for typ, want := range map[codec.Type]string{
		40: n(2), 41: n(7), 42: n(1), 43: n(2), 44: "s1", 45: n(1), 46: n(3600), 47: n(3), 48: n(4), 49: n(4), 50: "m", 52: n(5), 53: n(6),
		55: n(1700000000), 1: "u", 25: "c1", 32: "nas", 61: n(5), 87: "p", 64: n(3), 65: n(1), 66: "192.0.2.1", 67: "192.0.2.2", 68: "42",
		82: "gold", 90: "lac", 91: "lns", 8: "\xc0\x00\x02\x09", 96: "\x00\x00\x00\x00\x00\x00\x00\x01",
		97: "\x00\x40\x20\x01\x0d\xb8\x00\x01\x00\x00", 123: "\x00\x38\x20\x01\x0d\xb8\x01\x00\x00",
	} {
		if got := string(g.packet.Get(typ)); got != want {
			t.Errorf("attribute %d: %q, not %q", typ, got, want)
		}
	}
}

func TestRecordsOfASessionStayInOrder(t *testing.T) {
	t.Parallel()
	f := newFake(t, "secret", account)
	c := newClient(t, Config{Servers: []Server{{Accounting: f.addr(), Timeout: wait}}})
	mustAccount(t, c, Record{Kind: On})
	for i := range 50 {
		mustAccount(t, c, Record{Kind: Start, SessionID: fmt.Sprint(i)}, Record{Kind: Stop, SessionID: fmt.Sprint(i)})
	}
	mustAccount(t, c, Record{Kind: Off})
	delivered(t, c, 102)
	all := f.status()
	if !strings.HasPrefix(all[0], "on ") || !strings.HasPrefix(all[101], "off ") {
		t.Errorf("%q", all)
	}
	for i := range 50 {
		if slices.Index(all, fmt.Sprintf("start %d", i)) > slices.Index(all, fmt.Sprintf("stop %d", i)) {
			t.Errorf("session %d stops before it starts", i)
		}
	}
}

// entryOf makes an entry of one size.
func entryOf(seq uint64, kind Kind, session string) *entry {
	return &entry{seq: seq, kind: kind, session: session, attrs: append([]byte{25, 100}, make([]byte, 98)...)}
}

func names(q *queue) (all []string) {
	for x := q.order.Front(); x != nil; x = x.Next() {
		e := x.Value.(*entry)
		all = append(all, fmt.Sprintf("%v %s", e.kind, e.session))
	}
	return all
}

func TestStopRecordsAreLostLast(t *testing.T) {
	t.Parallel()
	q := newQueue(1<<20, 4)
	var lost []string
	add := func(kind Kind, session string) {
		_, gone := q.add(entryOf(0, kind, session))
		for _, e := range gone {
			lost = append(lost, fmt.Sprintf("%v %s", e.kind, e.session))
		}
	}
	add(Stop, "a")
	add(Interim, "b")
	add(Start, "c")
	add(Interim, "d")
	add(Start, "e")   // costs interim b
	add(Interim, "f") // costs interim d
	add(Stop, "g")    // costs interim f
	add(Stop, "h")    // costs start c
	add(Interim, "i") // has no place
	add(On, "")       // costs start e
	add(Start, "j")   // has no place
	add(Stop, "k")    // costs on
	add(On, "")       // has no place
	add(Stop, "l")    // costs stop a
	same(t, []string{
		"interim b", "interim d", "interim f", "start c", "interim i", "start e", "start j", "on ", "on ", "stop a",
	}, lost)
	same(t, []string{"stop g", "stop h", "stop k", "stop l"}, names(q))
	if q.octets != 4*entryOf(0, Stop, "x").size() {
		t.Error(q.octets)
	}
}

func TestInterimRecordsAreSuperseded(t *testing.T) {
	t.Parallel()
	q := newQueue(1<<20, 100)
	first, second, third := entryOf(1, Interim, "a"), entryOf(2, Interim, "a"), entryOf(3, Interim, "a")
	q.add(first)
	if old, _ := q.add(second); old != first {
		t.Error("the first is not superseded")
	}
	second.flying = true
	if old, _ := q.add(third); old != nil {
		t.Error("one under way is superseded")
	}
	if !q.retry(second, time.Time{}) {
		t.Error("the second is to be sent again")
	}
	if old, _ := q.add(entryOf(4, Stop, "a")); old != third {
		t.Error("a stop does not supersede")
	}
	same(t, []string{"stop a"}, names(q))
	if len(q.interims) != 0 {
		t.Error("a session is remembered")
	}
}

func TestQueueSendsInOrder(t *testing.T) {
	t.Parallel()
	q := newQueue(1<<20, 100)
	now := time.Unix(1000, 0)
	on, a1, a2, b := entryOf(1, On, ""), entryOf(2, Start, "a"), entryOf(3, Stop, "a"), entryOf(4, Start, "b")
	for _, e := range []*entry{on, a1, a2, b} {
		q.add(e)
	}
	next := func(want *entry, again time.Time) {
		t.Helper()
		if e, at := q.next(now); e != want || !at.Equal(again) {
			t.Fatalf("%+v at %v", e, at)
		}
		if want != nil {
			want.flying = true
		}
	}
	next(on, time.Time{})
	next(nil, time.Time{})
	q.retry(on, now.Add(time.Second))
	next(nil, now.Add(time.Second))
	q.remove(on)
	next(a1, time.Time{})
	next(b, time.Time{})
	next(nil, time.Time{})
	q.retry(a1, now.Add(time.Second))
	next(nil, now.Add(time.Second)) // not a2
	q.remove(a1)
	next(a2, time.Time{})
	off := entryOf(5, Off, "")
	q.add(off)
	next(nil, time.Time{})
	q.remove(a2)
	q.remove(b)
	next(off, time.Time{})
	for range barrierRounds {
		q.retry(off, now.Add(time.Second))
	}
	c := entryOf(6, Start, "c")
	q.add(c)
	next(c, time.Time{}) // a server that dislikes one record holds nothing up forever
}

// The reason for the spool: no stop record is lost while servers are down or the daemon restarts.
func TestSpoolSurvivesARestart(t *testing.T) {
	t.Parallel()
	f := newFake(t, "secret", silent)
	at := time.Unix(1700000000, 0)
	now := at
	cfg := Config{
		Servers: []Server{{Accounting: f.addr(), Tries: 1, Timeout: 20 * time.Millisecond}}, Spool: Spool{Dir: filepath.Join(t.TempDir(), "a", "b")},
		Now: func() time.Time { return now },
	}
	c := newClient(t, cfg)
	mustAccount(
		t, c, Record{Kind: Start, SessionID: "1"}, Record{Kind: Interim, SessionID: "1"}, Record{Kind: Interim, SessionID: "1", InputOctets: 7},
		Record{Kind: Stop, SessionID: "2"},
	)
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := c.Counters().Records; n.Queued != 3 || n.Spooled != 3 || n.Superseded != 1 || !n.Oldest.Equal(at) {
		t.Errorf("%+v", n)
	}
	if _, err := New(cfg); err == nil {
		t.Error("two clients have the same spool")
	}
	eventually(t, "the servers are down", func() bool {
		c.account.mu.Lock()
		defer c.account.mu.Unlock()
		return c.account.down > 0
	})
	if err := c.Close(context.Background()); err != nil { // at once
		t.Fatal(err)
	}
	if err := c.Account(Record{Kind: Stop, SessionID: "3"}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	f.gets(int(c.Counters().Accounting[0].Requests))
	before := len(f.status())
	f.become(account)
	cfg.Servers[0].Timeout = wait
	now = at.Add(100 * time.Second)
	c = newClient(t, cfg)
	delivered(t, c, 3)
	same(t, []string{"start 1", "stop 2", "interim 1"}, sortedTail(f, before))
	for _, g := range f.requests()[before:] {
		if got := binary.BigEndian.Uint32(g.packet.Get(41)); got != 100 {
			t.Errorf("Acct-Delay-Time %d", got)
		}
	}
	eventually(t, "the disk knows", func() bool {
		b, err := os.ReadFile(filepath.Join(cfg.Spool.Dir, spoolName))
		if err != nil {
			t.Fatal(err)
		}
		found, _ := readSpool(bytes.NewReader(b))
		return len(found) == 0
	})
	if n := c.Counters().Records; n.Replayed != 3 || n.Queued != 0 || n.Lost != 0 {
		t.Errorf("%+v", n)
	}
}

// sortedTail gives what came after that many, the session that two records are of in order.
func sortedTail(f *fake, after int) []string {
	all := f.status()[after:]
	slices.SortStableFunc(all, func(a, b string) int {
		rank := map[string]int{"start 1": 0, "stop 2": 1, "interim 1": 2}
		return rank[a] - rank[b]
	})
	return all
}

// A crash is a process that ends without Close: what Sync has returned for is in the file, whatever is torn behind it.
func TestTornSpoolIsReadAsFarAsItIsGood(t *testing.T) {
	t.Parallel()
	var log []byte
	log = append(log, spoolHeader...)
	for i := range uint64(4) {
		log = appendPut(log, entryOf(i+1, Stop, fmt.Sprint(i+1)))
	}
	log = appendDone(log, 2)
	whole := len(log)
	log = appendPut(log, entryOf(9, Stop, "9"))
	sessions := func(b []byte) (all []string, good int64) {
		found, good := readSpool(bytes.NewReader(b))
		for _, e := range found {
			all = append(all, e.session)
		}
		return all, good
	}
	for cut := whole; cut < len(log); cut++ {
		all, good := sessions(log[:cut])
		if good != int64(whole) || !slices.Equal(all, []string{"1", "3", "4"}) {
			t.Fatalf("cut at %d: %q, %d", cut, all, good)
		}
	}
	for at := range log {
		bad := bytes.Clone(log)
		bad[at] ^= 0x10
		if all, good := sessions(bad); good > int64(at) || len(all) > 4 {
			t.Fatalf("octet %d is changed: %q, %d", at, all, good)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, spoolName), log[:len(log)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFake(t, "secret", account)
	c := newClient(t, Config{Servers: []Server{{Accounting: f.addr(), Timeout: wait}}, Spool: Spool{Dir: dir}})
	delivered(t, c, 3)
	if b, err := os.ReadFile(filepath.Join(dir, damagedName)); err != nil || len(b) != len(log)-1 {
		t.Error("the damaged file is not kept:", err)
	}
}

func TestSpoolIsBoundedAndWrittenAnew(t *testing.T) {
	t.Parallel()
	f := newFake(t, "secret", silent)
	dir := t.TempDir()
	const most = 64 << 10
	c := newClient(t, Config{
		Servers: []Server{{Accounting: f.addr(), Timeout: time.Hour}}, Spool: Spool{Dir: dir, MaxOctets: most},
	})
	check := func() {
		t.Helper()
		if err := c.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(filepath.Join(dir, spoolName)); err != nil || info.Size() > most {
			t.Fatalf("%v, %v", info.Size(), err)
		}
		if n := c.Counters().Records; n.Octets > most/4 {
			t.Fatalf("%+v", n)
		}
	}
	mustAccount(t, c, Record{Kind: Stop, SessionID: "first"})
	for i := range 2000 { // the same sessions again and again, then others
		err := c.Account(Record{Kind: Interim, SessionID: fmt.Sprint(i % 100), InputOctets: uint64(i)})
		if err != nil && !errors.Is(err, ErrLost) {
			t.Fatal(err)
		}
		if i%50 == 0 {
			check()
		}
	}
	for i := range 300 {
		mustAccount(t, c, Record{Kind: Stop, SessionID: fmt.Sprint(i)})
		if i%50 == 0 {
			check()
		}
	}
	n := c.Counters().Records
	if n.Superseded == 0 || n.Lost == 0 || n.Accepted != n.Superseded+n.Lost+uint64(n.Queued) {
		t.Errorf("%+v", n)
	}
}

func TestWithoutASpoolMemoryIsBounded(t *testing.T) {
	t.Parallel()
	f := newFake(t, "secret", silent)
	c := newClient(t, Config{Servers: []Server{{Accounting: f.addr(), Timeout: time.Hour}}, Spool: Spool{MaxRecords: 100}})
	for i := range 300 {
		mustAccount(t, c, Record{Kind: Stop, SessionID: fmt.Sprint(i)})
	}
	if n := c.Counters().Records; n.Queued != 100 || n.Lost != 200 || n.Spooled != 0 {
		t.Errorf("%+v", n)
	}
	if err := c.Sync(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Close(ctx); !errors.Is(err, ErrLost) {
		t.Error(err)
	}
}

// Records come through when servers are back, to whichever answers, and Close waits for that.
func TestRecordsAreDeliveredWhenServersAreBack(t *testing.T) {
	t.Parallel()
	first, second := newFake(t, "secret", silent), newFake(t, "secret", silent)
	c := newClient(t, Config{Servers: []Server{
		{Accounting: first.addr(), Tries: 1, Timeout: 20 * time.Millisecond}, {Accounting: second.addr(), Tries: 1, Timeout: time.Second},
	}})
	for i := range 40 {
		mustAccount(t, c, Record{Kind: Stop, SessionID: fmt.Sprint(i)})
	}
	eventually(t, "both have been asked", func() bool { return len(first.requests()) > 0 && len(second.requests()) > 0 })
	second.become(account)
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
	if n := c.Counters().Records; n.Delivered != 40 || n.Queued != 0 || n.Lost != 0 {
		t.Errorf("%+v", n)
	}
}

func TestUnwritableSpoolIsMadeAnew(t *testing.T) {
	t.Parallel()
	f := newFake(t, "secret", silent)
	dir := t.TempDir()
	c := newClient(t, Config{Servers: []Server{{Accounting: f.addr(), Timeout: time.Hour}}, Spool: Spool{Dir: dir}})
	if err := c.account.spool.file.Close(); err != nil { // no goroutine is at it before the first record
		t.Fatal(err)
	}
	mustAccount(t, c, Record{Kind: Stop, SessionID: "1"})
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := c.Counters().Records; n.DiskErrors != 1 || n.Queued != 1 {
		t.Errorf("%+v", n)
	}
	b, err := os.ReadFile(filepath.Join(dir, spoolName))
	if found, _ := readSpool(bytes.NewReader(b)); err != nil || len(found) != 1 {
		t.Errorf("%d records, %v", len(found), err)
	}
}

// A child has the lock of a spool from its fork until it runs its program: the spool is free all the same when it is closed.
func TestSpoolIsFreeThoughAChildHasItsLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _, _, err := openSpool(dir)
	if err != nil {
		t.Fatal(err)
	}
	child, err := unix.Dup(int(s.lock.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	if err := s.close(); err != nil {
		t.Error(err)
	}
	again, _, _, err := openSpool(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.close(); err != nil {
		t.Error(err)
	}
}

// FuzzSpool: whatever is in the file, reading it ends, and what is found can be written and found again.
func FuzzSpool(f *testing.F) {
	f.Add(appendDone(appendPut([]byte(spoolHeader), entryOf(1, Stop, "1")), 1))
	f.Add(appendPut([]byte(spoolHeader), entryOf(1, Interim, "x")))
	f.Fuzz(func(t *testing.T, b []byte) {
		found, good := readSpool(bytes.NewReader(b))
		if good > int64(len(b)) {
			t.Fatal("more is read than there is")
		}
		again := []byte(spoolHeader)
		for _, e := range found {
			again = appendPut(again, e)
		}
		if twice, good := readSpool(bytes.NewReader(again)); len(twice) != len(found) || good != int64(len(again)) {
			t.Error("what is found is not found again")
		}
	})
}
