package ppp

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, d)
	}
}

// scene is a whole run between two links.
type scene struct {
	name string
	a, b Config
	set  func(a, b *owner)
	act  func(c *cable) // nil: a minute, then b closes
	dead bool           // no frame arrives
	lac  *Config        // a is called through one, and told what it knows; take says what a makes of it
	take Proxy
	// what both ends must say in the end
	reasonA, reasonB Reason
}

var (
	onlyPAP   = []AuthMethod{AuthPAP}
	onlyCHAP  = []AuthMethod{AuthCHAPMD5}
	chapOrPAP = []AuthMethod{AuthCHAPMD5, AuthPAP}
	onlyMSv1  = []AuthMethod{AuthMSCHAPv1}
	onlyMSv2  = []AuthMethod{AuthMSCHAPv2}
	allCHAPs  = []AuthMethod{AuthMSCHAPv2, AuthMSCHAPv1, AuthCHAPMD5}
)

// own and request are the two sides of a dial-in link.
func own() Config { return Config{Name: "lns", IPv4: IPv4Own, Local: addr("10.0.0.1")} }

func request() Config {
	return Config{User: "bob", Password: []byte("secret"), IPv4: IPv4Request}
}

func dialIn(a, _ *owner) {
	a.users["bob"] = "secret"
	a.give = addr("10.0.0.2")
}

func with(c Config, f func(c *Config)) Config {
	f(&c)
	return c
}

func quiet(d time.Duration) func(*cable) { return func(c *cable) { c.run(d) } }

// unjudged has nobody judge a logged-in b's answers for two challenges. The third is judged well, the fourth badly.
func unjudged(c *cable) {
	c.run(time.Minute)
	c.a.blind = true
	c.run(10 * time.Minute)
	c.a.blind = false
	c.run(5 * time.Minute)
	delete(c.a.users, "bob")
	c.run(5 * time.Minute)
}

// unplug lets the line go dead after both ends are up.
func unplug(c *cable) {
	c.run(time.Second)
	c.loss = 100
	c.run(10 * time.Minute)
}

func scenes() []scene {
	scenes := append(authScenes(), mschapScenes()...)
	scenes = append(scenes, mppeScenes()...)
	scenes = append(scenes, proxyScenes()...)
	scenes = append(scenes, holdScenes()...)
	scenes = append(scenes, networkScenes()...)
	return append(scenes, endScenes()...)
}

