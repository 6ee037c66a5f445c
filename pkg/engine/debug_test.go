package engine

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// terminal is where somebody has asked for a debug.
type terminal struct {
	b    *box
	mu   sync.Mutex
	all  []api.DebugRecord
	end  context.CancelFunc
	done chan error
}

func (x *terminal) show(r api.DebugRecord) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all = append(x.all, r)
	return nil
}

// records are those of kinds; of all if none is named.
func (x *terminal) records(kinds ...api.DebugRecordKind) (found []api.DebugRecord) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, r := range x.all {
		if len(kinds) == 0 || slices.Contains(kinds, r.Kind) {
			found = append(found, r)
		}
	}
	return found
}

// states are the changes of one sort's states in their order, with the ids of both ends.
func (x *terminal) states(of string) (all []string) {
	for _, r := range x.records(api.DebugState) {
		if r.Of == of {
			all = append(all, r.From+" -> "+r.To)
		}
	}
	return all
}

func (x *terminal) String() string {
	var b strings.Builder
	for _, r := range x.records() {
		fmt.Fprintf(&b, "%d %s: %s (%d/%d %d/%d %v %s %s)\n", r.Debug, r.Kind, r.Message, r.Tunnel, r.PeerTunnel, r.Session, r.PeerSession, r.Peer, r.Call, r.User)
	}
	return b.String()
}

// debug begins a debug of states and packets, unless d says of what.
func (b *box) debug(d api.Debug, of ...api.DebugTarget) *terminal {
	b.t.Helper()
	x := &terminal{b: b, done: make(chan error, 1)}
	if !d.State && !d.Packet {
		d.State, d.Packet = true, true
	}
	if d.For == 0 {
		d.For = time.Hour
	}
	d.By, d.Of = "uid=0 pid=1", of
	var ctx context.Context
	ctx, x.end = context.WithCancel(context.Background())
	go func() { x.done <- b.e.Debug(ctx, d, x.show) }()
	synctest.Wait()
	return x
}

// over ends the debug and returns its last record.
func (x *terminal) over() api.DebugRecord {
	x.b.t.Helper()
	x.end()
	return x.ended()
}

// ended waits for the end of the debug.
func (x *terminal) ended() api.DebugRecord {
	x.b.t.Helper()
	if err := <-x.done; err != nil {
		x.b.t.Errorf("%v: debug: %v", x.b.addr, err)
	}
	all := x.records()
	if len(all) < 2 || all[0].Kind != api.DebugBegins || all[len(all)-1].Kind != api.DebugEnds {
		x.b.t.Fatalf("%v: no beginning or no end:\n%s", x.b.addr, x)
	}
	return all[len(all)-1]
}

// everything are all of some sorts.
func everything(sorts ...api.DebugSort) (all []api.DebugTarget) {
	for _, s := range sorts {
		all = append(all, api.DebugTarget{Sort: s, All: true})
	}
	return all
}

// logged are the lines of a debug in a log: the message of each, in their order.
func (b *box) logged(debug int) (all []string) {
	for l := range strings.Lines(b.log.String()) {
		if !strings.Contains(l, fmt.Sprintf(" debug=%d ", debug)) || !strings.Contains(l, " event=debug-") && !strings.Contains(l, "event=debug-") {
			continue
		}
		_, msg, _ := strings.Cut(l, " msg=")
		msg, _, _ = strings.Cut(strings.ReplaceAll(msg, `\"`, "'"), fmt.Sprintf(" debug=%d ", debug))
		all = append(all, strings.Trim(msg, `"`))
	}
	return all
}

