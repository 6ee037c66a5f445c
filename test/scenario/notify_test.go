//go:build kernel

package scenario

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
	"github.com/l2tpd/l2tpd/test/scenario/lac"
)

// lined is a caller behind a LAC, on a line of some kind.
type lined struct {
	name  string
	async bool
	maps  []byte // the caller's and the LAC's; nil: they agreed on none, and the LNS asks for none
	told  []control.EvACCM
}

var linedCallers = []lined{
	{name: "modem", async: true, maps: []byte{0, 10, 0, 0, 0, 0, 0, 0}, told: []control.EvACCM{{Send: 0x000a0000, Receive: 0}}},
	{name: "careful", async: true, maps: []byte{255, 255, 255, 255, 255, 255, 255, 255}},
	{name: "plain", async: true},
	{name: "isdn", maps: []byte{0, 10, 0, 0, 0, 0, 0, 0}},
}

func (c lined) call() lac.Call {
	methods := []ppp.AuthMethod{ppp.AuthCHAPMD5}
	call := lac.Call{Async: c.async, Client: ppp.Config{
		IPv4: ppp.IPv4Request, Answer: methods, User: c.name, Password: []byte(theirPass), Restart: time.Second,
	}}
	if c.maps != nil {
		call.Proxy = &lac.Proxy{LAC: ppp.Config{Name: "lac", Auth: methods}, Alter: func(info *control.CallInfo) {
			const accm = "\x02\x06"
			info.Proxy.LCP.LastReceived = append(append(info.Proxy.LCP.LastReceived, accm...), c.maps[:4]...)
			info.Proxy.LCP.LastSent = append(append(info.Proxy.LCP.LastSent, accm...), c.maps[4:]...)
		}}
	}
	return call
}

// newLines is an LNS and a LAC with these callers, who are up.
func newLines(t *testing.T) (*lab.Lab, *lab.Daemon, *lac.LAC) {
	t.Helper()
	l := lab.New(t)
	core, far := l.Host("core"), l.Host("lac")
	l.Link(core.At("10.3.0.1/24"), far.At("10.3.0.2/24"))
	users := ""
	var calls []lac.Call
	for _, c := range linedCallers {
		users += fmt.Sprintf("  %s: {password: %s}\n", c.name, theirPass)
		calls = append(calls, c.call())
	}
	d := core.L2TPD(fmt.Sprintf(`
server: {mode: lns, hostname: core}
secrets: [{from: any, secret: none}]
lns: {accept: [{from: any, template: dialin, proxy: {lcp: mismatch, auth: accept}}]}
ppp: {templates: {dialin: {auth: [chap], ipv4_local: 10.8.0.1, ipv4_pool: ips, ipv6: off}}}
pools: {ips: {ranges: [10.8.0.10-10.8.0.20]}}
users:
%s
log: {level: debug}
`, users))
	access := lac.Open(lac.Config{Tunnels: []lac.Tunnel{{
		Conn: far.UDP("10.3.0.2:1701"), LNS: netip.MustParseAddrPort("10.3.0.1:1701"),
		Config: control.TunnelConfig{Framing: wire.FramingSync | wire.FramingAsync, ErrorInterval: time.Millisecond},
	}}})
	access.Dial(calls...)
	return l, d, access
}

