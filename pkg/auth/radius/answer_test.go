package radius

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	codec "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2868"

	"github.com/l2tpd/l2tpd/pkg/ppp"
)

func avp(t codec.Type, value string) *codec.AVP {
	return &codec.AVP{Type: t, Attribute: codec.Attribute(value)}
}

func num(t codec.Type, n uint32) *codec.AVP { return avp(t, string(number(n))) }

func microsoft(kind byte, value []byte) *codec.AVP {
	var a codec.Attributes
	addVendor(&a, vendorMicrosoft, kind, value)
	return a[0]
}

// decode reads an accept of these attributes.
func decode(r Request, attrs ...*codec.AVP) Answer {
	q := question{request: r, secret: []byte("secret"), authenticator: authenticator{1, 2, 3}, maxTunnels: 4}
	return q.decode(&codec.Packet{Code: codec.CodeAccessAccept, Attributes: attrs})
}

func pointer[T any](v T) *T { return &v }

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func addrs(texts ...string) (all []netip.Addr) {
	for _, s := range texts {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

// P240, P247-P251.
func TestEverythingOfAnAcceptIsRead(t *testing.T) {
	t.Parallel()
	v6 := netip.MustParseAddr("2001:db8::9").As16()
	got := decode(
		Request{},
		num(8, 0xc0000205), num(9, 0xffffff00), num(6, 2), num(7, 1),
		avp(22, "198.51.100.0/24 192.0.2.5 3 4 5"), avp(22, "10.1.2.3"), avp(22, "nonsense"), avp(22, "2001:db8::/32 :: 1"),
		num(12, 1400), num(13, 1), avp(11, "in"), avp(11, "out"), num(27, 3600), num(28, 0), avp(25, "a\x00b"), avp(25, "c"),
		num(62, 2), avp(88, "pool\x00"), num(85, 300), avp(18, "Hello "), avp(18, "there"),
		avp(96, "\x02\x00\x00\x00\x00\x00\x00\x01"), avp(97, "\x00\x40\x20\x01\x0d\xb8\x00\x01"),
		avp(123, "\x00\x38\x20\x01\x0d\xb8\x01\x00\xff\xff"), avp(99, "2001:db8:5::/48 :: 1"), avp(100, "p6"),
		avp(168, string(v6[:])), avp(169, string(v6[:])), avp(170, "\x00\x20\x20\x01\x0d\xb8"), avp(171, "pd"), avp(172, "na"),
		microsoft(28, []byte{192, 0, 2, 53}), microsoft(29, []byte{192, 0, 2, 54}), microsoft(30, []byte{192, 0, 2, 55}),
		microsoft(7, number(2)), microsoft(8, number(4)),
		avp(26, "\x00\x00\x00\x09\x01\x07abcde"), avp(26, "\x00\x00\x00\x09\x01\xff"), avp(200, "unknown"), avp(33, "proxy"),
	)
	same(t, Answer{
		Accept: true, Message: "Hello there", Address: netip.MustParseAddr("192.0.2.5"), NetmaskBits: 24,
		Warnings: []string{`route "nonsense": the prefix is not valid`, `route "2001:db8::/32 :: 1": the prefix is not valid`},
		Routes: []Route{
			{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Gateway: netip.MustParseAddr("192.0.2.5"), Metric: 3},
			{Prefix: netip.MustParsePrefix("10.0.0.0/8")},
		},
		MTU: 1400, Compression: []uint32{1}, FilterIDs: []string{"in", "out"}, SessionTimeout: pointer(time.Hour),
		IdleTimeout: pointer(time.Duration(0)), Class: [][]byte{[]byte("a\x00b"), []byte("c")}, PortLimit: 2, Pool: "pool",
		InterimInterval: 5 * time.Minute, InterfaceID: 0x0200000000000001, IPv6Prefixes: prefixes("2001:db8:1::/64"),
		DelegatedPrefixes: prefixes("2001:db8:100:ff00::/56"), IPv6Routes: []Route{{Prefix: netip.MustParsePrefix("2001:db8:5::/48"), Metric: 1}},
		IPv6Pool: "p6", IPv6Addresses: addrs("2001:db8::9"), IPv6DNS: addrs("2001:db8::9"), Announced: prefixes("2001:db8::/32"),
		DelegatedPool: "pd", AddressPool: "na", DNS: addrs("192.0.2.53", "192.0.2.54"), NBNS: addrs("192.0.2.55"),
		MPPEPolicy: 2, MPPETypes: 4,
	}, got)
}

func TestMagicAddressesAreFlags(t *testing.T) {
	t.Parallel()
	if a := decode(Request{}, num(8, 0xfffffffe)); !a.AddressNAS || a.AddressUser || a.Address.IsValid() {
		t.Errorf("%+v", a)
	}
	if a := decode(Request{}, num(8, 0xffffffff)); a.AddressNAS || !a.AddressUser || a.Address.IsValid() {
		t.Errorf("%+v", a)
	}
}

// RFC 2865, 5 and 5.6; P231.
func TestWhatCannotBeDoneIsARefusal(t *testing.T) {
	t.Parallel()
	for name, attrs := range map[string][]*codec.AVP{
		"short address":      {avp(8, "abc")},
		"long timeout":       {avp(27, "abcde")},
		"IPv6 prefix of 129": {avp(97, "\x00\x81")},
		"short interface id": {avp(96, "1234567")},
		"login service":      {num(6, 1)},
		"SLIP":               {num(7, 2)},
		"only PPTP":          {num(64, 0x01000001), avp(67, "\x01192.0.2.1")},
		"short tunnel type":  {avp(64, "\x01\x03")},
		"empty endpoint":     {avp(67, "")},
	} {
		a := decode(Request{}, append(attrs, avp(18, "hi"))...)
		if a.Accept || a.Reason == "" || a.Message != "hi" || a.Tunnels != nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// P227-P230.
func TestTunnelsAreReadByTag(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		attrs    []*codec.AVP
		want     []Tunnel
		unusable bool
		warnings int
	}{
		"untagged text": {
			[]*codec.AVP{num(64, 3), num(65, 1), avp(67, "192.0.2.1"), avp(90, "lac")},
			[]Tunnel{{Medium: 1, ServerEndpoint: "192.0.2.1", ClientAuthID: "lac", Preference: NoPreference}},
			false, 0,
		},
		"tag zero": {
			[]*codec.AVP{num(64, 3), avp(67, "\x00192.0.2.1"), avp(82, "\x20gold")},
			[]Tunnel{{ServerEndpoint: "192.0.2.1", AssignmentID: " gold", Preference: NoPreference}},
			false, 0,
		},
		"tag of an integer beyond 0x1f is none": {
			[]*codec.AVP{num(64, 0x20000003), avp(67, "lns.example")},
			[]Tunnel{{ServerEndpoint: "lns.example", Preference: NoPreference}},
			false, 0,
		},
		"by preference, then by tag": {
			[]*codec.AVP{
				num(64, 0x01000003), avp(67, "\x01a"), num(83, 0x01000014), num(64, 0x02000003), avp(67, "\x02b"),
				num(64, 0x03000003), avp(67, "\x03c"), num(83, 0x0300000a), num(64, 0x04000003), avp(67, "\x04d"), num(83, 0x04000014),
			},
			[]Tunnel{
				{Tag: 3, ServerEndpoint: "c", Preference: 10},
				{Tag: 1, ServerEndpoint: "a", Preference: 20},
				{Tag: 4, ServerEndpoint: "d", Preference: 20},
				{Tag: 2, ServerEndpoint: "b", Preference: NoPreference},
			},
			false, 0,
		},
		"foreign beside ours": {
			[]*codec.AVP{num(64, 0x01000001), avp(67, "\x01a"), num(64, 0x02000003), avp(67, "\x02b")},
			[]Tunnel{{Tag: 2, ServerEndpoint: "b", Preference: NoPreference}},
			false, 1,
		},
		"without endpoint":    {[]*codec.AVP{num(64, 0x01000003), num(65, 0x01000001)}, nil, true, 1},
		"without type":        {[]*codec.AVP{avp(67, "192.0.2.1")}, nil, true, 1},
		"of a foreign medium": {[]*codec.AVP{num(64, 3), num(65, 8), avp(67, "192.0.2.1")}, nil, true, 1},
		"password of no use":  {[]*codec.AVP{num(64, 3), avp(67, "192.0.2.1"), avp(69, "\x00abc")}, nil, true, 1},
		"more than wanted": {
			[]*codec.AVP{
				num(64, 0x01000003), num(64, 0x02000003), num(64, 0x03000003), num(64, 0x04000003), num(64, 0x05000003),
				avp(67, "\x01a"), avp(67, "\x02a"), avp(67, "\x03a"), avp(67, "\x04a"), avp(67, "\x05a"),
			},
			[]Tunnel{
				{Tag: 1, ServerEndpoint: "a", Preference: NoPreference},
				{Tag: 2, ServerEndpoint: "a", Preference: NoPreference},
				{Tag: 3, ServerEndpoint: "a", Preference: NoPreference},
				{Tag: 4, ServerEndpoint: "a", Preference: NoPreference},
			},
			false, 1,
		},
		"none": {nil, nil, false, 0},
	} {
		a := decode(Request{}, c.attrs...)
		if !a.Accept || a.TunnelUnusable != c.unusable || len(a.Warnings) != c.warnings {
			t.Errorf("%s: %+v", name, a)
		}
		same(t, c.want, a.Tunnels)
	}
}

// hide does what a server does with a key: the inverse of what is tested.
func hide(t *testing.T, plain string) []byte {
	t.Helper()
	b, err := codec.NewTunnelPassword([]byte(plain), []byte{0x80, 1}, []byte("secret"), []byte{1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// P250.
func TestMSCHAPv2KeysAndSuccess(t *testing.T) {
	t.Parallel()
	r := Request{Method: ppp.AuthMSCHAPv2, ID: 7}
	success := microsoft(msCHAP2Success, []byte("\x07S=407A5589115FD0D6209F510FE9C04566932CDA56"))
	a := decode(r, success, microsoft(msMPPESendKey, hide(t, "0123456789abcdef")), microsoft(msMPPERecvKey, hide(t, "fedcba9876543210")))
	if !a.Accept || a.MSCHAPSuccess != "S=407A5589115FD0D6209F510FE9C04566932CDA56" || string(a.Keys.Send) != "0123456789abcdef" ||
		string(a.Keys.Recv) != "fedcba9876543210" || a.Warnings != nil {
		t.Errorf("%+v", a)
	}
	if a := decode(r, success, microsoft(msMPPESendKey, hide(t, "short")), microsoft(msMPPERecvKey, []byte("x"))); !a.Accept || a.Keys.Send != nil || len(a.Warnings) != 1 {
		t.Errorf("keys of no use: %+v", a)
	}
	if a := decode(r); a.Accept {
		t.Error("an accept that the peer cannot verify")
	}
	r.ID = 8
	if a := decode(r, success); a.Accept {
		t.Error("the success of another response")
	}
}

// The key is what pkg/ppp has for the password of V17 and V20.
func TestMSCHAPv1KeysStartMPPE(t *testing.T) {
	t.Parallel()
	challenge := octets(t, "102db5df085d3041")
	hashHash := octets(t, "41c00c584bd2d91c4017a2a12fa59f3f")
	plain := append(append(make([]byte, 8), hashHash...), make([]byte, 8)...)
	hidden, before := []byte(nil), []byte{1, 2, 3, 15: 0}
	for at := 0; at < len(plain); at += 16 {
		before = xorDigest(plain[at:at+16], []byte("secret"), before)
		hidden = append(hidden, before...)
	}
	a := decode(Request{Method: ppp.AuthMSCHAPv1, Challenge: challenge}, microsoft(msCHAPMPPEKeys, hidden))
	if got := hex.EncodeToString(a.Keys.Send); got != "a8947850cfc0acc1d1789fb62ddcddb0" || !bytes.Equal(a.Keys.Recv, a.Keys.Send) {
		t.Error(got)
	}
	if a := decode(Request{Method: ppp.AuthMSCHAPv1}, microsoft(msCHAPMPPEKeys, hidden[:31])); a.Keys.Send != nil || len(a.Warnings) != 1 {
		t.Errorf("%+v", a)
	}
}

func TestRefusalsSayWhy(t *testing.T) {
	t.Parallel()
	q := question{maxTunnels: 1}
	p := &codec.Packet{Code: codec.CodeAccessReject, Attributes: codec.Attributes{
		avp(18, "no"), microsoft(msCHAPError, []byte("\x01E=691 R=0")), num(8, 1),
	}}
	if a := q.decode(p); a.Accept || a.Message != "no" || a.MSCHAPError != "E=691 R=0" || a.Address.IsValid() || a.Reason == "" {
		t.Errorf("%+v", a)
	}
	p.Code = codec.CodeAccessChallenge
	if a := q.decode(p); a.Accept || !strings.Contains(a.Reason, "dialog") {
		t.Errorf("%+v", a)
	}
}

// P239, P250: what a request with everything holds.
func TestRequestHoldsWhatIsKnown(t *testing.T) {
	t.Parallel()
	response := append(bytes.Repeat([]byte{1}, 16), make([]byte, 33)...)
	response[48] = 9
	r := Request{
		Method: ppp.AuthMSCHAPv2, Name: "user", ID: 5, Challenge: make([]byte, 16), Response: response, SessionID: "1",
		Port: Port{Number: 3, Type: PortEthernet, ID: "eth1:3", CallingStation: "a", CalledStation: "b", ConnectInfo: "c", Access: AccessLine{
			CircuitID: "circuit", RemoteID: strings.Repeat("r", 70), ActualUp: 1, ActualDown: 2,
		}},
		Tunnel: TunnelInfo{ClientEndpoint: "2001:db8::1", ServerEndpoint: "2001:db8::2", ClientAuthID: "\x01lac"},
	}
	nas := NAS{Identifier: "nas", IPv4: netip.MustParseAddr("192.0.2.1"), IPv6: netip.MustParseAddr("2001:db8::5")}
	b, err := r.packet(nas, []byte(vectorSecret), 1, authenticator{})
	if err != nil {
		t.Fatal(err)
	}
	p := parsed(t, b)
	for typ, want := range map[codec.Type]string{
		1: "user", 4: "\xc0\x00\x02\x01", 5: "\x00\x00\x00\x03", 6: "\x00\x00\x00\x02", 7: "\x00\x00\x00\x01", 30: "b", 31: "a", 32: "nas",
		44: "1", 61: "\x00\x00\x00\x0f", 64: "\x00\x00\x00\x03", 65: "\x00\x00\x00\x02", 66: "2001:db8::1", 67: "2001:db8::2", 77: "c", 87: "eth1:3",
		90: "\x00\x01lac", 95: "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05",
	} {
		if got := string(p.Get(typ)); got != want {
			t.Errorf("attribute %d: %q, not %q", typ, got, want)
		}
	}
	var vendors []string
	for _, a := range p.Attributes {
		if a.Type == rfc2865.VendorSpecific_Type {
			eachVendor(a.Attribute, func(vendor uint32, kind byte, value []byte) {
				vendors = append(vendors, string(binary.BigEndian.AppendUint16(nil, uint16(vendor)))+string(kind)+string(value))
			})
		}
	}
	same(t, []string{
		"\x01\x37\x0b" + string(make([]byte, 16)), "\x01\x37\x19\x05\x00" + string(response[:48]), "\x0d\xe9\x01circuit",
		"\x0d\xe9\x02" + strings.Repeat("r", 63), "\x0d\xe9\u0081\x00\x00\x00\x01", "\x0d\xe9\u0082\x00\x00\x00\x02",
	}, vendors)

	b, err = Realm("tunnel.example", secretOf("cisco"), Port{Type: PortEthernet}).packet(nas, []byte(vectorSecret), 1, authenticator{})
	if err != nil {
		t.Fatal(err)
	}
	if p := parsed(t, b); string(p.Get(1)) != "tunnel.example" || string(p.Get(6)) != "\x00\x00\x00\x05" || p.Get(7) != nil {
		t.Error("a realm's request is something else")
	}
}

// FuzzAnswer: whatever a server says, reading it ends, and an accept with tunnels has usable ones only.
func FuzzAnswer(f *testing.F) {
	f.Add(octets(f, acceptV14)[headerSize:], uint8(0))
	f.Add([]byte("\x16\x0810.0/8\x1a\x0c\x00\x00\x01\x37\x1a\x06\x07S=A"), uint8(4))
	f.Add([]byte("\x45\x05\x01\x83\xaa\x61\x02\x00\x40\x06\x01\x00\x00\x03"), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, method uint8) {
		p, err := codec.Parse(accountingPacket(b, nil, 0, 0), nil)
		if len(b) > codec.MaxPacketLength-headerSize-6 || err != nil {
			return
		}
		p.Code = codec.CodeAccessAccept
		q := question{
			request: Request{Method: ppp.AuthMethod(method % 5), Challenge: make([]byte, 8)},
			secret:  []byte(vectorSecret), authenticator: requestAuthenticator(t), maxTunnels: 3,
		}
		a := q.decode(p)
		if a.Accept == (a.Reason != "") || !a.Accept && a.Tunnels != nil || len(a.Tunnels) > 3 {
			t.Fatalf("%+v", a)
		}
		for i, u := range a.Tunnels {
			if u.ServerEndpoint == "" || u.Medium > mediumIPv6 || i > 0 && u.Preference < a.Tunnels[i-1].Preference {
				t.Errorf("%+v", u)
			}
		}
		if p.Get(rfc2868.TunnelType_Type) == nil && a.Tunnels != nil {
			t.Error("a tunnel of no type")
		}
	})
}

// FuzzPacket: what is no packet with the right authenticator is never believed.
func FuzzPacket(f *testing.F) {
	f.Add(octets(f, acceptV14))
	f.Add(octets(f, disconnectV21))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, a := range []authenticator{{}, requestAuthenticator(t)} {
			p, err := believe(b, []byte(vectorSecret), a, false)
			if err != nil {
				continue
			}
			packet, _, _ := frame(b)
			if !bytes.Equal(digest(packet, []byte(vectorSecret), a), packet[4:headerSize]) || p == nil {
				t.Errorf("% x is believed", b)
			}
		}
	})
}
