package policy

import (
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/wire"
)

// S60, S71, P202: an LNS's call is placed on a line that dials out, for this LNS, of the kind and speed that it asks for, or of the name
// that it says.
func TestLinesAreFoundByKindNameSpeedAndLNS(t *testing.T) {
	t.Parallel()
	tty := func(device string, f func(t *TTY)) Access {
		x := &TTY{Device: device, DialOut: true, Type: CallAsync, From: []Range{rng(t, "5.0.0.0/8")}}
		f(x)
		return Access{Name: device, TTY: x}
	}
	p := &Policy{Server: Server{Mode: ModeBoth}, LAC: LAC{Access: []Access{
		{Name: "eth1", PPPoE: &PPPoE{}},
		tty("in", func(t *TTY) { t.DialOut = false }),
		tty("slow", func(t *TTY) { t.Speed = 9600 }),
		tty("any", func(*TTY) {}),
		tty("isdn", func(t *TTY) { t.Type = CallISDN }),
		tty("named", func(t *TTY) { t.Names = []string{"Modem1"} }),
		tty("other", func(x *TTY) { x.From = []Range{rng(t, "6.6.6.6")} }),
		tty("nobody's", func(t *TTY) { t.From = nil }),
	}}}
	for _, c := range []struct {
		o    Offer
		from string
		want string // the lines; empty: refused
	}{
		{Offer{BearerType: wire.BearerAnalog}, "5.5.5.5", "slow any named"},
		{Offer{BearerType: wire.BearerDigital}, "5.5.5.5", "isdn"},
		{Offer{BearerType: wire.BearerDigital | wire.BearerAnalog}, "5.5.5.5", "slow any isdn named"},
		{Offer{}, "5.5.5.5", "slow any isdn named"},
		{Offer{SubAddress: "modem1"}, "5.5.5.5", "slow any isdn named"},
		{Offer{SubAddress: "modem1", BearerType: wire.BearerDigital}, "5.5.5.5", "isdn named"},
		{Offer{MinimumBPS: 64000, BearerType: wire.BearerAnalog}, "5.5.5.5", "any named"},
		{Offer{MinimumBPS: 1_000_000}, "5.5.5.5", ""},
		{Offer{}, "6.6.6.6", "other"},
		{Offer{}, "7.7.7.7", ""},
	} {
		c.o.Outgoing, c.o.CalledNumber, c.o.Source = true, "0312345678", addr(t, c.from)
		v := p.ForOffer(c.o, nil)
		var names []string
		for _, a := range v.Lines {
			names = append(names, a.Name)
		}
		if got := strings.Join(names, " "); got != c.want || v.Refuse != (c.want == "") {
			t.Errorf("%+v: %q, refused %v, want %q", c.o, got, v.Refuse, c.want)
		}
	}
	c := Offer{Outgoing: true, Source: addr(t, "5.5.5.5")}
	if v := p.ForOffer(c, nil); len(v.Lines) > 0 {
		t.Errorf("lines without a number to dial: %+v", v)
	}
	if v := p.ForSCCRQ(addr(t, "5.5.5.5"), "x", nil); v.Refuse {
		t.Errorf("an LNS that lines dial for is not let in: %+v", v)
	}
}
