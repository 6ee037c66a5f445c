package ppp

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func ipcpRequest(id uint8, in string) []byte {
	return newFrame(ProtoIPCP, codeConfigureRequest, id, opts(in))
}

// ownProbe is in the network phase and has 10.0.0.2 for the peer.
func ownProbe(t *testing.T, cfg Config) *probe {
	t.Helper()
	cfg.IPv4, cfg.Local = IPv4Own, addr("10.0.0.1")
	p := newProbe(t, cfg)
	p.openLCP()
	return p
}

// P262: 0.0.0.0 and wrong ones are Naked, the assigned one is acknowledged, options 1, 2 and unknown ones are rejected.
func TestIPCPAssignsTheAddress(t *testing.T) {
	t.Parallel()
	p := ownProbe(t, Config{})
	p.want(p.give(ipcpRequest(1, "0306 00000000")), "! address wanted 0.0.0.0")
	p.want(p.do(CmdAddress{Peer: addr("10.0.0.2")}), "> IPCP Configure-Nak id=1 addr=10.0.0.2")
	p.want(p.give(ipcpRequest(2, "0306 0a000009")), "> IPCP Configure-Nak id=2 addr=10.0.0.2")
	p.want(p.give(ipcpRequest(3, "0306 0a000001")), "> IPCP Configure-Nak id=3 addr=10.0.0.2") // our own
	p.want(p.give(ipcpRequest(4, "010a 0a0000020a000001 0206 002d0f01 0306 0a000002 0406 01020304 6302")),
		"> IPCP Configure-Reject id=4 1=0a0000020a000001 2=002d0f01 4=01020304 99=")
	p.want(p.give(ipcpRequest(5, "0306 0a000002")), "> IPCP Configure-Ack id=5 addr=10.0.0.2")
	p.want(p.give(p.ack(ProtoIPCP)), "! IPv4 up local=10.0.0.1 peer=10.0.0.2 dns=[]")
}

// The request is held until the owner knows; of several the latest is answered. What can be refused without the owner is.
func TestIPCPHoldsTheRequestForTheOwner(t *testing.T) {
	t.Parallel()
	p := ownProbe(t, Config{})
	p.want(p.give(ipcpRequest(1, "0306 0a000007 0206 002d0f01")),
		"> IPCP Configure-Reject id=1 2=002d0f01", "! address wanted 10.0.0.7")
	p.want(p.give(ipcpRequest(2, "0306 0a000007")))
	p.want(p.give(ipcpRequest(3, "0306 0a000007")))
	p.want(p.do(CmdAddress{Peer: addr("10.0.0.7")}), "> IPCP Configure-Ack id=3 addr=10.0.0.7")
	p.want(p.do(CmdAddress{Peer: addr("10.0.0.8")})) // answered once
}

// P262: a peer that does not mention an address is reminded once.
func TestIPCPReminderComesOnce(t *testing.T) {
	t.Parallel()
	p := ownProbe(t, Config{})
	p.want(p.give(ipcpRequest(1, "")), "! address wanted invalid IP")
	p.want(p.do(CmdAddress{Peer: addr("10.0.0.2")}), "> IPCP Configure-Nak id=1 addr=10.0.0.2")
	p.want(p.give(ipcpRequest(2, "")), "> IPCP Configure-Ack id=2")
	p.want(p.give(p.ack(ProtoIPCP)), "! IPv4 up local=10.0.0.1 peer=10.0.0.2 dns=[]")
}

// An answer that would make an address conflict counts as none.
func TestConflictingAnswerIsNoAddress(t *testing.T) {
	t.Parallel()
	for _, a := range []string{"10.0.0.1", "0.0.0.0", "224.0.0.1", "127.0.0.1", "255.255.255.255", "2001:db8::1"} {
		p := ownProbe(t, Config{})
		p.give(ipcpRequest(1, "0306 00000000"))
		got := strings.Join(p.do(CmdAddress{Peer: addr(a)}), "\n")
		if !strings.HasPrefix(got, "> IPCP Terminate-Request") || !strings.Contains(got, "not usable: "+a) {
			t.Errorf("%s: %s", a, got)
		}
	}
}

// P263: known servers are Naked in, unknown ones rejected.
func TestIPCPNameServers(t *testing.T) {
	t.Parallel()
	p := ownProbe(t, Config{DNS: []netip.Addr{addr("192.0.2.1"), addr("192.0.2.2")}, NBNS: []netip.Addr{addr("192.0.2.3")}})
	p.give(ipcpRequest(1, "0306 00000000"))
	p.do(CmdAddress{Peer: addr("10.0.0.2")})
	p.want(p.give(ipcpRequest(2, "0306 0a000002 8106 00000000 8206 00000000 8306 00000000 8406 00000000")),
		"> IPCP Configure-Reject id=2 nbns2=0.0.0.0")
	p.want(p.give(ipcpRequest(3, "0306 0a000002 8106 00000000 8206 00000000 8306 c0000202")),
		"> IPCP Configure-Nak id=3 dns1=192.0.2.1 nbns1=192.0.2.3")
	p.want(p.give(ipcpRequest(4, "0306 0a000002 8106 c0000201 8206 c0000203 8306 c0000202")),
		"> IPCP Configure-Ack id=4 addr=10.0.0.2 dns1=192.0.2.1 nbns1=192.0.2.3 dns2=192.0.2.2")
}

