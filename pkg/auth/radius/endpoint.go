package radius

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	codec "layeh.com/radius"
)

const (
	idsPerPort = 256
	// maxPorts bounds the source ports to one server, and so the requests outstanding there to 4096.
	maxPorts = 16
	// receiveSize holds the longest packet, and shows when there was more.
	receiveSize = codec.MaxPacketLength + 1
)

// endpoint is one service of one server: where its requests go, and how it does. It is safe for concurrent use.
type endpoint struct {
	name    string
	service string // logins or accounting
	remote  netip.AddrPort
	local   netip.Addr // source address; invalid: the kernel's choice
	secret  []byte
	timeout time.Duration
	tries   int
	demand  bool          // answers must have a Message-Authenticator
	slots   chan struct{} // one for each request that may be outstanding
	closing chan struct{}
	readers sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	ports      []*port
	lastAnswer time.Time
	deadSince  time.Time // zero: alive
	deadUntil  time.Time
	roundTrip  time.Duration // smoothed
	counts     endpointCounts
}

// endpointCounts are what ServerCounters are made of.
type endpointCounts struct {
	requests, retransmissions, timeouts, sendErrors atomic.Uint64
	accepts, rejects, answers                       atomic.Uint64
	badAuthenticators, unsigned, malformed, strays  atomic.Uint64
}

// port is one source port with ids of its own. The endpoint's mutex guards it.
type port struct {
	conn    *net.UDPConn
	next    uint8 // where to look for a free id, so that one rests before it is used again
	used    int
	waiting [idsPerPort]*waiting
}

// waiting is a request without answer.
type waiting struct {
	sent          bool
	answered      bool
	authenticator authenticator
	answer        chan *codec.Packet // holds one
}

func newEndpoint(s Server, service string, remote netip.AddrPort, source netip.Addr, demand bool) *endpoint {
	return &endpoint{
		name: s.Name, service: service, remote: remote, local: source, secret: s.Secret.Reveal(), timeout: s.Timeout, tries: s.Tries, demand: demand,
		slots: make(chan struct{}, maxPorts*idsPerPort), closing: make(chan struct{}),
	}
}

// errSilent is how an exchange ends that got no answer that counts.
var errSilent = errors.New("no answer")

// exchange sends a request until an answer comes that can be believed. build makes the packet for an id; it is sent the same each time
// (RFC 5080, 2.2.1).
func (e *endpoint) exchange(ctx context.Context, build func(id uint8) ([]byte, error)) (*codec.Packet, error) {
	select {
	case e.slots <- struct{}{}:
	case <-e.closing:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-e.slots }()
	w := &waiting{answer: make(chan *codec.Packet, 1)}
	p, id, err := e.reserve(w)
	if err != nil {
		return nil, err
	}
	defer e.release(p, id)
	b, err := build(id)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	w.sent, w.authenticator = true, authenticator(b[4:headerSize])
	e.mu.Unlock()
	begun := time.Now()
	for try := range e.tries {
		e.counts.requests.Add(1)
		if try > 0 {
			e.counts.retransmissions.Add(1)
		}
		sent := time.Now()
		if _, err := p.conn.Write(b); err != nil {
			e.counts.sendErrors.Add(1) // an ICMP error is shown so, too, and can be forged: it ends nothing
		}
		// A tenth more or less, so that many do not come again at once (RFC 5080, 2.2.1).
		timer := time.NewTimer(e.timeout - e.timeout/10 + rand.N(e.timeout/5+1))
		select {
		case a := <-w.answer:
			timer.Stop()
			e.answered(try, time.Since(sent))
			return a, nil
		case <-timer.C:
		case <-e.closing:
			timer.Stop()
			return nil, ErrClosed
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
	e.counts.timeouts.Add(1)
	return nil, fmt.Errorf("%w%s", errSilent, e.silence(begun))
}

// silence says what came instead of an answer.
func (e *endpoint) silence(begun time.Time) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lastAnswer.After(begun) {
		return " to this request, though to others"
	}
	switch {
	case e.counts.badAuthenticators.Load() > 0:
		return "; some had a wrong authenticator: is the secret right?"
	case e.counts.unsigned.Load() > 0:
		return "; some had no Message-Authenticator"
	case e.lastAnswer.IsZero(): // FreeRADIUS drops what has another secret without a word
		return "; is it up, does it know this box, is the secret the same at both ends?"
	}
	return ""
}

// reserve finds a free id, on a new source port if need be (P237). A slot is held, so one is free or can be made.
func (e *endpoint) reserve(w *waiting) (*port, uint8, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, 0, ErrClosed
	}
	var p *port
	for _, q := range e.ports {
		if q.used < idsPerPort {
			p = q
			break
		}
	}
	if p == nil {
		var local *net.UDPAddr
		if e.local.IsValid() {
			local = net.UDPAddrFromAddrPort(netip.AddrPortFrom(e.local, 0))
		}
		conn, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(e.remote))
		if err != nil {
			return nil, 0, fmt.Errorf("open a source port: %w", err)
		}
		p = &port{conn: conn, next: uint8(rand.N(idsPerPort))}
		e.ports = append(e.ports, p)
		e.readers.Go(func() { e.read(p) })
	}
	for p.waiting[p.next] != nil {
		p.next++
	}
	id := p.next
	p.next++
	p.used++
	p.waiting[id] = w
	return p, id, nil
}

