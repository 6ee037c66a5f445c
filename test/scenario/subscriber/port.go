package subscriber

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/l2tpd/l2tpd/pkg/access/pppoe"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// Config is what a Port is made of.
type Config struct {
	Interface string // Ethernet, and up
	Pending   int    // subscribers that dial at a time; 0: all
	// Block is part of the MAC addresses, 02:<Block>:<number>, and tells apart the ports on one Ethernet.
	Block uint8
	// Patience is how long an answer to the first PADI or PADR is waited for, and the second one twice as long, and so on, up to
	// eight times as long; 0: 3 s.
	Patience time.Duration
	Tries    int // PADIs and PADRs that a subscriber sends before it gives up; 0: 6
}

// Tally says how many subscribers are in each state, and what else there is to wait for.
type Tally struct {
	In      [Ended + 1]int
	Refused int // of Ended, those that an access concentrator has refused in discovery
	Told    int // of Ended, those whose access concentrator has sent a PADT
	Pongs   int // answers to Ping
}

// Traffic counts since Open.
type Traffic struct {
	Discovery             uint64 // packets of discovery sent, repeats among them
	DiscoveryRepeats      uint64
	FramesSent            uint64 // PPP
	FramesReceived        uint64
	FrameRepeats          uint64 // that a subscriber's timer sent, echoes left out
	Unsent                uint64 // what the socket did not take
	Strange               uint64 // what is for none of the subscribers, or is malformed
	OctetsSent, OctetsGot uint64 // of PPP frames, without Ethernet's and PPPoE's headers
}

// line is what a Port sends to and receives from: a socket, or a test's.
type line interface {
	receive(buf []byte) (int, error) // os.ErrDeadlineExceeded: it was woken
	wake(at time.Time) error         // when receive returns at the latest; for all goroutines
	send(frame []byte) error         // does not wait
	close() error                    // ends receive
}

// Port is an interface with subscribers. Its methods may be called by anyone at any time before Close returns.
type Port struct {
	cfg   Config
	line  line
	began time.Time
	done  chan struct{} // nothing happens any more

	mu       sync.Mutex // what follows belongs to its holder
	now      ppp.Time   // of the present step
	wakeAt   ppp.Time   // when receive returns
	over     bool
	subs     []*sub
	queue    []*sub // in state Waiting
	sessions map[key]*sub
	timers   timers
	tally    Tally
	traffic  Traffic
	waiters  map[chan<- struct{}]func(Tally) bool
	packet   []byte
	outputs  []*ppp.Output // not in use; steps nest
}

// key is what a frame of a session carries.
type key struct {
	mac pppoe.MAC // the subscriber's
	id  uint16
}

// Open begins to listen on an interface in the network namespace of the calling thread. It takes CAP_NET_RAW.
func Open(cfg Config) (*Port, error) {
	s, err := openSocket(cfg.Interface)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", cfg.Interface, err)
	}
	return open(cfg, s), nil
}

func open(cfg Config, l line) *Port {
	if cfg.Patience == 0 {
		cfg.Patience = 3 * time.Second
	}
	if cfg.Tries == 0 {
		cfg.Tries = 6
	}
	p := &Port{
		cfg: cfg, line: l, began: time.Now(), done: make(chan struct{}), wakeAt: never,
		sessions: map[key]*sub{}, waiters: map[chan<- struct{}]func(Tally) bool{},
	}
	go p.serve()
	return p
}

// never is far away.
const never = 1000 * time.Hour

// serve is the one goroutine: it reads, and wakes up for timers.
func (p *Port) serve() {
	defer close(p.done)
	buf := make([]byte, 1<<16)
	for {
		n, err := p.line.receive(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			p.do(func() { p.wakeAt = 0 })
		case err != nil:
			return // closed, or the interface has gone
		case !p.do(func() { p.receive(buf[:n]) }):
			return
		}
	}
}

// do is one step: f, and what follows from it or has become due. It is false when the port has ended.
func (p *Port) do(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return false
	}
	p.now = time.Since(p.began) + 1
	f()
	p.expire()
	p.begin()
	for ch, cond := range p.waiters {
		if cond(p.tally) {
			delete(p.waiters, ch)
			close(ch)
		}
	}
	at := never
	if len(p.timers) > 0 {
		at = p.timers[0].at
	}
	if at < p.wakeAt || p.wakeAt <= p.now {
		p.wakeAt = at
		_ = p.line.wake(p.began.Add(at)) // an error comes back from receive, too
	}
	return true
}

// Wait waits until cond holds. It is called after each step: it must be quick and call no method of the Port.
func (p *Port) Wait(ctx context.Context, cond func(Tally) bool) error {
	ch := make(chan struct{})
	p.do(func() { p.waiters[ch] = cond })
	select {
	case <-ch:
		return nil
	case <-p.done:
		return net.ErrClosed
	case <-ctx.Done():
		var t Tally
		p.do(func() { delete(p.waiters, ch); t = p.tally })
		return fmt.Errorf("wait with %+v: %w", t, context.Cause(ctx))
	}
}

// Tally says how the subscribers stand.
func (p *Port) Tally() (t Tally) {
	p.do(func() { t = p.tally })
	return t
}

// Traffic says what the subscribers have sent and received.
func (p *Port) Traffic() (t Traffic) {
	p.do(func() { t = p.traffic })
	return t
}

// Inject sends an Ethernet frame that is none of the subscribers', for example one of a flood.
func (p *Port) Inject(frame []byte) error { return p.line.send(frame) }

// Close ends the port. The access concentrator does not hear of it: HangUp goes before, where it shall.
func (p *Port) Close() error {
	p.do(func() { p.over = true })
	err := p.line.close()
	<-p.done
	return err
}
