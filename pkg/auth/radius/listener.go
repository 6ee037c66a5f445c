package radius

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	codec "layeh.com/radius"

	"github.com/l2tpd/l2tpd/pkg/policy"
)

// Handler does what servers ask for. Its methods are called from several goroutines. They should obey ctx, which ends with
// ListenConfig.Timeout and with the Listener; an outcome that comes later is sent all the same.
type Handler interface {
	// Disconnect ends the sessions that match.
	Disconnect(ctx context.Context, m Match) Outcome
	// Change changes the sessions that match, in all respects or none.
	Change(ctx context.Context, m Match, c Change) Outcome
}

// Peer is who may send requests.
type Peer struct {
	From   policy.Range // the narrowest that fits counts
	Secret policy.Secret
	Signed bool // its requests must have a Message-Authenticator
}

// ListenConfig is what a Listener is made of.
type ListenConfig struct {
	Address netip.AddrPort // port 3799 by custom
	Peers   []Peer
	// RequireTimestamp drops requests without Event-Timestamp, which can be replayed when the Listener has forgotten them.
	RequireTimestamp bool
	Window           time.Duration // how far an Event-Timestamp may be off; 0: 5 min
	NAS              NAS           // a request that names another is refused
	Handler          Handler
	Timeout          time.Duration    // of a handler; 0: 10 s
	Logger           *slog.Logger     // nil: silent
	Now              func() time.Time // wall clock; nil: time.Now
}

const (
	// maxRequests bounds the requests that handlers are at work on. The next is refused with NoResources.
	maxRequests = 64
	// maxRemembered bounds the answers that are kept for repeats.
	maxRemembered = 8192
	// repeatsFor is how long a request without a time is known again. One with a time is as long as its time is good.
	repeatsFor = 30 * time.Second
)

// Listener answers Disconnect and CoA requests. It is safe for concurrent use.
type Listener struct {
	cfg     ListenConfig
	log     *slog.Logger
	conn    *net.UDPConn
	single  bool // the socket has one address
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	slots   chan struct{}
	counts  listenerCounts

	mu    sync.Mutex
	known map[requestKey]*list.Element
	age   *list.List // of *remembered, the oldest first
}

// requestKey tells requests apart. Equal authenticators mean equal requests. One with a time is known whatever port it comes from:
// else it could be replayed from another.
type requestKey struct {
	from          netip.AddrPort
	id            uint8
	authenticator authenticator
}

// remembered is a request and its answer, nil while a handler is at work.
type remembered struct {
	key    requestKey
	until  time.Time
	answer []byte
}

type listenerCounts struct {
	disconnects, changes, acked, naked, duplicates, unknown, malformed, bad, unsigned, old, busy, sendErrors atomic.Uint64
}

// ListenerCounters are a snapshot.
type ListenerCounters struct {
	Disconnects, Changes uint64 // requests that were authentic and new
	Acked, Naked         uint64
	Duplicates           uint64 // got the same answer again, or none as there was none yet
	UnknownPeers         uint64 // dropped, like all below
	Malformed            uint64
	BadAuthenticators    uint64
	Unsigned             uint64 // without the Message-Authenticator that is demanded
	Old                  uint64 // with an Event-Timestamp out of the window, or without one where it is demanded
	Busy                 uint64 // refused as too many are under way
	SendErrors           uint64
}

