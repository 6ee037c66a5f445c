//go:build kernel

package scenario

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/access/pppoe"
	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
	"github.com/l2tpd/l2tpd/test/scenario/subscriber"
)

// town is an Ethernet of a LAC on which not all mean well. Alice, who does, has a call that goes on at an LNS.
type town struct {
	*wholesale
	lac, lns *lab.Daemon
	street   *lab.Host // its interface is lac, and that of the LAC street
	evil     *stranger
	alice    api.Session // as it was before
	served   string      // address of the LNS in calls
}

// newTown makes one. limits are further keys of the LAC's access.
func newTown(t *testing.T, limits string) *town {
	t.Helper()
	w := newWholesale(t, "street")
	s := &town{wholesale: w, street: w.clients[0], served: "10.8.0.1"}
	s.lns = w.lns.L2TPD(strings.Replace(ourLNS, "level: debug", "level: info", 1))
	s.lac = w.lac.L2TPD(`
server: {mode: lac, hostname: lac}
lac:
  access: [{pppoe: {interface: street, template: access` + limits + `}}]
  rules: [{match: all, action: tunnel, lns: [{address: 10.4.0.2}], secret: ` + tunnelSecret + `}]
ppp: {templates: {access: {auth: [chap, pap], restart: 1s}}}
`)
	s.street.Subscriber("lac", "alice@corp.example", theirPass).WaitUp()
	s.street.Reaches(s.served)
	s.alice = s.line(t)
	s.evil = newStranger(t, s)
	return s
}

// line is alice's session at the LAC.
func (s *town) line(t *testing.T) api.Session {
	t.Helper()
	for _, x := range s.lac.Sessions() {
		if x.Access != "" && x.User == "alice@corp.example" && x.Forwarded != nil && !x.EstablishedAt.IsZero() {
			return x
		}
	}
	t.Fatalf("alice's call is not up: %+v", s.lac.Sessions())
	return api.Session{}
}

// same checks that alice's call is the one that it was.
func (s *town) same(t *testing.T) {
	t.Helper()
	s.street.Reaches(s.served)
	if x := s.line(t); x.ID != s.alice.ID || !x.EstablishedAt.Equal(s.alice.EstablishedAt) || *x.Forwarded != *s.alice.Forwarded {
		t.Errorf("alice's call is not the one that it was: %+v, want %+v", x, s.alice)
	}
}

// newcomer has a pppd come, until it is up, and go again.
func (s *town) newcomer(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	// As a router at home does, but it asks every two seconds instead of ever more seldom, as pppd does within one attempt: in a flood most
	// PADIs are lost.
	bob := s.street.Subscriber("lac", "bob", theirPass, "persist", "maxfail 0", "holdoff 1", "pppoe-padi-timeout 1", "pppoe-padi-attempts 1")
	device, _, _ := bob.WaitUp()
	took := time.Since(began)
	s.street.Reaches(s.served, device)
	bob.Signal(unix.SIGTERM)
	bob.Wait()
	return took
}

// discovery is what the LAC has counted.
func (s *town) discovery(t *testing.T) api.Discovery {
	t.Helper()
	all := s.lac.Status().Access
	if len(all) != 1 || all[0].Name != "street" || all[0].PPPoE == nil {
		t.Fatalf("access: %+v", all)
	}
	return *all[0].PPPoE
}

// drops waits until the LAC has dropped exactly that, beyond what it had dropped before.
func (s *town) drops(t *testing.T, before, want map[string]uint64) {
	t.Helper()
	all := maps.Clone(before)
	if all == nil {
		all = map[string]uint64{}
	}
	for reason, n := range want {
		all[reason] += n
	}
	s.Eventually("dropped packets", func() error {
		if got := s.discovery(t).Dropped; !maps.Equal(got, all) {
			return fmt.Errorf("%v, want %v", got, all)
		}
		return nil
	})
}

// footing is what the LAC takes.
func (s *town) footing(t *testing.T) (rss int, p api.Process) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.lac.PID()))
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	if err != nil || m == nil {
		t.Fatalf("no VmRSS in %s, %v", status, err)
	}
	rss, _ = strconv.Atoi(string(m[1])) // digits
	return rss, s.lac.Status().Process
}

