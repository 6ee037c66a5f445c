package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/ipv6"
	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/network"
	"github.com/l2tpd/l2tpd/pkg/observe"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/transport"
)

// Time is an instant: nanoseconds on the machine's boot-time clock.
type Time = time.Duration

// Transport sends datagrams and makes the connected socket that a kernel tunnel needs.
type Transport interface {
	Send(local, remote netip.AddrPort, datagram []byte) error
	LocalFor(remote netip.AddrPort) (netip.AddrPort, error)
	// Connect makes a tunnel's socket. Between bind and connect it has prepare make a kernel tunnel of it, and returns its error.
	Connect(local, remote netip.AddrPort, prepare func(fd int) error) (Conn, error)
	// OpenPort opens a port for one tunnel; Send and Connect with its address use it. An invalid local is chosen by route.
	OpenPort(local netip.Addr, remote netip.AddrPort) (Port, error)
	Counters() transport.Counters
}

// Port is a UDP port of a single tunnel (S14).
type Port interface {
	Local() netip.AddrPort
	Close() error
}

// Conn is a tunnel's connected socket.
type Conn interface {
	PathMTU() int // of the outer path, octets; 0: unknown
	Close() error
}

// Kernel makes kernel objects. Its methods may sleep.
type Kernel interface {
	CreateTunnel(kernel.TunnelSpec) error
	CreateSession(s kernel.SessionSpec, to kernel.Receiver) (Session, error)
	Features() kernel.Features
	Stock(goals map[string]int) // how many interfaces there are at least, by what their names are made of
}

// Session is the data path of one session. Send may be called at any time, beside the other methods.
type Session interface {
	DataPath
	Meter
	Handover
	Encrypter
	// Bridge has the kernel carry frames between two sessions; the other is of the same Kernel. It may sleep.
	Bridge(to Session) error
	Relay(frame []byte) error // by the other session of the bridge: what did not come through the kernel
}

// DataPath moves a session through its life.
type DataPath interface {
	Send(frame []byte) error
	Attach(kernel.UnitSpec) (kernel.Unit, error)
	Pass(kernel.NetworkProtocol, bool) error
	SetSequencing(kernel.Sequencing) error
	Close() error
}

// Encrypter has the kernel encrypt by MPPE, which to it is a kind of compression.
type Encrypter interface {
	ArmCompression(kernel.Compression) error
	OpenCompression(require bool) error
	CloseCompression() error
	CompressionBroken() (bool, error)
}

// Meter reads what the kernel counted. It is safe for concurrent use, and may sleep. Stats gives what was read last after Close, and with an
// error.
type Meter interface {
	Stats() (kernel.Stats, error)
	Idle() (time.Duration, error)
}

// Network keeps interfaces, routes and address translation as desired state. Its methods may sleep.
type Network interface {
	Prepare(ctx context.Context) // for interfaces that masquerade, clamp or have IPv6
	Apply(ctx context.Context, owner network.Owner, want network.Interface) error
	Index(owner network.Owner) int // of the interface that was applied last
	Remove(ctx context.Context, owner network.Owner) error
	Demand(name string, routes []netip.Prefix, wake func()) (Demand, error)
}

// Prefixes tells peers their IPv6 prefixes, by router advertisement and DHCPv6, on interfaces by index. Its methods may sleep.
type Prefixes interface {
	Serve(index int, lease ipv6.Lease, notify func(ipv6.Event)) error
	Stop(index int)
}

// Demand waits for the first packet to a call that is down (dial on demand, S157).
type Demand interface {
	Release(ipv4, ipv6 bool) // which protocols have their way: forward what was kept of them
	Close() error
}

// Resolver finds the addresses of a host name. It may sleep.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config is what an engine is made of. Limiter, Logger, Kernel, Workers and Shards may be zero.
type Config struct {
	Policy    *policy.Policy
	Transport Transport
	Kernel    Kernel // nil: the kernel is not usable; KernelProblem says why, and calls are refused with it
	Network   Network
	Pppd      Pppd     // nil: there is none
	Prefixes  Prefixes // nil: nobody gets IPv6 prefixes
	Access    Access   // nil: no subscribers arrive here
	RADIUS    RADIUS   // nil: there are no servers
	Resolver  Resolver
	Random    io.Reader // entropy; must not fail
	Now       func() Time
	WallClock func() time.Time
	Logger    *slog.Logger
	Limiter   *observe.Limiter // of lines about what strangers cause

	Listen        []netip.AddrPort // what Transport really listens on, for status
	KernelProblem string
	Problems      []string // further reasons why not all works, for status
	Version       string
	VendorName    string
	ConfigFile    string
	Workers       int // of the executor that does what sleeps; 0 means 64
	Shards        int // for callers that no configured call concerns; 0 means 2
}

// Engine runs tunnels, sessions and calls. Its methods are safe for concurrent use.
type Engine struct {
	cfg      Config
	log      *slog.Logger
	policy   atomic.Pointer[policy.Policy]
	peers    atomic.Pointer[peerBook]
	routes   routes
	shards   []*shard
	exec     *executor // of what the kernel and the network do
	names    *executor // of name lookups: a dead name server must not hold up the kernel
	asks     *executor // of RADIUS servers: the same
	counts   counters
	buried   graveyard
	taps     taps  // what is captured and debugged
	tunnels  quota // of accept entries
	halfOpen quota
	sessions quota
	started  time.Time
	loaded   atomic.Pointer[time.Time]
	stopping atomic.Bool
	running  sync.WaitGroup
	debugs   sync.WaitGroup // in the background
	serving  sync.Mutex     // of access lines: held while what is served is changed

	life      context.Context // of what the executor does: ends when Stop has waited long enough
	endLife   context.CancelFunc
	asking    context.Context // of name lookups: ends when Stop begins
	endAsking context.CancelFunc
}