// Listen opens the socket and answers until Close.
func Listen(cfg ListenConfig) (*Listener, error) {
	if cfg.Handler == nil {
		return nil, errors.New("listen for RADIUS requests: no handler")
	}
	for _, p := range cfg.Peers {
		if p.Secret.Empty() {
			return nil, fmt.Errorf("listen for RADIUS requests: %v has no secret", p.From)
		}
	}
	cfg.Window, cfg.Timeout = cmp.Or(cfg.Window, 5*time.Minute), cmp.Or(cfg.Timeout, 10*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Listener{
		cfg: cfg, log: cfg.Logger, slots: make(chan struct{}, maxRequests), known: map[requestKey]*list.Element{}, age: list.New(),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if l.conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(cfg.Address)); err != nil {
		return nil, fmt.Errorf("listen for RADIUS requests on %v: %w", cfg.Address, err)
	}
	if !l.conn.LocalAddr().(*net.UDPAddr).IP.IsUnspecified() {
		l.single = true
	} else if err := tellDestination(l.conn); err != nil {
		_ = l.conn.Close()
		return nil, fmt.Errorf("listen for RADIUS requests on %v: learn destinations: %w", cfg.Address, err)
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.running.Go(l.read)
	return l, nil
}

// Addr is the address that is listened on.
func (l *Listener) Addr() netip.AddrPort {
	return l.conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// Close stops listening and waits for the handlers at work, whose contexts end, and which are still answered for.
func (l *Listener) Close() error {
	l.cancel()
	_ = l.conn.SetReadDeadline(time.Unix(1, 0)) // it fails when the socket is closed already
	l.running.Wait()
	err := l.conn.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Counters returns a snapshot; its numbers are read one after the other.
func (l *Listener) Counters() ListenerCounters {
	c := &l.counts
	return ListenerCounters{
		Disconnects: c.disconnects.Load(), Changes: c.changes.Load(), Acked: c.acked.Load(), Naked: c.naked.Load(),
		Duplicates: c.duplicates.Load(), UnknownPeers: c.unknown.Load(), Malformed: c.malformed.Load(),
		BadAuthenticators: c.bad.Load(), Unsigned: c.unsigned.Load(), Old: c.old.Load(), Busy: c.busy.Load(),
		SendErrors: c.sendErrors.Load(),
	}
}

// peer finds who asks; nil: nobody who may.
func (l *Listener) peer(a netip.Addr) (best *Peer) {
	for i := range l.cfg.Peers {
		if p := &l.cfg.Peers[i]; p.From.Contains(a) && (best == nil || p.From.Compare(best.From) < 0) {
			best = p
		}
	}
	return best
}

// read takes requests until Close.
func (l *Listener) read() {
	buf, control := make([]byte, receiveSize), make([]byte, controlSize)
	for failures := 0; failures < 1000; {
		n, said, _, from, err := l.conn.ReadMsgUDPAddrPort(buf, control)
		switch {
		case l.ctx.Err() != nil:
			return
		case err != nil:
			failures++
		default:
			failures = 0
			o := origin{from: from}
			if !l.single {
				o.control = control[:said]
			}
			l.receive(buf[:n], o)
		}
	}
	l.log.LogAttrs(l.ctx, slog.LevelError, "RADIUS requests are not listened for any more: the socket gives errors only")
}

// receive drops what is not authentic, answers repeats, and has a handler do the rest.
func (l *Listener) receive(b []byte, from origin) {
	drop := func(c *atomic.Uint64) { c.Add(1) }
	source := from.from.Addr().Unmap()
	peer := l.peer(source)
	if peer == nil {
		drop(&l.counts.unknown)
		return
	}
	secret := peer.Secret.Reveal()
	if len(b) < headerSize || b[0] != byte(codec.CodeDisconnectRequest) && b[0] != byte(codec.CodeCoARequest) {
		drop(&l.counts.malformed)
		return
	}
	p, err := believe(b, secret, authenticator{}, peer.Signed)
	switch {
	case errors.Is(err, errAuthenticator):
		drop(&l.counts.bad)
		return
	case errors.Is(err, errUnsigned):
		drop(&l.counts.unsigned)
		return
	case err != nil:
		drop(&l.counts.malformed)
		return
	}
	from.control = backFrom(from.control)
	var d demand
	outcome := d.read(p, l.cfg.NAS)
	now := l.cfg.Now()
	if d.at == nil && l.cfg.RequireTimestamp || d.at != nil && now.Sub(*d.at).Abs() > l.cfg.Window {
		drop(&l.counts.old)
		return
	}
	r := &remembered{key: requestKey{from: netip.AddrPortFrom(source, from.from.Port()), id: p.Identifier, authenticator: p.Authenticator}}
	r.until = now.Add(repeatsFor)
	if d.at != nil {
		r.key.from = netip.AddrPortFrom(source, 0)
		r.until = d.at.Add(l.cfg.Window + time.Second)
	}
	if answer, repeat := l.remember(r, now); repeat {
		drop(&l.counts.duplicates)
		l.send(answer, from)
		return
	}
	if d.coa {
		l.counts.changes.Add(1)
	} else {
		l.counts.disconnects.Add(1)
	}
	l.carryOut(r, &d, outcome, secret, p, from)
}

// carryOut has a handler do what is asked for, unless that is refused already, and answers.
func (l *Listener) carryOut(r *remembered, d *demand, outcome Outcome, secret []byte, p *codec.Packet, from origin) {
	if outcome != Done {
		l.answer(r, d, outcome, secret, p, from)
		return
	}
	select {
	case l.slots <- struct{}{}:
	default:
		l.counts.busy.Add(1)
		l.answer(r, d, NoResources, secret, p, from)
		l.forget(r) // the next try may have better luck
		return
	}
	l.running.Go(func() {
		defer func() { <-l.slots }()
		ctx, cancel := context.WithTimeout(l.ctx, l.cfg.Timeout)
		defer cancel()
		if d.coa {
			outcome = l.cfg.Handler.Change(ctx, d.match, d.change)
		} else {
			outcome = l.cfg.Handler.Disconnect(ctx, d.match)
		}
		l.answer(r, d, outcome, secret, p, from)
	})
}

// answer sends an answer and keeps it for repeats.
func (l *Listener) answer(r *remembered, d *demand, o Outcome, secret []byte, p *codec.Packet, from origin) {
	b, err := d.answer(o, secret, p.Identifier, p.Authenticator)
	if err != nil { // the Proxy-States fill the packet: no answer can echo them all
		l.counts.malformed.Add(1)
		return
	}
	if o == Done {
		l.counts.acked.Add(1)
	} else {
		l.counts.naked.Add(1)
	}
	l.mu.Lock()
	r.answer = b
	l.mu.Unlock()
	l.send(b, from)
	what := "disconnect"
	if d.coa {
		what = "change"
	}
	l.log.LogAttrs(l.ctx, slog.LevelInfo, "RADIUS server asks", slog.String("what", what), slog.Any("server", from.from.Addr().Unmap()),
		slog.String("user", d.match.User), slog.String("session", d.match.SessionID), slog.String("outcome", o.String()))
}

func (l *Listener) send(b []byte, to origin) {
	if b == nil {
		return
	}
	if _, _, err := l.conn.WriteMsgUDPAddrPort(b, to.control, to.from); err != nil {
		l.counts.sendErrors.Add(1)
	}
}

// remember keeps a request, or finds it again, with its answer if there is one yet.
func (l *Listener) remember(r *remembered, now time.Time) (answer []byte, repeat bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for x := l.age.Front(); x != nil; x = l.age.Front() {
		old := x.Value.(*remembered)
		if !old.until.Before(now) && l.age.Len() < maxRemembered {
			break
		}
		l.drop(x)
	}
	if x := l.known[r.key]; x != nil {
		old := x.Value.(*remembered)
		if !old.until.Before(now) {
			return old.answer, true
		}
		l.drop(x)
	}
	l.known[r.key] = l.age.PushBack(r)
	return nil, false
}

// forget takes a request out of memory.
func (l *Listener) forget(r *remembered) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.known[r.key]; x != nil && x.Value.(*remembered) == r {
		l.drop(x)
	}
}

// drop forgets an element; the mutex is held.
func (l *Listener) drop(x *list.Element) {
	delete(l.known, x.Value.(*remembered).key)
	l.age.Remove(x)
}