// release gives an id back, and closes a source port that is not needed any more.
func (e *endpoint) release(p *port, id uint8) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p.waiting[id] = nil
	p.used--
	if p.used > 0 || len(e.ports) == 1 {
		return
	}
	used := 0
	for _, q := range e.ports {
		used += q.used
	}
	for _, q := range slices.Clone(e.ports) { // those too that were empty while the others were still needed
		if q.used == 0 && len(e.ports) > 1 && used < idsPerPort*(len(e.ports)-1)/2 {
			e.forget(q)
		}
	}
}

// forget closes a source port; the mutex is held.
func (e *endpoint) forget(p *port) {
	_ = p.conn.Close()
	for i, q := range e.ports {
		if q == p {
			e.ports = append(e.ports[:i], e.ports[i+1:]...)
			return
		}
	}
}

// read takes what comes to a source port until that is closed.
func (e *endpoint) read(p *port) {
	buf := make([]byte, receiveSize)
	for failures := 0; failures < 1000; {
		n, err := p.conn.Read(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			failures++ // an ICMP error; more than that in a row is none
		default:
			failures = 0
			e.receive(p, buf[:n])
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forget(p)
}

// receive gives an answer to whom it belongs, if it can be believed.
func (e *endpoint) receive(p *port, b []byte) {
	if len(b) < headerSize {
		e.counts.malformed.Add(1)
		return
	}
	e.mu.Lock()
	w := p.waiting[b[1]]
	if w == nil || !w.sent || w.answered {
		e.mu.Unlock()
		e.counts.strays.Add(1) // late, or a repeat
		return
	}
	a := w.authenticator
	e.mu.Unlock()
	packet, err := believe(b, e.secret, a, e.demand)
	switch {
	case errors.Is(err, errAuthenticator):
		e.counts.badAuthenticators.Add(1)
	case errors.Is(err, errUnsigned):
		e.counts.unsigned.Add(1)
	case err != nil:
		e.counts.malformed.Add(1)
	default:
		e.mu.Lock()
		w.answered = true // nobody else writes: a port has one reader
		e.mu.Unlock()
		w.answer <- packet
	}
}

// answered notes a sign of life. The time tells nothing when it may belong to an earlier try.
func (e *endpoint) answered(try int, took time.Duration) {
	e.counts.answers.Add(1)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lastAnswer = time.Now()
	if try > 0 {
		return
	}
	if e.roundTrip == 0 {
		e.roundTrip = took
	}
	e.roundTrip += (took - e.roundTrip) / 8
}

// alive says that the server has answered, and whether it was thought dead.
func (e *endpoint) alive() (news bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	news = !e.deadSince.IsZero()
	e.deadSince, e.deadUntil = time.Time{}, time.Time{}
	return news
}

// dead says that a request begun then was not answered, and whether the server counts as dead from now on and did not before. It
// does not when it has answered others meanwhile: then it does not like this request.
func (e *endpoint) dead(begun time.Time, deadTime time.Duration) (news bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lastAnswer.After(begun) {
		return false
	}
	news = e.deadSince.IsZero()
	if news {
		e.deadSince = time.Now()
	}
	e.deadUntil = time.Now().Add(deadTime)
	return news
}

// isDead says whether the server is to be asked last.
func (e *endpoint) isDead() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Now().Before(e.deadUntil)
}

// close ends all exchanges and waits for the readers.
func (e *endpoint) close() {
	e.mu.Lock()
	if !e.closed {
		e.closed = true
		close(e.closing)
		for _, p := range e.ports {
			_ = p.conn.Close()
		}
	}
	e.mu.Unlock()
	e.readers.Wait()
}
