package ppp

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// lacConfig is the end of a subscriber's line at a LAC that asks for a login in this way.
func lacConfig(m []AuthMethod) Config {
	return Config{Name: "lac", Auth: m, MRU: 1492, Line: LinePPPoE, Hold: true, Passive: true}
}

// subscriber is a client of a PPPoE line who has all the time that it takes.
func subscriberConfig(m []AuthMethod) Config {
	return with(answer(m), func(c *Config) { c.MRU, c.AuthTimeout, c.MaxConfigure = 1492, time.Hour, 1000 })
}

// heldCall is a subscriber's line whose LAC is asked where the call goes.
type heldCall struct {
	*cable
	lac, client *owner
	login       EvAuthRequest // the zero one: he need not log in
}

// holdCall has a client log in to a LAC, as far as that goes.
func holdCall(t *testing.T, lac, client Config) *heldCall {
	t.Helper()
	h := &heldCall{lac: newOwner(t, "l", lac), client: newOwner(t, "c", client)}
	h.lac.slow = true
	h.cable = newCable(t, h.lac, h.client)
	h.open()
	for !h.waits() && h.next(h.now+10*time.Second) {
	}
	if !h.waits() {
		t.Fatalf("nothing is asked\n%s", h.log.String())
	}
	return h
}

// waits says that the LAC has been asked, and about what.
func (h *heldCall) waits() bool {
	h.login = EvAuthRequest{}
	asked := false
	for _, e := range h.lac.events {
		switch e := e.(type) {
		case EvAuthRequest:
			h.login, asked = e, true
		case EvHeld:
			asked = true
		}
	}
	return asked
}

// bridge joins the client with an LNS, which is told what the LAC knows. What is under way to the LAC arrives there.
func (h *heldCall) bridge(lns Config, take Proxy) *cable {
	h.t.Helper()
	x := h.lac.link.Proxy()
	if x == nil {
		h.t.Fatalf("nothing to tell\n%s", h.log.String())
	}
	x.LCP, x.Auth = take.LCP, take.Auth
	lns.Proxy = x
	a := newOwner(h.t, "n", lns)
	dialIn(a, nil)
	c := newCable(h.t, a, h.client)
	c.now, c.seq = h.now, h.seq
	c.log.WriteString(h.log.String())
	for _, f := range h.queue {
		if f.to == h.lac {
			f.to = a
		}
		c.queue = append(c.queue, f)
	}
	c.open()
	return c
}

// after are the lines of a transcript from a time on.
func after(log string, n int) []string { return strings.Split(strings.TrimSpace(log[n:]), "\n") }

var lacMethods = map[string][]AuthMethod{"none": nil, "pap": onlyPAP, "chap": onlyCHAP, "mschapv1": onlyMSv1, "mschapv2": onlyMSv2}

// P186-P200, P272: whatever the login and whatever the LNS makes of it, at once or after a minute in which the client repeats himself, with
// a LAC that has begun anew or one that has not: the client comes up at the LNS.
func TestHeldCallComesUpAtTheLNS(t *testing.T) {
	t.Parallel()
	for name, m := range lacMethods {
		for mode := range 9 {
			for _, wait := range []time.Duration{0, 75 * time.Second} {
				take := Proxy{LCP: ProxyLCP(mode % 3), Auth: ProxyAuth(mode / 3)}
				t.Run(fmt.Sprintf("%s/lcp=%d/auth=%d/%v", name, take.LCP, take.Auth, wait), func(t *testing.T) {
					t.Parallel()
					h := holdCall(t, lacConfig(m), subscriberConfig(m))
					if wait > 0 {
						h.run(wait / 2)
						restart(h.lac, h.now)
						if m != nil && m[0] == AuthPAP && !h.waits() {
							t.Error("the question is not asked again")
						}
						h.run(wait / 2)
						h.waits()
					}
					c := h.bridge(demand(m), take)
					n := c.log.Len()
					c.run(time.Minute)
					if len(c.a.up) != 1 || len(c.b.up) != 1 {
						t.Fatalf("networks up: LNS %v, client %v\n%s", c.a.up, c.b.up, c.log.String())
					}
					lcp := slices.ContainsFunc(after(c.log.String(), n), func(l string) bool { return strings.Contains(l, "n> LCP Configure-Request") })
					if anew := take.LCP == ProxyLCPRenegotiate || take.Auth == ProxyAuthRenegotiate; lcp && !anew {
						t.Errorf("LCP begins anew\n%s", c.log.String())
					}
					c.do(c.b, CmdClose{Text: "bye"})
					c.run(time.Minute)
					if len(c.a.downs) != 1 || c.a.downs[0].Reason != ReasonPeer {
						t.Errorf("the LNS ends with %+v", c.a.downs)
					}
				})
			}
		}
	}
}