// S53, S55: a debug that has begun before there was anything shows a call from its first message to its last, in the order of the
// states of RFC 2661, 7.2.1 and 7.4.1, at both ends, with the ids of both, which are 0 until they are known. The log has the same.
func TestDebugShowsACallFromItsFirstMessageToItsLast(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		n.ordered = true
		b := n.start(t, lnsBox, lasting(), true)
		defer b.stop()
		a := n.start(t, lacBox, initiators(0), true)
		defer a.stop()
		ta, tb := a.debug(api.Debug{}, everything(api.DebugTunnel, api.DebugSession)...), b.debug(api.Debug{}, everything(api.DebugTunnel, api.DebugSession)...)
		a.e.Reload(initiators(1))
		a.up("c0", time.Minute)
		mine, theirs := a.look(), b.look()
		if _, err := a.e.Act(t.Context(), api.Action{Verb: api.VerbCallDown, Call: "c0"}); err != nil {
			t.Fatal(err)
		}
		a.until("call down", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) == 0 })
		for _, x := range mine.Tunnels {
			if _, err := a.e.Act(t.Context(), api.Action{Verb: api.VerbTunnelClose, Tunnel: x.ID}); err != nil {
				t.Fatal(err)
			}
		}
		a.until("tunnel gone", time.Minute, func(s *api.Snapshot) bool { return len(s.Tunnels) == 0 })
		b.until("tunnel gone", time.Minute, func(s *api.Snapshot) bool { return len(s.Tunnels) == 0 })
		for _, x := range []struct {
			*terminal
			other           *terminal
			tunnel, session []string
			now             *api.Snapshot
		}{
			{
				ta, tb,
				[]string{"idle -> wait-ctl-reply", "wait-ctl-reply -> established", "established -> closing", "closing -> dead"},
				[]string{"idle -> wait-tunnel", "wait-tunnel -> wait-reply", "wait-reply -> established", "established -> idle"},
				mine,
			},
			{
				tb, ta,
				[]string{"idle -> wait-ctl-conn", "wait-ctl-conn -> established", "established -> closing", "closing -> dead"},
				[]string{"idle -> wait-connect", "wait-connect -> established", "established -> idle"},
				theirs,
			},
		} {
			end := x.over()
			if d := cmp.Diff(x.tunnel, x.states("tunnel")); d != "" {
				t.Errorf("%v: states of the tunnel (-want +got):\n%s\n%s", x.b.addr, d, x)
			}
			if d := cmp.Diff(x.session, x.states("session")); d != "" {
				t.Errorf("%v: states of the session (-want +got):\n%s\n%s", x.b.addr, d, x)
			}
			if got := x.states("stage"); len(got) < 3 || got[len(got)-1] != "up -> ended" {
				t.Errorf("%v: stages %q", x.b.addr, got)
			}
			tunnel, session := x.now.Tunnels[0], x.now.Sessions[0]
			ids := map[string]bool{}
			for _, r := range x.records(api.DebugState, api.DebugPacket) {
				ids[fmt.Sprint(r.Tunnel, "/", r.PeerTunnel)] = true
				if r.Tunnel != 0 && r.Tunnel != tunnel.ID || r.PeerTunnel != 0 && r.PeerTunnel != tunnel.PeerID ||
					r.Session != 0 && r.Session != session.ID || r.PeerSession != 0 && r.PeerSession != session.PeerID || r.Peer != tunnel.Remote {
					t.Errorf("%v: other ids: %+v", x.b.addr, r)
				}
				if r.Call != "" && r.Call != session.Call || r.Session != 0 && r.Call != session.Call {
					t.Errorf("%v: a record of call %q: %+v", x.b.addr, r.Call, r)
				}
			}
			if len(ids) < 2 || !ids[fmt.Sprint(tunnel.ID, "/", tunnel.PeerID)] {
				t.Errorf("%v: ids %v", x.b.addr, ids)
			}
			inOrder(t, x.terminal, x.other)
			x.inTheLog(end)
		}
	})
}

// inTheLog checks that the log has what the terminal has got, and that the end has counted it.
func (x *terminal) inTheLog(end api.DebugRecord) {
	x.b.t.Helper()
	var shown []string
	for _, r := range x.records(api.DebugState, api.DebugPacket) {
		shown = append(shown, strings.ReplaceAll(r.Message, `"`, "'"))
	}
	if d := cmp.Diff(shown, x.b.logged(end.Debug)); d != "" {
		x.b.t.Errorf("%v: the log is not the same (-terminal +log):\n%s", x.b.addr, d)
	}
	if end.Records != uint64(len(shown)) || end.LeftOut != 0 || !strings.Contains(end.Message, "none was left out") {
		x.b.t.Errorf("%v: %d records, the end says %+v", x.b.addr, len(shown), end)
	}
}

