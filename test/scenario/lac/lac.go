package lac

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// Tunnel is one control connection that Open begins.
type Tunnel struct {
	Conn   *net.UDPConn // not connected; it may serve several tunnels
	LNS    netip.AddrPort
	Config control.TunnelConfig // zero values are filled in; a tunnel without sessions stays unless IdleTimeout says otherwise
}

// Config is what a LAC is made of.
type Config struct {
	Tunnels []Tunnel
	Pending int // sessions that are set up at a time; 0: all
}

// Tally says how many sessions are in each state, and what else there is to wait for.
type Tally struct {
	Tunnels int // established
	Down    int // tunnels that were refused or have ended
	In      [Ended + 1]int
	Checked int // sessions in state Up whose client has heard two LCP Echo-Requests
	Hellos  int // HELLO messages of the LNS, each once
}

// Traffic counts since Open.
type Traffic struct {
	ControlSent, ControlRepeats uint64 // of all tunnels; repeats are retransmissions
	FramesSent, FramesReceived  uint64 // PPP, in data messages
	FrameRepeats                uint64 // frames that a client's timer sent, echoes left out
	Unsent                      uint64 // datagrams that a socket did not take
	Strange                     uint64 // datagrams that belong to nothing
}

// LAC is a running LAC. Its methods may be called by anyone at any time before Close returns.
type LAC struct {
	pending int
	began   time.Time
	conns   []*net.UDPConn
	helpers sync.WaitGroup // one goroutine for each socket, and one for the alarm
	done    chan struct{}  // nothing happens any more

	mu      sync.Mutex   // what follows belongs to its holder
	now     control.Time // of the present step
	alarm   *time.Timer
	alarmAt control.Time // when it goes off
	over    bool
	tunnels []*tunnel
	byID    map[control.TunnelID]*tunnel

	sessions []*session
	queue    []*session // in state Waiting
	timers   timers
	tally    Tally
	traffic  Traffic
	waiters  map[chan<- struct{}]func(Tally) bool

	// Memory of steps, which nest.
	packet  []byte
	outputs spare[control.Output]
	frames  spare[ppp.Output]
}

// spare is what is not in use.
type spare[T any] []*T

func (s *spare[T]) take() *T {
	last := len(*s) - 1
	if last < 0 {
		return new(T)
	}
	x := (*s)[last]
	*s = (*s)[:last]
	return x
}

type tunnel struct {
	Tunnel
	t        *control.Tunnel
	sessions map[control.SessionID]*session
	queued   control.Time // when the first of its timers is due; 0: none
	up, down bool
	hello    uint16 // Ns after that of the latest HELLO
	ending   wire.Result
}

// Open begins all tunnels. The sockets belong to the LAC from now on.
func Open(cfg Config) *LAC {
	l := &LAC{
		pending: cfg.Pending, began: time.Now(), done: make(chan struct{}), alarm: time.NewTimer(never), alarmAt: never,
		byID: map[control.TunnelID]*tunnel{}, waiters: map[chan<- struct{}]func(Tally) bool{},
	}
	for _, x := range cfg.Tunnels {
		x.Config.HostName = cmp.Or(x.Config.HostName, "lac")
		x.Config.Framing = cmp.Or(x.Config.Framing, wire.FramingSync)
		x.Config.IdleTimeout = cmp.Or(x.Config.IdleTimeout, -1)
		x.Config.SessionTimeout = cmp.Or(x.Config.SessionTimeout, 2*time.Minute) // an LNS may have hundreds to answer at once
		if x.Config.Random == nil {
			x.Config.Random = rand.Reader
		}
		l.tunnels = append(l.tunnels, &tunnel{Tunnel: x, sessions: map[control.SessionID]*session{}})
		if !slices.Contains(l.conns, x.Conn) {
			l.conns = append(l.conns, x.Conn)
		}
	}
	for _, c := range l.conns {
		_ = c.SetReadDeadline(time.Time{}) // an error will come back from the first read
		_ = c.SetReadBuffer(4 << 20)       // less will do too
	}
	l.do(func() {
		for _, tn := range l.tunnels {
			l.open(tn)
		}
	})
	for _, c := range l.conns {
		l.helpers.Go(func() { l.read(c) })
	}
	l.helpers.Go(l.watch)
	return l
}

