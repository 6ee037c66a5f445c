package kernel

import (
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/genetlink/genltest"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// unhex reads hexadecimal text with blanks. The goldens here are little endian, as all machines this is built for are.
func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantBytes(t *testing.T, got []byte, want string) {
	t.Helper()
	if diff := cmp.Diff(hex.Dump(unhex(t, want)), hex.Dump(got)); diff != "" {
		t.Error(diff)
	}
}

func TestAttributesOfRequests(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		encode func() ([]byte, error)
		want   string
	}{
		{
			"tunnel create",
			func() ([]byte, error) { return tunnelCreateAttributes(TunnelSpec{ID: 0x1234, PeerID: 0xfffe, FD: 7}) },
			`0800 0900 34120000
			 0800 0a00 feff0000
			 0500 0700 02 000000
			 0600 0200 0000 0000
			 0800 1700 07000000`,
		},
		{
			"tunnel get",
			func() ([]byte, error) { return tunnelGetAttributes(0x1234) },
			`0800 0900 34120000`,
		},
		{
			"session get",
			func() ([]byte, error) { return sessionGetAttributes(0x1234, 0x5678) },
			`0800 0900 34120000 0800 0b00 78560000`,
		},
		{
			"link",
			func() ([]byte, error) { return newLinkRequest(9, UnitSpec{Name: "lan0", MTU: 1410}) },
			`00000000 00000000 00000000 00000000
			 0900 0300 6c616e3000 000000
			 0800 0400 82050000
			 1800 1280
			   0800 0100 70707000
			   0c00 0280 0800 0100 09000000`,
		},
		{
			"link with the kernel's name and mtu",
			func() ([]byte, error) { return newLinkRequest(9, UnitSpec{}) },
			`00000000 00000000 00000000 00000000
			 1800 1280
			   0800 0100 70707000
			   0c00 0280 0800 0100 09000000`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tt.encode()
			if err != nil {
				t.Fatal(err)
			}
			wantBytes(t, got, tt.want)
		})
	}
}

// Answers as Linux 6.12 gives them.
const (
	tunnelAnswer4 = `0500 0700 02 000000
		0800 0900 34120000
		0800 0a00 feff0000
		0800 1100 00000000
		0600 0200 0000 0000
		0c00 1e00 0800 0100 00000000
		0500 0d00 01 000000
		0600 1a00 a506 0000
		0600 1b00 2823 0000
		0800 1800 c0000201
		0800 1900 c6336401`
	tunnelAnswer6 = `0800 0900 01000000
		0800 0a00 02000000
		0500 0d00 01 000000
		0600 1a00 a506 0000
		0600 1b00 a506 0000
		0400 2100
		1400 1f00 20010db8000000000000000000000001
		1400 2000 20010db8000000000000000000000002`
	sessionAnswer = `0800 0900 34120000
		0800 0b00 01000000
		0800 0a00 feff0000
		0800 0c00 02000000
		0500 1200 00 000000
		0500 1300 01 000000
		0500 1400 01 000000
		0c00 1600 1e00000000000000
		7000 1e00
		  0c00 0100 0100000000000000
		  0c00 0200 0200000000000000
		  0c00 0300 0300000000000000
		  0c00 0400 0400000000000000
		  0c00 0500 0500000000000000
		  0c00 0600 0600000000000000
		  0c00 0700 0700000000000000
		  0c00 0800 0800000000000000
		  0c00 0b00 0900000000000000`
)

var compareAddrs = cmpopts.EquateComparable(netip.AddrPort{})

