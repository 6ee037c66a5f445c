package engine

import (
	"context"
	"crypto/rand"
	"io"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/network"
	"github.com/l2tpd/l2tpd/pkg/observe"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/transport"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// maxSessionHeap is what a session that is up may keep on the heap, in octets, without what pkg/kernel and pkg/network keep of it.
const maxSessionHeap = 2700

// What a session keeps is what a box of 65535 of them needs memory for. It is not parallel: the heap is that of the whole process.
func TestHeapOfASession(t *testing.T) {
	const few, many = 500, 2500
	less, more := heapOf(t, few), heapOf(t, many)
	each := (more - less) / (many - few)
	t.Logf("%d octets a session", each)
	if each > maxSessionHeap {
		t.Errorf("a session keeps %d octets on the heap, want at most %d", each, maxSessionHeap)
	}
}

func (x *callers) Stock(map[string]int) {}

// heapOf is by how much the heap grows with an LNS that has n sessions up, in octets.
func heapOf(t *testing.T, n int) (octets int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		before := 0
		withCallers(t, n, func() { before = liveHeap() }, func(x *callers) {
			x.forget()
			octets = liveHeap() - before
		})
	})
	return octets
}

// withCallers runs an LNS, calls begin before there is one, and then when n sessions are up.
func withCallers(t *testing.T, n int, begin func(), then func(*callers)) {
	t.Helper()
	p := acceptor()
	p.Templates["dialin"].IdleTimeout = 0
	p.Pools["ips"].Ranges[0] = policy.Range{From: netip.MustParseAddr("10.0.0.1"), To: netip.MustParseAddr("10.0.255.254")}
	x := &callers{begun: time.Now(), links: map[uint16]*ppp.Link{}, sinks: map[uint16]kernel.Receiver{}}
	begin()
	e := New(Config{
		Policy: p, Transport: x, Kernel: x, Network: x, Random: rand.Reader, Now: x.now, WallClock: time.Now,
		Logger: observe.New(observe.Options{Writer: io.Discard, Format: observe.FormatText}),
	})
	e.Start()
	x.dial(e)
	for up := 0; up < n; {
		batch := min(100, n-up)
		x.call(batch)
		up += batch
		for begun := time.Now(); x.count() < up; x.expire() {
			if time.Since(begun) > time.Minute {
				t.Fatalf("%d of %d sessions are up", x.count(), up)
			}
			time.Sleep(50 * time.Millisecond) // virtual
		}
	}
	synctest.Wait()
	then(x)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if err := e.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// liveHeap is what lives on the heap.
func liveHeap() int {
	runtime.GC()
	runtime.GC() // what the first one only took out of pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// callers are a LAC whose callers log in as RouterA, and the kernel and network of the LNS. It answers at once.
type callers struct {
	mu    sync.Mutex
	begun time.Time
	e     *Engine
	ctl   *control.Tunnel // nil: nobody answers
	out   control.Output
	links map[uint16]*ppp.Link       // by the LAC's session id
	sinks map[uint16]kernel.Receiver // of the LNS
	up    int
}

var lacAddress, lnsAddress = netip.MustParseAddrPort("1.1.1.1:1701"), netip.MustParseAddrPort("2.2.2.2:1701")

func (x *callers) now() Time { return time.Since(x.begun) + time.Hour }

// dial opens the tunnel.
func (x *callers) dial(e *Engine) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.e = e
	x.ctl = control.Open(control.TunnelConfig{
		HostName: "a", Framing: wire.FramingSync, Secret: []byte("secret-of-b"), Random: rand.Reader,
	}, 1, x.now(), &x.out)
	x.flush()
}

// call has n more callers.
func (x *callers) call(n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for range n {
		var id control.SessionID
		x.ctl.Do(x.now(), control.CmdOpenSession{Role: control.LACIncoming, Session: &id}, &x.out)
	}
	x.flush()
}

func (x *callers) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.up
}

func (x *callers) expire() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ctl.Expire(x.now(), &x.out)
	x.flush()
}

// forget takes the LAC away, with all that it keeps.
func (x *callers) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ctl, x.out, x.links, x.sinks = nil, control.Output{}, nil, nil
}

// flush sends what the tunnel has to say, and connects the calls that are answered.
func (x *callers) flush() {
	for len(x.out.Datagrams)+len(x.out.Events) > 0 {
		out := x.out
		x.out = control.Output{}
		for _, d := range out.Datagrams {
			x.e.Receive(transport.Packet{Local: lnsAddress, Remote: lacAddress, Data: d})
		}
		for _, ev := range out.Events {
			switch ev := ev.(type) {
			case control.EvSessionReplied:
				x.ctl.Do(x.now(), control.CmdConnectSession{
					Session: ev.Session, Call: control.CallInfo{FramingType: wire.FramingSync, TxSpeed: 64000},
				}, &x.out)
			case control.EvSessionUp:
				x.begin(uint16(ev.Session))
			}
		}
	}
}

