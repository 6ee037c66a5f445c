package control

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// P121, P122: the responses are those of vectors V1 and V2, which xl2tpd computed and accepted.
func TestChallengeResponses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ script, want string }{
		{"rx SCCRQ challenge=101112131415161718191a1b1c1d1e1f", "61b087e2b43ff159890c94d4d79aac71"},
		{"open ; rx SCCRP response=good challenge=d25d2c071ba3bd3070baba3e683d5220", "aff761fbfca52cfc880dde13fe9366fe"},
	} {
		s := newScript(t)
		s.cfg.Secret = []byte("mysecret")
		for line := range strings.SplitSeq(tt.script, " ; ") {
			s.line(line)
		}
		got, _ := s.sent[0].Bytes(wire.AVPChallengeResponse)
		if hex.EncodeToString(got) != tt.want {
			t.Errorf("%s: got %x, want %s", tt.script, got, tt.want)
		}
	}
}

// P123, P128: our challenge is fresh and long; the peer's may have any length.
func TestChallenges(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for i := range uint64(50) {
		s := newScript(t)
		s.cfg.Secret, s.cfg.Random = []byte("x"), entropy(i)
		s.line("rx SCCRQ challenge=" + strings.Repeat("5a", 1+int(i)*10))
		if s.tun == nil || len(s.challenge) < 16 || seen[string(s.challenge)] {
			t.Fatalf("tunnel %v, challenge %x", s.tun != nil, s.challenge)
		}
		seen[string(s.challenge)] = true
	}
}

// P15: session ids are random, not 0, and not used again while late messages may be under way.
func TestSessionIDs(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.cfg.IdleTimeout = -1
	s.line("rx SCCRQ")
	s.line("rx SCCCN")
	freed := map[SessionID]Time{}
	steps := map[int]int{}
	var last SessionID
	for range 3000 {
		s.line("open-icrq")
		if at, ok := freed[s.session]; s.session == 0 || ok && s.now-at < quarantine {
			t.Fatalf("id %d, freed %v ago", s.session, s.now-at)
		}
		steps[int(s.session)-int(last)]++
		last = s.session
		s.line("hangup code=1")
		s.line("zlb")
		freed[last] = s.now
		s.line("wait 20ms")
	}
	for step, n := range steps {
		if n > 5 {
			t.Errorf("step %d %d times", step, n)
		}
	}
	if n := len(s.tun.sess.freed); n > int(quarantine/(20*time.Millisecond))+1 {
		t.Errorf("%d ids in quarantine", n)
	}
}

// A full table still finds the last free id.
func TestSessionIDsWhenNearlyAllAreUsed(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.line("rx SCCRQ")
	var out Output
	for range 65534 {
		var id SessionID
		s.tun.Do(s.now, CmdOpenSession{Role: LACIncoming, Session: &id}, &out)
		if id == 0 {
			t.Fatal("refused too early")
		}
		out.Reset()
	}
	id := SessionID(9)
	s.tun.Do(s.now, CmdOpenSession{Role: LACIncoming, Session: &id}, &out)
	if id != 0 {
		t.Error("one too many")
	}
}

// P146: a retransmitted message says nothing of the round-trip time; a slow path raises the first time-out.
func TestRoundTripTime(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.line("rx SCCRQ")
	s.line("wait 300ms")
	s.line("rx SCCCN")
	if v := s.tun.View(); v.RTT != 300*time.Millisecond || v.RTO != time.Second {
		t.Errorf("RTT %v, RTO %v", v.RTT, v.RTO)
	}
	s.line("open-icrq")
	s.line("wait 1500ms")
	s.line("zlb")
	if v := s.tun.View(); v.RTT != 300*time.Millisecond {
		t.Errorf("RTT %v after a retransmission", v.RTT)
	}
	for range 10 {
		s.line("open-icrq")
		s.line("wait 990ms")
		s.line("zlb")
	}
	if v := s.tun.View(); v.RTT < 700*time.Millisecond || v.RTO <= time.Second || v.RTO > 8*time.Second {
		t.Errorf("slow path: RTT %v, RTO %v", v.RTT, v.RTO)
	}
}

