package engine

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/ipv6"
	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/kernel/kerneltest"
	"github.com/l2tpd/l2tpd/pkg/network"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/pppd"
	"github.com/l2tpd/l2tpd/pkg/transport"
)

// internet joins simulated boxes. A datagram takes a millisecond, unless drop says that it never arrives.
type internet struct {
	mu    sync.Mutex
	boxes map[netip.Addr]*box
	drop  func(from, to netip.AddrPort, datagram []byte) bool
	alter func(datagram []byte) []byte        // on its way, if set
	from  func(netip.AddrPort) netip.AddrPort // the source that the receiver sees, if set
	sent  map[netip.Addr][][]byte             // by sender

	radius  map[netip.Addr]RADIUS // of the boxes that have any
	ordered bool                  // datagrams do not overtake each other
	carried time.Duration         // a nanosecond for each of them
}

// box is one simulated machine: an engine on a simulated kernel, network and transport.
type box struct {
	t    *testing.T
	net  *internet
	addr netip.Addr
	e    *Engine
	k    *kerneltest.Kernel
	log  *logBuffer
	dsl  *dsl // where subscribers arrive

	mu       sync.Mutex
	nextFD   int
	applied  map[network.Owner]network.Interface
	applies  func(network.Owner, network.Interface) error // is asked about what is to be applied, if set
	slow     time.Duration                                // what the network takes for it
	noIPv6   error                                        // why interfaces cannot have IPv6
	leases   map[int]ipv6.Lease                           // what is told on interfaces, by index
	pppds    []pppd.Spec                                  // that were started
	programs []*program                                   // the same, as they run
	runs     func(*pppd.EvNetworkUp) error                // what they say of IPv4, or why they do not start, if set
	pppdsEnd time.Duration                                // how long those take to end that are started
	ports    map[netip.AddrPort]bool                      // of single tunnels, open
	nextPort uint16
	// connected are the local addresses of the tunnel sockets that were made.
	connected []netip.AddrPort
	demands   map[string]func()
	waits     map[string][]netip.Prefix // routes of the waiting devices
	names     map[string][]netip.Addr   // what the resolver knows; all else is at 2.2.2.2
	released  int
	closed    int // tunnel sockets
	prepared  int // how often was asked for what interfaces have in common
}

// logBuffer keeps what an engine logs.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newInternet() *internet {
	return &internet{boxes: map[netip.Addr]*box{}, sent: map[netip.Addr][][]byte{}}
}

// datagrams are those that a box has sent.
func (n *internet) datagrams(from netip.Addr) [][]byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.sent[from])
}

// start boots a box. Old kernels cannot serve two tunnels of one 5-tuple.
func (n *internet) start(t *testing.T, addr string, p *policy.Policy, newCore bool) *box {
	t.Helper()
	b := &box{
		t: t, net: n, addr: netip.MustParseAddr(addr), applied: map[network.Owner]network.Interface{}, ports: map[netip.AddrPort]bool{}, demands: map[string]func(){},
		waits: map[string][]netip.Prefix{}, names: map[string][]netip.Addr{}, leases: map[int]ipv6.Lease{},
		log: &logBuffer{}, nextFD: 3,
	}
	b.dsl = &dsl{box: b, subscribers: map[uint16]*subscriberBox{}}
	k := kerneltest.Config{TrackSockets: true, Features: kernel.Features{Release: "test", NewCore: newCore, Reinjects: true}}
	if len(p.LAC.Access) > 0 {
		k.OnAccess = b.dsl.leaves
	}
	b.k = kerneltest.New(k)
	begun := time.Now()
	cfg := Config{
		RADIUS: n.radius[b.addr],
		Policy: p, Listen: p.Server.Listen, Transport: b, Kernel: simKernel{b.k}, Network: b, Prefixes: advertiser{b}, Pppd: programs{b}, Resolver: b, Random: rand.Reader,
		Now:       func() Time { return time.Since(begun) + time.Hour },
		WallClock: time.Now,
		Logger:    slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if len(p.LAC.Access) > 0 {
		cfg.Access = b.dsl
	}
	b.e = New(cfg)
	n.mu.Lock()
	for _, other := range n.boxes {
		kerneltest.Connect(b.k, other.k)
	}
	n.boxes[b.addr] = b
	n.mu.Unlock()
	b.e.Start()
	return b
}

// stop ends a box in good order and checks that nothing is left of it.
func (b *box) stop() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.e.Stop(ctx); err != nil {
		b.t.Errorf("%v: stop: %v\n%s", b.addr, err, b.log)
	}
	b.k.Check(b.t)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ports) > 0 {
		b.t.Errorf("%v: ports left open: %v", b.addr, b.ports)
	}
	if len(b.leases) > 0 {
		b.t.Errorf("%v: prefixes are told still: %v", b.addr, b.leases)
	}
	if len(b.applied) > 0 {
		b.t.Errorf("%v: network state left behind: %v", b.addr, slices.Collect(maps.Keys(b.applied)))
	}
}

