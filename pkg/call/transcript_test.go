package call

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
	"github.com/l2tpd/l2tpd/test/golden"
)

// The scripts of testdata, and what the call did.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	golden.Transcripts(t, "*.txt", 12, func(t *testing.T) func(string) []string {
		t.Helper()
		s := newScript(t)
		t.Cleanup(func() {
			for _, rule := range s.w.broken {
				t.Errorf("rule broken: %s", rule)
			}
		})
		return s.line
	})
}

// script carries out the input lines of a transcript.
type script struct {
	t   *testing.T
	w   *world
	p   Params
	far ppp.Config
	req bool
}

func newScript(t *testing.T) *script {
	t.Helper()
	return &script{t: t, w: newWorld(t), p: params(control.LNSIncoming), far: farConfig()}
}

// line carries out one line and gives what came of it.
func (s *script) line(text string) []string {
	s.t.Helper()
	verb, rest, _ := strings.Cut(text, " ")
	w := s.w
	w.lines = nil
	switch verb {
	case "call", "far", "owner":
		for _, setting := range strings.Fields(rest) {
			s.set(verb, setting)
		}
	case "begin":
		w.begin(s.p, s.far, s.req)
	case "run": // for a time, with an owner who answers at once
		w.run(s.duration(rest))
	case "until": // it is asked where the call goes
		for !w.asksWhere() && w.step(w.now+time.Minute, nil) {
		}
	case "done": // the oldest operation ends well
		w.done(nil)
	case "fail": // the oldest operation fails
		w.done(errors.New(rest))
	case "established":
		w.establish(rest == "required")
	case "close":
		cause, why, _ := strings.Cut(rest, " ")
		w.call.Close(w.now, cause, why, &w.out)
		w.collect()
	case "lost":
		w.call.Lost(lostDown(), &w.out)
		w.collect()
	case "vanished":
		w.call.Vanished(errors.New(rest), &w.out)
		w.collect()
	case "up": // says the program: a protocol, an interface, a user
		s.up(strings.Fields(rest))
	case "refuse": // says the owner of whom the program let in
		w.call.Refuse(w.now, rest, &w.out)
		w.collect()
	case "ending": // says the program: a login failed
		w.call.Ending(ppp.EvLinkDown{Stage: ppp.StageAuth, Reason: ppp.ReasonAuthFailed})
	case "exited": // says the program, with a reason of PPP or an error
		switch rest {
		case "idle":
			w.call.Exited(w.now, ppp.EvLinkDown{Stage: ppp.StageUp, Reason: ppp.ReasonIdle}, nil, &w.out)
		case "local":
			w.call.Exited(w.now, ppp.EvLinkDown{Stage: ppp.StageUp, Reason: ppp.ReasonLocal}, nil, &w.out)
		default:
			w.call.Exited(w.now, ppp.EvLinkDown{}, errors.New(rest), &w.out)
		}
		w.collect()
	case "hangup": // the far end closes its link
		w.far.Do(w.now, ppp.CmdClose{Text: rest}, &w.farOut)
		w.collectFar()
	case "dead": // the line carries nothing any more
		w.farDead = true
	case "frame":
		b, err := hex.DecodeString(strings.ReplaceAll(rest, " ", ""))
		if err != nil {
			s.t.Fatal(err)
		}
		w.call.Receive(w.now, b, &w.out)
		w.collect()
	case "view":
		v := w.call.View()
		w.say("%s user=%q up=%v%s closing=%v mtu=%d %v>%v%s phase=%v",
			v.Interface, v.User, v.Up, map[bool]string{true: " bridged"}[v.Bridged], v.Closing, v.MTU, v.Local, v.Peer, sequencingText(v.Sequencing), v.PPP.Phase)
	default:
		s.rare(verb, rest)
	}
	return w.lines
}

// rare carries out a line of a script about a subscriber's call, or about other parameters.
func (s *script) rare(verb, rest string) {
	s.t.Helper()
	w := s.w
	switch verb {
	case "sever": // says the other half of a subscriber's call
		w.call.Sever(EvDown{Cause: "peer", Text: rest, ByPeer: true}, wire.Result{Code: wire.CDNLostCarrier, Text: rest}, &w.out)
		w.collect()
	case "anew": // the subscriber begins anew, when it is asked where his call goes
		w.anew = true
	case "reconfigure": // the times of a call that is up
		cfg := *s.p.PPP
		cfg.SessionTimeout = s.duration(rest)
		p := s.p
		p.PPP = &cfg
		Reconfigure(w.call, w.now, &p, &w.out)
		w.collect()
	default:
		s.t.Fatalf("unknown line %q %q", verb, rest)
	}
}