// P137-P139: the length of the cycle follows the configuration.
func TestRetransmissionCycle(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		first, cap time.Duration
		n          int
		want       time.Duration
	}{
		{0, 0, 0, 31 * time.Second},
		{time.Second, 16 * time.Second, 5, 47 * time.Second},
		{500 * time.Millisecond, 8 * time.Second, 3, 7500 * time.Millisecond},
	} {
		s := newScript(t)
		s.cfg.RetransmitFirst, s.cfg.RetransmitCap, s.cfg.MaxRetransmits = tt.first, tt.cap, tt.n
		s.cfg.SetupTimeout = time.Hour
		s.line("open")
		start := s.now
		s.line("wait " + (tt.want - 1).String())
		if s.tun.State() != TunnelWaitCtlReply {
			t.Errorf("%v: dead too early", tt)
		}
		s.line("wait 1ns")
		if s.tun.State() != TunnelDead {
			t.Errorf("%v: alive after %v", tt, s.now-start)
		}
	}
}

// P113-P117: two SCCRQs cross. With tie breakers exactly one tunnel comes up, without them two.
func TestCrossingRequests(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		for _, tie := range []bool{true, false} {
			a, b := newScript(t), newScript(t)
			a.cfg.Random, b.cfg.Random = entropy(seed), entropy(seed+1000)
			a.cfg.TieBreaker, b.cfg.TieBreaker = tie, tie
			var fromA, fromB, out Output
			ta := Open(a.cfg, 11, a.now, &fromA)
			tb := Open(b.cfg, 22, b.now, &fromB)
			outcome := func(own *Tunnel, d []byte) Collision {
				_, payload, _ := wire.ParseHeader(d)
				m, err := wire.ParseMessage(payload)
				if err != nil {
					t.Fatal(err)
				}
				return own.Collide(m, own.cfg, a.now, &out)
			}
			got := []Collision{outcome(ta, fromB.Datagrams[0]), outcome(tb, fromA.Datagrams[0])}
			slices.Sort(got)
			want := []Collision{CollisionNone, CollisionNone}
			if tie {
				want = []Collision{CollisionOurs, CollisionPeers}
			}
			if !slices.Equal(got, want) {
				t.Errorf("seed %d, tie %v: %v", seed, tie, got)
			}
			if len(out.Datagrams) > 0 {
				t.Error("a tie is settled in silence")
			}
		}
	}
}

// P115: equal values drop both; both events say so.
func TestEqualTieBreakers(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.cfg.TieBreaker = true
	s.line("open")
	s.line(fmt.Sprintf("collide tie=%d", s.tun.tieBreaker))
	if !slices.Contains(s.out, "collision equal") || !slices.Contains(s.out, "EvTunnelDown Cause=tie-equal") {
		t.Errorf("got %q", s.out)
	}
}

// Whatever is cut off at whatever step, both ends forget everything: by StopCCN, by a dead link, by one end's death.
func TestAbortAtEveryStep(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"close", "cut", "crash"} {
		for after := 0; after < 80; after++ {
			a, b := testConfig(1), testConfig(2)
			a.HelloInterval, b.HelloInterval = 10*time.Second, 10*time.Second
			w := newWorld(t, 1, a, b)
			w.loss, w.jitter = 0.1, 20*time.Millisecond
			w.open()
			for range 4 {
				w.openSession(0, LACIncoming, CallInfo{})
				w.openSession(0, LNSOutgoing, CallInfo{})
			}
			for range after {
				w.step(w.now + time.Minute)
			}
			w.loss = 0
			switch how {
			case "close":
				w.do(after&1*min(1, len(w.n[1].events)), CmdClose{Result: wire.Result{Code: wire.StopShutdown}})
			case "cut":
				w.loss = 1
			case "crash":
				w.do(0, CmdForget{})
			}
			w.run(10 * time.Minute)
			for i, n := range w.n {
				if n.t == nil {
					continue
				}
				if n.t.State() != TunnelDead || len(n.known) > 0 || n.tunnelDowns != 1 {
					t.Fatalf("%s after %d steps: node %d is %v with %d sessions", how, after, i, n.t.State(), len(n.known))
				}
			}
		}
	}
}

// P277: a peer that calls without end and acknowledges nothing costs a bounded queue.
func TestUnacknowledgedCallsAreBounded(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.cfg.MaxSessions = 10
	s.line("rx SCCRQ")
	s.line("rx SCCCN")
	nr := s.tun.View().Ns
	for i := range 5000 {
		s.line(fmt.Sprintf("rx ICRQ session=%d nr=%d", 1+i%60000, nr))
	}
	if v := s.tun.View(); v.Queued > 10+backlogSpare+1 || s.tun.sess.count() > 10 {
		t.Errorf("%d messages queued, %d sessions", v.Queued, s.tun.sess.count())
	}
}