func TestParseTunnel(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, answer string
		want         TunnelInfo
	}{
		{"ipv4", tunnelAnswer4, TunnelInfo{
			ID: 0x1234, PeerID: 0xfffe, UDPChecksum: true,
			Local: netip.MustParseAddrPort("192.0.2.1:1701"), Remote: netip.MustParseAddrPort("198.51.100.1:9000"),
		}},
		{"ipv6 without checksums", tunnelAnswer6, TunnelInfo{
			ID: 1, PeerID: 2,
			Local: netip.MustParseAddrPort("[2001:db8::1]:1701"), Remote: netip.MustParseAddrPort("[2001:db8::2]:1701"),
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseTunnel(unhex(t, tt.answer))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, compareAddrs); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseSession(t *testing.T) {
	t.Parallel()
	got, err := parseSession(unhex(t, sessionAnswer))
	if err != nil {
		t.Fatal(err)
	}
	want := SessionInfo{
		TunnelID: 0x1234, PeerTunnelID: 0xfffe, SessionID: 1, PeerID: 2,
		Sequencing: Sequencing{Send: true, LNS: true, Reorder: 30 * time.Millisecond},
		Stats: Stats{
			TxPackets: 1, TxBytes: 2, TxErrors: 3, RxPackets: 4, RxBytes: 5, RxSeqDiscards: 6, RxOutOfSequence: 7, RxErrors: 8,
			RxInvalid: 9,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDamagedAnswersAreErrors(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"length past the end": `0900 0900 34120000`,
		"id of 2 octets":      `0600 0900 3412 0000`,
		"id of L2TPv3":        `0800 0900 00000100`,
		"address of 3 octets": `0700 1800 c00002 00`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if info, err := parseTunnel(unhex(t, answer)); err == nil {
				t.Errorf("tunnel: %+v and no error", info)
			}
		})
	}
	if _, err := parseSession(unhex(t, `0c00 1e00 0800 0100 00000000`)); err == nil {
		t.Error("a counter of 4 octets is no error")
	}
}

// connected gives a UDP socket from 127.0.0.1 to a port of 127.0.0.2.
func connected(t *testing.T) (fd int, local, remote netip.AddrPort) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 2}, Port: 1701}); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, addrPort(sa), netip.MustParseAddrPort("127.0.0.2:1701")
}

// Old kernels return the failure to notify a third party from a TUNNEL_CREATE that worked.
func TestCreateTunnelAdoptsWhatTheKernelMadeDespiteItsError(t *testing.T) {
	t.Parallel()
	fd, local, remote := connected(t)
	tests := []struct {
		name   string
		create unix.Errno
		peer   uint32 // of the tunnel that GET finds
		absent bool
		gets   int
		want   error
	}{
		{name: "made", create: unix.ENOBUFS, peer: 2, gets: 1},
		{name: "not made", create: unix.ENOBUFS, absent: true, gets: 1, want: unix.ENOBUFS},
		{name: "another's", create: unix.ENOBUFS, peer: 3, gets: 1, want: unix.ENOBUFS},
		{name: "refused", create: unix.EEXIST, peer: 2, gets: 0, want: os.ErrExist},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			gets := 0
			conn := genltest.Dial(func(m genetlink.Message, _ netlink.Message) ([]genetlink.Message, error) {
				if m.Header.Command == cmdTunnelCreate {
					return nil, genltest.Error(int(tt.create))
				}
				gets++
				if tt.absent {
					return nil, genltest.Error(int(unix.ENODEV))
				}
				ae := netlink.NewAttributeEncoder()
				ae.Uint32(attrConnID, 1)
				ae.Uint32(attrPeerConnID, tt.peer)
				ae.Bytes(attrIPSource, local.Addr().AsSlice())
				ae.Bytes(attrIPDest, remote.Addr().AsSlice())
				ae.Uint16(attrUDPSourcePort, local.Port())
				ae.Uint16(attrUDPDestPort, remote.Port())
				b, err := ae.Encode()
				return []genetlink.Message{{Data: b}}, err
			})
			defer conn.Close()
			c := &l2tpClient{conn: conn, family: 30, log: slog.New(slog.DiscardHandler)}
			err := c.createTunnel(TunnelSpec{ID: 1, PeerID: 2, FD: fd})
			if !errors.Is(err, tt.want) || (err != nil) != (tt.want != nil) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if gets != tt.gets {
				t.Errorf("%d GETs, want %d", gets, tt.gets)
			}
		})
	}
}

func TestAddrPortOfSockets(t *testing.T) {
	t.Parallel()
	ip6 := net.ParseIP("fe80::1")
	tests := []struct {
		sa   unix.Sockaddr
		want string
	}{
		{&unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 1}, Port: 1701}, "192.0.2.1:1701"},
		{&unix.SockaddrInet6{Addr: [16]byte(ip6), Port: 1701, ZoneId: 3}, "[fe80::1]:1701"},
		{&unix.SockaddrUnix{}, "invalid AddrPort"},
	}
	for _, tt := range tests {
		if got := addrPort(tt.sa).String(); got != tt.want {
			t.Errorf("addrPort(%#v) = %s, want %s", tt.sa, got, tt.want)
		}
	}
}
