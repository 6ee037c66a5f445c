package ppp

import (
	"strings"
	"testing"
	"time"
)

// Interop: pppd 2.4.9 as a client of ours. It sends asyncmap, PFC, ACFC, VJ and two DNS questions, starts CCP and IPV6CP,
// and its Protocol-Rejects carry our whole packets.
func TestPppdDialsIn(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Auth: chapOrPAP, Name: "lns", IPv4: IPv4Own, Local: addr("10.0.0.1"), IPv6: true})
	p.take()
	p.want(p.give(append([]byte{0xff, 0x03}, newFrame(ProtoLCP, codeConfigureRequest, 1, opts("0206 00000000", peerMagic, "0702 0802"))...)),
		"> LCP Configure-Ack id=1 accm=00000000 magic=00000099 pfc acfc")
	p.give(p.ack(ProtoLCP))
	// The frames from here on are compressed, as was agreed on.
	response := response(p, p.link.s.Authenticator.ID, "bob")
	p.want(p.give(response), "! auth request CHAP-MD5 name=\"bob\"")
	p.do(CmdAuthResult{OK: true, Message: "Access granted"})
	p.want(p.give(opts("80fd 0101 000f 1a04 7800 1804 7800 1503 2f")), "> LCP Protocol-Reject id=2 of CCP, 15 octets")
	p.want(p.give(ipcpRequest(1, "0206 002d0f01 0306 00000000 8106 00000000 8306 00000000")),
		"> IPCP Configure-Reject id=1 2=002d0f01 dns1=0.0.0.0 dns2=0.0.0.0", "! address wanted 0.0.0.0")
	p.do(CmdAddress{Peer: addr("10.0.0.2")})
	p.want(p.give(ipcpRequest(2, "0306 00000000")), "> IPCP Configure-Nak id=2 addr=10.0.0.2")
	p.want(p.give(ipcpRequest(3, "0306 0a000002")), "> IPCP Configure-Ack id=3 addr=10.0.0.2")
	ours := newFrame(ProtoIPV6CP, codeConfigureRequest, p.link.s.IPV6CP.SentID, p.link.s.IPV6CP.Sent)
	p.want(p.give(newFrame(ProtoLCP, codeProtocolReject, 3, ours)))
	p.want(p.give(p.ack(ProtoIPCP)), "! IPv4 up local=10.0.0.1 peer=10.0.0.2 dns=[]")
	p.want(p.wait(time.Hour))
	p.want(p.give(newFrame(ProtoLCP, codeTerminateRequest, 4, []byte("User request"))), "> LCP Terminate-Ack id=4", "! IPv4 down")
}

// Interop: pppd as the server behind xl2tpd: it demands CHAP, offers its own address, wants IPV6CP, and Naks with Max-Failure 10.
func TestPppdIsCalled(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{Answer: chapOrPAP, User: "bob", Password: []byte("secret"), IPv4: IPv4Request})
	got := p.openLCP("0206 00000000 0305 c223 05 0702 0802")
	p.want(got, "! link up mru=1500 peer-mru=1500 auth=none answer=CHAP-MD5 accm=ffffffff peer-accm=00000000")
	challenge := append([]byte{20}, make([]byte, 20)...) // pppd's challenges have 16 to 24 octets
	p.want(p.give(newFrame(ProtoCHAP, chapChallenge, 0xd1, challenge, []byte("lns"))), "> CHAP Response id=209 name=\"bob\" value=***")
	p.want(p.give(newFrame(ProtoCHAP, chapSuccess, 0xd1, []byte("Access granted"))),
		"> IPCP Configure-Request id=1 addr=0.0.0.0", "! authenticated peer=\"\"")
	p.want(p.give(opts("80fd 0101 000f 1a04 7800 1804 7800 1503 2f")), "> LCP Protocol-Reject id=2 of CCP, 15 octets")
	p.want(p.give(ipcpRequest(1, "0206 002d0f01 0306 0a000001")), "> IPCP Configure-Reject id=1 2=002d0f01")
	p.want(p.give(newFrame(ProtoIPV6CP, codeConfigureRequest, 1, opts("010a 0000000000000005"))),
		"> LCP Protocol-Reject id=3 of IPV6CP, 14 octets")
	p.want(p.give(newFrame(ProtoIPCP, codeConfigureNak, 1, opts("0306 0a000002"))), "> IPCP Configure-Request id=2 addr=10.0.0.2")
	p.want(p.give(p.ack(ProtoIPCP)))
	p.want(p.give(ipcpRequest(2, "0306 0a000001")),
		"> IPCP Configure-Ack id=2 addr=10.0.0.1", "! IPv4 up local=10.0.0.2 peer=10.0.0.1 dns=[]")
}

