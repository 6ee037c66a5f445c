//go:build kernel

package pppd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/kernel"
	"github.com/l2tpd/l2tpd/pkg/ppp"
)

// password has everything in it that pppd's files could stumble over.
const password = "w\"o#n d'er\\l\tand \xc3\xa9\n!"

// server and client are the two ends of a login. Restart is short, so that ends which wait for an answer do not wait long.
func server(methods ...Auth) Spec {
	return Spec{
		HostName: "lns", Interface: "l2tp%d", MTU: 1400, MRU: 1400, Auth: methods,
		Users: []User{{Name: "bob", Password: secret("builder")}, {Name: "alice", Password: secret(password)}},
		IPv4:  ppp.IPv4Own, Local: ip("192.0.2.1"), Peer: ip("192.0.2.9"), DNS: []netip.Addr{ip("192.0.2.53")},
		Restart: time.Second, MaxConfigure: 30,
	}
}

func client(methods ...Auth) Spec {
	return Spec{
		Answer: methods, User: "alice", Password: secret(password), IPv4: ppp.IPv4Request, WantDNS: true,
		Restart: time.Second, MaxConfigure: 30,
	}
}

func TestKernelPppdServesPppd(t *testing.T) {
	hosts := etc(t)
	p := newPair(t)
	lns, lac := server(AuthCHAP), client(AuthPAP, AuthCHAP)
	lns.IPv6, lns.IPv6ID, lns.PeerIPv6ID, lac.IPv6 = true, 0x11, 0x22, true
	a, b := p.start(lns, lac)
	a.up(EvNetworkUp{"l2tp0", "alice", ppp.EvNetworkUp{Proto: ppp.ProtoIPv4, Local: ip("192.0.2.1"), Peer: ip("192.0.2.9")}},
		EvNetworkUp{"l2tp0", "alice", ppp.EvNetworkUp{Proto: ppp.ProtoIPv6, Local: ip("fe80::11"), Peer: ip("fe80::22")}})
	b.up(EvNetworkUp{"ppp0", "", ppp.EvNetworkUp{
		Proto: ppp.ProtoIPv4, Local: ip("192.0.2.9"), Peer: ip("192.0.2.1"), DNS: []netip.Addr{ip("192.0.2.53")},
	}}, EvNetworkUp{"ppp0", "", ppp.EvNetworkUp{Proto: ppp.ProtoIPv6, Local: ip("fe80::22"), Peer: ip("fe80::11")}})
	p.b.run("ping -c 1 -W 10 192.0.2.1")
	p.a.run("ping -c 1 -W 10 fe80::22%l2tp0")
	for _, want := range []string{"mtu 1400", "inet 192.0.2.1 peer 192.0.2.9/32"} {
		if out := p.a.run("ip addr show dev l2tp0"); !strings.Contains(out, want) {
			t.Errorf("no %s in %s", want, out)
		}
	}
	if stats, err := a.session.Stats(); err != nil || stats.RxPackets < 5 || stats.TxPackets < 5 {
		t.Errorf("stats %+v, %v", stats, err)
	}
	if diff := cmp.Diff(hosts, etc(t)); diff != "" {
		t.Errorf("the machine's /etc/ppp: %s", diff)
	}
	b.stop()
	a.ends("up: closed by the peer: User request")
	b.ends("up: closed here")
	for _, h := range []*host{p.a, p.b} {
		if out := h.run("ip -o link"); strings.Contains(out, "link/ppp") {
			t.Errorf("host %s: an interface is left: %s", h.name, out)
		}
	}
	// The session is the daemon's, until it closes it.
	h := p.a
	if _, err := h.k.SessionInfo(1, 1); err != nil {
		t.Error(err)
	}
	if err := a.session.Close(); err != nil {
		t.Error(err)
	}
	until(t, "the session is gone", func() bool {
		_, err := h.k.SessionInfo(1, 1)
		return errors.Is(err, os.ErrNotExist)
	})
}

// etc lists what the machine has in /etc/ppp.
func etc(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(etcPPP)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, fmt.Sprint(e))
	}
	return names
}

func TestKernelPppdPasswords(t *testing.T) {
	for _, method := range []Auth{AuthPAP, AuthCHAP, AuthMSCHAPv2} {
		t.Run(method.String(), func(t *testing.T) {
			p := newPair(t)
			lns := server(method)
			lns.Users[1].IPv4 = ip("198.51.100.7")
			a, b := p.start(lns, client(method))
			a.up(EvNetworkUp{"l2tp0", "alice", ppp.EvNetworkUp{Proto: ppp.ProtoIPv4, Local: ip("192.0.2.1"), Peer: ip("198.51.100.7")}})
			b.next()
			a.stop()
			b.ends("up: closed by the peer: User request")
			a.ends("up: closed here")

			for name, spec := range map[string]Spec{
				"wrong password": {User: "alice", Password: secret("Wonderland")}, "wrong user": {User: "alicia", Password: secret(password)},
			} {
				wrong := client(method)
				wrong.User, wrong.Password = spec.User, spec.Password
				a, b = p.start(lns, wrong)
				a.ends("user authentication: authentication failed")
				b.ends("user authentication: authentication failed: the peer does not take our login")
				for _, line := range append(a.lines, b.lines...) {
					for _, secret := range []string{"builder", "w\"o#n", "Wonderland"} {
						if strings.Contains(line, secret) {
							t.Errorf("%s: a password is in the log: %s", name, line)
						}
					}
				}
			}
		})
	}
}