// inOrder checks that what one end has sent is what the other has got, and that the messages of a call come in their order.
func inOrder(t *testing.T, x, other *terminal) {
	t.Helper()
	way := func(x *terminal, direction string) (all []string) {
		for _, r := range x.records(api.DebugPacket) {
			if r.Direction == direction {
				all = append(all, fmt.Sprint(r.Decoded, r.Length))
			}
		}
		return all
	}
	out, in := way(x, "out"), way(other, "in")
	slices.Sort(out)
	slices.Sort(in)
	if d := cmp.Diff(out, in); d != "" {
		t.Errorf("%v has sent what the other has not got (-sent +got):\n%s", x.b.addr, d)
	}
	var types []string
	for _, r := range x.records(api.DebugPacket) {
		word, _, _ := strings.Cut(r.Decoded, " ")
		if r.Of == "tunnel" != slices.Contains([]string{"SCCRQ", "SCCRP", "SCCCN", "StopCCN", "HELLO", "ZLB"}, word) {
			t.Errorf("%v: of a %s: %s", x.b.addr, r.Of, r.Decoded)
		}
		types = append(types, word)
	}
	for _, want := range []string{"SCCRQ", "SCCRP", "SCCCN", "ICRQ", "ICRP", "ICCN", "LCP", "IPCP", "CDN", "StopCCN"} {
		i := slices.Index(types, want)
		if i < 0 {
			t.Errorf("%v: no %s, or not in its place: %q", x.b.addr, want, types)
			return
		}
		types = types[i:]
	}
}

// S53: TUNNEL and CALL exclude each other; an id is that one only, a peer is all that goes there, a call and a user are their sessions.
func TestDebugIsOfWhatWasAskedFor(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		n.ordered = true
		b := n.start(t, lnsBox, lasting(), true)
		defer b.stop()
		a := n.start(t, lacBox, initiators(2), true)
		defer a.stop()
		a.up("c0", time.Minute)
		a.up("c1", time.Minute)
		s := a.look().Sessions
		one := s[slices.IndexFunc(s, func(x api.Session) bool { return x.Call == "c0" })]
		lns := netip.MustParseAddr(lnsBox)
		of := func(t api.DebugTarget) *terminal { return a.debug(api.Debug{}, t) }
		watches := map[string]*terminal{
			"tunnel":    of(api.DebugTarget{Sort: api.DebugTunnel, Tunnel: one.TunnelID}),
			"session":   of(api.DebugTarget{Sort: api.DebugSession, Tunnel: one.TunnelID, Session: one.ID}),
			"call":      of(api.DebugTarget{Sort: api.DebugCall, Call: "c0"}),
			"peer":      of(api.DebugTarget{Sort: api.DebugPeer, Peer: lns}),
			"calls":     of(api.DebugTarget{Sort: api.DebugCall, All: true}),
			"other":     of(api.DebugTarget{Sort: api.DebugTunnel, Tunnel: one.TunnelID + 1}),
			"line":      of(api.DebugTarget{Sort: api.DebugSession, Line: 1}),
			"far":       of(api.DebugTarget{Sort: api.DebugPeer, Peer: netip.MustParseAddr("9.9.9.9")}),
			"no user":   of(api.DebugTarget{Sort: api.DebugUser, User: "nobody"}),
			"no states": a.debug(api.Debug{Packet: true}, everything(api.DebugTunnel, api.DebugSession)...),
			"states":    a.debug(api.Debug{State: true}, everything(api.DebugTunnel, api.DebugSession)...),
		}
		for _, x := range s {
			if _, err := a.e.Act(t.Context(), api.Action{Verb: api.VerbSessionClose, Tunnel: x.TunnelID, Session: x.ID}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second) // virtual
		sorts := func(name string) (tunnels, own, others, states, packets int) {
			for _, r := range watches[name].records(api.DebugState, api.DebugPacket) {
				switch {
				case r.Of == "tunnel":
					tunnels++
				case r.Session == one.ID && r.Tunnel == one.TunnelID:
					own++
				default:
					others++
				}
				if r.Kind == api.DebugState {
					states++
				} else {
					packets++
				}
			}
			return tunnels, own, others, states, packets
		}
		for name, want := range map[string][5]bool{
			"tunnel": {true, false, false, false, true}, "session": {false, true, false, true, true}, "call": {false, true, false, true, true},
			"peer": {true, true, true, true, true}, "calls": {false, true, true, true, true}, "other": {}, "line": {}, "far": {}, "no user": {},
			"no states": {true, true, true, false, true}, "states": {false, true, true, true, false},
		} {
			tunnels, own, others, states, packets := sorts(name)
			if got := [5]bool{tunnels > 0, own > 0, others > 0, states > 0, packets > 0}; got != want {
				t.Errorf("%s: tunnel, session, other sessions, states, packets: %v, want %v\n%s", name, got, want, watches[name])
			}
		}
		if got := watches["call"].String(); !strings.Contains(got, "CDN") || !strings.Contains(got, "LCP Terminate-Request") || !strings.Contains(got, "established -> idle") {
			t.Errorf("the end of the call:\n%s", got)
		}
		for _, x := range watches {
			x.over()
		}
	})
}

