package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/capture/capturetest"
	"github.com/l2tpd/l2tpd/pkg/policy"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/pkg/transport"
	"github.com/l2tpd/l2tpd/pkg/wire"
)

// film is a capture under way.
type film struct {
	b    *box
	mu   sync.Mutex
	buf  bytes.Buffer
	end  context.CancelFunc
	done chan error
}

func (f *film) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.buf.Write(b)
}

// film begins a capture into w, or into what cut reads.
func (b *box) film(c api.Capture, w io.Writer) *film {
	f := &film{b: b, done: make(chan error, 1)}
	if w == nil {
		w = f
	}
	if c.For == 0 {
		c.For = api.DefaultCaptureTime
	}
	if c.Size == 0 {
		c.Size = api.DefaultCaptureSize
	}
	var ctx context.Context
	ctx, f.end = context.WithCancel(context.Background())
	go func() { f.done <- b.e.Capture(ctx, c, w) }()
	synctest.Wait()
	return f
}

// cut ends the capture and reads it.
func (f *film) cut() *capturetest.File {
	f.b.t.Helper()
	f.end()
	if err := <-f.done; err != nil {
		f.b.t.Errorf("%v: capture: %v", f.b.addr, err)
	}
	return f.develop()
}

func (f *film) develop() *capturetest.File {
	f.b.t.Helper()
	file, err := capturetest.Read(f.buf.Bytes())
	if err != nil || !file.Ended {
		f.b.t.Fatalf("%v: capture of %d octets, ended %t: %v", f.b.addr, f.buf.Len(), file.Ended, err)
	}
	return file
}

// comments are the comments of a file.
func comments(f *capturetest.File) (all []string) {
	for _, p := range f.Packets {
		all = append(all, p.Comment)
	}
	return all
}

// follows checks that comments with these texts come in this order.
func follows(t *testing.T, f *capturetest.File, texts ...string) {
	t.Helper()
	all := comments(f)
	rest := all
	for _, want := range texts {
		i := slices.IndexFunc(rest, func(s string) bool { return strings.Contains(s, want) })
		if i < 0 {
			t.Errorf("no %q, or not in its place, in\n%s", want, strings.Join(all, "\n"))
			return
		}
		rest = rest[i+1:]
	}
}

// readable checks the headers of all packets.
func readable(t *testing.T, f *capturetest.File) {
	t.Helper()
	for _, p := range f.Packets {
		if f.Interfaces[p.Interface].Link != 101 {
			continue
		}
		_, _, d, err := p.UDP()
		if err == nil {
			_, _, err = wire.ParseHeader(d)
		}
		if err != nil && len(p.Data) == p.Length {
			t.Errorf("%s: %v", p.Comment, err)
		}
	}
}

// secret is what LAC and LNS have sent that must be masked.
func (n *internet) secret() (all []string) {
	for _, from := range []string{lacBox, lnsBox} {
		for _, d := range n.datagrams(netip.MustParseAddr(from)) {
			_, payload, _ := wire.ParseHeader(d)
			m, _ := wire.ParseMessage(payload)
			for _, a := range m.AVPs {
				if (a.Hidden || a.Type == wire.AVPChallengeResponse || a.Type == wire.AVPProxyAuthenResponse) && len(a.Value) > 3 {
					all = append(all, string(a.Value))
				}
			}
		}
	}
	return all
}

// discreet fails the test for a secret in a capture: a text, or what a box has sent that must be masked.
func discreet(t *testing.T, n *internet, f *film, secrets ...string) {
	t.Helper()
	for _, s := range append(secrets, n.secret()...) {
		if bytes.Contains(f.buf.Bytes(), []byte(s)) {
			t.Errorf("%v: %q is in the capture", f.b.addr, s)
		}
	}
}

