// Package backlog keeps the latest of many records within a fixed amount of memory. Records lie as octets in blocks that are used again:
// kept as values of their own they would lie among the objects of sessions, and a heap that was full once would never shrink.
package backlog

import "iter"

// blockOctets is the size of a block. The records of a block are given up together.
const blockOctets = 16 << 10

// Backlog keeps records, numbered from 1. It is not safe for concurrent use.
type Backlog struct {
	blocks []block // the oldest first
	most   int     // blocks
	last   uint64  // number of the latest record
}

// block holds whole records, each behind its length.
type block struct {
	first uint64 // number of its first record
	data  []byte
}

// New makes a Backlog of so many octets; it has two blocks at least.
func New(octets int) *Backlog { return &Backlog{most: max(octets/blockOctets, 2)} }

// Add keeps a record, of which a copy is made. What is longer than fits is kept as nothing.
func (l *Backlog) Add(record []byte) {
	n := len(record) + lengthOctets
	if n > blockOctets {
		record, n = nil, lengthOctets
	}
	l.last++
	if len(l.blocks) == 0 || len(l.blocks[len(l.blocks)-1].data)+n > blockOctets {
		l.begin()
	}
	b := &l.blocks[len(l.blocks)-1]
	b.data = append(b.data, byte(len(record)>>8), byte(len(record)))
	b.data = append(b.data, record...)
}

const lengthOctets = 2

// begin begins a block: the oldest one, when there are as many as there may be.
func (l *Backlog) begin() {
	if len(l.blocks) < l.most {
		l.blocks = append(l.blocks, block{first: l.last, data: make([]byte, 0, blockOctets)})
		return
	}
	oldest := l.blocks[0]
	copy(l.blocks, l.blocks[1:])
	l.blocks[len(l.blocks)-1] = block{first: l.last, data: oldest.data[:0]}
}

// Last is the number of the latest record; 0: there was none.
func (l *Backlog) Last() uint64 { return l.last }

// First is the number of the oldest record that is kept; Last()+1 if none is.
func (l *Backlog) First() uint64 {
	if len(l.blocks) == 0 {
		return l.last + 1
	}
	return l.blocks[0].first
}

// After gives the records that came after one and are kept, the oldest first. They are valid until the next Add.
func (l *Backlog) After(number uint64) iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		for i := range l.blocks {
			if i+1 < len(l.blocks) && l.blocks[i+1].first <= number+1 {
				continue
			}
			at := l.blocks[i].first
			for rest := l.blocks[i].data; len(rest) > 0; at++ {
				n := int(rest[0])<<8 | int(rest[1])
				record := rest[lengthOctets : lengthOctets+n]
				rest = rest[lengthOctets+n:]
				if at > number && !yield(at, record) {
					return
				}
			}
		}
	}
}
