package ppp

import (
	"testing"
	"time"
)

// The idle time begins with the first network; a second one, or the first one again, does not begin it anew.
func TestIdleTimeBeginsOnce(t *testing.T) {
	t.Parallel()
	p := openIPv4(t, Config{IPv6: true, IdleTimeout: time.Minute})
	p.wait(40 * time.Second)
	p.give(newFrame(ProtoIPV6CP, codeConfigureRequest, 1, opts("010a 0000000000000005")))
	p.give(p.ack(ProtoIPV6CP))
	if v := p.link.View(); v.IPV6CP != "Opened" {
		t.Fatalf("IPV6CP is %s", v.IPV6CP)
	}
	p.want(p.wait(20*time.Second), "! idle?")
	p.want(p.do(CmdIdle{Idle: 45 * time.Second}))
	p.want(p.wait(14 * time.Second))
	p.want(p.wait(time.Second), "! idle?")
	p.want(p.wait(time.Minute), "! idle?") // no answer: asked again, never closed by guess
}

// The session time is not prolonged by renegotiating.
func TestSessionTimeSurvivesRenegotiation(t *testing.T) {
	t.Parallel()
	p := openIPv4(t, Config{SessionTimeout: time.Hour})
	p.wait(30 * time.Minute)
	p.give(newFrame(ProtoLCP, codeConfigureRequest, 9, opts("0506 00000077")))
	p.give(p.ack(ProtoLCP))
	p.give(newFrame(ProtoIPCP, codeConfigureRequest, 9))
	p.give(p.ack(ProtoIPCP))
	if v := p.link.View(); v.IPCP != "Opened" {
		t.Fatalf("IPCP is %s", v.IPCP)
	}
	p.want(p.wait(29 * time.Minute))
	got := p.wait(2 * time.Minute)
	if want := "! link down stage=up reason=session timeout peer=false text=\"\""; len(got) == 0 || got[len(got)-1] != want {
		t.Errorf("%q, want %q at the end", got, want)
	}
}
