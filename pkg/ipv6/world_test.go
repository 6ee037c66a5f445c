package ipv6

import (
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/mdlayher/ndp"
)

// world is a core in virtual time, driven by the lines of a script.
type world struct {
	t       testing.TB
	now     Time
	core    *core
	tokens  map[string]uint64 // of registrations, by interface
	out     []string
	packets []packet
}

const ourDUID = "\x00\x04us-us-us-us-us-u"

func newWorld(t testing.TB) *world {
	return &world{t: t, core: newCore([]byte(ourDUID), func(d time.Duration) time.Duration { return d / 2 }), tokens: map[string]uint64{}}
}

// line carries out one line:
//
//	serve IF [link=P] [delegated=P] [dns=A,A] [mtu=N] [from=A] [preferred=D] [valid=D]
//	stop IF
//	wait D                      and do what is due meanwhile
//	solicit IF FROM [hops=N] [option=HEX]    a router solicitation
//	dhcp IF FROM TYPE [client=NAME] [server=NAME] [pd=IAID[:P,P]] [na=IAID[:A,A]] [rapid] [oro=N,N] [to=A]
//	raw IF FROM HEX             a DHCPv6 message
//	ready IF                    the owner's route is there
//	counters                    those that are not 0
func (w *world) line(line string) []string {
	w.t.Helper()
	w.out = nil
	words := strings.Fields(line)
	var rest []string
	if len(words) > 2 {
		rest = words[2:]
	}
	switch words[0] {
	case "serve":
		w.serve(words[1], rest)
	case "stop":
		w.core.stop(w.number(words[1]))
	case "wait":
		w.wait(words[1])
	case "solicit":
		w.solicit(words[1], rest)
	case "dhcp":
		w.message(datagram{index: w.number(words[1]), from: netip.MustParseAddr(rest[0]), to: allServers}, rest[1:])
	case "raw":
		data, err := hex.DecodeString(rest[1])
		w.must(err)
		w.dhcp(datagram{index: w.number(words[1]), from: netip.MustParseAddr(rest[0]), to: allServers, data: data})
	case "ready":
		p, ok := w.core.ready(w.number(words[1]), w.tokens[words[1]])
		w.sent(p, ok)
	case "counters":
		v := reflect.ValueOf(w.core.counts)
		for i := range v.NumField() {
			if n := v.Field(i).Uint(); n > 0 {
				w.say("%s %d", v.Type().Field(i).Name, n)
			}
		}
	default:
		w.t.Fatalf("unknown line %q", line)
	}
	return w.out
}

func (w *world) say(format string, args ...any) { w.out = append(w.out, fmt.Sprintf(format, args...)) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) number(s string) int {
	w.t.Helper()
	var n int
	_, err := fmt.Sscan(s, &n)
	w.must(err)
	return n
}

func (w *world) duration(s string) time.Duration {
	w.t.Helper()
	d, err := time.ParseDuration(s)
	w.must(err)
	return d
}

func addrs(list string) (all []netip.Addr) {
	for s := range strings.SplitSeq(list, ",") {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func (w *world) serve(index string, rest []string) {
	w.t.Helper()
	lease := Lease{LinkLocal: netip.MustParseAddr("fe80::1")}
	for _, word := range rest {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "link":
			lease.Link = netip.MustParsePrefix(value)
		case "delegated":
			lease.Delegated = netip.MustParsePrefix(value)
		case "dns":
			lease.DNS = addrs(value)
		case "mtu":
			lease.MTU = w.number(value)
		case "from":
			lease.LinkLocal = netip.MustParseAddr(value)
		case "preferred":
			lease.Preferred = w.duration(value)
		case "valid":
			lease.Valid = w.duration(value)
		default:
			w.t.Fatalf("unknown word %q", word)
		}
	}
	lease, err := lease.complete()
	if err != nil {
		w.say("error: %v", err)
		return
	}
	w.must(w.core.serve(w.now, w.number(index), lease, func(e Event, token uint64) {
		w.say("%v interface %s: %v %v router %v", w.now, index, e.Prefix, e.Change, e.Router)
		w.tokens[index] = token
	}))
	w.due()
}

// due does what is due now.
func (w *world) due() {
	for {
		p, ok := w.core.next(w.now)
		if !ok {
			return
		}
		w.sent(p, true)
	}
}

func (w *world) wait(d string) {
	w.t.Helper()
	end := w.now + w.duration(d)
	for {
		at, ok := w.core.deadline()
		if !ok || at > end {
			break
		}
		w.now = max(w.now, at)
		w.due()
	}
	w.now = end
}

func (w *world) solicit(index string, rest []string) {
	w.t.Helper()
	d := datagram{index: w.number(index), from: netip.MustParseAddr(rest[0]), hops: 255, data: []byte{133, 0, 0, 0, 0, 0, 0, 0}}
	for _, word := range rest[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "hops":
			d.hops = w.number(value)
		case "option":
			option, err := hex.DecodeString(value)
			w.must(err)
			d.data = append(d.data, option...)
		default:
			w.t.Fatalf("unknown word %q", word)
		}
	}
	p, ok := w.core.solicitation(w.now, d)
	w.sent(p, ok)
	w.due()
}