// Interop: pppd behind xl2tpd wants a login and we have none: it gives in, and leaves as soon as LCP is open. A past bug called that
// a failure in the stage of addresses.
func TestPppdWantsALogin(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{IPv4: IPv4Request})
	p.take()
	p.want(p.give(newFrame(ProtoLCP, codeConfigureRequest, 1, opts("0305 c223 05"))), "> LCP Configure-Reject id=1 auth=chap-md5")
	p.openLCP()
	p.want(p.give(newFrame(ProtoLCP, codeTerminateRequest, 3, []byte("peer refused to authenticate"))), "> LCP Terminate-Ack id=3")
	want := EvLinkDown{Stage: StageAuth, Reason: ReasonPeer, Peer: true, Text: "peer refused to authenticate (it wants a login, and none is configured for it)"}
	if got := p.link.View().End; got != want {
		t.Errorf("the end is %+v, want %+v", got, want)
	}
}

// An unnumbered end bears a pppd that wants to give it an address: one Nak with the option, ten about ours.
func TestUnnumberedBearsNaks(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{IPv4: IPv4Unnumbered})
	p.openLCP()
	p.want(p.give(newFrame(ProtoIPCP, codeConfigureNak, 1, opts("0306 0a000002"))), "> IPCP Configure-Request id=2")

	p = newProbe(t, Config{IPv4: IPv4Unnumbered, Local: addr("192.168.1.1")})
	p.openLCP()
	for range 10 {
		p.give(newFrame(ProtoIPCP, codeConfigureNak, p.link.s.IPCP.SentID, opts("0306 0a000002")))
	}
	p.give(ipcpRequest(1, "0306 0a000001"))
	got := p.give(p.ack(ProtoIPCP))
	p.want(got, "! IPv4 up local=192.168.1.1 peer=10.0.0.1 dns=[]")
}

// Interop: pppd 2.4.9 with require-mppe-128 as a client of ours. It answers the challenge again when the answer is slow, asks for no
// address before encryption, and repeats its requests under their numbers.
func TestPppdDialsInEncrypted(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{
		Auth: append(allCHAPs[:1:1], AuthCHAPMD5), Name: "lns", MPPE: MPPERequire, IPv4: IPv4Own, Local: addr("10.0.0.1"),
		Random: sample(sampleChallenge),
	})
	p.want(p.take(), "> LCP Configure-Request id=1 auth=ms-chapv2 magic=52f1b1a7")
	p.give(newFrame(ProtoLCP, codeConfigureRequest, 1, opts("0206 00000000", peerMagic, "0702 0802")))
	p.want(p.give(p.ack(ProtoLCP))[:1], `> CHAP Challenge id=1 name="lns" value=***`)
	login := msResponse(1, sampleUser, sampleValue)
	p.want(p.give(login), `! auth request MS-CHAPv2 name="User"`)
	p.want(p.give(login))
	x, _ := SolveMSCHAP(AuthMSCHAPv2, sampleUser, []byte(samplePassword), sampleChallenge, sampleValue)
	p.want(p.do(CmdAuthResult{OK: true, Message: "Access granted", Success: x.Success, Keys: x.Keys}),
		`> CHAP Success id=1 S=*** message="Access granted"`, `! authenticated peer="User"`, keysWanted+"true")
	p.want(p.give(login), `> CHAP Success id=1 S=*** message="Access granted"`)
	p.want(p.give(ccpRequest(1, mppeHS)))
	p.want(p.arms(true), "> CCP Configure-Request id=1 mppe=HS", "> CCP Configure-Ack id=1 mppe=HS")
	p.want(p.give(p.ack(ProtoCCP)), "> IPCP Configure-Request id=1 addr=10.0.0.1", "! encryption up, required=true")
	p.want(p.give(ipcpRequest(1, "0206 002d0f01 0306 00000000")), "> IPCP Configure-Reject id=1 2=002d0f01", "! address wanted 0.0.0.0")
	p.do(CmdAddress{Peer: addr("10.0.0.2")})
	p.give(ipcpRequest(3, "0306 0a000002"))
	p.want(p.give(p.ack(ProtoIPCP)), "! IPv4 up local=10.0.0.1 peer=10.0.0.2 dns=[]")
	p.want(p.give(newFrame(ProtoLCP, codeTerminateRequest, 4, []byte("User request"))),
		"> LCP Terminate-Ack id=4", "! IPv4 down", "! encryption down")
}

