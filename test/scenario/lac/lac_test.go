package lac

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// lns is one tunnel of an LNS on a socket, with an end of PPP for each session.
type lns struct {
	t     *testing.T
	conn  *net.UDPConn
	peer  netip.AddrPort
	began time.Time
	tun   *control.Tunnel
	ends  map[control.SessionID]*end
}

type end struct {
	link *ppp.Link
	peer control.SessionID
}

func (n *lns) now() control.Time { return time.Since(n.began) + 1 }

func (n *lns) serve() {
	buf := make([]byte, 2048)
	for {
		_ = n.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		size, from, err := n.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		var out control.Output
		if err == nil {
			n.take(slices.Clone(buf[:size]), from, &out)
		}
		if n.tun != nil {
			n.tun.Expire(n.now(), &out)
			n.carry(&out)
		}
		for id, e := range n.ends {
			n.ppp(id, e, func(out *ppp.Output) { e.link.Expire(n.now(), out) })
		}
	}
}

func (n *lns) take(d []byte, from netip.AddrPort, out *control.Output) {
	h, payload, err := wire.ParseHeader(d)
	if err != nil {
		n.t.Errorf("header: %v", err)
		return
	}
	if !h.Control {
		if e := n.ends[control.SessionID(h.SessionID)]; e != nil {
			n.ppp(control.SessionID(h.SessionID), e, func(out *ppp.Output) { e.link.Receive(n.now(), payload, out) })
		}
		return
	}
	if n.tun != nil {
		_ = n.tun.Receive(n.now(), d, out) // a duplicate is no failure
		return
	}
	m, err := wire.ParseMessage(payload)
	if err != nil {
		return
	}
	n.peer = from
	cfg := control.TunnelConfig{HostName: "lns", Framing: wire.FramingSync, Incoming: true, HelloInterval: 50 * time.Millisecond, Random: rand.Reader}
	if n.tun, err = control.Accept(cfg, 7, m, h, n.now(), out); err != nil {
		n.t.Errorf("accept: %v", err)
	}
}

func (n *lns) carry(out *control.Output) {
	for _, d := range out.Datagrams {
		_, _ = n.conn.WriteToUDPAddrPort(d, n.peer)
	}
	for _, ev := range out.Events {
		var next control.Output
		switch ev := ev.(type) {
		case control.EvSessionOffered:
			n.tun.Do(n.now(), control.CmdAcceptSession{Session: ev.Session}, &next)
		case control.EvSessionUp:
			e := &end{peer: ev.Peer}
			n.ends[ev.Session] = e
			n.ppp(ev.Session, e, func(out *ppp.Output) { cfg := n.config(ev.Call); e.link = ppp.Open(&cfg, n.now(), out) })
		case control.EvSessionDown:
			delete(n.ends, ev.Session)
		}
		n.carry(&next)
	}
}

func (n *lns) config(call control.CallInfo) ppp.Config {
	cfg := ppp.Config{
		Auth: []ppp.AuthMethod{ppp.AuthCHAPMD5}, Name: "lns", IPv4: ppp.IPv4Own, Local: netip.MustParseAddr("10.0.0.1"), Random: rand.Reader,
		EchoInterval: 100 * time.Millisecond,
	}
	if p := call.Proxy; p != nil {
		x, a := p.LCP, p.Auth
		cfg.Proxy = &ppp.Proxy{
			InitialReceived: x.InitialReceived, LastSent: x.LastSent, LastReceived: x.LastReceived,
			Type: ppp.ProxyType(a.Type), Name: a.Name, Challenge: a.Challenge, ID: a.ID, Response: a.Response,
		}
	}
	return cfg
}

