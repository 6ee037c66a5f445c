package kerneltest

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/kernel"
)

// Op is a call that can be made to fail or to wait.
type Op int

// Operations.
const (
	OpCreateTunnel Op = iota
	OpCreateSession
	OpSend
	OpAttach
	OpPass
	OpSetSequencing
	OpHandOver
	OpStats
	OpIdle
	OpClose // Session.Close
	OpArmCompression
	OpOpenCompression
	OpCloseCompression
	OpCompressionBroken
	OpOpenPPPoE
	OpOpenLine
	OpBridge
	OpSetACCM
)

// String names the operation.
func (o Op) String() string {
	switch o {
	case OpCreateTunnel:
		return "create tunnel"
	case OpCreateSession:
		return "create session"
	case OpSend:
		return "send"
	case OpAttach:
		return "attach"
	case OpPass:
		return "pass"
	case OpSetSequencing:
		return "set sequencing"
	case OpHandOver:
		return "hand over"
	case OpStats:
		return "stats"
	case OpIdle:
		return "idle"
	case OpClose:
		return "close"
	case OpArmCompression:
		return "arm compression"
	case OpOpenCompression:
		return "open compression"
	case OpCloseCompression:
		return "close compression"
	case OpCompressionBroken:
		return "compression broken"
	case OpOpenPPPoE:
		return "open pppoe"
	case OpOpenLine:
		return "open line"
	case OpBridge:
		return "bridge"
	case OpSetACCM:
		return "set accm"
	}
	return fmt.Sprintf("op %d", int(o))
}

// Config shapes a fake. The zero value works.
type Config struct {
	Features kernel.Features // the zero value: a new core that re-injects

	// Units bounds the interfaces that wait for another session, as in kernel.Config; 0: 8192.
	Units int

	// Sleep is how long Attach, Bridge and Close take; meant for synctest bubbles.
	Sleep time.Duration

	// TrackSockets makes the sockets' life part of the rules: one tunnel for a descriptor at a time, and Check reports
	// tunnels whose SocketClosed was not called.
	TrackSockets bool

	// OnSend, if set, sees every frame that a session of L2TP sends, before a connected kernel does. The frame is the hook's.
	OnSend func(from kernel.SessionSpec, frame []byte)

	// OnAccess, if set, sees every frame that leaves to the peer of a PPPoE session or of a line, be it sent or carried by a bridge.
	// The frame is the hook's, and the peer answers with Session.Inject.
	OnAccess func(at *Session, frame []byte)

	// OnStray, if set, sees frames that arrive for a session this kernel does not have: the real one hands such data
	// messages to the tunnel's socket. Without it they count as lost.
	OnStray func(tunnel, session uint16, frame []byte)
}

// key names a session of one kernel.
type key struct {
	tunnel, session uint16
	access          string // of PPPoE or of a line; the ids are 0 then
}

func (k key) String() string {
	if k.access != "" {
		return k.access
	}
	return fmt.Sprintf("%d/%d", k.tunnel, k.session)
}

// arrival is a frame on its way to a Receiver, or the news that an interface vanished.
type arrival struct {
	to       key
	frame    []byte
	numbered bool   // the frame has a sequence number
	key      string // the frame is encrypted with it
	dead     string // what is gone
}

// Kernel is the fake. Safe for concurrent use.
type Kernel struct {
	Stage
	cfg Config

	mu         sync.Mutex
	idle       sync.Cond // signalled when delivering becomes nil
	closed     bool
	tunnels    map[uint16]kernel.TunnelSpec
	sessions   map[key]*Session
	peers      []*Kernel
	fail       map[Op][]error
	hold       map[Op]chan struct{}
	down       map[string]bool // interfaces, of PPPoE
	queue      []arrival
	running    bool     // a goroutine works on the queue
	delivering *Session // the session whose Receiver runs now
	lost       uint64
	nextIndex  int
	waiting    []face // interfaces without a session, the longest idle first
	violations []string
	calls      []string
}

// New makes a kernel without tunnels.
func New(cfg Config) *Kernel {
	if cfg.Features == (kernel.Features{}) {
		cfg.Features = kernel.Features{Release: "kerneltest", NewCore: true, Reinjects: true}
	}
	k := &Kernel{
		cfg: cfg, tunnels: make(map[uint16]kernel.TunnelSpec), sessions: make(map[key]*Session),
		fail: make(map[Op][]error), hold: make(map[Op]chan struct{}), down: make(map[string]bool), nextIndex: 2,
	}
	k.Stage = Stage{k}
	if k.cfg.Units == 0 {
		k.cfg.Units = 8192
	}
	k.idle.L = &k.mu
	return k
}

// Connect lays a wire between two kernels. A kernel may be connected to several, and to itself.
func Connect(a, b *Kernel) {
	connect(a, b)
	if a != b {
		connect(b, a)
	}
}

func connect(k, peer *Kernel) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.peers = append(k.peers, peer)
}

// Lost counts the frames that arrived for no session.
func (k *Kernel) Lost() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lost
}

// Session gives an open session for the test to act on, or nil.
func (k *Kernel) Session(tunnel, session uint16) *Session {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sessions[key{tunnel: tunnel, session: session}]
}

