package metrics

import (
	"slices"

	"github.com/l2tpd/l2tpd/pkg/api"
)

// protocolMetrics are the counters of L2TP. Those of the control connections and of data are sums over all tunnels and sessions,
// ended ones included (S148, S149); those of a single one are shown by l2tpctl.
func protocolMetrics() []metric {
	return slices.Concat(messageMetrics(), controlMetrics(), dataMetrics())
}

func messageMetrics() []metric {
	return []metric{
		{
			name: "l2tp_tunnels", kind: gauge, help: "Established tunnels.", rows: "S116",
			values: of(func(s *api.Status) int { return s.Tunnels }),
		},
		{
			name: "l2tp_tunnels_half_open", kind: gauge, help: "Tunnels that are not established yet.",
			values: of(func(s *api.Status) int { return s.HalfOpen }),
		},
		{
			name: "l2tp_sessions", kind: gauge, help: "Established sessions.", rows: "S142",
			values: of(func(s *api.Status) int { return s.Sessions }),
		},
		{
			name: "l2tp_tunnel_auth_failures_total", kind: counter, help: "Tunnels whose peers had another secret.", rows: "S113",
			values: of(func(s *api.Status) uint64 { return s.Counters.TunnelAuthFailures }),
		},
		{
			name: "l2tp_user_auth_failures_total", kind: counter, help: "Logins by PPP that were refused.",
			values: of(func(s *api.Status) uint64 { return s.Counters.UserAuthFailures }),
		},
		{
			name: "l2tp_session_ends_total", kind: counter, help: "Sessions that ended, by cause: the words of L2TP_CAUSE in the log.", labels: []string{"cause"},
			values: func(s *api.Snapshot, put put) {
				for cause, n := range s.Status.Counters.SessionEnds {
					put(float64(n), cause)
				}
			},
		},
		{
			name: "l2tp_messages_total", kind: counter, help: "L2TP messages, control and data.", labels: direction, rows: "S114",
			values: inOut(func(s *api.Status) (_, _ uint64) { return s.Counters.InMessages, s.Counters.OutMessages }),
		},
		{
			name: "l2tp_receive_errors_total", kind: counter, help: "Received messages with an error.", rows: "S115",
			values: of(func(s *api.Status) uint64 { return s.Counters.InErrors }),
		},
		{
			name: "l2tp_discarded_messages_total", kind: counter, help: "Received datagrams that changed nothing, by reason.", labels: []string{"reason"},
			rows: "S119-S121, S126",
			values: func(s *api.Snapshot, put put) {
				d := &s.Status.Counters.Discarded
				put(float64(d.Filtered), "filtered")
				put(float64(d.NoSuchTunnel), "no-such-tunnel")
				put(float64(d.NoSuchSession), "no-such-session")
				put(float64(d.NoData), "no-data")
				put(float64(d.Malformed), "malformed")
				put(float64(d.ForeignSource), "foreign-source")
				put(float64(d.OverLimit), "over-limit")
			},
		},
	}
}

func controlMetrics() []metric {
	return []metric{
		{
			name: "l2tp_control_messages_total", kind: counter, help: "Control messages; those with content none only acknowledge (ZLB).",
			labels: []string{"direction", "content"}, rows: "S122, S125, S148",
			values: func(s *api.Snapshot, put put) {
				c := &s.Status.Counters.Control
				put(float64(c.InWithData), "in", "data")
				put(float64(c.InNoData), "in", "none")
				put(float64(c.OutWithData), "out", "data")
				put(float64(c.OutNoData), "out", "none")
			},
		},
		{
			name: "l2tp_control_processed_total", kind: counter, help: "Received control messages that were handled.", rows: "S123, S148",
			values: of(func(s *api.Status) uint64 { return s.Counters.Control.Processed }),
		},
		{
			name: "l2tp_control_order_total", kind: counter, labels: []string{"order"}, rows: "S124, S148",
			help: "Received control messages by their place: in-order, out-of-order, or discarded (duplicates and those outside the window).",
			values: func(s *api.Snapshot, put put) {
				c := &s.Status.Counters.Control
				put(float64(c.InOrder), "in-order")
				put(float64(c.OutOfOrder), "out-of-order")
				put(float64(c.Discarded), "discarded")
			},
		},
		{
			name: "l2tp_control_retransmits_total", kind: counter, help: "Control messages that were sent again.", rows: "S148",
			values: of(func(s *api.Status) uint64 { return s.Counters.Control.Retransmits }),
		},
	}
}

func dataMetrics() []metric {
	socket := func(get func(c *api.SocketTraffic) (in, out uint64)) func(*api.Snapshot, put) {
		return func(s *api.Snapshot, put put) {
			for name, c := range map[string]*api.SocketTraffic{"listener": &s.Status.Counters.Listener, "tunnel": &s.Status.Counters.TunnelSockets} {
				in, out := get(c)
				put(float64(in), name, "in")
				put(float64(out), name, "out")
			}
		}
	}
	return []metric{
		{
			name: "l2tp_data_packets_total", kind: counter, help: "Data messages that the kernel took and sent.", labels: direction, rows: "S126, S128, S149",
			values: inOut(func(s *api.Status) (_, _ uint64) { return s.Counters.Data.InPackets, s.Counters.Data.OutPackets }),
		},
		{
			name: "l2tp_data_bytes_total", kind: counter, help: "Octets of data messages, with the L2TP header and FF 03.", labels: direction, rows: "S149",
			values: inOut(func(s *api.Status) (_, _ uint64) { return s.Counters.Data.InOctets, s.Counters.Data.OutOctets }),
		},
		{
			name: "l2tp_data_errors_total", kind: counter, help: "Data messages that the kernel could not take or send.", labels: direction, rows: "S127, S149",
			values: inOut(func(s *api.Status) (_, _ uint64) { return s.Counters.Data.InErrors, s.Counters.Data.OutErrors }),
		},
		{
			name: "l2tp_data_order_discards_total", kind: counter, help: "Data messages dropped for their sequence number.", rows: "S127, S149",
			values: of(func(s *api.Status) uint64 { return s.Counters.Data.SeqDiscards }),
		},
		{
			name: "l2tp_data_out_of_order_total", kind: counter, help: "Data messages that arrived in another order than sent.", rows: "S127, S149",
			values: of(func(s *api.Status) uint64 { return s.Counters.Data.OutOfSequence }),
		},
		{
			name: "l2tp_data_invalid_total", kind: counter, help: "Data messages without a valid header.",
			values: of(func(s *api.Status) uint64 { return s.Counters.Data.Invalid }),
		},
		{
			name: "l2tp_socket_datagrams_total", kind: counter, help: "Datagrams that the daemon itself read and wrote.", labels: []string{"socket", "direction"},
			values: socket(func(c *api.SocketTraffic) (_, _ uint64) { return c.InDatagrams, c.OutDatagrams }),
		},
		{
			name: "l2tp_socket_bytes_total", kind: counter, help: "UDP payload of the datagrams that the daemon itself read and wrote.",
			labels: []string{"socket", "direction"},
			values: socket(func(c *api.SocketTraffic) (_, _ uint64) { return c.InOctets, c.OutOctets }),
		},
		{
			name: "l2tp_ppp_frames_total", kind: counter, help: "PPP control frames that the daemon itself read and wrote.", labels: direction,
			values: inOut(func(s *api.Status) (_, _ uint64) { return s.Counters.PPPFrames.In, s.Counters.PPPFrames.Out }),
		},
	}
}