// P204, P205: the errors of a caller's line are logged and shown, the LAC of an asynchronous line is told what of its caller's packets
// it must not escape, and packets go through before and after that.
func TestLineErrorsAreShownAndTheLACIsToldTheACCM(t *testing.T) {
	l, d, access := newLines(t)
	before := map[string]api.Session{}
	for _, s := range d.WaitSessions(len(linedCallers)) {
		before[s.User] = s
	}
	d.Host.Reaches(before["modem"].PeerIPv4.String())

	for n, counts := range [][6]uint32{{1, 2, 3, 4, 5, 6}, {70001, 2, 3, 4, 50, 6}} {
		access.ReportErrors(0, counts)
		want := &api.LineErrors{
			CRC: counts[0], Framing: counts[1], Hardware: counts[2], Buffer: counts[3], TimeOut: counts[4], Alignment: counts[5],
		}
		l.Eventually("line errors", func() error {
			if diff := cmp.Diff(want, d.Session("modem").LineErrors); diff != "" {
				return fmt.Errorf("-want +got:\n%s", diff)
			}
			return nil
		})
		d.WaitLog(fmt.Sprintf(`INFO .*the LAC reports line errors.* session=%d .*%d 2 3 4 %d 6`, before["modem"].ID, counts[0], counts[4]))
		line := fmt.Sprintf("%d CRC, 2 framing, 6 alignment, %d time-outs, 3 hardware and 4 buffer overruns", counts[0], counts[4])
		if out := d.Ctl("session", "show", "modem"); !strings.Contains(out, line) {
			t.Errorf("report %d: no %q in\n%s", n, line, out)
		}
	}
	for _, s := range d.WaitSessions(len(linedCallers)) {
		if was := before[s.User]; s.ID != was.ID || !s.StartedAt.Equal(was.StartedAt) || (s.LineErrors != nil) != (s.User == "modem") {
			t.Errorf("%s: session %+v, was %+v", s.User, s, was)
		}
		d.Host.Reaches(s.PeerIPv4.String())
	}

	l.Eventually("everything that the LNS has to say", func() error {
		if x := d.Tunnels()[0]; x.Outstanding+x.Queued > 0 {
			return errNotYet
		}
		return nil
	})
	for n, s := range access.Sessions() {
		c := linedCallers[n]
		var told []control.EvACCM
		for _, ev := range c.told {
			ev.Session = s.ID
			told = append(told, ev)
		}
		if diff := cmp.Diff(told, s.Maps); diff != "" || s.Pings == 0 {
			t.Errorf("%s: %d pings answered; SLI (-want +got):\n%s", c.name, s.Pings, diff)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), lab.Patience)
	defer cancel()
	if err := access.Close(ctx); err != nil {
		t.Error(err)
	}
	d.WaitTunnels(0)
	discreet(t, d)
}

// next takes what comes until there is a control message, and acknowledges it. Frames go to the function.
func (p *rawPeer) next(frame func([]byte)) (wire.Header, wire.Message) {
	p.t.Helper()
	for {
		h, payload, err := p.receive(lab.Patience)
		switch {
		case err != nil:
			p.t.Fatalf("no message: %v", err)
		case !h.Control:
			frame(payload)
		case len(payload) == 0:
		case h.Ns != p.nr: // a repetition
			p.write(wire.AppendZLB(nil, p.theirs, p.ns, p.nr))
		default:
			m, err := wire.ParseMessage(payload)
			if err != nil {
				p.t.Fatal(err)
			}
			p.nr++
			p.write(wire.AppendZLB(nil, p.theirs, p.ns, p.nr))
			return h, m
		}
	}
}

// expect is next for a message of one type. It returns the message with the session that it is for.
func (p *rawPeer) expect(kind wire.MessageType, frame func([]byte)) (uint16, wire.Message) {
	p.t.Helper()
	h, m := p.next(frame)
	if m.Type != kind {
		p.t.Fatalf("%v has come, want %v", m.Type, kind)
	}
	return h.SessionID, m
}

// acknowledged takes what comes until everything of ours is acknowledged. No message may come.
func (p *rawPeer) acknowledged() {
	p.t.Helper()
	for {
		h, payload, err := p.receive(lab.Patience)
		if err != nil {
			p.t.Fatalf("no acknowledgement: %v", err)
		}
		if m, err := wire.ParseMessage(payload); h.Control && len(payload) > 0 && h.Ns == p.nr {
			p.t.Fatalf("%v has come: %v", m.Type, err)
		}
		if h.Control && h.Nr == p.ns {
			return
		}
	}
}

// caller answers for the caller of a session: it agrees to what LCP asks for, and wants a character map.
func (p *rawPeer) caller(session uint16) func([]byte) {
	asked := false
	say := func(code byte, body []byte) {
		b := append(wire.AppendDataHeader(nil, p.theirs, session, false), 0xff, 3, 0xc0, 0x21, code)
		p.write(append(b, body[1:]...))
	}
	return func(frame []byte) {
		proto, body, _ := ppp.SplitFrame(frame)
		if proto != ppp.ProtoLCP || len(body) < 4 || body[0] != 1 {
			return
		}
		if !asked {
			asked = true
			say(1, []byte{1, 1, 0, 10, 2, 6, 0, 10, 0, 0})
		}
		say(2, body)
	}
}

