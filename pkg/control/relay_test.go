package control

import (
	"bytes"
	"crypto/md5"
	"encoding/gob"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// testLine is an access line that says a little of everything.
func testLine() *AccessLine {
	l := &AccessLine{CircuitID: []byte("node-7 eth 1/3:100"), RemoteID: []byte("joe")}
	l.SetValue(wire.LineActualRateUp, 10e6)
	l.SetValue(wire.LineActualRateDown, 5e9)
	l.SetValue(wire.LineActualDelayDown, 8)
	l.SetValue(wire.LineEncapsulation, 0x010201)
	l.SetValue(wire.LineType, 5<<24)
	return l
}

func TestAccessLineValues(t *testing.T) {
	t.Parallel()
	l := testLine()
	l.SetValue(wire.LineActualRateUp, 20e6)
	if v, ok := l.Value(wire.LineActualRateUp); !ok || v != 20e6 || len(l.Values) != 5 {
		t.Errorf("set again: %d %v %v", v, ok, l.Values)
	}
	if _, ok := l.Value(wire.LineIWFSession); ok {
		t.Error("a value that was not sent")
	}
	if _, ok := (*AccessLine)(nil).Value(wire.LineType); ok {
		t.Error("a value of no line")
	}
	// What does not fit is left out; a number that was never defined too.
	l = &AccessLine{CircuitID: []byte("x"), RemoteID: make([]byte, 64), Values: []LineValue{{98, 1}, {wire.LineCircuitID, 1}, {wire.LineIWFSession, 1}}}
	if diff := cmp.Diff([]wire.AVP{wire.LineNumber(wire.LineIWFSession, 1)}, l.appendTo(nil)); diff != "" {
		t.Error(diff)
	}
}

// relayed is an ICRQ or ICCN with a random choice of what may be in it, empty or not, and what of that must come out again.
type relayed struct {
	rng       *rand.Rand
	all, want []wire.AVP
}

func (r *relayed) add(a wire.AVP) {
	r.all = append(r.all, a)
	r.want = append(r.want, a)
}

// maybe adds a number or octets, or 0 or none of them.
func (r *relayed) maybe(number bool, kinds ...wire.AVPType) {
	for _, t := range kinds {
		v := []byte{0, 1, 2, byte(t)}
		switch r.rng.IntN(3) {
		case 0:
			continue
		case 1:
			if v = nil; number {
				v = make([]byte, 4)
			}
		}
		r.add(wire.Bytes(t, v))
	}
}

func (r *relayed) icrq() wire.Message {
	r.all, r.want = nil, nil
	r.add(wire.Uint32(wire.AVPCallSerialNumber, 1+r.rng.Uint32N(1e6)))
	if r.rng.IntN(2) == 0 {
		r.add(wire.Uint32(wire.AVPBearerType, r.rng.Uint32N(4)))
	}
	r.maybe(true, wire.AVPPhysicalChannelID)
	r.maybe(false, wire.AVPCallingNumber, wire.AVPCalledNumber, wire.AVPSubAddress)
	if r.rng.IntN(2) == 0 {
		r.add(wire.LineBytes(wire.LineCircuitID, []byte("node eth 1/1")))
	}
	for n := range wire.LineAttribute(256) {
		v := make([]byte, 8)
		if n > 2 && r.rng.IntN(2) == 0 {
			for len(v) > 0 && !n.Fits(len(v)) {
				v = v[1:]
			}
			if v = bytes.Repeat([]byte{byte(r.rng.Uint32())}, len(v)); len(v) > 0 {
				r.add(wire.LineBytes(n, v))
			}
		}
	}
	return wire.NewMessage(wire.MsgICRQ, append(r.all, wire.Uint16(wire.AVPAssignedSessionID, 500))...)
}

func (r *relayed) iccn() wire.Message {
	r.all, r.want = nil, nil
	r.add(wire.Uint32(wire.AVPTxConnectSpeed, r.rng.Uint32N(3)*1e6))
	r.add(wire.Uint32(wire.AVPFramingType, 1+r.rng.Uint32N(3)))
	r.maybe(true, wire.AVPRxConnectSpeed)
	r.maybe(false, wire.AVPPrivateGroupID, wire.AVPInitialRecvLCP, wire.AVPLastSentLCP, wire.AVPLastRecvLCP)
	if r.rng.IntN(2) == 0 {
		r.add(wire.Flag(wire.AVPSequencingRequired))
	}
	r.auth()
	return wire.NewMessage(wire.MsgICCN, r.all...)
}

// auth adds proxy authentication of any type, with what the type needs, or only some of it, or more.
func (r *relayed) auth() {
	kind := uint16(r.rng.IntN(9))
	needs := proxyParts(kind)
	parts := []wire.AVP{
		wire.Text(wire.AVPProxyAuthenName, "joe"), wire.Bytes(wire.AVPProxyAuthenChallenge, []byte{1, 2, 3}),
		wire.Uint16(wire.AVPProxyAuthenID, 7), wire.Bytes(wire.AVPProxyAuthenResponse, []byte{4, 5}),
	}
	var sent []wire.AVP
	whole := r.rng.IntN(3)
	for _, a := range parts {
		if whole == 0 && slices.Contains(needs, a.Type) || whole == 1 && r.rng.IntN(2) == 0 || whole == 2 {
			if r.rng.IntN(4) == 0 && a.Type != wire.AVPProxyAuthenChallenge {
				a.Value = make([]byte, len(a.Value)) // an id must have its length
				if a.Type != wire.AVPProxyAuthenID {
					a.Value = nil
				}
			}
			sent = append(sent, a)
		}
	}
	complete := !slices.ContainsFunc(needs, func(t wire.AVPType) bool {
		return !slices.ContainsFunc(sent, func(a wire.AVP) bool { return a.Type == t })
	})
	if r.rng.IntN(8) > 0 {
		r.all = append(r.all, wire.Uint16(wire.AVPProxyAuthenType, kind))
		if kind != 0 { // type 0 is reserved, and without a type there is no proxy authentication (P187)
			r.want = append(r.want, wire.Uint16(wire.AVPProxyAuthenType, kind))
			for _, a := range sent {
				needed := slices.Contains(needs, a.Type)
				empty := strings.Trim(string(a.Value), "\x00") == ""
				if kind != 4 && (needed && complete || (needed || needs == nil) && !empty) {
					r.want = append(r.want, a)
				}
			}
		}
	}
	r.all = append(r.all, sent...)
}

// content is what a message says beyond the tunnel that it is in, in one order.
func content(avps []wire.AVP) []string {
	var list []string
	for _, a := range avps {
		if a.Vendor != 0 || a.Type != wire.AVPAssignedSessionID && a.Type != wire.AVPRandomVector {
			list = append(list, fmt.Sprintf("%d/%d %v %x", a.Vendor, a.Type, a.Mandatory, a.Value))
		}
	}
	slices.Sort(list)
	return list
}

// Tunnel switching: the CallInfo of an incoming call makes the same ICRQ and ICCN in another tunnel, with hiding, without, and
// after it has been stored. Left behind are only AVPs that mean nothing: proxy authentication without a type or of no use to
// its type.
func TestWhatIsReadCanBeSentAgain(t *testing.T) {
	t.Parallel()
	r := relayed{rng: rand.New(rand.NewPCG(5, 6))}
	for i := range 500 {
		in, out := newScript(t), newScript(t)
		if i%2 == 0 {
			out.cfg.Secret, out.cfg.HideAVPs = []byte("x"), true
		}
		in.line("rx SCCRQ")
		in.line("rx SCCCN")
		asked := r.icrq()
		wantICRQ := content(r.want)
		in.say(asked, 0)
		in.line("accept")
		connected := r.iccn()
		wantICCN := content(r.want)
		in.say(connected, uint16(in.session))
		up, ok := in.evs[len(in.evs)-1].(EvSessionUp)
		if !ok {
			t.Fatalf("%v\n%v\n%v", asked, connected, in.evs)
		}
		call := stored(t, up.Call)

		out.line("rx SCCRQ")
		out.line("rx SCCCN response=good")
		out.do(CmdOpenSession{Role: LACIncoming, Call: call, Session: &out.session})
		if diff := cmp.Diff(wantICRQ, content(out.sent[0].AVPs)); diff != "" {
			t.Fatalf("%v\n%s", asked, diff)
		}
		out.line("rx ICRP")
		out.do(CmdConnectSession{Session: out.session, Call: call})
		if diff := cmp.Diff(wantICCN, content(out.sent[0].AVPs)); diff != "" {
			t.Fatalf("%v\n%s", connected, diff)
		}
	}
}

// say gives a message of the peer's to the tunnel.
func (s *script) say(m wire.Message, session uint16) {
	s.t.Helper()
	s.out, s.sent, s.evs = nil, nil, nil
	var out Output
	s.receive(wire.AppendMessage(nil, uint16(s.id), session, s.peerNs, s.nextNr(), m, nil), &out)
	s.peerNs++
	s.take(&out)
}

// do gives a command to the tunnel.
func (s *script) do(c Command) {
	s.t.Helper()
	s.out, s.sent, s.evs = nil, nil, nil
	var out Output
	s.tun.Do(s.now, c, &out)
	s.take(&out)
}

// stored is a CallInfo that has been written and read again.
func stored(t *testing.T, c CallInfo) (back CallInfo) {
	t.Helper()
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(c); err != nil {
		t.Fatal(err)
	}
	if err := gob.NewDecoder(&b).Decode(&back); err != nil {
		t.Fatal(err)
	}
	return back
}

// cdns runs lines of a script and returns the CDNs that were sent.
func (s *script) cdns(lines string) (sent []string) {
	s.t.Helper()
	for line := range strings.SplitSeq(lines, " ; ") {
		for _, out := range s.line(line) {
			if strings.Contains(out, "tx CDN") {
				sent = append(sent, out)
			}
		}
	}
	return sent
}

// P14: a CDN names the peer's session as soon as any answer has shown its id. xl2tpd ends every call of the tunnel on a CDN
// for session 0.
func TestCDNNamesThePeersSession(t *testing.T) {
	t.Parallel()
	const icrq, ocrq = "rx SCCRQ ; rx SCCCN ; open-icrq ; ", "rx SCCRQ ; rx SCCCN ; open-ocrq ; "
	for _, tt := range []struct {
		name, script string
		session      int
	}{
		{"before ICRP", icrq + "hangup", 0},
		{"no ICRP", icrq + "zlb ; wait 10s", 0},
		{"hangup after ICRP", icrq + "rx ICRP session=900 ; hangup", 900},
		{"owner does not connect", icrq + "rx ICRP session=900 ; wait 10s", 900},
		{"restart after ICRP", icrq + "rx ICRP session=900 ; restore ; hangup", 900},
		{"established", icrq + "rx ICRP session=900 ; connect ; zlb ; hangup", 900},
		{"second ICRP", icrq + "rx ICRP session=900 ; rx ICRP session=901", 900},
		{"second ICRP, malformed", icrq + "rx ICRP session=900 ; rx ICRP session=901 unknown=1", 900},
		{"ICRP malformed", icrq + "rx ICRP session=900 unknown=1", 900},
		{"ICRP with id 0", icrq + "rx ICRP session=0", 0},
		{"ICRP without an id", icrq + "rx ICRP without=14", 0},
		{"ICRP with an id in use", icrq + "rx ICRP session=900 ; open-icrq ; rx ICRP session=900", 900},
		{"ICRP with a window", "config pre13 ; " + icrq + "rx ICRP session=900 window=4", 900},
		{"OCRP for ICRQ", icrq + "rx OCRP session=900", 900},
		{"unexpected ICCN", icrq + "rx ICRP session=900 ; connect ; zlb ; rx ICCN", 900},
		{"before OCRP", ocrq + "hangup", 0},
		{"hangup after OCRP", ocrq + "rx OCRP session=900 ; hangup", 900},
		{"no OCCN", ocrq + "rx OCRP session=900 ; zlb ; wait 60s", 900},
		{"OCRP malformed", ocrq + "rx OCRP session=900 unknown=1", 900},
		{"OCRP with an id in use", ocrq + "rx OCRP session=900 ; open-ocrq ; rx OCRP session=900", 900},
		{"OCCN malformed", ocrq + "rx OCRP session=900 ; rx OCCN unknown=1", 900},
		{"OCCN framing", "config framing=1 ; " + ocrq + "rx OCRP session=900 ; rx OCCN ftype=2", 900},
		{"ICRQ refused", "config no-incoming ; rx SCCRQ ; rx SCCCN ; rx ICRQ session=900", 900},
		{"ICRQ malformed", "rx SCCRQ ; rx SCCCN ; rx ICRQ session=900 unknown=1", 900},
		{"ICRQ not accepted", "rx SCCRQ ; rx SCCCN ; rx ICRQ session=900 ; hangup", 900},
		{"OCRQ accepted", "rx SCCRQ ; rx SCCCN ; rx OCRQ session=900 ; accept ; zlb ; hangup code=8", 900},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t)
			cdns := s.cdns(tt.script)
			if want := fmt.Sprintf(" session=%d ", tt.session); len(cdns) != 1 || !strings.Contains(cdns[0], want) {
				t.Errorf("want %s: %q", want, cdns)
			}
			if s.tun.State() != TunnelEstablished {
				t.Errorf("tunnel %v", s.tun.State())
			}
			for _, x := range s.tun.sess.byID {
				if s.tun.sess.byPeer[x.Peer] != x && x.Peer != 0 {
					t.Errorf("session %d is not found as the peer's %d any more", x.ID, x.Peer)
				}
			}
		})
	}
}

