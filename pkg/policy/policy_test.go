package policy

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

func addr(t *testing.T, s string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func rng(t *testing.T, s string) Range {
	t.Helper()
	r, err := ParseRange(s)
	if err != nil {
		t.Fatalf("ParseRange(%q): %v", s, err)
	}
	return r
}

// P130, S110: a secret shows in no verb, flag or encoding, alone or inside other values.
func TestSecretNeverPrints(t *testing.T) {
	t.Parallel()
	s := NewSecret([]byte("topsecret"))
	call := Call{Name: "a", Secret: s, PPP: CallPPP{Password: s}}
	key := call.ShareKey(addr(t, "192.0.2.1"))
	var texts []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%10s"} {
		texts = append(texts, fmt.Sprintf(verb, s), fmt.Sprintf(verb, call), fmt.Sprintf(verb, &call), fmt.Sprintf(verb, []Secret{s}),
			fmt.Sprintf(verb, key), fmt.Sprintf(verb, User{Password: s}), fmt.Sprintf(verb, SecretRule{Secret: s}))
	}
	for _, v := range []any{s, call, key, map[string]Secret{"x": s}} {
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(out))
	}
	texts = append(texts, s.String(), s.GoString(), key.Secret.String(), key.Secret.GoString())
	hex, decimal := fmt.Sprintf("%x", "topsecret"), strings.Trim(fmt.Sprintf("%d", []byte("topsecret")), "[]")
	digest := fmt.Sprintf("%x", key.Secret.sum)
	digestDecimal := strings.Trim(fmt.Sprintf("%d", key.Secret.sum[:4]), "[]")
	for _, text := range texts {
		for _, bad := range []string{"topsecret", hex, strings.ToUpper(hex), decimal, digest, digestDecimal} {
			if strings.Contains(text, bad) {
				t.Errorf("secret shows as %q in %q", bad, text)
			}
		}
	}
	if got := fmt.Sprint(s); got != "***" {
		t.Errorf("Sprint = %q", got)
	}
	if string(s.Reveal()) != "topsecret" || s.Empty() || !NewSecret(nil).Empty() {
		t.Error("Reveal or Empty is wrong")
	}
}

// S29, S87.
func TestParseRangeReadsEveryForm(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"any":                         "any",
		"ANY":                         "any",
		"1.2.3.4":                     "1.2.3.4",
		" 10.0.0.1 - 10.0.0.9 ":       "10.0.0.1-10.0.0.9",
		"192.168.10.1-192.168.10.254": "192.168.10.1-192.168.10.254",
		"192.168.10.0/24":             "192.168.10.0/24",
		"192.168.10.7/24":             "192.168.10.0/24",
		"10.0.0.0-10.0.0.255":         "10.0.0.0/24",
		"0.0.0.0-255.255.255.255":     "0.0.0.0/0",
		"::/0":                        "::/0",
		"2001:db8::/33":               "2001:db8::/33",
		"2001:db8::1":                 "2001:db8::1",
		"2001:db8::1-2001:db8::ff":    "2001:db8::1-2001:db8::ff",
		"::ffff:1.2.3.4":              "1.2.3.4",
		"::ffff:10.0.0.0/104":         "10.0.0.0/8", // once matched nothing
		"::ffff:10.0.0.7/128":         "10.0.0.7",
		"::ffff:0.0.0.0/96":           "0.0.0.0/0",
		"::ffff:1.2.3.4-1.2.3.9":      "1.2.3.4-1.2.3.9",
	} {
		r := rng(t, in)
		if r.String() != want {
			t.Errorf("ParseRange(%q) = %v, want %v", in, r, want)
		}
		if again := rng(t, r.String()); again != r {
			t.Errorf("%v reads back as %v", r, again)
		}
	}
	for _, in := range []string{"", "x", "1.2.3", "1.2.3.4-", "-1.2.3.4", "1.2.3.9-1.2.3.4", "1.2.3.4-::1", "1.2.3.4/33", "fe80::1%eth0", "1-2-3", "/", "::ffff:10.0.0.0/95"} {
		if r, err := ParseRange(in); err == nil {
			t.Errorf("ParseRange(%q) = %v, want an error", in, r)
		}
	}
}

