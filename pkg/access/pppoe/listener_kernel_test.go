//go:build kernel

package pppoe

import (
	"fmt"
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
	if n := strings.Count(out, "Access-Concentrator"); n != 1 {
		t.Errorf("%d concentrators:\n%s", n, out)
	}
	subscriber.shows("pppoe-discovery -I sub0 -a 2 -t 2 -S voice -W 00ff00", "Access-Concentrator: l2tpd-ac")
	if out, err := subscriber.Try("pppoe-discovery -I sub0 -a 1 -t 1 -S nothere"); strings.Contains(out, "Access-Concentrator") {
		t.Errorf("a service that is not ours: %s, %v", out, err)
	}
	if n := o.l.Counters().Dropped[DropService]; n == 0 {
		t.Error("the wrong service was not counted")
	}

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
	// What came before is counted soon after the offer.
	for deadline := time.After(patience); parent.l.Counters().In.PADR == 0; {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatal("nothing was counted")
		}
	}
	if c := parent.l.Counters(); c.In.PADI != c.Out.PADO || c.Dropped[DropElsewhere] != 1 {
		t.Errorf("the parent has seen %+v", c)
	}
	if c := seven.l.Counters(); c.In.PADI != c.Out.PADO || c.Dropped[DropElsewhere] != 0 {
		t.Errorf("the VLAN has seen %+v", c)
	}
}

// What the owner says before Close is carried out.
func TestListenerTellsClientsBeforeItCloses(t *testing.T) {
	subscriber := newHost(t)
	ac := newHost(t)
	wire(ac, "acc0", subscriber, "sub0")
	o := ac.listen("acc0")
	o.expect("up")
	c := subscriber.speaker("sub0")
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

// A flood reaches the socket faster than anybody can answer, and a client is served all the same (P277).
func TestListenerServesThroughAFlood(t *testing.T) {
	subscriber := newHost(t)
	ac := newHost(t)
	wire(ac, "acc0", subscriber, "sub0")
	o := ac.listen("acc0")
	o.expect("up")
	c := subscriber.speaker("sub0")
	for i := range 10_000 {
		p := Packet{Dst: broadcast, Src: client(i), Code: CodePADI, Tags: []Tag{{TagServiceName, nil}}}
		_ = c.socket.send(c.index, p.frame()) // what finds no room is a part of the flood, too
	}
	if p := c.dial(); p.SessionID == 0 {
		t.Errorf("%s", p)
	}
	counts := o.l.Counters()
	t.Logf("%d PADIs, %d answered, %d found no room in the socket, dropped: %v", counts.In.PADI, counts.Out.PADO, counts.Overflowed, counts.Dropped)
}
