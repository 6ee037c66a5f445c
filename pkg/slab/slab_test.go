package slab

import "testing"

func TestValuesAreTheirOwnAndUsedAgain(t *testing.T) {
	t.Parallel()
	var s Of[[3]int]
	seen := map[*[3]int]bool{}
	var all []*[3]int
	for i := range 200 {
		x := s.New()
		if seen[x] || *x != [3]int{} {
			t.Fatalf("value %d: %v, again: %v", i, *x, seen[x])
		}
		*x, seen[x] = [3]int{i, i, i}, true
		all = append(all, x)
	}
	for i, x := range all {
		if x[0] != i {
			t.Errorf("value %d became %d", i, x[0])
		}
		s.Free(x)
	}
	s.Free(nil)
	for range 200 {
		x := s.New()
		if !seen[x] || *x != [3]int{} {
			t.Fatalf("%v, of the first ones: %v", *x, seen[x])
		}
		delete(seen, x)
	}
}

// One value costs one, and a thousand a few blocks.
func TestBlocksGrow(t *testing.T) {
	var s Of[[64]byte]
	if n := testing.AllocsPerRun(1, func() { s = Of[[64]byte]{}; s.New() }); n != 1 {
		t.Errorf("%v allocations for one", n)
	}
	n := testing.AllocsPerRun(1, func() {
		s = Of[[64]byte]{}
		for range 1000 {
			s.New()
		}
	})
	if n > 40 {
		t.Errorf("%v allocations for a thousand", n)
	}
}