// kernelLines is how many PPPoE sessions the LAC's kernel has.
func (s *town) kernelLines() int {
	return strings.Count(s.wholesale.lac.Run("cat", "/proc/net/pppoe"), "street")
}

// waitCalls waits until nobody is at the LAC but n subscribers, and nothing of anybody else.
func (s *town) waitCalls(t *testing.T, n int) {
	t.Helper()
	s.Eventually("the end of the others", func() error {
		lines := 0
		for _, x := range s.lac.Sessions() {
			if x.Access != "" {
				lines++
			}
		}
		if at, k := s.lac.Status().Access[0].Sessions, s.kernelLines(); lines != n || at != n || k != n {
			return fmt.Errorf("%d lines, %d subscribers, %d sessions in the kernel, want %d", lines, at, k, n)
		}
		return nil
	})
}

// stranger is a packet socket on the street, for whatever frames.
type stranger struct {
	t  *testing.T
	fd int
	ac pppoe.MAC
}

func newStranger(t *testing.T, s *town) *stranger {
	t.Helper()
	x := &stranger{t: t}
	proto := binary.NativeEndian.Uint16([]byte{0x88, 0x63})
	err := errors.Join(s.wholesale.lac.Do(func() error {
		ifc, err := net.InterfaceByName("street")
		if err == nil {
			x.ac = pppoe.MAC(ifc.HardwareAddr)
		}
		return err
	}), s.street.Do(func() error {
		ifc, err := net.InterfaceByName("lac")
		if err != nil {
			return err
		}
		if x.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(proto)); err != nil {
			return err
		}
		return errors.Join(unix.Bind(x.fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: ifc.Index}),
			unix.SetsockoptTimeval(x.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}))
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(x.fd) })
	return x
}

