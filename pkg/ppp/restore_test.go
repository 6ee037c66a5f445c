package ppp

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// lossy makes a run over a bad line for its first minute, over a good one afterwards.
func lossy(t *testing.T, s scene, seed int64, reopen func(*owner, Time)) *cable {
	t.Helper()
	keep := func(c *Config) { c.EchoInterval = 10 * time.Second; c.Random = nil }
	a, b := newOwner(t, "a", with(s.a, keep)), newOwner(t, "b", with(s.b, keep))
	a.cfg.Random, b.cfg.Random = keyed(seed*2), keyed(seed*2+1)
	a.reopen, b.reopen = reopen, reopen
	if s.set != nil {
		s.set(a, b)
	}
	c := newCable(t, a, b)
	if s.lac != nil {
		c.callThrough(*s.lac, s.take)
	}
	c.rng = keyed(seed)
	c.loss, c.dup, c.late = 20, 20, 20
	if s.dead {
		c.loss = 100
	}
	c.open()
	c.run(time.Minute)
	c.loss, c.dup, c.late = 0, 0, 0
	if s.dead {
		c.loss = 100
	}
	c.run(5 * time.Minute)
	return c
}

// A line that loses, doubles and reorders a fifth of all frames each ends in agreement: both ends up with the same
// networks, or both down, within bounded traffic.
func TestLossyLineEndsInAgreement(t *testing.T) {
	t.Parallel()
	var up, runs int
	for _, s := range scenes() {
		for seed := int64(1); seed <= 25; seed++ {
			c := lossy(t, s, seed, nil)
			a, b := c.a, c.b
			runs++
			if len(a.downs) != len(b.downs) {
				t.Fatalf("%s, seed %d: a down %v, b down %v\n%s", s.name, seed, a.downs, b.downs, c.log.String())
			}
			if len(a.downs) > 1 || len(b.downs) > 1 {
				t.Fatalf("%s, seed %d: down more than once", s.name, seed)
			}
			if d := cmp.Diff(keys(a.up), keys(b.up)); d != "" {
				t.Fatalf("%s, seed %d: networks differ (-a +b):\n%s%s", s.name, seed, d, c.log.String())
			}
			checkKeys(t, c)
			if len(a.up) > 0 {
				up++
				if a.up[ProtoIPv4].Local != b.up[ProtoIPv4].Peer && a.cfg.IPv4 != IPv4Unnumbered && b.cfg.IPv4 != IPv4Unnumbered {
					t.Errorf("%s, seed %d: addresses disagree: %v and %v", s.name, seed, a.up, b.up)
				}
			}
			if frames := strings.Count(c.log.String(), "> "); frames > 700 {
				t.Fatalf("%s, seed %d: %d frames\n%s", s.name, seed, frames, c.log.String())
			}
		}
	}
	if up*2 < runs {
		t.Errorf("only %d of %d runs came up", up, runs)
	}
}

func keys(m map[Protocol]EvNetworkUp) map[Protocol]bool {
	out := map[Protocol]bool{}
	for k := range m {
		out[k] = true
	}
	return out
}

// frames keeps the lines of a transcript that the other side can see.
func frames(log string) []string {
	var out []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, "> ") {
			out = append(out, line)
		}
	}
	return out
}

// Cutting a run at random events, and at every event, and restoring both ends from their records changes no frame.
func TestRestoreChangesNoFrame(t *testing.T) {
	t.Parallel()
	for _, s := range scenes() {
		for seed := int64(1); seed <= 3; seed++ {
			want := frames(lossy(t, s, seed, nil).log.String())
			for _, every := range []int{1, 3} {
				cut := rand.New(rand.NewSource(seed))
				got := frames(lossy(t, s, seed, func(o *owner, now Time) {
					if cut.Intn(every) == 0 {
						restart(o, now)
					}
				}).log.String())
				if d := cmp.Diff(want, got); d != "" {
					t.Fatalf("%s, seed %d, every %d (-whole +cut):\n%s", s.name, seed, every, d)
				}
			}
		}
	}
}

// A crash loses what came after the latest Persist. That may cost a repetition, never the agreement of the two ends.
func TestCrashGoesOnFromThePersistedRecord(t *testing.T) {
	t.Parallel()
	up, runs := 0, 0
	for _, s := range scenes() {
		for seed := int64(1); seed <= 8; seed++ {
			cut := keyed(seed)
			c := lossy(t, s, seed, func(o *owner, now Time) {
				if cut.Intn(3) == 0 {
					restartFrom(o, o.saved, now)
				}
			})
			checkKeys(t, c)
			if len(c.a.downs) != len(c.b.downs) || !cmp.Equal(keys(c.a.up), keys(c.b.up)) {
				t.Fatalf("%s, seed %d: a up %v down %v, b up %v down %v\n%s", s.name, seed, c.a.up, c.a.downs, c.b.up, c.b.downs, c.log.String())
			}
			runs++
			if len(c.a.up) > 0 {
				up++
			}
		}
	}
	if up*2 < runs {
		t.Errorf("only %d of %d runs came up", up, runs)
	}
}