// P198, P257, P258: while the owner finds out, he is asked once, and the LAC says nothing on its own: no verdict, no new challenge, no NCP.
// Echo requests are answered.
func TestHoldIsPatientAndQuiet(t *testing.T) {
	t.Parallel()
	for name, m := range lacMethods {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := holdCall(t, lacConfig(m), with(subscriberConfig(m), func(c *Config) { c.EchoInterval = 10 * time.Second }))
			n, asked := h.log.Len(), len(h.lac.events)
			h.run(10 * time.Minute)
			for _, l := range after(h.log.String(), n) {
				if strings.Contains(l, "l> ") && !strings.Contains(l, "l> LCP Echo-Reply") {
					t.Errorf("the LAC says: %s", l)
				}
			}
			if len(h.lac.events) != asked || len(h.lac.downs)+len(h.client.downs) > 0 {
				t.Errorf("events %v, ends %v and %v\n%s", h.lac.events[asked:], h.lac.downs, h.client.downs, h.log.String())
			}
		})
	}
}

// P190, P200: the answer that the LNS gives is the one to what the client said to the LAC, and a repeat gets the same.
func TestRepeatsAfterTheBridgeGetTheSameAnswer(t *testing.T) {
	t.Parallel()
	for name, m := range lacMethods {
		if m == nil || m[0] == AuthMSCHAPv2 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := holdCall(t, lacConfig(m), subscriberConfig(m))
			c := h.bridge(demand(m), Proxy{})
			c.run(time.Minute)
			repeat, id := papFrame(h.login.ID+9, "bob", "secret"), h.login.ID+9
			if m[0] != AuthPAP {
				repeat, id = newFrame(ProtoCHAP, chapResponse, h.login.ID, []byte{byte(len(h.login.Response))}, h.login.Response, []byte("bob")), h.login.ID
			}
			var out Output
			c.a.link.Receive(c.now, repeat, &out)
			if len(out.Frames) != 1 || len(out.Events) > 0 || out.Frames[0][3] != id || out.Frames[0][2] != byte(papAck) && out.Frames[0][2] != byte(chapSuccess) {
				t.Errorf("a repeat is answered by %x and %v", out.Frames, out.Events)
			}
			if len(c.a.up) != 1 {
				t.Errorf("up: %v", c.a.up)
			}
		})
	}
}

// A client that leaves ends the hold; one that begins anew is asked about anew, and an answer to the first question counts no more.
func TestClientDoesNotWait(t *testing.T) {
	t.Parallel()
	for name, m := range lacMethods {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := holdCall(t, lacConfig(m), subscriberConfig(m))
			h.do(h.client, CmdClose{Text: "enough"})
			h.run(time.Minute)
			if len(h.lac.downs) != 1 || h.lac.downs[0].Reason != ReasonPeer || !h.lac.downs[0].Peer || h.lac.downs[0].Text != "enough" {
				t.Errorf("%+v", h.lac.downs)
			}

			h = holdCall(t, lacConfig(m), subscriberConfig(m))
			first := h.login
			again := newOwner(t, "d", with(subscriberConfig(m), func(c *Config) { c.MRU = 1400 }))
			h.client, h.b, h.lac.events = again, again, nil
			h.queue = nil
			h.open()
			h.run(10 * time.Second)
			if !h.waits() {
				t.Fatalf("nothing is asked anew\n%s", h.log.String())
			}
			if m != nil && h.login.Attempt == first.Attempt {
				t.Errorf("attempt %d both times", first.Attempt)
			}
			h.do(h.lac, CmdAuthResult{Attempt: first.Attempt, OK: true, Success: sampleSuccess})
			x := h.lac.link.Proxy()
			want := again.link.Record().LCP.Sent
			if !bytes.Equal(x.InitialReceived, want) || !bytes.Equal(x.LastReceived, want) {
				t.Errorf("first %x, last %x, want both %x", x.InitialReceived, x.LastReceived, want)
			}
			if told := m != nil && m[0] != AuthMSCHAPv2; told && (x.Name != "bob" || m[0] != AuthPAP && x.ID != h.login.ID) || !told && x.Name != "" {
				t.Errorf("%v", x)
			}
			c := h.bridge(demand(m), Proxy{})
			c.run(time.Minute)
			if len(c.b.up) != 1 {
				t.Errorf("not up\n%s", c.log.String())
			}
		})
	}
}

// The owner's time is not the client's: a client that still has something to show is not waited for without end.
func TestHoldDoesNotStopTheClocksOfTheClient(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Hold: true, Auth: onlyPAP, Answer: onlyCHAP, User: "lac", Password: []byte("x"), IPv4: IPv4Unnumbered})
	p.take()
	p.openLCP("0305 c223 05")
	p.give(papFrame(1, "bob", "secret"))
	p.wait(10 * time.Minute)
	if got := p.do(CmdAuthResult{Attempt: 1, OK: true}); len(got) != 1 {
		t.Errorf("%q", got)
	}
	p.wait(2 * time.Minute)
	if end := p.link.View().End; end.Reason != ReasonAuthTimeout && !p.link.s.Dead {
		t.Errorf("%+v", p.link.View())
	}
}