// P204, P205, P206: WEN and SLI for sessions that do not exist are acknowledged, and that is all. Those for sessions that do exist are
// taken, whoever is the LAC. What a caller asks for by LCP of its own, its LAC is told. A LAC that will not stop does not fill the log.
func TestNotificationsForUnknownSessionsAreIgnored(t *testing.T) {
	l := lab.New(t)
	core, far := l.Host("core"), l.Host("far")
	l.Link(core.At("10.3.0.1/24"), far.At("10.3.0.2/24"))
	d := core.L2TPD(lns + "\nlog: {level: debug}\n")
	p := newRawPeer(t, far, "10.3.0.2:1701", "10.3.0.1:1701", 99, 8)
	none := func([]byte) {}

	// A call from a modem behind the peer.
	p.send(0, wire.NewMessage(wire.MsgICRQ, wire.Uint16(wire.AVPAssignedSessionID, 5), wire.Uint32(wire.AVPCallSerialNumber, 1)))
	_, m := p.expect(wire.MsgICRP, none)
	modem, _ := m.Uint16(wire.AVPAssignedSessionID)
	p.send(modem, wire.NewMessage(wire.MsgICCN,
		wire.Uint32(wire.AVPTxConnectSpeed, 28800), wire.Uint32(wire.AVPFramingType, wire.FramingAsync)))
	session, m := p.expect(wire.MsgSLI, p.caller(modem))
	if send, receive, _ := m.ACCM(); session != 5 || send != 0x000a0000 || receive != ppp.DefaultACCM {
		t.Errorf("SLI for session %d: send %08x, receive %08x", session, send, receive)
	}
	// A call to what is behind the daemon.
	p.send(0, wire.NewMessage(wire.MsgOCRQ, wire.Uint16(wire.AVPAssignedSessionID, 6), wire.Uint32(wire.AVPCallSerialNumber, 1),
		wire.Uint32(wire.AVPMinimumBPS, 1), wire.Uint32(wire.AVPMaximumBPS, 64000), wire.Uint32(wire.AVPBearerType, wire.BearerDigital),
		wire.Uint32(wire.AVPFramingType, wire.FramingSync), wire.Text(wire.AVPCalledNumber, "")))
	_, m = p.expect(wire.MsgOCRP, none)
	line, _ := m.Uint16(wire.AVPAssignedSessionID)
	p.expect(wire.MsgOCCN, none)

	wen := wire.NewMessage(wire.MsgWEN, wire.CallErrorsAVP([6]uint32{1, 2, 3, 4, 5, 6}))
	sli := wire.NewMessage(wire.MsgSLI, wire.ACCMAVP(0, 0xa0000))
	unknown := uint16(1)
	for unknown == modem || unknown == line {
		unknown++
	}
	for _, session := range []uint16{unknown, 0} {
		p.send(session, wen)
		p.acknowledged()
		p.send(session, sli)
		p.acknowledged()
	}
	d.WaitLog(fmt.Sprintf("WEN for an unknown session.* session=%d", unknown))
	d.WaitLog(fmt.Sprintf("SLI for an unknown session.* session=%d", unknown))
	p.send(line, sli)
	p.acknowledged()
	d.WaitLog(fmt.Sprintf("the LNS sets the ACCM.* session=%d send=00000000 receive=000a0000", line))
	for range 50 {
		p.send(modem, wen)
		p.acknowledged()
	}
	if n := d.CountLog("the LAC reports line errors"); n == 0 || n > 10 {
		t.Errorf("50 reports make %d lines", n)
	}
	for _, s := range d.Sessions() {
		if s.State != "established" || (s.LineErrors != nil) != (s.ID == modem) {
			t.Errorf("session: %+v", s)
		}
	}
	if n, x := len(d.Sessions()), d.Tunnels(); n != 2 || len(x) != 1 || x[0].State != "established" {
		t.Errorf("%d sessions; tunnels: %+v", n, x)
	}
	p.send(0, wire.NewMessage(wire.MsgStopCCN, wire.Uint16(wire.AVPAssignedTunnelID, p.id),
		wire.ResultAVP(wire.Result{Code: wire.StopGeneral}, false)))
	d.WaitTunnels(0)
}
