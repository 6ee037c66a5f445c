//go:build kernel

package scenario

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/access/pppoe"
	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
)

const alice = "alice@corp.example"

// forwarded is a subscriber whose call ends and begins again, in one lab.
type forwarded struct {
	*wholesale
	t          *testing.T
	dlac, dlns *lab.Daemon
	home       *lab.Host // alice's
	dialling   *lab.Subscriber
	ether      *lab.Ether   // at home, since the call began
	wire       *lab.Capture // at the LNS
	line       *api.Session // at the LAC
}

// newForwarded makes the lab. The LNS finds a client that is gone in ten seconds, the LAC an LNS in seven.
func newForwarded(t *testing.T) *forwarded {
	t.Helper()
	f := &forwarded{wholesale: newWholesale(t, "alice"), t: t}
	f.home = f.clients[0]
	f.wire = f.lns.Capture("lac")
	f.dlns = f.lns.L2TPD(`
server: {mode: lns, hostname: lns}
lns: {accept: [{from: any, template: dialin}]}
ppp: {templates: {dialin: {auth: [chap], ipv4_local: 10.8.0.1, ipv6: off, lcp_echo: {interval: 1s, failures: 10}}}}
users: {"` + alice + `": {password: ` + theirPass + `, ipv4: 10.8.2.1}}
log: {level: debug}
`)
	f.dlac = f.lac.L2TPD(f.config("pppoe: {interface: alice, template: access}"))
	return f
}

// config is the LAC's, with one access or without.
func (f *forwarded) config(access string) string {
	if access != "" {
		access = "  access: [{" + access + "}]\n"
	}
	return `
server: {mode: lac, hostname: lac}
lac:
` + access + `  attempt: 2m
  rules:
    - match: all
      action: tunnel
      lns: [{address: 10.4.0.2}]
      tunnel: {hello: 1s, retransmit: 500ms, max_retransmits: 3}
ppp: {templates: {access: {auth: [chap], ipv6: off}}}
log: {level: debug}
`
}

// dial has alice call.
func (f *forwarded) dial() {
	f.t.Helper()
	f.ether = f.home.Ether("lac")
	f.dialling = f.home.Subscriber("lac", alice, theirPass)
}

// up has alice call, until she is there.
func (f *forwarded) up() {
	f.t.Helper()
	f.dial()
	f.dialling.WaitUp()
	f.dlns.WaitSessions(1)
	f.home.Reaches("10.8.0.1")
	f.line = f.dlac.Session(alice)
	f.wire.Forget()
}

// released waits until nothing of any call is left at the LAC, nor at the LNS if it runs.
func (f *forwarded) released(what string) {
	f.t.Helper()
	f.Eventually(what+": all is released", func() error {
		left := fmt.Sprint(f.lac.KernelSessions(), f.lac.PPPoESessions(), f.lac.Interfaces(), f.lns.KernelSessions(),
			strings.Fields(f.lns.Run("ip", "-o", "link", "show", "up", "type", "ppp"))) // one that is down waits for another call
		if left != "[] [] [] [] []" {
			return fmt.Errorf("left are %s", left)
		}
		for _, d := range []*lab.Daemon{f.dlac, f.dlns} {
			if d == nil {
				continue
			}
			if all := d.Sessions(); len(all) > 0 {
				return fmt.Errorf("%s: left are %+v", d.Name, all)
			}
		}
		return nil
	})
}

// end is one way in which alice's call ends.
type end struct {
	name string
	how  func(f *forwarded)
	log  string // the LAC's line, after "call down"
	cdn  uint16 // Result Code of a CDN that either has sent; 0: there is none
	padt bool   // the client gets a PADT
	deaf bool   // the client does not notice
	back func(f *forwarded)
}

// anyCDN is where two of the ends are told at the same time.
const anyCDN = 0xffff