// S53: a user's session is shown from when his name is known, and a subscriber's line like a session; in its tunnel to an LNS it is the
// user's too.
func TestDebugOfAUser(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		n.ordered = true
		b := n.start(t, lnsBox, lnsPolicy(), true)
		defer b.stop()
		a := n.start(t, lacBox, lacPolicy(lnsBox), true)
		defer a.stop()
		synctest.Wait()
		user := client(ppp.AuthPAP)
		at := a.debug(api.Debug{}, api.DebugTarget{Sort: api.DebugUser, User: user.User})
		all := b.debug(api.Debug{}, everything(api.DebugUser)...)
		line := a.debug(api.Debug{}, everything(api.DebugSession)...)
		a.dsl.dialIn(t, user, nil).comesUp(time.Minute)
		for _, x := range []*terminal{at, all} {
			x.over()
			for _, r := range x.records(api.DebugState, api.DebugPacket) {
				if name, _, _ := strings.Cut(r.User, "@"); name != "RouterA" {
					t.Errorf("%v: a record of user %q: %+v", x.b.addr, r.User, r)
				}
			}
			if len(x.records(api.DebugState)) == 0 || len(x.records(api.DebugPacket)) == 0 {
				t.Errorf("%v:\n%s", x.b.addr, x)
			}
		}
		line.over()
		got := line.String()
		for _, want := range []string{"line/1: stage idle -> session", "line/1: stage session -> LCP", "line/1: stage user authentication -> forwarding", "in, line/1: LCP Configure-Request", "out, session "} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
		for _, r := range line.records(api.DebugState, api.DebugPacket) {
			if r.Line != 0 && (r.Access == "" || r.Tunnel != 0 || r.Session != 0) {
				t.Errorf("%+v", r)
			}
		}
	})
}

// S57: no secret, hidden value or response is in what a debug shows, in words or as octets, nor in the log.
func TestDebugHasNoSecret(t *testing.T) {
	for name, m := range map[string]ppp.AuthMethod{"pap": ppp.AuthPAP, "chap": ppp.AuthCHAPMD5, "mschapv2": ppp.AuthMSCHAPv2} {
		t.Run(name, func(t *testing.T) {
			simulated(t, func(t *testing.T) {
				n := newInternet()
				n.ordered = true
				b := n.start(t, lnsBox, changed(lnsPolicy(), func(p *policy.Policy) {
					p.Accept[0].ProxyAuth, p.Templates["dialin"].Auth = ppp.ProxyAuthRechallenge, []ppp.AuthMethod{m}
					p.Server.HideAVPs = m == ppp.AuthCHAPMD5
				}), true)
				defer b.stop()
				a := n.start(t, lacBox, changed(lacPolicy(lnsBox), func(p *policy.Policy) {
					p.Templates["access"].Auth = []ppp.AuthMethod{m}
					p.LAC.Rules[0].HideAVPs = m == ppp.AuthCHAPMD5
				}), true)
				defer a.stop()
				synctest.Wait()
				watches := []*terminal{
					a.debug(api.Debug{Packet: true, Hex: true}, everything(api.DebugTunnel, api.DebugSession)...),
					b.debug(api.Debug{Packet: true, Hex: true}, everything(api.DebugPeer)...),
				}
				a.dsl.dialIn(t, client(m), nil).comesUp(time.Minute)
				secrets := append(n.secret(), "PasswordA", "secret-of")
				for _, x := range watches {
					x.over()
					packets := 0
					for _, r := range x.records(api.DebugPacket) {
						octets, err := hex.DecodeString(r.Hex)
						if err != nil || len(octets) != r.Length && len(octets) != maxTappedLen && !strings.Contains(r.Decoded, "cut") {
							t.Errorf("%d octets of %d: %v", len(octets), r.Length, err)
						}
						for _, s := range secrets {
							if strings.Contains(string(octets), s) || strings.Contains(r.Message+r.Decoded, s) {
								t.Errorf("%q is in %+v", s, r)
							}
						}
						packets++
					}
					if packets < 10 {
						t.Errorf("%v: %d packets", x.b.addr, packets)
					}
					for _, s := range secrets {
						if strings.Contains(x.b.log.String(), s) || strings.Contains(x.b.log.String(), hex.EncodeToString([]byte(s))) {
							t.Errorf("%v: %q is in the log", x.b.addr, s)
						}
					}
				}
			})
		})
	}
}

