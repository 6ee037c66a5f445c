//go:build kernel

package scenario

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
	"github.com/l2tpd/l2tpd/test/scenario/lac"
)

// BenchmarkLNS has callers come, 50 at a time, and go all at once: at l2tpd for the first time and once more, when interfaces wait for
// them; at an l2tpd that has made some ahead, for the first time; and at xl2tpd. The callers' processor time counts, for they share the guest. scripts/bench runs it, once each.
//
// xl2tpd draws the ids of sessions and does not look whether the tunnel has them already (new_call in its call.c), as one of fourteen
// tunnels with a hundred each then has. Upon the CDN that answers such an id it ends all calls of the tunnel, and does not say so; here
// they end, as failed, when the LAC has had no answer for long enough.
func BenchmarkLNS(b *testing.B) {
	for _, tunnels := range []int{1, 10, 50} {
		sessions := 100 * tunnels
		b.Run(fmt.Sprintf("l2tpd/%dx100", tunnels), func(b *testing.B) {
			l := newBenchLNS(b, tunnels, 0)
			l.rushes("new", sessions-pending)
			l.rushes("idle", 0)
			l.hangUp()
		})
		b.Run(fmt.Sprintf("ahead/%dx100", tunnels), func(b *testing.B) {
			l := newBenchLNS(b, tunnels, sessions)
			l.rushes("ahead", 0)
			l.hangUp()
		})
		b.Run(fmt.Sprintf("xl2tpd/%dx100", tunnels), func(b *testing.B) {
			c := newCrowd(b)
			first, last := crowdPool(sessions)
			x := c.core.ForeignPeer(fmt.Sprintf(`
[lns default]
ip range = %v-%v
local ip = 10.8.0.1
name = core
require authentication = yes
require chap = yes
refuse pap = yes
`, first, last), append(passwords("caller * "+theirPass), "only-options", "noccp\nnovj\nnodefaultroute\nlcp-echo-interval 0\n")...)
			c.dial(tunnels, control.TunnelConfig{})
			b.Run("pppd", func(b *testing.B) { c.rush(b, x.Proc, sessions, 0, nil) })
			c.hangUp()
		})
	}
}

// benchLNS is an l2tpd with its callers.
type benchLNS struct {
	*crowd
	b        *testing.B
	d        *lab.Daemon
	sessions int
}

// newBenchLNS starts one that may have some interfaces ready, and has a few callers come and go, which brings the program into memory.
func newBenchLNS(b *testing.B, tunnels, ready int) *benchLNS {
	b.Helper()
	sessions := 100 * tunnels
	l := &benchLNS{crowd: newCrowd(b), b: b, sessions: sessions}
	l.d = l.core.L2TPD(crowdLNS(sessions, "idle_timeout: never", fmt.Sprintf("lcp_echo: {interval: never}, interfaces_ready: %d", ready)))
	l.dial(tunnels, control.TunnelConfig{})
	l.Eventually("interfaces made ahead", func() error {
		if n := len(l.core.Interfaces()); n < ready {
			return fmt.Errorf("%d interfaces of %d", n, ready)
		}
		return nil
	})
	l.rush(b, l.d.Proc, pending, max(pending-ready, 0), l.heap)
	return l
}

func (l *benchLNS) heap() uint64 {
	l.settle(l.b, l.d.Proc)
	return l.d.Status().Process.HeapOctets
}

// rushes has all sessions come and go once; kept is how many more interfaces wait in the end.
func (l *benchLNS) rushes(name string, kept int) {
	l.b.Run(name, func(b *testing.B) {
		before := l.d.Status().Counters.Control.Retransmits
		l.rush(b, l.d.Proc, l.sessions, kept, l.heap)
		b.ReportMetric(float64(l.d.Status().Counters.Control.Retransmits-before), "repeats-lns")
	})
}

