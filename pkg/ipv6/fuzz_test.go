package ipv6

import (
	"bytes"
	"net/netip"
	"testing"
)

// FuzzMessage: whatever a subscriber sends, an answer can be read, gives no prefix but the link's, and is not much longer than
// what asked for it.
func FuzzMessage(f *testing.F) {
	w := newWorld(f)
	w.line("serve 7 link=2001:db8:1::/64 delegated=2001:db8:100::/56 dns=2001:db8::53")
	for _, words := range []string{
		"solicit client=a na=9 pd=1:2001:db8:100::/56,2001:db8:999::/48 rapid oro=23",
		"request client=a server=us pd=1",
		"renew client=a server=us pd=1:2001:db8:999::/56",
		"confirm client=a na=1:2001:db8:1::5",
		"information-request oro=23,24",
	} {
		f.Add(w.build(words))
	}
	f.Add([]byte("\x01000\x00\x01\x00\x04\x00\x0400")) // a DUID that is no DUID to the library
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newWorld(t)
		w.line("serve 7 link=2001:db8:1::/64 delegated=2001:db8:100::/56 dns=2001:db8::53")
		l := w.core.links[7]
		d := datagram{index: 7, from: netip.MustParseAddr("fe80::2"), to: allServers, data: bytes.Clone(data)}
		p, ok := w.core.message(0, d)
		if !ok {
			p, ok = w.core.ready(7, w.tokens["7"])
		}
		if err := checkCore(w.core); err != nil {
			t.Fatal(err)
		}
		if !ok {
			return
		}
		if len(p.data) < messageHeader || !bytes.Equal(p.data[1:messageHeader], data[1:messageHeader]) {
			t.Fatalf("% x is no answer to % x", p.data, data)
		}
		if err := checkPacket(p, l.lease); err != nil {
			t.Error(err)
		}
		if len(p.data) > len(data)+600 {
			t.Errorf("%d octets answer %d", len(p.data), len(data))
		}
	})
}

// FuzzSolicitation: whatever comes, there is no panic, and what is no solicitation is not answered.
func FuzzSolicitation(f *testing.F) {
	f.Add([]byte{133, 0, 0, 0, 0, 0, 0, 0}, true)
	f.Add([]byte{133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6}, false)
	f.Fuzz(func(t *testing.T, data []byte, named bool) {
		w := newWorld(t)
		w.line("serve 7 link=2001:db8:1::/64")
		d := datagram{index: 7, from: netip.IPv6Unspecified(), hops: 255, data: data}
		if named {
			d.from = netip.MustParseAddr("fe80::2")
		}
		if _, ok := w.core.solicitation(0, d); ok && (data[0] != 133 || len(data)%8 != 0) {
			t.Errorf("% x is answered", data)
		}
	})
}