// P109: the time for an answer does not run while our own window holds the request back, and begins again for as long as
// the losses of three retransmission cycles may explain the silence.
func TestWaitingForTheWindowIsNoTimeout(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.line("rx SCCRQ window=1")
	s.line("rx SCCCN")
	s.line("open-icrq")
	for range 5 {
		s.line("open-icrq")
	}
	last := s.session
	s.line("wait 25s")
	if s.tun.sess.byID[last] == nil {
		t.Fatal("the waiting call was given up")
	}
	for range 12 {
		s.line("zlb")
	}
	s.line("wait 9s")
	if s.tun.sess.byID[last] == nil {
		t.Fatal("the call was given up too early")
	}
	s.line("wait 2m")
	if s.tun.sess.byID[last] != nil {
		t.Fatal("the call was never given up")
	}
}

// P285: a message to a pre-draft 13 peer stays below 1500 octets; the proxy AVPs give way.
func TestPRE13MessageLength(t *testing.T) {
	t.Parallel()
	for _, pre13 := range []bool{false, true} {
		s := newScript(t)
		s.cfg.PRE13 = pre13
		for _, line := range []string{"rx SCCRQ", "rx SCCCN", "open-icrq", "rx ICRP"} {
			s.line(line)
		}
		var out Output
		lcp := bytes.Repeat([]byte{1}, 900)
		s.tun.Do(s.now, CmdConnectSession{Session: s.session, Call: CallInfo{TxSpeed: 1, Proxy: &Proxy{LCP: ProxyLCP{LastSent: lcp, LastReceived: lcp}}}}, &out)
		if n := len(out.Datagrams[0]); n > 1500 == pre13 {
			t.Errorf("pre13 %v: %d octets", pre13, n)
		}
	}
}

// A refusal that the owner makes itself is shorter than the shortest SCCRQ, whatever its text.
func TestRefuseIsShort(t *testing.T) {
	t.Parallel()
	r := &Refusal{Result: wire.Result{Code: wire.StopNotAuthorised, Text: "ein sehr langer Text mit Umläuten äöü"}, Peer: 5}
	for n := range 40 {
		r.Result.Text = r.Result.Text[:max(0, len(r.Result.Text)-n%2)]
		d := Refuse(7, r, []byte{1, 2, 3})
		if len(d)-3 >= smallestSCCRQ || !bytes.HasPrefix(d, []byte{1, 2, 3}) {
			t.Fatalf("%d octets", len(d))
		}
		h, payload, err := wire.ParseHeader(d[3:])
		if err != nil || h.TunnelID != 5 || h.Ns != 0 || h.Nr != 1 {
			t.Fatalf("header %+v, %v", h, err)
		}
		m, err := wire.ParseMessage(payload)
		if err == nil {
			_, err = m.Validate(wire.ValidateOptions{})
		}
		if id, _ := m.Uint16(wire.AVPAssignedTunnelID); err != nil || m.Type != wire.MsgStopCCN || id != 7 {
			t.Fatalf("message %v, %v", m, err)
		}
	}
	if d := Refuse(7, &Refusal{Result: r.Result}, nil); len(d) != 0 {
		t.Errorf("answered to nobody: %x", d)
	}
}

// hiddenTunnelID is the AVPs Random Vector and, hidden with it, Assigned Tunnel ID, as octets (RFC 2661, 4.3).
func hiddenTunnelID(secret string, id uint16) []byte {
	vector := bytes.Repeat([]byte{0xa7}, 16)
	pad := md5.Sum(slices.Concat([]byte{0, byte(wire.AVPAssignedTunnelID)}, []byte(secret), vector))
	b := append([]byte{0x80, 22, 0, 0, 0, byte(wire.AVPRandomVector)}, vector...)
	return append(b, 0xc0, 10, 0, 0, 0, byte(wire.AVPAssignedTunnelID), pad[0], pad[1]^2, pad[2]^byte(id>>8), pad[3]^byte(id))
}

// P46, P75: the id that tells one tunnel of a peer from another is read hidden too, by who has the secret; the message stays as
// it is.
func TestAssignedTunnelID(t *testing.T) {
	t.Parallel()
	head := []byte{0x80, 8, 0, 0, 0, 0, 0, byte(wire.MsgSCCRQ)}
	for _, tt := range []struct {
		name    string
		payload []byte
		secret  string
		want    TunnelID
	}{
		{"open", append(slices.Clone(head), 0x80, 8, 0, 0, 0, 9, 0, 77), "", 77},
		{"none", head, "mysecret", 0},
		{"hidden", append(slices.Clone(head), hiddenTunnelID("mysecret", 77)...), "mysecret", 77},
		{"hidden, no secret", append(slices.Clone(head), hiddenTunnelID("mysecret", 77)...), "", 0},
	} {
		m, err := wire.ParseMessage(tt.payload)
		if err != nil {
			t.Fatal(err)
		}
		before := len(m.AVPs)
		if got := AssignedTunnelID(m, []byte(tt.secret)); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
		if _, readable := m.Uint16(wire.AVPAssignedTunnelID); len(m.AVPs) != before || readable != (tt.name == "open") {
			t.Errorf("%s: the message has changed", tt.name)
		}
	}
}

