//go:build kernel

package scenario

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
	"github.com/l2tpd/l2tpd/test/scenario/lac"
)

const (
	// soakSessions is how many sessions come and go in each round. The environment variable L2TPD_SOAK says another number.
	soakSessions = 1000
	soakRounds   = 10
	perTunnel    = 50 // sessions
)

// footprint is what a daemon occupies.
type footprint struct {
	Interfaces, KernelTunnels, KernelSessions, Files, Goroutines, Threads int
	RSS                                                                   int // KiB
}

// waitingWorkers is how many goroutines may wait for work, as long as there are sessions: to look whether their peers live is some.
const waitingWorkers = 16

// held is what must come back to the same number; memory and threads need not.
func (f footprint) held() footprint {
	f.Threads, f.RSS = 0, 0
	return f
}

// is tells whether all is held that want says, and no more.
func (f footprint) is(want footprint) bool {
	more := f.Goroutines - want.Goroutines
	if f.KernelSessions > 0 && more > 0 && more <= waitingWorkers {
		f.Goroutines = want.Goroutines
	}
	return f.held() == want.held()
}

// soak is an LNS and a LAC whose tunnels stay. One more of them has no sessions: its silence is broken by HELLO alone, for the kernel's
// data shows that the others live.
type soak struct {
	*crowd
	d        *lab.Daemon
	sessions int
	tunnels  int
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	s := &soak{crowd: newCrowd(t), sessions: soakSessions}
	if text := os.Getenv("L2TPD_SOAK"); text != "" {
		var err error
		if s.sessions, err = strconv.Atoi(text); err != nil || s.sessions < 4 {
			t.Fatalf("L2TPD_SOAK=%s: %v", text, err)
		}
	}
	s.tunnels = (s.sessions+perTunnel-1)/perTunnel + 1
	s.d = s.core.L2TPD(crowdLNS(s.sessions, "hello: 2s, idle_timeout: never", "lcp_echo: {interval: 4s, failures: 20}"))
	s.dial(s.tunnels, control.TunnelConfig{HelloInterval: 2 * time.Second})
	return s
}

// calls are the callers of one round: three that negotiate for themselves, each with its own kind of login, to one whom the LAC has
// negotiated with.
func (s *soak) calls() []lac.Call {
	calls := make([]lac.Call, s.sessions)
	for i := range calls {
		method := []ppp.AuthMethod{ppp.AuthPAP, ppp.AuthCHAPMD5, ppp.AuthMSCHAPv2, ppp.AuthCHAPMD5}[i%4]
		calls[i] = lac.Call{Tunnel: i / perTunnel, Client: callerBy(method)}
		if i%4 == 3 {
			calls[i].Proxy = &lac.Proxy{LAC: ppp.Config{Name: "lac", Auth: []ppp.AuthMethod{method}}}
		}
	}
	return calls
}

// measure looks at what the daemon occupies.
func (s *soak) measure() (f footprint, err error) {
	f.Interfaces, f.KernelTunnels, f.KernelSessions = len(s.core.Interfaces()), len(s.core.KernelTunnels()), len(s.core.KernelSessions())
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.d.PID()))
	if err != nil {
		return f, err
	}
	f.Files, f.Goroutines = len(files), s.d.Status().Process.Goroutines
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.d.PID()))
	if err != nil {
		return f, err
	}
	for name, to := range map[string]*int{"Threads": &f.Threads, "VmRSS": &f.RSS} {
		m := regexp.MustCompile(name + `:\s*(\d+)`).FindSubmatch(status)
		if m == nil {
			return f, errors.New("no " + name)
		}
		if *to, err = strconv.Atoi(string(m[1])); err != nil {
			return f, err
		}
	}
	return f, nil
}

// settled waits until the daemon holds what it should, with no more memory than want says, if it does: what Go has freed goes back to
// the kernel in its own time. It returns all that the daemon occupies.
func (s *soak) settled(what string, want footprint) (f footprint) {
	s.t.Helper()
	s.Eventually(what, func() error {
		var err error
		if f, err = s.measure(); err == nil && (!f.is(want) || want.RSS > 0 && f.RSS > want.RSS) {
			err = fmt.Errorf("%+v, want %+v", f, want)
		}
		return err
	})
	return f
}

