//go:build kernel

package pppoe

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// RP-PPPoE's client and pppd's discovery tool are served (P271).
func TestListenerServesForeignClients(t *testing.T) {
	subscriber := newHost(t)
	ac := newHost(t)
	wire(ac, "acc0", subscriber, "sub0")
	o := ac.listen("acc0")
	o.expect("up")

	out := subscriber.shows("pppoe-discovery -I sub0 -a 2 -t 2 -U", "Access-Concentrator: l2tpd-ac", "Service-Name: internet", "Service-Name: voice",
		"Got a cookie:")
	if n := strings.Count(out, "Access-Concentrator"); uint64(n) > o.l.Counters().In.PADI {
		t.Errorf("%d offers:\n%s", n, out)
	}
	subscriber.shows("pppoe-discovery -I sub0 -a 2 -t 2 -S voice -W 00ff00", "Access-Concentrator: l2tpd-ac")
	if out, err := subscriber.Try("pppoe-discovery -I sub0 -a 1 -t 1 -S nothere"); strings.Contains(out, "Access-Concentrator") {
		t.Errorf("a service that is not ours: %s, %v", out, err)
	}
	o.counts(func(c Counters) string {
		if c.Dropped[DropService] == 0 {
			return "the wrong service"
		}
		return ""
	})

	// A whole session; the client prints its number and our address, and says nothing more.
	session := subscriber.Run("pppoe -I sub0 -d -S internet -U")
	o.expect("offered")
	offer := o.last()
	if want := fmt.Sprintf("%d:%s", offer.SessionID, ac.mac("acc0")); session != want {
		t.Errorf("the client has session %s, we have %s", session, want)
	}
	want := Offer{Interface: "acc0", SessionID: offer.SessionID, Client: offer.Client, Service: "internet", MaxPayload: 1492}
	if d := cmp.Diff(want, offer); d != "" || offer.Client != subscriber.mac("sub0") {
		t.Errorf("offer (-want +got):\n%s", d)
	}
	subscriber.Run("pppoe -I sub0 -k -e " + session)
	o.expect(fmt.Sprintf("ended %d: the client has ended the session: RP-PPPoE: Session killed manually", offer.SessionID))
	o.l.Freed(offer.SessionID)
}

// Interfaces come, go and change, and the owner hears of it: the kernel has ended the sessions.
func TestListenerOutlivesItsInterface(t *testing.T) {
	subscriber := newHost(t)
	ac := newHost(t)
	o := ac.listen("acc0")
	o.expect("down: there is no such interface")
	wire(ac, "acc0", subscriber, "sub0")
	o.expect("up")
	c := subscriber.speaker("sub0")
	served := func() uint16 {
		t.Helper()
		p := c.dial()
		o.expect("offered")
		if p.SessionID == 0 || p.SessionID != o.last().SessionID {
			t.Fatalf("session %d, and %d in %s", o.last().SessionID, p.SessionID, p)
		}
		return p.SessionID
	}
	old := served()

	ac.Run("ip link set acc0 down")
	o.expect("down: interface is down")
	o.l.Terminate(old, "nobody hears this")
	o.l.Freed(old)
	ac.Run("ip link set acc0 up")
	o.expect("up")
	served()

	ac.Run("ip link set acc0 down; ip link set acc0 up")
	o.expect("down: interface is down")
	o.expect("up")
	served()

	ac.Run("ip link set acc0 mtu 1508")
	o.expect("down: MTU has changed from 1500 to 1508")
	o.expect("up")
	p := c.dial(Tag{TagPPPMaxPayload, []byte{0x05, 0xdc}})
	o.expect("offered")
	if v, _ := p.tag(TagPPPMaxPayload); string(v) != "\x05\xdc" || o.last().MaxPayload != 1500 {
		t.Errorf("baby jumbo frames: %s, offer %+v", p, o.last())
	}

	was := ac.mac("acc0").String()
	ac.Run("ip link set acc0 address 02:00:00:00:00:07")
	o.expect("down: address has changed from " + was + " to 02:00:00:00:00:07")
	o.expect("up")
	if p := c.dial(); p.Src != (MAC{2, 0, 0, 0, 0, 7}) {
		t.Errorf("answer of another address: %s", p)
	}
	o.expect("offered")

	// Older kernels rename only what is down.
	ac.Run("ip link set acc0 down")
	o.expect("down: interface is down")
	ac.Run("ip link set acc0 name other0; ip link set other0 up")
	wire(ac, "acc0", subscriber, "sub1")
	o.expect("up")
	c = subscriber.speaker("sub1")
	served()

	ac.Run("ip link del acc0")
	if got := <-o.events; got != "down: interface is down" && got != "down: there is no such interface" {
		t.Errorf("event %q of an interface that was removed", got)
	}
	wire(ac, "acc0", subscriber, "sub2")
	o.expect("up")
	c = subscriber.speaker("sub2")
	served()
}