// Inject lets a frame arrive for a session, as if a peer had sent it: with a sequence number if the session numbers its own
// frames or requires numbers.
func (k *Kernel) Inject(tunnel, session uint16, frame []byte) {
	a := arrival{to: key{tunnel: tunnel, session: session}, frame: slices.Clone(frame)}
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.sessions[a.to]; s != nil {
		a.numbered = s.numbers || s.spec.Sequencing.Require
	}
	push(k, a)
}

// SocketClosed tells that a tunnel's socket was closed: the tunnel goes with it. Sessions must have been closed before,
// since on the real kernel they would go on eating frames.
func (k *Kernel) SocketClosed(fd int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, t := range k.tunnels {
		if t.FD != fd {
			continue
		}
		delete(k.tunnels, id)
		for at := range k.sessions {
			if at.tunnel == id {
				k.violate("socket of tunnel %d closed before session %v", id, at)
			}
		}
	}
}

// Check fails the test for every rule that was broken and for everything left over. It is called when all that the test
// started has ended, before Close.
func (k *Kernel) Check(t testing.TB) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, v := range k.violations {
		t.Errorf("kerneltest: %s", v)
	}
	for at := range k.sessions {
		t.Errorf("kerneltest: session %v was not closed", at)
	}
	if k.cfg.TrackSockets {
		for id, spec := range k.tunnels {
			t.Errorf("kerneltest: socket %d of tunnel %d was not closed", spec.FD, id)
		}
	}
}

// violate remembers a broken rule; mu is held.
func (k *Kernel) violate(format string, args ...any) {
	k.violations = append(k.violations, fmt.Sprintf(format, args...))
}

// begin waits where the test wants it, gives the error the test wants, and notes the call.
func begin(k *Kernel, op Op, what string) error {
	k.mu.Lock()
	if op != OpSend && op != OpStats && op != OpIdle {
		k.calls = append(k.calls, fmt.Sprintf("%v %s", op, what))
	}
	gate := k.hold[op]
	k.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if k.cfg.Sleep > 0 && (op == OpAttach || op == OpBridge || op == OpClose) {
		time.Sleep(k.cfg.Sleep)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed && op != OpClose && op != OpStats {
		k.violate("%v %s after the kernel was closed", op, what)
		return os.ErrClosed
	}
	if errs := k.fail[op]; len(errs) > 0 {
		k.fail[op] = errs[1:]
		return errs[0]
	}
	return nil
}

// Close closes the sessions that are left.
func (k *Kernel) Close() error {
	k.mu.Lock()
	k.closed = true
	var left []*Session
	for _, s := range k.sessions {
		left = append(left, s)
	}
	k.mu.Unlock()
	for _, s := range left {
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Features gives the configured ones.
func (k *Kernel) Features() kernel.Features { return k.cfg.Features }

// CreateTunnel makes a tunnel.
func (k *Kernel) CreateTunnel(spec kernel.TunnelSpec) error {
	err := begin(k, OpCreateTunnel, fmt.Sprint(spec.ID))
	if err == nil {
		err = createTunnel(k, spec)
	}
	if err != nil {
		return fmt.Errorf("create tunnel %d: %w", spec.ID, err)
	}
	return nil
}

func createTunnel(k *Kernel, spec kernel.TunnelSpec) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := spec.Validate(); err != nil {
		k.violate("create tunnel %d: %v", spec.ID, err)
		return err
	}
	if _, taken := k.tunnels[spec.ID]; taken {
		k.violate("tunnel %d created twice", spec.ID)
		return unix.EEXIST
	}
	if k.cfg.TrackSockets {
		for id, t := range k.tunnels {
			if t.FD == spec.FD {
				k.violate("socket %d of tunnel %d used for tunnel %d", spec.FD, id, spec.ID)
				return unix.EBUSY
			}
		}
	}
	k.tunnels[spec.ID] = spec
	return nil
}

// TunnelInfo tells of a tunnel; its addresses are unknown here.
func (k *Kernel) TunnelInfo(id uint16) (kernel.TunnelInfo, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := k.tunnels[id]
	if !ok {
		return kernel.TunnelInfo{}, fmt.Errorf("get tunnel %d: %w", id, os.ErrNotExist)
	}
	return kernel.TunnelInfo{ID: t.ID, PeerID: t.PeerID, UDPChecksum: true}, nil
}

// SessionInfo tells of a session. Its sequencing is what was asked for; the real kernel tells what following the peer made of
// it, as Session.State does.
func (k *Kernel) SessionInfo(tunnel, session uint16) (kernel.SessionInfo, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.sessions[key{tunnel: tunnel, session: session}]
	if !ok {
		return kernel.SessionInfo{}, fmt.Errorf("get session %d/%d: %w", tunnel, session, os.ErrNotExist)
	}
	return kernel.SessionInfo{
		TunnelID: s.spec.TunnelID, PeerTunnelID: s.spec.PeerTunnelID, SessionID: s.spec.SessionID, PeerID: s.spec.PeerID,
		Sequencing: s.spec.Sequencing, Stats: s.stats,
	}, nil
}