// responses checks that values of logins are nothing but asterisks, and says how many there are.
func responses(t *testing.T, f *capturetest.File) (n int) {
	t.Helper()
	for _, p := range f.Packets {
		frame := p.Data
		if f.Interfaces[p.Interface].Link == 101 {
			_, _, d, _ := p.UDP()
			h, payload, err := wire.ParseHeader(d)
			if err != nil || h.Control {
				continue
			}
			frame = payload
		}
		proto, packet, _ := ppp.SplitFrame(frame)
		if proto == ppp.ProtoCHAP && packet[0] == 2 {
			n++
			if v := packet[5 : 5+int(packet[4])]; strings.Trim(string(v), "*") != "" {
				t.Errorf("%s: value % x", p.Comment, v)
			}
		}
	}
	return n
}

// A whole call is captured at both ends, whatever the login: in order, readable, and without any secret, hidden value or response.
func TestCaptureHoldsAWholeCallAndNoSecret(t *testing.T) {
	for name, m := range map[string]ppp.AuthMethod{
		"pap": ppp.AuthPAP, "chap": ppp.AuthCHAPMD5, "mschapv2": ppp.AuthMSCHAPv2, "mschapv1": ppp.AuthMSCHAPv1,
	} {
		for _, hide := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/hide=%t", name, hide), func(t *testing.T) {
				simulated(t, func(t *testing.T) {
					n := newInternet()
					n.ordered = true
					b := n.start(t, lnsBox, changed(lnsPolicy(), func(p *policy.Policy) {
						p.Accept[0].ProxyAuth, p.Templates["dialin"].Auth = ppp.ProxyAuthRechallenge, []ppp.AuthMethod{m}
						p.Server.HideAVPs = hide
					}), true)
					defer b.stop()
					a := n.start(t, lacBox, changed(lacPolicy(lnsBox), func(p *policy.Policy) {
						p.Templates["access"].Auth = []ppp.AuthMethod{m}
						p.LAC.Rules[0].HideAVPs = hide
					}), true)
					defer a.stop()
					synctest.Wait()
					lac, lns := a.film(api.Capture{All: true}, nil), b.film(api.Capture{Peer: netip.MustParseAddr(lacBox)}, nil)
					s := a.dsl.dialIn(t, client(m), nil)
					s.comesUp(time.Minute)
					fa, fb := lac.cut(), lns.cut()
					follows(t, fa, "line/1: LCP Configure-Request", "out, tunnel", "in, tunnel", "SCCCN", "ICRQ", "ICRP", "ICCN")
					follows(t, fb, "in: SCCRQ", "SCCRP", "SCCCN", "ICRQ", "ICRP", "ICCN", "IPCP Configure-Request")
					for _, f := range []*capturetest.File{fa, fb} {
						readable(t, f)
						if r := responses(t, f); (r > 0) != (m != ppp.AuthPAP) {
							t.Errorf("%d responses\n%s", r, strings.Join(comments(f), "\n"))
						}
						if len(f.Packets) < 10 || f.Dropped != 0 || f.Received != uint64(len(f.Packets)) || !strings.Contains(f.End, "none was lost") {
							t.Errorf("%d packets, %d received, %d dropped: %s", len(f.Packets), f.Received, f.Dropped, f.End)
						}
					}
					discreet(t, n, lac, "PasswordA", "secret-of")
					discreet(t, n, lns, "PasswordA", "secret-of")
				})
			})
		}
	}
}

