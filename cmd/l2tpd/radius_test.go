package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"testing"
	"time"

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

func newRADIUS(t *testing.T) *radiusFor {
	t.Helper()
	r := &radiusFor{log: slog.New(slog.DiscardHandler), names: resolve.New(resolve.Config{Now: bootTime})}
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
	r, conf := newRADIUS(t), deaf(t)
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
			runtime.Gosched()
			continue
		}
		begun := time.Now()
		if err := r.Account(record("meanwhile")); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > farewell/2 {
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

// A bad configuration leaves the client as it was; without servers there is none.
func TestServersThatCannotBeFoundChangeNothing(t *testing.T) {
	t.Parallel()
	r, conf := newRADIUS(t), deaf(t)
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
	r, second, conf := newRADIUS(t), newRADIUS(t), deaf(t)
	for _, x := range []*radiusFor{r, second} { // they have one spool between them
		if err := x.configure(conf, "edge1"); err != nil {
			t.Fatal(err)
		}
		if _, ok := x.Counters(); !ok {
			t.Error("there is no client")
		}
	}
}