func TestRangeContains(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		r, a string
		want bool
	}{
		{"any", "1.2.3.4", true},
		{"any", "2001:db8::1", true},
		{"0.0.0.0/0", "255.255.255.255", true},
		{"0.0.0.0/0", "::1", false},
		{"::/0", "1.2.3.4", false},
		{"10.0.0.1-10.0.0.9", "10.0.0.1", true},
		{"10.0.0.1-10.0.0.9", "10.0.0.9", true},
		{"10.0.0.1-10.0.0.9", "10.0.0.10", false},
		{"10.0.0.1-10.0.0.9", "10.0.0.0", false},
		{"10.0.0.0/24", "::ffff:10.0.0.7", true},
		{"::ffff:10.0.0.0/104", "10.1.2.3", true},
		{"::ffff:10.0.0.0/104", "::ffff:10.1.2.3", true},
		{"fe80::/64", "fe80::1%eth0", true},
	} {
		if got := rng(t, c.r).Contains(addr(t, c.a)); got != c.want {
			t.Errorf("%s contains %s = %v", c.r, c.a, got)
		}
	}
	if rng(t, "any").Contains(netip.Addr{}) {
		t.Error("an invalid address is in a range")
	}
}

// S48, S84: the more specific range compares lower, any is last.
func TestRangeCompareOrdersBySpecificity(t *testing.T) {
	t.Parallel()
	order := []string{"1.2.3.4", "1.2.3.5", "10.0.0.1-10.0.0.2", "10.0.0.0/24", "2001:db8::/112", "0.0.0.0/0", "2001:db8::/64", "2001:db8::/32", "::/0", "any"}
	for i, a := range order {
		for j, b := range order {
			got, want := rng(t, a).Compare(rng(t, b)), 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got != want {
				t.Errorf("%s against %s = %d, want %d", a, b, got, want)
			}
		}
	}
	for s, whole := range map[string]bool{"any": true, "0.0.0.0/0": true, "::/0": true, "0.0.0.0/1": false, "::/1": false} {
		if rng(t, s).IsWhole() != whole {
			t.Errorf("%s whole = %v", s, !whole)
		}
	}
	if n := rng(t, "10.0.0.0/24").Size(); n != 256 {
		t.Errorf("size = %d", n)
	}
	if !rng(t, "10.0.0.0/24").Overlaps(rng(t, "10.0.0.255-10.0.1.9")) || rng(t, "10.0.0.0/24").Overlaps(rng(t, "10.0.1.0/24")) {
		t.Error("Overlaps is wrong")
	}
}

// S52: an empty filter admits everyone; else only who is listed.
func TestFilterAdmitsListedSources(t *testing.T) {
	t.Parallel()
	p := &Policy{}
	if !p.Admit(addr(t, "192.0.2.1")) {
		t.Error("an empty filter refuses")
	}
	p.Server.AllowFrom = []Range{rng(t, "192.0.2.0/24"), rng(t, "2001:db8::/32")}
	for a, want := range map[string]bool{"192.0.2.9": true, "198.51.100.1": false, "2001:db8::9": true, "2001:db9::1": false, "::ffff:192.0.2.9": true} {
		if got := p.Admit(addr(t, a)); got != want {
			t.Errorf("Admit(%s) = %v", a, got)
		}
	}
}

// S44.
func TestRolesFollowMode(t *testing.T) {
	t.Parallel()
	for m, want := range map[Mode][2]bool{ModeNone: {false, false}, ModeLAC: {false, true}, ModeLNS: {true, false}, ModeBoth: {true, true}, Mode(9): {false, false}} {
		in, out := (&Policy{Server: Server{Mode: m}}).Roles()
		if in != want[0] || out != want[1] {
			t.Errorf("%v: %v, %v", m, in, out)
		}
	}
}

