package pppoe

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// bounded finds a machine that remembers more than it may.
func (w *world) bounded() {
	w.t.Helper()
	a := w.ac
	for what, n := range map[string][2]int{
		"proven stations":        {len(a.crowd.proven.all), maxStations},
		"other stations":         {len(a.crowd.others.all), maxStations},
		"proven stations' order": {a.crowd.proven.order.Len(), len(a.crowd.proven.all)},
		"other stations' order":  {a.crowd.others.order.Len(), len(a.crowd.others.all)},
		"waiting PADOs":          {len(a.delayed), maxDelayed},
		"sessions":               {len(a.sessions), a.cfg.MaxSessions},
		"requests":               {len(a.requests), len(a.sessions)},
		"clients":                {len(a.clients), len(a.sessions)},
		"resting numbers":        {len(a.resting), maxSessionID},
		"resting numbers' index": {len(a.rests), len(a.resting)},
	} {
		if n[0] > n[1] {
			w.t.Errorf("%d %s, more than %d", n[0], what, n[1])
		}
	}
}

// subscriber is a client that asks as RP-PPPoE does.
type subscriber struct {
	mac     MAC
	next    time.Duration // when it asks again
	timeout time.Duration
	asked   int
	offered bool
}

// flood lets forged PADIs come, so many a second, while subscribers want sessions. Addresses are ever new, or come again out of so
// many. It gives how often each subscriber had to ask.
func flood(w *world, perSecond, addresses int, whole time.Duration, subscribers []*subscriber) {
	w.t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range int(whole.Seconds() * float64(perSecond)) {
		w.now += time.Second / time.Duration(perSecond)
		w.ac.Expire(w.now, &w.out)
		from := client(int(r.Uint32()))
		if addresses > 0 {
			from = client(r.IntN(addresses) + 1e6)
		}
		w.padi(from)
		for _, s := range subscribers {
			if s.offered {
				continue
			}
			if w.cookies[s.mac] != nil {
				out := w.padr(s.mac)
				if s.offered = len(out.Offers) == 1; !s.offered {
					w.t.Errorf("a PADR with a valid cookie makes %+v", out)
				} else {
					w.accept(out.Offers[0].SessionID)
				}
				continue
			}
			if w.now >= s.next {
				s.asked++
				w.padi(s.mac)
				s.next, s.timeout = w.now+s.timeout, 2*s.timeout
			}
		}
		if i%1000 == 0 {
			w.bounded()
		}
		if len(w.cookies) > 4*maxStations { // those of forged addresses are nobody's
			for mac := range w.cookies {
				if mac[0] == 2 && mac[1] == 1 {
					delete(w.cookies, mac)
				}
			}
		}
	}
	w.bounded()
}

func people(n int, first time.Duration) (all []*subscriber) {
	for i := range n {
		all = append(all, &subscriber{mac: MAC{2, 9, 0, 0, 0, byte(i)}, next: first + time.Duration(i)*37*time.Millisecond, timeout: 5 * time.Second})
	}
	return all
}

// A flood of PADIs takes a bounded memory, and honest clients get through (P277): at the latest when they ask again.
func TestSubscribersGetThroughAFloodOfForgedPADIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		delay, whole         time.Duration
		perSecond, addresses int
		most                 int // times that a subscriber asks
	}{
		"ever new addresses":             {0, 11 * time.Second, 10_000, 0, 2},
		"and PADOs that wait":            {time.Second, 11 * time.Second, 10_000, 0, 2},
		"a thousand addresses again":     {0, 11 * time.Second, 10_000, 1000, 2},
		"five thousand addresses again":  {0, 19 * time.Second, 10_000, 5000, 3},
		"fewer than the interface's own": {0, 11 * time.Second, 200, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig()
			cfg.Delay = c.delay
			w := newWorld(t, cfg)
			all := people(50, 2*time.Second)
			flood(w, c.perSecond, c.addresses, c.whole, all)
			for _, s := range all {
				if !s.offered || s.asked > c.most {
					t.Errorf("%s: asked %d times, session %v", s.mac, s.asked, s.offered)
				}
			}
			if n := w.ac.Counters().Out.PADO; n > 500+500*uint64(c.whole.Seconds()) {
				t.Errorf("%d PADOs in %v", n, c.whole)
			}
		})
	}
}

