package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	codec "layeh.com/radius"
	"layeh.com/radius/rfc2866"

	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/resolve"
)

// deaf is a configuration with one server that never answers, and a spool.
func deaf(t *testing.T) policy.RADIUS {
	t.Helper()
	var sockets [2]*net.UDPConn
	for i := range sockets {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		sockets[i] = c
	}
	port := func(c *net.UDPConn) uint16 { return c.LocalAddr().(*net.UDPAddr).AddrPort().Port() }
	return policy.RADIUS{Spool: t.TempDir(), Servers: []policy.RADIUSServer{{
		Address: "127.0.0.1", Port: port(sockets[0]), AccountingPort: port(sockets[1]), Secret: policy.NewSecret([]byte("secret")), Timeout: time.Minute,
	}}}
}

func newRADIUS(t *testing.T, farewell time.Duration) *radiusFor {
	t.Helper()
	r := &radiusFor{log: slog.New(slog.DiscardHandler), names: resolve.New(resolve.Config{Now: bootTime}), farewell: farewell}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func record(id string) radius.Record {
	return radius.Record{Kind: radius.Start, SessionID: id, User: "alice"}
}

// A reload waits for the old client, and nobody who accounts waits for the reload; what comes meanwhile is the next client's.
func TestReloadOfServersHoldsNoAccountingUp(t *testing.T) {
	t.Parallel()
	r, conf := newRADIUS(t, 5*time.Second), deaf(t)
	if err := r.configure(conf, "edge1"); err != nil {
		t.Fatal(err)
	}
	if err := r.Account(record("before")); err != nil {
		t.Error(err)
	}
	done := make(chan error)
	go func() { done <- r.configure(conf, "edge2") }()
	for meanwhile := 0; meanwhile == 0; { // farewell makes it last
		r.mu.Lock()
		changing := r.change != nil
		r.mu.Unlock()
		if !changing {
			select {
			case err := <-done:
				t.Fatal("the reload has ended before anything came: ", err)
			default:
				runtime.Gosched()
			}
			continue
		}
		begun := time.Now()
		if err := r.Account(record("meanwhile")); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > r.farewell/2 {
			t.Errorf("accounting has waited for %v", took)
		}
		meanwhile++
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if c, ok := r.Counters(); !ok || c.Records.Queued != 2 || c.Records.Replayed != 1 {
		t.Errorf("%+v", c.Records)
	}
}

// A login under way when servers are changed is the next servers' matter. Without any, and at the end, it is refused.
func TestLoginUnderWayOutlivesAReloadOfServers(t *testing.T) {
	t.Parallel()
	c := newClerk(t, 100)
	for name, x := range map[string]struct {
		next policy.RADIUS
		why  error
	}{
		"other servers": {next: policy.RADIUS{Servers: []policy.RADIUSServer{{
			Address: "127.0.0.1", Port: uint16(c.port), Secret: policy.NewSecret([]byte("secret")), Timeout: time.Minute, NoAccounting: true, Unsigned: true,
		}}}},
		"none": {why: errNoServers},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRADIUS(t, 0)
			if err := r.configure(deaf(t), "edge1"); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				a, err := r.Authorize(t.Context(), radius.Request{Method: ppp.AuthPAP, Name: "alice", Password: policy.NewSecret([]byte("topsecret"))})
				if err == nil && !a.Accept {
					err = errors.New(a.Reason)
				}
				done <- err
			}()
			for asked, end := false, time.Now().Add(time.Minute); !asked; runtime.Gosched() {
				servers, _ := r.Counters()
				asked = servers.Auth[0].Requests > 0
				if time.Now().After(end) {
					t.Fatal("no server is asked")
				}
			}
			if err := r.configure(x.next, "edge1"); err != nil {
				t.Fatal(err)
			}
			if err := <-done; !errors.Is(err, x.why) {
				t.Errorf("the login: %v, want %v", err, x.why)
			}
		})
	}
}

