package backlog

import (
	"bytes"
	"fmt"
	"testing"
)

// collect gives what is kept after a record, and fails where a number does not follow the one before.
func collect(t *testing.T, l *Backlog, after uint64) (records [][]byte, first uint64) {
	t.Helper()
	for n, r := range l.After(after) {
		if first == 0 {
			first = n
		}
		if want := first + uint64(len(records)); n != want {
			t.Fatalf("record %d, want %d", n, want)
		}
		records = append(records, bytes.Clone(r))
	}
	return records, first
}

func TestTheLatestRecordsAreKept(t *testing.T) {
	t.Parallel()
	l := New(4 * blockOctets)
	if l.First() != 1 || l.Last() != 0 {
		t.Errorf("an empty one has %d to %d", l.First(), l.Last())
	}
	const n = 1000
	record := func(i uint64) []byte { return bytes.Repeat([]byte{byte(i)}, int(i%301)) }
	for i := uint64(1); i <= n; i++ {
		l.Add(record(i))
		if l.Last() != i {
			t.Fatalf("%d records, want %d", l.Last(), i)
		}
	}
	if l.First() < 2 || l.First() > n-300 {
		t.Errorf("%d is kept of %d", l.First(), n)
	}
	for _, after := range []uint64{0, l.First() - 1, l.First(), 700, 701, n - 1, n, n + 5} {
		got, first := collect(t, l, after)
		want := max(after+1, l.First())
		if len(got) != int(max(n+1, want)-want) || len(got) > 0 && first != want {
			t.Errorf("after %d: %d records from %d on, want them from %d to %d", after, len(got), first, want, n)
		}
		for i, r := range got {
			if !bytes.Equal(r, record(first+uint64(i))) {
				t.Errorf("record %d has %d octets of %v", first+uint64(i), len(r), r[:min(len(r), 1)])
			}
		}
	}
}

// Memory is used again: after the first round nothing is allocated.
func TestBlocksAreUsedAgain(t *testing.T) {
	l := New(2 * blockOctets)
	record := make([]byte, 100)
	round := func() {
		for range 3 * blockOctets / len(record) {
			l.Add(record)
		}
	}
	round()
	if n := testing.AllocsPerRun(10, round); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestARecordThatIsTooLongIsKeptAsNothing(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ length, kept int }{{0, 0}, {blockOctets - lengthOctets, blockOctets - lengthOctets}, {blockOctets - 1, 0}, {1 << 20, 0}} {
		t.Run(fmt.Sprint(x.length), func(t *testing.T) {
			t.Parallel()
			l := New(0)
			l.Add([]byte("before"))
			l.Add(make([]byte, x.length))
			l.Add([]byte("after"))
			got, _ := collect(t, l, 0)
			if len(got) == 0 || string(got[len(got)-1]) != "after" || len(got[len(got)-2]) != x.kept {
				t.Errorf("got %d records", len(got))
			}
		})
	}
}