// Interop: a CDN for session 0 ends every call of the tunnel at an xl2tpd. It gets one when it has told the id of its session, or none.
func TestCDNWaitsForTheIDOfXL2TPD(t *testing.T) {
	t.Parallel()
	const icrq, ocrq = "rx SCCRQ vendor=xelerance.com ; rx SCCCN ; open-icrq ; ", "rx SCCRQ vendor=xelerance.com ; rx SCCCN ; open-ocrq ; "
	for _, tt := range []struct {
		name, script string
		want         int
	}{
		{"before ICRP", icrq + "hangup ; zlb ; wait 10s", 0},
		{"then ICRP", icrq + "hangup ; zlb ; rx ICRP session=900", 1},
		{"then ICRP twice", icrq + "hangup ; zlb ; rx ICRP session=900 ; rx ICRP session=900", 1},
		{"then an ICRP that is malformed", icrq + "hangup ; zlb ; rx ICRP session=900 unknown=1", 1},
		{"then ICRP without an id", icrq + "hangup ; zlb ; rx ICRP without=14", 0},
		{"then a CDN, and ICRP", icrq + "hangup ; zlb ; rx CDN session=900 ; rx ICRP session=900", 0},
		{"then ICRP after a restart", icrq + "hangup ; zlb ; restore ; rx ICRP session=900", 1},
		{"then ICRP after the quarantine", icrq + "hangup ; zlb ; wait 40s ; open-icrq ; rx ICRP session=900 ; hangup", 1},
		{"the set-up time is over, then ICRP", icrq + "zlb ; wait 10s ; rx ICRP session=900", 1},
		{"then OCRP", ocrq + "hangup ; zlb ; rx OCRP session=900", 1},
		{"after ICRP", icrq + "rx ICRP session=900 ; hangup", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cdns := newScript(t).cdns(tt.script)
			if len(cdns) != tt.want || tt.want == 1 && !strings.Contains(cdns[0], " session=900 ") {
				t.Errorf("got %q, want %d to session 900", cdns, tt.want)
			}
		})
	}
}

