package ipv6

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/ndp"

	"github.com/l2tpd/l2tpd/test/golden"
)

func TestTranscripts(t *testing.T) {
	t.Parallel()
	golden.Transcripts(t, "*.txt", 11, func(t *testing.T) func(string) []string {
		w := newWorld(t)
		return func(line string) []string {
			out := w.line(line)
			if err := checkCore(w.core); err != nil {
				t.Error(err)
			}
			return out
		}
	})
}

// TestWire holds the octets that others see.
func TestWire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.line("serve 7 link=2001:db8:1::/64 delegated=2001:db8:100::/56 dns=2001:db8::53 mtu=1492")
	golden.Compare(t, "advertisement.golden", dump(w.core.links[7].advert))
	w.line("dhcp 7 fe80::2 request client=a server=us na=9 pd=1 pd=2 oro=23")
	golden.Compare(t, "reply.golden", dump(w.core.links[7].holder.answer.data))
}

func dump(b []byte) string {
	out := ""
	for len(b) > 0 {
		n := min(len(b), 16)
		out += fmt.Sprintf("% x\n", b[:n])
		b = b[n:]
	}
	return out
}

// What a subscriber can send without end must not cost memory.
func TestDroppingAllocatesNothing(t *testing.T) {
	w := newWorld(t)
	w.line("serve 7 delegated=2001:db8:100::/56")
	from := netip.MustParseAddr("fe80::2")
	solicitation := []byte{133, 0, 0, 0, 0, 0, 0, 0}
	message := append([]byte{1, 1, 2, 3, 0, 1, 0, 10}, "0123456789"...)
	for name, drop := range map[string]func(){
		"message on another interface": func() { w.core.message(0, datagram{index: 8, from: from, to: allServers, data: message}) },
		"malformed message":            func() { w.core.message(0, datagram{index: 7, from: from, to: allServers, data: message[:11]}) },
		"one message too many":         func() { w.core.message(0, datagram{index: 7, from: from, to: allServers, data: message}) },
		"malformed solicitation":       func() { w.core.solicitation(0, datagram{index: 7, from: from, data: solicitation}) },
		"one solicitation too many":    func() { w.core.solicitation(0, datagram{index: 7, from: from, hops: 255, data: solicitation}) },
		"solicitation elsewhere":       func() { w.core.solicitation(0, datagram{index: 8, from: from, hops: 255, data: solicitation}) },
	} {
		for range messageBurst {
			drop()
		}
		if n := testing.AllocsPerRun(100, drop); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// Many interfaces come and go, ask and are answered: each has what is its own, and the deadlines fit.
func TestInterfacesAreNotMixedUp(t *testing.T) {
	t.Parallel()
	const links = 200
	rnd := rand.New(rand.NewPCG(1, 2))
	w := newWorld(t)
	served := map[int]bool{}
	lease := func(i int) Lease {
		return Lease{
			LinkLocal: netip.MustParseAddr(fmt.Sprintf("fe80::1:%x", i)),
			Link:      netip.MustParsePrefix(fmt.Sprintf("2001:db8:1:%x::/64", i)),
			Delegated: netip.MustParsePrefix(fmt.Sprintf("2001:db8:2:%x00::/56", i)),
		}
	}
	for range 20000 {
		i := rnd.IntN(links)
		w.now += time.Second
		w.packets = nil
		switch rnd.IntN(7) {
		case 0:
			l := lease(i)
			w.line(fmt.Sprintf("serve %d link=%v delegated=%v from=%v", i, l.Link, l.Delegated, l.LinkLocal))
			served[i] = true
		case 1:
			w.line(fmt.Sprintf("stop %d", i))
			delete(served, i)
		case 2:
			w.line(fmt.Sprintf("solicit %d fe80::2", i))
		case 3:
			w.line(fmt.Sprintf("wait %ds", rnd.IntN(100)))
		case 4:
			w.line(fmt.Sprintf("ready %d", i))
		default:
			words := []string{"solicit", "request server=us", "renew server=us", "rebind", "release server=us"}[rnd.IntN(5)]
			w.line(fmt.Sprintf("dhcp %d fe80::2 %s client=a pd=1:%v", i, words, lease(rnd.IntN(links)).Delegated))
		}
		if err := checkCore(w.core); err != nil {
			t.Fatal(err)
		}
		for _, p := range w.packets {
			l := lease(p.index)
			if !served[p.index] || p.from != l.LinkLocal {
				t.Fatalf("%+v is sent on interface %d, served: %v", p, p.index, served[p.index])
			}
			if err := checkPacket(p, l); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(w.core.links) != len(served) {
		t.Errorf("%d links, want %d", len(w.core.links), len(served))
	}
}

// checkPacket finds prefixes that are given to others than those whose they are.
func checkPacket(p packet, l Lease) error {
	if p.data[0] == 134 {
		m, err := ndp.ParseMessage(p.data)
		if err != nil {
			return err
		}
		for _, o := range m.(*ndp.RouterAdvertisement).Options {
			if o, ok := o.(*ndp.PrefixInformation); ok && netip.PrefixFrom(o.Prefix, int(o.PrefixLength)) != l.Link {
				return fmt.Errorf("interface %d has link %v, and is told %v", p.index, l.Link, o.Prefix)
			}
		}
		return nil
	}
	options, err := parse(p.data)
	if err != nil {
		return err
	}
	given := 0
	for _, ia := range options.IAPD() {
		for _, o := range ia.Options.Prefixes() {
			if o.ValidLifetime == 0 {
				continue
			}
			given++
			if prefixOf(o.Prefix) != l.Delegated || given > 1 {
				return fmt.Errorf("interface %d has prefix %v, and is given %v, the %d.", p.index, l.Delegated, o.Prefix, given)
			}
		}
	}
	return nil
}