// kill takes a box off the net without a word. Its engine is stopped where nobody hears it.
func (b *box) kill() {
	b.net.mu.Lock()
	delete(b.net.boxes, b.addr)
	b.net.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = b.e.Stop(ctx)
}

func (b *box) Send(local, remote netip.AddrPort, datagram []byte) error {
	if !local.Addr().IsValid() || local.Addr().IsUnspecified() {
		local = netip.AddrPortFrom(b.addr, local.Port())
	}
	d := slices.Clone(datagram)
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	b.net.sent[b.addr] = append(b.net.sent[b.addr], d)
	to := b.net.boxes[remote.Addr()]
	if to == nil || b.net.boxes[b.addr] != b || (b.net.drop != nil && b.net.drop(local, remote, d)) {
		return nil
	}
	if b.net.alter != nil {
		d = b.net.alter(d)
	}
	if b.net.from != nil {
		local = b.net.from(local)
	}
	delay := time.Millisecond
	if b.net.ordered {
		b.net.carried++
		delay += b.net.carried // nanoseconds
	}
	time.AfterFunc(delay, func() {
		to.e.Receive(transport.Packet{Local: remote, Remote: local, Data: d})
	})
	return nil
}

func (b *box) LocalFor(netip.AddrPort) (netip.AddrPort, error) {
	return netip.AddrPortFrom(b.addr, 1701), nil
}

// OpenPort gives each tunnel that asks for one a port of its own.
func (b *box) OpenPort(netip.Addr, netip.AddrPort) (Port, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nextPort++
	p := netip.AddrPortFrom(b.addr, 40000+b.nextPort)
	b.ports[p] = true
	return simPort{b, p}, nil
}

type simPort struct {
	b     *box
	local netip.AddrPort
}

func (p simPort) Local() netip.AddrPort { return p.local }

func (p simPort) Close() error {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if !p.b.ports[p.local] {
		return transport.ErrClosed
	}
	delete(p.b.ports, p.local)
	return nil
}

func (b *box) Counters() transport.Counters { return transport.Counters{} }

func (b *box) Connect(local, _ netip.AddrPort, prepare func(fd int) error) (Conn, error) {
	b.mu.Lock()
	b.nextFD++
	conn := simConn{b, b.nextFD}
	b.connected = append(b.connected, local)
	b.mu.Unlock()
	if err := prepare(conn.fd); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

type simConn struct {
	b  *box
	fd int
}

func (c simConn) PathMTU() int { return 1500 }
func (c simConn) Close() error {
	c.b.k.SocketClosed(c.fd)
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.closed++
	return nil
}

type simKernel struct{ *kerneltest.Kernel }

func (k simKernel) CreateSession(s kernel.SessionSpec, to kernel.Receiver) (Session, error) {
	return simSessionOf(k.Kernel.CreateSession(s, to))
}

func (k simKernel) OpenPPPoE(s kernel.PPPoESpec, to kernel.Receiver) (Session, error) {
	return simSessionOf(k.Kernel.OpenPPPoE(s, to))
}

func (k simKernel) OpenLine(s kernel.LineSpec, to kernel.Receiver) (Session, error) {
	return simSessionOf(k.Kernel.OpenLine(s, to))
}

func simSessionOf(s *kerneltest.Session, err error) (Session, error) {
	if err != nil {
		return nil, err
	}
	return simSession{s}, nil
}

// simSession is a session of a simulated kernel among others of the engine.
type simSession struct{ *kerneltest.Session }

func (s simSession) Bridge(to Session) error { return s.Session.Bridge(to.(simSession).Session) }

func (b *box) Prepare(context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.prepared++
}

func (b *box) Apply(_ context.Context, owner network.Owner, want network.Interface) error {
	b.takesTime()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.applies != nil {
		if err := b.applies(owner, want); err != nil {
			return err
		}
	}
	if want.IPv6 && b.noIPv6 != nil {
		want.IPv6 = false
		b.applied[owner] = want
		return fmt.Errorf("apply: %w", &network.IPv6Error{Err: b.noIPv6})
	}
	b.applied[owner] = want
	return nil
}

// programs are pppds that tell that they have opened IPv4, and IPv6 if they may, and end when they are told to.
type programs struct{ *box }

func (p programs) Start(spec pppd.Spec, events func(pppd.Event)) (PppdProcess, error) {
	if spec.Socket != nil {
		spec.Socket.Close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	up := pppd.EvNetworkUp{
		Interface: "ppp0", User: "RouterA",
		EvNetworkUp: ppp.EvNetworkUp{Proto: ppp.ProtoIPv4, Local: spec.Local, Peer: spec.Peer},
	}
	if p.runs != nil {
		if err := p.runs(&up); err != nil {
			return nil, err
		}
	}
	x := &program{ends: p.pppdsEnd, events: events}
	p.pppds, p.programs = append(p.pppds, spec), append(p.programs, x)
	events(up)
	if spec.IPv6 {
		events(pppd.EvNetworkUp{
			Interface: "ppp0", User: up.User,
			EvNetworkUp: ppp.EvNetworkUp{Proto: ppp.ProtoIPv6, Local: netip.MustParseAddr("fe80::1"), Peer: netip.MustParseAddr("fe80::2")},
		})
	}
	return x, nil
}

// program is a pppd that runs.
type program struct {
	ends   time.Duration
	events func(pppd.Event)
	end    sync.Once
}

func (p *program) Stop(context.Context) error {
	time.Sleep(p.ends) // virtual
	p.exit(ppp.ReasonLocal)
	return nil
}

// exit is its end, which it tells once.
func (p *program) exit(why ppp.Reason) {
	p.end.Do(func() {
		p.events(pppd.EvDown{EvLinkDown: ppp.EvLinkDown{Stage: ppp.StageUp, Reason: why, Peer: why == ppp.ReasonPeer}})
	})
}

// advertiser tells prefixes. Its Stop is not the box's.
type advertiser struct{ *box }

func (a advertiser) Serve(index int, lease ipv6.Lease, _ func(ipv6.Event)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leases[index] = lease
	return nil
}

func (a advertiser) Stop(index int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.leases, index)
}

// Index is that of the one interface that a pppd has.
func (b *box) Index(owner network.Owner) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.applied[owner].Name != "ppp0" {
		return 0
	}
	return pppdIndex
}