// A tunnel's capture is of its messages and of its sessions' frames, a session's leaves other sessions out, and a line's is of nothing else.
func TestCaptureIsOfWhatWasAskedFor(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		n.ordered = true
		p := lasting()
		b := n.start(t, lnsBox, p, true)
		defer b.stop()
		a := n.start(t, lacBox, initiators(2), true)
		defer a.stop()
		a.up("c0", time.Minute)
		a.up("c1", time.Minute)
		s := b.look().Sessions
		one, other := s[0], s[1]
		tunnel := b.film(api.Capture{Tunnel: one.TunnelID}, nil)
		session := b.film(api.Capture{Tunnel: one.TunnelID, Session: one.ID}, nil)
		stranger := b.film(api.Capture{Peer: netip.MustParseAddr("9.9.9.9")}, nil)
		line := b.film(api.Capture{Line: 1}, nil)
		if err := b.e.Capture(t.Context(), api.Capture{All: true, For: time.Minute, Size: 1 << 20}, io.Discard); err == nil {
			t.Error("a fifth capture is not refused")
		}
		for _, x := range s {
			if _, err := b.e.Act(t.Context(), api.Action{Verb: api.VerbSessionClose, Tunnel: x.TunnelID, Session: x.ID}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second) // virtual
		all, own := strings.Join(comments(tunnel.cut()), "\n"), strings.Join(comments(session.cut()), "\n")
		for _, x := range s {
			for what, want := range map[string]string{"frames": fmt.Sprintf("session %d/%d: LCP Terminate-Request", x.TunnelID, x.ID), "CDN": fmt.Sprintf("CDN tunnel=%d session=%d", x.PeerTunnelID, x.PeerID)} {
				if !strings.Contains(all, want) {
					t.Errorf("tunnel: no %s of %d:\n%s", what, x.ID, all)
				}
				if strings.Contains(own, want) != (x.ID == one.ID) {
					t.Errorf("session %d: %s of %d; the other is %d:\n%s", one.ID, what, x.ID, other.ID, own)
				}
			}
		}
		for _, f := range []*film{stranger, line} {
			if got := f.cut(); len(got.Packets) > 0 {
				t.Errorf("captured what nobody asked for: %q", comments(got))
			}
		}
		if n := strings.Count(b.log.String(), "event=capture"); n != 8 {
			t.Errorf("%d lines in the log, want two for each capture\n%s", n, b.log)
		}
	})
}

// stuck is a reader that takes nothing until it is let go.
type stuck struct {
	*film
	free chan struct{}
}

func (s stuck) Write(b []byte) (int, error) {
	<-s.free
	return s.film.Write(b)
}

// A reader that is slow loses packets, which are counted and told of, and delays nothing.
func TestCaptureDelaysNothing(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox, lasting(), true)
		defer b.stop()
		s := stuck{&film{b: b}, make(chan struct{})}
		f := b.film(api.Capture{All: true}, s)
		a := n.start(t, lacBox, initiators(1), true)
		defer a.stop()
		begun := time.Now()
		a.up("c0", time.Minute)
		if d := time.Since(begun); d > time.Second {
			t.Errorf("the call took %v", d)
		}
		const more = 3 * maxTapped
		local, remote := netip.MustParseAddrPort("2.2.2.2:1701"), netip.MustParseAddrPort("1.1.1.1:1701")
		for i := range more {
			b.e.tapIn(local, remote, wire.Header{Control: true}, wire.AppendZLB(nil, 0, uint16(i), 0))
		}
		close(s.free)
		synctest.Wait()
		b.e.tapIn(local, remote, wire.Header{Control: true}, wire.AppendZLB(nil, 0, 0xffff, 0))
		synctest.Wait()
		f.end()
		if err := <-f.done; err != nil {
			t.Error(err)
		}
		got := s.develop()
		last := got.Packets[len(got.Packets)-1]
		if len(got.Packets) != maxTapped+1 || got.Dropped < more-maxTapped || last.Lost != got.Dropped {
			t.Errorf("%d packets, %d dropped, %d before the last", len(got.Packets), got.Dropped, last.Lost)
		}
		if want := fmt.Sprintf("%d packets", len(got.Packets)); !strings.Contains(got.End, want) || !strings.Contains(got.End, fmt.Sprintf("%d more were lost", got.Dropped)) {
			t.Errorf("the end says %q", got.End)
		}
	})
}

