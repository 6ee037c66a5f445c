//go:build kernel

package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
	"github.com/l2tpd/l2tpd/test/scenario/subscriber"
)

// fair is a LAC with many subscribers on one Ethernet, and an l2tpd that is their LNS. All three share the guest.
type fair struct {
	*lab.Lab
	street *lab.Host // its interface is lac, and that of the LAC street
	lac    *lab.Host
	core   *lab.Host // 10.4.0.2
	dlac   *lab.Daemon
	dlns   *lab.Daemon
}

func newFair(b *testing.B, sessions int) *fair {
	b.Helper()
	f := &fair{Lab: lab.New(b)}
	f.street, f.lac, f.core = f.Host("street"), f.Host("lac"), f.Host("lns")
	f.Link(f.lac.At("10.4.0.1/24"), f.core.At("10.4.0.2/24"))
	f.Link(f.street.At("10.5.0.2/24"), f.lac.At("10.5.0.1/24"))
	f.dlns = f.core.L2TPD(crowdLNS(sessions, "idle_timeout: never", "lcp_echo: {interval: never}"))
	f.dlac = f.lac.L2TPD(`
server: {mode: lac, hostname: lac}
lac:
  access: [{pppoe: {interface: street, template: access, rate: 10000}}]
  rules: [{match: all, action: tunnel, lns: [{address: 10.4.0.2}], tunnel_sessions: 100, tunnel: {idle_timeout: never}}]
ppp: {templates: {access: {auth: chap, lcp_echo: {interval: never}}}}
`)
	return f
}

// BenchmarkLAC has subscribers come by PPPoE, 50 at a time, log in and be bridged to an LNS, and hang up all at once; at an l2tpd that has
// not had so many before, and once more. scripts/bench runs it, once each.
func BenchmarkLAC(b *testing.B) {
	for _, tunnels := range []int{1, 10} {
		sessions := 100 * tunnels
		b.Run(fmt.Sprintf("%dx100", tunnels), func(b *testing.B) {
			f := newFair(b, sessions)
			f.rush(b, pending, false) // brings the programs into memory
			b.Run("new", func(b *testing.B) { f.rush(b, sessions, true) })
			b.Run("again", func(b *testing.B) { f.rush(b, sessions, false) })
		})
	}
}

// rush has subscribers come and go, and reports how many a second; how long each took from PADI to an address, and of that, from PADR to
// the bridge; and what one costs the LAC's daemon. memory: also what it keeps.
func (f *fair) rush(b *testing.B, sessions int, memory bool) {
	b.Helper()
	heap := func() (used uint64, anonymous int) {
		if memory {
			(&crowd{Lab: f.Lab, t: b}).settle(b, f.dlac.Proc)
			return f.dlac.Status().Process.HeapOctets, resident(fmt.Sprint(f.dlac.PID()))
		}
		return 0, 0
	}
	used, anonymous := heap()
	var port *subscriber.Port
	if err := f.street.Do(func() (err error) {
		port, err = subscriber.Open(subscriber.Config{Interface: "lac", Pending: pending})
		return err
	}); err != nil {
		b.Fatal(err)
	}
	defer port.Close()
	// As in crowd.rush: the subscribers take of the processor what they must.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	calls := make([]subscriber.Call, sessions)
	for i := range calls {
		calls[i].Client = callerBy(ppp.AuthCHAPMD5)
	}
	tunnels, cpu := len(f.dlac.Tunnels()), f.dlac.ProcessorTime()
	b.ResetTimer()
	began := time.Now()
	port.Dial(calls...)
	wait := func(what string, cond func(subscriber.Tally) bool) {
		ctx, cancel := context.WithTimeout(b.Context(), 5*lab.Patience)
		defer cancel()
		if err := port.Wait(ctx, cond); err != nil {
			b.Fatalf("%s: %v; %+v", what, err, port.Traffic())
		}
	}
	wait("subscribers", func(x subscriber.Tally) bool { return x.In[subscriber.Up]+x.In[subscriber.Ended] == sessions })
	up := time.Since(began)
	cpu = f.dlac.ProcessorTime() - cpu
	failed, traffic := port.Tally().In[subscriber.Ended], port.Traffic()
	f.complete(b, sessions-failed, tunnels)
	full, fullAnonymous := heap()
	took, bridged := f.latencies(port)
	downCPU := f.dlac.ProcessorTime()
	began = time.Now()
	port.HangUp()
	wait("the end", func(x subscriber.Tally) bool { return x.In[subscriber.Ended] == sessions })
	f.Eventually("the end at the LAC", func() error {
		if n := f.dlac.Status().Access[0].Sessions; n > 0 {
			return fmt.Errorf("%d subscribers are left", n)
		}
		return nil
	})
	down := time.Since(began)
	f.Eventually("the end at the LNS", func() error { // so that the next ones find calm
		if n := len(f.dlns.Sessions()) + len(f.core.KernelSessions()) + len(f.lac.KernelSessions()); n > 0 {
			return fmt.Errorf("%d sessions are left", n)
		}
		return nil
	})
	n := float64(len(took))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(failed), "failed")
	b.ReportMetric(float64(traffic.DiscoveryRepeats+traffic.FrameRepeats), "repeats")
	b.ReportMetric(n/up.Seconds(), "up/s")
	b.ReportMetric(n/down.Seconds(), "down/s")
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
	b.ReportMetric(float64(bridged[len(bridged)/2].Milliseconds()), "bridged-p50-ms")
	b.ReportMetric(float64(bridged[len(bridged)*99/100].Milliseconds()), "bridged-p99-ms")
	b.ReportMetric(float64(cpu.Microseconds())/n/1000, "cpu-ms/session")
	b.ReportMetric(float64((f.dlac.ProcessorTime()-downCPU).Microseconds())/n/1000, "cpu-down-ms/session")
	if memory {
		b.ReportMetric(float64(int64(full)-int64(used))/1024/n, "heap-KiB/session")
		b.ReportMetric(float64(fullAnonymous-anonymous)/n, "KiB/session")
	}
}