// A bad configuration leaves the client as it was; without servers there is none.
func TestServersThatCannotBeFoundChangeNothing(t *testing.T) {
	t.Parallel()
	r, conf := newRADIUS(t, 0), deaf(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ask := func() error {
		_, err := r.Authorize(ctx, radius.Request{Method: ppp.AuthPAP, Name: "alice"})
		return err
	}
	if err := ask(); !errors.Is(err, errNoServers) {
		t.Errorf("asked: %v", err)
	}
	if err := r.configure(conf, "edge1"); err != nil {
		t.Fatal(err)
	}
	bad := conf
	bad.Servers = []policy.RADIUSServer{{Address: "no such name", Secret: policy.NewSecret([]byte("secret"))}}
	if err := r.configure(bad, "edge1"); err == nil {
		t.Error("a name that cannot be is taken")
	}
	if err := r.Account(record("after")); err != nil {
		t.Errorf("accounting: %v", err)
	}
	if err := ask(); !errors.Is(err, context.Canceled) {
		t.Errorf("asked: %v", err)
	}
	if err := r.configure(policy.RADIUS{}, "edge1"); err != nil {
		t.Fatal(err)
	}
	if err := r.Account(record("later")); !errors.Is(err, errNoServers) {
		t.Errorf("accounting without servers: %v", err)
	}
}

// A spool that cannot be used keeps nobody from logging in.
func TestSpoolThatCannotBeUsedIsDoneWithout(t *testing.T) {
	t.Parallel()
	r, second, conf := newRADIUS(t, 0), newRADIUS(t, 0), deaf(t)
	for _, x := range []*radiusFor{r, second} { // they have one spool between them
		if err := x.configure(conf, "edge1"); err != nil {
			t.Fatal(err)
		}
		if _, ok := x.Counters(); !ok {
			t.Error("there is no client")
		}
	}
}

// clerk is a server that takes every record, and lets everybody in.
type clerk struct {
	t    *testing.T
	port int
	took chan string
}

// newClerk makes one that answers so many records before the test has looked at the first.
func newClerk(t *testing.T, ahead int) *clerk {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	c := &clerk{t: t, port: conn.LocalAddr().(*net.UDPAddr).Port, took: make(chan string, ahead)}
	var running sync.WaitGroup
	over := make(chan struct{})
	running.Go(func() {
		var last [16]byte
		for buf := make([]byte, codec.MaxPacketLength); ; {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			p, err := codec.Parse(buf[:n], []byte("secret"))
			if err != nil {
				t.Error(err)
				continue
			}
			if p.Authenticator != last { // else it is sent again
				last = p.Authenticator
				what := rfc2866.AcctStatusType_Get(p).String()
				switch {
				case p.Code == codec.CodeAccessRequest:
					what = "login"
				case !strings.HasPrefix(what, "Accounting"):
					what += " " + rfc2866.AcctSessionID_GetString(p)
				}
				select {
				case c.took <- what:
				case <-over:
					return
				}
			}
			answer := codec.CodeAccountingResponse
			if p.Code == codec.CodeAccessRequest {
				answer = codec.CodeAccessAccept
			}
			b, err := p.Response(answer).Encode()
			if err == nil {
				_, err = conn.WriteToUDPAddrPort(b, from)
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	t.Cleanup(func() {
		close(over)
		_ = conn.Close()
		running.Wait()
	})
	return c
}

// takes wants these records next, in this order, and no others before.
func (c *clerk) takes(want ...string) {
	c.t.Helper()
	for _, w := range want {
		select {
		case got := <-c.took:
			if got != w {
				c.t.Errorf("the server is told %q, want %q", got, w)
			}
		case <-time.After(20 * time.Second):
			c.t.Fatalf("the server is not told %q", w)
		}
	}
}

// P241: Accounting-On and Accounting-Off tell servers that come and go by a reload that sessions are accounted for, and are not. What changes
// otherwise is not told, and nothing is told twice.
func TestServersAreToldThatAccountingBeginsAndEnds(t *testing.T) {
	t.Parallel()
	c := newClerk(t, 100)
	with := func(more string) string {
		return before + fmt.Sprintf("radius: {spool: \"\", servers: [{address: 127.0.0.1, accounting_port: %d, secret: secret%s}]}\n", c.port, more)
	}
	d, out := running(t, before)
	reload := func(text string) {
		t.Helper()
		write(t, d.path, text)
		if _, err := d.reload("test"); err != nil {
			t.Fatal(err)
		}
	}
	account := func(id string) {
		t.Helper()
		if err := d.servers.Account(record(id)); err != nil {
			t.Error(err)
		}
	}
	reload(with(""))
	account("first")
	c.takes("Accounting-On", "Start first")
	reload(with(", tries: 5"))
	account("second")
	c.takes("Start second")
	reload(before)
	c.takes("Accounting-Off")
	reload(strings.Replace(before, "edge1", "edge2", 1))
	reload(with(", accounting: off"))
	reload(with(""))
	account("third")
	c.takes("Accounting-On", "Start third")
	reload(with(", accounting: off"))
	c.takes("Accounting-Off")
	reload(with(""))
	c.takes("Accounting-On")
	for range 2 {
		if err := d.servers.Account(radius.Record{Kind: radius.Off}); err != nil {
			t.Error(err)
		}
	}
	if err := d.servers.close(); err != nil {
		t.Error(err)
	}
	c.takes("Accounting-Off")
	if len(c.took) > 0 {
		t.Errorf("the server is told more: %q", <-c.took)
	}
	if log := out.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "is lost") || strings.Contains(log, "RADIUS client ends") {
		t.Errorf("something is wrong:\n%s", log)
	}
}

// Servers that cannot be used when the daemon begins are told with the first configuration that can, before what came meanwhile. Until then
// there is nothing to be lost.
func TestAccountingBeginsWithTheFirstServerThatCanBeUsed(t *testing.T) {
	t.Parallel()
	c, r := newClerk(t, 100), newRADIUS(t, time.Minute)
	bad := policy.RADIUS{Servers: []policy.RADIUSServer{{Address: "no such name", Secret: policy.NewSecret([]byte("secret"))}}}
	if err := r.configure(bad, "edge1"); err == nil {
		t.Error("a name that cannot be is taken")
	}
	if err := r.Account(radius.Record{Kind: radius.On}); err != nil {
		t.Errorf("the beginning: %v", err)
	}
	if err := r.Account(record("lost")); !errors.Is(err, errNoServers) {
		t.Errorf("a session: %v", err)
	}
	good := policy.RADIUS{Servers: []policy.RADIUSServer{{
		Address: "127.0.0.1", Port: 1, AccountingPort: uint16(c.port), Secret: policy.NewSecret([]byte("secret")),
	}}}
	r.waiting = []radius.Record{record("meanwhile")}
	if err := r.configure(good, "edge1"); err != nil {
		t.Fatal(err)
	}
	c.takes("Accounting-On", "Start meanwhile")
	if err := r.configure(bad, "edge1"); err == nil {
		t.Error("a name that cannot be is taken")
	}
	if err := r.Account(radius.Record{Kind: radius.Off}); err != nil {
		t.Errorf("the end: %v", err)
	}
	c.takes("Accounting-Off")
}

// What came meanwhile is the next client's before what comes later: a server that is told of a session's end first has the session for ever.
func TestNoRecordOvertakesWhatCameMeanwhile(t *testing.T) {
	t.Parallel()
	c, r := newClerk(t, 0), newRADIUS(t, 5*time.Second)
	if err := r.Account(radius.Record{Kind: radius.On}); err != nil {
		t.Fatal(err)
	}
	r.waiting = []radius.Record{record("one")}
	for range 10000 { // it takes some time to hand them on
		r.waiting = append(r.waiting, radius.Record{Kind: radius.Interim, SessionID: "one"})
	}
	done := make(chan error, 1)
	go func() {
		done <- r.configure(policy.RADIUS{Servers: []policy.RADIUSServer{{
			Address: "127.0.0.1", Port: 1, AccountingPort: uint16(c.port), Secret: policy.NewSecret([]byte("secret")), Timeout: time.Minute,
		}}}, "edge1")
	}()
	for end := time.Now().Add(time.Minute); ; runtime.Gosched() {
		r.mu.Lock()
		changed := r.client != nil && r.change == nil
		r.mu.Unlock()
		if changed {
			break
		}
		if time.Now().After(end) {
			t.Fatal("there is no client yet")
		}
	}
	err := r.Account(radius.Record{Kind: radius.Stop, SessionID: "one"})
	if err = errors.Join(err, <-done, r.Account(radius.Record{Kind: radius.Off})); err != nil {
		t.Error(err)
	}
	c.takes("Accounting-On", "Start one", "Stop one", "Accounting-Off") // each interim record was needless before it could be sent
}

// An Accounting-Off that no server takes is no loss: there is no line about it. A session's record is.
func TestServersThatAreGoneNeedNotBeToldOfTheEnd(t *testing.T) {
	t.Parallel()
	for name, session := range map[string]bool{"no session": false, "a session": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, conf, out := newRADIUS(t, 0), deaf(t), &journal{}
			r.log, conf.Spool = slog.New(slog.NewTextHandler(out, nil)), ""
			if err := errors.Join(r.configure(conf, "edge1"), r.Account(radius.Record{Kind: radius.On})); err != nil {
				t.Fatal(err)
			}
			if session {
				if err := r.Account(record("one")); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.configure(policy.RADIUS{}, "edge1"); err != nil {
				t.Error(err)
			}
			if log := out.String(); strings.Contains(log, "accounting record is lost: 1 with the process") != session || !session && log != "" {
				t.Errorf("the log:\n%s", log)
			}
		})
	}
}