// shoot sends a frame. What finds no room on the way is lost.
func (x *stranger) shoot(frame []byte) error {
	if _, err := unix.Write(x.fd, frame); err != nil && !errors.Is(err, unix.ENOBUFS) {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

func (x *stranger) send(frame []byte) {
	x.t.Helper()
	if err := x.shoot(frame); err != nil {
		x.t.Fatal(err)
	}
}

// await sends a packet until it is answered by one with that code to the same station. It must not be one that is counted.
func (x *stranger) await(p pppoe.Packet, code pppoe.Code) pppoe.Packet {
	x.t.Helper()
	buf := make([]byte, 2048)
	for began := time.Now(); time.Since(began) < lab.Patience; {
		x.send(p.Append(nil))
		for until := time.Now().Add(5 * time.Second); time.Now().Before(until); {
			n, err := unix.Read(x.fd, buf)
			if err != nil {
				continue // time to look at the clock
			}
			if got, err := pppoe.Parse(buf[:n]); err == nil && got.Code == code && got.Dst == p.Src {
				for i, t := range got.Tags {
					got.Tags[i].Value = append([]byte(nil), t.Value...) // the buffer is used again
				}
				return got
			}
		}
	}
	x.t.Fatalf("no %v for %v", code, p)
	return pppoe.Packet{}
}

var (
	everybody = pppoe.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	anything  = pppoe.Tag{Type: pppoe.TagServiceName}
)

// station is the MAC address of one of many.
func station(n int) pppoe.MAC {
	return pppoe.MAC{2, 0x66, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

func (x *stranger) padi(mac pppoe.MAC, tags ...pppoe.Tag) pppoe.Packet {
	return pppoe.Packet{Dst: everybody, Src: mac, Code: pppoe.CodePADI, Tags: tags}
}

func (x *stranger) padr(mac pppoe.MAC, tags ...pppoe.Tag) pppoe.Packet {
	return pppoe.Packet{Dst: x.ac, Src: mac, Code: pppoe.CodePADR, Tags: tags}
}

func (x *stranger) padt(mac pppoe.MAC, id uint16) pppoe.Packet {
	return pppoe.Packet{Dst: x.ac, Src: mac, Code: pppoe.CodePADT, SessionID: id}
}

// cookie asks for an offer, and gives its cookie.
func (x *stranger) cookie(mac pppoe.MAC) pppoe.Tag {
	x.t.Helper()
	return tagged(x.await(x.padi(mac, anything), pppoe.CodePADO), pppoe.TagACCookie)
}

// tagged is the packet's tag of a type; without a value, if it has none.
func tagged(p pppoe.Packet, kind pppoe.TagType) pppoe.Tag {
	for _, t := range p.Tags {
		if t.Type == kind {
			return t
		}
	}
	return pppoe.Tag{Type: kind}
}

// terminate is a PPPoE frame with LCP Terminate-Request.
func terminate(src, dst pppoe.MAC, id uint16) []byte {
	b := append(append([]byte(nil), dst[:]...), src[:]...)
	b = append(b, 0x88, 0x64, 0x11, 0)
	b = binary.BigEndian.AppendUint16(b, id)
	return append(b, 0, 6, 0xc0, 0x21, 5, 1, 0, 4)
}

// octets is a discovery frame whose PPPoE part may be anything.
func octets(dst, src pppoe.MAC, rest ...byte) []byte {
	return append(append(append(append([]byte(nil), dst[:]...), src[:]...), 0x88, 0x63), rest...)
}

// wrong is what the LAC drops, by its words for that. id is a session of somebody else; cookie was made for mine.
func (x *stranger) wrong(id uint16, mine pppoe.MAC, cookie pppoe.Tag, next func() pppoe.MAC) map[string][][]byte {
	flipped := pppoe.Tag{Type: cookie.Type, Value: append([]byte(nil), cookie.Value...)}
	flipped.Value[len(flipped.Value)-1] ^= 1
	return map[string][][]byte{
		"short":     {octets(everybody, next(), 0x11, 9, 0)},
		"version":   {octets(everybody, next(), 0x21, 9, 0, 0, 0, 4, 1, 1, 0, 0)},
		"length":    {octets(everybody, next(), 0x11, 9, 0, 0, 0, 99, 1, 1, 0, 0), octets(x.ac, next(), 0x11, 0x19, 0, 0, 0xff, 0xff)},
		"code":      {octets(everybody, next(), 0x11, 0x42, 0, 0, 0, 4, 1, 1, 0, 0)},
		"source":    {octets(everybody, everybody, 0x11, 9, 0, 0, 0, 4, 1, 1, 0, 0), octets(everybody, pppoe.MAC{}, 0x11, 9, 0, 0, 0, 4, 1, 1, 0, 0)},
		"elsewhere": {octets(station(1<<20), next(), 0x11, 0x19, 0, 0, 0, 4, 1, 1, 0, 0)},
		"tag-length": {
			octets(everybody, next(), 0x11, 9, 0, 0, 0, 4, 1, 1, 0, 1), octets(everybody, next(), 0x11, 9, 0, 0, 0, 4, 1, 1, 0xff, 0xff),
			octets(everybody, next(), 0x11, 9, 0, 0, 0, 3, 1, 1, 0), octets(x.ac, next(), 0x11, 0x19, 0, 0, 0, 6, 1, 1, 0, 0, 1, 4),
		},
		"tags": {
			x.padi(next()).Append(nil), x.padi(next(), anything, anything).Append(nil), octets(everybody, next(), 0x11, 9, 0, 1, 0, 4, 1, 1, 0, 0),
			x.padi(next(), anything, pppoe.Tag{Type: pppoe.TagPPPMaxPayload, Value: []byte{1}}).Append(nil),
		},
		"service": {x.padi(next(), pppoe.Tag{Type: pppoe.TagServiceName, Value: []byte("no such")}).Append(nil)},
		"direction": {
			octets(x.ac, next(), 0x11, 7, 0, 0, 0, 4, 1, 1, 0, 0), octets(x.ac, next(), 0x11, 0x65, 0, 7, 0, 4, 1, 1, 0, 0),
		},
		"cookie": {
			x.padr(next(), anything).Append(nil), x.padr(next(), anything, pppoe.Tag{Type: pppoe.TagACCookie, Value: make([]byte, 28)}).Append(nil),
			x.padr(next(), anything, pppoe.Tag{Type: pppoe.TagACCookie, Value: make([]byte, 1400)}).Append(nil),
			x.padr(mine, anything, flipped).Append(nil), x.padr(next(), anything, cookie).Append(nil), // another's
		},
		"no-session": {x.padt(next(), id).Append(nil), x.padt(next(), 0).Append(nil), x.padt(next(), 0xffff).Append(nil), x.padt(mine, id^1).Append(nil)},
	}
}

// P273, P277, P280: discovery packets that are malformed, forged or out of place, and frames of sessions that are not their sender's, are
// counted by what is wrong with them, and change nothing.
func TestForgedDiscoveryChangesNothing(t *testing.T) {
	t.Parallel()
	s := newTown(t, ", service_names: [internet]")
	x := s.evil
	before := s.discovery(t)
	_, pppoeID, _ := strings.Cut(s.alice.Access, "/")
	id64, err := strconv.ParseUint(strings.Fields(pppoeID)[0], 10, 16)
	if err != nil {
		t.Fatalf("alice's access is %q", s.alice.Access)
	}
	id, n := uint16(id64), 0
	next := func() pppoe.MAC { n++; return station(n) }
	mine := next()
	cookie := x.cookie(mine)
	bad := x.wrong(id, mine, cookie, next)
	want := map[string]uint64{}
	for reason, frames := range bad {
		want[reason] = uint64(len(frames))
		for _, f := range frames {
			x.send(f)
		}
	}
	for _, to := range []uint16{id, id ^ 1, 0, 0xffff} { // of strangers
		x.send(terminate(next(), x.ac, to))
		x.send(terminate(mine, x.ac, to))
	}
	s.drops(t, before.Dropped, want)
	s.same(t)

	// A PADR must name one service, ours; else it is told so, and has no session.
	for _, tags := range [][]pppoe.Tag{{cookie}, {anything, anything, cookie}, {{Type: pppoe.TagServiceName, Value: []byte("voice")}, cookie}} {
		if p := x.await(x.padr(mine, tags...), pppoe.CodePADS); p.SessionID != 0 || tagged(p, pppoe.TagServiceNameError).Value == nil {
			t.Errorf("PADR with %v was answered by %v", tags, p)
		}
	}
	if d := s.discovery(t); d.RefusedService-before.RefusedService < 3 || d.Offered != before.Offered {
		t.Errorf("%d refused, %d offered", d.RefusedService-before.RefusedService, d.Offered-before.Offered)
	}

	// A good one that is replayed has the one session that there is already; under another address it has none.
	good := x.padr(mine, anything, cookie)
	first := x.await(good, pppoe.CodePADS)
	again := x.await(good, pppoe.CodePADS)
	if first.SessionID == 0 || first.SessionID != again.SessionID {
		t.Errorf("PADS %v, and for the same PADR %v", first, again)
	}
	x.send(x.padr(next(), anything, cookie).Append(nil))
	want["cookie"]++
	s.drops(t, before.Dropped, want)
	if d := s.discovery(t); d.Offered-before.Offered != 1 || d.Repeated-before.Repeated < 1 {
		t.Errorf("%d sessions, %d PADRs repeated", d.Offered-before.Offered, d.Repeated-before.Repeated)
	}
	// Its owner may end it, and nobody else.
	x.send(x.padt(next(), first.SessionID).Append(nil))
	want["no-session"]++
	s.drops(t, before.Dropped, want)
	x.send(x.padt(mine, first.SessionID).Append(nil))
	s.waitCalls(t, 1)
	s.same(t)
	s.newcomer(t)
	s.lac.WaitLog(`call down .*user=bob rx_bytes=[1-9]\d* tx_bytes=[1-9]`) // though the daemon has not seen them
	if x := s.lac.Session("alice@corp.example"); x.Data == nil || x.Data.InPackets == 0 || x.Data.OutPackets == 0 {
		t.Errorf("alice's data: %+v", x.Data)
	}
	if out := s.lac.Ctl("status", "--counters"); !regexp.MustCompile(`dropped .*cookie 6, .*no-session 5`).MatchString(out) {
		t.Errorf("l2tpctl does not tell what was dropped:\n%s", out)
	}
	if n := s.lac.CountLog("."); n > 120 {
		t.Errorf("%d log lines", n)
	}
	discreet(t, s.lac, s.lns)
}

// P277: PADIs of more than 10,000 stations that there are not, among forged PADRs, PADTs and junk. The LAC answers as many as its rate
// says, keeps no memory of them, and says so in few lines; the subscriber who is there notices nothing, and others come.
func TestDiscoveryFloodHarmsNobody(t *testing.T) {
	// long: one siege, from before to after
	const enough = 30_000
	s := newTown(t, "")
	x := s.evil
	first := s.newcomer(t) // brings the program into memory
	s.waitCalls(t, 1)
	dice := rand.New(rand.NewPCG(1, 2))
	stations := 0
	shoot := func() (int, error) {
		var frames [][]byte
		for range 80 {
			stations++
			frames = append(frames, x.padi(station(dice.Int()), anything, pppoe.Tag{Type: pppoe.TagHostUniq, Value: []byte("uniq")}).Append(nil))
		}
		for range 5 {
			forged := make([]byte, 28)
			for i := range forged {
				forged[i] = byte(dice.Int())
			}
			junk := x.padi(station(dice.Int()), anything).Append(nil)
			junk[14+dice.IntN(10)] ^= byte(1 + dice.IntN(255))
			frames = append(frames, x.padr(station(dice.Int()), anything, pppoe.Tag{Type: pppoe.TagACCookie, Value: forged}).Append(nil),
				x.padt(station(dice.Int()), uint16(dice.Int())).Append(nil), terminate(station(dice.Int()), x.ac, uint16(dice.Int())), junk)
		}
		for _, f := range frames {
			if err := x.shoot(f); err != nil {
				return 0, err
			}
		}
		return len(frames), nil
	}
	rss, _ := s.footing(t)
	before, lines, cpu := s.discovery(t), s.lac.CountLog("."), s.lac.ProcessorTime()
	ping := pinger{s.street.Start("ping", "ping", "-n", "-i", "0.2", s.served)}
	ping.WaitLog("bytes from")
	began := time.Now()
	a := begin(shoot)
	in := func() uint64 { return s.discovery(t).In.PADI - before.In.PADI }
	s.Eventually("pressure", func() error {
		if s.discovery(t).Dropped["rate"] == before.Dropped["rate"] {
			return errNotThere
		}
		return nil
	})
	newcomer := s.newcomer(t)
	crowd := s.crowd(t, 10)
	flow(s.Lab, enough, in)
	sent := a.stop(t)
	took := time.Since(began)
	lost, of := ping.lost(t)
	s.same(t)
	s.waitCalls(t, 1)
	after, p := s.footing(t)
	d := s.discovery(t)
	lines = s.lac.CountLog(".") - lines
	note(t, "%d frames sent in %v, %d of them PADIs of as many stations; %d PADIs came, %d PADOs left; newcomer up in %v, before in %v; 10 more in %v; "+
		"%d of %d pings lost; %d log lines; RSS %d KiB before, %d after; processor %v; %+v; %+v", sent, took.Round(time.Second), stations,
		d.In.PADI-before.In.PADI, d.Out.PADO-before.Out.PADO, newcomer.Round(time.Millisecond), first.Round(time.Millisecond), crowd.Round(time.Millisecond),
		lost, of, lines, rss, after, s.lac.ProcessorTime()-cpu, p, d)
	if n := d.Out.PADO - before.Out.PADO; n > uint64(1000*(took.Seconds()+2)) {
		t.Errorf("%d PADOs in %v, at 1000 a second", n, took)
	}
	if lost*10 > of {
		t.Errorf("%d of %d pings lost", lost, of)
	}
	if lines > 400 {
		t.Errorf("%d log lines", lines)
	}
	if after-rss > 24<<10 {
		t.Errorf("%d KiB of memory before, %d after", rss, after)
	}
	s.newcomer(t)
}

// crowd has honest subscribers of their own addresses come, who ask until they are answered, until all are up, and go again. They ask at
// the same moments, so that one full queue is bad luck for all.
func (s *town) crowd(t *testing.T, n int) time.Duration {
	t.Helper()
	var port *subscriber.Port
	if err := s.street.Do(func() (err error) {
		port, err = subscriber.Open(subscriber.Config{Interface: "lac", Patience: 500 * time.Millisecond, Tries: 200})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	calls := make([]subscriber.Call, n)
	for i := range calls {
		calls[i].Client = ppp.Config{IPv4: ppp.IPv4Request, Answer: []ppp.AuthMethod{ppp.AuthCHAPMD5}, User: "bob", Password: []byte(theirPass)}
	}
	began := time.Now()
	port.Dial(calls...)
	ctx, cancel := context.WithTimeout(t.Context(), 5*lab.Patience) // they ask more and more seldom
	defer cancel()
	if err := port.Wait(ctx, func(x subscriber.Tally) bool { return x.In[subscriber.Up] == n }); err != nil {
		t.Errorf("%d honest subscribers: %v; %+v", n, err, port.Traffic())
	}
	took := time.Since(began)
	port.Disconnect()
	return took
}

// P277: strangers who ask for sessions and fall silent get as many as the limits of the interface and of an address say. PPP's time-outs
// end them, the strangers are told, and nothing of them is left; the subscriber who is there notices nothing.
func TestHalfSetUpSubscribersGiveEverythingBack(t *testing.T) {
	t.Parallel()
	const most, ofOne = 30, 3 // all of them have come before the first gives up, after ten seconds, in a slow guest too
	s := newTown(t, fmt.Sprintf(", max_sessions: %d, max_sessions_per_mac: %d", most, ofOne))
	x := s.evil
	s.newcomer(t)
	s.waitCalls(t, 1)
	_, empty := s.footing(t)
	before, lines := s.discovery(t), s.lac.CountLog(".")
	open := map[pppoe.MAC][]uint16{}
	told := map[string]int{}
	ask := func(mac pppoe.MAC) {
		p := x.await(x.padr(mac, anything, x.cookie(mac)), pppoe.CodePADS)
		if p.SessionID == 0 {
			told[string(tagged(p, pppoe.TagACSystemError).Value)]++
			return
		}
		open[mac] = append(open[mac], p.SessionID)
	}
	for range ofOne + 2 {
		ask(station(1))
	}
	if len(open[station(1)]) != ofOne || told["too many sessions of this client"] != 2 {
		t.Errorf("one address has %d sessions; the others were told %v", len(open[station(1)]), told)
	}
	for i := range most {
		ask(station(2 + i))
	}
	if told["too many sessions"] == 0 {
		t.Errorf("nobody was told that there are too many: %v", told)
	}
	full := s.discovery(t)
	if n := len(open) - 1 + ofOne; n > most-1 || full.RefusedLimit-before.RefusedLimit < 2+1 {
		t.Errorf("%d sessions beside alice's, %d refused", n, full.RefusedLimit-before.RefusedLimit)
	}
	s.same(t)
	s.waitCalls(t, 1) // PPP's time-outs
	d := s.discovery(t)
	if n := d.Out.PADT - before.Out.PADT; n != d.Offered-before.Offered {
		t.Errorf("%d PADTs for %d sessions", n, d.Offered-before.Offered)
	}
	s.Eventually("as few goroutines as before", func() error {
		if n := s.lac.Status().Process.Goroutines; n > empty.Goroutines+2 {
			return fmt.Errorf("%d, before %d", n, empty.Goroutines)
		}
		return nil
	})
	lines = s.lac.CountLog(".") - lines
	note(t, "%d sessions asked for and left alone, %d refused; %d log lines; %v", d.Offered-before.Offered, d.RefusedLimit-before.RefusedLimit,
		lines, s.lac.Status().Counters.SessionEnds)
	if lines > most+10 { // one for each of them, and a few
		t.Errorf("%d log lines", lines)
	}
	s.same(t)
	s.newcomer(t) // there is room again
}