func authScenes() []scene {
	return []scene{
		{name: "none", a: own(), b: request(), set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
		// P257
		{name: "pap", a: demand(onlyPAP), b: answer(onlyPAP), set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{name: "pap-wrong-password", a: demand(onlyPAP), b: wrong(onlyPAP), set: dialIn, act: quiet(time.Minute), reasonA: ReasonAuthFailed, reasonB: ReasonAuthFailed},
		// P258
		{name: "chap", a: demand(onlyCHAP), b: answer(onlyCHAP), set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{name: "chap-wrong-password", a: demand(onlyCHAP), b: wrong(onlyCHAP), set: dialIn, act: quiet(time.Minute), reasonA: ReasonAuthFailed, reasonB: ReasonAuthFailed},
		{
			name: "chap-rechallenge", a: with(demand(onlyCHAP), func(c *Config) { c.Rechallenge = 20 * time.Second }), b: answer(onlyCHAP), set: dialIn,
			reasonA: ReasonPeer, reasonB: ReasonLocal,
		},
		{
			name: "chap-rechallenge-refused", a: with(demand(onlyCHAP), func(c *Config) { c.Rechallenge = 20 * time.Second }), b: answer(onlyCHAP), set: dialIn,
			act:     func(c *cable) { c.run(time.Second); delete(c.a.users, "bob"); c.run(time.Minute) },
			reasonA: ReasonAuthFailed, reasonB: ReasonAuthFailed,
		},
		// P237: b repeats its Response until it gives up, and is challenged anew all the same.
		{
			name: "chap-rechallenge-unjudged", a: with(demand(onlyCHAP), func(c *Config) { c.Rechallenge = 5 * time.Minute }), b: answer(onlyCHAP), set: dialIn,
			act: unjudged, reasonA: ReasonAuthFailed, reasonB: ReasonAuthFailed,
		},
		{
			name: "chap-unjudged", a: demand(onlyCHAP), b: answer(onlyCHAP), set: func(a, b *owner) { dialIn(a, b); a.blind = true },
			act: quiet(time.Minute), reasonA: ReasonAuthFailed, reasonB: ReasonAuthFailed,
		},
		// P256
		{name: "auth-second-choice", a: demand(chapOrPAP), b: answer(onlyPAP), set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{name: "auth-refused", a: demand(chapOrPAP), b: answer(nil), set: dialIn, act: quiet(time.Minute), reasonA: ReasonAuthRefused, reasonB: ReasonPeer},
		{name: "auth-no-common-method", a: demand(onlyPAP), b: answer(onlyCHAP), set: dialIn, act: quiet(time.Minute), reasonA: ReasonAuthRefused, reasonB: ReasonPeer},
		{
			name: "auth-mutual",
			a:    with(demand(onlyCHAP), func(c *Config) { c.Answer, c.User, c.Password = onlyPAP, "lns", []byte("net") }),
			b:    with(answer(onlyCHAP), func(c *Config) { c.Auth, c.Password = onlyPAP, []byte("secret") }),
			set:  func(a, b *owner) { dialIn(a, b); b.users["lns"] = "net" }, reasonA: ReasonPeer, reasonB: ReasonLocal,
		},
		{
			name: "auth-timeout", a: with(demand(onlyCHAP), func(c *Config) { c.AuthTimeout = 20 * time.Second }), b: answer(onlyCHAP),
			set: func(a, b *owner) { dialIn(a, b); a.slow = true }, act: quiet(2 * time.Minute),
			reasonA: ReasonAuthTimeout, reasonB: ReasonPeer,
		},
	}
}

func demand(m []AuthMethod) Config { return with(own(), func(c *Config) { c.Auth = m }) }

func answer(m []AuthMethod) Config { return with(request(), func(c *Config) { c.Answer = m }) }

func wrong(m []AuthMethod) Config {
	return with(answer(m), func(c *Config) { c.Password = []byte("wrong") })
}

func mschapScenes() []scene {
	domain := with(answer(onlyMSv2), func(c *Config) { c.User = `BIGCO\bob` })
	both := func(c Config) Config {
		return with(c, func(c *Config) { c.Auth, c.Answer, c.User = onlyMSv2, onlyMSv2, c.Name+c.User })
	}
	return []scene{
		// P260
		{name: "mschapv2", a: demand(onlyMSv2), b: answer(onlyMSv2), set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{
			name: "mschapv2-wrong-password", a: demand(onlyMSv2), b: wrong(onlyMSv2), set: dialIn, act: quiet(time.Minute),
			reasonA: ReasonAuthFailed, reasonB: ReasonAuthFailed,
		},
		{
			name: "mschapv2-domain", a: demand(onlyMSv2), b: domain,
			set:     func(a, b *owner) { dialIn(a, b); a.users[`BIGCO\bob`] = "secret" },
			reasonA: ReasonPeer, reasonB: ReasonLocal,
		},
		{
			name: "mschapv2-server-lies", a: demand(onlyMSv2), b: answer(onlyMSv2), set: func(a, b *owner) { dialIn(a, b); a.liar = true },
			act: quiet(time.Minute), reasonA: ReasonPeer, reasonB: ReasonAuthFailed,
		},
		{
			name: "mschapv2-rechallenge", a: with(demand(onlyMSv2), func(c *Config) { c.Rechallenge = 20 * time.Second }), b: answer(onlyMSv2),
			set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal,
		},
		{
			name: "mschapv2-rechallenge-refused", a: with(demand(onlyMSv2), func(c *Config) { c.Rechallenge = 20 * time.Second }),
			b: answer(onlyMSv2), set: dialIn,
			act:     func(c *cable) { c.run(time.Second); delete(c.a.users, "bob"); c.run(time.Minute) },
			reasonA: ReasonAuthFailed, reasonB: ReasonAuthFailed,
		},
		{
			name: "mschapv2-rechallenge-unjudged", a: with(demand(onlyMSv2), func(c *Config) { c.Rechallenge = 5 * time.Minute }), b: answer(onlyMSv2), set: dialIn,
			act: unjudged, reasonA: ReasonAuthFailed, reasonB: ReasonAuthFailed,
		},
		{
			name: "mschapv2-mutual", a: both(own()), b: both(request()),
			set:     func(a, b *owner) { dialIn(a, b); a.cfg.Password = []byte("net"); b.users["lns"] = "net" },
			reasonA: ReasonPeer, reasonB: ReasonLocal,
		},
		// P259
		{name: "mschapv1", a: demand(onlyMSv1), b: answer(onlyMSv1), set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{
			name: "mschapv1-wrong-password", a: demand(onlyMSv1), b: wrong(onlyMSv1), set: dialIn, act: quiet(time.Minute),
			reasonA: ReasonAuthFailed, reasonB: ReasonAuthFailed,
		},
		// P256
		{name: "mschap-third-choice", a: demand(allCHAPs), b: answer(onlyCHAP), set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{
			name: "mschap-no-common-method", a: demand(onlyMSv2), b: answer(chapOrPAP), set: dialIn, act: quiet(time.Minute),
			reasonA: ReasonAuthRefused, reasonB: ReasonPeer,
		},
	}
}

func mppe(c Config, m MPPEMode) Config { return with(c, func(c *Config) { c.MPPE = m }) }

func mppeScenes() []scene {
	lns, client := demand(onlyMSv2), answer(onlyMSv2)
	both := func(c Config) Config {
		return with(c, func(c *Config) { c.Auth, c.Answer, c.User, c.MPPE = onlyMSv2, onlyMSv2, c.Name+c.User, MPPERequire })
	}
	six := func(c Config) Config { return with(c, func(c *Config) { c.IPv6 = true }) }
	broken := func(who func(a, b *owner) *owner) func(a, b *owner) {
		return func(a, b *owner) { dialIn(a, b); who(a, b).kernel.broken = true }
	}
	first, second := func(a, _ *owner) *owner { return a }, func(_, b *owner) *owner { return b }
	return []scene{
		// P261
		{name: "mppe", a: mppe(lns, MPPERequire), b: mppe(client, MPPERequire), set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{name: "mppe-allow", a: mppe(lns, MPPEAllow), b: mppe(client, MPPEAllow), set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{name: "mppe-one-requires", a: six(mppe(lns, MPPEAllow)), b: six(mppe(client, MPPERequire)), set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{
			name: "mppe-mschapv1", a: mppe(demand(onlyMSv1), MPPERequire), b: mppe(answer(onlyMSv1), MPPERequire), set: dialIn,
			reasonA: ReasonPeer, reasonB: ReasonLocal,
		},
		{
			name: "mppe-refused", a: mppe(lns, MPPERequire), b: client, set: dialIn, act: quiet(time.Minute),
			reasonA: ReasonNoEncryption, reasonB: ReasonPeer,
		},
		{name: "mppe-allow-refused", a: mppe(lns, MPPEAllow), b: client, set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{
			name: "mppe-without-keys", a: mppe(demand(onlyCHAP), MPPERequire), b: mppe(answer(onlyCHAP), MPPEAllow), set: dialIn,
			act: quiet(time.Minute), reasonA: ReasonNoEncryption, reasonB: ReasonPeer,
		},
		{name: "mppe-allow-without-keys", a: mppe(demand(onlyCHAP), MPPEAllow), b: mppe(answer(onlyCHAP), MPPEAllow), set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{
			name: "mppe-auth-in-both-directions", a: both(own()), b: both(request()),
			set: func(a, b *owner) { dialIn(a, b); a.cfg.Password = []byte("net"); b.users["lns"] = "net" },
			act: quiet(time.Minute), reasonA: ReasonNoEncryption, reasonB: ReasonNoEncryption,
		},
		{
			name: "mppe-kernel-cannot", a: mppe(lns, MPPERequire), b: mppe(client, MPPERequire), set: broken(first), act: quiet(time.Minute),
			reasonA: ReasonNoEncryption, reasonB: ReasonPeer,
		},
		{
			name: "mppe-kernel-of-the-peer-cannot", a: mppe(lns, MPPERequire), b: mppe(client, MPPEAllow), set: broken(second),
			act: quiet(time.Minute), reasonA: ReasonNoEncryption, reasonB: ReasonPeer,
		},
		{name: "mppe-allow-kernel-cannot", a: mppe(lns, MPPEAllow), b: mppe(client, MPPEAllow), set: broken(first), reasonA: ReasonPeer, reasonB: ReasonLocal},
	}
}

func proxyScenes() []scene {
	lac := func(m []AuthMethod) *Config { return &Config{Name: "lac", Auth: m, MRU: 1492} }
	take := func(lcp ProxyLCP, auth ProxyAuth) Proxy { return Proxy{LCP: lcp, Auth: auth} }
	accept := take(ProxyLCPAccept, ProxyAuthAccept)
	s := []scene{
		// P190, P200
		{name: "proxy-chap", a: demand(onlyCHAP), b: answer(chapOrPAP), lac: lac(onlyCHAP), take: accept},
		{name: "proxy-pap", a: demand(chapOrPAP), b: answer(onlyPAP), lac: lac(onlyPAP), take: accept},
		{name: "proxy-mschapv1", a: demand(onlyMSv1), b: answer(onlyMSv1), lac: lac(onlyMSv1), take: accept},
		{name: "proxy-mschapv1-mppe", a: mppe(demand(onlyMSv1), MPPERequire), b: mppe(answer(onlyMSv1), MPPEAllow), lac: lac(onlyMSv1), take: accept},
		{
			name: "proxy-chap-rechallenge", a: with(demand(onlyCHAP), func(c *Config) { c.Rechallenge = 20 * time.Second }),
			b: answer(onlyCHAP), lac: lac(onlyCHAP), take: accept,
		},
		// P194
		{name: "proxy-auth-rechallenge", a: demand(onlyCHAP), b: answer(onlyCHAP), lac: lac(onlyCHAP), take: take(ProxyLCPAccept, ProxyAuthRechallenge)},
		{name: "proxy-auth-rechallenge-pap", a: demand(onlyPAP), b: answer(onlyPAP), lac: lac(onlyPAP), take: take(ProxyLCPAccept, ProxyAuthRechallenge)},
		{name: "proxy-auth-renegotiate", a: demand(onlyCHAP), b: answer(chapOrPAP), lac: lac(onlyPAP), take: take(ProxyLCPAccept, ProxyAuthRenegotiate)},
		// P196, P189
		{name: "proxy-without-auth", a: demand(onlyMSv2), b: answer(onlyMSv2), lac: lac(onlyMSv2), take: accept},
		{name: "proxy-none", a: own(), b: request(), lac: lac(nil), take: accept},
		// P192, P197
		{name: "proxy-mismatch", a: demand(onlyCHAP), b: answer(chapOrPAP), lac: lac(onlyPAP), take: take(ProxyLCPMismatch, ProxyAuthAccept)},
		{name: "proxy-lcp-renegotiate", a: demand(onlyCHAP), b: answer(onlyCHAP), lac: lac(onlyCHAP), take: take(ProxyLCPRenegotiate, ProxyAuthAccept)},
	}
	for i := range s {
		s[i].set, s[i].reasonA, s[i].reasonB = dialIn, ReasonPeer, ReasonLocal
	}
	return append(s,
		// P191
		scene{
			name: "proxy-chap-wrong-password", a: demand(onlyCHAP), b: wrong(onlyCHAP), lac: lac(onlyCHAP), take: accept, set: dialIn,
			act: quiet(time.Minute), reasonA: ReasonAuthFailed, reasonB: ReasonAuthFailed,
		},
		scene{
			name: "proxy-pap-wrong-password", a: demand(onlyPAP), b: wrong(onlyPAP), lac: lac(onlyPAP), take: accept, set: dialIn,
			act: quiet(time.Minute), reasonA: ReasonAuthFailed, reasonB: ReasonAuthFailed,
		})
}

func networkScenes() []scene {
	unnumbered := Config{IPv4: IPv4Unnumbered}
	local := with(unnumbered, func(c *Config) { c.Local = addr("192.168.1.1") })
	v6 := Config{IPv6: true}
	fixed := func(local string) Config { return with(own(), func(c *Config) { c.Local = addr(local) }) }
	return []scene{
		// P262
		{name: "ipv4-unnumbered", a: unnumbered, b: unnumbered, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{name: "ipv4-unnumbered-one-address", a: local, b: unnumbered, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{name: "ipv4-unnumbered-asked-for-an-address", a: local, b: Config{IPv4: IPv4Request}, set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{name: "ipv4-unnumbered-has-no-address-to-give", a: local, b: Config{IPv4: IPv4Request}, act: quiet(time.Minute), reasonA: ReasonPeer, reasonB: ReasonNoNetwork},
		{name: "ipv4-peer-without-option", a: own(), b: unnumbered, set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{
			name: "ipv4-both-own", a: fixed("10.0.0.1"), b: fixed("10.0.0.2"),
			set:     func(a, b *owner) { a.give, b.give = addr("10.0.0.2"), addr("10.0.0.1") },
			reasonA: ReasonPeer, reasonB: ReasonLocal,
		},
		{
			name: "ipv4-nak-loop", a: fixed("10.0.0.1"), b: fixed("10.0.0.9"),
			set:     func(a, b *owner) { a.give, b.give = addr("10.0.0.2"), addr("10.0.0.1") },
			act:     quiet(time.Minute),
			reasonA: ReasonNoNetwork, reasonB: ReasonPeer,
		},
		{name: "ipv4-no-address", a: own(), b: request(), act: quiet(time.Minute), reasonA: ReasonNoNetwork, reasonB: ReasonPeer},
		// P263
		{
			name: "ipv4-dns", a: with(own(), func(c *Config) { c.DNS = []netip.Addr{addr("192.0.2.53")} }),
			b: with(request(), func(c *Config) { c.WantDNS = true }), set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal,
		},
		// P264
		{name: "ipv6-only", a: v6, b: v6, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{
			name: "ipv6-assigned", a: Config{IPv6: true, IPv6ID: 1, PeerIPv6ID: 2}, b: v6,
			reasonA: ReasonPeer, reasonB: ReasonLocal,
		},
		{
			name: "ipv6-same-identifier", a: Config{IPv6: true, IPv6ID: 1}, b: Config{IPv6: true, IPv6ID: 1},
			reasonA: ReasonPeer, reasonB: ReasonLocal,
		},
		{
			name: "ipv4-and-ipv6", a: with(own(), func(c *Config) { c.IPv6 = true }), b: with(request(), func(c *Config) { c.IPv6 = true }),
			set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal,
		},
		// P265
		{name: "one-network-refused", a: with(own(), func(c *Config) { c.IPv6 = true }), b: request(), set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{name: "no-common-network", a: own(), b: v6, set: dialIn, act: quiet(time.Minute), reasonA: ReasonNoNetwork, reasonB: ReasonNoNetwork},
		// P253
		{name: "mru", a: with(own(), func(c *Config) { c.MRU = 1460 }), b: with(request(), func(c *Config) { c.MRU = 1492 }), set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
	}
}

func endScenes() []scene {
	echo := func(c Config) Config {
		return with(c, func(c *Config) { c.EchoInterval = 10 * time.Second })
	}
	passive := func(c Config) Config { return with(c, func(c *Config) { c.Passive = true }) }
	return []scene{
		{name: "passive", a: passive(own()), b: request(), set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{name: "passive-twice", a: passive(own()), b: passive(request()), act: quiet(time.Minute), reasonA: ReasonNoAnswer, reasonB: ReasonNoAnswer},
		{
			name: "no-answer", a: own(), b: with(request(), func(c *Config) { c.MaxConfigure, c.Restart = 3, time.Second }),
			dead: true, act: quiet(time.Minute), reasonA: ReasonNoAnswer, reasonB: ReasonNoAnswer,
		},
		// P255
		{name: "echo", a: echo(own()), b: request(), set: dialIn, reasonA: ReasonPeer, reasonB: ReasonLocal},
		{name: "echo-lost", a: echo(own()), b: echo(request()), set: dialIn, act: unplug, reasonA: ReasonEcho, reasonB: ReasonEcho},
		{
			name: "idle", a: with(own(), func(c *Config) { c.IdleTimeout = time.Minute }), b: request(),
			set: func(a, b *owner) { dialIn(a, b); a.idle = 20 * time.Second },
			act: func(c *cable) {
				c.run(61 * time.Second)
				c.a.idle = time.Minute
				c.run(time.Minute)
			},
			reasonA: ReasonIdle, reasonB: ReasonPeer,
		},
		{
			name: "session-time", a: with(own(), func(c *Config) { c.SessionTimeout = time.Hour }), b: request(), set: dialIn,
			act: quiet(2 * time.Hour), reasonA: ReasonSessionTime, reasonB: ReasonPeer,
		},
		// P266
		{
			name: "both-close", a: own(), b: request(), set: dialIn,
			act: func(c *cable) {
				c.run(time.Second)
				c.do(c.a, CmdClose{Text: "left"})
				c.do(c.b, CmdClose{Text: "right"})
				c.run(time.Minute)
			},
			reasonA: ReasonLocal, reasonB: ReasonLocal,
		},
	}
}

// Whole negotiations between two links, event by event: testdata/transcript.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			a, b := newOwner(t, "a", s.a), newOwner(t, "b", s.b)
			c := newCable(t, a, b)
			if s.set != nil {
				s.set(a, b)
			}
			if s.dead {
				c.loss = 100
			}
			if s.lac != nil {
				c.callThrough(*s.lac, s.take)
			}
			c.open()
			if s.act == nil {
				c.run(time.Minute)
				if len(a.up) == 0 || len(a.up) != len(b.up) {
					t.Errorf("networks up: a %v, b %v", a.up, b.up)
				}
				checkKeys(t, c)
				c.do(b, CmdClose{Text: "bye"})
				c.run(time.Minute)
			} else {
				s.act(c)
			}
			golden(t, filepath.Join("transcript", s.name+".txt"), c.log.String())
			if len(a.downs) != 1 || len(b.downs) != 1 {
				t.Fatalf("EvLinkDown: a %d times, b %d times, want once each", len(a.downs), len(b.downs))
			}
			if a.downs[0].Reason != s.reasonA || b.downs[0].Reason != s.reasonB {
				t.Errorf("ended with %v and %v, want %v and %v", a.downs[0].Reason, b.downs[0].Reason, s.reasonA, s.reasonB)
			}
		})
	}
}

// checkKeys wants the kernels of both ends to agree on encryption.
func checkKeys(t *testing.T, c *cable) {
	t.Helper()
	a, b := c.a.kernel, c.b.kernel
	if a.encrypting() != b.encrypting() || !bytes.Equal(a.tx, b.rx) && a.up || !bytes.Equal(a.rx, b.tx) && b.up {
		t.Errorf("the kernels disagree: %+v and %+v\n%s", a, b, c.log.String())
	}
	if !a.encrypting() && (c.a.cfg.MPPE == MPPERequire || c.b.cfg.MPPE == MPPERequire) && len(c.a.up) > 0 {
		t.Errorf("up without encryption\n%s", c.log.String())
	}
}
