package transport

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNormalize(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"127.0.0.1:1":          "127.0.0.1:1",
		"[::ffff:127.0.0.1]:1": "127.0.0.1:1",
		"[fe80::1%lo]:1":       "[fe80::1%1]:1",
		"[fe80::1%7]:1":        "[fe80::1%7]:1",
	} {
		if got, err := Normalize(netip.MustParseAddrPort(in)); err != nil || got.String() != want {
			t.Errorf("%s: %v, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"[fe80::1%nosuch0]:1", "[fe80::1%averyveryverylongname]:1"} {
		if got, err := Normalize(netip.MustParseAddrPort(in)); err == nil {
			t.Errorf("%s: %v, want an error", in, got)
		}
	}
	if _, err := Normalize(netip.AddrPort{}); err == nil {
		t.Error("the zero value: no error")
	}
}

// listed writes an address as the kernel lists it on this host.
func listed(a netip.AddrPort) string {
	b := a.Addr().AsSlice()
	for i := 0; i < len(b); i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.NativeEndian.Uint32(b[i:]))
	}
	return fmt.Sprintf("%s:%04X", strings.ToUpper(hex.EncodeToString(b)), a.Port())
}

// Only sockets that are not connected, with an overlapping address and the same port, are another daemon.
func TestListsOverlap(t *testing.T) {
	t.Parallel()
	tests := []struct {
		bound, state, want string
		overlap            bool
	}{
		{"127.0.0.1:1701", "07", "127.0.0.1:1701", true},
		{"0.0.0.0:1701", "07", "127.0.0.1:1701", true},
		{"127.0.0.1:1701", "07", "0.0.0.0:1701", true},
		{"127.0.0.1:1701", "01", "127.0.0.1:1701", false},
		{"127.0.0.2:1701", "07", "127.0.0.1:1701", false},
		{"0.0.0.0:1702", "07", "0.0.0.0:1701", false},
		{"[2001:db8::1]:1701", "07", "[2001:db8::1]:1701", true},
		{"[2001:db8::2]:1701", "07", "[2001:db8::1]:1701", false},
		{"[::]:1701", "07", "[2001:db8::1]:1701", true},
	}
	for _, test := range tests {
		list := "  sl  local_address rem_address   st tx_queue\n" +
			" 12: " + listed(netip.MustParseAddrPort(test.bound)) + " 00000000:0000 " + test.state + " 00000000:00000000\n"
		got, err := listsOverlap(strings.NewReader(list), netip.MustParseAddrPort(test.want))
		if err != nil || got != test.overlap {
			t.Errorf("%s in state %s against %s: %v, %v", test.bound, test.state, test.want, got, err)
		}
	}
}

func TestPktinfoSurvivesTheKernelsForm(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"127.0.0.1", "10.255.0.3"} {
		ip := netip.MustParseAddr(in)
		// What is sent names the source in the second field, which is the one read on receipt.
		if got := parseAncillary(pktinfo(ip)); got.local != ip {
			t.Errorf("%v came back as %v", ip, got.local)
		}
	}
	for _, in := range []string{"::1", "2001:db8::7", "fe80::1%4"} {
		ip := netip.MustParseAddr(in)
		if got := parseAncillary(pktinfo(ip)); got.local != ip {
			t.Errorf("%v came back as %v", ip, got.local)
		}
	}
	if got := pktinfo(netip.IPv4Unspecified()); got != nil {
		t.Errorf("unspecified gives %x, want none", got)
	}
}

func TestSockaddrIsReversible(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"192.0.2.1:1701", "[2001:db8::1]:1701", "[fe80::9%3]:5"} {
		a := netip.MustParseAddrPort(in)
		if got := fromSockaddr(sockaddr(a)); got != a {
			t.Errorf("%v came back as %v", a, got)
		}
	}
	if got := fromSockaddr(&unix.SockaddrUnix{Name: "x"}); got.IsValid() {
		t.Errorf("a unix address gave %v", got)
	}
}