// never is far away.
const never = 1000 * time.Hour

// read serves a socket. What is received is dealt with at once: to hand it to another goroutine costs more than most of it takes.
func (l *LAC) read(c *net.UDPConn) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil || !l.do(func() { l.receive(from, buf[:n]) }) {
			return // closed
		}
	}
}

// watch waits for the alarm.
func (l *LAC) watch() {
	defer l.alarm.Stop()
	for {
		select {
		case <-l.alarm.C:
			l.do(func() {})
		case <-l.done:
			return
		}
	}
}

// do is one step: f, and what follows from it or has become due. It is false when the LAC has ended.
func (l *LAC) do(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	l.now = time.Since(l.began) + 1
	f()
	l.expire()
	l.begin()
	for ch, cond := range l.waiters {
		if cond(l.tally) {
			delete(l.waiters, ch)
			close(ch)
		}
	}
	l.setAlarm()
	return true
}

// setAlarm sets the alarm for the first timer. One that is early does no harm.
func (l *LAC) setAlarm() {
	at := never
	if len(l.timers) > 0 {
		at = l.timers[0].at
	}
	if at < l.alarmAt || l.alarmAt <= l.now {
		l.alarm.Reset(at - l.now)
		l.alarmAt = at
	}
}

// open begins a tunnel under an id that the LNS does not remember of an earlier LAC.
func (l *LAC) open(tn *tunnel) {
	var id control.TunnelID
	for id == 0 || l.byID[id] != nil {
		var b [2]byte
		_, _ = rand.Read(b[:]) // it does not fail
		id = control.TunnelID(binary.BigEndian.Uint16(b[:]))
	}
	l.byID[id] = tn
	l.step(tn, func(out *control.Output) { tn.t = control.Open(tn.Config, id, l.now, out) })
}

// step carries out what a tunnel wants after do.
func (l *LAC) step(tn *tunnel, do func(*control.Output)) {
	out := l.outputs.take()
	do(out)
	for _, d := range out.Datagrams {
		l.send(tn, d)
	}
	for _, ev := range out.Events {
		l.handle(tn, ev)
	}
	out.Reset()
	l.outputs = append(l.outputs, out)
	l.timers.add(timer{at: tn.t.Deadline(), tn: tn}, &tn.queued)
}

func (l *LAC) send(tn *tunnel, d []byte) {
	if _, err := tn.Conn.WriteToUDPAddrPort(d, tn.LNS); err != nil {
		l.traffic.Unsent++ // as if lost on the way
	}
}

func (l *LAC) handle(tn *tunnel, ev control.Event) {
	switch ev := ev.(type) {
	case control.EvTunnelUp:
		tn.up = true
		l.tally.Tunnels++
	case control.EvTunnelDown:
		if tn.up {
			l.tally.Tunnels--
		}
		tn.up, tn.down, tn.ending = false, true, ev.Result
		l.tally.Down++
	case control.EvSessionReplied:
		if s := tn.sessions[ev.Session]; s != nil {
			l.connect(s)
		}
	case control.EvSessionUp:
		if s := tn.sessions[ev.Session]; s != nil {
			l.connected(s, ev.Peer)
		}
	case control.EvSessionDown:
		if s := tn.sessions[ev.Session]; s != nil {
			s.Cause, s.Result, s.DisconnectCause = ev.Cause, ev.Result, ev.DisconnectCause
			l.end(s)
		}
	case control.EvSessionOffered:
		l.step(tn, func(out *control.Output) {
			tn.t.Do(l.now, control.CmdCloseSession{Session: ev.Session, Result: wire.Result{Code: wire.CDNNoFacilitiesPerm}}, out)
		})
	case control.EvACCM:
		if s := tn.sessions[ev.Session]; s != nil {
			s.Maps = append(s.Maps, ev)
		}
	case control.EvAnomaly, control.EvCallErrors, control.EvSessionState, control.EvTunnelState:
	}
}