// begin starts PPP of a caller.
func (x *callers) begin(id uint16) {
	var out ppp.Output
	x.links[id] = ppp.Open(&ppp.Config{
		User: "RouterA", Password: []byte("PasswordA"), Answer: []ppp.AuthMethod{ppp.AuthCHAPMD5}, IPv4: ppp.IPv4Request, Random: rand.Reader,
	}, x.now(), &out)
	x.said(id, out)
}

// said passes on what a caller's PPP has to say.
func (x *callers) said(id uint16, out ppp.Output) {
	for _, f := range out.Frames {
		x.sinks[id].Frame(f)
	}
	for _, ev := range out.Events {
		if _, ok := ev.(ppp.EvNetworkUp); ok {
			x.up++
		}
	}
}

// Send and what follows is the LNS's transport.
func (x *callers) Send(_, _ netip.AddrPort, datagram []byte) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ctl != nil {
		_ = x.ctl.Receive(x.now(), datagram, &x.out) // a duplicate is no harm
		x.flush()
	}
	return nil
}

func (x *callers) LocalFor(netip.AddrPort) (netip.AddrPort, error)   { return lnsAddress, nil }
func (x *callers) OpenPort(netip.Addr, netip.AddrPort) (Port, error) { return nil, os.ErrInvalid }

func (x *callers) Connect(_, _ netip.AddrPort, prepare func(int) error) (Conn, error) {
	return idleConn{}, prepare(3)
}

func (x *callers) Counters() transport.Counters { return transport.Counters{} }
func (x *callers) Prepare(context.Context)      {}

func (x *callers) Apply(context.Context, network.Owner, network.Interface) error { return nil }
func (x *callers) Remove(context.Context, network.Owner) error                   { return nil }
func (x *callers) Index(network.Owner) int                                       { return 0 }
func (x *callers) Demand(string, []netip.Prefix, func()) (Demand, error)         { return nil, os.ErrInvalid }
func (x *callers) CreateTunnel(kernel.TunnelSpec) error                          { return nil }
func (x *callers) Features() kernel.Features                                     { return kernel.Features{NewCore: true} }

// CreateSession makes the data path to a caller.
func (x *callers) CreateSession(s kernel.SessionSpec, to kernel.Receiver) (Session, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sinks[s.PeerID] = to
	return &caller{x: x, id: s.PeerID, to: to}, nil
}

// caller is the LNS's data path to one caller. It keeps what one of the kernel must keep.
type caller struct {
	x  *callers
	id uint16
	to kernel.Receiver
}

func (c *caller) Bridge(Session) error { return os.ErrInvalid }
func (c *caller) Relay([]byte) error   { return os.ErrInvalid }

func (c *caller) Send(frame []byte) error {
	c.x.mu.Lock()
	defer c.x.mu.Unlock()
	if l := c.x.links[c.id]; l != nil {
		var out ppp.Output
		l.Receive(c.x.now(), frame, &out)
		c.x.said(c.id, out)
	}
	return nil
}

func (c *caller) Attach(kernel.UnitSpec) (kernel.Unit, error) {
	return kernel.Unit{Name: "ppp" + strconv.Itoa(int(c.id)), Index: int(c.id)}, nil
}

func (c *caller) Pass(kernel.NetworkProtocol, bool) error { return nil }
func (c *caller) SetSequencing(kernel.Sequencing) error   { return nil }
func (c *caller) Close() error                            { return nil }
func (c *caller) ArmCompression(kernel.Compression) error { return os.ErrInvalid }
func (c *caller) OpenCompression(bool) error              { return os.ErrInvalid }
func (c *caller) CloseCompression() error                 { return os.ErrInvalid }
func (c *caller) CompressionBroken() (bool, error)        { return false, os.ErrInvalid }
func (c *caller) Stats() (kernel.Stats, error)            { return kernel.Stats{}, nil }
func (c *caller) Idle() (time.Duration, error)            { return 0, nil }
func (c *caller) HandOver() (*os.File, error)             { return nil, os.ErrInvalid }

// idleConn is a tunnel's socket.
type idleConn struct{}

func (idleConn) PathMTU() int { return 1500 }
func (idleConn) Close() error { return nil }