// BenchmarkDataPath moves data over one session by TCP: between two l2tpds that run, the same two while they are stopped, so that there
// is nothing but the kernel, and between xl2tpds. scripts/bench runs it, once each.
func BenchmarkDataPath(b *testing.B) {
	b.Run("l2tpd", func(b *testing.B) {
		p := newPair(b)
		daemons := []*lab.Daemon{p.a.L2TPD(caller("")), p.b.L2TPD(answerer(""))}
		daemons[0].WaitUp("remote")
		daemons[1].WaitUp("remote")
		p.a.Reaches("192.168.20.1", "192.168.10.1")
		var work float64
		running := func() float64 {
			for _, d := range daemons {
				work -= d.ProcessorTime().Seconds()
			}
			speed := p.speed(b, "192.168.20.1", "192.168.10.1")
			for _, d := range daemons {
				work += d.ProcessorTime().Seconds()
			}
			return speed
		}
		stopped := func() float64 {
			for _, d := range daemons {
				d.Signal(unix.SIGSTOP)
				defer d.Signal(unix.SIGCONT)
			}
			return p.speed(b, "192.168.20.1", "192.168.10.1")
		}
		running() // the first is slower
		work = 0
		var with, without float64
		for i := range streams { // each is first as often
			if i%2 == 0 {
				with += running()
			}
			without += stopped()
			if i%2 == 1 {
				with += running()
			}
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(with/streams, "running-Mbit/s")
		b.ReportMetric(without/streams, "stopped-Mbit/s")
		b.ReportMetric(work*1e6/streams, "daemons-cpu-us")
	})
	b.Run("xl2tpd", func(b *testing.B) {
		p := newPair(b)
		const options = "noccp\nnovj\nnodefaultroute\nnoauth\nlcp-echo-interval 0\n"
		p.b.ForeignPeer("[lns default]\nip range = 10.9.0.10-10.9.0.19\nlocal ip = 10.9.0.1\n", "only-options", options)
		x := p.a.ForeignPeer("[lac home]\nlns = 10.0.0.2\n", "only-options", options)
		x.Connect("home")
		p.a.Reaches("10.9.0.1")
		p.speed(b, "10.9.0.1", "10.9.0.10")
		speed := 0.0
		for range streams {
			speed += p.speed(b, "10.9.0.1", "10.9.0.10")
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(speed/streams, "running-Mbit/s")
	})
}

// streams is how many are measured, of each kind.
const streams = 6

// speed moves data from host a to an address of b, and returns how fast it arrived, in Mbit/s.
func (p *pair) speed(b *testing.B, to, from string) float64 {
	b.Helper()
	server := p.b.Start("iperf3", "iperf3", "--server", "--one-off", "--bind", to, "--json")
	p.Eventually("a server of iperf3", func() error {
		_, err := p.b.Try("sh", "-c", "ss -Hltn 'sport = 5201' | grep -q .")
		return err
	})
	out := p.a.Run("iperf3", "--client", to, "--bind", from, "--bytes", "24M", "--json")
	server.Wait()
	var result struct {
		End struct {
			Received struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil || result.End.Received.BitsPerSecond == 0 {
		b.Fatalf("iperf3: %v: %s", err, out)
	}
	return result.End.Received.BitsPerSecond / 1e6
}

// rush has sessions come and go, and reports how many a second; how long each took from ICRQ to the end of IPCP; and what one costs
// the LNS's processes. kept is how many files more than before they hold in the end; heap, which may be nil, asks for what is in use.
func (c *crowd) rush(b *testing.B, lns *lab.Proc, sessions, kept int, heap func() uint64) {
	b.Helper()
	if heap == nil {
		heap = func() uint64 { return 0 }
	}
	used, traffic := heap(), c.lac.Traffic()
	before, empty := c.lac.Tally(), processes(b, lns.PID())
	// The callers take of the processor what they must: with one thread nobody looks for work that another has, and there is memory.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	calls := make([]lac.Call, sessions)
	for i := range calls {
		calls[i] = lac.Call{Tunnel: i / 100, Client: callerBy(ppp.AuthCHAPMD5)}
	}
	b.ResetTimer()
	began, callers := time.Now(), ownTime(b)
	first := c.lac.Dial(calls...)
	c.wait("sessions", func(x lac.Tally) bool { return x.In[lac.Up]+x.In[lac.Ended]-before.In[lac.Ended] == sessions })
	up := time.Since(began)
	callers = ownTime(b) - callers
	full := processes(b, lns.PID())
	failed := c.lac.Tally().In[lac.Ended] - before.In[lac.Ended]
	if n, m := len(c.core.KernelSessions()), len(c.core.Interfaces()); n != sessions-failed || m < n {
		b.Fatalf("%d sessions and %d interfaces in the kernel, want %d", n, m, sessions-failed)
	}
	used = heap() - used
	full.memory = processes(b, lns.PID()).memory
	began = time.Now()
	c.lac.Drop()
	c.Eventually("the end of sessions", func() error {
		if running, files := held(b, lns.PID()); files > empty.files+kept || running > empty.running {
			return fmt.Errorf("%d processes with %d files, before %+v", running, files, empty)
		}
		return nil
	})
	down := time.Since(began)
	if n := len(c.core.KernelSessions()); n != 0 {
		b.Fatalf("%d sessions are left in the kernel", n)
	}
	var took []time.Duration
	var configured []int // packets of LCP with options that the LNS sent: all negotiations are alike, so that more are repeats
	now := c.lac.Traffic()
	repeats := now.ControlRepeats - traffic.ControlRepeats + now.FrameRepeats - traffic.FrameRepeats
	for _, s := range c.lac.Sessions()[first:] {
		if s.NetworkUp != 0 {
			took = append(took, s.NetworkUp-s.Asked)
			configured = append(configured, s.Configured)
		}
	}
	slices.Sort(took)
	usual := slices.Min(configured)
	for _, n := range configured {
		repeats += uint64(n - usual)
	}
	n := float64(len(took))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(failed), "failed")
	b.ReportMetric(float64(repeats), "repeats")
	b.ReportMetric(n/up.Seconds(), "up/s")
	b.ReportMetric(n/down.Seconds(), "down/s")
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
	if used > 0 {
		b.ReportMetric(float64(used)/1024/n, "heap-KiB/session")
	}
	b.ReportMetric(float64(full.memory-empty.memory)/n, "KiB/session")
	b.ReportMetric(float64((full.time-empty.time).Microseconds())/n/1000, "cpu-ms/session")
	b.ReportMetric(float64(callers.Microseconds())/n/1000, "callers-cpu-ms/session")
}

// settle waits until the LNS has given back what it does not need, which it does after five seconds without much to do.
func (c *crowd) settle(b *testing.B, lns *lab.Proc) {
	b.Helper()
	const (
		unchanged = 16 * time.Second // three looks
		little    = 64               // KiB, which come and go
	)
	memory, since := 0, time.Now()
	c.Eventually("memory that stays", func() error {
		if now := resident(strconv.Itoa(lns.PID())); now > memory+little || now < memory-little {
			memory, since = now, time.Now()
		}
		if time.Since(since) < unchanged {
			return fmt.Errorf("%d KiB for %v", memory, time.Since(since))
		}
		return nil
	})
}

// footing is what processes take.
type footing struct {
	running int           // processes
	files   int           // of the first
	memory  int           // anonymous, in KiB
	time    time.Duration // of the processor, with that of children that have ended
}

// processes looks at a process and its children.
func processes(b *testing.B, pid int) (f footing) {
	b.Helper()
	f.running, f.files = held(b, pid)
	for _, p := range append(children(pid), strconv.Itoa(pid)) {
		stat, _ := os.ReadFile("/proc/" + p + "/stat")
		_, after, _ := strings.Cut(string(stat), ") ") // state, ppid, ...
		if fields := strings.Fields(after); len(fields) > 14 {
			for _, ticks := range fields[11:15] { // utime, stime, cutime, cstime
				n, _ := strconv.Atoi(ticks)
				f.time += time.Duration(n) * 10 * time.Millisecond
			}
		}
		f.memory += resident(p)
	}
	return f
}

// ownTime is what the callers have taken of the processor.
func ownTime(b *testing.B) time.Duration {
	b.Helper()
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// resident is a process's anonymous memory, in KiB.
func resident(pid string) (size int) {
	status, _ := os.ReadFile("/proc/" + pid + "/status")
	if _, after, ok := strings.Cut(string(status), "RssAnon:"); ok {
		size, _ = strconv.Atoi(strings.Fields(after)[0])
	}
	return size
}

func children(pid int) []string {
	list, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	return strings.Fields(string(list))
}

// held counts a process and its children, and its files. It costs little: others need the processor meanwhile.
func held(b *testing.B, pid int) (running, files int) {
	b.Helper()
	dir, err := os.Open(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		b.Fatal(err)
	}
	defer dir.Close()
	if info, err := dir.Stat(); err == nil && info.Size() > 0 { // since Linux 6.2
		return 1 + len(children(pid)), int(info.Size())
	}
	names, err := dir.Readdirnames(0)
	if err != nil {
		b.Fatal(err)
	}
	return 1 + len(children(pid)), len(names)
}