func TestKernelPppdWhoRefusesToLogIn(t *testing.T) {
	p := newPair(t)
	a, b := p.start(server(AuthPAP, AuthCHAP), client())
	a.ends("user authentication: the peer refuses to authenticate")
	b.ends("address: closed by the peer: peer refused to authenticate")
}

// A user of ours whose name is that of the machine: pppd would show the peer its password.
func TestKernelPppdKeepsTheUsersSecrets(t *testing.T) {
	p := newPair(t)
	specA, specB := server(AuthCHAP), server(AuthCHAP)
	specA.HostName, specB.HostName = "alice", "bob"
	specB.Peer, specB.Local = ip("192.0.2.1"), ip("192.0.2.9")
	a, b := p.start(specA, specB)
	for _, e := range []*end{a, b} {
		down, ok := e.last().(EvDown)
		if !ok || down.Reason == ppp.ReasonAuthFailed || down.Stage == ppp.StageUp {
			t.Errorf("ended by %v", down)
		}
		for _, line := range e.lines {
			if strings.Contains(line, "authentication succeeded") {
				t.Error(line)
			}
		}
	}
}

func TestKernelPppdEncrypts(t *testing.T) {
	p := newPair(t)
	lns, lac := server(AuthMSCHAPv2), client(AuthMSCHAPv2)
	lns.RequireMPPE, lac.RequireMPPE = true, true
	a, b := p.start(lns, lac)
	a.next()
	b.next()
	p.b.run("ping -c 1 -W 10 192.0.2.1")
	if !strings.Contains(strings.Join(a.lines, "\n"), "MPPE 128-bit stateless compression enabled") {
		t.Errorf("no word of MPPE: %q", a.lines)
	}
	a.stop()
	b.ends("up: closed by the peer: MPPE disabled") // CCP goes before LCP: pppd's last word about it

	a, b = p.start(lns, client(AuthMSCHAPv2))
	down, _ := a.last().(EvDown)
	if down.Reason != ppp.ReasonNoNetwork && down.Reason != ppp.ReasonPeer || !strings.Contains(strings.Join(a.lines, "\n"), "MPPE required") {
		t.Errorf("without MPPE: %v", down)
	}
	b.last()
}