// A capture is whole whatever ends it: its time, its size, the daemon's end.
func TestCaptureEnds(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox, lasting(), true)
		ended := func(f *film, why string) *capturetest.File {
			t.Helper()
			if err := <-f.done; err != nil {
				t.Fatal(err)
			}
			got := f.develop()
			if !strings.Contains(got.End, why) {
				t.Errorf("the end says %q, want %q", got.End, why)
			}
			return got
		}
		begun := time.Now()
		ended(b.film(api.Capture{All: true, For: time.Minute}, nil), "0 packets in 1m0s, none was lost; the capture ended because its time is over")
		if d := time.Since(begun); d != time.Minute {
			t.Errorf("ended after %v", d)
		}
		small := b.film(api.Capture{All: true, Size: api.MinCaptureSize}, nil)
		last := b.film(api.Capture{All: true, For: time.Hour}, nil)
		a := n.start(t, lacBox, initiators(1), true)
		a.up("c0", time.Minute)
		ended(small, "its size is reached")
		if n := small.buf.Len(); n > api.MinCaptureSize || n < api.MinCaptureSize/2 {
			t.Errorf("%d octets, want up to %d", n, api.MinCaptureSize)
		}
		b.stop()
		got := ended(last, "the daemon stops")
		follows(t, got, "SCCRQ", "StopCCN", "ZLB")
		if err := b.e.Capture(t.Context(), api.Capture{All: true}, io.Discard); err == nil {
			t.Error("a capture begins in a daemon that has stopped")
		}
		a.stop()
	})
}

// What is too long is cut, and of a user's packet that comes by the daemon only the header is kept: the file is readable all the same.
func TestCaptureCutsWhatIsNotItsBusiness(t *testing.T) {
	simulated(t, func(t *testing.T) {
		n := newInternet()
		b := n.start(t, lnsBox, lasting(), true)
		defer b.stop()
		a := n.start(t, lacBox, initiators(1), true)
		defer a.stop()
		a.up("c0", time.Minute)
		s := b.look().Sessions[0]
		f := b.film(api.Capture{All: true}, nil)
		const secret = "what the user says"
		ipv4 := append([]byte{0x45, 0, 0, 0x26, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}, secret...)
		for _, frame := range [][]byte{
			append([]byte{0xff, 3, 0, 0x21}, ipv4...), append([]byte{0, 0xfd, 0x90, 1}, secret...),
			append([]byte{0xc0, 0x21, 8, 1, 0, 26, 0xc0, 0x23, 1, 1, 0, 20, 1, 'u', 13}, secret[:13]...), // a refused login
		} {
			d := append(wire.AppendDataHeader(nil, s.TunnelID, s.ID, false), frame...)
			b.e.Receive(transport.Packet{Local: s.Remote, Remote: s.Remote, Data: d})
			synctest.Wait()
		}
		avp := append([]byte{0x03, 0xff, 0, 9, 0, 1}, strings.Repeat("x", 1017)...)
		long := wire.AppendZLB(nil, s.TunnelID, 9, 9)
		long = append(long, 0x80, 8, 0, 0, 0, 0, 0, 6)
		for range 5 {
			long = append(long, avp...)
		}
		long[2], long[3] = byte(len(long)>>8), byte(len(long))
		b.e.Receive(transport.Packet{Local: s.Remote, Remote: s.Remote, Data: long})
		synctest.Wait()
		got := f.cut()
		readable(t, got)
		follows(t, got, "IPv4 20 octets (48 octets, cut)", "MPPE 0 octets (28 octets, cut)", "LCP Protocol-Reject id=1 of PAP", "HELLO tunnel")
		if !strings.Contains(strings.Join(comments(got), "\n"), "1017 octets (5135 octets, cut)") {
			t.Errorf("a long message: %q", comments(got))
		}
		if bytes.Contains(f.buf.Bytes(), []byte(secret[:13])) {
			t.Error("a user's words are in the capture")
		}
	})
}

// Nothing is copied when nobody captures.
func TestNothingIsCopiedWhenNobodyCaptures(t *testing.T) {
	e := New(Config{Policy: lasting(), Random: strings.NewReader(""), Now: func() Time { return 0 }, WallClock: time.Now})
	tun := &tunnel{s: e.shards[0]}
	s := &session{sh: e.shards[0], t: tun}
	at, data := netip.MustParseAddrPort("1.1.1.1:1701"), make([]byte, 1000)
	if n := testing.AllocsPerRun(100, func() {
		e.tapIn(at, at, wire.Header{}, data)
		tun.tapOut(data)
		e.shards[0].tapAnswer(at, at, data)
		s.tap(true, data)
		s.tap(false, data)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
