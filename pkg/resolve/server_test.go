package resolve

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"codeberg.org/miekg/dns"
)

// query is a question that came to a server.
type query struct {
	*dns.Msg

	network string // udp or tcp
	client  net.Addr
	send    func([]byte)
}

// server is a name server on loopback. What it answers is up to handle, which may be changed while it runs.
type server struct {
	addr   netip.AddrPort
	asked  atomic.Int64
	handle atomic.Pointer[func(query)]
}

func (s *server) serve(h func(query)) { s.handle.Store(&h) }

// newServer runs a server until the test ends.
func newServer(t *testing.T, h func(query)) *server {
	t.Helper()
	pc, ln := bind(t)
	s := &server{addr: netip.MustParseAddrPort(pc.LocalAddr().String())}
	s.serve(h)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			buf := make([]byte, 4096)
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			s.take(buf[:n], "udp", from, func(b []byte) { _, _ = pc.WriteTo(b, from) })
		}
	})
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			var length [2]byte
			if _, err := io.ReadFull(c, length[:]); err == nil {
				buf := make([]byte, binary.BigEndian.Uint16(length[:]))
				if _, err := io.ReadFull(c, buf); err == nil {
					s.take(buf, "tcp", c.RemoteAddr(), func(b []byte) {
						_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
					})
				}
			}
			_ = c.Close()
		}
	})
	t.Cleanup(func() {
		_ = pc.Close()
		_ = ln.Close()
		wg.Wait()
	})
	return s
}

// bind finds a port that is free for both protocols.
func bind(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 100 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if ln, err := net.Listen("tcp", pc.LocalAddr().String()); err == nil {
			return pc, ln
		}
		_ = pc.Close()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil, nil
}

func (s *server) take(b []byte, network string, from net.Addr, send func([]byte)) {
	m := &dns.Msg{Data: b}
	if m.Unpack() != nil || len(m.Question) != 1 {
		return
	}
	s.asked.Add(1)
	(*s.handle.Load())(query{m, network, from, send})
}

func (q query) name() string  { return q.Question[0].Header().Name }
func (q query) qtype() uint16 { return dns.RRToType(q.Question[0]) }

// reply is the answer to q with these records, in the notation of zone files; those of type SOA and NS are its authority.
func (q query) reply(t *testing.T, rcode uint16, records ...string) *dns.Msg {
	t.Helper()
	m := &dns.Msg{MsgHeader: dns.MsgHeader{ID: q.ID, Response: true, RecursionDesired: true, RecursionAvailable: true, Rcode: rcode}}
	m.Question = q.Question
	for _, text := range records {
		rr, err := dns.New(text)
		if err != nil {
			t.Errorf("record %q: %v", text, err)
			continue
		}
		switch rr.(type) {
		case *dns.SOA, *dns.NS:
			m.Ns = append(m.Ns, rr)
		default:
			m.Answer = append(m.Answer, rr)
		}
	}
	return m
}

func packed(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	if err := m.Pack(); err != nil {
		t.Errorf("pack: %v", err)
	}
	return m.Data
}

// zone answers from records: those of the type asked for, and aliases. A name without any does not exist.
func zone(t *testing.T, records ...string) func(query) {
	t.Helper()
	return func(q query) {
		var have []string
		rcode := dns.RcodeNameError
		for _, r := range records {
			f := strings.Fields(r)
			if f[0] == q.name() {
				rcode = dns.RcodeSuccess
			}
			if f[3] == dns.TypeToString[q.qtype()] || f[3] == "CNAME" || f[3] == "SOA" {
				have = append(have, r)
			}
		}
		q.send(packed(t, q.reply(t, uint16(rcode), have...)))
	}
}

// clock is a clock that stands until it is moved.
type clock struct{ atomic.Int64 }

func (c *clock) now() time.Duration     { return time.Duration(c.Load()) }
func (c *clock) move(by time.Duration)  { c.Add(int64(by)) }
func silent(query)                      {}
func addrs(list ...string) []netip.Addr { return each(list, netip.MustParseAddr) }
func servers(s ...*server) []netip.AddrPort {
	return each(s, func(s *server) netip.AddrPort { return s.addr })
}

func each[T, U any](list []T, f func(T) U) []U {
	out := make([]U, len(list))
	for i, x := range list {
		out[i] = f(x)
	}
	return out
}

// newResolver makes a resolver that knows no files of this machine.
func newResolver(t *testing.T, cfg Config) (*Resolver, *clock) {
	t.Helper()
	c := &clock{}
	cfg.Now = c.now
	if cfg.Hosts == "" {
		cfg.Hosts = filepath.Join(t.TempDir(), "hosts")
	}
	if cfg.ResolvConf == "" {
		cfg.ResolvConf = filepath.Join(t.TempDir(), "resolv.conf")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	return New(cfg), c
}