const pppdIndex = 4711

// takesTime is what the network does for each.
func (b *box) takesTime() {
	b.mu.Lock()
	d := b.slow
	b.mu.Unlock()
	time.Sleep(d) // virtual
}

func (b *box) Remove(_ context.Context, owner network.Owner) error {
	b.takesTime()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.applied, owner)
	return nil
}

func (b *box) Demand(name string, routes []netip.Prefix, wake func()) (Demand, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.demands[name] != nil {
		return nil, fmt.Errorf("device %s exists", name)
	}
	b.demands[name], b.waits[name] = wake, routes
	return simDemand{b, name}, nil
}

type simDemand struct {
	b    *box
	name string
}

func (d simDemand) Release(ipv4, ipv6 bool) {
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	if ipv4 || ipv6 {
		d.b.released++
	}
}

func (d simDemand) Close() error {
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	delete(d.b.demands, d.name)
	delete(d.b.waits, d.name)
	return nil
}

func (b *box) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	if host == "slow.example" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if a, ok := b.names[host]; ok {
		return slices.Clone(a), nil
	}
	return []netip.Addr{netip.MustParseAddr("2.2.2.2")}, nil
}

// look takes a snapshot of everything.
func (b *box) look() *api.Snapshot {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := b.e.Snapshot(ctx, api.Query{Status: true, Tunnels: true, Sessions: true, Calls: true, Stats: true})
	if err != nil {
		b.t.Fatalf("%v: snapshot: %v", b.addr, err)
	}
	return s
}

// up waits, in virtual time, until the call is up.
func (b *box) up(call string, limit time.Duration) {
	b.t.Helper()
	b.until(call+" up", limit, func(s *api.Snapshot) bool {
		return slices.ContainsFunc(s.Calls, func(c api.Call) bool { return c.Name == call && c.State == api.CallUp })
	})
}

// until waits for a condition in virtual time.
func (b *box) until(what string, limit time.Duration, ok func(*api.Snapshot) bool) {
	b.t.Helper()
	for begun, end := time.Now(), time.Now().Add(limit); ; {
		if ok(b.look()) {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("%v: not within %v: %s\n%s", b.addr, limit, what, b.log)
		}
		time.Sleep(max(10*time.Millisecond, time.Since(begun)/50)) // virtual
	}
}

// simulated runs a test in virtual time.
func simulated(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

// pair is the policy of one end of a static pair (S18).
func pair(host, peer string, prec policy.Precedence, auto bool) *policy.Policy {
	return &policy.Policy{
		Server:  policy.Server{Mode: policy.ModeBoth, HostName: host, Checksum: true, Tunnel: policy.Tunnel{Hello: time.Minute}},
		Secrets: []policy.SecretRule{{Secret: policy.NewSecret([]byte("secret-of-" + host))}},
		Calls: map[string]*policy.Call{"remote": {
			Name: "remote", Peer: peer, Remote: "remote", Precedence: prec, AutoStart: auto,
			Secret: policy.NewSecret([]byte("secret-of-" + map[string]string{"a": "b", "b": "a"}[host])),
			PPP: policy.CallPPP{
				Template: "lan", IPv4: ppp.IPv4Unnumbered, IPv6: true,
				Routes: []netip.Prefix{netip.MustParsePrefix("192.168.20.0/24")},
			},
		}},
		Templates: map[string]*policy.Template{"lan": {Name: "lan", IPv4: true, Echo: 10 * time.Second}},
	}
}
