package sieve_test

import (
	"testing"
	"time"

	"github.com/l2tpd/l2tpd/pkg/sieve"
)

// P277: what was noted is known for the time that was asked for, however much else comes, and few others are taken for it.
func TestNotedKeysAreKnownForAWhile(t *testing.T) {
	t.Parallel()
	const octets, keep, n = 1 << 16, 10 * time.Second, 20_000
	s := sieve.New[int](octets, keep)
	for i := range n {
		s.Note(time.Duration(i)*time.Millisecond/2, i) // 10 s of them
	}
	end := keep - time.Millisecond/2
	for i := range n {
		if !s.Noted(end, i) {
			t.Fatalf("%d was noted and is not known", i)
		}
	}
	wrong := 0
	for i := range n {
		if s.Noted(end, n+i) {
			wrong++
		}
	}
	if wrong > n/500 { // (n/2/octets)^4 is 0.0005
		t.Errorf("%d of %d new keys are taken for known ones", wrong, n)
	}
	if s.Note(end, -1); !s.Noted(end+keep, -1) {
		t.Error("a key is forgotten too soon")
	}
}

func TestMemoryIsGivenBack(t *testing.T) {
	t.Parallel()
	const keep = time.Second
	for name, visit := range map[string]func(s *sieve.Sieve[string], now time.Duration){
		"expire": func(s *sieve.Sieve[string], now time.Duration) { s.Expire(now) },
		"asked":  func(s *sieve.Sieve[string], now time.Duration) { s.Noted(now, "other") },
	} {
		s := sieve.New[string](1<<10, keep)
		if s.Noted(0, "one") || !s.Empty() {
			t.Errorf("%s: an empty one knows a key", name)
		}
		s.Note(0, "one")
		visit(&s, keep) // it is the old one now
		if s.Empty() || !s.Noted(keep, "one") {
			t.Errorf("%s: a key is forgotten too soon", name)
		}
		if visit(&s, 2*keep); !s.Empty() || s.Noted(2*keep, "one") {
			t.Errorf("%s: a key is remembered for more than twice its time", name)
		}
		s.Note(2*keep, "two")
		if visit(&s, 10*keep); !s.Empty() { // after a silence at once
			t.Errorf("%s: a key outlives a silence", name)
		}
	}
}