// upLink is a link of a that is up with b, by CHAP, with both networks.
func upLink(t *testing.T) *cable {
	t.Helper()
	a := newOwner(t, "a", with(own(), func(c *Config) { c.Auth, c.IPv6, c.EchoInterval = onlyCHAP, true, time.Minute }))
	b := newOwner(t, "b", with(request(), func(c *Config) { c.Answer, c.IPv6 = onlyCHAP, true }))
	dialIn(a, b)
	c := newCable(t, a, b)
	c.open()
	c.run(time.Second)
	if len(a.up) != 2 || len(b.up) != 2 {
		t.Fatalf("not up:\n%s", c.log.String())
	}
	return c
}

// A Record stays as it was when its link, or one that was restored from it, goes on.
func TestRecordIsACopy(t *testing.T) {
	t.Parallel()
	c := upLink(t)
	l := c.a.link
	r := l.Record()
	ipv6 := *r.IPV6CP
	var out Output
	restored, err := Restore(r, *l.cfg, c.now, &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*Link{l, restored} {
		x.Do(c.now, CmdCloseNetwork{Proto: ProtoIPv6}, &out)
		if x.View().IPV6CP != "Closing" {
			t.Fatalf("IPV6CP is %s", x.View().IPV6CP)
		}
		if r.IPV6CP.State != ipv6.State || r.IPV6CP.ID != ipv6.ID {
			t.Errorf("the record has changed: %+v, was %+v", *r.IPV6CP, ipv6)
		}
	}
}

// One configuration serves many links, which do not copy it; what an owner may still change is copied.
func TestCompleteConfigIsShared(t *testing.T) {
	t.Parallel()
	cfg := request()
	cfg.Random = keyed(1)
	shared := cfg.Complete()
	var out Output
	for range 2 {
		if l := Open(shared, 0, &out); l.cfg != shared {
			t.Error("a complete configuration was copied")
		}
	}
	if l := Open(&cfg, 0, &out); l.cfg == &cfg || l.cfg.MaxConfigure != defaultMaxConfigure {
		t.Errorf("not copied, or not complete: %+v", l.cfg)
	}
}

func TestRecordSurvivesJSONAndGob(t *testing.T) {
	t.Parallel()
	held := newProbe(t, Config{Auth: onlyCHAP, Hold: true})
	held.openLCP()
	held.give(response(held, 1, "bob"))
	for name, want := range map[string]Record{
		"plain": upLink(t).a.link.Record(), "encrypted": encrypted(t, MPPERequire).link.Record(), "held": held.link.Record(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			survives(t, want)
		})
	}
}

func survives(t *testing.T, want Record) {
	t.Helper()
	same := []cmp.Option{cmpopts.EquateEmpty(), cmpopts.EquateComparable(want.IPCP.Local), cmpopts.IgnoreUnexported(HandoverRecord{})}
	var viaJSON, viaGob Record
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &viaJSON); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, viaJSON, same...); d != "" {
		t.Errorf("JSON (-want +got):\n%s", d)
	}
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(want); err != nil {
		t.Fatal(err)
	}
	if err := gob.NewDecoder(&buf).Decode(&viaGob); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, viaGob, same...); d != "" {
		t.Errorf("gob (-want +got):\n%s", d)
	}
}

func TestRecordHoldsNoPassword(t *testing.T) {
	t.Parallel()
	for _, m := range [][]AuthMethod{onlyPAP, onlyCHAP, onlyMSv1, onlyMSv2} {
		a := newOwner(t, "a", with(own(), func(c *Config) { c.Auth = m }))
		b := newOwner(t, "b", with(request(), func(c *Config) { c.Answer = m }))
		a.slow = true
		c := newCable(t, a, b)
		c.open()
		c.run(time.Second)
		for _, o := range []*owner{a, b} {
			r, err := json.Marshal(o.link.Record())
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(r, []byte("secret")) || bytes.Contains(r, []byte("c2VjcmV0")) {
				t.Errorf("%v: the record of %s holds the password: %s", m, o.name, r)
			}
		}
	}
}