// S57: what is more than a debug shows is left out, counted, and told of once a second; nothing is delayed, and other debugs have all.
func TestDebugLeavesOutWhatIsTooMuch(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox, lasting(), true)
		defer b.stop()
		x := b.debug(api.Debug{}, everything(api.DebugTunnel)...)
		other := b.debug(api.Debug{}, everything(api.DebugSession)...)
		local, remote := netip.MustParseAddrPort("2.2.2.2:1701"), netip.MustParseAddrPort("1.1.1.1:1701")
		flood := func(n int) {
			for i := range n {
				b.e.tapIn(local, remote, wire.Header{Control: true}, wire.AppendZLB(nil, 0, 0, uint16(i)))
				if i%100 == 0 {
					synctest.Wait()
				}
			}
		}
		flood(debugBurst + 100)
		time.Sleep(2*leftOutEvery + time.Millisecond) // virtual
		flood(debugBurst + 7)                         // two seconds have filled the budget again
		end := x.over()
		left := x.records(api.DebugLeftOut)
		if len(left) != 2 || left[0].LeftOut != 100 || left[1].LeftOut != 7 || left[0].Message != "100 records left out: a debug shows 200 a second" {
			t.Errorf("left out: %+v", left)
		}
		if end.Records != 2*debugBurst || end.LeftOut != 107 || len(x.records(api.DebugPacket)) != 2*debugBurst || !strings.Contains(end.Message, "800 records in 2.001s, 107 more were left out") {
			t.Errorf("the end says %+v", end)
		}
		if end := other.over(); end.Records != 0 || end.LeftOut != 0 {
			t.Errorf("another debug: %+v", end)
		}
		if n := strings.Count(b.log.String(), "event=debug-left-out"); n != 2 {
			t.Errorf("%d lines tell of what was left out", n)
		}
	})
}

// blocked is a terminal that takes nothing until it is let go.
func blocked(x *terminal, free <-chan struct{}) func(api.DebugRecord) error {
	return func(r api.DebugRecord) error {
		if r.Kind != api.DebugBegins {
			<-free
		}
		return x.show(r)
	}
}

// A terminal that takes nothing delays nothing: what finds no room is left out.
func TestDebugDelaysNothing(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox, lasting(), true)
		defer b.stop()
		x, free := &terminal{b: b, done: make(chan error, 1)}, make(chan struct{})
		d := api.Debug{State: true, Packet: true, Of: everything(api.DebugPeer), For: time.Hour}
		ctx, cancel := context.WithCancel(t.Context())
		x.end = cancel
		go func() { x.done <- b.e.Debug(ctx, d, blocked(x, free)) }()
		synctest.Wait()
		a := n.start(t, lacBox, initiators(1), true)
		defer a.stop()
		begun := time.Now()
		a.up("c0", time.Minute)
		if d := time.Since(begun); d > time.Second {
			t.Errorf("the call took %v", d)
		}
		local, remote := netip.MustParseAddrPort("2.2.2.2:1701"), netip.MustParseAddrPort("1.1.1.1:1701")
		const seconds = 20
		for range seconds {
			time.Sleep(time.Second) // virtual
			for i := range debugRate {
				b.e.tapIn(local, remote, wire.Header{Control: true}, wire.AppendZLB(nil, 0, 0, uint16(i)))
			}
		}
		close(free)
		end := x.over()
		if got := uint64(len(x.records(api.DebugState, api.DebugPacket))); end.Records != got || got < maxShown || got > maxShown+2 || end.LeftOut < seconds*debugRate-maxShown {
			t.Errorf("%d records, the end says %+v", got, end)
		}
	})
}

