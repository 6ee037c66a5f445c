package subscriber

import (
	"bytes"
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/l2tpd/l2tpd/pkg/access/pppoe"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

const (
	payload  = 1492
	password = "thrush"
)

var (
	acMAC  = pppoe.MAC{2, 0xff, 0, 0, 0, 1}
	acAddr = netip.MustParseAddr("10.0.0.1")
)

// cable is the line of a Port, with an access concentrator at its other end that is also the end of PPP.
type cable struct {
	t     *testing.T
	ac    *pppoe.AC
	began time.Time
	cfg   ppp.Config
	links map[uint16]*peer
	text  string // what a PADT says

	frames chan []byte // to the Port; nil is a wake
	end    chan struct{}
	alarm  *time.Timer
	lose   int // so many frames of the Port
	refuse bool
}

type peer struct {
	link *ppp.Link
	mac  pppoe.MAC
}

func newCable(t *testing.T) *cable {
	t.Helper()
	ac, err := pppoe.NewAC(pppoe.Config{Interface: "test", ACName: "ac", CookieKey: [32]byte{1}, Rates: pppoe.Rates{
		StationPADI: pppoe.Rate{PerSecond: 100, Burst: 100}, StationPADR: pppoe.Rate{PerSecond: 100, Burst: 100},
	}})
	if err != nil {
		t.Fatal(err)
	}
	ac.Up(0, acMAC, 1500, &pppoe.Output{})
	c := &cable{t: t, ac: ac, began: time.Now(), links: map[uint16]*peer{}, frames: make(chan []byte, 10000), end: make(chan struct{}), cfg: ppp.Config{
		Auth: []ppp.AuthMethod{ppp.AuthCHAPMD5}, Name: "ac", IPv4: ppp.IPv4Own, Local: acAddr, Line: ppp.LinePPPoE, MaxMRU: payload, Random: rand.Reader,
	}}
	c.alarm = time.AfterFunc(never, func() { c.frames <- nil })
	return c
}

func (c *cable) now() time.Duration { return time.Since(c.began) + 1 }

func (c *cable) receive(buf []byte) (int, error) {
	select {
	case f := <-c.frames:
		if f == nil {
			return 0, os.ErrDeadlineExceeded
		}
		return copy(buf, f), nil
	case <-c.end:
		return 0, net.ErrClosed
	}
}

func (c *cable) wake(at time.Time) error {
	c.alarm.Reset(time.Until(at))
	return nil
}

func (c *cable) close() error {
	close(c.end)
	return nil
}

// send is called with the Port's lock held.
func (c *cable) send(frame []byte) error {
	if c.lose--; c.lose >= 0 {
		return nil
	}
	if frame[13] == 0x64 {
		if p := c.links[uint16(frame[16])<<8|uint16(frame[17])]; p != nil {
			body := slices.Clone(frame[20:])
			if proto, packet, _ := ppp.SplitFrame(body); proto == ppp.ProtoIPv4 {
				c.frame(p, c.pong(packet))
				return nil
			}
			c.step(p, func(out *ppp.Output) { p.link.Receive(c.now(), body, out) })
		}
		return nil
	}
	var out pppoe.Output
	c.ac.Receive(c.now(), slices.Clone(frame), &out)
	for _, o := range out.Offers {
		if c.refuse {
			c.ac.Refuse(c.now(), o.SessionID, pppoe.RefuseSystem, "no room", &out)
			continue
		}
		c.ac.Accept(o.SessionID, &out)
		p := &peer{mac: o.Client}
		c.links[o.SessionID] = p
		c.flush(&out)
		out = pppoe.Output{}
		c.step(p, func(x *ppp.Output) { p.link = ppp.Open(&c.cfg, c.now(), x) })
	}
	for _, e := range out.Ended {
		delete(c.links, e.SessionID)
		c.ac.Freed(c.now(), e.SessionID, &out)
	}
	c.flush(&out)
	return nil
}

func (c *cable) flush(out *pppoe.Output) {
	for _, f := range out.Frames {
		c.frames <- f
	}
}

// pong answers a ping.
func (c *cable) pong(packet []byte) []byte {
	b := append([]byte{0, byte(ppp.ProtoIPv4)}, packet...)
	copy(b[14:18], packet[16:20])
	copy(b[18:22], packet[12:16])
	b[2+ipHeader] = echoReply
	return b
}

func (c *cable) frame(p *peer, f []byte) {
	id := uint16(0)
	for n, x := range c.links {
		if x == p {
			id = n
		}
	}
	b := append(append(slices.Clone(p.mac[:]), acMAC[:]...), 0x88, 0x64, 0x11, 0, byte(id>>8), byte(id), byte(len(f)>>8), byte(len(f)))
	c.frames <- append(b, f...)
}

func (c *cable) step(p *peer, do func(*ppp.Output)) {
	var out ppp.Output
	do(&out)
	for _, f := range out.Frames {
		c.frame(p, f)
	}
	for _, ev := range out.Events {
		switch ev := ev.(type) {
		case ppp.EvAuthRequest:
			want := ppp.CHAPMD5(ev.ID, []byte(password), ev.Challenge)
			ok := bytes.Equal(want[:], ev.Response)
			c.step(p, func(out *ppp.Output) {
				p.link.Do(c.now(), ppp.CmdAuthResult{Attempt: ev.Attempt, OK: ok, Message: "no such user"}, out)
			})
		case ppp.EvAddressWanted:
			c.step(p, func(out *ppp.Output) {
				p.link.Do(c.now(), ppp.CmdAddress{Peer: netip.AddrFrom4([4]byte{10, 0, 1, p.mac[5]})}, out)
			})
		case ppp.EvLinkDown:
			for id, x := range c.links {
				if x == p && ev.Reason != ppp.ReasonPeer {
					var bye pppoe.Output
					c.ac.Terminate(c.now(), id, c.text, &bye)
					c.flush(&bye)
				}
			}
		}
	}
}

func client(user, password string) Call {
	return Call{Client: ppp.Config{
		User: user, Password: []byte(password), Answer: []ppp.AuthMethod{ppp.AuthCHAPMD5, ppp.AuthPAP}, IPv4: ppp.IPv4Request,
	}}
}

// in runs f with a Port in a bubble.
func in(t *testing.T, cfg Config, f func(*testing.T, *cable, *Port)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCable(t)
		p := open(cfg, c)
		f(t, c, p)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		c.alarm.Stop()
	})
}