// rested waits until the daemon occupies the same for two seconds, twice as long as its workers wait for more to do.
func (s *soak) rested() (f footprint) {
	s.t.Helper()
	since := time.Now()
	s.Eventually("a daemon at rest", func() error {
		now, err := s.measure()
		if now.held() != f.held() {
			since = time.Now()
		}
		f = now
		if err == nil && time.Since(since) < 2*time.Second {
			err = fmt.Errorf("%+v since a moment ago", f)
		}
		return err
	})
	return f
}

// round has all sessions come, idle, and go: one half as the callers wish, the other as their line is lost. full and empty are what the
// daemon should occupy when all are up, and after; it returns what it did.
func (s *soak) round(full, empty footprint) (footprint, footprint) {
	s.t.Helper()
	first := s.lac.Dial(s.calls()...)
	before := s.lac.Tally()
	s.wait("sessions", func(x lac.Tally) bool { return x.In[lac.Up] == s.sessions || x.In[lac.Ended] > before.In[lac.Ended] })
	s.wait("echoes and HELLOs", func(x lac.Tally) bool { return x.Checked == s.sessions && x.Hellos >= before.Hellos+2 })
	if n := s.d.Status().Sessions; n != s.sessions {
		s.t.Errorf("the daemon has %d sessions, want %d", n, s.sessions)
	}
	full = s.settled("with all sessions up", full)
	var polite, lost []int
	for n := first; n < first+s.sessions; n++ {
		if n%2 == 0 {
			polite = append(polite, n)
		} else {
			lost = append(lost, n)
		}
	}
	s.lac.HangUp(polite...)
	s.lac.Drop(lost...)
	s.wait("ends", func(x lac.Tally) bool { return x.In[lac.Ended] == first+s.sessions })
	return full, s.settled("after a round", empty)
}

// filesPerSession are the sockets and the units of PPP that the daemon holds for one.
const filesPerSession = 3

// mostThreads is how many threads the daemon may have: one for each worker of the engine and of the kernel's side, who may all wait for
// the kernel at the same moment, and some for Go, which keeps every thread that it ever had. One for each session would be far more.
const mostThreads = 64 + 64 + 16

// swing is by how many KiB the memory goes up and down with the collector of garbage, from one round to another. What is lost in eight
// rounds of 1,000 sessions shows beyond it from 2 KiB a session on; what is lost in rounds of a hundred, from 20.
const swing = 16 << 10

// S128, P149: sessions come, idle and go, ten times over, and the daemon occupies no more after the last time than after the first.
func TestSessionsComeAndGoTenTimes(t *testing.T) {
	s := newSoak(t)
	empty := s.rested()
	t.Logf("%d sessions in %d tunnels: %+v", s.sessions, s.tunnels, empty)
	full := empty.held()
	full.Interfaces, full.KernelSessions, full.Files = s.sessions, s.sessions, empty.Files+filesPerSession*s.sessions
	empty = empty.held()
	empty.Interfaces, empty.Files = empty.Interfaces+s.sessions, empty.Files+s.sessions // they wait for the next round
	var lines, mostFull, mostEmpty int
	for n := range soakRounds {
		began, mark := time.Now(), s.d.Mark()
		f, e := s.round(full, empty)
		said := strings.Count(s.d.LogSince(mark), "\n")
		t.Logf("round %d in %v: %+v, then %+v, %d lines", n+1, time.Since(began).Round(time.Second), f, e, said)
		switch n {
		case 1:
			lines = said
			mostFull, mostEmpty = f.RSS+swing, e.RSS+swing
		case soakRounds - 2:
			full.RSS, empty.RSS = mostFull, mostEmpty
		case soakRounds - 1:
			if e.Threads > mostThreads {
				t.Errorf("%d threads, want at most %d", e.Threads, mostThreads)
			}
			if said > lines+s.sessions/10 || lines > 4*s.sessions {
				t.Errorf("%d lines in the log in the last round, %d in the second", said, lines)
			}
		}
	}
	t.Logf("%+v", s.lac.Traffic())
	s.hangUp()
	empty.Files, empty.Goroutines, empty.KernelTunnels = empty.Files-s.tunnels, empty.Goroutines-s.tunnels, 0 // a socket each, with a reader
	s.settled("after the tunnels", empty)
	calm(t, s.d)
	discreet(t, s.d)
}