// S54, S58: a debug ends by itself, is stopped by its number or with all others, and ends with the daemon; one in the background goes on
// without its terminal. Each has two lines in the log, that say by whom.
func TestDebugEnds(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox, lasting(), true)
		begun := time.Now()
		if end := b.debug(api.Debug{For: time.Minute}, everything(api.DebugTunnel)...).ended(); !strings.Contains(end.Message, "0 records in 1m0s, none was left out; debug 1 ended because its time is over") {
			t.Errorf("the end says %q", end.Message)
		}
		if d := time.Since(begun); d != time.Minute {
			t.Errorf("ended after %v", d)
		}
		one, two := b.debug(api.Debug{}, everything(api.DebugTunnel)...), b.debug(api.Debug{}, everything(api.DebugUser)...)
		background := b.debug(api.Debug{Background: true, Hex: true}, everything(api.DebugPeer)...)
		if err := <-background.done; err != nil || len(background.records()) != 1 {
			t.Errorf("in the background: %v\n%s", err, background)
		}
		background.end()
		list := func() (ids []int) {
			t.Helper()
			snap, err := b.e.Snapshot(t.Context(), api.Query{Debugs: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range snap.Debugs {
				if d.By != "uid=0 pid=1" || d.EndsAt.Sub(d.StartedAt) != time.Hour || d.Background != (d.ID == 4) || d.Hex != d.Background {
					t.Errorf("%+v", d)
				}
				ids = append(ids, d.ID)
			}
			return ids
		}
		if got := list(); !slices.Equal(got, []int{2, 3, 4}) {
			t.Errorf("debugs %v", got)
		}
		stop := func(id int) (*api.Result, error) {
			return b.e.Act(t.Context(), api.Action{Verb: api.VerbDebugStop, Debug: id, By: "uid=0 pid=2"})
		}
		if res, err := stop(2); err != nil || !res.Changed || res.Message != "debug 2 is being ended" {
			t.Errorf("%+v, %v", res, err)
		}
		if end := one.ended(); !strings.Contains(end.Message, "because it was stopped by uid=0 pid=2") {
			t.Errorf("the end says %q", end.Message)
		}
		_, err := stop(2)
		if no, ok := errors.AsType[*api.Error](err); !ok || no.Code != api.CodeNotFound || !slices.Equal(no.Nearest, []string{"3", "4"}) {
			t.Errorf("a debug that has ended: %v", err)
		}
		if res, err := stop(0); err != nil || !res.Changed || res.Message != "2 debugs are being ended" {
			t.Errorf("%+v, %v", res, err)
		}
		two.ended()
		synctest.Wait()
		if got := list(); len(got) != 0 {
			t.Errorf("debugs %v are left", got)
		}
		if res, err := stop(0); err != nil || res.Changed {
			t.Errorf("none: %+v, %v", res, err)
		}
		last := b.debug(api.Debug{}, everything(api.DebugTunnel)...)
		b.debug(api.Debug{Background: true}, everything(api.DebugTunnel)...)
		a := n.start(t, lacBox, initiators(1), true)
		a.up("c0", time.Minute)
		b.stop()
		if end := last.ended(); !strings.Contains(end.Message, "because the daemon stops") || !strings.Contains(last.String(), "StopCCN") {
			t.Errorf("the end says %q:\n%s", end.Message, last)
		}
		if err := b.e.Debug(t.Context(), api.Debug{For: time.Hour}, last.show); err == nil {
			t.Error("a debug begins in a daemon that has stopped")
		}
		log := b.log.String()
		for id := 1; id <= 6; id++ {
			begins := strings.Count(log, fmt.Sprintf(`msg="debug begins" event=debug debug=%d by="uid=0 pid=1"`, id))
			ends := strings.Count(log, fmt.Sprintf(` event=debug debug=%d by="uid=0 pid=1"`, id)) - begins
			if begins != 1 || ends != 1 {
				t.Errorf("debug %d: %d lines of its beginning, %d of its end", id, begins, ends)
			}
		}
		a.stop()
	})
}

