package metrics

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// shown is one counter of the AR740: the series that have it, whose sum is the value.
type shown struct {
	row    string
	what   string
	series []string
	value  func(*api.Status) uint64
}

func counters(get func(*api.Counters) uint64) func(*api.Status) uint64 {
	return func(s *api.Status) uint64 { return get(&s.Counters) }
}

// Every counter among S108 to S149 has its metric. S118 (arrived while disabled) cannot be: a daemon that is disabled has no socket. What
// the blocks of S148 and S149 count for one tunnel or call is here their sum: the series of a single one would not be bounded.
//
// long: a table.
func TestEveryCounterOfTheARHasAMetric(t *testing.T) {
	t.Parallel()
	discard := func(reason string) []string {
		return []string{`l2tp_discarded_messages_total{reason="` + reason + `"}`}
	}
	ctl := func(direction string, contents ...string) (all []string) {
		for _, c := range contents {
			all = append(all, fmt.Sprintf(`l2tp_control_messages_total{content=%q,direction=%q}`, c, direction))
		}
		return all
	}
	order := func(o string) []string { return []string{`l2tp_control_order_total{order="` + o + `"}`} }
	data := func(what, direction string) []string {
		return []string{fmt.Sprintf(`l2tp_data_%s_total{direction=%q}`, what, direction)}
	}
	wanted := []shown{
		{"S113", "Failed Authentications", []string{"l2tp_tunnel_auth_failures_total"}, counters(func(c *api.Counters) uint64 { return c.TunnelAuthFailures })},
		{"S114", "In Messages", []string{`l2tp_messages_total{direction="in"}`}, counters(func(c *api.Counters) uint64 { return c.InMessages })},
		{"S114", "Out Messages", []string{`l2tp_messages_total{direction="out"}`}, counters(func(c *api.Counters) uint64 { return c.OutMessages })},
		{"S115", "In Errors", []string{"l2tp_receive_errors_total"}, counters(func(c *api.Counters) uint64 { return c.InErrors })},
		{"S116", "Tunnels", []string{"l2tp_tunnels"}, func(s *api.Status) uint64 { return uint64(s.Tunnels) }},
		{"S119", "In Discarded - Filtered", discard("filtered"), counters(func(c *api.Counters) uint64 { return c.Discarded.Filtered })},
		{"S120", "In Discarded - No Such Tunnel", discard("no-such-tunnel"), counters(func(c *api.Counters) uint64 { return c.Discarded.NoSuchTunnel })},
		{"S120", "In Discarded - No Such Call", discard("no-such-session"), counters(func(c *api.Counters) uint64 { return c.Discarded.NoSuchSession })},
		{"S121", "Mal Formed Packets", discard("malformed"), counters(func(c *api.Counters) uint64 { return c.Discarded.Malformed })},
		{"S122", "In Control Packets", ctl("in", "data", "none"), counters(func(c *api.Counters) uint64 { return c.Control.InWithData + c.Control.InNoData })},
		{"S122", "With Data", ctl("in", "data"), counters(func(c *api.Counters) uint64 { return c.Control.InWithData })},
		{"S122", "No Data", ctl("in", "none"), counters(func(c *api.Counters) uint64 { return c.Control.InNoData })},
		{"S123", "Processed Control Packets", []string{"l2tp_control_processed_total"}, counters(func(c *api.Counters) uint64 { return c.Control.Processed })},
		{"S124", "In Order Control Packets", order("in-order"), counters(func(c *api.Counters) uint64 { return c.Control.InOrder })},
		{"S124", "Out Of Order Control Packets", order("out-of-order"), counters(func(c *api.Counters) uint64 { return c.Control.OutOfOrder })},
		{"S124", "Order Discarded Ctl Packets", order("discarded"), counters(func(c *api.Counters) uint64 { return c.Control.Discarded })},
		{"S125", "Out Control Packets", ctl("out", "data", "none"), counters(func(c *api.Counters) uint64 { return c.Control.OutWithData + c.Control.OutNoData })},
		{"S125", "With Data", ctl("out", "data"), counters(func(c *api.Counters) uint64 { return c.Control.OutWithData })},
		{"S125", "No Data", ctl("out", "none"), counters(func(c *api.Counters) uint64 { return c.Control.OutNoData })},
		{"S126", "In Data Packets, With Data, Processed", data("packets", "in"), counters(func(c *api.Counters) uint64 { return c.Data.InPackets })},
		{"S126", "In Data Packets, No Data", discard("no-data"), counters(func(c *api.Counters) uint64 { return c.Discarded.NoData })},
		{"S127", "Out Of Order Data Packets", []string{"l2tp_data_out_of_order_total"}, counters(func(c *api.Counters) uint64 { return c.Data.OutOfSequence })},
		{"S127", "Order Discarded Data Packets", []string{"l2tp_data_order_discards_total"}, counters(func(c *api.Counters) uint64 { return c.Data.SeqDiscards })},
		{"S127", "errors", data("errors", "in"), counters(func(c *api.Counters) uint64 { return c.Data.InErrors })},
		{"S128", "Out Data Packets, With Data", data("packets", "out"), counters(func(c *api.Counters) uint64 { return c.Data.OutPackets })},
		{"S142", "Calls Active", []string{"l2tp_sessions"}, func(s *api.Status) uint64 { return uint64(s.Sessions) }},
		{"S148", "Out Flow Control Timeouts", []string{"l2tp_control_retransmits_total"}, counters(func(c *api.Counters) uint64 { return c.Control.Retransmits })},
		{"S149", "In Bytes", data("bytes", "in"), counters(func(c *api.Counters) uint64 { return c.Data.InOctets })},
		{"S149", "Out Bytes", data("bytes", "out"), counters(func(c *api.Counters) uint64 { return c.Data.OutOctets })},
	}
	s := picture()
	text := scrape(t, s)
	for _, x := range wanted {
		sum := 0.0
		for _, name := range x.series {
			sum += value(t, text, name)
			base, _, _ := strings.Cut(name, "{")
			if !slices.ContainsFunc(table(), func(m metric) bool { return m.name == base && covers(m.rows, x.row) }) {
				t.Errorf("%s, %s: the row of %s does not say so", x.row, x.what, base)
			}
		}
		if want := float64(x.value(s.Status)); sum != want || math.IsNaN(sum) {
			t.Errorf("%s, %s: %v, want %v", x.row, x.what, sum, want)
		}
	}
}

// covers says that a list of rows, "S119-S121, S126", has one.
func covers(rows, row string) bool {
	for part := range strings.SplitSeq(rows, ", ") {
		first, last, ranged := strings.Cut(part, "-")
		if first == row || ranged && first <= row && row <= last {
			return true
		}
	}
	return false
}