// P129, S46-S48: address, host name, default; most specific first whatever the order in the file.
func TestSecretByAddressThenHostNameThenDefault(t *testing.T) {
	t.Parallel()
	rule := func(from, host, secret string) SecretRule {
		return SecretRule{From: rng(t, from), HostName: host, Secret: NewSecret([]byte(secret)), None: secret == ""}
	}
	p := &Policy{
		Server: Server{Mode: ModeBoth},
		Accept: []Accept{{Template: "t"}},
		Secrets: []SecretRule{
			rule("any", "", "default"),
			rule("0.0.0.0/0", "", "default4"),
			rule("any", "Branch", "byname"),
			rule("192.168.10.0/24", "", "net"),
			rule("192.168.10.1-192.168.10.254", "", "narrow"),
			rule("192.168.10.0/24", "branch", "netname"),
			rule("192.168.10.7", "", ""),
		},
	}
	for _, c := range []struct{ src, host, want string }{
		{"2001:db8::1", "x", "default"},
		{"198.51.100.1", "x", "default4"},
		{"198.51.100.1", "bRANCH", "byname"},
		{"192.168.10.255", "x", "net"},
		{"192.168.10.255", "branch", "netname"},
		{"192.168.10.9", "x", "narrow"},
		{"192.168.10.9", "branch", "narrow"},
		{"192.168.10.7", "branch", ""},
	} {
		r := p.ForSCCRQ(addr(t, c.src), c.host, nil)
		if r.Refuse || string(r.Secret.Reveal()) != c.want {
			t.Errorf("from %s, %s: %q refuse=%v, want %q", c.src, c.host, r.Secret.Reveal(), r.Refuse, c.want)
		}
	}
}

// S83-S85: no accept entry and no call: refused. A call lets its peer in, a passive call everyone.
func TestSCCRQDefaultDeny(t *testing.T) {
	t.Parallel()
	p := &Policy{
		Server: Server{Mode: ModeBoth},
		Accept: []Accept{
			{From: rng(t, "1.1.0.0/16"), Template: "wide"},
			{From: rng(t, "1.1.1.1"), Template: "narrow", PRE13: true},
			{From: rng(t, "1.1.2.0/24"), HostName: "only", Template: "host"},
		},
		Calls: map[string]*Call{
			"a": {Name: "A", Peer: "2.2.2.2", PRE13: true},
			"b": {Name: "B", Peer: "branch.example"},
			"d": {Name: "D", Peer: "3.3.3.3", Type: CallISDN},
		},
	}
	peers := func(call string) []netip.Addr {
		if call == "b" {
			return []netip.Addr{addr(t, "2001:db8::2"), addr(t, "4.4.4.4")}
		}
		return nil
	}
	type result struct {
		Refuse, Calls, PRE13 bool
		Template             string
	}
	for _, c := range []struct {
		src, host string
		want      result
	}{
		{"1.1.9.9", "x", result{Template: "wide"}},
		{"1.1.1.1", "x", result{Template: "narrow", PRE13: true}},
		{"1.1.2.1", "x", result{Template: "wide"}},
		{"1.1.2.1", "ONLY", result{Template: "host"}},
		{"2.2.2.2", "x", result{Calls: true, PRE13: true}},
		{"::ffff:2.2.2.2", "x", result{Calls: true, PRE13: true}},
		{"2001:db8::2", "x", result{Calls: true}},
		{"4.4.4.4", "x", result{Calls: true}},
		{"3.3.3.3", "x", result{Refuse: true}},
		{"9.9.9.9", "x", result{Refuse: true}},
	} {
		r := p.ForSCCRQ(addr(t, c.src), c.host, peers)
		got := result{Refuse: r.Refuse, Calls: r.Calls, PRE13: r.PRE13}
		if r.Accept != nil {
			got.Template = r.Accept.Template
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", c.src, c.host, diff)
		}
		if r.Refuse != (r.Reason != "") {
			t.Errorf("%s: reason %q", c.src, r.Reason)
		}
	}
	if r := p.ForSCCRQ(addr(t, "4.4.4.4"), "x", nil); !r.Refuse {
		t.Error("an unresolved peer is let in")
	}
	p.Calls["e"] = &Call{Name: "E", Passive: true}
	if r := p.ForSCCRQ(addr(t, "9.9.9.9"), "x", nil); r.Refuse || !r.Calls {
		t.Errorf("S13: a passive call does not let its caller in: %+v", r)
	}
	p.Server.Mode = ModeNone
	if r := p.ForSCCRQ(addr(t, "1.1.1.1"), "x", nil); !r.Refuse {
		t.Error("S44: mode none answers")
	}
}

