package engine

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/control"
	"github.com/l2tpd/l2tpd/pkg/kernel"
)

// counters of the whole engine (S113-S128). Those of live tunnels and sessions are added when somebody looks.
type counters struct {
	filtered, malformed, noTunnel, noSession, noData, foreign, overLimit atomic.Uint64
	refused, evicted, authFailures, userAuthFailures, unrouted           atomic.Uint64
	framesIn, framesOut, framesLost                                      atomic.Uint64
	tunnels                                                              atomic.Int64  // up, and half-open ones that peers have begun
	accounts                                                             atomic.Uint64 // Acct-Session-Ids given
	tunnelsUp, halfOpen, lines                                           atomic.Int64

	ends causes
	hits causes // logins by the rule of the LAC that was found for them

	control [11]atomic.Uint64 // of tunnels that are gone, in the order of controlOf
}

// causes counts the ends of sessions by their causes, which are few. It is safe for concurrent use.
type causes struct {
	mu sync.Mutex
	n  map[string]uint64
}

func (c *causes) add(cause string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]uint64{}
	}
	c.n[cause]++
}

func (c *causes) all() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.n)
}

// controlOf lists a tunnel's counters in the order in which they are summed.
func controlOf(c control.Counters) [11]uint64 {
	return [11]uint64{
		c.InControl, c.InMessages, c.InZLB, c.InProcessed, c.InOrder, c.InOutOfOrder, c.InDiscarded,
		c.OutControl, c.OutMessages, c.OutZLB, c.OutRetransmits,
	}
}

// controlTraffic is the other way round.
func controlTraffic(n [11]uint64) api.ControlTraffic {
	return api.ControlTraffic{
		In: n[0], InWithData: n[1], InNoData: n[2], Processed: n[3], InOrder: n[4], OutOfOrder: n[5], Discarded: n[6],
		Out: n[7], OutWithData: n[8], OutNoData: n[9], Retransmits: n[10],
	}
}

// dataOf lists a session's counters in the order in which they are summed.
func dataOf(s kernel.Stats) [9]uint64 {
	return [9]uint64{
		s.RxPackets, s.RxBytes, s.RxErrors, s.TxPackets, s.TxBytes, s.TxErrors, s.RxSeqDiscards, s.RxOutOfSequence, s.RxInvalid,
	}
}

// dataTraffic is the other way round.
func dataTraffic(n [9]uint64) api.DataTraffic {
	return api.DataTraffic{
		InPackets: n[0], InOctets: n[1], InErrors: n[2], OutPackets: n[3], OutOctets: n[4], OutErrors: n[5],
		SeqDiscards: n[6], OutOfSequence: n[7], Invalid: n[8],
	}
}

// addControl keeps the counters of a tunnel that goes.
func (c *counters) addControl(x control.Counters) {
	for i, n := range controlOf(x) {
		c.control[i].Add(n)
	}
}

// addData keeps the counters of a session that goes.
func (s *shard) addData(x kernel.Stats) {
	for i, n := range dataOf(x) {
		s.data[i] += n
	}
}

// discards are the datagrams that changed nothing.
func (c *counters) discards() api.Discards {
	return api.Discards{
		Filtered: c.filtered.Load(), NoSuchTunnel: c.noTunnel.Load(), NoSuchSession: c.noSession.Load(), NoData: c.noData.Load(),
		Malformed: c.malformed.Load(), ForeignSource: c.foreign.Load(), OverLimit: c.overLimit.Load() + c.evicted.Load(),
	}
}

// enter counts one more tunnel, unless there are limit already.
func (c *counters) enter(limit int) bool {
	for {
		n := c.tunnels.Load()
		if n >= int64(limit) {
			return false
		}
		if c.tunnels.CompareAndSwap(n, n+1) {
			return true
		}
	}
}