// Records that could not have been written are refused.
func TestRestoreRefusesNonsense(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, testConfig(1), testConfig(2))
	w.establish()
	w.openSession(0, LACIncoming, CallInfo{})
	for name, spoil := range map[string]func(*Record){
		"version": func(r *Record) { r.Version++ },
		"id":      func(r *Record) { r.ID = 0 },
		"state":   func(r *Record) { r.State = 99 },
		"sent":    func(r *Record) { r.Channel.Sent = 99 },
		"flying":  func(r *Record) { r.Channel.Flying = 99 },
		"window":  func(r *Record) { r.Channel.Window.Peer = 0 },
		"held":    func(r *Record) { r.Channel.Recovery.Held = -1 },
		"packet":  func(r *Record) { r.Channel.Queue[0].Datagram = nil },
		"session": func(r *Record) { r.Sessions[0].State = 99 },
	} {
		r := w.n[0].t.Record()
		spoil(&r)
		var out Output
		if _, err := Restore(r, w.n[0].cfg, w.now, &out); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A restored tunnel does at once what fell due while nobody ran it.
func TestRestoreCatchesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, testConfig(1), testConfig(2))
	w.establish()
	w.openSession(0, LACIncoming, CallInfo{})
	r := w.n[0].t.Record()
	var out Output
	if _, err := Restore(r, w.n[0].cfg, w.now+3*time.Second, &out); err != nil {
		t.Fatal(err)
	}
	if len(out.Datagrams) != 1 {
		t.Errorf("%d datagrams", len(out.Datagrams))
	}
}

// What a user proxied is not kept once it has been sent or handed up.
func TestProxyResponseIsForgotten(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	for _, line := range []string{"rx SCCRQ", "rx SCCCN", "open-icrq", "rx ICRP", "connect-proxy type=3", "zlb"} {
		s.line(line)
	}
	for _, x := range s.tun.Record().Sessions {
		if x.Local != nil || x.Remote != nil {
			t.Errorf("kept %+v and %+v", x.Local, x.Remote)
		}
	}
	if len(s.tun.Record().Channel.Queue) > 0 {
		t.Error("the message is still there")
	}
}

// Every value of an enum has a name.
func TestNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	check := func(kind string, n int, name func(int) string) {
		for i := range n {
			s := name(i)
			if strings.Contains(s, kind+" ") || seen[kind+s] {
				t.Errorf("%s %d is %q", kind, i, s)
			}
			seen[kind+s] = true
		}
		if !strings.Contains(name(n), kind+" ") {
			t.Errorf("%s %d has the name %q and no test", kind, n, name(n))
		}
	}
	check("tunnel state", int(TunnelDead)+1, func(i int) string { return TunnelState(i).String() })
	check("session state", int(SessionEstablished)+1, func(i int) string { return SessionState(i).String() })
	check("role", int(LNSOutgoing)+1, func(i int) string { return Role(i).String() })
	check("cause", int(CauseRefused)+1, func(i int) string { return Cause(i).String() })
	check("collision", int(CollisionEqual)+1, func(i int) string { return Collision(i).String() })
}

// An idle tunnel's HELLO costs no memory beyond its datagram, and a dropped datagram none.
func BenchmarkReceiveHello(b *testing.B) {
	cfg := testConfig(1)
	cfg.Secret = nil
	s := &script{cfg: cfg, id: 1001, now: 1, peerTunnel: 77}
	var out Output
	m := wire.NewMessage(wire.MsgSCCRQ, s.defaults(wire.MsgSCCRQ)...)
	tun, err := Accept(cfg, 1001, m, wire.Header{}, 1, &out)
	if err != nil {
		b.Fatal(err)
	}
	ns := uint16(1)
	send := func(mt wire.MessageType) {
		d := wire.AppendMessage(nil, 1001, 0, ns, 1, wire.NewMessage(mt), nil)
		ns++
		out.Reset()
		if err := tun.Receive(1, d, &out); err != nil {
			b.Fatal(err)
		}
	}
	send(wire.MsgSCCCN)
	b.ReportAllocs()
	for b.Loop() {
		send(wire.MsgHello)
	}
}
