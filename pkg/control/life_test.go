package control

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// life drives one tunnel with octets as its fate and checks what must hold whatever happens.
type life struct {
	t                   testing.TB
	cfg                 TunnelConfig
	tun                 *Tunnel
	now                 Time
	fate                []byte
	known               map[SessionID]bool
	ids                 []SessionID
	downs               int
	octetsIn, octetsOut int
}

func (l *life) next() byte {
	if len(l.fate) == 0 {
		return 0
	}
	b := l.fate[0]
	l.fate = l.fate[1:]
	return b
}

func (l *life) take(n int) []byte {
	n = min(n, len(l.fate))
	b := l.fate[:n]
	l.fate = l.fate[n:]
	return b
}

// do runs one step and checks its Output.
func (l *life) do(f func(out *Output)) {
	l.t.Helper()
	dead := l.tun != nil && l.tun.State() == TunnelDead
	var out Output
	f(&out)
	for _, d := range out.Datagrams {
		if dead {
			l.t.Fatal("a dead tunnel sends")
		}
		l.octetsOut += len(d)
		h, payload, err := wire.ParseHeader(d)
		if err != nil || !h.Control {
			l.t.Fatalf("sent %x: %v", d, err)
		}
		if len(payload) == 0 {
			continue
		}
		m, err := wire.ParseMessage(payload)
		if err == nil {
			err = m.Unhide(l.cfg.Secret)
		}
		if err == nil {
			_, err = m.Validate(wire.ValidateOptions{PRE13: l.cfg.PRE13})
		}
		if err != nil {
			l.t.Fatalf("sent a bad message: %v", err)
		}
	}
	for _, e := range out.Events {
		switch e := e.(type) {
		case EvSessionOffered:
			l.begin(e.Session)
		case EvSessionDown:
			if !l.known[e.Session] {
				l.t.Fatalf("session %d ends twice", e.Session)
			}
			delete(l.known, e.Session)
		case EvTunnelDown:
			if l.downs++; l.downs > 1 || len(l.known) > 0 {
				l.t.Fatalf("tunnel down %d times with %d sessions", l.downs, len(l.known))
			}
		}
	}
	if l.tun == nil {
		return
	}
	v := l.tun.View()
	if v.Outstanding > int(v.PeerWindow) && v.PeerWindow > 0 {
		l.t.Fatalf("%d outstanding, window %d", v.Outstanding, v.PeerWindow)
	}
	if len(l.tun.ch.Early) >= int(v.Window) {
		l.t.Fatalf("%d held, window %d", len(l.tun.ch.Early), v.Window)
	}
	if n := l.tun.sess.count(); n != len(l.known) {
		l.t.Fatalf("%d sessions, %d known", n, len(l.known))
	}
	if v.State == TunnelDead && (l.tun.Deadline() != 0 || l.downs != 1) {
		l.t.Fatalf("dead with deadline %v, %d downs", l.tun.Deadline(), l.downs)
	}
}

func (l *life) begin(id SessionID) {
	if id == 0 || l.known[id] {
		l.t.Fatalf("session %d begins twice", id)
	}
	l.known[id] = true
	l.ids = append(l.ids, id)
}

func (l *life) session() SessionID {
	if len(l.ids) == 0 {
		return SessionID(l.next())
	}
	return l.ids[int(l.next())%len(l.ids)]
}

// types are what a peer may send, in and out of place.
var types = []wire.MessageType{
	wire.MsgSCCRQ, wire.MsgSCCRP, wire.MsgSCCCN, wire.MsgStopCCN, wire.MsgHello, wire.MsgOCRQ, wire.MsgOCRP, wire.MsgOCCN,
	wire.MsgICRQ, wire.MsgICRP, wire.MsgICCN, wire.MsgCDN, wire.MsgWEN, wire.MsgSLI, 29,
}

