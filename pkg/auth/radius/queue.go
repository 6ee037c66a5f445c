package radius

import (
	"container/list"
	"time"
)

// entry is a record that waits to be delivered.
type entry struct {
	seq     uint64
	kind    Kind
	session string // records of the same one are delivered in order; empty: of the whole machine
	at      time.Time
	attrs   []byte

	flying bool // being sent
	gone   bool // not in the queue any more
	onDisk bool
	rounds int       // how often no server answered
	due    time.Time // not to be sent before

	order, rank *list.Element
}

// size is how much room an entry takes in the spool's file.
func (e *entry) size() int64 { return int64(frameSize + putSize + len(e.session) + len(e.attrs)) }

// ranks is the number of ranks: interim records go first when there is no room, stop records last.
const ranks = 4

// worth is the rank of an entry.
func (e *entry) worth() int {
	switch e.kind {
	case Interim:
		return 0
	case Start:
		return 1
	case On, Off:
		return 2
	case Stop:
	}
	return 3
}

// barrierRounds is how often a record about the whole machine may fail before others pass it: a server may dislike it.
const barrierRounds = 3

// queue keeps the entries. It is not safe for concurrent use.
type queue struct {
	maxOctets  int64
	maxRecords int
	octets     int64
	order      *list.List        // of *entry, by seq
	byRank     [ranks]*list.List // the same, by worth
	interims   map[string]*entry // the latest interim record of each session, unless a stop came after it
}

func newQueue(maxOctets int64, maxRecords int) *queue {
	q := &queue{maxOctets: maxOctets, maxRecords: maxRecords, order: list.New(), interims: map[string]*entry{}}
	for i := range q.byRank {
		q.byRank[i] = list.New()
	}
	return q
}

// add takes an entry in. superseded, if any, is not needed any more. lost are those for which there is no room, e itself perhaps.
func (q *queue) add(e *entry) (superseded *entry, lost []*entry) {
	if old := q.interims[e.session]; old != nil && (e.kind == Interim || e.kind == Stop) {
		delete(q.interims, e.session)
		if !old.flying {
			q.remove(old)
			superseded = old
		}
	}
	for q.octets+e.size() > q.maxOctets || q.order.Len() >= q.maxRecords {
		victim := q.victim(e.worth())
		if victim == nil {
			return superseded, append(lost, e)
		}
		q.remove(victim)
		lost = append(lost, victim)
	}
	e.order, e.rank = q.order.PushBack(e), q.byRank[e.worth()].PushBack(e)
	q.octets += e.size()
	if e.kind == Interim {
		q.interims[e.session] = e
	}
	return superseded, lost
}

// victim is the oldest entry of the least worth, which must not be more than that; those under way stay.
func (q *queue) victim(most int) *entry {
	for _, l := range q.byRank[:most+1] {
		for x := l.Front(); x != nil; x = x.Next() {
			if e := x.Value.(*entry); !e.flying {
				return e
			}
		}
	}
	return nil
}

func (q *queue) remove(e *entry) {
	if e.gone {
		return
	}
	e.gone = true
	q.order.Remove(e.order)
	q.byRank[e.worth()].Remove(e.rank)
	q.octets -= e.size()
	if q.interims[e.session] == e {
		delete(q.interims, e.session)
	}
}

// next gives the entry to send now. Without one, it says when to look again, zero if only an event helps. What concerns one session
// goes in order; what concerns the whole machine waits for all before it and holds up all behind it.
func (q *queue) next(now time.Time) (e *entry, again time.Time) {
	var busy map[string]bool
	for x := q.order.Front(); x != nil; x = x.Next() {
		e := x.Value.(*entry)
		machine := !e.kind.session()
		barrier := machine && e.rounds < barrierRounds
		first := x.Prev() == nil
		switch {
		case e.flying, !machine && busy[e.session], barrier && !first:
		case e.due.After(now):
			if again.IsZero() || e.due.Before(again) {
				again = e.due
			}
		default:
			return e, time.Time{}
		}
		if barrier {
			return nil, again
		}
		if !machine {
			if busy == nil {
				busy = map[string]bool{}
			}
			busy[e.session] = true
		}
	}
	return nil, again
}

// sessions is how many entries tell of sessions. That the machine ends, when no server hears it, is no loss.
func (q *queue) sessions() int { return q.order.Len() - q.byRank[(&entry{kind: Off}).worth()].Len() }

// retry puts an entry that no server answered back, unless a later record has made it needless.
func (q *queue) retry(e *entry, due time.Time) (superseded bool) {
	e.flying = false
	if e.kind == Interim && q.interims[e.session] != e {
		q.remove(e)
		return true
	}
	e.rounds++
	e.due = due
	return false
}
