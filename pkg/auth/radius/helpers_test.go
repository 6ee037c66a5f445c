package radius

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/l2tpd/l2tpd/pkg/policy"
	codec "layeh.com/radius"
)

// comparers have addresses compared as values.
var comparers = []cmp.Option{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// wait is how long a test waits for something that should happen at once.
const wait = time.Minute

// eventually waits for a condition.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(wait); !f(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// got is a request that a fake server has received.
type got struct {
	packet *codec.Packet
	raw    []byte
	from   netip.AddrPort
}

// fake is a RADIUS server. answer gives the datagrams that it sends back.
type fake struct {
	t      *testing.T
	conn   *net.UDPConn
	secret []byte
	mu     sync.Mutex
	all    []got
	answer func(g got) [][]byte
}

func newFake(t *testing.T, secret string, answer func(g got) [][]byte) *fake {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadBuffer(4 << 20); err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, conn: conn, secret: []byte(secret), answer: answer}
	var running sync.WaitGroup
	running.Go(f.serve)
	t.Cleanup(func() {
		_ = conn.Close()
		running.Wait()
	})
	return f
}

func (f *fake) serve() {
	buf := make([]byte, receiveSize)
	for {
		n, from, err := f.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		raw := bytes.Clone(buf[:n])
		p, err := codec.Parse(raw, f.secret)
		if err != nil {
			f.t.Errorf("% x: %v", raw, err)
			continue
		}
		g := got{packet: p, raw: raw, from: from}
		f.mu.Lock()
		f.all = append(f.all, g)
		answer := f.answer
		f.mu.Unlock()
		for _, b := range answer(g) {
			f.send(b, from)
		}
	}
}

func (f *fake) send(b []byte, to netip.AddrPort) {
	_, _ = f.conn.WriteToUDPAddrPort(b, to) // the test may be over
}

// become changes how the server answers.
func (f *fake) become(answer func(g got) [][]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *fake) addr() netip.AddrPort { return f.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func (f *fake) requests() []got {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]got(nil), f.all...)
}

// gets waits until n requests have come, and returns them.
func (f *fake) gets(n int) []got {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("%d requests", n), func() bool { return len(f.requests()) >= n })
	all := f.requests()
	if len(all) > n {
		f.t.Errorf("%d requests, want %d", len(all), n)
	}
	return all
}

// reply makes a signed answer.
func reply(g got, secret []byte, code codec.Code, attrs ...*codec.AVP) []byte {
	p := codec.Packet{Code: code, Identifier: g.packet.Identifier, Authenticator: g.packet.Authenticator, Secret: secret, Attributes: attrs}
	b, err := sign(&p)
	if err != nil {
		panic(err)
	}
	return b
}

// unsigned makes an answer without Message-Authenticator.
func unsigned(g got, secret []byte, code codec.Code, attrs ...*codec.AVP) []byte {
	p := codec.Packet{Code: code, Identifier: g.packet.Identifier, Authenticator: g.packet.Authenticator, Secret: secret, Attributes: attrs}
	b, err := p.Encode()
	if err != nil {
		panic(err)
	}
	return b
}

// accept, reject, account and silent are ways to answer.
func accept(g got) [][]byte { return [][]byte{reply(g, g.packet.Secret, codec.CodeAccessAccept)} }

func reject(g got) [][]byte { return [][]byte{reply(g, g.packet.Secret, codec.CodeAccessReject)} }

func account(g got) [][]byte {
	return [][]byte{unsigned(g, g.packet.Secret, codec.CodeAccountingResponse)}
}

func silent(got) [][]byte { return nil }

// newClient makes a client with short times, closed with the test.
func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	for i := range cfg.Servers {
		s := &cfg.Servers[i]
		if s.Timeout == 0 {
			s.Timeout = 50 * time.Millisecond
		}
		if s.Tries == 0 {
			s.Tries = 2
		}
		if s.Secret.Empty() {
			s.Secret = secretOf("secret")
		}
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := c.Close(ctx); err != nil && !errors.Is(err, ErrLost) {
			t.Error(err)
		}
	})
	return c
}

// same compares ignoring how addresses are made.
func same(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, comparers...); d != "" {
		t.Error(d)
	}
}

func rangeOf(text string) policy.Range {
	r, err := policy.ParseRange(text)
	if err != nil {
		panic(err)
	}
	return r
}