// P262 from the other side: only what is asked for is taken.
func TestIPCPRequestsItsAddress(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{IPv4: IPv4Request, WantDNS: true})
	got := p.openLCP()
	p.want(got[:1], "> IPCP Configure-Request id=1 addr=0.0.0.0 dns1=0.0.0.0 dns2=0.0.0.0")
	p.want(p.give(ipcpRequest(1, "0306 00000000")), "> IPCP Configure-Reject id=1 addr=0.0.0.0")
	p.want(p.give(ipcpRequest(2, "0306 0a000001")), "> IPCP Configure-Ack id=2 addr=10.0.0.1")
	p.want(p.give(newFrame(ProtoIPCP, codeConfigureNak, 1, opts("0306 0a000001 8106 c0000201"))), // the peer's own address
		"> IPCP Configure-Request id=2 addr=0.0.0.0 dns1=192.0.2.1 dns2=0.0.0.0")
	p.want(p.give(newFrame(ProtoIPCP, codeConfigureReject, 2, opts("8306 00000000"))),
		"> IPCP Configure-Request id=3 addr=0.0.0.0 dns1=192.0.2.1")
	p.want(p.give(newFrame(ProtoIPCP, codeConfigureNak, 3, opts("0306 0a000005"))),
		"> IPCP Configure-Request id=4 addr=10.0.0.5 dns1=192.0.2.1")
	p.want(p.give(p.ack(ProtoIPCP)), "! IPv4 up local=10.0.0.5 peer=10.0.0.1 dns=[192.0.2.1]")
	// The peer may not take our address later on.
	got = p.give(ipcpRequest(9, "0306 0a000005"))
	if !strings.Contains(strings.Join(got, "\n"), "> IPCP Configure-Reject id=9 addr=10.0.0.5") {
		t.Errorf("an address conflict gets %q", got)
	}
}