// Who has had a session lately is answered at once, whatever comes from others.
func TestProvenStationsGoBeforeAFlood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testConfig())
	all := people(50, 5*time.Second)
	for _, s := range all {
		w.free(w.session(s.mac).SessionID)
		delete(w.cookies, s.mac)
	}
	flood(w, 10_000, 0, 8*time.Second, all)
	for _, s := range all {
		if !s.offered || s.asked > 1 {
			t.Errorf("%s: asked %d times, session %v", s.mac, s.asked, s.offered)
		}
	}
}

func TestSieveIsForgottenWhenItIsQuiet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testConfig())
	flood(w, 10_000, 0, time.Second, nil)
	if w.ac.crowd.visits.Empty() {
		t.Error("nothing is remembered in a flood")
	}
	for i := range 3 {
		w.now += sieveTime
		w.padi(client(i))
	}
	if !w.ac.crowd.visits.Empty() {
		t.Error("the sieves are still there")
	}
}

// No PADR without a cookie of ours, unchanged, from its address and of this interface leaves anything behind.
func TestForgedCookiesAreNeverAnswered(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	w := newWorld(t, cfg)
	w.padi(client(1))
	good := w.cookies[client(1)]
	cfg.Interface = "eth2"
	elsewhere := newWorld(t, cfg)
	cfg.Interface, cfg.CookieKey = "eth1", [32]byte{9}
	former := newWorld(t, cfg)
	elsewhere.padi(client(1))
	former.padi(client(1))
	forged := [][]byte{nil, {}, good[:len(good)-1], append(bytes.Clone(good), 0), make([]byte, 28), elsewhere.cookies[client(1)], former.cookies[client(1)]}
	for bit := range 8 * len(good) {
		b := bytes.Clone(good)
		b[bit/8] ^= 1 << (bit % 8)
		forged = append(forged, b)
	}
	for i := range 10_000 {
		w.cookies[client(i)] = forged[i%len(forged)]
		out := w.padr(client(i))
		w.cookies[client(1)] = forged[i%len(forged)]
		again := w.padr(client(1))
		if len(out.Frames)+len(out.Offers)+len(again.Frames)+len(again.Offers) > 0 {
			t.Fatalf("cookie %x: %+v, %+v", forged[i%len(forged)], out, again)
		}
	}
	if n := len(w.ac.crowd.proven.all) + len(w.ac.sessions); n > 0 {
		t.Errorf("%d stations and sessions of forged cookies", n)
	}
	counts := w.ac.Counters()
	if all := counts.Reasons(); len(all) != 1 || all["cookie"] != 20_000 {
		t.Errorf("dropped: %v", all)
	}
	w.cookies[client(1)] = good
	if out := w.padr(client(1)); len(out.Offers) != 1 {
		t.Errorf("the good cookie: %+v", out)
	}
}

