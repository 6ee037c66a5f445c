package engine

import (
	"context"

	"github.com/l2tpd/l2tpd/pkg/api"
	"github.com/l2tpd/l2tpd/pkg/kernel"
)

// meter is where a session's usage is counted. It may be read outside of the shard's loop, at any time: of a session that has ended it
// gives what was counted last.
type meter struct {
	of  Meter // nil: nothing is counted
	far bool  // it is the session to the LNS, which sends what the user sends
}

func (s *session) meter() meter {
	switch far := s.subscriber().data; {
	case far != nil:
		return meter{far, true}
	case s.data != nil:
		return meter{of: s.data}
	}
	return meter{}
}

// read may sleep. Received is what the user has sent.
func (m meter) read() (u kernel.Stats) {
	if m.of == nil {
		return u
	}
	st, _ := m.of.Stats() // with an error they are those that were read last
	if m.far {
		u.RxPackets, u.RxBytes, u.TxPackets, u.TxBytes = st.TxPackets, st.TxBytes, st.RxPackets, st.RxBytes
		return u
	}
	return st
}

// usage is what the kernel has counted: received is what the user has sent.
func (s *session) usage() kernel.Stats { return s.meter().read() }

// readings are what a query wants of the kernel. A shard only notes them: whoever asks reads them himself, since the kernel answers in its
// own time, and no tunnel may wait for that.
type readings struct {
	sum      []Meter          // of the live sessions, for the counters of the daemon
	gone     [9]uint64        // what those of the shard that have ended before had counted, in the order of dataOf
	sessions []sessionReading // in the order of part.sessions
}

// sessionReading is what the view of one session wants.
type sessionReading struct {
	meter meter
	idle  Meter // nil: not wanted
}

// want notes the counters that the view of a session shows.
func (r *readings) want(s *session, v *api.Session) {
	var x sessionReading
	if s.data != nil {
		x.meter = s.meter()
		if v.Interface != "" && !s.releasing && !s.outside() { // an interface that a pppd has made is not the kernel session's
			x.idle = s.data
		}
	}
	r.sessions = append(r.sessions, x)
}

// read fills in what one shard's part of a snapshot lacks.
func (p *part) read(ctx context.Context) error {
	for i, x := range p.readings.sessions {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if x.meter.of == nil {
			continue
		}
		d := dataTraffic(dataOf(x.meter.read()))
		p.sessions[i].Data = &d
		if x.idle == nil {
			continue
		}
		if idle, err := x.idle.Idle(); err == nil {
			p.sessions[i].IdleSeconds = int64(idle.Seconds())
		}
	}
	p.data = p.readings.gone
	for _, m := range p.readings.sum { // after the sessions, which go on: the whole is never less than its parts
		if ctx.Err() != nil {
			return ctx.Err()
		}
		st, _ := m.Stats() // with an error they are those that were read last
		for i, n := range dataOf(st) {
			p.data[i] += n
		}
	}
	return nil
}
