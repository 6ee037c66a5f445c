package ipv6

import "container/heap"

// deadlines has the links that wait for an instant, the next one first.
type deadlines []*link

// Len, Less, Swap, Push and Pop are for container/heap.
func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].due < d[j].due }
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}

// Push appends a link.
func (d *deadlines) Push(x any) {
	l := x.(*link)
	l.place = len(*d)
	*d = append(*d, l)
}

// Pop removes the last link.
func (d *deadlines) Pop() any {
	n := len(*d) - 1
	l := (*d)[n]
	(*d)[n] = nil
	*d = (*d)[:n]
	l.place = -1
	return l
}

// arm puts a link where its deadline belongs.
func (d *deadlines) arm(l *link) {
	if l.due = l.deadline(); l.place < 0 {
		heap.Push(d, l)
		return
	}
	heap.Fix(d, l.place)
}

func (d *deadlines) remove(l *link) {
	if l.place >= 0 {
		heap.Remove(d, l.place)
	}
}