// receive takes a datagram, and does not keep it.
func (l *LAC) receive(from netip.AddrPort, datagram []byte) {
	h, payload, err := wire.ParseHeader(datagram)
	tn := l.byID[control.TunnelID(h.TunnelID)]
	if err != nil || tn == nil || from != tn.LNS {
		l.traffic.Strange++
		return
	}
	if h.Control {
		if isHello(payload) && int16(h.Ns-tn.hello) >= 0 {
			tn.hello = h.Ns + 1
			l.tally.Hellos++
		}
		l.step(tn, func(out *control.Output) { _ = tn.t.Receive(l.now, datagram, out) }) // a duplicate is no failure
		return
	}
	s := tn.sessions[control.SessionID(h.SessionID)]
	if s == nil || s.link == nil {
		l.traffic.Strange++
		return
	}
	l.frame(s, payload)
}

// isHello parses what may be a HELLO. Most messages are not, and the tunnel parses them.
func isHello(payload []byte) bool {
	const value = 6 // of the first AVP, which is the Message Type
	if len(payload) < value+2 || wire.MessageType(binary.BigEndian.Uint16(payload[value:])) != wire.MsgHello {
		return false
	}
	m, err := wire.ParseMessage(payload)
	return err == nil && m.Type == wire.MsgHello
}

// expire does what is due.
func (l *LAC) expire() {
	for len(l.timers) > 0 && l.timers[0].at <= l.now {
		switch x := l.timers.pop(); {
		case x.tn != nil && x.tn.queued == x.at:
			x.tn.queued = 0
			l.step(x.tn, func(out *control.Output) {
				if d := x.tn.t.Deadline(); d != 0 && d <= l.now {
					x.tn.t.Expire(l.now, out)
				}
			})
		case x.s != nil && x.s.queued == x.at:
			x.s.queued = 0
			l.due(x.s)
		}
	}
}

// Wait waits until cond holds. It is called after each step: it must be quick and call no method of the LAC.
func (l *LAC) Wait(ctx context.Context, cond func(Tally) bool) error {
	ch := make(chan struct{})
	l.do(func() { l.waiters[ch] = cond })
	select {
	case <-ch:
		return nil
	case <-l.done:
		return net.ErrClosed
	case <-ctx.Done():
		var t Tally
		l.do(func() { delete(l.waiters, ch); t = l.tally })
		return fmt.Errorf("wait with %+v: %w", t, context.Cause(ctx))
	}
}

// Tally says how the LAC stands.
func (l *LAC) Tally() (t Tally) {
	l.do(func() { t = l.tally })
	return t
}

// Traffic says what the LAC has sent and received.
func (l *LAC) Traffic() (x Traffic) {
	l.do(func() {
		x = l.traffic
		for _, tn := range l.tunnels {
			c := tn.t.View().Counters
			x.ControlSent += c.OutMessages
			x.ControlRepeats += c.OutRetransmits
		}
	})
	return x
}

// Ending is what ended a tunnel; the zero Result while it lives.
func (l *LAC) Ending(tunnel int) (r wire.Result) {
	l.do(func() { r = l.tunnels[tunnel].ending })
	return r
}

// Close ends every tunnel, waits until the LNS has heard it, and ends the LAC in any case.
func (l *LAC) Close(ctx context.Context) error {
	l.do(func() {
		for _, tn := range l.tunnels {
			l.step(tn, func(out *control.Output) {
				tn.t.Do(l.now, control.CmdClose{Result: wire.Result{Code: wire.StopGeneral}}, out)
			})
		}
	})
	err := l.Wait(ctx, func(Tally) bool {
		return !slices.ContainsFunc(l.tunnels, func(tn *tunnel) bool { return tn.t.State() != control.TunnelDead && tn.t.View().Outstanding > 0 })
	})
	l.do(func() { l.over = true })
	close(l.done)
	for _, c := range l.conns {
		err = errors.Join(err, c.Close())
	}
	l.helpers.Wait()
	return err
}
