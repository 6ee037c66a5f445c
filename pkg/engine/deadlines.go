package engine

import "container/heap"

// deadline is one entry of a shard's heap. Its owner embeds it and arms it again as often as it likes.
type deadline struct {
	at    Time
	index int // in the heap; -1: not armed
	owner expirer
}

// expirer is who has a deadline.
type expirer interface{ expire(now Time) }

// whenDue does something at a deadline.
type whenDue func(now Time)

func (f whenDue) expire(now Time) { f(now) }

// deadlines is the heap of a shard.
type deadlines struct{ items []*deadline }

func (d *deadlines) Len() int           { return len(d.items) }
func (d *deadlines) Less(i, j int) bool { return d.items[i].at < d.items[j].at }
func (d *deadlines) Swap(i, j int) {
	d.items[i], d.items[j] = d.items[j], d.items[i]
	d.items[i].index, d.items[j].index = i, j
}

// Push and Pop are for container/heap.
func (d *deadlines) Push(x any) {
	it := x.(*deadline)
	it.index = len(d.items)
	d.items = append(d.items, it)
}

// Pop removes the last item.
func (d *deadlines) Pop() any {
	n := len(d.items) - 1
	it := d.items[n]
	d.items[n] = nil
	d.items = d.items[:n]
	it.index = -1
	return it
}

// arm sets or moves a deadline; at 0 takes it out.
func (d *deadlines) arm(it *deadline, at Time) {
	switch {
	case at == 0 && it.index >= 0:
		heap.Remove(d, it.index)
	case at == 0 || (it.index >= 0 && it.at == at):
	case it.index >= 0:
		it.at = at
		heap.Fix(d, it.index)
	default:
		it.at = at
		heap.Push(d, it)
	}
}

// fire calls every deadline that is due.
func (d *deadlines) fire(now Time) {
	for len(d.items) > 0 && d.items[0].at <= now {
		it := heap.Pop(d).(*deadline)
		it.owner.expire(now)
	}
}

// next is the earliest deadline; 0: none.
func (d *deadlines) next() Time {
	if len(d.items) == 0 {
		return 0
	}
	return d.items[0].at
}