// datagram makes what the peer sends: often plausible, sometimes not.
func (l *life) datagram() []byte {
	var s script
	s.peerTunnel = 77
	s.peerSession = uint16(l.next()) + 1
	mt := types[int(l.next())%len(types)]
	m := wire.NewMessage(mt, s.defaults(mt)...)
	how := l.next()
	if how&1 != 0 {
		m.AVPs = append(m.AVPs, wire.AVP{Mandatory: how&2 != 0, Hidden: how&4 != 0, Type: wire.AVPType(l.next()), Value: l.take(int(l.next()) % 40)})
	}
	tid, sid := uint16(1001), uint16(0)
	if how&8 != 0 {
		tid = 0
	}
	if how&16 != 0 {
		sid = uint16(l.session())
	}
	v := l.tun.View()
	ns, nr := v.Nr, v.Ns
	if how&32 != 0 {
		ns += uint16(l.next()) - 8
	}
	if how&64 != 0 {
		nr += uint16(l.next()) - 128
	}
	d := wire.AppendMessage(nil, tid, sid, ns, nr, m, nil)
	if how&128 != 0 {
		d[12+int(l.next())%(len(d)-12)] ^= l.next()
	}
	return d
}

func (l *life) step() {
	l.t.Helper()
	switch op := l.next() % 24; op {
	case 0, 1, 2, 3, 4, 5, 6:
		d := l.datagram()
		l.octetsIn += len(d)
		l.do(func(out *Output) { _ = l.tun.Receive(l.now, d, out) })
	case 7:
		d := l.take(int(l.next()))
		l.do(func(out *Output) { _ = l.tun.Receive(l.now, d, out) })
	case 8, 9:
		v := l.tun.View()
		d := wire.AppendZLB(nil, 1001, v.Nr, v.Ns-uint16(l.next()%4))
		l.do(func(out *Output) { _ = l.tun.Receive(l.now, d, out) })
	case 10, 11, 12:
		l.now += time.Duration(l.next()) * 37 * time.Millisecond
		l.do(func(out *Output) { l.tun.Expire(l.now, out) })
	case 13:
		if d := l.tun.Deadline(); d != 0 {
			l.now = max(l.now, d)
			l.do(func(out *Output) { l.tun.Expire(l.now, out) })
		}
	case 14:
		l.do(func(out *Output) {
			t, err := Restore(l.tun.Record(), l.cfg, l.now, out)
			if err != nil {
				l.t.Fatal(err)
			}
			l.tun = t
		})
	case 15:
		_, payload, err := wire.ParseHeader(l.datagram())
		if err != nil {
			return
		}
		if m, err := wire.ParseMessage(payload); err == nil && m.Type == wire.MsgSCCRQ && l.next()%8 == 0 {
			l.do(func(out *Output) { l.tun.Collide(m, l.tun.cfg, l.now, out) })
		}
	default:
		l.command(op)
	}
}

func (l *life) command(op byte) {
	l.t.Helper()
	var c Command
	var id SessionID
	switch op {
	case 16, 17:
		c = CmdOpenSession{Role: Role(l.next() % 4), Call: CallInfo{CalledNumber: "1", Line: testLine()}, Session: &id}
	case 18, 19:
		c = CmdAcceptSession{Session: l.session()}
	case 20:
		c = CmdConnectSession{Session: l.session(), Call: CallInfo{FramingType: 1}}
	case 21:
		c = CmdCloseSession{Session: l.session(), Result: wire.Result{Code: wire.CDNAdmin}}
	case 22:
		c = []Command{
			CmdSendWEN{Session: l.session(), Errors: [6]uint32{uint32(l.next())}}, CmdSendSLI{Session: l.session()}, CmdHeard{At: l.now}, CmdProbe{},
		}[l.next()%4]
	default:
		switch l.next() % 32 {
		case 0:
			c = CmdClose{Result: wire.Result{Code: wire.StopShutdown}}
		case 1:
			c = CmdForget{}
		default:
			return
		}
	}
	l.do(func(out *Output) {
		l.tun.Do(l.now, c, out)
		if id == 0 {
			return
		}
		// The id is known before the events of the same step.
		l.begin(id)
	})
}