// A VLAN device is an interface, and what comes in a VLAN without one is nobody's: not the parent's, either.
func TestListenerKeepsVLANsApart(t *testing.T) {
	subscriber := newHost(t)
	ac := newHost(t)
	wire(ac, "acc0", subscriber, "sub0")
	ac.Run("ip link add link acc0 name acc0.7 type vlan id 7; ip link set acc0.7 up")
	ac.carries("acc0.7")
	for _, id := range []string{"7", "8"} {
		subscriber.Run("ip link add link sub0 name sub0." + id + " type vlan id " + id + "; ip link set sub0." + id + " up")
		subscriber.carries("sub0." + id)
	}
	parent, seven := ac.listen("acc0"), ac.listen("acc0.7")
	parent.expect("up")
	seven.expect("up")
	p := subscriber.speaker("sub0.7").dial()
	seven.expect("offered")
	if o := seven.last(); o.Interface != "acc0.7" || o.SessionID != p.SessionID {
		t.Errorf("offer %+v, PADS %s", o, p)
	}
	subscriber.speaker("sub0.8").say(Packet{Dst: broadcast, Code: CodePADI, Tags: []Tag{{TagServiceName, nil}}})
	subscriber.speaker("sub0").dial()
	parent.expect("offered")
	parent.counts(func(c Counters) string { // soon after the offer
		if c.In.PADR == 0 {
			return "a PADR"
		}
		return ""
	})
	if c := parent.l.Counters(); c.In.PADI != c.Out.PADO || c.Dropped[DropElsewhere] != 1 {
		t.Errorf("the parent has seen %+v", c)
	}
	if c := seven.l.Counters(); c.In.PADI != c.Out.PADO || c.Dropped[DropElsewhere] != 0 {
		t.Errorf("the VLAN has seen %+v", c)
	}
}

// What the owner says before Close is carried out.
func TestListenerTellsClientsBeforeItCloses(t *testing.T) {
	_, o, c := served(t)
	id := c.dial().SessionID
	o.l.Terminate(id, "the concentrator goes")
	if err := o.l.Close(); err != nil {
		t.Error(err)
	}
	p := c.hear(CodePADT)
	if text, _ := p.tag(TagGenericError); p.SessionID != id || string(text) != "the concentrator goes" {
		t.Errorf("%s", p)
	}
	o.l.Accept(id) // nobody listens, and nobody waits
	if err := o.l.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	if n := o.l.Counters().Out.PADT; n != 1 {
		t.Errorf("%d PADTs", n)
	}
}

// served are a concentrator that listens on an interface, and a client on its other end.
func served(t *testing.T) (ac *host, o *owner, c *speaker) {
	t.Helper()
	subscriber := newHost(t)
	ac = newHost(t)
	wire(ac, "acc0", subscriber, "sub0")
	o = ac.listen("acc0")
	o.expect("up")
	return ac, o, subscriber.speaker("sub0")
}

// The owner may know that an interface went down before the listener does: whose session he ends then is told all the same.
func TestListenerTellsOfSessionsThatEndWithTheInterface(t *testing.T) {
	const rounds = 20
	ac, o, c := served(t)
	set := ac.link("acc0")
	for range rounds {
		id := c.dial().SessionID
		o.expect("offered")
		set(false)
		o.l.Terminate(id, "")
		o.l.Freed(id)
		o.expect("down: interface is down")
		set(true)
		o.expect("up")
		for c.hear(CodePADT).SessionID != id { // those of earlier rounds are told once more
		}
	}
}

// A flood reaches the socket faster than anybody can answer, and a client is served all the same (P277).
func TestListenerServesThroughAFlood(t *testing.T) {
	_, o, c := served(t)
	c.flood(Packet{Dst: broadcast, Code: CodePADI, Tags: []Tag{{TagServiceName, nil}}}, 10_000)
	if p := c.dial(); p.SessionID == 0 {
		t.Errorf("%s", p)
	}
	counts := o.l.Counters()
	t.Logf("%d PADIs, %d answered, %d found no room in the socket, dropped: %v", counts.In.PADI, counts.Out.PADO, counts.Overflowed, counts.Dropped)
}

