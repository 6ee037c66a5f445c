package kernel

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func idleUnit(pattern, name string) *unit { return &unit{Unit: Unit{Name: name}, pattern: pattern} }

// names gives the interfaces of a pool, those that leave it first.
func (p *pool) names() []string {
	var all []string
	for _, u := range p.idle {
		all = append(all, u.Name)
	}
	return all
}

func nameOf(u *unit) string {
	if u == nil {
		return ""
	}
	return u.Name
}

func TestPoolGivesTheLongestIdleOfAPattern(t *testing.T) {
	t.Parallel()
	p := newPool(4)
	for _, name := range []string{"ppp0", "ppp1", "ppp2"} {
		if out := p.put(idleUnit("", name)); out != nil {
			t.Errorf("%s went when there was room", out.Name)
		}
	}
	p.put(idleUnit("l2tp%d", "l2tp0"))
	for _, tt := range []struct{ pattern, want string }{
		{"l2tp%d", "l2tp0"}, {"l2tp%d", ""}, {"", "ppp0"}, {"lan", ""}, {"", "ppp1"}, {"", "ppp2"}, {"", ""},
	} {
		if got := nameOf(p.take(tt.pattern)); got != tt.want {
			t.Errorf("pattern %q got %q, want %q", tt.pattern, got, tt.want)
		}
	}
}

// A reload may change the pattern: what was made of the old one must not keep the new one out.
func TestFullPoolGivesUpOtherPatterns(t *testing.T) {
	t.Parallel()
	p := newPool(2)
	p.put(idleUnit("old%d", "old0"))
	p.put(idleUnit("old%d", "old1"))
	if p.room("old%d") {
		t.Error("room in a full pool")
	}
	if out := p.put(idleUnit("old%d", "old2")); nameOf(out) != "old2" {
		t.Errorf("%q went, want the one that came last", nameOf(out))
	}
	if !p.room("new%d") {
		t.Error("no room for a pattern that is used now")
	}
	if out := p.put(idleUnit("new%d", "new0")); nameOf(out) != "old0" {
		t.Errorf("%q went, want the longest idle of the other pattern", nameOf(out))
	}
	if diff := cmp.Diff([]string{"old1", "new0"}, p.names()); diff != "" {
		t.Error(diff)
	}
}

func TestPoolGivesUpAName(t *testing.T) {
	t.Parallel()
	p := newPool(4)
	p.put(idleUnit("l2tp%d", "l2tp0"))
	p.put(idleUnit("l2tp%d", "l2tp1"))
	if got := nameOf(p.claim("l2tp1")); got != "l2tp1" {
		t.Errorf("claimed %q", got)
	}
	if got := p.claim("l2tp1"); got != nil {
		t.Errorf("claimed %q again", got.Name)
	}
	if diff := cmp.Diff([]string{"l2tp0"}, p.names()); diff != "" {
		t.Error(diff)
	}
}

func TestClosedPoolTakesNothing(t *testing.T) {
	t.Parallel()
	p := newPool(4)
	p.put(idleUnit("", "ppp0"))
	if left := p.close(); len(left) != 1 || left[0].Name != "ppp0" {
		t.Errorf("left %v", left)
	}
	if p.room("") || p.put(idleUnit("", "ppp1")) == nil || p.take("") != nil {
		t.Error("a closed pool is in use")
	}
	if p := newPool(-1); p.room("") || p.put(idleUnit("", "ppp0")) == nil {
		t.Error("a pool for none takes one")
	}
}

func TestNamesGetTheLowestFreeNumber(t *testing.T) {
	t.Parallel()
	p := newPool(0)
	named := func(pattern, want string) *unit {
		t.Helper()
		u := p.enter(pattern)
		if u.number, u.Name = p.number(pattern); u.Name != want {
			t.Errorf("%s became %s, want %s", pattern, u.Name, want)
		}
		return u
	}
	var all []*unit
	for i := range 200 {
		all = append(all, named("l2tp%d", fmt.Sprintf("l2tp%d", i)))
	}
	named("a%db", "a0b")
	p.forget(all[102])
	p.forget(all[1])
	named("l2tp%d", "l2tp1")
	named("l2tp%d", "l2tp102")
	named("l2tp%d", "l2tp200")
	named("a%db", "a1b")
	if p.made["l2tp%d"] != 201 || p.made["a%db"] != 2 {
		t.Errorf("made: %v", p.made)
	}
}

func TestChangedInterfaceIsSeen(t *testing.T) {
	t.Parallel()
	text := func(of uint16, s string) func(*netlink.AttributeEncoder) {
		return func(ae *netlink.AttributeEncoder) { ae.String(of, s) }
	}
	tests := []struct {
		want string
		add  func(*netlink.AttributeEncoder)
	}{
		{"", text(unix.IFLA_QDISC, "noop")},
		{"", text(unix.IFLA_QDISC, "noqueue")},
		{"its queueing discipline", text(unix.IFLA_QDISC, "tbf")},
		{"its alias", text(unix.IFLA_IFALIAS, "customer 7")},
		{"its master", func(ae *netlink.AttributeEncoder) { ae.Uint32(unix.IFLA_MASTER, 9) }},
		{"its name", text(unix.IFLA_IFNAME, "wan")},
	}
	for _, tt := range tests {
		ae := netlink.NewAttributeEncoder()
		ae.String(unix.IFLA_IFNAME, "ppp0")
		ae.Uint32(unix.IFLA_MTU, 1400)
		tt.add(ae)
		attrs, err := ae.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseLink(append(ifInfo(3), attrs...), "ppp0")
		if err != nil || got != tt.want {
			t.Errorf("changed %q, %v; want %q", got, err, tt.want)
		}
	}
	if _, err := parseLink(make([]byte, 15), "ppp0"); err == nil {
		t.Error("a message without its head is one")
	}
}