// complete checks that what so many sessions need is in the kernel. tunnels were there before.
func (f *fair) complete(b *testing.B, sessions, tunnels int) {
	b.Helper()
	if n := strings.Count(f.lac.Run("cat", "/proc/net/pppoe"), "street"); n != sessions {
		b.Fatalf("%d lines in the kernel, want %d", n, sessions)
	}
	if n := len(f.lac.KernelSessions()); n != sessions {
		b.Fatalf("%d sessions in the kernel, want %d", n, sessions)
	}
	if n := len(f.dlac.Tunnels()); n < tunnels || n != max(1, (sessions+99)/100, tunnels) {
		b.Fatalf("%d tunnels for %d sessions, before %d", n, sessions, tunnels)
	}
}

// latencies are how long subscribers have taken from PADI to an address, and from PADR to the bridge, in order.
func (f *fair) latencies(port *subscriber.Port) (took, bridged []time.Duration) {
	for _, x := range f.dlac.Sessions() {
		if x.Access != "" && !x.EstablishedAt.IsZero() {
			bridged = append(bridged, x.EstablishedAt.Sub(x.StartedAt))
		}
	}
	for _, x := range port.Sessions() {
		if x.NetworkUp != 0 {
			took = append(took, x.NetworkUp-x.Asked)
		}
	}
	slices.Sort(bridged)
	slices.Sort(took)
	return took, bridged
}

// BenchmarkBridge moves data from a subscriber's host, whose pppd has its PPPoE in the kernel, to the LNS's: through the bridge of a LAC that
// runs, of the same stopped by SIGSTOP, so that there is nothing but the kernel, and past all PPP, by the LAC's host as a router.
// scripts/bench runs it, once each.
func BenchmarkBridge(b *testing.B) {
	f := newFair(b, 10)
	f.core.Route("10.5.0.0/24", "10.4.0.1")
	f.street.Route("10.4.0.0/24", "10.5.0.1")
	_, own, served := f.street.Subscriber("lac", "caller", theirPass).WaitUp()
	f.street.Reaches(served)
	for _, kind := range []struct {
		name string
		args []string
		unit string
	}{{"TCP", []string{"--bytes", "24M"}, "Mbit/s"}, {"UDP", []string{"--udp", "--length", "64", "--bitrate", "0", "--time", "3"}, "packets/s"}} {
		b.Run(kind.name, func(b *testing.B) {
			var work, rest time.Duration
			frames := f.dlac.Status().Counters.PPPFrames.In
			ways := []struct {
				name string
				run  func() float64
			}{
				{"running", func() float64 {
					work -= f.dlac.ProcessorTime()
					defer func() { work += f.dlac.ProcessorTime() }()
					return f.speed(b, served, own, kind.args)
				}},
				{"stopped", func() float64 {
					f.dlac.Signal(unix.SIGSTOP)
					defer f.dlac.Signal(unix.SIGCONT)
					return f.speed(b, served, own, kind.args)
				}},
				{"veth", func() float64 {
					rest -= f.dlac.ProcessorTime()
					defer func() { rest += f.dlac.ProcessorTime() }()
					return f.speed(b, "10.4.0.2", "10.5.0.2", kind.args)
				}},
			}
			sums := make([]float64, len(ways))
			for _, w := range ways {
				w.run() // the first is slower
			}
			work, rest = 0, 0
			for i := range streams { // each is first as often
				for j := range ways {
					k := (i + j) % len(ways)
					sums[k] += ways[k].run()
				}
			}
			b.ReportMetric(0, "ns/op")
			for i, w := range ways {
				b.ReportMetric(sums[i]/streams, w.name+"-"+kind.unit)
			}
			b.ReportMetric(float64(work.Microseconds())/streams, "daemon-cpu-us")
			b.ReportMetric(float64(rest.Microseconds())/streams, "daemon-cpu-beside-veth-us")
			b.ReportMetric(float64(f.dlac.Status().Counters.PPPFrames.In-frames), "daemon-frames")
		})
	}
}

// speed moves data from the street to the LNS's host and returns how fast it arrived: Mbit/s of TCP, packets a second of UDP.
func (f *fair) speed(b *testing.B, to, from string, args []string) float64 {
	b.Helper()
	server := f.core.Start("iperf3", "iperf3", "--server", "--one-off", "--bind", to, "--json")
	f.Eventually("a server of iperf3", func() error {
		_, err := f.core.Try("sh", "-c", "ss -Hltn 'sport = 5201' | grep -q .")
		return err
	})
	out := f.street.Run("iperf3", append([]string{"--client", to, "--bind", from, "--json"}, args...)...)
	server.Wait()
	var result struct {
		End struct {
			Received struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
			Sum *struct {
				Packets float64 `json:"packets"`
				Lost    float64 `json:"lost_packets"`
				Seconds float64 `json:"seconds"`
			} `json:"sum"`
		}
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		b.Fatalf("iperf3: %v: %s", err, out)
	}
	if s := result.End.Sum; s != nil && s.Packets > 0 {
		return (s.Packets - s.Lost) / s.Seconds
	}
	if result.End.Received.BitsPerSecond == 0 {
		b.Fatalf("iperf3: %s", out)
	}
	return result.End.Received.BitsPerSecond / 1e6
}
