package ppp

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// probe is one link with the test in the place of its peer.
type probe struct {
	t    *testing.T
	link *Link
	now  Time
	out  Output
}

func newProbe(t *testing.T, cfg Config) *probe {
	t.Helper()
	if cfg.Random == nil {
		cfg.Random = keyed(7)
	}
	p := &probe{t: t}
	p.link = Open(&cfg, 0, &p.out)
	return p
}

// take returns what the link did since the last call: "> frame" and "! event".
func (p *probe) take() []string {
	got := []string{}
	for _, f := range p.out.Frames {
		if len(f) < 2 || f[0] == 0xff || f[0]&1 != 0 || f[1]&1 != 1 {
			p.t.Errorf("frame %x does not begin with a two-octet protocol", f)
		}
		got = append(got, "> "+Summary(f))
	}
	for _, e := range p.out.Events {
		got = append(got, "! "+show(e))
	}
	p.out = Output{}
	return got
}

// give hands one frame in and returns what the link does about it.
func (p *probe) give(frame []byte) []string {
	p.t.Helper()
	p.link.Receive(p.now, frame, &p.out)
	return p.take()
}

// wait lets d pass and returns what the timers did.
func (p *probe) wait(d time.Duration) []string {
	p.t.Helper()
	var got []string
	until := p.now + d
	for dl := p.link.Deadline(); dl != 0 && dl <= until; dl = p.link.Deadline() {
		p.now = dl
		p.link.Expire(p.now, &p.out)
		got = append(got, p.take()...)
	}
	p.now = until
	return got
}

// do gives a command. A verdict without a number is for the attempt that waits for one.
func (p *probe) do(c Command) []string {
	p.t.Helper()
	if v, ok := c.(CmdAuthResult); ok && v.Attempt == 0 {
		v.Attempt = p.link.Asked()
		c = v
	}
	p.link.Do(p.now, c, &p.out)
	return p.take()
}

func (p *probe) want(got []string, want ...string) {
	p.t.Helper()
	if want == nil {
		want = []string{}
	}
	if got == nil {
		got = []string{}
	}
	if d := cmp.Diff(want, got); d != "" {
		p.t.Errorf("(-want +got):\n%s", d)
	}
}

// opts joins options written in hex.
func opts(hexes ...string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(hexes, ""), " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// ack is the Configure-Ack to the latest Configure-Request of proto.
func (p *probe) ack(proto Protocol) []byte {
	s := p.link.negotiator(proto).s
	return newFrame(proto, codeConfigureAck, s.SentID, s.Sent)
}

const peerMagic = "0506 00000099"

// openLCP makes LCP Opened; extra options go into the peer's request.
func (p *probe) openLCP(extra ...string) []string {
	p.t.Helper()
	p.give(newFrame(ProtoLCP, codeConfigureRequest, 1, opts(append([]string{peerMagic}, extra...)...)))
	got := p.give(p.ack(ProtoLCP))
	if p.link.View().LCP != "Opened" {
		p.t.Fatalf("LCP is %s", p.link.View().LCP)
	}
	return got
}

// openIPv4 opens an unnumbered link all the way.
func openIPv4(t *testing.T, cfg Config) *probe {
	t.Helper()
	cfg.IPv4 = IPv4Unnumbered
	p := newProbe(t, cfg)
	p.openLCP()
	p.give(newFrame(ProtoIPCP, codeConfigureRequest, 1))
	p.give(p.ack(ProtoIPCP))
	if p.link.View().IPCP != "Opened" {
		t.Fatalf("IPCP is %s", p.link.View().IPCP)
	}
	return p
}

func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