// An ICRP that breaks off shows its id all the same, hidden or not.
func TestCDNForABrokenReply(t *testing.T) {
	t.Parallel()
	for _, hidden := range []bool{false, true} {
		s := newScript(t)
		s.cfg.Secret = []byte("x")
		s.line("rx SCCRQ")
		s.line("rx SCCCN response=good")
		s.line("open-icrq")
		id := wire.Uint16(wire.AVPAssignedSessionID, 900)
		if hidden {
			id = hiddenID("x")
		}
		avps := []wire.AVP{wire.Bytes(wire.AVPRandomVector, make([]byte, 16)), id, wire.Text(wire.AVPCalledNumber, "cut")}
		d := wire.AppendMessage(nil, uint16(s.id), uint16(s.session), s.peerNs, s.nextNr(), wire.NewMessage(wire.MsgICRP, avps...), nil)
		d = d[:len(d)-1]
		d[3]--
		s.out, s.sent, s.evs = nil, nil, nil
		var out Output
		s.receive(d, &out)
		s.take(&out)
		if !strings.Contains(strings.Join(s.out, "\n"), "tx CDN tunnel=77 session=900 ") {
			t.Errorf("%q", s.out)
		}
	}
}

// hiddenID is Assigned Session ID 900 in hidden form, under a Random Vector of 16 zeros (RFC 2661, 4.3).
func hiddenID(secret string) wire.AVP {
	pad := md5.Sum(slices.Concat([]byte{0, byte(wire.AVPAssignedSessionID)}, []byte(secret), make([]byte, 16)))
	v := []byte{0, 2, 900 >> 8, 900 & 0xff}
	for i := range v {
		v[i] ^= pad[i]
	}
	return wire.AVP{Mandatory: true, Hidden: true, Type: wire.AVPAssignedSessionID, Value: v}
}