func wait(t *testing.T, p *Port, cond func(Tally) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	if err := p.Wait(ctx, cond); err != nil {
		t.Fatal(err)
	}
}

func TestManySubscribersShareOnePort(t *testing.T) {
	t.Parallel()
	in(t, Config{Interface: "test", Pending: 7}, func(t *testing.T, _ *cable, p *Port) {
		const n = 100
		p.Dial(slices.Repeat([]Call{client("alice", password)}, n)...)
		wait(t, p, func(x Tally) bool { return x.In[Up] == n })
		p.Ping(acAddr, 56)
		wait(t, p, func(x Tally) bool { return x.Pongs == n })
		seen := map[netip.Addr]bool{}
		for _, s := range p.Sessions() {
			seen[s.Address] = true
		}
		if len(seen) != n {
			t.Errorf("%d addresses", len(seen))
		}
		p.HangUp(0, 1)
		wait(t, p, func(x Tally) bool { return x.In[Ended] == 2 && x.In[Up] == n-2 })
		p.Drop(2)
		p.Disconnect()
		wait(t, p, func(x Tally) bool { return x.In[Ended] == n })
		if got := p.Session(0); got.Link.Reason != ppp.ReasonLocal || got.PADT {
			t.Errorf("the first one: %+v", got)
		}
	})
}

func TestASubscriberAsksAgainForWhatWasLost(t *testing.T) {
	t.Parallel()
	in(t, Config{Interface: "test"}, func(t *testing.T, c *cable, p *Port) {
		c.lose = 2
		p.Dial(client("alice", password))
		wait(t, p, func(x Tally) bool { return x.In[Up] == 1 })
		if got := p.Session(0); got.Repeats != 2 || got.Confirmed < 9*time.Second {
			t.Errorf("%d repeats, PADS after %v", got.Repeats, got.Confirmed)
		}
	})
}

func TestASubscriberThatHearsNothingGivesUp(t *testing.T) {
	t.Parallel()
	in(t, Config{Interface: "test", Tries: 3}, func(t *testing.T, c *cable, p *Port) {
		c.lose = 100
		p.Dial(client("alice", password))
		wait(t, p, func(x Tally) bool { return x.Refused == 1 })
		if got := p.Session(0); got.Refused != "no answer" || got.Done < 21*time.Second {
			t.Errorf("%q after %v", got.Refused, got.Done)
		}
	})
}

func TestARefusalInDiscoveryIsKept(t *testing.T) {
	t.Parallel()
	in(t, Config{Interface: "test"}, func(t *testing.T, c *cable, p *Port) {
		c.refuse = true
		p.Dial(client("alice", password))
		wait(t, p, func(x Tally) bool { return x.Refused == 1 })
		if got := p.Session(0).Refused; got != "AC-System-Error no room" {
			t.Errorf("refused by %q", got)
		}
	})
}

func TestTheWordsOfAnEndAreKept(t *testing.T) {
	t.Parallel()
	in(t, Config{Interface: "test"}, func(t *testing.T, c *cable, p *Port) {
		c.text = "that is all"
		p.Dial(client("alice", "wrong"))
		wait(t, p, func(x Tally) bool { return x.Told == 1 })
		got := p.Session(0)
		if got.State != Ended || !got.PADT || !strings.Contains(got.Told, "that is all") || got.Link.Reason == ppp.ReasonNone {
			t.Errorf("%+v", got)
		}
	})
}