// ends has the call begin and end, and checks what is left and what is said.
func (f *forwarded) ends(x end) {
	f.t.Helper()
	f.up()
	d, mark := f.dlac, f.dlac.Mark()
	x.how(f)
	d.WaitLogSince(mark, `(INFO|WARN) .*call down.*`+x.log)
	f.released(x.name)
	if x.back != nil {
		x.back(f)
	}
	if x.padt {
		f.padt(x.name)
	}
	if x.deaf {
		f.dialling.Kill()
	} else {
		f.dialling.Wait()
	}
	f.told(d, x.name, mark)
	var codes []uint16
	for _, p := range f.wire.First(wire.MsgCDN) {
		m, _ := p.Control()
		r, _ := m.Result()
		codes = append(codes, uint16(r.Code))
	}
	switch {
	case x.cdn == 0 && len(codes) == 0, x.cdn == anyCDN && len(codes) > 0, slices.Contains(codes, x.cdn):
	default:
		f.t.Errorf("%s: CDN with Result Codes %v, want %d", x.name, codes, x.cdn)
	}
}

// told checks that the LAC explains the end in one line, and complains of nothing else.
func (f *forwarded) told(d *lab.Daemon, name string, mark int) {
	f.t.Helper()
	var lines []string
	for line := range strings.Lines(d.LogSince(mark)) {
		if !strings.Contains(line, " DEBUG ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	f.t.Logf("%s:\n%s", name, strings.Join(lines, "\n"))
	if strings.Contains(strings.Join(lines, "\n"), "rx_bytes=0") {
		f.t.Errorf("%s: what the call has carried is not told", name)
	}
	if n := len(regexp.MustCompile(`call down`).FindAllString(strings.Join(lines, "\n"), -1)); n != 1 {
		f.t.Errorf("%s: %d lines explain the end", name, n)
	}
}

// padt waits until the client has got a PADT of its session.
func (f *forwarded) padt(name string) {
	f.t.Helper()
	f.ether.Wait(name+": PADT", func(frame []byte) bool {
		p, err := pppoe.Parse(frame)
		return err == nil && p.Code == pppoe.CodePADT && p.Dst == pppoe.MAC(f.ether.MAC) && p.SessionID == f.sessionID()
	})
}

// sessionID is that of PPPoE.
func (f *forwarded) sessionID() uint16 {
	f.t.Helper()
	var id uint16
	if _, err := fmt.Sscanf(f.line.Access, "alice/%d ", &id); err != nil {
		f.t.Fatalf("no session id in %q: %v", f.line.Access, err)
	}
	return id
}

// concentrator is the LAC's address.
func (f *forwarded) concentrator() (mac pppoe.MAC) {
	f.t.Helper()
	err := f.lac.Do(func() error {
		link, err := net.InterfaceByName("alice")
		if err == nil {
			copy(mac[:], link.HardwareAddr)
		}
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return mac
}

// Subscribers end in any way, and operators end them: all is released on both sides, and one line at the LAC says why.
func TestSubscribersGo(t *testing.T) {
	t.Parallel() // it waits more than it works
	f := newForwarded(t)
	for _, x := range []end{
		{
			// The LNS hears LCP, the LAC the PADT that follows: whichever of the two is first.
			name: "the client ends in good order", how: func(f *forwarded) { f.dialling.Signal(unix.SIGTERM) },
			log: `(cause=line-down|cause=peer .*at the LNS: .*LCP Terminate-Request \(3\))`, cdn: anyCDN,
		},
		{
			name: "the client is killed", how: func(f *forwarded) { f.dialling.Kill() }, deaf: true,
			log: `cause=peer .*at the LNS: the peer hung up: .*LCP echo time-out \(8\)`, cdn: wire.CDNLostCarrier, padt: true,
		},
		{
			name: "a PADT alone", deaf: true, log: `cause=line-down`, cdn: wire.CDNLostCarrier,
			how: func(f *forwarded) {
				p := pppoe.Packet{Dst: f.concentrator(), Src: f.ether.MAC, Code: pppoe.CodePADT, SessionID: f.sessionID()}
				f.ether.Send(p.Append(nil))
			},
		},
		{
			name: "the LAC's operator", how: func(f *forwarded) { f.dlac.Ctl("session", "close", alice) },
			log: `cause=operator .*closed by the operator`, cdn: wire.CDNAdmin, padt: true,
		},
		{
			name: "the LNS's operator", how: func(f *forwarded) { f.dlns.Ctl("session", "close", alice) },
			log: `(cause=line-down|cause=peer .*at the LNS: .*closed by the operator)`, cdn: anyCDN,
		},
	} {
		f.ends(x)
	}
	discreet(t, f.dlac, f.dlns)
}

// An LNS goes, in good order and by force: the subscriber is told, and may come again.
func TestLNSsGo(t *testing.T) {
	t.Parallel() // it waits more than it works
	f := newForwarded(t)
	f.ends(end{
		name: "the LNS closes the tunnel", log: `at the LNS: .*closed by the operator`, padt: true,
		how: func(f *forwarded) { f.dlns.Ctl("tunnel", "close", fmt.Sprint(f.dlns.Tunnels()[0].ID)) },
	})
	was := f.dlns
	f.ends(end{
		name: "the LNS is stopped", log: `at the LNS: .*the peer says: shutting down`, padt: true,
		how: func(f *forwarded) { f.dlns.Stop(); f.dlns = nil },
	})
	f.dlns = was
	was.Start()
	f.ends(end{
		name: "the LNS is killed", log: `at the LNS: .*`, padt: true,
		how: func(f *forwarded) { f.dlns.Kill(); f.dlns = nil },
	})
	f.dlns = was
	was.Start()
	f.ends(end{
		name: "the LNS is there again", how: func(f *forwarded) { f.dlac.Ctl("session", "close", alice) },
		log: `closed by the operator`, cdn: wire.CDNAdmin, padt: true,
	})
	discreet(t, f.dlac, f.dlns)
}

// The place where subscribers come goes, and the LAC itself; who is there is told where that can be, and what is only named anew goes on.
func TestAccessGoes(t *testing.T) {
	t.Parallel() // it waits more than it works
	f := newForwarded(t)
	serve := func(access string) {
		f.dlac.SetConfig(f.config(access))
		f.dlac.Ctl("reload")
	}
	f.ends(end{
		name: "other service names, then the operator", log: `closed by the operator`, cdn: wire.CDNAdmin, padt: true,
		how: func(f *forwarded) {
			serve("pppoe: {interface: alice, template: access, service_names: [internet], ac_name: other}")
			f.home.Reaches("10.8.0.1")
			if s := f.dlac.Session(alice); s.ID != f.line.ID || !s.EstablishedAt.Equal(f.line.EstablishedAt) {
				t.Errorf("the session is another one: %+v, was %+v", s, f.line)
			}
			f.dlac.Ctl("session", "close", alice)
		},
	})
	f.ends(end{
		name: "the interface goes down", log: `cause=line-down`, cdn: wire.CDNLostCarrier, padt: true,
		how:  func(f *forwarded) { f.lac.IP("link set alice down") },
		back: func(f *forwarded) { f.lac.IP("link set alice up") }, // then she is told
	})
	f.ends(end{
		name: "the interface is deleted", log: `cause=line-down`, cdn: wire.CDNLostCarrier, deaf: true,
		how: func(f *forwarded) { f.lac.IP("link del alice") },
	})
	f.Link(f.home.At(), f.lac.At())
	f.ends(end{
		name: "the access is not served any more", log: `not served any more`, cdn: wire.CDNLostCarrier, padt: true,
		how: func(*forwarded) { serve("") },
	})
	serve("pppoe: {interface: alice, template: access}")
	was := f.dlac
	f.ends(end{
		name: "the LAC is stopped", log: `the daemon is stopping`, padt: true, // StopCCN tells of it
		how: func(f *forwarded) { f.dlac.Stop(); f.dlac = nil },
	})
	f.dlac = was
	discreet(t, f.dlac, f.dlns)
}

// S17: a subscriber whose PPP ends at the LAC loses power and calls again, while his older session still waits for its echoes: his address is
// the newer one's at once, and the older one's end has one line.
func TestSubscriberWhoStaysCallsAgain(t *testing.T) {
	t.Parallel() // it waits more than it works
	w := newWholesale(t, "client")
	c := w.clients[0]
	d := w.lac.L2TPD(w.lacConfig("    - {match: all, action: local, template: here}\n",
		"[chap]}, here: {auth: [chap], ipv4_local: 10.8.0.1, ipv6: off, lcp_echo: {interval: never}") +
		"users: {" + `"` + alice + `": {password: ` + theirPass + ", ipv4: 10.8.2.1}}\n")
	for range 3 {
		mark := d.Mark()
		sub := c.Subscriber("lac", alice, theirPass)
		if _, local, _ := sub.WaitUp(); local != "10.8.2.1" {
			t.Errorf("his address is %s", local)
		}
		w.Eventually("the older session goes", func() error {
			if all := d.Sessions(); len(all) != 1 || len(w.lac.PPPoESessions()) != 1 {
				return fmt.Errorf("%d sessions, in the kernel %v", len(all), w.lac.PPPoESessions())
			}
			return nil
		})
		c.Reaches("10.8.0.1")
		if n := strings.Count(d.LogSince(mark), "call down"); n > 1 {
			t.Errorf("%d lines explain the end of one session", n)
		}
		sub.Kill()
	}
	if n := d.CountLog(`call down .*cause=replaced .*the user has logged in again`); n != 2 {
		t.Errorf("%d of two sessions were closed for a newer one:\n%s", n, d.Log())
	}
	d.Ctl("session", "close", alice)
	d.WaitSessions(0)
	discreet(t, d)
}

// heldLNS is an LNS that answers when the test wants it to.
type heldLNS struct{ *rawPeer }

// hold takes the LAC's tunnel, in the place of a daemon.
func (w *wholesale) hold(t *testing.T) heldLNS {
	t.Helper()
	return heldLNS{&rawPeer{t: t, conn: w.lns.UDP("10.4.0.2:1701"), to: netip.MustParseAddrPort("10.4.0.1:1701"), id: 7}}
}

// tunnel waits for the LAC's tunnel and establishes it.
func (h heldLNS) tunnel() {
	h.t.Helper()
	_, m := h.next(wire.MsgSCCRQ)
	h.theirs, _ = m.Uint16(wire.AVPAssignedTunnelID)
	h.send(0, wire.NewMessage(wire.MsgSCCRP,
		wire.Uint16(wire.AVPProtocolVersion, 0x0100), wire.Text(wire.AVPHostName, "held"),
		wire.Uint32(wire.AVPFramingCapabilities, 3), wire.Uint16(wire.AVPAssignedTunnelID, h.id)))
	h.next(wire.MsgSCCCN)
}

// icrq waits for a call and returns the LAC's id of it.
func (h heldLNS) icrq() uint16 {
	h.t.Helper()
	_, m := h.next(wire.MsgICRQ)
	id, _ := m.Uint16(wire.AVPAssignedSessionID)
	return id
}

// icrp answers it.
func (h heldLNS) icrp(theirs, ours uint16) {
	h.t.Helper()
	h.send(theirs, wire.NewMessage(wire.MsgICRP, wire.Uint16(wire.AVPAssignedSessionID, ours)))
}

// next waits for a message of one of the types, which the first is of that comes and is no HELLO.
func (h heldLNS) next(want ...wire.MessageType) (wire.MessageType, wire.Message) {
	h.t.Helper()
	for {
		head, payload, err := h.receive(lab.Patience)
		switch {
		case err != nil:
			h.t.Fatalf("no %v: %v", want, err)
		case !head.Control || len(payload) == 0:
			continue
		}
		if head.Ns != h.nr { // a repetition
			h.write(wire.AppendZLB(nil, h.theirs, h.ns, h.nr))
			continue
		}
		m, err := wire.ParseMessage(payload)
		if err != nil {
			h.t.Fatal(err)
		}
		h.nr++
		if m.Type != wire.MsgSCCRQ { // whose acknowledgement is the answer
			h.write(wire.AppendZLB(nil, h.theirs, h.ns, h.nr))
		}
		for _, w := range want {
			if m.Type == w {
				return w, m
			}
		}
		if m.Type != wire.MsgHello {
			h.t.Fatalf("%v instead of %v", m.Type, want)
		}
	}
}

// newHeld is a lab whose LNS is the test.
func newHeld(t *testing.T) (*forwarded, heldLNS) {
	t.Helper()
	f := &forwarded{wholesale: newWholesale(t, "alice"), t: t}
	f.home = f.clients[0]
	f.dlac = f.lac.L2TPD(strings.Replace(f.config("pppoe: {interface: alice, template: access}"), "hello: 1s", "hello: never", 1)) // the test answers when it can
	return f, f.hold(t)
}

// A subscriber leaves while an LNS has not answered: it gets a CDN, whether its answer comes late or crosses with that, and nothing is
// left. The tunnel goes on.
func TestSubscriberLeavesBeforeTheLNSAnswers(t *testing.T) {
	t.Parallel() // it waits more than it works
	f, h := newHeld(t)
	f.dial()
	h.tunnel()
	late := h.icrq()
	mark := f.dlac.Mark()
	f.dialling.Signal(unix.SIGTERM) // which makes a pppd say LCP Terminate-Request
	_, m := h.next(wire.MsgCDN)
	if id, _ := m.Uint16(wire.AVPAssignedSessionID); id != late {
		t.Errorf("CDN for session %d, want %d", id, late)
	}
	if r, _ := m.Result(); r.Code != wire.CDNLostCarrier && r.Code != wire.CDNAdmin {
		t.Errorf("CDN says %v", r)
	}
	h.icrp(late, 100)
	f.dialling.Wait()
	f.released("the LNS has not answered")
	f.dlac.WaitLogSince(mark, `WARN .*call not established: stage forwarding .*cause=peer-terminate .*User request`)

	for i := range 3 {
		f.dial()
		id := h.icrq()
		f.dialling.Signal(unix.SIGTERM)
		h.icrp(id, uint16(200+i))
		if kind, _ := h.next(wire.MsgICCN, wire.MsgCDN); kind == wire.MsgICCN {
			h.next(wire.MsgCDN)
		}
		f.dialling.Wait()
		f.released("the answers cross")
	}
	if n := f.dlac.CountLog(`(INFO|WARN|ERROR) .*call (not established: stage forwarding|ended before|down)`); n != 4 {
		t.Errorf("%d lines explain the end of 4 calls", n)
	}
	f.dlac.WaitTunnels(1)
	discreet(t, f.dlac)
}

// An xl2tpd ends all calls of a tunnel upon a CDN for session 0: one subscriber who leaves before it has answered must not take another
// with him.
func TestSubscriberLeavesBeforeXl2tpdAnswers(t *testing.T) {
	t.Parallel() // it waits more than it works
	w := newWholesale(t, "stays", "leaves")
	captured := w.lns.Capture("lac")
	x := w.lns.ForeignPeer(foreignLNS(1, append(demand("chap"), "challenge = yes")...),
		append(passwords("stays * "+theirPass, "leaves * "+theirPass), tunnelKey(tunnelSecret)...)...)
	lac := w.lac.L2TPD(w.lacConfig(`
    - {match: all, action: tunnel, lns: [{address: 10.4.0.2}], secret: `+tunnelSecret+`}
`, "[chap]"))
	stays := w.clients[0].Subscriber("lac", "stays", theirPass)
	_, _, remote := stays.WaitUp()

	x.Signal(unix.SIGSTOP)
	leaves := w.clients[1].Subscriber("lac", "leaves", theirPass)
	w.Eventually("a second ICRQ", func() error {
		if n := len(captured.First(wire.MsgICRQ)); n != 2 {
			return fmt.Errorf("%d ICRQ", n)
		}
		return nil
	})
	leaves.Signal(unix.SIGTERM)
	lac.WaitLog(`call not established: stage forwarding .*cause=peer-terminate .*user=leaves`)
	x.Signal(unix.SIGCONT)
	w.Eventually("a CDN", func() error {
		cdns := captured.First(wire.MsgCDN)
		if len(cdns) == 0 {
			return fmt.Errorf("there is none")
		}
		if id := cdns[0].Header.SessionID; id == 0 {
			t.Fatal("CDN for session 0")
		}
		return nil
	})
	leaves.Wait()
	w.clients[0].Reaches(remote)
	lac.Session("stays")
	lac.WaitTunnels(1)
	discreet(t, lac)
}

// A client begins LCP anew while an LNS is being tried: that call is taken back, and made again with what it has shown the second time.
func TestSubscriberBeginsAnewWhileAnLNSIsTried(t *testing.T) {
	t.Parallel() // it waits more than it works
	f, h := newHeld(t)
	f.dial()
	h.tunnel()
	first := h.icrq()
	f.line = &f.dlac.Sessions()[0]
	for _, s := range f.dlac.Sessions() {
		if s.TunnelID == 0 {
			f.line = &s
		}
	}
	// Its pppd hears of it from the answer.
	f.ether.Send(f.session(ppp.ProtoLCP, []byte{1, 0x77, 0, 10, 5, 6, 1, 2, 3, 4}))
	_, m := h.next(wire.MsgCDN)
	if id, _ := m.Uint16(wire.AVPAssignedSessionID); id != first {
		t.Errorf("CDN for session %d, want %d", id, first)
	}
	second := h.icrq()
	h.icrp(second, 100)
	_, m = h.next(wire.MsgICCN)
	if v, _ := m.Bytes(wire.AVPProxyAuthenName); string(v) != alice {
		t.Errorf("ICCN is of user %q", v)
	}
	f.Eventually("the call is forwarded", func() error {
		if s := f.dlac.Session(alice); s.Forwarded == nil {
			return errNotThere
		}
		return nil
	})
	h.send(second, wire.NewMessage(wire.MsgCDN, wire.ResultAVP(wire.Result{Code: wire.CDNNoFacilitiesPerm}, false),
		wire.Uint16(wire.AVPAssignedSessionID, 100)))
	f.line = nil
	f.dialling.Wait()
	f.released("the LNS has hung up")
	discreet(t, f.dlac)
}

// session is a frame of alice's session.
func (f *forwarded) session(p ppp.Protocol, packet []byte) []byte {
	f.t.Helper()
	to := f.concentrator()
	frame := append(append([]byte(nil), to[:]...), f.ether.MAC[:]...)
	frame = append(frame, 0x88, 0x64, 0x11, 0)
	frame = binary.BigEndian.AppendUint16(frame, f.sessionID())
	frame = binary.BigEndian.AppendUint16(frame, uint16(2+len(packet)))
	frame = binary.BigEndian.AppendUint16(frame, uint16(p))
	return append(frame, packet...)
}

// sessionPacket is the packet of PPP in a frame of PPPoE.
func sessionPacket(frame []byte) (ppp.Protocol, []byte) {
	if len(frame) < 22 || binary.BigEndian.Uint16(frame[12:]) != 0x8864 {
		return 0, nil
	}
	n := min(int(binary.BigEndian.Uint16(frame[18:])), len(frame)-20)
	p, packet, _ := ppp.SplitFrame(frame[20 : 20+n])
	return p, packet
}

// P200: a client that has missed the verdict repeats its response when the call is with the LNS: it hears the same verdict again.
func TestResponseIsRepeatedWhenTheLNSHasTheCall(t *testing.T) {
	t.Parallel() // it waits more than it works
	f := newForwarded(t)
	f.dial()
	chap := func(code byte) []byte {
		return f.ether.Wait(fmt.Sprintf("CHAP packet of code %d", code), func(frame []byte) bool {
			p, packet := sessionPacket(frame)
			return p == ppp.ProtoCHAP && len(packet) > 0 && packet[0] == code
		})
	}
	const response, success = 2, 3
	said := chap(response)
	_, verdict := sessionPacket(chap(success))
	f.dialling.WaitUp()
	for range 3 {
		f.ether.Send(said)
		if _, again := sessionPacket(chap(success)); !bytes.Equal(again, verdict) {
			t.Errorf("the verdict is %x, was %x", again, verdict)
		}
	}
	f.home.Reaches("10.8.0.1")
	f.dlns.WaitSessions(1)
	discreet(t, f.dlac, f.dlns)
}