// Interop: pppd with require-mppe as the server that we call. Its Success has the text behind S=, it Naks nothing, and its IPCP comes
// when CCP is open.
func TestPppdIsCalledEncrypted(t *testing.T) {
	t.Parallel()
	p := newProbe(t, Config{
		Answer: allCHAPs, User: sampleUser, Password: []byte(samplePassword), MPPE: MPPEAllow, IPv4: IPv4Request,
		Random: sample(samplePeerChallenge),
	})
	p.openLCP("0206 00000000 0305 c223 81 0702 0802")
	p.give(newFrame(ProtoCHAP, chapChallenge, 0xd1, []byte{16}, sampleChallenge, []byte("lns")))
	p.want(p.give(newFrame(ProtoCHAP, chapSuccess, 0xd1, []byte(sampleSuccess+" M=Access granted"))),
		"> IPCP Configure-Request id=1 addr=0.0.0.0", `! authenticated peer=""`, keysWanted+"false")
	k := p.link.s.ccp().Keys // V18, V18b: the server's directions, turned round
	wantHex(t, "send key", k.Send, "d5f0e9521e3ea9589645e86051c82226")
	wantHex(t, "receive key", k.Recv, "8b7cdc149b993a1ba118cb153f56dccb")
	p.want(p.give(ccpRequest(1, mppeHS)))
	p.want(p.arms(true), "> CCP Configure-Request id=1 mppe=HS", "> CCP Configure-Ack id=1 mppe=HS")
	p.want(p.give(p.ack(ProtoCCP)), "! encryption up, required=false")
	p.want(p.give(newFrame(ProtoLCP, codeTerminateRequest, 4, []byte("MPPE disabled"))), "> LCP Terminate-Ack id=4", "! encryption down")
}

// Interop: pppd that knows no MPPE, or has it off, and offers what else it can: we encrypt if it wants, and else go on.
func TestPppdWithoutMPPE(t *testing.T) {
	t.Parallel()
	p := asked(t, MPPEAllow)
	p.openIPCP()
	p.want(p.give(ccpRequest(1, "1a04 7800 1804 7800 1503 2f")), "> CCP Configure-Reject id=1 26=7800 24=7800 21=2f")
	p.want(p.give(newFrame(ProtoCCP, codeConfigureReject, 1, opts(mppeHS))), "> CCP Terminate-Request id=2")
	p.want(p.give(ccpRequest(2, "")))
	p.want(p.give(newFrame(ProtoCCP, codeTerminateAck, 2)), "! encryption down")
	p.want(p.give(ccpRequest(3, "")), "> CCP Terminate-Ack id=3")
	p.want(p.wait(time.Hour))
}

