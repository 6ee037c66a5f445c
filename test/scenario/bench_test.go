//go:build kernel

package scenario

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
	"github.com/l2tpd/l2tpd/test/scenario/lac"
)

// BenchmarkLNS has callers come, 50 at a time, and go all at once: at l2tpd for the first time and once more, when interfaces wait for
// them, and at xl2tpd. The callers' processor time counts, for they share the guest. scripts/bench runs it, once each.
func BenchmarkLNS(b *testing.B) {
	for _, tunnels := range []int{1, 10, 50} {
		sessions := 100 * tunnels
		b.Run(fmt.Sprintf("l2tpd/%dx100", tunnels), func(b *testing.B) {
			c := newCrowd(b)
			d := c.core.L2TPD(crowdLNS(sessions, "idle_timeout: never", "lcp_echo: {interval: never}"))
			c.dial(tunnels, control.TunnelConfig{})
			c.rush(b, d.Proc, pending, pending) // brings the program into memory
			b.Run("new", func(b *testing.B) { c.rush(b, d.Proc, sessions, min(sessions, idleInterfaces)-pending) })
			b.Run("idle", func(b *testing.B) { c.rush(b, d.Proc, sessions, 0) })
			control := d.Status().Counters.Control
			b.Logf("%d control messages sent, %d again; LAC: %+v", control.Out, control.Retransmits, c.lac.Traffic())
			c.hangUp()
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
			c.rush(b, x.Proc, pending, 0)
			b.Run("pppd", func(b *testing.B) { c.rush(b, x.Proc, sessions, 0) })
			c.hangUp()
		})
	}
}

// idleInterfaces is how many l2tpd keeps for the sessions to come.
const idleInterfaces = 1024

// rush has sessions come and go, and reports how many a second; how long each took from ICRQ to the end of IPCP; and what one costs
// the LNS's processes. kept is how many files more than before they hold in the end.
func (c *crowd) rush(b *testing.B, lns *lab.Proc, sessions, kept int) {
	b.Helper()
	before, empty := c.lac.Tally(), processes(b, lns.PID())
	calls := make([]lac.Call, sessions)
	for i := range calls {
		calls[i] = lac.Call{Tunnel: i / 100, Client: callerBy(ppp.AuthCHAPMD5)}
	}
	b.ResetTimer()
	began := time.Now()
	first := c.lac.Dial(calls...)
	c.wait("sessions", func(x lac.Tally) bool { return x.In[lac.Up]+x.In[lac.Ended]-before.In[lac.Ended] == sessions })
	up := time.Since(began)
	full := processes(b, lns.PID())
	failed := c.lac.Tally().In[lac.Ended] - before.In[lac.Ended]
	if n, m := len(c.core.KernelSessions()), len(c.core.Interfaces()); n != sessions-failed || m < n {
		b.Fatalf("%d sessions and %d interfaces in the kernel, want %d", n, m, sessions-failed)
	}
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
	for _, s := range c.lac.Sessions()[first:] {
		if s.NetworkUp != 0 {
			took = append(took, s.NetworkUp-s.Asked)
		}
	}
	slices.Sort(took)
	n := float64(len(took))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(failed), "failed")
	b.ReportMetric(n/up.Seconds(), "up/s")
	b.ReportMetric(n/down.Seconds(), "down/s")
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
	b.ReportMetric(float64(full.memory-empty.memory)/n, "KiB/session")
	b.ReportMetric(float64((full.time-empty.time).Microseconds())/n/1000, "cpu-ms/session")
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
		status, _ := os.ReadFile("/proc/" + p + "/status")
		if _, after, ok := strings.Cut(string(status), "RssAnon:"); ok {
			n, _ := strconv.Atoi(strings.Fields(after)[0])
			f.memory += n
		}
	}
	return f
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
	names, err := dir.Readdirnames(0)
	if err != nil {
		b.Fatal(err)
	}
	return 1 + len(children(pid)), len(names)
}