// Another configuration holds for what has not begun: the login's verdict brings it.
func TestConfigureBeforeTheNetworkPhase(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Hold: true, Auth: onlyPAP, IPv4: IPv4Own, Local: addr("10.0.0.1")})
	p.take()
	p.openLCP()
	p.give(papFrame(1, "bob", "secret"))
	here := Config{IPv4: IPv4Own, Local: addr("10.9.9.1"), IPv6: true, SessionTimeout: 20 * time.Second, Random: keyed(3)}
	p.want(p.do(CmdConfigure{Config: here.Complete()}))
	got := p.do(CmdAuthResult{Attempt: 1, OK: true})
	if !slices.Contains(got, "> IPCP Configure-Request id=1 addr=10.9.9.1") || !slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, "> IPV6CP") }) {
		t.Errorf("%q", got)
	}
	p.wait(20 * time.Second)
	if end := p.link.View().End; end.Reason != ReasonSessionTime {
		t.Errorf("ends with %+v", end)
	}
}

// Another configuration has another keep-alive: none, and nobody is given up; or one, though there was none.
func TestConfigureChangesTheKeepAlive(t *testing.T) {
	t.Parallel()
	for _, echo := range []time.Duration{0, 10 * time.Second} {
		before := Config{Hold: true, IPv4: IPv4Own, Local: addr("10.0.0.1"), EchoInterval: 10*time.Second - echo}
		p := newProbe(t, before)
		p.take()
		p.openLCP()
		before.EchoInterval, before.Random = echo, keyed(3)
		p.do(CmdConfigure{Config: before.Complete()})
		p.do(CmdProceed{Attempt: 1})
		asked := 0
		for _, l := range p.wait(19 * time.Second) {
			if strings.HasPrefix(l, "> LCP Echo-Request") {
				asked++
			}
		}
		if end := p.link.View().End; end.Reason != ReasonNone || (asked > 0) != (echo > 0) {
			t.Errorf("with an echo of %v: asked %d times, %+v", echo, asked, end)
		}
	}
}

// A peer who begins anew and logs in again has the times of that login, not those of the one before.
func TestTimesAreThoseOfTheLastLogin(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Auth: onlyPAP, IPv4: IPv4Unnumbered, IdleTimeout: 20 * time.Second, SessionTimeout: 30 * time.Second})
	login := func(c Config) {
		t.Helper()
		p.openLCP()
		p.give(papFrame(1, "bob", "secret"))
		c.Random = keyed(3)
		p.do(CmdConfigure{Config: c.Complete()})
		p.do(CmdAuthResult{OK: true})
		p.give(newFrame(ProtoIPCP, codeConfigureRequest, 1))
		p.give(p.ack(ProtoIPCP))
	}
	login(*p.link.cfg)
	p.wait(10 * time.Second)
	login(Config{Auth: onlyPAP, IPv4: IPv4Unnumbered})
	for range 60 {
		p.now += time.Second
		p.link.Expire(p.now, &p.out)
		if got := p.take(); slices.Contains(got, "! idle?") || p.link.Deadline() != 0 {
			t.Fatalf("%q, wanted next at %v, now %v", got, p.link.Deadline(), p.now)
		}
	}
	if v := p.link.View(); v.IPCP != "Opened" {
		t.Errorf("%+v", v)
	}
}

// In the network phase it is for the two times, which begin again; the protocols are those that the link has.
func TestConfigureInTheNetworkPhaseIsAboutTime(t *testing.T) {
	t.Parallel()
	p := openIPv4(t, Config{SessionTimeout: time.Minute, IPv6: true})
	p.wait(50 * time.Second)
	off := Config{IPv4: IPv4Off, SessionTimeout: 2 * time.Minute, IdleTimeout: 30 * time.Second}
	p.do(CmdConfigure{Config: &off}) // completed, if it is not
	if v := p.link.View(); v.IPCP != "Opened" || v.IPV6CP == "Initial" {
		t.Errorf("%+v", v)
	}
	idle := p.wait(90 * time.Second)
	if len(idle) == 0 || !slices.Contains(idle, "! idle?") {
		t.Errorf("%q", idle)
	}
	if end := p.link.View().End; end.Reason != ReasonNone {
		t.Fatalf("ends with %+v", end)
	}
	got := p.wait(31 * time.Second)
	if !slices.Contains(got, "! IPv4 down") || p.link.View().End.Reason != ReasonSessionTime {
		t.Errorf("%q, %+v", got, p.link.View().End)
	}
	if _, err := Restore(p.link.Record(), *p.link.cfg, p.now, &p.out); err != nil {
		t.Error(err)
	}
}