// What takes the place of PADIs takes none of PADRs, and the other way round: a client is served at the first attempt (P277).
func TestListenerServesThroughAFullQueue(t *testing.T) {
	for name, flood := range map[string]Packet{
		"of PADIs":        {Dst: broadcast, Code: CodePADI, Tags: []Tag{{TagServiceName, nil}}},
		"of forged PADRs": {Code: CodePADR, Tags: []Tag{{TagServiceName, nil}, {TagACCookie, make([]byte, 28)}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, o, c := served(t)
			padi := Packet{Dst: broadcast, Code: CodePADI, Tags: []Tag{{TagServiceName, nil}}}
			c.say(padi)
			offer := c.hear(CodePADO)
			cookie, _ := offer.tag(TagACCookie)
			if flood.Code == CodePADR {
				flood.Dst = offer.Src
			}

			release := o.holdUp()
			for deadline := time.Now().Add(patience); o.l.socket.overflow() == 0; { // not many are on their way at once
				if time.Now().After(deadline) {
					t.Fatal("the queue does not become full")
				}
				c.flood(flood, 100)
			}
			c.flood(flood, 100) // which the listener counts
			if flood.Code == CodePADI {
				c.say(Packet{Dst: offer.Src, Code: CodePADR, Tags: []Tag{{TagServiceName, nil}, {TagACCookie, cookie}}})
				release()
				if p := c.hear(CodePADS); p.SessionID == 0 {
					t.Errorf("%s", p)
				}
			} else {
				c.say(padi)
				release()
				c.hear(CodePADO)
			}
			o.counts(func(x Counters) string {
				if x.Overflowed == 0 {
					return "an overflow"
				}
				return ""
			})
		})
	}
}

// Whatever a frame is, it is counted, and once, whichever queue it comes from.
func TestListenerCountsEachFrameOnce(t *testing.T) {
	ac, o, c := served(t)
	us := ac.mac("acc0")
	want := Counters{}
	for code, in := range map[Code]*uint64{
		CodePADI: &want.In.PADI, CodePADO: &want.In.PADO, CodePADR: &want.In.PADR, CodePADS: &want.In.PADS, CodePADT: &want.In.PADT, 0x42: nil,
	} {
		frame := func(p Packet) []byte {
			p.Src, p.Code = c.mac, code
			return p.frame()
		}
		good := frame(Packet{Dst: us, SessionID: 1})
		version, length, source := slices.Clone(good), slices.Clone(good), slices.Clone(good)
		version[etherHeader], length[etherHeader+5], source[6] = 0x12, 1, 0x03
		frames := map[Drop][]byte{
			DropShort: good[:etherHeader+2], DropVersion: version, DropLength: length, DropSource: source,
			DropTag: append(slices.Clone(length), 0), DropElsewhere: frame(Packet{Dst: MAC{2, 0, 0, 0, 0, 7}}),
		}
		switch code {
		case CodePADI, CodePADR:
			frames[DropTags] = good
		case CodePADO, CodePADS:
			frames[DropDirection] = good
		case CodePADT:
			frames[DropNoSession] = good
		default: // it is the first that is wrong
			frames[DropCode] = good
			delete(frames, DropLength)
			delete(frames, DropTag)
		}
		for why, frame := range frames {
			if err := c.socket.send(c.index, frame); err != nil {
				t.Fatalf("%s, %s: %v", code, why, err)
			}
			want.Dropped[why]++
		}
		if in != nil {
			*in = 1
		}
	}
	short := append(slices.Concat(us[:], c.mac[:]), 0x88, 0x63, versionType)
	if err := c.socket.send(c.index, short); err != nil {
		t.Fatal(err)
	}
	want.Dropped[DropShort]++

	o.counts(func(got Counters) string { return cmp.Diff(want, got) })
	// Both queues are empty by then, and stay so.
	c.dial()
	o.expect("offered")
	o.counts(func(got Counters) string {
		got.In.PADI -= got.Out.PADO
		got.In.PADR -= got.Out.PADS
		got.Out, got.Offered, got.Sessions = PacketCounts{}, 0, 0
		return cmp.Diff(want, got)
	})
}