// Interop: a Windows client. It begins CCP and IPCP at once and offers all that it can, MPPC included; it takes what is Naked.
func TestWindowsDialsInEncrypted(t *testing.T) {
	t.Parallel()
	p, _ := loggedIn(t, MPPERequire, func(c *Config) { c.IPv4, c.Local = IPv4Own, addr("10.0.0.1") })
	p.want(p.give(ccpRequest(4, "1206 010000e1")))
	p.want(p.give(ipcpRequest(5, "0306 00000000 8106 00000000 8206 00000000 8306 00000000 8406 00000000")))
	p.want(p.arms(true), "> CCP Configure-Request id=1 mppe=HS", "> CCP Configure-Nak id=4 mppe=HS")
	p.want(p.give(p.ack(ProtoCCP)))
	p.want(p.give(ccpRequest(6, mppeHS)),
		"> CCP Configure-Ack id=6 mppe=HS", "> IPCP Configure-Request id=1 addr=10.0.0.1",
		"> IPCP Configure-Reject id=5 dns1=0.0.0.0 nbns1=0.0.0.0 dns2=0.0.0.0 nbns2=0.0.0.0",
		"! encryption up, required=true", "! address wanted 0.0.0.0")
	p.do(CmdAddress{Peer: addr("10.0.0.2")})
	p.want(p.give(ipcpRequest(7, "0306 00000000")), "> IPCP Configure-Nak id=7 addr=10.0.0.2")
}

// Every enumerated value has a name of its own.
func TestNames(t *testing.T) {
	t.Parallel()
	var names []string
	add := func(s string) { names = append(names, s) }
	for v := AuthNone; v <= AuthMSCHAPv2; v++ {
		add("method " + v.String())
	}
	for v := IPv4Off; v <= IPv4Unnumbered; v++ {
		add("mode " + v.String())
	}
	for v := PhaseDead; v <= PhaseTerminate; v++ {
		add("phase " + v.String())
	}
	for v := StageLCP; v <= StageUp; v++ {
		add("stage " + v.String())
	}
	for v := ReasonNone; v <= ReasonProxyLCP; v++ {
		add("reason " + v.String())
	}
	for v := stInitial; v <= stOpened; v++ {
		add("state " + v.String())
	}
	for v := codeConfigureRequest; v <= codeDiscardRequest; v++ {
		add("code " + v.String())
	}
	for v := codeResetRequest; v <= codeResetAck; v++ {
		add("code " + v.String())
	}
	for v := LineTunnel; v <= LineAsync; v++ {
		add("line " + v.String())
	}
	for v := MPPEOff; v <= MPPERequire; v++ {
		add("encryption " + v.String())
	}
	for v := ProxyLCPAccept; v <= ProxyLCPRenegotiate; v++ {
		add("proxy LCP " + v.String())
	}
	for v := ProxyAuthAccept; v <= ProxyAuthRenegotiate; v++ {
		add("proxy auth " + v.String())
	}
	for v := ProxyTypeAbsent; v <= ProxyTypeMSCHAPv1; v++ {
		add("proxy type " + v.String())
	}
	golden(t, "names.txt", strings.Join(names, "\n")+"\n")
	seen := map[string]bool{}
	for _, n := range names {
		if seen[n] || strings.ContainsAny(n, "()") {
			t.Errorf("%q is no name of its own", n)
		}
		seen[n] = true
	}
}

func TestViewTellsWhatWasAgreedOn(t *testing.T) {
	t.Parallel()
	v := upLink(t).a.link.View()
	want := View{
		Phase: PhaseNetwork, LCP: "Opened", IPCP: "Opened", IPV6CP: "Opened", CCP: "Initial", MRU: 1500, PeerMRU: 1500,
		Magic: v.Magic, PeerMagic: v.PeerMagic, Auth: AuthCHAPMD5, PeerName: "bob",
		Local: addr("10.0.0.1"), Peer: addr("10.0.0.2"), LocalIPv6ID: v.LocalIPv6ID, PeerIPv6ID: v.PeerIPv6ID,
	}
	if v != want {
		t.Errorf("%+v, want %+v", v, want)
	}
	if v.Magic == 0 || v.PeerMagic == 0 || v.Magic == v.PeerMagic || v.LocalIPv6ID == 0 || v.LocalIPv6ID == v.PeerIPv6ID {
		t.Errorf("numbers: %+v", v)
	}
}