// ErrStopping refuses what begins while the daemon goes down.
var ErrStopping = errors.New("the daemon is stopping")

// New makes an engine. Nothing runs before Start.
func New(cfg Config) *Engine {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Limiter == nil {
		cfg.Limiter = observe.NewLimiter(observe.LimiterConfig{})
	}
	if cfg.Workers == 0 {
		cfg.Workers = 64
	}
	if cfg.Shards == 0 {
		cfg.Shards = 2
	}
	e := &Engine{cfg: cfg, log: cfg.Logger, started: cfg.WallClock(), buried: newGraveyard()}
	e.policy.Store(cfg.Policy)
	e.peers.Store(newPeerBook(cfg.Policy, nil))
	e.loaded.Store(&e.started)
	e.exec, e.names, e.asks = newExecutor(cfg.Workers), newExecutor(lookups), newExecutor(askers)
	e.life, e.endLife = context.WithCancel(background)
	e.asking, e.endAsking = context.WithCancel(e.life)
	for i := range 1 + cfg.Shards {
		e.shards = append(e.shards, newShard(e, i))
	}
	return e
}

// noDataPath says why nothing can be carried.
func (e *Engine) noDataPath() string { return "no data path: " + e.cfg.KernelProblem }

// newCore says that the kernel tells tunnels between the same addresses and ports apart.
func (e *Engine) newCore() bool { return e.cfg.Kernel == nil || e.cfg.Kernel.Features().NewCore }

// random is a number in [0, n), from the configured entropy; for a small n the bias of the remainder does not matter.
func (e *Engine) random(n int64) int64 {
	var b [8]byte
	if _, err := io.ReadFull(e.cfg.Random, b[:]); err != nil {
		panic("engine: Config.Random: " + err.Error()) // better than ids that can be guessed
	}
	return int64(binary.BigEndian.Uint64(b[:]) % uint64(n))
}

// within is a random time shorter than d.
func (e *Engine) within(d time.Duration) time.Duration { return time.Duration(e.random(int64(d))) }

// lookups is how many names are looked up at once.
const lookups = 8

// Start runs the engine until Stop. Calls with autostart begin to dial.
func (e *Engine) Start() {
	for _, s := range e.shards {
		e.running.Go(s.run)
	}
	p := e.policy.Load()
	e.shards[0].post(func() { e.shards[0].dialers.reconcile(p) })
	e.accountAll(radius.On)
	e.serveAccess(p)
	e.stock(p)
}

// stock has ready what the templates need: interfaces that they want made ahead, and what all interfaces have in common.
func (e *Engine) stock(p *policy.Policy) {
	if e.cfg.Kernel == nil {
		return
	}
	goals, shared := make(map[string]int), false
	for _, t := range p.Templates {
		if t.Ready > 0 {
			goals[t.Interface] += t.Ready
		}
		shared = shared || t.MSSClamp || t.Masquerade || t.IPv6
	}
	e.cfg.Kernel.Stock(goals)
	if shared {
		e.exec.submit(func() { e.cfg.Network.Prepare(e.life) })
	}
}

// Stop says StopCCN 6 to every peer, waits for the acknowledgements and the release of every kernel object (P153), at most
// until ctx ends, and stops the goroutines. It returns ctx's error when something was left behind; what still sleeps in the
// kernel then ends with the call that it is in.
func (e *Engine) Stop(ctx context.Context) error {
	e.stopping.Store(true)
	e.endAsking()
	idle := make(chan struct{}, len(e.shards))
	for _, s := range e.shards {
		s.post(func() { s.drain(func() { idle <- struct{}{} }) })
	}
	var err error
	for range e.shards {
		select {
		case <-idle:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	e.leaveAccess()
	e.accountAll(radius.Off)
	if err != nil {
		e.endLife() // the executor may wait for what this ends
	}
	for _, s := range e.shards {
		s.inbox.close()
	}
	e.running.Wait()
	e.taps.close()
	e.debugs.Wait()
	err = errors.Join(err, e.exec.close(ctx), e.names.close(ctx), e.asks.close(ctx))
	e.endLife()
	if err != nil {
		return ctx.Err()
	}
	return nil
}

// Reload takes a new policy. Live sessions keep what they were made with; calls that are no longer configured are closed.
func (e *Engine) Reload(p *policy.Policy) {
	e.policy.Store(p)
	now := e.cfg.WallClock()
	e.loaded.Store(&now)
	e.shards[0].post(func() { e.shards[0].dialers.reconcile(p) })
	e.serveAccess(p)
	e.stock(p)
}

// Alive returns when every shard has answered, or with ctx's error.
func (e *Engine) Alive(ctx context.Context) error {
	return e.each(ctx, func(*shard) {})
}

// each runs f in every shard and waits for all.
func (e *Engine) each(ctx context.Context, f func(*shard)) error {
	done := make(chan struct{}, len(e.shards))
	for _, s := range e.shards {
		if !s.post(func() { f(s); done <- struct{}{} }) {
			return ErrStopping
		}
	}
	for range e.shards {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// in runs f in one shard and waits for it.
func (s *shard) in(ctx context.Context, f func()) error {
	done := make(chan struct{})
	if !s.post(func() { f(); close(done) }) {
		return ErrStopping
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
