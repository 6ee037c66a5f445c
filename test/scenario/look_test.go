//go:build kernel

package scenario

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/ppp"
	"github.com/l2tpd/l2tpd/test/scenario/lab"
	"github.com/l2tpd/l2tpd/test/scenario/lac"
)

// late is for how long a message may wait for a loop, or a turn of one take: a peer sends again after that (RFC 2661, 5.8). One in a hundred
// may be late all the same, because the whole guest was.
const late = time.Second

// Operators look at 2,000 sessions in every way, again and again: sessions that come meanwhile do, HELLOs go on, and no message waits for
// a loop as long as it takes a peer to send again. The histograms of the loops are in the test's log.
func TestLooksAtManySessionsDelayNothing(t *testing.T) {
	const (
		sessions, newcomers = 2000, 100
		addr                = "127.0.0.1:9711"
	)
	c := newCrowd(t)
	d := c.core.L2TPD(crowdLNS(sessions, "hello: 2s, idle_timeout: never", "lcp_echo: {interval: never}") + "metrics: {listen: [" + addr + "]}\n")
	c.dial(sessions/perTunnel+1, control.TunnelConfig{}) // HELLO alone shows that the last one lives
	c.lac.Dial(callsOf(0, sessions-newcomers)...)
	c.wait("sessions", func(x lac.Tally) bool { return x.In[lac.Up] == sessions-newcomers || x.In[lac.Ended] > 0 })

	began := time.Now()
	d.Ctl("session", "list")
	most := late
	if time.Since(began) > late { // the machine is too slow for seconds to say anything
		most = 5 * late
	}
	alone := loopsOf(t, c.core, addr)
	before, hellos := d.Status().Counters.Control, c.lac.Tally().Hellos
	looks := operatorsLook(t, d, 3, map[string][]string{
		`(?m)^SESSION +STATE `:          {"session", "list"},
		`"state": "established"`:        {"session", "list", "-o", "json"},
		`(?m)^SESSION +USER OR CALL `:   {"top", "--once", "--interval", "1s"},
		`(?m)^l2tp_sessions [12]\d{3}$`: nil,
	}, func() (string, error) { return tryScrape(c.core, addr) })
	c.lac.Dial(callsOf(sessions-newcomers, newcomers)...)
	c.wait("sessions that come meanwhile", func(x lac.Tally) bool { return x.In[lac.Up] == sessions || x.In[lac.Ended] > 0 })
	looks.Wait()
	c.wait("HELLOs", func(x lac.Tally) bool { return x.Hellos >= hellos+3 })
	after := d.Status().Counters.Control
	beside := loopsOf(t, c.core, addr)
	t.Logf("%d control messages sent, %d of them again, and %d received meanwhile", after.Out-before.Out, after.Retransmits-before.Retransmits, after.In-before.In)
	if x := c.lac.Tally(); x.In[lac.Ended] > 0 || x.Down > 0 {
		t.Errorf("%+v", x)
	}
	for _, name := range []string{"l2tp_loop_wait_seconds", "l2tp_loop_run_seconds"} {
		h := beside[name].since(alone[name])
		t.Logf("%s: %v", name, h)
		if n, all := h.above(most.Seconds()), h.above(0); n > all/100 {
			t.Errorf("%s: %v of %v took longer than %v", name, n, all, most)
		}
	}
	c.hangUp()
}

// callsOf are n calls, the first one being call number first.
func callsOf(first, n int) []lac.Call {
	calls := make([]lac.Call, n)
	for i := range calls {
		calls[i] = lac.Call{Tunnel: (first + i) / perTunnel, Client: callerBy(ppp.AuthCHAPMD5)}
	}
	return calls
}

// operatorsLook has operators look at a daemon, each in his own way and so many times: verbs of l2tpctl by what their answers must have in
// them; nil stands for scrape.
func operatorsLook(t *testing.T, d *lab.Daemon, times int, verbs map[string][]string, scrape func() (string, error)) *sync.WaitGroup {
	t.Helper()
	all := new(sync.WaitGroup)
	for want, verb := range verbs {
		all.Go(func() {
			for range times {
				var out string
				var err error
				if verb == nil {
					out, err = scrape()
				} else {
					out, err = d.TryCtl(verb...)
				}
				if err != nil || !regexp.MustCompile(want).MatchString(out) {
					t.Errorf("%v: %v, no %q in %.1000s", verb, err, want, out)
					return
				}
			}
		})
	}
	return all
}

// histogram is one of the metrics, of all loops together: how many took at most so many seconds.
type histogram struct {
	bounds []float64
	counts map[float64]float64
}

// loopsOf reads the histograms of the loops.
func loopsOf(t *testing.T, h *lab.Host, addr string) map[string]histogram {
	t.Helper()
	all := map[string]histogram{}
	for _, m := range regexp.MustCompile(`(?m)^(l2tp_loop_\w+_seconds)_bucket\{shard="\d+",le="([^"]+)"\} (\S+)$`).FindAllStringSubmatch(scrape(t, h, addr), -1) {
		bound, err1 := strconv.ParseFloat(m[2], 64)
		count, err2 := strconv.ParseFloat(m[3], 64)
		if err1 != nil || err2 != nil {
			t.Fatalf("%v: %v, %v", m, err1, err2)
		}
		x, ok := all[m[1]]
		if !ok {
			x.counts = map[float64]float64{}
		}
		if _, ok := x.counts[bound]; !ok {
			x.bounds = append(x.bounds, bound)
		}
		x.counts[bound] += count
		all[m[1]] = x
	}
	if len(all) != 2 {
		t.Fatalf("%d histograms of loops", len(all))
	}
	return all
}

// since is what has come after an earlier look.
func (h histogram) since(before histogram) histogram {
	x := histogram{bounds: h.bounds, counts: map[float64]float64{}}
	for bound, n := range h.counts {
		x.counts[bound] = n - before.counts[bound]
	}
	return x
}

// above is how many took longer.
func (h histogram) above(seconds float64) float64 {
	all := h.counts[math.Inf(1)]
	if seconds == 0 {
		return all
	}
	within := 0.0
	for _, bound := range h.bounds {
		if bound <= seconds {
			within = max(within, h.counts[bound])
		}
	}
	return all - within
}

// String has how many took at most so long, bound by bound.
func (h histogram) String() string {
	var b strings.Builder
	for _, bound := range h.bounds {
		fmt.Fprintf(&b, " %vs: %v", bound, h.counts[bound])
	}
	return b.String()
}