// What waits for the owner is asked again by Restore; PAP when the peer repeats its request.
func TestRestoreAsksAgain(t *testing.T) {
	t.Parallel()
	for _, m := range [][]AuthMethod{onlyPAP, onlyCHAP, onlyMSv1, onlyMSv2} {
		a := newOwner(t, "a", with(own(), func(c *Config) { c.Auth = m }))
		b := newOwner(t, "b", with(request(), func(c *Config) { c.Answer = m }))
		dialIn(a, b)
		a.slow = true
		c := newCable(t, a, b)
		c.open()
		c.run(time.Second)
		a.slow = false
		l, err := Restore(a.link.Record(), a.cfg, c.now, &a.out)
		if err != nil {
			t.Fatal(err)
		}
		a.link = l
		c.drain(a)
		c.run(10 * time.Second)
		if len(a.up) != 1 || len(b.up) != 1 {
			t.Errorf("%v: not up after Restore:\n%s", m, c.log.String())
		}
	}

	p, _ := loggedIn(t, MPPERequire, nil)
	var out Output
	l, err := Restore(p.link.Record(), *p.link.cfg, p.now, &out)
	if err != nil {
		t.Fatal(err)
	}
	wanted := []Event{EvEncryptionWanted{Attempt: 1, Keys: sampleKeys, Option: [6]byte{18, 6, 1, 0, 0, 0x40}, Required: true}}
	if d := cmp.Diff(wanted, out.Events); d != "" {
		t.Errorf("events of Restore (-want +got):\n%s", d)
	}
	p.link = l
	p.want(p.arms(true), "> CCP Configure-Request id=1 mppe=HS")

	a, b := newOwner(t, "a", own()), newOwner(t, "b", request())
	dialIn(a, b)
	a.slow = true
	c := newCable(t, a, b)
	c.open()
	c.run(time.Second)
	out = Output{}
	if _, err := Restore(a.link.Record(), a.cfg, c.now, &out); err != nil {
		t.Fatal(err)
	}
	want := []Event{EvAddressWanted{Wanted: addr("0.0.0.0")}}
	if d := cmp.Diff(want, out.Events, cmpopts.EquateComparable(addr("0.0.0.0"))); d != "" {
		t.Errorf("events of Restore (-want +got):\n%s", d)
	}
}

func TestRestoreRefusesAWrongRecord(t *testing.T) {
	t.Parallel()
	good := upLink(t)
	for name, spoil := range map[string]func(r *Record, c *Config){
		"version":       func(r *Record, _ *Config) { r.Version = 99 },
		"state":         func(r *Record, _ *Config) { r.LCP.State = 10 },
		"phase":         func(r *Record, _ *Config) { r.Phase = 9 },
		"progress":      func(r *Record, _ *Config) { r.Authenticator.Progress = 6 },
		"method":        func(r *Record, _ *Config) { r.LCP.Auth = 7 },
		"arming":        func(r *Record, _ *Config) { r.CCP = &CCPRecord{Armed: 3} },
		"encryption":    func(r *Record, _ *Config) { r.CCP = &CCPRecord{Negotiation: Negotiation{State: stOpened}} },
		"configuration": func(_ *Record, c *Config) { c.IPv6 = false },
	} {
		r, cfg := good.a.link.Record(), good.a.cfg
		spoil(&r, &cfg)
		var out Output
		if _, err := Restore(r, cfg, good.now, &out); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A record from hours ago: the keep-alive goes on in its own rhythm, and what the configuration dropped stays quiet.
func TestRestoreOfAnOldRecord(t *testing.T) {
	t.Parallel()
	cfg := Config{EchoInterval: 10 * time.Second, IdleTimeout: time.Hour, SessionTimeout: 24 * time.Hour, IPv4: IPv4Unnumbered, Random: keyed(7)}
	p := openIPv4(t, cfg)
	p.now = 3*time.Hour + 4*time.Second
	var err error
	if p.link, err = Restore(p.link.Record(), cfg, p.now, &p.out); err != nil {
		t.Fatal(err)
	}
	p.want(p.take())
	if d := p.link.s.EchoAt; d != 3*time.Hour+10*time.Second {
		t.Errorf("the next echo is at %v", d)
	}
	p.link.Expire(p.now, &p.out)
	p.want(p.take(), "! idle?")
	p.want(p.do(CmdIdle{Idle: time.Minute}))

	cfg.EchoInterval, cfg.IdleTimeout, cfg.SessionTimeout = 0, 0, 0
	if p.link, err = Restore(p.link.Record(), cfg, p.now, &p.out); err != nil {
		t.Fatal(err)
	}
	p.want(p.wait(100 * time.Hour))
	p.want(p.do(CmdIdle{Idle: time.Hour}))
}