// live runs a whole life and expects it to end.
func live(t testing.TB, fate []byte) *life {
	t.Helper()
	l := &life{t: t, cfg: testConfig(1), now: time.Second, fate: fate, known: map[SessionID]bool{}}
	mode := l.next()
	if mode&1 == 0 {
		l.cfg.Secret = nil
	}
	l.cfg.HideAVPs = mode&2 != 0
	l.cfg.PRE13 = mode&4 != 0
	l.cfg.TieBreaker = mode&8 != 0
	l.cfg.HelloInterval = 20 * time.Second
	l.cfg.IdleTimeout = time.Minute
	l.cfg.ReceiveWindow = uint16(mode>>4) + 1
	if mode&16 != 0 {
		l.do(func(out *Output) { l.tun = Open(l.cfg, 1001, l.now, out) })
	} else {
		var s script
		s.peerTunnel = 77
		m := wire.NewMessage(wire.MsgSCCRQ, s.defaults(wire.MsgSCCRQ)...)
		l.do(func(out *Output) {
			var err error
			l.tun, err = Accept(l.cfg, 1001, m, wire.Header{}, l.now, out)
			if err != nil {
				t.Fatal(err)
			}
		})
		if mode&1 == 0 {
			d := wire.AppendMessage(nil, 1001, 0, 1, 1, wire.NewMessage(wire.MsgSCCCN), nil)
			l.do(func(out *Output) { _ = l.tun.Receive(l.now, d, out) })
		}
	}
	for len(l.fate) > 0 && l.tun.State() != TunnelDead {
		l.step()
	}
	l.do(func(out *Output) { l.tun.Do(l.now, CmdClose{}, out) })
	for range 10_000 {
		d := l.tun.Deadline()
		if d == 0 {
			break
		}
		l.now = max(l.now, d)
		l.do(func(out *Output) { l.tun.Expire(l.now, out) })
		if next := l.tun.Deadline(); next != 0 && next <= l.now {
			t.Fatalf("deadline %v at %v after Expire", next, l.now)
		}
	}
	if l.tun.State() != TunnelDead || len(l.known) > 0 || l.downs != 1 {
		t.Fatalf("state %v, %d sessions left, %d downs", l.tun.State(), len(l.known), l.downs)
	}
	return l
}

// Whatever a peer and an owner do, each session ends once, each tunnel dies once, and the windows hold.
func TestEveryLifeEnds(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		fate := make([]byte, 100+rng.IntN(1500))
		for i := range fate {
			fate[i] = byte(rng.Uint32())
		}
		live(t, fate)
	}
}

func FuzzLife(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		fate := make([]byte, 200)
		for i := range fate {
			fate[i] = byte(rng.Uint32())
		}
		f.Add(fate)
	}
	f.Fuzz(func(t *testing.T, fate []byte) { live(t, fate) })
}

// FuzzAccept: no SCCRQ makes a state unless it is valid, and none is answered by more than it brought.
func FuzzAccept(f *testing.F) {
	var s script
	s.peerTunnel = 77
	f.Add(wire.AppendMessage(nil, 0, 0, 0, 0, wire.NewMessage(wire.MsgSCCRQ, s.defaults(wire.MsgSCCRQ)...), nil))
	f.Fuzz(func(t *testing.T, d []byte) {
		h, payload, err := wire.ParseHeader(d)
		if err != nil || !h.Control {
			return
		}
		m, err := wire.ParseMessage(payload)
		if err != nil {
			return
		}
		AssignedTunnelID(m, []byte("secret"))
		var out Output
		tun, err := Accept(testConfig(1), 5, m, h, 1, &out)
		if (tun == nil) == (err == nil) {
			t.Fatal("a tunnel and an error, or neither")
		}
		if tun == nil && (out.Persist || len(out.Datagrams)+len(out.Events) > 0) {
			t.Fatal("a refused SCCRQ left something")
		}
		var r *Refusal
		if errors.As(err, &r) {
			if answer := Refuse(5, r, nil); len(answer) >= len(d) {
				t.Fatalf("%d octets answered by %d", len(d), len(answer))
			}
		}
	})
}