// Numbers are 1 to 0xfffe, nobody has one twice, and a freed one rests.
func TestSessionNumbersAreUniqueAndRest(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	cfg.MaxSessions, cfg.Rates.PADR, cfg.Rates.PADI = maxSessionID, Rate{1e6, 1e6}, Rate{1e6, 1e6}
	w := newWorld(t, cfg)
	used := map[uint16]bool{}
	for i := range maxSessionID {
		id := w.session(client(i)).SessionID
		if id == 0 || id > maxSessionID || used[id] {
			t.Fatalf("number %d, which is used: %v", id, used[id])
		}
		used[id] = true
	}
	refused := func(from int) {
		t.Helper()
		w.padi(client(from))
		out := w.padr(client(from))
		if len(out.Frames) != 1 || len(out.Offers) > 0 {
			t.Fatalf("one session too many: %+v", out)
		}
		if p, _ := Parse(out.Frames[0]); p.SessionID != 0 || !strings.Contains(p.String(), "AC-System-Error") {
			t.Errorf("one session too many: %s", p)
		}
	}
	refused(70_000)
	w.free(4711)
	refused(70_001)
	w.now += idRest - 1
	refused(70_002)
	w.now++
	if id := w.session(client(70_003)).SessionID; id != 4711 {
		t.Errorf("number %d", id)
	}
	w.bounded()
	for id := range used {
		w.free(id)
	}
	if len(w.ac.sessions)+len(w.ac.clients)+len(w.ac.requests) > 0 {
		t.Errorf("left: %d sessions, %d clients, %d requests", len(w.ac.sessions), len(w.ac.clients), len(w.ac.requests))
	}
	w.bounded()
}

// What the owner says late, twice or about nothing does no harm, and every session ends in nothing.
func TestOwnerAndClientsInAnyOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		cfg := testConfig()
		cfg.MaxSessions, cfg.MaxSessionsPerMAC = 6, 2
		w := newWorld(t, cfg)
		open := map[uint16]MAC{}
		for range 300 {
			w.now += time.Duration(r.IntN(2000)) * time.Millisecond
			from, id := client(r.IntN(4)), uint16(5520+r.IntN(60))
			var out Output
			switch r.IntN(9) {
			case 0, 1:
				out = w.padi(from)
			case 2, 3:
				out = w.padr(from)
			case 4:
				out = w.accept(id)
			case 5:
				w.ac.Refuse(w.now, id, RefuseSystem, "no", &w.out)
				out = w.take()
				delete(open, id)
			case 6:
				w.ac.Terminate(w.now, id, "end", &w.out)
				out = w.take()
			case 7:
				out = w.free(id)
				delete(open, id)
			case 8:
				out = w.receive(Packet{Dst: ours, Src: from, Code: CodePADT, SessionID: id})
			}
			for _, o := range out.Offers {
				if _, twice := open[o.SessionID]; twice {
					t.Fatalf("seed %d: session %d is there twice", seed, o.SessionID)
				}
				open[o.SessionID] = o.Client
			}
			for _, e := range out.Ended {
				if open[e.SessionID] != from {
					t.Fatalf("seed %d: %s ended session %d of %s", seed, from, e.SessionID, open[e.SessionID])
				}
			}
			if n := w.ac.Counters().Sessions; n != len(open) {
				t.Fatalf("seed %d: %d sessions instead of %d", seed, n, len(open))
			}
			w.bounded()
		}
	}
}

// Every packet is answered, offered, or counted as dropped.
func TestEveryPacketIsAccountedFor(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	w := newWorld(t, testConfig())
	want := uint64(0)
	for range 20_000 {
		w.now += time.Millisecond
		p := Packet{Dst: ours, Src: client(r.IntN(50)), Code: []Code{CodePADI, CodePADR, CodePADT, CodePADO, CodePADS}[r.IntN(5)]}
		for range r.IntN(4) {
			p.Tags = append(p.Tags, Tag{TagType(r.IntN(3)*256 + r.IntN(6)), make([]byte, r.IntN(4))})
		}
		f := p.frame()
		if r.IntN(3) == 0 {
			f[r.IntN(len(f))] ^= byte(1 << r.IntN(8))
			f = f[:len(f)-r.IntN(3)]
		}
		w.ac.Receive(w.now, f, &w.out)
		out := w.take()
		if n := len(out.Frames) + len(out.Offers) + len(out.Ended) + len(out.Dropped); n != 1 {
			t.Fatalf("%x: %+v", f, out)
		}
		want += uint64(len(out.Dropped))
	}
	got := uint64(0)
	c := w.ac.Counters()
	for _, n := range c.Dropped {
		got += n
	}
	if got != want || c.Malformed() == 0 || c.Malformed() >= got {
		t.Errorf("%d dropped, counted %d, malformed %d", want, got, c.Malformed())
	}
}