// S62-S64, S44, P57, P88.
func TestOfferMatchesCallThenAcceptThenRefuses(t *testing.T) {
	t.Parallel()
	both := &Policy{
		Server: Server{Mode: ModeBoth},
		Accept: []Accept{{From: rng(t, "5.0.0.0/8"), Template: "t"}},
		Calls: map[string]*Call{
			"branch": {Name: "Branch", Peer: "2.2.2.2"},
			"second": {Name: "second", Peer: "2.2.2.3", Match: "lan2"},
			"third":  {Name: "third", Peer: "2.2.2.3"},
			"roamer": {Name: "roamer", Passive: true},
			"home":   {Name: "home", Peer: "home.example"},
			"isdn":   {Name: "isdn", Peer: "2.2.2.2", Type: CallISDN},
		},
	}
	mode := func(m Mode) *Policy {
		p := *both
		p.Server.Mode = m
		return &p
	}
	peers := func(string) []netip.Addr { return []netip.Addr{addr(t, "7.7.7.7")} }
	for _, c := range []struct {
		name string
		p    *Policy
		o    Offer
		want string
	}{
		{"by name, any case", both, Offer{Source: addr(t, "2.2.2.2"), CalledNumber: "BRANCH"}, "call Branch"},
		{"by name over OCRQ", both, Offer{Source: addr(t, "2.2.2.2"), CalledNumber: "branch", Outgoing: true}, "call Branch"},
		{"by match", both, Offer{Source: addr(t, "2.2.2.3"), CalledNumber: "LAN2"}, "call second"},
		{"name hidden behind match", both, Offer{Source: addr(t, "2.2.2.3"), CalledNumber: "second"}, "cdn 6"},
		{"by name, wrong source", both, Offer{Source: addr(t, "9.9.9.9"), CalledNumber: "branch"}, "cdn 6"},
		{"by name, wrong source, accepted", both, Offer{Source: addr(t, "5.5.5.5"), CalledNumber: "branch"}, "accept t"},
		{"passive by name", both, Offer{Source: addr(t, "9.9.9.9"), CalledNumber: "roamer"}, "call roamer"},
		{"passive without name", both, Offer{Source: addr(t, "9.9.9.9")}, "cdn 3"},
		{"resolved peer by name", both, Offer{Source: addr(t, "7.7.7.7"), CalledNumber: "home"}, "call home"},
		{"by address", both, Offer{Source: addr(t, "2.2.2.2")}, "call Branch"},
		{"by address over OCRQ", both, Offer{Source: addr(t, "2.2.2.2"), Outgoing: true}, "call Branch"},
		{"by address, two calls", both, Offer{Source: addr(t, "2.2.2.3")}, "cdn 6"},
		{"temporary call", both, Offer{Source: addr(t, "5.5.5.5")}, "accept t"},
		{"temporary call over OCRQ", both, Offer{Source: addr(t, "5.5.5.5"), Outgoing: true}, "accept t"},
		{"OCRQ for a number", both, Offer{Source: addr(t, "5.5.5.5"), CalledNumber: "0312345678", Outgoing: true}, "cdn 5"},
		{"OCRQ for a fast line", both, Offer{Source: addr(t, "5.5.5.5"), MinimumBPS: VirtualSpeed + 1, Outgoing: true}, "cdn 5"},
		{"OCRQ for any speed", both, Offer{Source: addr(t, "5.5.5.5"), MinimumBPS: VirtualSpeed, Outgoing: true}, "accept t"},
		{"OCRQ with sub-address", both, Offer{Source: addr(t, "2.2.2.2"), CalledNumber: "branch", SubAddress: "1", Outgoing: true}, "cdn 5"},
		{"ICRQ in mode lac", mode(ModeLAC), Offer{Source: addr(t, "2.2.2.2"), CalledNumber: "branch"}, "cdn 5"},
		{"OCRQ in mode lns", mode(ModeLNS), Offer{Source: addr(t, "2.2.2.2"), CalledNumber: "branch", Outgoing: true}, "cdn 5"},
		{"ISDN calls answer nothing", both, Offer{Source: addr(t, "2.2.2.2"), CalledNumber: "isdn"}, "cdn 6"},
	} {
		v := c.p.ForOffer(c.o, peers)
		var got string
		switch {
		case v.Call != nil:
			got = "call " + v.Call.Name
		case v.Accept != nil:
			got = "accept " + v.Accept.Template
		case v.Refuse:
			got = fmt.Sprintf("cdn %d", v.Code)
		}
		if got != c.want {
			t.Errorf("%s: %s (%s), want %s", c.name, got, v.Reason, c.want)
		}
		if v.Refuse != (v.Reason != "") || v.Refuse && v.Code == wire.CDNError {
			t.Errorf("%s: refusal %+v", c.name, v)
		}
	}
}