// There are not more debugs than there may be, and a terminal that fails ends its own.
func TestDebugsAreBounded(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox, lasting(), true)
		defer b.stop()
		var all []*terminal
		for range api.MaxDebugs {
			all = append(all, b.debug(api.Debug{}, everything(api.DebugTunnel)...))
		}
		err := b.e.Debug(t.Context(), api.Debug{For: time.Hour}, all[0].show)
		if no, ok := errors.AsType[*api.Error](err); !ok || no.Code != api.CodeConflict {
			t.Errorf("one more: %v", err)
		}
		b.film(api.Capture{All: true}, nil).cut() // those are others
		for _, x := range all {
			x.over()
		}
		gone := errors.New("the terminal has gone")
		for _, background := range []bool{false, true} {
			err = b.e.Debug(t.Context(), api.Debug{For: time.Hour, State: true, Background: background}, func(api.DebugRecord) error { return gone })
			if !background && !errors.Is(err, gone) {
				t.Errorf("without a terminal: %v", err)
			}
		}
		if !b.e.taps.idle() {
			t.Error("somebody looks on still")
		}
	})
}

// S135, S145: a tunnel and a session tell whether they are debugged, by whatever the debug was asked for.
func TestDebugIsShownWithTunnelsAndSessions(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox, lasting(), true)
		defer b.stop()
		a := n.start(t, lacBox, initiators(1), true)
		defer a.stop()
		a.up("c0", time.Minute)
		want := func(tunnel, session string) {
			t.Helper()
			s := a.look()
			if got := s.Tunnels[0].Debug + ", " + s.Sessions[0].Debug; got != tunnel+", "+session {
				t.Errorf("tunnel and session are debugged: %s, want %s, %s", got, tunnel, session)
			}
		}
		want("disabled", "disabled")
		state := a.debug(api.Debug{State: true}, api.DebugTarget{Sort: api.DebugCall, Call: "c0"})
		want("disabled", "state")
		film := a.film(api.Capture{All: true}, nil) // is no debug
		packet := a.debug(api.Debug{Packet: true}, api.DebugTarget{Sort: api.DebugPeer, Peer: netip.MustParseAddr(lnsBox)})
		want("packet", "state and packet")
		state.over()
		want("packet", "packet")
		packet.over()
		film.cut()
		want("disabled", "disabled")
	})
}

// A session that is gone is still whose it was: its CDN leaves after it, and its last state is told after it.
func TestDebugShowsTheLastWordOfACall(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		n.ordered = true
		b := n.start(t, lnsBox, lasting(), true)
		defer b.stop()
		a := n.start(t, lacBox, initiators(0), true)
		defer a.stop()
		x := a.debug(api.Debug{}, api.DebugTarget{Sort: api.DebugCall, Call: "c0"})
		n.mu.Lock()
		n.drop = func(_, _ netip.AddrPort, d []byte) bool { // ICRP never arrives: the peer's id is not known
			_, payload, _ := wire.ParseHeader(d)
			m, _ := wire.ParseMessage(payload)
			return m.Type == wire.MsgICRP
		}
		n.mu.Unlock()
		a.e.Reload(initiators(1))
		a.until("ICRQ", time.Minute, func(s *api.Snapshot) bool { return len(s.Sessions) > 0 && s.Sessions[0].State == "wait-reply" })
		if _, err := a.e.Act(t.Context(), api.Action{Verb: api.VerbCallDown, Call: "c0"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // virtual
		x.over()
		got := x.String()
		for _, want := range []string{"ICRQ", "wait-reply -> idle", "CDN"} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
		for _, r := range x.records(api.DebugState, api.DebugPacket) {
			if r.Call != "c0" || r.Session == 0 {
				t.Errorf("%+v", r)
			}
		}
	})
}

// Nothing is made up, copied or asked when nobody looks on.
func TestNothingIsMadeWhenNobodyDebugs(t *testing.T) {
	e := New(Config{Policy: lasting(), Random: strings.NewReader(""), Now: func() Time { return 0 }, WallClock: time.Now})
	tun := &tunnel{s: e.shards[0]}
	s := &session{sh: e.shards[0], t: tun}
	if n := testing.AllocsPerRun(100, func() {
		tun.tapIn(packet{})
		tun.tapState(control.TunnelIdle, control.TunnelDead)
		tun.tapSession(control.EvSessionState{})
		s.tapStage("up", "ended")
		tun.part(s)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