func TestConfigurationsThatCannotBe(t *testing.T) {
	t.Parallel()
	for text, change := range map[string]func(*Config){
		"name is empty":           func(c *Config) { c.ServiceNames = []string{""} },
		"a name is empty":         func(c *Config) { c.ACName = "" },
		"longer than":             func(c *Config) { c.ACName = strings.Repeat("x", 256) },
		"not UTF-8":               func(c *Config) { c.ACName = "a\xff" },
		"there twice":             func(c *Config) { c.ServiceNames = []string{"a", "b", "a"} },
		"all names take":          func(c *Config) { c.ServiceNames = strings.Split(strings.Repeat("x,", 250)+"y", ",") },
		"delay":                   func(c *Config) { c.Delay = 11 * time.Second },
		"delay -1s":               func(c *Config) { c.Delay = -time.Second },
		"limit of 65535 sessions": func(c *Config) { c.MaxSessions = 65535 },
		"-1 sessions for one":     func(c *Config) { c.MaxSessionsPerMAC = -1 },
		"payload 1000":            func(c *Config) { c.MaxPayload = 1000 },
		"rate of -1":              func(c *Config) { c.Rates.PADI.PerSecond = -1 },
		"no key":                  func(c *Config) { c.CookieKey = [32]byte{} },
	} {
		cfg := testConfig()
		change(&cfg)
		if _, err := NewAC(cfg); err == nil || !strings.Contains(err.Error(), text) && text != "all names take" {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTextForClientsIsCutToWhatFits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		room int
		want string
	}{
		{"short", 100, "short"},
		{"short", 3, "sho"},
		{"müde", 2, "m"},
		{"müde", 3, "mü"},
		{"x", 0, ""},
		{"x", -5, ""},
		{"a\x00b\xffc", 100, "a?b?c"},
		{strings.Repeat("x", 1000), 1000, strings.Repeat("x", maxText)},
	} {
		if got := fit(c.in, c.room); got != c.want {
			t.Errorf("%q in %d: %q", c.in, c.room, got)
		}
	}
}

// FuzzReceive feeds frames, each behind its length, to an AC whose owner agrees to everything: nothing panics, an answer is bounded
// and goes to its sender, and nothing is kept of the input.
func FuzzReceive(f *testing.F) {
	var all []byte
	for _, frame := range seeds(f) {
		all = append(append(all, byte(len(frame))), frame...)
		f.Add(append([]byte{byte(len(frame))}, frame...))
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, in []byte) {
		w := newWorld(t, testConfig())
		for len(in) > 0 {
			n := min(int(in[0]), len(in)-1)
			frame := bytes.Clone(in[1 : 1+n])
			in = in[1+n:]
			if len(frame) >= etherHeader && frame[0] != 0xff {
				copy(frame, ours[:])
			}
			var from MAC
			if len(frame) >= 12 {
				from = MAC(frame[6:])
			}
			w.now += 100 * time.Millisecond
			w.ac.Receive(w.now, frame, &w.out)
			clear(frame)
			out := w.take()
			for _, o := range out.Offers {
				if w.cookies[from] == nil || o.Client != from {
					t.Errorf("offer without cookie: %+v", o)
				}
				out.Frames = append(out.Frames, w.accept(o.SessionID).Frames...)
			}
			for _, answer := range out.Frames {
				if MAC(answer) != from || len(answer) > 1514 {
					t.Errorf("answer %x", answer)
				}
			}
			if len(out.Frames) > 1 {
				t.Errorf("%d answers", len(out.Frames))
			}
			w.bounded()
		}
	})
}