func (n *lns) ppp(id control.SessionID, e *end, do func(*ppp.Output)) {
	var out ppp.Output
	do(&out)
	for _, f := range out.Frames {
		d := wire.AppendDataHeader(nil, uint16(n.tun.PeerID()), uint16(e.peer), false)
		_, _ = n.conn.WriteToUDPAddrPort(append(append(d, 0xff, 3), f...), n.peer)
	}
	for _, ev := range out.Events {
		switch ev := ev.(type) {
		case ppp.EvAuthRequest:
			sum := ppp.CHAPMD5(ev.ID, []byte("secret"), ev.Challenge)
			n.ppp(id, e, func(out *ppp.Output) {
				e.link.Do(n.now(), ppp.CmdAuthResult{Attempt: ev.Attempt, OK: slices.Equal(sum[:], ev.Response)}, out)
			})
		case ppp.EvAddressWanted:
			n.ppp(id, e, func(out *ppp.Output) {
				e.link.Do(n.now(), ppp.CmdAddress{Peer: netip.AddrFrom4([4]byte{10, 0, 1, byte(len(n.ends))})}, out)
			})
		case ppp.EvLinkDown:
			var next control.Output
			n.tun.Do(n.now(), control.CmdCloseSession{Session: id, Result: wire.Result{Code: wire.CDNAdmin}, DisconnectCause: []byte{0, byte(ev.Reason), 0, 0, 0}}, &next)
			n.carry(&next)
		}
	}
}

func socket(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Clients that negotiate for themselves and clients that are handed over come up, idle, and go in each way.
func TestSessionsComeIdleAndGo(t *testing.T) {
	t.Parallel()
	n := &lns{t: t, conn: socket(t), began: time.Now(), ends: map[control.SessionID]*end{}}
	ended := make(chan struct{})
	go func() { defer close(ended); n.serve() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l := Open(Config{Tunnels: []Tunnel{{Conn: socket(t), LNS: n.conn.LocalAddr().(*net.UDPAddr).AddrPort()}}, Pending: 3})
	client := ppp.Config{IPv4: ppp.IPv4Request, Answer: []ppp.AuthMethod{ppp.AuthCHAPMD5}, User: "user", Password: []byte("secret"), Restart: time.Second}
	wrong := client
	wrong.Password = []byte("not it")
	behind := &Proxy{LAC: ppp.Config{Name: "lac", Auth: []ppp.AuthMethod{ppp.AuthCHAPMD5}}}
	l.Dial(slices.Repeat([]Call{{Client: client}, {Client: client, Proxy: behind}}, 5)...)
	refused := l.Dial(Call{Client: wrong, Proxy: behind})
	wait := func(what string, cond func(Tally) bool) {
		t.Helper()
		if err := l.Wait(ctx, cond); err != nil {
			t.Fatalf("%s: %v; %+v", what, err, l.Sessions())
		}
	}
	wait("up", func(x Tally) bool { return x.In[Up] == 10 && x.In[Ended] == 1 })
	wait("idle", func(x Tally) bool { return x.Checked == 10 && x.Hellos >= 1 })
	for i, s := range l.Sessions()[:refused] {
		if s.LinkUp < s.Asked || s.LoggedIn < s.LinkUp || s.NetworkUp < s.LoggedIn || !s.Address.IsValid() || s.Configured > 0 == (i%2 == 1) {
			t.Errorf("session %d: %+v", i, s)
		}
	}
	if s := l.Session(refused); s.Cause != control.CausePeer || s.DisconnectCause[1] != byte(ppp.ReasonAuthFailed) || s.Link.Reason != ppp.ReasonAuthFailed {
		t.Errorf("wrong password: %+v", s)
	}
	l.RepeatLogin(1)
	wait("repeated verdict", func(Tally) bool { return len(l.sessions[1].Login) == 2 })
	if s := l.Session(1); !slices.Equal(s.Login[0], s.Login[1]) {
		t.Errorf("verdicts %x", s.Login)
	}
	l.Drop(0)
	l.HangUp()
	wait("end", func(x Tally) bool { return x.In[Ended] == 11 && x.Checked == 0 })
	if err := l.Close(ctx); err != nil {
		t.Error(err)
	}
	n.conn.Close()
	<-ended
}

// A deadline that moves away, as most do with each packet, costs nothing: the timer that is there goes off early and is set again.
func TestTimersCountWhenFirst(t *testing.T) {
	t.Parallel()
	var h timers
	var queued control.Time
	for _, at := range []control.Time{20, 30, 0, 40, 10, 15} {
		h.add(timer{at: at}, &queued)
	}
	if len(h) != 2 || queued != 10 {
		t.Errorf("%d timers, the first at %d; want 2, at 10", len(h), queued)
	}
	if first, second := h.pop().at, h.pop().at; first != 10 || second != 20 {
		t.Errorf("timers at %d and %d, want 10 and 20", first, second)
	}
}
