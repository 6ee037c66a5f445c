// Package slab makes small values that stay for long in blocks of their own. Among short-lived values of their size each of them would keep
// a page of the heap from being given back, long after the others have gone.
package slab

// largest is how many values the blocks have in the end; the first ones have fewer.
const largest = 32

// Of makes values of one type. The zero value is ready. It is not safe for concurrent use.
type Of[T any] struct {
	free []*T // the latest to be freed last
	next []T  // of the newest block, those that were never used
	size int  // of the newest block
}

// New gives a value that is zero.
func (s *Of[T]) New() *T {
	if n := len(s.free); n > 0 {
		x := s.free[n-1]
		s.free = s.free[:n-1]
		return x
	}
	if len(s.next) == 0 {
		s.size = min(max(2*s.size, 1), largest)
		s.next = make([]T, s.size)
	}
	x := &s.next[0]
	s.next = s.next[1:]
	return x
}

// Free takes a value of New's back, to which nothing may refer any more. nil is nothing.
func (s *Of[T]) Free(x *T) {
	if x == nil {
		return
	}
	var zero T
	*x = zero
	s.free = append(s.free, x)
}
