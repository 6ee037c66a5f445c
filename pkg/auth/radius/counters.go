package radius

import "time"

// Counters are a snapshot; its numbers are read one after the other.
type Counters struct {
	Auth       []ServerCounters // in the order of the configuration
	Accounting []ServerCounters
	Records    RecordCounters
}

// ServerCounters are those of one service of one server.
type ServerCounters struct {
	Server            string
	Requests          uint64 // sent, repeats among them
	Retransmissions   uint64
	Timeouts          uint64 // requests given up
	SendErrors        uint64
	Answers           uint64
	Accepts, Rejects  uint64
	BadAuthenticators uint64 // answers that somebody else sent, or that were made with another secret
	Unsigned          uint64 // answers without the Message-Authenticator that is demanded
	Malformed         uint64
	Strays            uint64 // answers that nobody waited for: late ones and repeats
	Outstanding       int
	SourcePorts       int
	DeadSince         time.Time // zero: alive
	RoundTrip         time.Duration
}

// RecordCounters are those of accounting records.
type RecordCounters struct {
	Accepted   uint64 // taken by Account
	Replayed   uint64 // found in the spool at the start
	Delivered  uint64
	Superseded uint64    // interim records that a later one has made needless
	Lost       uint64    // for want of room
	Queued     int       // that wait now
	Octets     int64     // of those
	Spooled    int       // of those, how many are on disk
	Oldest     time.Time // when what the oldest of them tells happened; zero: none waits
	DiskErrors uint64
}

func (e *endpoint) snapshot() ServerCounters {
	c := &e.counts
	e.mu.Lock()
	defer e.mu.Unlock()
	outstanding := 0
	for _, p := range e.ports {
		outstanding += p.used
	}
	return ServerCounters{
		Server: e.name, Requests: c.requests.Load(), Retransmissions: c.retransmissions.Load(), Timeouts: c.timeouts.Load(),
		SendErrors: c.sendErrors.Load(), Answers: c.answers.Load(), Accepts: c.accepts.Load(), Rejects: c.rejects.Load(),
		BadAuthenticators: c.badAuthenticators.Load(), Unsigned: c.unsigned.Load(), Malformed: c.malformed.Load(), Strays: c.strays.Load(),
		Outstanding: outstanding, SourcePorts: len(e.ports), DeadSince: e.deadSince, RoundTrip: e.roundTrip,
	}
}

// Counters returns a snapshot.
func (c *Client) Counters() Counters {
	var s Counters
	for _, e := range c.auth {
		s.Auth = append(s.Auth, e.snapshot())
	}
	for _, e := range c.accounting {
		s.Accounting = append(s.Accounting, e.snapshot())
	}
	s.Records = c.account.counters()
	return s
}