// up tells the call of a network protocol that its program has open.
func (s *script) up(words []string) {
	r := Ran{Interface: words[1], User: words[2], EvNetworkUp: ppp.EvNetworkUp{Proto: ppp.ProtoIPv4, Local: addr("10.0.0.1"), Peer: addr("10.0.0.2")}}
	if words[0] == "ipv6" {
		r.EvNetworkUp = ppp.EvNetworkUp{Proto: ppp.ProtoIPv6, Local: addr("fe80::1"), Peer: addr("fe80::2")}
	}
	s.w.call.Up(s.w.now, r, &s.w.out)
	s.w.collect()
}

func (s *script) duration(text string) time.Duration {
	s.t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// set takes one setting of the call, of the far end of its link, or of its owner.
func (s *script) set(whose, setting string) {
	s.t.Helper()
	key, value, _ := strings.Cut(setting, "=")
	cfg := s.p.PPP
	if whose == "far" {
		cfg = &s.far
	}
	switch whose + " " + key {
	case "call role":
		s.p.Role = map[string]control.Role{
			"lns-incoming": control.LNSIncoming, "lac-incoming": control.LACIncoming,
			"lns-outgoing": control.LNSOutgoing, "lac-outgoing": control.LACOutgoing,
		}[value]
	case "call sequencing":
		s.p = sequenced(s.p, map[string]policy.Sequencing{
			"always": policy.SequencingAlways, "startup": policy.SequencingStartup, "on-request": policy.SequencingOnRequest,
		}[value])
	case "call kind":
		switch value {
		case "access":
			s.p = accessParams()
		case "tty":
			s.p = accessParams()
			s.p.PPP.Line = ppp.LineAsync
		case "switched":
			s.p.Routed, s.p.PPP.Hold = true, true
		case "forward":
			s.p = forwardParams()
		default:
			s.t.Fatalf("no kind %q", value)
		}
	case "owner route":
		s.w.route = strings.Split(value, ",")
	case "owner unavailable":
		s.w.unavailable = value != "off"
	case "call required":
		s.req = true
	case "call framing":
		s.w.async = value == "async"
	case "call peer":
		s.p.Peer = addr(value)
	case "call route":
		s.p.Routes = append(s.p.Routes, netip.MustParsePrefix(value))
	case "owner password":
		s.w.users = value
	case "owner give":
		s.w.give, _ = netip.ParseAddr(value)
	case "owner exhausted":
		s.w.give, s.w.exhausted = netip.Addr{}, value
	case "owner fixed":
		s.w.fixed = addr(value)
	case "call outside":
		s.p.Outside = value != "off"
		s.p.UserIPv4 = value == "user-addresses"
	case "call prefixes":
		s.p.Prefixes = value == "on"
	case "owner prefix":
		s.w.prefix = netip.MustParsePrefix(value)
	case "owner delegated":
		s.w.behind = netip.MustParsePrefix(value)
	case "owner no-prefix":
		s.w.noPrefix = value
	case "owner without-ipv6":
		s.w.noIPv6 = errors.New(value)
	case "owner deaf":
		s.w.deaf = value == "on"
	case "owner unsure":
		s.w.unsure = errors.New(value)
	case "owner idle":
		s.w.idle = s.duration(value)
	default:
		s.setPPP(cfg, key, value)
	}
}

// setPPP takes one setting of a link.
func (s *script) setPPP(cfg *ppp.Config, key, value string) {
	s.t.Helper()
	methods := map[string][]ppp.AuthMethod{"mschapv2": {ppp.AuthMSCHAPv2}, "none": nil, "pap": {ppp.AuthPAP}, "chap": {ppp.AuthCHAPMD5}}
	var err error
	var n int
	switch key {
	case "auth":
		cfg.Auth = methods[value]
	case "answer":
		cfg.Answer = methods[value]
	case "user":
		cfg.User = value
	case "password":
		cfg.Password = []byte(value)
	case "ipv4":
		cfg.IPv4 = map[string]ppp.IPv4Mode{
			"off": ppp.IPv4Off, "own": ppp.IPv4Own, "request": ppp.IPv4Request, "unnumbered": ppp.IPv4Unnumbered,
		}[value]
	case "local":
		cfg.Local, err = netip.ParseAddr(value)
	case "mppe":
		cfg.MPPE = map[string]ppp.MPPEMode{"require": ppp.MPPERequire, "allow": ppp.MPPEAllow}[value]
	case "ipv6":
		cfg.IPv6 = value == "on"
	case "mru":
		n, err = strconv.Atoi(value)
		cfg.MRU = uint16(n)
	case "idle":
		cfg.IdleTimeout = s.duration(value)
	case "echo":
		cfg.EchoInterval = s.duration(value)
	case "rechallenge":
		cfg.Rechallenge = s.duration(value)
	case "session":
		cfg.SessionTimeout = s.duration(value)
	default:
		err = fmt.Errorf("unknown setting %q", key)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}