func TestKernelPppdEndsByItself(t *testing.T) {
	p := newPair(t)
	var a, b *end
	again := func(change func(lns *Spec)) {
		t.Helper()
		lns := server()
		change(&lns)
		a, b = p.start(lns, client())
		a.next()
		b.next()
	}
	again(func(lns *Spec) { lns.IdleTimeout = 6 * time.Second })
	a.ends("up: idle timeout")
	b.ends("up: closed by the peer: Link inactive")

	again(func(lns *Spec) { lns.SessionTimeout = 6 * time.Second })
	a.ends("up: session timeout")
	b.ends("up: closed by the peer: Connect time expired")

	again(func(lns *Spec) { lns.Options = []string{"maxoctets 1000"} })
	_, _ = p.b.try("ping", "-c", "30", "-i", "0.1", "-s", "500", "192.0.2.1")
	a.ends("up: closed here: the traffic limit is reached")
	b.ends("up: closed by the peer: Traffic limit")

	// Killed, it says nothing, and the peer finds out by echo.
	again(func(lns *Spec) { lns.EchoInterval, lns.EchoFailures = time.Second, 2 })
	if err := unix.Kill(b.p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.ends("up: pppd was ended by signal 9 (killed)")
	a.ends("up: LCP echo unanswered")

	// As when an operator deletes the interface.
	again(func(*Spec) {})
	p.a.run("ip link del l2tp0")
	a.ends("up: the session vanished under pppd")
	b.stop()
}

func TestKernelPppdWithoutAPeer(t *testing.T) {
	p := newPair(t)
	lns := server()
	lns.MaxConfigure = 2
	at, _ := p.session()
	a := p.a.start(at, lns)
	a.ends("LCP: no answer")
	// Nobody answers its Terminate-Request either.
	at, _ = p.session()
	a = p.a.start(at, server())
	a.stop()
	a.ends("address: closed here")
}

func TestKernelPppdFailsWithAReason(t *testing.T) {
	p := newPair(t)
	taken := server()
	taken.Interface = "wire"
	spec := server()
	spec.Options = []string{"no-such-option"}
	at, _ := p.session()
	a := p.a.start(at, spec)
	down, _ := a.last().(EvDown)
	if down.Err == nil || !strings.Contains(down.Err.Error(), "exit code 2") || !strings.Contains(down.Err.Error(), "unrecognized option 'no-such-option'") {
		t.Errorf("ended by %v", down)
	}
	var err error
	taken.Name = "1/1"
	if taken.Socket, err = a.session.HandOver(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.a.s.Start(taken, nil); !errors.Is(err, os.ErrExist) || err.Error() != "start pppd for session 1/1: interface wire: file already exists" {
		t.Errorf("taken name: %v", err)
	}
}

// far is pkg/ppp at the other end of a session.
type far struct {
	t      *testing.T
	frames chan []byte
	do     chan ppp.Command
	events chan ppp.Event
	ended  chan struct{}
}

// link runs pkg/ppp on a host's end of the session, on the PPPoX socket alone.
func (h *host) link(at kernel.SessionSpec, cfg ppp.Config, give netip.Addr) *far {
	h.t.Helper()
	f := &far{
		t: h.t, frames: make(chan []byte, 1024), do: make(chan ppp.Command), events: make(chan ppp.Event, 1024), ended: make(chan struct{}),
	}
	s := h.session(at, func(b []byte) { f.frames <- append([]byte(nil), b...) })
	cfg.Random, cfg.Restart = urandom(h.t), time.Second
	go f.run(s, cfg, give)
	h.t.Cleanup(func() {
		close(f.do)
		<-f.ended
		if err := s.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return f
}

func urandom(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open("/dev/urandom")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func (f *far) run(s *kernel.Session, cfg ppp.Config, give netip.Addr) {
	defer close(f.ended)
	var out ppp.Output
	began := time.Now()
	now := func() ppp.Time { return time.Since(began) + 1 }
	link := ppp.Open(&cfg, now(), &out)
	for {
		for len(out.Frames)+len(out.Events) > 0 {
			frames, events := out.Frames, out.Events
			out = ppp.Output{}
			for _, frame := range frames {
				_ = s.Send(frame)
			}
			for _, ev := range events {
				f.events <- ev
				if _, ok := ev.(ppp.EvAddressWanted); ok {
					link.Do(now(), ppp.CmdAddress{Peer: give}, &out)
				}
			}
		}
		var due <-chan time.Time
		if d := link.Deadline(); d != 0 {
			due = time.After(d - now())
		}
		select {
		case frame := <-f.frames:
			link.Receive(now(), frame, &out)
		case c, open := <-f.do:
			if !open {
				return
			}
			link.Do(now(), c, &out)
		case <-due:
			link.Expire(now(), &out)
		}
	}
}

// want waits for an event.
func (f *far) want(want ppp.Event) {
	f.t.Helper()
	over := time.After(wait)
	for {
		select {
		case ev := <-f.events:
			if cmp.Equal(want, ev, compareAddrs) {
				return
			}
			f.t.Logf("the link: %+v", ev)
		case <-over:
			f.t.Fatalf("waited in vain for %+v", want)
		}
	}
}

// pppd on one end and pkg/ppp on the other, in either role and without addresses.
func TestKernelPppdAndOurOwnPPP(t *testing.T) {
	p := newPair(t)
	atA, atB := p.session()
	a := p.a.start(atA, server(AuthCHAP, AuthPAP))
	b := p.b.link(atB, ppp.Config{
		Answer: []ppp.AuthMethod{ppp.AuthPAP}, User: "bob", Password: []byte("builder"), IPv4: ppp.IPv4Request, WantDNS: true,
	}, netip.Addr{})
	up := ppp.EvNetworkUp{Proto: ppp.ProtoIPv4, Local: ip("192.0.2.9"), Peer: ip("192.0.2.1"), DNS: []netip.Addr{ip("192.0.2.53"), ip("192.0.2.53")}}
	b.want(up)
	a.up(EvNetworkUp{"l2tp0", "bob", ppp.EvNetworkUp{Proto: ppp.ProtoIPv4, Local: ip("192.0.2.1"), Peer: ip("192.0.2.9")}})
	b.do <- ppp.CmdClose{Text: "good bye"}
	a.ends("up: closed by the peer: good bye")
}

func TestKernelPppdCallsOurOwnPPP(t *testing.T) {
	p := newPair(t)
	atA, atB := p.session()
	a := p.a.start(atA, client())
	b := p.b.link(atB, ppp.Config{IPv4: ppp.IPv4Own, Local: ip("192.0.2.1")}, ip("192.0.2.8"))
	b.want(ppp.EvNetworkUp{Proto: ppp.ProtoIPv4, Local: ip("192.0.2.1"), Peer: ip("192.0.2.8")})
	a.up(EvNetworkUp{"ppp0", "", ppp.EvNetworkUp{Proto: ppp.ProtoIPv4, Local: ip("192.0.2.8"), Peer: ip("192.0.2.1")}})
	a.stop()
	b.want(ppp.EvLinkDown{Stage: ppp.StageUp, Reason: ppp.ReasonPeer, Peer: true, Text: "User request"})
}

func TestKernelPppdUnnumbered(t *testing.T) {
	p := newPair(t)
	atA, atB := p.session()
	a := p.a.start(atA, Spec{IPv4: ppp.IPv4Unnumbered, Local: ip("10.1.0.1"), Restart: time.Second})
	p.b.link(atB, ppp.Config{IPv4: ppp.IPv4Unnumbered}, netip.Addr{})
	a.up(EvNetworkUp{"ppp0", "", ppp.EvNetworkUp{Proto: ppp.ProtoIPv4, Local: ip("10.1.0.1")}})
}

// What the peer has sent before pppd was there is not lost: nobody has read it.
func TestKernelPppdGetsWhatCameBefore(t *testing.T) {
	p := newPair(t)
	atA, atB := p.session()
	session := p.a.session(atA, nil)
	t.Cleanup(func() { _ = session.Close() })
	b := p.b.session(atB, func([]byte) {})
	t.Cleanup(func() { _ = b.Close() })
	request := []byte{0xc0, 0x21, 1, 0x77, 0, 4} // Configure-Request without options
	if err := b.Send(request); err != nil {
		t.Fatal(err)
	}
	spec := server()
	spec.Name, spec.Options = "1/1", []string{"debug"}
	var err error
	if spec.Socket, err = session.HandOver(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1024)
	process, err := p.a.s.Start(spec, func(ev Event) {
		if line, ok := ev.(EvLine); ok {
			lines <- line.Text
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	over := time.After(wait)
	for line := ""; !strings.HasPrefix(line, "rcvd [LCP ConfReq id=0x77"); {
		select {
		case line = <-lines:
		case <-over:
			t.Fatal("the request is lost")
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := process.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// daemon is what the test binary is when a test starts it as a program.
func daemon() int {
	if os.Getenv("PPPD_TEST_UNIT") != "" {
		return inUnit()
	}
	return victim()
}

// victim is a daemon that is killed with a pppd running.
func victim() int {
	k, err := kernel.Open(kernel.Config{})
	if err != nil {
		panic(err)
	}
	fd, err := connected("10.9.0.1:1701", "10.9.0.2:1701")
	if err != nil {
		panic(err)
	}
	if err := k.CreateTunnel(kernel.TunnelSpec{ID: 1, PeerID: 11, FD: fd}); err != nil {
		panic(err)
	}
	at, _ := new(pair).session()
	session, err := k.CreateSession(at, nil)
	if err != nil {
		panic(err)
	}
	spec := server()
	spec.Name = "1/1"
	if spec.Socket, err = session.HandOver(); err != nil {
		panic(err)
	}
	p, err := New(Config{Dir: os.Getenv("PPPD_TEST_DIR")}).Start(spec, func(ev Event) {
		if ev, ok := ev.(EvNetworkUp); ok {
			fmt.Println("up", ev.Interface)
		}
	})
	if err != nil {
		panic(err)
	}
	fmt.Println("pid", p.PID())
	select {}
}

// A daemon that is killed cannot stop its pppds. The kernel does: each is a child of a thread that ends with the daemon only.
func TestKernelPppdDiesWithTheDaemon(t *testing.T) {
	p := newPair(t, bare)
	_, at := p.session()
	b := p.b.start(at, client())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self)
	c.Env = append(os.Environ(), "PPPD_TEST_DIR="+t.TempDir())
	out := &output{said: make(chan string, 100)}
	c.Stdout, c.Stderr = out, out
	p.a.must(c.Start)
	pid := 0
	for up := false; !up || pid == 0; {
		select {
		case line := <-out.said:
			if _, err := fmt.Sscanf(line, "pid %d", &pid); err != nil {
				up = strings.HasPrefix(line, "up l2tp0")
			}
		case <-time.After(wait):
			t.Fatal("the daemon says nothing")
		}
	}
	b.next()
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	until(t, "pppd has ended", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z")
	})
	if out := p.a.run("ip -o link"); strings.Contains(out, "link/ppp") {
		t.Errorf("an interface is left: %s", out)
	}
	b.stop()
}

// output hands over what a process writes, a write at a time.
type output struct{ said chan string }

func (o *output) Write(b []byte) (int, error) {
	for line := range strings.Lines(string(b)) {
		o.said <- line
	}
	return len(b), nil
}