func duid(name string) []byte {
	if name == "us" {
		return []byte(ourDUID)
	}
	return append([]byte{0, 2, 0, 0, 0, 9}, name...)
}

func iaid(n int) [4]byte { return [4]byte{3: byte(n)} }

var kinds = map[string]dhcpv6.MessageType{
	"solicit": dhcpv6.MessageTypeSolicit, "request": dhcpv6.MessageTypeRequest, "confirm": dhcpv6.MessageTypeConfirm,
	"renew": dhcpv6.MessageTypeRenew, "rebind": dhcpv6.MessageTypeRebind, "release": dhcpv6.MessageTypeRelease,
	"decline": dhcpv6.MessageTypeDecline, "information-request": dhcpv6.MessageTypeInformationRequest,
	"advertise": dhcpv6.MessageTypeAdvertise, "reply": dhcpv6.MessageTypeReply, "relay": dhcpv6.MessageTypeRelayForward,
}

// message hands in a client's message, made of words.
func (w *world) message(d datagram, words []string) {
	w.t.Helper()
	for i, word := range words {
		if to, ok := strings.CutPrefix(word, "to="); ok {
			d.to = netip.MustParseAddr(to)
			words = slices.Delete(slices.Clone(words), i, i+1)
			break
		}
	}
	d.data = w.build(strings.Join(words, " "))
	w.dhcp(d)
}

// build makes a client's message of words.
func (w *world) build(text string) []byte {
	w.t.Helper()
	words := strings.Fields(text)
	m := dhcpv6.Message{MessageType: kinds[words[0]], TransactionID: dhcpv6.TransactionID{1, 2, 3}}
	generic := func(code dhcpv6.OptionCode, data []byte) {
		m.AddOption(&dhcpv6.OptionGeneric{OptionCode: code, OptionData: data})
	}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		id, list, hasList := strings.Cut(value, ":")
		switch key {
		case "client":
			generic(dhcpv6.OptionClientID, duid(value))
		case "server":
			generic(dhcpv6.OptionServerID, duid(value))
		case "rapid":
			generic(dhcpv6.OptionRapidCommit, nil)
		case "oro":
			var codes dhcpv6.OptionCodes
			for s := range strings.SplitSeq(value, ",") {
				codes = append(codes, dhcpv6.OptionCode(w.number(s)))
			}
			m.AddOption(dhcpv6.OptRequestedOption(codes...))
		case "pd":
			ia := &dhcpv6.OptIAPD{IaId: iaid(w.number(id))}
			if hasList {
				for s := range strings.SplitSeq(list, ",") {
					granted := (&link{lease: Lease{Delegated: netip.MustParsePrefix(s)}}).grant(ia)
					ia.Options.Options = append(ia.Options.Options, granted.Options.Options...)
				}
			}
			m.AddOption(ia)
		case "na":
			ia := &dhcpv6.OptIANA{IaId: iaid(w.number(id))}
			if hasList {
				for _, a := range addrs(list) {
					ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: a.AsSlice()})
				}
			}
			m.AddOption(ia)
		default:
			w.t.Fatalf("unknown word %q", word)
		}
	}
	return m.ToBytes()
}