// An agreement on no address at all is none.
func TestIPCPRequestNeedsAnAddress(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(p *probe) []byte{
		"acknowledged 0.0.0.0": func(p *probe) []byte { return p.ack(ProtoIPCP) },
		"rejected":             func(*probe) []byte { return newFrame(ProtoIPCP, codeConfigureReject, 1, opts("0306 00000000")) },
	} {
		p := newProbe(t, Config{IPv4: IPv4Request})
		p.openLCP()
		p.give(ipcpRequest(1, "0306 0a000001"))
		got := strings.Join(append(p.give(answer(p)), p.wait(time.Minute)...), "\n")
		if strings.Contains(got, "IPv4") || !strings.Contains(got, "stage=address reason=no network protocol") {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

// P265: without an answer to either NCP the link ends, with an answer to one it stays.
func TestNCPsAreIndependent(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{IPv4: IPv4Unnumbered, IPv6: true})
	p.openLCP()
	got := p.wait(time.Hour)
	if want := "! link down stage=address reason=no network protocol peer=false text=\"\""; got[len(got)-1] != want {
		t.Errorf("%q", got[len(got)-1])
	}

	p = openIPv4(t, Config{IPv6: true})
	p.wait(time.Hour)
	if v := p.link.View(); v.IPCP != "Opened" || v.IPV6CP != "Stopped" {
		t.Errorf("%+v", v)
	}
	// The other one may still come, and go, and come.
	for range 3 {
		p.give(newFrame(ProtoIPV6CP, codeConfigureRequest, 1, opts("010a 0000000000000005")))
		got = p.give(p.ack(ProtoIPV6CP))
		if len(got) != 1 || !strings.HasSuffix(got[0], "peer=fe80::5 dns=[]") {
			t.Fatalf("%q", got)
		}
		p.want(p.give(newFrame(ProtoIPV6CP, codeTerminateRequest, 2)), "> IPV6CP Terminate-Ack id=2", "! IPv6 down")
		p.want(p.wait(time.Minute))
	}
	// The last one takes the link with it.
	p.want(p.give(newFrame(ProtoIPCP, codeTerminateRequest, 2)), "> IPCP Terminate-Ack id=2", "! IPv4 down")
	p.want(p.wait(4*time.Second), "> LCP Terminate-Request id=2 text=\"no network protocol running\"")
}

// P264
func TestIPV6CPIdentifiers(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{IPv6: true, IPv6ID: 0x11})
	p.openLCP()
	ask := func(id uint8, in string) string {
		got := p.give(newFrame(ProtoIPV6CP, codeConfigureRequest, id, opts(in)))
		return strings.Join(got, "\n")
	}
	for i, in := range []string{"010a 0000000000000000", "010a 0000000000000011"} {
		got := ask(uint8(i), in)
		if !strings.HasPrefix(got, "> IPV6CP Configure-Nak") || strings.HasSuffix(got, "id=0000000000000011") || strings.HasSuffix(got, "id=0000000000000000") {
			t.Errorf("%s: %s", in, got)
		}
	}
	if got := ask(3, "0204 004f 010a 0000000000000022"); got != "> IPV6CP Configure-Reject id=3 2=004f" {
		t.Error(got)
	}
	if got := ask(4, "010a 0000000000000022"); got != "> IPV6CP Configure-Ack id=4 id=0000000000000022" {
		t.Error(got)
	}
	p.want(p.give(p.ack(ProtoIPV6CP)), "! IPv6 up local=fe80::11 peer=fe80::22 dns=[]")

	p = newProbe(t, Config{IPv6: true, IPv6ID: 0x11, PeerIPv6ID: 0x33})
	p.openLCP()
	if got := ask(1, "010a 0000000000000022"); got != "> IPV6CP Configure-Nak id=1 id=0000000000000033" {
		t.Error(got)
	}
	if got := ask(2, "010a 0000000000000033"); got != "> IPV6CP Configure-Ack id=2 id=0000000000000033" {
		t.Error(got)
	}
}

// An identifier of our own making says that it is not globally unique (RFC 5072, 4.1).
func TestIPV6CPRandomIdentifierIsLocal(t *testing.T) {
	t.Parallel()
	for seed := range int64(50) {
		p := newProbe(t, Config{IPv6: true, Random: keyed(seed)})
		p.openLCP()
		if id := p.link.s.IPV6CP.Local; id == 0 || id&0x0200_0000_0000_0000 != 0 {
			t.Errorf("%016x", id)
		}
	}
}

// The peer may suggest an identifier or refuse the option; nonsense is answered by a new one.
func TestIPV6CPTakesTheSuggestion(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code code
		in   string
		good func(p *probe) bool
	}{
		"suggestion":   {codeConfigureNak, "010a 0000000000000042", func(p *probe) bool { return p.link.s.IPV6CP.Local == 0x42 }},
		"0":            {codeConfigureNak, "010a 0000000000000000", func(p *probe) bool { return p.link.s.IPV6CP.Local > 1 }},
		"our own":      {codeConfigureNak, "010a 0000000000000001", func(p *probe) bool { return p.link.s.IPV6CP.Local > 1 }},
		"wrong length": {codeConfigureNak, "0104 0001", func(p *probe) bool { return p.link.s.IPV6CP.Local == 1 }},
		"rejected":     {codeConfigureReject, "010a 0000000000000001", func(p *probe) bool { return len(p.link.s.IPV6CP.Sent) == 0 }},
	} {
		p := newProbe(t, Config{IPv6: true, IPv6ID: 1})
		p.openLCP()
		p.give(newFrame(ProtoIPV6CP, c.code, 1, opts(c.in)))
		if !c.good(p) || p.link.s.IPV6CP.SentID == 0 {
			t.Errorf("%s: %+v", name, p.link.s.IPV6CP)
		}
	}
}

// A protocol at rest answers what makes no sense to it with Terminate-Ack (RFC 1661, 4.2, Closed and Stopped).
func TestRestingProtocolAnswersTerminateAck(t *testing.T) {
	t.Parallel()
	p := openIPv4(t, Config{IPv6: true})
	p.wait(time.Minute)
	if v := p.link.View(); v.IPV6CP != "Stopped" {
		t.Fatalf("IPV6CP is %s", v.IPV6CP)
	}
	p.want(p.give(newFrame(ProtoIPV6CP, codeConfigureAck, 9)), "> IPV6CP Terminate-Ack id=2")
	p.want(p.give(newFrame(ProtoIPV6CP, codeTerminateRequest, 10)), "> IPV6CP Terminate-Ack id=10")
	p.want(p.give(newFrame(ProtoIPV6CP, codeTerminateAck, 10)))
}

// P262: the address that an unnumbered end borrows is not the peer's.
func TestUnnumberedRejectsItsOwnAddress(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{IPv4: IPv4Unnumbered, Local: addr("192.168.1.1")})
	p.openLCP()
	p.want(p.give(ipcpRequest(1, "0306 c0a80101")), "> IPCP Configure-Reject id=1 addr=192.168.1.1")
	p.want(p.give(ipcpRequest(2, "0306 c0a80102")), "> IPCP Configure-Ack id=2 addr=192.168.1.2")
}
