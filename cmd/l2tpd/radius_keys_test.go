package main

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/l2tpd/l2tpd/pkg/auth/radius"
	"github.com/l2tpd/l2tpd/pkg/config"
	"github.com/l2tpd/l2tpd/pkg/policy"
)

// Every key of radius, of its servers and of its clients is in what the client and the listeners are made of.
func TestEveryRADIUSKeyReachesTheClient(t *testing.T) {
	t.Parallel()
	const text = `
server: {hostname: host}
radius:
  dead_time: 90s
  nas_identifier: edge1
  nas_address: 192.0.2.1
  spool: /var/spool/records
  spool_size: 2MiB
  servers:
    - {address: 192.0.2.9, port: 1645, accounting_port: 1646, secret: the secret of the server, timeout: 500ms, tries: 2, source: 192.0.2.1,
       message_authenticator: accept-missing}
    - {address: 192.0.2.10, secret: the secret of the other, logins: off}
    - {address: 2001:db8::1, secret: the secret of the third, accounting: off}
`
	c, err := config.Parse("x.yaml", []byte(text), config.Env{})
	if err != nil {
		t.Fatal(err)
	}
	r := &radiusFor{log: slog.New(slog.DiscardHandler)}
	got, err := r.config(c.Policy.RADIUS, "host")
	if err != nil {
		t.Fatal(err)
	}
	secret := func(s string) policy.Secret { return policy.NewSecret([]byte(s)) }
	at := netip.MustParseAddrPort
	want := radius.Config{
		DeadTime: 90 * time.Second, NAS: radius.NAS{Identifier: "edge1", IPv4: netip.MustParseAddr("192.0.2.1")},
		Spool: radius.Spool{Dir: "/var/spool/records", MaxOctets: 2 << 20},
		Servers: []radius.Server{
			{
				Name: "192.0.2.9", Auth: at("192.0.2.9:1645"), Accounting: at("192.0.2.9:1646"), Secret: secret("the secret of the server"),
				Timeout: 500 * time.Millisecond, Tries: 2, Source: netip.MustParseAddr("192.0.2.1"), AllowUnsigned: true,
			},
			{Name: "192.0.2.10", Accounting: at("192.0.2.10:1813"), Secret: secret("the secret of the other"), Timeout: 3 * time.Second, Tries: 3},
			{Name: "2001:db8::1", Auth: at("[2001:db8::1]:1812"), Secret: secret("the secret of the third"), Timeout: 3 * time.Second, Tries: 3},
		},
	}
	same := cmp.Options{
		cmpopts.IgnoreFields(radius.Config{}, "Logger", "Now"), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}),
		cmp.Comparer(func(a, b policy.Secret) bool { return string(a.Reveal()) == string(b.Reveal()) }),
	}
	if d := cmp.Diff(want, got, same); d != "" {
		t.Error(d)
	}
	if n := nas(policy.RADIUS{Address: netip.MustParseAddr("2001:db8::2")}, "host"); n.Identifier != "host" || n.IPv6 != netip.MustParseAddr("2001:db8::2") || n.IPv4.IsValid() {
		t.Errorf("%+v", n)
	}
}

// Those who may send orders, from where, and with what secret.
func TestEveryCoAKeyReachesTheListeners(t *testing.T) {
	t.Parallel()
	const text = `
server: {hostname: host}
radius:
  servers: [{address: 192.0.2.9, secret: the secret of the server}]
  coa:
    listen: ["127.0.0.1:3799", "[::1]:3800"]
    clients:
      - {from: 192.0.2.0/24, secret: the secret of the clients, message_authenticator: require}
      - {from: any, secret: the secret of all others}
`
	c, err := config.Parse("x.yaml", []byte(text), config.Env{})
	if err != nil {
		t.Fatal(err)
	}
	r := &radiusFor{log: slog.New(slog.DiscardHandler)}
	all := r.listeners(c.Policy.RADIUS, "host", nil)
	if len(all) != 2 || all[0].Address != c.Policy.RADIUS.CoAListen[0] || all[1].Address != c.Policy.RADIUS.CoAListen[1] {
		t.Fatalf("%+v", all)
	}
	for _, l := range all {
		if len(l.Peers) != 2 || l.NAS.Identifier != "host" {
			t.Fatalf("%+v", l)
		}
		for i, want := range []struct {
			from, secret string
			signed       bool
		}{{"192.0.2.7", "the secret of the clients", true}, {"198.51.100.1", "the secret of all others", false}} {
			p := l.Peers[i]
			if !p.From.Contains(netip.MustParseAddr(want.from)) || string(p.Secret.Reveal()) != want.secret || p.Signed != want.signed {
				t.Errorf("client %d: %+v", i, p)
			}
		}
		if l.Peers[0].From.Contains(netip.MustParseAddr("198.51.100.1")) {
			t.Errorf("%+v", l.Peers[0])
		}
	}
}