func (w *world) dhcp(d datagram) {
	p, ok := w.core.message(w.now, d)
	// The socket's memory is used again: nothing may point there.
	for i := range d.data {
		d.data[i] = 0xee
	}
	w.sent(p, ok)
	w.due()
}

// sent describes what was sent.
func (w *world) sent(p packet, ok bool) {
	w.t.Helper()
	if !ok {
		return
	}
	w.packets = append(w.packets, p)
	what, options := describe(w.t, p.data)
	w.say("%v interface %d: %v -> %v: %s", w.now, p.index, p.from, p.to, what)
	for _, o := range options {
		w.say("  %s", o)
	}
}

// describe reads a router advertisement or a DHCPv6 message.
func describe(t testing.TB, b []byte) (what string, options []string) {
	t.Helper()
	if b[0] != 134 {
		m, err := dhcpv6.MessageFromBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		what = fmt.Sprintf("%v %x", m.MessageType, m.TransactionID[:])
		for _, o := range m.Options.Options {
			options = append(options, describeOption(o))
		}
		return what, options
	}
	m, err := ndp.ParseMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	ra := m.(*ndp.RouterAdvertisement)
	flags := ""
	for name, set := range map[string]bool{"M": ra.ManagedConfiguration, "O": ra.OtherConfiguration, "H": ra.MobileIPv6HomeAgent} {
		if set {
			flags += " " + name
		}
	}
	what = fmt.Sprintf("advertisement: lifetime %v, hop limit %d%s", ra.RouterLifetime, ra.CurrentHopLimit, flags)
	for _, o := range ra.Options {
		switch o := o.(type) {
		case *ndp.MTU:
			options = append(options, fmt.Sprintf("MTU %d", o.MTU))
		case *ndp.PrefixInformation:
			options = append(options, fmt.Sprintf("prefix %v/%d L=%v A=%v %v/%v", o.Prefix, o.PrefixLength, o.OnLink,
				o.AutonomousAddressConfiguration, o.PreferredLifetime, o.ValidLifetime))
		case *ndp.RecursiveDNSServer:
			options = append(options, fmt.Sprintf("DNS %v %v", o.Servers, o.Lifetime))
		default:
			options = append(options, fmt.Sprintf("%#v", o))
		}
	}
	return what, options
}

func describeOption(o dhcpv6.Option) string {
	body := o.ToBytes()
	name := func(id []byte) string {
		if string(id) == ourDUID {
			return "us"
		}
		return string(id[6:])
	}
	var inner dhcpv6.Options
	head := ""
	switch o := o.(type) {
	case *dhcpv6.OptIAPD:
		head, inner = fmt.Sprintf("prefixes for %d T1 %v T2 %v:", o.IaId[3], o.T1, o.T2), o.Options.Options
	case *dhcpv6.OptIANA:
		head, inner = fmt.Sprintf("addresses for %d:", o.IaId[3]), o.Options.Options
	case *dhcpv6.OptIAPrefix:
		return fmt.Sprintf("%v %v/%v", o.Prefix, o.PreferredLifetime, o.ValidLifetime)
	case *dhcpv6.OptStatusCode:
		return strings.TrimSpace(fmt.Sprintf("%v %s", o.StatusCode, o.StatusMessage))
	default:
		for code, text := range map[dhcpv6.OptionCode]string{dhcpv6.OptionClientID: "client ", dhcpv6.OptionServerID: "server "} {
			if o.Code() == code {
				return text + name(body)
			}
		}
		return o.String()
	}
	var parts []string
	for _, o := range inner {
		parts = append(parts, describeOption(o))
	}
	return head + " " + strings.Join(parts, "; ")
}

// checkCore finds what must never be: deadlines that do not fit the links.
func checkCore(c *core) error {
	for i, l := range c.due {
		if l.place != i || l.due != l.deadline() || c.links[l.index] != l {
			return fmt.Errorf("deadline %d of interface %d: place %d, due %v, deadline %v", i, l.index, l.place, l.due, l.deadline())
		}
	}
	if len(c.due) != len(c.links) {
		return fmt.Errorf("%d deadlines of interfaces %v", len(c.due), slices.Sorted(maps.Keys(c.links)))
	}
	return nil
}