// S69, P120: one of the two stays, seen from both ends; the same precedence on both ends is settled by the lower value.
func TestCrossingKeepsExactlyOne(t *testing.T) {
	t.Parallel()
	if Crossing(PrecedenceIn, false, CrossingSide{}, CrossingSide{}) || !Crossing(PrecedenceOut, false, CrossingSide{}, CrossingSide{}) {
		t.Error("in keeps the incoming call, out the outgoing one")
	}
	for _, c := range []struct{ a, b CrossingSide }{
		{CrossingSide{1, 9}, CrossingSide{2, 3}},
		{CrossingSide{1 << 63, 9}, CrossingSide{2, 3}},
		{CrossingSide{0, 9}, CrossingSide{2, 3}},
		{CrossingSide{0, 9}, CrossingSide{0, 3}},
		{CrossingSide{7, 9}, CrossingSide{7, 3}},
	} {
		if Crossing(PrecedenceIn, true, c.a, c.b) == Crossing(PrecedenceIn, true, c.b, c.a) {
			t.Errorf("%v against %v: both ends keep the same direction", c.a, c.b)
		}
	}
	if LowerWins(5, 5, 7, 7) {
		t.Error("no difference must keep nothing")
	}
	if !LowerWins(3, 0, 7, 1) || LowerWins(0, 3, 1, 7) {
		t.Error("P116: a tie breaker against none wins")
	}
}

// S183, S76, S188: peer, local address, secret and parameters make a tunnel; the call's name only with OwnTunnel.
func TestShareKeySeparatesWhatCannotShare(t *testing.T) {
	t.Parallel()
	peer := addr(t, "192.0.2.1")
	base := func() *Call { return &Call{Name: "a", Secret: NewSecret([]byte("s"))} }
	same := base()
	same.Name, same.PeerPort, same.Remote = "b", 1701, "other"
	if base().ShareKey(peer) != same.ShareKey(peer) {
		t.Error("calls of one peer do not share")
	}
	if base().ShareKey(peer) == base().ShareKey(addr(t, "192.0.2.2")) {
		t.Error("calls of two peers share")
	}
	for name, change := range map[string]func(*Call){
		"secret":  func(c *Call) { c.Secret = NewSecret([]byte("t")) },
		"none":    func(c *Call) { c.Secret = Secret{} },
		"local":   func(c *Call) { c.LocalAddr = peer },
		"port":    func(c *Call) { c.PeerPort = 1702 },
		"tunnel":  func(c *Call) { c.Tunnel.Hello = time.Second },
		"pre13":   func(c *Call) { c.PRE13 = true },
		"ignore":  func(c *Call) { c.IgnoreWindow13 = true },
		"source":  func(c *Call) { c.EphemeralPort = true },
		"private": func(c *Call) { c.OwnTunnel = true },
	} {
		c := base()
		change(c)
		if c.ShareKey(peer) == base().ShareKey(peer) {
			t.Errorf("%s: shares", name)
		}
	}
	x, y := base(), base()
	x.OwnTunnel, y.OwnTunnel, y.Name = true, true, "b"
	if x.ShareKey(peer) == y.ShareKey(peer) {
		t.Error("two calls with tunnels of their own share")
	}
}

func TestEnumNames(t *testing.T) {
	t.Parallel()
	got := fmt.Sprint(ModeNone, ModeLAC, ModeLNS, ModeBoth, Mode(7), SequencingOnRequest, SequencingAlways, SequencingStartup, Sequencing(7),
		PrecedenceIn, PrecedenceOut, Precedence(7), CallVirtual, CallISDN, CallAsync, CallType(7), MethodICRQ, MethodOCRQ, Method(7))
	want := "none lac lns both Mode(7) on-request always startup Sequencing(7) in out Precedence(7) virtual isdn async CallType(7) icrq ocrq Method(7)"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if c := (&Call{Type: CallISDN}); c.Bearer() != wire.BearerDigital || (&Call{Type: CallAsync}).Bearer() != wire.BearerAnalog || (&Call{}).Bearer() != 0 {
		t.Error("S60: bearer types")
	}
}
